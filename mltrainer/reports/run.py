"""The main job: evaluate, execute one notebook per family, and put the folder together so that it can be checked."""

import io
import json
import multiprocessing as mp
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from mltrainer import metrics, store, views
from mltrainer.data.market import Day
from mltrainer.data.quality import Quality, quality
from mltrainer.errors import BadInput, StorageError, Tampered, Unavailable
from mltrainer.evaluation import engine, study, trials
from mltrainer.evaluation.leaderboard import Leaderboard, leaderboard
from mltrainer.evaluation.walkforward import Evaluation, Protocol
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.paths import notebooks
from mltrainer.settings import settings
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import fingerprint

FORMAT = 4  # raise it when pages of the same results would look different
NOTEBOOK = "reports/model-family.ipynb"
AT_ONCE = 2
PAGE_BYTES = 6 * 2**20  # most of a page is plotly.js, so that it opens offline
LIBRARIES = (
    "mltrainer numpy pandas scipy scikit-learn statsmodels lightgbm catboost xgboost-cpu TA-Lib plotly papermill "
    "bokeh-sampledata skfolio arch"
).split()
MANIFEST = (
    "run status mode as_of created_at parameters families sources matrices results luck library_versions outputs "
    "audit_head"
).split()


@dataclass(frozen=True)
class Run:
    """One finished run folder, read back; nothing is computed."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the folder."""
        return str(self.manifest["run"])

    @property
    def title(self) -> str:
        """What was asked, in few words."""
        p = self.manifest["parameters"]
        return f"{', '.join(p['tickers'])}, {p['horizon']} sessions ahead, to {self.as_of} ({self.id[-8:]})"

    @property
    def mode(self) -> str:
        """The data mode stamped on the run."""
        return str(self.manifest["mode"])

    @property
    def as_of(self) -> str:
        """Last session of the data, YYYY-MM-DD."""
        return str(self.manifest["as_of"])

    @property
    def families(self) -> list[str]:
        """Keys of the families of the run, in catalog order."""
        return list(self.manifest["families"])

    @property
    def failed(self) -> dict[str, str]:
        """Family -> why its page could not be made."""
        return {f: s["reason"] for f, s in self.manifest["families"].items() if s["status"] != "ok"}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The leaderboard, as `leaderboard.csv` holds it."""
        return pd.read_csv(self.path / "leaderboard.csv", keep_default_na=False, na_values=[""])

    def evaluation(self, name: str, ticker: str) -> Evaluation:
        """Return the stored result of one model on one ticker."""
        for r in self.manifest["results"]:
            if r["model"] == name and r["ticker"] == ticker and r["status"] == "ok":
                return Evaluation.from_bytes(store.get_blob(r["blob"]))
        raise Unavailable(f"run {self.id} holds no result of {name} on {ticker}")

    def __repr__(self) -> str:
        """Say where it is and how it ended."""
        return f"Run({self.manifest['status']}: {self.path / 'index.html'})"


def runs(out: str | Path = "reports") -> list[Run]:
    """Every run folder below `out` that has a readable manifest, newest first."""
    found = []
    for path in Path(out).glob("*/manifest.json"):
        try:
            run = read(path.parent)
        except (Tampered, OSError):
            continue  # `verify` is the place to say what is wrong with a folder
        found.append(run)
    return sorted(found, key=lambda r: str(r.manifest["created_at"]), reverse=True)


def read(folder: Path) -> Run:
    """Read one run folder; `Tampered` if its manifest is none."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or any(key not in manifest for key in MANIFEST):
            raise ValueError("keys are missing")
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{folder / 'manifest.json'} is not a manifest of a run: {error}") from None
    return Run(folder, manifest)


