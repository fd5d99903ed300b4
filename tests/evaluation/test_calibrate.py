"""Worlds in which the truth is known, and what the verdict's rule says of them; nothing of a world gets out."""

import dataclasses
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer import metrics
from mltrainer.data import market
from mltrainer.errors import BadInput, Refused, UnknownName
from mltrainer.evaluation import calibrate as room
from mltrainer.evaluation import engine, trials, worlds
from mltrainer.evaluation.calibrate import Outcome, RuleCalibration, calibrate
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.worlds import World, redrawn
from mltrainer.features.targets import realized_variance
from mltrainer.models import catalog
from mltrainer.settings import settings
from mltrainer.trust import audit, gate

SPAN = {"start": "2004-01-02", "end": "2008-12-31"}
FEW = ["RidgeRegression", "PLSRegression_3"]


def small(**knobs) -> RuleCalibration:
    return calibrate("MSFT", models=FEW, progress=False, **{"null": 2, "planted": 0, "jobs": 1, **SPAN, **knobs})


def found_in(outcomes) -> list:
    """What was found in worlds, comparable also where a figure is undefined."""
    return [(o.world, o.p, sorted(o.t), o.skilled, repr(o.best)) for o in outcomes]


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    from mltrainer.data import sample

    return next(row for row in sample.BARS if row.name == "MSFT").load().frame.loc["2004":"2008"]


# --- worlds ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([1, 21]))
def test_a_world_has_bars_that_are_bars(bars, seed, edge, block):
    world = redrawn(bars, World(seed, edge, block=block))
    assert world.index.equals(bars.index)
    assert list(world) == list(bars)
    assert (world > 0).all().all()
    slack = 1e-9 * world["close"]
    assert (world["high"] + slack >= world[["open", "close"]].max(axis=1)).all()
    assert (world["low"] - slack <= world[["open", "close"]].min(axis=1)).all()


def test_a_world_is_made_of_the_same_sessions_in_another_order(bars):
    def shapes(frame: pd.DataFrame) -> np.ndarray:
        close = np.log(frame["close"].to_numpy())
        known = np.sqrt(worlds._known(pd.Series(np.diff(bars["close"].pipe(np.log))).pow(2)))
        return (np.log(frame["high"].to_numpy()[1:]) - close[:-1]) / known

    one, other = shapes(bars), shapes(redrawn(bars, World(3)))
    assert np.sort(one) == pytest.approx(np.sort(other), abs=1e-8)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    pd.testing.assert_frame_equal(redrawn(bars, World(3)), redrawn(bars, World(3)))


def test_volatility_comes_and_goes_as_it_did(bars):
    def monthly(frame: pd.DataFrame) -> pd.Series:
        return np.log(frame["close"]).diff().rolling(63).std().dropna()

    assert monthly(bars).corr(monthly(redrawn(bars, World(5)))) > 0.6  # 2008 is wild in every world


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_the_log_variance_of_a_session_is_raised_by_the_lead_known_before_it(bars, strength):
    moved, lead = worlds.swollen(bars, strength, seed=4)
    more = np.log(realized_variance(moved) / realized_variance(bars)).iloc[1:]
    np.testing.assert_allclose(more, strength * lead.shift().iloc[1:], atol=1e-6)
    assert abs(lead.mean()) < 0.4
    assert lead.autocorr() == pytest.approx(worlds.PERSISTENCE, abs=0.05)


@pytest.mark.parametrize("drift", [-0.5, 0.0, 1.2])
def test_holding_has_the_sharpe_ratio_that_was_asked_for(bars, drift):
    closes = redrawn(bars, World(7, drift=drift))["close"]
    assert metrics.sharpe(closes.pct_change().dropna()) == pytest.approx(drift, abs=0.05)


def test_a_lead_is_there_where_it_is_planted_and_grows_with_its_size():
    found = small(null=0, planted=3, edges=(0.1, 0.3))
    power = found.power.set_index("edge")
    assert power.loc[0.3, "truth"] > power.loc[0.1, "truth"] > 0
    assert power.loc[0.3, "truth"] > 1.0
    assert power["leaking"].sum() == 0


# --- nothing gets out -----------------------------------------------------------------------------------------


