"""Does a column look ahead? Rows up to a cut must stay as they are, bit for bit, whatever comes after them."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from mltrainer.errors import BadInput


def _extended(
    change: Callable[[pd.DataFrame, pd.DataFrame, np.random.Generator], pd.DataFrame],
) -> Callable[[pd.DataFrame, int, np.random.Generator], pd.DataFrame]:
    """The first `cut` rows of a frame, and those after it with the columns that `change` makes of (future, past)."""

    def rewrite(frame: pd.DataFrame, cut: int, rng: np.random.Generator) -> pd.DataFrame:
        past, future = frame.iloc[:cut], frame.iloc[cut:]
        columns = change(future, past, rng)
        changed = future.assign(**{str(c): columns[c].to_numpy() for c in columns})
        return pd.concat([past, changed.astype(frame.dtypes)])

    return rewrite


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.select_dtypes("number").astype(float)


def _drawn(future: pd.DataFrame, past: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    usual = _numbers(past).abs().median()
    return pd.DataFrame(rng.lognormal(0.0, 1.0, (len(future), len(usual))), columns=usual.index) * usual


def _shuffled(future: pd.DataFrame, past: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return future.select_dtypes(exclude="datetime").iloc[rng.permutation(len(future))]


def _postponed(frame: pd.DataFrame, cut: int, rng: np.random.Generator) -> pd.DataFrame:
    if not isinstance(frame.index, pd.DatetimeIndex):
        return frame
    # first a leap, so that the next session is in another month, then other distances than a calendar has
    days = int(rng.integers(40, 300)) + np.cumsum(rng.integers(0, 3, len(frame) - cut))
    moved = frame.index + pd.to_timedelta(np.concatenate([np.zeros(cut, dtype=int), days]), unit="D")
    return frame.set_axis(moved.rename(frame.index.name))


REWRITES: dict[str, Callable[[pd.DataFrame, int, np.random.Generator], pd.DataFrame]] = {
    "truncated": lambda frame, cut, rng: frame.iloc[:cut],
    "multiplied": _extended(lambda future, past, rng: _numbers(future) * 10.0 ** rng.uniform(1.0, 2.0)),
    "divided": _extended(lambda future, past, rng: _numbers(future) / 10.0 ** rng.uniform(1.0, 2.0)),
    "shuffled": _extended(_shuffled),
    "noise": _extended(_drawn),
    "postponed": _postponed,
}
"""What may come after the first `cut` rows instead: a frame, the cut and a generator give another frame.

Positive numbers stay positive, so that bars stay bars, and a column keeps its type.
"""


def rewrites(frame: pd.DataFrame, cut: int, rng: np.random.Generator) -> Iterator[tuple[str, pd.DataFrame]]:
    """The same first `cut` rows followed by six other futures, each with its name in `REWRITES`."""
    for name, rewrite in REWRITES.items():
        yield name, rewrite(frame, cut, rng)


def future_moves(
    compute: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame, cut: int, rng: np.random.Generator
) -> list[str]:
    """Columns whose first `cut` rows are not bit-identical once the rows after them are rewritten; [] is no look-ahead.

    Parameters
    ----------
    compute : from a frame to columns aligned with its rows.
    frame : (n, k) rows in time order.
    cut : 0 < cut < n, the number of rows that count as the past.
    rng : draws the other futures; see `rewrites`.
    """
    if not 0 < cut < len(frame):
        raise BadInput(f"the cut must leave rows on both sides: 0 < cut < {len(frame)}, found {cut}")
    past = compute(frame).iloc[:cut]
    moved: set[str] = set()
    for _, other in rewrites(frame, cut, rng):
        moved.update(differing(past, compute(other).iloc[:cut]))
    return [name for name in past.columns if name in moved]


def differing(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """Columns of `a` that are not bit for bit the same in `b`, or missing there."""
    return [name for name in a.columns if name not in b or len(a) != len(b) or unequal(a[name], b[name]).any()]


def unequal(a: pd.Series, b: pd.Series) -> npt.NDArray[np.bool_]:
    """(n,) whether two columns differ, row by row; a missing value equals a missing one.

    Numbers are compared as numbers, of whatever type; text, categories, dates and objects as they are written.
    """
    if all(pd.api.types.is_numeric_dtype(c.dtype) for c in (a, b)):
        kind = complex if any(pd.api.types.is_complex_dtype(c.dtype) for c in (a, b)) else float
        x, y = (c.to_numpy(kind, na_value=np.nan) for c in (a, b))
        return np.asarray(~((x == y) | (np.isnan(x) & np.isnan(y))))
    words = [c.astype(object).map(repr).where(c.notna().to_numpy(), "").to_numpy() for c in (a, b)]
    return np.asarray(words[0] != words[1], dtype=bool)
