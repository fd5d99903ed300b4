"""Whether a sentence says of its figures what they are: the checks that `grounding.render` asks, one after another."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from mltrainer.assistant.claims import Claim
from mltrainer.assistant.numerals import folded, numerals
from mltrainer.assistant.wording import (
    ACRONYMS,
    AHEAD,
    ASIDE,
    BEATEN,
    BEFORE,
    BESIDE,
    COMPARED,
    DENIED,
    FALL,
    FOLLOWS,
    FORESEEN,
    JOINED,
    KINDS,
    MOVED,
    OF_AHEAD,
    OTHER,
    PERIOD,
    RANKING,
    RISE,
    SIGNS,
    TOPIC,
)

HOLE = "\N{OBJECT REPLACEMENT CHARACTER}"  # where a mark stood

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


def flaws(parts: Sequence[str | Claim], words: Sequence[str], used: Sequence[Claim], names: Names) -> Iterator[str]:
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
            before, after = (words[i - 1] if i else ""), words[i + 1]
            yield from _neighbors(part, before, after, i > 1 and not words[i - 1])
            clause = ASIDE.split("".join(words[:i]))[-1] + " " + ASIDE.split("".join(words[i + 1 :]))[0]
            yield from _at_another_time(part, folded(before), folded(after), folded(clause))
    yield from _of_another(whole, [q for c in used for q in c.parts or (c,)], names)
    yield from _of_another_kind(parts, words)
    yield from _swapped(parts, words, names)
    yield from _compared(parts, words)
    yield from _set_against(parts, words, names)


def _neighbors(claim: Claim, before: str, after: str, doubled: bool) -> Iterator[str]:
    """Whether what stands beside a figure makes another one of it."""
    if doubled or JOINED.search(before.rstrip("(")) or FOLLOWS.search(after) or re.match(rf"^\s*{SIGNS}", after):
        yield f"{claim.id} is joined to something"
    if re.search(rf"(?:{SIGNS}|[−$€£])\s+$", before) or BEFORE.search(folded(before)) or OTHER.search(folded(after)):
        yield f"{claim.id} is turned into another figure"
    if re.search(rf"{SIGNS}\s*$", before) or DENIED.search(folded(before)):
        yield f"{claim.id} is denied or bounded"
    moved = MOVED.search(folded(before))
    if claim.sign == "-" and (RISE.search(folded(before)) or (claim.signed and moved and moved[1])):
        yield f"{claim.id} is negative"
    if claim.signed and claim.sign == "+" and (FALL.search(folded(before)) or (moved and moved[2])):
        yield f"{claim.id} is positive"


def _at_another_time(claim: Claim, before: str, after: str, clause: str) -> Iterator[str]:
    """Whether a figure is said of another period than its own, or one of the past as of the future."""
    near = f"{before} {re.split('[,;:]', after)[0]}"
    said = {k for k, p in PERIOD.items() if p.search(near)}
    if claim.unit != "date" and said - {k for k, p in PERIOD.items() if p.search(claim.metric)}:
        yield f"{claim.id} is {claim.metric}, not by the {', '.join(sorted(said))}"
    past = bool(_topics(claim.metric) & {"return", "price", "volatility"})
    if not OF_AHEAD.search(claim.metric) and (AHEAD.search(clause) or (past and FORESEEN.search(clause))):
        yield f"{claim.id} is of the past"


def _of_another(whole: str, used: Sequence[Claim], names: Names) -> Iterator[str]:
    """Whether a figure is said of a ticker, model or metric that is not its own."""
    tickers, models, topics = named_tickers(whole, names), named_models(whole, names), _topics(whole)
    strange = _strange(whole, names)
    for c in used:
        if c.ticker and (strange - {c.ticker} or (tickers and c.ticker not in tickers)):
            yield f"{c.id} is of {c.ticker}, not of {', '.join(sorted(tickers | strange))}"
        if models and (c.model or c.ticker) and c.model not in models:
            yield f"{c.id} is not of {', '.join(sorted(models))}"
        if topics and _topics(c.metric) and not topics & _topics(c.metric):
            yield f"{c.id} is {c.metric}, not {', '.join(sorted(topics))}"


def _of_another_kind(parts: Sequence[str | Claim], words: Sequence[str]) -> Iterator[str]:
    """Whether a figure is said to be the highest, the net, the falling, where it is another of its topic."""
    for of, kinds in KINDS:
        same = [(i, c) for i, c in enumerate(parts) if isinstance(c, Claim) and of.search(c.metric)]
        for i, c in same:
            near = f"{words[i - 1] if i else ''} ; {re.split('[,;]', words[i + 1])[0]}"
            said = {k for k, p in kinds.items() if p.search(near)}
            said = said or (set() if len(same) > 1 else {k for k, p in kinds.items() if p.search("".join(words))})
            if said and not said & {k for k, p in kinds.items() if p.search(c.metric)}:
                yield f"{c.id} is {c.metric}, not {', '.join(sorted(said))}"


def _strange(whole: str, names: Names) -> set[str]:
    """What looks like a ticker and is none that is known."""
    known = names.all | names.tickers | ACRONYMS | {w for n in names.all for w in re.findall(r"[A-Za-z]+", n)}
    return {w for w in re.findall(r"\b[A-Z]{2,5}\b", whole) if w not in known}


def _swapped(parts: Sequence[str | Claim], words: Sequence[str], names: Names) -> Iterator[str]:
    """Whether the nearest name of a figure is another one's: what stands before it, or directly behind as its owner."""
    whole = "".join(words)
    for kind, find in (("ticker", named_tickers), ("model", named_models)):
        if len(find(whole, names)) < 2:
            continue
        order = [n for w in re.findall(r"[\w.&\-]+", whole) for n in find(w, names)]
        own = [getattr(p, kind) for p in parts if isinstance(p, Claim) and getattr(p, kind)]
        if "respectively" in whole and order == own:
            continue
        for i, c in enumerate(parts):
            if isinstance(c, Claim) and not c.parts and getattr(c, kind):
                near = _nearest(words, i, names, find)
                if near and getattr(c, kind) not in near:
                    yield f"{c.id} is of {getattr(c, kind)}, not of {', '.join(sorted(near))}"
    for i, c in enumerate(parts):
        if isinstance(c, Claim) and _topics(c.metric):
            behind = re.match(r"^(?: [\w\-]+){1,4}", words[i + 1])
            near = _topics(words[i - 1] if i else "") | _topics(behind[0] if behind else "")
            if near and not near & _topics(c.metric):
                yield f"{c.id} is {c.metric}, not {', '.join(sorted(near))}"


