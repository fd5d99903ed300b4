"""Whatever a provider or the line does: a whole and valid answer, or one clear line in bounded time.

The outcomes of faults in values (a null price, a bar on a Saturday) stand with the readers of bars and of series.
"""

import base64
import errno
import gzip
import inspect
import json
import logging
import math
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
import requests
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from replay.faults import FAULTS
from replay.server import POLYGON_KEY, Replay
from requests_cache.serializers import json_serializer
from sqlalchemy import URL

from mltrainer.data.providers import cache, client, fred, polygon, polygon_macro, registry, tables, transport, turns
from mltrainer.errors import BadInput, NotEntitled, ProviderError, Refused, StorageError, Unavailable, UnknownName
from mltrainer.trust import audit

BARS = "/v2/aggs/ticker/AAPL/range/1/day/2005-01-03/2006-01-03"
OBSERVATIONS = "/fred/series/observations"
GDP = {"series_id": "GDPC1", "file_type": "json"}
ENOUGH = timedelta(days=3650)


def bars(**params: object) -> client.Reply:
    return client.get("polygon", BARS, params)


def gdp(**params: object) -> client.Reply:
    return client.get("fred", OBSERVATIONS, GDP | params)


def violations() -> list[str]:
    return [str(entry.payload["what"]) for entry in audit.entries(kind="violation")]


def said(act: Callable[[], object], kind: type[Exception] = ProviderError) -> str:
    """What the one line says, which holds no key and carries no library's exception along."""
    with pytest.raises(kind) as found:
        act()
    line = str(found.value)
    assert "\n" not in line
    assert len(line) < 500
    assert found.value.__cause__ is None
    return line


# --- an answer ------------------------------------------------------------------------------------------------


def test_an_answer_is_the_bytes_the_provider_sent_and_is_kept_with_its_date(replay: Replay):
    first, again = bars(limit=60), bars(limit=60)
    assert (first.cached, again.cached) == (False, True)
    assert (again.body, again.sha256, again.retrieved_at) == (first.body, first.sha256, first.retrieved_at)
    assert first.json()["ticker"] == "AAPL"
    assert (first.endpoint, first.parameters) == (replay.url + BARS, {"limit": "60"})
    assert datetime.fromisoformat(first.retrieved_at).tzinfo == UTC
    assert len(replay.log) == 1
    assert replay.log[0].key == replay.keys["polygon"]


def test_another_question_and_an_answer_no_longer_fresh_are_asked_for(replay: Replay):
    bars()
    bars(adjusted=False)
    client.get("polygon", BARS, keep=timedelta(0))
    client.get("polygon", BARS, keep=ENOUGH)
    assert [asked.params for asked in replay.log] == [{}, {"adjusted": "false"}, {}]


def test_what_its_reader_finds_impossible_is_not_kept(replay: Replay):
    def never(document: object) -> None:
        raise ProviderError("Polygon sent bars of another ticker", "polygon", 200)

    assert said(lambda: client.get("polygon", BARS, check=never)) == "Polygon sent bars of another ticker"
    assert not bars().cached


def test_a_compressed_answer_is_read(replay: Replay):
    replay.fault("gzip")
    assert bars().json()["ticker"] == "AAPL"


@settings(max_examples=40)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e300, 1e300),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_every_document_of_json_is_read_as_it_was_written(document: object):
    assert transport.parsed(json.dumps(document).encode()) == document


TWICE = (
    *('{"a":1,"a":1}', '{"a":1,"a" :2}', '{"a"\n:1,"b":{},"a":2}', '{"a":":","a":":\\":"}', '[{"b":{"a":1,"a":1}}]'),
    *('{"a":"[{","b":[[{"a":1,"a":2}]]}', '{"a":{"b":1},"a":3}', '{"a":1,"\\u0061":2}', '{"":0,"":0}'),
)


@pytest.mark.parametrize("text", TWICE)
def test_a_name_that_stands_twice_is_found_however_it_is_written(text: str):
    with pytest.raises(ProviderError, match="stands twice"):
        transport.parsed(text.encode())


# --- faults ---------------------------------------------------------------------------------------------------

