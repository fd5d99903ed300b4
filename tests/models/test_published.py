"""Our series models against figures that others published, with other programs, on their own data.

Longley for least squares is in `test_linear`, the Nile for the Kalman filter in `test_filters`.
"""

import json
from pathlib import Path

import arch.data.sp500
import numpy as np
import pytest
import statsmodels
from statsmodels.tsa.statespace.tests.results.results_sarimax import wpi1_data

from mltrainer.models import filters

# International visitor nights in Australia, millions per quarter, 1999-2015: `austourists` of the R package fpp2 of
# Hyndman and Athanasopoulos (2018), *Forecasting: principles and practice*, section 7.3.
AUSTOURISTS = [
    *(30.05251300, 19.14849600, 25.31769200, 27.59143700, 32.07645600, 23.48796100, 28.47594000, 35.12375300),
    *(36.83848500, 25.00701700, 30.72223000, 28.69375900, 36.64098600, 23.82460900, 29.31168300, 31.77030900),
    *(35.17787700, 19.77524400, 29.60175000, 34.53884200, 41.27359900, 26.65586200, 28.27985900, 35.19115300),
    *(42.20566386, 24.64917133, 32.66733514, 37.25735401, 45.24246027, 29.35048127, 36.34420728, 41.78208136),
    *(49.27659843, 31.27540139, 37.85062549, 38.83704413, 51.23690034, 31.83855162, 41.32342126, 42.79900337),
    *(55.70835836, 33.40714492, 42.31663797, 45.15712257, 59.57607996, 34.83733016, 44.84168072, 46.97124960),
    *(60.01903094, 38.37117851, 46.97586413, 50.73379646, 61.64687319, 39.29956937, 52.67120908, 54.33231689),
    *(66.83435838, 40.87118847, 51.82853579, 57.49190993, 65.25146985, 43.06120822, 54.76075713, 59.83447494),
    *(73.25702747, 47.69662373, 61.09776802, 66.05576122),
]
# Oil production of Saudi Arabia, millions of tonnes, 1996-2013: `oil` of fpp2, section 7.1, table 7.1
OIL = [445.36, 453.20, 454.41, 422.38, 456.04, 440.39, 425.19, 486.21, 500.43]
OIL += [521.28, 508.95, 488.89, 509.87, 456.72, 473.82, 525.95, 549.83, 542.34]


def returns(price: np.ndarray) -> np.ndarray:
    """Log returns in percent whose running sum, from 100, is the price."""
    return 100 * np.diff(np.log(price), prepend=np.log(100))


def test_simple_smoothing_of_saudi_oil_is_the_books():
    """fpp2, section 7.1: alpha 0.83 and level 446.6 by maximum likelihood; forecast of 2014 on: 542.7."""
    model = filters.ExponentialSmoothing(0.8339, horizon=1)
    model.start_ = 446.5868
    assert model._forecast(np.array(OIL))[-1] == pytest.approx(542.68, abs=0.005)


@pytest.mark.parametrize(("seasonal", "name"), [("add", "AAA"), ("mul", "MAM")])
def test_holt_winters_of_australian_visitors_is_what_r_forecasts(seasonal, name):
    """R's forecast::ets with its own estimates, as statsmodels keeps them: fitted values and four quarters ahead.

    With errors in proportion (MAM) the weights mean the same, and so do the forecasts, whose mean R simulates.
    """
    path = Path(statsmodels.__file__).parent / "tsa/tests/results/fit_ets_results_seasonal.json"
    R = json.loads(path.read_text())["TRUE"][name]
    alpha, beta, gamma, phi = (R[key][0] for key in ("alpha", "beta", "gamma", "phi"))
    price = np.array(AUSTOURISTS)
    model = filters.HoltWinters(seasonal, period=4)
    model.weights_ = {
        "smoothing_level": alpha,
        "smoothing_trend": beta / alpha,  # R's beta has alpha in it
        "smoothing_seasonal": gamma,
        "damping_trend": phi,
    }
    level, trend, *season = R["initstate"]
    model.initial_ = {"initial_level": level, "initial_trend": trend, "initial_seasonal": np.array(season[::-1])}
    ahead = [price * (1 + model.set_params(horizon=h)._forecast(returns(price)) / 100) for h in (1, 2, 3, 4)]
    np.testing.assert_allclose(ahead[0][:-1], R["fitted"][1:], rtol=1e-5)
    np.testing.assert_allclose([path[-1] for path in ahead], R["forecast"], rtol=1e-5 if seasonal == "add" else 5e-4)


def test_arima_of_wholesale_prices_has_the_estimates_of_the_stata_manual():
    """Stata, [TS] arima, example 1 (after Enders): US wholesale prices 1960-1990, ARIMA(1,1,1) with a constant.

    With a constant, it is our (1, 0, 1) of the differences.
    """
    model = filters.Arima((1, 0, 1)).fit(np.diff(wpi1_data)[:, None] / 100)
    assert model.params_[:3] == pytest.approx([0.7498197, 0.8742288, -0.4120458], rel=2e-3)
    assert np.sqrt(model.params_[3]) == pytest.approx(0.7250436, rel=1e-3)


def test_garch_gives_the_published_likelihood_of_the_sp500():
    """The arch documentation, 'ARCH Modeling': daily returns in percent, 1999-2018, constant mean, normal errors.

    mu 0.0564, omega 0.0175, alpha 0.1022, beta 0.8852, log likelihood -6936.72; our variances are a recursion of our
    own, so the likelihood of those parameters is theirs only if the variances are. Ours lacks the first session.
    """
    r = 100 * arch.data.sp500.load()["Adj Close"].pct_change().dropna().to_numpy()
    model = filters.Garch()
    model.history_, model.params_ = r, np.array([0.0564, 0.0, 0.0175, 0.1022, 0.8852, np.inf])
    variance = model._next_variance(r)
    after = -0.5 * (np.log(2 * np.pi * variance[:-1]) + (r[1:] - 0.0564) ** 2 / variance[:-1])
    assert after.sum() == pytest.approx(-6936.72, abs=2)
