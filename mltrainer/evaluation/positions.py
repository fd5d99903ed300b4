"""From a forecast to the position it decides: each policy is a row, and knows nothing but what was forecast."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.features.targets import Target

TARGET_VOLATILITY = 0.10  # a year
EDGE = 0.1  # of the interval's half width, below which "threshold" stays out
FIFTH = 0.2

Policy = Callable[[pd.DataFrame, Target], np.ndarray]


def sign(frame: pd.DataFrame, aim: Target) -> np.ndarray:
    """Fully long or short by the forecast's side of the center; (n,) -1, 0 or 1."""
    return np.sign(frame["forecast"] - aim.center).to_numpy(float)


def proportional(frame: pd.DataFrame, aim: Target) -> np.ndarray:
    """In proportion to the forecast per unit of volatility: 1 at twice the mean size so far, and never more."""
    unit = (frame["forecast"] - aim.center) / frame["scale"]
    usual = unit.abs().expanding().mean()
    return (unit / (2 * usual)).clip(-1, 1).fillna(0.0).to_numpy(float)


def threshold(frame: pd.DataFrame, aim: Target) -> np.ndarray:
    """By sign, where the forecast is beyond a tenth of its interval's half width; out of the market otherwise."""
    beyond = (frame["forecast"] - aim.center).abs() > EDGE * (frame["upper"] - frame["lower"]) / 2
    return np.asarray(sign(frame, aim) * beyond, dtype=float)


def volatility(frame: pd.DataFrame, aim: Target) -> np.ndarray:
    """Long, at 10 % a year by the variance forecast and never above 1; of returns by sign, at the volatility known."""
    if aim.name == "volatility":
        annual = np.sqrt(metrics.SESSIONS * np.exp(frame["forecast"].to_numpy(float)))
        return np.minimum(1.0, TARGET_VOLATILITY / annual)
    return np.asarray(sign(frame, aim) * np.minimum(1.0, TARGET_VOLATILITY / frame["volatility"].to_numpy(float)))


def quantiles(frame: pd.DataFrame, aim: Target) -> np.ndarray:
    """Long the fifth of the names that is ranked highest, short the lowest, by `place` in 0 to 1."""
    place = frame["place"].to_numpy(float)
    return (place > 1 - FIFTH).astype(float) - (place <= FIFTH)


POLICIES: dict[str, Policy] = {
    "sign": sign, "proportional": proportional, "threshold": threshold, "volatility": volatility,
    "quantiles": quantiles,
}  # fmt: skip
CHOSEN = ("sign", "proportional", "threshold", "volatility")  # of which a protocol takes one for signed forecasts


def decided(frame: pd.DataFrame, aim: Target, policy: str = "") -> np.ndarray:
    """Position that each forecast decides, (n,) in -1..1: by `policy` where it is signed, else by the target's row."""
    name = (policy or aim.pays) if aim.pays == "sign" else aim.pays
    return POLICIES[name](frame, aim) if name else np.zeros(len(frame))
