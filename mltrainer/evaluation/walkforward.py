"""One model, one ticker, judged out of sample: fit on the past, forecast the next block, trade the forecasts."""

import io
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import TimeSeriesSplit
from threadpoolctl import threadpool_limits

from mltrainer import metrics
from mltrainer.errors import BadInput
from mltrainer.evaluation.panels import bounded, in_order, in_words, keys, places, pooled_figures
from mltrainer.evaluation.results import Metrics
from mltrainer.evaluation.splits import MINIMUM_TRAIN, Rows, Split, WalkForward
from mltrainer.features.matrix import Matrix
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec
from mltrainer.models.forecasters import quantile_level

VERSION = 1  # raise it when the protocol changes what a stored result would be
MEASURED = "fit_seconds shared_seconds predict_seconds slowest_fold peak_mb warnings".split()
SUSPECT_IC, SUSPECT_HIT, SUSPECT_ROWS = 0.15, 0.60, 250


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a result besides the data and the model.

    Parameters
    ----------
    split : how time is cut.
    cost_bps : cost of trading one unit of position, in basis points of its value, per side.
    interval : nominal coverage of the prediction interval.
    tail : share of train rows at each end beyond whose quantile a feature is clipped, in train and test alike; a
        crash day twenty deviations out would otherwise decide every linear fit, and every forecast after it.
    """

    split: Split = field(default_factory=WalkForward)
    cost_bps: float = 5.0
    interval: float = 0.90
    tail: float = 0.01


@dataclass(frozen=True)
class Evaluation:
    """What one model said and earned out of sample.

    Attributes
    ----------
    status : "ok", "failed", "timeout", "memory", "unavailable", or "diagnostic" for a split that trains on the
        future, which is shown and never ranked; `reason` says why it is not ok.
    forecasts : one row per out-of-sample session: y (return earned from the next entry), forecast, lower, upper
        (returns), position (held over the session, -1..1), gross, net, benchmark (simple returns of the session),
        fold, close (price), scale; `quantile` where the model forecasts one.
    metrics : figures of design section 5, by name or as attributes, NaN where undefined.
    meta : fit and predict seconds and how many of them were shared, seconds of the slowest fold, peak memory, warnings,
        `policy` where a model bore only some of the rows, `panel` where it was trained on several tickers, and then
        `pooled` with figures of all of them together.
    """

    key: str
    model: str
    family: str
    task: str
    ticker: str
    horizon: int
    status: str = "ok"
    reason: str = ""
    forecasts: pd.DataFrame = field(default_factory=pd.DataFrame)
    metrics: Metrics = field(default_factory=Metrics)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", Metrics(self.metrics))

    @property
    def ok(self) -> bool:
        """Whether it ran to the end."""
        return self.status == "ok"

    def __repr__(self) -> str:
        """Say the result in one line."""
        if not self.ok:
            return f"Evaluation({self.model} on {self.ticker}: {self.status}, {self.reason})"
        m = self.metrics
        said = f"IC {m['ic']:.3f}, Sharpe {m['sharpe']:.2f} net of costs, out-of-sample R2 {m['r2_oos']:.4f}"
        panel = f", {self.meta['panel']}" if self.meta.get("panel") else ""
        return f"Evaluation({self.model} on {self.ticker}{panel}: {said})"

    @property
    def measured(self) -> dict[str, Any]:
        """The part of `meta` that another run of the same fit would find different: times, memory, warnings."""
        return {name: self.meta[name] for name in MEASURED if name in self.meta}

    def to_bytes(self) -> bytes:
        """Pack into one npz without pickles, all but what was measured; equal fits give equal bytes."""
        head = {k: v for k, v in asdict(self).items() if k != "forecasts"}
        head["meta"] = {k: v for k, v in self.meta.items() if k not in MEASURED}
        columns = {f"f_{c}": self.forecasts[c].to_numpy(float) for c in self.forecasts}
        index = self.forecasts.index.to_numpy("datetime64[s]").astype("int64") if len(self.forecasts) else np.empty(0)
        packed = io.BytesIO()
        arrays: dict[str, Any] = {"head": np.array(json.dumps(head)), "index": index, **columns}
        np.savez_compressed(packed, **arrays)
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> "Evaluation":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(body), allow_pickle=False) as packed:
            columns = {k[2:]: packed[k] for k in packed.files if k.startswith("f_")}
            index = pd.DatetimeIndex(packed["index"].astype("datetime64[s]"), name="session")
            return cls(forecasts=pd.DataFrame(columns, index=index), **json.loads(str(packed["head"])))

    @staticmethod
    def column(body: bytes, name: str) -> np.ndarray:
        """One column of the forecasts in what `to_bytes` wrote, without unpacking the rest."""
        with np.load(io.BytesIO(body), allow_pickle=False) as packed:
            return np.asarray(packed[f"f_{name}"])


def evaluate(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str = "") -> Evaluation:
    """Walk one model forward over one ticker with one BLAS thread; a model's exception becomes status "failed"."""
    (result,) = evaluate_each(spec, matrix, protocol, key)
    return result


