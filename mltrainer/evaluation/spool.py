"""Series of trials while they are tested: in a file without a name, so that memory does not grow with the ledger.

The file goes with its process, also with one that is killed; nobody else can open it.
"""

import io
import os
import tempfile
import weakref
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer import vault
from mltrainer.disk import on_disk
from mltrainer.evaluation.skill import Question, Trial
from mltrainer.settings import settings


class Spool:
    """Arrays of numbers, one after another in a file."""

    def __init__(self, folder: Path) -> None:
        self._turn, self._size, self._folder = Lock(), 0, folder
        beside = folder if os.access(folder, os.W_OK) else None  # a home that may only be read is read all the same
        # where results are encrypted nothing made of them lies on the disk in clear
        self._file: Any = io.BytesIO() if vault.active_key() else tempfile.TemporaryFile(dir=beside)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def put(self, values: NDArray[np.float64]) -> tuple[int, int]:
        """Keep an array, and return where it is: its first byte, and how many there are."""
        body = values.tobytes()
        with self._turn, on_disk(self._folder):
            at = self._size
            self._file.seek(at)
            self._file.write(body)
            self._size += len(body)
        return at, len(body)

    def get(self, at: int, size: int) -> NDArray[np.float64]:
        """The array that `put` kept there."""
        with self._turn:
            self._file.seek(at)
            return np.frombuffer(self._file.read(size), dtype=float)


class StoredSeries(NamedTuple):
    """One series of a trial: its sessions, which most trials share, and where its values are."""

    sessions: "pd.Index[Any]"
    at: int
    size: int


class Spooled(Trial):
    """A trial whose series are read when they are asked for, and forgotten again."""

    _spool: Spool
    _held: dict[str, StoredSeries]

    def __init__(self, trial: Trial) -> None:
        spool = _spool(os.getpid(), settings().home)
        kinds = {name: getattr(trial, name) for name in ("knows", "pays")}
        held = {name: StoredSeries(_shared(x.index), *spool.put(x.to_numpy(float))) for name, x in kinds.items()}
        known = {"key": trial.key, "question": _same(trial.question), "_spool": spool, "_held": held}
        for name, value in known.items():  # it is frozen
            object.__setattr__(self, name, value)

    def sessions(self, kind: str) -> "pd.Index[Any]":
        """Those of one of its series, without reading it."""
        return self._held[kind].sessions

    def _read(self, kind: str) -> Any:
        held = self._held[kind]
        return pd.Series(self._spool.get(held.at, held.size), held.sessions)

    knows = property(lambda self: self._read("knows"))
    pays = property(lambda self: self._read("pays"))


@cache
def _spool(_process: int, home: Path) -> Spool:
    """That of this process; a fork would write over what its parent has."""
    return Spool(home)


_spans: dict[tuple[str, bytes], "pd.Index[Any]"] = {}


def _shared(index: "pd.Index[Any]") -> "pd.Index[Any]":
    return _spans.setdefault((str(index.dtype), index.to_numpy().tobytes()), index)


@cache
def _same(question: Question) -> Question:
    return question
