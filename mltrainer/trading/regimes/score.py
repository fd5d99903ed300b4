"""One figure for the state of the market, 0 to 100: 100 as quiet, rising and broad as it ever was, 0 a crisis."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mltrainer.trading.regimes.labels import YEAR, detect, realized

WEIGHTS = {"volatility": 0.4, "macro": 0.3, "momentum": 0.2, "breadth": 0.1}
LABELS = ("crisis", "volatile", "trending", "stable")
EDGES = (25.0, 50.0, 75.0)
HALF_YEAR = 126  # sessions of momentum
LEAST = 0.5  # share of a universe that must trade for its breadth to be known


def of_bars(
    bars: pd.DataFrame, macro: "pd.Series[float] | None" = None, members: "Mapping[str, pd.Series[float]] | None" = None
) -> pd.DataFrame:
    r"""Labels, components and score of every session, by what was known at its close.

    .. math:: s_t = \sum_k w_k c_{k,t} / \sum_k w_k \quad\text{over the components k that are known}

    Parameters
    ----------
    bars : (n, ...) by session, with `close` and perhaps `volume`.
    macro : (n,) score of the economy, 0 to 100; see `economy.read`.
    members : closes of a universe, by ticker, on sessions of their own.

    Returns
    -------
    (n, k) frame: the labels of `detect`; the components, each 0 to 100: `calm` (share of its own past in which
    volatility was higher), `macro`, `momentum` (share of its own past in which the return of 126 sessions was lower),
    `breadth` (share of the members above their 200-session mean); `score`, NaN until volatility has a past; `weight`,
    the sum of the weights known: scores of different weight are not of one kind; and `regime`, the label of the score:
    crisis below 25, volatile below 50, trending below 75, else stable.
    """
    close = bars["close"]
    parts = {
        "calm": 100 * (1 - realized(close).expanding(YEAR).rank(pct=True)),
        "macro": pd.Series(np.nan, close.index) if macro is None else macro,
        "momentum": 100 * pd.Series(np.log(close)).diff(HALF_YEAR).expanding(YEAR).rank(pct=True),
        "breadth": pd.Series(np.nan, close.index) if not members else breadth(members, close.index),
    }
    weight, total = pd.Series(0.0, close.index), pd.Series(0.0, close.index)
    for part, w in zip(parts.values(), WEIGHTS.values(), strict=True):
        weight += w * part.notna()
        total += w * part.fillna(0.0)
    known = parts["calm"].notna()
    score = (total / weight).where(known)
    regime = pd.Series(np.array(LABELS)[np.searchsorted(EDGES, score.fillna(0.0), side="right")], close.index)
    made = {**parts, "score": score, "weight": weight.where(known), "regime": regime.where(known)}
    return detect(bars).join(pd.DataFrame(made))


def breadth(members: "Mapping[str, pd.Series[float]]", sessions: pd.Index) -> "pd.Series[float]":
    """Percentage of the members that closed above their 200-session mean, (n,); NaN where less than half traded."""
    above, trading = pd.Series(0.0, sessions), pd.Series(0.0, sessions)
    for close in members.values():
        mean = close.rolling(200).mean()
        state = (close > mean).astype(float).where(mean.notna()).reindex(sessions)
        above += state.fillna(0.0)
        trading += state.notna()
    return (100 * above / trading).where(trading >= LEAST * len(members))
