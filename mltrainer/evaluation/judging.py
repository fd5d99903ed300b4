"""One model on one matrix, judged: walked forward, traded, and every figure of the protocol computed."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mltrainer import metrics
from mltrainer.evaluation.baselines import compared, gain
from mltrainer.evaluation.lookahead import forecast_moves, knows_sources, rebuildable
from mltrainer.evaluation.panels import keys, pooled_figures
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation, constant_forecast
from mltrainer.evaluation.results import Metrics
from mltrainer.evaluation.skill import timing_return, unusually_strong
from mltrainer.evaluation.trading import trade
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.features import targets
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.plain import cleaned


def evaluate(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str = "") -> Evaluation:
    """Walk one model forward over one ticker with one BLAS thread; a model's exception becomes status "failed"."""
    (result,) = evaluate_each(spec, matrix, protocol, key)
    return result


def evaluate_each(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str = "") -> list[Evaluation]:
    """`evaluate` for a panel: one result per ticker, from one model of all of them where the model can be pooled."""
    base: dict[str, Any] = {
        "model": spec.name, "family": spec.family, "task": spec.task, "horizon": matrix.horizon,
        "target": matrix.target,
    }  # fmt: skip

    def each(status: str, reason: str) -> list[Evaluation]:
        why = cleaned(reason)  # it may quote what a model of a stranger's raised
        return [Evaluation(k, ticker=t, status=status, reason=why, **base) for t, k in keys(matrix, key).items()]

    if not spec.available:
        return each("unavailable", spec.why_unavailable)
    if matrix.target != "return" and spec.reads_returns:
        return each("unavailable", f"it reads the past returns and forecasts those to come, not {matrix.aim.title}")
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1), _peak_memory() as peak:
        warnings.simplefilter("always")
        try:
            forecasts, meta = out_of_sample(spec, matrix, protocol)
        except MemoryError:
            return each("memory", "the model asked for more memory than there is")
        except Exception as error:  # any model's failure is a result to show, not an end of the batch
            said = (str(error).strip().splitlines() or [""])[0]
            return each("failed", f"{type(error).__name__}: {said}"[:300])
    meta |= {"warnings": sorted({f"{w.category.__name__}: {w.message}".splitlines()[0][:200] for w in caught})}
    meta |= {"peak_mb": peak[0], "reading": spec.reading}
    if matrix.aim.cross_sectional:
        forecasts["place"] = forecasts["forecast"].groupby(level="session").rank(pct=True, method="first")
    flawed = meta.pop("flaw")
    flawed = protocol.split.diagnostic or flawed
    base |= {"status": "diagnostic", "reason": flawed} if flawed else {}
    results = []
    for ticker, k in keys(matrix, key).items():
        own = forecasts
        if forecasts.index.nlevels > 1:
            own = forecasts[forecasts.index.get_level_values("ticker") == ticker].droplevel("ticker")
        if own.empty:
            reason = f"no test block reaches the sessions of {ticker}"
            results.append(Evaluation(k, ticker=ticker, **base | {"status": "failed", "reason": reason}))
            continue
        own, rivals = compared(trade(own, matrix.of(ticker), protocol), matrix.aim)
        figures = judge(own, matrix.horizon, meta["quantile"], matrix.target)
        if unusually_strong(figures, len(own), matrix.horizon, matrix.aim) and "lookahead" not in meta:
            meta["lookahead"] = _lookahead(spec, matrix, protocol)
        results.append(Evaluation(k, ticker=ticker, forecasts=own, metrics=figures, meta=meta | rivals, **base))
    if len(results) > 1:
        together = pooled_figures([e.forecasts for e in results if len(e.forecasts)], matrix.horizon)
        for result in results:
            result.meta.update(pooled=together, trial=key)
    return results


