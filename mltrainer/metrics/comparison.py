"""Is one forecast better than another? Tests of two losses, for forecasts that overlap."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mltrainer.errors import BadInput
from mltrainer.metrics.base import Array, aligned, long_run_variance

LEAST = 8  # rows below which no test of a mean is made
KERNELS = ("bartlett", "truncated")


def diebold_mariano(
    loss_a: ArrayLike, loss_b: ArrayLike, horizon: int = 1, *, kernel: str = "bartlett"
) -> tuple[float, float]:
    r"""Test that forecast a has a smaller expected loss than forecast b: (t, p).

    .. math:: d_t = L_{a,t} - L_{b,t},\quad
              t = \sqrt{\tfrac{n + 1 - 2h + h(h-1)/n}{n}}\; \bar d / \sqrt{\hat\sigma^2 / n}

    with Harvey, Leybourne and Newbold's factor and Student's t with n - 1 degrees of freedom.

    Parameters
    ----------
    loss_a, loss_b : (n,) losses of the same rows in the order of time; rows with a NaN are left out.
    horizon : h, rows over which an outcome overlaps with the next ones.
    kernel : "bartlett" has max(2 h, n^(1/3)) lags, as losses have a memory beyond the overlap; "truncated" has the
        h - 1 lags of the paper with equal weights, and Bartlett's where their variance is not positive.

    Returns
    -------
    (t, p)
        t is **negative where a is better**; p is one-sided, small where a's loss is smaller: 1 - p says the same of
        b. NaN below 8 rows, where the losses are equal and where one is infinite.

    Raises
    ------
    BadInput
        Losses of different lengths, a horizon below 1, or an unknown kernel.

    Notes
    -----
    Normal in theory for forecasts that are not nested; where a nests b (a model and the mean of the past), it is too
    careful, and `clark_west` is the test.

    References
    ----------
    Diebold and Mariano (1995), Journal of Business & Economic Statistics 13, 253-263; Harvey, Leybourne and Newbold
    (1997), International Journal of Forecasting 13, 281-291.
    """
    a, b = aligned(loss_a, loss_b)
    d = a - b
    n = len(d)
    factor = np.sqrt(max(n + 1 - 2 * horizon + horizon * (horizon - 1) / n, 0.0) / n) if n else 1.0
    t = _mean_t(d, horizon, kernel) * factor
    return float(t), float(stats.t.cdf(t, max(n - 1, 1)))


def clark_west(
    y: ArrayLike, forecast: ArrayLike, baseline: ArrayLike, horizon: int = 1, *, kernel: str = "bartlett"
) -> tuple[float, float]:
    r"""Test that a forecast knows more than the baseline that it nests, by squared error: (t, p).

    .. math:: f_t = (y_t - b_t)^2 - [(y_t - \hat y_t)^2 - (b_t - \hat y_t)^2],\quad t = \bar f / \sqrt{\hat\sigma^2 / n}

    A larger model pays for parameters that are zero in truth; what it pays, the square of the difference of the
    forecasts, is given back before the two are compared.

    Parameters
    ----------
    y, forecast, baseline : (n,) outcomes, forecasts of the larger model, forecasts of the one nested in it; rows with
        a NaN are left out.
    horizon, kernel : as for `diebold_mariano`.

    Returns
    -------
    (t, p)
        t is **positive where the forecast is better**; p is one-sided and normal, small where it is. NaN below 8 rows
        and where the forecasts are equal.

    References
    ----------
    Clark and West (2007), Journal of Econometrics 138, 291-311, eq. 2.1.
    """
    outcome, said, b = aligned(y, forecast, baseline)
    t = _mean_t((outcome - b) ** 2 - ((outcome - said) ** 2 - (b - said) ** 2), horizon, kernel)
    return t, float(stats.norm.sf(t))


def _mean_t(d: Array, horizon: int, kernel: str) -> float:
    """T statistic of the mean of d (n,), whose neighbors share outcomes."""
    if horizon < 1:
        raise BadInput(f"horizon={horizon}: an outcome is at least 1 row long")
    if kernel not in KERNELS:
        raise BadInput(f"no kernel is called {kernel!r}; there are {' and '.join(KERNELS)}")
    n = len(d)
    if n < LEAST or not np.isfinite(d).all() or np.ptp(d) == 0:
        return float("nan")
    variance = long_run_variance(d, horizon - 1, flat=True) if kernel == "truncated" else 0.0
    if not variance > 0:
        variance = long_run_variance(d, max(2 * horizon, int(np.ceil(n ** (1 / 3)))))
    return float(d.mean() / np.sqrt(variance / n)) if variance > 0 else float("nan")
