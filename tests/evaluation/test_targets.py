"""What can be forecast besides the return: labels, what they are measured against, and the verdict on each."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from rates import claimed
from sklearn.linear_model import Ridge

import mltrainer as mt
from mltrainer.errors import BadInput, Unavailable, UnknownName
from mltrainer.evaluation import judgments, lookahead, positions, skill, study
from mltrainer.evaluation.baselines import PREFIX, baselines, compared, fitted, gain, least_squares
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.panels import places
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.skill import SIZE
from mltrainer.evaluation.splits import Fold
from mltrainer.features import targets
from mltrainer.features.targets import TARGETS
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec, scaled
from mltrainer.models.linear import RIDGE

SPAN = {"start": "2000-03-01", "end": "2009-12-31"}  # with opens, highs and lows
CLOSES = {"start": "1992-01-02", "end": "1999-12-31"}
NAMES = ("AAPL", "AMD", "BAC", "MSFT", "XOM")


@pytest.fixture
def bars():
    return mt.bars("MSFT", **SPAN)


@pytest.fixture
def variance(bars):
    return study.matrix(bars, target="volatility")


def test_a_days_variance_is_garman_and_klass_and_the_move_overnight():
    """By hand: H/L = e^0.02, C/O = e^0.01, overnight e^0.005."""
    day = {"open": np.exp([0.0, 0.005]), "high": np.exp([0.0, 0.02]), "low": np.exp([0.0, 0.0]),
           "close": np.exp([0.0, 0.015])}  # fmt: skip
    expected = 0.5 * 0.02**2 - (2 * np.log(2) - 1) * 0.01**2 + 0.005**2
    assert targets.realized_variance(pd.DataFrame(day)).iloc[1] == pytest.approx(expected)
    closes = pd.DataFrame({"close": np.exp([0.0, 0.015])})
    assert targets.realized_variance(closes).iloc[1] == pytest.approx(0.015**2)


@pytest.mark.parametrize("horizon", [1, 5])
@pytest.mark.parametrize("name", [n for n, t in TARGETS.items() if not t.cross_sectional and n != "excess"])
def test_a_label_is_of_the_sessions_after_its_row_and_known_after_its_purge(bars, name, horizon):
    frame, aim, cut = bars.frame.iloc[:300], TARGETS[name], 200
    parts = aim.parts(frame, None, horizon)
    other = frame.copy()
    other.iloc[cut + 1 :] *= np.linspace(0.5, 2.0, len(other) - cut - 1)[:, None]
    again = aim.parts(other, None, horizon)
    known = cut - aim.purge(horizon)
    pd.testing.assert_series_equal(parts.y.iloc[: known + 1], again.y.iloc[: known + 1])
    assert parts.y.iloc[known + 1] != again.y.iloc[known + 1] or name == "direction"
    pd.testing.assert_frame_equal(parts.past.iloc[: cut + 1], again.past.iloc[: cut + 1])
    assert parts.y.iloc[-aim.purge(horizon) :].isna().all()


def test_the_return_over_the_market_is_geometric(bars):
    market = pd.DataFrame({"open": 50.0, "close": np.linspace(50, 60, len(bars.frame))}, index=bars.frame.index)
    market["open"] = market["close"]
    own = targets.returns(bars.frame, None, 5).y
    index = targets.forward_return(market["open"], 5)
    over = targets.excess(bars.frame, market, 5).y
    np.testing.assert_allclose(over.dropna(), ((1 + own) / (1 + index) - 1).dropna(), atol=1e-12)
    with pytest.raises(Unavailable, match="the market itself"):
        targets.excess(bars.frame, bars.frame, 5)
    with pytest.raises(Unavailable, match="needs an index"):
        targets.excess(bars.frame, None, 5)


def test_har_is_least_squares_of_statsmodels_on_the_train_rows(variance):
    y = variance.y.dropna()
    cuts = list(Protocol().split.split(len(y), 5, variance.X.shape[1]))
    frame = baselines(variance, y, cuts, *places(variance, y.index))
    cut = cuts[1]
    X = sm.add_constant(variance.past.loc[y.index, ["session", "week", "month"]].to_numpy())
    expected = sm.OLS(y.to_numpy()[cut.train], X[cut.train]).fit().predict(X[cut.test])
    np.testing.assert_allclose(frame[PREFIX + "HAR"].to_numpy()[cut.test], expected, atol=1e-10)


def test_a_baseline_that_was_fitted_before_is_that_of_the_same_labels_past_and_folds():
    rng, rows = np.random.default_rng(0), np.arange(400)
    X, y, late = rng.normal(size=(400, 1)), rng.normal(size=400), np.full(400, -1)
    cuts = [Fold(np.arange(200), np.arange(210, 300)), Fold(np.arange(290), np.arange(300, 400))]
    given = {"X": X, "y": y, "cuts": cuts, "session": rows, "late": late}
    plain = fitted(**given)
    other = {
        "X": np.where(rows == 5, 9.0, X[:, 0])[:, None],
        "y": np.where(rows == 5, 9.0, y),
        "cuts": [Fold(np.arange(150), np.arange(210, 300)), cuts[1]],
        "session": np.where(rows == 5, 205, rows),
        "late": np.where(rows == 5, 300, -1),
    }
    for name, value in other.items():
        again = fitted(**given | {name: value})
        assert not np.array_equal(again, plain, equal_nan=True), name
        np.testing.assert_array_equal(again, least_squares(**given | {name: value}))
    assert fitted(**given) is plain
    with pytest.raises(ValueError, match="read-only"):
        plain[0] = 0.0


def test_the_ewma_of_variance_is_riskmetrics(bars, variance):
    """arch's EWMAVariance with lambda 0.94 on the same variances, once its start is forgotten."""
    x = targets.realized_variance(bars.frame).dropna().to_numpy()
    level = x[0]
    for value in x[1:]:
        level = 0.94 * level + 0.06 * value
    assert variance.past["ewma"].iloc[-1] == pytest.approx(np.log(level), rel=1e-6)


