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

from mltrainer import store
from mltrainer.errors import Unavailable
from mltrainer.evaluation import code, skill
from mltrainer.evaluation.protocol import VERSION, Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Judgment, Trial
from mltrainer.evaluation.splits import Split
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.settings import settings
from mltrainer.trust import audit
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


def record(evaluation: Evaluation, matrix: Matrix) -> None:
    """Write a finished fit to the ledger, its forecasts to the blobs and its hash to the audit trail, as one.

    A second record of the same key changes nothing. A fit that was ended or failed gets a row of its own under
    a numbered key, so that it can be tried again and is never forgotten.
    """
    assert matrix.provenance is not None
    blob = store.put_blob(evaluation.to_bytes())
    origin = {"matrix": matrix.provenance.content_sha256, "mode": matrix.provenance.mode}
    payload = {"blob": blob, **origin, "reason": evaluation.reason, "trial": evaluation.trial}
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
    """Every trial ever made: seq, at, model, family, ticker, horizon, status, sharpe, n, reason, mode, matrix, blob,
    trial (the key that all tickers of a panel share).
    """
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
        "trial",
    ]
    # the first release noted no mode, and knew the sample only
    flat: list[dict[str, Any]] = [{"mode": "sample", "trial": r["key"], **r, **json.loads(r["payload"])} for r in rows]
    return pd.DataFrame(flat, columns=names)


def judgment(evaluations: Iterable[Evaluation] = (), *, upto: int | None = None) -> Judgment:
    """Test every trial of the mode in force together, those of the ledger and `evaluations`.

    Parameters
    ----------
    evaluations : results that may not be in the ledger.
    upto : the last row of the ledger that counts (`seq`); default all.
    """
    rows = ledger()
    rows = rows[(rows["status"] == "ok") & (rows["mode"] == settings().data_mode)]
    rows = rows if upto is None else rows[rows["seq"] <= upto]
    family: dict[str, Trial] = {}
    for key, same in rows.groupby("trial", sort=False):
        with suppress(Unavailable):  # `lost` counts it
            family[str(key)] = _kept(str(key), int(same["horizon"].iloc[0]), tuple(same["ticker"]), tuple(same["blob"]))
    family |= grouped(e for e in evaluations if e.ok and e.trial not in family)
    return _judged(tuple(family.values()))


def grouped(evaluations: Iterable[Evaluation]) -> dict[str, Trial]:
    """Trials that results belong to, by their key: one for each, and one for all tickers of a panel."""
    together: dict[str, list[Evaluation]] = {}
    for e in evaluations:
        together.setdefault(e.trial, []).append(e)
    return {k: Trial.of(k, es[0].horizon, {e.ticker: e.forecasts for e in es}) for k, es in together.items()}


def position() -> int:
    """The last row of the ledger, 0 for none: what a leaderboard was judged at."""
    with store.reading() as connection:
        return connection.execute(select(func.max(store.trials.c.seq))).scalar() or 0


@lru_cache(maxsize=4_096)  # an address names its content, so what it held it holds
def _kept(key: str, horizon: int, tickers: tuple[str, ...], blobs: tuple[str, ...]) -> Trial:
    columns = ("y", "forecast", "scale", "fold", "position", "gross", "net", "benchmark")
    frames = (Evaluation.columns(store.get_blob(blob), *columns) for blob in blobs)
    return Trial.of(key, horizon, dict(zip(tickers, frames, strict=True)))


_judged = lru_cache(maxsize=8)(skill.judge)