P, N = ProviderError, NotEntitled
ONCE, MORE = 1, 2  # asked once, or tried again
OUTCOMES: dict[str, tuple[type[ProviderError], str, int]] = {
    "timeout": (P, "gave no answer in time", ONCE),
    "drip": (P, "was still sending when the time was up", ONCE),
    "drip_head": (P, "gave no answer in time", ONCE),
    "reset": (P, "broke off or could not be reached", MORE),
    "closed": (P, "broke off or could not be reached", MORE),
    "short": (P, "broke off or could not be reached", MORE),
    "reset_in_body": (P, "broke off or could not be reached", MORE),
    "huge": (P, "sent more than 1 MB", ONCE),
    "bomb": (P, "sent more than 1 MB", ONCE),
    "truncated": (P, "no JSON", ONCE),
    "html": (P, "sent text/html instead of JSON", ONCE),
    "html_as_json": (P, "no JSON", ONCE),
    "xml": (P, "sent text/xml instead of JSON", ONCE),
    "text": (P, "sent text/plain instead of JSON", ONCE),
    "bom": (P, "byte order mark", ONCE),
    "latin1": (P, "not in UTF-8", ONCE),
    "empty": (P, "is empty", ONCE),
    "nan": (P, "NaN is no number in JSON", ONCE),
    "twice": (P, "a name stands twice", ONCE),
    "deep": (P, "no JSON", ONCE),
    "204": (P, "answered 204", ONCE),
    "301": (P, "redirects are never followed", ONCE),
    "302": (P, "redirects are never followed", ONCE),
    "307": (P, "redirects are never followed", ONCE),
    "400": (P, "answered 400 at .*: bad request", ONCE),
    "401": (N, r"\(401\): Unknown API Key; check POLYGON_API_KEY", ONCE),
    "401_echo": (N, r"Unknown API Key \*\*\* \(api_key=\*\*\*\)", ONCE),
    "403": (N, r"\(403\): You are not entitled to this data.; the plan of POLYGON_API_KEY", ONCE),
    "403_timeframe": (N, "doesn't include this data timeframe", ONCE),
    "404": (P, "answered 404 .*Ticker not found", ONCE),
    "429": (P, "answered 429: You've exceeded the maximum requests", MORE),
    "429_wait_long": (P, "asks to wait 3600 s", ONCE),
    "500": (P, "answered 500: internal", MORE),
    "502": (P, "answered 502", MORE),
    "503": (P, "answered 503: unavailable", MORE),
    "fred_400": (P, "answered 400 .*The series does not exist", ONCE),
    "fred_malformed": (N, r"not a 32 character .* check FRED_API_KEY", ONCE),
    "fred_unregistered": (N, r"not registered.; check FRED_API_KEY", ONCE),
    "fred_vintages": (P, "answered 400 .*maximum number of vintage dates", ONCE),
    "fred_429": (P, "answered 429: Too Many Requests", MORE),
}


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_is_one_line_in_time_and_nothing_of_it_is_kept(
    replay: Replay, fault: str, monkeypatch: pytest.MonkeyPatch
):
    kind, words, tries = OUTCOMES[fault]
    ends = tries == ONCE and "time" not in words  # by itself, however slow the machine is
    seconds = 3.0 if ends or fault == "reset_in_body" else 0.6
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", str(seconds))
    monkeypatch.setattr(transport, "LARGEST", 2**20)
    ask = gdp if fault.startswith("fred") else bars
    replay.fault(fault, times=None)
    begin = time.monotonic()
    line = said(ask, kind)
    assert time.monotonic() - begin < (0.6 if ends else seconds) + 1.9  # and as much again for one silent read
    assert re.search(words, line), line
    assert line.startswith("FRED " if ask is gdp else "Polygon ")
    assert not any(key in line for key in replay.keys.values())
    assert len(replay.log) >= 2 if tries == MORE else len(replay.log) == 1
    replay.heal()
    assert not ask().cached


def test_every_fault_of_transport_bytes_and_status_has_its_outcome():
    names = list(FAULTS)
    ours = {*names[: names.index("status_error")], *(n for n in names if n.startswith("fred_"))}
    assert ours - OUTCOMES.keys() == {"429_wait_1", "gzip"}  # of which something good comes


@pytest.mark.parametrize("faults", [("500", "500"), ("reset",), ("429",), ("503", "short"), ("502", "closed")])
def test_what_passes_is_tried_again_until_it_has(replay: Replay, faults: tuple[str, ...]):
    replay.fault(*faults)
    assert bars().json()["status"] == "OK"
    assert len(replay.log) == len(faults) + 1


def test_the_wait_a_provider_asks_for_is_kept(replay: Replay):
    replay.fault("429_wait_1")
    assert bars().json()["status"] == "OK"
    first, second = (asked.at for asked in replay.log)
    assert second - first >= 1.0


def test_no_answer_at_all_is_one_line(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_POLYGON_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "0.2")
    assert "could not be reached (Connection refused)" in said(bars)


def test_an_error_says_who_failed_and_crosses_processes(replay: Replay):
    import pickle

    replay.fault("404")
    with pytest.raises(ProviderError) as found:
        bars()
    assert (found.value.provider, found.value.status) == ("polygon", 404)
    again = pickle.loads(pickle.dumps(found.value))
    assert (str(again), again.provider, again.status) == (str(found.value), "polygon", 404)
    assert isinstance(again, ConnectionError)
    assert issubclass(NotEntitled, PermissionError)


# --- where it may go ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301", "302", "307"])
def test_a_redirect_is_never_followed_and_takes_no_key_along(replay: Replay, status: str):
    with Replay() as elsewhere:
        replay.elsewhere = elsewhere.url
        replay.fault(status, times=None)
        for ask in (bars, gdp):
            said(ask)
        assert elsewhere.log == []


