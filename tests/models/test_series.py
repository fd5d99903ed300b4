"""What every series model promises: the library on its card, its past only, and no word about its labels."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mltrainer.models import networks
from mltrainer.models.base import ModelSpec
from mltrainer.models.series import SERIES_LIKE, SPECS

ROWS = {row.name: row for row in (*SPECS, *SERIES_LIKE)}
LAG = 6


def own(row: ModelSpec, data):
    """The columns of a row."""
    if not row.available:
        pytest.skip(row.why_unavailable)
    blocks = {part: getattr(data, part)[list(row.columns)].to_numpy() for part in ("X", "X_new")}
    return SimpleNamespace(**vars(data) | blocks)


@pytest.fixture(scope="module")
def fitted(msft):
    """Every row, fitted once on 400 sessions, with the 300 that follow."""
    rows = {}

    def get(name):
        if name not in rows:
            data = own(ROWS[name], msft.named)
            model = ROWS[name].build().fit(data.X[-400:], data.y[-400:])
            rows[name] = model, data.X_new[:300], data.y_new[:300]
        return rows[name]

    return get


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("cut", [0, 150])
def test_no_forecast_moves_when_the_rows_after_it_are_rewritten(name, cut, fitted):
    model, X, y = fitted(name)
    forecast = model.filter(X, y, LAG)
    assert forecast.shape == (300,)
    other = X.copy()
    other[cut + 1 :] *= -1.5
    moved = model.filter(other, -y, LAG)
    assert np.array_equal(moved[: cut + 1], forecast[: cut + 1])
    assert not np.array_equal(moved[cut + 1 :], forecast[cut + 1 :])


@pytest.mark.parametrize("name", ROWS)
def test_labels_of_new_rows_are_not_asked(name, fitted):
    model, X, y = fitted(name)
    assert np.array_equal(model.filter(X, np.full_like(y, np.nan), LAG), model.predict(X))


@pytest.mark.parametrize("name", ROWS)
def test_filtering_changes_nothing_that_was_learned(name, fitted):
    model, X, _ = fitted(name)
    first = model.predict(X)
    model.predict(X[:10] * 3)
    assert np.array_equal(model.predict(X), first)
    with pytest.raises(NotFittedError):
        ROWS[name].build().predict(X)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "ParticleFilter"])  # its library is this one
def test_the_library_on_the_card_does_the_work(name, msft, monkeypatch):
    row = ROWS[name]
    data = own(row, msft.named)
    module, _, kind = row.engine.rpartition(".")
    networks.network.cache_clear()
    if name == "LSTM_simulation":
        networks.keras_on_jax()  # before the test imports keras itself, which would look for another backend
    genuine, made = getattr(import_module(module), kind), []
    inside = genuine.__init__

    def watched(self, *args, **knobs):
        made.append(type(self))
        inside(self, *args, **knobs)

    monkeypatch.setattr(genuine, "__init__", watched)
    row.build().fit(data.X[-120:], data.y[-120:]).predict(data.X_new[:5])
    networks.network.cache_clear()
    assert genuine in made


@pytest.mark.parametrize("name", ["ARIMA_1_0_0", "ARIMA_2_1_1", "ARIMA_3_1_2", "GARCH_1_1_t", "VAR_bic"])
def test_a_planted_autoregression_is_forecast_h_steps_ahead(name, planted):
    # r_t = 0.8 r_t-1 + e_t: the next five sum to (0.8 + ... + 0.8^5) r_t = 2.69 r_t
    data = own(ROWS[name], planted.named)
    forecast = ROWS[name].build().fit(data.X, data.y).predict(data.X_new)
    truth = sum(0.8**k for k in range(1, 6)) * data.X_new[:, 0]
    assert np.corrcoef(forecast, truth)[0, 1] > 0.95
    assert np.std(forecast) / np.std(truth) == pytest.approx(1, abs=0.15)


def test_forecasts_are_those_of_the_horizon_asked_for(fitted):
    for name in ("ARIMA_1_0_0", "KalmanFilter", "GARCH_1_1_t", "MarkovSwitching_2", "ParticleFilter"):
        model, X, _ = fitted(name)
        near, far = (model.set_params(horizon=h).predict(X) for h in (1, 250))
        model.set_params(horizon=5)
        # far ahead every stationary model expects its mean, and a level expects itself
        assert np.abs(far).mean() > 5 * np.abs(near).mean(), name


def test_names_carry_the_settings_they_promise():
    for name, row in ROWS.items():
        assert row.name == name
        assert row.columns
        assert row.family == ("series" if row in SPECS else "special")
    assert [ROWS[f"ExponentialSmoothing_alpha_{a}"].estimator.alpha for a in (0.1, 0.3, 0.5)] == [0.1, 0.3, 0.5]
    assert ROWS["ARIMA_3_1_2"].estimator.order == (3, 1, 2)
    assert [ROWS[f"HoltWinters_{s}"].estimator.seasonal for s in ("additive", "multiplicative")] == ["add", "mul"]
    assert ROWS["ParticleFilter"].estimator.particles == 1_000
