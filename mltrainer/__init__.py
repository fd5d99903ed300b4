"""mlTrainer: which of 123 named models say anything true about tomorrow's price?

>>> import mltrainer as mt
>>> data = mt.matrix("MSFT")                               # doctest: +SKIP
>>> mt.evaluate("RidgeRegression", data)                   # doctest: +SKIP

Everything below is imported on first use, so `import mltrainer` costs nothing.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mltrainer import errors as errors
    from mltrainer.assistant.asking import ask as ask
    from mltrainer.checks.attest import attest as attest
    from mltrainer.checks.leakcheck import leakcheck as leakcheck
    from mltrainer.checks.register import register as register
    from mltrainer.data.alternative import alternative as alternative
    from mltrainer.data.market import actions as actions
    from mltrainer.data.market import bars as bars
    from mltrainer.data.market import macro as macro
    from mltrainer.data.market import tickers as tickers
    from mltrainer.data.quality import quality as quality
    from mltrainer.data.universes import universe as universe
    from mltrainer.data.universes import universes as universes
    from mltrainer.evaluation.calibrate import calibrate as calibrate
    from mltrainer.evaluation.costs import Costs as Costs
    from mltrainer.evaluation.factor import factor as factor
    from mltrainer.evaluation.forecastable import forecastable as map  # noqa: A004, F401 - mt.map is the contract
    from mltrainer.evaluation.gap import leakage_gap as leakage_gap
    from mltrainer.evaluation.lifecycle import model as model
    from mltrainer.evaluation.protocol import Protocol as Protocol
    from mltrainer.evaluation.sharpe import sharpe_test as sharpe_test
    from mltrainer.evaluation.study import evaluate as evaluate
    from mltrainer.evaluation.study import leaderboard as leaderboard
    from mltrainer.evaluation.study import matrix as matrix
    from mltrainer.evaluation.study import preregister as preregister
    from mltrainer.evaluation.tune import tune as tune
    from mltrainer.evaluation.weights import foundation as foundation
    from mltrainer.models.catalog import specs as catalog  # noqa: F401 - the other names are re-exported as themselves
    from mltrainer.reports import report as report
    from mltrainer.reports import runs as runs
    from mltrainer.reports import survey as survey
    from mltrainer.trading import alerts as alerts
    from mltrainer.trading import forecasts as forecasts
    from mltrainer.trading import positions as portfolio  # noqa: F401 - what is held is asked for by this name
    from mltrainer.trading import recommendations as recommendations
    from mltrainer.trading.forecasts.inference import forecast as forecast
    from mltrainer.trading.forecasts.monitor import monitor as monitor
    from mltrainer.trading.portfolio.limits import Constraints as Constraints
    from mltrainer.trading.portfolio.optimize import optimize as optimize
    from mltrainer.trading.portfolio.records import View as View
    from mltrainer.trading.recommendations import recommend as recommend
    from mltrainer.trading.regimes import regimes as regimes
    from mltrainer.trust import audit as audit

__version__ = version("mltrainer")

# Public name -> where it lives (a room alone stands for itself). A test holds these rows to the docs.
PUBLIC = {
    "Constraints": "mltrainer.trading.portfolio.limits:Constraints",
    "Costs": "mltrainer.evaluation.costs:Costs",
    "Protocol": "mltrainer.evaluation.protocol:Protocol",
    "View": "mltrainer.trading.portfolio.records:View",
    "actions": "mltrainer.data.market:actions",
    "alerts": "mltrainer.trading.alerts",
    "alternative": "mltrainer.data.alternative:alternative",
    "ask": "mltrainer.assistant.asking:ask",
    "attest": "mltrainer.checks.attest:attest",
    "audit": "mltrainer.trust.audit",
    "bars": "mltrainer.data.market:bars",
    "calibrate": "mltrainer.evaluation.calibrate:calibrate",
    "catalog": "mltrainer.models.catalog:specs",
    "errors": "mltrainer.errors",
    "evaluate": "mltrainer.evaluation.study:evaluate",
    "factor": "mltrainer.evaluation.factor:factor",
    "forecast": "mltrainer.trading.forecasts.inference:forecast",
    "forecasts": "mltrainer.trading.forecasts",
    "foundation": "mltrainer.evaluation.weights:foundation",
    "leaderboard": "mltrainer.evaluation.study:leaderboard",
    "leakage_gap": "mltrainer.evaluation.gap:leakage_gap",
    "leakcheck": "mltrainer.checks.leakcheck:leakcheck",
    "macro": "mltrainer.data.market:macro",
    "map": "mltrainer.evaluation.forecastable:forecastable",
    "matrix": "mltrainer.evaluation.study:matrix",
    "model": "mltrainer.evaluation.lifecycle:model",
    "monitor": "mltrainer.trading.forecasts.monitor:monitor",
    "optimize": "mltrainer.trading.portfolio.optimize:optimize",
    "preregister": "mltrainer.evaluation.study:preregister",
    "portfolio": "mltrainer.trading.positions",
    "quality": "mltrainer.data.quality:quality",
    "recommend": "mltrainer.trading.recommendations:recommend",
    "recommendations": "mltrainer.trading.recommendations",
    "regimes": "mltrainer.trading.regimes:regimes",
    "register": "mltrainer.checks.register:register",
    "report": "mltrainer.reports:report",
    "runs": "mltrainer.reports:runs",
    "sharpe_test": "mltrainer.evaluation.sharpe:sharpe_test",
    "survey": "mltrainer.reports:survey",
    "tickers": "mltrainer.data.market:tickers",
    "tune": "mltrainer.evaluation.tune:tune",
    "universe": "mltrainer.data.universes:universe",
    "universes": "mltrainer.data.universes:universes",
}
__all__ = sorted(PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'mltrainer' has no attribute {name!r}; it offers {', '.join(__all__)}")
    room, _, attribute = PUBLIC[name].partition(":")
    value = import_module(room)
    globals()[name] = value = getattr(value, attribute) if attribute else value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
