"""Worlds of which HAR is the truth: variance, range or volume follow it, and real sessions give the rest their shape.

The log of a session's level is what HAR, fitted on the real sessions, says of it, and the error that HAR made of a real
session drawn by lot; that session also lends its shape. So nothing known at a close says more of the level of the next
session than its last value and the means of its last week and month do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.features import targets

Array = NDArray[np.float64]
PRICES = ("open", "high", "low", "close")
PERIOD = 14  # of the relative strength index that carries a planted lead
SPREAD = 0.12  # its standard deviation, about
WARM = targets.QUARTER  # sessions at the start that stay as they were
MARGIN = 3.0  # how far the log of a level may leave the span it really had


class Strength:
    """Relative strength index of closes as they come, turned into a lead: falls count as strength, -2.5 to 2.5."""

    def __init__(self) -> None:
        self.gain = self.loss = 0.0
        self.known = 0

    def add(self, change: float) -> float:
        """The lead as it is known after one more change of the close."""
        self.gain += (max(change, 0.0) - self.gain) / PERIOD
        self.loss += (max(-change, 0.0) - self.loss) / PERIOD
        self.known += 1
        both = self.gain + self.loss
        strength = self.gain / both if self.known >= PERIOD and both > 0 else 0.5
        return float(np.clip((0.5 - strength) / SPREAD, -2.5, 2.5))


@dataclass(frozen=True)
class Level:
    """A positive quantity of each session, and how moves of the log price grow with it: by which power."""

    of: Callable[[pd.DataFrame], "pd.Series[float]"]
    power: float = 0.0
    base: int = 0  # sessions whose mean it is taken over; 0 for none


LEVELS = {
    "volatility": Level(targets.realized_variance, 0.5),
    "range": Level(targets.log_range, 1.0),
    "volume": Level(targets.traded, base=targets.QUARTER),
}


@dataclass(frozen=True)
class Recursion:
    """HAR of the log of a level, one session ahead, fitted on real sessions.

    Attributes
    ----------
    slopes : (4,) intercept, session, week and month; each log less that of the mean of `base` sessions, where there is
        one.
    errors : (n,) of each session's log level, NaN in the first `WARM` ones.
    span : lowest and highest log level that a world may have.
    """

    slopes: Array
    errors: Array
    base: int
    span: tuple[float, float]

    @classmethod
    def of(cls, level: Array, base: int) -> "Recursion":
        """Fit it by least squares."""
        x = pd.Series(level)
        usual = pd.Series(np.log(x.rolling(base).mean()) if base else 0.0, x.index)
        past = [np.log(x.rolling(rows).mean()) - usual for rows in (1, targets.WEEK, targets.MONTH)]
        X = np.column_stack([np.ones(len(x)), *past])[WARM - 1 : -1]
        y = (x.map(np.log).shift(-1) - usual).to_numpy()[WARM - 1 : -1]
        slopes = np.linalg.lstsq(X, y, rcond=None)[0]
        errors = np.concatenate([np.full(WARM, np.nan), y - X @ slopes])
        return cls(slopes, errors, base, (np.log(level.min()) - MARGIN, np.log(level.max()) + MARGIN))

    @property
    def spread(self) -> float:
        """Standard deviation of the errors."""
        return float(np.nanstd(self.errors))

    def ahead(self, past: Array) -> float:
        """What is expected of the log of the next level, given those of the past."""
        usual = np.log(past[-self.base :].mean()) if self.base else 0.0
        x = [np.log(past[-rows:].mean()) - usual for rows in (1, targets.WEEK, targets.MONTH)]
        return float(usual + self.slopes[0] + self.slopes[1:] @ x)

    def next(self, past: Array, error: float) -> float:
        """The next level."""
        return float(np.exp(np.clip(self.ahead(past) + error, *self.span)))


def levelled(frame: pd.DataFrame, target: str, edge: float, order: NDArray[np.int_]) -> pd.DataFrame:
    r"""Bars of a world in which HAR is the truth of a target, (n, k).

    .. math:: \ln L^*_t = HAR(L^*_{t-1}, L^*_{t-2}, \ldots) + \epsilon_{\pi(t)} + b\, \sigma_\epsilon s_{t-1}, \qquad
              \ln P^*_t = \ln C^*_{t-1} + (L^*_t / L_{\pi(t)})^p (\ln P_{\pi(t)} - \ln C_{\pi(t) - 1})

    for L the level, :math:`\epsilon` the errors of the real sessions, P the open, high, low and close, p 1/2 for a
    variance and 1 for a range, and s the lead of 14 sessions (`Strength`). The first 63 sessions are the real ones.

    Parameters
    ----------
    target : a name of `LEVELS`; of volume the prices follow HAR of their variance, without the lead.
    edge : b. order : (n - 63,) which of the real sessions after the first 63 stands where.
    """
    columns = [c for c in PRICES if c in frame]
    log = np.log(frame[columns].to_numpy(float))
    close, moved = columns.index("close"), "volatility" if target == "volume" else target
    power, paths = LEVELS[moved].power, _paths(frame, {moved} | ({"volume"} & {target, *frame}))
    shape = np.vstack([np.zeros(len(columns)), log[1:] - log[:-1, [close]]]) / paths[moved][1][:, None] ** power
    closes, signal, strength = np.exp(log[:, close]), 0.0, Strength()
    for t in range(1, len(log)):
        if t >= WARM:
            drawn = WARM + order[t - WARM]
            for name, (har, path) in paths.items():
                push = edge * har.spread * signal if name == target else 0.0
                path[t] = har.next(path[:t], har.errors[drawn] + push)
            log[t] = log[t - 1, close] + shape[drawn] * paths[moved][1][t] ** power
            closes[t] = np.exp(log[t, close])
        signal = strength.add(closes[t] - closes[t - 1])
    out = frame.assign(**dict(zip(columns, np.exp(log).T, strict=True)))
    return out.assign(volume=paths["volume"][1]) if "volume" in paths else out


def _paths(frame: pd.DataFrame, names: set[str]) -> dict[str, tuple[Recursion, Array]]:
    """HAR of each level, and the real one, of which what comes after `WARM` sessions is yet to be drawn."""
    found: dict[str, Array] = {name: np.array(LEVELS[name].of(frame).bfill(), np.float64) for name in sorted(names)}
    return {name: (Recursion.of(level, LEVELS[name].base), level) for name, level in found.items()}
