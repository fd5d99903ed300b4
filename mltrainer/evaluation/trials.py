"""The append-only ledger: every fit ever made is a row, and every leaderboard is deflated by all of them.

A result lies at the hash of what decides it, so a fit that is made again heals one that was lost or damaged; what was
measured on the way (times, memory) stands in its row. `lost` names what the audit trail tells of and is not there.
"""

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, func, select

from mltrainer import blobstore, store
from mltrainer.errors import BadInput, Refused, Tampered, Unavailable
from mltrainer.evaluation import code, preregistered
from mltrainer.evaluation.panels import keys
from mltrainer.evaluation.preregistered import Registration
from mltrainer.evaluation.protocol import VERSION, Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import Split
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.settings import settings
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import fingerprint

DISTRIBUTIONS = {"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}  # import name -> distribution, where they differ
BACKENDS = {"keras": ("jax", "jaxlib")}  # what computes for a library that does not itself


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed distributions among `names`."""
    return {name: found for name in names if (found := _version(name))}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def libraries(spec: ModelSpec) -> dict[str, str]:
    """Versions of what computes a model: these packages, and those that its engine and its parts come from."""
    packages = code.packages(spec.estimator) | {spec.engine.partition(".")[0]}
    computing = {library for package in packages for library in (package, *BACKENDS.get(package, ()))}
    always = {"mltrainer", "numpy", "scipy", "scikit-learn"}
    return versions(sorted(always | {DISTRIBUTIONS.get(package, package) for package in computing}))


def key(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> str:
    """Address of a result: the hash of data, model, protocol and the code that computes it.

    Libraries count by their versions, an estimator of one's own by what it runs (`evaluation.code`).
    """
    assert matrix.provenance is not None
    model, cuts = (spec.name, *spec.decides, code.source(spec.estimator)), _foreign(protocol.split, matrix)
    return fingerprint(matrix.provenance.content_sha256, *model, repr(protocol), VERSION, libraries(spec), *cuts)


def _foreign(split: Split, matrix: Matrix) -> list[Any]:
    """Every fold of a split that is not of this package: whatever it is called, it may cut as it likes."""
    if type(split).__module__ == Split.__module__:
        return []
    n = len(matrix.y.dropna().index.unique(0))
    return [[fold.train.tolist(), fold.test.tolist()] for fold in split.split(n, matrix.horizon, matrix.X.shape[1])]


def record(evaluation: Evaluation, matrix: Matrix) -> Evaluation:
    """Write a finished fit to the ledger, its forecasts to the blobs and the row to the audit trail, as one.

    A second record of the same key adds no row: it heals a result that was lost or damaged. A fit that was ended or
    failed gets a row of its own under a numbered key, so that it can be tried again and is never forgotten.

    Returns
    -------
    Evaluation
        With what the ledger holds as measured, so that two processes that fit the same thing show the same figures.
    """
    body = evaluation.to_bytes()
    before = blobstore.flaw(sha256(body).hexdigest())
    row = _row(evaluation, matrix, blobstore.put(body))
    finished = evaluation.status in FINISHED
    with store.writing() as connection:
        held = _held(connection, evaluation.key) if finished else None
        if held is None:
            row["key"] = evaluation.key if finished else _attempt(connection, evaluation.key)
            named = {name: row[name] for name in row.keys() & store.trials.c.keys()}
            rest = {name: value for name, value in row.items() if name not in named}
            made = store.trials.insert().values(**named, payload=json.dumps(rest, sort_keys=True))
            (seq,) = connection.execute(made).inserted_primary_key or (None,)
            audit.extend(connection, "trial", row | {"seq": seq})
            return evaluation
        payload = json.loads(held.payload)
        if before and payload["blob"] == row["blob"]:
            audit.extend(connection, "healed", {"blob": row["blob"], "key": evaluation.key, "was": before})
    return with_measured(evaluation, payload)


def _row(evaluation: Evaluation, matrix: Matrix, blob: str) -> dict[str, Any]:
    """All that the ledger and the audit trail say of a fit; columns of the table, and the rest as its payload."""
    assert matrix.provenance is not None
    sharpe = evaluation.metrics.get("sharpe", float("nan"))
    same = {
        name: getattr(evaluation, name)
        for name in ("model", "family", "ticker", "horizon", "target", "status", "reason")
    }
    return same | {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sharpe": sharpe if np.isfinite(sharpe) else None,
        "n": len(evaluation.forecasts),
        "matrix": matrix.provenance.content_sha256,
        "mode": matrix.provenance.mode,
        "blob": blob,
        "trial": evaluation.trial,
        "measured": evaluation.measured,
        "settings": str(evaluation.meta.get("settings", "")),
        "project": str(evaluation.meta.get("project", "")),
    }


def declare(spec: ModelSpec, matrix: Matrix, protocol: Protocol, *, settings: str, project: str) -> Registration:
    """Write to the trail that this trial is a test of its own, before any result of it exists; `BadInput` after.

    What was declared before stays as it was.
    """
    assert matrix.provenance is not None
    address, mode = key(spec, matrix, protocol), matrix.provenance.mode
    for held in preregistered.registrations(mode):
        if held.key == address:
            return held
    seen = len({row.trial for row in (*present(), *deleted())})
    with store.writing() as connection:
        known = {p["key"] for p in audit.payloads(connection, "trial") if p.get("status", "ok") in FINISHED}
        made = [k for k in keys(matrix, address).values() if k in known or _held(connection, k) is not None]
        if made:
            raise BadInput(
                f"{spec.name} on {matrix.name} has a result already ({made[0][:12]}), so it can no longer be declared: "
                "a test is preregistered before it is run; it is judged among all trials, as it was made"
            )
        end = int(connection.execute(select(func.max(store.trials.c.seq))).scalar() or 0)
        same: dict[str, Any] = {"horizon": matrix.horizon, "target": matrix.target, "mode": mode}
        said = Registration(address, spec.name, matrix.name, **same, seen=seen, position=end, settings=settings,
                            project=project)  # fmt: skip
        audit.extend(connection, preregistered.KIND, said.payload())
    return next(held for held in preregistered.registrations(mode) if held.key == address)


def _attempt(connection: Connection, result_key: str) -> str:
    attempts = select(func.count()).where(store.trials.c.key.startswith(f"{result_key}#"))
    return f"{result_key}#{connection.execute(attempts).scalar_one() + 1}"


def _held(connection: Connection, result_key: str) -> Row[Any] | None:
    return connection.execute(select(store.trials.c.payload).where(store.trials.c.key == result_key)).first()


def with_measured(evaluation: Evaluation, payload: Mapping[str, Any]) -> Evaluation:
    """A result as its row has it: with what was measured, its settings and its project."""
    beside = {name: payload[name] for name in ("settings", "project") if payload.get(name)}
    return dataclasses.replace(evaluation, meta=evaluation.meta | payload.get("measured", {}) | beside)


def load(result_key: str) -> Evaluation | None:
    """Return the stored result of a key; None when that fit was never finished, or what it gave is lost or damaged."""
    try:
        return opened(result_key)
    except (Unavailable, Tampered):
        return None  # `lost` names it; its row stays in the ledger, and the same fit made again heals it
    except Refused:
        return None  # of revoked data: it is ranked no more, and was tried all the same


def opened(result_key: str) -> Evaluation | None:
    """Like `load`, but a result that is lost is `Unavailable`, a damaged one `Tampered`, of revoked data `Refused`."""
    with store.reading() as connection:
        row = _held(connection, result_key)
    if row is None:
        return None
    payload = json.loads(row.payload)
    if why := gate.revoked(payload["matrix"]):
        raise Refused(
            f"result {result_key[:12]} rests on revoked data: {why}; mltrainer revoke --lift lets it in again"
        )
    return with_measured(Evaluation.from_bytes(blobstore.get(payload["blob"])), payload)


def last_attempt(result_key: str) -> Evaluation | None:
    """The last fit of a key that was ended or failed, as the ledger has it; None where none was."""
    query = select(store.trials.c.key).where(store.trials.c.key.startswith(f"{result_key}#"))
    with store.reading() as connection:
        found = connection.execute(query.order_by(store.trials.c.seq.desc())).scalars().first()
    return None if found is None else load(found)


FINISHED = ("ok", "diagnostic", "contaminated")
LEDGER = "seq key at model family ticker horizon target status sharpe n reason mode matrix blob trial".split()
LEDGER += ["settings", "project"]
LOST = "key model ticker horizon target mode status n matrix trial seq why".split()


def ledger(until: int | None = None) -> pd.DataFrame:
    """Every trial ever made, or those up to row `until`.

    Columns: seq, key, at, model, family, ticker, horizon, target, status, sharpe, n, reason, mode, matrix, blob,
    trial (the key that all tickers of a panel share), settings (what differs from the defaults), project (what it was
    first made for).
    """
    flat = [[row.get(name, np.nan) for name in LEDGER] for row in rows(until)]
    return pd.DataFrame(flat, columns=LEDGER)


def rows(until: int | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the ledger with all that they say, oldest first, a few in memory at a time."""
    # the first release noted no mode, and knew the sample only
    usual = {"mode": "sample", "target": "return", "settings": "", "project": ""}
    query = select(store.trials).order_by(store.trials.c.seq)
    query = query if until is None else query.where(store.trials.c.seq <= until)
    with store.reading() as connection:
        for r in connection.execute(query.execution_options(yield_per=1_000)).mappings():
            yield {**usual, "trial": r["key"], **r, **json.loads(r["payload"])}


def position() -> int:
    """The last row of the ledger, 0 of an empty one: who says it can be judged again as of then."""
    with store.reading() as connection:
        return int(connection.execute(select(func.max(store.trials.c.seq))).scalar() or 0)


def lost(*, since: int = 0) -> pd.DataFrame:
    """Trials that the audit trail tells of and that are not all there; they were tried, so luck had them too.

    Parameters
    ----------
    since : only those of later entries of the trail than this one.

    Returns
    -------
    DataFrame
        A row per trial and ticker: key, model, ticker, horizon, target, mode, status, n (sessions), matrix, trial, seq
        (its row in the ledger), and why: "row deleted", "result lost" or "result damaged" (its forecasts). What an
        entry of an older version does not say is missing. A result is hashed once while its file stays as it is.
    """
    entries = _entries(since)
    entries["why"] = [_why(entry) for entry in entries.to_dict("records")]
    return entries[entries["why"] != ""][LOST].reset_index(drop=True)


def _entries(since: int = 0) -> pd.DataFrame:
    """What the trail tells of each trial, and whether its row is `there`; of a row that was made again the last."""
    names = [*LOST[:-1], "blob", "there"]
    last = {entry["key"]: tuple(entry.get(name, np.nan) for name in names) for entry in _told(since)}
    return pd.DataFrame(list(last.values()), columns=names)


def _told(since: int = 0) -> Iterator[dict[str, Any]]:
    """What the trail tells of trials, oldest first, a few at a time, and whether the row is `there`."""
    with store.reading() as connection:
        keys = set(connection.execute(select(store.trials.c.key)).scalars())
        for entry in audit.payloads(connection, "trial", since=since):
            yield entry | {"there": entry["key"] in keys}


def _why(entry: Mapping[Any, Any]) -> str:
    if not entry["there"]:
        return "row deleted"
    if entry["status"] not in FINISHED and not pd.isna(entry["status"]):  # what failed has no forecasts to lose
        return ""
    return f"result {flaw}" if (flaw := blobstore.flaw(entry["blob"])) else ""


class Tried(NamedTuple):
    """One ticker of a trial that ran to its end in the mode in force: as its row says or, of a lost one, its entry."""

    trial: str
    ticker: str
    horizon: int
    target: str
    seq: float
    blob: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Tried":
        """From a row or an entry; one of an older version does not say all of it."""
        horizon, seq = int(said.get("horizon") or 0), said.get("seq")
        trial, target = said.get("trial") or said["key"], said.get("target") or "return"
        where = sys.intern(str(said.get("ticker", np.nan))), horizon, sys.intern(str(target))
        return cls(str(trial), *where, float("nan") if seq is None else seq, str(said.get("blob")))


def present(until: int | None = None) -> Iterator[Tried]:
    """Trials that the ledger has, a row for each ticker, up to a row (`seq`)."""
    mode = settings().data_mode
    return (Tried.of(row) for row in rows(until) if row["status"] == "ok" and (row["mode"] or mode) == mode)


def deleted(until: int | None = None) -> Iterator[Tried]:
    """Trials that only the trail tells of, a row for each ticker."""
    mode, last = settings().data_mode, {}
    for said in _told():
        if not said["there"]:
            last[said["key"]] = said
    for said in last.values():
        if (said.get("status") or "ok") == "ok" and (said.get("mode") or mode) == mode:
            row = Tried.of(said)
            if until is None or not row.seq > until:
                yield row


def by_trial(tickers: Iterable[Tried]) -> dict[str, list[Tried]]:
    """Rows by their trial, in the order of the first of each."""
    found: dict[str, list[Tried]] = {}
    for row in tickers:
        found.setdefault(row.trial, []).append(row)
    return found
