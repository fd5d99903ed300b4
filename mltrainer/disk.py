"""Files that are whole or not there, forced to the disk with their names; and what a disk says, in one line."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from mltrainer.errors import MltrainerError, StorageError

PIECE = 2**20  # bytes of a file in memory at a time
FULL = "the disk is full; what was there before is intact, free some space and run again"
LOCKED_OUT = "it cannot be written or read; give this user the permission, or set MLTRAINER_HOME to a folder you own"


def write_atomic(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Write a whole file or none, see `whole_file`; a `private` one is for its owner alone before it holds anything."""
    with whole_file(path) as file:
        if private and os.name != "nt":
            os.fchmod(file.fileno(), 0o600)
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that is there when the block ends, whole and on the disk, or never was.

    It is a temporary one beside `path`, renamed over it; the file and its name are forced to the disk.
    """
    beside = path.with_name(f".{uuid4().hex}.tmp")
    with on_disk(path):
        make_folder(path.parent)
        try:
            with beside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync(path.parent)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder that is there after a power cut: the name of each new one is forced to the disk, from above."""
    fresh = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    for folder in reversed(fresh):
        _sync(folder.parent)


def digest(path: Path) -> str:
    """sha256 of a file, read again only when its inode, size or times have changed; "" where there is none."""
    try:
        at = path.stat()
        return _digest(path, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=2048)
def _digest(path: Path, *_state: int) -> str:
    return hashed_file(path)


def hashed_file(path: Path) -> str:
    """sha256 of a file, always read again: what a disk lost leaves the times of the file as they were."""
    with path.open("rb") as file:
        return hashed(file)


def hashed(file: Any, to: Callable[[bytes], object] = lambda _: None) -> str:
    """sha256 of what a file still holds, read piece by piece; each piece is also given to `to`."""
    total = hashlib.sha256()
    while piece := file.read(PIECE):
        total.update(piece)
        to(piece)
    return total.hexdigest()


def _sync(folder: Path) -> None:
    """Force the names in a folder to the disk: without it a power cut may undo a rename."""
    if os.name == "nt":  # has no such call; its file system keeps a journal of names
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def drop(path: Path, younger: float) -> bool:
    """Remove a file unless it was written or touched since `younger` (a time), even in this moment; whether it went.

    It is moved aside, and looked at there: who touches it after the look finds nothing, and writes it again.
    """
    beside = path.with_name(f".{uuid4().hex}.tmp")
    with suppress(FileNotFoundError):
        path.replace(beside)
        if beside.stat().st_mtime > younger:
            beside.replace(path)
            return False
        beside.unlink()
    return True


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except MltrainerError:  # some of them are errors of the disk too, and say already what was wrong
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(f"{path}: {FULL if full else LOCKED_OUT} ({error.strerror})") from None
