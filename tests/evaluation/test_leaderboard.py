"""The ranking, the verdict and the sentence say no more than the numbers do."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mltrainer import metrics
from mltrainer.evaluation import judgments, skill
from mltrainer.evaluation import leaderboard as board
from mltrainer.evaluation.judging import judge
from mltrainer.evaluation.leaderboard import COLUMNS
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Judgment

# design.md, section 7: leaderboard.csv
PROMISED = (
    "name, family, task, ticker, status, verdict, mse, mae, r2, r2_oos, mape, ic, ic_t, hit_rate, sharpe, "
    "deflated_sharpe, sortino, calmar, max_drawdown, value_at_risk, expected_shortfall, profit_factor, win_rate, "
    "turnover, breakeven_bps, information_ratio, coverage, fit_seconds, predict_seconds, peak_mb"
).split(", ")
N = 1260  # five years
BEST = metrics.luck_threshold(1.0, 20)  # the largest t to expect of twenty trials without skill
LUCK = {"trials": 20.0, "effective": 20.0, "spread": 1.0, "best": BEST, "threshold": BEST * np.sqrt(252 / N)}
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


def leaderboard(results, luck=LUCK) -> board.Leaderboard:
    """Ranked by the tests of these results alone, with the luck of twenty trials."""
    evidence = skill.judge(judgments.grouped(e for e in results if e.ok).values()).evidence
    return board.leaderboard(results, Judgment(evidence, luck))


def timing(name, sharpe, seed=0) -> Evaluation:
    """An evaluation whose timing alone has about this annual Sharpe ratio."""
    rng = np.random.default_rng(seed)
    signs, e = rng.choice([-1.0, 1.0], N), toy(name, seed=seed)
    b = 0.01 * (rng.normal(size=N) + signs * sharpe / np.sqrt(252))
    rows = e.forecasts.assign(position=signs, gross=signs * b, net=signs * b, benchmark=b)
    rows["forecast"] = rng.normal(size=N)
    return Evaluation(e.key, name, "toys", "regressor", "MSFT", 5, forecasts=rows, metrics=judge(rows, 5), meta=META)


def lost(name, status, reason) -> Evaluation:
    return Evaluation(f"key-{name}", name, "toys", "regressor", "MSFT", 5, status=status, reason=reason)


# --- columns and order ----------------------------------------------------------------------------------------


def test_columns_are_the_promised_ones_first_and_in_that_order():
    rows = leaderboard([toy()]).rows
    assert list(rows.columns[: len(PROMISED)]) == PROMISED
    assert list(rows.columns) == COLUMNS
    assert not rows[PROMISED].iloc[0].isna().any()


def test_the_strongest_evidence_is_first_then_the_best_deflated_sharpe():
    skilled, none = timing("B", 4.0), [toy("C", 0.5), toy("A", 2.0, seed=1)]
    rows = leaderboard([*none, skilled]).rows
    assert rows["name"].iloc[0] == "B"
    p = rows[["p_knows", "p_pays"]].min(axis=1)
    assert p.is_monotonic_increasing
    tied = rows[p == 1.0]
    assert tied["deflated_sharpe"].is_monotonic_decreasing


def test_without_known_luck_nothing_is_deflated():
    rows = leaderboard([toy("A", 0.5), toy("B", 2.0)], LUCK | {"best": np.nan}).rows
    assert rows["deflated_sharpe"].isna().all()
    assert not rows["verdict"].map(skill.shows).any()


def test_what_did_not_run_stands_last_with_its_reason():
    missing, broken = lost("M", "unavailable", "no library"), lost("F", "failed", "ValueError: no")
    rows = leaderboard([missing, toy("A", np.nan), broken, toy("B", -3.0)]).rows
    assert set(rows["name"][:2]) == {"B", "A"}
    assert set(rows["name"][2:]) == {"M", "F"}
    last = rows.set_index("name").loc[["M", "F"]]
    assert list(last["reason"]) == ["no library", "ValueError: no"]
    assert list(last["verdict"]) == list(last["status"]) == ["unavailable", "failed"]
    assert last[PROMISED[6:]].isna().all().all()


def test_a_figure_that_is_undefined_stays_undefined():
    rows = leaderboard([toy(calmar=float("nan"))]).rows
    assert np.isnan(rows["calmar"].iloc[0])


def test_deflated_sharpe_is_the_probability_that_the_timing_beats_luck():
    e = timing("A", 1.5)
    row = leaderboard([e]).rows.iloc[0]
    returns = skill.timing_return(e.forecasts, 5)
    luck = BEST * np.sqrt(252 / len(returns))
    assert row["deflated_sharpe"] == metrics.probabilistic_sharpe(returns, benchmark=luck)
    # by hand: normal returns, so z is (Sharpe - luck) / sqrt((1 + Sharpe^2 / 2 / 252) 252 / (n - 1))
    sharpe = metrics.sharpe(returns)
    z = (sharpe - luck) / np.sqrt((1 + 0.5 * sharpe**2 / 252) * 252 / (len(returns) - 1))
    assert stats.norm.ppf(row["deflated_sharpe"]) == pytest.approx(z, rel=0.02)


def test_the_interval_of_a_sharpe_ratio_is_two_standard_errors_wide():
    row = leaderboard([toy(sharpe=1.0)]).rows.iloc[0]
    assert row["sharpe_low"] == pytest.approx(1.0 - 1.96 * np.sqrt(252 / (N - 1)), abs=0.02)
    assert row["sharpe_high"] + row["sharpe_low"] == pytest.approx(2.0)


def test_one_row_per_model_and_ticker():
    rows = leaderboard([toy("A", ticker="MSFT"), toy("A", ticker="AAPL")]).rows
    assert set(zip(rows["name"], rows["ticker"], strict=True)) == {("A", "MSFT"), ("A", "AAPL")}


def test_overfitting_is_zero_when_one_model_always_wins_and_needs_two():
    assert leaderboard([toy("A", 0.0, seed=1), toy("B", 9.0, seed=2)]).luck["overfitting"] == 0.0
    assert np.isnan(leaderboard([toy()]).luck["overfitting"])


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
    result = leaderboard([good, fair, wild, lost("F", "failed", "no")])
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
    assert leaderboard(noise).luck["spa_p"] > 0.2
    assert "no model is shown to forecast better than the mean of the past does" in leaderboard(noise).tests()[0]
    fair = [forecasting("fair", 0.13, seed=5, ticker=t) for t in ("MSFT", "AAPL")]
    one, both = leaderboard(fair[:1]).luck["spa_p"], leaderboard(fair).luck["spa_p"]
    assert 0 < one < 1
    assert both == pytest.approx(min(1, 2 * one))  # Bonferroni: the tickers are the same here


def test_only_models_over_the_same_sessions_are_compared():
    many, short = [forecasting(n, 0.1, seed=i) for i, n in enumerate("ABC")], forecasting("S", 0.9, n=600)
    rows = leaderboard([short, *many]).rows.set_index("name")
    assert rows.loc["S", "in_confidence_set"] is None
    assert rows.loc[["A", "B", "C"], "in_confidence_set"].notna().all()


def test_tests_say_nothing_where_nothing_was_tested():
    assert leaderboard([]).tests() == []
    assert board.Leaderboard(pd.DataFrame({"status": ["ok"]}), {"trials": 1.0}).tests() == []  # of an earlier version


def test_the_same_results_give_the_same_tests():
    results = [forecasting(n, 0.1, seed=i) for i, n in enumerate("ABC")]
    one, again = leaderboard(results), leaderboard(results[::-1])
    pd.testing.assert_frame_equal(one.rows, again.rows)
    assert one.luck["spa_p"] == again.luck["spa_p"]


def test_the_luck_that_is_passed_is_not_written_to():
    before = dict(LUCK)
    leaderboard([toy()])
    assert before == LUCK


# --- the sentence ---------------------------------------------------------------------------------------------


def test_nothing_ran():
    assert "No model ran to the end" in leaderboard([lost("A", "failed", "x")]).sentence()
    empty = leaderboard([])
    assert "No model ran to the end" in empty.sentence()
    assert list(empty.rows.columns) == COLUMNS


def test_one_skilled_model_is_named_in_the_singular_with_what_it_can():
    said = leaderboard([timing("A", 4.0), toy("B", 0.0, seed=1)]).sentence()
    assert said == "1 of 2 models shows evidence of skill after costs and 20 trials: A (it pays after costs)."


def test_several_skilled_models_are_counted():
    said = leaderboard([timing(n, 4.0, seed=i) for i, n in enumerate("ABCDE")]).sentence()
    assert "5 of 5 models show evidence of skill" in said


@pytest.mark.parametrize("sharpe", [-1.0, 0.5, 1.0])
def test_the_default_answer_is_that_no_model_shows_evidence(sharpe):
    result = leaderboard([toy("A", sharpe)])
    assert result.sentence().startswith("No model shows evidence of skill after costs and 20 trials")
    assert result.sentence() in repr(result)


def test_the_odds_of_the_best_are_its_adjusted_p_value():
    result = leaderboard([toy(n, 0.3, seed=i) for i, n in enumerate("ABC")])
    p = result.rows.iloc[0][["p_knows", "p_pays"]].min()
    told = "in nearly every such search" if p > 0.95 else f"in about {max(1, round(10 * p))} of 10 such searches"
    assert told in result.sentence()


def test_the_page_shows_no_key():
    html = leaderboard([toy()])._repr_html_()
    assert "key-A" not in html
    assert "deflated_sharpe" in html


def test_a_name_is_escaped_on_the_page():
    assert "<script>" not in leaderboard([toy("<script>alert(1)</script>")])._repr_html_()


def test_by_default_the_whole_ledger_judges(monkeypatch):
    monkeypatch.setattr(judgments, "judgment", lambda results: Judgment({}, LUCK | {"best": 99.0}))
    assert board.leaderboard([timing("A", 3.0)]).rows["deflated_sharpe"].iloc[0] == pytest.approx(0.0)
