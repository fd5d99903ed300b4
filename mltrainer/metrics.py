"""Pure formulas of forecast quality, risk and luck; arrays in, one number out.

Returns are simple returns per session (fractions), losses are positive fractions, and "annual" figures use
`SESSIONS` sessions a year. A figure that is undefined (no losing day, a constant forecast) is NaN, and
`UNDEFINED` says why in words.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
SESSIONS = 252
EULER_GAMMA = 0.5772156649015329

UNDEFINED = {
    "ic": "the forecast is constant",
    "ic_t": "the forecast is constant",
    "spread_ratio": "the outcome does not vary",
    "mz_slope": "the forecast is constant",
    "mz_slope_se": "the forecast is constant",
    "hit_rate": "every forecast or outcome is zero",
    "hit_p": "all forecasts or all outcomes have one sign",
    "sharpe": "the returns do not vary",
    "deflated_sharpe": "needs two trials that traded",
    "timing_sharpe": "the position never changes",
    "alpha": "the benchmark does not vary",
    "alpha_t": "the benchmark does not vary",
    "beta": "the benchmark does not vary",
    "p_knows": "the forecast is constant",
    "p_pays": "the position never changes",
    "sortino": "no losing day",
    "calmar": "no drawdown",
    "profit_factor": "no losing day",
    "win_rate": "no day with a position",
    "breakeven_bps": "it never trades",
    "information_ratio": "it never differs from buy-and-hold",
    "coverage": "too little history to calibrate",
    "spa_p": "no model ran that differs from the mean of the past, or too few sessions",
    "r2": "the outcome does not vary",
}


def _clean(values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")


# --- forecasts against outcomes -------------------------------------------------------------------------------


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


def newey_west_t(x: ArrayLike, lags: int) -> float:
    r"""T statistic of the mean of `x`, robust to autocorrelation up to `lags` (Bartlett kernel).

    .. math:: \hat\sigma^2 = \gamma_0 + 2 \sum_{l=1}^{L} (1 - l/(L+1)) \gamma_l,\quad
              t = \bar x / \sqrt{\hat\sigma^2 / n}

    References
    ----------
    Newey and West (1987), Econometrica 55, 703-708.
    """
    x = np.asarray(x, dtype=float)
    variance = _long_run_variance(x, lags)
    return float(x.mean() / np.sqrt(variance / len(x))) if variance > 0 else float("nan")


def _long_run_variance(x: Array, lags: int) -> float:
    d, n = x - x.mean(), len(x)
    variance = d @ d / n
    for lag in range(1, min(lags, n - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (d[lag:] @ d[:-lag]) / n
    return float(variance)


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
    return _ratio(float(np.std(np.asarray(forecast))), float(np.std(np.asarray(y))))


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
    return slope, float(np.sqrt(max(_long_run_variance(scores, 2 * lags), 0.0) * len(y)) / (f @ f))


def hit_rate(y: ArrayLike, forecast: ArrayLike) -> float:
    """Share of rows whose forecast has the outcome's sign; zeros on either side do not count.

    >>> hit_rate([0.01, -0.02, 0.03, 0.0], [0.5, 0.5, 0.5, 0.5])
    0.6666666666666666
    """
    agree = np.sign(np.asarray(y, dtype=float)) * np.sign(np.asarray(forecast, dtype=float))
    agree = agree[agree != 0]
    return float(np.mean(agree > 0)) if len(agree) else float("nan")


def timing_p_value(y: ArrayLike, forecast: ArrayLike) -> float:
    """One-sided p value of the Pesaran-Timmermann test that forecast and outcome signs are independent.

    Rows must not overlap (take every horizon-th row). NaN when one side has a single sign.

    References
    ----------
    Pesaran and Timmermann (1992), Journal of Business & Economic Statistics 10, 461-465, eq. 6.
    """
    up, said = np.asarray(y) > 0, np.asarray(forecast) > 0
    n, p, q = len(up), float(np.mean(up)), float(np.mean(said))
    if n < 8 or p in (0.0, 1.0) or q in (0.0, 1.0):
        return float("nan")
    hits, expected = float(np.mean(up == said)), p * q + (1 - p) * (1 - q)
    v_hits = expected * (1 - expected) / n
    v_expected = ((2 * p - 1) ** 2 * q * (1 - q) + (2 * q - 1) ** 2 * p * (1 - p)) / n
    v_expected += 4 * p * q * (1 - p) * (1 - q) / n**2
    spread = v_hits - v_expected
    return float(stats.norm.sf((hits - expected) / np.sqrt(spread))) if spread > 0 else float("nan")


def pinball(y: ArrayLike, quantile_forecast: ArrayLike, *, q: float) -> float:
    """Mean pinball (quantile) loss at level `q` in (0, 1), in units of `y`; Koenker and Bassett (1978)."""
    error = np.asarray(y, dtype=float) - np.asarray(quantile_forecast, dtype=float)
    return float(np.mean(np.maximum(q * error, (q - 1) * error)))


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
    found = np.sort(np.abs(_clean(errors)))
    return float(found[conformal_rank(len(found), nominal)]) if len(found) >= least else float("nan")


def coverage(y: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Share of outcomes inside their interval; rows without an interval (NaN) do not count."""
    y, lower, upper = (np.asarray(a, dtype=float) for a in (y, lower, upper))
    known = np.isfinite(lower) & np.isfinite(upper)
    return float(np.mean((lower <= y)[known] & (y <= upper)[known])) if known.any() else float("nan")


