"""Returns by the calendar are those of empyrical and of the record, and a missing session is never passed over."""

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer import metrics
from mltrainer.data import sample
from mltrainer.errors import BadInput


@pytest.fixture(scope="module")
def spx():
    return sample.bars("SPX", None, None).frame["close"].pct_change().dropna()


def test_yearly_returns_of_the_sp500_are_those_of_the_record(spx):
    """Price returns of the calendar years, as S&P Dow Jones publishes them, in percent."""
    record = {2000: -10.14, 2001: -13.04, 2002: -23.37, 2003: 26.38, 2008: -38.49, 2013: 29.60, 2018: -6.24}
    yearly = metrics.compound(spx, "yearly")
    assert {y: round(100 * yearly[str(y)], 2) for y in record} == pytest.approx(record, abs=0.011)


@pytest.mark.parametrize("to", ["weekly", "monthly", "quarterly", "yearly"])
def test_returns_of_calendar_periods_are_those_of_empyrical(spx, to):
    theirs = empyrical.aggregate_returns(spx, to)
    assert metrics.compound(spx, to).to_numpy() == pytest.approx(theirs.to_numpy(), abs=1e-12)


@pytest.mark.parametrize("to", metrics.FREQUENCIES)
def test_wealth_does_not_depend_on_the_frequency(spx, to):
    assert metrics.wealth(metrics.compound(spx, to))[-1] == pytest.approx(metrics.wealth(spx)[-1])
    if to != "daily":
        periods = metrics.compound(spx, to)
        assert metrics.frequency(periods.index.to_timestamp()) == to


def test_a_year_of_calendar_days_by_hand():
    # 1 on Monday 2 January 2023 (the weekday before), 1.1 on 2 January 2024: 365 days
    r = pd.Series([0.1, 0.0], index=pd.to_datetime(["2023-01-03", "2024-01-02"]))
    found = metrics.calendar_return(r.iloc[:1].reindex(pd.bdate_range("2023-01-03", "2024-01-02")).fillna(0.0))
    assert found == pytest.approx(1.1 ** (365.25 / 365) - 1)
    # two years of 365.25 days from a start that is said: 1.21 in 731 days of 2023 and 2024
    two = pd.Series([0.1, 0.1], index=pd.to_datetime(["2023-12-31", "2024-12-31"]))
    assert metrics.calendar_return(two, start="2022-12-31") == pytest.approx(1.21 ** (365.25 / 731) - 1)
    assert metrics.calendar_return(two) == pytest.approx(1.21 ** (365.25 / 731) - 1)  # a year before the first


def test_growth_by_days_and_by_sessions_differ_by_what_a_year_has(spx):
    by_days, by_sessions = metrics.calendar_return(spx), metrics.annual_return(spx)
    assert by_days == pytest.approx(by_sessions, abs=2e-4)  # 251.5 sessions a year
    assert by_days != by_sessions


def test_wealth_that_is_gone_stays_gone_by_the_calendar_and_none_is_nan():
    days = pd.bdate_range("2024-01-01", periods=3)
    assert metrics.calendar_return(pd.Series([0.1, -1.5, 3.0], index=days)) == -1.0
    assert np.isnan(metrics.calendar_return(pd.Series([], index=days[:0], dtype=float)))


# --- missing sessions -------------------------------------------------------------------------------------------


def test_twenty_years_of_the_exchange_have_no_hole(spx):
    """With them the week from 10 to 17 September 2001 and every holiday."""
    assert not len(metrics.missing_sessions(spx))
    assert metrics.complete(spx).equals(spx)


@pytest.mark.parametrize(
    ("damage", "dates"),
    [
        (lambda r: r.where(r.index != "2005-03-09"), ["2005-03-09"]),
        (lambda r: r.drop(r["2005-03-07":"2005-03-15"].index), [f"2005-03-{d:02}" for d in (7, 8, 9, 10, 11, 14, 15)]),
    ],
)
def test_a_missing_session_is_refused_counted_or_dropped(spx, damage, dates):
    r = damage(spx["2005"])
    assert metrics.missing_sessions(r).strftime("%Y-%m-%d").tolist() == dates
    with pytest.raises(BadInput, match=rf"{len(dates)} of 252 sessions are missing \({dates[0]}"):
        metrics.complete(r)
    counted, dropped = metrics.complete(r, missing="count"), metrics.complete(r, missing="drop")
    assert (len(counted), len(dropped)) == (252, 252 - len(dates))
    assert (counted[dates] == 0).all()
    assert metrics.annual_return(counted) == pytest.approx(metrics.wealth(dropped)[-1] - 1)
    assert metrics.annual_return(dropped) != pytest.approx(metrics.annual_return(counted), rel=1e-4)


def test_sessions_that_are_expected_are_missed_where_the_calendar_alone_would_not(spx):
    r = spx["2005"].drop(pd.Timestamp("2005-03-09"))
    assert not len(metrics.missing_sessions(r))
    assert metrics.missing_sessions(r, expected=spx.index).tolist() == [pd.Timestamp("2005-03-09")]
    with pytest.raises(BadInput, match="1 of 252"):
        metrics.complete(r, expected=spx["2005"].index)


def test_a_month_without_a_return_is_missing_from_monthly_ones():
    r = pd.Series(0.01, index=pd.date_range("2020-01-31", periods=12, freq="ME")).drop(pd.Timestamp("2020-05-31"))
    with pytest.raises(BadInput, match=r"1 of 12 sessions are missing \(2020-05-31\)"):
        metrics.compound(r, "quarterly")
    assert metrics.complete(r, missing="count")["2020-05-31"] == 0.0


@given(st.sets(st.integers(1, 198), max_size=30))
def test_counting_never_changes_the_wealth_and_gives_every_session_back(gone):
    days = pd.bdate_range("2020-01-01", periods=200)
    r = pd.Series(np.linspace(-0.01, 0.011, 200), index=days)
    holes = r.where(~np.isin(np.arange(200), list(gone)))
    counted = metrics.complete(holes, missing="count")
    assert counted.index.equals(days)
    dropped = metrics.complete(holes, missing="drop")
    assert metrics.wealth(counted)[-1] == pytest.approx(metrics.wealth(dropped)[-1])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda r: metrics.complete(r, missing="guess"), "refuse, count or drop"),
        (lambda r: metrics.complete(r.iloc[::-1]), "not in order"),
        (lambda r: metrics.complete(pd.concat([r, r])), "not in order"),
        (lambda r: metrics.complete(r.tz_localize("UTC")), "a session is a date"),
        (lambda r: metrics.complete(r.reset_index(drop=True)), "need the date"),
        (lambda r: metrics.compound(r, "hourly"), "no frequency is called"),
        (
            lambda r: metrics.compound(metrics.compound(r, "monthly").to_timestamp(), "daily"),
            "monthly returns do not say",
        ),
        (lambda r: metrics.frequency(r.index[::11]), "days apart"),
        (lambda r: metrics.calendar_return(r, start="2030-01-01"), "the last return is of"),
    ],
)
def test_what_has_no_calendar_is_refused(spx, act, words):
    with pytest.raises(BadInput, match=words):
        act(spx["2005"])
