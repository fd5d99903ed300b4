"""Risk: what a bad session costs, by four methods, and what they would have said before each session.

Losses are positive fractions of wealth. The methods are rows of `METHODS`:

- ``"historical"``: the lower of the two order statistics around the quantile, and the mean of the returns at or below.
- ``"gaussian"``: a normal distribution with the mean and the deviation (n - 1) of the returns.
- ``"cornish-fisher"``: the normal quantile corrected for skewness and kurtosis; NaN where the correction turns back in
  the tail, so that a rarer loss would be a smaller one.
- ``"filtered"``: a GARCH(1, 1) with Student errors (`arch`) says the volatility of the *next* session, and the
  historical method is asked of the residuals in units of theirs. The only one for which the order of returns matters.

empyrical's `value_at_risk` is negative and lies between the two order statistics, so it is smaller than the historical
one here; its `conditional_value_at_risk` is the same shortfall to the digit. skfolio's `cvar` weighs the last order
statistic by the part of it that is in the tail, so that the two differ by less than the gap to its neighbor.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.metrics.base import Array, clean

LEAST_FILTERED = 250  # returns to fit four parameters of a volatility by


class Tail(NamedTuple):
    """Value at risk and expected shortfall, both positive fractions."""

    var: float
    es: float


UNKNOWN = Tail(float("nan"), float("nan"))


def value_at_risk(returns: ArrayLike, *, alpha: float = 0.05, method: str = "historical") -> float:
    r"""Value at risk per session, as a positive fraction of wealth.

    .. math:: \mathrm{VaR}_\alpha = -q_\alpha(r)

    Parameters
    ----------
    returns : (n,) simple returns per session; NaN are dropped.
    alpha : tail probability in (0, 1).
    method : a name of `METHODS`, see above.

    References
    ----------
    Jorion (2006), *Value at Risk*, ch. 5.

    >>> value_at_risk([-0.04, 0.01, 0.02, 0.00], alpha=0.25)
    0.04
    """
    return tail(returns, alpha=alpha, method=method).var


def expected_shortfall(returns: ArrayLike, *, alpha: float = 0.05, method: str = "historical") -> float:
    """Mean loss in the sessions at or beyond the value at risk, as a positive fraction; Acerbi and Tasche (2002)."""
    return tail(returns, alpha=alpha, method=method).es


def tail(returns: ArrayLike, *, alpha: float = 0.05, method: str = "historical") -> Tail:
    """Both figures at once, which is one fit where a method has one; NaN for too few returns.

    Raises
    ------
    BadInput
        An alpha outside (0, 1) or an unknown method.
    NotEnoughHistory
        Fewer than 250 returns for "filtered".
    """
    if not 0 < alpha < 1:
        raise BadInput(f"alpha={alpha}: the probability of the tail lies between 0 and 1, and is usually 0.05 or 0.01")
    if method not in METHODS:
        raise BadInput(f"no method is called {method!r}; there are {', '.join(METHODS)}")
    return METHODS[method](clean(returns), alpha)


def _historical(r: Array, alpha: float) -> Tail:
    if not len(r):
        return UNKNOWN
    quantile = np.quantile(r, alpha, method="lower")
    return Tail(float(-quantile), float(-np.mean(r[r <= quantile])))


def _gaussian(r: Array, alpha: float) -> Tail:
    r"""VaR :math:`-(\mu + \sigma z_\alpha)`, shortfall :math:`-\mu + \sigma \varphi(z_\alpha) / \alpha`."""
    if len(r) < 2:
        return UNKNOWN
    z, mu, sigma = stats.norm.ppf(alpha), float(r.mean()), float(r.std(ddof=1))
    return Tail(float(-(mu + sigma * z)), float(-mu + sigma * stats.norm.pdf(z) / alpha))


def _cornish_fisher(r: Array, alpha: float) -> Tail:
    r"""The quantile :math:`z + \tfrac{S}{6} He_2(z) + \tfrac{K}{24} He_3(z) - \tfrac{S^2}{36} (2 He_3(z) + He_1(z))`.

    Its mean over the tail is in closed form, as the mean of He_k below z is :math:`-\varphi(z) He_{k-1}(z) / \alpha`.
    Moments are those of the sample (n). Zangari (1996), RiskMetrics Monitor; Maillard (2012) for where it holds.
    """
    if len(r) < 4 or np.ptp(r) == 0:
        return UNKNOWN
    z, S, K = stats.norm.ppf(alpha), float(stats.skew(r)), float(stats.kurtosis(r))
    slope = np.polynomial.Polynomial([1 - K / 8 + 5 * S**2 / 36, S / 3, K / 8 - S**2 / 6])  # of the quantile in z
    beyond = np.linspace(min(z, 0) - 6, z, 200)
    if not (slope(beyond) > 0).all():
        return UNKNOWN
    mu, sigma = float(r.mean()), float(r.std(ddof=1))
    one, two, three = z, z**2 - 1, z**3 - 3 * z
    quantile = z + S / 6 * two + K / 24 * three - S**2 / 36 * (2 * three + one)
    mean = -stats.norm.pdf(z) / alpha * (1 + S / 6 * one + K / 24 * two - S**2 / 36 * (2 * two + 1))
    return Tail(float(-(mu + sigma * quantile)), float(-(mu + sigma * mean)))


def _filtered(r: Array, alpha: float) -> Tail:
    """Filtered historical simulation: Barone-Adesi, Giannopoulos and Vosper (1999), Journal of Futures Markets 19."""
    (found,) = _filtered_from(r, len(r), alpha)
    return found


METHODS: dict[str, Callable[[Array, float], Tail]] = {
    "historical": _historical,
    "gaussian": _gaussian,
    "cornish-fisher": _cornish_fisher,
    "filtered": _filtered,
}


def _filtered_from(r: Array, known: int, alpha: float) -> list[Tail]:
    """Before session `known`, known + 1, ... and after the last, by one fit to the first `known` returns."""
    from arch import arch_model

    if known < LEAST_FILTERED:
        raise NotEnoughHistory(f"a filtered value at risk needs {LEAST_FILTERED} returns to fit, and there are {known}")
    if np.ptp(r[:known]) == 0:
        return [UNKNOWN] * (len(r) - known + 1)
    scale = 1 / float(np.std(r[:known]))  # arch asks for a variance near 1
    fit = arch_model(r * scale, vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(
        disp="off", show_warning=False, last_obs=known
    )
    residuals = fit.resid[:known] / fit.conditional_volatility[:known]
    shock = _historical(clean(residuals), alpha)
    mu = float(fit.params["mu"])
    next_variance = fit.forecast(horizon=1, start=known - 1).variance.to_numpy()[:, 0]
    return [Tail(*((s * np.array(shock) - mu) / scale).tolist()) for s in np.sqrt(next_variance)]


def tail_forecasts(
    returns: ArrayLike, *, alpha: float = 0.05, method: str = "historical", window: int = 500, refit: int = 21
) -> tuple[Array, Array]:
    """Value at risk and shortfall as they would have been said before each session, by the `window` returns before it.

    Parameters
    ----------
    returns : (n,) in the order of time, no NaN.
    alpha, method : as for `value_at_risk`.
    window : returns that each figure knows; refit : sessions between two fits of "filtered", whose volatility is
        carried on by what came in between.

    Returns
    -------
    (var, es) : (n,) each, NaN for the first `window` sessions. What is said of session t knows returns up to t - 1.
    """
    r = np.asarray(returns, dtype=float)
    if r.ndim != 1 or not np.isfinite(r).all():
        raise BadInput("forecasts of a tail need (n,) returns without a gap; see `frequencies.complete`")
    if refit < 1 or window < 2:
        raise BadInput(
            f"window={window}, refit={refit}: a figure knows at least 2 returns, and is fitted every 1 or more"
        )
    said = [UNKNOWN] * min(window, len(r))
    if method == "filtered":
        for t in range(window, len(r), refit):
            block = r[t - window : min(t + refit, len(r))]
            said += _filtered_from(block, window, alpha)[: len(block) - window]
    else:
        said += [tail(r[t - window : t], alpha=alpha, method=method) for t in range(window, len(r))]
    var, es = np.array(said, dtype=float).reshape(-1, 2).T
    return var, es
