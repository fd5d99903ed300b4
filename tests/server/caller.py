"""A program that talks to a running server: one request at a time, by role."""

import http.client
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

TOKEN = "a-token-of-the-tests"
ROLES = ("viewer", "auditor", "researcher", "admin")


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

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()
