"""Figures of returns are those of empyrical and skfolio to the digit, on real returns, and of the papers."""

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose
from skfolio import measures

from mltrainer import metrics
from mltrainer.data import sample
from mltrainer.errors import BadInput

thousandths = st.integers(-900, 900).map(lambda k: k / 1000)
varied = hnp.arrays(float, st.integers(3, 60), elements=thousandths).filter(lambda r: np.ptp(r) > 0)


@pytest.fixture(scope="module")
def real():
    """Daily returns of MSFT and of the S&P 500 over the same sessions, 2000 to 2013."""
    closes = [sample.bars(t, None, None).frame["close"].rename(t) for t in ("MSFT", "SPX")]
    both = closes[0].to_frame().join(closes[1], how="inner").pct_change().dropna()
    return both["MSFT"].to_numpy(), both["SPX"].to_numpy()


THEIRS = {
    "annual_return": empyrical.annual_return,
    "annual_volatility": empyrical.annual_volatility,
    "calmar": empyrical.calmar_ratio,
    "downside_deviation": empyrical.downside_risk,
    "max_drawdown": lambda r: -empyrical.max_drawdown(r),
    "omega": empyrical.omega_ratio,
    "sharpe": empyrical.sharpe_ratio,
    "sortino": empyrical.sortino_ratio,
    "stability": empyrical.stability_of_timeseries,
    "tail_ratio": empyrical.tail_ratio,
    "expected_shortfall": lambda r: -empyrical.conditional_value_at_risk(r),
}
BESIDE = {
    "alpha": empyrical.alpha,
    "beta": empyrical.beta,
    "up_capture": empyrical.up_capture,
    "down_capture": empyrical.down_capture,
}


@pytest.mark.parametrize("figure", THEIRS)
def test_a_figure_of_real_returns_is_that_of_empyrical(real, figure):
    for r in real:
        assert getattr(metrics, figure)(r) == pytest.approx(THEIRS[figure](r), rel=1e-10)


@pytest.mark.parametrize("figure", BESIDE)
def test_a_figure_beside_the_market_is_that_of_empyrical(real, figure):
    assert getattr(metrics, figure)(*real) == pytest.approx(BESIDE[figure](*real), rel=1e-10)


def test_a_target_per_session_is_that_of_empyrical(real):
    r = real[0]
    assert metrics.omega(r, target=0.001) == pytest.approx(
        empyrical.omega_ratio(r, required_return=0.001, annualization=1)
    )
    assert metrics.downside_deviation(r, target=0.001) == pytest.approx(empyrical.downside_risk(r, 0.001))


def test_downside_deviation_and_volatility_are_those_of_skfolio(real):
    r = real[0]
    theirs = measures.semi_deviation(r, min_acceptable_return=0.0, biased=True) * np.sqrt(252)
    assert metrics.downside_deviation(r) == pytest.approx(theirs, rel=1e-12)
    assert metrics.annual_volatility(r) == pytest.approx(measures.standard_deviation(r) * np.sqrt(252), rel=1e-12)


def test_value_at_risk_is_at_least_that_of_empyrical_and_within_one_order_statistic(real):
    # theirs lies between the two returns around the quantile, ours is the worse of the two
    r = np.sort(real[0])
    k = int(0.05 * (len(r) - 1))
    assert metrics.value_at_risk(r) == -r[k]
    assert -r[k + 1] <= -empyrical.value_at_risk(r) <= metrics.value_at_risk(r)


def test_shortfall_differs_from_skfolios_by_less_than_the_gap_between_two_returns(real):
    r = np.sort(real[0])
    gap = r[int(0.05 * len(r)) + 1] - r[int(0.05 * len(r)) - 1]
    assert abs(metrics.expected_shortfall(r) - measures.cvar(r, beta=0.95)) < gap


def test_figures_of_four_returns_by_hand():
    r = [0.02, -0.01, 0.03, -0.02]
    assert metrics.omega(r) == pytest.approx(5 / 3)
    assert metrics.omega(r, target=0.02) == pytest.approx(0.01 / 0.07)
    assert metrics.downside_deviation(r, periods=1) == pytest.approx(np.sqrt(0.0005 / 4))
    assert metrics.annual_volatility([0.01, 0.03], periods=1) == pytest.approx(0.01 * np.sqrt(2))
    assert metrics.stability(np.expm1([0.01, 0.01, 0.01])) == pytest.approx(1.0)
    # log wealth 0.01, 0.03, 0.02: covariance with 0, 1, 2 is 0.01 / 3, squares 2 / 3 and 0.0002 / 3
    assert metrics.stability(np.expm1([0.01, 0.02, -0.01])) == pytest.approx(0.01**2 / (2 * 0.0002))


def test_capture_of_four_sessions_by_hand():
    # annual figures compound over two sessions each: 1.21 ** 126 and 1.02 ** 126, 0.99 ** 126 and 0.98 ** 126
    r, b = [0.1, -0.01, 0.1, 0.0], [0.01, -0.01, 0.02 / 1.01 / 2, -0.01]
    up = (1.21**126 - 1) / (((1 + b[0]) * (1 + b[2])) ** 126 - 1)
    assert metrics.up_capture(r, b) == pytest.approx(up)
    assert metrics.down_capture(r, b) == pytest.approx((0.99**126 - 1) / (0.9801**126 - 1))


