"""Is this data fit to be learned from? Each rule looks, and says what it found, where, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd

from mltrainer.data import market
from mltrainer.data.dates import Day, day
from mltrainer.data.quality.bar_rules import BARS
from mltrainer.data.quality.case import PRICES, ZONE, Case, Finding, Rule, split_ratios
from mltrainer.data.quality.label_rules import LABELS, Labels
from mltrainer.data.quality.macro_rules import MACRO, Observations
from mltrainer.errors import BadInput
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

RULES: dict[str, tuple[Rule, ...]] = {"bars": BARS, "macro": MACRO, "label": LABELS}
SEVERITIES = ("error", "warning", "info")
NUMBERS = {"bars": (*PRICES, "volume", "vwap", "trades"), "macro": ("value",)}
NEEDED = {"bars": ["close"], "macro": ["value", "available"]}
FORM = "have the source parsed again; nothing else can be asked of this frame"


@dataclass(frozen=True)
class Quality:
    """The findings about one series.

    Attributes
    ----------
    name, kind : "MSFT", "bars".
    sessions : rows of the frame.
    completeness : share of the exchange's sessions that have a bar, of the periods that have a number, or of the rows
        up to the last label that have one.
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
        return pd.DataFrame(ranked, columns=["severity", "rule", "rows", "message", "remedy"])


def quality(
    data: "str | Dataset | Any",
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
    data : a ticker, admitted bars, admitted macro observations, or a matrix of one ticker, whose label is asked.
    against : the same thing from another source, bars or macro; closes are compared by daily return, yields by level.
    actions : splits by ex-date; without them a split shows as a leap of its size on a day that is not crowded.
    asof : the day on which to judge age and future; default `end` or today in mode live, else the last day of the data.
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
    for item in (data, against, actions):
        if item is not None:
            gate.verify(item, "quality")
    if not isinstance(data, Dataset):
        return _of_label(data)
    if _kind(data) not in RULES:
        raise BadInput(f"{data.name} is a {data.kind} frame; quality knows the rules of {' and '.join(RULES)}")
    judged = day(asof, "asof")
    if judged is None and data.provenance is not None and data.provenance.mode == "live":
        today = pd.Timestamp.now(ZONE).tz_localize(None).normalize()
        judged = min(today, day(end, "end") or today)
    splits = None if actions is None else split_ratios(actions.frame)
    return judge(data, against=against, splits=splits, asof=judged)


def judge(data: Dataset, *, against: Dataset | None = None, splits: Any = None, asof: Day = None) -> Quality:
    """Ask the rules of a frame, whatever its origin; `quality` asks for the origin first."""
    kind, judged = _kind(data), day(asof, "asof")
    found = list(_form(data.frame, kind))
    if not readable(data):
        found = found or [Finding("form", "error", 0, "there are no rows, or they cannot be read", FORM)]
        return Quality(data.name, len(data.frame), 0.0, found, data.kind, str(judged.date()) if judged else "")
    if against is not None and not readable(against):
        raise BadInput(f"{against.name} is a {against.kind} frame that cannot be compared; give bars or macro")
    case = _case(data, judged, splits, None if against is None else _case(against))
    asked = [rule.finding(case) for rule in RULES[kind] if rule.quick or case.exchange]
    found += [finding for finding in asked if finding]
    return Quality(data.name, len(data.frame), case.completeness, found, data.kind, str(case.asof.date()), case.age)


def _of_label(matrix: Any) -> Quality:
    """Ask the rules of the label of a matrix."""
    of_one = matrix.of_one("quality of a label")
    if of_one.aim.cross_sectional:
        raise BadInput(f"target {of_one.target} is of names side by side, and {of_one.name} is one")
    columns = {"y": of_one.y, "per_unit": of_one.y / of_one.scale}
    known = {"last": of_one.past["last"]} if "last" in of_one.past else {}
    case = Labels(of_one.name, "label", pd.DataFrame(columns | known), horizon=of_one.horizon)
    found = [finding for rule in LABELS if (finding := rule.finding(case))]
    name = f"{of_one.name}, {of_one.target} over {of_one.horizon} sessions"
    return Quality(name, len(of_one.y), case.completeness, found, "label", str(case.index[-1].date()))


def gatekeep(data: Dataset) -> None:
    """Raise `BadInput` with the rule's name where bars break one that is an error and needs no calendar.

    Bars that cannot be read at all are left to the features, whose own reader says so.
    """
    if data.kind == "bars" and readable(data):
        case = _case(data)
        for rule in BARS:
            found = rule.finding(case) if rule.quick and rule.severity == "error" else None
            if found and found.severity == "error":
                raise BadInput(f"{data.name} breaks rule {rule.name}: {found.message}; {found.remedy}")


def _case(data: Dataset, *more: Any) -> Case:
    return (Case if _kind(data) == "bars" else Observations)(data.name, data.kind, data.frame, *more)


def _kind(data: Dataset) -> str:
    return data.kind.rpartition(" ")[2]  # "minute bars" are bars


# --- form -----------------------------------------------------------------------------------------------------


def readable(data: Dataset) -> bool:
    """Whether the other rules can be asked: stamps without a hole, the columns they need, numbers in them."""
    frame, kind, types = data.frame, _kind(data), pd.api.types
    if kind not in RULES or not isinstance(frame.index, pd.DatetimeIndex) or frame.index.hasnans or frame.empty:
        return False
    if not frame.columns.is_unique or not set(NEEDED[kind]) <= set(frame):
        return False
    numbers = all(types.is_numeric_dtype(frame[c]) for c in NUMBERS[kind] if c in frame)
    return numbers and (kind == "bars" or types.is_datetime64_dtype(frame["available"]))


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

    types = pd.api.types
    stamp = pa.Column(checks=pa.Check(types.is_datetime64_any_dtype, error="an index of times"))
    day = pa.Column(checks=pa.Check(types.is_datetime64_dtype, error="a column of days"), nullable=True)
    found = {}
    for kind, names in NUMBERS.items():
        columns = {c: pa.Column(float, nullable=True, required=c in NEEDED[kind]) for c in names}
        days = {"stamp": stamp} | ({"available": day} if "available" in NEEDED[kind] else {})
        found[kind] = pa.DataFrameSchema(columns | days, unique_column_names=True)
    return found
