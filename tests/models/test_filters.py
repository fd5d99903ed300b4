"""Our filters against the libraries' own forecasts, published estimates and each other."""

import numpy as np
import pytest
import statsmodels.api as sm
from arch import arch_model
from statsmodels.tsa.api import VAR, ExponentialSmoothing, SimpleExpSmoothing
from statsmodels.tsa.arima.model import ARIMA
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models import filters, volatility

H = 5
ROWS = (0, 1, 7, 400)  # of the new rows: forecasts are checked there
WEIGHTS = {"smoothing_level": 0.6, "smoothing_trend": 0.2, "smoothing_seasonal": 0.3, "damping_trend": 0.9}


@pytest.fixture(scope="module")
def returns(msft):
    """MSFT: 1,000 train and 600 new rows of return_1 and volatility_21."""
    block = {part: getattr(msft.named, part)[["return_1", "volatility_21"]].to_numpy() for part in ("X", "X_new")}
    return block["X"], block["X_new"][:600]


@pytest.fixture(scope="module")
def one(returns):
    """The returns alone."""
    return tuple(block[:, :1] for block in returns)


def percent(*blocks):
    return 100 * np.concatenate(blocks)[:, 0]


# --- state space ----------------------------------------------------------------------------------------------


def test_the_nile_has_the_published_variances():
    # Durbin and Koopman (2012), section 2.10.3: 15099 and 1469.1; the annual flow, 1871-1970
    flow = sm.datasets.nile.load_pandas().data["volume"].to_numpy()
    model = filters.LocalLevel().fit(flow[:, None] / 100)
    assert model.params_ == pytest.approx([15099, 1469.1], rel=0.02)  # the likelihood is flat at its top:
    exact = sm.tsa.UnobservedComponents(flow, "llevel", use_exact_diffuse=True)
    assert exact.loglike(model.params_) == pytest.approx(exact.loglike([15099, 1469.1]), abs=1e-3)


@pytest.mark.parametrize("order", [(1, 0, 0), (2, 1, 1), (3, 1, 2)])
def test_arima_filters_and_forecasts_as_statsmodels_append_does(order, one):
    train, new = one
    model = filters.Arima(order).fit(train)
    forecast = model.predict(new)
    d = order[1]
    series = np.cumsum(percent(*one)) if d else percent(*one)
    fixed = ARIMA(series[: len(train)], order=order).filter(model.params_)
    for i in ROWS:
        end = len(train) + i + 1
        ahead = fixed.append(series[len(train) : end], refit=False).get_forecast(H).predicted_mean
        expected = ahead[-1] - series[end - 1] if d else ahead.sum()
        assert forecast[i] == pytest.approx(expected / 100, rel=1e-6, abs=1e-9)


def test_differences_and_levels_have_the_same_estimates(one):
    # the diffuse likelihood of the level is the likelihood of its differences
    train, _ = one
    level = ARIMA(np.cumsum(percent(train)), order=(1, 1, 0)).fit()
    assert filters.Arima((1, 1, 0)).fit(train).params_ == pytest.approx(level.params, abs=5e-3)


def test_the_kalman_forecast_is_the_predicted_level_and_not_the_smoothed_one(one):
    train, new = one
    model = filters.LocalLevel().fit(train)
    model.params_ = np.array([4.0, 0.2])  # on returns the estimate hardly moves; here it does
    seen = sm.tsa.UnobservedComponents(percent(*one), "llevel", use_exact_diffuse=True).smooth(model.params_)
    after = len(train)
    assert model.predict(new) == pytest.approx(H * seen.predicted_state[0, after + 1 :] / 100)
    assert not np.allclose(model.predict(new), H * seen.smoothed_state[0, after:] / 100, rtol=0.1)


# --- smoothing ------------------------------------------------------------------------------------------------


def test_simple_smoothing_is_statsmodels_one_step_fit_and_brown_by_hand(one):
    train, new = one
    model = filters.ExponentialSmoothing(0.3, horizon=1).fit(train)
    r = percent(*one)
    start = r[: len(train)].mean()
    fit = SimpleExpSmoothing(r, initialization_method="known", initial_level=start).fit(0.3, optimized=False)
    assert model.predict(new)[:-1] == pytest.approx(fit.fittedvalues[len(train) + 1 :] / 100)
    level = start
    for value in r[: len(train) + 1]:
        level = 0.3 * value + 0.7 * level
    assert model.predict(new)[0] == pytest.approx(level / 100)
    assert model.set_params(horizon=4).predict(new)[0] == pytest.approx(4 * level / 100)


