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
from mltrainer.server.faults import MEANING
from mltrainer.server.identity import role_of
from mltrainer.server.roles import allowed


def plain_page(title: str, body: str) -> str:
    """A whole page without script, in the common look; `body` is HTML, `title` is text."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'  # a browser that asks for one is sent to sign in, and gets another XSRF token
        f"<title>{html.escape(title)} · mlTrainer</title><style>{look()}</style></head>"
        f'<body><main class="page"><h1>{html.escape(title)}</h1>{body}</main></body></html>'
    )


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
        known = getattr(self, "incident", "")  # what broke has one number, however often it is handed on
        if not known and (not isinstance(value, web.HTTPError) or value.status_code == 500):
            self.incident = secrets.token_hex(4)
            what = f"{self.request.method} {self.request.path} failed, incident {self.incident}"
            self.log.error(what, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One JSON envelope under /api/, a plain page elsewhere; never a traceback or an echo of the request."""
        reason = responses.get(status_code, "Error")
        message = MEANING.get(status_code, "This did not work; the server's log says why.")
        error = kwargs.get("exc_info", (None, None))[1]
        for name, value in getattr(error, "headers", {}).items():
            self.set_header(name, value)
        if self.request.path.startswith("/api/") or isinstance(self, APIHandler):
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


class OfKernel(Gate):
    """What is about a kernel, for whoever's page it is behind; for anybody else there is none."""

    known_to_all = False  # whether one that is not there is an answer, too

    async def prepare(self, **kwargs: Any) -> None:
        """Look who asks."""
        await super().prepare(**kwargs)
        manager, kernel_id = self.settings["kernel_manager"], [*self.path_args, *self.path_kwargs.values()][0]
        mine = kernel_id in manager and manager.owners.get(kernel_id) == self.current_user.username
        if not (self._finished or mine or (self.known_to_all and kernel_id not in manager)):
            raise web.HTTPError(404)


def printable(address: str) -> bool:
    """Whether an address holds no control character, which file systems and headers choke on.

    >>> printable("/a%20b/%C3%A9"), printable("/a%00"), printable("/a%0d%0aX: y")
    (True, False, False)
    """
    return not any(byte < 32 or byte == 127 for byte in unquote_to_bytes(address))
