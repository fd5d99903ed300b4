"""A kept model's standing: which states it went through, who let it in and when, and what it may still do.

A state is an entry of the audit trail, which nobody can take back; the present one is the last. Validating writes down
what each gate found. Who trained a model may not approve it, and none is approved before its gates were passed.
Only a retired model is kept from forecasting: of a draft or a restricted one the state is told, and the reader decides.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from mltrainer import blobstore, store
from mltrainer.errors import BadInput, MltrainerError, Refused
from mltrainer.plain import cleaned
from mltrainer.trust import audit

KIND = "governance"
LOST = ("", None, None)
AGAIN = ("challenger", "champion")
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "draft": (
        "trained and kept; it forecasts, and nothing is known of its worth",
        ("validated", "retired"),
    ),
    "validated": ("it passed its gates", ("validated", "challenger", "champion", "draft", "retired")),
    "challenger": ("forecasts beside the champion", ("champion", "validated", "restricted", "retired")),
    "champion": ("the one whose forecasts are used", ("challenger", "validated", "restricted", "retired")),
    "restricted": ("forecasts, to be used only as the reason says", (*AGAIN, "validated", "retired")),
    "retired": ("forecasts no more; its file can be read", ()),
}
"""State -> what it means, and which may follow."""


@dataclass(frozen=True)
class Standing:
    """One step in the life of a kept model: who put it in which state, when (UTC), and why."""

    artifact: str
    model: str
    ticker: str
    state: str
    by: str
    at: str
    reason: str = ""
    gates: tuple[dict[str, Any], ...] = ()


def history(artifact: str | None = None) -> list[Standing]:
    """Every step of one kept model, or of all, oldest first; keeping it made it a draft."""
    with store.reading() as connection:
        born = [audit.told(connection, "artifact", artifact, "artifact")] if artifact else []
    if artifact and born == [None]:
        raise BadInput(f"{artifact[:64]!r} is no address of a kept model; mltrainer governance list shows them")
    seen: dict[str, Standing] = {}
    for entry in audit.entries(kind="artifact"):
        said = entry.payload
        if artifact in (None, said["artifact"]):
            ticker = str(said.get("ticker") or question(said["artifact"])[0])
            seen.setdefault(said["artifact"], Standing(said["artifact"], said["model"], ticker, "draft", entry.actor,
                                                       entry.at))  # fmt: skip
    steps = list(seen.values())
    for entry in audit.entries(kind=KIND):
        said = entry.payload
        if said["artifact"] in seen:
            gates = tuple(said.get("gates", ()))
            steps.append(Standing(said["artifact"], said["model"], said["ticker"] or seen[said["artifact"]].ticker,
                                  said["state"], entry.actor, entry.at,
                                  said["reason"], gates))  # fmt: skip
    return steps


def address(start: str) -> str:
    """The whole address of the one kept model whose address begins with these six hex digits or more.

    Anything else comes back as it is: whoever opens it says what is wrong with it.
    """
    if not re.fullmatch(r"[0-9a-f]{6,63}", start):
        return start
    kept = {entry.payload["artifact"] for entry in audit.entries(kind="artifact")}
    found = sorted(whole for whole in kept if whole.startswith(start))
    if len(found) != 1:
        many = f"{len(found)} kept models begin" if found else "no kept model begins"
        raise BadInput(f"{many} with {start}; mltrainer governance list shows them")
    return found[0]


def standing(artifact: str) -> Standing:
    """The present state of a kept model; "" is none."""
    return history(artifact or "none")[-1]


Question = tuple[str, int | None, str | None]


def question(artifact: str) -> Question:
    """What a kept model forecasts: ticker, horizon and target, as its file has it; ("", None, None) of one lost."""
    try:
        state = json.loads(blobstore.get(artifact))["state"]
        return state["ticker"], state["horizon"], state.get("target", "return")
    except (MltrainerError, ValueError, KeyError):
        return "", None, None


def keepers(artifact: str) -> set[str]:
    """Everybody who trained and kept it: the same training by another has the same address."""
    return {entry.actor for entry in audit.entries(kind="artifact") if entry.payload["artifact"] == artifact}


def _rivals(artifact: str, ticker: str) -> list[Standing]:
    """Champions of the same ticker, horizon and target; one whose file is lost makes way to any of its ticker."""
    asked = question(artifact)
    others = [s for s in present() if s.state == "champion" and s.artifact != artifact and s.ticker == ticker]
    return [s for s in others if None in asked or question(s.artifact) in (asked, LOST)]


def move(artifact: str, state: str, reason: str, *, ticker: str = "", gates: tuple[dict[str, Any], ...] = ()) -> None:
    """Put a kept model into a state; `BadInput` if that does not follow from the present one, or lacks a reason.

    A new champion of a ticker, horizon and target makes the one before a challenger, in the same transaction.
    """
    reason = cleaned(reason)
    if not reason.strip():
        raise BadInput("a step is never taken back; give the reason in --reason")
    with store.writing() as connection:  # what is read here stays so until the step is written
        now = standing(artifact)
        if state not in STATES[now.state][1]:
            may = ", ".join(STATES[now.state][1]) or "nothing: train it again"
            raise BadInput(f"{now.model} is {now.state} and cannot become {state}; what may follow is {may}")
        of = ticker or now.ticker
        said = {"artifact": artifact, "model": now.model, "ticker": of, "state": state, "reason": reason}
        for other in _rivals(artifact, of) if state == "champion" else ():
            step = {"artifact": other.artifact, "model": other.model, "ticker": other.ticker, "state": "challenger"}
            audit.extend(connection, KIND, step | {"reason": f"{now.model} {artifact[:12]} became champion"})
        audit.extend(connection, KIND, said | ({"gates": list(gates)} if gates else {}))


def present() -> list[Standing]:
    """The present standing of every kept model: the inventory."""
    return list({s.artifact: s for s in history()}.values())


def allowed(artifact: str) -> Standing:
    """The standing of a model that may forecast; `Refused` of a retired one."""
    now = standing(artifact)
    if now.state == "retired":
        why = f"was retired {now.at[:10]} by {now.by} ({now.reason})"
        raise Refused(f"{now.model} {artifact[:12]} {why}, so it forecasts no more; its file can still be read")
    return now
