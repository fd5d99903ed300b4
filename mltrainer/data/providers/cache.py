"""Answers of providers, kept for later with the hash they had when they came: what was changed since is a violation.

Polygon's are in a file of MLTRAINER_HOME that only its owner reads (or in redis), FRED's in memory only unless the
operator asks for the disk. The hashes stand elsewhere, in the database beside the audit trail.
"""

import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from requests import PreparedRequest
from requests.structures import CaseInsensitiveDict
from requests_cache import CachedSession, SQLiteCache, SQLiteDict
from requests_cache.backends import BaseCache
from requests_cache.models import CachedRequest, CachedResponse
from requests_cache.policy.settings import DEFAULT_IGNORED_PARAMS
from requests_cache.serializers import CattrStage, SerializerPipeline, Stage, json_serializer

from mltrainer import store, vault
from mltrainer.errors import BadInput, StorageError, Tampered, Unavailable
from mltrainer.settings import settings
from mltrainer.trust import gate

IGNORED = (*DEFAULT_IGNORED_PARAMS, "apiKey", "X-API-KEY")  # a list of one's own would replace the defaults


def recall(provider: str, question: PreparedRequest) -> tuple[bytes, str, str] | None:
    """Body, its sha256 shown again, and time (UTC, ISO 8601) of a kept answer; None where there is none.

    Parameters
    ----------
    question : the request without its key.
    """
    key = key_of(question)
    with _explained():
        answers = _answers(provider)
        try:
            response = answers.get_response(key)
            if response is None and not answers.contains(key):
                return None
        except _failures():
            raise
        except Exception:  # whatever a changed row makes its reader say
            response = None
    body = _plain(key, response)
    noted, digest = store.noted_answers(key), sha256(body).hexdigest()
    if digest not in noted:
        why = f"is not what the provider sent (sha256 {digest[:12]} never came from there)"
        remedy = f"find out who changed it, then remove {_place(provider)}"
        gate.refuse(f"a kept answer of {provider}", why, remedy, key=key)
    return body, digest, noted[digest]


def _plain(key: str, response: Any) -> bytes:
    """Body of a kept answer; nothing of one that was changed."""
    try:
        return vault.decrypted((response.content if response is not None else b"") or b"", key)
    except Tampered:
        return b""


def key_of(question: PreparedRequest) -> str:
    """What an answer is kept under: its address, parameters in order."""
    parts = urlsplit(question.url or "")
    return urlunsplit(parts._replace(query=urlencode(sorted(parse_qsl(parts.query, True)))))


def keep(provider: str, question: PreparedRequest, body: bytes, digest: str, at: str, fresh: timedelta) -> None:
    """Keep a valid answer (its sha256) that came at `at` and is fresh for so long; a stale one goes with `prune`."""
    key, expires = key_of(question), datetime.fromisoformat(at) + fresh
    vault.guard(settings().home)
    gate.note_answer(key, digest, at)  # first: nobody must find an answer without its hash
    kept = CachedResponse(
        content=vault.encrypted(body, key),
        status_code=200,
        headers=CaseInsensitiveDict({"Content-Type": "application/json"}),
        request=CachedRequest.from_request(question),
        url=question.url or "",
        encoding="utf-8",
    )
    with _explained():
        _answers(provider).save_response(kept, key, expires)


def forget(provider: str, question: PreparedRequest) -> None:
    """Keep the answer no longer; the next question is asked anew."""
    with _explained():
        _answers(provider).delete(key_of(question))


# --- what is of no more use -----------------------------------------------------------------------------------

SPAN = re.compile(r"(?P<subject>.*/range/\d+/\w+)/(?P<first>[\d-]+)/(?P<last>[\d-]+)(?P<how>\?.*)?")
SLACK = 4  # days, by which weekends and holidays move where a page or a span of years begins


def supersede(provider: str, question: PreparedRequest) -> None:
    """Forget older answers to the same question with an earlier end, as a span up to today is another one each day."""
    new = SPAN.fullmatch(key_of(question))
    if new:
        with _explained():
            responses = _answers(provider).responses
            old = [key for key in responses if (found := SPAN.fullmatch(key)) and _older(found, new)]
            if old:
                responses.bulk_delete(old)


