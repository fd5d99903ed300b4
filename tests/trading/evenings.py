"""The time of the world that is replayed, for all that is committed in it; and where its alerts are sent."""

import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pandas as pd


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
