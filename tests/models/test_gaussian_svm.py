"""Gaussian processes against the formula, support vector machines against their definition."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.metrics.pairwise import rbf_kernel, sigmoid_kernel

from mltrainer.models.catalog import spec


@pytest.mark.parametrize("gamma", [0.1, 0.5])
def test_a_fixed_process_is_the_textbook_posterior(gamma, planted):
    # Rasmussen and Williams (2006), eq. 2.25-2.26, with k = 0.1 exp(-gamma d^2) and noise 0.9
    model = spec(f"GaussianProcess_gamma_{gamma}").build().fit(planted.X, planted.y)
    Z, Z_new = ((X - planted.X.mean(0)) / planted.X.std(0) / np.sqrt(6) for X in (planted.X, planted.X_new))
    K = 0.1 * rbf_kernel(Z, gamma=gamma) + 0.9 * np.eye(600)
    k = 0.1 * rbf_kernel(Z_new, Z, gamma=gamma)
    assert model.predict(planted.X_new) == pytest.approx(k @ np.linalg.solve(K, planted.y))
    variance = 0.1 + 0.9 - np.einsum("ij,ji->i", k, np.linalg.solve(K, k.T))
    assert model.predict_deviation(planted.X_new) == pytest.approx(np.sqrt(variance))


def test_far_from_all_days_the_process_knows_only_the_prior(planted):
    model = spec("GaussianProcess_gamma_0.5").build().fit(planted.X, planted.y)
    far = np.full((1, 6), 1e3)
    assert model.predict(far) == pytest.approx([0.0])
    assert model.predict_deviation(far) == pytest.approx([1.0])


def test_only_the_latest_rows_are_asked(planted):
    short = spec("GaussianProcess_gamma_0.1").build().set_params(rows=200)
    late = short.fit(planted.X[-200:], planted.y[-200:]).predict(planted.X_new)
    assert np.array_equal(short.fit(planted.X, planted.y).predict(planted.X_new), late)


def test_the_kernel_is_chosen_on_fewer_rows_than_it_conditions_on(planted, monkeypatch):
    sizes = []
    inside = GaussianProcessRegressor.fit

    def watched(self, Z, y):
        sizes.append((len(Z), self.optimizer is not None))
        return inside(self, Z, y)

    monkeypatch.setattr(GaussianProcessRegressor, "fit", watched)
    model = spec("GaussianProcess_RBF").build().set_params(choose_on=100).fit(planted.X, planted.y)
    assert sizes == [(100, True), (600, False)]
    assert model.kernel_ != model.kernel


def test_only_the_warning_on_the_card_is_silenced(planted, monkeypatch):
    row = spec("GaussianProcess_Matern")
    assert "close to the specified bound" in row.warns
    assert all(spec(f"GaussianProcess_gamma_{g}").warns == "" for g in (0.1, 0.5))
    inside = GaussianProcessRegressor.fit

    def noisy(self, Z, y):
        warnings.warn("lbfgs failed to converge", ConvergenceWarning, stacklevel=2)
        return inside(self, Z, y)

    monkeypatch.setattr(GaussianProcessRegressor, "fit", noisy)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed"):
        row.build().set_params(choose_on=50).fit(planted.X[:100], planted.y[:100])


def test_a_target_without_noise_presses_the_noise_to_its_bound_without_a_word(planted):
    model = spec("GaussianProcess_RBF").build().fit(planted.X[:200], planted.X[:200, 0])
    assert model.kernel_.k2.noise_level == pytest.approx(model.kernel.k2.noise_level_bounds[0], rel=1e-3)


def test_the_sigmoid_machine_forecasts_on_the_scale_of_the_target(msft):
    # with scikit-learn's defaults on raw returns its forecasts were 1,400 times too wide
    model = spec("SVR_sigmoid").build().fit(msft.X, msft.y)
    assert 0.01 < model.predict(msft.X_new).std() < 1.5
    Z = model[0].transform(msft.X)
    K = sigmoid_kernel(Z, gamma=1 / 60, coef0=-1.0)
    machine = model[-1]
    assert machine.dual_coef_ @ K[machine.support_] + machine.intercept_ == pytest.approx(model.predict(msft.X)[None])


def test_nu_bounds_the_share_of_rows_outside_the_tube(msft):
    for nu in (0.1, 0.5):
        model = spec(f"NuSVR_nu_{nu}").build().fit(msft.X, msft.y)
        at_bound = np.isclose(np.abs(model[-1].dual_coef_), 0.1, rtol=1e-6)
        assert at_bound.sum() / len(msft.y) <= nu + 0.01
        assert len(model[-1].support_) / len(msft.y) >= nu - 0.01


def test_linear_machines_differ_by_the_c_in_their_names(msft):
    weak, strong = (spec(f"LinearSVR_C_{c}").build().fit(msft.X, msft.y)[-1].coef_ for c in (0.1, 1.0))
    assert np.linalg.norm(weak) < np.linalg.norm(strong)
