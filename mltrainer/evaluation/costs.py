"""What trading costs, flat or in parts: half-spread, commission, impact, borrow, and what cash would have earned."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.errors import BadInput, Unavailable
from mltrainer.features.matrix import Matrix

GRID = (0.0, 1.0, 5.0, 10.0, 25.0)  # basis points per side, at which every page says what is left
MONTH = 21
SPREADS = ("quoted_spread", "spread_edge_21")  # features, the better one first


@dataclass(frozen=True)
class Costs:
    r"""What one unit of position pays; each part is said apart in `Costs.parts`.

    .. math:: c_t = (s_t + k) |\Delta w_t| + \kappa \sigma_t \sqrt{|\Delta w_t| C / V_t} |\Delta w_t| + b \max(-w_t, 0)

    Parameters
    ----------
    half_spread_bps : s, half of the bid-ask spread in basis points; None takes that of each session: of quotes where
        the matrix has them, else the 21-session estimate EDGE (Ardia, Guidotti and Kroencke, 2024) from its bars.
    commission_bps : k, per side.
    impact : kappa, of the square-root law (about 1 for a day's trading: Almgren et al., 2005; Toth et al., 2011); 0
        leaves it out.
    capital : C, dollars that one unit of position is; what impact depends on.
    borrow_bps : b, fee for a short position, in basis points a year.
    risk_free : whether returns are in excess of the Treasury bill's, which cash would have earned; the matrix must
        have the rate on every session.

    Notes
    -----
    sigma is the 21-session volatility of a session, V the mean dollar volume of 21 sessions, both as known at the close
    before. EDGE is an upper bound for large shares: of MSFT in 2000 to 2012 it makes half a spread 25 basis points,
    where its quotes would have said about one. Where a session's spread is not known yet, or its estimate is zero, the
    median of those known so far counts.
    """

    half_spread_bps: float | None = None
    commission_bps: float = 0.0
    impact: float = 0.0
    capital: float = 0.0
    borrow_bps: float = 0.0
    risk_free: bool = False

    def __post_init__(self) -> None:
        for name in ("half_spread_bps", "commission_bps", "impact", "capital", "borrow_bps"):
            value = getattr(self, name)
            fine = isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) < np.inf
            if not (fine or (name == "half_spread_bps" and value is None)):
                raise BadInput(f"costs {name}={str(value)[:60]} is no cost; give a finite number from 0")
        if self.impact and not self.capital:
            raise BadInput("costs impact=... grows with what is traded; give capital, in dollars, as well")

    def parts(self, position: "pd.Series[float]", matrix: Matrix, legs: int = 1) -> pd.DataFrame:
        """Cost of each session, (n, 4) in shares of capital: spread, commission, impact, borrow.

        Parameters
        ----------
        position : (n,) by session, of one ticker; matrix : that ticker's, with its bars among its sources.
        legs : of a trade, each of which costs.

        Raises
        ------
        Unavailable
            The bars have no range (spread) or no volume (impact) from which these could be known.
        """
        traded = position.diff().fillna(position).abs() * legs
        half = self._half_spread(matrix, position.index)
        share = 0.0
        if self.impact:
            bars = _with_volume(matrix)
            known = (bars["close"] * bars["volume"]).rolling(MONTH).mean()
            sigma = matrix.scale.loc[position.index] / np.sqrt(matrix.horizon)
            share = self.impact * sigma * np.sqrt(traded * self.capital / known.shift(1).loc[position.index])
        parts = {
            "spread": half * traded,
            "commission": self.commission_bps / 1e4 * traded,
            "impact": share * traded,
            "borrow": self.borrow_bps / 1e4 / metrics.SESSIONS * position.clip(upper=0).abs() * legs,
        }
        return pd.DataFrame(parts, index=position.index)

    def cash(self, matrix: Matrix, index: pd.Index) -> "pd.Series[float]":
        """Return of a Treasury bill in each session, (n,); zero where it is not asked for."""
        if not self.risk_free:
            return pd.Series(0.0, index)
        if "bill_rate" not in matrix.X:
            why = matrix.unavailable.get("bill_rate", "it is not among its features")
            raise Unavailable(f"costs risk_free=True needs the bill rate of every session of {matrix.name}: {why}")
        return matrix.X.loc[index, "bill_rate"] / metrics.SESSIONS

    def _half_spread(self, matrix: Matrix, index: pd.Index) -> "pd.Series[float]":
        if self.half_spread_bps is not None:
            return pd.Series(self.half_spread_bps / 1e4, index)
        name = next((name for name in SPREADS if name in matrix.X), None)
        if name is None:
            why = matrix.unavailable.get(SPREADS[-1], "it is not among its features")
            raise Unavailable(f"a spread of {matrix.name} cannot be estimated: {why}; give half_spread_bps")
        known = matrix.X.loc[index, name].where(lambda s: s > 0)
        return known.fillna(known.expanding().median()).bfill() / 2


def _with_volume(matrix: Matrix) -> pd.DataFrame:
    frame = next((d.frame for d in matrix.sources if d.kind == "bars" and d.name == matrix.name), None)
    if frame is None or "volume" not in frame:
        raise Unavailable(f"market impact on {matrix.name} cannot be known: its bars have no volume; leave impact out")
    return frame


def sensitivity(forecasts: pd.DataFrame, legs: int = 1) -> pd.DataFrame:
    """What is left at other costs, one row for each of `GRID` basis points per side: sharpe and annual_return.

    Parameters
    ----------
    forecasts : of one evaluation, with position and gross.
    """
    traded = np.abs(np.diff(forecasts["position"].to_numpy(float), prepend=0.0)) * legs
    gross = forecasts["gross"].to_numpy(float)
    net = {bps: gross - bps / 1e4 * traded for bps in GRID}
    return pd.DataFrame(
        {"sharpe": [metrics.sharpe(n) for n in net.values()],
         "annual_return": [metrics.annual_return(n) for n in net.values()]},
        index=pd.Index(GRID, name="cost_bps"),
    )  # fmt: skip


def capacity(forecasts: pd.DataFrame, matrix: Matrix, impact: float = 1.0) -> float:
    """Dollars at which the square-root impact of its own trades eats what a model earned; NaN where it earned nothing.

    The impact of capital C costs sqrt(C) times that of one dollar, so C is the square of what was earned, before
    impact, over the impact of one dollar.
    """
    earned = float(forecasts["net"].sum())
    unit = Costs(0.0, impact=impact, capital=1.0).parts(forecasts["position"], matrix)["impact"].sum()
    return float((earned / unit) ** 2) if earned > 0 and unit > 0 else float("nan")
