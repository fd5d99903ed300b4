"""What all figures share: the sessions of a year, clean arrays, and the error of a mean of dependent values."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


SESSIONS = 252


def clean(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]


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
