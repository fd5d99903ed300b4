"""Who may do what, asked of a running server: every address, every role, every method."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from caller import ROLES, Running
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mltrainer.server.roles import allowed
from mltrainer.server.routes import ROUTES
from mltrainer.server.sockets import PROTOCOL, split

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WHO = ("", *ROLES, "holder")  # a stranger, a user of each role, and who holds the server's own token
ADDRESSES = sorted({route.path for route in ROUTES})
NOWHERE = [
    *("/lab", "/tree", "/voila/tree", "/voila/files/probe.ipynb", "/voila/api/contents", "/files/probe.ipynb"),
    *("/nbconvert/html/probe.ipynb", "/api", "/api/contents", "/api/kernels", "/api/sessions", "/api/terminals"),
    *("/api/kernelspecs", "/api/shutdown", "/api/status", "/api/me", "/api/spec.yaml", "/api/events", "/api/nothing"),
    *("/metrics", "/lab/api/settings", "/view/probe.ipynb", "/custom/custom.css", "/logout", "/api/models/train/x"),
    *("/terminals/websocket/1", "/api/config/notebook", "/api/security/csp-report", "/voila/render/absent.ipynb"),
    "/api/kernels/00000000-0000-0000-0000-000000000000",
]
PARTS = ["/", "/plotly.min.js", "/chat.js", "/live.js", "/voila/static/voila.js",
         "/voila/templates/lab/static/index.css",
         "/voila/labextensions/@jupyter-widgets/jupyterlab-manager/package.json"]  # fmt: skip


def role_of(who: str) -> str:
    return "viewer" if who == "holder" else who


@pytest.mark.parametrize("who", WHO, ids=lambda who: who or "stranger")
def test_each_route_lets_in_whom_its_row_names_by_the_methods_it_has(served: Running, who: str):
    """A question with a parameter that there is not: 400 says that whoever asked was let in."""
    wrong = []
    for path in ADDRESSES:
        rows = {route.method: route for route in ROUTES if route.path == path}
        rows |= {"HEAD": rows["GET"]} if "GET" in rows else {}
        for method in METHODS:
            body = {"nothing": 1} if method not in ("GET", "HEAD", "OPTIONS") else None
            said = served(path.format(id="0" * 12) + "?nothing=1", method, role=who, body=body)
            row = rows.get(method)
            hoped = 403 if not who or (row and not allowed(role_of(who), row.permission)) else 400 if row else 405
            if said.status != hoped:
                wrong.append((method, path, said.status, hoped))
            if said.status == 405:
                assert set(said.headers["Allow"].split(", ")) == set(rows)
    assert wrong == []


@pytest.mark.parametrize("who", WHO, ids=lambda who: who or "stranger")
def test_nothing_of_jupyter_is_there_for_anybody(served: Running, who: str):
    for path in NOWHERE:
        for method in METHODS:
            said = served(path, method, role=who)
            hoped = {404} if who else {302, 403, 404}
            if path.startswith(("/api/kernels/", "/voila/render/")):
                hoped = hoped | {405}
            assert said.status in hoped, (method, path)
            assert "jupyter" not in said.text.lower()


@pytest.mark.parametrize("who", WHO, ids=lambda who: who or "stranger")
def test_the_parts_of_a_page_are_read_and_nothing_else_is_done_with_them(served: Running, who: str):
    for path in PARTS:
        for method in METHODS:
            status = served(path, method, role=who).status
            if not who:
                assert status in (302, 403, 405), (method, path)
            elif method == "GET":
                assert status in (200, 302), (method, path)
            else:
                assert status in (200, 302, 405) if method in ("HEAD", "OPTIONS") else status == 405, (method, path)


@pytest.mark.parametrize("who", WHO, ids=lambda who: who or "stranger")
def test_a_socket_is_no_document(served: Running, who: str):
    for path in ("/api/stream", "/api/kernels/00000000-0000-0000-0000-000000000000/channels"):
        for method in METHODS:
            assert served(path, method, role=who).status in ((400, 404, 405, 503) if who else (302, 403)), (
                method,
                path,
            )


@pytest.mark.parametrize("who", ROLES)
def test_the_chat_page_is_for_those_who_may_ask(served: Running, who: str):
    """`fresh` asks whether an answer still holds, and starts no kernel: 205 says that there is none."""
    said = served("/voila/render/chat.ipynb?fresh=x", role=who)
    assert said.status == (205 if allowed(who, "chat:ask") else 403)
    page = served("/voila/render/chat.ipynb", role=who)
    assert page.status == (200 if allowed(who, "chat:ask") else 403)
    assert "kernelId" not in page.text
    assert served("/voila/render/probe.ipynb?fresh=x", role=who).status == 205


# --- kernels --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(served: Running) -> Iterator[str]:
    """The kernel behind a page of the auditor's."""
    page = served("/voila/render/probe.ipynb", role="auditor")
    assert page.status == 200
    found = re.search(r'"kernelId": ?"([^"]+)"', page.text)[1]
    yield found
    served(f"/voila/api/shutdown/{found}", "POST", role="auditor", Origin=served.base)


