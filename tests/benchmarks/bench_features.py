"""How fast is the feature table beside a per-ticker pandas loop and beside pandas-ta-classic, in one run on real data?

Four tickers, 2000-2013, daily; a pass makes the tables of twenty, one after the other, each ticker five times. Each
ratio is the other's CPU seconds over ours for the same quantities of the same bars, the least of alternating passes,
which other work on the machine disturbs least; both sides end in one DataFrame per ticker. The columns compared are
those of `with_pandas` and `with_pandas_ta`, whose values are checked to agree before anything is timed.

Run with `python tests/benchmarks/bench_features.py`.
"""

import time
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pandas as pd
import pandas_ta_classic as ta

from mltrainer.features.indicators import INDICATORS, compute

Table = Callable[[pd.DataFrame], pd.DataFrame]
TICKERS = 20
GOALS = {"pandas loop": 10.0, "pandas-ta-classic": 10.0}
SETTLED = 700  # rows after which an exponential mean has forgotten how it was seeded


def real_bars() -> list[pd.DataFrame]:
    """Adjusted OHLCV of AAPL, GOOG, IBM and MSFT as packaged by bokeh-sampledata."""
    raw = pd.read_csv(str(files("bokeh_sampledata") / "_data/stocks.csv.gz"), parse_dates=["Date"]).set_index("Date")
    factor = raw["Adj Close"] / raw["Close"]
    bars = pd.DataFrame({name.lower(): raw[name] * factor for name in ("Open", "High", "Low", "Close")})
    bars["volume"] = raw["Volume"].astype(float)
    return [bars[raw["Ticker"] == ticker] for ticker in ("AAPL", "GOOG", "IBM", "MSFT")]


def with_pandas(f: pd.DataFrame) -> pd.DataFrame:
    """Twenty columns of the table, the way a researcher writes them with rolling and ewm."""
    close, volume = f["close"], f["volume"]
    r = np.log(close).diff()
    mean, sd = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    ema_12, ema_26 = (close.ewm(span=span, adjust=False).mean() for span in (12, 26))
    line, change, previous = ema_12 - ema_26, close.diff(), close.shift()
    up, down = (x.ewm(alpha=1 / 14, adjust=False).mean() for x in (change.clip(lower=0), -change.clip(upper=0)))
    ranges = pd.concat([f["high"] - f["low"], (f["high"] - previous).abs(), (f["low"] - previous).abs()], axis=1)
    low, high = f["low"].rolling(14).min(), f["high"].rolling(14).max()
    return pd.DataFrame(
        {
            "return_1": r,
            "return_21": np.log(close / close.shift(21)),
            "volatility_21": r.rolling(21).std(),
            "volatility_63": r.rolling(63).std(),
            "sma_ratio_20": close / mean - 1,
            "sma_ratio_200": close / close.rolling(200).mean() - 1,
            "ema_ratio_12": close / ema_12 - 1,
            "ema_ratio_26": close / ema_26 - 1,
            "macd": line / close,
            "macd_histogram": (line - line.ewm(span=9, adjust=False).mean()) / close,
            "rsi_14": up / (up + down),
            "bollinger_position": (close - mean) / (4 * sd) + 0.5,
            "bollinger_width": 4 * sd / mean,
            "atr_14": ranges.max(axis=1).ewm(alpha=1 / 14, adjust=False).mean() / close,
            "williams_r": (close - high) / (high - low),
            "high_252": np.log(close / close.rolling(252).max()),
            "drawdown_63": 1 - close / close.rolling(63).max(),
            "skewness_63": r.rolling(63).skew() * (61 / np.sqrt(63 * 62)),
            "volume_zscore_21": (volume - volume.rolling(21).mean()) / volume.rolling(21).std(),
            "autocorrelation_63": r.rolling(63).corr(r.shift()),
        }
    )


def with_pandas_ta(f: pd.DataFrame) -> pd.DataFrame:
    """The indicators that pandas-ta-classic and the table share, computed by its own Python code (talib=False)."""
    high, low, close = f["high"], f["low"], f["close"]
    macd = ta.macd(close, talib=False)
    bands = ta.bbands(close, length=20, std=2, ddof=0, talib=False)
    stochastic = ta.stoch(high, low, close, k=14, d=3, smooth_k=3, talib=False)
    return pd.DataFrame(
        {
            "sma_ratio_20": close / ta.sma(close, 20, talib=False) - 1,
            "ema_ratio_12": close / ta.ema(close, 12, talib=False) - 1,
            "rsi_14": ta.rsi(close, 14, talib=False) / 100,
            "macd": macd.iloc[:, 0] / close,
            "macd_histogram": macd.iloc[:, 1] / close,
            "bollinger_position": bands.iloc[:, 4],
            "bollinger_width": bands.iloc[:, 3] / 100,
            "atr_14": ta.atr(high, low, close, 14, talib=False) / close,
            "stochastic_k": stochastic.iloc[:, 0] / 100,
            "williams_r": ta.willr(high, low, close, 14, talib=False) / 100,
            "cci_20": ta.cci(high, low, close, 20, talib=False) / 100,
        }
    )


def ours(columns: list[str]) -> Table:
    """The same columns from the table; validation of the bars included."""
    rows = [row for row in INDICATORS if row.name in columns]
    return lambda frame: compute(frame, rows)[0]


def ratio(other: Table, frames: list[pd.DataFrame], *, repeats: int = 15) -> tuple[float, int]:
    """The other's least seconds over ours for all frames, and how many columns both computed."""
    columns = [str(name) for name in other(frames[0])]
    mine = ours(columns)
    for frame in frames[:4]:
        a, b = mine(frame)[columns].iloc[SETTLED:], other(frame).iloc[SETTLED:]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    pairs = [(seconds(other, frames), seconds(mine, frames)) for _ in range(repeats)]
    return min(theirs for theirs, _ in pairs) / min(own for _, own in pairs), len(columns)


def seconds(table: Table, frames: list[pd.DataFrame]) -> float:
    """CPU seconds for one pass over all frames."""
    start = time.process_time()
    for frame in frames:
        table(frame)
    return time.process_time() - start


def measure(*, repeats: int = 15) -> dict[str, tuple[float, int]]:
    """Ratio and number of columns, per competitor."""
    frames = real_bars() * (TICKERS // 4)
    return {
        "pandas loop": ratio(with_pandas, frames, repeats=repeats),
        "pandas-ta-classic": ratio(with_pandas_ta, frames, repeats=repeats),
    }


def main() -> None:
    """Print one line per ratio, and the time of the whole table."""
    for name, (times, columns) in measure().items():
        print(f"{name}: {times:.1f} x our time for {columns} columns (goal {GOALS[name]:.0f} x)")  # noqa: T201
    frame = real_bars()[-1]
    whole = min(seconds(lambda f: compute(f)[0], [frame]) for _ in range(9))
    print(f"whole table: {whole * 1000:.0f} ms for {len(INDICATORS)} columns x {len(frame)} sessions")  # noqa: T201


if __name__ == "__main__":
    main()
