"""Search: which settings of a model did best in the past, and did they do better afterwards?

Settings are chosen on the rows before the later test blocks of the walk-forward, by a purged walk-forward inside
them; what is chosen is judged once, on the blocks that the search has never seen, beside the catalog's own setting.
Every setting that is tried is a row of the trial ledger, and counts against the winner.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from mltrainer import metrics
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput, NotEnoughHistory, Unavailable, UnknownName
from mltrainer.evaluation import engine, judgments, skill, study
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import Part, WalkForward
from mltrainer.features.matrix import Matrix
from mltrainer.features.own import Own
from mltrainer.models import catalog, spaces
from mltrainer.models.base import ModelSpec

Points = NDArray[np.float64]
Asks = Generator[Points, NDArray[np.float64], None]
Results = tuple[Evaluation, ...]  # of one setting: of one ticker, or of each of a panel
Tried = tuple[ModelSpec, dict[str, Any], Results]

INNER_FOLDS = 3
ROUND = 6  # settings asked for at a time, whatever the number of workers, which must not decide a result
MOST_TRIALS = 1_000
SCORES = ("r2_oos", "ic", "sharpe")
WORST = 1e6  # what a failed setting costs a population; an infinity would spoil its differences


@dataclass(frozen=True)
class Tuned:
    """What a search chose, and what became of it.

    Attributes
    ----------
    parameters : the settings chosen; empty where none did better inside than the catalog's own.
    spec : the entry with these settings, as `mt.evaluate` takes entries too.
    candidates : every setting tried, the catalog's own first, then in the order asked for: the parameters, its inner
        `score`, `sharpe` and `status`, and the key of its trial.
    evaluations, baselines : the setting chosen and the catalog's own, on the sessions the search has never seen; of a
        panel one for each ticker, and `evaluation` and `baseline` where there is one ticker.
    luck : `cost` (trials in the ledger), `effective` (settings tried that do not move together), `threshold` (best
        annual Sharpe ratio among them to expect from luck alone inside), `sharpe` (the one of the choice, inside; of a
        panel of equal shares in every ticker), `t` (HAC t of squared errors saved against the catalog's own setting,
        outside; NaN where it is the choice; of a panel of errors per unit of volatility, meaned over the tickers of a
        session).
    """

    model: str
    ticker: str
    method: str
    score: str
    parameters: dict[str, Any]
    spec: ModelSpec
    candidates: pd.DataFrame
    evaluations: Results
    baselines: Results
    luck: dict[str, float]

    @property
    def evaluation(self) -> Evaluation:
        """The setting chosen, of one ticker; `BadInput` of a panel, which has `evaluations`."""
        return _single(self.evaluations)

    @property
    def baseline(self) -> Evaluation:
        """The catalog's own setting, of one ticker; `BadInput` of a panel, which has `baselines`."""
        return _single(self.baselines)

    def estimator(self) -> Model:
        """The model with the settings chosen, to train, to judge and to keep."""
        return Model(self.model, self.parameters or None)

    def sentence(self) -> str:
        """Say what was found in one true sentence."""
        tried, cost = len(self.candidates) - 1, int(self.luck["cost"])
        head = f"{tried} settings of {self.model} on {self.ticker} cost {cost} trials"
        if not self.parameters:
            return f"{head}, and none did better inside than the catalog's own, which stays."
        chosen = f"{head}; {self.spec.name.removeprefix(self.model)[1:-1]} did best inside"
        if failed := [e for e in (*self.evaluations, *self.baselines) if not e.ok]:
            return f"{chosen}, and could not be judged afterwards: {failed[0].reason}."
        t, had, lucky = self.luck["t"], self.luck["sharpe"], self.luck["threshold"]
        known = np.isfinite(had) and np.isfinite(lucky)
        luck = f" with a Sharpe ratio of {had:.2f}, where luck alone would reach {lucky:.2f}" if known else ""
        new, old = (_mean(es, "r2_oos") for es in (self.evaluations, self.baselines))
        several = f" in the mean of {len(self.evaluations)} tickers" if len(self.evaluations) > 1 else ""
        much = "no difference beyond noise" if not abs(t) > 2 else "better" if t > 0 else "worse"
        mean = "" if new > 0 else "; forecasting the mean of the past would have been better"
        since = min(e.forecasts.index[0] for e in self.evaluations).date()
        return (
            f"{chosen}{luck}; from {since} on, which the search has not seen, its out-of-sample R² is {new:.4f} "
            f"against {old:.4f} for the catalog's own setting{several}: {much} (t = {t:.1f}){mean}."
        )

    def __repr__(self) -> str:
        """Say what was found in one sentence."""
        return f"Tuned({self.sentence()})"

    def _repr_html_(self) -> str:
        table = self.candidates.drop(columns="key").to_html(float_format="{:.4g}".format, na_rep="")
        return f"<p>{self.sentence()}</p>{table}"


