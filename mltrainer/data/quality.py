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
    index = pd.DatetimeIndex(frame.index)
    sessions = _sessions(index)
    missing = sessions.difference(index)
    rules = (_gaps(missing), _strangers(index.difference(sessions)), _prices(frame), _logic(frame))
    findings = [f for f in (*rules, _volume(frame), _jumps(frame), _stale(frame)) if f]
    return Quality(bars.name, len(frame), 1 - len(missing) / max(len(sessions), 1), findings)


def _sessions(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Sessions of the exchange from the first day of `index` to its last."""
    # exchange_calendars takes a second to import, and only this needs it
    import exchange_calendars

    # a calendar holds at least one session and ends after it starts; bars may hold a Saturday alone
    week = pd.Timedelta(days=7)
    sessions = exchange_calendars.get_calendar(EXCHANGE, start=index[0] - week, end=index[-1] + week).sessions
    return sessions[(sessions >= index[0]) & (sessions <= index[-1])]


def _gaps(missing: pd.DatetimeIndex) -> Finding | None:
    if missing.empty:
        return None
    days = ", ".join(str(d.date()) for d in missing[:5]) + (" ..." if len(missing) > 5 else "")
    return Finding("calendar", "warning", len(missing), f"{len(missing)} sessions of {EXCHANGE} have no bar: {days}")


def _strangers(index: pd.DatetimeIndex) -> Finding | None:
    if index.empty:
        return None
    days = ", ".join(str(d.date()) for d in index[:5]) + (" ..." if len(index) > 5 else "")
    return Finding("calendar", "error", len(index), f"{len(index)} bars stand on days without a session: {days}")


def _prices(frame: pd.DataFrame) -> Finding | None:
    prices = frame[[c for c in ("open", "high", "low", "close") if c in frame]]
    n = int((~(prices > 0)).any(axis=1).sum())  # NaN is no price either
    return Finding("price", "error", n, f"{n} bars have a price that is missing or not above zero") if n else None


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
