"""Cards of models, and what every page says of its data."""

from collections.abc import Iterable
from html import escape
from typing import Any

from latex2mathml.converter import convert as mathml

from mltrainer.settings import settings


def asides(lines: Iterable[str]) -> str:
    """Quiet lines below what they belong to."""
    return "".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)


def mode_words(mode: str, as_of: str = "") -> str:
    """What kind of data a mode shows, "as_of" its last session where that is known, and what is let in beside it."""
    beside = settings().alternatives
    said = {
        "sample": f"real historical data{as_of and f' to {as_of}'}, not Polygon/FRED, not for trading",
        "live": f"provider data{as_of and f' as of {as_of}'}",
        "replay": f"TEST: replayed answers{as_of and f' as of {as_of}'}, worth nothing",
    }.get(mode, f"unknown mode{as_of and f', as of {as_of}'}")
    return f"{said}, with ALTERNATIVE data of {', '.join(beside)}" if beside else said


def banner(mode: str, as_of: str) -> str:
    """Say on every page what kind of data it shows."""
    said = escape(mode_words(mode, as_of))
    return f'<div class="banner {escape(mode)}"><b>{escape(mode.upper())}</b><span>{said}</span></div>'


def card(card: Any) -> str:
    """The card of one model: what it is, our reading of its name, its settings, what it gives, its reference, cost."""
    body = "".join(f"<dt>{what}</dt><dd>{_words(card, what, words)}</dd>" for what, words in card.rows())
    return f'<article class="card"><h3>{escape(card.name)}</h3><dl>{body}</dl></article>'


def _words(card: Any, what: str, words: str) -> str:
    if what == "Formula":
        return str(mathml(words, display="block"))
    if what == "Runs":
        return f"<code>{escape(words)}</code>"
    if what != "Settings":
        return escape(words)
    return "<br>".join(_settings(part) for part in card.parts)


def _settings(part: Any) -> str:
    said = [", ".join(f"{escape(k)} = {escape(v)}" for k, v in s.items()) for s in (part.chosen, part.default)]
    chosen, default = said[0], said[1] and f'<span class="quiet">by default {said[1]}</span>'
    return f"<b>{escape(part.name)}</b> {'; '.join(filter(None, (chosen, default)))}"
