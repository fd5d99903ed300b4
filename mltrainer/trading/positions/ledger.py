"""The entries of accounts: append-only, each with its entry in the audit trail; a correction voids one and says why."""

import json
import math
from collections import Counter
from dataclasses import asdict, fields
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, insert, select

from mltrainer import store
from mltrainer.data.dates import day
from mltrainer.data.universes import TICKER
from mltrainer.errors import BadInput, UnknownName
from mltrainer.plain import cleaned
from mltrainer.trading.positions.accounts import KINDS, Entry, State, walk
from mltrainer.trust import audit

MAIN = "main"
NUMBERS = ("quantity", "price", "fee", "cash", "ratio")
FIELDS = tuple(f.name for f in fields(Entry))


def record(kind: str, on: str, *, account: str = MAIN, **values: Any) -> State:
    """Write one entry; nothing is written if the account could not have done it.

    Parameters
    ----------
    kind : deposit, withdraw, buy, sell, dividend, split or fee.
    on : its day, YYYY-MM-DD; an entry may be of a day before the last.
    account : which account.
    values : ticker, quantity (shares), price (dollars a share), fee, cash (dollars), ratio (new shares for one old),
        note; as far as the kind needs them.

    Returns
    -------
    State
        The account after all of its entries.
    """
    return write([entry(kind, on, **values)], account)[0]


def entry(kind: str, on: str, **values: Any) -> Entry:
    """An entry that says what its kind must and nothing that cannot be meant."""
    if kind not in KINDS:
        raise UnknownName.of("kind of entry", kind, KINDS)
    known: dict[str, Any] = {k: _number(k, v) if k in NUMBERS else cleaned(v) for k, v in values.items() if k in FIELDS}
    known["ticker"] = str(known.get("ticker", "")).upper()
    made = Entry(kind, str((day(on, "day") or _none()).date()), **known)
    lost = [n for n in KINDS[kind].needs if not getattr(made, n)]
    extra = [n for n in (*NUMBERS, "ticker") if getattr(made, n) and n not in (*KINDS[kind].needs, "fee")]
    if lost or extra:
        raise BadInput(
            f"{kind} on {made.day} needs {' and '.join(KINDS[kind].needs)}{f', not {extra[0]}' if extra else ''}"
        )
    if made.day > str(datetime.now(UTC).date()):
        raise BadInput(f"{kind} on {made.day} has not happened yet; an entry is of a day up to today")
    if made.ticker and not TICKER.fullmatch(made.ticker):
        raise BadInput(f"{made.ticker[:40]!a} is no ticker")
    return made


def _none() -> Any:
    raise BadInput("an entry needs its day, YYYY-MM-DD")


def _number(name: str, value: Any) -> float:
    try:
        x = float(value or 0)
    except (TypeError, ValueError):
        raise BadInput(f"{name} {str(value)[:40]!a} is no number") from None
    if not (math.isfinite(x) and 0 <= x < 1e15):
        raise BadInput(f"{name} {str(value)[:40]!a} must be a positive number; the kind of the entry gives the sign")
    return x


def write(new: list[Entry], account: str = MAIN, *, once: bool = False) -> tuple[State, int]:
    """Write entries as one, all or none; the account after all of its entries, and how many are new.

    `once` leaves out those that were ever written, voided ones too: of two that are alike the second is new only where
    one was written.
    """
    with store.writing() as connection:
        rows = _rows(connection, account)
        written = Counter(_said(rows)) if once else Counter()
        fresh = []
        for e in new:
            written[e] -= 1
            if written[e] < 0:
                fresh.append(e)
        state = walk(_ordered([*_standing(rows), *fresh]))
        for n, e in enumerate(fresh, len(rows)):
            _insert(connection, sha256(f"{account} {n} {e}".encode()).hexdigest(), account, asdict(e))
    return state, len(fresh)


def correct(seq: int, reason: str, *, account: str = MAIN) -> State:
    """Void an entry by another that says why; write the right one beside it by `record`."""
    if not reason.strip():
        raise BadInput("a correction says why; give a reason")
    with store.writing() as connection:
        rows = _rows(connection, account)
        if seq not in {row.seq for row in rows if "voids" not in json.loads(row.payload)}:
            raise BadInput(f"account {account} has no entry {seq}; mltrainer portfolio entries shows what there is")
        key = sha256(f"{account} voids {seq}".encode()).hexdigest()
        if key not in {row.key for row in rows}:
            said = {
                "kind": "correction",
                "day": str(datetime.now(UTC).date()),
                "voids": seq,
                "note": cleaned(reason)[:500],
            }
            _insert(connection, key, account, said)
        return walk(_ordered(_standing(_rows(connection, account))))


def entries(account: str = MAIN) -> list[dict[str, Any]]:
    """Every entry and correction, as written: seq, at, void, and the fields."""
    with store.reading() as connection:
        rows = _rows(connection, account)
    void = _void(rows)
    return [{"seq": row.seq, "at": row.at, "void": row.seq in void} | json.loads(row.payload) for row in rows]


def standing(account: str = MAIN) -> list[Entry]:
    """The entries that count, by day."""
    with store.reading() as connection:
        return _ordered(_standing(_rows(connection, account)))


def _insert(connection: Connection, key: str, account: str, said: dict[str, Any]) -> None:
    head = {"key": key, "at": datetime.now(UTC).isoformat(timespec="seconds"), "account": account}
    made = insert(store.positions).values(**head, payload=json.dumps(said, sort_keys=True))
    (seq,) = connection.execute(made).inserted_primary_key or (None,)
    audit.extend(connection, "position", head | said | {"seq": seq})


def _rows(connection: Connection, account: str) -> list[Any]:
    c = store.positions.c
    return list(connection.execute(select(store.positions).where(c.account == account).order_by(c.seq)).all())


def _void(rows: list[Any]) -> set[int]:
    return {said["voids"] for row in rows if "voids" in (said := json.loads(row.payload))}


def _said(rows: list[Any]) -> list[Entry]:
    return [Entry(**said) for row in rows if "voids" not in (said := json.loads(row.payload))]


def _standing(rows: list[Any]) -> list[Entry]:
    void = _void(rows)
    return _said([row for row in rows if row.seq not in void])


def _ordered(found: list[Entry]) -> list[Entry]:
    """By day, and within a day as written."""
    return sorted(found, key=lambda e: e.day)
