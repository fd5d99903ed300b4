"""Questions in plain words, and the same tools for programs that speak MCP."""

from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, app, document, mode_line, say


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="a question in plain words")],
    confirm: Annotated[bool, typer.Option("--confirm", help="say yes beforehand to what waits for it")] = False,
    json_: Json = False,
) -> int:
    """Answer a question in plain words, each figure with where it came from; exit code 1 if it cannot be answered."""
    from mltrainer.assistant import ask as asked
    from mltrainer.assistant.records import listing

    answer = asked(question, confirm=confirm)
    if json_:
        say(document(answer.to_dict()))
    else:
        say("\n\n".join(filter(None, (answer.text, listing(answer.tables), mode_line()))))
    return 0 if answer.ok else 1


@app.command("mcp")
def mcp_(
    role: Annotated[str, typer.Option(help="viewer, auditor, researcher or admin")] = "researcher",
) -> None:
    """Serve the tools of the chat to programs that speak MCP, over standard input and output."""
    from mltrainer.assistant import protocol

    protocol.run(role)
