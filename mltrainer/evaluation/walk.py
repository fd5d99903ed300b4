"""The walk forward: fit on the past, forecast the next block; nothing that learns sees a row of the block."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    effects : of each name, per unit of volatility; of a hierarchical panel only.
    fit_seconds, predict_seconds, shared_seconds : of the CPU; shared is what another model of the process had spent.
    policy : in words, which train rows were left out; "" where none were.
    """

    fold: int
    rows: Rows
    forecast: Array
    quantile: Array
    effects: Array | None
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

    @property
    def hierarchical(self) -> bool:
        """Whether forecasts of a pooled model are raised by the effect of their name."""
        return self.protocol.panel == "hierarchical" and not alone(self.spec, self.protocol)

    def parts(self, fold: int) -> list[Part]:
        """Fit one fold and forecast its block: one part for each model that there is, none where rows are too few."""
        spec, cut = self.spec, self.cuts[fold]
        if spec.in_order and cut.train.max() >= cut.test.min():
            raise BadInput(f"{spec.name} follows one session after the other, and this split takes them apart")
        owners = members(spec, self.matrix, self.y.index, self.ticker, self.protocol)
        found = (self._part(fold, own, rows) for own, rows in owners)
        return [part for part in found if part is not None]

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
        scaling = Scaling.fit(spec, X[train], z[train], self.protocol.winsorize)
        estimator = configured(spec, own, self.session[train])
        begin = time.process_time()
        estimator = sharing.fit(estimator, scaling.features(X[train]), scaling.label(z[train]))
        effects = self._effects(scaling, estimator, train) if self.hierarchical else None
        middle = time.process_time()
        known = scaling.label(z[since])
        answer = carried(spec, estimator, scaling.features(X[since]), known, self.matrix.horizon)[-len(test) :]
        end = time.process_time()
        raised = 0.0 if effects is None else effects[self.ticker[test]]
        forecast = np.clip((scaling.forecast(answer) + raised) * self.unit[test], *self.matrix.aim.bounds)
        level = np.full(len(test), np.nan)
        if "quantile" in spec.gives:
            level = estimator.predict_quantile(scaling.features(X[test]))
            level = (scaling.forecast(level) + raised) * self.unit[test]
        spent = (middle - begin, end - middle, sharing.seconds() - shared)
        return Part(fold, test, forecast, level, effects, *spent, policy)

    def _effects(self, scaling: Scaling, estimator: Any, train: Rows) -> Array:
        z = self.y.to_numpy(float)[train] / self.unit[train]
        left = z - scaling.forecast(estimator.predict(scaling.features(self.X[train])))
        of = name_effects(left, self.ticker[train], self.session[train], self.matrix.horizon)
        return np.concatenate([of, np.zeros(self.ticker.max() + 1 - len(of))])

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
        for t in np.unique(self.ticker):
            mean[self.ticker == t] = known_mean(y[self.ticker == t], self.matrix.horizon)
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
            "panel": in_words(spec, matrix, self.protocol),
            "quantile": quantile_level(spec),
        }
        if self.hierarchical:
            last = parts[-1].effects if parts else None
            effects = np.zeros(self.ticker.max() + 1) if last is None else last
            said["name_effects"] = dict(zip(matrix.tickers, effects.tolist(), strict=False))  # of the last fold
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
