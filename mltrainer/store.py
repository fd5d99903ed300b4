"""Where rows live: one database, SQLite in MLTRAINER_HOME or PostgreSQL by MLTRAINER_DATABASE_URL.

What is acknowledged survives a killed process and a power cut, and one writer works at a time, in every process on the
machine. A file beside the database remembers how far the audit trail had come, so that a database which is gone,
emptied or older than it should be is not taken for a fresh start. A home that may only be read is read.
"""

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mltrainer import blobstore
from mltrainer.disk import (
    FULL,
    LOCKED_OUT,
    digest,
    drop,
    hashed,
    hashed_file,
    make_folder,
    on_disk,
    whole_file,
    write_atomic,
)
from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered, Unavailable
from mltrainer.schema import (
    APPEND_ONLY,
    REVISION,
    SCHEMA,
    VERSION,
    admitted,
    alert_events,
    alerts,
    answers,
    audit,
    conversations,
    jobs,
    positions,
    recommendations,
    trials,
    users,
    worlds,
)
from mltrainer.settings import settings

__all__ = [  # what others ask of this room, wherever it stands
    "APPEND_ONLY",
    "REVISION",
    "SCHEMA",
    "admitted",
    "alert_events",
    "alerts",
    "answers",
    "audit",
    "conversations",
    "digest",
    "drop",
    "hashed",
    "hashed_file",
    "jobs",
    "positions",
    "recommendations",
    "trials",
    "users",
    "whole_file",
    "worlds",
    "write_atomic",
]  # fmt: skip

BUSY_SECONDS = 60.0
# --- rows -----------------------------------------------------------------------------------------------------


@contextmanager
def reading(*, whole: bool = True) -> Iterator[Connection]:
    """One consistent snapshot of the rows; takes no lock that a writer would wait for.

    `whole=False` also reads a database that lacks what this home remembers.
    """
    here = url()
    with _explained(here), _undisturbed(here), _engine(here).connect() as connection:
        if connection.dialect.name == "postgresql":  # its default is a new snapshot for every statement
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            if whole:
                _compare(connection, here)
            yield connection


@contextmanager
def writing() -> Iterator[Connection]:
    """The one writer transaction: on the disk when the block ends, as if it had never been when it raises."""
    with elsewhere(url()) as connection:
        yield connection


