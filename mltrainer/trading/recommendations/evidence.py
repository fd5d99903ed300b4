"""Does any model know where a share will go? What the ledger shows by a day, and what the model then says.

A view counts only if its trial's last outcome was known on that day, at most a year before, and the verdict among all
trials, cut to what was known on that day, shows skill. The ledger is the one there is now: what was tried since is
luck too, so it may take a view back and never give one.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mltrainer.errors import MltrainerError, Unavailable
from mltrainer.evaluation import judgments, skill, study, trials
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Evidence
from mltrainer.settings import settings
from mltrainer.trading.alerts.watching import MEMORY
from mltrainer.trust.provenance import Dataset

FRESH = 252  # sessions for which evidence counts
TARGET = "return"


@dataclass(frozen=True)
class Knowledge:
    """What is known of a share's return.

    Attributes
    ----------
    model, verdict : of the strongest evidence; "" where there is none. `words` say it either way.
    mean, lower, upper : the model's forecast of the return over the horizon, with its interval of chance `level`.
    score, confidence : 0 to 100: share of the last 252 forecasts per volatility that lay lower, and of the last
        matured errors with which the sign would stay; NaN without evidence.
    """

    words: str
    model: str = ""
    verdict: str = ""
    mean: float = float("nan")
    lower: float = float("nan")
    upper: float = float("nan")
    level: float = 0.9
    score: float = float("nan")
    confidence: float = float("nan")


def known(bars: Dataset, horizon: int) -> Knowledge:
    """What the ledger shows of the return of a share, by the last session of its bars."""
    sessions = pd.DatetimeIndex(bars.frame.index)
    rows = _own(bars.name, horizon)
    found = [e for key in rows if (e := trials.load(key)) is not None and e.ok]
    timely = [e for e in found if _timely(e, sessions)]
    nothing = f"No model has evidence of knowing its return over {horizon} sessions"
    if not timely:
        said = {0: "none was tried"}.get(len(found), f"{len(found)} trials, none of which ended in the year before")
        return Knowledge(f"{nothing} ({said}).")
    judged = judgments.judgment(known=sessions)
    verdicts = {e.key: skill.verdict(e, judged.evidence.get(e.trial, Evidence())) for e in timely}
    skilled = [e for e in timely if skill.shows(verdicts[e.key])]
    if not skilled:
        return Knowledge(f"{nothing} ({len(timely)} tried on data up to this day).")
    best = min(skilled, key=lambda e: (judged.evidence[e.trial].p, e.model))
    try:
        return _says(best, verdicts[best.key], bars)
    except MltrainerError as error:
        return Knowledge(f"{best.model} has evidence ({skill.kinds(verdicts[best.key])}), and says nothing: {error}.")


def _own(ticker: str, horizon: int) -> list[str]:
    """Keys of the trials of a share's return, of the catalog as it is."""
    rows = trials.ledger()
    rows = rows[rows["status"].eq("ok") & rows["mode"].eq(settings().data_mode) & rows["target"].eq(TARGET)]
    rows = rows[rows["ticker"].eq(ticker) & rows["horizon"].eq(horizon) & rows["settings"].eq("")]
    return list(rows.loc[rows["trial"].eq(rows["key"]), "key"])


def _timely(evaluation: Evaluation, sessions: pd.DatetimeIndex) -> bool:
    """Whether the last outcome was known on the last session, and not long before."""
    age = len(sessions) - int(sessions.searchsorted(evaluation.forecasts.index[-1], side="right"))
    return evaluation.horizon + 1 <= age <= FRESH and evaluation.forecasts.index[-1] in sessions


def _says(evaluation: Evaluation, verdict: str, bars: Dataset) -> Knowledge:
    """Train the model on all that is known, and ask it of the last session."""
    data = study.matrix(bars, horizon=evaluation.horizon)
    model = Model(evaluation.model)
    model.train(data)
    said, session = model.predict(data), bars.frame.index[-1]
    if said.mean.index[-1] != session:
        raise Unavailable(f"its features end on {said.mean.index[-1]:%Y-%m-%d}, and not on {session:%Y-%m-%d}")
    mean, lower, upper = (float(s.iloc[-1]) for s in (said.mean, said.lower, said.upper))
    score, confidence = standing(evaluation.forecasts, mean / float(data.scale.loc[session]))
    words = (
        f"{evaluation.model} shows {verdict}; it forecasts {mean:+.2%} over {evaluation.horizon} sessions "
        f"({said.interval:.0%} interval {lower:+.2%} to {upper:+.2%})."
    )
    found = {"mean": mean, "lower": lower, "upper": upper, "level": float(said.interval)}
    return Knowledge(words, evaluation.model, verdict, **found, score=score, confidence=confidence)


def standing(forecasts: pd.DataFrame, now: float) -> tuple[float, float]:
    """Score and confidence, 0 to 100, of a forecast per volatility among the last 252 of an evaluation."""
    per = (forecasts["forecast"] / forecasts["scale"]).tail(MEMORY)
    errors = ((forecasts["y"] - forecasts["forecast"]) / forecasts["scale"]).dropna().tail(MEMORY)
    return 100 * float((per <= now).mean()), 100 * float((np.sign(now + errors) == np.sign(now)).mean())
