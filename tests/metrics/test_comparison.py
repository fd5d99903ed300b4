"""Two forecasts are told apart as in the papers, by R's and Julia's numbers, and as often as the level says."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.signal import lfilter
from statsmodels.tsa.stattools import diebold_mariano_test

from mltrainer import metrics
from mltrainer.errors import BadInput

# Errors of ets and of auto.arima on WWWusage[81:100], the example of R's forecast::dm.test; the p values are those
# that Julia's HypothesisTests.jl holds them to (0.8871 two-sided, 0.4435 that ets is better; h = 10: 0.4681).
ETS = np.array([
    0.002241270, -0.000661906, -1.200002613, -4.000218178, 3.799373533, 3.401005111, -1.199692125, -0.800490048,
    -1.200048999, 3.399847229, 7.000708948, 2.200989241, -4.800165569, -1.201043375, 3.400167556, 3.000709085,
    0.400267950, -6.800169207, -2.401259050, 1.200112198,
])  # fmt: skip
ARIMA = np.array([
    0.1209998, 8.0622269, -0.9189429, -1.7952436, 5.3431277, 2.0459823, -0.6073261, 0.5516816, -0.7633238, 4.1229472,
    5.8785333, 1.2828331, -3.4854233, 1.1971370, 3.1709314, 2.3408457, 0.4962286, -5.9841362, 0.1537114, 0.4207951,
])  # fmt: skip
# The example of Julia's ClarkWestTest: errors of a nested model and of one that is better.
SMALL = np.array([
    9.78432, 12.73500, 8.67224, 2.62740, 5.60947, 7.57809, 4.53774, 2.51084, 0.49290, 3.48394,
    9.46152, 9.41220, 2.36289, 0.34495, 3.33599, 5.31357, 4.28219, -3.74471, -5.73575, -3.71781,
])  # fmt: skip
LARGE = np.array([
    2.82053, 4.39754, -1.78647, -4.30662, 3.69526, 3.37259, -1.09002, -0.50984, -0.78973, 3.89077,
    7.52849, 2.82373, -3.95838, -0.13606, 4.54444, 4.18216, 1.67993, -5.38077, -0.85686, 2.70479,
])  # fmt: skip


@pytest.fixture
def rng():
    return np.random.default_rng(1995)


@pytest.mark.parametrize(("horizon", "power", "p"), [(1, 2, 0.4435), (10, 2, 0.4681), (1, 1, 0.6091)])
def test_diebold_mariano_of_rs_example(horizon, power, p):
    t, found = metrics.diebold_mariano(abs(ETS) ** power, abs(ARIMA) ** power, horizon, kernel="truncated")
    assert found == pytest.approx(p, abs=1e-3)
    assert (t < 0) == (found < 0.5)


def test_diebold_mariano_with_bartletts_kernel_is_that_of_statsmodels(rng):
    y, a, b = rng.standard_normal((3, 250))
    theirs = diebold_mariano_test(y, a, b, harvey_adj=True, horizon=3)  # ceil(250^(1/3)) = 7 lags, as here
    t, p = metrics.diebold_mariano((y - a) ** 2, (y - b) ** 2, 3)
    assert t == pytest.approx(theirs.statistic)
    assert 2 * min(p, 1 - p) == pytest.approx(theirs.pvalue)


def test_a_smaller_loss_has_a_negative_t_and_a_small_p_and_the_other_way_round(rng):
    a, b = rng.chisquare(1, 400), rng.chisquare(1, 400) + 0.5
    (t, p), (back, q) = metrics.diebold_mariano(a, b, 1), metrics.diebold_mariano(b, a, 1)
    assert t < -2
    assert p < 0.02
    assert_allclose([back, q], [-t, 1 - p])


@pytest.mark.parametrize(("horizon", "kernel"), [(1, "bartlett"), (5, "bartlett"), (5, "truncated")])
def test_equal_forecasts_with_overlapping_outcomes_are_rarely_told_apart(rng, horizon, kernel):
    """400 worlds: 2 to 9 % where 5 % is meant. Losses are moving sums of `horizon` shocks, as of overlapping labels.

    A plain t test has its level where nothing overlaps, and 24 % where it does.
    """
    shocks = rng.standard_normal((400, 500, 2))
    losses = lfilter(np.ones(horizon), 1, shocks**2, axis=1)
    p = np.array([metrics.diebold_mariano(x[:, 0], x[:, 1], horizon, kernel=kernel)[1] for x in losses])
    assert 0.02 < np.mean(p < 0.05) < 0.09  # 400 draws: a standard error of 0.011
    naive = [stats.ttest_1samp(x[:, 0] - x[:, 1], 0, alternative="less").pvalue for x in losses]
    assert 0.02 < np.mean(np.array(naive) < 0.05) < 0.09 if horizon == 1 else np.mean(np.array(naive) < 0.05) > 0.15


@pytest.mark.parametrize(("lookahead", "p"), [(1, 0.0001), (3, 0.0079)])
def test_clark_west_of_julias_example(lookahead, p):
    t, found = metrics.clark_west(np.zeros(20), -LARGE, -SMALL, lookahead, kernel="truncated")
    assert t > 0
    assert found == pytest.approx(p, abs=1e-4)


def test_clark_west_of_eight_rows_by_hand():
    y, forecast, baseline = np.array([1.0, -1, 2, -2, 1, -1, 2, -2]), np.array([1.0, 0, 1, 0] * 2), np.zeros(8)
    f = 2 * y * forecast  # (y - 0)^2 - (y - f)^2 + f^2 is 2 y f
    t, p = metrics.clark_west(y, forecast, baseline, 1, kernel="truncated")
    assert t == pytest.approx(f.mean() / (f.std() / np.sqrt(8)))
    assert p == pytest.approx(stats.norm.sf(t))


def test_clark_west_has_the_level_and_the_power_that_diebold_mariano_lacks_where_models_are_nested(rng):
    """A rolling mean of 60 rows against zero: worse by what it pays for its parameter, whatever the truth.

    300 worlds each: 1 to 10 % where 5 % is meant and there is nothing.
    """
    rates = {}
    for mean in (0.0, 0.2):
        y = mean + rng.standard_normal((300, 460))
        known = np.stack([np.convolve(row, np.ones(60) / 60, "valid") for row in y])[:, :-1]
        rows = list(zip(y[:, 60:], known, strict=True))
        cw = [metrics.clark_west(a, f, np.zeros(400), 1)[1] < 0.05 for a, f in rows]
        dm = [metrics.diebold_mariano((a - f) ** 2, a**2, 1)[1] < 0.05 for a, f in rows]
        rates[mean] = np.mean(cw), np.mean(dm)
    assert 0.01 < rates[0.0][0] < 0.10
    assert rates[0.0][1] < 0.02  # Diebold and Mariano's test hardly ever says so where models are nested
    assert rates[0.2][0] > 0.8 > 2 * rates[0.2][1]


def test_forecasts_that_are_equal_or_few_are_not_told_apart():
    assert np.isnan(metrics.diebold_mariano(np.ones(50), np.ones(50), 1)).all()
    assert np.isnan(metrics.diebold_mariano(np.arange(5.0), np.ones(5), 1)).all()
    assert np.isnan(metrics.clark_west(np.arange(50.0), np.ones(50), np.ones(50), 1)).all()
    assert np.isnan(metrics.diebold_mariano([], [], 1)).all()


def test_rows_without_a_loss_are_left_out(rng):
    a, b = rng.chisquare(1, (2, 100))
    gaps = np.insert(a, 50, np.nan), np.insert(b, 50, 1.0)
    assert metrics.diebold_mariano(*gaps, 1) == metrics.diebold_mariano(a, b, 1)


@pytest.mark.parametrize(
    ("a", "b", "knobs", "words"),
    [
        (np.ones(9), np.ones(8), {}, "row by row"),
        (np.ones((9, 2)), np.ones((9, 2)), {}, "row by row"),
        (np.ones(9), np.ones(9), {"horizon": 0}, "at least 1 row"),
        (np.ones(9), np.ones(9), {"kernel": "parzen'; drop"}, "no kernel is called"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, knobs, words):
    with pytest.raises(BadInput, match=words):
        metrics.diebold_mariano(a, b, **knobs)


# --- QLIKE ----------------------------------------------------------------------------------------------------


def test_qlike_by_hand_and_on_the_log():
    y, f = np.array([1.0, 2.0, 0.5]), np.array([1.0, 1.0, 1.0])
    by_hand = np.mean([0, 2 - np.log(2) - 1, 0.5 - np.log(0.5) - 1])
    assert metrics.qlike(y, f) == pytest.approx(by_hand)
    assert metrics.qlike_log(np.log(y), np.log(f)) == pytest.approx(by_hand)
    assert_allclose(metrics.qlike_losses(y, f), metrics.qlike_log_losses(np.log(y), np.log(f)), atol=1e-15)


def test_qlike_ranks_by_the_true_variance_though_only_a_noisy_proxy_is_seen(rng):
    """Patton (2011), proposition 1: with squared returns as the proxy, the true variance has the least loss."""
    truth = np.exp(rng.normal(0, 0.5, 100_000))
    proxy = truth * rng.standard_normal(100_000) ** 2
    found = {k: metrics.qlike(proxy, truth * k) for k in (0.8, 0.9, 1.0, 1.1, 1.25)}
    assert min(found, key=found.get) == 1.0


def test_a_forecast_of_no_variance_loses_everything_and_an_outcome_of_none_counts_for_nobody():
    assert metrics.qlike([1.0, 1.0], [1.0, 0.0]) == np.inf
    assert metrics.qlike([1.0, 1.0], [1.0, -1.0]) == np.inf
    assert metrics.qlike([0.0, 1.0, np.nan], [1.0, 1.0, 1.0]) == 0.0
    assert np.isnan(metrics.qlike([0.0], [1.0]))
