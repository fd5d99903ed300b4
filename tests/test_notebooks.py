"""Every notebook is clean on disk, asks and does not define, and runs from top to bottom."""

import ast
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from replay.server import Replay

from mltrainer.paths import notebooks

FOLDER = notebooks()
NAMES = sorted(p.relative_to(FOLDER).as_posix() for p in FOLDER.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
TEMPLATES = [n for n in NAMES if n.startswith(("reports/", "runbooks/"))]
SECONDS = 120  # "in under two minutes", says the issue of start-here


def read(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def code(name: str) -> list[NotebookNode]:
    return [c for c in read(name).cells if c.cell_type == "code"]


def test_the_promised_notebooks_are_there():
    assert {
        "start-here.ipynb",
        "reports/model-family.ipynb",
        "reports/factor.ipynb",
        "dashboards/models.ipynb",
        *LIVE,
    } <= set(NAMES)


def test_the_first_notebook_ends_with_ones_own_key():
    assert read("start-here.ipynb").cells[-1].source.startswith("## With your own key\n")


# --- on disk --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_valid_and_stripped(name: str):
    notebook = read(name)
    nbformat.validate(notebook)
    ids = [c.id for c in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.keys() <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert cell.metadata.keys() <= {"tags"}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


# Its question is what one wrote oneself, so it may define: a function of at most ten lines in a cell.
OWN = "explore/your-own.ipynb"


def test_a_function_of_ones_own_takes_ten_lines():
    made = [n for c in code(OWN) for n in ast.parse(c.source).body if isinstance(n, ast.FunctionDef)]
    assert {n.name for n in made} == {"momentum", "smooth", "peak"}
    assert all((n.end_lineno or 99) - n.lineno < 10 for n in made)


@pytest.mark.parametrize("name", sorted({*NAMES} - {OWN}))
def test_a_notebook_asks_and_does_not_define(name: str):
    for cell in code(name):
        for node in ast.walk(ast.parse(cell.source)):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
            assert not isinstance(node, kinds), f"{cell.id}: a function looking for its room"


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_short_and_names_no_place_of_a_machine(name: str):
    for cell in read(name).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 23, cell.id  # the longest nine in ten of good notebooks
        assert not re.search(r"(?<![\w.])/(home|root|tmp|Users|work)/", cell.source), cell.id


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_opens_with_words_or_parameters(name: str):
    first = read(name).cells[0]
    assert first.cell_type == "markdown" or "parameters" in first.metadata.get("tags", [])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_has_one_cell_of_parameters_which_are_plain_values(name: str):
    tagged = [c for c in code(name) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    for node in ast.parse(tagged[0].source).body:
        assert isinstance(node, ast.Assign)
        ast.literal_eval(node.value)


def test_notebooks_that_are_no_template_take_no_parameters():
    for name in set(NAMES) - set(TEMPLATES):
        assert not any("parameters" in c.metadata.get("tags", []) for c in code(name))


def test_notebooks_are_clean_to_ruff():
    for call in (["check"], ["format", "--check"]):
        ruff = [str(Path(sys.executable).with_name("ruff")), *call, *(str(FOLDER / n) for n in NAMES)]
        done = subprocess.run(ruff, cwd=FOLDER.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


# --- running --------------------------------------------------------------------------------------------------

# A short span and the quickest family; the others take what they hold.
SHORTER = {
    "reports/model-family.ipynb": {"family": "neighbors", "start": "2005-01-03", "end": "2009-12-31"},
    "reports/factor.ipynb": {"start": "2019-01-02"},
    "reports/daily-brief.ipynb": {"universe": "MSFT,IBM", "as_of": "2009-03-09"},
}


# These need keys: they ask a server on this machine that replays history.
LIVE = {"explore/live-data.ipynb"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # papermill's own
        import papermill
    monkeypatch.chdir(tmp_path)
    before = (FOLDER / name).read_bytes()
    assert "POLYGON_API_KEY" not in os.environ
    server: Replay | None = request.getfixturevalue("replay") if name in LIVE else None
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "30")  # the machine may be busy
    done = papermill.execute_notebook(
        str(FOLDER / name),
        str(tmp_path / "executed.ipynb"),
        SHORTER.get(name, {}),
        kernel_name="python3",
        progress_bar=False,
        execution_timeout=SECONDS,
    )
    outputs = [o for c in done.cells if c.cell_type == "code" for o in c.outputs]
    assert [o for o in outputs if o.output_type == "error"] == []
    said = [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr" and "it/s" not in o.text]
    assert [t for t in said if "Warning" in t or "Error" in t or "Traceback" in t] == []
    assert outputs or name.startswith("dashboards/")
    if server is not None:
        assert {asked.key for asked in server.log} == set(server.keys.values())
        shown = nbformat.writes(done)
        assert "answers, and takes the key" in shown
        assert not any(key in shown for key in server.keys.values())
    assert done.metadata.papermill.duration < SECONDS
    assert (FOLDER / name).read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} <= {"executed.ipynb", "home", "reports"}
