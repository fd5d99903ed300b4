import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mltrainer.errors import BadInput, Unavailable
from mltrainer.paths import notebooks, runs_folder
from mltrainer.server.lab import lab
from mltrainer.server.serve import dashboard_environment, serve
from mltrainer.settings import environment, settings


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What this process would have turned into."""
    calls: list[tuple] = []
    for module in ("lab", "serve"):  # the package offers functions of the same names
        monkeypatch.setattr(sys.modules[f"mltrainer.server.{module}"], "become", lambda *call: calls.append(call))
    return calls


@pytest.mark.parametrize("token", ["", "short", "with a space in it", "semi;colon;semi;colon", "é" * 20])
def test_a_token_that_could_be_guessed_or_mangled_is_refused(became: list[tuple], token: str):
    with pytest.raises(BadInput, match="16 to 128"):
        serve(token=token)
    assert became == []


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(became: list[tuple], port: int):
    for door in (serve, lab):
        with pytest.raises(BadInput, match="no port"):
            door(port)
    assert became == []


def test_a_folder_without_notebooks_is_no_set_of_dashboards(became: list[tuple], tmp_path: Path):
    with pytest.raises(Unavailable, match="no notebook"):
        serve(dashboards=tmp_path)
    assert became == []


def test_two_servers_never_share_a_made_up_token(became: list[tuple]):
    serve()
    serve()
    first, second = (plan for _, _, plan in became)
    assert first != second


def test_the_token_is_in_neither_the_command_nor_the_environment(became: list[tuple]):
    serve(token="sixteen-letters-x")
    command, environment, plan = became[0]
    assert "sixteen-letters-x" in plan
    assert "sixteen-letters-x" not in " ".join(command)
    assert "sixteen-letters-x" not in " ".join(environment.values())


def test_dashboards_get_what_they_need_and_nothing_that_has_another_name(home: Path, monkeypatch: pytest.MonkeyPatch):
    secrets = "POLYGON_API_KEY MASSIVE_API_KEY FRED_API_KEY SMTP_PASSWORD AWS_SESSION_TOKEN DSN MY_VAULT MLTRAINER_LLM"
    for name in (*secrets.split(), "http_proxy", "HTTPS_PROXY", "MLTRAINER_CACHE_URL"):
        monkeypatch.setenv(name, "redis://canary" if name == "MLTRAINER_CACHE_URL" else "canary")
    told = dashboard_environment("reports")
    assert not any("canary" in value for value in told.values())
    assert told["PATH"] == os.environ["PATH"]
    assert told["MLTRAINER_MODE"] == "live"  # a Polygon key is what makes it so
    assert told["MLTRAINER_HOME"] == str(home)
    assert told["MLTRAINER_OUT"] == str(Path("reports").resolve())


def test_dashboards_find_results_where_the_settings_say_and_have_keys_of_a_bucket_for_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    for place, key in ((str(tmp_path / "shared"), None), ("s3://bucket/results", "canary")):
        monkeypatch.setenv("MLTRAINER_BLOBS", place)
        told = dashboard_environment()
        assert (told["MLTRAINER_BLOBS"], told.get("AWS_SECRET_ACCESS_KEY")) == (place, key)


DOTENV = """POLYGON_API_KEY=canary
MLTRAINER_HOME=state
MLTRAINER_DATABASE_URL=sqlite:///ledger.sqlite
MLTRAINER_TASK_SECONDS=77
"""
SHOWN = (
    "from mltrainer.settings import settings as s; "
    "print(s().data_mode, s().home, s().database_url, s().task_seconds, s().out)"
)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a `.env` of its own."""
    monkeypatch.delenv("MLTRAINER_HOME")
    monkeypatch.delenv("MLTRAINER_DATABASE_URL", raising=False)
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here" / ".env").write_text(DOTENV)
    (tmp_path / "here" / ".env").chmod(0o600)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_a_kernel_of_the_lab_says_what_the_command_line_says(became: list[tuple], stand: Path):
    lab()
    call = [sys.executable, "-c", SHOWN]
    said = subprocess.run(call, env=became[0][1], cwd=stand / "elsewhere", capture_output=True, text=True, check=True)
    here = stand / "here"
    assert said.stdout.split() == [
        "live", str(here / "state"), f"sqlite:///{here / 'ledger.sqlite'}", "77.0", str(here / "reports")
    ]  # fmt: skip


def test_a_dashboard_reads_the_ledger_of_the_command_line_without_its_key(stand: Path):
    call, told = [sys.executable, "-c", SHOWN], dashboard_environment()
    said = subprocess.run(call, env=told, cwd=stand / "elsewhere", capture_output=True, text=True, check=True)
    here = stand / "here"
    assert said.stdout.split()[:3] == ["live", str(here / "state"), f"sqlite:///{here / 'ledger.sqlite'}"]
    assert "canary" not in told.values()


def test_what_is_set_survives_its_way_through_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, value in {"OFFLINE": "true", "WIRE_SECONDS": "12.5", "MODE": "sample", "OUT": "there"}.items():
        monkeypatch.setenv(f"MLTRAINER_{name}", value)
    monkeypatch.setenv("MASSIVE_API_KEY", "canary")
    before = settings().model_dump() | {"out": Path("there").absolute()}
    told = environment()
    assert told["POLYGON_API_KEY"] == "canary"
    monkeypatch.delenv("MASSIVE_API_KEY")
    monkeypatch.chdir(tmp_path)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert settings().model_dump() == before


def test_the_runs_of_a_notebook_lie_where_the_command_line_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for place in (notebooks(), notebooks() / "explore"):
        monkeypatch.chdir(place)
        assert runs_folder() == notebooks().parent / "reports"
    assert runs_folder("elsewhere") == notebooks() / "explore" / "elsewhere"
    monkeypatch.chdir(tmp_path)
    assert runs_folder() == tmp_path / "reports"


def test_a_wheel_holds_each_notebook_and_nothing_that_runs_left_among_them():
    text = (notebooks().parent / "pyproject.toml").read_text()
    shipped = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    found = {p.relative_to(notebooks()).as_posix() for p in notebooks().rglob("*.ipynb") if ".ipynb_ch" not in str(p)}
    assert shipped == {f"notebooks/{name}": f"mltrainer/notebooks/{name}" for name in found}


def test_lab_opens_the_notebooks_on_this_machine_only_and_keeps_its_token(became: list[tuple]):
    lab(8899)
    command = became[0][0]
    assert f"--ServerApp.root_dir={notebooks()}" in command
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=8899" in command
    assert not any("token" in part or "password" in part for part in command)
