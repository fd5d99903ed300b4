"""Functions of bars: rewrite what came after many sessions, and no value up to there may move by one bit."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput
from mltrainer.features import rewriting
from mltrainer.trust.provenance import Dataset

FeatureFunction = Callable[[pd.DataFrame], "pd.DataFrame | pd.Series[float]"]


@dataclass(frozen=True)
class Leak:
    """Something said of a session that moved when only later sessions were rewritten.

    `note` says it in words where it was found in another way.
    """

    kind: str
    name: str
    how: str = ""
    first: str = ""
    cut: str = ""
    note: str = ""

    def __str__(self) -> str:
        said = f"its value of {self.first} moves when sessions after {self.cut} are {self.how}"
        return f"{self.kind} {self.name}: {self.note or said}"


Part = tuple[str, int, list[Leak]]  # the kind of thing, how many were checked, what leaked


def imported(path: str, *, fresh: bool = False) -> FeatureFunction:
    """Import a feature function named as module:name; modules of the current folder are found too.

    `fresh` runs the module again, so that the function knows nothing of what it was asked before.
    """
    module, _, name = path.partition(":")
    if not name or not all(part.isidentifier() for part in [*module.split("."), name]):
        raise BadInput(f"{path[:80]!r} names no function; write module:name")
    sys.path.insert(0, str(Path.cwd()))
    before = sys.modules.pop(module, None) if fresh else None
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(f"{path[:80]!r} cannot be imported: {error}") from None
    finally:
        sys.path.pop(0)
        if before is not None:
            sys.modules[module] = before
    if not callable(function):
        raise BadInput(f"{path[:80]!r} is no function but {type(function).__name__}")
    return cast(FeatureFunction, function)


EARLY = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)  # where a warm-up may have been filled from behind
LATE = (1, 2, 3, 6, 22)  # rows from the end
TRUNCATE = 300  # rows that an honest feature may need to say anything
MOST = 400  # cuts at which a function of one's own is tested
ALL = 8  # cuts at which every rewrite is tried; at the others, two
ELSEWHERE = 0.15  # correlation with returns it was not given; of 3,000 rows, eight standard errors


def of_function(function: FeatureFunction | str, bars: Dataset, *, most: int = MOST) -> Part:
    """A feature function of somebody's own, which may also remember, throw dice, or read its bars elsewhere."""
    compute = imported(function) if isinstance(function, str) else function
    try:
        compute(bars.frame.copy())
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise BadInput(f"the function fails on the bars of {bars.name} as they are ({said}); mend it first") from error
    kind, n, leaks = of_columns("feature", compute, bars.frame, most=most)
    past = _columns(compute, bars.frame)
    leaks += _elsewhere(kind, compute, bars.frame, past)
    if isinstance(function, str):
        rows, rng = bars.frame, np.random.default_rng(0)
        half = len(rows) // 2
        other = _columns(imported(function, fresh=True), rewriting.REWRITES["noise"](rows, half, rng))
        again = _columns(imported(function, fresh=True), rows)
        leaks += moved(kind, again.iloc[:half], other.iloc[:half], "replaced before it was asked for the first time")
    return kind, n, list({leak.name: leak for leak in reversed(leaks)}.values())[::-1]


def of_columns(kind: str, compute: FeatureFunction, frame: pd.DataFrame, *, most: int) -> Part:
    """Rewrite the bars after many cuts: early, late, anywhere, and beside rows that are out of the ordinary."""
    rng = np.random.default_rng(0)
    past = _columns(compute, frame)
    leaks = {leak.name: leak for leak in moved(kind, past, _columns(compute, frame), "left as they are")}
    for number, cut in enumerate(_cuts(frame, past, most, rng)):
        if len(leaks) == past.shape[1]:
            break
        for how, other in _others(frame, cut, number, rng):
            try:
                again = _columns(compute, other)
            except Exception as error:  # what it says must not hang on what comes later, not even that it says it
                how, again = f"{how} ({type(error).__name__}: {str(error)[:80]})", past.iloc[:0, :0]
            for leak in moved(kind, past.iloc[:cut], again.iloc[:cut], how):
                leaks.setdefault(leak.name, leak)
    return kind, past.shape[1], list(leaks.values())


def _columns(compute: FeatureFunction, rows: pd.DataFrame) -> pd.DataFrame:
    """What a function makes of bars: columns of text names, each once, in the order of the bars."""
    out = compute(rows.copy())
    out = out.to_frame() if isinstance(out, pd.Series) else pd.DataFrame(out)
    if len(out) != len(rows):
        raise BadInput(f"the function gave {len(out)} rows for {len(rows)} sessions; it must give one for each")
    if isinstance(out.index, pd.DatetimeIndex) and out.index.is_unique and rows.index.isin(out.index).all():
        out = out.reindex(rows.index)
    names = [str(c) for c in out.columns]
    return out.set_axis([f"{c} ({i})" if c in names[:i] else c for i, c in enumerate(names)], axis=1)


