"""Rewrite the future, and the past must not move by one bit: features, labels, regimes, splits and forecasts.

What is said of session t may use only what was known at its close. So everything after t is truncated, multiplied,
shuffled, replaced by noise or moved to other dates, everything is computed again, and the rows up to t are compared.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from mltrainer.data import market
from mltrainer.errors import BadInput
from mltrainer.evaluation import study
from mltrainer.evaluation.engine import Pool, Task
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.features import indicators, macro
from mltrainer.features.matrix import Matrix, forward_return
from mltrainer.models.base import ModelSpec
from mltrainer.trading import regimes

FeatureFunction = Callable[[pd.DataFrame], "pd.DataFrame | pd.Series[float]"]
START, END = "2004-01-02", "2008-12-31"  # both ways of the market, and quick to fit
SAID = ("forecast", "expanding_mean", "lower", "upper", "position", "quantile")


@dataclass(frozen=True)
class Leak:
    """Something said of a session that moved when only later sessions were rewritten."""

    kind: str
    name: str
    how: str
    first: str
    cut: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: its value of {self.first} moves when sessions after {self.cut} are {self.how}"


@dataclass(frozen=True)
class LeakCheck:
    """How many things of each kind were checked, and what leaked."""

    checked: dict[str, int]
    leaks: list[Leak]

    @property
    def holds(self) -> bool:
        """Whether nothing leaked."""
        return not self.leaks

    def __repr__(self) -> str:
        """Say the finding in one line."""
        what = ", ".join(f"{n} {kind}s" for kind, n in self.checked.items())
        said = "; ".join(map(str, self.leaks)) or "the future moves none of them"
        return f"LeakCheck({what}: {said})"


def leakcheck(
    function: FeatureFunction | None = None,
    *,
    ticker: str = "MSFT",
    models: Iterable[str] | None = None,
    horizon: int = 5,
    jobs: int | None = None,
    progress: bool = True,
) -> LeakCheck:
    """Check everything the product says of a session for look-ahead, or a feature function of your own.

    Parameters
    ----------
    function : from a frame of bars (index session; columns open, high, low, close, volume as far as they exist) to
        features aligned with it. When given, only it is checked.
    ticker : whose real bars are used.
    models : names of models whose forecasts are checked; default the whole catalog, () for none.
    horizon : of labels and forecasts.
    jobs : worker processes for the forecasts; default the number of cores.
    """
    rng = np.random.default_rng(0)
    bars = market.bars(ticker)
    cuts = [len(bars.frame) // 3, len(bars.frame) * 4 // 5]
    if function is not None:
        return _gathered([("feature", *_features(function, bars.frame, cuts, rng))])
    specs = study.select(models=models) if models is None or list(models) else []
    parts = [
        ("feature", *_features(lambda f: indicators.compute(f)[0], bars.frame, cuts, rng)),
        ("context", *_context(bars.frame, market.context(bars), cuts, rng)),
        ("label", *_labels(bars.frame, cuts, rng, horizon)),
        ("regime", *_features(lambda f: _codes(regimes.detect(f["close"])), bars.frame, cuts, rng)),
        ("split", *_splits(horizon)),
    ]
    if specs:
        parts.append(("forecast", *_forecasts(specs, ticker, horizon, jobs, progress)))
    return _gathered(parts)


def imported(path: str) -> FeatureFunction:
    """Import a feature function named as module:name; modules of the current folder are found too."""
    module, _, name = path.partition(":")
    if not name or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise BadInput(f"{path[:80]!r} names no function; write module:name")
    sys.path.insert(0, str(Path.cwd()))
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{path[:80]!r} cannot be imported: {error}") from None
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise BadInput(f"{path[:80]!r} is no function but {type(function).__name__}")
    return cast(FeatureFunction, function)


def _gathered(parts: list[tuple[str, int, list[Leak]]]) -> LeakCheck:
    checked = {kind: n for kind, n, _ in parts}
    leaks = [dataclasses.replace(leak, kind=kind) for kind, _, found in parts for leak in found]
    return LeakCheck(checked, leaks)


def _features(
    compute: FeatureFunction, frame: pd.DataFrame, cuts: list[int], rng: np.random.Generator
) -> tuple[int, list[Leak]]:
    def columns(rows: pd.DataFrame) -> pd.DataFrame:
        out = compute(rows)
        out = out.to_frame() if isinstance(out, pd.Series) else pd.DataFrame(out)
        if len(out) != len(rows):
            raise BadInput(f"the function gave {len(out)} rows for {len(rows)} sessions; it must give one for each")
        return out.set_axis([str(c) for c in out.columns], axis=1)

    past = columns(frame)
    leaks: dict[str, Leak] = {}
    for cut in cuts:
        for how, other in indicators.rewrites(frame, cut, rng):
            for leak in _moved(past.iloc[:cut], columns(other).iloc[:cut], how, frame.index[cut - 1]):
                leaks.setdefault(leak.name, leak)
    return past.shape[1], list(leaks.values())


def _moved(past: pd.DataFrame, again: pd.DataFrame, how: str, cut: pd.Timestamp) -> Iterator[Leak]:
    """One leak per column that is not bit for bit the same, with the first session that differs."""
    for name in indicators.differing(past, again):
        first = past.index[0]
        if name in again:
            a, b = past[name].to_numpy(float), again[name].to_numpy(float)
            differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
            first = past.index[int(np.argmax(differs))]
        yield Leak("", name, how, str(pd.Timestamp(first).date()), str(cut.date()))


def _codes(labels: pd.DataFrame) -> pd.DataFrame:
    """Labels as numbers, so that they are compared like features."""
    known = {name: code for code, name in enumerate((*regimes.VOLATILITY, *regimes.TREND))}
    return labels.apply(lambda column: column.map(known).astype(float))


def _context(
    frame: pd.DataFrame, datasets: list[market.Dataset], cuts: list[int], rng: np.random.Generator
) -> tuple[int, list[Leak]]:
    """Rewrite what became available after the cut, in the index and in every series."""
    index = next((d.frame for d in datasets if d.kind == "bars"), None)
    series = {d.name: d.frame for d in datasets if d.kind == "macro"}
    past, _ = macro.context(index, series, frame.index, frame["close"])
    leaks: dict[str, Leak] = {}
    for cut in cuts:
        day = frame.index[cut - 1]

        def after(rows: pd.DataFrame, known: pd.Series, columns: list[str]) -> pd.DataFrame:
            later = known.to_numpy() > day.to_numpy()  # noqa: B023 - called inside this pass of the loop only
            noise = rng.lognormal(0.0, 1.0, (int(later.sum()), len(columns)))
            out = rows.copy()
            out.loc[later, columns] = out.loc[later, columns].to_numpy() * noise
            return out

        other = None if index is None else after(index, index.index.to_series(), list(index.columns))
        changed = {name: after(rows, rows["available"], ["value"]) for name, rows in series.items()}
        close = after(frame, frame.index.to_series(), ["close"])["close"]
        again, _ = macro.context(other, changed, frame.index, close)
        for leak in _moved(past.iloc[:cut], again.iloc[:cut], "replaced by noise", day):
            leaks.setdefault(leak.name, leak)
    return past.shape[1], list(leaks.values())


def _labels(frame: pd.DataFrame, cuts: list[int], rng: np.random.Generator, horizon: int) -> tuple[int, list[Leak]]:
    """The label of t is known at t + 1 + horizon: rewriting later sessions must not move it, nor invent one."""
    entry = frame["open"] if "open" in frame else frame["close"]
    y = forward_return(entry, horizon).to_frame("y")
    leaks = [] if y["y"].iloc[-horizon - 1 :].isna().all() else [Leak("", "y", "missing", str(y.index[-1]), "the end")]
    for cut in cuts:
        settled = cut - horizon - 1
        for how, other in indicators.rewrites(entry.to_frame("entry"), cut, rng):
            again = forward_return(other["entry"], horizon).to_frame("y")
            leaks += _moved(y.iloc[:settled], again.iloc[:settled], how, frame.index[cut - 1])
    return 1, leaks[:1]


def _splits(horizon: int) -> tuple[int, list[Leak]]:
    """No label window of a train row reaches the first test row of its fold."""
    leaks, count = [], 0
    for n in (800, 1500, 3012):
        for fold in WalkForward().split(n, horizon):
            count += 1
            if fold.train.max() + 1 + horizon >= fold.test.min():
                leaks.append(Leak("", f"fold of {n} rows", "overlapping", str(fold.train.max()), str(fold.test.min())))
    return count, leaks


# --- forecasts ------------------------------------------------------------------------------------------------


def rewritten(matrix: Matrix, cut: int, rng: np.random.Generator) -> Matrix:
    """The same matrix with noise in place of everything that was not known at the close of row `cut`.

    Known are features, scale and closes up to the row, entries up to the row, and labels that had matured: those of
    rows up to cut - horizon - 1.
    """

    def noise(values: np.ndarray, first: int) -> np.ndarray:
        out = values.copy()
        later = out[first:]
        out[first:] = np.where(np.isnan(later), np.nan, later * rng.lognormal(0.0, 1.0, later.shape) + 1e-3)
        return out

    X = pd.DataFrame(noise(matrix.X.to_numpy(float), cut + 1), matrix.X.index, matrix.X.columns)
    prices = pd.DataFrame(noise(matrix.prices.to_numpy(float), cut + 1), matrix.X.index, matrix.prices.columns)
    y = pd.Series(noise(matrix.y.to_numpy(float), cut - matrix.horizon), matrix.X.index, name="y")
    scale = pd.Series(noise(matrix.scale.to_numpy(float), cut + 1), matrix.X.index, name="scale")
    return dataclasses.replace(matrix, X=X, y=y, scale=scale, prices=prices, provenance=None)


def _forecasts(
    specs: list[ModelSpec], ticker: str, horizon: int, jobs: int | None, progress: bool
) -> tuple[int, list[Leak]]:
    """Fit every model on the real and on a rewritten history; probes, not trials: nothing is chosen by them."""
    matrix = dataclasses.replace(study.matrix(ticker, start=START, end=END, horizon=horizon), provenance=None)
    cut = len(matrix.X) * 4 // 5
    other = rewritten(matrix, cut, np.random.default_rng(1))
    protocol = Protocol(split=WalkForward(folds=3))
    available = sorted((s for s in specs if s.available), key=lambda s: -s.cost)
    tasks = [Task(s, m, protocol, name) for s in available for name, m in (("real", matrix), ("rewritten", other))]
    answers: dict[tuple[str, str], pd.DataFrame] = {}
    leaks = []
    with tqdm(total=len(tasks), disable=not progress, unit="fit", leave=False) as bar:
        for task, result in Pool(jobs or os.cpu_count() or 1).map(tasks):
            bar.update()
            if not result.ok:
                leaks.append(Leak("", task.spec.name, f"{result.status} ({result.reason})", "any session", "any"))
                continue
            answers[task.spec.name, task.key] = result.forecasts
    day = matrix.X.index[cut]
    for spec in available:
        past, again = answers.get((spec.name, "real")), answers.get((spec.name, "rewritten"))
        if past is None or again is None:
            continue
        said = [c for c in SAID if c in past]
        found = list(_moved(past.loc[:day, said], again.loc[:day, said], "replaced by noise", day))
        leaks += [dataclasses.replace(leak, name=f"{spec.name} ({leak.name})") for leak in found[:1]]
    return len(available), leaks
