"""Returns of a strategy: growth, Sharpe ratio and its error, drawdown, gains against losses."""

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


def sortino(returns: ArrayLike) -> float:
    """Annual mean over downside deviation (root mean square of the losses, target 0); Sortino and Price (1994)."""
    r = clean(returns)
    downside = float(np.sqrt(np.mean(np.minimum(r, 0) ** 2))) if len(r) else 0.0
    return ratio(float(np.sqrt(SESSIONS)) * float(r.mean()) if len(r) else 0.0, downside)


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
