"""A view needs evidence, a size never lacks; nothing is recommended on broken data, and nothing knows the future."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import databases
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from evenings import apart
from sqlalchemy import text
from statsmodels.stats.proportion import proportion_confint

import mltrainer as mt
from mltrainer import store
from mltrainer.checks import decisions, leakcheck
from mltrainer.data import sample
from mltrainer.data.quality.case import SPLITS
from mltrainer.errors import BadInput, NotEnoughHistory, Refused, UnknownName
from mltrainer.evaluation import judgments, trials
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.targets import realized_variance
from mltrainer.trading.portfolio import beliefs
from mltrainer.trading.recommendations import deciding, evidence, ledger, outcomes
from mltrainer.trading.recommendations.deciding import Name, rows_of
from mltrainer.trading.recommendations.evidence import Knowledge
from mltrainer.trading.recommendations.known import Risk, volatility
from mltrainer.trading.recommendations.records import COLUMNS
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset

TWO = ["MSFT", "IBM"]
DAY = "2008-10-15"


@pytest.fixture(scope="module")
def bars() -> dict[str, pd.DataFrame]:
    return {t: mt.bars(t).frame for t in ("MSFT", "IBM", "AAPL")}


def days(n: int, start: str = "2010-01-04") -> pd.DatetimeIndex:
    return pd.bdate_range(start, periods=n, name="session").as_unit("s")


# --- what is known of the risk --------------------------------------------------------------------------------


def test_the_forecast_is_har_by_statsmodels_times_the_mean_of_exponential_errors(bars: dict[str, pd.DataFrame]):
    frame, h = bars["MSFT"].loc[:DAY], 5
    log = np.log(realized_variance(frame))
    level = realized_variance(frame)
    X = np.log(pd.DataFrame({k: level.rolling(k).mean() for k in (1, 5, 22)}))
    y = np.log(level.rolling(h).mean()).shift(-h)
    known = X.notna().all(axis=1) & y.notna()
    fitted = sm.OLS(y[known], sm.add_constant(X[known])).fit()
    forecast = float(fitted.predict(sm.add_constant(X).iloc[[-1]]).iloc[0])
    Xk, yk = sm.add_constant(X[known]), y[known]
    early = sm.OLS(yk.iloc[: len(yk) - 500 - h], Xk.iloc[: len(yk) - 500 - h]).fit()
    errors = yk.iloc[-500:] - early.predict(Xk.iloc[-500:])
    found = volatility(frame, h)
    assert found.volatility == pytest.approx((np.exp(forecast) * np.exp(errors).mean()) ** 0.5, rel=1e-9)
    radius = np.sort(errors.abs())[int(np.ceil(501 * 0.9)) - 1]  # split conformal: Lei et al. (2018), JASA 113
    assert found.low == pytest.approx(np.exp((forecast - radius) / 2), rel=1e-9)
    rival = ((yk.iloc[-500:] - yk.iloc[: len(yk) - 500 - h].mean()) ** 2).sum()
    assert found.explained == pytest.approx(1 - (errors**2).sum() / rival)
    assert len(log) == len(frame)


def test_two_years_of_intervals_hold_about_nine_in_ten(bars: dict[str, pd.DataFrame]):
    frame, h, inside = bars["IBM"], 5, []
    for at in range(1500, 2500, 10):
        risk = volatility(frame.iloc[:at], h)
        realized = float(realized_variance(frame.iloc[at - 1 : at + h]).iloc[1:].mean()) ** 0.5
        inside.append(risk.low <= realized <= risk.high)
    low, high = proportion_confint(sum(inside), len(inside), method="wilson")
    assert low < 0.9 < high


def test_too_short_a_past_says_how_short(bars: dict[str, pd.DataFrame]):
    with pytest.raises(NotEnoughHistory, match="needs 273 sessions, and there are 200"):
        volatility(bars["IBM"].iloc[:200], 5)


# --- a size always --------------------------------------------------------------------------------------------


def test_without_evidence_every_name_is_held_at_the_size_of_the_volatility_target(home: Path):
    found = mt.recommend([*TWO, "AAPL", "KO", "GE", "XOM", "JNJ", "PG"], as_of=DAY, commit=False)
    assert list(found.rows.columns) == list(COLUMNS)
    assert set(found.rows["action"]) == {"hold"}
    assert found.rows["score"].isna().all()
    weights = found.rows.set_index("ticker")["size"]
    closes = pd.DataFrame({t: mt.bars(t, end=DAY).frame["close"] for t in weights.index}).dropna()
    cov, _ = beliefs.estimated(closes.pct_change().iloc[-756:].to_numpy(), "ledoit-wolf")
    sigma = beliefs.rescaled(cov, found.rows["volatility"].to_numpy() / 252**0.5)
    book = (weights.to_numpy() @ sigma @ weights.to_numpy() * 252) ** 0.5
    assert book == pytest.approx(0.10)  # no limit binds in October 2008: the sizes are far below 10 %
    share = weights * found.rows.set_index("ticker")["volatility"]
    assert share.max() == pytest.approx(share.min())  # each in inverse proportion to its own volatility
    assert "No model has evidence of knowing its return" in found.rows["reasoning"].iloc[0]
    assert "a prior and no forecast" in found.rows["reasoning"].iloc[0]
    assert found.sentence().startswith(f"As of {DAY} (historical), no model knows where any of 8 names will go; hold ")
    assert found.rows["expiry"].iloc[0] == "2008-10-16 16:00 New York"  # 24 hours


def test_no_name_has_more_than_a_tenth_and_a_stop_is_five_percent_or_two_deviations(bars: dict[str, pd.DataFrame]):
    one = mt.recommend("MSFT", as_of="2005-06-15", commit=False)
    row = one.rows.iloc[0]
    assert row["size"] == pytest.approx(0.10)
    away = max(0.05, 2 * row["volatility"] / 252**0.5 * 5**0.5)
    assert row["stop"] == pytest.approx(row["entry"] * (1 - away))
    assert row["target"] == pytest.approx(row["entry"] * (1 + away))
    assert row["entry"] == bars["MSFT"].loc["2005-06-15", "close"]
    assert Name("T", bars["MSFT"], Risk(0.004, 0.003, 0.005, "HAR", 0.5, 500), Knowledge(""), {}).distance(5) == 0.05


def test_dollars_and_what_is_held_beyond_a_size():
    found = mt.recommend(TWO, as_of=DAY, capital=50_000, held={"IBM": 0.3}, commit=False)
    rows = found.rows.set_index("ticker")
    assert rows.loc["MSFT", "amount"] == pytest.approx(50_000 * rows.loc["MSFT", "size"])
    assert dict(rows["action"]) == {"MSFT": "hold", "IBM": "reduce"}
    assert "Held is 30.0%" in rows.loc["IBM", "reasoning"]
    assert found.sentence().startswith(f"As of {DAY} (historical), reduce IBM; hold ")


def name(ticker: str, frame: pd.DataFrame, risk: float = 0.02, view: Knowledge | None = None) -> Name:
    state = {"regime": "crisis", "volatility": "high", "trend": None, "month": 0.0, "above": 0.0}
    return Name(ticker, frame, Risk(risk, risk / 2, risk * 2, "HAR", 0.5, 500), view or Knowledge("None."), state)


def test_all_stops_together_cost_at_most_a_fifth_and_fifty_are_shown(bars: dict[str, pd.DataFrame]):
    frame = bars["IBM"].tail(300)
    names = {f"T{n}": name(f"T{n}", frame) for n in range(55)}
    rows, notes = rows_of(names, None, 63, 9.0, None)  # of no correlation: an aim that the limits alone stop
    assert len(rows) == 50
    assert "at most 50 are shown: T50, T51, T52, T53, T54 are not" in notes
    cost = sum(r["size"] * (1 - r["stop"] / r["entry"]) for r in rows) * 55 / 50
    assert cost == pytest.approx(0.20)
    assert any("all stops together would cost" in n for n in notes)


# --- a view with evidence only --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "confidence", "mean", "issued"),
    [(80.5, 70, 0.01, "buy"), (80, 99, 0.01, ""), (99, 69.9, 0.01, ""), (20, 70, -0.01, "sell"), (50, 90, 0.01, ""),
     (99, 99, -0.01, "")],
)  # fmt: skip
def test_a_view_is_shown_above_eighty_with_a_confidence_of_seventy(
    bars: dict[str, pd.DataFrame], score: float, confidence: float, mean: float, issued: str
):
    knows = Knowledge("M knows.", "M", "evidence of skill: ...", mean, -0.1, 0.1, 0.9, score, confidence)
    n = name("T", bars["IBM"], view=knows)
    assert n.issued == issued
    assert replace(n, view=replace(knows, model="")).issued == ""  # without evidence never
    (row,), _ = rows_of({"T": n}, None, 5, 0.1, None)
    assert row["action"] == (issued or "hold")
    assert ("No view is issued" in row["reasoning"]) == (not issued)
    assert ("the view, if the return" in row["falsifier"]) == bool(issued)
    assert (row["size"] == 0) == (issued == "sell")


def test_a_view_moves_its_name_up_or_down_within_the_limits(bars: dict[str, pd.DataFrame]):
    frame = bars["IBM"].tail(300)
    up = Knowledge("Up.", "M", "evidence of skill", 0.05, 0.02, 0.08, 0.9, 90, 80)
    returns = np.random.default_rng(0).normal(0, 0.02, (756, 4))
    plain = {t: name(t, frame) for t in "abcd"}
    before = {r["ticker"]: r["size"] for r in rows_of(plain, returns, 5, 0.1, None)[0]}
    after = rows_of(plain | {"b": name("b", frame, view=up)}, returns, 5, 0.06, None)[0]
    low = rows_of(plain, returns, 5, 0.06, None)[0]
    moved = {r["ticker"]: r["size"] for r in after}
    assert moved["b"] > {r["ticker"]: r["size"] for r in low}["b"]
    assert max(moved.values()) <= 0.10 + 1e-9
    assert min(before.values()) > 0
    down = Knowledge("Down.", "M", "evidence of skill", -0.05, -0.08, -0.02, 0.9, 10, 80)
    rows = {r["ticker"]: r for r in rows_of(plain | {"b": name("b", frame, view=down)}, returns, 5, 0.06, None)[0]}
    assert {t: r["action"] for t, r in rows.items()} == {"a": "hold", "b": "reduce", "c": "hold", "d": "hold"}
    assert rows["b"]["size"] < {r["ticker"]: r["size"] for r in low}["b"]


def planted(end: str, *, noise: float = 1.0) -> Evaluation:
    """A trial in the ledger that knows what nobody can: what comes, under some noise."""
    data = mt.matrix("MSFT", start="2003-01-02", end=end)
    real = mt.evaluate("RidgeRegression", data)
    f, rng = real.forecasts, np.random.default_rng(0)
    shown = f["y"] + noise * f["y"].std() * rng.normal(size=len(f))
    made = replace(real, key="f" * 64, forecasts=f.assign(forecast=shown), meta=real.meta | {"lookahead": ""})
    return trials.record(made, data)


def test_evidence_counts_when_its_last_outcome_was_known_and_for_a_year(bars: dict[str, pd.DataFrame]):
    e = planted("2007-12-31")
    sessions, last = bars["MSFT"].index, e.forecasts.index[-1]
    at = int(sessions.searchsorted(last))
    said = {n: evidence.known(mt.bars("MSFT").window(None, sessions[at + n]), 5) for n in (5, 6, 252, 253)}
    assert [n for n, k in said.items() if k.model] == [6, 252]  # horizon 5: known at the close of the sixth
    assert said[6].words.startswith("RidgeRegression shows evidence of skill: ")
    assert said[6].lower < said[6].mean < said[6].upper
    assert "none of which ended in the year before" in said[5].words
    assert "over 10 sessions (none was tried)" in evidence.known(mt.bars("MSFT", end="2008-01-15"), 10).words


def test_what_is_tried_in_vain_gives_no_view_and_later_trials_can_only_take_one_back(bars: dict[str, pd.DataFrame]):
    mt.evaluate("RidgeRegression", mt.matrix("MSFT", start="2003-01-02", end="2007-12-31"))
    now = mt.bars("MSFT", end="2008-01-15")
    assert evidence.known(now, 5).words == (
        "No model has evidence of knowing its return over 5 sessions (1 tried on data up to this day)."
    )
    e = planted("2007-12-31")
    sessions = pd.DatetimeIndex(now.frame.index)
    alone = judgments.judgment(known=sessions)
    planted_later = replace(e, key="e" * 64, forecasts=e.forecasts.assign(forecast=-e.forecasts["forecast"]))
    trials.record(planted_later, mt.matrix("MSFT", start="2003-01-02", end="2007-12-31"))
    both = judgments.judgment(known=sessions)
    assert both.luck["trials"] == alone.luck["trials"] + 1
    assert both.evidence[e.trial].p > alone.evidence[e.trial].p


def test_score_and_confidence_of_a_forecast_by_hand():
    f = pd.DataFrame({"y": [0.02, -0.02, 0.04, np.nan], "forecast": [0.01, 0.02, 0.03, 0.0], "scale": 0.01})
    score, confidence = evidence.standing(f, 2.5)  # of 1, 2, 3 and 0 three are lower; errors of 1, -4 and 1
    assert score == 75
    assert confidence == pytest.approx(200 / 3)


# --- only on data that is fit ---------------------------------------------------------------------------------


def admitted(name: str, kind: str = "bars", end: str = DAY, *, split: bool = False) -> Dataset:
    """Real days of an index as a provider's bytes, let in by the gate as they came, perhaps with a split in them."""
    raw = sample._table(sample.packaged_bytes("arch", "data/sp500/sp500.csv.gz")).set_index("Date").astype(float)
    raw.index = pd.to_datetime(raw.index, format="%m/%d/%Y")
    raw = raw.loc["2004-01-02":end]
    if split:
        raw.loc["2008-06-02":, raw.columns != "Volume"] /= SPLITS[1]
    asked = {"name": name, "kind": kind, "endpoint": "test", "parameters": {}}
    return gate.admit("replay", body=raw.to_csv(index_label="Date").encode(), parse=sample.parse_index, **asked)


