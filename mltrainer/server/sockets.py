"""The sockets of a page: what a browser may tell its kernel and what it hears, held to a form and a size.

A frame is read here by lengths that are really there, before Jupyter reads it by lengths that the sender claims.
"""

import asyncio
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from tornado import web
from tornado.websocket import WebSocketClosedError
from voila.request_info_handler import RequestInfoSocketHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from mltrainer.errors import BadInput
from mltrainer.server.gate import OfKernel
from mltrainer.server.identity import present
from mltrainer.server.roles import allowed

PROTOCOL = "v1.kernel.websocket.jupyter.org"
MOST_OFFSETS = 64  # channel, four parts, the end, and buffers
UNREAD = 8 * 2**20  # bytes that may wait for a reader; the state of a whole page is a few hundred thousand
PATIENCE = 30.0  # seconds that a message is waited for, if it has no answer or nobody reads it
SOCKETS = 3  # of one page: one in use, and those it lost and the server has not missed yet


def split(frame: bytes) -> list[bytes]:
    """Split a frame of Jupyter's protocol v1: channel, header, parent header, metadata, content, then any buffers.

    A count n and n offsets, 8 bytes each, little-endian, then the parts: the first offset is where the offsets end,
    the last is where the frame ends. `BadInput` if it is otherwise.
    """
    count = int.from_bytes(frame[:8], "little")
    if not 6 <= count <= MOST_OFFSETS or len(frame) < 8 * (count + 1):
        raise BadInput(f"a frame of {len(frame)} bytes claims {count} offsets")
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    if offsets[0] != 8 * (count + 1) or offsets[-1] != len(frame) or any(a > b for a, b in pairwise(offsets)):
        raise BadInput(f"the offsets of a frame of {len(frame)} bytes are not those of its parts")
    return [frame[a:b] for a, b in pairwise(offsets)]


# What a page may send, and what its content must be besides a JSON object. Widgets are made by the kernel; a page opens
# no comm but the one that asks for their state.
MAY_SEND: dict[str, Callable[[dict[str, Any]], bool]] = {
    "kernel_info_request": lambda content: True,
    "comm_info_request": lambda content: True,
    "comm_open": lambda content: content.get("target_name") == "jupyter.widget.control",
    "comm_msg": lambda content: isinstance(content.get("data"), dict),
    "comm_close": lambda content: True,
}
# What it hears. The other messages hold source, output and tracebacks, with paths of this machine.
MAY_HEAR = (
    "status kernel_info_reply comm_info_reply comm_open comm_msg comm_close display_data update_display_data "
    "clear_output"
).split()


def admitted(frame: bytes) -> str:
    """Id of the message in a frame if it is one of `MAY_SEND`, else nothing; `BadInput` if it is no message at all."""
    channel, *parts = split(frame)
    try:
        header, _, _, content = documents = [json.loads(part) for part in parts[:4]]
    except (ValueError, RecursionError):
        raise BadInput("a part of a message is not JSON") from None
    if not all(isinstance(document, dict) for document in documents) or channel not in (b"shell", b"control"):
        raise BadInput("a message needs four JSON objects, and shell or control to go to")
    if not all(isinstance(header.get(name), str) for name in ("msg_id", "msg_type", "session", "username", "version")):
        raise BadInput("the header of a message lacks a name")
    rule = MAY_SEND.get(header["msg_type"])
    return str(header["msg_id"]) if rule is not None and rule(content) else ""


