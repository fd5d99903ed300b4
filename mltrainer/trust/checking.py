"""Does the trail hold? Its chain, the heads that were saved of it, and every table that it tells of, both ways.

Entries are read once and forgotten, so memory grows with the rows that are told of and not with the trail. From a
checkpoint on (`trust.checkpoints`) only what came since is read; that nothing before it is missing is counted, and that
nothing before it was changed is not looked at.
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, func, select

from mltrainer import store
from mltrainer.errors import BadInput, Tampered
from mltrainer.trust import audit
from mltrainer.trust.audit import GENESIS, KEYED, Head
from mltrainer.trust.provenance import Provenance, plain

Fields = dict[str, Any]
AT_ONCE = 500  # entries whose rows are looked up together
OTHERS = ("admitted", "answers", "worlds")  # told of in other ways than all of a row by its key
BY_HAND = "has no entry in the trail: it was put there by hand or by an older version"
TOLD = (*OTHERS, *KEYED.values())


@dataclass(frozen=True)
class Since:
    """Where a check begins: the last entry that is not read again, and what stood in each table then.

    Attributes
    ----------
    rows : name of a table -> how many rows it had, and the largest number among them (0 where they have none).
    """

    head: Head = field(default_factory=lambda: Head(0, GENESIS))
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def check(heads: Sequence[Head | None], since: Since | None = None) -> list[str]:
    """What does not hold, one finding a line; see `audit.verify`."""
    with store.reading(whole=False) as connection:
        return checked(connection, heads, since)


def checked(connection: Connection, heads: Sequence[Head | None], since: Since | None = None) -> list[str]:
    """The same in a snapshot that the caller goes on with."""
    rows, begin = _Rows(connection), since or Since()
    others: list[tuple[str, Fields]] = []
    found = list(_walk(connection, begin.head, rows, others))
    found += [line for head in dict.fromkeys(heads) for line in _head_findings(connection, head)]
    found += _registry_findings(connection, others, since)
    found += [line for what in KEYED for line in rows.findings(what, begin)]
    found += _differences("kept answer", *_answers(connection, others, since))
    found += _differences("world", *_worlds(connection, others, since))
    return found + (list(_counted(connection, since, others)) if since else [])


def standing(connection: Connection) -> dict[str, tuple[int, int]]:
    """How many rows each table that the trail tells of has, and the largest number among them."""
    return {name: _counts(connection, name) for name in TOLD}


def _counts(connection: Connection, name: str) -> tuple[int, int]:
    table = store.SCHEMA.tables[name]
    count = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return count, int(connection.execute(select(func.max(table.c.seq))).scalar() or 0) if "seq" in table.c else 0


# --- the chain ------------------------------------------------------------------------------------------------


def _walk(connection: Connection, since: Head, rows: "_Rows", others: list[tuple[str, Fields]]) -> Iterator[str]:
    """Follow the chain from an entry on; what it tells of goes to `rows` and `others`."""
    seq, prev = since.size, since.hash
    table = store.audit
    if seq and connection.execute(select(table.c.hash).where(table.c.seq == seq)).scalar() != prev:
        yield f"entry {seq} is not the one the checkpoint names: the trail was written anew"
    query = select(table).where(table.c.seq > seq).order_by(table.c.seq)
    if not seq:  # an entry before the first
        query = select(table).order_by(table.c.seq)
    for row in connection.execute(query.execution_options(yield_per=1_000)):
        if row.seq != seq + 1:
            yield f"entry {seq + 1} is missing: entry {row.seq} stands after entry {seq}"
        elif row.prev != prev:
            yield f"entry {row.seq} does not follow entry {seq}: it names another predecessor"
        if row.hash != _recomputed(row):
            yield f"entry {row.seq} was edited: its contents do not match its hash"
        seq, prev = row.seq, row.hash
        payload = audit.read(row) if row.kind in KEYED or row.kind in ("admit", "derive", "answer", "worlds") else None
        if payload is not None and row.kind in KEYED:
            rows.told(row.kind, payload)
        elif payload is not None:
            others.append((row.kind, payload))


def _recomputed(row: Row[Any]) -> str | None:
    try:
        return audit.digest({key: item for key, item in row._mapping.items() if key != "hash"})
    except BadInput:  # a cell of a type that we never write
        return None


def _head_findings(connection: Connection, saved: Head | None) -> Iterator[str]:
    if saved is None or saved == Head(0, GENESIS):
        return
    columns, last = store.audit.c, audit.end(connection)
    if last.size == 0:
        yield f"the trail is empty, the saved head names entry {saved.size}: it was emptied"
    elif saved.size > last.size:
        yield f"the trail ends at entry {last.size}, the saved head names entry {saved.size}: it was cut short"
    elif connection.execute(select(columns.hash).where(columns.seq == saved.size)).scalar() != saved.hash:
        yield f"entry {saved.size} is not the one the saved head names: the trail was written anew"


# --- rows that an entry tells all of --------------------------------------------------------------------------


class _Rows:
    """Entries of the kinds in `KEYED` beside their rows, some at a time; a row made again after a loss has two."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, list[Fields]] = {what: [] for what in KEYED}
        self.keys: dict[str, set[Hashable]] = {what: set() for what in KEYED}
        self._gone: dict[str, dict[Hashable, None]] = {what: {} for what in KEYED}
        self._right: dict[str, set[Hashable]] = {what: set() for what in KEYED}
        self._wrong: dict[str, dict[Hashable, str]] = {what: {} for what in KEYED}

    def told(self, what: str, payload: Fields) -> None:
        self._waiting[what].append(payload)
        if len(self._waiting[what]) >= AT_ONCE:
            self._compare(what)

    def _compare(self, what: str) -> None:
        waiting, self._waiting[what] = self._waiting[what], []
        table = store.SCHEMA.tables[KEYED[what]]
        keys = [str(payload.get("key")) for payload in waiting]
        rows = self._connection.execute(select(table).where(table.c.key.in_(set(keys)))).all()
        held = {row.key: _whole(row) for row in rows}
        for key, payload in zip(keys, waiting, strict=True):
            self.keys[what].add(key)
            if key not in held:
                self._gone[what][key] = None
            elif (row := held[key]) is not None:
                wrong = [name for name in payload if row.get(name) != payload[name]]
                if wrong:
                    self._wrong[what][key] = _edited(what, key, wrong[0], row, payload)
                else:
                    self._right[what].add(key)

    def findings(self, what: str, since: Since) -> Iterator[str]:
        """Rows without an entry, entries without a row, and what a row says otherwise than all of its entries."""
        self._compare(what)
        for key in self._gone[what]:
            yield f"{what} {_short(key)} stands in the trail and is gone from its table"
        table = store.SCHEMA.tables[KEYED[what]]
        _, last = since.rows.get(table.name, (0, 0))
        query = select(table) if not last else select(table).where(table.c.seq > last)
        for row in self._connection.execute(query.order_by(table.c.seq).execution_options(yield_per=1_000)):
            if _whole(row) is None:
                yield f"{what} {_short(row.key)} cannot be read"
            elif row.key not in self.keys[what]:
                yield f"{what} {_short(row.key)} {BY_HAND}"
        yield from (said for key, said in self._wrong[what].items() if key not in self._right[what])


