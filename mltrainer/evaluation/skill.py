"""The verdict: what counts as skill, how it is tested among everything that was tried, and the words for it.

Skill is what the model adds. Two kinds of evidence count, each by itself: the forecast *knows* something (it orders
the outcomes), and it *pays* (the timing return, net of costs). Both are tested for every trial of a question in one
joint bootstrap, and across questions by Bonferroni. Being long, or short, or long in one regime, is no skill.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mltrainer import metrics
from mltrainer.evaluation.baselines import loss_difference
from mltrainer.evaluation.record import Evaluation, constant_forecast
from mltrainer.evaluation.significance import SIZE, Columns, StepDown, stepdown
from mltrainer.features import targets
from mltrainer.features.targets import Target

EVIDENCE = "evidence of skill"
KNOWS, PAYS, BEATS = "the forecast knows something", "it pays after costs", "it forecasts better than {}"
NO_EVIDENCE = "no evidence of skill"
NO_SIGNAL = "no signal: the forecast is constant"
LEAKAGE = "suspected leakage"
RETURN = targets.target("return")
BLOCK = 5  # a block of the bootstrap is so many horizons
SHORTEST_BLOCK = 21
STRONG = {"ic": 0.10, "hit_rate": 0.05, "timing_sharpe": 2.0, "gain": 0.25}  # what hardly anybody has on daily prices


class Question(NamedTuple):
    """What trials of one question share; they are tested jointly."""

    tickers: tuple[str, ...]
    horizon: int
    target: str = "return"


# --- what is tested -------------------------------------------------------------------------------------------


def timing_return(forecasts: pd.DataFrame, horizon: int) -> "pd.Series[float]":
    r"""Return of the timing alone, per session: what a model earned by when it held more, and when less.

    .. math:: x_t = (d_t - \bar d)(b_t - \bar b) - c_t, \qquad d_t = w_t - \tfrac{1}{t} \sum_{s \le t} w_s

    with w the position, b the benchmark's return and c the cost. The position's own mean so far is taken out, then what
    is left of it over the whole test: under a steady drift a model that begins short and learns to be long would
    otherwise earn an annual Sharpe ratio of 1 by learning that the share rises. The mean is the sample covariance of
    position and return, net of costs, as in the tests of Treynor and Mazuy (1966) and of Grinblatt and Titman (1993).

    Parameters
    ----------
    forecasts : of one evaluation, with position, gross, net and benchmark; the first `horizon` + 1 sessions, in which
        positions are built up, are left out.
    horizon : sessions a position is held.

    Returns
    -------
    (n - horizon - 1,) simple returns by session; all zero for a constant position.
    """
    rows = forecasts.iloc[horizon + 1 :]
    w, b = rows["position"].to_numpy(float), rows["benchmark"].to_numpy(float)
    d = w - np.cumsum(w) / np.arange(1, len(w) + 1)
    cost = (rows["gross"] - rows["net"]).to_numpy(float)
    d, cost = (np.where(np.abs(x) < 1e-12, 0.0, x) for x in (d, cost))  # a constant position is one to rounding
    timing = (d - d.mean()) * (b - b.mean()) - cost if len(w) else d
    return pd.Series(timing, index=rows.index, name="timing")


def rank_products(forecasts: pd.DataFrame) -> "pd.Series[float]":
    """Product of the standardized ranks of forecast and outcome, (n,): its mean is the information coefficient.

    Empty where either is constant, the forecast also where it is constant inside every fold.
    """
    if constant_forecast(forecasts):
        return pd.Series(dtype=float)
    y, forecast = (stats.rankdata(forecasts[c]) for c in ("y", "forecast"))
    if not len(y) or np.ptp(y) == 0 or np.ptp(forecast) == 0:
        return pd.Series(dtype=float)
    z, zf = ((r - r.mean()) / r.std() for r in (y, forecast))
    return pd.Series(z * zf, index=forecasts.index, name="rank_products")


@dataclass(frozen=True, eq=False)
class Trial:
    """One model on one question, as the tests see it; a panel of tickers is one question.

    Attributes
    ----------
    knows : what shows that the forecast knows something, by session, of a panel its mean over tickers: rank products,
        or, where a target is proved by loss, how much smaller it is than the best baseline's; of ranks among names
        their information coefficient in each session.
    pays : timing returns by session; of a panel those of equal shares in every ticker.
    """

    key: str
    question: Question
    knows: "pd.Series[float]"
    pays: "pd.Series[float]"

    def sessions(self, kind: str) -> "pd.Index[Any]":
        """Those of `knows` or of `pays`."""
        index: pd.Index[Any] = getattr(self, kind).index
        return index

    @classmethod
    def of(cls, key: str, horizon: int, frames: Mapping[str, pd.DataFrame], target: str = "return") -> "Trial":
        """From the forecasts of each ticker."""
        aim, parts = targets.target(target), list(frames.values())
        if aim.cross_sectional:
            knows = across_names(parts)
        else:
            knows = _mean([loss_difference(f, aim) if aim.proof == "loss" else rank_products(f) for f in parts])
        pays = _mean([timing_return(f, horizon) for f in parts])
        return cls(key, Question(tuple(sorted(frames)), horizon, target), knows, pays)


def across_names(parts: "Sequence[pd.DataFrame]") -> "pd.Series[float]":
    """Rank correlation of forecast and outcome across names in each session, (n,); NaN where either is constant."""
    forecast, y = (
        pd.concat([f[c] for f in parts], axis=1, keys=range(len(parts))).rank(axis=1) for c in ("forecast", "y")
    )
    return forecast.corrwith(y, axis=1)


def _mean(parts: "Sequence[pd.Series[float]]") -> "pd.Series[float]":
    return parts[0] if len(parts) == 1 else pd.concat(parts, axis=1).mean(axis=1)


def unusually_strong(figures: Mapping[str, float], n: int, horizon: int, aim: Target = RETURN) -> bool:
    """Whether a result is better than what is believed without a look: beyond `STRONG` by two null spreads.

    Only what flatters counts. The null spread of the IC is its HAC standard error, that of the hit rate is
    sqrt(horizon / n) / 2 around the larger share of rises or falls, that of the annual timing Sharpe sqrt(252 / n).
    Where loss is the proof most of the outcome may be known, and what counts is the share saved of the best baseline's.
    """
    error = abs(figures["ic"] / figures["ic_t"]) if figures["ic_t"] else float("nan")
    beyond = {
        "ic": figures["ic"] - 2 * error,
        "hit_rate": figures["hit_rate"] - figures["hit_base"] - np.sqrt(horizon / n),
        "timing_sharpe": figures["timing_sharpe"] - 2 * np.sqrt(metrics.SESSIONS / n),
    }
    if aim.proof == "loss":
        beyond = {"gain": figures["gain"] - 2 * figures["gain_error"], "timing_sharpe": beyond["timing_sharpe"]}
    return any(beyond[name] > STRONG[name] for name in beyond)


# --- how it is tested -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """What the tests find of one trial: t, and p adjusted for all trials and questions; NaN where it was not tested."""

    t_knows: float = float("nan")
    p_knows: float = float("nan")
    t_pays: float = float("nan")
    p_pays: float = float("nan")

    @property
    def p(self) -> float:
        """The smaller of the two; both kinds are tested in one family, so it needs no further correction."""
        return float(np.nanmin([self.p_knows, self.p_pays, 1.0]))


@dataclass(frozen=True)
class Single:
    """The reading of a test that was declared before it was run.

    Attributes
    ----------
    evidence : p adjusted for what had been tried before the declaration (alone where nothing was) and, by Bonferroni,
        for the number of declared tests; not for what was tried since, which cannot have chosen it.
    seen : trials before the declaration; tests : how many are declared.
    """

    evidence: Evidence
    seen: int = 0
    tests: int = 1

    @classmethod
    def of(cls, alone: Evidence, seen: int, tests: int) -> "Single":
        """From the evidence among what had been seen; each of the declared tests has an equal share of the 5 %."""
        p_knows, p_pays = (min(tests * p, 1.0) if p == p else p for p in (alone.p_knows, alone.p_pays))
        return cls(Evidence(alone.t_knows, p_knows, alone.t_pays, p_pays), seen, tests)

    @property
    def words(self) -> str:
        """What was declared, in words."""
        kind = "test" if self.seen else "single test"
        many = f", one of {self.tests}" if self.tests > 1 else ""
        after = f" after {self.seen} trial{'' if self.seen == 1 else 's'}" if self.seen else ""
        return f"preregistered {kind}{after}{many}"


@dataclass(frozen=True)
class Judgment:
    """Every trial tested together.

    Attributes
    ----------
    evidence : by key of the trial.
    luck : trials, lost (known to have been made, and no longer there), questions, effective (trials that are as good
        as independent, see `StepDown.effective`, summed over questions), spread (of the trials' t; at least 1),
        best (the largest t to expect from luck alone), sessions (median), threshold (`best` as an annual Sharpe ratio
        over so many sessions) and critical (the t that evidence needs, in the question with the most trials).
    single : by key of a trial that was declared before it was run, its reading on its own.
    """

    evidence: dict[str, Evidence] = field(default_factory=dict)
    luck: dict[str, float] = field(default_factory=dict)
    single: dict[str, Single] = field(default_factory=dict)


def judge(trials: Iterable[Trial], *, lost: Mapping[Question, int] | None = None) -> Judgment:
    """Test all trials: within a question jointly, across questions by Bonferroni.

    Parameters
    ----------
    trials : every one that was made, good or bad.
    lost : how many more of a question are known to have been made; each counts as an independent trial.
    """
    lost = lost or {}
    asked: dict[Question, list[Trial]] = {question: [] for question in lost}
    for trial in trials:
        asked.setdefault(trial.question, []).append(trial)
    evidence: dict[str, Evidence] = {}
    effective, critical = 0.0, float("nan")
    for question, same in sorted(asked.items()):
        gone, tests = lost.get(question, 0), _tested(same, question.horizon)
        evidence |= _evidence(same, tests, gone, len(asked))
        effective += tests.effective(leading=True) + gone
        critical = float(np.fmax(critical, tests.critical(SIZE / len(asked))))
    known = [trial for same in asked.values() for trial in same]
    t = np.array([evidence[trial.key].t_pays for trial in known])
    spread = max(float(np.nanstd(t, ddof=1)), 1.0) if np.isfinite(t).sum() > 1 else 1.0
    sessions = float(np.median([len(trial.sessions("pays")) for trial in known])) if known else float("nan")
    best = metrics.luck_threshold(spread, effective)
    luck = {
        "trials": float(len(known)), "lost": float(sum(lost.values())), "questions": float(len(asked)),
        "effective": effective, "spread": spread, "best": best, "sessions": sessions,
        "threshold": best * float(np.sqrt(metrics.SESSIONS / max(sessions, 1.0))), "critical": critical,
    }  # fmt: skip
    return Judgment(evidence, luck)


def block_length(horizon: int) -> int:
    """Sessions in a block of the bootstrap."""
    return max(BLOCK * horizon, SHORTEST_BLOCK)


def _tested(same: list[Trial], horizon: int) -> StepDown:
    """Both kinds of evidence of all trials of a question as one family: `pays` in the first half of the columns."""
    block = block_length(horizon)
    return stepdown(_side_by_side(same), block=block, overlap=horizon, first=len(same))


def _side_by_side(same: list[Trial]) -> Columns:
    """All series of the trials by session, of which a few at a time are laid beside one another."""
    series = [(s, kind) for kind in ("pays", "knows") for s in same]
    known: dict[tuple[str, bytes], int] = {}  # most trials have the very sessions of another
    indexes = [s.sessions(kind) for s, kind in series]
    bytes_ = {id(x): (str(x.dtype), x.to_numpy().tobytes()) for x in {id(x): x for x in indexes}.values()}
    span = [known.setdefault(bytes_[id(x)], len(known)) for x in indexes]
    first = {number: indexes[i] for i, number in reversed(list(enumerate(span))) if len(indexes[i])}
    parts = [pd.Series(0.0, index) for index in first.values()]
    sessions = pd.concat(parts, axis=1).index.sort_values() if parts else pd.Index([])
    place = {number: sessions.get_indexer(index) for number, index in first.items()}

    def take(some: NDArray[np.intp]) -> NDArray[np.float64]:
        X = np.full((len(sessions), len(some)), np.nan)
        for column, i in enumerate(some):
            if span[i] in place:  # an empty series has no session
                s, kind = series[i]
                X[place[span[i]], column] = getattr(s, kind).to_numpy(float)
        return X

    return Columns((len(sessions), len(series)), take)


def _evidence(same: list[Trial], tests: StepDown, gone: int, questions: int) -> dict[str, Evidence]:
    alone = stats.t.sf(tests.t, tests.degrees)
    # Far in the tail the draws cannot tell; there the sum of the single p values is as good, and never too small.
    p = np.fmin(tests.p, len(tests.t) * alone)
    p = np.minimum(questions * (1 - (1 - p) * (1 - alone) ** (2 * gone)), 1.0)
    t, k = tests.t, len(same)
    return {s.key: Evidence(*map(float, (t[k + i], p[k + i], t[i], p[i]))) for i, s in enumerate(same)}


# --- the words ------------------------------------------------------------------------------------------------


def verdict(evaluation: Evaluation, evidence: Evidence, single: Single | None = None) -> str:
    """Put the evidence into words; the default is "no evidence of skill".

    A trial shows evidence of skill where either kind has an adjusted p value of at most 0.05. One that is unusually
    strong as well was tested for look-ahead when it was made, and the verdict says what came of it. One that was
    declared before it was run has its verdict by that `single` test, and shows the joint reading beside it.
    """
    moved = evaluation.meta.get("lookahead")
    if moved:
        return f"{LEAKAGE}: {moved}"
    if evaluation.constant:
        return NO_SIGNAL
    loss = targets.target(evaluation.target).proof == "loss"
    knows = BEATS.format(evaluation.meta["baseline"]) if loss else KNOWS
    read = single.evidence if single else evidence
    shown = [words for words, p in ((knows, read.p_knows), (PAYS, read.p_pays)) if p <= SIZE]
    strong = ", unusually strong; the leak test passed" if moved == "" else ""
    both = f"; {single.words}, p = {read.p:.2g} (jointly {evidence.p:.2g})" if single else ""
    return (f"{EVIDENCE}: {' and '.join(shown)}{strong}" if shown else NO_EVIDENCE) + both


def kinds(verdict: str) -> str:
    """What a verdict that shows evidence says of it."""
    return verdict.removeprefix(f"{EVIDENCE}: ")


def shows(verdict: str) -> bool:
    """Whether a verdict says that there is evidence of skill."""
    return str(verdict).startswith(EVIDENCE)
