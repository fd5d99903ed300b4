"""What is known of the next sessions' risk: forecast volatility, how far it may be off, and what shows it.

Variance is what past prices say most of; `volatility` is the one function through which a recommendation asks.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from mltrainer import metrics
from mltrainer.errors import NotEnoughHistory
from mltrainer.evaluation.baselines import BASELINES
from mltrainer.features import targets

Array = NDArray[np.float64]
LEVEL = 0.9  # of the interval
LEAST = 273  # sessions below which nothing is said, as for regimes: a year and a month
LATEST = 500  # sessions out of sample that decide the interval, at most half of what there is


@dataclass(frozen=True)
class Risk:
    """Volatility of the next sessions.

    Attributes
    ----------
    volatility : forecast of the root mean variance per session over the horizon, a fraction.
    low, high : of the realized one, with chance `LEVEL`.
    model : what forecast it; explained : share of the squared error of the mean of the past that it saves, in log
        variance, over the latest `sessions` that it did not learn from.
    """

    volatility: float
    low: float
    high: float
    model: str
    explained: float
    sessions: int

    @property
    def annual(self) -> tuple[float, float, float]:
        """Forecast and interval as fractions a year."""
        v, low, high = (x * float(metrics.SESSIONS) ** 0.5 for x in (self.volatility, self.low, self.high))
        return v, low, high


def volatility(bars: pd.DataFrame, horizon: int) -> Risk:
    r"""Forecast the volatility of the next `horizon` sessions by HAR (Corsi, 2009), of bars up to today.

    .. math:: \hat\sigma = \exp(\hat y / 2)\, \overline{\exp(e)}^{1/2}

    with y the log mean variance of the sessions to come and e the errors on sessions it did not learn from: the mean
    of a variance is above the exponential of the mean of its log (Duan, 1983, JASA 78). The interval is conformal, by
    the same errors.

    Parameters
    ----------
    bars : (n, ...) by session, with close and perhaps open, high, low; the last row is today.

    Raises
    ------
    NotEnoughHistory
        Fewer than 273 sessions.
    """
    if len(bars) < LEAST:
        raise NotEnoughHistory(f"a forecast of volatility needs {LEAST} sessions, and there are {len(bars)}")
    parts = targets.volatility(bars, None, horizon)
    X, y = parts.past[list(BASELINES["HAR"].columns)].to_numpy(float), parts.y.to_numpy(float)
    now = X[-1:]
    known = np.isfinite(X).all(axis=1) & np.isfinite(y)
    X, y = X[known], y[known]
    count = min(LATEST, len(y) // 2)
    first = len(y) - count
    before = slice(0, first - horizon)  # labels of these ended before the first of the sessions that judge
    tried = LinearRegression().fit(X[before], y[before]).predict(X[first:])
    errors = y[first:] - tried
    rival = y[first:] - y[before].mean()
    forecast = float(LinearRegression().fit(X, y).predict(now)[0])
    radius = metrics.conformal_radius(np.abs(errors), LEVEL)
    low, middle, high = (float(np.exp(z / 2)) for z in (forecast - radius, forecast, forecast + radius))
    explained = 1 - float((errors**2).sum() / (rival**2).sum())
    return Risk(middle * float(np.exp(errors).mean()) ** 0.5, low, high, "HAR", explained, count)
