"""The feature table: no look-ahead, declared warm-ups, no scale, and numbers that somebody else also gets."""

import numpy as np
import pandas as pd
import pandas_ta_classic as ta
import pytest
import scipy.stats
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.features import bars as windows
from mltrainer.features.bars import Bars, row
from mltrainer.features.indicators import INDICATORS, compute
from mltrainer.features.rewriting import differing, future_moves

CLOSE_ONLY = [i.name for i in INDICATORS if i.needs <= {"close"}]
SEEDS = st.integers(0, 2**32 - 1)


def features(frame: pd.DataFrame, rows=INDICATORS) -> pd.DataFrame:
    return compute(frame, rows)[0]


def one(name: str, frame: pd.DataFrame) -> pd.Series:
    return features(frame, [i for i in INDICATORS if i.name == name])[name]


def frame_of(n: int = 300, **columns: float | list[float]) -> pd.DataFrame:
    flat = {"open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0, "volume": 1000.0} | columns
    return pd.DataFrame(flat, index=pd.bdate_range("2004-01-01", periods=n, name="session"), dtype=float)


# --- no look-ahead --------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, start=st.integers(0, 2500), cut=st.integers(260, 650))
def test_no_row_moves_when_the_future_is_rewritten(msft, seed, start, cut):
    frame = msft.iloc[start : start + 700]
    assert future_moves(features, frame, cut, np.random.default_rng(seed)) == []


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, start=st.integers(0, 2500), cut=st.integers(260, 650))
def test_no_close_only_row_moves_when_the_future_is_rewritten(msft, seed, start, cut):
    frame = msft[["close"]].iloc[start : start + 700]
    assert future_moves(features, frame, cut, np.random.default_rng(seed)) == []


def centred(bars: Bars) -> np.ndarray:
    return pd.Series(bars.close).rolling(5, center=True).mean().to_numpy() / bars.close


def whole_sample(bars: Bars) -> np.ndarray:
    return (bars.returns - np.nanmean(bars.returns)) / np.nanstd(bars.returns)


def tomorrow(bars: Bars) -> np.ndarray:
    return np.append(bars.returns[1:], np.nan)


def last_session_by_the_next_row(bars: Bars) -> np.ndarray:
    return np.append(np.diff(bars.sessions.month) != 0, False).astype(float)


@pytest.mark.parametrize("leak", [centred, whole_sample, tomorrow, last_session_by_the_next_row])
def test_a_planted_leak_is_named_and_its_neighbors_are_not(msft, rng, leak):
    planted = (*INDICATORS[:3], row("planted", "leak", 1, "close", leak, "looks ahead"))
    # The cut falls on a month's last session, where a peek at the next date shows.
    cut = int(np.flatnonzero(np.diff(msft.index.month[:1000]))[-1]) + 1
    assert future_moves(lambda f: features(f, planted), msft, cut, rng) == ["planted"]


