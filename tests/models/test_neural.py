"""Neural networks against their formulas."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import pairwise_distances

from mltrainer.models import neural
from mltrainer.models.combiners import RadialBasis

BUILD = {row.name: row.build for row in neural.SPECS}
LAYERS = {"MLP_10": (10,), "MLP_20": (20,), "MLP_10_5": (10, 5), "MLP_20_10": (20, 10), "MLP_50": (50,)}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_in_the_name_and_the_forecast_is_their_composition(name, planted):
    scaler, network = BUILD[name]().fit(planted.X, planted.y)
    assert [w.shape[1] for w in network.coefs_] == [*LAYERS[name], 1]
    assert network.early_stopping is False
    assert network.n_iter_ < network.max_iter
    h = scaler.transform(planted.X_new)
    for W, b in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
        h = np.maximum(0, h @ W + b)
    by_hand = h @ network.coefs_[-1][:, 0] + network.intercepts_[-1]
    assert network.predict(scaler.transform(planted.X_new)) == pytest.approx(by_hand)


def test_weight_decay_keeps_a_network_from_reciting_noise(msft):
    noise = np.random.default_rng(2).permutation(msft.y)
    free, held = (clone(BUILD["MLP_20"]()).set_params(mlpregressor__alpha=a).fit(msft.X, noise) for a in (1e-4, 25.0))
    assert BUILD["MLP_20"]()[-1].alpha == 25.0
    assert held.score(msft.X, noise) < 0.6 * free.score(msft.X, noise)


def test_closeness_to_the_centers_by_hand(planted):
    basis = RadialBasis(5).fit(planted.X)
    away = np.linalg.norm(planted.X_new[:, None] - basis.centers_[None], axis=2)
    width = np.median(pairwise_distances(planted.X, basis.centers_))
    assert basis.transform(planted.X_new) == pytest.approx(np.exp(-(away**2) / (2 * width**2)))
    assert basis.transform(basis.centers_).diagonal() == pytest.approx(np.ones(5))


def test_networks_have_as_many_centers_as_their_names_say(planted):
    for m in (5, 10):
        assert len(BUILD[f"RBFNetwork_{m}_centers"]().fit(planted.X, planted.y)[1].centers_) == m


@pytest.mark.parametrize(("C", "w"), [(1.0, [0.228, 0.304]), (0.001, [0.003, 0.004])])
def test_a_passive_aggressive_step_by_hand(C, w):
    # Crammer et al. (2006), PA-I: x = (3, 4), y = 2, epsilon 0.1: min(C, 1.9 / 25) (3, 4)
    step = clone(BUILD["PassiveAggressiveRegressor"]()[-1]).set_params(eta0=C, average=False, fit_intercept=False)
    assert step.partial_fit([[3.0, 4.0]], [2.0]).coef_ == pytest.approx(w)
    before = step.set_params(epsilon=5.0).coef_.copy()
    assert step.partial_fit([[3.0, 4.0]], [2.0]).coef_ == pytest.approx(before)  # small errors leave it passive


def test_the_perceptron_takes_sides_and_no_more(planted):
    model = BUILD["Perceptron"]().fit(planted.X, planted.y)
    forecast = model.predict(planted.X_new)
    assert set(np.abs(forecast)) == {model.size_}
    assert model.size_ == model.gain_ > 0.3
    assert np.mean(np.sign(forecast) == np.sign(planted.y_new)) > 0.6
