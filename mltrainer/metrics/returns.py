"""Returns of a strategy: growth, Sharpe ratio and its error, drawdown, gains against losses.

Every figure is that of empyrical (and of skfolio, where it has it) to the digit on returns without gaps, but for these:
drawdowns are positive here, wealth that is gone stays gone, an undefined ratio is NaN where theirs may be infinite.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mltrainer.metrics.base import SESSIONS, Array, clean, ratio


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
    r = clean(returns)
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
    r = clean(returns)
    sr = sharpe(r, periods=1)
    if not np.isfinite(sr):
        return float("nan")
    g3, g4 = float(stats.skew(r)), float(stats.kurtosis(r, fisher=False))
    return float(np.sqrt(periods * max(1 - g3 * sr + (g4 - 1) / 4 * sr**2, 0.0) / (len(r) - 1)))


def probabilistic_sharpe(returns: ArrayLike, *, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` (annual); Bailey and López de Prado (2012)."""
    sr, deviation = sharpe(returns), sharpe_standard_error(returns)
    return float(stats.norm.cdf((sr - benchmark) / deviation)) if deviation > 0 else float("nan")


def track_record_length(
    sharpe: float, *, benchmark: float = 0.0, skewness: float = 0.0, kurtosis: float = 3.0, confidence: float = 0.95
) -> float:
    r"""Observations after which a Sharpe ratio is told from a smaller one, with probability `confidence` (MinTRL).

    .. math:: n^* = 1 + \left(1 - \gamma_3 \mathrm{SR} + \tfrac{\gamma_4 - 1}{4} \mathrm{SR}^2\right)
              \left(\frac{z_c}{\mathrm{SR} - \mathrm{SR}^*}\right)^2

    Parameters
    ----------
    sharpe, benchmark : SR and SR*, **per observation**; NaN where SR is not above SR*, as no length then suffices.
    skewness, kurtosis : of the returns; the kurtosis of a normal is 3.

    References
    ----------
    Bailey and López de Prado (2012), Journal of Risk 15(2), 3-44, eq. 13.

    >>> round(track_record_length(2 / 250**0.5, benchmark=1 / 250**0.5) / 250, 2)  # years of daily normal returns
    2.73
    """
    if not sharpe > benchmark:
        return float("nan")
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    return float(1 + max(spread, 0.0) * (stats.norm.ppf(confidence) / (sharpe - benchmark)) ** 2)


def minimum_track_record(returns: ArrayLike, *, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Sessions that `returns` like these need until `probabilistic_sharpe` reaches `confidence`; NaN where never.

    `benchmark` is an annual Sharpe ratio, as there; see `track_record_length`.
    """
    r = clean(returns)
    sr = sharpe(r, periods=1)
    if not np.isfinite(sr):
        return float("nan")
    shape = {"skewness": float(stats.skew(r)), "kurtosis": float(stats.kurtosis(r, fisher=False))}
    return track_record_length(sr, benchmark=benchmark / np.sqrt(SESSIONS), confidence=confidence, **shape)


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
    w = np.concatenate([[1.0], wealth(clean(returns))])
    return float(np.max(1 - w / np.maximum.accumulate(w)))


def annual_return(returns: ArrayLike) -> float:
    """Compound growth per year of `SESSIONS` sessions, as a fraction; -1 when the wealth is gone."""
    r = clean(returns)
    final = float(wealth(r)[-1]) if len(r) else float("nan")
    return float(final ** (SESSIONS / len(r)) - 1) if final > 0 else (-1.0 if len(r) else float("nan"))


def annual_volatility(returns: ArrayLike, *, periods: int = SESSIONS) -> float:
    r"""Standard deviation of the returns per year, :math:`\sqrt{N}\, s_r`; NaN below two returns."""
    r = clean(returns)
    return float(np.sqrt(periods) * r.std(ddof=1)) if len(r) > 1 else float("nan")


def downside_deviation(returns: ArrayLike, *, target: float = 0.0, periods: int = SESSIONS) -> float:
    r"""Root mean square of what the returns fall short of `target` (per session), per year.

    .. math:: \sqrt{N \cdot \tfrac1n \sum_t \min(r_t - \tau, 0)^2}

    The mean is over all n sessions, as in Sortino and Price (1994); skfolio's `semi_deviation` divides by n - 1 unless
    it is ``biased``.
    """
    r = clean(returns)
    return float(np.sqrt(periods * np.mean(np.minimum(r - target, 0) ** 2))) if len(r) else float("nan")


def sortino(returns: ArrayLike) -> float:
    """Annual mean over downside deviation (root mean square of the losses, target 0); Sortino and Price (1994)."""
    r = clean(returns)
    return ratio(SESSIONS * float(r.mean()), downside_deviation(r)) if len(r) else float("nan")


def omega(returns: ArrayLike, *, target: float = 0.0) -> float:
    r"""Gains beyond `target` (per session) over losses below it; NaN without a loss; Keating and Shadwick (2002).

    .. math:: \Omega = \sum_t \max(r_t - \tau, 0) / \sum_t \max(\tau - r_t, 0)

    empyrical's `omega_ratio` takes a target per year unless its ``annualization`` is 1. At 0 it is `profit_factor`.
    """
    r = clean(returns) - target
    return ratio(float(r[r > 0].sum()), float(-r[r < 0].sum()))


def tail_ratio(returns: ArrayLike) -> float:
    """Size of the 95 % quantile over that of the 5 % quantile, linear between order statistics; NaN where that is 0."""
    r = clean(returns)
    return ratio(*np.abs(np.quantile(r, [0.95, 0.05]))) if len(r) else float("nan")


def stability(returns: ArrayLike) -> float:
    """R² of a straight line through the log of wealth by session, from 0 to 1; NaN where wealth is gone or never moves.

    Wealth begins after the first session, as in empyrical. A random walk has a high one, too: half of those without
    any drift are above 0.45, so it describes a path and proves nothing.
    """
    r = clean(returns)
    if len(r) < 2 or not (r > -1).all():
        return float("nan")
    log_wealth = np.cumsum(np.log1p(r))
    if np.ptp(log_wealth) == 0:
        return float("nan")
    return float(np.corrcoef(np.arange(len(r)), log_wealth)[0, 1] ** 2)


def calmar(returns: ArrayLike) -> float:
    """Annual return over maximum drawdown; Young (1991)."""
    return ratio(annual_return(returns), max_drawdown(returns))


def profit_factor(returns: ArrayLike) -> float:
    """Sum of gains over sum of losses; NaN without a losing day."""
    r = clean(returns)
    return ratio(float(r[r > 0].sum()), float(-r[r < 0].sum()))


def win_rate(returns: ArrayLike) -> float:
    """Share of sessions with a gain among those with a gain or a loss."""
    r = clean(returns)
    return ratio(float(np.sum(r > 0)), float(np.sum(r != 0)))
