"""A stranger's feature and target: let in where they hold, refused with the session that moved where they do not."""

import dataclasses
import pickle
import random
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.errors import BadInput, NotEnoughHistory, Refused, Unavailable
from mltrainer.evaluation import judging, judgments, lookahead, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.features import matrix as matrices
from mltrainer.features import own as owned
from mltrainer.features import targets
from mltrainer.models import catalog
from mltrainer.trust import audit, gate

SPAN = {"start": "2004-01-02", "end": "2008-12-31"}
QUARTER = 63


@pytest.fixture(autouse=True)
def registered() -> Iterator[dict]:
    """What this test registers, and nothing else; emptied, it is what a worker process knows."""
    owned.REGISTERED.clear()
    yield owned.REGISTERED
    owned.REGISTERED.clear()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mltrainer.checks.register.MOST", 24)


def momentum(bars):
    """Return of the last quarter, per unit of its volatility."""
    steps = np.log(bars["close"]).diff()
    return steps.rolling(QUARTER).mean() / steps.rolling(QUARTER).std()


def peak(bars, horizon):
    """How far the best close of the next sessions is above today's."""
    return np.log(bars["close"].rolling(horizon).max().shift(-horizon) / bars["close"])


def centered(bars):
    return bars["close"].rolling(5, center=True).mean() / bars["close"]


def standardized(bars):
    return (bars["close"] - bars["close"].mean()) / bars["close"].std()


def filled(bars):
    return bars["close"].rolling(21).mean().bfill()


def dice(bars):
    return bars["close"] * random.random()


def late(bars, horizon):
    return bars["close"].shift(-horizon - 2) / bars["close"] - 1


def known(bars, horizon):
    return bars["close"].pct_change(horizon)


def test_a_feature_stands_in_the_matrix_as_its_function_gives_it():
    mine = mt.register(momentum)
    data, plain = mt.matrix("MSFT", features=[mine], **SPAN), mt.matrix("MSFT", **SPAN)
    bars = mt.bars("MSFT", start=data.since, end=SPAN["end"])
    expected = momentum(bars.frame).loc[data.X.index]
    np.testing.assert_array_equal(data.X["own_momentum"], expected)
    pd.testing.assert_frame_equal(data.X.drop(columns="own_momentum"), plain.X)
    assert mt.matrix("MSFT", features=["momentum"], **SPAN).fingerprint() == data.fingerprint()


def test_what_is_made_with_ones_own_code_says_so_by_its_hash_and_so_does_all_that_is_made_of_it():
    mine = mt.register(momentum)
    data = mt.matrix("MSFT", features=[mine], **SPAN)
    said = f"own feature momentum, code {mine.code[:12]}"
    assert data.provenance.note.endswith(f"; {said}")
    assert said in data.provenance.parameters["own"]
    assert gate.verify(data, "evaluation") == data.provenance
    panel = mt.matrix(["MSFT", "IBM"], features=[mine], **SPAN)
    assert panel.provenance.note.count(said) == 1
    assert panel.own == {"own_momentum": mine.code}
    (entry,) = audit.entries(kind="register")
    assert (entry.payload["column"], entry.payload["code"]) == ("own_momentum", mine.code)
    assert audit.verify() == []


def test_another_body_is_another_fingerprint_and_another_key_though_the_numbers_are_the_same():
    def same(bars):
        return bars["close"].pct_change()

    one = mt.register(same, "change")
    first = mt.matrix("MSFT", features=[one], **SPAN)

    def same(bars):
        return bars["close"].pct_change(1)

    two = mt.register(same, "change")
    second = mt.matrix("MSFT", features=[two], **SPAN)
    pd.testing.assert_frame_equal(first.X, second.X)
    assert one.code != two.code
    spec = catalog.spec("RidgeRegression")
    assert trials.key(spec, first, Protocol()) != trials.key(spec, second, Protocol())
    with pytest.raises(BadInput, match="own_change is not registered here"):
        mt.matrix("MSFT", features=[one], **SPAN)  # its code is not that of the name any more


def test_code_that_was_changed_since_it_was_registered_is_refused(monkeypatch):
    mine = mt.register(momentum)
    monkeypatch.setitem(globals(), "QUARTER", 42)
    with pytest.raises(BadInput, match="own_momentum runs other code than when it was registered"):
        mt.matrix("MSFT", features=[mine], **SPAN)