def report(
    families: Iterable[str] | None = None,
    tickers: Iterable[str] | None = None,
    *,
    start: Day = None,
    end: Day = None,
    horizon: int = 5,
    jobs: int | None = None,
    out: str | Path = "reports",
    progress: bool = True,
) -> Run:
    """Evaluate families of models on tickers and write a report folder.

    Parameters
    ----------
    families : keys of families; default all of the catalog.
    tickers : default ("MSFT",).
    start, end : first and last session; default all there is.
    horizon : sessions a position is held.
    jobs : worker processes; default the number of cores.
    out : folder that holds the run folders.

    Returns
    -------
    Run
        The same inputs and the same ledger give the same run, which is then only checked and returned. A run that
        was killed goes on where it stopped: finished fits are in the ledger, finished pages in the folder.
    """
    chosen = list(dict.fromkeys(families or catalog.FAMILIES))
    specs = study.select(chosen)
    names = list(dict.fromkeys(str(t).upper() for t in (tickers or ("MSFT",))))
    folder = Path(out).absolute()
    matrices = [study.matrix(name, start=start, end=end, horizon=horizon) for name in names]
    _writable(folder, PAGE_BYTES * (len(chosen) + 1))
    protocol = Protocol()
    results = engine.run(specs, matrices, protocol=protocol, jobs=jobs, progress=progress)
    board = leaderboard(results)
    parameters = {
        "families": chosen,
        "tickers": names,
        "start": str(start or ""),
        "end": str(end or ""),
        "horizon": horizon,
        "protocol": repr(protocol),
    }
    run_id = _run_id(parameters, results, board)
    done = folder / run_id
    with _alone(run_id):
        old = _finished(done)
        if old is not None:
            return old
        done.mkdir(exist_ok=True)
        _sweep(done)
        status = _family_pages(chosen, names, parameters, run_id, done, progress)
        return _finish(done, run_id, parameters, matrices, results, board, status, protocol)


def _finished(folder: Path) -> Run | None:
    """Return the run of a folder if it is complete, every file is as recorded and the trail tells of it."""
    try:
        run = read(folder)
        told = {e.payload.get("manifest") for e in audit.entries(kind="report")}
        same = all(_sha(folder / name) == sha for name, sha in run.manifest["outputs"].items())
    except (OSError, Tampered, AttributeError):
        return None
    whole = same and _sha(folder / "manifest.json") in told and run.manifest["status"] == "complete"
    return run if whole else None


@contextmanager
def _alone(run_id: str) -> Iterator[None]:
    """Wait until no other process makes this run; the lock of a killed process is gone with it."""
    path = settings().home / "locks" / run_id
    path.parent.mkdir(parents=True, exist_ok=True)
    # SQLite for its lock alone, which is the same on every system; nothing is ever written.
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as lock:
            while not _locked(lock):
                pass
            yield
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be locked: {error}; set MLTRAINER_HOME to a folder you own") from None


def _locked(lock: sqlite3.Connection) -> bool:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return False  # asked again every second, so that Ctrl-C is heard
        raise
    return True


