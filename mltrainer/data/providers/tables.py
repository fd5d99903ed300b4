"""What Polygon (now Massive) holds besides bars: splits, dividends, reference lists, trades, quotes, single objects.

Each kind of rows is a row of `TABLES` that names its address and its fields; a field that is not what it must be
refuses the whole answer.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from pydantic_core import from_json

from mltrainer.data.providers import client
from mltrainer.data.providers.polygon import (
    DAY,
    MINUTE,
    MONTH,
    PAGE,
    ask,
    envelope,
    results,
    split_pages,
    ticker,
    wrong,
)
from mltrainer.errors import ProviderError
from mltrainer.trust.provenance import Dataset


def _days(values: list[Any]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(pd.Series(values, dtype=object), format="%Y-%m-%d")).as_unit("s")


def _is_day(value: Any) -> bool:
    return isinstance(value, str) and pd.notna(pd.to_datetime(value, format="%Y-%m-%d", errors="coerce"))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max  # 1e999 is a number in JSON, none in ours


@dataclass(frozen=True)
class Reader:
    """What a field must be, and how a column of them is read; None is a missing value."""

    good: Callable[[Any], bool]
    column: Callable[[list[Any]], Any]
    what: str


READERS = {
    "day": Reader(_is_day, _days, "a day"),
    "number": Reader(_is_number, lambda v: np.array(v, float), "a number of zero or more"),
    "positive": Reader(lambda v: _is_number(v) and v > 0, lambda v: np.array(v, float), "a number above zero"),
    # nanoseconds of 2001..2033 as whole numbers; a float would round them
    "instant": Reader(
        lambda v: type(v) is int and 10**18 <= v < 2 * 10**18,
        lambda v: pd.DatetimeIndex(np.array(v, np.int64).astype("datetime64[ns]"), tz="UTC"),
        "a time in nanoseconds",
    ),
    "text": Reader(
        lambda v: isinstance(v, str | list),
        lambda v: np.array([None if x is None else str(x) for x in v], object),
        "text",
    ),
    "flag": Reader(lambda v: isinstance(v, bool), lambda v: np.array(v, object), "true or false"),
}


@dataclass(frozen=True)
class Table:
    """One kind of rows.

    Parameters
    ----------
    paths : where they are asked for and how, the superseded address second.
    fields : "name:reader" each, with "?" where the provider may leave it out and "|" before an older name. The first
        is the index, in ascending order.
    own : every row says that it belongs to the ticker asked for.
    """

    paths: tuple[tuple[str, Mapping[str, Any]], ...]
    fields: str
    keep: timedelta = DAY
    own: bool = False

    def readers(self) -> Iterator[tuple[tuple[str, ...], Reader, bool]]:
        """Names of each field (the first is the column's), how it is read, and whether it may be missing."""
        for item in self.fields.split():
            names, reader = item.split(":")
            yield tuple(names.rstrip("?").split("|")), READERS[reader], names.endswith("?")


# What makes a dividend another one: a correction may come with new dates, and is paid once.
PAID = ["ex_dividend_date", "cash_amount", "currency", "frequency", "distribution_type"]
MOST = 2_000  # pages of trades or quotes: a busy day of the busiest share has some tens of millions
TICKS: dict[str, Any] = {"sort": "timestamp", "order": "asc", "limit": PAGE}
TABLES: dict[str, Table] = {
    "splits": Table(
        (
            ("/stocks/v1/splits", {"sort": "execution_date.asc", "limit": 5000}),
            ("/v3/reference/splits", {"sort": "execution_date", "order": "asc", "limit": 1000}),
        ),
        "execution_date:day split_from:positive split_to:positive adjustment_type?:text",
        own=True,
    ),
    "dividends": Table(
        (
            ("/stocks/v1/dividends", {"sort": "ex_dividend_date.asc", "limit": 5000}),
            ("/v3/reference/dividends", {"sort": "ex_dividend_date", "order": "asc", "limit": 1000}),
        ),
        "ex_dividend_date:day cash_amount:positive currency?:text frequency?:number declaration_date?:day"
        " distribution_type|dividend_type?:text record_date?:day pay_date?:day",
        own=True,
    ),
    "tickers": Table(
        (("/v3/reference/tickers", {"market": "stocks", "sort": "ticker", "order": "asc", "limit": 1000}),),
        "ticker:text name:text type?:text primary_exchange?:text active?:flag currency_name?:text cik?:text"
        " composite_figi?:text delisted_utc?:text",
    ),
    "trades": Table(
        (("/v3/trades/{ticker}", TICKS),),
        "sip_timestamp:instant price:positive size:number exchange?:number sequence_number?:number conditions?:text",
        keep=MONTH,
    ),
    "quotes": Table(
        (("/v3/quotes/{ticker}", TICKS),),
        "sip_timestamp:instant bid_price?:number bid_size?:number ask_price?:number ask_size?:number"
        " bid_exchange?:number ask_exchange?:number sequence_number?:number",
        keep=MONTH,
    ),
}


def check_table(document: Any, *, kind: str, ticker: str | None) -> list[dict[str, Any]]:
    """Check one page of rows, envelope and fields, and return them."""
    rows = results(document)
    for names, reader, optional in TABLES[kind].readers():
        for n, row in enumerate(rows):
            value = _field(row, names)
            if not (reader.good(value) or (optional and value is None)):
                wrong(names[0], f"{kind} with {names[0]} {value!r:.40} in row {n + 1}, which is not {reader.what}")
    strangers = {str(row.get("ticker"))[:40] for row in rows} - {str(ticker)} if TABLES[kind].own else set()
    if strangers:
        wrong("ticker", f"{kind} of {', '.join(sorted(strangers)[:3])} where {ticker} was asked for")
    return rows


def _field(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def parse_table(body: bytes, *, kind: str, ticker: str | None) -> pd.DataFrame:
    """Rows of all pages in the order of their index; a row that was sent twice counts once."""
    return tabled([check_table(from_json(page), kind=kind, ticker=ticker) for page in split_pages(body)], kind)[0]


def tabled(pages: list[list[dict[str, Any]]], kind: str) -> tuple[pd.DataFrame, str]:
    """One ordered frame of checked rows, and what had to be done for it, in words."""
    rows, readers = [row for page in pages for row in page], list(TABLES[kind].readers())
    frame = pd.DataFrame(
        {names[0]: reader.column([_field(row, names) for row in rows]) for names, reader, _ in readers}
    )
    again = frame.duplicated(PAID if kind == "dividends" else None)
    frame = frame[~again].set_index(readers[0][0][0]).sort_index(kind="stable")
    if kind == "splits" and frame.index.has_duplicates:
        wrong("duplicate", f"two different splits on {frame.index[frame.index.duplicated()][0]:%Y-%m-%d}")
    same = "dividends of the same day, cash and kind" if kind == "dividends" else "identical duplicates"
    return frame, f"{again.sum()} {same} dropped" if again.any() else ""


# --- one object: ticker details, a snapshot, the state of the market ------------------------------------------

OBJECTS = {  # kind -> where it is asked for, under which name it stands, and for how long it is fresh
    "details": ("/v3/reference/tickers/{ticker}", "results", DAY),
    "snapshot": ("/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}", "ticker", MINUTE),
    "status": ("/v1/marketstatus/now", "", MINUTE),
}


def check_object(document: Any, *, kind: str, ticker: str | None) -> list[dict[str, Any]]:
    """Check one answer that holds one object, and return it."""
    _, under, _ = OBJECTS[kind]
    found = envelope(document, status=bool(under)).get(under) if under else envelope(document, status=False)
    if not isinstance(found, dict) or (not under and not isinstance(found.get("market"), str)):
        wrong("results", f"no {kind}")
    if ticker and found.get("ticker") != ticker:
        wrong("ticker", f"the {kind} of {str(found.get('ticker'))[:40]!r} where {ticker} was asked for")
    return [found]


def parse_object(body: bytes, *, kind: str, ticker: str | None) -> pd.DataFrame:
    """One row; nested names are joined by a dot (day.c), lists become text."""
    [found] = check_object(from_json(next(split_pages(body))), kind=kind, ticker=ticker)
    row = pd.json_normalize(found).iloc[0].to_dict()
    return pd.DataFrame([{k: str(v) if isinstance(v, list) else v for k, v in sorted(row.items()) if v is not None}])


# --- asking ---------------------------------------------------------------------------------------------------


@client.whole()
def table(kind: str, symbol: str | None = None, **asked: Any) -> Dataset:
    """Rows of one kind of `TABLES`: "splits", "dividends", "tickers" (date=, active=), "trades" and "quotes".

    Where the present address does not know a ticker or is not in the plan, the superseded one is asked.
    """
    row = TABLES[kind]
    name = ticker(symbol) if row.own or "{ticker}" in row.paths[0][0] else None
    check, first = partial(check_table, kind=kind, ticker=name), None
    for path, how in row.paths:
        question = {**how, **asked} if "{ticker}" in path else {"ticker": name, **how, **asked}
        try:
            what, most = f"{name or 'all'} {kind}", MOST if row.keep == MONTH else client.PAGES
            answer = ask(path.format(ticker=name), question, check, keep=row.keep, what=what, most=most)
            break
        except ProviderError as error:
            first = first or error
            if error.status not in (403, 404) or (path, how) == row.paths[-1]:
                raise first from None
    frame, done = tabled(answer.parts, kind)
    old = f"from the superseded {path}" if path != row.paths[0][0] else ""
    parse = partial(parse_table, kind=kind, ticker=name)
    return answer.admit(name or kind, kind, question, parse, f"{kind}: {len(frame)}", old, done)


@client.whole()
def thing(kind: str, symbol: str | None = None, **asked: Any) -> Dataset:
    """One object of `OBJECTS`: "details" (date=), "snapshot" of a ticker, or "status" of the market."""
    path, _, keep = OBJECTS[kind]
    name = ticker(symbol) if "{ticker}" in path else None
    check = partial(check_object, kind=kind, ticker=name)
    answer = ask(path.format(ticker=name), asked, check, keep=keep, what=kind)
    return answer.admit(
        name or kind, kind, {"ticker": name, **asked}, partial(parse_object, kind=kind, ticker=name), kind
    )
