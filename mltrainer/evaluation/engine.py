"""Many models on many tickers: a warm process pool, longest task first, every result kept the moment it is there."""

import multiprocessing as mp
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection as mpc
from types import ModuleType
from typing import Any, Literal

import psutil
from tqdm.auto import tqdm

from mltrainer.errors import BadInput
from mltrainer.evaluation import projects, trials
from mltrainer.evaluation.judging import evaluate, evaluate_each
from mltrainer.evaluation.panels import checked, keys
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog, sharing
from mltrainer.models.base import ModelSpec
from mltrainer.settings import Settings, settings
from mltrainer.trust import gate

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
POLL_SECONDS = 0.1
START_SECONDS = 120.0
# Never fork: OpenMP and jax do not survive it in a process that has used them. The fork server never uses them.
START: Literal["forkserver", "spawn"] = "forkserver" if sys.platform == "linux" else "spawn"


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


def run(
    specs: Iterable[ModelSpec],
    matrices: Iterable[Matrix],
    *,
    protocol: Protocol | None = None,
    jobs: int | None = None,
    progress: bool = True,
    project: str | None = None,
) -> list[Evaluation]:
    """Evaluate every model on every matrix; what the ledger already holds is not computed again.

    Parameters
    ----------
    specs, matrices : what to cross; each matrix must be sealed. A panel gives a result per ticker.
    jobs : worker processes; default the number of cores. 1 computes in this process, which no budget ends.
    progress : show a progress bar on stderr.
    project : what the trials are made for, a label in the ledger; default that of the settings.

    Returns
    -------
    Evaluations in the order of matrices, then specs, then tickers. Each finished one is in the ledger before the next
    is awaited, so a killed run loses at most the tasks in flight. A task over its time or memory budget
    (settings `task_seconds`, `task_megabytes`) has its worker ended and is reported so.
    """
    matrices, specs, protocol = list(matrices), [catalog.claimed(s) for s in specs], protocol or Protocol()
    project = projects.named(project)
    for matrix in matrices:
        gate.verify(matrix, "evaluation")
        checked(matrix, protocol)
        labelled, columns = len(matrix.y.dropna().index.unique(0)), matrix.X.shape[1]
        next(protocol.split.split(labelled, matrix.horizon, columns))  # too short is said before any work
    if jobs is not None and jobs < 1:
        raise BadInput(f"jobs={jobs} is not a number of worker processes; use 1 or more")
    shares = {s.name: sharing.group(s.estimator) if settings().share else "" for s in specs}
    tasks = [Task(s, m, protocol, trials.key(s, m, protocol), shares[s.name]) for m in matrices for s in specs]
    known = {k: e for t in tasks for k in t.keys.values() if (e := trials.load(k)) is not None}
    projects.joins(known.values(), project)
    todo = list({t.key: t for t in tasks if not known.keys() >= set(t.keys.values())}.values())
    jobs = min(jobs or os.cpu_count() or 1, max(len(todo), 1))
    total = len({k for t in tasks for k in t.keys.values()})
    with tqdm(total=total, initial=len(known), disable=unwatched(progress) or not todo, unit="fit", leave=False) as bar:
        for task, result in results(todo, jobs):
            if result.status != "unavailable":
                said = projects.differences(task.spec, task.matrix, protocol)
                result = trials.record(projects.labelled(result, said, project), task.matrix)
            known[result.key] = result
            bar.set_postfix_str(task.spec.name, refresh=False)
            bar.update()
    return [known[k] for t in tasks for k in t.keys.values()]


def unwatched(progress: bool = True) -> bool:
    """Whether a progress bar would be for nobody: not asked for, or neither a terminal nor a notebook shows it."""
    return not progress or not (sys.stderr.isatty() or "ipykernel" in sys.modules)


def results(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Evaluation]]:
    """Do tasks in so many worker processes, or in this one, and yield each result as it comes; nothing is stored."""
    return _serial(tasks) if jobs == 1 else Pool(jobs).map(tasks)


def _serial(tasks: Iterable[Task]) -> Iterator[tuple[Task, Evaluation]]:
    try:
        for task in (t for bundle in _bundles(tasks) for t in bundle):
            for result in task.work(task.spec, task.matrix, task.protocol, task.key, task.shares):
                yield task, result
    finally:
        sharing.share("")


def _bundles(tasks: Iterable[Task]) -> list[list[Task]]:
    """Tasks that can share fits go to one worker, one after another; the longest is first among and in the bundles."""
    bundles: dict[tuple[int, str], list[Task]] = {}
    for task in sorted(tasks, key=lambda t: -t.seconds):
        bundles.setdefault((id(task.matrix), task.shares or f"{task.spec.name} {task.key}"), []).append(task)
    return list(bundles.values())


# --- the pool -------------------------------------------------------------------------------------------------


