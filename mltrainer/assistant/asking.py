"""One question, one answer: by the table of phrasings, or by a language model over the same tools."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from mltrainer.assistant import history as kept
from mltrainer.assistant.claims import Table, Turn
from mltrainer.assistant.grounding import Names, Rendered, filled
from mltrainer.assistant.numerals import cleaned
from mltrainer.assistant.phrases import HELP, YES
from mltrainer.assistant.records import UNKNOWN, Answer, origins, sheet
from mltrainer.assistant.tools import ROLES, TOOLS, allowed, tried
from mltrainer.assistant.understanding import SPOKEN, known_tickers, understand
from mltrainer.data.providers.macro_series import SERIES
from mltrainer.data.universes import TICKER, UNIVERSES
from mltrainer.errors import BadInput, UnknownName
from mltrainer.models import catalog
from mltrainer.settings import settings
from mltrainer.trust import audit

MOST = 2_000  # characters of a question
START = (
    "What can I ask?",
    "What regime is MSFT in?",
    "Which model is best?",
    "What do you recommend?",
    "What does Sharpe ratio mean?",
)
CANNOT = "It cannot place orders, read the news, or say a number that no tool result holds."


def ask(
    question: str,
    *,
    role: str = "researcher",
    user: str = "",
    history: Sequence[Any] | None = None,
    confirm: bool = False,
    hear: Callable[[str], None] | None = None,
) -> Answer:
    """Answer a question in plain words, with tables and figures, each figure with where it came from.

    Parameters
    ----------
    question : up to 2,000 characters.
    role : "viewer", "auditor", "researcher" or "admin": the tools of that role are used, and no other.
    user : whose conversation it is; it is kept under this name and role, and goes on where it was. "" keeps nothing.
    history : answers before this one, instead of what is kept; the last may wait for a yes.
    confirm : says yes beforehand to what would wait for it, such as training.
    hear : is told each sentence of a language model as soon as it may be shown; the answer has all that stands.

    Returns
    -------
    Answer
        `.text`, `.html`, `.tables`, `.claims`, `.to_dict()`. Without MLTRAINER_LLM the phrasings of docs/assistant.md
        are understood; with it a language model chooses the tools and words, and no number of its own is shown.
    """
    question = checked(question, role)
    before = kept.recent(user, role) if history is None else [kept.plain(a) for a in history]
    if before and history is None and YES.match(question):
        before[-1] = before[-1] | {"pending": kept.pop_pending(user, role)}
    with audit.acting(user):
        answer = answered(question, role, before, confirm=confirm, hear=hear)
    if user:
        kept.write(user, role, answer)
    return answer


def checked(question: str, role: str) -> str:
    """A question that can be asked, by a role that there is."""
    if role not in ROLES:
        raise UnknownName.of("role", str(role), ROLES)
    said = cleaned(question).strip()
    if not said or len(said) > MOST:
        raise BadInput(f"a question has 1 to {MOST:,} characters, this one {len(said):,}")
    return said


def answered(
    question: str,
    role: str,
    before: Sequence[dict[str, Any]],
    *,
    confirm: bool = False,
    hear: Callable[[str], None] | None = None,
) -> Answer:
    """The answer, by whoever is set to give it; what waits for a yes is only ever done by the rules."""
    if by_model(question, before, confirm=confirm):
        from mltrainer.assistant import language  # what it imports is an extra

        return language.answered(question, role, before, hear)
    return by_rules(question, role, _waiting(before), confirm=confirm)


def by_model(question: str, before: Sequence[dict[str, Any]], *, confirm: bool = False) -> bool:
    """Whether a language model answers: not a yes to what waits, which is the person's alone."""
    return bool(settings().llm) and not (_waiting(before) and YES.match(question)) and not confirm


def _waiting(before: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return before[-1].get("pending") if before else None


def by_rules(question: str, role: str, waiting: dict[str, Any] | None = None, *, confirm: bool = False) -> Answer:
    """The answer by the table of phrasings alone."""
    turn = Turn()
    if YES.match(question):
        if not waiting or waiting.get("tool") not in TOOLS:
            return spoken(question, "Nothing waits for a yes.", turn)
        said, ok = tried(str(waiting["tool"]), waiting["parameters"], turn, role=role, confirmed=True)
        return spoken(question, said, turn, ok=ok)
    found = None if HELP.match(question) else understand(question)
    if found is None:
        return helping(question, role)
    said, ok = tried(found.tool, found.parameters, turn, role=role, confirmed=confirm)
    taken = "".join(f"Taking {wrong} for {right}. " for wrong, right in found.corrected.items())
    if found.assumed and ok:
        taken += f"No ticker was named, so this is of {found.assumed}. "
    if found.left and ok:
        taken += f"Left out, as this is of one name alone: {', '.join(found.left)}. "
    if found.unread:
        taken += f"Not read as a day of this: {', '.join(found.unread)}. "
    understood = {"tool": found.tool, "parameters": found.parameters, "phrase": found.phrase.example}
    return spoken(question, taken + said, turn, ok=ok, understood=understood)


def helping(question: str, role: str) -> Answer:
    """What can be asked, for who asked something else."""
    turn = Turn()
    turn.table("What can be asked", ["Tool", "What it does"], [[t.name, t.description] for t in allowed(role)])
    can = "What can be asked stands in the table"
    said = f"{can}. {CANNOT}" if HELP.match(question) else f"{UNKNOWN} asking it another way. {can}. {CANNOT}"
    return spoken(question, said, turn, suggestions=START)


def spoken(question: str, said: str, turn: Turn, **more: Any) -> Answer:
    """An answer in our own words."""
    return made(question, filled(said, turn.claims), turn, **more)


def made(question: str, rendered: Rendered, turn: Turn, **more: Any) -> Answer:
    """An answer out of rendered words and what the tools put into the turn."""
    tables, sheets, used = [], [], {c.id: c for c in rendered.claims}
    for t in turn.tables:
        cells = [[filled(cell, turn.claims) for cell in row] for row in t.rows]
        used |= {c.id: c for row in cells for cell in row for c in cell.claims}
        tables.append(Table(t.title, t.heads, [[cell.text for cell in row] for row in cells]))
        sheets.append(sheet(t, [[cell.html for cell in row] for row in cells]))
    claims = tuple(used.values())
    html = f'<p class="said">{rendered.html}</p>{"".join(sheets)}{origins(claims)}'
    known: dict[str, Any] = {"pending": turn.pending, "mode": settings().data_mode, "withheld": rendered.withheld}
    return Answer(question, rendered.text, html, tuple(tables), claims, tuple(turn.called), **(known | more))


def names(turn: Turn) -> Names:
    """What may hold digits in this turn: names of the catalog, and of what was asked for and found."""
    found = {c.ticker for c in turn.claims.values() if TICKER.fullmatch(c.ticker)}
    others = {"S&P 500", "R2", "R²", *SERIES, *UNIVERSES}
    models = frozenset(s.name for s in catalog.specs())
    return Names(known_tickers() | found, models, frozenset(others), _said)


_said = {k: v for k, v in SPOKEN.items() if not k.startswith("the ")}  # what a model beats is no ticker


def chips(suggestions: Sequence[str]) -> str:
    """Suggestions as HTML buttons."""
    return "".join(f'<button type="button" class="chip">{escape(s)}</button>' for s in suggestions)
