"""The seven kinds of alert as rows of a table: when each fires, when it is over, and what shows that it was right.

A condition reads a frame by session, one for each thing that is watched, and says of every session what was known at
its close. Thresholds to fire and to clear differ, so that a figure which trembles at one of them says its thing once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from mltrainer.trading.regimes.labels import MONTH, QUARTER, YEAR, realized

WEEK = 5
SURE, DOUBT = 0.7, 0.5  # probability of a hidden state, on two closes, at which it counts, and below which it is over
LEAP = 20.0  # points of the regime score in a week
ENTER, LEAVE = (80.0, 70.0), (20.0, 30.0)  # score of a signal that fires, and that clears
SURPRISE = 2.0  # standard deviations of the score's own last 60 sessions
DROP, LOW, BACK = 20.0, 50.0, 10.0  # points of confidence: lost in a week, below, and recovered
GAP = (0.10, 0.08)  # weight off its target that fires, and that clears
ACTIVE = (0.15, 0.10)  # the same of the active share
LIMIT, WORST = 0.10, 0.20  # weight of a position, and loss of a book from its peak, that are too much
NEAR = 0.9  # of the way from entry to target

Fire = Callable[[pd.DataFrame], pd.Series]  # of a frame: which sessions meet the condition
Clear = Callable[[pd.DataFrame, int], pd.Series]  # of a frame and the row that fired: which sessions end it
Right = Callable[[pd.DataFrame], pd.Series]  # of a frame: 1 where an alert would have been right, 0 where wrong, or NaN


@dataclass(frozen=True)
class AlertKind:
    """One condition of one kind.

    Attributes
    ----------
    kind, condition : "stop_loss" and "touched"; together its name.
    severity : "info", "warning", "critical" or "success".
    watches : what its frame is of: "market", "signal", "position" or "book".
    needs : columns without which it is not asked; they are the values an alert shows.
    fire, clear, right : see the module; `right` reads the future and is for replay alone, None where nothing can be.
    cool_down : sessions after it fired in which it does not fire again, even if it was over meanwhile.
    text : the message; it may name `subject` and the columns.
    """

    kind: str
    condition: str
    severity: str
    watches: str
    needs: tuple[str, ...]
    fire: Fire
    clear: Clear
    right: Right | None
    text: str
    cool_down: int = WEEK

    @property
    def name(self) -> str:
        """Kind and condition."""
        return f"{self.kind}/{self.condition}"

    @property
    def standing(self) -> bool:
        """Whether it is worth saying of what began before anybody looked: of what one holds, and not of the news."""
        return self.watches in ("position", "book")

    def says(self, subject: str, values: dict[str, object]) -> str:
        """The message for a subject, with these values in it."""
        return self.text.format(subject=subject, **values)


# --- when they fire, and when they are over -------------------------------------------------------------------


def confirmed(f: pd.DataFrame) -> pd.Series:
    """The hidden state that last had a probability of 0.7 on two closes in a row; NaN before the first."""
    sure = {s: (f[f"p_{s}"] >= SURE) & (f[f"p_{s}"].shift() >= SURE) for s in ("calm", "turbulent")}
    return pd.Series(np.select(list(sure.values()), list(sure), ""), f.index).replace("", np.nan).ffill()


def becomes(f: pd.DataFrame, *, state: str) -> pd.Series:
    """Another hidden state is confirmed."""
    now, before = confirmed(f), confirmed(f).shift()
    return (now == state) & before.notna() & (before != state)


def doubtful(f: pd.DataFrame, at: int, *, state: str) -> pd.Series:
    """The state is less probable than not."""
    return f[f"p_{state}"] < DOUBT


def leap(f: pd.DataFrame) -> pd.Series:
    """Change of the score in a week; NaN where the two are made of different parts."""
    alike = (f["weight"] - f["weight"].shift(WEEK)).abs() < 1e-9
    return (f["score"] - f["score"].shift(WEEK)).where(alike)


def leaps(f: pd.DataFrame, *, sign: int) -> pd.Series:
    """The score moved by 20 points in a week, up (1) or down (-1)."""
    return sign * leap(f) >= LEAP


def settles(f: pd.DataFrame, at: int, *, sign: int) -> pd.Series:
    """It no longer moves by half of that, or cannot be compared."""
    return ~(sign * leap(f) >= LEAP / 2)


def enters(f: pd.DataFrame) -> pd.Series:
    """The score crosses 80 as it seldom does, with confidence, from a model with evidence."""
    past = f["score"].shift().rolling(60)
    spike = f["score"] >= past.mean() + SURPRISE * past.std()
    crosses = (f["score"] >= ENTER[0]) & (f["score"].shift() < ENTER[0])
    return crosses & spike & (f["confidence"] >= 75) & f["evidence"].astype(bool)


def leaves(f: pd.DataFrame) -> pd.Series:
    """The score is at 20 or below, with confidence."""
    return (f["score"] <= LEAVE[0]) & (f["confidence"] >= 70)


def score_is(f: pd.DataFrame, at: int, *, below: float = np.inf, above: float = -np.inf) -> pd.Series:
    """The score left its threshold behind."""
    return (f["score"] < below) & (f["score"] > above)


def flips(f: pd.DataFrame) -> pd.Series:
    """All of the interval lies below zero, after a forecast above zero in the last week."""
    return (f["upper"] < 0) & (f["forecast"].shift().rolling(WEEK, min_periods=1).max() > 0)


def unsure(f: pd.DataFrame, at: int) -> pd.Series:
    """The interval holds zero again."""
    return f["upper"] >= 0


def loses(f: pd.DataFrame) -> pd.Series:
    """Confidence fell by 20 points in a week, below 50."""
    return (f["confidence"] <= f["confidence"].shift(WEEK) - DROP) & (f["confidence"] < LOW)


def recovers(f: pd.DataFrame, at: int) -> pd.Series:
    """Confidence is 10 points above where it had fallen to."""
    return f["confidence"] >= f["confidence"].iloc[at] + BACK


def miscovers(f: pd.DataFrame) -> pd.Series:
    """Intervals held less or more outcomes than 95 % of honest ones would."""
    return (f["coverage"] < f["band_low"]) | (f["coverage"] > f["band_high"])


def expires(f: pd.DataFrame) -> pd.Series:
    """The horizon of a position is reached."""
    return f["held"] & (f["age"] >= f["horizon"])


def stopped(f: pd.DataFrame) -> pd.Series:
    """The low is at the stop or below, on a session after the entry."""
    return f["held"] & (f["age"] > 0) & (f["low"] <= f["stop"])


def gets(f: pd.DataFrame, *, share: float) -> pd.Series:
    """The high is so far on the way from entry to target."""
    return f["held"] & (f["age"] > 0) & (f["high"] >= f["entry"] + share * (f["target"] - f["entry"]) - 1e-9)


def closed(f: pd.DataFrame, at: int) -> pd.Series:
    """The position is closed."""
    return ~f["held"]


def beyond(f: pd.DataFrame, *, column: str, band: float) -> pd.Series:
    """A distance from the target is above its band."""
    return f[column] > band


def inside(f: pd.DataFrame, at: int, *, column: str, band: float) -> pd.Series:
    """It is well inside the band again."""
    return f[column] <= band


def falls(f: pd.DataFrame) -> pd.Series:
    """A book has lost as much from its peak as it may."""
    return f["drawdown"] >= f["worst"] - 1e-9


def half_back(f: pd.DataFrame, at: int) -> pd.Series:
    """It has won back half of that, or more."""
    return f["drawdown"] <= f["worst"] / 2


def outgrows(f: pd.DataFrame) -> pd.Series:
    """The largest position has more of the wealth than one may have."""
    return f["largest"] > f["limit"]


def shrinks(f: pd.DataFrame, at: int) -> pd.Series:
    """It is well below that again."""
    return f["largest"] <= GAP[1] / GAP[0] * f["limit"]


# --- whether they were right: replay alone may ask ------------------------------------------------------------


def _said(right: pd.Series, *known: pd.Series) -> pd.Series:
    whole = pd.concat(known, axis=1).notna().all(axis=1)
    return right.astype(float).where(whole)


def wilder(f: pd.DataFrame, *, than_before: bool = True) -> pd.Series:
    """The volatility of the next month is above (or below) the median of the past."""
    now = realized(f["close"])
    ahead, median = now.shift(-MONTH), now.expanding(YEAR).median()
    return _said(ahead > median if than_before else ahead < median, ahead, median)


def pays(f: pd.DataFrame, *, sign: int) -> pd.Series:
    """The close five sessions after tomorrow's is higher (1) or lower (-1) than tomorrow's."""
    entry, leave = f["close"].shift(-1), f["close"].shift(-1 - WEEK)
    return _said(sign * (leave - entry) > 0, entry, leave)


def errs(f: pd.DataFrame) -> pd.Series:
    """Of the next month's forecasts, fewer than half have the right sign."""
    hits = f["hit"].rolling(MONTH).mean().shift(-MONTH)
    return _said(hits < 0.5, hits)


