"""Is a run folder still what was made? Every hash is computed again, from the bytes up."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from mltrainer import store
from mltrainer.data.sample import packaged_bytes
from mltrainer.errors import MltrainerError, StorageError, Tampered, Unavailable
from mltrainer.evaluation import judgments, trials
from mltrainer.evaluation.leaderboard import leaderboard
from mltrainer.evaluation.record import Evaluation
from mltrainer.reports.folder import Run, locate, place, read
from mltrainer.reports.index import csv
from mltrainer.trust import audit, gate


def verify(run: str | Path | Run, out: str | Path | None = None) -> list[str]:
    """Recompute a run: files, manifest, sources, results, leaderboard and audit trail.

    Parameters
    ----------
    run : a folder, a run id below `out`, or a `Run`.

    Returns
    -------
    list[str]
        One finding per file, source, result or trail entry that does not match; empty when everything holds.
    """
    folder = locate(run, out)
    try:
        read_run = read(folder)
    except Tampered as error:
        return [str(error)]
    said = []
    checks = {
        "files": _files,
        "sources": _sources,
        "revocations": _revoked,
        "results": _results,
        "luck": _luck,
        "manifest": _told,
        "audit trail": _trail,
    }
    for what, check in checks.items():
        try:
            said += check(read_run)
        except StorageError:
            raise
        except MltrainerError as error:
            said.append(f"{what} cannot be checked: {error}")
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            said.append(f"{what} cannot be checked, the manifest has another shape: {type(error).__name__} {error}")
    return said


def proven(out: str | Path | None = None) -> tuple[list[Run], dict[str, str]]:
    """Run folders whose manifest is one that the audit trail tells of, newest first, and why others are not shown.

    Cheap enough for every page: manifest and leaderboard are hashed, again only when their files have changed. What
    `verify` recomputes besides is left out.

    Returns
    -------
    (runs, others) : `others` by name of the folder.
    """
    found, others = [], {}
    entries = [e for e in audit.entries(kind="report") if audit.intact(e)]
    heads = {(str(e.payload.get("run")), str(e.payload.get("manifest"))) for e in entries}
    for path in sorted(place(out).glob("*/manifest.json")):
        try:
            run = read(path.parent)
            why = _doubt(run, heads)
        except (Tampered, OSError, AttributeError, TypeError, KeyError) as error:
            why = f"its manifest cannot be read: {str(error)[:200]}"
        if why:
            others[path.parent.name] = why
        else:
            found.append(run)
    return sorted(found, key=lambda r: str(r.manifest["created_at"]), reverse=True), others


def _doubt(run: Run, heads: set[tuple[str, str]]) -> str:
    """Why a run is not shown; "" where it may be."""
    manifest, board = run.path / "manifest.json", run.path / "leaderboard.csv"
    if (run.id, store.digest(manifest)) not in heads:
        return "its manifest is not one that the audit trail tells of"
    if store.digest(board) != run.manifest["outputs"]["leaderboard.csv"]:
        return "its leaderboard was changed"
    return next(iter(_revoked(run)), "")


def _files(run: Run) -> list[str]:
    said = []
    for name, recorded in run.manifest["outputs"].items():
        path = run.path / name
        if Path(name).name != name:
            said.append(f"file {name!r} lies outside the run folder")
        elif not path.is_file():
            said.append(f"file {name} is missing")
        elif sha256(path.read_bytes()).hexdigest() != recorded:
            said.append(f"file {name} was changed: its sha256 is not the recorded one")
    known = {*run.manifest["outputs"], "manifest.json", *(f"failed/{family}.ipynb" for family in run.failed)}
    found = sorted(p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if not p.is_dir())
    return said + [f"file {name} was added" for name in found if name not in known]


def _sources(run: Run) -> list[str]:
    said = []
    for source in run.manifest["sources"]:
        name, endpoint = source["name"], source["endpoint"]
        if not endpoint.startswith("package:"):
            continue  # provider bytes are held to their hash by the registry and the trail
        package, _, path = endpoint.removeprefix("package:").partition("/")
        if f"{package.replace('.', '/')}/{path}" not in gate.PINS.values():
            said.append(f"source {name}: {endpoint!r} is not packaged history")  # nor a file to be read for anybody
            continue
        try:
            body = packaged_bytes(package, path)
        except (Unavailable, OSError):
            said.append(f"source {name}: {endpoint} is not installed here, so its bytes cannot be shown")
            continue
        if sha256(body).hexdigest() != source["body_sha256"]:
            said.append(f"source {name}: the bytes of {endpoint} are not the recorded ones")
    return said


def _revoked(run: Run) -> list[str]:
    """What of its data was taken back since."""
    named = {s["content_sha256"]: f"source {s['name']}" for s in run.manifest["sources"]}
    named |= {content: f"data {content[:12]}" for content in run.manifest["matrices"]}
    return [f"{what} was revoked: {why}" for content, what in named.items() if (why := gate.revoked(content))]


def _results(run: Run) -> list[str]:
    said, evaluations = [], []
    ledger = trials.ledger().set_index("key")["blob"].to_dict()
    for r in run.manifest["results"]:
        if r["status"] != "ok":
            base = {k: r[k] for k in ("key", "model", "family", "ticker", "status", "reason")}
            asked = run.manifest["parameters"]
            target = asked.get("target", "return")
            evaluations.append(Evaluation(**base, task=_task(r["model"]), horizon=asked["horizon"], target=target))
            continue
        where = f"result {r['model']} on {r['ticker']}"
        if ledger.get(r["key"]) != r["blob"]:
            said.append(f"{where}: the trial ledger of this installation does not hold it")
            continue
        try:
            evaluations += [e] if (e := trials.opened(r["key"])) is not None else []
        except (MltrainerError, ValueError, KeyError) as error:
            said.append(f"{where}: {error}")
    if not said:
        board = leaderboard(evaluations, judgments.judgment(evaluations, until=run.manifest["ledger"]))
        path = run.path / "leaderboard.csv"
        if path.is_file() and csv(board) != path.read_text(encoding="utf-8"):
            said.append("leaderboard.csv does not follow from the stored results")
    return said


def _luck(run: Run) -> list[str]:
    """Judge luck where the run did: by the trials that the ledger held then."""
    position, recorded = run.manifest["ledger"], run.manifest["luck"]
    if position is None:  # a run of before does not say where
        return []
    luck = judgments.judgment(until=position).luck
    wrong = [k for k, v in luck.items() if not np.isclose(v, recorded[k], equal_nan=True)]
    where = f"the first {position} rows of the trial ledger"
    return [f"luck ({', '.join(wrong)}) does not follow from {where}"] if wrong else []


def _task(model: str) -> str:
    from mltrainer.models import catalog

    return catalog.spec(model).task


def _told(run: Run) -> list[str]:
    digest = sha256((run.path / "manifest.json").read_bytes()).hexdigest()
    told = [e.payload.get("manifest") for e in audit.entries(kind="report") if e.payload.get("run") == run.id]
    if not told:
        return [f"audit trail: no entry tells of run {run.id}"]
    return [] if digest in told else ["manifest.json is not the one the audit trail tells of"]


def _trail(run: Run) -> list[str]:
    return [f"audit trail: {finding}" for finding in audit.verify(str(run.manifest["audit_head"]))]
