"""Text that strangers wrote (names, notes, errors), as text: for a reader's eye, a terminal and a spreadsheet.

HTML is escaped where it is made; what is cleaned here is what escaping leaves in: controls, escape sequences, marks of
direction, and what a spreadsheet takes for a formula.
"""

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = "=+-@\t\r\n＝＋－＠"  # what a spreadsheet may take for the beginning of one
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_BREAKS, _UNSEEN = "\n\r\t\v\f\x85\u2028\u2029", ("Cc", "Cf", "Cs", "Co", "Cn")


def cleaned(text: str) -> str:
    r"""Text without what a terminal or a reader's eye obeys: escape sequences, controls, direction marks, zero width.

    >>> cleaned("a\x1b[31mb\u202ec\u200bd")
    'abcd'
    """
    kept = (" " if c in _BREAKS else c for c in _ESCAPES.sub("", str(text)))
    return "".join(c for c in kept if c == " " or unicodedata.category(c) not in _UNSEEN)


def lines(text: str) -> str:
    r"""The same line by line, as a terminal shows it.

    >>> lines("name\n\x1b[2Jgone\x9b0m")
    'name\ngone0m'
    """
    return (
        text if text.isascii() and text.replace("\n", "").isprintable() else "\n".join(map(cleaned, text.split("\n")))
    )


def spelled(document: Any) -> str:
    r"""JSON in which every character that nobody sees is spelled out.

    >>> spelled({"a": "é\u202e\x9b"})
    '{\n "a": "é\\u202e\\u009b"\n}'
    """
    text = json.dumps(document, indent=1, ensure_ascii=False)
    unseen = {c for c in text if c != "\n" and unicodedata.category(c) in _UNSEEN}
    for c in unseen:
        text = text.replace(c, json.dumps(c)[1:-1] if ord(c) > 127 else f"\\u{ord(c):04x}")
    return text


def formula(text: str) -> bool:
    """Whether a spreadsheet may take a text for a formula.

    >>> formula("=1+1"), formula(" @SUM(A1)"), formula("MSFT"), formula("")
    (True, True, False, False)
    """
    return bool(text.strip()) and (text[0] in FORMULA or text.lstrip()[0] in FORMULA)


def harmless(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The frame with an apostrophe before each text that a spreadsheet would take for a formula; numbers stay."""

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        said = value.replace("\r", " ")  # which would begin a row of its own
        return f"'{said}" if formula(value) else said

    texts = frame.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz", "timedelta"])
    return frame.assign(**{str(c): texts[c].map(cell) for c in texts}).rename(columns=cell)
