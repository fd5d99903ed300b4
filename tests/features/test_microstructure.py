"""Liquidity estimates against the estimator's own package, and against cases whose answer is known by hand."""

import bidask
import numpy as np
import pandas as pd
import pytest

from mltrainer.features.indicators import read
from mltrainer.features.microstructure import amihud, amihud_ratio, corwin_schultz, edge_spread, order_imbalance


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
