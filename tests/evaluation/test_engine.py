"""A batch gives the same numbers however it is run, survives every kind of ending, and computes nothing twice."""

import dataclasses
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest

from mltrainer.errors import BadInput, NotEnoughHistory, Refused
from mltrainer.evaluation import engine, study, tasks, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import catalog, sharing
from mltrainer.models.base import Lazy
from mltrainer.trust import audit

CHEAP = ["LinearRegression", "LassoRegression", "RecursiveLS", "DecisionTree_depth_3", "SVR_rbf"]


def run(names, matrix, jobs=1) -> list[Evaluation]:
    return engine.run(map(catalog.spec, names), [matrix], jobs=jobs, progress=False)


def never(*_args):
    raise AssertionError("computed again")


def same_numbers(a: list[Evaluation], b: list[Evaluation]) -> None:
    assert [e.model for e in a] == [e.model for e in b]
    for one, other in zip(a, b, strict=True):
        assert one.ok, one.reason
        assert other.ok, other.reason
        pd.testing.assert_frame_equal(one.forecasts, other.forecasts, check_exact=True)
        np.testing.assert_array_equal(list(one.metrics.values()), list(other.metrics.values()))


def children() -> list[psutil.Process]:
    """Workers that are still there: children of the fork server (it stays, idle, for the next batch) or spawned."""
    workers = []
    for process in psutil.Process().children():
        command = " ".join(process.cmdline())
        if "multiprocessing.forkserver" in command:
            workers += process.children(recursive=True)
        elif "spawn_main" in command:
            workers.append(process)
    return workers


# --- the same numbers, once -----------------------------------------------------------------------------------


def test_two_processes_give_the_bits_of_one_and_are_gone_afterwards(msft, home, monkeypatch):
    one = run(CHEAP, msft)
    ledger = trials.ledger()
    monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name("elsewhere")))
    matrix = study.matrix("MSFT", start="2004-01-02", end="2008-12-31")  # admitted anew, in another home
    assert matrix.provenance.content_sha256 == msft.provenance.content_sha256
    two = run(CHEAP, matrix, jobs=2)
    same_numbers(one, two)
    assert set(trials.ledger()["key"]) == set(ledger["key"])
    assert children() == []
    assert audit.verify() == []


def test_a_second_call_opens_what_is_there(msft, monkeypatch):
    first = run(CHEAP[:3], msft)
    before = trials.ledger()
    monkeypatch.setattr(tasks, "evaluate", never)
    monkeypatch.setattr(engine, "Pool", never)
    same_numbers(run(CHEAP[:3], msft), first)
    same_numbers(run(CHEAP[:3], msft, jobs=2), first)
    pd.testing.assert_frame_equal(trials.ledger(), before)


def test_only_what_is_missing_is_computed_and_results_keep_the_order_asked_for(msft):
    run(["SVR_rbf"], msft)
    results = run(["DecisionTree_depth_3", "SVR_rbf", "LinearRegression"], msft)
    assert [e.model for e in results] == ["DecisionTree_depth_3", "SVR_rbf", "LinearRegression"]
    assert list(trials.ledger()["model"][:1]) == ["SVR_rbf"]
    assert len(trials.ledger()) == 3


def test_protocols_side_by_side_give_what_a_call_for_each_gives_in_their_order(msft):
    protocols, names = [Protocol(split=WalkForward(folds)) for folds in (4, 2, 3)], ["LinearRegression", "SVR_rbf"]
    specs = [catalog.spec(name) for name in names]
    results = engine.run(specs, [msft], protocol=protocols, jobs=2, progress=False)
    assert [e.model for e in results] == 3 * names
    assert [e.forecasts["fold"].nunique() for e in results] == [4, 4, 2, 2, 3, 3]
    assert [e.key for e in results] == [trials.key(s, msft, p) for p in protocols for s in specs]
    assert len(trials.ledger()) == 6


