"""Who visits: a running server as tests hold it, and a signed-in page that notes what went wrong."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page

TOKEN = "a-token-of-the-tests"
CANARY = "canary-key-1d0c"
KEPT = ("alerts", "analytics", "models", "recommendations")  # pages whose answers are kept
HOSTILE = '<img src=x onerror="window.hit=1">'


@dataclass
class Served:
    """A running `serve` and what it knows."""

    base: str
    process: subprocess.Popen[str]
    folder: Path

    def __call__(self, page: str = "models", query: str = "") -> str:
        return f"{self.base}/voila/render/{page}.ipynb?{query}"


@contextmanager
def serving(folder: Path, environment: dict[str, str], more: str = "") -> Iterator[Served]:
    """A running `serve` on the dashboards and reports of a folder."""
    place = f"out={str(folder / 'reports')!r}, dashboards=Path({str(folder / 'dashboards')!r})"
    call = f"serve(0, token={TOKEN!r}, {place}, {more})"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from pathlib import Path; from mltrainer.server import serve; {call}"],
            env={**environment, "POLYGON_API_KEY": CANARY, "OPENAI_API_KEY": CANARY},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        address = process.stdout.readline()
        found = re.fullmatch(rf"(http://127\.0\.0\.1:\d+)/\?token={TOKEN}\n", address)
        assert found, f"{address!r} {(folder / 'log').read_text()}"
        yield Served(found[1], process, folder)
        process.terminate()
        process.wait(30)
        process.stdout.close()


@dataclass
class Visit:
    """A signed-in visitor's page, and what went wrong on it."""

    page: Page
    served: Served
    strayed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, page: str = "models", query: str = "") -> Page:
        """Open a dashboard with a kernel and wait until its cells have run and its widgets are there."""
        self.page.goto(self.served(page, f"{query}&live=1" if page != "probe" else query), wait_until="commit")
        self.page.wait_for_selector("#rendered_cells", state="visible")
        self.page.wait_for_selector("#rendered_cells .jupyter-widgets")
        return self.page

    def read(self, page: str = "models", query: str = "") -> Page:
        """Read a dashboard as its kept answer, once there is one."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            self.page.goto(self.served(page, query), wait_until="domcontentloaded")
            if self.page.locator("body.answer").count():
                return self.page
            self.page.wait_for_selector(".lede")  # a kernel shows it, and keeps it; a page left halfway complains
            self.page.wait_for_timeout(1000)
            self.page.goto("about:blank")
        raise AssertionError(f"no answer of {page} was kept")

    def drawn(self, model: str = "") -> None:
        """Wait until both figures are drawn and the first one names `model`, in its finding and in its drawing."""
        self.page.wait_for_function(
            "model => document.querySelector('.finding')?.textContent.includes(model)"
            " && document.querySelector('.js-plotly-plot .legend')?.textContent.includes(model)"
            " && document.querySelectorAll('.js-plotly-plot .legend').length === 2",
            arg=model,
        )

    @property
    def kernel(self) -> str:
        """The id of the kernel behind the page."""
        return str(json.loads(self.page.locator("#jupyter-config-data").inner_text())["kernelId"])


TELL = """import json, sys
from hashlib import sha256
from pathlib import Path
from mltrainer.trust import audit
body = (Path(sys.argv[1]) / "manifest.json").read_bytes()
audit.append("report", run=json.loads(body)["run"], manifest=sha256(body).hexdigest())"""


def told(run: Path, environment: dict[str, str]) -> None:
    """Let the trail tell of a run, as if it had been made like this."""
    subprocess.run([sys.executable, "-c", TELL, str(run)], env=environment, check=True)
