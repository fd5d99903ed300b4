"""The walk forward: fit on the past, forecast the next block; nothing that learns sees a row of the block."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.model_selection import TimeSeriesSplit

from mltrainer.errors import BadInput
from mltrainer.evaluation.baselines import baselines, known_mean
from mltrainer.evaluation.effects import name_effects
from mltrainer.evaluation.panels import alone, bounded, in_words, members, places
from mltrainer.evaluation.protocol import Protocol, flaw
from mltrainer.evaluation.scaling import Array, Scaling, arrays
from mltrainer.evaluation.splits import MINIMUM_TRAIN, Rows
from mltrainer.features.matrix import Matrix
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec
from mltrainer.models.forecasters import quantile_level


def out_of_sample(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Forecast every test block from a model that saw only rows before it.

    Features are clipped to the train block's outer quantiles. The label is divided by the volatility known at its
    row and z-scored with the train block's mean and deviation, so that one penalty means the same for every share;
    forecasts are turned back into returns. A series model (`spec.series`) sees its columns as they are and the label
    in return units. A model that follows something is carried forward through the block: it may use every feature row
    up to the one it forecasts, and labels that have matured (that of row t is known at the close of t + 1 + horizon).

    A panel is cut by sessions, the same for all tickers. One model learns from the rows of all, unless it lives in the
    history of one share (`spec.in_order`) or `protocol.panel` is "per-name": then each ticker has its own. If it is
    "hierarchical", a pooled forecast is raised by the effect of its name, which the train rows alone decide.
    """
    y = matrix.y.dropna()
    n, scale = len(y), matrix.scale.loc[y.index].to_numpy(float)
    X, unit = arrays(spec, matrix, y.index, protocol.ranked)
    z = y.to_numpy(float) / unit
    session, ticker, late = places(matrix, y.index)
    forecast, quantile, fold = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    cuts = list(protocol.split.split(session[-1] + 1, matrix.horizon, matrix.X.shape[1]))  # the same for every model
    fit_seconds, predict_seconds, policy, shared, flawed = [], [], "", sharing.seconds(), ""
    effects: Array = np.zeros(0)
    for number, cut in enumerate(cuts):
        if spec.in_order and cut.train.max() >= cut.test.min():
            raise BadInput(f"{spec.name} follows one session after the other, and this split takes them apart")
        flawed = flawed or flaw(cut, matrix.horizon)
        fit_seconds.append(0.0)
        predict_seconds.append(0.0)
        for own, rows in members(spec, matrix, y.index, ticker, protocol):
            when, first, last = session[rows], cut.test[0], cut.test[-1]
            train = rows[np.isin(when, cut.train) & ((late[rows] < first) | (when > last))]
            test = rows[np.isin(when, cut.test)]
            since = rows[(when > cut.train[-1]) & (when <= last)] if spec.follows else test
            if len(train) < MINIMUM_TRAIN or not len(test):
                continue
            train, policy = bounded(train, session, spec.max_train_rows)
            begin = time.process_time()
            fitted = fit(spec, own, X[train], z[train], session[train], ticker[train], protocol)
            middle = time.process_time()
            answer = fitted.carried(spec, X[since], z[since], matrix.horizon)[-len(test) :]
            predict_seconds[-1] += time.process_time() - middle
            fit_seconds[-1] += middle - begin
            effects, raised = fitted.effects, fitted.raised(ticker[test])
            forecast[test] = np.clip((answer + raised) * unit[test], *matrix.aim.bounds)
            fold[test] = number
            if "quantile" in spec.gives:
                quantile[test] = (fitted.quantile(X[test]) + raised) * unit[test]
    tested = np.isfinite(fold)
    if not np.isfinite(forecast[tested]).all():
        raise ValueError(
            f"{int((~np.isfinite(forecast[tested])).sum())} of {int(tested.sum())} forecasts are not finite"
        )
    mean = np.empty(n)
    for t in np.unique(ticker):
        mean[ticker == t] = known_mean(y.to_numpy(float)[ticker == t], matrix.horizon)
    columns = {"y": y.to_numpy(float), "forecast": forecast, "expanding_mean": mean, "fold": fold, "scale": scale}
    if "quantile" in spec.gives:
        columns["quantile"] = quantile
    plain = baselines(matrix, y, cuts, session, ticker, late)
    frame = pd.DataFrame(columns, index=y.index).join(plain)[tested]
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
        "panel": in_words(spec, matrix.tickers, protocol),
        "quantile": quantile_level(spec),
    }
    if len(effects):
        meta["name_effects"] = dict(zip(matrix.tickers, effects.tolist(), strict=False))  # of the last fold
    return frame, meta


