"""Polygon and FRED on this machine: their exact envelopes over the packaged real history, with faults on demand.

    with Replay() as server:                        # two environment variables point the package at server.url
        server.fault("truncated", path="/v2/aggs")  # the next such request; times=None for all of them
        server.log[-1].path

`python -m replay.server` in the folder tests serves in a process of its own: it prints its address, takes faults at
`/__fault?name=...&path=...&times=...` and shows its log at `/__log`.
"""

import dataclasses
import re
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from replay import fred, polygon
from replay.faults import FAULTS, MALFORMED, UNREGISTERED, Sent
from replay.history import Http, Params

POLYGON_KEY, FRED_KEY = "replay-polygon-key", "0123456789abcdef0123456789abcdef"


@dataclasses.dataclass(frozen=True)
class Asked:
    """One request as it arrived; `at` in monotonic seconds, `key` as it was sent, or ""."""

    at: float
    path: str
    params: Params
    key: str


class Replay:
    """Both providers at `url`; `canned` maps a path to a document that is sent instead of what the history says."""

    def __init__(self, port: int = 0) -> None:
        self.log: list[Asked] = []
        self.canned: dict[str, Any] = {}
        self.keys = {"polygon": POLYGON_KEY, "fred": FRED_KEY}
        self.elsewhere = "http://elsewhere.invalid"
        self.until: dict[str, str] = {}  # ticker, or "" for all -> the last day of which there are bars
        self.today = ""  # the day of its world: no later bar, split or dividend is known, nor adjusted for
        self._faults: list[list[Any]] = []
        self._lock, self.stopped = threading.Lock(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads, self._server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Replay":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def fault(self, *names: str, path: str = "", times: int | None = 1) -> None:
        """Do these wrong, in turn, at the next `times` requests (None: at all) whose path begins so."""
        for name in names:
            if name not in FAULTS:
                raise KeyError(f"no fault is called {name!r}")
        self._faults += [[name, path, times] for name in names]

    def heal(self) -> None:
        """Do nothing wrong any more."""
        self._faults.clear()

    def paths(self) -> list[str]:
        return [asked.path for asked in self.log]

    def busiest(self, seconds: float) -> int:
        """The largest number of requests that arrived in any window of that length."""
        times = sorted(asked.at for asked in self.log)
        return max((int(np.searchsorted(times, t + seconds)) - i for i, t in enumerate(times)), default=0)

    def answer(self, address: str, headers: Any) -> Sent:
        parts, at = urlsplit(address), time.monotonic()
        params = dict(parse_qsl(parts.query, keep_blank_values=True))
        bearer = (headers.get("Authorization") or "").removeprefix("Bearer ")
        key = bearer or params.pop("apiKey", "") or params.pop("api_key", "")
        if parts.path.startswith("/__"):
            return self._admin(parts.path, params)
        with self._lock:
            self.log.append(Asked(at, parts.path, params, key))
        sent = Sent(url=self.url + address, key=key, elsewhere=self.elsewhere)
        try:
            sent.document = self._document(parts.path, params, key)
        except Http as other:
            sent.status, sent.document = other.status, other.body
        name = self._next_fault(parts.path)
        return FAULTS[name](sent) if name else sent

    def _document(self, path: str, params: Params, key: str) -> Any:
        self._admitted("fred" if path.startswith("/fred/") else "polygon", key)
        if path in self.canned:
            return self.canned[path]
        if path in fred.ROUTES:
            return fred.ROUTES[path](params)
        for pattern, make in polygon.ROUTES:
            if found := re.fullmatch(pattern, path):
                params = params | ({polygon.TODAY: self.today} if self.today else {})
                return make(self.url, path, params, self._so_far(found.groups()))
        raise Http(404, {"status": "NOT_FOUND", "request_id": polygon.REQUEST, "message": "no such path"})

    def _so_far(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """The span of bars asked for, as far as it has happened."""
        last = self.until.get(found[0], self.until.get("")) if len(found) == 5 else None
        return found if last is None else (*found[:4], min(found[4], last))

    def _admitted(self, provider: str, key: str) -> None:
        if key == self.keys[provider]:
            return
        if provider == "polygon":
            said = "Unknown API Key" if key else "API Key was not provided"
            raise Http(401, {"status": "ERROR", "request_id": polygon.REQUEST, "error": said})
        raise Http(400, UNREGISTERED if re.fullmatch(r"[0-9a-z]{32}", key) else MALFORMED)

    def _next_fault(self, path: str) -> str | None:
        with self._lock:
            for entry in self._faults:
                if path.startswith(entry[1]):
                    if entry[2] is not None:
                        entry[2] -= 1
                    self._faults = [e for e in self._faults if e[2] != 0]
                    return str(entry[0])
        return None

    def _admin(self, path: str, params: Params) -> Sent:
        if path == "/__fault":
            times = params.get("times", "1")
            self.fault(params["name"], path=params.get("path", ""), times=None if times == "all" else int(times))
        return Sent(document=[dataclasses.asdict(asked) for asked in self.log])


def _handler(server: Replay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                self.give(server.answer(self.path, self.headers))
            except OSError:  # the client has left, as it should from a slow one
                self.close_connection = True

        def give(self, sent: Sent) -> None:
            body = b"" if sent.status == 204 else sent.bytes()
            length = len(body)
            match sent.how:
                case "timeout":
                    server.stopped.wait(30)
                case "reset" | "closed":
                    if sent.how == "reset":
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    return
                case "short":
                    body = body[: length // 2]
                case "huge":
                    length = 10**9
            head = f"HTTP/1.1 {sent.status} {self.responses[sent.status][0]}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in sent.headers.items())
            head += "" if sent.status == 204 else f"Content-Length: {length}\r\n"
            self.slowly(f"{head}\r\n".encode(), slow=sent.how == "drip_head")
            if sent.how == "huge":
                for _ in range(1000):
                    self.wfile.write(b" " * 10**6)
            self.slowly(body[:1000] if sent.how == "reset_in_body" else body, slow=sent.how == "drip")
            self.close_connection = self.close_connection or sent.how != "whole"

        def slowly(self, data: bytes, *, slow: bool) -> None:
            if not slow:
                self.wfile.write(data)
                return
            for i in range(len(data)):  # faster than the 1 byte/s of the real thing, so that no idle timeout ends it
                self.wfile.write(data[i : i + 1])
                if server.stopped.wait(0.1):
                    return

        def log_message(self, *_: object) -> None:
            """The log is `server.log`."""

    return Handler


if __name__ == "__main__":
    with Replay(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as replay:
        print(replay.url, flush=True)  # noqa: T201
        threading.Event().wait()
