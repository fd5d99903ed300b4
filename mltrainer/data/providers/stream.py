"""Minute bars as they happen, over Polygon's (Massive's) WebSocket, where the plan has it.

What streams by is for looking at: it has no body that could be shown again later, so nothing is trained on it. The
same minutes come with their provenance from `market.bars(..., timespan="minute")` once the day is over.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

import pandas as pd
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from mltrainer.data.providers import polygon, registry, transport
from mltrainer.errors import BadInput, NotEntitled, ProviderError, Unavailable
from mltrainer.settings import settings
from mltrainer.trust import audit, gate

HOSTS = ("socket.massive.com", "delayed.massive.com", "socket.polygon.io", "delayed.polygon.io")
TRIES = 5  # connections in a row that bring nothing
WORDS = {"auth_failed": "did not accept the key", "max_connections": "has another connection of this key"}


@dataclass(frozen=True)
class Minute:
    """One finished minute of one ticker.

    Attributes
    ----------
    start, end : UTC.
    open, high, low, close, vwap : dollars; vwap is NaN where it was not sent.
    volume : shares of this minute.
    """

    ticker: str
    start: pd.Timestamp
    end: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float


class _Connect(connect):
    """A connection that is never led elsewhere: the key goes over it."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def minutes(*tickers: str, wait: float = 1.0) -> AsyncIterator[Minute]:
    """Every minute bar of `tickers` from now on, as each is over.

    Parameters
    ----------
    tickers : one or more.
    wait : seconds before the second attempt to connect; doubled each time. Minutes missed in between are not made up.

    Raises
    ------
    NotEntitled
        The key or the plan has no stream.
    ProviderError
        Five connections in a row failed, or what came cannot be right.
    """
    names = [polygon.ticker(name) for name in tickers]
    if not names:
        raise BadInput("name at least one ticker to stream")
    url, secret, failed = _address(), settings().polygon_api_key, 0
    if secret is None:
        raise Unavailable("Polygon streams to nobody without a key; set POLYGON_API_KEY")
    audit.append("stream", url=url, tickers=names)
    proxy: Literal[True] | None = True if settings().data_mode == "live" else None  # it is for the world, not for here
    while True:
        try:
            async with _Connect(url, open_timeout=10, max_size=2**22, proxy=proxy) as socket:
                await _say(socket, "auth", secret.get_secret_value(), until="auth_success")
                await _say(socket, "subscribe", ",".join(f"AM.{name}" for name in names), until="success")
                async for message in socket:
                    for event in _events(message):
                        if event.get("ev") == "AM":
                            failed = 0
                            yield minute(event, names)
                        elif event.get("ev") == "status":
                            _heed(event)
        except (OSError, WebSocketException) as error:
            if isinstance(error, ProviderError):
                raise
            why = registry.masked(str(error) or type(error).__name__)[:200]
        else:
            why = "the connection was closed"
        failed += 1
        if failed >= TRIES:
            _broken(
                f"stream failed {failed} times in a row: {why}; fetch the minutes with mt.bars once the day is over"
            )
        await asyncio.sleep(wait * 2 ** (failed - 1))


def _address() -> str:
    """Where the stream is in the mode in force: Polygon's own host, or this machine in replay."""
    now = settings()
    url = now.polygon_stream_url or f"wss://{HOSTS[0]}/stocks"
    parts, live = urlsplit(url), now.data_mode == "live"
    if now.data_mode == "sample":
        raise Unavailable("mode sample streams nothing; set POLYGON_API_KEY for live data")
    allowed = (parts.scheme == "wss" and parts.netloc in HOSTS) if live else parts.hostname in registry.LOOPBACK
    if not allowed or parts.path != "/stocks" or parts.query:
        where = "is not Polygon's" if live else "is not on this machine, and mode replay leaves it never"
        example = "wss://delayed.massive.com/stocks" if live else "ws://127.0.0.1:PORT/stocks"
        gate.refuse(
            f"the stream {(parts.hostname or url)[:80]!r}", where, f"set MLTRAINER_POLYGON_STREAM_URL to {example}"
        )
    return url


async def _say(socket: ClientConnection, action: str, words: str, *, until: str) -> None:
    """Send one action and read statuses until the one that means yes."""
    await socket.send(json.dumps({"action": action, "params": words}))
    async with asyncio.timeout(10):
        while True:
            for event in _events(await socket.recv()):
                if _heed(event) == until:
                    return


def _events(message: str | bytes) -> list[dict[str, Any]]:
    sent = message if isinstance(message, bytes) else message.encode()
    found = transport.parsed(registry.unkeyed(polygon.PROVIDER, "the stream", sent))
    if not isinstance(found, list) or not all(isinstance(event, dict) for event in found):
        polygon.wrong("envelope", "a message of the stream that is no list of events")
    return found


def _heed(event: dict[str, Any]) -> str:
    """The status an event tells; one that means no is an error in the provider's words."""
    status, said = str(event.get("status")), registry.masked(str(event.get("message", "")))[:200]
    if status in ("auth_failed", "auth_timeout") or (status == "error" and "access" in said.lower()):
        raise NotEntitled(
            f"Polygon's stream {WORDS.get(status, 'is not in the plan')}: {said}; check POLYGON_API_KEY", "polygon"
        )
    if status in ("max_connections", "error", "force_disconnect"):
        _broken(f"stream {WORDS.get(status, 'ended')}: {said}")
    return status


def _broken(what: str) -> NoReturn:
    raise ProviderError(f"Polygon's {what}", polygon.PROVIDER)


def minute(event: dict[str, Any], names: list[str]) -> Minute:
    """One event AM, checked as the rows of a page are."""
    symbol, end = str(event.get("sym")), event.get("e")
    if symbol not in names:
        polygon.wrong("ticker", f"a minute of {symbol[:40]!r} where {', '.join(names)} was asked for")
    fields = {"t": "s"} | {name: name for name in ("o", "h", "l", "c", "v", "vw")}
    row = {key: event[name] for key, name in fields.items() if name in event}
    document = {"status": "OK", "ticker": symbol, "resultsCount": 1, "results": [row]}
    bar = polygon.check_bars(document, ticker=symbol).iloc[0]
    if type(end) is not int or not bar["time"] < end <= bar["time"] + 60_000:
        polygon.wrong("milliseconds", f"a minute of {symbol} from {bar['time']:.15g} to {end!r:.40}")
    start, until = (pd.Timestamp(int(t), unit="ms", tz="UTC") for t in (bar["time"], end))
    values = {name: float(bar[name]) for name in ("open", "high", "low", "close", "volume", "vwap")}
    return Minute(symbol, start, until, **values)
