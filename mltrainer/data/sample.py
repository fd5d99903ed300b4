"""Real market history that ships inside installed packages: the default when no key is configured.

Nothing is copied into this project; each file is read where its package put it, and its sha256 is pinned by the
gate. The history ends years ago, so "now" in this mode is the last session of the series.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mltrainer.errors import NotEnoughHistory, Unavailable, UnknownName
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

PRICES = ("open", "high", "low", "close")
Parser = Callable[[bytes], pd.DataFrame]


def packaged_bytes(package: str, path: str) -> bytes:
    """Bytes of a file inside an installed package, without importing it: some take seconds and pull in matplotlib."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(f"the package {package} is not installed, and its {path} is the sample; reinstall mltrainer")
    return (Path(spec.submodule_search_locations[0]) / path).read_bytes()


# --- parsers: bytes of one packaged file -> one frame ---------------------------------------------------------


def _table(body: bytes) -> pd.DataFrame:
    packed: Literal["gzip"] | None = "gzip" if body[:2] == b"\x1f\x8b" else None
    return pd.read_csv(io.BytesIO(body), compression=packed, na_values=".")  # FRED writes a missing value as "."


def _sessions(dates: "pd.Series[str]") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(pd.to_datetime(dates), name="session").as_unit("s")


def parse_wiki(body: bytes, *, ticker: str) -> pd.DataFrame:
    """Split- and dividend-adjusted OHLCV of one ticker, from raw prices and the adjusted close.

    Prices are scaled by adjusted close / close. Volume is in the shares of the last row: multiplied by the later
    splits only, since a dividend changes no share count. A split shows as a jump of that factor by more than a
    fifth, and its ratio is rounded to the quarter share (2:1, 3:2). Splits after the last row (AAPL and GOOG 2014)
    are in the prices and not in the volume: a constant factor, which no scale-free feature sees.
    """
    table = _table(body)
    table = table[table["Ticker"] == ticker]
    frame = table[["Open", "High", "Low", "Close", "Volume"]].astype(float)
    frame.columns = pd.Index([*PRICES, "volume"])
    frame.index = _sessions(table["Date"])
    factor = (table["Adj Close"] / table["Close"]).to_numpy()
    step = np.append(factor[1:] / factor[:-1], 1.0)
    split = np.where(np.abs(np.log(step)) > np.log(1.2), np.round(step * 4) / 4, 1.0)
    frame[list(PRICES)] = frame[list(PRICES)].mul(factor, axis=0)
    frame["volume"] *= np.cumprod(split[::-1])[::-1]
    return frame


def parse_close(body: bytes, *, column: str) -> pd.DataFrame:
    """Adjusted closes of one column of a wide table: close only, nothing is invented around it."""
    table = _table(body)
    return pd.DataFrame({"close": table[column].to_numpy(float)}, index=_sessions(table["Date"])).dropna()


def parse_index(body: bytes) -> pd.DataFrame:
    """OHLCV of a stock index (points; volume in shares traded of its members)."""
    table = _table(body)
    frame = table[["Open", "High", "Low", "Close", "Volume"]].astype(float)
    frame.columns = pd.Index([*PRICES, "volume"])
    frame.index = _sessions(table["Date"])
    return frame


def _observations(period: pd.DatetimeIndex, value: np.ndarray, available: pd.DatetimeIndex) -> pd.DataFrame:
    index = period.rename("period").as_unit("s")
    return pd.DataFrame({"value": np.asarray(value, float), "available": available.as_unit("s")}, index=index).dropna()


def parse_dated(body: bytes, *, column: str, lag_days: int) -> pd.DataFrame:
    """Observations by date, usable `lag_days` calendar days after that date."""
    table = _table(body)
    period = pd.DatetimeIndex(pd.to_datetime(table["Date"]))
    return _observations(period, table[column].to_numpy(), period + pd.Timedelta(days=lag_days))


def parse_quarterly(body: bytes, *, column: str) -> pd.DataFrame:
    """One column of the quarterly macro table, usable one whole quarter after its quarter ended."""
    table = _table(body)
    first = pd.to_datetime({"year": table["year"], "month": 3 * table["quarter"] - 2, "day": 1})
    quarter = pd.DatetimeIndex(first).to_period("Q")
    available = (quarter + 1).end_time.normalize()
    return _observations(quarter.start_time, table[column].to_numpy(), pd.DatetimeIndex(available))


# --- the table of what is packaged ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Packaged:
    """One series inside an installed package: where it lies, how it is read, what its keepers say of it."""

    name: str
    kind: str
    package: str
    path: str
    parse: Parser
    note: str

    def load(self) -> Dataset:
        """Read the file where it was installed and have the gate admit it."""
        return gate.admit(
            "sample",
            name=self.name,
            kind=self.kind,
            endpoint=f"package:{self.package}/{self.path}",
            parameters={"series": self.name},
            body=packaged_bytes(self.package, self.path),
            parse=self.parse,
            note=self.note,
        )


