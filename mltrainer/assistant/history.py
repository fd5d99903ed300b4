"""Conversations: what a user asked in a role and what was answered; another user or role sees none of it."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from mltrainer import store
from mltrainer.assistant.records import Answer
from mltrainer.errors import BadInput

MOST = 200  # that are kept of each user and role; older ones are forgotten


def write(user: str, role: str, answer: Answer) -> None:
    """Keep an answer."""
    row = {"user": user, "role": role, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    table = store.conversations
    mine = (table.c.user == user) & (table.c.role == role)
    with store.writing() as connection:
        connection.execute(insert(table).values(**row, payload=json.dumps(plain(answer))))
        old = select(table.c.seq).where(mine).order_by(table.c.seq.desc()).offset(MOST)
        connection.execute(delete(table).where(table.c.seq.in_(connection.execute(old).scalars().all())))


def recent(user: str, role: str, many: int = 20) -> list[dict[str, Any]]:
    """The last answers to a user in a role, oldest first; none of nobody."""
    if not user:
        return []
    table = store.conversations
    query = select(table.c.payload).where((table.c.user == user) & (table.c.role == role))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(table.c.seq.desc()).limit(many)).scalars().all()
    return [json.loads(row) for row in reversed(rows)]


def pop_pending(user: str, role: str) -> dict[str, Any] | None:
    """What waits for a yes in the last answer, which it waits in no longer: two who say yes at once do it once."""
    table = store.conversations
    last = select(table.c.seq, table.c.payload).where((table.c.user == user) & (table.c.role == role))
    with store.writing() as connection:
        row = connection.execute(last.order_by(table.c.seq.desc()).limit(1)).first()
        kept = json.loads(row.payload) if row else {}
        pending: dict[str, Any] | None = kept.get("pending")
        if row and pending:
            taken = json.dumps(kept | {"pending": None})
            connection.execute(update(table).where(table.c.seq == row.seq).values(payload=taken))
    return pending


def forget(user: str, role: str) -> int:
    """Delete what is kept of a user in a role; how many answers that were."""
    table = store.conversations
    with store.writing() as connection:
        done = connection.execute(delete(table).where((table.c.user == user) & (table.c.role == role)))
    return int(done.rowcount)


def plain(answer: Any) -> dict[str, Any]:
    """What is kept of an answer: no claim outlives its turn, and a figure is kept as the text it was."""
    if isinstance(answer, dict):
        return _checked(answer)
    if not isinstance(answer, Answer):
        raise BadInput(f"history holds answers, not {type(answer).__name__}")
    known = answer.to_dict()
    return {k: known[k] for k in ("question", "text", "html", "pending", "suggestions", "by", "mode")}


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """A kept answer that can be gone on from."""
    pending = answer.get("pending")
    known = all(isinstance(answer.get(k), str) for k in ("question", "text"))
    can = pending is None or (
        isinstance(pending, dict)
        and isinstance(pending.get("tool"), str)
        and isinstance(pending.get("parameters"), dict)
        and all(isinstance(k, str) for k in pending["parameters"])
    )
    if not known or not can:
        raise BadInput("history holds answers: question and text, and what is pending is a tool with its parameters")
    return answer