def test_a_column_that_vanishes_with_the_future_counts_as_moved(msft, rng):
    def whole_history_only(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[["close", "volume"]] if len(frame) == len(msft) else frame[["close"]]

    assert future_moves(whole_history_only, msft, 1000, rng) == ["volume"]


def test_the_cut_must_leave_a_past_and_a_future(msft, rng):
    with pytest.raises(BadInput, match="0 < cut < 3270, found 3270"):
        future_moves(features, msft, 3270, rng)


# --- shape of the table ---------------------------------------------------------------------------------------


def test_declared_warmup_is_the_first_value_and_all_values_after_it_are_finite(msft):
    table = features(msft)
    finite = np.isfinite(table.to_numpy())
    first = dict(zip(table.columns, finite.argmax(axis=0).tolist(), strict=True))
    assert first == {i.name: i.warmup for i in INDICATORS}
    assert all(finite[i.warmup :, k].all() for k, i in enumerate(INDICATORS))


def test_ohlcv_gives_59_columns_and_closes_give_37(msft):
    assert len(INDICATORS) == len({i.name for i in INDICATORS}) == features(msft).shape[1] == 59
    assert list(features(msft[["close"]])) == CLOSE_ONLY
    assert len(CLOSE_ONLY) == 37


def test_close_only_columns_equal_those_of_the_full_bars(msft):
    assert differing(features(msft[["close"]]), features(msft)) == []


def test_close_only_source_says_what_each_missing_row_needs(msft):
    _, unavailable = compute(msft[["close"]])
    assert set(unavailable) == {i.name for i in INDICATORS} - set(CLOSE_ONLY)
    assert unavailable["parkinson_21"] == "needs high, low; this source gives close only"
    assert unavailable["obv_slope_21"] == "needs volume; this source gives close only"
    _, unavailable = compute(msft[["high", "low", "close"]])
    assert unavailable["garman_klass_21"] == "needs open; this source gives high, low, close"
    assert "parkinson_21" not in unavailable


def test_only_rows_that_stand_in_for_quotes_and_trades_are_estimates():
    assert [i.name for i in INDICATORS if i.estimate] == [
        "spread_edge_21",
        "spread_range_21",
        "amihud_21_252",
        "order_imbalance_21",
    ]


def unscaled(frame: pd.DataFrame, price: float, volume: float, rows=INDICATORS) -> list[str]:
    scaled = frame * [price, price, price, price, volume]
    a, b = features(frame, rows), features(scaled, rows)
    return [name for name in a if not np.allclose(a[name], b[name], rtol=1e-9, atol=1e-10, equal_nan=True)]


@settings(max_examples=15, deadline=None)
@given(price=st.floats(1e-3, 1e3), volume=st.floats(1e-3, 1e3))
def test_no_row_knows_the_unit_of_price_or_volume(msft, price, volume):
    assert unscaled(msft, price, volume) == []


@pytest.mark.parametrize("raw", [lambda b: b.close, lambda b: talib.OBV(b.close, b.volume), lambda b: b.close - 1.0])
def test_a_raw_level_is_caught_by_the_scale_check(msft, raw):
    assert unscaled(msft, 3.0, 5.0, [row("raw", "dollars", 0, "close volume", raw, "a level")]) == ["raw"]


def test_no_column_is_a_linear_combination_of_others(msft):
    table = features(msft).iloc[252:]
    spectrum = np.linalg.svd(((table - table.mean()) / table.std()).to_numpy(), compute_uv=False)
    assert spectrum[-1] / spectrum[0] > 1e-3
    signal = table.assign(macd_signal=table["macd"] - table["macd_histogram"])  # the one left out for this reason
    spectrum = np.linalg.svd(((signal - signal.mean()) / signal.std()).to_numpy(), compute_uv=False)
    assert spectrum[-1] / spectrum[0] < 1e-12


# --- what is refused ------------------------------------------------------------------------------------------


def test_unusable_bars_are_refused_in_one_line(msft):
    def refused(frame: pd.DataFrame, error: type[Exception] = BadInput) -> str:
        with pytest.raises(error) as caught:
            compute(frame)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    day = msft.index[7]
    assert "row 1 holds 2013-02-28" in refused(msft[::-1])
    assert "each session once" in refused(pd.concat([msft.iloc[:5], msft.iloc[4:]]))
    assert "close is -1 on 2000-03-10 (1 such rows); prices must be positive" in refused(
        msft.assign(close=msft["close"].mask(msft.index == day, -1.0))
    )
    assert "open is 0 on" in refused(msft.assign(open=0.0))
    assert "low is nan on 2000-03-10" in refused(msft.assign(low=msft["low"].mask(msft.index == day)))
    assert "high is inf on" in refused(msft.assign(high=np.inf))
    assert "volume is -5 on" in refused(msft.assign(volume=-5.0))
    assert "close must be one column of numbers" in refused(msft.assign(close="much"))
    assert "bars need a close column, found open" in refused(msft[["open"]])
    assert "DatetimeIndex" in refused(msft.reset_index(drop=True))
    assert "without a time zone" in refused(msft.tz_localize("UTC"))
    assert "need 253 sessions, this frame has 252 since 2000-03-01" in refused(msft.iloc[:252], NotEnoughHistory)
    assert "no rows" in refused(msft.iloc[:0], NotEnoughHistory)
    assert len(features(msft.iloc[:253]).dropna()) == 1


def test_sessions_without_volume_and_without_movement_never_give_infinity(msft):
    still = frame_of()
    volume = msft["volume"].mask(np.arange(len(msft)) % 7 == 3, 0.0)
    volume.iloc[1000:1300] = 0.0
    for frame in (still, still.assign(volume=0.0), msft.assign(volume=volume)):
        assert not np.isinf(features(frame)).any(axis=None)
    idle = one("volume_ratio_63", msft.assign(volume=volume))
    assert idle.iloc[1011] == -1.0  # nothing traded that day, something in its quarter
    assert one("volume_zscore_21", msft.assign(volume=volume)).iloc[1100:1300].isna().all()
    assert one("volatility_21", still).iloc[21:].eq(0.0).all()
    assert one("rsi_14", still).iloc[14:].eq(0.0).all()
    assert one("bollinger_position", still).isna().all()


# --- windows --------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, w=st.integers(2, 70), n=st.integers(1, 90))
def test_rolling_functions_agree_with_numpy_on_every_window(seed, w, n):
    x, y = np.random.default_rng(seed).normal(0.1, 1.0, (2, n))
    for t in range(n):
        a, b = x[max(t - w + 1, 0) : t + 1], y[max(t - w + 1, 0) : t + 1]
        full = t >= w - 1
        assert windows.rolling_sum(x, w)[t] == pytest.approx(a.sum() if full else np.nan, nan_ok=True)
        if t == n - 1 and full:
            assert windows.rolling_variance(x, w)[t] == pytest.approx(a.var(ddof=1))
            assert windows.rolling_covariance(x, y, w)[t] == pytest.approx(np.cov(a, b)[0, 1])
            assert windows.rolling_correlation(x, y, w)[t] == pytest.approx(np.corrcoef(a, b)[0, 1])


def test_a_spike_or_a_missing_value_is_forgotten_when_it_leaves_the_window():
    x = np.full(50, 0.1)
    spiked, holed = x.copy(), x.copy()
    spiked[10], holed[10] = 1e15, np.nan
    for other in (spiked, holed):
        assert np.array_equal(windows.rolling_sum(other, 7)[17:], windows.rolling_sum(x, 7)[17:])
    assert np.array_equal(windows.rolling_variance(x, 7)[6:], np.zeros(44))


# --- numbers --------------------------------------------------------------------------------------------------


def test_rsi_agrees_with_the_published_worked_example():
    # StockCharts ChartSchool, "Relative Strength Index", spreadsheet example of RSI(14): 70.53, 66.32, 66.55, 69.41,
    # 66.36, 57.97; its inputs are printed rounded to cents, which moves the third digit.
    first = "44.34 44.09 44.15 43.61 44.33 44.83 45.10 45.42 45.84 46.08 45.89 46.03 45.61 46.28 46.28"
    closes = [*map(float, first.split()), 46.00, 46.03, 46.41, 46.22, 45.64]
    got = one("rsi_14", frame_of(20, close=closes)).iloc[14:] * 100
    assert got.to_numpy() == pytest.approx([70.53, 66.32, 66.55, 69.41, 66.36, 57.97], abs=0.1)


def test_exponential_rows_agree_with_pandas_once_the_seed_is_forgotten(msft):
    close = msft["close"]

    def ema(x: pd.Series, span: int) -> pd.Series:
        return x.ewm(span=span, adjust=False).mean()

    line = ema(close, 12) - ema(close, 26)
    change = close.diff()
    up, down = (x.ewm(alpha=1 / 14, adjust=False).mean() for x in (change.clip(lower=0), -change.clip(upper=0)))
    previous = close.shift()
    ranges = [msft["high"] - msft["low"], (msft["high"] - previous).abs(), (msft["low"] - previous).abs()]
    true_range = pd.concat(ranges, axis=1).max(axis=1)
    expected = {
        "ema_ratio_50": close / ema(close, 50) - 1,
        "macd": line / close,
        "macd_histogram": (line - ema(line, 9)) / close,
        "rsi_14": up / (up + down),
        "atr_14": true_range.ewm(alpha=1 / 14, adjust=False).mean() / close,
    }
    for name, series in expected.items():
        np.testing.assert_allclose(one(name, msft).iloc[700:], series.iloc[700:], rtol=1e-6, atol=1e-9, err_msg=name)


def test_adx_agrees_with_talib_once_the_seed_is_forgotten(spx):
    expected = talib.ADX(*(spx[name].to_numpy() for name in ("high", "low", "close")), 14) / 100
    np.testing.assert_allclose(one("adx_14", spx).iloc[700:], expected[700:], rtol=1e-6)


def test_adx_takes_no_side_on_a_session_that_widens_evenly_in_whatever_unit(msft):
    frame = msft.iloc[:400].copy()
    day = frame.index[300]
    frame.loc[day, ["high", "low"]] = frame["high"].iloc[299] + 1.0, frame["low"].iloc[299] - 1.0
    for unit in (1.0, 0.3, 1.7, 3.7):
        scaled = frame.mul([unit] * 4 + [1.0])
        np.testing.assert_allclose(one("adx_14", scaled), one("adx_14", frame), rtol=1e-9)


def test_windowed_rows_agree_with_pandas(msft):
    close, volume = msft["close"], msft["volume"]
    r = np.log(close).diff()
    mean, sd = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    low, high = msft["low"].rolling(14).min(), msft["high"].rolling(14).max()
    place = (close - low) / (high - low)
    typical = (msft["high"] + msft["low"] + close) / 3
    deviation = typical.rolling(20).apply(lambda x: np.abs(x - x.mean()).mean(), raw=True)
    expected = {
        "return_5": np.log(close).diff(5),
        "momentum_252_21": np.log(close.shift(21) / close.shift(252)),
        "overnight_return": np.log(msft["open"] / close.shift()),
        "intraday_return_5": np.log(close / msft["open"]).rolling(5).sum(),
        "volatility_21": r.rolling(21).std(),
        "volatility_ratio_5_63": r.rolling(5).std() / r.rolling(63).std(),
        "sma_ratio_200": close / close.rolling(200).mean() - 1,
        "bollinger_position": (close - (mean - 2 * sd)) / (4 * sd),
        "bollinger_width": 4 * sd / mean,
        "high_252": np.log(close / close.rolling(252).max()),
        "low_252": np.log(close / close.rolling(252).min()),
        "drawdown_63": 1 - close / close.rolling(63).max(),
        "stochastic_k": place.rolling(3).mean(),
        "stochastic_d": place.rolling(3).mean().rolling(3).mean(),
        "williams_r": place - 1,
        "cci_20": (typical - typical.rolling(20).mean()) / (0.015 * deviation) / 100,
        "autocorrelation_63": r.rolling(63).corr(r.shift()),
        "volume_ratio_5_21": volume.rolling(5).mean() / volume.rolling(21).mean() - 1,
        "volume_zscore_21": (volume - volume.rolling(21).mean()) / volume.rolling(21).std(),
        "volume_price_trend_21": (volume * close.pct_change()).rolling(21).sum() / volume.rolling(21).sum(),
    }
    table = features(msft)
    for name, series in expected.items():
        # TA-Lib lets %K start together with %D, two sessions after it could.
        warm = slice(next(i.warmup for i in INDICATORS if i.name == name), None)
        np.testing.assert_allclose(table[name].iloc[warm], series.iloc[warm], rtol=1e-6, atol=1e-9, err_msg=name)


def test_moments_agree_with_scipy_on_the_last_window(msft):
    last = np.log(msft["close"]).diff().iloc[-63:]
    assert one("skewness_63", msft).iloc[-1] == pytest.approx(scipy.stats.skew(last))
    assert one("kurtosis_63", msft).iloc[-1] == pytest.approx(scipy.stats.kurtosis(last))


def test_obv_slope_is_the_rise_of_on_balance_volume_of_pandas_ta_classic(msft):
    obv = ta.obv(msft["close"], msft["volume"], talib=False)
    expected = obv.diff(21) / msft["volume"].rolling(21).sum()
    np.testing.assert_allclose(one("obv_slope_21", msft), expected, rtol=1e-9, atol=1e-12)


def test_money_flow_agrees_with_talib_where_no_rounding_counts_as_a_rise(msft):
    b = (msft[name].to_numpy() for name in ("high", "low", "close", "volume"))
    typical = (msft["high"] + msft["low"] + msft["close"]) / 3
    tie = (typical.pct_change().abs() < 1e-9).rolling(14).sum().fillna(0).gt(0)
    assert 0 < tie.mean() < 0.1  # in these windows TA-Lib takes the last bit of an adjusted price for a move
    np.testing.assert_allclose(one("money_flow_14", msft)[~tie], (talib.MFI(*b, 14) / 100)[~tie], rtol=1e-9)


def test_a_typical_price_that_only_differs_in_the_last_bit_is_no_move():
    close = np.where(np.arange(40) % 2 == 0, 100.0, np.nextafter(100.0, 101.0))
    bars = frame_of(40, close=list(close))
    assert one("money_flow_14", bars).isna().all()
    assert one("obv_slope_21", bars).iloc[21:].eq(0.0).all()


def test_range_volatilities_of_a_two_percent_range_by_hand():
    # High 102, low 100, open = close: ln(1.02) = 0.0198026; Parkinson divides by sqrt(4 ln 2) = 1.6651092,
    # Garman-Klass by sqrt(2) since the body is zero.
    bars = frame_of(high=102.0, open=101.0, close=101.0)
    assert one("parkinson_21", bars).iloc[-1] == pytest.approx(0.0118927, abs=5e-8)
    assert one("garman_klass_21", bars).iloc[-1] == pytest.approx(0.0140026, abs=5e-8)
    # Closing 1 % above the open: 0.5 * 0.0198026^2 - 0.3862944 * 0.0099503^2 = 0.000157825.
    bars = frame_of(high=102.0, open=100.0, close=101.0)
    assert one("garman_klass_21", bars).iloc[-1] == pytest.approx(np.sqrt(0.000157825), abs=5e-8)


def test_gap_is_measured_in_the_average_true_range_of_the_day_before():
    # Every session spans 101 to 99 and closes at 100, so the true range is 2; the last opens at 103, 1.5 ranges up.
    opens = [100.0] * 299 + [103.0]
    assert one("gap_atr", frame_of(open=opens, high=101.0, low=99.0)).iloc[-1] == pytest.approx(1.5)


def test_month_turn_is_the_last_and_the_first_three_weekdays_by_the_calendar():
    # January 30, 2004 was a Friday and the last weekday of its month.
    flags = one("month_turn", frame_of(60))
    assert flags["2004-01-28":"2004-02-06"].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]


def test_weekdays_lie_on_a_circle_with_monday_at_its_start():
    frame = frame_of(60)
    monday = frame.index.dayofweek == 0
    assert one("weekday_sin", frame)[monday].eq(0.0).all()
    assert one("weekday_cos", frame)[monday].eq(1.0).all()
    assert one("weekday_sin", frame)[frame.index.dayofweek == 1].iloc[0] == pytest.approx(np.sin(np.deg2rad(72)))
