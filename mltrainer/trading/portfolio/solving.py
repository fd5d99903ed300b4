"""One problem solved, or what stands in for it: limits that contradict are named, and a solver's doubts are said."""

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from skfolio.exceptions import OptimizationError

from mltrainer.errors import BadInput
from mltrainer.trading.portfolio.limits import Limits
from mltrainer.trading.portfolio.methods import METHODS, Method, Problem, mean_risk
from mltrainer.trading.portfolio.records import Array, risk_contributions

EXACT = 1e-6  # by which risk contributions may miss their budgets


def solve(row: Method, problem: Problem) -> tuple[Array, str, list[str]]:
    """Weights within the limits, how they came about ("optimal" ...), and what has to be said of it."""
    try:
        weights, said = fitted(row, problem)
    except (OptimizationError, ValueError) as error:
        return _fallback(row, problem, str(error))
    status = "inaccurate" if doubtful(said) else "optimal"
    broken = problem.limits.broken(weights) if not row.cash else _of_cash(problem.limits, weights)
    if broken:
        return _projected(row, problem, weights, broken, said)
    if row.name in ("risk-parity", "risk-budgeting"):
        gap = float(np.abs(risk_contributions(weights, problem.sigma) - problem.budgets).max())
        if gap > EXACT:
            said.append(f"limits bind: a risk contribution misses its budget by {gap:.2g} of the risk")
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
    *early, last = row.tolerances or (None,)
    for tolerance in early:
        try:
            weights, said = _once(row.estimator(problem, tolerance), problem)
        except OptimizationError:
            continue
        if not doubtful(said):
            return weights * scale, said
    weights, said = _once(row.estimator(problem, last), problem)
    return weights * scale, said


def _once(estimator: Any, problem: Problem) -> tuple[Array, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = estimator.fit(problem.scenarios, problem.benchmark).weights_
    said = [str(w.message).partition(".")[0] for w in caught if not issubclass(w.category, DeprecationWarning)]
    return np.asarray(weights, dtype=float), [f"the solver warns: {words}" for words in dict.fromkeys(said)]


def doubtful(said: list[str]) -> bool:
    """Whether the solver doubts its own solution."""
    return any("inaccurate" in words for words in said)


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
    return near, "inaccurate" if doubtful(more) else "projected", [*said, note, *more]


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


def swept(problem: Problem, points: int) -> Array:
    """Weights (points, n) of the efficient frontier."""
    row = Method("frontier", "", lambda p: mean_risk(p, efficient_frontier_size=points), "", "", believes=True)
    try:
        weights, _ = fitted(row, problem)
    except (OptimizationError, ValueError) as error:
        conflict = problem.limits.conflict()
        why = "the limits contradict" if conflict is not None else str(error).partition(". ")[0]
        raise BadInput(f"no frontier can be drawn: {why}; widen the limits, or give other expected returns") from None
    return weights
