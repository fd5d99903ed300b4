"""Liquidity and order flow: estimates from daily bars, and the real thing where quotes are given."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from bidask import edge_rolling
from scipy.special import ndtr

from mltrainer.errors import BadInput
from mltrainer.features.bars import (
    ROUNDING,
    Array,
    Bars,
    Indicator,
    lag,
    log,
    ratio,
    rolling_mean,
    rolling_sum,
    row,
)

OHLC, HLC, CV = "open high low close", "high low close", "close volume"


# --- estimates from bars --------------------------------------------------------------------------------------


def edge_spread(bars: Bars, w: int) -> Array:
    """Relative bid-ask spread over w sessions, from open, high, low and close.

    References
    ----------
    Ardia, Guidotti & Kroencke (2024), *Efficient estimation of bid-ask spreads from open, high, low, and close
    prices*, Journal of Financial Economics 161; their own package computes it.
    """
    high, low = bars.high, _same(bars.low, bars.high)
    opened, close = (_same(_same(price, high), low) for price in (bars.open, bars.close))
    prices = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close})
    with np.errstate(all="ignore"):  # a window without price changes has no estimate: NaN
        spread = edge_rolling(prices, window=w).to_numpy()
    return np.where(np.isfinite(spread), spread, np.nan)


def _same(price: Array, other: Array) -> Array:
    # The estimator counts sessions that open or close at their high or low, so equal prices must be equal to the bit.
    return np.where(np.abs(price / other - 1.0) < ROUNDING, other, price)


def corwin_schultz(bars: Bars, w: int) -> Array:
    r"""Relative spread from two-session high-low ranges, averaged over w sessions.

    .. math:: S = \frac{2(e^\alpha - 1)}{1 + e^\alpha},\quad
              \alpha = \frac{\sqrt{2\beta} - \sqrt{\beta}}{3 - 2\sqrt2} - \sqrt{\frac{\gamma}{3 - 2\sqrt2}}

    The session's prices are moved by an overnight gap outside yesterday's close; negative estimates count as zero.

    References
    ----------
    Corwin & Schultz (2012), *A simple way to estimate bid-ask spreads from daily high and low prices*,
    Journal of Finance 67(2), eqs. 14 and 18 and section II.C.
    """
    close, high_before, low_before = lag(bars.close, 1), lag(bars.high, 1), lag(bars.low, 1)
    gap = np.maximum(bars.low - close, 0.0) - np.maximum(close - bars.high, 0.0)
    high, low = bars.high - gap, bars.low - gap
    beta = log(high_before / low_before) ** 2 + log(high / low) ** 2
    gamma = log(np.maximum(high_before, high) / np.minimum(low_before, low)) ** 2
    k = 3.0 - 2.0 * np.sqrt(2.0)
    alpha = (np.sqrt(2.0 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
    return rolling_mean(np.maximum(2.0 * np.tanh(alpha / 2.0), 0.0), w)


def amihud(bars: Bars, w: int) -> Array:
    """Mean of |return| per unit of money traded over w sessions; sessions without volume are left out, as in the paper.

    References
    ----------
    Amihud (2002), *Illiquidity and stock returns*, Journal of Financial Markets 5(1), eq. 1.
    """
    traded = bars.volume > 0.0
    # The first session has no return; elsewhere a session that did not trade adds nothing to sum or count.
    daily = np.where(traded | np.isnan(bars.returns), ratio(np.abs(bars.returns), bars.close * bars.volume), 0.0)
    return ratio(rolling_sum(daily, w), rolling_sum(traded.astype(float), w))


def order_imbalance(bars: Bars, w: int, *, scale: int = 63) -> Array:
    """Bought minus sold over all volume in w sessions, in [-1, 1], by bulk volume classification.

    The share bought in a session is Phi(return / its standard deviation over `scale` sessions).

    References
    ----------
    Easley, Lopez de Prado & O'Hara (2012), *Flow toxicity and liquidity in a high-frequency world*,
    Review of Financial Studies 25(5), section 1.2.
    """
    bought = ndtr(ratio(bars.returns, bars.std("returns", scale)))
    return ratio(rolling_sum(bars.volume * (2.0 * bought - 1.0), w), rolling_sum(bars.volume, w))


def amihud_ratio(bars: Bars, short: int, long: int) -> Array:
    """ln(Amihud over `short` sessions / over `long`); NaN where nothing traded or no price moved in the shorter."""
    return log(ratio(amihud(bars, short), amihud(bars, long)))


ESTIMATES: tuple[Indicator, ...] = (
    row("spread_edge_21", "fraction", 20, OHLC, edge_spread, "bid-ask spread by EDGE", w=21, estimate=True),
    row("spread_range_21", "fraction", 21, HLC, corwin_schultz, "by Corwin and Schultz", w=21, estimate=True),
    row(
        "amihud_21_252", "log ratio", 252, CV, amihud_ratio, "price impact of money", short=21, long=252, estimate=True
    ),
    row("order_imbalance_21", "-1 to 1", 83, CV, order_imbalance, "bought minus sold volume", w=21, estimate=True),
)


# --- quotes ---------------------------------------------------------------------------------------------------

SIDES = ["bid", "ask", "bid_size", "ask_size"]
OPENS, CLOSES = pd.Timedelta("9:30:00"), pd.Timedelta("16:00:00")  # New York


@dataclass(frozen=True)
class Quotes:
    """Usable quotes of one ticker in regular hours, in order of time; (n,) arrays and the session each belongs to."""

    session: np.ndarray  # (n,) position among the sessions, ascending
    nanoseconds: np.ndarray
    bid: Array
    ask: Array
    bid_size: Array
    ask_size: Array

    @cached_property
    def first(self) -> np.ndarray:
        """Whether a quote is the first of its session."""
        return np.diff(self.session, prepend=-1) > 0

    @cached_property
    def stood(self) -> Array:
        """Nanoseconds until the next quote of the session; the last one's end is not in the data and counts zero."""
        step = np.diff(self.nanoseconds, append=0)
        last = np.append(self.first[1:], True)[: step.size]
        return np.where(last, 0, step).astype(float)

    def mean(self, x: Array) -> Array:
        """Mean of each session, weighted by how long a quote stood; NaN where only one was made."""
        return ratio(self.total(x * self.stood), self.total(self.stood))

    def total(self, x: Array) -> Array:
        """Sum of each session."""
        return np.bincount(self.session, x).astype(np.float64)


