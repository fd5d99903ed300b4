"""The time of the world that is replayed, for all that is committed in it; and where its alerts are sent."""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import pandas as pd

from mltrainer.data import live_bars
from mltrainer.trading.forecasts import ledger as forecasts
from mltrainer.trust import audit

SERVER = get_context("forkserver")  # a fork of this process would wait for the locks of threads it has not
SERVER.set_forkserver_preload(["mltrainer.trading.alerts", "mltrainer.trading.recommendations", "apprise"])
COMMITTING = (forecasts, audit)  # rooms that say when something was committed


def text(thing: Any) -> str:
    """What a reader sees of an answer, to the last digit."""
    if isinstance(thing, list):
        return "\n".join(map(text, thing))
    if isinstance(thing, pd.DataFrame):
        return thing.to_csv()
    return str(thing.text if hasattr(thing, "text") else thing.to_json())


class Clock(datetime):
    """From the moment it was set, in all processes alike, it goes on."""

    moment, since = datetime(2010, 3, 1, 23, tzinfo=UTC), time.monotonic()

    @classmethod
    def put(cls, moment: datetime) -> None:
        cls.moment, cls.since = moment, time.monotonic()

    @classmethod
    def now(cls, tz: Any = None) -> "Clock":
        return cls.fromtimestamp(cls.moment.timestamp() + time.monotonic() - cls.since, tz or UTC)


def apart(work: Callable[..., None], *given: object) -> BaseProcess:
    """Work, a function of a module, in a process of its own: in the same environment, and on the same evening."""
    through = live_bars.through
    evening = (Clock.moment, Clock.since, through.keywords["now"]) if isinstance(through, partial) else ()
    process = SERVER.Process(target=_begun, args=(dict(os.environ), evening, work, given))
    process.start()
    return process


def _begun(environment: Mapping[str, str], evening: tuple[Any, ...], work: Callable[..., None], given: Any) -> None:
    os.environ.clear()  # of the server, which may have begun in another test
    os.environ.update(environment)
    if evening:
        Clock.moment, Clock.since, now = evening
        for room in COMMITTING:
            room.datetime = Clock  # type: ignore[attr-defined]
        live_bars.through = partial(live_bars.through, now=now)
    work(*given)


class Inbox:
    """A receiver of messages on this machine; `status` is what it answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.status = 200
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if inbox.status == 200:
                    inbox.messages.append(json.loads(body))
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"json://someone:hunter2@127.0.0.1:{self.server.server_port}/alerts"

    @property
    def lines(self) -> list[str]:
        return [line for m in self.messages for line in m["message"].splitlines()]
