"""What a model's life gives back, as records: what training learned, what comes next, what it earned."""

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.metrics import UNDEFINED

Column = pd.Series  # (k,) float, indexed by the session a forecast is said on


class Metrics(dict[str, float]):
    """Figures of one evaluation by name or as attributes, NaN where undefined; `why` says the reason in words.

    Units are those of `mltrainer.metrics`: fractions per session, losses positive, Sharpe, Sortino, Calmar, annual
    return, turnover and information ratio per year.

    >>> Metrics(sharpe=0.4).sharpe, Metrics(ic=float("nan")).why("ic")
    (0.4, 'the forecast is constant')
    """

    mse: float
    mae: float
    r2: float
    r2_oos: float
    mape: float
    ic: float
    ic_t: float
    spread_ratio: float
    mz_slope: float
    mz_slope_se: float
    hit_rate: float
    hit_base: float
    hit_p: float
    sharpe: float
    timing_sharpe: float
    alpha: float
    alpha_t: float
    beta: float
    sharpe_standard_error: float
    sharpe_gross: float
    sortino: float
    calmar: float
    max_drawdown: float
    value_at_risk: float
    expected_shortfall: float
    profit_factor: float
    win_rate: float
    turnover: float
    breakeven_bps: float
    information_ratio: float
    coverage: float
    annual_return: float
    loss: float
    baseline_loss: float
    gain: float
    gain_t: float
    gain_error: float

    def __getattr__(self, name: str) -> float:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no figure is called {name!r}; there are {', '.join(self) or 'none'}") from None

    def why(self, name: str) -> str:
        """Why a figure is undefined; empty where it is a number."""
        return "" if np.isfinite(getattr(self, name)) else UNDEFINED.get(name, "it cannot be computed from these rows")


@dataclass(frozen=True)
class Forecast:
    """What a trained model says of sessions after its training.

    Parameters
    ----------
    model, ticker, horizon, mode : who says it, of what, over how many sessions, and from which kind of data.
    interval : nominal coverage of `lower` and `upper`.
    mean : (k,) simple return over `horizon` sessions from the next entry, indexed by the session it is said on; of a
        panel by session and ticker.
    lower, upper : (k,) bounds of that return; NaN where the training had too few rows to calibrate them.
    probability_up : (k,) calibrated probability of a return above zero, of classifiers.
    deviation : (k,) standard deviation of the return as the method itself says it, where it says one.
    quantile : (k,) the quantile of the return that a quantile model forecasts.
    target : what is forecast, where it is not the return: `mean` and the others are then in its unit.
    """

    model: str
    ticker: str
    horizon: int
    mode: str
    interval: float
    mean: Column
    lower: Column
    upper: Column
    probability_up: Column | None = None
    deviation: Column | None = None
    quantile: Column | None = None
    target: str = "return"

    @property
    def frame(self) -> pd.DataFrame:
        """(k, c) of all that is said, a column each (`columns.FORECAST`), by session (of a panel, and ticker)."""
        said = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), pd.Series)}
        return pd.DataFrame(said)

    @property
    def rows(self) -> pd.DataFrame:
        """`frame` with the session as a column, and the ticker where there are several."""
        panel = isinstance(self.mean.index, pd.MultiIndex)
        return (self.frame if panel else self.frame.rename_axis("session")).reset_index()

    def covered(self, y: "pd.Series[float]") -> float:
        """Share of outcomes inside the interval, of sessions whose outcome `y` is known; NaN where none is."""
        y = y.reindex(self.mean.index)
        known = y.notna() & self.lower.notna()
        return float(y[known].between(self.lower[known], self.upper[known]).mean()) if known.any() else float("nan")

    def to_json(self) -> str:
        """One JSON document: what the forecast is, and a row for each session; NaN becomes null."""
        head = {f.name: v for f in fields(self) if isinstance(v := getattr(self, f.name), str | int | float)}
        frame = self.rows
        frame["session"] = frame["session"].dt.strftime("%Y-%m-%d")
        return json.dumps(head | {"rows": json.loads(frame.to_json(orient="records", double_precision=15))})

    def __len__(self) -> int:
        return len(self.mean)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.mean.to_numpy(dtype)

    def __repr__(self) -> str:
        """Say the newest forecast in one line; of a panel the highest and the lowest of its last session."""
        percent = self.target in ("return", "excess")
        show = "{:+.2%}".format if percent else "{:.3f}".format
        head, over = "" if percent else f"{self.target} ", f"over {self.horizon} sessions"
        day = self.mean.index.get_level_values("session" if self.mean.index.nlevels > 1 else 0)[-1]
        if self.mean.index.nlevels > 1:
            last = self.mean.xs(day, level="session").sort_values()
            least, most = (f"{last.index[i]} {show(last.iloc[i])}" for i in (0, -1))
            said = f"{head}{over} from {least} to {most}"
        else:
            row = self.frame.iloc[-1]
            said = f"{head}{show(row['mean'])} {over}"
            if np.isfinite(row["lower"]):
                said += f", {self.interval:.0%} between {show(row['lower'])} and {show(row['upper'])}"
        count = f"{len(self.mean.index.unique(0))} sessions to {day.date()}"
        return f"Forecast({self.model} on {self.ticker}, {count}: {said})"

    def _repr_html_(self) -> str:
        return self.frame.tail(10).to_html(float_format=lambda v: f"{v:.4f}")
