"""Linear models against certified numbers and against each other."""

import numpy as np
import pytest
from scipy.signal import lfilter
from sklearn.linear_model import Ridge
from statsmodels.datasets import longley

from mltrainer.models import noise
from mltrainer.models.catalog import spec

# NIST StRD, Longley, certified values: intercept, deflator, GNP, unemployed, armed forces, population, year
LONGLEY = [
    -3482258.63459582,
    15.0618722713733,
    -0.358191792925910e-01,
    -2.02022980381683,
    -1.03322686717359,
    -0.511041056535807e-01,
    1829.15146461355,
]


def test_least_squares_meets_the_certified_longley_coefficients():
    data = longley.load_pandas().data
    y, X = data["TOTEMP"].to_numpy(), data[["GNPDEFL", "GNP", "UNEMP", "ARMED", "POP", "YEAR"]].to_numpy()
    scaler, line = spec("LinearRegression").build().fit(X, y).named_steps.values()
    slopes = line.coef_ / scaler.scale_
    assert [line.intercept_ - slopes @ scaler.mean_, *slopes] == pytest.approx(LONGLEY, rel=1e-9)


def test_ridge_solves_its_normal_equations(msft):
    scaler, ridge = spec("RidgeRegression").build().fit(msft.X, msft.y).named_steps.values()
    Z = scaler.transform(msft.X)
    assert ridge.coef_ == pytest.approx(np.linalg.solve(Z.T @ Z + 35_000 * np.eye(60), Z.T @ msft.y), rel=1e-6)


def test_the_penalty_is_that_of_the_assumption_and_forecasts_of_noise_hardly_vary():
    # Hoerl, Kennard and Baldwin (1975): 70 columns that explain 1 %, labels of five sessions
    assert pytest.approx(5 * 70 * 0.99 / 0.01, rel=0.02) == noise.SHRINKAGE
    rng = np.random.default_rng(4)
    X = lfilter([1], [1, -0.95], rng.normal(size=(1_700, 60)), axis=0)  # persistent, as indicators are
    y = np.convolve(rng.normal(size=1_704), np.ones(5), "valid") / np.sqrt(5)  # overlapping, and nothing to know
    spread = {
        name: spec(name).build().fit(X[:700], y[:700]).predict(X[700:]).std()
        for name in ("LinearRegression", "RidgeRegression", "HuberRegressor", "BayesianRidge", "RegressorChain")
    }
    # p / (n / h - p) for columns that are independent from day to day is 0.75; these persist as labels do
    assert spread.pop("LinearRegression") > 0.5
    assert max(spread.values()) < 0.12, spread


def test_small_penalties_keep_some_columns_and_drop_some(msft):
    for name in ("LassoRegression", "ElasticNet", "LassoLars", "Lars", "OrthogonalMatchingPursuit"):
        weights = spec(name).build().fit(msft.X, msft.y)[-1].coef_
        assert 3 <= np.count_nonzero(weights) < 60, name


def test_a_tenth_a_half_and_nine_tenths_of_the_train_rows_lie_below_the_quantiles(msft):
    fits = {q: spec(f"QuantileRegressor_q{q}").build().fit(msft.X, msft.y) for q in (0.1, 0.5, 0.9)}
    for q, fit in fits.items():
        assert np.mean(msft.y < fit.predict_quantile(msft.X)) == pytest.approx(q, abs=0.02)
        assert fit.predict(msft.X).mean() == pytest.approx(msft.y.mean(), abs=1e-9)
    low, middle, high = (fit.predict_quantile(msft.X_new).mean() for fit in fits.values())
    assert low < middle < high


def test_a_quantile_forecast_costs_less_pinball_than_the_constant_quantile_on_the_train_rows(msft):
    fit = spec("QuantileRegressor_q0.1").build().fit(msft.X, msft.y)

    def pinball(forecast):
        miss = msft.y - forecast
        return np.mean(np.maximum(0.1 * miss, -0.9 * miss))

    assert pinball(fit.predict_quantile(msft.X)) < 0.98 * pinball(np.quantile(msft.y, 0.1))


def test_polynomials_never_leave_the_range_of_the_train_targets(msft):
    for name in ("PolynomialRegression_degree_2", "PolynomialRegression_degree_3"):
        forecast = spec(name).build().fit(msft.X, msft.y).predict(1_000 * msft.X_new)
        assert msft.y.min() <= forecast.min() < forecast.max() <= msft.y.max()


def test_ransac_believes_most_days_and_says_how_many(msft):
    share = spec("RANSACRegressor").build().fit(msft.X, msft.y)[-1].inlier_share_
    assert 0.9 < share < 1.0


def test_robust_lines_shrug_off_rows_that_move_least_squares(planted):
    y = planted.y.copy()
    worst = np.argsort(planted.X[:, 2])[-20:]
    y[worst] -= 30.0  # twenty broken prints where column 2 is largest
    light = {"HuberRegressor": {"huberregressor__alpha": 1.0}, "RANSACRegressor": {"consensus__estimator__alpha": 1.0}}
    clean = Ridge(1.0).fit(planted.X, planted.y).predict(planted.X_new)
    moved = {
        name: np.abs(
            spec(name).build().set_params(**light.get(name, {})).fit(planted.X, y).predict(planted.X_new) - clean
        ).mean()
        for name in ("LinearRegression", "HuberRegressor", "TheilSenRegressor", "RANSACRegressor")
    }
    assert max(moved["HuberRegressor"], moved["RANSACRegressor"]) < 0.3 * moved["LinearRegression"]
    assert moved["TheilSenRegressor"] < moved["LinearRegression"]


def test_the_classifier_gives_probabilities_that_sum_to_one(msft):
    model = spec("LogisticRegression").build().fit(msft.X, msft.y)
    assert model.predict_proba(msft.X_new).sum(axis=1) == pytest.approx(np.ones(len(msft.X_new)))
    assert list(model.classes_) == [-1.0, 1.0]
    low, high = model.means_
    assert low < model.predict(msft.X_new).min() < model.predict(msft.X_new).max() < high
