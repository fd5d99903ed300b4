"""Does a forecast know the future? Rewrite what came later, from the raw bars on, and see what was said before move.

What is said of session t may use only what was known at its close. So everything after a cut is rewritten, whatever
was made of it is made again, and all that was said up to the cut is compared bit by bit. The walk is refitted only
around the cut, and where a rewritten future leaves the train rows as they were, the fit is the same one.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mltrainer.errors import BadInput
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import Fold, Split
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.features import matrix as features
from mltrainer.features import own, rewriting
from mltrainer.features.matrix import Matrix
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec
from mltrainer.trust.provenance import Dataset

Rewrite = Callable[[pd.DataFrame, int, np.random.Generator], pd.DataFrame]
PRICES = ("open", "high", "low", "close", "vwap")
DELAY = pd.Timedelta(days=3)  # of all series alike; a longer one would age the macro series out of the matrix


# --- other futures of sources and matrices --------------------------------------------------------------------


def _another_path(frame: pd.DataFrame, cut: int, rng: np.random.Generator) -> pd.DataFrame:
    """Other days in another order, on another path: as wild as a crisis and no wilder, so that every model bears it."""
    past, future = frame.iloc[:cut], frame.iloc[cut:]
    numbers = future.select_dtypes("number").astype(float)
    days = numbers.iloc[rng.permutation(len(numbers))].to_numpy()
    path = np.exp(np.cumsum(rng.normal(0.0, 0.02, len(days))))[:, None]
    amounts = rng.lognormal(0.0, 0.5, days.shape)
    values = days * np.where(numbers.columns.isin(PRICES), path, amounts)
    return pd.concat([past, future.assign(**dict(zip(numbers.columns, values.T, strict=True)))])


PATH = "sent on another path"
FUTURES: dict[str, Rewrite] = {
    PATH: _another_path,
    "multiplied": rewriting.REWRITES["multiplied"],
    "truncated": rewriting.REWRITES["truncated"],
    "shuffled": rewriting.REWRITES["shuffled"],
    "moved to other dates": lambda frame, cut, rng: _moved_dates(frame, cut),
}
"""What may come after a day instead, for every source of a matrix alike."""


def _moved_dates(frame: pd.DataFrame, cut: int) -> pd.DataFrame:
    if "available" in frame:
        known = frame["available"].where(np.arange(len(frame)) < cut, frame["available"] + DELAY)
        return frame.assign(available=known)
    later = np.where(np.arange(len(frame)) < cut, 0, DELAY.days)
    return frame.set_axis((frame.index + pd.to_timedelta(later, unit="D")).rename(frame.index.name))


def later(source: Dataset, day: pd.Timestamp, how: str, seed: int = 0) -> Dataset:
    """A source that is the same up to `day`, and another after it; macro observations by the day they are available."""
    macro = "available" in source.frame
    frame = source.frame.sort_values("available", kind="stable") if macro else source.frame
    known = pd.DatetimeIndex(frame["available"] if macro else frame.index)
    if known.tz is not None:  # quotes come by the nanosecond; their session is a date in New York
        known = known.tz_convert("America/New_York").tz_localize(None)
    cut = int((known < day + pd.Timedelta(days=1)).sum())
    rng = np.random.default_rng([seed, crc32(source.name.encode())])  # a series given twice has one future
    return Dataset(FUTURES[how](frame, cut, rng), source.name, source.kind)


def rebuilt(matrix: Matrix, change: Callable[[Dataset], Dataset] | None = None) -> Matrix:
    """The unsealed matrix that its sources give, each after `change`."""
    how: dict[str, Any] = {"horizon": matrix.horizon, "target": matrix.target, "start": matrix.start}
    functions = own.recalled(matrix.own)
    how["own"] = tuple(o for o in functions if not o.across)
    members = [features.build(*map(change or (lambda d: d), each), **how) for each in matrix.histories]
    return members[0] if len(members) == 1 else features.stack(*members, own=tuple(o for o in functions if o.across))


def rebuildable(matrix: Matrix) -> bool:
    """Whether it has its sources, and this process the functions of one's own that it was made with."""
    return bool(matrix.sources) and own.known(matrix.own)


def knows_sources(matrix: Matrix) -> bool:
    """Whether its sources give back the matrix, bit by bit; one whose parts were replaced they do not."""
    return rebuildable(matrix) and rebuilt(matrix).fingerprint() == matrix.fingerprint()