def channels(served: Running, role: str, kernel: str) -> ClientConnection:
    address = f"ws{served.base.removeprefix('http')}/api/kernels/{kernel}/channels?session_id=s"
    headers = {"Authorization": f"token {served.tokens[role]}"}
    return connect(address, subprotocols=[PROTOCOL], additional_headers=headers, proxy=None, max_size=None)


@pytest.mark.parametrize("who", ["viewer", "researcher", "admin", "holder"])
def test_nobody_reaches_the_kernel_of_anothers_page(served: Running, kernel: str, who: str):
    assert served(f"/api/kernels/{kernel}", role=who).status == 404
    with pytest.raises(InvalidStatus, match="404"):
        channels(served, who, kernel)
    assert served(f"/voila/api/shutdown/{kernel}", "POST", role=who, Origin=served.base).status == 404
    assert served(f"/api/kernels/{kernel}", role="auditor").status == 200


def test_a_kernel_that_is_not_there_has_no_socket(served: Running):
    with pytest.raises(InvalidStatus, match="404"):
        channels(served, "viewer", str(uuid4()))


@pytest.mark.parametrize("channel", ["shell", "control"])
@pytest.mark.parametrize("kind", ["execute_request", "debug_request"])
def test_no_code_reaches_a_kernel_by_any_channel(served: Running, kernel: str, tmp_path: Path, kind: str, channel: str):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()"
    content = {
        "execute_request": {"code": code, "silent": False, "store_history": False, "user_expressions": {}},
        "debug_request": {"type": "request", "seq": 1, "command": "evaluate", "arguments": {"expression": code}},
    }[kind]
    with channels(served, "auditor", kernel) as connection:
        connection.send(message(kind, content, channel))
        connection.send(message("comm_info_request", {}, "shell"))  # answered after the other had its turn
        heard = kinds(connection, "comm_info_reply")
    assert "comm_info_reply" in heard
    assert not {"execute_reply", "debug_reply", "execute_input"} & set(heard)
    assert not ran.exists()


def message(kind: str, content: dict, channel: str) -> bytes:
    header = {"msg_id": str(uuid4()), "msg_type": kind, "username": "", "session": "s", "version": "5.3"}
    parts = [header | {"date": "2026-01-01T00:00:00Z"}, {}, {}, content]
    return serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts], channel)


def kinds(connection: ClientConnection, until: str) -> list[str]:
    found: list[str] = []
    while until not in found:
        found.append(json.loads(split(connection.recv(20))[1])["msg_type"])
    return found


def test_every_permission_of_a_route_is_a_row():
    from mltrainer.server.roles import PERMISSIONS

    assert {route.permission for route in ROUTES} <= PERMISSIONS.keys()
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
