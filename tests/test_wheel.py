"""The wheel alone, in an environment with nothing else, reports and serves."""

import http.client
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = next((str(p) for p in (ROOT / ".tools" / "bin" / "uv",) if p.exists()), "uv")


def run(*words: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLTRAINER_", "VIRTUAL_ENV", "PYTHON"))}
    done = subprocess.run(words, cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.mark.slow
def test_the_wheel_in_an_empty_environment_reports_and_serves(tmp_path: Path):
    run(UV, "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(ROOT), cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    bin_ = tmp_path / "env" / "bin"
    run(UV, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "env"), cwd=tmp_path)
    run(UV, "export", "--locked", "--no-dev", "--no-emit-project", "--quiet", "-o", str(tmp_path / "pins"), cwd=ROOT)
    install = ("pip", "install", "--quiet", "--python", str(bin_ / "python"))
    run(UV, *install, "-r", str(tmp_path / "pins"), str(wheel), cwd=tmp_path)
    home = {"MLTRAINER_HOME": str(tmp_path / "home"), "MLTRAINER_WORLDS": "0"}
    span = ("--start", "2008-01-02", "--end", "2010-12-31", "--no-validate", "--jobs", "1")
    run(str(bin_ / "mltrainer"), "report", "--family", "neighbors", *span, cwd=tmp_path, **home)
    (index,) = (tmp_path / "reports").glob("*/index.html")
    assert "KNeighborsRegressor_5" in index.read_text()
    served = subprocess.Popen(
        [str(bin_ / "mltrainer"), "serve", "--port", "0"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **home},
    )  # fmt: skip
    try:
        assert served.stdout is not None
        found = re.match(r"http://(127\.0\.0\.1:\d+)/\?token=(\w+)", served.stdout.readline())
        assert found
        with closing(http.client.HTTPConnection(found[1], timeout=60)) as asked:
            asked.request("GET", "/api/health", headers={"Authorization": f"token {found[2]}"})
            assert b'"status":"ok"' in asked.getresponse().read()
    finally:
        served.terminate()
        served.wait(30)
        if served.stdout is not None:
            served.stdout.close()
