"""Is this data fit to be learned from? Each rule looks, and says what it found, where, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd

from mltrainer.data import bar_rules, macro_rules, market
from mltrainer.data.bar_rules import BARS
from mltrainer.data.case import PRICES, ZONE, Case, Hit, Rule, split_ratios, stamp
from mltrainer.data.macro_rules import MACRO, Observations
from mltrainer.data.market import Day
from mltrainer.errors import BadInput
from mltrainer.settings import settings
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

NUMBERS = {"bars": (*PRICES, "volume", "vwap", "trades"), "macro": ("value",)}
NEEDED = {"bars": ["close"], "macro": ["value", "available"]}


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes
    ----------
    rule, severity : the row of `RULES`; info is worth knowing, a warning worth a look, an error is refused.
    rows : how many sessions, bars or periods it concerns.
    message, remedy : the sentence, and the next step.
    when : every day or stamp concerned, ISO 8601; the message shows the first five.
    """

    rule: str
    severity: str
    rows: int
    message: str
    remedy: str = ""
    when: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quality:
    """The findings about one series.

    Attributes
    ----------
    name, kind : "MSFT", "bars".
    sessions : rows of the frame.
    completeness : share of the exchange's sessions that have a bar, or of the periods that have a number.
    asof : the day on which it was judged, ISO 8601.
    age : whole sessions (bars) or days (macro) since the last news, seen from `asof`.
    """

    name: str
    sessions: int
    completeness: float
    findings: list[Finding] = field(default_factory=list)
    kind: str = "bars"
    asof: str = ""
    age: int = 0

    @property
    def ok(self) -> bool:
        """Whether no rule found an error."""
        return all(f.severity != "error" for f in self.findings)

    @property
    def table(self) -> pd.DataFrame:
        """The findings, worst first, one row each."""
        ranked = sorted(self.findings, key=lambda f: SEVERITIES.index(f.severity))
        return pd.DataFrame(
            [(f.severity, f.rule, f.rows, f.message, f.remedy) for f in ranked],
            columns=["severity", "rule", "rows", "message", "remedy"],
        )


SEVERITIES = ("error", "warning", "info")
FORM = "have the source parsed again; nothing else can be asked of this frame"


def quality(
    data: "str | Dataset",
    *,
    against: Dataset | None = None,
    actions: Dataset | None = None,
    asof: Day = None,
    start: Day = None,
    end: Day = None,
) -> Quality:
    """Ask every rule of a series: calendar, stamps, values, splits, age, and whether another source agrees.

    Parameters
    ----------
    data : a ticker, admitted bars, or admitted macro observations.
    against : the same thing from another source, bars or macro; closes are compared by daily return, yields by level.
    actions : splits by ex-date; without them a split shows as a leap of its size on a day that is not crowded.
    asof : the day on which to judge age and future; default today in mode live, else the last day of the data.
    start, end : sessions to check, for a ticker.

    Raises
    ------
    Refused
        Data whose origin cannot be shown.
    """
    if isinstance(data, str):
        data = market.bars(data, start=start, end=end)
    elif start is not None or end is not None:
        raise BadInput("start and end choose the sessions of a ticker; this data is already cut")
    for item in (data, *(x for x in (against, actions) if x is not None)):
        gate.verify(item, "quality")
    if data.kind not in RULES:
        raise BadInput(f"{data.name} is a {data.kind} frame; quality knows the rules of {' and '.join(RULES)}")
    splits = None if actions is None else split_ratios(actions.frame)
    return judge(data, against=against, splits=splits, asof=asof)


def judge(
    data: Dataset,
    *,
    against: Dataset | None = None,
    splits: "pd.Series[float] | None" = None,
    asof: Day = None,
) -> Quality:
    """Ask the rules of a frame, whatever its origin; `quality` asks for the origin first."""
    found = list(_form(data.frame, data.kind))
    last = market.day(asof, "asof")
    if not readable(data.frame, data.kind):
        found = found or [Finding("form", "error", 0, "there are no rows, or they cannot be read", FORM)]
        return Quality(data.name, len(data.frame), 0.0, found, data.kind, "" if last is None else str(last.date()))
    case = _case(data, last, splits, None if against is None else (against.name, against.kind, _values(against)))
    asked = [rule for rule in RULES[data.kind] if rule.quick or case.exchange]
    found += [finding for rule in asked if (finding := _finding(rule, rule.check(case)))]
    if isinstance(case, Observations):
        share, age = macro_rules.completeness(case), max((case.asof - case.frame["available"].max()).days, 0)
    else:
        share, age = (bar_rules.completeness(case), bar_rules.age(case)) if case.exchange else (1.0, 0)
    return Quality(data.name, len(data.frame), share, found, data.kind, str(case.asof.date()), age)