@dataclass(frozen=True)
class Fit:
    """What the train rows of one fit taught; the one way of judging and serving.

    Attributes
    ----------
    scaling, estimator : of features and labels, and what was fitted on them.
    effects : (k,) of each name number, per unit of volatility; empty unless the fit is hierarchical.
    """

    scaling: Scaling
    estimator: Any
    effects: Array

    def carried(self, spec: ModelSpec, X: Array, z: Array, horizon: int) -> Array:
        """Forecast rows that follow the train rows, (n,), in units of z, before effects; see `carried`."""
        X, z = self.scaling.features(X), self.scaling.label(z)
        return self.scaling.forecast(carried(spec, self.estimator, X, z, horizon))

    def recalled(self, X: Array) -> Array:
        """What it says of its own train rows, (n,), in units of z, before effects."""
        return self.scaling.forecast(np.reshape(self.estimator.predict(self.scaling.features(X)), len(X)))

    def quantile(self, X: Array) -> Array:
        """(n,) of a quantile model the quantile, in units of z, before effects."""
        return self.scaling.forecast(self.estimator.predict_quantile(self.scaling.features(X)))

    def raised(self, ticker: Rows) -> Array:
        """(n,) effect of the name of each row; 0 for a name that the train rows do not know."""
        known = ticker < len(self.effects)
        return np.where(known, np.append(self.effects, 0.0)[np.where(known, ticker, -1)], 0.0)


def fit(spec: ModelSpec, own: Matrix, X: Array, z: Array, session: Rows, ticker: Rows, protocol: Protocol) -> Fit:
    """Fit one model to train rows X (n, p), z (n,) per unit of volatility, of these sessions and name numbers."""
    scaling = Scaling.fit(spec, X, z, protocol.winsorize)
    estimator = sharing.fit(configured(spec, own, session), scaling.features(X), scaling.label(z))
    pooled = Fit(scaling, estimator, np.zeros(0))
    if protocol.panel != "hierarchical" or alone(spec, protocol):
        return pooled
    return replace(pooled, effects=name_effects(z - pooled.recalled(X), ticker, session, own.horizon))


def carried(spec: ModelSpec, fitted: Any, X: Array, y: Array, horizon: int) -> Array:
    """Forecast rows X (n, p) that follow the train rows, (n,), in units of y; the one way of judging and serving.

    A model that follows returns or labels is carried through them; of the labels y (n,) row i uses those that have
    matured at it, of rows up to i - horizon - 1, and the rest may be NaN.
    """
    answer = fitted.filter(X, y, lag=horizon + 1) if spec.follows else fitted.predict(X)
    return np.asarray(answer, dtype=float).reshape(len(X))


def configured(spec: ModelSpec, matrix: Matrix, sessions: Rows | None = None) -> Any:
    """Build the estimator and set what only the matrix knows (`spec.takes`), and the gaps of its inner splits.

    Parameters
    ----------
    matrix : of one ticker where the spec is `in_order`.
    sessions : (n,) numbers of the sessions of the train rows; default one row a session, as many as are labelled. Of a
        panel, what counts rows is widened to the most rows that a session has.
    """
    estimator = spec.build()
    n, width = (int(matrix.y.count()), 1) if sessions is None else (len(sessions), int(np.bincount(sessions).max()))
    facts: dict[str, Callable[[], int]] = {
        "horizon": lambda: (matrix.horizon + 1) * width - 1,
        "entry_lag": lambda: matrix.entry_lag,
        "return_column": lambda: list(spec.columns or matrix.X.columns).index("return_1"),
    }
    values: dict[str, Any] = {name: facts[name]() for name in spec.takes}
    if isinstance(estimator, BaseEstimator):
        splits = {k: v for k, v in estimator.get_params().items() if isinstance(v, TimeSeriesSplit)}
        gaps = {name: max(split.gap, matrix.horizon + 1) * width for name, split in splits.items()}
        values |= {name: _widened(splits[name], gap, n) for name, gap in gaps.items() if gap > splits[name].gap}
    return estimator.set_params(**values) if values else estimator


def _widened(split: TimeSeriesSplit, gap: int, n: int) -> TimeSeriesSplit:
    """The split with a wider gap: splits that then no longer fit in n rows are left out; of two the tests shrink."""
    k = next((k for k in range(split.n_splits, 1, -1) if n - gap > n // (k + 1) * k), 0)
    size = None if k else max(1, (n - gap) // 3)
    return TimeSeriesSplit(k or 2, gap=gap, test_size=size, max_train_size=split.max_train_size)
