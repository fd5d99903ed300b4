"""What trains on the future is labelled, flatters, and can neither be ranked nor counted."""

import dataclasses

import numpy as np
import pytest

from mltrainer.errors import Unavailable, UnknownName
from mltrainer.evaluation import engine, judgments, study, trials
from mltrainer.evaluation.gap import leakage_gap
from mltrainer.evaluation.judging import judge
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import CombinatorialPurged, KFoldDiagnostic
from mltrainer.models import catalog

K_FOLD = Protocol(split=KFoldDiagnostic())


def test_k_fold_flatters_a_model_that_remembers_and_says_that_it_does(msft):
    # finance notes, P1: overlapping labels make neighbors of a test row near copies of it
    gap = leakage_gap("KNeighborsRegressor_5", msft)
    scores = gap.scores
    assert scores.loc["r2_oos", "gap"] > 0.5
    assert scores.loc["ic", "k_fold"] > 0.3 > abs(scores.loc["ic", "walk_forward"])
    assert abs(scores.loc["ic", "combinatorial_purged"]) < 0.15  # purged on both sides, there is nothing to remember
    np.testing.assert_array_equal(scores["gap"], scores["k_fold"] - scores["walk_forward"])
    assert "(diagnostic: trains on the future)" in gap.sentence()
    assert repr(gap) == f"LeakageGap({gap.sentence()})"


def test_all_ways_are_scored_on_the_sessions_of_the_walk_forward(msft):
    gap = leakage_gap("RidgeRegression", msft)
    usual = study.evaluate("RidgeRegression", msft)
    assert gap.scores.loc["r2_oos", "walk_forward"] == usual.metrics["r2_oos"]
    (flattered,) = engine.run([catalog.spec("RidgeRegression")], [msft], protocol=K_FOLD, jobs=1, progress=False)
    assert len(flattered.forecasts) == int(msft.y.notna().sum())
    figures = judge(flattered.forecasts.loc[usual.forecasts.index], 5)
    assert gap.scores.loc["r2_oos", "k_fold"] == figures["r2_oos"]


def test_a_diagnostic_is_kept_once_and_neither_ranked_nor_counted(msft):
    study.evaluate("RidgeRegression", msft)
    luck = judgments.judgment().luck
    for _ in range(2):
        leakage_gap("RidgeRegression", msft)
    rows = trials.ledger()
    assert list(rows["status"]) == ["ok", "diagnostic", "diagnostic"]
    assert judgments.judgment().luck == pytest.approx(luck, nan_ok=True)
    (kept,) = engine.run([catalog.spec("RidgeRegression")], [msft], protocol=K_FOLD, jobs=1, progress=False)
    assert not kept.ok
    assert kept.reason.startswith("diagnostic: trains on the future")
    assert "trains on the future" in repr(kept)
    usual = study.evaluate("RidgeRegression", msft)
    board = study.leaderboard([kept, usual])
    assert list(board.rows["status"]) == ["ok", "diagnostic"]
    assert list(board.rows["verdict"])[1] == "diagnostic"
    assert board.rows["sharpe"].isna().iloc[1]


def test_paths_are_other_results_under_other_addresses(msft):
    spec = catalog.spec("RidgeRegression")
    one, other = (
        engine.run([spec], [msft], protocol=Protocol(split=CombinatorialPurged(6, 2, path)), jobs=1, progress=False)[0]
        for path in (0, 4)
    )
    assert one.key != other.key
    assert one.metrics["sharpe"] != other.metrics["sharpe"]
    assert one.forecasts.index.equals(other.forecasts.index)


@pytest.mark.parametrize("name", ["ARIMA_1_0_0", "RecursiveLS", "RegressorChain"])
def test_a_model_that_follows_time_has_no_gap_to_show(msft, name):
    with pytest.raises(Unavailable, match=f"{name} has no leakage gap .* this split takes them apart"):
        leakage_gap(name, msft)


def test_an_unknown_name_is_said_so(msft):
    with pytest.raises(UnknownName, match="close: RidgeRegression"):
        leakage_gap("RidgeRegresion", msft)


def test_the_usual_protocol_is_no_diagnostic(msft):
    assert study.evaluate("RidgeRegression", msft).ok
    assert dataclasses.replace(Protocol()).split.diagnostic == ""
