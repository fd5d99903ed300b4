"""Many trials at once: sizes that hold, copies that cost nothing, decoys that buy nothing."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mltrainer import metrics
from mltrainer.evaluation import significance
from mltrainer.evaluation.significance import Columns, stepdown


def noise(n, k, seed, rho=0.0, overlap=1) -> np.ndarray:
    """(n, k) series without a mean, of equal correlation, summed over `overlap` rows; fat tails."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_t(5, (n + overlap, 1)), rng.standard_t(5, (n + overlap, k))
    x = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    run = np.cumsum(np.vstack([np.zeros((1, k)), x]), axis=0)
    return (run[overlap:] - run[:-overlap])[:n]


def test_the_standard_error_is_that_of_newey_and_west_with_one_lag_less_than_a_block():
    x = noise(3000, 1, 0, overlap=5) + 0.3
    # around the end the blocks see pairs that the kernel does not, 24 of 3,000
    assert stepdown(x, block=25).t[0] == pytest.approx(metrics.newey_west_t(x[:, 0], 24), rel=0.01)


@pytest.mark.parametrize(("overlap", "block"), [(1, 21), (5, 25)])
def test_p_values_are_uniform_where_there_is_nothing(overlap, block):
    p = [stepdown(noise(600, 1, s, overlap=overlap), block=block, draws=200, random_state=s).p[0] for s in range(300)]
    distance = stats.kstest(p, "uniform").statistic
    assert distance < 1.63 / np.sqrt(300)  # Kolmogorov's bound of 1 %


def test_forty_independent_trials_without_a_mean_are_called_in_one_search_of_twenty():
    """150 searches: from 4 to 13 call one, between which 5 % lies in the interval of Clopper and Pearson (1934)."""
    called = sum(stepdown(noise(1200, 40, s), block=21, draws=200).p.min() <= 0.05 for s in range(150))
    assert stats.binomtest(called, 150).proportion_ci().low < 0.05 < stats.binomtest(called, 150).proportion_ci().high


def test_the_least_p_value_is_that_of_hansens_test_by_arch():
    from arch.bootstrap import SPA

    x = noise(1000, 10, 3, rho=0.4) + 0.01 * np.arange(10)
    ours = stepdown(x, block=21).p.min()
    test = SPA(np.zeros(len(x)), -x, block_size=21, reps=500, bootstrap="circular", studentize=True, seed=1)
    test.compute()
    assert ours == pytest.approx(test.pvalues["consistent"], abs=0.04)


def test_exact_copies_are_one_trial():
    x = noise(1000, 1, 5) + 0.08
    alone, copied = stepdown(x, block=21), stepdown(np.repeat(x, 200, axis=1), block=21)
    assert copied.p == pytest.approx(np.repeat(alone.p, 200))
    assert 1 <= copied.effective() < 1.2


def test_two_hundred_trials_with_correlation_of_085_are_neither_one_nor_two_hundred():
    tests = stepdown(noise(2500, 200, 1, rho=0.85), block=21)
    assert 5 < tests.effective() < 40
    assert stepdown(noise(2500, 200, 1), block=21).effective() == pytest.approx(200, rel=0.25)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 6), st.floats(-0.5, 0.5))
def test_no_further_trial_lowers_a_p_value_or_the_number_of_trials(seed, k, more, mean):
    few = noise(300, k, seed, rho=0.3) + 0.1
    decoys = noise(300, more, seed + 1) + mean
    alone, among = stepdown(few, block=21, draws=200), stepdown(np.hstack([few, decoys]), block=21, draws=200)
    assert (among.p[:k] >= alone.p - 1e-12).all()
    assert among.effective() >= alone.effective() - 1e-9
    assert among.critical() >= alone.critical() - 1e-9
    assert among.t[:k] == pytest.approx(alone.t)


def test_spans_stand_side_by_side_in_units_of_their_own_error():
    long, short = noise(2500, 5, 2), noise(2500, 30, 3)
    short[:2000] = np.nan
    tests = stepdown(np.hstack([long, short]), block=21)
    assert tests.t[:5] == pytest.approx(stepdown(long, block=21).t)
    same = stepdown(short[2000:], block=21).t
    assert tests.t[5:] == pytest.approx(same, rel=0.1)  # where the span ends the blocks are cut, not bent around


def test_what_never_varies_is_no_trial_and_nothing_is_no_test():
    x = noise(500, 3, 4)
    x[:, 1] = 0.01
    tests = stepdown(x, block=21)
    assert np.isnan(tests.t[1])
    assert np.isnan(tests.p[1])
    assert tests.p[[0, 2]] == pytest.approx(stepdown(x[:, [0, 2]], block=21).p)
    nothing = stepdown(np.empty((0, 2)), block=21)
    assert np.isnan(nothing.p).all()
    assert nothing.effective() == 0.0
    assert np.isnan(nothing.critical())


def test_a_mean_five_errors_above_zero_is_found_among_a_hundred():
    x = noise(2500, 100, 8, rho=0.5)
    x[:, 17] += 5.5 * x[:, 17].std() / np.sqrt(2500)
    p = stepdown(x, block=21).p
    assert p[17] < 0.01
    assert np.sum(p <= 0.05) <= 3


def test_series_taken_a_few_at_a_time_have_the_same_p_values_and_critical_values(monkeypatch):
    x = noise(700, 300, 4, rho=0.3) + 0.05 * (np.arange(300) % 9 == 0)
    x[:200, ::7], x[:, 5::40] = np.nan, 0.0
    whole = stepdown(x, block=25, overlap=5, first=150)
    monkeypatch.setattr(significance, "CHUNK", 64)
    parts = stepdown(x, block=25, overlap=5, first=150)
    assert np.array_equal(whole.p, parts.p, equal_nan=True)
    # a matrix product may sum in another order where it is narrower: float32
    assert parts.critical() == pytest.approx(whole.critical(), rel=1e-5)
    assert parts.effective() == pytest.approx(whole.effective(), rel=1e-4)
    assert parts.effective(leading=True) == pytest.approx(stepdown(x[:, :150], block=25).effective(), rel=1e-4)


def test_memory_does_not_grow_with_the_number_of_series():
    peaks = []
    for k in (1_024, 4_096):
        series = Columns((300, k), lambda some: np.stack([noise(300, 1, int(i))[:, 0] for i in some], axis=1))
        tracemalloc.start()
        stepdown(series, block=25, draws=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
