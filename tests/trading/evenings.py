"""The time of the world that is replayed, for all that is committed in it."""

import time
from datetime import UTC, datetime
from typing import Any


class Clock(datetime):
    """From the moment it was set, in all processes alike, it goes on."""

    moment, since = datetime(2010, 3, 1, 23, tzinfo=UTC), time.monotonic()

    @classmethod
    def put(cls, moment: datetime) -> None:
        cls.moment, cls.since = moment, time.monotonic()

    @classmethod
    def now(cls, tz: Any = None) -> "Clock":
        return cls.fromtimestamp(cls.moment.timestamp() + time.monotonic() - cls.since, tz or UTC)
