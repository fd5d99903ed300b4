"""A Dask cluster of real processes gives the bits of one process, whatever dies in the middle."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
import pytest
from dask import config as dask_config
from distributed import Client, Security

import mltrainer as mt
from mltrainer.errors import BadInput, Unavailable
from mltrainer.evaluation import cluster, engine, tasks, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import catalog, own
from mltrainer.trust import audit

SHORT = Protocol(split=WalkForward(folds=3))
NAMES = ["RidgeRegression", "ExtraTrees_10", "ExtraTrees_50", "LogisticRegression", "RecursiveLS", "SVR_rbf"]


class Dask:
    """`dask scheduler` and `dask worker`, each a process of its own on this machine."""

    def __init__(self, folder: Path, *words: str, **more: str) -> None:
        self.folder, self.processes = folder, []
        where = ("--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--no-show")
        self.scheduler = self.start("scheduler", *where, *words, **more)
        self.address = self.said(self.scheduler, r"Scheduler at:\s+(t\w+://\S+)")

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


@pytest.fixture(scope="module")
def dask(tmp_path_factory) -> Iterator[Dask]:
    """A scheduler and two workers, without nannies, for the whole file."""
    made = Dask(tmp_path_factory.mktemp("dask"))
    try:
        made.worker()
        made.worker()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def nursed(tmp_path_factory) -> Iterator[Dask]:
    """A scheduler that tries a call twice, and one worker whose nanny begins it anew."""
    made = Dask(tmp_path_factory.mktemp("nursed"), DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1")
    try:
        made.worker("--nanny")
        yield made
    finally:
        made.end()


@pytest.fixture
def there(dask, monkeypatch) -> Callable[..., None]:
    """Begin to send batches to a cluster."""
    return lambda made=dask: monkeypatch.setenv("MLTRAINER_DASK", made.address)


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


# As in a notebook: of no module that a worker could import, so the classes are sent as they are.
exec(
    compile(
        textwrap.dedent("""
    import os, signal, time
    import numpy as np
    from sklearn.base import BaseEstimator, RegressorMixin

    class Slow(RegressorMixin, BaseEstimator):
        def __init__(self, seconds=1.0):
            self.seconds = seconds

        def fit(self, X, y):
            time.sleep(self.seconds)
            self.mean_ = float(y.mean())
            return self

        def predict(self, X):
            return np.full(len(X), self.mean_)

    class Deadly(Slow):
        def fit(self, X, y):
            os.kill(os.getpid(), signal.SIGKILL)
    """),
        "a notebook",
        "exec",
    ),
    notebook := {"__name__": "__main__"},
)


@pytest.mark.slow
def test_two_workers_write_the_leaderboard_of_one_process(dask, there, msft, home, monkeypatch, capsys):
    with elsewhere(home, monkeypatch):
        alone, here = run(msft), mt.leaderboard(run(msft)).rows
        ledger = trials.ledger().sort_values("key", ignore_index=True)
    there()
    scattered = []
    scatter = Client.scatter
    monkeypatch.setattr(Client, "scatter", lambda self, *a, **k: scattered.append((a, k)) or scatter(self, *a, **k))
    monkeypatch.setattr(engine, "unwatched", lambda progress: False)
    found = run(msft)
    assert re.search(r"[1-6]/6 ", capsys.readouterr().err)  # the bar went on; its end is wiped before it is drawn
    assert packed(found) == packed(alone)
    ranked = mt.leaderboard(found).rows
    pd.testing.assert_frame_equal(ranked[here.columns[:12]], here[here.columns[:12]])
    mine = trials.ledger().sort_values("key", ignore_index=True)
    same = ["key", "blob", "model", "status", "sharpe", "n", "trial", "matrix"]
    pd.testing.assert_frame_equal(mine[same], ledger[same])
    assert audit.verify() == []
    assert [(a[0] is msft, k["broadcast"]) for a, k in scattered] == [(True, True)]  # once, to each worker
    monkeypatch.setattr(cluster, "connected", None)
    assert packed(run(msft)) == packed(alone)  # what is there is opened, and no cluster asked


@pytest.mark.slow
def test_a_search_and_a_calibration_give_the_same_there(dask, there, msft, home, monkeypatch):
    def search() -> mt.tune:
        return mt.tune("KNeighborsRegressor_5", msft, trials=3, method="random", progress=False, protocol=SHORT)

    def calibration() -> list:
        plan = {"models": ["RidgeRegression"], "null": 2, "planted": 1, "edges": (0.1,), "jobs": 1, "progress": False}
        made = mt.calibrate("MSFT", start="2004-01-02", end="2008-12-31", protocol=SHORT, **plan)
        return [*made.null, *made.planted]

    with elsewhere(home, monkeypatch):
        chosen, outcomes = search(), calibration()
    there()
    again = search()
    pd.testing.assert_frame_equal(again.candidates, chosen.candidates)
    assert again.evaluation.to_bytes() == chosen.evaluation.to_bytes()
    assert list(map(str, calibration())) == list(map(str, outcomes))  # NaN is NaN
    assert audit.verify() == []


@pytest.mark.slow
def test_of_four_workers_one_that_is_killed_in_the_middle_is_not_missed(dask, there, msft, home, monkeypatch):
    with elsewhere(home, monkeypatch):
        alone = run(msft)
    doomed = [dask.worker(), dask.worker()][0]
    there()
    heard, begun = cluster._heard, []

    def kill(cluster, agenda, future, steps):
        if not begun and doomed.poll() is None:  # others are under way, as ever so many as there are workers
            begun.append(cluster.workers)
            doomed.kill()
        return heard(cluster, agenda, future, steps)

    monkeypatch.setattr(cluster, "_heard", kill)
    found = run(msft)
    assert begun == [4]
    assert doomed.wait(5) == -signal.SIGKILL
    assert packed(found) == packed(alone)
    assert trials.ledger()["key"].is_unique
    assert len(trials.ledger()) == len(NAMES)
    assert audit.verify() == []


@pytest.mark.slow
def test_with_the_last_worker_the_matrix_is_lost_and_sent_again(nursed, there, msft, monkeypatch):
    there(nursed)
    (only,) = (p for p in psutil.Process(nursed.processes[1].pid).children() if "spawn_main" in str(p.cmdline()))
    scatter, sent = Client.scatter, []
    monkeypatch.setattr(Client, "scatter", lambda self, *a, **k: sent.append(a) or scatter(self, *a, **k))
    heard, first = cluster._heard, []

    def kill(*given):
        if not first:
            first.append(only.kill())
        return heard(*given)

    monkeypatch.setattr(cluster, "_heard", kill)
    found = run(msft, NAMES[:3])
    assert all(e.ok for e in found), [e.reason for e in found]
    assert len(sent) >= 2
    assert not only.is_running()


@pytest.mark.slow
def test_a_model_that_takes_too_long_or_kills_its_workers_is_said_so(nursed, there, msft, monkeypatch):
    there(nursed)
    monkeypatch.setenv("MLTRAINER_TASK_SECONDS", "6")
    late, fine = run(msft, [own.register(notebook["Slow"](60.0), "late"), "RidgeRegression"])
    assert (late.status, late.reason) == ("timeout", "over its time budget of 6 s (MLTRAINER_TASK_SECONDS)")
    assert fine.ok, fine.reason
    monkeypatch.setenv("MLTRAINER_TASK_SECONDS", "60")
    (deadly,) = run(msft, [own.register(notebook["Deadly"](), "deadly")])
    assert (deadly.status, deadly.reason) == ("failed", "the workers that tried it died")


# --- what may be wrong with a cluster -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("tcp://127.0.0.1:9", Unavailable, "no Dask scheduler answers at MLTRAINER_DASK=tcp://127.0.0.1:9"),
        ("tls://127.0.0.1:9", Unavailable, "no Dask scheduler answers at MLTRAINER_DASK=tls://127.0.0.1:9"),
        ("127.0.0.1:8786", BadInput, "is no address of a Dask scheduler; give tcp:// or tls://host:port"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_clear_line(address, error, words, msft, monkeypatch):
    monkeypatch.setenv("MLTRAINER_DASK", address)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(error, match=re.escape(words)) as said:
        run(msft)
    assert "\n" not in str(said.value)


def test_the_extra_that_is_missing_is_named(msft, monkeypatch):
    monkeypatch.setenv("MLTRAINER_DASK", "tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Unavailable, match=re.escape("pip install 'mltrainer[cluster]'")):
        run(msft)


STRANGE = {
    r"^Dask worker tcp://\S+: .*scipy 0\.1, not": "import importlib.metadata as m\nknown = m.version\n"
    "m.version = lambda name: '0.1' if name == 'scipy' else known(name)",
    "has no mltrainer that answers": "import sys\nsys.modules['mltrainer'] = None",
}


@pytest.mark.slow
@pytest.mark.parametrize("words", STRANGE)
def test_a_worker_with_other_versions_is_refused_before_any_work(words, dask, there, msft, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(STRANGE[words])
    strange = dask.worker(PYTHONPATH=str(tmp_path))
    there()
    try:
        with pytest.raises((BadInput, Unavailable), match=words) as said:
            run(msft)
    finally:
        strange.kill()
    assert "\n" not in str(said.value)
    assert trials.ledger().empty


@pytest.mark.slow
def test_a_tls_scheduler_is_spoken_to_with_the_certificates_of_dasks_configuration(msft, tmp_path, monkeypatch):
    made = Security.temporary().get_tls_config_for_role("client")
    parts = {"CA_FILE": made["ca_file"], "CLIENT__CERT": made["cert"], "CLIENT__KEY": made["key"]}
    parts |= {f"{who}__{what}": made[what.lower()] for who in ("SCHEDULER", "WORKER") for what in ("CERT", "KEY")}
    environment = {}
    for name, text in parts.items():
        (tmp_path / name).write_text(text)
        environment[f"DASK_DISTRIBUTED__COMM__TLS__{name}"] = str(tmp_path / name)
    sealed = Dask(tmp_path, "--protocol", "tls", **environment)
    try:
        sealed.worker("--protocol", "tls", "--no-nanny", **environment)
        monkeypatch.setenv("MLTRAINER_DASK", sealed.address)
        assert sealed.address.startswith("tls://")
        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 5.0)
        with pytest.raises(Unavailable, match="no Dask scheduler answers"):
            run(msft, NAMES[:1])
        known = {"ca-file": "CA_FILE", "client.cert": "CLIENT__CERT", "client.key": "CLIENT__KEY"}
        with dask_config.set({f"distributed.comm.tls.{k}": str(tmp_path / name) for k, name in known.items()}):
            assert run(msft, NAMES[:1])[0].ok
    finally:
        sealed.end()


@pytest.mark.slow
def test_a_scheduler_without_workers_says_how_to_start_one(msft, tmp_path, monkeypatch):
    alone = Dask(tmp_path)
    monkeypatch.setenv("MLTRAINER_DASK", alone.address)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 5.0)
    try:
        with pytest.raises(Unavailable, match="has no workers; start some with `dask worker tcp://"):
            run(msft)
    finally:
        alone.end()


def test_what_differs_is_named_with_both_versions():
    here = cluster.known([catalog.spec("RidgeRegression")])
    assert cluster.difference(tuple(here.items())) == ""
    other = tuple((here | {"numpy": "1.0", "Python": "2.7", "no such thing": "1"}).items())
    assert re.fullmatch(
        rf"it has numpy {here['numpy']}, not 1.0; Python {here['Python']}, not 2.7; no such thing missing, not 1, so "
        "its results could differ in their bits; install the same",
        cluster.difference(other),
    )
