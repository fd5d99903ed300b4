"""Labels of a session by what was known at its close: volatility, trend and volume, each against its own past."""

import numpy as np
import pandas as pd

VOLATILITY = ("low", "medium", "high")
TREND = ("bear", "sideways", "bull")
VOLUME = ("low", "normal", "high")
MONTH, QUARTER, YEAR = 21, 63, 252  # sessions
PERSISTENCE = 5  # sessions a volatility must stand before it is believed


def detect(bars: pd.DataFrame) -> pd.DataFrame:
    """Label every session; nothing is smoothed, and no label is ever revised.

    Parameters
    ----------
    bars : (n, ...) by session, with `close` (adjusted) and, where the source has it, `volume` (shares).

    Returns
    -------
    (n, 2 or 3) frame of labels, NaN until known.

        - `volatility` is low, medium or high: see `volatility`;
        - `trend` is bear, sideways or bull: see `trend`;
        - `volume` is low, normal or high: see `volume`; absent where the source has none.
    """
    labels = {"volatility": volatility(bars["close"]), "trend": trend(bars["close"])}
    if "volume" in bars:
        labels["volume"] = volume(bars["close"] * bars["volume"])
    return pd.DataFrame(labels)


def realized(close: "pd.Series[float]") -> "pd.Series[float]":
    """Standard deviation of the log returns of the last 21 sessions, (n,), a fraction a session."""
    return pd.Series(np.log(close)).diff().rolling(MONTH).std()


def volatility(close: "pd.Series[float]") -> "pd.Series[str]":
    """Realized volatility below, between or above the 33 % and 67 % quantiles of its own past; (n,).

    The past is all up to the session, at least 252 sessions of it; a label counts when it has stood for five in a row.
    """
    known = realized(close)
    past = known.expanding(YEAR)
    low, high = past.quantile(1 / 3), past.quantile(2 / 3)
    state = pd.Series(np.select([known <= low, known <= high], VOLATILITY[:2], VOLATILITY[2]), close.index)
    return settled(state.where(high.notna()))


def settled(labels: "pd.Series[str]", sessions: int = PERSISTENCE) -> "pd.Series[str]":
    """The label that last stood for so many sessions in a row; NaN where none has yet."""
    standing = labels.groupby((labels != labels.shift()).cumsum()).cumcount() + 1
    return labels.where(standing >= sessions).ffill()


def trend(close: "pd.Series[float]") -> "pd.Series[str]":
    """Bull above the 200-session mean with a rising quarter (t above 1), bear below it with a falling one; (n,)."""
    mean, t = close.rolling(200).mean(), slope_t(close)
    up, down = (close > mean) & (t > 1), (close < mean) & (t < -1)
    state = pd.Series(np.select([down, up], [TREND[0], TREND[2]], TREND[1]), close.index)
    return state.where(mean.notna())


def slope_t(close: "pd.Series[float]", sessions: int = QUARTER) -> "pd.Series[float]":
    r"""The t statistic of the slope of log closes on time over the last sessions, (n,).

    .. math:: t = \hat\beta / \mathrm{se}(\hat\beta) = r \sqrt{(w - 2) / (1 - r^2)}

    with r the correlation of log close and time. It says how straight a path was, and is no test: the errors of a
    price about a line hang together. NaN until there are so many sessions, and where the price stands still.
    """
    log, n = np.log(close.to_numpy(float)), len(close)
    if n < sessions:
        return pd.Series(np.nan, close.index)
    # One session of the window after the other, so that a value is the same bits however many rows come after it.
    lags = [log[j : n - sessions + 1 + j] - log[sessions - 1 :] for j in range(sessions)]
    mean, time = sum(lags) / sessions, np.arange(sessions) - (sessions - 1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        r = sum(t * y for t, y in zip(time, lags, strict=True)) / np.sqrt(
            (time**2).sum() * sum((y - mean) ** 2 for y in lags)
        )
        t = r * np.sqrt((sessions - 2) / np.maximum(1 - r**2, 0.0))
    return pd.Series(np.concatenate([np.full(sessions - 1, np.nan), t]), close.index)


def volume(dollars: "pd.Series[float]") -> "pd.Series[str]":
    """Mean dollars traded in 20 sessions over the median of 252: high above 1.2, low below 0.8; (n,)."""
    share = dollars.rolling(20).mean() / dollars.rolling(YEAR).median()
    state = pd.Series(np.select([share < 0.8, share > 1.2], [VOLUME[0], VOLUME[2]], VOLUME[1]), dollars.index)
    return state.where(share.notna())
