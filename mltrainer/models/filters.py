"""Series models: parameters are estimated once on the train rows, then the state is carried on by what was observed.

Every estimator here takes X (n, 1) of log returns per session (`VectorAutoregression` a second column), oldest first,
known at the close of its row, and forecasts the return of the next `horizon` sessions: the expected sum of their log
returns, as a fraction, about half the variance of that sum below the expected simple return. Rows given to `predict`
or `filter` follow the train rows; row i uses rows up to i, and no label at all. Nothing is smoothed and nothing is
refitted, so a forecast never moves when the rows after it do. Inside, returns are in percent: optimizers stop early
on numbers of 0.01.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models.forecasters import Array

LEAST_ROWS = 60
WEEK = 5
# The drift of the stochastic volatility models returns to its mean with a half-life of 14 sessions, and carries
# between a thousandth and a fiftieth of the variance of a session: its own moments are too noisy to be left alone.
PERSISTENCE, DRIFT_SHARE = 0.95, (0.001, 0.02)
MOMENTS = np.arange(1, 21)  # lags whose autocovariances are matched


class SeriesForecaster(RegressorMixin, BaseEstimator):
    """What the series models share: percent, history, and one pass over train and new rows together.

    Parameters
    ----------
    horizon : sessions ahead, at least 1.
    """

    columns: ClassVar[tuple[str, ...]] = ("return_1",)

    def __init__(self, horizon: int = 5) -> None:
        self.horizon = horizon

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
        series, h = self._series(r), self.horizon
        seen = self._model(series).filter(self.params_).filter_results
        Z, T, d = seen.design[:, :, 0], seen.transition[:, :, 0], seen.obs_intercept[0, 0]
        ahead = [Z @ np.linalg.matrix_power(T, k) for k in range(h)]
        state = seen.predicted_state[:, 1:]  # column t is a_{t+1|t}: what is expected after row t was seen
        if self._integrated:
            return (ahead[-1] @ state)[0] + d - series
        return (np.sum(ahead, axis=0) @ state)[0] + h * d

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

    def __init__(self, order: tuple[int, int, int] = (1, 0, 0), horizon: int = 5) -> None:
        super().__init__(horizon)
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

    def __init__(self, alpha: float = 0.1, horizon: int = 5) -> None:
        super().__init__(horizon)
        self.alpha = alpha

    def _estimate(self, r: Array) -> None:
        self.start_ = float(r.mean())

    def _forecast(self, r: Array) -> Array:
        return self.horizon * _level(r, self.alpha, self.start_)


class HoltWinters(SeriesForecaster):
    r"""Level, damped trend and a season of `period` sessions of the price itself; forecasts its simple return.

    .. math:: \hat P_{t+h} = \Big(\ell_t + \sum_{i=1}^{h} \phi^i\, b_t\Big) \ \{+, \times\}\ s_{t+h-m\lceil h/m \rceil}

    Smoothing weights, damping and the initial level, trend and season come from the train rows and stay.
    """

    engine = "statsmodels.tsa.holtwinters.ExponentialSmoothing"

    def __init__(self, seasonal: str = "add", period: int = WEEK, horizon: int = 5) -> None:
        super().__init__(horizon)
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
        damping = np.sum(self.weights_["damping_trend"] ** np.arange(1, self.horizon + 1))
        base = seen.level + damping * seen.trend
        back = -self.horizon % self.period  # the season of the target, as estimated that many rows ago
        known_then = np.concatenate([np.asarray(self.initial_["initial_seasonal"]), seen.season])
        season = known_then[self.period - back : len(known_then) - back]
        ahead = base + season if self.seasonal == "add" else base * season
        return 100 * (ahead / price - 1)

    def _model(self, price: Array, **start: Any) -> Any:
        from statsmodels.tsa.holtwinters import ExponentialSmoothing as Smoothing

        seasonal = {"seasonal": self.seasonal, "seasonal_periods": self.period}
        return Smoothing(price, trend="add", damped_trend=True, **seasonal, **start)


def _price(r: Array) -> Array:
    return 100 * np.exp(np.cumsum(r) / 100)


class Theta(SeriesForecaster):
    r"""The theta method on the log price: a smoothed level and half the drift of a straight line.

    .. math:: E_t[p_{t+h}] = \ell_t + \tfrac{b_0}{2}\Big(h - 1 + \frac{1 - (1 - \alpha)^t}{\alpha}\Big)
    """

    engine = "statsmodels.tsa.forecasting.theta.ThetaModel"

    def _estimate(self, r: Array) -> None:
        from statsmodels.tsa.forecasting.theta import ThetaModel

        found = ThetaModel(np.cumsum(r), period=WEEK, deseasonalize=False).fit().params
        self.drift_, self.alpha_ = float(found["b0"]), float(found["alpha"])

    def _forecast(self, r: Array) -> Array:
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
        for _ in range(self.horizon):
            mean = c + phi * mean
            total += mean
        return total

    def predict_deviation(self, X: ArrayLike) -> Array:
        """Expected standard deviation of the return of the next `horizon` sessions, (m,), a fraction."""
        check_is_fitted(self)
        r = np.concatenate([self.history_, self._percent(X)])
        _, phi, omega, alpha, beta, _ = self.params_
        variance, total = self._next_variance(r), np.zeros(len(r))
        for left in range(self.horizon, 0, -1):  # a shock with `left` sessions to go moves all of them by powers of phi
            total += np.sum(phi ** np.arange(left)) ** 2 * variance
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
        steps = sum(np.linalg.matrix_power(P, k) for k in range(1, self.horizon + 1))
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

    def __init__(self, maxlags: int = WEEK, horizon: int = 5) -> None:
        super().__init__(horizon)
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
        for _ in range(self.horizon):
            ahead = self.intercept_ + state[:, : self.coef_.shape[1]] @ self.coef_.T
            state = np.hstack([ahead, state[:, :-2]])
            total += ahead[:, 0]
        return total


# --- stochastic volatility ------------------------------------------------------------------------------------


class StochasticVolatility(SeriesForecaster):
    r"""A drift and a log variance, both hidden and both returning to their means.

    .. math:: r_t = \mu_t + e^{x_t/2} \epsilon_t, \quad \mu_t - \bar\mu = \rho(\mu_{t-1} - \bar\mu) + u_t, \quad
              x_t - \bar x = \phi(x_{t-1} - \bar x) + w_t

    Parameters by the method of moments on the train rows. With e the returns less their mean, z = log(e^2 + offset)
    is x plus independent noise: autocovariances of z at lags 1..20 give phi and var x, and those of r, with rho
    given, the variance of the drift. E e^2 = exp(x mean + var x / 2) gives the mean of x.

    References
    ----------
    Taylor (1986), *Modelling Financial Time Series*; Harvey, Ruiz and Shephard (1994), Review of Economic Studies 61.
    """

    def _estimate(self, r: Array) -> None:
        errors = r - r.mean()
        variance = float(errors.var())
        self.offset_ = 0.02 * variance  # sessions without a move would be minus infinity
        z = self._log_square(errors)
        covariance = _autocovariance(z)
        phi = float(np.clip(covariance[:-1] @ covariance[1:] / (covariance[:-1] @ covariance[:-1]), 0.9, 0.995))
        spread = max(_matched(covariance, phi), 0.05)
        low, high = (variance * share for share in DRIFT_SHARE)
        drift = float(np.clip(_matched(_autocovariance(r), PERSISTENCE), low, high))
        self.mean_ = np.array([r.mean(), np.log(variance) - spread / 2])
        self.persistence_ = np.array([PERSISTENCE, phi])
        self.variance_ = np.array([drift, spread])  # of the two states, in the long run
        self.noise_ = np.array([z.mean() - self.mean_[1], max(z.var() - spread, 1.0)])  # mean and variance of z - x

    def _forecast(self, r: Array) -> Array:
        mean, rho = self.mean_[0], self.persistence_[0]
        return self.horizon * mean + np.sum(rho ** np.arange(1, self.horizon + 1)) * (self._drift(r) - mean)

    @abstractmethod
    def _drift(self, r: Array) -> Array:
        """Expected drift at each row as known after it, (n,)."""

    def _log_square(self, r: Array) -> Array:
        return np.asarray(np.log(r**2 + self.offset_))

    @property
    def _shocks(self) -> Array:
        """Variances of u and w."""
        return self.variance_ * (1 - self.persistence_**2)


def _autocovariance(x: Array) -> Array:
    """Autocovariances at the lags `MOMENTS`."""
    d = x - x.mean()
    return np.array([d[k:] @ d[:-k] for k in MOMENTS]) / len(d)


def _matched(covariance: Array, persistence: float) -> float:
    """Least squares for v in covariance_k = v persistence^k: the variance of a first-order autoregression in noise."""
    powers = persistence**MOMENTS
    return float(covariance @ powers / (powers @ powers))


def bootstrap_filter(
    observed: Array,
    cloud: Array,
    step: Callable[[Array, float, np.random.Generator], tuple[Array, Array]],
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """The particle filter of Gordon, Salmond and Smith (1993), resampled systematically after every row.

    Parameters
    ----------
    observed : (n,) ; cloud : (m, d) particles before the first row; step : draws the next cloud, (m, d), and gives
        the log likelihood of the row for each particle, (m,).

    Returns
    -------
    (n, d) expected state at each row given the rows up to it, and (n,) effective number of particles, 1 to m.
    """
    m = len(cloud)
    mean, effective = np.empty((len(observed), cloud.shape[1])), np.empty(len(observed))
    for t, value in enumerate(observed):
        cloud, log_weight = step(cloud, value, rng)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        mean[t], effective[t] = weight @ cloud, 1 / (weight @ weight)
        ladder = (rng.random() + np.arange(m)) / m
        cloud = cloud[np.minimum(np.searchsorted(np.cumsum(weight), ladder), m - 1)]
    return mean, effective


class ParticleFilter(StochasticVolatility):
    """Stochastic volatility by a cloud of `particles`, each a path of the log variance; the seed decides the cloud.

    Given its path the drift is linear and normal, so every particle carries a Kalman filter of it: drawn as well, the
    drift would be as much noise of the drawing as signal (Doucet, de Freitas, Murphy and Russell, 2000).
    """

    engine = "mltrainer.models.filters.ParticleFilter"

    def __init__(self, particles: int = 1_000, random_state: int = 0, horizon: int = 5) -> None:
        super().__init__(horizon)
        self.particles = particles
        self.random_state = random_state

    def effective_particles(self, X: ArrayLike) -> Array:
        """How many of the particles carry the weight at each of the rows X (m, 1), (m,): near 1 is a lost cloud."""
        check_is_fitted(self)
        return self._run(np.concatenate([self.history_, self._percent(X)]))[1][len(self.history_) :]

    def _drift(self, r: Array) -> Array:
        return self._run(r)[0][:, 0]

    def _run(self, r: Array) -> tuple[Array, Array]:
        """Expected drift, its variance and the log variance at each row, (n, 3), and effective particles, (n,)."""
        rng, m = np.random.default_rng(self.random_state), self.particles
        (mu_mean, x_mean), (rho, phi), (mu_shock, x_shock) = self.mean_, self.persistence_, self._shocks

        def step(cloud: Array, value: float, rng: np.random.Generator) -> tuple[Array, Array]:
            mu, P, x = cloud.T
            x = x_mean + phi * (x - x_mean) + np.sqrt(x_shock) * rng.standard_normal(m)
            mu, P = mu_mean + rho * (mu - mu_mean), rho**2 * P + mu_shock
            error, total = value - mu, P + np.exp(x)
            gain = P / total
            moved = np.column_stack([mu + gain * error, (1 - gain) * P, x])
            return moved, -0.5 * (np.log(total) + error**2 / total)

        start = x_mean + np.sqrt(self.variance_[1]) * rng.standard_normal(m)
        cloud = np.column_stack([np.full(m, mu_mean), np.full(m, self.variance_[0]), start])
        return bootstrap_filter(r, cloud, step, rng)


class UnscentedFilter(StochasticVolatility):
    """Stochastic volatility by filterpy's unscented Kalman filter, on what a session shows: r and log(r^2 + offset).

    The return alone says nothing of x to a filter that updates by covariances (they are zero), hence its square.
    """

    engine = "filterpy.kalman.UnscentedKalmanFilter"

    def _drift(self, r: Array) -> Array:
        shown = np.column_stack([r, self._log_square(r)])
        return self._track(shown)[:, 0]

    def _track(self, shown: Array) -> Array:
        """Expected (drift, log variance) at each row given the rows up to it, (n, 2)."""
        from filterpy.kalman import JulierSigmaPoints, UnscentedKalmanFilter

        points = JulierSigmaPoints(2, kappa=1.0)
        ukf = UnscentedKalmanFilter(2, 2, 1.0, hx=self._shows, fx=self._moves, points=points)
        ukf.x, ukf.P, ukf.Q = self.mean_.copy(), np.diag(self.variance_), np.diag(self._shocks)
        state = np.empty((len(shown), 2))
        for t, row in enumerate(shown):
            ukf.predict()
            # before the row is seen: the variance of r that the predicted state expects
            ukf.update(row, R=np.diag([np.exp(ukf.x[1] + ukf.P[1, 1] / 2), self.noise_[1]]))
            state[t] = ukf.x
        return state

    def _moves(self, state: Array, step: float) -> Array:
        return self.mean_ + self.persistence_ * (state - self.mean_)

    def _shows(self, state: Array) -> Array:
        return np.array([state[0], np.log(np.exp(state[1]) + state[0] ** 2) + self.noise_[0]])
