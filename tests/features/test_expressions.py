"""Expressions: numbers of pandas loops and of the paper, one canonical text, and no sentence that looks ahead."""

import dataclasses
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.errors import BadInput, MltrainerError, UnknownName
from mltrainer.evaluation import code, lookahead
from mltrainer.features import matrix, rewriting
from mltrainer.features.expressions import ACROSS, LONGEST, PAIRS, WINDOWS, parse
from mltrainer.features.own import REGISTERED

register = import_module("mltrainer.checks.register")  # the function of this name hides the module


@pytest.fixture(autouse=True)
def none_registered(monkeypatch):
    monkeypatch.setattr(register, "MOST", 12)  # cuts of the leak test, which is tested elsewhere
    REGISTERED.clear()
    yield
    REGISTERED.clear()


@pytest.fixture(scope="module")
def bars():
    rng, n = np.random.default_rng(0), 320
    close = 50 * np.exp(np.cumsum(0.02 * rng.normal(size=n)))
    open_ = close * np.exp(0.01 * rng.normal(size=n))
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
    volume = rng.integers(1_000, 9_000, n).astype(float)
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(columns, pd.bdate_range("2020-01-01", periods=n, name="session"))


# --- numbers --------------------------------------------------------------------------------------------------

LOOPS = {
    "ts_mean(close, 7)": lambda w: w["close"].mean(),
    "ts_std(close, 7)": lambda w: w["close"].std(),
    "sum(volume, 7)": lambda w: w["volume"].sum(),
    "product(close / open, 7)": lambda w: (w["close"] / w["open"]).prod(),
    "ts_min(low, 7)": lambda w: w["low"].min(),
    "ts_max(high, 7)": lambda w: w["high"].max(),
    "ts_argmax(high, 7)": lambda w: float(w["high"].to_numpy().argmax() + 1),
    "ts_argmin(low, 7)": lambda w: float(w["low"].to_numpy().argmin() + 1),
    "ts_rank(volume, 7)": lambda w: w["volume"].rank(pct=True).iloc[-1],
    "decay_linear(close, 7)": lambda w: sum(k * v for k, v in enumerate(w["close"], 1)) / 28,
    "corr(close, volume, 7)": lambda w: w["close"].corr(w["volume"]),
    "cov(close, volume, 7)": lambda w: w["close"].cov(w["volume"]),
    "delay(close, 6)": lambda w: w["close"].iloc[0],
    "delta(close, 6)": lambda w: w["close"].iloc[-1] - w["close"].iloc[0],
    "adv7": lambda w: (w["close"] * w["volume"]).mean(),
}


@pytest.mark.parametrize("text", LOOPS)
def test_windows_say_what_a_loop_of_pandas_says(text, bars):
    said = parse(text)(bars)
    assert said.iloc[:6].isna().all()
    for i in range(6, len(bars), 13):
        assert said.iloc[i] == pytest.approx(LOOPS[text](bars.iloc[i - 6 : i + 1]), rel=1e-9, abs=1e-9), i


def test_every_operator_over_time_has_a_loop_to_be_compared_with():
    assert {t.partition("(")[0] for t in LOOPS} >= {*WINDOWS, *PAIRS}


SMALL = pd.DataFrame(
    {
        "open": [10.0, 11.0, 12.0],
        "high": [12.0, 13.0, 13.0],
        "low": [9.0, 10.0, 11.0],
        "close": [11.0, 12.5, 11.5],
        "volume": [100.0, 150.0, 120.0],
    },
    pd.bdate_range("2021-01-04", periods=3, name="session"),
)


def test_alpha_101_of_kakushadze_by_hand():
    """((close - open) / ((high - low) + .001)): 1 / 3.001, 1.5 / 3.001, -0.5 / 2.001."""
    said = parse("((close - open) / ((high - low) + .001))")(SMALL)
    assert said.to_list() == pytest.approx([0.33322226, 0.49983339, -0.24987506], rel=1e-7)


