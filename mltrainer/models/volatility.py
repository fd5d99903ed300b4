"""Filters of hidden volatility: the unscented Kalman filter and the particle filter, on one state-space model.

Input, units and promises are those of `mltrainer.models.filters`.
"""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from mltrainer.models.filters import SeriesForecaster
from mltrainer.models.forecasters import Array

# The drift of the stochastic volatility models returns to its mean with a half-life of 14 sessions, and carries
# between a thousandth and a fiftieth of the variance of a session: its own moments are too noisy to be left alone.
PERSISTENCE, DRIFT_SHARE = 0.95, (0.001, 0.02)
MOMENTS = np.arange(1, 21)  # lags whose autocovariances are matched


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
        return self.horizon * mean + np.sum(rho ** np.array(self._held)) * (self._drift(r) - mean)

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

    engine = "mltrainer.models.volatility.ParticleFilter"

    def __init__(self, particles: int = 1_000, random_state: int = 0, horizon: int = 5, entry_lag: int = 0) -> None:
        super().__init__(horizon, entry_lag)
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
