"""What we ask of a label before anything learns from it: whether it varies, repeats, drifts, and was not known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.data.quality.case import Case, Hit, Rule

LEAST_INDEPENDENT = 100  # labels that do not overlap, below which no figure means much
MOST_REPEATED, LEAST_OF_A_CLASS = 0.05, 0.2
FAR, HEAVY = 8.0, 0.25  # robust deviations; share of the squared error of the mean that a hundredth of labels may be
KNOWN = 0.98  # correlation with what was known at the row
DRIFT = 3.0  # HAC t between the halves


@dataclass(frozen=True)
class Labels(Case):
    """Labels before their rules: index session, columns y, per_unit (of volatility) and last (known at the row)."""

    horizon: int = 5

    @cached_property
    def y(self) -> "pd.Series[float]":
        """The labels that there are."""
        return self.frame["y"].dropna()

    @cached_property
    def classes(self) -> "pd.Series[float]":
        """Share of each value, the most frequent first."""
        return self.y.value_counts(normalize=True)

    @cached_property
    def holes(self) -> pd.DatetimeIndex:
        """Rows without a label before the last that has one."""
        y = self.frame["y"]
        inside = y[: self.y.index[-1]] if len(self.y) else y
        return pd.DatetimeIndex(inside.index[inside.isna()])

    @property
    def completeness(self) -> float:
        """Share of the rows up to the last label that have one."""
        return len(self.y) / max(len(self.y) + len(self.holes), 1)


def _constant(case: Labels) -> Hit | None:
    varies = len(case.y) > 1 and np.ptp(case.y) > 1e-12 * max(case.y.abs().max(), 1e-12)
    return None if varies else Hit(case.index[:0], "labels are all the same", rows=len(case.y))


def _hole(case: Labels) -> Hit:
    return Hit(case.holes, "rows before the last label have none")


def _repeated(case: Labels) -> Hit | None:
    """One value again and again; where there are two values only, the rarer one must be no exception."""
    if case.classes.empty:
        return None
    if len(case.classes) <= 2:
        rare = float(case.classes.iloc[-1])
        few = case.y.index[case.y == case.classes.index[-1]]
        return Hit(few, f"labels are of the rarer kind, {rare:.0%} of all") if rare < LEAST_OF_A_CLASS else None
    value, share = case.classes.index[0], float(case.classes.iloc[0])
    if share <= MOST_REPEATED:
        return None
    return Hit(case.y.index[case.y == value], f"labels are exactly {value:g}, {share:.0%} of all")


def _heavy(case: Labels) -> Hit | None:
    """Labels so far out that a few of them decide a squared error."""
    per_unit = case.frame["per_unit"].dropna()
    off = per_unit - per_unit.median()
    spread = 1.4826 * off.abs().median()  # of a normal law the standard deviation
    if not spread > 0:
        return None
    worst = (off**2).nlargest(max(len(off) // 100, 1))
    share = float(worst.sum() / (off**2).sum())
    far = off.index[off.abs() > FAR * spread]
    says = f"labels lie more than {FAR:g} robust deviations out; the worst hundredth makes {share:.0%} of the squares"
    return Hit(far, says) if share > HEAVY else None


def _known(case: Labels) -> Hit | None:
    """A label that was there at its row is no label."""
    pair = case.frame[["y", "last"]].dropna()
    if len(pair) < 3 or not (pair.std() > 0).all():
        return None
    r = float(np.corrcoef(pair["y"], pair["last"])[0, 1])
    return (
        Hit(pair.index, f"labels follow what was known at their row (correlation {r:.3f})") if abs(r) > KNOWN else None
    )


def _drift(case: Labels) -> Hit | None:
    """Means of the two halves, as far apart as windows that overlap let them be by chance."""
    half = len(case.y) // 2
    if half < 3 * case.horizon or not case.y.std() > 0:
        return None
    step = np.where(np.arange(len(case.y)) < half, -1.0, 1.0) * (case.y - case.y.mean()).to_numpy()
    t = metrics.newey_west_t(step, 2 * case.horizon)
    says = f"labels are the later half, whose mean differs from that of the earlier (HAC t {t:.1f})"
    return Hit(case.y.index[half:], says, rows=len(case.y) - half) if abs(t) > DRIFT else None


def _overlap(case: Labels) -> Hit | None:
    alone = len(case.y) // case.horizon
    says = f"labels of {case.horizon} sessions overlap; as many as {alone:,} stand alone"
    severity = "" if alone < LEAST_INDEPENDENT else "info"
    return Hit(case.y.index[:0], says, severity, rows=len(case.y)) if case.horizon > 1 else None


LABELS: tuple[Rule, ...] = (
    Rule("constant", "error", "labels are not all the same", "nothing can be learned; take another target", _constant),
    Rule("known", "error", "no label was known at its row", "mend the target: it looks back", _known, needs="last"),
    Rule("hole", "warning", "no row before the last label lacks one", "fetch what is missing", _hole),
    Rule("repeated", "warning", f"no value makes {MOST_REPEATED:.0%} of labels, and neither of two under "
         f"{LEAST_OF_A_CLASS:.0%}", "look for stale prices; measure against the base rate", _repeated),
    Rule("heavy", "warning", f"the worst hundredth makes no more than {HEAVY:.0%} of the squared errors",
         "prefer a robust loss, and read figures by year", _heavy),
    Rule("drift", "warning", f"the halves have one mean, to {DRIFT:g} HAC standard errors",
         "compare with the mean of the past, and learn from a window", _drift),
    Rule("overlap", "warning", f"at least {LEAST_INDEPENDENT} labels stand alone",
         "errors of neighbors are no new evidence: use HAC figures, and a longer history", _overlap),
)  # fmt: skip
