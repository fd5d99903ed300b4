"""Every test has a home of its own and a machine without keys."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import databases
import pytest
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer
from replay.server import FRED_KEY, POLYGON_KEY, Replay
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool
from xdist.scheduler import LoadFileScheduling

from mltrainer import store

KEYS = (
    *("POLYGON_API_KEY", "MASSIVE_API_KEY", "FRED_API_KEY", "MLTRAINER_MODE", "MLTRAINER_DATABASE_URL"),
    *("MLTRAINER_OUT", "MLTRAINER_POLYGON_URL", "MLTRAINER_FRED_URL", "MLTRAINER_CACHE_URL", "MLTRAINER_OFFLINE"),
    "MLTRAINER_PROJECT",
)
HERE = ("127.0.0.1", "localhost", "::1")

# Rooms whose files use one server, or one run: the process that starts it does all of them.
TOGETHER = ("tests/browser", "tests/reports", "tests/server")


class Rooms(LoadFileScheduling):
    """Gives a process whole files, as `--dist loadfile` does, or whole rooms."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((room for room in TOGETHER if file.startswith(f"{room}/")), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Rooms | None:
    return Rooms(config, log) if config.getoption("dist") == "loadfile" else None


# A busy machine is no reason to fail, and a failure must come back on the next run.
settings.register_profile("mltrainer", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mltrainer")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test its own MLTRAINER_HOME, not yet made."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MLTRAINER_HOME", str(folder))
    monkeypatch.setenv("MLTRAINER_WORLDS", "0")  # a report's calibration takes a minute; who tests it asks for some
    return folder


@pytest.fixture(autouse=True)
def elsewhere(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With `--store postgresql` a test that names no database has an empty one there."""
    if request.config.getoption("--store") == "sqlite" or "database" in request.fixturenames:
        yield
        return
    with _server_database(request.getfixturevalue("postgresql"), monkeypatch):
        yield


@pytest.fixture(autouse=True)
def strayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No test leaves this machine: what a socket of this process tried elsewhere fails, and is listed here."""
    found: list[str] = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, _held_back(getattr(socket.socket, name), found))
    return found


def _held_back(act: Callable[..., Any], found: list[str]) -> Callable[..., Any]:
    def guarded(sock: socket.socket, *given: Any) -> Any:
        address = given[-1]
        if isinstance(address, tuple) and str(address[0]) not in HERE:
            found.append(str(address[0]))
            raise ConnectionRefusedError(111, "tests do not leave this machine")
        return act(sock, *given)

    return guarded


@pytest.fixture
def replay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replay]:
    """Both providers on this machine, mode replay, keys that fit, a plan without a narrow limit, little patience."""
    with Replay() as server:
        monkeypatch.setenv("MLTRAINER_MODE", "replay")
        monkeypatch.setenv("MLTRAINER_POLYGON_URL", server.url)
        monkeypatch.setenv("MLTRAINER_FRED_URL", server.url)
        monkeypatch.setenv("POLYGON_API_KEY", POLYGON_KEY)
        monkeypatch.setenv("FRED_API_KEY", FRED_KEY)
        monkeypatch.setenv("MLTRAINER_POLYGON_PER_MINUTE", "6000")
        monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "1.5")
        yield server


# --- buckets --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 interface on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and the settings by which results lie in it."""
    name = f"t{uuid4().hex}"
    for variable, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "of-the-tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLTRAINER_BLOBS": f"s3://{name}/results",
    }.items():
        monkeypatch.setenv(variable, value)
    boto3.resource("s3").create_bucket(Bucket=name)
    return f"s3://{name}/results"


@pytest.fixture(params=["folder", "bucket"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of results that several homes share, and the setting that names it."""
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket"))
    monkeypatch.setenv("MLTRAINER_BLOBS", str(tmp_path / "shared"))
    return str(tmp_path / "shared")


# --- databases ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    with databases.postgresql() as url:
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[URL]:
    """An empty database of the kind that the test asks for, default SQLite, and the settings that name it."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield make_url(f"sqlite:///{home / 'mltrainer.sqlite'}")
        return
    with _server_database(request.getfixturevalue("postgresql"), monkeypatch) as url:
        yield url


@contextmanager
def _server_database(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[URL]:
    name = f"t{uuid4().hex}"
    url = server.format(name)
    admin = create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", url)
    yield make_url(url)
    for (opened, _), engine in store._engines.items():
        if opened == make_url(url):
            engine.dispose()
    with admin.connect() as connection:  # eight megabytes each, of thousands of tests
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def tamper(database: URL) -> databases.Tamper:
    """What somebody with the database can do: the triggers are only a fence."""
    return lambda *statements, **values: databases.tampered(database, statements, values)
