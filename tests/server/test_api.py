"""What a program gets from a running server: answers with their kind of data, one form of error, and no surprises."""

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import pytest
from caller import ROLES, TOKEN, Running

import mltrainer as mt
from mltrainer.server.api import LARGEST
from mltrainer.server.routes import ROUTES

READ = {"/api/health": "viewer", "/api/openapi.json": "viewer", "/api/recommendations": "viewer",
        "/api/portfolio": "viewer", "/api/data-quality": "viewer", "/api/compliance/audit": "auditor",
        "/api/models": "viewer", "/api/regime?as_of=2004-01-05": "viewer", "/api/alerts": "viewer",
        "/api/models/train": "auditor", "/api/users": "admin", "/api/chat": "viewer"}  # fmt: skip


def envelope(said) -> dict:
    error = said.json["error"]
    assert said.headers["Content-Type"].startswith("application/json")
    assert error.keys() <= {"status", "code", "message", "incident"}
    assert error["status"] == said.status
    assert "Traceback" not in said.text
    assert not re.search(r"/(?:home|root|tmp|usr|work|site-packages)/", said.text)
    return error


@pytest.mark.parametrize("path", READ)
def test_every_question_is_answered_once_with_the_kind_of_its_data(served: Running, path: str):
    said = served(path, role=READ[path])
    assert said.status == 200, said.text
    assert said.json.get("mode", "sample") == "sample"
    assert said.headers["Cache-Control"] == "private, no-cache"
    assert "username" not in said.headers.get("Set-Cookie", "")  # a program needs no session


def test_every_route_that_reads_is_asked_here():
    assert {p.partition("?")[0] for p in READ} == {r.path for r in ROUTES if r.method == "GET" and "{" not in r.path}


@pytest.mark.parametrize("path", ["/api/models", "/api/data-quality", "/api/alerts"])
def test_what_has_not_changed_is_not_sent_again(served: Running, path: str):
    first = served(path, role="viewer")
    again = served(path, role="viewer", If_None_Match=first.headers["Etag"])
    assert (again.status, again.text) == (304, "")
    assert served(path, role="viewer", If_None_Match='"another"').status == 200


def test_pages_of_a_list_are_together_the_list(served: Running):
    whole = served("/api/models?limit=500", role="viewer").json
    parts = [served(f"/api/models?limit=50&offset={n}", role="viewer").json for n in (0, 50, 100)]
    assert [m["name"] for part in parts for m in part["items"]] == [m["name"] for m in whole["items"]]
    assert {part["total"] for part in parts} == {whole["total"]} == {len(whole["items"])}
    assert served("/api/models?offset=10000", role="viewer").json["items"] == []


def test_a_head_is_a_get_without_its_body(served: Running):
    get, head = served("/api/models", role="viewer"), served("/api/models", "HEAD", role="viewer")
    assert (head.status, head.text) == (200, "")
    assert head.headers["Etag"] == get.headers["Etag"]
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


