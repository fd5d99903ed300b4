"""Do forecasts still do what they did? Outcomes as they arrive, drift of inputs and errors, health, the last alarm."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mltrainer.data.dates import Day, day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation import drift, study
from mltrainer.evaluation.baselines import LOSSES
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.trading import conformal_interval
from mltrainer.features.matrix import Matrix
from mltrainer.trading.forecasts import ledger, scoring, speakers
from mltrainer.trading.forecasts.inference import latest_matrix
from mltrainer.trading.forecasts.record import Forecast

YEAR, MONTH = 252, 21  # sessions
LEAST = 8  # blocks that must have arrived before anything is said


@dataclass(frozen=True)
class Threshold:
    """When a figure is worth a look, and when the model should go; `above` says on which side."""

    figure: str
    watch: float
    retire: float
    above: bool
    says: str

    def state(self, value: float) -> int:
        """0 for healthy, 1 for watch, 2 for retire; a figure that is not known says nothing."""
        if not np.isfinite(value):
            return 0
        beyond = (lambda limit: value >= limit) if self.above else (lambda limit: value <= limit)
        return 2 if beyond(self.retire) else int(beyond(self.watch))


STATES = ("healthy", "watch", "retire")
NEVER = -1.0  # of a p value
HEALTH = (
    Threshold("e_value", 4.0, 1 / drift.ALPHA, True, "it does worse than {rival} (e value {e_value:.3g})"),
    Threshold("cusum_ratio", 1.0, np.inf, True, "it has begun to save less than it did (CUSUM over its limit)"),
    Threshold("saved_p", 0.01, NEVER, False, "it saves less of the loss of {rival} than before (HAC t {saved_t:.1f})"),
    Threshold("coverage_p", 0.01, NEVER, False, "its {interval:.0%} intervals held {coverage:.0%} of the time"),
    Threshold("inputs_p", 0.05, NEVER, False, "its inputs are unlike before, {drifted} most"),
)
"""Health: a row for each figure; a model is as well as the worst of them."""
WALK, COMMITTED = "walk-forward", "committed"  # where forecasts are from: replayed as if they arrived, or kept
COLUMNS = (
    "ticker model source rival target horizon since forecasts state says e_value retired_on cusum_ratio cusum_on "
    "saved_before saved saved_t saved_p coverage coverage_p inputs_p drifted"
).split()


@dataclass(frozen=True)
class Monitor:
    """What is watched, one row for each ticker and forecaster (`COLUMNS`).

    Attributes
    ----------
    rows : source : "walk-forward", replayed as if it had arrived, or "committed, forward" (late, historical), what
        the forward ledger holds. since : the first session whose forecasts are watched; forecasts : so many with a
        known outcome.
        state and says, in words; e_value : evidence that it is worse than its rival, the highest so far, and
        `retired_on`, the session at whose close the alarm rang. cusum_ratio : CUSUM over its limit; `cusum_on`.
        saved_before, saved : share of the rival's loss saved before and since; saved_t, saved_p : HAC test that it
        fell, by blocks, each relative to its own losses (`drift.relative`). coverage, coverage_p : of intervals since,
        by Kupiec. inputs_p, drifted : the feature that is most unlike before, adjusted for their number.
    inputs : ticker -> the test of each feature (`drift.inputs`).
    paths : (ticker, model) -> e value and CUSUM over its limit, by the session of the outcome.
    dropped : (ticker, model) -> why a model that the ledger knows is not watched.
    """

    rows: pd.DataFrame
    inputs: dict[str, pd.DataFrame] = field(repr=False)
    paths: dict[tuple[str, str], pd.DataFrame] = field(repr=False)
    dropped: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)

    def sentence(self) -> str:
        """Say it in one line."""
        count = self.rows["state"].value_counts()
        said = ", ".join(f"{count[s]} {s}" for s in STATES if s in count)
        worst = self.rows[self.rows["state"] == "retire"]
        names = "; ".join(f"{r.model} on {r.ticker} since {r.retired_on}" for r in worst.itertuples())
        kept = int(self.rows["source"].ne(WALK).sum())
        by = f"{kept} of them by what was committed" if kept else "all of them as a walk-forward has it, none committed"
        return f"{len(self.rows)} forecasters watched, {by}: {said}{f'; to retire: {names}' if names else ''}."

    def __repr__(self) -> str:
        return f"Monitor({self.sentence()})"

    def _repr_html_(self) -> str:
        return self.rows.to_html(index=False, float_format="{:.3g}".format)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the paths, for JSON."""
        drifted = {t: f.reset_index(names="feature").to_dict("records") for t, f in self.inputs.items()}
        left = [{"ticker": t, "model": who, "why": why} for (t, who), why in self.dropped.items()]
        rows = self.rows.to_dict("records")
        return {"sentence": self.sentence(), "rows": rows, "inputs": drifted, "dropped": left}


