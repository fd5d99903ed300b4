"""Cross-sections agree with Alphalens on the same frames, and trade what was known the session before."""

import warnings

import pandas as pd
import pytest
from numpy.testing import assert_allclose

import mltrainer as mt
from mltrainer.data import universes
from mltrainer.errors import BadInput
from mltrainer.evaluation import crosssection as cs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from alphalens import performance, utils


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Real closes of the twenty packaged tickers in 2018, and their one-month momentum."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("cross") / "home"))
        patch.setenv("MLTRAINER_MODE", "sample")
        names = mt.universe("sample20").tickers
        prices = pd.DataFrame({t: mt.bars(t, start="2017-11-01", end="2018-12-31").frame["close"] for t in names})
    return prices.pct_change(21).dropna(), prices


@pytest.fixture(scope="module")
def theirs(frames) -> pd.DataFrame:
    factor, prices = frames
    values = factor.stack()  # noqa: PD013 - the form that Alphalens takes
    values.index.names = ["date", "asset"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return utils.get_clean_factor_and_forward_returns(values, prices, quantiles=5, periods=(1, 5), max_loss=0.5)


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_coefficient_of_each_session_is_that_of_alphalens(frames, theirs, horizon: int):
    factor, prices = frames
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = performance.factor_information_coefficient(theirs)[f"{horizon}D"]
    got = cs.information_coefficient(factor, cs.forward_returns(prices, horizon, delay=0)).loc[want.index]
    assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("horizon", [1, 5])
def test_returns_by_quantile_are_those_of_alphalens(frames, theirs, horizon: int):
    factor, prices = frames
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mean, _ = performance.mean_return_by_quantile(theirs, demeaned=False)
    sessions = theirs.index.unique("date")
    returns = cs.forward_returns(prices, horizon, delay=0)
    got = cs.quantile_returns(factor.loc[sessions], returns)
    assert_allclose(got["mean"], mean[f"{horizon}D"], atol=1e-12)


def test_turnover_and_autocorrelation_are_those_of_alphalens(frames, theirs):
    factor, _ = frames
    sessions = theirs.index.unique("date")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        turnover = performance.quantile_turnover(theirs["factor_quantile"], 5, 1).dropna()
        again = performance.factor_rank_autocorrelation(theirs, 1).dropna()
    assert_allclose(cs.quantile_turnover(factor.loc[sessions], 5).loc[turnover.index], turnover, atol=1e-12)
    assert_allclose(cs.autocorrelation(factor.loc[sessions]).loc[again.index], again, atol=1e-12)


def test_a_factor_that_is_the_future_has_a_coefficient_of_one(frames):
    _, prices = frames
    future = cs.forward_returns(prices, 5)
    ic = cs.information_coefficient(future, future)
    assert_allclose(ic.dropna(), 1.0)
    assert cs.decay(future, prices)["mean"].idxmax() == 5


def test_weights_hold_what_was_known_the_session_before(frames):
    factor, _ = frames
    changed = factor.copy()
    changed.iloc[100:] = changed.iloc[100:].to_numpy()[:, ::-1]
    a, b = (cs.weights(f, horizon=5) for f in (factor, changed))
    pd.testing.assert_frame_equal(a.iloc[:101], b.iloc[:101])
    assert not a.iloc[101].equals(b.iloc[101])
    assert_allclose(a.iloc[6:].sum(axis=1), 0.0, atol=1e-12)
    assert_allclose(a.iloc[6:].clip(lower=0).sum(axis=1), 1.0, atol=0.81)  # what overlaps may cancel
    assert_allclose(cs.weights(factor, horizon=5, long_only=True).iloc[6:].sum(axis=1), 1.0)


def test_a_portfolio_by_hand():
    prices = pd.DataFrame({"A": [10.0, 11.0, 11.0], "B": [10.0, 10.0, 5.0]})
    weight = pd.DataFrame({"A": [1.0, 0.5, 0.5], "B": [-1.0, -0.5, -0.5]})
    got = cs.portfolio(weight, prices, cost_bps=10)
    assert_allclose(got["gross"], [0.1, 0.25, 0.0])  # 10 %, then half of a loss of one half of what is short
    assert_allclose(got["turnover"], [2.0, 1.0, 0.0])
    assert_allclose(got["net"], [0.098, 0.249, 0.0])
    # of 100 shares at 10 dollars a hundredth is 10 dollars, for a whole weight; then 11 x 2 and 10 x 2, and none
    assert cs.capacity(weight, prices, prices * 0 + 100) == pytest.approx((10 + 20) / 2)


def test_a_sector_neutral_factor_has_no_mean_in_any_sector(frames):
    factor, _ = frames
    flat = cs.neutral(factor, universes.SECTORS)
    health = [t for t in factor if universes.SECTORS[t] == "Health Care"]
    assert_allclose(flat[health].mean(axis=1), 0.0, atol=1e-12)
    with pytest.raises(BadInput, match="no sector is given for AAPL"):
        cs.neutral(factor, {})


def test_what_cannot_be_ranked_is_not_a_number_and_what_does_not_meet_is_refused(frames):
    factor, prices = frames
    assert cs.information_coefficient(factor * 0, cs.forward_returns(prices, 1)).isna().all()
    assert cs.information_coefficient(factor.iloc[:, :4], cs.forward_returns(prices, 1)).isna().all()
    assert cs.quantiles(factor * 0).isna().all(axis=None)
    with pytest.raises(BadInput, match="share no session"):
        cs.information_coefficient(factor, cs.forward_returns(prices, 1).add_prefix("X"))
    with pytest.raises(BadInput, match="hold nothing"):
        cs.forward_returns(prices, 0)
