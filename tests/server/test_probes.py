"""What test_access leaves: odd methods, odd requests, slow clients, and the kernel sockets in every form, by role."""

import asyncio
import json
import os
import re
import socket
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from caller import ROLES, Running
from test_access import ADDRESSES, NOWHERE, PARTS, WHO, channels, message
from test_api import joined, session
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mltrainer.server.roles import allowed
from mltrainer.server.seats import Seats
from mltrainer.server.sockets import PROTOCOL

SOCKETS = ["/api/stream", "/api/kernels/00000000-0000-0000-0000-000000000000/channels"]
PAGES = ["/voila/render/probe.ipynb?fresh=x", "/voila/render/chat.ipynb?fresh=x", "/login", "/"]
ODD = ("TRACE", "CONNECT", "PROPFIND", "PURGE", "get", "G\u00cbT".encode().decode("latin-1"), "X" * 300)
everyone = pytest.mark.parametrize("who", WHO, ids=lambda who: who or "stranger")


def raw(running: Running, data: bytes, seconds: float = 10) -> bytes:
    """What the server says to bytes, up to its end or what comes in time."""
    host, port = urlsplit(running.base).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(data)
        found = b""
        try:
            while part := connection.recv(65536):
                found += part
                if b"\r\n\r\n" in found:
                    break
        except (TimeoutError, ConnectionError):
            pass
        return found


def status(answer: bytes) -> int:
    """Its status; 0 for a connection that was closed without one."""
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else 0


# --- methods --------------------------------------------------------------------------------------------------


@everyone
def test_no_address_answers_a_method_that_there_is_not(served: Running, who: str):
    token = f"Authorization: token {served.tokens[who]}\r\n" if who else ""
    wrong = []
    for path in [*(a.format(id="0" * 12) for a in ADDRESSES), *NOWHERE, *PARTS, *SOCKETS, *PAGES]:
        for method in ODD:
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Connection: close\r\n\r\n"
            answer = raw(served, head.encode("latin-1"))
            if status(answer) not in (0, 302, 400, 403, 404, 405) or b"authorization:" in answer.lower():
                wrong.append((method[:10], path, answer[:60]))
    assert wrong == []


@everyone
def test_a_page_is_only_read(served: Running, who: str):
    for path in PAGES[:2]:
        name = "chat" if "chat" in path else "probe"
        may = bool(who) and (name == "probe" or allowed("viewer" if who == "holder" else who, "chat:ask"))
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            said = served(path, method, role=who)
            assert said.status in ((405,) if may else (302, 403, 405)), (method, path, said.status)
        assert served(path, role=who).status == (205 if may else 403 if who else 302)
        assert served(path, "HEAD", role=who).status in ((205, 405) if may else (302, 403, 405))


# --- paths ----------------------------------------------------------------------------------------------------

ROOTS = ["/voila/static/", "/voila/templates/lab/static/", "/voila/labextensions/", "/voila/themes/", "/voila/render/",
         "/voila/files/", "/files/", "/static/", "/"]  # fmt: skip
UP = ["../" * 9, "..%2f" * 9, "%2e%2e/" * 9, "%2e%2e%2f" * 9, "..%252f" * 9, "..\\" * 9, "..%5c" * 9, "....//" * 9,
      "/", "%2f", "./" * 9 + "../" * 9, "..;/" * 9]  # fmt: skip


@pytest.mark.parametrize("who", ["", "viewer", "admin"], ids=["stranger", "viewer", "admin"])
def test_no_path_leads_out_of_its_folder(served: Running, who: str):
    (served.folder / "home" / "canary").write_text("a-canary-outside")
    places = ["etc/passwd", "proc/self/environ", str(served.folder / "home" / "canary").lstrip("/")]
    token = f"Authorization: token {served.tokens[who]}\r\n" if who else ""
    for root in ROOTS:
        for up in UP:
            for place in places:
                head = f"GET {root}{up}{place} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Connection: close\r\n\r\n"
                answer = raw(served, head.encode())
                assert status(answer) in (0, 302, 400, 403, 404), (root, up, place, answer[:80])
                assert b"root:" not in answer
                assert b"a-canary" not in answer


# --- bytes ----------------------------------------------------------------------------------------------------

