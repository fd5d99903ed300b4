"""The one way out: Polygon (Massive) and FRED are asked here and nowhere else, and what they say is kept with its hash.

Who may be asked what is the table `PROVIDERS`. An answer is complete, on time and JSON before anybody sees it; what a
provider could not have sent is an error, never an empty table. A kept answer that was changed is a violation.
"""

import json
import math
import os
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, urlsplit

from requests import PreparedRequest, Request
from requests.structures import CaseInsensitiveDict
from requests_cache import CachedSession, SQLiteCache
from requests_cache.backends import BaseCache
from requests_cache.models import CachedRequest, CachedResponse
from requests_cache.policy.settings import DEFAULT_IGNORED_PARAMS

from mltrainer import store
from mltrainer.data import wire
from mltrainer.errors import (
    BadInput,
    NotEntitled,
    ProviderError,
    StorageError,
    Unavailable,
    UnknownName,
)
from mltrainer.settings import settings
from mltrainer.trust import audit, gate

Check = Callable[[Any], None]


@dataclass(frozen=True)
class Provider:
    """Who may be asked: where, what, with which key, how often, and how long an answer is fresh."""

    name: str
    hosts: tuple[str, ...]
    paths: str
    key: str
    variable: str
    by_header: bool
    per_minute: Callable[[], int]
    keep: timedelta


_T = r"[A-Za-z0-9][A-Za-z0-9.:-]*"
_SPAN = "second|minute|hour|day|week|month|quarter|year"
_DAY = r"\d{4}-\d\d-\d\d"

