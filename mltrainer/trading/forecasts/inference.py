"""From the latest data to one forecast: features, who may speak, what they say, how far off and how sure."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from mltrainer import metrics
from mltrainer.data import market
from mltrainer.data.dates import Day, day
from mltrainer.data.quality.case import exchange_sessions
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, Partial, Unavailable
from mltrainer.evaluation import lifecycle, projects, study
from mltrainer.evaluation.conformal import LATEST, platt
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.trading import conformal_interval
from mltrainer.features.matrix import Matrix
from mltrainer.trading.forecasts import ledger, speakers
from mltrainer.trading.forecasts.record import Forecast
from mltrainer.trading.forecasts.speakers import Speakers
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

LEAST = 100  # past errors below which neither an interval nor a confidence is stated


def forecast(
    data: "str | Dataset | Sequence[str | Dataset] | Universe",
    *,
    target: str = "return",
    horizon: int = 5,
    as_of: Day = None,
    models: Sequence[str] | None = None,
    protocol: Protocol | None = None,
    commit: bool = True,
    project: str | None = None,
) -> Any:
    """Say what comes next, as far as there is evidence that anybody knows, and commit it before its outcome.

    Parameters
    ----------
    data : a ticker or its bars; a list of them, or a universe, gives a list.
    target : what is forecast, a name of `features.targets.TARGETS` but "rank", which is of names side by side.
    horizon : sessions, 1 to 63.
    as_of : the last session that is used, or the last before that day; default the last there is. What is said as of a
        day is what a run on that day would have said, bit for bit; the ledger of trials is the one there is now, cut
        to the outcomes known by then.
    models : names of the catalog that may speak if they are shown to beat every plain forecast; they are evaluated if
        they were not, and so are trials. Default all that the ledger knows of the question.
    protocol : whose results count, and the level of the interval; default `Protocol()`.
    commit : whether to write it to the forward ledger; a forecast that was committed before is returned as it was.
    project : a label, kept with it.

    Returns
    -------
    Forecast
        Or a list of them. Of a universe, names that the mode does not have are left out and named by a warning.

    Raises
    ------
    Refused
        In mode live, a forecast whose outcome is known already; and one that a clock put back would date before the
        last entry of the trail.
    """
    asked: dict[str, Any] = {"target": target, "horizon": horizon, "as_of": as_of, "models": models}
    asked |= {"protocol": protocol or Protocol(), "commit": commit, "project": projects.named(project)}
    if isinstance(data, Universe):
        return _of_universe(data, asked)
    if isinstance(data, list | tuple):
        if not data:
            raise BadInput("an empty list names no ticker; give at least one")
        return [_one(d, **asked) for d in data]
    return _one(data, **asked)  # type: ignore[arg-type]


def _of_universe(universe: Universe, asked: dict[str, Any]) -> list[Forecast]:
    made, lacking = [], {}
    for ticker in universe.tickers:
        try:
            made.append(_one(ticker, **asked))
        except study.ABSENT as error:
            lacking[ticker] = error
    if lacking and not made:
        raise next(iter(lacking.values()))
    if lacking:
        left = f"{len(lacking)} of {len(universe)} names of {universe.name} are left out: {', '.join(lacking)}"
        warnings.warn(f"{left} ({next(iter(lacking.values()))})", Partial, stacklevel=3)
    return made


def _one(
    data: str | Dataset, *, target: str, horizon: int, as_of: Day, models: Sequence[str] | None, protocol: Protocol,
    commit: bool, project: str,
) -> Forecast:  # fmt: skip
    if target == "rank":
        raise BadInput("target 'rank' is of names side by side; ask 'excess' of one share, or mt.evaluate of a panel")
    matrix = latest_matrix(data, target, horizon, as_of)
    made = said_of(matrix, protocol, models, project)
    if not commit:
        return made
    newest = market.bars(matrix.name).frame.index[-1] if as_of is not None and made.mode != "sample" else None
    return ledger.commit(made, latest=made.as_of if newest is None else str(newest.date()))


def latest_matrix(data: str | Dataset, target: str, horizon: int, as_of: Day) -> Matrix:
    """Features and labels as known at the close of a session; `Unavailable` where the features of it have gaps."""
    last = day(as_of, "as_of")
    if isinstance(data, str):
        matrix = study.matrix(data, horizon=horizon, target=target, end=last)
    elif isinstance(data, Dataset):
        gate.verify(data, "forecast")
        matrix = study.matrix(market.until(data, last), horizon=horizon, target=target)
    else:
        raise BadInput(f"{str(data)[:60]!r} is neither a ticker nor bars; a forecast takes one or a list of these")
    known = next(d for d in matrix.sources if d.kind == "bars").frame.index[-1]
    if matrix.X.index[-1] != known:
        raise Unavailable(f"{matrix.name}: the features of {known.date()}, the last session, have gaps; see mt.quality")
    return matrix


def said_of(matrix: Matrix, protocol: Protocol, models: Sequence[str] | None = None, project: str = "") -> Forecast:
    """What may be said of the last row of a sealed matrix; nothing is committed."""
    origin = gate.verify(matrix, "forecast")
    chosen = speakers.choose(matrix, protocol, models, project)
    chosen, now = asked(matrix, chosen, protocol)
    value = sum(chosen.weights[name] * said for name, said in now.items())
    session = matrix.X.index[-1]
    return Forecast(
        ticker=matrix.name, target=matrix.target, horizon=matrix.horizon, as_of=str(session.date()),
        known_on=after(session, matrix.aim.purge(matrix.horizon)), forecast=float(value), interval=protocol.interval,
        models=chosen.weights, dropped=chosen.dropped, baseline=chosen.rival,
        baseline_forecast=speakers.plain_now(matrix, chosen.rival), reason=chosen.reason,
        inputs=(origin.content_sha256, *_roots(matrix)), evaluations=tuple(chosen.evaluations.values()),
        mode=origin.mode, project=project, **figures(matrix, chosen, float(value), protocol),
    )  # fmt: skip


def figures(matrix: Matrix, chosen: Speakers, value: float, protocol: Protocol) -> dict[str, Any]:
    """What is said beside a value: center, confidence, bounds and how often they held, from so many past errors."""
    scale, center = float(matrix.scale.iloc[-1]), speakers.center_now(matrix)
    past = chosen.past.assign(forecast=chosen.said)
    past = past[past[["y", "forecast"]].notna().all(axis=1)]
    sure = {"center": center, "confidence": confidence(past, value, scale, center), "past": len(past)}
    return sure | around(past, value, scale, matrix, protocol)


def _roots(matrix: Matrix) -> list[str]:
    return sorted({origin.content_sha256 for origin in gate.roots(matrix)} - {matrix.fingerprint()})


def asked(matrix: Matrix, chosen: Speakers, protocol: Protocol) -> tuple[Speakers, dict[str, float]]:
    """What each speaker says of the last row; a model that fails falls out, and with the last the plain one speaks."""
    if chosen.plain:
        return chosen, {name: speakers.plain_now(matrix, name) for name in chosen.weights}
    said: dict[str, float] = {}
    for name in list(chosen.weights):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as of a fit in an evaluation; the trial's record holds them
                said[name] = float(lifecycle.Model(name).train(matrix).predict(matrix).mean.iloc[-1])
        except Exception as error:  # any model's failure is a result to show, as in an evaluation
            first = (str(error).strip().splitlines() or [""])[0]
            chosen = chosen.without(name, f"could not be fitted: {type(error).__name__}: {first}"[:300])
    if said:
        return chosen, said
    past = speakers.plain_past(matrix, protocol)
    reason = f"the plain forecast {chosen.rival}, as no model that beats it could be fitted"
    chosen = replace(chosen, weights={chosen.rival: 1.0}, past=past, reason=reason, plain=True)
    return chosen, {chosen.rival: speakers.plain_now(matrix, chosen.rival)}


def around(past: pd.DataFrame, value: float, scale: float, matrix: Matrix, protocol: Protocol) -> dict[str, float]:
    """Conformal bounds from the latest errors whose outcome is known, and how often bounds made so held."""
    nothing = {"low": np.nan, "high": np.nan, "coverage": np.nan}
    if matrix.target == "direction":  # whose outcome is 0 or 1: the probability itself says how sure
        return nothing
    errors = ((past["y"] - past["forecast"]).abs() / past["scale"]).to_numpy(float)[-LATEST:]
    radius = metrics.conformal_radius(errors, protocol.interval, least=LEAST) * scale
    if not np.isfinite(radius):
        return nothing
    lower, upper = conformal_interval(past, matrix.horizon, protocol.interval)
    held = metrics.coverage(past["y"], lower, upper)
    return {"low": float(value - radius), "high": float(value + radius), "coverage": held}


def confidence(past: pd.DataFrame, value: float, scale: float, center: float) -> float:
    """Probability, by Platt's calibration on past forecasts, of an outcome on the forecast's side of its center."""
    if len(past) < LEAST:
        return float("nan")
    score = ((past["forecast"] - past["center"]) / past["scale"]).to_numpy(float)
    slope, intercept = platt(score, (past["y"] > past["center"]).to_numpy())
    up = float(expit(intercept + slope * (value - center) / scale))
    return up if value >= center else 1 - up


def after(session: pd.Timestamp, sessions: int) -> str:
    """The day so many sessions of the exchange after one."""
    calendar = exchange_sessions(session.year + 1)
    place = int(calendar.searchsorted(session.as_unit(calendar.unit), side="right")) + sessions - 1
    return str(calendar[place].date())
