"""One series before its rules: in order, on New York's days, beside the calendar, the splits and the other source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput

EXCHANGE, ZONE = "XNYS", "America/New_York"
PRICES = ["open", "high", "low", "close"]
SHOWN = 5  # stamps a message names; the finding holds all of them
MONTH = 21  # sessions

# Splits that companies make, and their reverses; 5:4 and 4:3 are left out, for crashes have that size.
SPLITS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100])
# Between the last close before a split and the open after it lies a night's news: 8% covers every split in the
# histories we tested. A crash of the same size trades many times the money of the days before; a split does not.
NIGHT, CROWD = 0.08, 3.0


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes
    ----------
    rule, severity : the row of `RULES`; info is worth knowing, a warning worth a look, an error is refused.
    rows : how many sessions, bars or periods it concerns.
    message, remedy : the sentence, and the next step.
    when : every day or stamp concerned, ISO 8601; the message shows the first five.
    """

    rule: str
    severity: str
    rows: int
    message: str
    remedy: str = ""
    when: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hit:
    """What a check saw: the stamps concerned, and the rest of the sentence that begins with their number."""

    when: pd.Index
    says: str
    severity: str = ""  # where the evidence makes it other than the rule's own
    notes: Sequence[str] = ()  # one a stamp, shown behind it
    rows: int | None = None  # where it concerns more or other rows than have a stamp to show


@dataclass(frozen=True)
class Rule:
    """One rule: `asks` completes "we ask that"; `quick` ones need no calendar, so evaluation asks them too."""

    name: str
    severity: str
    asks: str
    remedy: str
    check: Callable[[Any], Hit | None]  # of a Case
    quick: bool = True
    needs: str = ""  # columns without which it is not asked

    def finding(self, case: "Case") -> Finding | None:
        """Ask it of a series; neither a stamp nor a number of rows is no finding."""
        hit = self.check(case) if set(self.needs.split()) <= set(case.frame) else None
        if hit is None or (hit.rows is None and hit.when.empty):
            return None
        when, n = tuple(stamp(t) for t in hit.when), len(hit.when) if hit.rows is None else hit.rows
        shown = [f"{day} ({note})" for day, note in zip(when, hit.notes, strict=True)] if hit.notes else when
        days = f": {', '.join(shown[:SHOWN])}{' ...' * (len(when) > SHOWN)}" if when else ""
        return Finding(self.name, hit.severity or self.severity, n, f"{n:,} {hit.says}{days}", self.remedy, when)


def stamp(t: pd.Timestamp) -> str:
    """The day, and the time where there is one."""
    day, _, time = str(t.asm8.astype("datetime64[s]")).partition("T")  # Python's own dates end in the year 9999
    return day if time == "00:00:00" and t.tz is None else f"{day} {time}{'' if t.tz is None else 'Z'}"


@cache
def exchange_sessions(last: int) -> pd.DatetimeIndex:
    """Sessions of the exchange from 1900 to the end of a year."""
    import exchange_calendars  # takes a second to import, and a calendar a quarter of one to make, be it short or long

    return exchange_calendars.get_calendar(EXCHANGE, start="1900-01-01", end=f"{last}-12-31").sessions