PROVIDERS: dict[str, Provider] = {
    "polygon": Provider(
        name="Polygon",
        hosts=("https://api.massive.com", "https://api.polygon.io"),
        paths=rf"/v2/aggs/ticker/{_T}/(range/\d+/({_SPAN})/({_DAY}|\d+)/({_DAY}|\d+)|prev)"
        rf"|/v2/aggs/grouped/locale/us/market/stocks/{_DAY}|/v1/open-close/{_T}/{_DAY}"
        rf"|/v3/(trades|quotes)/{_T}|/v2/last/(trade|nbbo)/{_T}"
        rf"|/v3/reference/(tickers(/{_T})?|splits|dividends|exchanges|conditions)|/vX/reference/tickers/{_T}/events"
        rf"|/v2/snapshot/locale/us/markets/stocks/tickers(/{_T})?|/stocks/v1/(splits|dividends)"
        r"|/v1/marketstatus/(now|upcoming)|/vX/reference/financials|/benzinga/v1/earnings|/tmx/v1/corporate-events"
        r"|/fed/v1/(inflation|inflation-expectations|labor-market|treasury-yields)",
        key="polygon_api_key",
        variable="POLYGON_API_KEY",
        by_header=True,
        per_minute=lambda: settings().polygon_per_minute,
        keep=timedelta(minutes=15),
    ),
    "fred": Provider(
        name="FRED",
        hosts=("https://api.stlouisfed.org",),
        paths=r"/fred/series(/(observations|vintagedates|release|updates|search))?"
        r"|/fred/release(s|/dates|/series)?|/fred/releases/dates",
        key="fred_api_key",
        variable="FRED_API_KEY",
        by_header=False,
        per_minute=lambda: 120,
        keep=timedelta(hours=1),
    ),
}
TRIES, PAGES = 5, 10_000
TURN = 300.0  # seconds one may wait for one's turn under the rate that all processes share
AGAIN = {429, 500, 502, 503, 504}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KEY_NAME = re.compile(r"api_?key|authorization|token", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """One valid answer, from the wire or kept from an earlier time.

    Parameters
    ----------
    endpoint : scheme, host and path; neither query nor key.
    parameters : as asked, without keys.
    body, sha256 : the bytes as received, after transfer and content decoding.
    retrieved_at : UTC, ISO 8601: when the provider said it; a kept answer has its own time.
    """

    endpoint: str
    parameters: dict[str, str]
    status: int
    body: bytes
    sha256: str
    retrieved_at: str
    cached: bool

    @cached_property
    def _document(self) -> Any:
        return parsed(self.body)

    def json(self) -> Any:
        """The parsed body; the same object at every call."""
        return self._document


# --- asking ---------------------------------------------------------------------------------------------------


def source(provider: str) -> str:
    """Return the source id under which the gate admits what this provider says now: its own, or "replay"."""
    return "replay" if settings().data_mode == "replay" else provider


def get(
    provider: str,
    path: str,
    params: Mapping[str, object] | None = None,
    *,
    check: Check | None = None,
    keep: timedelta | None = None,
) -> Reply:
    """Ask a provider, or return what it said before if that is still fresh.

    Parameters
    ----------
    provider : "polygon" or "fred".
    path : one that `PROVIDERS` allows; anything else is a violation.
    params : None values are left out; keys are added by the session and refused here.
    check : gets the parsed answer and raises `ProviderError` where it cannot be right; only then it is kept.
    keep : for how long a kept answer is fresh; default the provider's. Not before it is old is it asked again, and a
        failure then is a failure: what is stale is only ever used with MLTRAINER_OFFLINE.
    """
    if not re.fullmatch(_provider(provider).paths, path):
        why = f"is none that {PROVIDERS[provider].name} may be asked"
        gate.refuse(f"the path {path[:80]!r}", why, "write the ticker as the exchange does, AAPL or BRK.B")
    named = [name for name in params or {} if _KEY_NAME.search(name)]
    if named:
        raise BadInput(f"parameter {named[0]!r} looks like a key; set {PROVIDERS[provider].variable} instead")
    asked = {name: _text(value) for name, value in (params or {}).items() if value is not None}
    return _reply(provider, _base(provider) + path, asked, check, keep)


def follow(provider: str, next_url: str, *, check: Check | None = None, keep: timedelta | None = None) -> Reply:
    """Ask for the next page where a provider says it is: on its own host and an allowed path, else a violation."""
    row, base = _provider(provider), _base(provider)
    here, there = urlsplit(base), urlsplit(str(next_url))
    own = {urlsplit(host).netloc for host in row.hosts} if settings().data_mode == "live" else {here.netloc}
    at_home = there.scheme == here.scheme and there.netloc in own
    if not at_home or not re.fullmatch(row.paths, there.path):
        found = f"{there.scheme}://{there.hostname}{there.path}"[:120]
        remedy = "nothing was sent there; tell the provider, or try again later"
        gate.refuse(f"the next page {found!r}", f"is not {row.name}'s own", remedy)
    # As the official client does: only path and query are taken, and a key that came along is dropped.
    asked = {name: value for name, value in parse_qsl(there.query, True) if not _KEY_NAME.search(name)}
    return _reply(provider, base + there.path, asked, check, keep)


def pages(
    provider: str,
    path: str,
    params: Mapping[str, object] | None = None,
    *,
    check: Check | None = None,
    keep: timedelta | None = None,
) -> Iterator[Reply]:
    """Every page of an answer, in order; a page that leads back to an earlier one is a `ProviderError`."""
    reply, seen = get(provider, path, params, check=check, keep=keep), set[str]()
    for _ in range(PAGES):
        yield reply
        document = reply.json()
        onward = document.get("next_url") if isinstance(document, dict) else None
        if not onward:
            return
        if onward in seen:
            break
        seen.add(onward)
        reply = follow(provider, onward, check=check, keep=keep)
    _failed(provider, f"sends pages that do not end ({len(seen)} so far); narrow the span")


def parsed(body: bytes) -> Any:
    """Read JSON as its standard has it; raise `ProviderError` for anything else, NaN and repeated names included."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise ProviderError("the answer begins with a byte order mark, which JSON must not; it was not kept")
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise ProviderError("the answer is not in UTF-8; it was not kept") from None
    except (ValueError, RecursionError) as error:
        said = "empty" if not body.strip() else f"no JSON ({str(error)[:80]})"
        raise ProviderError(f"the answer is {said}; it was not kept") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _provider(name: str) -> Provider:
    if name not in PROVIDERS:
        raise UnknownName.of("provider", name, PROVIDERS)
    return PROVIDERS[name]


def _base(provider: str) -> str:
    """Where the provider answers in the mode in force: its own host in live, this machine in replay."""
    row, now, variable = PROVIDERS[provider], settings(), f"MLTRAINER_{provider.upper()}_URL"
    url = str(getattr(now, f"{provider}_url") or "").rstrip("/").removesuffix("/fred")
    if now.data_mode == "live":
        if not url or url in row.hosts:
            return url or row.hosts[0]
        remedy = f"unset {variable}, or set MLTRAINER_MODE=replay for answers served on this machine"
        gate.refuse(f"the address {_host(url)!r}", f"is not {row.name}'s", remedy)
    if now.data_mode == "sample":
        raise Unavailable(f"mode sample asks no provider; set {row.variable} and MLTRAINER_MODE=live")
    if not url:
        raise BadInput(f"mode replay needs {variable}, the address of a server on this machine")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname not in LOOPBACK or parts.path or "@" in parts.netloc:
        remedy = f"set {variable} to http://127.0.0.1:PORT"
        gate.refuse(f"the address {_host(url)!r}", "is not on this machine, and mode replay leaves it never", remedy)
    return url


def _host(url: str) -> str:
    return (urlsplit(url).hostname or url.partition("?")[0])[:80]


def _reply(provider: str, endpoint: str, asked: dict[str, str], check: Check | None, keep: timedelta | None) -> Reply:
    row, kept, offline = PROVIDERS[provider], _cache(provider), settings().offline
    request = Request("GET", endpoint, params=asked).prepare()  # without key: it names the question, not who asks
    key = kept.create_key(request)
    held = _held(kept, key, provider, endpoint)
    if held is not None:
        body, at = held
        age = datetime.now(UTC) - datetime.fromisoformat(at)
        if offline or age < (row.keep if keep is None else keep):
            reply = Reply(endpoint, asked, HTTPStatus.OK, body, sha256(body).hexdigest(), at, True)
            _checked(reply, provider, check)
            return reply
    if offline:
        raise Unavailable(f"{endpoint} was not fetched before with these parameters; unset MLTRAINER_OFFLINE to ask")
    body = _asked(provider, endpoint, asked)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    reply = Reply(endpoint, asked, HTTPStatus.OK, body, sha256(body).hexdigest(), at, False)
    _checked(reply, provider, check)
    _keep(kept, key, request, reply)
    return reply


def _checked(reply: Reply, provider: str, check: Check | None) -> None:
    try:
        document = reply.json()
    except ProviderError as error:
        said = str(error)
    else:
        if check is not None:
            check(document)
        return
    _failed(provider, f"failed at {urlsplit(reply.endpoint).path}: {said}", reply.status)


# --- the wire -------------------------------------------------------------------------------------------------


def _asked(provider: str, endpoint: str, asked: dict[str, str], *, turn: float = TURN) -> bytes:  # noqa: RET503 - it raises
    """The body of a 200 answer in JSON; tried again where that can help, in all no longer than MLTRAINER_WIRE_SECONDS.

    The clock starts with the first request that is let go, and each further one takes a turn of its own.
    """
    row, key, until, wait = PROVIDERS[provider], _key(provider), math.inf, 0.0
    path, allowed, budget = urlsplit(endpoint).path, row.per_minute(), settings().wire_seconds
    for tries in range(TRIES):
        time.sleep(wait)
        if not wire.take_turn(_private(turns()), provider, allowed, min(turn, until - time.monotonic())):
            if not tries:
                used = f"the {allowed} requests a minute are used up by this and other processes"
                _failed(provider, f"was not asked: {used}; try again later, or set what the plan allows")
            break
        until = min(until, time.monotonic() + budget)
        answer = wire.exchange(endpoint, asked, key, by_header=row.by_header, until=until)
        if not answer.failure and answer.status not in AGAIN:
            return _body(provider, endpoint, answer)
        wait = answer.retry_after if answer.retry_after is not None else random.uniform(0.25, 0.5) * 2**tries  # noqa: S311 - jitter
        if answer.final or time.monotonic() + wait > until:
            break
    again = f"tried {tries + 1} times; " if tries else ""
    asks = f" and asks to wait {answer.retry_after:.0f} s" if answer.retry_after else ""
    said = answer.failure or f"answered {answer.status}{_words(answer.body)}{asks}"
    _failed(
        provider, f"failed at {path}: {said}; {again}nothing stands in for it, try again later", answer.status or None
    )


def _body(provider: str, endpoint: str, answer: wire.Answer) -> bytes:
    """What a 200 answer in JSON holds; for any other the error that says what to do."""
    row, path, words = PROVIDERS[provider], urlsplit(endpoint).path, _words(answer.body)
    refused = answer.status in (401, 403) or (answer.status == 400 and "api_key" in words)
    if refused:
        audit.append("not_entitled", provider=provider, path=path, status=answer.status, said=words[2:])
        remedy = f"check {row.variable}" if answer.status != 403 else f"the plan of {row.variable} does not hold it"
        raise NotEntitled(f"{row.name} refused {path} ({answer.status}){words}; {remedy}", provider, answer.status)
    if 300 <= answer.status < 400:
        _failed(provider, f"sent {path} elsewhere ({answer.status}); redirects are never followed", answer.status)
    if answer.status != HTTPStatus.OK:
        _failed(provider, f"answered {answer.status} at {path}{words}; correct what was asked", answer.status)
    if answer.kind != "application/json":
        found = re.sub(r"[^\w./+-]", "?", answer.kind)[:40] or "no type"
        _failed(provider, f"sent {found} instead of JSON at {path}; it was not kept", answer.status)
    return answer.body


def _failed(provider: str, what: str, status: int | None = None) -> NoReturn:
    raise ProviderError(f"{PROVIDERS[provider].name} {what}", provider, status)


def _words(body: bytes) -> str:
    """What the provider itself says went wrong, with keys masked; or nothing."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    names = ("error_message", "message", "error")
    said = next((found[n] for n in names if isinstance(found.get(n), str)), "") if isinstance(found, dict) else ""
    line = " ".join(re.sub(r"[^\x20-\x7e]", " ", masked(said)).split())
    return f": {line[:240]}" if line else ""


def _key(provider: str) -> str:
    row, secret = PROVIDERS[provider], getattr(settings(), PROVIDERS[provider].key)
    key = secret.get_secret_value().strip() if secret else ""
    if not key:
        raise Unavailable(f"{row.name} answers nobody without a key; set {row.variable}")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise BadInput(f"{row.variable} holds a character that no key has; set it anew")
    return key


def masked(text: str) -> str:
    """The text with every configured key, plain or quoted, and every parameter named like one, replaced by `***`."""
    for row in PROVIDERS.values():
        secret = getattr(settings(), row.key)
        for form in {s for s in ((secret.get_secret_value() if secret else "").strip(),) for s in (s, quote(s))}:
            text = text.replace(form, "***") if form else text
    return re.sub(r"(?i)((?:api_?key|token)=)[^&\s\"']+", r"\1***", text)


wire.mask_logs(masked)


# --- what is kept ---------------------------------------------------------------------------------------------


def _private(path: Path) -> Path:
    """Make sure the file is there and readable by its owner only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        remedy = "give this user the permission, or set MLTRAINER_HOME to a folder you own"
        raise StorageError(f"{path}: it cannot be written ({error.strerror}); {remedy}") from None
    return path


def _cache(provider: str) -> BaseCache:
    now = settings()
    if provider == "fred" and not now.fred_on_disk:
        return _opened(f"memory {now.home}", os.getpid(), 0)
    if now.cache_url:
        return _opened(now.cache_url, os.getpid(), 0)
    path = _private(now.home / "answers.sqlite")
    return _opened(str(path), os.getpid(), path.stat().st_ino)


@cache
def _opened(where: str, _process: int, _file: int) -> BaseCache:
    if where.startswith("memory "):
        backend = BaseCache()
    elif "://" not in where:
        backend = SQLiteCache(where, serializer="json", busy_timeout=60_000)  # never pickle: a row would be code
    elif where.startswith(("redis://", "rediss://")):
        backend = _redis(where)
    else:
        raise BadInput("setting MLTRAINER_CACHE_URL is no redis:// address; leave it out for a file in MLTRAINER_HOME")
    ignored = (*DEFAULT_IGNORED_PARAMS, "apiKey", "X-API-KEY")  # a list of one's own would replace the defaults
    return CachedSession(backend=backend, ignored_parameters=ignored).cache


def _redis(url: str) -> BaseCache:
    try:
        from redis import Redis
        from requests_cache.backends.redis import RedisCache
    except ImportError:
        raise Unavailable("MLTRAINER_CACHE_URL needs redis; pip install 'mltrainer[server]'") from None
    return RedisCache("mltrainer", connection=Redis.from_url(url), serializer="json", ttl=False)


def turns() -> Path:
    """The file in which all processes of this home take their turns."""
    return settings().home / "turns.sqlite"


def _held(kept: BaseCache, key: str, provider: str, endpoint: str) -> tuple[bytes, str] | None:
    """Body and time of a kept answer, its hash shown again; one that was changed is a violation, not a miss."""
    try:
        response = kept.get_response(key)
        if response is None and not kept.contains(key):
            return None
        body = (response.content if response is not None else b"") or b""
    except sqlite3.OperationalError as error:
        raise StorageError(f"kept answers cannot be read ({error}); see mltrainer doctor") from None
    except Exception:  # whatever a changed row makes the reader say
        body = b""
    noted, digest = store.noted_answers(key), sha256(body).hexdigest()
    if digest not in noted:
        why = f"is not what {PROVIDERS[provider].name} sent (sha256 {digest[:12]} was never received)"
        gate.refuse(f"the kept answer of {endpoint}", why, f"see who changed it, then remove {_where(provider)}")
    return body, noted[digest]


def _keep(kept: BaseCache, key: str, request: PreparedRequest, reply: Reply) -> None:
    store.note_answer(key, reply.sha256, reply.retrieved_at)  # first: nobody must find an answer without its hash
    headers = CaseInsensitiveDict({"Content-Type": "application/json"})
    asked = CachedRequest.from_request(request)
    response = CachedResponse(
        content=reply.body,
        status_code=reply.status,
        headers=headers,
        request=asked,
        url=request.url or "",
        encoding="utf-8",
    )
    kept.save_response(response, key)


def _where(provider: str) -> str:
    if provider == "fred" and not settings().fred_on_disk:
        return "it by starting again"
    return "it from redis" if settings().cache_url else str(settings().home / "answers.sqlite")
