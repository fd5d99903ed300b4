"""Tests that were declared before they were run: what the audit trail tells of them, in the order it was told.

A declaration is an entry of the trail, which nobody can take back, move or date otherwise: it stands before the entry
of the result, or it was not there when the result was made.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mltrainer.trust import audit

KIND = "preregister"


@dataclass(frozen=True)
class Registration:
    """One test declared before its result.

    Attributes
    ----------
    key : address that the result will have: of this model, protocol and data, and of no other.
    seen : trials of the mode that this home knew of when it was declared; what was tried before may have chosen it.
    position : the last row of the ledger then.
    at : UTC.
    """

    key: str
    model: str
    ticker: str
    horizon: int
    target: str
    mode: str
    seen: int
    position: int
    settings: str = ""
    project: str = ""
    at: str = ""

    def __repr__(self) -> str:
        """Say what was declared in one sentence."""
        aim = f"{self.target}, {self.horizon} sessions ahead"
        how = f" ({self.settings})" if self.settings else ""
        since = f"after {self.seen} trials" if self.seen else "before any trial"
        return f"Registration({self.model}{how} on {self.ticker}: {aim}; declared {since}, {self.at[:16]} UTC)"

    def payload(self) -> dict[str, Any]:
        """What the trail tells of it."""
        return {name: value for name, value in asdict(self).items() if name != "at"}


def registrations(mode: str) -> Iterator[Registration]:
    """All of a mode, oldest first; of a test that was declared twice the first."""
    seen: set[str] = set()
    for entry in audit.entries(kind=KIND):
        found = Registration(**entry.payload, at=entry.at)
        if found.mode == mode and found.key not in seen:
            seen.add(found.key)
            yield found
