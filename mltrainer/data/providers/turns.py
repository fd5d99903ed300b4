"""The turns that all who ask a provider take: processes of one home by a file, homes and machines by one redis.

Where answers are kept in redis (MLTRAINER_CACHE_URL) the turns are taken there too, so that homes which share it do not
exceed together what one plan allows.
"""

import math
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout
from requests_ratelimiter import Rate, RateItem, SQLiteBucket

from mltrainer.errors import StorageError, Unavailable

CEILING = 50  # requests a second, whatever the plan and the settings say
PATIENCE = 10.0  # seconds for which another process may hold the turns
FULL = "the turns to ask cannot be written; see that the disk is not full and this user may write there, and run again"

# The library's own script takes the time from whoever asks, and the clocks of two machines are not one.
PUT = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 1, #ARGV - 1, 2 do
  if redis.call('ZCOUNT', KEYS[1], now - ARGV[i + 1], '+inf') >= tonumber(ARGV[i]) then return 0 end
end
redis.call('ZADD', KEYS[1], now, ARGV[#ARGV])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - 120000)
redis.call('PEXPIRE', KEYS[1], 120000)
return 1
"""
TAKEN = "local t = redis.call('TIME'); return redis.call('ZCOUNT', KEYS[1], (t[1] - 60) * 1000, '+inf')"


def rates(per_minute: int) -> list[Rate]:
    """What is let go: `per_minute`, in a second no more than a sixtieth of it (at least 5) and never more than CEILING.

    The windows are a little longer than a second and a minute: between the turn and the arrival lies a way of
    uneven length, and it is the arrivals that are counted.
    """
    second = min(CEILING, max(5, math.ceil(per_minute / 60)))
    if per_minute <= second:
        return [Rate(per_minute, 60_500)]
    short = Rate(second // 10, 125) if second >= 20 else Rate(second, 1_250)  # fast ones go evenly, not in a burst
    return [short, Rate(min(per_minute, 60_500 * short.limit // short.interval - 1), 60_500)]


def take(where: Path | str, name: str, per_minute: int, patience: float) -> bool:
    """Wait for a turn under the rate that all share who take theirs there; say whether it came in time.

    Parameters
    ----------
    where : file of turns, or the redis:// address of a server of them.
    patience : seconds.
    """
    until, pause = time.monotonic() + patience, min(0.25, max(0.01, 6 / per_minute))
    while not (_of_server if isinstance(where, str) else _of_file)(where, name, per_minute):  # type: ignore[arg-type]
        if time.monotonic() + pause > until:
            return False
        time.sleep(pause)
    return True


def taken(where: Path | str, name: str) -> int:
    """How many turns were taken in the last minute, by anybody."""
    if isinstance(where, str):
        with _answered():
            return int(_server(where, os.getpid()).eval(TAKEN, 1, _key(name)))
    if not where.exists():
        return 0
    minute = (time.time() - 60) * 1000
    with closing(sqlite3.connect(where)) as connection, suppress(sqlite3.OperationalError):  # no table: nobody asked
        query = f"SELECT COUNT(*) FROM bucket_{name} WHERE item_timestamp >= ?"  # noqa: S608 - a name of our table
        return int(connection.execute(query, (minute,)).fetchone()[0])
    return 0


# --- a server of them -----------------------------------------------------------------------------------------


def _of_server(url: str, name: str, per_minute: int) -> bool:
    windows = [part for rate in rates(per_minute) for part in (rate.limit, rate.interval)]
    with _answered():
        return bool(_server(url, os.getpid()).eval(PUT, 1, _key(name), *windows, uuid4().hex))


def _key(name: str) -> str:
    return f"mltrainer-turns:{name}"


@cache
def _server(url: str, _process: int) -> Any:
    try:
        from redis import Redis
    except ImportError:
        raise Unavailable("MLTRAINER_CACHE_URL needs redis; pip install 'mltrainer[server]'") from None
    return Redis.from_url(url)


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if "redis" not in sys.modules or not isinstance(error, sys.modules["redis"].RedisError):
            raise
        why = "so no turn can be taken; see that redis answers at MLTRAINER_CACHE_URL"
        raise StorageError(f"redis does not answer ({type(error).__name__}), {why}") from None


# --- a file of them -------------------------------------------------------------------------------------------


def _of_file(path: Path, name: str, per_minute: int) -> bool:
    try:
        bucket = _bucket(path, name, per_minute, os.getpid(), path.stat().st_ino)
        with _held(bucket.lock):  # the turn bears the time at which it was given, not the one it was asked for
            if bucket.put(RateItem(name, bucket.now())):
                bucket.leak(bucket.now())
                return True
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, StorageError):
            raise
        _bucket.cache_clear()  # what was begun is undone with the connection
        raise StorageError(f"{path}: {FULL} ({str(error).splitlines()[0]})") from None
    return False


@cache
def _bucket(path: Path, name: str, per_minute: int, _process: int, _file: int) -> SQLiteBucket:
    """The turns given, in a file that one process at a time looks at."""
    lock = FileLock(f"{path}.lock")
    with _held(lock):
        bucket = SQLiteBucket.init_from_file(rates(per_minute), f"bucket_{name}", str(path))
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
            bucket.conn.execute(f"PRAGMA {pragma}")
    bucket.lock = lock  # type: ignore[assignment] # it says RLock, and takes this one itself when asked for it
    return bucket


@contextmanager
def _held(lock: Any) -> Iterator[None]:
    """Hold the lock of the turns, which nobody needs for longer than a moment."""
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        why = "so no turn can be taken; end the process that stands still, and run again"
        raise StorageError(f"another process has held {lock.lock_file} for {PATIENCE:.0f} s, {why}") from None
    try:
        yield
    finally:
        lock.release()
