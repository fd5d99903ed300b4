"""Tests of promises have the numbers of MathWorks' examples and of the papers, and reject as often as they say.

Risk Management Toolbox, `varbacktest` (1,043 sessions of an equity index) and `esbacktest` (1,966 sessions).
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rates import claimed
from scipy import integrate, stats

from mltrainer import metrics
from mltrainer.errors import BadInput
from mltrainer.metrics import backtests


@pytest.fixture
def rng():
    return np.random.default_rng(1998)


def history(runs, n=1_043):
    """Failures in runs of these lengths, ten sessions apart, none at either end."""
    failed = np.zeros(n, dtype=bool)
    for i, length in enumerate(runs):
        failed[3 + 15 * i : 3 + 15 * i + length] = True
    return failed


NORMAL95 = history([2] * 4 + [1] * 49)  # N00 932, N10 53, N01 53, N11 4


# --- coverage ---------------------------------------------------------------------------------------------------


def test_coverage_of_mathworks_normal95():
    """57 failures of 1,043 at 95 %: pof 0.46147 (p 0.49694), cci 0.25866 (0.61104), cc 0.72013 (0.69763)."""
    assert NORMAL95.sum() == 57
    assert metrics.kupiec(NORMAL95, alpha=0.05) == pytest.approx((0.46147, 0.49694), abs=5e-6)
    assert metrics.christoffersen_independence(NORMAL95) == pytest.approx((0.25866, 0.61104), abs=5e-6)
    assert metrics.christoffersen(NORMAL95, alpha=0.05) == pytest.approx((0.72013, 0.69763), abs=5e-6)


def test_coverage_of_mathworks_normal99():
    """17 failures of 1,043 at 99 %: pof 3.5118 (p 0.060933)."""
    assert metrics.kupiec(history([1] * 17), alpha=0.01) == pytest.approx((3.5118, 0.060933), abs=5e-5)


KUPIEC = [
    (510, 0.01, 1, 11), (1_000, 0.01, 4, 17), (255, 0.025, 2, 12), (510, 0.025, 6, 21), (1_000, 0.025, 15, 36),
    (255, 0.05, 6, 21), (510, 0.05, 16, 36), (1_000, 0.05, 37, 65),
]  # fmt: skip


@pytest.mark.parametrize(("n", "alpha", "low", "high"), KUPIEC)
def test_kupiec_accepts_what_his_table_accepts(n, alpha, low, high):
    """Kupiec (1995), as in Jorion (2006), table 6-2: at 5 % a model is kept for low < N < high."""
    kept = {x: metrics.kupiec(np.arange(n) < x, alpha=alpha).p > 0.05 for x in (low, low + 1, high - 1, high)}
    assert list(kept.values()) == [False, True, True, False]


def test_no_failure_and_nothing_but_failures_have_a_statistic():
    # -2 n log(1 - alpha), -2 n log(alpha)
    assert metrics.kupiec(np.zeros(100), alpha=0.05).statistic == pytest.approx(-200 * np.log(0.95))
    assert metrics.kupiec(np.ones(100), alpha=0.05).statistic == pytest.approx(-200 * np.log(0.05))
    assert metrics.christoffersen_independence(np.zeros(100)) == (0.0, 1.0)
    assert metrics.christoffersen_independence(np.ones(100)) == (0.0, 1.0)


def test_independence_of_ten_sessions_by_hand():
    # 0011100111: n00 2, n01 2, n10 1, n11 4; pi 6/9, pi01 1/2, pi11 4/5
    F = [0, 0, 1, 1, 1, 0, 0, 1, 1, 1]
    free = 4 * np.log(1 / 2) + np.log(1 / 5) + 4 * np.log(4 / 5)
    bound = 3 * np.log(3 / 9) + 6 * np.log(6 / 9)
    assert metrics.christoffersen_independence(F).statistic == pytest.approx(2 * (free - bound))


def simulated(rng, n, rate, stay=None, runs=2_000):
    """Histories of failures; `stay` is the probability of another one after a failure."""
    stay = rate if stay is None else stay
    after_none = rate * (1 - stay) / (1 - rate)
    F = np.zeros((runs, n), dtype=bool)
    F[:, 0] = rng.random(runs) < rate
    for t in range(1, n):
        F[:, t] = rng.random(runs) < np.where(F[:, t - 1], stay, after_none)
    return F


def rates(F, alpha):
    """How often each test rejects at 5 %."""
    promised = [(metrics.kupiec(f, alpha=alpha).p, metrics.christoffersen(f, alpha=alpha).p) for f in F]
    (kupiec, both), independence = np.transpose(promised), [metrics.christoffersen_independence(f).p for f in F]
    return [np.mean(np.array(p) < 0.05) for p in (kupiec, independence, both)]


def test_a_right_model_is_rejected_about_as_often_as_the_level_says(rng):
    """2,000 worlds of 1,000 sessions; the bounds are two-sided around what 40,000 gave."""
    kupiec, independence, both = rates(simulated(rng, 1_000, 0.05), 0.05)
    assert 0.03 < kupiec < 0.08  # measured with 40,000: 0.052, 0.084 and 0.055
    assert 0.05 < independence < 0.12
    assert 0.03 < both < 0.08


def test_each_test_sees_what_it_is_for(rng):
    kupiec, independence, both = rates(simulated(rng, 250, 0.10, runs=500), 0.05)  # twice the failures: .88, .07, .80
    assert kupiec > 0.8
    assert independence < 0.15
    assert both > 0.7
    kupiec, independence, both = rates(
        simulated(rng, 1_000, 0.05, stay=0.25, runs=500), 0.05
    )  # clusters: .12, .98, .98
    assert kupiec < 0.2
    assert independence > 0.95
    assert both > 0.95


def test_simulated_p_values_mend_a_short_history(rng):
    """400 worlds: at 250 sessions and 1 % chi-square rejects a right model in 9 % by Kupiec's test.

    Failures are few whole numbers, so no p lies near 0.05 from below: the simulated test rejects 0.5 to 6 % there, and
    25 to 56 worlds at 10 %. Christoffersen's two (200 worlds) reject some at 5 %, and at most 8 %.
    """
    F = simulated(rng, 250, 0.01, runs=400)
    asymptotic = np.mean([metrics.kupiec(f, alpha=0.01).p < 0.05 for f in F])
    drawn = np.array([metrics.kupiec(f, alpha=0.01, draws=400).p for f in F])
    assert asymptotic > 0.06
    assert 0.005 < np.mean(drawn < 0.05) < 0.06
    assert claimed(np.sum(drawn < 0.10), 400, 0.10)
    for test in (metrics.christoffersen_independence, lambda f, **k: metrics.christoffersen(f, alpha=0.01, **k)):
        assert 0 < np.mean([test(f, draws=200).p < 0.05 for f in F[:200]]) < 0.08


def test_simulated_and_asymptotic_p_values_agree_where_failures_are_many(rng):
    F = rng.random(3_000) < 0.11
    for test in (metrics.kupiec, metrics.christoffersen):
        assert test(F, alpha=0.10, draws=4_000).p == pytest.approx(test(F, alpha=0.10).p, abs=0.03)
    alone, drawn = metrics.christoffersen_independence(F), metrics.christoffersen_independence(F, draws=2_000)
    assert drawn.p == pytest.approx(alone.p, abs=0.04)


@given(st.lists(st.booleans(), min_size=8, max_size=80), st.floats(0.01, 0.5))
@settings(max_examples=60)
def test_the_parts_add_up_and_turning_time_around_changes_no_cluster(failed, alpha):
    pof, cci = metrics.kupiec(failed, alpha=alpha), metrics.christoffersen_independence(failed)
    assert metrics.christoffersen(failed, alpha=alpha).statistic == pytest.approx(pof.statistic + cci.statistic)
    assert metrics.kupiec(failed[::-1], alpha=alpha) == pytest.approx(pof)
    assert min(pof + cci) >= 0


def test_a_failure_is_a_loss_beyond_what_was_said_and_a_miss_an_outcome_outside():
    r, var = [-0.03, -0.02, 0.01, np.nan, -0.5], [0.02, 0.02, 0.02, 0.02, np.nan]
    assert metrics.failures(r, var).tolist() == [True, False, False]
    assert metrics.misses([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, np.nan], [1.0, 1.0, 1.0, 9.0]).tolist() == [
        False,
        False,
        True,
    ]


# --- expected shortfall -----------------------------------------------------------------------------------------


def test_shortfall_statistics_of_eight_sessions_by_hand():
    # two failures, -0.06 and -0.03, of 8 at 25 %: Z2 = 1 - 0.09 / 0.04 / (8 * 0.25), Z1 the same as 2 were expected
    r, var, es = np.array([-0.06, -0.03, 0.01, 0.0, -0.02, 0.02, 0.01, 0.0]), np.full(8, 0.02), np.full(8, 0.04)
    assert metrics.acerbi_szekely(r, var, es, alpha=0.25).statistic == pytest.approx(1 - 2.25 / 2)
    assert metrics.acerbi_szekely(r, var, es, alpha=0.25, given_failures=True).statistic == pytest.approx(1 - 2.25 / 2)
    assert metrics.acerbi_szekely(r, var, es, alpha=0.125).statistic == pytest.approx(1 - 2.25)
    assert metrics.acerbi_szekely(r, var, es, alpha=0.125, given_failures=True).statistic == pytest.approx(1 - 2.25 / 2)


@pytest.mark.parametrize(("nu", "five", "rare"), [(np.inf, -0.70, -1.8), (10, -0.71, None), (3, -0.82, None)])
def test_critical_values_of_z2_are_those_of_the_paper(nu, five, rare):
    """Acerbi and Székely (2014): -0.7 at 5 % and -1.8 at 0.01 %, 250 sessions, 2.5 %; -0.82 with 3 degrees."""
    drawn = backtests._drawn_z(250, 0.025, nu, False, 60_000, np.random.default_rng(0))
    assert np.quantile(drawn, 0.05) == pytest.approx(five, abs=0.015)
    assert rare is None or np.quantile(drawn, 0.0001) == pytest.approx(rare, abs=0.25)


@pytest.mark.parametrize(("nu", "critical", "p"), [(np.inf, -0.34639, 0.0054099), (3, -0.42986, 0.018566)])
def test_p_values_of_z2_are_those_of_mathworks(nu, critical, p):
    """Z2 -0.38265 of 1,966 sessions at 97.5 %: critical at 1 % and p, normal and with 3 degrees of freedom."""
    drawn = backtests._drawn_z(1_966, 0.025, nu, False, 40_000, np.random.default_rng(0))
    assert np.quantile(drawn, 0.01) == pytest.approx(critical, abs=0.012)
    assert np.mean(drawn <= -0.38265) == pytest.approx(p, abs=0.003)


@pytest.mark.parametrize("nu", [3, np.inf])
def test_right_shortfalls_have_a_statistic_of_zero_on_average_also_where_failures_are_rare(nu):
    for first in (False, True):
        drawn = backtests._drawn_z(20, 0.025, nu, first, 40_000, np.random.default_rng(0))
        assert drawn.mean() == pytest.approx(0.0, abs=0.05)


def promised(nu, alpha=0.025, n=500):
    """What a Student distribution with unit scale promises of each of n sessions."""
    var, es = backtests._student_tail(nu, alpha)
    return np.full(n, var), np.full(n, es)


def test_the_tail_of_a_student_distribution_is_its_integral():
    var, es = backtests._student_tail(5, 0.025)
    mean, _ = integrate.quad(lambda p: stats.t(5).ppf(p), 0, 0.025)
    assert (var, es) == pytest.approx((-stats.t(5).ppf(0.025), -mean / 0.025))


@pytest.mark.parametrize("nu", [3.0, 6.0, 30.0])
def test_the_shape_is_read_from_what_was_promised(nu):
    var, es = backtests._student_tail(nu, 0.025)
    assert backtests._shape(es / var, 0.025) == pytest.approx(nu)
    assert backtests._shape(1.0, 0.025) == np.inf
    assert backtests._shape(9.0, 0.025) == 2.1


@pytest.mark.slow
@pytest.mark.parametrize("nu", [4.0, np.inf])
def test_right_shortfalls_are_rejected_as_often_as_the_level_says_and_small_ones_are_seen(rng, nu):
    var, es = promised(nu)
    draw = lambda k: backtests._distribution(nu).rvs((k, 500), random_state=rng)  # noqa: E731

    def rejected(returns, **knobs):
        found = [metrics.acerbi_szekely(r, var, es, alpha=0.025, draws=200, **knobs).p < 0.05 for r in returns]
        return np.mean(found)

    right, wide = draw(150), 1.3 * draw(40)
    assert rejected(right) < 0.10  # 150 draws: a standard error of 0.018; measured 0.04 and 0.05
    assert rejected(right, given_failures=True) < 0.10
    assert rejected(wide) > 0.8


def test_z1_sees_how_much_is_lost_and_z2_also_how_often(rng):
    var, es = promised(np.inf, n=4_000)
    r = rng.standard_normal(4_000)
    often = np.where(rng.random(4_000) < 0.03, -var - (es - var) * rng.exponential(size=4_000), np.abs(r))
    deep = np.where(r < -var, 1.25 * r, r)
    z = {name: [metrics.acerbi_szekely(x, var, es, alpha=0.025, given_failures=g).statistic for g in (False, True)]
         for name, x in (("often", often), ("deep", deep))}  # fmt: skip
    assert z["often"] == pytest.approx([-0.2, 0.0], abs=0.1)
    assert z["deep"] == pytest.approx([-0.25, -0.25], abs=0.12)


def test_a_normal_shape_makes_p_smaller_than_a_heavy_one():
    var, es = promised(np.inf, n=250)
    r = np.r_[np.full(9, -2.8), np.full(241, 0.1)]
    normal, heavy = (metrics.acerbi_szekely(r, var, es, alpha=0.025, degrees=d).p for d in (np.inf, 3))
    assert normal < heavy


# --- probabilities ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("v", "p"), [(1.620, 0.10), (1.747, 0.05), (2.001, 0.01)])
def test_kuipers_statistic_has_stephens_critical_values(v, p):
    """Stephens (1970), table 1."""
    assert backtests.kuiper_p(v) == pytest.approx(p, rel=5e-3)  # the table has three digits


def test_kuipers_statistic_of_ten_points_by_hand_and_on_a_circle():
    u = (np.arange(10) + 0.5) / 10
    v = 0.1 * (np.sqrt(10) + 0.155 + 0.24 / np.sqrt(10))
    assert metrics.kuiper_uniform(u) == pytest.approx((v, 1.0))
    # where the circle is cut does not matter
    x = np.random.default_rng(0).beta(2, 5, 200)
    assert metrics.kuiper_uniform((x + 0.37) % 1) == pytest.approx(metrics.kuiper_uniform(x))


def test_range_of_a_brownian_motion_has_fellers_mean_and_that_of_simulated_walks(rng):
    mean, _ = integrate.quad(backtests.range_p, 0, 12)
    assert mean == pytest.approx(np.sqrt(8 / np.pi), abs=1e-6)
    square, _ = integrate.quad(lambda r: 2 * r * backtests.range_p(r), 0, 12)
    assert square == pytest.approx(4 * np.log(2), abs=1e-6)
    walks = np.cumsum(rng.standard_normal((2_000, 2_000)), axis=1) / np.sqrt(2_000)
    ranges = np.maximum(walks.max(axis=1), 0) - np.minimum(walks.min(axis=1), 0)
    assert np.mean(ranges > 2.4977) == pytest.approx(0.05, abs=0.015)


def test_calibrated_probabilities_are_rejected_as_the_level_says_and_false_ones_more_often(rng):
    """Measured with 4,000: .048 and .044 of right ones; .98 of a deviation 1.3 times too small, .60 of too much
    confidence."""
    n, k = 250, 400
    right = [metrics.kuiper_uniform(rng.random(n)).p < 0.05 for _ in range(k)]
    narrow = [metrics.kuiper_uniform(stats.norm.cdf(1.3 * rng.standard_normal(n))).p < 0.05 for _ in range(k // 4)]
    assert 0.02 < np.mean(right) < 0.09
    assert np.mean(narrow) > 0.9
    p = rng.uniform(0.2, 0.8, (k, n))
    happened, shrunk = rng.random((k, n)) < p, rng.random((k, n)) < 0.5 + 0.3 * (p - 0.5)
    said = [[metrics.kuiper_calibration(y, q).p < 0.05 for y, q in zip(o, p, strict=True)] for o in (happened, shrunk)]
    assert 0.02 < np.mean(said[0]) < 0.09
    assert np.mean(said[1]) > 0.45


def test_calibration_of_eight_events_by_hand():
    # in the order of the probabilities the walk is 0, -.25 ... -1, then -.75 ... 0: range 1; variance 8 * 3 / 16
    p, y = [0.75, 0.25] * 4, [1, 0] * 4
    assert metrics.kuiper_calibration(y, p).statistic == pytest.approx(1 / np.sqrt(1.5))


# --- signs ------------------------------------------------------------------------------------------------------


def test_pesaran_timmermann_squared_is_the_chi_square_of_the_table_of_signs(rng):
    """Granger and Pesaran (2000): for large n it is the test of independence of the two by two table."""
    y = rng.standard_normal(20_000) + 0.3
    forecast = 0.05 * y + rng.standard_normal(20_000) - 0.2
    table = [[np.sum(((y > 0) == a) & ((forecast > 0) == b)) for b in (True, False)] for a in (True, False)]
    found = metrics.pesaran_timmermann(y, forecast)
    assert found.statistic**2 == pytest.approx(stats.chi2_contingency(table, correction=False).statistic, rel=1e-3)
    assert found.p == metrics.timing_p_value(y, forecast) == stats.norm.sf(found.statistic)


def test_pesaran_timmermann_rejects_as_the_level_says_and_sees_a_hit_rate_of_55_percent(rng):
    """Always long is no timing: with forecasts above zero in 90 % of rows and outcomes in 60 %, the level holds."""
    up = rng.random((1_000, 500)) < 0.6
    said = rng.random((1_000, 500)) < 0.9
    level = np.mean([metrics.pesaran_timmermann(a - 0.5, b - 0.5).p < 0.05 for a, b in zip(up, said, strict=True)])
    assert 0.03 < level < 0.075
    right = np.where(rng.random((300, 1_000)) < 0.55, up[:300].repeat(2, axis=1), ~up[:300].repeat(2, axis=1))
    y = up[:300].repeat(2, axis=1)
    power = np.mean([metrics.pesaran_timmermann(a - 0.5, b - 0.5).p < 0.05 for a, b in zip(y, right, strict=True)])
    assert power > 0.85


# --- what cannot be tested --------------------------------------------------------------------------------------


def test_too_few_rows_are_not_tested():
    assert np.isnan(metrics.kupiec([True] * 7, alpha=0.05)).all()
    assert np.isnan(metrics.kuiper_uniform([0.5] * 7)).all()
    assert np.isnan(metrics.kuiper_calibration([1] * 9, [1.0] * 9)).all()
    flat = np.full(50, 0.01)
    assert np.isnan(metrics.acerbi_szekely(flat, flat, flat, alpha=0.05, given_failures=True)).all()
    assert np.isnan(metrics.acerbi_szekely([], [], [], alpha=0.05)).all()


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: metrics.kupiec([True] * 9, alpha=5), "between 0 and 1"),
        (lambda: metrics.kupiec(np.ones((9, 2)), alpha=0.05), "in the order of time"),
        (lambda: metrics.acerbi_szekely([0.1] * 9, [-0.02] * 9, [-0.03] * 9, alpha=0.05), "positive fractions"),
        (lambda: metrics.acerbi_szekely([0.1] * 9, [0.03] * 9, [0.02] * 9, alpha=0.05), "at least as large"),
        (lambda: metrics.acerbi_szekely([0.1] * 9, [0.02] * 9, [0.03] * 9, alpha=0.95), "usually 0.025"),
        (lambda: metrics.kuiper_uniform(np.arange(9.0)), "reach from 0 to 8"),
        (lambda: metrics.kuiper_calibration([2] * 9, [0.5] * 9), "0 or 1"),
        (lambda: metrics.kuiper_calibration([1] * 9, [0.5] * 8), "row by row"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(act, words):
    with pytest.raises(BadInput, match=words):
        act()
