"""FRED's envelopes over packaged series; first prints are the final values rounded, and revised 90 days later."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pandas as pd

from replay.history import Http, Params, Row, table

END = "9999-12-31"


@dataclasses.dataclass(frozen=True)
class Series:
    """A packaged series under the id it has at FRED; `lag` days after its date it was first published."""

    title: str
    frequency: str
    units: str
    lag: int
    release: int
    read: Callable[[], pd.Series]
    revised: bool = False


def quarterly(column: str) -> Callable[[], pd.Series]:
    def read() -> pd.Series:
        frame = table("statsmodels", "datasets/macrodata/macrodata.csv")
        first = pd.to_datetime({"year": frame["year"], "month": 3 * frame["quarter"] - 2, "day": 1})
        return pd.Series(frame[column].to_numpy(), pd.DatetimeIndex(first))

    return read


def dated(path: str, column: str) -> Callable[[], pd.Series]:
    def read() -> pd.Series:
        frame = table("arch", path)
        return pd.to_numeric(frame[column], errors="coerce").set_axis(pd.DatetimeIndex(pd.to_datetime(frame["Date"])))

    return read


FRED = {
    "GDPC1": Series("Real Gross Domestic Product", "Quarterly", "Billions of Chained 2005 Dollars", 119, 53,
                    quarterly("realgdp"), revised=True),
    "UNRATE": Series("Unemployment Rate", "Quarterly", "Percent", 96, 50, quarterly("unemp")),
    "CPIAUCSL": Series("Consumer Price Index", "Quarterly", "Index 1982-1984=100", 107, 10, quarterly("cpi"), True),
    "TB3MS": Series("3-Month Treasury Bill", "Quarterly", "Percent", 93, 18, quarterly("tbilrate")),
    "CPILFESL": Series("Core Consumer Price Index", "Monthly", "Index 1982-1984=100", 46, 10,
                       dated("data/core_cpi/core-cpi.csv.gz", "CPILFESL"), revised=True),
    "VIXCLS": Series("CBOE Volatility Index", "Daily, Close", "Index", 1, 200, dated("data/vix/vix.csv.gz", "vix")),
    "SP500": Series("S&P 500", "Daily, Close", "Index", 1, 212, dated("data/sp500/sp500.csv.gz", "Close")),
}  # fmt: skip


@cache
def prints(name: str) -> list[tuple[str, str, str, str]]:
    """(date, realtime_start, realtime_end, value) of every value ever published, by date, then by vintage."""
    if name not in FRED:
        raise Http(400, {"error_code": 400, "error_message": "Bad Request.  The series does not exist."})
    series, rows, day = FRED[name], [], pd.Timedelta(days=1)
    for at, value in series.read().items():
        first = at + series.lag * day
        text = "." if pd.isna(value) else f"{value:.10g}"
        early = "." if pd.isna(value) else f"{value:.4g}"
        if series.revised and early != text:
            again = first + 90 * day
            rows.append((f"{at:%Y-%m-%d}", f"{first:%Y-%m-%d}", f"{again - day:%Y-%m-%d}", early))
            first = again
        rows.append((f"{at:%Y-%m-%d}", f"{first:%Y-%m-%d}", END, text))
    return rows


def vintages(name: str) -> list[str]:
    return sorted({start for _, start, _, _ in prints(name)})


def window(params: Params) -> tuple[str, str]:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return params.get("realtime_start", today), params.get("realtime_end", today)


def fred_page(params: Params, name: str, rows: list[Any], largest: int, **head: Any) -> Row:
    start, end = window(params)
    rows = rows[::-1] if params.get("sort_order") == "desc" else rows
    offset, limit = int(params.get("offset", 0)), int(params.get("limit", largest))
    if not 1 <= limit <= largest:
        said = f"Bad Request.  Variable limit is not between 1 and {largest}."
        raise Http(400, {"error_code": 400, "error_message": said})
    shape = {"sort_order": params.get("sort_order", "asc"), "count": len(rows), "offset": offset, "limit": limit}
    return {"realtime_start": start, "realtime_end": end} | head | shape | {name: rows[offset : offset + limit]}


def observations(params: Params) -> Row:
    name, (start, end) = params.get("series_id", ""), window(params)
    asked = params["vintage_dates"].split(",") if "vintage_dates" in params else None
    start, end = (min(asked), max(asked)) if asked else (start, end)
    known = prints(name)
    if len([v for v in vintages(name) if start <= v <= end]) > 2000:
        said = "Bad Request.  This exceeds the maximum number of vintage dates allowed (2000)."
        raise Http(400, {"error_code": 400, "error_message": said})
    first, last = params.get("observation_start", "1600-01-01"), params.get("observation_end", END)
    rows, seen = [], set()
    for at, begin, until, value in known:
        if not (first <= at <= last and begin <= end and until >= start):
            continue
        if asked and not any(begin <= v <= until for v in asked):
            continue
        if params.get("output_type") == "4":  # the initial release only
            if at in seen or begin < start:
                continue
            seen.add(at)
        row = {"realtime_start": max(begin, start), "realtime_end": min(until, end), "date": at, "value": value}
        rows.append(row)
    head = {"observation_start": first, "observation_end": last, "units": params.get("units", "lin")}
    head |= {"output_type": int(params.get("output_type", 1)), "file_type": "json", "order_by": "observation_date"}
    return fred_page(params, "observations", rows, 100_000, **head)


def series(params: Params) -> Row:
    name, (start, end) = params.get("series_id", ""), window(params)
    known, row = prints(name), FRED[name]
    about = {"id": name, "realtime_start": start, "realtime_end": end, "title": row.title,
             "observation_start": known[0][0], "observation_end": known[-1][0], "frequency": row.frequency,
             "frequency_short": row.frequency[0], "units": row.units, "units_short": row.units,
             "seasonal_adjustment": "Not Seasonally Adjusted", "seasonal_adjustment_short": "NSA",
             "last_updated": f"{vintages(name)[-1]} 07:55:01-05", "popularity": 90, "notes": ""}  # fmt: skip
    return {"realtime_start": start, "realtime_end": end, "seriess": [about]}


def vintage_dates(params: Params) -> Row:
    start, end = params.get("realtime_start", "1776-07-04"), params.get("realtime_end", END)
    rows = [v for v in vintages(params.get("series_id", "")) if start <= v <= end]
    given = params | {"realtime_start": start, "realtime_end": end}
    return fred_page(given, "vintage_dates", rows, 10_000, order_by="vintage_date")


def release(params: Params) -> Row:
    start, end = window(params)
    prints(params.get("series_id", ""))
    about = {"id": FRED[params["series_id"]].release, "realtime_start": start, "realtime_end": end}
    about |= {"name": f"Release of {params['series_id']}", "press_release": True, "link": ""}
    return {"realtime_start": start, "realtime_end": end, "releases": [about]}


def release_dates(params: Params) -> Row:
    number = int(params.get("release_id", 0))
    dates = sorted({v for name, row in FRED.items() if row.release == number for v in vintages(name)})
    rows = [{"release_id": number, "date": day} for day in dates]
    given = {"realtime_start": "1776-07-04", "realtime_end": END} | params
    return fred_page(given, "release_dates", rows, 10_000, order_by="release_date")


ROUTES: dict[str, Callable[[Params], Row]] = {
    "/fred/series/observations": observations,
    "/fred/series/vintagedates": vintage_dates,
    "/fred/series/release": release,
    "/fred/release/dates": release_dates,
    "/fred/series": series,
}
