"""An alert is said once for each condition and period, rests on sealed data, and is held to what came after."""

import json
from pathlib import Path

import databases
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sqlalchemy import text

import mltrainer as mt
from mltrainer import store
from mltrainer.data.quality.case import SPLITS
from mltrainer.errors import BadInput, NotEnoughHistory, Refused, UnknownName
from mltrainer.evaluation.record import Evaluation
from mltrainer.trading.alerts import KINDS, Book, Position, Replay, acknowledge, check, history, ledger, replay, signals
from mltrainer.trading.alerts.firing import asked, episodes, flags
from mltrainer.trading.alerts.kinds import AlertKind
from mltrainer.trading.alerts.watching import Watched, drift, held_frame, true_range, unfit, until
from mltrainer.trading.regimes import measure
from mltrainer.trust import audit
from mltrainer.trust.provenance import Dataset

HELD = Position("MSFT", "2008-09-02")


def kind(name: str) -> AlertKind:
    return next(k for k in KINDS if k.name == name)


def days(n: int) -> pd.DatetimeIndex:
    return pd.bdate_range("2010-01-04", periods=n, name="session").as_unit("s")


def starts(name: str, frame: pd.DataFrame) -> list[tuple[int, int | None]]:
    return [(e.start, e.end) for e in episodes(kind(name), frame)]


def calm(*p: float) -> pd.DataFrame:
    return pd.DataFrame({"p_calm": p, "p_turbulent": 1 - np.array(p)}, days(len(p)))


def position(closes: list[float], held: Position | None = None, **columns: list[float]) -> pd.DataFrame:
    bars = pd.DataFrame({"close": closes, **columns}, days(len(closes)))
    return held_frame(held or Position("T", "2010-01-04"), bars)


# --- the table ------------------------------------------------------------------------------------------------


def test_the_seven_kinds_are_there_each_row_under_a_name_of_its_own():
    assert {k.kind for k in KINDS} == {
        "regime_change", "entry_signal", "exit_signal", "stop_loss", "target_reached", "confidence_drop",
        "portfolio_deviation",
    }  # fmt: skip
    assert {k.severity for k in KINDS} == {"info", "warning", "critical", "success"}
    assert len({k.name for k in KINDS}) == len(KINDS)
    assert all(k.cool_down >= ledger.GRACE for k in KINDS)  # else a bar that comes late could say a thing twice


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    """One real frame of each thing that is watched: everything a condition can be asked of."""
    bars = mt.bars("MSFT", start="2003-01-02", end="2009-12-31")
    data = mt.matrix("MSFT", start="2003-01-02", end="2009-12-31")
    book = Book("b", "2003-01-02", {"MSFT": 0.4, "AAPL": 0.4})
    closes = {t: mt.bars(t, start="2003-01-02", end="2009-12-31").frame["close"] for t in book.weights}
    return {
        "market": measure(bars).frame,
        "position": held_frame(Position("MSFT", "2003-01-02", stop=0.2, target=0.2), bars.frame),
        "book": drift(book, closes),
        "signal": signals(mt.evaluate("RidgeRegression", data), evidence=True),
    }


def test_every_condition_can_be_asked_of_real_data(frames: dict[str, pd.DataFrame]):
    assert [k for k in KINDS if k in asked(k.watches, frames[k.watches])] == list(KINDS)
    for k in KINDS:
        said = k.right(frames[k.watches]) if k.right else pd.Series(dtype=float)
        assert set(said.dropna()) <= {0.0, 1.0}
        assert k.says("MSFT", dict(frames[k.watches].iloc[-1])).startswith("MSFT")


@settings(max_examples=25)
@given(st.floats(0.1, 1.0))
def test_a_later_session_moves_no_alert_of_a_session_before(frames: dict[str, pd.DataFrame], share: float):
    for watches, frame in frames.items():
        cut = max(int(share * len(frame)), 2)
        pd.testing.assert_frame_equal(flags(frame.iloc[:cut], watches), flags(frame, watches).iloc[:cut])


# --- conditions by hand ---------------------------------------------------------------------------------------


def test_a_state_counts_at_seven_tenths_on_two_closes_and_is_over_below_a_half():
    frame = calm(0.9, 0.9, 0.2, 0.9, 0.2, 0.3, 0.45, 0.6, 0.1, 0.1, 0.8, 0.8)
    assert starts("regime_change/turbulent", frame) == [(5, 7)]  # one close alone, at 2, is none; 0.55 holds it
    assert starts("regime_change/calm", frame) == [(11, None)]


