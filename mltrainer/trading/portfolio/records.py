"""What is believed and what is decided: a view on expected returns, and an allocation with what it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mltrainer import views
from mltrainer.errors import BadInput
from mltrainer.trust.provenance import Provenance

Array = NDArray[np.float64]
Weights = pd.Series  # (n,) float by name
UNPROVEN = "computed from given numbers, whose origin nobody has shown: no recommendation may rest on it"


@dataclass(frozen=True)
class View:
    r"""What is believed of the expected return of a name, or of a portfolio of names.

    .. math:: p'\mu = q + \epsilon

    Parameters
    ----------
    assets : a name, or name -> weight of the portfolio p that the view is about; weights that sum to 0 compare.
    value : q, its expected simple return per period of the covariance (a session in the data door).
    variance : :math:`\omega`, the variance of :math:`\epsilon`, in the same unit squared.
    confidence : from 0 to 1, Idzorek's: the share of the way from the prior to a view held for certain. With neither,
        :math:`\omega = \tau p'\Sigma p`, as He and Litterman have it.

    References
    ----------
    He and Litterman (1999), *The Intuition Behind Black-Litterman Model Portfolios*; Idzorek (2005), *A Step-by-Step
    Guide to the Black-Litterman Model*.
    """

    assets: str | Mapping[str, float]
    value: float
    variance: float | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.value) or not self.portfolio or not all(np.isfinite(list(self.portfolio.values()))):
            raise BadInput(f"the view on {self.assets!r} holds no finite number; give names, weights and a return")
        if self.variance is not None and self.confidence is not None:
            raise BadInput(f"the view on {self.assets!r} has a variance and a confidence; give one of them")
        if self.variance is not None and not 0 <= self.variance < np.inf:
            raise BadInput(f"variance {self.variance} of a view is negative or not finite")
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise BadInput(f"confidence {self.confidence} of a view is not from 0 to 1")

    @property
    def portfolio(self) -> dict[str, float]:
        """Name -> weight."""
        return {self.assets: 1.0} if isinstance(self.assets, str) else dict(self.assets)

    @classmethod
    def of_interval(
        cls, assets: str | Mapping[str, float], lower: float, upper: float, *, level: float = 0.9, horizon: int = 1
    ) -> "View":
        r"""Make a view of a forecast's interval for the return over `horizon` sessions.

        .. math:: q = \frac{l + u}{2h}, \qquad \omega = \left(\frac{u - l}{2 h\, z_{(1 + c)/2}}\right)^2

        An interval that holds the outcome is wider than one that holds the mean, so such a view is a cautious one.

        >>> View.of_interval("AAPL", -0.02, 0.04, horizon=4).value
        0.0025
        """
        if not lower < upper or not 0 < level < 1 or horizon < 1:
            raise BadInput(f"no interval runs from {lower} to {upper} with level {level} over {horizon} sessions")
        z = float(stats.norm.ppf((1 + level) / 2))
        return cls(assets, (lower + upper) / 2 / horizon, variance=((upper - lower) / 2 / horizon / z) ** 2)


def risk_contributions(weights: Array, sigma: Array) -> Array:
    r"""Share of each position in the variance of the book, (n,), summing to 1; NaN where there is no risk.

    .. math:: c_i = w_i (\Sigma w)_i / w'\Sigma w

    References
    ----------
    Maillard, Roncalli and Teïletche (2010), Journal of Portfolio Management 36(4), 60-70.
    """
    marginal = sigma @ weights
    variance = float(weights @ marginal)
    return np.asarray(weights * marginal / variance) if variance > 0 else np.full(len(weights), np.nan)


@dataclass(frozen=True, eq=False)
class Allocation:
    """Weights and what they rest on; figures are those of one period of the covariance (a session in the data door).

    Attributes
    ----------
    method, status : the method asked for; "optimal", "inaccurate" (as the solver says), "projected" (the method knows
        no limits: the nearest portfolio within them) or "fallback: ..." with the method that stood in.
    weights : (n,) fractions of wealth by name; cash is what they leave.
    risk_contributions : (n,) shares of the variance, summing to 1.
    expected_return, volatility : of the book, simple return; before costs.
    value_at_risk, expected_shortfall : at 5 %, positive losses, of the book held through the returns the covariance
        is of, or of a normal one where none were given (a note says so).
    turnover, cost : one-way turnover from what was held, and what it costs once, as fractions of wealth.
    mu, sigma : (n,), (n, n) what was believed, views included.
    as_of, sessions : last session used and number of returns; "" and 0 where numbers were given.
    notes : everything that was assumed, relaxed or went wrong.
    provenance : of the closes; None where numbers were given.
    """

    method: str
    status: str
    weights: "Weights[float]"
    risk_contributions: "Weights[float]"
    expected_return: float
    volatility: float
    value_at_risk: float
    expected_shortfall: float
    turnover: float
    cost: float
    mu: "Weights[float]"
    sigma: pd.DataFrame
    as_of: str = ""
    sessions: int = 0
    notes: tuple[str, ...] = ()
    provenance: Provenance | None = None

    @property
    def cash(self) -> float:
        """What the weights leave of the wealth; negative where it is borrowed."""
        return 1 - float(self.weights.sum())

    @property
    def mode(self) -> str:
        """Which kind of data it rests on: "sample", "live", "replay", or "unproven" for given numbers."""
        return self.provenance.mode if self.provenance else "unproven"

    @property
    def frame(self) -> pd.DataFrame:
        """(n, 4) of weight, risk contribution, expected return and volatility by name, the largest first."""
        volatility = np.sqrt(np.diag(self.sigma))
        columns = {"weight": self.weights, "risk": self.risk_contributions, "expected_return": self.mu}
        return pd.DataFrame(columns | {"volatility": volatility}).sort_values("weight", ascending=False, kind="stable")

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        names = "method status mode as_of sessions expected_return volatility value_at_risk expected_shortfall"
        said = {name: getattr(self, name) for name in f"{names} turnover cost cash".split()}
        rows = self.frame.rename_axis("name").reset_index().to_dict("records")
        origin = (
            {"content": self.provenance.content_sha256, "source": self.provenance.source} if self.provenance else {}
        )
        return said | {"rows": rows, "notes": list(self.notes), "provenance": origin}

    def __repr__(self) -> str:
        """Say it in one line."""
        held = int((self.weights.abs() > 5e-4).sum())
        of = f"as of {self.as_of}, {self.mode}" if self.provenance else "of given numbers, origin unproven"
        top = int(self.weights.abs().argmax())
        return (
            f"Allocation({self.method} {of}: {held} of {len(self.weights)} names, largest {self.weights.index[top]} "
            f"{self.weights.iloc[top]:.1%}, volatility {self.volatility:.2%} a period, {self.status})"
        )

    def _repr_html_(self) -> str:
        """Banner, figures, weights and notes; everything in it is escaped."""
        percent, period = views.percent, "a session" if self.provenance else "a period"
        head = views.banner(self.mode, self.as_of) if self.provenance else views.asides([UNPROVEN])
        figures = views.figures(
            [
                ("Volatility, %", percent(self.volatility), period),
                ("Expected return, %", views.number(self.expected_return * 100), period),
                ("Value at risk, %", percent(self.value_at_risk), f"5 %, {period}"),
                ("Expected shortfall, %", percent(self.expected_shortfall), f"5 %, {period}"),
                ("Cash, %", percent(self.cash), "of the wealth"),
            ]
        )
        rows = [
            (str(name), *(100 * v for v in row))
            for name, row in zip(self.frame.index, self.frame.to_numpy(), strict=True)
        ]
        heads = ("Name", "Weight, %", "Share of risk, %", "Expected return, %", "Volatility, %")
        table = views.table(rows, heads, caption=f"{self.method}: {self.status}", write=views.fixed(3))
        return head + figures + table + views.asides(self.notes)