def stays_off(f: pd.DataFrame) -> pd.Series:
    """The coverage of the sessions after those it was measured on is outside the band too."""
    ahead = f["coverage"].shift(-QUARTER)
    return _said((ahead < f["band_low"]) | (ahead > f["band_high"]), ahead, f["band_low"])


def spares(f: pd.DataFrame) -> pd.Series:
    """A month later the close is below where one left: at the stop, the open that gapped through it, or the close."""
    left = f["close"].where(f["low"] > f["stop"], np.minimum(f["stop"], f["open"]))
    ahead = f["close"].shift(-MONTH)
    return _said(ahead < left, ahead)


def arrives(f: pd.DataFrame) -> pd.Series:
    """Within a month the high is a tenth of the way, from entry to target, above the close."""
    ahead = f["high"][::-1].rolling(MONTH).max()[::-1].shift(-1)
    return _said(ahead >= f["close"] + (1 - NEAR) * (f["target"] - f["entry"]), ahead)


def tops(f: pd.DataFrame) -> pd.Series:
    """A month later the close is below where one left: at the target, or at the close."""
    left = f["close"].where(f["high"] < f["target"], np.maximum(f["target"], f["open"]))
    ahead = f["close"].shift(-MONTH)
    return _said(ahead < left, ahead)