def test_a_figure_that_trembles_at_its_threshold_says_its_thing_once():
    trembling = pd.DataFrame({"gap": [0.09, 0.11, 0.095, 0.11, 0.09, 0.11, 0.079, 0.11, 0.11, 0.11]}, days(10))
    assert starts("portfolio_deviation/weight", trembling) == [(1, 6), (7, None)]
    resting = pd.DataFrame({"gap": [0.11, 0.07, 0.11, 0.07, 0.11, 0.07, 0.11]}, days(7))
    assert starts("portfolio_deviation/weight", resting) == [(0, 1), (6, None)]  # five sessions after it fired


def test_a_leap_of_the_score_counts_between_scores_of_the_same_parts_only():
    frame = pd.DataFrame({"score": [80.0] * 6 + [60.0] * 6, "weight": 1.0}, days(12))
    assert starts("regime_change/falls", frame) == [(6, 11)]
    assert starts("regime_change/falls", frame.assign(weight=[1.0] * 6 + [0.7] * 6)) == []


def test_a_stop_is_touched_by_the_low_and_the_gap_through_it_is_said():
    frame = position([100, 98, 93, 94], open=[100, 99, 94, 93], low=[99, 96, 92, 93], high=[101, 99, 95, 95])
    assert starts("stop_loss/touched", frame) == [(2, None)]
    assert frame["slip"].iloc[2] == pytest.approx(1 - 94 / 95)  # opened at 94 below a stop of 95
    assert "gapped 1.05% through it" in kind("stop_loss/touched").says("T", dict(frame.iloc[2]))
    closed = position([100, 98, 93, 94], Position("T", "2010-01-04", closed="2010-01-05"))
    assert starts("stop_loss/touched", closed) == []  # nothing is held any more


