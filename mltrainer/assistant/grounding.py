"""Fail-closed numbers: a language model names claims, the figures are put in here, and no other number passes.

A sentence is withheld as a whole when anything in it says a number that no claim of this turn holds, or says a claim's
figure of something else: another ticker, model or metric, another unit, another sign, a comparison that is not so.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from mltrainer.assistant.claims import Claim, derived
from mltrainer.assistant.numerals import cleaned, folded, numerals
from mltrainer.assistant.records import anchor
from mltrainer.errors import MltrainerError

MARK = re.compile(r"\{\{\s*([a-z_]+:)?\s*(c[0-9]{1,4}(?:\s*,\s*c[0-9]{1,4})*)\s*\}\}")
SENTENCE = re.compile(r"(?<=[.!?。！？])[\"')\]*_]*\s+|\n+")
HOLE = "\N{OBJECT REPLACEMENT CHARACTER}"  # where a mark stood
TOPICS = {  # of a figure, and the words that say so
    "sharpe": r"sharpe",
    "information coefficient": r"\bIC\b|information coefficient|rank correlation",
    "hit rate": r"hit rate|\bhits\b",
    "drawdown": r"drawdown",
    "volatility": r"volatilit",
    "weight": r"\bweights?\b|allocation",
    "price": r"\bprices?\b|\bclosed?\b|trades? at",
    "p value": r"\bp[- ]values?\b|by luck|\bluck\b",
    "value at risk": r"value at risk|\bVaR\b",
    "shortfall": r"shortfall",
    "coverage": r"coverage|covered",
    "loss": r"loss saved|saves|\bgain over\b",
    "score": r"regime score|\bscores?\b",
    "determination": r"\bR2\b|R²|r-squared|out-of-sample R",
    "turnover": r"turnover",
    "cost": r"break-?even|\bcosts?\b",
    "completeness": r"completeness|complete\b",
    "return": r"\breturn(?:s|ed)?\b|\bgained\b|\bearned\b|\brose\b|\bfell\b",
    "probability": r"probabilit|\bchance\b",
    "t statistic": r"t[- ]statistic|\bt of\b",
    "horizon": r"horizon",
}
_TOPIC = {name: re.compile(pattern, re.I) for name, pattern in TOPICS.items()}
AFTER = {  # a unit a model may write behind a figure -> the units it fits, whose own words then stand
    r"(?:%|percent|per cent|pct)(?!age| point)": {"fraction"},
    r"(?:percentage points?|pp)\b": {"percentage points"},
    r"(?:basis points?|bps?)\b": {"basis points"},
    r"(?:dollars?|usd)\b": {"dollars"},
    r"(?:sessions?|trading days?)\b": {"sessions"},
    r"(?:seconds?|secs?)\b": {"seconds"},
}
OTHER = re.compile(  # that would make another figure of it
    r"^\s*(?:x\b|times\b|fold\b|million|billion|thousand|hundred|k\b|m\b|bn\b|e\b|€|£|\$|years?\b|months?\b|weeks?\b|"
    r"days?\b|hours?\b|euros?\b|points?\b|squared\b|standard deviations?\b|sigmas?\b)", re.I)  # fmt: skip
BEFORE = re.compile(
    r"(?:minus|negative|inverse of|opposite of|reciprocal of|square root of|square of|log of|not|no longer|"
    r"times|multiplied by|divided by|plus)[()\s]*$", re.I)  # fmt: skip
JOINED = re.compile(r"[\w.,*/+^=×÷−–\-~#$€£<>(]$")
FOLLOWS = re.compile(r"^(?:[\w*/+^=×÷−–\-~<>$€£]|[.,]\w)")
ABOVE = (
    r"(?:above|higher than|more than|greater than|larger than|over(?=\s*$)|exceeds?|beats?|better than|at least|"
    r"ahead of|bigger than)"
)
BELOW = r"(?:below|lower than|less than|smaller than|under(?=\s*$)|at most|behind|worse than|short of|fewer than)"
COMPARED = re.compile(
    rf"\b(?:({ABOVE})|({BELOW}))\b(?!.*\b(?:{ABOVE}|{BELOW})\b)", re.I
)  # the last in front of a figure
RISE = re.compile(
    r"\b(?:rose|rise[sn]?|gain(?:s|ed)?|up|increased?|grew|climbed|added|earned|made)(?: by| of)?\s*$", re.I
)
FALL = re.compile(
    r"\b(?:fell|fall(?:s|en)?|lost|down|decreased?|declined?|dropped|shrank|loss(?:es)?|drop|decrease)"
    r"(?: of \S+)?(?: (?:by|of|was|is|were))*\s*$",
    re.I,
)
COMPUTED = re.compile(  # a result of arithmetic that no formula made
    rf"(?:\b(?:average|mean|sum|total|difference|product|quotient)\b|(?<!sharpe )\bratio\b) (?:of|between)\b.*{HOLE}"
    rf".*{HOLE}.*\b(?:is|was|are|equals?|makes?|comes? to)\b.*{HOLE}",
    re.I,
)


@dataclass(frozen=True)
class Names:
    """What may hold digits by nature: names of the catalog and of the data, and which of them are tickers or models.

    `spoken` has what people call a ticker, in lower case, as "apple".
    """

    tickers: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    spoken: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> frozenset[str]:
        """Every one that is not a number itself: a ticker TEN is no licence to write ten."""
        found = self.tickers | self.models | self.others
        return frozenset(n for n in found if any(c.isalpha() for c in n) and (not numerals(n) or re.search(r"\d", n)))


@dataclass(frozen=True)
class Rendered:
    """Text with its figures: plain, as HTML, the claims it shows, and what was withheld."""

    text: str = ""
    html: str = ""
    claims: tuple[Claim, ...] = ()
    withheld: tuple[dict[str, str], ...] = ()


def render(text: str, claims: Mapping[str, Claim], names: Names) -> Rendered:
    """Put the figures of claims into what a model wrote, and withhold every sentence that says a number otherwise.

    Parameters
    ----------
    text : with marks as {{c3}}, or of a registered formula as {{difference:c1,c2}}.
    claims : of this turn, by id.
    names : what may hold digits.
    """
    shown = [_sentence(s.strip(), claims, names) for s in SENTENCE.split(str(text)) if s.strip()]
    said = [s for s in shown if s.text]
    used = {c.id: c for s in said for c in s.claims}
    return Rendered(
        " ".join(s.text for s in said), " ".join(s.html for s in said), tuple(used.values()),
        tuple(w for s in shown for w in s.withheld),
    )  # fmt: skip


def filled(text: str, claims: Mapping[str, Claim]) -> Rendered:
    """Put figures into words of our own, which name what they are of; text from elsewhere in them stays text."""
    try:
        parts, used = _split(cleaned(text), claims)
    except (KeyError, MltrainerError):  # a mark that is none of ours came with text from elsewhere
        parts, used = [cleaned(text)], []
    plain = "".join(p if isinstance(p, str) else p.text for p in parts)
    html = "".join(escape(p) if isinstance(p, str) else linked(p) for p in parts)
    return Rendered(plain, html, tuple(used))


def linked(claim: Claim, label: str = "") -> str:
    """A figure as a link to where it came from."""
    about = ", ".join(filter(None, (claim.metric, claim.model, claim.ticker, claim.as_of, claim.source)))
    return (
        f'<a class="claim" href="#{anchor(claim)}" title="{escape(about)}">{escape(claim.text)}</a>'
        f"{escape(f' ({label})') if label else ''}"
    )


def _split(text: str, claims: Mapping[str, Claim]) -> tuple[list[str | Claim], list[Claim]]:
    parts: list[str | Claim] = []
    at = 0
    for m in MARK.finditer(text):
        parts += [text[at : m.start()], _claim(m, claims)]
        at = m.end()
    parts.append(text[at:])
    return parts, [p for p in parts if isinstance(p, Claim)]


def _claim(m: re.Match[str], claims: Mapping[str, Claim]) -> Claim:
    """The claim of a mark; `KeyError` where this turn has none, `MltrainerError` where a formula does not apply."""
    formula, ids = (m[1] or "").rstrip(":"), [i.strip() for i in m[2].split(",")]
    parts = [claims[i] for i in ids]
    if not formula and len(parts) != 1:
        raise KeyError(m[2])
    return derived(formula, parts) if formula else parts[0]


def _sentence(sentence: str, claims: Mapping[str, Claim], names: Names) -> Rendered:
    sentence = cleaned(sentence)
    try:
        parts, used = _split(sentence, claims)
    except KeyError as error:
        return _withheld(sentence, f"no claim of this turn is called {error.args[0]}")
    except MltrainerError as error:
        return _withheld(sentence, str(error))
    words = [p if isinstance(p, str) else HOLE for p in parts]
    parts, words = _units(parts, words)
    why = next(_flaws(parts, words, used, names), "")
    return _withheld(sentence, why) if why else _shown(parts, words, names)


def _withheld(sentence: str, why: str) -> Rendered:
    return Rendered(withheld=({"sentence": sentence[:500], "why": why},))


def _units(parts: list[str | Claim], words: list[str]) -> tuple[list[str | Claim], list[str]]:
    """Drop a unit behind a figure that fits it, as the figure brings its own; one that does not fit stays."""
    for i, part in enumerate(parts[:-1]):
        if isinstance(part, Claim):
            for pattern, units in AFTER.items():
                if part.unit in units and (m := re.match(rf"\s*{pattern}", words[i + 1], re.I)):
                    words[i + 1] = parts[i + 1] = words[i + 1][m.end() :]
    return parts, words


def _flaws(parts: Sequence[str | Claim], words: Sequence[str], used: Sequence[Claim], names: Names) -> Iterator[str]:
    """Why this sentence cannot be shown, the plainest reason first."""
    whole = "".join(words)
    if "{{" in whole or "}}" in whole:
        yield "a mark that is none"
    if found := numerals(whole.replace(HOLE, " \N{OBJECT REPLACEMENT CHARACTER} "), names.all):
        yield f"no claim holds {', '.join(found[:3])}"
    if COMPUTED.search(whole):
        yield "arithmetic that no registered formula did"
    for i, part in enumerate(parts):
        if isinstance(part, Claim):
            yield from _neighbors(part, words[i - 1] if i else "", words[i + 1], i > 1 and not words[i - 1])
    yield from _of_another(whole, used, names)
    yield from _compared(parts, words)


def _neighbors(claim: Claim, before: str, after: str, doubled: bool) -> Iterator[str]:
    """Whether what stands beside a figure makes another one of it."""
    if doubled or JOINED.search(before.rstrip("(")) or FOLLOWS.search(after) or re.match(r"^\s*[*/+^=×÷]", after):
        yield f"{claim.id} is joined to something"
    if re.search(r"[*/+^=×÷−$€£]\s+$", before) or BEFORE.search(folded(before)) or OTHER.search(folded(after)):
        yield f"{claim.id} is turned into another figure"
    if claim.sign == "-" and RISE.search(folded(before)):
        yield f"{claim.id} is negative"
    if claim.signed and claim.sign == "+" and FALL.search(folded(before)):
        yield f"{claim.id} is positive"


def _of_another(whole: str, used: Sequence[Claim], names: Names) -> Iterator[str]:
    """Whether a figure is said of a ticker, model or metric that is not its own."""
    tickers, models, topics = named_tickers(whole, names), _named(whole, names.models), _topics(whole)
    for c in used:
        if c.ticker and tickers and c.ticker not in tickers:
            yield f"{c.id} is of {c.ticker}, not of {', '.join(sorted(tickers))}"
        if models and (c.model or c.ticker) and c.model not in models:
            yield f"{c.id} is not of {', '.join(sorted(models))}"
        if topics and _topics(c.metric) and not topics & _topics(c.metric):
            yield f"{c.id} is {c.metric}, not {', '.join(sorted(topics))}"


def named_tickers(text: str, names: Names) -> set[str]:
    """Tickers that a text names, by themselves or as people call them."""
    low = f" {re.sub(r'[^a-z0-9&]+', ' ', text.lower())} "
    return _named(text, names.tickers) | {t for word, t in names.spoken.items() if f" {word} " in low}


def _named(text: str, known: Iterable[str]) -> set[str]:
    words = set(re.findall(r"[\w.&\-]+", text.replace("'s", " ")))
    words |= {w.rstrip(".-") for w in words}
    return words & set(known)


def _topics(text: str) -> set[str]:
    return {name for name, pattern in _TOPIC.items() if pattern.search(text)}


def _compared(parts: Sequence[str | Claim], words: Sequence[str]) -> Iterator[str]:
    """Whether a comparison of two figures is so; one with a single figure says a number that is nowhere."""
    first: Claim | None = None
    for i, b in enumerate(parts):
        if isinstance(b, str):
            continue
        a, first = first, b
        near = COMPARED.search(folded(words[i - 1])) if i else None
        if near is None:
            continue
        if a is None or a.unit != b.unit or isinstance(a.value, str) or isinstance(b.value, str):
            yield f"{b.id} is compared with something that is no figure of this turn"
        elif a.value == b.value or (a.value > b.value) != bool(near[1]):
            yield f"{a.id} is not {near[0]} {b.id}"


def _shown(parts: Sequence[str | Claim], words: Sequence[str], names: Names) -> Rendered:
    """The sentence with its figures, each with what the words leave open: of what, and as of when."""
    whole, used = "".join(words), [p for p in parts if isinstance(p, Claim)]
    clear = len(named_tickers(whole, names)) == 1, len(_named(whole, names.models)) == 1, len(_topics(whole)) == 1
    last = {
        c.as_of: i for i, c in enumerate(parts) if isinstance(c, Claim)
    }  # a day once, behind the last of its figures
    text, html = "", ""
    for i, part in enumerate(parts):
        if isinstance(part, str):
            text, html = text + part, html + escape(part)
            continue
        label = _label(part, clear, last[part.as_of] == i)
        text, html = f"{text}{part.text}{f' ({label})' if label else ''}", html + linked(part, label)
    return Rendered(text, html, tuple(used))


def _label(claim: Claim, clear: tuple[bool, bool, bool], dated: bool) -> str:
    one_ticker, one_model, one_topic = clear
    said = [
        "" if one_topic else claim.metric,
        claim.model if claim.model and not one_model else "",
        claim.ticker if claim.ticker and not one_ticker else "",
        f"as of {claim.as_of}" if dated and claim.as_of and claim.unit != "date" else "",
    ]
    return ", ".join(filter(None, said))
