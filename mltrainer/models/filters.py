"""Series models: parameters are estimated once on the train rows, then the state is carried on by what was observed.

Every estimator here takes X (n, 1) of log returns per session (`VectorAutoregression` a second column), oldest first,
known at the close of its row t, and forecasts the return over the sessions t + 1 + entry_lag to t + horizon +
entry_lag: the expected sum of their log returns, as a fraction, about half the variance of that sum below the expected
simple return. A position entered at the open of t + 1 earns about the sessions from t + 1 on (entry_lag 0); one
entered at its close, where a source has no open, nothing of session t + 1 itself (entry_lag 1). Rows given to
`predict` or `filter` follow the train rows; row i uses rows up to i, and no label at all. Nothing is smoothed and
nothing is refitted, so a forecast never moves when the rows after it do. Inside, returns are in percent: optimizers
stop early on numbers of 0.01.
"""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models.forecasters import Array

LEAST_ROWS = 60
WEEK = 5


class SeriesForecaster(RegressorMixin, BaseEstimator):
    """What the series models share: percent, history, and one pass over train and new rows together.

    Parameters
    ----------
    horizon : sessions held, at least 1.
    entry_lag : sessions between the close of a row and the close of entry, at least 0.
    """

    columns: ClassVar[tuple[str, ...]] = ("return_1",)

    def __init__(self, horizon: int = 5, entry_lag: int = 0) -> None:
        self.horizon = horizon
        self.entry_lag = entry_lag

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Estimate the parameters on X (n, k); y is not used, as it is a sum of later rows of X."""
        self.history_ = self._percent(X)
        if len(self.history_) < LEAST_ROWS:
            raise NotEnoughHistory(f"{len(self.history_)} returns are too few; give at least {LEAST_ROWS}")
        self.n_features_in_ = len(self.columns)
        self._estimate(self.history_)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast from each of the rows X (m, k) that follow the train rows, (m,)."""
        check_is_fitted(self)
        rows = np.concatenate([self.history_, self._percent(X)])
        return np.asarray(self._forecast(rows), dtype=float)[len(self.history_) :] / 100

    def filter(self, X: ArrayLike, y: ArrayLike, lag: int) -> Array:
        """The same as `predict`: returns tell all that matured labels could."""
        return self.predict(X)

    def _percent(self, X: ArrayLike) -> Array:
        """X in percent, (n,) for one column and (n, k) for more."""
        X = np.asarray(X, dtype=float)
        if X.ndim != 2 or X.shape[1] != len(self.columns):
            raise BadInput(f"{type(self).__name__} takes the columns {', '.join(self.columns)}, not shape {X.shape}")
        return 100 * (X[:, 0] if len(self.columns) == 1 else X)

    @property
    def _held(self) -> range:
        """The steps ahead that a position is held: k for session t + k."""
        return range(self.entry_lag + 1, self.entry_lag + self.horizon + 1)

    @abstractmethod
    def _estimate(self, r: Array) -> None:
        """Learn parameters from returns in percent."""

    @abstractmethod
    def _forecast(self, r: Array) -> Array:
        """Forecast from every row, (n,), in percent."""


class StateSpace(SeriesForecaster):
    r"""A linear state space model of statsmodels: one pass of the Kalman filter, h steps by powers of T.

    .. math:: E_t[y_{t+k}] = d + Z\, T^{k-1} a_{t+1|t}

    with y the returns, or the log price where `order` has d = 1.
    """

    def _forecast(self, r: Array) -> Array:
        series, lag = self._series(r), self.entry_lag
        seen = self._model(series).filter(self.params_).filter_results
        Z, T, d = seen.design[:, :, 0], seen.transition[:, :, 0], seen.obs_intercept[0, 0]
        state = seen.predicted_state[:, 1:]  # column t is a_{t+1|t}: what is expected after row t was seen

        def expected(k: int) -> Array:
            return np.asarray((Z @ np.linalg.matrix_power(T, k - 1) @ state)[0] + d)

        if self._integrated:
            return expected(lag + self.horizon) - (expected(lag) if lag else series)
        return np.sum([expected(k) for k in self._held], axis=0)

    @property
    def _integrated(self) -> bool:
        return False

    def _series(self, r: Array) -> Array:
        return np.cumsum(r) if self._integrated else r

    @abstractmethod
    def _model(self, series: Array) -> Any: ...


