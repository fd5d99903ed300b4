"""Bars of Polygon (now Massive), exactly as sent or not at all; what else it holds is in `tables`.

Every page is checked before it is kept: whether the envelope holds what it says, whether a price can be a price and a
time the time of a bar. What cannot be right is refused with the rule it broke; nothing is filled, clipped or repaired.
The one thing ever dropped is a row that was sent twice, and the note of the provenance says how many there were.
"""

import io
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from tqdm import tqdm

from mltrainer.data.providers import client, columns, registry, transport
from mltrainer.errors import BadInput, NotEnoughHistory, ProviderError
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset

PROVIDER, NEW_YORK = "polygon", "America/New_York"
RECORD = b"\x1e"  # RFC 7464: stands before each JSON text of a sequence, and inside none
PAGE = 50_000  # rows asked for at once, the most the provider gives
MINUTE, DAY, MONTH = timedelta(minutes=1), timedelta(days=1), timedelta(days=30)
CURRENCIES = ("X:", "C:")  # they trade around the clock, and their day is that of UTC
CLOSED = 20  # the hour in New York after which the bar of a day, late trades included, does not change any more
INTRADAY, SESSIONS = ("second", "minute", "hour"), ("day", "week", "month", "quarter", "year")
LENGTH = {  # months, days and seconds of one
    "second": (0, 0, 1),
    "minute": (0, 0, 60),
    "hour": (0, 0, 3600),
    "day": (0, 1, 0),
    "week": (0, 7, 0),
    "month": (1, 0, 0),
    "quarter": (3, 0, 0),
    "year": (12, 0, 0),
}
TIMESPAN = re.compile(rf"(?:([1-9]\d{{0,3}}) )?({'|'.join((*INTRADAY, *SESSIONS))})")
TICKER = re.compile(r"(?:[XCIO]:)?[A-Z0-9][A-Za-z0-9]*(?:[.\-][A-Za-z0-9]+)*")


def ticker(name: object) -> str:
    """The symbol as the provider writes it; a name all in lower case is raised, one like BACpB is left.

    >>> ticker("brk.b"), ticker("BACpB"), ticker("X:BTCUSD")
    ('BRK.B', 'BACpB', 'X:BTCUSD')
    """
    text = name.upper() if isinstance(name, str) and name.islower() else name
    if not isinstance(text, str) or len(text) > 32 or not TICKER.fullmatch(text):
        shown = repr(name[:60] if isinstance(name, str) else name)[:60]
        raise BadInput(f"{shown} cannot be a ticker; write it like MSFT or BRK.B, and see mt.tickers()")
    return text


def wrong(rule: str, what: str) -> NoReturn:
    """Refuse what the provider sent: an entry in the audit trail, and one line with the rule that was broken."""
    audit.append("violation", what="an answer of polygon", rule=rule, why=what)
    raise ProviderError(f"Polygon sent {what} (rule {rule}); none of it was kept, ask again later", PROVIDER)


# --- envelopes and values: is this page what it says? ---------------------------------------------------------


def envelope(document: Any, *, status: bool = True) -> dict[str, Any]:
    """The object of one answer, if its own words call it good; DELAYED is good, and said in the provenance."""
    if not isinstance(document, dict):
        wrong("envelope", f"a JSON {type(document).__name__} where an object belongs")
    if status and document.get("status") not in ("OK", "DELAYED"):
        words = str(document.get("error") or document.get("message") or "no reason given")[:200]
        said = f"Polygon answered with status {str(document.get('status'))[:40]!r}: {words}; nothing was kept"
        raise ProviderError(said, PROVIDER)
    return document


def results(document: Any) -> Any:
    """The rows of one answer, a list of dicts or `Columns`; that there are none needs a count that says zero."""
    rows, count = envelope(document).get("results"), document.get("resultsCount", document.get("count"))
    if rows is None and count == 0:
        return []
    if isinstance(rows, columns.Columns):
        return rows
    if not isinstance(rows, list) or not set(map(type, rows)) <= {dict}:
        wrong("results", f"no list of results, and a count of {str(count)[:40]}")
    return rows


