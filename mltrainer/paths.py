"""Where the files that are not code lie, in a checkout and in an installed wheel alike."""

from functools import cache
from pathlib import Path

from mltrainer.errors import Unavailable

PACKAGE = Path(__file__).parent


def notebooks() -> Path:
    """The folder of notebooks: beside the package in a checkout, inside it when installed from a wheel."""
    for folder in (PACKAGE.parent / "notebooks", PACKAGE / "notebooks"):
        # site-packages may hold somebody else's "notebooks"; only ours has both of these rooms.
        if (folder / "dashboards").is_dir() and (folder / "reports").is_dir():
            return folder
    raise Unavailable("the notebooks folder is missing beside the package and inside it; install mltrainer again")


@cache
def look() -> str:
    """The one stylesheet that reports, dashboards and plain pages share, as text to put in a `<style>` element."""
    return (PACKAGE / "look.css").read_text(encoding="utf-8")


@cache
def figures_script() -> str:
    """The one script by which reports and dashboards draw figures, as text to put in a `<script>` element."""
    return (PACKAGE / "figures.js").read_text(encoding="utf-8")
