"""Many models on many tickers: a warm process pool, longest task first, every result kept the moment it is there."""

import ctypes
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from multiprocessing import connection as mpc
from types import ModuleType
from typing import Any, Literal

import psutil
from tqdm.auto import tqdm

from mltrainer.errors import BadInput
from mltrainer.evaluation import cluster, projects, trials
from mltrainer.evaluation.panels import checked
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.tasks import Agenda, Answer, Step, Task, bundles
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
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of glibc's mallopt
POLL_SECONDS = 0.1
START_SECONDS = 120.0
# Never fork: OpenMP and jax do not survive it in a process that has used them. The fork server never uses them.
START: Literal["forkserver", "spawn"] = "forkserver" if sys.platform == "linux" else "spawn"


def run(
    specs: Iterable[ModelSpec],
    matrices: Iterable[Matrix],
    *,
    protocol: Protocol | Sequence[Protocol] | None = None,
    jobs: int | None = None,
    progress: bool = True,
    project: str | None = None,
) -> list[Evaluation]:
    """Evaluate every model on every matrix under every protocol; what the ledger already holds is not computed again.

    Parameters
    ----------
    specs, matrices, protocol : what to cross; each matrix must be sealed. A panel gives a result per ticker.
    jobs : worker processes; default the number of cores. 1 computes in this process, which no budget ends. With
        MLTRAINER_DASK set the workers of that cluster do all of it, however many they are.
    progress : show a progress bar on stderr.
    project : what the trials are made for, a label in the ledger; default that of the settings.

    Returns
    -------
    Evaluations in the order of protocols, matrices, specs, then tickers. Each finished one is in the ledger before the
    next is awaited, so a killed run loses at most the tasks in flight. A task over its time or memory budget
    (settings `task_seconds`, `task_megabytes`) has its worker ended and is reported so.
    """
    matrices, specs, project = list(matrices), [catalog.claimed(s) for s in specs], projects.named(project)
    protocols = protocol if isinstance(protocol, Sequence) else [protocol or Protocol()]
    for matrix in matrices:
        gate.verify(matrix, "evaluation")
        labelled, columns = len(matrix.y.dropna().index.unique(0)), matrix.X.shape[1]
        for one in protocols:
            checked(matrix, one)
            next(one.split.split(labelled, matrix.horizon, columns))  # too short is said before any work
    jobs = effective_jobs(jobs)
    shares = {s.name: sharing.group(s.estimator) if settings().share else "" for s in specs}
    crossed = product(protocols, matrices, specs)
    tasks = [Task(s, m, p, trials.key(s, m, p), shares[s.name]) for p, m, s in crossed]
    known = {k: e for t in tasks for k in t.keys.values() if (e := trials.load(k)) is not None}
    projects.joins(known.values(), project)
    todo = list({t.key: t for t in tasks if not known.keys() >= set(t.keys.values())}.values())
    jobs = _workers(todo, jobs)
    total = len({k for t in tasks for k in t.keys.values()})
    with tqdm(total=total, initial=len(known), disable=unwatched(progress) or not todo, unit="fit", leave=False) as bar:
        for task, result in results(todo, jobs):
            if result.status != "unavailable":
                said = projects.differences(task.spec, task.matrix, task.protocol)
                result = trials.record(projects.labelled(result, said, project), task.matrix)
            known[result.key] = result
            bar.set_postfix_str(task.spec.name, refresh=False)
            bar.update()
    return [known[k] for t in tasks for k in t.keys.values()]


def effective_jobs(jobs: int | None) -> int:
    """So many worker processes; None is one for each core."""
    if jobs is not None and jobs < 1:
        raise BadInput(f"jobs={jobs} is not a number of worker processes; use 1 or more")
    return jobs or os.cpu_count() or 1


def unwatched(progress: bool = True) -> bool:
    """Whether a progress bar would be for nobody: not asked for, or neither a terminal nor a notebook shows it."""
    return not progress or not (sys.stderr.isatty() or "ipykernel" in sys.modules)


def results(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Evaluation]]:
    """Do tasks in so many worker processes, in this one, or on the cluster of MLTRAINER_DASK; nothing is stored."""
    tasks = list(tasks)
    if tasks and settings().dask:
        return cluster.results(tasks)
    return _serial(tasks) if jobs == 1 else Pool(jobs).map(tasks)


