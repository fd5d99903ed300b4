"""The formulas give the numbers of a hand calculation, of another library or of the paper that is named."""

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose
from scipy import integrate, stats
from scipy.signal import lfilter
from skfolio import measures

from mltrainer import metrics

# Returns are whole thousandths: a scale or an order then changes rounding only.
thousandths = st.integers(-900, 900).map(lambda k: k / 1000)
returns = hnp.arrays(float, st.integers(3, 60), elements=thousandths)
varied = returns.filter(lambda r: np.ptp(r) > 0)


def real_like(rng, n=500):
    """Skewed, fat-tailed daily returns: numbers for a formula, never for a model."""
    return 0.001 + 0.01 * rng.standard_t(5, n) - 0.004 * rng.exponential(size=n)


@pytest.fixture
def rng():
    return np.random.default_rng(20140910)


# --- forecasts against outcomes -------------------------------------------------------------------------------


def test_errors_of_three_forecasts_by_hand():
    y, said = [1.0, 2.0, 4.0], [1.0, 3.0, 2.0]
    assert metrics.mse(y, said) == pytest.approx(5 / 3)
    assert metrics.mae(y, said) == pytest.approx(1.0)
    # mean 7/3: total (16 + 1 + 25) / 9 = 42/9, residual 5
    assert metrics.r2(y, said) == pytest.approx(1 - 5 / (42 / 9))
    # against the baseline 1, 1, 2: total 0 + 1 + 4
    assert metrics.r2(y, said, [1.0, 1.0, 2.0]) == pytest.approx(0.0)


def test_r2_of_an_outcome_that_does_not_vary_is_undefined():
    assert np.isnan(metrics.r2([2.0, 2.0], [1.0, 3.0]))
    assert "r2" in metrics.UNDEFINED


def test_percentage_error_is_of_the_exit_price_and_survives_a_zero_return():
    # exit price 110 expected at 100: 10/110; expected 102 at 100: 2/100
    assert metrics.mape_of_price([0.10, 0.0], [0.0, 0.02]) == pytest.approx((10 / 110 + 2 / 100) / 2)


