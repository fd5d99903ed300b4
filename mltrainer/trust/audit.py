"""The audit trail: an append-only chain of what was done, in which any change shows.

Every entry carries the hash of the one before it. The chain alone shows what was edited, deleted or swapped; a
head saved outside (every report prints one) also shows a trail that was cut short, emptied or written anew. What was
let in, each trial and each kept answer has its entry, and `verify` compares the two both ways.
"""

import getpass
import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, text

from mltrainer import store
from mltrainer.errors import BadInput, Tampered
from mltrainer.trust.provenance import Provenance, canonical, plain

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
    connection.execute(insert(store.audit).values(**row, hash=_digest(row)))
    return Head(last.size + 1, _digest(row))


def head() -> Head:
    """The present end of the trail; `Head(0, 64 zeros)` of an empty one."""
    with store.reading() as connection:
        return end(connection)


def entries(limit: int | None = None, kind: str | None = None) -> list[Entry]:
    """The newest `limit` entries (default all), of one kind if asked, oldest first."""
    query = select(store.audit).order_by(store.audit.c.seq.desc()).limit(limit)
    if kind is not None:
        query = query.where(store.audit.c.kind == kind)
    with store.reading() as connection:
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
    return _digest(fields | {"payload": canonical(entry.payload)}) == entry.hash


def rows() -> Iterator[dict[str, Any]]:
    """All entries as they are held, oldest first, in one snapshot: the payload is text, as it was hashed."""
    with store.reading() as connection:
        query = select(store.audit).order_by(store.audit.c.seq).execution_options(yield_per=1_000)
        for row in connection.execute(query):
            yield dict(row._mapping)


def payloads(connection: Connection, kind: str) -> list[dict[str, Any]]:
    """What all entries of a kind say, oldest first; one that cannot be read is left out, `verify` names it."""
    columns = store.audit.c
    rows = connection.execute(select(columns.seq, columns.payload).where(columns.kind == kind).order_by(columns.seq))
    return [payload for row in rows if (payload := _read(row)) is not None]


def told(connection: Connection, field: str, address: str, *kinds: str, newest: bool = False) -> dict[str, Any] | None:
    """Payload of the first entry of `kinds` whose `field`, the first of its names, is this sha256; None without one.

    With `newest` the last such entry.
    """
    columns = store.audit.c
    match = text("substr(payload, 1, 76) = :opening").bindparams(opening=f'{{"{field}":"{address}'[:76])
    query = select(columns.seq, columns.payload).where(columns.kind.in_(kinds), match)
    query = query.order_by(columns.seq.desc() if newest else columns.seq)
    found = (_payload(row) for row in connection.execute(query))
    return next((payload for payload in found if payload.get(field) == address), None)


def verify(against: Head | str | None = None) -> list[str]:
    """Recompute the whole chain, compare it with a saved head, and with every table that it tells of, both ways.

    Returns
    -------
    list[str]
        One finding a line, naming the entry or the row and what is wrong with it; empty when all holds. Without a
        saved head (this home remembers one, as somebody who may write there can change) a trail cut at its end, or
        written anew from the start, cannot be told from an honest one.
    """
    heads = [Head.parse(against) if isinstance(against, str) else against]
    with suppress(BadInput):
        heads.append(Head.parse(store.remembered() or ""))
    with store.reading(whole=False) as connection:
        rows = connection.execute(select(store.audit).order_by(store.audit.c.seq)).all()
        told_of = [store.SCHEMA.tables[name] for name in ("admitted", "answers", "worlds", *KEYED.values())]
        tables = {table.name: connection.execute(select(table)).all() for table in told_of}
    found = [*_chain_findings(rows), *(line for head in dict.fromkeys(heads) for line in _head_findings(rows, head))]
    payloads = [(row.kind, payload) for row in rows if (payload := _read(row)) is not None]
    found += _registry_findings(payloads, tables["admitted"])
    for what, table in KEYED.items():
        found += _differences(what, *_keyed(what, payloads, tables[table]))
    found += _differences("kept answer", *_answers(payloads, tables["answers"]))
    found += _differences("world", *_worlds(payloads, tables["worlds"]))
    return found


def end(connection: Connection) -> Head:
    """The end of the trail that a connection sees."""
    columns = store.audit.c
    row = connection.execute(select(columns.seq, columns.hash).order_by(columns.seq.desc()).limit(1)).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)


