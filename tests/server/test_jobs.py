"""Trainings outlive whoever asked: two at a time, each written down before it is acknowledged."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from caller import Running

from mltrainer.dashboards import incidents
from mltrainer.errors import BadInput, StorageError, UnknownName
from mltrainer.server import jobs, work
from mltrainer.server.records import NotNow
from mltrainer.server.stream import STARTS, Watch
from mltrainer.trust import audit

FAST = {
    "model": "RidgeRegression",
    "tickers": ["MSFT"],
    "start": None,
    "end": "2012-06-29",
    "horizon": 5,
    "target": "return",
}
SLOW = {"model": "RandomForest_100_trees", "end": "2012-06-29"}


def ended(running: Running, id_: str, seconds: float = 60) -> dict:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = running(f"/api/models/train/{id_}", role="researcher").json
        if said["state"] in ("done", "failed", "interrupted"):
            return said
        time.sleep(0.2)
    raise AssertionError(f"not ended: {said}")


def test_a_training_is_asked_for_done_and_forecast_with(served: Running):
    span = {"start": "2003-03-03", "end": "2012-05-31"}  # of this test alone: others train on the same server
    begun = served("/api/models/train", "POST", role="researcher", body={"model": "RidgeRegression", **span})
    assert (begun.status, begun.json["state"]) == (202, "queued")
    place = begun.headers["Location"]
    assert place == f"/api/models/train/{begun.json['id']}"
    done = ended(served, begun.json["id"])
    assert (done["state"], done["progress"], done["user"]) == ("done", 1.0, "my-researcher")
    assert done["result"]["end"] <= "2012-05-31"
    said = served("/api/predict", "POST", role="researcher", body={"artifact": done["artifact"], "rows": 3})
    assert said.status == 200, said.text
    assert len(said.json["answer"]["rows"]) == 3
    assert said.json["as_of"] == said.json["answer"]["rows"][-1]["session"]
    assert served("/api/predict", "POST", role="viewer", body={"artifact": done["artifact"]}).status == 403
    entries = served("/api/compliance/audit?kind=artifact", role="auditor").json["items"]
    kept = [e["actor"] for e in entries if e["payload"]["artifact"] == done["artifact"]]
    assert kept == ["my-researcher"]
    listed = served("/api/models/train?state=done", role="auditor").json
    assert begun.json["id"] in [job["id"] for job in listed["items"]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "RidgeRegresion"}, "close: RidgeRegression"),
        ({"model": "RidgeRegression", "ticker": "MSTF"}, "close: MSFT"),
        ({"model": "RidgeRegression", "target": "luck"}, "luck"),
        ({"model": "RidgeRegression", "horizon": 64}, "horizon"),
        ({"model": "../../x"}, "model"),
        ({"model": "RidgeRegression", "end": "2012-02-30"}, "no day of the calendar"),
        ({"model": "RidgeRegression", "start": "2012-06-02", "end": "2012-06-01"}, "is after end"),
        ({}, "model"),
    ],
)
def test_a_training_that_cannot_be_meant_is_not_begun(served: Running, body: dict, words: str):
    before = served("/api/models/train", role="researcher").json["total"]
    said = served("/api/models/train", "POST", role="researcher", body=body)
    assert said.status == 400
    assert words in said.json["error"]["message"]
    assert served("/api/models/train", role="researcher").json["total"] == before


def test_a_training_that_fails_says_why_in_one_line(served: Running):
    body = {"model": "RidgeRegression", "start": "2012-06-01", "end": "2012-06-29"}
    id_ = served("/api/models/train", "POST", role="admin", body=body).json["id"]
    done = ended(served, id_)
    assert done["state"] == "failed"
    assert "sessions" in done["error"]
    assert "\n" not in done["error"]
    assert served("/api/models/train/000000000000", role="admin").status == 404


@pytest.mark.slow
def test_a_server_that_is_killed_loses_nothing(another):
    """Three trainings, of which two run: their processes go on, and the next server begins the third."""
    with another() as running:
        ids = [running("/api/models/train", "POST", role="researcher", body=SLOW).json["id"] for _ in range(3)]
        states = wait_for(running, ids, {"running": 2, "queued": 1})
        mine = [pid for pid in workers(running) if pid != running.process.pid]
        assert len(mine) == 2
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        victim = psutil.Process(mine[0])
        victim.kill()
        assert psutil.pid_exists(mine[1])
    with another() as running:
        states = wait_for(running, ids, {"interrupted": 1})
        again = ids[states.index("interrupted")]
        resumed = running(f"/api/models/train/{again}", "POST", role="researcher")
        assert (resumed.status, resumed.json["attempt"]) == (202, 2)
        assert [ended(running, id_, 120)["state"] for id_ in ids] == ["done"] * 3
        found = running("/api/compliance/audit", role="auditor").json
        assert found["holds"] is True


def workers(running: Running) -> list[int]:
    every = psutil.Process(running.process.pid).children()
    return [p.pid for p in every if "mltrainer.server.work" in p.cmdline()]


def wait_for(running: Running, ids: list[str], hoped: dict[str, int]) -> list[str]:
    deadline = time.monotonic() + 30
    states: list[str] = []
    while time.monotonic() < deadline:
        states = [running(f"/api/models/train/{id_}", role="auditor").json["state"] for id_ in ids]
        if all(states.count(state) == n for state, n in hoped.items()):
            return states
        time.sleep(0.1)
    raise AssertionError(f"{states}, hoped for {hoped}")


# --- without a server -----------------------------------------------------------------------------------------


def test_two_run_at_a_time_and_each_is_claimed_once(monkeypatch: pytest.MonkeyPatch):
    ids = [jobs.submit("ann", FAST).id for _ in range(3)]
    assert jobs.due() == ids[:2]
    assert [jobs.claim(id_) is None for id_ in (ids[0], ids[0], ids[1], ids[2])] == [False, True, False, True]
    assert jobs.due() == []
    jobs.note(ids[0], "done", artifact="a")
    assert jobs.due() == [ids[2]]
    assert [job.state for job in jobs.jobs()] == ["done", "running", "queued"]
    assert audit.verify() == []


def test_a_training_whose_process_is_gone_is_interrupted_and_its_number_given_to_another_does_not_hide_it(
    monkeypatch: pytest.MonkeyPatch,
):
    id_ = jobs.submit("ann", FAST).id
    jobs.claim(id_)
    jobs.settle()
    assert jobs.job(id_).state == "running"
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 60)  # another process of that number
    jobs.settle()
    assert jobs.job(id_).state == "interrupted"
    jobs.note(id_, "done", artifact="late")
    assert jobs.job(id_).state == "interrupted"
    assert jobs.resume(id_).state == "queued"
    assert jobs.resume(id_).attempt == 2


def test_what_is_done_or_runs_is_not_begun_again_and_not_given_up():
    id_ = jobs.submit("ann", FAST).id
    jobs.claim(id_)
    jobs.give_up(id_, "it died")
    assert (jobs.resume(id_).state, jobs.job(id_).attempt) == ("running", 1)
    jobs.note(id_, "done", artifact="a")
    jobs.give_up(id_, "it died")
    assert (jobs.resume(id_).state, jobs.job(id_).attempt, jobs.job(id_).error) == ("done", 1, "")


def test_a_process_that_ended_and_was_not_waited_for_is_gone():
    """A zombie still has its number and its beginning."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(ended.pid)
    said = {"process": ended.pid, "since": process.create_time()}
    until = time.monotonic() + 30
    while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.02)
    assert process.status() == psutil.STATUS_ZOMBIE
    assert not jobs._alive(said)
    ended.wait()
    assert jobs._alive({"process": os.getpid(), "since": psutil.Process().create_time()})


