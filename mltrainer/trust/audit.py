"""The audit trail: an append-only chain of what was done, in which any change shows.

Every entry carries the hash of the one before it. The chain alone shows what was edited, deleted or swapped; a
head saved outside (every report prints one) also shows a trail that was cut short, emptied or written anew.
"""

import getpass
import json
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from mltrainer import store
from mltrainer.errors import BadInput, Tampered
from mltrainer.trust.provenance import Provenance, canonical, plain

GENESIS = "0" * 64
ACTOR: ContextVar[str | None] = ContextVar("ACTOR", default=None)
"""Who acts, where a server knows better than the operating system."""


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
    last = _last(connection)
    row = {
        "seq": last.size + 1,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "kind": kind,
        "actor": ACTOR.get() or _user(),
        "payload": canonical(plain(payload)),
        "prev": last.hash,
    }
    connection.execute(insert(store.audit).values(**row, hash=_digest(row)))
    return Head(last.size + 1, _digest(row))


def head() -> Head:
    """The present end of the trail; `Head(0, 64 zeros)` of an empty one."""
    with store.reading() as connection:
        return _last(connection)


def entries(limit: int | None = None, kind: str | None = None) -> list[Entry]:
    """The newest `limit` entries (default all), of one kind if asked, oldest first."""
    query = select(store.audit).order_by(store.audit.c.seq.desc()).limit(limit)
    if kind is not None:
        query = query.where(store.audit.c.kind == kind)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [Entry(**{**row._mapping, "payload": _payload(row)}) for row in reversed(rows)]


def verify(against: Head | str | None = None) -> list[str]:
    """Recompute the whole chain and compare it with a saved head.

    Returns
    -------
    list[str]
        One finding a line, naming the entry and what is wrong with it; empty when the trail holds. Without a saved
        head a trail cut at its end, or written anew from the start, cannot be told from an honest one.
    """
    saved = Head.parse(against) if isinstance(against, str) else against
    with store.reading() as connection:
        rows = connection.execute(select(store.audit).order_by(store.audit.c.seq)).all()
        registry = connection.execute(select(store.admitted)).all()
    return [*_chain_findings(rows), *_head_findings(rows, saved), *_registry_findings(rows, registry)]


def _last(connection: Connection) -> Head:
    columns = store.audit.c
    row = connection.execute(select(columns.seq, columns.hash).order_by(columns.seq.desc()).limit(1)).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)


def _digest(row: dict[str, Any]) -> str:
    return sha256(canonical(row).encode()).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _payload(row: Row[Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(row.payload))
    except (TypeError, ValueError):
        raise Tampered(f"audit entry {row.seq} cannot be read; run mltrainer audit verify") from None


def _chain_findings(rows: Sequence[Row[Any]]) -> Iterator[str]:
    seq, prev = 0, GENESIS
    for row in rows:
        if row.seq != seq + 1:
            yield f"entry {seq + 1} is missing: entry {row.seq} stands after entry {seq}"
        elif row.prev != prev:
            yield f"entry {row.seq} does not follow entry {seq}: it names another predecessor"
        if row.hash != _recomputed(row):
            yield f"entry {row.seq} was edited: its contents do not match its hash"
        seq, prev = row.seq, row.hash


def _recomputed(row: Row[Any]) -> str | None:
    try:
        return _digest({key: item for key, item in row._mapping.items() if key != "hash"})
    except BadInput:  # a cell of a type that we never write
        return None


def _head_findings(rows: Sequence[Row[Any]], saved: Head | None) -> Iterator[str]:
    if saved is None or saved == Head(0, GENESIS):
        return
    found = {row.seq: row.hash for row in rows}
    if not rows:
        yield f"the trail is empty, the saved head names entry {saved.size}: it was emptied"
    elif saved.size > rows[-1].seq:
        yield f"the trail ends at entry {rows[-1].seq}, the saved head names entry {saved.size}: it was cut short"
    elif found.get(saved.size) != saved.hash:
        yield f"entry {saved.size} is not the one the saved head names: the trail was written anew"


def _registry_findings(rows: Sequence[Row[Any]], registry: Sequence[Row[Any]]) -> Iterator[str]:
    """What was let in must be what its `admit` entry says, and what was derived must have its parents."""
    admits: dict[str, str] = {}
    for row in rows:
        if row.kind == "admit":
            try:
                payload = _payload(row)
                admits[payload["content"]] = canonical(payload["provenance"])
            except (Tampered, KeyError, TypeError):
                continue  # already found in the chain
    held = {row.content for row in registry}
    for content in admits.keys() - held:
        yield f"content {content[:12]} was admitted and is gone from the registry"
    for row in registry:
        try:
            provenance = Provenance.from_json(row.provenance)
        except Tampered as error:
            yield f"content {row.content[:12]} in the registry: {error}"
            continue
        if provenance.content_sha256 != row.content:
            yield f"content {row.content[:12]} in the registry carries the provenance of other content"
        elif admits.get(row.content, row.provenance) != row.provenance:
            yield f"content {row.content[:12]} in the registry was edited: its admit entry says otherwise"
        elif row.content not in admits and not (provenance.parents and held.issuperset(provenance.parents)):
            yield f"content {row.content[:12]} in the registry has neither an admit entry nor all its parents"
