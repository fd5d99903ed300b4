"""The feature table: one row per indicator, over numpy and TA-Lib, for OHLCV or close-only bars.

Every column is free of scale (a ratio, log return, z-score or bounded oscillator), uses rows up to its own and no
later, and is NaN before its warm-up. No column is an exact linear combination of others, which is why two habits are
missing: the MACD signal (line minus histogram) and the one-day intraday return (return_1 minus the overnight part).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import talib
from talib import MA_Type

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.features.bars import (
    ROUNDING,
    Array,
    Bars,
    Indicator,
    change,
    direction,
    lag,
    log,
    ratio,
    rolling_mean,
    rolling_sum,
    rolling_variance,
    row,
)
from mltrainer.features.microstructure import ESTIMATES

COLUMNS = ("open", "high", "low", "close", "volume")
OHLC, HLC, CV = "open high low close", "high low close", "close volume"


def log_return(bars: Bars, k: int, skip: int = 0) -> Array:
    """ln(close `skip` sessions ago / close `k` sessions ago)."""
    if not skip:
        return change(bars.log_close, k)
    return lag(bars.log_close, skip) - lag(bars.log_close, k)


def overnight(bars: Bars) -> Array:
    """ln(open / close of the session before)."""
    return log(bars.open / bars.previous)


def gap(bars: Bars) -> Array:
    """Open minus yesterday's close, in yesterday's average true ranges; NaN where that range is zero."""
    return ratio(bars.open - bars.previous, lag(_true_range(bars), 1))


def _true_range(bars: Bars) -> Array:
    return bars.once(("ATR",), lambda: talib.ATR(bars.high, bars.low, bars.close, 14))


def intraday(bars: Bars, w: int) -> Array:
    """ln(close / open), summed over w sessions."""
    return rolling_sum(np.log(bars.close / bars.open), w)


def volatility(bars: Bars, w: int) -> Array:
    """Standard deviation of daily log returns over w sessions, per session."""
    return bars.std("returns", w)


def parkinson(bars: Bars, w: int) -> Array:
    r"""Volatility per session from ranges: :math:`\sqrt{\overline{\ln(H/L)^2} / (4\ln 2)}`.

    References
    ----------
    Parkinson (1980), *The extreme value method for estimating the variance of the rate of return*,
    Journal of Business 53(1).
    """
    return np.sqrt(rolling_mean(np.log(bars.high / bars.low) ** 2, w) / (4.0 * np.log(2.0)))


def garman_klass(bars: Bars, w: int) -> Array:
    r"""Volatility per session: :math:`\sqrt{\overline{\ln(H/L)^2 / 2 - (2\ln 2 - 1)\ln(C/O)^2}}`.

    References
    ----------
    Garman & Klass (1980), *On the estimation of security price volatilities from historical data*,
    Journal of Business 53(1).
    """
    spread, body = np.log(bars.high / bars.low), np.log(bars.close / bars.open)
    daily = 0.5 * spread**2 - (2.0 * np.log(2.0) - 1.0) * body**2
    return np.sqrt(np.maximum(rolling_mean(daily, w), 0.0))


def volatility_ratio(bars: Bars, short: int, long: int) -> Array:
    """Volatility over `short` sessions over that of `long`; NaN where the price did not move in the longer."""
    return ratio(volatility(bars, short), volatility(bars, long))


def volatility_of_volatility(bars: Bars) -> Array:
    """Standard deviation over mean, across 63 sessions, of the 21-session volatility."""
    vol = volatility(bars, 21)
    return ratio(np.sqrt(rolling_variance(vol, 63)), rolling_mean(vol, 63))


def skewness(bars: Bars, w: int) -> Array:
    """Third standardized moment of daily log returns (population form); NaN where the price does not move."""
    mean, square, cube = (bars.mean("returns", w, power) for power in (1, 2, 3))
    variance = bars.variance("returns", w)
    return ratio(cube - mean * (3.0 * square - 2.0 * mean * mean), variance * np.sqrt(variance))


def kurtosis(bars: Bars, w: int) -> Array:
    """Excess kurtosis of daily log returns (population form, 0 for a normal); NaN where the price does not move."""
    mean, square, cube, fourth = (bars.mean("returns", w, power) for power in (1, 2, 3, 4))
    central = fourth - mean * (4.0 * cube - mean * (6.0 * square - 3.0 * mean * mean))
    variance = bars.variance("returns", w)
    return ratio(central, variance * variance) - 3.0


def autocorrelation(bars: Bars, w: int) -> Array:
    """Correlation of daily log returns with those of the session before, over w pairs; NaN where one does not vary."""
    x, mean, variance = bars.returns, bars.mean("returns", w), bars.variance("returns", w)
    covariance = rolling_mean(x * lag(x, 1), w) - mean * lag(mean, 1)
    return ratio(covariance, np.sqrt(variance * lag(variance, 1)))


def volume_zscore(bars: Bars, w: int) -> Array:
    """Volume minus its mean, over its standard deviation, both over w sessions; NaN where volume does not vary."""
    return ratio(bars.volume - bars.mean("volume", w), bars.std("volume", w))


def volume_price_trend(bars: Bars, w: int) -> Array:
    """Volume-weighted mean simple return: the trend's rise over w sessions per share traded; NaN where none was."""
    rise = bars.volume * (ratio(bars.close, bars.previous) - 1.0)
    return ratio(rolling_sum(rise, w), bars.sum("volume", w))


