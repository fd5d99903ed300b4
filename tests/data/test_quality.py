"""Each rule finds what is planted and nothing in real bars; a holiday is no gap, a crash no split, a split no crash."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.data.quality import (
    RULES,
    SEVERITIES,
    Finding,
    Quality,
    bar_rules,
    gatekeep,
    judge,
    label_rules,
    macro_rules,
    readable,
)
from mltrainer.data.quality.bar_rules import BARS, robust_z
from mltrainer.data.quality.case import Case, split_ratios
from mltrainer.errors import BadInput, Refused
from mltrainer.trust.provenance import Dataset

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Two years of real bars, 252 sessions in 2004 and as many in 2005."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("quality")))
        patch.setenv("MLTRAINER_MODE", "sample")
        return mt.bars("MSFT", start="2004-01-02", end="2005-12-30").frame


@pytest.fixture
def frame(real: pd.DataFrame) -> pd.DataFrame:
    """A copy to spoil; an altered Dataset would be refused by `quality`, so the rules are asked by `judge`."""
    return real.copy()


def asked(frame: pd.DataFrame, kind: str = "bars", **more: object) -> dict[str, Finding]:
    """Findings by rule; a rule speaks once."""
    found = judge(Dataset(frame, "MSFT", kind), **more).findings  # type: ignore[arg-type]
    by_rule = {f.rule: f for f in found}
    assert len(by_rule) == len(found)
    return by_rule


def put(frame: pd.DataFrame, rows: object, column: str, values: object) -> pd.DataFrame:
    frame.iloc[rows, frame.columns.get_loc(column)] = values  # type: ignore[index]
    return frame


def set_row(frame: pd.DataFrame, row: int, values: "pd.Series[float]") -> pd.DataFrame:
    frame.iloc[row] = values.to_numpy()
    return frame


def still(frame: pd.DataFrame, row: int, sessions: int) -> pd.DataFrame:
    """All prices at the close of `row` for so many sessions after it."""
    frame.iloc[row + 1 : row + 1 + sessions, :4] = frame["close"].iloc[row]
    return frame


def moved(frame: pd.DataFrame, rows: np.ndarray, days: int) -> pd.DataFrame:
    return frame.set_axis(pd.DatetimeIndex(np.where(rows, frame.index + pd.Timedelta(days=days), frame.index)))


def seconds(frame: pd.DataFrame) -> np.ndarray:
    """Seconds since 1970 of each session."""
    return pd.DatetimeIndex(frame.index).as_unit("s").asi8


def summer(frame: pd.DataFrame) -> np.ndarray:
    """New York's summer time, by the law of these years: first Sunday of April to last Sunday of October."""
    day = frame.index
    return ((day >= "2004-04-04") & (day < "2004-10-31")) | ((day >= "2005-04-03") & (day < "2005-10-30"))


def scaled_from(frame: pd.DataFrame, day: str, factor: float) -> pd.DataFrame:
    frame.loc[day:, ["open", "high", "low", "close"]] *= factor
    return frame


# --- the contract: every rule finds what it asks for ----------------------------------------------------------

# rule -> how to break it, rows found, severity; Thursday 10 June 2004 is row 110
PLANTED: dict[str, tuple[Spoil, int, str]] = {
    "order": (lambda f: f.iloc[[0, 2, 1, *range(3, 504)]], 1, "error"),
    "duplicate": (lambda f: f.iloc[[0, 1, 1, *range(2, 504)]], 1, "warning"),
    "conflict": (lambda f: put(f.iloc[[0, 1, 1, *range(2, 504)]].copy(), 2, "close", 26.0), 1, "error"),
    "epoch": (lambda f: f.set_axis(pd.to_datetime(seconds(f), unit="ms")), 504, "error"),
    "future": (lambda f: moved(f, np.arange(504) == 503, 365), 1, "error"),
    "instant": (lambda f: f.set_axis(f.index + pd.Timedelta(hours=21)), 504, "error"),
    "weekend": (lambda f: moved(f, np.arange(504) == 110, 2), 1, "error"),
    "shift": (lambda f: moved(f, summer(f), -1), 292, "error"),
    "holiday": (lambda f: moved(f, np.arange(504) == 110, 1), 1, "warning"),  # mourning for President Reagan
    "gap": (lambda f: f.drop(f.index[[108]]), 1, "warning"),
    "complete": (lambda f: f.drop(f.index[100:130]), 30, "error"),
    "history": (lambda f: f.iloc[:251], 251, "info"),
    "fresh": (lambda f: f.iloc[:-3], 2, "warning"),  # December 28 and 29 have passed on the 30th
    "price": (lambda f: put(f, [4, 9, 11], "open", [0.0, -1.0, np.nan]), 3, "error"),
    "ohlc": (lambda f: put(f, [3, 9], "high", f["close"].iloc[[3, 9]] * 0.9), 2, "error"),
    "columns": (lambda f: f[["close"]], 504, "info"),
    "negative": (lambda f: put(f, [7], "volume", -1.0), 1, "error"),
    "volume": (lambda f: put(f, range(51), "volume", 0.0), 51, "warning"),  # 51 of 504 leaves 89.9 %
    "stale": (lambda f: still(f, 10, 5), 5, "warning"),
    "copy": (lambda f: set_row(f, 20, f.iloc[19]), 1, "warning"),
    "jump": (lambda f: scaled_from(f, "2005-03-01", 0.75), 1, "info"),
    "outlier": (lambda f: scaled_from(f, "2005-03-01", 0.75), 1, "info"),
    "spike": (lambda f: set_row(f, 50, f.iloc[50] * 1000), 1, "error"),
    "split": (lambda f: scaled_from(f, "2005-03-01", 0.5), 1, "error"),
    "agreement": (lambda f: f, 0, "info"),  # its own tests below
}


