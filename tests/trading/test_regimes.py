"""Regimes are labelled by what was known on the day."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

import mltrainer as mt
from mltrainer.errors import BadInput, NotEnoughHistory, Refused
from mltrainer.trading.regimes import LABELS, TREND, VOLATILITY, VOLUME, WEIGHTS, detect, filtered, fits, measure
from mltrainer.trading.regimes.economy import read, sahm
from mltrainer.trading.regimes.labels import settled, slope_t
from mltrainer.trading.regimes.score import breadth, of_bars
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

REWRITES = ("cut", "scaled", "shuffled", "noise")


@pytest.fixture
def bars() -> pd.DataFrame:
    return mt.bars("MSFT", start="2005-01-03", end="2009-12-31").frame


def path(*returns: float) -> pd.DataFrame:
    """Closes with the given log returns, repeated or not, on made-up days."""
    days = pd.date_range("2001-01-01", periods=len(returns) + 1, name="session")
    return pd.DataFrame({"close": 100 * np.exp(np.cumsum([0.0, *returns]))}, days)


def rewritten(frame: pd.DataFrame, at: int, change: str) -> pd.DataFrame:
    future, rng = frame.iloc[at:].to_numpy(), np.random.default_rng(0)
    other = {
        "cut": future[:0],
        "scaled": future * 1000,
        "shuffled": rng.permutation(future),
        "noise": np.exp(rng.normal(size=future.shape)),
    }[change]
    return pd.concat([frame.iloc[:at], pd.DataFrame(other, frame.index[at : at + len(other)], frame.columns)])


# --- labels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", REWRITES)
@pytest.mark.parametrize("at", [300, 700, 1100])
def test_rewriting_the_future_moves_no_label_and_no_score_of_the_past(bars: pd.DataFrame, change: str, at: int):
    pd.testing.assert_frame_equal(of_bars(rewritten(bars, at, change)).iloc[:at], of_bars(bars).iloc[:at])


def test_nothing_is_said_before_it_can_be_known(bars: pd.DataFrame):
    """21 returns make a volatility, 252 of those a past, 5 alike a label: row 21 + 251 + 4; 200 closes a mean: 199."""
    labels = detect(bars)
    assert labels["volatility"].first_valid_index() == bars.index[21 + 251 + 4]
    assert labels["trend"].first_valid_index() == bars.index[199]
    assert labels["volume"].first_valid_index() == bars.index[251]
    for name, known in (("volatility", VOLATILITY), ("trend", TREND), ("volume", VOLUME)):
        said = labels[name].loc[labels[name].first_valid_index() :]
        assert set(said) == set(known)


def test_quiet_then_wild_then_quiet_by_hand():
    """Returns of ±1 % for 400 days, ±5 % for 30, ±0.1 % for 30: every window of 21 is of one kind at the ends."""
    swing = np.where(np.arange(460) % 2, 1.0, -1.0) * np.repeat([0.01, 0.05, 0.001], [400, 30, 30])
    labels = detect(path(*swing))["volatility"]
    assert labels.iloc[430] == "high"  # the last 21 returns are the large ones, above two thirds of the past
    assert labels.iloc[460] == "low"
    assert labels.iloc[400] in ("low", "medium")  # ties of the same swing: never above their own two-thirds quantile


def test_a_label_counts_when_it_has_stood_for_five_sessions_by_hand():
    labels = pd.Series(list("aaaaabbbbcbbbbbbaaaa"))
    assert "".join(settled(labels).fillna("-")) == "----" + 10 * "a" + 6 * "b"


def test_a_straight_rise_is_a_bull_a_straight_fall_a_bear_and_a_flat_price_neither():
    rise, fall, flat = (detect(path(*[r] * 300))["trend"].iloc[199:] for r in (0.001, -0.001, 0.0))
    assert set(rise) == {"bull"}
    assert set(fall) == {"bear"}
    assert set(flat) == {"sideways"}


def test_the_slope_has_the_t_statistic_of_scipys_regression(bars: pd.DataFrame):
    log, t = np.log(bars["close"]), slope_t(bars["close"])
    for row in (62, 400, 1258):
        found = stats.linregress(np.arange(63), log.iloc[row - 62 : row + 1])
        assert t.iloc[row] == pytest.approx(found.slope / found.stderr, rel=1e-6)
    assert t.iloc[:62].isna().all()


def test_volume_is_high_when_a_month_trades_a_fifth_more_dollars_than_the_years_median_by_hand():
    frame = path(*[0.0] * 299).assign(volume=[1000.0] * 280 + [2000.0] * 20)
    labels = detect(frame)["volume"]  # after k double sessions the month's mean is 1 + k / 20 of the median
    assert list(labels.iloc[[279, 283, 284, 299]]) == ["normal", "normal", "high", "high"]
    assert (
        list(detect(frame.assign(volume=frame["volume"][::-1].to_numpy()))["volume"].iloc[[251, 299]]) == ["normal"] * 2
    )


@given(st.floats(1e-3, 1e6))
def test_the_unit_of_the_price_does_not_matter(unit: float):
    rng = np.random.default_rng(7)
    closes = path(*rng.normal(0, 0.01, 400))
    labels, scaled = detect(closes), detect(closes * unit)
    assert (labels["trend"].dropna() == scaled["trend"].dropna()).all()
    assert (labels["volatility"].dropna() == scaled["volatility"].dropna()).mean() > 0.99  # rounding at a quantile


def test_about_a_third_of_real_days_is_of_each_volatility():
    """Quantiles of the own past: far from thirds on any one day, near them over 18 years of the S&P 500."""
    share = detect(mt.bars("SPX").frame)["volatility"].value_counts(normalize=True)
    assert share.min() > 0.15
    assert share.sum() == pytest.approx(1)


# --- the economy ----------------------------------------------------------------------------------------------


def test_sahms_indicator_by_hand():
    """Monthly: 4 for a year, then 4.5 and 5: mean of the last three 4.5, least mean before 4. A quarter is a mean."""
    months = pd.date_range("2007-01-01", periods=16, freq="MS")
    monthly = dict(zip(months, [4.0] * 14 + [4.5, 5.0], strict=True))
    assert sahm(monthly, months[-1]) == pytest.approx((4 + 4.5 + 5) / 3 - 4)
    assert np.isnan(sahm({m: u for m, u in monthly.items() if m != months[5]}, months[-1]))
    quarters = dict(zip(pd.date_range("2007-01-01", periods=5, freq="QS"), [4.5, 4.4, 4.7, 4.8, 5.0], strict=True))
    assert sahm(quarters, max(quarters)) == pytest.approx(0.6)


def test_the_recession_of_2008_is_seen_when_its_figures_were_published_and_not_when_it_began():
    """The packaged table has 4.5 (2007 Q2), 4.9 (2008 Q1) and 5.4 (Q2), the last published by the end of September."""
    unemployment = mt.macro("unemp").frame
    quarter = unemployment["value"]
    assert quarter.loc["2008-04-01"] - quarter.loc["2007-04-01":"2008-01-01"].min() == pytest.approx(0.9)
    state = read({"unemp": unemployment}, pd.bdate_range("2007-01-02", "2009-09-30"))["economy"]
    assert state.loc["2008-09-29"] == "expansion"
    assert state.loc["2008-09-30"] == "contraction"
    assert set(state) == {"expansion", "contraction"}


def test_a_figure_that_is_published_later_says_nothing_before_and_a_revision_moves_no_day_before_it():
    sessions = pd.bdate_range("2008-01-02", "2009-06-30")
    frame = mt.macro("unemp").frame
    before = read({"unemp": frame}, sessions)
    revised = pd.concat(
        [frame, frame.loc["2008-01-01":"2008-07-01"].assign(value=9.0, available=pd.Timestamp("2009-03-02"))]
    )
    after = read({"unemp": revised}, sessions)
    pd.testing.assert_frame_equal(after.loc[:"2009-03-01"], before.loc[:"2009-03-01"])
    assert not after.loc["2009-03-02":].equals(before.loc["2009-03-02":])


# --- the score ------------------------------------------------------------------------------------------------


def test_the_score_is_the_weighted_mean_of_what_is_known_by_hand(bars: pd.DataFrame):
    macro = pd.Series(80.0, bars.index).where(bars.index < "2009-01-01")
    rows = of_bars(bars, macro, {"MSFT": bars["close"]})
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    row = rows.loc["2008-12-31"]
    by_hand = 0.4 * row["calm"] + 0.3 * 80 + 0.2 * row["momentum"] + 0.1 * row["breadth"]
    assert row["score"] == pytest.approx(by_hand)
    row = rows.loc["2009-06-01"]
    assert row["score"] == pytest.approx((0.4 * row["calm"] + 0.2 * row["momentum"] + 0.1 * row["breadth"]) / 0.7)
    assert row["weight"] == pytest.approx(0.7)
    known = rows.dropna(subset=["score"])
    assert known["score"].between(0, 100).all()
    edges = pd.cut(known["score"], [-1, 25, 50, 75, 101], right=False, labels=LABELS).astype(str)
    assert (edges == known["regime"]).all()


def test_breadth_by_hand():
    rise, fall = (path(*[r] * 300)["close"] for r in (0.001, -0.001))
    assert set(breadth({"a": rise, "b": rise, "c": fall, "d": fall.iloc[:0]}, rise.index).iloc[199:].round(6)) == {
        66.666667
    }
    assert breadth({"a": rise, "b": fall.iloc[:0], "c": fall.iloc[:0]}, rise.index).isna().all()  # less than half trade


# --- hidden states --------------------------------------------------------------------------------------------


def test_the_probabilities_are_statsmodels_filter_by_parameters_of_the_past(bars: pd.DataFrame):
    """Before the second estimate all rests on the first 504 returns; estimated and filtered here by themselves."""
    r = 100 * np.diff(np.log(bars["close"]))
    first = MarkovRegression(r[:504], k_regimes=2, switching_variance=True).fit(disp=0)
    carried = MarkovRegression(r[:756], k_regimes=2, switching_variance=True).filter(first.params)
    calm = int(np.argmin(first.params[-2:]))
    ours = filtered(bars["close"])
    np.testing.assert_allclose(
        ours["p_calm"].iloc[505:757], carried.filtered_marginal_probabilities[504:, calm], atol=1e-9
    )
    assert ours.iloc[:505].isna().all(axis=None)
    np.testing.assert_allclose(ours.iloc[505:].sum(axis=1), 1)


@pytest.mark.parametrize("states", [2, 3])
def test_a_day_added_moves_no_state_of_a_day_before_and_states_are_ordered_by_variance(bars: pd.DataFrame, states: int):
    close = bars["close"].iloc[: 800 if states == 2 else 560]
    whole = filtered(close, states=states)
    for end in (505, 506, 757, 758, 799):  # beside both estimates
        pd.testing.assert_frame_equal(filtered(close.iloc[:end], states=states), whole.iloc[:end], check_exact=True)
    volatility = fits(close, states=states).filter(like="_volatility").to_numpy()
    assert (np.diff(volatility, axis=1) > 0).all()


def test_the_turbulent_state_is_where_volatility_is(bars: pd.DataFrame):
    p = filtered(bars["close"])["p_turbulent"]
    assert p.loc["2008-10":"2008-11"].mean() > 0.75
    assert p.loc["2007-01":"2007-06"].mean() < 0.3


def test_returns_that_no_two_states_describe_leave_the_estimate_before(bars: pd.DataFrame):
    close = bars["close"].copy()
    close.iloc[506:] = close.iloc[505]  # a price that stands still for years
    assert fits(close)["arrived"].iloc[0]
    assert np.isfinite(filtered(close).iloc[505:]).all(axis=None)


def test_other_numbers_of_states_are_refused(bars: pd.DataFrame):
    with pytest.raises(BadInput, match="states=4 is not 2 or 3"):
        filtered(bars["close"], states=4)


# --- the whole ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A universe of three in the folder one stands in: the breadth of twenty takes a second to load."""
    monkeypatch.chdir(tmp_path)
    Path("three.txt").write_text("KO\nGE\nXOM\n")