def test_a_split_that_is_not_in_the_prices_is_refused_in_a_row_of_its_own_and_the_others_stand(monkeypatch):
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    good, broken = admitted("GOOD"), admitted("BAD", split=True)
    found = mt.recommend([broken, good])
    assert list(found.rows["ticker"]) == ["GOOD", "BAD"]
    assert list(found.rows["action"]) == ["hold", "refused"]
    assert "rule split" in found.refused["BAD"]
    assert found.sentence().endswith("refused: BAD.")
    assert list(ledger.written()["ticker"]) == ["GOOD"]  # what was refused was not recommended
    pd.testing.assert_frame_equal(found.given, mt.recommend(good, commit=False).rows)
    assert set(found.rows["mode"]) == {"replay"}
    assert not found.live


def test_bars_as_traded_a_missing_session_and_a_hand_made_frame_are_refused(monkeypatch):
    ibm = mt.bars("IBM", end=DAY)
    found = mt.recommend([mt.bars("MSFT", end="2008-10-14"), ibm, "XYZZY"], commit=False)
    assert found.refused["MSFT"] == "its last bar is of 2008-10-14, others have 2008-10-15"
    assert "no ticker in mode sample is called 'XYZZY'" in found.refused["XYZZY"]
    with pytest.raises(Refused):
        mt.recommend(Dataset(ibm.frame * 1.01, "IBM", "bars"))
    with pytest.raises(UnknownName):
        mt.recommend("XYZZY")
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    raw = admitted("RAW", "raw bars")
    assert "a recommendation needs daily bars adjusted" in mt.recommend([raw, admitted("GOOD")]).refused["RAW"]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [({"horizon": 0}, "horizon=0"), ({"horizon": 64}, "horizon=64"), ({"volatility": 0}, "volatility=0"),
     ({"capital": -1}, "capital=-1")],
)  # fmt: skip
def test_a_number_that_cannot_be_meant_is_one_line(knobs: dict[str, float], said: str):
    with pytest.raises(BadInput, match=said):
        mt.recommend("MSFT", **knobs)
    with pytest.raises(BadInput, match="each named once"):
        mt.recommend(["MSFT", "msft"])


