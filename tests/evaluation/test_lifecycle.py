"""What a model gives back from its first training to its last forecast, and how far that can be believed."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer import metrics
from mltrainer.errors import BadInput, NotEnoughHistory, Refused
from mltrainer.evaluation import lifecycle, record, walk
from mltrainer.evaluation.conformal import Calibration, conformalize, platt
from mltrainer.evaluation.lifecycle import Model, ModelResult
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.results import Forecast, Metrics
from mltrainer.evaluation.scaling import Scaling
from mltrainer.evaluation.splits import WalkForward
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog

# what comes with a forecast besides the mean and its interval, one model of each kind
ALSO_GIVES = {
    "RidgeRegression": [],
    "BayesianRidge": ["deviation"],
    "ARDRegression": ["deviation"],
    "GaussianProcess_gamma_0.1": ["deviation"],
    "GammaRegressor_volatility": ["deviation"],
    "GARCH_1_1_t": ["deviation"],
    "QuantileRegressor_q0.1": ["quantile"],
    "HistGradientBoosting_quantile_0.5": ["quantile"],
    "LogisticRegression": ["probability_up"],
    "Perceptron": ["probability_up"],
    "ClassifierChain": ["probability_up"],
    "RecursiveLS": [],
    "ARIMA_1_0_0": [],
}


def trained(msft: Matrix, name: str = "RidgeRegression") -> ModelResult:
    return mt.model(name).train(msft)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Matrix, Matrix]]:
    """A home in which MSFT 2001..2010 is admitted, and 2001..2013: 540 sessions more, and no feature less."""
    folder = tmp_path_factory.mktemp("longer") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(folder))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield folder, mt.matrix("MSFT", end="2010-12-31"), mt.matrix("MSFT")


@pytest.fixture
def early_and_later(longer: tuple[Path, Matrix, Matrix], settle: Callable[[Path], None]) -> tuple[Matrix, Matrix]:
    settle(longer[0])
    return longer[1:]


# --- training -------------------------------------------------------------------------------------------------


def test_training_is_the_protocol_on_all_labelled_rows(msft):
    said = trained(msft).predict(msft)
    known = msft.y.notna()
    z = (msft.y / msft.scale)[known].to_numpy()
    X = msft.X[known].to_numpy()
    low, high = np.quantile(X, [0.01, 0.99], axis=0)
    ridge = catalog.spec("RidgeRegression").build().fit(np.clip(X, low, high), (z - z.mean()) / z.std())
    expected = (ridge.predict(np.clip(msft.X.to_numpy(), low, high)) * z.std() + z.mean()) * msft.scale
    np.testing.assert_allclose(said, expected[~known], rtol=1e-12)


def test_a_result_says_what_was_learned_from(msft):
    result = trained(msft)
    assert (result.name, result.ticker, result.horizon, result.mode) == ("RidgeRegression", "MSFT", 5, "sample")
    assert (result.rows, result.features) == (int(msft.y.notna().sum()), msft.X.shape[1])
    assert result.start == str(msft.X.index[0].date())
    assert result.end == str(msft.y.dropna().index[-1].date())
    assert result.matrix == msft.provenance.content_sha256
    assert 0 < result.r2 < 0.5
    assert set(result.libraries) == {"mltrainer", "numpy", "scipy", "scikit-learn"}
    assert json.loads(json.dumps(result.to_dict()))["calibration"]["rows"] == result.calibration.rows


def test_a_loaded_model_has_the_result_of_its_training(msft):
    result = trained(msft, "LogisticRegression")
    again = Model.load(result.save()).result
    assert repr(again) == repr(result)  # NaN is not equal to itself, its text is


def test_training_gives_a_model_no_more_rows_than_it_bears(msft, monkeypatch):
    few = dataclasses.replace(catalog.spec("RidgeRegression"), max_train_rows=200)
    monkeypatch.setattr(lifecycle.catalog, "spec", lambda name: few)
    result = Model("RidgeRegression").train(msft)
    assert result.model.estimator_[0].n_samples_seen_ == result.rows == 200


def test_bars_are_no_matrix_to_train_on(msft):
    with pytest.raises(BadInput, match="without labels"):
        mt.model("RidgeRegression").train(mt.bars("MSFT"))


def test_what_was_fitted_on_arrays_has_no_result():
    with pytest.raises(BadInput, match="plain arrays"):
        mt.model("RidgeRegression").fit(np.eye(9), np.arange(9.0)).result  # noqa: B018


# --- forecasts ------------------------------------------------------------------------------------------------


def test_a_forecast_is_only_what_is_said_of_sessions_after_the_training(msft):
    said = trained(msft).predict(msft)
    assert said.mean.index.equals(msft.X.index[msft.y.isna()])  # the last rows have no label yet
    assert len(said) == msft.horizon + 1
    assert said.mean.notna().all()


def test_a_forecast_is_in_units_of_return(early_and_later):
    early, later = early_and_later
    said = trained(early).predict(later)
    assert 0.01 < said.mean.std() / later.y.std() < 2.0


@pytest.mark.parametrize("name", ALSO_GIVES)
def test_a_forecast_carries_what_its_card_promises(name, msft):
    result = trained(msft, name)
    said = result.predict(msft)
    assert list(said.frame) == ["mean", "lower", "upper", *ALSO_GIVES[name]]
    assert np.isfinite(said.frame.to_numpy()).all()
    assert (said.lower < said.mean).all()
    assert (said.mean < said.upper).all()
    words = {"probability": "probability_up"}
    promised = [words.get(g.partition(" ")[0], g.partition(" ")[0]) for g in catalog.spec(name).card.gives]
    assert promised == ["interval", *ALSO_GIVES[name]]
    if said.probability_up is not None:
        assert said.probability_up.between(0, 1).all()
    if said.deviation is not None:
        assert said.deviation.between(0.2 * msft.scale.min(), 5 * msft.scale.max()).all()
    assert np.isfinite(result.calibration.pinball) == (said.quantile is not None)


def test_a_deviation_is_the_methods_own_in_units_of_return(msft):
    result = trained(msft, "BayesianRidge")
    said, state, after = result.predict(msft), result.model.state_, msft.y.isna()
    X = Scaling(**state["scaling"]).features(msft.X[after].to_numpy())
    _, own = result.model.estimator_.predict(X, return_std=True)
    np.testing.assert_allclose(said.deviation, own * state["scaling"]["deviation"] * msft.scale[after])
    assert 0.8 < float((own**2).mean()) < 1.2  # labels have variance 1, of which little is explained


def test_a_forecast_as_json_holds_every_figure(msft):
    said = trained(msft, "LogisticRegression").predict(msft)
    read = json.loads(said.to_json())
    assert read["mode"] == "sample"
    assert (read["model"], read["ticker"], read["horizon"], read["interval"]) == ("LogisticRegression", "MSFT", 5, 0.9)
    frame = pd.DataFrame(read["rows"]).set_index("session")
    assert list(frame.index) == [str(t.date()) for t in said.mean.index]
    np.testing.assert_allclose(frame.to_numpy(), said.frame.to_numpy(), rtol=1e-12)
    assert repr(said).startswith("Forecast(LogisticRegression on MSFT, 6 sessions to 2008-12-31: ")
    assert "\n" not in repr(said)


def test_a_matrix_built_otherwise_is_not_forecast(msft):
    result = trained(msft)
    other = mt.matrix("MSFT", start="2004-01-02", end="2008-12-31", horizon=10)
    with pytest.raises(BadInput, match="not trained on a matrix of return, horizon 10"):
        result.predict(other)
    with pytest.raises(BadInput, match="train it"):
        result.model.fit(msft.X.to_numpy(), np.arange(len(msft.X))).predict(msft)  # fitted on arrays since


def test_a_feature_that_is_no_longer_there_is_named(msft):
    longer = mt.matrix("MSFT", start="2004-01-02")  # its indexes end in 2018 and its macro series in 2009
    lost = next(f for f in msft.X if f not in longer.X)
    with pytest.raises(BadInput, match=rf"RidgeRegression was trained on {lost} too \(.+\)"):
        trained(msft).predict(longer)


def test_an_edited_matrix_is_not_forecast(msft):
    with pytest.raises(Refused):
        trained(msft).predict(dataclasses.replace(msft, y=msft.y * 1.01))


def test_a_matrix_that_ends_with_the_training_holds_nothing_to_forecast(early_and_later):
    early, later = early_and_later
    result = trained(later)
    with pytest.raises(NotEnoughHistory, match="no session after"):
        result.predict(early)


# --- intervals ------------------------------------------------------------------------------------------------


def test_an_interval_is_as_wide_as_nine_in_ten_errors_on_rows_that_were_not_learned_from(msft):
    """By hand: the later half of the rows forecast by models of rows before them; the 451st of the last 500 errors."""
    found = conformalize(catalog.spec("RidgeRegression"), msft)
    said, _ = walk.out_of_sample(catalog.spec("RidgeRegression"), msft, Protocol(split=WalkForward(folds=2)))
    errors = ((said["y"] - said["forecast"]).abs() / said["scale"]).to_numpy()
    assert found.radius == pytest.approx(np.sort(errors[-500:])[450])  # ceil(0.9 * 501) = 451
    assert found.rows == len(said) == 608  # 1,253 rows, 626 to learn from, a gap of 6 + 13, an even number to test
    forecast = trained(msft).predict(msft)
    np.testing.assert_allclose(forecast.upper - forecast.mean, found.radius * msft.scale[msft.y.isna()])


@pytest.mark.parametrize("name", ["LassoRegression", "KNeighborsRegressor_10", "ARIMA_1_0_0", "LogisticRegression"])
def test_nine_in_ten_outcomes_of_later_years_fall_inside_the_interval(name, early_and_later):
    """Some 540 sessions never seen, 2011 to 2013, overlapping by five: an exact 90 % has an sd of about 2 %."""
    early, later = early_and_later
    result = trained(early, name)
    assert result.calibration.coverage == pytest.approx(0.9, abs=0.04)
    assert result.predict(later).covered(later.y) == pytest.approx(0.9, abs=0.06)


def test_an_interval_of_errors_that_grow_is_wider(msft):
    noisy = Calibration(0.9, radius=2.0).bounds(0 * msft.scale, msft.scale)
    calm = Calibration(0.9, radius=1.0).bounds(0 * msft.scale, msft.scale)
    assert (noisy[1] > calm[1]).all()
    np.testing.assert_allclose(noisy[1], 2 * msft.scale)


def test_too_few_rows_give_a_forecast_without_an_interval_and_not_a_wrong_one(home: Path):
    short = mt.matrix("MSFT", start="2010-12-31", end="2012-02-15")
    result = trained(short)
    assert result.rows < 421  # half to learn from, a gap, and 200 to be wrong about need as many
    assert np.isnan(result.calibration.radius)
    said = result.predict(short)
    assert said.mean.notna().all()
    assert said.lower.isna().all()
    assert json.loads(said.to_json())["rows"][0]["upper"] is None
    assert Model.load(result.save()).predict(short).upper.isna().all()


# --- probabilities --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["GaussianNB", "LogisticRegression", "QuadraticDiscriminantAnalysis"])
def test_calibrated_probabilities_are_closer_to_what_happened_than_the_classifiers_own(name, early_and_later):
    early, later = early_and_later
    result = trained(early, name)
    said = result.predict(later)
    known = later.y.reindex(said.mean.index).dropna()
    up = (known > 0).to_numpy(float)
    state = result.model.state_
    X = Scaling(**state["scaling"]).features(later.X.loc[known.index].to_numpy())
    own = result.model.estimator_.predict_proba(X)[:, 1]

    def brier(p: Any) -> float:
        return float(np.mean((np.asarray(p) - up) ** 2))

    calibrated = brier(said.probability_up.loc[known.index])
    assert calibrated < brier(own)
    assert calibrated < 0.255  # a coin has 0.25
    # reliable on average: the mean probability is the share of rising sessions, within ten points
    assert said.probability_up.mean() == pytest.approx(up.mean(), abs=0.1)


def test_platts_sigmoid_is_scikit_learns():
    """scikit-learn moves its targets by 1 / (n + 2), as Platt advised; on 4,000 rows that is hardly seen."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.frozen import FrozenEstimator

    rng = np.random.default_rng(5)
    X = rng.normal(size=(8_000, 1))
    up = rng.random(8_000) < 1 / (1 + np.exp(-0.7 * X[:, 0] - 0.2))
    model = LinearDiscriminantAnalysis().fit(X[:4_000], up[:4_000])
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="sigmoid").fit(X[4_000:], up[4_000:])
    slope, intercept = platt(model.decision_function(X[4_000:]), up[4_000:])
    ours = 1 / (1 + np.exp(-slope * model.decision_function(X) - intercept))
    np.testing.assert_allclose(ours, theirs.predict_proba(X)[:, 1], atol=0.002)


