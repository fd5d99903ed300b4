"""Are the bars fit to be learned from? Each rule looks, and says what it found."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mltrainer.data import market
from mltrainer.data.market import Day
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

EXCHANGE = "XNYS"


@dataclass(frozen=True)
class Finding:
    """What one rule found: `severity` is info, warning or error; `rows` is how many sessions it concerns."""

    rule: str
    severity: str
    rows: int
    message: str


@dataclass(frozen=True)
class Quality:
    """The findings about one ticker, and the share of the exchange's sessions that have a bar."""

    name: str
    sessions: int
    completeness: float
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no rule found an error."""
        return all(f.severity != "error" for f in self.findings)


def quality(data: "str | Dataset", *, start: Day = None, end: Day = None) -> Quality:
    """Check bars against the exchange calendar and against themselves.

    Parameters
    ----------
    data : a ticker, or admitted bars.
    start, end : sessions to check, for a ticker.
    """
    bars = market.bars(data, start=start, end=end) if isinstance(data, str) else data
    gate.verify(bars, "quality")
    frame = bars.frame
    missing = _missing(pd.DatetimeIndex(frame.index))
    expected = len(frame) + len(missing)
    findings = [f for f in (_gaps(missing), _logic(frame), _volume(frame), _jumps(frame), _stale(frame)) if f]
    return Quality(bars.name, len(frame), len(frame) / expected, findings)


def _missing(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    # exchange_calendars takes a second to import, and only this needs it
    import exchange_calendars

    # its end must lie after its start, even for one session
    calendar = exchange_calendars.get_calendar(EXCHANGE, start=index[0], end=index[-1] + pd.Timedelta(days=1))
    return calendar.sessions[calendar.sessions <= index[-1]].difference(index)


def _gaps(missing: pd.DatetimeIndex) -> Finding | None:
    if missing.empty:
        return None
    days = ", ".join(str(d.date()) for d in missing[:5]) + (" ..." if len(missing) > 5 else "")
    return Finding("calendar", "warning", len(missing), f"{len(missing)} sessions of {EXCHANGE} have no bar: {days}")


def _logic(frame: pd.DataFrame) -> Finding | None:
    if "high" not in frame:
        return Finding("columns", "info", len(frame), "close only: volume and range features are unavailable")
    # Scaling prices by an adjustment factor leaves rounding of the last digit.
    slack = 1e-9 * frame["close"]
    high = frame[["open", "close"]].max(axis=1) - slack
    low = frame[["open", "close"]].min(axis=1) + slack
    wrong = (frame["high"] < high) | (frame["low"] > low)
    n = int(wrong.sum())
    return Finding("ohlc", "error", n, f"{n} bars have a high below or a low above open or close") if n else None


def _volume(frame: pd.DataFrame) -> Finding | None:
    n = int((frame["volume"] <= 0).sum()) if "volume" in frame else 0
    return Finding("volume", "warning", n, f"{n} sessions have no volume") if n else None


def _jumps(frame: pd.DataFrame) -> Finding | None:
    change = frame["close"].pct_change()
    jumps = change[change.abs() > 0.2]
    if jumps.empty:
        return None
    days = ", ".join(f"{t.date()} ({c:+.0%})" for t, c in jumps.items())  # type: ignore[attr-defined]
    return Finding("jump", "info", len(jumps), f"{len(jumps)} closes moved by more than 20 %: {days}")


def _stale(frame: pd.DataFrame, run: int = 5) -> Finding | None:
    same = frame["close"].diff().eq(0)
    longest = int(same.groupby(np.cumsum(~same)).sum().max())
    if longest < run:
        return None
    return Finding("stale", "warning", longest, f"the close did not move for {longest} sessions in a row")
