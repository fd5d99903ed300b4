"""What the market and the economy said by the close of each session: index bars and macro observations, as of then.

An observation counts from the day it is available, never from the period it describes. Index bars of session t are
known at the close of t, like the ticker's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from itertools import groupby
from operator import itemgetter

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput
from mltrainer.features import indicators
from mltrainer.features.bars import (
    Array,
    Bars,
    lag,
    log_change,
    ratio,
    rolling_correlation,
    rolling_covariance,
    rolling_variance,
)

Known = Mapping[pd.Timestamp, float]  # the newest value known of each period
Transform = Callable[..., float]  # from all that is known, and its newest period, to one number
WARMUP = max(row.warmup for row in indicators.INDICATORS)


# --- macro series ---------------------------------------------------------------------------------------------


def level(known: Known, newest: pd.Timestamp, *, scale: float = 1.0) -> float:
    """The newest period's value times `scale`."""
    return known[newest] * scale


def growth(known: Known, newest: pd.Timestamp, *, months: int) -> float:
    """The newest value over that of the period `months` earlier, minus 1; NaN without one."""
    before = known.get(_earlier(newest, months), np.nan)
    return known[newest] / before - 1.0 if before > 0.0 else np.nan


def log_growth(known: Known, newest: pd.Timestamp, *, months: int) -> float:
    """ln(1 + growth); NaN without an earlier period or where a value is not positive."""
    gross = 1.0 + growth(known, newest, months=months)
    return float(np.log(gross)) if gross > 0.0 else np.nan


def difference(known: Known, newest: pd.Timestamp, *, months: int, scale: float = 1.0) -> float:
    """The newest value minus that of the period `months` earlier, times `scale`; NaN without one."""
    return (known[newest] - known.get(_earlier(newest, months), np.nan)) * scale


@cache  # calendar arithmetic is the slow part of a join, and a period is asked for in every vintage
def _earlier(period: pd.Timestamp, months: int) -> pd.Timestamp:
    return period - pd.DateOffset(months=months)


def asof(
    observations: pd.DataFrame, sessions: pd.Index, *, max_age_days: int, change: Transform = level
) -> "pd.Series[float]":
    """What was known of a series at the close of each session: its newest period, in its newest vintage.

    Parameters
    ----------
    observations : (m, ...) index `period`, columns `value` and `available` (the first day on which it may be used);
        one row per period and vintage, in any order. Missing values are left out.
    sessions : (n,) ascending session dates.
    max_age_days : a value lasts this many calendar days from when its period first became available; a revision does
        not make an old period young.
    change : computed on each day something became available, from what was known then alone; where it cannot be (a
        period that was never published), the value before stays until it is too old.

    Returns
    -------
    (n,) values at `sessions`; NaN before the first one and when too old.
    """
    sessions = indicators.check_sessions(sessions, "sessions")
    days, values, fresh = _history(observations, change)
    last = days.searchsorted(sessions, side="right") - 1
    known = np.append(values, np.nan)[last]  # position -1, nothing yet, finds the NaN
    since = np.append(fresh, np.datetime64("NaT"))[last]
    young = sessions.to_numpy() - since <= np.timedelta64(max_age_days, "D")
    return pd.Series(np.where(young, known, np.nan), sessions, name="value")


def _history(observations: pd.DataFrame, change: Transform) -> tuple[pd.DatetimeIndex, Array, np.ndarray]:
    """Per day on which something became available: `change` of what was known, and since when its period was."""
    _check(observations)
    rows = observations.dropna(subset=["value"])
    days = (pd.DatetimeIndex(column).as_unit("us").to_numpy().tobytes() for column in (rows["available"], rows.index))
    return _told(*days, rows["value"].to_numpy(float).tobytes(), change)