# --- returns of a strategy ------------------------------------------------------------------------------------


def sharpe(returns: ArrayLike, *, periods: int = SESSIONS) -> float:
    r"""Annual Sharpe ratio of simple returns per session; pass ``periods=1`` for the ratio per session.

    .. math:: \mathrm{SR} = \sqrt{N}\; \bar r / s_r

    Parameters
    ----------
    returns : (n,) simple returns, in excess of the risk-free rate if there is one; NaN are dropped.

    References
    ----------
    Sharpe (1994), Journal of Portfolio Management 21, 49-58.
    """
    r = _clean(returns)
    if len(r) < 2 or np.ptp(r) == 0:
        return float("nan")
    return float(np.sqrt(periods) * r.mean() / r.std(ddof=1))


def sharpe_standard_error(returns: ArrayLike, *, periods: int = SESSIONS) -> float:
    r"""Standard error of the annual Sharpe ratio under skewed, fat-tailed returns.

    .. math:: \sqrt{\left(1 - \gamma_3 \mathrm{SR} + \tfrac{\gamma_4 - 1}{4} \mathrm{SR}^2\right) / (n - 1)}

    with the per-session SR, skewness and (non-excess) kurtosis; scaled by :math:`\sqrt{N}`.

    References
    ----------
    Mertens (2002); Bailey and López de Prado (2012), Journal of Risk 15(2), eq. 8.
    """
    r = _clean(returns)
    sr = sharpe(r, periods=1)
    if not np.isfinite(sr):
        return float("nan")
    g3, g4 = float(stats.skew(r)), float(stats.kurtosis(r, fisher=False))
    return float(np.sqrt(periods * max(1 - g3 * sr + (g4 - 1) / 4 * sr**2, 0.0) / (len(r) - 1)))


def market_model(returns: ArrayLike, benchmark: ArrayLike, *, lags: int) -> tuple[float, float, float]:
    r"""Alpha per session, its HAC t, and beta, of returns (n,) on a benchmark (n,); NaN where that is constant.

    .. math:: r_t = \alpha + \beta b_t + e_t

    The t rests on the influence of each session on alpha, :math:`e_t (1 - \bar b (b_t - \bar b) / s_b^2)`, with a
    Bartlett kernel of 2 `lags`; Jensen (1968), Journal of Finance 23; Newey and West (1987).
    """
    r, b = np.asarray(returns, dtype=float), np.asarray(benchmark, dtype=float)
    d, variance = b - b.mean(), float(np.var(b))
    if not variance > 0:
        return float("nan"), float("nan"), float("nan")
    beta = float(np.mean(d * r)) / variance
    alpha = float(r.mean()) - beta * float(b.mean())
    influence = (r - alpha - beta * b) * (1 - b.mean() * d / variance)
    return alpha, newey_west_t(alpha + influence, 2 * lags), beta


