"""Four values at risk: by hand, by integration, by simulation, and none of them knows the session it is said before."""

import numpy as np
import pytest
from arch import arch_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from mltrainer import metrics
from mltrainer.data import sample
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.metrics.risk import METHODS


@pytest.fixture
def rng():
    return np.random.default_rng(1994)


@pytest.fixture(scope="module")
def crisis():
    """Daily returns of the S&P 500, 2003 to 2010."""
    return sample.bars("SPX", None, None).frame["close"].pct_change().dropna()["2003":"2010"].to_numpy()


def test_gaussian_figures_by_hand():
    # mean 0.01, deviation 0.02 * sqrt(100 / 99); the standard normal has quantile -1.6449 and shortfall 2.0627 at 5 %
    r = np.tile([0.03, -0.01], 50)
    deviation = 0.02 * np.sqrt(100 / 99)
    assert metrics.value_at_risk(r, method="gaussian") == pytest.approx(1.644854 * deviation - 0.01, abs=1e-8)
    assert metrics.expected_shortfall(r, method="gaussian") == pytest.approx(2.062713 * deviation - 0.01, abs=1e-8)


def cornish_fisher(z, S, K):
    """Zangari (1996), term by term."""
    return z + (z**2 - 1) * S / 6 + (z**3 - 3 * z) * K / 24 - (2 * z**3 - 5 * z) * S**2 / 36


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_cornish_fisher_is_zangaris_expansion_and_its_shortfall_the_mean_of_the_rarer_quantiles(crisis, alpha):
    S, K, mu, sigma = stats.skew(crisis), stats.kurtosis(crisis), crisis.mean(), crisis.std(ddof=1)
    found = metrics.tail(crisis, alpha=alpha, method="cornish-fisher")
    assert found.var == pytest.approx(-(mu + sigma * cornish_fisher(stats.norm.ppf(alpha), S, K)))
    mean, _ = integrate.quad(lambda z: cornish_fisher(z, S, K) * stats.norm.pdf(z), -12, stats.norm.ppf(alpha))
    assert found.es == pytest.approx(-(mu + sigma * mean / alpha), rel=1e-6)


def test_cornish_fisher_of_no_skewness_and_no_excess_is_gaussian():
    # quantiles of the normal, symmetric, scaled so that the kurtosis is 3 to within 0.1
    r = 0.01 * stats.norm.ppf((np.arange(5_000) + 0.5) / 5_000)
    normal, corrected = (metrics.tail(r, method=m) for m in ("gaussian", "cornish-fisher"))
    assert corrected == pytest.approx(normal, rel=0.01)


def test_cornish_fisher_is_near_the_truth_where_the_tail_is_moderate(rng):
    # gamma with shape 16, mirrored: skewness -0.5, excess 0.375
    r = -(rng.gamma(16, size=100_000) - 16) / 4
    truth = stats.gamma(16).ppf(0.99) / 4 - 4
    assert metrics.value_at_risk(r, alpha=0.01, method="cornish-fisher") == pytest.approx(truth, rel=0.02)
    assert metrics.value_at_risk(r, alpha=0.01, method="gaussian") < 0.9 * truth


def test_cornish_fisher_is_undefined_where_a_rarer_loss_would_be_a_smaller_one():
    r = np.r_[np.full(97, -0.01), np.full(3, 0.5)]  # skewness 5.5, excess 28
    assert np.isnan(metrics.tail(r, alpha=0.01, method="cornish-fisher")).all()


def test_filtered_is_the_historical_figure_of_archs_residuals_times_its_next_volatility(crisis):
    scale = 1 / crisis.std()
    fit = arch_model(crisis * scale, vol="GARCH", dist="t", rescale=False).fit(disp="off")
    shock = np.sort(fit.std_resid)[int(0.05 * (len(crisis) - 1))]
    ahead = np.sqrt(fit.forecast(horizon=1).variance.iloc[-1, 0])
    assert metrics.value_at_risk(crisis, method="filtered") == pytest.approx(
        -(fit.params["mu"] + ahead * shock) / scale, rel=1e-6
    )


