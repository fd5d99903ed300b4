"""One forecast as a record: everything that is said, everything it rests on, and the figure at which it is wrong."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import Any

from mltrainer.features import targets

NUMBERS = "forecast low high interval center confidence baseline_forecast coverage".split()
EVIDENCE = ("forward", "late", "historical")


@dataclass(frozen=True)
class Forecast:
    """What is said of one share over the next sessions.

    Attributes
    ----------
    as_of : the last session known; known_on : the session at which the outcome is known, by the exchange's calendar.
    forecast, low, high : in the unit of the target; the interval holds with chance `interval`. NaN where fewer than
        100 past errors are known, and of a direction, whose outcome is 0 or 1.
    center : what parts the two sides: 0 of a return, one half of a direction, the mean of the past of a level.
    confidence : calibrated probability that the outcome lies on the forecast's side of it.
    models : who speaks -> weight; a plain forecast where no model is shown to beat all of them.
    dropped : who does not speak -> why.
    baseline, baseline_forecast : what it will be measured against.
    past, coverage : out-of-sample forecasts of the same speakers that interval and confidence rest on, and the share of
        their intervals, made the same way, that held.
    inputs : hashes of the sealed matrix and of what the sources sent; evaluations : addresses of the trials.
    falsifier : session, and the figures below or above which the outcome calls it wrong.
    evidence : "forward" (committed while nothing of the outcome was known), "late" (some of it was), "historical" (a
        sample, whose outcomes are all known: never evidence), or "" of what was not committed.
    made_at : when it was committed, UTC; "" of what was not.
    """

    ticker: str
    target: str
    horizon: int
    as_of: str
    known_on: str
    forecast: float
    low: float
    high: float
    interval: float
    center: float
    confidence: float
    models: Mapping[str, float]
    dropped: Mapping[str, str]
    baseline: str
    baseline_forecast: float
    reason: str
    past: int
    coverage: float
    inputs: tuple[str, ...]
    evaluations: tuple[str, ...]
    mode: str
    project: str = ""
    evidence: str = field(default="", compare=False)
    made_at: str = field(default="", compare=False)

    @property
    def address(self) -> str:
        """Of its question, its speakers, the level of its interval and its day: two forecasts that share it are one."""
        said = (self.mode, self.ticker, self.target, self.horizon, self.interval, self.as_of, *sorted(self.models))
        return sha256("\0".join(map(str, said)).encode()).hexdigest()

    @property
    def id(self) -> str:
        """The first 12 digits of its address."""
        return self.address[:12]

    @property
    def side(self) -> int:
        """1 where the forecast is not below its center, else -1."""
        return 1 if self.forecast >= self.center else -1

    @property
    def falsifier(self) -> dict[str, Any]:
        """The session and the figures at which it is called wrong: outside the interval, else on the other side."""
        below, above = self.low, self.high
        if math.isnan(below):
            below, above = (self.center, math.inf) if self.side > 0 else (-math.inf, self.center)
        said = [f"below {shown(below, self.target)}"] * math.isfinite(below)
        said += [f"above {shown(above, self.target)}"] * math.isfinite(above)
        title, bounds = targets.target(self.target).title, " or ".join(said)
        if self.target == "direction":  # whose outcome is 1 where the return is above zero
            title, bounds = "the return", f"{'not ' * (self.side > 0)}above zero"
        says = f"wrong if on {self.known_on} {title} over {self.horizon} sessions is {bounds}"
        return {"session": self.known_on, "below": finite(below), "above": finite(above), "says": says}

    def wrong(self, outcome: float) -> bool:
        """Whether an outcome falsifies it; one at the very figure does not."""
        called = self.falsifier
        low = -math.inf if called["below"] is None else called["below"]
        return not low <= outcome <= (math.inf if called["above"] is None else called["above"])

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON; what is not a number is None."""
        said = {k: finite(v) if k in NUMBERS else v for k, v in asdict(self).items()}
        return {"id": self.id, **said, "falsifier": self.falsifier}

    def __repr__(self) -> str:
        """Say it in one line."""
        between = "" if math.isnan(self.low) else f", {self.interval:.0%} between {self._show(self.low)} and "
        between += "" if math.isnan(self.low) else self._show(self.high)
        by = " and ".join(self.models) if len(self.models) < 4 else f"{len(self.models)} models"
        head = (
            f"{self.ticker}, {self.target} over {self.horizon} sessions from {self.as_of}: {self._show(self.forecast)}"
        )
        return f"Forecast({head}{between}, by {by}; {self.reason})"

    def _show(self, value: float) -> str:
        return shown(value, self.target)


def shown(value: float, target: str) -> str:
    """A figure in the unit of its target, as a sentence has it."""
    return f"{value:+.2%}" if target in ("return", "excess") else f"{value:.3f}"


def finite(value: Any) -> Any:
    """The number, or None where it is none."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def payload(made: Forecast) -> dict[str, Any]:
    """What the trail tells of a forecast; the address is the first of its names, by which it is found."""
    said = {k: finite(v) if k in NUMBERS else v for k, v in asdict(made).items()}
    return {"address": made.address, **said, "falsifier": made.falsifier}


def read(said: Mapping[str, Any]) -> Forecast:
    """The forecast of which an entry of the trail tells."""
    known = {f.name: said[f.name] for f in fields(Forecast) if f.name in said}
    known |= {k: math.nan for k in NUMBERS if known.get(k) is None}
    return Forecast(**known | {k: tuple(known[k]) for k in ("inputs", "evaluations")})
