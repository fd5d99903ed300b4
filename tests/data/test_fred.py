"""FRED's answers become observations that know their day; nothing wrong is kept, and no revision is known too early."""

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay import faults
from replay import fred as published
from replay.server import FRED_KEY, Replay

import mltrainer as mt
from mltrainer.cli import app
from mltrainer.dashboards import page
from mltrainer.data import live_macro, market
from mltrainer.data.providers import fred, polygon_macro, registry, vintages
from mltrainer.data.providers.macro_series import CONTEXT, LENGTH, SERIES, UNITS
from mltrainer.errors import BadInput, MltrainerError, NotEnoughHistory, NotEntitled, ProviderError, UnknownName
from mltrainer.features.macro import MACRO, asof, growth, log_growth
from mltrainer.features.rewriting import differing, rewrites
from mltrainer.reports import index
from mltrainer.trust import gate
from mltrainer.trust.provenance import FRED_NOTICE, Dataset

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
RECORDED = FIXTURES / "fred_api"
ALL_GDP = "series_observations--realtime_end-9999-12-31_realtime_start-1776-07-04_series_id-GDP--pyfredapi-3e704a.json"
GDP_DATES = "series_vintagedates--series_id-GDP--pyfredapi-af6ea1.json"
OBSERVATIONS, DATES = "/fred/series/observations", "/fred/series/vintagedates"


def recorded(name: str) -> bytes:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return path.read_bytes()


def body(*rows: tuple[str, str, str]) -> bytes:
    """Rows of (period, since, value) as FRED sends them."""
    named = [{"realtime_start": s, "realtime_end": "9999-12-31", "date": p, "value": v} for p, s, v in rows]
    return json.dumps({"observations": named}).encode()


def plain(frame: pd.DataFrame) -> list[tuple[str, float, str]]:
    return [(f"{p:%Y-%m-%d}", row["value"], f"{row['available']:%Y-%m-%d}") for p, row in frame.iterrows()]


@pytest.fixture
def server(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """The replay server, with patience for long answers on a busy machine."""
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "20")
    return replay


@pytest.fixture
def gdp(server: Replay) -> Replay:
    """The same server, which now says of every series what ALFRED said of GDP on 2024-11-03."""
    server.canned[OBSERVATIONS] = json.loads(recorded(ALL_GDP))
    server.canned[DATES] = json.loads(recorded(GDP_DATES))
    return server


# --- the table ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", SERIES.values(), ids=lambda row: row.id)
def test_a_row_says_unit_frequency_transform_and_lag(row):
    assert fred.identifier(row.id) == row.id
    assert row.text
    assert row.unit
    assert row.transform in UNITS
    # nothing is known before it is over, and the weekday of a daily value is its last day
    assert row.lag_days >= (LENGTH[row.frequency] if row.frequency != "q" else 90 + 24)
    assert not (row.frequency == "d" and row.revised)


@pytest.mark.parametrize("name", ["VIXCLS", "SP500", "BAA10Y", "AAA10Y", "UMCSENT"])
def test_a_third_party_is_named(name):
    assert SERIES[name].rights


def test_the_matrix_asks_for_the_first_choice_of_each_macro_feature():
    first = {row.series[0] for row in MACRO if row.series[0] in SERIES}
    assert set(CONTEXT) == first
    assert {row.series[0] for row in MACRO} - first == {"infl"}  # which is packaged only


@pytest.mark.parametrize(
    "name", ["", "../../x", "GDP\nX", "GDP&api_key=1", "gdp'", "ＧＤＰ", "A" * 10_000, 7, None, "GDP "]
)
def test_a_hostile_id_is_one_line_and_nothing_is_sent(name, server):
    with pytest.raises(BadInput) as error:
        mt.macro(name)
    assert "is no series id" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200
    assert server.log == []


# --- answers that were recorded -------------------------------------------------------------------------------

ROWS = {"observations": "observations", "vintagedates": "vintage_dates", "dates": "release_dates"}
ROWS |= {"release": "releases", "series": "seriess"}


REFUSED: dict[str, tuple[type[MltrainerError], str]] = {
    "400_api_key_malformed.json": (NotEntitled, "not a 32 character .*; check FRED_API_KEY"),
    "400_api_key_not_registered.json": (NotEntitled, "not registered.*; check FRED_API_KEY"),
    "400_series_does_not_exist--USAB6DBTT01CXCUSAQ.json": (UnknownName, "no series of FRED is called"),
}


def test_every_recorded_answer_is_read():
    index = [entry for entry in json.loads(recorded("index.json")) if entry["status"] == 200]
    found = {path.name for path in RECORDED.rglob("*.json")} - {"index.json"}
    assert found == {Path(entry["file"]).name for entry in index} | REFUSED.keys()
    for entry in index:
        answer = json.loads((FIXTURES / entry["file"]).read_bytes())
        rows = ROWS[entry["path"].rpartition("/")[2]]
        asked: dict[str, Any] = {"offset": 0, "limit": answer["limit"]} if "limit" in answer else {}
        asked |= {"units": "lin", "output_type": 1} if rows == "observations" else {}
        fred._checked(answer, rows=rows, asked=asked)
        if rows == "observations":
            present = sum(row["value"] != "." for row in answer[rows])
            frame = fred.parse((FIXTURES / entry["file"]).read_bytes())
            # a value that was withdrawn and came back unchanged is no news
            assert present - 5 <= len(frame) <= present