class PageConnection(ZMQChannelsWebsocketConnection):
    """Between a page and its kernel, where messages pass that a page needs, and no others."""

    asked = ""  # the message that the kernel has not done with
    done: asyncio.Event | None = None

    def handle_incoming_message(self, incoming_msg: Any) -> None:
        """Hand on what may pass; a frame that is no message ends the socket."""
        try:
            asked = admitted(incoming_msg if isinstance(incoming_msg, bytes) else b"")
        except BadInput as error:
            self.log.warning("a socket was closed: %s", error)
            self.websocket_handler.close(1008, "not a message")
            return
        if asked:
            self.asked, self.done = asked, asyncio.Event()
            super().handle_incoming_message(incoming_msg)
        else:
            self.log.warning("a message of a page was left out: it is none that a page needs")

    def handle_outgoing_message(self, stream: Any, outgoing_msg: list[Any]) -> None:
        """Hand on what a page may hear."""
        _, parts = self.session.feed_identities(outgoing_msg)
        _, header, parent, _, content, *_ = map(bytes, parts)  # type: ignore[arg-type]
        kind = json.loads(header)["msg_type"]
        if kind in MAY_HEAR:
            super().handle_outgoing_message(stream, outgoing_msg)
        state = json.loads(content)["execution_state"] if kind == "status" else ""
        if self.done is not None and state == "idle" and json.loads(parent).get("msg_id") == self.asked:
            self.done.set()

    async def answered(self) -> None:
        """Wait until the kernel is done with the last message, or does not seem to be."""
        if self.done is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.done.wait(), PATIENCE)


class KernelSocket(OfKernel, VoilaKernelWebsocketHandler):
    """Widgets and their kernel, over one protocol, a few sockets a page, each ended when nobody reads it."""

    unread = 0
    sent: asyncio.Future[None] | None = None

    async def get(self, kernel_id: str) -> None:
        """Hold a place among the page's sockets for as long as this one lives."""
        if PROTOCOL not in self.request.headers.get("Sec-WebSocket-Protocol", ""):
            raise web.HTTPError(400)
        seats = self.settings["kernel_manager"]
        held = seats.sockets
        if held[kernel_id] >= SOCKETS:
            raise web.HTTPError(503)
        held[kernel_id] += 1
        try:
            await super().get(kernel_id)  # type: ignore[misc]  # a coroutine behind an untyped decorator
        finally:
            if kernel_id in held:
                held[kernel_id] -= 1
                seats.touch(kernel_id)

    async def on_message(self, ws_message: str | bytes) -> None:
        """Hand a message on, and read the next one when this one is answered and the answer is read.

        A question of a hundred bytes may have an answer of megabytes; so there is one at a time.
        """
        if not allowed(present(self), self.permission):
            self.close(1008, "let in no more")
            return
        connection = self.connection
        super().on_message(ws_message)
        await connection.answered()
        if self.sent is not None and not self.sent.done():
            await asyncio.wait([self.sent], timeout=PATIENCE)

    def write_message(self, message: bytes | dict[str, Any], binary: bool = False) -> None:
        """Send to whoever may still hear it, unless too much waits to be read: then they have gone, or never read."""
        if not allowed(present(self), self.permission):
            self.close(1008, "let in no more")
            return
        if self.unread > UNREAD:
            self.log.warning("a socket was closed: %d bytes wait for its reader", self.unread)
            self.close(1008, "not read")
        size = len(message)
        try:
            self.sent = super().write_message(message, binary)
        except WebSocketClosedError:
            return
        if self.sent is not None:
            self.unread += size
            self.sent.add_done_callback(lambda _: self._read(size))

    def _read(self, size: int) -> None:
        self.unread -= size


class RequestInfo(RequestInfoSocketHandler):
    """Tells a preheated kernel which address its visitor asked for; the caller is that kernel, which has no token."""

    def prepare(self) -> None:
        """Only a living kernel's id opens it, only once at a time, and by no proxy."""
        kernel_id = self.request.path.rsplit("/", 1)[-1]
        if (
            getattr(self.request, "forwarded", False)
            or kernel_id not in self.settings["kernel_manager"]
            or kernel_id in self._waiters
        ):
            raise web.HTTPError(404)

    def open(self, kernel_id: str) -> None:
        """Hand the request over once, and forget it."""
        super().open(kernel_id)
        self._cache.pop(kernel_id, None)

    def on_message(self, message: str | bytes) -> None:
        """Nobody has anything to say here."""
        self.close()

    def on_close(self) -> None:
        """Forget the caller."""
        self._waiters.pop(self.request.path.rsplit("/", 1)[-1], None)
