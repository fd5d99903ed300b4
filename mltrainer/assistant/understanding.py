"""From a question to a tool and its parameters: names, spans and words are found wherever they stand."""

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from mltrainer.assistant import dates
from mltrainer.assistant.glossary import WORDS
from mltrainer.assistant.numerals import cleaned
from mltrainer.assistant.phrases import PHRASES, Phrase
from mltrainer.assistant.tools import TOOLS
from mltrainer.assistant.wording import CAPITALS
from mltrainer.data import sample
from mltrainer.data.providers.macro_series import SERIES
from mltrainer.data.universes import DOW
from mltrainer.features.targets import TARGETS
from mltrainer.models import catalog
from mltrainer.settings import settings
from mltrainer.trading.portfolio.methods import METHODS

SPOKEN = {  # what people call a ticker
    "apple": "AAPL", "microsoft": "MSFT", "google": "GOOG", "alphabet": "GOOG", "facebook": "FB", "exxon": "XOM",
    "walmart": "WMT", "pfizer": "PFE", "merck": "MRK", "pepsi": "PEP", "coca cola": "KO", "coke": "KO",
    "general electric": "GE", "home depot": "HD", "johnson and johnson": "JNJ", "jpmorgan": "JPM", "chevron": "CVX",
    "procter": "PG", "lilly": "LLY", "unitedhealth": "UNH", "best buy": "BBY", "bank of america": "BAC",
    "s&p 500": "SPX", "s&p": "SPX", "nasdaq": "COMP", "the market": "SPX", "the index": "SPX",
}  # fmt: skip
TIMES = {"tomorrow": 1, "next day": 1, "next week": 5, "a week": 5, "one week": 5, "two weeks": 10, "next month": 21,
         "a month": 21, "one month": 21, "next quarter": 63, "a quarter": 63}  # fmt: skip
MEANT = {"realized volatility": "volatility", "volatile": "volatility", "vol": "volatility", "updown": "direction",
         "up or down": "direction", "turnover of shares": "volume"}  # fmt: skip
FIGURES = {"highest|high|peak|maximum": "highest", "lowest|low|minimum": "lowest", "drawdown": "drawdown",
           "volatile|volatility|risky": "volatility"}  # fmt: skip
_MARKET = re.compile(r"(?<!beat )(?<!beats )(?<!beating )\bthe (?:market|index)\b", re.I)  # what is beaten is no ticker
_PLAIN = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Understood:
    """What a question asks for; `corrected` has names that were misspelled, and what was taken instead."""

    tool: str
    parameters: dict[str, Any]
    phrase: Phrase
    corrected: dict[str, str] = field(default_factory=dict)
    assumed: str = ""
    left: tuple[str, ...] = ()  # names that were said and that the tool is not asked about
    unread: tuple[str, ...] = ()  # words on days


@lru_cache(maxsize=1)
def known_tickers() -> frozenset[str]:
    """Tickers that are known without asking a provider."""
    return frozenset({e.name for e in sample.BARS} | set(DOW))


@lru_cache(maxsize=1)
def _models() -> dict[str, str]:
    """Names of the catalog by their letters and digits alone; short ones too, where they name one model."""
    exact = {_PLAIN.sub("", s.name.lower()): s.name for s in catalog.specs()}
    short: dict[str, list[str]] = {}
    for s in catalog.specs():
        short.setdefault(re.sub(r"(?:regression|regressor|simulation)$", "", s.name.lower().split("_")[0]), []).append(
            s.name
        )
    return {k: v[0] for k, v in short.items() if len(v) == 1 and len(k) > 3} | exact


