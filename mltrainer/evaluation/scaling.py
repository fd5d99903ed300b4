"""What a model is given: features clipped, labels per unit of volatility; one way for judging and for training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec

Array = NDArray[np.float64]


def arrays(spec: ModelSpec, matrix: Matrix, rows: pd.Index, ranked: bool = False) -> tuple[Array, Array]:
    """Features (n, p) of a model at `rows`, and (n,) the unit of its label: volatility, 1 for series models.

    `ranked` features are those of all rows of the session, whether labelled or not: which ones are is known later.
    """
    table = matrix.ranked if ranked and not spec.reads_returns else matrix.X
    table, at = table[list(spec.columns or matrix.X.columns)], table.index.get_indexer(rows)
    wide = lagged(table, spec.lags) if spec.lags > 1 else table.to_numpy(float)
    X = np.take(wide, at, axis=0)  # by row, as a walk's blocks are: a sum in another order ends in other bits
    return X, np.ones(len(rows)) if spec.series else matrix.scale.loc[rows].to_numpy(float)


def lagged(table: pd.DataFrame, lags: int) -> Array:
    """Rows (n, lags p) of a table (n, p): those up to each row, the oldest first, of its own ticker alone.

    Where a ticker has fewer, its first row stands for those before it: what came later fills nothing.
    """
    panel = isinstance(table.index, pd.MultiIndex)
    ticker = pd.factorize(table.index.get_level_values("ticker"))[0] if panel else np.zeros(len(table), int)
    order = np.argsort(ticker, kind="stable")  # rows of one ticker stay in the order of their sessions
    first = np.searchsorted(ticker[order], ticker[order])
    before = np.maximum(np.arange(len(table))[:, None] - np.arange(lags)[::-1], first[:, None])
    out = np.empty((len(table), lags * table.shape[1]))
    out[order] = table.to_numpy(float)[order][before].reshape(len(table), -1)
    return out


def quantiles(X: Array, *levels: float) -> list[Array]:
    """`np.quantile(X, levels, axis=0)` of X (n, p) without NaN, the same numbers; sorting is faster."""
    ordered = np.sort(X.T, axis=1).T
    places = [level * (len(X) - 1) for level in levels]
    return [np.quantile(ordered[int(at) : int(at) + 2], at - int(at), axis=0) for at in places]


@dataclass(frozen=True)
class Scaling:
    """Winsorizing of features and standardizing of labels, as a train block taught it.

    Attributes
    ----------
    low, high : (p,) bounds beyond which a feature is cut, in train and later rows alike; None where none is cut.
    mean, deviation : of the train labels per unit of volatility.
    """

    low: Array | None = None
    high: Array | None = None
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(cls, spec: ModelSpec, X: Array, z: Array, winsorize: float) -> "Scaling":
        """Learn from train rows X (n, p), z (n,): bounds are the quantiles at `winsorize` and 1 - `winsorize`.

        A series model sees its columns and its label as they are.
        """
        if spec.series:
            return cls()
        low, high = quantiles(X, winsorize, 1 - winsorize)
        return cls(low, high, float(z.mean()), float(z.std()))

    def features(self, X: Array) -> Array:
        """X (n, p) cut to the bounds."""
        return X if self.low is None else np.clip(X, self.low, self.high)

    def label(self, z: Array) -> Array:
        """Labels (n,) with the train block's mean 0 and deviation 1."""
        return (z - self.mean) / self.deviation

    def forecast(self, z: Array) -> Array:
        """Turn forecasts of such labels back, (n,)."""
        return np.asarray(z, dtype=float) * self.deviation + self.mean

    @property
    def record(self) -> dict[str, Any]:
        """Itself as plain JSON; `Scaling(**record)` gives it back."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(self).items()}
