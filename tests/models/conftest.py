"""Real data for the models room: MSFT 2000-03..2013-03 as packaged by bokeh-sampledata (Quandl WIKI, public domain)."""

from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from mltrainer.features import indicators
from mltrainer.models.series import SEEN

HORIZON = 5


def bars_of(ticker="MSFT"):
    """Adjusted open, high, low, close and the volume."""
    raw = pd.read_csv(files("bokeh_sampledata") / "_data" / "stocks.csv.gz", parse_dates=["Date"])
    raw = raw[raw["Ticker"] == ticker].set_index("Date").sort_index()
    return raw[["Open", "High", "Low", "Close"]].mul(raw["Adj Close"] / raw["Close"], axis=0).join(raw["Volume"])


def named_rows(close, cut):
    """What a series model sees: columns by name, row after row without a gap, and the 5-day log return ahead."""
    X, _ = indicators.compute(close.to_frame("close"), [row for row in indicators.INDICATORS if row.name in SEEN])
    y = np.log(close.shift(-HORIZON) / close)
    rows = X.notna().all(axis=1) & y.notna()
    X, y = X[rows], y[rows].to_numpy()
    return SimpleNamespace(X=X[:cut], y=y[:cut], X_new=X[cut:], y_new=y[cut:])


def real_data(ticker="MSFT"):
    """3,000 rows x 60 columns known at the close of t, and the label of t (5-day return over 21-day volatility)."""
    bars = bars_of(ticker)
    close, r = bars["Close"], np.log(bars["Close"]).diff()
    volume, span = np.log(bars["Volume"]), np.log(bars["High"] / bars["Low"])
    columns = {f"return_lag_{k}": r.shift(k) for k in range(15)}
    for w in (2, 3, 5, 10, 21, 42, 63, 126, 252):
        columns[f"momentum_{w}"] = np.log(close / close.shift(w))
        columns[f"volatility_{w}"] = r.rolling(w).std()
        columns[f"volume_{w}"] = volume - volume.rolling(w).mean()
        columns[f"range_{w}"] = span.rolling(w).mean()
        columns[f"place_{w}"] = close / close.rolling(w).max() - 1
    X = pd.DataFrame(columns)
    label = np.log(close.shift(-HORIZON) / close) / r.rolling(21).std()
    rows = X.notna().all(axis=1) & label.notna()
    return X[rows].to_numpy(), label[rows].to_numpy()


@pytest.fixture(scope="session")
def msft():
    """Train part (X, y) with y z-scored on it, and the test part behind a purge of six rows."""
    X, label = real_data()
    cut = 1_000
    y = (label - label[:cut].mean()) / label[:cut].std()
    new = slice(cut + HORIZON + 1, None)
    named = named_rows(bars_of()["Close"], cut)
    return SimpleNamespace(X=X[:cut], y=y[:cut], X_new=X[new], y_new=y[new], named=named)


@pytest.fixture(scope="session")
def planted():
    """A numeric fixture, no market data: y leads on column 0, `other` on column 1; 600 rows to learn, 200 to ask."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(800, 6))
    y, other = (X[:, j] + rng.normal(size=800) * 0.7 for j in (0, 1))
    y, other = (y - y.mean()) / y.std(), (other - other.mean()) / other.std()
    momentum, reversal = (named_rows(autoregression(phi, rng), 1_000) for phi in (0.8, -0.8))
    twin = SimpleNamespace(X=X[:600], y=other[:600], named=reversal)
    return SimpleNamespace(X=X[:600], y=y[:600], twin=twin, X_new=X[600:], y_new=y[600:], named=momentum)


def autoregression(phi, rng, n=1_500):
    """A price whose log returns follow r_t = phi r_t-1 + e_t, e of 1 %: a numeric fixture, no market data."""
    r = lfilter([1.0], [1.0, -phi], 0.01 * rng.normal(size=n))
    return pd.Series(100 * np.exp(np.cumsum(r)), pd.bdate_range("2000-01-03", periods=n))