# --- the search -----------------------------------------------------------------------------------------------


def tune(
    name: str,
    data: Any,
    *,
    method: str = "tpe",
    trials: int = 30,
    score: str = "r2_oos",
    random_state: int = 0,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    jobs: int = 1,
    protocol: Protocol | None = None,
    progress: bool = True,
    target: str | None = None,
    project: str | None = None,
    features: Sequence[Own | str] = (),
) -> Tuned:
    """Search the settings of a model in the past, and judge the choice once on what came after.

    Parameters
    ----------
    name : a name of the catalog; what is searched is declared in `mltrainer.models.spaces`.
    data : a ticker, bars, a matrix, or several tickers or a universe, which are a panel: a setting is then scored by
        its mean over the tickers; horizon, start, end, target and features as for `matrix`.
    method : "random", "tpe" (tree of Parzen estimators), "genetic", "pso" (particle swarm) or "de" (differential
        evolution).
    trials : settings to try besides the catalog's own, 1 to 1,000; one that comes up again is not fitted again.
    score : what decides inside: "r2_oos", "ic" or "sharpe"; higher is better, undefined is worst.
    random_state : the same gives the same search, with any number of workers.
    jobs : worker processes.
    project : as for `evaluate`.
    protocol : how the choice is judged; its split must be a walk-forward, whose later half of test blocks judges.

    Returns
    -------
    Tuned
        Every setting tried is in the trial ledger. A search that was ended goes on where it was.

    References
    ----------
    Cawley and Talbot (2010), *On over-fitting in model selection*, JMLR 11; Bergstra et al. (2011) for TPE.
    """
    _check(method, trials, score, random_state)
    if not isinstance(name, str):
        raise BadInput(
            f"tune searches the settings of a model of the catalog, by its name, and {type(name).__name__} is none; "
            "mt.evaluate judges an estimator of your own, with a search of its own inside if it has one"
        )
    spec = catalog.spec(name)
    spaces.space(spec)  # that there is nothing to search is said before anything is fetched
    if not spec.available:
        raise Unavailable(spec.why_unavailable)
    matrix = study.matrix(data, horizon=horizon, start=start, end=end, target=target, features=features)

    def evaluated(specs: list[ModelSpec], protocol: Protocol) -> list[Results]:
        results = engine.run(specs, [matrix], protocol=protocol, jobs=jobs, progress=False, project=project)
        size = len(results) // len(specs)
        return [tuple(results[i : i + size]) for i in range(0, len(results), size)]

    knobs: dict[str, Any] = {"method": method, "trials": trials, "score": score, "random_state": random_state}
    with tqdm(total=trials, disable=engine.unwatched(progress), unit="setting", leave=False) as bar:
        return searched(spec, matrix, protocol or Protocol(), evaluated, **knobs, done=bar.update)


def searched(
    spec: ModelSpec,
    matrix: Matrix,
    protocol: Protocol,
    evaluated: "Callable[[list[ModelSpec], Protocol], list[Results]]",
    *,
    method: str,
    trials: int,
    score: str,
    random_state: int,
    done: "Callable[[int], object]" = lambda settings: None,
) -> Tuned:
    """The search itself, however its settings are `evaluated`: choose inside, then judge the choice outside."""
    inside, outside = _nested(matrix, protocol)
    asks = METHODS[method](len(spaces.space(spec)), trials, random_state)
    tried = _tried(spec, asks, lambda specs: evaluated(specs, inside), trials, score, done)
    return _judged(spec, tried, score, method, lambda specs: evaluated(specs, outside))


