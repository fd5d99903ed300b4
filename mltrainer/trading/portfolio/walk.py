"""Does a method of portfolios beat 1/N? Each is walked forward, net of costs, and nobody is told what luck decides."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer import metrics, views
from mltrainer.data.dates import Day, day
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.trading.portfolio.inputs import CLOSES, LEAST, Inputs, closes
from mltrainer.trading.portfolio.limits import Constraints
from mltrainer.trading.portfolio.methods import METHODS, Method, method
from mltrainer.trading.portfolio.optimize import Belief, posed
from mltrainer.trading.portfolio.solving import solve
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset, Provenance

Array = NDArray[np.float64]
NAIVE = "equal-weight"
HOLD, HELD_BACK = "buy-and-hold", " at "
# Without views, mean-variance and Black-Litterman give the reference portfolio back, which is 1/N.
CONTENDERS = tuple(
    name
    for name in METHODS
    if name not in ("mean-variance", "maximum-sharpe", "black-litterman", "risk-budgeting", "benchmark-tracking")
)
COLUMNS = "method annual_return volatility sharpe max_drawdown turnover cost best calmest fallbacks".split()


@dataclass(frozen=True, eq=False)
class Contest:
    """Methods over the same sessions, net of costs.

    Attributes
    ----------
    rows : columns `COLUMNS`: compound return, volatility, Sharpe ratio, one-way turnover and costs a year, largest loss
        from a peak; `best` and `calmest` say which are in the confidence sets of utility and of risk, the latter
        without those that hold cash for it; `fallbacks` counts rebalances at which something else stood in.
    returns : (t, k) net simple returns by session and method.
    level : of the confidence sets.
    provenance : of the closes.
    exposure : (t, k) share of the wealth that is in shares after the trades of a session, the rest is cash.
    """

    rows: pd.DataFrame
    returns: pd.DataFrame
    level: float
    provenance: Provenance
    exposure: pd.DataFrame

    def sentence(self) -> str:
        """What can be told apart from 1/N, and what cannot."""
        best, others = self._in("best"), [m for m in self.rows["method"] if m != NAIVE]
        if NAIVE in best:
            same, worse = [m for m in others if m in best], [m for m in others if m not in best]
            said = f"Indistinguishable from 1/N: {', '.join(same) or 'none'}"
            said += f"; worse than the best: {', '.join(worse)}." if worse else "."
        else:
            said = f"1/N is told apart from the best: {', '.join(best)}."
        return f"{said} Least risk, as far as can be told: {', '.join(self._in('calmest'))}."

    def _shown(self, methods: Sequence[str]) -> list[str]:
        return list(methods) or list(map(str, self.returns))

    def _in(self, column: str) -> list[str]:
        return list(self.rows.loc[self.rows[column], "method"])

    def to_dict(self) -> dict[str, Any]:
        """The rows and what they say, for JSON."""
        start, end = (str(self.returns.index[i].date()) for i in (0, -1))
        said = {"indistinguishable_from_equal_weight": NAIVE in self._in("best"), "sentence": self.sentence()}
        head = {"start": start, "end": end, "mode": self.provenance.mode, "content": self.provenance.content_sha256}
        return {**head, "level": self.level, **said, "rows": self.rows.to_dict("records")}

    def figure(self, *methods: str) -> Any:
        """Wealth of every method, or of those named."""
        corner = f"{self.provenance.mode} data, net of costs, sessions to {self.returns.index[-1].date()}"
        return views.wealth(self.returns[self._shown(methods)], self.sentence(), corner)

    def fallen(self, *methods: str) -> Any:
        """Loss from the last peak of every method, or of those named."""
        shown = self._shown(methods)
        most = self.rows.set_index("method")["max_drawdown"][shown]
        title = "; ".join(f"{name} lost {most[name]:.0%}" for name in shown) + " from a peak"
        corner = f"{self.provenance.mode} data, net of costs, sessions to {self.returns.index[-1].date()}"
        return views.drawdowns(self.returns[shown], title, corner)

    def __repr__(self) -> str:
        """Say it in one line."""
        span = f"{self.returns.index[0].date()} to {self.returns.index[-1].date()}, {self.provenance.mode}"
        return f"Contest({len(self.rows)} methods, {span}: {self.sentence()})"

    def _repr_html_(self) -> str:
        return self.rows.to_html(index=False, float_format="{:.3g}".format)


def walk_forward(
    data: Any,
    *,
    methods: Sequence[str] = CONTENDERS,
    sessions: int = 756,
    every: int = 21,
    cost_bps: float = 10.0,
    constraints: Constraints | None = None,
    start: Day = None,
    end: Day = None,
    volatility_target: float | None = None,
    risk_aversion: float = 2.5,
    size: float = 0.10,
) -> Contest:
    r"""Walk methods forward: weights from the past `sessions`, held for `every`, net of costs, 1/N among them.

    Weights of session t use closes up to t, are traded at the close of t + 1, and drift until the next trade. The
    confidence sets (Hansen, Lunde and Nason, 2011) compare the losses :math:`\tfrac{\delta}{2} r^2 - r` (`best`) and
    :math:`r^2` (`calmest`), averaged over `every` sessions.

    Parameters
    ----------
    data : tickers, a `universe`, bars, or sealed closes.
    methods : names of `METHODS`; 1/N, and 1/N bought once and held, are added.
    sessions, every : returns a covariance is estimated on; sessions between trades.
    cost_bps : of what is traded, basis points a side.
    start, end : first and last session of the walk; default all that the history allows.
    volatility_target : annual; adds 1/N with as much cash as keeps its forecast volatility (EWMA) at the target. It is
        never borrowed, so a calm market leaves it below.
    size : of the confidence sets, which hold the best with chance 1 - `size`.

    Returns
    -------
    Contest

    References
    ----------
    DeMiguel, Garlappi and Uppal (2009), Review of Financial Studies 22(5), 1915-1953.
    """
    rows = [Contender(name, method(name)) for name in dict.fromkeys([NAIVE, *methods])]
    rows.append(Contender(HOLD, METHODS[NAIVE], trades=False))
    if volatility_target is not None:
        if not 0 < volatility_target < np.inf:
            raise BadInput(f"volatility_target {volatility_target} is not above 0; 0.10 is 10 % a year")
        rows.append(Contender(f"{NAIVE}{HELD_BACK}{volatility_target:.0%}", METHODS[NAIVE], volatility_target))
    if sessions < LEAST or every < 1 or not 0 < size < 1 or not 0 <= cost_bps < 1e4:
        raise BadInput(f"sessions from {LEAST}, every from 1, a size in (0, 1) and a cost from 0 make a walk")
    sealed = data if isinstance(data, Dataset) and data.kind == CLOSES else closes(data, as_of=end)
    origin = gate.verify(sealed, "optimize")
    frame = sealed.frame.loc[: day(end, "end")].pct_change().iloc[1:]
    first = max(sessions, int(frame.index.searchsorted(day(start, "start") or frame.index[0])))
    if len(frame) < first + 2 + every:
        raise NotEnoughHistory(f"{len(frame)} returns hold no walk of {sessions} and {every} more; give a longer span")
    past = Past.of(frame, origin, sessions, constraints or Constraints())
    found = {row.name: walked(row, past, first, every, cost_bps) for row in rows}
    net = pd.DataFrame({name: w.net for name, w in found.items()}, index=frame.index[first + 1 :])
    exposure = pd.DataFrame({name: w.exposure for name, w in found.items()}, index=net.index)
    return Contest(_table(found, net, every, risk_aversion, size), net, 1 - size, origin, exposure)


@dataclass(frozen=True)
class Contender:
    """A method that is walked: with `target` an annual volatility above which cash is held; traded once or often."""

    name: str
    row: Method
    target: float | None = None
    trades: bool = True


@dataclass(frozen=True, eq=False)
class _Walk:
    net: Array
    exposure: Array
    decided: dict[int, Array]  # session at whose close -> weights
    traded: float  # one-way, of all trades after the first
    paid: float
    fallbacks: int


@dataclass(frozen=True, eq=False)
class Past:
    """Returns R (t, n) and those of the benchmark, and what is decided at the close of a session from those before."""

    names: tuple[str, ...]
    R: Array
    benchmark: Array | None
    sessions: int
    constraints: Constraints
    origin: Provenance | None

    @classmethod
    def of(cls, frame: pd.DataFrame, origin: Provenance | None, sessions: int, constraints: Constraints) -> "Past":
        """Split a frame of returns by session."""
        names = tuple(name for name in frame.columns if name != "benchmark")
        mark = frame["benchmark"].to_numpy() if "benchmark" in frame.columns else None
        return cls(names, frame[list(names)].to_numpy(dtype=float), mark, sessions, constraints, origin)

    def decided(self, who: Contender, t: int, held: Array) -> tuple[Array, str]:
        """Weights from the returns up to t, and their status."""
        seen, limits = slice(t + 1 - self.sessions, t + 1), self.constraints
        mark = None if self.benchmark is None else self.benchmark[seen]
        given = Inputs(self.names, self.R[seen], mark, provenance=self.origin)
        if limits.turnover is not None:
            limits = dataclasses.replace(limits, previous=dict(zip(self.names, held, strict=True)))
        belief = Belief(volatility=None if who.target is None else "ewma")
        problem, _ = posed(who.row, given, belief, limits)
        weights, status, _ = solve(who.row, problem)
        if who.target is not None:
            risk = float(weights @ problem.sigma @ weights * metrics.SESSIONS) ** 0.5
            weights = weights * min(1.0, who.target / risk)
        return weights, status


def walked(who: Contender, past: Past, first: int, every: int, bps: float) -> _Walk:
    """Net returns of sessions first + 1 on: what was decided at the close of t earns from t + 2."""
    held, net, exposure, traded, paid, fell = np.zeros(past.R.shape[1]), [], [], [], [], 0
    wanted: Array | None = None
    decided: dict[int, Array] = {}
    for t, r in enumerate(past.R[first:], first):
        if t > first:  # the close of t: earn what was held, then trade what was decided at the close before
            gain, cost = float(held @ r), 0.0
            held = held * (1 + r) / (1 + gain)
            if wanted is not None:
                moved = float(np.abs(wanted - held).sum())
                cost, held, wanted = moved * bps / 1e4, wanted, None
                traded.append(moved / 2)
                paid.append(cost)
            net.append((1 + gain) * (1 - cost) - 1)
            exposure.append(float(held.sum()))
        if (t - first) % every == 0 and (who.trades or t == first):
            wanted, status = past.decided(who, t, held)
            decided[t] = wanted
            fell += status.startswith("fallback")
    return _Walk(np.array(net), np.array(exposure), decided, sum(traded[1:]), sum(paid), fell)


def _table(found: dict[str, _Walk], net: pd.DataFrame, every: int, delta: float, size: float) -> pd.DataFrame:
    r, years = net.to_numpy(), len(net) / metrics.SESSIONS
    best = metrics.confidence_set(delta / 2 * r**2 - r, overlap=every, size=size)
    invested = [HELD_BACK not in name for name in found]
    calm = np.zeros(len(found), dtype=bool)
    calm[invested] = metrics.confidence_set(r[:, invested] ** 2, overlap=every, size=size)
    rows = [
        (
            name, metrics.annual_return(r[:, i]), float(r[:, i].std(ddof=1)) * metrics.SESSIONS**0.5,
            metrics.sharpe(r[:, i]), metrics.max_drawdown(r[:, i]), w.traded / years, w.paid / years, bool(best[i]),
            bool(calm[i]), w.fallbacks,
        )
        for i, (name, w) in enumerate(found.items())
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("sharpe", ascending=False, ignore_index=True)
