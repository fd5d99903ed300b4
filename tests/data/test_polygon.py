"""What Polygon sends is read exactly or refused with the rule it broke; numbers from its own examples and by hand."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from massive import RESTClient
from replay import faults
from replay.server import POLYGON_KEY, Replay

from mltrainer import store
from mltrainer.data import market
from mltrainer.data.providers import cache, client, polygon, tables
from mltrainer.data.quality import quality
from mltrainer.errors import BadInput, NotEnoughHistory, NotEntitled, ProviderError, Refused, Unavailable
from mltrainer.trust import audit, gate

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "polygon_api"
NOW = "2026-11-24T00:00:00+00:00"
AGGS = "/v2/aggs/ticker"
PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def replay(replay: Replay, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """With patience: nothing here is about time, and the machine may be busy."""
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "30")
    return replay


def fixture(name: str) -> bytes:
    if not FIXTURES.is_dir():
        pytest.skip("the providers' recorded envelopes are not on this machine")
    return next(FIXTURES.rglob(name)).read_bytes()


def daily(ticker: str = "AAPL", start: str = "2012-01-03", end: str = "2012-12-31", **more: Any) -> Any:
    return polygon.bars(ticker, start, end, **{"adjusted": False, "kind": "bars"} | more)


def page(*bars: dict[str, Any], **more: Any) -> bytes:
    count = {"queryCount": len(bars), "resultsCount": len(bars), "count": len(bars)}
    return (
        polygon.RECORD
        + json.dumps({"ticker": "T", "adjusted": True, "status": "OK", "results": list(bars)} | count | more)
        .replace("Infinity", "1e999")  # which is JSON
        .encode()
    )


def bar(t: int, price: float = 10.0, **more: Any) -> dict[str, Any]:
    return {"t": t, "o": price, "h": price, "l": price, "c": price, "v": 100} | more


def parsed(*pages: bytes, timespan: str = "day") -> pd.DataFrame:
    return polygon.parse_bars(b"".join(pages), ticker="T", timespan=timespan, adjusted=True, before=NOW)


# --- the envelopes that were recorded, or that the official client tests itself with --------------------------


def recorded_bars(name: str, ticker: str, timespan: str = "day") -> pd.DataFrame:
    body = polygon.RECORD + fixture(name)
    return polygon.parse_bars(body, ticker=ticker, timespan=timespan, adjusted=True, before=NOW)


def test_a_recorded_week_of_bars_is_read_to_the_digit():
    frame = recorded_bars("aggs_AAPL_1_day_*.json", "AAPL")
    assert list(frame.columns) == [*PRICES, "volume", "vwap", "trades"]
    assert [str(day.date()) for day in frame.index][:2] == ["2023-01-03", "2023-01-04"]
    # as written in the recording; the volume stands there as 1.12117471e+08
    assert frame.iloc[0].tolist() == [130.28, 130.9, 124.17, 125.07, 112117471.0, 125.725, 1021065.0]


def test_a_delayed_bar_is_a_bar():
    frame = recorded_bars("aggs_NVDA_*DELAYED.json", "NVDA")
    assert frame.loc["2024-10-14", "close"] == 138.07


def test_a_recorded_minute_stands_at_its_start_in_utc():
    frame = recorded_bars("aggs_AAPL_1_minute_*.json", "AAPL", "minute")
    assert len(frame) == 10
    assert frame.index.name == "time"
    assert str(frame.index[0]) == "2023-07-31 08:00:00+00:00"  # t 1690790400000, four in the morning in New York


def test_a_session_is_the_new_york_date_on_both_sides_of_a_clock_change():
    # the official client's own example: Friday 1112331600000 is 05:00Z, Monday 1112587200000 is 04:00Z
    frame = recorded_bars("v2__aggs__ticker__AAPL__range*.json", "AAPL")
    assert [str(day.date()) for day in frame.index] == ["2005-04-01", "2005-04-04"]


def test_the_last_bar_alone_is_a_page_of_bars():
    assert len(recorded_bars("v2__aggs__ticker__AAPL__prev.json", "AAPL")) == 1
    with pytest.raises(ProviderError, match="rule ticker"):
        recorded_bars("v2__aggs__grouped*.json", "AAPL")  # bars of every share say no ticker


def test_recorded_quotes_keep_every_nanosecond_and_join_over_pages():
    body = b"".join(polygon.RECORD + fixture(n) for n in ("v3__quotes__AAPL.json", "v3__quotes__AAPL--cursor*.json"))
    frame = tables.parse_table(body, kind="quotes", ticker="AAPL")
    sent = [r["sip_timestamp"] for p in polygon.split_pages(body) for r in json.loads(p)["results"]]
    assert frame.index.asi8.tolist() == sorted(sent)
    assert 1652191872690661000 in frame.index.asi8
    assert (frame["ask_price"] >= frame["bid_price"]).all()


def test_recorded_lists_and_objects_are_read():
    body = b"".join(
        polygon.RECORD + fixture(n) for n in ("v3__reference__tickers.json", "v3__reference__tickers--cursor*.json")
    )
    listed = tables.parse_table(body, kind="tickers", ticker=None)
    assert list(listed.index) == ["A", "AA", "AAA", "AAAU"]
    assert listed.loc["AA", "cik"] == "0001675149"
    for name, kind, column, value in (
        ("v3__reference__tickers__AAPL.json", "details", "list_date", "1980-12-12"),
        ("v2__snapshot*AAPL.json", "snapshot", "lastQuote.t", 1651251948407646487),
        ("v1__marketstatus__now.json", "status", "market", "extended-hours"),
    ):
        ticker = None if kind == "status" else "AAPL"
        frame = tables.parse_object(polygon.RECORD + fixture(name), kind=kind, ticker=ticker)
        assert frame[column][0] == value


# Each envelope that is no answer to what was asked, and why.
NO_ANSWER = {
    "v3__reference__splits.json": ("splits", "AAPL", "rule ticker"),  # of every share, where one was asked for
    "401_no_key.json": ("splits", "AAPL", "API Key was not provided"),
    "403_not_entitled.json": ("splits", "AAPL", "not entitled"),
    "429_rate_limit.json": ("splits", "AAPL", "maximum requests per minute"),
    "v3__snapshot__indices*.json": ("tickers", None, "status 'None'"),
    "v3__reference__tickers__types.json": ("tickers", None, "rule ticker"),
    "v3__reference__exchanges.json": ("tickers", None, "rule ticker"),
    "v2__last__trade__AAPL.json": ("trades", "AAPL", "rule results"),
    "v1__indicators__ema*.json": ("trades", "AAPL", "rule results"),
    "v1__indicators__sma*.json": ("trades", "AAPL", "rule results"),
    "v2__snapshot*tickers__index.json": ("tickers", None, "rule results"),  # a count of one, and no results
    "v2__aggs__grouped*.json": ("trades", "AAPL", "rule sip_timestamp"),
    "v3__reference__conditions*.json": ("tickers", None, "rule ticker"),
    "v2__reference__news*.json": ("quotes", "AAPL", "rule sip_timestamp"),
    "vX__reference__financials.json": ("dividends", "AAPL", "rule ex_dividend_date"),
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_an_envelope_that_is_no_answer_is_refused_in_one_line(name):
    kind, ticker, words = NO_ANSWER[name]
    with pytest.raises(ProviderError, match=words) as caught:
        tables.parse_table(polygon.RECORD + fixture(name), kind=kind, ticker=ticker)
    assert "\n" not in str(caught.value)


# --- values ---------------------------------------------------------------------------------------------------

WINTER, SUMMER = 1672722000000, 1753761600000  # midnight in New York: 2023-01-03 05:00Z and 2025-07-29 04:00Z


def test_what_the_provider_left_out_is_missing_and_never_invented():
    bare = parsed(page(bar(WINTER)))
    assert list(bare.columns) == [*PRICES, "volume"]
    some = parsed(page(bar(WINTER, vw=9.9, n=3), bar(SUMMER)))
    assert some["vwap"].tolist()[0] == 9.9
    assert np.isnan(some["vwap"].iloc[1])
    assert np.isnan(some["trades"].iloc[1])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"c": None}, "number"),
        ({"c": "10.0"}, "number"),
        ({"o": True}, "number"),
        ({"h": [1]}, "number"),
        ({"t": 10**30}, "number"),
        ({"l": 0}, "price"),
        ({"c": 1e999}, "price"),
        ({"o": -1.5}, "price"),
        ({"vw": -1.5}, "price"),
        ({"v": -1}, "volume"),
        ({"n": -1}, "trades"),
        ({"t": WINTER // 1000}, "milliseconds"),
        ({"t": WINTER * 1000}, "milliseconds"),
        ({"t": WINTER + 0.5}, "milliseconds"),
        ({"t": int(datetime(2026, 11, 25, tzinfo=UTC).timestamp() * 1000)}, "future"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_rule(change, rule):
    good = bar(WINTER - 86_400_000)
    with pytest.raises(ProviderError, match=rf"rule {rule}\)") as caught:
        parsed(page(good, bar(WINTER) | change))
    assert "row 2" in str(caught.value) or "digits" in str(caught.value)
    assert audit.entries(kind="violation")[-1].payload["rule"] == rule


def test_volume_may_be_fractional_and_huge():
    frame = parsed(page(bar(WINTER, v=1.12117471e08), bar(SUMMER, v=0.25)))
    assert frame["volume"].tolist() == [112117471.0, 0.25]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "ERROR", "error": "something failed"}, "something failed"),
        ({"ticker": "U"}, "rule ticker"),
        ({"resultsCount": 2}, "rule count"),
        ({"results": None}, "rule results"),
        ({"results": None, "resultsCount": None}, "rule results"),
        ({"results": [1]}, "rule results"),
        ({"adjusted": False}, "rule adjusted"),
    ],
)
def test_an_envelope_must_hold_what_it_says(change, words):
    with pytest.raises(ProviderError, match=words):
        parsed(page(bar(WINTER), **change))


def test_no_results_are_an_answer_only_under_a_count_of_zero():
    empty = page(results=None)
    assert parsed(empty).empty
    with pytest.raises(ProviderError, match="rule results"):
        parsed(page(results=None, resultsCount=3))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_order_pages_and_repetition_do_not_matter(days, random):
    """However the same bars are dealt over pages, doubled or shuffled, the frame is the same."""
    bars = [bar(WINTER + 86_400_000 * day, 1.0 + day) for day in days]
    once = sorted({b["t"]: b for b in bars}.values(), key=lambda b: b["t"])
    random.shuffle(bars)
    cut = random.randint(0, len(bars))
    mixed = parsed(page(*bars[:cut]), page(*bars[cut:]), timespan="minute")
    pd.testing.assert_frame_equal(mixed, parsed(page(*once), timespan="minute"))


def of(ticker: str, *times: str, timespan: str = "day") -> pd.DataFrame:
    """Bars that begin at these times (UTC), as read on the evening of Monday 23 November 2026 in New York."""
    stamps = [int(pd.Timestamp(t, tz="UTC").timestamp() * 1000) for t in times]
    body = page(*map(bar, stamps), ticker=ticker)
    return polygon.parse_bars(body, ticker=ticker, timespan=timespan, adjusted=True, before=NOW)


@pytest.mark.parametrize("ticker", ["X:BTCUSD", "C:EURUSD"])
def test_the_day_of_a_currency_is_that_of_utc(ticker):
    # as in the provider's own examples: 1626912000000 is midnight in UTC, 1590984000000 midnight in New York
    frame = of(ticker, "2020-06-01 04:00", "2021-01-04 05:00", "2021-07-22")
    assert [str(day.date()) for day in frame.index] == ["2020-06-01", "2021-01-04", "2021-07-22"]
    with pytest.raises(ProviderError, match=r"from 2021-07-22 21:00:00\+00:00, which is no midnight \(rule session\)"):
        of(ticker, "2021-07-22", "2021-07-22 21:00")


@pytest.mark.parametrize(
    ("timespan", "times", "over"),
    [  # read at midnight in UTC, 19:00 of Monday 23 November in New York
        ("day", ["2026-11-20 05:00", "2026-11-23 05:00"], ["2026-11-20"]),
        ("2 day", ["2026-11-18 05:00", "2026-11-20 05:00", "2026-11-22 05:00"], ["2026-11-18", "2026-11-20"]),
        ("week", ["2026-11-15 05:00", "2026-11-22 05:00"], ["2026-11-15"]),
        ("month", ["2026-10-01 04:00", "2026-11-01 04:00"], ["2026-10-01"]),
        ("quarter", ["2026-07-01 04:00", "2026-10-01 04:00"], ["2026-07-01"]),
        ("minute", ["2026-11-23 23:59", "2026-11-24 00:00"], ["2026-11-23 23:59"]),
        ("15 minute", ["2026-11-23 23:45", "2026-11-23 23:50"], ["2026-11-23 23:45"]),
        ("hour", ["2026-11-23 23:00", "2026-11-23 23:30"], ["2026-11-23 23:00"]),
    ],
)
def test_a_bar_that_is_not_over_is_left_out(timespan, times, over):
    zone = None if timespan.split()[-1] in ("day", "week", "month", "quarter") else "UTC"
    assert of("T", *times, timespan=timespan).index.tolist() == [pd.Timestamp(t, tz=zone) for t in over]


def test_the_day_of_a_currency_is_over_at_midnight_in_utc():
    assert [str(day.date()) for day in of("X:BTCUSD", "2026-11-23", "2026-11-24").index] == ["2026-11-23"]


def test_what_was_left_out_is_said():
    frames = [polygon.check_bars(json.loads(page(bar(WINTER), bar(WINTER + 60_000))[1:]), ticker="T")]
    _, said = polygon.assembled(frames, ticker="T", timespan="minute", before="2023-01-03T05:01:30+00:00")
    assert said == "without the minute from 2023-01-03 05:01:00+00:00, which was not over"


def test_two_bars_of_one_session_that_differ_are_refused_even_at_other_times():
    with pytest.raises(ProviderError, match="two different bars of T at 2023-01-03"):
        parsed(page(bar(WINTER)), page(bar(WINTER + 3_600_000, 11.0)))


# --- the wire -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        *(("null", "number"), ("string", "number"), ("missing_field", "number")),
        *(("negative", "price"), ("zero", "price"), ("negative_volume", "volume")),
        *(("seconds", "milliseconds"), ("future", "future"), ("conflict", "duplicate")),
        *(("wrong_ticker", "ticker"), ("count", "count"), ("no_results", "results"), ("results_null", "results")),
    ],
)
def test_a_fault_in_the_answer_is_one_line_with_its_rule_and_is_not_kept(replay: Replay, fault, words):
    replay.fault(fault, path=AGGS)
    with pytest.raises(ProviderError, match=rf"rule {words}\)"):
        daily()
    assert [e.payload["rule"] for e in audit.entries(kind="violation")] == [words]
    assert audit.entries(kind="admit") == []
    asked = len(replay.log)
    assert len(daily().frame) == 250  # asked again and well: nothing wrong was kept
    assert len(replay.log) == asked + 1


def test_bars_of_another_span_than_was_asked_for_are_refused(replay: Replay):
    path = f"{AGGS}/AAPL/range/1/{{}}/2012-01-03/2012-12-31"
    for timespan in ("day", "minute"):
        replay.canned[path.format(timespan)] = json.loads(page(bar(WINTER))[1:]) | {"ticker": "AAPL"}
        with pytest.raises(ProviderError, match=r"outside 2012-01-03 to 2012-12-31 \(rule span\)"):
            daily(timespan=timespan, adjusted=True)


def test_an_error_that_comes_with_status_200_is_an_error(replay: Replay):
    replay.fault("status_error", path=AGGS)
    with pytest.raises(ProviderError, match="status 'ERROR': something failed"):
        daily()


@pytest.mark.parametrize(
    ("fault", "note"),
    [("delayed", "DELAYED"), ("duplicate", "1 identical duplicates dropped"), ("unsorted", "sent out of order at 1")],
)
def test_what_can_be_lived_with_gives_the_same_bars_and_a_note(replay: Replay, fault, note, monkeypatch, tmp_path):
    replay.fault(fault, path=AGGS)
    found = daily()
    assert note in found.provenance.note
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "clean"))
    assert found.fingerprint() == daily().fingerprint()


@pytest.mark.parametrize(
    ("fault", "rule"),
    [("weekend", "weekend"), ("gap", "gap"), ("high_below_low", "ohlc"), ("spike", "spike"), ("split", "split")],
)
def test_what_only_the_neighbors_can_tell_is_left_to_quality(replay: Replay, fault, rule):
    replay.fault(fault, path=AGGS)
    found = quality(daily())
    assert rule in {f.rule for f in found.findings}


def test_a_split_that_was_not_adjusted_contradicts_the_splits(replay: Replay):
    replay.fault("split", path=AGGS)
    with pytest.raises(Refused, match=r"split adjustment of AAPL differs from the provider's on 125 of 250 sessions"):
        market.bars("AAPL", start="2012-01-03", end="2012-12-31")


def test_pages_are_joined_and_every_byte_is_under_the_hash(replay: Replay, monkeypatch):
    whole = daily()
    monkeypatch.setattr(polygon, "PAGE", 100)
    asked = len(replay.log)
    paged = daily(kind="again")
    assert len(replay.log) == asked + 3
    pd.testing.assert_frame_equal(paged.frame, whole.frame)
    assert "3 pages" in paged.provenance.note
    replies = list(client.pages("polygon", f"{AGGS}/AAPL/range/1/day/2012-01-03/2012-12-31",
                              {"adjusted": False, "sort": "asc", "limit": 100}))  # fmt: skip
    assert all(reply.cached for reply in replies)
    assert paged.provenance.body_sha256 == sha256(b"".join(b"\x1e" + r.body for r in replies)).hexdigest()
    assert paged.provenance.retrieved_at == min(r.retrieved_at for r in replies)


def test_pages_that_lead_back_are_cut_short(replay: Replay):
    replay.fault("next_loop", path=AGGS, times=None)
    with pytest.raises(ProviderError, match="do not end"):
        daily()
    assert len(replay.log) <= 3


def test_pages_that_repeat_themselves_under_new_addresses_are_cut_short(replay: Replay, monkeypatch):
    monkeypatch.setitem(
        faults.FAULTS, "again", faults.onward(lambda s: f"{s.url.partition('&x')[0]}&x={len(replay.log)}")
    )
    replay.fault("again", path=AGGS, times=None)
    with pytest.raises(ProviderError, match=r"do not end \(2 so far\)"):
        daily()


def test_pages_that_bring_a_bar_each_end_where_the_span_cannot_hold_more(replay: Replay, monkeypatch):
    def endless(sent: faults.Sent) -> faults.Sent:
        n = len(replay.log)
        rows = [bar(1325602800000 + 60_000 * n)]  # from 2012-01-03 15:00Z on, a minute a page
        more = {"next_url": f"{replay.url}{AGGS}/AAPL/range/1/minute/{n}/2012-01-04?cursor=", "resultsCount": 1}
        return replace(sent, document={"ticker": "AAPL", "status": "OK", "results": rows} | more)

    monkeypatch.setitem(faults.FAULTS, "endless", endless)
    replay.fault("endless", path=AGGS, times=None)
    with pytest.raises(ProviderError, match="do not end"):
        daily(start="2012-01-03", end="2012-01-04", timespan="minute")
    assert len(replay.log) == 11  # two days hold 2,880 minutes, which is one page, and ten are let go besides


# --- pages of two days ----------------------------------------------------------------------------------------


def kept_the_day_before(first: bool) -> None:
    """The kept answer with (or without) a next page came a minute before midnight in New York."""
    midnight = pd.Timestamp.now(tz="America/New_York").normalize()
    [key] = [address for address, _, _ in cache.held() if ("/2012-01-03/" in address) is first]
    [sha] = store.noted_answers(key)
    gate.note_answer(key, sha, (midnight - pd.Timedelta(minutes=1)).tz_convert("UTC").isoformat())


def test_pages_of_two_days_are_never_joined(replay: Replay, monkeypatch):
    """After a kill, say: a split came into force over night, and only the second page would know."""
    monkeypatch.setattr(polygon, "PAGE", 125)
    whole = daily()
    assert len(replay.log) == 2
    kept_the_day_before(first=True)
    assert daily().frame.equals(whole.frame)
    assert len(replay.log) == 3  # the first page again; the second is of today
    kept_the_day_before(first=False)
    daily()
    assert len(replay.log) == 4
    kept_the_day_before(first=True)
    monkeypatch.setenv("MLTRAINER_OFFLINE", "1")
    with pytest.raises(Unavailable, match="between which splits and corrections may lie"):
        daily()
    assert len(replay.log) == 4


# --- what was refused as a whole is not kept ------------------------------------------------------------------


def contradict(sent: faults.Sent) -> faults.Sent:
    """The second page begins with the last session of the first, at another price."""
    document = sent.document
    first = document["results"][0]
    before = first | {"t": first["t"] - 86_400_000, "c": first["c"] + 1, "h": first["h"] + 1}
    rows = [before, *document["results"]] if "/2012-01-03/" not in sent.url else document["results"]
    return replace(sent, document=document | {"results": rows, "resultsCount": len(rows)})


def two_splits(sent: faults.Sent) -> faults.Sent:
    row = {"ticker": "AAPL", "execution_date": "2012-06-01", "split_from": 1}
    return replace(sent, document=sent.document | {"results": [row | {"split_to": 2}, row | {"split_to": 7}]})


@pytest.mark.parametrize(
    ("fault", "path", "words"),
    [
        ("next_host", f"{AGGS}/AAPL", "next page"),
        ("next_path", f"{AGGS}/AAPL", "next page"),
        ("next_loop", f"{AGGS}/AAPL", "do not end"),
        ("contradict", f"{AGGS}/AAPL", "two different bars"),
        ("two_splits", "/stocks/v1/splits", "two different splits"),
        ("split", f"{AGGS}/AAPL", "split adjustment of AAPL differs"),
    ],
)
def test_an_answer_that_was_refused_is_asked_for_again_once_the_provider_is_well(
    replay: Replay, monkeypatch, fault, path, words
):
    monkeypatch.setattr(polygon, "PAGE", 126)
    for made in (contradict, two_splits):
        monkeypatch.setitem(faults.FAULTS, made.__name__, made)
    replay.fault(fault, path=path, times=None if fault in ("contradict", "next_loop") else 1)
    with pytest.raises((ProviderError, Refused), match=words):
        market.bars("AAPL", start="2012-01-03", end="2012-12-31")
    assert all(path.startswith("/stocks") for path in map(address, cache.held())) or fault == "two_splits"
    replay.heal()
    assert len(market.bars("AAPL", start="2012-01-03", end="2012-12-31").frame) == 250


def address(row: tuple[str, int, str]) -> str:
    return urlsplit(row[0]).path


def test_a_page_that_breaks_off_leaves_those_before_it(replay: Replay, monkeypatch):
    monkeypatch.setattr(polygon, "PAGE", 125)
    cut = lambda s: s if "/2012-01-03/" in s.url else faults.FAULTS["truncated"](s)  # noqa: E731
    monkeypatch.setitem(faults.FAULTS, "cut", cut)
    replay.fault("cut", path=AGGS, times=None)
    with pytest.raises(ProviderError, match="no JSON"):
        daily()
    replay.heal()
    asked = len(replay.log)
    daily()
    assert len(replay.log) == asked + 1


@pytest.mark.parametrize("fault", ["next_host", "next_scheme", "next_user", "next_path"])
def test_a_next_page_elsewhere_is_refused(replay: Replay, fault):
    replay.fault(fault, path=AGGS)
    with pytest.raises(Refused, match="next page"):
        daily()


def test_provenance_holds_the_question_and_never_the_key(replay: Replay):
    found = daily("MSFT", "2012-01-01", "2012-02-05")
    origin = gate.verify(found, "test")
    assert (origin.source, origin.mode, origin.http_status) == ("replay", "replay", 200)
    assert origin.endpoint.endswith("/v2/aggs/ticker/MSFT/range/1/day/2012-01-01/2012-02-05")
    assert origin.parameters["adjusted"] == "False"
    assert "asked for 2012-01-01 to 2012-02-05, holds 2012-01-03 to 2012-02-03" in origin.note
    assert POLYGON_KEY not in origin.to_json()


def test_no_bars_are_one_clear_line(replay: Replay):
    with pytest.raises(NotEnoughHistory, match="Polygon has no day bars of NOPE from 2012-01-03 to 2012-12-31"):
        daily("NOPE")


def test_a_plan_that_does_not_hold_it_says_so_in_the_providers_words(replay: Replay):
    replay.fault("403_timeframe", path=AGGS)
    with pytest.raises(NotEntitled, match="Your plan doesn't include this data timeframe"):
        daily()


HOSTILE = ["../../x", "A/../B", "A\nB", "A'B", 'A"B', "A B", "", ".", "А", "A" * 10_000, "A?apiKey=x", "A%2f", None, 7]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_ticker_is_one_short_line_and_nothing_is_sent(replay: Replay, name):
    for ask in (market.bars, market.actions, market.snapshot, market.details):
        with pytest.raises(BadInput, match="cannot be a ticker") as caught:
            ask(name)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)
    assert replay.log == []


@pytest.mark.parametrize("timespan", ["fortnight", "0 minute", "minute/../x", "99999 minute", ""])
def test_an_unknown_timespan_is_one_line_and_nothing_is_sent(replay: Replay, timespan):
    with pytest.raises(BadInput, match="timespan"):
        market.bars("MSFT", timespan=timespan)
    assert replay.log == []


# --- tables ---------------------------------------------------------------------------------------------------


def test_splits_and_dividends_come_from_the_superseded_address_where_the_present_one_is_closed(replay: Replay):
    now = [dataset.frame for dataset in market.actions("AAPL")]
    for fault in ("404", "403"):
        replay.fault(fault, path="/stocks/v1", times=None)
        splits = tables.table("splits", "MSFT" if fault == "404" else "IBM")
        assert "superseded /v3/reference/splits" in splits.provenance.note
        replay.heal()
    replay.fault("404", path="/stocks/v1", times=None)
    before = [tables.table(kind, "GOOG") for kind in ("splits", "dividends")]
    assert [list(dataset.frame.columns) for dataset in before] == [list(frame.columns) for frame in now]
    assert now[0].index.astype(str).tolist() == ["2000-06-21", "2005-02-28"]


def test_when_both_addresses_are_closed_the_first_one_is_heard(replay: Replay):
    replay.fault("403", path="/stocks/v1", times=None)
    replay.fault("404", path="/v3/reference", times=None)
    with pytest.raises(NotEntitled, match="not entitled"):
        tables.table("splits", "AAPL")


def test_a_share_without_splits_has_an_empty_table_of_the_same_columns(replay: Replay):
    splits, dividends = market.actions("GOOG")
    assert splits.frame.empty
    assert list(splits.frame.columns) == ["split_from", "split_to", "adjustment_type"]
    assert gate.verify(dividends, "test").kind == "dividends"


SPLIT = {"ticker": "T", "execution_date": "2020-08-31", "split_from": 1, "split_to": 4}
PAID = {"ticker": "T", "ex_dividend_date": "2020-08-07", "cash_amount": 0.82, "currency": "USD", "frequency": 4}


def rows(kind: str, *found: dict[str, Any]) -> pd.DataFrame:
    body = polygon.RECORD + json.dumps({"status": "OK", "results": list(found)}).encode()
    return tables.parse_table(body, kind=kind, ticker="T")


@pytest.mark.parametrize(
    ("kind", "row", "rule"),
    [
        ("splits", SPLIT | {"execution_date": "2020-02-30"}, "execution_date"),
        ("splits", SPLIT | {"execution_date": None}, "execution_date"),
        ("splits", SPLIT | {"split_from": 0}, "split_from"),
        ("splits", SPLIT | {"split_to": "4"}, "split_to"),
        ("splits", SPLIT | {"ticker": "U"}, "ticker"),
        ("dividends", PAID | {"cash_amount": -0.82}, "cash_amount"),
        ("dividends", PAID | {"pay_date": "soon"}, "pay_date"),
        ("trades", {"sip_timestamp": 1652191872690, "price": 1.0, "size": 1}, "sip_timestamp"),
        ("trades", {"sip_timestamp": 1652191872690661000, "price": 0, "size": 1}, "price"),
    ],
)
def test_a_row_that_cannot_be_refuses_the_answer(kind, row, rule):
    with pytest.raises(ProviderError, match=rf"rule {rule}\)"):
        rows(kind, row)


def test_an_action_that_was_sent_twice_counts_once_and_two_splits_of_one_day_are_refused():
    assert len(rows("splits", SPLIT | {"id": "a"}, SPLIT | {"id": "b"})) == 1
    two = rows("dividends", PAID, PAID | {"cash_amount": 1.0})  # a special dividend on the same day is another one
    assert two["cash_amount"].tolist() == [0.82, 1.0]
    with pytest.raises(ProviderError, match="two different splits on 2020-08-31"):
        rows("splits", SPLIT, SPLIT | {"split_to": 7})


@pytest.mark.parametrize("number", ["1e999", "1" + "0" * 400])
def test_a_number_beyond_all_numbers_is_refused(number):
    text = json.dumps({"status": "OK", "results": [SPLIT | {"split_from": "X"}]}).replace('"X"', number)
    with pytest.raises(ProviderError, match=r"rule split_from\)"):
        tables.parse_table(polygon.RECORD + text.encode(), kind="splits", ticker="T")


def test_a_dividend_that_came_again_with_another_pay_date_is_paid_once():
    dates = {"declaration_date": "2020-07-30", "pay_date": "2020-08-13"}
    assert len(rows("dividends", PAID | dates, PAID | dates | {"pay_date": "2020-08-14"})) == 1
    document = {"status": "OK", "results": [PAID | dates, PAID]}
    pages = [tables.check_table(document, kind="dividends", ticker="T")]
    assert tables.tabled(pages, "dividends")[1] == "1 dividends of the same day, cash and kind dropped"
    assert len(rows("dividends", PAID, PAID | {"distribution_type": "special"})) == 2


def test_trades_and_quotes_are_admitted_where_the_plan_has_them(replay: Replay):
    trade = {"sip_timestamp": 1517562000016036600, "price": 171.55, "size": 100, "exchange": 11, "conditions": [12, 41]}
    replay.canned["/v3/trades/AAPL"] = {"status": "OK", "results": [trade]}
    found = market.trades("AAPL", "2018-02-02")
    assert str(found.frame.index[0]) == "2018-02-02 09:00:00.016036600+00:00"
    assert found.frame["conditions"].tolist() == ["[12, 41]"]
    assert gate.verify(found, "test").parameters["timestamp"] == "2018-02-02"
    replay.fault("403", path="/v3/quotes")
    with pytest.raises(NotEntitled):
        market.quotes("AAPL", "2018-02-02")


def test_the_reference_list_is_the_one_of_that_day(replay: Replay):
    assert "GOOG" in market.tickers()
    assert "GOOG" not in market.tickers(day="2003-01-02")  # first sold on 2004-08-19
    gone = {"ticker": "LEH", "name": "Lehman Brothers", "active": False, "delisted_utc": "2008-09-17T00:00:00Z"}
    replay.canned["/v3/reference/tickers"] = {"status": "OK", "results": [gone]}
    assert "LEH" in market.tickers(day="2009-01-02", inactive=True)
    assert replay.log[-1].params["active"] == "false"


def test_details_snapshot_and_status_are_admitted_as_one_row(replay: Replay):
    assert market.details("MSFT", day="2010-01-04").frame["name"][0] == "Microsoft"
    assert market.snapshot("IBM").frame["day.c"][0] == 202.91  # the last close of the packaged file
    assert market.market_status().frame["market"][0] == "closed"
    replay.fault("404", path="/v3/reference/tickers/NOPE")
    with pytest.raises(ProviderError, match="Ticker not found"):
        market.details("NOPE")


# --- the official client --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timespan", "adjusted"), [("day", True), ("day", False), ("week", True), ("month", True)])
def test_the_official_client_reads_the_same_numbers_from_the_same_pages(
    replay: Replay, monkeypatch, timespan, adjusted
):
    monkeypatch.setattr(polygon, "PAGE", 300)
    start, end = "2005-01-03", "2006-06-30"  # with a split in the first quarter
    ours = daily("AAPL", start, end, timespan=timespan, adjusted=adjusted, kind=f"{timespan} bars").frame
    paths, asked = replay.paths(), len(replay.log)
    client = RESTClient(POLYGON_KEY, base=replay.url)
    theirs = list(client.list_aggs("AAPL", 1, timespan, start, end, adjusted=adjusted, sort="asc", limit=300))
    assert [p.split("?")[0] for p in replay.paths()[asked:]] == paths  # page by page
    assert len(theirs) == len(ours)
    for column in (*PRICES, "volume"):
        assert [getattr(a, column) for a in theirs] == ours[column].tolist()
    stamps = pd.to_datetime([a.timestamp for a in theirs], unit="ms", utc=True)
    assert stamps.tz_convert("America/New_York").tz_localize(None).tolist() == ours.index.tolist()


def test_the_official_client_knows_the_same_splits(replay: Replay):
    theirs = RESTClient(POLYGON_KEY, base=replay.url).list_splits("AAPL", sort="execution_date", order="asc")
    ours = market.actions("AAPL")[0].frame
    assert [(s.execution_date, s.split_from, s.split_to) for s in theirs] == [
        (f"{day:%Y-%m-%d}", row.split_from, row.split_to) for day, row in ours.iterrows()
    ]
