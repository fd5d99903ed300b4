"""Encryption at rest, for who asks for it: blobs and kept answers are written by AES-256-GCM, and read either way.

The key stands in a file of its owner alone (MLTRAINER_ENCRYPTION_KEY_FILE) or in the keyring of the operating system,
never in an environment: what a process starts inherits that. Of several keys the first writes and all read, so that a
key can be changed while others work. What is hidden is bound to its name, so no file can stand in another's place, and
its address stays the hash of the plain bytes, by which everything is verified as before.
"""

import importlib
import os
import secrets
from collections.abc import Mapping
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from mltrainer.disk import Place, on_disk, write_atomic
from mltrainer.errors import BadInput, Locked, Tampered
from mltrainer.settings import kept, settings

MAGIC = b"mltrainer encrypted 1\n"
KEY, ID, NONCE, TAG = 32, 8, 12, 16  # bytes
HEAD = len(MAGIC) + ID + NONCE
VARIABLE = "MLTRAINER_ENCRYPTION_KEY"  # under which the keyring has it
MARK = "ENCRYPTED"  # file of a folder in which nothing may be written in clear: the key that writes there


def read_keys() -> Mapping[str, bytes]:
    """Keys by their ids, the one that writes first; empty where nothing is encrypted."""
    path = settings().encryption_key_file
    if path is None:
        return _of_keyring()
    try:
        state = path.stat()
    except OSError as error:
        raise Locked(
            f"MLTRAINER_ENCRYPTION_KEY_FILE: {path} cannot be read ({error.strerror}); name the file"
        ) from None
    return _of_file(path, state.st_mode, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=8)
def _of_file(path: Path, mode: int, *_state: int) -> Mapping[str, bytes]:
    if os.name != "nt" and mode & 0o077:
        raise BadInput(f"{path} holds encryption keys and others may read it; chmod 600 {path}")
    try:
        return _parsed(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeError):
        raise Locked(f"{path} cannot be read as a file of keys; mltrainer store key makes one") from None


@cache
def _of_keyring() -> Mapping[str, bytes]:
    found = kept(VARIABLE)
    return _parsed(found, f"{VARIABLE} of the keyring") if found else {}


def _parsed(text: str, where: str) -> Mapping[str, bytes]:
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    try:
        found = [bytes.fromhex(word) for word in words]
    except ValueError:
        found = []
    if not found or any(len(key) != KEY for key in found):  # and never show what stands there
        raise BadInput(f"{where} holds no keys of {2 * KEY} hex digits, one a line; mltrainer store key makes one")
    return {_id(key): key for key in found}


def _id(key: bytes) -> str:
    return sha256(b"mltrainer key\n" + key).digest()[:ID].hex()


def active_key() -> str:
    """Id of the key that writes; "" where nothing is encrypted."""
    return next(iter(read_keys()), "")


def encrypted(data: bytes, name: str) -> bytes:
    """Data as only who has the key can read it, and as only `name` may be called; in clear where there is no key."""
    if not (key := active_key()):
        return data
    nonce = secrets.token_bytes(NONCE)
    head = MAGIC + bytes.fromhex(key)
    return head + nonce + bytes(_cipher(read_keys()[key]).encrypt(nonce, data, head + name.encode()))


def decrypted(body: bytes, name: str) -> bytes:
    """What `encrypted` was given; what is in clear is returned as it is.

    Raises
    ------
    Locked
        Its key, or the library, is not here.
    Tampered
        It was changed, or is another's.
    """
    if not (key := key_of(body)):
        return body
    if key not in read_keys():
        raise Locked(f"{name[:80]} is encrypted by key {key}, which is not here; {REMEDY}")
    head, nonce = body[: len(MAGIC) + ID], body[len(MAGIC) + ID : HEAD]
    cipher = _cipher(read_keys()[key])  # a library that is missing says nothing of what was written
    try:
        return bytes(cipher.decrypt(nonce, body[HEAD:], head + name.encode()))
    except Exception:  # InvalidTag, or whatever a cut body makes the library say
        raise Tampered(f"{name[:80]} is encrypted and no longer what was written") from None


REMEDY = "name the file that holds it in MLTRAINER_ENCRYPTION_KEY_FILE"


def key_of(body: bytes) -> str:
    """Id of the key by which this, or what begins so, was encrypted; "" of what is in clear."""
    return body[len(MAGIC) : len(MAGIC) + ID].hex() if body.startswith(MAGIC) else ""


def _cipher(key: bytes) -> Any:
    try:
        return importlib.import_module("cryptography.hazmat.primitives.ciphers.aead").AESGCM(key)
    except ImportError:
        raise Locked("encryption needs the package cryptography; pip install 'mltrainer[encrypted]'") from None


# --- folders in which nothing is written in clear -------------------------------------------------------------


def guard(folder: Place) -> None:
    """Before something is written there: stop where it would not be hidden by the key of the folder, else mark it."""
    marked, key = mark_of(folder), active_key()
    if marked and marked not in read_keys():
        raise Locked(f"{folder} is encrypted by key {marked}, which is not here; nothing was written; {REMEDY}")
    if key and not marked:
        mark(folder, key)


def mark(folder: Place, key: str) -> None:
    """Have nothing written there in clear from now on, or, of no key, all."""
    if key:
        write_atomic(folder / MARK, key + "\n")
    else:
        with on_disk(folder):
            (folder / MARK).unlink(missing_ok=True)


def mark_of(folder: Place) -> str:
    """Id of the key of a folder; "" of one that is not encrypted."""
    with on_disk(folder):
        try:
            return (folder / MARK).read_text(encoding="utf-8", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):  # who writes there says what is wrong
            return ""


def new_key(file: Path) -> str:
    """Put a new key in front of those of a file, which is made for its owner alone; return its id."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if before.strip():
        _parsed(before, str(file))  # whatever else it is stays as it is
    key = secrets.token_bytes(KEY)
    write_atomic(file, f"{key.hex()}\n{before}", private=True)
    return _id(key)
