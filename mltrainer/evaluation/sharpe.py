"""A verdict on returns that somebody brings along: is their Sharpe ratio more than the best of all trials by luck?

Where such returns come from cannot be shown, so they are of unproven origin, whatever they say: a backtest that saw the
future passes every test of its returns. Nothing is written to the ledger, and nobody but the caller knows how many
variants there were; that number decides the verdict.
"""

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from mltrainer import metrics
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation import judgments, skill
from mltrainer.metrics.base import Array, long_run_variance

LEAST = 20  # returns below which no verdict is given
ORIGIN = "of unproven origin"


@dataclass(frozen=True)
class SharpeTest:
    """What returns of unproven origin show; ratios are annual.

    Attributes
    ----------
    sharpe, low, high : the ratio, and its interval with probability `confidence`.
    error : its standard error under skewed, fat-tailed and dependent returns; `dependence` is the factor by which what
        returns share with their neighbors widens it, 1 where they share nothing.
    above : the ratio to beat; `probabilistic` the probability that the true one is above it.
    trials : how many were tried, as counted here: `said` by the caller, or those of the `ledger` where they are more.
    threshold : the best ratio to expect of so many trials without skill (plus `above`); `deflated` the probability
        that the true ratio is above that.
    track_record : periods that returns like these need to be told from `above` (MinTRL); NaN where never.
    backtest : years below which so many trials without skill show a ratio as good (MinBTL); NaN for a single trial.
    n, periods : returns, and how many make a year; counted : those of missing sessions, counted as 0.
    start, end : first and last session, "" for plain arrays.
    beta : of the benchmark that was taken out; NaN where there was none.
    """

    sharpe: float
    low: float
    high: float
    error: float
    dependence: float
    above: float
    probabilistic: float
    trials: int
    said: int
    ledger: int
    threshold: float
    deflated: float
    track_record: float
    backtest: float
    n: int
    periods: float
    counted: int
    start: str
    end: str
    beta: float
    confidence: float

    @property
    def verdict(self) -> str:
        """The default is "no evidence of skill"; without a benchmark, evidence may be of exposure."""
        if not np.isfinite(self.sharpe):
            return "no verdict: the returns do not vary"
        if not self.deflated >= self.confidence:
            return f"{skill.NO_EVIDENCE}, {ORIGIN}"
        what = "after its benchmark" if np.isfinite(self.beta) else "skill or exposure"
        return f"evidence of more than luck ({what}), {ORIGIN}{', unusually strong' if self.strong else ''}"

    @property
    def strong(self) -> bool:
        """Whether it is better than what is believed without a look: beyond 2 by two null spreads."""
        null = np.sqrt(self.periods / self.n) * self.dependence
        return bool(self.sharpe - 2 * null > skill.STRONG["timing_sharpe"])

    def sentence(self) -> str:
        """All of it in words."""
        if not np.isfinite(self.sharpe):
            return f"{self.verdict[0].upper()}{self.verdict[1:]}."
        said = [self._what(), self._luck(), f"Verdict: {self.verdict}.", self._lengths()]
        if self.strong:
            said.append("Look for look-ahead first: returns alone cannot be tested for it.")
        if not np.isfinite(self.beta):
            said.append("What was earned by being in the market is in it; give `benchmark` to take that out.")
        return " ".join(said)

    def _what(self) -> str:
        span = f", {self.start} to {self.end}" if self.start else ""
        hedged = f" after {self.beta:.2f} of the benchmark" if np.isfinite(self.beta) else ""
        filled = f" ({self.counted} missing ones counted as 0)" if self.counted else ""
        return (
            f"Sharpe ratio {self.sharpe:.2f} a year{hedged}, {self.confidence:.0%} between {self.low:.2f} and "
            f"{self.high:.2f}, over {self.n:,} returns{filled}{span}."
        )

    def _luck(self) -> str:
        chance = f"The true one is above {self.above:g} with probability {self.probabilistic:.3f}"
        if self.trials < 2:
            return f"{chance}; that nothing else was tried is taken on trust."
        return (
            f"{chance}, and above {self.threshold:.2f}, the best of {self.trials:,} trials without skill "
            f"({self.said:,} said, {self.ledger:,} of the ledger), with probability {self.deflated:.3f}."
        )

    def _lengths(self) -> str:
        if not np.isfinite(self.track_record):
            return f"No track record of such returns is long enough to tell it from {self.above:g}."
        needs = f"To tell it from {self.above:g} takes {np.ceil(self.track_record):,.0f} returns"
        if not np.isfinite(self.backtest):
            return f"{needs}."
        return f"{needs}; luck alone shows as much in {self.backtest:.1f} years, and there are {self.years:.1f}."

    @property
    def years(self) -> float:
        """Years of the returns."""
        return self.n / self.periods

    def __repr__(self) -> str:
        """Say the verdict in one line."""
        return f"SharpeTest({self.sharpe:.2f} a year, deflated {self.deflated:.3f}: {self.verdict})"

    def _repr_html_(self) -> str:
        rows = (
            ("Sharpe ratio, annual", self.sharpe, f"{self.sharpe:.2f} ({self.low:.2f} to {self.high:.2f})"),
            (f"Probability above {self.above:g}", self.probabilistic, f"{self.probabilistic:.3f}"),
            (f"Best of {self.trials:,} trials by luck", self.backtest, f"{self.threshold:.2f}"),
            ("Deflated: probability above that", self.deflated, f"{self.deflated:.3f}"),
            ("Minimum track record", self.track_record, f"{self.track_record:,.0f} returns; there are {self.n:,}"),
            ("Minimum backtest", self.backtest, f"{self.backtest:.1f} years; there are {self.years:.1f}"),
        )
        cells = "".join(f"<tr><th>{escape(k)}</th><td>{v}</td></tr>" for k, known, v in rows if np.isfinite(known))
        return f"<p>{escape(self.sentence())}</p><table>{cells}</table>"


