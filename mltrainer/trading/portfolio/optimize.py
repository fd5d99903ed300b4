"""From data or numbers to weights: one call, every method, and nothing that went wrong left unsaid."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from skfolio.exceptions import OptimizationError

from mltrainer import metrics
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput, UnknownName
from mltrainer.trading.portfolio import beliefs, inputs
from mltrainer.trading.portfolio.inputs import Inputs
from mltrainer.trading.portfolio.limits import POSITION, Constraints, Limits, written
from mltrainer.trading.portfolio.methods import METHODS, Method, Problem, mean_risk, method
from mltrainer.trading.portfolio.records import UNPROVEN, Allocation, Array, View, risk_contributions

SESSIONS = 756  # three years: long enough for twenty names, short enough to be of today
EXACT = 1e-6  # by which risk contributions may miss their budgets


def optimize(
    data: Any = None,
    *,
    method: str = "risk-parity",
    as_of: Day = None,
    sessions: int = SESSIONS,
    mu: Any = None,
    sigma: Any = None,
    returns: Any = None,
    benchmark: Any = None,
    views: Sequence[View] = (),
    budgets: Any = None,
    constraints: Constraints | None = None,
    expected: str | None = None,
    covariance: str = "ledoit-wolf",
    volatility: Any = None,
    market_weights: Any = None,
    risk_aversion: float = 2.5,
    tau: float = 0.05,
    fraction: float = 0.5,
) -> Allocation:
    """Weights of a portfolio by a named method, within limits, with what they rest on.

    Parameters
    ----------
    data : the data door: tickers, a `universe`, bars, or sealed closes; admitted by the gate. None is the numeric
        door, which takes `mu`, `sigma`, `returns` as given and labels the result as of unproven origin.
    method : a name of `METHODS`: "equal-weight", "inverse-volatility", "minimum-variance", "mean-variance",
        "maximum-sharpe", "maximum-diversification", "risk-parity", "risk-budgeting", "hierarchical-risk-parity",
        "black-litterman", "kelly" or "benchmark-tracking".
    as_of : last session that is used; the answer is the one a run on that day would have given.
    sessions : latest daily returns the covariance is estimated on.
    mu, sigma, returns : (n,), (n, n), (t, n) of one period, simple and in excess of cash; `mu` may also be given to
        the data door, as a forecast per session. Names come from an index or columns.
    benchmark : a ticker, or (t,) returns beside given `returns`.
    views : beliefs that move mu and sigma (Black and Litterman), for methods that use expected returns.
    budgets : shares of the risk by name, for "risk-budgeting".
    constraints : default long-only, fully invested and, in the data door, 10 % a position.
    expected : where mu is not given: "implied" by the reference portfolio (default), "equal", or "historical"
        (default for given returns, which then are the distribution).
    covariance : "ledoit-wolf", "oas" or "sample".
    volatility : forecasts per session by name that replace those of the past, or "ewma"; correlations stay.
    market_weights : the reference portfolio, default equal weights.
    risk_aversion : delta of mean-variance and of implied returns.
    tau : how uncertain the prior mean is, in units of sigma.
    fraction : of full Kelly.

    Returns
    -------
    Allocation
        Weights, risk contributions, figures and notes. Limits that contradict are named, and the nearest thing that
        can be had stands in: minimum variance, within position limits and budget alone if need be.

    Raises
    ------
    Refused
        Data whose origin cannot be shown.
    BadInput
        Numbers that cannot be meant: a sigma that is no covariance, a view on a name that is not there.
    NotEnoughHistory
        Fewer than 60 returns that all names have.

    References
    ----------
    The rows of `METHODS` name theirs.

    >>> import numpy as np
    >>> found = optimize(sigma=np.diag([0.01, 0.04]), method="risk-parity")
    >>> [round(w, 3) for w in found.weights]
    [0.667, 0.333]
    """
    row = _row(method, data, mu, views, budgets)
    _check(risk_aversion, fraction, sessions)
    if data is None:
        given = inputs.of_numbers(mu, sigma, returns, benchmark)
    else:
        if sigma is not None or returns is not None:
            raise BadInput("data and sigma or returns are two doors; give tickers, or numbers, not both")
        given = inputs.of_data(data, as_of=as_of, sessions=sessions, benchmark=benchmark)
    if row.needs == "benchmark" and given.benchmark is None:
        raise BadInput("benchmark-tracking needs a benchmark: a ticker, or its returns beside given returns")
    notes = [*given.notes] if given.provenance else [UNPROVEN, *given.notes]
    n, names = len(given.names), given.names
    cov, said = _risk(given, sigma, covariance, volatility)
    notes += said
    reference = np.full(n, 1 / n) if market_weights is None else inputs.vector(market_weights, names, "market_weights")
    mean, said = _expected(row, given, mu, cov, reference, market_weights is None, risk_aversion, expected)
    notes += said
    if views:
        mean, cov = beliefs.moved(mean, cov, views, names, tau)
    elif row.name == "black-litterman":
        notes.append("no views were given: the prior alone decides")
    position = POSITION if given.provenance else 1.0
    limits, said = written(constraints or Constraints(), names, position=position)
    notes += said
    shares = _budgets(budgets, names)
    problem = Problem(
        names, mean, cov, limits, given.returns, given.benchmark, shares, float(risk_aversion), float(fraction)
    )
    weights, status, said = solve(row, problem)
    return _allocation(row, problem, weights, status, notes + said, given, constraints)


def _row(name: str, data: Any, mu: Any, views: Sequence[View], budgets: Any) -> Method:
    row = method(name)
    if views and not row.believes:
        raise BadInput(f"views do not move {row.name}, which uses no expected returns; take black-litterman")
    if not all(isinstance(v, View) for v in views):
        raise BadInput("views are mt.View(...) records; build one, or one of an interval by View.of_interval")
    if mu is not None and data is not None and row.name == "black-litterman":
        raise BadInput("black-litterman starts from what the market implies; give mu to mean-variance, or views")
    if (budgets is not None) != (row.name == "risk-budgeting"):
        raise BadInput("budgets go with risk-budgeting, and it needs them; risk-parity has equal ones")
    return row


def _check(risk_aversion: float, fraction: float, sessions: int) -> None:
    if not 0 < risk_aversion < np.inf:
        raise BadInput(f"risk_aversion {risk_aversion} is not above 0; 2.5 is what He and Litterman take")
    if not 0 < fraction <= 1:
        raise BadInput(f"fraction {fraction} of Kelly is not above 0 and at most 1; a quarter to a half is usual")
    if isinstance(sessions, bool) or not isinstance(sessions, int) or sessions < inputs.LEAST:
        raise BadInput(f"sessions {sessions!r} is not a whole number of returns from {inputs.LEAST} on")


def _risk(given: Inputs, sigma: Any, how: str, volatility: Any) -> tuple[Array, list[str]]:
    if sigma is not None:
        cov, said = inputs.covariance(sigma, given.names), []
    elif given.returns is None:
        raise BadInput("no risk is known: give sigma=, or returns= that it can be estimated on")
    else:
        cov, said = beliefs.estimated(given.returns, how), [f"covariance: {how}, of {len(given.returns)} returns"]
    if volatility is None:
        return cov, said
    if isinstance(volatility, str):
        if volatility != "ewma" or given.returns is None:
            raise BadInput(f"volatility {volatility!r} is neither 'ewma' of returns nor a number for each name")
        found, words = beliefs.ewma(given.returns), "exponentially weighted, decay 0.94"
    else:
        found, words = inputs.vector(volatility, given.names, "volatility"), "as given"
    return beliefs.rescaled(cov, found), [*said, f"volatilities are forecasts, {words}; correlations are of the past"]


def _expected(
    row: Method, given: Inputs, mu: Any, cov: Array, reference: Array, equal: bool, delta: float, how: str | None
) -> tuple[Array, list[str]]:
    """Expected returns as given, else by a stated prior."""
    if mu is not None:
        said = ["expected returns are given, and nothing shows that they are known"] if given.provenance else []
        return inputs.vector(mu, given.names, "mu"), said if row.believes else []
    if how is None:
        how = "implied" if given.provenance or given.returns is None or row.name == "black-litterman" else "historical"
    if how not in beliefs.EXPECTED:
        raise UnknownName.of("prior of expected returns", str(how), beliefs.EXPECTED)
    rule, words = beliefs.EXPECTED[how]
    stand_in = "; the reference portfolio is equal weights, as no market weights were given"
    used = "" if row.believes else "; the weights do not rest on them"
    return rule(cov, reference, delta, given.returns), [
        f"expected returns {words}{stand_in if equal and how != 'historical' else ''}{used}"
    ]


def _budgets(budgets: Any, names: Sequence[str]) -> Array:
    if budgets is None:
        return np.full(len(names), 1 / len(names))
    found = inputs.vector(budgets, names, "budgets")
    if (found <= 0).any():
        raise BadInput("a risk budget is not above 0; leave out a name that should carry no risk")
    return np.asarray(found / found.sum())


# --- solving --------------------------------------------------------------------------------------------------


def solve(row: Method, problem: Problem) -> tuple[Array, str, list[str]]:
    """Weights within the limits, how they came about ("optimal" ...), and what has to be said of it."""
    try:
        weights, said = fitted(row, problem)
    except (OptimizationError, ValueError) as error:
        return _fallback(row, problem, str(error))
    status = "inaccurate" if said else "optimal"
    broken = problem.limits.broken(weights) if not row.cash else _of_cash(problem.limits, weights)
    if broken:
        return _projected(row, problem, weights, broken, said)
    if row.name in ("risk-parity", "risk-budgeting"):
        gap = float(np.abs(risk_contributions(weights, problem.sigma) - problem.budgets).max())
        if gap > EXACT:
            said.append(f"limits bind: a risk contribution misses its budget by {gap:.2%}")
    return weights, status, said


def _of_cash(limits: Limits, weights: Array) -> dict[str, float]:
    broken = limits.broken(weights)
    if limits.budget is not None and weights.sum() <= limits.budget + EXACT:
        broken.pop("budget", None)
    return broken


def fitted(row: Method, problem: Problem) -> tuple[Array, list[str]]:
    """Fit the estimator of a row; what it or its solver warns of is handed on and not silenced."""
    budget = problem.limits.budget
    scale = (1.0 if budget is None else budget) if row.whole else 1.0
    if scale <= 0:
        raise ValueError(f"it invests the whole budget, and {scale} is none")
    if row.whole and scale != 1:
        problem = dataclasses.replace(problem, limits=problem.limits.scaled(1 / scale))
    elif row.whole and budget is None:
        problem = dataclasses.replace(problem, limits=dataclasses.replace(problem.limits, budget=1.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = row.estimator(problem).fit(problem.scenarios, problem.benchmark)
    said = [f"the solver warns: {str(w.message).partition('.')[0]}" for w in caught]
    return np.asarray(found.weights_, dtype=float) * scale, list(dict.fromkeys(said))


def _projected(
    row: Method, problem: Problem, weights: Array, broken: Mapping[str, float], said: list[str]
) -> tuple[Array, str, list[str]]:
    """The portfolio within the limits that deviates least, in risk, from one that knows none of them."""
    try:
        near, more = fitted(_near(weights), problem)
    except (OptimizationError, ValueError) as error:
        return _fallback(row, problem, str(error))
    words = ", ".join(f"{name} by {by:.2%}" for name, by in broken.items())
    note = f"{row.name} alone misses {words}: these are the weights within the limits that track it closest"
    return near, "inaccurate" if more else "projected", [*said, note, *more]


def _near(weights: Array) -> Method:
    return Method("nearest", "", lambda p: mean_risk(p, target_weights=weights), "", "")


def _fallback(row: Method, problem: Problem, why: str) -> tuple[Array, str, list[str]]:
    """Name what cannot be met, and take what can: minimum variance, with fewer limits, then equal weights."""
    conflict = problem.limits.conflict()
    bare = dataclasses.replace(problem.limits, A=problem.limits.A[:0], b=problem.limits.b[:0], turnover=None)
    first = f"{row.name} failed: {why.partition('. ')[0].rstrip('.')}"
    if conflict is not None:
        words = ", or ".join(conflict) or "any single one of them"
        first = f"no portfolio meets all limits ({row.name}): they can be met without {words}"
    steps = [] if conflict is not None else [("minimum-variance", problem)]
    steps.append(("minimum-variance by position and budget alone", dataclasses.replace(problem, limits=bare)))
    for name, easier in steps:
        try:
            weights, said = fitted(METHODS["minimum-variance"], easier)
        except (OptimizationError, ValueError):
            continue
        return weights, f"fallback: {name}", [first, f"in its place: {name}", *said]
    n, budget = len(problem.names), problem.limits.budget
    name = "equal-weight, outside the limits"
    return np.full(n, (1.0 if budget is None else budget) / n), f"fallback: {name}", [first, f"in its place: {name}"]


# --- the record -----------------------------------------------------------------------------------------------


def _allocation(
    row: Method,
    p: Problem,
    weights: Array,
    status: str,
    notes: list[str],
    given: Inputs,
    constraints: Constraints | None,
) -> Allocation:
    mean, deviation = float(p.mu @ weights), max(float(weights @ p.sigma @ weights), 0.0) ** 0.5
    if given.returns is None:
        notes.append("value at risk and expected shortfall are those of normal returns, as no past was given")
        tail, shortfall = _normal(mean, deviation)
    else:
        book = given.returns @ weights
        tail, shortfall = metrics.value_at_risk(book), metrics.expected_shortfall(book)
    turnover, bps = p.limits.traded(weights), constraints.cost_bps if constraints else 0.0
    if constraints is None or constraints.previous is None:
        turnover = float(np.abs(weights).sum()) / 2
    index = pd.Index(p.names, name="name")
    return Allocation(
        method=row.name,
        status=status,
        weights=pd.Series(weights, index, name="weight"),
        risk_contributions=pd.Series(risk_contributions(weights, p.sigma), index, name="risk"),
        expected_return=mean,
        volatility=deviation,
        value_at_risk=tail,
        expected_shortfall=shortfall,
        turnover=turnover,
        cost=2 * turnover * bps / 1e4,
        mu=pd.Series(p.mu, index, name="mu"),
        sigma=pd.DataFrame(p.sigma, index, index),
        as_of=given.as_of,
        sessions=0 if given.returns is None else len(given.returns),
        notes=tuple(dict.fromkeys(notes)),
        provenance=given.provenance,
    )


def _normal(mean: float, deviation: float, alpha: float = 0.05) -> tuple[float, float]:
    z = float(stats.norm.ppf(alpha))
    return -(mean + z * deviation), -(mean - deviation * float(stats.norm.pdf(z)) / alpha)