class Arima(StateSpace):
    """ARIMA(p, d, q) of statsmodels: d = 0 on returns with a constant, d = 1 on the log price without a drift.

    Parameters by exact likelihood of the returns, which for d = 1 is the diffuse likelihood of the log price; the
    innovations algorithm gives the same figures as the Kalman filter in a fifth of the time.
    """

    engine = "statsmodels.tsa.arima.model.ARIMA"

    def __init__(self, order: tuple[int, int, int] = (1, 0, 0), horizon: int = 5, entry_lag: int = 0) -> None:
        super().__init__(horizon, entry_lag)
        self.order = order

    @property
    def _integrated(self) -> bool:
        return self.order[1] == 1

    def _estimate(self, r: Array) -> None:
        p, d, q = self.order
        model = self._arima()(r, order=(p, 0, q), trend="n" if d else "c")
        self.params_ = np.asarray(model.fit(method="innovations_mle", cov_type="none").params)

    def _model(self, series: Array) -> Any:
        return self._arima()(series, order=self.order)

    @staticmethod
    def _arima() -> Any:
        from statsmodels.tsa.arima.model import ARIMA  # 1 s to import: on use only

        return ARIMA


class LocalLevel(StateSpace):
    """The mean return is a random walk under noise: `UnobservedComponents('llevel')`, by the Kalman filter."""

    engine = "statsmodels.tsa.statespace.structural.UnobservedComponents"

    def _estimate(self, r: Array) -> None:
        self.params_ = np.asarray(self._model(r).fit(disp=0, cov_type="none").params)

    def _model(self, series: Array) -> Any:
        from statsmodels.tsa.statespace.structural import UnobservedComponents

        return UnobservedComponents(series, "llevel", use_exact_diffuse=True)


def _level(series: Array, alpha: float, start: float) -> Array:
    """Exponentially smoothed level after each row, by statsmodels with nothing optimized."""
    from statsmodels.tsa.holtwinters import SimpleExpSmoothing

    model = SimpleExpSmoothing(series, initialization_method="known", initial_level=start)
    return np.asarray(model.fit(smoothing_level=alpha, optimized=False).level)


class ExponentialSmoothing(SeriesForecaster):
    """Simple exponential smoothing of returns with a given alpha; the level starts at the train mean."""

    engine = "statsmodels.tsa.holtwinters.SimpleExpSmoothing"

    def __init__(self, alpha: float = 0.1, horizon: int = 5, entry_lag: int = 0) -> None:
        super().__init__(horizon, entry_lag)
        self.alpha = alpha

    def _estimate(self, r: Array) -> None:
        self.start_ = float(r.mean())

    def _forecast(self, r: Array) -> Array:
        return self.horizon * _level(r, self.alpha, self.start_)


