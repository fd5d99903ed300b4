"""What researchers call: prices and macro series by name, sealed with their provenance."""

from types import ModuleType
from typing import Any, Literal

from mltrainer.data import sample
from mltrainer.data.dates import Day, day, span
from mltrainer.errors import NotEnoughHistory, NotEntitled, Unavailable, UnknownName
from mltrainer.settings import settings
from mltrainer.trust.provenance import Dataset


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
    provider's own split-adjusted series. Their prices are those of the last session's shares: a split or dividend after
    `end` is not in them, as nobody knew of it then, so two spans may differ by a factor and never in their returns.
    Other timespans are as the provider adjusts them, in the shares of today.

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
    return sample.bars(str(ticker).upper(), first, last)


def until(dataset: Dataset, last: Day) -> Dataset:
    """Daily bars up to a day as they were at its close: live ones are asked for again, in the shares of that day."""
    known, origin = day(last, "as_of"), dataset.provenance
    if known is None or dataset.frame.index[-1] <= known:
        return dataset
    if origin is None or origin.mode == "sample" or dataset.kind != "bars" or origin.transform not in LIVE:
        return dataset.window(None, known.date())
    if settings().data_mode != origin.mode or dataset.frame.index[0] > known:
        return dataset.window(None, known.date())
    return bars(dataset.name, start=dataset.frame.index[0].date(), end=known)


LIVE = ("mltrainer.data.adjustment.total_return", "mltrainer.trust.provenance.cut")  # how live bars are made, and cut


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
        return sample.macro(series, first, last)
    from mltrainer.data import live_macro  # what it imports for the network costs time that a sample need not pay

    how: dict[str, Any] = {"units": units, "frequency": frequency, "aggregation": aggregation, "vintages": vintages}
    return live_macro.macro(series, first, last, provider=provider, **how)


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
    """What else was known while `dataset` traded: the market (not for itself), every macro series, and what
    MLTRAINER_ALTERNATIVE allows.

    The market is the S&P 500: the index in mode sample, the fund SPY live, where the plan holds it.
    """
    if settings().data_mode != "sample":
        from mltrainer.data import live_macro

        return [*_fund(dataset), *live_macro.context(), *_alternative()]
    names = [] if dataset.name == "SPX" else ["SPX"]
    return [*(bars(name) for name in names), *(entry.load() for entry in sample.MACRO), *_alternative()]


def _alternative() -> list[Dataset]:
    if not settings().alternatives:
        return []
    from mltrainer.data.alternative import allowed  # what it needs takes time that only its users should pay

    return allowed()


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
