"""Risk: what a bad session costs."""

import numpy as np
from numpy.typing import ArrayLike

from mltrainer.metrics.base import clean


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
    r = clean(returns)
    return float(-np.quantile(r, alpha, method="lower")) if len(r) else float("nan")


def expected_shortfall(returns: ArrayLike, *, alpha: float = 0.05) -> float:
    """Mean loss in the sessions at or beyond the value at risk, as a positive fraction; Acerbi and Tasche (2002)."""
    r = clean(returns)
    return float(-np.mean(r[r <= -value_at_risk(r, alpha=alpha)])) if len(r) else float("nan")
