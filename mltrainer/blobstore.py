"""Where results lie: files addressed by the hash of what they hold, in the home or in a place that several share.

The place is MLTRAINER_BLOBS, a folder or a bucket. A file is whole or not there, and hashed again whenever it is read;
where there is a key it is encrypted (`vault`), under the address of what it holds in clear.
"""

import hashlib
import os
import re
import time
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath

from mltrainer import vault
from mltrainer.disk import Place, is_file, on_disk, place, write_atomic
from mltrainer.errors import BadInput, Tampered, Unavailable
from mltrainer.settings import settings

STALE_SECONDS = 3600.0  # no writer is at one file for so long: an older `.tmp` was left by a process that was killed


def put(data: bytes) -> str:
    """Keep `data` and return its address, the sha256 in hex; a file that is lost or damaged is written again."""
    sha = hashlib.sha256(data).hexdigest()
    file = path(sha)
    if not isinstance(file, Path) or flaw(sha) or not _touched(file):  # an object is young when it is written
        _sweep(settings().home, folder())
        vault.guard(folder())
        write_atomic(file, vault.encrypted(data, sha))
    return sha


def _touched(file: Path) -> bool:
    """Make a whole file young again, as somebody is about to name it; False if it was removed meanwhile."""
    try:
        os.utime(file)
    except FileNotFoundError:
        return False
    except OSError:  # who may only read a shared folder cannot keep it young, and it is there all the same
        return True
    with suppress(OSError):
        _whole[file] = _state(file)
    return True


def _state(file: Place) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns if isinstance(file, Path) else int(found.st_mtime)


def get(sha: str) -> bytes:
    """Return the bytes at an address, in clear, after hashing them again."""
    file, data = path(sha), peek(sha)
    if hashlib.sha256(data).hexdigest() != sha:
        raise Tampered(f"{file} no longer matches its hash; remove it and run again what produced it")
    return data


def peek(sha: str) -> bytes:
    """What stands at an address, in clear, whether or not it is what was written."""
    file = path(sha)
    with on_disk(file):
        try:
            body = file.read_bytes()
        except FileNotFoundError:
            raise Unavailable(f"{file} does not hold blob {sha[:12]}; run again what produced it") from None
    try:
        return vault.decrypted(body, sha)
    except Tampered:
        raise Tampered(f"{file} no longer matches its hash; remove it and run again what produced it") from None


def key_of(sha: str) -> str:
    """Id of the key by which a blob is encrypted; "" of one in clear."""
    with on_disk(path(sha)), path(sha).open("rb") as file:
        return vault.key_of(bytes(file.read(vault.HEAD)))


def reencrypted(sha: str, key: str) -> bool:
    """Have a blob encrypted by the key in force, or, of no key, in clear; whether it was written again."""
    if exists(sha) and key_of(sha) == key:
        return False
    data = get(sha)
    write_atomic(path(sha), vault.encrypted(data, sha) if key else data)
    return True


def exists(sha: str) -> bool:
    """Say whether a file stands at the address; a bucket that cannot be asked is an error."""
    return is_file(path(sha))


_whole: dict[Place, tuple[int, int, int]] = {}  # files that matched their address, as they then were


def flaw(sha: str) -> str:
    """What is wrong with a blob: "lost", "damaged" or nothing; a file is hashed once while it stays as it is."""
    file = path(sha)
    if not exists(sha):
        return "lost"
    with on_disk(file):
        state = _state(file)
    if _whole.get(file) != state:
        try:
            get(sha)
        except Tampered:
            return "damaged"
        _whole[file] = state
    return ""


@cache
def _sweep(home: Path, blobs: Place) -> None:
    """Remove, once in a process, what killed writers left beside the files that they were writing."""
    for left in (*home.glob(".*.tmp"), *(blobs.glob("*/.*.tmp") if isinstance(blobs, Path) else ())):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()


def folder() -> Place:
    """Where blobs lie: MLTRAINER_BLOBS, by default in the home."""
    here = settings()
    return place(here.blobs or here.home / "blobs")


def path(sha: str) -> Place:
    """Where a blob lies, whether or not it is there."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha):
        raise BadInput(f"{sha[:80]!r} is no blob address; an address is 64 hex digits")
    return folder() / sha[:2] / sha


def addresses() -> list[str]:
    """Addresses of all blobs that there are, whole or not."""
    here = folder()
    with on_disk(here):  # a bucket tells of a thousand objects at a time, and its glob would ask for each prefix
        found = here.glob("??/*") if isinstance(here, Path) else map(PurePosixPath, here.fs.find(here.path))
        names = [file.name for file in found]
    return sorted(name for name in names if re.fullmatch(r"[0-9a-f]{64}", name))