def _older(old: re.Match[str], new: re.Match[str]) -> bool:
    """Whether a later span says what `old` says, but for as many days at its start as are new at its end."""
    first, last = (_day(new[name]) - _day(old[name]) for name in ("first", "last"))
    same = all(old[name] == new[name] for name in ("subject", "how"))
    return same and last > 0 and first <= last + SLACK


def held() -> list[tuple[str, int, str]]:
    """What is kept on disk or in redis: address, bytes, and when it came (UTC, ISO 8601), the oldest first."""
    if not (settings().cache_url or _file().exists()):
        return []
    with _explained():
        responses = _answers("polygon").responses
        sizes = {key: len(response.content or b"") for key, response in responses.items()}
    rows = ((key, size, max(store.noted_answers(key).values(), default="")) for key, size in sizes.items())
    return sorted(rows, key=lambda row: row[2])


def prune(days: int | None = None) -> int:
    """Remove what is no longer fresh, or what came more than so many days ago; say how many answers went."""
    rows = held()
    if not rows:
        return 0
    with _explained():
        answers = _answers("polygon")
        if days is None:
            answers.delete(expired=True)
            return len(rows) - len(answers.responses)
        since = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        old = [key for key, _, at in rows if at < since]
        answers.responses.bulk_delete(old)
        return len(old)


def stale() -> list[tuple[str, int, float]]:
    """What `prune` would remove: address, bytes, and the days since it came."""
    rows = held()
    if not rows:
        return []
    with _explained():
        old = {key for key, response in _answers("polygon").responses.items() if response.is_expired}
    now = datetime.now(UTC)
    return [(key, size, (now - datetime.fromisoformat(at)).total_seconds() / 86_400) for key, size, at in rows
            if key in old and at]  # fmt: skip


def changed() -> list[str]:
    """Addresses of kept answers that are not what their provider sent."""
    if not (settings().cache_url or _file().exists()):
        return []
    with _explained():
        found = list(_answers("polygon").responses.items())
    digests = {key: sha256(_plain(key, response)).hexdigest() for key, response in found}
    return [key for key, digest in digests.items() if digest not in store.noted_answers(key)]


def rewrite(to: str) -> int:
    """Have kept answers encrypted by the key in force, or, of no key, in clear; how many were written again."""
    if not (settings().cache_url or _file().exists()):
        return 0
    with _explained():
        responses = _answers("polygon").responses
        old = [(key, answer) for key, answer in responses.items() if vault.key_of(answer.content or b"") != to]
    for key, answer in old:
        if body := _plain(key, answer):  # one that was changed stays, to be found out
            answer._content = vault.encrypted(body, key) if to else body
            with _explained():
                responses[key] = answer
    if old and isinstance(responses, SQLiteDict):
        with _explained():
            responses.vacuum()  # or pages of the file would still hold what it held
    return len(old)


def remove(keys: list[str]) -> None:
    """Keep these answers no longer."""
    if keys:
        with _explained():
            _answers("polygon").responses.bulk_delete(keys)


def _day(text: str) -> int:
    """Number of a day, written as a date or in milliseconds since 1970."""
    return int(text) // 86_400_000 if text.isdigit() else (date.fromisoformat(text) - date(1970, 1, 1)).days


def private(path: Path) -> Path:
    """Make sure the file is there and that only its owner may read it."""
    with _explained():
        store.make_folder(path.parent, 0o700)
        path.touch(mode=0o600)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    return path


def summary() -> dict[str, str]:
    """What is kept on disk or in redis and how old it is; two lines for `mltrainer doctor`."""
    path, span = _file(), store.answered()
    if span is None or not (settings().cache_url or path.exists()):
        return {"kept answers": "none", "newest data": "nothing was fetched"}
    with _explained():
        size = "in redis" if settings().cache_url else f"{path.stat().st_size / 2**20:.1f} MB"
        count = len(_answers("polygon").responses)
    hours = (datetime.now(UTC) - datetime.fromisoformat(span[1])).total_seconds() / 3600
    return {
        "kept answers": f"{count}, {size}, the oldest of {span[0][:16]} UTC",
        "newest data": f"fetched {span[1][:16]} UTC, {hours:.1f} hours ago",
    }


