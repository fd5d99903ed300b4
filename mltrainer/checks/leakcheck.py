"""Rewrite the future, and the past must not move by one bit: from the raw bars to the verdict, the search included.

What is said of session t may use only what was known at its close. So everything after t is truncated, multiplied,
shuffled, replaced by noise or moved to other dates, everything is computed again, and the rows up to t are compared.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import default_rng
from tqdm.auto import tqdm

from mltrainer.checks import decisions
from mltrainer.checks.columns import TRUNCATE, FeatureFunction, Leak, Part, moved, of_columns, of_function
from mltrainer.data import market
from mltrainer.errors import MltrainerError
from mltrainer.evaluation import judging, lookahead, study, tune
from mltrainer.evaluation.engine import Task, effective_jobs, results, unwatched
from mltrainer.evaluation.lookahead import PATH
from mltrainer.evaluation.protocol import Protocol, flaw
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import WalkForward
from mltrainer.features import indicators, rewriting
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog, sharing
from mltrainer.models.base import ModelSpec
from mltrainer.trading import regimes
from mltrainer.trading.alerts import firing
from mltrainer.trading.alerts.watching import Book, Position, drift, held_frame, signals
from mltrainer.trust.provenance import Dataset

START, END = "2004-01-02", "2008-12-31"  # both ways of the market, and quick to fit
FOLDS = 3
STATES = 1_100  # sessions in which hidden states are estimated three times, at a sixth of a second each
YEAR = 252
CHEAP = "RidgeRegression"  # trades and search are the same for every model, so the quickest shows them


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
    function: FeatureFunction | str | None = None,
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
        features aligned with it, or its name as module:name. When given, only it is checked.
    ticker : whose real bars are used.
    models : names of models whose forecasts are checked; default the whole catalog, () for none. What is the same for
        all models, from the matrix to trades and search, is checked in any case.
    horizon : of labels and forecasts.
    jobs : worker processes for the forecasts; default the number of cores. 1 computes in this process.
    """
    jobs, bars = effective_jobs(jobs), market.bars(ticker)
    if function is not None:
        return _gathered([of_function(function, bars)])
    specs = study.select(models=models) if models is None or list(models) else []
    short = market.bars(ticker, start=START, end=END)
    matrix = features.build(short, *market.context(short), horizon=horizon)  # probes are never sealed
    parts = [part(bars, matrix) for part in PARTS.values()]
    if specs:
        parts.append(_forecasts(specs, matrix, jobs, progress))
    return _gathered(parts)


def _gathered(parts: list[Part]) -> LeakCheck:
    return LeakCheck({kind: n for kind, n, _ in parts}, [leak for *_, leaks in parts for leak in leaks])


# --- from bars to trades and choices --------------------------------------------------------------------------