@pytest.mark.parametrize("fault", ["next_host", "next_scheme", "next_user", "next_path"])
def test_a_next_page_elsewhere_is_a_violation_and_gets_no_key(replay: Replay, fault: str):
    with Replay() as elsewhere:
        replay.elsewhere = elsewhere.url
        replay.fault(fault)
        assert "is not Polygon's own" in said(lambda: list(client.pages("polygon", BARS, {"limit": 60})), Refused)
        assert elsewhere.log == []
    assert len(replay.log) == 1
    assert len(violations()) == 1
    assert audit.verify() == []


PAGE = "/v2/aggs/ticker/AAPL/range/1/day/1357137000000/2006-01-03"
ODD = ["", "//evil.example/v2", "http://[::1", "javascript:alert(1)", PAGE, "{own}", "{own}/",
       f"{{own}}.evil.example{PAGE}", f"{{own}}@evil.example{PAGE}", f"{{own}}{PAGE}/../../../../v1/account",
       "{own}/v2/aggs/ticker/A%2FB/range/1/day/2005-01-03/2006-01-03", f"{{own}}\\@evil.example{PAGE}",
       f"{{own}}{PAGE}\n.evil.example", f"{{own}}{PAGE}#@evil.example", f" {{own}}{PAGE}"]  # fmt: skip


def test_a_page_without_anything_odd_is_followed(replay: Replay):
    assert client.follow("polygon", f"{replay.url}{PAGE}").status == 200


def test_an_odd_address_of_a_next_page_is_refused(replay: Replay):
    for address in ODD:
        with pytest.raises(Refused):
            client.follow("polygon", address.replace("{own}", replay.url))
    assert replay.log == []
    assert len(violations()) == len(ODD)


def test_a_next_page_at_polygons_other_name_is_asked_for_at_the_one_in_use(
    monkeypatch: pytest.MonkeyPatch, strayed: list[str]
):
    monkeypatch.setenv("MLTRAINER_MODE", "live")
    monkeypatch.setenv("POLYGON_API_KEY", "canary")
    asked: list[str] = []
    monkeypatch.setattr(client, "_asked", lambda provider, endpoint, params: asked.append(endpoint) or b"{}")
    reply = client.follow("polygon", f"https://api.polygon.io{BARS}?cursor=x&apiKey=canary")
    assert asked == [f"https://api.massive.com{BARS}"]
    assert reply.parameters == {"cursor": "x"}
    for address in (f"http://api.massive.com{BARS}", f"https://api.massive.com:8443{BARS}"):
        with pytest.raises(Refused):
            client.follow("polygon", address)


def test_pages_are_joined_without_a_gap_or_a_repetition(replay: Replay):
    whole = bars().json()["results"]
    joined = [row for page in client.pages("polygon", BARS, {"limit": 50}) for row in page.json()["results"]]
    assert joined == whole
    assert len(replay.log) == 1 + 6  # 253 sessions


def test_pages_that_lead_back_to_themselves_end(replay: Replay):
    replay.fault("next_loop", times=None)
    assert "pages that do not end" in said(lambda: list(client.pages("polygon", BARS)))
    assert len(replay.log) <= 2


PATHS = ["/v1/account", "/v2/aggs/ticker/../range/1/day/2005-01-03/2006-01-03", "//evil.example", "", "fred/series",
         "/v2/aggs/ticker/A/B/range/1/day/2005-01-03/2006-01-03", f"{BARS}?apiKey=x", f"{BARS}/", f"{BARS}\n",
         "/fred/series/../x", "/v2/aggs/ticker/AAPL%2e%2e/range/1/day/2005-01-03/2006-01-03"]  # fmt: skip

ASKED = {
    "polygon": [
        *(BARS, PAGE, *(f"/fed/v1/{table}" for table, _ in polygon_macro.ECONOMY.values())),
        *(path.format(ticker="BRK.B") for table in tables.TABLES.values() for path, _ in table.paths),
        *(path.format(ticker="AAPL") for path, _, _ in tables.OBJECTS.values()),
    ],
    "fred": [f"/fred/{path}" for path in re.findall(r'"(series|(?:series|release)/[a-z]+)"', inspect.getsource(fred))],
}


@pytest.mark.parametrize("provider", registry.PROVIDERS)
def test_what_is_allowed_is_what_somebody_asks(provider: str):
    """Each alternative of each allowed path, written out, is one that a reader of ours asks for, and no other."""
    rows = registry.PROVIDERS[provider].paths
    assert all(any(re.fullmatch(row, path) for row in rows) for path in ASKED[provider])
    for row in rows:
        words = {word for group in re.findall(r"\(([a-z|\-]+)\)", row) for word in group.split("|")}
        words -= set(registry._SPAN.split("|"))
        asked = [path for path in ASKED[provider] if re.fullmatch(row, path)]
        assert asked, row
        assert all(any(word in path.split("/") for path in asked) for word in words), row


