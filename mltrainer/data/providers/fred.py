"""FRED and ALFRED: what was said of the economy, and from which day on anybody could know it.

The GDP of a quarter is published a month after its end and revised for years. So each value carries the day from
which it may be used: the start of its vintage in ALFRED, or a documented lag where a series is never revised or has
no vintages.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from typing import Any

import pandas as pd

from mltrainer.data.providers import client
from mltrainer.data.providers import vintages as published
from mltrainer.data.providers.macro_series import (
    AGGREGATIONS,
    LENGTH,
    OUTPUTS,
    SERIES,
    UNITS,
    Series,
    identifier,
    short,
)
from mltrainer.data.providers.vintages import DAY, TODAY, days, fault
from mltrainer.errors import BadInput, NotEnoughHistory, ProviderError, UnknownName
from mltrainer.trust.provenance import FRED_NOTICE, Dataset

EVER = ("1776-07-04", "9999-12-31")  # the first and the last day of time at FRED
ROWS, DATES = 100_000, 10_000  # of one answer, FRED's maxima
VINTAGES = 1_900  # of one answer; FRED's maximum is 2,000, and one may be published while we read
Page = tuple[client.Reply, dict[str, Any]]


# --- what FRED is asked ---------------------------------------------------------------------------------------


def _ask(path: str, rows: str, **params: object) -> Page:
    asked = {name: value for name, value in params.items() if value is not None}
    check = partial(_checked, rows=rows, asked=asked)
    try:
        reply = client.get("fred", f"/fred/{path}", asked | {"file_type": "json"}, check=check)
    except ProviderError as error:
        if "The series does not exist." in str(error):
            raise UnknownName.of("series of FRED", str(asked.get("series_id")), SERIES) from None
        raise
    return reply, reply.json()


def _checked(answer: Any, *, rows: str, asked: dict[str, Any]) -> None:
    """Refuse an answer that is not what was asked for, before anything of it is kept."""
    listed = answer.get(rows) if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise fault(f"sent no list of {rows}")
    for name in ("units", "output_type", "offset"):
        if name in asked and str(answer.get(name)) != str(asked[name]):
            raise fault(f"answered with {name} {short(answer.get(name))} where {asked[name]} was asked for")
    if rows == "observations":
        published.table(listed)
    if "limit" in asked:
        count, offset = answer.get("count"), asked["offset"]
        due = min(asked["limit"], max(count - offset, 0)) if isinstance(count, int) else None
        if due is None or (due != len(listed) and asked.get("output_type") not in (2, 3)):  # rows of many values each
            raise fault(f"counted {short(count)} {rows} and sent {len(listed)} of them after the first {offset}")


def _paged(path: str, rows: str, limit: int, **params: object) -> Iterator[Page]:
    """Every page of an answer; one that grew while it was read is refused."""
    offset, count = 0, None
    while count is None or offset < count:
        reply, answer = _ask(path, rows, limit=limit, offset=offset, **params)
        if count not in (None, answer["count"]):
            raise fault(f"changed the number of its {rows} while they were read, {count} to {answer['count']}")
        offset, count = offset + limit, answer["count"]
        yield reply, answer


@client.whole()
def metadata(name: str) -> dict[str, Any]:
    """What FRED says about a series: title, units, frequency_short, seasonal_adjustment, last_updated, notes ..."""
    _, answer = _ask("series", "seriess", series_id=identifier(name))
    described = answer["seriess"]
    if len(described) != 1 or described[0].get("id") != identifier(name):
        raise fault(f"described something else than the series {identifier(name)}")
    return dict(described[0])


@client.whole()
def vintage_dates(name: str) -> pd.DatetimeIndex:
    """Days on which values of a series were published or revised; empty where ALFRED has no history of it."""
    asked = {"series_id": identifier(name), "realtime_start": EVER[0], "realtime_end": EVER[1]}
    try:
        pages = [answer for _, answer in _paged("series/vintagedates", "vintage_dates", DATES, **asked)]
    except ProviderError as error:
        if "does not exist in ALFRED" not in str(error):
            raise
        return pd.DatetimeIndex([])
    return days(day for page in pages for day in page["vintage_dates"]).unique().sort_values()


@client.whole()
def release_dates(name: str) -> pd.DatetimeIndex:
    """Days on which the release that holds a series came out, as far back as FRED knows."""
    _, answer = _ask("series/release", "releases", series_id=identifier(name))
    if not answer["releases"]:
        raise fault(f"knows no release of {identifier(name)}")
    asked = {"release_id": answer["releases"][0].get("id"), "realtime_start": EVER[0], "realtime_end": EVER[1]}
    pages = [answer for _, answer in _paged("release/dates", "release_dates", DATES, **asked)]
    return days(row.get("date") for page in pages for row in page["release_dates"]).unique().sort_values()


# --- what researchers call ------------------------------------------------------------------------------------


def series(name: str) -> Series:
    """The row of a series; FRED is asked about one that is in no row, and its hour of release is taken to be late."""
    if identifier(name) in SERIES:
        return SERIES[identifier(name)]
    about = metadata(name)
    keys = ("title", "units", "frequency_short")
    title, unit, frequency = (" ".join(str(about.get(key)).split())[:120] for key in keys)
    lag = 2 * LENGTH.get(frequency.lower(), 366) + 7
    return Series(identifier(name), title, unit, frequency.lower(), "lin", lag, True, delay=1)


@client.whole()
def observations(
    name: str,
    *,
    start: date | None = None,
    end: date | None = None,
    units: str = "lin",
    frequency: str | None = None,
    aggregation: str | None = None,
    vintages: bool = True,
    output_type: int = 1,
    realtime: tuple[str, str] = EVER,
) -> Dataset:
    """Observations of one series, each with the day from which it may be used.

    Parameters
    ----------
    name : FRED's id, of `SERIES` or any other.
    start, end : first and last period, inclusive.
    units : a key of `UNITS`, computed by FRED within each vintage.
    frequency, aggregation : a lower frequency (a key of `LENGTH`), by avg, sum or eop.
    vintages : True reads every vintage of a series that is revised; False the values of today, usable after the lag of
        the series: their revisions are known too early, and the note says so.
    output_type : a key of `OUTPUTS`; all give the same columns.
    realtime : first and last day of the vintages, YYYY-MM-DD; what was known on the first is dated to it.
    """
    for what, value, known in (
        ("FRED units", units, UNITS),
        ("FRED frequency", frequency, LENGTH),
        ("FRED aggregation", aggregation, AGGREGATIONS),
        ("FRED output type", output_type, OUTPUTS),
    ):
        if value is not None and value not in known:
            raise UnknownName.of(what, str(value), [str(key) for key in known])
    if output_type == 3 and units != "lin":
        raise BadInput(f"FRED sends changes as published only; take output_type=1 for units {units}")
    for day in realtime:
        if not DAY.fullmatch(day):
            raise BadInput(f"the real-time day {short(day)} is not written as YYYY-MM-DD")
    row = series(name)
    windows, said = _windows(row, realtime, vintages)
    early = row.lag_days + (LENGTH[frequency] if frequency else 0)
    lag = None if windows else early
    asked = {
        "series_id": row.id, "observation_start": start and str(start)[:10],
        "observation_end": end and str(end)[:10], "units": units,
        "frequency": frequency, "aggregation_method": aggregation, "output_type": output_type if windows else 1,
    }  # fmt: skip
    read = partial(_paged, "series/observations", "observations", ROWS, **asked)
    pages = [page for window in windows or [{}] for page in read(**window)]
    unit = row.unit if units == "lin" else f"{UNITS[units]} of {row.unit}"
    usable = "" if lag is None else f"usable from day {lag} after the period's first"
    about = [row.text, unit, said, usable, row.rights, FRED_NOTICE]
    reader = partial(parse, lag_days=lag, early_days=early, delay=row.delay, first_only=output_type == 4)
    sent = [each for _, answer in pages for each in answer["observations"]]
    return published.admitted("fred", row.id, [reply for reply, _ in pages], sent, reader, about)


def parse(body: bytes, *, lag_days: int | None = None, **how: Any) -> pd.DataFrame:
    """Observations of one answer, or of several in a row; see `vintages.observed`."""
    rows = [row for answer in published.answers(body) for row in answer["observations"]]
    return published.observed(published.table(rows), lag_days=lag_days, **how)


def _windows(row: Series, realtime: tuple[str, str], wanted: bool) -> tuple[list[dict[str, str]], str]:
    """Spans of vintages that FRED answers in one go, and what they are in words."""
    if not row.revised or not wanted:
        return [], TODAY if row.revised else "never revised"
    first, last = realtime
    dates = [str(day.date()) for day in vintage_dates(row.id)]
    if not dates:
        return [], f"without vintages in ALFRED; {TODAY}"
    if last < dates[0]:
        raise NotEnoughHistory(f"the first vintage of {row.id} in ALFRED is of {dates[0]}, after {last}")
    starts = [first, *[day for day in dates if first < day <= last][VINTAGES - 1 :: VINTAGES]]
    ends = [*(str(date.fromisoformat(day) - timedelta(days=1)) for day in starts[1:]), last]
    spans = [{"realtime_start": start, "realtime_end": end} for start, end in zip(starts, ends, strict=True)]
    after = "from its own day" if not row.delay else f"{row.delay} day after"
    return spans, f"{len(dates)} vintages, {dates[0]} to {dates[-1]}, each usable {after}"
