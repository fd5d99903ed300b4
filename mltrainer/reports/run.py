"""The main job: evaluate, execute one notebook per family, and put the folder together so that it can be checked."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

from mltrainer import store
from mltrainer.data.dates import Day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, StorageError
from mltrainer.evaluation import engine, judgments, study, trials
from mltrainer.evaluation.calibrate import RuleCalibration, calibrate
from mltrainer.evaluation.leaderboard import Leaderboard, leaderboard
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.validation import diagnose, undivided
from mltrainer.features import stored, targets
from mltrainer.features.matrix import Matrix
from mltrainer.features.targets import LEAST_NAMES
from mltrainer.features.targets import target as target_of
from mltrainer.models import catalog
from mltrainer.reports.execution import family_pages
from mltrainer.reports.folder import Run, earlier, finished, place, sha
from mltrainer.reports.index import LIBRARIES, Work, csv, index_html
from mltrainer.reports.pages import SCRIPT, get_plotlyjs
from mltrainer.settings import settings
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import fingerprint

FORMAT = 9  # raise it when pages of the same results would look different
PAGE_BYTES = 2 * 2**20  # of a page and its notebook
SCRIPT_BYTES = 5 * 2**20  # of what draws the figures of all pages


def report(
    families: Iterable[str] | None = None,
    tickers: Iterable[str] | Universe | None = None,
    *,
    start: Day = None,
    end: Day = None,
    horizon: int = 5,
    target: str = "return",
    protocol: Protocol | None = None,
    jobs: int | None = None,
    out: str | Path | None = None,
    progress: bool = True,
    project: str | None = None,
    validate: bool = True,
) -> Run:
    """Evaluate families of models on tickers and write a report folder.

    Parameters
    ----------
    families : keys of families; default all of the catalog.
    tickers : default ("MSFT",), each a question of its own; a `universe` is one, a panel that models learn together.
    start, end : first and last session to learn from or to judge; default all there is.
    horizon : sessions a position is held.
    target : what is forecast, a name of `features.targets.TARGETS`.
    protocol : costs, folds and policy; a walk-forward, by default the usual one.
    jobs : worker processes; default the number of cores.
    validate : add a page that asks of the strongest model what a validator would ask.
    project : what the trials are made for, as for `evaluate`; the same run for all.
    out : folder that holds the run folders; default the setting, else `reports` where you stand. In a notebook of a
        checkout that is the checkout's own. What is returned says where.

    Returns
    -------
    Run
        The same question has the same folder. With the same answer the run is only checked and returned; where other
        trials have moved the luck since, or a library the results, the folder gets a new revision and keeps the one
        before as a line. A run that was killed goes on where it stopped: finished fits are in the ledger, finished
        pages in the folder.
    """
    chosen = list(dict.fromkeys(families or catalog.NAMED))
    specs = study.select(chosen)
    folder, protocol = place(out), protocol or Protocol()
    given: Any = [tickers] if isinstance(tickers, Universe) else dict.fromkeys(map(str, tickers or ("MSFT",)))
    matrices = [study.matrix(one, start=start, end=end, horizon=horizon, target=target) for one in given]
    if target_of(target).cross_sectional and any(len(m.tickers) < LEAST_NAMES for m in matrices):
        raise BadInput(f"target {target} is of names side by side: at least {LEAST_NAMES}; give a universe")
    matrices = list({m.name: m for m in matrices}.values())  # msft and MSFT are one, BACpB and BACPB are not
    _writable(folder, PAGE_BYTES * (len(chosen) + 1) + SCRIPT_BYTES)
    options = protocol.options()
    results = engine.run(specs, matrices, protocol=protocol, jobs=jobs, progress=progress, project=project)
    ledger = trials.position()  # other trials may be added while pages are made
    board = leaderboard(results, judgments.judgment(results, until=ledger))
    measured = _calibrated(matrices[0], board, protocol, jobs=jobs, progress=progress)
    parameters = _parameters(chosen, matrices, protocol, start=str(start or ""), end=str(end or ""))
    parameters |= {"universe": tickers.name} if isinstance(tickers, Universe) else {}
    parameters |= {} if validate else {"validate": False}
    run_id, revision = _run_id(parameters, matrices), _revision(results, board)
    done = folder / run_id
    with _alone(run_id):
        old = finished(done)
        if old is not None and old.manifest["revision"] == revision:
            return old
        done.mkdir(exist_ok=True)
        _sweep(done)
        shown = {name: parameters[name] for name in ("start", "end", "horizon")} | {
            "tickers": ",".join(m.name for m in matrices),
            "matrices": ",".join(map(stored.keep, matrices)),
            "target": target,
            "protocol": options,
            "ledger": ledger,
            "made": f"{datetime.now(UTC):%Y-%m-%d}",
        }
        strongest = _strongest(board, matrices, protocol, jobs) if validate else None
        status = family_pages(chosen, shown, (run_id, revision), done, progress, strongest)
        before, made = earlier(run_id, revision), datetime.now(UTC).isoformat(timespec="seconds")
        work = Work(
            run_id, parameters, matrices, results, board, status, protocol, ledger, revision, before, measured, made
        )
        return _finish(done, work)


def _parameters(families: list[str], matrices: Sequence[Matrix], protocol: Protocol, **span: str) -> dict[str, Any]:
    """What a run is asked, as its manifest has it."""
    lead = matrices[0]
    asked: dict[str, Any] = {"families": families, "tickers": [t for m in matrices for t in m.tickers]} | span
    asked |= {"horizon": lead.horizon, "protocol": repr(protocol)}
    return asked | ({"target": lead.target} if lead.target != "return" else {})


def _strongest(
    board: Leaderboard, matrices: Sequence[Matrix], protocol: Protocol, jobs: int | None
) -> dict[str, str] | None:
    """Model and ticker with the strongest evidence, judged also by other cuts of time, which its page compares."""
    ran = board.rows[board.rows["status"] == "ok"]
    if ran.empty:
        return None
    name, ticker = str(ran.iloc[0]["name"]), str(ran.iloc[0]["ticker"])
    matrix = next(m for m in matrices if ticker in m.tickers)
    spec = catalog.spec(name)
    if not undivided(spec, matrix, float(ran.iloc[0]["fit_seconds"])):
        diagnose(spec, matrix, protocol, jobs)
    return {"model": name, "ticker": ticker}


def _calibrated(matrix: Matrix, board: Leaderboard, protocol: Protocol, **options: Any) -> RuleCalibration | None:
    """The quick measure of the verdict's size and power on the first ticker.

    None where the setting is 0 worlds, of a panel, for which it would take longer than all the rest, and of a target
    of one's own, of which nobody knows a world without skill.
    """
    null = settings().worlds
    if not null or len(matrix.tickers) > 1 or matrix.target not in targets.TARGETS:
        return None
    known: dict[str, Any] = {"horizon": matrix.horizon, "critical": board.luck["critical"], "protocol": protocol}
    return calibrate(matrix, null=null, planted=-(-null // 20), **known, **options)


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


def _run_id(parameters: dict[str, Any], matrices: Sequence[Matrix]) -> str:
    """Name a run by its question: what was asked, of which data; MSFT-5d-1a2b3c4d."""
    data = [m.provenance.content_sha256 for m in matrices if m.provenance]
    digest = fingerprint(json.dumps(parameters, sort_keys=True), repr(data))
    several = f"{len(parameters['tickers'])}-tickers"
    who = "-".join(parameters["tickers"]) if len(parameters["tickers"]) <= 3 else several
    what = "-".join(filter(None, (Path(parameters.get("universe", "")).stem or who, parameters.get("target"))))
    return f"{re.sub(r'[^A-Za-z0-9-]', '_', what)}-{parameters['horizon']}d-{digest[:8]}"


def _revision(results: Sequence[Evaluation], board: Leaderboard) -> str:
    """Name an answer by what it rests on: results, the luck of all trials, and how pages look."""
    return fingerprint(FORMAT, repr([(e.key, e.status) for e in results]), repr(board.luck))[:8]


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
    store.write_atomic(folder / SCRIPT, get_plotlyjs())
    pages = [f"{f}{ending}" for f in work.status if f not in work.failed for ending in (".html", ".ipynb")]
    outputs = {name: sha(folder / name) for name in ["index.html", "leaderboard.csv", SCRIPT, *pages]}
    manifest = _manifest(work, head, outputs)
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    # The trail is told first: a manifest without its entry would look forged, an entry without its manifest is a
    # run that was killed here and will be finished by the same command.
    told = {"revision": work.revision, "trials": int(work.board.luck["trials"]), "finding": work.board.sentence()}
    digest = sha256(text.encode()).hexdigest()
    audit.append("report", run=work.run, manifest=digest, status=manifest["status"], **told)
    store.write_atomic(folder / "manifest.json", text)
    return Run(folder, manifest)


def _manifest(work: Work, head: str, outputs: Mapping[str, str]) -> dict[str, Any]:
    """What a run rests on and came to; `outputs` is the sha256 of each file, `head` ends the trail before it."""
    blobs = trials.ledger().set_index("key")["blob"].to_dict()
    return {
        "run": work.run,
        "revision": work.revision,
        "earlier": work.earlier,
        "status": "failed" if work.failed else "complete",
        "mode": settings().data_mode,
        "as_of": work.as_of,
        "created_at": work.made,
        "parameters": work.parameters,
        "families": {f: s for f, s in work.status.items() if f in catalog.FAMILIES},
        "validation": work.status.get("validation"),
        "sources": [p.__dict__ | {"parameters": dict(p.parameters)} for p in gate.roots(*work.matrices)],
        "matrices": [m.provenance.content_sha256 for m in work.matrices if m.provenance],
        "results": [
            {"model": e.model, "family": e.family, "ticker": e.ticker, "status": e.status, "key": e.key}
            | {"blob": blobs.get(e.key, ""), "reason": e.reason}
            for e in work.results
        ],
        "luck": work.board.luck,
        "calibration": work.measured.to_dict() if work.measured else None,
        "ledger": work.ledger,
        "library_versions": {"python": sys.version.split()[0], **trials.versions(LIBRARIES)},
        "outputs": dict(outputs),
        "audit_head": head,
    }
