"""Checkpoints: entries of the trail that say up to where it was read whole and held, so that a check may begin there.

A checkpoint carries the counts of every table and a proof by a key of this home (HMAC-SHA-256, mode 600), so that one
which somebody with the database alone put there is found out. Who may read the key can forge one, as who may write to
the home can write the whole trail anew: that a head kept elsewhere shows, and a full check reads everything.
"""

import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import select

from mltrainer import disk, store
from mltrainer.errors import BadInput, Tampered
from mltrainer.settings import settings
from mltrainer.trust import audit, checking
from mltrainer.trust.audit import Entry, Head
from mltrainer.trust.provenance import canonical

KIND = "checkpoint"
KEY = 32  # bytes


@dataclass(frozen=True)
class Checked:
    """What a check from a checkpoint found, and what it did not read.

    Attributes
    ----------
    findings : as `audit.verify` has them.
    entries : of the trail.
    unread : entries 1 to this one were read when the checkpoint was made, and not again; 0 where all were.
    at : when it was made, UTC; "" where all were read.
    """

    findings: list[str]
    entries: int
    unread: int = 0
    at: str = ""

    def sentence(self) -> str:
        """What holds, and what was not looked at."""
        if not self.unread:
            return f"{self.entries} entries hold"
        return (
            f"{self.entries - self.unread} entries since the checkpoint of {self.at[:16]} UTC hold; entries 1 to "
            f"{self.unread} and the rows they tell of were counted and not read again (--full reads all)"
        )


def verify(against: Head | str | None = None) -> Checked:
    """Check the trail from the newest checkpoint of this home on; all of it where there is none."""
    made = list(_checkpoints())
    wrong, entry = [why for _, why in made if why], next((entry for entry, why in made if not why), None)
    if entry is None:
        return full(against)
    begin = checking.Since(Head(entry.payload["size"], entry.payload["head"]), _rows(entry.payload))
    with store.reading(whole=False) as connection:
        found = checking.checked(connection, audit.saved(against), begin)
        size = audit.end(connection).size
    return Checked(wrong + found, size, begin.head.size, entry.at)


def full(against: Head | str | None = None) -> Checked:
    """Read all of the trail, and the checkpoints in it."""
    found = forged() + audit.verify(against)
    with store.reading(whole=False) as connection:
        return Checked(found, audit.end(connection).size)


def forged() -> list[str]:
    """Checkpoints that are not what this home wrote, each in a line."""
    return [why for _, why in _checkpoints() if why]


def make(against: Head | str | None = None) -> Head:
    """Read the whole trail and, if it holds, write a checkpoint; `Tampered` with the first finding if it does not."""
    if found := [*forged(), *audit.verify(against)]:
        raise Tampered(f"no checkpoint was made, as this trail does not hold: {found[0]}; run mltrainer audit verify")
    with store.writing() as connection:  # nobody adds to it between the check of what came since and the entry
        head, rows = audit.end(connection), checking.standing(connection)
        if found := checking.checked(connection, audit.saved(against)):
            raise Tampered(f"no checkpoint was made: {found[0]}; run mltrainer audit verify")
        said: dict[str, Any] = {"size": head.size, "head": head.hash, "rows": {k: list(v) for k, v in rows.items()}}
        key = _key(make=True)
        return audit.extend(connection, KIND, said | {"home": _name(key), "proof": _proof(key, said)})


def _checkpoints() -> Iterator[tuple[Entry, str]]:
    """Checkpoints of this home, the newest first, each with why it cannot be one; those of other homes are left out."""
    key = _key()
    for entry in reversed(audit.entries(kind=KIND, whole=False)) if key else ():
        if entry.payload.get("home") == _name(key):
            yield entry, _flaw(entry, key)


def _flaw(entry: Entry, key: bytes) -> str:
    said = {name: entry.payload.get(name) for name in ("size", "head", "rows")}
    if not audit.intact(entry) or not hmac.compare_digest(str(entry.payload.get("proof")), _proof(key, said)):
        return f"checkpoint {entry.seq} was not made by this home: it is forged"
    columns = store.audit.c
    with store.reading(whole=False) as connection:
        there = connection.execute(select(columns.hash).where(columns.seq == said["size"])).scalar()
    if said["size"] and there != said["head"]:  # of an empty trail there is no entry to name
        return f"checkpoint {entry.seq} names another entry {said['size']} than there is: the trail was written anew"
    return ""


def _rows(payload: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {name: (int(count), int(last)) for name, (count, last) in payload["rows"].items()}


def _key(*, make: bool = False) -> bytes:
    """The key of this home; empty where there is none."""
    file = settings().home / "checkpoint.key"
    if make and not file.exists():
        disk.write_atomic(file, secrets.token_hex(KEY), private=True)  # half a key would be one that is guessed
    try:
        key = bytes.fromhex(file.read_text()) if file.exists() else b""
    except ValueError:
        key = b"?"
    if file.exists() and len(key) != KEY:  # a short one anybody could guess
        raise BadInput(f"{file} holds no key; remove it, and make a new checkpoint")
    return key


def _name(key: bytes) -> str:
    return sha256(b"name" + key).hexdigest()[:16]


def _proof(key: bytes, said: dict[str, Any]) -> str:
    return hmac.digest(key, canonical(said).encode(), sha256).hex()