@pytest.mark.parametrize("name", REFUSED)
def test_every_recorded_refusal_is_one_line_that_says_what_to_do(name, server, monkeypatch):
    refused = faults.answer(400, json.loads(recorded(f"errors/{name}")))
    monkeypatch.setitem(faults.FAULTS, "recorded", refused)
    server.fault("recorded", path=OBSERVATIONS)
    kind, why = REFUSED[name]
    with pytest.raises(kind, match=why):
        mt.macro("VIXCLS")


def test_gross_domestic_product_is_what_the_bureau_said_on_the_day():
    # Fourth quarter of 2008, billions: BEA's releases of 30 January (advance) and 27 February 2009, and of 31 July.
    frame = fred.parse(recorded(ALL_GDP))
    days = pd.DatetimeIndex(["2009-01-29", "2009-01-30", "2009-02-26", "2009-02-27", "2009-03-31"])
    known = asof(frame, days, max_age_days=400)
    assert known.tolist()[1:] == [14264.6, 14264.6, 14200.3, 14200.3]
    assert known.iloc[0] == 14412.8  # the third quarter, as of 23 December 2008
    assert asof(frame.loc[:"2008-10-01"], pd.DatetimeIndex(["2009-07-31"]), max_age_days=400).tolist() == [14347.3]


def test_half_of_gross_domestic_product_was_known_a_hundred_and_twenty_days_after_its_quarter_began():
    frame = fred.parse(recorded(ALL_GDP)).loc["1992":]
    first = frame.groupby(level=0)["available"].min()
    lag = (first - first.index).dt.days
    assert lag.median() == pytest.approx(119, abs=2)
    assert lag.max() <= SERIES["GDP"].lag_days  # the fixed lag is never too early, shutdowns included


def test_output_types_two_and_three_say_what_type_one_says_and_type_four_its_first_releases():
    rows = [row for row in json.loads(recorded(ALL_GDP))["observations"] if row["date"] >= "2005"]
    one = fred.parse(json.dumps({"observations": rows}).encode())
    for output_type in "23":
        wide = published.by_vintage("GDP", rows, output_type)
        pd.testing.assert_frame_equal(fred.parse(json.dumps({"observations": wide}).encode()), one)
    four = fred.parse(json.dumps({"observations": rows}).encode(), first_only=True)
    pd.testing.assert_frame_equal(four, one[~one.index.duplicated()])


# --- rows that are right, and rows that cannot be -------------------------------------------------------------


def test_a_point_is_a_missing_value_and_is_left_out():
    assert plain(fred.parse(body(("2020-01-01", "2020-02-01", "."), ("2020-02-01", "2020-03-01", "1.5")))) == [
        ("2020-02-01", 1.5, "2020-03-01")
    ]


def test_rows_in_any_order_are_sorted_and_identical_ones_are_one():
    rows = [("2020-02-01", "2020-03-01", "2"), ("2020-01-01", "2020-02-01", "1"), ("2020-02-01", "2020-03-01", "2")]
    assert plain(fred.parse(body(*rows))) == [("2020-01-01", 1.0, "2020-02-01"), ("2020-02-01", 2.0, "2020-03-01")]
    assert vintages.counted(json.loads(body(*rows))["observations"]) == "1 identical rows dropped"


def test_a_delay_moves_a_release_after_the_close_to_the_next_day():
    assert plain(fred.parse(body(("2020-01-01", "2020-02-25", "1")), delay=1)) == [("2020-01-01", 1.0, "2020-02-26")]


EARLY = [("2030-01-01", "2025-03-01", "1"), ("2030-01-01", "2025-06-01", "2"), ("2030-01-01", "2025-09-01", "3")]


def test_a_vintage_dated_before_its_period_is_known_after_the_lag_in_its_newest_form():
    assert plain(fred.parse(body(*EARLY), early_days=150)) == [("2030-01-01", 3.0, "2030-05-31")]
    assert plain(fred.parse(body(*EARLY))) == [("2030-01-01", 3.0, "2031-01-02")]  # a year, where nobody says better


def test_the_first_release_goes_before_what_was_dated_earlier_than_its_period():
    # an outcome of January dated to December must not be known in January; the release of 20 February is known then
    rows = [("2020-01-01", "2019-12-15", "9"), ("2020-01-01", "2020-02-20", "1"), ("2020-01-01", "2020-06-01", "2")]
    assert plain(fred.parse(body(*rows), early_days=60)) == [
        ("2020-01-01", 1.0, "2020-02-20"),
        ("2020-01-01", 2.0, "2020-06-01"),
    ]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(-400, 400), st.sampled_from("123")), min_size=1, max_size=8, unique_by=lambda r: r[0]
    ),
    st.integers(31, 90),
)
def test_nothing_is_known_before_its_vintage_nor_before_its_period_is_over_where_the_vintage_is_older(rows, lag):
    begin = pd.Timestamp("2020-01-01")
    sent = [("2020-01-01", f"{begin + pd.Timedelta(days=n):%Y-%m-%d}", value) for n, value in rows]
    frame = fred.parse(body(*sent), early_days=lag)
    assert frame["available"].is_monotonic_increasing
    assert frame["available"].is_unique
    for value, available in frame.itertuples(index=False):
        first = min(pd.Timestamp(since) for _, since, v in sent if float(v) == value)
        assert available >= first
        assert available >= begin + pd.Timedelta(days=31) or any(
            pd.Timestamp(since) == available and float(v) == value for _, since, v in sent
        )


