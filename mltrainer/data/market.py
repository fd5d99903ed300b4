"""What researchers call: prices and macro series by name, sealed with their provenance."""

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from functools import lru_cache
from types import ModuleType
from typing import Literal

import pandas as pd

from mltrainer.data import sample
from mltrainer.data.providers.macro_series import CONTEXT, SERIES
from mltrainer.errors import BadInput, NotEnoughHistory, NotEntitled, Unavailable, UnknownName
from mltrainer.settings import Settings, settings
from mltrainer.trust.provenance import Dataset

Day = str | date | pd.Timestamp | None
FRESH = 3600  # seconds for which macro series that were read stand for those of the provider


def day(value: Day, what: str) -> pd.Timestamp | None:
    """Read a calendar day as YYYY-MM-DD, or None; anything else is `BadInput`.

    >>> day("2010-01-04", "start")
    Timestamp('2010-01-04 00:00:00')
    """
    if value is None:
        return None
    text = str(value)[:10] if isinstance(value, date) else value
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise BadInput(f"{what} {_shown(value)} is not a day; write it as YYYY-MM-DD")
    try:
        return pd.Timestamp(date.fromisoformat(text))
    except ValueError:
        raise BadInput(f"{what} {_shown(value)} is not in the calendar") from None


def span(start: Day, end: Day) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Read both ends of a span and check their order."""
    first, last = day(start, "start"), day(end, "end")
    if first is not None and last is not None and first > last:
        raise BadInput(f"start {first.date()} is after end {last.date()}; swap them")
    return first, last


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _packaged(name: str, table: Iterable[sample.Packaged], kind: str) -> list[sample.Packaged]:
    table = list(table)
    found = [entry for entry in table if entry.name == name]
    if not found:
        raise UnknownName.of(f"{kind} in mode sample", name, dict.fromkeys(entry.name for entry in table))
    return found


def bars(ticker: str, *, start: Day = None, end: Day = None, timespan: str = "day", adjusted: bool = True) -> Dataset:
    """Bars of one ticker, by default daily and adjusted for splits and dividends.

    Parameters
    ----------
    ticker : "MSFT", "SPX" ...; `tickers()` lists what the mode in force holds.
    start, end : first and last New York session, inclusive. Default all there is: what is packaged, or what the plan
        holds, up to the last session that is over.
    timespan : "day", "minute", "15 minute", "hour", "week" ...; a sample is daily.
    adjusted : daily bars for splits and dividends, others for splits; False gives what was traded.

    Returns
    -------
    Dataset
        `.frame` is indexed by session (New York date) with float columns open, high, low, close (dollars, or
        points of an index) and volume (shares). A close-only source has the one column close. Live bars add vwap
        (dollars) and trades where the provider has them, and below a day they are indexed by time (UTC, the start
        of the bar) and of kind "minute bars": features are made of days. `.provenance` says where every number
        came from, and which span was asked for and which returned.

    Notes
    -----
    Mode sample holds some tickers twice: OHLCV for 2000..2013 and closes for 1990..2022. The OHLCV series is
    taken unless `start` or `end` lies outside it and the longer series covers the days asked for.

    Live daily bars are adjusted here, from what was traded and the splits and dividends, and must agree with the
    provider's own split-adjusted series.

    Raises
    ------
    UnknownName
        No such ticker in the sample.
    NotEnoughHistory
        No session lies inside the span.
    NotEntitled
        The plan does not hold the span: never a shorter one in its place, and never "no data".
    Refused
        The provider's bars, splits and adjusted bars contradict each other.
    """
    first, last = span(start, end)
    if settings().data_mode != "sample":
        from mltrainer.data import live_bars  # what it imports for the network costs time that a sample need not pay

        return live_bars.bars(ticker, first, last, timespan=timespan, adjusted=adjusted)
    if timespan != "day" or not adjusted:
        raise Unavailable("mode sample holds adjusted daily bars and no others; set a key for live data")
    candidates = _packaged(str(ticker).upper(), sample.BARS, "ticker")
    loaded = candidates[0].load()
    others = (entry.load() for entry in candidates[1:] if not _covers(loaded, first, last))
    return _cut(next((c for c in others if _covers(c, first, last)), loaded), first, last)


def _covers(dataset: Dataset, first: pd.Timestamp | None, last: pd.Timestamp | None) -> bool:
    # A week's grace: a span may begin or end on a weekend or holiday.
    index, week = dataset.frame.index, pd.Timedelta(days=7)
    low, high = index[0] - week, index[-1] + week
    return all(day is None or low <= day <= high for day in (first, last))


def _cut(dataset: Dataset, first: pd.Timestamp | None, last: pd.Timestamp | None) -> Dataset:
    if first is None and last is None:
        return dataset
    index = dataset.frame.index
    low, high = first or index[0], last or index[-1]
    if not ((index >= low) & (index <= high)).any():
        held = f"{index[0].date()} to {index[-1].date()}"
        raise NotEnoughHistory(f"{dataset.name} has no row from {low.date()} to {high.date()}; it covers {held}")
    return dataset.window(first, last)


def macro(
    series: str,
    *,
    start: Day = None,
    end: Day = None,
    vintages: bool = True,
    units: str = "lin",
    frequency: str | None = None,
    aggregation: str | None = None,
    provider: Literal["fred", "polygon"] = "fred",
) -> Dataset:
    """Observations of one macroeconomic series, each with the day from which it may be used.

    Parameters
    ----------
    series : "GDP", "UNRATE", "DGS10" ...; in modes live and replay any id of FRED.
    start, end : first and last period, inclusive; default all there are.
    vintages : every value a period ever had, from the day it was published (ALFRED); False takes the values of today,
        usable after a documented lag. Series that are never revised, or have no vintages, take the lag in any case.
    units : FRED's code, computed within each vintage: lin, chg, ch1, pch, pc1, pca, cch, cca or log.
    frequency, aggregation : a lower frequency, as FRED makes it: d, w, bw, m, q, sa or a, by avg, sum or eop.
    provider : "fred", or "polygon" for the economy tables of Massive, which have no vintages.

    Returns
    -------
    Dataset
        `.frame` is indexed by period (the first day an observation describes) with columns value (the unit is
        in the provenance note) and available (the first day on which a forecast may use it). A period that was
        revised has one row for each vintage.
    """
    first, last = span(start, end)
    if provider not in ("fred", "polygon"):
        raise UnknownName.of("provider of macro series", str(provider), ["fred", "polygon"])
    if settings().data_mode == "sample":
        if units != "lin" or frequency or provider != "fred":
            raise Unavailable("mode sample holds its series as packaged; units, frequency, provider are for mode live")
        return _cut(_packaged(series, sample.MACRO, "macro series")[0].load(), first, last)
    from mltrainer.data.providers import (  # what they import for the network costs time a sample need not pay
        fred,
        polygon_macro,
    )

    if provider == "fred":
        return fred.observations(
            series,
            start=first,
            end=last,
            units=units,
            frequency=frequency,
            aggregation=aggregation,
            vintages=vintages,
        )
    if units != "lin" or frequency:
        raise Unavailable("the economy tables of Massive are as published; take units or frequency from provider fred")
    return polygon_macro.observations(series, start=first, end=last)


def tickers(*, day: Day = None, inactive: bool = False) -> list[str]:
    """Every ticker that the mode in force holds.

    Parameters
    ----------
    day : live only: as listed on that day. A choice made from today's list knows who survived.
    inactive : live only: add those that were delisted before.
    """
    if settings().data_mode == "sample":
        return list(dict.fromkeys(entry.name for entry in sample.BARS))
    return sorted({name for listed in _listed(day, inactive) for name in listed.frame.index})


def _listed(on: Day, inactive: bool) -> list[Dataset]:
    states = (True, False) if inactive else (True,)
    return [_provider().table("tickers", date=_text(on), active=active) for active in states]


def _text(on: Day) -> str | None:
    found = day(on, "day")
    return None if found is None else str(found.date())


def context(dataset: Dataset) -> list[Dataset]:
    """What else was known while `dataset` traded: the market (not for itself) and every macro series.

    The market is the S&P 500: the index in mode sample, the fund SPY live, where the plan holds it.
    """
    if settings().data_mode != "sample":
        return [*_fund(dataset), *_economy()]
    names = [] if dataset.name == "SPX" else ["SPX"]
    return [*(bars(name) for name in names), *(entry.load() for entry in sample.MACRO)]


# --- live -----------------------------------------------------------------------------------------------------

FUND = "SPY"


def _fund(dataset: Dataset) -> list[Dataset]:
    """The market's bars over the same sessions; without them features of the market say that they are unavailable."""
    if dataset.name == FUND:
        return []
    sessions = dataset.frame.index
    try:
        return [bars(FUND, start=sessions[0].date(), end=sessions[-1].date())]
    except (NotEntitled, NotEnoughHistory):
        return []


