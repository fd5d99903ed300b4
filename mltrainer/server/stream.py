"""/api/stream: what happens, as it happens, to whoever may know; and what starts the trainings whose turn has come.

One task of the server looks once a second, in a thread, at what was written since it last looked, whoever wrote it.
"""

import asyncio
import json
import logging
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from mltrainer.server.gate import Gate
from mltrainer.server.identity import present
from mltrainer.server.roles import allowed
from mltrainer.settings import settings

HEARTBEAT = 15.0  # seconds
LOOK = 1.0
UNREAD = 256 * 1024  # bytes that may wait for a listener
LISTENERS = 64
STARTS = 3  # of a training whose process dies before it begins
EVENTS = {"job": "jobs:read", "alert": "alerts:read", "heartbeat": "stream:read"}
"""Kinds of event, and what one must be allowed to hear them."""
log = logging.getLogger("mltrainer.server")


class Watch:
    """Looks at what was written, starts what is due, and tells the listeners."""

    def __init__(self, heartbeat: float = HEARTBEAT) -> None:
        self.listeners: set[Stream] = set()
        self.heartbeat = heartbeat
        self.seen: dict[str, int] | None = None
        self.blind = False  # whether the last look failed
        self.died: Counter[str] = Counter()  # processes of a training that ended before they began it
        self.started: dict[str, Any] = {}  # the processes of trainings that were started here and have not ended
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to look, once."""
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        """Look, for ever."""
        beat = asyncio.get_running_loop().time() + self.heartbeat
        while True:
            await self.once()
            if asyncio.get_running_loop().time() >= beat:
                self.tell({"type": "heartbeat", "at": datetime.now(UTC).isoformat(timespec="seconds")})
                beat += self.heartbeat
            await asyncio.sleep(LOOK)

    async def once(self) -> None:
        """Look and tell; a full disk, a database that is gone for a while: the next look may work."""
        try:
            found = await asyncio.to_thread(self.look)
            self.blind = False
        except Exception:
            found = []
            if not self.blind:  # once for each stretch, and not every second
                log.exception("nobody can look what happens")
            self.blind = True
        for event in found:
            self.tell(event)

    def look(self) -> list[dict[str, Any]]:
        """Settle and start trainings; what was written since the last look, in order."""
        if not settings().home.exists() and settings().database_url is None:
            self.seen = {"job": 0, "alert": 0}  # nobody has worked here yet, so that all there will be is news
            return []  # and looking makes no home
        from mltrainer.server import jobs  # and with it the database, which the first answer need not wait for

        jobs.settle()
        for id_, process in list(self.started.items()):
            if process.poll() is not None:
                del self.started[id_]
                if process.returncode and jobs.job(id_).state == "queued":  # it died before it could begin
                    self.died[id_] += 1
                    if self.died[id_] >= STARTS:
                        jobs.give_up(id_, f"its process died {self.died.pop(id_)} times before it began")
        if len(self.started) < jobs.AT_ONCE:
            self.started |= {id_: jobs.start(id_) for id_ in jobs.due() if id_ not in self.started}
        return self.news()

    def news(self) -> list[dict[str, Any]]:
        """Entries of trainings and alerts that were not there at the last look; at the first look, none."""
        from sqlalchemy import func, select

        from mltrainer import store

        tables = {"job": store.jobs, "alert": store.alerts}
        with store.reading() as connection:
            last = {k: connection.execute(select(func.max(t.c.seq))).scalar() or 0 for k, t in tables.items()}
            before = self.seen or last
            rows = {
                kind: connection.execute(select(t).where(t.c.seq > before[kind]).order_by(t.c.seq)).all()
                for kind, t in tables.items()
                if last[kind] > before[kind]
            }
        self.seen = last  # only now: what could not be read is news at the next look
        return [_job(row) for row in rows.get("job", ())] + [_alert(row) for row in rows.get("alert", ())]

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event to every listener that may hear it."""
        for listener in list(self.listeners):
            try:
                listener.hear(event)
            except Exception:  # of one listener; the others hear it
                log.exception("a listener was not told")


def _job(row: Any) -> dict[str, Any]:
    said = json.loads(row.payload)
    known = {name: said[name] for name in ("progress", "artifact", "error") if name in said}
    return {"type": "job", "at": row.at, "id": row.job, "event": row.event} | known


def _alert(row: Any) -> dict[str, Any]:
    known = {name: row._mapping[name] for name in "at kind condition severity subject session mode".split()}
    return {"type": "alert", "id": row.key[:12], "message": json.loads(row.payload)["message"]} | known


class Stream(Gate, WebSocketHandler):
    """A listener: hears, says nothing, and is let go when it does not read."""

    permission = "stream:read"
    unread = 0

    def set_default_headers(self) -> None:
        """None: it is no document."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Become a socket, if there is room."""
        if self.request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPError(400)
        if len(self.settings["mltrainer_watch"].listeners) >= LISTENERS:
            raise web.HTTPError(503)
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Listen."""
        self.settings["mltrainer_watch"].listeners.add(self)

    def on_message(self, message: str | bytes) -> None:
        """Nobody has anything to say here."""
        self.close(1008, "this stream is for listening")

    def on_close(self) -> None:
        """Listen no more."""
        self.settings["mltrainer_watch"].listeners.discard(self)

    def hear(self, event: dict[str, Any]) -> None:
        """Send an event on, if this listener still is who it was and may hear it."""
        role = present(self)
        if not allowed(role, self.permission):
            self.close(1008, "let in no more")
        elif allowed(role, EVENTS[event["type"]]):
            self.send(json.dumps(event))

    def send(self, text: str) -> None:
        """Send, unless too much waits to be read."""
        if self.unread > UNREAD:
            log.warning("a listener was let go: %d bytes wait for it", self.unread)
            self.close(1008, "not read")
            self.on_close()
            return
        with suppress(WebSocketClosedError):
            sent = asyncio.ensure_future(self.write_message(text))
            self.unread += len(text)
            sent.add_done_callback(lambda done: self._read(len(text), done))

    def _read(self, size: int, done: "asyncio.Future[None]") -> None:
        self.unread -= size
        done.exception()  # that it is closed is not news
