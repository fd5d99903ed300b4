"""The methods, a row each: what each one wants, and the estimator of skfolio that computes it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skfolio.distance import CovarianceDistance
from skfolio.moments import LedoitWolf
from skfolio.optimization import (
    BenchmarkTracker,
    EqualWeighted,
    HierarchicalRiskParity,
    InverseVolatility,
    MaximumDiversification,
    MeanRisk,
    ObjectiveFunction,
    RiskBudgeting,
)
from skfolio.prior import BasePrior, EmpiricalPrior, ReturnDistribution

from mltrainer.errors import UnknownName
from mltrainer.trading.portfolio.limits import Limits

Array = NDArray[np.float64]


class Given(BasePrior):
    """Known moments as a prior of skfolio: mu (n,), sigma (n, n); its scenarios are what it is fitted on."""

    def __init__(self, mu: Array, sigma: Array) -> None:
        self.mu = mu
        self.sigma = sigma

    def fit(self, X: Array, y: Any = None, **params: Any) -> "Given":
        """Take them as they are."""
        self.return_distribution_ = ReturnDistribution(mu=self.mu, covariance=self.sigma, returns=np.asarray(X))
        return self


@dataclass(frozen=True, eq=False)
class Problem:
    r"""What a method computes weights from, all of one period.

    Attributes
    ----------
    names : n of them; mu (n,) expected simple returns, sigma (n, n) their covariance, limits what may be held.
    returns : (t, n) of the past, benchmark (t,); None where there are none.
    budgets : (n,) shares of the risk, summing to 1.
    aversion : delta of :math:`\mu'w - \tfrac{\delta}{2} w'\Sigma w`; fraction : of full Kelly.
    """

    names: tuple[str, ...]
    mu: Array
    sigma: Array
    limits: Limits
    returns: Array | None
    benchmark: Array | None
    budgets: Array
    aversion: float
    fraction: float

    @property
    def prior(self) -> Given:
        """The moments, for skfolio."""
        return Given(self.mu, self.sigma)

    @property
    def scenarios(self) -> Array:
        """What an estimator is fitted on; zeros where there are no returns, as the moments are given."""
        return np.zeros((2, len(self.names))) if self.returns is None else self.returns

    @property
    def unit(self) -> float:
        """One over the mean variance: an objective near 1 is one that a solver's tolerances mean something for."""
        return len(self.sigma) / float(np.trace(self.sigma))


@dataclass(frozen=True)
class Method:
    """One way from risk and belief to weights.

    Attributes
    ----------
    name, title, formula, reference : as a reader meets it.
    build : problem -> unfitted estimator; what of the limits it takes is added to it.
    whole : it always invests the whole budget, and is scaled to it.
    cash : the budget is the most it may invest.
    believes : expected returns move it, so views do.
    long : it knows no short positions, whatever the limits allow.
    needs : "benchmark" where it cannot do without one.
    tolerances : of the solver, those to try one after another where the one before is inaccurate; skfolio's if none.
    """

    name: str
    title: str
    build: Callable[[Problem], Any]
    formula: str
    reference: str
    whole: bool = False
    cash: bool = False
    believes: bool = False
    long: bool = False
    needs: str = ""
    tolerances: tuple[float, ...] = ()

    def estimator(self, p: Problem, tolerance: float | None = None) -> Any:
        """The estimator for this problem, limits included as far as it takes them."""
        found = self.build(p)
        known = inspect.signature(type(found).__init__).parameters
        words = (p.limits.long() if self.long else p.limits).keywords(cash=self.cash)
        if not self.believes:
            words.pop("transaction_costs", None)  # nothing to weigh them against
        if tolerance is not None:
            words["solver_params"] = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
        return found.set_params(**{name: value for name, value in words.items() if name in known})


def mean_risk(p: Problem, objective: Any = ObjectiveFunction.MINIMIZE_RISK, **more: Any) -> MeanRisk:
    """Markowitz's problem with the objective asked for; minimum variance by default."""
    return MeanRisk(objective, prior_estimator=p.prior, scale_objective=p.unit, **more)


def _risk_budgeting(p: Problem) -> RiskBudgeting:
    return RiskBudgeting(prior_estimator=p.prior, risk_budget=p.budgets, scale_objective=p.unit)


def _kelly(p: Problem) -> MeanRisk:
    if p.returns is None:  # the limit of short periods: f Sigma^-1 mu
        return mean_risk(p, ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=1 / (2 * p.fraction))
    import cvxpy as cp

    scenarios, fraction = p.returns - p.returns.mean(axis=0) + p.mu, p.fraction

    def growth(w: Any) -> Any:
        return cp.sum(cp.log(1 + scenarios @ w / fraction)) / len(scenarios)

    return MeanRisk(ObjectiveFunction.MAXIMIZE_RETURN, prior_estimator=p.prior, overwrite_expected_return=growth)


