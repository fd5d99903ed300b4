"""One contract, every row: fit and predict on real data, without a warning (pytest turns warnings into errors)."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from mltrainer.models.catalog import spec, specs

ROWS = [row.name for row in specs()]
# models that may say "no signal" by a constant forecast, with the reason
MAY_BE_CONSTANT = {
    "LassoLarsIC_bic": "the Bayesian criterion may choose no column",
    "LassoCV_walkforward": "the inner walk-forward may prefer the largest penalty",
    "ElasticNetCV_walkforward": "the inner walk-forward may prefer the largest penalty",
    "ForecastCombination_NNLS": "no member may deserve a positive weight",
    "HoltWinters_additive": "where a level weight of 1 fits prices best, no move is expected",
    "HoltWinters_multiplicative": "where a level weight of 1 fits prices best, no move is expected",
    "KalmanFilter": "the estimated variance of the level may be zero",
    "Theta": "where alpha is 1, half the drift of the train rows is all that is expected",
}
FINDS_NO_LINEAR_LEAD = {
    "GammaRegressor_volatility": "learns the size of the move; see test_priced_volatility_finds_a_planted_premium",
    "KMeans_2_clusters": "groups days without looking at the target; see test_a_planted_state_is_found",
    "KMeans_3_clusters": "as KMeans_2_clusters",
    "DBSCAN_clustering": "as KMeans_2_clusters",
    "ExponentialSmoothing_alpha_0.1": "remembers ten sessions of a momentum that lasts three",
    "ParticleFilter": "its drift has a half-life of 14 sessions and is small; see test_filters",
    "UnscientedKalmanFilter": "as ParticleFilter",
    "Theta": "its level never runs ahead of the price; see test_filters",
}


def seen(name, data):
    """What the model of that name sees of the data: all columns, or its own by name, row after row."""
    row = spec(name)
    if not row.available:
        pytest.skip(row.why_unavailable)
    if row.columns is None:
        return data
    own = {part: getattr(data.named, part)[list(row.columns)].to_numpy() for part in ("X", "X_new")}
    return SimpleNamespace(**vars(data.named) | own)


@pytest.fixture(scope="session")
def fitted(msft):
    @cache
    def fit(name):
        data = seen(name, msft)
        return spec(name).build().fit(data.X, data.y)

    return fit


@pytest.mark.parametrize("name", ROWS)
def test_forecasts_of_real_returns_are_finite_and_not_constant(name, fitted, msft):
    data = seen(name, msft)
    forecast = fitted(name).predict(data.X_new)
    assert forecast.shape == (len(data.X_new),)
    assert np.isfinite(forecast).all()
    assert np.abs(forecast).max() <= 1.5 * np.abs(data.y).max()
    if name not in MAY_BE_CONSTANT:
        assert forecast.std() > 1e-3 * data.y.std()


@pytest.mark.parametrize("name", ROWS)
def test_a_clone_in_a_pipeline_gives_bit_identical_forecasts(name, fitted, msft):
    twin = clone(fitted(name))
    assert set(twin.get_params()) == set(fitted(name).get_params())
    twin.set_params(**twin.get_params(deep=False))
    data = seen(name, msft)
    again = make_pipeline("passthrough", twin).fit(data.X, data.y)
    assert np.array_equal(again.predict(data.X_new), fitted(name).predict(data.X_new))


@pytest.mark.parametrize("name", ROWS)
def test_a_planted_lead_is_found_and_another_target_gives_another_model(name, planted):
    data, twin = seen(name, planted), seen(name, planted.twin)
    forecast, other = (spec(name).build().fit(d.X, d.y).predict(data.X_new) for d in (data, twin))
    assert not np.allclose(forecast, other)
    if name not in FINDS_NO_LINEAR_LEAD:
        assert np.corrcoef(forecast, data.y_new)[0, 1] > 0.3


def test_exceptions_name_models_that_exist():
    assert set(MAY_BE_CONSTANT) | set(FINDS_NO_LINEAR_LEAD) <= set(ROWS)
