"""Commands that keep an installation alive: backup and restore, what may go, and what is damaged."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import Artifact, Json, Out, app, complain, document, findings, say, table
from mltrainer.errors import BadInput

Sealed = Annotated[
    bool, typer.Option("--passphrase", help="ask for a passphrase; default MLTRAINER_PASSPHRASE, else none")
]


def _passphrase(asked: bool, *, twice: bool) -> str | None:
    """The passphrase, typed or from the environment: as an argument every user of the machine would see it."""
    from mltrainer.settings import settings

    known = settings().passphrase
    if asked and not known:
        try:
            return str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=twice, err=True))
        except typer.Abort:
            raise BadInput("no passphrase was typed; without a terminal set MLTRAINER_PASSPHRASE") from None
    return known.get_secret_value() if known else None


@app.command()
def backup(file: Path, passphrase: Sealed = False, json_: Json = False) -> int:
    """Write all rows, models, results and kept answers to one file, while others go on working."""
    from mltrainer import vault
    from mltrainer.operations import backup as backups

    held = backups.backup(file, passphrase=_passphrase(passphrase, twice=True))
    if vault.active_key() and not _passphrase(False, twice=False) and not passphrase:
        complain("results are in clear in this backup though they are encrypted here; --passphrase seals it")
    for sha in held.damaged:
        complain(f"blob {sha[:12]} is damaged and not in the backup; see mltrainer scrub")
    told = {"file": file, "made": held.made, "head": held.head, "tables": held.tables, "damaged": held.damaged}
    say(document(told | {"members": len(held.members)}) if json_ else f"{held!r}\n{file}")
    return 1 if held.damaged else 0


@app.command()
def restore(
    file: Path,
    passphrase: Sealed = False,
    replace: Annotated[bool, typer.Option("--replace", help="move a home that is not empty aside")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="only read the file to its end and say whether it holds")
    ] = False,
    json_: Json = False,
) -> int:
    """Lay down a backup as the state of this installation, and verify its trail; exit 1 if something does not hold."""
    from mltrainer.operations import backup as backups

    if check and replace:
        raise BadInput("--check restores nothing, so there is nothing to replace; give one of the two")
    word = _passphrase(passphrase, twice=False)
    if check:
        held, found = backups.check(file, passphrase=word)
        holds = repr(held)
    else:
        done = backups.restore(file, passphrase=word, replace=replace)
        found, kept = done.findings, f"; what was there is in {done.kept}" if done.kept else ""
        holds = f"{done.held!r} is now in {done.home}{kept}"
    say(document({"holds": not found, "findings": found, "said": holds}) if json_ else "\n".join([holds, *found]))
    return 1 if found else 0


Yes = Annotated[bool, typer.Option("--yes", help="really do it; without, it is only shown")]


@app.command()
def prune(
    days: Annotated[float, typer.Option(min=0, help="only what has lain still for so long")] = 30.0,
    source: Annotated[str | None, typer.Option(help="instead the bytes of this source: polygon, fred ...")] = None,
    reason: Annotated[str, typer.Option(help="why the bytes of a source go; it stays in the trail")] = "",
    out: Out = None,
    yes: Yes = False,
    json_: Json = False,
) -> None:
    """Show what nothing refers to, and with --yes remove it; rows, and all that they name, always stay."""
    from mltrainer.operations import retention

    if source is not None:
        gone = retention.purge(source, reason, out) if yes else retention.of_source(source, out)
        words = f"{len(gone.blobs)} kept matrices and {len(gone.answers)} answers of {source}"
        pages = f"; pages of {', '.join(gone.runs)} show figures of it and stay" if gone.runs else ""
        say(document(gone) if json_ else f"{words} {'removed' if yes else 'would go; --yes removes them'}{pages}")
        return
    found = retention.prune(days, out) if yes else retention.waste(days, out)
    if json_:
        say(document({"removed": yes, "rows": found}))
        return
    if found:
        say(table(["what", "name", "kB", "days"],
                  [(w.kind, w.name[:80], f"{w.size / 1e3:,.0f}", f"{w.days:.0f}") for w in found]))  # fmt: skip
    size = f"{len(found)} things, {sum(w.size for w in found) / 1e6:.1f} MB"
    say(f"{size} {'removed' if yes else 'that nothing refers to; --yes removes them' if found else 'to remove'}")


@app.command()
def scrub(out: Out = None, yes: Yes = False, json_: Json = False) -> int:
    """Hash every file again and name what is damaged; --yes moves it aside with its reason. Exit 1 if anything is."""
    from mltrainer.operations.scrub import scrub as check

    return findings(list(map(str, check(out, quarantine=yes))), json_, "every file is what was written")


governance_app = typer.Typer(help="Kept models: their states, gates and sign-offs.", no_args_is_help=True)
app.add_typer(governance_app, name="governance")
Reason = Annotated[str, typer.Option(help="why; it stays in the trail")]


@governance_app.command("list")
def governance_list(json_: Json = False) -> None:
    """List every kept model with its state, who trained it and who approved it."""
    from mltrainer.operations import lifecycle

    rows = lifecycle.inventory()
    if json_:
        say(document(rows.to_dict("records")))
        return
    shown = rows.assign(artifact=rows["artifact"].str[:12])
    say(table(map(str, shown.columns), shown.itertuples(index=False)) if len(rows) else "no model was kept yet")


@governance_app.command("validate")
def governance_validate(artifact: Artifact, reason: Reason = "validation", json_: Json = False) -> int:
    """Ask every gate of a kept model: leaks, evidence, skill, regimes, cost, card; exit 1 if one is not passed."""
    from mltrainer.operations import lifecycle

    gates = lifecycle.validate(artifact, reason)
    rows = [("passed" if g.passed else "NOT PASSED", g.gate, g.found) for g in gates]
    say(document(gates) if json_ else table(["", "gate", "found"], rows))
    return 0 if all(g.passed for g in gates) else 1


@governance_app.command("approve")
def governance_approve(
    artifact: Artifact,
    reason: Reason = "",
    champion: Annotated[bool, typer.Option("--champion", help="as champion; default as challenger")] = False,
    json_: Json = False,
) -> None:
    """Sign for a validated model, as challenger or champion; by somebody who did not train it."""
    from mltrainer.operations import lifecycle

    now = lifecycle.approve(artifact, reason, champion=champion)
    say(document(now) if json_ else f"{now.model} on {now.ticker} is {now.state}, by {now.by}")


@governance_app.command("restrict")
def governance_restrict(artifact: Artifact, reason: Reason = "") -> None:
    """Say that a model may be used only as the reason says; it is told wherever its state is, and still forecasts."""
    from mltrainer.evaluation import governance

    governance.move(artifact, "restricted", reason)


@governance_app.command("retire")
def governance_retire(artifact: Artifact, reason: Reason = "") -> None:
    """End a model: it forecasts no more, and its file stays readable."""
    from mltrainer.evaluation import governance

    governance.move(artifact, "retired", reason)


@governance_app.command("fallback")
def governance_fallback(artifact: Artifact, reason: Reason = "", json_: Json = False) -> None:
    """Retire a model that failed; the challenger that was approved first becomes champion."""
    from mltrainer.operations import lifecycle

    now = lifecycle.fallback(artifact, reason)
    nobody = "no challenger answers the same question, so the plain forecast is what is used"
    said = nobody if now.state == "retired" else f"{now.model} on {now.ticker} is {now.state}, by {now.by}"
    say(document(now) if json_ else said)


@app.command()
def runbook(
    name: Annotated[str | None, typer.Argument(help="which; without, all are listed")] = None,
    real: Annotated[bool, typer.Option("--real", help="on this installation; default a drill in a home apart")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="a parameter of the notebook, as name=value")] = None,
    out: Annotated[Path, typer.Option(help="folder of the page")] = Path("runbooks"),
    json_: Json = False,
) -> None:
    """Go through a runbook and write it as a page: a drill on packaged history, or with --real on your own state."""
    from mltrainer.operations import drills

    if name is None:
        rows = list(drills.RUNBOOKS.items())
        say(document(dict(rows)) if json_ else table(["runbook", "question"], rows))
        return
    given: dict[str, Any] = {}
    for word in set_ or []:
        parameter, found, value = word.partition("=")
        if not found or parameter == "real":
            raise BadInput(f"--set {word[:60]} is no parameter; give name=value, and --real for real")
        given[parameter] = value
    page = drills.run(name, out, given | {"real": real})
    say(document({"runbook": name, "page": page}) if json_ else str(page))


@app.command()
def explain(
    id_: Annotated[
        str,
        typer.Argument(metavar="ID", help="trial, model, alert: how its id begins; run: id or last eight digits"),
    ],
    out: Out = None,
    json_: Json = False,
) -> None:
    """Say of a reported number which model, which data and which code made it, and who approved."""
    from mltrainer.operations import explain as explanations

    found = explanations.explain(id_, out)
    rows = [(part, name, words[:120]) for part, name, words in found.rows()]
    say(document(found) if json_ else f"{found.kind} {found.id}\n{table(['question', 'what', 'answer'], rows)}")


@app.command()
def diff(
    a: str,
    b: str,
    out: Out = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="two trials: run again with one thing changed at a time")
    ] = False,
    figure: Annotated[str, typer.Option(help="the figure that --rerun follows")] = "r2_oos",
    json_: Json = False,
) -> None:
    """Say why two trials, kept models or runs are not the same: data, code, settings, figures."""
    from mltrainer.operations import explain as explanations

    if rerun:
        from mltrainer.operations import rerun as again

        steps = again.rerun(a, b, figure)
        if json_:
            say(document({"sentence": again.sentence(steps, figure), "steps": steps}))
            return
        shown = [(s.changed, f"{s.before:.6f}", f"{s.after:.6f}", "yes" if s.same else "no") for s in steps]
        say(f"{table(['changed', 'before', 'after', 'same forecasts'], shown)}\n{again.sentence(steps, figure)}")
        return

    found, sentence = explanations.diff(a, b, out)
    if json_:
        say(document({"sentence": sentence, "differences": found}))
        return
    rows = [(d.kind, d.name, str(d.a)[:60], str(d.b)[:60]) for d in found]
    say("\n".join([*([table(["what", "name", a[:20], b[:20]], rows)] if rows else []), sentence]))


@app.command()
def trace(
    id_: Annotated[str, typer.Argument(metavar="ID", help="hash of content, or of the body it came in; its beginning")],
    out: Out = None,
    json_: Json = False,
) -> None:
    """List all that was made of data: matrices, trials, kept models, forecasts, recommendations, reports."""
    from mltrainer.operations import contamination

    made(contamination.trace(id_, out), json_)


@app.command()
def revoke(
    id_: Annotated[str, typer.Argument(metavar="ID", help="hash of content, or of the body it came in; its beginning")],
    reason: Reason = "",
    lift: Annotated[bool, typer.Option("--lift", help="let it in again; models that were retired stay so")] = False,
    out: Out = None,
    json_: Json = False,
) -> None:
    """Take data back with all that was derived of it; models that learned from it retire, reports do not verify."""
    from mltrainer.operations import contamination

    made((contamination.lift if lift else contamination.revoke)(id_, reason, out), json_)


def made(found: list[Any], json_: bool) -> None:
    """What was made of data, a row each."""
    rows = [(m.kind, m.id[:24], m.name[:80]) for m in found]
    say(document(found) if json_ else f"{table(['what', 'id', 'name'], rows)}\n{len(rows)} things")