@dataclass(frozen=True)
class Case:
    """One series before its rules.

    Attributes
    ----------
    name, kind : "MSFT", "bars".
    raw : the frame as admitted.
    judged : the day on which it is judged; nothing may be stamped later. Default its last.
    splits : ex-date -> new shares for one old, where corporate actions are known.
    other : the same thing from another source.
    """

    keys: ClassVar[list[str]] = []  # columns that, with its stamp, name a row

    name: str
    kind: str
    raw: pd.DataFrame
    judged: pd.Timestamp | None = None
    splits: "pd.Series[float] | None" = None
    other: "Case | None" = None

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows in order, each stamp once."""
        frame = self.raw if self.raw.index.is_monotonic_increasing else self.raw.sort_index(kind="stable")
        return frame if frame.index.is_unique else frame[~frame.index.duplicated()]

    @cached_property
    def index(self) -> pd.DatetimeIndex:
        """Stamps of `frame`."""
        return pd.DatetimeIndex(self.frame.index)

    @cached_property
    def told(self) -> "pd.Series[float]":
        """What another source could say too: the last close of each day."""
        return self.frame["close"].groupby(self.days).last()

    @cached_property
    def intraday(self) -> bool:
        """Whether stamps carry a time of day; without a zone they are UTC."""
        return bool((self.index != self.index.normalize()).any())

    @cached_property
    def days(self) -> pd.DatetimeIndex:
        """New York date of each row."""
        index = self.index
        if self.intraday or index.tz is not None:
            index = (index if index.tz is not None else index.tz_localize("UTC")).tz_convert(ZONE).tz_localize(None)
        return index.normalize()

    @cached_property
    def asof(self) -> pd.Timestamp:
        """The day on which it is judged, else its last; a stamp in a wrong unit is none."""
        return self.judged or max(self.days[self.days.year < 2200], default=pd.Timestamp(0))

    # --- beside the calendar ----------------------------------------------------------------------------------

    @cached_property
    def exchange(self) -> bool:
        """Whether the exchange's days say when a bar is due: weeks and months have none, currencies never close."""
        step = self.days.unique().to_series().diff().median()
        return not (step > pd.Timedelta(days=4) or self.name.startswith(("X:", "C:")))

    @cached_property
    def span(self) -> pd.DatetimeIndex:
        """Days that can be in a calendar; the others are another rule's finding."""
        days = self.days.unique()
        return days[(days >= pd.Timestamp("1900-01-01")) & (days <= self.asof)]

    @cached_property
    def calendar(self) -> pd.DatetimeIndex:
        """Sessions of the exchange from before the first day to after the last, and after `asof`."""
        return exchange_sessions(min(self.asof.year // 50 * 50 + 50, 2200))

    @cached_property
    def sessions(self) -> pd.DatetimeIndex:
        """Sessions of the exchange from the first day to the last."""
        return self.calendar[self.calendar.slice_indexer(*self.span[[0, -1]])] if len(self.span) else self.span

    @cached_property
    def missing(self) -> pd.DatetimeIndex:
        """Sessions without a bar."""
        return self.sessions.difference(self.span)

    @property
    def completeness(self) -> float:
        """Share of the exchange's sessions, first day to last, that have a bar."""
        return 1 - len(self.missing) / max(len(self.sessions), 1) if self.exchange else 1.0

    @property
    def age(self) -> int:
        """Whole sessions of the exchange between the last bar and `asof`."""
        if self.span.empty or not self.exchange:
            return 0
        return int(((self.calendar > self.span[-1]) & (self.calendar < self.asof)).sum())

    # --- beside corporate actions -----------------------------------------------------------------------------

    @cached_property
    def leaps(self) -> "pd.Series[float]":
        """Log return close to close; NaN in the first row and beside what is no price."""
        return logs(self.frame["close"]).diff()

    @cached_property
    def split_days(self) -> "pd.Series[float]":
        """Stamp -> new shares for one old, where the price leapt as an unadjusted split makes it leap."""
        # the first price of a session over the close before
        night = logs(self.frame["open" if "open" in self.frame else "close"]) - logs(self.frame["close"]).shift()
        return _apparent(self, night) if self.splits is None else _announced(self, night, self.splits)

    @cached_property
    def sure(self) -> bool:
        """Whether a split can be told from a crash: by the record, or by the money that changed hands."""
        return self.splits is not None or "volume" in self.frame

    @cached_property
    def news(self) -> "pd.Series[float]":
        """Log returns without the days that are splits for sure."""
        return self.leaps.drop(self.split_days.index) if self.sure else self.leaps


def logs(price: "pd.Series[float]") -> "pd.Series[float]":
    """Natural logarithm; NaN for what is no price."""
    known: pd.Series[float] = price.where((price > 0) & (price < np.inf))
    return known.transform(np.log)


def _apparent(case: Case, night: "pd.Series[float]") -> "pd.Series[float]":
    """Leaps overnight of the size of a split that last, on a day that is not crowded."""
    made = SPLITS if "volume" in case.frame else SPLITS[SPLITS >= 2]  # a close alone falls by a third too easily
    ratios = np.concatenate([made, 1 / made])
    off = np.abs(night.to_numpy()[:, None] + np.log(ratios))
    ratio = pd.Series(ratios[np.argmin(np.nan_to_num(off, nan=np.inf), axis=1)], night.index)
    lasts = np.abs(case.leaps + np.log(ratio)) < 0.5 * np.abs(np.log(ratio))
    near = np.diff(case.days, prepend=case.days[:1]) <= np.timedelta64(7, "D")  # in a gap anything may have happened
    found = (off.min(axis=1) < NIGHT) & (night.abs() > 0.3) & lasts & near
    if "volume" in case.frame:
        money = case.frame["close"] * case.frame["volume"]
        found &= ~(money > CROWD * money.shift().rolling(MONTH, min_periods=1).median())
    return ratio[found]


def _announced(case: Case, night: "pd.Series[float]", splits: "pd.Series[float]") -> "pd.Series[float]":
    """Splits of the record after which the price is nearer to the unadjusted than to the adjusted one."""
    found = {}
    for ex, ratio in splits[splits > 0].items():
        at, size = int(case.days.searchsorted(pd.Timestamp(str(ex)))), float(np.log(ratio))
        # a stock dividend of a tenth cannot be told from a day's move
        if 0 < at < len(night) and abs(size) > np.log(1.2) and abs(night.iloc[at] + size) < 0.5 * abs(size):
            found[case.index[at]] = float(ratio)
    return pd.Series(found, dtype=float, index=pd.DatetimeIndex(list(found)))


def split_ratios(actions: pd.DataFrame) -> "pd.Series[float]":
    """Ex-date -> new shares for one old, from a frame of splits by date: a `ratio`, or `split_to` and `split_from`."""
    if "ratio" in actions:
        return actions["ratio"].astype(float)
    if {"split_from", "split_to"} <= set(actions):
        return actions["split_to"].astype(float) / actions["split_from"].astype(float)
    raise BadInput(f"splits need a column ratio, or split_from and split_to; found {', '.join(map(str, actions))}")
