"""What Dockerfile, compose.yaml and environment.yml name is there: held to the project, without an engine."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from mltrainer.cli.terminal import app
from mltrainer.operations.drills import RUNBOOKS
from mltrainer.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETTINGS = {f"MLTRAINER_{name.upper()}" for name in Settings.model_fields}


def test_every_file_that_the_image_copies_is_there():
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+)", DOCKERFILE, re.M) for word in line.split()[:-1]]
    assert len(copied) > 5
    assert not [name for name in copied if not (ROOT / name).exists()]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {name.rstrip("/") for name in ignored} & {*copied}
    assert ".env" in ignored


def test_every_extra_command_and_setting_that_they_name_exists():
    extras = set(re.findall(r"--extra (\w+)", DOCKERFILE))
    assert extras <= set(PROJECT["project"]["optional-dependencies"])
    run = re.findall(r'"mltrainer", "(\w+)"', DOCKERFILE)
    assert {"serve", "health"} == set(run)
    assert set(run) <= set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"MLTRAINER_\w+", DOCKERFILE)) | set(COMPOSE["services"]["mltrainer"]["environment"])
    assert named <= SETTINGS


def test_the_image_runs_as_nobody_in_particular_and_holds_no_secret():
    assert re.search(r"^USER mltrainer$", DOCKERFILE, re.M)
    assert not re.search(r"(?i)(api_?key|password|token)\s*=", DOCKERFILE)
    python = re.findall(r"^FROM python:3\.(\d+)", DOCKERFILE, re.M)
    assert len(set(python)) == 1
    assert 11 <= int(python[0]) < 14  # requires-python


def test_only_the_proxy_is_reached_from_outside():
    services = COMPOSE["services"]
    assert services["mltrainer"]["ports"] == ["8443:8443"]  # of the proxy, which shares its network
    assert services["proxy"]["network_mode"] == "service:mltrainer"
    assert not [name for name in ("postgres", "redis", "proxy") if "ports" in services[name]]
    mounted = [v.split(":")[0] for s in services.values() for v in s.get("volumes", ()) if v.startswith("./")]
    assert (ROOT / "deploy" / "nginx.conf").samefile(ROOT / mounted[0])
    assert "${POSTGRES_PASSWORD:?" in (ROOT / "compose.yaml").read_text()  # there is no default word


def test_the_proxy_of_compose_is_the_recipe_of_the_docs():
    recipe = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)
    if recipe is None:
        pytest.fail("docs/api.md has no recipe")
    assert re.findall(r"proxy_\w+ .*;", recipe[1]) == re.findall(
        r"proxy_\w+ .*;", (ROOT / "deploy" / "nginx.conf").read_text()
    )


def test_conda_asks_for_what_the_package_asks_for():
    asked = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{PROJECT['project']['requires-python']}" in asked
    (pip,) = [d["pip"] for d in asked if isinstance(d, dict)]
    extras = set(re.findall(r"\w+", re.search(r"\[(.*)\]", pip[0])[1]))  # type: ignore[index]
    assert extras <= set(PROJECT["project"]["optional-dependencies"])


def test_the_docs_have_every_runbook_and_its_question():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", (ROOT / "docs" / "running.md").read_text(), re.M))
    assert rows == RUNBOOKS