@pytest.fixture(scope="module", params=["add", "mul"])
def winters(request, one):
    """Real prices, and a model whose weights are moved away from a random walk's, where seasons would not show."""
    model = filters.HoltWinters(request.param).fit(one[0])
    model.weights_ = WEIGHTS
    return model


def refitted(model, price):
    knobs = {"trend": "add", "damped_trend": True, "seasonal": model.seasonal, "seasonal_periods": 5}
    known = ExponentialSmoothing(price, initialization_method="known", **knobs, **model.initial_)
    return known.fit(**model.weights_, optimized=False)


def test_holt_winters_one_step_is_the_fitted_value_of_the_next_session(winters, one):
    price = 100 * np.exp(np.cumsum(percent(*one)) / 100)
    begin = len(one[0])
    one_step = winters.set_params(horizon=1).predict(one[1])
    fitted = refitted(winters, price).fittedvalues[begin + 1 :]
    assert price[begin:-1] * (1 + one_step[:-1]) == pytest.approx(fitted)


@pytest.mark.parametrize("horizon", [1, 3, 6, 12])
def test_holt_winters_ahead_is_what_statsmodels_forecasts_from_that_row(winters, one, horizon):
    price = 100 * np.exp(np.cumsum(percent(*one)) / 100)
    forecast = winters.set_params(horizon=horizon).predict(one[1])
    for i in ROWS:
        end = len(one[0]) + i + 1
        ahead = refitted(winters, price[:end]).forecast(horizon)[-1]
        assert forecast[i] == pytest.approx(ahead / price[end - 1] - 1, abs=1e-9)


@pytest.mark.parametrize("horizon", [1, 5, 10])
def test_a_whole_season_ahead_uses_the_latest_season_as_the_equal_ets_model_does(one, horizon):
    # a season ahead, statsmodels' Holt-Winters takes the season of a cycle before; its ETS(A,Ad,A) does not
    model = filters.HoltWinters("add", horizon=horizon).fit(one[0])
    model.weights_ = WEIGHTS
    price = 100 * np.exp(np.cumsum(percent(*one)) / 100)
    forecast = model.predict(one[1])
    knobs = {"trend": "add", "damped_trend": True, "seasonal": "add", "seasonal_periods": 5}
    for i in ROWS:
        end = len(one[0]) + i + 1
        equal = ETSModel(price[:end], initialization_method="known", **knobs, **model.initial_)
        ahead = equal.smooth([0.6, 0.6 * 0.2, 0.3, 0.9]).forecast(horizon)[-1]
        assert forecast[i] == pytest.approx(ahead / price[end - 1] - 1, abs=1e-9)


def test_holt_winters_weights_and_start_are_statsmodels_estimates_on_the_train_rows(one):
    model = filters.HoltWinters("add").fit(one[0])
    price = 100 * np.exp(np.cumsum(percent(one[0])) / 100)
    free = ExponentialSmoothing(
        price, trend="add", damped_trend=True, seasonal="add", seasonal_periods=5, initialization_method="estimated"
    ).fit()
    assert refitted(model, price).sse == pytest.approx(free.sse, rel=1e-9)
    assert model.weights_["damping_trend"] < 1


def test_theta_is_statsmodels_at_the_last_train_row_and_goes_on_by_the_same_recursion(one):
    train, new = one
    p = np.cumsum(percent(*one))
    begin = len(train)
    found = ThetaModel(p[:begin], period=5, deseasonalize=False).fit()
    before = filters.Theta().fit(train)
    ahead = before._forecast(percent(train))[-1]
    assert ahead == pytest.approx(np.asarray(found.forecast(H))[-1] - p[begin - 1])
    alpha, b0 = found.params["alpha"], found.params["b0"]
    level = p[0]
    for value in p[: begin + 1]:
        level = alpha * value + (1 - alpha) * level
    drift = b0 / 2 * (H - 1 + 1 / alpha - (1 - alpha) ** (begin + 1) / alpha)
    assert before.predict(new)[0] == pytest.approx((level - p[begin] + drift) / 100)


