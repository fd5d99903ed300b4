"""No decision of a day moves when what came after it is rewritten: forecasts, weights, sizes, stops, words and all.

Bars of whatever origin are asked here, so none of it goes through the gate, and nothing is kept.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from mltrainer.data.quality.check import readable
from mltrainer.evaluation.protocol import Protocol
from mltrainer.features import matrix as features
from mltrainer.features import rewriting
from mltrainer.trading.forecasts import inference, speakers
from mltrainer.trading.portfolio import walk
from mltrainer.trading.portfolio.inputs import joined
from mltrainer.trading.portfolio.limits import Constraints
from mltrainer.trading.portfolio.methods import METHODS
from mltrainer.trading.portfolio.walk import Contender, Past
from mltrainer.trading.recommendations import deciding
from mltrainer.trust.provenance import Dataset, cut

Decide = Callable[[Sequence[Dataset], pd.Timestamp], pd.DataFrame]
SHARES = (0.55, 0.97)  # of the history, after which the future is rewritten
TARGETS = ("return", "volatility")
PAST, EVERY = 252, 21  # sessions that a book learns from, and that it is held
CLAMPED = Constraints(lower=0.0, upper=0.6)
BOOKS = (
    *(Contender(name, METHODS[name]) for name in walk.CONTENDERS),
    Contender("equal-weight with cash", METHODS["equal-weight"], target=0.10),
)


def recommended(bars: Sequence[Dataset], session: pd.Timestamp) -> pd.DataFrame:
    """What is recommended at the close of a session."""
    return deciding.of_frames({b.name: cut(b, end=session).frame for b in bars})


def stated(bars: Sequence[Dataset], session: pd.Timestamp) -> pd.DataFrame:
    """What is forecast at the close of a session, with interval and confidence, a row a target."""
    known, rows = cut(bars[0], end=session), []
    for target in TARGETS:
        matrix = features.build(known, horizon=5, target=target)
        chosen = speakers.among(matrix, speakers.plain_past(matrix, Protocol()), {}, {})
        value = sum(w * speakers.plain_now(matrix, name) for name, w in chosen.weights.items())
        figures = inference.figures(matrix, chosen, float(value), Protocol())
        rows.append({"forecast": value, "by": " ".join(chosen.weights), "reason": chosen.reason} | figures)
    return pd.DataFrame(rows)


def weighed(bars: Sequence[Dataset], session: pd.Timestamp) -> pd.DataFrame:
    """Every weight a walk had decided by the close of a session, and what its books had earned, from all the bars."""
    frame = joined(*bars).frame.pct_change().iloc[1:]
    at = int(frame.index.searchsorted(session, side="right")) - 1
    past, first = (
        Past.of(frame.iloc[: at + 2 * EVERY], None, PAST, CLAMPED),
        at - 2 * EVERY,
    )  # so that one decision is of the session itself
    found = {who.name: walk.walked(who, past, first, EVERY, 10.0) for who in BOOKS}
    decided = {
        f"{name}, {t - at} sessions from it": pd.Series(w)
        for name, of in found.items()
        for t, w in of.decided.items()
        if t <= at
    }
    earned = {f"{name}, earned": pd.Series(of.net[: at - first]) for name, of in found.items()}
    return pd.DataFrame(decided | earned)


DECISIONS: Mapping[str, Decide] = {"recommendation": recommended, "stated forecast": stated, "weight": weighed}
"""What is decided for a session, from bars of two names that go on after it."""


def moved(make: Decide, bars: Dataset, *, seed: int = 0) -> dict[str, str]:
    """Column of a decision -> what was done to later sessions when it moved; {} where nothing leaks."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    pair = _pair(bars)
    for share in SHARES:
        n = int(share * len(bars.frame))
        session = bars.frame.index[n - 1]
        past = make(pair, session)
        for how, rewrite in rewriting.REWRITES.items():
            futures = [Dataset(rewrite(b.frame, n, rng), b.name, "bars") for b in pair]
            if all(readable(f) for f in futures):
                again = make(futures, session)
                found |= {str(c): how for c in past if not _same(past[c], again.get(c)) and c not in found}
    return found


def _pair(bars: Dataset) -> list[Dataset]:
    """The share, and a second one of less volatility that does not go its way."""
    prices = [str(c) for c in bars.frame if c != "volume"]
    first = bars.frame["close"]
    own = np.exp(first.pct_change().shift(1).fillna(0.0).cumsum())  # yesterday's moves: as real, and no copy
    other = bars.frame.assign(**{c: bars.frame[c] ** 0.5 * own for c in prices})
    return [Dataset(bars.frame, "a", "bars"), Dataset(other, "b", "bars")]


def _same(one: "pd.Series[float]", two: "pd.Series[float] | None") -> bool:
    return two is not None and len(one) == len(two) and not rewriting.unequal(one, two).any()