def _edited(what: str, address: Hashable, name: str, row: Fields, entry: Fields) -> str:
    values = f"{name} is {str(row.get(name))[:60]!r}, its entry says {str(entry[name])[:60]!r}"
    return f"{what} {_short(address)} was edited: {values}"


def _whole(row: Row[Any]) -> Fields | None:
    fields = dict(row._mapping)
    try:
        return dict(plain(fields | json.loads(fields.pop("payload"))))
    except (TypeError, ValueError):
        return None


# --- what is told in other ways -------------------------------------------------------------------------------


def _differences(what: str, entries: Mapping[Any, Fields], held: Mapping[Any, Fields | None]) -> Iterator[str]:
    """Rows without an entry, entries without a row, and what a row says otherwise than its entry."""
    for address in entries.keys() - held.keys():
        yield f"{what} {_short(address)} stands in the trail and is gone from its table"
    for address, row in held.items():
        if row is None:
            yield f"{what} {_short(address)} cannot be read"
        elif address not in entries:
            yield f"{what} {_short(address)} {BY_HAND}"
        elif wrong := [name for name in entries[address] if row.get(name) != entries[address][name]]:
            yield _edited(what, address, wrong[0], row, entries[address])


def _short(address: Hashable) -> str:
    parts = address if isinstance(address, tuple) else (address,)
    return " ".join(str(part)[:12] + ("#" + str(part).partition("#")[2] if "#" in str(part) else "") for part in parts)