def test_a_trial_with_ones_own_feature_is_counted_and_says_what_it_was_made_with():
    mine = mt.register(momentum)
    e = mt.evaluate("RidgeRegression", "MSFT", features=[mine], **SPAN)
    plain = mt.evaluate("RidgeRegression", "MSFT", **SPAN)
    assert judgments.judgment().luck["trials"] == 2
    rows = mt.leaderboard([e, plain]).rows.set_index("key")
    assert rows.loc[e.key, "settings"] == str(mine)
    assert rows.loc[plain.key, "settings"] == ""


def test_a_target_of_ones_own_is_judged_against_plain_forecasts_of_it():
    mine = mt.register(peak, unit="log price")
    data = mt.matrix("MSFT", target=mine, **SPAN)
    y = peak(mt.bars("MSFT", start=data.since, end=SPAN["end"]).frame, 5)
    known_rows = data.y.dropna()
    np.testing.assert_array_equal(known_rows, y.loc[known_rows.index])
    assert data.y.iloc[-6:].isna().all()
    assert (data.target, data.aim.proof, data.aim.pays) == ("own:peak", "loss", "")
    np.testing.assert_array_equal(data.past["last"], y.shift(6).loc[data.X.index])  # known at the close of t + h + 1
    e = mt.evaluate("RidgeRegression", data)
    assert e.ok
    assert e.meta["baselines"].keys() == {"mean", "last", "AR(1)"}
    assert "in forecasting peak (own target)" in mt.leaderboard([e]).sentence()
    found = mt.map("MSFT", models=["RidgeRegression"], targets=["own:peak"], horizons=[5], **SPAN)
    assert [*found.rows["status"]] == ["ok"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (centered, r"its value of 2004-07-01 moves when sessions after 2004-07-02 are truncated"),
        (standardized, r"its value of 2000-03-01 moves when sessions after"),
        (filled, r"its value of 2000-03-01 moves when sessions after"),
        (dice, r"its value of 2000-03-01 moves when sessions after .* are left as they are"),
        (late, r"at horizon 1 its label of 2004-06-30 moves when sessions after 2004-07-02 are truncated"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_that_looks_ahead_is_refused_with_the_session_that_moved_first(function, words, registered):
    with pytest.raises(Refused, match=f"own (feature|target) {function.__name__} looks ahead: {words}"):
        mt.register(function)
    assert registered == {}
    (entry,) = audit.entries(kind="mistake")
    assert "looks ahead" in entry.payload["why"]


def test_a_leak_that_shows_only_on_other_bars_is_found_where_it_is_used():
    def sly(bars):
        ahead = bars["close"].shift(-1) if bars.index[0].year > 2005 else bars["close"]
        return ahead / bars["close"].shift(1)

    mine = mt.register(sly)
    with pytest.raises(Refused, match=r"looks ahead on MSFT: its sly of \S+ moves when sessions after"):
        mt.matrix("MSFT", features=[mine], start="2010-01-04")


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        (known, BadInput, "known is known at the close of its own session: there is nothing to forecast"),
        (lambda bars: bars["close"], BadInput, "'<lambda>' is no name of a feature or target"),
        (lambda a, b: a, BadInput, r"<lambda>\(a, b\): a feature is a function of \(bars\)"),
        (lambda: 1, BadInput, "a feature is a function of"),
    ],
)
def test_what_is_no_feature_is_one_line(function, error, words):
    with pytest.raises(error, match=words):
        mt.register(function)


