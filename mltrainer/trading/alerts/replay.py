"""Would it have fired then, and was it right? Every condition walked through a history, with its false alarms counted.

An alert says something about what comes next, and so does saying it on every day: beside the share that was right
stands the share of all sessions on which the same would have been right. Only what is above it is worth anything.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from scipy import stats

from mltrainer.data import market
from mltrainer.data.dates import Day, span
from mltrainer.data.universes import Universe
from mltrainer.errors import UnknownName
from mltrainer.evaluation.record import Evaluation
from mltrainer.settings import settings
from mltrainer.trading.alerts import holding
from mltrainer.trading.alerts.checking import named
from mltrainer.trading.alerts.firing import asked, episodes
from mltrainer.trading.alerts.holding import Account
from mltrainer.trading.alerts.kinds import KINDS, MONTH, AlertKind
from mltrainer.trading.alerts.watching import Book, Position, drift, held_frame, signals
from mltrainer.trading.regimes import regimes

ALERTS = "kind condition severity subject session over right message".split()
RATES = "kind condition alerts a_year judged false_alarms low high base better p".split()
REBUY = 3  # years between two equal-weighted books that nobody trades meanwhile


@dataclass(frozen=True)
class Replay:
    """What would have fired in a history.

    Attributes
    ----------
    alerts : one row each: kind, condition, severity, subject, session, over (session, or "" while it lasts), right
        (1, 0, or NaN where it cannot be known yet or there is nothing to be right about), message.
    rates : one row a condition: alerts, a_year (of one subject), judged, false_alarms (share of the judged that were
        wrong) with its exact 95 % interval low and high (Clopper and Pearson, 1934, as if alerts were independent:
        those of one week in many shares are not, so it is too narrow), base (share of all sessions that would have
        been wrong), better (how much less often the alerts were) and p (one-sided binomial).
    mode, start, end : of what.
    """

    alerts: pd.DataFrame
    rates: pd.DataFrame
    mode: str
    start: str
    end: str

    def sentence(self) -> str:
        """Say in one line what was worth anything."""
        known = self.rates[self.rates["judged"] > 0]
        good = known[known["p"] < 0.05 / max(len(known), 1)]
        names = ", ".join(f"{r.kind} {r.condition}" for r in good.itertuples()) or "none"
        asked = f"{len(self.alerts)} alerts from {self.start} to {self.end}, mode {self.mode}"
        return f"{asked}: of {len(known)} conditions, wrong less often than any day would be: {names}"

    def __repr__(self) -> str:
        return f"Replay({self.sentence()})"


def replay(
    tickers: "str | Sequence[str] | Universe" = "MSFT",
    *,
    kinds: Iterable[str] | None = None,
    start: Day = None,
    end: Day = None,
    evaluations: Iterable[Evaluation] = (),
    evidence: bool = False,
    accounts: "Iterable[str | Account]" = (),
    breadth: str | None = None,
) -> Replay:
    """Walk every condition through the history of tickers; nothing is written or sent.

    Parameters
    ----------
    tickers : markets; a position of each is entered at the first close of every month with the default stop and
        target, until one of them or its horizon ends it, and all of them are bought in equal weights every three years.
    kinds : only these kinds; default all seven.
    start, end : days of the alerts that count; the history before them is used all the same.
    evaluations : forecasts whose signals are replayed.
    evidence : take it that the models have evidence, as entry signals need; what comes of it is no claim that they do.
    accounts : of the ledger of positions, as for `check`: what would have been said of one's own portfolio.
    breadth : as for `regimes`.
    """
    first, last = span(start, end)
    wanted = {k.kind for k in KINDS}
    for name in kinds or ():
        if name not in wanted:
            raise UnknownName.of("kind of alert", str(name), sorted(wanted))
    wanted = set(kinds) if kinds else wanted
    rows: list[list[object]] = []
    days: dict[str, list[tuple[float, float, int]]] = {}
    seen: list[pd.Timestamp] = []
    walked = _frames(named(tickers), list(evaluations), evidence, first, last, breadth, wanted)
    own = (holding.frames(Account(a) if isinstance(a, str) else a, last) for a in accounts)
    for subject, watches, frame in chain(walked, *own):
        inside = np.asarray((frame.index >= (first or frame.index[0])) & (frame.index <= (last or frame.index[-1])))
        seen += list(frame.index[inside][[0, -1]]) if inside.any() else []
        for kind in (k for k in asked(watches, frame) if k.kind in wanted):
            right = kind.right(frame) if kind.right else pd.Series(np.nan, frame.index)
            rows += _fired(kind, subject, frame, right, inside)
            known = right[inside].dropna()
            days.setdefault(kind.name, []).append((float(known.sum()), float(len(known)), int(inside.sum())))
    fired = pd.DataFrame(rows, columns=ALERTS).sort_values(["session", "subject"], ignore_index=True)
    ends = [str(d.date()) for d in (min(seen), max(seen))] if seen else ["", ""]
    return Replay(fired, rates(fired, days), settings().data_mode, *ends)


def rates(fired: pd.DataFrame, days: dict[str, list[tuple[float, float, int]]]) -> pd.DataFrame:
    """False alarms by condition; `days` has of each the sessions that would have been right, were judged, and all."""
    rows = []
    for name, counted in days.items():
        kind, _, condition = name.partition("/")
        mine = fired[(fired["kind"] == kind) & (fired["condition"] == condition)]
        right, known, sessions = (sum(c[i] for c in counted) for i in range(3))
        judged = mine["right"].dropna()
        wrong, n = int((judged == 0).sum()), len(judged)
        base = 1 - right / known if known else np.nan
        low, high = stats.binomtest(wrong, n).proportion_ci() if n else (np.nan, np.nan)
        p = stats.binomtest(wrong, n, base, alternative="less").pvalue if n and 0 < base < 1 else np.nan
        share = wrong / n if n else np.nan
        often = 252 * len(mine) / max(sessions, 1)
        rows.append([kind, condition, len(mine), often, n, share, low, high, base, base - share, p])
    return pd.DataFrame(rows, columns=RATES)


def _fired(
    kind: AlertKind, subject: str, frame: pd.DataFrame, right: pd.Series, inside: np.ndarray
) -> list[list[object]]:
    rows: list[list[object]] = []
    for e in episodes(kind, frame):
        if inside[e.start]:
            over = "" if e.end is None else str(frame.index[e.end].date())
            said = kind.says(subject, dict(frame.iloc[e.start]))
            session = str(frame.index[e.start].date())
            rows.append([kind.kind, kind.condition, kind.severity, subject, session, over, right.iloc[e.start], said])
    return rows


# --- what is walked through -----------------------------------------------------------------------------------


def _frames(
    names: list[str],
    evaluations: list[Evaluation],
    evidence: bool,
    first: pd.Timestamp | None,
    last: pd.Timestamp | None,
    breadth: str | None,
    kinds: set[str],
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    closes: dict[str, pd.Series] = {}
    for name in names:
        bars = market.bars(name, end=last)
        closes[name] = bars.frame["close"]
        if "regime_change" in kinds:
            yield name, "market", regimes(bars, breadth=breadth).history
        for held, frame in _positions(name, bars.frame, first):
            yield held.subject, "position", frame
    if len(names) > 1 and kinds & {"portfolio_deviation", "stop_loss"}:
        yield from _books(closes, first)
    for e in evaluations:
        yield f"{e.model} on {e.ticker}", "signal", signals(e, evidence=evidence)


def _firsts(index: pd.Index, first: pd.Timestamp | None, unit: Callable[[pd.DatetimeIndex], object]) -> list[str]:
    """The first session of each month or year, from a day on."""
    days = pd.DatetimeIndex(index[index >= first]) if first is not None else pd.DatetimeIndex(index)
    new = ~pd.Series(unit(days)).duplicated().to_numpy()
    return [str(d.date()) for d in days[new]]


def _positions(name: str, bars: pd.DataFrame, first: pd.Timestamp | None) -> Iterator[tuple[Position, pd.DataFrame]]:
    """A position entered at the first close of every month, to the end of the month after it is closed."""
    for day in _firsts(bars.index, first, lambda d: d.to_period("M")):
        held = Position(name, day)
        frame = held_frame(held, bars.loc[day:].head(held.horizon + MONTH + 1))
        stop, target = frame["low"] <= frame["stop"], frame["high"] >= frame["target"]
        end = np.flatnonzero((stop | target).to_numpy() | (frame["age"] >= held.horizon).to_numpy())
        if end.size:
            frame["held"] = np.arange(len(frame)) <= end[0]
            frame = frame.iloc[: end[0] + MONTH + 1]
        yield held, frame


def _books(closes: "dict[str, pd.Series]", first: pd.Timestamp | None) -> Iterator[tuple[str, str, pd.DataFrame]]:
    prices = pd.DataFrame(closes).dropna()
    weight = 1 / len(closes)
    for day in _firsts(prices.index, first, lambda d: (d.year - d.year.min()) // REBUY):
        held = Book(f"equal weights@{day}", day, dict.fromkeys(closes, weight))
        until = pd.Timestamp(day) + pd.DateOffset(years=REBUY)
        yield held.name, "book", drift(held, {t: c.loc[:until] for t, c in closes.items()})
