"""What a panel adds to the walk-forward: whose rows a model learns from, where each stands, and how many it bears."""

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.errors import BadInput
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import Fold, Rows
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.trust.provenance import fingerprint


def keys(matrix: Matrix, key: str) -> dict[str, str]:
    """Address of each ticker's result, of the address of the whole."""
    if matrix.tickers == [matrix.name]:
        return {matrix.name: key}
    return {ticker: fingerprint(key, ticker) for ticker in matrix.tickers}


def checked(matrix: Matrix, protocol: Protocol) -> None:
    """Refuse what only a panel can have where there is one ticker: its result would be a second trial of the same."""
    if protocol.of_panels and matrix.tickers == [matrix.name]:
        raise BadInput(f"protocol {protocol.of_panels} is of several tickers, and {matrix.name} is one; leave it out")


def alone(spec: ModelSpec, protocol: Protocol) -> bool:
    """Whether each ticker has a model of its own."""
    return spec.in_order or protocol.panel == "per-name"


def members(
    spec: ModelSpec, matrix: Matrix, labelled: pd.Index, ticker: Rows, protocol: Protocol
) -> list[tuple[Matrix, Rows]]:
    """Whose labelled rows one fit learns from: those of all tickers, or of each with the matrix of its own."""
    if not alone(spec, protocol):
        return [(matrix, np.arange(len(labelled)))]
    names = [matrix.name] if matrix.tickers == [matrix.name] else sorted(labelled.unique("ticker"))
    return [(matrix.of(name), rows) for name, rows in zip(names, by_name(ticker), strict=True)]


def by_name(ticker: Rows) -> list[Rows]:
    """Rows of each name number from 0, in their order; one sort for all, as a look at all rows for each grows faster.

    >>> [rows.tolist() for rows in by_name(np.array([1, 0, 1, 3]))]
    [[1], [0, 2], [], [3]]
    """
    return np.split(np.argsort(ticker, kind="stable"), np.cumsum(np.bincount(ticker))[:-1])


def bounded(train: Rows, session: Rows, limit: int | None) -> tuple[Rows, str]:
    """Rows a model can bear, and in words what was left out; "" where nothing was.

    Of one ticker the latest; of a panel whole sessions, evenly spread to the last: labels of days that adjoin are near
    copies, and a window of so few rows would be a few months.
    """
    if not limit or len(train) <= limit:
        return train, ""
    if len(np.unique(session[train])) == len(train):
        return train[-limit:], f"the latest {limit:,} of {len(train):,} rows"
    every = -(-len(train) // limit)
    kept = train[(session[train[-1]] - session[train]) % every == 0][-limit:]
    return kept, f"one session in {every}: {len(kept):,} of {len(train):,} rows"


def places(matrix: Matrix, labelled: pd.Index) -> tuple[Rows, Rows, Rows]:
    """Of each labelled row: number of its session, of its ticker, and of the session in which its label is late known.

    A ticker may pause: its label then ends later than horizon + 1 sessions of the panel, which the purge allows for;
    -1 where it does not.
    """
    if matrix.tickers == [matrix.name]:
        row = np.arange(len(labelled))
        return row, np.zeros_like(row), np.full_like(row, -1)
    session = matrix.X.index.get_level_values("session").to_series(matrix.X.index)
    known = session.groupby(level="ticker").shift(-(matrix.horizon + 1)).loc[labelled]
    days, tickers = (labelled.get_level_values(level) for level in ("session", "ticker"))
    calendar = days.unique().sort_values()
    place, end = calendar.searchsorted(days), calendar.searchsorted(known)
    return place, tickers.factorize(sort=True)[0], np.where(end > place + matrix.horizon + 1, end, -1)


def of_name(matrix: Matrix, protocol: Protocol, name: str) -> tuple[Matrix, "pd.Series[float]", list[Fold], Rows, Rows]:
    """One name of a panel, its labels, the folds of the panel, and of each label its session and when it is late known.

    The folds count the sessions of the panel: a name that was not there from the first to the last has fewer of its
    own. Of one ticker all this is its own.
    """
    y = matrix.y.dropna()
    session, _, late = places(matrix, y.index)
    cuts = protocol.split.split(session[-1] + 1, matrix.horizon, matrix.X.shape[1])
    own = matrix.of(name)
    rows = np.flatnonzero(y.index.get_level_values("ticker") == name) if y.index.nlevels > 1 else np.arange(len(y))
    return own, own.y.dropna(), [*cuts], session[rows], late[rows]


def in_words(spec: ModelSpec, tickers: list[str], protocol: Protocol) -> str:
    """What a model is of, and what it sees; empty for one ticker."""
    if len(tickers) == 1:
        return ""
    own = alone(spec, protocol)
    said = f"one model {'for each of' if own else 'of'} {len(tickers)} tickers"
    effects = " with name effects" if protocol.panel == "hierarchical" and not own else ""
    return said + effects + (", features ranked" if protocol.ranked and not spec.reads_returns else "")


def pooled_figures(forecasts: list[pd.DataFrame], horizon: int) -> dict[str, float]:
    """What a model says and earns on a panel as a whole.

    `sharpe`: annual, net, of equal shares in every ticker's positions. `ic_by_session`: mean over sessions of the rank
    correlation across tickers of forecast and outcome, per unit of volatility, and its HAC t; NaN below five tickers.
    """
    net = pd.concat([f["net"] for f in forecasts], axis=1).mean(axis=1)
    said, earned = (pd.concat([f[c] / f["scale"] for f in forecasts], axis=1).rank(axis=1) for c in ("forecast", "y"))
    ranks = said.corrwith(earned, axis=1).dropna() if len(forecasts) >= 5 else pd.Series(dtype=float)
    ic, t = (ranks.mean(), metrics.newey_west_t(ranks, 2 * horizon)) if len(ranks) else (np.nan, np.nan)
    return {"sharpe": metrics.sharpe(net), "ic_by_session": float(ic), "ic_by_session_t": float(t)}