def _answers(provider: str) -> BaseCache:
    now = settings()
    if provider == "fred" and not now.fred_on_disk:
        return _opened(f"memory {now.home}", os.getpid(), 0)
    if now.cache_url:
        return _opened(now.cache_url, os.getpid(), 0)
    path = private(_file())
    return _opened(str(path), os.getpid(), path.stat().st_ino)


def _file() -> Path:
    return settings().home / "answers.sqlite"


def _written(row: dict[str, Any]) -> bytes:
    body = row.pop("_content", None) or b""
    return RAW + json.dumps(row).encode() + b"\n" + body


def _read(row: bytes | str) -> Any:
    if isinstance(row, str) or not row.startswith(RAW):
        return json_serializer.loads(row)  # kept by an earlier release
    line, _, body = row.removeprefix(RAW).partition(b"\n")
    return {**json.loads(line), "_content": body}


RAW = b"\x1e"  # RFC 7464, a JSON text follows
# A line of JSON and the body as it came: as text within the JSON it would be a third longer. Never pickle: it is code.
AS_IT_CAME = SerializerPipeline([CattrStage(), Stage(dumps=_written, loads=_read)], "as it came", is_binary=True)


class _Rows(SQLiteDict):
    """A table that says what went wrong: the library's asks for ever on a full disk, and drops a failed write."""

    @contextmanager
    def _acquire_sqlite_lock(self) -> Iterator[None]:
        with self._lock:
            assert self._connection is not None
            self._connection.execute("BEGIN IMMEDIATE")  # waits for its busy timeout
            self._active_transaction = True
            try:
                yield
                self._connection.commit()
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.rollback()
                raise
            finally:
                self._active_transaction = False


def _lay_out(path: Path) -> None:
    """Give a new file large pages: in small ones a page of bars is a thousand, and each of them a write."""
    if path.stat().st_size == 0:
        with closing(sqlite3.connect(path, timeout=60)) as new:
            new.executescript("PRAGMA page_size = 16384; VACUUM")


class _File(SQLiteCache):
    def __init__(self, path: str) -> None:
        BaseCache.__init__(self, cache_name=path)
        _lay_out(Path(path))
        asked: dict[str, Any] = {"busy_timeout": 60_000, "serializer": AS_IT_CAME}
        self.responses = _Rows(path, table_name="responses", **asked)
        self.redirects = _Rows(path, table_name="redirects", lock=self.responses._lock, **asked | {"serializer": None})


@cache
def _opened(where: str, _process: int, _file: int) -> BaseCache:
    """A store of answers; another process, and a file that was replaced, open it anew."""
    if where.startswith("memory "):
        backend = BaseCache()
    elif "://" not in where:
        backend = _File(where)
    elif where.startswith(("redis://", "rediss://")):
        backend = _redis(where)
    else:
        raise BadInput("setting MLTRAINER_CACHE_URL is no redis:// address; leave it out for a file in MLTRAINER_HOME")
    return CachedSession(backend=backend, ignored_parameters=IGNORED).cache


def _redis(url: str) -> BaseCache:
    try:
        from redis import Redis
        from requests_cache.backends.redis import RedisCache
    except ImportError:
        raise Unavailable("MLTRAINER_CACHE_URL needs redis; pip install 'mltrainer[server]'") from None
    return RedisCache("mltrainer", connection=Redis.from_url(url), serializer=AS_IT_CAME, ttl=False)


def _place(provider: str) -> str:
    if provider == "fred" and not settings().fred_on_disk:
        return "it by starting again"
    return "it from redis" if settings().cache_url else str(_file())


def _failures() -> tuple[type[Exception], ...]:
    """What says that the store does not work, and not that an answer in it was changed."""
    redis = sys.modules.get("redis")  # it is there if somebody asked for it
    return (sqlite3.Error, OSError, *([redis.RedisError] if redis else []))


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a file, a database or redis says into one line."""
    try:
        yield
    except _failures() as error:
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        remedy = f"see that this user may write to {settings().home} and it is not full, or remove {_file().name} there"
        if settings().cache_url:
            remedy = "see that redis answers at MLTRAINER_CACHE_URL"
        raise StorageError(f"answers of providers cannot be kept ({said}); {remedy}") from None
