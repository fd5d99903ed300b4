"""The look-ahead check is itself checked: each leak that could stand in the package is planted there, and is found.

A row is a leak, the part of the check that must find it, and how it is planted. Nothing is fetched or stored.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mltrainer.checks import decisions
from mltrainer.checks import leakcheck as room
from mltrainer.data import market
from mltrainer.evaluation import judging, splits, trading, tune, walk
from mltrainer.evaluation.scaling import Scaling
from mltrainer.evaluation.splits import Fold, WalkForward
from mltrainer.features import indicators, macro, targets
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.trading import regimes
from mltrainer.trading.alerts import firing
from mltrainer.trading.portfolio.walk import Past
from mltrainer.trading.regimes import markov, score
from mltrainer.trust.provenance import Dataset

H = 5
RECURSIVE = type(catalog.spec("RecursiveLS").build())
Plant = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutation:
    """A leak, the kind of thing that must be found to leak by it, and the model by which forecasts show it."""

    leak: str
    kind: str
    plant: Plant
    model: str = "RidgeRegression"


def after(owner: Any, name: str, change: Callable[..., Any]) -> Plant:
    """Let a function of the package give what `change` makes of its result and of what it was given."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        true = getattr(owner, name)
        patch.setattr(owner, name, lambda *given, **knobs: change(true(*given, **knobs), *given))

    return plant


