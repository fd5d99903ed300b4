"""How often does the verdict's rule say yes where there is nothing, and how much skill would it have found?

Worlds in which the truth is known (`worlds`) go through the same features, walk-forward, trading and tests as the real
history. From worlds without skill comes the measured size of the rule, from worlds with a planted lead its power.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.linear_model import LogisticRegression

from mltrainer.data import market
from mltrainer.data.market import Day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, Unavailable
from mltrainer.evaluation import engine, study, trials, worlds
from mltrainer.evaluation.levels import LEVELS
from mltrainer.evaluation.outcomes import History, Outcome, Study, outcomes
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.worlds import World
from mltrainer.features import targets
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.trust.provenance import fingerprint

VERSION = 3  # raise it when the same world would give another outcome
FAST = "RidgeRegression LassoRegression PLSRegression_3 LogisticRegression KNeighborsRegressor_10".split()
EDGES = (0.06, 0.10, 0.14, 0.18)
OF_LEVELS = (0.1, 0.2, 0.3, 0.4)  # in deviations of what HAR leaves
POWER = 0.8


@dataclass(frozen=True)
class RuleCalibration:
    """Measured size and power of the verdict's rule on one question.

    Attributes
    ----------
    question : tickers and horizon; `models` of each world; `target`, what they forecast.
    null : outcomes of worlds without skill; `planted` of those with a lead.
    critical : the t that evidence needs among all trials of the question, by which power is counted; NaN: that of the
        world's own models.
    """

    question: str
    models: tuple[str, ...]
    null: tuple[Outcome, ...]
    planted: tuple[Outcome, ...]
    critical: float = float("nan")
    target: str = "return"

    @property
    def called(self) -> int:
        """Worlds without skill of which the rule said that a model shows evidence of skill."""
        return sum(bool(o.skilled) for o in self.null)

    @property
    def size(self) -> tuple[float, float, float]:
        """Family-wise error rate and its 95 % interval (Wilson, 1927); NaN without worlds."""
        return _share(self.called, len(self.null))

    @property
    def power(self) -> pd.DataFrame:
        """A row per edge: worlds, truth and best (means, see `Outcome`), found, low, high (95 %), leaking."""
        rows = []
        for edge in sorted({o.world.edge for o in self.planted}):
            same = [o for o in self.planted if o.world.edge == edge]
            found, low, high = _share(sum(map(self.found, same)), len(same))
            truth, best = (float(pd.Series([getattr(o, k) for o in same]).mean()) for k in ("truth", "best"))
            leaking = sum(bool(o.leaking) for o in same)
            rows.append((edge, len(same), truth, best, found, low, high, leaking))
        return pd.DataFrame(rows, columns="edge worlds truth best found low high leaking".split())

    @property
    def adds(self) -> pd.DataFrame:
        """A row per edge, from 0: edge, worlds, adds (share in which a model was said to add), low, high (95 %)."""
        rows = []
        for edge in sorted({o.world.edge for o in (*self.null, *self.planted)} if self.target in LEVELS else ()):
            same = [o for o in (*self.null, *self.planted) if o.world.edge == edge]
            rows.append((edge, len(same), *_share(sum(bool(o.adding) for o in same), len(same))))
        return pd.DataFrame(rows, columns="edge worlds adds low high".split())

    def found(self, outcome: Outcome) -> bool:
        """Whether the rule would have found the skill of a world among all trials of the question."""
        if not np.isfinite(self.critical):
            return bool(outcome.skilled)
        return bool(np.nanmax([*outcome.t.values()], initial=-np.inf) >= self.critical)

    @property
    def least(self) -> float:
        """Least truth (see `Outcome`) found in 8 of 10 worlds; NaN where no planted lead was found so often."""
        table = self.power
        if table.empty or table["found"].max() < POWER:
            return float("nan")
        strength = {row.edge: row.truth for row in table.itertuples()}
        x = np.array([strength[o.world.edge] for o in self.planted])
        y = np.array([self.found(o) for o in self.planted])
        if y.all():
            return float(x.min())
        line = LogisticRegression(C=1e4).fit(x[:, None] / x.std(), y)
        return float((np.log(POWER / (1 - POWER)) - line.intercept_[0]) / line.coef_[0, 0] * x.std())

    def sentence(self) -> str:
        """Say size and power in one true sentence."""
        said = f"Of {len(self.null)} worlds without skill this rule called {self.called} skilled"
        if not self.planted:
            return f"{said}."
        if not np.isfinite(self.least):
            most = self.power["truth"].max()
            return f"{said}; {self.strength(most)}, the largest planted, would be found in fewer than 8 of 10."
        return f"{said}; {self.strength(self.least)} would have been found in 8 of 10."

    def strength(self, truth: float) -> str:
        """A truth in words."""
        levels = self.target in LEVELS
        return f"a lead that saves {truth:.1%} of HAR's loss" if levels else f"a true Sharpe of {truth:.1f}"

    def table(self) -> tuple[list[str], list[tuple[str, ...]]]:
        """Heads and rows, in words: one of the worlds without skill, then one for each strength of a lead."""
        more = {
            edge: (f"{round(adds * n)}", f"{low:.1%} to {high:.1%}")
            for edge, n, adds, low, high in self.adds.to_numpy(float).tolist()
        }
        unit = "{:.1%}" if self.target in LEVELS else "{:.2f}"
        heads = "lead worlds truth best_learner called share 95_%_interval called_leakage".split()
        none = (0.0, len(self.null), np.nan, np.nan, *self.size, sum(bool(o.leaking) for o in self.null))
        rows = [none, *self.power.itertuples(index=False, name=None)]
        said = [
            (f"{edge:g}", str(n), *(unit.format(x) if x == x else "" for x in (truth, best)), str(round(share * n)),
             f"{share:.1%}", f"{low:.1%} to {high:.1%}", str(leaking), *more.get(edge, ()))
            for edge, n, truth, best, share, low, high, leaking in rows if n
        ]  # fmt: skip
        heads += ["add to all plain forecasts", "95 % interval"] if more else []
        return [h.replace("_", " ") for h in heads], said

    def to_dict(self) -> dict[str, Any]:
        """What was measured, for JSON; an undefined figure is None."""
        rate, low, high = self.size
        figures = {"rate": rate, "low": low, "high": high, "least": self.least, "critical": self.critical}
        return {
            "question": self.question, "target": self.target, "models": list(self.models), "sentence": self.sentence(),
            "null": len(self.null), "called": self.called, "planted": len(self.planted),
            **{k: v if np.isfinite(v) else None for k, v in figures.items()},
            "power": self.power.to_dict("records"), "adds": self.adds.to_dict("records"),
        }  # fmt: skip

    def __repr__(self) -> str:
        """Say it in one line."""
        return f"RuleCalibration({self.question}: {self.sentence()})"


def _share(count: int, n: int) -> tuple[float, float, float]:
    if not n:
        return float("nan"), float("nan"), float("nan")
    interval = stats.binomtest(count, n).proportion_ci(method="wilson")
    return count / n, float(interval.low), float(interval.high)


def calibrate(
    data: str | Sequence[str] | Universe | Matrix = "MSFT",
    *,
    models: Iterable[str | ModelSpec] | None = None,
    null: int = 100,
    planted: int = 15,
    edges: Sequence[float] | None = None,
    drift: float | None = None,
    block: int = 1,
    horizon: int | None = None,
    target: str | None = None,
    start: Day = None,
    end: Day = None,
    critical: float = float("nan"),
    seconds: float | None = None,
    jobs: int | None = None,
    protocol: Protocol | None = None,
    progress: bool = True,
) -> RuleCalibration:
    """Measure the size and the power of the verdict's rule on worlds made of a ticker's, or a panel's, real sessions.

    Parameters
    ----------
    data : a ticker, or several, or a universe, as a panel; or a matrix, of whose sources the worlds are then made,
        with our features alone.
    models : names of the catalog or entries; default five fast ones.
    null : worlds without skill; `planted` worlds for each of the `edges` (see `worlds.World`; default four).
    drift, block : of every world, see `worlds.World`; where HAR is the truth the drift stays that of the sessions.
    horizon, target, start, end : as for `matrix`; a matrix has its own, and others are refused.
    critical : the t that evidence needs where more was tried than these models.
    seconds : no world is begun after so many; what is finished is kept, and the same call goes on there.
    jobs : worker processes; default the number of cores.

    Returns
    -------
    RuleCalibration
        Of the worlds that were finished. Nothing of a world enters the trial ledger, a report or a training.
    """
    aim = targets.target(target or (data.target if isinstance(data, Matrix) else "return"))
    edges = (OF_LEVELS if aim.name in LEVELS else EDGES) if edges is None else edges
    if null < 0 or planted < 0 or any(not 0 < e < 1 for e in edges) or block < 1:
        raise BadInput("calibrate takes numbers of worlds from 0, edges between 0 and 1 and blocks of 1 or more")
    worlds.checked(drift, aim.name)
    jobs = engine.effective_jobs(jobs)
    since = ""
    if isinstance(data, Universe):  # of those that are there
        data, start, end = study.matrix(data, start=start, end=end, horizon=horizon, target=target), None, None
    if isinstance(data, Matrix):
        data = study.matrix(data, horizon=horizon, target=target, start=start, end=end)  # verified, and as it was asked
        names, histories, horizon, since = data.tickers, data.histories, data.horizon, data.start
    else:
        horizon = 5 if horizon is None else horizon
        names = [data] if isinstance(data, str) else list(dict.fromkeys(data))
        bars = [market.bars(name, start=start, end=end) for name in names]
        histories = tuple((own, *market.context(own)) for own in bars)
    if aim.name not in targets.TARGETS or (aim.cross_sectional and len(names) < targets.LEAST_NAMES):
        needs = f"the target {aim.name} of {len(names)} names; ranks need {targets.LEAST_NAMES}"
        raise BadInput(f"no world is made of {needs}, and targets of one's own have none")
    specs = study.select(models=models or FAST)
    plan = _study(histories, specs, horizon, protocol or Protocol(), aim.name, since)
    wanted = [World(s, 0.0, drift, block) for s in range(null)]
    wanted += [World(null + s, e, drift, block) for s in range(planted) for e in edges]
    found = outcomes(plan, wanted, jobs, seconds, progress)
    question = f"{', '.join(names)}, {horizon} sessions ahead"
    question = question if aim.name == "return" else f"{aim.title} of {question}"
    known = tuple(s.name for s in plan.specs)
    nothing, something = ([o for o in found if bool(o.world.edge) is lead] for lead in (False, True))
    return RuleCalibration(question, known, tuple(nothing), tuple(something), critical, aim.name)


def _study(
    histories: tuple[History, ...], specs: list[ModelSpec], horizon: int, protocol: Protocol, target: str, start: str
) -> Study:
    if lacking := [s.why_unavailable for s in specs if not s.available]:
        raise Unavailable(lacking[0])
    parts = [d.provenance.content_sha256 for h in histories for d in h if d.provenance]
    models = [(s.name, s.identity(), s.max_train_rows) for s in specs]
    used = trials.versions(("mltrainer", "numpy", "scipy", "scikit-learn", "TA-Lib"))
    since = [start] if start else []
    address = fingerprint(VERSION, trials.VERSION, parts, horizon, models, repr(protocol), target, used, *since)
    return Study(histories, horizon, tuple(specs), protocol, target, start, address)
