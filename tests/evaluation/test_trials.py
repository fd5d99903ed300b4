"""The ledger forgets nothing, counts every fit once, and addresses a result by all that decides it."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from databases import BOTH, Tamper
from sklearn.ensemble import VotingRegressor
from sklearn.linear_model import Ridge
from sqlalchemy import text

import mltrainer as mt
from mltrainer import blobstore, metrics, store
from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered, Unavailable
from mltrainer.evaluation import engine, judgments, study, trials
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Question
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.settings import settings
from mltrainer.trust import audit

pytestmark = BOTH
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
    told = {"key": e.key, "model": "RidgeRegression", "ticker": "MSFT", "horizon": 5, "mode": "sample", "status": "ok"}
    told |= {"n": len(e.forecasts), "matrix": msft.provenance.content_sha256, "sharpe": e.metrics["sharpe"]}
    assert entry.payload | told == entry.payload
    assert blobstore.get(entry.payload["blob"]) == e.to_bytes()
    assert entry.payload["measured"] == e.measured
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
    assert judgments.judgment().luck["trials"] == 1


@pytest.mark.parametrize(
    "statement", ["UPDATE trials SET sharpe = 9", "DELETE FROM trials", "UPDATE audit SET at = 'x'"]
)
def test_no_row_can_be_changed_or_taken_back(msft, statement):
    trials.record(fit(msft), msft)
    before = trials.ledger()
    with pytest.raises(StorageError, match="append-only"), store.writing() as connection:
        connection.execute(text(statement))
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
    [Protocol(cost_bps=0), Protocol(interval=0.8), Protocol(winsorize=0.05), Protocol(split=WalkForward(4))],
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


def file(key: str) -> Path:
    row = trials.ledger().set_index("key").loc[key]
    return settings().home / "blobs" / row["blob"][:2] / row["blob"]


def flipped(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(body)


LOSSES = {"lost": (Path.unlink, Unavailable), "damaged": (flipped, Tampered)}


@pytest.mark.parametrize("why", LOSSES)
def test_a_result_that_is_lost_or_damaged_is_named_and_stops_nothing_else(msft, why):
    results = engine.run([RIDGE, catalog.spec("DecisionTree_depth_3")], [msft], jobs=1, progress=False)
    harm, error = LOSSES[why]
    harm(file(results[0].key))
    judgments._kept.cache_clear()
    assert trials.load(results[0].key) is None
    with pytest.raises(error):
        trials.opened(results[0].key)
    (row,) = trials.lost().to_dict("records")
    found = {name: row[name] for name in ("key", "model", "ticker", "horizon", "mode", "status", "why")}
    assert found == {"key": results[0].key, "model": "RidgeRegression", "ticker": "MSFT", "horizon": 5} | {
        "mode": "sample", "status": "ok", "why": f"result {why}",
    }  # fmt: skip
    luck = judgments.judgment().luck
    assert (luck["trials"], luck["lost"], luck["questions"]) == (1, 1, 1)
    (again,) = study.evaluate(["DecisionTree_depth_3"], msft)
    assert again.metrics == results[1].metrics
    assert len(study.leaderboard([again]).rows) == 1


@pytest.mark.parametrize("why", LOSSES)
def test_a_fit_made_again_heals_its_row_and_the_trail_says_so(msft, why):
    first = study.evaluate("RidgeRegression", msft)
    LOSSES[why][0](file(first.key))
    again = study.evaluate("RidgeRegression", msft)
    assert again.meta == first.meta  # what was measured the first time stands in the row
    assert trials.load(first.key).meta == first.meta
    assert len(trials.ledger()) == 1
    assert trials.lost().empty
    (entry,) = audit.entries(kind="healed")
    assert (entry.payload["key"], entry.payload["was"]) == (first.key, why)
    assert audit.verify() == []


def test_what_was_measured_does_not_move_the_address_of_a_result(msft):
    e = fit(msft)
    slower = dataclasses.replace(e, meta=e.meta | {"fit_seconds": 99.0, "peak_mb": 1.0, "warnings": ["slow"]})
    assert slower.to_bytes() == e.to_bytes()
    assert dataclasses.replace(e, meta=e.meta | {"policy": "other rows"}).to_bytes() != e.to_bytes()


def test_another_process_computes_the_same_bytes(msft, home, template):
    spec = "DecisionTree_depth_3"
    code = f"""
