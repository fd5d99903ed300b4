"""The process behind `mltrainer serve`: a Voilà of our own with fewer doors, its plan on standard input."""

import json
import logging
import os
import shutil
import sys
import tempfile
import webbrowser
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jupyter_core.utils import run_sync
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from traitlets import List, Unicode
from traitlets.config import Config
from voila.app import Voila
from voila.paths import collect_static_paths, collect_template_paths

from mltrainer.operations import logs
from mltrainer.paths import figures_script, look
from mltrainer.server import metrics, private
from mltrainer.server.handlers import INSTEAD_OF, KERNELLESS, OURS, NotFound, title_of
from mltrainer.server.identity import Doorkeeper
from mltrainer.server.proxies import Behind
from mltrainer.server.seats import Seats
from mltrainer.server.sockets import PageConnection
from mltrainer.server.stream import Watch

# The browser itself refuses to fetch from, send to or be framed by any other host.
# Voilà's page needs inline script, and the widget libraries compile theirs.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
KIBIBYTE = 1024
log = logging.getLogger("mltrainer.server")
# What extends our pages. JupyterLab's plotly is not among them: the template loads plotly once, and keeps it.
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget"]


class Dashboards(Voila):
    """Voilà with our gate, our limits and our template; no configuration file can widen it."""

    port: int
    identity_provider_class = Doorkeeper
    names = List(Unicode(), config=True, help="the notebooks served, without .ipynb")
    proxies = List(Unicode(), config=True, help="networks whose X-Forwarded headers are believed")
    hosts = List(Unicode(), config=True, help="names under which a proxy shows this server")
    mode = Unicode(config=True, help="live, sample or replay")

    def setup_template_dirs(self) -> None:
        """Put our template before Voilà's `lab`, from the package itself, so that nothing has to be installed apart."""
        ours = str(Path(__file__).parent / "template")
        self.template_paths = [ours, *collect_template_paths(["voila", "nbconvert"], "lab", prune=True)]
        self.static_paths = collect_static_paths(["voila", "nbconvert"], "lab")

    def init_settings(self) -> dict[str, Any]:
        """Voilà's settings, tightened."""
        return super().init_settings() | {
            "dashboards": self.names,
            "dashboards_root": self.root_dir,
            "mode": self.mode,
            "mltrainer_watch": Watch(),
            "allow_remote_access": False,  # a foreign Host header is refused: no DNS rebinding
            "local_hostnames": ["localhost", *self.hosts],
            "headers": {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin"},
            "xsrf_cookie_kwargs": {"samesite": "Lax"},
            "websocket_max_message_size": 256 * KIBIBYTE,
            "kernel_websocket_connection_class": PageConnection,
            "default_handler_class": NotFound,
            "log_function": log_request,
        }

    def init_handlers(self) -> list[tuple[Any, ...]]:
        """Our routes, then those of Voilà's that have a keeper."""
        kept = [(rule, INSTEAD_OF[was], *rest) for rule, was, *rest in super().init_handlers() if was in INSTEAD_OF]
        return [*OURS, *kept]

    def start(self) -> None:
        """Listen, say where, and serve until interrupted."""
        try:
            sockets = bind_sockets(self.port, self.ip)
        except OSError as error:
            print(f"port {self.port} cannot be used ({error.strerror}); choose another", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        self.port = sockets[0].getsockname()[1]
        # The path of a kernel's socket must stay under 104 characters, and macOS's own temporary folder is long.
        short = "/tmp" if os.name == "posix" else None  # noqa: S108 - mkdtemp makes it private
        self.connection_dir = tempfile.mkdtemp(prefix="mt-", dir=short)
        self.app = Behind(proxies=self.proxies, **self.init_settings())
        self.app.add_handlers(".*$", self.init_handlers())
        server = HTTPServer(
            self.app,
            max_body_size=64 * KIBIBYTE,
            max_header_size=32 * KIBIBYTE,
            body_timeout=10,
            idle_connection_timeout=60,
        )
        server.add_sockets(sockets)
        address = f"http://{self.ip}:{self.port}/?token={self.token}"
        print(address, flush=True)  # noqa: T201 - the one line that is the result
        if self.open_browser:
            page = Path(self.connection_dir, "open.html")  # a private folder; a command line would show the token
            page.write_text(f'<meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
            webbrowser.open(page.as_uri())
        self.ioloop = IOLoop.current()
        self.ioloop.call_later(3.0, self.app.settings["mltrainer_watch"].begin)
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()

    def stop(self) -> None:
        """End the kernels, then remove what they were reached by."""
        run_sync(self.kernel_manager.shutdown_all)(now=True)
        shutil.rmtree(self.connection_dir, ignore_errors=True)


def log_request(handler: web.RequestHandler) -> None:
    """Note a request without its query, which may hold the token; one that failed on the terminal too."""
    status, seconds = handler.get_status(), handler.request.request_time()
    metrics.observe(handler, seconds)
    said = {"status": status, "method": handler.request.method, "path": handler.request.path}
    user = getattr(handler, "_current_user", None)  # a page without a keeper has none
    fields = said | {"milliseconds": round(seconds * 1e3, 1), "user": str(getattr(user, "username", ""))}
    log.log(logging.WARNING if status >= 400 else logging.INFO, "%s %s %s", *said.values(), extra=fields)


def configuration(plan: dict[str, Any]) -> Config:
    """Everything that is set, in one table."""
    names = sorted(path.stem for path in Path(plan["dashboards"]).glob("*.ipynb"))
    pages = [(f"/voila/render/{name}.ipynb", title_of(name)) for name in names]
    return Config(
        Dashboards={
            "names": names,
            "mode": plan["mode"],
            "proxies": plan["proxies"],
            "hosts": plan["hosts"],
            "config_file_paths": [],
            "root_dir": plan["dashboards"],
            "ip": "127.0.0.1",
            "port": plan["port"],
            "token": plan["token"],
            "open_browser": plan["open_browser"],
            "log_level": logging.WARNING,
        },
        VoilaConfiguration={
            "template": "lab",
            "resources": {
                "look": look(),
                "figures_script": figures_script(),
                "pages": pages,
                "plotly": version("plotly"),
            },
            "extension_allowlist": EXTENSIONS,
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
            "show_tracebacks": False,
            "file_allowlist": [r"^$"],
            "preheat_kernel": True,
            "default_pool_size": 1,  # more may bring the server down (voila#1178)
            "multi_kernel_manager_class": Seats,
        },
        VoilaExecutor={"cell_error_instruction": "Reload the page; if it stays, tell whoever runs this server."},
        IdentityProvider={"cookie_options": {"samesite": "Lax"}},
        Seats={"seats": plan["seats"], "patience": plan["patience"], "told": plan["kernels"]},
        VoilaKernelManager={"preheat_denylist": [f"{name}.ipynb" for name in KERNELLESS]},
        MappingKernelManager={
            "cull_idle_timeout": 120,
            "cull_interval": 30,
            "buffer_offline_messages": False,  # a list without bound; a page that comes back asks for the state anew
        },
        KernelManager={"transport": "tcp" if os.name == "nt" else "ipc"},  # no kernel port that others could reach
    )


def main() -> None:
    """Read the plan and serve it."""
    logging.getLogger("tornado.general").setLevel(logging.ERROR)  # it warns of ping settings that are Jupyter's own
    plan = json.loads(sys.stdin.read())
    os.environ.update(plan["writer"])  # after this process began: no list of processes shows it
    logs.begin("serve")
    private.learn(plan["model"])
    app = Dashboards.instance(config=configuration(plan))  # the instance is who logs
    app.initialize([])
    app.start()


if __name__ == "__main__":
    main()