# --- the time machine -----------------------------------------------------------------------------------------


def test_as_of_a_day_is_bit_by_bit_what_a_run_on_that_day_says():
    whole = [mt.bars(t) for t in TWO]
    then = mt.recommend(whole, as_of=DAY, commit=False)
    cut = mt.recommend([b.window(None, DAY) for b in whole], commit=False)
    by_name = mt.recommend(TWO, as_of="2008-10-15", commit=False)
    holiday = mt.recommend(TWO, as_of="2008-12-25", commit=False)
    assert then.to_dict() == cut.to_dict()
    assert json.dumps(by_name.to_dict()) == json.dumps(then.to_dict())
    assert holiday.as_of == "2008-12-24"


@pytest.mark.parametrize("at", [400, 1201, 2200])
def test_no_later_session_moves_a_row(bars: dict[str, pd.DataFrame], at: int):
    past = deciding.of_frames({t: f.iloc[:at] for t, f in zip("ab", bars.values(), strict=False)})
    later = [f.copy() for f in list(bars.values())[:2]]
    for f in later:
        f.iloc[at:] *= 3.0
    again = [Dataset(f, t, "bars") for t, f in zip("ab", later, strict=True)]
    pd.testing.assert_frame_equal(past, decisions.recommended(again, bars["MSFT"].index[at - 1]))


