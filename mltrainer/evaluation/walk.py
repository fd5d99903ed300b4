"""The walk forward: fit on the past, forecast the next block; nothing that learns sees a row of the block."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.model_selection import TimeSeriesSplit

from mltrainer.errors import BadInput
from mltrainer.evaluation.baselines import baselines, known_mean
from mltrainer.evaluation.effects import name_effects
from mltrainer.evaluation.panels import alone, bounded, by_name, in_words, members, places
from mltrainer.evaluation.protocol import Protocol, flaw
from mltrainer.evaluation.scaling import Array, Scaling, arrays
from mltrainer.evaluation.splits import MINIMUM_TRAIN, Fold, Rows
from mltrainer.features.matrix import Matrix
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec
from mltrainer.models.forecasters import quantile_level


@dataclass(frozen=True)
class Part:
    """What one fit said of the rows of one test block.

    Attributes
    ----------
    fold : number of the block.
    rows : (m,) numbers of the rows it forecasts, among those with a label.
    forecast, quantile : (m,) in units of the label; the quantile is NaN where the model gives none.
    effects : (k,) of each name, per unit of volatility; empty unless the panel is hierarchical.
    fit_seconds, predict_seconds, shared_seconds : of the CPU; shared is what another model of the process had spent.
    policy : in words, which train rows were left out; "" where none were.
    """

    fold: int
    rows: Rows
    forecast: Array
    quantile: Array
    effects: Array
    fit_seconds: float
    predict_seconds: float
    shared_seconds: float
    policy: str


@dataclass(frozen=True)
class Layout:
    """Everything that the folds of one walk have in common; each of them knows the others in no other way."""

    spec: ModelSpec
    matrix: Matrix
    protocol: Protocol
    y: "pd.Series[float]"
    X: Array
    unit: Array
    session: Rows
    ticker: Rows
    late: Rows
    cuts: tuple[Fold, ...]

    @classmethod
    def of(cls, spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> "Layout":
        """Lay out the labelled rows, and cut time: the same for every model."""
        y = matrix.y.dropna()
        session, ticker, late = places(matrix, y.index)
        cuts = protocol.split.split(session[-1] + 1, matrix.horizon, matrix.X.shape[1])
        return cls(
            spec, matrix, protocol, y, *arrays(spec, matrix, y.index, protocol.ranked), session, ticker, late, (*cuts,)
        )

    def parts(self, fold: int) -> list[Part]:
        """Fit one fold and forecast its block: one part for each model that there is, none where rows are too few."""
        spec, cut = self.spec, self.cuts[fold]
        if spec.in_order and cut.train.max() >= cut.test.min():
            raise BadInput(f"{spec.name} follows one session after the other, and this split takes them apart")
        found = (self._part(fold, own, rows) for own, rows in self._owners)
        return [part for part in found if part is not None]

    @cached_property
    def _owners(self) -> list[tuple[Matrix, Rows]]:
        return members(self.spec, self.matrix, self.y.index, self.ticker, self.protocol)

    def _part(self, fold: int, own: Matrix, rows: Rows) -> Part | None:
        spec, cut, when = self.spec, self.cuts[fold], self.session[rows]
        first, last = cut.test[0], cut.test[-1]
        train = rows[np.isin(when, cut.train) & ((self.late[rows] < first) | (when > last))]
        test = rows[np.isin(when, cut.test)]
        since = rows[(when > cut.train[-1]) & (when <= last)] if spec.follows else test
        if len(train) < MINIMUM_TRAIN or not len(test):
            return None
        train, policy = bounded(train, self.session, spec.max_train_rows)
        X, z, shared = self.X, self.y.to_numpy(float) / self.unit, sharing.seconds()
        begin = time.process_time()
        fitted = fit(spec, own, X[train], z[train], self.session[train], self.ticker[train], self.protocol)
        middle = time.process_time()
        answer = fitted.carried(spec, X[since], z[since], self.matrix.horizon)[-len(test) :]
        end = time.process_time()
        raised = fitted.raised(self.ticker[test])
        forecast = np.clip((answer + raised) * self.unit[test], *self.matrix.aim.bounds)
        level = np.full(len(test), np.nan)
        if "quantile" in spec.gives:
            level = (fitted.quantile(X[test]) + raised) * self.unit[test]
        spent = (middle - begin, end - middle, sharing.seconds() - shared)
        return Part(fold, test, forecast, level, fitted.effects, *spent, policy)

    def frame(self, parts: Sequence[Part]) -> pd.DataFrame:
        """Forecasts of every block beside outcomes and plain forecasts, one row per forecast."""
        n, y = len(self.y), self.y.to_numpy(float)
        forecast, quantile, fold = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
        for part in parts:
            forecast[part.rows], quantile[part.rows], fold[part.rows] = part.forecast, part.quantile, part.fold
        tested = np.isfinite(fold)
        if gone := int((~np.isfinite(forecast[tested])).sum()):
            raise ValueError(f"{gone} of {int(tested.sum())} forecasts are not finite")
        mean = np.empty(n)
        for rows in by_name(self.ticker):
            mean[rows] = known_mean(y[rows], self.matrix.horizon)
        scale = self.matrix.scale.loc[self.y.index].to_numpy(float)
        columns = {"y": y, "forecast": forecast, "expanding_mean": mean, "fold": fold, "scale": scale}
        if "quantile" in self.spec.gives:
            columns["quantile"] = quantile
        plain = baselines(self.matrix, self.y, self.cuts, self.session, self.ticker, self.late)
        return pd.DataFrame(columns, index=self.y.index).join(plain)[tested]

    def meta(self, parts: Sequence[Part]) -> dict[str, Any]:
        """What is said of the walk beside its forecasts; seconds are of the CPU."""
        spec, matrix, shared = self.spec, self.matrix, sum(p.shared_seconds for p in parts)
        spent = np.zeros(len(self.cuts))
        for part in parts:
            spent[part.fold] += part.fit_seconds + part.predict_seconds
        said = {
            "fit_seconds": sum(p.fit_seconds for p in parts) + shared,  # what it costs on its own
            "shared_seconds": shared,  # of which so many were spent by a model that ran before
            "predict_seconds": sum(p.predict_seconds for p in parts),
            "slowest_fold": float(spent.max()),
            "flaw": next((found for cut in self.cuts if (found := flaw(cut, matrix.horizon))), ""),
            "rows": len(self.y),
            "features": self.X.shape[1],
            "policy": parts[-1].policy if parts else "",
            "panel": in_words(spec, matrix.tickers, self.protocol),
            "quantile": quantile_level(spec),
        }
        if parts and len(effects := parts[-1].effects):
            names = sorted(self.y.index.unique("ticker"))  # as they are numbered
            said["name_effects"] = dict(zip(names, effects.tolist(), strict=False))  # of the last fold
        return said


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
    layout = Layout.of(spec, matrix, protocol)
    parts = [part for fold in range(len(layout.cuts)) for part in layout.parts(fold)]
    return layout.frame(parts), layout.meta(parts)


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
