"""One question to one host and its answer, on time and whole.

Nothing here knows who may be asked or what an answer means: that is `client`, which alone calls it.
"""

import json
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from itertools import chain
from threading import Event, Timer
from typing import Any, NoReturn

import requests
from pydantic import SecretStr
from pydantic_core import from_json
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as TooSlow
from urllib3.util import Retry

from mltrainer.errors import MltrainerError, ProviderError

IDLE = 10.0  # seconds without a byte after which a connection counts as dead
LARGEST = 64 * 2**20  # bytes of one answer; 50,000 bars are 6 MB, all vintages of a series 9 MB


@dataclass(frozen=True)
class Answer:
    """What came back: an HTTP answer, or in `failure` the words for why there is none (`final`: trying is no use)."""

    status: int = 0
    kind: str = ""
    body: bytes = field(default=b"", repr=False)  # an error may repeat the key
    retry_after: float | None = None
    failure: str = ""
    final: bool = False


class _Key(AuthBase):
    """Puts the key in last: into a header where the provider takes one, else at the end of the query."""

    def __init__(self, key: SecretStr, by_header: bool) -> None:
        self._key, self._by_header = key, by_header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._by_header:
            request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        else:
            request.prepare_url(request.url or "", {"api_key": self._key.get_secret_value()})
        return request


def question(endpoint: str, asked: dict[str, str]) -> requests.PreparedRequest:
    """The request without a key: it names what is asked, not who asks."""
    return requests.Request("GET", endpoint, params=asked).prepare()


def exchange(endpoint: str, asked: dict[str, str], key: SecretStr, *, by_header: bool, until: float) -> Answer:
    """Ask once and read the whole answer before `until` (monotonic seconds); raises nothing that could hold the key."""
    left = max(0.05, until - time.monotonic())
    with requests.Session() as session:
        session.trust_env = endpoint.startswith("https:")  # a proxy is for the world, not for this machine
        for scheme in ("https://", "http://"):
            session.mount(scheme, _adapter(os.getpid()))
        request = session.prepare_request(requests.Request("GET", endpoint, params=asked, auth=_Key(key, by_header)))
        options = session.merge_environment_settings(request.url or "", {}, True, None, None)
        try:
            response = session.send(
                request, allow_redirects=False, timeout=(min(IDLE, left), min(IDLE, left)), **options
            )
            return _read(response, until)
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            return Answer(failure=_said(error, until), final=isinstance(error, requests.exceptions.SSLError))


def _read(response: requests.Response, until: float) -> Answer:
    """Body and status; whatever is written to us byte by byte is read by the clock, and no more than LARGEST."""
    body = bytearray()
    with response:
        while piece := response.raw.read1(2**16, decode_content=True):
            body += piece
            if time.monotonic() > until:
                return Answer(response.status_code, failure="was still sending when the time was up", final=True)
            if len(body) > LARGEST:
                return Answer(response.status_code, failure=f"sent more than {LARGEST >> 20} MB", final=True)
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Answer(response.status_code, kind, bytes(body), _retry_after(response.headers.get("Retry-After")))


def _retry_after(said: str | None) -> float | None:
    """Seconds, from a number of them or a date; None where it cannot be read."""
    try:
        return float(Retry(0).parse_retry_after(said)) if said else None
    except (HTTPError, ValueError, OverflowError):
        return None


def _said(error: BaseException, until: float) -> str:
    """Our own words: those of the libraries hold the address, and with it a key."""
    chain: list[BaseException] = [error]
    while len(chain) < 20 and (inner := _inner(chain[-1])) is not None:
        chain.append(inner)
    if any(isinstance(e, ssl.SSLError) for e in chain):
        return "showed no certificate that can be trusted"
    system = next((e.strerror for e in chain if isinstance(e, OSError) and e.errno and e.strerror), None)
    slow = any(isinstance(e, requests.Timeout | TooSlow | TimeoutError) for e in chain)
    if not system and (slow or time.monotonic() >= until):  # the clock may have hung up
        return "gave no answer in time"
    return f"broke off or could not be reached ({system or type(chain[-1]).__name__})"


