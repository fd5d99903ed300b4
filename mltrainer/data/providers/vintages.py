"""What a provider says of each period, in each vintage, made into observations that know their day.

Bad rows are refused, never repaired: the only ones ever dropped are those that stand there twice, and they are counted.
"""

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.data.providers import client, registry
from mltrainer.data.providers.macro_series import short
from mltrainer.errors import NotEnoughHistory, ProviderError
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

SEPARATOR = b"\x1e"  # before each of several answers that are admitted as one body (RFC 7464)
TODAY = "values of today with their revisions, not what was known at the time"
DAY = re.compile(r"\d{4}-\d\d-\d\d")


def fault(what: str, provider: str = "fred") -> ProviderError:
    """The error for an answer that cannot be right."""
    return ProviderError(
        f"{registry.PROVIDERS[provider].name} {what}; nothing of it was kept, try again later", provider
    )


def days(texts: Iterable[Any], provider: str = "fred") -> pd.DatetimeIndex:
    """Days written as YYYY-MM-DD; anything else is a `ProviderError`."""
    listed = list(texts)
    wrong = next((text for text in listed if not isinstance(text, str) or not DAY.fullmatch(text)), "")
    try:
        if wrong == "":
            return pd.DatetimeIndex(pd.to_datetime(listed, format="%Y-%m-%d")).as_unit("s")
    except ValueError:
        wrong = "a day of no calendar"
    raise fault(f"sent {short(wrong)} where a day belongs", provider)


def table(rows: list[Any], provider: str = "fred") -> pd.DataFrame:
    """(m, 3) period, since and value of each vintage of each period, in that order; a missing value is NaN.

    FRED's output types 1 and 4 have a row per vintage, 2 and 3 a column. Two values for one vintage of one period are
    refused, since one of them is wrong.
    """
    if not all(isinstance(row, dict) and "date" in row and len(row) > 1 for row in rows):
        raise fault("sent observations that are no records with a date and a value", provider)
    long = pd.DataFrame(rows, columns=None if rows else ["date", "realtime_start", "value"])
    if "value" not in long:
        long = long.melt("date", var_name="realtime_start").dropna(subset="value")
        long["realtime_start"] = long["realtime_start"].str.replace(r".*_(\d{4})(\d\d)(\d\d)", r"\1-\2-\3", regex=True)
    period, since = days(long["date"], provider), days(long.get("realtime_start", [None]), provider)
    missing = (long["value"] == ".").to_numpy(dtype=bool)
    try:
        # An underscore is no part of a number, though Python reads it; nor is a dash in its place.
        value = np.array([float(text.replace("_", "-")) for text in long["value"].where(~missing, "nan")], dtype=float)
    except (AttributeError, ValueError):
        raise fault("sent a value that is no number", provider) from None
    if not np.isfinite(value[~missing]).all():
        raise fault("sent a value that is not finite", provider)
    if len(since) and since.max() > pd.Timestamp(datetime.now(UTC).date() + timedelta(days=1)):
        raise fault(f"sent a vintage of {since.max():%Y-%m-%d}, which lies in the future", provider)
    frame = pd.DataFrame({"period": period, "since": since, "value": value}).drop_duplicates()
    for _, row in frame[frame.duplicated(["period", "since"])].iterrows():
        told = f"gave two values to {row['period']:%Y-%m-%d} in the vintage of {row['since']:%Y-%m-%d}"
        raise fault(told, provider)
    return frame.sort_values(["period", "since"], ignore_index=True)


def observed(
    frame: pd.DataFrame, *, lag_days: int | None, early_days: int = 366, delay: int = 0, first_only: bool = False
) -> pd.DataFrame:
    """Observations from a `table`, each with the day from which it may be used.

    Parameters
    ----------
    lag_days : usable so many days after the first day of the period; None takes the vintage, `delay` days after it.
    early_days : the same for a vintage dated before its period, which cannot say when the period's value was known.
        By default a year, longer than any period lasts.
    first_only : keep the first vintage of each period.

    Returns
    -------
    (m, 2) index period, columns value and available; no missing value. Of values that may be used from one day on the
    newest is there, and none that a newer one is before. A vintage that repeats the value before it is left out: FRED
    dates every period anew in each span of vintages that is asked for.
    """
    frame = frame.dropna(subset="value")
    if lag_days is None:
        # What is dated before its period is a projection, or dated wrong: to use it from the period's first day on
        # would be to know the outcome of a period that has only begun.
        available = (frame["since"] + pd.Timedelta(days=delay)).where(
            frame["since"] >= frame["period"], frame["period"] + pd.Timedelta(days=early_days)
        )
    else:
        available = frame["period"] + pd.Timedelta(days=lag_days)
    frame = frame.assign(available=available)
    later = frame["available"][::-1].groupby(frame["period"][::-1]).cummin()[::-1].groupby(frame["period"]).shift(-1)
    frame = frame[~(frame["available"] >= later)]
    before = frame.shift()
    repeats = (frame["period"] == before["period"]) & (first_only | (frame["value"] == before["value"]))
    return frame[~repeats].set_index("period")[["value", "available"]]


def answers(body: bytes) -> list[Any]:
    """The answers of which a body is made."""
    return [json.loads(text) for text in body.split(SEPARATOR) if text.strip()]


def counted(rows: list[dict[str, Any]]) -> str:
    """How many values are missing, stood there twice or are older than their period, in words; empty when none."""
    missing = sum(row.get("value") == "." for row in rows)
    again = len(rows) - len({tuple(row.values()) for row in rows})
    early = sum(row.get("realtime_start", "9999") < row["date"] for row in rows)
    said = (
        (missing, f"{missing} of {len(rows)} rows without a value"),
        (again, f"{again} identical rows dropped"),
        (early, f"{early} vintages dated before their period, usable only after its lag"),
    )
    return "; ".join(words for number, words in said if number)


def admitted(
    provider: str,
    name: str,
    replies: list[client.Reply],
    rows: list[dict[str, Any]],
    reader: Callable[[bytes], pd.DataFrame],
    about: list[str],
) -> Dataset:
    """Have the gate admit all answers, which hold `rows`, as one body; no value at all is `NotEnoughHistory`."""
    first = replies[0]
    if all(row.get("value", "") == "." for row in rows):
        raise NotEnoughHistory(f"{name} has no value in the span asked for; widen start and end")
    return gate.admit(
        registry.source(provider),
        name=name,
        kind="macro",
        endpoint=first.endpoint,
        parameters=first.parameters | ({"answers": len(replies)} if len(replies) > 1 else {}),
        body=first.body if len(replies) == 1 else b"".join(SEPARATOR + reply.body for reply in replies),
        parse=reader,
        retrieved_at=min(reply.retrieved_at for reply in replies),
        http_status=first.status,
        note="; ".join(part for part in (*about, counted(rows)) if part),
    )