def evaluate_each(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str = "") -> list[Evaluation]:
    """`evaluate` for a panel: one result per ticker, from one model of all of them where the model can be pooled."""
    base: dict[str, Any] = {
        "model": spec.name, "family": spec.family, "task": spec.task, "horizon": matrix.horizon,
    }  # fmt: skip

    def each(status: str, reason: str) -> list[Evaluation]:
        return [Evaluation(k, ticker=t, status=status, reason=reason, **base) for t, k in keys(matrix, key).items()]

    if not spec.available:
        return each("unavailable", spec.why_unavailable)
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
    base |= {"status": "diagnostic", "reason": protocol.split.diagnostic} if protocol.split.diagnostic else {}
    results = []
    for ticker, k in keys(matrix, key).items():
        own = forecasts
        if forecasts.index.nlevels > 1:
            own = forecasts[forecasts.index.get_level_values("ticker") == ticker].droplevel("ticker")
        if own.empty:
            reason = f"no test block reaches the sessions of {ticker}"
            results.append(Evaluation(k, ticker=ticker, **base | {"status": "failed", "reason": reason}))
            continue
        own = trade(own, matrix.of(ticker), protocol)
        figures = judge(own, matrix.horizon, meta["quantile"])
        results.append(Evaluation(k, ticker=ticker, forecasts=own, metrics=figures, meta=dict(meta), **base))
    if len(results) > 1:
        together = pooled_figures([e.forecasts for e in results if len(e.forecasts)], matrix.horizon)
        for result in results:
            result.meta["pooled"] = together
    return results


