"""A matrix as bytes at the hash of its content: what a run judged is kept once, and its pages open that very data."""

import io
import json
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from mltrainer import blobstore
from mltrainer.errors import StorageError, Tampered
from mltrainer.features.matrix import PARTS, Matrix
from mltrainer.trust import gate
from mltrainer.trust.provenance import Provenance

WORDS = [f.name for f in fields(Matrix) if f.name not in (*PARTS, "provenance", "sources")]


def keep(matrix: Matrix) -> str:
    """Keep a sealed matrix among the blobs, without the sources that it was built from; return its address."""
    gate.verify(matrix, "storage")
    address = blobstore.put(to_bytes(matrix))
    if opened(address).fingerprint() != matrix.fingerprint():
        raise StorageError(f"{matrix.name} could not be kept as it is; report this, with the data it came from")
    return address


def opened(address: str) -> Matrix:
    """Open what `keep` has kept: `Unavailable` if it is not there, `Tampered` or `Refused` if it was changed."""
    matrix = from_bytes(blobstore.get(address))
    gate.verify(matrix, "report")
    return matrix


def to_bytes(matrix: Matrix) -> bytes:
    """The same matrix gives the same bytes."""
    assert matrix.provenance is not None
    levels = [matrix.X.index.get_level_values(i) for i in range(matrix.X.index.nlevels)]
    parts = {name: pd.DataFrame(getattr(matrix, name)) for name in PARTS}
    head = {
        "words": {name: getattr(matrix, name) for name in WORDS},
        "columns": {name: list(map(str, part)) for name, part in parts.items()},
        "levels": matrix.X.index.names,
        "provenance": matrix.provenance.to_json(),
    }
    arrays: dict[str, Any] = {f"part_{name}": part.to_numpy(float) for name, part in parts.items()}
    arrays["session"] = levels[0].to_numpy("datetime64[ns]")
    if len(levels) > 1:
        arrays["ticker"] = levels[1].to_numpy("str")
    packed = io.BytesIO()
    np.savez_compressed(packed, head=np.array(json.dumps(head, sort_keys=True)), **arrays)
    return packed.getvalue()


def from_bytes(body: bytes) -> Matrix:
    """Read what `to_bytes` wrote; the provenance is as it was, for the gate to verify."""
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as packed:
            head = json.loads(str(packed["head"]))
            levels = [pd.DatetimeIndex(packed["session"])]
            levels += [pd.Index(packed["ticker"].astype(object))] if "ticker" in packed.files else []
            arrays = {name: packed[f"part_{name}"] for name in PARTS}
        index = (
            pd.MultiIndex.from_arrays(levels, names=head["levels"])
            if len(levels) > 1
            else levels[0].rename(head["levels"][0])
        )
        parts = {name: pd.DataFrame(arrays[name], index, head["columns"][name]) for name in PARTS}
        words: dict[str, Any] = head["words"] | {"at_close": tuple(head["words"]["at_close"])}
        words |= parts | {name: parts[name].iloc[:, 0].rename(name) for name in ("y", "scale")}
        return Matrix(**words, provenance=Provenance.from_json(head["provenance"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Tampered(f"a kept matrix cannot be read: {type(error).__name__} {error}") from None