def test_alpha_12_of_kakushadze_by_hand():
    """(sign(delta(volume, 1)) * (-1 * delta(close, 1))): volume +50, close +1.5; volume -30, close -1."""
    said = parse("(sign(delta(volume, 1)) * (-1 * delta(close, 1)))")(SMALL)
    assert np.isnan(said.iloc[0])
    assert said.iloc[1:].to_list() == [-1.5, -1.0]


def test_alpha_2_of_kakushadze_on_a_panel_is_that_of_pandas(bars):
    """(-1 * correlation(rank(delta(log(volume), 2)), rank(((close - open) / open)), 6)), ranks across names."""
    text = "(-1 * correlation(rank(delta(log(volume), 2)), rank(((close - open) / open)), 6))"
    names = {"A": bars, "B": bars.iloc[::-1].set_axis(bars.index), "C": bars.shift(5).iloc[5:]}
    said = parse(text).panel(names)
    wide = {f: pd.DataFrame({k: v[f] for k, v in names.items()}) for f in ("open", "close", "volume")}
    change = np.log(wide["volume"]).diff(2).rank(axis=1, pct=True)
    body = ((wide["close"] - wide["open"]) / wide["open"]).rank(axis=1, pct=True)
    for name in names:
        theirs = -change[name].rolling(6).corr(body[name])
        flat = (change[name].rolling(6).std() < 1e-9) | (body[name].rolling(6).std() < 1e-9)
        pd.testing.assert_series_equal(
            said[name][~flat].dropna(), theirs[~flat].dropna(), check_names=False, check_freq=False, rtol=1e-6
        )
        assert said[name].notna().sum() > 250


def test_a_condition_takes_one_of_two_values_and_missing_ones_stay_missing():
    said = parse("close if delta(close, 1) > 0 else -1 * open")(SMALL)
    assert np.isnan(said.iloc[0])
    assert said.iloc[1:].to_list() == [12.5, -12.0]


def test_what_has_no_value_is_missing_and_never_infinite():
    assert parse("close / (volume - 100)")(SMALL).isna().to_list() == [True, False, False]
    assert parse("log(open - 11)")(SMALL).isna().to_list() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("volume ** 10", 1e20),
        ("volume * 999999999999 * 999999999", 100 * 999999999999 * 999999999),
        ("close + 10 ** 10 * 10 ** 10", 1e20 + 11),
        ("close * (2 - 3) ** 3", -11.0),
        ("volume - 1000000000000 ** 2", -1e24),
    ],
)
def test_whole_numbers_are_computed_as_others_and_pass_no_end(text, first):
    """In 64 bits 100 ** 10 is 7766279631452241920."""
    said = parse(text)(SMALL.astype({"volume": "int64"}))
    assert said.dtype == float
    assert said.iloc[0] == pytest.approx(first, rel=1e-12)


def test_a_constant_without_a_value_has_none_as_anything_else():
    assert parse("1 / 0 if close > 12 else close")(SMALL).isna().to_list() == [False, True, False]
    assert parse("close < 1 / 0")(SMALL).isna().all()


STILL = pd.DataFrame(
    {"close": [0.1, 0.2] + [0.7] * 6, "volume": [5.7, 2.4, 0.4, 0.1, 7.3, 8.2, 5.5, 6.6]},
    pd.bdate_range("2021-01-04", periods=8, name="session"),
)
DUSTY = ("ts_std(close, 6)", "cov(close, volume, 6)", "cov(volume, close, 6)")
AROUND = ("close - ts_mean(close, 6)", "close - decay_linear(close, 6)")


@pytest.mark.parametrize("text", [*DUSTY, *AROUND])
def test_of_a_window_that_does_not_move_nothing_is_left_to_rounding(text):
    """The sum of six times 0.7 by six is not 0.7; a window that moves has what it had."""
    windows = np.lib.stride_tricks.sliding_window_view(STILL["close"].to_numpy(), 6)
    assert windows.mean(axis=-1)[-1] != 0.7
    said = parse(text)(STILL)
    assert said.iloc[-1] == 0.0
    assert said.iloc[5:7].abs().gt(1e-3).all()


