"""`report` makes one checkable folder, the same one every time, whatever happens on the way."""

import csv
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import nbformat
import numpy as np
import psutil
import pytest
from filelock import FileLock, Timeout
from making import COMMAND, MLTRAINER, SPAN, Made, environment
from scipy import stats

import mltrainer as mt
from mltrainer import reports
from mltrainer.errors import BadInput, StorageError
from mltrainer.evaluation import engine, skill, tasks, trials
from mltrainer.evaluation.engine import START, executor
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.models import catalog
from mltrainer.paths import notebooks
from mltrainer.reports import execution, folder
from mltrainer.reports import run as room
from mltrainer.trust import audit

# design.md, section 7: "leaderboard.csv (one row per model and ticker: ...; later columns may follow)"
PROMISED = (
    "name, family, task, ticker, status, verdict, mse, mae, r2, r2_oos, mape, ic, ic_t, hit_rate, sharpe, "
    "deflated_sharpe, sortino, calmar, max_drawdown, value_at_risk, expected_shortfall, profit_factor, win_rate, "
    "turnover, breakeven_bps, information_ratio, coverage, fit_seconds, predict_seconds, peak_mb"
).split(", ")
NEIGHBORS = {f"KNeighborsRegressor_{k}" for k in ("3", "5", "7", "10", "10_distance")}  # catalog.csv


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def small_template(folder: Path, *lines: str, parameters: str = "") -> Path:
    """A notebook that takes what the family notebook takes, and does next to nothing."""
    takes = nbformat.read(notebooks() / execution.NOTEBOOK, as_version=4).cells[0].source
    cells = [nbformat.v4.new_code_cell(parameters or takes), nbformat.v4.new_code_cell("\n".join(lines))]
    cells[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "small.ipynb")
    return folder / "small.ipynb"


