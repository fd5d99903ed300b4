"""The append-only ledger: every fit ever made is a row, and every leaderboard is deflated by all of them.

A result lies at the hash of what decides it, so a fit that is made again heals one that was lost or damaged; what was
measured on the way (times, memory) stands in its row. `lost` names what the audit trail tells of and is not there.
"""

import dataclasses
import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, func, select

from mltrainer import metrics, store
from mltrainer.errors import Tampered, Unavailable
from mltrainer.evaluation import walkforward
from mltrainer.evaluation.walkforward import Evaluation, Protocol
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.trust import audit
from mltrainer.trust.provenance import fingerprint

DISTRIBUTIONS = {"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}  # import name -> distribution, where they differ


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed distributions among `names`."""
    return {name: found for name in names if (found := _version(name))}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def key(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> str:
    """Address of a result: the hash of data, model, protocol and the libraries that compute it."""
    assert matrix.provenance is not None
    package = spec.engine.partition(".")[0]
    used = versions(("mltrainer", "numpy", "scipy", "scikit-learn", DISTRIBUTIONS.get(package, package)))
    model = (spec.name, spec.identity(), spec.max_train_rows, spec.columns)
    return fingerprint(matrix.provenance.content_sha256, *model, repr(protocol), walkforward.VERSION, used)


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
    finished = evaluation.ok or evaluation.status == "diagnostic"
    with store.writing() as connection:
        held = _held(connection, evaluation.key) if finished else None
        if held is None:
            row["key"] = evaluation.key if finished else _attempt(connection, evaluation.key)
            named = {name: row[name] for name in row.keys() & store.trials.c.keys()}
            rest = {name: value for name, value in row.items() if name not in named}
            connection.execute(store.trials.insert().values(**named, payload=json.dumps(rest, sort_keys=True)))
            audit.extend(connection, "trial", row)
            return evaluation
        payload = json.loads(held.payload)
        if before and payload["blob"] == row["blob"]:
            audit.extend(connection, "healed", {"blob": row["blob"], "key": evaluation.key, "was": before})
    return _with_measured(evaluation, payload)


def _row(evaluation: Evaluation, matrix: Matrix, blob: str) -> dict[str, Any]:
    """All that the ledger and the audit trail say of a fit; columns of the table, and the rest as its payload."""
    assert matrix.provenance is not None
    sharpe = evaluation.metrics.get("sharpe", float("nan"))
    same = {name: getattr(evaluation, name) for name in ("model", "family", "ticker", "horizon", "status", "reason")}
    return same | {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sharpe": sharpe if np.isfinite(sharpe) else None,
        "n": len(evaluation.forecasts),
        "matrix": matrix.provenance.content_sha256,
        "mode": matrix.provenance.mode,
        "blob": blob,
        "measured": evaluation.measured,
    }


def _attempt(connection: Connection, result_key: str) -> str:
    attempts = select(func.count()).where(store.trials.c.key.startswith(f"{result_key}#"))
    return f"{result_key}#{connection.execute(attempts).scalar_one() + 1}"


def _held(connection: Connection, result_key: str) -> Row[Any] | None:
    return connection.execute(select(store.trials.c.payload).where(store.trials.c.key == result_key)).first()


def _with_measured(evaluation: Evaluation, payload: dict[str, Any]) -> Evaluation:
    return dataclasses.replace(evaluation, meta=evaluation.meta | payload.get("measured", {}))


def load(result_key: str) -> Evaluation | None:
    """Return the stored result of a key; None when that fit was never finished, or what it gave is lost or damaged."""
    try:
        return opened(result_key)
    except (Unavailable, Tampered):
        return None  # `lost` names it; its row stays in the ledger, and the same fit made again heals it


def opened(result_key: str) -> Evaluation | None:
    """Like `load`, but a result that is lost is `Unavailable` and a damaged one `Tampered`."""
    with store.reading() as connection:
        row = _held(connection, result_key)
    if row is None:
        return None
    payload = json.loads(row.payload)
    return _with_measured(Evaluation.from_bytes(store.get_blob(payload["blob"])), payload)


LEDGER = "seq key at model family ticker horizon status sharpe n reason mode matrix blob".split()
LOST = "key model ticker horizon mode status n matrix why".split()


def ledger(until: int | None = None) -> pd.DataFrame:
    """Every trial ever made, or those up to row `until`.

    Columns: seq, key, at, model, family, ticker, horizon, status, sharpe, n, reason, mode, matrix, blob.
    """
    query = select(store.trials).order_by(store.trials.c.seq)
    with store.reading() as connection:
        rows = connection.execute(query if until is None else query.where(store.trials.c.seq <= until)).mappings().all()
    # the first release noted no mode, and knew the sample only
    flat: list[dict[str, Any]] = [{"mode": "sample", **r, **json.loads(r["payload"])} for r in rows]
    return pd.DataFrame(flat, columns=LEDGER)


def position() -> int:
    """The last row of the ledger, 0 of an empty one: who says it can be judged again as of then."""
    with store.reading() as connection:
        return int(connection.execute(select(func.max(store.trials.c.seq))).scalar() or 0)


def lost() -> pd.DataFrame:
    """Trials that the audit trail tells of and that are not all there; they were tried, so luck had them too.

    Returns
    -------
    DataFrame
        A row per trial: key, model, ticker, horizon, mode, status, n (sessions), matrix, and why: "row deleted" (from
        the ledger), "result lost" or "result damaged" (its forecasts). What an entry of an older version does not say
        is missing. A result is hashed once while its file stays as it is.
    """
    with store.reading() as connection:
        keys = set(connection.execute(select(store.trials.c.key)).scalars())
        entries = audit.payloads(connection, "trial")
    found = {entry["key"]: entry | {"why": _why(entry, keys)} for entry in entries}
    return pd.DataFrame([entry for entry in found.values() if entry["why"]], columns=LOST)


def _why(entry: dict[str, Any], keys: set[str]) -> str:
    if entry["key"] not in keys:
        return "row deleted"
    finished = entry.get("status", "ok") in ("ok", "diagnostic")  # what failed has no forecasts to lose
    return f"result {flaw}" if finished and (flaw := store.flaw(entry["blob"])) else ""


def luck(until: int | None = None) -> dict[str, float]:
    """What luck alone could have done with all trials of the ledger, or with those up to row `until`.

    Returns
    -------
    dict with `trials` (rows that ran to the end), `effective` (clusters of trials whose returns move together,
    summed over the matrices, tickers and spans they were judged on), `spread` (annual Sharpe ratios: the larger of the
    trials' standard deviation and the sampling error of a skill-less one) and `threshold` (the best annual Sharpe ratio
    to expect from luck alone).

    Notes
    -----
    Trials on one history share its luck, so their Sharpe ratios differ by less than each could err; deflating by
    their spread alone, as the formula is usually fed, would flatter the best.
    """
    rows = ledger(until)
    rows = rows[rows["status"] == "ok"]
    effective = 0
    for _, same in rows.groupby(["matrix", "ticker", "n"]):
        returns = _net_returns(same)
        effective += metrics.effective_trials(returns) if returns.shape[1] else len(same)
    sharpes = rows["sharpe"].dropna().to_numpy(float)
    error = float(np.sqrt(metrics.SESSIONS / rows["n"].median())) if len(rows) else float("nan")
    spread = max(float(sharpes.std(ddof=1)), error) if len(sharpes) > 1 else error
    return {
        "trials": float(len(rows)),
        "effective": float(effective),
        "spread": spread,
        "threshold": metrics.luck_threshold(spread, effective),
    }


def _net_returns(rows: pd.DataFrame) -> np.ndarray:
    """(n_sessions, k) net returns of trials over equally many sessions; those whose result is lost are left out."""
    found = []
    for blob in rows["blob"]:
        with suppress(Unavailable, Tampered):
            found.append(_net_return(blob))
    return np.column_stack(found) if found else np.empty((0, 0))


@lru_cache(maxsize=10_000)  # an address names its content, so what it held it holds
def _net_return(blob: str) -> np.ndarray:
    return Evaluation.column(store.get_blob(blob), "net")
