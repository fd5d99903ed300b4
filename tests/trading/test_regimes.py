"""Regimes are labelled by what was known on the day."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.trading.regimes import TREND, VOLATILITY, detect


@pytest.fixture
def close() -> pd.Series:
    return mt.bars("MSFT", start="2005-01-03", end="2009-12-31").frame["close"]


def path(*returns: float) -> pd.Series:
    """Closes with the given log returns, repeated or not, on made-up days."""
    days = pd.date_range("2001-01-01", periods=len(returns) + 1, name="session")
    return pd.Series(100 * np.exp(np.cumsum([0.0, *returns])), days)


@pytest.mark.parametrize("change", ["cut", "scaled", "shuffled", "noise"])
@pytest.mark.parametrize("at", [300, 700, 1100])
def test_rewriting_the_future_moves_no_label_of_the_past(close: pd.Series, change: str, at: int):
    future, rng = close.iloc[at:].to_numpy(), np.random.default_rng(0)
    rewritten = {
        "cut": future[:0],
        "scaled": future * 1000,
        "shuffled": rng.permutation(future),
        "noise": np.exp(rng.normal(size=len(future))),
    }[change]
    other = pd.Series([*close.iloc[:at], *rewritten], close.index[: at + len(rewritten)])
    pd.testing.assert_frame_equal(detect(other).iloc[:at], detect(close).iloc[:at])


def test_nothing_is_said_before_it_can_be_known(close: pd.Series):
    """21 returns make a volatility, 252 of those a past: row 21 + 251; 200 closes make a mean: row 199."""
    labels = detect(close)
    assert labels["volatility"].first_valid_index() == close.index[21 + 251]
    assert labels["trend"].first_valid_index() == close.index[199]
    assert labels["volatility"].iloc[272:].isin(VOLATILITY).all()
    assert labels["trend"].iloc[199:].isin(TREND).all()


def test_calm_then_storm_then_calm_by_hand():
    """Returns of ±1 % for 400 days, ±5 % for 30, ±0.1 % for 30: every window of 21 is of one kind at the ends."""
    swing = np.where(np.arange(460) % 2, 1.0, -1.0) * np.repeat([0.01, 0.05, 0.001], [400, 30, 30])
    labels = detect(path(*swing))["volatility"]
    assert labels.iloc[430] == "stormy"  # the last 21 returns are the large ones, above two thirds of the past
    assert labels.iloc[460] == "calm"
    assert labels.iloc[400] in ("calm", "normal")  # ties of the same swing: never above their own two-thirds quantile


def test_a_rising_price_is_above_its_mean_and_a_falling_one_below():
    rising, falling = detect(path(*[0.001] * 300))["trend"], detect(path(*[-0.001] * 300))["trend"]
    assert set(rising.iloc[199:]) == {"rising"}
    assert set(falling.iloc[199:]) == {"falling"}


def test_the_day_a_price_crosses_its_mean_is_the_day_the_label_changes():
    """199 closes of 100, then 101: the mean of 200 is 100.005, below the close; then 100: below the mean."""
    closes = pd.Series([100.0] * 199 + [101.0, 100.0], pd.date_range("2001-01-01", periods=201))
    assert list(detect(closes)["trend"].iloc[198:].fillna("-")) == ["-", "rising", "falling"]


@given(st.floats(1e-3, 1e6))
def test_the_unit_of_the_price_does_not_matter(unit: float):
    rng = np.random.default_rng(7)
    closes = path(*rng.normal(0, 0.01, 400))
    labels, scaled = detect(closes), detect(closes * unit)
    assert (labels["trend"].dropna() == scaled["trend"].dropna()).all()
    assert (labels["volatility"].dropna() == scaled["volatility"].dropna()).mean() > 0.99  # rounding at a quantile


def test_about_a_third_of_real_days_is_of_each_volatility():
    """Quantiles of the own past: far from thirds on any one day, near them over 18 years of the S&P 500."""
    share = detect(mt.bars("SPX").frame["close"])["volatility"].value_counts(normalize=True)
    assert share.min() > 0.15
    assert share.sum() == pytest.approx(1)
