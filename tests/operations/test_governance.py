"""A model is used only after its gates and by another's hand, and a retired one forecasts no more."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer.cli import app
from mltrainer.errors import BadInput, Refused
from mltrainer.evaluation import artifacts, governance, lifecycle, trials
from mltrainer.evaluation.judging import judge
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.operations import lifecycle as operations
from mltrainer.operations.compliance import CompliancePack
from mltrainer.trust import audit

PARTS = ("opening", "models", "gates", "signed", "challengers", "limits", "incidents", "elsewhere")


@pytest.fixture
def msft(home: Path) -> Matrix:
    return mt.matrix("MSFT", start="2004-01-02", end="2008-12-31")


@pytest.fixture
def kept(msft: Matrix) -> str:
    return mt.model("RidgeRegression").train(msft).save()


def passed(artifact: str) -> None:
    """A validation as the trail has it of a model that passed."""
    governance.move(
        artifact,
        "validated",
        "gates passed",
        ticker="MSFT",
        gates=({"gate": "all", "passed": True, "found": "by hand"},),
    )


def as_somebody_else(call: object, *given: object, **named: object) -> None:
    token = audit.ACTOR.set("validator")
    try:
        call(*given, **named)  # type: ignore[operator]
    finally:
        audit.ACTOR.reset(token)


def test_a_kept_model_is_a_draft_and_a_step_that_does_not_follow_is_refused(kept: str):
    assert governance.standing(kept).state == "draft"
    for state in ("champion", "challenger", "restricted"):
        with pytest.raises(BadInput, match="is draft and cannot become"):
            governance.move(kept, state, "because")
    with pytest.raises(BadInput, match="give the reason"):
        governance.move(kept, "retired", " ")
    with pytest.raises(BadInput, match="is no address of a kept model"):
        governance.standing("0" * 64)


def test_who_trained_a_model_does_not_approve_it_and_nobody_does_before_its_gates(kept: str):
    with pytest.raises(Refused, match="nobody approves what is his own"):
        operations.approve(kept, "I like it")
    assert audit.entries(kind="violation")[-1].payload["why"].endswith("trained it")
    with pytest.raises(BadInput, match="is draft; mltrainer governance validate first"):
        as_somebody_else(operations.approve, kept, "I like it")
    passed(kept)
    as_somebody_else(operations.approve, kept, "gates passed", champion=True)
    now = governance.standing(kept)
    assert (now.state, now.by, now.ticker) == ("champion", "validator", "MSFT")
    (row,) = operations.inventory().to_dict("records")
    assert (row["state"], row["approved_by"]) == ("champion", "validator")
    assert row["trained_by"] == audit.actor()
    assert audit.verify() == []


def test_a_new_champion_makes_the_one_before_a_challenger(kept: str, msft: Matrix):
    other = mt.model("LinearRegression").train(msft).save()
    for artifact in (kept, other):
        passed(artifact)
        as_somebody_else(operations.approve, artifact, "better", champion=True)
    assert governance.standing(kept).state == "challenger"
    assert governance.standing(other).state == "champion"


def test_a_retired_model_forecasts_no_more_and_its_file_can_be_read(kept: str):
    model, later = lifecycle.Model.load(kept), mt.matrix("MSFT", start="2004-01-02", end="2009-12-31")
    assert len(model.predict(later)) > 0
    governance.move(kept, "retired", "drifted")
    for one in (model, lifecycle.Model.load(kept)):  # also one that was opened before
        with pytest.raises(Refused, match=r"was retired .* \(drifted\), so it forecasts no more"):
            one.predict(later)
    assert lifecycle.Model.load(kept).result.rows > 0
    with pytest.raises(BadInput, match="train it again"):
        governance.move(kept, "validated", "please")


@pytest.mark.slow
def test_the_gates_say_what_they_found_and_a_model_without_skill_stays_a_draft(kept: str, msft: Matrix):
    mt.evaluate("RidgeRegression", msft)
    gates = {g.gate: g for g in operations.validate(kept)}
    assert list(gates) == list(operations.GATES)
    assert gates["leakcheck"].passed
    assert gates["evidence"].passed
    assert gates["card complete"].passed
    assert not gates["skill"].passed
    assert governance.standing(kept).state == "draft"
    told = audit.entries(kind="validation")[0].payload
    assert [g["gate"] for g in told["gates"]] == list(operations.GATES)


def test_the_inventory_as_json_and_a_retirement_by_command(kept: str):
    run = CliRunner()
    (row,) = json.loads(run.invoke(app, ["governance", "list", "--json"]).stdout)
    assert (row["artifact"], row["state"]) == (kept, "draft")
    shown = run.invoke(app, ["governance", "list"]).stdout.splitlines()[1].split()[0]
    assert len(shown) < len(kept)
    assert run.invoke(app, ["governance", "retire", shown, "--reason", "old"]).exit_code == 0
    assert governance.standing(kept).state == "retired"
    assert "retired" in run.invoke(app, ["governance", "list"]).stdout


def test_the_beginning_of_an_address_is_the_model_that_alone_begins_so(kept: str):
    assert governance.address(kept[:6]) == kept
    assert [governance.address(a) for a in (kept, kept[:5], "", "../x")] == [kept, kept[:5], "", "../x"]
    with pytest.raises(BadInput, match="no kept model begins with 000000; mltrainer governance list shows them"):
        governance.address("0" * 6)
    other = kept[:8] + ("1" if kept[8] == "0" else "0") * 56
    audit.append("artifact", artifact=other, model="RidgeRegression", estimator=kept)
    with pytest.raises(BadInput, match="2 kept models begin with"):
        governance.address(kept[:8])
    assert governance.address(kept[:9]) == kept


@pytest.mark.parametrize("gate", ["skill", "stability by regime", "net of cost"])
def test_a_gate_of_a_model_that_was_never_evaluated_says_so(gate: str):
    found = operations.GATES[gate]("RidgeRegression", {}, None)
    assert (found.passed, found.found) == (False, "it was never evaluated; see mltrainer evaluate")


def test_the_pack_is_read_off_the_trail_and_claims_nothing(kept: str, home: Path):
    passed(kept)
    as_somebody_else(operations.approve, kept, "<b>gates</b> passed", champion=True)
    pack = CompliancePack("MSFT")
    text = "".join(getattr(pack, part)().text for part in PARTS)
    assert "no statement that any rule is complied with" in text
    assert kept[:12] in text
    assert "validator" in text
    assert "&lt;b&gt;gates" in text  # a reason is no HTML
    assert "<b>gates" not in text
    assert str(audit.head()) in text
    assert "it holds." in text
    assert "No model was kept yet" in CompliancePack("IBM").models().text


def proof(msft: Matrix, artifact: str) -> Evaluation:
    """An evaluation of the kept model that knew what was to come, in the ledger like any other."""
    made = mt.evaluate("KNeighborsRegressor_5", msft)
    f = made.forecasts
    side = np.sign(f["benchmark"])
    rows = f.assign(forecast=f["y"], position=side, gross=side * f["benchmark"], net=side * f["benchmark"])
    name = artifacts.load(artifact)[0]
    return trials.record(replace(made, key="e" * 64, model=name, forecasts=rows, metrics=judge(rows, 5)), msft)


@pytest.mark.slow
def test_a_model_that_passes_every_gate_is_validated_once_and_never_moved_by_asking_again(kept: str, msft: Matrix):
    proof(msft, kept)
    assert [g for g in operations.validate(kept) if not g.passed] == []
    assert governance.standing(kept).state == "validated"
    as_somebody_else(operations.approve, kept, "gates passed", champion=True)
    operations.validate(kept, "the yearly question")
    assert governance.standing(kept).state == "champion"
    told = audit.entries(kind="validation")[-1].payload
    assert (told["passed"], told["ticker"], told["reason"]) == (True, "MSFT", "the yearly question")
    governance.move(kept, "restricted", "only for MSFT")
    with pytest.raises(Refused):
        operations.approve(kept, "I lift it")
    as_somebody_else(operations.approve, kept, "it may be used again")
    assert governance.standing(kept).state == "challenger"


def test_each_gate_says_yes_and_no(kept: str, msft: Matrix):
    good, state = proof(msft, kept), artifacts.load(kept)[2]
    f = good.forecasts
    bad = replace(good, forecasts=f.iloc[:249].assign(net=-1e-4), metrics=good.metrics | {"sharpe": -0.1})
    storm = replace(good, forecasts=f.assign(net=np.where(f["scale"] > f["scale"].quantile(1 / 3), -1e-4, 1e-2)))

    def said(gate: str, found: Evaluation | None, **other: object) -> operations.Gate:
        return operations.GATES[gate]("RidgeRegression", state | other, found)

    for gate in ("evidence", "stability by regime", "net of cost"):
        assert [said(gate, e).passed for e in (good, bad, None)] == [True, False, False]
    assert not said("stability by regime", storm).passed
    assert [said("skill", e).passed for e in (good, None)] == [True, False]
    assert (said("card complete", good).passed, said("card complete", good, libraries={}).found) == (
        True,
        "lacks libraries",
    )
    for gate in ("stability by regime", "net of cost"):
        asked = said(gate, bad, target="range")
        assert (asked.passed, asked.found) == (True, "not asked: nothing is traded on this target")


def test_evidence_is_of_the_very_settings_that_were_trained(kept: str, msft: Matrix):
    other = mt.model("RidgeRegression", {"ridge__alpha": 3.0}).train(msft).save()
    mt.evaluate("RidgeRegression", msft)
    found = {a: operations._evidence("RidgeRegression", artifacts.load(a)[2]) for a in (kept, other)}
    assert found[other] is None
    assert found[kept] is not None
    mt.model("RidgeRegression", {"ridge__alpha": 3.0}).evaluate(msft)
    own = operations._evidence("RidgeRegression", artifacts.load(other)[2])
    assert own is not None
    assert own.meta["settings"] == "alpha=3"


def test_nobody_who_kept_the_model_approves_it_not_even_the_second(kept: str, msft: Matrix):
    passed(kept)
    again = mt.model("RidgeRegression").train(msft)
    as_somebody_else(again.save)
    with pytest.raises(Refused, match="validator trained this RidgeRegression"):
        as_somebody_else(operations.approve, kept, "mine too")


def test_champions_of_other_horizons_stand_side_by_side(kept: str):
    longer = mt.model("RidgeRegression").train(mt.matrix("MSFT", start="2004-01-02", end="2008-12-31", horizon=10))
    both = [kept, longer.save()]
    for artifact in both:
        passed(artifact)
        as_somebody_else(operations.approve, artifact, "better", champion=True)
    assert [governance.standing(artifact).state for artifact in both] == ["champion", "champion"]


def test_gates_are_not_asked_of_a_panel(home: Path):
    panel = mt.matrix(["MSFT", "AAPL"], start="2004-01-02", end="2006-12-29")
    artifact = mt.model("RidgeRegression").train(panel).save()
    with pytest.raises(BadInput, match="gates are asked of models of one name"):
        operations.validate(artifact)
