"""Minutes stream in as they happen: the frames of Polygon's documentation, over a real WebSocket on this machine."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pandas as pd
import pytest
from replay.server import POLYGON_KEY
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from mltrainer.data.providers import stream
from mltrainer.errors import BadInput, NotEntitled, ProviderError, Refused, Unavailable
from mltrainer.trust import audit

# as the documentation of the stream shows it
AM = {
    "ev": "AM", "sym": "GTE", "v": 4110, "av": 9470157, "op": 0.4372, "vw": 0.4488, "o": 0.4488, "c": 0.4486,
    "h": 0.4489, "l": 0.4486, "a": 0.4352, "z": 685, "s": 1610144640000, "e": 1610144700000,
}  # fmt: skip
CONNECTED = {"ev": "status", "status": "connected", "message": "Connected Successfully"}
ADMITTED = {"ev": "status", "status": "auth_success", "message": "authenticated"}
DENIED = {"ev": "status", "status": "auth_failed", "message": f"authentication failed for {POLYGON_KEY}"}
NOT_IN_PLAN = {"ev": "status", "status": "error", "message": "You don't have access to this data."}
OCCUPIED = {"ev": "status", "status": "max_connections", "message": "Maximum number of connections exceeded."}


class Server:
    """Says what Polygon says; each connection plays the next script, and then closes."""

    def __init__(self, *scripts: list[Any], auth: dict[str, Any] = ADMITTED, subscribed: Any = None) -> None:
        self.scripts, self.auth, self.subscribed = list(scripts), auth, subscribed
        self.heard: list[dict[str, Any]] = []

    async def speak(self, line: ServerConnection) -> None:
        await line.send(json.dumps([CONNECTED]))
        self.heard.append(json.loads(await line.recv()))
        await line.send(json.dumps([self.auth]))
        self.heard.append(json.loads(await line.recv()))
        done = {"ev": "status", "status": "success", "message": f"subscribed to: {self.heard[-1]['params']}"}
        await line.send(json.dumps([self.subscribed or done]))
        for message in self.scripts.pop(0) if self.scripts else []:
            await line.send(message if isinstance(message, str) else json.dumps(message))


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """Run it in a thread of its own: in this one the browser tests may have left a loop that runs."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


@asynccontextmanager
async def listening(server: Server, **more: Any) -> AsyncIterator[str]:
    async with serve(server.speak, "127.0.0.1", 0, **more) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/stocks"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    monkeypatch.setenv("POLYGON_API_KEY", POLYGON_KEY)


def received(monkeypatch: pytest.MonkeyPatch, server: Server, *tickers: str, n: int = 1, **more: Any) -> list[Any]:
    """The first n minutes that the stream gives, or what it raises."""

    async def listen() -> list[Any]:
        async with listening(server, **more) as url:
            monkeypatch.setenv("MLTRAINER_POLYGON_STREAM_URL", url)
            found: list[Any] = []
            async for bar in stream.minutes(*tickers, wait=0.001):
                found.append(bar)
                if len(found) == n:
                    break
            return found

    return finished(listen())


def test_a_minute_is_read_as_sent_after_key_and_subscription(monkeypatch):
    server = Server([[AM]])
    [bar] = received(monkeypatch, server, "gte", "MSFT")
    assert server.heard == [
        {"action": "auth", "params": POLYGON_KEY},
        {"action": "subscribe", "params": "AM.GTE,AM.MSFT"},
    ]
    start = pd.Timestamp("2021-01-08 22:24", tz="UTC")
    assert (bar.ticker, bar.start, bar.end) == ("GTE", start, start + pd.Timedelta(minutes=1))
    assert (bar.open, bar.high, bar.low, bar.close) == (0.4488, 0.4489, 0.4486, 0.4486)
    assert (bar.volume, bar.vwap) == (4110.0, 0.4488)  # of the minute, not of the day


def test_a_lost_connection_is_made_again_and_the_minutes_go_on(monkeypatch):
    later = AM | {"s": AM["e"], "e": AM["e"] + 60_000}
    server = Server([[AM]], [], [[later]])
    bars = received(monkeypatch, server, "GTE", n=2)
    assert [bar.start.minute for bar in bars] == [24, 25]
    assert [said["action"] for said in server.heard] == ["auth", "subscribe"] * 3


