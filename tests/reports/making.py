"""What the tests of reports share: the report they look at, and how it is made."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mltrainer.reports.folder import Run, read

SPAN = ["--start", "2005-01-03", "--end", "2009-12-31"]
COMMAND = ["report", "--family", "neighbors", "--ticker", "MSFT", "--no-validate", *SPAN]
MLTRAINER = Path(sys.executable).with_name("mltrainer")


@dataclass(frozen=True)
class Made:
    """Where the report lies, and how making it went: the first time and once more."""

    home: Path
    out: Path
    folder: Path
    first: subprocess.CompletedProcess[str]
    second: subprocess.CompletedProcess[str]
    seconds: tuple[float, float]
    before: dict[str, bytes]

    @property
    def run(self) -> Run:
        return read(self.folder)


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a command of a test sees: its own home, no keys."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLTRAINER_") and not k.endswith("_API_KEY")}
    return {**kept, "MLTRAINER_HOME": str(home), "MLTRAINER_WORLDS": "0", **more}


@dataclass
class Said:
    """What a command answered."""

    code: object
    out: str
    err: str
