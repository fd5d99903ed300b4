"""A Dask cluster of real processes gives the bits of one process, whatever dies in the middle."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

import mltrainer as mt
from mltrainer.evaluation import engine, tasks, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import catalog
from mltrainer.trust import audit

SHORT = Protocol(split=WalkForward(folds=3))
NAMES = ["RidgeRegression", "ExtraTrees_10", "ExtraTrees_50", "LogisticRegression", "RecursiveLS", "SVR_rbf"]


class Dask:
    """`dask scheduler` and `dask worker`, each a process of its own on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        self.scheduler = self.start("scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--no-show")
        self.address = self.said(self.scheduler, r"Scheduler at:\s+(tcp://\S+)")

    def start(self, *words: str, **more: str) -> subprocess.Popen:
        """Their home is a place where nothing can be written: workers have no ledger."""
        known = {
            "MLTRAINER_HOME": "/proc/nowhere",
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "1h",
        }
        env = {k: v for k, v in os.environ.items() if k != "MLTRAINER_DASK"} | known | more
        command = [sys.executable, "-m", "dask", *words]
        with (self.folder / f"{len(self.processes)}.log").open("w") as log:
            self.processes.append(subprocess.Popen(command, env=env, cwd=self.folder, stderr=log, stdout=log))
        self.processes[-1].log = Path(log.name)
        return self.processes[-1]

    def said(self, process: subprocess.Popen, pattern: str) -> str:
        limit = time.monotonic() + 120
        while not (found := re.search(pattern, process.log.read_text())):
            assert process.poll() is None, process.log.read_text()
            assert time.monotonic() < limit, process.log.read_text()
            time.sleep(0.05)
        return found[1] if found.groups() else found[0]

    def worker(self, *words: str, **more: str) -> subprocess.Popen:
        usual = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(self.folder))
        process = self.start("worker", self.address, *usual, *(words or ("--no-nanny",)), **more)
        self.said(process, "Registered to:")
        return process

    def end(self) -> None:
        for process in self.processes:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
                child.kill()
            process.kill()
            process.wait()


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Dask]:
    (tmp_path / "dask").mkdir()
    made = Dask(tmp_path / "dask")
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def there(dask, monkeypatch) -> Callable[[], None]:
    """Begin to send batches to the cluster."""
    return lambda: monkeypatch.setenv("MLTRAINER_DASK", dask.address)


@pytest.fixture(autouse=True)
def always_apart(monkeypatch):
    monkeypatch.setattr(tasks, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "WHOLE_SHARE", 0.0)


def packed(results) -> dict[str, bytes]:
    return {e.model: e.to_bytes() for e in results}


def run(matrix, names=NAMES, protocol=SHORT):
    specs = [catalog.spec(n) if isinstance(n, str) else n for n in names]
    return engine.run(specs, [matrix], jobs=1, progress=False, protocol=protocol)


@contextmanager
def elsewhere(home: Path, monkeypatch) -> Iterator[None]:
    """Another home, with the same matrix admitted anew."""
    with monkeypatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(home.with_name("elsewhere")))
        assert mt.matrix("MSFT", start="2004-01-02", end="2008-12-31").provenance is not None
        yield


class Slow(RegressorMixin, BaseEstimator):
    """The mean, after a while."""

    def __init__(self, seconds: float = 1.0):
        self.seconds = seconds

    def fit(self, X, y):
        time.sleep(self.seconds)
        self.mean_ = float(y.mean())
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


class Deadly(Slow):
    """Kills its process."""

    def fit(self, X, y):
        os.kill(os.getpid(), signal.SIGKILL)


def sent_by_value(*kinds: type) -> None:
    """Classes of a test are in no module that a worker could import."""
    for kind in kinds:
        kind.__module__ = "__main__"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 4])
def test_workers_of_a_cluster_write_the_leaderboard_of_one_process(workers, dask, there, msft, home, monkeypatch):
    """Two and four real processes; with four, one is killed -9 while it works and nothing is lost or doubled."""
    with elsewhere(home, monkeypatch):
        alone, here = run(msft), mt.leaderboard(run(msft)).rows
        ledger = trials.ledger().sort_values("key", ignore_index=True)[["key", "blob", "model", "status", "sharpe"]]
    held = [dask.worker() for _ in range(workers)]
    there()
    told = threading.Event()

    def kill() -> None:
        while not told.wait(0.01):
            if len(trials.ledger()) >= 1:  # the first result is there, others are under way
                held[0].send_signal(signal.SIGKILL)
                return

    killer = threading.Thread(target=kill)
    if workers == 4:
        killer.start()
    try:
        found = run(msft)
    finally:
        told.set()
    if workers == 4:
        killer.join()
        assert held[0].wait(5) == -signal.SIGKILL
    assert packed(found) == packed(alone)
    pd.testing.assert_frame_equal(mt.leaderboard(found).rows[here.columns[:12]], here[here.columns[:12]])
    mine = trials.ledger().sort_values("key", ignore_index=True)
    pd.testing.assert_frame_equal(mine[ledger.columns], ledger)
    assert audit.verify() == []
