"""The append-only ledger: every fit ever made is a row, and every leaderboard is deflated by all of them.

A result lies at the hash of what decides it, so a fit that is made again heals one that was lost or damaged; what was
measured on the way (times, memory) stands in its row. `lost` names what the audit trail tells of and is not there.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, func, select

from mltrainer import store
from mltrainer.errors import BadInput, Refused, Tampered, Unavailable
from mltrainer.evaluation import code, preregistered, skill
from mltrainer.evaluation.panels import keys
from mltrainer.evaluation.preregistered import Registration
from mltrainer.evaluation.protocol import VERSION, Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Evidence, Judgment, Question, Single, Trial
from mltrainer.evaluation.splits import Split
from mltrainer.features import targets
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
    before = store.flaw(sha256(body).hexdigest())
    row = _row(evaluation, matrix, store.put_blob(body))
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
    return _with_measured(evaluation, payload)


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
    seen = _tried(_counting(ledger()))["trial"].nunique()
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


def _with_measured(evaluation: Evaluation, payload: dict[str, Any]) -> Evaluation:
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
    return _with_measured(Evaluation.from_bytes(store.get_blob(payload["blob"])), payload)


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
    query = select(store.trials).order_by(store.trials.c.seq)
    with store.reading() as connection:
        rows = connection.execute(query if until is None else query.where(store.trials.c.seq <= until)).mappings().all()
    # the first release noted no mode, and knew the sample only
    usual = {"mode": "sample", "target": "return", "settings": "", "project": ""}
    flat: list[dict[str, Any]] = [{**usual, "trial": r["key"], **r, **json.loads(r["payload"])} for r in rows]
    return pd.DataFrame(flat, columns=LEDGER)


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
    with store.reading() as connection:
        keys = set(connection.execute(select(store.trials.c.key)).scalars())
        entries = audit.payloads(connection, "trial", since=since)
    last = {entry["key"]: entry | {"there": entry["key"] in keys} for entry in entries}
    return pd.DataFrame(list(last.values()), columns=[*LOST, "blob", "there"])


def _why(entry: Mapping[Any, Any]) -> str:
    if not entry["there"]:
        return "row deleted"
    if entry["status"] not in FINISHED and not pd.isna(entry["status"]):  # what failed has no forecasts to lose
        return ""
    return f"result {flaw}" if (flaw := store.flaw(entry["blob"])) else ""


def judgment(
    evaluations: Iterable[Evaluation] = (), *, until: int | None = None, known: pd.DatetimeIndex | None = None
) -> Judgment:
    """Test every trial of the mode in force together, those of the ledger and `evaluations`.

    Parameters
    ----------
    evaluations : results that may not be in the ledger.
    until : the last row of the ledger that counts (`seq`); default all.
    known : sessions; of each trial only what had matured at the last of them. A trial of which nothing had counts as
        luck all the same. Default everything.
    """
    rows = _counting(ledger(until))
    tried = _tried(rows, until)
    family: dict[str, Trial] = {}
    gone = set(tried.loc[tried["deleted"], "trial"])
    for key, same in rows[~rows["trial"].isin(gone)].groupby("trial", sort=False):
        with suppress(Unavailable, Tampered):  # a result that is lost counts below
            of = (str(key), _question(same), tuple(same["ticker"]), tuple(same["blob"]))
            if (trial := _kept(*of) if known is None else _matured(*of, known)) is not None:
                family[str(key)] = trial
    family |= grouped(e for e in evaluations if e.ok and e.trial not in family)
    absent = tried[~tried["trial"].isin(family)]
    judged = _judged(tuple(family.values()), _questions(absent))
    return dataclasses.replace(judged, single=_single(family, tried, position() if until is None else until))


def _tried(rows: pd.DataFrame, until: int | None = None) -> pd.DataFrame:
    """The trials in `rows` and, `deleted`, those that only the trail tells of; a row per ticker."""
    deleted = _counting(_entries().loc[lambda e: ~e["there"].astype(bool)], until)
    parts = [part.assign(deleted=d) for part, d in ((rows, False), (deleted, True))]
    names = ["trial", "ticker", "horizon", "target", "seq", "deleted"]
    return pd.concat([part[names] for part in parts if len(part)] or [pd.DataFrame(columns=names)], ignore_index=True)


def _single(family: Mapping[str, Trial], tried: pd.DataFrame, until: int) -> dict[str, Single]:
    """Reading of each declared test: among what had been tried when it was declared, with its share of all declared.

    A declaration counts from the next trial on, so that a judgment can be made again as of a row of the ledger.
    """
    declared = [r for r in preregistered.registrations(settings().data_mode) if r.position < until]
    found = {}
    for r in (r for r in declared if r.key in family):
        before = tried[~tried["seq"].gt(r.position)]  # what an entry does not say when is counted
        seen = [family[key] for key in dict.fromkeys(before["trial"]) if key in family]
        if r.key in set(before["trial"]):
            continue
        alone = _judged((*seen, family[r.key]), _questions(before[~before["trial"].isin(family)]))
        found[r.key] = Single.of(alone.evidence.get(r.key, Evidence()), before["trial"].nunique(), len(declared))
    return found


def _counting(rows: pd.DataFrame, until: int | None = None) -> pd.DataFrame:
    """Those that ran to the end in the mode in force; an entry of an older version, which does not say, is one."""
    mode = settings().data_mode
    rows = rows.assign(trial=rows["trial"].fillna(rows["key"]), horizon=rows["horizon"].fillna(0))
    rows = rows.assign(target=rows["target"].fillna("return"))
    rows = rows[rows["status"].fillna("ok").eq("ok") & rows["mode"].fillna(mode).eq(mode)]
    return rows if until is None else rows[~rows["seq"].gt(until)]


def _questions(absent: pd.DataFrame) -> tuple[tuple[Question, int], ...]:
    """How many trials of each question are lost; a panel that lost a ticker is one of them."""
    return tuple(sorted(Counter(_question(same) for _, same in absent.groupby("trial")).items()))


def _question(rows: pd.DataFrame) -> Question:
    """What the rows of one trial, a ticker each, are of."""
    first = rows.iloc[0]
    return Question(tuple(sorted(set(map(str, rows["ticker"])))), int(first["horizon"]), str(first["target"]))


def grouped(evaluations: Iterable[Evaluation]) -> dict[str, Trial]:
    """Trials that results belong to, by their key: one for each, and one for all tickers of a panel."""
    together: dict[str, list[Evaluation]] = {}
    for e in evaluations:
        together.setdefault(e.trial, []).append(e)
    return {
        k: Trial.of(k, es[0].horizon, {e.ticker: e.forecasts for e in es}, es[0].target) for k, es in together.items()
    }


@lru_cache(maxsize=4_096)  # an address names its content, so what it held it holds
def _kept(key: str, question: Question, tickers: tuple[str, ...], blobs: tuple[str, ...]) -> Trial:
    frames = dict(zip(tickers, _frames(question, blobs), strict=True))
    return Trial.of(key, question.horizon, frames, question.target)


def _matured(
    key: str, question: Question, tickers: tuple[str, ...], blobs: tuple[str, ...], known: pd.DatetimeIndex
) -> Trial | None:
    """A trial by what had matured at the last session; None where too little had to be tested."""
    last = known[max(len(known) - question.horizon - 2, 0)]
    frames = {ticker: f.loc[:last] for ticker, f in zip(tickers, _frames(question, blobs), strict=True)}
    enough = all(len(f) > 2 * (question.horizon + 1) for f in frames.values())
    return Trial.of(key, question.horizon, frames, question.target) if enough else None


def _frames(question: Question, blobs: Iterable[str]) -> Iterator[pd.DataFrame]:
    proof = ("baseline",) if targets.target(question.target).proof == "loss" else ()
    columns = ("y", "forecast", "scale", "fold", "position", "gross", "net", "benchmark", *proof)
    return (Evaluation.columns(store.get_blob(blob), *columns) for blob in blobs)


@lru_cache(maxsize=64)
def _judged(family: tuple[Trial, ...], gone: tuple[tuple[Question, int], ...]) -> Judgment:
    return skill.judge(family, lost=dict(gone))