def understand(question: str) -> Understood | None:
    """Read a question by the table of phrasings; None where no row fits.

    >>> understand("how good is ridge on msft over 10 days?").parameters
    {'model': 'RidgeRegression', 'ticker': 'MSFT', 'horizon': 10}
    """
    text = cleaned(question)[:500].strip()
    low = " ".join(text.lower().replace("’", "'").split())
    models, tickers, corrected = _named(text)
    phrase = next((p for p in PHRASES if p.fits(low) and _possible(p, models, tickers, low)), None)
    if phrase is None:
        return None
    spans, unread = dates.days(low)
    found = _slots(low, models, tickers) | spans
    if phrase.tool == "explain":
        found["term"] = models[0] if models else _term(low)
        if not found["term"]:
            return None
    if TOOLS[phrase.tool].parameters.model_fields.keys() >= {"models"}:
        found["models"] = models
    fields = TOOLS[phrase.tool].parameters.model_fields
    asked = {k: v for k, v in (found | phrase.given).items() if k in fields}
    assumed = str(fields["ticker"].default or "") if "ticker" in fields and "ticker" not in asked else ""
    unread += dates.missed(spans, fields)
    return Understood(phrase.tool, asked, phrase, corrected, assumed, _left(low, fields, models, tickers), unread)


def _left(low: str, fields: Any, models: list[str], tickers: list[str]) -> tuple[str, ...]:
    """Names that a question says and that its tool has no place for."""
    if "term" in fields:
        return ()
    market = ("the market",) if tickers and "SPX" not in tickers and "ticker" in fields and _MARKET.search(low) else ()
    return market + tuple(
        name
        for one, several, names in (("ticker", "tickers", tickers), ("model", "models", models))
        if several not in fields
        for name in names[1 if one in fields else 0 :]
    )


def _possible(phrase: Phrase, models: list[str], tickers: list[str], low: str) -> bool:
    """Whether what a tool cannot do without was named."""
    if phrase.tool == "compare":
        return len(models) > 1
    if phrase.tool in ("evaluate", "train"):
        return bool(models)
    if phrase.tool == "prices" or phrase.pattern.startswith(r"^(?:is|are)"):
        return bool(tickers)
    if phrase.tool in ("regime", "forecast", "quality"):
        return not re.search(r"\bmeans?\b|^(?:define|explain)|^what(?:'s| is) (?:a|an)\b", low)
    if phrase.tool in ("weights", "portfolio", "leaderboard", "recommend"):
        return not re.search(
            r"\bmeans?\b|^(?:define|explain|describe)\b|^what(?:'s| is) (?:a|an) |^what is risk[- ]parity", low
        )
    return True


def _named(text: str) -> tuple[list[str], list[str], dict[str, str]]:
    """Models and tickers in the order they are named, and what was misspelled."""
    corrected: dict[str, str] = {}
    models = _named_models(text, corrected)
    rest = text
    for m in [*models, *corrected]:
        rest = re.sub(re.escape(m), " ", rest, flags=re.I)
    return models, _named_tickers(rest, corrected), corrected


def _named_models(text: str, corrected: dict[str, str]) -> list[str]:
    words = re.findall(r"[A-Za-z0-9_.]+", text)
    words = [w.strip(".") for w in words]
    known, found, taken = _models(), {}, set()  # type: ignore[var-annotated]
    for n in (6, 5, 4, 3, 2, 1):  # the longest name first: KNeighborsRegressor 10 distance
        for i in range(len(words) - n + 1):
            span, key = range(i, i + n), _PLAIN.sub("", "".join(words[i : i + n]).lower())
            if (
                key in known
                and not taken & set(span)
                and (n > 1 or key not in ("lars", "theta") or words[i][0].isupper())
            ):
                found[i] = known[key]
                taken |= set(span)
    for i, w in enumerate(words):
        key = _PLAIN.sub("", w.lower())
        if i in taken or len(key) < 6 or w.lower() in WORDS or w.lower() in _COMMON:
            continue
        if close := get_close_matches(key, [k for k in known if len(k) > 5], n=1, cutoff=0.88):
            found[i] = corrected[w] = known[close[0]]
    return list(dict.fromkeys(found[i] for i in sorted(found)))