def test_a_model_named_twice_is_fitted_once(msft):
    results = run(["LinearRegression", "LinearRegression"], msft)
    assert len(results) == 2
    assert len(trials.ledger()) == 1


def test_a_failed_fit_is_tried_again_and_both_attempts_are_kept(msft, monkeypatch):
    def broken(spec, matrix, protocol, key):
        return Evaluation(key, spec.name, spec.family, spec.task, matrix.name, matrix.horizon, "failed", "out of luck")

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "evaluate", broken)
        assert run(["LinearRegression"], msft)[0].reason == "out of luck"
    assert run(["LinearRegression"], msft)[0].ok
    assert list(trials.ledger()["status"]) == ["failed", "ok"]


def test_a_model_whose_library_is_missing_is_unavailable_and_no_trial(msft):
    absent = Lazy("no_such_library.Model")
    missing = dataclasses.replace(catalog.spec("RidgeRegression"), name="Absent", estimator=absent, extra="boost")
    (result,) = engine.run([missing], [msft], jobs=1, progress=False)
    assert result.status == "unavailable"
    assert "pip install 'mltrainer[boost]'" in result.reason
    assert trials.ledger().empty


@pytest.mark.parametrize("jobs", [0, -2])
def test_no_worker_at_all_is_said_so(msft, jobs):
    with pytest.raises(BadInput, match="use 1 or more"):
        run(CHEAP, msft, jobs)


def test_too_short_a_history_is_said_before_any_work(template, home, monkeypatch):
    shutil.copytree(template[0], home)
    short = study.matrix("MSFT", start="2005-01-03", end="2006-06-30")
    monkeypatch.setattr(tasks, "evaluate", never)
    with pytest.raises(NotEnoughHistory, match="421 are needed"):
        run(CHEAP, short)


def test_a_matrix_that_is_not_registered_is_refused_before_any_work(template, monkeypatch):
    monkeypatch.setattr(tasks, "evaluate", never)  # the home of this test is empty: nothing was admitted in it
    with pytest.raises(Refused):
        run(CHEAP, template[1])
    assert len(audit.entries(kind="violation")) == 1


# --- endings --------------------------------------------------------------------------------------------------

SLOW, HEAVY, KILLED = "RandomForest_100_trees", "RandomForest_50_trees", "AdaBoost_50"
LIGHT = ["RidgeRegression", "KNeighborsRegressor_5", "OrthogonalMatchingPursuit"]


@pytest.fixture(scope="module")
def battered(template, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """One batch in which a task takes too long, one too much memory, and one has its process killed."""
    home = tmp_path_factory.mktemp("battered") / "home"
    shutil.copytree(template[0], home)
    heavy: set[int] = set()
    give, process = engine._give, psutil.Process

    def watched(worker, step):
        give(worker, step)
        pid, task = worker.process.pid, step.task
        heavy.discard(pid)
        if task.spec.name == HEAVY:
            heavy.add(pid)
        if task.spec.name == SLOW:
            worker.since -= 61  # the clock is ours, so that a busy machine ends nobody else
        if task.spec.name == KILLED:
            os.kill(pid, signal.SIGKILL)  # at once: later it may be at another task

    def measured(pid=None):
        size = 2**40 if pid in heavy else 2**20
        return SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=size)) if pid else process()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(home))
        patch.setenv("MLTRAINER_MODE", "sample")
        patch.setenv("MLTRAINER_TASK_SECONDS", "60")
        patch.setattr(engine, "_give", watched)
        patch.setattr(engine.psutil, "Process", measured)
        results = {e.model: e for e in run([SLOW, HEAVY, KILLED, *LIGHT], template[1], jobs=2)}
        patch.setattr(engine.psutil, "Process", process)
        yield SimpleNamespace(results=results, ledger=trials.ledger(), found=audit.verify(), left=children())


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        (SLOW, "timeout", "over its time budget of 60 s (MLTRAINER_TASK_SECONDS)"),
        (HEAVY, "memory", "over its memory budget of 2000 MB (MLTRAINER_TASK_MEGABYTES)"),
        (KILLED, "failed", "the worker died (exit code -9)"),
    ],
)
def test_a_task_that_is_ended_says_why(battered, name, status, reason):
    result = battered.results[name]
    assert (result.status, result.reason) == (status, reason)
    row = battered.ledger.set_index("model").loc[name]
    assert (row["status"], row["reason"], row["n"]) == (status, reason, 0)