HOST = b"Host: 127.0.0.1\r\n"
MALFORMED = {
    "no request": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "an old version": b"GET /api/health HTTP/0.9\r\n" + HOST + b"\r\n",
    "no version": b"GET /api/health\r\n\r\n",
    "no host": b"GET /api/health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /api/health HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
    "a whole address": b"GET http://evil.example/api/health HTTP/1.1\r\n" + HOST + b"\r\n",
    "two lengths": b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 9\r\n\r\n{}",
    "length and chunks": b"POST /api/chat HTTP/1.1\r\n" + HOST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length in words": b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: ten\r\n\r\n",
    "a huge length": b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "an odd chunk": b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a huge chunk": b"POST /api/chat HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    "a header without a name": b"GET /api/health HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
    "a header of controls": b"GET /api/health HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
    "a folded header": b"GET /api/health HTTP/1.1\r\n" + HOST + b"X: a\r\n\tAuthorization: token x\r\n\r\n",
    "a large head": b"GET /api/health HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET /api/health HTTP/1.1\r\n" + HOST + b"".join(b"X%d: 1\r\n" % n for n in range(9000)) + b"\r\n",
    "a long path": b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a zero in a path": b"GET /voila/static/a%00.js HTTP/1.1\r\n" + HOST + b"\r\n",
    "an odd cookie": b"GET /api/health HTTP/1.1\r\n" + HOST + b"Cookie: =;;; \xff\xfe; username=\"2|1:0|\r\n\r\n",
    "an odd token": b"GET /api/health HTTP/1.1\r\n" + HOST + b"Authorization: token \xff\xfe\r\n\r\n",
    "a token of nothing": b"GET /api/health HTTP/1.1\r\n" + HOST + b"Authorization: token \r\n\r\n",
    "basic": b"GET /api/health HTTP/1.1\r\n" + HOST + b"Authorization: Basic YTpi\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("what", MALFORMED)
def test_bytes_that_are_no_request_are_refused_and_break_nothing(served: Running, what: str):
    before = len(served.log)
    answer = raw(served, MALFORMED[what], seconds=3)
    assert status(answer) in (0, 302, 400, 403, 404, 405, 413, 415, 429, 431), answer[:200]
    assert b"Traceback" not in answer
    assert "Traceback" not in served.log[before:]
    assert served("/api/health", role="viewer").status == 200


def test_heads_that_never_end_keep_nobody_out(served: Running):
    """Slowloris: a hundred clients that send a header line now and then."""
    host, port = urlsplit(served.base).netloc.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=10) for _ in range(100)]
    for n in range(3):
        for connection in slow:
            connection.sendall(b"GET /api/health HTTP/1.1\r\n" if n == 0 else b"X: 1\r\n")
        assert served("/api/health", role="viewer").status == 200
    for connection in slow:
        connection.close()


# --- kernels --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mine(served: Running):
    """The kernel behind a page of a viewer's own."""
    found = re.search(r'"kernelId": ?"([^"]+)"', served("/voila/render/probe.ipynb", role="viewer").text)[1]
    yield found
    served(f"/voila/api/shutdown/{found}", "POST", role="viewer", Origin=served.base)


KINDS = {
    "execute_request": lambda code: {"code": code, "silent": True, "user_expressions": {"x": code}},
    "complete_request": lambda code: {"code": code, "cursor_pos": 1},
    "inspect_request": lambda code: {"code": code, "cursor_pos": 1, "detail_level": 1},
    "history_request": lambda code: {"hist_access_type": "tail", "n": 9, "output": True, "raw": True},
    "is_complete_request": lambda code: {"code": code},
    "interrupt_request": lambda code: {},
    "shutdown_request": lambda code: {"restart": False},
    "debug_request": lambda code: {
        "type": "request",
        "seq": 1,
        "command": "evaluate",
        "arguments": {"expression": code},
    },
    "create_subshell_request": lambda code: {},
    "usage_request": lambda code: {},
    "input_reply": lambda code: {"value": code},
}


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["shell", "control", "stdin", "iopub"])
def test_a_viewer_gets_nothing_of_its_own_kernel_by_any_message_of_either_protocol(
    served: Running, mine: str, tmp_path: Path, channel: str
):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w').close()"
    heard: list[str] = []
    for kind, content in KINDS.items():
        text = json.dumps({"channel": channel, "header": {"msg_id": "1", "msg_type": kind, "session": "s",
                           "username": "", "version": "5.3"}, "parent_header": {}, "metadata": {},
                           "content": content(code), "buffers": []})  # fmt: skip
        for sent in (message(kind, content(code), channel), text, text.encode()):
            with channels(served, "viewer", mine) as connection:
                connection.send(sent)
                try:
                    while True:
                        heard.append(str(connection.recv(0.2)))
                except (TimeoutError, ConnectionClosed):
                    pass
    assert not any("_reply" in words and "kernel_info" not in words for words in heard)
    assert not ran.exists()
    assert served(f"/api/kernels/{mine}", role="viewer").status == 200  # nor was it ended


