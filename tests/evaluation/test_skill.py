"""Skill is what a model adds: exposure alone is none, and no number of copies, decoys or other spans changes that."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from rates import claimed

from mltrainer import metrics
from mltrainer.evaluation import judgments, skill
from mltrainer.evaluation.judging import judge as figures
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Evidence, Question, Trial, rank_products, timing_return, verdict

N, H = 2520, 5  # ten years
META = {"fit_seconds": 1.0, "predict_seconds": 0.1, "peak_mb": 99.0}


def market(seed: int, sharpe: float = 1.2, n: int = N) -> np.ndarray:
    """Session returns of a share that holding would earn this annual Sharpe ratio on, with fat tails."""
    noise = np.random.default_rng(seed).standard_t(5, n)
    return 0.012 * (noise / noise.std() + sharpe / np.sqrt(252))


def held(signs: np.ndarray) -> np.ndarray:
    """Position from daily signs: the mean of the last five, as they overlap, decided the session before."""
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([np.zeros(H), signs]), H)[: len(signs)].mean(axis=1)


def frame(b: np.ndarray, position: np.ndarray, forecast: np.ndarray | None = None, cost: float = 1e-4) -> pd.DataFrame:
    gross = position * b
    outcome = pd.Series(b).rolling(H).sum().shift(-H).ffill().to_numpy()
    return pd.DataFrame(
        {
            "y": outcome, "forecast": position if forecast is None else forecast, "scale": 1.0,
            "fold": np.repeat(np.arange(10.0), -(-len(b) // 10))[: len(b)], "lower": -0.1, "upper": 0.1,
            "expanding_mean": 0.0, "position": position, "gross": gross, "benchmark": b, "close": 50.0,
            "net": gross - cost * np.abs(np.diff(position, prepend=0.0)),
        },
        index=pd.bdate_range("2005-01-03", periods=len(b), name="session"),
    )  # fmt: skip


def evaluation(name: str, rows: pd.DataFrame, ticker: str = "MSFT", **meta: object) -> Evaluation:
    return Evaluation(
        f"{name}-{ticker}-{len(rows)}", name, "toys", "regressor", ticker, H, forecasts=rows,
        metrics=figures(rows, H), meta=META | meta,
    )  # fmt: skip


def verdicts(evaluations: list[Evaluation], **known: object) -> dict[str, str]:
    judged = skill.judge(judgments.grouped(evaluations).values(), **known)
    return {e.model: verdict(e, judged.evidence[e.trial]) for e in evaluations}


# --- the figure that is tested --------------------------------------------------------------------------------


def test_the_mean_of_the_timing_return_is_the_covariance_of_position_and_return_less_costs():
    rng = np.random.default_rng(0)
    b, w = market(0), held(rng.choice([-1.0, 0.5, 1.0], N))
    rows = frame(b, w)
    w, b = w[H + 1 :], b[H + 1 :]
    d = w - np.cumsum(w) / np.arange(1, len(w) + 1)
    costs = (rows["gross"] - rows["net"])[H + 1 :].mean()
    assert timing_return(rows, H).mean() == pytest.approx(np.cov(d, b, ddof=0)[0, 1] - costs, rel=1e-9)


@pytest.mark.parametrize("position", [1.0, -1.0, 0.6])
def test_a_constant_position_has_no_timing_at_all(position):
    rows = frame(market(1), np.full(N, position))
    assert (timing_return(rows, H) == 0).all()
    assert np.isnan(evaluation("held", rows).metrics["timing_sharpe"])
    assert evaluation("held", rows).metrics["beta"] == pytest.approx(position, abs=1e-4)


def test_learning_that_a_share_rises_is_no_timing():
    """Short for two years, then long for eight: net of the mean known so far alone, t would be 3.6 on average.

    300 worlds: 43 to 78 t lie in the normal's upper fifth, 6 to 25 in its upper twentieth.
    """
    w = np.where(np.arange(N) < N // 5, -1.0, 1.0)
    t = [metrics.newey_west_t(timing_return(frame(market(s), w), H), 24) for s in range(300)]
    plain = [metrics.newey_west_t(((w - np.cumsum(w) / np.arange(1, N + 1)) * market(s))[H:], 24) for s in range(60)]
    assert np.mean(plain) > 3
    assert abs(np.mean(t)) < 0.2
    assert claimed(np.sum(np.array(t) > 0.8416), 300, 0.2)
    assert claimed(np.sum(np.array(t) > 1.6449), 300, 0.05)


def test_alpha_and_beta_are_those_of_a_regression_with_hac_errors():
    b = market(2)
    r = 0.4 * b + 0.0004 + 0.004 * np.random.default_rng(3).normal(size=N)
    alpha, t, beta = metrics.market_model(r, b, lags=H)
    fit = sm.OLS(r, sm.add_constant(b)).fit(cov_type="HAC", cov_kwds={"maxlags": 2 * H})
    assert (alpha, beta) == pytest.approx(tuple(fit.params))
    assert t == pytest.approx(fit.tvalues[0], rel=1e-6)
    assert np.isnan(metrics.market_model(r, np.ones(N), lags=H)).all()


def test_the_mean_of_the_rank_products_is_the_information_coefficient():
    rng = np.random.default_rng(4)
    rows = frame(market(4), held(rng.choice([-1.0, 1.0], N)), forecast=rng.normal(size=N))
    ic, _ = metrics.information_coefficient(rows["y"], rows["forecast"], lags=H)
    assert rank_products(rows).mean() == pytest.approx(ic)
    assert rank_products(rows.assign(forecast=0.01)).empty


# --- what is no skill -----------------------------------------------------------------------------------------


def crowd(seed: int, b: np.ndarray) -> list[Evaluation]:
    """A long position, a short one, a random sign, and twenty noise models that are long nine days of ten."""
    rng = np.random.default_rng(seed)
    signs = {"long": np.ones(N), "short": -np.ones(N), "random": rng.choice([-1.0, 1.0], N)}
    signs |= {f"noise{i}": np.where(rng.random(N) < 0.9, 1.0, -1.0) for i in range(20)}
    noise = {name: rng.normal(size=N) for name in signs}
    return [evaluation(name, frame(b, held(s), forecast=noise[name] + s)) for name, s in signs.items()]


def test_exposure_to_a_rising_share_is_never_evidence():
    """Eight worlds of 23 models without skill: at most one is called (5 % of worlds passes that once in 20).

    A model that knows something is called in each of three of them, so that a verdict which never says yes fails.
    """
    skilled = [v for seed in range(8) for v in verdicts(crowd(seed, market(seed))).values() if skill.shows(v)]
    assert len(skilled) <= 1
    for seed in range(3):
        b = market(seed)
        assert skill.shows(verdicts([*crowd(seed, b), knowing(seed, b, 0.1)])["knowing"])
    long = crowd(0, market(0))[0]
    assert long.metrics["sharpe"] > 1.0
    assert not skill.shows(verdicts([long])["long"])


def knowing(seed: int, b: np.ndarray, share: float) -> Evaluation:
    """A model whose sign is that of the coming session's return on `share` more than half of the days."""
    rng = np.random.default_rng(seed)
    ahead = np.sign(np.concatenate([b[1:], [0.0]]))
    signs = np.where(rng.random(N) < 0.5 + share, ahead, -ahead)
    noise = rng.normal(size=N)
    return evaluation("knowing", frame(b, np.concatenate([[0.0], signs[:-1]]), forecast=signs + noise))


