"""What is watched, as one frame by session each: a market, a position, a book of weights, the signals of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mltrainer.data.dates import Day, day
from mltrainer.data.quality.check import judge
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation import trials
from mltrainer.evaluation.record import Evaluation
from mltrainer.settings import settings
from mltrainer.trading.alerts.kinds import WORST
from mltrainer.trading.regimes import Regimes
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

RECENT = 300  # sessions whose quality decides whether an alert may rest on them
COVERED = 63  # matured forecasts over which coverage is measured
MEMORY = 252  # forecasts a score and a confidence are compared with


@dataclass(frozen=True)
class Watched:
    """A frame by session and where it came from; what `watches` it is: "market", "position", "book" or "signal".

    Identical rows of one session count once; rows that differ are refused.
    """

    subject: str
    watches: str
    frame: pd.DataFrame
    mode: str
    content: tuple[str, ...] = ()  # hashes of the sealed content it was made of
    withheld: str = field(default="", compare=False)  # why no alert may rest on it

    def __post_init__(self) -> None:
        frame = self.frame.sort_index(kind="stable")
        frame = frame[~frame.assign(_=frame.index).duplicated()]
        if not frame.index.is_unique:
            twice = frame.index[frame.index.duplicated()][0]
            raise BadInput(f"{self.subject} has two different rows of {twice:%Y-%m-%d}; find out which one is right")
        object.__setattr__(self, "frame", frame)

    @property
    def session(self) -> str:
        """The last session, as text."""
        return str(pd.Timestamp(self.frame.index[-1]).date())


def unfit(*bars: Dataset) -> str:
    """Why no alert may rest on bars: as traded, or with an error in the last 300 sessions; "" where one may."""
    for b in bars:
        if b.kind != "bars":
            return f"{b.name} is a frame of {b.kind}; alerts need daily bars adjusted for splits and dividends"
        errors = [f for f in judge(Dataset(b.frame.tail(RECENT), b.name, b.kind)).findings if f.severity == "error"]
        if errors:
            return f"{b.name}, rule {errors[0].rule}: {errors[0].message}; {errors[0].remedy}"
    return ""


# --- markets --------------------------------------------------------------------------------------------------


def market(found: Regimes, bars: Dataset) -> Watched:
    """The regimes of a ticker's market, and the bars they were made of."""
    origin = gate.verify(found.data, "alerts")
    return Watched(found.data.name, "market", found.history, origin.mode, (origin.content_sha256,), unfit(bars))


# --- positions ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Position:
    """A long position, entered at the close of a session.

    Prices are adjusted ones, so a later split moves no stop; dividends count for the holder.

    Parameters
    ----------
    ticker, entered : what, and the session (or the first after that day).
    stop, target : fractions below and above the entry, 0.05 and 0.10.
    atr : multiples of the average true range of 14 sessions for the stop instead; None for the fraction.
    horizon : sessions it is entered for.
    closed : the day on which it was closed; None while it is held.
    price : what was paid a share, in the prices of the bars; default the close.
    account : to which it belongs, where there is one.
    """

    ticker: str
    entered: str
    stop: float = 0.05
    target: float = 0.10
    atr: float | None = None
    horizon: int = 63
    closed: str | None = None
    price: float | None = None
    account: str = ""

    def __post_init__(self) -> None:
        day(self.entered, "entered")
        day(self.closed, "closed")
        if not (0 < self.stop < 1 and self.target > 0 and self.horizon >= 1 and (self.atr is None or self.atr > 0)):
            raise BadInput(f"{self.subject}: stop lies between 0 and 1, target, atr and horizon are above 0")

    @property
    def subject(self) -> str:
        """Account, ticker and entry."""
        return f"{self.account and f'{self.account}/'}{self.ticker}@{self.entered}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Read `MSFT@2008-09-02`."""
        ticker, at, entered = text.partition("@")
        if not at:
            raise BadInput(f"{text[:60]!r} is no position; write TICKER@YYYY-MM-DD, the day of entry")
        return cls(ticker, entered)


def position(held: Position, bars: Dataset) -> Watched:
    """A position from its entry on, by the bars of its ticker."""
    origin = gate.verify(bars, "alerts")
    frame = held_frame(held, bars.frame)
    return Watched(held.subject, "position", frame, origin.mode, (origin.content_sha256,), unfit(bars))


