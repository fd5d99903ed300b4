"""What a stranger wrote (a name, a note, an error) is text wherever it is shown, exported, printed or answered."""

import io
import json
import unicodedata
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

import mltrainer as mt
from mltrainer import plain, views
from mltrainer.assistant.claims import Table
from mltrainer.assistant.records import listing, sheet
from mltrainer.cli import files, terminal
from mltrainer.errors import BadInput, MltrainerError
from mltrainer.evaluation.leaderboard import COLUMNS, Leaderboard
from mltrainer.reports import index
from mltrainer.server import users
from mltrainer.trading import positions

HOSTILE = {
    "a script": "<script>hit()</script>",
    "an attribute": '"><img src=x onerror=hit()>',
    "a link": "[click](javascript:hit()) ![x](http://evil.example/x)",
    "a heading": "# Big\n\n**bold** <b>b</b>",
    "a formula": "=1+1",
    "a command": "=cmd|' /C calc'!A0",
    "a formula after a space": " @SUM(A1)",
    "a minus": "-2+3+cmd|' /C calc'!A0",
    "a wide formula": "＝1",
    "a tab": "\t=1",
    "a screen that is cleared": "a\x1b[2J\x1b[31mred",
    "a title of a window": "a\x1b]0;owned\x07b",
    "a link of a terminal": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "a control of one byte": "a\x9b31mb\x84c",
    "a carriage return": "good\rbad",
    "backspaces": "bad\x08\x08\x08good",
    "an override": "abc\u202egnp.exe",
    "isolates": "a\u2066b\u2069\u200fc",
    "zero width": "MS\u200bFT\ufeff",
    "a zero": "a\x00b",
    "a lone surrogate": "a\ud800b",
    "braces": "{{c1}} {0.__class__} {% x %} ${x}",
    "very long": "x" * 100_000,
}
each = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
TAGS = set("div span p b a table caption thead tbody tr th td details summary h2 h3 dl dt dd ul li article".split())


