"""The gate: only content whose origin can be shown is let in, and it is shown again at every use.

Origin is bound to the content hash, in a registry, never to an attribute that somebody can set. Code that runs
in the same process can always forge; what it cannot do is leave the audit trail as if it had not. Content whose entry
lacks there, or says otherwise, is refused like content that was never let in.
"""

import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn, TypeVar

import numpy as np
import pandas as pd
from sqlalchemy import Connection, insert, select

from mltrainer import store
from mltrainer.errors import BadInput, Refused, UnknownName
from mltrainer.settings import settings
from mltrainer.trust import audit
from mltrainer.trust.provenance import SOURCES, Dataset, Provenance, Sealed, canonical, plain

PINS: dict[str, str] = {
    "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd": "bokeh_sampledata/_data/stocks.csv.gz",
    "ee21cac28befb1d0a739a9ceb22184f995394726aa0cfde9a21941d1ac04ac0d": "skfolio/datasets/data/sp500_dataset.csv.gz",
    "894c34431c284f86aa64a467e176e2a3c9b697c857eb9ab35006c2dd55d3fdf2": "skfolio/datasets/data/sp500_index.csv.gz",
    "1e028cbb9c400cc018c816ccc439b33c919387e726c3ed5ca2c05c82746059de": "arch/data/sp500/sp500.csv.gz",
    "b2009535343ebb14e0aa11ed086788d2997a416ffe4f9450eed9a561ae30ac59": "arch/data/nasdaq/nasdaq.csv.gz",
    "410bd07360dc798f7206d681b8347c6150e7fbd8b05fb1ae29bbe2c9985d66ef": "arch/data/vix/vix.csv.gz",
    "81fc912d5967ad23f4b3722a10f76867034405354b8f03f3951ebce31e5bd412": "arch/data/core_cpi/core-cpi.csv.gz",
    "d93c0d3a7a77ef83c3af14e46032bb1d02ae3a512b22ab94159a8ca226fcf708": "statsmodels/datasets/macrodata/macrodata.csv",
    "b647be00e0fd264be9764e317e6b963f35030014ecca2b21b204521716e463ad": "statsmodels/datasets/elnino/elnino.csv",
}
"""The packaged bodies that `sample` and alternative sources may admit: sha256 -> where the package keeps it."""

LIFT = "use another span or source; mltrainer revoke --lift lets it in again"
FETCH = "fetch it with mt.bars(...) or build it with mt.matrix(...)"
HOME_OF_CODE = "use a function that stands in a module of"
REVOCATION = "revocation"  # the kind of entry that takes content back, or lets it in again
NULL, CALIBRATION = "NULL", "calibration"  # the mode of quarantined content, and the one purpose it may serve
HOUSE = Path(__file__).resolve().parents[1]
S = TypeVar("S", bound=Sealed)


class Pieces:
    """A body that comes in pieces: each is hashed and read as it comes, and not kept, so no pinned one comes so.

    Parameters
    ----------
    read : function of this package (or a partial of one) from a piece to what it holds; `parts` has that of all.
    """

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        self.read, self.parts, self._digest = read, list[Any](), sha256()

    def add(self, piece: bytes, *, mark: bytes = b"") -> None:
        """Take the next piece, before which the body has `mark`."""
        self._digest.update(mark)
        self._digest.update(piece)
        self.parts.append(self.read(piece))

    @property
    def sha256(self) -> str:
        """Of all marks and pieces, in order."""
        return self._digest.hexdigest()