def held_frame(held: Position, bars: pd.DataFrame) -> pd.DataFrame:
    """By session from the entry on: prices, entry, stop, target, age (sessions), held, and `slip`.

    `slip` is how far, as a fraction of the stop, the open lay below it: what a stop order cannot prevent.
    """
    at = int(bars.index.searchsorted(pd.Timestamp(held.entered)))
    if at >= len(bars):
        raise NotEnoughHistory(f"{held.subject} is entered after {bars.index[-1]:%Y-%m-%d}, the last session there is")
    f = bars.iloc[at:]
    f = pd.DataFrame({c: f.get(c, f["close"]) for c in ("open", "high", "low", "close")})
    entry = held.price or float(f["close"].iloc[0])
    stop = entry * (1 - held.stop) if held.atr is None else entry - held.atr * true_range(bars.iloc[: at + 1])
    f["entry"], f["stop"], f["target"] = entry, stop, entry * (1 + held.target)
    f["age"], f["horizon"] = np.arange(float(len(f))), float(held.horizon)
    f["held"] = f.index <= pd.Timestamp(held.closed) if held.closed else True
    f["slip"] = (1 - f["open"] / stop).clip(lower=0.0)
    return f


def true_range(bars: pd.DataFrame, sessions: int = 14) -> float:
    """Mean true range of the last sessions, in dollars (Wilder, 1978, with equal weights); of closes their changes."""
    before, high, low = bars["close"].shift(), bars.get("high", bars["close"]), bars.get("low", bars["close"])
    wide = pd.Series(np.maximum(high, before) - np.minimum(low, before), bars.index)
    if wide.notna().sum() < sessions:
        raise NotEnoughHistory(f"an average true range needs {sessions} sessions before the entry")
    return float(wide.tail(sessions).mean())


# --- books ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Book:
    """Weights that were bought at the close of a session and drift since; what is not in them is cash.

    Parameters
    ----------
    name, entered : what it is called, and when it was last traded to its weights.
    weights : ticker -> target, each from 0 to 1, together at most 1.
    limit, worst : weight of one position, and loss from the peak, that are too much; NaN for none.
    """

    name: str
    entered: str
    weights: Mapping[str, float]
    limit: float = np.nan
    worst: float = WORST

    def __post_init__(self) -> None:
        day(self.entered, "entered")
        check_weights(self.name, self.weights)


def check_weights(name: str, weights: Mapping[str, float]) -> None:
    """Refuse weights that are none: each is from 0 to 1, and together they are at most 1."""
    w = list(weights.values())
    if not w or not all(isinstance(x, int | float) and x >= 0 for x in w) or sum(w) > 1 + 1e-9:
        raise BadInput(f"the weights of {name} must be from 0 to 1, and together at most 1")


def book(held: Book, bars: Mapping[str, Dataset]) -> Watched:
    """A book from its last trade on, by the bars of its tickers."""
    origins = [gate.verify(b, "alerts") for b in bars.values()]
    frame = drift(held, {t: b.frame["close"] for t, b in bars.items()})
    content = tuple(o.content_sha256 for o in origins)
    return Watched(held.name, "book", frame, origins[0].mode, content, unfit(*bars.values()))


def drift(held: Book, closes: "Mapping[str, pd.Series[float]]") -> pd.DataFrame:
    r"""How far the weights drifted from their targets, by session, and what the book lost; see `book_frame`.

    .. math:: w_{i,t} = \frac{w_i P_{i,t} / P_{i,0}}{1 - \sum_j w_j + \sum_j w_j P_{j,t} / P_{j,0}}
    """
    prices = pd.DataFrame({t: closes[t] for t in held.weights}).dropna().loc[held.entered :]
    if prices.empty:
        raise NotEnoughHistory(f"{held.name} was entered on {held.entered}, and no session after it has all prices")
    target = pd.Series(dict(held.weights))
    grown = prices / prices.iloc[0] * target
    wealth = grown.sum(axis=1) + (1 - target.sum())
    return book_frame(grown.div(wealth, axis=0), wealth, target, limit=held.limit, worst=held.worst)


