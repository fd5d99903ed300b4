"""The arithmetic of an account: lots first in, first out; gains realized or not; returns by time and by money."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from mltrainer.errors import BadInput

DUST = 1e-9  # shares and dollars below which nothing is left


@dataclass(frozen=True)
class Kind:
    """What an entry of a kind must say, and what it does to cash (sign of `cash`; trades by quantity and price)."""

    needs: tuple[str, ...]
    cash: int
    text: str


KINDS: dict[str, Kind] = {
    "deposit": Kind(("cash",), 1, "cash brought in"),
    "withdraw": Kind(("cash",), -1, "cash taken out"),
    "buy": Kind(("ticker", "quantity", "price"), -1, "shares bought, at a price a share, with a fee"),
    "sell": Kind(("ticker", "quantity", "price"), 1, "shares sold, the oldest first"),
    "dividend": Kind(("ticker", "cash"), 1, "cash paid on a holding, in all"),
    "split": Kind(("ticker", "ratio"), 0, "new shares for one old"),
    "fee": Kind(("cash",), -1, "cash paid for anything else"),
}


@dataclass(frozen=True)
class Entry:
    """One entry; numbers are positive, dollars and shares, and the kind gives them their sign."""

    kind: str
    day: str
    ticker: str = ""
    quantity: float = 0.0
    price: float = 0.0
    fee: float = 0.0
    cash: float = 0.0
    ratio: float = 0.0
    note: str = ""

    @property
    def flow(self) -> float:
        """What it brings into the account from outside."""
        return self.cash * {"deposit": 1, "withdraw": -1}.get(self.kind, 0)


@dataclass
class State:
    """An account after its entries.

    Attributes
    ----------
    cash : dollars.
    lots : ticker -> (shares, cost a share with fees) of each purchase still held, the oldest first.
    realized : ticker -> gain of what was sold, after fees; `dividends` are apart.
    """

    cash: float = 0.0
    lots: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    realized: dict[str, float] = field(default_factory=dict)
    dividends: dict[str, float] = field(default_factory=dict)
    fees: float = 0.0

    @property
    def quantities(self) -> dict[str, float]:
        """Ticker -> shares held."""
        return {t: q for t, lots in self.lots.items() if (q := sum(n for n, _ in lots)) > DUST}

    @property
    def costs(self) -> dict[str, float]:
        """Ticker -> what the shares held have cost."""
        return {t: sum(n * c for n, c in self.lots[t]) for t in self.quantities}


def walk(entries: Iterable[Entry]) -> State:
    """The account after entries in their order.

    Raises
    ------
    BadInput
        More is sold than held, more is paid than there is, or a dividend or split is of nothing held.
    """
    state = State()
    for e in entries:
        apply(state, e)
    return state


def apply(state: State, e: Entry) -> None:
    """Carry an account over one entry."""
    held = state.quantities.get(e.ticker, 0.0)
    if e.kind in ("sell", "dividend", "split") and (held <= DUST or held < e.quantity - DUST):
        needed = f"{e.quantity:g}" if e.quantity else "some"
        raise BadInput(f"{e.kind} of {e.ticker} on {e.day} needs {needed} shares, and {held:g} are held")
    money = KINDS[e.kind].cash * (e.cash or e.quantity * e.price) - e.fee
    if money < 0 and state.cash + money < -1e-6:
        raise BadInput(
            f"{e.kind} on {e.day} takes {-money:,.2f} dollars, and {state.cash:,.2f} are there; deposit first"
        )
    state.cash += money
    state.fees += e.fee + (e.cash if e.kind == "fee" else 0.0)
    lots = state.lots.setdefault(e.ticker, []) if e.ticker else []
    if e.kind == "buy":
        lots.append((e.quantity, e.price + e.fee / e.quantity))
    elif e.kind == "split":
        state.lots[e.ticker] = [(n * e.ratio, c / e.ratio) for n, c in lots]
    elif e.kind == "dividend":
        state.dividends[e.ticker] = state.dividends.get(e.ticker, 0.0) + e.cash
    elif e.kind == "sell":
        gain = e.quantity * e.price - e.fee - _taken(lots, e.quantity)
        state.realized[e.ticker] = state.realized.get(e.ticker, 0.0) + gain


def _taken(lots: list[tuple[float, float]], quantity: float) -> float:
    """Take shares out of lots, the oldest first, and return what they had cost."""
    cost = 0.0
    while quantity > DUST:
        n, c = lots.pop(0)
        used = min(n, quantity)
        cost, quantity = cost + used * c, quantity - used
        if n - used > DUST:
            lots.insert(0, (n - used, c))
    return cost


# --- returns --------------------------------------------------------------------------------------------------


def time_weighted(values: "pd.Series[float]", flows: "pd.Series[float]") -> float:
    r"""The return of the account as if nothing had been brought in or taken out, over the whole span.

    .. math:: \prod_t \frac{V_t}{V_{t-1} + F_t} - 1

    Parameters
    ----------
    values : (n,) value at the close of each session.
    flows : (n,) cash brought in (positive) or taken out during the session, taken to be there from its start.

    Returns
    -------
    A fraction; NaN without a session whose start has a value.
    """
    start = values.shift(fill_value=0.0) + flows
    growth = (values / start)[start > DUST].to_numpy(float)
    return float(np.prod(growth)) - 1 if len(growth) else float("nan")


def money_weighted(flows: Sequence[tuple[date, float]], value: float, end: date) -> float:
    r"""The annual rate at which all that was brought in would have grown to the value: the internal rate of return.

    .. math:: \sum_i F_i (1 + r)^{(T - t_i)/365} = V_T

    Parameters
    ----------
    flows : days, and cash brought in (positive) or taken out (negative).
    value, end : of the account, and when.

    Returns
    -------
    A fraction a year; NaN where no rate above -100 % solves it.
    """

    def gap(rate: float) -> float:
        return sum(f * (1 + rate) ** ((end - d).days / 365) for d, f in flows) - value

    low, high = -0.9999, 1e4
    if not flows or np.sign(gap(low)) == np.sign(gap(high)):
        return float("nan")
    return float(brentq(gap, low, high, xtol=1e-12))


def rebalance(state: State, prices: Mapping[str, float], targets: Mapping[str, float]) -> pd.DataFrame:
    """The trades that would bring an account to target weights; what is not in them stays cash.

    Returns
    -------
    DataFrame
        By ticker: held and target weight, shares to trade (negative to sell), dollars.
    """
    if not (all(w >= 0 for w in targets.values()) and sum(targets.values()) <= 1 + 1e-9):  # NaN is neither
        raise BadInput("target weights must be from 0 to 1, and together at most 1")
    names = list(dict.fromkeys([*state.quantities, *targets]))
    if lost := [t for t in names if not prices.get(t, 0) > 0]:
        raise BadInput(f"{lost[0]} has no price; give one")
    held = pd.Series({t: state.quantities.get(t, 0.0) * prices[t] for t in names})
    total = held.sum() + state.cash
    dollars = pd.Series({t: targets.get(t, 0.0) * total for t in names}) - held
    shares = dollars / pd.Series({t: prices[t] for t in names})
    made = {
        "weight": held / total,
        "target": [targets.get(t, 0.0) for t in names],
        "shares": shares,
        "dollars": dollars,
    }
    return pd.DataFrame(made)