def obv_slope(bars: Bars, w: int) -> Array:
    """Rise of on-balance volume over w sessions, over all volume in them: -1 to 1; NaN where nothing traded."""
    return ratio(rolling_sum(bars.volume * direction(bars.close), w), bars.sum("volume", w))


def dollar_volume_ratio(bars: Bars) -> Array:
    """ln(mean money traded per session over 21 sessions / over 252); NaN where nothing traded in 21."""
    dollars = bars.close * bars.volume
    return log(ratio(rolling_mean(dollars, 21), rolling_mean(dollars, 252)))


def money_flow(bars: Bars, w: int) -> Array:
    """Share of money traded in rising sessions, 0 to 1; NaN where no price moved or nothing traded in w sessions."""
    typical = (bars.high + bars.low + bars.close) / 3.0
    money, sign = typical * bars.volume, direction(typical)
    moved = rolling_sum(money * np.abs(sign), w)
    return ratio(moved + rolling_sum(money * sign, w), 2.0 * moved)


def volume_ratio(bars: Bars, short: int, long: int) -> Array:
    """Mean volume over `short` sessions over that of `long`, minus 1; NaN where nothing traded in the longer."""
    return ratio(bars.mean("volume", short), bars.mean("volume", long)) - 1.0


def sma_ratio(bars: Bars, w: int) -> Array:
    """Close over its simple mean of w sessions, minus 1."""
    return bars.close / talib.SMA(bars.close, w) - 1.0


def ema_ratio(bars: Bars, w: int) -> Array:
    """Close over its exponential mean of span w (seeded by the first simple mean), minus 1."""
    return bars.close / talib.EMA(bars.close, w) - 1.0


def rsi(bars: Bars, w: int) -> Array:
    """Relative strength index by Wilder, 0 to 1; 0 where the price never moved (TA-Lib's convention)."""
    return talib.RSI(bars.close, w) / 100.0


def from_high(bars: Bars, w: int) -> Array:
    """ln(close / highest close of w sessions), 0 or less."""
    return np.log(bars.close / _highest(bars, w))


def _highest(bars: Bars, w: int) -> Array:
    return bars.once(("MAX", w), lambda: talib.MAX(bars.close, w))


def from_low(bars: Bars, w: int) -> Array:
    """ln(close / lowest close of w sessions), 0 or more."""
    return np.log(bars.close / talib.MIN(bars.close, w))


def drawdown(bars: Bars, w: int) -> Array:
    """Loss from the highest close of w sessions, a positive fraction."""
    return 1.0 - bars.close / _highest(bars, w)


def atr(bars: Bars) -> Array:
    """Average true range of 14 sessions (Wilder) over the close."""
    return _true_range(bars) / bars.close


def williams(bars: Bars) -> Array:
    """Close below the 14-session high, in ranges, -1 to 0; 0 where the range is zero (TA-Lib's convention)."""
    return talib.WILLR(bars.high, bars.low, bars.close, 14) / 100.0


