"""Regimes: is the market calm or stormy, rising or falling, as far as one could know on the day?"""

from mltrainer.trading.regimes.chosen import Chosen, chosen
from mltrainer.trading.regimes.history import Regimes, measure, regimes
from mltrainer.trading.regimes.labels import TREND, VOLATILITY, VOLUME, detect
from mltrainer.trading.regimes.markov import STATES, filtered, fits
from mltrainer.trading.regimes.score import LABELS, WEIGHTS, of_bars

__all__ = [
    "LABELS",
    "STATES",
    "TREND",
    "VOLATILITY",
    "VOLUME",
    "WEIGHTS",
    "Chosen",
    "Regimes",
    "chosen",
    "detect",
    "filtered",
    "fits",
    "measure",
    "of_bars",
    "regimes",
]
