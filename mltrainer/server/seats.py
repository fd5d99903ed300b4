"""Kernels for so many open pages and no more: a page costs about 150 MB, and Voilà sets no limit (voila#617)."""

import asyncio
from collections import Counter
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado import web
from traitlets import Dict, Float, Integer

from mltrainer.server import private

VISITOR: ContextVar[str] = ContextVar("VISITOR", default="")
"""Who asked for the page that a kernel is started for."""


class Seats(AsyncMappingKernelManager):
    """A seat is a kernel that a page has, or is about to have; preheated ones that wait for a visitor are none.

    A seat is given up when its page is left, and when nobody has come for it within `patience` seconds.
    """

    seats = Integer(8, config=True, help="open dashboard pages at a time")
    patience = Float(60.0, config=True, help="seconds in which a page's socket must have come")
    told = Dict(config=True, help="variables that kernels see otherwise than this process does")

    def __init__(self, **kwargs: Any) -> None:
        self.sockets: Counter[str] = Counter()  # open sockets by kernel
        self.owners: dict[str, str] = {}  # whose page a kernel is behind
        self.heating: set[str] = set()  # preheated kernels that are not up yet
        self.arriving: set[str] = set()  # a page's own kernel that is not up yet
        self._pools: dict[str, list[asyncio.Task[dict[str, str]]]] = {}  # Voilà's subclass fills it
        super().__init__(**kwargs)

    @property
    def full(self) -> bool:
        """Whether every seat is taken."""
        waiting = {str(k) for pool in self._pools.values() for task in pool if (k := _kernel(task))}
        return len(set(self.list_kernel_ids()) - waiting - self.heating | self.arriving) >= self.seats

    def ready(self, notebook: str) -> str | None:
        """The preheated kernel that the next visitor of `notebook` gets, once it is up."""
        pool = self._pools.get(notebook)
        return _kernel(pool[0]) if pool else None

    def expect(self, kernel_id: str) -> None:
        """Keep the seat for whoever asked, and give it to somebody else if they do not come for it."""
        self.owners[kernel_id] = VISITOR.get()
        self.touch(kernel_id)  # a preheated one may have waited for longer than an idle one may live
        asyncio.get_running_loop().call_later(self.patience, self._give_up, kernel_id)

    def _give_up(self, kernel_id: str) -> None:
        if kernel_id in self and not self.visited(kernel_id):
            self.log.warning("a page whose browser never came back was ended")
            asyncio.get_running_loop().create_task(self.shutdown_kernel(kernel_id, now=True))

    def touch(self, kernel_id: str) -> None:
        """Count its idle time from now on: Jupyter counts from the last message, whoever came or went since."""
        if kernel_id in self:
            self.get_kernel(kernel_id).last_activity = datetime.now(UTC)  # type: ignore[attr-defined]

    def visited(self, kernel_id: str) -> bool:
        """Whether a socket of its page has ever come."""
        return kernel_id in self.sockets

    async def start_kernel(self, **kwargs: Any) -> str:  # type: ignore[override]
        """Start one, unless a page asks for it and all seats are taken."""
        preheat = kwargs["env"].get("VOILA_PREHEAT") == "True"
        if not preheat and self.full:
            raise web.HTTPError(503)
        kwargs["env"] = private.without(kwargs["env"]) | self.told
        kernel_id, coming = str(uuid4()), self.heating if preheat else self.arriving
        coming.add(kernel_id)
        try:
            await super().start_kernel(kernel_id=kernel_id, **kwargs)
        finally:
            coming.discard(kernel_id)
        if not preheat:
            self.expect(kernel_id)
        return kernel_id

    def remove_kernel(self, kernel_id: str) -> Any:
        """Forget its sockets and its owner too."""
        self.sockets.pop(kernel_id, None)
        self.owners.pop(kernel_id, None)
        return super().remove_kernel(kernel_id)


def _kernel(task: asyncio.Task[dict[str, str]]) -> str | None:
    """The kernel that a task of Voilà's pool has brought up."""
    up = task.done() and not task.cancelled() and task.exception() is None
    return task.result()["kernel_id"] if up else None