def until(day: pd.Timestamp, data: Dataset) -> Dataset:
    """What a source held on a day: sessions up to it, and observations that had been published."""
    known = data.frame.get("available", data.frame.index)
    return Dataset(data.frame[known <= day], data.name, data.kind)


@pytest.fixture(scope="module")
def sources() -> list[Dataset]:
    spans = {"start": "2003-01-02", "end": "2009-12-31"}
    macro = [mt.macro(name) for name in ("unemp", "cpi")]
    return [mt.bars("MSFT", **spans), *macro, *(mt.bars(t, **spans) for t in ("AAPL", "GE", "KO"))]


@pytest.fixture(scope="module")
def whole(sources: list[Dataset]) -> pd.DataFrame:
    return measure(*sources).frame


@settings(max_examples=8)
@given(st.integers(300, 1762))
def test_an_answer_as_of_a_day_is_that_of_a_run_on_that_day_bit_for_bit(
    sources: list[Dataset], whole: pd.DataFrame, row: int
):
    day = sources[0].frame.index[row]
    then = measure(*(until(day, d) for d in sources)).frame
    now = whole.loc[:day]
    assert list(then.columns) == list(now.columns)
    pd.testing.assert_frame_equal(then, now, check_exact=True, check_dtype=False)


def test_as_of_is_the_whole_answer_cut_and_is_sealed_with_its_parents():
    then, now = (mt.regimes("MSFT", start="2004-01-02", as_of=day, breadth="three.txt") for day in ("2008-10-15", None))
    pd.testing.assert_frame_equal(then.history, now.history.loc[:"2008-10-15"], check_exact=True, check_dtype=False)
    origin = gate.verify(then.data, "a test")
    assert {o.name for o in gate.roots(then.data)} >= {"MSFT", "unemp", "cpi", "KO"}
    assert origin.kind == "regimes"
    assert then.sentence().startswith("MSFT, 2008-10-15: crisis, score ")
    assert then.now["economy"] == "contraction"
    assert then.unavailable == {}
    assert set(now.unavailable) == {"macro", "economy"}  # the packaged macro table ends in 2009
    assert now.now["weight"] == pytest.approx(0.7)


def test_a_close_only_history_says_that_it_has_no_volume_and_a_short_one_is_refused():
    found = mt.regimes("KO", start="2006-01-03", as_of="2009-12-31", breadth="three.txt")
    assert "needs volume" in found.unavailable["volume"]
    assert "volume" not in found.history
    with pytest.raises(NotEnoughHistory, match="regimes need 273 sessions, MSFT has 252"):
        mt.regimes("MSFT", start="2008-01-02", as_of="2008-12-30")
    with pytest.raises(Refused):
        mt.regimes(Dataset(path(*[0.001] * 600), "MINE", "bars"))


def test_the_figure_shades_every_session_once_and_its_title_says_the_finding():
    found = mt.regimes("MSFT", start="2006-01-03", as_of="2009-12-31", breadth="three.txt")
    figure = found.figure()
    assert figure.layout.meta["finding"] == found.sentence()
    spans = [(s.x0, s.x1) for s in figure.layout.shapes]
    assert [a[1] for a in spans[:-1]] == [b[0] for b in spans[1:]]
    assert spans[-1][1] == "2009-12-31"
    assert json.loads(json.dumps(found.to_dict(), default=str))["session"] == "2009-12-31"
