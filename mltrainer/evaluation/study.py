"""Where data, features and models meet: the calls a researcher makes."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mltrainer.data import market
from mltrainer.data.market import Day
from mltrainer.errors import BadInput
from mltrainer.evaluation import engine
from mltrainer.evaluation.leaderboard import Leaderboard
from mltrainer.evaluation.leaderboard import leaderboard as rank
from mltrainer.evaluation.walkforward import Evaluation, Protocol, feature_bounds
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset


def matrix(data: "str | Dataset | Matrix", *, horizon: int | None = None, start: Day = None, end: Day = None) -> Matrix:
    """Features X, labels y and prices of one ticker, sealed.

    Parameters
    ----------
    data : a ticker, bars from `bars`, or a matrix (returned as it is).
    horizon : sessions a position is held, default 5 (a matrix has its own); y is the simple return from the next
        entry over that many sessions.
    start, end : sessions to use, for a ticker only.

    Returns
    -------
    Matrix
        `X` (n, p) without NaN, `y` (n,), `scale` (n,), `prices` (n, 2); `unavailable` says what is not there and why.

    Raises
    ------
    Refused
        Data whose origin cannot be shown: a hand-made frame, a CSV, an edited copy, numpy noise.
    """
    if isinstance(data, str) and not data.lower().endswith((".csv", ".parquet", ".json")):
        data = market.bars(data, start=start, end=end)
    elif start is not None or end is not None:
        raise BadInput("start and end choose the sessions of a ticker; this data is already cut")
    if isinstance(data, Matrix):
        gate.verify(data, "evaluation")
        if horizon not in (None, data.horizon):
            raise BadInput(f"this matrix has horizon {data.horizon}, not {horizon}; build another from its bars")
        return data
    gate.verify(data, "features")
    assert isinstance(data, Dataset)
    return features.matrix(data, *market.context(data), horizon=5 if horizon is None else horizon)


def select(families: Iterable[str] | None = None, models: Iterable[str] | None = None) -> list[ModelSpec]:
    """Catalog entries by family or by name; everything when neither is given."""
    if models:
        return [catalog.spec(name) for name in dict.fromkeys(models)]
    return [s for f in dict.fromkeys(families or catalog.FAMILIES) for s in catalog.specs(f)]


def evaluate(
    models: str | Iterable[str],
    data: "str | Dataset | Matrix",
    *,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    jobs: int = 1,
    protocol: Protocol | None = None,
) -> Any:
    """Judge models out of sample by the purged, embargoed expanding walk-forward, net of costs.

    Parameters
    ----------
    models : a name of the catalog, or several.
    data : a ticker, bars or a matrix.
    horizon, start, end : as for `matrix`.
    jobs : worker processes; 1 computes here.

    Returns
    -------
    Evaluation for one name, a list of them for several. Each is a row in the trial ledger; asking again for the
    same thing opens the stored result.
    """
    several = not isinstance(models, str)
    specs = select(models=list(models) if several else [str(models)])
    results = engine.run(
        specs,
        [matrix(data, horizon=horizon, start=start, end=end)],
        protocol=protocol,
        jobs=jobs,
        progress=len(specs) > 1,
    )
    return results if several else results[0]


def leaderboard(results: "Iterable[Evaluation] | Evaluation") -> Leaderboard:
    """Rank results, deflated by every trial in the ledger."""
    return rank([results] if isinstance(results, Evaluation) else results)


class Model(RegressorMixin, BaseEstimator):
    """A model of the catalog by name: scikit-learn's fit and predict, and train, which asks where data came from.

    Parameters
    ----------
    name : a name of the catalog.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def spec(self) -> ModelSpec:
        """The row of the catalog."""
        return catalog.spec(self.name)

    def fit(self, X: Any, y: Any) -> "Model":
        """Fit on plain arrays: X (n, p), y (n,). Nothing fitted this way can enter a report."""
        self.estimator_ = self.spec.build().fit(np.asarray(X, dtype=float), np.asarray(y, dtype=float))
        self.n_features_in_ = np.shape(X)[1]
        self.trained_on_: tuple[int, list[str]] | None = None
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Point forecasts (n,): returns after `train` (X a sealed matrix), units of y after `fit`."""
        check_is_fitted(self)
        if isinstance(X, Matrix):
            gate.verify(X, "prediction")
            if self.trained_on_ != (X.horizon, list(X.X.columns)):
                alike = f"of horizon {X.horizon} with these {X.X.shape[1]} features"
                raise BadInput(f"{self.name} was not trained on a matrix {alike}; train it on one that is built alike")
            z = self.estimator_.predict(np.clip(X.X.to_numpy(float), *self.bounds_)) * self.deviation_ + self.mean_
            return np.asarray(z * X.scale.to_numpy(float))
        return np.asarray(self.estimator_.predict(np.asarray(X, dtype=float)))

    def train(self, data: Matrix) -> "Model":
        """Fit on every labelled row of a sealed matrix; `Refused` for anything whose origin cannot be shown."""
        gate.verify(data, "training")
        if not isinstance(data, Matrix):
            raise BadInput(f"{data.name} is a {type(data).__name__} without labels; train on mt.matrix(...) of it")
        y = data.y.dropna().iloc[-(self.spec.max_train_rows or 0) :]
        z = y.to_numpy(float) / data.scale.loc[y.index].to_numpy(float)
        self.mean_, self.deviation_ = float(z.mean()), float(z.std())
        X = data.X.loc[y.index].to_numpy(float)
        self.bounds_ = feature_bounds(X, Protocol().tail)
        self.fit(np.clip(X, *self.bounds_), (z - self.mean_) / self.deviation_)
        self.trained_on_ = (data.horizon, list(data.X.columns))
        return self

    def forecast(self, data: Matrix) -> "pd.Series[float]":
        """Forecast the return of every session of a sealed matrix, as a series; after `train`."""
        return pd.Series(self.predict(data), index=data.X.index, name=self.name)

    def evaluate(self, data: "str | Dataset | Matrix", **options: Any) -> Evaluation:
        """Judge the model out of sample; see `mltrainer.evaluate`."""
        result: Evaluation = evaluate(self.name, data, **options)
        return result


def model(name: str) -> Model:
    """Open a model of the catalog; `UnknownName` offers close names."""
    catalog.spec(name)
    return Model(name)