def _sweep(folder: Path) -> None:
    """Remove what a killed run was writing; only for the process that is alone here."""
    for left in folder.glob(".*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _run_id(parameters: dict[str, Any], results: Sequence[Evaluation], board: Leaderboard) -> str:
    """Name a run by what it holds, so that the same work has the same place: MSFT-5d-1a2b3c4d."""
    ran = [(e.key, e.status) for e in results]
    digest = fingerprint(FORMAT, json.dumps(parameters, sort_keys=True), repr(ran), repr(board.luck))
    who = (
        "-".join(parameters["tickers"]) if len(parameters["tickers"]) <= 3 else f"{len(parameters['tickers'])}-tickers"
    )
    return f"{re.sub(r'[^A-Za-z0-9-]', '_', who)}-{parameters['horizon']}d-{digest[:8]}"


def _writable(folder: Path, need: int) -> None:
    """Say before hours of work that its report would have no place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}; choose another folder with --out") from None
    if free < need:
        room = f"{free / 2**20:.0f} MB free, and the report needs about {need / 2**20:.0f} MB"
        raise StorageError(f"{folder} has {room}; make room or choose another folder with --out")


def _sha(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


# --- family pages ---------------------------------------------------------------------------------------------


def _family_pages(
    families: Sequence[str],
    tickers: Sequence[str],
    parameters: dict[str, Any],
    run_id: str,
    folder: Path,
    progress: bool,
) -> dict[str, dict[str, str]]:
    """Execute the notebook of each family that has no page yet, two at a time; say of each how it ended."""
    status = {f: {"status": "ok", "reason": ""} for f in families}
    missing = [f for f in families if not _kept(folder, run_id, f)]
    if not missing:
        return status
    inputs = {
        f: {"family": f, "tickers": ",".join(tickers), "run_id": run_id}
        | {name: parameters[name] for name in ("start", "end", "horizon")}
        for f in missing
    }
    workers, spawn = min(AT_ONCE, len(missing)), mp.get_context("spawn")
    with (
        ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_with_parent) as pool,
        tqdm(total=len(missing), disable=not progress, unit="page", leave=False) as bar,
    ):
        try:
            with _deaf():
                jobs = {pool.submit(execute, notebooks() / NOTEBOOK, inputs[f], folder, f): f for f in missing}
            for job in as_completed(jobs):
                family = jobs[job]
                try:
                    reason = job.result()
                except BrokenProcessPool:
                    reason = "the process that ran its notebook was killed"
                if reason:
                    status[family] = {"status": "failed", "reason": reason}
                else:
                    audit.append("page", run=run_id, family=family, files=_page_hashes(folder, family))
                bar.update()
        except BaseException:  # Ctrl-C too: nobody wants to wait for pages that nobody will see
            for process in list(pool._processes.values()):
                process.kill()
            raise
    return status


def _page_hashes(folder: Path, family: str) -> dict[str, str]:
    return {name: _sha(folder / name) for name in (f"{family}.html", f"{family}.ipynb")}


def _kept(folder: Path, run_id: str, family: str) -> bool:
    """Whether a killed run has finished this page: the trail tells of these very files."""
    told = [e.payload for e in audit.entries(kind="page")]
    return {"run": run_id, "family": family, "files": _page_hashes(folder, family)} in told


def _leave_with_parent() -> None:
    """End this worker with the process that started it, even if that was killed; the kernel ends with the worker."""
    parent = mp.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


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


def execute(template: Path, parameters: dict[str, Any], folder: Path, name: str) -> str:
    """Run one notebook with papermill and export it; return why it failed, or nothing.

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
                    request_save_on_cell_execute=False,
                )
            html = notebook_html(produced, title=catalog.FAMILIES[name].title if name in catalog.FAMILIES else name)
        except Exception as error:  # whatever a notebook does wrong is the reason on the index page
            if produced.exists():
                (folder / "failed").mkdir(exist_ok=True)
                shutil.move(produced, folder / "failed" / f"{name}.ipynb")
            lines = [x for x in str(error).splitlines() if re.match(r"\w*(\.\w+)*(Error|Refused|Unavailable|\w+): ", x)]
            return (lines[-1] if lines else f"{type(error).__name__}: {error}".splitlines()[0])[:300]
        notebook = json.loads(produced.read_text(encoding="utf-8"))
        for where in ("input_path", "output_path"):  # they name folders of the machine it ran on
            notebook["metadata"]["papermill"][where] = Path(notebook["metadata"]["papermill"][where]).name
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
        store.write_atomic(folder / f"{name}.ipynb", text)
        store.write_atomic(folder / f"{name}.html", html)
    (folder / "failed" / f"{name}.ipynb").unlink(missing_ok=True)
    return ""


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


# --- the folder -----------------------------------------------------------------------------------------------