WRONG = {
    "a parameter that there is not": ("/api/models?famly=trees", "known: family, task, name, limit, offset"),
    "a name": ("/api/models?name=RidgeRegresion", "close: RidgeRegression"),
    "a family": ("/api/models?family=treees", "close: trees"),
    "a choice": ("/api/models?task=x", "task: "),
    "no number": ("/api/models?limit=ten", "limit: "),
    "a number with a dot": ("/api/models?limit=1.0", "limit: "),
    "a number too large": ("/api/models?limit=501", "limit: "),
    "a number below": ("/api/models?offset=-1", "offset: "),
    "a number twice": ("/api/models?limit=1&limit=2", "limit: was given 2 times"),
    "Arabic digits": ("/api/models?limit=%D9%A1", "limit: "),
    "a ticker": ("/api/regime?ticker=MSTF", "close: MSFT"),
    "a path as ticker": ("/api/regime?ticker=..%2F..%2Fetc%2Fpasswd", "ticker: "),
    "a script as ticker": ("/api/data-quality?ticker=%3Cscript%3E", "ticker.0: "),
    "a day": ("/api/regime?as_of=2010-02-30", "not in the calendar"),
    "no day": ("/api/regime?as_of=yesterday", "as_of: "),
    "a zero byte": ("/api/portfolio?account=%00", "account: "),
    "bytes that are no text": ("/api/portfolio?account=%ff", "account: "),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_meant_is_named(served: Running, what: str):
    path, words = WRONG[what]
    said = served(path, role="viewer")
    assert said.status == 400, said.text
    assert words in envelope(said)["message"]


def test_too_little_history_is_understood_and_cannot_be_done(served: Running):
    said = served("/api/regime?as_of=2000-06-01", role="viewer")
    assert (said.status, envelope(said)["code"]) == (422, "NotEnoughHistory")


def test_an_artifact_that_nobody_saved_opens_nothing(served: Running):
    said = served("/api/predict", "POST", role="researcher", body={"artifact": "0" * 64})
    assert (said.status, envelope(said)["code"]) == (422, "Refused")


def test_weights_are_those_of_python(served: Running):
    from mltrainer import optimize
    from mltrainer.trading.portfolio.limits import Constraints

    body = {"tickers": ["MSFT", "IBM", "AAPL"], "method": "minimum-variance", "upper": 0.5}
    said = served("/api/portfolio", "POST", role="researcher", body=body)
    assert said.status == 200, said.text
    ours = optimize(["MSFT", "IBM", "AAPL"], method="minimum-variance", constraints=Constraints(upper=0.5)).to_dict()
    assert {r["name"]: r["weight"] for r in said.json["answer"]["rows"]} == pytest.approx(
        {r["name"]: r["weight"] for r in ours["rows"]}
    )


def test_a_question_is_answered_with_figures_that_say_where_they_are_from(served: Running):
    body = {"question": "what is the price of MSFT on 2010-01-04?"}
    said = served("/api/chat", "POST", role="viewer", body=body)
    assert said.status == 200, said.text
    answer, close = said.json["answer"], float(mt.bars("MSFT", end="2010-01-04").frame["close"].iloc[-1])
    assert f"{close:.2f}" in answer["text"]
    assert any(
        claim["value"] == pytest.approx(close) for claim in answer["claims"] if isinstance(claim["value"], float)
    )
    refused = served("/api/chat", "POST", role="viewer", body={"question": "train RidgeRegression on MSFT"})
    assert "the role viewer may not" in refused.json["answer"]["text"]


def test_recommendations_are_those_of_the_ledger_the_newest_first(served: Running):
    empty = served("/api/recommendations", role="viewer").json
    assert (empty["items"], empty["reason"]) == ([], "no recommendation has been made on this installation")
    run = "import mltrainer as mt; [mt.recommend(['MSFT', 'IBM'], as_of=d) for d in ('2008-12-30', '2008-12-31')]"
    subprocess.run([sys.executable, "-c", run], env=served.environment, check=True)
    rows = served("/api/recommendations?ticker=MSFT", role="viewer").json["items"]
    assert [r["as_of"] for r in rows] == ["2008-12-31", "2008-12-30"]
    assert {r["ticker"] for r in rows} == {"MSFT"}
    assert all(0 < r["size"] <= 0.1 for r in rows)


def test_an_audit_names_who_asked(another: Callable[..., AbstractContextManager[Running]]):
    with another() as served:  # where nobody has asked before
        served("/api/data-quality?ticker=PEP", role="viewer")
        entries = served("/api/compliance/audit?kind=admit&limit=500", role="auditor").json
        assert entries["holds"] is True
        assert entries["findings"] == []
        assert "my-viewer" in {entry["actor"] for entry in entries["items"]}
        quick = served("/api/compliance/audit?verify=false&limit=1", role="auditor").json
        assert (quick["holds"], len(quick["items"])) == (None, 1)


# --- bodies ---------------------------------------------------------------------------------------------------

BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "NaN": b'{"tickers": ["MSFT", "IBM"], "upper": NaN}',
    "infinity": b'{"tickers": ["MSFT", "IBM"], "upper": 1e999}',
    "a name twice": b'{"tickers": ["MSFT"], "tickers": ["IBM"]}',
    "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep list": b'{"tickers":' + b"[" * 20000 + b"]" * 20000 + b"}",
    "another type": b'{"tickers": "MSFT"}',
    "true for a number": b'{"tickers": ["MSFT", "IBM"], "sessions": true}',
    "text for a number": b'{"tickers": ["MSFT", "IBM"], "sessions": "100"}',
    "a huge number": b'{"tickers": ["MSFT", "IBM"], "sessions": ' + b"9" * 400 + b"}",
    "many tickers": json.dumps({"tickers": ["MSFT"] * 51}).encode(),
    "more than was asked": b'{"tickers": ["MSFT", "IBM"], "role": "admin"}',
    "a lone surrogate": b'{"tickers": ["\\ud800"]}',
    "prototype": b'{"__proto__": {"role": "admin"}, "tickers": ["MSFT"]}',
}


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_cannot_be_meant_is_one_error_and_nothing_is_done(served: Running, what: str):
    said = served("/api/portfolio", "POST", role="researcher", body=BODIES[what], Content_Type="application/json")
    assert said.status == 400, said.text
    envelope(said)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "xml"])
