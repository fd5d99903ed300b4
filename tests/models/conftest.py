"""Real data for the models room: MSFT 2000-03..2013-03 as packaged by bokeh-sampledata (Quandl WIKI, public domain)."""

from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

HORIZON = 5


def real_data(ticker="MSFT"):
    """3,000 rows x 60 columns known at the close of t, and the label of t (5-day return over 21-day volatility)."""
    raw = pd.read_csv(files("bokeh_sampledata") / "_data" / "stocks.csv.gz", parse_dates=["Date"])
    raw = raw[raw["Ticker"] == ticker].set_index("Date").sort_index()
    bars = raw[["Open", "High", "Low", "Close"]].mul(raw["Adj Close"] / raw["Close"], axis=0)
    close, r = bars["Close"], np.log(bars["Close"]).diff()
    volume, span = np.log(raw["Volume"]), np.log(bars["High"] / bars["Low"])
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
    return SimpleNamespace(X=X[:cut], y=y[:cut], X_new=X[cut + HORIZON + 1 :], y_new=y[cut + HORIZON + 1 :])


@pytest.fixture(scope="session")
def planted():
    """A numeric fixture, no market data: y leads on column 0, `other` on column 1; 600 rows to learn, 200 to ask."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(800, 6))
    y, other = (X[:, j] + rng.normal(size=800) * 0.7 for j in (0, 1))
    y, other = (y - y.mean()) / y.std(), (other - other.mean()) / other.std()
    return SimpleNamespace(X=X[:600], y=y[:600], other=other[:600], X_new=X[600:], y_new=y[600:])
