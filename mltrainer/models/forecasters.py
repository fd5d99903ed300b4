"""Our own estimators: what turns a library's model into a forecast of the mean, without hiding what it was.

All of them are plain scikit-learn regressors: settings in the constructor as given, what was learned ends in `_`.
"""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel
from sklearn.linear_model import RANSACRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from mltrainer.errors import BadInput
from mltrainer.models.base import ModelSpec

Array = NDArray[np.float64]


def checked(estimator: Any, X: ArrayLike) -> Array:
    """X (n, p) of float, as many columns as were learned from and no NaN; scikit-learn's own words where it is not."""
    check_is_fitted(estimator)
    return np.asarray(validate_data(estimator, X, reset=False, dtype=float))


def labelled(estimator: Any, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """X (n, p) and y (n,) of float, two rows at least; the estimator notes how many columns, and their names."""
    X, y = validate_data(estimator, X, y, dtype=float, y_numeric=True, ensure_min_samples=2)
    return np.asarray(X), np.asarray(y, dtype=float)


def directions(y: Array) -> Array:
    """Signs of y, (n,), of which there must be two to be told apart."""
    if len(np.unique(sign := np.sign(y))) < 2:
        raise BadInput("all labels have one sign, so there is no direction to learn; widen the train window")
    return np.asarray(sign)


def deviation(fitted: Any, X: ArrayLike) -> Array:
    """Standard deviation of y at each row of X, (n,), noise included, of a model whose spec `gives` one."""
    if isinstance(fitted, Pipeline):  # a library's own, behind its scaler
        return np.asarray(fitted.predict(X, return_std=True)[1], dtype=float)
    return np.asarray(fitted.predict_deviation(X), dtype=float)


def quantile_level(spec: ModelSpec) -> float | None:
    """Level of the quantile a model forecasts, wherever inside it that is set; None where it forecasts none."""
    params = spec.estimator.get_params() if "quantile" in spec.gives else {}
    return next((float(v) for k, v in params.items() if k.rpartition("__")[2] == "quantile"), None)


class Components(TransformerMixin, BaseEstimator):
    """The leading principal components, each with sd 1 on the train rows and cut at +- `limit` sd.

    At most `n`; directions with less than 1e-6 of the variance are left out, since giving them sd 1 would turn
    rounding errors of collinear columns into features. Input (n_rows, p), output (n_rows, n_components_).
    """

    def __init__(self, n: int = 10, limit: float = 3.0) -> None:
        self.n = n
        self.limit = limit

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Find the components on the train rows."""
        X = np.asarray(validate_data(self, X, dtype=float, ensure_min_samples=2))
        self.pca_ = PCA(min(self.n, *X.shape), whiten=True, svd_solver="full").fit(X)
        self.n_components_ = max(1, int((self.pca_.explained_variance_ratio_ > 1e-6).sum()))
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Project, scale and cut."""
        X = checked(self, X)
        Z = self.pca_.transform(X)[:, : self.n_components_]
        return np.clip(Z, -self.limit, self.limit)


class Around(RegressorMixin, BaseEstimator):
    """What our wrappers share: a clone of `estimator`, fitted, in `estimator_`; forecasts as it gives them."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the clone on X (n, p) and y (n,), then learn what the wrapper adds."""
        X, y = labelled(self, X, y)
        self.estimator_ = clone(self.estimator).fit(X, self._target(y))
        self._learn(X, y)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,)."""
        return self._inner(X)

    def _target(self, y: Array) -> Array:
        return y

    def _learn(self, X: Array, y: Array) -> None: ...

    def _inner(self, X: ArrayLike) -> Array:
        X = checked(self, X)
        return np.asarray(self.estimator_.predict(X), dtype=float)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # few classes, clusters or one side say little of a line
        return tags


class Bounded(Around):
    """A forecast is never outside the range of the train targets: an extrapolating polynomial knows no better."""

    def _learn(self, X: Array, y: Array) -> None:
        self.low_, self.high_ = float(y.min()), float(y.max())

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, cut to [low_, high_], (n,)."""
        return np.clip(self._inner(X), self.low_, self.high_)


