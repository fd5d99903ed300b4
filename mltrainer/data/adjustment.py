"""Splits and dividends: what a holder's return was, made from raw bars and checked against the provider's own."""

import numpy as np
import pandas as pd

from mltrainer.errors import Unavailable
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

PRICES = ("open", "high", "low", "close", "vwap")
ROUNDING = (1e-4, 1e-4)  # absolute in dollars (providers round adjusted prices to the fourth digit), and relative


def split_factor(sessions: pd.DatetimeIndex, splits: pd.DataFrame, *, today: str) -> np.ndarray:
    r"""What a price of each session is multiplied by to be in the shares of `today`.

    .. math:: f_t = \prod_{s:\, t < d_s \le today} \mathrm{from}_s / \mathrm{to}_s

    Parameters
    ----------
    sessions : (n,) New York dates.
    splits : by execution_date, with split_from and split_to; announced ones after `today` are left out.

    Returns
    -------
    (n,) factors; 1 after the last split. Shares and volume are divided by it.
    """
    factor = np.ones(len(sessions))
    done = splits[splits.index <= pd.Timestamp(today)]
    for day, ratio in zip(pd.DatetimeIndex(done.index), done["split_from"] / done["split_to"], strict=True):
        factor[sessions < day] *= ratio
    return factor


def dividend_factor(close: "pd.Series[float]", dividends: "pd.Series[float]", *, name: str = "it") -> np.ndarray:
    r"""What a price of each session is multiplied by so that its return includes the dividends.

    .. math:: f_t = \prod_{x:\, t < d_x} \frac{1}{1 + D_x / C_{d_x}}

    so that the return of the ex-date is what a holder had, (C + D) / C before - 1. The level of an adjusted price
    holds every later dividend and so knows the future; its return does not.

    Parameters
    ----------
    close : (n,) closes by session, in the shares of one day.
    dividends : by ex-date, in dollars per share of that same day; several on one date are added.

    Returns
    -------
    (n,) factors; 1 from the last ex-date on. Ex-dates before the second session or after the last change nothing.

    References
    ----------
    CRSP, *Data Descriptions Guide*: the holding period return.
    """
    factor, sessions, paid = np.ones(len(close)), close.index, dividends.groupby(level=0).sum()
    for day, cash in zip(pd.DatetimeIndex(paid.index), paid, strict=True):
        on = int(sessions.searchsorted(day))  # an ex-date without a bar is felt on the next session
        if not 0 < on < len(close):
            continue
        if cash >= close.iloc[on - 1]:
            why = f"hold {cash:g} dollars on {day:%Y-%m-%d}, when the share closed at {close.iloc[on - 1]:g} before"
            gate.refuse(f"the dividends of {name}", why, "use adjusted=False, and tell the provider")
        factor[:on] /= 1 + cash / close.iloc[on]
    return factor


def total_return(raw: Dataset, splits: Dataset, dividends: Dataset, provider: Dataset, *, today: str) -> Dataset:
    """Bars adjusted for splits and dividends, made from bars as traded; call it through `gate.derive`.

    Parameters
    ----------
    raw, splits, dividends : what was traded, and what happened to a share.
    provider : the provider's own split-adjusted bars; ours must agree with them to rounding, or all is refused.
    today : New York date of the answers, in whose shares the provider's bars are; splits executed later are not in
        them yet.

    Returns
    -------
    Dataset
        Prices in dollars of the shares of the last session, with dividends up to it reinvested, and volume in such
        shares: what happened to a share later was not known then, so these are the bars of a run on that day.
    """
    frame = raw.frame.copy()
    sessions = pd.DatetimeIndex(frame.index)
    sent = frame[["close"]].mul(split_factor(sessions, splits.frame, today=today), axis=0)
    reconcile(raw.name, sent, provider.frame)
    last = str(sessions[-1].date())
    splitting = split_factor(sessions, splits.frame, today=last)
    prices = [c for c in PRICES if c in frame]
    frame[prices] = frame[prices].mul(splitting, axis=0)
    frame["volume"] /= splitting
    paid = dividends.frame[dividends.frame.index <= sessions[-1]]
    foreign = sorted({c for c in paid["currency"].dropna() if c.upper() != "USD"})
    if foreign:
        raise Unavailable(
            f"{raw.name} pays dividends in {', '.join(foreign)}, and no rate is known; use adjusted=False"
        )
    # a dividend is per share of its ex-date, which later splits divide like a price of that date
    cash = paid["cash_amount"] * split_factor(pd.DatetimeIndex(paid.index), splits.frame, today=last)
    frame[prices] = frame[prices].mul(dividend_factor(frame["close"], cash, name=raw.name), axis=0)
    return Dataset(frame, raw.name, "bars")


def reconcile(name: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Refuse bars whose own split adjustment differs from the provider's by more than the rounding of a price."""
    what, next_step = f"the split adjustment of {name}", "use adjusted=False, or ask again tomorrow"
    strangers = ours.index.symmetric_difference(theirs.index)
    if len(strangers):
        why = f"differs in {len(strangers)} sessions between raw and adjusted bars, the first {strangers[0]:%Y-%m-%d}"
        gate.refuse(what, why, next_step)
    absolute, relative = ROUNDING
    close, their = ours["close"].to_numpy(), theirs["close"].to_numpy()
    far = ~(np.abs(close - their) <= absolute + relative * their)  # NaN is no agreement
    if far.any():
        n = int(np.argmax(far))
        why = (
            f"differs from the provider's on {far.sum()} of {len(far)} sessions, first {ours.index[n]:%Y-%m-%d}: "
            f"{close[n]:.6g} by its splits, {their[n]:.6g} as sent"
        )
        gate.refuse(what, why, next_step)
