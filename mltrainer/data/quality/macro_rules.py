"""What we ask of macro observations: when each was published, whether one is missing, whether the next is overdue."""

from functools import cached_property
from typing import ClassVar

import pandas as pd

from mltrainer.data.quality import bar_rules
from mltrainer.data.quality.case import Case, Hit, Rule

# Longest step between two periods, the pandas period, and after how many days without news a series is overdue: two
# releases and a holiday, as the features forget a value.
FREQUENCIES = (
    (4, "D", "daily", 7),
    (10, "W", "weekly", 21),
    (45, "M", "monthly", 62),
    (135, "Q", "quarterly", 184),
    (500, "Y", "yearly", 740),
)
MOST_MISSING = 0.05
LEAST_PERIODS = 12  # that tell what is usual


class Observations(Case):
    """A macro series before its rules: index period, columns value and available, one row a period and vintage."""

    keys: ClassVar[list[str]] = ["available"]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows in order of period, then of vintage."""
        return self.raw.sort_values("available", kind="stable").sort_index(kind="stable")

    @cached_property
    def told(self) -> "pd.Series[float]":
        """The newest value of each period; NaN where it was published as missing."""
        return self.frame["value"].groupby(self.index).tail(1)

    @cached_property
    def asof(self) -> pd.Timestamp:
        """The day on which it is judged, else the last it tells of, be it of a period or of a release."""
        return self.judged or max(self.index[-1], self.frame["available"].max())  # in this order, for NaT

    @cached_property
    def frequency(self) -> tuple[int, str, str, int]:
        """The row of `FREQUENCIES` that the usual step between two periods falls in."""
        days = self.told.index.to_series().diff().dt.days.median()
        return next((row for row in FREQUENCIES if not days > row[0]), FREQUENCIES[-1])

    @cached_property
    def missing(self) -> pd.DatetimeIndex:
        """Periods between the first and the last that have no number; for a daily series, sessions of the exchange."""
        known, unit = pd.DatetimeIndex(self.told.dropna().index), self.frequency[1]
        if known.empty:
            return pd.DatetimeIndex(self.told.index)
        if unit == "D":
            return self.calendar[self.calendar.slice_indexer(known[0], known[-1])].difference(known)
        there = known.to_period(unit)
        return pd.DatetimeIndex(pd.period_range(there[0], there[-1], freq=unit).difference(there).to_timestamp())

    @property
    def completeness(self) -> float:
        """Share of the periods between the first and the last that have a number."""
        known = int(self.told.notna().sum())
        return known / max(known + len(self.missing), 1)

    @property
    def age(self) -> int:
        """Days since anything became available."""
        return max(0, (self.asof - self.frame["available"].max()).days)


def _published(case: Observations) -> Hit:
    early = ~(case.frame["available"].to_numpy() >= case.index.to_numpy())  # no day at all is no later day
    return Hit(case.index[early], "rows are available before their period begins, or never")


def _blank(case: Observations) -> Hit:
    blank = case.told.isna()
    severity = "" if blank.mean() > MOST_MISSING else "info"
    return Hit(blank.index[blank], f"periods have no value, {blank.mean():.1%} of all", severity)


def _spike(case: Observations) -> Hit | None:
    """A value farther outside of all others than these lie apart, which is back the period after: a digit or a unit.

    The outermost hundredth on either side is left out of what others span, so that several do not hide each other. The
    newest may yet turn out to be true: the first print of a crash is no error.
    """
    newest, value = case.told.dropna(), case.frame["value"].dropna()
    if len(newest) < LEAST_PERIODS:
        return None
    low = float(newest.quantile(0.01, interpolation="higher"))
    high = float(newest.quantile(0.99, interpolation="lower"))
    before, after = (newest.shift(n).reindex(value.index) for n in (1, -1))
    wide = high - low
    far = ((value - high > wide) | (low - value > wide)) & (wide > 0)
    back = ((after - before).abs() < 0.2 * (value - before).abs()) | before.isna()
    hit = (far & (back | after.isna())).to_numpy()
    severity = "warning" if after[hit].isna().all() else ""
    notes = [f"{v:g}" for v in value[hit]]
    return Hit(value.index[hit], "values stand far outside of all others", severity, notes)


def _gap(case: Observations) -> Hit:
    """One day without a number is a holiday of the source; three sessions in a row are a gap."""
    found, what = case.missing, "periods have no number"
    if case.frequency[1] == "D":
        what = "sessions without a number, three or more in a row"
        at = pd.Series(case.calendar.get_indexer(found), dtype=int)
        found = found[at.groupby((at.diff() != 1).cumsum()).transform("size").to_numpy() >= 3]
    return Hit(found, f"{what} ({case.frequency[2]} series)")


def _overdue(case: Observations) -> Hit | None:
    _, _, name, allowed = case.frequency
    says = f"days have passed since anything became available; a {name} series is overdue after {allowed}"
    last = pd.DatetimeIndex([case.frame["available"].max()])
    return Hit(last, says, rows=case.age) if case.age > allowed else None


AGAIN = "ask the source again"
DIGIT = "look for a digit or a unit, and ask the source again"
MACRO: tuple[Rule, ...] = (
    Rule("duplicate", "warning", "no vintage is there twice", "nothing is lost by dropping them", bar_rules.duplicate),
    Rule("conflict", "error", "no vintage has two values", bar_rules.NEITHER, bar_rules.conflict),
    Rule("published", "error", "nothing is available before its period begins", "check vintage and lag", _published),
    Rule("future", "error", "no period begins after the day of judgment", "check clock and unit", bar_rules.future),
    Rule("blank", "warning", f"at most {MOST_MISSING:.0%} of periods were published as missing", AGAIN, _blank),
    Rule("spike", "error", "no value leaps far outside of all others and is back the period after", DIGIT, _spike),
    Rule("gap", "warning", "no period is missing; for a daily series, no three sessions in a row", AGAIN, _gap),
    Rule("overdue", "warning", "the next release is not overdue", AGAIN, _overdue),
    bar_rules.AGREEMENT,
)
