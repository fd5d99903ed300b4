"""`mltrainer serve`: open the dashboards to people who may look and choose, and nothing else.

The serving process is a new one (`mltrainer.server.app`), started with an environment that never held a provider key:
whatever a dashboard could be talked into printing, a key is not in it. That of the chat's language model goes to the
serving process alone, by its standard input, and to no kernel.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from mltrainer.errors import BadInput, Unavailable
from mltrainer.paths import notebooks, runs_folder
from mltrainer.server.private import of_model
from mltrainer.server.proxies import names, networks
from mltrainer.settings import environment, settings


def serve(
    port: int = 8866,
    *,
    token: str | None = None,
    open_browser: bool = False,
    out: str | Path | None = None,
    dashboards: Path | None = None,
    seats: int = 8,
    patience: float = 60.0,
) -> None:
    """Serve the dashboards on 127.0.0.1 until interrupted; prints one line, the address with its token.

    Parameters
    ----------
    port : 0 takes any free port.
    token : 16 to 128 letters, digits, `-` or `_`; made up when not given. Whoever holds it is a viewer; other roles
        come with the tokens of `mltrainer user add`.
    out : the folder of report runs that the dashboards read; default as for `report`.
    dashboards : serve the notebooks of another folder; for tests.
    seats : pages open at a time, at about 150 MB each.
    patience : seconds in which the browser must come back for a page that it asked for.
    """
    folder = Path(dashboards) if dashboards else notebooks() / "dashboards"
    if not any(folder.glob("*.ipynb")):
        raise Unavailable(f"{folder} holds no notebook, so there is no dashboard to serve")
    if not 0 <= port <= 65535:
        raise BadInput(f"{port} is no port; choose one from 1024 to 65535, or 0 for any free one")
    if token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", token):
        raise BadInput("the token needs 16 to 128 letters, digits, - or _; leave it out to have one made")
    told = dashboard_environment(out)
    plan = {
        "port": port,
        "token": token or secrets.token_hex(24),
        "dashboards": str(folder.resolve()),
        "open_browser": open_browser,
        "mode": settings().data_mode,
        "seats": seats,
        "patience": patience,
        "writer": {name: value for name, value in environment().items() if name == "MLTRAINER_DATABASE_URL"},
        "proxies": networks(settings().trusted_proxies),
        "hosts": names(settings().public_hosts),
        "model": of_model(settings().llm, os.environ),
        "kernels": {name: value for name, value in told.items() if name == "MLTRAINER_DATABASE_URL"},
    }
    become([sys.executable, "-P", "-m", "mltrainer.server.app"], told, json.dumps(plan))


# What a process needs of its machine. Anything else stays outside: a secret has no name that a list of secrets knows.
PASSED_ON = set(
    "PATH PYTHONPATH PYTHONUTF8 VIRTUAL_ENV LD_LIBRARY_PATH HOME USER LOGNAME LANG LANGUAGE LC_ALL LC_CTYPE LC_NUMERIC "
    "LC_TIME TZ TMPDIR TEMP TMP SYSTEMROOT WINDIR COMSPEC PATHEXT APPDATA LOCALAPPDATA PROGRAMDATA USERPROFILE "
    "OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS "
    "DISPLAY WAYLAND_DISPLAY XAUTHORITY XDG_RUNTIME_DIR BROWSER".split()  # to open a browser
)
# What dashboards read by. A database's address may hold its password, and there is no reading without it: an operator
# who names a role that may only read (MLTRAINER_DASHBOARD_DATABASE_URL) has that in the kernels, and no other.
SETTINGS = (
    "MLTRAINER_HOME",
    "MLTRAINER_DATABASE_URL",
    "MLTRAINER_BLOBS",
    "MLTRAINER_POLYGON_URL",
    "MLTRAINER_FRED_URL",
    "MLTRAINER_ENCRYPTION_KEY_FILE",
)  # where the key lies, never the key

OF_A_BUCKET = set(  # and of none where results lie in a folder
    "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE "
    "AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_ENDPOINT_URL_S3 AWS_CA_BUNDLE".split()
)

READER = "MLTRAINER_DASHBOARD_DATABASE_URL"


def dashboard_environment(out: str | Path | None = None) -> dict[str, str]:
    """The environment of the server and its kernels: what is named here, and nothing else."""
    needed = PASSED_ON | (OF_A_BUCKET if isinstance(settings().blobs, str) else set())
    machine = {name: value for name, value in os.environ.items() if name.upper() in needed}
    here = environment()
    known = {name: value for name, value in here.items() if name in SETTINGS}
    known |= {"MLTRAINER_DATABASE_URL": here[READER]} if READER in here else {}
    place = str(runs_folder(out or settings().out))
    told = {"MLTRAINER_MODE": settings().data_mode, "MLTRAINER_OUT": place, "MLTRAINER_SERVE": "1"}
    if settings().data_mode != "sample":
        told["MLTRAINER_OFFLINE"] = "true"  # without a key it shows what was fetched before, and of when that is
    return machine | known | told


def become(command: Sequence[str], environment: Mapping[str, str], standard_input: str | None = None) -> NoReturn:
    """Turn this process into another one; what is secret goes in by standard input, which no process list shows."""
    if os.name == "nt":  # there, exec leaves the console to the shell while the child still writes to it
        sys.exit(subprocess.run(command, env=environment, input=standard_input, text=True, check=False).returncode)  # noqa: S603
    if standard_input is not None:
        reading, writing = os.pipe()
        os.write(writing, standard_input.encode())
        os.close(writing)
        os.dup2(reading, 0)
    sys.stdout.flush()
    os.execve(command[0], list(command), dict(environment))  # noqa: S606
