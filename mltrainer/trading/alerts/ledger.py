"""The alerts there were: one row for each condition and period, append-only, and what happened to each.

What fired, what is over and that a subject was checked are written in one transaction, so a process that is killed
leaves all of it or nothing. Periods are sessions of the data and never times of a clock: one that is put back moves
no alert. An alert that is there already, under its own key or within its cool-down, is not written again.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pandas as pd
from sqlalchemy import Connection, func, insert, select

from mltrainer import store
from mltrainer.data.dates import Day, day
from mltrainer.errors import BadInput, UnknownName
from mltrainer.plain import cleaned
from mltrainer.settings import settings
from mltrainer.trading.alerts.firing import Episode, asked, episodes
from mltrainer.trading.alerts.kinds import WEEK, AlertKind
from mltrainer.trading.alerts.watching import Watched
from mltrainer.trust import audit
from mltrainer.trust.provenance import plain

VERSION = 2  # of the rules: raise it when a condition means something else
GRACE = WEEK  # sessions before the last check that are looked at again: a bar may come late
STATES = ("new", "acknowledged", "resolved")
COLUMNS = "id at kind condition severity subject session state message mode".split()


@dataclass(frozen=True)
class Alert:
    """One alert.

    Attributes
    ----------
    id : 12 digits of the hash of condition, subject, mode and the session at whose close it fired.
    at : when it was written, UTC, for the reader; the order is that of the ledger.
    values : the figures that fired it; `content` holds the hashes of the sealed data they are of.
    state : "new", "acknowledged" (somebody has seen it) or "resolved" (its condition is over).
    """

    id: str
    at: str
    kind: str
    condition: str
    severity: str
    subject: str
    session: str
    state: str
    message: str
    values: dict[str, Any]
    content: tuple[str, ...]
    mode: str
    version: int

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hash(*parts: object) -> str:
    return sha256("\0".join(map(str, parts)).encode()).hexdigest()


# --- writing --------------------------------------------------------------------------------------------------


def settle(watched: Watched, *, at: str | None = None) -> list[str]:
    """Write what fired and what is over since the last check of a subject, and that it was checked, as one.

    Returns
    -------
    list[str]
        Keys of the alerts that are new.
    """
    found = {kind: list(episodes(kind, watched.frame)) for kind in asked(watched.watches, watched.frame)}
    with store.writing() as connection:
        since = _checked(connection, watched)
        new = [
            key
            for kind, of_kind in found.items()
            for e in of_kind
            if _due(e, watched, since) and (key := _raise(connection, e, watched, at or _now()))
        ]
        for kind, of_kind in found.items():
            _resolve(connection, kind, of_kind, watched, at or _now())
        said: dict[str, Any] = {"watches": watched.watches, "subject": watched.subject, "session": watched.session}
        said |= {"mode": watched.mode, "content": list(watched.content), "asked": [k.name for k in found]}
        _happen(connection, _subject(watched), "checked", said, at or _now(), *said.values())
    return new


def _due(e: Episode, watched: Watched, since: str | None) -> bool:
    """Whether an episode is news: since the last check, or, where nobody has looked before, now and still standing."""
    index = watched.frame.index
    if since is None:
        return e.end is None and (e.kind.standing or e.start >= len(index) - GRACE)
    return e.start >= int(index.searchsorted(pd.Timestamp(since), side="right")) - GRACE


def _raise(connection: Connection, e: Episode, watched: Watched, at: str) -> str:
    """Write an alert and return its key; "" where it is there, or another of its condition within the cool-down."""
    kind, index = e.kind, watched.frame.index
    near = index[max(e.start - kind.cool_down, 0)], index[min(e.start + kind.cool_down, len(index) - 1)]
    columns = store.alerts.c
    same = *_same(kind, watched), columns.session >= _text(near[0]), columns.session <= _text(near[1])
    if connection.execute(select(columns.key).where(*same)).first() is not None:
        return ""
    row, session = watched.frame.iloc[e.start], _text(index[e.start])
    values = {str(k): v for k, v in row.items() if k in kind.needs}
    made = {"message": kind.says(watched.subject, dict(row)), "values": values, "version": VERSION}
    fields = {"kind": kind.kind, "condition": kind.condition, "subject": watched.subject, "session": session}
    key = _hash(watched.mode, *fields.values())
    head = {"key": key, "at": at, **fields, "severity": kind.severity, "mode": watched.mode}
    _write(connection, store.alerts, "alert", head, made | {"content": list(watched.content)})
    return key


def _same(kind: AlertKind, watched: Watched) -> tuple[Any, ...]:
    c = store.alerts.c
    named = {c.kind: kind.kind, c.condition: kind.condition, c.subject: watched.subject, c.mode: watched.mode}
    return tuple(column == value for column, value in named.items())


def _resolve(connection: Connection, kind: AlertKind, found: list[Episode], watched: Watched, at: str) -> None:
    """Write of the alerts that stand which are over, or no longer in the data."""
    index, a, v = watched.frame.index, store.alerts.c, store.alert_events.c
    over = select(v.alert).where(v.event == "resolved")
    held = connection.execute(select(a.key, a.session).where(*_same(kind, watched), a.key.not_in(over))).all()
    for row in held:
        place = int(index.searchsorted(pd.Timestamp(row.session)))
        if place >= len(index):  # fired after what is looked at now
            continue
        mine = next((e for e in found if abs(e.start - place) <= kind.cool_down), None)
        if mine is None or mine.end is not None:
            when = _text(index[mine.end]) if mine and mine.end is not None else watched.session
            why = "its condition is over" if mine else "its condition is no longer in the data"
            _happen(connection, row.key, "resolved", {"session": when, "why": why}, at)


def _happen(connection: Connection, alert: str, event: str, payload: dict[str, Any], at: str, *unique: object) -> bool:
    """Write an event, once; whether it is new."""
    key = _hash(alert, event, *unique)
    if connection.execute(select(store.alert_events.c.key).where(store.alert_events.c.key == key)).first():
        return False
    head = {"key": key, "at": at, "alert": alert, "event": event}
    _write(connection, store.alert_events, "alert event", head, payload)
    return True


def _write(connection: Connection, table: Any, what: str, head: dict[str, Any], payload: dict[str, Any]) -> None:
    """A row, and its entry in the trail with all that the row says."""
    payload = plain(payload)
    made = insert(table).values(**head, payload=json.dumps(payload, sort_keys=True))
    (seq,) = connection.execute(made).inserted_primary_key or (None,)
    audit.extend(connection, what, head | payload | {"seq": seq})


def _checked(connection: Connection, watched: Watched) -> str | None:
    """The last session at which a subject was checked."""
    v = store.alert_events.c
    rows = connection.execute(select(v.payload).where(v.event == "checked", v.alert == _subject(watched))).scalars()
    return max((str(json.loads(p)["session"]) for p in rows), default=None)


def _subject(watched: Watched) -> str:
    return _hash(watched.watches, watched.subject, watched.mode)


def _text(session: object) -> str:
    return str(session)[:10]


# --- reading --------------------------------------------------------------------------------------------------


def alerts(*, mode: str | None = None, as_of: Day = None) -> list[Alert]:
    """Every alert of the mode in force, the oldest first; as of a day, those of its sessions in their state of then.

    A state is that of the sessions of the data: what was over later stood. That somebody had seen an alert counts from
    the day, UTC, on which it was written.
    """
    a, v, last = store.alerts.c, store.alert_events.c, day(as_of, "as_of")
    with store.reading() as connection:
        chosen = select(store.alerts).where(a.mode == (mode or settings().data_mode)).order_by(a.seq)
        rows = connection.execute(chosen).all()
        happened = connection.execute(select(v.alert, v.event, v.at, v.payload).where(v.event.in_(STATES))).all()
    states: dict[str, str] = {}
    for e in happened:
        when = json.loads(e.payload).get("session", e.at)
        if last is None or _text(when) <= _text(last):
            states[e.alert] = max(states.get(e.alert, "new"), e.event, key=STATES.index)
    return [_read(r, states.get(r.key, "new")) for r in rows if last is None or r.session <= _text(last)]


def _read(row: Any, state: str) -> Alert:
    fields, told = dict(row._mapping), json.loads(row.payload)
    known = {k: fields[k] for k in "at kind condition severity subject session mode".split()}
    rest = {k: told[k] for k in ("message", "values", "version")}
    return Alert(id=row.key[:12], state=state, content=tuple(told["content"]), **known, **rest)


def history(state: str | None = None, *, as_of: Day = None) -> pd.DataFrame:
    """The alerts of the mode in force, the newest first.

    Parameters
    ----------
    state : "new", "acknowledged" or "resolved"; default all.
    as_of : a day; only alerts of sessions up to it, in the state they had then. Default now.

    Returns
    -------
    DataFrame
        Columns id, at, kind, condition, severity, subject, session, state, message, mode.
    """
    if state is not None and state not in STATES:
        raise UnknownName.of("state of an alert", state, STATES)
    found = [a for a in alerts(as_of=as_of)[::-1] if state in (None, a.state)]
    return pd.DataFrame([[getattr(a, c) for c in COLUMNS] for a in found], columns=COLUMNS)


def acknowledge(*ids: str, note: str = "") -> list[Alert]:
    """Write that somebody has seen alerts; a second time changes nothing.

    Parameters
    ----------
    ids : as `history` shows them, or their first digits where those are of one alert only.
    note : what there is to say of it, kept in the audit trail.
    """
    wanted = [_only(i, alerts()) for i in ids]
    a = store.alerts.c
    with store.writing() as connection:
        for alert in wanted:
            key = connection.execute(select(a.key).where(a.key.startswith(alert.id))).scalar_one()
            _happen(connection, key, "acknowledged", {"note": cleaned(note)[:500]}, _now())
    return [_only(alert.id, alerts()) for alert in wanted]


def _only(start: str, among: Iterable[Alert]) -> Alert:
    found = [a for a in among if start and a.id.startswith(start.lower())]
    if len(found) != 1:
        why = "is no alert" if not found else f"begins {len(found)} alerts"
        raise BadInput(f"{start[:40]!r} {why}; mltrainer alerts list shows what there is")
    return found[0]


# --- deliveries -----------------------------------------------------------------------------------------------


def begin(channel: str) -> None:
    """Write, once, from which alert on a channel is told everything; of those before, only what is still new."""
    a = store.alerts.c
    with store.writing() as connection:
        last = connection.execute(select(func.max(a.seq))).scalar() or 0
        _happen(connection, channel, "begun", {"after": last}, _now())


def pending(channel: str) -> list[tuple[Alert, bool]]:
    """Alerts that a channel has not had, each with whether an earlier message may have left all the same.

    What fired and was over between two checks is among them; what somebody has acknowledged is not.
    """
    a, v = store.alerts.c, store.alert_events.c
    with store.reading() as connection:
        events = connection.execute(
            select(v.alert, v.event, v.payload).where(v.event.in_(("sending", "sent", "failed")))
        )
        told = Counter((row.alert, row.event) for row in events if json.loads(row.payload)["channel"] == channel)
        seqs = {row.key[:12]: (row.key, row.seq) for row in connection.execute(select(a.key, a.seq))}
        begun = connection.execute(select(v.payload).where(v.event == "begun", v.alert == channel)).scalar()
    since = json.loads(begun)["after"] if begun else 0
    out = []
    for alert in alerts():
        key, seq = seqs[alert.id]
        if not told[key, "sent"] and (alert.state == "new" or (alert.state == "resolved" and seq > since)):
            out.append((alert, told[key, "sending"] > told[key, "failed"]))
    return out


def tell(found: Iterable[Alert], event: str, channel: str, said: str = "") -> None:
    """Write that alerts are being sent to a channel ("sending"), that they were ("sent"), or not ("failed")."""
    a, v = store.alerts.c, store.alert_events.c
    with store.writing() as connection:
        for alert in found:
            key = connection.execute(select(a.key).where(a.key.startswith(alert.id))).scalar_one()
            before = connection.execute(select(v.payload).where(v.alert == key, v.event == event)).scalars()
            attempt = sum(json.loads(p)["channel"] == channel for p in before) + 1
            _happen(connection, key, event, {"channel": channel, "said": said}, _now(), channel, attempt)
