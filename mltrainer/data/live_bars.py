"""Live bars as researchers get them: the longest span the plan holds, finished sessions only, adjusted and checked."""

from functools import partial

import pandas as pd

from mltrainer.data import adjustment
from mltrainer.data.providers import client, polygon, tables
from mltrainer.errors import NotEnoughHistory, NotEntitled
from mltrainer.settings import Settings, settings
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

YEARS = (None, 20, 10, 5, 2)  # what plans hold, from everything to the free plan's two years
FREE_PER_MINUTE = 5
BEGINNING = "1970-01-01"

_refused: dict[Settings, int] = {}  # how many of `YEARS` the plan refused; asked once a process


@client.whole()
def bars(
    ticker: str, first: pd.Timestamp | None, last: pd.Timestamp | None, *, timespan: str, adjusted: bool
) -> Dataset:
    """Bars from `first` to `last`, or all that the plan holds; see `market.bars`."""
    name = polygon.ticker(ticker)
    total = adjusted and timespan == "day" and not name.startswith(polygon.CURRENCIES)  # which pay and split nothing
    kind = "" if timespan == "day" else f"{timespan} "
    kind = f"{kind}bars" if adjusted and not total else f"raw {kind}bars"  # one content cannot have two notes
    end, cut = through(last, timespan)
    if first is not None and first > pd.Timestamp(end):
        raise NotEnoughHistory(f"the session of {first.date()} is not over, so its bar is not final; end by {end}")
    fetch = partial(polygon.bars, name, timespan=timespan, adjusted=adjusted and not total, kind=kind)
    if first is None:
        found, start = _longest(fetch, end, cut)
    else:
        start = str(first.date())
        found = fetch(start, end, note=cut)
    return total_return(found, start, end) if total else found


def total_return(raw: Dataset, start: str, end: str) -> Dataset:
    """Daily bars adjusted for splits and dividends, and checked against the provider's own split adjustment."""
    provider = polygon.bars(raw.name, start, end, adjusted=True, kind="split-adjusted bars")
    splits, dividends = (tables.table(kind, raw.name) for kind in ("splits", "dividends"))
    assert provider.provenance is not None
    sent = pd.Timestamp(str(provider.provenance.retrieved_at)).tz_convert(polygon.NEW_YORK)
    return gate.derive(adjustment.total_return, raw, splits, dividends, provider, today=str(sent.date()))


def through(last: pd.Timestamp | None, timespan: str, *, now: pd.Timestamp | None = None) -> tuple[str, str]:
    """The last day to ask for, and what to say where it is not the day named: an open session has no final bar."""
    now = pd.Timestamp.now(tz=polygon.NEW_YORK) if now is None else now
    over = (now if now.hour >= polygon.CLOSED else now - pd.Timedelta(days=1)).tz_localize(None).normalize()
    if last is None or (last > over and timespan.split()[-1] not in polygon.INTRADAY):
        return str(over.date()), "" if last is None else f"cut at {over.date()}, the last day that is over"
    return str(last.date()), ""


def _longest(fetch: "partial[Dataset]", end: str, cut: str) -> tuple[Dataset, str]:
    """The longest span that the plan holds, and where it starts; the provenance says why it is not longer."""
    now, refusal = settings(), None
    rungs = YEARS if now.polygon_per_minute > FREE_PER_MINUTE else (YEARS[0], YEARS[-1])
    for n in range(_refused.get(now, 0), len(rungs)):
        years = rungs[n]
        start = BEGINNING if years is None else str((pd.Timestamp(end) - pd.DateOffset(years=years)).date())
        why = f"the plan refused more than the last {years} years" if years else ""
        try:
            found = fetch(start, end, note="; ".join(filter(None, (cut, why))))
        except NotEntitled as error:
            if error.status != 403:
                raise
            refusal = refusal or error
        else:
            _refused[now] = n
            return found, start
    assert refusal is not None
    raise refusal