import pickle, sys
from mltrainer.evaluation import judgments, trials
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.skill import Question
from mltrainer.models import catalog
matrix, spec = pickle.load(sys.stdin.buffer), catalog.spec({spec!r})
sys.stdout.buffer.write(evaluate(spec, matrix, Protocol(), trials.key(spec, matrix, Protocol())).to_bytes())
"""
    call = [sys.executable, "-c", code]
    answer = subprocess.run(call, input=pickle.dumps(msft), capture_output=True, check=True)
    assert answer.stdout == fit(msft, spec).to_bytes()


def test_who_records_second_shows_what_the_first_one_measured(msft):
    """Two reports at once: both have fitted, one row stands, and `verify` reads that."""
    first = fit(msft)
    second = dataclasses.replace(first, meta=first.meta | {"fit_seconds": first.meta["fit_seconds"] + 7.0})
    assert trials.record(first, msft).meta == first.meta
    shown = trials.record(second, msft)
    assert shown.meta == trials.load(first.key).meta == first.meta
    pd.testing.assert_frame_equal(shown.forecasts, second.forecasts, check_exact=True)


def test_a_ledger_can_be_read_as_of_a_row(msft):
    assert trials.position() == 0
    trials.record(fit(msft), msft)
    then, luck = trials.position(), judgments.judgment().luck
    trials.record(fit(msft, "DecisionTree_depth_3"), msft)
    assert trials.ledger(then)["model"].tolist() == ["RidgeRegression"]
    assert judgments.judgment(until=then).luck == pytest.approx(luck, nan_ok=True)
    assert judgments.judgment().luck["trials"] == 2


# --- the ledger and the trail -----------------------------------------------------------------------------------

EDITS = {
    "a Sharpe ratio": ("UPDATE trials SET sharpe = 4.2", "sharpe is '4.2', its entry says"),
    "a status": ("UPDATE trials SET status = 'diagnostic'", "status is 'diagnostic', its entry says 'ok'"),
    "the sessions": ("UPDATE trials SET n = 20", "n is '20', its entry says"),
    "a ticker": ("UPDATE trials SET ticker = 'AAPL'", "ticker is 'AAPL', its entry says 'MSFT'"),
    "a result": (f"UPDATE trials SET payload = '{json.dumps({'blob': 'b' * 64})}'", "blob is 'bbbb"),
    "nonsense": ("UPDATE trials SET payload = '{'", "cannot be read"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_trial_is_found(msft, tamper: Tamper, what):
    trials.record(fit(msft), msft)
    saved = audit.head()
    statement, finding = EDITS[what]
    tamper(statement)
    assert audit.verify(saved) == audit.verify()
    (found,) = audit.verify()
    assert finding in found


def test_trials_that_were_deleted_and_invented_are_found_and_named(msft, tamper: Tamper):
    """Two of three deleted, another put in; neither the chain nor a saved head shows it."""
    kept, *others = [fit(msft, n) for n in ("RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_5")]
    for e in (kept, *others):
        trials.record(e, msft)
    saved = audit.head()
    tamper(
        "DELETE FROM trials WHERE model <> 'RidgeRegression'",
        "INSERT INTO trials (key, at, model, family, ticker, horizon, status, sharpe, n, payload) "
        "SELECT 'invented', at, model, family, ticker, horizon, status, 4.2, n, payload FROM trials",
    )
    found = audit.verify(saved)
    assert len(found) == 3
    for e in others:
        assert f"trial {e.key[:12]} stands in the trail and is gone from its table" in found
    assert "trial invented has no entry in the trail" in " ".join(found)
    lost = trials.lost()
    assert dict(zip(lost["model"], lost["why"], strict=True)) == {e.model: "row deleted" for e in others}


def test_a_row_that_was_deleted_and_is_fitted_again_is_no_longer_lost(msft, tamper: Tamper):
    first = study.evaluate("RidgeRegression", msft)
    tamper("DELETE FROM trials")
    assert trials.lost()["why"].tolist() == ["row deleted"]
    study.evaluate("RidgeRegression", msft)
    assert trials.lost().empty
    assert audit.verify() == []
    assert [e.payload["key"] for e in audit.entries(kind="trial")] == [first.key] * 2


def test_what_was_deleted_counts_against_luck_where_the_ledger_was_then(msft, tamper: Tamper):
    for name in ("RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_5"):
        trials.record(fit(msft, name), msft)
    then, position = judgments.judgment().luck["effective"], trials.position()
    tamper("DELETE FROM trials WHERE model <> 'DecisionTree_depth_3'")
    luck = judgments.judgment().luck
    assert (luck["trials"], luck["lost"], luck["questions"]) == (1, 2, 1)
    assert luck["effective"] == 3 >= then  # each as if it were independent
    assert judgments.judgment(until=position - 1).luck["lost"] == 1


def test_a_panel_that_lost_a_ticker_is_one_lost_trial_of_its_question(msft, tamper: Tamper):
    e = fit(msft)
    for ticker in ("AAPL", "MSFT"):
        meta = e.meta | {"trial": "together"}
        trials.record(dataclasses.replace(e, key=f"{e.key[:60]}{ticker}", ticker=ticker, meta=meta), msft)
    assert judgments.judgment().luck["trials"] == 1
    tamper("DELETE FROM trials WHERE ticker = 'AAPL'")
    luck = judgments.judgment().luck
    assert (luck["trials"], luck["lost"], luck["questions"]) == (0, 1, 1)
    assert judgments._questions([*trials.present(), *trials.deleted()]) == ((Question(("AAPL", "MSFT"), 5), 1),)


def test_an_entry_of_an_older_version_says_less_and_is_compared_in_what_it_says(msft, tamper: Tamper):
    e = fit(msft)
    trials.record(e, msft)
    blob = trials.ledger()["blob"].iloc[0]
    tamper("DELETE FROM audit WHERE kind = 'trial'")
    for memory in settings().home.glob("*.head"):
        memory.unlink()
    audit.append("trial", key=e.key, blob=blob, model=e.model)
    assert audit.verify() == []
    file(e.key).unlink()
    (row,) = trials.lost().to_dict("records")
    assert (row["key"], row["model"], row["why"]) == (e.key, "RidgeRegression", "result lost")
    assert pd.isna([row["ticker"], row["horizon"], row["mode"]]).all()
    tamper("UPDATE trials SET model = 'Other'")
    assert ["model is 'Other', its entry says 'RidgeRegression'" in found for found in audit.verify()] == [True]


def test_an_attempt_that_failed_has_no_forecasts_to_lose(msft):
    trials.record(failed(msft), msft)
    file(f"{failed(msft).key}#1").unlink()
    assert trials.lost().empty


def test_a_fit_that_cannot_be_stored_is_no_trial(msft, monkeypatch):
    def full(_data):
        raise StorageError("the disk is full")

    monkeypatch.setattr(blobstore, "put", full)
    with pytest.raises(MltrainerError, match="disk is full"):
        trials.record(fit(msft), msft)
    assert trials.ledger().empty


# --- luck -----------------------------------------------------------------------------------------------------


def test_an_empty_ledger_has_no_luck_to_speak_of():
    luck = judgments.judgment().luck
    assert luck["trials"] == luck["effective"] == 0
    assert np.isnan(luck["threshold"])


def test_luck_of_three_trials_is_that_of_the_formula(msft):
    for name in ["RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_5"]:
        trials.record(fit(msft, name), msft)
    luck = judgments.judgment().luck
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
        first = judgments.judgment().luck
    monkeypatch.setattr(blobstore, "get", None)
    assert judgments.judgment().luck == first
    judgments._kept.cache_clear()
    with pytest.raises(TypeError):
        judgments.judgment()


def test_a_leaderboard_can_be_judged_at_an_earlier_position_of_the_ledger(msft):
    for name in ("RidgeRegression", "DecisionTree_depth_3"):
        trials.record(fit(msft, name), msft)
    then = judgments.judgment()
    position = trials.position()
    trials.record(fit(msft, "KNeighborsRegressor_3"), msft)
    assert judgments.judgment(until=position).luck == then.luck
    assert judgments.judgment().luck["trials"] == 3


def test_a_second_home_knows_its_own_trials_only_unless_they_share_a_database(msft, home, monkeypatch):
    trials.record(fit(msft), msft)
    monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name("second")))
    rows = trials.ledger()
    board = study.leaderboard([fit(msft, "DecisionTree_depth_3")])
    assert len(rows) == (0 if settings().database_url is None else 1)
    # the forecasts lie in the first home, so a shared ledger knows of a trial that is lost here, and counts it as one
    assert board.luck["trials"] + board.luck["lost"] == len(rows) + 1
    assert f"after costs and {board.luck['trials']:.0f} trial" in board.sentence()


@pytest.mark.usefixtures("shared")
def test_two_homes_on_one_database_and_one_place_of_results_see_one_truth(msft, home, tmp_path, monkeypatch):
    if settings().database_url is None:
        monkeypatch.setenv("MLTRAINER_DATABASE_URL", f"sqlite:///{tmp_path / 'shared.sqlite'}")
    here = fit(msft)
    trials.record(here, msft)
    monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name("second")))
    there = fit(msft, "DecisionTree_depth_3")
    trials.record(there, msft)
    seen = []
    for name in ("home", "second"):
        monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name(name)))
        judgments._kept.cache_clear()
        judgments._judged.cache_clear()
        board = study.leaderboard([trials.opened(here.key), trials.opened(there.key)])
        seen.append((board.rows.to_json(), board.luck, trials.lost().empty))
    assert seen[0] == seen[1]
    assert (seen[0][1]["trials"], seen[0][1]["lost"], seen[0][2]) == (2, 0, True)


def test_trials_of_another_mode_do_not_count(msft, monkeypatch):
    trials.record(fit(msft), msft)
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    assert judgments.judgment().luck["trials"] == 0


def test_trials_over_other_sessions_are_counted_too(msft):
    trials.record(fit(msft), msft)
    trials.record(fit(msft, protocol=Protocol(split=WalkForward(3))), msft)
    luck = judgments.judgment().luck
    assert luck["trials"] == 2
    trials.record(fit(msft, protocol=Protocol(cost_bps=6.0)), msft)  # the same positions over the same sessions
    assert luck["effective"] <= judgments.judgment().luck["effective"] < 2.5  # and not three


def test_the_bar_rises_with_every_model_that_is_tried(msft):
    bars = []
    for name in ("RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_3", "SVR_rbf", "LogisticRegression"):
        trials.record(fit(msft, name), msft)
        bars.append(judgments.judgment().luck["effective"])
    assert bars == sorted(bars)
    assert bars[-1] > bars[0]