def test_a_window_with_a_gap_has_no_covariance_with_one_that_does_not_move():
    assert np.isnan(parse("cov(close, log(volume - 2), 6)")(STILL).iloc[-1])


def test_a_name_that_pauses_has_windows_of_its_own_sessions(bars):
    paused = bars.drop(bars.index[100:110])
    both = parse("rank(close) + ts_mean(close, 5)").panel({"A": bars, "B": paused})
    alone = parse("ts_mean(close, 5)")(paused)
    assert both["B"].iloc[100:110].isna().all()
    ranks = pd.DataFrame({"A": bars["close"], "B": paused["close"]}).rank(axis=1, pct=True)["B"]
    pd.testing.assert_series_equal((both["B"] - ranks).dropna(), alone.dropna(), check_names=False, check_freq=False)


def test_scale_makes_sizes_sum_to_one(bars):
    wide = parse("scale(returns)").panel({"A": bars, "B": bars.iloc[::-1].set_axis(bars.index)})
    assert wide.iloc[1:].abs().sum(axis=1).to_numpy() == pytest.approx(1.0)


# --- the language ---------------------------------------------------------------------------------------------

fields = st.sampled_from(["open", "close", "volume", "returns", "adv20", "$high"])
numbers = st.one_of(st.integers(0, 99), st.floats(0.001, 99, allow_nan=False)).map(str)


