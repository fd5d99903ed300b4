"""Where a number came from: sources, the provenance of a frame, and the fingerprint that binds the two."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput, NotEnoughHistory, Tampered

if TYPE_CHECKING:
    from hashlib import _Hash

Day = str | date | pd.Timestamp | None


@dataclass(frozen=True)
class Source:
    """An authorised origin of data; `live` says that a recommendation about today may rest on it.

    An `alternative` one is refused unless MLTRAINER_ALTERNATIVE names it; `rights` says what may be done with it.
    """

    id: str
    name: str
    terms: str
    notice: str
    live: bool
    alternative: bool = False
    rights: str = ""


FRED_NOTICE = (
    "This product uses the FRED® API but is not endorsed or certified by the Federal Reserve Bank of St. Louis."
)

SOURCES: dict[str, Source] = {
    source.id: source
    for source in (
        Source(
            id="sample",
            name="real history packaged with installed libraries",
            terms="packaged real historical data, research only, never for live recommendations",
            notice="SAMPLE: real historical data, not Polygon/FRED, not for trading.",
            live=False,
        ),
        Source(
            id="polygon",
            name="Polygon (Massive)",
            terms="by the subscriber's market data agreement; not for redistribution",
            notice="Market data by Polygon (Massive).",
            live=True,
        ),
        Source(
            id="fred",
            name="FRED, Federal Reserve Bank of St. Louis",
            terms="FRED API terms of use; some series belong to third parties; not written to disk unless asked for",
            notice=FRED_NOTICE,
            live=True,
        ),
        Source(
            id="replay",
            name="recorded answers served on this machine",
            terms="tests only, never for research or recommendations",
            notice="TEST: replayed answers, not market data.",
            live=False,
        ),
        Source(
            id="elnino",
            name="NOAA sea surface temperature, packaged with statsmodels",
            terms="public domain; research only, never for live recommendations",
            notice="ALTERNATIVE: sea surface temperature of NOAA, beside the market data; allowed by its switch.",
            live=False,
            alternative=True,
            rights="free to use, keep and pass on",
        ),
    )
}


def notices(notes: Iterable[str]) -> list[str]:
    """What must be said wherever data with these notes shows: what providers want, and each alternative source."""
    given, asked = list(notes), [FRED_NOTICE, *(s.notice for s in SOURCES.values() if s.alternative)]
    return [notice for notice in asked if any(notice in note for note in given)]


# --- text that means one thing --------------------------------------------------------------------------------

_SECRET = re.compile(r"api[-_ ]?key|token|authorization|secret|password", re.IGNORECASE)
_SECRET_IN_URL = re.compile(rf"([?&][^=&#]*(?:{_SECRET.pattern})[^=&#]*=)[^&#]*", re.IGNORECASE)


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces and ASCII only: equal values have equal bytes. NaN is `BadInput`.

    >>> canonical({"b": 1, "a": [None, "x"]})
    '{"a":[null,"x"],"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"no canonical JSON can be written: {error}") from None


def plain(value: object, name: str = "") -> Any:
    """The same value made of what JSON knows; what stands under a name that looks like a key becomes `***`.

    >>> plain({"apiKey": "abc", "n": [1, float("nan")], "to": date(2020, 1, 2)})
    {'apiKey': '***', 'n': [1, 'nan'], 'to': '2020-01-02'}
    """
    if _SECRET.search(name):
        return "***"
    if isinstance(value, Mapping):
        return {str(key): plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _SECRET_IN_URL.sub(r"\1***", str(value))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of one frame, or of what was made of several.

    Parameters
    ----------
    source : id in `SOURCES`, or ids joined by "+" for derived content.
    name, kind : what it is, "AAPL" and "bars".
    mode : "live", "sample" or "replay".
    endpoint, parameters : what was asked for; keys are replaced by `***` on entry.
    retrieved_at : UTC, ISO 8601; None for packaged history.
    body_sha256 : of the bytes received; None for derived content.
    content_sha256 : fingerprint of the content itself.
    transform : the function that made the content, of the body or of the parents, with what was bound to it.
    parents : content hashes of what it was derived from; empty for what a source sent.
    """

    source: str
    name: str
    kind: str
    mode: str
    endpoint: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    retrieved_at: str | None = None
    http_status: int | None = None
    body_sha256: str | None = None
    content_sha256: str
    parents: tuple[str, ...] = ()
    transform: str | None = None
    terms: str
    note: str = ""

    def __post_init__(self) -> None:
        shown = {key: str(item) for key, item in plain(self.parameters).items()}
        object.__setattr__(self, "parameters", shown)
        object.__setattr__(self, "endpoint", plain(self.endpoint))

    def to_json(self) -> str:
        """Canonical JSON, the form in which it is registered."""
        return canonical(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Provenance":
        """Read it back; anything else is `Tampered`."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "parents": tuple(fields["parents"])})
        except (TypeError, ValueError, KeyError, AttributeError):
            raise Tampered(f"no provenance can be read from {text[:60]!r}; run mltrainer audit verify") from None


# --- the fingerprint ------------------------------------------------------------------------------------------


def fingerprint(*parts: object) -> str:
    """Sha256 over values, frames and nested containers of them, equal exactly when they are equal.

    Every part is written with its type and its length, so no two inputs share bytes by concatenation. NaN equals
    NaN, -0.0 equals 0.0, a list equals a tuple. The unit in which a time is stored does not matter, its zone does;
    columns and rows count in their order, the entries of a dict do not.

    >>> fingerprint("ab", "c") == fingerprint("a", "bc")
    False
    """
    digest = sha256()
    _feed(digest, parts)
    return digest.hexdigest()


def _put(digest: "_Hash", tag: str, data: bytes = b"") -> None:
    digest.update(f"{tag}:{len(data)}:".encode())
    digest.update(data)


def _feed(digest: "_Hash", part: object) -> None:
    match part:
        case _ if part is None or part is pd.NaT or part is pd.NA:  # == would answer NA
            _put(digest, "none")
        case bool() | np.bool_():
            _put(digest, "bool", bytes([bool(part)]))
        case int() | np.integer():
            _put(digest, "int", str(int(part)).encode())
        case float() | np.floating():
            _put(digest, "float", _floats(np.array([part])))
        case str():
            _put(digest, "str", part.encode("utf-8", "surrogatepass"))
        case bytes():
            _put(digest, "bytes", part)
        case date() | pd.Timedelta() | pd.Period():  # datetime and Timestamp are dates
            _put(digest, type(part).__name__, str(part).encode())
        case tuple() | list():
            _feed_all(digest, "tuple", part)
        case dict():
            _feed_all(digest, "dict", sorted((fingerprint(key), fingerprint(item)) for key, item in part.items()))
        case np.ndarray():
            _feed_all(digest, "array", [part.shape, *_cells(part.ravel())])
        case pd.MultiIndex():  # by the cell a panel would take seconds: each level is its values and where they stand
            levels = [part.get_level_values(i).factorize() for i in range(part.nlevels)]
            _feed_all(digest, "levels", [list(part.names), *levels])
        case pd.Index():
            _feed_all(digest, "index", [list(part.names), *_cells(part)])
        case pd.Series():
            _feed_all(digest, "series", [part.name, part.index, *_cells(part)])
        case pd.DataFrame():
            columns = (item for i in range(part.shape[1]) for item in _cells(part.iloc[:, i]))
            _feed_all(digest, "frame", [part.shape, part.columns, part.index, *columns])
        case _:
            raise BadInput(f"values of type {type(part).__name__} have no fingerprint; pass numbers, text or frames")


def _feed_all(digest: "_Hash", tag: str, items: Iterable[object]) -> None:
    items = list(items)
    _put(digest, tag, str(len(items)).encode())
    for item in items:
        _feed(digest, item)


def _cells(values: Any) -> tuple[str, object]:
    """The type of a one-dimensional array and its cells as bytes, or as a list where they are objects."""
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        times = pd.DatetimeIndex(values)
        try:
            times = times.as_unit("ns")
        except pd.errors.OutOfBoundsDatetime:  # 9999-12-31, the end of time at FRED, is too far for nanoseconds
            times = times.as_unit("us")
        return f"time {times.tz} {times.unit}", times.asi8.astype("<i8").tobytes()
    if isinstance(values.dtype, np.dtype) and values.dtype.kind == "f":
        return str(values.dtype), _floats(np.asarray(values))
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "iub":
        return str(values.dtype), np.asarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
    text = values.dtype == object or isinstance(values.dtype, pd.StringDtype)  # text has several types, all mean text
    return "objects" if text else str(values.dtype), list(values)


def _floats(values: np.ndarray) -> bytes:
    cells = values.astype("<f8") + 0.0  # -0.0 becomes 0.0
    cells[np.isnan(cells)] = np.nan  # one of the many bit patterns of NaN
    return cells.tobytes()


# --- what carries it ------------------------------------------------------------------------------------------


@runtime_checkable
class Sealed(Protocol):
    """Content that can show its origin: a `Dataset`, a `Matrix`."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def provenance(self) -> Provenance | None: ...

    def fingerprint(self) -> str:
        """Sha256 of everything in it but the provenance."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One frame of bars or of macro observations, and where it came from.

    Parameters
    ----------
    frame : bars by "session" (float columns of open, high, low, close, volume), or observations by "period".
    name : ticker or series id.
    kind : "bars" or "macro".
    provenance : given by the gate; None means that no origin can be shown, and nothing will train on it.
    """

    frame: pd.DataFrame
    name: str
    kind: str
    provenance: Provenance | None = None

    def fingerprint(self) -> str:
        """Sha256 of name, kind and frame."""
        return fingerprint(self.kind, self.name, self.frame)

    def window(self, start: Day = None, end: Day = None) -> "Dataset":
        """The rows from `start` to `end`, both inclusive, with their lineage."""
        from mltrainer.trust import gate  # the gate stands above this module

        return gate.derive(cut, self, start=start, end=end)

    def __repr__(self) -> str:
        rows, columns = self.frame.shape
        span = f", {self.frame.index[0]:%Y-%m-%d}..{self.frame.index[-1]:%Y-%m-%d}" if rows else ""
        origin = f"{self.provenance.source}, {self.provenance.mode}" if self.provenance else "no provenance"
        return f"<Dataset {self.name} {self.kind}, {rows:,} x {columns}{span}, {origin}>"


def cut(dataset: Dataset, *, start: Day = None, end: Day = None) -> Dataset:
    """The transform behind `Dataset.window`: the rows alone, not yet sealed."""
    try:
        first, last = (None if day is None else pd.Timestamp(day) for day in (start, end))
        frame = dataset.frame.loc[first:last]
    except (TypeError, ValueError) as error:
        raise BadInput(f"no window of {dataset.name} runs from {start!r} to {end!r}: {error}") from None
    if frame.empty:
        raise NotEnoughHistory(f"{dataset.name} has no row from {start or 'its start'} to {end or 'its end'}; widen it")
    return Dataset(frame, dataset.name, dataset.kind)
