"""An answer: its words, its figures with their origin, its tables, and what it may do next."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from mltrainer import views
from mltrainer.assistant.claims import Claim, Table

UNKNOWN = "I don't know. But based on the data, I would suggest"
"""How an answer begins that had to leave out what no tool result shows."""


@dataclass(frozen=True)
class Answer:
    """What was answered to one question.

    Attributes
    ----------
    text : words with every figure in them, for a terminal.
    html : the same as escaped HTML; each figure is a link to the tool result it came from.
    tables : of the answer; cells are text.
    claims : the figures that words and tables hold, each with value, unit, sign, day and source.
    tools : what was called, with its parameters.
    withheld : sentences of a language model that were left out, and why.
    pending : what waits for a yes: a tool and its parameters.
    by : "rules", or the language model.
    mode : of the data: "sample", "live" or "replay".
    """

    question: str
    text: str
    html: str
    tables: tuple[Table, ...] = ()
    claims: tuple[Claim, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    withheld: tuple[dict[str, str], ...] = ()
    pending: dict[str, Any] | None = None
    suggestions: tuple[str, ...] = ()
    by: str = "rules"
    mode: str = ""
    ok: bool = True
    understood: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return vars(self) | {
            "claims": [c.to_dict() for c in self.claims],
            "tables": [t._asdict() for t in self.tables],
        }

    def __repr__(self) -> str:
        return f"Answer({self.text!r})"

    def _repr_html_(self) -> str:
        return self.html


def listing(tables: Sequence[Table]) -> str:
    """Tables as plain text, for a terminal."""
    out = []
    for t in tables:
        cells = [t.heads, *t.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(t.heads))]
        lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
        out.append("\n".join([t.title, *lines]))
    return "\n\n".join(out)


def sheet(table: Table, shown: Sequence[Sequence[str]]) -> str:
    """One table as HTML; `shown` are its cells as HTML already."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in table.heads)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in shown)
    inside = f"<caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    name = f'role="region" aria-label="{escape(table.title)}"'
    return f'<div class="scroll" tabindex="0" {name}><table>{inside}</table></div>'


def origins(claims: Sequence[Claim]) -> str:
    """The figures of an answer, folded, each with where it came from; links in the words lead here."""
    if not claims:
        return ""
    rows = "".join(
        f'<tr id="{anchor(c)}"><td>{escape(c.text)}</td><td class="text">{escape(c.metric)}</td>'
        f'<td class="text">{escape(" ".join(filter(None, (c.model, c.ticker))))}</td>'
        f'<td class="text">{escape(c.as_of or views.DASH)}</td><td class="text">{escape(c.source)}</td></tr>'
        for c in claims
    )
    heads = "".join(f'<th scope="col">{h}</th>' for h in ("Figure", "What", "Of", "As of", "From"))
    body = f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    return f'<details class="origins"><summary>Where these figures come from</summary>{body}</details>'


def anchor(claim: Claim) -> str:
    """Where on the page the origin of a figure stands: the same figure, wherever it is shown, has the same address."""
    known = repr((claim.id, claim.value, claim.metric, claim.ticker, claim.model, claim.as_of, claim.source))
    return f"claim-{hashlib.sha256(known.encode()).hexdigest()[:12]}"