def admit(
    source_id: str,
    *,
    name: str,
    kind: str,
    endpoint: str,
    parameters: Mapping[str, Any],
    body: bytes | Pieces,
    parse: Callable[[Any], pd.DataFrame],
    retrieved_at: str | None = None,
    http_status: int | None = None,
    note: str = "",
) -> Dataset:
    """Let in the body a source sent: parse it here, register what it holds, write it to the audit trail.

    Parameters
    ----------
    source_id : id in `SOURCES`; each speaks in its own mode, and `sample` only with a pinned body.
    name, kind, endpoint, parameters, retrieved_at, http_status, note : see `Provenance`.
    body : the bytes exactly as received, or, of a provider, what was read of them piece by piece.
    parse : function of this package (or a partial of one) from the body to the frame.

    Returns
    -------
    Dataset
        With the provenance under which this content was first let in.
    """
    source = SOURCES.get(source_id)
    if source is None:
        raise UnknownName.of("source", source_id, SOURCES)
    what, mode, digest = f"{source_id} content {name!r}", settings().data_mode, _digest(body)
    if source.alternative:
        _allowed(source_id)
        if mode == "replay":
            refuse(
                what, "is no data of mode replay, and modes are never mixed", "use it in another mode", kind="mistake"
            )
    elif not (source.live if mode == "live" else source_id == mode):
        remedy = f"set MLTRAINER_MODE={'live' if source.live else source_id} to use it"
        refuse(what, f"is no data of mode {mode}, and modes are never mixed", remedy, kind="mistake")
    if (source_id == "sample" or source.alternative) and (isinstance(body, Pieces) or digest not in PINS):
        refuse(what, f"has body {digest[:12]}, which is not a pinned packaged file", "install the locked versions")
    if why := revoked(digest):
        refuse(what, f"came in a body that was revoked: {why}", LIFT, kind="mistake")
    for reader in (parse, body.read) if isinstance(body, Pieces) else (parse,):
        if not _ours(reader):
            why = f"would be parsed by {_named(reader)}, which is not of this package"
            refuse(what, why, f"{HOME_OF_CODE} mltrainer.data")
    dataset = Dataset(parse(body), name, kind)
    provenance = Provenance(
        source=source_id,
        name=name,
        kind=kind,
        mode=mode,
        endpoint=endpoint,
        parameters=parameters,
        retrieved_at=retrieved_at,
        http_status=http_status,
        body_sha256=digest,
        content_sha256=dataset.fingerprint(),
        transform=_named(parse),
        terms=source.terms,
        note=note,
    )
    return dataclasses.replace(dataset, provenance=_registered(provenance))


def _digest(body: bytes | Pieces) -> str:
    return body.sha256 if isinstance(body, Pieces) else sha256(body).hexdigest()


def _allowed(sources: str) -> None:
    """Refuse alternative sources, ids joined by "+", that the settings do not name."""
    for name in sources.split("+"):
        if name in SOURCES and SOURCES[name].alternative and name not in settings().alternatives:
            why = "is alternative data and off by default: research here rests on Polygon and FRED"
            refuse(f"the source {name!r}", why, f"set MLTRAINER_ALTERNATIVE={name} to allow it", kind="mistake")


def derive(transform: Callable[..., S], *parents: Sealed, **params: Any) -> S:
    """Make new content from admitted content, by a function of this package; the lineage is kept.

    Parameters
    ----------
    transform : called as `transform(*parents, **params)`, returns a `Dataset`, a `Matrix` ... without provenance.
    parents : at least one, all of one mode; each is verified first.
    params : recorded as text. Code that is not of this package comes in as such a parameter only, whose text names it
        by the hash of its code, and `notes` of the result say so in its provenance and that of all made of it.
    """
    what = f"the transform {_named(transform)}"
    if not _ours(transform):
        refuse(what, "is not of this package, so what it does cannot be shown", f"{HOME_OF_CODE} mltrainer")
    if not parents:
        refuse(what, "has no parents, so the origin of its result cannot be shown", FETCH)
    origins = [verify(parent, f"derive by {_named(transform)}") for parent in parents]
    if len({origin.mode for origin in origins}) > 1:
        refuse(what, f"would mix the modes {_joined(origins, 'mode', ' and ')}", "fetch all of it in one mode")
    out = transform(*parents, **params)
    note = _joined(origins, "note", "; ")
    note = "; ".join(filter(None, [note, *(said for said in getattr(out, "notes", ()) if said not in note)]))
    provenance = Provenance(
        source="+".join(dict.fromkeys(s for origin in origins for s in origin.source.split("+"))),
        name=out.name,
        kind=out.kind,
        mode=origins[0].mode,
        endpoint="derived",
        parameters=params,
        retrieved_at=max((o.retrieved_at for o in origins if o.retrieved_at), default=None),
        content_sha256=out.fingerprint(),
        parents=tuple(origin.content_sha256 for origin in origins),
        transform=_named(transform),
        terms=_joined(origins, "terms", "; "),
        note=note,
    )
    return dataclasses.replace(out, provenance=_registered(provenance))  # type: ignore[type-var]


