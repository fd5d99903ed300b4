"""Where state lives: one database for rows, one folder of blobs addressed by their own hash.

Rows go to SQLite in MLTRAINER_HOME, or to PostgreSQL by MLTRAINER_DATABASE_URL. What is acknowledged survives a
killed process and a power cut, and one writer works at a time, in every process on the machine.
"""

import errno
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from sqlalchemy import (
    DDL,
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered, Unavailable
from mltrainer.settings import settings

BUSY_SECONDS = 60.0
SCHEMA = MetaData()


def _words(*names: str, unique: bool = False) -> list[Column[str]]:
    return [Column(name, Text, nullable=False, unique=unique) for name in names]


audit = Table(
    "audit",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *_words("at", "kind", "actor", "payload"),
    *_words("prev", "hash", unique=True),  # two entries cannot follow the same one: no forks
)
admitted = Table("admitted", SCHEMA, Column("content", Text, primary_key=True), *_words("provenance", "at"))
answers = Table(  # what providers sent and the cache holds: a kept answer whose hash is not here was changed
    "answers",
    SCHEMA,
    Column("key", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    *_words("at"),
)
trials = Table(
    "trials",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "model", "family", "ticker"),
    Column("horizon", Integer, nullable=False),
    *_words("status"),
    Column("sharpe", Float),
    Column("n", Integer),
    *_words("payload"),
    sqlite_autoincrement=True,
)

worlds = Table("worlds", SCHEMA, Column("key", Text, primary_key=True), *_words("payload", "at"))  # see calibrate

_SQLITE_TRIGGER = """CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"""
_POSTGRES_FUNCTION = """CREATE OR REPLACE FUNCTION append_only() RETURNS trigger AS
$$ BEGIN RAISE EXCEPTION '%% is append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"""
_POSTGRES_TRIGGER = """CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION append_only()"""

event.listen(SCHEMA, "before_create", DDL(_POSTGRES_FUNCTION).execute_if(dialect="postgresql"))
for _table in (audit, trials, worlds):
    for _verb in ("UPDATE", "DELETE"):
        _ddl = DDL(_SQLITE_TRIGGER.format(table=_table.name, verb=_verb))
        event.listen(_table, "after_create", _ddl.execute_if(dialect="sqlite"))
    _ddl = DDL(_POSTGRES_TRIGGER.format(table=_table.name))
    event.listen(_table, "after_create", _ddl.execute_if(dialect="postgresql"))


# --- rows -----------------------------------------------------------------------------------------------------


@contextmanager
def reading() -> Iterator[Connection]:
    """One consistent snapshot of the rows; takes no lock that a writer would wait for."""
    url = _url()
    with _explained(url), _engine(url).connect() as connection:
        if connection.dialect.name == "postgresql":  # its default is a new snapshot for every statement
            connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def writing() -> Iterator[Connection]:
    """The one writer transaction: on the disk when the block ends, as if it had never been when it raises."""
    url = _url()
    with _explained(url), _writer(_engine(url)) as connection:
        yield connection


@contextmanager
def _writer(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(writer=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(6517)")  # any constant: one lock, one writer
        yield connection


def _url() -> URL:
    now = settings()
    if now.database_url is None:
        return URL.create("sqlite", database=str(now.home.absolute() / "mltrainer.sqlite"))
    try:
        url = make_url(now.database_url)
    except ArgumentError:
        raise BadInput("setting MLTRAINER_DATABASE_URL is no database URL; write postgresql+psycopg://...") from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise BadInput("setting MLTRAINER_DATABASE_URL must name a file: memory is lost when the process ends")
    return url


_engines: dict[tuple[URL, int], Engine] = {}


def _engine(url: URL) -> Engine:
    key = (url, os.getpid())  # a connection must not cross a fork
    gone = url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()
    if key not in _engines or gone:
        engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _server(url)
        with _writer(engine) as connection:
            SCHEMA.create_all(connection)
        _engines[key] = engine
    return _engines[key]


def _server(url: URL) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True)
    except (ImportError, NoSuchModuleError) as error:
        raise Unavailable(f"MLTRAINER_DATABASE_URL: {error}; pip install 'mltrainer[server]'") from None


def _sqlite(url: URL) -> Engine:
    folder = Path(url.database or "").parent
    with _on_disk(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # No pool: a restored or replaced file is seen at once, and no descriptor is inherited by a worker.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: Python's own is deferred, and two heads would be read
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writer = connection.get_execution_options().get("writer", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


# --- hashes of kept answers -----------------------------------------------------------------------------------


def note_answer(key: str, sha: str, at: str) -> None:
    """Write down that what is kept under `key` may have hash `sha`, as sent at `at`; called before it is kept."""
    with writing() as connection:
        connection.execute(delete(answers).where(answers.c.key == key, answers.c.sha256 == sha))
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


# --- blobs ----------------------------------------------------------------------------------------------------


def put_blob(data: bytes) -> str:
    """Keep `data` and return its address, the sha256 in hex; what is already held is not written again."""
    sha = hashlib.sha256(data).hexdigest()
    if has_blob(sha):
        get_blob(sha)  # a damaged file is named, never quietly mended
    else:
        write_atomic(_blob_path(sha), data)
    return sha


def get_blob(sha: str) -> bytes:
    """Return the bytes at an address, after hashing them again."""
    path = _blob_path(sha)
    if not has_blob(sha):
        raise Unavailable(f"{path} does not hold blob {sha[:12]}; run again what produced it")
    with _on_disk(path):
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha:
        raise Tampered(f"{path} no longer matches its hash; remove it and run again what produced it")
    return data


def has_blob(sha: str) -> bool:
    """Say whether a file stands at the address."""
    return _blob_path(sha).is_file()


def _blob_path(sha: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", sha):
        raise BadInput(f"{sha[:80]!r} is no blob address; an address is 64 hex digits")
    return settings().home / "blobs" / sha[:2] / sha


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file or none: a temporary file beside it, forced to the disk, then renamed over it."""
    beside = path.with_name(f".{uuid4().hex}.tmp")
    with _on_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


# --- errors ---------------------------------------------------------------------------------------------------

_FULL = "the disk is full; what was there before is intact, free some space and run again"
_LOCKED_OUT = "it cannot be written or read; give this user the permission, or set MLTRAINER_HOME to a folder you own"
_DAMAGED = "it is damaged or no database; restore a backup, or move it away to begin anew"
_BUSY = f"another process has been writing for {BUSY_SECONDS:.0f} s; run again when it is done"
_MEANINGS: tuple[tuple[str, type[MltrainerError], str], ...] = (
    ("full|disk I/O", StorageError, _FULL),
    ("readonly|read-only|unable to open|permission", StorageError, _LOCKED_OUT),
    ("malformed|not a database|no such table|no such column|UTF-8", Tampered, _DAMAGED),
    ("locked|busy", StorageError, _BUSY),
)


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turn what the database says into one line that names the file and the next step."""
    where = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        for pattern, kind, meaning in _MEANINGS:
            if re.search(pattern, said, re.IGNORECASE):
                raise kind(f"{where}: {meaning} ({said})") from None
        raise StorageError(f"{where}: the database refused: {said}") from None


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(f"{path}: {_FULL if full else _LOCKED_OUT} ({error.strerror})") from None
