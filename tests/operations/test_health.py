"""A part is well within its limits; what changes is told once, to the trail and to whoever gets alerts."""

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mltrainer.errors import Partial, StorageError
from mltrainer.operations import health
from mltrainer.operations.health import Part
from mltrainer.trading.alerts import checking
from mltrainer.trust import audit


@pytest.mark.parametrize(
    ("figure", "worse", "state"),
    [
        (6, "below", "ok"),
        (5, "below", "ok"),
        (4.9, "below", "warning"),
        (0.4, "below", "failed"),
        (0.4, "above", "ok"),
        (3, "above", "warning"),
        (9, "above", "failed"),
        (9, "", "ok"),
    ],
)
def test_the_state_follows_from_the_figure_and_its_limits(figure: float, worse: str, state: str):
    limits = (5, 0.5) if worse == "below" else (1, 5)
    assert Part("disk", figure, "GB", *limits, worse).state == state


def test_every_part_of_a_new_home_is_measured(home: Path):
    found = health.health()
    assert [p.name for p in found] == [row[0] for row in health.PARTS]
    assert not [p.sentence() for p in found if p.said]
    assert audit.head().size == 0  # looking writes nothing


@pytest.mark.usefixtures("database")
def test_a_part_that_breaks_has_failed_and_the_others_are_measured(home: Path):
    home.mkdir(parents=True, exist_ok=True)
    (home / "mltrainer.sqlite").write_bytes(b"this is no database" * 100)
    states = {p.name: p.state for p in health.health()}
    assert states["store answers"] == "failed"
    assert states["free disk, state"] == "ok"
    assert [p.name for p in health.told() if p.state == "failed"][:1] == ["store answers"]  # though nothing can be told


def watch(found: list[Part]) -> list[str]:
    return [p.state for p in found if p.name.startswith("watch")]


@pytest.mark.parametrize("error", [StorageError("the store is gone"), OSError("no such disk"), ValueError()])
def test_whatever_breaks_a_part_is_what_it_says(error: Exception):
    def measure() -> float:
        raise error

    part = health._measured("a part", "ms", 1, 2, "above", measure)
    assert (part.state, part.said) == ("failed", str(error) or "ValueError")


def test_a_change_is_told_once_and_once_more_when_it_is_over(home: Path):
    checking.check(["MSFT"], send=False)
    beat = home / checking.BEAT
    health.told()  # of a machine that is not well for other reasons
    os.utime(beat, (time.time() - 8 * 86_400,) * 2)
    for changed in (["failed"], []):
        assert watch(health.told()) == changed
    beat.touch()
    assert watch(health.told()) == ["ok"]
    said = [(e.payload["part"], e.payload["state"]) for e in audit.entries(kind=health.KIND)]
    said = [one for one in said if one[0].startswith("watch")]
    assert said == [("watch of alerts is silent for", "failed"), ("watch of alerts is silent for", "ok")]
    assert audit.verify() == []


def test_what_no_address_took_is_sent_again_and_what_one_took_is_not(home: Path, monkeypatch: pytest.MonkeyPatch):
    """A real address on this machine: first nobody listens there, then somebody does."""
    took: list[str] = []

    class Inbox(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            took.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    checking.check(["MSFT"], send=False)
    health.told()
    os.utime(home / checking.BEAT, (time.time() - 8 * 86_400,) * 2)
    server = HTTPServer(("127.0.0.1", 0), Inbox)
    port = server.server_address[1]
    server.server_close()
    monkeypatch.setenv("MLTRAINER_ALERT_URLS", f"json://127.0.0.1:{port}")
    with pytest.warns(Partial, match="did not take what changed in health"):
        assert watch(health.told()) == ["failed"]
    server = HTTPServer(("127.0.0.1", port), Inbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert watch(health.told()) == ["failed"]
        assert watch(health.told()) == []
    finally:
        server.shutdown()
        server.server_close()
    assert len([text for text in took if "watch of alerts is silent" in text]) == 1