def rewritten(matrix: Matrix, cut: int, rng: np.random.Generator) -> Matrix:
    """The same matrix with noise in place of everything that was not known at the close of its session number `cut`.

    Known are features, scale and closes up to the session, entries up to the session, and labels that had matured:
    those of sessions up to cut - horizon - 1.
    """
    session = matrix.X.index.unique(0).get_indexer(matrix.X.index.get_level_values(0))

    def noise(values: np.ndarray, known: int) -> np.ndarray:
        out = values.copy()
        after = out[session > known]
        out[session > known] = after * rng.lognormal(0.0, 1.0, after.shape) + 1e-3
        return out

    X = pd.DataFrame(noise(matrix.X.to_numpy(float), cut), matrix.X.index, matrix.X.columns)
    prices = pd.DataFrame(noise(matrix.prices.to_numpy(float), cut), matrix.X.index, matrix.prices.columns)
    y = pd.Series(noise(matrix.y.to_numpy(float), cut - matrix.horizon - 1), matrix.X.index, name="y")
    scale = pd.Series(noise(matrix.scale.to_numpy(float), cut), matrix.X.index, name="scale")
    past = pd.DataFrame(noise(matrix.past.to_numpy(float), cut), matrix.X.index, matrix.past.columns)
    return dataclasses.replace(matrix, X=X, y=y, scale=scale, prices=prices, past=past, provenance=None, sources=())


def another(matrix: Matrix, cut: int, how: str = PATH, seed: int = 1) -> Matrix:
    """The matrix as it would be had the sessions after number `cut` been others: from its sources if it knows them."""
    if not knows_sources(matrix):
        return rewritten(matrix, cut, np.random.default_rng(seed))
    day = matrix.X.index.unique(0)[cut]
    return rebuilt(matrix, partial(later, day=day, how=how, seed=seed))


# --- what moves -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """Something said of the session `first` that moved when only sessions after `cut` were rewritten."""

    name: str
    first: str
    cut: str
    how: str

    def __str__(self) -> str:
        return f"its {self.name} of {self.first} moves when sessions after {self.cut} are {self.how}"


def moves(
    past: pd.DataFrame,
    again: pd.DataFrame,
    day: pd.Timestamp,
    *,
    how: str,
    lags: "dict[str, int] | None" = None,
) -> Iterator[Move]:
    """One for each column of `past` that is not in `again`, bit by bit, in every row known at the close of `day`.

    Parameters
    ----------
    past, again : (n, k) and (m, k) frames by session, or by session and ticker.
    lags : sessions after its own at whose close a column is known, 0 where it is not named; -1 if the session before
        knows it.
    """
    sessions = past.index.unique(0)
    last = int(sessions.searchsorted(day, side="right")) - 1
    for name in past:
        end = last - (lags or {}).get(str(name), 0)
        rows = past.index.get_level_values(0) <= sessions[min(end, len(sessions) - 1)]
        known = past[name][rows & (end >= 0)]
        differs = np.ones(len(known), dtype=bool)
        if name in again:
            differs = rewriting.unequal(known, again[name].reindex(known.index))
        if differs.any():
            first = known.index.get_level_values(0)[int(np.argmax(differs))]
            yield Move(str(name), str(pd.Timestamp(first).date()), str(day.date()), how)


def parts(matrix: Matrix) -> pd.DataFrame:
    """All that a model can see or be judged by, as one frame: the features, y, scale, entry and close, and the past."""
    past = matrix.past.add_prefix("past ")
    return pd.concat([matrix.X, matrix.y.rename("y"), matrix.scale.rename("scale"), matrix.prices, past], axis=1)


def lags(horizon: int) -> dict[str, int]:
    """When what an evaluation says is known, in sessions after its own: returns at the next entry, labels at theirs.

    The position of a session is held from its entry on, so the session before knows it.
    """
    return {"y": horizon + 1, "gross": 1, "net": 1, "benchmark": 1, "position": -1}


# --- a function of one's own ----------------------------------------------------------------------------------

ENOUGH = 300  # rows that an honest function may need to say anything


