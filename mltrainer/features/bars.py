"""The arrays of one ticker, one row of the feature table, and window arithmetic that only looks back.

Every function here takes and returns (n,) float64 arrays in session order. A window of `w` sessions ends at its own
row and contains nothing later; rows before it is full are NaN, and a NaN input spoils only the windows that hold it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import prod

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]
EMPTY: Array = np.empty(0)
# Below this share of its mean square, a window's variance is rounding error: the window counts as constant.
CONSTANT = 1e-12
# Two prices closer than this, relatively, are the same price: adjusting for splits leaves such differences.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Bars:
    """One ticker's columns as (n,) arrays; a column the source does not give is empty and no row may use it."""

    sessions: pd.DatetimeIndex
    close: Array
    open: Array = field(default_factory=lambda: EMPTY)
    high: Array = field(default_factory=lambda: EMPTY)
    low: Array = field(default_factory=lambda: EMPTY)
    volume: Array = field(default_factory=lambda: EMPTY)
    _means: dict[tuple[str, int, int], Array] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def log_close(self) -> Array:
        """ln(close)."""
        return np.log(self.close)

    @cached_property
    def returns(self) -> Array:
        """Log return close to close of one session; NaN in the first row."""
        return self.log_close - lag(self.log_close, 1)

    def mean(self, column: str, w: int, power: int = 1) -> Array:
        """Mean over the last w rows of a column's power, computed once for all rows of the table that ask."""
        key = column, w, power
        if key not in self._means:
            x = getattr(self, column)
            self._means[key] = rolling_mean(prod([x] * power), w)
        return self._means[key]

    def variance(self, column: str, w: int) -> Array:
        """Population variance of a column over the last w rows; see `rolling_variance`."""
        return _variance(self.mean(column, w), self.mean(column, w, 2))

    def std(self, column: str, w: int) -> Array:
        """Sample standard deviation of a column over the last w rows."""
        return np.sqrt(self.variance(column, w) * (w / (w - 1)))


@dataclass(frozen=True)
class Indicator:
    """One feature: what it is called, what it says, and when it starts to speak."""

    name: str
    unit: str
    warmup: int  # NaN rows at the start, so also the position of the first value
    needs: frozenset[str]  # columns it reads; the dates are always there
    compute: Callable[[Bars], Array]
    text: str
    estimate: bool = False  # inferred from bars where the real thing would need quotes or trades


def row(
    name: str,
    unit: str,
    warmup: int,
    needs: str,
    compute: Callable[..., Array],
    text: str,
    *,
    estimate: bool = False,
    **settings: object,
) -> Indicator:
    """One row of the table: `compute` with its `settings`; `needs` names columns, separated by spaces."""
    return Indicator(name, unit, warmup, frozenset(needs.split()), partial(compute, **settings), text, estimate)


def lag(x: Array, k: int) -> Array:
    """The value k rows ago; NaN in the first k rows."""
    out = np.full(x.size, np.nan)
    out[k:] = x[: max(x.size - k, 0)]
    return out


def ratio(a: Array, b: Array | float) -> Array:
    """Quotient a / b, and NaN (never infinity) where b is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b == 0.0, np.nan, a / b)


def log(x: Array) -> Array:
    """Natural logarithm, and NaN (never minus infinity) where x is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(x > 0.0, np.log(x), np.nan)


def log_change(x: Array, k: int) -> Array:
    """ln(x_t / x_{t-k})."""
    return log(ratio(x, lag(x, k)))


def direction(x: Array) -> Array:
    """+1 where x rose since the row before, -1 where it fell, 0 where it stayed (to rounding); NaN in the first row."""
    change = ratio(x, lag(x, 1)) - 1.0
    return np.where(np.abs(change) < ROUNDING, 0.0, np.sign(change))


def rolling_sum(x: Array, w: int) -> Array:
    """Sum over the last w rows.

    Sums of 1, 2, 4, ... rows are doubled and joined, so the cost is log2(w) passes and, unlike a running total, a
    window's value depends on its own w numbers alone: a spike leaves no rounding error behind, zeros sum to zero.

    >>> rolling_sum(np.array([1.0, 2.0, 3.0, 4.0]), 3)
    array([nan, nan,  6.,  9.])
    """
    out = np.full(x.size, np.nan)
    if w > x.size:
        return out
    block, size = x, 1  # block[i] is the sum of x[i : i + size]
    total, covered = None, 0  # total[i] is the sum of x[i : i + covered]
    while size <= w:
        if w & size:
            part = block[covered:]
            total = part if total is None else total[: part.size] + part
            covered += size
        if 2 * size <= w:
            block = block[size:] + block[:-size]
        size *= 2
    out[w - 1 :] = total
    return out


def rolling_mean(x: Array, w: int) -> Array:
    """Mean over the last w rows."""
    return rolling_sum(x, w) / w


def rolling_variance(x: Array, w: int) -> Array:
    """Sample variance over the last w rows; exactly zero where the window is constant to rounding."""
    return _variance(rolling_mean(x, w), rolling_mean(x * x, w)) * (w / (w - 1))


def _variance(mean: Array, square: Array) -> Array:
    variance = square - mean * mean
    return np.where(variance <= CONSTANT * square, 0.0, variance)


def rolling_covariance(x: Array, y: Array, w: int) -> Array:
    """Covariance of two columns over the last w rows (w - 1 in the denominator)."""
    return (rolling_mean(x * y, w) - rolling_mean(x, w) * rolling_mean(y, w)) * (w / (w - 1))


def rolling_correlation(x: Array, y: Array, w: int) -> Array:
    """Correlation of two columns over the last w rows, in [-1, 1]; NaN where one of them does not vary."""
    a, b = rolling_mean(x, w), rolling_mean(y, w)
    spread = _variance(a, rolling_mean(x * x, w)) * _variance(b, rolling_mean(y * y, w))
    return ratio(rolling_mean(x * y, w) - a * b, np.sqrt(spread))