def out_of_sample(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Forecast every test block from a model that saw only rows before it.

    Features are clipped to the train block's outer quantiles. The label is divided by the volatility known at its
    row and z-scored with the train block's mean and deviation, so that one penalty means the same for every share;
    forecasts are turned back into returns. A series model (`spec.columns`) sees its columns as they are and the label
    in return units. A model with a `filter` method is carried forward through the block: it may use every feature row
    up to the one it forecasts, and labels that have matured (that of row t is known at the close of t + 1 + horizon).

    A panel is cut by sessions, the same for all tickers. One model learns from the rows of all, unless it lives in the
    history of one share (`in_order`): then each ticker has its own.
    """
    y = matrix.y.dropna()
    n, scale = len(y), matrix.scale.loc[y.index].to_numpy(float)
    X = matrix.X.loc[y.index, list(spec.columns or matrix.X.columns)].to_numpy(float)
    unit = np.ones(n) if spec.columns else scale
    z = y.to_numpy(float) / unit
    session, ticker, late = places(matrix, y.index)
    pooled = not in_order(spec)
    if protocol.split.diagnostic and not pooled:
        raise BadInput(f"{spec.name} follows one session after the other, and this split takes them apart")
    members = [np.arange(n)] if pooled else [np.flatnonzero(ticker == t) for t in np.unique(ticker)]
    said, quantile, fold = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    fit_seconds, predict_seconds, policy, shared = [], [], "", sharing.seconds()
    for number, cut in enumerate(protocol.split.split(session[-1] + 1, matrix.horizon)):
        fit_seconds.append(0.0)
        predict_seconds.append(0.0)
        for rows in members:
            when, first, last = session[rows], cut.test[0], cut.test[-1]
            train = rows[np.isin(when, cut.train) & ((late[rows] < first) | (when > last))]
            since = rows[(when > cut.train[-1]) & (when <= last)]
            test = rows[np.isin(when, cut.test)]
            if len(train) < MINIMUM_TRAIN or not len(test):
                continue
            train, policy = bounded(train, session, spec.max_train_rows)
            mean, deviation = (0.0, 1.0) if spec.columns else (z[train].mean(), z[train].std())
            low, high = (-np.inf, np.inf) if spec.columns else feature_bounds(X[train], protocol.tail)
            estimator = configured(spec, matrix, session[train] if pooled else None)
            begin = time.process_time()
            estimator = sharing.fit(estimator, np.clip(X[train], low, high), (z[train] - mean) / deviation)
            middle = time.process_time()
            if hasattr(estimator, "filter"):
                seen = (z[since] - mean) / deviation
                answer = estimator.filter(np.clip(X[since], low, high), seen, lag=matrix.horizon + 1)[-len(test) :]
            else:
                answer = estimator.predict(np.clip(X[test], low, high))
            predict_seconds[-1] += time.process_time() - middle
            fit_seconds[-1] += middle - begin
            said[test] = (np.asarray(answer, dtype=float).reshape(len(test)) * deviation + mean) * unit[test]
            fold[test] = number
            if hasattr(estimator, "predict_quantile"):
                level = estimator.predict_quantile(np.clip(X[test], low, high))
                quantile[test] = (level * deviation + mean) * unit[test]
    tested = np.isfinite(fold)
    if not np.isfinite(said[tested]).all():
        raise ValueError(f"{int((~np.isfinite(said[tested])).sum())} of {int(tested.sum())} forecasts are not finite")
    known = np.empty(n)
    for t in np.unique(ticker):
        known[ticker == t] = _known_mean(y.to_numpy(float)[ticker == t], matrix.horizon)
    columns = {"y": y.to_numpy(float), "forecast": said, "expanding_mean": known, "fold": fold, "scale": scale}
    if np.isfinite(quantile).any():
        columns["quantile"] = quantile
    frame = pd.DataFrame(columns, index=y.index)[tested]
    shared = sharing.seconds() - shared
    meta = {
        "fit_seconds": sum(fit_seconds) + shared,  # what it costs on its own
        "shared_seconds": shared,  # of which so many were spent by a model that ran before
        "predict_seconds": sum(predict_seconds),
        "slowest_fold": max(a + b for a, b in zip(fit_seconds, predict_seconds, strict=True)),
        "rows": n,
        "features": X.shape[1],
        "policy": policy,
        "panel": in_words(matrix, pooled),
        "quantile": quantile_level(estimator),
    }
    return frame, meta


def configured(spec: ModelSpec, matrix: Matrix, sessions: Rows | None = None) -> Any:
    """Build the estimator and tell it what only the matrix knows: the horizon, and which column is the return.

    A pooled model is given the `sessions` of its train rows: the gaps inside it, which count rows, are widened to the
    most rows that a session has, and splits that then no longer fit are left out.
    """
    estimator = spec.build()
    width = 1 if sessions is None else int(np.bincount(sessions).max())
    names = list(spec.columns or matrix.X.columns)
    told: dict[str, Any] = {"horizon": (matrix.horizon + 1) * width - 1}
    if "return_1" in names:
        told["return_column"] = names.index("return_1")
    wanted = estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}
    told = {name: value for name, value in told.items() if name in wanted}
    if sessions is not None and width > 1:
        for name, value in estimator.get_params().items():
            if isinstance(value, TimeSeriesSplit):
                n, gap = len(sessions), value.gap * width
                fit = (k for k in range(value.n_splits, 2, -1) if n - gap > n // (k + 1) * k)
                told[name] = TimeSeriesSplit(next(fit, 2), gap=gap)
    return estimator.set_params(**told) if told else estimator


def feature_bounds(X: np.ndarray, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bound of each column: its `tail` and 1 - `tail` quantile over the rows given (train only)."""
    low, high = np.quantile(X, [tail, 1 - tail], axis=0)
    return low, high


def _known_mean(y: np.ndarray, horizon: int) -> np.ndarray:
    """Mean of all labels known at each row: those at least horizon + 1 rows old; 0 before the first."""
    count = np.arange(1, len(y) + 1)
    mean = np.concatenate([np.zeros(horizon + 1), np.cumsum(y) / count])
    return mean[: len(y)]


def trade(forecasts: pd.DataFrame, matrix: Matrix, protocol: Protocol) -> pd.DataFrame:
    """Add interval, position and returns per session to out-of-sample forecasts.

    Every forecast opens a position of its sign at the next entry, held `horizon` sessions; the position of a
    session is the mean of the `horizon` that overlap it. The return of a session runs from its entry price to
    the next session's, less `cost_bps` of what the position changed.
    """
    h = matrix.horizon
    out = forecasts.copy()
    out["lower"], out["upper"] = conformal_interval(out, h, protocol.interval)
    decided = np.sign(out["forecast"]).to_numpy()
    known = np.concatenate([np.zeros(h), decided])  # a session trades on forecasts of the sessions before it
    position = np.lib.stride_tricks.sliding_window_view(known, h)[: len(decided)].mean(axis=1)
    entry = matrix.prices["entry"]
    session = (entry.shift(-1) / entry - 1).loc[out.index].to_numpy()
    cost = protocol.cost_bps / 1e4
    out["position"] = position
    out["gross"] = position * session
    out["net"] = out["gross"] - cost * np.abs(np.diff(position, prepend=0.0))
    out["benchmark"] = session - cost * (np.arange(len(session)) == 0)
    out["close"] = matrix.prices["close"].loc[out.index]
    return out


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
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)[:n]
    windows = np.sort(windows, axis=1)  # NaN sort last
    count = np.isfinite(windows).sum(axis=1)
    rank = metrics.conformal_rank(count, nominal)
    width = np.where(count >= least, windows[np.arange(n), rank], np.nan) * scale
    return said - width, said + width


