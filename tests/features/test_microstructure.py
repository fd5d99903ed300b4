"""Liquidity estimates against the estimator's own package, and against cases whose answer is known by hand."""

import bidask
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.errors import BadInput, Refused
from mltrainer.features.indicators import INDICATORS, read
from mltrainer.features.macro import MACRO, MARKET
from mltrainer.features.matrix import build
from mltrainer.features.microstructure import (
    QUOTES,
    amihud,
    amihud_ratio,
    by_session,
    corwin_schultz,
    edge_spread,
    order_imbalance,
)
from mltrainer.trust.provenance import Dataset


def bars_of(close: list[float], volume: list[float] | float = 1.0, high: float = np.nan, low: float = np.nan):
    index = pd.bdate_range("2004-01-01", periods=len(close))
    frame = pd.DataFrame({"close": close, "volume": volume, "high": high, "low": low}, index=index)
    return read(frame.dropna(axis=1))


def test_edge_is_the_estimate_of_its_own_package_on_each_window(msft):
    spread = edge_spread(read(msft), 21)
    ohlc = msft[["open", "high", "low", "close"]]
    for end in (21, 500, 1777, 3270):
        window = (ohlc.iloc[end - 21 : end][name].round(9) for name in ohlc)
        assert spread[end - 1] == pytest.approx(bidask.edge(*window), rel=1e-5)


def test_edge_does_not_take_rounding_of_adjusted_prices_for_a_price_change(msft):
    # The close of the file and close x factor differ in the last bit; either way it is the same price.
    nudged = msft.assign(close=np.nextafter(msft["close"], np.inf))
    np.testing.assert_allclose(edge_spread(read(nudged), 21), edge_spread(read(msft), 21), rtol=1e-6, atol=1e-9)


def test_corwin_schultz_takes_a_constant_range_for_the_spread_itself():
    # Bounce between 99 and 101 without volatility: beta = 2a^2, gamma = a^2, alpha = a = ln(101/99), so
    # S = 2 (101 - 99) / (101 + 99) = 0.02 exactly.
    spread = corwin_schultz(bars_of([100.0] * 30, high=101.0, low=99.0), 21)
    assert np.isnan(spread[:21]).all()
    assert spread[21:] == pytest.approx(0.02)


def test_corwin_schultz_is_zero_when_all_range_is_movement():
    # Each session covers 1 % above the last without overlap: the two-session range is twice the daily one.
    steps = np.exp(0.01 * np.arange(30))
    index = pd.bdate_range("2004-01-01", periods=30)
    frame = pd.DataFrame({"low": 100 * steps, "high": 101 * steps, "close": 101 * steps}, index=index)
    assert corwin_schultz(read(frame), 5)[5:] == pytest.approx(0.0)


def test_amihud_is_the_mean_return_per_dollar_over_the_sessions_that_traded():
    # |ln 2| at 200 x 10 dollars, |ln 1/2| at 100 x 5, and a session without volume that does not count.
    impact = amihud(bars_of([100.0, 200.0, 100.0, 100.0], [1.0, 10.0, 5.0, 0.0]), 3)
    assert impact[3] == pytest.approx((np.log(2) / 2000 + np.log(2) / 500) / 2)
    assert np.isnan(impact[:3]).all()


def test_amihud_ratio_is_zero_while_liquidity_stays_and_ln_two_when_volume_halves_for_the_short_window():
    close = [100.0, 101.0] * 150
    steady = bars_of(close, 50.0)
    money = [50.0 / c for c in close]
    assert amihud_ratio(steady, 20, 40)[-1] == pytest.approx(0.0)
    thin = bars_of(close, [*money[:-20], *(m / 2 for m in money[-20:])])
    # 20 sessions at twice the impact, the 40-session mean at 1.5 times: ln(2 / 1.5).
    assert amihud_ratio(thin, 20, 40)[-1] == pytest.approx(np.log(2 / 1.5))


