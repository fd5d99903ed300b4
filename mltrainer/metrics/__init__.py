"""Pure formulas of forecast quality, risk and luck; arrays in, one number out.

Returns are simple returns per session (fractions), losses are positive fractions, and "annual" figures use
`SESSIONS` sessions a year. A figure that is undefined (no losing day, a constant forecast) is NaN, and
`UNDEFINED` says why in words.
"""

from mltrainer.metrics.base import SESSIONS, newey_west_t
from mltrainer.metrics.comparison import clark_west, diebold_mariano
from mltrainer.metrics.forecasts import (
    calibration_slope,
    hit_rate,
    information_coefficient,
    mae,
    mape_of_price,
    mse,
    pinball,
    qlike,
    qlike_log,
    qlike_log_losses,
    qlike_losses,
    r2,
    spread_ratio,
    timing_p_value,
)
from mltrainer.metrics.intervals import conformal_radius, conformal_rank, coverage
from mltrainer.metrics.regression import market_model
from mltrainer.metrics.returns import (
    annual_return,
    calmar,
    max_drawdown,
    probabilistic_sharpe,
    profit_factor,
    sharpe,
    sharpe_standard_error,
    sortino,
    wealth,
    win_rate,
)
from mltrainer.metrics.risk import expected_shortfall, value_at_risk
from mltrainer.metrics.selection import (
    EULER_GAMMA,
    backtest_overfitting,
    confidence_set,
    luck_threshold,
    superior_ability,
)
from mltrainer.metrics.undefined import UNDEFINED

__all__ = [
    "EULER_GAMMA",
    "SESSIONS",
    "UNDEFINED",
    "annual_return",
    "backtest_overfitting",
    "calibration_slope",
    "calmar",
    "clark_west",
    "confidence_set",
    "conformal_radius",
    "conformal_rank",
    "coverage",
    "diebold_mariano",
    "expected_shortfall",
    "hit_rate",
    "information_coefficient",
    "luck_threshold",
    "mae",
    "mape_of_price",
    "market_model",
    "max_drawdown",
    "mse",
    "newey_west_t",
    "pinball",
    "probabilistic_sharpe",
    "profit_factor",
    "qlike",
    "qlike_log",
    "qlike_log_losses",
    "qlike_losses",
    "r2",
    "sharpe",
    "sharpe_standard_error",
    "sortino",
    "spread_ratio",
    "superior_ability",
    "timing_p_value",
    "value_at_risk",
    "wealth",
    "win_rate",
]
