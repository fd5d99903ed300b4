"""How long does a portfolio take beside raw skfolio on the same problem?

The same estimator with the same covariance and limits, on the twenty names over windows of 756 returns. "numbers" is
`mt.optimize(returns=...)` with everything it says about the result; "closes" adds the gate, which hashes the closes
anew. "fit" is skfolio's fit with its own Ledoit-Wolf prior, and "raw" also the portfolio it predicts, with risk
contributions and tails: what a reader needs of it. "peer" is PyPortfolioOpt with its Ledoit-Wolf covariance, its
solution and its performance; it has no risk contributions and no tails. CPU seconds, medians of alternating
repetitions.

Run with `python tests/benchmarks/bench_portfolio.py`; PyPortfolioOpt is of the group `bench`.
"""

import os
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("MLTRAINER_HOME", tempfile.mkdtemp())

import pandas as pd
from skfolio import RiskMeasure
from skfolio.moments import LedoitWolf
from skfolio.optimization import HierarchicalRiskParity, MaximumDiversification, MeanRisk, RiskBudgeting
from skfolio.prior import EmpiricalPrior

import mltrainer as mt
from mltrainer.trading.portfolio.inputs import closes

try:
    import pypfopt
except ImportError:
    pypfopt = None

TIMES, LIMITS = 15, mt.Constraints(upper=0.10)
RAW: dict[str, Callable[..., Any]] = {
    "minimum-variance": MeanRisk,
    "risk-parity": RiskBudgeting,
    "maximum-diversification": MaximumDiversification,
    "hierarchical-risk-parity": HierarchicalRiskParity,
}


def raw(method: str, returns: pd.DataFrame) -> Any:
    """skfolio alone."""
    prior = EmpiricalPrior(covariance_estimator=LedoitWolf())
    book = RAW[method](prior_estimator=prior, max_weights=0.10).fit(returns).predict(returns)
    return book.contribution(RiskMeasure.VARIANCE), book.value_at_risk, book.cvar


def peer(method: str, prices: pd.DataFrame) -> "pd.Series[float]":
    """PyPortfolioOpt on the same closes: long-only, fully invested, at most 10 % a name (its tree knows no limit)."""
    cov = pypfopt.risk_models.CovarianceShrinkage(prices).ledoit_wolf()
    if method == "hierarchical-risk-parity":
        book = pypfopt.HRPOpt(prices.pct_change().iloc[1:], cov)
        book.optimize()
    else:
        book = pypfopt.EfficientFrontier(None, cov, (0, 0.10))
        book.min_volatility()
    book.portfolio_performance()
    return pd.Series(book.clean_weights(rounding=None))


PEERS = ("minimum-variance", "hierarchical-risk-parity")


def seconds(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def ratios(method: str, sealed: Any, returns: pd.DataFrame) -> dict[str, float]:
    """Median seconds of each way, alternating, and what ours takes more."""
    prior = EmpiricalPrior(covariance_estimator=LedoitWolf())
    ways = {
        "fit": lambda: RAW[method](prior_estimator=prior, max_weights=0.10).fit(returns),
        "raw": lambda: raw(method, returns),
        "numbers": lambda: mt.optimize(returns=returns, method=method, constraints=LIMITS),
        "closes": lambda: mt.optimize(sealed, method=method, constraints=LIMITS),
    }
    if pypfopt is not None and method in PEERS:
        ways["peer"] = lambda: peer(method, sealed.frame.iloc[-757:])
    for call in ways.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TIMES):
        for name, call in ways.items():
            taken[name].append(seconds(call))
    found = {name: median(values) for name, values in taken.items()}
    beside = [m for m in ("raw", "fit", "peer") if m in found]
    return found | {f"{n} / {m}": found[n] / found[m] for n in ("numbers", "closes") for m in beside}


def main() -> None:
    sealed = closes(mt.universe("sample20"))
    returns = sealed.frame.pct_change().iloc[-756:]
    for method in RAW:
        found = ratios(method, sealed, returns)
        print(method, "  ".join(f"{name} {value:.4g}" for name, value in found.items()))  # noqa: T201
    if pypfopt is None:
        print("PyPortfolioOpt is not installed")  # noqa: T201
        return
    ours = mt.optimize(returns=returns, method="minimum-variance", constraints=LIMITS).weights
    theirs = peer("minimum-variance", sealed.frame.iloc[-757:])
    print("minimum variance, largest difference of a weight", (ours - theirs.reindex(ours.index)).abs().max())  # noqa: T201


if __name__ == "__main__":
    main()
