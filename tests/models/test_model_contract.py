"""One contract, every row: fit and predict on real data, without a warning (pytest turns warnings into errors)."""

from functools import cache

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
}
FINDS_NO_LINEAR_LEAD = {
    "GammaRegressor_volatility": "learns the size of the move; see test_priced_volatility_finds_a_planted_premium",
}


@pytest.fixture(scope="session")
def fitted(msft):
    @cache
    def fit(name):
        row = spec(name)
        if not row.available:
            pytest.skip(row.why_unavailable)
        return row.build().fit(msft.X, msft.y)

    return fit


@pytest.mark.parametrize("name", ROWS)
def test_forecasts_of_real_returns_are_finite_and_not_constant(name, fitted, msft):
    forecast = fitted(name).predict(msft.X_new)
    assert forecast.shape == (len(msft.X_new),)
    assert np.isfinite(forecast).all()
    assert np.abs(forecast).max() <= 1.5 * np.abs(msft.y).max()
    if name not in MAY_BE_CONSTANT:
        assert forecast.std() > 1e-3


@pytest.mark.parametrize("name", ROWS)
def test_a_clone_in_a_pipeline_gives_bit_identical_forecasts(name, fitted, msft):
    twin = clone(fitted(name))
    assert set(twin.get_params()) == set(fitted(name).get_params())
    twin.set_params(**twin.get_params(deep=False))
    again = make_pipeline("passthrough", twin).fit(msft.X, msft.y)
    assert np.array_equal(again.predict(msft.X_new), fitted(name).predict(msft.X_new))


@pytest.mark.parametrize("name", ROWS)
def test_a_planted_lead_is_found_and_another_target_gives_another_model(name, planted):
    row = spec(name)
    if not row.available:
        pytest.skip(row.why_unavailable)
    forecast = row.build().fit(planted.X, planted.y).predict(planted.X_new)
    other = row.build().fit(planted.X, planted.other).predict(planted.X_new)
    assert not np.allclose(forecast, other)
    if name not in FINDS_NO_LINEAR_LEAD:
        assert np.corrcoef(forecast, planted.y_new)[0, 1] > 0.3


def test_exceptions_name_models_that_exist():
    assert set(MAY_BE_CONSTANT) | set(FINDS_NO_LINEAR_LEAD) <= set(ROWS)
