"""A model is used only after its gates and by another's hand, and a retired one forecasts no more."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer.cli import app
from mltrainer.errors import BadInput, Refused
from mltrainer.evaluation import governance, lifecycle
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
    assert run.invoke(app, ["governance", "retire", kept, "--reason", "old"]).exit_code == 0
    assert "retired" in run.invoke(app, ["governance", "list"]).stdout


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
