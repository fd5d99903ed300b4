"""Backups: one file with every row, blob and kept answer of an installation, each by its hash.

Rows are read in one snapshot through the tables of the store, so the file is the same from SQLite and PostgreSQL and
can be restored into either, and nobody has to stop working meanwhile: a blob is written before a row names it, so
whatever the snapshot names is there to be copied. The file has its name only once it is whole and on the disk.
"""

import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from sqlalchemy import Connection, func, select

from mltrainer import blobstore, store, vault
from mltrainer.disk import Place, on_disk, write_atomic
from mltrainer.errors import BadInput, StorageError, Tampered, Unavailable
from mltrainer.operations import scrub, sealed
from mltrainer.settings import settings
from mltrainer.trust import audit

FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("answers.sqlite",)
"""Databases of the home beside the rows, copied by SQLite's own backup. Not the turns of requests, locks and logs."""
NAME = re.compile(r"rows/(?P<table>[a-z_]{1,40})\.jsonl\.gz|blobs/(?P<blob>[0-9a-f]{64})|files/(?P<file>[a-z.]{1,40})")
ROWS = 1_000  # rows in memory at a time
SPOOL = ".mltrainer-backup-"
LEFT = re.compile(rf"{re.escape(SPOOL)}\w+|\.[0-9a-f]{{32}}\.tmp")  # what a killed backup leaves beside its file


@dataclass(frozen=True)
class Backup:
    """What a backup file holds.

    Attributes
    ----------
    head : end of the audit trail in the snapshot, `size:hash`.
    tables : rows of each.
    members : name in the file -> its sha256.
    damaged : blobs that no longer matched their address, or that rows name and are gone, and so are not in the file.
    """

    made: str
    version: str
    head: str
    tables: dict[str, int]
    members: dict[str, str]
    damaged: list[str] = field(default_factory=list)
    format: int = FORMAT

    def __repr__(self) -> str:
        """Say what is in it in one line."""
        rows, blobs = sum(self.tables.values()), sum(name.startswith("blobs/") for name in self.members)
        lacks = f"; not in it: {len(self.damaged)} damaged or lost blobs" if self.damaged else ""
        return f"Backup({rows:,} rows, {blobs:,} blobs, audit head {self.head[:24]}..., of {self.made[:19]} UTC{lacks})"


# --- writing --------------------------------------------------------------------------------------------------


def backup(to: str | Path, *, passphrase: str | None = None) -> Backup:
    """Write all that this installation holds to one file, while others go on working.

    Parameters
    ----------
    to : a file that is not there yet; a kill in the middle leaves nothing under this name.
    passphrase : seals the file (`operations.sealed`); there is no way back without it.
    """
    path = Path(to)
    if path.exists():
        raise BadInput(f"{path} is there already, and a backup never replaces another; give a new name")
    _swept(path.parent)
    with store.whole_file(path) as raw, tempfile.TemporaryDirectory(dir=path.parent, prefix=SPOOL) as spool:
        held, sources = _gathered(Path(spool))
        _packed(raw, held, sources, passphrase)
    audit.append("backup", head=held.head, members=len(held.members), damaged=held.damaged, sealed=bool(passphrase))
    return held


def _swept(folder: Path) -> None:
    """Remove what killed backups left in a folder, once no backup can still be writing it."""
    for path in folder.glob(".*"):
        if LEFT.fullmatch(path.name) and time.time() - path.stat().st_mtime > blobstore.STALE_SECONDS:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _gathered(spool: Path) -> tuple[Backup, dict[str, Path]]:
    """Spool the rows of one snapshot and the kept answers, and find the blobs; hash all of it."""
    with store.reading() as connection:
        tables = {name: _spooled(connection, table, spool) for name, table in sorted(store.SCHEMA.tables.items())}
        head = audit.end(connection)
    sources = {f"rows/{name}.jsonl.gz": spool / name for name in tables}
    for name in FILES:
        if (settings().home / name).is_file():
            sources[f"files/{name}"] = _copied(settings().home / name, spool / name)
    members = {name: store.digest(path) for name, path in sources.items()}
    damaged = list(scrub.lacking())
    for sha in blobstore.addresses():
        if blobstore.flaw(sha):
            damaged.append(sha)
        else:
            members[f"blobs/{sha}"] = sha
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Backup(made, version("mltrainer"), str(head), tables, members, sorted(set(damaged))), sources


def _spooled(connection: Connection, table: Any, spool: Path) -> int:
    """Write the names of the columns and then every row as a line of JSON; return how many there are."""
    why = f"a row of {table.name} holds what is never written; run mltrainer audit verify"
    count, query = 0, select(table).order_by(*table.primary_key.columns).execution_options(yield_per=ROWS)
    with gzip.GzipFile(spool / table.name, "wb", compresslevel=5, mtime=0) as file:
        file.write(json.dumps(table.c.keys()).encode() + b"\n")
        for row in connection.execute(query):
            try:
                file.write(json.dumps(list(row)).encode() + b"\n")
            except TypeError:
                raise Tampered(why) from None
            count += 1
    return count


