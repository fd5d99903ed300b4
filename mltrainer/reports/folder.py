"""Run folders as they stand: found, read back, held to what the trail says, sent away; nothing is computed."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mltrainer import store
from mltrainer.errors import BadInput, Tampered, Unavailable
from mltrainer.evaluation import trials
from mltrainer.evaluation.record import Evaluation
from mltrainer.paths import runs_folder
from mltrainer.settings import settings
from mltrainer.trust import audit

MANIFEST = (
    "run revision earlier status mode as_of created_at parameters families sources matrices results luck calibration "
    "ledger library_versions outputs audit_head"
).split()


@dataclass(frozen=True)
class Run:
    """One finished run folder, read back; nothing is computed."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the folder."""
        return str(self.manifest["run"])

    @property
    def short(self) -> str:
        """The end of its name, which tells it from all other runs and is shown beside its title."""
        return self.id[-8:]

    @property
    def title(self) -> str:
        """What was asked, in few words."""
        p = self.manifest["parameters"]
        who = p.get("universe") or ", ".join(p["tickers"])
        what = f"{p['target']} of " if "target" in p else ""
        return f"{what}{who}, {p['horizon']} sessions ahead, to {self.as_of} ({self.short})"

    @property
    def mode(self) -> str:
        """The data mode stamped on the run."""
        return str(self.manifest["mode"])

    @property
    def as_of(self) -> str:
        """Last session of the data, YYYY-MM-DD."""
        return str(self.manifest["as_of"])

    @property
    def families(self) -> list[str]:
        """Keys of the families of the run, in catalog order."""
        return list(self.manifest["families"])

    @property
    def failed(self) -> dict[str, str]:
        """Family -> why its page could not be made."""
        pages = self.manifest["families"] | {"validation": self.manifest.get("validation") or {"status": "ok"}}
        return {f: s["reason"] for f, s in pages.items() if s["status"] != "ok"}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The leaderboard, as `leaderboard.csv` holds it."""
        return pd.read_csv(self.path / "leaderboard.csv", keep_default_na=False, na_values=[""])

    def evaluation(self, name: str, ticker: str) -> Evaluation:
        """Return the stored result of one model on one ticker."""
        for r in self.manifest["results"]:
            held = r["model"] == name and r["ticker"] == ticker and r["status"] == "ok"
            if held and (found := trials.opened(r["key"])) is not None:
                return found
        raise Unavailable(f"run {self.id} holds no result of {name} on {ticker}")

    def __repr__(self) -> str:
        """Say where it is and how it ended."""
        return f"Run({self.manifest['status']}: {self.path / 'index.html'})"


def runs(out: str | Path | None = None) -> list[Run]:
    """Every run folder below `out` that has a readable manifest, newest first; `out` is by default as for `report`."""
    found = []
    for path in place(out).glob("*/manifest.json"):
        try:
            run = read(path.parent)
        except (Tampered, OSError):
            continue  # `verify` is the place to say what is wrong with a folder
        found.append(run)
    return sorted(found, key=lambda r: str(r.manifest["created_at"]), reverse=True)


def place(out: str | Path | None) -> Path:
    """The folder of runs that is meant: the one named, else that of the settings, else `reports`."""
    return runs_folder(out or settings().out)


def locate(run: str | Path | Run, out: str | Path | None = None) -> Path:
    """Return the folder of a run, given as such, as a run id below `out` or the end of one, or as a `Run`."""
    if isinstance(run, Run):
        return run.path
    folder, below = Path(run), place(out) / Path(run).name
    if (folder / "manifest.json").is_file():
        return folder
    if folder.name == str(run):
        if (below / "manifest.json").is_file():
            return below
        for other in runs(out):
            if other.short == str(run):
                return other.path
    raise Unavailable(
        f"{str(run)[:80]!r} is no run folder and no run id below {below.parent}; mltrainer report makes one"
    )


def export(run: str | Path | Run, to: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write the pages of a run to the folder `to`, each with what draws its figures inside, to be sent by itself."""
    from mltrainer.reports.pages import whole

    found, folder = read(locate(run, out)), Path(to)
    written = [folder / name for name in found.manifest["outputs"] if name == f"{Path(name).stem}.html"]
    if folder.resolve() == found.path.resolve():
        raise BadInput(
            f"{folder} is the run itself, whose pages are as its manifest records them; choose another folder"
        )
    for path in written:
        store.write_atomic(path, whole((found.path / path.name).read_text(encoding="utf-8")))
    return written


def read(folder: Path) -> Run:
    """Read one run folder; `Tampered` if its manifest is none."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if isinstance(manifest, dict):
            manifest = {"ledger": None} | manifest  # runs of before do not say it
        if not isinstance(manifest, dict) or any(key not in manifest for key in MANIFEST):
            raise ValueError("keys are missing")
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{folder / 'manifest.json'} is not a manifest of a run: {error}") from None
    return Run(folder, manifest)


def finished(folder: Path) -> Run | None:
    """Return the run of a folder if it is complete, every file is as recorded and the trail tells of it."""
    try:
        run = read(folder)
        told = {e.payload.get("manifest") for e in audit.entries(kind="report")}
        same = all(sha(folder / name) == recorded for name, recorded in run.manifest["outputs"].items())
    except (OSError, Tampered, AttributeError):
        return None
    whole = same and sha(folder / "manifest.json") in told and run.manifest["status"] == "complete"
    return run if whole else None


def earlier(run: str, revision: str) -> list[dict[str, Any]]:
    """What the trail tells of other revisions of a run, oldest first, a line each."""
    told = [{"at": e.at} | e.payload for e in audit.entries(kind="report") if e.payload.get("run") == run]
    last = {line.get("revision"): line for line in told if line.get("revision") != revision}
    names = ("revision", "at", "trials", "finding", "manifest")
    return [{name: line.get(name, "") for name in names} for line in last.values()]


def sha(path: Path) -> str:
    """Sha256 of a file; empty when there is none."""
    return store.hashed_file(path) if path.is_file() else ""