def _tried(
    spec: ModelSpec,
    asks: Asks,
    evaluated: "Callable[[list[ModelSpec]], list[Results]]",
    trials: int,
    score: str,
    done: "Callable[[int], object]",
) -> list[Tried]:
    """Settings until there are enough, the catalog's own first: each with its entry and its result inside."""
    space = spaces.space(spec)
    tried: list[Tried] = [(spec, {}, evaluated([spec])[0])]
    points = next(asks)
    while True:
        settings = [{p: k.at(u) for (p, k), u in zip(space.items(), point, strict=True)} for point in points]
        settings = settings[: trials - len(tried) + 1]
        specs = [spaces.candidate(spec, s) for s in settings]
        results = evaluated(specs)
        tried += zip(specs, settings, results, strict=True)
        done(len(results))
        if len(tried) > trials:
            return tried
        try:
            points = asks.send(np.array([_score(es, score) for es in results]))
        except StopIteration:  # a population that can give birth to nothing new
            return tried


def _check(method: str, trials: int, score: str, random_state: int) -> None:
    if method not in METHODS:
        raise UnknownName.of("search method", method, METHODS)
    if score not in SCORES:
        raise UnknownName.of("score", score, SCORES)
    if not 1 <= trials <= MOST_TRIALS:
        raise BadInput(f"trials={trials}: a search tries 1 to {MOST_TRIALS:,} settings")
    if not 0 <= random_state < 2**32:
        raise BadInput(f"random_state={random_state}: a seed is a number from 0 to {2**32 - 1}")