def _matrix(matrix: Matrix) -> Part:
    """Rewrite all sources after several sessions and build the matrix again: features, scale, prices and labels.

    A label is a return from the next entry on: rewriting its own session, and what came before, must not move it.
    """
    kind, n, past = "matrix column", len(matrix.X), lookahead.parts(matrix)
    leaks: dict[str, Leak] = {}
    others = [how for how in lookahead.FUTURES if how != PATH]
    for number, at in enumerate((8, n // 3, n // 2 + 1, n * 4 // 5, n - 7)):
        day = matrix.X.index[at]
        for how in (PATH, others[number % len(others)]):
            if how == "truncated" and at < TRUNCATE:  # fewer rows than a matrix has
                continue
            again = lookahead.parts(lookahead.rebuilt(matrix, partial(lookahead.later, day=day, how=how)))
            for leak in _leaks(kind, past, again, day, how, lookahead.lags(matrix.horizon)):
                leaks.setdefault(leak.name, leak)
            if how == "truncated" and again["y"].iloc[-matrix.horizon - 1 :].notna().any():
                leaks.setdefault("y", Leak(kind, "y", note="it is there before its window has ended"))
    day = matrix.X.index[n // 2]
    other = lookahead.parts(lookahead.rebuilt(matrix, partial(_earlier, day=day)))
    if rewriting.unequal(past["y"][day:], other["y"].reindex(past.index)[day:]).any():
        note = f"labels from {day.date()} on move when sessions up to it are rewritten: they do not begin at the next"
        leaks.setdefault("y", Leak(kind, "y", note=note))
    return kind, past.shape[1], list(leaks.values())


def _earlier(source: Dataset, day: pd.Timestamp) -> Dataset:
    """The source with another level of everything up to `day`."""
    if source.kind != "bars":
        return source
    known = (source.frame.index <= day)[:, None]
    return Dataset(source.frame.mask(np.broadcast_to(known, source.frame.shape), source.frame * 1.37), *_named(source))


def _named(source: Dataset) -> tuple[str, str]:
    return source.name, source.kind


def _leaks(
    kind: str, past: pd.DataFrame, again: pd.DataFrame, day: pd.Timestamp, how: str, lags: dict[str, int]
) -> Iterator[Leak]:
    for m in lookahead.moves(past, again, day, how=how, lags=lags):
        yield Leak(kind, m.name, m.how, m.first, m.cut)


def _folds(horizon: int) -> Part:
    """No label window of a train row reaches the first test row of its fold."""
    found = [(n, flaw(fold, horizon)) for n in (800, 1500, 3012) for fold in WalkForward().split(n, horizon)]
    return "fold", len(found), [Leak("fold", f"of {n} rows", note=text) for n, text in found if text]


def _trades(matrix: Matrix) -> Part:
    """Walk, trade and judge one model through other futures: at first rows of test blocks, beside them and inside."""
    kind, spec, protocol = "record column", catalog.spec(CHEAP), Protocol(split=WalkForward(folds=FOLDS))
    with sharing.shared("leakcheck"):
        past = _without_hindsight(judging.evaluate(spec, matrix, protocol))
        if not past.ok:
            return kind, 0, [Leak(kind, CHEAP, note=f"{past.status}, {past.reason}")]
        starts = np.flatnonzero(past.forecasts["fold"].diff().to_numpy() != 0)
        leaks: dict[str, Leak] = {}
        for at in sorted({*starts[1:], *(starts[1:] - 1), starts[-1] + 5, starts[-1] + 101}):
            day = past.forecasts.index[at]
            other = lookahead.another(matrix, int(matrix.X.index.searchsorted(day)))
            again = _without_hindsight(judging.evaluate(spec, other, protocol))
            for leak in _leaks(kind, past.forecasts, again.forecasts, day, PATH, lookahead.lags(matrix.horizon)):
                leaks.setdefault(leak.name, leak)
            known = slice(0, max(0, int(at) - matrix.horizon - 1))
            one, two = (judging.judge(e.forecasts.iloc[known], matrix.horizon) for e in (past, again))
            if len(past.forecasts.iloc[known]) and not pd.Series(one).equals(pd.Series(two)) and not leaks:
                leaks["figures"] = Leak(kind, "figures", PATH, str(day.date()), str(day.date()))
    return kind, past.forecasts.shape[1], list(leaks.values())


def _without_hindsight(evaluation: Evaluation) -> Evaluation:
    """All but the baseline, which is chosen with hindsight so that it is the hardest to beat."""
    return replace(evaluation, forecasts=evaluation.forecasts.drop(columns="baseline", errors="ignore"))


def _search(matrix: Matrix) -> Part:
    """Search once, and once more with another future from the first session on that judges the choice."""
    kind, spec = "search setting", catalog.spec(CHEAP)
    try:
        first = _searched(spec, matrix)
    except MltrainerError as error:
        return kind, 0, [Leak(kind, CHEAP, note=f"nothing can be searched: {error}")]
    day = first.evaluation.forecasts.index[0]
    other = _searched(spec, lookahead.another(matrix, int(matrix.X.index.searchsorted(day))))
    one, two = (t.candidates.drop(columns="key").reset_index(drop=True) for t in (first, other))
    note = f"its score moves when sessions after {day.date()}, which judge the choice, are others"
    leaks = [Leak(kind, str(name), note=note) for name in rewriting.differing(one, two)]
    if not leaks and first.parameters != other.parameters:
        leaks = [Leak(kind, "choice", note=note)]
    return kind, len(one), leaks


def _searched(spec: ModelSpec, matrix: Matrix) -> tune.Tuned:
    def evaluated(specs: list[ModelSpec], protocol: Protocol) -> list[tune.Results]:
        return [(judging.evaluate(s, matrix, protocol, f"{s.name} {protocol}"),) for s in specs]

    knobs: dict[str, Any] = {"method": "random", "trials": 6, "score": "ic", "random_state": 0}
    return tune.searched(spec, matrix, Protocol(), evaluated, **knobs)


def _forecasts(specs: list[ModelSpec], matrix: Matrix, jobs: int, progress: bool) -> Part:
    """Walk every model through other futures; probes, not trials: nothing is chosen by them and nothing stored."""
    protocol = Protocol(split=WalkForward(folds=FOLDS))
    available = [s for s in specs if s.available]
    tasks = [Task(s, matrix, protocol, s.name, sharing.group(s.estimator), lookahead.probe) for s in available]
    leaks = []
    with tqdm(total=len(tasks), disable=unwatched(progress), unit="model", leave=False) as bar:
        for task, result in results(tasks, jobs):
            bar.update()
            if not result.ok:
                leaks.append(Leak("forecast", task.spec.name, note=result.reason))
    return "forecast", len(available), leaks


COMPANIONS = ("AAPL", "IBM", "MSFT")
PANELS = (Protocol(panel="per-name"), Protocol(panel="hierarchical"), Protocol(ranked=True))


def _panel(matrix: Matrix) -> Part:
    """Walk one model through other futures of the ticker and two beside it, in each way that a panel can be fitted."""
    kind, spec = "panel forecast", catalog.spec(CHEAP)
    names = [ticker for ticker in COMPANIONS if ticker != matrix.name][:2]
    bars = [market.bars(ticker, start=START, end=END) for ticker in names]
    others = [features.build(b, *market.context(b), horizon=matrix.horizon) for b in bars]
    panel = features.stack(*sorted([matrix, *others], key=lambda m: m.name))
    ways = [replace(way, split=WalkForward(folds=FOLDS)) for way in PANELS]
    notes = {way.of_panels: lookahead.forecast_moves(spec, panel, way) for way in ways}
    return kind, len(notes), [Leak(kind, f"{CHEAP}, {how}", note=text) for how, text in notes.items() if text]


def _alerts(bars: pd.DataFrame) -> pd.DataFrame:
    """Which alerts stand at each session, of a market, and of a position and a book entered after a year."""
    known = regimes.of_bars(bars).join(regimes.filtered(bars["close"]))
    stand = firing.flags(known, "market")
    if len(bars) <= YEAR:
        return stand
    entered = str(bars.index[YEAR].date())
    held, book = (
        Position("a share", entered, stop=0.2, target=0.2),
        Book("a book", entered, {"a": 0.5}, limit=0.5, worst=0.05),
    )
    off = drift(book, {"a": bars["close"]})
    return stand.join(firing.flags(held_frame(held, bars), "position")).join(firing.flags(off, "book"))


def _signals(matrix: Matrix) -> Iterator[Leak]:
    """Alerts of the signals of a model, when later forecasts are rewritten, and outcomes not known by then."""
    made, rng = judging.evaluate(catalog.spec(CHEAP), matrix, Protocol(split=WalkForward(folds=FOLDS))), default_rng(0)
    said = signals(made, evidence=True)
    past = firing.flags(said, "signal").join(said)
    for at in (400, 600):
        known = {"y": at - made.horizon - 1}
        noise = {
            str(c): column.where(np.arange(len(column)) <= known.get(str(c), at), column + rng.normal(size=len(column)))
            for c, column in made.forecasts.select_dtypes(float).items()
        }
        other = signals(replace(made, forecasts=made.forecasts.assign(**noise)), evidence=True)
        again = firing.flags(other, "signal").join(other)
        yield from moved("alert", past.iloc[: at + 1], again.iloc[: at + 1], "replaced by noise")


def _alerted(bars: Dataset, matrix: Matrix) -> Part:
    kind, n, leaks = of_columns("alert", _alerts, bars.frame.iloc[:STATES], most=2)
    return kind, n, [*leaks, *_signals(matrix)]


def _decided(kind: str, bars: Dataset) -> Part:
    found = decisions.moved(decisions.DECISIONS[kind], bars)
    note = "it moves when later sessions are {}"
    return kind, len(decisions.SHARES), [Leak(kind, c, note=note.format(how)) for c, how in found.items()]


PARTS: dict[str, Callable[[Dataset, Matrix], Part]] = {
    "feature": lambda bars, m: of_columns("feature", lambda f: indicators.compute(f)[0], bars.frame, most=60),
    "regime": lambda bars, m: of_columns("regime", lambda f: regimes.of_bars(f), bars.frame, most=30),
    "hidden state": lambda bars, m: of_columns(
        "hidden state", lambda f: regimes.filtered(f["close"]), bars.frame.iloc[:STATES], most=3
    ),
    "alert": _alerted,
    "recommendation": lambda bars, m: _decided("recommendation", bars),
    "stated forecast": lambda bars, m: _decided("stated forecast", bars),
    "weight": lambda bars, m: _decided("weight", bars),
    "matrix column": lambda bars, m: _matrix(m),
    "fold": lambda bars, m: _folds(m.horizon),
    "record column": lambda bars, m: _trades(m),
    "panel forecast": lambda bars, m: _panel(m),
    "search setting": lambda bars, m: _search(m),
}
"""What is checked for all models at once, from the bars of a ticker and an unsealed matrix."""