def stays_beyond(f: pd.DataFrame, *, column: str, band: float) -> pd.Series:
    """A month later, with nothing traded, it is beyond the band still: waiting would not have mended it."""
    ahead = f[column].shift(-MONTH)
    return _said(ahead > band, ahead)


def falls_on(f: pd.DataFrame) -> pd.Series:
    """A month later the book is worth less: it would have paid to leave."""
    ahead = f["wealth"].shift(-MONTH)
    return _said(ahead < f["wealth"], ahead)


def stays_large(f: pd.DataFrame) -> pd.Series:
    """A month later it is too large still: waiting would not have mended it."""
    ahead = f["largest"].shift(-MONTH)
    return _said(ahead > f["limit"], ahead, f["limit"])


# --- the table ------------------------------------------------------------------------------------------------


def _state(state: str, severity: str) -> AlertKind:
    text = f"{{subject}}: {state} with probability {{p_{state}:.2f}}, on two closes"
    fire, clear = partial(becomes, state=state), partial(doubtful, state=state)
    right = partial(wilder, than_before=state == "turbulent")
    return AlertKind("regime_change", state, severity, "market", ("p_calm", "p_turbulent"), fire, clear, right, text)


def _leap(condition: str, severity: str, sign: int) -> AlertKind:
    fire, clear, right = partial(leaps, sign=sign), partial(settles, sign=sign), partial(wilder, than_before=sign < 0)
    text = f"{{subject}}: the regime score {condition} by 20 points or more in a week, to {{score:.0f}}"
    return AlertKind("regime_change", condition, severity, "market", ("score", "weight"), fire, clear, right, text)


