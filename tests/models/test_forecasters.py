"""Our own estimators against hand calculations and other libraries."""

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import GammaRegressor
from statsmodels.regression import recursive_ls

from mltrainer.errors import BadInput
from mltrainer.models.base import scaled
from mltrainer.models.catalog import spec
from mltrainer.models.forecasters import Bounded, ClassMeans, Components, PricedVolatility, QuantileForecaster

LAG = 6


class Given(RegressorMixin, BaseEstimator):
    """Says column 0 as forecast, and (1/4, 3/4) as probabilities, whatever it is taught."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.taught_ = y
        return self

    def predict(self, X):
        return X[:, 0]

    def predict_proba(self, X):
        return np.tile([0.25, 0.75], (len(X), 1))


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_class_means_are_probability_times_mean_by_hand():
    # down days average -1.5, up days 2.5: 0.25 x -1.5 + 0.75 x 2.5 = 1.5
    model = ClassMeans(Given()).fit(column(0, 0, 0, 0), [-2.0, -1.0, 1.0, 4.0])
    assert model.predict(column(9)) == pytest.approx([1.5])
    assert model.predict_proba(column(9)) == pytest.approx(np.array([[0.25, 0.75]]))
    assert list(model.estimator_.taught_) == [-1, -1, 1, 1]


def test_class_means_refuse_a_train_window_without_two_directions():
    with pytest.raises(BadInput, match="one sign"):
        ClassMeans(Given()).fit(column(1, 2), [0.5, 0.7])


def test_a_quantile_is_moved_to_the_mean_by_hand():
    # y - quantile averages (1 + 2 + 6) / 3 - (0 + 1 + 2) / 3 = 2
    model = QuantileForecaster(Given()).fit(column(0, 1, 2), [1.0, 2.0, 6.0])
    assert model.predict(column(5)) == pytest.approx([7.0])
    assert model.predict_quantile(column(5)) == pytest.approx([5.0])


def test_bounded_forecasts_stay_between_the_lowest_and_highest_train_target():
    model = Bounded(Given()).fit(column(0, 1), [-2.0, 3.0])
    assert list(model.predict(column(-9, 1, 9))) == [-2.0, 1.0, 3.0]


def test_volatility_is_priced_by_its_slope_by_hand():
    # volatility 1, 2, 3 and returns -1, 0, 1: slope 1 through (2, 0); at volatility 2.5 the forecast is 0.5
    model = PricedVolatility(Given()).fit(column(1, 2, 3), [-1.0, 0.0, 1.0])
    assert model.price_of_risk_ == pytest.approx(1.0)
    assert model.predict(column(2.5)) == pytest.approx([0.5])
    assert model.predict(column(50)) == pytest.approx([1.0])  # the highest return seen
    assert model.predict_volatility(column(50)) == pytest.approx([50.0])
    assert list(model.estimator_.taught_) == [1.0, 0.001, 1.0]


def test_priced_volatility_finds_a_planted_premium():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(20_000, 3))
    v = np.exp(0.4 * X[:, 0])
    y = 0.3 * v + v * rng.normal(size=20_000)  # 0.3 of return per unit of volatility
    model = PricedVolatility(scaled(GammaRegressor(alpha=0.01, max_iter=1_000))).fit(X, y)
    assert np.corrcoef(np.log(model.predict_volatility(X)), X[:, 0])[0, 1] > 0.98
    # E|y| of N(0.3 v, v) is 0.834 v by the folded normal, so the price per unit of E|y| is 0.3 / 0.834 = 0.36
    assert model.price_of_risk_ == pytest.approx(0.36, abs=0.07)  # three standard errors


def test_components_have_unit_spread_leave_out_copies_and_are_cut():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(300, 3))
    X = np.column_stack([base, base @ [1.0, 2.0, 3.0]])  # rank 3
    Z = Components(4, limit=np.inf).fit(X).transform(X)
    assert Z.shape == (300, 3)
    assert Z.std(axis=0, ddof=1) == pytest.approx([1, 1, 1])
    assert np.abs(Components(2).fit(X).transform(100 * X)).max() == 3.0
    assert Components(2, limit=np.inf).fit(X).transform(X) == pytest.approx(PCA(2, whiten=True).fit_transform(X))


def test_a_forecaster_that_was_not_fitted_says_so():
    for name in ("RecursiveLS", "LogisticRegression", "GaussianProcess_RBF", "GammaRegressor_volatility"):
        with pytest.raises(NotFittedError):
            spec(name).build().predict(column(1, 2))


@pytest.fixture(scope="module")
def recursive(msft):
    return spec("RecursiveLS").build().fit(msft.X, msft.y)


def test_recursive_least_squares_ends_where_statsmodels_ols_does(recursive, msft):
    Z = sm.add_constant(recursive.reduce_.transform(msft.X))
    assert recursive.coef_ == pytest.approx(sm.OLS(msft.y, Z).fit().params, rel=1e-8, abs=1e-10)
    new = sm.add_constant(recursive.reduce_.transform(msft.X_new), has_constant="add")
    assert recursive.predict(msft.X_new) == pytest.approx(new @ recursive.coef_)


def test_recursive_least_squares_is_statsmodels_own(monkeypatch, msft):
    made = []

    class Counted(recursive_ls.RecursiveLS):
        def __init__(self, *args, **knobs):
            made.append(self)
            super().__init__(*args, **knobs)

    monkeypatch.setattr(recursive_ls, "RecursiveLS", Counted)
    spec("RecursiveLS").build().fit(msft.X[:300], msft.y[:300])
    assert len(made) == 1


def test_filtering_equals_refitting_ols_on_every_label_known_by_then(recursive, msft):
    X, y = msft.X_new[:120], msft.y_new[:120]
    forecast = recursive.filter(X, y, LAG)
    Z = sm.add_constant(recursive.reduce_.transform(np.vstack([msft.X, X])))
    labels = np.concatenate([msft.y, y])
    for i in (0, 5, 6, 7, 60, 119):
        known = len(msft.y) + max(i - LAG + 1, 0)
        refit = sm.OLS(labels[:known], Z[:known]).fit()
        assert forecast[i] == pytest.approx(refit.params @ Z[len(msft.y) + i], rel=1e-7)


def test_filtering_uses_no_label_younger_than_the_lag(recursive, msft):
    X, y = msft.X_new[:200], msft.y_new[:200]
    forecast = recursive.filter(X, y, LAG)
    for first in (0, 50, 150):
        other = y.copy()
        other[first:] = 1_000.0
        moved = recursive.filter(X, other, LAG)
        assert np.array_equal(moved[: first + LAG], forecast[: first + LAG])
        assert not np.isclose(moved[first + LAG], forecast[first + LAG])


def test_filtering_asks_for_a_delay(recursive, msft):
    with pytest.raises(BadInput, match="at least 1"):
        recursive.filter(msft.X_new, msft.y_new, 0)