class Here:
    """A pool that works in this process: seconds less than one that starts another."""

    _processes: ClassVar[dict] = {}

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, work: Callable[..., str], *arguments: object, **options: object) -> Future:
        done: Future = Future()
        try:
            done.set_result(work(*arguments, **options))
        except StorageError as error:
            done.set_exception(error)
        return done


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Have reports execute a small notebook instead of the family notebook, in this process."""
    monkeypatch.setattr(engine, "ProcessPoolExecutor", Here)
    return lambda *lines: monkeypatch.setattr(execution, "NOTEBOOK", str(small_template(tmp_path, *lines)))


def again(out: Path, *families: str) -> reports.Run:
    """The report of `made`, in this process."""
    span = {"start": SPAN[1], "end": SPAN[3]}
    return reports.report(families or ["neighbors"], ["MSFT"], **span, jobs=1, out=out, progress=False, validate=False)


# --- what is in the folder ------------------------------------------------------------------------------------


def test_the_command_ends_well_and_says_the_finding_and_the_address(made: Made):
    assert (made.first.returncode, made.second.returncode) == (0, 0)
    finding, address = made.first.stdout.splitlines()
    assert finding.startswith("No model shows evidence of skill after costs and 5 trials")
    assert address == str(made.folder / "index.html")


def test_the_folder_holds_what_the_design_promises_and_nothing_else(made: Made):
    assert {p.name for p in made.folder.iterdir()} == {
        "index.html",
        "neighbors.html",
        "neighbors.ipynb",
        "leaderboard.csv",
        "manifest.json",
        "plotly.min.js",
    }
    assert [p.name for p in made.out.iterdir()] == [made.folder.name]


def test_the_columns_of_the_leaderboard_are_the_promised_ones_in_their_order(made: Made):
    head = (made.folder / "leaderboard.csv").read_text().splitlines()[0].split(",")
    assert head[: len(PROMISED)] == PROMISED


def test_the_leaderboard_has_one_row_for_each_model_and_ticker(made: Made):
    rows = rows_of(made.folder)
    assert {r["name"] for r in rows} == NEIGHBORS
    assert len(rows) == len(NEIGHBORS)
    assert {(r["ticker"], r["family"], r["status"]) for r in rows} == {("MSFT", "neighbors", "ok")}


def test_the_manifest_has_its_keys_and_names_every_source_and_output(made: Made):
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest.keys() == {*folder.MANIFEST, "validation"}
    assert (manifest["mode"], manifest["status"], manifest["as_of"]) == ("sample", "complete", "2009-12-31")
    assert {s["name"] for s in manifest["sources"]} >= {"MSFT", "SPX", "VIXCLS", "CPILFESL"}
    assert all(len(s["body_sha256"]) == 64 for s in manifest["sources"])
    assert manifest["outputs"].keys() == {p.name for p in made.folder.iterdir()} - {"manifest.json"}
    assert {"python", "numpy", "scikit-learn", "mltrainer"} <= manifest["library_versions"].keys()
    assert manifest["parameters"]["tickers"] == ["MSFT"]


def test_a_second_run_is_quick_and_gives_the_same_bytes(made: Made):
    assert made.second.stdout == made.first.stdout
    assert {str(p.relative_to(made.out)): p.read_bytes() for p in made.out.rglob("*") if p.is_file()} == made.before
    first, second = made.seconds
    assert second < first / 2  # a job this small is mostly the start of Python; make report measures the quarter


def test_nothing_in_the_folder_names_a_place_on_this_machine(made: Made):
    places = [made.home, made.out, Path(sys.prefix), notebooks().parent, Path.home()]
    for path in made.folder.iterdir():
        text = path.read_text(encoding="utf-8")
        assert [place for place in places if str(place) in text] == []


def test_the_notebook_is_whole_and_its_metadata_clean(made: Made):
    notebook = nbformat.read(made.folder / "neighbors.ipynb", as_version=4)
    nbformat.validate(notebook)
    told = notebook.metadata["papermill"]
    assert told["exception"] is None
    assert told["end_time"]
    assert all(c.metadata["papermill"]["status"] == "completed" for c in notebook.cells)
    assert (told["input_path"], told["output_path"]) == ("model-family.ipynb", "executed.ipynb")
    assert told["environment_variables"] == {}
    asked = {"family", "tickers", "start", "end", "horizon", "target", "protocol"}
    assert told["parameters"].keys() == asked | {"matrices", "ledger", "run_id", "made"}


@pytest.mark.usefixtures("database")
def test_figures_of_the_leaderboard_follow_from_the_stored_forecasts(made: Made, copy: Path):
    """Against numpy and scipy, on the blobs that the manifest names."""
    for row in rows_of(copy):
        e = made.run.evaluation(row["name"], "MSFT")
        y, said, net = (e.forecasts[c].to_numpy() for c in ("y", "forecast", "net"))
        wealth = np.concatenate([[1.0], np.cumprod(1 + net)])
        expected = {
            "mse": np.mean((y - said) ** 2),
            "mae": np.mean(np.abs(y - said)),
            "ic": stats.spearmanr(y, said).statistic,
            "hit_rate": np.mean(np.sign(y) == np.sign(said)),
            "sharpe": net.mean() / net.std(ddof=1) * np.sqrt(252),
            "max_drawdown": np.max(1 - wealth / np.maximum.accumulate(wealth)),
            "turnover": np.abs(np.diff(e.forecasts["position"], prepend=0)).mean() * 252,
            "profit_factor": net[net > 0].sum() / -net[net < 0].sum(),
        }
        assert {k: float(row[k]) for k in expected} == pytest.approx(expected, rel=1e-9)


@pytest.mark.usefixtures("database")
def test_the_deflated_sharpe_ratio_is_the_formula_of_bailey_and_lopez_de_prado(made: Made, copy: Path):
    """Bailey and López de Prado (2014): Φ((SR − SR*) √(n − 1) / √(1 − γ₃ SR + (γ₄ − 1) SR² / 4)), per period."""
    best = made.run.manifest["luck"]["best"]
    for row in rows_of(copy):
        net = skill.timing_return(made.run.evaluation(row["name"], "MSFT").forecasts, 5).to_numpy()
        threshold = best / np.sqrt(len(net))
        ratio, skew, kurtosis = net.mean() / net.std(ddof=1), stats.skew(net), stats.kurtosis(net, fisher=False)
        deviation = np.sqrt((1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2) / (len(net) - 1))
        assert float(row["deflated_sharpe"]) == pytest.approx(stats.norm.cdf((ratio - threshold) / deviation), abs=2e-3)


@pytest.mark.usefixtures("database")
def test_a_run_is_read_back_as_it_was_made(made: Made, copy: Path):
    (found,) = reports.runs(copy.parent)
    assert found.id == made.folder.name
    assert (found.mode, found.as_of, found.families, found.failed) == ("sample", "2009-12-31", ["neighbors"], {})
    assert found.title.startswith("MSFT, 5 sessions ahead, to 2009-12-31")
    assert list(found.rows["name"]) == [r["name"] for r in rows_of(copy)]
    assert isinstance(found.evaluation("KNeighborsRegressor_3", "MSFT"), Evaluation)


def test_a_folder_without_a_readable_manifest_is_no_run(copy: Path):
    (copy / "manifest.json").write_text("{")
    assert reports.runs(copy.parent) == []
    assert reports.runs(copy.parent / "absent") == []


# --- the same again -------------------------------------------------------------------------------------------


def test_a_page_that_somebody_changed_is_made_anew_and_never_vouched_for(made: Made, copy: Path, small):
    (copy / "neighbors.html").write_text("The best model earns 40 % a year.")
    small("print('made anew')")
    run = again(copy.parent)
    assert run.path == copy
    assert "made anew" in (copy / "neighbors.html").read_text()
    assert reports.verify(run) == []


@pytest.mark.usefixtures("database")
def test_a_changed_manifest_is_made_anew(copy: Path):
    rows = (copy / "leaderboard.csv").read_bytes()
    text = (copy / "manifest.json").read_text()
    (copy / "manifest.json").write_text(text.replace('"mode": "sample"', '"mode": "live"', 1))
    run = again(copy.parent)
    assert run.mode == "sample"
    assert (copy / "leaderboard.csv").read_bytes() == rows
    assert reports.verify(run) == []


@pytest.mark.usefixtures("database")
def test_other_trials_make_a_new_revision_in_the_same_folder_and_the_old_one_is_a_line(made: Made, copy: Path, small):
    old = folder.read(copy)
    assert old.manifest["earlier"] == []
    mt.evaluate("KNeighborsRegressor_5", mt.matrix("MSFT", start=SPAN[1], end=SPAN[3], horizon=1))
    small("print('made anew')")
    run = again(copy.parent)
    assert (run.path, [p.name for p in copy.parent.iterdir()]) == (copy, [copy.name])
    assert run.manifest["luck"]["trials"] == old.manifest["luck"]["trials"] + 1
    assert run.manifest["revision"] != old.manifest["revision"]
    (line,) = run.manifest["earlier"]
    assert line["revision"] == old.manifest["revision"]
    assert line["manifest"] == hashlib.sha256(made.before[f"{copy.name}/manifest.json"]).hexdigest()
    assert line["finding"] == made.first.stdout.splitlines()[0]
    index = (copy / "index.html").read_text()
    assert "Earlier revisions of this run" in index
    assert line["manifest"][:16] in index
    assert "made anew" in (copy / "neighbors.html").read_text()  # a page tells of luck, too
    assert reports.verify(run) == []
    head = audit.head()
    assert again(copy.parent).manifest == folder.read(copy).manifest
    assert audit.head() == head


def test_a_page_that_fails_in_a_new_revision_does_not_leave_the_old_one_behind(copy: Path, small):
    mt.evaluate("KNeighborsRegressor_5", mt.matrix("MSFT", start=SPAN[1], end=SPAN[3], horizon=1))
    small("raise RuntimeError('no')")
    run = again(copy.parent)
    assert run.failed == {"neighbors": "RuntimeError: no"}
    assert not (copy / "neighbors.html").exists()
    assert reports.verify(run) == []


def test_what_a_killed_run_left_half_written_is_removed(copy: Path):
    (copy / "manifest.json").unlink()
    (copy / ".x1y2").mkdir()
    (copy / ".x1y2" / "executed.ipynb").write_text("{")
    (copy / ".0123.tmp").write_text("<html>")
    assert reports.verify(again(copy.parent)) == []
    assert not list(copy.glob(".*"))


def relatives(mark: str) -> list[psutil.Process]:
    """Living processes that carry the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_gone(mark: str) -> None:
    """Within seconds no process of a command is left."""
    until(lambda: not relatives(mark), 15)
    left = relatives(mark)
    for process in left:
        process.kill()
    assert left == []


