"""Commands about where state lives."""

from pathlib import Path
from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, app, document, say

store_app = typer.Typer(help="Where rows and results are kept.", no_args_is_help=True)
app.add_typer(store_app, name="store")


@store_app.command("move")
def store_move(
    url: Annotated[str, typer.Argument(help="of an empty database, such as postgresql+psycopg://user@host/name")],
    blobs: Annotated[Path | None, typer.Option(help="copy results to this folder, to be MLTRAINER_BLOBS")] = None,
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