def test_order_imbalance_is_plus_one_after_a_rise_beyond_doubt_and_weighs_by_volume():
    rng = np.random.default_rng(1)
    returns = np.append(rng.normal(0, 1e-6, 100), [0.5, -0.5])
    close = list(100 * np.exp(np.cumsum(returns)))
    volume = [1.0] * 100 + [30.0, 10.0]
    flow = order_imbalance(bars_of(close, volume), 2)
    # One return of 0.5 among 63 has z = sqrt(62) = 7.9, hence bought = 1; two opposite ones have z = +-5.6.
    assert flow[-1] == pytest.approx((30 - 10) / 40, abs=1e-6)


def test_windows_without_trade_say_nothing():
    idle = bars_of([100.0, 101.0] * 60, 0.0)
    assert np.isnan(order_imbalance(idle, 21)).all()
    assert np.isnan(amihud(idle, 21)).all()


# --- quotes ---------------------------------------------------------------------------------------------------

# Four quotes of one summer morning, 13:30Z = 9:30 in New York: bid, ask, bid size, ask size, and when.
MORNING = [
    ("2023-07-31 13:30:00.000000000", 99.0, 101.0, 3.0, 1.0),
    ("2023-07-31 13:30:01.000000000", 99.5, 100.5, 1.0, 1.0),  # stood one second after the first
    ("2023-07-31 13:30:04.000000000", 99.5, 100.5, 2.0, 4.0),  # stood three
    ("2023-07-31 13:30:04.000000001", 99.0, 100.5, 5.0, 4.0),  # stood a nanosecond; its own end is not known
]


def quotes_of(rows: list[tuple[str, float, float, float, float]] = MORNING, zone: str | None = "UTC") -> pd.DataFrame:
    index = pd.DatetimeIndex([pd.Timestamp(row[0]) for row in rows], tz=zone, name="time").as_unit("ns")
    return pd.DataFrame(
        [row[1:] for row in rows], index, ["bid_price", "ask_price", "bid_size", "ask_size"], dtype=float
    )


def test_spread_and_depth_are_weighted_by_how_long_a_quote_stood():
    said = by_session(quotes_of()).loc["2023-07-31"]
    # 2 % for one second, 1 % for three, and 1 % for the nanosecond that does not show
    assert said["quoted_spread"] == pytest.approx((1 * 0.02 + 3 * 0.01) / 4, rel=1e-8)
    # (3 - 1) / 4 for one second, 0 for three, (2 - 4) / 6 for a nanosecond
    assert said["depth_imbalance"] == pytest.approx((1 * 0.5 + 3 * 0.0) / 4, rel=1e-8)
    assert (said["quotes"], said["left_out"]) == (4, 0)


def test_order_flow_by_hand():
    # 2nd quote: bid up, +1; ask down, -1: 0. 3rd: both stay, bid 2 - 1 = +1, ask 1 - 4 = -3: -2.
    # 4th: bid down, -2; ask stays at 4 and 4: -2. In all (0 - 2 - 2) over (0 + 2 + 2).
    assert by_session(quotes_of())["order_flow_imbalance"].iloc[0] == pytest.approx(-1.0)
    # with a bid that is raised by 6 shares first: 0 -> bid up +6, ask down -1 = +5; then 2 - 6 - 3 = -7; then -2
    raised = quotes_of()
    raised.iloc[1, 2] = 6.0
    assert by_session(raised)["order_flow_imbalance"].iloc[0] == pytest.approx((5 - 7 - 2) / (5 + 7 + 2))