def test_skill_in_a_crowd_is_found_and_said_in_words():
    b = market(11)
    found = verdicts([*crowd(11, b), knowing(11, b, 0.07)])
    assert found["knowing"].startswith("evidence of skill: ")
    assert "it pays after costs" in found["knowing"]
    assert not skill.shows(found["long"])


# --- copies, decoys, deleted rows, other spans ----------------------------------------------------------------


def p_of(evaluations: list[Evaluation], model: str = "knowing", **known: object) -> float:
    judged = skill.judge(judgments.grouped(evaluations).values(), **known)
    return next(judged.evidence[e.trial].p_pays for e in evaluations if e.model == model)


def near_copies(e: Evaluation, k: int) -> list[Evaluation]:
    rng, signs = np.random.default_rng(5), np.sign(e.forecasts["position"].to_numpy())
    out = []
    for i in range(k):
        flipped = np.where(rng.random(N) < 0.01, -signs, signs)
        rows = frame(e.forecasts["benchmark"].to_numpy(), flipped, forecast=e.forecasts["forecast"].to_numpy() + i)
        out.append(evaluation(f"copy{i}", rows))
    return out


def test_near_copies_cost_little_decoys_what_they_are_worth_and_neither_buys_anything():
    b = market(12)
    model = knowing(12, b, 0.045)
    alone, crowded = p_of([model]), p_of([model, *crowd(12, b)])
    copied = p_of([model, *near_copies(model, 40)])
    assert alone <= crowded
    assert alone <= copied
    assert copied < crowded
    both = p_of([model, *crowd(12, b), *near_copies(model, 40)])
    assert both >= crowded - 1e-9  # copies among decoys do not make the decoys fewer


