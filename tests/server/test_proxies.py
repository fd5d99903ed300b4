"""Who is believed of who asks, without any proxy: by a small server whose neighbor says what a proxy would say."""

import json
from typing import Any

import pytest
from apart import apart
from tornado import web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from mltrainer.errors import BadInput
from mltrainer.server.proxies import OTHERS, SAID, Behind, names, networks
from mltrainer.server.sockets import RequestInfo

HERE = {"ip": "127.0.0.1", "host": "desk.example.com", "protocol": "http"}


class Echo(web.RequestHandler):
    """Says what an application sees of a request."""

    def get(self) -> None:
        r = self.request
        seen = {"ip": r.remote_ip, "host": r.host, "name": r.host_name, "protocol": r.protocol}
        left = [name for name in (*SAID, *OTHERS) if name in r.headers]
        self.finish(json.dumps(seen | {"header": r.headers["Host"], "forwarded": r.forwarded, "left": left}))


def asked(path: str, proxies: list[str], headers: dict[str, str]) -> tuple[int, str]:
    """Status and text of one answer of an application that believes these proxies."""

    async def ask() -> tuple[int, str]:
        application = Behind(
            [("/", Echo), ("/voila/query/(.*)", RequestInfo)], proxies=proxies, kernel_manager={"a-kernel"}
        )
        server = HTTPServer(application)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}{path}"
        sent = {"Host": "desk.example.com", **headers}
        said = await AsyncHTTPClient(force_instance=True).fetch(address, headers=sent, raise_error=False)
        server.stop()
        return said.code, said.body.decode()

    found: tuple[int, str] = apart(ask())
    return found


def seen(proxies: list[str], **headers: str) -> dict[str, Any]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return dict(json.loads(asked("/", proxies, sent)[1]))


def test_a_trusted_proxy_says_who_asks_under_which_name_and_how():
    said = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Host": "Chat.Example.com:8443", "X_Forwarded_Proto": "https"}
    assert seen(["127.0.0.0/8"], **said) == {
        "ip": "203.0.113.7", "host": "chat.example.com:8443", "name": "chat.example.com", "protocol": "https",
        "header": "chat.example.com:8443", "forwarded": True, "left": [],
    }  # fmt: skip


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"]], ids=["no proxy", "another"])
def test_nobody_else_is_believed_and_what_they_said_is_taken_off(proxies: list[str]):
    said = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    found = seen(proxies, **said)
    assert HERE.items() <= found.items()
    assert (found["header"], found["left"], found["forwarded"]) == ("desk.example.com", [], True)


@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]], ids=["no proxy", "a proxy"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_headers_of_proxies_mean_nothing_but_that_there_is_one(name: str, proxies: list[str]):
    value = {"X-Real-Ip": "203.0.113.7", "X-Scheme": "https", "Forwarded": "for=203.0.113.7;host=evil.example"}
    found = seen(proxies, **{name: value.get(name, "443")})
    assert HERE.items() <= found.items()
    assert (found["left"], found["forwarded"]) == ([], True)


def test_who_asks_by_no_proxy_is_who_it_is():
    found = seen(["127.0.0.1"])
    assert HERE.items() <= found.items()
    assert found["forwarded"] is False


@pytest.mark.parametrize(
    ("chain", "ip"),
    [
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),  # before it a visitor may write what they like
        ("203.0.113.7, 10.0.0.2", "203.0.113.7"),  # by way of two proxies that are both ours
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),  # ours all the way
        ("203.0.113.7, unknown", "127.0.0.1"),
        ("unknown, 10.0.0.2", "10.0.0.2"),
        ("2001:db8::1", "2001:db8::1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours_asks(chain: str, ip: str):
    assert seen(["127.0.0.1", "10.0.0.0/8"], X_Forwarded_For=chain)["ip"] == ip


@pytest.mark.parametrize("host", ["evil.example/x", "a b", "[::1]", "name:123456", "name:", "", "ä.example"])
def test_a_name_that_is_none_changes_nothing(host: str):
    assert seen(["127.0.0.1"], X_Forwarded_Host=host)["host"] == "desk.example.com"


@pytest.mark.parametrize("protocol", ["ftp", "HTTPS ", "https, http", ""])
def test_a_protocol_that_is_none_changes_nothing(protocol: str):
    assert seen(["127.0.0.1"], X_Forwarded_Proto=protocol)["protocol"] == "http"


@pytest.mark.parametrize("header", [*SAID, *OTHERS])
@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]], ids=["no proxy", "a proxy"])
def test_a_kernels_own_address_is_shut_to_whoever_comes_by_a_proxy(header: str, proxies: list[str]):
    """Only a kernel of this machine asks there, and a proxy's request comes of this machine, too."""
    assert asked("/voila/query/a-kernel", proxies, {})[0] == 400  # open, to a socket
    assert asked("/voila/query/a-kernel", proxies, {header: "127.0.0.1"})[0] == 404
    assert asked("/voila/query/no-kernel", proxies, {})[0] == 404


def test_a_kernels_own_address_is_open_to_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Who comes second would take the place of a kernel that waits there."""
    monkeypatch.setitem(RequestInfo._waiters, "a-kernel", object())
    assert asked("/voila/query/a-kernel", [], {})[0] == 404


# --- the settings ---------------------------------------------------------------------------------------------


def test_networks_are_listed_by_commas_or_spaces():
    assert networks(" 127.0.0.1, 10.0.0.0/8\n::1 fd00::/8") == ["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"]
    assert networks("") == networks(" , ") == []


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0", "127.0.0.1, 0.0.0.0/0"])
def test_everybody_is_no_proxy(everybody: str):
    with pytest.raises(BadInput, match="MLTRAINER_TRUSTED_PROXIES: everybody is no proxy; name its address"):
        networks(everybody)


@pytest.mark.parametrize("text", ["localhost", "10.0.0.1/8", "10.0.0", "127.0.0.1:80", "*", "10.0.0.0/33"])
def test_what_is_no_network_is_said_to_be_none(text: str):
    with pytest.raises(BadInput, match="is no address and no network"):
        networks(text)


def test_names_are_hosts_in_small_letters():
    assert names("Desk.Example.com localhost,a-1.b") == ["desk.example.com", "localhost", "a-1.b"]
    assert names("." * 0) == []
    assert names(longest := ".".join(["a" * 62] * 4 + ["a"])) == [longest]  # 253 characters, the most there may be


@pytest.mark.parametrize(
    "text",
    ["https://desk.example.com", "desk.example.com:443", "*.example.com", "-desk.example", "desk-.example", "a..b",
     ".example", "example.", "ä.example", "desk/x", "a" * 65, ".".join(["a" * 62] * 4 + ["aa"])],
)  # fmt: skip
def test_what_is_no_host_name_is_said_to_be_none(text: str):
    with pytest.raises(BadInput, match="is no host name; leave out https:// and port"):
        names(text)
