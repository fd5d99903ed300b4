"""An account of one's own as what is watched: each purchase that is still held, and the book of all of it.

What is watched is read from the ledger of the account at each check, so nobody writes a position twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.data import market
from mltrainer.data.dates import Day, day
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.settings import settings
from mltrainer.trading.alerts.kinds import LIMIT, WORST
from mltrainer.trading.alerts.watching import Position, Watched, book_frame, check_weights, position, unfit
from mltrainer.trading.positions import ledger
from mltrainer.trading.positions.accounts import DUST, Entry, walk
from mltrainer.trading.positions.value import prices_of, sessions
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

TRADES = ("buy", "sell")
LEAP = 0.2  # by which a price as traded and an adjusted one part on the day of a split, and never of a dividend
NEAR = pd.Timedelta(days=7)  # of the calendar, between a split and its entry


@dataclass(frozen=True)
class Account:
    """An account of the ledger of positions, and how much of what is too much.

    Parameters
    ----------
    name : of the account.
    stop, target, horizon : of each purchase, as for `Position`; entry is what was paid.
    limit, worst : weight of one position (10 %), and loss from the peak (20 %, by time), that are too much.
    targets : ticker -> weight that is meant; default the weights at the close of its last trade.
    """

    name: str = ledger.MAIN
    stop: float = 0.05
    target: float = 0.10
    horizon: int = 63
    limit: float = LIMIT
    worst: float = WORST
    targets: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not (0 < self.limit <= 1 and 0 < self.worst < 1):
            raise BadInput(f"account {self.name}: limit and worst are fractions, above 0 and below 1")
        if not all(isinstance(v, int | float) for v in (self.stop, self.target)):
            raise BadInput(f"account {self.name}: stop and target are fractions")
        if self.targets is not None:
            check_weights(self.name, self.targets)


def looks(of: Account, as_of: Day = None) -> dict[str, "partial[Watched]"]:
    """Subject -> what is watched of an account as of a day, each read when it is asked for."""
    last = day(as_of, "as_of")
    found = entries(of, last)
    held = {p.subject: partial(_purchase, p, last) for p in purchases(of, found)}
    return held | {of.name: partial(book, of, found, last)}


def entries(of: Account, last: pd.Timestamp | None) -> list[Entry]:
    """The entries that count up to a day."""
    return [e for e in ledger.standing(of.name) if last is None or pd.Timestamp(e.day) <= last]


# --- purchases ------------------------------------------------------------------------------------------------


def purchases(of: Account, found: list[Entry]) -> list[Position]:
    """What was bought, one position a ticker and day, closed on the day its last share was sold, the oldest first."""
    lots: dict[str, list[list[float]]] = {}  # ticker -> [place of its day, shares left]
    days: dict[tuple[str, str], list[float]] = {}  # ticker, day -> [shares bought, dollars]
    closed: dict[tuple[str, str], str] = {}
    order: list[tuple[str, str]] = []
    for e in found:
        own = lots.setdefault(e.ticker, [])
        if e.kind == "buy":
            key = (e.ticker, e.day)
            if key not in days:
                order.append(key)
            bought = days.setdefault(key, [0.0, 0.0])
            bought[0], bought[1] = bought[0] + e.quantity, bought[1] + e.quantity * e.price
            own.append([order.index(key), e.quantity])
            closed.pop(key, None)
        elif e.kind == "split":
            lots[e.ticker] = [[at, n * e.ratio] for at, n in own]
        elif e.kind == "sell":
            lots[e.ticker], gone = _sold(own, e.quantity)
            left = {at for at, _ in lots[e.ticker]}
            closed |= {order[int(at)]: e.day for at in gone if at not in left}
    how: dict[str, Any] = {"stop": of.stop, "target": of.target, "horizon": of.horizon, "account": of.name}
    return [Position(*key, price=days[key][1] / days[key][0], closed=closed.get(key), **how) for key in order]


def _sold(lots: list[list[float]], quantity: float) -> tuple[list[list[float]], list[float]]:
    """Lots after a sale of the oldest shares, and the places of those that are gone."""
    left, gone = [], []
    for at, n in lots:
        used = min(n, quantity)
        quantity -= used
        if n - used > DUST:
            left.append([at, n - used])
        else:
            gone.append(at)
    return left, gone


def _purchase(held: Position, last: pd.Timestamp | None) -> Watched:
    bars = market.bars(held.ticker, end=last)
    return position(priced(held, bars), bars)


def priced(held: Position, bars: Dataset) -> Position:
    """The position with what was paid in the prices of the bars, which later splits and dividends have moved."""
    if settings().data_mode == "sample" or held.price is None:
        return held  # whose prices are adjusted ones already
    week = min(pd.Timestamp(held.entered) + NEAR, bars.frame.index[-1])
    if week < pd.Timestamp(held.entered):
        raise NotEnoughHistory(f"{held.ticker} has no session from {held.entered} to {bars.frame.index[-1].date()}")
    traded = market.bars(held.ticker, start=held.entered, end=str(week.date()), adjusted=False).frame["close"]
    both = traded.index.intersection(bars.frame.index)
    if both.empty:
        raise NotEnoughHistory(f"{held.ticker} has no session from {held.entered} to {week.date()}")
    return replace(held, price=held.price * float(bars.frame["close"].loc[both[0]] / traded.loc[both[0]]))


# --- the book -------------------------------------------------------------------------------------------------


def book(of: Account, found: list[Entry], last: pd.Timestamp | None) -> Watched:
    """Weights, their targets, and the wealth of an account by time, session by session."""
    if not any(e.kind in TRADES for e in found):
        raise BadInput(f"account {of.name} holds nothing{'' if last is None else f' on {last.date()}'}; record a trade")
    names = sorted({e.ticker for e in found if e.ticker})
    bars = {t: market.bars(t, start=found[0].day, end=last) for t in names}
    origins = [gate.verify(b, "alerts") for b in bars.values()]
    prices = prices_of(found, last)
    withheld = unfit(*bars.values()) or unentered(of, found, prices, bars)
    frame = path(of, found, prices)
    return Watched(of.name, "book", frame, origins[0].mode, tuple(o.content_sha256 for o in origins), withheld)


def path(of: Account, found: list[Entry], prices: pd.DataFrame) -> pd.DataFrame:
    """The book of an account by session, as of `watching.book_frame`, from its first trade on."""
    dollars = sessions(found, prices)
    worth = dollars.drop(columns="flow").sum(axis=1)
    grown = (worth / (worth.shift(fill_value=0.0) + dollars["flow"])).where(worth > DUST, 1.0)
    weights = dollars.drop(columns=["cash", "flow"]).div(worth, axis=0).fillna(0.0)
    traded = [int(prices.index.searchsorted(pd.Timestamp(e.day))) for e in found if e.kind in TRADES]
    traded = sorted({at for at in traded if at < len(prices)})
    if not traded:
        raise BadInput(f"account {of.name} was first traded after {prices.index[-1].date()}, the last session there is")
    if of.targets is not None:
        names = weights.columns.union(list(of.targets))  # what is meant and not held yet is far from its target, too
        weights = weights.reindex(columns=names, fill_value=0.0)
        target: pd.DataFrame | pd.Series[float] = pd.Series(of.targets).reindex(names, fill_value=0.0)
    else:
        target = (
            weights.where(pd.Series(np.isin(np.arange(len(weights)), traded), weights.index)).ffill().iloc[traded[0] :]
        )
    return book_frame(weights, grown.cumprod(), target, limit=of.limit, worst=of.worst).iloc[traded[0] :]


def unentered(of: Account, found: list[Entry], traded: pd.DataFrame, bars: Mapping[str, Dataset]) -> str:
    """Why the wealth of an account is no fact: a split of what it held that it has no entry of; "" where there is none.

    In mode sample prices are adjusted, and there is nothing to enter.
    """
    for name, b in bars.items():
        ratio = traded[name] / b.frame["close"].reindex(traded.index).ffill()
        step = (ratio / ratio.shift() - 1).abs()
        for at in step.index[step > LEAP]:
            known = [e for e in found if e.ticker == name and e.kind == "split"]
            held = walk(e for e in found if pd.Timestamp(e.day) < at).quantities.get(name, 0.0)
            if held > DUST and not any(abs(pd.Timestamp(e.day) - at) <= NEAR for e in known):
                return f"{name} was split on {at.date()}, and account {of.name} has no entry of it; add it"
    return ""


def frames(of: Account, last: pd.Timestamp | None) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The same for replay: subject, what it is, and its frame."""
    for name, look in looks(of, last).items():
        watched = look()
        if watched.withheld:
            raise BadInput(watched.withheld)
        yield name, watched.watches, watched.frame
