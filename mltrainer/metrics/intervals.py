"""Intervals: how wide they must be, and whether they held."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mltrainer.metrics.base import clean


def conformal_rank(count: Any, nominal: float) -> Any:
    r"""Which of `count` ascending absolute errors is the half-width of an interval that holds with chance `nominal`.

    .. math:: k = \min(n, \lceil (n + 1)\, c \rceil) - 1, \text{ counted from 0}

    References
    ----------
    Vovk, Gammerman and Shafer (2005), *Algorithmic Learning in a Random World*; exact for exchangeable errors.

    >>> int(conformal_rank(9, 0.9)), int(conformal_rank(99, 0.9))
    (8, 89)
    """
    rank = np.minimum(np.ceil(nominal * (np.asarray(count) + 1)).astype(int), count) - 1
    return np.maximum(rank, 0)[()]


def conformal_radius(errors: ArrayLike, nominal: float, *, least: int = 100) -> float:
    """Half-width of an interval that holds with chance `nominal`, in units of the errors; NaN below `least` errors."""
    found = np.sort(np.abs(clean(errors)))
    return float(found[conformal_rank(len(found), nominal)]) if len(found) >= least else float("nan")


def wilson(rate: float, n: int, level: float = 0.95) -> tuple[float, float]:
    r"""Interval of a probability from a rate among n trials, by the score of Wilson (1927); NaN of none.

    .. math:: \frac{p + z^2 / 2n \pm z \sqrt{p (1 - p) / n + z^2 / 4 n^2}}{1 + z^2 / n}

    >>> [round(x, 3) for x in wilson(0.5, 10)]
    [0.237, 0.763]
    """
    if n == 0:
        return float("nan"), float("nan")
    from statsmodels.stats.proportion import proportion_confint  # its import costs more than all of these

    low, high = proportion_confint(rate * n, n, alpha=1 - level, method="wilson")
    return float(low), float(high)


def coverage(y: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Share of outcomes inside their interval; rows without an interval (NaN) do not count."""
    y, lower, upper = (np.asarray(a, dtype=float) for a in (y, lower, upper))
    known = np.isfinite(lower) & np.isfinite(upper)
    return float(np.mean((lower <= y)[known] & (y <= upper)[known])) if known.any() else float("nan")
