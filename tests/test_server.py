import sys
from pathlib import Path

import pytest

from mltrainer.errors import BadInput, Unavailable
from mltrainer.paths import notebooks
from mltrainer.server.lab import lab
from mltrainer.server.serve import dashboard_environment, serve


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


def test_dashboards_get_no_secret_but_the_mode_and_home_it_stood_for(home: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY", "FRED_API_KEY", "ANTHROPIC_API_KEY", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, "canary")
    environment = dashboard_environment("reports")
    assert "canary" not in environment.values()
    assert environment["MLTRAINER_MODE"] == "live"  # a Polygon key is what makes it so
    assert environment["MLTRAINER_HOME"] == str(home)
    assert environment["MLTRAINER_OUT"] == str(Path("reports").resolve())


def test_lab_opens_the_notebooks_on_this_machine_only_and_keeps_its_token(became: list[tuple]):
    lab(8899)
    command = became[0][0]
    assert f"--ServerApp.root_dir={notebooks()}" in command
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.port=8899" in command
    assert not any("token" in part or "password" in part for part in command)