class HoltWinters(SeriesForecaster):
    r"""Level, damped trend and a season of `period` sessions of the price itself; forecasts its simple return.

    .. math:: \hat P_{t+k} = \Big(\ell_t + \sum_{i=1}^{k} \phi^i\, b_t\Big) \ \{+, \times\}\ s_{t+k-m\lceil k/m \rceil}

    Smoothing weights, damping and the initial level, trend and season come from the train rows and stay.
    """

    engine = "statsmodels.tsa.holtwinters.ExponentialSmoothing"

    def __init__(self, seasonal: str = "add", period: int = WEEK, horizon: int = 5, entry_lag: int = 0) -> None:
        super().__init__(horizon, entry_lag)
        self.seasonal = seasonal
        self.period = period

    def _estimate(self, r: Array) -> None:
        found = self._model(_price(r), initialization_method="estimated").fit().params
        self.initial_ = {
            "initial_level": found["initial_level"],
            "initial_trend": found["initial_trend"],
            "initial_seasonal": np.asarray(found["initial_seasons"]),
        }
        weights = ("smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend")
        self.weights_ = {name: float(found[name]) for name in weights}

    def _forecast(self, r: Array) -> Array:
        price = _price(r)
        # statsmodels has no append: the recursion runs again over all rows from the frozen start
        known = self._model(price, initialization_method="known", **self.initial_)
        seen = known.fit(**self.weights_, optimized=False)
        entry = self._ahead(seen, self.entry_lag) if self.entry_lag else price
        return 100 * (self._ahead(seen, self.entry_lag + self.horizon) / entry - 1)

    def _ahead(self, seen: Any, k: int) -> Array:
        """Price expected k sessions after each row, (n,)."""
        damping = np.sum(self.weights_["damping_trend"] ** np.arange(1, k + 1))
        base = seen.level + damping * seen.trend
        back = -k % self.period  # the season of the target, as estimated that many rows ago
        known_then = np.concatenate([np.asarray(self.initial_["initial_seasonal"]), seen.season])
        season = known_then[self.period - back : len(known_then) - back]
        return np.asarray(base + season if self.seasonal == "add" else base * season)

    def _model(self, price: Array, **start: Any) -> Any:
        from statsmodels.tsa.holtwinters import ExponentialSmoothing as Smoothing

        seasonal = {"seasonal": self.seasonal, "seasonal_periods": self.period}
        return Smoothing(price, trend="add", damped_trend=True, **seasonal, **start)


def _price(r: Array) -> Array:
    return 100 * np.exp(np.cumsum(r) / 100)


class Theta(SeriesForecaster):
    r"""The theta method on the log price: a smoothed level and half the drift of a straight line.

    .. math:: E_t[p_{t+k}] = \ell_t + \tfrac{b_0}{2}\Big(k - 1 + \frac{1 - (1 - \alpha)^t}{\alpha}\Big)

    The price goes to the line within one session: entered a session later, what is left is half the drift, a constant.
    """

    engine = "statsmodels.tsa.forecasting.theta.ThetaModel"

    def _estimate(self, r: Array) -> None:
        from statsmodels.tsa.forecasting.theta import ThetaModel

        found = ThetaModel(np.cumsum(r), period=WEEK, deseasonalize=False).fit().params
        self.drift_, self.alpha_ = float(found["b0"]), float(found["alpha"])

    def _forecast(self, r: Array) -> Array:
        if self.entry_lag:
            return np.full(len(r), 0.5 * self.drift_ * self.horizon)
        p, t = np.cumsum(r), np.arange(1, len(r) + 1)
        line = self.horizon - 1 + (1 - (1 - self.alpha_) ** t) / self.alpha_
        return _level(p, self.alpha_, p[0]) - p + 0.5 * self.drift_ * line


class Garch(SeriesForecaster):
    r"""AR(1) returns with GARCH(1,1) variance and Student's t errors, estimated by arch; the mean is the forecast.

    .. math:: r_{t+1} = c + \phi r_t + e_{t+1}, \qquad \sigma^2_{t+1} = \omega + \alpha e_t^2 + \beta \sigma_t^2

    The recursion is ours, since arch bounds the variance by figures of the whole series, the future included.
    """

    engine = "arch.univariate.GARCH"

    def _estimate(self, r: Array) -> None:
        from arch import arch_model

        model = arch_model(r, mean="AR", lags=1, vol="GARCH", dist="t", rescale=False)
        found = np.asarray(model.fit(disp="off").params)
        self.params_ = found  # c, phi, omega, alpha, beta, degrees of freedom

    def _forecast(self, r: Array) -> Array:
        c, phi = self.params_[:2]
        mean, total = r, np.zeros(len(r))
        for k in range(1, self._held.stop):
            mean = c + phi * mean
            total += mean if k in self._held else 0.0
        return total

    def predict_deviation(self, X: ArrayLike) -> Array:
        """Expected standard deviation of the return that `predict` forecasts the mean of, (m,), a fraction."""
        check_is_fitted(self)
        r = np.concatenate([self.history_, self._percent(X)])
        _, phi, omega, alpha, beta, _ = self.params_
        variance, total = self._next_variance(r), np.zeros(len(r))
        held = np.array(self._held)
        for k in range(1, self._held.stop):  # a shock of session t + k moves what is held from then on by powers of phi
            total += np.sum(phi ** (held[held >= k] - k)) ** 2 * variance
            variance = omega + (alpha + beta) * variance
        return np.sqrt(total[len(self.history_) :]) / 100

    def _next_variance(self, r: Array) -> Array:
        """Variance of session t + 1 as known after t, (n,); starts at the mean square of the train errors."""
        from scipy.signal import lfilter

        c, phi, omega, alpha, beta, _ = self.params_
        errors = r[1:] - c - phi * r[:-1]
        start = np.mean(errors[: len(self.history_) - 1] ** 2)
        after, _ = lfilter([1.0], [1.0, -beta], omega + alpha * errors**2, zi=[beta * start])
        return np.concatenate([[start], after])


