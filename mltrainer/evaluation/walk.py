"""The walk forward: fit on the past, forecast the next block; nothing that learns sees a row of the block."""

import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import TimeSeriesSplit

from mltrainer.errors import BadInput
from mltrainer.evaluation.panels import bounded, in_order, in_words, places
from mltrainer.evaluation.protocol import Protocol, flaw
from mltrainer.evaluation.scaling import Scaling, arrays
from mltrainer.evaluation.splits import MINIMUM_TRAIN, Rows
from mltrainer.features.matrix import Matrix
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec
from mltrainer.models.forecasters import quantile_level


def out_of_sample(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Forecast every test block from a model that saw only rows before it.

    Features are clipped to the train block's outer quantiles. The label is divided by the volatility known at its
    row and z-scored with the train block's mean and deviation, so that one penalty means the same for every share;
    forecasts are turned back into returns. A series model (`spec.columns`) sees its columns as they are and the label
    in return units. A model with a `filter` method is carried forward through the block: it may use every feature row
    up to the one it forecasts, and labels that have matured (that of row t is known at the close of t + 1 + horizon).

    A panel is cut by sessions, the same for all tickers. One model learns from the rows of all, unless it lives in the
    history of one share (`in_order`): then each ticker has its own.
    """
    y = matrix.y.dropna()
    n, scale = len(y), matrix.scale.loc[y.index].to_numpy(float)
    X, unit = arrays(spec, matrix, y.index)
    z = y.to_numpy(float) / unit
    session, ticker, late = places(matrix, y.index)
    pooled = not in_order(spec)
    members = [np.arange(n)] if pooled else [np.flatnonzero(ticker == t) for t in np.unique(ticker)]
    forecast, quantile, fold = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    fit_seconds, predict_seconds, policy, shared, flawed = [], [], "", sharing.seconds(), ""
    for number, cut in enumerate(protocol.split.split(session[-1] + 1, matrix.horizon)):
        if not pooled and cut.train.max() >= cut.test.min():
            raise BadInput(f"{spec.name} follows one session after the other, and this split takes them apart")
        flawed = flawed or flaw(cut, matrix.horizon)
        fit_seconds.append(0.0)
        predict_seconds.append(0.0)
        for rows in members:
            when, first, last = session[rows], cut.test[0], cut.test[-1]
            train = rows[np.isin(when, cut.train) & ((late[rows] < first) | (when > last))]
            since = rows[(when > cut.train[-1]) & (when <= last)]
            test = rows[np.isin(when, cut.test)]
            if len(train) < MINIMUM_TRAIN or not len(test):
                continue
            train, policy = bounded(train, session, spec.max_train_rows)
            scaling = Scaling.fit(spec, X[train], z[train], protocol.tail)
            estimator = configured(spec, matrix, session[train] if pooled else None)
            begin = time.process_time()
            estimator = sharing.fit(estimator, scaling.features(X[train]), scaling.label(z[train]))
            middle = time.process_time()
            if hasattr(estimator, "filter"):
                known = scaling.label(z[since])
                answer = estimator.filter(scaling.features(X[since]), known, lag=matrix.horizon + 1)[-len(test) :]
            else:
                answer = estimator.predict(scaling.features(X[test]))
            predict_seconds[-1] += time.process_time() - middle
            fit_seconds[-1] += middle - begin
            forecast[test] = scaling.forecast(np.reshape(answer, len(test))) * unit[test]
            fold[test] = number
            if hasattr(estimator, "predict_quantile"):
                level = estimator.predict_quantile(scaling.features(X[test]))
                quantile[test] = scaling.forecast(level) * unit[test]
    tested = np.isfinite(fold)
    if not np.isfinite(forecast[tested]).all():
        raise ValueError(
            f"{int((~np.isfinite(forecast[tested])).sum())} of {int(tested.sum())} forecasts are not finite"
        )
    baseline = np.empty(n)
    for t in np.unique(ticker):
        baseline[ticker == t] = _known_mean(y.to_numpy(float)[ticker == t], matrix.horizon)
    columns = {"y": y.to_numpy(float), "forecast": forecast, "expanding_mean": baseline, "fold": fold, "scale": scale}
    if np.isfinite(quantile).any():
        columns["quantile"] = quantile
    frame = pd.DataFrame(columns, index=y.index)[tested]
    shared = sharing.seconds() - shared
    meta = {
        "fit_seconds": sum(fit_seconds) + shared,  # what it costs on its own
        "shared_seconds": shared,  # of which so many were spent by a model that ran before
        "predict_seconds": sum(predict_seconds),
        "slowest_fold": max(a + b for a, b in zip(fit_seconds, predict_seconds, strict=True)),
        "flaw": flawed,
        "rows": n,
        "features": X.shape[1],
        "policy": policy,
        "panel": in_words(matrix, pooled),
        "quantile": quantile_level(estimator),
    }
    return frame, meta


def configured(spec: ModelSpec, matrix: Matrix, sessions: Rows | None = None) -> Any:
    """Build the estimator and tell it what only the matrix knows: the horizon, and which column is the return.

    A pooled model is given the `sessions` of its train rows: the gaps inside it, which count rows, are widened to the
    most rows that a session has, and splits that then no longer fit are left out.
    """
    estimator = spec.build()
    width = 1 if sessions is None else int(np.bincount(sessions).max())
    names = list(spec.columns or matrix.X.columns)
    told: dict[str, Any] = {"horizon": (matrix.horizon + 1) * width - 1}
    if "return_1" in names:
        told["return_column"] = names.index("return_1")
    wanted = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    told = {name: value for name, value in told.items() if name in wanted}
    if sessions is not None and width > 1:
        for name, value in estimator.get_params().items():
            if isinstance(value, TimeSeriesSplit):
                n, gap = len(sessions), value.gap * width
                fit = (k for k in range(value.n_splits, 2, -1) if n - gap > n // (k + 1) * k)
                told[name] = TimeSeriesSplit(next(fit, 2), gap=gap)
    return estimator.set_params(**told) if told else estimator


def _known_mean(y: np.ndarray, horizon: int) -> np.ndarray:
    """Mean of all labels known at each row: those at least horizon + 1 rows old; 0 before the first."""
    count = np.arange(1, len(y) + 1)
    mean = np.concatenate([np.zeros(horizon + 1), np.cumsum(y) / count])
    return mean[: len(y)]