def own_moves(function: own.Own, frame: pd.DataFrame, horizon: int) -> str:
    """Whether what a registered function says moves when only later bars are rewritten; what, in words, or "".

    A label counts as known `horizon` + 1 sessions after its own. `mltrainer.register` tests at many more cuts.
    """
    late, rng, n = horizon + 1 if function.kind == "target" else 0, np.random.default_rng(0), len(frame)
    given = (horizon,) if late else ()
    past = function.values(frame, *given).to_frame(function.name)
    for cut in (n // 2, n * 4 // 5, n - 3):
        for how, other in rewriting.rewrites(frame, cut, rng):
            if how == "truncated" and cut < ENOUGH:
                continue
            known, day = past.iloc[:cut], frame.index[cut - 1]
            try:
                again = function.values(other, *given).to_frame(function.name).iloc[:cut]
            except Exception as error:  # what it says must not hang on what comes later, not even that it says it
                return f"it fails when sessions after {day.date()} are {how} ({type(error).__name__})"
            if moved := next(moves(known, again, day, how=how, lags={function.name: late}), None):
                return str(moved)
    return ""


# --- one model ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen(Split):
    """Folds that were cut already, so that another future is walked by the same."""

    cuts: tuple[Fold, ...] = ()

    def split(self, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        """Yield the folds as they are."""
        yield from self.cuts


def forecast_moves(spec: ModelSpec, matrix: Matrix, protocol: Protocol, *, cut: int | None = None) -> str:
    """Whether forecasts of one model move when only what came after them is rewritten.

    The future is rewritten in the raw sources where the matrix knows them, and in the matrix otherwise; in another
    future the model is fitted again only if its train rows moved.

    Parameters
    ----------
    spec, matrix, protocol : as for an evaluation; the matrix need not be sealed, and nothing is stored.
    cut : number of the last session that stays, among those with a label; default two: the first session of the middle
        test block, where a label that reaches across the gap shows, and one inside the last block, where a look
        around in the block does.

    Returns
    -------
    What moved, in words; "" if nothing did. A model that cannot be walked through another future has not passed, and
    the text says why.
    """
    folds = list(protocol.split.split(len(matrix.y.dropna().index.unique(0)), matrix.horizon, matrix.X.shape[1]))
    with warnings.catch_warnings(), threadpool_limits(1), sharing.shared(f"lookahead {spec.name}"):
        warnings.simplefilter("ignore")
        for at, fold in _cuts(folds, cut):
            try:
                moved = next(_moves(spec, matrix, protocol, fold, at), None)
            except Exception as error:  # whatever a model raises is an answer, and not that it passed
                return f"its forecasts cannot be made again: {type(error).__name__}: {error}".splitlines()[0][:300]
            if moved is not None:
                return str(moved)
    return ""


def _cuts(folds: Sequence[Fold], cut: int | None) -> list[tuple[int, Fold]]:
    """Sessions at which to cut, each with the fold that forecasts it."""
    if cut is None:
        middle, last = folds[len(folds) // 2], folds[-1]
        return [(int(middle.test[0]), middle), (int(last.test[len(last.test) // 2]), last)]
    found = [(cut, fold) for fold in folds if fold.test[0] <= cut <= fold.test[-1]]
    if not found:
        raise BadInput(f"cut={cut} lies in no test block of this protocol; nothing is forecast there")
    return found[:1]


def _moves(spec: ModelSpec, matrix: Matrix, protocol: Protocol, fold: Fold, cut: int) -> Iterator[Move]:
    other, day = _future(matrix, cut), matrix.X.index.unique(0)[cut]
    chosen = dataclasses.replace(protocol, split=Chosen((fold,)))
    yield from moves(parts(matrix), parts(other), day, how=PATH, lags=lags(matrix.horizon))
    past, again = (out_of_sample(spec, m, chosen)[0] for m in (matrix, other))
    yield from moves(past.drop(columns="y"), again, day, how=PATH)


_futures: dict[tuple[str, int], Matrix] = {}


def _future(matrix: Matrix, cut: int) -> Matrix:
    """`another`, made once for all models that a worker is asked about."""
    key = matrix.fingerprint(), cut
    if key not in _futures:
        if len(_futures) > 3:
            _futures.clear()
        _futures[key] = another(matrix, cut)
    return _futures[key]


def probe(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str, shares: str) -> list[Evaluation]:
    """`forecast_moves` as work for the pool: a result without forecasts, whose `reason` says what moved."""
    sharing.share(shares)
    text = forecast_moves(spec, matrix, protocol)
    status = "failed" if text else "ok"
    return [Evaluation(key, spec.name, spec.family, spec.task, matrix.name, matrix.horizon, status, text)]