class MarkovSwitching(SeriesForecaster):
    r"""Two regimes with a mean and a variance each; Hamilton's filter says how probable each is after row t.

    .. math:: E_t[r_{t+k}] = \mu^\top P^k\, \pi_{t|t}
    """

    engine = "statsmodels.tsa.regime_switching.markov_regression.MarkovRegression"

    def _estimate(self, r: Array) -> None:
        self.params_ = np.asarray(self._model(r).fit(disp=0, cov_type="none").params)

    def _forecast(self, r: Array) -> Array:
        model = self._model(r)
        probability = self._filtered(model)
        P, mu = self.transition_, self.params_[model.parameters["exog"]]
        steps = sum(np.linalg.matrix_power(P, k) for k in self._held)
        return np.asarray(probability @ (mu @ steps))

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probability of each regime after each of the rows X (m, 1), (m, 2)."""
        check_is_fitted(self)
        r = np.concatenate([self.history_, self._percent(X)])
        return self._filtered(self._model(r))[len(self.history_) :]

    @property
    def transition_(self) -> Array:
        """Column-stochastic (2, 2): the probability of regime i after regime j."""
        stay, leave = self.params_[:2]  # P(0 -> 0) and P(1 -> 0)
        return np.array([[stay, leave], [1 - stay, 1 - leave]])

    def _filtered(self, model: Any) -> Array:
        return np.asarray(model.filter(self.params_).filtered_marginal_probabilities)

    @staticmethod
    def _model(r: Array) -> Any:
        from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

        return MarkovRegression(r, k_regimes=2, switching_variance=True)


class VectorAutoregression(SeriesForecaster):
    """Returns and volatility, each on the past of both; BIC chooses up to `maxlags` lags."""

    engine = "statsmodels.tsa.vector_ar.var_model.VAR"
    columns = ("return_1", "volatility_21")

    def __init__(self, maxlags: int = WEEK, horizon: int = 5, entry_lag: int = 0) -> None:
        super().__init__(horizon, entry_lag)
        self.maxlags = maxlags

    def _estimate(self, r: Array) -> None:
        from statsmodels.tsa.vector_ar.var_model import VAR

        found = VAR(r).fit(maxlags=self.maxlags, ic="bic")
        self.lags_ = int(found.k_ar)
        self.intercept_, self.coef_ = np.asarray(found.intercept), np.hstack([np.zeros((2, 0)), *found.coefs])

    def _forecast(self, r: Array) -> Array:
        # row t holds the latest values first; the first rows, all of them train, repeat the oldest
        back = np.maximum(np.arange(len(r))[:, None] - np.arange(max(self.lags_, 1)), 0)
        state = r[back].reshape(len(r), -1)
        total = np.zeros(len(r))
        for k in range(1, self._held.stop):
            ahead = self.intercept_ + state[:, : self.coef_.shape[1]] @ self.coef_.T
            state = np.hstack([ahead, state[:, :-2]])
            total += ahead[:, 0] if k in self._held else 0.0
        return total
