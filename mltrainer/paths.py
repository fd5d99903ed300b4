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


def runs_folder(named: str | Path | None = None) -> Path:
    """The folder of report runs: `named`, else `reports` where one stands.

    Whoever stands among a checkout's notebooks, as a notebook does, has them beside that folder, where the command line
    and the dashboards look for them, and not among the templates in `notebooks/reports`.
    """
    among, here = PACKAGE.parent / "notebooks", Path.cwd()
    if named is None and among.is_dir() and among.resolve() in (here.resolve(), *here.resolve().parents):
        return among.parent / "reports"
    return Path(named or "reports").absolute()


@cache
def look() -> str:
    """The one stylesheet that reports, dashboards and plain pages share, as text to put in a `<style>` element."""
    return (PACKAGE / "look.css").read_text(encoding="utf-8")


@cache
def figures_script() -> str:
    """The one script by which reports and dashboards draw figures, as text to put in a `<script>` element."""
    return (PACKAGE / "figures.js").read_text(encoding="utf-8")
