"""The ledger forgets nothing, counts every fit once, and addresses a result by all that decides it."""

import dataclasses
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import Ridge
from sqlalchemy import text

import mltrainer as mt
from mltrainer import metrics, store
from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered
from mltrainer.evaluation import trials
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.settings import settings
from mltrainer.trust import audit

RIDGE = catalog.spec("RidgeRegression")


def fit(matrix, name="RidgeRegression", protocol=None) -> Evaluation:
    spec, protocol = catalog.spec(name), protocol or Protocol()
    return evaluate(spec, matrix, protocol, trials.key(spec, matrix, protocol))


def failed(matrix, name="RidgeRegression", reason="too hard") -> Evaluation:
    key = trials.key(catalog.spec(name), matrix, Protocol())
    return Evaluation(key, name, "linear", "regressor", "MSFT", 5, status="failed", reason=reason)


def test_a_recorded_fit_is_found_again_exactly(msft):
    e = fit(msft)
    trials.record(e, msft)
    again = trials.load(e.key)
    pd.testing.assert_frame_equal(again.forecasts, e.forecasts, check_exact=True)
    assert again.metrics == e.metrics
    assert again.meta == e.meta


def test_the_ledger_says_what_was_tried_on_what_and_how_it_ended(msft):
    e = fit(msft)
    trials.record(e, msft)
    row = trials.ledger().iloc[0]
    assert (row["model"], row["family"], row["ticker"], row["horizon"]) == ("RidgeRegression", "linear", "MSFT", 5)
    assert (row["status"], row["n"], row["reason"]) == ("ok", len(e.forecasts), "")
    assert row["sharpe"] == e.metrics["sharpe"]
    assert row["matrix"] == msft.provenance.content_sha256


def test_every_trial_is_in_the_audit_trail_with_the_hash_of_its_result(msft):
    e = fit(msft)
    trials.record(e, msft)
    (entry,) = audit.entries(kind="trial")
    assert entry.payload == {"key": e.key, "blob": trials.ledger()["blob"].iloc[0], "model": "RidgeRegression"}
    assert store.get_blob(entry.payload["blob"]) == e.to_bytes()
    assert audit.verify() == []


def test_recording_the_same_fit_twice_is_one_trial(msft):
    e = fit(msft)
    for _ in range(3):
        trials.record(e, msft)
    assert len(trials.ledger()) == 1
    assert len(audit.entries(kind="trial")) == 1


def test_every_failed_attempt_is_a_row_of_its_own_and_none_counts_as_the_result(msft):
    for reason in ("first", "second"):
        trials.record(failed(msft, reason=reason), msft)
    key = failed(msft).key
    assert trials.load(key) is None
    trials.record(fit(msft), msft)
    rows = trials.ledger()
    assert list(rows["key"]) == [f"{key}#1", f"{key}#2", key]
    assert list(rows["reason"]) == ["first", "second", ""]
    assert trials.judgment().luck["trials"] == 1


@pytest.mark.parametrize(
    "statement", ["UPDATE trials SET sharpe = 9", "DELETE FROM trials", "UPDATE audit SET at = 'x'"]
)
def test_no_row_can_be_changed_or_taken_back(msft, statement):
    trials.record(fit(msft), msft)
    before = trials.ledger()
    with pytest.raises(StorageError, match="append-only"), store.writing() as connection:
        connection.execute(text(statement))
    raw = sqlite3.connect(settings().home / "mltrainer.sqlite")
    with closing(raw), pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement)
    pd.testing.assert_frame_equal(trials.ledger(), before)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Another"},
        {"estimator": catalog.spec("LassoRegression").estimator},
        {"max_train_rows": 300},
        {"columns": ("return_1",)},
        {"follows": "returns"},
        {"takes": frozenset({"horizon"})},
        {"gives": frozenset({"quantile"})},
    ],
)
def test_another_model_is_another_address(msft, change):
    assert trials.key(dataclasses.replace(RIDGE, **change), msft, Protocol()) != trials.key(RIDGE, msft, Protocol())


