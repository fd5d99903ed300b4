"""What runbooks share: a home of their own for a drill, steps that are checked, and a provider that falls silent."""

import atexit
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pandas as pd
from IPython.display import HTML

from mltrainer import paths, views
from mltrainer.data.quality.case import ZONE
from mltrainer.errors import BadInput, MltrainerError
from mltrainer.settings import settings

RUNBOOKS = {
    "daily-data-check": "is the data of today what it should be, and is every file what was written?",
    "weekly-model-review": "does each kept model still earn its state?",
    "provider-outage": "what works while a provider is silent, and what is said of it?",
    "data-contamination": "a provider sent something wrong: what came of it, and how is it taken back?",
    "model-failure": "the champion can no longer forecast: who does?",
    "key-rotation": "a key, token or passphrase must change: is the old one worth nothing afterwards?",
}
"""Name of the notebook in `notebooks/runbooks` -> the question it answers."""


class Failed(MltrainerError):
    """A step of a drill did not end as it has to."""


class Drill:
    """The steps of a runbook and how they ended; in a drill the first that does not hold ends it.

    Parameters
    ----------
    real : work on this installation's own state. Default a new home on packaged history, with no keys and no database
        of anybody's, which is removed when the process ends: nothing of yours is touched.
    """

    def __init__(self, real: bool = False) -> None:
        self.real, self.steps = real, list[dict[str, str]]()
        if not real:
            _apart()

    def check(self, what: str, holds: object, found: object = "") -> None:
        """Note a step; one of a drill that does not hold is `Failed`."""
        self.steps.append({"step": what, "holds": "yes" if holds else "NO", "found": str(found)[:200]})
        if not holds and not self.real:
            raise Failed(f"{what}: {found}")

    def refused(self, what: str, call: Callable[..., object], *args: Any, **options: Any) -> None:
        """Note a step that has to be refused, with the line that is said."""
        try:
            self.check(what, holds=False, found=f"it was not refused: {call(*args, **options)!r}")
        except Failed:
            raise
        except MltrainerError as error:
            self.check(what, holds=True, found=error)

    def report(self) -> HTML:
        """Every step, and in one sentence whether all held."""
        open_ = [s["step"] for s in self.steps if s["holds"] == "NO"]
        said = f"{len(open_)} of {len(self.steps)} steps need somebody: {'; '.join(open_)}." if open_ else "All held."
        table = rows(self.steps).data
        kind = "on this installation" if self.real else "a drill on packaged history, in a home of its own"
        return HTML(f"<p><b>{escape(said)}</b> ({kind})</p>{table}")


def rows(found: pd.DataFrame | Iterable[Mapping[str, Any]]) -> HTML:
    """Rows as a table of the page: all of it escaped, and on a phone it fits."""
    frame = found if isinstance(found, pd.DataFrame) else pd.DataFrame(list(found))
    return HTML(views.table([tuple(map(str, row)) for row in frame.itertuples(index=False)], list(frame.columns)))


def _apart() -> None:
    """Stand in a new folder with a new home: no variable, `.env` or database of the user's reaches a drill."""
    home, before = Path(tempfile.mkdtemp(prefix="drill-")), Path.cwd()
    for name in [n for n in os.environ if n.startswith("MLTRAINER_") or n.endswith("_API_KEY")]:
        del os.environ[name]
    os.environ |= {"MLTRAINER_HOME": str(home / "home"), "MLTRAINER_MODE": "sample"}
    os.chdir(home)
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    atexit.register(os.chdir, before)


class Provider:
    """Daily bars of packaged history in Polygon's envelope, on this machine: a provider that can fall silent.

    It points this process at itself, in mode replay. `silent` answers 503 from then on.
    """

    def __init__(self, bars: pd.DataFrame) -> None:
        self.bars, self.silent = bars, False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        os.environ |= {"MLTRAINER_MODE": "replay", "MLTRAINER_POLYGON_URL": url, "POLYGON_API_KEY": "drill"}

    def answer(self, address: str) -> dict[str, Any]:
        """What is sent for an address: bars of a span; no splits and no dividends."""
        parts = urlsplit(address)
        if not parts.path.startswith("/v2/aggs/"):
            return {"status": "OK", "results": []}
        ticker, (first, last) = parts.path.split("/")[4], parts.path.split("/")[-2:]
        days = self.bars.loc[first:last]
        at = pd.DatetimeIndex(days.index).tz_localize(ZONE).as_unit("ms").asi8
        values = days[["open", "high", "low", "close", "volume"]].itertuples(index=False)
        rows = [
            dict(zip("ohlcv", map(float, row), strict=True)) | {"t": int(t)} for row, t in zip(values, at, strict=True)
        ]
        same = {"ticker": ticker, "adjusted": parse_qs(parts.query).get("adjusted", [""])[0] == "true"}
        return same | {"queryCount": len(rows), "resultsCount": len(rows), "status": "OK", "results": rows}

    def close(self) -> None:
        """End it, and go back to the packaged history."""
        self.server.shutdown()
        self.server.server_close()
        for name in ("MLTRAINER_POLYGON_URL", "POLYGON_API_KEY"):
            os.environ.pop(name, None)
        os.environ["MLTRAINER_MODE"] = "sample"


def _handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "ERROR"} if provider.silent else provider.answer(self.path)).encode()
            self.send_response(503 if provider.silent else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the notebook is the record."""

    return Handler


def holding(secret: str) -> list[str]:
    """Files of the home in which a secret can be read: there should be none."""
    files = (p for p in settings().home.rglob("*") if p.is_file())
    return [p.name for p in files if secret.encode() in p.read_bytes()]


def spoil(path: Path) -> None:
    """Turn over one bit in the middle of a file of a drill, as a failing disk does."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(bytes(body))


def run(name: str, folder: Path, given: Mapping[str, Any]) -> Path:
    """Execute a runbook and write it as a page; it is written too where a step failed, and `Failed` says which."""
    from mltrainer.reports.execution import execute

    if name not in RUNBOOKS:
        raise BadInput(f"there is no runbook {name[:40]!r}; there are {', '.join(RUNBOOKS)}")
    folder.mkdir(parents=True, exist_ok=True)
    if why := execute(paths.notebooks() / "runbooks" / f"{name}.ipynb", dict(given), folder, name):
        raise Failed(f"runbook {name} ended early: {why}; {folder / 'failed' / name}.ipynb has the steps before")
    return folder / f"{name}.html"
