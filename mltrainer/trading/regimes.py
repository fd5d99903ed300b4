"""Regimes: is the market calm or stormy, rising or falling, as far as one could know on the day?"""

import numpy as np
import pandas as pd

VOLATILITY = ("calm", "normal", "stormy")
TREND = ("falling", "rising")


def detect(close: "pd.Series[float]") -> pd.DataFrame:
    """Label every session by what was known at its close; never smoothed, never revised.

    Parameters
    ----------
    close : (n,) adjusted closes indexed by session.

    Returns
    -------
    (n, 2) frame of labels, NaN until known: `volatility` is calm, normal or stormy as 21-session volatility
    lies below, between or above the 33 % and 67 % quantiles of its own past (at least 252 sessions of it);
    `trend` is rising above the 200-session mean, else falling.
    """
    volatility = pd.Series(np.log(close)).diff().rolling(21).std()
    past = volatility.expanding(252)
    low, high = past.quantile(1 / 3), past.quantile(2 / 3)
    state = pd.Series(np.select([volatility <= low, volatility <= high], VOLATILITY[:2], VOLATILITY[2]), close.index)
    mean = close.rolling(200).mean()
    trend = pd.Series(np.where(close > mean, TREND[1], TREND[0]), close.index)
    return pd.DataFrame({"volatility": state.where(high.notna()), "trend": trend.where(mean.notna())})
