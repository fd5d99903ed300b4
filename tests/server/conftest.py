"""A real server with a user of each role; started once, asked one test after the other."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from caller import ADD, ROLES, TOKEN, Running, folder_of


@contextmanager
def serving(place: Path, **environment: str) -> Iterator[Running]:
    """A running `serve` in a folder of its own, with its home in it, and a user of each role."""
    env = {**os.environ, "MLTRAINER_HOME": str(place / "home"), "MLTRAINER_MODE": "sample", **environment}
    kept = place / "tokens"  # of a server that was here before
    if not kept.exists():
        call = [sys.executable, "-c", ADD, *ROLES]
        kept.write_text(subprocess.run(call, env=env, capture_output=True, text=True, check=True).stdout)
    with (place / "log").open("a") as log:
        call = (
            f"serve(0, token={TOKEN!r}, out={str(place / 'reports')!r}, dashboards=Path({str(place / 'dashboards')!r}))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", f"from pathlib import Path; from mltrainer.server import serve; {call}"],
            env=env, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        found = re.fullmatch(rf"(http://127\.0\.0\.1:\d+)/\?token={TOKEN}\n", process.stdout.readline())
        assert found, (place / "log").read_text()
        tokens = dict(zip(ROLES, kept.read_text().split(), strict=True)) | {"holder": TOKEN}
        yield Running(found[1], place, tokens, process)
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(folder_of(tmp_path_factory.mktemp("served"))) as running:
        yield running


@pytest.fixture
def another(tmp_path: Path) -> Callable[..., object]:
    """Starts servers on a folder of the test's own."""
    folder_of(tmp_path / "served")
    return lambda **environment: serving(tmp_path / "served", **environment)