def test_a_world_is_admitted_for_calibration_and_for_nothing_else():
    data = market.bars("MSFT", **SPAN)
    world = worlds.matrix(World(1), (data,), horizon=5)
    assert gate.verify(world, gate.CALIBRATION).mode == "NULL"
    doors = [
        lambda: mt.evaluate("RidgeRegression", world),
        lambda: Model("RidgeRegression").train(world),
        lambda: engine.run([catalog.spec("RidgeRegression")], [world], progress=False),
        lambda: mt.matrix([world, "AAPL"], horizon=5),
    ]
    for door in doors:
        with pytest.raises(Refused, match=r"made to test the tests .*admitted for calibration and not for"):
            door()
    relabelled = dataclasses.replace(world, provenance=dataclasses.replace(world.provenance, mode="sample"))
    with pytest.raises(Refused, match="was never let in"):
        mt.evaluate("RidgeRegression", relabelled)
    edited = dataclasses.replace(world, y=world.y + 0.01)
    with pytest.raises(Refused, match="is not what its provenance was given to"):
        gate.verify(edited, gate.CALIBRATION)
    assert trials.ledger().empty


def test_calibration_leaves_no_trial_behind():
    small()
    assert trials.ledger().empty
    assert trials.judgment().luck["trials"] == 0


# --- kept, gone on with, held to the trail --------------------------------------------------------------------


def test_finished_worlds_are_kept_and_not_made_again(monkeypatch):
    first = small(null=3)
    with monkeypatch.context() as patch:
        patch.setattr(room, "outcome", None)
        assert found_in(small(null=3).null) == found_in(first.null)
        assert len(small(null=2).null) == 2
    assert len(small(null=4).null) == 4
    assert audit.verify() == []


def test_time_that_is_up_begins_no_world_and_loses_none():
    assert small(null=3, seconds=0.0).null == ()
    assert "Of 0 worlds" in small(null=3, seconds=0.0).sentence()
    assert len(small(null=1).null) == 1


def test_an_outcome_that_somebody_wrote_into_the_table_is_not_believed():
    honest = small(null=1).null[0]
    with closing(sqlite3.connect(settings().home / "mltrainer.sqlite")) as rows, rows:
        rows.execute("DROP TRIGGER worlds_no_UPDATE")
        rows.execute('UPDATE worlds SET payload = replace(payload, \'"skilled":[\', \'"skilled":["RidgeRegression"\')')
    assert small(null=1).null[0].skilled == honest.skilled


def test_workers_find_what_this_process_finds(monkeypatch, home):
    apart = found_in(small(null=2, jobs=2).null)
    monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name("another")))
    assert found_in(small(null=2).null) == apart


# --- what is said ---------------------------------------------------------------------------------------------


def outcome(seed: int, edge: float, truth: float, t: float) -> Outcome:
    return Outcome(World(seed, edge), truth, truth, 0.5, {"A": (t, 0.0)}, ("A",) if t > 2.5 else ())


def test_size_and_power_are_counted():
    null = tuple(outcome(i, 0.0, np.nan, 3.0 if i < 3 else 0.0) for i in range(100))
    weak = tuple(outcome(100 + i, 0.1, 0.5, 3.5 if i < 3 else 1.0) for i in range(10))
    strong = tuple(outcome(200 + i, 0.3, 1.5, 4.0) for i in range(10))
    found = RuleCalibration("MSFT", ("A",), null, weak + strong, critical=3.3)
    # Wilson (1927) by hand: (0.03 + 1.96^2 / 200 -+ 1.96 sqrt(0.03 0.97 / 100 + 1.96^2 / 200^2)) / (1 + 1.96^2 / 100)
    assert found.size == pytest.approx((0.03, 0.01025, 0.08452), abs=1e-4)
    assert found.power["found"].tolist() == [0.3, 1.0]
    assert 0.5 < found.least < 1.5
    assert found.sentence() == (
        f"Of 100 worlds without skill this rule called 3 skilled; a true Sharpe of {found.least:.1f} would have been "
        "found in 8 of 10."
    )
    stricter = dataclasses.replace(found, critical=5.0)
    assert np.isnan(stricter.least)
    assert stricter.sentence().endswith("would be found in fewer than 8 of 10.")


@pytest.mark.parametrize("wrong", [{"null": -1}, {"planted": -1}, {"edges": (1.5,)}, {"edges": (0.0,)}, {"block": 0}])
def test_what_makes_no_sense_is_one_line(wrong):
    with pytest.raises(BadInput, match=r"^calibrate takes"):
        small(**wrong)


def test_an_unknown_model_is_said_before_any_world():
    with pytest.raises(UnknownName, match="close: RidgeRegression"):
        calibrate("MSFT", models=["RidgeRegresion"])
