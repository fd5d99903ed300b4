"""Which models have evidence in the regime that holds now? Every model in every regime is one more trial.

There are five ways to part time, and whoever asks for one could have asked for the others until one says yes. So the
trials of all five are tested together, whichever is shown (`by_regime`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.errors import BadInput
from mltrainer.evaluation import skill, trials
from mltrainer.evaluation.baselines import loss_difference
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.significance import SIZE
from mltrainer.evaluation.skill import Question, Trial
from mltrainer.features import targets
from mltrainer.settings import settings
from mltrainer.trading.regimes.history import Regimes

KNOWN = 2  # sessions from the close at which a position is decided to the last session in which it may begin to earn
COLUMNS = "model target horizon regime sessions ic sharpe t_knows p_knows t_pays p_pays evidence key".split()
CHOICES = ("volatility", "trend", "volume", "regime", "economy")


@dataclass(frozen=True)
class Chosen:
    """Models by regime, and those that have evidence in the one that holds.

    Attributes
    ----------
    rows : columns `COLUMNS`: a row for each result and regime of `column`, with p adjusted for those of all five.
    column, now, session : which regime, its label at the last session (None where nothing is known), that session.
    trials : how many there were, results times regimes of all five columns, with those that are lost.
    """

    rows: pd.DataFrame
    column: str
    now: str | None
    session: str
    trials: int

    @property
    def models(self) -> list[str]:
        """Models with evidence in the regime that holds now, the strongest first; often none."""
        mine = self.rows[self.rows["evidence"] & (self.rows["regime"] == self.now)]
        return list(dict.fromkeys(mine.sort_values(["p_knows", "p_pays"], kind="stable")["model"]))

    def sentence(self) -> str:
        """Say which, or that none has."""
        if self.now is None:
            return f"Nothing is known of {self.column} on {self.session}, so no model is chosen."
        held = f"{self.column} {self.now}, {self.session}"
        if self.models:
            return f"In {held}, with evidence among {self.trials} trials by regime: {', '.join(self.models)}."
        elsewhere = sorted(set(self.rows.loc[self.rows["evidence"], "regime"]))
        more = f"; there is some in {', '.join(elsewhere)}" if elsewhere else ""
        return f"In {held}, no model has evidence among {self.trials} trials by regime{more}."

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        head = {"column": self.column, "now": self.now, "session": self.session, "trials": self.trials}
        rows = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        return head | {"models": self.models, "sentence": self.sentence(), "rows": rows}

    def __repr__(self) -> str:
        return f"Chosen({self.sentence()})"


def chosen(found: Regimes, evaluations: Iterable[Evaluation] | None = None, *, column: str = "volatility") -> Chosen:
    """Choose the models that have evidence in the regime that holds on the last session.

    Parameters
    ----------
    found : regimes of a ticker, as of a day.
    evaluations : of that ticker; default all of the ledger, of this mode. What was forecast later does not count.
    column : which regime: "volatility", "trend", "volume", "regime" or "economy".

    Returns
    -------
    Chosen

    Notes
    -----
    A model that knows nothing in all of time may know something in one regime by luck: three regimes are three times
    as many trials, those of the other columns come on top, and all of them are tested together (`skill.judge`).
    A forecast belongs to the regime at its
    close; what a position earns belongs to that two sessions before, when it was decided.
    """
    if column not in CHOICES or column not in found.history:
        raise BadInput(f"{str(column)[:60]!r} is no regime of {found.data.name}; there are {', '.join(CHOICES)}")
    name, labels = found.data.name, found.history[column]
    known = _of_ledger(name) if evaluations is None else list(evaluations)
    for e in known:
        if e.ticker != name or e.trial != e.key:
            raise BadInput(f"{e.model} is of {e.ticker}, or of a panel; give results of {name} alone")
    gone = _lost(name) if evaluations is None else {}
    now = labels.iloc[-1]
    asked = found.history[[c for c in CHOICES if c in found.history]]
    rows, count = by_regime(known, asked, gone)
    rows = rows[rows["column"] == column].drop(columns="column").reset_index(drop=True)
    return Chosen(rows, column, None if pd.isna(now) else str(now), str(found.session.date()), count)


def by_regime(
    evaluations: Iterable[Evaluation], labels: pd.DataFrame, lost: Mapping[Question, int] | None = None
) -> tuple[pd.DataFrame, int]:
    """Test every result in every regime of every column, all together: the rows, and how many trials there were.

    Parameters
    ----------
    labels : (n, k) of the sessions, known at their close; NaN belongs to none. A regime of fewer than 252 sessions of a
        result is not tested, and has no evidence.
    lost : how many results of a question are no longer there; each counts in every regime.

    Returns
    -------
    DataFrame
        `column`, then `COLUMNS`.
    int
        How many trials.
    """
    made: dict[str, Trial] = {}
    rows: list[list[Any]] = []
    regimes = [(str(c), str(name)) for c in labels for name in sorted(labels[c].dropna().unique())]
    for e in (e for e in evaluations if e.ok and not targets.target(e.target).cross_sectional):
        frame = e.forecasts.loc[: labels.index[-1]]
        known = frame.index.isin(labels.index[: len(labels) - targets.target(e.target).purge(e.horizon)])
        then, before = labels.reindex(frame.index), labels.shift(KNOWN).reindex(frame.index)
        for column, name in regimes:
            inside = (then[column] == name) & known
            own, held = frame[inside].dropna(subset=["y", "forecast"]), frame[before[column] == name]
            key = f"{e.key} {column} {name}"
            if enough := len(own) >= metrics.SESSIONS:
                made[key] = _trial(key, e, own, held)
            ic = metrics.information_coefficient(own["y"], own["forecast"], lags=e.horizon)[0] if enough else np.nan
            sharpe = metrics.sharpe(held["net"].to_numpy()) if enough else np.nan
            rows.append([column, e.model, e.target, e.horizon, name, len(own), ic, sharpe, key])
    gone = {question: n * len(regimes) for question, n in (lost or {}).items()}
    found = skill.judge(made.values(), lost=gone).evidence
    out = [[*head, *_said(found.get(head[-1], skill.Evidence()))] for head in rows]
    table = pd.DataFrame(out, columns=["column", *COLUMNS[:7], "key", *COLUMNS[7:-1]])[["column", *COLUMNS]]
    return table.astype({"evidence": bool}), len(made) + sum(gone.values())


def _said(v: skill.Evidence) -> list[Any]:
    return [v.t_knows, v.p_knows, v.t_pays, v.p_pays, v.p <= SIZE]


def _trial(key: str, e: Evaluation, own: pd.DataFrame, held: pd.DataFrame) -> Trial:
    """Ranks, losses and timing within the regime alone: to hold more in one than in another is no skill in it."""
    aim = targets.target(e.target)
    knows = loss_difference(own, aim) if aim.proof == "loss" else skill.rank_products(own)
    return Trial(key, Question((e.ticker,), e.horizon, e.target), knows, skill.timing_return(held, e.horizon))


def _of_ledger(ticker: str) -> list[Evaluation]:
    rows = trials.ledger()
    alone = (rows["ticker"] == ticker) & (rows["status"] == "ok") & (rows["trial"] == rows["key"])
    found = (trials.load(key) for key in rows.loc[alone & (rows["mode"] == settings().data_mode), "key"])
    return [e for e in found if e is not None]


def _lost(ticker: str) -> dict[Question, int]:
    rows = trials.lost()
    rows = rows[(rows["ticker"] == ticker) & rows["mode"].fillna(settings().data_mode).eq(settings().data_mode)]
    return dict(Counter(Question((ticker,), int(r["horizon"]), str(r["target"])) for r in rows.to_dict("records")))
