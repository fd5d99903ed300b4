"""Trainings that outlive whoever asked: each is what its entries say, and runs in a process of its own.

An entry is on the disk before it is acknowledged, so a server that is killed loses nothing: the process it started goes
on and writes its own end, and one that was killed too is found by the next server and said to be interrupted.
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import psutil
from sqlalchemy import Connection, insert, select

from mltrainer import store
from mltrainer.errors import BadInput, UnknownName
from mltrainer.server import private
from mltrainer.server.records import Job, NoSuchJob, NotNow
from mltrainer.settings import settings
from mltrainer.trust import audit
from mltrainer.trust.provenance import plain

AT_ONCE = 2
WAITING = 50  # trainings that wait for their turn


def submit(user: str, request: dict[str, Any]) -> Job:
    """Write down that a training is asked for; whoever serves starts it when its turn has come."""
    from mltrainer.data import market
    from mltrainer.features import targets
    from mltrainer.models import catalog

    start, end = (_day(request[name]) for name in ("start", "end"))
    if start and end and start > end:
        raise BadInput(f"start={start} is after end={end}")
    catalog.spec(request["model"])
    targets.target(request["target"])
    if settings().data_mode == "sample":
        known = market.tickers()
        for name in request["tickers"]:
            if name not in known:
                raise UnknownName.of("ticker in mode sample", name, known)
    with store.writing() as connection:
        if sum(job.state == "queued" for job in _standing(connection).values()) >= WAITING:
            raise NotNow(f"{WAITING} trainings wait already; ask again when some are done")
        id_ = uuid4().hex[:12]
        _happen(connection, id_, "queued", {"user": user, "request": request})
        return _standing(connection)[id_]


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadInput(f"{text!a:.20} is no day of the calendar") from None


def jobs() -> list[Job]:
    """Every training there was, the oldest first."""
    with store.reading() as connection:
        return list(_standing(connection).values())


def job(id_: str) -> Job:
    """One training."""
    with store.reading() as connection:
        return _only(connection, id_)


def resume(id_: str) -> Job:
    """Put a training that was interrupted or failed into the queue again; of another state nothing changes."""
    with store.writing() as connection:
        found = _only(connection, id_)
        if found.state in ("interrupted", "failed"):
            _happen(connection, id_, "queued", {})
        return _only(connection, id_)


# --- what serves ----------------------------------------------------------------------------------------------


def settle() -> None:
    """Say of every training whose process is gone that it was interrupted."""
    if all(_alive(said) for said in _running().values()):
        return
    with store.writing() as connection:
        for id_, said in _running(connection).items():
            if not _alive(said):
                _happen(connection, id_, "interrupted", {"error": "its process ended before it was done"})


def due() -> list[str]:
    """The trainings whose turn it is, as far as there is room."""
    waiting = [job.id for job in jobs() if job.state == "queued"]
    return waiting[: max(0, AT_ONCE - len(_running()))] if waiting else []


def start(id_: str) -> "subprocess.Popen[bytes]":
    """A process that does a training, apart from this one: it goes on when this one ends."""
    command = [sys.executable, "-P", "-m", "mltrainer.server.work", id_]
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    quiet["env"] = private.without(os.environ)
    return subprocess.Popen(command, start_new_session=True, **quiet)  # noqa: S603 - our own module, and an id of ours


def give_up(id_: str, why: str) -> None:
    """Say of a training that waits that it cannot be begun."""
    with store.writing() as connection:
        if _only(connection, id_).state == "queued":
            _happen(connection, id_, "failed", {"error": why})


# --- what works -----------------------------------------------------------------------------------------------


def claim(id_: str) -> Job | None:
    """Begin a training in this process, if it still waits and fewer than `AT_ONCE` run; None if not."""
    with store.writing() as connection:
        busy = [said for said in _running(connection).values() if _alive(said)]
        if _only(connection, id_).state != "queued" or len(busy) >= AT_ONCE:
            return None
        me = psutil.Process()
        _happen(connection, id_, "running", {"process": me.pid, "since": me.create_time(), "place": _place()})
        return _only(connection, id_)


def note(id_: str, event: str, **said: Any) -> None:
    """Write how far a training is ("progress"), or how it ended ("done", "failed")."""
    with store.writing() as connection:
        if _only(connection, id_).state == "running":
            _happen(connection, id_, event, said)


# --- entries --------------------------------------------------------------------------------------------------


def _happen(connection: Connection, id_: str, event: str, said: dict[str, Any]) -> None:
    c = store.jobs.c
    count = len(connection.execute(select(c.seq).where(c.job == id_)).all())
    head = {"key": sha256(f"{id_} {count}".encode()).hexdigest(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    head |= {"job": id_, "event": event}
    said = plain(said)
    made = insert(store.jobs).values(**head, payload=json.dumps(said, sort_keys=True))
    (seq,) = connection.execute(made).inserted_primary_key or (None,)
    audit.extend(connection, "job", head | said | {"seq": seq})


def _standing(connection: Connection, id_: str | None = None) -> dict[str, Job]:
    """The trainings by number, as their entries left them."""
    query = select(store.jobs).order_by(store.jobs.c.seq)
    if id_ is not None:
        query = query.where(store.jobs.c.job == id_)
    found: dict[str, Job] = {}
    for row in connection.execute(query):
        found[row.job] = _after(found.get(row.job), row)
    return found


def _after(before: Job | None, row: Any) -> Job:
    said = json.loads(row.payload)
    if before is None:
        return Job(row.job, "queued", 0.0, said["user"], row.at, row.at, said["request"])
    known = {name: said[name] for name in ("progress", "artifact", "error", "result") if name in said}
    if row.event == "queued":
        known = {"progress": 0.0, "error": "", "attempt": before.attempt + 1}
    if row.event == "done":
        known["progress"] = 1.0
    state = before.state if row.event == "progress" else row.event
    return replace(before, state=state, changed=row.at, **known)


def _only(connection: Connection, id_: str) -> Job:
    found = _standing(connection, id_)
    if id_ not in found:
        raise NoSuchJob(f"there is no training {id_[:20]!a}; GET /api/models/train lists those there are")
    return found[id_]


def _running(connection: Connection | None = None) -> dict[str, dict[str, Any]]:
    """What the trainings that run on this machine said when they began."""
    if connection is None:
        with store.reading() as opened:
            return _running(opened)
    c = store.jobs.c
    wanted = [id_ for id_, found in _standing(connection).items() if found.state == "running"]
    query = select(c.job, c.payload).where(c.job.in_(wanted), c.event == "running").order_by(c.seq)
    said = {row.job: json.loads(row.payload) for row in connection.execute(query)}
    return {id_: words for id_, words in said.items() if words["place"] == _place()}


def _place() -> str:
    """Which machine and home: of a process elsewhere nothing can be seen from here."""
    return sha256(f"{platform.node()} {settings().home.absolute()}".encode()).hexdigest()[:12]


def _alive(said: dict[str, Any]) -> bool:
    """Whether the process that began is still there, and no other under its number."""
    try:
        process = psutil.Process(said["process"])
        return abs(process.create_time() - said["since"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
