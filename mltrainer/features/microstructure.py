"""Liquidity and order flow read from daily bars: estimates, since quotes and trades are not in the data."""

import numpy as np
import pandas as pd
from bidask import edge_rolling
from scipy.special import ndtr

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
