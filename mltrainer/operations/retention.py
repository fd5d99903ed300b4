"""What may go: blobs that nothing refers to, runs that were never finished, answers that are stale, a source's bytes.

Rows never go. Whatever a row of any table, an entry of the trail or a run names by its hash stays, however old.
"""

import io
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from filelock import FileLock, Timeout
from sqlalchemy import Text, select

from mltrainer import blobstore, store
from mltrainer.data.providers import cache
from mltrainer.disk import Place, on_disk
from mltrainer.errors import BadInput, Tampered, UnknownName
from mltrainer.reports import folder as reports
from mltrainer.settings import settings
from mltrainer.trust import audit
from mltrainer.trust.provenance import SOURCES

DAYS = 30.0
LEAST_DAYS = 1.0
RUN = re.compile(r"[A-Za-z0-9_-]+-\d{1,2}d-[0-9a-f]{8}")
ADDRESS = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
HERE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Waste:
    """One thing that may go: what it is, where it lies, how large it is, for how many days it has lain there."""

    kind: str
    name: str
    size: int
    days: float
    path: Place | None = None


# --- what nothing refers to -----------------------------------------------------------------------------------


def waste(days: float = DAYS, out: str | Path | None = None) -> list[Waste]:
    """Everything that nothing refers to and that has lain still for so many days; nothing is removed.

    Parameters
    ----------
    days : what is younger stays: somebody may be about to refer to it.
    out : folder of runs, as for `report`. Where the trail tells of a run that is not there, kept matrices stay, as
        its pages may name them.
    """
    if not days >= 0:
        raise BadInput(f"days={days} is no age; give 0 or more")
    now = time.time()
    found = [*_blobs(reports.place(out)), *_unfinished(reports.place(out)), *_left(), *_answers()]
    aged = (Waste(w.kind, w.name, w.size, w.days if w.path is None else _age(w.path, now), w.path) for w in found)
    return [w for w in aged if w.days >= days or w.kind == "answer"]  # an answer says itself when it is stale


def _age(path: Place, now: float) -> float:
    """Days since anything in it was written."""
    if not isinstance(path, Path):
        with on_disk(path):
            return (now - path.stat().st_mtime) / 86_400
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return (now - max(p.lstat().st_mtime for p in files)) / 86_400


def referred(runs: Path) -> tuple[set[str], bool]:
    """Every address that a row or a file of a run names, and whether all runs that the trail tells of are there."""
    found: set[str] = set()
    with store.reading() as connection:
        for table in store.SCHEMA.sorted_tables:
            columns = [c for c in table.c if isinstance(c.type, Text)]
            if table.name != "answers":  # hashes of what the cache holds, not of blobs
                for row in connection.execute(select(*columns).execution_options(yield_per=1_000)):
                    found.update(address for cell in row for address in ADDRESS.findall(str(cell)))
    for file in (*runs.glob("*/manifest.json"), *runs.glob("*/*.ipynb"), *runs.glob("*/failed/*.ipynb")):
        found.update(ADDRESS.findall(file.read_text(encoding="utf-8", errors="replace")))
    told = {str(entry.payload.get("run")) for entry in audit.entries(kind="report")}
    return found, all((runs / run).is_dir() for run in told)


def _blobs(runs: Path) -> Iterator[Waste]:
    named, whole = referred(runs)
    for sha in blobstore.addresses():
        path = blobstore.path(sha)
        if sha not in named and (whole or not _sources(sha)):
            with on_disk(path):
                size = path.stat().st_size
            yield Waste("blob", sha, size, 0, path)


def _sources(sha: str) -> set[str]:
    """Sources of a kept matrix; empty of any other blob."""
    try:
        body = blobstore.peek(sha)  # one whose key is not here ends this: it may be a matrix
    except Tampered:
        return set()
    with suppress(Exception):  # whatever bytes that are no matrix make their reader say
        with np.load(io.BytesIO(body), allow_pickle=False) as packed:
            head = json.loads(str(packed["head"]))
        return set(json.loads(head["provenance"])["source"].split("+"))
    return set()


def _unfinished(runs: Path) -> Iterator[Waste]:
    """Folders of runs that were killed: named as runs are, without a manifest, and made by nobody now."""
    for path in sorted(runs.glob("*-*")):
        if RUN.fullmatch(path.name) and path.is_dir() and not (path / "manifest.json").exists() and _idle(path.name):
            yield Waste("run", path.name, sum(p.stat().st_size for p in path.rglob("*") if p.is_file()), 0, path)


def _idle(run: str) -> bool:
    lock = settings().home / "locks" / run
    if not lock.exists():
        return True
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


