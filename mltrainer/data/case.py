"""One series before its rules: in order, on New York's days, beside the calendar, the splits and the other source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput

EXCHANGE, ZONE = "XNYS", "America/New_York"
PRICES = ["open", "high", "low", "close"]
SHOWN = 5  # stamps a message names; the finding holds all of them
MONTH = 21  # sessions

# Splits that companies make, and their reverses; 5:4 and 4:3 are left out, for crashes have that size.
SPLITS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100])
# Between the last close before a split and the open after it lies a night's news: 8 % covers every split in the
# histories we tested. A crash of the same size trades many times the money of the days before; a split does not.
NIGHT, CROWD = 0.08, 3.0


@dataclass(frozen=True)
class Hit:
    """What a rule found: the stamps concerned, and the rest of the sentence that begins with their number."""

    when: pd.DatetimeIndex
    says: str
    severity: str = ""  # where the evidence makes it other than the rule's own
    notes: Sequence[str] = ()  # one a stamp, shown behind it
    rows: int | None = None  # where it concerns more or other rows than have a stamp to show

    def message(self) -> str:
        """The sentence, with the first few stamps."""
        n = len(self.when) if self.rows is None else self.rows
        days = [stamp(t) for t in self.when[:SHOWN]]
        shown = [f"{day} ({note})" for day, note in zip(days, self.notes, strict=False)] if self.notes else days
        return f"{n:,} {self.says}" + (f": {', '.join(shown)}" if shown else "") + " ..." * (len(self.when) > SHOWN)


def stamp(t: pd.Timestamp) -> str:
    """The day, and the time where there is one."""
    day, _, time = str(t.asm8.astype("datetime64[s]")).partition("T")  # Python's own dates end in the year 9999
    return day if time == "00:00:00" and t.tz is None else f"{day} {time}{'' if t.tz is None else 'Z'}"


@cache
def exchange_sessions(first: int, last: int) -> pd.DatetimeIndex:
    """Sessions of the exchange from the decade of one year to the end of the decade of another."""
    # exchange_calendars takes up to a second to import, and a calendar as long to make, be it short or long
    import exchange_calendars

    start, end = f"{first // 10 * 10}-01-01", f"{last // 10 * 10 + 9}-12-31"
    return exchange_calendars.get_calendar(EXCHANGE, start=start, end=end).sessions


@dataclass(frozen=True)
class Rule:
    """One rule: `asks` completes "we ask that"; `quick` ones need no calendar, so evaluation asks them too."""

    name: str
    severity: str
    asks: str
    remedy: str
    check: Callable[[Any], Hit | None]  # of a Case
    quick: bool = True


@dataclass(frozen=True)
class Case:
    """One series before its rules.

    Attributes
    ----------
    name, kind : "MSFT", "bars".
    raw : the frame as admitted.
    asof : the day on which it is judged; nothing may be stamped later.
    splits : ex-date -> new shares for one old, where corporate actions are known.
    other : the same thing from another source: its name, kind and values.
    """

    name: str
    kind: str
    raw: pd.DataFrame
    asof: pd.Timestamp
    splits: "pd.Series[float] | None" = None
    other: "tuple[str, str, pd.Series[float]] | None" = None

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
    def exchange(self) -> bool:
        """Whether the exchange's days say when a bar is due: weeks and months have none, currencies never close."""
        step = self.days.unique().to_series().diff().median()
        return not (step > pd.Timedelta(days=4) or self.name.startswith(("X:", "C:")))

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
    def span(self) -> pd.DatetimeIndex:
        """Days that can be in a calendar; the others are another rule's finding."""
        days = self.days.unique()
        return days[(days >= pd.Timestamp("1900-01-01")) & (days <= self.asof)]

    @cached_property
    def calendar(self) -> pd.DatetimeIndex:
        """Sessions of the exchange from before the first day to after the last, and after `asof`."""
        if self.span.empty:
            return pd.DatetimeIndex([])
        week = pd.Timedelta(days=7)  # dates may stand a day off at both ends
        return exchange_sessions((self.span[0] - week).year, (max(self.span[-1], self.asof) + week).year)

    @cached_property
    def sessions(self) -> pd.DatetimeIndex:
        """Sessions of the exchange from the first day to the last."""
        first, last = (self.span[0], self.span[-1]) if len(self.span) else (self.asof, self.asof)
        return self.calendar[(self.calendar >= first) & (self.calendar <= last)]

    @cached_property
    def missing(self) -> pd.DatetimeIndex:
        """Sessions without a bar."""
        return self.sessions.difference(self.span)

    @cached_property
    def leaps(self) -> "pd.Series[float]":
        """Log return close to close; NaN in the first row and beside what is no price."""
        return logs(self.frame["close"]).diff()

    @cached_property
    def split_days(self) -> "pd.Series[float]":
        """Stamp -> new shares for one old, where the price leapt as an unadjusted split makes it leap."""
        return _announced(self) if self.splits is not None else _apparent(self)

    @property
    def sure(self) -> bool:
        """Whether a split can be told from a crash: by the record, or by the money that changed hands."""
        return self.splits is not None or "volume" in self.frame

    @property
    def news(self) -> "pd.Series[float]":
        """Log returns without the days that are splits for sure."""
        return self.leaps.drop(self.split_days.index) if self.sure else self.leaps


# --- corporate actions ----------------------------------------------------------------------------------------


def logs(price: "pd.Series[float]") -> "pd.Series[float]":
    """Natural logarithm; NaN for what is no price."""
    known: pd.Series[float] = price.where((price > 0) & (price < np.inf))
    return known.transform(np.log)


def _night(frame: pd.DataFrame) -> "pd.Series[float]":
    """Log of the first price of each session over the close before."""
    return logs(frame["open"] if "open" in frame else frame["close"]) - logs(frame["close"]).shift()


def _apparent(case: Case) -> "pd.Series[float]":
    """Leaps overnight of the size of a split that last, on a day that is not crowded."""
    night, day = _night(case.frame), case.leaps
    made = SPLITS if "volume" in case.frame else SPLITS[SPLITS >= 2]  # a close alone falls by a third too easily
    ratios = np.concatenate([made, 1 / made])
    off = np.abs(night.to_numpy()[:, None] + np.log(ratios))
    ratio = pd.Series(ratios[np.argmin(np.nan_to_num(off, nan=np.inf), axis=1)], night.index)
    lasts = np.abs(day + np.log(ratio)) < 0.5 * np.abs(np.log(ratio))
    near = np.diff(case.days, prepend=case.days[:1]) <= np.timedelta64(
        7, "D"
    )  # behind a gap anything may have happened
    found = (off.min(axis=1) < NIGHT) & (night.abs() > 0.3) & lasts & near
    if "volume" in case.frame:
        money = case.frame["close"] * case.frame["volume"]
        usual = money.shift().rolling(MONTH, min_periods=1).median()
        found &= ~(money > CROWD * usual)
    return ratio[found]


def _announced(case: Case) -> "pd.Series[float]":
    """Splits of the record after which the price is nearer to the unadjusted than to the adjusted one."""
    assert case.splits is not None
    night, found = _night(case.frame), {}
    for ex, ratio in case.splits[case.splits > 0].items():
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
