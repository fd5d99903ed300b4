"""Cross-sections: does a factor order the shares of a session, how long does it hold, and what does trading it leave?

Every function takes frames of sessions x tickers. A factor's row t uses what was known at the close of t; forward
returns begin where the caller says they can be earned. NaN is a share that the session does not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.errors import BadInput

HORIZONS = (1, 2, 3, 5, 10, 21)
LEAST = 5  # shares a session needs for a rank correlation that means anything
Frame = pd.DataFrame
Series = pd.Series


@dataclass(frozen=True)
class Coefficient:
    """Mean rank correlation over sessions, its ratio to its deviation (ICIR, per session) and HAC t; NaN if none."""

    mean: float
    ratio: float
    t: float
    sessions: int


def forward_returns(prices: Frame, horizon: int, *, delay: int = 1) -> Frame:
    r"""Simple return earned from the price `delay` sessions after t over `horizon` sessions.

    .. math:: r_{t} = P_{t + d + h} / P_{t + d} - 1

    Parameters
    ----------
    prices : (n, k) prices at which a share can be entered, by session.
    delay : 1 where a factor known at the close of t is traded at the next price; 0 is what Alphalens does, which earns
        the price that the factor was made of.

    Returns
    -------
    (n, k); the last `horizon` + `delay` rows are NaN.
    """
    if horizon < 1 or delay < 0:
        raise BadInput(f"horizon {horizon} and delay {delay} hold nothing; give a horizon from 1 and a delay from 0")
    entry = prices.shift(-delay)
    return entry.shift(-horizon) / entry - 1


def information_coefficient(factor: Frame, returns: Frame, *, sectors: Mapping[str, str] | None = None) -> Series:
    """Spearman rank correlation across shares of factor and forward return, (n,) by session.

    NaN where fewer than `LEAST` shares have both, or either is the same for all. With `sectors` both are taken less
    the mean of their sector first.
    """
    factor, returns = _paired(factor, returns)
    if sectors is not None:
        factor, returns = neutral(factor, sectors), neutral(returns, sectors)
    a, b = factor.rank(axis=1), returns.rank(axis=1)
    enough = (a.notna().sum(axis=1) >= LEAST) & (_spread(a) > 0) & (_spread(b) > 0)
    ic = a[enough].corrwith(b[enough], axis=1)
    return ic.reindex(factor.index).rename("ic")


def coefficient(ic: Series, *, horizon: int) -> Coefficient:
    """Summary of an IC series; the t takes 2 `horizon` lags for labels that overlap (Newey and West, 1987)."""
    known = ic.dropna()
    if len(known) < 2:
        return Coefficient(float("nan"), float("nan"), float("nan"), len(known))
    mean, deviation = float(known.mean()), float(known.std(ddof=1))
    ratio = mean / deviation if deviation > 0 else float("nan")
    return Coefficient(mean, ratio, metrics.newey_west_t(known, 2 * horizon), len(known))


def exchanged(factor: Frame, returns: Frame, *, draws: int = 9_999, random_state: int = 0) -> float:
    r"""How often names that exchange their histories of the factor have a mean IC as far from zero: a p-value.

    .. math:: p = \frac{1 + \#\{|\bar{IC}_\pi| \ge |\bar{IC}|\}}{1 + \text{draws}}

    A factor that changes slowly says of few names for years which of them will do better, and some do: its coefficients
    agree with each other for far longer than a label lasts, and no HAC error of them knows. Here the factor keeps its
    history and the returns theirs, and only whose is whose is drawn. Exact where names are alike but for the factor.

    Parameters
    ----------
    factor, returns : (n, k) as for `information_coefficient`; a name that is absent counts as in the middle.

    References
    ----------
    Fisher (1935), *The Design of Experiments*, ch. 3.
    """
    factor, returns = _paired(factor, returns)
    a, b = (_standardized(frame.rank(axis=1)) for frame in (factor, returns))
    together = a.T @ b  # of name i's factor and name j's returns, summed over sessions
    names, rng = np.arange(len(together)), np.random.default_rng(random_state)
    drawn = np.array([together[rng.permutation(names), names].sum() for _ in range(draws)])
    own = np.trace(together)
    return float((1 + (np.abs(drawn) >= abs(own) * (1 - 1e-12)).sum()) / (1 + draws))


def _standardized(ranks: Frame) -> np.ndarray:
    """Ranks of each session with mean 0 and length 1; 0 where there is none, and in sessions of fewer than `LEAST`."""
    centered = ranks.sub(ranks.mean(axis=1), axis=0)
    length = np.sqrt((centered**2).sum(axis=1))
    fit = (ranks.notna().sum(axis=1) >= LEAST) & (length > 0)
    return centered.div(length.where(fit), axis=0).fillna(0.0).to_numpy()


def decay(factor: Frame, prices: Frame, horizons: Sequence[int] = HORIZONS, *, delay: int = 1) -> Frame:
    """Mean IC, ICIR and HAC t by horizon: how long what the factor knows is true."""
    found = {
        h: vars(coefficient(information_coefficient(factor, forward_returns(prices, h, delay=delay)), horizon=h))
        for h in horizons
    }
    return pd.DataFrame(found).T.rename_axis("horizon")


def quantiles(factor: Frame, q: int = 5) -> Frame:
    """Quantile of each share in its session, 1 (lowest) to q; NaN where fewer than q values can be told apart."""
    if q < 2:
        raise BadInput(f"{q} quantiles divide nothing; give 2 or more")
    values = factor.to_numpy(float)
    edges = _edges(values, np.linspace(0, 1, q + 1))
    told = (np.diff(edges, axis=1) > 0).all(axis=1) & (np.isfinite(values).sum(axis=1) >= q)
    place = 1.0 + sum((values > edge[:, None]).astype(float) for edge in edges.T[1:-1])
    return pd.DataFrame(np.where(told[:, None] & np.isfinite(values), place, np.nan), factor.index, factor.columns)


def _edges(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Quantiles of each row (n, k) without its NaN, (n, m): those of `np.quantile`, of all rows at once."""
    ordered, last = np.sort(values, axis=1), np.maximum(np.isfinite(values).sum(axis=1) - 1, 0)[:, None]
    place = at * last
    low = np.floor(place).astype(int)
    a, b = (np.take_along_axis(ordered, np.minimum(i, last), axis=1) for i in (low, low + 1))
    share = place - low
    return np.asarray(np.where(share < 0.5, a + (b - a) * share, b - (b - a) * (1 - share)))


def quantile_returns(factor: Frame, returns: Frame, q: int = 5) -> Frame:
    """Mean forward return of each quantile (all shares and sessions alike), its standard error and count.

    `spread` of the top over the bottom is ``mean.loc[q] - mean.loc[1]``.
    """
    factor, returns = _paired(factor, returns)
    long = pd.DataFrame({"q": quantiles(factor, q).to_numpy().ravel(), "r": returns.to_numpy().ravel()}).dropna()
    found = long.groupby("q")["r"].agg(["mean", "std", "count"])
    return pd.DataFrame(
        {"mean": found["mean"], "error": found["std"] / np.sqrt(found["count"]), "count": found["count"]}
    )


def quantile_turnover(factor: Frame, quantile: int, *, q: int = 5, period: int = 1) -> Series:
    """Share of the names in a quantile that were not in it `period` sessions before, (n,); NaN before the first."""
    held = quantiles(factor, q) == quantile
    new = (held & ~held.shift(period, fill_value=False)).sum(axis=1)
    return (new / held.sum(axis=1)).iloc[period:].reindex(factor.index)


def autocorrelation(factor: Frame, *, period: int = 1) -> Series:
    """Correlation across shares of a factor's ranks with those `period` sessions before, (n,)."""
    ranks = factor.rank(axis=1)
    return ranks.corrwith(ranks.shift(period), axis=1)


def neutral(values: Frame, sectors: Mapping[str, str]) -> Frame:
    """Values less the mean of their sector in each session; a ticker without a sector is an error."""
    if lacking := [str(t) for t in values if t not in sectors]:
        raise BadInput(f"no sector is given for {', '.join(lacking[:5])}; leave them out, or give their sectors")
    groups = pd.Series({t: sectors[str(t)] for t in values})
    return values - values.T.groupby(groups).transform("mean").T


def weights(factor: Frame, *, q: int = 5, long_only: bool = False, horizon: int = 1) -> Frame:
    """Weight held over each session: the mean of the last `horizon` sessions' portfolios, known the session before.

    A session's portfolio is the top quantile in equal shares, less the bottom one unless `long_only`: long 1, short 1.
    """
    rank = quantiles(factor, q)
    top, bottom = ((rank == n).astype(float) for n in (q, 1))
    book = _shares(top) - (0.0 if long_only else 1.0) * _shares(bottom)
    return book.shift(1).rolling(horizon, min_periods=1).sum().fillna(0.0) / horizon


def portfolio(weight: Frame, prices: Frame, *, cost_bps: float = 5.0) -> Frame:
    """Gross and net return, cost and turnover of weights by session, held from its price to the next session's.

    `turnover` is the sum of absolute changes of weight, and costs `cost_bps` of it.
    """
    weight = weight.reindex_like(prices).fillna(0.0)
    gross = (weight * forward_returns(prices, 1, delay=0)).sum(axis=1)
    turnover = weight.diff().fillna(weight).abs().sum(axis=1)
    cost = turnover * cost_bps / 1e4
    return pd.DataFrame({"gross": gross, "net": gross - cost, "turnover": turnover, "cost": cost})


def capacity(weight: Frame, prices: Frame, volume: Frame, *, share: float = 0.01) -> float:
    """Dollars at which the median trade's session is at `share` of the volume of its tightest name; NaN if unknown."""
    traded = weight.diff().fillna(weight).abs()
    room = (share * prices * volume / traded.where(traded > 1e-12)).min(axis=1)
    return float(room.median())


def _spread(ranks: Frame) -> Series:
    return ranks.max(axis=1) - ranks.min(axis=1)


def _shares(held: Frame) -> Frame:
    return held.div(held.sum(axis=1).where(lambda n: n > 0), axis=0).fillna(0.0)


def _paired(factor: Frame, returns: Frame) -> tuple[Frame, Frame]:
    """Both over the sessions and tickers of the factor, NaN where either is."""
    if not factor.index.is_unique or not factor.columns.is_unique:
        raise BadInput("a cross-section takes each session and each ticker once; remove what is there twice")
    returns = returns.reindex(index=factor.index, columns=factor.columns)
    both = factor.notna() & returns.notna()
    if not both.to_numpy().any():
        raise BadInput("factor and returns share no session of any ticker; give frames of sessions x tickers")
    return factor.where(both), returns.where(both)
