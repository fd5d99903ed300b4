"""The recommendations there were: one row a ticker, session and horizon, append-only, chained by the audit trail.

All rows of a call are written in one transaction, so a process that is killed leaves all of them or none. What was
said first stands: asked again of the same session, another answer is not written.
"""

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pandas as pd
from sqlalchemy import Connection, insert, select

from mltrainer import store
from mltrainer.settings import settings
from mltrainer.trading.recommendations.records import REFUSED
from mltrainer.trust import audit
from mltrainer.trust.provenance import plain

VERSION = 1  # of the rules: raise it when a recommendation means something else
HEAD = {"ticker": "ticker", "session": "as_of", "horizon": "horizon", "mode": "mode"}  # column of the table -> of a row


def commit(rows: pd.DataFrame, *, content: str = "", project: str = "", at: str | None = None) -> list[str]:
    """Write what is recommended and not yet there, as one; the ids of what is new."""
    given = rows[rows["action"] != REFUSED]
    with store.writing() as connection:
        found = [_write(connection, plain(row), content, project, at or _now()) for row in given.to_dict("records")]
    return [key for key in found if key]


def _write(connection: Connection, row: dict[str, Any], content: str, project: str, at: str) -> str:
    head = {column: row[name] for column, name in HEAD.items()}
    key = sha256("\0".join(map(str, head.values())).encode()).hexdigest()
    c = store.recommendations.c
    if connection.execute(select(c.key).where(c.key == key)).first():
        return ""
    rest = {k: v for k, v in row.items() if k not in (*head, "as_of")}
    said = rest | {"version": VERSION, "content": content, "project": project}
    head = {"key": key, "at": at, **head}
    made = insert(store.recommendations).values(**head, payload=json.dumps(said, sort_keys=True))
    (seq,) = connection.execute(made).inserted_primary_key or (None,)
    audit.extend(connection, "recommendation", head | said | {"seq": seq})
    return key[:12]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def written(*, mode: str | None = None) -> pd.DataFrame:
    """Every recommendation of the mode in force, the oldest first; id, at, and the columns of a recommendation."""
    c = store.recommendations.c
    with store.reading() as connection:
        chosen = select(store.recommendations).where(c.mode == (mode or settings().data_mode)).order_by(c.seq)
        rows = connection.execute(chosen).mappings().all()
    flat = [
        {"id": r["key"][:12], "at": r["at"], **{HEAD[k]: r[k] for k in HEAD}, **json.loads(r["payload"])} for r in rows
    ]
    return pd.DataFrame(flat)
