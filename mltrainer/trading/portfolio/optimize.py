"""From data or numbers to weights: one call, every method, and nothing that went wrong left unsaid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mltrainer import metrics
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput, UnknownName
from mltrainer.trading.portfolio import beliefs, inputs
from mltrainer.trading.portfolio.inputs import Inputs
from mltrainer.trading.portfolio.limits import POSITION, Constraints, written
from mltrainer.trading.portfolio.methods import Method, Problem, method
from mltrainer.trading.portfolio.records import UNPROVEN, Allocation, Array, View, risk_contributions
from mltrainer.trading.portfolio.solving import solve, swept

SESSIONS = 756  # three years: long enough for twenty names, short enough to be of today


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
    if data is None:
        given = inputs.of_numbers(mu, sigma, returns, benchmark)
    elif sigma is not None or returns is not None:
        raise BadInput("data and sigma or returns are two doors; give tickers, or numbers, not both")
    else:
        given = inputs.of_data(data, as_of=as_of, sessions=_counted(sessions), benchmark=benchmark)
    how = Belief(mu, sigma, tuple(views), budgets, expected, covariance, volatility, market_weights)
    problem, notes = posed(
        row, given, how, constraints or Constraints(), risk_aversion=risk_aversion, tau=tau, fraction=fraction
    )
    weights, status, said = solve(row, problem)
    return _allocation(row, problem, weights, status, notes + said, given, constraints or Constraints())


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed of risk and return, as `optimize` takes it."""

    mu: Any = None
    sigma: Any = None
    views: tuple[View, ...] = ()
    budgets: Any = None
    expected: str | None = None
    covariance: str = "ledoit-wolf"
    volatility: Any = None
    market_weights: Any = None


def posed(
    row: Method,
    given: Inputs,
    how: Belief,
    constraints: Constraints,
    *,
    risk_aversion: float = 2.5,
    tau: float = 0.05,
    fraction: float = 0.5,
) -> tuple[Problem, list[str]]:
    """Write the problem of a method out in numbers, with what was assumed on the way."""
    _check(risk_aversion, fraction)
    if row.needs == "benchmark" and given.benchmark is None:
        raise BadInput("benchmark-tracking needs a benchmark: a ticker, or its returns beside given returns")
    names, known, n = given.names, how.market_weights, len(given.names)
    cov, risk = _risk(given, how)
    reference = np.full(n, 1 / n) if known is None else inputs.vector(known, names, "market_weights")
    mean, belief = _expected(row, given, how, cov, reference, risk_aversion)
    if how.views:
        mean, cov = beliefs.moved(mean, cov, how.views, names, tau)
    elif row.name == "black-litterman":
        belief.append("no views were given: the prior alone decides")
    limits, relaxed = written(constraints, names, position=POSITION if given.provenance else 1.0)
    notes = [*(() if given.provenance else (UNPROVEN,)), *given.notes, *risk, *belief, *relaxed]
    shares = _budgets(how.budgets, names)
    past = given.returns, given.benchmark
    return Problem(names, mean, cov, limits, *past, shares, float(risk_aversion), float(fraction)), notes


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


def _check(risk_aversion: float, fraction: float) -> None:
    if not 0 < risk_aversion < np.inf:
        raise BadInput(f"risk_aversion {risk_aversion} is not above 0; 2.5 is what He and Litterman take")
    if not 0 < fraction <= 1:
        raise BadInput(f"fraction {fraction} of Kelly is not above 0 and at most 1; a quarter to a half is usual")


def _counted(sessions: int) -> int:
    if isinstance(sessions, bool) or not isinstance(sessions, int) or sessions < inputs.LEAST:
        raise BadInput(f"sessions {sessions!r} is not a whole number of returns from {inputs.LEAST} on")
    return sessions