def test_connections_that_bring_nothing_are_given_up(monkeypatch):
    server = Server()
    with pytest.raises(ProviderError, match="failed 5 times in a row"):
        received(monkeypatch, server, "GTE")
    assert len(server.heard) == 10


@pytest.mark.parametrize(
    ("server", "kind", "words"),
    [
        (Server(auth=DENIED), NotEntitled, "did not accept the key"),
        (Server(subscribed=NOT_IN_PLAN), NotEntitled, "You don't have access"),
        (Server(auth=OCCUPIED), ProviderError, "another connection of this key"),
    ],
)
def test_a_no_is_heard_at_once_in_the_providers_words_and_without_the_key(monkeypatch, server, kind, words):
    with pytest.raises(kind, match=words) as caught:
        received(monkeypatch, server, "GTE")
    assert POLYGON_KEY not in str(caught.value)
    assert len(server.heard) <= 2


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ([AM | {"c": None}], "number"),
        ([AM | {"o": 0}], "price"),
        ([AM | {"sym": "ZZZZ"}], "ticker"),
        ([AM | {"s": AM["s"] // 1000}], "milliseconds"),
        ([AM | {"e": AM["s"]}], "milliseconds"),
        ([AM | {"e": "soon"}], "milliseconds"),
        (AM, "envelope"),
        ("[1]", "envelope"),
    ],
)
def test_what_cannot_be_right_ends_the_stream_with_its_rule(monkeypatch, message, rule):
    with pytest.raises(ProviderError, match=rf"rule {rule}\)"):
        received(monkeypatch, Server([message]), "GTE")
    assert audit.entries(kind="violation")[-1].payload["rule"] == rule


def test_a_key_that_the_stream_repeats_is_masked_in_whatever_it_says(monkeypatch):
    for form in (POLYGON_KEY, POLYGON_KEY.upper()):
        with pytest.raises(ProviderError, match=r"a minute of '\*\*\*'"):
            received(monkeypatch, Server([[AM | {"sym": form}]]), "GTE")


def test_what_is_no_json_ends_the_stream(monkeypatch):
    with pytest.raises(ProviderError, match="no JSON"):
        received(monkeypatch, Server(['[{"ev":"AM","c":NaN}]']), "GTE")


def test_the_key_is_never_carried_along_a_redirect(monkeypatch):
    server = Server([[AM]])

    def elsewhere(_socket: ServerConnection, _request: Any) -> Response:
        return Response(302, "Found", Headers({"Location": "ws://127.0.0.1:9/stocks"}))

    with pytest.raises(ProviderError, match="HTTP 302"):
        received(monkeypatch, server, "GTE", process_request=elsewhere)
    assert server.heard == []


def test_the_key_is_never_handed_to_a_proxy_for_a_stream_on_this_machine(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.05)
        for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        server = Server([[AM]])
        assert len(received(monkeypatch, server, "GTE")) == 1
        with pytest.raises(TimeoutError):
            proxy.accept()


@pytest.mark.parametrize(
    ("mode", "url"),
    [
        ("live", "wss://socket.massive.com.evil.example/stocks"),
        ("live", "ws://socket.massive.com/stocks"),
        ("live", "wss://user@socket.massive.com/stocks"),
        ("live", "wss://socket.massive.com/options"),
        ("live", "ws://127.0.0.1:9/stocks"),
        ("replay", "wss://socket.massive.com/stocks"),
    ],
)
def test_only_the_providers_own_stream_is_opened(monkeypatch, mode, url):
    monkeypatch.setenv("MLTRAINER_MODE", mode)
    monkeypatch.setenv("MLTRAINER_POLYGON_STREAM_URL", url)
    with pytest.raises(Refused, match="the stream"):
        finished(anext(stream.minutes("GTE")))


def test_hostile_tickers_no_key_and_the_sample_stream_nothing(monkeypatch):
    for names in (("../x",), ("A,T.*",), ()):
        with pytest.raises(BadInput):
            finished(anext(stream.minutes(*names)))
    monkeypatch.setenv("MLTRAINER_MODE", "sample")
    with pytest.raises(Unavailable, match="sample"):
        finished(anext(stream.minutes("GTE")))
