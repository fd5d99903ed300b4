"""The call of a factor's tear sheet: by the name of a feature or a model, or by values of one's own."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from mltrainer.data.dates import Day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, Unavailable, UnknownName
from mltrainer.evaluation import study
from mltrainer.evaluation.crosssection import LEAST, Frame
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.tearsheet import TearSheet, wide
from mltrainer.features import macro
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec


def factor(
    name: str | ModelSpec | Frame | Sequence[Evaluation],
    data: study.Data | Sequence[study.Data] | Universe,
    *,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    q: int = 5,
    cost_bps: float = 5.0,
    share: float = 0.01,
    protocol: Protocol | None = None,
    jobs: int = 1,
) -> TearSheet:
    """Judge a factor across the names of a universe: IC, decay, quantiles, portfolios net of costs, capacity.

    Parameters
    ----------
    name : a feature of the panel ("momentum_252_21"); a model of the catalog, whose out-of-sample forecasts of the
        panel are the factor (a trial in the ledger like any other); its results from `evaluate`; or a frame of your
        own, sessions x tickers, which is labelled as of unproven origin.
    data : a `universe`, a list of at least five tickers, or a panel from `matrix`.
    horizon, start, end : as for `matrix`.
    q : quantiles a session is divided into.
    cost_bps : cost per side of what is traded.
    share : share of a session's volume that the portfolio may be, for its capacity.
    protocol, jobs : of a model, as for `evaluate`.

    Returns
    -------
    TearSheet
        `sentence()` is the finding; `ic`, `decay`, `by_quantile`, `pays`, `turnover`, `names` are its tables.

    Raises
    ------
    UnknownName
        Neither a feature of this panel nor a model.
    BadInput
        Fewer than five names; a feature that is the same for all of them.
    """
    panel = study.matrix(data, horizon=horizon, start=start, end=end)
    if len(panel.tickers) < LEAST:
        raise BadInput(f"a factor is judged across at least {LEAST} names, and this is {len(panel.tickers)}; give more")
    if not 0 < share <= 1 or not 0 <= cost_bps <= 10_000:
        raise BadInput(f"share={share:g} of volume and cost_bps={cost_bps:g} cannot be; give 0 to 1, and 0 to 10,000")
    if not 2 <= q <= len(panel.tickers):
        raise BadInput(f"{q} quantiles of {len(panel.tickers)} names cannot be told apart; give 2 to {LEAST}")
    said, of, values, among = _found(name, panel, protocol, jobs)
    if of != "model" and protocol is not None and protocol.of_panels:
        raise BadInput(f"protocol {protocol.of_panels} is of a model that is fitted, and {said} is not; leave it out")
    return TearSheet(said, of, panel, values, panel.horizon, q, cost_bps, share, among)


def _found(name: Any, panel: Matrix, protocol: Protocol | None, jobs: int) -> tuple[str, str, Frame, int]:
    """What a factor is called, of what it is, its values, and among how many it is."""
    if isinstance(name, pd.DataFrame):
        return "own factor", "own", _own(name, panel), 1
    features = [c for c in panel.X if c not in macro.COMMON]
    if isinstance(name, str) and name in panel.X:
        if name not in features:
            raise BadInput(f"{name} is the same for all names of a session and orders none; take one of a share")
        return name, "feature", wide(panel.X[name]), len(features)
    if isinstance(name, str) and name in panel.unavailable:
        raise Unavailable(f"{panel.name[:60]} has no feature {name}: {panel.unavailable[name]}")
    models = [spec.name for spec in catalog.specs()]
    if isinstance(name, str) and name not in models:
        raise UnknownName.of("factor", name, [*map(str, features), *models])
    results = (
        name if not isinstance(name, str | ModelSpec) else study.evaluate([name], panel, protocol=protocol, jobs=jobs)
    )
    return _model(results, panel)


def _model(results: Sequence[Evaluation], panel: Matrix) -> tuple[str, str, Frame, int]:
    if not results or len({e.model for e in results}) != 1:
        raise BadInput("a factor is of one model; give the results of one, a result per ticker")
    if broken := [e for e in results if not e.ok]:
        raise BadInput(f"{broken[0].model} has no honest forecasts of {broken[0].ticker}: {broken[0].reason}")
    foreign = {e.ticker for e in results} - set(panel.tickers)
    if foreign or {e.horizon for e in results} != {panel.horizon}:
        raise BadInput(f"these results are not of this panel of horizon {panel.horizon}; evaluate the model on it")
    values = pd.DataFrame({e.ticker: e.forecasts["forecast"] for e in results}).sort_index()
    return results[0].model, "model", values.rename_axis("session"), len(catalog.specs())


def _own(frame: Frame, panel: Matrix) -> Frame:
    sessions = panel.X.index.unique("session")
    names = [t for t in panel.tickers if t in frame]
    if len(names) < LEAST or not frame.index.isin(sessions).any() or not frame.index.is_unique:
        raise BadInput(
            f"a factor of your own is a frame of sessions x tickers; {len(names)} of its columns are names here"
        )
    rows = frame.loc[frame.index.isin(sessions), names].sort_index()
    return rows.astype(float).rename_axis("session")