def instead(owner: Any, name: str, make: Callable[[Any], Any]) -> Plant:
    """Put what `make` makes of a function of the package in its place."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


def table(change: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]) -> Plant:
    """Change the table of indicators, given the bars as well."""
    return after(indicators, "compute", lambda out, frame, *_: (change(out[0], frame), out[1]))


def built(**change: Callable[[Matrix, pd.DataFrame], Any]) -> Plant:
    """Change parts of the matrix, given the bars as well."""

    def changed(matrix: Matrix, bars: Dataset, *_: Dataset) -> Matrix:
        frame = bars.frame
        parts = {part: make(matrix, frame) for part, make in change.items()}
        return dataclasses.replace(matrix, **parts)

    return after(features, "build", changed)


def tomorrow_on_wild_days(out: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    wild = frame["volume"] >= frame["volume"].nlargest(4).iloc[-1]
    return out.assign(return_1=out["return_1"].mask(wild, out["return_1"].shift(-1)))


def returns(frame: pd.DataFrame) -> "pd.Series[float]":
    return np.log(frame["close"]).diff()


def all_but_the_block(true: Any) -> Any:
    def split(self: WalkForward, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        for fold in true(self, n, horizon, columns):
            yield Fold(np.setdiff1d(np.arange(n), fold.test), fold.test)

    return split


def tomorrows_alerts(patch: pytest.MonkeyPatch) -> None:
    def early(kind: Any) -> Any:
        return dataclasses.replace(kind, fire=lambda f: kind.fire(f).shift(-1, fill_value=False))

    patch.setattr(firing, "KINDS", tuple(map(early, firing.KINDS)))


def a_session_late(true: Any) -> Any:
    return lambda bars, end: true(bars, end=bars.frame.loc[end:].index[:2][-1])


def knowing_at_once(true: Any) -> Any:
    return lambda e, **k: true(dataclasses.replace(e, horizon=-1), **k)


def whole_sample(frame: pd.DataFrame) -> pd.DataFrame:
    return (frame - frame.mean()) / frame.std()


def by_quantiles_of_all(out: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    low = returns(bars).rolling(21).std().rank(pct=True) < 1 / 3
    return out.assign(volatility=out["volatility"].mask(low, "low"))


def rising_tomorrow(out: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    return out.assign(score=out["score"].where(returns(bars).shift(-1) < 0.02, 100.0))


def by_the_last_estimate(true: Any) -> Any:
    def schedule(r: Any, states: int, every: int) -> Any:
        made = true(r, states, every)
        return [(start, made[-1][1], learned) for start, _, learned in made]

    return schedule


def smoothed(out: pd.DataFrame, close: "pd.Series[float]") -> pd.DataFrame:
    return out[::-1].ewm(span=5).mean()[::-1]


def best_outside(true: Any) -> Any:
    """A choice by what happened afterwards."""

    def judged(spec: Any, tried: Any, score: str, method: str, outside: Any) -> Any:
        later = [(s, knobs, outside([s])[0]) for s, knobs, _ in tried]
        return true(spec, later, score, method, outside)

    return judged


LABELS = pd.Series([0.0])


def noting_labels(true: Any) -> Any:
    """The effect of every name becomes the mean of all labels of the matrix."""

    def places(matrix: Matrix, labelled: pd.Index) -> Any:
        LABELS[0] = float(matrix.y.mean())
        return true(matrix, labelled)

    return places


def by_noted_labels(patch: pytest.MonkeyPatch) -> None:
    instead(walk, "places", noting_labels)(patch)
    patch.setattr(walk, "name_effects", lambda left, ticker, *_: np.full(ticker.max() + 1, LABELS[0]))


MUTATIONS = (
    # indicators
    Mutation("features of the next session", "feature", table(lambda X, f: X.shift(-1))),
    Mutation("features standardized over all sessions", "feature", table(lambda X, f: whole_sample(X))),
    Mutation("a warm-up filled from behind", "feature", table(lambda X, f: X.bfill())),
    Mutation("tomorrow's return on a few wild days", "feature", table(tomorrow_on_wild_days)),
    Mutation("a lag that leads", "feature", instead(indicators, "lag", lambda true: lambda x, k: np.roll(x, 1))),
    Mutation(
        "a centered window", "feature", after(indicators, "rolling_mean", lambda out, x, w: np.roll(out, -w // 2))
    ),
    # what stood beside the bars
    Mutation(
        "macro figures from the day their period begins",
        "matrix column",
        instead(
            macro,
            "asof",
            lambda true: lambda rows, days, **k: true(rows.assign(available=rows.index), days, **k),
        ),
    ),
    Mutation(
        "macro figures of the next month",
        "matrix column",
        after(macro, "asof", lambda out, *_: out.shift(-21).ffill()),
    ),
    Mutation(
        "the index of the next session", "matrix column", after(macro.Market, "at", lambda out, *_: np.roll(out, -1))
    ),
    # the matrix
    Mutation("X of the next row", "matrix column", built(X=lambda m, f: m.X.shift(-1).ffill())),
    Mutation("X standardized over all rows", "matrix column", built(X=lambda m, f: whole_sample(m.X))),
    Mutation("X ranked over all rows", "matrix column", built(X=lambda m, f: m.X.rank(pct=True))),
    Mutation(
        "scale from the volatility to come",
        "matrix column",
        built(scale=lambda m, f: m.scale.shift(-21).ffill()),
    ),
    Mutation(
        "scale with the volatility of all sessions",
        "matrix column",
        built(scale=lambda m, f: m.scale / m.scale + returns(f).std()),
    ),
    Mutation(
        "a label longer than the purge counts on",
        "matrix column",
        after(targets, "forward_return", lambda out, *_: out.shift(-1)),
    ),
    Mutation(
        "a label entered at its own session's open",
        "matrix column",
        after(targets, "forward_return", lambda out, *_: out.shift(1)),
    ),
    Mutation("a label that is there before it has ended", "matrix column", built(y=lambda m, f: m.y.fillna(0.0))),
    Mutation(
        "the entry price of the next session",
        "matrix column",
        built(prices=lambda m, f: m.prices.assign(entry=m.prices["entry"].shift(-1).ffill())),
    ),
    # splits
    Mutation("no purge and no embargo", "fold", lambda patch: unpurged(patch)),
    Mutation("no purge and no embargo, by a forecast", "forecast", lambda patch: unpurged(patch)),
    Mutation("trained on the rows after the block", "fold", instead(WalkForward, "split", all_but_the_block)),
    Mutation(
        "trained on the rows after the block, by a forecast",
        "forecast",
        instead(WalkForward, "split", all_but_the_block),
    ),
    # the walk
    Mutation(
        "features standardized over all rows of the walk",
        "forecast",
        after(walk, "arrays", lambda out, *_: ((out[0] - out[0].mean(axis=0)) / out[0].std(axis=0), out[1])),
    ),
    Mutation(
        "features clipped to the quantiles of the rows they are in",
        "forecast",
        instead(Scaling, "features", lambda true: lambda self, X: np.clip(X, *np.quantile(X, [0.01, 0.99], axis=0))),
    ),
    Mutation("the forecast of the next row", "forecast", after(Scaling, "forecast", lambda out, *_: np.roll(out, -1))),
    Mutation(
        "a filter that knows labels at once",
        "forecast",
        instead(
            type(catalog.spec("RecursiveLS").build()),
            "filter",
            lambda true: lambda self, X, y, lag: true(self, X, y, 1),
        ),
        model="RecursiveLS",
    ),
    Mutation(
        "a baseline of labels that have not matured",
        "record column",
        instead(walk, "known_mean", lambda true: lambda y, horizon: np.cumsum(y) / np.arange(1, len(y) + 1)),
    ),
    # trades
    Mutation(
        "a position by the forecast of its own session",
        "record column",
        after(judging, "trade", lambda out, *_: out.assign(position=np.sign(out["forecast"]))),
    ),
    Mutation(
        "a position scaled by the spread of all forecasts",
        "record column",
        after(judging, "trade", lambda out, *_: out.assign(position=out["position"] * out["forecast"].std())),
    ),
    Mutation(
        "an interval by errors that are not yet known",
        "record column",
        instead(trading, "conformal_interval", lambda true: lambda f, h, *rest: true(f, -1, *rest)),
    ),
    Mutation(
        "an interval as wide as the errors of all sessions",
        "record column",
        after(judging, "trade", lambda out, *_: out.assign(upper=out["forecast"] + (out["y"] - out["forecast"]).std())),
    ),
    # a panel
    Mutation(
        "ranks among all sessions",
        "panel forecast",
        lambda patch: patch.setattr(Matrix, "ranked", property(lambda self: self.X.rank(pct=True) - 0.5)),
    ),
    Mutation("an effect of each name by labels to come", "panel forecast", by_noted_labels),
    # regimes and the search
    Mutation("regimes by quantiles of all sessions", "regime", after(score, "detect", by_quantiles_of_all)),
    Mutation("a score that rises before the price does", "regime", after(regimes, "of_bars", rising_tomorrow)),
    Mutation(
        "states by parameters of all sessions", "hidden state", instead(markov, "_schedule", by_the_last_estimate)
    ),
    Mutation("alerts a session early", "alert", tomorrows_alerts),
    Mutation(
        "a recommendation that knows the session after",
        "recommendation",
        instead(decisions, "cut", a_session_late),
    ),
    Mutation("a forecast that knows the session after", "stated forecast", instead(decisions, "cut", a_session_late)),
    Mutation(
        "weights that know the session after",
        "weight",
        instead(Past, "decided", lambda true: lambda self, who, t, held: true(self, who, t + 1, held)),
    ),
    Mutation(
        "weights by the covariance of all sessions",
        "weight",
        instead(Past, "decided", lambda true: lambda self, who, t, held: true(self, who, len(self.R) - 1, held)),
    ),
    Mutation("a signal by outcomes that have not matured", "alert", instead(room, "signals", knowing_at_once)),
    Mutation("states smoothed back from the last session", "hidden state", after(regimes, "filtered", smoothed)),
    Mutation(
        "a search that sees the sessions which judge it",
        "search setting",
        instead(tune, "_nested", lambda true: lambda m, p: (p, true(m, p)[1])),
    ),
    Mutation("a choice by what came afterwards", "search setting", instead(tune, "_judged", best_outside)),
)


def unpurged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(splits.Split, "purge", lambda self, horizon: 0)
    patch.setattr(splits.Split, "embargo", lambda self, n, horizon: 0)


def sources() -> tuple[Dataset, ...]:
    bars = market.bars("MSFT", start=room.START, end=room.END)
    return bars, *market.context(bars)


def leaks(kind: str, model: str) -> list[room.Leak]:
    """What the part of the check that looks at things of this kind finds."""
    bars, *context = sources()
    matrix = features.build(bars, *context, horizon=H)
    if kind == "forecast":
        return room._forecasts([catalog.spec(model)], matrix, 1, False)[2]
    return room.PARTS[kind](bars, matrix)[2]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.leak)
def test_a_leak_planted_in_the_package_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.plant(monkeypatch)
    found = leaks(mutation.kind, mutation.model)
    assert found
    assert {leak.kind for leak in found} == {mutation.kind}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*room.PARTS, "forecast"])
def test_without_them_nothing_is_found(kind: str) -> None:
    assert leaks(kind, "RecursiveLS") == []


def test_every_part_of_the_check_has_a_leak_that_it_must_find() -> None:
    assert {m.kind for m in MUTATIONS} == {*room.PARTS, "forecast"}