def test_a_session_is_new_yorks_in_both_halves_of_the_year_and_ends_at_four():
    rows = [
        ("2023-01-31 14:29:59", 1.0, 2.0, 1.0, 1.0),  # 9:29:59 in winter: before the opening
        ("2023-01-31 14:30:00", 9.9, 10.1, 1.0, 1.0),
        ("2023-01-31 20:59:59", 9.9, 10.1, 1.0, 1.0),
        ("2023-01-31 21:00:00", 1.0, 2.0, 1.0, 1.0),  # the close of the session is past
        ("2023-07-31 13:30:00", 9.8, 10.2, 1.0, 1.0),
        ("2023-07-31 19:59:59", 9.8, 10.2, 1.0, 1.0),
        ("2023-07-31 20:00:00", 1.0, 2.0, 1.0, 1.0),
    ]
    for zone in ("UTC", None):  # without a zone they are UTC
        said = by_session(quotes_of(rows, zone))
        assert [str(day.date()) for day in said.index] == ["2023-01-31", "2023-07-31"]
        assert list(said["quotes"]) == [2, 2]
        assert list(said["quoted_spread"]) == pytest.approx([0.02, 0.04])


def test_quotes_that_are_none_are_left_out_and_counted():
    rows = [
        *MORNING[:2],
        ("2023-07-31 13:30:02", 100.6, 100.5, 1.0, 1.0),  # crossed
        ("2023-07-31 13:30:03", 0.0, 100.5, 0.0, 1.0),  # nobody bids
        *MORNING[2:],
    ]
    said, clean = by_session(quotes_of(rows)), by_session(quotes_of())
    assert (said["quotes"].iloc[0], said["left_out"].iloc[0]) == (4, 2)
    pd.testing.assert_frame_equal(said.iloc[:, :3], clean.iloc[:, :3])


def test_a_session_of_one_quote_or_of_none_that_is_usable_says_nothing():
    rows = [*MORNING[:1], ("2023-08-01 13:30:00", 2.0, 1.0, 1.0, 1.0), ("2023-08-02 13:30:00", 2.0, 1.0, 1.0, 1.0)]
    said = by_session(quotes_of(rows))
    assert said.iloc[:, :3].isna().all(axis=None)
    assert list(said["left_out"]) == [0, 1, 1]
    assert by_session(quotes_of(MORNING[:1]).iloc[:0]).empty


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda q: q.drop(columns=["bid_price", "ask_size"]), "have no bid_price, ask_size"),
        (lambda q: q.iloc[::-1], "not in ascending order"),
        (lambda q: q.reset_index(drop=True), "not in ascending order"),
    ],
)
def test_quotes_that_cannot_be_read_are_said_so(spoil, said):
    with pytest.raises(BadInput, match=said):
        by_session(spoil(quotes_of()))


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 10**14), *[st.floats(0.01, 1e3)] * 4), min_size=1, max_size=30),
    st.integers(1, 29),
)
def test_imbalances_lie_between_minus_one_and_one_and_later_quotes_move_no_earlier_session(drawn, cut):
    start = pd.Timestamp("2023-07-31 13:30", tz="UTC").value
    drawn = sorted(drawn)
    index = pd.DatetimeIndex([start + t for t, *_ in drawn], tz="UTC")
    quotes = pd.DataFrame([v for _, *v in drawn], index, ["bid_price", "ask_price", "bid_size", "ask_size"])
    said = by_session(quotes)
    for name in ("depth_imbalance", "order_flow_imbalance"):
        assert said[name].dropna().between(-1 - 1e-9, 1 + 1e-9).all()
    assert not (said["quoted_spread"] < 0).any()
    later = quotes.copy()
    later.iloc[cut:] *= 3.0
    today = quotes.index[min(cut, len(quotes) - 1)].tz_convert("America/New_York").tz_localize(None).normalize()
    pd.testing.assert_frame_equal(by_session(later)[said.index < today], said[said.index < today], check_exact=True)


def two_years_of_quotes(sessions: pd.DatetimeIndex) -> pd.DataFrame:
    rows = [
        (f"{day.date()} {time}", price - 0.01, price + 0.01, 1.0 + i % 3, 1.0)
        for i, day in enumerate(sessions)
        for time, price in (("15:00", 25.0), ("16:00", 26.0))
    ]
    return quotes_of(rows)


