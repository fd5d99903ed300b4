"""A kept model says what it said before, and nothing that was changed or brought from outside is opened."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io as sio
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import store
from mltrainer.cli import app
from mltrainer.errors import BadInput, Refused, Unavailable
from mltrainer.evaluation import artifacts, lifecycle
from mltrainer.evaluation.conformal import Calibration
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.settings import settings


@pytest.fixture
def short() -> Matrix:
    return mt.matrix("MSFT", start="2010-01-04")


@pytest.fixture
def kept(short: Matrix) -> str:
    return mt.model("RidgeRegression").train(short).save()


def blob(sha: str) -> Path:
    return next((settings().home / "blobs").glob(f"*/{sha}"))


def violations() -> int:
    return len(mt.audit.entries(kind="violation"))


def test_every_model_says_the_same_after_it_was_kept_and_the_trusted_types_are_exactly_theirs(
    short: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model of each make: those that differ in a number only consist of the same types."""
    # numbers for the interval are another test's, and would double the time of this one
    monkeypatch.setattr(lifecycle, "conformalize", lambda spec, matrix: Calibration(0.9, radius=1.0))
    one_each = {tuple(re.findall(r"[\w.]+\(", s.identity())): s.name for s in catalog.specs() if s.available}
    seen: set[str] = set()
    for name in one_each.values():
        result = mt.model(name).train(short)
        artifact = result.save()
        again = lifecycle.Model.load(artifact)
        assert_frame_equal(again.predict(short).frame, result.predict(short).frame, obj=name)
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


DAMAGES = ["truncated", "flipped", "emptied", "swapped"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [*(("RidgeRegression", d) for d in DAMAGES), ("LSTM_simulation", "flipped"), ("ARIMA_1_0_0", "truncated")],
)
def test_a_damaged_estimator_is_refused(short: Matrix, name: str, damage: str) -> None:
    if not catalog.spec(name).available:
        pytest.skip(catalog.spec(name).why_unavailable)
    kept = mt.model(name).train(short).save()
    path = blob(json.loads(store.get_blob(kept))["estimator"])
    body = path.read_bytes()
    middle = len(body) // 2
    changed = {
        "truncated": lambda: body[:middle],
        "flipped": lambda: body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :],
        "emptied": lambda: b"",
        "swapped": lambda: blob(other_estimator(short)).read_bytes(),
    }[damage]()
    path.chmod(0o644)
    path.write_bytes(changed)
    before = violations()
    with pytest.raises(Refused, match="was changed"):
        lifecycle.Model.load(kept)
    assert violations() == before + 1


def other_estimator(short: Matrix) -> str:
    return str(json.loads(store.get_blob(mt.model("KNeighborsRegressor_5").train(short).save()))["estimator"])


def test_a_record_that_was_edited_is_refused(short: Matrix, kept: str) -> None:
    """Other bounds for the features, or another calibration, would say other things under the same address."""
    path = blob(kept)
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"horizon":5', '"horizon":9'))
    with pytest.raises(Refused, match="was changed"):
        lifecycle.Model.load(kept)


@pytest.mark.parametrize("name", ["LSTM_simulation", "ARIMA_1_0_0"])
def test_an_artifact_is_numbers_and_names_of_types_and_no_program(short: Matrix, name: str) -> None:
    """Networks are rebuilt by this package from their settings: no keras file, whose config can name any layer."""
    if not catalog.spec(name).available:
        pytest.skip(catalog.spec(name).why_unavailable)
    result = mt.model(name).train(short)
    artifact = result.save()
    record = json.loads(store.get_blob(artifact))
    with zipfile.ZipFile(io.BytesIO(store.get_blob(record["estimator"]))) as packed:
        kinds = {Path(member).suffix for member in packed.namelist()}
        assert kinds == {".json", ".npy"}
        for member in packed.namelist():
            if member.endswith(".npy"):
                np.load(io.BytesIO(packed.read(member)), allow_pickle=False)
    assert record["state"]["matrix"] == short.provenance.content_sha256
    assert lifecycle.Model.load(artifact).result.matrix == result.matrix


def test_a_record_of_another_form_says_to_train_again(short: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "FORMAT", 1)
        artifact = mt.model("RidgeRegression").train(short).save()
    before = violations()
    with pytest.raises(Unavailable, match="train the model again"):
        lifecycle.Model.load(artifact)
    assert violations() == before


class Poison:
    """What a hostile file would carry: state that runs a command when it is opened by pickle."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __setstate__(self, state: dict) -> None:
        state["canary"].write_text("ran")


def test_a_type_that_no_model_consists_of_is_refused_and_not_run(short: Matrix, tmp_path: Path) -> None:
    """Even when the trail tells of it: somebody who can call `save` still cannot have a foreign type opened."""
    state = mt.model("RidgeRegression").train(short).model.state_
    canary = tmp_path / "canary"
    artifact = artifacts.save("RidgeRegression", Poison(canary), state)
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
    assert all(-0.3 < r["lower"] < r["mean"] < r["upper"] < 0.3 for r in rows)