def quarantine(transform: Callable[..., S], *parents: Sealed, **params: Any) -> S:
    """Make content in which the truth is known, from admitted content; it is admitted for calibration only.

    Its mode is NULL, it is in no registry, and `verify` refuses it for every other purpose.

    Parameters
    ----------
    transform, parents, params : as for `derive`; parents may be quarantined themselves.
    """
    if not _ours(transform):
        refuse(f"the transform {_named(transform)}", "is not of this package", f"{HOME_OF_CODE} mltrainer")
    origins = [verify(parent, CALIBRATION) for parent in parents]
    out = transform(*parents, **params)
    provenance = Provenance(
        source="+".join(dict.fromkeys(origin.source for origin in origins)),
        name=out.name,
        kind=out.kind,
        mode=NULL,
        endpoint="derived",
        parameters=params,
        content_sha256=out.fingerprint(),
        parents=tuple(origin.content_sha256 for origin in origins),
        transform=_named(transform),
        terms="for calibration only: a world made to test the tests, never data",
    )
    return dataclasses.replace(out, provenance=provenance)  # type: ignore[type-var]


def verify(item: object, purpose: str) -> Provenance:
    """Show again that `item` is what was let in, before it is used for `purpose`; else `Refused`.

    Returns
    -------
    Provenance
        The registered one.
    """
    what = _described(item)
    if not isinstance(item, Sealed) or type(item.provenance) is not Provenance:
        refuse(what, "carries no provenance, so its origin cannot be shown", FETCH, purpose=purpose)
    if not _ours(type(item).fingerprint):
        refuse(what, "hashes itself by code that is not of this package", FETCH, purpose=purpose)
    try:
        content, recorded = item.fingerprint(), item.provenance.content_sha256
    except BadInput as error:
        refuse(what, f"holds what no source sends: {error}", FETCH, purpose=purpose)
    if content != recorded:
        why = f"is not what its provenance was given to (content {content[:12]}, recorded {recorded[:12]})"
        refuse(what, why, FETCH, purpose=purpose)
    if item.provenance.mode == NULL:
        if purpose == CALIBRATION:
            return item.provenance
        why = f"is a world made to test the tests (mode {NULL}), admitted for {CALIBRATION} and not for {purpose}"
        refuse(what, why, FETCH, purpose=purpose)
    with store.reading() as connection:
        held, entry, revoked = (
            _held(connection, content),
            _entry(connection, content),
            _revocations(connection, content),
        )
    if held is None:
        refuse(what, f"was never let in (content {content[:12]})", FETCH, purpose=purpose)
    remedy = "run mltrainer audit verify to see what was changed"
    _allowed(item.provenance.source)
    if held != item.provenance.to_json():
        refuse(what, "carries another provenance than the registry holds for it", remedy, purpose=purpose)
    if held != entry:
        refuse(what, "stands in the registry otherwise than in the audit trail", remedy, purpose=purpose)
    if revoked:
        refuse(what, f"was revoked: {'; '.join(revoked.values())}", LIFT, kind="mistake", purpose=purpose)
    return item.provenance


def roots(*items: Sealed) -> list[Provenance]:
    """What providers sent that `items` were made of: registered origins without parents, each once, in order."""
    seen: dict[str, Provenance] = {}
    waiting = [item.provenance.content_sha256 for item in items if item.provenance is not None][::-1]
    with store.reading() as connection:
        while waiting:
            content = waiting.pop()
            held = None if content in seen else _held(connection, content)
            if held is not None:
                seen[content] = Provenance.from_json(held)
                waiting += seen[content].parents[::-1]
    return [origin for origin in seen.values() if not origin.parents]


def refuse(what: str, why: str, remedy: str, *, kind: str = "violation", **details: object) -> NoReturn:
    """Write it to the audit trail and raise `Refused` with one line: what, why, and the next step.

    `kind` is "violation" for what cannot show its origin or was changed, and "mistake" for what a slip of the hand
    explains: a name, an address or a mode that is none. Operators read the first.
    """
    audit.append(kind, what=what, why=why, remedy=remedy, **details)
    raise Refused(f"{what} {why}; {remedy}")


def note_answer(key: str, sha: str, at: str) -> None:
    """Write down that what is kept under `key` may have hash `sha`, as sent at `at`; called before it is kept."""
    with store.writing() as connection:
        store.note_answer(connection, key, sha, at)
        audit.extend(connection, "answer", {"key": key, "sha256": sha, "at": at})


# --- the registry ---------------------------------------------------------------------------------------------


def _held(connection: Connection, content: str) -> str | None:
    columns = store.admitted.c
    return connection.execute(select(columns.provenance).where(columns.content == content)).scalar()