def monitor(
    data: "str | Sequence[str] | Universe" = "MSFT",
    *,
    target: str = "return",
    horizon: int = 5,
    models: Sequence[str] | None = None,
    since: Day = None,
    as_of: Day = None,
    protocol: Protocol | None = None,
    project: str | None = None,
) -> Monitor:
    """Watch what the ledger's models, or the plain forecast, have said since a day, as the outcomes arrived.

    Parameters
    ----------
    data : a ticker, several or a universe.
    target, horizon, models, as_of, protocol : as for `mt.forecast`. The walk-forward's forecasts are replayed as if
        they arrived; each was made by what was known then. Those of the forward ledger are watched beside them, from
        the first that was committed on, against what the walk-forward of the same speakers did before.
    since : the first session watched, default that 504 sessions before the end; what was before is what is usual.

    Raises
    ------
    NotEnoughHistory
        Fewer than 252 forecasts before `since`, or fewer than 8 blocks of the horizon (5 sessions at least) after it.
    """
    given = data.tickers if isinstance(data, Universe) else data if isinstance(data, list | tuple) else [data]
    names: list[Any] = list(given)
    if not names or target == "rank" or not all(isinstance(name, str) for name in names):
        raise BadInput("monitor takes tickers, and a target of one share; rank is of names side by side")
    found: list[tuple[str, Watched]] = []
    lacking: dict[str, Exception] = {}
    how: dict[str, Any] = {"protocol": protocol or Protocol(), "models": models, "project": project, "since": since}
    for name in names:
        try:
            found.append((name, _of_name(latest_matrix(name, target, horizon, as_of), as_of, **how)))
        except study.ABSENT as error:
            if not isinstance(data, Universe):
                raise
            lacking[name] = error
    if isinstance(data, Universe):
        study.left_out(data, lacking)
    table = pd.DataFrame([row for _, own in found for row in own.rows], columns=COLUMNS)
    paths = {(name, who): path for name, own in found for who, path in own.paths.items()}
    dropped = {(name, who): why for name, own in found for who, why in own.dropped.items()}
    return Monitor(table, {name: own.drift for name, own in found}, paths, dropped)


class Watched(NamedTuple):
    """What was watched of one name: a row and a path for each forecaster, the drift of inputs, and who was not."""

    rows: list[dict[str, Any]]
    drift: pd.DataFrame
    paths: dict[str, pd.DataFrame]
    dropped: dict[str, str]


def _of_name(
    matrix: Matrix, as_of: Day, *, protocol: Protocol, models: Sequence[str] | None, project: str | None, since: Day
) -> Watched:
    own = Watched([], drift.inputs(matrix.X), {}, {})
    made, lacking = _forecasters(matrix, protocol, models, project)
    own.dropped.update(lacking)
    watch: list[Any] = [(who, rival, frame, WALK, since) for who, rival, frame in made]
    watch += committed(matrix, protocol, as_of, project)
    for who, rival, frame, source, begun in watch:
        key = who if source == WALK else source
        try:
            row, path = watched(frame, matrix, who, rival, since=begun, interval=protocol.interval)
        except NotEnoughHistory as error:
            if who == made[0][0] and source == WALK:
                raise  # the plain forecast has all there is
            own.dropped[key] = str(error)
            continue
        own.rows.append(_judged(row | {"source": source} | _most(own.drift)))
        own.paths[key] = path
    return own


def _forecasters(
    matrix: Matrix, protocol: Protocol, models: Sequence[str] | None, project: str | None
) -> tuple[list[tuple[str, str, pd.DataFrame]], dict[str, str]]:
    """Who is watched, its rival, and y, forecast, scale and rival by session; and who is not watched, and why."""
    plain = speakers.plain_past(matrix, protocol)
    found, dropped = speakers.judged(matrix, protocol, models, project)
    usual = speakers.usual_of(matrix.aim.baselines)
    rival = speakers.rival_of(usual, matrix.aim.baselines)
    made = [(usual, rival, plain.assign(forecast=plain[usual], rival=plain[rival]))]
    past, apart = speakers.comparable({name: e.forecasts[["y", "forecast"]] for name, e in found.items()}, plain)
    for name in past:
        own = plain.loc[past[name].dropna().index]
        made.append((str(name), usual, own.assign(forecast=past[name], rival=own[usual])))
    return made, dropped | apart


def committed(
    matrix: Matrix, protocol: Protocol, as_of: Day = None, project: str | None = None
) -> Iterator[tuple[str, str, pd.DataFrame, str, str]]:
    """What the forward ledger holds of the question of a matrix, by its kind of evidence, never mixed.

    Yields
    ------
    (speakers, rival, frame, source, begun) : the frame has y, forecast, rival, scale, lower and upper by session: from
    `begun`, the first session of which a forecast was committed, what was committed and has an outcome, the first of
    each session; before it the walk-forward of those who speak now, whose bounds are not known.
    """
    last, known = day(as_of, "as_of"), dict[Any, Any]()
    found: dict[str, dict[pd.Timestamp, Forecast]] = {}
    for f in ledger.records(matrix.name, target=matrix.target, horizon=matrix.horizon):
        session = pd.Timestamp(f.as_of)
        if f.evidence == "late" and last is not None and pd.Timestamp(f.made_at[:10]) > last:
            continue  # of an old session, and not there yet on that day
        if f.interval == protocol.interval and (last is None or session <= last) and session in matrix.X.index:
            found.setdefault(f.evidence, {}).setdefault(session, f)
    if not found:
        return
    chosen = speakers.choose(matrix, protocol, project=project)
    before = chosen.past.assign(forecast=chosen.said, rival=chosen.past[chosen.rival])[[*USED]]
    for evidence, said in sorted(found.items()):
        rows = {
            s: {"y": scoring.outcome(f, last, known)[0], "forecast": f.forecast, "rival": f.baseline_forecast,
                "scale": float(matrix.scale.loc[s]), "lower": f.low, "upper": f.high}
            for s, f in sorted(said.items())
        }  # fmt: skip
        kept = pd.DataFrame.from_dict(rows, orient="index").dropna(subset=["y"])
        begun = min(said)
        by, rival = (Counter(sorted(x)).most_common(1)[0][0] for x in zip(*map(_names, said.values()), strict=True))
        yield by, rival, pd.concat([before[before.index < begun], kept]), f"{COMMITTED}, {evidence}", str(begun.date())