def _nested(matrix: Matrix, protocol: Protocol) -> tuple[Protocol, Protocol]:
    """How settings are compared inside, and how the choice is judged outside: on sessions inside never reaches."""
    whole = protocol.split
    if type(whole) is not WalkForward:
        raise BadInput(f"a search is judged by a walk-forward, not by {type(whole).__name__}")
    n, columns = len(matrix.y.dropna().index.unique(0)), matrix.X.shape[1]
    blocks = len(list(whole.split(n, matrix.horizon, columns)))
    outer = Part(**vars(whole), skip=blocks // 2)
    free = int(next(outer.split(n, matrix.horizon, columns)).train[-1]) + 1
    inner = Part(**vars(replace(whole, folds=INNER_FOLDS)), rows=free)
    try:
        next(inner.split(n, matrix.horizon, columns))
    except NotEnoughHistory as error:
        raise NotEnoughHistory(f"of {n} labelled sessions a search may see the first {free}; inside, {error}") from None
    return replace(protocol, split=inner), replace(protocol, split=outer)


def _single(results: Results) -> Evaluation:
    if len(results) > 1:
        raise BadInput(f"the search was of {len(results)} tickers; ask for evaluations and baselines")
    return results[0]


def _mean(results: Results, figure: str) -> float:
    """Mean of a figure over tickers; NaN where one has none."""
    return float(np.mean([e.metrics.get(figure, np.nan) if e.ok else np.nan for e in results]))


def _score(results: Results, score: str) -> float:
    value = _mean(results, score)
    return value if np.isfinite(value) else -np.inf


def _judged(
    spec: ModelSpec,
    tried: list[Tried],
    score: str,
    method: str,
    outside: "Callable[[list[ModelSpec]], list[Results]]",
) -> Tuned:
    scores = [_score(es, score) for _, _, es in tried]
    best = int(np.argmax(scores))  # the catalog's own setting is first and wins a tie
    within = {e.key: e for _, _, es in tried for e in es}
    if not np.isfinite(scores[best]) and not any(all(e.ok for e in es) for _, _, es in tried):
        raise Unavailable(f"no setting of {spec.name} ran to the end: {_failure(tried[0][2])}")
    chosen, parameters, found = tried[best]
    evaluations, baselines = outside([chosen, spec])
    counted = judgments.grouped(e for e in within.values() if e.ok)
    inside = skill.judge(counted.values()).luck
    luck = {
        "cost": float(len({e.trial for e in (*within.values(), *evaluations, *baselines)})),
        "effective": inside["effective"],
        "threshold": inside["threshold"],
        "sharpe": metrics.sharpe(counted[found[0].trial].pays) if found[0].trial in counted else float("nan"),
        "t": _saved(evaluations, baselines) if parameters else float("nan"),
    }
    rows = [
        {spaces.label(p): v for p, v in (settings or spaces.own(spec)).items()}
        | {"score": s if np.isfinite(s) else np.nan, "sharpe": _mean(es, "sharpe")}
        | {"status": next((e.status for e in es if not e.ok), "ok"), "key": es[0].trial}
        for (_, settings, es), s in zip(tried, scores, strict=True)
    ]
    last = ["score", "sharpe", "status", "key"]
    candidates = pd.DataFrame(rows)
    candidates = candidates[[c for c in candidates if c not in last] + last]
    ticker = ", ".join(e.ticker for e in evaluations)
    return Tuned(spec.name, ticker, method, score, parameters, chosen, candidates, evaluations, baselines, luck)


def _failure(results: Results) -> str:
    return next((e.reason for e in results if not e.ok), "")


def _saved(evaluations: Results, baselines: Results) -> float:
    """HAC t of the squared error that the setting chosen saves against the catalog's; Diebold and Mariano (1995).

    Of a panel the error is per unit of volatility, and its mean over the tickers of a session counts once.
    """
    if not all(e.ok for e in (*evaluations, *baselines)):
        return float("nan")
    several = len(evaluations) > 1
    new, old = (pd.concat([_squared(e, several) for e in es], axis=1).mean(axis=1) for es in (evaluations, baselines))
    return metrics.newey_west_t((old - new).to_numpy(), 2 * evaluations[0].horizon)


def _squared(evaluation: Evaluation, scaled: bool) -> "pd.Series[float]":
    f = evaluation.forecasts
    return ((f["y"] - f["forecast"]) / (f["scale"] if scaled else 1.0)) ** 2


# --- methods: each yields points of the unit cube (rounds, settings) and is sent their scores ------------------


def _optuna(sampler: str) -> "Callable[[int, int, int], Asks]":
    def asks(settings: int, trials: int, random_state: int) -> Asks:
        import optuna

        with _silent(optuna.logging):
            study = optuna.create_study(
                direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=random_state)
            )
        axes: Any = {f"u{i}": optuna.distributions.FloatDistribution(0.0, 1.0) for i in range(settings)}
        while True:
            asked = [study.ask(axes) for _ in range(ROUND)]
            scores = yield np.array([[t.params[axis] for axis in axes] for t in asked])
            for trial, value in zip(asked, scores, strict=False):
                failed = {"state": optuna.trial.TrialState.FAIL}
                study.tell(trial, **({"values": float(value)} if np.isfinite(value) else failed))

    return asks


def _pymoo(path: str) -> "Callable[[int, int, int], Asks]":
    def asks(settings: int, trials: int, random_state: int) -> Asks:
        from importlib import import_module

        from pymoo.core.evaluator import Evaluator
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.problems.static import StaticProblem

        module, _, kind = path.rpartition(".")
        algorithm = getattr(import_module(module), kind)(pop_size=max(4, min(10, trials // 3)))
        problem = Problem(n_var=settings, n_obj=1, xl=0.0, xu=1.0)
        algorithm.setup(problem, termination=NoTermination(), seed=random_state, verbose=False)
        while True:
            asked = algorithm.ask()
            if asked is None or not len(asked):
                return
            scores = yield np.asarray(asked.get("X"), dtype=float)
            losses = np.where(np.isfinite(scores), -scores, WORST)[:, None]
            Evaluator().eval(StaticProblem(problem, F=losses), asked)
            algorithm.tell(infills=asked)

    return asks


@contextmanager
def _silent(logging: Any) -> Iterator[None]:
    """Keep optuna from announcing on stderr that a study exists."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


METHODS: "dict[str, Callable[[int, int, int], Asks]]" = {
    "random": _optuna("RandomSampler"),
    "tpe": _optuna("TPESampler"),
    "genetic": _pymoo("pymoo.algorithms.soo.nonconvex.ga.GA"),
    "pso": _pymoo("pymoo.algorithms.soo.nonconvex.pso.PSO"),
    "de": _pymoo("pymoo.algorithms.soo.nonconvex.de.DE"),
}
