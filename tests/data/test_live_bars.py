"""Live bars are what a holder had: adjusted here, checked against the provider, resumed after a kill, never shortened
in silence. All of it over HTTP, from a server on this machine."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay import faults
from replay.server import POLYGON_KEY, Replay

import mltrainer as mt
from mltrainer import cli
from mltrainer.data import adjustment, live_bars, market
from mltrainer.data.providers import cache, client, polygon
from mltrainer.errors import NotEnoughHistory, NotEntitled, ProviderError, Refused, Unavailable
from mltrainer.evaluation import trials
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset

WIKI = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "ohlcv" / "wiki_public_domain"
AGGS = "/v2/aggs/ticker"
TODAY = "2030-01-01"

Frame = pd.DataFrame


@pytest.fixture
def replay(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """With patience: nothing here is about time, and the machine may be busy."""
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "30")
    return replay


def split_table(found: dict[str, tuple[float, float]]) -> Frame:
    index = pd.DatetimeIndex(list(found), name="execution_date")
    return Frame(list(found.values()), index=index, columns=["split_from", "split_to"], dtype=float)


def adjusted(raw: Frame, splits: Frame, dividends: "pd.Series[float]", theirs: Frame | None = None) -> Frame:
    """The bars after `total_return`, with the provider agreeing unless `theirs` says otherwise."""
    sessions = pd.DatetimeIndex(raw.index)
    factor = adjustment.split_factor(sessions, splits, today=TODAY)
    provider = Frame({"close": raw["close"] * factor}) if theirs is None else theirs
    paid = Frame({"cash_amount": dividends, "currency": "USD"})
    made = (Dataset(frame, "T", kind) for frame, kind in ((raw, "raw bars"), (splits, "splits"), (paid, "dividends")))
    return adjustment.total_return(*made, Dataset(provider, "T", "split-adjusted bars"), today=TODAY).frame


# --- the arithmetic -------------------------------------------------------------------------------------------


def test_a_holders_return_by_hand():
    # Mon 100; Tue split 2:1, closes 51; Wed pays 1 and closes 50: returns +2 % and 0 % (50 + 1 over 51)
    days = pd.DatetimeIndex(["2024-01-08", "2024-01-09", "2024-01-10"], name="session")
    raw = Frame({"open": [100.0, 50, 50], "close": [100.0, 51, 50], "volume": [10.0, 20, 20]}, index=days)
    dividends = pd.Series([1.0], index=pd.DatetimeIndex(["2024-01-10"]))
    frame = adjusted(raw, split_table({"2024-01-09": (1, 2)}), dividends)
    assert frame["close"].pct_change().tolist()[1:] == pytest.approx([0.02, 0.0], abs=1e-12)
    assert frame["close"].iloc[-1] == 50.0  # the last close is what was traded
    assert frame["volume"].tolist() == [20.0, 20.0, 20.0]
    assert frame["open"].iloc[0] == pytest.approx(50 / 1.02)


def test_a_dividend_before_a_split_is_counted_in_the_shares_of_its_day():
    # pays 2 on a share of 100, is then split 2:1: the return of the ex-date is (98 + 2) / 100 - 1 = 0
    days = pd.DatetimeIndex(["2024-01-08", "2024-01-09", "2024-01-10"], name="session")
    raw = Frame({"close": [100.0, 98.0, 49.0], "volume": 1.0}, index=days)
    dividends = pd.Series([2.0], index=pd.DatetimeIndex(["2024-01-09"]))
    frame = adjusted(raw, split_table({"2024-01-10": (1, 2)}), dividends)
    assert frame["close"].pct_change().tolist()[1:] == pytest.approx([0.0, 0.0], abs=1e-12)


def test_an_announced_split_changes_nothing_before_its_day():
    days = pd.DatetimeIndex(["2024-01-08", "2024-01-09"], name="session")
    announced = split_table({"2024-02-01": (1, 10)})
    assert adjustment.split_factor(days, announced, today="2024-01-09").tolist() == [1.0, 1.0]
    assert adjustment.split_factor(days, announced, today="2024-02-01").tolist() == [0.1, 0.1]


def test_a_dividend_on_a_day_without_a_bar_is_felt_on_the_next_and_one_outside_the_bars_not_at_all():
    days = pd.DatetimeIndex(["2024-01-05", "2024-01-08"])
    close = pd.Series([10.0, 10.0], index=days)
    for ex, factor in (("2024-01-06", 1 / 1.1), ("2024-01-05", 1.0), ("2023-06-01", 1.0), ("2024-01-09", 1.0)):
        paid = pd.Series([1.0], index=pd.DatetimeIndex([ex]))
        assert adjustment.dividend_factor(close, paid).tolist() == [pytest.approx(factor), 1.0]


prices = st.floats(1.0, 1000.0)


@settings(max_examples=60)
@given(
    st.lists(prices, min_size=3, max_size=12),
    st.lists(st.sampled_from([None, None, (1, 2), (2, 3), (10, 1)]), min_size=12, max_size=12),
    st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.05]), min_size=12, max_size=12),
)
def test_adjusted_prices_grow_like_a_holder_who_reinvests(close, split, yields):
    """A hundred shares carried by hand through splits, with dividends bought back in at the close."""
    days = pd.date_range("2024-01-01", periods=len(close), freq="D", name="session")
    ratios = {str(d.date()): r for d, r in zip(days[1:], split, strict=False) if r}
    paid = {d: y * c for d, y, c in zip(days[1:], yields, close[1:], strict=False) if y and y * c < min(close)}
    raw = Frame({"close": close, "volume": 1.0}, index=days)
    dividends = pd.Series(paid, index=pd.DatetimeIndex(list(paid)), dtype=float)
    try:
        frame = adjusted(raw, split_table(ratios), dividends)
    except Refused:
        return  # a reverse split made a dividend larger than the close before it
    shares, wealth = 100.0, [100.0 * close[0]]
    for day, price in zip(days[1:], close[1:], strict=True):
        before, after = ratios.get(str(day.date()), (1, 1))
        shares *= after / before
        shares += shares * paid.get(day, 0.0) / price
        wealth.append(shares * price)
    np.testing.assert_allclose(frame["close"] / frame["close"].iloc[0], np.array(wealth) / wealth[0], rtol=1e-9)


@pytest.mark.parametrize(("ticker", "wrong"), [("AAPL", ["2016-08-02"]), ("MSFT", []), ("GE", []), ("KO", [])])
def test_total_returns_are_those_of_the_wiki_export(ticker, wrong):
    """Raw bars, split ratios and dividends of the export give its own adjusted columns, over decades."""
    path = WIKI / f"WIKI-{ticker}.csv"
    if not path.exists():
        pytest.skip("the WIKI export is not on this machine")
    wiki = pd.read_csv(path, index_col=0, parse_dates=True).sort_index()
    wiki = wiki.dropna(subset=["Close"])  # KO has a row for 2001-09-12, when nothing was traded
    raw = wiki[["Open", "High", "Low", "Close", "Volume"]].rename(columns=str.lower)
    ratio = wiki["Split Ratio"][wiki["Split Ratio"] != 1]
    splits = Frame({"split_from": 1.0, "split_to": ratio})
    frame = adjusted(raw, splits, wiki["Ex-Dividend"][wiki["Ex-Dividend"] > 0])
    gap = (frame["close"].pct_change() - wiki["Adj. Close"].pct_change()).abs()
    assert [str(d.date()) for d in gap.index[gap > 1e-9]] == wrong  # one day on which the export contradicts itself
    assert gap.isna().sum() == 1
    np.testing.assert_allclose(frame["volume"], wiki["Adj. Volume"], rtol=1e-9)
    np.testing.assert_allclose(frame["high"] / frame["close"], wiki["Adj. High"] / wiki["Adj. Close"], rtol=1e-9)


def test_what_contradicts_itself_is_refused_and_written_down():
    days = pd.bdate_range("2024-01-08", periods=4, name="session")
    raw = Frame({"close": [100.0, 100, 50, 50], "volume": 1.0}, index=days)
    none, split = split_table({}), split_table({"2024-01-10": (1, 2)})
    nothing = pd.Series([], index=pd.DatetimeIndex([]), dtype=float)
    theirs = Frame({"close": [50.0, 50, 50, 50]}, index=days)
    assert adjusted(raw, split, nothing, theirs)["close"].tolist() == [50.0] * 4
    rounded = Frame({"close": [50.00005, 50, 50, 50]}, index=days)
    assert adjusted(raw, split, nothing, rounded)["close"].tolist() == [50.0] * 4
    with pytest.raises(Refused, match="on 2 of 4 sessions, first 2024-01-08: 100 by its splits, 50 as sent"):
        adjusted(raw, none, nothing, theirs)
    with pytest.raises(Refused, match="differs in 1 sessions between raw and adjusted bars, the first 2024-01-11"):
        adjusted(raw, split, nothing, theirs.iloc[:3])
    with pytest.raises(Refused, match="hold 60 dollars on 2024-01-09"):
        adjusted(raw, split, pd.Series([120.0], index=days[1:2]), theirs)
    assert len(audit.entries(kind="violation")) == 3


def test_prices_that_are_no_numbers_agree_with_nobody():
    days = pd.bdate_range("2024-01-08", periods=3, name="session")
    raw = Frame({"close": [100.0, 50, 50], "volume": 1.0}, index=days)
    nothing = pd.Series([], index=pd.DatetimeIndex([]), dtype=float)
    for ratio in ((np.inf, np.inf), (1e308, 1e-308), (1e-308, 1e308)):
        with pytest.raises(Refused, match="split adjustment of T differs"):
            adjusted(raw, split_table({"2024-01-10": ratio}), nothing, raw)


def test_dividends_in_another_currency_are_not_taken_for_dollars():
    days = pd.bdate_range("2024-01-08", periods=2)
    raw = Dataset(Frame({"close": [10.0, 10.0], "volume": 1.0}, index=days), "T", "raw bars")
    paid = Dataset(Frame({"cash_amount": [1.0], "currency": ["CAD"]}, index=days[1:]), "T", "dividends")
    with pytest.raises(Unavailable, match="dividends in CAD"):
        adjustment.total_return(raw, Dataset(split_table({}), "T", "splits"), paid, raw, today=TODAY)


# --- bars over the wire ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticker", ["AAPL", "MSFT"])
def test_live_bars_are_adjusted_as_the_packaged_ones_are(replay: Replay, monkeypatch, ticker):
    """Made from raw bars, splits and dividends over HTTP; the packaged file has its own adjusted close."""
    found = mt.bars(ticker)
    monkeypatch.setenv("MLTRAINER_MODE", "sample")
    packaged = mt.bars(ticker).frame
    assert found.frame.index.equals(packaged.index)
    np.testing.assert_array_equal(found.frame["volume"], packaged["volume"])
    gap = (found.frame["close"].pct_change() - packaged["close"].pct_change()).abs()
    assert gap.max() < 3e-4, gap.nlargest(3)
    assert gap.median() < 1e-6


def test_the_lineage_of_live_bars_is_four_answers(replay: Replay):
    found = mt.bars("AAPL", start="2012-01-03", end="2013-03-01")
    origin = gate.verify(found, "test")
    assert (origin.transform, origin.mode, found.kind) == ("mltrainer.data.adjustment.total_return", "replay", "bars")
    assert [root.kind for root in gate.roots(found)] == ["raw bars", "splits", "dividends", "split-adjusted bars"]
    assert "asked for 2012-01-03 to 2013-03-01, holds 2012-01-03 to 2013-03-01" in origin.note
    assert origin.retrieved_at is not None


def test_raw_bars_are_what_was_traded_and_other_timespans_are_split_adjusted(replay: Replay):
    raw = mt.bars("AAPL", start="2005-02-25", end="2005-02-28", adjusted=False)
    assert raw.frame["close"].tolist() == [88.99, 44.86]  # of the packaged file, around a split 2:1
    weeks = mt.bars("AAPL", start="2005-02-14", end="2005-03-11", timespan="week")
    assert weeks.kind == "week bars"
    assert "split-adjusted by the provider, not for dividends" in weeks.provenance.note
    assert weeks.frame["close"].iloc[0] == pytest.approx(88.99 / 2, abs=1e-4)
    with pytest.raises(mt.errors.BadInput, match="features are computed from bars"):
        mt.matrix(weeks)


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_bars_as_traded_are_not_taken_for_adjusted_ones_though_they_are_the_same(replay: Replay, first):
    """Google neither split nor paid before 2013: whichever is fetched first, each has its own kind and note."""
    found = {adjusted: mt.bars("GOOG", start="2012-01-03", adjusted=adjusted) for adjusted in (first, not first)}
    assert found[True].frame.equals(found[False].frame)
    assert (found[True].kind, found[False].kind) == ("bars", "raw bars")
    assert found[True].provenance.transform == "mltrainer.data.adjustment.total_return"
    assert "as traded, not adjusted" in found[False].provenance.note
    with pytest.raises(mt.errors.BadInput, match="raw bars"):
        mt.matrix(found[False])


def test_a_currency_has_neither_splits_nor_dividends_to_ask_for(replay: Replay):
    rows = [{"t": 1626912000000 + k * 86_400_000, "o": 9, "h": 9, "l": 9, "c": 9, "v": 1} for k in (0, 1)]
    document = {"ticker": "X:BTCUSD", "adjusted": True, "status": "OK", "results": rows, "resultsCount": 2}
    replay.canned[f"{AGGS}/X:BTCUSD/range/1/day/2021-07-22/2021-07-23"] = document
    found = mt.bars("X:BTCUSD", start="2021-07-22", end="2021-07-23")
    assert (found.kind, len(replay.log)) == ("bars", 1)
    assert [str(day.date()) for day in found.frame.index] == ["2021-07-22", "2021-07-23"]


def test_the_sample_has_no_other_timespans():
    for asked in ({"timespan": "minute"}, {"adjusted": False}):
        with pytest.raises(Unavailable, match="sample"):
            mt.bars("MSFT", **asked)
    for ask in (market.actions, market.snapshot):
        with pytest.raises(Unavailable, match="POLYGON_API_KEY"):
            ask("MSFT")


def test_without_a_start_the_longest_span_of_the_plan_is_given_and_said(replay: Replay, monkeypatch):
    replay.fault("403_timeframe", "403_timeframe", path=AGGS)
    found = mt.bars("MSFT", end="2013-03-01", adjusted=False)
    assert [asked.path.split("/")[8] for asked in replay.log] == ["1970-01-01", "1993-03-01", "2003-03-01"]
    assert "the plan refused more than the last 10 years" in found.provenance.note
    assert str(found.frame.index[0].date()) == "2003-03-03"
    mt.bars("IBM", end="2013-03-01", adjusted=False)  # what the plan holds is asked once
    assert replay.log[-1].path.split("/")[8] == "2003-03-01"
    assert len(replay.log) == 4


def test_a_free_plan_is_asked_for_two_years_at_once(replay: Replay, monkeypatch):
    monkeypatch.setenv("MLTRAINER_POLYGON_PER_MINUTE", "5")
    replay.fault("403_timeframe", path=AGGS)
    found = mt.bars("MSFT", end="2013-03-01", adjusted=False)
    assert "the plan refused more than the last 2 years" in found.provenance.note
    assert len(replay.log) == 2


def test_a_span_that_was_named_is_never_shortened(replay: Replay):
    replay.fault("403_timeframe", path=AGGS)
    with pytest.raises(NotEntitled, match="Your plan doesn't include this data timeframe"):
        mt.bars("MSFT", start="2001-01-02", end="2013-03-01")
    assert len(replay.log) == 1


def test_a_key_that_is_refused_is_not_taken_for_a_narrow_plan(replay: Replay):
    replay.fault("401", path=AGGS, times=None)
    with pytest.raises(NotEntitled, match="Unknown API Key"):
        mt.bars("MSFT")
    assert len(replay.log) == 1


@pytest.mark.parametrize(
    ("now", "last", "timespan", "expected"),
    [
        ("2026-03-06 15:59", None, "day", "2026-03-05"),  # the session is on
        ("2026-03-06 20:01", None, "day", "2026-03-06"),  # late trades are over
        ("2026-03-06 15:59", "2026-03-06", "day", "2026-03-05"),
        ("2026-03-06 15:59", "2026-03-06", "15 minute", "2026-03-06"),  # its finished minutes are final
        ("2026-03-06 15:59", "2020-01-02", "week", "2020-01-02"),
    ],
)
def test_an_open_session_has_no_daily_bar(now, last, timespan, expected):
    stamp = None if last is None else pd.Timestamp(last)
    end, said = live_bars.through(stamp, timespan, now=pd.Timestamp(now, tz="America/New_York"))
    assert end == expected
    assert bool(said) == (last is not None and last != expected)


def test_a_span_that_has_not_happened_is_one_line_and_nothing_is_sent(replay: Replay):
    with pytest.raises(NotEnoughHistory, match="is not over"):
        mt.bars("MSFT", start="2999-01-04", end="2999-01-05")
    assert replay.log == []


# --- where it is used -----------------------------------------------------------------------------------------


def test_the_market_is_the_fund_over_the_same_sessions_where_the_plan_has_it(replay: Replay):
    bars = mt.bars("MSFT", start="2012-01-03", end="2012-03-30")
    replay.fault("403", path=f"{AGGS}/SPY")
    assert [d.name for d in market.context(bars) if d.kind == "bars"] == []
    path = f"{AGGS}/MSFT/range/1/day/2012-01-03/2012-03-30"
    theirs = client.get("polygon", path, {"adjusted": False, "sort": "asc", "limit": polygon.PAGE}).json()
    del theirs["adjusted"]  # one answer stands for raw and adjusted: there was no split
    replay.canned[path.replace("MSFT", "SPY")] = theirs | {"ticker": "SPY"}
    replay.canned["/stocks/v1/splits"] = replay.canned["/stocks/v1/dividends"] = {"status": "OK", "results": []}
    [fund] = [d for d in market.context(bars) if d.kind == "bars"]
    assert fund.name == "SPY"
    assert fund.frame.index.equals(bars.frame.index)
    assert [d for d in market.context(fund) if d.kind == "bars"] == []


def test_a_provider_that_fails_is_no_missing_market(replay: Replay):
    bars = mt.bars("MSFT", start="2012-01-03", end="2012-03-30")
    replay.fault("count", path=f"{AGGS}/SPY")
    with pytest.raises(ProviderError):
        market.context(bars)


def test_a_model_is_evaluated_on_replayed_bars_and_everything_says_replay(replay: Replay, monkeypatch, capfd):
    data = mt.matrix("MSFT")
    result = mt.evaluate("RidgeRegression", data)
    assert result.ok
    assert data.provenance.mode == "replay"
    assert {root.source for root in gate.roots(data)} == {"replay"}
    assert trials.ledger()["mode"].tolist() == ["replay"]
    assert "market_return_1" in data.unavailable
    monkeypatch.setattr(sys, "argv", ["mltrainer", "leaderboard"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capfd.readouterr().out.endswith("Mode replay: TEST: replayed answers, worth nothing.\n")


def test_the_commands_show_bars_and_actions_with_their_origin(replay: Replay, monkeypatch, capfd):
    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["mltrainer", "fetch", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capfd.readouterr()

    code, out, _ = run("actions", "AAPL", "--json")
    splits, dividends = json.loads(out)
    assert code == 0
    assert [row["split_to"] for row in splits["rows"]] == [2, 2]
    assert [round(row["cash_amount"], 2) for row in dividends["rows"]] == [2.65] * 3  # what Apple paid then
    _, out, _ = run("bars", "aapl", "--start", "2005-02-25", "--end", "2005-02-28", "--raw")
    assert "as traded, not adjusted; asked for 2005-02-25 to 2005-02-28, holds 2005-02-25 to 2005-02-28" in out
    code, out, err = run("bars", "../../x")
    assert (code, out, err.count("\n")) == (2, "", 1)


def earlier(sent: faults.Sent) -> faults.Sent:
    """Every stamp a day early, as midnight in New York is where it is taken for one in UTC."""
    rows = [row | {"t": row["t"] - faults.MIDNIGHT} for row in sent.document["results"]]
    return replace(sent, document=sent.document | {"results": rows})


def close_above_high(sent: faults.Sent) -> faults.Sent:
    return faults.price(lambda v: 2 * v, "c")(sent)


def still(sent: faults.Sent) -> faults.Sent:
    """A month of the same bar, with its volume."""
    rows = sent.document["results"]
    kept = {name: rows[99][name] for name in "ohlcv"}
    rows = [row | kept if 100 <= n < 120 else row for n, row in enumerate(rows)]
    return replace(sent, document=sent.document | {"results": rows})


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        *(("high_below_low", "error of quality, rule ohlc"), ("close_above_high", "error of quality, rule ohlc")),
        *(("weekend", "error of quality, rule weekend"), ("earlier", "error of quality, rule weekend")),
        *(("spike", "error of quality, rule spike"), ("split", "error of quality, rule split")),
        *(("gap", "error of quality, rule complete"), ("still", "warning of quality, rule stale")),
    ],
)
def test_fetch_says_what_quality_finds(replay: Replay, monkeypatch, capfd, fault, rule):
    for made in (earlier, close_above_high, still):
        monkeypatch.setitem(faults.FAULTS, made.__name__, made)
    for shape in ([], ["--json"]):
        replay.fault(fault, path=AGGS, times=None)
        span = ["--start", "2012-01-04", "--end", "2012-12-31", "--raw"]
        monkeypatch.setattr(sys, "argv", ["mltrainer", "fetch", "bars", "MSFT", *span, *shape])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out = capfd.readouterr().out
        assert ended.value.code == 0
        assert rule in out or rule.split()[-1] in {f["rule"] for f in json.loads(out)[0]["findings"]}


def test_good_bars_are_fetched_without_a_word_of_quality(replay: Replay, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", "mltrainer fetch bars MSFT --start 2012-01-04 --end 2012-12-31".split())
    with pytest.raises(SystemExit):
        cli.main()
    assert "of quality" not in capfd.readouterr().out


# --- what is kept, and what goes ------------------------------------------------------------------------------


def ends_kept() -> set[str]:
    return {address.partition("?")[0].rpartition("/")[2] for address, _, _ in cache.held() if "/range/" in address}


def test_the_span_up_to_today_takes_the_place_of_the_one_up_to_yesterday(replay: Replay, monkeypatch):
    for end in ("2012-06-28", "2012-06-29", "2012-07-02"):
        mt.bars("MSFT", start="2010-01-04", end=end)
        assert ends_kept() == {end}
    assert len(cache.held()) == 4  # raw and split-adjusted bars, splits, dividends
    mt.bars("MSFT", start="2010-01-04", end="2011-12-30")  # an earlier end is another question
    mt.bars("IBM", start="2010-01-04", end="2012-07-03")
    assert ends_kept() == {"2012-07-02", "2011-12-30", "2012-07-03"}
    replay.fault("count", path=AGGS)
    with pytest.raises(ProviderError):
        mt.bars("MSFT", start="2010-01-04", end="2012-12-31")
    assert ends_kept() == {"2012-07-02", "2011-12-30", "2012-07-03"}  # nothing goes for what was refused


@pytest.mark.parametrize(
    ("old", "new", "older"),
    [
        ("1970-01-01/2026-11-20?a=1", "1970-01-01/2026-11-23?a=1", True),
        ("2024-11-20/2026-11-20", "2024-11-23/2026-11-23", True),  # two years to the day, on each day
        ("1732078800000/2026-11-20?cursor=x", "1732338000000/2026-11-23?cursor=x", True),  # and its second page
        ("2010-01-04/2026-11-20", "2024-11-23/2026-11-23", False),  # begins long before
        ("1970-01-01/2026-11-23", "1970-01-01/2026-11-20", False),
        ("1970-01-01/2026-11-23", "1970-01-01/2026-11-23", False),
        ("1970-01-01/2026-11-20?a=1", "1970-01-01/2026-11-23?a=2", False),
    ],
)
def test_an_older_span_is_one_that_the_new_one_holds_but_for_its_moving_start(old, new, older):
    spans = (cache.SPAN.fullmatch(f"https://api.massive.com{AGGS}/X:BTCUSD/range/1/day/{text}") for text in (old, new))
    assert cache._older(*spans) is older


def test_what_is_kept_can_be_shown_and_pruned(replay: Replay, monkeypatch, capfd):
    def cache(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["mltrainer", "cache", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        return capfd.readouterr().out

    assert cache("show", "--json") == "[]\n"
    assert cache("prune") == "0 answers removed\n"
    mt.bars("MSFT", start="2012-01-04", end="2012-01-31")
    rows = json.loads(cache("show", "--json"))
    assert len(rows) == 4
    assert all(row["bytes"] > 20 and row["at"] and POLYGON_KEY not in row["address"] for row in rows)
    assert cache("show").endswith("4 answers, 0.0 MB\n")
    client.get("polygon", "/v1/marketstatus/now", keep=timedelta(0))
    assert json.loads(cache("prune", "--json")) == {"removed": 1}  # the only one that is stale
    assert cache("prune", "--days", "1") == "0 answers removed\n"
    assert cache("prune", "--days", "0") == "4 answers removed\n"
    assert cache("show", "--json") == "[]\n"
    asked = len(replay.log)
    mt.bars("MSFT", start="2012-01-04", end="2012-01-31")
    assert len(replay.log) == asked + 4


def minute_pages(server: Replay, n: int) -> list[str]:
    """A backfill of n pages with two minutes each."""
    stem, start = f"{AGGS}/AAPL/range/1/minute", 1357137000000
    paths = [f"{stem}/2013-01-02/2013-01-31", *(f"{stem}/{start + k * 120_000}/2013-01-31" for k in range(1, n))]
    for k, path in enumerate(paths):
        rows = [{"t": start + (2 * k + i) * 60_000, "o": 9, "h": 9, "l": 9, "c": 9, "v": 1} for i in (0, 1)]
        document = {"ticker": "AAPL", "adjusted": True, "status": "OK", "results": rows, "resultsCount": 2}
        more = {"next_url": f"{server.url}{paths[k + 1]}?cursor=bGltaXQ9Mg"} if k + 1 < n else {}
        server.canned[path] = document | more
    return paths


class Stopping(dict[str, Any]):
    """Canned answers, of which one is not given before it may be."""

    def __init__(self, stop: str) -> None:
        super().__init__()
        self.stop, self.go, self.reached = stop, threading.Event(), threading.Event()

    def __getitem__(self, path: str) -> Any:
        if path == self.stop:
            self.reached.set()
            self.go.wait(30)
        return super().__getitem__(path)


def test_a_backfill_that_was_killed_asks_for_no_page_twice(replay: Replay):
    paths = minute_pages(replay, 7)
    replay.canned, documents = Stopping(paths[4]), replay.canned
    replay.canned.update(documents)
    span = {"timespan": "minute", "start": "2013-01-02", "end": "2013-01-31"}
    ask = f"from mltrainer.data import market; market.bars('AAPL', **{span})"
    killed = subprocess.Popen([sys.executable, "-c", ask])
    assert replay.canned.reached.wait(30)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert replay.paths() == paths[:5]  # the fifth was on its way
    replay.canned.go.set()
    assert len(mt.bars("AAPL", **span).frame) == 14
    assert replay.paths()[5:] == paths[4:]


def test_a_second_look_on_the_same_day_asks_nothing(replay: Replay):
    start = time.monotonic()
    first = mt.bars("IBM", start="2012-01-03", end="2012-12-31")
    asked, took = len(replay.log), time.monotonic() - start
    again = mt.bars("IBM", start="2012-01-03", end="2012-12-31")
    assert len(replay.log) == asked == 4
    assert again.fingerprint() == first.fingerprint()
    assert again.provenance == first.provenance
    assert took < 30


def test_a_span_is_in_the_shares_of_its_last_session_as_a_run_on_that_day_would_have_had_it(replay: Replay):
    """Apple, 2 for 1 on 2005-02-28: 88.99 as traded the session before, 44.86 after; by hand from the packaged file."""
    before = mt.bars("AAPL", start="2005-01-03", end="2005-02-25").frame
    after = mt.bars("AAPL", start="2005-01-03", end="2005-02-28").frame
    assert before["close"].iloc[-1] == 88.99
    assert after["close"].tolist()[-2:] == [88.99 / 2, 44.86]
    np.testing.assert_array_equal(after["close"].iloc[:-1], before["close"] / 2)
    np.testing.assert_array_equal(after["volume"].iloc[:-1], before["volume"] * 2)
    whole = mt.bars("AAPL", start="2005-01-03", end="2005-03-31")
    assert market.until(whole, "2005-02-25").frame.equals(before)
    assert market.until(whole.window("2005-01-10", None), "2005-02-25").frame.equals(before.loc["2005-01-10":])
    assert market.until(whole, None) is market.until(whole, "2005-03-31") is whole


def test_a_later_dividend_in_another_currency_says_nothing_of_bars_before_it():
    days = pd.DatetimeIndex(["2024-01-08", "2024-01-09"], name="session")
    raw = Dataset(Frame({"close": [9.0, 10.0], "volume": 1.0}, index=days), "T", "raw bars")
    paid = Frame({"cash_amount": [1.0], "currency": ["EUR"]}, index=pd.DatetimeIndex(["2024-01-10"]))
    splits = Dataset(split_table({}), "T", "splits")
    made = adjustment.total_return(raw, splits, Dataset(paid, "T", "dividends"), raw, today=TODAY)
    assert made.frame["close"].tolist() == [9.0, 10.0]
