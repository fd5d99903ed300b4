"""A forecast is said by who is shown to know, stands in the chain before its outcome, and is held to it."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import databases
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import mltrainer as mt
from mltrainer import metrics
from mltrainer.errors import BadInput, NotEnoughHistory, Partial, Refused, UnknownName
from mltrainer.evaluation import trials
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.trading import forecasts
from mltrainer.trading.forecasts import commit, history, records, score, speakers, track
from mltrainer.trading.forecasts.inference import after, asked, said_of
from mltrainer.trading.forecasts.record import Forecast
from mltrainer.trading.forecasts.track import apart, sentence

DAYS = ("2008-10-10", "2010-03-10")
RIDGE, NEIGHBORS = "RidgeRegression", "KNeighborsRegressor_5"


def ahead(day: str, n: int) -> str:
    """The session of the packaged history so many after one."""
    sessions = mt.bars("MSFT").frame.index
    return str(sessions[sessions.get_loc(pd.Timestamp(day)) + n].date())


# --- what is said ---------------------------------------------------------------------------------------------


def test_har_speaks_of_volatility_where_nothing_was_evaluated_and_says_so():
    made = mt.forecast("MSFT", target="volatility", as_of=DAYS[1])
    assert dict(made.models) == {"HAR": 1.0}
    assert made.reason == "the plain forecast HAR, as no model was evaluated on this question"
    # by hand: least squares on the last session, week and month, of all labels known on that day
    m = mt.matrix("MSFT", target="volatility", end=DAYS[1])
    known = m.y.notna()
    X = m.past[["session", "week", "month"]]
    by_hand = LinearRegression().fit(X[known], m.y[known]).predict(X.iloc[[-1]])[0]
    assert made.forecast == pytest.approx(by_hand, abs=1e-12)
    assert (made.as_of, made.known_on) == (DAYS[1], ahead(DAYS[1], 5))
    assert made.low < made.forecast < made.high
    assert 0.85 < made.coverage < 0.95
    assert made.inputs[0] == m.fingerprint()
    assert len(made.inputs) > 2  # the bytes of the sources, too


def test_the_mean_of_the_past_speaks_of_returns_and_a_position_is_known_a_session_later():
    made = mt.forecast("MSFT", as_of=DAYS[1], commit=False)
    y = mt.matrix("MSFT", end=DAYS[1]).y
    assert dict(made.models) == {"mean": 1.0}
    assert made.forecast == pytest.approx(y.dropna().mean(), abs=1e-15)
    assert made.known_on == ahead(DAYS[1], 6)
    assert (made.baseline, made.baseline_forecast, made.center) == ("zero", 0.0, 0.0)
    assert (made.evidence, made.made_at) == ("", "")  # not committed
    assert records() == []


def test_a_direction_has_no_interval_and_is_called_wrong_by_the_sign():
    made = mt.forecast("MSFT", target="direction", as_of=DAYS[1])
    assert made.forecast < 0.5  # MSFT rose in fewer than half of the weeks from 2000 to then
    assert np.isnan(made.low)
    assert made.to_dict()["low"] is None
    assert made.falsifier["says"] == f"wrong if on {made.known_on} the return over 5 sessions is above zero"
    assert made.wrong(1.0)
    assert not made.wrong(0.0)
    other = replace(made, forecast=0.6)
    assert other.wrong(0.0)
    assert "not above zero" in other.falsifier["says"]


def test_the_falsifier_is_a_day_and_the_figures_of_the_interval():
    made = mt.forecast("MSFT", as_of=DAYS[1], commit=False)
    called = made.falsifier
    assert (called["session"], called["below"], called["above"]) == (made.known_on, made.low, made.high)
    assert made.wrong(made.high + 1e-9)
    assert not made.wrong(made.high)
    assert f"below {made.low:+.2%} or above {made.high:+.2%}" in called["says"]


def test_several_names_give_a_list_and_what_a_universe_lacks_is_named():
    made = mt.forecast(["MSFT", "IBM"], target="range", as_of=DAYS[1])
    assert [f.ticker for f in made] == ["MSFT", "IBM"]
    Path("few.txt").write_text("IBM\nNOPE\n")
    with pytest.warns(Partial, match="1 of 2 names of few.txt are left out: NOPE"):
        assert len(mt.forecast(mt.universe("few.txt"), as_of=DAYS[1])) == 1


MISTAKES = {
    "rank": ({"target": "rank"}, BadInput, "of names side by side"),
    "a target": ({"target": "luck"}, UnknownName, "no target is called 'luck'"),
    "a model": ({"models": ["NOPE"]}, UnknownName, "no model is called 'NOPE'"),
    "one model": ({"models": RIDGE}, BadInput, "models is a list of names"),
    "a day": ({"as_of": "soon"}, BadInput, "as_of 'soon' is not a day"),
    "an early day": ({"as_of": "1990-06-01"}, NotEnoughHistory, "the features need 253 sessions"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line(what: str):
    asked, error, said = MISTAKES[what]
    with pytest.raises(error, match=said):
        mt.forecast("MSFT", **asked)


# --- who may speak --------------------------------------------------------------------------------------------


@pytest.fixture
def volatility() -> Matrix:
    return mt.matrix("MSFT", target="volatility", end=DAYS[1])


def planted(matrix: Matrix, name: str, share: float) -> None:
    """A row of the ledger in which a model forecast a share of what HAR leaves, as none of them really does."""
    spec, protocol = catalog.spec(name), Protocol()
    e = evaluate(spec, matrix, protocol, trials.key(spec, matrix, protocol))
    better = e.forecasts["baseline"] + share * (e.forecasts["y"] - e.forecasts["baseline"])
    trials.record(replace(e, forecasts=e.forecasts.assign(forecast=better)), matrix)


def test_models_that_beat_every_plain_forecast_speak_together_with_equal_weight(volatility: Matrix):
    for name, share in ((RIDGE, 0.6), (NEIGHBORS, 0.6), ("DecisionTree_depth_3", 0.1)):
        planted(volatility, name, share)
    made = mt.forecast("MSFT", target="volatility", as_of=DAYS[1])
    assert dict(made.models) == {RIDGE: 0.5, NEIGHBORS: 0.5}
    assert made.dropped == {
        **dict.fromkeys(("mean", "last", "EWMA", "AR(1)", "HAR"), "outside the 90% model confidence set"),
        "DecisionTree_depth_3": "outside the 90% model confidence set",
    }
    # each was fitted on every label known, and said this of the last row
    said = [mt.model(n).train(volatility).predict(volatility).mean.iloc[-1] for n in (RIDGE, NEIGHBORS)]
    assert made.forecast == pytest.approx(np.mean(said), abs=1e-12)
    assert made.baseline == "HAR"
    assert made.baseline_forecast == speakers.plain_now(volatility, "HAR")
    assert len(made.evaluations) == 2
    assert all(trials.load(key) is not None for key in made.evaluations)


def test_a_model_that_can_no_longer_be_fitted_falls_out_and_with_the_last_the_plain_forecast_speaks(volatility: Matrix):
    planted(volatility, RIDGE, 0.6)
    chosen = speakers.choose(volatility, Protocol())
    assert list(chosen.weights) == [RIDGE]
    gone = chosen.without(RIDGE, "could not be fitted")
    assert gone.weights == {}
    assert gone.dropped[RIDGE] == "could not be fitted"
    assert gone.evaluations == {}
    # asked of rows it cannot learn from, the model fails and the plain forecast speaks
    blind = replace(volatility, X=volatility.X.iloc[-300:-1])
    speaking, said = asked(blind, chosen, Protocol())
    assert list(said) == ["HAR"]
    assert "could not be fitted" in speaking.dropped[RIDGE]
    assert speaking.reason == "the plain forecast HAR, as no model that beats it could be fitted"


def test_only_results_of_the_same_question_and_settings_count(volatility: Matrix):
    mt.evaluate(RIDGE, volatility, protocol=Protocol(cost_bps=10.0))
    mt.evaluate(NEIGHBORS, ["MSFT", "IBM"], target="volatility", start="2004-01-02", end="2009-12-31")
    mt.evaluate("DecisionTree_depth_3", "MSFT", target="volatility", start="2004-01-02", end="2005-12-30")
    chosen = speakers.choose(volatility, Protocol())
    assert chosen.dropped == {
        RIDGE: "was judged with other settings (cost_bps=10)",
        NEIGHBORS: "was judged as one of a panel",
        "DecisionTree_depth_3": chosen.dropped["DecisionTree_depth_3"],
    }
    assert "252 are needed" in chosen.dropped["DecisionTree_depth_3"]


def test_models_that_do_not_beat_the_plain_forecast_fall_out_with_what_they_lost():
    made = mt.forecast("MSFT", target="volatility", as_of=DAYS[1], models=[RIDGE, NEIGHBORS])
    assert dict(made.models) == {"HAR": 1.0}
    assert made.reason == "the plain forecast HAR, as none of 2 models beats it"
    assert made.dropped[RIDGE].startswith("not shown to beat HAR: +")
    assert set(made.dropped) == {RIDGE, NEIGHBORS}
    # what the ledger knows by now is known the next time; another day later it counts as well
    later = mt.forecast("MSFT", target="volatility", commit=False)
    assert set(later.dropped) == {RIDGE, NEIGHBORS}
    assert "judged" not in later.dropped[RIDGE]


# --- the time machine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("target", ["volatility", "return", "direction"])
def test_as_of_a_day_it_says_bit_for_bit_what_bars_that_end_there_say(target: str, day: str):
    whole = mt.bars("MSFT")
    then = mt.forecast(whole.window(None, day), target=target, commit=False)
    assert mt.forecast(whole, target=target, as_of=day, commit=False).to_dict() == then.to_dict()
    assert mt.forecast("MSFT", target=target, as_of=day, commit=False).to_dict() == then.to_dict()


@pytest.mark.parametrize("day", DAYS)
def test_results_of_the_ledger_are_cut_at_the_day_that_is_asked_about(day: str):
    mt.evaluate([RIDGE, NEIGHBORS], "MSFT", target="volatility")  # judged to the end of the sample
    whole = mt.matrix("MSFT", target="volatility")
    then = mt.matrix("MSFT", target="volatility", end=day)
    rows = whole.X.index <= pd.Timestamp(day)
    parts = {part: getattr(whole, part)[rows] for part in ("scale", "prices", "past")}
    known = np.arange(rows.sum()) < rows.sum() - whole.aim.purge(whole.horizon)
    cut = replace(whole, **parts, X=then.X, y=whole.y[rows].where(known))  # what lies behind the day is not there
    one, other = (speakers.choose(m, Protocol()) for m in (then, cut))
    pd.testing.assert_frame_equal(one.past, other.past, check_exact=True)
    assert (one.weights, one.dropped) == (other.weights, other.dropped)
    assert one.past.index[-1] == then.y.dropna().index[-1]
    assert speakers.plain_now(then, "HAR") == speakers.plain_now(cut, "HAR")


def test_a_forecast_of_a_hand_made_frame_is_refused():
    bars = mt.bars("MSFT", end=DAYS[1])
    forged = replace(bars, frame=bars.frame * 1.01)
    with pytest.raises(Refused, match="is not what its provenance was given to"):
        mt.forecast(forged)
    with pytest.raises(BadInput, match="is neither a ticker nor bars"):
        mt.forecast(mt.matrix(bars))


# --- the forward ledger ---------------------------------------------------------------------------------------


@pytest.fixture
def live() -> Forecast:
    """A forecast as mode live would make it, of a day with sessions of the exchange around it."""
    made = mt.forecast("MSFT", target="volatility", as_of=DAYS[1], commit=False)
    return replace(made, mode="live", as_of="2030-03-04", known_on=after(pd.Timestamp("2030-03-04"), 5))


def at(day: str, new_york: str = "10:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{new_york}:00-05:00")  # of winter


def test_a_forecast_committed_twice_is_one_record_as_it_was_first():
    first = mt.forecast("MSFT", as_of=DAYS[1])
    again = mt.forecast("MSFT", as_of=DAYS[1])
    assert (first.id, first.made_at) == (again.id, again.made_at)
    assert [e.kind for e in mt.audit.entries()].count("forecast") == 1
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: commit(replace(first, horizon=6), latest=first.as_of), range(8)))
    assert len({f.made_at for f in made}) == 1
    assert len(records()) == 2
    assert mt.audit.verify() == []


def test_what_is_read_back_is_what_was_committed():
    made = mt.forecast("MSFT", target="direction", as_of=DAYS[1], project="sure")
    (held,) = records("MSFT")
    assert held.to_dict() == made.to_dict()
    assert held.project == "sure"
    assert records("IBM") == records(target="return") == records(mode="live") == []


def test_in_a_sample_every_record_is_historical_and_never_forward_evidence():
    made = mt.forecast("MSFT", target="volatility", as_of=DAYS[1])
    assert made.evidence == "historical"
    assert set(track()["evidence"]) == {"historical"}
    assert sentence(track()).startswith("No forward evidence yet")


def test_live_a_forecast_is_forward_evidence_only_before_anything_of_its_outcome_is_known(live: Forecast):
    assert commit(live, latest=live.as_of, now=at("2030-03-05", "09:29")).evidence == "forward"
    traded = replace(live, horizon=2)
    assert commit(traded, latest=live.as_of, now=at("2030-03-05", "09:30")).evidence == "late"  # it is open
    late = replace(live, horizon=4)
    assert commit(late, latest="2030-03-05", now=at("2030-03-06")).evidence == "late"  # a session was there already
    stale = replace(live, horizon=3)
    assert commit(stale, latest=live.as_of, now=at("2030-03-07")).evidence == "late"  # the clock knows of others


def test_live_a_forecast_whose_outcome_is_known_is_refused_as_back_dated(live: Forecast):
    with pytest.raises(Refused, match=f"would be back-dated: its outcome is known since {live.known_on}"):
        commit(live, latest=live.known_on, now=at("2030-03-05"))
    with pytest.raises(Refused, match="back-dated"):  # data that ended early makes it no better
        commit(live, latest=live.as_of, now=at("2030-03-12"))
    with pytest.raises(Refused, match="back-dated"):  # at the close of the session itself, whatever the data holds
        commit(live, latest=live.as_of, now=at(live.known_on, "16:00"))
    assert records(mode="live") == []
    assert [e.kind for e in mt.audit.entries()][-1] == "mistake"


def test_a_clock_that_was_put_back_dates_nothing(live: Forecast):
    with pytest.raises(Refused, match=r"the clock says .* and the trail's latest entry .* set the clock right"):
        commit(live, latest=live.as_of, now=datetime.now(UTC) - timedelta(days=1))
    assert records(mode="live") == []


def test_a_forecast_of_what_was_never_let_in_is_refused(live: Forecast):
    with pytest.raises(Refused, match="rests on 000000000000, which was never let in"):
        commit(replace(live, inputs=("0" * 64,)), latest=live.as_of, now=at("2030-03-05"))


def test_an_entry_that_was_edited_shows(tamper: databases.Tamper):
    mt.forecast("MSFT", as_of=DAYS[1])
    tamper("UPDATE audit SET payload = replace(payload, '\"horizon\":5', '\"horizon\":4') WHERE kind = 'forecast'")
    (found,) = mt.audit.verify()
    assert "was edited" in found


KILLED = """
import os, signal, mltrainer as mt
from mltrainer.trust import audit
true = audit.extend
def extend(connection, kind, payload):
    head = true(connection, kind, payload)
    if kind == "forecast":
        os.kill(os.getpid(), signal.SIGKILL)
    return head