def _risk(given: Inputs, how: Belief) -> tuple[Array, list[str]]:
    """Covariance as given, else estimated; volatilities replaced by forecasts where there are any."""
    if how.sigma is not None:
        cov, said = inputs.covariance(how.sigma, given.names), list[str]()
    elif given.returns is None:
        raise BadInput("no risk is known: give sigma=, or returns= that it can be estimated on")
    else:
        cov, said = beliefs.estimated(given.returns, how.covariance)
    volatility = how.volatility
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
    row: Method, given: Inputs, how: Belief, cov: Array, reference: Array, delta: float
) -> tuple[Array, list[str]]:
    """Expected returns as given, else by a stated prior."""
    if how.mu is not None:
        said = ["expected returns are given, and nothing shows that they are known"]
        return inputs.vector(how.mu, given.names, "mu"), said if row.believes and given.provenance else []
    name = how.expected
    if name is None:
        implied = given.provenance or given.returns is None or row.name == "black-litterman"
        name = "implied" if implied else "historical"
    if name not in beliefs.EXPECTED:
        raise UnknownName.of("prior of expected returns", str(name), beliefs.EXPECTED)
    rule, words = beliefs.EXPECTED[name]
    if how.market_weights is None and name != "historical":
        words += "; the reference portfolio is equal weights, as no market weights were given"
    used = "" if row.believes else "; the weights do not rest on them"
    return rule(cov, reference, delta, given.returns), [f"expected returns {words}{used}"]


def _budgets(budgets: Any, names: Sequence[str]) -> Array:
    if budgets is None:
        return np.full(len(names), 1 / len(names))
    found = inputs.vector(budgets, names, "budgets")
    if (found <= 0).any():
        raise BadInput("a risk budget is not above 0; leave out a name that should carry no risk")
    return np.asarray(found / found.sum())


# --- the record -----------------------------------------------------------------------------------------------


def _allocation(
    row: Method,
    p: Problem,
    weights: Array,
    status: str,
    notes: list[str],
    given: Inputs,
    constraints: Constraints,
) -> Allocation:
    mean, deviation = float(p.mu @ weights), max(float(weights @ p.sigma @ weights), 0.0) ** 0.5
    if given.returns is None:
        notes.append("value at risk and expected shortfall are those of normal returns, as no past was given")
        tail, shortfall = _normal(mean, deviation)
    else:
        book = given.returns @ weights
        tail, shortfall = metrics.value_at_risk(book), metrics.expected_shortfall(book)
    turnover = p.limits.traded(weights)
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
        cost=2 * turnover * constraints.cost_bps / 1e4,
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


# --- the frontier ---------------------------------------------------------------------------------------------


def efficient_frontier(
    data: Any = None,
    *,
    points: int = 20,
    as_of: Day = None,
    sessions: int = SESSIONS,
    mu: Any = None,
    sigma: Any = None,
    returns: Any = None,
    views: Sequence[View] = (),
    constraints: Constraints | None = None,
    expected: str | None = None,
) -> pd.DataFrame:
    """Least volatility for each expected return, from minimum variance to the largest return the limits allow.

    Parameters
    ----------
    points : how many; the others as for `optimize`.

    Returns
    -------
    (points, 2 + n) columns volatility, expected_return, and the weight of each name.

    Raises
    ------
    BadInput
        Limits that contradict, or expected returns that are all negative.

    References
    ----------
    Markowitz (1952), Journal of Finance 7(1), 77-91.
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 2:
        raise BadInput(f"points {points!r} is no number of portfolios; give 2 or more")
    row = method("mean-variance")
    if data is None:
        given = inputs.of_numbers(mu, sigma, returns, None)
    else:
        given = inputs.of_data(data, as_of=as_of, sessions=_counted(sessions), benchmark=None)
    how = Belief(mu=mu, sigma=sigma, views=tuple(views), expected=expected)
    problem, _ = posed(row, given, how, constraints or Constraints())
    W = swept(problem, points)
    risk = np.sqrt(np.einsum("ki,ij,kj->k", W, problem.sigma, W))
    frame = pd.DataFrame(W, columns=pd.Index(problem.names))
    frame.insert(0, "expected_return", W @ problem.mu)
    frame.insert(0, "volatility", risk)
    return frame
