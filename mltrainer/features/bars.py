"""The arrays of one ticker, one row of the feature table, and window arithmetic that only looks back.

Every function here takes and returns (n,) float64 arrays in session order. A window of `w` sessions ends at its own
row and contains nothing later; rows before it is full are NaN, and a NaN input spoils only the windows that hold it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

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
    _kept: dict[tuple[object, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: tuple[object, ...], compute: Callable[[], Any]) -> Any:
        """What several rows of the table ask for, computed for the first; nobody writes into it."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    @cached_property
    def log_close(self) -> Array:
        """ln(close)."""
        return np.log(self.close)

    @cached_property
    def previous(self) -> Array:
        """Close of the session before; NaN in the first row."""
        return lag(self.close, 1)

    @cached_property
    def returns(self) -> Array:
        """Log return close to close of one session; NaN in the first row."""
        return change(self.log_close, 1)

    def sum(self, column: str, w: int, power: int = 1) -> Array:
        """Sum over the last w rows of a column's power."""
        return self.once((column, w, power), lambda: rolling_sum(_power(getattr(self, column), power), w))

    def mean(self, column: str, w: int, power: int = 1) -> Array:
        """Mean over the last w rows of a column's power."""
        key = "mean", column, w, power
        return self.once(key, lambda: rolling_mean(_power(getattr(self, column), power), w))

    def variance(self, column: str, w: int) -> Array:
        """Population variance of a column over the last w rows; see `rolling_variance`."""
        return self.once(("variance", column, w), lambda: _variance(self.mean(column, w), self.mean(column, w, 2)))

    def std(self, column: str, w: int) -> Array:
        """Sample standard deviation of a column over the last w rows."""
        squared = self.variance(column, w) * (w / (w - 1))
        return np.sqrt(squared, out=squared)


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
    out = np.empty(x.size)
    out[:k] = np.nan
    out[k:] = x[: max(x.size - k, 0)]
    return out


def change(x: Array, k: int) -> Array:
    """Difference to the value k rows ago; NaN in the first k rows."""
    out = np.empty(x.size)
    out[:k] = np.nan
    np.subtract(x[k:], x[: max(x.size - k, 0)], out=out[k:])
    return out


def ratio(a: Array, b: Array | float) -> Array:
    """Quotient a / b, and NaN (never infinity) where b is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.divide(a, b)
    np.copyto(quotient, np.nan, where=b == 0.0)
    return quotient


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
    out = _unspoken(x, w)
    if w <= x.size:
        out[w - 1 :] = _full_sums(x, w)
    return out


def _unspoken(x: Array, w: int) -> Array:
    out = np.empty(x.size)
    out[: w - 1] = np.nan
    return out


def _full_sums(x: Array, w: int) -> Array:
    block, size = x, 1  # block[i] is the sum of x[i : i + size]
    total, covered = x, 0  # total[i] is the sum of x[i : i + covered]
    while size <= w:
        if w & size:
            part = block[covered:]
            total = total[: part.size] + part if covered else part
            covered += size
        if 2 * size <= w:
            block = block[size:] + block[:-size]
        size *= 2
    return total


def rolling_mean(x: Array, w: int) -> Array:
    """Mean over the last w rows."""
    out = _unspoken(x, w)
    if w <= x.size:
        np.divide(_full_sums(x, w), w, out=out[w - 1 :])
    return out


def _power(x: Array, power: int) -> Array:
    """x, or x * x, or (x * x) * x ..., always in this order."""
    return x if power == 1 else _power(x, power - 1) * x


def rolling_variance(x: Array, w: int) -> Array:
    """Sample variance over the last w rows; exactly zero where the window is constant to rounding."""
    return _variance(rolling_mean(x, w), rolling_mean(x * x, w)) * (w / (w - 1))


def _variance(mean: Array, square: Array) -> Array:
    variance = mean * mean
    np.subtract(square, variance, out=variance)
    np.copyto(variance, 0.0, where=variance <= CONSTANT * square)
    return variance


def rolling_covariance(x: Array, y: Array, w: int) -> Array:
    """Covariance of two columns over the last w rows (w - 1 in the denominator)."""
    return (rolling_mean(x * y, w) - rolling_mean(x, w) * rolling_mean(y, w)) * (w / (w - 1))


def rolling_correlation(x: Array, y: Array, w: int) -> Array:
    """Correlation of two columns over the last w rows, in [-1, 1]; NaN where one of them does not vary."""
    a, b = rolling_mean(x, w), rolling_mean(y, w)
    spread = _variance(a, rolling_mean(x * x, w)) * _variance(b, rolling_mean(y * y, w))
    return ratio(rolling_mean(x * y, w) - a * b, np.sqrt(spread))
