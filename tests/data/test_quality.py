"""Each rule about bars finds what it looks for, and a holiday is no gap."""

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.data import quality as rules
from mltrainer.errors import Refused
from mltrainer.trust.provenance import Dataset


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two years of real bars, which the tests then spoil; an altered Dataset would be refused."""
    return mt.bars("MSFT", start="2004-01-02", end="2005-12-30").frame.copy()


def missing_of(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return rules._sessions(index).difference(index)


def test_real_bars_are_whole_and_raise_no_error():
    found = mt.quality("MSFT", start="2004-01-02", end="2005-12-30")
    assert found.completeness == 1
    assert found.ok
    assert found.sessions == 252 + 252  # New York's sessions in 2004 and in 2005
    assert mt.quality(mt.bars("MSFT", start="2004-01-02", end="2005-12-30")) == found


def test_bars_of_unknown_origin_are_refused(frame: pd.DataFrame):
    real = mt.bars("MSFT")
    with pytest.raises(Refused):
        mt.quality(Dataset(frame, "MSFT", "bars", real.provenance))


def test_a_removed_session_is_found_and_named(frame: pd.DataFrame):
    """Wednesday 9 June 2004 was a session."""
    missing = missing_of(pd.DatetimeIndex(frame.index.drop(pd.Timestamp("2004-06-09"))))
    assert list(missing) == [pd.Timestamp("2004-06-09")]
    finding = rules._gaps(missing)
    assert finding is not None
    assert finding.message == "1 sessions of XNYS have no bar: 2004-06-09"
    assert (finding.rule, finding.severity, finding.rows) == ("calendar", "warning", 1)


@pytest.mark.parametrize(
    "day",
    [
        "2004-06-11",  # mourning for President Reagan
        "2004-11-25",  # Thanksgiving
        "2004-12-24",  # Christmas Day observed
        "2004-07-05",  # Independence Day observed
        "2004-06-12",  # a Saturday
    ],
)
def test_a_holiday_is_no_gap(frame: pd.DataFrame, day: str):
    assert pd.Timestamp(day) not in frame.index
    assert rules._gaps(missing_of(pd.DatetimeIndex(frame.index))) is None


def test_completeness_by_hand(frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch):
    """Of the 21 sessions of January 2005's calendar, 18 bars: 18 / 20, for January 17 and the 1st were holidays."""
    january = frame.loc["2005-01"]
    assert len(january) == 20
    holed = january.drop(january.index[[5, 6]])
    monkeypatch.setattr(rules.gate, "verify", lambda item, purpose: None)
    found = rules.quality(Dataset(holed, "MSFT", "bars"))
    assert found.completeness == pytest.approx(18 / 20)
    assert found.sessions == 18
    assert found.ok  # a gap warns; it does not make the other bars wrong
    assert [f.rule for f in found.findings] == ["calendar"]


@pytest.mark.parametrize("day", ["2010-01-04", "2008-12-31"])
def test_a_single_session_can_be_checked(day: str):
    found = mt.quality("MSFT", start=day, end=day)
    assert (found.sessions, found.completeness) == (1, 1.0)


@pytest.mark.parametrize(
    ("column", "of", "factor"), [("high", "close", 0.99), ("high", "open", 0.99), ("low", "open", 1.01)]
)
def test_a_bar_whose_range_leaves_out_its_own_prices_is_an_error(
    frame: pd.DataFrame, column: str, of: str, factor: float
):
    assert rules._logic(frame) is None
    frame.iloc[[3, 9], frame.columns.get_loc(column)] = frame[of].iloc[[3, 9]] * factor
    finding = rules._logic(frame)
    assert finding is not None
    assert (finding.rule, finding.severity, finding.rows) == ("ohlc", "error", 2)
    assert not rules.Quality("MSFT", 10, 1.0, [finding]).ok


def test_rounding_of_an_adjustment_is_no_error(frame: pd.DataFrame):
    frame["high"] = frame[["open", "close"]].max(axis=1) * (1 - 1e-12)
    assert rules._logic(frame) is None


def test_closes_alone_are_said_to_be_closes_alone():
    found = mt.quality("KO", start="2010-01-04", end="2010-12-31")
    assert [(f.rule, f.severity) for f in found.findings] == [("columns", "info")]
    assert found.ok


def test_sessions_without_volume_are_counted(frame: pd.DataFrame):
    assert rules._volume(frame) is None
    frame.iloc[:3, frame.columns.get_loc("volume")] = [0.0, -1.0, 0.0]
    finding = rules._volume(frame)
    assert finding is not None
    assert finding.rows == 3


def test_a_jump_is_named_with_its_day_and_size(frame: pd.DataFrame):
    """Half the price from one day on, as an unadjusted split would be: one close moves, not many."""
    assert rules._jumps(frame) is None
    day = pd.Timestamp("2005-03-01")
    frame.loc[day:, "close"] /= 2
    finding = rules._jumps(frame)
    assert finding is not None
    assert finding.rows == 1
    assert "2005-03-01 (-50%)" in finding.message


@pytest.mark.parametrize(("sessions", "found"), [(4, False), (5, True)])
def test_a_close_that_stands_still_is_stale_from_five_sessions_on(frame: pd.DataFrame, sessions: int, found: bool):
    frame.iloc[10 : 10 + sessions + 1, frame.columns.get_loc("close")] = 25.0
    finding = rules._stale(frame)
    assert (finding is not None) == found
    if finding is not None:
        assert finding.rows == sessions


@pytest.mark.parametrize("price", [0.0, -1.0, np.nan])
@pytest.mark.parametrize("column", ["open", "close"])
def test_a_price_that_is_none_is_an_error(frame: pd.DataFrame, price: float, column: str):
    assert rules._prices(frame) is None
    frame.iloc[4, frame.columns.get_loc(column)] = price
    finding = rules._prices(frame)
    assert finding is not None
    assert (finding.severity, finding.rows) == ("error", 1)


def test_a_bar_on_a_day_without_a_session_is_an_error(frame: pd.DataFrame):
    """Saturday 12 June 2004."""
    saturday = pd.Timestamp("2004-06-12")
    index = pd.DatetimeIndex(frame.index).append(pd.DatetimeIndex([saturday])).sort_values()
    assert list(index.difference(rules._sessions(index))) == [saturday]
    finding = rules._strangers(pd.DatetimeIndex([saturday]))
    assert finding is not None
    assert (finding.severity, finding.rows) == ("error", 1)
    assert finding.message == "1 bars stand on days without a session: 2004-06-12"
    assert rules._strangers(index[:0]) is None
    assert rules._sessions(pd.DatetimeIndex([saturday])).empty