def _inner(error: BaseException) -> BaseException | None:
    if isinstance(error, TimeoutError):  # whatever broke when the clock hung up
        return None
    held = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
    return next((e for e in held if isinstance(e, BaseException)), None)


# --- JSON, as its standard has it -----------------------------------------------------------------------------


def parsed(body: bytes) -> Any:
    """The document in a body; `ProviderError` for all that is no JSON, NaN and repeated names included."""
    if body.startswith(b"\xef\xbb\xbf"):
        raise ProviderError("the answer begins with a byte order mark, which JSON must not; it was not kept")
    with suppress(ValueError):
        found = from_json(body, allow_inf_nan=False)
        # Each name is followed by '":', or by space. Where as many of these stand in the body as there are names in
        # what was read, none stood twice in one object; else the slow way below finds out.
        if body.count(b'":') == _names(found, body) and not any(c in body and c + b":" in body for c in SPACE):
            return found
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except UnicodeDecodeError:
        raise ProviderError("the answer is not in UTF-8; it was not kept") from None
    except (ValueError, RecursionError) as error:
        said = "empty" if not body.strip() else f"no JSON ({str(error)[:80]})"
        raise ProviderError(f"the answer is {said}; it was not kept") from None


SPACE = (b" ", b"\t", b"\r", b"\n")


def _names(found: Any, body: bytes) -> int:
    """How many names stand in all objects of a document; its brackets say when there are none further down."""
    level, names, left = [found], 0, body.count(b"{") + body.count(b"[")
    while level and left > 0:
        objects = [value for value in level if type(value) is dict]
        lists = [value for value in level if type(value) is list]
        names, left = names + sum(map(len, objects)), left - len(objects) - len(lists)
        level = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(lists)] if left > 0 else []
    return names


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


# --- a connection that hangs up -------------------------------------------------------------------------------


def _hang_up(connection: Any, late: Event) -> None:
    late.set()
    with suppress(OSError, AttributeError):  # there may be no line yet
        connection.sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _in_time(connection: Any) -> Iterator[None]:
    """End what a connection waits for after one timeout in all, not after one for each byte."""
    late = Event()
    watch = Timer(connection.timeout or IDLE, _hang_up, (connection, late))
    watch.daemon = True
    watch.start()
    try:
        yield
    except (OSError, HTTPException, HTTPError):
        if not late.is_set():
            raise
    finally:
        watch.cancel()
    if late.is_set():  # half a head can look like a whole one
        raise TimeoutError


def _punctual(connection: type[Any]) -> type[Any]:
    """A connection that is made (what a proxy answers included) and has its head (status and headers) in time."""

    class Punctual(connection):
        def connect(self) -> None:
            with _in_time(self):
                super().connect()

        def getresponse(self) -> Any:
            with _in_time(self):
                return super().getresponse()

    return Punctual


class _Plain(HTTPConnectionPool):
    ConnectionCls = _punctual(HTTPConnection)


class _Secure(HTTPSConnectionPool):
    ConnectionCls = _punctual(HTTPSConnection)


POOLS = {"http": _Plain, "https": _Secure}


@cache
def _adapter(_process: int) -> HTTPAdapter:
    """The pool of connections of this process, kept open between questions."""
    adapter = _Kept(max_retries=Retry(0, read=False), pool_maxsize=4)
    adapter.poolmanager.pool_classes_by_scheme = POOLS
    return adapter


class _Kept(HTTPAdapter):
    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """A way through a proxy is as punctual as the one without."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def close(self) -> None:
        """Not with the session: the next question uses the same connections."""


# --- what others log ------------------------------------------------------------------------------------------


def mask_logs(masked: Callable[[str], str]) -> None:
    """Have what urllib3 writes at DEBUG, whole addresses, pass through `masked`."""

    def mask(record: logging.LogRecord) -> bool:
        try:
            record.msg, record.args = masked(record.getMessage()), ()
        except MltrainerError:  # the settings cannot be read, so what to mask is not known
            record.msg, record.args = "(not shown: the settings cannot be read)", ()
        return True

    for name in ("urllib3.connectionpool", "urllib3.connection"):
        logging.getLogger(name).addFilter(mask)