@dataclass
class Worker:
    """One process and what it is doing."""

    process: Any
    pipe: Any
    holds: set[str] = field(default_factory=set)
    task: Task | None = None
    rest: list[Task] = field(default_factory=list)  # of the bundle it is at
    since: float = field(default_factory=time.monotonic)
    started: bool = False


@dataclass
class Pool:
    """Workers that stay warm between tasks and are ended, alone, when one breaks its budget or dies.

    joblib and concurrent.futures cannot end one worker without losing the others' tasks; this one can.
    """

    jobs: int
    workers: list[Worker] = field(default_factory=list)

    def map(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Evaluation]]:
        """Yield (task, result) as they finish, the longest tasks first; a panel's task gives a result per ticker."""
        waiting, knobs = _bundles(tasks)[::-1], settings()
        try:
            self.workers = [_start(waiting.pop()) for _ in range(min(self.jobs, len(waiting)))]
            while busy := [w for w in self.workers if w.task is not None]:
                ready = mpc.wait([w.pipe for w in busy], timeout=POLL_SECONDS)
                for worker in busy:
                    task = worker.task
                    assert task is not None
                    results = _receive(worker) if worker.pipe in ready else _over_budget(worker, knobs)
                    if results is None:
                        continue
                    worker.task = None
                    bundle = worker.rest or (waiting.pop() if waiting else [])
                    if not worker.process.is_alive() or results[0].status == "memory":
                        _end(worker)
                        self.workers.remove(worker)
                        self.workers += [_start(bundle)] if bundle else []
                    elif bundle:
                        worker.rest = bundle[1:]
                        _give(worker, bundle[0])
                    yield from ((task, result) for result in results)
        finally:
            for worker in self.workers:
                _end(worker)


def _start(bundle: list[Task]) -> Worker:
    context: Any = mp.get_context(START)
    if START == "forkserver":  # its server imports once for all workers, and a worker that was ended is back at once
        context.set_forkserver_preload([__name__, "mltrainer.models.catalog"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    with clean_start():
        process.start()
    theirs.close()
    return Worker(process, ours, task=bundle[0], rest=bundle[1:])


@contextmanager
def clean_start() -> Iterator[None]:
    """Processes that start inside use one thread each and do not run the caller's script again."""
    with _one_thread(), _no_script():
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@contextmanager
def _no_script() -> Iterator[None]:
    # spawn runs the caller's script again in every child; one without a `__main__` guard would evaluate for ever
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _give(worker: Worker, task: Task) -> None:
    # Only to a worker that waits for it: sending a matrix to one that is still importing would hold up all the others.
    worker.task, worker.since = task, time.monotonic()
    content = _content(task.matrix)
    matrix = None if content in worker.holds else task.matrix
    worker.holds.add(content)
    with suppress(OSError):  # a worker that died is found by `_receive`
        worker.pipe.send((task.work, task.spec, content, matrix, task.protocol, task.key, task.shares))


def _content(matrix: Matrix) -> str:
    # A probe of `leakcheck` is never sealed, and must not pass for the matrix it was made from.
    return matrix.provenance.content_sha256 if matrix.provenance else matrix.fingerprint()


def _receive(worker: Worker) -> list[Evaluation] | None:
    try:
        results: list[Evaluation] | None = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(1)
        return _ended(worker, "failed", f"the worker died (exit code {worker.process.exitcode})")
    if results is None and worker.task is not None:  # it is ready for its first task
        worker.started = True
        _give(worker, worker.task)
    return results


def _over_budget(worker: Worker, knobs: Settings) -> list[Evaluation] | None:
    assert worker.task is not None
    spent, limit = time.monotonic() - worker.since, knobs.task_seconds * len(worker.task.matrix.tickers)
    if not worker.started:
        late = spent > START_SECONDS
        return _ended(worker, "failed", f"the worker did not start within {START_SECONDS:g} s") if late else None
    if spent > limit:
        return _ended(worker, "timeout", f"over its time budget of {limit:g} s (MLTRAINER_TASK_SECONDS)")
    with suppress(psutil.Error):
        used = psutil.Process(worker.process.pid).memory_info().rss / 2**20
        if used > knobs.task_megabytes:
            most = f"{knobs.task_megabytes:g} MB (MLTRAINER_TASK_MEGABYTES)"
            return _ended(worker, "memory", f"over its memory budget of {most}")
    return None


def _ended(worker: Worker, status: str, reason: str) -> list[Evaluation]:
    worker.process.kill()
    worker.process.join(5)
    assert worker.task is not None
    return worker.task.each(status, reason)


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join(5)
    worker.pipe.close()


def _work(pipe: Any) -> None:
    """Body of a worker: hold matrices, evaluate what is asked, leave when the parent is gone."""
    parent = mp.parent_process()

    def leave_with_parent() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
    held: dict[str, Matrix] = {}
    with suppress(EOFError, KeyboardInterrupt):
        pipe.send(None)
        while True:
            work, spec, content, matrix, protocol, key, shares = pipe.recv()
            held[content] = held.get(content, matrix)
            pipe.send(work(spec, held[content], protocol, key, shares))