@lru_cache(32)  # by content: all worlds of a calibration stand beside the same series
def _told(
    available: bytes, periods: bytes, values: bytes, change: Transform
) -> tuple[pd.DatetimeIndex, Array, np.ndarray]:
    dates = (pd.DatetimeIndex(np.frombuffer(part, "datetime64[us]")) for part in (available, periods))
    entries = sorted(zip(*dates, np.frombuffer(values).tolist(), strict=True))
    known: dict[pd.Timestamp, float] = {}
    first: dict[pd.Timestamp, pd.Timestamp] = {}
    newest = pd.Timestamp.min
    out: list[tuple[pd.Timestamp, float, pd.Timestamp]] = []
    for day, group in groupby(entries, key=itemgetter(0)):
        for _, period, value in group:
            known[period] = value
            first.setdefault(period, day)
            newest = max(newest, period)
        result = change(known, newest)
        if np.isfinite(result):
            out.append((day, result, first[newest]))
    days, known_then, fresh = zip(*out, strict=True) if out else ((), (), ())
    return pd.DatetimeIndex(days), np.asarray(known_then, dtype=float), pd.DatetimeIndex(fresh).to_numpy()


def _check(observations: pd.DataFrame) -> None:
    if not {"value", "available"} <= set(observations.columns) or not isinstance(observations.index, pd.DatetimeIndex):
        raise BadInput("observations need an index of period dates and the columns value and available")
    available = observations["available"]
    early = np.flatnonzero(~(available.to_numpy() >= observations.index.to_numpy()))
    if early.size:
        period, day = observations.index[early[0]], available.iloc[early[0]]
        raise BadInput(f"the observation of {period:%Y-%m-%d} is marked as available on {day}: before its period began")
    if pd.MultiIndex.from_arrays([observations.index, available]).has_duplicates:
        raise BadInput("a period has two values available on the same day; keep one")


@dataclass(frozen=True)
class MacroRow:
    """One feature from a macro series; the first of `series` that is given is used."""

    name: str
    unit: str
    series: tuple[str, ...]
    max_age_days: int
    change: Transform  # called with (known, newest)
    text: str
    sessions: int = 0  # difference over this many sessions of what was known, for daily series


# A release is replaced by the next after a day, a month or a quarter; twice that, and a holiday, is stale.
DAILY, MONTHLY, QUARTERLY = 7, 62, 184
LATE = 92  # a shutdown of the government held monthly figures back for eleven weeks in 2025


def _macro(
    name: str, series: str, max_age_days: int, change: Transform, text: str, *, sessions: int = 0, **settings: float
) -> MacroRow:
    return MacroRow(name, "fraction", tuple(series.split()), max_age_days, partial(change, **settings), text, sessions)


MACRO: tuple[MacroRow, ...] = (
    _macro("core_cpi_yoy", "CPILFESL", MONTHLY, growth, "core inflation over a year", months=12),
    _macro("cpi_yoy", "CPIAUCSL CPIAUCNS cpi", QUARTERLY, growth, "inflation over a year", months=12),
    _macro("inflation", "infl", QUARTERLY, level, "inflation of the quarter, at an annual rate", scale=0.01),
    _macro("unemployment", "UNRATE unemp", QUARTERLY, level, "unemployment rate", scale=0.01),
    _macro("unemployment_change", "UNRATE unemp", QUARTERLY, difference, "its change in a year", months=12, scale=0.01),
    _macro("gdp_growth", "GDPC1 realgdp", QUARTERLY, log_growth, "ln of real GDP over the quarter before's", months=3),
    _macro("nominal_gdp_growth", "GDP", QUARTERLY, log_growth, "ln of GDP over the quarter before's", months=3),
    _macro("bill_rate", "TB3MS tbilrate", QUARTERLY, level, "3-month Treasury bill, a year", scale=0.01),
    _macro("policy_rate", "FEDFUNDS", MONTHLY, level, "federal funds rate, a year", scale=0.01),
    _macro("vix", "VIXCLS", DAILY, level, "implied volatility of the S&P 500, a year", scale=0.01),
    _macro("vix_change_5", "VIXCLS", DAILY, level, "its change over 5 sessions", scale=0.01, sessions=5),
    _macro("policy_rate_change", "FEDFUNDS", MONTHLY, difference, "its change in a year", months=12, scale=0.01),
    _macro("payroll_growth", "PAYEMS", LATE, growth, "payrolls over a year", months=12),
    _macro("production_growth", "INDPRO", LATE, growth, "industrial production over a year", months=12),
    _macro("bond_yield", "DGS10", DAILY, level, "10-year Treasury yield", scale=0.01),
    _macro("bond_yield_change_21", "DGS10", DAILY, level, "its change over 21 sessions", scale=0.01, sessions=21),
    _macro("term_spread", "T10Y2Y", DAILY, level, "10-year less 2-year yield", scale=0.01),
    _macro("bill_spread", "T10Y3M", DAILY, level, "10-year yield less the 3-month bill's", scale=0.01),
    _macro("breakeven_inflation", "T10YIE", DAILY, level, "inflation priced in for 10 years", scale=0.01),
    _macro("credit_spread", "BAA10Y", DAILY, level, "Baa bonds less the 10-year yield", scale=0.01),
    _macro("credit_spread_change_21", "BAA10Y", DAILY, level, "its change over 21 sessions", scale=0.01, sessions=21),
)