def test_models_of_the_catalog_see_what_har_sees_and_do_not_beat_it(variance):
    e = evaluate(catalog.spec("RidgeRegression"), variance, Protocol())
    assert {"past_session", "past_week", "past_month"} <= set(variance.X)
    assert e.meta["baseline"] == "HAR"
    assert e.metrics["gain"] < 0
    judged = skill.judge(judgments.grouped([e]).values()).evidence[e.trial]
    assert judged.p_knows > 0.5
    assert skill.verdict(e, judged) == skill.NO_EVIDENCE


def test_the_gain_is_the_share_of_the_best_baselines_loss(variance):
    e = evaluate(catalog.spec("RidgeRegression"), variance, Protocol())
    f, aim = e.forecasts, TARGETS["volatility"]
    mine, its = ((f["y"] - f[c]) ** 2 for c in ("forecast", "baseline"))
    assert e.metrics["gain"] == pytest.approx(1 - mine.mean() / its.mean())
    assert min(e.meta["baselines"].values()) == pytest.approx(its.mean())
    assert gain(f.assign(forecast=f["baseline"]), 5, aim)["gain"] == 0.0


@pytest.mark.parametrize(("planted", "found"), [(0.0, False), (1.0, True)])
def test_what_is_planted_beyond_har_is_found_and_nothing_where_nothing_is(variance, planted, found):
    """The label is HAR's own forecast and noise; a column knows half of the noise, or is noise itself."""
    rng = np.random.default_rng(7)
    noise, other = rng.normal(size=(2, len(variance.y)))
    known = pd.Series(noise if planted else other, index=variance.y.index)
    y = variance.past[["session", "week", "month"]].mean(axis=1) + noise + rng.normal(size=len(noise))
    X = variance.past[["session", "week", "month"]].assign(lead=known)
    world = dataclasses.replace(variance, X=X, y=y.where(variance.y.notna()), sources=())
    spec = ModelSpec("plain", RIDGE, scaled(Ridge(1e-3)), 0.1, family="linear")
    e = evaluate(spec, world, Protocol())
    evidence = skill.judge(judgments.grouped([e]).values()).evidence[e.trial]
    assert (evidence.p_knows <= SIZE) == found
    assert ("better than HAR" in skill.verdict(e, evidence)) == found


@pytest.mark.slow
def test_the_test_against_a_baseline_has_its_size():
    """300 pairs of forecasts that are equally good, with errors that overlap by five: 6 to 25 are called, as of 5 %."""
    called, n, h = 0, 1000, 5
    for seed in range(300):
        rng = np.random.default_rng(seed)
        u, v, w = (np.convolve(rng.normal(size=n + h - 1), np.ones(h), "valid") for _ in range(3))
        frame = pd.DataFrame({"y": u, "forecast": 0.3 * v, "baseline": 0.3 * w, "position": 0.0, "benchmark": 0.0,
                              "gross": 0.0, "net": 0.0, "scale": 1.0, "fold": 0.0})  # fmt: skip
        trial = skill.Trial.of("k", h, {"X": frame}, "volatility")
        called += skill.judge([trial]).evidence["k"].p_knows <= SIZE
    assert claimed(called, 300, 0.05)


