"""What a researcher asks for by name is found, cut to the days asked for, or refused in one clear line."""

from datetime import date

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.data import dates
from mltrainer.errors import BadInput, NotEnoughHistory, ProviderError, Unavailable, UnknownName
from mltrainer.trust import gate


def says(error: pytest.ExceptionInfo, *parts: str) -> None:
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 300
    for part in parts:
        assert part in line


def test_bars_without_a_span_are_all_there_is():
    data = mt.bars("MSFT")
    assert data.frame.shape == (3270, 5)
    assert data.provenance.endpoint.endswith("stocks.csv.gz")


def test_a_ticker_is_found_in_any_case():
    assert mt.bars("msft").fingerprint() == mt.bars("MSFT").fingerprint()


def test_both_ends_of_a_span_belong_to_it():
    frame = mt.bars("MSFT", start="2010-01-04", end=date(2010, 1, 8)).frame
    assert [str(d.date()) for d in frame.index[[0, -1]]] == ["2010-01-04", "2010-01-08"]
    assert len(frame) == 5


def test_a_cut_carries_its_lineage():
    whole, part = mt.bars("MSFT"), mt.bars("MSFT", start="2010-01-04", end="2010-06-30")
    assert gate.verify(part, "test").parents == (whole.provenance.content_sha256,)
    assert part.provenance.source == "sample"


def test_a_start_before_the_open_high_low_history_chooses_the_longer_close_only_series():
    data = mt.bars("AAPL", start="1990-01-02", end="2020-01-01")
    assert list(data.frame.columns) == ["close"]
    assert str(data.frame.index[0].date()) == "1990-01-02"
    assert gate.verify(data, "test").note.startswith("adjusted daily closes")


@pytest.mark.parametrize(
    ("start", "end", "first", "last", "columns"),
    [
        (None, "2012-12-31", "2000-03-01", "2012-12-31", 5),
        ("2000-03-01", "2013-03-01", "2000-03-01", "2013-03-01", 5),
        ("2000-02-26", None, "2000-03-01", "2013-03-01", 5),  # a weekend's grace
        ("2000-01-03", None, "2000-01-03", "2022-12-28", 1),
        (None, "2015-12-31", "1990-01-02", "2015-12-31", 1),
        ("2014-01-02", None, "2014-01-02", "2022-12-28", 1),  # begins after the other has ended
        (None, "1995-12-29", "1990-01-02", "1995-12-29", 1),  # ends before the other begins
    ],
)
def test_the_series_that_covers_the_days_asked_for_is_chosen(start, end, first, last, columns):
    frame = mt.bars("AAPL", start=start, end=end).frame
    assert [str(d.date()) for d in frame.index[[0, -1]]] == [first, last]
    assert frame.shape[1] == columns


def test_an_unknown_ticker_offers_close_names():
    with pytest.raises(UnknownName) as error:
        mt.bars("MSFTT")
    says(error, "no ticker in mode sample is called 'MSFTT'", "close: MSFT")


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 500, "AAPL\nX", "prices.csv", "ＡＡＰＬ", 7, None])
def test_a_hostile_ticker_is_one_line_and_no_file(name):
    with pytest.raises(UnknownName) as error:
        mt.bars(name)
    says(error, "no ticker in mode sample is called")


def test_an_unknown_series_offers_close_names():
    with pytest.raises(UnknownName) as error:
        mt.macro("CPILFES")
    says(error, "no macro series in mode sample is called 'CPILFES'", "CPILFESL")


@pytest.mark.parametrize("text", ["yesterday", "2010-1-4", "04/01/2010", "2010-01-04T00:00", "", 20100104, 1.5, pd.NaT])
def test_what_is_no_day_is_said_to_be_none(text):
    with pytest.raises(BadInput) as error:
        mt.bars("MSFT", start=text)
    says(error, "start", "write it as YYYY-MM-DD")


@pytest.mark.parametrize("text", ["2010-02-30", "2011-13-01", "2010-00-10"])
def test_a_day_that_no_calendar_has_is_said_so(text):
    with pytest.raises(BadInput) as error:
        mt.macro("unemp", end=text)
    says(error, f"end '{text}' is not in the calendar")


def test_a_start_after_its_end_is_said_so():
    with pytest.raises(BadInput) as error:
        mt.bars("MSFT", start="2010-02-01", end="2010-01-01")
    says(error, "start 2010-02-01 is after end 2010-01-01")


@pytest.mark.parametrize(("start", "end"), [("2030-01-01", None), (None, "1980-01-01"), ("1970-01-01", "1975-01-01")])
def test_a_span_outside_the_history_says_what_there_is(start, end):
    with pytest.raises(NotEnoughHistory) as error:
        mt.bars("MSFT", start=start, end=end)
    says(error, "MSFT has no row", "2000-03-01 to 2013-03-01")


def test_a_span_between_two_sessions_is_empty():
    with pytest.raises(NotEnoughHistory):
        mt.bars("MSFT", start="2010-01-02", end="2010-01-03")  # Saturday, Sunday


def test_macro_is_cut_by_period():
    frame = mt.macro("unemp", start="2000-01-01", end="2000-12-31").frame
    assert list(frame["value"]) == [4.0, 3.9, 4.0, 3.9]


def test_live_never_falls_back_to_the_sample(monkeypatch):
    monkeypatch.setenv("POLYGON_API_KEY", "canary-key")
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "0.1")
    with pytest.raises(ProviderError, match="nothing stands in for it") as error:  # tests have no network
        mt.bars("AAPL")
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("name", ["unemp", "UNRATE"])
def test_live_macro_series_need_a_key_of_fred(name, monkeypatch):
    monkeypatch.setenv("POLYGON_API_KEY", "canary-key")
    with pytest.raises(Unavailable, match="set FRED_API_KEY") as error:
        mt.macro(name)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("asked", [{"units": "pc1"}, {"provider": "polygon"}])
def test_the_sample_holds_its_macro_series_as_packaged(asked):
    with pytest.raises(Unavailable) as error:
        mt.macro("unemp", **asked)
    says(error, "mode sample holds its series as packaged")


def test_tickers_lists_what_can_be_asked_for():
    names = mt.tickers()
    assert {"AAPL", "FB", "GOOG", "IBM", "MSFT", "SPX", "COMP", "XOM"} <= set(names)
    assert len(names) == len(set(names))


@given(st.dates())
def test_every_day_of_the_calendar_is_read_as_itself(day):
    assert str(dates.day(day.isoformat(), "start").date()) == day.isoformat()
    assert dates.day(day, "start") == dates.day(day.isoformat(), "start")
