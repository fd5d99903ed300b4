"""`mltrainer serve`: open the dashboards to people who may look and choose, and nothing else.

The serving process is a new one (`mltrainer.server.app`), started with an environment that never held a provider key:
whatever a dashboard could be talked into printing, a key is not in it.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from pydantic import AliasChoices, SecretStr

from mltrainer.errors import BadInput, Unavailable
from mltrainer.paths import notebooks
from mltrainer.settings import Settings, settings


def serve(
    port: int = 8866,
    *,
    token: str | None = None,
    open_browser: bool = False,
    out: str | Path = "reports",
    dashboards: Path | None = None,
    seats: int = 8,
    patience: float = 60.0,
) -> None:
    """Serve the dashboards on 127.0.0.1 until interrupted; prints one line, the address with its token.

    Parameters
    ----------
    port : 0 takes any free port.
    token : 16 to 128 letters, digits, `-` or `_`; made up when not given. Whoever holds it is a viewer.
    out : the folder of report runs that the dashboards read.
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
    plan = {
        "port": port,
        "token": token or secrets.token_hex(24),
        "dashboards": str(folder.resolve()),
        "open_browser": open_browser,
        "mode": settings().data_mode,
        "seats": seats,
        "patience": patience,
    }
    become([sys.executable, "-P", "-m", "mltrainer.server.app"], dashboard_environment(out), json.dumps(plan))


def dashboard_environment(out: str | Path) -> dict[str, str]:
    """The environment without secrets; mode and home are written down, as a key or `.env` can tell them no more."""
    kept = {name: value for name, value in os.environ.items() if name.upper() not in secret_names()}
    here = settings()
    found = {"MLTRAINER_MODE": here.data_mode, "MLTRAINER_HOME": str(here.home.resolve())}
    return kept | found | {"MLTRAINER_OUT": str(Path(out).resolve()), "MLTRAINER_SERVE": "1"}


def secret_names() -> set[str]:
    """Environment variables that hold a secret: each SecretStr in the settings, and every *_API_KEY.

    >>> sorted(secret_names() & {"POLYGON_API_KEY", "MASSIVE_API_KEY", "FRED_API_KEY", "MLTRAINER_HOME"})
    ['FRED_API_KEY', 'MASSIVE_API_KEY', 'POLYGON_API_KEY']
    """
    names = {name.upper() for name in os.environ if name.upper().endswith(("_API_KEY", "_SECRET", "_PASSWORD"))}
    for field, info in Settings.model_fields.items():
        if SecretStr in (info.annotation, *get_args(info.annotation)):
            alias = info.validation_alias
            choices = alias.choices if isinstance(alias, AliasChoices) else [alias or f"MLTRAINER_{field}"]
            names |= {str(choice).upper() for choice in choices}
    return names


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
