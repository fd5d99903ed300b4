"""Real history from installed packages, read here without the data room: what the feature tests stand on."""

from importlib.resources import files

import numpy as np
import pandas as pd
import pytest


def table(package: str, path: str) -> pd.DataFrame:
    return pd.read_csv(files(package) / path)


def dated(frame: pd.DataFrame, dates: pd.Series) -> pd.DataFrame:
    return frame.set_axis(pd.DatetimeIndex(pd.to_datetime(dates), name="session"))


@pytest.fixture(scope="session")
def msft() -> pd.DataFrame:
    """MSFT 2000-03-01..2013-03-01, 3,270 sessions, adjusted by adj close / close."""
    raw = table("bokeh_sampledata", "_data/stocks.csv.gz").query("Ticker == 'MSFT'")
    factor = raw["Adj Close"] / raw["Close"]
    prices = {name.lower(): raw[name] * factor for name in ("Open", "High", "Low", "Close")}
    return dated(pd.DataFrame(prices | {"volume": raw["Volume"].astype(float)}), raw["Date"])


@pytest.fixture(scope="session")
def spx() -> pd.DataFrame:
    """S&P 500, 1999-01-04..2018-12-31."""
    raw = table("arch", "data/sp500/sp500.csv.gz")
    return dated(raw[["Open", "High", "Low", "Close", "Volume"]].astype(float).rename(columns=str.lower), raw["Date"])


@pytest.fixture(scope="session")
def macro_series() -> dict[str, pd.DataFrame]:
    """Core CPI (usable 60 days after the month began) and four quarterly series (usable a quarter after their end)."""
    cpi = table("arch", "data/core_cpi/core-cpi.csv.gz")
    month = pd.DatetimeIndex(pd.to_datetime(cpi.iloc[:, 0]), name="period")
    core = pd.DataFrame({"value": cpi["CPILFESL"].to_numpy(), "available": month + pd.Timedelta(days=60)}, index=month)
    raw = table("statsmodels", "datasets/macrodata/macrodata.csv")
    quarter = pd.PeriodIndex.from_fields(year=raw["year"].astype(int), quarter=raw["quarter"].astype(int), freq="Q")
    start, ready = quarter.start_time.rename("period"), (quarter + 1).end_time.normalize()
    quarterly = {
        name: pd.DataFrame({"value": raw[name].to_numpy(), "available": ready}, index=start)
        for name in ("unemp", "realgdp", "tbilrate", "infl")
    }
    return {"CPILFESL": core.dropna(), **quarterly}


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261105)
