"""Residual tests give the numbers of statsmodels and scipy, and words that follow from them."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.diagnostic import acorr_ljungbox
from statsmodels.stats.stattools import jarque_bera

from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.residuals import Finding, ljung_box, residual_tests


def judged(error: np.ndarray, *, horizon: int = 1, scale: float = 0.02) -> list[Finding]:
    """Tests of a model whose errors per unit of volatility are `error`."""
    days = pd.date_range("2001-01-01", periods=len(error), name="session")
    forecasts = pd.DataFrame({"y": error * scale, "forecast": 0.0, "scale": scale}, index=days)
    return residual_tests(Evaluation("k", "m", "f", "regressor", "MSFT", horizon, forecasts=forecasts))


def noise(n: int = 600) -> np.ndarray:
    return np.random.default_rng(11).normal(size=n)


def moving(n: int = 600) -> np.ndarray:
    """Noise with a memory of one step."""
    e = noise(n + 1)
    return e[1:] + 0.8 * e[:-1]


def clustered(n: int = 2000) -> np.ndarray:
    """Independent signs, sizes that persist: ARCH(1)."""
    rng, x, out = np.random.default_rng(5), 0.0, []
    for _ in range(n):
        x = rng.normal() * np.sqrt(0.5 + 0.5 * x**2)
        out.append(x)
    return np.array(out)


@pytest.mark.parametrize("x", [noise(), moving(), clustered()], ids=["noise", "moving", "clustered"])
@pytest.mark.parametrize("lags", [1, 5, 10])
def test_ljung_box_is_that_of_statsmodels(x: np.ndarray, lags: int):
    theirs = acorr_ljungbox(x, lags=[lags])
    assert ljung_box(x, lags) == pytest.approx((theirs["lb_stat"].iloc[0], theirs["lb_pvalue"].iloc[0]), rel=1e-9)


def test_every_statistic_is_that_of_statsmodels_or_scipy():
    x = moving()
    bias, box, squares, normal, *_ = judged(x)
    theirs = sm.OLS(x, np.ones(len(x))).fit(cov_type="HAC", cov_kwds={"maxlags": 4})
    assert bias.statistic == pytest.approx(theirs.tvalues[0], rel=0.01)  # they differ in the small-sample factor
    assert bias.p_value == pytest.approx(2 * stats.norm.sf(abs(bias.statistic)))
    theirs = acorr_ljungbox(x, lags=[10])
    assert (box.statistic, box.p_value) == pytest.approx(tuple(theirs.iloc[0]), rel=1e-6)
    theirs = acorr_ljungbox(x**2, lags=[10])
    assert (squares.statistic, squares.p_value) == pytest.approx(tuple(theirs.iloc[0]), rel=1e-6)
    assert (normal.statistic, normal.p_value) == pytest.approx(jarque_bera(x)[:2], rel=1e-6)


def words(x: np.ndarray) -> list[str]:
    return [f.words for f in judged(x)]


def test_plain_noise_leaves_nothing_to_say():
    found = dict(zip((f.test for f in judged(noise())), words(noise()), strict=True))
    unmoved = {found.pop(name) for name in ("Breusch-Pagan", "White")}
    assert unmoved == {"too few or too equal to tell"}  # the forecast never changes
    assert list(found.values()) == [
        "no bias shows", "no memory left", "no clusters left", "looks normal", "no clusters left", "no break shows",
    ]  # fmt: skip


def test_the_further_tests_are_those_of_statsmodels():
    from statsmodels.stats.diagnostic import breaks_cusumolsresid, het_arch, het_breuschpagan, het_white

    x, size = clustered(), np.random.default_rng(1).normal(size=2000)
    days = pd.date_range("2001-01-01", periods=2000, name="session")
    forecasts = pd.DataFrame({"y": (x + size) * 0.02, "forecast": size * 0.02, "scale": 0.02}, index=days)
    rows = {f.test: f for f in residual_tests(Evaluation("k", "m", "f", "regressor", "T", 1, forecasts=forecasts))}
    exog = sm.add_constant(size)
    theirs = {
        "ARCH-LM": het_arch(x, nlags=10, result_object=False),
        "Breusch-Pagan": het_breuschpagan(x, exog),
        "White": het_white(x, exog),
        "CUSUM": breaks_cusumolsresid(x),
    }
    for name, found in theirs.items():
        assert (rows[name].statistic, rows[name].p_value) == pytest.approx(found[:2], rel=1e-6)


def test_forecasts_that_miss_on_one_side_are_told_which():
    assert words(noise() + 1)[0] == "forecasts are too low on average"
    assert words(noise() - 1)[0] == "forecasts are too high on average"


def test_memory_clusters_and_tails_are_each_found_by_their_test():
    assert words(moving())[1] == "errors repeat: something is left"
    assert words(clustered())[2].startswith("large errors come in clusters")
    assert words(np.random.default_rng(2).standard_t(3, 600))[3] == "tails or skew beyond normal"


def test_labels_that_overlap_are_not_taken_for_memory():
    """Errors of a 5-session label repeat by construction: a moving sum of 5 steps; one row in 5 has no memory."""
    summed = np.convolve(noise(3004), np.ones(5), "valid") / np.sqrt(5)
    assert judged(summed, horizon=1)[1].p_value < 1e-6
    assert judged(summed, horizon=5)[1].p_value > 0.01


def test_errors_are_taken_per_unit_of_volatility():
    assert judged(noise(), scale=0.5)[3].statistic == pytest.approx(judged(noise(), scale=0.01)[3].statistic)


@pytest.mark.parametrize("error", [np.zeros(100), np.ones(100), noise(8), noise(11)], ids=["zero", "one", "8", "11"])
def test_what_cannot_be_tested_is_not_called_clean(error: np.ndarray):
    """Errors that do not vary, or fewer than 20 of them, show neither memory nor its absence."""
    _, box, squares, *_ = judged(error)
    assert np.isnan(box.p_value)
    assert np.isnan(squares.p_value)
    assert box.words == squares.words == "too few or too equal to tell"