def cci(bars: Bars) -> Array:
    """Commodity channel index of 20 sessions, in hundreds; 0 where prices are constant (TA-Lib's convention)."""
    return talib.CCI(bars.high, bars.low, bars.close, 20) / 100.0


def adx(bars: Bars) -> Array:
    """Average directional index of 14 sessions, 0 to 1; NaN while no high or low has ever moved.

    Wilder's smoothing over 14 is an exponential mean of span 27. TA-Lib's own ADX is not used: where high and low
    widen by the same amount, the rounding of adjusted prices would decide which of them counts.
    """
    up, down = bars.high - lag(bars.high, 1), lag(bars.low, 1) - bars.low
    lead = np.where(np.abs(up - down) < ROUNDING * bars.close, 0.0, up - down)
    rise = talib.EMA(np.where(lead > 0.0, np.maximum(up, 0.0), 0.0 * lead), 27)
    fall = talib.EMA(np.where(lead < 0.0, np.maximum(down, 0.0), 0.0 * lead), 27)
    return talib.EMA(ratio(np.abs(rise - fall), rise + fall), 27)


def macd(bars: Bars, part: int) -> Array:
    """MACD 12/26/9 over price: part 0 is the line, part 2 the histogram."""
    return bars.once(("MACD",), lambda: talib.MACD(bars.close, 12, 26, 9))[part] / bars.close


def bollinger_position(bars: Bars) -> Array:
    """Place of the close between the bands (20 sessions, 2 sd): 0 lower, 1 upper; NaN where they coincide."""
    return ratio(bars.close - bars.mean("close", 20), 4.0 * np.sqrt(bars.variance("close", 20))) + 0.5


def bollinger_width(bars: Bars) -> Array:
    """Upper minus lower band, over the middle one."""
    return 4.0 * np.sqrt(bars.variance("close", 20)) / bars.mean("close", 20)


def stochastic(bars: Bars, part: int) -> Array:
    """Slow stochastic 14/3/3: part 0 is %K, part 1 is %D; 0 where the range is zero (TA-Lib's convention)."""
    arguments = (bars.high, bars.low, bars.close, 14, 3, MA_Type.SMA, 3, MA_Type.SMA)
    return bars.once(("STOCH",), lambda: talib.STOCH(*arguments))[part] / 100.0


def weekday(bars: Bars, wave: Callable[[Array], Array]) -> Array:
    """Day of the week on a circle of five, Monday at angle 0: its sine or cosine."""
    return wave(2.0 * np.pi * np.asarray(bars.sessions.dayofweek, dtype=float) / 5.0)


def month_turn(bars: Bars) -> Array:
    """1 on the last weekday and the first three weekdays of a month, else 0.

    Counted on Monday to Friday from the date alone, so nothing is read off the next row; exchange holidays are not
    known here, so around them the flag can be one session off.

    References
    ----------
    Lakonishok & Smidt (1988), *Are seasonal anomalies real?*, Review of Financial Studies 1(4).
    """
    day = bars.sessions.to_numpy().astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    gone = np.busday_count(month.astype("datetime64[D]"), day)
    left = np.busday_count(day, (month + 1).astype("datetime64[D]"))
    return ((gone < 3) | (left <= 1)).astype(float)


