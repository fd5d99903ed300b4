"""Batches on a Dask cluster: the same steps by the workers of a scheduler that somebody runs, to the same bits.

Workers are given a matrix once and steps as they are free. They write nothing: what they say comes back, and the
process that asked writes the ledger. What a lost worker was at is done again by another.
"""

import hashlib
import platform
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from mltrainer.errors import BadInput, MltrainerError, Unavailable
from mltrainer.evaluation import trials
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.tasks import Agenda, Answer, Step, Task
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.settings import settings

HOUSE = Path(__file__).resolve().parents[1]
CONNECT_SECONDS = 10.0
NOBODY_SECONDS = 60.0  # without any worker, after which the batch is given up
POLL_SECONDS = 0.5
TRIES = 3  # of a call whose workers die, all of them at once
Said = TypeVar("Said")
Work = Callable[[Any, Any], Said]
_one_at_a_time = threading.Lock()  # warnings, BLAS threads and shared fits are of the process, not of a thread


class Lost(Exception):
    """No worker is left that knows what was asked."""


@dataclass
class Cluster:
    """A scheduler that was reached, what its workers hold, and what they are at."""

    address: str
    client: Any
    expected: tuple[tuple[str, str], ...]
    held: dict[int, Any] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)
    ready: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)
    _counted: tuple[float, int] = (-1.0, 0)

    @property
    def workers(self) -> int:
        """Worker processes that there are now; threads of one process do not count, as they would share its state."""
        if time.monotonic() - self._counted[0] > 1.0:
            self._counted = time.monotonic(), len(self.client.nthreads())
        return self._counted[1]

    def begin(self, work: Callable[..., Any], common: Any, given: Any) -> Any:
        """Have `work(common, given)` done by a worker; what is common is sent once to each, whatever is done with it.

        Calls are answered in any order, each by `ready`.
        """
        if id(common) not in self.held:
            self.held[id(common)] = self.client.scatter(common, broadcast=True, hash=False)
        future = self.client.submit(_alone, work, self.held[id(common)], given, self.expected, pure=False, retries=0)
        future.add_done_callback(self.ready.put)
        return future

    def forget(self, common: Any) -> None:
        """Send it again with the next call: the workers that held it are gone."""
        self.held.pop(id(common), None)

    def keep(self, needed: Iterable[Any]) -> None:
        """Let workers forget all that was sent and is not among what is still needed."""
        left = {id(common) for common in needed}
        self.held = {key: future for key, future in self.held.items() if key in left}

    def ended(self, running: Mapping[Any, Any]) -> list[Any]:
        """Those of the calls that have ended, or none after a moment; `Unavailable` once nobody is left to do them."""
        with suppress(queue.Empty):
            self.ready.get(timeout=POLL_SECONDS)
        if self.client.status != "running":
            self._lost("the Dask scheduler at {} is gone")
        nobody = time.monotonic()
        while not self.workers:
            if time.monotonic() - nobody > NOBODY_SECONDS:
                self._lost("the Dask scheduler at {} has no worker any more")
            time.sleep(POLL_SECONDS)
        return [future for future in running if future.status != "pending"]

    def _lost(self, what: str) -> None:
        raise Unavailable(f"{what.format(self.address)}; what is finished is kept, and the same call goes on from here")

    def stop(self, future: Any) -> None:
        """Take a call off and begin its worker anew, as nothing else ends what it is at; that takes a nanny."""
        at = [worker for worker, keys in self.client.processing().items() if future.key in keys]
        future.cancel()
        with suppress(Exception):  # a worker without a nanny goes on, and what it says is not heard
            self.client.restart_workers(at, timeout=30, raise_for_error=False)
            self.client.run(difference, self.expected)  # it imports now, and not in the time of its next task


def _alone(work: "Work[Said]", common: Any, given: Any, expected: tuple[tuple[str, str], ...]) -> Said:
    """Body of a call on a worker."""
    if said := difference(expected):
        raise BadInput(said)
    with _one_at_a_time:
        return work(common, given)


