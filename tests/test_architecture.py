"""The map of the house is true: imports point down, each library has one room, and nothing heavy is loaded early."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import mltrainer

ROOT = Path(mltrainer.__file__).resolve().parents[1]
PACKAGE = ROOT / "mltrainer"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
pytestmark = pytest.mark.skipif(not (ROOT / "uv.lock").exists(), reason="needs a checkout")


# --- layers ---------------------------------------------------------------------------------------------------


def contract() -> dict:
    return next(dict(c) for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")


def rooms() -> set[str]:
    """Modules and packages directly inside the package."""
    found = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    return found - {"__init__"}


def test_imports_point_down_only():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(lint), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_room_is_placed_in_the_layers():
    placed = {name.strip() for layer in contract()["layers"] for name in layer.split("|")}
    assert rooms() <= placed
    assert placed - rooms() == set()  # no layer of a room that is gone
    assert contract()["exhaustive"] is True
    assert contract()["containers"] == ["mltrainer"]


def test_no_import_is_excused():
    assert not contract().keys() & {"ignore_imports", "unmatched_ignore_imports_alerting", "exhaustive_ignores"}


# --- one room a library ---------------------------------------------------------------------------------------


@cache
def imports(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def users(*libraries: str) -> set[str]:
    """Files of the package that import a library or anything inside it."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name == lib or name.startswith(f"{lib}.") for name in imports(path) for lib in libraries)
    }


def test_nothing_private_of_a_library_is_imported():
    """Any release may move it."""
    private = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for name in imports(path)
        if any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
    }
    assert private == {("trust/provenance.py", "hashlib._Hash")}  # a type of the standard library, for mypy only


ENGINE = ("sqlalchemy.create_engine", "sqlalchemy.engine", "sqlalchemy.pool", "sqlalchemy.MetaData", "sqlalchemy.Table")
VIEWS = {f"views/{path.name}" for path in (PACKAGE / "views").glob("*.py")}
ONE_ROOM = {
    "engines and tables": (ENGINE, {"store.py", "schema.py"}),
    # what talks to the tables of the store, through its connections
    "SQL": (
        ("sqlalchemy",),
        {
            "store.py",
            "schema.py",
            "assistant/history.py",
            "trust/audit.py",
            "trust/gate.py",
            "trust/checking.py",
            "trust/checkpoints.py",
            "trust/moving.py",
            "migrations/__init__.py",
            "evaluation/trials.py",
            "evaluation/outcomes.py",
            "trading/alerts/ledger.py",
            "trading/forecasts/ledger.py",
            "trading/positions/ledger.py",
            "trading/recommendations/ledger.py",
            "server/users.py",
            "server/jobs.py",
            "server/stream.py",
            "operations/backup.py",
            "operations/retention.py",
            "operations/explain.py",
        },
    ),
    # figures are drawn in views; the others put them on a page, and the server hands out plotly.js
    "figures": (("plotly.express", "plotly.subplots", "plotly.figure_factory"), VIEWS),
    "figures on a page": (
        ("plotly",),
        VIEWS
        | {f"reports/{name}.py" for name in ("pages", "brief", "family", "factor", "index", "kernels", "validation")}
        | {"server/handlers.py"},
    ),
    "other figures": (("matplotlib", "seaborn", "bokeh", "altair"), set()),
    "notebooks": (("papermill", "nbconvert", "nbformat", "nbclient"), {"reports/execution.py", "reports/pages.py"}),
    "the exchange calendar": (("exchange_calendars",), {"data/quality/case.py"}),
    "messages": (("apprise",), {"trading/alerts/delivery.py"}),
    "indicators": (("talib",), {"features/indicators.py"}),
    "settings": (("pydantic_settings", "platformdirs"), {"settings.py"}),
    "the command line": (("typer",), {f"cli/{path.name}" for path in (PACKAGE / "cli").glob("*.py")}),
    # a process of its own would outlast whoever asked for it, and run the caller's script again
    "worker processes": (
        ("multiprocessing", "concurrent.futures.ProcessPoolExecutor"),
        {"evaluation/engine.py", "reports/kernels.py"},
    ),
    "pickles": (("pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"), set()),
    "the network": (
        (
            *("requests", "urllib3", "requests_cache", "requests_ratelimiter", "urllib.request", "httpx", "aiohttp"),
            *("socket", "ssl", "http.client", "ftplib", "smtplib", "websocket"),
        ),
        {f"data/providers/{name}.py" for name in ("transport", "cache", "turns")},
    ),
}