def test_a_score_that_pointed_the_wrong_way_is_not_turned_around():
    score = np.linspace(-1, 1, 200)
    slope, intercept = platt(score, score < 0.2)
    assert slope == 0
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("up", [np.ones(50, dtype=bool), np.zeros(50, dtype=bool)])
def test_a_market_that_only_rose_is_not_certain_to_rise(up):
    slope, intercept = platt(np.arange(50.0), up)
    assert slope == 0
    assert abs(1 / (1 + np.exp(-intercept)) - up[0]) == pytest.approx(0.01)  # half a row in fifty


# --- figures --------------------------------------------------------------------------------------------------


def test_figures_are_attributes_and_an_undefined_one_says_why(msft):
    result = mt.model("LassoRegression").evaluate(msft)
    m = result.metrics
    assert isinstance(m, Metrics)
    assert m.sharpe == m["sharpe"]
    assert set(get_type_hints(Metrics)) == set(m)
    nothing = Metrics(m | {"ic": float("nan")})
    assert nothing.why("ic") == metrics.UNDEFINED["ic"]
    assert nothing.why("mse") == ""
    with pytest.raises(AttributeError, match="no figure is called 'sharp'; there are mse"):
        m.sharp  # noqa: B018
    again = record.Evaluation.from_bytes(result.to_bytes())
    assert isinstance(again.metrics, Metrics)


def test_a_quantile_model_is_judged_by_its_pinball_loss_too(msft):
    m = mt.model("QuantileRegressor_q0.5").evaluate(msft).metrics
    assert m.pinball == pytest.approx(0.5 * m.mae, rel=0.1)  # at the median pinball is half the absolute error


def test_a_forecast_is_an_array_of_its_means(msft):
    said = trained(msft).predict(msft)
    assert isinstance(said, Forecast)
    np.testing.assert_array_equal(np.asarray(said), said.mean)
