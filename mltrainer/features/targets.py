"""What can be forecast: each target is a row with its label, its unit, what it is measured against and how it pays.

Direction mostly cannot be forecast, variance mostly can. A label says what the next `horizon` sessions will bring; what
the past says of the same thing stands beside it, as a model is worth what it adds to that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd

from mltrainer.errors import Unavailable, UnknownName

VOLATILITY_ROWS = 21
LEAST_VOLATILITY = 1e-4  # one basis point a session: a run of stale closes must not divide by zero
WEEK, MONTH, QUARTER = 5, 22, 63
DECAY = 0.06  # of the EWMA, as RiskMetrics has it for daily variances (1 - 0.94)
LEAST_NAMES = 5  # below which a rank across names says nothing

Column = pd.Series  # (n,) float by session


@dataclass(frozen=True)
class Parts:
    """What a target makes of bars, (n,) each, by session.

    Attributes
    ----------
    y : the label of the `horizon` sessions after the row; NaN where they pass the end.
    scale : expected standard deviation of `y` as known at the row; 1 where a label is in its own units.
    past : (n, k) what was known at the row of the same quantity, in the units of `y`; see `BASELINES`.
    entry : price at which a session is entered; `at_close` if that is its close.
    known_to_models : whether `past` stands among the features: what HAR is given, a model that shall beat it is too.
    """

    y: Column
    scale: Column
    past: pd.DataFrame
    entry: Column
    at_close: bool
    known_to_models: bool = False


@dataclass(frozen=True)
class Target:
    """One thing that can be forecast.

    Attributes
    ----------
    parts : of bars (OHLCV or closes), the market's bars or None, and the horizon.
    unit : of the label, in words.
    baselines : names of `evaluation.baselines.BASELINES`; a model is measured against the best of them.
    loss : name of `evaluation.baselines.LOSSES` that is consistent for what is forecast.
    proof : what shows that a forecast knows something: that it orders outcomes ("ranks"; a mean is then no rival), or
        that its loss is smaller than the best baseline's ("loss").
    pays : the position it decides, a name of `evaluation.trading.POLICIES`; empty where nothing is traded on it.
    center : the forecast that decides neither way.
    bounds : what a forecast is clipped to.
    legs : of a trade, each of which costs.
    cross_sectional : whether it is of names side by side, and needs a panel.
    """

    name: str
    title: str
    unit: str
    parts: Callable[[pd.DataFrame, pd.DataFrame | None, int], Parts]
    baselines: tuple[str, ...]
    loss: str = "squared error"
    proof: Literal["ranks", "loss"] = "loss"
    pays: str = ""
    center: float = 0.0
    bounds: tuple[float, float] = (-np.inf, np.inf)
    legs: int = 1
    cross_sectional: bool = False

    def purge(self, horizon: int) -> int:
        """Sessions after a row until its label is known: the label of row t is known at the close of t + purge."""
        return horizon if self.parts in (volatility, spread, volume) else horizon + 1


def forward_return(entry: "pd.Series[float]", horizon: int) -> "pd.Series[float]":
    r"""Return of a position decided at t: entered at t + 1, left at t + 1 + horizon.

    .. math:: y_t = P_{t+1+h} / P_{t+1} - 1

    Parameters
    ----------
    entry : (n,) price at which each session can be entered.
    horizon : sessions held, at least 1.

    Returns
    -------
    (n,) simple returns; the last ``horizon + 1`` are NaN.
    """
    ahead = entry.shift(-1)
    return ahead.shift(-horizon) / ahead - 1


def realized_variance(bars: pd.DataFrame) -> "pd.Series[float]":
    r"""Variance of each session: Garman and Klass (1980) from the range, and the move overnight; (n,).

    .. math:: \tfrac{1}{2} \ln(H/L)^2 - (2 \ln 2 - 1) \ln(C/O)^2 + \ln(O_t/C_{t-1})^2

    The squared return from close to close where there is no range. At least 1e-8, a move of one basis point.
    """
    close = np.log(bars["close"])
    if not {"open", "high", "low"} <= set(bars):
        return (close.diff() ** 2).clip(lower=LEAST_VOLATILITY**2)
    o, h, low = (np.log(bars[c]) for c in ("open", "high", "low"))
    inside = 0.5 * (h - low) ** 2 - (2 * np.log(2) - 1) * (close - o) ** 2
    return (inside + (o - close.shift()) ** 2).clip(lower=LEAST_VOLATILITY**2)


def log_range(bars: pd.DataFrame) -> "pd.Series[float]":
    """ln(high / low) of each session, (n,), at least a basis point."""
    if not {"high", "low"} <= set(bars):
        raise Unavailable("the range needs highs and lows, and this source has closes only")
    return (np.log(bars["high"]) - np.log(bars["low"])).clip(lower=LEAST_VOLATILITY)


def traded(bars: pd.DataFrame) -> "pd.Series[float]":
    """Volume of each session, (n,), at least 1."""
    if "volume" not in bars:
        raise Unavailable("this source has no volume to forecast")
    return bars["volume"].astype(float).clip(lower=1.0)


# --- labels ---------------------------------------------------------------------------------------------------


def returns(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    """Simple return of a position decided at the row, entered at the next open (close where there is none)."""
    entry = bars["open"] if "open" in bars else bars["close"]
    return _of_prices(entry, bars["close"], horizon, "open" not in bars)


def excess(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    """Return over the market's, geometric: that of the price divided by the index's, (1 + r) / (1 + m) - 1."""
    if market is None:
        raise Unavailable("the return over the market needs an index beside the ticker, and there is none")
    market = market.reindex(bars.index)
    opens = "open" in bars and "open" in market
    price = bars["close"] / market["close"]
    if price.notna().sum() and np.ptp(price.dropna()) < 1e-9 * price.abs().max():
        raise Unavailable("this is the market itself, and has no return over it")
    return _of_prices(bars["open"] / market["open"] if opens else price, price, horizon, not opens)


def _of_prices(entry: Column, close: Column, horizon: int, at_close: bool) -> Parts:
    steps = np.log(close).diff()
    scale = steps.rolling(VOLATILITY_ROWS).std().clip(lower=LEAST_VOLATILITY) * np.sqrt(horizon)
    past = pd.DataFrame({"last": close / close.shift(horizon) - 1})
    return Parts(forward_return(entry, horizon), scale, past, entry, at_close)


def direction(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    """1 where the return is above zero, else 0; the forecast is its probability."""
    own = returns(bars, market, horizon)
    up = (own.y > 0).astype(float).where(own.y.notna())
    past = (own.past > 0).astype(float).where(own.past.notna())
    return Parts(up, _ones(up), past, own.entry, own.at_close)


def volatility(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    """Log of the mean realized variance of the next sessions, per session (`realized_variance`)."""
    return _of_level(realized_variance(bars), returns(bars, market, horizon), horizon)


def spread(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    """Log of the mean of ln(high / low) over the next sessions."""
    return _of_level(log_range(bars), returns(bars, market, horizon), horizon)


def volume(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    """Log of the mean volume of the next sessions over that of the last 63."""
    level = traded(bars)
    return _of_level(level, returns(bars, market, horizon), horizon, np.log(level.rolling(QUARTER).mean()))


def _of_level(level: Column, own: Parts, horizon: int, base: Column | float = 0.0) -> Parts:
    """Log of the mean of a positive quantity over the next sessions, and over the last, each less `base`."""
    windows = {"session": 1, "week": WEEK, "month": MONTH, "last": horizon}
    past = {name: np.log(level.rolling(rows).mean()) - base for name, rows in windows.items()}
    past["ewma"] = np.log(level.ewm(alpha=DECAY).mean()) - base
    y = np.log(level.rolling(horizon).mean()).shift(-horizon) - base
    return Parts(y, _ones(y), pd.DataFrame(past), own.entry, own.at_close, True)


def _ones(like: Column) -> Column:
    return pd.Series(1.0, index=like.index)


def rank(y: Column) -> Column:
    """Rank of each label among the names of its session, evenly from -0.5 to 0.5; NaN below five names."""
    return ranks(y).where(y.groupby(level="session").transform("count") >= LEAST_NAMES)


def ranks(values: Any) -> Any:
    """Rank of each value, of a column or of each of a frame, among the names of its session, from -0.5 to 0.5."""
    sessions = values.groupby(level="session")
    return (sessions.rank() - 0.5) / sessions.transform("count") - 0.5


LEVELS = ("mean", "last", "EWMA", "AR(1)", "HAR")
TARGETS = {
    t.name: t
    for t in (
        Target("return", "the return", "simple return", returns, ("mean", "zero", "AR(1)"), proof="ranks", pays="sign"),
        Target("direction", "the direction", "probability of a rise", direction, ("mean", "last", "AR(1)"),
               loss="Brier score", pays="sign", center=0.5, bounds=(0.0, 1.0)),
        Target("volatility", "the volatility", "log variance per session", volatility, LEVELS, pays="volatility"),
        Target("range", "the range", "log of ln(high / low)", spread, LEVELS),
        Target("volume", "the volume", "log volume over the last 63 sessions'", volume, LEVELS),
        Target("excess", "the return over the market", "simple return over the market's", excess,
               ("mean", "zero", "AR(1)"), proof="ranks", pays="sign", legs=2),
        Target("rank", "the rank among the names", "rank among names, -0.5 to 0.5", returns, ("zero",),
               proof="ranks", pays="quantiles", cross_sectional=True),
    )
}  # fmt: skip


OWN = "own:"  # before the name of a registered one (`features.own`)


def target(name: str) -> Target:
    """The row of a name; `UnknownName` lists what there is.

    One of a researcher's own is known by its name alone, as its trials are judged by who does not have its function.
    """
    if isinstance(name, str) and name.startswith(OWN) and name.removeprefix(OWN).isidentifier():
        return _own(name)
    try:
        return TARGETS[name]
    except (KeyError, TypeError):
        raise UnknownName.of("target", str(name), TARGETS) from None


@lru_cache(maxsize=256)
def _own(name: str) -> Target:
    short = name.removeprefix(OWN)
    return Target(name, f"{short} (own target)", "its own unit", _unregistered, ("mean", "last", "AR(1)"))


def _unregistered(bars: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
    raise Unavailable("its function was not given; register it with mt.register and hand over what that returns")