def test_every_rule_has_a_case_here():
    assert list(PLANTED) == [rule.name for rule in BARS]


@pytest.mark.parametrize("rule", BARS, ids=lambda rule: rule.name)
def test_a_rule_finds_what_is_planted_counts_it_and_names_the_days(frame: pd.DataFrame, rule: bar_rules.Rule):
    spoil, rows, severity = PLANTED[rule.name]
    against = Dataset(frame, "other", "bars") if rule.name == "agreement" else None
    found = asked(spoil(frame), against=against, asof="2005-12-30")[rule.name]
    assert (found.severity, found.rows) == (severity, rows)
    assert found.message.startswith(f"{rows:,} ")
    assert found.remedy == rule.remedy
    assert len(found.when) in (0, rows, 1)
    assert all(day in found.message for day in found.when[:5])


@pytest.mark.parametrize("rule", [*BARS, *macro_rules.MACRO, *label_rules.LABELS], ids=lambda rule: f"{rule.name}")
def test_a_rule_says_what_it_asks_and_what_to_do(rule: bar_rules.Rule):
    assert rule.severity in SEVERITIES
    assert len(rule.asks.split()) >= 4
    assert len(rule.remedy.split()) >= 2
    assert not rule.asks.endswith(".")


def test_names_of_rules_are_unique():
    for table in RULES.values():
        assert len({rule.name for rule in table}) == len(table)


def test_real_bars_are_whole_and_raise_no_finding(frame: pd.DataFrame):
    assert asked(frame) == {}
    found = mt.quality("MSFT", start="2004-01-02", end="2005-12-30")
    assert found == Quality("MSFT", 252 + 252, 1.0, [], "bars", "2005-12-30", 0)
    assert found.ok
    assert mt.quality(mt.bars("MSFT", start="2004-01-02", end="2005-12-30")) == found


def test_no_packaged_series_breaks_a_rule_that_is_an_error():
    for ticker in ("AAPL", "FB", "SPX", "RRC"):
        found = mt.quality(ticker)
        assert found.ok, found.table
        assert found.completeness == 1.0
    for series in ("CPILFESL", "VIXCLS", "realgdp"):
        assert mt.quality(mt.macro(series)).findings == []


# --- the door -------------------------------------------------------------------------------------------------


def test_bars_of_unknown_origin_are_refused(frame: pd.DataFrame):
    with pytest.raises(Refused):
        mt.quality(Dataset(frame * 1.01, "MSFT", "bars", mt.bars("MSFT").provenance))
    with pytest.raises(Refused):
        mt.quality("MSFT", against=Dataset(frame, "MSFT", "bars"))


@pytest.mark.parametrize("kind", ["matrix", "splits"])
def test_a_kind_without_rules_is_said_so(kind: str, monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame):
    monkeypatch.setattr("mltrainer.data.quality.check.gate.verify", lambda item, purpose: None)
    with pytest.raises(BadInput, match=f"is a {kind} frame; quality knows the rules of bars and macro"):
        mt.quality(Dataset(frame, "MSFT", kind))


def test_a_span_is_for_a_ticker_and_a_day_is_a_day():
    bars = mt.bars("MSFT", end="2001-12-31")
    with pytest.raises(BadInput, match="already cut"):
        mt.quality(bars, start="2001-01-02")
    with pytest.raises(BadInput, match="asof 'tomorrow' is not a day"):
        mt.quality(bars, asof="tomorrow")


@pytest.mark.parametrize("day", ["2010-01-04", "2008-12-31"])
def test_a_single_session_can_be_checked(day: str):
    found = mt.quality("MSFT", start=day, end=day)
    assert (found.sessions, found.completeness) == (1, 1.0)
    assert [f.rule for f in found.findings] == ["history"]


def test_the_table_has_the_worst_first(frame: pd.DataFrame):
    table = judge(Dataset(scaled_from(frame, DAY, 0.75).assign(open=0.0), "MSFT", "bars")).table
    ranks = [SEVERITIES.index(s) for s in table["severity"]]
    assert ranks == sorted(ranks)
    assert set(ranks) >= {0, 2}
    assert list(table.columns) == ["severity", "rule", "rows", "message", "remedy"]