def until(true: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def fits(home: Path) -> int:
    """Rows of the ledger, as another process sees them; 0 before there is one."""
    try:
        with sqlite3.connect(f"file:{home / 'mltrainer.sqlite'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.Error:
        return 0


def page_begun(out: Path) -> bool:
    return any(p.is_dir() for p in out.glob("*/.*"))


def assert_whole(out: Path) -> None:
    """Under its final name a file is whole, whenever its writer was killed."""
    for path in out.glob("*/[!.]*"):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            assert text.rstrip().endswith("</html>")
        elif path.suffix in (".json", ".ipynb"):
            json.loads(text)


@pytest.mark.usefixtures("database")
@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_completes_one_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, chance = tmp_path / "out", random.Random(20090309)
    monkeypatch.chdir(tmp_path)
    moments = [
        (lambda: fits(home) >= 1, 0.0, False),
        (lambda: fits(home) >= 3, chance.uniform(0, 0.2), True),
        (lambda: page_begun(out), chance.uniform(0, 2), False),
        (lambda: page_begun(out), chance.uniform(2, 5), True),
    ]
    call = [str(MLTRAINER), *COMMAND, "--jobs", "2", "--out", str(out)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    for moment, later, group in moments:
        mark = uuid4().hex
        process = subprocess.Popen(call, env=environment(home, MARK=mark), **quiet)
        assert until(lambda m=moment, p=process: m() or p.poll() is not None, 90)
        time.sleep(later)
        os.killpg(process.pid, signal.SIGKILL) if group else process.kill()
        process.wait()
        assert_gone(mark)
        assert_whole(out)
    quiet |= {"stdout": subprocess.PIPE, "text": True}
    pair = [subprocess.Popen(call, env=environment(home), **quiet) for _ in range(2)]  # they must not meet
    answers = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert answers[0] == answers[1]
    (folder,) = out.iterdir()
    assert answers[0].splitlines()[1] == str(folder / "index.html")
    assert reports.verify(folder) == []
    assert audit.verify() == []
    assert sorted(trials.ledger()["model"]) == sorted(NEIGHBORS)
    assert len(audit.entries(kind="trial")) == len(NEIGHBORS)
    assert len(list(folder.iterdir())) == 6
    assert not [p for p in out.rglob("*") if p.name.startswith(".")]


@pytest.mark.usefixtures("database")
@pytest.mark.slow
def test_two_reports_at_once_on_one_home_both_verify(home: Path, tmp_path: Path):
    """Both fit the same models; whoever is second to record shows what the first one measured."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    places = [tmp_path / "one", tmp_path / "two"]
    calls = [[str(MLTRAINER), *COMMAND, "--jobs", "1", "--out", str(place)] for place in places]
    pair = [subprocess.Popen(call, env=environment(home), **quiet) for call in calls]
    assert [process.wait(180) for process in pair] == [0, 0]
    assert [reports.verify(folder) for place in places for folder in place.iterdir()] == [[], []]
    first, second = ([r["fit_seconds"] for r in rows_of(next(place.iterdir()))] for place in places)
    assert sorted(first) == sorted(second)
    assert audit.verify() == []


# A shell's background job ignores Ctrl-C, and so would all that it starts; a person's terminal does not. Set in the new
# process and not between fork and exec: code of this process must not run there once jax has started its threads.
ATTENTIVE = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"


@pytest.mark.slow
def test_ctrl_c_is_one_line_and_leaves_no_process_behind(copy: Path, home: Path, tmp_path: Path):
    for attempt in range(3):
        out, mark = tmp_path / f"elsewhere{attempt}", uuid4().hex
        call = [sys.executable, "-c", ATTENTIVE, str(MLTRAINER), *COMMAND, "--jobs", "1", "--out", str(out)]
        process = subprocess.Popen(
            call,
            env=environment(home, MARK=mark),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert until(lambda out=out: page_begun(out), 90)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        if process.returncode != 0:  # on a busy machine the run may have ended before the signal came
            break
    lines = [line for line in err.replace("\r", "\n").splitlines() if line.strip() and "page" not in line[-8:]]
    assert lines == ["mltrainer: stopped; finished work is kept, and the same command goes on from here"]
    assert process.returncode == 130
    assert_gone(mark)


SCRIPT = f"""import mltrainer as mt
print(mt.report(["neighbors"], ["MSFT"], start={SPAN[1]!r}, end={SPAN[3]!r}, jobs=2, out="elsewhere", progress=False))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_script_without_a_main_guard_makes_its_pages(copy: Path, home: Path, tmp_path: Path, way: str):
    (tmp_path / "script.py").write_text(SCRIPT)
    call = {"file": ["script.py"], "standard input": ["-"]}[way]
    with (tmp_path / "script.py").open() as text:
        done = subprocess.run(
            [sys.executable, *call], stdin=text, env=environment(home), cwd=tmp_path, capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "elsewhere").iterdir()
    assert done.stdout == f"Run(complete: {folder / 'index.html'})\n"  # once, and it says where
    assert (folder / "neighbors.html").exists()


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_failed_notebook_fails_its_page_alone_and_is_tried_again(
    copy: Path, small, command, monkeypatch: pytest.MonkeyPatch
):
    one = dataclasses.replace(catalog.FAMILIES["svm"], specs=catalog.FAMILIES["svm"].specs[:1])
    monkeypatch.setitem(catalog.FAMILIES, "svm", one)
    small("if family == 'svm':", "    raise RuntimeError('<b>the disk of svm</b>')", "print(family)")
    arguments = ["report", "--family", "neighbors", "--family", "svm", *SPAN, "--jobs", "1", "--out", copy.parent]
    said = command(*arguments)
    assert said.code == 1
    assert "mltrainer: page svm failed: RuntimeError: <b>the disk of svm</b>" in said.err
    (run,) = [r for r in reports.runs(copy.parent) if len(r.families) == 2]
    assert run.manifest["status"] == "failed"
    assert run.failed == {"svm": "RuntimeError: <b>the disk of svm</b>"}
    index = (run.path / "index.html").read_text()
    assert "RuntimeError: &lt;b&gt;the disk of svm&lt;/b&gt;" in index
    assert "<b>the disk" not in index
    assert 'href="svm.html' not in index
    assert 'href="neighbors.html' in index
    assert (run.path / "neighbors.html").exists()
    assert not (run.path / "svm.html").exists()
    kept = nbformat.read(run.path / "failed" / "svm.ipynb", as_version=4)
    assert any(o.get("ename") == "RuntimeError" for c in kept.cells for o in c.get("outputs", []))
    assert reports.verify(run) == []

    page = (run.path / "neighbors.html").stat().st_mtime_ns
    small("print(family)")
    assert command(*arguments).code == 0
    mended = folder.read(run.path)
    assert (mended.manifest["status"], mended.failed) == ("complete", {})
    assert (run.path / "neighbors.html").stat().st_mtime_ns == page
    assert reports.verify(mended) == []


def test_a_model_that_failed_keeps_a_row_with_its_reason_and_the_run_holds(
    copy: Path, small, monkeypatch: pytest.MonkeyPatch
):
    def fails(spec, matrix, protocol, key):
        done = Evaluation(key, spec.name, spec.family, spec.task, matrix.name, matrix.horizon)
        return Evaluation(**{**done.__dict__, "status": "timeout", "reason": "over its <time> budget"})

    monkeypatch.setattr(tasks, "evaluate", fails)
    small("print(family)")
    run = reports.report(["neighbors"], ["IBM"], start=SPAN[1], end=SPAN[3], jobs=1, out=copy.parent, progress=False)
    assert {(r["status"], r["verdict"], r["reason"]) for r in rows_of(run.path)} == {
        ("timeout", "timeout", "over its <time> budget")
    }
    index = (run.path / "index.html").read_text()
    assert index.count("over its &lt;time&gt; budget") == 10  # in the leaderboard and under what did not run
    assert "No model ran to the end" in index
    assert reports.verify(run) == []


LINUX = pytest.mark.skipif(START != "forkserver", reason="forks on Linux alone")
DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"


def test_an_export_that_fails_is_the_reason_of_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mltrainer.reports import pages

    def breaks(path: Path, **_: object) -> str:
        raise ValueError("no such template")

    monkeypatch.setattr(pages, "notebook_html", breaks)
    template = small_template(tmp_path, "1", parameters="x = 1")
    (tmp_path / "out").mkdir()
    assert execution.execute(template, {"x": 2}, tmp_path / "out", "f") == "ValueError: no such template"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["failed"]


def kernels() -> set[int]:
    """Kernels that this process has started and that live: interpreters of their own, or forks of a server."""
    found = [p for p in psutil.Process().children(recursive=True) if p.is_running()]
    forks = {
        child.pid for p in found if "multiprocessing.forkserver" in " ".join(p.cmdline()) for child in p.children()
    }
    return forks | {p.pid for p in found if "ipykernel_launcher" in " ".join(p.cmdline())}


@pytest.mark.slow
@pytest.mark.parametrize("forked", [False, pytest.param(True, marks=LINUX)])
@pytest.mark.parametrize("stuck", ["import time; time.sleep(600)", DEAF])
def test_a_stuck_page_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: str, forked: bool):
    monkeypatch.setattr(execution, "CELL_SECONDS", 3)
    before, begin = kernels(), time.monotonic()
    template = small_template(tmp_path, stuck, parameters="x = 1")
    (tmp_path / "out").mkdir()
    reason = execution.execute(template, {}, tmp_path / "out", "f", forked=forked)
    assert reason == "CellTimeoutError: A cell timed out while it was being executed, after 3 seconds."
    assert time.monotonic() - begin < 60
    assert kernels() <= before


# --- names and values that are code to somebody ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["nothing", "x=1\nopen('ran','w')\nx", "x.__class__", "x ", "", "X", "pm"])
def test_a_parameter_name_that_the_template_does_not_have_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.chdir(tmp_path)
    template = small_template(tmp_path, "open('executed', 'w').close()", parameters="x = 1")
    with pytest.raises(BadInput, match="has no parameter"):
        execution.execute(template, {"x": 1, name: 1}, tmp_path, "f")
    assert [p.name for p in tmp_path.iterdir()] == ["small.ipynb"]


HOSTILE = ["../../x", "a'b\"c", "\"\nopen('ran','w').close()\n\"", "{x}{0.__class__}", "\\", "$(touch ran)", "<script>"]


def test_hostile_values_reach_the_notebook_as_they_are_and_nothing_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "{x}" / "a'b\"c {0.__class__}"
    odd.mkdir(parents=True)
    template = small_template(odd, "import json", "print(json.dumps([x, y]))", parameters="x = ''\ny = []")
    (tmp_path / "out{x}").mkdir()
    said = execution.execute(template, {"x": HOSTILE[2], "y": HOSTILE}, tmp_path / "out{x}", "f")
    assert said == ""
    notebook = nbformat.read(tmp_path / "out{x}" / "f.ipynb", as_version=4)
    assert json.loads(notebook.cells[-1].outputs[0].text) == [HOSTILE[2], HOSTILE]
    assert {p.name for p in (tmp_path / "out{x}").iterdir()} == {"f.ipynb", "f.html"}
    assert {p.name for p in tmp_path.iterdir()} == {"out{x}", "{x}"}
    assert "<script>" not in (tmp_path / "out{x}" / "f.html").read_text().split("<main")[1].split("<script>\n")[0]


def test_the_kernel_reads_a_relative_home_and_a_dotenv_as_the_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MLTRAINER_TASK_SECONDS=77\n")
    monkeypatch.setenv("MLTRAINER_HOME", "state")
    look = "from mltrainer.settings import settings; print(settings().home.absolute(), settings().task_seconds)"
    template = small_template(tmp_path, look, parameters="x = 1")
    (tmp_path / "out").mkdir()
    assert execution.execute(template, {}, tmp_path / "out", "f") == ""
    notebook = nbformat.read(tmp_path / "out" / "f.ipynb", as_version=4)
    assert notebook.cells[-1].outputs[0].text.split() == [str(tmp_path / "state"), "77.0"]


@LINUX
def test_a_forked_kernel_has_the_folder_of_who_asks_and_a_server_with_one_thread_that_has_all_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A fork of a process with threads would wait for locks that nobody gives back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLTRAINER_HOME", "state")
    look = [
        "import os, sys",
        "held = open(f'/proc/{os.getppid()}/status').read().split('Threads:')[1].split()[0]",
        "ready, alone = 'mltrainer.reports.validation' in sys.modules, os.getsid(0) == os.getpid()",
        "from mltrainer.settings import settings",
        "print(held, ready, alone, x, settings().home.absolute())",
    ]
    template = small_template(tmp_path, *look, parameters="x = 1")
    (tmp_path / "out").mkdir()
    with executor(1) as pool:
        assert pool.submit(execution.execute, template, {"x": 2}, tmp_path / "out", "f", forked=True).result() == ""
    notebook = nbformat.read(tmp_path / "out" / "f.ipynb", as_version=4)
    assert notebook.cells[-1].outputs[0].text.split() == ["1", "True", "True", "2", str(tmp_path / "state")]


@LINUX
@pytest.mark.slow
def test_a_forked_kernel_and_its_server_are_gone_with_the_worker_that_was_killed(tmp_path: Path):
    noted = tmp_path / "pids"
    look = [
        "import os, time",
        f"open({str(noted)!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}}\\n')",
        "time.sleep(600)",
    ]
    template = small_template(tmp_path, *look, parameters="x = 1")
    with executor(1) as pool:
        page = pool.submit(execution.execute, template, {}, tmp_path, "f", forked=True)
        assert until(lambda: noted.exists() and noted.read_text().endswith("\n"), 60)
        for worker in pool._processes.values():
            worker.kill()
        with pytest.raises(BrokenProcessPool):
            page.result()
    kernel, server = map(int, noted.read_text().split())
    assert until(lambda: not (psutil.pid_exists(kernel) or psutil.pid_exists(server)), 20)


@LINUX
def test_a_page_is_the_same_from_a_forked_kernel_but_for_the_head_of_the_trail(copy: Path, tmp_path: Path):
    """The page that it is compared with is a single one, whose kernel was an interpreter of its own."""
    page = nbformat.read(copy / "neighbors.ipynb", as_version=4)
    given = (notebooks() / execution.NOTEBOOK, page.metadata.papermill.parameters, tmp_path, "neighbors")
    with executor(1) as pool:
        assert pool.submit(execution.execute, *given, forked=True).result() == ""
    pages = [re.sub(r"\d+:[0-9a-f]{64}", "", (folder / "neighbors.html").read_text()) for folder in (copy, tmp_path)]
    assert pages[0] == pages[1]


def test_a_run_is_named_by_what_it_holds_in_letters_that_any_disk_takes():
    def name(**more: object) -> str:
        return room._run_id({"tickers": ["../x", "A B"], "horizon": 5, **more}, [])

    assert name().startswith("___x-A_B-5d-")
    assert name() == name()
    assert name(start="2005-01-03") != name()
    assert name(tickers=[str(n) for n in range(4)]).startswith("4-tickers-5d-")


# --- the disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A disk of its own, as small as asked."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        call = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(call, capture_output=True).returncode != 0:
            pytest.skip("only root may mount a small disk")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # series are spooled there until the process ends


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)


@pytest.mark.parametrize("size", ["64k", "250k"])
def test_a_full_disk_for_the_state_is_one_line_and_afterwards_everything_goes_on(
    tiny, monkeypatch: pytest.MonkeyPatch, command, tmp_path: Path, size: str
):
    disk = tiny(f"size={size}")
    monkeypatch.setenv("MLTRAINER_HOME", str(disk / "home"))
    call = ["evaluate", *sorted(NEIGHBORS), *SPAN]
    said = command(*call)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith(f"mltrainer: {disk / 'home'}")
    assert "the disk is full" in said.err
    assert "Traceback" not in said.err
    grow(disk)
    assert command(*call).code == 0
    assert audit.verify() == []
    assert len(trials.ledger()) == len(NEIGHBORS)


@pytest.mark.parametrize(("size", "said"), [("4k", "has 0 MB free"), ("8m", "has 8 MB free")])
def test_a_disk_too_small_for_the_report_is_said_before_any_work(tiny, command, size: str, said: str):
    """Two pages of one family, and five megabytes that draw their figures."""
    disk = tiny(f"size={size}")
    answer = command(*COMMAND, "--jobs", "1", "--out", disk / "out")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(
        f"mltrainer: {disk / 'out'} {said}, and the report needs about 9 MB; make room or choose another"
    )
    assert not len(trials.ledger())


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    copy: Path, tiny, small, command, monkeypatch: pytest.MonkeyPatch
):
    small("print(family)")
    disk = tiny("size=2m")
    call = [*COMMAND, "--jobs", "1", "--out", disk / "out"]
    with monkeypatch.context() as unseen:
        unseen.setattr(room, "PAGE_BYTES", -(10**9))  # it fills up later
        said = command(*call)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith(f"mltrainer: {disk}")
    assert "the disk is full" in said.err
    assert_whole(disk / "out")
    assert not list(disk.rglob("manifest.json"))
    grow(disk)
    assert command(*call).code == 0
    (run,) = reports.runs(disk / "out")
    assert reports.verify(run) == []


