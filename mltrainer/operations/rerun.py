"""Why did a result change? From one trial to another by changing one thing at a time, each step run again.

First the one as it was, by today's code: what differs from the record is code and libraries. Then its data, its
settings and its model become those of the other, one after the other; what is left at the end is code and libraries
again. What is new of this is a trial like any other; what was there is computed anew beside the ledger.
"""

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mltrainer.errors import BadInput, MltrainerError, Unavailable
from mltrainer.evaluation import engine, judging, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog, spaces
from mltrainer.models.base import ModelSpec
from mltrainer.trust import gate
from mltrainer.trust.provenance import Provenance

CODE = "code and libraries"
OF_PROTOCOL = ("cost_bps", "interval", "winsorize", "policy", "folds", "window", "panel", "ranked")


@dataclass(frozen=True)
class Step:
    """One thing changed: its name, the figure before and after, and whether forecasts are the same to the bit."""

    changed: str
    before: float
    after: float
    same: bool

    @property
    def change(self) -> float:
        """The figure after less before, in its unit; 0 where both are undefined."""
        undefined = math.isnan(self.before) and math.isnan(self.after)
        return 0.0 if undefined else self.after - self.before


@dataclass(frozen=True)
class Setup:
    """What decides a trial besides the code: its model with settings, its data, its protocol."""

    spec: ModelSpec
    matrix: Matrix
    protocol: Protocol


def rerun(a: str, b: str, figure: str = "r2_oos") -> list[Step]:
    """From trial `a` to trial `b`, one thing changed at a time.

    Parameters
    ----------
    a, b : addresses of two trials of one ticker that ran, or how they begin.
    figure : of `Evaluation.metrics`, the one that is followed.

    Raises
    ------
    Unavailable
        The data of one can no longer be made: its source says something else by now, which is then the reason itself.
    BadInput
        One is of a panel, or has settings that cannot be read back from the ledger.
    """
    one, other = _row(a), _row(b)
    stored = [_stored(row, figure) for row in (one, other)]
    setups = [setup(row) for row in (one, other)]
    return list(_path(stored, setups, figure))


def _path(stored: list[Evaluation], setups: list[Setup], figure: str) -> Iterator[Step]:
    first, last = setups
    now = _computed(first)
    yield _step(CODE, stored[0], now, figure)
    stages = {
        "data": replace(first, matrix=last.matrix),
        "settings": Setup(_same_settings(first, last), last.matrix, last.protocol),
        "model": last,
    }
    before = first
    for name, stage in stages.items():
        after = now if _alike(before, stage) else _computed(stage, counted=stage is not last)
        yield _step(name, now, after, figure)
        before, now = stage, after
    yield _step(CODE, now, stored[1], figure)


def _alike(a: Setup, b: Setup) -> bool:
    """Whether nothing was changed between two stages."""
    same = a.spec.identity() == b.spec.identity() and a.spec.name == b.spec.name
    return same and a.matrix.fingerprint() == b.matrix.fingerprint() and repr(a.protocol) == repr(b.protocol)


def _same_settings(first: Setup, last: Setup) -> ModelSpec:
    """The first model with the settings of the last, where they are the same model; else as it is."""
    same = first.spec.name.partition("(")[0] == last.spec.name.partition("(")[0]
    return last.spec if same else first.spec


def _step(name: str, before: Evaluation, after: Evaluation, figure: str) -> Step:
    same = before.forecasts["forecast"].equals(after.forecasts["forecast"])
    return Step(name, float(before.metrics[figure]), float(after.metrics[figure]), same)


def _computed(of: Setup, *, counted: bool = False) -> Evaluation:
    """What it gives by today's code, whatever the ledger holds; what is new is `counted` there as a trial."""
    if counted:
        _ran(engine.run([of.spec], [of.matrix], protocol=of.protocol, jobs=1, progress=False))
    return _ran(judging.evaluate_each(of.spec, of.matrix, of.protocol))


def _ran(results: list[Evaluation]) -> Evaluation:
    (found,) = results
    if not found.ok:
        raise Unavailable(f"{found.model} on {found.ticker} does not run any more: {found.reason}")
    return found


def _row(start: str) -> dict[str, Any]:
    rows = trials.ledger()
    found = rows[rows["key"].str.startswith(start) & rows["status"].eq("ok")] if start else rows[:0]
    if len(found) != 1:
        raise BadInput(f"{len(found)} trials that ran begin with {start[:64]!r}; give the address of one")
    return dict(found.iloc[0])


def _stored(row: dict[str, Any], figure: str) -> Evaluation:
    held = trials.opened(row["key"])
    if held is None or figure not in held.metrics:
        raise BadInput(f"{row['model']} on {row['ticker']} has no figure {figure[:40]!r}; see docs/columns.md")
    return held


def setup(row: dict[str, Any]) -> Setup:
    """Model, data and protocol of a row of the ledger, made anew; the data is held to its hash."""
    if row["trial"] != row["key"]:
        raise BadInput(f"{row['model']} on {row['ticker']} is of a panel; compare trials of one ticker")
    named = dict(_settings(row))
    spec = catalog.spec(row["model"].partition("(")[0])
    paths = {spaces.label(path): path for path in spaces.parameters(spec)}
    unknown = [name for name in named if name not in OF_PROTOCOL and name not in paths]
    if unknown:
        raise BadInput(f"{row['model']} was run with {', '.join(unknown)}, which the ledger cannot give back")
    own = {paths[name]: value for name, value in named.items() if name in paths and name not in OF_PROTOCOL}
    protocol = Protocol.of(**{name: value for name, value in named.items() if name in OF_PROTOCOL})
    return Setup(spaces.candidate(spec, own) if own else spec, rebuilt(row), protocol)


def _settings(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for pair in filter(None, str(row["settings"]).split(", ")):
        name, _, value = pair.partition("=")
        try:
            yield name, ast.literal_eval(value)
        except (ValueError, SyntaxError):
            yield name, value


def rebuilt(row: dict[str, Any]) -> Matrix:
    """The matrix of a trial, made again from its source; `Unavailable` where that gives other data now."""
    from mltrainer.evaluation import study

    origin = _origin(row["matrix"])
    ends = [_origin(parent).parameters.get("end") for parent in origin.parents]
    end = next((str(day)[:10] for day in ends if day and day != "None"), None)
    asked = {
        "start": origin.parameters.get("start"),
        "end": end,
        "horizon": int(row["horizon"]),
        "target": row["target"],
    }
    try:
        made = study.matrix(row["ticker"], **{k: v for k, v in asked.items() if v not in (None, "None")})
    except MltrainerError as error:
        raise Unavailable(f"the data of {row['model']} on {row['ticker']} cannot be made again: {error}") from None
    if made.fingerprint() != row["matrix"]:
        was, now = row["matrix"][:12], made.fingerprint()[:12]
        raise Unavailable(f"data revision: {row['ticker']} until {end} is {now} by now, and was {was}")
    return made


def _origin(content: str) -> Provenance:
    if (held := gate.origin(content)) is None:
        raise Unavailable(f"{content[:12]} was let in on another installation; run it there")
    return held


def sentence(steps: list[Step], figure: str = "r2_oos") -> str:
    """What moved the figure most, and that nothing else did."""
    moved = [s for s in steps if not s.same or s.change]
    if not moved:
        return "nothing changes a single forecast or the figure: the two are one result"
    most = max(moved, key=lambda s: abs(s.change))
    parts = ", ".join(f"{s.changed} {s.change:+.4f}" for s in moved)
    return f"{figure} goes from {steps[0].before:.4f} to {steps[-1].after:.4f}, most by {most.changed}: {parts}"
