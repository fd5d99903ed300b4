"""From forecasts to positions and returns net of costs, and the interval around each forecast."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import rank_filter

from mltrainer import metrics
from mltrainer.evaluation import positions
from mltrainer.evaluation.costs import Costs
from mltrainer.evaluation.protocol import Protocol
from mltrainer.features.matrix import Matrix


def trade(forecasts: pd.DataFrame, matrix: Matrix, protocol: Protocol) -> pd.DataFrame:
    """Add interval, position and returns per session to out-of-sample forecasts.

    Every forecast opens the position that its policy decides at the next entry, held `horizon` sessions; the position
    of a session is the mean of the `horizon` that overlap it. The return of a session runs from its entry price to
    the next session's, less `cost_bps` of what the position changed, or what the protocol's `costs` say, and less what
    cash would have earned where they ask for that.
    """
    h = matrix.horizon
    out = forecasts.copy()
    out["lower"], out["upper"] = conformal_interval(out, h, protocol.interval)
    out["volatility"] = matrix.scale.loc[out.index] * np.sqrt(metrics.SESSIONS / h)
    sides = positions.decided(out, matrix.aim, protocol.policy)
    known = np.concatenate([np.zeros(h), sides])  # a session trades on forecasts of the sessions before it
    position = sliding_window_view(known, h)[: len(sides)].mean(axis=1)
    entry = matrix.prices["entry"]
    session = (entry.shift(-1) / entry - 1).loc[out.index].to_numpy()
    legs = matrix.aim.legs
    costs = protocol.costs or Costs(protocol.cost_bps)
    session = session - costs.cash(matrix, out.index).to_numpy()
    out["position"] = position
    out["gross"] = position * session
    held = pd.DataFrame({"model": position, "benchmark": 1.0}, out.index)
    paid = {name: costs.parts(held[name], matrix, legs).sum(axis=1).to_numpy() for name in held}
    out["net"] = out["gross"] - paid["model"]
    out["benchmark"] = session - paid["benchmark"]
    out["close"] = matrix.prices["close"].loc[out.index]
    return out.drop(columns=["volatility", "place"], errors="ignore")


def conformal_interval(
    forecasts: pd.DataFrame, horizon: int, nominal: float, window: int = 500, least: int = 100
) -> tuple[Any, Any]:
    """Time-ordered conformal interval: the nominal quantile of the last matured absolute errors, per volatility.

    Row i is calibrated on out-of-sample errors of rows up to i - horizon - 1, the latest `window` of them;
    NaN until `least` are there. Split conformal with a rolling calibration set: Vovk et al. (2005).
    """
    y, said, scale = (forecasts[c].to_numpy(float) for c in ("y", "forecast", "scale"))
    errors = np.abs(y - said) / scale
    lag, n = horizon + 1, len(errors)
    padded = np.concatenate([np.full(window + lag - 1, np.nan), errors])
    windows, finite = (sliding_window_view(part, window)[:n] for part in (padded, np.isfinite(padded)))
    count = finite.sum(axis=1)
    rank, enough, whole = metrics.conformal_rank(count, nominal), count >= least, count == window
    few = enough & ~whole
    width = np.full(n, np.nan)
    width[few] = np.take_along_axis(np.sort(windows[few], axis=1), rank[few, None], axis=1)[:, 0]  # NaN sort last
    ranked = rank_filter(np.nan_to_num(padded), metrics.conformal_rank(window, nominal), size=window)[window // 2 :]
    width[enough & whole] = ranked[:n][enough & whole]
    width *= scale
    return said - width, said + width
