"""Polygon's envelopes over the packaged bars: raw OHLCV of AAPL, GOOG, IBM and MSFT, 2000..2013.

Splits and dividends are read from the adjusted closes. There are no recorded minutes: minute bars are the daily ones
again, one a minute of each session.
"""

from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pandas as pd

from replay.history import Http, Params, Row, decoded, encoded, table

NAMES = {"AAPL": "Apple Inc.", "GOOG": "Alphabet Inc.", "IBM": "International Business Machines", "MSFT": "Microsoft"}
TODAY = "_today"  # a parameter that the server adds: the day of the world in which it answers
REQUEST = "00112233445566778899aabbccddeeff"  # not like a key, or a search for keys would find it


@cache
def history(ticker: str) -> pd.DataFrame:
    """Raw bars by session, the ratio of a split of that day (else 1) and the cash of a dividend (else 0)."""
    raw = table("bokeh_sampledata", "_data/stocks.csv.gz")
    raw = raw[raw["Ticker"] == ticker]
    if raw.empty or ticker not in NAMES:
        raise Http(404, {"status": "NOT_FOUND", "request_id": REQUEST, "message": "Ticker not found."})
    frame = raw[["Open", "High", "Low", "Close", "Volume"]].astype(float)
    frame.columns = pd.Index(["o", "h", "l", "c", "v"])
    frame.index = pd.DatetimeIndex(pd.to_datetime(raw["Date"]))
    adjusted = raw["Adj Close"].to_numpy()
    step = np.r_[1.0, (adjusted / frame["c"])[1:].to_numpy() / (adjusted / frame["c"])[:-1].to_numpy()]
    split = np.where(np.abs(np.log(step)) > np.log(1.2), np.round(step * 4) / 4, 1.0)
    rounding = 0.005 / adjusted + 0.005 / np.r_[adjusted[0], adjusted[:-1]]  # the file has two decimals
    cash = np.where((split == 1) & (step - 1 > 8e-4 + 2 * rounding), step - 1, 0.0)
    frame["split"], frame["cash"] = split, np.round(cash * frame["c"].to_numpy(), 4)
    return frame


def milliseconds(index: pd.DatetimeIndex) -> np.ndarray:
    """Midnight in New York, in ms UTC: 05:00Z in winter, 04:00Z in summer."""
    return np.asarray(index.tz_localize("America/New_York").as_unit("ms").asi8)


SPANS = {"week": "W-SUN", "month": "MS", "quarter": "QS", "year": "YS"}


@cache
def bars(ticker: str, timespan: str, adjusted: bool, today: str = "9999") -> list[Row]:
    """Every bar up to today, oldest first, as it stands on the wire on that day."""
    known = history(ticker)
    known = known[known.index.strftime("%Y-%m-%d") <= today]
    frame = known[["o", "h", "l", "c", "v"]].copy()
    if adjusted:  # splits only, never dividends
        split = known["split"].to_numpy()
        later = np.r_[np.cumprod(split[::-1])[::-1][1:], 1.0]
        frame[["o", "h", "l", "c"]] = frame[["o", "h", "l", "c"]].div(later, axis=0).round(4)
        frame["v"] *= later
    if timespan in SPANS:
        rule = {"o": "first", "h": "max", "l": "min", "c": "last", "v": "sum"}
        frame = frame.resample(SPANS[timespan], label="left", closed="left").agg(rule).dropna()
    times = milliseconds(frame.index)
    if timespan == "minute":
        per_session, day = 390, np.repeat(times, 390)
        frame = frame.iloc[np.arange(len(day)) % len(frame)]
        times = day + 34_200_000 + np.tile(np.arange(per_session) * 60_000, len(times))
    elif timespan not in ("day", *SPANS):
        return []
    columns = {name: frame[name].to_numpy() for name in ("v", "o", "c", "h", "l")}
    return [
        {"v": float(v), "o": float(o), "c": float(c), "h": float(h), "l": float(low), "t": int(t)}
        for v, o, c, h, low, t in zip(*columns.values(), times, strict=True)
    ]