class QuantileForecaster(Around):
    """A quantile regression that also forecasts the mean: the quantile plus the train mean of y minus quantile."""

    def _learn(self, X: Array, y: Array) -> None:
        self.shift_ = float(np.mean(y - self._inner(X)))

    def predict_quantile(self, X: ArrayLike) -> Array:
        """The conditional quantile itself, (n,), to be scored by pinball loss."""
        return self._inner(X)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,): the quantile moved by `shift_`."""
        return self._inner(X) + self.shift_


class ClassMeans(Around):
    r"""A direction classifier as a forecaster of the mean.

    .. math:: \hat y(x) = \sum_k P(k \mid x)\, \bar y_k

    Classes are the signs of y: with y measured from its train mean, below and above the usual.
    """

    def _target(self, y: Array) -> Array:
        return directions(y)

    def _learn(self, X: Array, y: Array) -> None:
        self.classes_ = self.estimator_.classes_
        self.means_ = np.array([y[np.sign(y) == k].mean() for k in self.classes_])

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probability of each of `classes_`, (n, n_classes)."""
        X = checked(self, X)
        return np.asarray(self.estimator_.predict_proba(X), dtype=float)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,)."""
        return self.predict_proba(X) @ self.means_


class PricedVolatility(Around):
    r"""A volatility model as a forecaster: the estimator learns v(x) = E[abs(y) | x], a constant price of risk pays it.

    .. math:: \hat y(x) = \bar y + \lambda\,(v(x) - \bar v), \qquad \lambda = \mathrm{cov}(y, v)/\mathrm{var}(v)

    On targets with mean zero Merton's ratio mean(y)/mean(v) is zero by construction; the slope is the same price of
    risk with the intercept that the z-score took away. Targets are floored at `floor`, as the gamma likelihood needs
    v > 0; forecasts keep to the range of the train targets, as the log link extrapolates exponentially.

    References
    ----------
    Merton (1980), *On estimating the expected return on the market*; French, Schwert and Stambaugh (1987).
    """

    def __init__(self, estimator: Any, floor: float = 1e-3) -> None:
        super().__init__(estimator)
        self.floor = floor

    def _target(self, y: Array) -> Array:
        return np.maximum(np.abs(y), self.floor)

    def _learn(self, X: Array, y: Array) -> None:
        v = self._inner(X)
        self.mean_, self.mean_volatility_ = float(y.mean()), float(v.mean())
        self.low_, self.high_ = float(y.min()), float(y.max())
        self.price_of_risk_ = float(np.cov(y, v)[0, 1] / v.var(ddof=1)) if v.std() > 1e-12 else 0.0

    def predict_volatility(self, X: ArrayLike) -> Array:
        """E[abs(y) | x], (n,), positive: the mean absolute deviation, sqrt(pi / 2) below the sd of a normal."""
        return self._inner(X)

    def predict_deviation(self, X: ArrayLike) -> Array:
        """Standard deviation of y, (n,), positive, as if y were normal."""
        return np.sqrt(np.pi / 2) * self.predict_volatility(X)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,)."""
        v = self._inner(X)
        priced = self.mean_ + self.price_of_risk_ * (v - self.mean_volatility_)
        return np.clip(priced, self.low_, self.high_)


class Consensus(RANSACRegressor):
    """RANSAC that says how many train rows it believed: rows it leaves out are often the crash days."""

    engine = "sklearn.linear_model.RANSACRegressor"

    @property
    def inlier_share_(self) -> float:
        """Fraction of the train rows in the final fit."""
        check_is_fitted(self)
        return float(self.inlier_mask_.mean())


class OneThread(HistGradientBoostingRegressor):
    """Histogram boosting has no `n_jobs`: OpenMP is held to one thread, so that parallel workers do not trample."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit with one thread."""
        with threadpool_limits(1, user_api="openmp"):
            return super().fit(X, y, sample_weight)

    def predict(self, X: ArrayLike) -> Array:
        """Predict with one thread."""
        with threadpool_limits(1, user_api="openmp"):
            return super().predict(X)


