"""Why did a result change? From one trial to another by changing one thing at a time, each step run again.

First the one as it was, by today's code: what differs from the record is code and libraries. Then its data, its
settings and its model become those of the other, one after the other; what is left at the end is code and libraries
again. What is new of this is a trial like any other; what was there is computed anew beside the ledger.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from mltrainer import store
from mltrainer.errors import BadInput, MltrainerError, Unavailable
from mltrainer.evaluation import engine, judging, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog, spaces
from mltrainer.models.base import ModelSpec
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


@dataclass(frozen=True)
class Setup:
    """What decides a trial besides the code: its model with settings, its data, its protocol."""

    spec: ModelSpec
    matrix: Matrix
    protocol: Protocol
    settings: str


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
        "data": Setup(first.spec, last.matrix, first.protocol, first.settings),
        "settings": Setup(_same_settings(first, last), last.matrix, last.protocol, last.settings),
        "model": last,
    }
    for name, stage in stages.items():
        after = _computed(stage) if stage is last else _tried(stage)
        yield _step(name, now, after, figure)
        now = after
    yield _step(CODE, now, stored[1], figure)


def _same_settings(first: Setup, last: Setup) -> ModelSpec:
    """The first model with the settings of the last, where they are the same model; else as it is."""
    same = first.spec.name.partition("(")[0] == last.spec.name.partition("(")[0]
    return last.spec if same else first.spec


def _step(name: str, before: Evaluation, after: Evaluation, figure: str) -> Step:
    same = before.forecasts["forecast"].equals(after.forecasts["forecast"])
    return Step(name, float(before.metrics[figure]), float(after.metrics[figure]), same)


def _computed(of: Setup) -> Evaluation:
    """What it gives now, beside the ledger, which holds it already."""
    return _ran(judging.evaluate_each(of.spec, of.matrix, of.protocol))


def _tried(of: Setup) -> Evaluation:
    """What it gives now, as a trial like any other."""
    return _ran(engine.run([of.spec], [of.matrix], protocol=of.protocol, jobs=1, progress=False))


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
    return Setup(spaces.candidate(spec, own) if own else spec, rebuilt(row), protocol, row["settings"])


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

    with store.reading() as connection:
        origin = _provenance(connection, row["matrix"])
        ends = [_provenance(connection, parent).parameters.get("end") for parent in origin.parents]
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


def _provenance(connection: Any, content: str) -> Provenance:
    query = select(store.admitted.c.provenance).where(store.admitted.c.content == content)
    held = connection.execute(query).scalar()
    if held is None:
        raise Unavailable(f"{content[:12]} was let in on another installation; run it there")
    return Provenance.from_json(held)


def sentence(steps: list[Step], figure: str = "r2_oos") -> str:
    """What moved the figure most, and that nothing else did."""
    moved = [s for s in steps if not s.same]
    if not moved:
        return "nothing changes a single forecast: the two are one result"
    most = max(moved, key=lambda s: abs(s.after - s.before))
    parts = ", ".join(f"{s.changed} {s.after - s.before:+.4f}" for s in moved)
    return f"{figure} goes from {steps[0].before:.4f} to {steps[-1].after:.4f}, most by {most.changed}: {parts}"
