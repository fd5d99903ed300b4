"""Terms in plain words, for who never met them: those of the pages, targets, columns and models."""

import re
from difflib import get_close_matches

from mltrainer.assistant import parameters as ask
from mltrainer.assistant.claims import Turn
from mltrainer.errors import UnknownName
from mltrainer.evaluation import columns
from mltrainer.features.targets import TARGETS
from mltrainer.models import catalog
from mltrainer.views.glossary import ALIASES, GLOSSARY, known

WORDS = tuple(w for w in (*(g.lower() for g in GLOSSARY), *ALIASES) if len(w) > 1)  # by which a term is asked for
SAID = ("Method", "Assumes", "Use", "Runs", "Reference", "Status")  # of a card


def explain(p: ask.Term, turn: Turn) -> str:
    """Explain a term, a model, a target or a column."""
    asked = p.term.strip().strip("?").lower()
    models = {s.name.lower(): s.name for s in catalog.specs()}
    if asked in models:
        return _card(models[asked], turn)
    if asked in TARGETS:
        row = TARGETS[asked]
        return f"{asked.capitalize()} is a target: {row.title}, in units of {row.unit}."
    if found := _term(asked):
        about = {"source": f"the explanation of {found}"}
        told = re.sub(
            r"(?<![\w.])\d+(?:\.\d+)?(?![\w%])",  # a figure of an explanation is a claim like any other
            lambda m: turn.claim(float(m[0]), "plain", "example in an explanation", **about),
            GLOSSARY[found],
        )
        return f"{found}: {told}"
    column = asked.replace(" ", "_").replace("-", "_")
    if column in columns.LEADERBOARD:
        return f"{asked}: {columns.LEADERBOARD[column].text}."
    raise UnknownName.of("term", p.term, [*GLOSSARY, *TARGETS, *models.values()])


def _term(asked: str) -> str | None:
    shorter = re.sub(r"^(?:the|a|an) ", "", asked)
    if found := known(shorter):
        return found
    inside = [w for w in WORDS if len(w) > 3 and re.search(rf"\b{re.escape(w)}\b", shorter)]
    near = sorted(inside, key=len)[-1:] or get_close_matches(shorter, WORDS, n=1, cutoff=0.75)
    return known(near[0]) if near else None


def _card(name: str, turn: Turn) -> str:
    card = catalog.spec(name).card
    rows = [[what, words] for what, words in card.rows() if what in SAID]
    turn.table(name, ["What", "Said"], rows)
    return f"{name}, of the family {catalog.FAMILIES[card.family].title}: {card.method.assumes}"
