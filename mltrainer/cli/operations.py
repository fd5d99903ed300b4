"""Commands that keep an installation alive: backup and restore."""

from pathlib import Path
from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, app, complain, document, say
from mltrainer.errors import BadInput

Sealed = Annotated[
    bool, typer.Option("--passphrase", help="ask for a passphrase; default MLTRAINER_PASSPHRASE, else none")
]


def _passphrase(asked: bool, *, twice: bool) -> str | None:
    """The passphrase, typed or from the environment: as an argument every user of the machine would see it."""
    from mltrainer.settings import settings

    known = settings().passphrase
    if asked and known is None:
        return str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=twice, err=True))
    return known.get_secret_value() if known else None


@app.command()
def backup(file: Path, passphrase: Sealed = False, json_: Json = False) -> int:
    """Write all rows, models, results and kept answers to one file, while others go on working."""
    from mltrainer.operations import backup as backups

    held = backups.backup(file, passphrase=_passphrase(passphrase, twice=True))
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
