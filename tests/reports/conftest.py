"""One real report, made by the command line in a process of its own; tests look at it or spoil a copy."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from making import COMMAND, MLTRAINER, Made, Said, environment

from mltrainer import cli


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report of the nearest neighbors on five years of MSFT."""
    place = tmp_path_factory.mktemp("made")
    home, out = place / "home", place / "out"
    done, seconds, before = [], [], {}
    for _ in range(2):
        begin = time.monotonic()
        call = [str(MLTRAINER), *COMMAND, "--jobs", "1", "--out", str(out)]
        done.append(subprocess.run(call, env=environment(home), cwd=place, capture_output=True, text=True))
        seconds.append(time.monotonic() - begin)
        before = before or {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert done[0].returncode == 0, done[0].stderr
    return Made(home, out, next(out.glob("MSFT-*")), *done, (seconds[0], seconds[1]), before)


@pytest.fixture
def copy(made: Made, home: Path, tmp_path: Path, database: object) -> Path:
    """A copy of the report and of the state it belongs to, rows in a file; returns the run folder."""
    shutil.copytree(made.home, home)
    return Path(shutil.copytree(made.folder, tmp_path / "out" / made.folder.name))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process; returns its exit code and what it wrote."""

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["mltrainer", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(ended.value.code, *capfd.readouterr())

    return call
