"""Commands about where state lives."""

from pathlib import Path
from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, app, document, say

store_app = typer.Typer(help="Where rows and results are kept.", no_args_is_help=True)
app.add_typer(store_app, name="store")


@store_app.command("key")
def store_key(
    file: Annotated[Path, typer.Argument(help="made for its owner alone; a new key goes in front of those in it")],
    json_: Json = False,
) -> None:
    """Make a key that encrypts results and kept answers from then on; the old ones of the file go on reading."""
    from mltrainer import vault

    key = vault.new_key(file)
    said = f"key {key} is in {file}; without a copy of it elsewhere what it encrypts is lost with it\n"
    said += f"export MLTRAINER_ENCRYPTION_KEY_FILE={file.absolute()}, then mltrainer store encrypt"
    say(document({"key": key, "file": file}) if json_ else said)


@store_app.command("encrypt")
def store_encrypt(
    off: Annotated[bool, typer.Option("--off", help="write all of it in clear again, and nothing encrypted")] = False,
    json_: Json = False,
) -> int:
    """Encrypt what is there by the key in force, also what an older key of its file encrypted; 1 if some is damaged."""
    from mltrainer.operations import encryption

    done = encryption.rewrite(off=off)
    how = f"encrypted by key {done.key}" if done.key else "in clear; unset MLTRAINER_ENCRYPTION_KEY_FILE now"
    said = [f"{done.blobs} results and {done.answers} answers are now {how}"]
    said += [f"{sha} is damaged and stays as it is; see mltrainer scrub" for sha in done.damaged]
    say(document(done) if json_ else "\n".join(said))
    return 1 if done.damaged else 0


@store_app.command("move")
def store_move(
    url: Annotated[str, typer.Argument(help="of an empty database, such as postgresql+psycopg://user@host/name")],
    blobs: Annotated[
        str | None, typer.Option(help="copy results to this folder or s3://bucket/prefix, to be MLTRAINER_BLOBS")
    ] = None,
    json_: Json = False,
) -> None:
    """Copy all rows to another database, whole or not at all; what is here stays as it is."""
    from mltrainer.trust import moving

    moved = moving.move(url, blobs=blobs)
    if json_:
        say(document(moved))
        return
    done = "copied" if moved.fresh else "were there already:"
    say(f"{sum(moved.rows.values())} rows {done} {', '.join(f'{n} {name}' for name, n in moved.rows.items() if n)}")
    say(f"audit head {moved.head}, the same in both; {moved.blobs} results copied")
    say("set MLTRAINER_DATABASE_URL" + (" and MLTRAINER_BLOBS" if blobs else "") + " in every home that shall use it")
