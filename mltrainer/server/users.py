"""Users: who may come in, in which role. A token is shown once; what is kept is its hash, and each change is audited.

Like accounts, users are what their entries make of them: added, given another token, removed. An entry is never
changed, and each has its twin in the audit trail, so that a user put there by hand shows in `mltrainer audit verify`.
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any

from sqlalchemy import Connection, insert, select

from mltrainer import store
from mltrainer.errors import BadInput, UnknownName
from mltrainer.server.roles import ROLES
from mltrainer.trust import audit

NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
FRESH = 1.0  # seconds for which the list is not read again: so long a removed user may still come in


@dataclass(frozen=True)
class Registered:
    """A user.

    Attributes
    ----------
    since : when the token in force was made, UTC.
    digest : sha256 of the token, which has 256 random bits: nobody can try them all, so no slower hash is needed.
    """

    name: str
    role: str
    since: str
    digest: str


def add(name: str, role: str) -> str:
    """Let somebody in; returns the token, which is kept nowhere.

    Parameters
    ----------
    name : lower-case letters, digits, `.`, `_` and `-`, at most 32.
    role : viewer, auditor, researcher or admin.
    """
    if not NAME.fullmatch(name):
        raise BadInput(f"{name[:40]!a} is no user name; use up to 32 of a-z, 0-9, . _ and -, the first a letter")
    if name in ROLES:
        raise BadInput(f"{name} is a role; give the user a name of their own")
    if role not in ROLES:
        raise UnknownName.of("role", role, ROLES)
    return _give(name, "added", role)


def rotate(name: str) -> str:
    """Give a user another token; the one before, and every session begun with it, is worth nothing from then on."""
    return _give(name, "rotated")


def remove(name: str) -> None:
    """Let somebody in no more."""
    with store.writing() as connection:
        _insert(connection, "removed", _only(name, _standing(connection)), "")


def users() -> list[Registered]:
    """Who may come in, by name."""
    with store.reading() as connection:
        found = _standing(connection)
    return [found[name] for name in sorted(found)]


def find(token: str) -> Registered | None:
    """Who holds a token. Each is compared with all, in the same time whether it fits or not."""
    digest = sha256(token.encode()).hexdigest()
    return _among(lambda user: compare_digest(user.digest, digest))


def named(name: str) -> Registered | None:
    """The user of a name, if there is one now."""
    return _among(lambda user: user.name == name)


def _among(fits: Callable[[Registered], bool]) -> Registered | None:
    """The user who fits; who is not found is looked for once more, for a user may have been added just now."""
    for _ in range(2):
        if found := [user for user in _known() if fits(user)]:
            return found[0]
        _seen.clear()
    return None


def _give(name: str, event: str, role: str = "") -> str:
    token = secrets.token_urlsafe(32)
    with store.writing() as connection:
        standing = _standing(connection)
        if event == "added" and name in standing:
            raise BadInput(f"there is a user {name} already; `mltrainer user rotate {name}` gives another token")
        role = role or _only(name, standing).role
        made = Registered(name, role, datetime.now(UTC).isoformat(timespec="seconds"), _digest(token))
        _insert(connection, event, made, made.digest)
    return token


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


def _only(name: str, standing: dict[str, Registered]) -> Registered:
    if name not in standing:
        raise UnknownName.of("user", name, standing)
    return standing[name]


def _insert(connection: Connection, event: str, user: Registered, digest: str) -> None:
    count = len(connection.execute(select(store.users.c.seq)).all())
    said = {"event": event, "role": user.role, "digest": digest}
    head = {"key": _digest(f"{count} {user.name} {event}"), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    head["name"] = user.name
    made = insert(store.users).values(**head, payload=json.dumps(said, sort_keys=True))
    (seq,) = connection.execute(made).inserted_primary_key or (None,)
    audit.extend(connection, "user", head | said | {"seq": seq})
    _seen.clear()


def _standing(connection: Connection) -> dict[str, Registered]:
    found: dict[str, Registered] = {}
    for row in connection.execute(select(store.users).order_by(store.users.c.seq)):
        said: dict[str, Any] = json.loads(row.payload)
        found.pop(row.name, None)
        if said["event"] != "removed":
            found[row.name] = Registered(row.name, said["role"], row.at, said["digest"])
    return found


_seen: dict[str, tuple[float, list[Registered]]] = {}


def _known() -> list[Registered]:
    """The users as they were within the last second."""
    at, found = _seen.get("all", (float("-inf"), []))
    if time.monotonic() - at > FRESH:
        found = users()
        _seen["all"] = (time.monotonic(), found)
    return found
