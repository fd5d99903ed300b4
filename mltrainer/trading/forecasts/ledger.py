"""The forward ledger: a forecast is an entry of the audit trail, in the chain before its outcome, and never changed.

There is no second table: the place in the chain is the proof, as it is of a test declared before it was run. An entry
is written in the one writer transaction, so a process that is killed before leaves nothing of it.
"""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, func, select

from mltrainer import store
from mltrainer.data.quality.case import ZONE, exchange_sessions
from mltrainer.errors import Refused
from mltrainer.settings import settings
from mltrainer.trading.forecasts.record import Forecast, payload, read
from mltrainer.trust import audit, gate

KIND = "forecast"
OPEN, CLOSE = "09:30", "16:00"  # of the exchange, New York


def commit(made: Forecast, *, latest: str, now: datetime | None = None) -> Forecast:
    """Write a forecast before its outcome and return it as it stands; one that stands already is returned as it was.

    Parameters
    ----------
    latest : the last session that the data holds at this moment.
    now : the time, default the clock's; it must not lie before the last entry of the trail.

    Raises
    ------
    Refused
        In modes live and replay, a forecast whose outcome is known, in the data or by the clock; a time before that of
        the last entry; inputs that were never let in.
    """
    held = find(made.address)
    if held is not None:
        return held
    standing(made, latest, now or datetime.now(UTC))  # a refusal writes to the trail itself
    with store.writing() as connection:
        said = audit.told(connection, "address", made.address, KIND)
        if said is not None:  # another process was faster
            return read(said)
        now = now or datetime.now(UTC)  # whoever wrote while this waited for its turn was earlier
        _in_order(connection, now)
        _known(connection, made)
        made = replace(made, evidence=evidence_of(made, latest, now), made_at=now.isoformat(timespec="microseconds"))
        audit.extend(connection, KIND, payload(made))
    return made


def standing(made: Forecast, latest: str, now: datetime) -> None:
    """Refuse a forecast whose outcome is known: the data has it, or the session of it is over in New York."""
    if made.mode != "sample" and (latest >= made.known_on or _new_york(now) >= f"{made.known_on} {CLOSE}"):
        what = f"the {made.target} of {made.ticker} as of {made.as_of}"
        why = f"would be back-dated: its outcome is known since {made.known_on}"
        gate.refuse(what, why, "leave as_of out, or ask with commit=False", kind="mistake")


def evidence_of(made: Forecast, latest: str, now: datetime) -> str:
    """What a forecast committed now is evidence of: forward only before the session after its last one opens."""
    if made.mode == "sample":
        return "historical"
    following = exchange_sessions(int(made.as_of[:4]) + 1)
    first = str(following[following > pd.Timestamp(made.as_of)][0].date())
    return "forward" if latest <= made.as_of and _new_york(now) < f"{first} {OPEN}" else "late"


def _new_york(now: datetime) -> str:
    return f"{now.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"


def _in_order(connection: Connection, now: datetime) -> None:
    # the latest of all and not the last: data fetched by the clock that was put back is in the trail before this
    last = connection.execute(select(func.max(store.audit.c.at))).scalar()
    if last is not None and now < datetime.fromisoformat(last):
        raise Refused(
            f"the clock says {now:%Y-%m-%d %H:%M} and the trail's latest entry {last[:16]}; set the clock right"
        )


def _known(connection: Connection, made: Forecast) -> None:
    for content in made.inputs:
        if audit.told(connection, "content", content, "admit", "derive") is None:
            raise Refused(
                f"a forecast of {made.ticker} rests on {content[:12]}, which was never let in; use mt.forecast"
            )


def find(address: str) -> Forecast | None:
    """The forecast of an address; None where none was committed."""
    with store.reading() as connection:
        said = audit.told(connection, "address", address, KIND)
    return None if said is None else read(said)


def records(
    ticker: str | None = None, *, target: str | None = None, horizon: int | None = None, mode: str | None = None
) -> list[Forecast]:
    """Every forecast of the mode in force, the oldest first; of one ticker, target or horizon if asked."""
    with store.reading() as connection:
        found = [read(said) for said in audit.payloads(connection, KIND)]
    wanted = {"ticker": ticker, "target": target, "horizon": horizon, "mode": mode or settings().data_mode}
    return [f for f in found if all(v is None or getattr(f, k) == v for k, v in wanted.items())]
