"""Behind a real nginx, configured as docs/api.md says: TLS, the visitor's origin, and nobody else's word for it."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, expect
from visitor import TOKEN, Served, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from mltrainer.paths import notebooks
from mltrainer.server.sockets import PROTOCOL

pytestmark = pytest.mark.browser
NAME = "desk.example.com"
DOCS = Path(__file__).parents[2] / "docs" / "api.md"
TOKEN_HEADER = {"Authorization": f"token {TOKEN}"}


@dataclass
class Proxy:
    """nginx before a server, and the same server without it."""

    port: int
    inner: str
    trust: ssl.SSLContext

    def __call__(self, path: str, method: str = "GET", *, body: Any = None, direct: bool = False, **headers: str):
        """An answer by way of nginx, or of the server itself."""
        host, port = ("127.0.0.1", self.port) if not direct else self.inner.removeprefix("http://").split(":")
        kind = http.client.HTTPConnection if direct else http.client.HTTPSConnection
        connection = kind(host, int(port), timeout=60, **({} if direct else {"context": self.trust}))
        sent = {"Host": f"{NAME}:{self.port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if body is not None:
            body, sent = json.dumps(body), sent | {"Content-Type": "application/json"}
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        answer.text = answer.read().decode()  # type: ignore[attr-defined]
        connection.close()
        return answer

    def stream(self, origin: str, **headers: str):
        address = f"wss://{NAME}:{self.port}/api/stream"
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        return connect(address, sock=socket.create_connection(("127.0.0.1", self.port)), ssl=self.trust, origin=origin,
                       additional_headers=sent, proxy=None, open_timeout=60)  # fmt: skip


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(place: Path, inner: str) -> Iterator[Proxy]:
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None and not os.environ.get("CI"):  # CI installs it, and must not pass without it
        pytest.skip("no nginx on this machine: apt-get install nginx")
    cert, key = place / "cert.pem", place / "key.pem"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"]
    call = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*call, "-days", "2", "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    recipe = re.search(r"```nginx\n(.*?)```", DOCS.read_text(), re.DOTALL)[1]
    for said, here in {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl", "http://127.0.0.1:8866": inner,
                       "/etc/ssl/mltrainer.pem": str(cert), "/etc/ssl/mltrainer.key": str(key)}.items():  # fmt: skip
        assert recipe.count(said) == 1, said
        recipe = recipe.replace(said, here)
    kept = "".join(f"{kind}_temp_path {place / kind};" for kind in "client_body proxy fastcgi uwsgi scgi".split())
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place / 'pid'}; error_log {place / 'error.log'}; {'user root;' if os.geteuid() == 0 else ''}"
        f"events {{}} http {{ access_log off; {kept} {recipe} }}"
    )
    process = subprocess.Popen(
        [found, "-p", str(place), "-e", str(place / "error.log"), "-c", str(place / "nginx.conf")]
    )
    try:
        until = time.monotonic() + 20
        while not listening(port) and time.monotonic() < until:
            assert process.poll() is None, (place / "error.log").read_text()
            time.sleep(0.1)
        yield Proxy(port, inner, ssl.create_default_context(cafile=cert))
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that was told of its proxy, with the chat and the alerts."""
    folder = tmp_path_factory.mktemp("behind")
    (folder / "dashboards").mkdir()
    for name in ("chat", "alerts"):
        shutil.copy(notebooks() / "dashboards" / f"{name}.ipynb", folder / "dashboards")
    environment = {**os.environ, "MLTRAINER_HOME": str(folder / "home"), "MLTRAINER_MODE": "sample"}
    environment |= {"MLTRAINER_TRUSTED_PROXIES": "127.0.0.1", "MLTRAINER_PUBLIC_HOSTS": NAME}
    with serving(folder, environment) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(inner: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with nginx(tmp_path_factory.mktemp("nginx"), inner.base) as running:
        yield running


def session(proxy: Proxy, **headers: str) -> dict[str, str]:
    """The cookies of a browser that signed in through nginx."""
    said = proxy(f"/voila/render/chat.ipynb?token={TOKEN}", **headers)
    lines = said.headers.get_all("Set-Cookie")
    named = [line for line in lines if line.startswith("username-")]
    assert all("; secure" in line.lower() and "httponly" in line.lower() for line in named), lines
    pairs = dict(line.partition(";")[0].split("=", 1) for line in lines)
    again = proxy("/voila/render/chat.ipynb", Cookie="; ".join(f"{k}={v}" for k, v in pairs.items()), **headers)
    more = again.headers.get_all("Set-Cookie") or []
    pairs |= dict(line.partition(";")[0].split("=", 1) for line in more)
    return {"Cookie": "; ".join(f"{k}={v}" for k, v in pairs.items()), "X_XSRFToken": pairs["_xsrf"]}


ASK = {"question": "which tickers are there?"}


def test_a_browsers_question_passes_under_the_name_it_sees_and_under_no_other(proxy: Proxy):
    known, own = session(proxy), f"https://{NAME}:{proxy.port}"
    assert proxy("/api/chat", "POST", body=ASK, Origin=own, **known).status == 200
    for origin in ("https://evil.example", f"https://{NAME}", f"https://{NAME}.evil.example:{proxy.port}", "null"):
        assert proxy("/api/chat", "POST", body=ASK, Origin=origin, **known).status in (403, 404), origin
    assert proxy("/api/chat", "POST", body=ASK, Origin=own, Cookie=known["Cookie"]).status == 403  # no XSRF token
    assert "max-age" in proxy("/api/health", **TOKEN_HEADER).headers["Strict-Transport-Security"]


def test_a_socket_opens_to_the_page_of_its_own_origin_alone(proxy: Proxy):
    known = {"Cookie": session(proxy)["Cookie"]}
    with proxy.stream(f"https://{NAME}:{proxy.port}", **known):
        pass
    for origin in ("https://evil.example", f"https://{NAME}:{proxy.port + 1}"):
        with pytest.raises(InvalidStatus, match="403"):
            proxy.stream(origin, **known)


def test_a_kernels_socket_passes_the_proxy_and_what_the_kernel_asks_does_not(proxy: Proxy):
    known, own = {"Cookie": session(proxy)["Cookie"]}, f"https://{NAME}:{proxy.port}"
    page = proxy("/voila/render/alerts.ipynb?live=1", **known)
    kernel = re.search(r'"kernelId": ?"([^"]+)"', page.text)[1]
    path = f"/api/kernels/{kernel}/channels?session_id={uuid4()}"
    sock = socket.create_connection(("127.0.0.1", proxy.port))
    with connect(f"wss://{NAME}:{proxy.port}{path}", sock=sock, ssl=proxy.trust, origin=own, subprotocols=[PROTOCOL],
                 additional_headers=known, proxy=None, max_size=None, open_timeout=60) as channel:  # fmt: skip
        assert channel.recv(30)
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
               "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    assert proxy(f"/voila/query/{kernel}", X_Forwarded_For="127.0.0.1", **upgrade).status == 404
    assert proxy(f"/voila/api/shutdown/{kernel}", "POST", Origin=own, **known).status == 204


def test_what_a_visitor_says_of_themselves_means_nothing(proxy: Proxy):
    elsewhere = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "http", "Forwarded": "host=evil.example"}
    known, own = session(proxy, **elsewhere), f"https://{NAME}:{proxy.port}"
    assert proxy("/api/chat", "POST", body=ASK, Origin="https://evil.example", **known, **elsewhere).status in (
        403,
        404,
    )
    assert proxy("/api/chat", "POST", body=ASK, Origin=own, **known, **elsewhere).status == 200
    assert proxy("/api/health", Host="evil.example", **TOKEN_HEADER).status == 403


