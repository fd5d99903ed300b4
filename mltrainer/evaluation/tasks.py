"""What workers are given: whole tasks or their folds, the longest first, and how folds come together again."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from mltrainer.evaluation import code, judging
from mltrainer.evaluation.judging import Walked, evaluate, evaluate_each
from mltrainer.evaluation.panels import keys
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec

WHOLE_SECONDS = 1.0  # expected CPU seconds up to which models that share fits are one task
WHOLE_SHARE = 0.05  # of what each worker has to do: what is shorter cannot hold up the others
TOGETHER = 8  # matrices under way at once, so that a worker need not hold a thousand of them
Answer = list[Evaluation] | Walked


def answer(spec: ModelSpec, matrix: Matrix, protocol: Protocol, key: str, shares: str) -> list[Evaluation]:
    """The usual work of a task: judge the model, one result per ticker."""
    sharing.share(shares)
    if len(matrix.tickers) > 1:
        return evaluate_each(spec, matrix, protocol, key)
    return [evaluate(spec, matrix, protocol, key)]


@dataclass(frozen=True)
class Task:
    """One model on one matrix; `key` is the address of its result, `shares` names whom it can share fits with.

    `work` is what is done with these, a function that a worker process can import.
    """

    spec: ModelSpec
    matrix: Matrix
    protocol: Protocol
    key: str
    shares: str = ""
    work: Callable[[ModelSpec, Matrix, Protocol, str, str], list[Evaluation]] = answer

    @property
    def seconds(self) -> float:
        """Expected CPU seconds: the spec's measured cost, scaled by rows."""
        return self.spec.cost * len(self.matrix.X) / 3000

    @property
    def keys(self) -> dict[str, str]:
        """Address of the result of each ticker."""
        return keys(self.matrix, self.key)

    def each(self, status: str, reason: str) -> list[Evaluation]:
        """Results of a task that was ended: one per ticker."""
        s, m = self.spec, self.matrix
        base = (s.name, s.family, s.task)
        return [Evaluation(k, *base, t, m.horizon, status, reason, target=m.target) for t, k in self.keys.items()]

    @property
    def folds(self) -> list[float]:
        """Share of the work that each fold is, where folds may be done apart and in any order; else empty.

        A fold begins with a fresh clone of the estimator, so that none knows of another. Of an estimator that goes on
        where its last fit ended (`warm_start`), and of code of one's own, that is not known: they are walked in order.
        """
        spec, matrix = self.spec, self.matrix
        if self.work is not answer or judging.unsuited(spec, matrix) or not independent(spec.estimator):
            return []
        sessions = len(matrix.y.dropna().index.unique(0))
        sizes = [len(cut.train) for cut in self.protocol.split.split(sessions, matrix.horizon, matrix.X.shape[1])]
        return [size / max(sum(sizes), 1) for size in sizes]


def independent(estimator: Any) -> bool:
    """Whether no fit of an estimator can know of another: only libraries at work, and none told to start warm."""
    told = estimator.get_params() if hasattr(estimator, "get_params") else getattr(estimator, "params", {})
    warm = any(value for name, value in told.items() if name.rpartition("__")[2] == "warm_start")
    return not warm and not code.source(estimator)


@dataclass(frozen=True)
class Step:
    """What a worker does at once: a task, one `fold` of it, or the judging of what all folds said (`walks`)."""

    task: Task
    fold: int | None = None
    walks: tuple[Walked, ...] = ()
    share: float = 1.0

    @property
    def seconds(self) -> float:
        """Expected CPU seconds."""
        return self.task.seconds * self.share

    def bare(self) -> "Step":
        """Itself without the matrix, which the worker holds."""
        return replace(self, task=replace(self.task, matrix=None))  # type: ignore[arg-type]

    def done(self, matrix: Matrix) -> Answer:
        """Do it on the matrix."""
        task = self.task
        given = (task.spec, matrix, task.protocol)
        if self.walks:
            return judging.judged(*given, task.key, self.walks)
        if self.fold is None:
            return task.work(*given, task.key, task.shares)
        sharing.share(task.shares and f"{task.shares} {self.fold}")
        return judging.walked(*given, self.fold)


@dataclass
class Agenda:
    """Bundles of steps that wait, the longest last, and what the folds that are done have said.

    Steps that can share fits are one bundle and go to one worker, one after another. What is long beside the rest is
    taken apart by folds, so that one model does not outlast all others.
    """

    waiting: list[list[Step]] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    _walks: dict[str, dict[int, Walked]] = field(default_factory=dict)
    _due: dict[str, int] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, tasks: Iterable[Task], workers: int) -> "Agenda":
        """Put tasks in order for so many workers; one of them walks no folds apart."""
        whole = bundles(tasks)
        fair = sum(task.seconds for bundle in whole for task in bundle) / workers
        agenda = cls()
        for bundle in whole:
            long = sum(task.seconds for task in bundle) > max(WHOLE_SECONDS, WHOLE_SHARE * fair)
            apart = [task.folds for task in bundle] if long and workers > 1 else [[]]
            agenda.waiting += agenda._apart(bundle, apart) if all(apart) else [[Step(task) for task in bundle]]
        seen: dict[int, int] = {}
        for bundle in whole:
            seen.setdefault(id(bundle[0].matrix), len(seen))

        def late(steps: list[Step]) -> tuple[int, float]:
            return -(seen[id(steps[0].task.matrix)] // TOGETHER), max(step.seconds for step in steps)

        agenda.waiting.sort(key=late)
        return agenda

    def _apart(self, bundle: list[Task], shares: list[list[float]]) -> list[list[Step]]:
        self._due |= {task.key: len(folds) for task, folds in zip(bundle, shares, strict=True)}
        return [
            [Step(task, fold, (), folds[fold]) for task, folds in zip(bundle, shares, strict=True)]
            for fold in range(len(shares[0]))
        ]

    def take(self) -> list[Step]:
        """The next bundle; empty where nothing waits."""
        while self.waiting:
            if steps := self.left(self.waiting.pop()):
                return steps
        return []

    def left(self, steps: Iterable[Step]) -> list[Step]:
        """Those steps whose task has not been ended."""
        return [step for step in steps if step.task.key not in self._ended]

    def told(self, step: Step, said: Answer, seconds: float = 0.0) -> list[tuple[Task, Evaluation]]:
        """The results that an answer gives: none for a fold, whose last one makes its task ready to be judged."""
        key = step.task.key
        self.spent[key] = self.spent.get(key, 0.0) + seconds
        if key in self._ended:
            return []
        if isinstance(said, list):
            return [(step.task, result) for result in said]
        assert step.fold is not None
        walks = self._walks.setdefault(key, {})
        walks[step.fold] = said
        if len(walks) == self._due[key]:
            self.waiting.append([Step(step.task, walks=tuple(walks[fold] for fold in sorted(walks)), share=0.0)])
            del self._walks[key]
        return []

    def end(self, task: Task, status: str, reason: str) -> list[tuple[Task, Evaluation]]:
        """Take a task off, with all its folds; a result for each ticker says why."""
        self._ended.add(task.key)
        self._walks.pop(task.key, None)
        return [(task, result) for result in task.each(status, reason)]


def bundles(tasks: Iterable[Task]) -> list[list[Task]]:
    """Tasks that can share fits go to one worker, one after another; the longest is first among and in the bundles."""
    found: dict[tuple[int, str], list[Task]] = {}
    for task in sorted(tasks, key=lambda t: -t.seconds):
        found.setdefault((id(task.matrix), task.shares or f"{task.spec.name} {task.key}"), []).append(task)
    return list(found.values())
