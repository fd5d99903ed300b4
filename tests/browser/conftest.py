"""A real run, a real server on it, and a real browser; started once, used one test after the other."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, sync_playwright
from visitor import HOSTILE, KEPT, TOKEN, Served, Visit, serving, told

from mltrainer.paths import notebooks

REPORT = (
    "import mltrainer as mt; "
    "mt.report(['neighbors'], ['MSFT', 'IBM'], start='2009-01-02', jobs=1, validate=False, out={!r});"
    "mt.recommend(['MSFT', 'IBM'], as_of='2008-12-31')"
)
PROBE = """import os
from pathlib import Path
from ipywidgets import HTML
HTML("<p class=probe>Keys: " + " ".join(sorted(k for k in os.environ if k.endswith("_API_KEY"))) + "</p>")"""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "dashboards").mkdir()
    for notebook in (notebooks() / "dashboards").glob("*.ipynb"):
        if notebook.stem in KEPT:
            shutil.copy(notebook, folder / "dashboards")
    probe = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PROBE)])
    probe.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(probe, folder / "dashboards" / "probe.ipynb")
    out = folder / "reports"
    environment = {**os.environ, "MLTRAINER_HOME": str(folder / "home"), "MLTRAINER_MODE": "sample"}
    made = environment | {"MLTRAINER_WORLDS": "0"}  # what a report measures by worlds is tested where it is made
    subprocess.run([sys.executable, "-c", REPORT.format(str(out))], env=made, check=True)
    told(hostile_run(out), environment)
    forged = shutil.copytree(
        next(p.parent for p in out.glob("*/manifest.json") if p.parent.name != "hostile"), out / "forged"
    )
    (forged / "leaderboard.csv").write_text((forged / "leaderboard.csv").read_text().replace("no evidence", "evidence"))
    with serving(folder, environment) as running:
        yield running


@pytest.fixture(scope="session")
def small(served: Served) -> Iterator[Served]:
    """A second server: two seats, and three seconds for a browser to come back."""
    environment = {**os.environ, "MLTRAINER_HOME": str(served.folder / "home"), "MLTRAINER_MODE": "sample"}
    folder = served.folder / "small"
    (folder / "dashboards").mkdir(parents=True)
    shutil.copy(served.folder / "dashboards" / "probe.ipynb", folder / "dashboards")
    with serving(folder, environment, "seats=2, patience=3") as running:
        yield running


@pytest.fixture(scope="session")
def chatting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of the chat page alone, in an empty home."""
    folder = tmp_path_factory.mktemp("chatting")
    (folder / "dashboards").mkdir()
    shutil.copy(notebooks() / "dashboards" / "chat.ipynb", folder / "dashboards")
    environment = {**os.environ, "MLTRAINER_HOME": str(folder / "home"), "MLTRAINER_MODE": "sample"}
    with serving(folder, environment) as running:
        yield running


def hostile_run(out: Path) -> Path:
    """A copy of the run whose every text is an attack."""
    source = next(out.glob("*/manifest.json")).parent
    copy = shutil.copytree(source, out / "hostile")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest |= {"run": f"hostile{HOSTILE}", "audit_head": HOSTILE, "created_at": "2000-01-01T00:00:00+00:00"}
    manifest["sources"][0]["name"] = manifest["sources"][0]["note"] = HOSTILE
    manifest["as_of"] = manifest["parameters"]["tickers"][0] = HOSTILE
    lines = (copy / "leaderboard.csv").read_text().splitlines()
    values = {
        "name": HOSTILE,
        "family": HOSTILE,
        "ticker": HOSTILE,
        "status": "failed",
        "verdict": HOSTILE,
        "reason": HOSTILE,
    }
    row = [values.get(column, "").replace('"', '""') for column in lines[0].split(",")]
    (copy / "leaderboard.csv").write_text(lines[0] + "\n" + ",".join(f'"{v}"' for v in row) + "\n")
    manifest["outputs"]["leaderboard.csv"] = sha256((copy / "leaderboard.csv").read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None and not os.environ.get("CI"):  # CI installs it, and must not pass without it
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", nowhere]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(90_000)  # a kernel on a busy machine
    seen, inside = Visit(context.new_page(), served), (served.base, "data:", "blob:")

    # No interception: it would hold back the beacon that a page sends when it is left.
    context.on("request", lambda r: None if r.url.startswith(inside) else seen.strayed.append(r.url))
    seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
    seen.page.goto(f"{served.base}/login?token={TOKEN}")
    yield seen
    seen.page.goto("about:blank")  # closing a page fires no beforeunload; leaving it does
    seen.page.wait_for_timeout(300)
    context.close()
    assert seen.strayed == []
    assert seen.problems == []
