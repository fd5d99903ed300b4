"""Incidents: what breaks in a page becomes a number for the reader and a traceback in a file for whoever runs it."""

import logging
import secrets
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec

import ipywidgets as widgets

from mltrainer.operations.logs import Masked, rotating
from mltrainer.settings import settings

P = ParamSpec("P")


def guarded(action: Callable[P, Any]) -> Callable[P, Any]:
    """Let nothing but an incident number reach the page when `action` breaks.

    The number is shown by the `fail` method of the page that `action` belongs to; a function returns it as its widget.
    """

    @wraps(action)
    def safe(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return action(*args, **kwargs)
        except Exception:
            message = incident(action.__qualname__)
            fail = getattr(args[0], "fail", None) if args and not isinstance(args[0], type) else None
            if callable(fail):
                fail(message)
            return widgets.HTML(message)

    return safe


def incident(where: str) -> str:
    """Log the exception at hand under a new number, and return what the reader is told, as HTML."""
    return f'<p class="card refused" role="alert">Something went wrong ({noted(where)}).</p>'


def noted(where: str) -> str:
    """Log the exception at hand, and return its new number."""
    number = secrets.token_hex(4)
    _log().exception("incident %s in %s", number, where)
    return number


@cache
def _log() -> logging.Logger:
    """A log that ends in a file of the state folder: what a kernel writes to stderr is sent to the browser."""
    handler = rotating(settings().home / "logs" / "incidents.log", Masked("%(asctime)s %(message)s"))
    log = logging.getLogger("mltrainer.incidents")
    log.addHandler(handler)
    log.propagate = False
    return log
