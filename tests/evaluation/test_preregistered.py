"""A test declared before it was run is read alone, or among what had been seen by then; one declared after is none."""

import dataclasses

import numpy as np
import pytest
from databases import Tamper
from test_skill import N, evaluation, frame, held, market

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.evaluation import judgments, preregistered, skill, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.skill import Evidence, Single
from mltrainer.evaluation.splits import KFoldDiagnostic
from mltrainer.trust import audit

TRIED = ["DecisionTree_depth_3", "KNeighborsRegressor_5", "LassoRegression"]


def alone(*evaluations) -> Evidence:
    """The evidence of the last, tested among these and no others."""
    return skill.judge(judgments.grouped(evaluations).values()).evidence[evaluations[-1].trial]


def test_a_single_test_is_read_alone_whatever_is_tried_after_it(msft):
    declared = mt.preregister("RidgeRegression", msft)
    e = mt.evaluate("RidgeRegression", msft)
    assert declared.key == e.key
    assert (declared.seen, declared.position) == (0, 0)
    others = mt.evaluate(TRIED, msft)
    judged = judgments.judgment()
    single = judged.single[e.key]
    assert (single.seen, single.tests, single.words) == (0, 1, "preregistered single test")
    assert single.evidence == alone(e)
    assert judged.evidence[e.key] == skill.judge(judgments.grouped([e, *others]).values()).evidence[e.key]
    assert single.evidence.p <= judged.evidence[e.key].p
    row = mt.leaderboard([e, *others]).rows.set_index("key").loc[e.key]
    assert row["p_single"] == single.evidence.p
    words = f"preregistered single test, p = {single.evidence.p:.2g} (jointly {judged.evidence[e.key].p:.2g})"
    assert row["verdict"].endswith(words)


def test_what_was_seen_before_a_declaration_counts_and_what_came_after_does_not(msft):
    seen = mt.evaluate(TRIED[:2], msft)
    declared = mt.preregister("RidgeRegression", msft)
    assert declared.seen == 2
    assert "declared after 2 trials" in repr(declared)
    mt.evaluate(TRIED[2], msft)
    e = mt.evaluate("RidgeRegression", msft)
    single = judgments.judgment().single[e.key]
    assert single.evidence == alone(*seen, e)
    assert single.words == "preregistered test after 2 trials"


def test_the_declared_share_the_five_percent_and_one_not_run_has_its_share_too(msft):
    for name in ("RidgeRegression", *TRIED):
        mt.preregister(name, msft)
    e = mt.evaluate("RidgeRegression", msft)
    single = judgments.judgment().single[e.key]
    assert single.tests == 4
    assert single.evidence.p_pays == min(4 * alone(e).p_pays, 1.0)
    assert single.words == "preregistered single test, one of 4"
    assert list(judgments.judgment().single) == [e.key]


def test_a_judgment_as_of_a_row_of_the_ledger_does_not_change_by_later_declarations(msft):
    mt.preregister("RidgeRegression", msft)
    mt.evaluate("RidgeRegression", msft)
    now, row = judgments.judgment(), trials.position()
    mt.preregister(TRIED[0], msft)
    assert judgments.judgment().single == now.single
    mt.evaluate(TRIED[1], msft)
    assert judgments.judgment(until=row).single == now.single
    assert judgments.judgment().single != now.single


def test_a_test_that_has_a_result_cannot_be_declared_even_if_its_row_is_deleted(msft, tamper: Tamper):
    e = mt.evaluate("RidgeRegression", msft)
    with pytest.raises(BadInput, match="has a result already"):
        mt.preregister("RidgeRegression", msft)
    tamper("DELETE FROM trials")
    with pytest.raises(BadInput, match="has a result already"):
        mt.preregister("RidgeRegression", msft)
    assert audit.entries(kind=preregistered.KIND) == []
    assert e.key not in judgments.judgment().single


def test_an_entry_after_the_result_makes_no_single_test_of_it(msft):
    e = mt.evaluate("RidgeRegression", msft)
    mt.evaluate(TRIED[0], msft)
    late = preregistered.Registration(e.key, e.model, "MSFT", 5, "return", "sample", seen=0, position=1)
    audit.append(preregistered.KIND, **late.payload())
    assert judgments.judgment().single == {}


def test_a_declaration_is_of_these_settings_and_the_first_one_stands(msft):
    first = mt.preregister("RidgeRegression", msft, protocol=Protocol(cost_bps=10), project="a")
    assert first.settings == "cost_bps=10"
    other = mt.evaluate("RidgeRegression", msft)
    assert other.key not in judgments.judgment().single
    e = mt.evaluate("RidgeRegression", msft, protocol=Protocol(cost_bps=10))
    again = mt.preregister("RidgeRegression", msft, protocol=Protocol(cost_bps=10), project="b")
    assert again == first
    assert judgments.judgment().single[e.key].seen == 0
    assert audit.verify() == []


def test_what_failed_may_still_be_declared_and_what_trains_on_the_future_never(msft):
    spec = mt.catalog()[0]
    failed = trials.key(spec, msft, Protocol())
    e = evaluation("A", frame(market(0), np.ones(N)))
    trials.record(dataclasses.replace(e, key=failed, status="failed", model=spec.name), msft)
    assert mt.preregister(spec, msft).key == failed
    with pytest.raises(BadInput, match="cannot be tested: diagnostic"):
        mt.preregister("RidgeRegression", msft, protocol=Protocol(KFoldDiagnostic()))


@pytest.mark.parametrize(
    ("single", "joint", "expected"),
    [
        (0.01, 0.3, "evidence of skill: it pays after costs; preregistered single test, p = 0.01 (jointly 0.3)"),
        (0.2, 0.9, "no evidence of skill; preregistered single test, p = 0.2 (jointly 0.9)"),
        (0.06, 0.04, "no evidence of skill; preregistered single test, p = 0.06 (jointly 0.04)"),
    ],
)
def test_the_verdict_of_a_declared_test_is_its_own_and_shows_both_readings(single, joint, expected):
    rng = np.random.default_rng(0)
    e = evaluation("A", frame(market(0), held(rng.choice([-1.0, 1.0], N)), forecast=rng.normal(size=N)))
    own = Single(Evidence(p_knows=1.0, p_pays=single))
    assert skill.verdict(e, Evidence(p_knows=1.0, p_pays=joint), own) == expected


def test_bonferroni_among_declared_tests_never_exceeds_one():
    found = Single.of(Evidence(1.0, 0.03, float("nan"), float("nan")), seen=0, tests=50)
    assert found.evidence.p_knows == 1.0
    assert np.isnan(found.evidence.p_pays)
