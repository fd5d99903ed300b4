"""How much growth does a fraction of Kelly leave, and how deep does one fall on the way?

In the limit of short periods, wealth that holds a constant multiple of one risky book is a geometric Brownian motion,
so both answers are formulas. Real losses have fatter tails, and the mean is never known: take less than they say.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mltrainer import views
from mltrainer.errors import BadInput
from mltrainer.metrics import SESSIONS

FRACTIONS = np.round(np.arange(0.05, 2.001, 0.05), 2)
LEVELS = (0.8, 0.5, 0.2)


def growth(fraction: ArrayLike, mu: float, sigma: float) -> Any:
    r"""Growth rate of log wealth of a fraction of Kelly, per period, above the riskless rate.

    .. math:: g = f\mu - \tfrac12 f^2\sigma^2 = c\,(2 - c)\, \mu^2 / 2\sigma^2, \qquad f = c\,\mu / \sigma^2

    Parameters
    ----------
    fraction : c, the multiple of full Kelly; 1 grows fastest, 2 not at all.
    mu, sigma : expected excess return and deviation of the book, per period.

    References
    ----------
    Thorp (2006), *The Kelly Criterion in Blackjack, Sports Betting, and the Stock Market*, sec. 7.

    >>> round(float(growth(0.5, 0.05, 0.15) / growth(1.0, 0.05, 0.15)), 4)
    0.75
    """
    c = _fraction(fraction)
    if not (0 < sigma < np.inf and np.isfinite(mu)):
        raise BadInput(f"a mean of {mu} and a deviation of {sigma} make no bet; give a deviation above 0")
    return c * (2 - c) * mu**2 / (2 * sigma**2)


def ever_below(level: float, fraction: ArrayLike) -> Any:
    r"""Probability that wealth ever falls to `level` of what it is now, whatever the book, held forever.

    .. math:: P\Big(\inf_t W_t \le x W_0\Big) = x^{2/c - 1}, \qquad \text{1 for } c \ge 2

    References
    ----------
    Thorp (2006), sec. 7; MacLean, Thorp and Ziemba (2010), *Good and Bad Properties of the Kelly Criterion*.

    >>> float(ever_below(0.5, 1.0)), float(ever_below(0.5, 0.5))
    (0.5, 0.125)
    """
    if not 0 < level < 1:
        raise BadInput(f"level {level} lies not between 0 and 1; 0.5 is half of the wealth")
    return np.minimum(level ** (2 / _fraction(fraction) - 1), 1.0)


def falls_first(low: float, high: float, fraction: ArrayLike) -> Any:
    r"""Probability that wealth falls to `low` of what it is now before it rises to `high` of it.

    .. math:: P = \frac{1 - y^{-k}}{x^{-k} - y^{-k}}, \qquad k = 2/c - 1

    References
    ----------
    Thorp (2006), sec. 7; Schlesinger, *Two Risk of Ruin Equations*.

    >>> round(float(falls_first(0.5, 2.0, 1.0)), 4), round(float(falls_first(0.5, 2.0, 0.5)), 4)
    (0.3333, 0.1111)
    """
    if not 0 < low < 1 < high < np.inf:
        raise BadInput(f"low {low} lies below 1 and above 0, high {high} above 1; 0.5 and 2 are a half and twice")
    k = 2 / _fraction(fraction) - 1
    k = np.where(np.abs(k) < 1e-9, 1e-9, k)  # the limit, to nine digits
    return (1 - high**-k) / (low**-k - high**-k)


def _fraction(fraction: ArrayLike) -> Any:
    c = np.asarray(fraction, dtype=float)
    if not (np.isfinite(c).all() and (c > 0).all()):
        raise BadInput(f"fraction {fraction!r} of Kelly is not above 0; 1 is full Kelly, 0.5 half of it")
    return c


def curve(mu: float, sigma: float, *, fractions: ArrayLike = FRACTIONS) -> pd.DataFrame:
    """Growth against the fall on the way, a row for each fraction of Kelly.

    Parameters
    ----------
    mu, sigma : expected excess return and deviation of the book, per session.
    fractions : of full Kelly.

    Returns
    -------
    (k, 8) by fraction: exposure (multiple of wealth in the book), growth and volatility (annual), share (of the growth
    of full Kelly), ever_80, ever_50, ever_20 (probability of ever falling to so many percent), halved_first (before
    it is doubled).
    """
    if not mu > 0:
        raise BadInput(f"an expected return of {mu} above cash is none to bet on: Kelly holds nothing of it")
    c = _fraction(fractions)
    rate, exposure = growth(c, mu, sigma) * SESSIONS, c * mu / sigma**2
    columns = {
        "exposure": exposure,
        "growth": rate,
        "volatility": exposure * sigma * SESSIONS**0.5,
        "share": c * (2 - c),
    }
    columns |= {f"ever_{100 * level:.0f}": ever_below(level, c) for level in LEVELS}
    return pd.DataFrame(columns | {"halved_first": falls_first(0.5, 2.0, c)}, pd.Index(c, name="fraction"))


def picture(mu: float, sigma: float, *, name: str = "this book") -> Any:
    """Figure of `curve`: growth and the probability of ever losing half, by fraction of Kelly."""
    table = curve(mu, sigma)
    half, full = (table["ever_50"].loc[c] for c in (0.5, 1.0))
    title = (
        f"Half of Kelly keeps 75 % of the growth, and is ever cut in half with probability {half:.1%} instead of "
        f"{full:.0%}; twice Kelly does not grow at all"
    )
    return views.kelly(table, title, f"{name}, mean {mu * SESSIONS:.1%}, deviation {sigma * SESSIONS**0.5:.1%} a year")
