"""Data that turned out to be wrong: all that was made of it, and taking it back so that nothing more is.

What stands in the trail names what it was made of by its hash, so one reading of the trail, oldest first, finds all
that came of it: a thing can only name what was there before. Nothing is removed; what is revoked is refused from then
on, kept models that learned from it forecast no more, and a report that shows it no longer verifies.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mltrainer import blobstore, store
from mltrainer.errors import BadInput, MltrainerError, Unavailable
from mltrainer.evaluation import governance
from mltrainer.operations.explain import LEAST
from mltrainer.operations.retention import ADDRESS
from mltrainer.reports import folder as reports
from mltrainer.trust import audit, gate

OWN = {
    "admit": "content", "derive": "content", "trial": "key", "artifact": "artifact", "forecast": "address",
    "recommendation": "key", "alert": "key",
}  # fmt: skip
"""Kind of entry -> the field that holds its own address; all others in it are what it was made of."""
NAMES = ("kind", "model", "ticker", "target", "as_of", "session")
CONTENT = ("data", "derived data")
TITLES = {"admit": "data", "derive": "derived data", "artifact": "kept model", "report": "report"}


@dataclass(frozen=True)
class Made:
    """One thing that came of the content: its kind, its address or run id, and what it is in words."""

    kind: str
    id: str
    name: str


def trace(what: str, out: str | Path | None = None) -> list[Made]:
    """Everything that was made of content, oldest first; the content itself comes first.

    Parameters
    ----------
    what : hash of admitted content or of the body a provider sent, or how it begins (at least six hex digits).
    out : folder of runs, as for `report`.

    Raises
    ------
    Unavailable
        Nothing that was let in begins so.
    """
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST},64}}", what):
        raise BadInput(f"{what[:80]!r} is no hash; give {LEAST} to 64 hex digits of content, or of the body it came in")
    _, touched = _meant(what)
    found: list[Made] = []
    for kind, said in _told():
        own = str(said.get(OWN[kind], ""))
        if own in touched or touched & _made_of(kind, own, said):
            touched.add(own)
            found.append(Made(TITLES.get(kind, kind), own, _name(said)))
    named = ((run, set(ADDRESS.findall(json.dumps(run.manifest)))) for run in reports.runs(out))
    found += [Made("report", run.id, str(run.path)) for run, addresses in named if touched & addresses]
    return list({(made.kind, made.id): made for made in found}.values())


def revoke(what: str, reason: str, out: str | Path | None = None) -> list[Made]:
    """Take content back with all that was derived of it, retire the models that learned from it; return `trace`.

    The trail is told why. The gate refuses all of it from then on, for every purpose, and `verify` says so of reports.
    """
    if not reason.strip():
        raise BadInput("data is not taken back without a reason; give it in --reason")
    found = trace(what, out)
    _tell(what, found, reason, lifted=False)
    for made in (m for m in found if m.kind == "kept model"):
        if governance.standing(made.id).state != "retired":
            governance.move(made.id, "retired", f"learned from revoked data: {reason}")
    return found


def lift(what: str, reason: str, out: str | Path | None = None) -> list[Made]:
    """Let in again what was revoked as `what`, and what was derived of it; return that.

    What was also made of other content that was taken back stays out, and models that were retired stay so.
    """
    if not reason.strip():
        raise BadInput("data is not let in again without a reason; give it in --reason")
    of, _ = _meant(what)
    found = [m for m in trace(what, out) if of in gate.revocations(m.id)]
    if not found:
        others = {by for m in trace(what, out) for by in gate.revocations(m.id)}
        as_what = f"; what is of it was revoked as {', '.join(by[:12] for by in sorted(others))}" if others else ""
        raise BadInput(f"{of[:12]} is not revoked{as_what}")
    _tell(what, found, reason, lifted=True)
    return found


def _tell(what: str, found: list[Made], reason: str, *, lifted: bool) -> None:
    """Write of the thing that is meant, which may be a body, and of all content made of it, that it is taken back."""
    of, _ = _meant(what)
    contents = dict.fromkeys([of, *(m.id for m in found if m.kind in CONTENT)])
    with store.writing() as connection:
        for content in contents:
            said = {"content": content, "lifted": lifted, "of": of, "reason": reason}
            audit.extend(connection, gate.REVOCATION, said)


def _meant(what: str) -> tuple[str, set[str]]:
    """The whole address that is meant, of content or of the body it came in, and the contents it stands for."""
    found: dict[str, set[str]] = {}  # one body may hold several tickers
    with store.reading() as connection:
        for kind in ("admit", "derive"):
            for said in audit.payloads(connection, kind):
                body = str(said["provenance"].get("body_sha256") or "")
                for address in (str(said["content"]), body):
                    if address.startswith(what):
                        found.setdefault(address, set()).add(str(said["content"]))
    if not found:
        raise Unavailable(f"nothing that was let in begins with {what[:64]}; mltrainer explain names the data of a run")
    if len(found) > 1 and what not in found:
        known = ", ".join(f"{address[:12]}" for address in sorted(found)[:4])
        raise BadInput(f"{len(found)} bodies or contents begin with {what}: {known}; give more of it")
    address = what if what in found else next(iter(found))
    return address, found[address]


def _told() -> Iterator[tuple[str, dict[str, Any]]]:
    """What the trail tells of things that are made of others, oldest first."""
    for row in audit.rows():
        if row["kind"] in OWN:
            yield row["kind"], json.loads(row["payload"])


def _made_of(kind: str, own: str, said: dict[str, Any]) -> set[str]:
    if kind != "artifact":
        return {*ADDRESS.findall(json.dumps(said))} - {own}
    try:
        return {str(json.loads(blobstore.get(own))["state"]["matrix"])}
    except (MltrainerError, ValueError, KeyError):  # a model whose file is lost forecasts nothing
        return set()


def _name(said: dict[str, Any]) -> str:
    origin, names = (said["provenance"], ("source", "name")) if "provenance" in said else (said, NAMES)
    return " ".join(str(origin[k]) for k in names if origin.get(k))
