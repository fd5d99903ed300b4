"""What a portfolio may hold: limits on positions, sectors, turnover and the sum, and which of them contradict."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.errors import BadInput, UnknownName

Array = NDArray[np.float64]
By = float | Mapping[str, float]  # one number for all names, or one for each
POSITION = 0.10  # of the wealth in one name, where a data door is not told otherwise
TOLERANCE = 1e-6  # by which a solver may miss a limit, as a fraction of wealth


@dataclass(frozen=True)
class Constraints:
    r"""What weights must satisfy; a fraction of wealth everywhere.

    Parameters
    ----------
    lower, upper : least and largest weight of a name, or of each name by a mapping (others then have 0 and the
        default). Long-only unless `lower` says otherwise; `math.inf` is no limit. `upper` None is the default of the
        door: 10 % for data, 100 % for given numbers.
    budget : sum of the weights; None leaves it free. Kelly may hold less, the rest is cash.
    sectors : name -> sector; None takes the GICS sectors of the packaged shares.
    sector_cap : largest sum of weights in one sector, or in each that a mapping names.
    previous : weights now held, others 0; None where nothing is.
    turnover : largest one-way turnover :math:`\tfrac12 \sum_i |w_i - w_i^0|`.
    cost_bps : cost of what is traded, basis points a side; it lowers the expected return where the method has one.
    holding : sessions over which the cost is earned back, as the expected return is one of a session.

    Raises
    ------
    BadInput
        A number that cannot be meant, a lower limit above the upper one, a turnover limit without `previous`.
    """

    lower: By = 0.0
    upper: By | None = None
    budget: float | None = 1.0
    sectors: Mapping[str, str] | None = None
    sector_cap: By | None = None
    previous: Mapping[str, float] | None = None
    turnover: float | None = None
    cost_bps: float = 0.0
    holding: int = 21

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "budget", "sector_cap", "previous", "turnover", "cost_bps", "holding"):
            value = getattr(self, name)
            for number in value.values() if isinstance(value, Mapping) else () if value is None else np.ravel(value):
                if not isinstance(number, int | float | np.number) or math.isnan(number):
                    raise BadInput(f"{name} holds {number!r}, which is no number; give a fraction of wealth")
        for name in ("turnover", "cost_bps"):
            if (getattr(self, name) or 0) < 0:
                raise BadInput(f"{name} {getattr(self, name)} is negative; give 0 or more")
        if self.turnover is not None and self.previous is None:
            raise BadInput("a turnover limit needs the weights now held; give previous={ticker: weight}")
        if self.holding < 1 or (self.budget is not None and not math.isfinite(self.budget)):
            raise BadInput(f"holding {self.holding} and budget {self.budget}: give sessions from 1, and a finite sum")


@dataclass(frozen=True, eq=False)
class Limits:
    """Constraints written out for n names: lower, upper, previous (n,), A (m, n) and b (m,) of the sectors."""

    lower: Array
    upper: Array
    budget: float | None
    A: Array
    b: Array
    sectors: tuple[str, ...]
    previous: Array
    turnover: float | None
    cost: float

    def scaled(self, by: float) -> "Limits":
        """The same limits for weights that are multiplied by `by`."""
        turnover = None if self.turnover is None else self.turnover * by
        budget = None if self.budget is None else self.budget * by
        arrays = {name: getattr(self, name) * by for name in ("lower", "upper", "b", "previous")}
        return dataclasses.replace(self, turnover=turnover, budget=budget, **arrays)

    def long(self) -> "Limits":
        """The same without room for short positions; then no name can have more than the budget."""
        upper = self.upper if self.budget is None else np.minimum(self.upper, max(self.budget, 0.0))
        return dataclasses.replace(self, lower=np.maximum(self.lower, 0.0), upper=upper)

    def keywords(self, *, cash: bool = False) -> dict[str, Any]:
        """What the estimators of skfolio call them; with `cash` the budget is the most that may be invested."""
        low, high = np.isfinite(self.lower).all(), np.isfinite(self.upper).all()
        rows = [(self.A, self.b)] if len(self.b) else []
        if not low:  # skfolio takes no infinities: those that are finite become rows
            chosen = np.isfinite(self.lower)
            rows += [(-np.eye(len(chosen))[chosen], -self.lower[chosen])] if chosen.any() else []
        if not high:
            chosen = np.isfinite(self.upper)
            rows += [(np.eye(len(chosen))[chosen], self.upper[chosen])] if chosen.any() else []
        words: dict[str, Any] = {
            "min_weights": self.lower if low else None,
            "max_weights": self.upper if high else None,
            "budget": None if cash else self.budget,
            "max_budget": self.budget if cash else None,
        }
        if rows:
            words |= {"left_inequality": np.vstack([a for a, _ in rows])}
            words |= {"right_inequality": np.concatenate([b for _, b in rows])}
        if self.cost:
            words |= {"transaction_costs": self.cost, "previous_weights": self.previous}
        if self.turnover is not None:
            words |= {"add_constraints": self._traded(fixed=not cash and self.budget is not None)}
        return words

    def _traded(self, *, fixed: bool) -> Callable[[Any], Any]:
        """Turnover as a constraint; where a method scales its variable, its sum tells by how much."""
        import cvxpy as cp

        def within(w: Any) -> Any:
            assert self.turnover is not None
            scale = cp.sum(w) / self.budget if fixed and self.budget else 1
            return cp.norm1(w - self.previous * scale) <= 2 * self.turnover * scale

        return within

    def broken(self, weights: Array) -> dict[str, float]:
        """Which limits weights miss by more than `TOLERANCE`, and by how much."""
        gap = {
            "position limits": float(max((self.lower - weights).max(), (weights - self.upper).max())),
            "budget": 0.0 if self.budget is None else abs(float(weights.sum()) - self.budget),
            "sector caps": float((self.A @ weights - self.b).max()) if len(self.b) else 0.0,
            "turnover": 0.0 if self.turnover is None else self.traded(weights) - self.turnover,
        }
        return {name: by for name, by in gap.items() if by > TOLERANCE}

    def traded(self, weights: Array) -> float:
        """One-way turnover from what is held."""
        return float(np.abs(weights - self.previous).sum()) / 2

    def conflict(self) -> list[str] | None:
        """Limits that contradict: each named one makes room if it goes; None where all can be met, [] if none helps."""
        import cvxpy as cp

        w = cp.Variable(len(self.lower))
        parts: dict[str, list[Any]] = {"position limits": self._boxes(w)}
        if self.budget is not None:
            parts["budget"] = [cp.sum(w) == self.budget]
        if len(self.b):
            parts["sector caps"] = [self.A @ w <= self.b]
        if self.turnover is not None:
            parts["turnover"] = [cp.norm1(w - self.previous) <= 2 * self.turnover]

        def possible(without: str) -> bool:
            rest = [c for name, found in parts.items() if name != without for c in found]
            problem = cp.Problem(cp.Minimize(cp.norm1(w)), rest)  # bounded, so that only feasibility decides
            problem.solve(solver="CLARABEL")
            return problem.status in ("optimal", "optimal_inaccurate")

        return None if possible("") else [name for name in parts if possible(name)]

    def _boxes(self, w: Any) -> list[Any]:
        low, high = np.isfinite(self.lower), np.isfinite(self.upper)
        found = [w[low] >= self.lower[low]] if low.any() else []
        return found + ([w[high] <= self.upper[high]] if high.any() else [])


def written(limits: Constraints, names: Sequence[str], *, position: float) -> tuple[Limits, list[str]]:
    """Write constraints out for `names`, and say what was relaxed; `position` is the default upper limit."""
    n, notes = len(names), []
    upper = limits.upper
    room = 1.0 if limits.budget is None else limits.budget
    if upper is None and n * position < room - TOLERANCE:
        upper = min(1.0, 2 * room / n)
        notes.append(
            f"a limit of {position:.0%} a position cannot hold {room:.0%} in {n} names: relaxed to {upper:.0%}"
        )
    elif upper is None:
        upper = position
    low, high = _each(limits.lower, names, "lower", 0.0), _each(upper, names, "upper", position)
    if (low > high).any():
        raise BadInput(f"lower lies above upper for {names[int(np.argmax(low > high))]}; swap or widen them")
    if limits.budget is not None and n * float(high.max()) < room * (1 + TOLERANCE) and np.ptp(high) == 0:
        notes.append(f"a limit of {high[0]:.0%} a position leaves {n} names no choice but equal weights")
    A, b, sectors = _sectors(limits, names)
    previous = np.zeros(n) if limits.previous is None else _each(dict(limits.previous), names, "previous", 0.0)
    cost = limits.cost_bps / 1e4 / limits.holding
    return Limits(low, high, limits.budget, A, b, sectors, previous, limits.turnover, cost), notes


def _each(value: By, names: Sequence[str], what: str, default: float) -> Array:
    if not isinstance(value, Mapping):
        return np.full(len(names), float(value))
    for name in value:
        if name not in names:
            raise UnknownName.of(f"name of the portfolio (in {what})", str(name), names)
    return np.array([float(value.get(name, default)) for name in names])


def _sectors(limits: Constraints, names: Sequence[str]) -> tuple[Array, Array, tuple[str, ...]]:
    if limits.sector_cap is None:
        return np.zeros((0, len(names))), np.zeros(0), ()
    from mltrainer.data.universes import SECTORS

    sector = SECTORS if limits.sectors is None else limits.sectors
    lacking = [name for name in names if name not in sector]
    if lacking:
        raise BadInput(f"no sector is known of {', '.join(lacking[:5])}; give sectors={{name: sector}}")
    present = list(dict.fromkeys(sector[name] for name in names))
    cap = limits.sector_cap
    if isinstance(cap, Mapping):
        for name in cap:
            if name not in present:
                raise UnknownName.of("sector", str(name), present)
        present = [s for s in present if s in cap]
    b = np.array([float(cap[s] if isinstance(cap, Mapping) else cap) for s in present])
    A = np.array([[float(sector[name] == s) for name in names] for s in present]).reshape(len(present), len(names))
    return A, b, tuple(present)


def sector_weights(weights: "pd.Series[float]", sectors: Mapping[str, str]) -> "pd.Series[float]":
    """Sum of weights by sector, the largest first; names without one are "other"."""
    return weights.groupby([sectors.get(str(name), "other") for name in weights.index]).sum().sort_values()[::-1]
