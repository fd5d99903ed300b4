"""The gate before everything the dashboard server answers: deny by default, and errors in plain words."""

import html
import json
import secrets
from http.client import responses
from typing import Any
from urllib.parse import unquote_to_bytes

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web

from mltrainer.paths import look
from mltrainer.server.identity import role_of
from mltrainer.server.roles import allowed

MEANING = {
    400: "This request cannot be read.",
    403: "This needs a token whose role may do it. Open the address that mltrainer serve printed, or sign in.",
    404: "There is nothing at this address.",
    405: "This address does not take that kind of request.",
    413: "This is too large; 64 KiB are the most.",
    415: "Send one JSON object, with Content-Type: application/json.",
    422: "This cannot be done with the data there is.",
    429: "Too many wrong tokens came from your address. Wait a minute.",
    502: "A provider of data failed; ask again later.",
    503: "All seats are taken. Close a dashboard that is not needed, or come back in a few minutes.",
}


def plain_page(title: str, body: str) -> str:
    """A whole page without script, in the common look; `body` is HTML, `title` is text."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)} · mlTrainer</title><style>{look()}</style></head>"
        f'<body><main class="page"><h1>{html.escape(title)}</h1>{body}</main></body></html>'
    )


class Fault(web.HTTPError):
    """An error that says what it is: `message` for people (empty for the usual words), `code` for programs."""

    def __init__(self, status: int, message: str = "", code: str = "") -> None:
        super().__init__(status)
        self.message, self.code = message, code


class Gate(JupyterHandler):
    """Nothing behind it is answered without a token, static files included; errors say little, and say it plainly."""

    permission = "dashboards:read"

    async def prepare(self, **kwargs: Any) -> None:
        """Turn away whoever is not signed in, also where Jupyter would let them pass."""
        if not printable(self.request.path):
            raise web.HTTPError(404)
        await super().prepare(**kwargs)
        if not self._finished and not allowed(role_of(self), self.permission):
            raise web.HTTPError(403)

    def get_login_url(self) -> str:
        """Where a browser is sent to sign in; a program is told 403 instead."""
        if self.request.path.startswith("/api/"):
            raise web.HTTPError(403)
        return "/login"

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what broke with its path alone: tornado would write the query, which may hold the token."""
        if not isinstance(value, web.HTTPError) or value.status_code == 500:
            self.incident = secrets.token_hex(4)
            what = f"{self.request.method} {self.request.path} failed, incident {self.incident}"
            self.log.error(what, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One JSON envelope under /api/, a plain page elsewhere; never a traceback or an echo of the request."""
        reason = responses.get(status_code, "Error")
        message = MEANING.get(status_code, "This did not work; the server's log says why.")
        if self.request.path.startswith("/api/") or isinstance(self, APIHandler):
            error = kwargs.get("exc_info", (None, None))[1]
            said = {"status": status_code, "code": getattr(error, "code", "") or reason.replace(" ", "")}
            said["message"] = getattr(error, "message", "") or message
            if incident := getattr(self, "incident", ""):
                said["incident"] = incident
            self.set_header("Content-Type", "application/json")
            self.set_header("Cache-Control", "no-store")
            self.finish(json.dumps({"error": said}))
        else:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(plain_page(reason, f'<p>{message}</p><p><a href="/">To the dashboards</a></p>'))


def printable(address: str) -> bool:
    """Whether an address holds no control character, which file systems and headers choke on.

    >>> printable("/a%20b/%C3%A9"), printable("/a%00"), printable("/a%0d%0aX: y")
    (True, False, False)
    """
    return not any(byte < 32 or byte == 127 for byte in unquote_to_bytes(address))