def test_a_vintage_before_its_period_is_said(server, monkeypatch):
    def early(sent: faults.Sent) -> faults.Sent:
        rows = [
            row | {"realtime_start": "1950-01-01"} if n == 40 else row
            for n, row in enumerate(sent.document["observations"])
        ]
        return replace(sent, document=sent.document | {"observations": rows})

    monkeypatch.setitem(faults.FAULTS, "early", early)
    server.fault("early", path=OBSERVATIONS)
    dataset = mt.macro("GDPC1")
    assert "1 vintages dated before their period, usable only after its lag" in dataset.provenance.note
    known = dataset.frame["available"] - dataset.frame.index
    assert known.min() >= pd.Timedelta(days=90)


def test_a_fixed_lag_counts_from_the_first_day_of_the_period():
    frame = fred.parse(body(("2020-01-01", "2024-06-27", "1"), ("2020-01-02", "2024-06-27", "2")), lag_days=1)
    assert plain(frame) == [("2020-01-01", 1.0, "2020-01-02"), ("2020-01-02", 2.0, "2020-01-03")]


GOOD = {"date": "2020-01-01", "realtime_start": "2020-02-01", "value": "1"}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([GOOD, GOOD | {"value": "2"}], "gave two values to 2020-01-01 in the vintage of 2020-02-01"),
        ([GOOD | {"value": "1"}, GOOD | {"value": "."}], "gave two values"),
        ([GOOD | {"value": 1.5}], "no number"),
        ([GOOD | {"value": None}], "no number"),
        ([GOOD | {"value": "n/a"}], "no number"),
        ([GOOD | {"value": ""}], "no number"),
        ([GOOD | {"value": "1_0"}], "no number"),
        ([GOOD | {"value": "nan"}], "not finite"),
        ([GOOD | {"value": "-Infinity"}], "not finite"),
        ([GOOD | {"date": "01/02/2020"}], "where a day belongs"),
        ([GOOD | {"date": "2020-02-30"}], "a day of no calendar"),
        ([GOOD | {"date": 20200101}], "where a day belongs"),
        ([GOOD | {"date": None}], "where a day belongs"),
        ([GOOD | {"realtime_start": "x\ny"}], "where a day belongs"),
        ([GOOD | {"realtime_start": "2999-01-01"}], "lies in the future"),
        ([{"date": "2020-01-01", "value": "1"}], "where a day belongs"),
        ([{"date": "2020-01-01"}], "no records"),
        ([{"date": "2020-01-01", "GDP_2020": "1"}], "where a day belongs"),
        (["GDP"], "no records"),
    ],
)
def test_rows_that_cannot_be_right_are_refused_in_one_line(rows, why):
    with pytest.raises(ProviderError, match=why) as error:
        vintages.table(rows)
    assert "\n" not in str(error.value)
    assert "nothing of it was kept" in str(error.value)


# --- windows of vintages --------------------------------------------------------------------------------------

HISTORY = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 60), st.sampled_from(["1", "2", "3", "."])),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:2],
)
START = pd.Timestamp("2001-01-01")


def spans(rows: list[tuple[int, int, str]]) -> list[dict[str, str]]:
    """Vintages (period, day, value) as FRED dates them: each lasts to the day before the next of its period."""
    found = []
    for period in sorted({p for p, _, _ in rows}):
        own = sorted((day, value) for p, day, value in rows if p == period)
        for (day, value), (until, _) in zip(own, [*own[1:], (10_000, "")], strict=True):
            found.append((f"{START - pd.DateOffset(months=6 - period):%Y-%m-%d}", day, until - 1, value))
    return [dict(zip(("date", "since", "until", "value"), row, strict=True)) for row in found]


def answered(rows: list[dict[str, Any]], first: int, last: int) -> bytes:
    """What FRED answers for the vintages of two days: rows cut to that span."""
    cut = [r | {"since": max(r["since"], first)} for r in rows if r["since"] <= last and r["until"] >= first]
    return body(*((r["date"], f"{START + pd.Timedelta(days=r['since']):%Y-%m-%d}", r["value"]) for r in cut))


@settings(max_examples=40)
@given(rows=HISTORY, cuts=st.lists(st.integers(1, 60), unique=True, max_size=4), day=st.integers(0, 80))
def test_a_history_read_in_windows_is_known_as_the_one_read_at_once(rows, cuts, day):
    known = spans(rows)
    edges = [0, *sorted(cuts), 10_000]
    parts = [answered(known, a, b - 1) for a, b in pairwise(edges)]
    whole, joined = fred.parse(answered(known, 0, 9_999)), fred.parse(b"".join(vintages.SEPARATOR + p for p in parts))
    days = pd.DatetimeIndex([START + pd.Timedelta(days=day)])
    ours, theirs = (asof(frame, days, max_age_days=1000).to_numpy() for frame in (joined, whole))
    np.testing.assert_array_equal(ours, theirs)


