"""What the interface takes and gives: the types of its parameters, each with its bounds, and the records of answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from mltrainer.errors import MltrainerError, UnknownName

Ticker = Annotated[str, Field(pattern=r"^(?:[A-Z]:)?[A-Z][A-Z0-9.\-]{0,14}$", description="a ticker, as MSFT")]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="a day, YYYY-MM-DD")]
Limit = Annotated[int, Field(ge=1, le=500, description="so many at most")]
Offset = Annotated[int, Field(ge=0, le=10_000_000, description="so many are left out before")]
Account = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,40}$", description="which account")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:+\- ]{1,80}$")]
Tickers = Annotated[list[Ticker], Field(min_length=1, max_length=50)]
Horizon = Annotated[int, Field(ge=1, le=63, description="sessions a position is held")]
Artifact = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="address of a trained model")]
JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", description="as starting it gave it")]
AlertId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", description="as the list of alerts has it")]
Mode = Literal["live", "sample", "replay"]


class NotNow(MltrainerError):
    """It cannot be answered now, and may be later."""


class NotFound(UnknownName):
    """Nothing has the number that an address names."""


class NoSuchJob(NotFound):
    """There is no training of this number."""


class NoSuchAlert(NotFound):
    """There is no alert of this number."""


Hear = Callable[[str], None] | None
"""Takes the pieces of an answer as they come, for whoever asked for them."""


@dataclass(frozen=True)
class Caller:
    """Who asks, in which role."""

    name: str
    role: str


@dataclass(frozen=True)
class Health:
    """Is it up, on which data, and who am I? `may` names the permissions of the role."""

    status: str
    mode: Mode
    version: str
    role: str
    may: list[str]


@dataclass(frozen=True)
class Page:
    """Some of a list, the newest or the first one first.

    Attributes
    ----------
    total : how many there are, of which `limit` at most are given after `offset`.
    reason : why there are none, where that is not plain.
    """

    mode: Mode
    total: int
    limit: int
    offset: int
    items: list[dict[str, Any]]
    reason: str = ""


@dataclass(frozen=True)
class Trail(Page):
    """Entries of the audit trail, the newest first; `holds` and `findings` are null where it was not verified."""

    head: str = ""
    holds: bool | None = None
    findings: list[str] | None = None


@dataclass(frozen=True)
class Findings:
    """What the rules of quality found, by series."""

    mode: Mode
    ok: bool
    items: list[dict[str, Any]]
    violations: int


@dataclass(frozen=True)
class Answer:
    """One document, with the kind of data it rests on and its last session."""

    mode: str
    as_of: str
    notice: str
    answer: dict[str, Any]


@dataclass(frozen=True)
class Forgotten:
    """How many answers were forgotten."""

    mode: Mode
    forgotten: int


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes
    ----------
    progress : from 0 to 1.
    at, changed : when it was asked for and when it last changed, UTC.
    artifact : address of the trained model, once it is done.
    error : why it failed, in one line.
    """

    id: str
    state: Literal["queued", "running", "done", "failed", "interrupted"]
    progress: float
    user: str
    at: str
    changed: str
    request: dict[str, Any]
    attempt: int = 1
    artifact: str = ""
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