_ASIDE = r"\b(?:unlike|like|than|compared (?:with|to)|versus|vs\.?|against)\s+[\w.&\-]+"
_OWNER = re.compile(r"^(?:\s+[\w\-]+){0,3}?\s+(?:of|for|on|by|from)\s+(?:the\s+)?([\w.&\-]+(?: [\w.&\-]+)?)")


def _nearest(words: Sequence[str], i: int, names: Names, find: Callable[[str, Names], set[str]]) -> set[str]:
    if (owner := _OWNER.match(words[i + 1])) and (found := find(owner[1].split()[0], names)):
        return found
    said = re.findall(r"[\w.&\-]+", re.sub(_ASIDE, " ", "".join(words[:i])))
    for word in reversed(said):
        if found := find(word, names):
            return found
    behind = re.findall(r"[\w.&\-]+", re.sub(_ASIDE, " ", "".join(words[i + 1 :])))
    return next((found for word in behind if (found := find(word, names))), set())


def _set_against(parts: Sequence[str | Claim], words: Sequence[str], names: Names) -> Iterator[str]:
    """Whether figures of one kind are ranked by words whose truth is not known here."""
    claims = [(i, c) for i, c in enumerate(parts) if isinstance(c, Claim) and not isinstance(c.value, str)]
    kinds = [(c.unit, c.metric) for _, c in claims]
    alike = {k for k in kinds if kinds.count(k) > 1}
    if alike and RANKING.search(COMPARED.sub(" ", re.sub(HOLE, " ; ", " ".join(COMPARED.sub(" ", w) for w in words)))):
        yield "figures are ranked by words that cannot be checked"
    for n, (i, c) in enumerate(claims):
        j = next((j for j, b in reversed(claims[:n]) if (b.unit, b.metric) == (c.unit, c.metric)), None)
        if j is None or COMPARED.search(folded(words[i - 1])):
            continue
        said = set(re.findall(r"[a-z]+", " ".join(words[j + 1 : i]).lower()))
        own = set(re.findall(r"[a-z]+", c.metric.lower())) | {w for p in names.all | set(names.spoken) for w in
                                                              re.findall(r"[a-z]+", p.lower())}  # fmt: skip
        short = {s for s in _short(names.models) if s in said}
        if strange := {w for w in said - BESIDE - own - short if w.rstrip("s") not in own}:
            yield f"figures are set against each other by {', '.join(sorted(strange)[:3])}"


def named_tickers(text: str, names: Names) -> set[str]:
    """Tickers that a text names, by themselves or as people call them."""
    low = f" {re.sub(r'[^a-z0-9&]+', ' ', text.lower())} "
    return _named(text, names.tickers) | {t for word, t in names.spoken.items() if f" {word} " in low}


def named_models(text: str, names: Names) -> set[str]:
    """Models that a text names, by themselves or in short: Ridge is every one that may be meant by it."""
    full = _named(text, names.models)
    words = re.findall(r"[A-Za-z]{4,}", " ".join(w for w in re.findall(r"[\w.&\-]+", text) if w not in full))
    short = _short(names.models)
    said = {w.lower() for w in words if w[0].isupper() or w.lower() not in ("theta", "perceptron", "lars")}
    return full | {m for w in said for m in short.get(w, ())}


@lru_cache(maxsize=8)
def _short(models: frozenset[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for m in models:
        stem = re.sub(r"(?:Regression|Regressor|Classifier|Simulation)$", "", m.split("_")[0]).lower()
        if len(stem) > 3 and stem not in _NO_NAMES:
            found.setdefault(stem, set()).add(m)
    return {k: frozenset(v) for k, v in found.items()}


_NO_NAMES = frozenset("linear logistic quantile gamma stacking voting bagging recursive polynomial".split())


def _named(text: str, known: Iterable[str]) -> set[str]:
    words = set(re.findall(r"[\w.&\-]+", text.replace("'s", " ").replace("’s", " ")))
    words |= {w.rstrip(".-") for w in words}
    return words & set(known)


def _topics(text: str) -> set[str]:
    return {name for name, pattern in TOPIC.items() if pattern.search(text)}


def _compared(parts: Sequence[str | Claim], words: Sequence[str]) -> Iterator[str]:
    """Whether a comparison of two figures is so; one with a single figure says a number that is nowhere."""
    first: Claim | None = None
    for i, b in enumerate(parts):
        if isinstance(b, str):
            continue
        a, first = first, b
        near = COMPARED.search(BEATEN.sub(" ", folded(words[i - 1]))) if i else None
        if near is None:
            continue
        if a is None or a.unit != b.unit or isinstance(a.value, str) or isinstance(b.value, str):
            yield f"{b.id} is compared with something that is no figure of this turn"
        elif a.value == b.value or (a.value > b.value) != bool(near[1]):
            yield f"{a.id} is not {near[0]} {b.id}"
