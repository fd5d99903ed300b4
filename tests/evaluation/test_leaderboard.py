"""The ranking, the verdict and the sentence say no more than the numbers do."""

import numpy as np
import pandas as pd
import pytest

from mltrainer import metrics
from mltrainer.evaluation import leaderboard as board
from mltrainer.evaluation import trials
from mltrainer.evaluation.judging import judge
from mltrainer.evaluation.leaderboard import (
    COLUMNS,
    EVIDENCE,
    NO_EVIDENCE,
    NO_SIGNAL,
    NOT_BEYOND,
    SUSPECT,
    leaderboard,
    verdict,
)
from mltrainer.evaluation.record import Evaluation

# design.md, section 7: leaderboard.csv
PROMISED = (
    "name, family, task, ticker, status, verdict, mse, mae, r2, r2_oos, mape, ic, ic_t, hit_rate, sharpe, "
    "deflated_sharpe, sortino, calmar, max_drawdown, value_at_risk, expected_shortfall, profit_factor, win_rate, "
    "turnover, breakeven_bps, information_ratio, coverage, fit_seconds, predict_seconds, peak_mb"
).split(", ")
N = 1260  # five years
LUCK = {"trials": 20.0, "effective": 20.0, "spread": 0.45, "threshold": metrics.luck_threshold(0.45, 20)}
META = {"fit_seconds": 1.0, "predict_seconds": 0.1, "peak_mb": 99.0}