def test_a_read_only_folder_is_one_line(copy: Path, tiny, command):
    disk = tiny("size=1m,ro")
    said = command(*COMMAND, "--jobs", "1", "--out", disk / "out")
    assert said.code == 2
    assert said.err == (
        f"mltrainer: {disk / 'out'} cannot be written: Read-only file system; choose another folder with --out\n"
    )


def test_a_lock_that_cannot_be_made_is_one_line(home: Path):
    home.mkdir()
    (home / "locks").write_text("in the way")
    with pytest.raises(StorageError, match=r"locks/x cannot be locked \(.*\); set MLTRAINER_HOME"), room._alone("x"):
        pass


def test_one_process_at_a_time_makes_a_run_and_a_killed_one_holds_nothing(home: Path):
    hold = "from mltrainer.reports.run import _alone\nwith _alone('x'):\n    print('held', flush=True)\n    input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(home)
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    lock = FileLock(home / "locks" / "x")
    with pytest.raises(Timeout):
        lock.acquire(timeout=0.2)
    holder.kill()
    holder.communicate()
    with room._alone("x"), pytest.raises(Timeout):
        FileLock(home / "locks" / "x").acquire(timeout=0.2)


def test_a_missing_result_says_which(copy: Path, made: Made):
    with pytest.raises(LookupError, match="holds no result of RidgeRegression on MSFT"):
        made.run.evaluation("RidgeRegression", "MSFT")


def test_a_run_made_elsewhere_is_not_taken_for_finished(copy: Path, home: Path):
    """The trail of this installation does not tell of it."""
    shutil.rmtree(home)
    assert folder.finished(copy) is None


def test_the_protocol_is_told_in_the_manifest(made: Made):
    assert made.run.manifest["parameters"]["protocol"] == repr(Protocol())
