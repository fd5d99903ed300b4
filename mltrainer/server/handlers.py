"""What the dashboard server answers: behind one gate, deny by default, in plain words."""

import html
import json
from hmac import compare_digest
from http.client import responses
from importlib.metadata import version
from pathlib import Path
from typing import Any

import plotly
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.base.handlers import APIHandler, FileFindHandler, JupyterHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyterlab_server.themes_handler import ThemesHandler
from tornado import web
from tornado.httputil import url_concat
from voila.request_info_handler import RequestInfoSocketHandler
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from mltrainer.paths import look

MEANING = {
    403: "This needs the token. Open the address that mltrainer serve printed, or sign in.",
    404: "There is nothing at this address.",
    405: "This address does not take that kind of request.",
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


class TokenHolder(IdentityProvider):
    """Whoever holds the token is a viewer; there are no passwords and no anonymous visitors."""

    def generate_anonymous_user(self, handler: web.RequestHandler) -> User:
        """The one user there is."""
        return User("viewer", "Viewer")

    def process_login_form(self, handler: web.RequestHandler) -> User | None:
        """The viewer, when the form held the token."""
        typed = handler.get_argument("password", default="")
        return self.generate_anonymous_user(handler) if compare_digest(typed.encode(), self.token.encode()) else None


class Gate(JupyterHandler):
    """Nothing behind it is answered without the token, static files included; errors say little, and say it plainly."""

    async def prepare(self, **kwargs: Any) -> None:
        """Turn away whoever is not signed in, also where Jupyter would let them pass."""
        await super().prepare(**kwargs)
        if not self.current_user and not self._finished:
            raise web.HTTPError(403)

    def get_login_url(self) -> str:
        """Where a browser is sent to sign in; a program is told 403 instead."""
        if self.request.path.startswith("/api/"):
            raise web.HTTPError(403)
        return "/login"

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what broke with its path alone: tornado would write the query, which may hold the token."""
        if not isinstance(value, web.HTTPError):
            self.log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One JSON envelope under /api/, a plain page elsewhere; never a traceback or an echo of the request."""
        reason = responses.get(status_code, "Error")
        message = MEANING.get(status_code, "This did not work; the server's log says why.")
        if self.request.path.startswith("/api/"):
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"error": {"status": status_code, "message": message}}))
        else:
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(plain_page(reason, f'<p>{message}</p><p><a href="/">To the dashboards</a></p>'))


class NotFound(Gate):
    """Every address that is not in the table."""

    async def prepare(self, **kwargs: Any) -> None:
        """Say so, without telling strangers which addresses exist."""
        self.check_xsrf_cookie = lambda: None  # type: ignore[method-assign]  # there is nothing here to protect
        await super().prepare(**kwargs)
        if not self._finished:
            raise web.HTTPError(404)


class Login(LoginFormHandler):
    """The only page a stranger sees."""

    write_error = Gate.write_error

    def _render(self, message: dict[str, str] | None = None) -> None:
        action = url_concat("/login", {"next": self.get_argument("next", default="/")})
        wrong = '<p class="refused" role="alert">That is not the token.</p>' if message else ""
        form = (
            f'<form action="{html.escape(action)}" method="post">{self.xsrf_form_html()}{wrong}'
            '<p><label for="token">Token</label></p>'
            '<p><input id="token" type="password" name="password" autocomplete="current-password" required autofocus> '
            "<button>Sign in</button></p>"
            '<p class="quiet">It is part of the address that <code>mltrainer serve</code> printed when it started.</p>'
            "</form>"
        )
        self.finish(plain_page("Sign in", form))


class Home(Gate):
    """To the only dashboard, or the list of them."""

    async def get(self) -> None:
        names: list[str] = self.settings["dashboards"]
        if len(names) == 1:
            self.redirect(f"/voila/render/{names[0]}.ipynb")
            return
        links = "".join(f'<li><a href="/voila/render/{n}.ipynb">{html.escape(title_of(n))}</a></li>' for n in names)
        self.finish(plain_page("Dashboards", f"<ul>{links}</ul>"))


def title_of(name: str) -> str:
    """What people call the notebook `name`.

    >>> title_of("data-quality")
    'Data quality'
    """
    return name.replace("-", " ").replace("_", " ").capitalize()


