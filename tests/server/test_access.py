"""Who may do what, asked of a running server: every address, every role, every method."""

import pytest
from caller import ROLES, Running

from mltrainer.server.roles import allowed
from mltrainer.server.routes import ROUTES

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
PARTS = ["/", "/plotly.min.js", "/voila/static/voila.js", "/voila/templates/lab/static/index.css",
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


def test_every_permission_of_a_route_is_a_row():
    from mltrainer.server.roles import PERMISSIONS

    assert {route.permission for route in ROUTES} <= PERMISSIONS.keys()
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