def test_a_stop_by_the_average_true_range_by_hand():
    """Bars from 99 to 101 around a close of 100 have a true range of 2: three times that below 100 is 94."""
    n = 20
    bars = pd.DataFrame({"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0}, days(n))
    assert true_range(bars) == pytest.approx(2)
    held = Position("T", str(bars.index[-1].date()), atr=3)
    assert held_frame(held, bars)["stop"].iloc[0] == pytest.approx(94)
    with pytest.raises(NotEnoughHistory, match="needs 14 sessions"):
        true_range(bars.iloc[:10])


def test_a_target_is_said_at_nine_tenths_of_the_way_and_again_at_all_of_it():
    frame = position([100, 108, 108.9, 109, 110, 112])
    assert starts("target_reached/90 %", frame) == [(3, None)]
    assert starts("target_reached/100 %", frame) == [(4, None)]


def test_the_horizon_is_reached_after_as_many_sessions():
    frame = position([100.0] * 10, Position("T", "2010-01-04", horizon=7))
    assert starts("exit_signal/horizon", frame) == [(7, None)]


def test_weights_drift_with_prices_by_hand():
    """Half and a quarter, a quarter in cash; the first doubles: 1 of 1.5, 0.25 of 1.5, cash 0.25 of 1.5."""
    closes = {"a": pd.Series([10.0, 20.0], days(2)), "b": pd.Series([5.0, 5.0], days(2))}
    last = drift(Book("b", "2010-01-04", {"a": 0.5, "b": 0.25}), closes).iloc[-1]
    assert last["gap"] == pytest.approx(1 / 1.5 - 0.5)
    assert last["active"] == pytest.approx((1 / 1.5 - 0.5 + 2 * (0.25 - 0.25 / 1.5)) / 2)


def signal_frame(score: list[float], confidence: float = 80.0, evidence: bool = True) -> pd.DataFrame:
    past = list(50 + 5 * np.sin(np.arange(70)))
    made = {"score": past + score, "confidence": confidence, "evidence": evidence}
    return pd.DataFrame(made, days(70 + len(score)))


def test_an_entry_needs_a_crossing_a_surprise_confidence_and_evidence():
    assert starts("entry_signal/crosses", signal_frame([81, 75, 81, 69])) == [(70, 73)]
    assert starts("entry_signal/crosses", signal_frame([81], confidence=74)) == []
    assert starts("entry_signal/crosses", signal_frame([81], evidence=False)) == []
    wide = signal_frame([81]).assign(score=[*(30 + 60 * (np.arange(70) % 2)), 81])  # it is there every other day
    assert starts("entry_signal/crosses", wide) == []


def test_confidence_that_drops_is_said_until_it_recovers_ten_points():
    frame = pd.DataFrame({"confidence": [65.0] * 6 + [44, 44, 53, 54, 54]}, days(11))
    assert starts("confidence_drop/points", frame) == [(6, 9)]
    assert starts("confidence_drop/points", frame + 10) == []  # 54 is not below 50


def test_the_signals_of_a_model_use_matured_outcomes_only_and_count_by_hand():
    n, h, rng = 400, 5, np.random.default_rng(0)
    f = pd.DataFrame({"y": rng.normal(size=n), "forecast": rng.normal(size=n), "scale": 1.0}, days(n))
    f = f.assign(lower=f["forecast"] - 1, upper=f["forecast"] + 1, close=100.0)
    e = Evaluation("k", "M", "f", "regression", "T", h, forecasts=f)
    s, at = signals(e), 399
    assert s["score"].iloc[at] == pytest.approx(100 * (f["forecast"].iloc[at - 251 :] <= f["forecast"].iloc[at]).mean())
    errors = (f["y"] - f["forecast"]).iloc[at - 6 - 251 : at - 5]  # of outcomes known after h + 1 sessions
    agree = np.sign(f["forecast"].iloc[at] + errors) == np.sign(f["forecast"].iloc[at])
    assert s["confidence"].iloc[at] == pytest.approx(100 * agree.mean())
    inside = (f["y"] - f["forecast"]).abs().iloc[at - 6 - 62 : at - 5] <= 1
    assert s["coverage"].iloc[at] == pytest.approx(inside.mean())
    assert s["band_low"].iloc[at] == stats.binom.ppf(0.025, 12, 0.9) / 12
    then = signals(until(e, str(f.index[350].date())))
    pd.testing.assert_frame_equal(then, s.iloc[:351])


# --- once for each condition and period -----------------------------------------------------------------------


def watched(frame: pd.DataFrame, subject: str = "T@2010-01-04") -> Watched:
    return Watched(subject, "position", frame, "sample", ("c" * 64,))


FALLS = [100.0, 99, 98, 97, 96, 95.5, 94, 93, 96, 97, 96]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_asked_again_of_the_same_day_of_an_earlier_one_or_with_the_clock_put_back_nothing_is_new(database: object):
    for end, new in ((5, 0), (7, 1), (7, 0), (4, 0), (11, 0)):
        at = f"20{30 - end}-01-01T00:00:00+00:00"  # the later the session, the earlier the clock
        assert len(ledger.settle(watched(position(FALLS[:end])), at=at)) == new
    (alert,) = ledger.alerts()
    assert (alert.session, alert.kind, alert.state, alert.content) == ("2010-01-12", "stop_loss", "new", ("c" * 64,))
    assert alert.values["low"] == 94.0  # noqa: PD011 - a field of an alert, and no frame
    assert audit.verify() == []
    assert [e.payload["session"] for e in audit.entries(kind="alert")] == ["2010-01-12"]


def test_what_fired_between_two_checks_is_found_and_what_is_over_is_resolved():
    gap = [0.01] * 10 + [0.12] * 8 + [0.05] * 6 + [0.12] * 6
    frame = pd.DataFrame({"gap": gap}, days(30))
    look = lambda end: ledger.settle(Watched("b", "book", frame.iloc[:end], "sample"))  # noqa: E731
    assert look(9) == []
    assert len(look(26)) == 2  # both, though one was over when we looked
    assert [(a.session, a.state) for a in ledger.alerts()] == [("2010-01-18", "resolved"), ("2010-02-05", "new")]
    assert look(30) == []


def test_what_began_before_anybody_looked_is_said_of_what_one_holds_and_not_of_the_news():
    frame = calm(*[0.9] * 5, *[0.1] * 20)
    assert ledger.settle(Watched("M", "market", frame, "sample")) == []
    assert len(ledger.settle(Watched("N", "market", frame.iloc[:9], "sample"))) == 1
    assert len(ledger.settle(watched(position([100.0, *[90.0] * 30])))) == 1


def test_a_bar_that_comes_late_says_what_it_has_to_say_and_nothing_twice():
    whole = position(FALLS)
    missing = whole.drop(whole.index[6])  # the session on which the stop was touched first
    assert len(ledger.settle(watched(missing.iloc[:6]))) == 0
    assert len(ledger.settle(watched(missing.iloc[:7]))) == 1  # the session after it is below as well
    assert ledger.settle(watched(whole)) == []
    assert [a.session for a in ledger.alerts()] == ["2010-01-13"]
    only = position([100.0, 99, 98, 94, 98, 99, 99, 99], open=[99.0] * 8)
    late = watched(only.drop(only.index[3]), "late@2010-01-04")
    assert ledger.settle(late) == []
    assert len(ledger.settle(watched(only, "late@2010-01-04"))) == 1


def test_a_bar_that_is_there_twice_counts_once_and_two_that_differ_are_refused():
    frame = position(FALLS)
    twice = pd.concat([frame, frame.iloc[6:8]]).sort_index()
    assert len(ledger.settle(watched(twice))) == 1
    assert ledger.settle(watched(frame)) == []
    with pytest.raises(BadInput, match="two different rows of 2010-01-12"):
        watched(pd.concat([frame, frame.iloc[6:7] + 1]))


def test_a_condition_that_a_correction_took_out_of_the_data_is_resolved_and_says_so():
    ledger.settle(watched(position(FALLS)))
    ledger.settle(watched(position([100.0] * 11)))
    assert [a.state for a in ledger.alerts()] == ["resolved"]
    (why,) = [e.payload["why"] for e in audit.entries(kind="alert event") if e.payload["event"] == "resolved"]
    assert why == "its condition is no longer in the data"


def test_a_split_that_is_not_in_the_prices_touches_no_stop_and_nothing_is_lost_when_it_is():
    whole = mt.bars("MSFT", start="2007-01-03", end="2008-10-15")
    broken = whole.frame.copy()
    prices = ["open", "high", "low", "close"]
    broken.loc["2008-06-02":, prices] /= SPLITS[1]
    said = unfit(Dataset(broken, "MSFT", "bars"))
    assert "MSFT, rule split" in said
    assert "2008-06-02 (2:1)" in said
    assert unfit(whole) == ""
    assert "alerts need daily bars adjusted" in unfit(Dataset(whole.frame, "MSFT", "raw bars"))
    found = check(positions=[HELD], as_of="2008-10-15", send=False)
    assert [a.kind for a in found.new] == ["stop_loss"]


def test_a_check_says_what_it_withheld_and_goes_on_with_the_rest():
    found = check(positions=[HELD, Position("MSFT", "2031-01-02"), Position("XYZZY", "2008-01-02")], as_of="2008-10-15")
    assert len(found.new) == 1
    assert set(found.withheld) == {"MSFT@2031-01-02", "XYZZY@2008-01-02"}
    assert "no ticker in mode sample is called 'XYZZY'" in found.withheld["XYZZY@2008-01-02"]
    assert found.sentence() == "1 new alert of 1 subjects as of 2008-10-15; withheld: MSFT@2031-01-02, XYZZY@2008-01-02"


def test_a_market_is_checked_by_its_regimes_with_their_provenance(tmp_path: Path):
    (tmp_path / "three.txt").write_text("KO\nGE\nXOM\n")
    found = check("MSFT", as_of="2009-05-21", breadth=str(tmp_path / "three.txt"), send=False)
    assert [(a.kind, a.condition, a.session) for a in found.new] == [("regime_change", "calm", "2009-05-20")]
    (content,) = found.new[0].content
    with store.reading() as connection:
        told = audit.told(connection, "content", content, "derive")
    assert told is not None
    assert told["provenance"]["kind"] == "regimes"


def test_only_a_judged_evaluation_can_fire_and_only_sealed_bars():
    e = mt.evaluate("RidgeRegression", mt.matrix("MSFT", start="2003-01-02", end="2009-12-31"))
    assert check(evaluations=[e], send=False).subjects == {"RidgeRegression on MSFT": str(e.forecasts.index[-1].date())}
    other = Evaluation("k" * 64, "M", "f", "regression", "T", 5, forecasts=e.forecasts)
    assert "has no row in the ledger of trials" in check(evaluations=[other], send=False).withheld["M on T"]
    with pytest.raises(Refused):
        mt.trading.alerts.watching.position(HELD, Dataset(mt.bars("MSFT").frame * 1.01, "MSFT", "bars"))


def test_an_alert_is_acknowledged_once_by_the_first_digits_of_its_name():
    ledger.settle(watched(position(FALLS)))
    name = history("new")["id"].iloc[0]
    assert acknowledge(name[:6], note="seen")[0].state == "acknowledged"
    acknowledge(name)
    assert history("new").empty
    said = [e.payload["note"] for e in audit.entries(kind="alert event") if e.payload["event"] == "acknowledged"]
    assert said == ["seen"]
    with pytest.raises(BadInput, match="'zz' is no alert"):
        acknowledge("zz")
    with pytest.raises(BadInput, match="'' is no alert"):
        acknowledge("")
    with pytest.raises(UnknownName, match="no state of an alert is called 'old'"):
        history("old")


def test_an_alert_that_was_changed_deleted_or_put_there_by_hand_is_found(tamper: databases.Tamper):
    for subject in ("a@2010-01-04", "b@2010-01-04"):
        ledger.settle(watched(position(FALLS), subject))
    first, second = (a.id for a in ledger.alerts())
    tamper(
        f"UPDATE alerts SET severity = 'info' WHERE key LIKE '{first}%'",
        f"DELETE FROM alerts WHERE key LIKE '{second}%'",
    )
    tamper("INSERT INTO alert_events (key, at, alert, event, payload) VALUES ('x', 'now', 'a', 'sent', '{}')")
    found = "\n".join(audit.verify())
    assert f"alert {first} was edited: severity is 'info', its entry says 'critical'" in found
    assert f"alert {second} stands in the trail and is gone from its table" in found
    assert "alert event x has no entry in the trail" in found


def test_a_home_of_an_older_version_gets_the_tables_it_lacks(home: Path):
    audit.append("note")
    with store.writing() as connection:
        connection.execute(text("DROP TABLE alerts"))
        connection.execute(text("DROP TABLE alert_events"))
    store._made.clear()
    assert len(ledger.settle(watched(position(FALLS)))) == 1


# --- would it have fired then, and was it right? --------------------------------------------------------------


@pytest.fixture(scope="module")
def crisis(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    three = tmp_path_factory.mktemp("universe") / "three.txt"
    three.write_text("KO\nGE\nXOM\n")
    return replay("MSFT", start="2007-01-01", end="2009-12-31", breadth=str(three))


def test_a_walk_through_the_crisis_counts_what_fired_and_how_it_ended(crisis: Replay):
    assert crisis.start == "2007-01-03"
    assert crisis.end == "2009-12-31"
    assert crisis.alerts["session"].between("2007-01-01", "2009-12-31").all()
    turned = crisis.alerts[(crisis.alerts["subject"] == "MSFT") & (crisis.alerts["condition"] == "turbulent")]
    assert turned["session"].between("2008-09-01", "2008-10-31").any()
    for row in crisis.rates.itertuples():
        mine = crisis.alerts[(crisis.alerts["kind"] == row.kind) & (crisis.alerts["condition"] == row.condition)]
        judged = mine["right"].dropna()
        assert (row.alerts, row.judged) == (len(mine), len(judged))
        if len(judged):
            assert row.false_alarms == pytest.approx(1 - judged.mean())
            assert row.low <= row.false_alarms <= row.high
            assert row.p == pytest.approx(stats.binom.cdf((judged == 0).sum(), len(judged), row.base))


def test_a_replay_ends_where_it_is_told_and_judges_nothing_by_what_came_after(crisis: Replay):
    last = crisis.alerts[crisis.alerts["session"] > "2009-12-02"]
    assert len(last)
    assert last["right"].isna().all()  # a month had not passed
    assert "Replay(" in repr(crisis)


def test_a_stop_is_right_when_the_close_a_month_later_is_below_where_one_left():
    closes = [100.0, 94, *[90.0] * 21, 99]
    right = kind("stop_loss/touched").right(position(closes, open=[100.0, 93, *[90.0] * 21, 99]))
    assert right.iloc[1] == 1.0  # left at the open of 93, 90 a month later
    assert right.iloc[2] == 0.0  # left at 90, 99 a month later
    assert right.iloc[3:].isna().all()


def test_equal_weights_that_nobody_trades_are_replayed_from_every_third_year():
    found = replay(["MSFT", "AAPL"], kinds=["portfolio_deviation"], start="2003-01-01").alerts
    assert set(found["subject"]) <= {
        f"equal weights@{d}" for d in ("2003-01-02", "2006-01-03", "2009-01-02", "2012-01-03")
    }
    assert found["kind"].eq("portfolio_deviation").all()
    assert len(found)


def test_kinds_of_a_replay_are_asked_for_by_name():
    with pytest.raises(UnknownName, match="no kind of alert is called 'stop'"):
        replay("MSFT", kinds=["stop"])


def test_the_words_of_an_alert_survive_json():
    ledger.settle(watched(position(FALLS)))
    said = json.loads(json.dumps([a.to_dict() for a in ledger.alerts()]))
    assert said[0]["message"].startswith("T@2010-01-04: low 94.00 at or below the stop 95.00")