def _finish(
    folder: Path,
    run_id: str,
    parameters: dict[str, Any],
    matrices: Sequence[Matrix],
    results: Sequence[Evaluation],
    board: Leaderboard,
    status: dict[str, dict[str, str]],
    protocol: Protocol,
) -> Run:
    failed = {f: s["reason"] for f, s in status.items() if s["status"] != "ok"}
    mode, as_of = settings().data_mode, str(max(m.X.index[-1] for m in matrices).date())
    head = str(audit.head())
    store.write_atomic(folder / "leaderboard.csv", csv(board))
    index = index_html(run_id, parameters, matrices, results, board, status, protocol, head)
    store.write_atomic(folder / "index.html", index)
    pages = [f"{f}{ending}" for f in status if f not in failed for ending in (".html", ".ipynb")]
    blobs = trials.ledger().set_index("key")["blob"].to_dict()
    manifest = {
        "run": run_id,
        "status": "failed" if failed else "complete",
        "mode": mode,
        "as_of": as_of,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": parameters,
        "families": status,
        "sources": [p.__dict__ | {"parameters": dict(p.parameters)} for p in gate.roots(*matrices)],
        "matrices": [m.provenance.content_sha256 for m in matrices if m.provenance],
        "results": [
            {"model": e.model, "family": e.family, "ticker": e.ticker, "status": e.status, "key": e.key}
            | {"blob": blobs.get(e.key, ""), "reason": e.reason}
            for e in results
        ],
        "luck": board.luck,
        "library_versions": {"python": sys.version.split()[0], **trials.versions(LIBRARIES)},
        "outputs": {name: _sha(folder / name) for name in ["index.html", "leaderboard.csv", *pages]},
        "audit_head": head,
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    # The trail is told first: a manifest without its entry would look forged, an entry without its manifest is a
    # run that was killed here and will be finished by the same command.
    audit.append("report", run=run_id, manifest=sha256(text.encode()).hexdigest(), status=manifest["status"])
    store.write_atomic(folder / "manifest.json", text)
    return Run(folder, manifest)


def csv(board: Leaderboard) -> str:
    """Write the leaderboard as CSV text; numbers in full precision, so that it can be recomputed exactly."""
    text = io.StringIO()
    board.rows.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def index_html(
    run_id: str,
    parameters: dict[str, Any],
    matrices: Sequence[Matrix],
    results: Sequence[Evaluation],
    board: Leaderboard,
    status: dict[str, dict[str, str]],
    protocol: Protocol,
    head: str,
) -> str:
    """Render the index page: the question, the answer, the evidence, then the machinery."""
    from mltrainer.reports.pages import figure_html, page

    rows, luck = board.rows, board.luck
    ran = rows[rows["status"] == "ok"]
    held = {m.name: metrics.sharpe(next(e for e in results if e.ok and e.ticker == m.name).forecasts["benchmark"])
            for m in matrices if (ran["ticker"] == m.name).any()}  # fmt: skip
    as_of = str(max(m.X.index[-1] for m in matrices).date())
    names = ", ".join(m.name for m in matrices)
    links = {e.model: f"{e.family}.html#{e.model}" for e in results if status[e.family]["status"] == "ok"}
    picture = views.sharpes(
        rows, luck, held=next(iter(held.values())) if len(held) == 1 else None, corner=f"{names}, sessions to {as_of}"
    )
    lost = [[e.model, e.ticker, e.status, e.reason] for e in results if not e.ok]
    lost += [[f"{f} page", "", "failed", s["reason"]] for f, s in status.items() if s["status"] != "ok"]
    lost += [[f"feature {f}", m.name, "unavailable", why] for m in matrices for f, why in m.unavailable.items()]
    n = int(matrices[0].y.notna().sum())
    checks = [quality(m.name, start=m.prices.index[0], end=m.prices.index[-1]) for m in matrices]
    return page(
        "index",
        title=f"Can any of {len(set(rows['name']))} models forecast {names} {_ahead(parameters['horizon'])} ahead?",
        banner=views.banner(settings().data_mode, as_of),
        sentence=board.sentence(),
        failures={f: s["reason"] for f, s in status.items() if s["status"] != "ok"},
        figures=views.figures(_headline(matrices, board, held, checks)),
        picture=figure_html(picture),
        board=views.board(rows, links=links),
        families=[_family_card(f, rows, status[f]["status"]) for f in status],
        refused=views.table(lost, ["What", "Ticker", "Status", "Why"])
        if lost
        else "<p>Everything that was asked for ran.</p>",
        data=_data(matrices, checks),
        horizon=parameters["horizon"],
        folds=protocol.split.folds,
        gap=protocol.split.purge(parameters["horizon"]) + protocol.split.embargo(n, parameters["horizon"]),
        cost=views.number(protocol.cost_bps),
        trials=int(luck["trials"]),
        effective=int(luck["effective"]),
        run=run_id,
        head=head,
        versions=views.table(sorted([k, v] for k, v in trials.versions(LIBRARIES).items()), ["Library", "Version"]),
    )


def _ahead(horizon: int) -> str:
    words = "one two three four five six seven eight nine ten".split()
    return f"{words[horizon - 1] if horizon <= 10 else horizon} session{'' if horizon == 1 else 's'}"


def _headline(
    matrices: Sequence[Matrix], board: Leaderboard, held: dict[str, float], checks: Sequence[Quality]
) -> list[tuple[str, str, str]]:
    rows, luck = board.rows, board.luck
    ran = rows[rows["status"] == "ok"]
    best = ran.iloc[0] if len(ran) else None
    sessions = sum(len(m.X) for m in matrices)
    span = f"{min(m.X.index[0] for m in matrices).date()} to {max(m.X.index[-1] for m in matrices).date()}"
    apart = f"{int(luck['effective'])} that do not move together"
    complete = f"{span}, {min(c.completeness for c in checks):.1%} of the exchange calendar"
    over = "over the same sessions" + (f": {', '.join(held)}" if len(held) > 1 else "")
    deflated, who = views.DASH, "nothing ran"
    if best is not None:
        deflated = views.fixed(2)(best["deflated_sharpe"])
        who = f"{best['name']}, raw Sharpe {views.fixed(2)(best['sharpe'])}"
    return [
        ("Models run / trials counted", f"{len(ran)} / {int(luck['trials'])}", apart),
        ("Best deflated Sharpe", deflated, who),
        ("Buy-and-hold Sharpe", ", ".join(views.fixed(2)(s) for s in held.values()) or views.DASH, over),
        ("Sessions", f"{sessions:,}", complete),
    ]


def _family_card(family: str, rows: pd.DataFrame, status: str) -> dict[str, str]:
    title = catalog.FAMILIES[family].title
    own = rows[(rows["family"] == family) & (rows["status"] == "ok")]
    if own.empty:
        said = "No model of this family ran to the end."
    else:
        best, median = own.iloc[0], own["sharpe"].median()
        said = (
            f"{len(own)} models; the best is {best['name']} with a Sharpe ratio of {views.fixed(2)(best['sharpe'])} "
            f"(deflated {views.fixed(2)(best['deflated_sharpe'])}), the median has {views.fixed(2)(median)}."
        )
    return {"key": family, "title": title, "said": said, "link": f"{family}.html" if status == "ok" else ""}


def _data(matrices: Sequence[Matrix], checks: Sequence[Quality]) -> str:
    found = [[c.name, f.rule, f.severity, f.message] for c in checks for f in c.findings]
    said = (
        views.table(found, ["Ticker", "Rule", "Severity", "Finding"]) if found else "<p>The bars raise no finding.</p>"
    )
    rows = [[p.name, p.endpoint, (p.body_sha256 or "")[:16], f"{p.note}; {p.terms}"] for p in gate.roots(*matrices)]
    return said + views.table(rows, ["Series", "From", "sha256 of its bytes", "Terms and notes"])
