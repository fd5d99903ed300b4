"""What a signed-in viewer with a program of their own can do to the sockets of a page: nothing to anybody else."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen
from uuid import uuid4

import psutil
import pytest
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1
from visitor import TOKEN, Served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mltrainer.server.sockets import PROTOCOL, SOCKETS, UNREAD, split

pytestmark = pytest.mark.browser
SIGNED_IN = {"Authorization": f"token {TOKEN}"}


def fetch(address: str) -> tuple[int, str]:
    """Status and text of a GET by a signed-in viewer."""
    try:
        with urlopen(Request(address, headers=SIGNED_IN), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except OSError as error:
        return getattr(error, "code", 0), ""


def opened(served: Served, page: str = "probe") -> str:
    """Ask for a page, waiting for a seat; return the id of its kernel."""
    for _ in range(60):
        status, text = fetch(served(page, "" if page == "probe" else "live=1"))
        if status == 200:
            return re.search(r'"kernelId": ?"([^"]+)"', text)[1]
        time.sleep(1)
    raise AssertionError("no seat within a minute")


def ended(served: Served, kernel: str) -> None:
    call = Request(f"{served.base}/voila/api/shutdown/{kernel}", b"", SIGNED_IN | {"Origin": served.base})
    with urlopen(call, timeout=30):
        pass


def socket(served: Served, kernel: str, protocol: str | None = PROTOCOL, **options: object) -> ClientConnection:
    address = f"ws{served.base.removeprefix('http')}/api/kernels/{kernel}/channels?session_id={uuid4()}"
    known = {"additional_headers": SIGNED_IN, "proxy": None, "max_size": None} | options
    return connect(address, subprotocols=[protocol] if protocol else None, **known)


def message(msg_type: str, content: dict, channel: str = "shell") -> bytes:
    header = {"msg_id": str(uuid4()), "msg_type": msg_type, "username": "", "session": "s", "version": "5.3"}
    parts = [header | {"date": "2026-01-01T00:00:00Z"}, {}, {"version": "1.0.0"}, content]
    return serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts], channel)


def heard(connection: ClientConnection, seconds: float) -> list[tuple[str, bytes]]:
    """Type and frame of all that comes within so many seconds."""
    found, deadline = [], time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            frame = connection.recv(left)
        except (TimeoutError, ConnectionClosed):
            break
        found.append((json.loads(split(frame)[1])["msg_type"], frame))
    return found


@pytest.fixture
def kernel(served: Served):
    found = opened(served)
    yield found
    ended(served, found)


CLAIMS = {"ff x 8": b"\xff" * 8, "legacy": bytes.fromhex("7fffffff"), "million": (10**6).to_bytes(8, "little"),
          "text": "not bytes", "nothing": b"", "no JSON": b"".join(
    n.to_bytes(8, "little") for n in (6, 56, 56, 56, 56, 56, 56))}  # fmt: skip


@pytest.mark.parametrize("frame", CLAIMS.values(), ids=CLAIMS)
def test_a_frame_that_claims_what_is_not_there_ends_its_socket_and_nothing_else(
    served: Served, kernel: str, frame: bytes | str
):
    with socket(served, kernel) as attacker:
        attacker.send(frame)
        heard(attacker, 10)
        assert attacker.close_code == 1008
    begin = time.monotonic()
    assert fetch(f"{served.base}/api/health")[0] == 200
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize("protocol", [None, "chat"])
def test_only_one_protocol_is_spoken(served: Served, kernel: str, protocol: str | None):
    with pytest.raises(InvalidStatus, match="400"), socket(served, kernel, protocol):
        pass


def test_code_sent_over_a_pages_own_socket_is_not_run(served: Served, kernel: str, tmp_path: Path):
    canary = tmp_path / "ran"
    code = {"code": f"open({str(canary)!r}, 'w').close()", "silent": False, "user_expressions": {}}
    with socket(served, kernel) as connection:
        connection.send(message("execute_request", code))
        connection.send(message("shutdown_request", {"restart": False}, "control"))
        connection.send(message("comm_open", {"comm_id": "c", "target_name": "jupyter.widget", "data": {}}))
        connection.send(message("comm_info_request", {}))  # answered after the others had their turn
        kinds = [kind for kind, _ in heard(connection, 3)]
    assert "comm_info_reply" in kinds
    assert not canary.exists()
    assert not {"execute_reply", "execute_input", "shutdown_reply"} & set(kinds)


def comms(connection: ClientConnection) -> list[str]:
    connection.send(message("comm_info_request", {"target_name": "jupyter.widget"}))
    (reply,) = [frame for kind, frame in heard(connection, 3) if kind == "comm_info_reply"]
    return list(json.loads(split(reply)[4])["comms"])


@pytest.mark.slow
def test_a_crafted_widget_message_brings_no_path_of_this_machine(served: Served):
    kernel = opened(served, "models")
    with socket(served, kernel) as connection:
        time.sleep(3)  # until the page has its widgets
        for widget in comms(connection):
            for state in ({"index": 10**9}, {"value": {"a": 1}}, {"layout": "IPY_MODEL_none"}, {"children": ["x"]}):
                content = {"comm_id": widget, "data": {"method": "update", "state": state, "buffer_paths": [["x"], []]}}
                connection.send(message("comm_msg", content))
            connection.send(message("comm_msg", {"comm_id": widget, "data": {"method": "nothing"}}))
        frames = heard(connection, 5)
    ended(served, kernel)
    assert frames
    assert not {"stream", "error", "execute_result"} & {kind for kind, _ in frames}
    said = b" ".join(frame for _, frame in frames)
    for words in (b"Traceback", b"site-packages", b".py\\", str(Path(psutil.__file__).parents[1]).encode()):
        assert words not in said


STATES = {"comm_id": "control", "data": {"method": "request_states"}}


def ask_for_states(connection: ClientConnection) -> None:
    connection.send(message("comm_open", {"comm_id": "control", "target_name": "jupyter.widget.control", "data": {}}))
    for _ in range(400):  # a hundred bytes each; the answer is a quarter of a megabyte
        connection.send(message("comm_msg", STATES))


@pytest.mark.slow
def test_a_question_is_read_when_the_answer_before_it_was(served: Served):
    kernel = opened(served, "models")
    before = psutil.Process(served.process.pid).memory_info().rss
    with socket(served, kernel, max_queue=1) as silent:
        ask_for_states(silent)
        time.sleep(5)
        assert psutil.Process(served.process.pid).memory_info().rss - before < 2 * UNREAD
        assert [kind for kind, _ in heard(silent, 5)].count("comm_msg") > 20  # it was held up, not sent away
    ended(served, kernel)


@pytest.mark.slow
def test_a_socket_that_nobody_reads_is_ended(served: Served):
    kernel = opened(served, "models")
    before = psutil.Process(served.process.pid).memory_info().rss
    with socket(served, kernel, max_queue=1) as silent, socket(served, kernel) as reader:
        ask_for_states(reader)
        answers = [kind for kind, _ in heard(reader, 20)].count("comm_msg")
        grown = psutil.Process(served.process.pid).memory_info().rss - before
        unread = sum(len(frame) for _, frame in heard(silent, 5))
        assert "wait for its reader" in (served.folder / "log").read_text()
    ended(served, kernel)
    assert answers == 400
    assert grown < 4 * UNREAD
    assert unread < 2 * UNREAD


def test_a_page_has_so_many_sockets_and_no_more(served: Served, kernel: str):
    held = [socket(served, kernel) for _ in range(SOCKETS)]
    with pytest.raises(InvalidStatus, match="503"), socket(served, kernel):
        pass
    for connection in held:
        connection.close()
    with socket(served, kernel):
        pass


# --- seats ----------------------------------------------------------------------------------------------------


def test_nine_do_not_sit_on_eight_seats(small: Served):
    """Three visitors on two seats, three times: some come while the kernel for the next one is being heated."""
    for _ in range(3):
        with ThreadPoolExecutor(3) as visitors:
            pages = list(visitors.map(lambda _: fetch(small("probe")), range(3)))
        assert [status for status, _ in pages].count(503) >= 1
        assert 200 in [status for status, _ in pages]
        for kernel in (re.search(r'"kernelId": ?"([^"]+)"', text)[1] for status, text in pages if status == 200):
            ended(small, kernel)


@pytest.mark.slow
def test_a_client_that_never_connects_gives_its_seat_back(small: Served):
    for _ in range(2):
        opened(small)
    assert fetch(small("probe"))[0] == 503
    time.sleep(5)
    kernel = opened(small)
    with socket(small, kernel) as connection:
        time.sleep(5)
        assert fetch(f"{small.base}/api/kernels/{kernel}")[0] == 200  # whoever came keeps it
        connection.close()
    ended(small, kernel)