def test_more_vintages_than_one_answer_holds_are_read_in_windows(server, monkeypatch):
    # the daily index has 5,031 vintages at the replay server, which refuses more than 2,000 as FRED does
    monkeypatch.setitem(published.FRED, "SPXD", published.FRED["SP500"])
    dataset = mt.macro("SPXD")
    asked = [entry.params for entry in server.log if entry.path == OBSERVATIONS]
    assert len(asked) == 3
    assert (asked[0]["realtime_start"], asked[-1]["realtime_end"]) == fred.EVER
    for before, after in pairwise(asked):
        gap = pd.Timestamp(after["realtime_start"]) - pd.Timestamp(before["realtime_end"])
        assert gap == pd.Timedelta(days=1)
    known = published.prints("SPXD")
    assert len(dataset.frame) == len(known) == 5031
    assert dataset.frame["value"].tolist() == [float(value) for _, _, _, value in known]
    late = pd.DatetimeIndex([since for _, since, _, _ in known]) + pd.Timedelta(days=1)  # a row of no table
    assert (dataset.frame["available"] == late).all()
    assert dataset.provenance.parameters["answers"] == "3"
    assert gate.verify(dataset, "test")


def test_pages_are_joined(server, monkeypatch):
    whole = mt.macro("CPILFESL").frame
    monkeypatch.setattr(fred, "ROWS", 400)
    paged = mt.macro("CPILFESL")
    asked = [entry.params.get("offset") for entry in server.log if entry.path == OBSERVATIONS]
    assert asked[1:4] == ["0", "400", "800"]
    pd.testing.assert_frame_equal(paged.frame, whole)


def test_an_answer_that_grows_while_it_is_read_is_refused(server, monkeypatch):
    monkeypatch.setattr(fred, "ROWS", 400)
    grown = faults.envelope(count=lambda sent: sent.document["count"] + 1)
    monkeypatch.setitem(faults.FAULTS, "grown", lambda s: grown(s) if "offset=400" in s.url else s)
    server.fault("grown", path=OBSERVATIONS, times=None)
    with pytest.raises(ProviderError, match="changed the number of its observations while they were read"):
        mt.macro("CPILFESL")


# --- over the wire --------------------------------------------------------------------------------------------


def test_a_series_with_vintages_is_dated_by_them(server):
    dataset = mt.macro("GDPC1", start="2007-01-01", end="2008-10-01")
    known = [row for row in published.prints("GDPC1") if "2007-01-01" <= row[0] <= "2008-10-01"]
    assert plain(dataset.frame) == [(at, float(value), since) for at, since, _, value in known]
    assert len(dataset.frame) > dataset.frame.index.nunique()
    origin = gate.verify(dataset, "test")
    assert (origin.source, origin.mode, origin.name, origin.kind) == ("replay", "replay", "GDPC1", "macro")
    assert origin.endpoint.endswith(OBSERVATIONS)
    assert origin.parameters["observation_start"] == "2007-01-01"
    for part in ("billions of chained 2017 dollars", "vintages", "each usable from its own day", FRED_NOTICE):
        assert part in origin.note


def test_a_daily_market_series_is_usable_the_next_day(server):
    frame = mt.macro("VIXCLS", start="2018-01-01", end="2018-12-31").frame
    assert (frame["available"] - frame.index == pd.Timedelta(days=1)).all()
    note = mt.macro("VIXCLS").provenance.note
    for part in ("percent a year", "never revised", "usable from day 1", "rows without a value", "Cboe, copyright"):
        assert part in note
    assert [entry.path for entry in server.log] == [OBSERVATIONS, OBSERVATIONS]


def test_the_values_of_today_say_that_they_are_no_history(server):
    dataset = mt.macro("GDPC1", vintages=False)
    assert dataset.frame.index.is_unique
    assert (dataset.frame["available"] - dataset.frame.index == pd.Timedelta(days=SERIES["GDPC1"].lag_days)).all()
    assert vintages.TODAY in dataset.provenance.note


def test_a_series_without_vintages_takes_its_lag_and_says_so(server, monkeypatch):
    said = "Bad Request.  The series does not exist in ALFRED but may exist in FRED."
    refused = faults.answer(400, {"error_code": 400, "error_message": said})
    monkeypatch.setitem(faults.FAULTS, "no_alfred", refused)
    server.fault("no_alfred", path=DATES)
    dataset = mt.macro("UNRATE")
    assert dataset.frame.index.is_unique
    assert (dataset.frame["available"] - dataset.frame.index == pd.Timedelta(days=45)).all()
    assert "without vintages in ALFRED" in dataset.provenance.note


def test_a_series_of_no_row_is_described_by_fred_and_known_a_day_after_its_vintage(server, monkeypatch):
    monkeypatch.setitem(published.FRED, "ELSE1", published.FRED["GDPC1"])
    dataset = mt.macro("ELSE1", start="2008-01-01", end="2008-01-01")
    since = [pd.Timestamp(row[1]) for row in published.prints("ELSE1") if row[0] == "2008-01-01"]
    assert dataset.frame["available"].tolist() == [day + pd.Timedelta(days=1) for day in since]
    assert "Real Gross Domestic Product; Billions of Chained 2005 Dollars" in dataset.provenance.note


