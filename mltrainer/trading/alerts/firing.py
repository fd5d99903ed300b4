"""From conditions to alerts: one for each episode, however long it lasts and however its figures tremble.

All of it is computed anew from the frame at each call, so there is no state that a crash could lose.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mltrainer.trading.alerts.kinds import KINDS, AlertKind


@dataclass(frozen=True)
class Episode:
    """From the row at which a condition fired to that at which it was over, None while it lasts."""

    kind: AlertKind
    start: int
    end: int | None


def episodes(kind: AlertKind, frame: pd.DataFrame) -> Iterator[Episode]:
    """Every episode of a condition, in order: it fires, lasts until it clears, and rests for its cool-down."""
    resting = 0
    for at in np.flatnonzero(kind.fire(frame).to_numpy(bool, na_value=False)):
        if at < resting:
            continue
        over = np.flatnonzero(kind.clear(frame, int(at)).to_numpy(bool, na_value=False)[at + 1 :])
        end = int(at + 1 + over[0]) if over.size else None
        yield Episode(kind, int(at), end)
        if end is None:
            return
        resting = max(end, int(at) + kind.cool_down)


def asked(watches: str, frame: pd.DataFrame) -> list[AlertKind]:
    """The kinds that can be asked of a frame."""
    return [k for k in KINDS if k.watches == watches and set(k.needs) <= set(frame)]


def flags(frame: pd.DataFrame, *watches: str) -> pd.DataFrame:
    """Which conditions stood at the close of each session, (n, kinds); by what was known then."""
    out = {}
    for kind in (k for w in watches for k in asked(w, frame)):
        standing = np.zeros(len(frame), dtype=bool)
        for e in episodes(kind, frame):
            standing[e.start : e.end] = True
        out[kind.name] = standing
    return pd.DataFrame(out, frame.index)