def _workers(todo: list[Task], jobs: int) -> int:
    """So many that each has something to do, at least one; a single task is done here, unless its folds are many."""
    return min(jobs, max(len(todo), len(Agenda.of(todo, jobs).waiting) if jobs > 1 else 1, 1))


def _serial(tasks: Iterable[Task]) -> Iterator[tuple[Task, Evaluation]]:
    try:
        for task in (t for bundle in bundles(tasks) for t in bundle):
            for result in task.work(task.spec, task.matrix, task.protocol, task.key, task.shares):
                yield task, result
    finally:
        sharing.share("")


# --- the pool -------------------------------------------------------------------------------------------------


@dataclass
class Worker:
    """One process and what it is doing."""

    process: Any
    pipe: Any
    holds: set[str] = field(default_factory=set)
    step: Step | None = None
    rest: list[Step] = field(default_factory=list)  # of the bundle it is at
    since: float = field(default_factory=time.monotonic)
    started: bool = False


Found = Iterator[tuple[Task, Evaluation]]


@dataclass
class Pool:
    """Workers that stay warm between tasks and are ended, alone, when one breaks its budget or dies.

    joblib and concurrent.futures cannot end one worker without losing the others' tasks; this one can.
    """

    jobs: int
    workers: list[Worker] = field(default_factory=list)
    agenda: Agenda = field(default_factory=Agenda)

    def map(self, tasks: Iterable[Task]) -> Found:
        """Yield (task, result) as they finish, the longest tasks first; a panel's task gives a result per ticker."""
        self.agenda, knobs = Agenda.of(tasks, self.jobs), settings()
        try:
            while busy := self._busy():
                ready = mpc.wait([w.pipe for w in busy], timeout=POLL_SECONDS)
                for worker in busy:
                    if worker.step is None:  # its task was ended by another of its folds
                        continue
                    yield from self._heard(worker) if worker.pipe in ready else self._checked(worker, knobs)
        finally:
            for worker in self.workers:
                _end(worker)

    def _busy(self) -> list[Worker]:
        """The workers that have something to do, once all that are free have been given what waits."""
        for worker in (w for w in self.workers if w.step is None):
            if steps := self.agenda.left(worker.rest) or self.agenda.take():
                worker.rest = steps[1:]
                _give(worker, steps[0])
        while len(self.workers) < self.jobs and (steps := self.agenda.take()):
            self.workers.append(_start(steps))
        return [w for w in self.workers if w.step is not None]

    def _heard(self, worker: Worker) -> Found:
        step = worker.step
        assert step is not None
        try:
            said: Answer | None = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(1)
            yield from self._ended(step.task, "failed", f"the worker died (exit code {worker.process.exitcode})")
            return
        if said is None:  # it is ready for its first task
            worker.started = True
            _give(worker, step)
            return
        worker.step = None
        if "memory" in (said[0].status if isinstance(said, list) else said.failure):
            self._leave(worker)
        yield from self.agenda.told(step, said, time.monotonic() - worker.since)

    def _checked(self, worker: Worker, knobs: Settings) -> Found:
        """End the task of a worker that breaks its budget; time is that of all folds together."""
        step, now = worker.step, time.monotonic()
        assert step is not None
        if not worker.started:
            if now - worker.since > START_SECONDS:
                yield from self._ended(step.task, "failed", f"the worker did not start within {START_SECONDS:g} s")
            return
        limit, key = knobs.task_seconds * len(step.task.matrix.tickers), step.task.key
        under_way = sum(now - w.since for w in self.workers if w.started and w.step and w.step.task.key == key)
        if self.agenda.spent.get(key, 0.0) + under_way > limit:
            reason = f"over its time budget of {limit:g} s (MLTRAINER_TASK_SECONDS)"
            yield from self._ended(step.task, "timeout", reason)
        elif _megabytes(worker) > knobs.task_megabytes:
            most = f"{knobs.task_megabytes:g} MB (MLTRAINER_TASK_MEGABYTES)"
            yield from self._ended(step.task, "memory", f"over its memory budget of {most}")

    def _ended(self, task: Task, status: str, reason: str) -> Found:
        """End every worker that is at a task, and say so of each of its tickers."""
        found = self.agenda.end(task, status, reason)
        for worker in [w for w in self.workers if w.step and w.step.task.key == task.key]:
            worker.step = None
            self._leave(worker)
        yield from found

    def _leave(self, worker: Worker) -> None:
        """End a worker; what is left of its bundle is the next to be begun."""
        _end(worker)
        self.workers.remove(worker)
        if rest := self.agenda.left(worker.rest):
            self.agenda.waiting.append(rest)


