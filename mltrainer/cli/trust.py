"""Commands about the audit trail."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import Json, app, document, findings, say, table

audit_app = typer.Typer(help="Read and check the audit trail.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")


@audit_app.command("show")
def audit_show(
    limit: Annotated[int, typer.Option(min=1, help="newest entries")] = 20,
    kind: Annotated[str | None, typer.Option(help="of one kind only, such as violation or trial")] = None,
    json_: Json = False,
) -> None:
    """Show the newest entries, oldest first."""
    from mltrainer.trust import audit

    entries = audit.entries(limit, kind)
    if json_:
        say(document(entries))
        return
    rows = [(e.seq, e.at[:19], e.kind, e.actor, _shortened(e.payload)) for e in entries]
    say(table(["entry", "when (UTC)", "what", "who", ""], rows) if rows else "the trail is empty")


def _shortened(payload: dict[str, Any]) -> str:
    text = json.dumps(payload, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


@audit_app.command("head")
def audit_head(json_: Json = False) -> None:
    """Print the end of the trail; kept elsewhere, it shows later whether the trail was cut or rewritten."""
    from mltrainer.trust import audit

    head = audit.head()
    say(document(head) if json_ else str(head))


@audit_app.command("verify")
def audit_verify(
    against: Annotated[str | None, typer.Option(help="a head printed earlier, size:hash")] = None,
    full: Annotated[
        bool, typer.Option("--full/--since-checkpoint", help="read all, or what came since this home's last checkpoint")
    ] = True,
    json_: Json = False,
) -> int:
    """Recompute the whole trail, and all that it tells of; exit 0 if it holds, 1 if not."""
    from mltrainer.evaluation import trials
    from mltrainer.trust import checkpoints

    done = checkpoints.full(against) if full else checkpoints.verify(against)
    found = done.findings
    if not found:  # else the trail does not say what there should be
        lost = trials.lost(since=done.unread).fillna("?").to_dict("records")
        found = [f"trial {t['key'][:12]} ({t['model']} on {t['ticker']}): {t['why']}; evaluate it again" for t in lost]
    if json_ and done.unread:
        said = {"holds": not found, "findings": found, "entries": done.entries, "not_read_again": done.unread}
        say(document(said | {"checkpoint": done.at}))
        return 1 if found else 0
    return findings(found, json_, "" if found else done.sentence())


@audit_app.command("checkpoint")
def audit_checkpoint(json_: Json = False) -> None:
    """Read the whole trail and, if it holds, write down that it did: `verify --since-checkpoint` begins there."""
    from mltrainer.trust import checkpoints

    head = checkpoints.make()
    say(document(head) if json_ else f"checkpoint at {head}")


@audit_app.command("export")
def audit_export(file: Path, json_: Json = False) -> None:
    """Write the whole trail, and beside it a script that checks it and copies of runs without this installation."""
    from mltrainer.operations import portable

    head = portable.export(file)
    said = f"{head.size} entries to {head}; check with: python {portable.SCRIPT.name} {file.name} [RUN_FOLDER]"
    say(document({"file": file, "head": str(head)}) if json_ else said)


@audit_app.command("sign")
def audit_sign(
    key: Annotated[Path, typer.Option(help="file of the private key; made on first use, best on another disk")],
) -> None:
    """Print the head of the trail with a signature, to be kept elsewhere."""
    from mltrainer.operations import portable

    say(document(portable.sign(key)))