def sharpe_test(
    returns: ArrayLike,
    *,
    trials: int = 1,
    ledger: bool = True,
    benchmark: ArrayLike | None = None,
    above: float = 0.0,
    spread: float = 0.0,
    periods: float | None = None,
    confidence: float = 0.95,
    missing: str = "refuse",
) -> SharpeTest:
    """Judge the returns of your own strategy: is their Sharpe ratio more than the best of all trials by luck?

    Parameters
    ----------
    returns : (n,) simple returns per session, net of costs, and in excess of the risk-free rate if there is one. A
        Series by session, from daily to yearly, or a plain array in the order of time, daily unless `periods` says so.
    trials : how many strategies and variants were tried until this one, itself included. Be honest: it decides.
    ledger : count the independent trials of the ledger as well, if they are more than `trials`.
    benchmark : returns of the same sessions; beta times them is taken out, so that being in the market is no skill.
    above : the annual Sharpe ratio to beat.
    spread : standard deviation of the annual Sharpe ratios of all trials, if you know it; never taken as less than
        what luck gives over as many returns.
    periods : returns in a year, default by the dates.
    confidence : of the interval and of the verdict.
    missing : what a missing session is: "refuse", "count" or "drop", see `metrics.frequencies`.

    Returns
    -------
    SharpeTest
        Its `sentence()` says it in words. It is of unproven origin: nothing shows where the returns come from.

    Raises
    ------
    BadInput
        No returns (text, infinite, prices), missing sessions, fewer than one trial.
    NotEnoughHistory
        Fewer than 20 returns.

    Notes
    -----
    The standard error is that of Mertens times the root of the long-run variance over the variance (Bartlett, n^(1/3)
    lags, at least 1): smoothed or overlapping returns know less than they seem to.

    References
    ----------
    Bailey and López de Prado (2012, 2014); Bailey, Borwein, López de Prado and Zhu (2014); Lo (2002), Financial
    Analysts Journal 58(4), 36-52, for dependent returns.
    """
    if int(trials) != trials or trials < 1:
        raise BadInput(f"trials={trials}: at least this one was tried")
    if not 0.5 < confidence < 1:
        raise BadInput(f"confidence={confidence}: a verdict needs one between 0.5 and 1, usually 0.95")
    known, counted = _known(returns, missing)
    r, slope = _hedged(known, benchmark)
    year = float(periods) if periods is not None else _periods(known)
    if not year > 0:
        raise BadInput(f"periods={periods}: a year has at least some returns")
    found = _effective() if ledger else 0
    N = max(int(trials), found)
    sr, error = metrics.sharpe(r, periods=1) * np.sqrt(year), metrics.sharpe_standard_error(r, periods=1)
    wider = _dependence(r)
    error *= np.sqrt(year) * wider
    null = max(spread, float(np.sqrt(year / (len(r) - 1))) * wider)
    threshold = above + (metrics.luck_threshold(null, N) if N > 1 else 0.0)
    z = stats.norm.ppf((1 + confidence) / 2)
    length = metrics.track_record_length(
        sr / np.sqrt(year), benchmark=above / np.sqrt(year), confidence=confidence, **_shape(r)
    )
    return SharpeTest(
        sharpe=sr, low=sr - z * error, high=sr + z * error, error=error, dependence=wider, above=above,
        probabilistic=_chance(sr, above, error), trials=N, said=int(trials), ledger=found, threshold=threshold,
        deflated=_chance(sr, threshold, error), track_record=1 + (length - 1) * wider**2,
        backtest=metrics.minimum_backtest(N, (sr - above) / wider), n=len(r), periods=year, counted=counted,
        start=_day(known, 0), end=_day(known, -1), beta=slope, confidence=confidence,
    )  # fmt: skip


