"""A kept model says what it said before, and nothing that was changed or brought from outside is opened."""

import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io as sio
from pandas.testing import assert_frame_equal
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import blobstore
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


def violations(kind: str = "violation") -> int:
    return len(mt.audit.entries(kind=kind))


@pytest.mark.slow
def test_every_model_says_the_same_after_it_was_kept_at_one_address_and_the_trusted_types_are_exactly_theirs(
    short: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One model of each make: those that differ in a number only consist of the same types."""
    # numbers for the interval are another test's, and would double the time of this one
    monkeypatch.setattr(lifecycle, "conformalize_each", lambda spec, m, *_: {m.name: Calibration(0.9, radius=1.0)})
    one_each = {
        tuple(re.findall(r"[\w.]+\(", s.identity())): s.name
        for s in (*catalog.specs(), catalog.spec("GRU"))
        if s.available
    }
    seen: set[str] = set()
    for name in one_each.values():
        result = mt.model(name).train(short)
        artifact = result.save()
        if name not in ("LSTM_simulation", "GRU"):  # it takes seconds, and has a test of its own
            assert mt.model(name).train(short).save() == artifact, name
        again = lifecycle.Model.load(artifact)
        assert_frame_equal(again.predict(short).frame, result.predict(short).frame, obj=name)
        record = json.loads(blobstore.get(artifact))
        seen |= set(sio.get_untrusted_types(data=blobstore.get(record["estimator"])))
    assert seen == set(artifacts.TRUSTED)


def test_what_was_fitted_on_plain_arrays_is_not_kept() -> None:
    model = mt.model("RidgeRegression").fit(np.eye(9), np.arange(9.0))
    with pytest.raises(BadInput, match="plain arrays"):
        model.save()


@pytest.mark.parametrize("address", ["../../etc/passwd", "0" * 64, "", "x" * 10_000, "a.skops"])
def test_an_address_from_outside_is_refused_and_a_mistake_rather_than_a_violation(address: str) -> None:
    with pytest.raises(Refused) as error:
        lifecycle.Model.load(address)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert (violations("mistake"), violations()) == (1, 0)


DAMAGES = ["truncated", "flipped", "emptied", "swapped"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [*(("RidgeRegression", d) for d in DAMAGES), ("LSTM_simulation", "flipped"), ("ARIMA_1_0_0", "truncated")],
)
def test_a_damaged_estimator_is_refused(short: Matrix, name: str, damage: str) -> None:
    if not catalog.spec(name).available:
        pytest.skip(catalog.spec(name).why_unavailable)
    kept = mt.model(name).train(short).save()
    path = blob(json.loads(blobstore.get(kept))["estimator"])
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
    return str(json.loads(blobstore.get(mt.model("KNeighborsRegressor_5").train(short).save()))["estimator"])


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
    record = json.loads(blobstore.get(artifact))
    with zipfile.ZipFile(io.BytesIO(blobstore.get(record["estimator"]))) as packed:
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


CODE = """
import sys, mltrainer as mt
for name in sys.argv[1:]:
    print(mt.model(name).train(mt.matrix("MSFT", start="2010-01-04")).save())
"""


@pytest.mark.slow
def test_the_same_model_trained_in_another_process_has_the_same_address(short: Matrix) -> None:
    names = ["RidgeRegression", "GaussianProcess_Matern", "LSTM_simulation", "CatBoost_simulation", "XGBoost"]
    names = [name for name in names if catalog.spec(name).available]
    answer = subprocess.run([sys.executable, "-c", CODE, *names], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [mt.model(name).train(short).save() for name in names]


# --- entries that somebody wrote --------------------------------------------------------------------------------


def zipped(**files: object) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        for name, value in files.items():
            file.writestr(name.replace("_", "."), json.dumps(value))
    return whole.getvalue()


BODIES = {
    "no zip": b"not a zip",
    "nothing": b"",
    "a zip without a schema": zipped(other_json={}),
    "a null schema": zipped(schema_json=None),
    "a schema that is a list": zipped(schema_json=[1]),
    "a schema without a node": zipped(schema_json={"protocol": 2}),
    "a schema of another shape": zipped(
        schema_json={"protocol": 2, "__class__": 1, "__module__": [], "__loader__": {}}
    ),
    "a schema nested without end": b"PK" + b"[" * 100_000,
    "a schema that is a number": zipped(schema_json=7),
}


def forged(body: bytes | None = None, **changes: object) -> str:
    """An artifact of RidgeRegression, changed, and an entry that fits it: by somebody who can write the trail."""
    real = json.loads(blobstore.get(mt.model("RidgeRegression").train(mt.matrix("MSFT", start="2010-01-04")).save()))
    record = real | changes | ({} if body is None else {"estimator": blobstore.put(body)})
    artifact = blobstore.put(json.dumps(record).encode())
    mt.audit.append("artifact", artifact=artifact, model=record["name"], estimator=record["estimator"])
    return artifact


def refused_in_one_line(artifact: str) -> str:
    before = violations()
    with pytest.raises(Refused) as error:
        lifecycle.Model.load(artifact)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert violations() == before + 1
    return str(error.value)


@pytest.mark.parametrize("what", BODIES)
def test_an_entry_whose_estimator_is_none_is_one_line(what: str) -> None:
    assert "the artifact '" in refused_in_one_line(forged(BODIES[what]))


@pytest.mark.parametrize("state", [None, [], "x", 7, {}, {"ticker": "MSFT"}], ids=repr)
def test_an_entry_whose_state_is_none_is_one_line(state: object) -> None:
    refused_in_one_line(forged(state=state))


@pytest.mark.parametrize("record", [b"null", b"[]", b"7", b'"x"', b"{", b"{}", b"[" * 100_000], ids=range(7))
def test_an_entry_whose_record_is_none_is_one_line(kept: str, record: bytes) -> None:
    artifact = blobstore.put(record)
    mt.audit.append("artifact", artifact=artifact, model="RidgeRegression", estimator="0" * 64)
    refused_in_one_line(artifact)


@pytest.mark.parametrize("name", ["LassoRegression", "RidgeCV", "KNeighborsRegressor_5", "Oracle"])
def test_a_model_that_was_given_the_name_of_another_is_refused(short: Matrix, kept: str, name: str) -> None:
    """Whether the entry is still of the one that it was, or fits the new name."""
    record = json.loads(blobstore.get(kept)) | {"name": name}
    artifact = blobstore.put(json.dumps(record).encode())
    mt.audit.append("artifact", artifact=artifact, model="RidgeRegression", estimator=record["estimator"])
    assert "is of another model than the audit trail says" in refused_in_one_line(artifact)
    why = refused_in_one_line(forged(name=name, of="another record"))
    assert name == "Oracle" or f"holds another model than the {name} of the catalog" in why


def test_a_model_with_settings_of_ones_own_is_kept_under_them(short: Matrix) -> None:
    mine = mt.model("RidgeRegression", {"ridge__alpha": 7.5}).train(short)
    assert lifecycle.Model.load(mine.save()).parameters == {"ridge__alpha": 7.5}


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