def test_a_model_that_trades_once_in_ten_years_is_no_decoy_against_the_others():
    b = market(17)
    model = knowing(17, b, 0.05)
    once = evaluation("once", frame(b, np.where(np.arange(N) < N // 2, 0.0, 1e-3) + 1.0))
    assert p_of([model, once]) < 2.5 * p_of([model]) + 0.01


def test_trials_known_to_be_lost_count_as_independent_ones():
    b = market(13)
    model = knowing(13, b, 0.05)
    question = Question(("MSFT",), H)
    few, many = p_of([model]), p_of([model], lost={question: 50})
    assert many > few
    assert skill.judge(judgments.grouped([model]).values(), lost={question: 50}).luck["effective"] >= 51


def test_another_question_costs_as_bonferroni_says():
    b = market(14)
    model = knowing(14, b, 0.05)
    other = dataclasses.replace(crowd(14, b)[5], ticker="AAPL", key="other")
    assert p_of([model, other]) == pytest.approx(min(1.0, 2 * p_of([model])))


def test_each_span_has_its_own_luck():
    # five tests of ten years and thirty of two: in units of their own errors they share one largest t, and no Sharpe
    long, short = market(15), market(16, n=504)
    rng = np.random.default_rng(0)
    ten = [evaluation(f"ten{i}", frame(long, held(rng.choice([-1.0, 1.0], N)))) for i in range(5)]
    two = [evaluation(f"two{i}", frame(short, held(rng.choice([-1.0, 1.0], 504)))) for i in range(30)]
    luck = skill.judge(judgments.grouped([*ten, *two]).values()).luck
    from mltrainer.evaluation.leaderboard import leaderboard

    rows = leaderboard([*ten, *two], skill.judge(judgments.grouped([*ten, *two]).values())).rows.set_index("name")
    by = {n: rows.loc[n, "timing_luck"] for n in ("ten0", "two0")}
    assert by["ten0"] == pytest.approx(luck["best"] * np.sqrt(252 / (N - H - 1)))
    assert by["two0"] / by["ten0"] == pytest.approx(np.sqrt((N - H - 1) / (504 - H - 1)))


def test_a_panel_is_one_trial_of_the_mean_over_its_tickers():
    frames = {t: frame(market(s), held(np.random.default_rng(s).choice([-1.0, 1.0], N))) for s, t in enumerate("AB")}
    together = [evaluation("M", f, t, trial="panel") for t, f in frames.items()]
    (trial,) = judgments.grouped(together).values()
    assert trial.question == Question(("A", "B"), H)
    expected = (timing_return(frames["A"], H) + timing_return(frames["B"], H)) / 2
    pd.testing.assert_series_equal(trial.pays, expected, check_names=False)


# --- what is too good -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "n", "strong"),
    [
        ({"ic": 0.15, "ic_t": 2.0}, 300, False),  # common noise over 300 rows at horizon 5
        ({"ic": -0.30, "ic_t": -6.0}, 2500, False),  # bad is not suspicious
        ({"ic": 0.14, "ic_t": 4.0}, 2500, False),
        ({"ic": 0.32, "ic_t": 8.0}, 2500, True),
        ({"hit_rate": 0.62, "hit_base": 0.60}, 2500, False),  # a share that rises on 60 % of days
        ({"hit_rate": 0.62, "hit_base": 0.52}, 2500, True),
        ({"timing_sharpe": 1.8}, 2500, False),
        ({"timing_sharpe": 3.0}, 2500, True),
        ({"timing_sharpe": float("nan"), "ic": float("nan"), "ic_t": float("nan")}, 2500, False),
    ],
)
def test_suspicion_follows_evidence_and_not_size(figures, n, strong):
    usual = {"ic": 0.0, "ic_t": 0.5, "hit_rate": 0.52, "hit_base": 0.52, "timing_sharpe": 0.0}
    assert skill.unusually_strong(usual | figures, n, 5) is strong


# --- the words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knows", "pays", "lookahead", "expected"),
    [
        (0.20, 0.20, None, "no evidence of skill"),
        (0.05, 0.20, None, "evidence of skill: the forecast knows something"),
        (0.20, 0.05, None, "evidence of skill: it pays after costs"),
        (0.01, 0.01, None, "evidence of skill: the forecast knows something and it pays after costs"),
        (0.051, 0.051, None, "no evidence of skill"),
        (np.nan, np.nan, None, "no evidence of skill"),
        (0.01, 0.20, "", "evidence of skill: the forecast knows something, unusually strong; the leak test passed"),
        (0.20, 0.20, "", "no evidence of skill"),
        (0.01, 0.01, "its forecast of 2006-01-03 moves", "suspected leakage: its forecast of 2006-01-03 moves"),
        (0.99, 0.99, "its forecast of 2006-01-03 moves", "suspected leakage: its forecast of 2006-01-03 moves"),
    ],
)
def test_the_verdict_table(knows, pays, lookahead, expected):
    rng = np.random.default_rng(0)
    e = evaluation("A", frame(market(0), held(rng.choice([-1.0, 1.0], N)), forecast=rng.normal(size=N)))
    if lookahead is not None:
        e.meta["lookahead"] = lookahead
    assert verdict(e, Evidence(p_knows=knows, p_pays=pays)) == expected


def test_a_constant_forecast_is_no_signal_whatever_it_earned():
    e = evaluation("A", frame(market(0), np.ones(N), forecast=np.full(N, 0.01)))
    assert verdict(e, Evidence(p_pays=0.001)) == "no signal: the forecast is constant"


def test_nothing_tried_is_nothing_judged():
    judged = skill.judge([])
    assert judged.evidence == {}
    assert judged.luck["trials"] == judged.luck["effective"] == 0
    assert np.isnan(judged.luck["threshold"])


def test_too_short_for_a_timing_return_is_not_tested():
    rows = frame(market(0, n=4), np.ones(4))
    assert Trial.of("k", H, {"MSFT": rows}).pays.empty
    judged = skill.judge([Trial.of("k", H, {"MSFT": rows})])
    assert np.isnan(judged.evidence["k"].p_pays)