def test_a_probability_stays_one_and_is_proved_by_its_brier_score():
    m = study.matrix("MSFT", target="direction", **SPAN)
    assert set(m.y.dropna()) == {0.0, 1.0}
    e = evaluate(catalog.spec("LogisticRegression"), m, Protocol())
    assert e.forecasts["forecast"].between(0, 1).all()
    f = e.forecasts
    assert e.metrics["loss"] == pytest.approx(((f["y"] - f["forecast"]) ** 2).mean())
    np.testing.assert_array_equal(np.sign(f["forecast"] - 0.5), positions.decided(f, m.aim))


def test_a_variance_forecast_holds_ten_percent_a_year_and_never_more_than_all():
    frame = pd.DataFrame({"forecast": np.log([(0.2**2) / 252, (0.05**2) / 252])})
    np.testing.assert_allclose(positions.decided(frame, TARGETS["volatility"]), [0.5, 1.0])


def test_a_model_that_reads_returns_says_why_it_does_not_answer(variance):
    e = evaluate(catalog.spec("Theta"), variance, Protocol())
    assert e.status == "unavailable"
    assert "reads the past returns" in e.reason
    with pytest.raises(BadInput, match="reads past returns"):
        mt.model("Theta").train(variance)


def test_a_rank_is_of_names_side_by_side_and_pays_by_fifths():
    panel = study.matrix(list(NAMES), target="rank", **CLOSES)
    whole = panel.y.dropna().groupby(level="session").apply(sorted)
    assert whole.iloc[0] == pytest.approx([-0.4, -0.2, 0.0, 0.2, 0.4])
    results = mt.evaluate("RidgeRegression", panel)
    held = pd.concat([e.forecasts["position"] for e in results], axis=1).iloc[10:]
    np.testing.assert_allclose(held.sum(axis=1), 0, atol=1e-12)
    assert held.abs().sum(axis=1).max() <= 2 + 1e-12
    (trial,) = judgments.grouped(results).values()
    assert trial.question.target == "rank"
    assert trial.knows.between(-1, 1).all()
    with pytest.raises(BadInput, match="at least 5"):
        mt.evaluate("RidgeRegression", "MSFT", target="rank", **SPAN)


def test_no_variance_forecast_moves_when_the_future_is_rewritten(variance):
    assert lookahead.forecast_moves(catalog.spec("RidgeRegression"), variance, Protocol()) == ""


def test_what_a_source_lacks_is_said_and_nothing_invented():
    with pytest.raises(Unavailable, match="MSFT, target range: the range needs highs and lows"):
        study.matrix("MSFT", target="range", **CLOSES)
    with pytest.raises(UnknownName, match="no target is called 'volatilty'; close: volatility"):
        study.matrix("MSFT", target="volatilty")
    with pytest.raises(BadInput, match="of target return, not volatility"):
        study.matrix(study.matrix("MSFT", **SPAN), target="volatility")


def test_a_kept_model_forecasts_the_target_it_was_trained_on(variance):
    early = study.matrix("MSFT", target="volatility", start="2000-03-01", end="2008-12-31")
    trained = mt.model("LassoRegression")
    address = trained.train(early).save()
    forecast = mt.model("LassoRegression").load(address).predict(variance)
    assert forecast.target == "volatility"
    assert "volatility -" in repr(forecast)
    assert forecast.covered(variance.y) > 0.7
    with pytest.raises(BadInput, match="not trained on a matrix of return"):
        trained.predict(study.matrix("MSFT", **SPAN))


def test_the_baseline_is_the_hardest_to_beat():
    y = np.array([1.0, 2.0, 3.0])
    frame = pd.DataFrame({"y": y, PREFIX + "last": y + 1, PREFIX + "HAR": y + 0.5, PREFIX + "EWMA": y + 2,
                          PREFIX + "AR(1)": y + 3, "expanding_mean": y + 4})  # fmt: skip
    kept, chosen = compared(frame, TARGETS["volatility"])
    assert chosen["baseline"] == "HAR"
    assert chosen["baselines"]["last"] == 1.0
    assert list(kept) == ["y", "expanding_mean", "baseline"]
