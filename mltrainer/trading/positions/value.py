"""What an account is worth and what it earned, against a benchmark, as of a day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from mltrainer.data import market
from mltrainer.data.dates import Day, day
from mltrainer.errors import BadInput
from mltrainer.settings import settings
from mltrainer.trading.positions import ledger
from mltrainer.trading.positions.accounts import Entry, State, apply, money_weighted, rebalance, time_weighted, walk
from mltrainer.trading.positions.ledger import MAIN


@dataclass(frozen=True)
class Valuation:
    """An account at the close of a session.

    Attributes
    ----------
    positions : by ticker: quantity, price, value, weight, cost, unrealized, realized, dividends (dollars).
    cash, value : dollars. `invested` is what was brought in, less what was taken out.
    time_weighted : return since the first entry, a fraction; `money_weighted` a year; `benchmark` over the same
        sessions, NaN without one.
    mode, session : of the prices.
    """

    positions: pd.DataFrame
    cash: float
    value: float
    invested: float
    time_weighted: float
    money_weighted: float
    benchmark: float
    mode: str
    session: str

    @property
    def gain(self) -> float:
        """Dollars: value less what was brought in."""
        return self.value - self.invested

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        rows = self.positions.reset_index(names="ticker").to_dict("records")
        return {**vars(self), "gain": self.gain, "positions": rows}


def value(account: str = MAIN, *, as_of: Day = None, benchmark: str | None = None) -> Valuation:
    """Value an account at the last session up to a day.

    Parameters
    ----------
    account : which account.
    as_of : entries and prices up to it; default all.
    benchmark : a ticker whose return stands beside.

    Notes
    -----
    Live prices are as traded, as splits and dividends are entries. A sample has adjusted prices only: a holding valued
    by them grows by its dividends and splits without entries, so entries of them are refused there.
    """
    last = day(as_of, "as_of")
    found = [e for e in ledger.standing(account) if last is None or pd.Timestamp(e.day) <= last]
    if not found:
        raise BadInput(f"account {account} has no entry{'' if last is None else f' up to {last.date()}'}; record one")
    if settings().data_mode == "sample" and any(e.kind in ("dividend", "split") for e in found):
        raise BadInput("the sample's prices hold dividends and splits already; value accounts that enter them live")
    prices = prices_of(found, last)
    values, flows = history(found, prices)
    state, price = walk(found), prices.iloc[-1] if len(prices.columns) else pd.Series(dtype=float)
    table, total = _table(state, price), float(values.iloc[-1])
    end = values.index[-1].date()
    outside = [(date.fromisoformat(e.day), e.flow) for e in found if e.flow]
    rates = time_weighted(values, flows), money_weighted(outside, total, end)
    beside = _benchmark(benchmark, values.index)
    invested = sum(f for _, f in outside)
    return Valuation(table, state.cash, total, invested, *rates, beside, settings().data_mode, str(end))


def what_if(targets: Mapping[str, float], account: str = MAIN, *, as_of: Day = None) -> pd.DataFrame:
    """The trades that would bring an account to target weights at the last close; nothing is written."""
    last = day(as_of, "as_of")
    found = [e for e in ledger.standing(account) if last is None or pd.Timestamp(e.day) <= last]
    state = walk(found)
    names = sorted({*state.quantities, *targets})
    prices = _prices(names, None, last)
    return rebalance(state, {t: float(prices[t].iloc[-1]) for t in names}, targets)


def history(found: list[Entry], prices: pd.DataFrame) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Value at the close of every session, and what came in during it; an entry of no session counts on the next."""
    states = sessions(found, prices)
    return states.sum(axis=1) - states["flow"], states["flow"]


def sessions(found: list[Entry], prices: pd.DataFrame) -> pd.DataFrame:
    """Dollars in each ticker and in `cash` at the close of every session, and the `flow` that came in during it."""
    state, waiting = State(), list(found)
    rows: list[dict[str, float]] = []
    closes = {t: prices[t].tolist() for t in prices}
    for n, session in enumerate(prices.index):
        flow = 0.0
        while waiting and pd.Timestamp(waiting[0].day) <= session:
            e = waiting.pop(0)
            apply(state, e)
            flow += e.flow
        worth = {t: q * closes[t][n] for t, q in state.quantities.items()}
        rows.append(worth | {"cash": state.cash, "flow": flow})
    return pd.DataFrame(rows, prices.index, [*closes, "cash", "flow"]).fillna(0.0)


def prices_of(found: list[Entry], last: pd.Timestamp | None) -> pd.DataFrame:
    """Closes of whatever entries name, from the first of them on, as `value` reads them."""
    return _prices(sorted({e.ticker for e in found if e.ticker}), found[0].day, last)


def _prices(tickers: list[str], first: str | None, last: pd.Timestamp | None) -> pd.DataFrame:
    """Closes by session, the last known where a share did not trade."""
    traded = settings().data_mode != "sample"
    closes = {t: market.bars(t, start=first, end=last, adjusted=not traded).frame["close"] for t in tickers}
    if not closes:
        end = last or pd.Timestamp.now().normalize()
        return pd.DataFrame(index=pd.bdate_range(first or end, max(end, pd.Timestamp(first or end))))
    return pd.DataFrame(closes).sort_index().ffill()


def _table(state: State, price: "pd.Series[float]") -> pd.DataFrame:
    names = sorted({*state.quantities, *state.realized, *state.dividends})
    rows = pd.DataFrame({"quantity": [state.quantities.get(t, 0.0) for t in names]}, index=names)
    rows["price"] = [float(price[t]) for t in names]
    rows["value"] = rows["quantity"] * rows["price"]
    rows["weight"] = rows["value"] / (rows["value"].sum() + state.cash)
    rows["cost"] = [state.costs.get(t, 0.0) for t in names]
    rows["unrealized"] = rows["value"] - rows["cost"]
    rows["realized"] = [state.realized.get(t, 0.0) for t in names]
    rows["dividends"] = [state.dividends.get(t, 0.0) for t in names]
    return rows


def _benchmark(name: str | None, sessions: pd.Index) -> float:
    if name is None:
        return float("nan")
    close = market.bars(name, start=str(sessions[0].date()), end=str(sessions[-1].date())).frame["close"]
    return float(close.iloc[-1] / close.iloc[0] - 1)
