"""Days as people write them, read or refused in one line."""

import re
from datetime import date

import pandas as pd

from mltrainer.errors import BadInput

Day = str | date | pd.Timestamp | None


def day(value: Day, what: str) -> pd.Timestamp | None:
    """Read a calendar day as YYYY-MM-DD, or None; anything else is `BadInput`.

    >>> day("2010-01-04", "start")
    Timestamp('2010-01-04 00:00:00')
    """
    if value is None:
        return None
    text = str(value)[:10] if isinstance(value, date) else value
    if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise BadInput(f"{what} {_shown(value)} is not a day; write it as YYYY-MM-DD")
    try:
        return pd.Timestamp(date.fromisoformat(text))
    except ValueError:
        raise BadInput(f"{what} {_shown(value)} is not in the calendar") from None


def span(start: Day, end: Day) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """Read both ends of a span and check their order."""
    first, last = day(start, "start"), day(end, "end")
    if first is not None and last is not None and first > last:
        raise BadInput(f"start {first.date()} is after end {last.date()}; swap them")
    return first, last


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