USED = ("y", "forecast", "rival", "scale")


def _names(f: Forecast) -> tuple[str, str]:
    return " and ".join(sorted(f.models)) if len(f.models) < 4 else f"{len(f.models)} models", f.baseline


def watched(
    frame: pd.DataFrame, matrix: Matrix, who: str, rival: str, *, since: Day = None, interval: float = 0.9
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Figures of one forecaster, and its paths; `frame` has y, forecast, rival and scale by session.

    Where it has lower and upper as well, these are the intervals that were stated; else they are made as usual.
    """
    aim, h = matrix.aim, matrix.horizon
    size = max(h, 5)
    first = day(since, "since") or frame.index[max(len(frame) - 2 * YEAR, 0)]
    past, now = frame[frame.index < first], frame[frame.index >= first]
    past = past.iloc[: max(len(past) - aim.purge(h), 0)]  # their outcomes were not known when the watch began
    if len(past) < YEAR or len(now) < LEAST * size:
        had = f"{who} on {matrix.name} has {len(past)} forecasts before {first:%Y-%m-%d} and {len(now)} since"
        raise NotEnoughHistory(f"{had}; {YEAR} and {LEAST * size} are needed; choose another `since`")
    losses = LOSSES[aim.loss]
    loss, other = ({"past": losses(past, c), "now": losses(now, c)} for c in ("forecast", "rival"))
    sums = {k: [drift.blocks(x[k], size) for x in (loss, other)] for k in ("past", "now")}
    better = {k: drift.relative(*both) for k, both in sums.items()}
    t, p = drift.shift(better["past"], better["now"], 1)
    e = drift.wealth(*sums["now"])
    page = drift.cusum(better["past"], better["now"], a_year=YEAR / size)
    ends = _arrivals(matrix, now.index[size - 1 :: size][: len(e)])
    lower, upper = (frame["lower"], frame["upper"]) if "lower" in frame else conformal_interval(frame, h, interval)
    here = frame.index >= first
    share, held_p = drift.held(now["y"], lower[here], upper[here], h, interval) if aim.name != "direction" else NOTHING
    over = np.flatnonzero(e >= 1 / drift.ALPHA)
    row = {
        "ticker": matrix.name, "model": who, "rival": rival, "target": matrix.target, "horizon": h,
        "since": str(now.index[0].date()), "forecasts": len(now), "e_value": float(e.max()),
        "retired_on": str(ends[over[0]].date()) if over.size else "",
        "cusum_ratio": float(np.max(page.path) / page.limit) if page.limit > 0 else np.nan,
        "cusum_on": str(ends[page.first].date()) if page.first >= 0 else "",
        "saved_before": saved(loss, other, "past"), "saved": saved(loss, other, "now"), "saved_t": t, "saved_p": p,
        "coverage": share, "coverage_p": held_p, "interval": interval,
    }  # fmt: skip
    return row, pd.DataFrame({"e_value": e, "cusum": page.path / page.limit}, index=ends)


NOTHING = (float("nan"), float("nan"))


def saved(loss: dict[str, Any], other: dict[str, Any], when: str) -> float:
    """Share of the rival's loss that was saved."""
    rival = float(other[when].mean())
    return 1 - float(loss[when].mean()) / rival if rival else float("nan")


def _arrivals(matrix: Matrix, said: pd.Index) -> pd.DatetimeIndex:
    """The sessions at which outcomes of forecasts were known."""
    places = matrix.X.index.get_indexer(said) + matrix.aim.purge(matrix.horizon)
    return pd.DatetimeIndex(matrix.X.index[np.minimum(places, len(matrix.X) - 1)])


def _most(found: pd.DataFrame) -> dict[str, Any]:
    return {"inputs_p": float(found["p"].iloc[0]), "drifted": str(found.index[0])}


def _judged(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its state, and why in words."""
    states = {t: t.state(float(row[t.figure])) for t in HEALTH}
    worst = max(states.values())
    said = [t.says.format(**row) for t in sorted(states, key=lambda t: -states[t]) if states[t]]
    return row | {"state": STATES[worst], "says": "; ".join(said) or "it does what it did"}