def book_frame(
    weights: pd.DataFrame, wealth: "pd.Series[float]", target: "pd.DataFrame | pd.Series[float]", *,
    limit: float = np.nan, worst: float = WORST,
) -> pd.DataFrame:  # fmt: skip
    r"""A book by session: `gap` (the largest of a weight to its target), `active` (share), `largest`, `drawdown`.

    .. math:: \text{active} = \tfrac12 \sum_i |w_{i,t} - w_i|, \text{ cash among them}

    Parameters
    ----------
    weights : (t, n) of names; what they leave is cash. `target` is like it, or one row for all sessions.
    wealth : (t,) of one unit, without what was brought in or taken out.

    References
    ----------
    Cremers and Petajisto (2009), *How Active Is Your Fund Manager?*, Review of Financial Studies 22.
    """
    away = weights - target
    made = {"gap": away.abs().max(axis=1), "active": (away.abs().sum(axis=1) + away.sum(axis=1).abs()) / 2}
    # one unit was there at first, so a loss on the first session is a loss
    made |= {"largest": weights.max(axis=1), "wealth": wealth, "drawdown": 1 - wealth / wealth.cummax().clip(lower=1.0)}
    return pd.DataFrame(made).assign(limit=limit, worst=worst)


# --- signals --------------------------------------------------------------------------------------------------


def signal(evaluation: Evaluation, *, evidence: bool = False, as_of: Day = None) -> Watched:
    """The signals of one model on one ticker; `evidence` says whether the leaderboard found any."""
    subject = f"{evaluation.model} on {evaluation.ticker}"
    if trials.load(evaluation.key) is None:
        gate.refuse(f"the evaluation of {subject}", "has no row in the ledger of trials", "make it by mt.evaluate(...)")
    frame = signals(until(evaluation, as_of), evidence=evidence)
    return Watched(subject, "signal", frame, settings().data_mode, (evaluation.key,))


def until(evaluation: Evaluation, as_of: Day) -> Evaluation:
    """The forecasts up to a day, without the outcomes that were not known then."""
    last = day(as_of, "as_of")
    if last is None:
        return evaluation
    f = evaluation.forecasts.loc[:last]
    matured = np.arange(len(f)) < len(f) - evaluation.horizon - 1
    return replace(evaluation, forecasts=f.assign(y=f["y"].where(matured)))


def signals(evaluation: Evaluation, *, evidence: bool = False) -> pd.DataFrame:
    """What the forecasts of a model say by session, by what had matured then.

    Returns
    -------
    (n, k) frame: forecast, upper, close; `score` (0 to 100: share of the last 252 forecasts per volatility that lay
    lower); `confidence` (0 to 100: share of the last 252 matured errors that would leave the sign as forecast);
    `evidence`; `hit` (1 where the last matured forecast had the right sign); `coverage` of the last 63 matured
    intervals, and the band in which 95 % of honest ones would lie, of as many independent outcomes as there are
    horizons in 63 sessions.
    """
    f, lag = evaluation.forecasts, evaluation.horizon + 1
    per = f["forecast"] / f["scale"]
    error = ((f["y"] - f["forecast"]) / f["scale"]).shift(lag)
    out = f[["forecast", "upper", "close"]].copy()
    out["score"] = 100 * per.rolling(MEMORY, min_periods=63).rank(pct=True)
    out["confidence"] = 100 * _agreement(per.to_numpy(float), error.to_numpy(float))
    out["evidence"] = evidence
    known = f["y"].notna() & f["upper"].notna()
    out["hit"] = (np.sign(f["y"]) == np.sign(f["forecast"])).astype(float).where(f["y"].notna()).shift(lag)
    held = f["y"].between(f["lower"], f["upper"]).astype(float).where(known).shift(lag)
    out["coverage"] = held.rolling(COVERED).mean()
    n = max(COVERED // evaluation.horizon, 1)
    low, high = stats.binom.interval(0.95, n, 0.9)
    return out.assign(band_low=low / n, band_high=high / n)


def _agreement(forecast: Any, errors: Any) -> Any:
    """Share of the errors known at each row, the latest 252, with which the outcome has the forecast's sign."""
    padded = np.concatenate([np.full(MEMORY - 1, np.nan), errors])
    windows = np.lib.stride_tricks.sliding_window_view(padded, MEMORY)
    agree = (np.sign(forecast[:, None] + windows) == np.sign(forecast[:, None])) & np.isfinite(windows)
    count = np.isfinite(windows).sum(axis=1)
    return np.where(count >= 63, agree.sum(axis=1) / np.maximum(count, 1), np.nan)