def grown(inner):
    w = st.integers(2, 30)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(st.sampled_from(sorted(WINDOWS)), inner, w).map(lambda p: f"{p[0]}({p[1]},{p[2]})"),
        st.tuples(st.sampled_from(["corr", "Cov"]), inner, inner, w).map(lambda p: f"{p[0]}({p[1]}, {p[2]}, {p[3]})"),
        st.tuples(st.sampled_from(["log", "Abs", "sign", "rank", "scale"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        inner.map(lambda p: f"-{p}"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} > 0 else {p[2]})"),
    )


sentences = st.recursive(st.one_of(fields, numbers), grown, max_leaves=5)


@given(sentences)
def test_canonical_text_is_read_as_itself_and_later_rows_move_nothing(text):
    try:
        read = parse(text)
    except BadInput:  # numbers alone, or too deep
        return
    assert parse(read.text) == read == parse(f"  {text} ")
    assert parse(read.text).code == read.code
    rng, n = np.random.default_rng(1), 60
    names = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame(rng.uniform(1, 9, (n, 5)), pd.bdate_range("2020-01-01", periods=n), names)
    other = frame.copy()
    other.iloc[40:] = rng.uniform(1, 9, (20, 5))
    assert not rewriting.differing(read(frame).iloc[:40].to_frame(), read(other).iloc[:40].to_frame())


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_one_line_that_says_why_not(text):
    assert_read_or_refused(text)


def assert_read_or_refused(text):
    said = "-"
    try:
        assert parse(text).name.isidentifier()
    except BadInput as error:
        said = str(error)
    assert said.isprintable()
    assert 0 < len(said) < 300


ODD = (
    "close", "$high", "adv20", "vwap", "adv" + "9" * 500, "adv\u0665", "5", "2.5", "-1", "1e999", "0x" + "f" * 400,
    "9" * 500, "1e-320", "1j", "1_000", "0777", "1if close else 2", "True", "None", "...", "'a\\nb'", "'''a\nb'''",
    "'\u202e\x1b[31m'", "b'x'", "'" + "z" * 300 + "'", "f'''\n{close}'''", "'\\d'", "-'a'", "[]", "{}", "()", "{[]: 1}",
    "{1}", "lambda: 1", "(yield)", "await x", "close.x", "close[1:2]", "*close", "**close", "d=5", "(a := 1)",
    "[x for x in y]", "x" * 300, "\x00", "\ud800", "\ufb01", "-" * 300 + "1",
)  # fmt: skip


def odd(inner):
    called = st.sampled_from(["ts_mean", "corr", "log", "less", "rank", "max", "foo", "a.b", "(lambda: 1)", "q" * 200])
    operator = st.sampled_from("+ - * / ** < > <= >= == // % @ & << and in is".split())
    around = st.sampled_from(["({})", "[{}]", "{{{}: 1}}", "{}.x", "{}[0]", "'{}'", "({},)", "-{}", "not {}", "{}\n"])
    return st.one_of(
        st.tuples(called, st.lists(inner, max_size=3)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
        st.tuples(inner, operator, inner).map(" ".join),
        st.tuples(around, inner).map(lambda p: p[0].format(p[1])),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        inner.map(lambda p: f"ts_mean(close, {p})"),
    )


@given(st.recursive(st.sampled_from(ODD), odd, max_leaves=4))
@settings(max_examples=400)
@example("ts_mean(close, {[]: 1})")
@example("ts_mean(close, 'a\\nb')")
@example("close + " + "9" * 500)
@example("adv" + "9" * 500)
def test_any_python_is_an_expression_or_one_line_that_says_why_not(text):
    assert_read_or_refused(text)


def test_a_refusal_shows_the_start_of_what_was_written():
    for text, why in {
        "adv" + "9" * 500: "adv takes a whole number of sessions from 1 to 252, not '999999999999999999999999999999'",
        "ts_mean(close, 2.5)": "ts_mean takes a whole number of sessions from 1 to 252, not 2.5",
        "close ** -1": "an exponent is a number from 0 to 10; signedpower(x, a) takes others",
        "close + " + "9" * 500: f"'{'9' * 40}' is no number of an expression",
    }.items():
        with pytest.raises(BadInput) as error:
            parse(text)
        assert str(error.value) == why


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "close.__class__", "(lambda: close)()", "[close for x in (1,)]", "close[0]",
        "open('x')", "exec(close)", "f'{close}'", "close := 1", "close and open", "close, open", "'close'", "True",
        "ts_mean(close, d=5)", "ts_mean(*close)", "1j * close", "close ** close", "close ** 99", "~close", "close // 2",
        "1 < close < 2", "", "(" * 500, "9" * 5_000, "-" * 400 + "close", "close + " * 90 + "close", "ts_mean",
    ],
)  # fmt: skip
def test_what_is_not_of_the_language_is_refused_and_not_run(text):
    with pytest.raises(BadInput) as error:
        parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("delay(close, -1)", "delay of -1 sessions would look ahead"),
        ("Ref($close, -2) / $close", "delay of -2 sessions would look ahead"),
        ("delta(close, -5)", "would look ahead"),
        ("ts_mean(close, -3)", "would look ahead"),
        ("corr(close, volume, -9)", "would look ahead"),
        ("delay(close, 0 - 1)", "whole number of sessions"),
        ("delay(close, close)", "whole number of sessions"),
        ("ts_mean(close, 2.5)", "whole number of sessions"),
        ("ts_mean(close, 253)", "from 1 to 252"),
        ("ts_std(close, 1)", "from 2 to 252"),
        ("adv0", "from 1 to 252"),
        ("max(close, 5)", "max means two things"),
        ("ts_mean(close)", "takes 2 arguments, 1 were given"),
        ("3 + 4", "uses no field"),
        ("x" * (LONGEST + 1), "characters"),
    ],
)
def test_each_refusal_says_why_in_one_line(text, why):
    with pytest.raises(BadInput, match=why) as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_unknown_words_are_met_with_close_ones():
    with pytest.raises(UnknownName, match="close: ts_mean"):
        parse("ts_meen(close, 5)")
    with pytest.raises(UnknownName, match="close: volume"):
        parse("volumes / close")