@pytest.fixture(scope="module")
def bars(msft) -> Dataset:
    return Dataset(msft.loc["2004":"2006"], "MSFT", "bars")


def test_quotes_add_three_columns_and_change_no_other(bars):
    quotes = Dataset(two_years_of_quotes(bars.frame.index), "MSFT", "quotes")
    without, given = build(bars, horizon=5), build(bars, quotes, horizon=5)
    assert list(given.X) == [*without.X, "quoted_spread", "depth_imbalance", "order_flow_imbalance"]
    assert not set(given.X) & set(given.unavailable)
    pd.testing.assert_frame_equal(given.X[list(without.X)], without.X, check_exact=True)
    assert given.X["quoted_spread"].iloc[0] == pytest.approx(0.02 / 25.0)  # the last quote of a day has no end


def test_without_quotes_the_matrix_is_what_it_was_and_says_what_it_lacks(bars):
    without = build(bars, horizon=5)
    for row in QUOTES:
        assert row.name not in without.X
        assert without.unavailable[row.name] == "needs quotes of MSFT; none were given"
    other = Dataset(two_years_of_quotes(bars.frame.index), "AAPL", "quotes")
    assert build(bars, other, horizon=5).fingerprint() == without.fingerprint()


def test_quotes_come_day_by_day_and_no_day_comes_twice(bars):
    days = two_years_of_quotes(bars.frame.index)
    parts = [Dataset(part, "MSFT", "quotes") for _, part in days.groupby(days.index.year)]
    whole = build(bars, Dataset(days, "MSFT", "quotes"), horizon=5)
    assert build(bars, *parts, horizon=5).fingerprint() == whole.fingerprint()
    with pytest.raises(BadInput, match="give a session twice"):
        build(bars, *parts, parts[0], horizon=5)


def test_quotes_of_a_part_of_the_sessions_make_no_column(bars):
    quotes = Dataset(two_years_of_quotes(bars.frame.index[-100:]), "MSFT", "quotes")
    assert build(bars, quotes, horizon=5).unavailable["quoted_spread"].startswith("missing on ")


def test_the_sample_has_the_columns_and_the_numbers_it_always_had():
    """Anything else would change every stored result; the sum was written down before quotes were known."""
    X = mt.matrix(mt.bars("MSFT", start="2005-01-03", end="2007-12-31")).X
    assert X.shape == (502, 75)
    assert set(X) <= {i.name for i in INDICATORS} | {m.name for m in MARKET} | {m.name for m in MACRO}
    assert np.abs(X.to_numpy()).sum() == pytest.approx(9962.702947059157, rel=1e-9)


def test_quotes_belong_beside_bars_and_not_beside_a_finished_matrix(bars):
    done = mt.matrix("MSFT", start="2005-01-03", end="2007-12-31")
    with pytest.raises(BadInput, match="quotes are of one ticker"):
        mt.matrix(["MSFT", "IBM"], quotes=[Dataset(quotes_of(), "MSFT", "quotes")])
    with pytest.raises(BadInput, match="already built; give quotes together with its bars"):
        mt.matrix(done, quotes=[Dataset(quotes_of(), "MSFT", "quotes")])
    with pytest.raises(Refused, match="carries no provenance"):
        mt.matrix("MSFT", start="2005-01-03", end="2007-12-31", quotes=[Dataset(quotes_of(), "MSFT", "quotes")])


def test_a_dividend_is_part_of_the_return_and_no_fall():
    """Microsoft closed at 29.97 on 12 November 2004 and at 27.39 on the 15th, ex 3.08 dollars: +1.7 %, not -8.6 %."""
    returns = mt.bars("MSFT").frame["close"].pct_change()
    assert returns["2004-11-15"] == pytest.approx((27.39 + 3.08) / 29.97 - 1, abs=1e-9)