@pytest.mark.parametrize("what", ONE_ROOM)
def test_a_library_has_its_rooms_and_no_others(what: str):
    libraries, allowed = ONE_ROOM[what]
    assert users(*libraries) <= allowed | ALSO.get(what, set())


# the server listens, and its gate knows what HTTP calls its answers
ALSO: dict[str, set[str]] = {"the network": {"server/app.py", "server/gate.py"}}


def test_the_three_wings_are_plain_where_the_design_says_so():
    """Estimators know nothing of markets, storage or trust; only a card knows how it is shown."""
    for path in PACKAGE.glob("models/*.py"):
        known = {name.split(".")[1] for name in imports(path) if name.startswith("mltrainer.")}
        shown = {"views"} if path.name == "card.py" else set()
        assert known <= {"models", "errors", "metrics", "settings"} | shown, path


def test_nothing_is_silenced_or_run_from_text():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), path
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno} catches everything"


# --- what is loaded when --------------------------------------------------------------------------------------


def loaded_by(statement: str) -> set[str]:
    call = f"import sys; {statement}; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"pandas", "numpy", "scipy", "sklearn", "plotly", "sqlalchemy", "papermill", "statsmodels", "torch", "keras"}


@pytest.mark.parametrize("statement", ["import mltrainer", "import mltrainer.cli", "import mltrainer.errors"])
def test_a_light_import_loads_nothing_heavy(statement: str):
    assert loaded_by(statement) & HEAVY == set()


# --- the public surface ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(mltrainer.PUBLIC))
def test_a_public_name_is_there_and_says_what_it_is(name: str):
    value = getattr(mltrainer, name)
    assert len((value.__doc__ or "").split()) > 3
    assert name in dir(mltrainer)


def test_an_unknown_public_name_says_what_there_is():
    with pytest.raises(AttributeError, match=r"it offers .*audit, bars"):
        mltrainer.nothing  # noqa: B018


def test_types_see_the_same_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    names = {a.asname or a.name for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert names == set(mltrainer.PUBLIC)


# --- packaging ------------------------------------------------------------------------------------------------


def test_the_lock_names_the_public_registry_only():
    text = (ROOT / "uv.lock").read_text()
    hosts = {urlsplit(address).hostname for address in re.findall(r'"(\S+?://[^"]*)"', text)}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
    assert not re.search(r"source = \{ (git|url|path|directory)", text)


def test_conda_users_get_python_pip_and_this_project_with_no_second_list_of_versions():
    text = (ROOT / "environment.yml").read_text()
    entries = re.findall(r"^ +- (.+)$", text, re.MULTILINE)
    python, pip, nested, project = entries
    assert python == f"python{PROJECT['project']['requires-python']}"
    assert (pip, nested) == ("pip", "pip:")
    assert re.fullmatch(r"-e \.(\[[a-z,]+\])?", project)
    extras = set(re.findall(r"[a-z]+", project.partition("[")[2]))
    assert extras <= PROJECT["project"]["optional-dependencies"].keys()


def test_make_and_conda_install_the_same_extras():
    made = set(re.findall(r"--extra (\w+)", (ROOT / "Makefile").read_text()))
    conda = set(re.findall(r"\[([a-z,]+)\]", (ROOT / "environment.yml").read_text())[-1].split(","))
    assert made == conda


def normal(name: str) -> str:
    """A distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[<>=\[ ;]", r)[0]) for r in requirements}


# What declared dependencies are built on and hand out in their own interface.
COMES_WITH = {
    "jupyter-client": "jupyter-server",
    "jupyter-core": "jupyter-server",
    "nbformat": "jupyter-server",
    "tornado": "jupyter-server",
    "traitlets": "jupyter-server",
    "jupyterlab-server": "jupyterlab",
    "pydantic": "pydantic-settings",
    "pydantic-core": "pydantic-settings",
    "ipython": "ipykernel",
    "websockets": "voila",
    "cvxpy-base": "skfolio",
    "urllib3": "requests",
    "pyrate-limiter": "requests-ratelimiter",
}


def test_what_is_imported_is_declared():
    declared = wanted(PROJECT["project"]["dependencies"])
    optional = {name for extra in PROJECT["project"]["optional-dependencies"].values() for name in wanted(extra)}
    assert set(COMES_WITH.values()) <= declared
    owners, ours = packages_distributions(), {*sys.stdlib_module_names, "mltrainer"}
    for path in PACKAGE.rglob("*.py"):
        for name in {n.partition(".")[0] for n in imports(path)} - ours:
            known = {normal(owner) for owner in owners.get(name, [])}  # empty where an extra is not installed
            assert not known or known & (declared | optional | COMES_WITH.keys()), f"{path.name} imports {name}"
