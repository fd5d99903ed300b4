"""What was measured, put into the docs between its marks."""

import re
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def put(page: str, name: str, lines: Sequence[str]) -> None:
    """Put lines between `<!-- name -->` and `<!-- end of name -->` of a page of the docs."""
    block = "\n".join([f"<!-- {name} -->", *lines, f"<!-- end of {name} -->"])
    marked = re.compile(rf"<!-- {name} -->.*<!-- end of {name} -->", re.DOTALL)
    text, found = marked.subn(lambda _: block, (DOCS / page).read_text())
    if not found:
        raise ValueError(f"docs/{page} has no marks of {name}")
    (DOCS / page).write_text(text)
