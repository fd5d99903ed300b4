"""`mltrainer`: one command per question; each is a skin over a function that Python users call by the same name."""

import io
import os
import sys
import warnings

import typer

from mltrainer.cli import (  # noqa: F401 - each adds its commands
    assistant,
    checks,
    data,
    decisions,
    doors,
    evaluation,
    factors,
    forecasts,
    models,
    operations,
    recommendations,
    reports,
    store,
    trading,
    trust,
    users,
)
from mltrainer.cli.terminal import STOPPED, app, document, fail, flags, partly, say
from mltrainer.errors import MltrainerError, Partial, Tampered

__all__ = ["app", "main"]


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no minus sign is no reason to fail
    warnings.showwarning = partly
    warnings.simplefilter("always", Partial)
    try:
        code = app(standalone_mode=False)
        if code == STOPPED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except typer.TyperException as error:
        failed(error.format_message(), "BadInput")
    except MltrainerError as error:
        failed(flags(str(error), sys.argv[1:]), type(error).__name__, 1 if isinstance(error, Tampered) else 2)
    except KeyboardInterrupt:
        fail("stopped; finished work is kept, and the same command goes on from here", STOPPED)
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        failed(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", "StorageError")
    sys.exit(code if isinstance(code, int) else 0)


def failed(message: str, kind: str, code: int = 2) -> None:
    """End with one line on stderr, and where a program listens (`--json`) with a document that says the same."""
    if "--json" in sys.argv:
        say(document({"error": message, "kind": kind}))
    fail(message, code)