INDICATORS: tuple[Indicator, ...] = (
    *(
        row(f"return_{k}", "log return", k, "close", log_return, f"close over close {k} sessions ago", k=k)
        for k in (1, 2, 3, 5, 10, 21)
    ),
    row("momentum_63", "log return", 63, "close", log_return, "close over close a quarter ago", k=63),
    row("momentum_126", "log return", 126, "close", log_return, "close over close half a year ago", k=126),
    row("momentum_252_21", "log return", 252, "close", log_return, "a year's without its last month's", k=252, skip=21),
    row("overnight_return", "log return", 1, "open close", overnight, "open over yesterday's close"),
    row("intraday_return_5", "log return", 4, "open close", intraday, "close over open, summed over 5 sessions", w=5),
    row("gap_atr", "true ranges", 15, OHLC, gap, "open minus yesterday's close, over yesterday's average true range"),
    *(
        row(f"volatility_{w}", "log return", w, "close", volatility, f"sd of returns over {w} sessions", w=w)
        for w in (5, 21, 63)
    ),
    row("volatility_ratio_5_63", "ratio", 63, "close", volatility_ratio, "a week's to a quarter's", short=5, long=63),
    row("volatility_of_volatility_63", "ratio", 83, "close", volatility_of_volatility, "sd over mean of volatility_21"),
    row("parkinson_21", "log return", 20, "high low", parkinson, "volatility from high and low", w=21),
    row("garman_klass_21", "log return", 20, OHLC, garman_klass, "volatility from all four prices", w=21),
    row("skewness_63", "moment", 63, "close", skewness, "asymmetry of returns over 63 sessions", w=63),
    row("kurtosis_63", "moment", 63, "close", kurtosis, "heaviness of their tails, 0 for a normal", w=63),
    row("autocorrelation_63", "-1 to 1", 64, "close", autocorrelation, "of returns with the day before's", w=63),
    *(
        row(f"sma_ratio_{w}", "fraction", w - 1, "close", sma_ratio, f"close over its {w}-session mean, less 1", w=w)
        for w in (5, 10, 20, 50, 200)
    ),
    *(
        row(f"ema_ratio_{w}", "fraction", w - 1, "close", ema_ratio, f"close over its span-{w} EMA, less 1", w=w)
        for w in (12, 26, 50)
    ),
    row("rsi_2", "0 to 1", 2, "close", rsi, "relative strength index of 2 sessions", w=2),
    row("rsi_14", "0 to 1", 14, "close", rsi, "relative strength index of 14 sessions", w=14),
    row("macd", "fraction", 33, "close", macd, "EMA 12 minus EMA 26, over close", part=0),
    row("macd_histogram", "fraction", 33, "close", macd, "MACD minus its EMA 9, over close", part=2),
    row("bollinger_position", "bands", 19, "close", bollinger_position, "%b: 0 at the lower band, 1 at the upper"),
    row("bollinger_width", "fraction", 19, "close", bollinger_width, "upper minus lower band, over the middle"),
    row("high_252", "log ratio", 251, "close", from_high, "close over its highest of a year", w=252),
    row("low_252", "log ratio", 251, "close", from_low, "close over its lowest of a year", w=252),
    row("drawdown_63", "fraction", 62, "close", drawdown, "loss from the highest close of a quarter", w=63),
    row("atr_14", "fraction", 14, HLC, atr, "average true range over close"),
    row("stochastic_k", "0 to 1", 17, HLC, stochastic, "slow %K 14/3: place in the range", part=0),
    row("stochastic_d", "0 to 1", 17, HLC, stochastic, "%D: slow %K over 3 sessions", part=1),
    row("williams_r", "-1 to 0", 13, HLC, williams, "close below the 14-session high, in ranges"),
    row("cci_20", "hundreds", 19, HLC, cci, "typical price off its mean, in mean deviations over 66.7"),
    row("adx_14", "0 to 1", 53, HLC, adx, "strength of a trend, whichever way"),
    row("money_flow_14", "0 to 1", 14, f"{HLC} volume", money_flow, "money traded in rising sessions", w=14),
    row("volume_ratio_5_21", "fraction", 20, "volume", volume_ratio, "a week to a month, less 1", short=5, long=21),
    row("volume_ratio_63", "fraction", 62, "volume", volume_ratio, "a day to a quarter, less 1", short=1, long=63),
    row("volume_zscore_21", "sd", 20, "volume", volume_zscore, "volume against its 21 sessions", w=21),
    row("volume_price_trend_21", "return", 21, CV, volume_price_trend, "mean return weighted by volume", w=21),
    row("obv_slope_21", "-1 to 1", 21, CV, obv_slope, "rise of on-balance volume per share traded", w=21),
    row("dollar_volume_ratio_21_252", "log ratio", 251, CV, dollar_volume_ratio, "money traded, a month to a year"),
    *ESTIMATES,
    row("weekday_sin", "sine", 0, "", weekday, "day of the week on a circle", wave=np.sin),
    row("weekday_cos", "cosine", 0, "", weekday, "day of the week on a circle", wave=np.cos),
    row("month_turn", "flag", 0, "", month_turn, "last and first three weekdays of a month"),
)


