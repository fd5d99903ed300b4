"""One model on one matrix, judged: walked forward, traded, and every figure of the protocol computed."""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from mltrainer import metrics
from mltrainer.evaluation.baselines import compared, gain
from mltrainer.evaluation.lookahead import forecast_moves, knows_sources, rebuildable
from mltrainer.evaluation.panels import keys, pooled_figures
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation, constant_forecast
from mltrainer.evaluation.results import Metrics
from mltrainer.evaluation.skill import timing_return, unusually_strong
from mltrainer.evaluation.trading import trade
from mltrainer.evaluation.walk import Layout, Part
from mltrainer.features import targets
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.plain import cleaned


def evaluate(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str = "") -> Evaluation:
    """Walk one model forward over one ticker with one BLAS thread; a model's exception becomes status "failed"."""
    (result,) = evaluate_each(spec, matrix, protocol, key)
    return result


@dataclass
class Walked:
    """How the walk of some folds went: their parts, or why there are none, and what was seen on the way.

    `failure` is a status and a reason, empty where there is none.
    """

    parts: list[Part] = field(default_factory=list)
    failure: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    peak_mb: float = float("nan")


def evaluate_each(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str = "") -> list[Evaluation]:
    """`evaluate` for a panel: one result per ticker, from one model of all of them where the model can be pooled."""
    if why := unsuited(spec, matrix):
        return [replace(e, status="unavailable", reason=why) for e in _blank(spec, matrix, key)]
    return judged(spec, matrix, protocol, key, [walked(spec, matrix, protocol)])


def unsuited(spec: ModelSpec, matrix: Matrix) -> str:
    """Why a model has nothing to say here; "" where it has."""
    if not spec.available:
        return spec.why_unavailable
    if matrix.target != "return" and spec.reads_returns:
        return f"it reads the past returns and forecasts those to come, not {matrix.aim.title}"
    return ""


def walked(spec: ModelSpec, matrix: Matrix, protocol: Protocol, fold: int | None = None) -> Walked:
    """Walk one fold, by default all one after another, with one BLAS thread."""
    with _watched() as seen:
        layout = Layout.of(spec, matrix, protocol)
        for number in range(len(layout.cuts)) if fold is None else [fold]:
            seen.parts += layout.parts(number)
    return seen


def judged(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str, walks: Sequence[Walked]) -> list[Evaluation]:
    """Results, one per ticker, of walks that have all folds between them, in order."""
    frame, meta, walks = pd.DataFrame(), {}, [*walks]
    if not any(walk.failure for walk in walks):
        with _watched() as seen:
            layout, parts = Layout.of(spec, matrix, protocol), [part for walk in walks for part in walk.parts]
            frame, meta = layout.frame(parts), layout.meta(parts)
        walks.append(seen)
    blank = _blank(spec, matrix, key)
    if failure := next((walk.failure for walk in walks if walk.failure), ()):
        why = cleaned(failure[1])  # it may quote what a model of a stranger's raised
        return [replace(e, status=failure[0], reason=why) for e in blank]
    meta |= {"warnings": sorted({text for walk in walks for text in walk.warnings}), "reading": spec.reading}
    meta |= {"peak_mb": float(pd.Series([walk.peak_mb for walk in walks]).max())}
    if matrix.aim.cross_sectional:
        frame["place"] = frame["forecast"].groupby(level="session").rank(pct=True, method="first")
    flawed = meta.pop("flaw")
    if flawed := protocol.split.diagnostic or flawed:
        blank = [replace(e, status="diagnostic", reason=flawed) for e in blank]
    frame, contaminated, why = uncontaminated(frame, spec.cutoff)
    if why and not flawed:
        blank = [replace(e, status="contaminated", reason=why) for e in blank]
    meta |= {"contaminated": contaminated} if contaminated else {}
    of_names = {matrix.name: frame}
    if frame.index.nlevels > 1:
        of_names = {str(name): own.droplevel("ticker") for name, own in frame.groupby(level="ticker")}
    results = [_result(e, spec, matrix, protocol, of_names.get(e.ticker, frame[:0]), meta) for e in blank]
    if len(results) > 1:
        together = pooled_figures([e.forecasts for e in results if len(e.forecasts)], matrix.horizon)
        for result in results:
            result.meta.update(pooled=together, trial=key)
    return results


LEAST_CLEAN = 63  # sessions after a cutoff on which a model that was trained elsewhere can be judged


def uncontaminated(forecasts: pd.DataFrame, cutoff: str) -> tuple[pd.DataFrame, str, str]:
    """Forecasts of sessions after a model's knowledge cutoff, and in words what is left out.

    Where fewer than 63 sessions are later all are kept, and the third says why they must not be ranked; "" else.
    """
    if not cutoff:
        return forecasts, "", ""
    session = forecasts.index.get_level_values(0)
    clean = session > pd.Timestamp(cutoff)
    known, later = session[~clean].nunique(), session[clean].nunique()
    if later < LEAST_CLEAN and known:
        why = f"contaminated: trained elsewhere until {cutoff}, and {known} of {known + later} sessions are not later"
        return forecasts, "", f"{why}; never ranked"
    left = f"{known} sessions up to its knowledge cutoff {cutoff} are contaminated and left out"
    return forecasts[clean], left if known else "", ""


def _blank(spec: ModelSpec, matrix: Matrix, key: str) -> list[Evaluation]:
    """Results that say nothing yet, one per ticker."""
    base: dict[str, Any] = {
        "model": spec.name, "family": spec.family, "task": spec.task, "horizon": matrix.horizon,
        "target": matrix.target,
    }  # fmt: skip
    return [Evaluation(k, ticker=ticker, **base) for ticker, k in keys(matrix, key).items()]


def _result(
    blank: Evaluation, spec: ModelSpec, matrix: Matrix, protocol: Protocol, own: pd.DataFrame, meta: dict[str, Any]
) -> Evaluation:
    """What the walk says of one ticker; whether the model looks ahead is asked once for all, and kept in `meta`."""
    ticker = blank.ticker
    if own.empty:
        return replace(blank, status="failed", reason=f"no test block reaches the sessions of {ticker}")
    own, rivals = compared(trade(own, matrix.of(ticker), protocol), matrix.aim)
    figures = judge(own, matrix.horizon, meta["quantile"], matrix.target)
    if unusually_strong(figures, len(own), matrix.horizon, matrix.aim) and "lookahead" not in meta:
        meta["lookahead"] = _lookahead(spec, matrix, protocol)
    return replace(blank, forecasts=own, metrics=figures, meta=meta | rivals)


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


@lru_cache(1)
def _libraries(modules: int) -> ThreadpoolController:
    """The loaded libraries that have threads of their own; looking for them takes longer than many a fit.

    Another count of modules is another answer: what loads a library is an import.
    """
    return ThreadpoolController()


@contextmanager
def _watched() -> Iterator[Walked]:
    """Note warnings and peak memory inside; any exception of a model is a result to show, not an end of the batch."""
    seen = Walked()
    one_thread = _libraries(len(sys.modules)).limit(limits=1)
    with warnings.catch_warnings(record=True) as caught, one_thread, _peak_memory() as peak:
        warnings.simplefilter("always")
        try:
            yield seen
        except MemoryError:
            seen.failure = ("memory", "the model asked for more memory than there is")
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0]
            seen.failure = ("failed", f"{type(error).__name__}: {said}"[:300])
    seen.warnings = sorted({f"{w.category.__name__}: {w.message}".splitlines()[0][:200] for w in caught})
    seen.peak_mb = peak[0]


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