def _start(bundle: list[Step]) -> Worker:
    processes = context()
    ours, theirs = processes.Pipe()
    with clean_start():
        process = processes.Process(target=_work, args=(theirs, dict(os.environ)), daemon=True)
        process.start()
    theirs.close()
    return Worker(process, ours, step=bundle[0], rest=bundle[1:])


def context() -> Any:
    """How processes begin: on Linux by a server that imports once for all, so that one that was ended is back at once.

    They have the environment of the server's start; give them that of who asks (`take_environment`).
    """
    found: Any = mp.get_context(START)
    if START == "forkserver":
        found.set_forkserver_preload([__name__, "mltrainer.models.catalog"])
    return found


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


def _give(worker: Worker, step: Step) -> None:
    # Only to a worker that waits for it: sending a matrix to one that is still importing would hold up all the others.
    worker.step, worker.since = step, time.monotonic()
    content = _content(step.task.matrix)
    matrix = None if content in worker.holds else step.task.matrix
    worker.holds.add(content)
    with suppress(OSError):  # a worker that died is found when it is heard
        worker.pipe.send((step.bare(), content, matrix))


def _content(matrix: Matrix) -> str:
    # A probe of `leakcheck` is never sealed, and must not pass for the matrix it was made from.
    return matrix.provenance.content_sha256 if matrix.provenance else matrix.fingerprint()


def _megabytes(worker: Worker) -> float:
    with suppress(psutil.Error):
        return float(psutil.Process(worker.process.pid).memory_info().rss / 2**20)
    return 0.0


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join(5)
    worker.pipe.close()


@contextmanager
def executor(jobs: int, prepare: Callable[..., object] = tuple, *given: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool for what has no budget; its processes hear no Ctrl-C, and are gone with this one or with what it is for.

    `prepare(*given)` is the first call in each.
    """
    with clean_start(), ProcessPoolExecutor(jobs, context(), _prepared, (dict(os.environ), prepare, *given)) as pool:
        try:
            yield pool
        except BaseException:  # Ctrl-C too: nobody wants to wait for what nobody will see
            for process in list(pool._processes.values()):
                process.kill()
            raise


def _prepared(environment: Mapping[str, str], prepare: Callable[..., object], *given: Any) -> None:
    take_environment(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_with_parent()
    prepare(*given)


def take_environment(environment: Mapping[str, str]) -> None:
    """Have the variables of who asks: what the fork server begins has those of the moment when it began itself."""
    os.environ.clear()
    os.environ.update(environment)


def leave_with_parent() -> None:
    """End this process with the one that asked for it, also if that was killed."""
    parent = mp.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _work(pipe: Any, environment: Mapping[str, str]) -> None:
    """Body of a worker: hold matrices, evaluate what is asked, leave when the parent is gone."""
    take_environment(environment)
    leave_with_parent()
    held: dict[str, Matrix] = {}
    release = keep_pages()
    with suppress(EOFError, KeyboardInterrupt):
        pipe.send(None)
        while True:
            step, content, matrix = pipe.recv()
            held[content] = held.get(content, matrix)
            pipe.send(step.done(held[content]))
            release()  # the next task's budget is for what that takes


def keep_pages() -> Callable[[], object]:
    """Have glibc keep the pages that arrays give back; returns what gives them to the system.

    An optimizer takes and gives back a kernel matrix at every step, and the system clears its pages each time: that is
    an eighth of the CPU seconds of a Gaussian process.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        return partial(libc.malloc_trim, 0)
    except (OSError, AttributeError):  # another system, whose library has no such call
        return lambda: None