WIKI = "split- and dividend-adjusted daily OHLCV; Quandl WIKI, declared public domain; names alive at export"
CLOSES = "adjusted daily closes; packaged for examples, not for investment or trading; names alive at export"
INDEX = "daily index OHLCV, origin not stated by the package"
QUARTERLY = "FRED as of 2009-12 (final vintage), usable one quarter after the quarter ended; unemployment from BLS"
FINAL = "from FRED as packaged (final vintage, not point-in-time), usable"

STOCKS = tuple("AAPL AMD BAC BBY CVX GE HD JNJ JPM KO LLY MRK MSFT PEP PFE PG RRC UNH WMT XOM".split())
CLOSE_FILE = "datasets/data/sp500_dataset.csv.gz"

BARS: tuple[Packaged, ...] = (
    *(
        Packaged(t, "bars", "bokeh_sampledata", "_data/stocks.csv.gz", partial(parse_wiki, ticker=t), WIKI)
        for t in ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    ),
    Packaged("SPX", "bars", "arch", "data/sp500/sp500.csv.gz", parse_index, f"S&P 500; {INDEX}"),
    Packaged("COMP", "bars", "arch", "data/nasdaq/nasdaq.csv.gz", parse_index, f"NASDAQ Composite; {INDEX}"),
    *(Packaged(t, "bars", "skfolio", CLOSE_FILE, partial(parse_close, column=t), CLOSES) for t in STOCKS),
)

MACRO: tuple[Packaged, ...] = (
    Packaged(
        "CPILFESL",
        "macro",
        "arch",
        "data/core_cpi/core-cpi.csv.gz",
        partial(parse_dated, column="CPILFESL", lag_days=60),
        f"core CPI, index 1982-84 = 100; {FINAL} 60 days after the month began",
    ),
    Packaged(
        "VIXCLS",
        "macro",
        "arch",
        "data/vix/vix.csv.gz",
        partial(parse_dated, column="vix", lag_days=1),
        "VIX close, percent a year; origin not stated by the package, usable the next day",
    ),
    *(
        Packaged(
            name,
            "macro",
            "statsmodels",
            "datasets/macrodata/macrodata.csv",
            partial(parse_quarterly, column=name),
            f"{what}; {QUARTERLY}",
        )
        for name, what in (
            ("realgdp", "real GDP, billions of chained 2005 dollars, annual rate"),
            ("cpi", "consumer prices, index"),
            ("tbilrate", "3-month Treasury bill, percent a year"),
            ("unemp", "unemployment, percent"),
            ("infl", "inflation, percent a year"),
        )
    ),
)


# --- by name and span -----------------------------------------------------------------------------------------


def bars(ticker: str, first: pd.Timestamp | None, last: pd.Timestamp | None) -> Dataset:
    """Bars of one ticker: OHLCV, unless the days asked for need the longer series of closes; see `market.bars`."""
    candidates = _packaged(ticker, BARS, "ticker")
    loaded = candidates[0].load()
    others = (entry.load() for entry in candidates[1:] if not _covers(loaded, first, last))
    return _cut(next((c for c in others if _covers(c, first, last)), loaded), first, last)


def macro(series: str, first: pd.Timestamp | None, last: pd.Timestamp | None) -> Dataset:
    """Observations of one macro series; see `market.macro`."""
    return _cut(_packaged(series, MACRO, "macro series")[0].load(), first, last)


def _packaged(name: str, table: tuple[Packaged, ...], kind: str) -> list[Packaged]:
    found = [entry for entry in table if entry.name == name]
    if not found:
        raise UnknownName.of(f"{kind} in mode sample", name, dict.fromkeys(entry.name for entry in table))
    return found


def _covers(dataset: Dataset, first: pd.Timestamp | None, last: pd.Timestamp | None) -> bool:
    # A week's grace: a span may begin or end on a weekend or holiday.
    index, week = dataset.frame.index, pd.Timedelta(days=7)
    low, high = index[0] - week, index[-1] + week
    return all(day is None or low <= day <= high for day in (first, last))


def _cut(dataset: Dataset, first: pd.Timestamp | None, last: pd.Timestamp | None) -> Dataset:
    if first is None and last is None:
        return dataset
    index = dataset.frame.index
    low, high = first or index[0], last or index[-1]
    if not ((index >= low) & (index <= high)).any():
        held = f"{index[0].date()} to {index[-1].date()}"
        raise NotEnoughHistory(f"{dataset.name} has no row from {low.date()} to {high.date()}; it covers {held}")
    return dataset.window(first, last)
