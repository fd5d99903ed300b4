"""Evenings of a world whose provider, and whoever is told of alerts, are on this machine."""

from collections.abc import Callable, Iterator
from datetime import UTC
from functools import partial

import pandas as pd
import pytest
from evenings import COMMITTING, Clock, Inbox
from replay.server import Replay

from mltrainer.data import live_bars


@pytest.fixture
def day(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Move to the evening of a day in New York: bars, and the clock of everything that is committed."""
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "30")
    for room in COMMITTING:
        monkeypatch.setattr(room, "datetime", Clock)
    through = live_bars.through

    def go(to: str) -> None:
        replay.until = {"": to}
        now = pd.Timestamp(f"{to} 21:00", tz="America/New_York")
        Clock.put(now.to_pydatetime().astimezone(UTC))
        monkeypatch.setattr(live_bars, "through", partial(through, now=now))

    return go


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    box = Inbox()
    monkeypatch.setenv("MLTRAINER_ALERT_URLS", box.url)
    yield box
    box.server.shutdown()
    box.server.server_close()