def _gets(condition: str, severity: str, share: float, right: Right) -> AlertKind:
    text = f"{{subject}}: {condition} of the way to the target {{target:.2f}}, high {{high:.2f}}"
    needs = ("held", "age", "high", "entry", "target")
    fire = partial(gets, share=share)
    return AlertKind("target_reached", condition, severity, "position", needs, fire, closed, right, text)


def _off(condition: str, column: str, bands: tuple[float, float], text: str) -> AlertKind:
    fire, clear = partial(beyond, column=column, band=bands[0]), partial(inside, column=column, band=bands[1])
    right = partial(stays_beyond, column=column, band=bands[0])
    return AlertKind("portfolio_deviation", condition, "warning", "book", (column,), fire, clear, right, text)


SIGNAL = ("score", "confidence")
KINDS: tuple[AlertKind, ...] = (
    _state("turbulent", "warning"),
    _state("calm", "info"),
    _leap("falls", "critical", -1),
    _leap("rises", "info", 1),
    AlertKind(
        *("entry_signal", "crosses", "info", "signal", (*SIGNAL, "evidence"), enters),
        *(partial(score_is, below=ENTER[1]), partial(pays, sign=1)),
        "{subject}: score {score:.0f} with confidence {confidence:.0f}",
    ),
    AlertKind(
        *("exit_signal", "score", "warning", "signal", SIGNAL, leaves),
        *(partial(score_is, above=LEAVE[1]), partial(pays, sign=-1)),
        "{subject}: score {score:.0f} with confidence {confidence:.0f}",
    ),
    AlertKind(
        *("exit_signal", "flip", "warning", "signal", ("forecast", "upper"), flips, unsure, partial(pays, sign=-1)),
        "{subject}: the forecast is {forecast:.2%}, and all of its interval lies below zero",
    ),
    AlertKind(
        *("exit_signal", "horizon", "info", "position", ("held", "age", "horizon"), expires, closed, None),
        "{subject}: held {age:.0f} sessions, the horizon it was entered for",
    ),
    AlertKind(
        *(
            "stop_loss",
            "touched",
            "critical",
            "position",
            ("held", "age", "open", "low", "stop", "slip"),
            stopped,
            closed,
        ),
        *(spares, "{subject}: low {low:.2f} at or below the stop {stop:.2f}; the open gapped {slip:.2%} through it"),
    ),
    AlertKind(
        *("stop_loss", "drawdown", "critical", "book", ("drawdown", "worst", "wealth"), falls, half_back, falls_on),
        "{subject}: down {drawdown:.1%} from its peak, where {worst:.0%} is the most it may lose",
    ),
    _gets("90 %", "info", NEAR, arrives),
    _gets("100 %", "success", 1.0, tops),
    AlertKind(
        *("confidence_drop", "points", "warning", "signal", ("confidence",), loses, recovers, errs),
        "{subject}: confidence fell by 20 points or more in a week, to {confidence:.0f}",
    ),
    AlertKind(
        *("confidence_drop", "coverage", "warning", "signal", ("coverage", "band_low", "band_high"), miscovers),
        *(lambda f, at: ~miscovers(f), stays_off),
        "{subject}: intervals held {coverage:.0%} of the last outcomes, honest ones {band_low:.0%} to {band_high:.0%}",
    ),
    _off("weight", "gap", GAP, "{subject}: a weight is {gap:.1%} off its target"),
    _off("active share", "active", ACTIVE, "{subject}: active share {active:.1%} against the target"),
    AlertKind(
        *("portfolio_deviation", "position", "warning", "book", ("largest", "limit"), outgrows, shrinks, stays_large),
        "{subject}: the largest position has {largest:.1%} of the wealth, where {limit:.0%} is the most it may have",
    ),
)