audit.extend = extend
mt.forecast("MSFT", as_of="2010-03-10")
"""


@pytest.mark.slow
def test_killed_before_the_transaction_ends_it_leaves_nothing():
    mt.forecast("MSFT", target="volume", as_of=DAYS[1])
    done = subprocess.run([sys.executable, "-c", KILLED], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    assert [f.target for f in records()] == ["volume"]
    assert mt.audit.verify() == []
    assert mt.forecast("MSFT", as_of=DAYS[1]).evidence == "historical"


# --- outcomes -------------------------------------------------------------------------------------------------


def test_outcomes_are_joined_as_they_arrive_and_scored_by_hand():
    made = mt.forecast("MSFT", target="volatility", as_of=DAYS[1])
    before = history(as_of=ahead(DAYS[1], 4)).iloc[0]
    assert before["status"] == "open"
    assert np.isnan(before["outcome"])
    row = history(as_of=made.known_on).iloc[0]
    y = mt.matrix("MSFT", target="volatility").y[DAYS[1]]
    assert row["status"] == "known"
    assert row["outcome"] == pytest.approx(y, abs=1e-12)
    assert row["error"] == pytest.approx(y - made.forecast)
    assert row["loss"] == pytest.approx((y - made.forecast) ** 2)
    assert row["baseline_loss"] == pytest.approx((y - made.baseline_forecast) ** 2)
    assert row["beaten"] == (row["loss"] < row["baseline_loss"])
    assert row["inside"] == (made.low <= y <= made.high)
    assert row["falsified"] == (not row["inside"])
    assert row["hit"] == ((y > made.center) == (made.forecast >= made.center))
    assert history("IBM").empty
    assert history(as_of="2009-01-02").empty


def test_a_forecast_on_the_longer_series_of_closes_is_scored_on_it():
    made = mt.forecast("MSFT", as_of="2020-03-09")
    row = score([made]).iloc[0]
    assert row["outcome"] == pytest.approx(mt.matrix("MSFT", end="2021-01-04").y["2020-03-09"])


def test_an_outcome_that_cannot_be_had_says_why():
    made = mt.forecast("MSFT", as_of=DAYS[1], commit=False)
    rows = score([replace(made, ticker="NOPE"), replace(made, as_of="2010-03-13")])
    assert rows["status"].tolist()[0].startswith("no ticker in mode sample is called 'NOPE'")
    assert rows["status"].tolist()[1] == "the data has no session 2010-03-13"


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (1, 29, 0.0061, 0.1718)]
)
def test_the_interval_of_a_hit_rate_is_wilsons(hits: int, n: int, low: float, high: float):
    # Newcombe (1998), Statistics in Medicine 17, 857-872, Table I, method 3
    assert metrics.wilson(hits / n, n) == pytest.approx((low, high), abs=5e-5)
    assert np.isnan(metrics.wilson(np.nan, 0)).all()


def test_a_track_record_counts_what_does_not_overlap_and_the_losses_of_all():
    made = [mt.forecast("MSFT", target="volatility", as_of=str(d.date())) for d in _sessions("2009-03-02", 12)]
    scored = score(made)
    (row,) = track(scored).to_dict("records")
    assert (row["forecasts"], row["known"], row["apart"]) == (12, 12, 3)  # sessions 0, 5 and 10
    assert list(apart(scored).index) == [0, 5, 10]
    assert row["hits"] == scored.loc[[0, 5, 10], "hit"].sum()
    assert row["covered"] == scored.loc[[0, 5, 10], "inside"].sum()
    saved = scored["baseline_loss"].mean() - scored["loss"].mean()
    assert row["gain"] == pytest.approx(saved / scored["baseline_loss"].mean())
    assert np.isfinite(row["gain_t"])
    forward = track(scored.assign(evidence="forward"))
    assert sentence(forward).startswith("volatility over 5 sessions: 12 known, right side")


def _sessions(start: str, n: int) -> pd.DatetimeIndex:
    index = mt.bars("MSFT").frame.index
    return pd.DatetimeIndex(index[index >= start][:n])


def test_said_of_a_matrix_commits_nothing_and_the_room_has_its_names():
    m = mt.matrix("MSFT", end=DAYS[0])
    assert said_of(m, Protocol()).as_of == DAYS[0]
    assert records() == []
    assert forecasts.__all__ == ["Forecast", "commit", "forecast", "history", "records", "score", "track"]
