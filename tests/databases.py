"""The databases that a home may have, for tests that must hold on either, and what a stranger can do to them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text

BOTH = [
    pytest.mark.usefixtures("database"),
    pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True),
]
"""`pytestmark` of what must hold on either database."""
Tamper = Callable[..., None]


@contextmanager
def postgresql() -> Iterator[str]:
    """Start Debian's server in a folder of its own; yields the URL of its databases, to be formatted with a name."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # short: the path of a socket may have 107 characters
        data, as_user = Path(folder, "data"), []
        if os.geteuid() == 0:  # which the server refuses to run as
            shutil.chown(folder, "postgres")
            as_user = ["runuser", "-u", "postgres", "--"]
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder}
        control = [*as_user, programs / "pg_ctl", "-D", data, "-w"]
        initial = ["-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]
        subprocess.run([*as_user, programs / "initdb", *initial], **quiet)
        options = f"-F -c listen_addresses= -c max_connections=200 -k {folder}"
        subprocess.run([*control, "-l", Path(folder, "log"), "-o", options, "start"], **quiet)
        try:
            yield f"postgresql+psycopg://postgres@/{{}}?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


def _programs() -> Path:
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    found += [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    if sys.platform == "win32" or (not found and not os.environ.get("CI")):  # CI installs it, and must not pass without
        pytest.skip("no PostgreSQL on this machine: apt-get install postgresql")
    return found[-1]


def tampered(url: URL, statements: tuple[str, ...], values: dict[str, Any]) -> None:
    """Run statements past every trigger."""
    engine = create_engine(url)
    with engine.begin() as connection:
        if url.get_backend_name() == "sqlite":
            names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all()
            for name in names:
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("SET session_replication_role = replica"))  # triggers are not asked
        for statement in statements:
            connection.exec_driver_sql(statement) if not values else connection.execute(text(statement), values)
    engine.dispose()
