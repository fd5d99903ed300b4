"""A kept model says what it said before, and nothing that was changed or brought from outside is opened."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import skops.io as sio
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import store
from mltrainer.cli import app
from mltrainer.errors import BadInput, Refused
from mltrainer.evaluation import artifacts, lifecycle
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.settings import settings


@pytest.fixture
def short() -> Matrix:
    return mt.matrix("MSFT", start="2009-01-02")


@pytest.fixture
def kept(short: Matrix) -> str:
    return mt.model("RidgeRegression").train(short).save()


def blob(sha: str) -> Path:
    return next((settings().home / "blobs").glob(f"*/{sha}"))


def violations() -> int:
    return len(mt.audit.entries(kind="violation"))


def test_every_model_says_the_same_after_it_was_kept_and_the_trusted_types_are_exactly_theirs(short: Matrix) -> None:
    """One model of each make: those that differ in a number only consist of the same types."""
    one_each = {tuple(re.findall(r"[\w.]+\(", s.identity())): s.name for s in catalog.specs() if s.available}
    seen: set[str] = set()
    for name in one_each.values():
        model = mt.model(name).train(short)
        artifact = model.save()
        again = lifecycle.Model.load(artifact)
        np.testing.assert_array_equal(again.predict(short), model.predict(short), err_msg=name)
        record = json.loads(store.get_blob(artifact))
        seen |= set(sio.get_untrusted_types(data=store.get_blob(record["estimator"])))
    assert seen == set(artifacts.TRUSTED)


def test_what_was_fitted_on_plain_arrays_is_not_kept() -> None:
    model = mt.model("RidgeRegression").fit(np.eye(9), np.arange(9.0))
    with pytest.raises(BadInput, match="plain arrays"):
        model.save()


@pytest.mark.parametrize("address", ["../../etc/passwd", "0" * 64, "", "x" * 10_000, "a.skops"])
def test_an_address_from_outside_is_refused(address: str) -> None:
    before = violations()
    with pytest.raises(Refused) as error:
        lifecycle.Model.load(address)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert violations() == before + 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "swapped"])
def test_a_damaged_estimator_is_refused(short: Matrix, kept: str, damage: str) -> None:
    path = blob(json.loads(store.get_blob(kept))["estimator"])
    body = path.read_bytes()
    other = mt.model("KNeighborsRegressor_5").train(short).save()
    changed = {
        "truncated": body[: len(body) // 2],
        "flipped": body[:100] + bytes([body[100] ^ 1]) + body[101:],
        "emptied": b"",
        "swapped": blob(json.loads(store.get_blob(other))["estimator"]).read_bytes(),
    }[damage]
    path.chmod(0o644)
    path.write_bytes(changed)
    before = violations()
    with pytest.raises(Refused, match="was changed"):
        lifecycle.Model.load(kept)
    assert violations() == before + 1


class Poison:
    """What a hostile file would carry: state that runs a command when it is opened by pickle."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __setstate__(self, state: dict) -> None:
        state["canary"].write_text("ran")


def test_a_type_that_no_model_consists_of_is_refused_and_not_run(short: Matrix, tmp_path: Path) -> None:
    """Even when the trail tells of it: somebody who can call `save` still cannot have a foreign type opened."""
    model = mt.model("RidgeRegression").train(short)
    canary = tmp_path / "canary"
    artifact = artifacts.save("RidgeRegression", Poison(canary), model.state_)
    before = violations()
    with pytest.raises(Refused, match="no model consists of"):
        lifecycle.Model.load(artifact)
    assert not canary.exists()
    assert violations() == before + 1


def test_a_model_saved_by_another_version_says_so(short: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(artifacts.trials, "versions", lambda names: dict.fromkeys(names, "0.0"))
        artifact = mt.model("RidgeRegression").train(short).save()
    with pytest.warns(UserWarning, match=r"scikit-learn 0\.0 is now"):
        lifecycle.Model.load(artifact)


def test_the_commands_train_and_predict() -> None:
    run = CliRunner()
    done = run.invoke(
        app, ["train", "RidgeRegression", "--ticker", "MSFT", "--start", "2009-01-02"], standalone_mode=False
    )
    assert done.exception is None
    said = run.invoke(app, ["predict", done.stdout.strip(), "--json"], standalone_mode=False)
    rows = json.loads(said.stdout)["rows"]
    assert [r["session"] for r in rows][-1] == "2013-03-01"
    assert len(rows) == 6
    assert all(abs(r["forecast"]) < 0.2 for r in rows)
