"""X knows nothing of tomorrow, y is the return from the next entry on, and both are sealed as one."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mltrainer.data import market
from mltrainer.errors import BadInput, NotEnoughHistory, Refused
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.features.targets import LEAST_VOLATILITY, forward_return
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset

H = 5


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dataset, ...]]:
    """MSFT 2005..2008 and what was known beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("matrix")))
        patch.setenv("MLTRAINER_MODE", "sample")
        bars = market.bars("MSFT", start="2005-01-03", end="2008-12-31")
        yield (bars, *market.context(bars))


@pytest.fixture(scope="module")
def built(parts) -> Matrix:
    return features.build(*parts, horizon=H)


def altered(dataset: Dataset, change) -> Dataset:
    frame = dataset.frame.copy()
    return Dataset(change(frame), dataset.name, dataset.kind)


# --- y --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    (
        "day",
        "entered",
        "left",
    ),  # raw opens of the packaged file on the next session and five later; no dividend between
    [("2006-03-01", 26.99, 27.21), ("2007-07-02", 29.785, 29.24), ("2008-10-01", 26.18, 23.765)],
)
def test_label_of_a_day_by_hand(built, day, entered, left):
    assert built.y[day] == pytest.approx(left / entered - 1, rel=1e-12)


def test_the_last_labels_are_unknown_and_no_other(built):
    assert built.y.iloc[-(H + 1) :].isna().all()
    assert built.y.iloc[: -(H + 1)].notna().all()


@pytest.mark.parametrize("horizon", [1, 5, 21])
def test_a_label_moves_with_its_entry_and_its_exit_and_with_no_other_price(horizon):
    prices = pd.Series(100 + np.arange(60.0) ** 1.3)
    y, t = forward_return(prices, horizon), 20
    for day in range(60):
        moved = prices.copy()
        moved[day] *= 1.5
        changed = forward_return(moved, horizon)[t] != y[t]
        assert changed == (day in (t + 1, t + 1 + horizon))


@given(st.integers(1, 10), st.integers(0, 40), st.integers(1, 2**31))
def test_rewriting_prices_up_to_t_never_moves_the_label_of_t(horizon, t, seed):
    rng = np.random.default_rng(seed)
    prices = pd.Series(np.exp(np.cumsum(0.02 * rng.normal(size=60))))
    past = prices.copy()
    past[: t + 1] = rng.uniform(1, 9, t + 1)
    assert_array_equal(forward_return(past, horizon)[t:], forward_return(prices, horizon)[t:])


@pytest.mark.parametrize("horizon", [1, 3, 30])
def test_forward_return_ends_with_horizon_plus_one_unknown_rows(horizon):
    y = forward_return(pd.Series(np.arange(1.0, 61.0)), horizon)
    assert int(y.isna().sum()) == horizon + 1
    assert y.iloc[-(horizon + 1) :].isna().all()
    assert y[0] == pytest.approx((2.0 + horizon) / 2.0 - 1)


# --- X and scale ----------------------------------------------------------------------------------------------


def test_features_are_gapless_and_said_to_be_unavailable_otherwise(built):
    assert not built.X.isna().any().any()
    assert np.isfinite(built.X.to_numpy()).all()
    assert len(built.X) == len(built.y) == len(built.scale) == len(built.prices)
    assert "vix" in built.unavailable  # its history begins in 2014
    assert not set(built.unavailable) & set(built.X)


def test_scale_is_the_deviation_of_the_last_21_log_returns_over_the_horizon(parts, built):
    returns = np.log(parts[0].frame["close"]).diff()
    day = built.X.index[50]
    expected = returns.loc[:day].iloc[-21:].std(ddof=1) * np.sqrt(H)
    assert built.scale[day] == pytest.approx(expected, rel=1e-12)


def test_a_run_of_stale_closes_has_the_least_volatility_not_none(parts):
    def stale(frame: pd.DataFrame) -> pd.DataFrame:
        frame.iloc[600:640, :4] = frame["close"].iloc[600]
        return frame

    m = features.build(altered(parts[0], stale), horizon=4)
    assert m.scale[parts[0].frame.index[639]] == pytest.approx(LEAST_VOLATILITY * 2)


REWRITES = {
    "multiplied": lambda frame, cut, rng: frame.iloc[cut:] * 3.0,
    "shuffled": lambda frame, cut, rng: frame.iloc[cut:].iloc[rng.permutation(len(frame) - cut)],
    "noise": lambda frame, cut, rng: frame.iloc[cut:] * rng.uniform(0.9, 1.1, (len(frame) - cut, 1)),
}