@contextmanager
def connected(specs: Iterable[ModelSpec]) -> Iterator[Cluster]:
    """The cluster of the settings, once it is shown to run what runs here; what it is at is taken off at the end."""
    address = settings().dask or ""
    client = _client(address)
    try:
        expected = tuple(sorted(known(specs).items()))
        for worker, said in _asked(client, address, partial(difference, expected)).items():
            if said:
                raise BadInput(f"Dask worker {worker}: {said}")
        cluster = Cluster(address, client, expected)
        yield cluster
    finally:
        with suppress(Exception):  # a scheduler that is gone cannot be told so
            client.close(timeout=2)


def _client(address: str) -> Any:
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise Unavailable(
            "MLTRAINER_DASK is set and distributed is not installed: pip install 'mltrainer[cluster]'"
        ) from None
    if not address.startswith(("tcp://", "tls://")):
        raise BadInput(
            f"MLTRAINER_DASK={address[:80]} is no address of a Dask scheduler; give tcp:// or tls://host:port"
        )
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TypeError: tls:// without certificates in Dask's configuration
        why = str(error).splitlines()[0][:160]
        start = "start one with `dask scheduler`, or unset it"
        raise Unavailable(f"no Dask scheduler answers at MLTRAINER_DASK={address} ({why}); {start}") from None


def _asked(client: Any, address: str, question: Callable[[], str]) -> dict[str, str]:
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        return dict(client.run(question))
    except TimeoutError:
        start = f"`dask worker {address} --nthreads 1`"
        raise Unavailable(f"the Dask scheduler at {address} has no workers; start some with {start}") from None
    except Exception as error:  # of a worker that cannot read the question, or died meanwhile
        if "No module named" not in str(error):
            return {}  # each call asks again
        said = str(error).splitlines()[0][:160]
        raise Unavailable(f"a Dask worker of {address} has no mltrainer that answers ({said})") from None


# --- the same versions ----------------------------------------------------------------------------------------


def known(specs: Iterable[ModelSpec]) -> dict[str, str]:
    """What decides the bits of a result besides the machine: Python, libraries, and the code of this package."""
    libraries = {name: version for spec in specs for name, version in trials.libraries(spec).items()}
    libraries |= trials.versions(["pandas", "threadpoolctl"])
    return libraries | {"Python": _python(), "code of mltrainer": _code()}


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


@cache
def _code() -> str:
    """Hash of every module of the package."""
    files = sorted(HOUSE.rglob("*.py"))
    text = b"".join(f"{file.relative_to(HOUSE)}".encode() + file.read_bytes() for file in files)
    return hashlib.sha256(text).hexdigest()[:12]


@cache
def difference(expected: tuple[tuple[str, str], ...]) -> str:
    """How this process differs from what is expected, in words; "" where it does not."""
    own = {"Python": _python(), "code of mltrainer": _code()}
    own |= trials.versions(name for name, _ in expected if name not in own)
    differs = [(name, version) for name, version in expected if own.get(name) != version]
    said = [f"{name} {own.get(name, 'missing')}, not {version}" for name, version in differs]
    return f"it has {'; '.join(said)}, so its results could differ in their bits; install the same" if said else ""


# --- batches --------------------------------------------------------------------------------------------------


def _done(matrix: Matrix, steps: list[Step]) -> list[tuple[Answer, float]]:
    """Do the steps of a bundle one after another, each with its seconds."""
    answers = []
    for step in steps:
        begin = time.monotonic()
        answers.append((step.done(matrix), time.monotonic() - begin))
    return answers


Bundle = tuple[list[Step], float]  # and when it was begun


