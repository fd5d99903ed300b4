"""What researchers call: prices and macro series by name, sealed with their provenance."""

import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from functools import lru_cache
from typing import Literal

import pandas as pd

from mltrainer.data import sample
from mltrainer.data.series import CONTEXT, SERIES
from mltrainer.errors import BadInput, NotEnoughHistory, NotEntitled, Unavailable, UnknownName
from mltrainer.settings import Settings, settings
from mltrainer.trust.provenance import Dataset

Day = str | date | pd.Timestamp | None
FRESH = 3600  # seconds for which macro series that were read stand for those of the provider
LIVE = "mode {mode} is not part of this release; set MLTRAINER_MODE=sample (a Polygon key alone selects live)"


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
    return tuple(found)


def bars(ticker: str, *, start: Day = None, end: Day = None) -> Dataset:
    """Daily bars of one ticker, adjusted for splits and dividends.

    Parameters
    ----------
    ticker : "MSFT", "SPX" ...; `tickers()` lists what the mode in force holds.
    start, end : first and last New York session, inclusive; default all there is.

    Returns
    -------
    Dataset
        `.frame` is indexed by session (New York date) with float columns open, high, low, close (dollars, or
        points of an index) and volume (shares). A close-only source has the one column close. `.provenance`
        says where every number came from.

    Notes
    -----
    Mode sample holds some tickers twice: OHLCV for 2000..2013 and closes for 1990..2022. The OHLCV series is
    taken unless `start` or `end` lies outside it and the longer series covers the days asked for.

    Raises
    ------
    UnknownName
        No such ticker in the mode in force.
    NotEnoughHistory
        No session lies inside the span.
    """
    first, last = span(start, end)
    if settings().data_mode != "sample":
        raise Unavailable(LIVE.format(mode=settings().data_mode))
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
        if units != "lin" or provider != "fred":
            raise Unavailable("mode sample holds its series as packaged; units and provider are for mode live")
        return _cut(_packaged(series, sample.MACRO, "macro series")[0].load(), first, last)
    from mltrainer.data import economy, fred  # what they import for the network costs time a sample need not pay

    if provider == "fred":
        return fred.observations(series, start=first, end=last, units=units, vintages=vintages)
    if units != "lin":
        raise Unavailable("the economy tables of Massive are as published; take units from provider fred")
    return economy.observations(series, start=first, end=last)


def tickers() -> list[str]:
    """Every ticker that mode sample holds."""
    return list(dict.fromkeys(entry.name for entry in sample.BARS))


def context(dataset: Dataset) -> list[Dataset]:
    """What else was known while `dataset` traded: the S&P 500 (not for itself) and every macro series."""
    if settings().data_mode != "sample":
        return _economy(dataset)
    names = [] if dataset.name == "SPX" else ["SPX"]
    return [*(bars(name) for name in names), *(entry.load() for entry in sample.MACRO)]


def _economy(_dataset: Dataset) -> list[Dataset]:
    """Every macro series the matrix asks for, as it was known."""
    return list(_read_economy(settings(), time.time() // FRESH))


@lru_cache(maxsize=1)  # every ticker of a run asks for the same
def _read_economy(now: Settings, _hour: float) -> tuple[Dataset, ...]:
    """What FRED has of them; without its key those that are never revised, from Massive, which has no vintages.

    What a provider does not hold, the plan does not include or nobody fetched before MLTRAINER_OFFLINE is left out,
    and the features that need it say so; any other failure is one.
    """
    from mltrainer.data import economy, fred

    own = now.fred_api_key is not None
    absent = (UnknownName, NotEnoughHistory, Unavailable, *(() if own else (NotEntitled,)))
    found = []
    for name in CONTEXT:
        with suppress(*absent):
            if own or not SERIES[name].revised:
                found.append((fred if own else economy).observations(name))
    return found
