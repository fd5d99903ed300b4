"""The one way out: Polygon (Massive) and FRED are asked here and nowhere else, and what they say is kept with its hash.

Who may be asked what is the table of `registry`. An answer is complete, on time and JSON before anybody sees it; what a
provider could not have sent is an error, never an empty table. A kept answer that was changed is a violation.
"""

import json
import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from mltrainer.data.providers import cache, registry, transport, turns
from mltrainer.data.providers.registry import PROVIDERS
from mltrainer.errors import (
    BadInput,
    MltrainerError,
    NotEntitled,
    ProviderError,
    Refused,
    Unavailable,
)
from mltrainer.settings import settings
from mltrainer.trust import audit, gate

log = logging.getLogger(__name__)  # without a handler of the user's, warnings go to stderr
Params = Mapping[str, object] | None
Check = Callable[[Any], None] | None
Keep = timedelta | None
Read = Callable[[bytes], Any]


TRIES, PAGES = 5, 100
TURN = 300.0  # seconds one may wait for one's turn under the rate that all processes share
AGAIN = {429, 500, 502, 503, 504}
NEW_YORK = ZoneInfo("America/New_York")
_KEY_NAME = re.compile(r"api_?key|authorization|token", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """One valid answer, from the wire or kept from an earlier time.

    Parameters
    ----------
    endpoint : scheme, host and path; neither query nor key.
    parameters : as asked, without keys.
    body, sha256 : the bytes as received, after transfer and content decoding; a key of ours in it is masked.
    retrieved_at : UTC, ISO 8601: when the provider said it; a kept answer has its own time.
    read : how a body becomes a document.
    """

    endpoint: str
    parameters: dict[str, str]
    status: int
    body: bytes
    sha256: str
    retrieved_at: str
    cached: bool
    read: Read = transport.parsed

    @cached_property
    def _document(self) -> Any:
        return self.read(self.body)

    def json(self) -> Any:
        """The parsed body; the same object at every call."""
        return self._document


# --- asking ---------------------------------------------------------------------------------------------------


@dataclass
class _Whole:
    """What was asked for one answer: every question with a kept reply, and failures that concern one reply only."""

    parts: list[tuple[str, Any]] = field(default_factory=list)
    alone: list[ProviderError] = field(default_factory=list)


_whole: ContextVar[_Whole | None] = ContextVar("whole", default=None)


@contextmanager
def whole() -> Iterator[None]:
    """Take all that is asked inside as one answer: once it is refused, nothing of it stays kept.

    A reply that fails by itself leaves those before it, so that a download goes on where it was. What is accepted
    takes the place of the same with an earlier end.
    """
    if _whole.get() is not None:
        yield
        return
    scope = _Whole()
    token = _whole.set(scope)
    try:
        yield
    except (ProviderError, Refused) as error:
        if not any(error is each for each in scope.alone) and not settings().offline:
            for part in scope.parts:
                cache.forget(*part)
        raise
    finally:
        _whole.reset(token)
    for part in scope.parts if not settings().offline else []:
        cache.supersede(*part)


def get(
    provider: str,
    path: str,
    params: Params = None,
    *,
    check: Check = None,
    keep: Keep = None,
    day: str | None = None,
    read: Read = transport.parsed,
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
    day : of New York, YYYY-MM-DD, on which a kept answer must have come to be fresh; default any.
    read : how a body becomes a document, `ProviderError` where it cannot; `columns.parsed` for many rows of numbers.
    """
    if not re.fullmatch("|".join(registry.named(provider).paths), path):
        why = f"is none that {PROVIDERS[provider].name} may be asked"
        gate.refuse(
            f"the path {path[:80]!r}", why, "write the ticker as the exchange does, AAPL or BRK.B", kind="mistake"
        )
    named = [name for name in params or {} if _KEY_NAME.search(name)]
    if named:
        raise BadInput(f"parameter {named[0]!r} looks like a key; set {PROVIDERS[provider].variable} instead")
    asked = {name: _text(value) for name, value in (params or {}).items() if value is not None}
    return _reply(provider, registry.address(provider) + path, asked, check, keep, day, read)


def follow(
    provider: str,
    next_url: str,
    *,
    check: Check = None,
    keep: Keep = None,
    day: str | None = None,
    read: Read = transport.parsed,
) -> Reply:
    """Ask for the next page where a provider says it is: on its own host and an allowed path, else a violation."""
    row, base = registry.named(provider), registry.address(provider)
    own = row.hosts if settings().data_mode == "live" else (base,)
    address, _, query = str(next_url).partition("?")
    home = next((host for host in own if re.fullmatch(f"{re.escape(host)}({'|'.join(row.paths)})", address)), None)
    if home is None:
        shown, remedy = registry.masked(address)[:120], "nothing was sent there; tell the provider, or try again later"
        gate.refuse(f"the next page {shown!r}", f"is not {row.name}'s own", remedy)
    # As the official client does: only path and query are taken, and a key that came along is dropped.
    asked = {name: value for name, value in parse_qsl(query, True) if not _KEY_NAME.search(name)}
    return _reply(provider, base + address.removeprefix(home), asked, check, keep, day, read)


def pages(
    provider: str,
    path: str,
    params: Params = None,
    *,
    check: Check = None,
    keep: Keep = None,
    most: int = PAGES,
    read: Read = transport.parsed,
) -> Iterator[Reply]:
    """Every page of an answer, in order, all said on one day of New York: splits and corrections come overnight.

    More than `most` pages, a page that leads back to an earlier one and one that repeats the rows of the page before
    it are a `ProviderError`.
    """
    how: dict[str, Any] = {"check": check, "keep": keep, "read": read}
    reply, offline, seen = get(provider, path, params, **how), settings().offline, set[str]()
    if _onward(reply) and _day(reply) != _today() and not offline:
        reply = get(provider, path, params, day=_today(), **how)
    day, rows = _day(reply), list[Any]()
    while True:
        if _day(reply) != day:
            why = f"pages of {day} and {_day(reply)}, between which splits and corrections may lie"
            if offline:
                raise Unavailable(f"{reply.endpoint} was kept in {why}; unset MLTRAINER_OFFLINE to ask again")
            raise _failure(provider, f"sent {why}; ask again", reply.status)
        yield reply
        onward, before = _onward(reply), rows
        if not onward:
            return
        seen.add(onward)
        rows = reply.json().get("results")
        if len(seen) >= most or (rows is not None and rows == before):
            break
        reply = follow(provider, onward, day=day, **how)
        if _onward(reply) in seen:
            break
    raise _failure(provider, f"sends pages that do not end ({len(seen)} so far); narrow the span", HTTPStatus.OK)


def _onward(reply: Reply) -> str | None:
    document = reply.json()
    return str(document.get("next_url") or "") or None if isinstance(document, dict) else None


def _day(reply: Reply) -> str:
    return str(datetime.fromisoformat(reply.retrieved_at).astimezone(NEW_YORK).date())


def _today() -> str:
    return str(datetime.now(NEW_YORK).date())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def _reply(
    provider: str,
    endpoint: str,
    asked: dict[str, str],
    check: Check,
    keep: Keep,
    day: str | None = None,
    read: Read = transport.parsed,
) -> Reply:
    fresh, offline = PROVIDERS[provider].keep if keep is None else keep, settings().offline
    question, scope = transport.question(endpoint, asked), _whole.get() or _Whole()
    held = cache.recall(provider, question)
    if held is not None:
        body, digest, at = held
        reply = Reply(endpoint, asked, HTTPStatus.OK, body, digest, at, True, read)
        age = datetime.now(UTC) - datetime.fromisoformat(at)
        if offline or (age < fresh and day in (None, _day(reply))):
            scope.parts.append((provider, question))
            _checked(reply, provider, check)
            return reply
    if offline:
        raise Unavailable(f"{endpoint} was not fetched before with these parameters; unset MLTRAINER_OFFLINE to ask")
    try:
        body = registry.unkeyed(provider, urlsplit(endpoint).path, _asked(provider, endpoint, asked))
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        reply = Reply(endpoint, asked, HTTPStatus.OK, body, sha256(body).hexdigest(), at, False, read)
        _checked(reply, provider, check)
    except ProviderError as error:
        scope.alone.append(error)
        raise
    cache.keep(provider, question, body, reply.sha256, at, fresh)
    scope.parts.append((provider, question))
    return reply


def _checked(reply: Reply, provider: str, check: Check) -> None:
    try:
        document = reply.json()
    except ProviderError as error:
        said = str(error)
    else:
        if check is not None:
            check(document)
        return
    raise _failure(provider, f"failed at {urlsplit(reply.endpoint).path}: {said}", reply.status)


# --- the wire -------------------------------------------------------------------------------------------------


def standing(provider: str, *, seconds: float = 5.0) -> str:
    """Address, whether it answers, turns used and what the plan refused; a line for `mltrainer doctor`."""
    row, now = registry.named(provider), settings()
    if now.data_mode == "sample":
        return "not asked in mode sample"
    url, said = registry.address(provider), ["gives no answer in time"]

    def ask() -> None:
        try:
            _asked(provider, url + row.probe[0], row.probe[1], once=seconds)
            said.append("answers, and takes the key")
        except MltrainerError as error:
            said.append(str(error))

    if not getattr(now, row.key) or now.offline:
        said.append("not asked: MLTRAINER_OFFLINE is set" if now.offline else f"not asked: {row.variable} is not set")
    else:
        asking = Thread(target=ask, daemon=True)  # to look a name up can take longer than any timeout
        asking.start()
        asking.join(seconds)
    used = f"{turns.taken(registry.turns_at(), provider)} of {row.per_minute()} requests used in the last minute"
    refused = [e for e in audit.entries(limit=20, kind="not_entitled") if e.payload.get("provider") == provider]
    plan = f"; last refused: {refused[-1].payload['path']} {refused[-1].payload['said']}" if refused else ""
    return f"{url}: {said[-1]}; {used}{plan}"


def _asked(provider: str, endpoint: str, asked: dict[str, str], *, once: float | None = None) -> bytes:
    """The body of a 200 answer in JSON; tried again where that can help, in all no longer than MLTRAINER_WIRE_SECONDS.

    The clock starts with the first request that is let go, and each further one takes a turn of its own. With `once`
    it is asked but once, in so many seconds, which includes the wait for a turn.
    """
    row, key, until, wait, tries = PROVIDERS[provider], registry.key_of(provider), math.inf, 0.0, 0
    path, allowed, answer = urlsplit(endpoint).path, row.per_minute(), transport.Answer()
    turn, budget, most = (once / 5, once * 4 / 5, 1) if once else (TURN, settings().wire_seconds, TRIES)
    while True:
        time.sleep(wait)
        if not _turn(provider, allowed, min(turn, until - time.monotonic())):
            if not tries:
                used = f"the {allowed} requests a minute are used up by this and other processes"
                raise _failure(provider, f"was not asked: {used}; try again later, or set what the plan allows")
            break
        until = min(until, time.monotonic() + budget)
        came = transport.exchange(endpoint, asked, key, by_header=row.by_header, until=until)
        if came.failure and answer.status and time.monotonic() >= until:
            break  # what the provider said before says more than that the time is up
        answer = came
        if not answer.failure and answer.status not in AGAIN:
            return _body(provider, endpoint, answer)
        tries, jitter = tries + 1, random.uniform(0.2, 0.4)  # noqa: S311 - so that not all come back at once
        wait = jitter * 2 ** (tries - 1) if answer.retry_after is None else answer.retry_after + jitter
        if answer.final or tries == most or time.monotonic() + wait > until:
            break
    again = f"tried {tries} times; " if tries > 1 else ""
    asks = f" and asks to wait {answer.retry_after:.0f} s" if answer.retry_after else ""
    said = answer.failure or f"answered {answer.status}{_words(answer.body)}{asks}"
    said = f"failed at {path}: {said}; {again}nothing stands in for it, try again later"
    raise _failure(provider, said, answer.status or None)


def _turn(provider: str, allowed: int, patience: float) -> bool:
    """Wait for a turn; who waits longer than a moment is told what for, once a minute."""
    where, moment = registry.turns_at(), min(patience, 1.0)
    if isinstance(where, Path):
        cache.private(where)
    if turns.take(where, provider, allowed, moment):
        return True
    if patience > moment and time.monotonic() - _waiting.get(provider, -math.inf) > 60:
        _waiting[provider] = time.monotonic()
        name, remedy = PROVIDERS[provider].name, "; MLTRAINER_POLYGON_PER_MINUTE says how many your plan allows"
        remedy = remedy if provider == "polygon" else ""
        log.warning("waiting for a turn: the %d requests a minute to %s are used up%s", allowed, name, remedy)
    return patience > moment and turns.take(where, provider, allowed, patience - moment)


_waiting: dict[str, float] = {}  # when it was last said


def _body(provider: str, endpoint: str, answer: transport.Answer) -> bytes:
    """What a 200 answer in JSON holds; for any other the error that says what to do."""
    row, path = PROVIDERS[provider], urlsplit(endpoint).path
    words = "" if answer.status == HTTPStatus.OK else _words(answer.body)
    refused = answer.status in (401, 403) or (answer.status == 400 and "api_key" in words)
    if refused:
        audit.append("not_entitled", provider=provider, path=path, status=answer.status, said=words[2:])
        remedy = f"check {row.variable}" if answer.status != 403 else f"the plan of {row.variable} does not hold it"
        raise NotEntitled(f"{row.name} refused {path} ({answer.status}){words}; {remedy}", provider, answer.status)
    if 300 <= answer.status < 400:
        raise _failure(
            provider, f"sent {path} elsewhere ({answer.status}); redirects are never followed", answer.status
        )
    if answer.status != HTTPStatus.OK:
        raise _failure(provider, f"answered {answer.status} at {path}{words}; correct what was asked", answer.status)
    if answer.kind != "application/json":
        found = re.sub(r"[^\w./+-]", "?", answer.kind)[:40] or "no type"
        raise _failure(provider, f"sent {found} instead of JSON at {path}; it was not kept", answer.status)
    return answer.body


def _failure(provider: str, what: str, status: int | None = None) -> ProviderError:
    return ProviderError(f"{PROVIDERS[provider].name} {what}", provider, status)


def _words(body: bytes) -> str:
    """What the provider itself says went wrong, with keys masked; or nothing."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    names = ("error_message", "message", "error")
    said = next((found[n] for n in names if isinstance(found.get(n), str)), "") if isinstance(found, dict) else ""
    line = " ".join(re.sub(r"[^\x20-\x7e]", " ", registry.masked(said)).split())
    return f": {line[:240]}" if line else ""


transport.mask_logs(registry.masked)