@pytest.mark.parametrize(
    "protocol",
    [Protocol(cost_bps=0), Protocol(interval=0.8), Protocol(tail=0.05), Protocol(split=WalkForward(4))],
)
def test_another_protocol_is_another_address(msft, protocol):
    assert trials.key(RIDGE, msft, protocol) != trials.key(RIDGE, msft, Protocol())


def test_other_data_another_version_or_another_library_is_another_address(msft, monkeypatch):
    key = trials.key(RIDGE, msft, Protocol())
    other = dataclasses.replace(msft, provenance=dataclasses.replace(msft.provenance, content_sha256="0" * 64))
    assert trials.key(RIDGE, other, Protocol()) != key
    with monkeypatch.context() as patch:
        patch.setattr(trials, "VERSION", trials.VERSION + 1)
        assert trials.key(RIDGE, msft, Protocol()) != key
    monkeypatch.setattr(trials, "_version", lambda name: "99.0")
    assert trials.key(RIDGE, msft, Protocol()) != key


def test_the_backend_of_keras_computes_too(msft, monkeypatch):
    network, before = catalog.spec("LSTM_simulation"), trials._version
    key, ridge = trials.key(network, msft, Protocol()), trials.key(RIDGE, msft, Protocol())
    for backend in ("jax", "jaxlib"):
        assert backend in trials.libraries(network)
        monkeypatch.setattr(trials, "_version", lambda name, other=backend: "99" if name == other else before(name))
        assert trials.key(network, msft, Protocol()) != key
        assert trials.key(RIDGE, msft, Protocol()) == ridge


def test_a_member_of_another_library_counts_with_its_version(msft):
    from lightgbm import LGBMRegressor

    member = dataclasses.replace(
        RIDGE, name="Mixed", estimator=VotingRegressor([("a", Ridge()), ("b", LGBMRegressor())])
    )
    assert "lightgbm" in trials.libraries(member)


def test_a_result_of_a_class_of_ones_own_is_not_another_bodys(msft, monkeypatch):
    """The same name, the same settings, another body: it is computed, and not opened as what the first one gave."""

    def mine(shift):
        class Own(Ridge):
            def predict(self, X):
                return super().predict(X) + shift

        Own.__qualname__ = "Own"
        return ModelSpec("Mine", RIDGE.method, Own(), 0.1, "linear")

    first, second = (mt.evaluate(mine(shift), msft) for shift in (0.0, 1.0))
    assert first.key != second.key
    assert not np.allclose(first.forecasts["forecast"], second.forecasts["forecast"])
    assert mt.evaluate(mine(0.0), msft).key == first.key
    assert len(trials.ledger()) == 2


def test_a_name_of_the_catalog_belongs_to_its_entry(msft):
    other = ModelSpec("RidgeRegression", RIDGE.method, Ridge(1e6), 0.1, "linear")
    with pytest.raises(BadInput, match=r"RidgeRegression is a name of the catalog.*mt.model\('RidgeRegression', "):
        mt.evaluate(other, msft)
    assert trials.ledger().empty
    own = mt.evaluate(dataclasses.replace(other, name="Ridge_1e6"), msft)
    same = mt.evaluate(dataclasses.replace(RIDGE, cost=9.0), msft)
    tuned = mt.model("RidgeRegression", {"ridge__alpha": 1e6}).evaluate(msft)
    assert [own.model, same.model, tuned.model] == ["Ridge_1e6", "RidgeRegression", "RidgeRegression(alpha=1000000.0)"]


def test_what_does_not_decide_a_result_does_not_move_its_address(msft):
    told = dataclasses.replace(RIDGE, cost=99.0, warns="it may", reading="another reading")
    assert trials.key(told, msft, Protocol()) == trials.key(RIDGE, msft, Protocol())