def _cuts(frame: pd.DataFrame, past: pd.DataFrame, most: int, rng: np.random.Generator) -> list[int]:
    """How many rows stay, `most` times: first where every rewrite is tried, then beside special rows, then anywhere."""
    n = len(frame)
    spread = [n // 3, n * 4 // 5, *(int(n * share) for share in rng.uniform(0.15, 0.98, ALL - 2))]
    beside = sorted({row + after for row in {*_events(frame), *_rare(past)} for after in (0, 1)})
    cuts = [*spread, *EARLY, *(n - k for k in LATE), *rng.permutation(beside).tolist(), *rng.permutation(n).tolist()]
    return [cut for cut in dict.fromkeys(cuts) if 0 < cut < n][:most]


def _events(frame: pd.DataFrame) -> Iterator[int]:
    """Rows out of the ordinary: the largest and least moves of each column, long gaps, ends of quarters."""
    changes = np.diff(np.log(frame.select_dtypes("number").clip(lower=1e-12).to_numpy(float)), axis=0)
    for column in changes.T:
        order = np.argsort(column) + 1
        yield from (int(row) for row in (*order[:5], *order[-5:]))
    yield from (int(row) for row in np.argsort(np.diff(frame.index.to_numpy()))[-5:] + 1)
    quarters = pd.DatetimeIndex(frame.index).to_period("Q").asi8
    yield from (int(row) for row in np.flatnonzero(np.diff(quarters)) + 1)


def _rare(past: pd.DataFrame, each: int = 3) -> Iterator[int]:
    """Rows where a column says what it seldom says: its extremes, its rarest values, where it begins or is missing."""
    for name in past:
        column = past[name].reset_index(drop=True)
        words = column.astype(object).map(repr)
        yield from (int(row) for row in words.map(words.value_counts()).sort_values(kind="stable").index[:each])
        changes = np.flatnonzero(np.diff(column.isna().to_numpy())) + 1
        yield from (int(row) for row in (*changes[:each], *changes[-each:]))
        if _real(column):
            order = np.argsort(column.to_numpy(float, na_value=np.nan))[: int(column.notna().sum())]
            yield from (int(row) for row in (*order[:each], *order[-each:]))


def _real(column: pd.Series) -> bool:
    kind = column.dtype
    return pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind)


def _others(frame: pd.DataFrame, cut: int, number: int, rng: np.random.Generator) -> Iterator[tuple[str, pd.DataFrame]]:
    """Other futures: all there are at the first cuts; then noise on other dates, and one of the others in turn."""
    table = {how: r for how, r in rewriting.REWRITES.items() if how != "truncated" or cut >= TRUNCATE}
    if number >= ALL:
        noise = rewriting.REWRITES["noise"](frame, cut, rng)
        yield "replaced by noise on other dates", rewriting.REWRITES["postponed"](noise, cut, rng)
        turn = list(table)[number % len(table)]
        table = {turn: table[turn]}
    for how, rewrite in table.items():
        yield WORDS.get(how, how), rewrite(frame, cut, rng)


WORDS = {"noise": "replaced by noise"}


def moved(kind: str, past: pd.DataFrame, again: pd.DataFrame, how: str) -> Iterator[Leak]:
    """One leak per column that is not bit for bit the same, with the first session that differs."""
    for name in rewriting.differing(past, again):
        row = 0
        if name in again and len(again) == len(past):
            row = int(np.argmax(rewriting.unequal(past[name], again[name])))
        first, cut = (str(pd.Timestamp(day).date()) for day in (past.index[row], past.index[-1]))
        yield Leak(kind, name, how, first, cut)


def _elsewhere(kind: str, compute: FeatureFunction, frame: pd.DataFrame, past: pd.DataFrame) -> Iterator[Leak]:
    """Columns that no bar they are given can move, and that move with the market all the same."""
    order = np.random.default_rng(1).permutation(len(frame))
    try:
        other = _columns(compute, frame.iloc[order].set_axis(frame.index))
    except Exception:  # it looks at its bars, at least
        return
    moved, returns = set(rewriting.differing(past, other)), np.log(frame["close"]).diff()
    for name, column in past.items():
        if name in moved or not _real(column):
            continue
        values = pd.Series(column.to_numpy(float, na_value=np.nan), frame.index)
        if values.nunique() < 2:
            continue
        pairs = [(v, returns.shift(-ahead)) for v in (values, values.diff()) for ahead in range(-1, 6)]
        known = max(abs(a.corr(b)) for a, b in pairs if a.std() > 0)
        if known > ELSEWHERE:
            note = "no bar it is given moves it, but it moves with the market: what it reads elsewhere is not checked"
            yield Leak(kind, str(name), note=f"{note} (correlation {known:.2f})")