def test_filtered_risk_rises_after_a_storm_and_the_others_do_not_notice(rng):
    calm, storm = 0.005 * rng.standard_normal(500), 0.03 * rng.standard_normal(20)
    later, before = np.r_[calm, storm], np.r_[storm, calm]
    assert metrics.value_at_risk(later, method="filtered") > 2 * metrics.value_at_risk(before, method="filtered")
    for method in set(METHODS) - {"filtered"}:
        assert metrics.value_at_risk(later, method=method) == pytest.approx(
            metrics.value_at_risk(before, method=method)
        )


@given(st.integers(0, 1_000), st.sampled_from(["historical", "gaussian", "cornish-fisher"]), st.floats(0.005, 0.2))
@settings(max_examples=40)
def test_a_shortfall_is_at_least_its_value_at_risk_and_both_scale_with_the_returns(seed, method, alpha):
    r = 0.01 * np.random.default_rng(seed).standard_t(6, 300)
    found, doubled = metrics.tail(r, alpha=alpha, method=method), metrics.tail(2 * r, alpha=alpha, method=method)
    assert np.isnan(found.es) or found.es >= found.var
    assert doubled == pytest.approx(tuple(2 * np.array(found)), nan_ok=True)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_said_before_a_session_does_not_know_it(method, crisis, rng):
    """Every return from session t on is replaced; nothing said up to t moves, also between two fits."""
    r = crisis[1_000:1_620]
    said = metrics.tail_forecasts(r, method=method, window=500, refit=50)
    assert np.isnan(said[0][:500]).all()
    assert np.isfinite(said[0][500:]).all()
    for t in (505, 530, 570):
        other = np.r_[r[:t], 5 * rng.standard_normal(620 - t)]
        moved = metrics.tail_forecasts(other, method=method, window=500, refit=50)
        for a, b in zip(said, moved, strict=True):
            assert np.array_equal(a[: t + 1], b[: t + 1], equal_nan=True)
            assert not np.array_equal(a[t + 1 : t + 40], b[t + 1 : t + 40])


def test_forecasts_of_a_tail_are_the_figures_of_the_returns_before(rng):
    r = 0.01 * rng.standard_t(5, 320)
    for method in METHODS:
        var, es = metrics.tail_forecasts(r, method=method, window=300, refit=10)
        assert (var[310], es[310]) == pytest.approx(metrics.tail(r[10:310], method=method), rel=1e-6)


def test_in_the_crisis_only_filtered_risk_kept_its_promise(crisis):
    """S&P 500, 2005 to 2010, 2.5 %: the historical and Gaussian figures of two years fail too often and by too much."""
    verdicts = {}
    for method in ("historical", "gaussian", "filtered"):
        var, es = metrics.tail_forecasts(crisis, alpha=0.025, method=method, refit=63)
        failed = metrics.failures(crisis, var)
        p = metrics.kupiec(failed, alpha=0.025).p, metrics.christoffersen(failed, alpha=0.025).p
        verdicts[method] = min(*p, metrics.acerbi_szekely(crisis, var, es, alpha=0.025).p)
    assert verdicts["historical"] < 0.01
    assert verdicts["gaussian"] < 0.001
    assert verdicts["filtered"] > 0.05


def test_no_returns_give_nan_and_too_few_for_a_fit_an_error():
    for method in set(METHODS) - {"filtered"}:
        assert np.isnan(metrics.tail([], method=method)).all()
        assert np.isnan(metrics.tail([np.nan], method=method)).all()
    assert np.isnan(metrics.tail([0.01] * 300, method="filtered")).all()
    with pytest.raises(NotEnoughHistory, match="needs 250 returns to fit, and there are 100"):
        metrics.value_at_risk(np.linspace(-0.01, 0.01, 100), method="filtered")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: metrics.value_at_risk([0.1], alpha=5), "usually 0.05"),
        (lambda: metrics.value_at_risk([0.1], method="monte carlo"), "there are historical, gaussian"),
        (lambda: metrics.tail_forecasts([0.1, np.nan]), "without a gap"),
        (lambda: metrics.tail_forecasts([0.1, 0.2], window=0), "at least 2 returns"),
    ],
)
def test_a_tail_that_cannot_be_meant_is_refused(act, words):
    with pytest.raises(BadInput, match=words):
        act()