def test_leakcheck_finds_a_leak_that_is_planted_and_none_else(bars: dict[str, pd.DataFrame]):
    data = Dataset(bars["MSFT"].loc["2004-01-02":"2008-12-31"], "MSFT", "bars")
    assert decisions.moved(decisions.recommended, data) == {}

    def tomorrow(pair: Sequence[Dataset], session: pd.Timestamp) -> pd.DataFrame:
        rows = decisions.recommended(pair, session)
        return rows.assign(stop=pair[0].frame["low"].loc[session:].iloc[:2].iloc[-1])

    assert decisions.moved(tomorrow, data).keys() == {"stop"}
    assert "recommendation" in leakcheck.PARTS


# --- the ledger -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_asked_again_nothing_is_written_twice_and_what_was_said_first_stands(database: object):
    first = mt.recommend(TWO, as_of=DAY, project="p")
    again = mt.recommend("MSFT", as_of=DAY, volatility=0.02)
    assert (len(first.new), len(again.new)) == (2, 0)
    assert "1 of 1 stood in the ledger before; what was said first stands there" in again.notes
    assert len(mt.recommend("MSFT", as_of=DAY, horizon=21).new) == 1
    kept = ledger.written()
    assert list(kept["ticker"]) == ["MSFT", "IBM", "MSFT"]
    assert kept.loc[0, "size"] == first.rows["size"].iloc[0]
    assert set(kept["project"]) == {"p", ""}
    assert audit.verify() == []
    assert len(audit.entries(kind="recommendation")) == 3


