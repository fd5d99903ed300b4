"""The audit trail: an append-only chain of what was done, in which any change shows.

Every entry carries the hash of the one before it. The chain alone shows what was edited, deleted or swapped; a
head saved outside (every report prints one) also shows a trail that was cut short, emptied or written anew. What was
let in, each trial and each kept answer has its entry, and `verify` compares the two both ways.
"""

import getpass
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from mltrainer import store
from mltrainer.errors import BadInput, Tampered
from mltrainer.trust.provenance import canonical, plain

GENESIS = "0" * 64
KEYED = {"trial": "trials", "alert": "alerts", "alert event": "alert_events", "position": "positions",
         "recommendation": "recommendations", "user": "users", "job": "jobs"}  # fmt: skip
"""Kinds of entry that tell all of a row, by its key, and the table it stands in."""
ACTOR: ContextVar[str | None] = ContextVar("ACTOR", default=None)
"""Who acts, where a server knows better than the operating system."""


@contextmanager
def acting(user: str) -> Iterator[None]:
    """Have the trail name this user; nobody leaves who it names already."""
    before = ACTOR.set(user or ACTOR.get())
    try:
        yield
    finally:
        ACTOR.reset(before)


@dataclass(frozen=True)
class Head:
    """How long the trail is and the hash of its last entry; as text `size:hash`, to be kept outside."""

    size: int
    hash: str

    def __str__(self) -> str:
        return f"{self.size}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read `size:hash`.

        >>> Head.parse("0:" + "0" * 64).size
        0
        """
        if not re.fullmatch(r"[0-9]{1,18}:[0-9a-f]{64}", text.strip()):
            raise BadInput(f"{text[:80]!r} is no audit head; it reads size:hash, as mltrainer audit head prints it")
        size, digest = text.strip().split(":")
        return cls(int(size), digest)


@dataclass(frozen=True)
class Entry:
    """One act: when (UTC, for the reader; the order is `seq`), of what kind, by whom, with what."""

    seq: int
    at: str
    kind: str
    actor: str
    payload: dict[str, Any]
    prev: str
    hash: str


def append(kind: str, /, **payload: object) -> Head:
    """Write one entry and return the new head; what looks like a key in the payload is masked.

    Inside a writer transaction of your own use `extend`: there is one writer, and this would wait for you.
    """
    with store.writing() as connection:
        return extend(connection, kind, payload)


def extend(connection: Connection, kind: str, payload: dict[str, Any]) -> Head:
    """Append inside a writer transaction that also does something else: both happen or neither."""
    last = end(connection)
    row = {
        "seq": last.size + 1,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "kind": kind,
        "actor": actor(),
        "payload": canonical(plain(payload)),
        "prev": last.hash,
    }
    connection.execute(insert(store.audit).values(**row, hash=digest(row)))
    return Head(last.size + 1, digest(row))


def head() -> Head:
    """The present end of the trail; `Head(0, 64 zeros)` of an empty one."""
    with store.reading() as connection:
        return end(connection)


def entries(limit: int | None = None, kind: str | None = None, *, whole: bool = True) -> list[Entry]:
    """The newest `limit` entries (default all), of one kind if asked, oldest first; `whole` as of `store.reading`."""
    query = select(store.audit).order_by(store.audit.c.seq.desc()).limit(limit)
    if kind is not None:
        query = query.where(store.audit.c.kind == kind)
    with store.reading(whole=whole) as connection:
        rows = connection.execute(query).all()
    return [Entry(**{**row._mapping, "payload": _payload(row)}) for row in reversed(rows)]


def latest(*kinds: str) -> int:
    """Number of the newest entry of these kinds; 0 where there is none."""
    columns = store.audit.c
    with store.reading() as connection:
        return int(connection.execute(select(func.max(columns.seq)).where(columns.kind.in_(kinds))).scalar() or 0)


def intact(entry: Entry) -> bool:
    """Whether an entry is as it was hashed when written; that none is missing around it is for `verify` to say."""
    fields = {name: getattr(entry, name) for name in ("seq", "at", "kind", "actor", "prev")}
    return digest(fields | {"payload": canonical(entry.payload)}) == entry.hash


def rows() -> Iterator[dict[str, Any]]:
    """All entries as they are held, oldest first, in one snapshot: the payload is text, as it was hashed."""
    with store.reading() as connection:
        query = select(store.audit).order_by(store.audit.c.seq).execution_options(yield_per=1_000)
        for row in connection.execute(query):
            yield dict(row._mapping)


def payloads(connection: Connection, kind: str, *, since: int = 0) -> Iterator[dict[str, Any]]:
    """What all entries of a kind after entry `since` say, oldest first; one that cannot be read is left out."""
    columns = store.audit.c
    which = columns.kind == kind, columns.seq > since
    query = select(columns.seq, columns.payload).where(*which).order_by(columns.seq)
    for row in connection.execute(query.execution_options(yield_per=1_000)):
        if (payload := read(row)) is not None:
            yield payload


def told(connection: Connection, field: str, address: str, *kinds: str) -> dict[str, Any] | None:
    """Payload of the first entry of `kinds` whose `field`, the first of its names, is this sha256; None without one."""
    return next(all_told(connection, field, address, *kinds), None)


def all_told(connection: Connection, field: str, address: str, *kinds: str) -> Iterator[dict[str, Any]]:
    """Payloads of all such entries, oldest first."""
    columns = store.audit.c
    match = text("substr(payload, 1, 76) = :opening").bindparams(opening=f'{{"{field}":"{address}'[:76])
    query = select(columns.seq, columns.payload).where(columns.kind.in_(kinds), match).order_by(columns.seq)
    found = (_payload(row) for row in connection.execute(query))
    return (payload for payload in found if payload.get(field) == address)


def verify(against: Head | str | None = None) -> list[str]:
    """Recompute the whole chain, compare it with a saved head, and with every table that it tells of, both ways.

    Returns
    -------
    list[str]
        One finding a line, naming the entry or the row and what is wrong with it; empty when all holds. Without a
        saved head (this home remembers one, as somebody who may write there can change) a trail cut at its end, or
        written anew from the start, cannot be told from an honest one.
    """
    from mltrainer.trust import checking  # which reads the trail by this room

    return checking.check(saved(against))


def saved(against: Head | str | None = None) -> list[Head | None]:
    """The heads that the trail is compared with: one that was kept elsewhere, and what this home remembers."""
    heads = [Head.parse(against) if isinstance(against, str) else against]
    with suppress(BadInput):
        heads.append(Head.parse(store.remembered() or ""))
    return heads


def end(connection: Connection) -> Head:
    """The end of the trail that a connection sees."""
    columns = store.audit.c
    row = connection.execute(select(columns.seq, columns.hash).order_by(columns.seq.desc()).limit(1)).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)


def digest(row: dict[str, Any]) -> str:
    """Hash of an entry: of all that stands in its row but the hash."""
    return sha256(canonical(row).encode()).hexdigest()


def actor() -> str:
    """Who acts now, as the next entry will say."""
    return ACTOR.get() or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name, and Windows has no list of users
        return "unknown"


def _payload(row: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(row.payload))
    except (TypeError, ValueError):
        raise Tampered(f"audit entry {row.seq} cannot be read; run mltrainer audit verify") from None


def read(row: Any) -> dict[str, Any] | None:
    """Payload of a row of the trail; None of one that cannot be read."""
    try:
        return _payload(row)
    except Tampered:
        return None  # already found in the chain
