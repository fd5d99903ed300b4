"""A whole ledger is ranked a result at a time, to the figures of all at once, and says what it leaves out."""

import json

import numpy as np
import pytest
from arch.bootstrap import SPA
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import metrics
from mltrainer.cli import app
from mltrainer.evaluation import judgments, leaderboard, ranking, study
from mltrainer.evaluation.spool import Spooled
from mltrainer.metrics import selection
from mltrainer.operations import contamination
from mltrainer.trust import audit

NAMES = ["RidgeRegression", "KNeighborsRegressor_5", "DecisionTree_depth_3"]


@pytest.fixture
def matrix(home):
    return mt.matrix("MSFT", start="2008-01-02", end="2010-12-31")


def test_a_ledger_read_one_result_at_a_time_is_ranked_as_all_of_them_together(matrix):
    results = mt.evaluate(NAMES, matrix)
    board, left = ranking.ranked()
    whole = study.leaderboard(results)
    assert board.rows.to_json() == whole.rows.to_json()
    assert repr(board.luck) == repr(whole.luck)
    assert left.sentence() == ""


def test_a_project_shows_its_own_and_counts_all(matrix):
    mt.evaluate(NAMES[:2], matrix)
    mt.evaluate(NAMES[2:], matrix, project="mine")
    board, _ = ranking.ranked("mine")
    assert (list(board.rows["name"]), board.luck["trials"]) == (NAMES[2:], 3)


def test_what_rests_on_revoked_data_is_counted_and_named(matrix):
    other = mt.matrix("AAPL", start="2008-01-02", end="2010-12-31")
    mt.evaluate(NAMES[:2], matrix)
    mt.evaluate(NAMES[:1], other)
    content = matrix.provenance.content_sha256
    contamination.revoke(content, "a split is missing")
    said = CliRunner().invoke(app, ["leaderboard", "--json"], standalone_mode=False)
    line = f"2 results rest on revoked data and are left out ({content[:12]}: a split is missing)"
    assert said.stderr.splitlines() == [f"mltrainer: {line}"]
    found = json.loads(said.stdout)
    assert found["revoked"] == {"results": 2, "revocations": {content: "a split is missing"}}
    assert [row["ticker"] for row in found["rows"]] == ["AAPL"]
    contamination.lift(content, "it was another share's")
    assert json.loads(CliRunner().invoke(app, ["leaderboard", "--json"]).stdout)["revoked"]["results"] == 0


def test_a_spooled_trial_is_what_was_put_there_to_the_bit(matrix):
    (e,) = mt.evaluate(NAMES[:1], matrix)
    (whole,) = judgments.grouped([e]).values()
    kept = Spooled(whole)
    for kind in ("knows", "pays"):
        assert getattr(kept, kind).equals(getattr(whole, kind))
        assert kept.sessions(kind).equals(whole.sessions(kind))
    assert (kept.key, kept.question) == (whole.key, whole.question)


@pytest.mark.parametrize("models", [2, 700, 1_100])
def test_superior_ability_of_some_models_at_a_time_is_that_of_arch_for_all(models):
    rng = np.random.default_rng(models)
    rival = 1 + rng.normal(0, 0.3, 60)
    losses = rival[:, None] + rng.normal(0.02, 0.3, (60, models))
    test = SPA(rival, losses, block_size=4, reps=selection.DRAWS, seed=0)
    test.compute()
    assert selection.superior_of_periods(losses, rival) == test.pvalues["consistent"]


def test_overfitting_is_the_same_from_sums_of_each_trial():
    returns = np.random.default_rng(1).normal(size=(400, 30))
    each = [selection.BlockSums.of(returns[:, i]) for i in range(30)]
    assert selection.BlockSums.overfitting(each) == metrics.backtest_overfitting(returns)
    assert np.isnan(selection.BlockSums.overfitting([selection.BlockSums.of(np.zeros(400)), each[0]]))


def test_no_confidence_set_is_sought_among_too_many(matrix, monkeypatch):
    results = mt.evaluate(NAMES, matrix)
    assert study.leaderboard(results).rows["in_confidence_set"].notna().all()
    monkeypatch.setattr(leaderboard, "MOST", 2)
    board = study.leaderboard(results)
    assert board.rows["in_confidence_set"].isna().all()
    assert any("not sought among more than 2 models" in line for line in board.tests())
    assert audit.verify() == []
