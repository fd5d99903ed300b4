"""Files that are whole or not there, forced to the disk with their names; and what a disk says, in one line.

Results may also lie in a bucket, whose objects are whole or not there by themselves.
"""

import errno
import hashlib
import importlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union, cast
from uuid import uuid4

from mltrainer.errors import MltrainerError, StorageError, Unavailable

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = Union[Path, "UPath"]
"""A file or folder, or an object or prefix of a bucket, which has the same methods."""

PIECE = 2**20  # bytes of a file in memory at a time
FULL = "the disk is full; what was there before is intact, free some space and run again"
FAR_OUT = "see that it is there and answers, and what the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY may do"
LOCKED_OUT = "it cannot be written or read; give this user the permission, or set MLTRAINER_HOME to a folder you own"


def place(at: Path | str) -> Place:
    """A folder, or the bucket of an address."""
    if isinstance(at, Path):
        return at
    try:
        found = importlib.import_module("upath").UPath(at, use_listings_cache=False)  # others write there too
        importlib.import_module("s3fs")  # which would be imported too late to be told of in one line
    except ImportError:
        raise Unavailable(f"{at} needs s3fs; pip install 'mltrainer[s3]'") from None
    return cast("UPath", found)


def write_atomic(path: Place, data: bytes | str, *, private: bool = False) -> None:
    """Write a whole file or none, see `whole_file`; a `private` one is for its owner alone before it holds anything."""
    body = data.encode() if isinstance(data, str) else data
    if not isinstance(path, Path):
        with on_disk(path):
            path.write_bytes(body)
        return
    with whole_file(path) as file:
        if private and os.name != "nt":
            os.fchmod(file.fileno(), 0o600)
        file.write(body)


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


def is_file(path: Place) -> bool:
    """Whether a file is there; a bucket that cannot be asked is an error, which its own `is_file` takes for a no."""
    with on_disk(path), suppress(FileNotFoundError, NotADirectoryError):
        return stat.S_ISREG(path.stat().st_mode)
    return False


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


def hashed_file(path: Place) -> str:
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


def drop(path: Place, younger: float) -> bool:
    """Remove a file unless it was written or touched since `younger` (a time), even in this moment; whether it went.

    It is moved aside, and looked at there: who touches it after the look finds nothing, and writes it again. An object
    cannot be moved: between the look and its end there is one round trip.
    """
    if not isinstance(path, Path):
        with on_disk(path):
            old = path.exists() and path.stat().st_mtime <= younger
            if old:
                path.unlink()
            return old
    beside = path.with_name(f".{uuid4().hex}.tmp")
    with suppress(FileNotFoundError):
        path.replace(beside)
        if beside.stat().st_mtime > younger:
            beside.replace(path)
            return False
        beside.unlink()
    return True


@contextmanager
def on_disk(path: Place) -> Iterator[None]:
    """Say in one line what a disk or a bucket answers."""
    try:
        yield
    except MltrainerError:  # some of them are errors of the disk too, and say already what was wrong
        raise
    except Exception as error:
        if not isinstance(path, Path):  # its libraries have errors of many kinds
            cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise StorageError(f"{path}: {cause}; {FAR_OUT}") from None
        if not isinstance(error, OSError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StorageError(f"{path}: {FULL if full else LOCKED_OUT} ({error.strerror})") from None