@contextmanager
def _writer(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(writer=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(6517)")  # any constant: one lock, one writer
        yield connection


def url() -> URL:
    """The database in force."""
    now = settings()
    if now.database_url is None:
        return URL.create("sqlite", database=str(now.home.absolute() / "mltrainer.sqlite"))
    return parsed(now.database_url, "setting MLTRAINER_DATABASE_URL")


def parsed(text: str, name: str) -> URL:
    """Read the URL of a database that lasts; `name` is what the message calls it."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise BadInput(f"{name} is no database URL; write postgresql+psycopg://...") from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise BadInput(f"{name} must name a file: memory is lost when the process ends")
    return url


@contextmanager
def elsewhere(url: URL) -> Iterator[Connection]:
    """A writer transaction in another database than the one in force; its head is remembered here."""
    with _explained(url):
        with _writer(_engine(url, writer=True)) as connection:
            _compare(connection, url)
            yield connection
            head = _head(connection)
        if head is not None:
            _remember(url, head)


def _head(connection: Connection) -> str | None:
    last = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    return f"{last.seq}:{last.hash}" if last else None


_engines: dict[tuple[URL, int], Engine] = {}
_made: dict[tuple[URL, int], bool] = {}  # engines whose schema is complete: whether also for one who writes


def _engine(url: URL, *, writer: bool = False) -> Engine:
    key = (url, os.getpid())  # a connection must not cross a fork
    if url.get_backend_name() == "sqlite" and not _has_bytes(Path(url.database or "")):
        _missing(url)
        _engines.pop(key, None)
    if key not in _engines:
        _made.pop(key, None)
        _engines[key] = _sqlite(url) if url.get_backend_name() == "sqlite" else _server(url)
    engine = _engines[key]
    if key not in _made or (writer and not _made[key]):
        incomplete = writer or not _complete(engine)  # who may only read finds all, or nothing to read
        if incomplete:
            with _writer(engine) as connection:
                create(connection)
                if _revision(connection) != REVISION:
                    from mltrainer import migrations  # its import costs what opening a database does ten times

                    migrations.upgrade(connection)
        _made[key] = incomplete
    return engine


def _has_bytes(file: Path) -> bool:
    with on_disk(file):
        return file.exists() and file.stat().st_size > 0


def _complete(engine: Engine) -> bool:
    only_read = engine.dialect.name == "sqlite" and _locked(Path(engine.url.database or ""))
    with engine.connect() as connection:
        tables = SCHEMA.tables.keys() <= set(inspect(connection).get_table_names())
        return tables and (only_read or _revision(connection) == REVISION)


def create(connection: Connection) -> None:
    """Make what tables lack; a database that had none is at the newest revision then, and needs none of them."""
    fresh = not SCHEMA.tables.keys() & set(inspect(connection).get_table_names())
    SCHEMA.create_all(connection)
    if fresh and _revision(connection) is None:
        VERSION.create(connection, checkfirst=True)
        connection.execute(insert(VERSION).values(version_num=REVISION))


def _revision(connection: Connection) -> str | None:
    """Which revision of `migrations` a database is at; None of one that has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _server(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ImportError, NoSuchModuleError) as error:
        raise Unavailable(f"MLTRAINER_DATABASE_URL: {error}; pip install 'mltrainer[server]'") from None


def _sqlite(url: URL) -> Engine:
    folder = Path(url.database or "").parent
    with on_disk(folder):
        make_folder(folder, 0o700)
    # No pool: a restored or replaced file is seen at once, and no descriptor is inherited by a worker.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "do_connect", _look_only)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _look_only(_dialect: Any, _record: Any, where: list[str], options: dict[str, Any]) -> sqlite3.Connection | None:
    """Open a database that may not be written, or beside which no log may be; None opens it as usual."""
    file = Path(where[0])
    if not _locked(file):
        return None
    log = file.with_name(f"{file.name}-wal")
    how = "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"  # immutable would ignore a log
    return sqlite3.connect(f"{file.absolute().as_uri()}?{how}", uri=True, **options)


def _locked(file: Path) -> bool:
    return file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


@contextmanager
def _undisturbed(url: URL) -> Iterator[None]:
    """Stop if a file that may only be read, and so is read without a lock, was written meanwhile by its owner."""
    file = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not _locked(file):
        yield
        return
    before = file.stat().st_mtime_ns
    yield
    if file.stat().st_mtime_ns != before:
        raise StorageError(f"{file} was written while it was read; run again")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: Python's own is deferred, and two heads would be read
    _log_ahead(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Write ahead to a log. Of processes that open a new file at once SQLite lets one, and the others do not wait."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _begin(connection: Connection) -> None:
    writer = connection.get_execution_options().get("writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


def gone() -> bool:
    """Whether the database in force is a file that is not there, or holds nothing."""
    return url().get_backend_name() == "sqlite" and not _has_bytes(Path(url().database or ""))


def fill(tables: Mapping[str, Iterable[list[dict[str, Any]]]], file: Path | None) -> None:
    """Write rows into an empty database, all or none: a new one in `file`, or None that of the settings.

    Parameters
    ----------
    tables : batches of rows by the name of their table.
    """
    database = url() if file is None else URL.create("sqlite", database=str(file))
    # a new file has no history yet, whatever the present home remembers
    engine = _sqlite(database) if file is not None or gone() else _engine(database, writer=True)
    with _explained(database), _writer(engine) as connection:
        create(connection)
        for name, batches in tables.items():
            table = SCHEMA.tables[name]
            for rows in batches:
                connection.execute(insert(table), rows)
            if connection.dialect.name == "postgresql" and "seq" in table.c and table.c.seq.autoincrement is True:
                top = connection.execute(select(func.max(table.c.seq))).scalar()  # which its sequence has not seen
                connection.execute(select(func.setval(func.pg_get_serial_sequence(name, "seq"), top or 1, bool(top))))


# --- what the home remembers outside the database -------------------------------------------------------------


def remembered(database: URL | None = None) -> str | None:
    """The last head of the audit trail that was acknowledged in this home, `size:hash`; None where there is none."""
    with suppress(OSError):
        return _memory(database or url()).read_text(encoding="utf-8", errors="replace") or None
    return None


def remember(head: str) -> None:
    """Take a head for the last one that was acknowledged in this home: after a restore, which brings older rows."""
    _remember(url(), head)


def _memory(url: URL) -> Path:
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").with_suffix(".head")
    return settings().home / f"{hashlib.sha256(url.render_as_string().encode()).hexdigest()[:16]}.head"  # no password


def _remember(url: URL, head: str) -> None:
    memory = _memory(url)
    beside = memory.with_name(f".{uuid4().hex}.tmp")
    with suppress(OSError):  # on a full disk the next writer remembers; it may be behind, never ahead
        make_folder(memory.parent, 0o700)
        beside.write_text(head, encoding="utf-8")
        beside.replace(memory)
    with suppress(OSError):
        beside.unlink(missing_ok=True)


def _compare(connection: Connection, url: URL) -> None:
    """Stop where the trail lacks what this home remembers of it."""
    size, _, digest = (remembered(url) or "").partition(":")
    if not size.isdecimal():
        return
    if connection.execute(select(audit.c.hash).where(audit.c.seq == int(size))).scalar() != digest:
        raise Tampered(
            f"{_shown(url)} lacks entry {size} of the audit trail, which {_memory(url)} remembers: it was emptied, "
            f"changed or replaced, or its write-ahead log was lost; {_RESTORE}; if it is as you want it, remove that "
            "file"
        )


def _missing(url: URL) -> None:
    """Stop before a new database would be made beside what an older one knew."""
    own = settings().blobs is None and Path(url.database or "").parent == settings().home.absolute()
    if _memory(url).exists() or (own and any(blobstore.folder().glob("*/*"))):
        raise Tampered(
            f"{_shown(url)} is missing or empty, but {Path(url.database or '').parent} has a history; {_RESTORE}"
        )


_RESTORE = "restore it from a backup (with its -wal file, if there is one), or move the folder away to begin anew"


def _shown(url: URL) -> str:
    return str(url.database) if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


# --- hashes of kept answers -----------------------------------------------------------------------------------


def note_answer(connection: Connection, key: str, sha: str, at: str) -> None:
    """Write down that what is kept under `key` may have hash `sha`, as sent at `at`; see `gate.note_answer`."""
    same = (answers.c.key == key, answers.c.sha256 == sha)
    if not connection.execute(update(answers).where(*same).values(at=at)).rowcount:
        connection.execute(insert(answers).values(key=key, sha256=sha, at=at))


def noted_answers(key: str) -> dict[str, str]:
    """Every hash that was written down for `key`, and when the provider sent it."""
    with reading() as connection:
        rows = connection.execute(select(answers.c.sha256, answers.c.at).where(answers.c.key == key))
        return {row.sha256: row.at for row in rows}


def answered() -> tuple[str, str] | None:
    """When the oldest and the newest hash were written down; None where there is none."""
    with reading() as connection:
        oldest, newest = connection.execute(select(func.min(answers.c.at), func.max(answers.c.at))).one()
    return (oldest, newest) if oldest else None


# --- errors ---------------------------------------------------------------------------------------------------

_DAMAGED = "it is damaged or no database; restore a backup, or move it away to begin anew"
_BUSY = f"another process has been writing for {BUSY_SECONDS:.0f} s; run again when it is done"
_MEANINGS: tuple[tuple[str, type[MltrainerError], str], ...] = (
    ("full|disk I/O", StorageError, FULL),
    ("readonly|read-only|unable to open|permission", StorageError, LOCKED_OUT),
    ("malformed|not a database|no such table|no such column|UTF-8", Tampered, _DAMAGED),
    ("locked|busy", StorageError, _BUSY),
)


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turn what the database says into one line that names the file and the next step."""
    where = _shown(url)
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        for pattern, kind, meaning in _MEANINGS:
            if re.search(pattern, cause, re.IGNORECASE):
                raise kind(f"{where}: {meaning} ({cause})") from None
        raise StorageError(f"{where}: the database refused: {cause}") from None
