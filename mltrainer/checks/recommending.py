"""No recommendation of a day moves when what came after it is rewritten: sizes, stops, words and all."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from mltrainer.data.quality.check import readable
from mltrainer.features import indicators
from mltrainer.trading.recommendations import deciding
from mltrainer.trust.provenance import Dataset

Decide = Callable[[Sequence[pd.DataFrame], pd.Timestamp], pd.DataFrame]
CUTS = (0.55, 0.8, 0.97)  # shares of the history after which the future is rewritten
PAIR = ("a", "b")


def decide(frames: Sequence[pd.DataFrame], session: pd.Timestamp) -> pd.DataFrame:
    """What is recommended at the close of a session, of bars whatever their origin."""
    known = {name: frame.loc[:session] for name, frame in zip(PAIR, frames, strict=False)}
    return deciding.of_frames(known)


def moved(bars: pd.DataFrame, by: Decide | None = None, *, seed: int = 0) -> dict[str, str]:
    """Column of a recommendation -> what was done to later sessions when it moved; {} where nothing leaks."""
    rng, made = np.random.default_rng(seed), by or decide
    found: dict[str, str] = {}
    prices = [str(c) for c in bars if c != "volume"]
    other = bars.assign(**{c: bars[c] ** 0.8 for c in prices})  # a second share, of less volatility
    for share in CUTS:
        cut = int(share * len(bars))
        session = bars.index[cut - 1]
        past = made([bars, other], session)
        for how, rewrite in indicators.REWRITES.items():
            futures = [rewrite(frame, cut, rng) for frame in (bars, other)]
            if all(readable(Dataset(f, "a", "bars")) for f in futures):
                again = made(futures, session)
                found |= {str(c): how for c in past if not _same(past[c], again[c]) and c not in found}
    return found


def _same(one: "pd.Series[float]", two: "pd.Series[float]") -> bool:
    return len(one) == len(two) and not indicators.unequal(one, two).any()
