"""What is believed of risk and return: a shrunk covariance, a stated prior of the mean, and views that move it."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skfolio.moments import OAS, EmpiricalCovariance, LedoitWolf
from skfolio.prior import BlackLitterman

from mltrainer.errors import BadInput, UnknownName
from mltrainer.trading.portfolio.methods import Given
from mltrainer.trading.portfolio.records import View

Array = NDArray[np.float64]

COVARIANCES: dict[str, tuple[Callable[[], object], str]] = {
    "ledoit-wolf": (LedoitWolf, "Ledoit and Wolf (2004), Journal of Multivariate Analysis 88(2), 365-411"),
    "oas": (OAS, "Chen, Wiesel, Eldar and Hero (2010), IEEE Transactions on Signal Processing 58(10)"),
    "sample": (EmpiricalCovariance, "not shrunk: unstable where names are many and sessions few"),
}
DECAY = 0.94  # RiskMetrics (1996), for daily returns

# The mean where nobody knows it: (sigma, reference weights, risk aversion, returns) -> mu.
EXPECTED: dict[str, tuple[Callable[[Array, Array, float, Array | None], Array], str]] = {
    "implied": (
        lambda sigma, w, delta, _: delta * sigma @ w,
        "are those that make the reference portfolio optimal (delta Sigma w): a prior, no forecast",
    ),
    "equal": (
        lambda sigma, w, delta, _: np.full(len(w), delta * float(w @ sigma @ w)),
        "are the same for every name, the implied one of the reference portfolio: no forecast",
    ),
    "historical": (
        lambda sigma, w, delta, returns: _mean(returns),
        "are the means of the past, which are mostly noise",
    ),
}


def _mean(returns: Array | None) -> Array:
    if returns is None:
        raise BadInput("expected='historical' is the mean of returns, and none were given; give returns=")
    return np.asarray(returns.mean(axis=0))


def estimated(returns: Array, how: str) -> tuple[Array, list[str]]:
    """Covariance of returns (t, n) by a row of `COVARIANCES`, and what was said on the way."""
    if how not in COVARIANCES:
        raise UnknownName.of("covariance", str(how), COVARIANCES)
    if len(returns) < 2 or (np.ptp(returns, axis=0) == 0).any():
        raise BadInput("a name's returns do not vary, so no covariance can be estimated; leave it out")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = COVARIANCES[how][0]().fit(returns).covariance_  # type: ignore[attr-defined]
    said = [f"the covariance was repaired: {str(w.message).partition('. ')[0].rstrip('.')}" for w in caught]
    return np.asarray(found), [f"covariance: {how}, of {len(returns)} returns", *said]


def rescaled(sigma: Array, volatility: Array) -> Array:
    """The correlations of `sigma` with other volatilities (n,): forecasts, where those are better than the past."""
    if (volatility <= 0).any():
        raise BadInput("a forecast volatility is not above 0; give standard deviations per session")
    scale = volatility / np.sqrt(np.diag(sigma))
    return np.asarray(sigma * np.outer(scale, scale))


def ewma(returns: Array) -> Array:
    """Volatility per session, exponentially weighted with decay 0.94, mean 0; RiskMetrics (1996)."""
    squares = pd.DataFrame(returns**2)
    return np.sqrt(squares.ewm(alpha=1 - DECAY).mean().iloc[-1].to_numpy())


def moved(mu: Array, sigma: Array, views: Sequence[View], names: Sequence[str], tau: float) -> tuple[Array, Array]:
    r"""Posterior mean and covariance of the returns, by skfolio.

    An :math:`\omega` becomes the confidence that means the same, :math:`c = 1 / (1 + \omega / \tau p'\Sigma p)`, and a
    view without one has c = 1/2. The covariance is that of a return: :math:`\Sigma` plus that of the posterior mean.
    """
    if not 0 < tau < np.inf:
        raise BadInput(f"tau {tau} is not above 0; it is usually 0.01 to 0.05, or one over the number of periods")
    P = np.array([_picked(view, names) for view in views])
    spread = tau * np.einsum("ki,ij,kj->k", P, sigma, P)
    if (spread <= 0).any():
        raise BadInput("a view is on a portfolio without risk, which no belief can move")
    confidence = [_confidence(v, s) for v, s in zip(views, spread, strict=True)]
    said = [_equation(p, v.value) for p, v in zip(P, views, strict=True)]
    labels = [[f"x{i}" for i in range(len(names))]]  # a ticker may hold a minus sign
    model = BlackLitterman(said, groups=labels, prior_estimator=Given(mu, sigma), tau=tau, view_confidences=confidence)
    found = model.fit(np.zeros((2, len(names)))).return_distribution_
    return found.mu, found.covariance


def _picked(view: View, names: Sequence[str]) -> Array:
    for name in view.portfolio:
        if name not in names:
            raise UnknownName.of("name of the portfolio (in views)", str(name), names)
    p = np.array([view.portfolio.get(name, 0.0) for name in names])
    if not p.any():
        raise BadInput(f"the view on {view.assets!r} has weights of 0 only")
    return p


def _confidence(view: View, spread: float) -> float:
    if view.confidence is not None:
        return view.confidence
    return 0.5 if view.variance is None else 1 / (1 + view.variance / spread)


def _equation(p: Array, value: float) -> str:
    """A view in the words of skfolio, which reads no exponents."""

    def plain(x: float) -> str:
        return np.format_float_positional(abs(x), trim="0")

    terms = [f"{'-' if x < 0 else '+'} {plain(x)} * x{i}" for i, x in enumerate(p) if x]
    return f"{' '.join(terms).removeprefix('+ ')} == {'-' if value < 0 else ''}{plain(value)}"
