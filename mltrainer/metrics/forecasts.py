"""Forecasts against outcomes: errors, rank correlation, scale, signs and quantiles."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mltrainer.metrics.base import UNTESTED, Array, Tested, long_run_variance, newey_west_t, ratio


def mse(y: ArrayLike, forecast: ArrayLike) -> float:
    """Mean squared error, in squared units of `y`."""
    return float(np.mean((np.asarray(y) - np.asarray(forecast)) ** 2))


def mae(y: ArrayLike, forecast: ArrayLike) -> float:
    """Mean absolute error, in units of `y`."""
    return float(np.mean(np.abs(np.asarray(y) - np.asarray(forecast))))


def r2(y: ArrayLike, forecast: ArrayLike, baseline: ArrayLike | None = None) -> float:
    r"""Share of squared error removed relative to a baseline forecast.

    .. math:: R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - b)^2

    Parameters
    ----------
    y, forecast : (n,) outcomes and forecasts, same units.
    baseline : (n,) forecasts to beat; default the mean of `y` (in-sample R²). With the expanding mean known
        at each time this is the out-of-sample R² of Campbell and Thompson (2008), eq. 1.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    1.0
    """
    y, forecast = np.asarray(y, dtype=float), np.asarray(forecast, dtype=float)
    b = np.full_like(y, y.mean()) if baseline is None else np.asarray(baseline, dtype=float)
    total = float(np.sum((y - b) ** 2))
    return 1.0 - float(np.sum((y - forecast) ** 2)) / total if total > 0 else float("nan")


def mape_of_price(y: ArrayLike, forecast: ArrayLike) -> float:
    """Mean absolute percentage error of the exit price implied by a return forecast, as a fraction.

    Percentage errors of returns explode near zero; on the price level they do not:
    ``|(1 + forecast) / (1 + y) - 1|``.
    """
    y, forecast = np.asarray(y, dtype=float), np.asarray(forecast, dtype=float)
    return float(np.mean(np.abs((1 + forecast) / (1 + y) - 1)))


def information_coefficient(y: ArrayLike, forecast: ArrayLike, *, lags: int) -> tuple[float, float]:
    """Spearman rank correlation of forecast and outcome, and its HAC t statistic.

    Parameters
    ----------
    y, forecast : (n,) outcomes and forecasts.
    lags : how many rows an outcome overlaps with the next ones (horizon); the bandwidth is twice that, since a
        bandwidth equal to the overlap still over-rejects (Hodrick 1992).

    Returns
    -------
    (ic, t): both NaN when the forecast is constant.
    """
    a, b = stats.rankdata(y), stats.rankdata(forecast)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan"), float("nan")
    product = (a - a.mean()) / a.std() * (b - b.mean()) / b.std()
    return float(product.mean()), newey_west_t(product, 2 * lags)


def spread_ratio(y: ArrayLike, forecast: ArrayLike) -> float:
    r"""Standard deviation of the forecasts over that of the outcomes; 0 for a constant forecast.

    A forecast of the mean that explains a share :math:`R^2` of the variance varies by :math:`R`: 0.1 where 1 % can be
    known. One that varies more promises more than it knows. NaN where the outcome does not vary.

    >>> spread_ratio([1.0, 3.0], [0.25, 0.75])
    0.25
    """
    return ratio(float(np.std(np.asarray(forecast))), float(np.std(np.asarray(y))))


def calibration_slope(y: ArrayLike, forecast: ArrayLike, *, lags: int) -> tuple[float, float]:
    r"""Slope of the Mincer-Zarnowitz regression of outcome on forecast, and its HAC standard error.

    .. math:: y_t = a + b\, \hat y_t + e_t

    1 where the forecasts have the right scale, below 1 where they are too wide, 0 where they know nothing.

    Parameters
    ----------
    y, forecast : (n,) outcomes and forecasts, same units.
    lags : as for `information_coefficient`.

    Returns
    -------
    (slope, standard error): both NaN when the forecast is constant.

    References
    ----------
    Mincer and Zarnowitz (1969), *The evaluation of economic forecasts*, NBER.
    """
    y, forecast = np.asarray(y, dtype=float), np.asarray(forecast, dtype=float)
    if np.ptp(forecast) == 0:
        return float("nan"), float("nan")
    f = forecast - forecast.mean()
    slope = float(f @ y / (f @ f))
    scores = f * (y - y.mean() - slope * f)
    return slope, float(np.sqrt(max(long_run_variance(scores, 2 * lags), 0.0) * len(y)) / (f @ f))


def hit_rate(y: ArrayLike, forecast: ArrayLike) -> float:
    """Share of rows whose forecast has the outcome's sign; zeros on either side do not count.

    >>> hit_rate([0.01, -0.02, 0.03, 0.0], [0.5, 0.5, 0.5, 0.5])
    0.6666666666666666
    """
    agree = np.sign(np.asarray(y, dtype=float)) * np.sign(np.asarray(forecast, dtype=float))
    agree = agree[agree != 0]
    return float(np.mean(agree > 0)) if len(agree) else float("nan")


def pesaran_timmermann(y: ArrayLike, forecast: ArrayLike) -> Tested:
    r"""Test that the signs of forecast and outcome are independent: z, positive where they agree, and its one-sided p.

    .. math:: z = (\hat P - \hat P_*) / \sqrt{V(\hat P) - V(\hat P_*)}, \quad
              \hat P_* = \hat p \hat q + (1 - \hat p)(1 - \hat q)

    with P the share of rows in which the signs agree, p and q the shares above zero of outcomes and forecasts.
    Rows must not overlap (take every horizon-th row). NaN below 8 rows and when one side has a single sign.

    References
    ----------
    Pesaran and Timmermann (1992), Journal of Business & Economic Statistics 10, 461-465, eq. 6.
    """
    up, said = np.asarray(y) > 0, np.asarray(forecast) > 0
    n, p, q = len(up), float(np.mean(up)), float(np.mean(said))
    if n < 8 or p in (0.0, 1.0) or q in (0.0, 1.0):
        return UNTESTED
    hits, expected = float(np.mean(up == said)), p * q + (1 - p) * (1 - q)
    v_hits = expected * (1 - expected) / n
    v_expected = ((2 * p - 1) ** 2 * q * (1 - q) + (2 * q - 1) ** 2 * p * (1 - p)) / n
    v_expected += 4 * p * q * (1 - p) * (1 - q) / n**2
    spread = v_hits - v_expected
    if not spread > 0:
        return UNTESTED
    z = float((hits - expected) / np.sqrt(spread))
    return Tested(z, float(stats.norm.sf(z)))


def timing_p_value(y: ArrayLike, forecast: ArrayLike) -> float:
    """P value of `pesaran_timmermann`."""
    return pesaran_timmermann(y, forecast).p


def pinball(y: ArrayLike, quantile_forecast: ArrayLike, *, q: float) -> float:
    """Mean pinball (quantile) loss at level `q` in (0, 1), in units of `y`; Koenker and Bassett (1978)."""
    error = np.asarray(y, dtype=float) - np.asarray(quantile_forecast, dtype=float)
    return float(np.mean(np.maximum(q * error, (q - 1) * error)))


def qlike_losses(y: ArrayLike, forecast: ArrayLike) -> Array:
    r"""QLIKE loss of each variance forecast, (n,) without a unit; 0 where it is right.

    .. math:: L = y / f - \log(y / f) - 1

    Parameters
    ----------
    y, forecast : (n,) variances, realized and forecast, same units. The loss is infinite for a forecast that is not
        positive, and NaN for an outcome that is not, as no forecast of it is better than another.

    References
    ----------
    Patton (2011), Journal of Econometrics 160, 246-256, eq. 24 with b = -2: with squared error the only loss of its
    family that ranks by the true variance whatever unbiased proxy stands for it, and of the two the one that does not
    rest on the few largest variances.

    >>> qlike_losses([1.0, 2.0], [1.0, 1.0]).round(4).tolist()
    [0.0, 0.3069]
    """
    y, f = np.asarray(y, dtype=float), np.asarray(forecast, dtype=float)
    ratios = np.where(f > 0, y, np.nan) / np.where(f > 0, f, np.nan)
    positive = np.where(ratios > 0, ratios, np.nan)
    return np.where((f <= 0) & (y > 0), np.inf, positive - np.log(positive) - 1)


def qlike(y: ArrayLike, forecast: ArrayLike) -> float:
    """Mean QLIKE loss of variance forecasts (`qlike_losses`); rows whose outcome is not positive do not count."""
    losses = qlike_losses(y, forecast)
    losses = losses[~np.isnan(losses)]
    return float(losses.mean()) if len(losses) else float("nan")


def qlike_log_losses(y: ArrayLike, forecast: ArrayLike) -> Array:
    r"""QLIKE loss of each forecast of a **log** variance, (n,): :math:`e^{d} - d - 1` with d the outcome less it.

    It takes exp(forecast) for the variance that is meant. The exponential of a forecast of the mean of the log is
    below the mean of the variance, by half the variance of its error where that is normal; add that to judge a mean.

    >>> qlike_log_losses([0.0], [np.log(2)]).round(4).tolist()
    [0.1931]
    """
    d = np.asarray(y, dtype=float) - np.asarray(forecast, dtype=float)
    return np.asarray(np.expm1(d) - d)


def qlike_log(y: ArrayLike, forecast: ArrayLike) -> float:
    """Mean QLIKE loss of forecasts of log variances (`qlike_log_losses`); rows with a NaN do not count."""
    losses = qlike_log_losses(y, forecast)
    losses = losses[~np.isnan(losses)]
    return float(losses.mean()) if len(losses) else float("nan")
