"""Moving the rows of this home to another database, whole or not at all, and its blobs to a place that is shared."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from mltrainer import blobstore, store, vault
from mltrainer.disk import Place, on_disk, place, write_atomic
from mltrainer.errors import BadInput, Tampered
from mltrainer.settings import folder_or_bucket
from mltrainer.trust import audit
from mltrainer.trust.audit import Head

ROWS = 5_000  # at a time; one entry of the trail is about 500 bytes


@dataclass(frozen=True)
class Moved:
    """What a move did: rows by table, both ends of the trail (they are equal), blobs copied, and whether it was new."""

    rows: dict[str, int]
    head: Head
    blobs: int = 0
    fresh: bool = True


def move(target: str, *, blobs: Path | str | None = None) -> Moved:
    """Copy every row of the database in force to an empty one, in one transaction there, and every blob to `blobs`.

    The source is only read, under its writer lock, so nobody adds to it meanwhile. What is interrupted leaves the
    target empty, and the same call made again begins anew; made after it was done, it finds that and changes nothing.

    Parameters
    ----------
    target : SQLAlchemy URL, usually postgresql+psycopg://...
    blobs : folder or s3:// address that the homes on that database will share (MLTRAINER_BLOBS); default: blobs stay
        where they are.

    Raises
    ------
    Tampered
        Where the trail or a blob of the source does not hold: that is put right first, or a move would hide it.
    BadInput
        Where the target is the source, or holds another history.
    """
    url = store.parsed(target, "the target")
    if url == store.url():
        raise BadInput("the target is the database in force; name another one")
    try:
        to = folder_or_bucket(str(blobs)) if blobs else None
    except ValueError as error:
        raise BadInput(f"the place for results is none: {error}") from None
    if found := audit.verify():
        raise Tampered(f"nothing was moved, as this trail does not hold: {found[0]}; run mltrainer audit verify")
    with store.writing() as source:
        copied = _copy_blobs(place(to)) if to else 0
        end = audit.end(source)
        with store.elsewhere(url) as there:
            counts, held = _counts(source), _counts(there)
            fresh = not any(held.values())
            if not fresh and (held != counts or audit.end(there) != end):
                raise BadInput("the target holds another history already; name an empty database")
            if fresh:
                for table in store.SCHEMA.sorted_tables:
                    _copy(table, source, there)
            if _counts(there) != counts or audit.end(there) != end:
                raise Tampered("the target does not hold what was copied to it; nothing was moved")
    return Moved(counts, end, copied, fresh)


def _counts(connection: Connection) -> dict[str, int]:
    tables = store.SCHEMA.sorted_tables
    return {t.name: connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}


def _copy(table: Any, source: Connection, there: Connection) -> None:
    for rows in source.execute(select(table).order_by(*table.primary_key)).mappings().partitions(ROWS):
        there.execute(insert(table), [dict(row) for row in rows])
    if there.dialect.name == "postgresql" and table.primary_key.columns.values()[0].autoincrement is True:
        # its counter does not see numbers that were given; the next row would take one again
        counter = f"pg_get_serial_sequence('{table.name}', 'seq')"
        there.execute(text(f"SELECT setval({counter}, max(seq)) FROM {table.name} HAVING max(seq) > 0"))  # noqa: S608


def _copy_blobs(folder: Place) -> int:
    """Copy what the folder lacks, each hashed as it is read; returns how many were copied."""
    copied = 0
    for sha in blobstore.addresses():
        beside = folder / sha[:2] / sha
        if not _whole(beside):  # torn, or not there
            vault.guard(folder)
            write_atomic(beside, vault.encrypted(blobstore.get(sha), sha))
            copied += 1
    return copied


def _whole(file: Place) -> bool:
    with on_disk(file):
        try:
            return sha256(vault.decrypted(file.read_bytes(), file.name)).hexdigest() == file.name
        except (FileNotFoundError, Tampered):
            return False