def results(tasks: Iterable[Task]) -> Iterator[tuple[Task, Evaluation]]:
    """Do tasks on the cluster and yield each result as it comes; nothing is stored.

    A task over its time budget is ended if its worker has a nanny; memory is what `dask worker --memory-limit` says.
    """
    tasks = list(tasks)
    with connected(task.spec for task in tasks) as cluster:
        agenda, running = Agenda.of(tasks, cluster.workers), dict[Any, Bundle]()
        while True:
            while len(running) < cluster.workers and (steps := agenda.take()):
                future = cluster.begin(_done, steps[0].task.matrix, [step.bare() for step in steps])
                running[future] = steps, time.monotonic()
            if not running:
                return
            for future in cluster.ended(running):
                steps, _ = running.pop(future)
                yield from _heard(cluster, agenda, future, steps)
            yield from _over_budget(cluster, agenda, running)
            if len(cluster.held) > 1:
                cluster.keep(bundle[0].task.matrix for bundle in (*agenda.waiting, *(s for s, _ in running.values())))


def _answer(future: Any) -> tuple[Any, Exception | None]:
    """What a call said, or its error; `Lost` where it went with the last worker that held what is common."""
    try:
        return future.result(), None
    except Exception as error:
        gone = future.status in ("cancelled", "lost") or "Cancelled" in type(error).__name__
        return None, Lost() if gone else error


def _heard(cluster: Cluster, agenda: Agenda, future: Any, steps: list[Step]) -> Iterator[tuple[Task, Evaluation]]:
    (answers, error), first = _answer(future), steps[0].task
    if isinstance(error, MltrainerError):
        raise error
    if error is None:
        for step, (said, seconds) in zip(steps, answers, strict=True):
            yield from agenda.told(step, said, seconds)
        return
    if isinstance(error, Lost):
        cluster.forget(first.matrix)
        cluster.losses[first.key] += 1
    if len(steps) > 1:  # which of them it was is found out one by one
        agenda.waiting += [[step] for step in reversed(steps)]
    elif isinstance(error, Lost) and cluster.losses[first.key] <= TRIES:
        agenda.waiting.append(steps)
    else:
        died = isinstance(error, Lost) or type(error).__name__ == "KilledWorker"
        why = "the workers that tried it died" if died else f"{type(error).__name__}: {error}".splitlines()[0][:300]
        yield from agenda.end(first, "failed", why)


def _over_budget(cluster: Cluster, agenda: Agenda, running: dict[Any, Bundle]) -> Iterator[tuple[Task, Evaluation]]:
    budget, now = settings().task_seconds, time.monotonic()
    for future, (steps, since) in list(running.items()):
        limit = budget * sum(len(step.task.matrix.tickers) for step in steps)
        before = sum(agenda.spent.get(step.task.key, 0.0) for step in steps)
        if before + now - since <= limit:
            continue
        del running[future]
        cluster.stop(future)
        late = time.monotonic() - now  # the others had to wait for that, too
        running |= {other: (theirs, begun + late) for other, (theirs, begun) in running.items()}
        if len(steps) > 1:
            agenda.waiting += [[step] for step in reversed(steps)]
        else:
            reason = f"over its time budget of {limit:g} s (MLTRAINER_TASK_SECONDS)"
            yield from agenda.end(steps[0].task, "timeout", reason)


def each(work: "Work[Said]", common: Any, items: Iterable[Any], specs: Iterable[ModelSpec]) -> Iterator[Said]:
    """`work(common, item)` for every item, in the order in which they are done; the items are made as they are sent."""
    with connected(specs) as cluster:
        left, running, again = iter(items), dict[Any, Any](), list[Any]()
        while True:
            while len(running) < cluster.workers and (item := again.pop() if again else next(left, None)) is not None:
                running[cluster.begin(work, common, item)] = item
            if not running:
                return
            for future in cluster.ended(running):
                item, (said, error) = running.pop(future), _answer(future)
                if error is None:
                    yield said
                elif isinstance(error, Lost) and cluster.losses["each"] < TRIES * cluster.workers:
                    cluster.forget(common)
                    cluster.losses["each"] += 1
                    again.append(item)
                elif isinstance(error, MltrainerError):
                    raise error
                else:
                    raise Unavailable(f"a Dask worker could not do its part: {type(error).__name__}: {error}") from None
