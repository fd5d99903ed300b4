"""Who may speak: the models that are shown to beat every plain forecast, else the plain forecast itself.

All that the ledger knows of a question is cut at the day that is asked about: the losses of forecasts whose outcome was
known by then, of models and of plain forecasts, over the same sessions, go into one model confidence set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from mltrainer import metrics
from mltrainer.errors import BadInput, UnknownName
from mltrainer.evaluation import projects, study, trials
from mltrainer.evaluation.baselines import BASELINES, LOSSES, PREFIX, baselines, known_mean
from mltrainer.evaluation.panels import places
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog

LEAST = 252  # sessions that must have been judged before a model may speak
MOST = 10  # models that speak together; of more in the set, those with the smallest loss
SIZE = 0.10  # of the model confidence set
USUAL = ("HAR", "mean", "zero")  # the plain forecast that is taken as long as another is not shown to be better


@dataclass(frozen=True)
class Speakers:
    """Who speaks, and what they said of the past out of sample.

    Attributes
    ----------
    weights : name -> weight, of models, or of one plain forecast.
    dropped : name -> why it does not speak.
    past : (n, k) by session whose outcome was known: y, scale, `center` (see `center`), and a column for each speaker.
    rival : plain forecast that they are measured against.
    plain : whether the plain forecast speaks.
    evaluations : name -> address of the trial.
    """

    weights: dict[str, float]
    dropped: dict[str, str]
    past: pd.DataFrame
    rival: str
    reason: str
    plain: bool
    evaluations: dict[str, str]

    def without(self, name: str, why: str) -> "Speakers":
        """The others, of equal weight, where a model could not be asked."""
        left = [n for n in self.weights if n != name]
        weights = dict.fromkeys(left, 1 / len(left)) if left else {}
        return Speakers(weights, self.dropped | {name: why}, self.past, self.rival, self.reason, self.plain,
                        {n: k for n, k in self.evaluations.items() if n != name})  # fmt: skip

    @property
    def said(self) -> "pd.Series[float]":
        """What all of them together said of the past."""
        return (self.past[list(self.weights)] * pd.Series(self.weights)).sum(axis=1)


def choose(
    matrix: Matrix, protocol: Protocol, models: Sequence[str] | None = None, project: str | None = None
) -> Speakers:
    """Who may speak of a matrix of one ticker, by what was known at its last row.

    Parameters
    ----------
    models : only these of the catalog; what the ledger does not know of them is evaluated, and so a trial. Default all
        that the ledger knows of the question.
    """
    return among(matrix, plain_past(matrix, protocol), *judged(matrix, protocol, models, project))


def among(matrix: Matrix, plain: pd.DataFrame, found: dict[str, Evaluation], dropped: dict[str, str]) -> Speakers:
    """Who may speak of the plain forecasts and of the results of models there are."""
    said = {name: e.forecasts[["y", "forecast"]] for name, e in found.items()}
    models_said, apart = comparable(said, plain)
    dropped = dropped | apart
    names = list(matrix.aim.baselines)
    table = plain.loc[models_said.index].join(models_said) if len(models_said.columns) else plain
    losses = pd.DataFrame({c: LOSSES[matrix.aim.loss](table, c) for c in [*names, *models_said]})
    held = metrics.confidence_set(losses.to_numpy(), overlap=matrix.horizon, size=SIZE)
    inside = {str(name): bool(h) for name, h in zip(losses, held, strict=True)}
    usual = _usual(names, inside, losses.mean())
    if any(inside[n] for n in names):
        return _plainly(matrix, plain, usual, losses, dropped)
    return _models(table, losses, inside, usual, dropped, found)


def usual_of(names: Sequence[str]) -> str:
    """The plain forecast that is taken as long as another is not shown to be better."""
    return next((n for n in USUAL if n in names), names[0])


def _usual(names: list[str], inside: dict[str, bool], loss: "pd.Series[float]") -> str:
    """The usual plain forecast, or the best of them where it is shown to be worse than another."""
    usual = usual_of(names)
    within = [n for n in names if inside[n]] or names
    return usual if usual in within else str(loss[within].idxmin())


def rival_of(plain: str, names: Sequence[str]) -> str:
    """What a plain forecast is itself held against: the mean of the past, else the next plainest."""
    return next((n for n in ("mean", "zero", *names) if n in names and n != plain), plain)


def _plainly(
    matrix: Matrix, plain: pd.DataFrame, usual: str, losses: pd.DataFrame, dropped: dict[str, str]
) -> Speakers:
    aim, loss = matrix.aim, losses.mean()
    models = [str(c) for c in losses if c not in aim.baselines]
    why = {
        n: f"not shown to beat {usual}: {loss[n] / loss[usual] - 1:+.1%} of its loss" if loss[usual] else "no better"
        for n in models
    }
    judged = f"none of {len(models)} models beats it" if models else "no model was evaluated on this question"
    reason = f"the plain forecast {usual}, as {judged}"
    rival = rival_of(usual, aim.baselines)
    return Speakers({usual: 1.0}, dropped | why, plain, rival, reason, True, {})


def _models(
    table: pd.DataFrame, losses: pd.DataFrame, inside: dict[str, bool], usual: str, dropped: dict[str, str],
    found: dict[str, Evaluation],
) -> Speakers:  # fmt: skip
    loss = losses.mean().sort_values()
    within = [str(n) for n in loss.index if inside[n]]
    dropped = dropped | {
        str(n): f"outside the {1 - SIZE:.0%} model confidence set" for n in loss.index if not inside[n]
    }
    dropped |= dict.fromkeys(within[MOST:], f"in the set, behind the {MOST} with the smallest loss")
    names = within[:MOST]
    reason = f"{len(names)} of {len(found)} models, which beat {usual} and cannot be told apart"
    addresses = {n: found[n].key for n in names}
    return Speakers(dict.fromkeys(names, 1 / len(names)), dropped, table, usual, reason, False, addresses)


def comparable(said: dict[str, pd.DataFrame], plain: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Forecasts of the models that were judged over the same sessions as most, whose outcomes are those of the data."""
    dropped: dict[str, str] = {}
    spans: dict[tuple[object, ...], dict[str, pd.Series]] = {}
    for name, frame in said.items():
        known = frame[frame.index.isin(plain.index)]
        if len(known) < LEAST:
            dropped[name] = f"judged over {len(known)} of these sessions, and {LEAST} are needed"
        elif not np.allclose(known["y"], plain["y"].loc[known.index], rtol=1e-9, atol=1e-9):
            dropped[name] = "judged on other outcomes than the data now has"
        else:
            key = (len(known), known.index[0], known.index[-1])
            spans.setdefault(key, {})[name] = known["forecast"]
    if not spans:
        return pd.DataFrame(index=plain.index), dropped
    most = max(spans, key=lambda key: (len(spans[key]), key))
    dropped |= {n: "judged over other sessions than most" for key in spans if key != most for n in spans[key]}
    return pd.DataFrame(spans[most]), dropped