class Reader(HTMLParser):
    """What a browser would make of HTML: elements, handlers, addresses."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.odd: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.odd += [name for name, _ in attributes if name.startswith("on")]
        self.odd += [str(v) for k, v in attributes if k in ("src", "href") and not str(v).startswith("#")]


def unseen(text: str) -> set[str]:
    """What a terminal or an eye obeys, and nobody sees."""
    return {c for c in text if c not in "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")}


def rows(text: str) -> pd.DataFrame:
    ran = dict.fromkeys(COLUMNS, 0.5) | dict.fromkeys(("name", "family", "task", "ticker", "verdict", "key"), text)
    ran |= {"status": "ok", "reason": "", "target": "return", "settings": text, "project": text, "panel": ""}
    return pd.DataFrame([ran, ran | {"status": "failed", "reason": text}], columns=COLUMNS)


def board(text: str) -> Leaderboard:
    luck = dict.fromkeys(("trials", "best", "expected", "overfitting", "spa_p"), 1.0)
    return Leaderboard(rows(text), luck)


# --- HTML -----------------------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[str], str]] = {
    "a leaderboard": lambda text: views.board(rows(text)),
    "a table": lambda text: views.table([[text, 1.0]], [text, "n"], caption=text),
    "figures": lambda text: views.figures([(text, text, text)], terms=True),
    "a banner": lambda text: views.banner("sample", text),
    "a term": lambda text: views.term(text),
    "a table of the chat": lambda text: sheet(Table(text, (text,), ((text,),)), [[views.figures([(text, text, "")])]]),
    "notices": lambda text: views.asides([text]),
}


@each
@pytest.mark.parametrize("page", PAGES)
def test_no_page_makes_an_element_of_it(page: str, text: str):
    read = Reader(PAGES[page](text.encode(errors="replace").decode()))
    assert read.tags <= TAGS
    assert read.odd == []


@each
def test_a_question_in_the_chat_is_text_and_so_is_its_answer(home: Any, text: str):
    try:
        answer = mt.ask(text)
    except BadInput:
        return  # nothing that is seen, or too long
    read = Reader(answer.html)
    assert read.tags <= TAGS
    assert read.odd == []
    assert unseen(answer.text) == set()


# --- files ----------------------------------------------------------------------------------------------------


def formulas(text: str) -> list[str]:
    """Cells of a CSV that a spreadsheet would run."""
    found = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str, header=None)
    cells = [c for c in found.to_numpy().ravel() if isinstance(c, str) and c.strip()]
    return [c for c in cells if c.lstrip()[:1] in plain.FORMULA and not number(c)]


def number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


@each
def test_no_cell_of_a_leaderboard_is_a_formula(text: str):
    assert formulas(index.csv(board(text.replace("\ud800", "")))) == []


@each
def test_no_cell_of_an_exported_table_is_a_formula(tmp_path: Any, text: str):
    text = text.replace("\ud800", "")
    frame = pd.DataFrame({"name": [text], "n": [-1.5]})
    files.write(frame, tmp_path / "rows.csv")
    assert formulas((tmp_path / "rows.csv").read_bytes().decode()) == []
    assert pd.read_csv(tmp_path / "rows.csv")["n"].item() == -1.5


@each
def test_parquet_which_runs_nothing_keeps_it_as_it_is(tmp_path: Any, text: str):
    pytest.importorskip("pyarrow")
    text = text.replace("\ud800", "")
    files.write(pd.DataFrame({"name": [text]}), tmp_path / "rows.parquet")
    assert pd.read_parquet(tmp_path / "rows.parquet")["name"].item() == text


@each
def test_no_cell_of_an_exported_account_is_a_formula(home: Any, text: str):
    try:
        positions.record("deposit", "2010-01-05", cash=1.0, note=text)
    except MltrainerError:
        return
    assert formulas(positions.export_csv()) == []


# --- terminal and JSON ----------------------------------------------------------------------------------------

PRINTED: dict[str, Callable[[str], None]] = {
    "an error": lambda text: terminal.complain(f"no model is called {text}"),
    "a line": terminal.say,
    "a table": lambda text: terminal.say(terminal.table([text, "n"], [[text, 1]])),
    "a table of the chat": lambda text: terminal.say(listing([Table(text, (text,), ((text,),))])),
    "a leaderboard": lambda text: terminal.board(board(text), json_=False),
    "a document": lambda text: terminal.say(terminal.document({text: [text]})),
}


@each
@pytest.mark.parametrize("what", PRINTED)
def test_a_terminal_is_told_nothing_that_it_obeys(capsys: pytest.CaptureFixture[str], what: str, text: str):
    PRINTED[what](text)
    out, err = capsys.readouterr()
    assert out or err
    assert unseen(out + err) == set()


@each
def test_a_document_holds_it_as_it_is(text: str):
    assert json.loads(terminal.document({"name": text})) == {"name": text}


@given(st.text(), st.text())
def test_any_text_is_printed_without_what_is_obeyed_and_any_document_read_back(name: str, value: str):
    assert unseen(plain.lines(name)) == set()
    said = plain.spelled({name: value})
    assert unseen(said) == set()
    assert json.loads(said) == {name: value}


# --- names and reasons ----------------------------------------------------------------------------------------

NAMES: dict[str, Callable[[str], object]] = {
    "a model of one's own": lambda text: mt.register(Ridge(), text),
    "a feature of one's own": lambda text: mt.register(lambda bars: bars["close"].pct_change(), text),
    "a project": lambda text: mt.evaluate("RidgeRegression", "MSFT", project=text),
    "a user": lambda text: users.add(text, "viewer"),
    "a ticker": lambda text: mt.bars(text),
}


@each
@pytest.mark.parametrize("what", NAMES)
def test_it_is_no_name_and_the_error_says_so_in_one_plain_line(home: Any, what: str, text: str):
    with pytest.raises(MltrainerError) as refused:
        NAMES[what](text)
    assert len(str(refused.value)) < 1_000
    assert unseen(str(refused.value)) == set()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("what", ["a screen that is cleared", "an override", "a zero"])
def test_what_a_strangers_model_raises_is_a_plain_reason(home: Any, what: str):
    class Breaks(Ridge):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Breaks":
            raise ValueError(HOSTILE[what])

    found = mt.evaluate(mt.register(Breaks(), "breaks"), "MSFT", start="2009-01-02", end="2010-12-31")
    assert found.status == "failed"
    assert unseen(found.reason) == set()


def test_no_cell_begins_a_row_of_its_own():
    shown = plain.harmless(pd.DataFrame({"a": ["=1\r=cmd|x", "x\r=y"]})).to_csv(index=False)
    assert "\r" not in shown