# --- form -----------------------------------------------------------------------------------------------------

UNREADABLE: dict[str, tuple[Spoil, str]] = {
    "no rows": (lambda f: f.iloc[:0], "there are no rows"),
    "no close": (lambda f: f.drop(columns="close"), "column_in_dataframe: close"),
    "text": (lambda f: f.astype({"close": str}), "close is not dtype('float64')"),
    "no times": (lambda f: f.set_axis(range(len(f))), "stamp is not an index of times"),
    "a hole": (lambda f: f.set_axis([pd.NaT, *f.index[1:]]), "stamp is not not_nullable"),
    "two closes": (lambda f: pd.concat([f, f[["close"]]], axis=1), "column"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_a_frame_that_cannot_be_read_is_one_error_and_no_traceback(frame: pd.DataFrame, what: str):
    spoil, said = UNREADABLE[what]
    found = judge(Dataset(spoil(frame), "MSFT", "bars"))
    assert not found.ok
    assert {f.rule for f in found.findings} == {"form"}
    assert any(said in f.message for f in found.findings), found.findings
    assert found.completeness == 0
    gatekeep(Dataset(spoil(frame), "MSFT", "bars"))  # left to the reader of the features, which says it in its words


def test_whole_numbers_are_named_and_still_judged(frame: pd.DataFrame):
    found = asked(frame.astype({"volume": int}).drop(frame.index[108]))
    assert found["form"].message == "volume is not dtype('float64'): int64"
    assert found["gap"].rows == 1


# --- the calendar ---------------------------------------------------------------------------------------------


def test_a_missing_session_is_found_and_named(frame: pd.DataFrame):
    """Wednesday 9 June 2004 was a session."""
    finding = asked(frame.drop(pd.Timestamp("2004-06-09")))["gap"]
    assert finding.message == "1 sessions of XNYS have no bar: 2004-06-09"
    assert finding.when == ("2004-06-09",)


@pytest.mark.parametrize("day", ["2004-06-11", "2004-11-25", "2004-12-24", "2004-07-05", "2004-06-12"])
def test_a_holiday_is_no_gap(frame: pd.DataFrame, day: str):
    """Mourning for President Reagan, Thanksgiving, Christmas and Independence Day observed, a Saturday."""
    assert pd.Timestamp(day) not in frame.index
    assert "gap" not in asked(frame)


def test_completeness_by_hand(frame: pd.DataFrame):
    """January 2005 had 20 sessions: 21 weekdays less Martin Luther King Day. Without two of them, 18 / 20."""
    january = frame.loc["2005-01"]
    assert len(january) == 20
    found = judge(Dataset(january.drop(january.index[[5, 6]]), "MSFT", "bars"))
    assert found.completeness == pytest.approx(18 / 20)
    assert found.sessions == 18
    assert {f.rule: f.severity for f in found.findings} == {"gap": "warning", "complete": "error", "history": "info"}
    assert not found.ok


def test_below_95_percent_is_an_error_and_at_95_it_is_not(frame: pd.DataFrame):
    """26 of 504 missing leave 94.8 %, 25 leave 95.04 %."""
    assert "complete" in asked(frame.drop(frame.index[100:126]))
    assert "complete" not in asked(frame.drop(frame.index[100:125]))


def test_age_is_counted_in_whole_sessions(frame: pd.DataFrame):
    """The last bar is of Friday 30 December 2005; Monday was a holiday observed."""
    ages = {"2005-12-30": 0, "2006-01-03": 0, "2006-01-04": 1, "2006-01-05": 2, "2006-01-09": 4}
    for day, age in ages.items():
        found = judge(Dataset(frame, "MSFT", "bars"), asof=day)
        assert found.age == age
        assert any(f.rule == "fresh" for f in found.findings) == (age > 1)


def test_live_data_is_judged_today_and_a_span_that_was_asked_for_on_its_last_day(monkeypatch: pytest.MonkeyPatch):
    bars = mt.bars("MSFT", end="2005-12-30")
    assert bars.provenance is not None
    live = Dataset(bars.frame, "MSFT", "bars", replace(bars.provenance, mode="live"))  # as no key is here
    monkeypatch.setattr("mltrainer.data.quality.check.gate.verify", lambda item, purpose: None)
    monkeypatch.setattr("mltrainer.data.quality.check.market.bars", lambda ticker, start, end: live)
    today = str(pd.Timestamp.now("America/New_York").date())
    assert (mt.quality(live).asof, mt.quality("MSFT", end="9999-12-31").asof) == (today, today)
    assert mt.quality(live).age > 5000
    assert mt.quality("MSFT", end="2005-12-31").age == 0


def test_weeks_and_currencies_are_not_held_to_the_exchange(frame: pd.DataFrame):
    weekly = frame.resample("W").agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    assert asked(weekly).keys() == {"history"}
    days = pd.date_range("2004-01-01", periods=700)
    around = pd.DataFrame({"close": 100 + np.sin(np.arange(700.0))}, days)
    found = judge(Dataset(around, "X:BTCUSD", "bars"))
    assert [f.rule for f in found.findings] == ["columns"]


def test_minutes_belong_to_the_new_york_day_they_fall_in(frame: pd.DataFrame):
    """20:30Z of a summer Friday is the afternoon; 00:30Z of Saturday is still Friday evening."""
    stamps = pd.DatetimeIndex(["2004-06-07 13:30", "2004-06-08 20:30", "2004-06-10 00:30"], tz="UTC", name="time")
    minutes = frame.iloc[:3].set_axis(stamps)
    case = Case("MSFT", "minute bars", minutes)
    assert [str(d.date()) for d in case.days] == ["2004-06-07", "2004-06-08", "2004-06-09"]
    found = asked(minutes, "minute bars", asof="2004-06-10")
    assert found.keys() & {"form", "weekend", "holiday", "gap", "future", "stale"} == set()
    assert asked(minutes.iloc[[0, 2]], "minute bars")["gap"].when == ("2004-06-08",)


@pytest.mark.parametrize(("half", "days", "side"), [("summer", -1, "before"), ("winter", 1, "after")])
def test_dates_cut_with_the_wrong_offset_are_told_from_gaps(frame: pd.DataFrame, half: str, days: int, side: str):
    rows = summer(frame) if half == "summer" else ~summer(frame)
    found = asked(moved(frame, rows, days), asof="2006-01-10")["shift"]
    assert found.rows == rows.sum()
    assert f"stand a day {side} their session in {half}" in found.message


def test_a_missing_week_is_no_shift(frame: pd.DataFrame):
    assert asked(frame.drop(frame.index[100:105])).keys() == {"gap"}


def test_real_years_before_1971_are_no_wrong_unit(frame: pd.DataFrame):
    """500 weekdays from January 1970 on, at midnight as sessions are."""
    old = frame.iloc[:500].set_axis(pd.bdate_range("1970-01-02", periods=500))
    assert "epoch" not in asked(old)


@pytest.mark.parametrize("factor", [10**3, 10**6])
def test_stamps_of_a_finer_unit_read_as_milliseconds_lie_in_no_year_of_ours(frame: pd.DataFrame, factor: int):
    late = frame.set_axis(pd.DatetimeIndex((seconds(frame) * factor).astype("datetime64[s]")))
    found = asked(late)
    assert found["epoch"].rows == 504
    assert found["epoch"].severity == "error"


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "of", "factor"),
    [("high", "close", 0.9), ("high", "open", 0.9), ("low", "open", 1.1), ("high", "low", 0.9)],
)
def test_a_range_that_leaves_out_its_own_prices_is_an_error(frame: pd.DataFrame, column: str, of: str, factor: float):
    found = asked(put(frame, [3, 9], column, frame[of].iloc[[3, 9]] * factor))
    assert (found["ohlc"].severity, found["ohlc"].rows) == ("error", 2)


