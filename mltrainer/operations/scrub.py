"""Which file is no longer what was written? Every one is hashed again; what is damaged is moved aside with its reason.

The rest goes on working: what a damaged file held is then lost, and is named so wherever it is asked for.
"""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mltrainer import blobstore, store
from mltrainer.data.providers import cache
from mltrainer.disk import Place, is_file, on_disk
from mltrainer.errors import MltrainerError, Tampered
from mltrainer.evaluation import trials
from mltrainer.reports import folder as reports
from mltrainer.settings import settings
from mltrainer.trust import audit

BESIDE = ("answers.sqlite", "turns.sqlite")  # made anew where they lack
FOLDER = "quarantine"
ADDRESS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Damage:
    """One file that is not what was written: why, what it held, and what to do; `moved` is where it is now."""

    path: Place
    why: str
    held: str
    remedy: str
    moved: Path | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        where = f"; moved to {self.moved}" if self.moved else ""
        return f"{self.path}: {self.why}; it held {self.held}; {self.remedy}{where}"


def scrub(out: str | Path | None = None, *, quarantine: bool = False) -> list[Damage]:
    """Hash every file again and name each that is damaged.

    Parameters
    ----------
    out : folder of runs, as for `report`.
    quarantine : also move each aside, with its reason, and tell the trail. The database of rows is never moved: what
        it lacks only a backup has.
    """
    try:
        audit.head()
    except MltrainerError as error:  # without the rows nobody knows what the others should be
        return [Damage(settings().home, str(error), "the rows of everything", "see mltrainer restore")]
    found = [*_blobs(), *_databases(), *_answers(), *_runs(out)]
    return [_moved(d) if quarantine and is_file(d.path) else d for d in found]


def holders() -> dict[str, str]:
    """Every blob that a trial or a kept model needs, and what it holds."""
    found: dict[str, str] = {}
    for row in trials.ledger().to_dict("records"):
        found[str(row["blob"])] = f"the result of {row['model']} on {row['ticker']}"
    for entry in audit.entries(kind="artifact"):
        for name in ("artifact", "estimator"):
            found[str(entry.payload[name])] = f"a kept {entry.payload['model']}"
    return {sha: held for sha, held in found.items() if ADDRESS.fullmatch(sha)}


def lacking() -> dict[str, str]:
    """Of these the blobs that are gone."""
    return {sha: held for sha, held in holders().items() if not blobstore.exists(sha)}


def _blobs() -> Iterator[Damage]:
    named = holders()
    aside = {str(entry.payload["file"]) for entry in audit.entries(kind="quarantine")}  # its owner knows of it
    for sha, held in lacking().items():
        if sha not in aside:
            yield Damage(blobstore.path(sha), "it is gone", held, "restore a backup, or run again what produced it")
    for sha in blobstore.addresses():
        path = blobstore.path(sha)
        if not _sound(sha):
            held = named.get(sha, "what no row names, such as the data of a run")
            yield Damage(path, "its bytes no longer match its address", held, "run again what produced it")


def _sound(sha: str) -> bool:
    """Whether a blob, which is always read again, is what its address says."""
    try:
        blobstore.get(sha)
    except Tampered:
        return False
    return True


def _databases() -> Iterator[Damage]:
    for name in BESIDE:
        path = settings().home / name
        if path.is_file() and (why := _unsound(path)):
            yield Damage(
                path, f"is no sound database ({why})", "answers of providers, or their turns", "it is made anew"
            )


def _unsound(path: Path) -> str:
    # what a killed process left half done is undone by who may write; read only it would be called damaged
    mode = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
            said = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return "" if said == "ok" else said


def _answers() -> Iterator[Damage]:
    """Kept answers that are not what came; they share one file, which holds the others and so stays."""
    path = settings().home / "answers.sqlite"
    if path.is_file() and not _unsound(path):
        for key in cache.changed():
            why = f"the answer to {key} is not what the provider sent"
            yield Damage(Path(f"{path}#{key}"), why, "that answer", "asking again says so and refuses it")


def _runs(out: str | Path | None) -> Iterator[Damage]:
    for run in reports.runs(out):
        for name, recorded in run.manifest["outputs"].items():
            path = run.path / Path(str(name)).name
            if path.is_file() and store.hashed_file(path) != recorded:
                yield Damage(path, "its sha256 is not the one its manifest records", f"a page of {run.id}",
                             "the same mltrainer report makes it again")  # fmt: skip


def _moved(damage: Damage) -> Damage:
    """Move a file aside, and write why beside it."""
    folder = settings().home / FOLDER
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    to = folder / f"{stamp}-{damage.path.name}"
    told = {"path": str(damage.path), "why": damage.why, "held": damage.held}
    with on_disk(damage.path):
        told["sha256"] = store.hashed_file(damage.path)
    audit.append("quarantine", file=damage.path.name, **{k: v for k, v in told.items() if k != "path"})
    store.write_atomic(folder / f"{to.name}.json", json.dumps(told | {"at": stamp}, indent=1))
    with on_disk(damage.path), damage.path.open("rb") as file, store.whole_file(to) as copy:
        shutil.copyfileobj(file, copy)
    with on_disk(damage.path):
        damage.path.unlink()
    return Damage(damage.path, damage.why, damage.held, damage.remedy, to)
