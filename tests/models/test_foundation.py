"""A folder of weights: named by its bytes, licence and cutoff; what it may have read is contaminated and not ranked."""

import json
from hashlib import sha256

import numpy as np
import pytest
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import views
from mltrainer.cli import app
from mltrainer.errors import BadInput, Refused, Tampered
from mltrainer.evaluation import judging, study, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import foundation as room
from mltrainer.models.deep import SPECS

pytestmark = pytest.mark.skipif(not SPECS[0].available, reason="the extra 'deep' is not installed")
QUICK = Protocol(split=WalkForward(folds=3))
SAID = {
    "name": "Tiny", "library": "keras", "weights": "tiny.keras", "licence": "MIT", "training_cutoff": "2008-06-30",
    "window": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The bytes of a network that says of four sessions the newest and their slope."""
    from mltrainer.models.networks import keras_on_jax

    path = tmp_path_factory.mktemp("weights") / "tiny.keras"
    keras = keras_on_jax()
    model = keras.Sequential([keras.Input((4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([np.array([[0.0, -3.0], [0.0, -1.0], [0.0, 1.0], [1.0, 3.0]]), np.zeros(2)])
    model.save(path)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path, weights):
    """A folder of weights and a function that rewrites its manifest."""
    place = tmp_path / "tiny"
    place.mkdir()
    (place / "tiny.keras").write_bytes(weights)

    def write(**changes):
        said = SAID | {"sha256": sha256(weights).hexdigest()} | changes
        said = {k: v for k, v in said.items() if v is not None}
        (place / "manifest.json").write_text(json.dumps(said))
        return place

    return write


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("foundation")))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield study.matrix("MSFT", start="2005-01-03", end="2009-12-31")


def test_outputs_are_those_of_the_network_on_standardized_windows_and_the_head_is_linear(folder):
    row = mt.foundation(folder())
    X = np.random.default_rng(0).normal(size=(300, 4)) * 0.01
    Z = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
    slope = Z @ [-3.0, -1.0, 1.0, 3.0]
    fitted = row.build().fit(X, slope)
    assert fitted._outputs(X) == pytest.approx(np.column_stack([Z[:, 3], slope]), abs=1e-5)
    assert np.corrcoef(fitted.predict(X), slope)[0, 1] > 0.98
    assert np.array_equal(fitted.predict(X)[:5], fitted.predict(X[:5]))


def test_a_row_says_licence_cutoff_and_bytes_and_not_where_it_lies(folder, tmp_path):
    place = folder()
    row, text = mt.foundation(place), mt.foundation(place).card.text()
    assert row.cutoff == "2008-06-30"
    assert "Trained elsewhere until 2008-06-30; licence: MIT." in " ".join(text.split())
    assert str(tmp_path) not in text + row.identity()
    assert row.identity() == mt.foundation(place.rename(tmp_path / "moved")).identity()
    assert sha256((tmp_path / "moved" / "tiny.keras").read_bytes()).hexdigest() in row.identity()


# --- the cutoff -----------------------------------------------------------------------------------------------


def test_sessions_up_to_the_cutoff_are_left_out_and_the_rest_is_judged(folder, matrix):
    row = mt.foundation(folder())
    e = judging.evaluate(row, matrix, QUICK)
    whole = judging.evaluate(mt.foundation(folder(training_cutoff="1999-01-01")), matrix, QUICK)
    assert e.ok
    assert str(e.forecasts.index[0].date()) == "2008-07-01"
    known = int((whole.forecasts.index <= "2008-06-30").sum())
    said = f"{known} sessions up to its knowledge cutoff 2008-06-30 are contaminated and left out"
    assert e.meta["contaminated"] == said
    assert said in repr(e)
    assert "contaminated" not in whole.meta
    clean = whole.forecasts.loc["2008-07-01":, "forecast"]
    assert e.forecasts["forecast"].equals(clean)


def test_a_model_that_may_know_all_that_it_is_judged_by_is_contaminated_and_not_ranked(folder, home):
    short = mt.matrix("MSFT", start="2005-01-03", end="2009-12-31")
    row = mt.foundation(folder(training_cutoff="2009-11-30"))
    ridge, tiny = mt.evaluate(["RidgeRegression", row], short, protocol=QUICK)
    assert tiny.status == "contaminated"
    assert tiny.metrics["ic"] == tiny.metrics["ic"]  # shown, for who asks
    board = mt.leaderboard([tiny, ridge])
    assert board.rows["name"].to_list() == ["RidgeRegression", "Tiny"]
    assert board.luck["trials"] == 1
    worst = board.rows.iloc[1]
    assert worst["verdict"] == "contaminated"
    assert np.isnan(worst["sharpe"])
    assert worst["reason"].startswith("contaminated: trained elsewhere until 2009-11-30, and ")
    assert "Tiny" not in board.sentence()
    page = views.board(board.rows)
    assert "contaminated: trained elsewhere until 2009-11-30" in page
    assert trials.load(tiny.key).status == "contaminated"  # asked again, it is opened
    with pytest.raises(BadInput, match="has a result already"):
        mt.preregister(row, short, protocol=QUICK)


def test_the_command_line_takes_the_folder_and_says_contaminated(folder, home, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    place = folder(training_cutoff="2012-12-31")
    run = CliRunner().invoke(app, ["evaluate", f"weights:{place}", "--folds", "2", "--start", "2009-01-02"])
    assert "contaminated: trained elsewhere until 2012-12-31" in run.output


@pytest.mark.parametrize(("cutoff", "kept", "why"), [("2020-01-05", 63, ""), ("2020-01-06", 65, "contaminated")])
def test_fewer_than_63_clean_sessions_are_no_evidence(cutoff, kept, why):
    import pandas as pd

    days = pd.bdate_range("2020-01-02", periods=65)  # a Thursday; two days are known up to the Sunday
    frame, _, said = judging.uncontaminated(pd.DataFrame({"forecast": 0.0}, days), cutoff)
    assert len(frame) == kept
    assert said.startswith(why)
    assert bool(said) == bool(why)


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"licence": None}, "says no licence"),
        ({"licence": ""}, "says no licence"),
        ({"training_cutoff": None}, "says no training_cutoff"),
        ({"training_cutoff": "lately"}, "has the training_cutoff 'lately'; write a day"),
        ({"sha256": None, "window": None}, "says no sha256 and no window"),
        ({"window": "4"}, "says no window"),
        ({"window": 1}, "has a window of 1 sessions"),
        ({"library": "torch"}, "is of the library 'torch'; the adapter opens keras"),
        ({"weights": "../tiny.keras"}, "name a file of the folder itself"),
        ({"weights": "other.keras"}, "cannot be read"),
        ({"name": "LSTM_simulation"}, "is a model of the catalog"),
        ({"name": "TCN"}, "is a model of the catalog"),
        ({"columns": "return_1"}, "no list of features"),
        ({"sha256": "0" * 64}, "are not those of the manifest"),
        ({"sha256": "f00"}, "has the sha256 'f00'; write 64 digits"),
        ({"sha256": "\x1b[31m" + "0" * 59}, "has characters in its sha256 that nobody sees"),
        ({"licence": " \t "}, "says no licence"),
        ({"licence": "MIT\nTrained elsewhere until 1990-01-01"}, "has characters in its licence that nobody sees"),
        ({"name": "  "}, "says no name"),
        ({"name": "Tiny\u202e"}, "has characters in its name that nobody sees"),
        ({"name": "Tiny\nRidgeRegression"}, "has characters in its name that nobody sees"),
        ({"name": "x" * 81}, "has the name 'x{40}'; write up to 80 letters"),
        ({"name": "<b>Tiny</b>"}, "has the name '<b>Tiny</b>'; write"),
        ({"weights": "tiny\x00.keras"}, "has characters in its weights that nobody sees"),
        ({"weights": "x" * 300}, "cannot be read"),
        ({"window": 10**400}, "has a window of 100000000000 sessions"),
    ],
)
def test_a_folder_that_does_not_say_what_it_is_is_refused_in_one_line(folder, changes, why, home):
    with pytest.raises(Refused, match=why) as error:
        mt.foundation(folder(**changes))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_no_folder_no_manifest_and_no_json_are_refused(tmp_path, home):
    with pytest.raises(Refused, match=r"has no manifest\.json"):
        mt.foundation(tmp_path / "nowhere")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(Refused, match="no JSON"):
        mt.foundation(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(Refused, match="says no name"):
        mt.foundation(tmp_path)


def test_what_is_no_path_and_what_is_no_text_are_refused_in_one_line(tmp_path, home):
    for folder in ("~nobody.such/tiny", "a\x00b", "x" * 5_000, tmp_path / ("y" * 250)):
        with pytest.raises(Refused) as error:
            mt.foundation(folder)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 300
    (tmp_path / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(Refused, match="no JSON"):
        mt.foundation(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(Refused, match="no JSON"):
        mt.foundation(tmp_path)
    assert room.flaw(tmp_path / "a\x00b", "0" * 64) == "cannot be read (no file has such a name)"


def test_a_reference_stays_on_its_line(folder):
    assert "\n" not in mt.foundation(folder(reference="Somebody (2024)\n\x1b[31mand more")).reading


def test_weights_that_were_changed_since_are_refused_when_they_are_opened(folder, home):
    place = folder(training_cutoff="2001-01-01")
    row = mt.foundation(place)
    (place / "tiny.keras").write_bytes(b"other bytes")
    room.opened.cache_clear()
    with pytest.raises(Tampered, match="are not those of the manifest"):
        row.build().fit(np.random.default_rng(0).normal(size=(70, 4)), np.zeros(70))
