"""Rows of an answer as columns, where all of them hold the same names and plain numbers.

A page of bars is four hundred thousand numbers, and to make an object of Python of each costs more than all else that
is done with them. What is not exactly of this form, whitespace and exponents included, is left to `transport.parsed`,
and both say the same of the same body.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mltrainer.data.providers import transport

OPEN = b'"results":['
FIGURES = b"0123456789."
ROW = re.compile(rb'\{"[A-Za-z_]+":[0-9.]+(?:,"[A-Za-z_]+":[0-9.]+)*\}')
LINES = bytes.maketrans(b",", b"\n")
OTHERS = bytes(set(range(256)) - set(FIGURES) - set(b","))
EXACT = 2.0**53  # from here on a float does not hold every whole number


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows that were sent, as one (n,) array of floats per name."""

    by_name: dict[str, npt.NDArray[np.float64]]

    def __len__(self) -> int:
        return len(next(iter(self.by_name.values())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Columns) or self.by_name.keys() != other.by_name.keys():
            return False
        return all(np.array_equal(values, other.by_name[name]) for name, values in self.by_name.items())

    __hash__ = None  # type: ignore[assignment]


def parsed(body: bytes) -> Any:
    """The document in a body as `transport.parsed` reads it, its `results` as `Columns` where they have the form."""
    start = body.find(OPEN) + len(OPEN)
    end = body.find(b"]", start) if start >= len(OPEN) else -1
    rows = _columns(body[start:end]) if end > start else None
    if rows is None:
        return transport.parsed(body)
    rest = body[:start] + body[end:]
    document = transport.parsed(rest)
    # the rows must be those of the document itself, and none of an object within it
    if rest.count(OPEN) != 1 or not isinstance(document, dict) or document.get("results") != []:
        return transport.parsed(body)
    return document | {"results": rows}


def _columns(block: bytes) -> Columns | None:
    """Columns of what stands between the brackets; None where it is not of the form."""
    first = ROW.match(block)
    if first is None:
        return None
    row = first[0].translate(None, FIGURES) + b","
    # Without figures and points all rows must be the first again: no other name, string, null, sign or space is there.
    skeleton = block.translate(None, FIGURES) + b","
    names = [name.decode() for name in re.findall(rb'"(\w+)"', row)]
    count, left = divmod(len(skeleton), len(row))
    if left or skeleton != row * count or len(set(names)) < len(names):
        return None
    values = _numbers(block.translate(LINES, OTHERS) + b"\n")
    if values is None:
        return None
    table = values.reshape(count, len(names)).T.copy()
    return Columns(dict(zip(names, table, strict=True)))


def _numbers(lines: bytes) -> npt.NDArray[np.float64] | None:
    """One number a line, rounded as Python does; None where one is not as JSON has it, or loses digits as a float."""
    figures = np.frombuffer(lines, np.uint8)
    end = np.flatnonzero(figures == ord("\n"))
    start = np.concatenate([[0], end[:-1] + 1])
    first, last = figures[start], figures[end - 1]
    if (first < ord("0")).any() or (last < ord("0")).any():  # empty, or a point without a figure before or after it
        return None
    if (figures[start[first == ord("0")] + 1] >= ord("0")).any():  # 007
        return None
    try:
        read = pd.read_csv(io.BytesIO(lines), header=None, dtype=float, na_filter=False, skip_blank_lines=False)
    except ValueError:  # a number with two points
        return None
    values = read[0].to_numpy()
    return values if (values < EXACT).all() else None