def toy(name="A", sharpe=1.0, ticker="MSFT", seed=0, constant=False, **figures) -> Evaluation:
    """An evaluation whose net returns have exactly this annual Sharpe ratio; figures are replaced as told."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=N)
    net = 0.01 * ((noise - noise.mean()) / noise.std(ddof=1) + sharpe / np.sqrt(252))
    y = 0.03 * rng.normal(size=N)
    frame = pd.DataFrame(
        {
            "y": y,
            "forecast": 0.001 if constant else 0.001 * y + 0.003 * rng.normal(size=N),
            "lower": -0.05,
            "upper": 0.05,
            "position": np.sign(rng.normal(size=N)),
            "gross": net,
            "net": net,
            "benchmark": 0.01 * rng.normal(size=N),
            "fold": np.repeat(np.arange(5.0), N // 5),
            "close": 50.0,
            "scale": 1.0,
            "expanding_mean": 0.0,
        },
        index=pd.bdate_range("2005-01-03", periods=N, name="session"),
    )
    return Evaluation(
        f"key-{name}-{ticker}", name, "toys", "regressor", ticker, 5, forecasts=frame,
        metrics=judge(frame, 5) | figures, meta=dict(META),
    )  # fmt: skip


GOOD = {"ic": 0.05, "ic_t": 3.0, "hit_rate": 0.53, "r2_oos": 0.01, "information_ratio": 0.4}


def lost(name, status, reason) -> Evaluation:
    return Evaluation(f"key-{name}", name, "toys", "regressor", "MSFT", 5, status=status, reason=reason)


# --- columns and order ----------------------------------------------------------------------------------------


def test_columns_are_the_promised_ones_first_and_in_that_order():
    rows = leaderboard([toy()], LUCK).rows
    assert list(rows.columns[: len(PROMISED)]) == PROMISED
    assert list(rows.columns) == COLUMNS
    assert not rows[PROMISED].iloc[0].isna().any()


def test_the_best_deflated_sharpe_is_first_and_ties_go_by_name():
    rows = leaderboard([toy("C", 0.5), toy("B", 2.0), toy("D", 2.0), toy("A", 1.0)], LUCK).rows
    assert list(rows["name"]) == ["B", "D", "A", "C"]
    assert rows["deflated_sharpe"].is_monotonic_decreasing


def test_without_a_threshold_the_order_is_by_sharpe_and_nothing_is_deflated():
    rows = leaderboard([toy("A", 0.5), toy("B", 2.0)], LUCK | {"threshold": np.nan}).rows
    assert list(rows["name"]) == ["B", "A"]
    assert rows["deflated_sharpe"].isna().all()
    assert set(rows["verdict"]) == {NO_EVIDENCE}


def test_what_did_not_run_stands_last_with_its_reason():
    missing, broken = lost("M", "unavailable", "no library"), lost("F", "failed", "ValueError: no")
    rows = leaderboard([missing, toy("A", np.nan), broken, toy("B", -3.0)], LUCK).rows
    assert list(rows["name"][:2]) == ["B", "A"]
    assert set(rows["name"][2:]) == {"M", "F"}
    last = rows.set_index("name").loc[["M", "F"]]
    assert list(last["reason"]) == ["no library", "ValueError: no"]
    assert list(last["verdict"]) == list(last["status"]) == ["unavailable", "failed"]
    assert last[PROMISED[6:]].isna().all().all()


def test_a_figure_that_is_undefined_stays_undefined():
    rows = leaderboard([toy(calmar=float("nan"))], LUCK).rows
    assert np.isnan(rows["calmar"].iloc[0])


def test_deflated_sharpe_is_the_probability_of_beating_luck():
    e = toy(sharpe=1.5)
    row = leaderboard([e], LUCK).rows.iloc[0]
    expected = metrics.probabilistic_sharpe(e.forecasts["net"], benchmark=LUCK["threshold"])
    assert row["deflated_sharpe"] == expected
    # by hand: normal returns, (1.5 - 0.85) / sqrt(252 / 1259) is z = 1.45 or so
    z = (1.5 - LUCK["threshold"]) / np.sqrt((1 + 0.5 * 1.5**2 / 252) * 252 / (N - 1))
    assert metrics.stats.norm.ppf(expected) == pytest.approx(z, rel=0.02)


def test_the_interval_of_a_sharpe_ratio_is_two_standard_errors_wide():
    row = leaderboard([toy(sharpe=1.0)], LUCK).rows.iloc[0]
    assert row["sharpe_low"] == pytest.approx(1.0 - 1.96 * np.sqrt(252 / (N - 1)), abs=0.02)
    assert row["sharpe_high"] + row["sharpe_low"] == pytest.approx(2.0)


def test_one_row_per_model_and_ticker():
    rows = leaderboard([toy("A", ticker="MSFT"), toy("A", ticker="AAPL")], LUCK).rows
    assert set(zip(rows["name"], rows["ticker"], strict=True)) == {("A", "MSFT"), ("A", "AAPL")}


def test_overfitting_is_zero_when_one_model_always_wins_and_needs_two():
    assert leaderboard([toy("A", 0.0, seed=1), toy("B", 9.0, seed=2)], LUCK).luck["overfitting"] == 0.0
    assert np.isnan(leaderboard([toy()], LUCK).luck["overfitting"])


def forecasting(name, skill, seed=0, ticker="MSFT", n=N) -> Evaluation:
    """An evaluation whose forecast has this correlation with the outcome and the right size for it."""
    e = toy(name, ticker=ticker)
    y = 0.03 * np.random.default_rng(7).normal(size=n)
    noise = np.random.default_rng(seed).normal(size=n)
    said = 0.03 * skill * (skill * y / 0.03 + np.sqrt(1 - skill**2) * noise)
    frame = e.forecasts.iloc[:n].assign(y=y, forecast=said)
    return Evaluation(
        e.key, name, "toys", "regressor", ticker, 5, forecasts=frame, metrics=judge(frame, 5), meta=dict(META)
    )


def test_the_confidence_set_holds_the_skilled_and_loses_the_rest():
    good, fair, wild = forecasting("good", 0.4), forecasting("fair", 0.38, seed=1), toy("wild", seed=3)
    wild.forecasts["y"] = good.forecasts["y"]
    wild.forecasts["forecast"] = -good.forecasts["y"]
    result = leaderboard([good, fair, wild, lost("F", "failed", "no")], LUCK)
    inside = result.rows.set_index("name")["in_confidence_set"]
    assert inside["good"] is True
    assert inside["wild"] is False
    assert inside["F"] is None
    assert result.luck["spa_p"] < 0.01
    said = result.tests()
    assert said[0].startswith("Superior predictive ability (SPA): p = 0.00; one or more forecast better than the mean")
    assert said[1].startswith(f"The 90 % model confidence set holds {int(inside.eq(True).sum())} of 3")
    assert said[2].startswith("Probability of backtest overfitting (PBO): ")


def test_no_skill_is_no_superior_ability_and_several_tickers_are_several_chances():
    noise = [forecasting(f"n{i}", 0.0, seed=i + 20) for i in range(4)]
    for e in noise:
        e.forecasts["forecast"] += 0.003 * np.random.default_rng(int(e.model[1])).normal(size=N)
    assert leaderboard(noise, LUCK).luck["spa_p"] > 0.2
    assert "no model is shown to forecast better than the mean of the past does" in leaderboard(noise, LUCK).tests()[0]
    fair = [forecasting("fair", 0.13, seed=5, ticker=t) for t in ("MSFT", "AAPL")]
    one, both = leaderboard(fair[:1], LUCK).luck["spa_p"], leaderboard(fair, LUCK).luck["spa_p"]
    assert 0 < one < 1
    assert both == pytest.approx(min(1, 2 * one))  # Bonferroni: the tickers are the same here


def test_only_models_over_the_same_sessions_are_compared():
    many, short = [forecasting(n, 0.1, seed=i) for i, n in enumerate("ABC")], forecasting("S", 0.9, n=600)
    rows = leaderboard([short, *many], LUCK).rows.set_index("name")
    assert rows.loc["S", "in_confidence_set"] is None
    assert rows.loc[["A", "B", "C"], "in_confidence_set"].notna().all()


def test_tests_say_nothing_where_nothing_was_tested():
    assert leaderboard([], LUCK).tests() == []
    assert board.Leaderboard(pd.DataFrame({"status": ["ok"]}), {"trials": 1.0}).tests() == []  # of an earlier version


def test_the_same_results_give_the_same_tests():
    results = [forecasting(n, 0.1, seed=i) for i, n in enumerate("ABC")]
    one, again = leaderboard(results, LUCK), leaderboard(results[::-1], LUCK)
    pd.testing.assert_frame_equal(one.rows, again.rows)
    assert one.luck["spa_p"] == again.luck["spa_p"]


def test_the_luck_that_is_passed_is_not_written_to():
    before = dict(LUCK)
    leaderboard([toy()], LUCK)
    assert before == LUCK


# --- the verdict ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deflated", "figures", "expected"),
    [
        (0.99, {}, EVIDENCE),
        (0.95, {}, EVIDENCE),
        (0.94, {}, NO_EVIDENCE),
        (float("nan"), {}, NO_EVIDENCE),
        (0.99, {"r2_oos": -0.001}, NO_EVIDENCE),
        (0.99, {"r2_oos": float("nan")}, NO_EVIDENCE),
        (0.99, {"ic_t": 1.99}, NO_EVIDENCE),
        (0.99, {"information_ratio": -0.1}, NOT_BEYOND),
        (0.99, {"information_ratio": float("nan")}, NOT_BEYOND),
        (0.10, {"information_ratio": -0.1}, NO_EVIDENCE),
        (0.99, {"ic": 0.16}, SUSPECT),
        (0.10, {"ic": -0.16}, SUSPECT),
        (0.99, {"hit_rate": 0.61}, SUSPECT),
    ],
)
def test_the_verdict_table(deflated, figures, expected):
    assert verdict(toy(**(GOOD | figures)), deflated) == expected


def test_a_constant_forecast_is_no_signal_whatever_it_earned():
    assert verdict(toy(sharpe=5.0, constant=True, **GOOD), 0.99) == NO_SIGNAL


def test_too_good_over_few_sessions_is_no_suspicion_yet():
    e = toy(**(GOOD | {"ic": 0.3}))
    short = Evaluation(**{**vars(e), "forecasts": e.forecasts.iloc[:250]})
    assert verdict(short, 0.5) == NO_EVIDENCE


# --- the sentence ---------------------------------------------------------------------------------------------


def test_nothing_ran():
    assert "No model ran to the end" in leaderboard([lost("A", "failed", "x")], LUCK).sentence()
    empty = leaderboard([], LUCK)
    assert "No model ran to the end" in empty.sentence()
    assert list(empty.rows.columns) == COLUMNS


def test_one_skilled_model_is_named_in_the_singular():
    said = leaderboard([toy("A", 4.0, **GOOD), toy("B", 0.0, seed=1)], LUCK).sentence()
    assert "1 of 2 models shows evidence of skill" in said
    assert "20 trials" in said
    assert "A" in said


def test_several_skilled_models_are_counted():
    said = leaderboard([toy(n, 4.0, seed=i, **GOOD) for i, n in enumerate("ABCDE")], LUCK).sentence()
    assert "5 of 5 models show evidence of skill" in said


@pytest.mark.parametrize("sharpe", [-1.0, 0.5, 1.0])
def test_the_default_answer_is_that_no_model_shows_evidence(sharpe):
    result = leaderboard([toy("A", sharpe)], LUCK)
    assert result.sentence().startswith("No model shows evidence of skill after costs and 20 trials")
    assert result.sentence() in repr(result)


def test_the_odds_of_the_best_are_those_of_the_formula():
    # 1 - Phi(1 / 0.45) ** 20 = 0.23: about 2 of 10
    assert metrics.chance_of_best(1.0, 0.45, 20) == pytest.approx(0.23, abs=0.005)
    assert "2 of 10" in leaderboard([toy("A", 1.0)], LUCK).sentence()


def test_without_known_luck_no_odds_are_given():
    nothing = {"trials": 1.0, "effective": 1.0, "spread": float("nan"), "threshold": float("nan")}
    said = leaderboard([toy("A", 1.0)], nothing).sentence()
    assert said.startswith("No model shows evidence")
    assert "nan" not in said


def test_the_page_shows_no_key():
    html = leaderboard([toy()], LUCK)._repr_html_()
    assert "key-A" not in html
    assert "deflated_sharpe" in html


def test_a_name_is_escaped_on_the_page():
    assert "<script>" not in leaderboard([toy("<script>alert(1)</script>")], LUCK)._repr_html_()


def test_by_default_the_whole_ledger_deflates(monkeypatch):
    monkeypatch.setattr(trials, "luck", lambda: LUCK | {"threshold": 3.0})
    assert board.leaderboard([toy(sharpe=3.0)]).rows["deflated_sharpe"].iloc[0] == pytest.approx(0.5)