def _lookahead(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> str:
    """What the future moves in a model that is too good to be believed unseen; empty where it moves nothing."""
    if rebuildable(matrix) and not knows_sources(matrix):
        return "its features are not what its bars give"
    return forecast_moves(spec, matrix, protocol)


def judge(forecasts: pd.DataFrame, horizon: int, level: float | None = None, target: str = "return") -> Metrics:
    """Every figure of the protocol for one model, NaN where undefined (`metrics.UNDEFINED` says why).

    `level` is the quantile forecast in the column `quantile`, where the model forecasts one.
    """
    y, said = forecasts["y"].to_numpy(), forecasts["forecast"].to_numpy()
    net, gross, held = (forecasts[c].to_numpy() for c in ("net", "gross", "position"))
    constant = constant_forecast(forecasts)
    ic, ic_t = (np.nan, np.nan) if constant else metrics.information_coefficient(y, said, lags=horizon)
    timing = timing_return(forecasts, horizon)
    alpha, alpha_t, beta = metrics.market_model(net, forecasts["benchmark"].to_numpy(), lags=horizon)
    slope, slope_se = (np.nan, np.nan) if constant else metrics.calibration_slope(y, said, lags=horizon)
    traded = np.abs(np.diff(held, prepend=0.0))
    apart = slice(0, None, horizon)
    aim = targets.target(target)
    up, called, signed = y - aim.center, said - aim.center, aim.pays == "sign"
    figures = {
        "mse": metrics.mse(y, said),
        "mae": metrics.mae(y, said),
        "r2": metrics.r2(y, said),
        "r2_oos": metrics.r2(y, said, forecasts["expanding_mean"].to_numpy()),
        "mape": metrics.mape_of_price(y, said) if aim.parts in (targets.returns, targets.excess) else np.nan,
        "ic": ic,
        "ic_t": ic_t,
        "spread_ratio": metrics.spread_ratio(y, said),
        "mz_slope": slope,
        "mz_slope_se": slope_se,
        "hit_rate": metrics.hit_rate(up, called) if signed else np.nan,
        "hit_base": max(float(np.mean(up > 0)), float(np.mean(up < 0))) if signed else np.nan,
        "hit_p": metrics.timing_p_value(up[apart], called[apart]) if signed else np.nan,
        "sharpe": metrics.sharpe(net),
        "sharpe_standard_error": metrics.sharpe_standard_error(net),
        "sharpe_gross": metrics.sharpe(gross),
        "timing_sharpe": metrics.sharpe(timing),
        "alpha": alpha * metrics.SESSIONS,
        "alpha_t": alpha_t,
        "beta": beta,
        "sortino": metrics.sortino(net),
        "calmar": metrics.calmar(net),
        "max_drawdown": metrics.max_drawdown(net),
        "value_at_risk": metrics.value_at_risk(net),
        "expected_shortfall": metrics.expected_shortfall(net),
        "profit_factor": metrics.profit_factor(net),
        "win_rate": metrics.win_rate(net),
        "turnover": float(traded.mean() * metrics.SESSIONS),
        "breakeven_bps": float(gross.sum() / traded.sum() * 1e4) if traded.sum() > 0 else float("nan"),
        "information_ratio": metrics.sharpe(net - forecasts["benchmark"].to_numpy()),
        "coverage": metrics.coverage(y, forecasts["lower"], forecasts["upper"]),
        "annual_return": metrics.annual_return(net),
    } | gain(forecasts, horizon, aim)
    if "quantile" in forecasts and level is not None:
        figures["pinball"] = metrics.pinball(y, forecasts["quantile"], q=level)
        figures["quantile_coverage"] = float(np.mean(y <= forecasts["quantile"].to_numpy()))
    return Metrics({name: float(value) for name, value in figures.items()})


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """Peak resident memory of this process inside the block, in MB (where Linux lets us reset the mark)."""
    peak = [float("nan")]
    mark = Path("/proc/self/clear_refs")
    resettable = sys.platform == "linux" and os.access(mark, os.W_OK)
    if resettable:
        mark.write_text("5")
    yield peak
    if resettable:
        status = Path("/proc/self/status").read_text()
        peak[0] = int(status.split("VmHWM:")[1].split()[0]) / 1024