def test_an_unknown_series_offers_close_names(server):
    with pytest.raises(UnknownName) as error:
        mt.macro("GDPC2")
    assert str(error.value) == "no series of FRED is called 'GDPC2'; close: GDPC1, GDP"


def test_what_fred_computes_is_asked_for_and_said(server):
    dataset = mt.macro("CPILFESL", units="pc1", start="2010-01-01")
    assert server.log[-1].params["units"] == "pc1"
    assert "percent change in a year of index, 1982-84 = 100" in dataset.provenance.note
    with pytest.raises(UnknownName, match="no FRED units is called 'yoy'"):
        mt.macro("CPILFESL", units="yoy")


def test_a_lower_frequency_of_a_daily_series_is_known_after_its_period(server):
    dataset = mt.macro("VIXCLS", frequency="m", aggregation="avg")
    assert {"frequency": "m", "aggregation_method": "avg"}.items() <= server.log[-1].params.items()
    assert (dataset.frame["available"] - dataset.frame.index == pd.Timedelta(days=32)).all()
    for wrong in ({"frequency": "x"}, {"aggregation": "mean"}, {"output_type": 5}):
        with pytest.raises(UnknownName):
            fred.observations("VIXCLS", **wrong)


@pytest.mark.parametrize("output_type", [2, 3])
def test_vintages_as_columns_say_the_same(output_type, server):
    span = {"start": date(2007, 1, 1), "end": date(2008, 10, 1)}
    frame = fred.observations("GDPC1", output_type=output_type, **span).frame
    assert server.log[-1].params["output_type"] == str(output_type)
    pd.testing.assert_frame_equal(frame, mt.macro("GDPC1", **span).frame)


def test_first_releases_alone(server):
    first = fred.observations("GDPC1", output_type=4).frame
    every = mt.macro("GDPC1").frame
    assert first.index.is_unique
    pd.testing.assert_frame_equal(first, every[~every.index.duplicated()])


def test_what_was_known_on_a_day_is_dated_to_it(server):
    day = "2008-11-15"
    frame = fred.observations("GDPC1", realtime=(day, day)).frame
    every = mt.macro("GDPC1").frame
    known = every[every["available"] <= day]
    assert frame["value"].to_dict() == known[~known.index.duplicated(keep="last")]["value"].to_dict()
    assert (frame["available"] == day).all()
    with pytest.raises(NotEnoughHistory, match="the first vintage of GDPC1 in ALFRED is of"):
        fred.observations("GDPC1", realtime=("1940-01-01", "1941-01-01"))
    with pytest.raises(BadInput, match="real-time day"):
        fred.observations("GDPC1", realtime=("yesterday", "9999-12-31"))


def test_changes_are_sent_as_published_only(server):
    with pytest.raises(BadInput, match="output_type=1"):
        fred.observations("GDPC1", output_type=3, units="pch")


def test_metadata_vintages_and_release_dates(server):
    about = fred.metadata("CPILFESL")
    assert (about["title"], about["frequency_short"]) == ("Core Consumer Price Index", "M")
    assert len(fred.vintage_dates("GDPC1")) == len(published.vintages("GDPC1"))
    dates = fred.release_dates("GDPC1")
    assert {f"{day:%Y-%m-%d}" for day in dates} == set(published.vintages("GDPC1"))


def test_a_span_without_a_value_is_one_line(server):
    with pytest.raises(NotEnoughHistory, match="GDPC1 has no value in the span asked for"):
        mt.macro("GDPC1", start="2020-01-01")


def test_a_description_of_another_series_is_refused(server):
    server.canned["/fred/series"] = {"seriess": [{"id": "GDP"}]}
    with pytest.raises(ProviderError, match="described something else than the series ELSE1"):
        mt.macro("ELSE1")


def test_recorded_gross_domestic_product_comes_through_whole(gdp):
    dataset = mt.macro("GDP")
    pd.testing.assert_frame_equal(dataset.frame, fred.parse(recorded(ALL_GDP)))
    assert "393 vintages, 1991-12-04 to 2024-10-30" in dataset.provenance.note
    assert "245 of 3199 rows without a value" in dataset.provenance.note


def test_the_matrix_is_told_what_the_provider_holds(server, monkeypatch):
    few = "GDPC1", "VIXCLS", "DGS10", "T10Y2Y", "T10YIE"  # at five requests a second, all of them take a while
    monkeypatch.setattr(live_macro, "CONTEXT", few)
    days = pd.bdate_range("2008-01-01", "2008-12-31", name="session")
    bars = Dataset(pd.DataFrame({"close": 1.0}, days), "MSFT", "bars")
    given = [d for d in market.context(bars) if d.kind == "macro"]
    assert [d.name for d in given] == ["GDPC1", "VIXCLS"]  # what the replay server has of them
    assert all(gate.verify(d, "test") for d in given)
    # without a key of FRED, Massive's yields; what the plan does not include is left out
    monkeypatch.delenv("FRED_API_KEY")
    server.canned[YIELDS] = massive({"date": "2008-01-02", "yield_10_year": 3.9, "yield_2_year": 2.9})
    server.fault("403", path="/fed/v1/inflation-expectations", times=None)
    given = [d for d in market.context(bars) if d.kind == "macro"]
    assert [d.name for d in given] == ["DGS10", "T10Y2Y"]