def judged(
    matrix: Matrix, protocol: Protocol, models: Sequence[str] | None, project: str | None
) -> tuple[dict[str, Evaluation], dict[str, str]]:
    """Results of the ledger for the question of a matrix, one a model; and why others cannot speak."""
    assert matrix.provenance is not None
    rows = trials.ledger()
    same = {"ticker": matrix.name, "horizon": matrix.horizon, "target": matrix.target}
    for column, value in {**same, "mode": matrix.provenance.mode, "status": "ok"}.items():
        rows = rows[rows[column] == value]
    if models is not None:
        _evaluated(matrix, protocol, models, project)
        rows = trials.ledger()
        rows = rows[(rows["matrix"] == matrix.provenance.content_sha256) & (rows["status"] == "ok")]
        rows = rows[rows["model"].isin(models)]
    found: dict[str, Evaluation] = {}
    dropped: dict[str, str] = {}
    for name, own in rows.sort_values("seq", ascending=False).groupby("model", sort=True):
        why = _unfit(str(name), own, matrix, protocol)
        alone = own[(own["trial"] == own["key"]) & (own["settings"] == _settings(str(name), matrix, protocol))]
        held = [e for key in alone["key"] if (e := trials.load(key)) is not None]
        # of several the one that says most of these sessions, the newest of equals: a short one must not silence it
        opened = max(held, key=lambda e: int(e.forecasts.index.isin(matrix.X.index).sum()), default=None)
        if why or opened is None:
            dropped[str(name)] = why or "its result is lost; mltrainer evaluate makes it again"
        else:
            found[str(name)] = opened
    return found, dropped


