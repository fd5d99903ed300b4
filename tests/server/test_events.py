"""/api/stream tells what happens to whoever may know, and lets go of whoever does not read."""

import asyncio
import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from apart import apart
from caller import NEWS, Running
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mltrainer.errors import StorageError
from mltrainer.server import jobs
from mltrainer.server.stream import LISTENERS, Watch


def stream(running: Running, role: str, **more: object) -> ClientConnection:
    headers = {"Authorization": f"token {running.tokens[role]}"} if role else {}
    address = f"ws{running.base.removeprefix('http')}/api/stream"
    return connect(address, additional_headers=headers, proxy=None, **more)


def heard(connection: ClientConnection, seconds: float, until: str = "") -> list[dict]:
    found: list[dict] = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            found.append(json.loads(connection.recv(left)))
        except TimeoutError:
            break
        if until and found[-1].get("event", found[-1]["type"]) == until:
            break
    return found


def test_a_stranger_and_another_site_hear_nothing(served: Running):
    with pytest.raises(InvalidStatus, match="403"), stream(served, ""):
        pass
    said = served("/api/stream", role="viewer")
    assert said.status == 400


@pytest.mark.slow
def test_a_training_is_heard_by_those_who_may_see_trainings(served: Running):
    (token,) = served.users("add:dan:admin")
    served.tokens["gone"] = token
    with (
        stream(served, "researcher") as researcher,
        stream(served, "viewer") as viewer,
        stream(served, "gone") as gone,
    ):
        served.users("remove:dan")
        time.sleep(4)  # until the server looks
        body = {"model": "RidgeRegression", "end": "2012-06-29"}
        id_ = served("/api/models/train", "POST", role="researcher", body=body).json["id"]
        events = [e for e in heard(researcher, 40, "done") if e["type"] == "job"]
        assert [e["event"] for e in events] == ["queued", "running", "progress", "progress", "done"]
        assert {e["id"] for e in events} == {id_}
        assert events[-1]["artifact"]
        assert [e for e in heard(viewer, 0.5) if e["type"] == "job"] == []
        with pytest.raises(ConnectionClosed):  # who was removed since is let go, having heard a heartbeat at most
            heard(gone, 20, "queued")


@pytest.mark.slow
def test_an_alert_is_heard_whoever_found_it(served: Running):
    with stream(served, "viewer") as viewer:
        time.sleep(2)
        served.check("MSFT", *NEWS)
        alerts = [e for e in heard(viewer, 3) if e["type"] == "alert"]
    assert alerts
    assert {a["subject"] for a in alerts} == {"MSFT"}
    kept = served("/api/alerts", role="viewer").json["items"]
    assert {a["id"] for a in alerts} == {a["id"] for a in kept if a["subject"] == "MSFT"}


def test_so_many_may_listen_and_one_that_leaves_makes_room(served: Running):
    with ExitStack() as room:
        own = [room.enter_context(stream(served, "viewer")) for _ in range(LISTENERS)]
        with pytest.raises(InvalidStatus, match="503"):
            stream(served, "admin")
        own[0].close()
        until = time.monotonic() + 20
        while time.monotonic() < until:  # the server hears of it a little later
            try:
                room.enter_context(stream(served, "admin"))
                return
            except InvalidStatus:
                time.sleep(0.1)
    raise AssertionError("no room was made")


def test_whoever_speaks_is_let_go(served: Running):
    with stream(served, "viewer") as viewer:
        viewer.send("hello")
        with pytest.raises(ConnectionClosed):
            heard(viewer, 5)
        assert viewer.close_code == 1008


def test_a_listener_that_does_not_read_is_let_go():
    """Backpressure, asked of the handler itself: what waits is counted, and beyond the bound the socket is closed."""
    import asyncio

    from mltrainer.server.stream import UNREAD, Stream

    class Stuck(Stream):
        def __init__(self) -> None:
            self.closed: list[tuple] = []
            self.waiting: list[asyncio.Future] = []

        def write_message(self, message: str, binary: bool = False):
            self.waiting.append(asyncio.get_running_loop().create_future())
            return self.waiting[-1]

        def close(self, code: int = 0, reason: str = "") -> None:
            self.closed.append((code, reason))

        def on_close(self) -> None:
            pass

    async def run() -> Stuck:
        listener = Stuck()
        for _ in range(UNREAD // 1000 + 2):
            listener.send("x" * 1000)
        assert listener.closed == [(1008, "not read")]
        listener.waiting[0].set_result(None)
        await asyncio.sleep(0)
        return listener

    stuck = apart(run())
    assert len(stuck.waiting) == UNREAD // 1000 + 1


class Ear:
    """A listener that hears, and breaks as often as it is told to."""

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.heard = broken, []

    def hear(self, event: dict) -> None:
        if self.broken:
            raise OSError("gone")
        self.heard.append(event)


def test_whoever_watches_goes_on_after_what_broke(monkeypatch: pytest.MonkeyPatch):
    """Two looks fail, the third works; a listener that breaks keeps nothing from the others."""
    monkeypatch.setattr("mltrainer.server.stream.LOOK", 0.01)
    looks: list[object] = [OSError("no disk"), StorageError("no database"), [{"type": "job"}]]

    class Watching(Watch):
        def look(self) -> list[dict]:
            found = looks.pop(0) if looks else []
            if isinstance(found, Exception):
                raise found
            return found

    async def run() -> list[dict]:
        watch, ear = Watching(), Ear()
        watch.listeners = [Ear(broken=True), ear]
        watch.begin()
        await asyncio.sleep(0.5)
        assert not watch.task.done()
        watch.task.cancel()
        return ear.heard

    assert apart(run()) == [{"type": "job"}]


def test_the_first_training_in_a_fresh_home_is_heard(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "AT_ONCE", 0)  # heard, not begun
    watch = Watch()
    assert watch.look() == []
    assert not home.exists()
    asked = {"model": "RidgeRegression", "tickers": ["MSFT"], "horizon": 5, "target": "return"}
    jobs.submit("ann", asked | {"start": None, "end": None})
    assert [(e["type"], e["event"]) for e in watch.look()] == [("job", "queued")]
    assert watch.look() == []


def test_what_could_not_be_read_is_news_at_the_next_look(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "AT_ONCE", 0)
    watch = Watch()
    watch.look()
    asked = {"model": "RidgeRegression", "tickers": ["MSFT"], "horizon": 5, "target": "return"}
    jobs.submit("ann", asked | {"start": None, "end": None})
    before = dict(watch.seen or {})

    def breaks(*_: object) -> None:
        raise OSError("no disk")

    with monkeypatch.context() as broken:
        broken.setattr("sqlalchemy.sql.selectable.GenerativeSelect.order_by", breaks)
        with pytest.raises(OSError, match="no disk"):
            watch.news()
    assert watch.seen == before
    assert [e["event"] for e in watch.news()] == ["queued"]