def test_no_two_models_of_the_catalog_share_an_address(msft):
    keys = [trials.key(s, msft, Protocol()) for s in catalog.specs()]
    assert len(set(keys)) == len(keys)


def test_a_lost_result_is_computed_again_and_a_damaged_one_is_named(msft):
    e = fit(msft)
    trials.record(e, msft)
    sha = trials.ledger()["blob"].iloc[0]
    blob = settings().home / "blobs" / sha[:2] / sha
    body = bytearray(blob.read_bytes())
    body[100] ^= 1
    blob.write_bytes(body)
    with pytest.raises(Tampered, match="no longer matches its hash"):
        trials.load(e.key)
    blob.unlink()
    assert trials.load(e.key) is None
    assert len(trials.ledger()) == 1


def test_a_fit_that_cannot_be_stored_is_no_trial(msft, monkeypatch):
    def full(_data):
        raise StorageError("the disk is full")

    monkeypatch.setattr(store, "put_blob", full)
    with pytest.raises(MltrainerError, match="disk is full"):
        trials.record(fit(msft), msft)
    assert trials.ledger().empty


# --- luck -----------------------------------------------------------------------------------------------------


def test_an_empty_ledger_has_no_luck_to_speak_of():
    luck = trials.judgment().luck
    assert luck["trials"] == luck["effective"] == 0
    assert np.isnan(luck["threshold"])


def test_luck_of_three_trials_is_that_of_the_formula(msft):
    for name in ["RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_5"]:
        trials.record(fit(msft, name), msft)
    luck = trials.judgment().luck
    assert luck["trials"] == 3
    assert 1 <= luck["effective"] <= 3
    assert luck["spread"] >= 1  # in standard errors of a trial without skill
    assert luck["best"] == metrics.luck_threshold(luck["spread"], luck["effective"])
    assert luck["threshold"] == luck["best"] * np.sqrt(252 / luck["sessions"])


def test_the_ledger_is_judged_from_columns_of_each_result_read_once(msft, monkeypatch):
    for name in ("RidgeRegression", "DecisionTree_depth_3"):
        trials.record(fit(msft, name), msft)
    with monkeypatch.context() as patch:
        patch.setattr(Evaluation, "from_bytes", None)
        first = trials.judgment().luck
    monkeypatch.setattr(store, "get_blob", None)
    assert trials.judgment().luck == first
    trials._kept.cache_clear()
    with pytest.raises(TypeError):
        trials.judgment()


def test_a_leaderboard_can_be_judged_at_an_earlier_position_of_the_ledger(msft):
    for name in ("RidgeRegression", "DecisionTree_depth_3"):
        trials.record(fit(msft, name), msft)
    then = trials.judgment()
    position = trials.position()
    trials.record(fit(msft, "KNeighborsRegressor_3"), msft)
    assert trials.judgment(upto=position).luck == then.luck
    assert trials.judgment().luck["trials"] == 3


def test_trials_of_another_mode_do_not_count(msft, monkeypatch):
    trials.record(fit(msft), msft)
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    assert trials.judgment().luck["trials"] == 0


def test_trials_over_other_sessions_are_counted_too(msft):
    trials.record(fit(msft), msft)
    trials.record(fit(msft, protocol=Protocol(split=WalkForward(3))), msft)
    luck = trials.judgment().luck
    assert luck["trials"] == 2
    trials.record(fit(msft, protocol=Protocol(cost_bps=6.0)), msft)  # the same positions over the same sessions
    assert trials.judgment().luck["effective"] == pytest.approx(luck["effective"], abs=0.1)


def test_the_bar_rises_with_every_model_that_is_tried(msft):
    bars = []
    for name in ("RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_3", "SVR_rbf", "LogisticRegression"):
        trials.record(fit(msft, name), msft)
        bars.append(trials.judgment().luck["effective"])
    assert bars == sorted(bars)
    assert bars[-1] > bars[0]
