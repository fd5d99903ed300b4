"""How long does a portfolio take beside raw skfolio on the same problem?

The same estimator with the same covariance and limits, on the twenty names over windows of 756 returns. "numbers" is
`mt.optimize(returns=...)` with everything it says about the result; "closes" adds the gate, which hashes the closes
anew. "fit" is skfolio's fit with its own Ledoit-Wolf prior, and "raw" also the portfolio it predicts, with risk
contributions and tails: what a reader needs of it. Ratios are medians of alternating repetitions.

Run with `python tests/benchmarks/bench_portfolio.py`; beside PyPortfolioOpt where that is installed.
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


def seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def ratios(method: str, sealed: Any, returns: pd.DataFrame) -> dict[str, float]:
    """Median seconds of each way, alternating, and what ours takes more."""
    prior = EmpiricalPrior(covariance_estimator=LedoitWolf())
    ways = {
        "fit": lambda: RAW[method](prior_estimator=prior, max_weights=0.10).fit(returns),
        "raw": lambda: raw(method, returns),
        "numbers": lambda: mt.optimize(returns=returns, method=method, constraints=LIMITS),
        "closes": lambda: mt.optimize(sealed, method=method, constraints=LIMITS),
    }
    for call in ways.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TIMES):
        for name, call in ways.items():
            taken[name].append(seconds(call))
    found = {name: median(values) for name, values in taken.items()}
    return found | {f"{n} / {m}": found[n] / found[m] for n in ("numbers", "closes") for m in ("raw", "fit")}


def main() -> None:
    sealed = closes(mt.universe("sample20"))
    returns = sealed.frame.pct_change().iloc[-756:]
    for method in RAW:
        found = ratios(method, sealed, returns)
        print(method, "  ".join(f"{name} {value:.4g}" for name, value in found.items()))  # noqa: T201
    try:
        from pypfopt import EfficientFrontier
        from pypfopt.risk_models import CovarianceShrinkage
    except ImportError:
        print("PyPortfolioOpt is not installed")  # noqa: T201
        return
    peer = lambda: EfficientFrontier(None, CovarianceShrinkage(sealed.frame.iloc[-757:]).ledoit_wolf(), (0, 0.1))  # noqa: E731
    print("PyPortfolioOpt minimum variance", median(seconds(lambda: peer().min_volatility()) for _ in range(TIMES)))  # noqa: T201


if __name__ == "__main__":
    main()