@pytest.mark.parametrize("lags", [1, 5, 10, 40])
def test_newey_west_t_is_that_of_statsmodels_ols_with_hac_errors(rng, lags):
    x = 0.1 + np.convolve(rng.normal(size=400), np.ones(5) / 5, "valid")
    ols = sm.OLS(x, np.ones_like(x)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    assert metrics.newey_west_t(x, lags) == pytest.approx(float(ols.tvalues[0]), rel=1e-10)


def test_more_lags_than_rows_are_cut_to_what_there_is():
    # the weights stay those of 50 lags
    x = np.array([1.0, 2.0, 4.0])
    d = x - x.mean()
    variance = (d @ d + 2 * (50 / 51 * (d[1:] @ d[:-1]) + 49 / 51 * d[2] * d[0])) / 3
    assert metrics.newey_west_t(x, 50) == pytest.approx(x.mean() / np.sqrt(variance / 3))
    assert np.isnan(metrics.newey_west_t([1.0, 1.0, 1.0], 2))


def test_information_coefficient_is_scipys_spearman_correlation_with_ties(rng):
    y = np.round(rng.normal(size=300), 1)
    said = np.round(0.3 * y + rng.normal(size=300), 1)
    ic, t = metrics.information_coefficient(y, said, lags=5)
    assert ic == pytest.approx(stats.spearmanr(y, said).statistic)
    assert t > 2


def test_information_coefficient_of_noise_is_rarely_called_significant_where_a_naive_t_mostly_is(rng):
    """200 worlds of 20-session labels, a persistent regressor: a naive t rejects 67 % where 5 % is meant, ours 12 %."""
    naive = robust = 0
    for _ in range(200):
        y = np.convolve(rng.normal(size=619), np.ones(20), "valid")
        said = lfilter([1], [1, -0.98], rng.normal(size=700))[100:]
        naive += abs(metrics.information_coefficient(y, said, lags=0)[1]) > 1.96
        robust += abs(metrics.information_coefficient(y, said, lags=20)[1]) > 1.96
    assert naive / 200 > 0.5
    assert 0.05 < robust / 200 < 0.2  # it is known to be too often: few labels are independent


def test_information_coefficient_of_a_constant_forecast_is_undefined():
    assert np.isnan(metrics.information_coefficient([1.0, 2.0, 3.0], [0.5, 0.5, 0.5], lags=1)).all()


def test_the_spread_of_forecasts_over_that_of_outcomes_by_hand():
    # deviations 1 and 0.2; the same with another mean
    assert metrics.spread_ratio([1.0, 3.0], [5.1, 5.5]) == pytest.approx(0.2)
    assert metrics.spread_ratio([1.0, 3.0], [2.0, 2.0]) == 0.0
    assert np.isnan(metrics.spread_ratio([2.0, 2.0], [1.0, 3.0]))


def test_the_mincer_zarnowitz_slope_of_four_rows_by_hand():
    # f about its mean -2, -1, 1, 2; y about its mean -1, -1, 1, 1: slope (2 + 1 + 1 + 2) / 10, residuals 0.2, -0.4,
    # 0.4, -0.2; scores f e -0.4, 0.4, 0.4, -0.4: with no lags the sum of squares 0.64, so 0.8 / 10
    y, said = [0.0, 0.0, 2.0, 2.0], [3.0, 4.0, 6.0, 7.0]
    assert metrics.calibration_slope(y, said, lags=0) == pytest.approx((0.6, 0.08))
    # lags 1 have the bandwidth 2: autocovariances of the scores -0.16 and -0.32, weights 2/3 and 1/3
    with_lags = np.sqrt(0.64 + 2 * (2 / 3 * -0.16 + 1 / 3 * -0.32)) / 10
    assert metrics.calibration_slope(y, said, lags=1) == pytest.approx((0.6, with_lags))


@pytest.mark.parametrize("lags", [0, 1, 5, 20])
def test_the_mincer_zarnowitz_regression_is_that_of_statsmodels(rng, lags):
    said = lfilter([1], [1, -0.9], rng.normal(size=400))
    y = 0.2 * said + np.convolve(rng.normal(size=404), np.ones(5), "valid")
    hac = {"maxlags": 2 * lags, "use_correction": False}
    ols = sm.OLS(y, sm.add_constant(said)).fit(cov_type="HAC", cov_kwds=hac)
    slope, error = metrics.calibration_slope(y, said, lags=lags)
    assert slope == pytest.approx(float(ols.params[1]), rel=1e-10)
    assert error == pytest.approx(float(ols.bse[1]), rel=1e-10)


@given(st.floats(0.01, 100))
def test_a_forecast_that_is_wider_has_a_smaller_slope_in_proportion(times):
    rng = np.random.default_rng(3)
    said = rng.normal(size=50)
    y = said + rng.normal(size=50)
    slope, error = metrics.calibration_slope(y, said, lags=5)
    assert metrics.calibration_slope(y, times * said, lags=5) == pytest.approx((slope / times, error / times))
    assert metrics.spread_ratio(y, times * said) == pytest.approx(times * metrics.spread_ratio(y, said))


def test_a_constant_forecast_has_no_slope():
    assert np.isnan(metrics.calibration_slope([1.0, 2.0], [0.5, 0.5], lags=1)).all()
    assert {"spread_ratio", "mz_slope", "mz_slope_se"} <= metrics.UNDEFINED.keys()


def test_hit_rate_counts_signs_and_leaves_zeros_out():
    assert metrics.hit_rate([0.1, -0.1, 0.2, 0.0, 0.3], [1.0, 1.0, -2.0, 5.0, 0.0]) == pytest.approx(1 / 3)
    assert np.isnan(metrics.hit_rate([0.0, 0.1], [1.0, 0.0]))


def test_pesaran_timmermann_of_a_table_by_hand():
    # 16 rows: up and said up 7, up and said down 3, down and said up 1, both down 5. p = 10/16, q = 8/16, hits 12/16,
    # expected 1/2; var 0.25/16 - (0.0625 * 0.25)/16 - 4 * 0.05859375/256 = 0.1171875 ** 2; z = 0.25/0.1171875 = 32/15
    y = np.repeat([1, 1, -1, -1], [7, 3, 1, 5])
    said = np.repeat([1, -1, 1, -1], [7, 3, 1, 5])
    assert metrics.timing_p_value(y, said) == pytest.approx(stats.norm.sf(32 / 15), rel=1e-12)


def test_pesaran_timmermann_p_values_of_independent_signs_are_uniform(rng):
    p = [metrics.timing_p_value(rng.normal(size=250) + 0.1, rng.normal(size=250) + 0.2) for _ in range(400)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_always_saying_up_is_no_timing():
    assert np.isnan(metrics.timing_p_value(np.linspace(-1, 2, 50), np.ones(50)))


def test_pinball_by_hand():
    # q = 0.9: under by 1 costs 0.9, over by 2 costs 0.2
    assert metrics.pinball([2.0, 0.0], [1.0, 2.0], q=0.9) == pytest.approx((0.9 + 0.2) / 2)


@given(varied, st.floats(0.05, 0.95), thousandths)
def test_pinball_is_smallest_at_the_quantile(y, q, other):
    best = np.quantile(y, q, method="inverted_cdf")
    assert metrics.pinball(y, np.full_like(y, best), q=q) <= metrics.pinball(y, np.full_like(y, other), q=q) + 1e-12


def test_coverage_counts_only_rows_with_an_interval():
    lower, upper = [np.nan, 0.0, 0.0, 0.0], [np.nan, 1.0, 1.0, 1.0]
    assert metrics.coverage([9.0, 0.5, 1.0, 1.5], lower, upper) == pytest.approx(2 / 3)
    assert np.isnan(metrics.coverage([1.0], [np.nan], [np.nan]))


@given(varied, st.floats(0, 1), st.floats(0, 1))
def test_a_wider_interval_never_covers_less(y, a, b):
    narrow, wide = min(a, b), max(a, b)
    assert metrics.coverage(y, y * 0 - narrow, y * 0 + narrow) <= metrics.coverage(y, y * 0 - wide, y * 0 + wide)


# --- returns of a strategy ------------------------------------------------------------------------------------


def test_sharpe_of_two_returns_by_hand():
    # mean 0.02, deviation 0.01 * sqrt(2): ratio sqrt(2) a session, sqrt(504) a year
    assert metrics.sharpe([0.01, 0.03]) == pytest.approx(np.sqrt(504))
    assert metrics.sharpe([0.01, np.nan, 0.03], periods=1) == pytest.approx(np.sqrt(2))


def test_sharpe_of_returns_that_do_not_vary_is_undefined():
    assert np.isnan(metrics.sharpe([0.1, 0.1, 0.1]))
    assert np.isnan(metrics.sharpe([0.1]))


def test_sortino_of_four_returns_by_hand():
    # mean 0.005, downside sqrt((0.0001 + 0.0004) / 4) = 0.005 * sqrt(5): ratio sqrt(1/5) a session
    assert metrics.sortino([0.02, -0.01, 0.03, -0.02]) == pytest.approx(np.sqrt(252 / 5))


def test_drawdown_by_hand_and_the_start_counts_as_a_peak():
    assert metrics.max_drawdown([0.25, -0.2, -0.25, 1.0]) == pytest.approx(0.4)  # 1.25 -> 0.75
    assert metrics.max_drawdown([-0.2, 0.1]) == pytest.approx(0.2)


def test_calmar_of_half_a_year_by_hand():
    half_year = np.concatenate([[-0.5, 1.2], np.zeros(124)])  # 1.1 after 126 sessions: 0.21 a year; half was lost
    assert metrics.annual_return(half_year) == pytest.approx(0.21)
    assert metrics.calmar(half_year) == pytest.approx(0.42)


def test_a_short_that_loses_more_than_everything_never_comes_back():
    assert metrics.annual_return([-1.5, -1.5]) == -1.0  # not (-0.5) ** 2 = 0.25 of the wealth
    assert metrics.max_drawdown([0.1, -1.5, -3.0, 2.0]) == 1.0
    assert_allclose(metrics.wealth([1.0, -1.2, 0.5]), [2.0, 0.0, 0.0])


def test_value_at_risk_and_shortfall_of_twenty_returns_by_hand():
    r = np.arange(-10, 10) / 100  # at 10 %: position 0.1 * 19 = 1.9, the lower is the second worst
    assert metrics.value_at_risk(r, alpha=0.10) == pytest.approx(0.09)
    assert metrics.expected_shortfall(r, alpha=0.10) == pytest.approx(0.095)


@given(varied, st.floats(0.01, 0.5))
def test_shortfall_is_at_least_the_value_at_risk(r, alpha):
    assert metrics.expected_shortfall(r, alpha=alpha) >= metrics.value_at_risk(r, alpha=alpha) - 1e-12


def test_profit_factor_and_win_rate_by_hand():
    assert metrics.profit_factor([0.03, -0.01, 0.0, 0.03]) == pytest.approx(6.0)
    assert metrics.win_rate([0.01, 0.0, -0.01, 0.02]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("figure", ["sortino", "profit_factor", "calmar"])
def test_a_strategy_that_never_loses_has_undefined_ratios_not_infinite_ones(figure):
    assert np.isnan(getattr(metrics, figure)([0.01, 0.02, 0.0]))
    assert figure in metrics.UNDEFINED


@pytest.mark.parametrize(
    "figure",
    "sharpe sharpe_standard_error probabilistic_sharpe sortino calmar value_at_risk expected_shortfall profit_factor "
    "win_rate annual_return".split(),
)
def test_no_returns_at_all_give_nan_and_no_warning(figure):
    assert np.isnan(getattr(metrics, figure)([]))


@given(varied, st.integers(1, 9))
def test_ratios_are_unchanged_when_returns_scale_together(r, k):
    for ratio in (metrics.sharpe, metrics.sortino, metrics.profit_factor, metrics.win_rate):
        assert_allclose(ratio(r / k), ratio(r), rtol=1e-9)


@given(varied)
def test_sharpe_turns_its_sign_with_the_returns(r):
    assert_allclose(metrics.sharpe(-r), -metrics.sharpe(r), rtol=1e-12)


@given(varied, st.randoms(use_true_random=False))
def test_ratios_do_not_know_the_order_of_the_days(r, random):
    mixed = np.array(random.sample(list(r), len(r)))
    for figure in (metrics.sharpe, metrics.sortino, metrics.value_at_risk, metrics.win_rate, metrics.annual_return):
        assert_allclose(figure(mixed), figure(r), rtol=1e-9, atol=1e-12)


@given(hnp.arrays(float, st.integers(1, 60), elements=st.floats(-2, 2)))
def test_drawdown_is_a_fraction_of_wealth_and_zero_only_without_a_loss(r):
    loss = metrics.max_drawdown(r)
    assert 0 <= loss <= 1
    assert (loss == 0) == (metrics.wealth(r) >= np.maximum.accumulate(np.append(1.0, metrics.wealth(r)))[:-1]).all()


# --- luck -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("benchmark", [0.0, 0.5, 2.0])
def test_probabilistic_sharpe_is_that_of_skfolio(rng, benchmark):
    r = real_like(rng)
    theirs = measures.probabilistic_sharpe_ratio(r, benchmark / np.sqrt(252))  # theirs is per session
    assert metrics.probabilistic_sharpe(r, benchmark=benchmark) == pytest.approx(theirs, rel=1e-9)


def test_deflated_sharpe_is_that_of_skfolio(rng):
    trials = np.array([real_like(rng) for _ in range(30)])
    ratios = np.array([metrics.sharpe(r) for r in trials])
    best = trials[ratios.argmax()]
    threshold = metrics.luck_threshold(ratios.std(ddof=1), 30)
    theirs = measures.deflated_sharpe_ratio(best, ratios / np.sqrt(252))
    assert metrics.probabilistic_sharpe(best, benchmark=threshold) == pytest.approx(theirs, rel=1e-9)


def test_deflated_sharpe_of_the_papers_example():
    """Bailey and López de Prado (2014): 100 trials with variance 1/2, SR 2.5 a year of 250 days, 1,250 days,
    skewness -3, kurtosis 10: the threshold is 0.1132 a day and the deflated Sharpe ratio 0.9004."""
    threshold = metrics.luck_threshold(np.sqrt(0.5 / 250), 100)
    assert threshold == pytest.approx(0.1132, abs=5e-5)
    daily = 2.5 / np.sqrt(250)
    deviation = np.sqrt((1 + 3 * daily + 9 / 4 * daily**2) / 1249)
    assert stats.norm.cdf((daily - threshold) / deviation) == pytest.approx(0.9004, abs=5e-5)


def test_standard_error_of_the_sharpe_ratio_is_mertens_by_hand():
    r = np.tile([0.03, -0.01], 50)  # mean 0.01, deviation 0.02 (n), skewness 0, kurtosis 1
    sr = 0.01 / (0.02 * np.sqrt(100 / 99))
    assert metrics.sharpe(r, periods=1) == pytest.approx(sr)
    assert metrics.sharpe_standard_error(r, periods=1) == pytest.approx(np.sqrt(1 / 99))  # (kurtosis - 1)/4 SR^2 is 0


@pytest.mark.parametrize(("years", "best"), [(1, 2.55), (2, 1.80), (3, 1.47), (5, 1.14), (10, 0.81)])
def test_best_of_105_models_without_skill_is_as_measured(years, best):
    """notes/finance.md, measured by simulation; the sampling error of an annual Sharpe ratio is 1 / sqrt(years)."""
    assert metrics.luck_threshold(1 / np.sqrt(years), 105) == pytest.approx(best, abs=0.006)


@pytest.mark.parametrize("n", [10, 105, 1000])
def test_luck_threshold_is_the_expected_maximum_of_normals_to_three_percent(n):
    density = lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1)  # noqa: E731
    expected, _ = integrate.quad(density, -10, 10)
    assert metrics.luck_threshold(1.0, n) == pytest.approx(expected, rel=0.03)


def test_one_trial_has_no_luck_to_deflate_by():
    assert np.isnan(metrics.luck_threshold(1.0, 1))


def test_overfitting_of_two_trials_that_take_turns_is_certain():
    r = np.tile([0.01, 0.02], 20)
    turns = np.column_stack([np.append(r, -r), np.append(-r, r)])  # the winner of a half is the loser of the other
    assert metrics.backtest_overfitting(turns, blocks=2) == 1.0


def test_overfitting_of_a_trial_better_in_every_block_is_zero(rng):
    noise = 0.01 * rng.normal(size=(500, 10))
    noise[:, 3] += 0.01
    assert metrics.backtest_overfitting(noise) == 0.0


def test_overfitting_of_pure_noise_is_about_one_half(rng):
    figures = [metrics.backtest_overfitting(rng.normal(size=(400, 20)), blocks=8) for _ in range(60)]
    assert np.mean(figures) == pytest.approx(0.5, abs=0.08)


def test_overfitting_counts_a_best_that_is_the_median_of_the_other_half():
    """Of three trials the best of each half is second of the other: logit(2 / 4) = 0, and the definition says <= 0."""
    r, means = np.tile([0.01, -0.01], 20), np.array([[3, 2, 1], [2, 3, 1]]) / 1e3
    assert metrics.backtest_overfitting(np.vstack([r[:, None] + half for half in means]), blocks=2) == 1.0


@pytest.mark.parametrize("k", [2, 3, 4, 5, 8, 9])
def test_overfitting_is_the_share_of_splits_whose_logit_is_not_positive(rng, k):
    """Bailey, Borwein, Lopez de Prado and Zhu (2017), section 2, step by step, by scipy's ranks."""
    R, logits = rng.normal(0.1, 1.0, size=(200, k)), []
    for half in itertools.combinations(range(10), 5):
        inside = np.isin(np.repeat(np.arange(10), 20), half)
        ratio = [R[rows].mean(axis=0) / R[rows].std(axis=0) for rows in (inside, ~inside)]
        omega = stats.rankdata(ratio[1])[np.argmax(ratio[0])] / (k + 1)
        logits.append(np.log(omega / (1 - omega)))
    assert metrics.backtest_overfitting(R) == np.mean(np.array(logits) <= 0)


def test_overfitting_needs_two_trials_that_trade():
    assert np.isnan(metrics.backtest_overfitting(np.zeros((400, 3))))


# --- many models against the same outcomes ---------------------------------------------------------------------


def weekly(t, n=400, seed=0):
    """Daily loss differences whose weekly means, n of them, have exactly this t statistic."""
    z = np.random.default_rng(seed).normal(size=n)
    return np.repeat((z - z.mean()) / z.std() + t / np.sqrt(n), 5)


@pytest.mark.parametrize("t", [0.5, 1.28, 1.645, 2.33])
def test_superior_ability_of_one_model_has_the_p_value_of_a_normal_mean(t):
    # a single model and independent weeks: Hansen (2005) is then the one-sided test of a mean
    p = metrics.superior_ability(-weekly(t)[:, None], np.zeros(2_000), overlap=5)
    assert p == pytest.approx(stats.norm.sf(t), abs=0.06)


def test_superior_ability_asks_more_of_the_best_of_many(rng):
    alone = weekly(2.2)
    crowd = np.column_stack([-alone, *(-weekly(t, seed=i + 1) for i, t in enumerate(rng.normal(size=60)))])
    zero = np.zeros(2_000)
    assert metrics.superior_ability(crowd[:, :1], zero, overlap=5) < 0.05
    assert metrics.superior_ability(crowd, zero, overlap=5) > 0.1
    same = np.column_stack([np.zeros(2_000), -weekly(-3.0)])  # the benchmark itself, and one that is worse
    assert metrics.superior_ability(same, zero, overlap=5) == 1.0
    assert np.isnan(metrics.superior_ability(same[:, :1], zero, overlap=5))
    better = np.column_stack([crowd, -weekly(6.0, seed=99)])
    assert metrics.superior_ability(better, zero, overlap=5) < 0.01


@pytest.mark.parametrize(("t", "both"), [(0.0, True), (1.3, True), (2.2, False), (-2.2, False)])
def test_of_two_models_the_confidence_set_keeps_both_until_their_difference_is_significant(t, both):
    # two models: T_max is the two-sided test of their mean difference, at 10 % significant beyond 1.645
    losses = np.column_stack([np.zeros(2_000), weekly(t)])
    inside = metrics.confidence_set(losses, overlap=5)
    assert list(inside) == ([True, True] if both else [t > 0, t < 0])


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=15)
def test_the_best_is_always_in_the_confidence_set_and_copies_share_their_fate(seed, k):
    rng = np.random.default_rng(seed)
    losses = rng.exponential(size=(600, k)) + rng.uniform(0, 1, size=k)
    inside = metrics.confidence_set(np.column_stack([losses, losses]), overlap=5)
    assert inside[int(np.argmin(losses.mean(axis=0)))]
    assert np.array_equal(inside[:k], inside[k:])


def test_with_too_little_history_nothing_is_told_apart(rng):
    losses = rng.exponential(size=(90, 3))
    assert np.isnan(metrics.superior_ability(losses, losses[:, 0], overlap=5))
    assert metrics.confidence_set(losses, overlap=5).all()
    assert metrics.confidence_set(losses[:, :1], overlap=1).all()


def test_every_undefined_figure_has_its_reason_in_words():
    assert all(reason and reason[0].islower() for reason in metrics.UNDEFINED.values())