def _left() -> Iterator[Waste]:
    """What killed writers left."""
    home = settings().home.absolute()
    blobs = blobstore.folder()  # a bucket has none: what is not whole is not there
    torn = (*home.glob(".*.tmp"), *(blobs.glob("*/.*.tmp") if isinstance(blobs, Path) else ()))
    for path in (*torn, *home.parent.glob(f".{home.name}-restoring-*")):
        size = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        yield Waste("left by a kill", path.name, size, 0, path)


def _answers() -> Iterator[Waste]:
    for key, size, days in cache.stale():
        yield Waste("answer", key, size, days)


def prune(days: float = DAYS, out: str | Path | None = None) -> list[Waste]:
    """Remove what `waste` finds, after the trail was told; return it.

    What is referred to is looked up again inside the writer's transaction, so nobody refers to a thing meanwhile; what
    somebody keeps again before it is removed stays. Nothing is removed before the trail has it on the disk.

    Raises
    ------
    BadInput
        `days` is below 1: a computation may keep for so long what it refers to at its end. Or there are blobs to
        remove in a folder that other homes may share, whose rows are not seen from here.
    """
    if not days >= LEAST_DAYS:
        raise BadInput(f"days={days}: what is younger than a day may belong to what runs now; give 1 or more")
    with store.writing() as connection:
        found = waste(days, out)
        if settings().blobs and settings().database_url is None and any(w.kind == "blob" for w in found):
            raise BadInput(
                "MLTRAINER_BLOBS is shared and the rows of other homes are not seen from here; prune where "
                "MLTRAINER_DATABASE_URL names the database of all of them"
            )
        if found:
            kinds = sorted({w.kind for w in found})
            counts = {kind: sum(w.kind == kind for w in found) for kind in kinds}
            blobs = sorted(w.name for w in found if w.kind == "blob")
            audit.extend(connection, "prune", {"counts": counts, "days": days, "blobs": blobs})
    younger = time.time() - days * 86_400
    for w in found:
        if w.path is not None:
            shutil.rmtree(w.path) if isinstance(w.path, Path) and w.path.is_dir() else store.drop(w.path, younger)
    if any(w.kind == "answer" for w in found):
        cache.prune()
    return found


# --- the bytes of one source ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Purge:
    """Bytes of a source that were, or would be, removed: addresses of kept matrices, and of answers.

    `runs` are folders whose pages show figures of the source: they are named, not touched.
    """

    source: str
    terms: str
    blobs: list[str]
    answers: list[str]
    runs: list[str]


def of_source(source: str, out: str | Path | None = None) -> Purge:
    """What this installation keeps of the bytes of one source; nothing is removed."""
    if source not in SOURCES:
        raise UnknownName.of("source", source, SOURCES)
    blobs = [sha for sha in blobstore.addresses() if source in _sources(sha)]
    answers = [key for key, _, _ in cache.held() if _source_of(key) == source]
    runs = [r.id for r in reports.runs(out) if any(source == s.get("source") for s in r.manifest["sources"])]
    return Purge(source, SOURCES[source].terms, blobs, answers, runs)


def _source_of(key: str) -> str:
    parts = urlsplit(key)
    if parts.hostname in HERE:
        return "replay"
    return "fred" if parts.path.startswith("/fred/") else "polygon"


def purge(source: str, reason: str, out: str | Path | None = None) -> Purge:
    """Remove the bytes of one source and keep every hash: the trail says what went, why, and holds as before.

    Parameters
    ----------
    reason : why, in words; it stays in the trail, as "the agreement ended".

    Results, models and pages that were made of it stay: they are not its bytes. What would open a kept matrix of it
    says that it is not there.
    """
    if not reason.strip():
        raise BadInput("a purge is never taken back; say why in --reason")
    found = of_source(source, out)
    told = {"source": source, "terms": found.terms, "reason": reason, "blobs": found.blobs}
    audit.append("purge", **told, answers=sorted(found.answers))  # first: who finds them gone must find out why
    for sha in found.blobs:
        with on_disk(blobstore.path(sha)):
            blobstore.path(sha).unlink(missing_ok=True)
    cache.remove(found.answers)
    shutil.rmtree(settings().home / "answers", ignore_errors=True)  # pages as they were shown; the next reader's is new
    return found


def purged(addresses: Iterable[str]) -> dict[str, str]:
    """Of these addresses those that a purge took, and what the trail says of it."""
    wanted = set(addresses)
    found: dict[str, str] = {}
    for entry in audit.entries(kind="purge"):
        said = f"bytes of {entry.payload['source']} purged {entry.at[:10]} by {entry.actor}: {entry.payload['reason']}"
        found |= dict.fromkeys(wanted & set(entry.payload["blobs"]), said)
    return found