def _entry(connection: Connection, content: str) -> str | None:
    """The provenance that the trail tells of content, in the form in which it is registered."""
    payload = audit.told(connection, "content", content, "admit", "derive")
    return None if payload is None else canonical(payload.get("provenance"))


def origin(content: str) -> Provenance | None:
    """Where content came from, as it is registered; None of content that was never let in here."""
    with store.reading() as connection:
        held = _held(connection, content)
    return None if held is None else Provenance.from_json(held)


def revoked(content: str) -> str:
    """Why content, or all that comes in a body, was taken back; "" of what was not, or was let in again."""
    return "; ".join(revocations(content).values())


def revocations(content: str) -> dict[str, str]:
    """What was taken back of which this was made, by its hash, and why: each is lifted by itself."""
    with store.reading() as connection:
        return _revocations(connection, content)


def _revocations(connection: Connection, content: str) -> dict[str, str]:
    last = {said["of"]: said for said in audit.all_told(connection, "content", content, REVOCATION)}
    return {of: str(said["reason"]) for of, said in last.items() if not said["lifted"]}


def _registered(new: Provenance) -> Provenance:
    """Register content once; content that is already held keeps the provenance of its first time."""
    with store.reading() as connection:
        held, entry = _held(connection, new.content_sha256), _entry(connection, new.content_sha256)
        taken = "; ".join(_revocations(connection, new.content_sha256).values())
    if taken:
        refuse(f"{new.source} content {new.name!r}", f"was revoked: {taken}", LIFT, kind="mistake")
    if held is None or entry is None:
        with store.writing() as connection:
            held = _held(connection, new.content_sha256) or _register(connection, new)
            # Of older versions derived content has no entry; it gets one when it is made again with the same origin.
            if held == new.to_json() and _entry(connection, new.content_sha256) is None:
                kind, provenance = "derive" if new.parents else "admit", dataclasses.asdict(new)
                audit.extend(connection, kind, {"content": new.content_sha256, "provenance": provenance})
    first = Provenance.from_json(held)
    same = ("mode", "content_sha256") if new.parents else ("mode", "content_sha256", "source", "name", "kind")
    if any(getattr(first, key) != getattr(new, key) for key in same):
        why = f"is held as {first.source} content {first.name!r} of mode {first.mode}, and one content has one origin"
        refuse(f"{new.source} content {new.name!r} of mode {new.mode}", why, "set MLTRAINER_HOME to another folder")
    return first


def _register(connection: Connection, new: Provenance) -> str:
    text, at = new.to_json(), datetime.now(UTC).isoformat(timespec="microseconds")
    connection.execute(insert(store.admitted).values(content=new.content_sha256, provenance=text, at=at))
    return text


# --- names and origins of objects -----------------------------------------------------------------------------


def _ours(function: object) -> bool:
    """Whether the code was written in this package; `__module__` could be set by anybody."""
    if isinstance(function, partial):
        values = [*function.args, *function.keywords.values()]
        return _ours(function.func) and not any(callable(value) for value in values)
    return isinstance(function, FunctionType) and Path(function.__code__.co_filename).resolve().is_relative_to(HOUSE)


def _named(function: Any) -> str:
    """The dotted name of a function; the arguments bound to it belong to what it does."""
    if isinstance(function, partial):
        bound = [repr(plain(item)) for item in function.args]
        bound += [f"{key}={plain(item, key)!r}" for key, item in function.keywords.items()]
        return f"{_named(function.func)}({', '.join(bound)})"
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__name__)}"


def _described(item: object) -> str:
    match item:
        case pd.DataFrame() | pd.Series() | np.ndarray():
            return f"{_one(item)} ({' x '.join(f'{n:,}' for n in item.shape)})"
        case str() | Path():
            return f"the {type(item).__name__} {str(item)[:60]!r}"
        case list() | tuple() | dict() | set():
            return f"{_one(item)} ({len(item):,} items)"
        case Sealed():
            return f"the {type(item).__name__} {str(item.name)[:60]!r}"
    return _one(item)


def _one(item: object) -> str:
    name = type(item).__name__
    return f"{'an' if name[0] in 'AEIOaeioun' else 'a'} {name}"


def _joined(origins: list[Provenance], key: str, by: str) -> str:
    return by.join(dict.fromkeys(getattr(origin, key) for origin in origins if getattr(origin, key)))
