"""Which model, which data, which code, who approved? And of two of them: why did it change?"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from mltrainer import blobstore, store
from mltrainer.errors import BadInput, MltrainerError, Unavailable
from mltrainer.evaluation import governance, trials
from mltrainer.operations.retention import purged
from mltrainer.reports import folder as reports
from mltrainer.trust import audit
from mltrainer.trust.provenance import Provenance

LEAST = 6  # characters of an address that are enough, if only one begins so
PRIVATE = ("digest",)  # of the token of a user
FIGURES = ("ic", "sharpe", "r2_oos", "hit_rate", "max_drawdown", "loss", "baseline_loss")


@dataclass(frozen=True)
class Explanation:
    """What is known of one reported thing.

    Attributes
    ----------
    kind : "trial", "model", "run", or the kind of entry that tells of it, such as "alert".
    id : its whole address.
    model, data, code, settings, figures, approved : what decides it, by name; empty where it has none.
    """

    kind: str
    id: str
    model: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    settings: dict[str, Any]
    figures: dict[str, Any]
    approved: list[dict[str, Any]]

    def rows(self) -> list[tuple[str, str, str]]:
        """What is known as (question, name, answer)."""
        parts = ("model", "data", "code", "settings", "figures")
        said = [(part, name, str(value)) for part in parts for name, value in getattr(self, part).items()]
        return said + [("approved", f"{a['at'][:16]} {a['state']}", f"{a['by']}: {a['reason']}") for a in self.approved]


def explain(what: str, out: Any = None) -> Explanation:
    """Say of any reported thing which model, data and code made it, and who approved the model.

    Parameters
    ----------
    what : id of a run or the eight hex digits at its end; address of a trial, of a kept model or of its forecasts'
        data, or key of an alert or position: or its beginning, if nothing else begins so.

    Raises
    ------
    Unavailable
        Nothing that this installation knows of begins so.
    """
    runs = [run for run in reports.runs(out) if what in (run.id, run.short)]
    if not runs and not re.fullmatch(rf"[0-9a-f]{{{LEAST},64}}(#\d+)?", what):
        raise BadInput(f"{what[:80]!r} is no run and no address; give {LEAST} to 64 hex digits of one")
    found = {e.id: e for e in (*map(_run, runs), *_trials(what), *_models(what), *_told(what))}
    if not found:
        raise Unavailable(f"nothing here begins with {what[:64]}; mltrainer leaderboard --json and audit show have ids")
    if len(found) > 1:
        known = ", ".join(f"{e.kind} {e.id[:20]}" for e in list(found.values())[:4])
        raise BadInput(f"{len(found)} things begin with {what}: {known}; give more of it")
    return next(iter(found.values()))


def _run(run: reports.Run) -> Explanation:
    m = run.manifest
    names = sorted({r["model"] for r in m["results"]})
    sources = {s["name"]: f"{s['source']} {s['body_sha256'][:12]}" for s in m["sources"]}
    told = [e for e in audit.entries(kind="report") if e.payload.get("run") == run.id]
    made = [{"at": e.at, "state": "made", "by": e.actor, "reason": f"revision {e.payload['revision']}"} for e in told]
    data = {"mode": run.mode, "as of": run.as_of, "matrices": ", ".join(x[:12] for x in m["matrices"])} | sources
    return Explanation("run", run.id, {"models": len(names)}, data, m["library_versions"], m["parameters"], m["luck"],
                       made)  # fmt: skip


def _trials(start: str) -> Iterator[Explanation]:
    ledger = trials.ledger()
    for row in ledger[ledger["key"].str.startswith(start)].to_dict("records"):
        yield _trial(row)


def _trial(row: dict[Any, Any]) -> Explanation:
    try:
        held = trials.opened(row["key"])
        figures: dict[str, Any] = {name: held.metrics[name] for name in FIGURES if name in held.metrics} if held else {}
    except MltrainerError as error:
        figures = {"result": f"cannot be read: {error}"}
    entry = next((e for e in audit.entries(kind="trial") if e.payload.get("key") == row["key"]), None)
    approved = [_step(s) for s in governance.history() if (s.model, s.ticker) == (row["model"], row["ticker"])]
    model = {"name": row["model"], "family": row["family"], "status": row["status"], "reason": row["reason"]}
    asked = {"ticker": row["ticker"], "horizon": row["horizon"], "target": row["target"],
             "settings": row["settings"] or "defaults", "project": row["project"]}  # fmt: skip
    made = {"ran": f"{entry.at[:19]} UTC by {entry.actor}, entry {entry.seq}"} if entry else {}
    return Explanation("trial", row["key"], model, _data(row["matrix"]), made | _versions(row["key"]), asked, figures,
                       approved)  # fmt: skip


def _versions(key: str) -> dict[str, Any]:
    """Library versions of a run that holds the trial; the ledger itself has them only inside the key."""
    for run in reports.runs():
        if any(r["key"] == key for r in run.manifest["results"]):
            return dict(run.manifest["library_versions"])
    return {"libraries": "hashed into the address; a report of it would name them"}


def _models(start: str) -> Iterator[Explanation]:
    for entry in audit.entries(kind="artifact"):
        artifact = str(entry.payload["artifact"])
        if not artifact.startswith(start):
            continue
        try:
            state = json.loads(blobstore.get(artifact))["state"]
        except MltrainerError as error:
            state = {"libraries": {"file": str(error)}, "matrix": ""}
        model = {"name": entry.payload["model"], "kept": f"{entry.at[:19]} UTC by {entry.actor}, entry {entry.seq}"}
        trained = {name: state.get(name) for name in ("trained_from", "trained_to", "rows", "columns")}
        asked = {name: state.get(name) for name in ("ticker", "horizon", "target", "parameters")}
        steps = [_step(s) for s in governance.history(artifact)]
        yield Explanation("model", artifact, model | trained, _data(state["matrix"]), state["libraries"], asked,
                          {"r2 on what it learned": state.get("r2")}, steps)  # fmt: skip


def _step(s: governance.Standing) -> dict[str, Any]:
    return {"at": s.at, "state": s.state, "by": s.by, "reason": s.reason, "artifact": s.artifact}


def _told(start: str) -> Iterator[Explanation]:
    """Rows of every other kind that the trail tells of: alerts, positions, and whatever else has a key."""
    for kind, name in audit.KEYED.items():
        table = store.SCHEMA.tables[name]
        if kind == "trial":
            continue
        with store.reading() as connection:
            rows = connection.execute(select(table).where(table.c.key.startswith(start))).mappings().all()
        for row in rows:
            said = {**row, **json.loads(row["payload"])}
            model = {k: said[k] for k in ("model", "artifact", "kind", "account") if k in said}
            artifact = str(said.get("artifact", ""))
            steps = [_step(s) for s in governance.history() if artifact and s.artifact == artifact]
            rest = {k: v for k, v in said.items() if k not in {*model, "key", "payload", "matrix", *PRIVATE}}
            yield Explanation(kind, row["key"], model, _data(str(said.get("matrix", ""))), {}, rest, {}, steps)


def _data(content: str) -> dict[str, Any]:
    """What content was made of, up to what providers sent."""
    found: dict[str, Any] = {"content": content} if content else {}
    waiting, seen = [content], set()
    with store.reading() as connection:
        while waiting:
            address = waiting.pop()
            query = select(store.admitted.c.provenance).where(store.admitted.c.content == address)
            held = None if address in seen else connection.execute(query).scalar()
            seen.add(address)
            if held is None:
                continue
            origin = Provenance.from_json(held)
            waiting += origin.parents
            if origin.parents:
                found.setdefault("made by", f"{origin.transform} {json.dumps(dict(origin.parameters), default=str)}")
            else:
                sent = f" of {origin.retrieved_at[:19]}" if origin.retrieved_at else ""
                found[origin.name] = f"{origin.source}{sent}, body {str(origin.body_sha256)[:12]}"
    return found | purged([content])


# --- two of them ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One thing in which two differ: of what kind ("data", "code", "settings" ...), its name, and both values."""

    kind: str
    name: str
    a: Any
    b: Any


