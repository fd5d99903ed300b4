"""Answers: what a page last showed, kept so that whoever only reads it needs no kernel and no wait.

An answer is bound to what it was computed from: the manifests of all runs, the entries of the audit trail that its page
depends on, the code that drew it and, outside of mode sample, the day. When one of these has changed it is stale and
never shown. It is signed with a key of this home, so that a file somebody edited, or put in another's place, is none.
"""

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from mltrainer import store
from mltrainer.errors import MltrainerError
from mltrainer.paths import PACKAGE, runs_folder
from mltrainer.settings import settings
from mltrainer.trust import audit

MOST = 500  # answers kept; the oldest go
VIEWER = {"theme", "token", "live", "fresh"}  # of an address, what is of the visitor and not of the view
# Page -> kinds of entries of the audit trail that may change what it shows.
DEPENDS = {
    "data": ("answer",),
    "models": ("report",),
    "analytics": ("report", "position", "answer"),
    "alerts": ("alert", "alert event", "answer"),
    "recommendations": ("report", "alert", "position", "recommendation", "answer"),
}


@dataclass(frozen=True)
class Answer:
    """What a page showed at one address.

    Attributes
    ----------
    page, state : name of its notebook, and the view as a query with sorted names; "" is the view without one.
    basis : hash of what it was computed from.
    made : when, UTC, to the second.
    banner, parts, foot : HTML, as the page made it; nothing in it comes from a visitor unescaped.
    controls : name, options (text and value) and chosen value of each.
    every : seconds after which a page that is looked at asks whether the answer still holds; 0 is never.
    """

    page: str
    state: str
    basis: str
    made: str
    banner: str
    controls: list[list[Any]]
    parts: list[str]
    foot: str
    every: int = 0

    def html(self) -> str:
        """The page as the server shows it, with plain controls: a choice asks for another address."""
        when = f"{self.made[:10]} {self.made[11:16]} UTC"
        note = f'<p class="quiet made">Computed {when}; nothing that it rests on has changed since.</p>'
        parts = "".join(f'<div class="part">{part}</div>' for part in self.parts)
        if not self.every:
            return f"{self.banner}{_form(self.controls)}{parts}{self.foot}{note}"
        looked = f'<p class="quiet reading" data-every="{self.every}">Read {when}<span class="looked"></span>.</p>'
        return f"{self.banner}{_form(self.controls)}{looked}{parts}{self.foot}{note}"


def _form(controls: list[list[Any]]) -> str:
    if not controls:
        return ""
    fields = "".join(_select(name, options, chosen) for name, options, chosen in controls)
    return (
        f'<form class="jupyter-widgets controls" method="get">{fields}<noscript><button>Show</button></noscript></form>'
    )


def _select(name: str, options: list[list[str]], chosen: str) -> str:
    key = escape(name.lower())
    items = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for text, value in options
    )
    label = f'<label class="widget-label" for="choose-{key}">{escape(name)}</label>'
    return f'<div class="widget-inline-hbox">{label}<select id="choose-{key}" name="{key}">{items}</select></div>'


def canonical(query: Mapping[str, str]) -> str:
    """The view that a query asks for; an empty value asks for nothing.

    >>> canonical({"ticker": "MSFT", "theme": "dark", "model": "Ridge", "compare with": ""})
    'model=Ridge&ticker=MSFT'
    """
    return urlencode(sorted((k, v) for k, v in query.items() if v and k not in VIEWER))


# --- what an answer rests on ----------------------------------------------------------------------------------


def basis(page: str, out: str | Path | None = None, *, runs: bool = True) -> str:
    """Hash of everything that the page's answers are computed from, as it is now; `runs` are part of it or not."""
    day = "" if settings().data_mode == "sample" else str(datetime.now(UTC).date())
    found = sorted(runs_folder(out or settings().out).glob("*/manifest.json")) if runs else []
    made = [(str(path), store.digest(path), store.digest(path.with_name("leaderboard.csv"))) for path in found]
    parts = [version("mltrainer"), _code(), settings().data_mode, day, audit.latest(*DEPENDS[page]), made]
    return sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _code() -> str:
    """Hash of what makes the figures and the HTML: a page of an older version is not shown by a newer one."""
    files = sorted(PACKAGE.rglob("*.py"))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


# --- kept and read --------------------------------------------------------------------------------------------


def keep(answer: Answer, *also: str) -> None:
    """Keep an answer under its state, and under others that ask for the same view; a read-only home keeps none."""
    with suppress(MltrainerError, OSError):
        for state in dict.fromkeys((answer.state, *also)):
            body = asdict(answer) | {"state": state}
            signed = {"answer": body, "mac": _mac(body)}
            store.write_atomic(_file(answer.page, state), json.dumps(signed, ensure_ascii=False))
        _prune()


def stored(page: str, state: str, now: str) -> Answer | None:
    """The answer of a page at a state, if it is there, carries our signature and rests on what is there `now`."""
    try:
        signed = json.loads(_file(page, state).read_text(encoding="utf-8"))
        body = signed["answer"]
        if not hmac.compare_digest(str(signed["mac"]), _mac(body)):
            return None
        answer = Answer(**body)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return answer if (answer.page, answer.state, answer.basis) == (page, state, now) else None


def _file(page: str, state: str) -> Path:
    name = sha256(f"{page}\0{state}".encode()).hexdigest()[:32]
    return settings().home / "answers" / f"{name}.json"


def _mac(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=True)
    return hmac.new(_key(), text.encode(), "sha256").hexdigest()


def _key() -> bytes:
    """The key of this home, made at first use and readable by its owner alone."""
    path = settings().home / "answers.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f".{secrets.token_hex(8)}.tmp")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        with suppress(FileExistsError):
            os.link(beside, path)  # whole or not at all, and never over another's
        beside.unlink()
    key = path.read_bytes()
    if len(key) != 32:
        raise OSError(f"{path} is no key")
    return key


def _prune() -> None:
    files = sorted((settings().home / "answers").glob("*.json"), key=lambda f: f.stat().st_mtime_ns)
    for file in files[:-MOST]:
        file.unlink(missing_ok=True)
