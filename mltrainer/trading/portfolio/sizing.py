"""How large is each position, once its direction is known? A row for each rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.errors import BadInput, UnknownName
from mltrainer.metrics import SESSIONS
from mltrainer.trading.portfolio import inputs
from mltrainer.trading.portfolio.limits import POSITION

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sizes:
    """Positions (n,) as signed fractions of wealth, the rule, and what had to give way."""

    rule: str
    weights: "pd.Series[float]"
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say it in one line."""
        gross = float(self.weights.abs().sum())
        return f"Sizes({self.rule}: {int((self.weights != 0).sum())} positions, {gross:.1%} of wealth)"


@dataclass(frozen=True, eq=False)
class Signal:
    """What the rules read: direction (n,) of -1, 0, 1; confidence (n,), mu (n,) and sigma (n, n) where known."""

    direction: Array
    confidence: Array | None
    mu: Array | None
    sigma: Array | None
    target: float
    fraction: float


def _equal(s: Signal) -> Array:
    return np.asarray(s.direction / max(1, int(np.count_nonzero(s.direction))))


def _confident(s: Signal) -> Array:
    c = np.abs(s.direction) * _needed(s.confidence, "confidence")
    if (c < 0).any():
        raise BadInput("a confidence is negative; give 0 or more, and the side in direction")
    total = float(c.sum())
    return s.direction * c / total if total > 0 else c


def _on_target(s: Signal) -> Array:
    sigma = _needed(s.sigma, "sigma")
    w = s.direction / np.sqrt(np.diag(sigma))
    risk = (max(float(w @ sigma @ w), 0.0) * SESSIONS) ** 0.5
    return np.asarray(w * s.target / risk) if risk > 0 else np.zeros(len(w))


def _kelly(s: Signal) -> Array:
    """Each position as if it were the only one: correlated ones are then too large together, never too small."""
    variance = np.diag(_needed(s.sigma, "sigma"))
    return np.asarray(np.abs(s.direction) * s.fraction * _needed(s.mu, "mu") / variance)


def _needed(value: Array | None, what: str) -> Array:
    if value is None:
        raise BadInput(f"this rule needs {what}; give {what}=")
    return value


# name -> (rule, formula and reference)
SIZES: dict[str, tuple[Callable[[Signal], Array], str]] = {
    "equal": (_equal, r"d_i / n"),
    "confidence": (_confident, r"d_i c_i / \sum_j c_j"),
    "volatility-target": (
        _on_target,
        r"k d_i / \sigma_i, \sqrt{252\, w'\Sigma w} = \sigma^*; Moreira and Muir (2017), Journal of Finance 72(4)",
    ),
    "kelly": (_kelly, r"f \mu_i / \sigma_i^2; Thorp (2006), The Kelly Criterion in Blackjack, Sports Betting ..."),
}


def size(
    direction: Any,
    *,
    rule: str = "equal",
    confidence: Any = None,
    mu: Any = None,
    sigma: Any = None,
    target: float = 0.10,
    fraction: float = 0.5,
    position: float = POSITION,
    gross: float = 1.0,
) -> Sizes:
    """Positions for given directions, none above `position`, together at most `gross`.

    Parameters
    ----------
    direction : (n,) by name: the sign of each position; 0 is none.
    rule : "equal", "confidence", "volatility-target" or "kelly".
    confidence : (n,) of 0 or more, in any unit.
    mu, sigma : (n,), (n, n) expected excess returns and covariance per session; the sign of mu decides for Kelly.
    target : annual volatility of the book, for "volatility-target".
    fraction : of full Kelly.
    position, gross : limits on one position and on the sum of all, fractions of wealth. Where one binds, all positions
        are made smaller by the same factor, and a note says so.

    Returns
    -------
    Sizes

    >>> size({"AAPL": 1, "MSFT": -1}, rule="confidence", confidence={"AAPL": 0.9, "MSFT": 0.3}, position=1).weights
    AAPL    0.75
    MSFT   -0.25
    dtype: float64
    """
    if rule not in SIZES:
        raise UnknownName.of("rule of position size", str(rule), SIZES)
    if not (0 < target < np.inf and 0 < fraction <= 1 and position > 0 and gross > 0):
        raise BadInput("target, fraction, position and gross are above 0, and fraction is at most 1")
    named = isinstance(direction, pd.Series | Mapping)
    names = [str(x) for x in (direction.keys() if named else range(1, len(direction) + 1))]
    signs = np.sign(inputs.vector(direction, names, "direction"))
    c, m = (None if v is None else inputs.vector(v, names, w) for v, w in ((confidence, "confidence"), (mu, "mu")))
    S = None if sigma is None else inputs.covariance(sigma, names)
    weights = SIZES[rule][0](Signal(signs, c, m, S, target, fraction))
    notes = []
    for limit, by, words in ((position, np.abs(weights).max(initial=0), "a position"), (gross, 0.0, "all positions")):
        by = by or float(np.abs(weights).sum())
        if by > limit * (1 + 1e-12):
            weights = weights * (limit / by)
            notes.append(f"{words} would be {by:.1%}, above {limit:.0%}: all are made smaller, by {limit / by:.2f}")
    return Sizes(rule, pd.Series(weights, names), tuple(notes))
