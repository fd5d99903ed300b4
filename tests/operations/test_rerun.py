"""Why a result changed is found by running it again with one thing changed at a time."""

from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

import mltrainer as mt
from mltrainer.errors import BadInput, Refused, Unavailable
from mltrainer.evaluation import trials
from mltrainer.features.matrix import Matrix
from mltrainer.operations import contamination
from mltrainer.operations import rerun as again
from mltrainer.operations.rerun import CODE, rerun, sentence
from mltrainer.trust import gate

MODEL = "KNeighborsRegressor_5"


class Broken(BaseEstimator):
    def fit(self, X: object, y: object) -> "Broken":
        raise ValueError("it does not fit")

    def predict(self, X: object) -> object:
        raise AssertionError("never fitted")


def matrix(end: str = "2006-12-29", **more: object) -> Matrix:
    return mt.matrix("MSFT", start="2004-01-02", end=end, **more)


def changed(a: str, b: str, figure: str = "r2_oos") -> list[str]:
    return [s.changed for s in rerun(a, b, figure) if not s.same]


@pytest.fixture
def first(home: Path) -> str:
    return mt.evaluate(MODEL, matrix()).key


def test_more_data_is_found_to_be_the_reason_and_the_figures_are_those_of_the_ledger(first: str):
    other = mt.evaluate(MODEL, matrix("2007-06-29"))
    steps = rerun(first, other.key)
    assert [s.changed for s in steps] == [CODE, "data", "settings", "model", CODE]
    assert [s.changed for s in steps if not s.same] == ["data"]
    assert steps[0].before == trials.opened(first).metrics["r2_oos"]
    assert steps[-1].after == other.metrics["r2_oos"]
    assert "most by data" in sentence(steps)


def test_settings_and_model_are_told_apart(first: str):
    folds = mt.evaluate(MODEL, matrix(), protocol=mt.Protocol.of(folds=3)).key
    assert changed(first, folds) == ["settings"]
    ridge = mt.evaluate("RidgeRegression", matrix("2007-06-29")).key
    assert changed(first, ridge) == ["data", "model"]
    assert changed(first, first) == []
    assert sentence(rerun(first, first)) == "nothing changes a single forecast or the figure: the two are one result"


def test_costs_change_what_is_paid_and_no_forecast(first: str):
    dear = mt.evaluate(MODEL, matrix(), protocol=mt.Protocol(cost_bps=20)).key
    steps = {s.changed: s for s in rerun(first, dear, "sharpe")}
    assert steps["settings"].same
    assert steps["settings"].after < steps["settings"].before
    assert "most by settings" in sentence(list(steps.values()), "sharpe")


def test_what_was_tried_on_the_way_is_a_trial_and_what_was_there_is_not(first: str):
    other = mt.evaluate("RidgeRegression", matrix("2007-06-29")).key
    rerun(first, other)
    assert len(trials.ledger()) == 3  # the nearest neighbors on the longer data are new
    rerun(first, other)
    assert len(trials.ledger()) == 3


def test_what_cannot_be_made_again_is_said(first: str):
    with pytest.raises(BadInput, match="0 trials that ran begin with 'ffffff'"):
        rerun(first, "ffffff")
    with pytest.raises(BadInput, match="has no figure 'beauty'"):
        rerun(first, first, "beauty")
    other = mt.evaluate("RidgeRegression", matrix()).key
    with pytest.raises(BadInput, match="0 trials that ran begin with ''; give the address of one"):
        rerun(first, "")  # with which every address begins
    bars = next(o.content_sha256 for o in gate.roots(matrix()) if o.name == "MSFT")
    contamination.revoke(bars, "a bad tick")
    with pytest.raises(Refused, match="rests on revoked data"):
        rerun(first, other)


def test_each_thing_that_cannot_be_given_back_has_its_line(first: str):
    row = dict(trials.ledger().iloc[0])
    with pytest.raises(BadInput, match="is of a panel; compare trials of one ticker"):
        again.setup(row | {"trial": "0" * 64})
    with pytest.raises(BadInput, match="was run with color, which the ledger cannot give back"):
        again.setup(row | {"settings": "color=red"})
    with pytest.raises(Unavailable, match="was let in on another installation"):
        again.setup(row | {"matrix": "0" * 64})
    with pytest.raises(Unavailable, match=f"data revision: MSFT until 2006-12-29 is {row['matrix'][:12]} by now"):
        again.rebuilt(
            row | {"matrix": mt.matrix("MSFT", start="2004-01-02", end="2006-12-29", horizon=7).fingerprint()}
        )
    failed = mt.evaluate(Broken(), matrix())
    assert not failed.ok
    with pytest.raises(BadInput, match="0 trials that ran begin"):
        rerun(failed.key, first)
    with pytest.raises(Unavailable, match="does not run any more: too hard"):
        again._ran([replace(trials.opened(first), status="failed", reason="too hard")])