ANSWERS = {
    "fewer": (lambda bars: bars["close"].iloc[5:], "x gave 3265 rows for 3270 sessions"),
    "a frame": (lambda bars: bars, "x gave a DataFrame; it must give a Series"),
    "a number": (lambda bars: 1.0, "x gave a float"),
    "words": (lambda bars: bars["close"].map(str) + "a", "it must give numbers"),
    "other sessions": (lambda bars: bars["close"].reset_index(drop=True), "x gave other sessions"),
    "infinite": (lambda bars: 1 / (bars["close"].diff() * 0), "x is infinite on|x says the same"),
    "constant": (lambda bars: bars["close"] * 0 + 1, "x says the same on all sessions"),
    "an error": (lambda bars: bars["closing"], "x fails on the bars of MSFT as they are .KeyError"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_that_is_no_column_of_numbers_is_one_line(what):
    function, words = ANSWERS[what]
    with pytest.raises(BadInput, match=words):
        mt.register(function, "x")


def test_a_feature_that_is_missing_after_the_warm_up_is_named_and_not_left_out():
    mine = mt.register(lambda bars: bars["close"].pct_change().where(bars["close"] > bars["close"].cummax() * 0.7), "x")
    with pytest.raises(BadInput, match=r"own_x is missing on \d+ sessions after the first 252, first on 200"):
        mt.matrix("MSFT", features=[mine])


def test_one_that_was_not_registered_does_not_pass_the_door():
    forged = owned.Own("feature", "momentum", momentum, "0" * 64)
    bars = mt.bars("MSFT", **SPAN)
    with pytest.raises(BadInput, match="own_momentum is not registered here"):
        matrices.matrix(bars, own=(forged,))
    with pytest.raises(BadInput, match="own_momentum is not registered here"):
        mt.matrix("MSFT", features=[forged], **SPAN)
    with pytest.raises(BadInput, match="nothing is not registered"):
        mt.matrix("MSFT", features=["nothing"], **SPAN)
    with pytest.raises(BadInput, match="own:nothing is not registered"):
        mt.matrix("MSFT", target="own:nothing", **SPAN)
    with pytest.raises(Unavailable, match="its function was not given"):
        matrices.matrix(bars, target="own:nothing")


def test_one_ticker_of_a_panel_with_and_one_without_is_no_panel():
    mine = mt.register(momentum)
    with pytest.raises(BadInput, match="same features and target of one's own"):
        mt.matrix([mt.matrix("MSFT", features=[mine], **SPAN), mt.matrix("IBM", **SPAN)])


def test_a_matrix_without_ones_own_code_has_the_fingerprint_it_always_had():
    data = mt.matrix("MSFT", **SPAN)
    assert data.own == {}
    assert "own" not in data.provenance.parameters
    assert dataclasses.replace(data, own={"own_x": "0"}).fingerprint() != data.fingerprint()


def test_look_ahead_in_a_model_is_found_on_a_matrix_with_ones_own_columns(registered):
    mine = mt.register(momentum)
    data = mt.matrix("MSFT", features=[mine], **SPAN)
    ridge = catalog.spec("RidgeRegression")
    assert lookahead.knows_sources(data)
    assert lookahead.forecast_moves(ridge, data, Protocol()) == ""
    again = pickle.loads(pickle.dumps(data))
    registered.clear()  # as in a worker process
    assert not lookahead.rebuildable(again)
    assert lookahead.forecast_moves(ridge, again, Protocol()) == ""
    assert judging._lookahead(ridge, again, Protocol()) == ""
    with pytest.raises(Unavailable, match="this process does not know"):
        lookahead.rebuilt(again)


def test_workers_and_later_sessions_judge_an_own_target_without_its_function(registered):
    mine = mt.register(peak)
    data = mt.matrix("MSFT", target=mine, **SPAN)
    registered.clear()
    targets._own.cache_clear()
    e = mt.evaluate("RidgeRegression", pickle.loads(pickle.dumps(data)))
    assert e.ok
    assert judgments.judgment().luck["trials"] == 1
    assert trials.load(e.key).target == "own:peak"


def test_a_model_is_trained_and_asked_with_ones_own_feature_and_says_what_it_lacks_without():
    mine = mt.register(momentum)
    end = {"start": "2003-01-02", "end": "2007-12-31"}
    trained = mt.model("RidgeRegression").train(mt.matrix("MSFT", features=[mine], **end))
    assert len(trained.predict(mt.matrix("MSFT", features=[mine], **SPAN))) > 200
    with pytest.raises(BadInput, match="trained on own_momentum too"):
        trained.predict(mt.matrix("MSFT", **SPAN))


def test_an_estimator_is_registered_by_the_same_call():
    from sklearn.linear_model import Ridge

    assert mt.register(Ridge(), "mine").name == "mine"
    with pytest.raises(BadInput, match="is no model"):
        mt.register(3)


def test_the_card_says_what_it_is_and_what_was_checked():
    mine = mt.register(momentum, unit="per session")
    said = dict(mine.rows())
    assert said["Says"] == "Return of the last quarter, per unit of its volatility."
    assert said["Unit"] == "per session"
    assert said["Leak test"].startswith("passed on MSFT, 3,270 sessions to 2013-03-01")
    assert "steps.rolling(QUARTER)" in said["Source"]
    assert mine.code in mine._repr_html_()


def test_too_little_history_is_still_too_little():
    with pytest.raises(NotEnoughHistory):
        mt.matrix("MSFT", features=[mt.register(momentum)], start="2012-06-01")
