"""Commands about who may come in."""

from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, app, document, say, table

user_app = typer.Typer(help="Who may come in to `mltrainer serve`, and as what.", no_args_is_help=True)
app.add_typer(user_app, name="user")


@user_app.command("add")
def user_add(
    name: str,
    role: Annotated[str, typer.Option(help="viewer, auditor, researcher or admin")],
    json_: Json = False,
) -> None:
    """Let somebody in, in a role; prints their token, this once."""
    from mltrainer.server import users

    _token(name, users.add(name, role), json_)


@user_app.command("list")
def user_list(json_: Json = False) -> None:
    """List who may come in, their roles, and since when their tokens are in force."""
    from mltrainer.server import users

    rows = [(u.name, u.role, u.since) for u in users.users()]
    if json_:
        say(document([dict(zip(("name", "role", "since"), row, strict=True)) for row in rows]))
    else:
        say(table(["user", "role", "token since (UTC)"], rows) if rows else "nobody but who holds serve's own token")


@user_app.command("rotate")
def user_rotate(name: str, json_: Json = False) -> None:
    """Give a user another token, printed this once; the one before is worth nothing from then on."""
    from mltrainer.server import users

    _token(name, users.rotate(name), json_)


@user_app.command("remove")
def user_remove(name: str, json_: Json = False) -> None:
    """Let a user in no more."""
    from mltrainer.server import users

    users.remove(name)
    say(document({"removed": name}) if json_ else f"{name} is let in no more")


def _token(name: str, token: str, json_: bool) -> None:
    say(document({"name": name, "token": token}) if json_ else token)