def test_the_other_tasks_of_a_battered_batch_are_intact(battered, template, settle):
    settle(template[0])
    same_numbers([battered.results[name] for name in LIGHT], run(LIGHT, template[1]))
    assert (battered.ledger.set_index("model").loc[LIGHT, "status"] == "ok").all()


def test_a_battered_batch_leaves_no_process_and_a_true_trail(battered):
    assert battered.left == []
    assert battered.found == []
    assert len(battered.ledger) == 6


# --- kill -9 --------------------------------------------------------------------------------------------------

EIGHT = [
    "LinearRegression", "RidgeRegression", "LassoRegression", "LassoLars", "LogisticRegression", "DecisionTree_depth_3",
    "KNeighborsRegressor_5", "RecursiveLS",
]  # fmt: skip
# No `if __name__ == "__main__"`: workers must not run a researcher's script again.
BATCH = f"""
import mltrainer as mt
print("started", flush=True)
mt.evaluate({EIGHT}, mt.matrix("MSFT", start="2004-01-02", end="2008-12-31"), jobs=JOBS)
"""
# The same batch in a fork for each line read, so that the imports are paid for once.
FORKS = f"""
import os, sys
import mltrainer as mt
from mltrainer.evaluation import study
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        study.evaluate({EIGHT}, study.matrix("MSFT", start="2004-01-02", end="2008-12-31"), jobs=1)
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def python(folder: Path, code: str) -> subprocess.Popen[str]:
    script = folder / f"{len(code)}.py"
    script.write_text(code)
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(
        [sys.executable, str(script)], text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, **pipes
    )


def rows(home: Path) -> int:
    with closing(sqlite3.connect(home / "mltrainer.sqlite", timeout=30)) as connection:
        return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])


def kill_after(pid: int, home: Path, finished: int, later: float) -> list[int]:
    """Kill -9 some moment after `finished` trials are in the ledger; return it and its children."""
    limit = time.monotonic() + 60
    while rows(home) < finished and time.monotonic() < limit:
        time.sleep(0.002)
    time.sleep(later)
    family = [pid, *(p.pid for p in psutil.Process(pid).children(recursive=True))]
    os.kill(pid, signal.SIGKILL)
    return family


def whole(home: Path) -> int:
    """Check that what is in the ledger is there once and complete; return how much it is."""
    assert audit.verify() == []
    held = trials.ledger()
    assert held["key"].is_unique
    assert (held["status"] == "ok").all()
    assert all(trials.load(key) is not None for key in held["key"])
    assert len(audit.entries(kind="trial")) == len(held)
    return len(held)


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_a_batch_killed_again_and_again_ends_as_one_complete_set(msft, home, tmp_path):
    chance = random.Random(7)
    forks = python(tmp_path, FORKS)

    def begin() -> int:
        forks.stdin.write("\n")
        forks.stdin.flush()
        return int(forks.stdout.readline())

    for finished in (0, 0, 1, 1, 2, 3, 3, 4, 5, 6):
        pid = begin()
        kill_after(pid, home, finished, chance.uniform(0.0, 0.08))
        assert int(forks.stdout.readline()) == signal.SIGKILL
        assert finished <= whole(home) < len(EIGHT)
    begin()
    assert int(forks.stdout.readline()) == 0
    forks.communicate()
    assert whole(home) == len(EIGHT)
    assert sorted(trials.ledger()["model"]) == sorted(EIGHT)
    assert trials.load(trials.key(catalog.spec("LassoLars"), msft, Protocol())).model == "LassoLars"


@pytest.mark.slow
@pytest.mark.usefixtures("database")
def test_workers_of_a_killed_script_leave_with_it_and_never_run_it_again(msft, home, tmp_path):
    batch = python(tmp_path, BATCH.replace("JOBS", "2"))
    family = kill_after(batch.pid, home, 2, 0.02)
    out, _ = batch.communicate()
    assert out.count("started") == 1
    assert len(family) >= 3
    limit = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in family[1:]) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in family[1:])
    assert whole(home) >= 2
    assert all(e.ok for e in run(EIGHT, msft))
    assert whole(home) == len(EIGHT)


SLEEPS = """
import signal, time
from mltrainer.evaluation.engine import executor
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
with executor(2) as pool:
    done = [pool.submit(time.sleep, 0.0) for _ in range(2)] + [pool.submit(time.sleep, 600.0) for _ in range(2)]
    done[0].result()
    print("at work", flush=True)
    [one.result() for one in done]
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_of_an_executor_are_gone_with_the_script_that_was_killed_or_interrupted(tmp_path, how):
    script = python(tmp_path, SLEEPS)
    assert script.stdout.readline() == "at work\n"
    family = [p.pid for p in psutil.Process(script.pid).children(recursive=True)]
    assert len(family) >= 3
    script.send_signal(how)
    script.communicate(timeout=20)
    limit = time.monotonic() + 20
    while any(map(psutil.pid_exists, family)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, family))


