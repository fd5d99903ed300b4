"""A program that talks to a running server: one request at a time, by role."""

import http.client
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat

TOKEN = "a-token-of-the-tests"
CHANGE = """import sys
from mltrainer.server import users
for change in sys.argv[1:]:
    verb, *given = change.split(":")
    print(getattr(users, verb)(*given) or "")"""
ROLES = ("viewer", "auditor", "researcher", "admin")

CELL = """from ipywidgets import HTML
HTML("<p class=probe>here</p>")"""
ADD = "import sys; from mltrainer.server import users; print(*(users.add(f'my-{r}', r) for r in sys.argv[1:]))"


CHECK = """import sys
from mltrainer.trading import alerts
for day in sys.argv[2:]:
    alerts.check(sys.argv[1], as_of=day, send=False)"""
NEWS = ("2008-09-15", "2009-03-10")  # days on which something of MSFT was news


def folder_of(place: Path) -> Path:
    (place / "dashboards").mkdir(parents=True)
    probe = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    probe.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    for name in ("probe", "chat"):
        nbformat.write(probe, place / "dashboards" / f"{name}.ipynb")
    return place


@dataclass
class Said:
    """What a server answered."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text, parse_constant=lambda word: 1 / 0)


@dataclass
class Running:
    """A running server and the tokens of its users, by role; "" is a stranger."""

    base: str
    folder: Path
    tokens: dict[str, str]
    process: "subprocess.Popen[str]"

    def __call__(
        self, path: str, method: str = "GET", *, role: str = "", token: str = "", body: Any = None, **headers: str
    ) -> Said:
        connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=120)
        token = token or self.tokens.get(role, "")
        sent = {"Authorization": f"token {token}"} if token else {}
        if body is not None and not isinstance(body, bytes):
            body, sent = json.dumps(body).encode(), sent | {"Content-Type": "application/json"}
        try:
            connection.request(
                method, path, body=body, headers=sent | {k.replace("_", "-"): v for k, v in headers.items()}
            )
            answer = connection.getresponse()
            return Said(answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders()))
        finally:
            connection.close()

    def users(self, *changes: str) -> list[str]:
        """Change users as an operator does, in another process: `add:NAME:ROLE`, `rotate:NAME`, `remove:NAME`."""
        env = self.environment
        done = subprocess.run(
            [sys.executable, "-c", CHANGE, *changes], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    def check(self, ticker: str, *days: str) -> None:
        """Look for alerts of a ticker as of days, as an operator does."""
        subprocess.run([sys.executable, "-c", CHECK, ticker, *days], env=self.environment, check=True)

    @property
    def environment(self) -> dict[str, str]:
        """For who works beside the server: its home and its rows, whatever database the test itself has."""
        own = {name: value for name, value in os.environ.items() if name != "MLTRAINER_DATABASE_URL"}
        return own | {"MLTRAINER_HOME": str(self.folder / "home"), "MLTRAINER_MODE": "sample"}

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


def alerts_of(running: Running) -> list[str]:
    """Numbers of alerts, three at least, the first one first; none is of MSFT. In passing, the last is acknowledged."""
    if not (found := _alerts(running)):
        running.check("JNJ", "2008-09-15", "2008-10-10", "2009-03-10")
        found = _alerts(running)
    return found


def _alerts(running: Running) -> list[str]:
    items = running("/api/alerts", role="viewer").json["items"][::-1]
    return [alert["id"] for alert in items if alert["subject"] != "MSFT"]
