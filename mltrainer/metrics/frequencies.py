"""Returns by the calendar: from daily to yearly, per year of calendar days, and what is done about missing sessions.

A session is missing where its return is NaN, where an expected one is not there, or, if nobody says which are expected,
where the calendar jumps: by more than a week of daily returns, by a whole period of others. Three things can be done:

- ``"refuse"`` (the default): an error says how many there are and where. A year with a hole is not a year.
- ``"count"``: a missing session is a period in which nothing was earned, so it counts in n, in the volatility and in
  the calendar. Right where there was no position; it makes a Sharpe ratio smaller.
- ``"drop"``: it is no period. That is what the plain figures of arrays do with a NaN: 240 known returns of 252 are then
  240 / 252 of a year.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput
from mltrainer.metrics.base import SESSIONS
from mltrainer.metrics.returns import wealth

MISSING = ("refuse", "count", "drop")
HOLE = 7  # days between sessions; the exchanges of the US were closed for longer only in 1914 and 1933
HOLE = 7  # days between sessions; the exchanges of the US were closed for longer only in 1914 and 1933
YEAR = 365.25  # days


class Frequency(NamedTuple):
    """How often there is a return: periods in a year, pandas' name of the period, and its least and most days."""

    periods: int
    period: str
    least: int
    most: int


FREQUENCIES = {
    "daily": Frequency(SESSIONS, "D", 1, 4),
    "weekly": Frequency(52, "W-SUN", 5, 10),
    "monthly": Frequency(12, "M", 26, 33),
    "quarterly": Frequency(4, "Q-DEC", 85, 98),
    "yearly": Frequency(1, "Y-DEC", 350, 380),
}


def frequency(index: pd.Index) -> str:
    """Which of `FREQUENCIES` the dates have, by the median of the days between them.

    >>> frequency(pd.date_range("2020-01-31", periods=5, freq="ME"))
    'monthly'
    """
    days = float(np.median(np.diff(_dates(index)).astype("timedelta64[D]").astype(float))) if len(index) > 1 else 0.0
    for name, f in FREQUENCIES.items():
        if f.least <= days <= f.most:
            return name
    raise BadInput(f"the dates are {days:g} days apart, and there are {', '.join(FREQUENCIES)} returns")


def periods_in_year(index: pd.Index) -> int:
    """Returns in a year of dates like these, see `FREQUENCIES`; 365 of daily ones that know no weekend.

    >>> periods_in_year(pd.date_range("2024-01-01", periods=30))
    365
    """
    name = frequency(index)
    weekends = name == "daily" and float(np.mean(_dates(index).dayofweek >= 5)) > 0.1
    return 365 if weekends else FREQUENCIES[name].periods


def missing_sessions(returns: "pd.Series[float]", *, expected: pd.DatetimeIndex | None = None) -> pd.DatetimeIndex:
    """Dates of the sessions that are missing (see above), in order; those of `expected` between the first and the last.

    Of a hole in daily returns all weekdays are named, also those that were holidays, as no calendar says which were.
    """
    dates = _dates(returns.index)
    unknown = dates[returns.isna().to_numpy()]
    if expected is not None:
        between = expected[(expected >= dates[0]) & (expected <= dates[-1])] if len(dates) else expected[:0]
        return unknown.union(between.difference(dates))
    return unknown.union(_holes(dates)) if len(dates) > 1 else unknown