def quoted_spread(quotes: Quotes) -> Array:
    """Time-weighted (ask - bid) over their midpoint."""
    return quotes.mean((quotes.ask - quotes.bid) / (0.5 * (quotes.ask + quotes.bid)))


def depth_imbalance(quotes: Quotes) -> Array:
    """Time-weighted (bid size - ask size) over their sum, in [-1, 1]; a quote without any size counts as balanced."""
    total = quotes.bid_size + quotes.ask_size
    return quotes.mean(np.nan_to_num(ratio(quotes.bid_size - quotes.ask_size, total)))


def order_flow_imbalance(quotes: Quotes) -> Array:
    r"""What was added to the bid and taken from the ask less the opposite, over all of it, in [-1, 1].

    .. math:: e_n = q^b_n 1_{b_n \ge b_{n-1}} - q^b_{n-1} 1_{b_n \le b_{n-1}}
                   - q^a_n 1_{a_n \le a_{n-1}} + q^a_{n-1} 1_{a_n \ge a_{n-1}},\quad
              \sum e_n / \sum |e_n|

    References
    ----------
    Cont, Kukanov & Stoikov (2014), *The price impact of order book events*, Journal of Financial Econometrics
    12(1), section 2; they divide by depth instead.
    """
    q = quotes
    bid, ask, bids, asks = lag(q.bid, 1), lag(q.ask, 1), lag(q.bid_size, 1), lag(q.ask_size, 1)
    added = np.where(q.bid >= bid, q.bid_size, 0.0) - np.where(q.bid <= bid, bids, 0.0)
    taken = np.where(q.ask >= ask, asks, 0.0) - np.where(q.ask <= ask, q.ask_size, 0.0)
    event = np.where(q.first, 0.0, added + taken)
    return ratio(q.total(event), q.total(np.abs(event)))


@dataclass(frozen=True)
class QuoteRow:
    """One feature from quotes: a number a session, known at its close."""

    name: str
    unit: str
    compute: Callable[[Quotes], Array]
    text: str


QUOTES: tuple[QuoteRow, ...] = (
    QuoteRow("quoted_spread", "fraction", quoted_spread, "ask less bid over the midpoint"),
    QuoteRow("depth_imbalance", "-1 to 1", depth_imbalance, "size on the bid against size on the ask"),
    QuoteRow("order_flow_imbalance", "-1 to 1", order_flow_imbalance, "additions to the bid against the ask"),
)


def by_session(quotes: pd.DataFrame) -> pd.DataFrame:
    """The features of `QUOTES` for each session, from its quotes between 9:30 and 16:00 in New York.

    Parameters
    ----------
    quotes : (n, ...) columns bid and ask (dollars), bid_size and ask_size; index of times in ascending order, UTC
        where it has no zone.

    Returns
    -------
    (m, 5) float64 by session: the features, `quotes` (how many were used) and `left_out` (how many were not, as one
    side was missing or the bid stood above the ask). NaN where a session has too few quotes to say.

    Raises
    ------
    BadInput : a column is missing, or the times are not in order.
    """
    lacking = [c for c in SIDES if c not in quotes]
    index = quotes.index
    if lacking or not isinstance(index, pd.DatetimeIndex) or not index.is_monotonic_increasing or index.hasnans:
        what = f"have no {', '.join(lacking)}" if lacking else "are not in ascending order of time"
        raise BadInput(f"quotes {what}; they need an ascending index of times and the columns {', '.join(SIDES)}")
    utc = (index if index.tz is not None else index.tz_localize("UTC")).as_unit("ns")
    local = utc.tz_convert("America/New_York").tz_localize(None)
    day = local.normalize()
    regular = np.asarray((local - day >= OPENS) & (local - day < CLOSES))
    bid, ask, *sizes = (quotes[c].to_numpy(dtype=np.float64) for c in SIDES)
    fine = (bid > 0.0) & (ask >= bid) & (ask < np.inf) & (sizes[0] >= 0.0) & (sizes[1] >= 0.0)
    keep = regular & fine
    codes, sessions = pd.factorize(day[regular])
    used = Quotes(codes[fine[regular]], utc.asi8[keep], bid[keep], ask[keep], sizes[0][keep], sizes[1][keep])
    n = len(sessions)
    columns = {row.name: np.append(x := row.compute(used), np.full(n - len(x), np.nan)) for row in QUOTES}
    made, all_ = (np.bincount(c, minlength=n).astype(float) for c in (used.session, codes))
    out = pd.DataFrame({**columns, "quotes": made, "left_out": all_ - made})
    return out.set_index(pd.DatetimeIndex(sessions, name="session").as_unit("s"))
