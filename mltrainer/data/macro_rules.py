"""What we ask of macro observations: when each was published, whether one is missing, whether the next is overdue."""

from functools import cached_property

import numpy as np
import pandas as pd

from mltrainer.data.bar_rules import SLOW, agreement, repeats
from mltrainer.data.case import Case, Hit, Rule

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


class Observations(Case):
    """A macro series before its rules: index period, columns value and available, one row a period and vintage."""

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows in order of period, then of vintage."""
        at = np.lexsort((self.raw["available"].to_numpy(), self.raw.index.to_numpy()))
        return self.raw.iloc[at]

    @cached_property
    def told(self) -> "pd.Series[float]":
        """The newest value of each period; NaN where it was published as missing."""
        return self.frame["value"].groupby(self.index).tail(1)

    @cached_property
    def exchange(self) -> bool:
        """Every rule is asked; a daily series has a number when the exchange is open, give or take a holiday."""
        return True

    @cached_property
    def frequency(self) -> tuple[int, str, str, int]:
        """The row of `FREQUENCIES` that the usual step between two periods falls in."""
        periods = self.told.index.to_series()
        days = float(periods.diff().dt.days.median()) if len(periods) > 1 else 0.0
        return next((row for row in FREQUENCIES if days <= row[0]), FREQUENCIES[-1])

    @cached_property
    def missing(self) -> pd.DatetimeIndex:
        """Periods between the first and the last that have no number; for a daily series, sessions of the exchange."""
        known = pd.DatetimeIndex(self.told.dropna().index)
        if known.empty:
            return pd.DatetimeIndex(self.told.index)
        if self.frequency[1] == "D":
            days = self.calendar[(self.calendar > known[0]) & (self.calendar < known[-1])]
            return days.difference(known)
        there = known.to_period(self.frequency[1])
        due = pd.period_range(there[0], there[-1], freq=self.frequency[1])
        return pd.DatetimeIndex(due.difference(there).to_timestamp())


def completeness(case: Observations) -> float:
    """Share of the periods between the first and the last that have a number."""
    known = int(case.told.notna().sum())
    return known / max(known + len(case.missing), 1)


def _duplicate(case: Observations) -> Hit | None:
    twice, _ = repeats(case.raw, ["available"])
    return Hit(pd.DatetimeIndex(twice.index), "rows repeat a vintage to the last digit") if len(twice) else None


def _conflict(case: Observations) -> Hit | None:
    _, other = repeats(case.raw, ["available"])
    return Hit(pd.DatetimeIndex(other.index), "rows give a vintage another value") if len(other) else None


def _published(case: Observations) -> Hit | None:
    early = ~(case.frame["available"].to_numpy() >= case.index.to_numpy())  # no day at all is no later day
    return Hit(case.index[early], "rows are available before their period begins, or never") if early.any() else None


def _future(case: Observations) -> Hit | None:
    ahead = case.index[case.index > case.asof]
    return Hit(ahead, f"periods begin after {case.asof.date()}") if len(ahead) else None


def _blank(case: Observations) -> Hit | None:
    blank = pd.DatetimeIndex(case.told.index[case.told.isna()])
    share = len(blank) / max(len(case.told), 1)
    says, severity = f"periods have no value, {share:.1%} of all", "" if share > MOST_MISSING else "info"
    return Hit(blank, says, severity) if len(blank) else None


def _gap(case: Observations) -> Hit | None:
    """One day without a number is a holiday of the source; three sessions in a row are a gap."""
    found = case.missing
    if case.frequency[1] == "D" and len(found):
        at = pd.Series(case.calendar.get_indexer(found))
        run = at.groupby((at.diff() != 1).cumsum()).transform("size").to_numpy()
        found = found[run >= 3]
    what = "sessions without a number, three or more in a row" if case.frequency[1] == "D" else "periods have no number"
    return Hit(found, f"{what} ({case.frequency[2]} series)") if len(found) else None


def _overdue(case: Observations) -> Hit | None:
    last = case.frame["available"].max()
    late, allowed = (case.asof - last).days, case.frequency[3]
    says = f"days have passed since anything became available; a {case.frequency[2]} series is overdue after {allowed}"
    return Hit(pd.DatetimeIndex([last]), says, rows=late) if late > allowed else None


AGAIN = "ask the source again"
MACRO: tuple[Rule, ...] = (
    Rule("duplicate", "warning", "no vintage is there twice", "nothing is lost by dropping them", _duplicate),
    Rule("conflict", "error", "no vintage has two values", "neither can be believed; ask the source", _conflict),
    Rule("published", "error", "nothing is available before its period begins", "check vintage and lag", _published),
    Rule("future", "error", "no period begins after the day of judgment", "check clock and unit", _future),
    Rule("blank", "warning", f"at most {MOST_MISSING:.0%} of periods were published as missing", AGAIN, _blank),
    Rule("gap", "warning", "no period is missing; for a daily series, no three sessions in a row", AGAIN, _gap, **SLOW),
    Rule("overdue", "warning", "the next release is not overdue", AGAIN, _overdue),
    Rule("agreement", "warning", "another source says the same", "find out which of the two is right", agreement),
)  # fmt: skip
