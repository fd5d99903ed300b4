"""Regressions of returns on what the market paid."""

import numpy as np
from numpy.typing import ArrayLike

from mltrainer.metrics.base import newey_west_t


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
