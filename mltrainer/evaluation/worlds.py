"""Worlds in which the truth is known: real sessions in another order, with nothing to find or a lead of known size.

A session of a world is a real one: its open, high, low, close and volume as they stood to the close, the volatility
and the volume before it. Only the order is drawn anew, and what a session is set upon keeps its own order: volatility
comes and goes as it did. So features, labels and prices are rebuilt from bars that look like the ticker's, in which
nothing known at a close says anything of the next session.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from mltrainer import metrics
from mltrainer.errors import BadInput
from mltrainer.evaluation import levels
from mltrainer.evaluation.levels import PRICES, Strength
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

Array = NDArray[np.float64]
MEMORY = 21  # sessions over which volatility and volume count as known
PERSISTENCE = 0.9  # of the lead of a variance, from session to session
MOST_DRIFT = 10.0
LEADS = {"open": 1, "close": 2}  # sessions until what was decided at a close can earn: from the next open, or close


@dataclass(frozen=True)
class World:
    """What is true in a world.

    Parameters
    ----------
    seed : of the order of sessions.
    edge : the lead: expected return of a session in its standard deviations, per standard deviation of the relative
        strength index of 14 sessions known when the session is entered; 0 for a world with nothing to find. Of a target
        that HAR forecasts (`levels`) it moves the log of the session's level, in deviations of what HAR leaves.
    drift : annual Sharpe ratio of holding; None keeps that of the real sessions, and of a target that HAR forecasts
        there is no other: what moves the prices moves their variance, of which HAR is to be the truth.
    block : sessions that keep their order; 1 leaves no memory at all.
    """

    seed: int = 0
    edge: float = 0.0
    drift: float | None = None
    block: int = 1


def checked(drift: float | None, target: str) -> None:
    """Refuse a drift that no world of the target can have."""
    if drift is not None and target in levels.LEVELS:
        kept = f"a world of {target} follows HAR, and its prices keep the drift of their sessions"
        raise BadInput(f"{kept}: another would move the variance; leave drift out")
    if drift is not None and not abs(drift) <= MOST_DRIFT:
        raise BadInput(f"drift={drift}: give the annual Sharpe ratio of holding, -{MOST_DRIFT:g} to {MOST_DRIFT:g}")


def matrix(
    world: World, *histories: tuple[Dataset, ...], horizon: int, target: str = "return", start: str = ""
) -> Matrix:
    """Features and labels of a world, admitted for calibration only.

    Parameters
    ----------
    histories : of each ticker its admitted bars, then what was known beside them (an index, macro series), which stay;
        but for the return over the market, whose index is redrawn in the same order.
    horizon : sessions a position is held.
    target : what the world is to be asked. What HAR forecasts (`levels.LEVELS`) follows HAR and nothing else; of ranks
        the names exchange their sessions.
    start : first session of the matrix, as for `features.matrix.matrix`; the world begins before it.

    Returns
    -------
    Matrix
        Of mode NULL; a panel for several tickers, whose sessions keep their common order.
    """
    checked(world.drift, target)
    asked: dict[str, object] = {"world": vars(world), "horizon": horizon}
    asked |= ({"target": target} if target != "return" else {}) | ({"start": start} if start else {})
    if target == "rank":
        every = [d for h in histories for d in h]
        return gate.quarantine(_panel, *every, sizes=tuple(map(len, histories)), **asked)
    made = [gate.quarantine(_built, *h, **asked) for h in histories]
    return made[0] if len(made) == 1 else gate.quarantine(features.stack, *made)


def _built(
    bars: Dataset,
    *context: Dataset,
    world: dict[str, float],
    horizon: int,
    target: str = "return",
    start: str = "",
) -> Matrix:
    made = World(**world)  # type: ignore[arg-type]
    if target in levels.LEVELS:
        frame = levels.levelled(bars.frame, target, made.edge, _order(len(bars.frame) - levels.WARM, made))
    else:
        frame = redrawn(bars.frame, made)
    if target == "excess":
        context = tuple(_beside(d, bars.frame, made) if d.kind == "bars" else d for d in context)
    return features.build(Dataset(frame, bars.name, bars.kind), *context, horizon=horizon, target=target, start=start)


def _beside(index: Dataset, own: pd.DataFrame, world: World) -> Dataset:
    """An index whose sessions have the order that those of the ticker have, so that both still fall together."""
    common = index.frame.reindex(own.index).ffill().bfill()
    return Dataset(redrawn(common, replace(world, edge=0.0)), index.name, index.kind)


def _panel(
    *data: Dataset, sizes: tuple[int, ...], world: dict[str, float], horizon: int, target: str, start: str = ""
) -> Matrix:
    parts = np.split(np.arange(len(data)), np.cumsum(sizes)[:-1])
    histories = [[data[i] for i in part] for part in parts]
    frames = exchanged([h[0].frame for h in histories], World(**world))  # type: ignore[arg-type]
    made = [
        features.build(Dataset(frame, own.name, own.kind), *context, horizon=horizon, target=target, start=start)
        for frame, (own, *context) in zip(frames, histories, strict=True)
    ]
    return features.stack(*made)


def exchanged(frames: Sequence[pd.DataFrame], world: World) -> list[pd.DataFrame]:
    """Bars of names that are exchangeable: in each of their common sessions the moves are dealt out to them by lot.

    Sessions keep the order that `redrawn` gives them, and all names have the median of their volatilities: what one
    has been like says nothing of what it will be like. What all names have in common stays.
    """
    common = frames[0].index
    for frame in frames[1:]:
        common = common.intersection(frame.index)
    columns = [c for c in PRICES if all(c in f for f in frames)]
    prices = np.log(np.stack([f.loc[common, columns].to_numpy(float) for f in frames]))
    close = columns.index("close")
    moves = prices[:, 1:] - prices[:, :-1, [close]]
    own = np.stack([_known(pd.Series(m[:, close]).pow(2)) ** 0.5 for m in moves])
    known = np.median(own, axis=0)
    dealt = np.random.default_rng([world.seed, 2]).permuted(
        np.tile(np.arange(len(frames)), (len(common) - 1, 1)), axis=1
    )
    order = _order(len(common) - 1, world)
    shapes = (moves / own[:, :, None])[dealt.T, order[None, :]]
    out = []
    for first, shape in zip(prices[:, 0, close], shapes, strict=True):
        shape = _drifted(shape, known, close, world.drift)
        walked = _walked(shape * known[:, None], known, columns, first, world.edge)
        out.append(pd.DataFrame(np.exp(walked), common, columns))
    return out


def redrawn(frame: pd.DataFrame, world: World) -> pd.DataFrame:
    r"""Bars of a world made of real ones, (n, k).

    .. math:: \ln P^*_t = \ln C^*_{t-1} + \sigma_t\, s_{\pi(t)}, \qquad s_u = (\ln P_u - \ln C_{u-1}) / \sigma_u

    for P the open, high, low and close, :math:`\sigma_t` the volatility known before session t, and a permutation
    :math:`\pi`. Volume goes the same way, in means of the sessions before.
    """
    columns = [c for c in PRICES if c in frame]
    close = np.log(frame["close"].to_numpy(float))
    known = _known(pd.Series(np.diff(close)).pow(2)) ** 0.5
    shape = (np.log(frame[columns].to_numpy(float))[1:] - close[:-1, None]) / known[:, None]
    order = _order(len(shape), world)
    shape = _drifted(shape[order], known, columns.index("close"), world.drift)
    prices = _walked(shape * known[:, None], known, columns, close[0], world.edge)
    out = pd.DataFrame(np.exp(prices), frame.index, columns)
    out.iloc[0] = frame.iloc[0][columns]
    if "volume" in frame:
        volume = frame["volume"].to_numpy(float)
        usual = _known(pd.Series(volume[1:]))
        out["volume"] = np.concatenate([volume[:1], usual * (volume[1:] / usual)[order]])
    return out


def swollen(frame: pd.DataFrame, strength: float, seed: int) -> tuple[pd.DataFrame, "pd.Series[float]"]:
    r"""Bars whose variance follows a lead as well, and the lead as it is known at each close.

    .. math:: \ln P^*_t = \ln C^*_{t-1} + e^{b s_{t-1} / 2} (\ln P_t - \ln C_{t-1}), \qquad
              s_t = \phi s_{t-1} + \sqrt{1 - \phi^2}\, \epsilon_t

    The log variance of session t is so raised by :math:`b s_{t-1}`, b the `strength`; with 0 the bars are what they
    were, and the lead is one for nothing.

    Returns
    -------
    (n, k) bars, and (n,) the lead, of mean 0 and deviation 1, whose memory (`PERSISTENCE`) is about a week.
    """
    columns = [c for c in PRICES if c in frame]
    rng = np.random.default_rng([seed, 1])
    shocks = np.sqrt(1 - PERSISTENCE**2) * rng.normal(size=len(frame) + MEMORY * 5)
    lead = lfilter([1.0], [1.0, -PERSISTENCE], shocks)[-len(frame) :]
    close = np.log(frame["close"].to_numpy(float))
    moves = np.log(frame[columns].to_numpy(float))[1:] - close[:-1, None]
    prices = _walked(moves * np.exp(strength * lead[:-1] / 2)[:, None], moves[:, 0], columns, close[0], 0.0)
    moved = pd.DataFrame(np.exp(prices[1:]), frame.index[1:], columns)
    out = frame.assign(**{c: moved[c].reindex(frame.index).fillna(frame[c]) for c in columns})
    return out, pd.Series(lead, frame.index, name="lead")


def _known(x: "pd.Series[float]") -> Array:
    """Mean of the sessions before each, of its own sessions at the start, where there are none."""
    mean = x.rolling(MEMORY).mean().shift(1).bfill()
    return np.maximum(mean.to_numpy(float), 1e-12)


def _order(n: int, world: World) -> NDArray[np.int_]:
    rng = np.random.default_rng(world.seed)
    around = np.roll(np.arange(n), int(rng.integers(n)))
    blocks = np.array_split(around, max(n // world.block, 1))
    return np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])


def _drifted(shape: Array, known: Array, close: int, drift: float | None) -> Array:
    """Move all prices of a session alike, so that holding has the Sharpe ratio asked for."""
    if drift is None:
        return shape
    returns = shape[:, close] * known
    wanted = drift / np.sqrt(metrics.SESSIONS) * returns.std() - returns.var() / 2  # of simple returns
    return shape + (wanted - returns.mean()) / known[:, None]


def _walked(moves: Array, known: Array, columns: list[str], start: float, edge: float) -> Array:
    """Log prices, (n + 1, k), each session set upon the close before it, and moved by the lead that was known then."""
    close = columns.index("close")
    if not edge:
        base = start + np.concatenate([[0.0], np.cumsum(moves[:, close])])
        return np.vstack([np.full((1, len(columns)), start), base[:-1, None] + moves])
    out = np.full((len(moves) + 1, len(columns)), start)
    wait = LEADS[columns[0]]
    strength = Strength()
    signals = np.zeros(len(moves) + 1)
    for t, move in enumerate(moves, start=1):
        shift = edge * known[t - 1] * signals[t - wait] if t >= wait else 0.0
        out[t] = out[t - 1, close] + move
        out[t, close] += shift
        if wait == 1:  # high and low still hold the close
            out[t, columns.index("high")] += max(shift, 0.0)
            out[t, columns.index("low")] += min(shift, 0.0)
        signals[t] = strength.add(np.exp(out[t, close]) - np.exp(out[t - 1, close]))
    return out