@pytest.mark.parametrize("how", REWRITES)
@pytest.mark.parametrize("cut", [400, 900])
def test_rewriting_the_future_moves_no_feature_and_no_scale(parts, built, how, cut):
    rng = np.random.default_rng(cut)

    def rewrite(frame: pd.DataFrame) -> pd.DataFrame:
        frame.iloc[cut:] = REWRITES[how](frame, cut, rng).to_numpy()
        return frame

    # the index after our cut day is rewritten too; macro vintages are tested with `asof`
    day = parts[0].frame.index[cut]
    spx = parts[1]
    future = spx.frame.index.searchsorted(day)
    moved = altered(spx, lambda f: pd.concat([f.iloc[:future], f.iloc[future:] * 2.0]))
    m = features.build(altered(parts[0], rewrite), moved, *parts[2:], horizon=H)
    before = built.X.index[built.X.index < day]
    assert len(before) > 100
    pd.testing.assert_frame_equal(m.X.loc[before], built.X.loc[before], check_exact=True)
    pd.testing.assert_series_equal(m.scale.loc[before], built.scale.loc[before], check_exact=True)
    known = before[: -(H + 1)]
    pd.testing.assert_series_equal(m.y.loc[known], built.y.loc[known], check_exact=True)
    assert not m.X.loc[m.X.index >= day].equals(built.X.loc[built.X.index >= day])


def test_cutting_the_future_off_moves_no_feature(parts, built):
    short = altered(parts[0], lambda frame: frame.iloc[:700])
    m = features.build(short, *parts[1:], horizon=H)
    pd.testing.assert_frame_equal(m.X, built.X.loc[m.X.index, list(m.X)], check_exact=True)
    assert m.X.index[-1] == short.frame.index[-1]


def test_close_only_bars_trade_at_the_close_and_invent_no_other_column(parts):
    closes = altered(parts[0], lambda frame: frame[["close"]])
    m = features.build(closes, *parts[1:], horizon=H)
    assert_array_equal(m.prices["entry"], m.prices["close"])
    assert m.y.iloc[0] == pytest.approx(
        closes.frame["close"].shift(-6)[m.y.index[0]] / closes.frame["close"].shift(-1)[m.y.index[0]] - 1
    )
    assert set(m.X) < set(features.build(*parts, horizon=H).X)
    assert m.unavailable["parkinson_21"] == "needs high, low; this source gives close only"


# --- the seal -------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed() -> Matrix:
    bars = market.bars("MSFT", start="2006-01-03", end="2008-06-30")
    return features.matrix(bars, horizon=H)


def test_a_matrix_is_sealed_with_the_lineage_of_its_bars(sealed):
    provenance = gate.verify(sealed, "test")
    assert provenance.kind == "matrix"
    assert provenance.parameters == {"horizon": "5", "target": "return"}
    assert len(provenance.parents) == 1
    assert audit.verify() == []


def edited(m: Matrix, part: str) -> Matrix:
    frame = getattr(m, part).copy()
    frame.iloc[3] = frame.iloc[3] * 1.0000001
    return dataclasses.replace(m, **{part: frame})


@pytest.mark.parametrize("part", ["X", "y", "scale", "prices"])
def test_an_edited_part_breaks_the_seal(sealed, part):
    with pytest.raises(Refused):
        gate.verify(edited(sealed, part), "test")


@pytest.mark.parametrize("change", [{"horizon": 6}, {"name": "AAPL"}])
def test_another_horizon_or_name_breaks_the_seal(sealed, change):
    with pytest.raises(Refused):
        gate.verify(dataclasses.replace(sealed, **change), "test")


@pytest.mark.parametrize("horizon", [0, -1, 64, 2.5, "5", True, None, float("nan")])
def test_a_horizon_that_cannot_be_meant_is_said_so(parts, horizon):
    with pytest.raises(BadInput, match="whole number of sessions from 1 to 63"):
        features.matrix(parts[0], horizon=horizon)


@pytest.mark.parametrize(
    ("ticker", "end", "saying"),
    [("FB", None, "this frame has 196 since 2012-05-18"), ("MSFT", "2006-10-30", "461 sessions, of which 209 remain")],
)
def test_too_short_a_span_says_how_much_there_is(ticker, end, saying):
    bars = market.bars(ticker, start=None if end is None else "2005-01-03", end=end)
    with pytest.raises(NotEnoughHistory, match=saying):
        features.matrix(bars, horizon=H)


def test_features_are_computed_from_bars_only():
    with pytest.raises(BadInput, match="unemp is a macro series"):
        features.matrix(market.macro("unemp"), horizon=H)
