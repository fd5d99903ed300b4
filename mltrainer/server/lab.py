"""`mltrainer lab`: JupyterLab on the notebooks, for researchers, who are trusted with keys and with running code."""

import os
import sys

from mltrainer.errors import BadInput
from mltrainer.paths import notebooks, runs_folder
from mltrainer.server.serve import become
from mltrainer.settings import environment, settings


def lab(port: int | None = None) -> None:
    """Turn this process into JupyterLab on 127.0.0.1, with its token on; `port` defaults to Jupyter's own choice."""
    if port is not None and not 0 < port <= 65535:
        raise BadInput(f"{port} is no port; choose one from 1024 to 65535")
    options = {
        "ServerApp.root_dir": str(notebooks()),
        "ServerApp.ip": "127.0.0.1",
        "LabApp.default_url": "/lab/tree/start-here.ipynb" if (notebooks() / "start-here.ipynb").exists() else "/lab",
        "KernelManager.transport": "tcp" if os.name == "nt" else "ipc",  # no kernel port that others could reach
        # voila shows a researcher's draft inside Lab; its plain file handler would answer without a token
        "VoilaConfiguration.file_allowlist": "^$",
        "VoilaConfiguration.show_tracebacks": "True",
        "ServerApp.jpserver_extensions": "mltrainer.server.extension=True",  # the same addresses as in `serve`
    }
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options["ServerApp.allow_root"] = "True"  # a container has no other user; outside one, Jupyter's advice holds
    if port is not None:
        options |= {"ServerApp.port": str(port), "ServerApp.port_retries": "0"}
    command = [sys.executable, "-P", "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    # Notebooks run in their own folder: what is set, and where runs lie, is settled where the researcher stands.
    become(command, {**os.environ, **environment(), "MLTRAINER_OUT": str(runs_folder(settings().out))})
