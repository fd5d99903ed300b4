"""A stream that only who knows the passphrase can read, and in which any change shows; by the standard library alone.

Python's own library has no AES. It has what a stream cipher and its proof are made of: the key is drawn from the
passphrase by scrypt (RFC 7914), the key stream of a chunk is SHAKE-256 of key, salt and number (FIPS 202), and each
chunk carries an HMAC-SHA-256 of its number, whether it is the last, and what it hides (encrypt, then authenticate). So
chunks can be neither changed, nor swapped, nor left out. Who must use a certified cipher leaves this and pipes the file
through a tool that has one.
"""

import hmac
import io
import secrets
from hashlib import scrypt, sha256, shake_256
from typing import BinaryIO

from mltrainer.errors import BadInput, Tampered

MAGIC = b"mltrainer sealed 1\n"
CHUNK = 2**20
COST = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26}  # about 0.1 s and 32 MB for every guess
TAG = 32
LEAST = 8  # characters


def _keys(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    if len(passphrase) < LEAST:
        raise BadInput(f"a passphrase of fewer than {LEAST} characters protects nothing; choose a longer one")
    drawn = scrypt(passphrase.encode(), salt=salt, dklen=64, **COST)
    return drawn[:32], drawn[32:]


def _hidden(key: bytes, salt: bytes, number: int, data: bytes) -> bytes:
    stream = shake_256(key + salt + number.to_bytes(8, "big")).digest(len(data))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def _tag(key: bytes, number: int, last: bool, data: bytes) -> bytes:
    return hmac.digest(key, number.to_bytes(8, "big") + bytes([last]) + data, sha256)


class Sealing(io.RawIOBase):
    """Writes to `file` what can be read back with the passphrase; whole only after `close`."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._salt, self._file, self._number, self._held = secrets.token_bytes(16), file, 0, bytearray()
        self._key, self._proof = _keys(passphrase, self._salt)
        file.write(MAGIC + self._salt)

    def writable(self) -> bool:
        """Say that it is for writing."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Hide data; the last chunk waits, as it is marked."""
        self._held += data
        while len(self._held) > CHUNK:
            self._put(bytes(self._held[:CHUNK]), last=False)
            del self._held[:CHUNK]
        return len(data)

    def _put(self, data: bytes, *, last: bool) -> None:
        hidden = _hidden(self._key, self._salt, self._number, data)
        self._file.write(hidden + _tag(self._proof, self._number, last, hidden))
        self._number += 1

    def finish(self) -> None:
        """Write the last chunk; without it nothing of the file is taken for whole."""
        self._put(bytes(self._held), last=True)
        self._held.clear()


class Opening(io.RawIOBase):
    """Reads what `Sealing` wrote; `Tampered` where a chunk is not what was written, or the passphrase is another."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._file, self._number, self._held, self._ended = file, 0, b"", False
        if file.read(len(MAGIC)) != MAGIC:
            raise Tampered("it does not begin as a sealed file does")
        self._salt = file.read(16)
        self._key, self._proof = _keys(passphrase, self._salt)

    def readable(self) -> bool:
        """Say that it is for reading."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill a buffer with what was hidden; 0 at the end."""
        while not self._held and not self._ended:
            self._held = self._next()
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count

    def _next(self) -> bytes:
        block = self._file.read(CHUNK + TAG)
        hidden, tag = block[:-TAG], block[-TAG:]
        for last in (False, True):
            if len(block) >= TAG and hmac.compare_digest(tag, _tag(self._proof, self._number, last, hidden)):
                self._ended, number = last, self._number
                self._number += 1
                return _hidden(self._key, self._salt, number, hidden)
        if self._number == 0:
            raise Tampered("the passphrase is another one, or its beginning was changed")
        raise Tampered(f"it was cut or changed at byte {len(MAGIC) + 16 + self._number * (CHUNK + TAG):,}")