@given(varied, st.integers(1, 9))
def test_the_market_captures_all_of_itself_and_has_no_alpha(b, k):
    assert metrics.beta(b / k, b) == pytest.approx(1 / k)
    assert metrics.alpha(b, b) == pytest.approx(0.0, abs=1e-9)
    for capture in (metrics.up_capture, metrics.down_capture):
        found = capture(b, b)
        assert np.isnan(found) or found == pytest.approx(1.0)


@pytest.mark.parametrize("figure", ["omega", "stability", "tail_ratio", "annual_volatility", "downside_deviation"])
def test_no_returns_at_all_give_nan(figure):
    assert np.isnan(getattr(metrics, figure)([]))
    assert np.isnan(getattr(metrics, figure)([np.nan]))


def test_what_is_undefined_is_nan_and_has_a_reason():
    assert np.isnan(metrics.omega([0.01, 0.02]))
    assert np.isnan(metrics.stability([0.1, -1.0, 0.5]))  # the wealth is gone
    assert np.isnan(metrics.stability([0.0, 0.0]))
    assert np.isnan(metrics.tail_ratio(np.r_[np.zeros(90), np.ones(10)]))
    assert np.isnan(metrics.up_capture([0.1, 0.1], [-0.1, 0.0]))
    assert np.isnan(metrics.down_capture([0.1, 0.1], [0.1, 0.0]))
    assert np.isnan(metrics.beta([0.1, 0.2], [0.1, 0.1]))
    assert {"omega", "stability", "tail_ratio", "up_capture", "down_capture"} <= metrics.UNDEFINED.keys()


def test_rows_in_which_either_side_is_missing_are_left_out(real):
    r, b = real[0][:300], real[1][:300]
    gaps = np.insert(r, 10, np.nan), np.insert(b, 10, 0.5)
    for figure in BESIDE:
        assert getattr(metrics, figure)(*gaps) == getattr(metrics, figure)(r, b)
    with pytest.raises(BadInput, match="row by row"):
        metrics.beta(r, b[1:])


def test_a_straight_line_through_a_random_walk_looks_stable():
    rng = np.random.default_rng(1)
    found = [metrics.stability(0.01 * rng.standard_normal(500)) for _ in range(300)]
    assert 0.35 < np.median(found) < 0.55  # the docstring: half are above 0.45


# --- how long is long enough ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("periods", "shape", "years"),
    [
        (250, {}, 2.73),
        (52, {}, 2.83),
        (12, {}, 3.24),
        (12, {"skewness": -0.72, "kurtosis": 5.78}, 4.99),
    ],
)
def test_minimum_track_record_of_the_papers_examples(periods, shape, years):
    """Bailey and López de Prado (2012): an annual Sharpe ratio of 2 is told from 1 with 95 % after so many years, of
    normal returns by day, week and month, and of monthly ones shaped like those of hedge funds."""
    root = np.sqrt(periods)
    found = metrics.track_record_length(2 / root, benchmark=1 / root, **shape)
    assert found / periods == pytest.approx(years, abs=0.005)


def test_a_track_record_is_as_long_as_the_probability_says(real):
    # at the minimum length the probabilistic Sharpe ratio of returns of the same shape is the confidence
    r = 0.01 + real[0]
    n = metrics.minimum_track_record(r, confidence=0.9)
    se = metrics.sharpe_standard_error(r) * np.sqrt((len(r) - 1) / (n - 1))
    assert metrics.sharpe(r) / se == pytest.approx(1.2815515655)


def test_no_track_record_is_long_enough_for_a_ratio_that_is_not_above():
    assert np.isnan(metrics.track_record_length(0.1, benchmark=0.1))
    assert np.isnan(metrics.minimum_track_record([-0.01, 0.005, -0.02]))
    assert np.isnan(metrics.minimum_track_record([0.01, 0.01]))


@pytest.mark.parametrize(("n_trials", "years"), [(7, 2), (45, 5)])
def test_minimum_backtest_length_of_the_papers_examples(n_trials, years):
    """Bailey, Borwein, López de Prado and Zhu (2014): no more than 7 trials in 2 years, 45 in 5, or the best of them
    has an annual Sharpe ratio of 1 by luck."""
    assert metrics.minimum_backtest(n_trials) <= years < metrics.minimum_backtest(n_trials + 1)
    assert metrics.minimum_backtest(n_trials, 2.0) == pytest.approx(metrics.minimum_backtest(n_trials) / 4)


def test_a_single_trial_needs_no_backtest_length():
    assert np.isnan(metrics.minimum_backtest(1))
    assert np.isnan(metrics.minimum_backtest(10, 0.0))


def test_the_best_of_trials_shows_by_luck_what_it_is_said_to():
    rng = np.random.default_rng(5)
    years = metrics.minimum_backtest(30)
    n = round(252 * years)
    best = [max(rng.standard_normal(30) / np.sqrt(n)) * np.sqrt(252) for _ in range(2_000)]
    assert_allclose(np.mean(best), 1.0, atol=0.03)
