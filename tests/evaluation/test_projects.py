"""What differs from the defaults and what a trial was for stand beside a result, and change neither it nor its luck."""

import dataclasses

import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.evaluation import judgments, projects, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import KFoldDiagnostic, WalkForward
from mltrainer.models import catalog, spaces
from mltrainer.trust import audit

RIDGE = catalog.spec("RidgeRegression")
TREE = catalog.spec("DecisionTree_depth_3")


@pytest.mark.parametrize(
    ("spec", "protocol", "words"),
    [
        (RIDGE, Protocol(), ""),
        (RIDGE, Protocol(cost_bps=10), "cost_bps=10"),
        (RIDGE, Protocol(WalkForward(folds=4, window=500), policy="proportional"), "folds=4, window=500, policy=propo"),
        (RIDGE, Protocol(KFoldDiagnostic()), "split=KFoldDiagnostic, folds=5"),
        (spaces.candidate(TREE, {"max_depth": 7}), Protocol(interval=0.8), "interval=0.8, max_depth=7"),
        (mt.register(make_pipeline(StandardScaler(), Ridge(alpha=3.5))), Protocol(), "Ridge(alpha=3.5)"),
        (mt.register(Ridge()), Protocol(), ""),
        (dataclasses.replace(RIDGE, name="RidgeRegression(short)", max_train_rows=9), Protocol(), "max_train_rows=9"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_settings_of_a_trial_are_what_is_not_by_default(msft, spec, protocol, words):
    said = projects.differences(spec, msft, protocol)
    assert said.startswith(words)
    assert bool(said) == bool(words)


@pytest.mark.parametrize("spec", catalog.specs(), ids=lambda s: s.name)
def test_an_entry_of_the_catalog_as_it_is_has_no_settings_to_tell(spec):
    assert [*projects._model(spec)] == []


def test_the_leaderboard_and_the_ledger_have_settings_and_project(msft):
    plain = mt.evaluate("RidgeRegression", msft)
    other = mt.evaluate("RidgeRegression", msft, protocol=Protocol(cost_bps=10), project="costs")
    rows = mt.leaderboard([plain, other]).rows.set_index("key")
    assert [*rows.loc[other.key, ["settings", "project"]]] == ["cost_bps=10", "costs"]
    assert [*rows.loc[plain.key, ["settings", "project"]]] == ["", ""]
    ledger = trials.ledger().set_index("key")
    assert ledger.loc[other.key, "settings"] == "cost_bps=10"
    assert trials.load(other.key).meta["project"] == "costs"
    assert audit.verify() == []


def test_a_project_is_no_part_of_the_result_and_changes_no_luck(msft, monkeypatch):
    one = mt.evaluate("RidgeRegression", msft, project="one")
    before = judgments.judgment().luck
    monkeypatch.setenv("MLTRAINER_PROJECT", "two")
    again = mt.evaluate("RidgeRegression", msft)
    assert again.key == one.key
    assert again.meta["project"] == "one"
    labelled = dataclasses.replace(one, meta=one.meta | {"project": "three", "settings": "x=1"})
    assert labelled.to_bytes() == one.to_bytes()
    assert len(trials.ledger()) == 1
    assert judgments.judgment().luck == before
    other = mt.evaluate("DecisionTree_depth_3", msft)
    assert other.meta["project"] == "two"
    assert judgments.judgment().luck["trials"] == 2


def test_what_was_made_for_another_project_belongs_to_both_and_the_trail_says_so_once(msft):
    key = mt.evaluate("RidgeRegression", msft, project="one").key
    for _ in range(2):
        mt.evaluate("RidgeRegression", msft, project="two")
    assert projects.joined("two") == {key}
    assert projects.joined("one") == projects.joined("three") == set()
    assert len(audit.entries(kind="project")) == 1


@pytest.mark.parametrize("name", ["a/b", " x", "x" * 61, "a\nb", "=cmd()"])
def test_a_project_that_is_no_name_is_one_line(msft, name):
    with pytest.raises(BadInput, match="is no name"):
        mt.evaluate("RidgeRegression", msft, project=name)
    assert trials.ledger().empty