def _holes(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    name = frequency(dates)
    if name != "daily":
        periods = dates.to_period(FREQUENCIES[name].period)
        absent = pd.period_range(periods[0], periods[-1], freq=periods.freq).difference(periods)
        return pd.DatetimeIndex(absent.to_timestamp(how="end").normalize())
    wide = np.flatnonzero(np.diff(dates) > np.timedelta64(HOLE, "D"))
    inside = [pd.date_range(dates[int(i)], dates[int(i) + 1], freq="B", inclusive="neither") for i in wide]
    return pd.DatetimeIndex([day for hole in inside for day in hole])


def complete(
    returns: "pd.Series[float]", *, missing: str = "refuse", expected: pd.DatetimeIndex | None = None
) -> "pd.Series[float]":
    """Returns by session without NaN, after what `missing` says is done with the sessions that are missing.

    Parameters
    ----------
    returns : by session, in order, each once.
    missing : "refuse", "count" or "drop", see above.
    expected : the sessions there should be; default by the calendar alone.

    Raises
    ------
    BadInput
        A session is missing and `missing` is "refuse"; dates that are out of order, repeated or none.
    """
    if missing not in MISSING:
        raise BadInput(f"missing={missing!r}: a missing session is {', '.join(MISSING[:-1])} or {MISSING[-1]}")
    gone = missing_sessions(returns, expected=expected)
    if missing == "refuse" and len(gone):
        where = str(gone[0].date()) if len(gone) == 1 else f"{gone[0].date()} to {gone[-1].date()}"
        raise BadInput(
            f"{len(gone)} of {len(returns.index.union(gone))} sessions are missing ({where}); "
            'missing="count" makes each a period in which nothing was earned, missing="drop" no period'
        )
    known = returns.dropna().astype(float)
    if missing == "count" and len(gone):
        return pd.concat([known, pd.Series(0.0, index=gone, name=returns.name)]).sort_index()
    return known


def compound(returns: "pd.Series[float]", to: str, *, missing: str = "refuse") -> "pd.Series[float]":
    r"""Simple returns of calendar periods, :math:`\prod (1 + r_t) - 1`, by period.

    Parameters
    ----------
    returns : by session; at least as often as `to`.
    to : a name of `FREQUENCIES`; weeks end on Sunday, quarters and years are those of the calendar.

    Returns
    -------
    Series
        By pandas' periods. The first and the last are of the sessions that are there, and may be parts.

    >>> days = pd.to_datetime(["2020-01-30", "2020-01-31", "2020-02-03"])
    >>> compound(pd.Series([0.1, 0.1, -0.5], index=days), "monthly").round(2).tolist()
    [0.21, -0.5]
    """
    if to not in FREQUENCIES:
        raise BadInput(f"no frequency is called {to!r}; there are {', '.join(FREQUENCIES)}")
    r = complete(returns, missing=missing)
    if len(r) > 1 and FREQUENCIES[frequency(r.index)].periods < FREQUENCIES[to].periods:
        raise BadInput(f"{frequency(r.index)} returns do not say what was earned in {to} periods")
    by = pd.DatetimeIndex(r.index).to_period(FREQUENCIES[to].period)
    return (1 + r).groupby(by).prod() - 1


def calendar_return(
    returns: "pd.Series[float]", *, start: pd.Timestamp | None = None, missing: str = "refuse"
) -> float:
    r"""Compound growth per year of calendar days, as a fraction; -1 when the wealth is gone, NaN for no returns.

    .. math:: \Big(\prod_t (1 + r_t)\Big)^{365.25 / d} - 1

    `annual_return` divides by 252 sessions instead; over whole years the two differ by the sessions a year really had.

    Parameters
    ----------
    returns : by session.
    start : the day on which the wealth was 1, from which the d days to the last session count; default one period
        before the first return (of daily returns the weekday before).
    """
    r = complete(returns, missing=missing)
    if not len(r):
        return float("nan")
    first, last = pd.Timestamp(r.index[0]), pd.Timestamp(r.index[-1])
    began = pd.Timestamp(start) if start is not None else _before(first, r.index)
    if began >= last:
        raise BadInput(f"the wealth was 1 on {began.date()}, and the last return is of {last.date()}")
    final = float(wealth(r)[-1])
    return float(final ** (YEAR / (last - began).days) - 1) if final > 0 else -1.0


def _before(first: pd.Timestamp, index: pd.Index) -> pd.Timestamp:
    name = frequency(index) if len(index) > 1 else "daily"
    if name == "daily":
        return pd.Timestamp(first - pd.offsets.BDay(1))
    return pd.Timestamp((first.to_period(FREQUENCIES[name].period) - 1).to_timestamp(how="end").normalize())


def _dates(index: pd.Index) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex):
        raise BadInput("returns by the calendar need the date of each; give a Series by session")
    if index.tz is not None:
        raise BadInput(f"the sessions are instants of {index.tz}; a session is a date: tz_localize(None).normalize()")
    if not (index.is_monotonic_increasing and index.is_unique):
        raise BadInput("the sessions are not in order, or one is there twice")
    return index
