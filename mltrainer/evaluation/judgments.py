"""All that was tried, tested together: what luck there is in a ledger, and the evidence that each trial leaves.

Trials are read a few at a time, and their series lie in a file (`spool`), so memory holds neither.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache

import pandas as pd

from mltrainer import blobstore
from mltrainer.errors import Tampered, Unavailable
from mltrainer.evaluation import preregistered, skill, trials
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Evidence, Judgment, Question, Single, Trial
from mltrainer.evaluation.spool import Spooled
from mltrainer.features import targets
from mltrainer.settings import settings


def judgment(
    evaluations: Iterable[Evaluation] = (), *, until: int | None = None, known: pd.DatetimeIndex | None = None
) -> Judgment:
    """Test every trial of the mode in force together, those of the ledger and `evaluations`.

    Parameters
    ----------
    evaluations : results that may not be in the ledger.
    until : the last row of the ledger that counts (`seq`); default all.
    known : sessions; of each trial only what had matured at the last of them. A trial of which nothing had counts as
        luck all the same. Default everything.
    """
    present, deleted = list(trials.present(until)), list(trials.deleted(until))
    gone = {row.trial for row in deleted}
    family: dict[str, Trial] = {}
    for key, same in trials.by_trial(row for row in present if row.trial not in gone).items():
        with suppress(Unavailable, Tampered):  # a result that is lost counts below
            of = (key, _question(same), tuple(row.ticker for row in same), tuple(row.blob for row in same))
            if (trial := _kept(*of) if known is None else _matured(*of, known)) is not None:
                family[key] = trial
    family |= grouped(e for e in evaluations if e.ok and e.trial not in family)
    tried = [*present, *deleted]
    judged = _judged(tuple(family.values()), _questions(row for row in tried if row.trial not in family))
    return dataclasses.replace(judged, single=_single(family, tried, trials.position() if until is None else until))


def _single(family: Mapping[str, Trial], tried: Sequence[trials.Tried], until: int) -> dict[str, Single]:
    """Reading of each declared test: among what had been tried when it was declared, with its share of all declared.

    A declaration counts from the next trial on, so that a judgment can be made again as of a row of the ledger.
    """
    declared = [r for r in preregistered.registrations(settings().data_mode) if r.position < until]
    found = {}
    for r in (r for r in declared if r.key in family):
        before = [row for row in tried if not row.seq > r.position]  # what an entry does not say when is counted
        keys = dict.fromkeys(row.trial for row in before)
        if r.key in keys:
            continue
        seen = tuple(family[key] for key in keys if key in family)
        alone = _alone(family[r.key], seen, _questions(row for row in before if row.trial not in family))
        found[r.key] = Single.of(alone, len(keys), len(declared))
    return found


def _questions(absent: Iterable[trials.Tried]) -> tuple[tuple[Question, int], ...]:
    """How many trials of each question are lost; a panel that lost a ticker is one of them."""
    return tuple(sorted(Counter(map(_question, trials.by_trial(absent).values())).items()))


def _question(rows: Sequence[trials.Tried]) -> Question:
    """What the rows of one trial, a ticker each, are of."""
    return Question(tuple(sorted({row.ticker for row in rows})), rows[0].horizon, rows[0].target)


def grouped(evaluations: Iterable[Evaluation]) -> dict[str, Trial]:
    """Trials that results belong to, by their key: one for each, and one for all tickers of a panel."""
    together: dict[str, list[Evaluation]] = {}
    for e in evaluations:
        together.setdefault(e.trial, []).append(e)
    return {
        k: Trial.of(k, es[0].horizon, {e.ticker: e.forecasts for e in es}, es[0].target) for k, es in together.items()
    }


@cache  # an address names its content, so what it held it holds; its series lie in a file
def _kept(key: str, question: Question, tickers: tuple[str, ...], blobs: tuple[str, ...]) -> Trial:
    frames = dict(zip(tickers, _frames(question, blobs), strict=True))
    return Spooled(Trial.of(key, question.horizon, frames, question.target))


def _matured(
    key: str, question: Question, tickers: tuple[str, ...], blobs: tuple[str, ...], known: pd.DatetimeIndex
) -> Trial | None:
    """A trial by what had matured at the last session; None where too little had to be tested."""
    last = known[max(len(known) - question.horizon - 2, 0)]
    frames = {ticker: f.loc[:last] for ticker, f in zip(tickers, _frames(question, blobs), strict=True)}
    enough = all(len(f) > 2 * (question.horizon + 1) for f in frames.values())
    return Trial.of(key, question.horizon, frames, question.target) if enough else None


def _frames(question: Question, blobs: Iterable[str]) -> Iterator[pd.DataFrame]:
    proof = ("baseline",) if targets.target(question.target).proof == "loss" else ()
    columns = ("y", "forecast", "scale", "fold", "position", "gross", "net", "benchmark", *proof)
    return (Evaluation.columns(blobstore.get(blob), *columns) for blob in blobs)


@lru_cache(maxsize=64)
def _alone(trial: Trial, seen: tuple[Trial, ...], gone: tuple[tuple[Question, int], ...]) -> Evidence:
    """Evidence of one trial among those that were seen before it."""
    return skill.judge((*seen, trial), lost=dict(gone)).evidence.get(trial.key, Evidence())


@lru_cache(maxsize=8)  # each holds the evidence of all trials
def _judged(family: tuple[Trial, ...], gone: tuple[tuple[Question, int], ...]) -> Judgment:
    return skill.judge(family, lost=dict(gone))