# --- memory of a worker ---------------------------------------------------------------------------------------

PAGES = """
import resource, sys
import numpy as np, psutil
from mltrainer.evaluation.engine import keep_pages
release = keep_pages() if sys.argv[1:] else lambda: None
megabytes = lambda: psutil.Process().memory_info().rss / 2**20
begin, taken = megabytes(), []
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones((6, 10**6)).sum()  # 46 MB
    taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
kept = megabytes() - begin
release()
print(sum(taken[1:]) / taken[0], kept, megabytes() - begin)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_pages_of_a_worker_are_cleared_once_in_a_task_and_given_back_after_it():
    def measured(*how: str) -> list[float]:
        done = subprocess.run([sys.executable, "-c", PAGES, *how], capture_output=True, text=True, check=True)
        return [float(figure) for figure in done.stdout.split()]

    (again, kept, left), (usual, *_) = measured("keep"), measured()
    assert again < 0.1 < 4 < usual
    assert kept > 40 > 10 > left


# --- sharing --------------------------------------------------------------------------------------------------

FORESTS = ["ExtraTrees_10", "RidgeRegression", "ExtraTrees_50"]


@pytest.mark.usefixtures("database")
def test_shared_fits_give_the_bits_of_separate_ones_and_say_what_was_shared(msft, template, home, monkeypatch):
    together = run(FORESTS, msft, jobs=2)
    elsewhere = home.with_name("elsewhere")
    shutil.copytree(template[0], elsewhere)
    monkeypatch.setenv("MLTRAINER_HOME", str(elsewhere))
    monkeypatch.setenv("MLTRAINER_SHARE", "false")
    apart = run(FORESTS, msft)
    same_numbers(together, apart)
    assert [e.model for e in together if e.meta["shared_seconds"] > 0] == ["ExtraTrees_10"]
    assert together[0].meta["fit_seconds"] >= together[0].meta["shared_seconds"]
    assert all(e.meta["shared_seconds"] == 0 for e in apart)


def test_models_that_share_go_to_one_worker_the_longest_first(msft):
    todo = [engine.Task(catalog.spec(n), msft, Protocol(), n, "forest" * n.startswith("Extra")) for n in FORESTS]
    bundles = [[t.spec.name for t in bundle] for bundle in tasks.bundles(todo)]
    assert bundles == [["ExtraTrees_50", "ExtraTrees_10"], ["RidgeRegression"]]


def test_nothing_is_shared_after_a_batch(msft):
    run(["ExtraTrees_10"], msft)
    assert sharing._memo.group == ""
    assert sharing._memo.fits == {}