def diff(a: str, b: str, out: Any = None) -> tuple[list[Difference], str]:
    """Why two reported things are not the same: every recorded cause that differs, and the sentence it makes.

    Nothing is run again: causes are read off the records. Where none differs and the addresses do, it is what only
    the address holds: libraries, protocol or the code of the package.
    """
    one, other = explain(a, out), explain(b, out)
    if one.kind != other.kind:
        raise BadInput(f"{one.id[:20]} is a {one.kind} and {other.id[:20]} a {other.kind}; compare two of a kind")
    found = [d for part in ("model", "data", "settings", "code", "figures") for d in _differences(part, one, other)]
    causes = sorted({d.kind for d in found if d.kind != "figures"})
    if one.id == other.id:
        return found, "they are one and the same"
    only = "nothing that is recorded differs: libraries, protocol or the package's code do, which the address holds"
    return found, f"what differs is {' and '.join(causes)}" if causes else only


def _differences(part: str, one: Explanation, other: Explanation) -> Iterator[Difference]:
    a, b = getattr(one, part), getattr(other, part)
    for name in dict.fromkeys([*a, *b]):
        if name not in ("ran", "kept") and a.get(name) != b.get(name) and str(a.get(name)) != str(b.get(name)):
            yield Difference(part, name, a.get(name), b.get(name))