@pytest.mark.parametrize("provider", ["polygon", "fred"])
def test_a_path_that_is_not_in_the_table_is_a_mistake_and_nothing_is_sent(replay: Replay, provider: str):
    for path in PATHS:
        with pytest.raises(Refused, match="is none that"):
            client.get(provider, path)
    assert replay.log == []
    assert violations() == []  # a ticker that was mistyped makes such a path; operators read violations
    assert len(audit.entries(kind="mistake")) == len(PATHS)


def test_a_provider_or_a_key_of_ones_own_is_a_mistake_in_one_line(replay: Replay):
    assert "close: polygon" in said(lambda: client.get("polygn", BARS), UnknownName)
    assert "looks like a key" in said(lambda: client.get("polygon", BARS, {"apiKey": "canary"}), BadInput)
    assert replay.log == []


ADDRESSES = {
    ("live", "http://127.0.0.1:9"): (Refused, "is not Polygon's"),
    ("live", "http://api.massive.com"): (Refused, "is not Polygon's"),
    ("live", "https://api.massive.com.evil.example"): (Refused, "is not Polygon's"),
    ("replay", "https://api.massive.com"): (Refused, "is not on this machine"),
    ("replay", "http://user:word@127.0.0.1:9"): (Refused, "is not on this machine"),
    ("replay", "http://127.0.0.1.evil.example"): (Refused, "is not on this machine"),
    ("replay", ""): (BadInput, "needs MLTRAINER_POLYGON_URL"),
    ("sample", ""): (Unavailable, "mode sample asks no provider"),
}


@pytest.mark.parametrize(("mode", "address"), ADDRESSES)
def test_each_mode_has_its_own_addresses_and_no_other(
    replay: Replay, mode: str, address: str, monkeypatch: pytest.MonkeyPatch, strayed: list[str]
):
    monkeypatch.setenv("MLTRAINER_MODE", mode)
    monkeypatch.setenv("MLTRAINER_POLYGON_URL", address)
    kind, words = ADDRESSES[mode, address]
    assert words in said(bars, kind)
    assert "word" not in "".join(violations())
    assert (replay.log, strayed) == ([], [])


@pytest.mark.parametrize(("ask", "host"), [(bars, "api.massive.com"), (gdp, "api.stlouisfed.org")])
def test_live_the_only_way_out_leads_to_the_provider(
    monkeypatch: pytest.MonkeyPatch, strayed: list[str], ask: Callable[[], object], host: str
):
    looked_up: list[tuple[str, int]] = []

    def look_up(name: str, port: int, *_: object, **__: object) -> list[object]:
        looked_up.append((name, port))
        return [(2, 1, 6, "", ("192.0.2.1", port))]  # of the network for examples, RFC 5737

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    for name, value in (("MODE", "live"), ("WIRE_SECONDS", "0.3")):
        monkeypatch.setenv(f"MLTRAINER_{name}", value)
    for name in ("POLYGON_API_KEY", "FRED_API_KEY"):
        monkeypatch.setenv(name, "canary")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    said(ask)
    assert set(looked_up) == {(host, 443)}
    assert set(strayed) == {"192.0.2.1"}