_COMMON = frozenset("regression forecast volatility ranking perception regressor combination".split())


def _named_tickers(text: str, corrected: dict[str, str]) -> list[str]:
    known, found = known_tickers(), {}
    others = {w: t for w, t in SPOKEN.items() if not w.startswith("the ")}
    for word, ticker in others.items():
        if m := re.search(rf"(?<![\w&]){re.escape(word)}(?![\w&])", text, re.I):
            found[m.start()] = ticker
    for m in re.finditer(r"\b[A-Za-z][A-Za-z.\-]{0,9}\b", text):
        word = m[0].strip(".-")
        if word in known or (len(word) > 2 and word.upper() in known and word.lower() not in ("gs", "ms")):
            found[m.start()] = word.upper()
        elif word.isupper() and len(word) > 1 and word not in CAPITALS:
            close = get_close_matches(word, known, n=1, cutoff=0.7) if len(word) > 2 else []
            if close and settings().data_mode == "sample":
                found[m.start()] = corrected[word] = close[0]
            elif len(word) < 6 and word not in SERIES:  # a tool says that there is no such ticker; none is guessed
                found[m.start()] = word
    whole = _MARKET.search(text)
    if whole and not found:  # beside another ticker it is what that one is measured by
        found[whole.start()] = SPOKEN[whole[0].lower()]
    return list(dict.fromkeys(found[i] for i in sorted(found)))


def _slots(low: str, models: list[str], tickers: list[str]) -> dict[str, Any]:
    """Everything that tools may be asked, as far as it was said."""
    found: dict[str, Any] = {"tickers": tickers}
    if models:
        found["model"] = models[0]
    if tickers:
        found["ticker"] = tickers[0]
    found |= _counts(low)
    for words, figure in FIGURES.items():
        if re.search(rf"\b{words}\b", low):
            found["figure"] = figure
            break
    for name in (*MEANT, *TARGETS):
        if re.search(rf"\b{re.escape(name)}\b", low) and name not in ("return", "rank"):
            found["target"] = MEANT.get(name, name)
    for name in METHODS:
        if name.replace("-", " ") in low.replace("-", " "):
            found["method"] = name
    for key, family in catalog.FAMILIES.items():
        if re.search(rf"\b{key}\b|{re.escape(family.title.lower())}", low):
            found["family"] = key
    if m := re.search(r"\baccount (?!hold|doing|worth|is\b)([a-z0-9_\-]{2,40})\b", low):
        found["account"] = m[1]
    return found


def _counts(low: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for words, n in TIMES.items():
        if re.search(rf"\b{words}\b", low):
            found["horizon"] = n
    if m := re.search(r"\b(\d{1,3})[- ]?(?:trading[- ])?(session|day|d\b|week|month|quarter|year)s?\b", low):
        found["horizon"] = int(m[1]) * {"w": 5, "m": 21, "q": 63, "y": 252}.get(m[2][0], 1)
    if m := re.search(r"\bhorizon (?:of )?(\d{1,2})\b", low):
        found["horizon"] = int(m[1])
    if m := re.search(r"\b(?:top|last|first|best|show) (\d{1,2})\b", low):
        found["many"] = int(m[1])
    return found


def _term(low: str) -> str:
    """The words that are asked about."""
    known = sorted([t for t in (*WORDS, *TARGETS) if re.search(rf"\b{re.escape(t)}s?\b", low)], key=len)
    if known:
        return known[-1]
    bare = re.sub(
        r"^(?:please )?(?:what (?:is|are|does|do)|what's|explain|define|describe|tell me|how does)\b", "", low
    )
    bare = re.sub(r"\b(?:a|an|the|about|mean|means|meaning|of|work|to me|definition)\b|[?!.]", " ", bare)
    words = " ".join(bare.split())[:60]
    close = get_close_matches(words, [*WORDS, *TARGETS], n=1, cutoff=0.75)
    return close[0] if close else ""