class Dashboard(Gate, TornadoVoilaHandler):
    """A dashboard, one kernel for each open page."""

    async def get(self, path: str | None = None) -> None:
        if "token" in self.request.query_arguments:  # it is in the cookie now; keep it out of history and bookmarks
            rest = [(k, v.decode()) for k, vs in self.request.query_arguments.items() if k != "token" for v in vs]
            self.redirect(url_concat(self.request.path, rest))
            return
        if path not in {f"{name}.ipynb" for name in self.settings["dashboards"]}:
            raise web.HTTPError(404)
        if self.settings["kernel_manager"].full:
            raise web.HTTPError(503)
        await TornadoVoilaHandler.get(self, path)


class KernelModel(Gate, KernelHandler):
    """What the page asks about its own kernel before it connects; it cannot end or restart one here."""

    SUPPORTED_METHODS = ("GET",)


class Farewell(Gate, VoilaShutdownKernelHandler):
    """Ends a page's kernel when the page is left.

    The browser's beacon cannot carry the XSRF header, so Voilà refuses it and the kernel would stay (voila#1458).
    The kernel's id, which only its page knows, together with the same origin stands in for the header.
    """

    def check_xsrf_cookie(self) -> None:
        """Same origin, said by the browser."""
        if not (self.request.headers.get("Origin") and self.check_origin()):
            super().check_xsrf_cookie()

    async def post(self, kernel_id: str) -> None:
        """End it; a page may say so twice."""
        if kernel_id in self.kernel_manager:
            await VoilaShutdownKernelHandler.post(self, kernel_id)
        else:
            self.set_status(204)


class RequestInfo(RequestInfoSocketHandler):
    """Tells a preheated kernel which address its visitor asked for; the caller is that kernel, which has no token."""

    def prepare(self) -> None:
        """Only a living kernel's id opens it."""
        if self.request.path.rsplit("/", 1)[-1] not in self.settings["kernel_manager"]:
            raise web.HTTPError(404)

    def open(self, kernel_id: str) -> None:
        """Hand the request over once, and forget it."""
        super().open(kernel_id)
        self._cache.pop(kernel_id, None)


class Health(Gate, APIHandler):
    """GET /api/health: is it up, on which data, and who am I?"""

    async def get(self) -> None:
        state = {"status": "ok", "mode": self.settings["mode"], "version": version("mltrainer")}
        self.finish(json.dumps(state | {"role": self.current_user.username}))


class KernelSocket(Gate, VoilaKernelWebsocketHandler):
    """Widgets and their kernel; the kernel manager lets only widget messages through."""


class TemplateFiles(Gate, TemplateStaticFileHandler):
    """The scripts and styles of the one template in use."""

    def parse_url_path(self, path: str) -> str:
        """Voilà's handler breaks on any other path; nothing else lies there."""
        if not path.startswith("lab/static/") or ".." in path:
            raise web.HTTPError(404)
        return str(super().parse_url_path(path))


class StaticFiles(Gate, MultiStaticFileHandler):
    """Voilà's own scripts."""


class PlotlyScript(Gate, web.StaticFileHandler):
    """What draws the figures, kept by the browser for as long as plotly stays the same."""


class Themes(Gate, ThemesHandler):
    """JupyterLab's themes."""


class Extensions(Gate, FileFindHandler):
    """The widgets' and the figures' scripts."""


OURS: list[tuple[Any, ...]] = [
    ("/", Home),
    ("/login", Login),
    ("/api/health", Health),
    ("/(plotly.min.js)", PlotlyScript, {"path": str(Path(plotly.__file__).parent / "package_data")}),
]
# Voilà's routes that a page needs, and what we serve in their place. What is not in this table is not served:
# no tree, no contents, no files, and no route of a later Voilà before somebody has looked at it.
INSTEAD_OF: dict[type, type[web.RequestHandler]] = {
    TornadoVoilaHandler: Dashboard,
    KernelHandler: KernelModel,
    VoilaKernelWebsocketHandler: KernelSocket,
    VoilaShutdownKernelHandler: Farewell,
    RequestInfoSocketHandler: RequestInfo,
    TemplateStaticFileHandler: TemplateFiles,
    MultiStaticFileHandler: StaticFiles,
    ThemesHandler: Themes,
    FileFindHandler: Extensions,
}