def test_a_close_only_source_says_which_field_it_lacks(bars):
    with pytest.raises(BadInput, match=r"^these bars have no volume; use close, returns$"):
        parse("volume / close")(bars[["close"]])
    with pytest.raises(BadInput, match=r"^the bars of B have no vwap; use open, high, low, close, volume, returns$"):
        parse("vwap / close").panel({"A": bars.assign(vwap=1.0), "B": bars})


def test_names_spaces_and_brackets_are_one_factor_and_another_window_is_another():
    one = {
        parse(t).code for t in ("Mean($volume,5)/$close", "(ts_mean( volume , 5.0) / close)", "ts_mean(volume,5)/close")
    }
    assert len(one) == 1
    assert parse("ts_mean(volume, 6) / close").code not in one
    assert parse("adv007").text == parse("adv\u0667").text == "adv7"
    assert parse("ts_mean(volume, 5) / close").name.isidentifier()
    assert len(parse(f"{'(' * 9}ts_mean(volume, 5) / close + 1 / 3{')' * 9}").name) <= 40
    assert [parse(f"{n}(close)").across for n in ACROSS] == [True, True]


# --- registered -----------------------------------------------------------------------------------------------


def test_text_is_registered_after_a_leak_test_and_stands_in_the_key_of_its_results(home):
    one = mt.register("ts_mean(volume, 5) / adv20")
    other = mt.register("ts_mean(volume, 6) / adv20")
    assert "12 other futures" in one.checked
    assert one.text == "ts_mean(volume, 5) / adv20"
    made = [mt.matrix("MSFT", start="2008-01-02", features=[o]) for o in (one, other)]
    assert made[0].own == {one.column: parse(one.text).code}
    assert "= ts_mean(volume, 5) / adv20" in made[0].notes[0]
    assert made[0].fingerprint() != made[1].fingerprint()
    assert one.column in made[0].X
    assert lookahead.knows_sources(made[0])
    assert code.function(one.function) == one.code


def test_ranks_need_a_panel_and_follow_those_of_its_names(home):
    own = mt.register("rank(ts_mean(volume, 5) / close)", name="cheap")
    with pytest.raises(BadInput, match="compares the names of a session, and this is one; give several tickers"):
        mt.matrix("MSFT", features=[own])
    with pytest.raises(BadInput, match="give several tickers"):
        mt.matrix(["MSFT"], features=[own])
    panel = mt.matrix(["AAPL", "IBM", "MSFT"], start="2008-01-02", features=["cheap"])
    by_session = panel.X["own_cheap"].groupby(level="session")
    assert by_session.sum().to_numpy() == pytest.approx(2.0)  # 1/3 + 2/3 + 1
    value = {t: (b := mt.bars(t).frame)["volume"].rolling(5).mean() / b["close"] for t in panel.tickers}
    theirs = pd.DataFrame(value).rank(axis=1, pct=True)
    mine = panel.X["own_cheap"].unstack("ticker")  # noqa: PD010 - one value each
    pd.testing.assert_frame_equal(mine, theirs.loc[mine.index], check_names=False)
    assert panel.notes == [f"own feature cheap, code {own.code[:12]} = {own.text}"]
    assert lookahead.knows_sources(panel)


def test_look_ahead_that_a_broken_operator_would_bring_is_found_when_it_is_registered(home, monkeypatch):
    monkeypatch.setitem(WINDOWS, "delay", (lambda W: np.append(W[1:, -1], 0.0), 0, ""))
    with pytest.raises(MltrainerError, match="looks ahead"):
        mt.register("delay(close, 1) / close")


def test_a_panel_that_is_stacked_by_hand_needs_the_bars(home):
    own = mt.register("rank(close)")
    parts = [mt.matrix(t, start="2008-01-02") for t in ("AAPL", "MSFT")]
    bare = [m.of(m.name) for m in parts]
    assert own.column not in matrix.stack(*bare).X
    assert own.column in matrix.stack(*bare, own=(own,)).X
    with pytest.raises(BadInput, match="needs the bars of all names, and AAPL was made without"):
        matrix.stack(dataclasses.replace(bare[0], sources=()), bare[1], own=(own,))
