"""Where data, features and models meet: the calls a researcher makes."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from mltrainer.data import market, quality
from mltrainer.data.dates import Day, day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, NotEnoughHistory, NotEntitled, Partial, Unavailable
from mltrainer.evaluation import code, engine, lookahead, projects, trials
from mltrainer.evaluation.leaderboard import Leaderboard
from mltrainer.evaluation.leaderboard import leaderboard as rank
from mltrainer.evaluation.preregistered import Registration
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.weights import PREFIX, foundation
from mltrainer.features import matrix as matrices
from mltrainer.features import own as owned
from mltrainer.features.matrix import Matrix
from mltrainer.features.own import Own
from mltrainer.features.targets import LEAST_NAMES, OWN
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.models.own import register
from mltrainer.settings import settings
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

Data = str | Dataset | Matrix
REACH = pd.Timedelta(days=420)  # of the calendar, in which the slowest feature of 252 sessions is warm
ABSENT = (BadInput, NotEnoughHistory, NotEntitled, Unavailable)  # of one name; what fails for all is raised


def matrix(
    data: Data | Sequence[Data] | Universe,
    *,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    quotes: Sequence[Dataset] = (),
    target: str | Own | None = None,
    features: Sequence[Own | str] = (),
) -> Matrix:
    """Features X, labels y and prices of one ticker, or of several as a panel, sealed.

    Parameters
    ----------
    data : a ticker, bars from `bars`, or a matrix (returned as it is); a list of them makes a panel, and so does
        a `universe`: names of it that the mode in force does not have are left out and named, by a warning (`Partial`)
        and in `unavailable`.
    horizon : sessions a position is held, default 5 (a matrix has its own); y is the simple return from the next
        entry over that many sessions.
    start, end : first and last session to learn from or to judge, for tickers only; bars before `start` warm the
        features up where the source has them.
    quotes : admitted quotes of the ticker, day by day, for all of these sessions; the spread and order flow that are
        estimated from bars otherwise are then measured as well.
    target : what is forecast, a name of `features.targets.TARGETS`: "return" (default), "direction", "volatility",
        "range", "volume", "excess" or, of a panel, "rank"; or a registered one.
    features : registered functions of bars (`mltrainer.register`), as columns beside ours.

    Returns
    -------
    Matrix
        `X` (n, p) without NaN, `y` (n,), `scale` (n,), `prices` (n, 2); `unavailable` says what is not there and why.
        Rows of a panel are ordered by session, then ticker, with the features that all tickers have.

    Raises
    ------
    Refused
        Data whose origin cannot be shown: a hand-made frame, a CSV, an edited copy, numpy noise.
    BadInput
        Bars that break a rule of quality which is an error, such as a split that is not in the prices; the message
        names it. Rules that need the exchange's calendar are asked by `mt.quality` only.
    """
    asked: dict[str, Any] = {"horizon": horizon, "end": end, "target": target}
    if isinstance(data, Universe):
        return _of_universe(data, start=start or data.start or None, features=features, **asked)
    if isinstance(data, list | tuple):
        if quotes:
            raise BadInput("quotes are of one ticker; give them with that ticker, and the matrices in a list")
        return _of_several(data, features, start=start, **asked)
    if isinstance(data, str) and not data.lower().endswith((".csv", ".parquet", ".json")):
        data = _reaching(data, start, end)
    elif isinstance(data, Dataset | Matrix) and (start is not None or end is not None):
        raise BadInput("start and end choose the sessions of a ticker; this data is already cut")
    if isinstance(data, Matrix):
        return _as_asked(data, horizon, target, quotes, features)
    gate.verify(data, "features")
    assert isinstance(data, Dataset)
    own, target, horizon = _own(features, target), _named(target), 5 if horizon is None else horizon
    if lonely := next((o for o in own if o.across), None):
        raise BadInput(f"{lonely.text} {LONELY}")
    quality.gatekeep(data)  # before anything else is fetched for it
    context = market.context(data)
    for part in context:
        quality.gatekeep(part)
    for one in own:
        _unmoved(one, data, horizon)
    first = day(start, "start")
    begin = str(first.date()) if first is not None else ""
    return matrices.matrix(data, *context, *quotes, horizon=horizon, target=target, own=own, start=begin)


LONELY = "compares the names of a session, and this is one; give several tickers"


def _of_several(data: Sequence[Data], features: Sequence[Own | str], **asked: Any) -> Matrix:
    """The panel of several, or the matrix of the only one."""
    across, alone = _parted(features)
    parts = {m.name: m for m in (matrix(d, features=alone, **asked) for d in data)}
    if not parts:
        raise BadInput("an empty list names no ticker; give at least one")
    members = [parts[name] for name in sorted(parts)]  # the order asked for is no other panel
    if across and len(members) == 1:
        raise BadInput(f"{across[0].text} {LONELY}")
    for one in across:
        for bars in {m.name: m.sources[0] for m in members if m.sources}.values():
            _unmoved(one, bars, members[0].horizon)
    return matrices.panel(*members, own=across) if len(members) > 1 else members[0]


def _as_asked(
    built: Matrix,
    horizon: int | None,
    target: str | Own | None,
    quotes: Sequence[Dataset],
    features: Sequence[Own | str],
) -> Matrix:
    """A matrix as it is; `BadInput` where another was asked for."""
    gate.verify(built, "evaluation")
    if quotes or features:
        what = "quotes" if quotes else "features"
        raise BadInput(f"this matrix is already built; give {what} together with its bars")
    if horizon not in (None, built.horizon):
        raise BadInput(f"this matrix has horizon {built.horizon}, not {horizon}; build another from its bars")
    target = target.column if isinstance(target, Own) else target
    if target not in (None, built.target):
        raise BadInput(f"this matrix is of target {built.target}, not {target}; build another from its bars")
    return built


def _named(target: str | Own | None) -> str:
    return target.column if isinstance(target, Own) else target or "return"


def _own(features: Sequence[Own | str], target: str | Own | None) -> tuple[Own, ...]:
    """The registered functions that are asked for; `BadInput` if one runs other code by now."""
    given: list[Any] = _listed(features)
    if isinstance(target, Own) or str(target).startswith(OWN):
        given.append(target)
    own = owned.chosen(given)
    for one in own:
        if one.code != code.function(one.function):
            raise BadInput(f"{one.column} runs other code than when it was registered; register it again")
    return own


def _parted(features: Any) -> tuple[tuple[Own, ...], list[Own]]:
    """Features that compare the names of a session, and the others."""
    own = _own(features, None)
    return tuple(o for o in own if o.across), [o for o in own if not o.across]


def _listed(features: Any) -> list[Any]:
    return [features] if isinstance(features, str | Own) else list(features)


def _unmoved(own: Own, bars: Dataset, horizon: int) -> None:
    """Test a registered function once more, on the bars that it is used with."""
    if moved := lookahead.own_moves(own, bars.frame, horizon):
        gate.refuse(str(own), f"looks ahead on {bars.name}: {moved}", "mend it and register it again", kind="mistake")


def _reaching(ticker: str, start: Day, end: Day) -> Dataset:
    """Bars of a ticker, with those before `start` that features need to be warm on it, where the same source has them.

    The sample has some tickers twice: reaching back must not lose opens and ranges to the longer series of closes.
    """
    first = day(start, "start")
    if first is None:
        return market.bars(ticker, end=end)
    try:
        earlier = market.bars(ticker, start=first - REACH, end=end)
    except ABSENT:
        return market.bars(ticker, start=start, end=end)
    if settings().data_mode != "sample":
        return earlier
    asked = market.bars(ticker, start=start, end=end)
    if set(earlier.frame) == set(asked.frame):
        return earlier
    whole = market.bars(ticker, end=end)
    return whole.window(first - REACH, end) if set(whole.frame) == set(asked.frame) else asked


def _of_universe(universe: Universe, **how: Any) -> Matrix:
    parts: list[Data] = []
    lacking: dict[str, Exception] = {}
    across, how["features"] = _parted(how["features"])
    for ticker in universe.tickers:
        try:
            parts.append(matrix(ticker, **how))
        except ABSENT as error:
            lacking[ticker] = error
    left_out(universe, lacking, level=4)
    whole = matrix(parts, features=across) if across else matrix(parts)
    if not lacking:
        return whole
    return replace(whole, unavailable=whole.unavailable | {f"every one of {t}": str(e) for t, e in lacking.items()})


def left_out(universe: Universe, lacking: dict[str, Exception], *, level: int = 3) -> None:
    """Name the names of a universe that cannot be had, by a warning `level` calls up; raise where there is no other."""
    if not lacking:
        return
    first = next(iter(lacking.values()))
    if len(lacking) < len(universe):
        left = f"{len(lacking)} of {len(universe)} names of {universe.name} are left out: {', '.join(lacking)}"
        warnings.warn(f"{left} ({first})", Partial, stacklevel=level)
        return
    if len({str(error) for error in lacking.values()}) == 1:
        raise first
    raise type(first)(f"none of the {len(universe)} names of {universe.name} can be had: {first}")


def _spec(model: Any) -> ModelSpec:
    if isinstance(model, ModelSpec):
        return model
    if isinstance(model, str):
        return foundation(model.removeprefix(PREFIX)) if model.startswith(PREFIX) else catalog.spec(model)
    return register(model)


def select(families: Iterable[str] | None = None, models: Iterable[str | ModelSpec] | None = None) -> list[ModelSpec]:
    """Catalog entries by family or by name, or as they are given; all named ones when neither is given."""
    if models:
        return list({s.name: s for s in map(_spec, models)}.values())
    return [s for f in dict.fromkeys(families or catalog.NAMED) for s in catalog.specs(f)]


def evaluate(
    models: str | ModelSpec | Iterable[str | ModelSpec],
    data: Data | Sequence[Data] | Universe,
    *,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    jobs: int = 1,
    protocol: Protocol | None = None,
    target: str | Own | None = None,
    features: Sequence[Own | str] = (),
    project: str | None = None,
) -> Any:
    """Judge models out of sample by the purged, embargoed expanding walk-forward, net of costs.

    Parameters
    ----------
    models : a name of the catalog, a folder of weights as "weights:FOLDER" (`foundation`), an entry with other
        settings (`Tuned.spec`), a scikit-learn estimator (`register`),
        or several of them.
    data : a ticker, bars or a matrix; a list of tickers or a `universe` is a panel: one model
        learns from all of them, unless it is of a kind that lives in the history of one share.
    horizon, start, end, target, features : as for `matrix`.
    jobs : worker processes; 1 computes here.
    project : what this is tried for, a label in the ledger; default MLTRAINER_PROJECT. Luck counts every trial of a
        question, whatever it was for.

    Returns
    -------
    Evaluation for one name on one ticker, else a list of them, one per model and ticker. Each is a row in the trial
    ledger; asking again for the same thing opens the stored result.
    """
    several = isinstance(models, Iterable) and not isinstance(models, str | Pipeline)
    given: Any = models if several else [models]
    specs = select(models=list(given))
    built = _judgeable(matrix(data, horizon=horizon, start=start, end=end, target=target, features=features))
    results = engine.run(
        specs,
        [built],
        protocol=protocol,
        jobs=jobs,
        progress=len(specs) > 1,
        project=project,
    )
    return results if several or len(results) > 1 else results[0]


def _judgeable(built: Matrix) -> Matrix:
    if built.aim.cross_sectional and len(built.tickers) < LEAST_NAMES:
        raise BadInput(
            f"target {built.target} is of names side by side: at least {LEAST_NAMES}, and this is {len(built.tickers)}"
        )
    return built


def preregister(
    model: str | ModelSpec,
    data: Data | Sequence[Data] | Universe,
    *,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    target: str | Own | None = None,
    features: Sequence[Own | str] = (),
    protocol: Protocol | None = None,
    project: str | None = None,
) -> Registration:
    """Declare a single test before it is run; `evaluate` with the same arguments runs it, and its verdict is its own.

    Parameters
    ----------
    model, data, horizon, start, end, target, features, protocol, project : as for `evaluate`; other settings or
        another session are another test.

    Returns
    -------
    Registration
        An entry of the audit trail, which is never taken back. The test is judged among what had been tried before it
        was declared, alone where nothing was, and by Bonferroni among all that are declared; the joint reading among
        all trials stands beside it. What was looked at outside of this ledger it cannot know.

    Raises
    ------
    BadInput
        A test that has a result already, or one that trains on the future.
    """
    spec, protocol = catalog.claimed(_spec(model)), protocol or Protocol()
    built = _judgeable(matrix(data, horizon=horizon, start=start, end=end, target=target, features=features))
    if protocol.split.diagnostic or not spec.available:
        raise BadInput(f"{spec.name} cannot be tested: {protocol.split.diagnostic or spec.why_unavailable}")
    said = projects.differences(spec, built, protocol)
    return trials.declare(spec, built, protocol, settings=said, project=projects.named(project))


def leaderboard(results: "Iterable[Evaluation] | Evaluation") -> Leaderboard:
    """Rank results, deflated by every trial in the ledger."""
    return rank([results] if isinstance(results, Evaluation) else results)