# --- index bars -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Market:
    """A market index beside one ticker."""

    index: Bars  # on the index's own sessions, with whatever history lies before ours
    sessions: pd.DatetimeIndex
    own: Array  # (n,) the ticker's closes

    def at(self, values: Array) -> Array:
        """Values of the index's sessions at ours; NaN where the index has no such session."""
        return np.asarray(pd.Series(values, self.index.sessions).reindex(self.sessions), dtype=np.float64)

    @cached_property
    def returns(self) -> tuple[Array, Array]:
        """Log returns of the ticker and of the index, both from one of our sessions to the next."""
        return log_change(self.own, 1), log_change(self.at(self.index.close), 1)


def of_index(market: Market, feature: Callable[[Bars], Array]) -> Array:
    """A feature of the index itself, computed on its own sessions."""
    return market.at(feature(market.index))


def beta(market: Market, w: int) -> Array:
    """Slope of the ticker's daily log returns on the index's over w sessions."""
    own, index = market.returns
    return ratio(rolling_covariance(own, index, w), rolling_variance(index, w))


def correlation(market: Market, w: int) -> Array:
    """Correlation of the ticker's daily log returns with the index's over w sessions."""
    return rolling_correlation(*market.returns, w)


def relative_strength(market: Market, w: int) -> Array:
    """Log return over w sessions minus beta times the index's.

    A plain difference would be the sum of two columns that are there already.
    """
    index = log_change(market.at(market.index.close), w)
    return log_change(market.own, w) - beta(market, 63) * index


@dataclass(frozen=True)
class MarketRow:
    """One feature from index bars."""

    name: str
    unit: str
    warmup: int  # sessions of the index, or of both, before its first value
    compute: Callable[[Market], Array]
    text: str


def _index(name: str, unit: str, warmup: int, feature: Callable[..., Array], text: str, **settings: int) -> MarketRow:
    return MarketRow(name, unit, warmup, partial(of_index, feature=partial(feature, **settings)), text)


MARKET: tuple[MarketRow, ...] = (
    _index("market_return_1", "log return", 1, indicators.log_return, "index close over yesterday's", k=1),
    _index("market_return_5", "log return", 5, indicators.log_return, "index close over that a week ago", k=5),
    _index("market_return_21", "log return", 21, indicators.log_return, "index close over that a month ago", k=21),
    _index("market_volatility_21", "log return", 21, indicators.volatility, "sd of index returns over 21 days", w=21),
    _index("market_drawdown_252", "fraction", 251, indicators.drawdown, "index's loss from its year's high", w=252),
    _index("market_sma_ratio_200", "fraction", 199, indicators.sma_ratio, "index over its 200-day mean, less 1", w=200),
    MarketRow("beta_63", "ratio", 63, partial(beta, w=63), "slope of own returns on the index's"),
    MarketRow("correlation_63", "-1 to 1", 63, partial(correlation, w=63), "own returns with the index's"),
    MarketRow("relative_strength_21", "log return", 63, partial(relative_strength, w=21), "own minus beta times index"),
)


