"""Does the economy grow or shrink, by what had been published? Never by NBER's dates, which come a year late."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas as pd

from mltrainer.features import macro
from mltrainer.features.macro import Known

ECONOMY = ("contraction", "expansion")
RECESSION = 0.5  # percentage points


def sahm(known: Known, newest: pd.Timestamp) -> float:
    r"""Sahm's indicator: the three-month mean of unemployment less its least of the twelve months before, in points.

    .. math:: s_m = \bar u_m - \min(\bar u_{m-1}, \dots, \bar u_{m-12})

    Of a quarterly series a quarter is such a mean, and the four quarters before are the twelve months. NaN where one of
    them was not published.

    References
    ----------
    Sahm (2019), *Direct Stimulus Payments to Individuals*, in Recession Ready: a recession has begun at 0.5 points.
    """
    if earlier(newest, 1) in known:
        means = [float(np.mean([known.get(earlier(newest, m + k), np.nan) for k in range(3)])) for m in range(13)]
    else:
        means = [known.get(earlier(newest, 3 * q), np.nan) for q in range(5)]
    return float(means[0] - np.min(means[1:]))  # np.min, and not min, says NaN of what is missing


@cache
def earlier(period: pd.Timestamp, months: int) -> pd.Timestamp:
    """The first day of the month so many months before."""
    count = period.year * 12 + period.month - 1 - months
    return pd.Timestamp(count // 12, count % 12 + 1, 1)


@dataclass(frozen=True)
class Evidence:
    """One thing the economy says, and how it becomes a score: 0 at `worst`, 100 at `best`, a line between."""

    name: str
    series: tuple[str, ...]  # the first that is given
    max_age_days: int
    change: Callable[..., float]
    worst: float
    best: float
    text: str

    def score(self, values: "pd.Series[float]") -> "pd.Series[float]":
        """From 0 to 100, NaN where nothing is known."""
        return 100 * ((values - self.worst) / (self.best - self.worst)).clip(0, 1)


EVIDENCE = (
    Evidence("sahm", ("UNRATE", "unemp"), macro.QUARTERLY, sahm, RECESSION, 0.0, "Sahm's indicator, points"),
    Evidence("curve", ("T10Y3M",), macro.DAILY, macro.level, -0.5, 1.0, "10-year yield less the 3-month bill's, %"),
    Evidence(
        "inflation",
        ("CPIAUCSL", "cpi"),
        macro.QUARTERLY,
        partial(macro.growth, months=12),
        0.06,
        0.02,
        "consumer prices over a year, fraction",
    ),
)
SERIES = {name for row in EVIDENCE for name in row.series}


def read(series: Mapping[str, pd.DataFrame], sessions: pd.DatetimeIndex) -> pd.DataFrame:
    """What had been published by each session.

    Parameters
    ----------
    series : macro observations by name, with the day each became available; see `features.macro.asof`.
    sessions : (n,) session dates.

    Returns
    -------
    (n, 5) frame: sahm, curve and inflation (NaN before the first, when too old, and without the series), `economy`
    (contraction once Sahm's indicator is at 0.5 or above, else expansion; NaN where it is unknown) and `macro`, the
    mean of their scores.
    """
    columns, scores = {}, {}
    for row in EVIDENCE:
        name = next((n for n in row.series if n in series), None)
        if name is None:
            columns[row.name] = pd.Series(np.nan, sessions)
        else:
            columns[row.name] = macro.asof(series[name], sessions, max_age_days=row.max_age_days, change=row.change)
        scores[row.name] = row.score(columns[row.name])
    known = columns["sahm"]
    # 0.5 is said of figures with one digit: 5.4 - 4.9 in binary is a little less
    state = pd.Series(np.where(known.round(9) >= RECESSION, *ECONOMY), sessions).where(known.notna())
    return pd.DataFrame({**columns, "economy": state, "macro": pd.DataFrame(scores).mean(axis=1)}, index=sessions)