class RecursiveForecaster(RegressorMixin, BaseEstimator):
    """Recursive least squares of statsmodels on the components that `reduce` makes of X, with a constant.

    At the end of the train rows the coefficients are those of ordinary least squares; `filter` carries them on.
    """

    engine = "statsmodels.regression.recursive_ls.RecursiveLS"

    def __init__(self, reduce: Any) -> None:
        self.reduce = reduce

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Run the filter over the train rows, X (n, p), y (n,)."""
        X, y = labelled(self, X, y)
        self.reduce_ = clone(self.reduce).fit(X, y)
        self.exog_, self.endog_ = self._exog(X), y
        self.coef_ = self._coefficients(self.exog_, y)[-1]
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast with the coefficients at the end of the train rows, (n,)."""
        return self._exog(X) @ self.coef_

    def filter(self, X: ArrayLike, y: ArrayLike, lag: int) -> Array:
        """Forecast the rows that follow the train rows, (n,), learning on the way.

        Row i uses labels of rows <= i - lag only: a label of h sessions is known h + 1 rows later, not at once.

        Parameters
        ----------
        X : (n, p) rows in time order; y : (n,) their labels, the last `lag` of which are not read and may be NaN;
        lag : rows until a label is known, at least 1.
        """
        if lag < 1:
            raise BadInput(f"lag {lag}: the label of a row is not known at that row; give at least 1")
        Z = self._exog(X)
        matured = max(len(Z) - lag, 0)
        labels = np.concatenate([self.endog_, np.asarray(y, dtype=float)[:matured]])
        path = self._coefficients(np.vstack([self.exog_, Z[:matured]]), labels)
        # after the last train row comes coefficient 0 of the new rows; young rows have only the train's
        known = len(self.endog_) - 1 + np.maximum(np.arange(len(Z)) - lag + 1, 0)
        return np.einsum("ij,ij->i", Z, path[known])

    def _exog(self, X: ArrayLike) -> Array:
        X = checked(self, X)
        Z = self.reduce_.transform(X)
        return np.column_stack([np.ones(len(Z)), Z])

    @staticmethod
    def _coefficients(exog: Array, endog: Array) -> Array:
        """Coefficients after each row, (n, k): row t knows labels up to and including t."""
        from statsmodels.regression.recursive_ls import RecursiveLS  # 1 s to import: on use only

        # .filter, not .fit: .fit scales the prior by a variance taken from all rows, the future included
        return RecursiveLS(endog, exog).filter(return_ssm=True).filtered_state.T


class RecentGaussianProcess(RegressorMixin, BaseEstimator):
    """A Gaussian process whose cost is bounded: it conditions on the latest `rows`, and chooses its kernel on fewer.

    Features are standardized and divided by sqrt(p): two typical rows are sqrt(2) apart whatever p is, so a length
    scale means the same for 10 features and for 60. Hyper-parameters maximise the marginal likelihood on
    `choose_on` rows spread evenly over the latest `rows` (labels of neighbouring rows overlap, and would pass for
    signal); 0 keeps the kernel as given. The prior mean is zero, the mean of the target.
    """

    engine = "sklearn.gaussian_process.GaussianProcessRegressor"

    def __init__(self, kernel: Kernel, rows: int = 2_000, choose_on: int = 0, random_state: int | None = 0) -> None:
        self.kernel = kernel
        self.rows = rows
        self.choose_on = choose_on
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Choose the kernel, then condition on the latest rows of X (n, p), y (n,)."""
        X, y = labelled(self, X, y)
        X, y = X[-self.rows :], y[-self.rows :]
        self.scaler_ = StandardScaler().fit(X)
        Z = self._space(X)
        self.kernel_ = self._choose(Z, y) if self.choose_on else self.kernel
        self.gp_ = GaussianProcessRegressor(self.kernel_, optimizer=None, random_state=self.random_state).fit(Z, y)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Mean of the posterior, (n,)."""
        X = checked(self, X)
        return self.gp_.predict(self._space(X))

    def predict_deviation(self, X: ArrayLike) -> Array:
        """Standard deviation of the posterior of y, noise included, (n,), positive."""
        X = checked(self, X)
        return self.gp_.predict(self._space(X), return_std=True)[1]

    def _space(self, X: Array) -> Array:
        return self.scaler_.transform(X) / np.sqrt(self.n_features_in_)

    def _choose(self, Z: Array, y: Array) -> Kernel:
        every = -(-len(Z) // self.choose_on)
        Z, y = Z[::-1][::every][::-1], y[::-1][::every][::-1]
        with warnings.catch_warnings():
            # on returns the likelihood is often highest at a bound: weakest signal, longest scale
            warnings.filterwarnings("ignore", ".*close to the specified (lower|upper) bound", ConvergenceWarning)
            return GaussianProcessRegressor(self.kernel, random_state=self.random_state).fit(Z, y).kernel_
