"""Every reported thing says what made it, and two of them say why they differ."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import store
from mltrainer.cli import app
from mltrainer.errors import BadInput, Unavailable
from mltrainer.evaluation import governance, trials
from mltrainer.features.matrix import Matrix
from mltrainer.operations.explain import diff, explain
from mltrainer.server import users
from mltrainer.trust import audit


@pytest.fixture
def msft(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Matrix:
    monkeypatch.chdir(tmp_path)
    return mt.matrix("MSFT", start="2004-01-02", end="2006-12-29")


def key(matrix: Matrix, name: str = "KNeighborsRegressor_5", **options: object) -> str:
    """Evaluate, and return the address of the trial."""
    mt.evaluate(name, matrix, **options)
    return str(trials.ledger()["key"].iloc[-1])


def test_a_trial_says_which_model_data_code_and_who(msft: Matrix):
    address = key(msft)
    artifact = mt.model("KNeighborsRegressor_5").train(msft).save()
    governance.move(artifact, "validated", "by hand")
    said = explain(address[:10])
    assert (said.kind, said.id) == ("trial", address)
    assert said.model["name"] == "KNeighborsRegressor_5"
    assert said.data["content"] == msft.provenance.content_sha256
    assert said.data["MSFT"].startswith("sample, body ")
    assert audit.actor() in said.code["ran"]
    assert said.figures["sharpe"] == pytest.approx(trials.ledger()["sharpe"].iloc[0])
    assert [a["state"] for a in said.approved] == ["draft", "validated"]


def test_a_kept_model_says_its_libraries_and_its_life(msft: Matrix):
    artifact = mt.model("RidgeRegression").train(msft).save()
    said = explain(artifact[:12])
    assert said.kind == "model"
    assert "scikit-learn" in said.code
    assert said.model["trained_to"] <= "2006-12-29"
    assert [a["state"] for a in said.approved] == ["draft"]


def test_what_is_not_known_or_not_one_thing_is_one_line(msft: Matrix):
    audit.append("first")
    with pytest.raises(BadInput, match="no run and no address"):
        explain("../../x")
    with pytest.raises(Unavailable, match="nothing here begins with"):
        explain("0" * 64)


def test_two_trials_say_whether_data_or_settings_changed(msft: Matrix):
    one = key(msft)
    longer = key(mt.matrix("MSFT", start="2004-01-02", end="2007-06-29"))
    found, sentence = diff(one, longer)
    assert sentence == "what differs is data"
    assert {d.name for d in found if d.kind == "data"} >= {"content"}
    assert any(d.kind == "figures" and d.name == "sharpe" for d in found)
    dear = key(msft, protocol=mt.Protocol.of(cost_bps=20.0))
    found, sentence = diff(one, dear)
    assert sentence == "what differs is settings"
    assert diff(one, one) == ([], "they are one and the same")
    assert "model" in diff(one, key(msft, "KNeighborsRegressor_3"))[1]


def test_a_kind_is_compared_with_its_own(msft: Matrix):
    with pytest.raises(BadInput, match="compare two of a kind"):
        diff(key(msft), mt.model("RidgeRegression").train(msft).save())


def test_the_commands_say_the_same(msft: Matrix):
    address = key(msft)
    run = CliRunner()
    assert json.loads(run.invoke(app, ["explain", address[:12], "--json"]).stdout)["id"] == address
    assert "KNeighborsRegressor_5" in run.invoke(app, ["explain", address[:12]]).stdout
    said = json.loads(run.invoke(app, ["diff", address, address, "--json"]).stdout)
    assert said == {"sentence": "they are one and the same", "differences": []}


def test_what_is_said_of_a_user_has_no_digest_of_a_token(home: Path):
    users.add("ann", "viewer")
    with store.reading() as connection:
        (row,) = connection.execute(select(store.users)).mappings().all()
    found = explain(row["key"])
    assert (found.kind, found.settings["name"]) == ("user", "ann")
    assert json.loads(row["payload"])["digest"] not in str(found)
