"""The main job: evaluate, execute one notebook per family, and put the folder together so that it can be checked."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from mltrainer import store
from mltrainer.data.dates import Day
from mltrainer.errors import StorageError, Tampered, Unavailable
from mltrainer.evaluation import engine, study, trials
from mltrainer.evaluation.leaderboard import Leaderboard, leaderboard
from mltrainer.evaluation.walkforward import Evaluation, Protocol
from mltrainer.models import catalog
from mltrainer.reports.execution import family_pages, sha
from mltrainer.reports.index import LIBRARIES, Work, csv, index_html
from mltrainer.settings import settings
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import fingerprint

FORMAT = 6  # raise it when pages of the same results would look different
PAGE_BYTES = 6 * 2**20  # most of a page is plotly.js, so that it opens offline
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
        status = family_pages(chosen, names, parameters, run_id, done, progress)
        return _finish(done, Work(run_id, parameters, matrices, results, board, status, protocol))


def _finished(folder: Path) -> Run | None:
    """Return the run of a folder if it is complete, every file is as recorded and the trail tells of it."""
    try:
        run = read(folder)
        told = {e.payload.get("manifest") for e in audit.entries(kind="report")}
        same = all(sha(folder / name) == recorded for name, recorded in run.manifest["outputs"].items())
    except (OSError, Tampered, AttributeError):
        return None
    whole = same and sha(folder / "manifest.json") in told and run.manifest["status"] == "complete"
    return run if whole else None


@contextmanager
def _alone(run_id: str) -> Iterator[None]:
    """Wait until no other process makes this run; the lock of a killed process is gone with it."""
    path = settings().home / "locks" / run_id
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path).acquire(poll_interval=0.5)  # asked again and again, so that Ctrl-C is heard
    except OSError as error:
        why = f"cannot be locked ({error.strerror})"
        raise StorageError(f"{path} {why}; set MLTRAINER_HOME to a folder you own") from None
    with held:
        yield


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


# --- the folder -----------------------------------------------------------------------------------------------


def _finish(folder: Path, work: Work) -> Run:
    """Write index, leaderboard and manifest; the trail is told of the manifest before it stands in the folder."""
    head = str(audit.head())
    store.write_atomic(folder / "leaderboard.csv", csv(work.board))
    store.write_atomic(folder / "index.html", index_html(work, head))
    pages = [f"{f}{ending}" for f in work.status if f not in work.failed for ending in (".html", ".ipynb")]
    blobs = trials.ledger().set_index("key")["blob"].to_dict()
    manifest = {
        "run": work.run,
        "status": "failed" if work.failed else "complete",
        "mode": settings().data_mode,
        "as_of": work.as_of,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": work.parameters,
        "families": work.status,
        "sources": [p.__dict__ | {"parameters": dict(p.parameters)} for p in gate.roots(*work.matrices)],
        "matrices": [m.provenance.content_sha256 for m in work.matrices if m.provenance],
        "results": [
            {"model": e.model, "family": e.family, "ticker": e.ticker, "status": e.status, "key": e.key}
            | {"blob": blobs.get(e.key, ""), "reason": e.reason}
            for e in work.results
        ],
        "luck": work.board.luck,
        "library_versions": {"python": sys.version.split()[0], **trials.versions(LIBRARIES)},
        "outputs": {name: sha(folder / name) for name in ["index.html", "leaderboard.csv", *pages]},
        "audit_head": head,
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    # The trail is told first: a manifest without its entry would look forged, an entry without its manifest is a
    # run that was killed here and will be finished by the same command.
    audit.append("report", run=work.run, manifest=sha256(text.encode()).hexdigest(), status=manifest["status"])
    store.write_atomic(folder / "manifest.json", text)
    return Run(folder, manifest)