def probabilistic_sharpe(returns: ArrayLike, *, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` (annual); Bailey and López de Prado (2012)."""
    sr, deviation = sharpe(returns), sharpe_standard_error(returns)
    return float(stats.norm.cdf((sr - benchmark) / deviation)) if deviation > 0 else float("nan")


def luck_threshold(spread: float, n_trials: float) -> float:
    r"""Best annual Sharpe ratio to expect from luck alone among `n_trials` skill-less trials.

    .. math:: \mathrm{SR}_0 = s\left[(1-\gamma) z(1 - 1/N) + \gamma z(1 - 1/(N e))\right]

    with γ the Euler-Mascheroni constant; NaN for fewer than two trials.

    Parameters
    ----------
    spread : s, the standard deviation of the annual Sharpe ratios of skill-less trials.
    n_trials : N, how many independent trials there were.

    References
    ----------
    Bailey and López de Prado (2014), Journal of Portfolio Management 40(5), 94-107, eq. 1.

    >>> round(luck_threshold(1.0, 105), 2)  # of 105 models without skill, over one year
    2.55
    """
    if n_trials < 2:
        return float("nan")
    z, n = stats.norm.ppf, n_trials
    return float(spread * ((1 - EULER_GAMMA) * z(1 - 1 / n) + EULER_GAMMA * z(1 - 1 / (n * np.e))))


def wealth(returns: ArrayLike) -> Array:
    """Wealth after each session from 1 invested before the first: the running product of 1 + r.

    A short position can lose more than everything; wealth then stays at 0, no later gain brings it back.
    """
    return np.asarray(np.cumprod(np.maximum(1 + np.asarray(returns, dtype=float), 0.0)))


def max_drawdown(returns: ArrayLike) -> float:
    """Largest loss from a peak, as a positive fraction of the peak (the starting 1 counts as a peak).

    >>> round(max_drawdown([0.1, -0.5, 0.2]), 3)
    0.5
    """
    w = np.concatenate([[1.0], wealth(_clean(returns))])
    return float(np.max(1 - w / np.maximum.accumulate(w)))


def annual_return(returns: ArrayLike) -> float:
    """Compound growth per year of `SESSIONS` sessions, as a fraction; -1 when the wealth is gone."""
    r = _clean(returns)
    final = float(wealth(r)[-1]) if len(r) else float("nan")
    return float(final ** (SESSIONS / len(r)) - 1) if final > 0 else (-1.0 if len(r) else float("nan"))


def sortino(returns: ArrayLike) -> float:
    """Annual mean over downside deviation (root mean square of the losses, target 0); Sortino and Price (1994)."""
    r = _clean(returns)
    downside = float(np.sqrt(np.mean(np.minimum(r, 0) ** 2))) if len(r) else 0.0
    return _ratio(float(np.sqrt(SESSIONS)) * float(r.mean()) if len(r) else 0.0, downside)


def calmar(returns: ArrayLike) -> float:
    """Annual return over maximum drawdown; Young (1991)."""
    return _ratio(annual_return(returns), max_drawdown(returns))


def value_at_risk(returns: ArrayLike, *, alpha: float = 0.05) -> float:
    r"""Historical value at risk per session, as a positive fraction of wealth.

    .. math:: \mathrm{VaR}_\alpha = -q_\alpha(r)

    Parameters
    ----------
    returns : (n,) simple returns per session; NaN are dropped.
    alpha : tail probability in (0, 1); the quantile is the lower of the two order statistics around it.

    References
    ----------
    Jorion (2006), *Value at Risk*, ch. 5.

    >>> value_at_risk([-0.04, 0.01, 0.02, 0.00], alpha=0.25)
    0.04
    """
    r = _clean(returns)
    return float(-np.quantile(r, alpha, method="lower")) if len(r) else float("nan")


def expected_shortfall(returns: ArrayLike, *, alpha: float = 0.05) -> float:
    """Mean loss in the sessions at or beyond the value at risk, as a positive fraction; Acerbi and Tasche (2002)."""
    r = _clean(returns)
    return float(-np.mean(r[r <= -value_at_risk(r, alpha=alpha)])) if len(r) else float("nan")


def profit_factor(returns: ArrayLike) -> float:
    """Sum of gains over sum of losses; NaN without a losing day."""
    r = _clean(returns)
    return _ratio(float(r[r > 0].sum()), float(-r[r < 0].sum()))


def win_rate(returns: ArrayLike) -> float:
    """Share of sessions with a gain among those with a gain or a loss."""
    r = _clean(returns)
    return _ratio(float(np.sum(r > 0)), float(np.sum(r != 0)))


def backtest_overfitting(trial_returns: ArrayLike, *, blocks: int = 10) -> float:
    """Probability that the best trial in one half of the time is no better than the median in the other half (PBO).

    Combinatorially symmetric cross-validation: the sessions are cut into `blocks`, every half of the blocks
    chooses the trial with the best Sharpe ratio, and the other half ranks it: r of k, the best being k. PBO is the
    share of splits with logit(r / (k + 1)) <= 0; so the median itself, where k is odd, is no better than the median.

    Parameters
    ----------
    trial_returns : (n_sessions, k >= 2) net returns over the same sessions.
    blocks : even number; 10 gives 252 splits.

    References
    ----------
    Bailey, Borwein, López de Prado and Zhu (2017), Journal of Computational Finance 20(4), 39-69.
    """
    R = np.asarray(trial_returns, dtype=float)
    R = R[:, R.std(axis=0) > 0]
    if R.shape[1] < 2 or len(R) < 4 * blocks:
        return float("nan")
    parts = np.array_split(np.arange(len(R)), blocks)
    n = np.array([len(p) for p in parts])
    total = np.array([R[p].sum(axis=0) for p in parts])
    square = np.array([(R[p] ** 2).sum(axis=0) for p in parts])

    def ratio(chosen: Sequence[int]) -> Array:
        c = list(chosen)
        mean = total[c].sum(axis=0) / n[c].sum()
        return np.asarray(mean / np.sqrt(np.maximum(square[c].sum(axis=0) / n[c].sum() - mean**2, 1e-300)))

    below = 0
    halves = list(combinations(range(blocks), blocks // 2))
    for half in halves:
        best = int(np.argmax(ratio(half)))
        rest = ratio([b for b in range(blocks) if b not in half])
        below += bool(np.sum(rest <= rest[best]) / (len(rest) + 1) <= 0.5)
    return below / len(halves)


# --- many models against the same outcomes ---------------------------------------------------------------------

DRAWS = 300  # bootstrap samples: a p value near 0.05 errs by about 0.01


def superior_ability(losses: ArrayLike, benchmark: ArrayLike, *, overlap: int, seed: int = 0) -> float:
    """P value of the hypothesis that no model has a smaller expected loss than the benchmark (SPA).

    Parameters
    ----------
    losses : (n, k) losses of k models, in the order of time, no NaN.
    benchmark : (n,) losses of the forecast to beat.
    overlap : rows over which an outcome overlaps with the next ones (horizon); losses are averaged over as many, at
        least 5, and resampled in blocks (see `_periods`). NaN for fewer than 20 such periods.

    References
    ----------
    Hansen (2005), Journal of Business & Economic Statistics 23, 365-380; the consistent p value.
    """
    from arch.bootstrap import SPA

    L, b = _periods(losses, overlap), _periods(np.asarray(benchmark, dtype=float)[:, None], overlap)
    L = L[:, np.std(L - b, axis=0) > 1e-12 * np.std(b)]  # one that forecasts what the benchmark does is no rival
    if len(L) < 20 or not L.shape[1]:
        return float("nan")
    if L.mean(axis=0).min() >= b.mean():
        return 1.0  # Hansen's statistic is then 0, the least it can be; arch goes below
    test = SPA(b[:, 0], L, block_size=_block(len(L)), reps=DRAWS, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def confidence_set(losses: ArrayLike, *, overlap: int, size: float = 0.10, seed: int = 0) -> NDArray[np.bool_]:
    """Which models may be the best: (k,), True for those in the model confidence set of level 1 - `size`.

    Models are left out one by one, the worst first, until the rest cannot be told apart. All are in it where there
    is too little to tell.

    Parameters
    ----------
    losses, overlap : as for `superior_ability`; models with the same losses share their fate.

    References
    ----------
    Hansen, Lunde and Nason (2011), Econometrica 79, 453-497; the statistic T_max.
    """
    from arch.bootstrap import MCS

    L = _periods(losses, overlap)
    different, which = np.unique(L, axis=1, return_inverse=True)
    k = different.shape[1]
    if len(L) < 20 or k < 2:
        return np.ones(L.shape[1], dtype=bool)
    test = MCS(different, size=size, block_size=_block(len(L)), reps=DRAWS, method="max", seed=seed)
    test.compute()
    return np.array([model in test.included for model in range(k)])[which.ravel()]


def _periods(losses: ArrayLike, overlap: int) -> Array:
    """Mean losses of periods of `overlap` rows, at least a week: fewer rows, and less overlap for the bootstrap."""
    L, step = np.asarray(losses, dtype=float), max(overlap, 5)
    n = len(L) // step
    return L[: n * step].reshape(n, step, -1).mean(axis=1)


def _block(n: int) -> int:
    return max(2, round(n ** (1 / 3)))  # neighbors still overlap by a row; the rate is that of Künsch (1989)
