"""One fit on all that is known: what a training learns of a matrix, and what that says of later sessions.

It is the last fit of a walk-forward whose test block has not happened yet: the same rows, scaling and name effects.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation.panels import alone, bounded, checked, members, places
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.scaling import Scaling, arrays
from mltrainer.evaluation.splits import MINIMUM_TRAIN, Rows
from mltrainer.evaluation.walk import Fit, fit
from mltrainer.features import targets
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.models.forecasters import deviation

State = dict[str, Any]


def can_learn(spec: ModelSpec, data: Matrix, protocol: Protocol) -> None:
    """Refuse what a model, a target or a protocol cannot do with this matrix, in one line."""
    checked(data, protocol)
    if data.target != "return" and spec.reads_returns:
        raise BadInput(f"{spec.name} reads past returns and forecasts those to come, not {data.aim.title}")
    if data.aim.cross_sectional and len(data.tickers) < targets.LEAST_NAMES:
        least = f"at least {targets.LEAST_NAMES}, and this is {len(data.tickers)}"
        raise BadInput(f"target {data.target} is of names side by side: {least}")
    if protocol.ranked and spec.reads_returns:
        raise BadInput(f"{spec.name} reads past returns as they are and can do nothing with ranks; leave ranked out")
    if protocol.panel == "hierarchical" and spec.in_order:
        lives = f"{spec.name} lives in the history of one share and is fitted to each, so that no fit is pooled"
        raise BadInput(f"{lives} which name effects could be added to; leave panel out")
    if (window := protocol.learning.get("window")) is not None and window < MINIMUM_TRAIN:
        raise BadInput(f"window={window}: learn from at least {MINIMUM_TRAIN} rows")


def learned(spec: ModelSpec, data: Matrix, protocol: Protocol) -> tuple[Any, State]:
    """Fit on every labelled row that the protocol's window holds and the model bears.

    Returns
    -------
    The estimator, or where each name has a model of its own a dict of them by name; and what it learned, of its state.
    """
    y = data.y.dropna()
    session, ticker, _ = places(data, y.index)
    X, unit = arrays(spec, data, y.index, protocol.ranked)
    z, said = y.to_numpy(float) / unit, np.full(len(y), np.nan)
    window = protocol.learning.get("window", session[-1] + 1)
    fits: dict[str, Fit] = {}
    used: dict[str, Rows] = {}
    for own, every in members(spec, data, y.index, ticker, protocol):
        rows, _ = bounded(every[session[every] > session[-1] - window], session, spec.max_train_rows)
        if len(rows) < MINIMUM_TRAIN:
            few = f"{own.name} has {len(rows)} labelled rows to learn from, and a model takes at least {MINIMUM_TRAIN}"
            raise NotEnoughHistory(f"{few}; leave the name out, or fit the names together")
        fits[own.name] = found = fit(spec, own, X[rows], z[rows], session[rows], ticker[rows], protocol)
        used[own.name] = rows
        if not spec.series:  # a series model carries its state forward and cannot go back to its own past
            said[rows] = found.recalled(X[rows]) + found.raised(ticker[rows])
    rows = np.sort(np.concatenate([*used.values()]))
    state: State = {
        "columns": X.shape[1],
        "features": list(map(str, spec.columns or data.X.columns)),
        "trained_from": _day(y, rows[0]),
        "trained_to": _day(y, rows[-1]),
        "rows": len(rows),
        "r2": None if spec.series else metrics.r2(z[rows], said[rows]),
    }
    if len(data.tickers) > 1 and alone(spec, protocol):
        ends = {name: _day(y, own[-1]) for name, own in used.items()}
        each = {name: found.scaling.record for name, found in fits.items()}
        return {name: found.estimator for name, found in fits.items()}, state | {"scaling": each, "ends": ends}
    (found,) = fits.values()
    if len(found.effects):
        names = sorted(y.index.unique("ticker"))  # one that left before the window has no effect
        state["effects"] = dict(zip(names, found.raised(np.arange(len(names))).tolist(), strict=True))
    return found.estimator, state | {"scaling": found.scaling.record}


def forecasts(spec: ModelSpec, estimator: Any, state: State, data: Matrix) -> dict[str, "pd.Series[float]"]:
    """What a trained model says of the sessions after its training, in units of the target.

    Returns
    -------
    The mean, and what the model gives beside it (deviation, quantile), each by session, of a panel by session and name.
    """
    # a later matrix may have more features than the model was trained on
    table = replace(data, X=data.X[state["features"]])
    end, days = pd.Timestamp(state["trained_to"]), data.X.index.get_level_values("session")
    out: list[pd.DataFrame] = []
    for name, fitted in _fits(estimator, state).items():
        if name and name not in data.tickers:
            continue
        begin = pd.Timestamp(state["ends"][name]) if name else end
        own = data.X.index.get_level_values("ticker") == name if name and len(data.tickers) > 1 else np.True_
        if spec.follows and not (own & (days == begin)).any():
            missing = f"{spec.name} follows one session after the other, and this matrix lacks {begin.date()} of"
            raise BadInput(f"{missing} {name or data.name}, where the training ended; build it from an earlier start")
        rows = data.X.index[own & (days > begin)]
        if len(rows):
            out.append(_said(spec, fitted, state, table, rows))
    found = pd.concat(out) if len(out) > 1 else out[0]
    after = data.X.index[days > end]
    return {str(name): found[name].loc[after] for name in found}


def _said(spec: ModelSpec, fitted: Fit, state: State, data: Matrix, rows: pd.Index) -> pd.DataFrame:
    """What one fit says of rows that follow its train rows."""
    X, unit = arrays(spec, data, rows, Protocol.of(**state.get("protocol", {})).ranked)
    z = data.y.loc[rows].to_numpy(float) / unit
    effects = state.get("effects", {})
    raised = np.array([effects.get(t, 0.0) for t in rows.get_level_values("ticker")]) if effects else 0.0
    found = {"mean": fitted.carried(spec, X, z, data.horizon)}
    if "quantile" in spec.gives:
        found["quantile"] = fitted.quantile(X)
    out = {name: np.clip((said + raised) * unit, *data.aim.bounds) for name, said in found.items()}
    if "deviation" in spec.gives:
        seen = fitted.scaling.features(X)
        out["deviation"] = deviation(fitted.estimator, seen) * fitted.scaling.deviation * unit
    return pd.DataFrame(out, index=rows)


def _fits(estimator: Any, state: State) -> dict[str, Fit]:
    """The fits of a kept model: of each name, or one under "" of all."""
    if isinstance(estimator, dict):
        return {name: Fit(Scaling(**state["scaling"][name]), estimator[name], np.zeros(0)) for name in estimator}
    return {"": Fit(Scaling(**state["scaling"]), estimator, np.zeros(0))}


def _day(y: "pd.Series[float]", row: int) -> str:
    return str(y.index.get_level_values("session")[row].date())
