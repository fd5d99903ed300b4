"""What all figures share: the sessions of a year, clean arrays, and the error of a mean of dependent values."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mltrainer.errors import BadInput

Array = NDArray[np.float64]


SESSIONS = 252


class Tested(NamedTuple):
    """What a test gives: its statistic, and the probability of one as extreme where the hypothesis holds."""

    statistic: float
    p: float


UNTESTED = Tested(float("nan"), float("nan"))


def clean(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]


def aligned(*columns: ArrayLike) -> list[Array]:
    """Arrays of the same rows, (n,) each, without the rows in which one of them is NaN."""
    arrays = [np.asarray(c, dtype=float) for c in columns]
    if len({a.shape for a in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise BadInput(f"these are compared row by row, and they have shapes {shapes}; give (n,) of the same rows")
    known = np.all([~np.isnan(a) for a in arrays], axis=0)
    return [a[known] for a in arrays]


def ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")


def newey_west_t(x: ArrayLike, lags: int) -> float:
    r"""T statistic of the mean of `x`, robust to autocorrelation up to `lags` (Bartlett kernel).

    .. math:: \hat\sigma^2 = \gamma_0 + 2 \sum_{l=1}^{L} (1 - l/(L+1)) \gamma_l,\quad
              t = \bar x / \sqrt{\hat\sigma^2 / n}

    References
    ----------
    Newey and West (1987), Econometrica 55, 703-708.
    """
    x = np.asarray(x, dtype=float)
    variance = long_run_variance(x, lags)
    return float(x.mean() / np.sqrt(variance / len(x))) if variance > 0 else float("nan")


def long_run_variance(x: Array, lags: int, *, flat: bool = False) -> float:
    """Variance of x (n,) with what `lags` autocovariances add, by Bartlett's weights or, `flat`, by equal ones."""
    d, n = x - x.mean(), len(x)
    variance = d @ d / n
    for lag in range(1, min(lags, n - 1) + 1):
        weight = 1.0 if flat else 1 - lag / (lags + 1)
        variance += 2 * weight * (d[lag:] @ d[:-lag]) / n
    return float(variance)
