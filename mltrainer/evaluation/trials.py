"""The append-only ledger: every fit ever made is a row, and every leaderboard is deflated by all of them."""

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from mltrainer import metrics, store
from mltrainer.errors import Unavailable
from mltrainer.evaluation.protocol import VERSION, Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import Split
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
    cuts = _foreign(protocol.split, matrix)
    return fingerprint(matrix.provenance.content_sha256, *model, repr(protocol), VERSION, used, *cuts)


def _foreign(split: Split, matrix: Matrix) -> list[Any]:
    """Every fold of a split that is not of this package: whatever it is called, it may cut as it likes."""
    if type(split).__module__ == Split.__module__:
        return []
    n = len(matrix.y.dropna().index.unique(0))
    return [[fold.train.tolist(), fold.test.tolist()] for fold in split.split(n, matrix.horizon)]


def record(evaluation: Evaluation, matrix: Matrix) -> None:
    """Write a finished fit to the ledger, its forecasts to the blobs and its hash to the audit trail, as one.

    A second record of the same key changes nothing. A fit that was ended or failed gets a row of its own under
    a numbered key, so that it can be tried again and is never forgotten.
    """
    assert matrix.provenance is not None
    blob = store.put_blob(evaluation.to_bytes())
    origin = {"matrix": matrix.provenance.content_sha256, "mode": matrix.provenance.mode}
    payload = {"blob": blob, **origin, "reason": evaluation.reason}
    trials = store.trials
    with store.writing() as connection:
        row_key = evaluation.key
        if not (evaluation.ok or evaluation.status == "diagnostic"):
            attempts = select(func.count()).where(trials.c.key.startswith(f"{evaluation.key}#"))
            row_key = f"{evaluation.key}#{connection.execute(attempts).scalar_one() + 1}"
        elif connection.execute(select(trials.c.seq).where(trials.c.key == row_key)).first():
            return
        sharpe = evaluation.metrics.get("sharpe", float("nan"))
        connection.execute(
            trials.insert().values(
                key=row_key,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                model=evaluation.model,
                family=evaluation.family,
                ticker=evaluation.ticker,
                horizon=evaluation.horizon,
                status=evaluation.status,
                sharpe=sharpe if np.isfinite(sharpe) else None,
                n=len(evaluation.forecasts),
                payload=json.dumps(payload, sort_keys=True),
            )
        )
        audit.extend(connection, "trial", {"key": row_key, "blob": blob, "model": evaluation.model})


def load(result_key: str) -> Evaluation | None:
    """Return the stored result of a key, or None when that fit was never finished."""
    with store.reading() as connection:
        row = connection.execute(select(store.trials.c.payload).where(store.trials.c.key == result_key)).first()
    if row is None:
        return None
    try:
        return Evaluation.from_bytes(store.get_blob(json.loads(row.payload)["blob"]))
    except Unavailable:
        return None  # the row stays in the ledger; the forecasts are computed again


def ledger() -> pd.DataFrame:
    """Every trial ever made: seq, at, model, family, ticker, horizon, status, sharpe, n, reason, mode, matrix, blob."""
    with store.reading() as connection:
        rows = connection.execute(select(store.trials).order_by(store.trials.c.seq)).mappings().all()
    names = [
        "seq",
        "key",
        "at",
        "model",
        "family",
        "ticker",
        "horizon",
        "status",
        "sharpe",
        "n",
        "reason",
        "mode",
        "matrix",
        "blob",
    ]
    # the first release noted no mode, and knew the sample only
    flat: list[dict[str, Any]] = [{"mode": "sample", **r, **json.loads(r["payload"])} for r in rows]
    return pd.DataFrame(flat, columns=names)


def luck() -> dict[str, float]:
    """What luck alone could have done with all trials of the ledger.

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
    rows = ledger()
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
        with suppress(Unavailable):
            found.append(_net_return(blob))
    return np.column_stack(found) if found else np.empty((0, 0))


@lru_cache(maxsize=10_000)  # an address names its content, so what it held it holds
def _net_return(blob: str) -> np.ndarray:
    return Evaluation.column(store.get_blob(blob), "net")