def test_a_recommendation_that_was_changed_or_taken_out_is_found(tamper: databases.Tamper):
    mt.recommend(TWO, as_of=DAY)
    with pytest.raises(Exception, match="append-only"), store.writing() as connection:
        connection.execute(text("UPDATE recommendations SET ticker = 'KO'"))
    tamper("UPDATE recommendations SET session = '2003-01-02' WHERE ticker = 'IBM'")
    tamper("DELETE FROM recommendations WHERE ticker = 'MSFT'")
    assert len(audit.verify()) == 2


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def second(true: Callable[..., str]) -> Callable[..., str]:
    """Write one row, and be killed at the next."""
    count = [0]

    def call(*given: object) -> str:
        count[0] += 1
        if count[0] == 2:
            die()
        return true(*given)

    return call


def and_die(true: Callable[..., object]) -> Callable[..., None]:
    def call(*given: object, **knobs: object) -> None:
        true(*given, **knobs)
        die()

    return call


STEPS = {
    "before anything is written": ("_write", die),
    "one of two is written": ("_write", second(ledger._write)),
    "all is written": ("commit", and_die(ledger.commit)),
}


def a_run(step: str) -> None:
    if step:
        setattr(ledger, *STEPS[step])
    mt.recommend(TWO, as_of=DAY)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals that kill")