COMMON = frozenset(
    [
        *(row.name for row in MACRO),
        *(row.name for row in MARKET if isinstance(row.compute, partial) and row.compute.func is of_index),
        *(row.name for row in indicators.INDICATORS if not row.needs),  # of the calendar
    ]
)
"""Features that are the same for every name of a session; by their rows, as values could be equal by chance."""


# --- both -----------------------------------------------------------------------------------------------------


def context(
    index_bars: pd.DataFrame | None,
    series: Mapping[str, pd.DataFrame],
    sessions: pd.Index,
    own_close: "pd.Series[float]",
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Market and macro features at `sessions`, and why the others are not there.

    Parameters
    ----------
    index_bars : bars of the S&P 500 or another index, with as much history before `sessions` as there is.
    series : macro observations by name; see `asof`.
    sessions : (n,) the ticker's session dates.
    own_close : (n,) the ticker's closes.

    Returns
    -------
    features : (n, p) float64 at `sessions`; a session the index does not have is NaN, never filled.
    unavailable : the rows left out, each with its reason: no such series, or one that does not cover `sessions`
        from their first year to their last day.
    """
    sessions = indicators.check_sessions(sessions, "sessions")
    if not sessions.equals(own_close.index):
        raise BadInput("own_close must hold one close per session, in the order of `sessions`")
    columns: dict[str, Array] = {}
    reasons = {row.name: "needs bars of a market index; none were given" for row in MARKET if index_bars is None}
    if index_bars is not None:
        index = indicators.read(index_bars.filter(["close"]))
        market = Market(index, sessions, np.ascontiguousarray(own_close.to_numpy(dtype=np.float64)))
        span = index.sessions[0], index.sessions[-1]
        for row in MARKET:
            _keep(row.name, row.compute(market), ("the index", *span), sessions, columns, reasons)
    for macro in MACRO:
        name = next((name for name in macro.series if name in series), None)
        if name is None:
            reasons[macro.name] = f"needs the series {' or '.join(macro.series)}, which was not given"
            continue
        joined = asof(series[name], sessions, max_age_days=macro.max_age_days, change=macro.change)
        known = np.asarray(joined, dtype=np.float64)
        values = known - lag(known, macro.sessions) if macro.sessions else known
        days = series[name]["available"]
        _keep(macro.name, values, (name, days.min(), days.max()), sessions, columns, reasons)
    return pd.DataFrame(columns, index=sessions, dtype=np.float64), reasons


def _keep(
    feature: str,
    values: Array,
    source: tuple[str, pd.Timestamp, pd.Timestamp],
    sessions: pd.DatetimeIndex,
    columns: dict[str, Array],
    reasons: dict[str, str],
) -> None:
    """Put the feature among the columns, or the reason why its source does not cover the sessions among the reasons."""
    name, first, last = source
    there = np.flatnonzero(np.isfinite(values))
    if there.size and there[0] <= WARMUP and there[-1] == len(sessions) - 1:
        columns[feature] = values
    elif last < sessions[-1] and not (there.size and there[-1] == len(sessions) - 1):
        reasons[feature] = f"{name} ends {last:%Y-%m-%d}, the sessions run to {sessions[-1]:%Y-%m-%d}"
    elif first > sessions[0]:
        reasons[feature] = f"{name} starts {first:%Y-%m-%d}, the sessions start {sessions[0]:%Y-%m-%d}"
    else:
        reasons[feature] = f"{name} says something on {there.size} of {len(sessions)} sessions only"