def test_a_kernel_is_idle_since_its_last_socket_went(served: Running, mine: str):
    """A page that loses its line for a moment finds its kernel again, however long it was only looked at."""
    with channels(served, "viewer", mine):
        left = datetime.now(UTC)
    since, end = left, time.monotonic() + 30
    while since <= left and time.monotonic() < end:
        said = json.loads(served(f"/api/kernels/{mine}", role="viewer").text)
        since = datetime.fromisoformat(said["last_activity"])
        time.sleep(0.05)
    assert since > left


@pytest.mark.parametrize("visited", [True, False])
def test_a_kernel_that_waited_long_for_a_visitor_is_not_taken_for_idle_when_one_comes(visited: bool):
    async def stays() -> bool:
        seats = Seats(cull_idle_timeout=120)
        kernel = await seats.start_kernel(env={**os.environ, "VOILA_PREHEAT": "True"})
        try:
            seats.get_kernel(kernel).last_activity = datetime.now(UTC) - timedelta(seconds=347)
            if visited:
                seats.expect(kernel)
            await seats.cull_kernel_if_idle(kernel)
            return kernel in seats
        finally:
            await seats.shutdown_all(now=True)

    assert asyncio.run(stays()) is visited


@pytest.mark.parametrize("protocols", [None, ["kernel.websocket.jupyter.org"], ["v2.kernel.websocket.jupyter.org"]])
def test_no_socket_speaks_the_protocol_of_before(served: Running, mine: str, protocols):
    address = f"ws{served.base.removeprefix('http')}/api/kernels/{mine}/channels"
    headers = {"Authorization": f"token {served.tokens['viewer']}"}
    with pytest.raises(InvalidStatus, match="400"):
        connect(address, subprotocols=protocols, additional_headers=headers, proxy=None)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1.evil.example", None])
def test_a_page_of_another_site_opens_no_socket_with_a_browsers_cookie(served: Running, mine: str, origin: str | None):
    """A browser sends its cookie along, and says where the page is from; from here, it is let in."""
    headers = {"Cookie": joined(session(served, served.tokens["viewer"]))}
    for path in (f"/api/kernels/{mine}/channels", "/api/stream"):
        address = f"ws{served.base.removeprefix('http')}{path}"
        how = {"additional_headers": headers, "subprotocols": [PROTOCOL], "proxy": None}
        with pytest.raises(InvalidStatus, match=r"40[034]") if origin else nullcontext():
            connect(address, origin=origin or served.base, **how).close()


@pytest.mark.parametrize("who", ["", *ROLES], ids=lambda who: who or "stranger")
def test_a_kernel_is_not_made_listed_or_ended_by_hand(served: Running, mine: str, who: str):
    for path, method in [("/api/kernels", "POST"), ("/api/kernels", "GET"), (f"/api/kernels/{mine}", "DELETE"),
                         (f"/api/kernels/{mine}/interrupt", "POST"), (f"/api/kernels/{mine}/restart", "POST"),
                         ("/api/sessions", "POST"), ("/api/terminals", "POST"), ("/api/contents/x", "PUT")]:  # fmt: skip  # noqa: E501
        assert served(path, method, role=who, body={}).status in (302, 403, 404, 405), (path, method)
    time.sleep(0.1)
    assert served(f"/api/kernels/{mine}", role="viewer").status == 200