def judge(forecasts: pd.DataFrame, horizon: int, level: float | None = None) -> Metrics:
    """Every figure of the protocol for one model, NaN where undefined (`metrics.UNDEFINED` says why).

    `level` is the quantile forecast in the column `quantile`, where the model forecasts one.
    """
    y, said = forecasts["y"].to_numpy(), forecasts["forecast"].to_numpy()
    net, gross, held = (forecasts[c].to_numpy() for c in ("net", "gross", "position"))
    constant = constant_forecast(forecasts)
    ic, ic_t = (np.nan, np.nan) if constant else metrics.information_coefficient(y, said, lags=horizon)
    traded = np.abs(np.diff(held, prepend=0.0))
    apart = slice(0, None, horizon)
    figures = {
        "mse": metrics.mse(y, said),
        "mae": metrics.mae(y, said),
        "r2": metrics.r2(y, said),
        "r2_oos": metrics.r2(y, said, forecasts["expanding_mean"].to_numpy()),
        "mape": metrics.mape_of_price(y, said),
        "ic": ic,
        "ic_t": ic_t,
        "hit_rate": metrics.hit_rate(y, said),
        "hit_p": metrics.timing_p_value(y[apart], said[apart]),
        "sharpe": metrics.sharpe(net),
        "sharpe_deviation": metrics.sharpe_deviation(net),
        "sharpe_gross": metrics.sharpe(gross),
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
    }
    if "quantile" in forecasts and level is not None:
        figures["pinball"] = metrics.pinball(y, forecasts["quantile"], q=level)
        figures["quantile_coverage"] = float(np.mean(y <= forecasts["quantile"].to_numpy()))
    return Metrics({name: float(value) for name, value in figures.items()})


def constant_forecast(forecasts: pd.DataFrame) -> bool:
    """Whether the forecast per unit of volatility never changes inside a fold: the model found no signal."""
    per_unit = forecasts["forecast"] / forecasts["scale"]
    spread = per_unit.groupby(forecasts["fold"]).std()
    return bool((spread < 1e-9 * max(per_unit.abs().max(), 1e-12)).all())


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