def _digest(row: dict[str, Any]) -> str:
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


def _read(row: Any) -> dict[str, Any] | None:
    try:
        return _payload(row)
    except Tampered:
        return None  # already found in the chain


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


# --- what the trail tells of, and what is there ---------------------------------------------------------------

Payloads = Sequence[tuple[str, dict[str, Any]]]
Fields = dict[str, Any]


def _differences(
    what: str, entries: Mapping[Hashable, list[Fields]], held: Mapping[Hashable, Fields | None]
) -> Iterator[str]:
    """Rows without an entry, entries without a row, and what a row says otherwise than all of its entries."""
    for address in entries.keys() - held.keys():
        yield f"{what} {_short(address)} stands in the trail and is gone from its table"
    for address, row in held.items():
        if row is None:
            yield f"{what} {_short(address)} cannot be read"
        elif address not in entries:
            yield f"{what} {_short(address)} has no entry in the trail: it was put there by hand or by an older version"
        else:
            wrong = [[f for f in entry if row.get(f) != entry[f]] for entry in entries[address]]
            if all(wrong):
                field, entry = wrong[-1][0], entries[address][-1]
                values = f"{field} is {str(row.get(field))[:60]!r}, its entry says {str(entry[field])[:60]!r}"
                yield f"{what} {_short(address)} was edited: {values}"


def _short(address: Hashable) -> str:
    parts = address if isinstance(address, tuple) else (address,)
    return " ".join(str(part)[:12] + ("#" + str(part).partition("#")[2] if "#" in str(part) else "") for part in parts)


def _registry_findings(payloads: Payloads, registry: Sequence[Row[Any]]) -> Iterator[str]:
    """What was let in must be what its first entry says, and what was derived must have its parents."""
    entries: dict[Hashable, list[Fields]] = {}
    for kind, payload in payloads:
        if kind in ("admit", "derive") and isinstance(payload.get("provenance"), dict):
            entries.setdefault(payload.get("content"), [payload["provenance"]])
    held: dict[Hashable, Fields | None] = {row.content: _provenance(row) for row in registry}
    yield from _differences("content", entries, held)
    for content, fields in held.items():
        if fields is not None and fields["content_sha256"] != content:
            yield f"content {_short(content)} carries the provenance of other content"
        if fields is not None and (gone := set(fields["parents"]) - held.keys()):
            yield f"content {_short(content)} was derived of {_short(min(gone))}, which is gone"


def _provenance(row: Row[Any]) -> Fields | None:
    try:
        return dict(json.loads(Provenance.from_json(row.provenance).to_json()))
    except Tampered:
        return None


def _keyed(
    what: str, payloads: Payloads, rows: Sequence[Row[Any]]
) -> tuple[dict[Hashable, list[Fields]], dict[Hashable, Any]]:
    """Entries of a kind and the rows they tell of: all columns, and what stands in the payload."""
    entries: dict[Hashable, list[Fields]] = {}
    for kind, payload in payloads:
        if kind == what:  # a row that was lost and made again has two
            entries.setdefault(payload.get("key"), []).append(payload)
    return entries, {row.key: _whole(row) for row in rows}


def _whole(row: Row[Any]) -> Fields | None:
    fields = dict(row._mapping)
    try:
        return dict(plain(fields | json.loads(fields.pop("payload"))))
    except (TypeError, ValueError):
        return None


def _answers(payloads: Payloads, rows: Sequence[Row[Any]]) -> tuple[dict[Hashable, list[Fields]], dict[Hashable, Any]]:
    entries: dict[Hashable, list[Fields]] = {}
    for kind, payload in payloads:
        if kind == "answer":  # what came again has a later time
            entries[payload.get("key"), payload.get("sha256")] = [payload]
    return entries, {(row.key, row.sha256): dict(row._mapping) for row in rows}


def _worlds(payloads: Payloads, rows: Sequence[Row[Any]]) -> tuple[dict[Hashable, list[Fields]], dict[Hashable, Any]]:
    entries: dict[Hashable, list[Fields]] = {}
    for kind, payload in payloads:
        if kind == "worlds":  # many to an entry
            entries |= {key: [{"sha256": sha}] for key, sha in dict(payload.get("sha256", {})).items()}
    return entries, {row.key: {"sha256": sha256(row.payload.encode()).hexdigest()} for row in rows}
