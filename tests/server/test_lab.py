"""Lab as it runs: a stranger gets nothing by any method, its token's holder all that a researcher may."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from caller import TOKEN, Running

from mltrainer.server.api import LARGEST

pytestmark = pytest.mark.slow
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ADDRESSES = [
    *("/lab", "/lab/tree/start-here.ipynb", "/tree", "/files/start-here.ipynb", "/nbconvert/html/start-here.ipynb"),
    *("/view/start-here.ipynb", "/api/contents", "/api/contents/start-here.ipynb", "/api/kernels", "/api/sessions"),
    *("/api/terminals", "/api/kernelspecs", "/api/status", "/api/me", "/api/config/notebook", "/lab/api/settings"),
    *("/lab/api/workspaces", "/lab/api/translations", "/voila", "/voila/render/dashboards/models.ipynb", "/voila/tree"),
    *("/voila/files/start-here.ipynb", "/api/kernels/00000000-0000-0000-0000-000000000000/channels"),
    *("/terminals/websocket/1", "/api/events/subscribe", "/lsp/ws/x", "/lsp/status", "/api/health", "/api/models"),
    *("/api/compliance/audit", "/api/users", "/api/models/train", "/api/portfolio", "/api/chat", "/api/predict"),
    *("/api/stream", "/api/openapi.json", "/api/shutdown", "/metrics", "/api/spec.yaml"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"MLTRAINER_HOME": str(folder / "home"), "MLTRAINER_MODE": "sample", "JUPYTER_TOKEN": TOKEN}
    env |= {"BROWSER": "true", "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_RUNTIME_DIR": str(folder / "run")}
    with (folder / "log").open("w") as log:
        call = [sys.executable, "-c", f"from mltrainer.server import lab; lab({port})"]
        process = subprocess.Popen(call, env=env, stdout=log, stderr=log, text=True)
    running = Running(f"http://127.0.0.1:{port}", Path(folder), {"holder": TOKEN, "wrong": "not-the-token"}, process)
    deadline = time.monotonic() + 120
    while True:
        try:
            running("/login")
            break
        except OSError:
            assert time.monotonic() < deadline, running.log
            time.sleep(0.5)
    yield running
    process.terminate()
    process.wait(30)


@pytest.mark.parametrize("who", ["", "wrong"], ids=["stranger", "guesser"])
def test_a_stranger_gets_nothing_by_any_method(lab: Running, who: str):
    wrong = []
    for path in ADDRESSES:
        for method in METHODS:
            said = lab(path, method, role=who)
            nothing = method == "OPTIONS" and said.text == ""  # what a browser may send
            if not (nothing or said.status in (302, 400, 403, 404, 405)) or "Traceback" in said.text:
                wrong.append((method, path, said.status, said.text[:80]))
    assert wrong == []


def test_the_holder_of_its_token_is_a_researcher_and_no_other(lab: Running):
    assert lab("/api/health", role="holder").json["role"] == "researcher"
    assert lab("/api/kernels", role="holder").status == 200
    for path, status in {"/api/models": 200, "/api/compliance/audit": 200, "/api/models/train": 200,
                         "/api/users": 403, "/voila/files/start-here.ipynb": 403}.items():  # fmt: skip
        assert lab(path, role="holder").status == status, path


def test_a_body_beyond_any_need_is_refused(lab: Running):
    """Jupyter itself takes half a gigabyte."""
    for length, status in ((LARGEST - 100, 400), (LARGEST, 413)):  # a question too long, and nothing to look at
        assert lab("/api/chat", "POST", role="holder", body={"question": "?" * length}).status == status


def test_another_host_name_and_another_site_are_refused(lab: Running):
    assert lab("/api/health", role="holder", Host="evil.example").status == 403
    for path in ("/api/kernels", "/api/sessions", "/api/portfolio"):
        assert lab(path, "POST", body={}, Origin="http://evil.example").status in (403, 404)
