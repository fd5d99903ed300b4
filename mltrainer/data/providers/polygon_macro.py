"""The macroeconomic series that Polygon (Massive) keeps, under the names FRED gives them.

They have no vintages. What is revised is therefore known too early, and the note of the dataset says so.
"""

from datetime import date
from functools import partial
from typing import Any

import pandas as pd

from mltrainer.data.providers import client
from mltrainer.data.providers import vintages as published
from mltrainer.data.providers.macro_series import SERIES, Series, identifier, short
from mltrainer.errors import UnknownName
from mltrainer.trust.provenance import Dataset


def _monthly(name: str, text: str, unit: str) -> Series:
    return Series(name, text, unit, "m", "pc1", 75, True)


def _daily(name: str, text: str) -> Series:
    return Series(name, text, "percent a year", "d", "lin", 1, False)


# What they keep and SERIES does not. Their cpi_core is not here: whether it is seasonally adjusted is not said.
OTHERS: dict[str, Series] = {
    row.id: row
    for row in (
        _daily("DGS1", "1-year Treasury yield"),
        _daily("DGS5", "5-year Treasury yield"),
        _daily("DGS30", "30-year Treasury yield"),
        _daily("T5YIE", "5-year breakeven inflation"),
        _monthly("CPIAUCNS", "consumer prices, not seasonally adjusted", "index, 1982-84 = 100"),
        _monthly("PCEPI", "PCE prices", "index, 2017 = 100"),
        _monthly("CES0500000003", "hourly earnings", "dollars an hour"),
        _monthly("CIVPART", "labor force participation", "percent"),
        _monthly("JTSJOL", "job openings", "thousands"),
    )
}

# FRED's name -> table and column, or two columns of which the second is subtracted.
ECONOMY: dict[str, tuple[str, str]] = {
    "DGS3MO": ("treasury-yields", "yield_3_month"),
    "DGS1": ("treasury-yields", "yield_1_year"),
    "DGS2": ("treasury-yields", "yield_2_year"),
    "DGS5": ("treasury-yields", "yield_5_year"),
    "DGS10": ("treasury-yields", "yield_10_year"),
    "DGS30": ("treasury-yields", "yield_30_year"),
    "T10Y2Y": ("treasury-yields", "yield_10_year yield_2_year"),
    "T10Y3M": ("treasury-yields", "yield_10_year yield_3_month"),
    "T5YIE": ("inflation-expectations", "market_5_year"),
    "T10YIE": ("inflation-expectations", "market_10_year"),
    "CPIAUCNS": ("inflation", "cpi"),
    "PCEPI": ("inflation", "pce"),
    "PCEPILFE": ("inflation", "pce_core"),
    "UNRATE": ("labor-market", "unemployment_rate"),
    "CIVPART": ("labor-market", "labor_force_participation_rate"),
    "CES0500000003": ("labor-market", "avg_hourly_earnings"),
    "JTSJOL": ("labor-market", "job_openings"),
}


@client.whole()
def observations(name: str, *, start: date | None = None, end: date | None = None) -> Dataset:
    """Observations of one series of `ECONOMY`, usable the documented lag after each period began."""
    wanted = identifier(name)
    if wanted not in ECONOMY:
        raise UnknownName.of("macro series at Polygon (Massive)", wanted, ECONOMY)
    table, columns = ECONOMY[wanted]
    row = OTHERS.get(wanted) or SERIES[wanted]
    asked: dict[str, object] = {"limit": 50_000, "sort": "date.asc"}
    asked |= {key: str(day)[:10] for key, day in (("date.gte", start), ("date.lte", end)) if day}
    check = partial(_checked, columns=columns)
    replies = list(client.pages("polygon", f"/fed/v1/{table}", asked, check=check))
    sent = [each for reply in replies for each in _rows(reply.json(), columns=columns)]
    known = published.TODAY if row.revised else "never revised"
    usable = f"usable from day {row.lag_days} after the period's first"
    reader = partial(parse, columns=columns, lag_days=row.lag_days)
    about = [row.text, row.unit, known, usable]
    return published.admitted("polygon", wanted, replies, sent, reader, about)


def _checked(answer: Any, *, columns: str) -> None:
    published.table(_rows(answer, columns=columns), "polygon")


def _rows(answer: Any, *, columns: str) -> list[dict[str, Any]]:
    """The rows of one answer in the form of FRED's; another status or a value that is no number is refused."""
    if not isinstance(answer, dict) or answer.get("status") != "OK" or not isinstance(answer.get("results"), list):
        status = answer.get("status") if isinstance(answer, dict) else answer
        raise published.fault(f"sent no list of results (status {short(status)})", "polygon")
    rows = []
    for row in answer["results"]:
        values: list[Any] = [row.get(column) for column in columns.split()] if isinstance(row, dict) else [""]
        if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value in values):
            raise published.fault(f"sent a {columns} of {short(values)}", "polygon")
        value = "." if None in values else repr(round(values[0] - sum(values[1:]), 8))
        rows.append({"date": row.get("date"), "realtime_start": row.get("date"), "value": value})
    return rows


def parse(body: bytes, *, columns: str, lag_days: int) -> pd.DataFrame:
    """Observations of one column, or of one less another; see `vintages.observed`."""
    rows = [row for answer in published.answers(body) for row in _rows(answer, columns=columns)]
    return published.observed(published.table(rows, "polygon"), lag_days=lag_days)
