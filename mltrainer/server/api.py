"""The routes behind the gate: a request is read by its row's types, answered in a thread; every error has one form."""

import asyncio
import contextvars
import inspect
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar

from jupyter_server.base.handlers import APIHandler
from pydantic_core import to_json
from tornado import web
from tornado.iostream import StreamClosedError

from mltrainer.errors import MltrainerError
from mltrainer.server import metrics
from mltrainer.server.asking import asked, body, checked, queried, status_of, told
from mltrainer.server.faults import Fault
from mltrainer.server.gate import Gate
from mltrainer.server.identity import name_of, role_of
from mltrainer.server.records import Caller
from mltrainer.server.routes import ROUTES, Route
from mltrainer.server.stream import Stream

LARGEST = 64 * 1024  # bytes of a body
THREADS = 6  # more than one caller can take
WAITING = 16  # questions that are being answered or wait for it
EACH = 4  # of them of one caller
PATIENCE = 120.0  # seconds for an answer
LINES = "application/x-ndjson"
POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="mltrainer-api")


class Api(Gate, APIHandler):
    """One address; what it does by which method is in its rows."""

    routes: dict[str, Route]
    waiting: ClassVar[Counter[str]] = Counter()  # by caller
    hear: Callable[[str], Any] | None = None

    def initialize(self, routes: dict[str, Route]) -> None:
        """Take the rows of this address."""
        self.routes = routes

    def set_cors_headers(self) -> None:
        """None: a page of another origin gets nothing from here, also with a token."""

    async def prepare(self, **kwargs: Any) -> None:
        """Turn away whoever may not, and methods that are in no row."""
        method = "GET" if self.request.method == "HEAD" else str(self.request.method)
        route = self.routes.get(method)
        self.permission = route.permission if route else "health:read"
        await super().prepare(**kwargs)
        if route is None:
            has = {*self.routes, *(["HEAD"] if "GET" in self.routes else [])}
            raise Fault(405, Allow=", ".join(sorted(has)))
        self.route = route

    async def get(self, *places: str) -> None:
        """Answer a question."""
        given = {k: [v.decode(errors="replace") for v in values] for k, values in self.request.query_arguments.items()}
        given.pop("token", None)
        self.set_header("Cache-Control", "private, no-cache")  # kept, and asked about again with its ETag
        await self.answer(lambda: queried(self.route.call, given), places)

    head = get

    async def post(self, *places: str) -> None:
        """Do what is asked."""
        if len(self.request.body) > LARGEST:
            raise web.HTTPError(413)
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and (self.request.body or asked(self.route.call).model_fields.keys() - {"id"}):
            raise web.HTTPError(415)
        self.set_header("Cache-Control", "no-store")
        await self.answer(lambda: body(self.request.body), places)

    delete = get

    # Not in any row, so that `prepare` has refused them; tornado wants them to be there.
    put = patch = options = get  # type: ignore[assignment]

    async def answer(self, read: Callable[[], dict[str, Any]], places: tuple[str, ...]) -> None:
        """Call the row's function with what was read, and write what it gives."""
        try:
            given = read()
            names = [part[1:-1] for part in self.route.path.split("/") if part.startswith("{")]
            arguments = checked(self.route.call, given | dict(zip(names, places, strict=True)))
            found = await self.called(arguments)
        except Exception as error:
            if self._headers_written:  # the status is out: the last line says what became of it
                self.finish(f"{json.dumps({'error': self.in_words(error)})}\n")
                return
            if isinstance(error, MltrainerError):
                raise Fault(status_of(error), self.in_words(error), type(error).__name__) from error
            raise
        self.set_status(self.route.status)
        if self.route.location:
            self.set_header("Location", self.base_url.rstrip("/") + self.route.location.format(id=found.id))
        said = to_json(found, inf_nan_mode="null", fallback=plain)
        lines = {"set_content_type": LINES} if self.hear else {}
        self.finish(b'{"answer": %s}\n' % said if self.hear else said, **lines)

    def in_words(self, error: Exception) -> str:
        """What whoever asks is told of an error; of one that is nobody's business the number of the incident."""
        if isinstance(error, MltrainerError) and (words := told(error)):
            return words
        if isinstance(error, Fault) and error.message:
            return error.message
        self.log_exception(type(error), error, error.__traceback__)
        return f"it broke; incident {getattr(self, 'incident', '')} in the server's log"

    def hearing(self) -> Callable[[str], Any] | None:
        """Takes pieces of an answer from its thread, where they are asked for and the route has any."""
        wanted = self.request.headers.get("Accept", "") == LINES
        if not wanted or "hear" not in inspect.signature(self.route.call).parameters:
            return None
        self.set_header("Content-Type", LINES)
        loop = asyncio.get_running_loop()
        self.hear = lambda text: loop.call_soon_threadsafe(self.piece, text)
        return self.hear

    def piece(self, text: str) -> None:
        """Send one on; that nobody reads any more ends no answer, which is kept."""
        if self._finished:  # nobody waits for it any more
            return
        with suppress(StreamClosedError):
            self.write(f"{json.dumps({'piece': text})}\n")
            asyncio.ensure_future(self.flush()).add_done_callback(lambda sent: sent.exception())

    async def called(self, arguments: dict[str, Any]) -> Any:
        """What the row's function gives, in the name of whoever asks."""
        call, caller = self.route.call, Caller(name_of(self), role_of(self))
        ours = {"caller": caller, "hear": self.hearing()}
        arguments |= {name: ours[name] for name in inspect.signature(call).parameters if name in ours}
        if self.route.quick:
            return call(**arguments)
        if Api.waiting.total() >= WAITING or Api.waiting[caller.name] >= EACH:
            raise Fault(503, "Too many questions are being answered; ask again soon.", "NotNow", Retry_After="5")
        from mltrainer.trust.audit import ACTOR  # and with it the database, which the first answer need not wait for

        Api.waiting[caller.name] += 1
        context = contextvars.copy_context()
        context.run(ACTOR.set, caller.name)
        work = asyncio.get_running_loop().run_in_executor(POOL, lambda: context.run(call, **arguments))
        work.add_done_callback(lambda _: _less(caller.name))
        try:
            return await asyncio.wait_for(asyncio.shield(work), PATIENCE)
        except TimeoutError:
            raise Fault(503, f"There was no answer within {PATIENCE:.0f} seconds.", "NotNow") from None


def _less(name: str) -> None:
    Api.waiting[name] -= 1
    if not Api.waiting[name]:
        del Api.waiting[name]


def plain(value: Any) -> Any:
    """What JSON does not know, as what it knows."""
    return value.item() if hasattr(value, "item") else str(value)


def handlers(base_url: str = "/") -> list[tuple[Any, ...]]:
    """The routes for tornado, one entry an address; below `base_url` where a server has one."""
    base = base_url.rstrip("/")
    found: list[tuple[Any, ...]] = [(f"{base}/api/stream", Stream), (f"{base}{metrics.PATH}", metrics.Metrics)]
    for path, rows in groupby(sorted(ROUTES, key=lambda r: r.path), key=lambda r: r.path):
        pattern = base + path.replace(".", r"\.").replace("{id}", "([0-9a-f]{12})")
        found.append((pattern, Api, {"routes": {row.method: row for row in rows}}))
    return found
