"""Special models against their formulas and against the models they would otherwise repeat."""

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh
from scipy.special import logit
from scipy.stats import norm
from sklearn.decomposition import non_negative_factorization
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import sigmoid_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, PolynomialFeatures

from mltrainer.models import special
from mltrainer.models.base import scaled
from mltrainer.models.combiners import IndependentComponents
from mltrainer.models.forecasters import Components

SPECS = {row.name: row for row in special.SPECS}
BUILD = {name: row.build for name, row in SPECS.items()}
CLASSIFIERS = (
    "GaussianNB",
    "MultinomialNB",
    "BernoulliNB",
    "LinearDiscriminantAnalysis",
    "QuadraticDiscriminantAnalysis",
)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_probabilities_sum_to_one_and_are_rarely_certain_of_a_return(name, msft):
    model = BUILD[name]().fit(msft.X, msft.y)
    P = model.predict_proba(msft.X_new)
    assert P.sum(axis=1) == pytest.approx(np.ones(len(P)))
    assert np.quantile(P[:, 1], 0.9) < 0.9
    assert np.quantile(P[:, 1], 0.1) > 0.1


def test_gaussian_bayes_multiplies_normal_densities_of_scipy(planted):
    model = BUILD["GaussianNB"]().fit(planted.X, planted.y)
    before, up = model.estimator_[:-1], planted.y > 0
    Z, Z_new = before.transform(planted.X), before.transform(planted.X_new)
    densities = [np.mean(c) * norm.pdf(Z_new, Z[c].mean(0), Z[c].std(0)).prod(1) for c in (~up, up)]
    assert model.predict_proba(planted.X_new)[:, 1] == pytest.approx(densities[1] / sum(densities), rel=1e-6)


def test_counts_are_one_bin_a_component_and_bits_are_cut_at_the_median(msft):
    bins = BUILD["MultinomialNB"]().fit(msft.X, msft.y).estimator_[:-1].transform(msft.X)
    assert bins.shape[1] == 50
    assert set(bins.sum(axis=1)) == {10.0}
    assert bins.mean(axis=0) == pytest.approx(np.full(50, 0.2), abs=0.01)
    centered = BUILD["BernoulliNB"]().fit(msft.X, msft.y).estimator_[:-1].transform(msft.X)
    assert (centered > 0).mean(axis=0) == pytest.approx(np.full(10, 0.5), abs=0.001)


def test_log_odds_of_the_linear_discriminant_are_a_line(msft):
    model = BUILD["LinearDiscriminantAnalysis"]().fit(msft.X, msft.y)
    odds = logit(model.predict_proba(msft.X_new)[:, 1])
    assert LinearRegression().fit(msft.X_new, odds).score(msft.X_new, odds) == pytest.approx(1.0)


def test_only_the_quadratic_discriminant_sees_classes_that_differ_in_spread_alone():
    rng = np.random.default_rng(8)
    calm, X = rng.random(2_000) < 0.5, rng.normal(size=(2_000, 4))
    X[~calm] *= 3.0
    y = np.where(calm, 1.0, -1.0)
    curved, line = (
        np.mean(np.sign(BUILD[name]().fit(X, y).predict(X)) == y)
        for name in ("QuadraticDiscriminantAnalysis", "LinearDiscriminantAnalysis")
    )
    assert line < 0.65 < 0.8 < curved


def test_principal_component_regression_reads_ten_components(msft):
    scaler, components, line = BUILD["PCA_Regression"]().fit(msft.X, msft.y)
    assert line.coef_.shape == (10,)
    Z = components.transform(scaler.transform(msft.X))
    assert line.coef_ == pytest.approx(LinearRegression().fit(Z, msft.y).coef_)


def test_all_independent_components_repeat_the_principal_ones_and_the_chosen_do_not(msft):
    def said(*steps):
        return scaled(LinearRegression(), Components(15), *steps).fit(msft.X, msft.y).predict(msft.X_new)

    principal = said()
    assert said(IndependentComponents(15)) == pytest.approx(principal, abs=1e-8)
    ours = BUILD["ICA_Regression"]().fit(msft.X, msft.y)
    assert np.corrcoef(ours.predict(msft.X_new), principal)[0, 1] < 0.99
    chosen = ours[-2]
    assert chosen.converged_
    assert len(chosen.chosen_) == 5
    assert np.abs(chosen.correlation_[chosen.chosen_]).min() >= np.median(np.abs(chosen.correlation_))


def test_parts_are_never_negative_even_outside_the_train_range(msft):
    model = BUILD["NMF_Regression"]().fit(msft.X, msft.y)
    parts = model[:2].transform(np.vstack([msft.X_new, 100 * msft.X_new[:5]]))
    assert parts.shape[1] == 6
    assert parts.min() >= 0


def test_parts_of_a_row_are_those_scikit_learn_comes_to_if_it_is_not_stopped(msft):
    model = BUILD["NMF_Regression"]().fit(msft.X, msft.y)
    X = model[0].transform(msft.X_new[:20])
    H = model[1].components_
    slow = non_negative_factorization(X, H=H, update_H=False, n_components=6, tol=0.0, max_iter=20_000)[0]
    assert model[1].transform(X) == pytest.approx(slow, abs=1e-6)


def test_the_polynomial_kernel_is_ridge_on_explicit_monomials(planted):
    # (x'z / p + 1)^2 is the inner product of 1, sqrt(2/p) x_j, x_j^2 / p and sqrt(2) x_i x_j / p
    p = planted.X.shape[1]
    monomials = PolynomialFeatures(2).fit(planted.X)
    powers = monomials.powers_
    degree, square = powers.sum(axis=1), (powers == 2).any(axis=1)
    weight = np.where(degree == 1, np.sqrt(2 / p), np.where(degree == 0, 1.0, np.where(square, 1 / p, np.sqrt(2) / p)))
    scaler = BUILD["KernelRidge_polynomial"]().fit(planted.X, planted.y).estimator_[0]
    F, F_new = (monomials.transform(scaler.transform(X)) * weight for X in (planted.X, planted.X_new))
    explicit = Ridge(2_000.0, fit_intercept=False).fit(F, planted.y)
    ours = BUILD["KernelRidge_polynomial"]().fit(planted.X, planted.y)
    assert ours.predict(planted.X_new) == pytest.approx(explicit.predict(F_new))


def test_the_cosine_kernel_is_ridge_on_days_divided_by_their_length(msft):
    primal = scaled(make_pipeline(Normalizer(), Ridge(10.0, fit_intercept=False))).fit(msft.X, msft.y)
    ours = BUILD["KernelRidge_cosine"]().fit(msft.X, msft.y)
    assert ours.predict(msft.X_new) == pytest.approx(primal.predict(msft.X_new), rel=1e-6, abs=1e-9)


def test_the_penalty_exceeds_the_negative_part_of_the_sigmoid_kernel(msft):
    row = SPECS["KernelRidge_sigmoid"]
    X = np.vstack([msft.X, msft.X_new])[: row.max_train_rows]
    K = sigmoid_kernel(BUILD["PCA_Regression"]()[0].fit_transform(X))
    lowest = eigsh(K, k=5, which="SA", v0=np.ones(len(K)), return_eigenvectors=False)
    assert -row.build()[-1].alpha < 1.3 * lowest.min()
    assert lowest.max() < -10  # five of them, so it is no rounding error
