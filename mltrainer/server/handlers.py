"""What the dashboard server answers, each address behind the gate."""

import asyncio
import html
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import plotly
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.base.handlers import FileFindHandler
from jupyter_server.services.kernels.handlers import KernelHandler
from jupyterlab_server.themes_handler import ThemesHandler
from tornado import web
from tornado.httputil import url_concat
from voila.request_info_handler import RequestInfoSocketHandler
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.static_file_handler import MultiStaticFileHandler, TemplateStaticFileHandler
from voila.tornado.handler import TornadoVoilaHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from mltrainer.server import answers, api
from mltrainer.server.gate import Gate, OfKernel, plain_page, printable
from mltrainer.server.identity import name_of, role_of
from mltrainer.server.roles import allowed
from mltrainer.server.seats import VISITOR
from mltrainer.server.sockets import KernelSocket, RequestInfo


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

    def _redirect_safe(self, url: str, default: str | None = None) -> None:
        """Jupyter's, for addresses that can stand in a header."""
        super()._redirect_safe(url if printable(url) else self.base_url, default)

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


NEEDS = {"chat": "chat:ask"}  # notebook -> what one must be allowed besides opening dashboards
KERNELLESS = ("chat",)  # pages that are no notebook here


class Dashboard(Gate, TornadoVoilaHandler):
    """A dashboard: its kept answer, or one kernel for each open page."""

    async def get(self, path: str | None = None) -> None:
        if "token" in self.request.query_arguments:  # it is in the cookie now; keep it out of history and bookmarks
            rest = [(k, v) for k, v in parse_qsl(self.request.query, keep_blank_values=True) if k != "token"]
            self.redirect(url_concat(self.request.path, rest))
            return
        if path not in {f"{name}.ipynb" for name in self.settings["dashboards"]}:
            raise web.HTTPError(404)
        name, query = Path(path).stem, dict(parse_qsl(self.request.query))
        _ = self.xsrf_token  # sets the cookie that the page's own questions are sent with
        if not allowed(role_of(self), NEEDS.get(name, self.permission)):
            raise web.HTTPError(403)
        answer = await asyncio.to_thread(answers.current, name, query)  # it reads every run, and the trail
        full = self.settings["kernel_manager"].full
        if "fresh" in query:  # whoever reads stays where they are until there is something else to be read
            holds = answer is not None and answer.made == query["fresh"]
            self.set_status(204 if holds else 503 if answer is None and full else 205)
            return
        notebook = Path(self.settings["dashboards_root"], path)
        if name in KERNELLESS:
            self.set_header("Cache-Control", "no-store")
            told = notebook, self.voila_configuration.resources, name_of(self), role_of(self)
            self.finish(await asyncio.to_thread(answers.chat, *told))
            return
        if answer is not None:
            self.set_header("Cache-Control", "no-store")
            self.finish(answers.page(answer, notebook, self.voila_configuration.resources))
            return
        if full:
            raise web.HTTPError(503)
        VISITOR.set(self.current_user.username)
        await TornadoVoilaHandler.get(self, path)

    def should_use_rendered_notebook(self, notebook_data: dict[str, Any], *given: Any) -> bool:
        """Take a preheated kernel only once it is up, so that its seat counts as taken from then on."""
        ready = self.settings["kernel_manager"].ready(self.path_args[0])
        use = ready is not None and bool(super().should_use_rendered_notebook(notebook_data, *given))
        if use:
            self.settings["kernel_manager"].expect(ready)
        return use


class KernelModel(OfKernel, KernelHandler):
    """What the page asks about its own kernel before it connects; it cannot end or restart one here."""

    SUPPORTED_METHODS = ("GET",)


class Farewell(OfKernel, VoilaShutdownKernelHandler):
    """Ends a page's kernel when the page is left.

    The browser's beacon cannot carry the XSRF header, so Voilà refuses it and the kernel would stay (voila#1458).
    The kernel's id, which only its page knows, together with the same origin stands in for the header.
    """

    def check_xsrf_cookie(self) -> None:
        """Same origin, said by the browser."""
        if not (self.request.headers.get("Origin") and self.check_origin()):
            super().check_xsrf_cookie()

    known_to_all = True  # that there is no such kernel

    async def post(self, kernel_id: str) -> None:
        """End it; a page may say so twice."""
        if kernel_id in self.kernel_manager:
            await VoilaShutdownKernelHandler.post(self, kernel_id)
        else:
            self.set_status(204)


class TemplateFiles(Gate, TemplateStaticFileHandler):
    """The scripts and styles of the one template in use."""

    def parse_url_path(self, path: str) -> str:
        """Voilà's handler breaks on any other path; nothing else lies there."""
        if not path.startswith("lab/static/") or ".." in path:
            raise web.HTTPError(404)
        return str(super().parse_url_path(path))


class StaticFiles(Gate, MultiStaticFileHandler):
    """Voilà's own scripts."""


class Script(Gate, web.StaticFileHandler):
    """What draws figures, kept by the browser while plotly stays the same, and the scripts of chat and widgets."""


class Themes(Gate, ThemesHandler):
    """JupyterLab's themes."""


class Extensions(Gate, FileFindHandler):
    """The widgets' and the figures' scripts."""


OURS: list[tuple[Any, ...]] = [
    ("/", Home),
    ("/login", Login),
    *api.handlers(),
    ("/(plotly.min.js)", Script, {"path": str(Path(plotly.__file__).parent / "package_data")}),
    ("/(chat.js)", Script, {"path": str(answers.DASHBOARDS)}),
    (r"/((?:widgets|live)\.js)", Script, {"path": str(Path(__file__).parent / "template")}),
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