def compute(frame: pd.DataFrame, rows: Sequence[Indicator] = INDICATORS) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every row of the table that the frame's columns allow.

    Parameters
    ----------
    frame : (n, k) bars, one row per session in ascending order; `close` and any of open, high, low, volume.
    rows : rows of the table, default all.

    Returns
    -------
    features : (n, p) float64 aligned to `frame.index`; NaN before each row's warm-up, never infinite.
    unavailable : the features left out, each with its reason; nothing is invented in their place.

    Raises
    ------
    BadInput : no close, sessions out of order, a price that is not positive, a missing value.
    NotEnoughHistory : no session is left after the longest warm-up.
    """
    bars = read(frame)
    given = {name for name in COLUMNS if name in frame}
    usable = [row for row in rows if row.needs <= given]
    longest = max((row.warmup for row in usable), default=0)
    if len(frame) <= longest:
        raise NotEnoughHistory(
            f"the features need {longest + 1} sessions, this frame has {len(frame)}"
            f" since {frame.index[0]:%Y-%m-%d}; widen `start`"
        )
    # One array with a feature per row is the layout a frame keeps inside: no column is copied a second time.
    values = np.array([row.compute(bars) for row in usable]).reshape(len(usable), len(frame))
    features = pd.DataFrame(values.T, index=frame.index, columns=_names(tuple(row.name for row in usable)), copy=False)
    gives = "close only" if given == {"close"} else ", ".join(name for name in COLUMNS if name in given)
    lacks = {row.name: [name for name in COLUMNS if name in row.needs - given] for row in rows if row.needs - given}
    return features, {name: f"needs {', '.join(cols)}; this source gives {gives}" for name, cols in lacks.items()}


def read(frame: pd.DataFrame) -> Bars:
    """The frame's columns as arrays, once it is shown to be usable; BadInput says what is not."""
    sessions = check_sessions(frame.index, "bars")
    if "close" not in frame:
        raise BadInput(f"bars need a close column, found {', '.join(map(str, frame.columns)) or 'none'}")
    arrays = _together(frame) or {name: _column(frame, name) for name in COLUMNS if name in frame}
    return Bars(sessions, **arrays)


@lru_cache(maxsize=32)
def _names(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(names)


def _together(frame: pd.DataFrame) -> dict[str, Array]:
    """All columns where they are floats and fine, as they nearly always are; nothing where each must be looked at."""
    values = frame.to_numpy().T
    if values.dtype != np.float64 or not frame.columns.is_unique:
        return {}
    at = {name: n for n, name in enumerate(frame.columns) if name in COLUMNS}
    low, high = values.min(axis=1), values.max(axis=1)  # NaN is neither above nor below
    fine = all(high[n] < np.inf and (low[n] > 0.0 or (name == "volume" and low[n] == 0.0)) for name, n in at.items())
    return {name: np.ascontiguousarray(values[n]) for name, n in at.items()} if fine else {}


def check_sessions(index: pd.Index, what: str) -> pd.DatetimeIndex:
    """The same index, once it is shown to hold one ascending date per row, without a time zone."""
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None:
        raise BadInput(f"{what} need a DatetimeIndex of session dates without a time zone, found {index.dtype}")
    if not len(index):
        raise NotEnoughHistory(f"{what} have no rows; widen `start`")
    unordered = np.diff(index.asi8) <= 0
    if index.hasnans or unordered.any():
        at = int(np.argmax(unordered)) + 1
        raise BadInput(
            f"{what} must be in ascending order, each session once; row {at} holds {index[at]} after {index[at - 1]}"
        )
    return index


def _column(frame: pd.DataFrame, name: str) -> Array:
    try:
        values = np.ascontiguousarray(frame[name], dtype=np.float64)
    except (TypeError, ValueError):
        raise BadInput(f"{name} must be one column of numbers, found {frame[name].dtypes}") from None
    fine = (values >= 0.0 if name == "volume" else values > 0.0) & (values < np.inf)  # NaN is neither
    if not fine.all():
        bad = np.flatnonzero(~fine)
        rule = "volumes must be zero or more" if name == "volume" else "prices must be positive"
        raise BadInput(
            f"{name} is {values[bad[0]]:g} on {frame.index[bad[0]]:%Y-%m-%d} ({bad.size} such rows);"
            f" {rule} in every session: repair the bars or leave those sessions out"
        )
    return values
