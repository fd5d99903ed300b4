"""A kept model's standing: which states it went through, who let it in and when, and what it may still do.

A state is an entry of the audit trail, which nobody can take back; the present one is the last. Validating writes down
what each gate found. Who trained a model may not approve it, and none is approved before its gates were passed.
"""

from dataclasses import dataclass
from typing import Any

from mltrainer import store
from mltrainer.errors import BadInput, Refused
from mltrainer.trust import audit

KIND = "governance"
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "draft": ("trained and kept, nothing more is known of it", ("validated", "retired")),
    "validated": ("it passed its gates", ("validated", "challenger", "champion", "draft", "retired")),
    "challenger": ("forecasts beside the champion", ("champion", "validated", "restricted", "retired")),
    "champion": ("the one whose forecasts are used", ("challenger", "validated", "restricted", "retired")),
    "restricted": ("may be used only as the reason says", ("validated", "retired")),
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
            ticker = str(said.get("ticker", ""))
            seen.setdefault(said["artifact"], Standing(said["artifact"], said["model"], ticker, "draft", entry.actor,
                                                       entry.at))  # fmt: skip
    steps = list(seen.values())
    for entry in audit.entries(kind=KIND):
        said = entry.payload
        if said["artifact"] in seen:
            gates = tuple(said.get("gates", ()))
            steps.append(Standing(said["artifact"], said["model"], said["ticker"], said["state"], entry.actor, entry.at,
                                  said["reason"], gates))  # fmt: skip
    return steps


def standing(artifact: str) -> Standing:
    """The present state of a kept model."""
    return history(artifact)[-1]


def move(artifact: str, state: str, reason: str, *, ticker: str = "", gates: tuple[dict[str, Any], ...] = ()) -> None:
    """Put a kept model into a state; `BadInput` if that does not follow from the present one, or lacks a reason.

    A new champion of a ticker makes the one before a challenger, in the same transaction.
    """
    now = standing(artifact)
    if state not in STATES[now.state][1]:
        may = ", ".join(STATES[now.state][1]) or "nothing: train it again"
        raise BadInput(f"{now.model} is {now.state} and cannot become {state}; what may follow is {may}")
    if not reason.strip():
        raise BadInput("a step is never taken back; give the reason in --reason")
    said = {"artifact": artifact, "model": now.model, "ticker": ticker or now.ticker, "state": state, "reason": reason}
    demoted = [s for s in present() if s.state == "champion" and s.ticker == said["ticker"] and s.artifact != artifact]
    with store.writing() as connection:
        for other in demoted if state == "champion" else ():
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
