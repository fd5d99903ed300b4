"""A validation finds what was planted, and says nothing where nothing is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rates import claimed
from scipy import stats

import mltrainer as mt
from mltrainer import metrics
from mltrainer.errors import Unavailable
from mltrainer.evaluation import validation
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.residuals import residual_tests
from mltrainer.evaluation.splits import WalkForward
from mltrainer.features import stored
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog

SPAN = {"start": "2004-01-02", "end": "2009-12-31"}
FOUR = Protocol(WalkForward(folds=4))


@pytest.fixture
def matrix() -> Matrix:
    return mt.matrix("MSFT", **SPAN)  # type: ignore[arg-type]


@pytest.fixture
def result(matrix: Matrix) -> Evaluation:
    return mt.evaluate("KNeighborsRegressor_5", matrix)  # type: ignore[no-any-return]


def drawn(seed: int, n: int = 2_000, width: float = 1.6449, clusters: bool = False) -> Evaluation:
    """Forecasts of zero with a normal outcome and an interval of so many deviations: 1.645 holds 90 %."""
    rng = np.random.default_rng(seed)
    index = pd.bdate_range("2000-01-03", periods=n, name="session")
    size = np.repeat(rng.lognormal(0, 0.7, n // 50), 50) if clusters else 1.0
    y = rng.normal(size=n) * size
    frame = pd.DataFrame({"y": y, "forecast": rng.normal(size=n) * 0.1, "scale": 1.0, "fold": 0.0}, index)
    frame = frame.assign(lower=-width, upper=width, position=1.0, gross=y / 100, net=y / 100, benchmark=y / 100)
    return Evaluation("k", "m", "linear", "regressor", "T", 1, forecasts=frame, meta={})


def test_parts_are_the_figures_of_their_sessions(result: Evaluation):
    table = validation.years(result)
    own = result.forecasts[result.forecasts.index.year == 2008]  # type: ignore[attr-defined]
    assert table.loc[2008, "sessions"] == len(own)
    assert table.loc[2008, "sharpe"] == pytest.approx(own["net"].mean() / own["net"].std() * np.sqrt(252))
    assert table.loc[2008, "ic"] == pytest.approx(stats.spearmanr(own["y"], own["forecast"]).statistic)
    assert table["sessions"].sum() == validation.folds(result)["sessions"].sum() == len(result.forecasts)


def test_a_part_that_is_too_short_says_nothing(result: Evaluation):
    first = pd.Series("some", result.forecasts.index[:59])
    row = validation.parts(result, first).loc["some"]
    assert row["sessions"] == 59
    assert row.drop("sessions").isna().all()


def test_terciles_of_the_past_do_not_know_what_comes(result: Evaluation, matrix: Matrix):
    values = matrix.X["volatility_21"]
    names = ("low", "middle", "high")
    cut = result.forecasts.index[300]
    other = values.where(values.index <= cut, 99.0)
    early = replace(result, forecasts=result.forecasts.loc[:cut])
    pd.testing.assert_frame_equal(validation.terciles(early, values, names), validation.terciles(early, other, names))


@pytest.mark.slow
def test_an_interval_that_is_too_narrow_is_found_and_a_right_one_is_not():
    """Size and power over 40 worlds: right width, 80 % where 90 % are promised, and misses that come in clusters.

    Bounds: of the right ones 12 to 28 have p below one half, and at most 6 below 0.05 (5 % has at most 5 in 19 of 20);
    the broken ones are found in 38 and 30.
    """
    broken, even = {"right": 0, "narrow": 0, "clusters": 0}, 0
    for seed in range(40):
        for name, e in (
            ("right", drawn(seed)), ("narrow", drawn(seed, width=1.2816)), ("clusters", drawn(seed, clusters=True)),
        ):  # fmt: skip
            found = {c.test: c.p_value for c in validation.coverage_checks(e, 0.9)}
            test = "Christoffersen (clusters)" if name == "clusters" else "Kupiec (frequency)"
            broken[name] += found[test] < 0.05
            even += name == "right" and found[test] < 0.5
    assert claimed(even, 40, 0.5)
    assert broken["right"] <= 6
    assert broken["narrow"] >= 38
    assert broken["clusters"] >= 30


def test_the_tail_of_what_was_earned_is_tested_by_each_method():
    checks = {c.test: c for c in validation.tail_checks(drawn(1, n=900).forecasts["net"])}
    assert list(checks) == [
        f"{m}: {t}" for m in ("historical", "gaussian", "filtered") for t in ("coverage", "shortfall (Z2)")
    ]
    assert checks["gaussian: coverage"].p_value > 0.05  # the returns are normal
    assert validation.tail_checks(drawn(1, n=500).forecasts["net"]) == []


def test_a_record_has_to_be_so_long(result: Evaluation):
    """The figures are those of `metrics`, on the timing; words follow the comparison."""
    (_, need, words), (_, years, more) = validation.bars(result, 20)
    timing = validation.timing_return(result.forecasts, 5)
    assert need == pytest.approx(metrics.minimum_track_record(timing), nan_ok=True)
    assert years == pytest.approx(metrics.minimum_backtest(20, metrics.sharpe(timing.to_numpy())), nan_ok=True)
    assert "no length would do" in words
    assert "no length would do" in more  # its timing loses


def test_shuffled_folds_flatter_and_the_comparison_is_on_the_same_sessions(matrix: Matrix, result: Evaluation):
    others = validation.diagnose(catalog.spec("KNeighborsRegressor_5"), matrix, Protocol())["MSFT"]
    assert list(others) == ["shuffled K-fold", *(f"purged path {i}" for i in range(1, 6))]
    assert {o.status for o in others.values()} == {"diagnostic"}
    table = validation.gaps(result, others)
    assert table.loc["walk-forward", "ic"] == pytest.approx(result.metrics["ic"])
    assert table.loc["walk-forward", "sharpe"] == pytest.approx(result.metrics["sharpe"])
    assert table.loc["shuffled K-fold", "ic"] > table.loc["walk-forward", "ic"] + 0.1
    assert "take sessions apart" in validation.undivided(catalog.spec("Theta"), matrix, 0.0)


def test_the_feature_that_was_planted_is_the_most_important_and_bends_the_forecast(matrix: Matrix):
    """The label is made of one feature alone: exchanged it ruins the forecast, and the dependence on it is a line."""
    spec, x = catalog.spec("RidgeRegression"), matrix.X["weekday_sin"]
    planted = replace(matrix, y=(x - x.mean()) * matrix.scale, provenance=None, sources=())
    found = validation.importance(spec, planted, FOUR)
    assert found.index[0] == "weekday_sin"
    assert found.loc["weekday_sin", "loss"] > 5 * found["loss"].iloc[1]
    assert found.loc["weekday_sin", "folds"] == 1.0
    line = validation.dependence(spec, planted, FOUR, ["weekday_sin"])
    assert np.corrcoef(line["value"], line["forecast"])[0, 1] > 0.999
    assert line["forecast"].is_monotonic_increasing


def test_shapley_values_share_out_the_forecast_exactly(matrix: Matrix):
    """Linear: coefficient times distance from the mean, by hand; they add up to the forecast, or nothing is shown."""
    spec = catalog.spec("RidgeRegression")
    found = validation.shapley(spec, matrix, FOUR)
    *_, (scaling, estimator, X, _) = validation._fitted(spec, matrix, FOUR)
    z = estimator[0].transform(scaling.features(X))
    by_hand = np.abs(estimator[1].coef_ * (z - z.mean(axis=0))).mean(axis=0)
    np.testing.assert_allclose(found["size"].loc[list(matrix.X)], by_hand)
    assert found["size"].is_monotonic_decreasing
    with pytest.raises(Unavailable, match="no exact way"):
        validation.shapley(catalog.spec("KNeighborsRegressor_5"), matrix, FOUR)


def test_shapley_values_of_trees_are_those_of_the_extra(matrix: Matrix):
    spec = catalog.spec("DecisionTree_depth_3")
    shap = pytest.importorskip("shap", reason="the extra explain is not installed")
    found = validation.shapley(spec, matrix, FOUR)
    *_, (scaling, estimator, X, _) = validation._fitted(spec, matrix, FOUR)
    theirs = np.abs(shap.TreeExplainer(estimator).shap_values(scaling.features(X))).mean(axis=0)
    np.testing.assert_allclose(found["size"].loc[list(matrix.X)], theirs)
    assert int((found["size"] > 0).sum()) <= 7  # a tree of depth three asks seven questions


def test_noise_has_no_important_feature(matrix: Matrix):
    rng = np.random.default_rng(0)
    noise = replace(matrix, y=matrix.y * 0 + rng.normal(size=len(matrix.y)) * matrix.scale, provenance=None, sources=())
    found = validation.importance(catalog.spec("RidgeRegression"), noise, FOUR)
    assert found["loss"].abs().max() < 0.05


def test_what_cannot_be_looked_into_says_why(matrix: Matrix, result: Evaluation):
    slow = replace(result, meta=result.meta | {"predict_seconds": 10.0})
    assert validation.inspectable(catalog.spec("RidgeRegression"), result, matrix, FOUR) == ""
    assert "CPU seconds" in validation.inspectable(catalog.spec("RidgeRegression"), slow, matrix, FOUR)
    assert "state" in validation.inspectable(catalog.spec("Theta"), result, matrix, FOUR)


def test_the_sign_and_the_loss_are_compared(result: Evaluation):
    checks = {c.test: c for c in validation.forecast_checks(result)}
    assert checks["Diebold-Mariano"].statistic == pytest.approx(result.metrics["gain_t"])
    assert result.meta["baseline"] in checks["Diebold-Mariano"].words
    assert checks["Pesaran-Timmermann"].p_value == pytest.approx(result.metrics["hit_p"])


def test_errors_that_grow_with_the_forecast_drift_or_cluster_are_named():
    """Breusch-Pagan, White, CUSUM and ARCH-LM of statsmodels: each planted, each found; none in plain noise."""
    rng = np.random.default_rng(3)

    def said(change: str) -> dict[str, float]:
        e = drawn(5)
        f = e.forecasts.copy()
        if change == "size":
            f["y"] = f["forecast"] + rng.normal(size=len(f)) * (0.2 + np.exp(4 * f["forecast"]))
        if change == "drift":
            f["y"] += np.where(np.arange(len(f)) > len(f) / 2, 0.5, -0.5)
        if change == "clusters":
            f["y"] *= np.repeat(rng.lognormal(0, 1, len(f) // 20), 20)
        return {t.test: t.p_value for t in residual_tests(replace(e, forecasts=f))}

    plain = said("")
    assert min(plain[t] for t in ("ARCH-LM", "Breusch-Pagan", "White", "CUSUM")) > 0.01
    assert max(said("size")[t] for t in ("Breusch-Pagan", "White")) < 1e-4
    assert said("drift")["CUSUM"] < 1e-4
    assert said("clusters")["ARCH-LM"] < 1e-4


def test_a_page_shows_a_result_or_says_that_there_is_none(matrix: Matrix):
    from mltrainer.reports.validation import ValidationPage

    page = ValidationPage("RidgeRegression", "MSFT", **SPAN)  # type: ignore[arg-type]
    assert "Validation of RidgeRegression on MSFT five sessions ahead" in page.opening().text
    assert "Minimum track record" in page.bars()[0].text
    assert "Kupiec" in page.promises()[0].text
    assert "CUSUM" in page.residuals()[0].text
    assert "it takes names side by side, and this is one" in page.decay()[0].text
    assert "Shuffled K-fold claims" in page.cuts().text
    assert "when exchanged" in page.inside()[0].text
    assert [p.text.count("<tr>") for p in page.by_state()][:2] == [4, 4]  # a head and three states each
    with pytest.raises(Unavailable, match="has no result on IBM"):
        ValidationPage("RidgeRegression", "IBM", matrices=stored.keep(matrix), run_id="r")