def _known(returns: Any, missing: str) -> "tuple[pd.Series[float], int]":
    """Returns without gaps, and how many missing ones were counted."""
    try:
        r = pd.Series(returns if isinstance(returns, pd.Series) else np.asarray(returns, dtype=float)).astype(float)
    except (TypeError, ValueError) as error:
        raise BadInput("returns are (n,) numbers, a Series by session or an array") from error
    if missing not in metrics.MISSING:
        raise BadInput(f"missing={missing!r}: a missing session is refuse, count or drop")
    if np.isinf(r).any():
        raise BadInput("a return is infinite; somewhere a price is 0")
    r.index = _dated(r.index)
    if isinstance(r.index, pd.DatetimeIndex):
        whole = metrics.complete(r, missing=missing)
    elif r.isna().any() and missing == "refuse":
        raise BadInput(
            f'{int(r.isna().sum())} of {len(r)} returns are missing; missing="count" or "drop" says what then'
        )
    else:
        whole = r.fillna(0.0) if missing == "count" else r.dropna()
    if len(whole) < LEAST:
        raise NotEnoughHistory(f"a verdict needs {LEAST} returns, and there are {len(whole)}")
    if (whole > 0).all():
        raise BadInput("no return is a loss, so these are prices or wealth; give returns: prices.pct_change().dropna()")
    return whole, len(whole) - int(r.notna().sum())


def _dated(index: pd.Index) -> pd.Index:
    """Dates, where the index has them in any form; numbers stay, and mean that there are none."""
    if isinstance(index, pd.PeriodIndex):
        return pd.DatetimeIndex(index.to_timestamp(how="end").normalize())
    if isinstance(index, pd.DatetimeIndex) or pd.api.types.is_numeric_dtype(index):
        return index
    try:
        return pd.DatetimeIndex(index)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the returns are indexed by {index[0]!r}, which is no date; give dates, or an array") from error


def _hedged(r: "pd.Series[float]", benchmark: Any) -> tuple[Array, float]:
    """Returns without what their beta to the benchmark earned, and beta; as they are where there is none."""
    values: Array = np.asarray(r, dtype=np.float64)
    if benchmark is None:
        return values, float("nan")
    if isinstance(benchmark, pd.Series) and isinstance(r.index, pd.DatetimeIndex):
        b = benchmark.set_axis(_dated(benchmark.index)).reindex(r.index).to_numpy(float)
    else:
        b = np.asarray(benchmark, dtype=float)
    if b.shape != values.shape or not np.isfinite(b).all():
        lacks = len(values) - int(np.isfinite(b).sum()) if b.shape == values.shape else len(values)
        raise BadInput(f"the benchmark lacks {lacks} of {len(values)} sessions; give its returns of the same sessions")
    slope = metrics.beta(values, b)
    if not np.isfinite(slope):
        raise BadInput("the benchmark does not vary, so nothing can be taken out")
    return values - slope * b, slope


def _periods(r: "pd.Series[float]") -> float:
    return metrics.periods_in_year(r.index) if isinstance(r.index, pd.DatetimeIndex) else metrics.SESSIONS


def _effective() -> int:
    """Independent trials of the ledger."""
    return int(np.ceil(judgments.judgment().luck["effective"]))


def _dependence(r: Array) -> float:
    """By how much what returns share with their neighbors widens the error of their mean; at least 1."""
    variance = float(np.var(r))
    if not variance > 0:
        return 1.0
    return max(1.0, float(np.sqrt(long_run_variance(r, int(np.ceil(len(r) ** (1 / 3)))) / variance)))


def _shape(r: Array) -> dict[str, float]:
    moves = np.ptp(r) > 0
    skewness, kurtosis = (stats.skew(r), stats.kurtosis(r, fisher=False)) if moves else (0.0, 3.0)
    return {"skewness": float(skewness), "kurtosis": float(kurtosis)}


def _chance(sr: float, than: float, error: float) -> float:
    return float(stats.norm.cdf((sr - than) / error)) if error > 0 else float("nan")


def _day(r: "pd.Series[float]", at: int) -> str:
    return str(r.index[at].date()) if isinstance(r.index, pd.DatetimeIndex) else ""