# --- variance and regimes -------------------------------------------------------------------------------------


def test_garch_mean_and_volatility_are_archs_own_forecasts(one):
    train, new = one
    model = filters.Garch().fit(train)
    assert model.params_[3] + model.params_[4] < 1
    fixed = arch_model(percent(*one), mean="AR", lags=1, vol="GARCH", dist="t", rescale=False).fix(model.params_)
    ahead = fixed.forecast(horizon=H, start=len(train), reindex=False)
    assert model.predict(new) == pytest.approx(ahead.mean.sum(axis=1).to_numpy() / 100)
    phi = model.params_[1]
    weight = np.array([sum(phi**i for i in range(H - j)) ** 2 for j in range(H)])  # of each session's shock in the sum
    total = ahead.residual_variance.to_numpy() @ weight
    assert model.predict_deviation(new) == pytest.approx(np.sqrt(total) / 100, rel=1e-6)


def test_garch_estimates_are_archs_on_the_train_rows(one):
    model = filters.Garch().fit(one[0])
    theirs = arch_model(percent(one[0]), mean="AR", lags=1, dist="t", rescale=False).fit(disp="off")
    assert model.params_ == pytest.approx(theirs.params.to_numpy())


def test_regimes_are_hamiltons_filter_carried_forward(one):
    train, new = one
    model = filters.MarkovSwitching(horizon=1).fit(train)
    begin = len(train)
    theirs = MarkovRegression(percent(*one), 2, switching_variance=True).smooth(model.params_)
    assert model.predict_proba(new) == pytest.approx(theirs.filtered_marginal_probabilities[begin:])
    means = model.params_[2:4]
    # after row t, the probabilities that statsmodels predicts for row t + 1
    expected = theirs.predicted_marginal_probabilities[begin + 1 :] @ means / 100
    assert model.predict(new)[:-1] == pytest.approx(expected)
    two = expected + theirs.predicted_marginal_probabilities[begin + 1 :] @ model.transition_.T @ means / 100
    assert model.set_params(horizon=2).predict(new)[:-1] == pytest.approx(two)
    assert np.abs(theirs.smoothed_marginal_probabilities[begin:] - model.predict_proba(new)).max() > 0.1


def test_vector_autoregression_is_statsmodels_forecast_from_every_row(returns):
    train, new = returns
    model = filters.VectorAutoregression(5).fit(train)
    theirs = VAR(100 * train).fit(maxlags=5, ic="bic")
    assert model.lags_ == theirs.k_ar > 0
    rows = 100 * np.concatenate(returns)
    for i in ROWS:
        end = len(train) + i + 1
        ahead = theirs.forecast(rows[end - theirs.k_ar : end], H)[:, 0].sum()
        assert model.predict(new)[i] == pytest.approx(ahead / 100)


def test_a_vector_autoregression_without_lags_is_its_mean():
    noise = np.random.default_rng(1).normal(size=(400, 2)) * 0.01
    model = filters.VectorAutoregression(5).fit(noise)
    assert model.lags_ == 0
    assert model.predict(noise[:3]) == pytest.approx(H * noise[:, 0].mean())


# --- stochastic volatility ------------------------------------------------------------------------------------


def simulated(n, *, phi=0.97, spread=0.8, mean=1.0, seed=5):
    """A numeric fixture: returns in percent with a log variance of known persistence and variance; no drift."""
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    x[0] = mean
    for t in range(1, n):
        x[t] = mean + phi * (x[t - 1] - mean) + np.sqrt(spread * (1 - phi**2)) * rng.normal()
    return np.exp(x / 2) * rng.normal(size=n), x


def test_moments_find_the_persistence_and_the_size_of_volatility():
    r, _ = simulated(20_000)
    model = volatility.UnscentedFilter().fit(r[:, None] / 100)
    assert model.persistence_[1] == pytest.approx(0.97, abs=0.01)
    assert model.variance_[1] == pytest.approx(0.8, abs=0.25)
    assert model.mean_[1] == pytest.approx(1.0, abs=0.2)
    assert model.variance_[0] <= 0.02 * r.var()


def linear(kind, r, **knobs):
    """The filter with the log variance held at ln 4: what is left is a linear model with normal noise of variance 4."""
    model = kind(**knobs).fit(r[:, None] / 100)
    model.mean_, model.persistence_ = np.array([0.0, np.log(4.0)]), np.array([0.9, 0.5])
    model.variance_, model.noise_ = np.array([2.0, 1e-10]), np.array([0.0, 1e12])
    return model


