"""The gates that a kept model must pass, who may open them, and the inventory with all sign-offs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.checks.leakcheck import leakcheck
from mltrainer.errors import BadInput, Refused
from mltrainer.evaluation import artifacts, governance, judgments, leaderboard, projects, skill, trials
from mltrainer.evaluation.governance import Standing, standing
from mltrainer.evaluation.record import Evaluation
from mltrainer.features import targets
from mltrainer.models import catalog, spaces
from mltrainer.trust import audit

LEAST_SESSIONS = 250  # of out-of-sample forecasts: a year
NEVER = "it was never evaluated; see mltrainer evaluate"
NOT_ASKED = "not asked: nothing is traded on this target"
SHARE = 0.5  # of the states of the market in which it must not lose


@dataclass(frozen=True)
class Gate:
    """What one gate asks, whether it was passed, and the figure that decided."""

    gate: str
    passed: bool
    found: str


def validate(artifact: str, reason: str = "validation") -> list[Gate]:
    """Ask every gate of a kept model and write down what they found; passing all makes a draft validated.

    The evidence is of the trial of the same model, settings, ticker, horizon and target with the most sessions. It is
    asked in the mode of the data that it was trained on. One that does not pass, or is past being a draft, stays what
    it is, and so it is told.
    """
    name, _, state, _ = artifacts.load(artifact)
    if len(names := state.get("tickers", [])) > 1:
        learned = f"{name} {artifact[:12]} learned from {', '.join(names)} together"
        raise BadInput(f"{learned}, and gates are asked of models of one name; train one of each")
    found = _evidence(name, state)
    gates = [gate(name, state, found) for gate in GATES.values()]
    told = tuple(asdict(g) for g in gates)
    passed = all(g.passed for g in gates)
    if passed and standing(artifact).state == "draft":
        governance.move(artifact, "validated", reason, ticker=state["ticker"], gates=told)
    else:
        said: dict[str, Any] = {"artifact": artifact, "model": name, "ticker": state["ticker"], "reason": reason}
        audit.append("validation", **said, gates=list(told), passed=passed)
    return gates


def _evidence(name: str, state: dict[str, Any]) -> Evaluation | None:
    """The longest finished trial of the same question by the same model, with its settings and the usual protocol."""
    ledger, spec = trials.ledger(), catalog.spec(name)
    if state.get("parameters"):
        spec = spaces.candidate(spec, state["parameters"])
    own = {"model": spec.name, "settings": projects.of_model(spec), "status": "ok", "mode": state["mode"]}
    same = own | {"ticker": state["ticker"], "horizon": state["horizon"], "target": state.get("target", "return")}
    rows = ledger[np.logical_and.reduce([ledger[k] == v for k, v in same.items()])] if len(ledger) else ledger
    return trials.load(str(rows.sort_values("n").iloc[-1]["key"])) if len(rows) else None


def _traded(state: dict[str, Any]) -> bool:
    """Whether anything is traded on what it forecasts, and so can be gained or cost."""
    aim = targets.TARGETS.get(state.get("target", "return"))
    return aim is None or bool(aim.pays)


def _leaks(name: str, state: dict[str, Any], found: Evaluation | None) -> Gate:
    checked = leakcheck(models=[name], jobs=1, progress=False)
    return Gate("leakcheck", checked.holds, repr(checked))


def _sessions(name: str, state: dict[str, Any], found: Evaluation | None) -> Gate:
    n = len(found.forecasts) if found is not None else 0
    return Gate("evidence", n >= LEAST_SESSIONS, f"{n} sessions out of sample, at least {LEAST_SESSIONS} are asked")


def _skill(name: str, state: dict[str, Any], found: Evaluation | None) -> Gate:
    if found is None:
        return Gate("skill", False, NEVER)
    board = leaderboard.leaderboard([found], judgments.judgment([found])).rows
    verdict = str(board.iloc[0]["verdict"])
    return Gate("skill", bool(skill.shows(verdict)), verdict)


def _stable(name: str, state: dict[str, Any], found: Evaluation | None) -> Gate:
    """Net return by thirds of the volatility known the day before: calm, usual, stormy."""
    if found is None:
        return Gate("stability by regime", False, NEVER)
    if not _traded(state):
        return Gate("stability by regime", True, NOT_ASKED)
    f = found.forecasts
    third = pd.Series(np.digitize(f["scale"], f["scale"].quantile([1 / 3, 2 / 3])), f.index)
    means = f["net"].groupby(third).mean()
    said = ", ".join(f"{('calm', 'usual', 'stormy')[int(k)]} {v * 1e4:+.1f} bp" for k, v in means.items())  # type: ignore[call-overload]
    return Gate("stability by regime", bool((means > 0).mean() > SHARE), f"net return a session: {said}")


def _net(name: str, state: dict[str, Any], found: Evaluation | None) -> Gate:
    if found is None:
        return Gate("net of cost", False, NEVER)
    if not _traded(state):
        return Gate("net of cost", True, NOT_ASKED)
    sharpe = found.metrics["sharpe"]
    return Gate("net of cost", bool(sharpe > 0), f"Sharpe {sharpe:.2f} net of costs")


def _card(name: str, state: dict[str, Any], found: Evaluation | None) -> Gate:
    card = catalog.spec(name).card
    said = {"formula": card.method.formula, "assumes": card.method.assumes, "reference": card.method.reference,
            "settings": card.parameters, "trained": state.get("trained_to"), "data": state.get("matrix"),
            "libraries": state.get("libraries")}  # fmt: skip
    lacks = [what for what, words in said.items() if not words]
    return Gate("card complete", not lacks, f"lacks {', '.join(lacks)}" if lacks else f"{len(said)} parts, none empty")


GATES: dict[str, Callable[[str, dict[str, Any], Evaluation | None], Gate]] = {
    "leakcheck": _leaks,
    "evidence": _sessions,
    "skill": _skill,
    "stability by regime": _stable,
    "net of cost": _net,
    "card complete": _card,
}
"""What is asked of every model; the last gate, that its approver did not train it, is asked at the approval."""


def approve(artifact: str, reason: str, *, champion: bool = False) -> Standing:
    """Sign for a validated model beside the champion, or as champion; by somebody who did not train it.

    It also ends a restriction.

    Raises
    ------
    Refused
        Whoever kept the model approves it; the trail is told. On one machine, users are those of the system: who can
        be several of them is not held back.
    """
    steps, who = governance.history(artifact), audit.actor()
    if who in governance.keepers(artifact):
        audit.append(
            "violation", what=f"the approval of {artifact[:12]}", why=f"{who} trained it", remedy="ask another"
        )
        raise Refused(f"{who} trained this {steps[0].model}, and nobody approves what is his own; ask somebody else")
    if not any(s.state == "validated" for s in steps):
        raise BadInput(f"{steps[0].model} {artifact[:12]} is {steps[-1].state}; mltrainer governance validate first")
    governance.move(artifact, "champion" if champion else "challenger", reason)
    return standing(artifact)


def fallback(artifact: str, reason: str) -> Standing:
    """Retire a model that failed, and make the challenger that was approved first its champion.

    Returns
    -------
    Standing
        Of the new champion; of the retired model where no challenger answers the same question: then the plain
        forecast is what `mt.forecast` gives.
    """
    of = governance.question(artifact)
    ticker = of[0] or standing(artifact).ticker
    governance.move(artifact, "retired", reason, ticker=ticker)
    waiting = [s for s in governance.present() if s.state == "challenger" and s.ticker == ticker]
    same = [s for s in waiting if of == governance.LOST or governance.question(s.artifact) == of]
    if not same:
        return standing(artifact)
    first = min(same, key=lambda s: s.at)
    governance.move(first.artifact, "champion", f"fallback for {artifact[:12]}: {reason}")
    return standing(first.artifact)


def inventory() -> pd.DataFrame:
    """Every kept model: artifact, model, ticker, state, since, by, reason, trained_by, approved_by."""
    steps = governance.history()
    rows = []
    for now in map(asdict, governance.present()):
        own = [s for s in steps if s.artifact == now["artifact"]]
        signed = [s.by for s in own if s.state in ("challenger", "champion")]
        same = {name: now[name] for name in ("artifact", "model", "ticker", "state", "by", "reason")}
        approved = {"trained_by": own[0].by, "approved_by": signed[-1] if signed else ""}
        rows.append(same | {"since": now["at"][:19]} | approved)
    return pd.DataFrame(rows, columns="artifact model ticker state since by reason trained_by approved_by".split())
