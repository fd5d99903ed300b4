"""A frame is read by lengths that are really there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1

from mltrainer.errors import BadInput
from mltrainer.server import sockets
from mltrainer.server.sockets import MOST_OFFSETS, admitted, split

HEADER = {"msg_id": "1", "msg_type": "comm_msg", "username": "", "session": "s", "version": "5.3"}


def frame(*, channel: str = "shell", content: object = None, **header: object) -> bytes:
    parts = [HEADER | header, {}, {}, {"data": {}} if content is None else content]
    return serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts], channel)


@given(st.text(max_size=9), st.lists(st.binary(max_size=50), min_size=4, max_size=MOST_OFFSETS - 2))
def test_a_frame_is_split_as_jupyter_splits_it(channel: str, parts: list[bytes]):
    made = serialize_msg_to_ws_v1(parts, channel)
    first, *rest = split(made)
    assert (first.decode(), rest) == deserialize_msg_from_ws_v1(made)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused_and_nothing_else_happens(noise: bytes):
    with pytest.raises(BadInput):
        admitted(noise)


@given(st.integers(0, 2**64 - 1), st.integers(0, 6))
def test_an_offset_that_leads_elsewhere_is_refused(value: int, which: int):
    made = bytearray(frame())
    true = int.from_bytes(made[8 * which : 8 * which + 8], "little")
    made[8 * which : 8 * which + 8] = value.to_bytes(8, "little")
    if value != true:
        try:
            parts = split(bytes(made))
        except BadInput:
            return
        assert sum(map(len, parts)) == len(made) - 8 * (len(parts) + 2)  # moved, and still inside


@pytest.mark.parametrize("claim", ["ff" * 8, "7fffffff", "", "00" * 8, "06" + "00" * 7, (b"\x3f" + b"\0" * 7).hex()])
def test_a_count_of_parts_that_are_not_there_is_refused(claim: str):
    with pytest.raises(BadInput, match="claims"):
        split(bytes.fromhex(claim))


def test_a_page_may_send_what_widgets_need_and_nothing_else():
    control = {"target_name": "jupyter.widget.control"}
    assert admitted(frame())
    assert admitted(frame(msg_type="comm_open", content=control))
    assert admitted(frame(msg_type="kernel_info_request", channel="control"))
    assert not admitted(frame(msg_type="comm_open", content={"target_name": "jupyter.widget"}))
    assert not admitted(frame(content={"data": "x"}))
    for kind in ("execute_request", "shutdown_request", "complete_request", "input_reply", ""):
        assert not admitted(frame(msg_type=kind))


@pytest.mark.parametrize(
    "odd",
    [
        frame(channel="iopub"),
        frame(channel="stdin"),
        frame(content=[]),
        frame(msg_type=None),
        frame(session=1),
        serialize_msg_to_ws_v1([b"{}", b"{}", b"{}", b"{"], "shell"),
        serialize_msg_to_ws_v1([b"\xff", b"{}", b"{}", b"{}"], "shell"),
        serialize_msg_to_ws_v1([b"[" * 100_000, b"{}", b"{}", b"{}"], "shell"),
        serialize_msg_to_ws_v1([json.dumps(HEADER).encode(), b"1" * 5000, b"{}", b"{}"], "shell"),
    ],
)
def test_what_is_no_message_is_refused(odd: bytes):
    with pytest.raises(BadInput):
        admitted(odd)


def test_whoever_was_removed_hears_no_more_although_they_say_nothing(monkeypatch: pytest.MonkeyPatch):
    class Silent(sockets.KernelSocket):
        def __init__(self) -> None:
            self.closed: list[int] = []

        def close(self, code: int = 0, reason: str = "") -> None:
            self.closed.append(code)

    monkeypatch.setattr(sockets, "present", lambda handler: "")
    silent = Silent()
    silent.write_message(b"a figure")
    assert silent.closed == [1008]