def _copied(file: Path, to: Path) -> Path:
    try:
        with closing(sqlite3.connect(file, timeout=60)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise StorageError(f"{file} cannot be copied ({error}); run mltrainer scrub, which moves it aside") from None
    return to


def _packed(raw: BinaryIO, held: Backup, sources: Mapping[str, Path], passphrase: str | None) -> None:
    out = sealed.Sealing(raw, passphrase) if passphrase is not None else None
    with tarfile.open(fileobj=out or raw, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        text = json.dumps(asdict(held), sort_keys=True).encode()
        body = sha256(text).hexdigest().encode() + b"\n" + text  # what tells of all must itself be told of
        tar.addfile(_entry(MANIFEST, len(body)), io.BytesIO(body))
        for name in held.members:
            try:
                with _open(name, sources) as file:
                    tar.addfile(_entry(name, file.seek(0, os.SEEK_END)), _begun(file))
            except (FileNotFoundError, Unavailable):
                raise StorageError(f"{name} was removed while it was packed, as prune does; run again") from None
    if out is not None:
        out.finish()


def _open(name: str, sources: Mapping[str, Path]) -> BinaryIO:
    """A member as it goes into the file: a blob in clear, since a backup is sealed by its own word."""
    blob = name.startswith("blobs/")
    return io.BytesIO(blobstore.get(name.removeprefix("blobs/"))) if blob else sources[name].open("rb")


def _begun(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


# --- reading --------------------------------------------------------------------------------------------------


def check(file: str | Path, *, passphrase: str | None = None, into: Path | None = None) -> tuple[Backup, list[str]]:
    """Read a backup to its end and compare every member with its hash.

    Parameters
    ----------
    into : folder in which the members are laid down, each at its name; nothing by default.

    Returns
    -------
    tuple[Backup, list[str]]
        What it says it holds, and a finding for each member that is missing, changed or added.
    """
    found: list[str] = []
    seen: set[str] = set()
    held: Backup | None = None
    with _opened(Path(file), passphrase) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for entry in tar:
                    body: Any = tar.extractfile(entry)
                    if held is None:
                        held = _manifest(file, entry, body)
                        continue
                    found += _member(held, entry, body, into)
                    seen.add(entry.name)
        except (tarfile.TarError, EOFError, Tampered, UnicodeError) as error:
            if held is None:
                raise Tampered(f"{file} is no whole backup: {error}; take another") from None
            found.append(f"the file is torn or changed: {error}")
    if held is None:
        raise Tampered(f"{file} is no backup: it is empty; take another")
    return held, found + [f"{name} is missing" for name in held.members if name not in seen]


@contextmanager
def _opened(file: Path, passphrase: str | None) -> Iterator[Any]:
    if not file.is_file():
        raise Unavailable(f"{file} is no file; mltrainer backup writes one")
    with file.open("rb") as raw:
        hidden = raw.read(len(sealed.MAGIC)) == sealed.MAGIC
        raw.seek(0)
        if hidden and passphrase is None:
            raise BadInput(f"{file} is sealed; give --passphrase and type it, or set MLTRAINER_PASSPHRASE")
        yield sealed.Opening(raw, passphrase or "") if hidden else raw


def _manifest(file: str | Path, entry: tarfile.TarInfo, body: Any) -> Backup:
    said, _, text = body.read(2**30).partition(b"\n") if entry.name == MANIFEST and body else (b"", b"", b"")
    if not text or sha256(text).hexdigest().encode() != said:
        raise Tampered(f"{MANIFEST} of it was changed")
    known = json.loads(text)
    if known.get("format") != FORMAT:
        raise BadInput(f"{file} was written in the form of another version ({known.get('version')}); use that one")
    return Backup(**known)


def _member(held: Backup, entry: tarfile.TarInfo, body: Any, into: Path | None) -> Iterator[str]:
    name = entry.name
    if name not in held.members or not NAME.fullmatch(name) or body is None:
        yield f"{name[:100]!r} was added"
        return
    if into is None:
        same = store.hashed(body) == held.members[name]
    else:
        path = into / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = vault.active_key() and name.startswith("blobs/")
        with path.open("xb") as out:
            if hidden:
                plain = body.read()
                same = sha256(plain).hexdigest() == held.members[name]
                out.write(vault.encrypted(plain, path.name))
            else:
                same = store.hashed(body, out.write) == held.members[name]
            out.flush()
            os.fsync(out.fileno())
    if not same:
        yield f"{name} was changed"


# --- restoring ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restored:
    """What came of a restore: what the file held, where what was there before is now, and what does not hold."""

    held: Backup
    home: Path
    kept: Path | None
    findings: list[str]


def restore(file: str | Path, *, passphrase: str | None = None, replace: bool = False) -> Restored:
    """Lay down a backup as the home of this installation, and verify the audit trail in it.

    All is laid down beside the home first and has its name only when it is complete. A home that holds anything is
    left alone unless `replace`, and then it is moved aside, never removed. Of a database named by
    MLTRAINER_DATABASE_URL the tables must be empty. Blobs go to the folder of MLTRAINER_BLOBS, and what stands there
    whole stays.

    Raises
    ------
    Tampered
        A member is missing, changed or added; each is named, and nothing was touched.
    """
    home = settings().home.absolute()
    if _within(blobstore.folder().absolute(), home, home) is None:
        vault.guard(blobstore.folder())
    if home.exists() and any(home.iterdir()) and not replace:
        raise BadInput(f"{home} is not empty; restore with --replace moves it aside, or set MLTRAINER_HOME to another")
    home.parent.mkdir(parents=True, exist_ok=True)
    staged = home.with_name(f".{home.name}-restoring-{uuid4().hex[:8]}")
    staged.mkdir(mode=0o700)
    try:
        with on_disk(staged):
            held, found = check(file, passphrase=passphrase, into=staged)
            if found:
                said = f"{file} is not what was written: {_some(found)}"
                raise Tampered(f"{said}; nothing was restored, take another backup")
            _laid_down(staged, held, home)
            kept = _swapped(staged, home)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    store.remember(held.head)
    for folder in (home, blobstore.folder()) if vault.active_key() else ():
        vault.guard(folder)
    lost = [f"blob {sha} is not there; it held {what}" for sha, what in scrub.lacking().items()]
    findings = audit.verify(held.head) + lost
    audit.append("restore", head=held.head, made=held.made, members=len(held.members))
    return Restored(held, home, kept, findings)


def _some(found: list[str], most: int = 6) -> str:
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def _laid_down(staged: Path, held: Backup, home: Path) -> None:
    """Make of the members what a home looks like, and fill what lies outside it: a server, a shared folder of blobs."""
    for path in (staged / "files").glob("*"):
        path.replace(staged / path.name)
    if unknown := sorted(set(held.tables) - set(store.SCHEMA.tables)):
        raise BadInput(f"the backup has a table {unknown[0]}, which this version does not know; install {held.version}")
    server, file = store.url().get_backend_name() != "sqlite", Path(store.url().database or "").absolute()
    within = None if server else _within(file, home, staged)
    full = within is None and _already(held)
    _blobs_laid_down(staged, _within(blobstore.folder().absolute(), home, staged))  # before a row names them
    if within is not None:
        within.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not full:
        store.fill({name: _lines(staged, name) for name in held.tables}, within)
    for name in ("rows", "files", "members"):
        shutil.rmtree(staged / name, ignore_errors=True)


def _within(path: Place, home: Path, staged: Path) -> Path | None:
    """Where a path of the home lies while the home is only staged; None of one that lies outside."""
    return staged / path.relative_to(home) if isinstance(path, Path) and path.is_relative_to(home) else None


def _blobs_laid_down(staged: Path, to: Path | None) -> None:
    """Put each blob, which was compared with its address, where the settings say; a whole one there stays."""
    if not (staged / "blobs").exists():
        return
    members = (staged / "blobs").rename(staged / "members")
    for path in members.iterdir():
        if to is not None:
            (to / path.name[:2]).mkdir(mode=0o700, parents=True, exist_ok=True)
            path.rename(to / path.name[:2] / path.name)
        elif blobstore.flaw(path.name):
            write_atomic(blobstore.path(path.name), path.read_bytes())


def _already(held: Backup) -> bool:
    """Whether an earlier attempt, which was killed, has filled the database with this very backup."""
    if store.gone():
        return False
    with store.reading(whole=False) as connection:
        counts = {name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                  for name, table in store.SCHEMA.tables.items()}  # fmt: skip
        head = audit.end(connection)
    if not any(counts.values()):
        return False
    if str(head) == held.head and all(counts[name] == n for name, n in held.tables.items()):
        return True
    raise BadInput("the database of MLTRAINER_DATABASE_URL has rows already; restore into an empty one")


def _lines(staged: Path, name: str) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    with gzip.open(staged / "rows" / f"{name}.jsonl.gz", "rb") as file:
        columns = json.loads(next(file))
        for line in file:
            rows.append(dict(zip(columns, json.loads(line), strict=True)))
            if len(rows) == ROWS:
                yield rows
                rows = []
    if rows:
        yield rows


def _swapped(staged: Path, home: Path) -> Path | None:
    """Give the staged folder the name of the home; what was there is moved aside."""
    kept = None
    try:
        if home.exists() and any(home.iterdir()):
            kept = home.with_name(f"{home.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S}")
            home.rename(kept)
        elif home.exists():
            home.rmdir()
        staged.rename(home)
    except OSError as error:
        raise StorageError(f"{home} cannot be moved ({error.strerror}); set MLTRAINER_HOME to a folder in it") from None
    return kept