def _tracker(p: Problem) -> BenchmarkTracker:
    return BenchmarkTracker(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))


# skfolio's tolerance leaves contributions 1e-5 off their budgets; one tighter than 1e-11 is mostly "inaccurate", and
# where limits bind, this one too. Kelly's hundreds of logarithms are solved to 1e-9 in most windows, to 1e-7 in all.
EXACT, GROWTH = (1e-11, 1e-10, 1e-9), (1e-9, 1e-7)
MARKOWITZ = "Markowitz (1952), Journal of Finance 7(1), 77-91"

METHODS = {
    m.name: m
    for m in (
        Method(
            "equal-weight",
            "the same for each name",
            lambda p: EqualWeighted(),
            r"w_i = 1/n",
            "DeMiguel, Garlappi and Uppal (2009), Review of Financial Studies 22(5), 1915-1953",
            whole=True,
            long=True,
        ),
        Method(
            "inverse-volatility",
            "less for what swings more",
            lambda p: InverseVolatility(prior_estimator=p.prior),
            r"w_i \propto 1/\sigma_i",
            "Leote de Carvalho, Lu and Moulin (2012), Journal of Portfolio Management 38(3), 56-70",
            whole=True,
            long=True,
        ),
        Method(
            "minimum-variance",
            "the least risk within the limits",
            mean_risk,
            r"\min_w w'\Sigma w",
            MARKOWITZ,
        ),
        Method(
            "mean-variance",
            "expected return against risk",
            lambda p: mean_risk(p, ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=p.aversion / 2),
            r"\max_w \mu'w - \tfrac{\delta}{2} w'\Sigma w",
            MARKOWITZ,
            believes=True,
        ),
        Method(
            "maximum-sharpe",
            "the most expected return for its risk",
            lambda p: MeanRisk(ObjectiveFunction.MAXIMIZE_RATIO, prior_estimator=p.prior),
            r"\max_w \mu'w / \sqrt{w'\Sigma w}",
            "Tobin (1958), Review of Economic Studies 25(2), 65-86",
            whole=True,
            believes=True,
        ),
        Method(
            "maximum-diversification",
            "the most of the names' own risk diversified away",
            lambda p: MaximumDiversification(prior_estimator=p.prior),
            r"\max_w w'\sigma / \sqrt{w'\Sigma w}",
            "Choueifaty and Coignard (2008), Journal of Portfolio Management 35(1), 40-51",
            whole=True,
        ),
        Method(
            "risk-parity",
            "the same risk from each name",
            _risk_budgeting,
            r"w_i (\Sigma w)_i = w'\Sigma w / n",
            "Maillard, Roncalli and Teïletche (2010), Journal of Portfolio Management 36(4), 60-70",
            whole=True,
            long=True,
            tolerances=EXACT,
        ),
        Method(
            "risk-budgeting",
            "a stated share of the risk from each name",
            _risk_budgeting,
            r"w_i (\Sigma w)_i = b_i\, w'\Sigma w",
            "Bruder and Roncalli (2012), Managing Risk Exposures Using the Risk Budgeting Approach",
            whole=True,
            long=True,
            tolerances=EXACT,
        ),
        Method(
            "hierarchical-risk-parity",
            "risk split down a tree of names that move together",
            lambda p: HierarchicalRiskParity(
                prior_estimator=p.prior, distance_estimator=CovarianceDistance("precomputed")
            ),
            r"\text{bisect the tree; } w \propto 1/\text{variance of each side}",
            "López de Prado (2016), Journal of Portfolio Management 42(4), 59-69",
            whole=True,
            long=True,
        ),
        Method(
            "black-litterman",
            "what the market implies, moved by views",
            lambda p: mean_risk(p, ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=p.aversion / 2),
            r"\max_w \bar\mu'w - \tfrac{\delta}{2} w'\bar\Sigma w",
            "Black and Litterman (1992), Financial Analysts Journal 48(5), 28-43; He and Litterman (1999)",
            believes=True,
        ),
        Method(
            "kelly",
            "a fraction of what grows fastest",
            _kelly,
            r"\max_w E \log(1 + r'w/f)",
            "Kelly (1956), Bell System Technical Journal 35(4), 917-926; Thorp (2006)",
            cash=True,
            believes=True,
            tolerances=GROWTH,
        ),
        Method(
            "benchmark-tracking",
            "the least deviation from a benchmark",
            _tracker,
            r"\min_w \operatorname{sd}(r'w - b)",
            "Roll (1992), Journal of Portfolio Management 18(4), 13-22",
            whole=True,
            needs="benchmark",
        ),
    )
}  # fmt: skip


def method(name: str) -> Method:
    """Look up one row."""
    if name not in METHODS:
        raise UnknownName.of("portfolio method", str(name), METHODS)
    return METHODS[name]