def _evaluated(matrix: Matrix, protocol: Protocol, models: Sequence[str], project: str | None) -> None:
    if isinstance(models, str):
        raise BadInput(f"models is a list of names; write [{models[:60]!r}]")
    for name in models:
        catalog.spec(name)
    study.evaluate(list(models), matrix, protocol=protocol, project=project)


def _settings(name: str, matrix: Matrix, protocol: Protocol) -> str:
    try:
        return projects.differences(catalog.spec(name), matrix, protocol)
    except UnknownName:
        return ""


def _unfit(name: str, own: pd.DataFrame, matrix: Matrix, protocol: Protocol) -> str:
    """Why a model whose trials these are cannot be fitted anew as it was judged; empty where it can."""
    try:
        spec = catalog.spec(name)
    except UnknownName:
        return "is not of the catalog, and is not fitted anew here"
    if not spec.available:
        return spec.why_unavailable
    alone = own["trial"] == own["key"]
    if not alone.any():
        return "was judged as one of a panel"
    same = own["settings"] == projects.differences(spec, matrix, protocol)
    return "" if (alone & same).any() else f"was judged with other settings ({own['settings'].iloc[0]})"


# --- plain forecasts ------------------------------------------------------------------------------------------


def plain_past(matrix: Matrix, protocol: Protocol) -> pd.DataFrame:
    """Out-of-sample forecasts of every baseline of the target, (n, k) by session; y, scale and center beside them."""
    y = matrix.y.dropna()
    session, ticker, late = places(matrix, y.index)
    cuts = list(protocol.split.split(session[-1] + 1, matrix.horizon, matrix.X.shape[1]))
    tested = np.zeros(len(y), dtype=bool)
    tested[np.concatenate([cut.test for cut in cuts])] = True
    found = baselines(matrix, y, cuts, session, ticker, late).rename(columns=lambda c: str(c).removeprefix(PREFIX))
    mean = known_mean(y.to_numpy(float), matrix.horizon)
    found = found.assign(y=y, scale=matrix.scale.loc[y.index], center=_center(matrix, mean), mean=mean)
    return found[tested]


def _center(matrix: Matrix, mean: np.ndarray) -> np.ndarray:
    return np.full(len(mean), matrix.aim.center) if matrix.aim.pays == "sign" else mean


def plain_now(matrix: Matrix, name: str) -> float:
    """What a baseline says of the last row, learned from every label that was known by then."""
    row, y, last = BASELINES[name], matrix.y, matrix.past.iloc[[-1]]
    if not row.columns:
        return mean_now(matrix) if name == "mean" else 0.0
    columns = list(row.columns)
    if not row.fitted:
        value = float(last[columns[0]].iloc[0])
    else:
        known = y.notna()
        fitted = LinearRegression().fit(matrix.past.loc[known, columns].to_numpy(float), y[known].to_numpy(float))
        value = float(fitted.predict(last[columns].to_numpy(float))[0])
    return float(np.clip(value, *matrix.aim.bounds))


def mean_now(matrix: Matrix) -> float:
    """Mean of all labels known at the last row."""
    return float(known_mean(matrix.y.to_numpy(float), matrix.horizon)[-1])


def center_now(matrix: Matrix) -> float:
    """What parts the two sides at the last row: see `Forecast.center`."""
    return float(matrix.aim.center) if matrix.aim.pays == "sign" else mean_now(matrix)