def test_a_training_on_another_machine_is_neither_ended_nor_counted_here(monkeypatch: pytest.MonkeyPatch):
    """Of its process nothing can be seen from here, and one of that number here is another."""
    elsewhere, *here = (jobs.submit("ann", FAST).id for _ in range(3))
    with monkeypatch.context() as other:
        other.setattr(jobs, "_place", lambda: "another machine")
        jobs.claim(elsewhere)
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + 60)
    jobs.settle()
    assert jobs.job(elsewhere).state == "running"
    assert jobs.due() == here


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most", "unit"), [("SECONDS", "1", "s"), ("MEGABYTES", "1", "MB")])
def test_a_training_that_takes_more_than_a_model_may_ends_its_own_process(home: Path, name: str, most: str, unit: str):
    id_ = jobs.submit("ann", FAST | SLOW).id
    environment = os.environ | {f"MLTRAINER_TASK_{name}": most, "MLTRAINER_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "mltrainer.server.work", id_], env=environment, check=False, timeout=300
    )
    assert done.returncode == 1
    found = jobs.job(id_)
    assert (found.state, found.error) == ("failed", f"it took more than {most} {unit} (MLTRAINER_TASK_{name})")


def test_a_queue_has_an_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jobs, "WAITING", 2)
    for _ in range(2):
        jobs.submit("ann", FAST)
    with pytest.raises(NotNow, match="2 trainings wait already"):
        jobs.submit("bob", FAST)


def test_what_is_not_there_is_not_found():
    with pytest.raises(UnknownName, match="no training 'x'"):
        jobs.job("x")


# --- a process that dies, or breaks ---------------------------------------------------------------------------


class Dead:
    """A process that ended before it began its training."""

    returncode = -9

    def poll(self) -> int:
        return self.returncode


def test_a_training_whose_process_dies_before_it_begins_is_not_begun_for_ever(monkeypatch: pytest.MonkeyPatch):
    begun: list[str] = []
    monkeypatch.setattr(jobs, "start", lambda id_: begun.append(id_) or Dead())
    id_, watch = jobs.submit("ann", FAST).id, Watch()
    for _ in range(STARTS + 3):
        watch.look()
    assert begun == [id_] * STARTS
    assert (jobs.job(id_).state, jobs.job(id_).error) == ("failed", "its process died 3 times before it began")
    jobs.resume(id_)
    watch.look()
    assert begun == [id_] * (STARTS + 1)


@pytest.mark.parametrize(
    ("error", "said", "logged"),
    [
        (RuntimeError("a secret of the machine"), "it broke; incident", True),
        (StorageError("/a/folder/of/ours is full"), "it broke; incident", True),
        (BadInput("/a/folder/of/ours is no matrix"), "(a file of the server) is no matrix", False),
    ],
)
def test_what_breaks_a_training_is_in_a_file_and_no_path_of_it_in_the_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str, logged: bool
):
    def breaks(job: object) -> None:
        raise error

    incidents._log.cache_clear()
    monkeypatch.setattr(work, "train", breaks)
    monkeypatch.setattr(work, "watch", lambda job: None)
    id_ = jobs.submit("ann", FAST).id
    work.work(id_)
    assert jobs.job(id_).state == "failed"
    assert said in jobs.job(id_).error
    assert "/a/folder" not in jobs.job(id_).error
    log = home / "logs" / "incidents.log"
    assert (log.exists() and str(error) in log.read_text() and "Traceback" in log.read_text()) == logged