def _held(connection: Connection, name: str, column: str, wanted: Iterable[Any], since: Since | None) -> list[Row[Any]]:
    """All rows of a table, or, since a checkpoint, those that what was read tells of."""
    table = store.SCHEMA.tables[name]
    if since is None:
        return list(connection.execute(select(table)).all())
    asked, found = sorted({str(key) for key in wanted}), list[Row[Any]]()
    for i in range(0, len(asked), AT_ONCE):
        found += connection.execute(select(table).where(table.c[column].in_(asked[i : i + AT_ONCE]))).all()
    return found


def _registry_findings(
    connection: Connection, others: Sequence[tuple[str, Fields]], since: Since | None
) -> Iterator[str]:
    """What was let in must be what its first entry says, and what was derived must have its parents."""
    entries: dict[Any, Fields] = {}
    for kind, payload in others:
        if kind in ("admit", "derive") and isinstance(payload.get("provenance"), dict):
            entries.setdefault(payload.get("content"), payload["provenance"])
    rows = _held(connection, "admitted", "content", entries, since)
    held: dict[Any, Fields | None] = {row.content: _provenance(row) for row in rows}
    yield from _differences("content", entries, held)
    parents = {parent for fields in held.values() if fields is not None for parent in fields["parents"]}
    there = held.keys() | {row.content for row in _held(connection, "admitted", "content", parents, since)}
    for content, fields in held.items():
        if fields is not None and fields["content_sha256"] != content:
            yield f"content {_short(content)} carries the provenance of other content"
        if fields is not None and (gone := set(fields["parents"]) - there):
            yield f"content {_short(content)} was derived of {_short(min(gone))}, which is gone"


def _provenance(row: Row[Any]) -> Fields | None:
    try:
        return dict(json.loads(Provenance.from_json(row.provenance).to_json()))
    except Tampered:
        return None


Both = tuple[dict[Any, Fields], dict[Any, Fields | None]]


def _answers(connection: Connection, others: Sequence[tuple[str, Fields]], since: Since | None) -> Both:
    entries: dict[Any, Fields] = {}
    for kind, payload in others:
        if kind == "answer":  # what came again has a later time
            entries[payload.get("key"), payload.get("sha256")] = payload
    rows = _held(connection, "answers", "key", (key for key, _ in entries), since)
    held: dict[Any, Fields | None] = {(row.key, row.sha256): dict(row._mapping) for row in rows}
    return entries, held if since is None else {address: row for address, row in held.items() if address in entries}


def _worlds(connection: Connection, others: Sequence[tuple[str, Fields]], since: Since | None) -> Both:
    entries: dict[Any, Fields] = {}
    for kind, payload in others:
        if kind == "worlds":  # many to an entry
            entries |= {key: {"sha256": sha} for key, sha in dict(payload.get("sha256", {})).items()}
    rows = _held(connection, "worlds", "key", entries, since)
    return entries, {row.key: {"sha256": sha256(row.payload.encode()).hexdigest()} for row in rows}


# --- what was not read again ----------------------------------------------------------------------------------


def _counted(connection: Connection, since: Since, others: Sequence[tuple[str, Fields]]) -> Iterator[str]:
    """Rows that are fewer than at the checkpoint, or more than what came since tells of."""
    entries = connection.execute(select(func.count()).select_from(store.audit)).scalar_one()
    if entries != audit.end(connection).size:
        yield f"the trail has {entries} entries and ends at number {audit.end(connection).size}: some are missing"
    kinds = {"admitted": ("admit", "derive"), "answers": ("answer",), "worlds": ("worlds",)}
    new = {name: sum(len(p.get("sha256", {})) if k == "worlds" else 1 for k, p in others if k in kinds[name])
           for name in OTHERS}  # fmt: skip
    new |= {name: _later(connection, name, last) for name, (_, last) in since.rows.items() if name not in OTHERS}
    for name, (before, _) in since.rows.items():
        now, _ = _counts(connection, name)
        least = before if name in OTHERS else before + new[name]  # what has no number may be told of again
        if not least <= now <= before + new[name]:
            said = "some are gone" if now < least else "some were put there by hand"
            told = f"{name} had {before} rows at entry {since.head.size}, {new[name]} came since"
            yield f"{told}, it has {now}: {said}"


def _later(connection: Connection, name: str, last: int) -> int:
    table = store.SCHEMA.tables[name]
    return int(connection.execute(select(func.count()).select_from(table).where(table.c.seq > last)).scalar_one())