def test_rounding_of_an_adjustment_is_no_error(frame: pd.DataFrame):
    frame["high"] = frame[["open", "close"]].max(axis=1) * (1 - 1e-12)
    assert "ohlc" not in asked(frame)


@pytest.mark.parametrize(("silent", "severity"), [(50, "info"), (51, "warning")])
def test_volume_is_complete_at_90_percent(frame: pd.DataFrame, silent: int, severity: str):
    """50 of 504 sessions without volume leave 90.1 %, 51 leave 89.9 %."""
    frame["volume"] = frame["volume"].where(np.arange(504) >= silent, [0.0, np.nan] * 252)
    found = asked(frame)["volume"]
    assert (found.rows, found.severity) == (silent, severity)


@pytest.mark.parametrize(("sessions", "found"), [(4, False), (5, True)])
def test_a_close_that_stands_still_is_stale_from_five_sessions_on(frame: pd.DataFrame, sessions: int, found: bool):
    assert ("stale" in asked(still(frame, 10, sessions))) == found


def test_robust_deviations_by_hand():
    """Median 3, absolute deviations 2 1 0 1 97 with median 1: the last is 97 / 1.4826 out."""
    z = robust_z(pd.Series([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert z.iloc[-1] == pytest.approx(97 / 1.482602218505602)
    assert z.iloc[2] == 0
    assert robust_z(pd.Series([1.0, 1.0, 1.0, 5.0])).isna().all()


def test_a_jump_is_named_with_its_size(frame: pd.DataFrame):
    found = asked(scaled_from(frame, "2005-03-01", 0.75))
    change = frame["close"].pct_change()["2005-03-01"]  # already scaled: the frame is spoiled in place
    assert f"2005-03-01 ({change:+.0%})" in found["jump"].message
    assert "split" not in found  # a fall by a quarter is a crash


# --- splits ---------------------------------------------------------------------------------------------------

DAY = "2005-03-01"


@pytest.mark.parametrize(("ratio", "said"), [(2.0, "2:1"), (1.5, "1.5:1"), (7.0, "7:1"), (0.1, "1:10"), (10.0, "10:1")])
def test_a_leap_of_a_splits_size_is_a_split_and_neither_jump_nor_outlier(frame: pd.DataFrame, ratio: float, said: str):
    frame = scaled_from(frame, DAY, 1 / ratio)
    frame.loc[DAY:, "volume"] *= ratio
    found = asked(frame)
    assert found.keys() == {"split"}
    assert found["split"].message == f"1 prices leap by the size of a split: {DAY} ({said})"


def test_the_same_leap_on_a_crowded_day_is_a_crash(frame: pd.DataFrame):
    frame = scaled_from(frame, DAY, 0.5)
    frame.loc[DAY, "volume"] *= 20
    assert asked(frame).keys() == {"jump", "outlier"}


def test_a_leap_that_does_not_last_the_day_is_no_split(frame: pd.DataFrame):
    put(frame, 300, "open", frame["open"].iloc[300] / 2)
    assert asked(frame).keys() == {"ohlc"}


def test_closes_alone_cannot_tell_so_it_is_a_warning_and_a_jump(frame: pd.DataFrame):
    found = asked(scaled_from(frame, DAY, 0.5)[["close"]])
    assert found["split"].severity == "warning"
    assert "jump" in found


def test_a_known_split_is_in_the_prices_or_it_is_not(frame: pd.DataFrame):
    splits = split_ratios(pd.DataFrame({"split_from": [1.0, 1.0], "split_to": [4.0, 1.05]}, pd.to_datetime([DAY, DAY])))
    assert asked(frame, splits=splits) == {}
    found = asked(scaled_from(frame, DAY, 0.25), splits=splits)
    assert found.keys() == {"split"}
    assert found["split"].message == f"1 splits are not in the prices: {DAY} (4:1)"
    # with a record of splits, a leap that is not in it is a move of the market
    assert asked(frame, splits=splits[:0]).keys() == {"jump", "outlier"}


def test_splits_without_a_ratio_are_said_so():
    with pytest.raises(BadInput, match="found cash_amount"):
        split_ratios(pd.DataFrame({"cash_amount": [1.0]}))


# --- another source -------------------------------------------------------------------------------------------


def other(frame: pd.DataFrame, name: str = "other") -> Dataset:
    return Dataset(frame, name, "bars")


def test_two_packaged_sources_of_the_same_share_agree():
    """Quandl WIKI 2000..2013 beside the closes of another package 1990..2022."""
    found = mt.quality(mt.bars("MSFT"), against=mt.bars("MSFT", start="1990-01-02"))
    agreement = found.findings[-1]
    assert (agreement.rule, agreement.severity, agreement.rows) == ("agreement", "info", 0)
    assert "correlation of changes 1.000" in agreement.message


def test_another_share_does_not_agree():
    agreement = mt.quality(mt.bars("MSFT"), against=mt.bars("AAPL")).findings[-1]
    assert agreement.severity == "error"
    assert agreement.rows > 1500
    assert len(agreement.when) == agreement.rows


@pytest.mark.parametrize(("days", "late"), [(1, "other"), (-1, "MSFT")])
def test_a_source_that_is_a_day_late_is_told_from_a_wrong_one(frame: pd.DataFrame, days: int, late: str):
    found = asked(frame, against=other(frame.shift(days)))["agreement"]
    assert found.severity == "error"
    assert f"moved by one day they agree, so {late} is a day late" in found.message


def test_a_few_wrong_days_are_counted_and_named(frame: pd.DataFrame):
    wrong = put(frame.copy(), [50, 300], "close", frame["close"].iloc[[50, 300]] * 1.03)
    found = asked(frame, against=other(wrong))["agreement"]
    assert found.rows == 4  # to the wrong close and back
    assert found.when[0] == str(frame.index[50].date())


def test_yields_are_compared_by_level():
    """Within 0.05 they agree; 0.06 on one day of forty is one day, and 2.5 % of days is above 2 %."""
    days = pd.bdate_range("2024-01-02", periods=40)
    ours = pd.DataFrame({"value": 4 + 0.1 * np.sin(np.arange(40.0)), "available": days}, days)
    theirs = ours.assign(value=ours["value"] + 0.04)
    theirs.iloc[7, 0] += 0.02
    found = asked(ours, "macro", against=Dataset(theirs, "DGS10", "macro"))["agreement"]
    assert (found.rows, found.severity) == (1, "warning")
    assert "1 of 40 common days differ from DGS10 by more than 0.05, or 0.1%" in found.message


def test_bars_can_be_held_against_an_index_of_the_macro_kind(frame: pd.DataFrame):
    index = pd.DataFrame({"value": frame["close"] * 40, "available": frame.index}, frame.index)
    found = asked(frame, against=Dataset(index, "SP500", "macro"))["agreement"]
    assert (found.rows, found.severity) == (0, "info")


def test_too_little_in_common_is_said_so(frame: pd.DataFrame):
    found = asked(frame, against=other(frame.iloc[:20]))["agreement"]
    assert (found.rows, found.severity) == (20, "info")
    assert "too few to compare" in found.message


# --- macro ----------------------------------------------------------------------------------------------------


def monthly(n: int = 36) -> pd.DataFrame:
    """Three years of months, each published six weeks after it began, and the first revised a month later."""
    period = pd.date_range("2020-01-01", periods=n, freq="MS", name="period")
    frame = pd.DataFrame({"value": 100.0 + np.arange(n), "available": period + pd.Timedelta(days=42)}, period)
    revised = frame.iloc[[0]].assign(value=99.5, available=frame["available"].iloc[1])
    return pd.concat([frame, revised])


def known(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    frame.iloc[row, frame.columns.get_loc(column)] = value  # type: ignore[index]
    return frame


MACRO_PLANTED: dict[str, tuple[Spoil, int, str]] = {
    "duplicate": (lambda f: pd.concat([f, f.iloc[[5]]]), 1, "warning"),
    "conflict": (lambda f: pd.concat([f, f.iloc[[5]].assign(value=1.0)]), 1, "error"),
    "published": (lambda f: known(known(f, 3, "available", pd.NaT), 4, "available", "2020-04-30"), 2, "error"),
    "future": (lambda f: f.set_axis(f.index[:-2].append(pd.DatetimeIndex(["2023-06-01", "2020-01-01"]))), 1, "error"),
    "blank": (lambda f: known(known(f, 3, "value", np.nan), 9, "value", np.nan), 2, "warning"),  # 2 of 36
    "spike": (lambda f: known(known(f, 9, "value", 1e5), 20, "value", -1e5), 2, "error"),
    "gap": (lambda f: f.drop(f.index[[3, 4]]), 2, "warning"),
    "overdue": (lambda f: f[f.index < "2022-10-01"], 121, "warning"),  # October 13 to February 11
    "agreement": (lambda f: f, 0, "info"),
}


def test_every_macro_rule_has_a_case_here():
    assert list(MACRO_PLANTED) == [rule.name for rule in macro_rules.MACRO]


@pytest.mark.parametrize("rule", macro_rules.MACRO, ids=lambda rule: rule.name)
def test_a_macro_rule_finds_what_is_planted_and_counts_it(rule: bar_rules.Rule):
    spoil, rows, severity = MACRO_PLANTED[rule.name]
    against = Dataset(monthly(), "other", "macro") if rule.name == "agreement" else None
    found = asked(spoil(monthly()), "macro", asof="2023-02-11", against=against)[rule.name]
    assert (found.rows, found.severity) == (rows, severity)
    assert found.remedy == rule.remedy


def test_a_digit_too_many_stands_out_even_in_an_old_vintage_and_the_newest_value_is_a_warning():
    prices = mt.macro("cpi").frame  # near 217 at its end
    found = asked(known(prices.copy(), 200, "value", 100_000.0), "macro")["spike"]
    assert (found.severity, found.when) == ("error", (str(prices.index[200].date()),))
    assert asked(known(prices.copy(), -1, "value", 100_000.0), "macro")["spike"].severity == "warning"
    early = monthly()
    early.iloc[0, 0] = 1e5  # a first print that was corrected since
    assert asked(early, "macro")["spike"].when == ("2020-01-01",)


@pytest.mark.parametrize("name", ["CPILFESL", "VIXCLS", "realgdp", "cpi", "tbilrate", "unemp", "infl"])
def test_real_series_have_no_such_value(name: str):
    assert "spike" not in asked(mt.macro(name).frame, "macro")


@pytest.mark.parametrize("name", ["CPIAUCSL", "DGS10", "DGS2", "FEDFUNDS", "GDP", "INDPRO", "PAYEMS", "UNRATE"])
def test_nor_have_those_of_fred_with_the_spring_of_2020(name: str):
    path = FIXTURES.parent / "fred_csv" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{name}.csv is not on this machine")
    value = pd.read_csv(path, index_col=0, parse_dates=True)["value"].astype(float)
    frame = pd.DataFrame({"value": value, "available": value.index + pd.Timedelta(days=60)})
    assert "spike" not in asked(frame, "macro")


def test_revisions_are_neither_duplicates_nor_conflicts():
    assert asked(monthly(), "macro") == {}
    assert judge(Dataset(monthly(), "CPI", "macro")).completeness == 1.0


def test_one_blank_day_is_worth_knowing_and_no_gap():
    days = pd.bdate_range("2024-01-02", "2024-12-31")
    vix = pd.DataFrame({"value": 15.0, "available": days + pd.Timedelta(days=1)}, days)
    vix.iloc[9, 0] = np.nan
    found = asked(vix, "macro")
    assert found["blank"].severity == "info"
    assert "gap" not in found
    found = asked(vix.drop(vix.index[50:54]), "macro")["gap"]
    assert found.rows == 4
    assert found.when[0] == str(vix.index[50].date())


def test_the_week_without_a_session_is_no_gap_of_a_daily_series():
    """No session from Tuesday 11 to Friday 14 September 2001."""
    days = mt.bars("SPX", start="2001-08-01", end="2001-10-31").frame.index
    frame = pd.DataFrame({"value": 20.0, "available": days + pd.Timedelta(days=1)}, days)
    assert "gap" not in asked(frame, "macro")


@pytest.mark.parametrize(
    ("freq", "name"), [("B", "daily"), ("W-FRI", "weekly"), ("MS", "monthly"), ("QS", "quarterly"), ("YS", "yearly")]
)
def test_the_frequency_is_read_from_the_periods(freq: str, name: str):
    period = pd.date_range("2000-01-01", periods=30, freq=freq)
    frame = pd.DataFrame({"value": 1.0, "available": period}, period)
    case = macro_rules.Observations("x", "macro", frame, period[-1])
    assert case.frequency[2] == name
    assert freq == "B" or case.missing.empty
    assert freq == "B" or len(macro_rules.Observations("x", "macro", frame.drop(period[7]), period[-1]).missing) == 1


@pytest.mark.parametrize(
    "spoil", [lambda f: f.drop(columns="available"), lambda f: f.iloc[:0], lambda f: f.astype(str)]
)
def test_observations_that_cannot_be_read_are_an_error(spoil: Spoil):
    found = judge(Dataset(spoil(monthly()), "CPI", "macro"))
    assert not found.ok
    assert {f.rule for f in found.findings} == {"form"}


# --- the gatekeeper -------------------------------------------------------------------------------------------

QUICK = [r for r in BARS if r.quick and r.severity == "error" and r.name not in ("future", "epoch")]


@pytest.mark.parametrize("rule", QUICK, ids=lambda rule: rule.name)
def test_evaluation_refuses_what_a_quick_rule_calls_an_error_and_names_it(frame: pd.DataFrame, rule: bar_rules.Rule):
    gatekeep(Dataset(frame, "MSFT", "bars"))
    with pytest.raises(BadInput, match=rf"MSFT breaks rule {rule.name}: 1? ?[\d,]+ "):
        gatekeep(Dataset(PLANTED[rule.name][0](frame), "MSFT", "bars"))


@pytest.mark.parametrize("name", ["gap", "duplicate", "volume", "jump", "columns", "stale"])
def test_what_is_no_error_passes(frame: pd.DataFrame, name: str):
    gatekeep(Dataset(PLANTED[name][0](frame), "MSFT", "bars"))


def test_a_split_that_only_closes_suggest_passes(frame: pd.DataFrame):
    gatekeep(Dataset(scaled_from(frame, DAY, 0.5)[["close"]], "MSFT", "bars"))


def test_observations_that_never_became_available_are_an_error_and_have_no_age():
    found = judge(Dataset(monthly().iloc[:-1].assign(available=pd.NaT), "CPI", "macro"))
    assert [(f.rule, f.severity) for f in found.findings if f.severity == "error"] == [("published", "error")]
    assert (found.asof, found.age) == ("2022-12-01", 0)


def test_macro_series_are_not_kept_out_here():
    gatekeep(Dataset(monthly().assign(available=pd.NaT), "CPI", "macro"))


# --- whatever comes -------------------------------------------------------------------------------------------

cells = st.one_of(st.floats(1, 100), st.sampled_from([0.0, -1.0, np.nan, np.inf, 1e300, 5e-324]))
rows = st.lists(st.tuples(st.integers(-900, 21_000), st.lists(cells, min_size=5, max_size=5)), min_size=1, max_size=12)


@settings(max_examples=25)
@given(rows, st.booleans())
def test_whatever_numbers_and_days_come_the_answer_is_findings(drawn: list[tuple[int, list[float]]], whole: bool):
    index = pd.to_datetime([d for d, _ in drawn], unit="D")
    columns = ["open", "high", "low", "close", "volume"]
    data = pd.DataFrame([v for _, v in drawn], index, columns)
    found = judge(Dataset(data if whole else data[["close"]], "X", "bars"), asof="2020-01-02")
    assert 0 <= found.completeness <= 1
    assert all(f.rows >= 0 and f.message and f.remedy for f in found.findings)
    assert readable(Dataset(data, "X", "bars"))


# --- other people's data --------------------------------------------------------------------------------------

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "ohlcv"
NAMES = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}


def theirs(*parts: str) -> Path:
    path = FIXTURES.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not on this machine")
    return path


def wiki(ticker: str, *, adjusted: bool) -> tuple[pd.DataFrame, "pd.Series[float]"]:
    """Bars of the Quandl WIKI export, raw or adjusted, and its own split ratios."""
    table = pd.read_csv(theirs("wiki_public_domain", f"WIKI-{ticker}.csv"), index_col=0, parse_dates=True).sort_index()
    bars = pd.DataFrame({ours: table[f"Adj. {n}" if adjusted else n] for ours, n in NAMES.items()}).astype(float)
    return bars.dropna(), table["Split Ratio"][table["Split Ratio"] > 0].where(lambda r: r != 1).dropna()


def lean(ticker: str) -> pd.DataFrame:
    """Raw bars of another vendor; prices in ten-thousandths of a dollar."""
    with zipfile.ZipFile(theirs("lean_daily", f"{ticker}.zip")) as packed:
        table = pd.read_csv(packed.open(packed.namelist()[0]), header=None, names=["at", *NAMES])
    bars = table[list(NAMES)].astype(float).set_axis(pd.to_datetime(table["at"].str[:8], format="%Y%m%d"))
    bars[["open", "high", "low", "close"]] /= 10_000
    return bars


def days_of(found: dict[str, Finding], rule: str) -> set[str]:
    return set(found[rule].when) if rule in found else set()


SPLITS = {
    "AAPL": {"1987-06-16", "2000-06-21", "2005-02-28", "2014-06-09"},
    "MSFT": {"1987-09-21", "1990-04-16", "1991-06-27", "1992-06-15", "1994-05-23", "1996-12-09", "1998-02-23",
             "1999-03-29", "2003-02-18"},
}  # fmt: skip


@pytest.mark.parametrize("ticker", SPLITS)
def test_every_split_is_found_in_raw_prices_and_none_in_adjusted_ones(ticker: str):
    """The days are the companies' own; the export's ratios are not given to the rule."""
    raw, _ = wiki(ticker, adjusted=False)
    assert days_of(asked(raw), "split") == SPLITS[ticker]
    adjusted, ratios = wiki(ticker, adjusted=True)
    assert "split" not in asked(adjusted)
    assert {str(d.date()) for d in ratios.index} == SPLITS[ticker]
    # and with the record of splits, raw and adjusted are told apart as well
    assert days_of(asked(raw, splits=ratios), "split") == SPLITS[ticker]
    assert "split" not in asked(adjusted, splits=ratios)


def test_the_crash_of_september_2000_is_a_crash_in_raw_and_in_adjusted_prices():
    """AAPL fell from 53.50 to 25.75 on 29 September 2000, 2:1 to the eye, on ten times the usual money."""
    for adjusted in (False, True):
        found = asked(wiki("AAPL", adjusted=adjusted)[0])
        assert "2000-09-29" in days_of(found, "jump")
        assert "2000-09-29" not in days_of(found, "split")


def test_two_splits_are_missing_from_another_adjusted_history():
    """Coca-Cola split 2:1 in February 1965 and in May 1968; the export's adjusted prices leap there all the same."""
    assert days_of(asked(wiki("KO", adjusted=True)[0]), "split") == {"1965-02-19", "1968-06-03"}


@pytest.mark.parametrize(
    ("ticker", "splits"),
    [
        ("aapl", {"2000-06-21", "2005-02-28", "2014-06-09", "2020-08-31"}),
        ("bac", {"2004-08-30"}),
        ("ibm", {"1999-05-27"}),
        ("qqq", {"2000-03-20"}),  # and six years are missing before a price that is half as high again
    ],
)
def test_another_vendors_raw_prices_show_the_same_splits(ticker: str, splits: set[str]):
    assert days_of(asked(lean(ticker)), "split") == splits


def test_the_days_the_exchange_was_closed_are_no_gaps():
    """11 to 14 September 2001, and 29 and 30 October 2012 for Hurricane Sandy."""
    closed = {"2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2012-10-29", "2012-10-30"}
    for frame in (lean("spy"), lean("ibm"), wiki("MSFT", adjusted=True)[0]):
        found = asked(frame)
        assert not days_of(found, "gap") & closed
        assert "shift" not in found


def test_a_day_on_which_only_another_exchange_was_open_is_no_error():
    """27 September 1985: a hurricane closed New York, and Apple traded on Nasdaq."""
    found = asked(wiki("AAPL", adjusted=True)[0])["holiday"]
    assert (found.when, found.severity) == (("1985-09-27",), "warning")


def test_the_blank_day_of_another_vendor_is_found():
    """31 July 2017 has blank cells for the names of one exchange in this scrape, which says so of itself."""
    table = pd.read_csv(theirs("djia30_google_2006_2017", "JPM.csv"), index_col=0, parse_dates=True)
    frame = pd.DataFrame({ours: table[name] for ours, name in NAMES.items()}).astype(float)
    found = asked(frame)
    assert "2017-07-31" in days_of(found, "price")
    assert found["price"].severity == "error"
    assert "split" not in found


def test_two_vendors_agree_on_the_index_fund_and_the_index():
    """SPY raw against the S&P 500: four ex-dividend days a year and the minutes after the close differ."""
    found = asked(lean("spy").loc["2005":"2018"], against=Dataset(mt.bars("SPX").frame, "SPX", "bars"))["agreement"]
    assert found.severity == "info"