def _economy() -> list[Dataset]:
    """Every macro series the matrix asks for, as it was known."""
    return list(_read_economy(settings(), time.time() // FRESH))


@lru_cache(maxsize=1)  # every ticker of a run asks for the same
def _read_economy(now: Settings, _hour: float) -> tuple[Dataset, ...]:
    """What FRED has of them; without its key those that are never revised, from Massive, which has no vintages.

    What a provider does not hold, the plan does not include or nobody fetched before MLTRAINER_OFFLINE is left out,
    and the features that need it say so; any other failure is one.
    """
    from mltrainer.data.providers import fred, polygon_macro

    own = now.fred_api_key is not None
    absent = (UnknownName, NotEnoughHistory, Unavailable, *(() if own else (NotEntitled,)))
    found = []
    for name in CONTEXT:
        with suppress(*absent):
            if own or not SERIES[name].revised:
                found.append((fred if own else polygon_macro).observations(name))
    return tuple(found)


def _provider() -> ModuleType:
    if settings().data_mode == "sample":
        raise Unavailable("mode sample holds bars and macro series only; set POLYGON_API_KEY for live data")
    from mltrainer.data.providers import tables

    return tables


def actions(ticker: str) -> tuple[Dataset, Dataset]:
    """Splits and dividends of one ticker, all that the provider knows, announced ones included.

    Returns
    -------
    (splits, dividends) : by execution_date with split_from and split_to (shares), and by ex_dividend_date with
        cash_amount (per share of that date, in `currency`).
    """
    provider = _provider()
    return provider.table("splits", ticker), provider.table("dividends", ticker)


def details(ticker: str, *, day: Day = None) -> Dataset:
    """What the provider knows of one ticker as of a day: name, exchange, type, listing date, shares outstanding."""
    return _provider().thing("details", ticker, date=_text(day))


def snapshot(ticker: str) -> Dataset:
    """Day, previous day, last minute, and last trade and quote where the plan has them, as one row."""
    return _provider().thing("snapshot", ticker)


def market_status() -> Dataset:
    """Whether the exchanges are open now, as one row."""
    return _provider().thing("status")


def trades(ticker: str, day: Day) -> Dataset:
    """Every trade of one day, by time (UTC, nanoseconds), where the plan has them."""
    return _provider().table("trades", ticker, timestamp=_text(day))


def quotes(ticker: str, day: Day) -> Dataset:
    """Every best bid and offer of one day, by time (UTC, nanoseconds), where the plan has them."""
    return _provider().table("quotes", ticker, timestamp=_text(day))
