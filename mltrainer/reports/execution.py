"""Pages of families: one parameterized notebook each, executed by papermill two at a time, then exported."""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from mltrainer import store
from mltrainer.errors import BadInput
from mltrainer.evaluation.engine import START, executor, unwatched
from mltrainer.models import catalog
from mltrainer.paths import notebooks
from mltrainer.reports.folder import sha
from mltrainer.trust import audit

NOTEBOOK = "reports/model-family.ipynb"
VALIDATION = "reports/validation.ipynb"
AT_ONCE = 2
CELL_SECONDS = 300  # a cell shows what is stored; one that takes longer is stuck, and its page fails


def family_pages(
    families: Sequence[str],
    shown: dict[str, Any],
    run: tuple[str, str],
    folder: Path,
    progress: bool,
    validated: dict[str, str] | None = None,
) -> dict[str, dict[str, str]]:
    """Execute the notebook of each family that has no page yet, two at a time; say of each how it ended.

    `shown` are the parameters that all notebooks share. `run` is the id and the revision; pages of another revision
    are removed before. `validated` names the model and ticker of the page "validation", if there is one.
    """
    names = [*families, *(["validation"] if validated else [])]
    status = {f: {"status": "ok", "reason": ""} for f in names}
    missing = [f for f in names if not _kept(folder, run, f)]
    if not missing:
        return status
    for name in (f"{f}{ending}" for f in missing for ending in (".html", ".ipynb")):
        (folder / name).unlink(missing_ok=True)
    inputs = {f: {"family": f, "run_id": run[0]} | shown for f in missing}
    if validated and "validation" in missing:
        same = {name: value for name, value in shown.items() if name != "tickers"}
        inputs["validation"] = {"run_id": run[0]} | same | validated
    template = {f: notebooks() / (VALIDATION if f == "validation" else NOTEBOOK) for f in missing}
    with (
        executor(min(AT_ONCE, len(missing))) as pool,
        tqdm(total=len(missing), disable=unwatched(progress), unit="page", leave=False) as bar,
    ):
        with _deaf():
            longest = sorted(missing, key=lambda f: f != "validation")
            forked = START == "forkserver" and len(missing) > 1  # a single kernel imports for itself alone
            jobs = {pool.submit(execute, template[f], inputs[f], folder, f, forked=forked): f for f in longest}
        for job in as_completed(jobs):
            family = jobs[job]
            try:
                reason = job.result()
            except BrokenProcessPool:
                reason = "the process that ran its notebook was killed"
            if reason:
                status[family] = {"status": "failed", "reason": reason}
            else:
                audit.append("page", **_page(folder, run, family))
            bar.update()
    return status


def _page(folder: Path, run: tuple[str, str], family: str) -> dict[str, Any]:
    """What the trail is told of a finished page."""
    files = {name: sha(folder / name) for name in (f"{family}.html", f"{family}.ipynb")}
    return {"run": run[0], "revision": run[1], "family": family, "files": files}


def _kept(folder: Path, run: tuple[str, str], family: str) -> bool:
    """Whether a killed run has finished this page: the trail tells of these very files."""
    return _page(folder, run, family) in [e.payload for e in audit.entries(kind="page")]


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes started here ignore Ctrl-C: a terminal sends it to all, and ending them is for this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def execute(template: Path, parameters: dict[str, Any], folder: Path, name: str, *, forked: bool = False) -> str:
    """Run one notebook with papermill and export it; return why it failed, or nothing.

    `forked` takes the kernel from a server of this process, which has imported for all that it will run.

    Parameter names are code to papermill, and it formats both paths with their values: so names are checked
    against the template, and the paths are escaped. The kernel keeps this process's folder, in which a relative
    MLTRAINER_HOME or a `.env` means what it means here.
    """
    import papermill as pm  # half a second that only this process needs

    from mltrainer.reports.pages import notebook_html

    known = pm.inspect_notebook(_literal(template))
    strange = sorted(set(parameters) - set(known))
    if strange:
        raise BadInput(f"{template.name} has no parameter {', '.join(map(repr, strange))}; it takes {', '.join(known)}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as work:
        produced = Path(work) / "executed.ipynb"
        try:
            with _quiet():
                pm.execute_notebook(
                    _literal(template),
                    _literal(produced),
                    parameters,
                    kernel_name="python3",
                    progress_bar=False,
                    execution_timeout=CELL_SECONDS,
                    request_save_on_cell_execute=False,
                    **(_forked() if forked else {}),
                )
            family = catalog.FAMILIES.get(name)
            html = notebook_html(produced, title=family.title if family else name, of_run="run_id" in parameters)
        except Exception as error:  # whatever a notebook does wrong is the reason on the index page
            if produced.exists():
                (folder / "failed").mkdir(exist_ok=True)
                shutil.move(produced, folder / "failed" / f"{name}.ipynb")
            lines = [x for x in str(error).splitlines() if re.match(r"\w*(\.\w+)*(Error|Refused|Unavailable|\w+): ", x)]
            return (lines[-1] if lines else f"{type(error).__name__}: {error}".splitlines()[0])[:300]
        notebook = json.loads(produced.read_text(encoding="utf-8"))
        for where in ("input_path", "output_path"):  # they name folders of the machine it ran on
            notebook["metadata"]["papermill"][where] = Path(notebook["metadata"]["papermill"][where]).name
        text = json.dumps(notebook, ensure_ascii=False, sort_keys=True)  # on one line: most of it are figures
        store.write_atomic(folder / f"{name}.ipynb", text)
        store.write_atomic(folder / f"{name}.html", html)
    (folder / "failed" / f"{name}.ipynb").unlink(missing_ok=True)
    return ""


def _forked() -> dict[str, Any]:
    from mltrainer.reports.kernels import ForkedKernelManager  # its imports are those of a worker

    return {"kernel_manager_class": ForkedKernelManager}


def _literal(path: Path) -> str:
    return str(path).replace("{", "{{").replace("}", "}}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep kernel chatter off the terminal: what matters is in the notebook or in the reason."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