@pytest.fixture(scope="module")
def kalman():
    """Returns, and statsmodels' filtered drift: an AR(1) with variance 2 under noise of variance 4."""
    rng = np.random.default_rng(11)
    drift = np.empty(400)
    drift[0] = rng.normal() * np.sqrt(2.0)
    for t in range(1, 400):
        drift[t] = 0.9 * drift[t - 1] + rng.normal() * np.sqrt(2 * 0.19)
    r = drift + 2 * rng.normal(size=400)
    exact = sm.tsa.UnobservedComponents(r, irregular=True, autoregressive=1)
    params = {"sigma2.irregular": 4.0, "sigma2.ar": 2 * 0.19, "ar.L1": 0.9}
    seen = exact.filter([params[name] for name in exact.param_names])
    return r, seen.filtered_state[0]


@pytest.mark.parametrize("kind", [volatility.UnscentedFilter, volatility.ParticleFilter])
def test_the_nonlinear_filters_are_the_kalman_filter_on_a_linear_model(kind, kalman):
    r, exact = kalman
    assert linear(kind, r)._drift(r) == pytest.approx(exact, abs=1e-4)


def test_particles_that_are_all_drawn_come_close_to_the_kalman_filter(kalman):
    r, exact = kalman

    def step(cloud, value, rng):
        cloud = 0.9 * cloud + np.sqrt(2 * 0.19) * rng.standard_normal(cloud.shape)
        return cloud, -0.5 * (value - cloud[:, 0]) ** 2 / 4

    def error(m):
        rng = np.random.default_rng(2)
        start = np.sqrt(2.0) * rng.standard_normal((m, 1))
        mean, effective = volatility.bootstrap_filter(r, start, step, rng)
        assert 1 <= effective.min() <= effective.max() <= m
        return np.std(mean[:, 0] - exact)

    few, many = error(100), error(4_000)
    assert many < 0.05
    # the Monte Carlo error falls with the square root of the number: 6.3 times from 100 to 4,000
    assert few / many == pytest.approx(6.3, rel=0.4)


def test_both_filters_follow_the_hidden_volatility_and_agree():
    r, x = simulated(3_000)
    X = r[:, None] / 100
    sigma, cloud = (kind().fit(X) for kind in (volatility.UnscentedFilter, volatility.ParticleFilter))
    tracked = sigma._track(np.column_stack([r, sigma._log_square(r)]))[:, 1], cloud._run(r)[0][:, 2]
    assert min(np.corrcoef(x, other)[0, 1] for other in tracked) > 0.7
    assert np.corrcoef(*tracked)[0, 1] > 0.9


def test_the_cloud_is_not_lost_and_another_seed_gives_another_cloud(one):
    train, new = one
    model = volatility.ParticleFilter().fit(train)
    effective = model.effective_particles(new)
    assert effective.shape == (600,)
    assert effective.min() >= 1
    assert effective.max() <= 1_000
    assert np.median(effective) > 500
    other = volatility.ParticleFilter(random_state=1).fit(train).predict(new)
    assert not np.array_equal(model.predict(new), other)
    assert np.corrcoef(model.predict(new), other)[0, 1] > 0.95


def test_forecasts_return_to_the_mean_by_the_persistence_of_the_drift(one):
    model = volatility.UnscentedFilter().fit(one[0])
    drift = model._drift(percent(*one))[len(one[0]) :]
    by_hand = sum(model.mean_[0] + 0.95**k * (drift - model.mean_[0]) for k in (1, 2, 3, 4, 5))
    assert model.predict(one[1]) == pytest.approx(by_hand / 100)


# --- what all refuse ------------------------------------------------------------------------------------------


def test_columns_that_do_not_fit_and_too_short_a_past_are_refused(returns):
    with pytest.raises(BadInput, match="takes the columns return_1, not shape"):
        filters.Arima().fit(returns[0])
    with pytest.raises(BadInput, match="return_1, volatility_21"):
        filters.VectorAutoregression().fit(returns[0][:, :1])
    with pytest.raises(NotEnoughHistory, match="at least 60"):
        filters.Garch().fit(returns[0][:59, :1])