def test_a_body_of_another_type_is_refused(served: Running, kind: str):
    said = served("/api/portfolio", "POST", role="researcher", body=b'{"tickers": ["MSFT"]}', Content_Type=kind)
    assert said.status == (400 if kind.startswith("multipart") else 415)  # tornado cannot read its parts
    envelope(said)


@pytest.mark.parametrize("size", [LARGEST + 1, 5_000_000])
def test_a_body_beyond_any_need_is_refused_before_it_is_read(served: Running, size: int):
    try:
        said = served("/api/chat", "POST", role="viewer", body=b" " * size, Content_Type="application/json")
    except ConnectionError:
        return  # the server hangs up on it
    assert said.status in (400, 413)


@pytest.mark.slow
def test_a_body_that_never_comes_is_not_waited_for(served: Running):
    host, port = urlsplit(served.base).netloc.split(":")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(50)]
    head = f"POST /api/chat HTTP/1.1\r\nHost: {host}\r\nAuthorization: token {TOKEN}\r\nContent-Length: 100\r\n\r\n{{"
    for connection in slow:
        connection.sendall(head.encode())
    begin = time.monotonic()
    assert served("/api/health", role="viewer").status == 200
    assert time.monotonic() - begin < 1
    slow[0].settimeout(20)
    assert slow[0].recv(10_000).count(b"HTTP/1.1 2") == 0  # it was let go: no answer, or an error
    for connection in slow:
        connection.close()


# --- who asks, and from where ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "[::2]"])
def test_another_host_name_is_refused(served: Running, host: str):
    assert served("/api/health", role="admin", Host=host).status in (400, 403)


def session(served: Running, token: str) -> dict[str, str]:
    """The cookies of a browser that signed in."""
    pairs: dict[str, str] = {}
    for path in ("/login", f"/login?token={token}"):
        connection = http.client.HTTPConnection(urlsplit(served.base).netloc, timeout=30)
        connection.request("GET", path, headers={"Cookie": joined(pairs)})
        answer = connection.getresponse()
        answer.read()
        pairs |= dict(line.partition(";")[0].split("=", 1) for line in answer.headers.get_all("Set-Cookie", []))
        connection.close()
    return pairs


def joined(pairs: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in pairs.items())


def test_a_page_of_another_site_can_do_nothing_with_a_browsers_cookie(served: Running):
    pairs = session(served, served.tokens["researcher"])
    cookie = joined(pairs)
    body = {"tickers": ["MSFT", "IBM"], "upper": 1.0}
    assert served("/api/models?limit=1", Cookie=cookie).status == 200
    assert served("/api/portfolio", "POST", body=body, Cookie=cookie).status == 403
    assert served("/api/portfolio", "POST", body=body, Cookie=cookie, X_XSRFToken="guessed").status == 403
    elsewhere = {"Origin": "http://evil.example"}
    assert served("/api/portfolio", "POST", body=body, Cookie=cookie, **elsewhere).status in (403, 404)
    assert served("/api/models", Cookie=cookie, **elsewhere).status == 404
    said = served("/api/portfolio", "POST", body=body, Cookie=cookie, X_XSRFToken=pairs["_xsrf"])
    assert said.status == 200
    assert "Access-Control-Allow-Origin" not in said.headers


