"""Claims: every figure an answer may show, with its unit, sign, rounding, day and where it came from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from mltrainer.errors import BadInput, UnknownName
from mltrainer.views.numbers import MINUS, fixed, number


class Unit(NamedTuple):
    """How a figure of a unit is written: times `scale`, rounded by `write`, between `before` and `after`."""

    write: Callable[[object], str]
    before: str = ""
    after: str = ""
    scale: float = 1.0


def _grouped(digits: int) -> Callable[[object], str]:
    def write(value: object) -> str:
        x = round(float(value), digits) + 0.0  # type: ignore[arg-type]  # no minus before a zero
        return f"{x:,.{digits}f}".replace("-", MINUS)

    return write


UNITS = {
    "fraction": Unit(number, after=" %", scale=100.0),  # kept as a fraction, read as a percentage
    "probability": Unit(fixed(3)),
    "ratio": Unit(fixed(2)),
    "correlation": Unit(fixed(3)),
    "t": Unit(fixed(2)),
    "score": Unit(fixed(0)),
    "basis points": Unit(fixed(1), after=" basis points"),
    "percentage points": Unit(fixed(2), after=" percentage points", scale=100.0),
    "dollars": Unit(_grouped(2), before="$"),
    "count": Unit(_grouped(0)),
    "sessions": Unit(_grouped(0), after=" sessions"),
    "plain": Unit(number),
    "seconds": Unit(number, after=" s"),
    "date": Unit(str),
}


@dataclass(frozen=True)
class Claim:
    """One figure of a tool result.

    Attributes
    ----------
    id : by which an answer names it, "c1"; good for one turn.
    value : the figure in its unit (a fraction is of 1), or a day as text where the unit is "date".
    unit : a name of `UNITS`.
    metric : what it is, in words.
    ticker, model : of what; "" where it is of no single one.
    as_of : last session it knows of, YYYY-MM-DD, or "".
    source : which tool, data mode, and key or hash under which it is kept.
    signed : whether a plus is written, as for returns.
    parts : the claims it was derived from.
    """

    id: str
    value: float | str
    unit: str
    metric: str
    ticker: str = ""
    model: str = ""
    as_of: str = ""
    source: str = ""
    signed: bool = False
    parts: tuple["Claim", ...] = ()

    @property
    def text(self) -> str:
        """The figure as a reader sees it: sign, rounding, unit.

        >>> Claim("c1", -0.0123, "fraction", "return").text, Claim("c2", 0.031, "fraction", "return", signed=True).text
        ('−1.23 %', '+3.1 %')
        """
        unit = UNITS[self.unit]
        if isinstance(self.value, str):
            return self.value
        said = unit.write(self.value * unit.scale)
        sign, digits = (MINUS, said[1:]) if said.startswith(MINUS) else ("", said)
        plus = "+" if self.signed and not sign and self.value > 0 else ""
        return f"{sign}{plus}{unit.before}{digits}{unit.after}"

    @property
    def sign(self) -> str:
        """Of the value: "+", "-" or "0"; "" of a day."""
        if isinstance(self.value, str):
            return ""
        return "0" if self.value == 0 else "+" if self.value > 0 else "-"

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        known = {k: v for k, v in vars(self).items() if k != "parts"}
        return known | {"text": self.text, "sign": self.sign}


class Formula(NamedTuple):
    """A figure derived from others: how many it takes, which units, and what it gives."""

    words: str
    least: int
    most: int
    units: frozenset[str]  # that its arguments may have; all the same one
    unit: str  # of the result; "" is that of the arguments
    of: Callable[..., float]
    signed: bool = False


_NUMBERS = frozenset(UNITS) - {"date"}
_SCALES = frozenset({"fraction", "ratio", "dollars", "count", "sessions", "plain", "basis points", "seconds"})
FORMULAS = {
    "difference": Formula("{0} less {1}", 2, 2, _NUMBERS, "", lambda a, b: a - b, True),
    "ratio": Formula("{0} over {1}", 2, 2, _SCALES, "ratio", lambda a, b: a / b),
    "percent_change": Formula("change from {0} to {1}", 2, 2, _SCALES - {"fraction"}, "fraction",
                              lambda a, b: b / a - 1, True),
    "sum": Formula("sum", 2, 20, frozenset({"dollars", "count", "sessions", "seconds"}), "", lambda *x: math.fsum(x)),
    "mean": Formula("mean", 2, 20, _NUMBERS, "", lambda *x: math.fsum(x) / len(x)),
    "share": Formula("{0} as a share of {1}", 2, 2, frozenset({"dollars", "count"}), "fraction", lambda a, b: a / b),
}  # fmt: skip


_ALIKE = frozenset({"mean", "sum", "percent_change"})  # of one thing, or they are a figure of nothing


def derived(formula: str, parts: Sequence[Claim]) -> Claim:
    """The claim that a registered formula makes of others.

    Raises
    ------
    BadInput
        Other units than the formula takes, units that differ, for `_ALIKE` metrics or tickers that differ, or a
        division by zero: then there is no figure.
    """
    if formula not in FORMULAS:
        raise UnknownName.of("formula", formula, FORMULAS)
    row, units = FORMULAS[formula], {p.unit for p in parts}
    if not row.least <= len(parts) <= row.most or len(units) != 1 or not units <= row.units:
        raise BadInput(f"{formula} takes {row.least} to {row.most} figures of one unit, not {sorted(units)}")
    if formula in _ALIKE and len({(p.metric, p.ticker) for p in parts}) > 1:
        raise BadInput(f"{formula} takes figures of one metric and one ticker")
    values = [float(p.value) for p in parts]
    try:
        value = row.of(*values)
    except ZeroDivisionError:
        raise BadInput(f"{formula} divides by zero here") from None
    if not math.isfinite(value):
        raise BadInput(f"{formula} gives no finite number here")
    same = {name: _only(getattr(p, name) for p in parts) for name in ("ticker", "model", "as_of")}
    unit = units.pop()
    points = formula == "difference" and unit == "fraction"  # two percentages differ by percentage points
    each = [" ".join(filter(None, (p.metric, p.model, p.ticker))) for p in parts]
    words = row.words.format(*each) if "{" in row.words else f"{row.words} of {', '.join(dict.fromkeys(each))}"
    return Claim(
        f"{formula}:{','.join(p.id for p in parts)}", value, "percentage points" if points else row.unit or unit, words,
        source=f"{formula} of {', '.join(p.id for p in parts)}", signed=row.signed, parts=tuple(parts), **same,
    )  # fmt: skip


def _only(values: Any) -> str:
    found = set(values)
    return found.pop() if len(found) == 1 else ""


class Table(NamedTuple):
    """Rows of an answer; a cell is text or the mark of a claim."""

    title: str
    heads: list[str]
    rows: list[list[str]]


class Turn:
    """What the tools of one question found: claims by id, tables, and what was said.

    `may_run` says whether who asks may start what is written down; `confirmed`, whether a person said yes.
    """

    def __init__(self, *, may_run: bool = False, confirmed: bool = False) -> None:
        self.may_run, self.confirmed = may_run, confirmed
        self.claims: dict[str, Claim] = {}
        self.tables: list[Table] = []
        self.said: list[str] = []
        self.called: list[dict[str, Any]] = []
        self.pending: dict[str, Any] | None = None

    def claim(self, value: Any, unit: str, metric: str, **about: Any) -> str:
        """Write a figure down and return its mark, to be put into words; "undefined" where it is no number."""
        if value is None or (unit != "date" and not math.isfinite(float(value))):
            return "undefined"
        kept = str(value) if unit == "date" else float(value)
        made = Claim(f"c{len(self.claims) + 1}", kept, unit, metric, **about)
        self.claims[made.id] = made
        return mark(made.id)

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table."""
        self.tables.append(Table(title, list(heads), [[str(cell) for cell in row] for row in rows]))

    def sourced(self, source: str) -> None:
        """Say of all claims that name no source yet which one they have."""
        self.claims = {k: c if c.source else replace(c, source=source) for k, c in self.claims.items()}


def mark(identifier: str) -> str:
    """How a claim stands in a text until it is rendered."""
    return "{{" + identifier + "}}"