def gatekeep(data: Dataset) -> None:
    """Raise `BadInput` with the rule's name where bars break one that is an error and needs no calendar.

    Bars that cannot be read at all are left to the features, whose own reader says so.
    """
    if data.kind != "bars" or not readable(data.frame, "bars"):
        return
    case = _case(data, None, None, None)
    for rule in BARS:
        finding = _finding(rule, rule.check(case)) if rule.quick and rule.severity == "error" else None
        if finding and finding.severity == "error":
            raise BadInput(f"{data.name} breaks rule {rule.name}: {finding.message}; {finding.remedy}")


# --- one series -----------------------------------------------------------------------------------------------


def _case(
    data: Dataset,
    asof: pd.Timestamp | None,
    splits: "pd.Series[float] | None",
    other: "tuple[str, str, pd.Series[float]] | None",
) -> Case:
    of = Observations if data.kind == "macro" else Case
    return of(data.name, data.kind, data.frame, asof or _now(data), splits, other)


def _now(data: Dataset) -> pd.Timestamp:
    """Today in New York for live data; history that ended long ago is judged on its last day."""
    if data.provenance is not None and data.provenance.mode == "live" and settings().data_mode == "live":
        return pd.Timestamp.now(ZONE).tz_localize(None).normalize()
    if data.kind == "macro":
        return max(data.frame["available"].max(), data.frame.index.max())
    days = Case(data.name, data.kind, data.frame, pd.Timestamp(0)).days
    return max(days[days.year < 2200], default=pd.Timestamp(0))  # a stamp in a wrong unit is not the present


def _values(against: Dataset) -> "pd.Series[float]":
    if against.kind not in RULES or not readable(against.frame, against.kind):
        raise BadInput(f"{against.name} is a {against.kind} frame that cannot be compared; give bars or macro series")
    return _case(against, None, None, None).told


def _finding(rule: Rule, hit: Hit | None) -> Finding | None:
    if hit is None:
        return None
    rows = len(hit.when) if hit.rows is None else hit.rows
    when = tuple(stamp(t) for t in hit.when)
    return Finding(rule.name, hit.severity or rule.severity, rows, hit.message(), rule.remedy, when)


# --- form -----------------------------------------------------------------------------------------------------


def readable(frame: pd.DataFrame, kind: str) -> bool:
    """Whether the other rules can be asked: stamps without a hole, the columns they need, numbers in them."""
    if not isinstance(frame.index, pd.DatetimeIndex) or frame.index.hasnans or frame.empty:
        return False
    if not frame.columns.is_unique or not set(NEEDED[kind]) <= set(frame):
        return False
    numbers = all(pd.api.types.is_numeric_dtype(frame[c]) for c in NUMBERS[kind] if c in frame)
    return numbers and (kind == "bars" or pd.api.types.is_datetime64_dtype(frame["available"]))


def _form(frame: pd.DataFrame, kind: str) -> Iterable[Finding]:
    """What pandera says of columns, types and index, all of it at once."""
    from pandera.errors import SchemaErrors

    try:
        schemas()[kind].validate(frame.reset_index(drop=True).assign(stamp=frame.index), lazy=True)
    except SchemaErrors as errors:
        for column, check, case in errors.failure_cases[["column", "check", "failure_case"]].itertuples(index=False):
            of = "" if column is None else f"{str(column)[:40]} is not "
            yield Finding("form", "error", len(frame), f"{of}{check}: {str(case)[:60]}", FORM)


@cache
def schemas() -> dict[str, Any]:
    """Pandera schemas of bars (a close and any of the rest) and of observations."""
    import pandera.pandas as pa  # takes a fifth of a second, and evaluation does without

    time = pa.Column(
        checks=pa.Check(pd.api.types.is_datetime64_any_dtype, error="an index of times"), nullable=False, required=True
    )
    number = {
        kind: {c: pa.Column(float, nullable=True, required=c in NEEDED[kind]) for c in names}
        for kind, names in NUMBERS.items()
    }
    day = pa.Column(
        checks=pa.Check(pd.api.types.is_datetime64_dtype, error="a column of days"), nullable=True, required=True
    )
    return {
        "bars": pa.DataFrameSchema({**number["bars"], "stamp": time}, unique_column_names=True),
        "macro": pa.DataFrameSchema({**number["macro"], "available": day, "stamp": time}, unique_column_names=True),
    }


RULES: dict[str, tuple[Rule, ...]] = {"bars": BARS, "macro": MACRO}