def test_wrong_tokens_are_counted_by_visitor_whatever_a_visitor_writes_before(proxy: Proxy):
    """A proxy that appends says the address that it saw last."""
    for n in range(25):
        said = proxy("/api/health", direct=True, Authorization=f"token guess-{n}",
                     X_Forwarded_For=f"10.9.8.{n}, 203.0.113.7", X_Forwarded_Proto="https")  # fmt: skip
    assert said.status == 429
    other = proxy("/api/health", direct=True, Authorization="token guess", X_Forwarded_For="203.0.113.8")
    assert other.status == 403


def test_a_server_that_was_told_of_no_proxy_believes_none(chatting: Served, tmp_path: Path):
    with nginx(tmp_path, chatting.base) as proxy:
        assert proxy("/api/health", **TOKEN_HEADER).status == 403  # nobody said that it has this name
        host = chatting.base.removeprefix("http://")
        own = {"Origin": "https://evil.example", "X_Forwarded_Host": "evil.example", "Host": host}
        pairs = proxy(f"/?token={TOKEN}", direct=True, Host=host).headers.get_all("Set-Cookie")
        cookie = "; ".join(line.partition(";")[0] for line in pairs)
        assert proxy("/api/models?limit=1", direct=True, Cookie=cookie, **own).status in (403, 404)
        assert proxy("/api/models?limit=1", direct=True, Cookie=cookie, Host=host).status == 200


@pytest.mark.slow
def test_pages_and_chat_work_in_a_browser_through_nginx(proxy: Proxy, browser: Browser):
    context = browser.new_context(ignore_https_errors=True)
    page, errors = context.new_page(), []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(f"https://127.0.0.1:{proxy.port}/voila/render/chat.ipynb?token={TOKEN}")
    box = page.locator(".chat-form textarea")
    box.fill("which tickers are there?")
    box.press("Enter")
    expect(page.locator(".chat-bot").last).to_contain_text("MSFT", timeout=60_000)
    page.goto(f"https://127.0.0.1:{proxy.port}/voila/render/alerts.ipynb?live=1", wait_until="commit")
    page.wait_for_selector("#rendered_cells .lede", timeout=60_000)
    assert errors == []
    page.goto("about:blank")
    context.close()
