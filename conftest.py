"""What no test, no doctest and no process that one starts may see: a developer's keys, settings and `.env`."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# It extends Jupyter AI, which is no dependency; only Jupyter AI imports it.
collect_ignore = [] if find_spec("jupyter_ai_persona_manager") else ["mltrainer/assistant/persona.py"]
MEANT = ("MLTRAINER_REWRITE_DOCS", "MLTRAINER_ALL_CHECKS")  # knobs of the tests themselves


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--store postgresql` runs every test whose database is not its subject on a real server."""
    parser.addoption("--store", choices=("sqlite", "postgresql"), default="sqlite", help="database of all tests")


@pytest.fixture(scope="session", autouse=True)
def fence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work in an empty folder, with an own state folder and without keys; before any other fixture is made."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("MLTRAINER_") or n.endswith("_API_KEY")]:
            if name not in MEANT:
                patch.delenv(name)
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("nobody") / "home"))
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield
