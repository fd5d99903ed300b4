"""What the verdict's rule says of worlds whose truth is known: one world through everything, many side by side, kept.

A world that was finished is kept in the store and told to the trail, so that the same calibration goes on where it was.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import insert, select
from tqdm.auto import tqdm

from mltrainer import metrics, store
from mltrainer.errors import Unavailable
from mltrainer.evaluation import cluster, encompassing, engine, judging, judgments, skill, worlds
from mltrainer.evaluation.baselines import BASELINES, fitted
from mltrainer.evaluation.levels import LEVELS, PERIOD
from mltrainer.evaluation.panels import of_name
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.significance import SIZE
from mltrainer.evaluation.skill import timing_return
from mltrainer.evaluation.trading import trade
from mltrainer.evaluation.worlds import World
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec
from mltrainer.settings import settings
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset, canonical, fingerprint

History = tuple[Dataset, ...]


@dataclass(frozen=True)
class Outcome:
    """What the rule said of one world: `t` holds, per model, the t of what it pays and of what it knows.

    `truth` is the annual Sharpe ratio, net of costs, of the timing of somebody who knows the planted lead, of a panel
    the mean of its tickers'; NaN without one. `best` is that of the model with the best timing. Where HAR is the
    truth (`levels`) both are shares of HAR's loss: what is saved by HAR with the lead beside it, fitted on the same
    folds, and by the model that saves most. `skilled` models were said to show evidence of skill, `leaking` ones to
    look ahead, `adding` ones to know something that no plain forecast does (`encompassing`; of one ticker, where HAR is
    the truth).
    """

    world: World
    truth: float
    best: float
    p: float
    t: dict[str, tuple[float, float]]
    skilled: tuple[str, ...] = ()
    leaking: tuple[str, ...] = ()
    adding: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """What every world of a calibration has in common."""

    histories: tuple[History, ...]
    horizon: int
    specs: tuple[ModelSpec, ...]
    protocol: Protocol
    target: str = "return"
    start: str = ""
    address: str = field(default="", compare=False)

    def matrix(self, world: World) -> Matrix:
        """The world itself."""
        return worlds.matrix(world, *self.histories, horizon=self.horizon, target=self.target, start=self.start)

    def key(self, world: World) -> str:
        """Address of a world's outcome."""
        return fingerprint(self.address, asdict(world))


# --- one world ------------------------------------------------------------------------------------------------


def outcome(plan: Study, world: World) -> Outcome:
    """Send one world through everything."""
    return _outcome_of(plan, (world, plan.matrix(world)))


def _outcome_of(plan: Study, made: tuple[World, Matrix]) -> Outcome:
    """What the rule says of a world that was made; the plan may have left its histories behind."""
    world, matrix = made
    gate.verify(matrix, gate.CALIBRATION)
    results = [e for s in plan.specs for e in judging.evaluate_each(s, matrix, plan.protocol, s.name) if e.ok]
    if not results:
        raise Unavailable("no model ran to the end in a world of this calibration")
    family = judgments.grouped(results)
    judged = skill.judge(family.values())
    verdicts = {e.model: skill.verdict(e, judged.evidence[e.trial]) for e in results}
    evidence = {e.model: judged.evidence[e.trial] for e in results}
    return Outcome(
        world,
        _truth(results[: len(matrix.tickers)], matrix, plan.protocol) if world.edge else float("nan"),
        _best(results, family),
        min(e.p for e in evidence.values()),
        {name: (e.t_pays, e.t_knows) for name, e in evidence.items()},
        tuple(n for n, v in verdicts.items() if skill.shows(v)),
        tuple(n for n, v in verdicts.items() if v.startswith(skill.LEAKAGE)),
        _adding(results, matrix, plan.protocol) if matrix.target in LEVELS else (),
    )


def _adding(results: list[Evaluation], matrix: Matrix, protocol: Protocol) -> tuple[str, ...]:
    if matrix.tickers != [matrix.name]:
        return ()
    p = encompassing.adds(results, matrix, protocol).p
    return tuple(e.model for e, one in zip(results, p, strict=True) if one <= SIZE)


def _best(results: list[Evaluation], family: dict[str, skill.Trial]) -> float:
    """What the best model reaches; NaN for one that never moves."""
    if results[0].target in LEVELS:
        return float(pd.Series([e.metrics["gain"] for e in results]).groupby([e.trial for e in results]).mean().max())
    return float(pd.Series([metrics.sharpe(t.pays) for t in family.values()]).max())


def _truth(results: list[Evaluation], matrix: Matrix, protocol: Protocol) -> float:
    """What the lead itself is worth, of a panel the mean of its tickers'; see `Outcome`."""
    lead = f"rsi_{PERIOD}"
    if matrix.target in LEVELS:
        return float(np.mean([_saved(e, matrix, protocol, lead) for e in results]))
    index = pd.concat({e.ticker: matrix.of(e.ticker).X.loc[e.forecasts.index, lead] for e in results}, axis=1)
    places = (-index).rank(axis=1, pct=True)  # of names side by side
    frames = {}
    for e in results:
        at, known = e.forecasts.index, matrix.aim.center + 0.5 - index[e.ticker]
        frames[e.ticker] = trade(
            e.forecasts.assign(forecast=known.loc[at], place=places.loc[at, e.ticker]), matrix.of(e.ticker), protocol
        )
    return float(np.mean([metrics.sharpe(timing_return(f, matrix.horizon)) for f in frames.values()]))


def _saved(e: Evaluation, matrix: Matrix, protocol: Protocol, lead: str) -> float:
    """Share of HAR's loss that HAR with the lead as a fourth column saves, both fitted on the folds of the model."""
    own, y, cuts, session, late = of_name(matrix, protocol, e.ticker)
    past = own.past.loc[y.index, list(BASELINES["HAR"].columns)]
    losses = []
    for X in (past, past.assign(lead=own.X.loc[y.index, lead])):
        forecast = pd.Series(fitted(X.to_numpy(float), y.to_numpy(float), cuts, session, late), y.index)
        losses.append(float(((y - forecast) ** 2).loc[e.forecasts.index].mean()))
    return 1 - losses[1] / losses[0]


# --- many worlds ----------------------------------------------------------------------------------------------


def outcomes(plan: Study, wanted: Sequence[World], jobs: int, seconds: float | None, progress: bool) -> list[Outcome]:
    """Outcomes of the worlds, those kept before and those that could be finished in time, in the order asked for."""
    known = _kept({plan.key(w): w for w in wanted})
    todo = [w for w in wanted if w not in known]
    with tqdm(
        total=len(wanted), initial=len(known), disable=engine.unwatched(progress) or not todo, unit="world", leave=False
    ) as bar:
        for batch in _batches(_made(plan, todo, jobs, seconds)):
            _keep(plan, batch)
            known |= {o.world: o for o in batch}
            bar.update(len(batch))
    return [known[w] for w in wanted if w in known]


def _made(plan: Study, todo: Sequence[World], jobs: int, seconds: float | None) -> Iterator[Outcome]:
    until = time.monotonic() + seconds if seconds is not None else np.inf
    if todo and settings().dask:  # worlds are made here, where the gate knows the histories
        plan_there, in_time = replace(plan, histories=()), (w for w in todo if time.monotonic() < until)
        made = ((w, plan.matrix(w)) for w in in_time)
        yield from cluster.each(_outcome_of, plan_there, made, plan.specs)
        return
    if jobs == 1 or len(todo) < 2:
        yield from (outcome(plan, world) for world in todo if time.monotonic() < until)
        return
    with engine.executor(jobs, _prepare, plan, until) as pool:
        waiting = [pool.submit(_in_time, world) for world in todo]
        try:
            for done in as_completed(waiting):
                if (found := done.result()) is not None:
                    yield found
        except BrokenProcessPool:
            raise Unavailable("a worker of the calibration was ended; run it again, it goes on where it was") from None


_plan: tuple[Study, float] | None = None  # of this worker


def _prepare(plan: Study, until: float) -> None:
    global _plan
    _plan = plan, until


def _in_time(world: World) -> Outcome | None:
    assert _plan is not None
    plan, until = _plan
    return outcome(plan, world) if time.monotonic() < until else None  # one clock for all processes of a machine


def _batches(found: Iterable[Outcome], every: float = 5.0) -> Iterator[list[Outcome]]:
    """Outcomes of some seconds together: each batch is one transaction and one entry of the trail."""
    batch, since = [], time.monotonic()
    try:
        for one in found:
            batch.append(one)
            if time.monotonic() - since > every:
                yield batch
                batch, since = [], time.monotonic()
    finally:
        if batch:
            yield batch


def _keep(plan: Study, batch: list[Outcome]) -> None:
    rows = {plan.key(o.world): canonical(_plain(o)) for o in batch}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with store.writing() as connection:
        held = set(connection.execute(select(store.worlds.c.key).where(store.worlds.c.key.in_(rows))).scalars())
        new = {k: v for k, v in rows.items() if k not in held}
        if new:
            values = [{"key": k, "payload": v, "at": at} for k, v in new.items()]
            connection.execute(insert(store.worlds), values)
            audit.extend(connection, "worlds", {"study": plan.address, "sha256": {k: _sha(v) for k, v in new.items()}})


def _kept(keys: dict[str, World]) -> dict[World, Outcome]:
    """Outcomes that were kept and that the trail tells of."""
    told = {k: v for e in audit.entries(kind="worlds") for k, v in e.payload["sha256"].items()}
    with store.reading() as connection:
        rows = connection.execute(select(store.worlds.c.key, store.worlds.c.payload)).all()
    return {keys[k]: _outcome(p) for k, p in rows if k in keys and told.get(k) == _sha(p)}


def _sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _plain(o: Outcome) -> dict[str, Any]:
    numbers = {k: None if np.isnan(v) else v for k, v in (("truth", o.truth), ("best", o.best), ("p", o.p))}
    t = {name: [None if np.isnan(x) else x for x in pair] for name, pair in o.t.items()}
    return asdict(o) | numbers | {"t": t}


def _outcome(text: str) -> Outcome:
    def number(x: float | None) -> float:
        return float("nan") if x is None else float(x)

    row = json.loads(text)
    row |= {k: number(row[k]) for k in ("truth", "best", "p")}
    row |= {"t": {name: (number(a), number(b)) for name, (a, b) in row["t"].items()}}
    row |= {k: tuple(row[k]) for k in ("skilled", "leaking", "adding")}
    return Outcome(**row | {"world": World(**row["world"])})