def event_rows(ticker: str, kind: str, current: bool, today: str = "9999") -> list[Row]:
    frame = history(ticker)
    frame = frame[frame.index.strftime("%Y-%m-%d") <= today]
    rows = []
    later = np.r_[np.cumprod(frame["split"].to_numpy()[::-1])[::-1][1:], 1.0]
    for (day, bar), after in zip(frame.iterrows(), later, strict=True):
        on = f"{day:%Y-%m-%d}"
        if kind == "splits" and bar["split"] != 1:
            up = int(bar["split"] * 4)
            ratio = np.gcd(up, 4)
            row = {"execution_date": on, "split_from": int(4 // ratio), "split_to": int(up // ratio)}
            extra = {"adjustment_type": "forward_split", "historical_adjustment_factor": 1 / (bar["split"] * after)}
        elif kind == "dividends" and bar["cash"] > 0:
            row = {"cash_amount": float(bar["cash"]), "currency": "USD", "ex_dividend_date": on, "record_date": on}
            row |= {"declaration_date": on, "pay_date": on, "frequency": 4}
            extra = {"distribution_type": "recurring", "split_adjusted_cash_amount": float(bar["cash"] / after)}
            row |= {} if current else {"dividend_type": "CD"}
        else:
            continue
        rows.append({"id": f"E{ticker}{on}", "ticker": ticker, **row, **(extra if current else {})})
    return rows


def listed(url: str, path: str, rows: list[Row], params: Params, size: int, default: str) -> Row:
    """One page of a list: fields filtered by name, name.gte ..., sorted, cut at `limit`, with a cursor to the next."""
    params = params | dict(parse_qsl(decoded(params.get("cursor", ""))))
    compare: dict[str, Callable[[Any, str], bool]] = {
        "": lambda a, b: str(a).lower() == b.lower(),  # active=true is True
        "gte": lambda a, b: str(a) >= b,
        "gt": lambda a, b: str(a) > b,
        "lte": lambda a, b: str(a) <= b,
        "lt": lambda a, b: str(a) < b,
    }
    for name, value in params.items():
        field, _, how = name.partition(".")
        if rows and field in rows[0] and how in compare:
            rows = [row for row in rows if compare[how](row[field], value)]
    field, _, way = params.get("sort", default).partition(".")
    way = way or params.get("order", "desc" if "date" in field else "asc")
    rows = sorted(rows, key=lambda row: str(row.get(field)), reverse=way == "desc")
    start, limit = int(params.get("_from", 0)), int(params.get("limit", size))
    document: Row = {"results": rows[start : start + limit], "status": "OK", "request_id": REQUEST}
    if start + limit < len(rows):
        onward = {k: v for k, v in params.items() if k != "cursor"} | {"_from": str(start + limit)}
        document["next_url"] = f"{url}{path}?cursor={encoded(urlencode(onward))}"
    return document


def moment(text: str, *, end: bool) -> int:
    if text.isdigit():
        return int(text)
    day = pd.Timestamp(text, tz="America/New_York") + pd.Timedelta(days=1 if end else 0)
    return int(day.timestamp() * 1000) - (1 if end else 0)


def aggregates(url: str, path: str, params: Params, found: tuple[str, ...]) -> Row:
    ticker, multiplier, timespan, first, last = found
    params = params | dict(parse_qsl(decoded(params.get("cursor", ""))))
    adjusted = params.get("adjusted", "true") != "false"
    limit, descending = min(int(params.get("limit", 5000)), 50_000), params.get("sort") == "desc"
    if ticker not in NAMES:  # as the real one: an unknown ticker has no bars
        return {"ticker": ticker, "queryCount": 0, "resultsCount": 0, "adjusted": adjusted, "status": "OK",
                "request_id": REQUEST, "count": 0}  # fmt: skip
    low, high = moment(first, end=False), moment(last, end=True)
    rows = [row for row in bars(ticker, timespan, adjusted, params.get(TODAY, "9999")) if low <= row["t"] <= high]
    rows = rows[:: int(multiplier)] if int(multiplier) > 1 else rows
    rows = rows[::-1] if descending else rows
    page, more = rows[:limit], rows[limit:]
    counts = {"queryCount": len(page), "resultsCount": len(page), "count": len(page)}
    document = {"ticker": ticker, "adjusted": adjusted, **counts, "status": "OK", "request_id": REQUEST}
    if page:
        document["results"] = page
    if more:
        ends = f"{first}/{more[0]['t']}" if descending else f"{more[0]['t']}/{last}"
        given = {"limit": limit, "sort": "desc" if descending else "asc"} | ({} if adjusted else {"adjusted": "false"})
        stem = f"{url}/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}"
        document["next_url"] = f"{stem}/{ends}?cursor={encoded(urlencode(given))}"
    return document


def ticker_row(ticker: str, *, details: bool = False) -> Row:
    row = {"ticker": ticker, "name": NAMES[ticker], "market": "stocks", "locale": "us", "type": "CS", "active": True}
    row |= {"primary_exchange": "XNYS" if ticker == "IBM" else "XNAS", "currency_name": "usd"}
    return row | ({"list_date": f"{history(ticker).index[0]:%Y-%m-%d}"} if details else {})


def details(url: str, path: str, params: Params, found: tuple[str, ...]) -> Row:
    history(found[0])
    row = ticker_row(found[0], details=True)
    if params.get("date", "9999") < row["list_date"]:
        raise Http(404, {"status": "NOT_FOUND", "request_id": REQUEST, "message": "Ticker not found."})
    return {"request_id": REQUEST, "status": "OK", "results": row}


def reference(url: str, path: str, params: Params, found: tuple[str, ...]) -> Row:
    then = params.get("date", "9999")
    rows = [ticker_row(t) for t in NAMES if ticker_row(t, details=True)["list_date"] <= then]
    return listed(url, path, rows, {k: v for k, v in params.items() if k != "date"}, 100, "ticker")


def events(url: str, path: str, params: Params, found: tuple[str, ...]) -> Row:
    kind, current = path.rpartition("/")[2], path.startswith("/stocks")
    wanted = params.get("ticker")
    rows = [
        row for t in NAMES if wanted in (None, t) for row in event_rows(t, kind, current, params.get(TODAY, "9999"))
    ]
    key = "execution_date" if kind == "splits" else "ex_dividend_date"
    return listed(url, path, rows, params, 100 if current else 10, key)


def snapshot(url: str, path: str, params: Params, found: tuple[str, ...]) -> Row:
    before, today = bars(found[0], "day", True)[-2:]
    change = today["c"] - before["c"]
    moved = {"todaysChange": change, "todaysChangePerc": 100 * change / before["c"], "updated": today["t"] * 10**6}
    return {
        "request_id": REQUEST,
        "status": "OK",
        "ticker": {"ticker": found[0], "day": today, "prevDay": before} | moved,
    }


def market_status(url: str, path: str, params: Params, found: tuple[str, ...]) -> Row:
    exchanges = {"nasdaq": "closed", "nyse": "closed", "otc": "closed"}
    return {"market": "closed", "earlyHours": False, "afterHours": False, "exchanges": exchanges,
            "currencies": {"crypto": "open", "fx": "closed"}, "serverTime": "2013-03-01T20:00:00-05:00"}  # fmt: skip


T = r"([A-Za-z0-9.:-]+)"
ROUTES: list[tuple[str, Callable[[str, str, Params, tuple[str, ...]], Row]]] = [
    (rf"/v2/aggs/ticker/{T}/range/(\d+)/(\w+)/([\d-]+)/([\d-]+)", aggregates),
    (r"/(?:v3/reference|stocks/v1)/(?:splits|dividends)", events),
    (rf"/v3/reference/tickers/{T}", details),
    (r"/v3/reference/tickers", reference),
    (rf"/v2/snapshot/locale/us/markets/stocks/tickers/{T}", snapshot),
    (r"/v1/marketstatus/now", market_status),
]