def test_killed_at_any_step_nothing_is_half_written_and_the_next_run_makes_it_whole():
    for step, left in (("before anything is written", 0), ("one of two is written", 0), ("all is written", 2)):
        process = apart(a_run, step)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, step
        assert len(ledger.written()) == left, step
    assert mt.recommend(TWO, as_of=DAY).new == ()
    assert audit.verify() == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes")
def test_started_twice_at_once_each_is_written_once():
    both = [apart(a_run, ""), apart(a_run, "")]
    for process in both:
        process.join(60)
    assert [p.exitcode for p in both] == [0, 0]
    assert sorted(ledger.written()["ticker"]) == ["IBM", "MSFT"]
    assert audit.verify() == []


# --- how it ended ---------------------------------------------------------------------------------------------


def said(day: str, ticker: str = "T", action: str = "hold", **more: object) -> dict[str, object]:
    made = {"ticker": ticker, "as_of": day, "action": action, "size": 0.5, "entry": 100.0, "stop": 95.0}
    made |= {"target": 105.0, "horizon": 2, "volatility_low": 0.0, "volatility_high": 9.0, "model": "M"}
    return made | more


def test_an_outcome_by_hand_from_the_next_open_to_that_after_the_horizon():
    frame = pd.DataFrame({"open": [99.0, 102, 103, 110], "close": [100.0, 103, 104, 111]}, days(4))
    frame = frame.assign(high=frame[["open", "close"]].max(axis=1), low=frame[["open", "close"]].min(axis=1))
    found = outcomes.outcome(said("2010-01-04", action="buy", view="buy"), frame)
    assert found["outcome"] == pytest.approx(110 / 102 - 1)
    assert (found["state"], found["right"], found["kept"], found["touched"]) == ("over", 1.0, 1.0, "")
    variance = realized_variance(frame).iloc[1:3].mean()
    assert found["realized"] == pytest.approx((variance * 252) ** 0.5)
    assert outcomes.outcome(said("2010-01-04"), frame.iloc[:3])["state"] == "open"
    assert np.isnan(outcomes.outcome(said("2010-01-04", action="reduce", view=""), frame)["right"])
    # against a name that is still held in part the action is to reduce, and the view is judged all the same
    assert outcomes.outcome(said("2010-01-04", action="reduce", view="sell"), frame)["right"] == 0.0
    assert "no longer in the data" in outcomes.outcome(said("2010-01-03"), frame)["state"]