def test_a_failure_of_fred_is_no_missing_series(server):
    server.fault("html", path=OBSERVATIONS)
    bars = Dataset(pd.DataFrame({"close": 1.0}, pd.bdate_range("2008-01-01", "2008-12-31")), "MSFT", "bars")
    with pytest.raises(ProviderError):
        market.context(bars)


# --- faults ---------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[type[MltrainerError], str]] = {
    "fred_400": (UnknownName, "no series of FRED is called 'GDPC1'"),
    "fred_malformed": (NotEntitled, "FRED_API_KEY"),
    "fred_unregistered": (NotEntitled, "FRED_API_KEY"),
    "fred_vintages": (ProviderError, "exceeds the maximum number of vintage dates"),
    "xml": (ProviderError, "instead of JSON"),
    "no_results": (ProviderError, "sent no list of observations"),
    "conflict": (ProviderError, "gave two values to"),
    "all_dots": (NotEnoughHistory, "has no value in the span asked for"),
    "null": (ProviderError, "no number"),
    "value_word": (ProviderError, "no number"),
    "value_number": (ProviderError, "no number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_fred_does_wrong_is_one_line_and_is_not_kept(name, server):
    server.fault(name, path=OBSERVATIONS)
    kind, why = WRONG[name]
    with pytest.raises(kind, match=why) as error:
        mt.macro("GDPC1")
    assert "\n" not in str(error.value)
    assert FRED_KEY not in str(error.value)
    if name != "all_dots":  # which may be true, and is no error of FRED's
        assert len(mt.macro("GDPC1").frame) > 200  # the next answer is asked for anew, and is right


def test_dates_of_vintages_that_are_none_are_not_kept(server, monkeypatch):
    for path, ask in ((DATES, fred.vintage_dates), ("/fred/release/dates", fred.release_dates)):
        name = "vintage_dates" if path == DATES else "release_dates"
        bad = "2020-02-30" if path == DATES else {"release_id": 53, "date": "soon"}
        wrong = faults.envelope(**{name: lambda sent, name=name, bad=bad: [*sent.document[name][:-1], bad]})
        monkeypatch.setitem(faults.FAULTS, "bad_day", wrong)
        server.fault("bad_day", path=path)
        with pytest.raises(ProviderError, match=r"sent .* where a day belongs"):
            ask("GDPC1")
        assert len(ask("GDPC1")) > 100


def test_pages_that_contradict_each_other_are_not_kept(server, monkeypatch):
    monkeypatch.setattr(fred, "ROWS", 300)
    last: list[dict[str, str]] = []

    def other(sent: faults.Sent) -> faults.Sent:
        rows = sent.document["observations"]
        again = [row | {"value": "1"} for row in last] + rows[len(last) :]
        last[:] = rows[-1:]
        return replace(sent, document=sent.document | {"observations": again})

    monkeypatch.setitem(faults.FAULTS, "other", other)
    server.fault("other", path=OBSERVATIONS, times=None)
    with pytest.raises(ProviderError, match="gave two values to"):
        mt.macro("GDPC1")
    server.heal()
    assert len(mt.macro("GDPC1").frame) > 200


Read = Callable[[pd.DataFrame, int], pd.DataFrame]


def tenfold(frame: pd.DataFrame, k: int) -> pd.DataFrame:
    return frame.assign(value=np.where(np.arange(len(frame)) == k, 10 * frame["value"], frame["value"]))


READ: dict[str, tuple[Read, str]] = {
    "dot": (lambda frame, k: pd.concat([frame.iloc[:k], frame.iloc[k + 1 :]]), "1 of"),
    "duplicate": (lambda frame, k: frame, "1 identical rows dropped"),
    "unsorted": (lambda frame, k: frame, ""),
    "big_revision": (tenfold, ""),
    "fred_429": (lambda frame, k: frame, ""),  # asked again
}


@pytest.mark.parametrize("name", READ)
def test_what_may_be_is_read_as_it_is(name, server):
    expected, note = READ[name]
    right = mt.macro("GDPC1").frame.loc["1990":]
    server.fault(name, path=OBSERVATIONS)
    dataset = mt.macro("GDPC1", start="1990-01-01")
    pd.testing.assert_frame_equal(dataset.frame, expected(right, len(right) // 2))
    assert note in dataset.provenance.note


# --- no look-ahead --------------------------------------------------------------------------------------------


def features(frame: pd.DataFrame, sessions: pd.DatetimeIndex) -> pd.DataFrame:
    known = {"level": {}, "growth": {"change": lambda k, n: log_growth(k, n, months=3)}}
    return pd.DataFrame({name: asof(frame, sessions, max_age_days=184, **how) for name, how in known.items()})


def moved(frame: pd.DataFrame, sessions: pd.DatetimeIndex, cut: pd.Timestamp, rng: np.random.Generator) -> list[str]:
    """Features that move up to the session `cut` when every vintage published after it is rewritten."""
    frame = frame.sort_values("available", kind="stable")
    past = features(frame, sessions).loc[:cut]
    found = []
    for name, other in rewrites(frame, int((frame["available"] <= cut).sum()), rng):
        if name != "postponed":  # a period cannot begin after its own publication
            found += differing(past, features(other, sessions).loc[:cut])
    return found


SESSIONS = pd.bdate_range("2003-06-02", "2024-10-31", freq="5B")


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(20, len(SESSIONS) - 20))
def test_no_recorded_revision_is_known_before_its_day(seed, k):
    frame = fred.parse(recorded(ALL_GDP)).loc["2003":]
    assert moved(frame, SESSIONS, SESSIONS[k], np.random.default_rng(seed)) == []


@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(20, 800))
def test_no_replayed_revision_is_known_before_its_day(seed, k):
    rows = [(at, since, value) for at, since, _, value in published.prints("GDPC1")]
    days = pd.bdate_range("1992-01-01", "2009-10-31", freq="5B")
    assert len(days) > 820
    assert moved(fred.parse(body(*rows)), days, days[k], np.random.default_rng(seed)) == []


def test_the_values_of_today_would_have_leaked():
    # the same check on final values dated to their first release finds the leak it is there to find
    frame = fred.parse(recorded(ALL_GDP))
    final = frame.groupby(level=0).agg({"value": "last", "available": "min"})
    day = pd.DatetimeIndex(["2009-02-02"])
    assert asof(frame, day, max_age_days=184).iloc[0] == 14264.6
    assert asof(final, day, max_age_days=184).iloc[0] != 14264.6


# --- units: FRED's definitions by hand, and the features -------------------------------------------------------


def csv(name: str) -> "pd.Series[float]":
    path = FIXTURES / "fred_csv" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{name}.csv is not on this machine")
    return pd.read_csv(path, index_col=0, parse_dates=True)["value"]


def known_at_once(values: "pd.Series[float]") -> pd.DataFrame:
    index = pd.DatetimeIndex(values.index, name="period")
    return pd.DataFrame({"value": values.to_numpy(), "available": index}, index=index)


@pytest.mark.parametrize("name", ["CPIAUCSL", "PAYEMS", "INDPRO"])
def test_growth_over_a_year_is_freds_pc1(name):
    values = csv(name).loc["1990":]
    pc1 = 100 * (values / values.shift(12) - 1)  # FRED: ((x_t / x_t-n) - 1) * 100 with n = 12 for months
    ours = asof(known_at_once(values), pd.DatetimeIndex(values.index), max_age_days=31, change=year) * 100
    np.testing.assert_allclose(ours.iloc[12:], pc1.iloc[12:], atol=1e-9)


def year(known: Any, newest: pd.Timestamp) -> float:
    return growth(known, newest, months=12)


def test_log_growth_over_a_quarter_is_freds_cch():
    values = csv("GDP")
    cch = 100 * np.log(values).diff()  # FRED: (ln x_t - ln x_t-1) * 100
    quarter = asof(
        known_at_once(values),
        pd.DatetimeIndex(values.index),
        max_age_days=92,
        change=lambda k, n: log_growth(k, n, months=3),
    )
    np.testing.assert_allclose(100 * quarter.iloc[1:], cch.iloc[1:], atol=1e-9)


def test_the_published_inflation_of_june_2022_comes_out():
    # BLS, 13 July 2022: prices rose 9.1 percent in twelve months (not adjusted; the adjusted index is used here)
    assert 100 * year(csv("CPIAUCSL").to_dict(), pd.Timestamp("2022-06-01")) == pytest.approx(9.1, abs=0.2)


# --- what stays on this machine -------------------------------------------------------------------------------


def forms(text: str) -> list[bytes]:
    """The text as it stands in a file, plain or inside base64 at any of its three positions."""
    shifted = (b64encode(b" " * k + text.encode()).rstrip(b"=")[(8 * k + 5) // 6 : -1] for k in range(3))
    return [text.encode(), *shifted]


def holding(folder: Path, texts: Iterable[str]) -> list[str]:
    needles = [form for text in texts for form in forms(text)]
    return [path.name for path in folder.rglob("*") if path.is_file() and any(n in path.read_bytes() for n in needles)]


def test_no_observation_is_written_to_disk_unless_asked_for(server, home, monkeypatch):
    mt.macro("GDPC1")
    values = [value for _, _, _, value in published.prints("GDPC1") if len(value) >= 8]
    assert len(values) > 100
    assert home.exists()
    assert holding(home, values) == []
    count = len(server.log)
    mt.macro("GDPC1")
    assert len(server.log) == count  # it is held in memory
    monkeypatch.setenv("MLTRAINER_FRED_ON_DISK", "true")
    mt.macro("GDPC1")
    assert holding(home, values) == ["answers.sqlite"]


def test_reports_show_the_notice_beside_the_data(server, monkeypatch):
    html = index.origins([mt.macro("GDPC1"), mt.macro("VIXCLS")])
    assert f'<p class="quiet">{FRED_NOTICE}</p>' in html  # in sight, and once more in the note of each series
    assert html.count(FRED_NOTICE) == 3
    assert "Cboe, copyright" in html
    monkeypatch.setenv("MLTRAINER_MODE", "sample")
    assert FRED_NOTICE not in index.origins([mt.macro("CPILFESL")])  # which did not come by FRED's API


def test_dashboards_show_it_without_a_click(server):
    sources = [asdict(origin) for origin in gate.roots(mt.macro("GDPC1"))]
    foot = page.foot(sources, {})
    assert FRED_NOTICE in foot.partition("</details>")[2]


@pytest.mark.parametrize("asked", ["fetch macro GDPC1", "fetch macro GDPC1 --json", "quality GDPC1 --macro"])
def test_what_is_printed_carries_the_notice_and_no_key(asked, server, home, capsys):
    app([*asked.split(), "--start", "2008-01-01"], standalone_mode=False)
    said = capsys.readouterr().out
    assert FRED_NOTICE.replace("®", "") in said.replace("®", "").replace("\\u00ae", "")
    assert FRED_KEY not in said
    assert holding(home, [FRED_KEY]) == []


# --- the economy tables of Massive ----------------------------------------------------------------------------


def massive(*rows: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    return {"status": "OK", "request_id": "1", "results": list(rows)} | envelope


YIELDS = "/fed/v1/treasury-yields"


def test_yields_come_from_massive_under_the_names_of_fred(server):
    # the specification's own example: 4.06 on 2 January 1962, as FRED's DGS10; DGS2 begins in 1976
    server.canned[YIELDS] = massive(
        {"date": "1962-01-02", "yield_10_year": 4.06, "yield_1_year": 3.22},
        {"date": "1976-06-01", "yield_10_year": 7.94, "yield_2_year": 7.26},
    )
    ten = mt.macro("DGS10", provider="polygon")
    assert plain(ten.frame) == [("1962-01-02", 4.06, "1962-01-03"), ("1976-06-01", 7.94, "1976-06-02")]
    assert "never revised; usable from day 1" in ten.provenance.note
    spread = mt.macro("T10Y2Y", provider="polygon")
    assert plain(spread.frame) == [("1976-06-01", 0.68, "1976-06-02")]
    assert "1 of 2 rows without a value" in spread.provenance.note
    assert (ten.provenance.endpoint, ten.provenance.source) == (f"{server.url}{YIELDS}", "replay")


def test_what_massive_revises_is_said_to_be_no_history(server):
    server.canned["/fed/v1/labor-market"] = massive({"date": "2024-12-01", "unemployment_rate": 4.2})
    dataset = mt.macro("UNRATE", provider="polygon")
    assert plain(dataset.frame) == [("2024-12-01", 4.2, "2025-01-15")]
    assert vintages.TODAY in dataset.provenance.note


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (massive({"date": "1962-01-02", "yield_10_year": "4.06"}), "sent a yield_10_year of"),
        (massive({"date": "1962-01-02", "yield_10_year": True}), "sent a yield_10_year of"),
        (massive({"date": "2 January", "yield_10_year": 4.06}), "where a day belongs"),
        (massive({"date": "2999-01-02", "yield_10_year": 4.06}), "in the future"),
        (massive({"date": "1962-01-02", "yield_10_year": 1}, {"date": "1962-01-02", "yield_10_year": 2}), "two values"),
        (massive("x"), "sent a yield_10_year of"),
        (massive(status="ERROR"), "sent no list of results"),
        ({"status": "OK"}, "sent no list of results"),
        ([], "sent no list of results"),
    ],
)
def test_what_massive_cannot_have_meant_is_refused(answer, why, server):
    server.canned[YIELDS] = answer
    with pytest.raises(ProviderError, match=why):
        mt.macro("DGS10", provider="polygon")


def test_massive_is_asked_for_what_it_keeps_only(server):
    with pytest.raises(UnknownName, match="DGS10"):
        mt.macro("DGS11", provider="polygon")
    with pytest.raises(UnknownName, match="no provider of macro series is called 'yahoo'"):
        mt.macro("DGS10", provider="yahoo")
    assert server.log == []


def test_pages_of_massive_are_joined(server, monkeypatch):
    server.canned[YIELDS] = massive({"date": "1962-01-02", "yield_10_year": 4.06})
    monkeypatch.setitem(faults.FAULTS, "next_page", faults.onward(lambda sent: f"{sent.url}&cursor=2"))
    server.fault("next_page", path=YIELDS)
    dataset = mt.macro("DGS10", provider="polygon")
    assert server.paths() == [YIELDS, YIELDS]
    assert dataset.provenance.parameters["answers"] == "2"
    assert "1 identical rows dropped" in dataset.provenance.note
    assert plain(dataset.frame) == [("1962-01-02", 4.06, "1962-01-03")]


def test_every_table_of_massive_is_described_and_allowed():
    for name, (table, columns) in polygon_macro.ECONOMY.items():
        assert (SERIES.get(name) or polygon_macro.OTHERS[name]).unit
        assert re.fullmatch("|".join(registry.PROVIDERS["polygon"].paths), f"/fed/v1/{table}")
        assert 1 <= len(columns.split()) <= 2


def test_every_column_is_one_that_massive_describes():
    path = FIXTURES / "spec" / "massive_openapi_client-js.json.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not on this machine")
    paths = json.loads(gzip.decompress(path.read_bytes()))["paths"]
    for table, columns in polygon_macro.ECONOMY.values():
        answer = paths[f"/fed/v1/{table}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert {"date", *columns.split()} <= answer["properties"]["results"]["items"]["properties"].keys()