BAR = {"t": "time", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
EXTRA = {"vw": "vwap", "n": "trades"}  # not every bar has them, and they are never invented


def check_bars(document: Any, *, ticker: str, adjusted: bool | None = None, before: str | None = None) -> pd.DataFrame:
    """One page of aggregates, envelope and values checked, as sent.

    Parameters
    ----------
    document : the parsed page.
    ticker, adjusted : as asked for; the page must say the same.
    before : UTC, ISO 8601; a bar that begins later is refused. Default now.

    Returns
    -------
    (n, 8) columns time (ms UTC), open, high, low, close (dollars), volume (shares), vwap and trades (NaN where the
    provider left them out), in the order sent.
    """
    rows = results(document)
    if document.get("ticker") != ticker:
        wrong("ticker", f"bars of {str(document.get('ticker'))[:40]!r} where {ticker} was asked for")
    if len(rows) != document.get("resultsCount"):
        wrong("count", f"{len(rows)} bars of {ticker} under a count of {str(document.get('resultsCount'))[:40]}")
    if adjusted is not None and document.get("adjusted", adjusted) is not adjusted:
        wrong("adjusted", f"bars of {ticker} with adjusted {document['adjusted']!r} where {adjusted} was asked for")
    page = {name: _numbers(rows, key, name, ticker) for key, name in {**BAR, **EXTRA}.items()}
    time, newest = page["time"], _milliseconds(before)
    for good, rule, column in (
        # what is missing is NaN here; 1e999 is a number in JSON, and infinite in ours
        *((~((page[c] <= 0) | (page[c] == np.inf)), "price", c) for c in ("open", "high", "low", "close", "vwap")),
        *((~((page[c] < 0) | (page[c] == np.inf)), c, c) for c in ("volume", "trades")),
        # seconds end at 4e9 and microseconds begin at 1e14; the milliseconds of 1973..2096 lie between
        ((time >= 1e11) & (time <= 4e12) & (time % 1 == 0), "milliseconds", "time"),
        (time <= newest, "future", "time"),
    ):
        if not good.all():
            n = int(np.argmin(good))
            what = f"{ticker} with {column} {page[column][n]:.15g} in row {n + 1} of {len(time)} (t {time[n]:.15g})"
            wrong(rule, what if good.sum() == len(time) - 1 else f"{what} and {(~good).sum() - 1} more like it")
    return pd.DataFrame(page)


def _milliseconds(moment: str | None) -> float:
    at = datetime.fromisoformat(moment) if moment else datetime.now(UTC)
    return (at.timestamp() + 60) * 1000  # two clocks may differ by a minute


def _numbers(rows: Any, key: str, name: str, ticker: str) -> np.ndarray:
    """One column. A string, a null or a gap is refused, and is NaN where the field is optional."""
    if isinstance(rows, columns.Columns):
        if key in rows.by_name:
            return rows.by_name[key]
        rows = [{}] * len(rows)
    try:
        values = list(map(itemgetter(key), rows))
    except KeyError:
        values = [row.get(key) for row in rows]
    kinds = set(map(type, values))
    if key in EXTRA and type(None) in kinds:
        values = [math.nan if value is None else value for value in values]
        kinds -= {type(None)}
    if not kinds <= {int, float}:
        n, bad = next((n, v) for n, v in enumerate(values) if type(v) not in (int, float))
        wrong("number", f"{ticker} with {name} {bad!r:.40} in row {n + 1} of {len(rows)}")
    try:
        return np.fromiter(values, np.int64 if key == "t" and float not in kinds else float, len(values))
    except OverflowError:
        wrong("number", f"{ticker} with a {name} of more digits than a number holds")


# --- pages of bars -> one frame -------------------------------------------------------------------------------

_made: list[tuple[object, pd.DataFrame]] = []  # of what frames were made a moment ago: made once, not twice


def _known(thing: object) -> pd.DataFrame | None:
    return next((frame for of, frame in list(_made) if of is thing), None)


def split_pages(body: bytes) -> Iterator[bytes]:
    """The pages of a JSON text sequence (RFC 7464), one at a time."""
    start = 1
    while start <= len(body):
        end = body.find(RECORD, start)
        end = len(body) if end < 0 else end
        yield body[start:end]
        start = end + 1


def read_page(page: bytes, *, ticker: str, adjusted: bool, before: str | None = None) -> pd.DataFrame:
    """One page as `check_bars` gives it."""
    held = _known(page)
    return check_bars(columns.parsed(page), ticker=ticker, adjusted=adjusted, before=before) if held is None else held


def parse_bars(body: bytes | gate.Pieces, *, ticker: str, timespan: str, adjusted: bool, before: str) -> pd.DataFrame:
    """Bars of all pages that were over at `before` (UTC, ISO 8601), when the last page came.

    By New York session from days on (by UTC date for currencies), by their start in UTC below; ordered, each once.
    """
    held = _known(body)
    if held is not None:
        return held
    read = partial(read_page, ticker=ticker, adjusted=adjusted, before=before)
    pages = body.parts if isinstance(body, gate.Pieces) else [read(page) for page in split_pages(body)]
    return assembled(pages, ticker=ticker, timespan=timespan, before=before)[0]


def assembled(
    pages: list[pd.DataFrame], *, ticker: str, timespan: str, before: str | None = None
) -> tuple[pd.DataFrame, str]:
    """One ordered frame of checked pages, and what had to be done for it, in words.

    A bar that was sent twice, on one page or on two, counts once. Two bars of one time that differ are refused:
    nothing tells which of them is true. A bar that was not over at `before` is left out: it is not final.
    """
    index = _index(np.concatenate([page["time"].to_numpy() for page in pages]), timespan, ticker)
    names = [c for c in (*BAR.values(), *EXTRA.values()) if c != "time"]
    names = [c for c in names if c in BAR.values() or not all(page[c].isna().all() for page in pages)]
    # one array with a column per row is the layout a frame keeps inside: nothing is copied again
    values = np.empty((len(names), len(index)))
    for row, name in zip(values, names, strict=True):
        np.concatenate([page[name].to_numpy() for page in pages], out=row)
    frame = pd.DataFrame(values.T, index=index, columns=names, copy=False)
    moved = int((np.diff(index.asi8) < 0).sum())
    frame = frame.sort_index(kind="stable") if moved else frame
    again = np.zeros(len(index), bool) if _ascending(index) else frame.index.duplicated()
    if again.any():
        differs = again & ~frame.reset_index().duplicated().to_numpy()
        if differs.any():
            wrong("duplicate", f"two different bars of {ticker} at {frame.index[int(np.argmax(differs))]}")
        frame = frame[~again]
    said = [f"{again.sum()} identical duplicates dropped"] if again.any() else []
    said += [f"sent out of order at {moved} places, and sorted"] if moved else []
    if before is not None:
        final = ends(pd.DatetimeIndex(frame.index), timespan, ticker) <= pd.Timestamp(before)
        said += [f"without the {timespan} from {frame.index[~final][0]}, which was not over"] if not final.all() else []
        frame = frame if final.all() else frame[final]
    return frame, "; ".join(said)


def _zone(ticker: str) -> str:
    return "UTC" if ticker.startswith(CURRENCIES) else NEW_YORK


def _ascending(times: "pd.Series[float] | pd.DatetimeIndex") -> bool:
    return bool(times.is_monotonic_increasing and times.is_unique)


def _index(time: np.ndarray, timespan: str, ticker: str) -> pd.DatetimeIndex:
    utc = pd.DatetimeIndex(time.astype(np.int64).astype("datetime64[ms]"), tz="UTC")
    if timespan.split()[-1] in INTRADAY:
        return utc.rename("time")
    # a session begins at midnight in New York, which is 05:00Z in winter and 04:00Z in summer; a currency's in UTC
    local = utc.tz_convert(_zone(ticker)).tz_localize(None)
    if ticker.startswith(CURRENCIES):
        known = local.normalize() == local  # which leaves no doubt of the date, nor does midnight in New York
        known |= utc.tz_convert(NEW_YORK).tz_localize(None).normalize() == utc.tz_convert(NEW_YORK).tz_localize(None)
        if not known.all():
            wrong("session", f"a {timespan} of {ticker} from {utc[int(np.argmin(known))]}, which is no midnight")
    return local.normalize().as_unit("s").rename("session")


def ends(index: pd.DatetimeIndex, timespan: str, ticker: str) -> pd.DatetimeIndex:
    """When a bar of each stamp is over and does not change any more (UTC): its last day at 20:00 in New York.

    >>> ends(pd.DatetimeIndex(["2026-11-22"]), "week", "MSFT")[0]  # a Sunday
    Timestamp('2026-11-29 01:00:00+0000', tz='UTC')
    """
    number, unit = timespan.split() if " " in timespan else ("1", timespan)
    months, days, seconds = (int(number) * n for n in LENGTH[unit])
    if unit in INTRADAY:
        return index + pd.Timedelta(seconds=seconds)
    after = index + pd.DateOffset(months=months, days=days)
    if ticker.startswith(CURRENCIES):
        return after.tz_localize("UTC")
    return (after - pd.Timedelta(hours=24 - CLOSED)).tz_localize(NEW_YORK).tz_convert("UTC")


# --- asking ---------------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """All pages of one answer: their bytes (or only what was read of them), and what they say of themselves."""

    pieces: gate.Pieces | None = None
    parts: list[Any] = field(default_factory=list)
    replies: list[tuple[str, str, str]] = field(default_factory=list)  # endpoint, sha256, retrieved_at
    delayed: bool = False
    _body: io.BytesIO = field(default_factory=io.BytesIO)

    def add(self, reply: client.Reply, part: Any, status: object) -> None:
        self.parts.append(part)
        if self.pieces is None:
            self._body.write(RECORD + reply.body)
        else:
            _made[:] = [(reply.body, part)]
            self.pieces.add(reply.body, mark=RECORD)
        self.replies.append((reply.endpoint, reply.sha256, reply.retrieved_at))
        self.delayed |= status == "DELAYED"

    def admit(self, name: str, kind: str, asked: Mapping[str, Any], parse: Callable[..., Any], *notes: str) -> Dataset:
        """Have the gate admit every byte received; the time is that of the oldest page."""
        said = [*notes, "the provider says DELAYED" if self.delayed else ""]
        said += [f"{len(self.parts)} pages" if len(self.parts) > 1 else ""]
        return gate.admit(
            registry.source(PROVIDER),
            name=name,
            kind=kind,
            endpoint=self.replies[0][0],
            parameters=asked,
            body=self._body.getvalue() if self.pieces is None else self.pieces,
            parse=parse,
            retrieved_at=min(at for _, _, at in self.replies),
            http_status=200,
            note="; ".join(filter(None, said)),
        )

    @property
    def latest(self) -> str:
        """When the last page was sent, which holds the newest rows."""
        return self.replies[-1][2]


def ask(
    path: str,
    asked: Mapping[str, Any],
    check: Callable[[Any], Any],
    *,
    keep: timedelta,
    what: str,
    most: int = client.PAGES,
    read: client.Read = transport.parsed,
    pieces: gate.Pieces | None = None,
) -> Answer:
    """Every page of one question, no more than `most`; one that was kept before a kill is not asked for again."""
    answer, seen = Answer(pieces), list[Any]()

    def look(document: Any) -> None:
        seen[:] = [check(document), document.get("status") if isinstance(document, dict) else None]

    with tqdm(desc=what, unit=" rows", unit_scale=True, disable=None, leave=False, delay=1) as progress:
        for reply in client.pages(PROVIDER, path, asked, check=look, keep=keep, most=most, read=read):
            answer.add(reply, *seen)
            progress.update(len(seen[0]))
    return answer


@client.whole()
def bars(
    symbol: str, start: str, end: str, *, timespan: str = "day", adjusted: bool, kind: str, note: str = ""
) -> Dataset:
    """Aggregates from `start` to `end` (YYYY-MM-DD, inclusive), all pages, as the provider has them.

    Parameters
    ----------
    timespan : "minute", "15 minute", "hour", "day" ...
    adjusted : for splits, by the provider, never for dividends; else as traded.
    kind : of the `Dataset`; only "bars" are daily bars to learn from.
    note : what the provenance says besides the span asked for and the span returned.

    Raises
    ------
    NotEnoughHistory
        The provider answered well that it has none.
    NotEntitled
        The plan does not hold the span or the timespan, in the provider's words.
    """
    name, found = ticker(symbol), TIMESPAN.fullmatch(timespan)
    if not found:
        known = ", ".join((*INTRADAY, *SESSIONS))
        raise BadInput(f"timespan {timespan!r:.60} is none of {known}, nor a multiple like '15 minute'")
    unit, path = found[2], f"/v2/aggs/ticker/{name}/range/{found[1] or 1}/{found[2]}/{start}/{end}"
    asked = {"adjusted": adjusted, "sort": "asc", "limit": PAGE}
    low, high = (pd.Timestamp(day, tz=NEW_YORK).timestamp() * 1000 for day in (start, end))
    if unit not in ("day", *INTRADAY):
        low = -math.inf  # a week begins before the day that was asked for

    def check(document: Any) -> pd.DataFrame:
        page = check_bars(document, ticker=name, adjusted=adjusted)
        day = DAY / timedelta(milliseconds=1)
        if not page["time"].between(low - day, high + 2 * day).all():
            wrong("span", f"bars of {name} outside {start} to {end}")
        if unit not in INTRADAY or not _ascending(page["time"]):
            assembled([page], ticker=name, timespan=timespan)  # what contradicts itself is not kept either
        return page

    # what a day said does not change once it is over; splits and corrections come overnight
    keep = DAY if pd.Timestamp(end) < pd.Timestamp.now(tz=NEW_YORK).tz_localize(None).normalize() else MINUTE
    most = _most_pages(unit, (high - low if low > 0 else high) / 1000)
    pieces = gate.Pieces(partial(read_page, ticker=name, adjusted=adjusted))
    what = f"{name} {timespan} bars"
    answer = ask(path, asked, check, keep=keep, what=what, most=most, read=columns.parsed, pieces=pieces)
    frame, done = assembled(answer.parts, ticker=name, timespan=timespan, before=answer.latest)
    if frame.empty:
        raise NotEnoughHistory(
            f"Polygon has no {timespan} bars of {name} from {start} to {end} that are over (a good answer, but empty); "
            "check the ticker with mt.tickers(), or widen start and end"
        )
    how = "split-adjusted by the provider, not for dividends" if adjusted else "as traded, not adjusted"
    span = f"asked for {start} to {end}, holds {frame.index[0]:%Y-%m-%d} to {frame.index[-1]:%Y-%m-%d}"
    parse = partial(parse_bars, ticker=name, timespan=timespan, adjusted=adjusted, before=answer.latest)
    _made[:] = [(pieces, frame)]
    try:
        given = {"ticker": name, "timespan": timespan, "from": start, "to": end, **asked}
        return answer.admit(name, kind, given, parse, f"{timespan} bars {how}; {span}", note, done)
    finally:
        _made.clear()


def _most_pages(unit: str, seconds: float) -> int:
    """Pages that so many seconds can have: a limit counts the seconds, minutes or days that a bar is made of."""
    return 10 + math.ceil(seconds / {"second": 1, "minute": 60, "hour": 60}.get(unit, 86_400) / PAGE)