def test_the_stop_counts_where_both_are_met_in_one_session_and_prices_adjusted_later_move_neither():
    frame = pd.DataFrame({"open": 100.0, "high": [100.0, 106, 106, 100], "low": [100.0, 94, 94, 100], "close": 100.0},
                         days(4))  # fmt: skip
    assert outcomes.outcome(said("2010-01-04"), frame)["touched"] == "stop"
    assert outcomes.outcome(said("2010-01-04", stop=90.0), frame)["touched"] == "target"
    assert outcomes.outcome(said("2010-01-04"), frame / 2)["touched"] == "stop"
    assert outcomes.outcome(said("2010-01-04", stop=90.0, target=120.0), frame)["touched"] == ""


def test_a_reader_trades_at_the_next_close_and_pays_for_it_by_hand():
    closes = pd.DataFrame({"a": [100.0, 100, 110, 110, 121]}, days(5))
    weights = pd.DataFrame({"a": [1.0, 0.0]}, ["2010-01-04", "2010-01-06"])
    path = outcomes.walked(weights, closes, bps=10)
    fee = 1 - 0.001
    assert path.tolist() == pytest.approx([1, fee, 1.1 * fee, 1.1 * fee * fee, 1.1 * fee * fee])


def test_readers_hold_until_the_horizon_is_over_and_leave_what_is_sold():
    index = days(12)
    bars = {
        "a": pd.DataFrame({"close": 100 * 1.01 ** np.arange(12)}, index),
        "b": pd.DataFrame({"close": 100.0}, index),
    }
    rows = pd.DataFrame([said("2010-01-04", "a"), said("2010-01-04", "b", "sell", size=0.0)])
    found = outcomes.judged(rows, bars, "sample")
    assert found.wealth.index[-1] == index[3]  # decided on the first, bought on the second, held two sessions
    end = found.wealth.iloc[-1]
    fee = 1 - 0.001
    assert end["equal-weight reader"] == pytest.approx(1.01**2 * fee)
    assert end["1/N"] == pytest.approx((1 + 1.01**2) / 2 * fee)
    assert end["sized"] == pytest.approx(1 + 0.5 * (1.01**2 - 1), abs=1e-3)
    again = outcomes.judged(pd.concat([rows, rows.assign(as_of="2010-01-14")]), bars, "sample")
    assert np.ptp(again.wealth["1/N"].loc[index[4] : index[8]]) == 0  # in cash between the two


def test_history_says_what_became_of_each_as_far_as_it_was_known():
    assert mt.recommendations.history().sentence() == "Nothing was recommended yet."
    for day in ("2008-09-02", DAY):
        mt.recommend(TWO, as_of=day)
    found = mt.recommendations.history()
    assert set(found.rows["state"]) == {"over"}
    assert found.rates.loc["inside", ["n", "dates"]].tolist() == [4, 2]
    assert "no view on a return was issued" in found.sentence()
    assert json.dumps(found.to_dict()) is not None
    then = mt.recommendations.history("MSFT", as_of="2008-10-16")
    assert list(then.rows["state"]) == ["over", "open"]


def test_a_walk_through_the_crisis_is_what_runs_on_those_days_said():
    found = mt.recommendations.replay("2008-09-01", "2008-11-30", TWO, every=21, horizon=21)
    assert found.rows["as_of"].nunique() == 3
    assert ledger.written().empty  # nothing of it is written
    day = found.rows["as_of"].iloc[2]
    alone = mt.recommend(TWO, as_of=day, horizon=21, commit=False).rows
    same = found.rows[found.rows["as_of"] == day].reset_index(drop=True)[list(COLUMNS)]
    pd.testing.assert_frame_equal(same, alone)
    lost = found.figures["max_drawdown"]
    assert lost["sized"] < lost["1/N"]
    with pytest.raises(BadInput, match="needs start, end"):
        mt.recommendations.replay("2008-09-01", None)
