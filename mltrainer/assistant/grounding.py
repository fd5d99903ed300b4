"""Fail-closed numbers: a language model names claims, the figures are put in here, and no other number passes.

A sentence is withheld as a whole when anything in it says a number that no claim of this turn holds, or says a claim's
figure of something else: another ticker, model or metric, another unit, another sign, a comparison that is not so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mltrainer.assistant.checks import HOLE, Names, flaws, named_models, named_tickers
from mltrainer.assistant.claims import Claim, derived
from mltrainer.assistant.numerals import cleaned
from mltrainer.assistant.records import anchor
from mltrainer.assistant.wording import AFTER, PLAIN
from mltrainer.errors import MltrainerError

MARK = re.compile(r"\{\{\s*([a-z_]+:)?\s*(c[0-9]{1,4}(?:\s*,\s*c[0-9]{1,4})*)\s*\}\}")
SENTENCE = re.compile(r"(?<=[.!?。！？])[\"')\]*_]*\s+|\n+")


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
    why = next(flaws(parts, words, used, names), "")
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


def _shown(parts: Sequence[str | Claim], words: Sequence[str], names: Names) -> Rendered:
    """The sentence with its figures, each with what the words leave open: of what, and as of when."""
    whole, used = "".join(words), [p for p in parts if isinstance(p, Claim)]
    clear = len(named_tickers(whole, names)) == 1, len(named_models(whole, names)) == 1, whole
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


def _label(claim: Claim, clear: tuple[bool, bool, str], dated: bool) -> str:
    one_ticker, one_model, whole = clear
    said = [
        "" if _says(whole, claim.metric) and not claim.parts else claim.metric,
        claim.model if claim.model and not one_model else "",
        claim.ticker if claim.ticker and not one_ticker else "",
        f"as of {claim.as_of}" if dated and claim.as_of and claim.unit != "date" else "",
    ]
    return ", ".join(filter(None, said))


def _says(whole: str, metric: str) -> bool:
    """Whether all words of a metric stand in a sentence, in whatever form."""
    stems = {w.rstrip("s")[:6] for w in re.findall(r"[a-z0-9]+", whole.lower())}
    return all(w.rstrip("s")[:6] in stems for w in re.findall(r"[a-z0-9]+", metric.lower()) if w not in PLAIN)