def test_this_machine_is_never_asked_through_a_proxy(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert bars().status == 200


def dripping_proxy(running: ExitStack) -> str:
    """A proxy that answers CONNECT a byte at a time, for five seconds."""
    listener = running.enter_context(socket.create_server(("127.0.0.1", 0)))

    def drip() -> None:
        line, _ = listener.accept()
        with line, suppress(OSError):
            line.recv(2**16)
            for byte in b"HTTP/1.1 200 OK".ljust(100):
                line.send(bytes([byte]))
                time.sleep(0.05)

    threading.Thread(target=drip, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_proxy_that_drips_its_answer_to_connect_is_left_in_time(monkeypatch: pytest.MonkeyPatch):
    begin = time.monotonic()
    with ExitStack() as running:
        monkeypatch.setenv("https_proxy", dripping_proxy(running))
        monkeypatch.delenv("no_proxy", raising=False)
        answer = transport.exchange(
            "https://api.massive.com/v1/marketstatus/now", {}, SecretStr("canary"), by_header=True, until=begin + 0.4
        )
    assert answer.failure == "gave no answer in time"
    assert time.monotonic() - begin < 2


def test_a_head_that_drips_through_a_proxy_is_left_in_time(replay: Replay):
    """The way through a proxy to an address in plain http, with the package's own pool of connections."""
    replay.fault("drip_head")
    begin = time.monotonic()
    with requests.Session() as session:
        session.mount("http://", transport._adapter(os.getpid()))
        with pytest.raises(requests.RequestException) as caught:
            session.get(f"http://api.massive.com{BARS}", proxies={"http": replay.url}, timeout=(0.4, 0.4))
    assert transport._said(caught.value, until=math.inf) == "gave no answer in time"
    assert len(replay.log) == 1
    assert time.monotonic() - begin < 2


def test_a_reset_that_follows_our_hanging_up_is_no_answer_in_time():
    """The other side may still write when we hang up, and its system then resets the connection."""
    mine, theirs = socket.socketpair()

    @transport._in_time(SimpleNamespace(sock=mine, timeout=0.05))
    def wait() -> None:
        assert theirs.recv(1) == b""  # until the clock hangs up
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    with mine, theirs, pytest.raises(TimeoutError) as caught:
        wait()
    assert transport._said(caught.value, until=math.inf) == "gave no answer in time"


# --- turns ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**7))
def test_whatever_a_plan_allows_it_is_never_more_than_fifty_in_a_second_nor_than_it_says(per_minute: int):
    rates = turns.rates(per_minute)
    assert all(rate.limit >= 1 for rate in rates)
    for seconds, most in ((1, 50), (60, per_minute)):
        windows = [rate.limit * max(1, -(-seconds * 1000 // rate.interval)) for rate in rates]
        assert min(windows) <= most


ASK = """
import os, sys
from mltrainer.data.providers import client
for line in sys.stdin:
    rate, many = line.split()
    os.environ["MLTRAINER_POLYGON_PER_MINUTE"] = rate
    for i in range(int(many)):
        client.get("polygon", "/v1/marketstatus/now", {"x": f"{sys.argv[1]}-{rate}-{i}"})
    print("done", flush=True)
"""


@pytest.mark.slow
def test_four_processes_together_never_ask_faster_than_is_set_nor_than_fifty_times_a_second(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
):
    # A window of 125 ms lets go a tenth of a second's rate: 8 of them, and one on its way for each process, fit in.
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "30")
    call, pipe = [sys.executable, "-c", ASK], subprocess.PIPE
    with ExitStack() as running:
        started = [
            running.enter_context(subprocess.Popen([*call, str(i)], stdin=pipe, stdout=pipe, text=True))
            for i in range(4)
        ]
        for rate, each, most in ((1200, 6, 20), (10**6, 15, 50)):
            replay.log.clear()
            for process in started:
                print(rate, each, file=process.stdin, flush=True)
            assert [process.stdout.readline() for process in started] == ["done\n"] * 4
            assert len(replay.log) == 4 * each
            assert replay.busiest(1.0) <= most
            for process in started if most == 50 else ():
                process.stdin.close()


def test_trying_again_takes_turns_too(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_POLYGON_PER_MINUTE", "1")
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "0.6")  # the first wait is 0.4 s at most
    replay.fault("500", times=None)
    assert "answered 500" in said(bars)
    assert len(replay.log) == 1


def test_who_waits_for_a_turn_is_told_so_once_on_stderr(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    ask = "; ".join(("import time", "from mltrainer.data.providers import client", "client.TURN = 1.3",
                     "ask = lambda n: client.get('polygon', '/v1/marketstatus/now', {'n': n})", "ask(0)"))  # fmt: skip
    ask += "\nfor n in (1, 2):\n  try: ask(n)\n  except client.ProviderError: pass\n"
    monkeypatch.setenv("MLTRAINER_POLYGON_PER_MINUTE", "1")
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == (
        "waiting for a turn: the 1 requests a minute to Polygon are used up; "
        "MLTRAINER_POLYGON_PER_MINUTE says how many your plan allows\n"
    )


def test_a_process_that_holds_the_turns_and_stands_still_is_named(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    for taken_before in (False, True):
        if taken_before:
            bars()
        lock = FileLock(f"{cache.private(registry.turns_at())}.lock")
        with lock:
            begin = time.monotonic()
            line = said(lambda: bars(limit=7), StorageError)
            assert time.monotonic() - begin < 2
        assert "turns.sqlite.lock for 0 s, so no turn can be taken; end the process" in line


def test_a_turn_that_does_not_come_is_one_line(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_POLYGON_PER_MINUTE", "1")
    monkeypatch.setattr(client, "TURN", 0.1)
    bars()
    assert "the 1 requests a minute are used up" in said(lambda: bars(limit=2))
    assert turns.taken(registry.turns_at(), "polygon") == 1


# --- what is kept ---------------------------------------------------------------------------------------------


def change(home: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(home / "answers.sqlite")) as connection, connection:
        assert connection.execute(sql, values).rowcount


def row(home: Path) -> bytes:
    with closing(sqlite3.connect(home / "answers.sqlite")) as connection:
        return connection.execute("SELECT value FROM responses").fetchone()[0]


def better_price(home: Path) -> None:
    held = row(home)
    assert b'"adjusted":true' in held
    change(home, "UPDATE responses SET value = ?", held.replace(b'"adjusted":true', b'"adjusted":null'))


def test_an_answer_that_an_earlier_release_kept_as_text_is_read(replay: Replay, home: Path):
    first = bars()
    kept = cache._answers("polygon").get_response(cache.key_of(transport.question(first.endpoint, first.parameters)))
    change(home, "UPDATE responses SET value = ?", json_serializer.dumps(kept))
    assert (bars().body, bars().cached) == (first.body, True)


CHANGES: dict[str, Callable[[Path], None]] = {
    "another body": better_price,
    "no JSON": lambda home: change(home, "UPDATE responses SET value = 'x'"),
    "nothing": lambda home: change(home, "UPDATE responses SET value = ''"),
    "a pickle": lambda home: change(home, "UPDATE responses SET value = ?", b"\x80\x04K\x01."),
    "another shape": lambda home: change(home, "UPDATE responses SET value = ?", '{"_content": [1], "headers": 3}'),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_kept_answer_that_was_changed_is_a_violation_and_not_asked_for_again(replay: Replay, home: Path, how: str):
    bars()
    CHANGES[how](home)
    line = said(bars, Refused)
    assert "a kept answer of polygon is not what the provider sent" in line
    assert len(replay.log) == 1
    assert len(violations()) == 1
    assert audit.verify() == []


def test_an_answer_to_another_question_is_a_violation(replay: Replay, home: Path):
    bars()
    bars(limit=60)
    with closing(sqlite3.connect(home / "answers.sqlite")) as connection, connection:
        (one, _), (_, other) = connection.execute("SELECT key, value FROM responses").fetchall()
        connection.execute("UPDATE responses SET value = ? WHERE key = ?", (other, one))
    found = []
    for ask in (bars, lambda: bars(limit=60)):
        try:
            found.append(ask().cached)
        except Refused:
            found.append("refused")
    assert sorted(found, key=str) == [True, "refused"]


def test_an_older_date_cannot_be_given_to_a_kept_answer(replay: Replay, home: Path):
    first = bars()
    held = row(home)
    line, _, body = held.removeprefix(cache.RAW).partition(b"\n")
    later = json.dumps(json.loads(line) | {"created_at": "2031-01-01T00:00:00+00:00"}).encode()
    change(home, "UPDATE responses SET value = ?", cache.RAW + later + b"\n" + body)
    assert bars().retrieved_at == first.retrieved_at


def test_kept_answers_are_read_by_their_owner_only(replay: Replay, home: Path):
    bars()
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.iterdir() if path.name.startswith("answers")}
    assert modes["answers.sqlite"] == 0o600
    assert set(modes.values()) == {0o600}
    (home / "answers.sqlite").chmod(0o644)
    bars()
    assert (home / "answers.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_new_file_of_kept_answers_has_pages_of_16_kilobytes(replay: Replay, home: Path):
    """In pages of 4, the default, a page of minute bars is a thousand writes (tests/benchmarks/bench_data.py)."""
    bars()
    with closing(sqlite3.connect(home / "answers.sqlite")) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (16_384,)


def test_fred_stays_in_memory_unless_the_operator_asks_for_the_disk(
    replay: Replay, home: Path, monkeypatch: pytest.MonkeyPatch
):
    assert [gdp().cached, gdp().cached] == [False, True]
    assert not (home / "answers.sqlite").exists()
    monkeypatch.setenv("MLTRAINER_FRED_ON_DISK", "true")
    assert [gdp().cached, gdp().cached] == [False, True]
    assert (home / "answers.sqlite").exists()


def test_offline_gives_what_was_fetched_before_with_its_date_and_sends_nothing(
    replay: Replay, monkeypatch: pytest.MonkeyPatch
):
    first = bars()
    monkeypatch.setenv("MLTRAINER_OFFLINE", "1")
    again = client.get("polygon", BARS, keep=timedelta(0))
    assert (again.cached, again.retrieved_at, again.body) == (True, first.retrieved_at, first.body)
    line = said(lambda: bars(limit=1), Unavailable)
    assert "was not fetched before" in line
    assert "MLTRAINER_OFFLINE" in line
    assert len(replay.log) == 1


def test_a_failing_call_never_falls_back_to_what_is_stale(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    bars()
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "0.2")
    replay.fault("500", times=None)
    assert "nothing stands in for it" in said(lambda: client.get("polygon", BARS, keep=timedelta(0)))


def test_a_file_that_is_no_store_of_answers_is_one_line(replay: Replay, home: Path):
    home.mkdir()
    (home / "answers.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match=r"answers of providers cannot be kept .*answers.sqlite"):
        bars()


def test_a_cache_that_is_no_redis_is_one_line(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLTRAINER_CACHE_URL", "memcached://127.0.0.1")
    assert "MLTRAINER_CACHE_URL is no redis:// address" in said(bars, BadInput)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real redis for the tests of this file, empty and on this machine only."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed (apt-get install redis-server)")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    words = [server, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while subprocess.run(["redis-cli", "-p", str(port), "ping"], capture_output=True).stdout != b"PONG\n":
        assert process.poll() is None
    yield f"redis://127.0.0.1:{port}"
    process.kill()
    process.wait()


def test_answers_are_kept_in_redis_and_one_that_was_changed_there_is_a_violation(
    replay: Replay, home: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str
):
    monkeypatch.setenv("MLTRAINER_CACHE_URL", redis_url)
    assert [bars().cached, bars().cached] == [False, True]
    assert len(replay.log) == 1
    assert not (home / "answers.sqlite").exists()
    assert "1, in redis" in cache.summary()["kept answers"]
    store = redis.Redis.from_url(redis_url)
    (key,) = store.scan_iter("mltrainer:*")
    value = store.get(key)
    assert POLYGON_KEY.encode() not in key + value
    store.set(key, value + b" ")
    assert "find out who changed it, then remove it from redis" in said(bars, Refused)


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_homes_on_one_postgresql_and_redis_see_one_truth_and_keep_one_rate(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, database: URL
):
    monkeypatch.setenv("MLTRAINER_CACHE_URL", redis_url)
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "30")
    before = turns.taken(redis_url, "polygon")
    call, pipe = [sys.executable, "-c", ASK], subprocess.PIPE
    homes = [{**os.environ, "MLTRAINER_HOME": str(tmp_path / name)} for name in "ab"]
    with ExitStack() as running:
        started = [
            running.enter_context(subprocess.Popen([*call, str(i)], stdin=pipe, stdout=pipe, text=True, env=home))
            for i, home in enumerate(homes)
        ]
        for process in started:
            print(1200, 25, file=process.stdin, flush=True)
        assert [process.stdout.readline() for process in started] == ["done\n"] * 2
        assert len(replay.log) == 50
        assert replay.busiest(1.0) <= 20  # 1,200 a minute
        print(1200, 25, file=started[0].stdin, flush=True)
        assert started[0].stdout.readline() == "done\n"
        for process in started:
            process.stdin.close()
    assert len(replay.log) == 50  # kept in redis
    again = subprocess.run([*call, "0"], input="1200 25\n", stdout=pipe, text=True, check=True, env=homes[1])
    assert (again.stdout, len(replay.log)) == ("done\n", 50)  # what home a was told home b need not ask
    assert audit.verify() == []
    assert len(audit.entries(kind="answer")) == 50
    assert turns.taken(redis_url, "polygon") == before + 50
    assert not any((tmp_path / name / "turns.sqlite").exists() for name in "ab")


def test_a_full_disk_under_the_turns_is_one_line(home: Path):
    home.mkdir()
    file = home / "turns.sqlite"
    file.touch()
    assert turns.take(file, "polygon", 600, 1.0)
    turns._bucket(file, "polygon", 600, os.getpid(), file.stat().st_ino).conn.execute("PRAGMA query_only = ON")
    line = said(lambda: turns.take(file, "polygon", 600, 1.0), StorageError)
    assert "the turns to ask cannot be written" in line
    assert turns.take(file, "polygon", 600, 1.0)  # the next one begins anew


def test_a_redis_that_does_not_answer_is_one_line_and_no_violation(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, redis_url: str
):
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("MLTRAINER_CACHE_URL", f"redis://:canary@127.0.0.1:{port}")
    line = said(bars, StorageError)
    assert "see that redis answers at MLTRAINER_CACHE_URL" in line
    assert "canary" not in line
    assert violations() == []


# --- doctor ---------------------------------------------------------------------------------------------------


def test_doctor_says_who_answers_what_is_kept_and_how_often_was_asked(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    assert cache.summary() == {"kept answers": "none", "newest data": "nothing was fetched"}
    bars()
    line = client.standing("polygon")
    assert line == f"{replay.url}: answers, and takes the key; 2 of 6000 requests used in the last minute"
    assert cache.summary()["kept answers"].startswith("1, 0.")
    assert cache.summary()["newest data"].endswith("0.0 hours ago")
    replay.fault("403_timeframe", times=None)
    assert "last refused: /v1/marketstatus/now Your plan doesn't include" in client.standing("polygon")
    monkeypatch.setenv("FRED_API_KEY", "")
    assert "FRED_API_KEY is not set; 0 of 120" in client.standing("fred")
    monkeypatch.setenv("MLTRAINER_MODE", "sample")
    assert client.standing("fred") == "not asked in mode sample"


def test_doctor_waits_no_longer_than_it_says(replay: Replay):
    replay.fault("timeout", times=None)
    begin = time.monotonic()
    assert "gives no answer in time" in client.standing("polygon", seconds=0.3).replace("gave", "gives")
    assert time.monotonic() - begin < 1.5


# --- keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "kind"), [("", Unavailable), ("two words", BadInput), ("line\nbreak", BadInput)])
def test_a_key_that_cannot_be_one_is_one_line_that_does_not_show_it(
    replay: Replay, monkeypatch: pytest.MonkeyPatch, key: str, kind: type[Exception]
):
    monkeypatch.setenv("POLYGON_API_KEY", key)
    line = said(bars, kind)
    assert "POLYGON_API_KEY" in line
    assert not key or key not in line
    assert replay.log == []


CANARIES = {"polygon": "Canary-Polygon-7f3a", "fred": "canary0fred1canary2fred3canary4x"}


def forms(key: str) -> list[bytes]:
    raw = key.encode()
    encoded = [base64.b64encode(b"." * shift + raw)[4:-4] for shift in range(3)]
    return [raw, raw.hex().encode(), raw[::-1], *(piece for piece in encoded)]


def unpacked(data: bytes) -> bytes:
    """The bytes of a file, and what base64 or gzip in it hides."""
    inner = b"".join(base64.b64decode(found) for found in re.findall(rb"(?:[A-Za-z0-9+/]{4}){6,}", data))
    zipped = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else b""
    return data + inner + zipped


def failing(ask: Callable[..., object], fault: str) -> list[str]:
    """All that a failure says and carries along."""
    try:
        ask(x=fault)
    except ProviderError as error:
        lines = traceback.TracebackException.from_exception(error, capture_locals=True).format()
        return [*lines, repr(error.__context__)]
    raise AssertionError(f"{fault} passed")


def test_a_key_is_nowhere_after_a_session_of_success_and_failure(
    replay: Replay, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    replay.keys = CANARIES
    monkeypatch.setenv("POLYGON_API_KEY", CANARIES["polygon"])
    monkeypatch.setenv("FRED_API_KEY", CANARIES["fred"])
    monkeypatch.setenv("MLTRAINER_FRED_ON_DISK", "true")
    caplog.set_level(logging.DEBUG)
    told = [repr(ask()) for ask in (bars, gdp, bars, gdp)]
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "0.3")
    for fault in ("401_echo", "307", "timeout", "reset", "truncated", "429", "fred_unregistered", "drip_head"):
        for ask in (bars, gdp):
            replay.fault(fault, times=None)
            told += failing(ask, fault)
            replay.heal()
    command = [sys.executable, "-c", "from mltrainer.data.providers import client;"
               " print(client.get('fred', '/fred/series', {'series_id': 'GDPC1'}))"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        lines = Path(f"/proc/{process.pid}/cmdline").read_bytes() if Path("/proc").is_dir() else b""
        told.append(process.communicate(timeout=60)[0].decode())
    assert sum(asked.key in CANARIES.values() for asked in replay.log) >= 12  # they were used
    assert "api_key=***" in caplog.text  # and it was logged that they were
    places = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any("answers.sqlite" in path for path in places)
    places |= {"log": caplog.text.encode(), "told": "".join(told).encode(), "process list": lines}
    for place, data in places.items():
        for form in (form for key in CANARIES.values() for form in forms(key)):
            assert form not in unpacked(data), place


def test_a_key_that_a_good_answer_repeats_is_masked_wherever_it_goes(
    replay: Replay, home: Path, monkeypatch: pytest.MonkeyPatch
):
    key = CANARIES["fred"]
    replay.keys = CANARIES
    monkeypatch.setenv("POLYGON_API_KEY", CANARIES["polygon"])
    monkeypatch.setenv("FRED_API_KEY", key)
    monkeypatch.setenv("MLTRAINER_FRED_ON_DISK", "true")
    for form in (key, key.upper()):
        replay.canned["/fred/series"] = {"seriess": [{"id": "ELSE1", "title": f"asked with {form}", "units": form}]}
        reply = client.get("fred", "/fred/series", {"series_id": "ELSE1", "x": form[:3]})
        assert reply.json()["seriess"][0]["title"] == "asked with ***"
    assert [entry.payload["where"] for entry in audit.entries(kind="key_repeated")] == ["/fred/series"] * 2
    echo = {"status": "ERROR", "error": f"no such key: {CANARIES['polygon'].upper()}"}
    replay.canned[BARS] = echo
    assert "no such key: ***" in said(
        lambda: polygon.bars("AAPL", "2005-01-03", "2006-01-03", adjusted=True, kind="bars")
    )
    replay.canned[BARS] = {"status": "OK", "ticker": CANARIES["polygon"], "results": [], "resultsCount": 0}
    said(lambda: polygon.bars("AAPL", "2005-01-03", "2006-01-03", adjusted=True, kind="bars"))
    for path in home.rglob("*"):
        data = unpacked(path.read_bytes()).lower() if path.is_file() else b""
        assert not any(form.lower() in data for each in CANARIES.values() for form in forms(each)), path


def test_a_short_key_is_not_looked_for_among_numbers(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    replay.keys = {"polygon": "5", "fred": "7"}
    monkeypatch.setenv("POLYGON_API_KEY", "5")
    assert b"***" not in bars().body


def test_the_scan_for_keys_finds_one_that_is_hidden():
    key = CANARIES["fred"].encode()
    for hidden in (key, base64.b64encode(b'{"body": "' + key + b'"}'), gzip.compress(key)):
        assert any(form in unpacked(hidden) for form in forms(CANARIES["fred"]))


def test_the_one_who_asks_is_named_in_the_source(replay: Replay, monkeypatch: pytest.MonkeyPatch):
    assert registry.source("polygon") == "replay"
    monkeypatch.setenv("MLTRAINER_MODE", "live")
    assert (registry.source("polygon"), registry.source("fred")) == ("polygon", "fred")
    assert cache.IGNORED[-2:] == ("apiKey", "X-API-KEY")