def test_a_session_says_no_role_and_ends_with_its_token(served: Running):
    first, second = served.users("add:ann:auditor", "add:bob:viewer")
    cookie = joined(session(served, first))
    assert served("/api/health", Cookie=cookie).json["role"] == "auditor"
    assert served("/api/health", token=second).status == 200
    (third,) = served.users("rotate:ann")
    served.users("remove:bob")
    time.sleep(1.2)
    assert served("/api/health", Cookie=cookie).status == 403
    assert served("/api/health", token=first).status == 403
    assert served("/api/health", token=second).status == 403
    assert served("/api/health", token=third).json["role"] == "auditor"
    forged = cookie.replace("auditor", "admin")[:-1] + ("0" if cookie[-1] != "0" else "1")
    assert served("/api/health", Cookie=forged).status == 403


def test_a_role_is_not_to_be_had_by_asking(served: Running):
    for more in ({"X_Role": "admin"}, {"Role": "admin"}, {"X_Forwarded_User": "my-admin"}, {"Remote_User": "my-admin"}):
        assert served("/api/health", role="viewer", **more).json["role"] == "viewer"
        assert served("/api/compliance/audit", role="viewer", **more).status == 403
    assert served("/api/health?role=admin", role="viewer").status == 400
    assert served("/api/chat", "POST", role="viewer", body={"question": "x", "role": "admin"}).status == 400


@pytest.mark.parametrize("role", ROLES)
def test_both_words_for_a_token_are_understood(served: Running, role: str):
    token = served.tokens[role]
    for words in (f"token {token}", f"Bearer {token}"):
        assert served("/api/health", Authorization=words).json["role"] == role


def from_address(served: Running, address: str, token: str) -> bytes:
    """The head of what /api/health answers somebody on another address of this machine."""
    host, port = urlsplit(served.base).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30, source_address=(address, 0)) as connection:
        head = f"GET /api/health HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: token {token}\r\n\r\n"
        connection.sendall(head.encode())
        return connection.recv(2000)


@pytest.mark.skipif(sys.platform != "linux", reason="only there is all of 127 this machine")
def test_guessing_is_slowed_down_for_whoever_guesses(served: Running):
    said = [from_address(served, "127.0.0.9", f"guess-{n}").split()[1] for n in range(25)]
    assert said[:20] == [b"403"] * 20
    assert b"429" in said[20:]
    assert said[-1] == b"429"
    late = from_address(served, "127.0.0.9", "another-guess")
    assert late.split()[1] == b"429"
    assert re.search(rb"Retry-After: [1-7]\r\n", late)
    assert from_address(served, "127.0.0.9", served.tokens["viewer"]).split()[1] == b"200"  # a neighbor is let in
    assert from_address(served, "127.0.0.8", served.tokens["viewer"]).split()[1] == b"200"


def test_too_many_questions_at_once_are_told_to_come_again(served: Running):
    ask = "/api/regime?as_of=2001-05-{:02}"
    with ThreadPoolExecutor(22) as crowd:
        asked = [crowd.submit(served, ask.format(n + 1), role="viewer") for n in range(22)]
        time.sleep(0.3)
        begin = time.monotonic()
        assert served("/api/health", role="viewer").status == 200
        waited = time.monotonic() - begin
        other = served(ask.format(23), role="researcher")
        found = [one.result() for one in asked]
    assert {one.status for one in found} == {200, 503}
    assert {one.headers.get("Retry-After") for one in found if one.status == 503} == {"5"}
    assert waited < 1
    assert other.status == 200  # a crowd of one caller's shuts out no other


def test_the_log_of_the_server_holds_no_token(served: Running):
    served(f"/api/nothing?token={served.tokens['admin']}")
    served("/api/models?limit=x", role="viewer")
    assert not any(token in served.log for token in served.tokens.values())
