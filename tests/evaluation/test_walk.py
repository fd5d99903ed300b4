"""One model, judged out of sample: positions and costs by hand, honest intervals, and failures that say why."""

import dataclasses
import sys
import warnings
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from mltrainer import metrics
from mltrainer.evaluation import judging, leaderboard, skill, walk
from mltrainer.evaluation.judging import constant_forecast, evaluate, judge
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import MEASURED, Evaluation
from mltrainer.evaluation.scaling import quantiles
from mltrainer.evaluation.skill import NO_EVIDENCE, NO_SIGNAL, Evidence
from mltrainer.evaluation.splits import WalkForward
from mltrainer.evaluation.trading import conformal_interval, trade
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import Lazy, Method, ModelSpec

METHOD = Method("toy", "toy", "x", "x", "x", "x", "x")


def toy(estimator, **knobs) -> ModelSpec:
    return ModelSpec("Toy", METHOD, estimator, 0.1, "toys", **knobs)


class Smoothed(RegressorMixin, BaseEstimator):
    """Says of each row of a block what became of it."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return np.zeros(len(X))

    def filter(self, X, y, lag):
        return np.nan_to_num(np.asarray(y, dtype=float))


class Recorder(RegressorMixin, BaseEstimator):
    """Keeps what it was shown and forecasts the first feature."""

    seen: list = []  # noqa: RUF012 - a clone must write where the test reads

    def fit(self, X, y):
        Recorder.seen.append((X, y))
        return self

    def predict(self, X):
        return X[:, 0]


class Threads(DummyRegressor):
    """Notes how many threads libraries have while it is fitted."""

    seen: set = set()  # noqa: RUF012 - as above

    def fit(self, X, y):
        Threads.seen |= {library["num_threads"] for library in threadpool_info()}
        return super().fit(X, y)


class Broken(RegressorMixin, BaseEstimator):
    """Fails in the way it is told to."""

    def __init__(self, how="raise"):
        self.how = how

    def fit(self, X, y):
        if self.how == "memory":
            raise MemoryError
        if self.how == "raise":
            raise ValueError("the kernel is not positive\nsecond line")
        return self

    def predict(self, X):
        if self.how == "warn":
            warnings.warn("nearly singular", RuntimeWarning, stacklevel=1)
            return X[:, 0]
        return np.full(len(X), np.inf)


@pytest.fixture
def recorder():
    Recorder.seen = []
    return toy(Recorder())


def small(entry, horizon=2) -> Matrix:
    """A matrix that is all prices: what `trade` reads."""
    index = pd.bdate_range("2010-01-04", periods=len(entry), name="session")
    prices = pd.DataFrame({"entry": entry, "close": entry}, index=index, dtype=float)
    nothing = pd.Series(0.0, index)
    return Matrix(prices, nothing, nothing, prices, horizon, "TOY")


def said(index, forecast, y=None) -> pd.DataFrame:
    n = len(forecast)
    columns = {"y": np.zeros(n) if y is None else y, "forecast": forecast, "scale": 1.0, "fold": 0.0}
    return pd.DataFrame(columns, index=index[:n], dtype=float)


# --- trading --------------------------------------------------------------------------------------------------


def test_positions_costs_and_returns_of_a_toy_forecast_by_hand():
    """Horizon 2, 10 basis points. Signs + + - 0 - : a session holds half of each of the two decisions before it."""
    m = small([100.0, 110.0, 99.0, 99.0, 108.9, 98.01])
    out = trade(said(m.X.index, [0.3, 0.1, -0.2, 0.0, -0.9]), m, Protocol(cost_bps=10))
    assert_allclose(out["position"], [0.0, 0.5, 1.0, 0.0, -0.5])
    assert_allclose(out["gross"], [0.0, 0.5 * -0.1, 0.0, 0.0, -0.5 * -0.1], atol=1e-12)
    assert_allclose(out["net"], [0.0, -0.05 - 0.0005, -0.0005, -0.001, 0.05 - 0.0005], atol=1e-12)
    assert_allclose(out["benchmark"], [0.1 - 0.001, -0.1, 0.0, 0.1, -0.1], atol=1e-12)
    assert_array_equal(out["close"], m.prices["close"].iloc[:5])


def test_a_forecast_earns_exactly_the_return_it_was_of():
    """One decision alone, horizon 1: the session after next's open over the next's, which is the label."""
    m = small([100.0, 103.0, 101.0, 107.0, 107.0], horizon=1)
    out = trade(said(m.X.index, [0.0, 1.0, 0.0, 0.0]), m, Protocol(cost_bps=0))
    assert_allclose(out["gross"], [0.0, 0.0, 107 / 101 - 1, 0.0], atol=1e-12)


@given(st.integers(1, 10), st.integers(1, 2**31))
def test_a_position_is_never_decided_in_the_session_it_is_held(horizon, seed):
    rng = np.random.default_rng(seed)
    m = small(np.exp(np.cumsum(0.01 * rng.normal(size=41))), horizon)
    forecast, i = rng.normal(size=40), int(rng.integers(0, 40))
    later = np.where(np.arange(40) >= i, -forecast, forecast)
    a, b = (trade(said(m.X.index, f), m, Protocol()) for f in (forecast, later))
    assert_array_equal(a["position"][: i + 1], b["position"][: i + 1])
    assert_array_equal(a["net"][: i + 1], b["net"][: i + 1])
    assert (a["position"].abs() <= 1).all()


def test_cost_of_turning_a_whole_position_every_day_is_25_percent_a_year_at_5_basis_points():
    """notes/finance.md: daily full flips cost 25.2 % a year at 5 basis points a side."""
    m = small(np.full(254, 50.0), horizon=1)
    out = trade(said(m.X.index, np.tile([1.0, -1.0], 126)), m, Protocol(cost_bps=5))
    assert out["net"].sum() == pytest.approx(-0.252, abs=0.002)


# --- intervals ------------------------------------------------------------------------------------------------


def errors(seed, n=700):
    rng = np.random.default_rng(seed)
    index = pd.bdate_range("2005-01-03", periods=n, name="session")
    frame = said(index, 0.01 * rng.normal(size=n), 0.03 * rng.standard_t(5, n))
    return frame.assign(scale=rng.uniform(0.5, 2.0, n)), rng


@given(st.integers(1, 15), st.integers(0, 699), st.integers(1, 2**31))
def test_an_interval_knows_only_errors_whose_label_has_matured(horizon, i, seed):
    frame, rng = errors(seed)
    lower, upper = conformal_interval(frame, horizon, 0.9)
    future = frame.copy()
    future.iloc[max(i - horizon, 0) :, 0] = rng.normal(size=700 - max(i - horizon, 0))  # y of i - h is known at i + 1
    future.iloc[i + 1 :, 1:3] = rng.uniform(1, 2, (700 - i - 1, 2))
    low, high = conformal_interval(future, horizon, 0.9)
    assert_array_equal(low[: i + 1], lower[: i + 1])
    assert_array_equal(high[: i + 1], upper[: i + 1])


def test_the_newest_matured_error_does_move_the_interval():
    frame, _ = errors(1)
    before = conformal_interval(frame, 5, 0.9)[1]
    wild = frame.copy()
    wild.iloc[:494, 0] = 9.0
    assert conformal_interval(wild, 5, 0.9)[1][499] > before[499]  # row 499 knows errors up to 493


def test_no_interval_before_a_hundred_errors_are_known():
    lower, _ = conformal_interval(errors(2)[0], 5, 0.9)
    assert np.isnan(lower[: 99 + 6]).all()
    assert np.isfinite(lower[99 + 6 :]).all()


def test_interval_is_the_conformal_quantile_by_hand():
    """100 known errors 0.01 .. 1.00 per unit of volatility: rank ceil(0.9 * 101) = 91, so 0.91, times the scale."""
    n = 107
    index = pd.bdate_range("2005-01-03", periods=n, name="session")
    y = np.random.default_rng(3).permutation(np.arange(1, n + 1)) / 100.0
    y[:100] = np.random.default_rng(3).permutation(np.arange(1, 101)) / 100.0
    frame = said(index, np.zeros(n), y).assign(scale=1.0)
    frame.iloc[105, frame.columns.get_loc("scale")] = 2.0
    lower, upper = conformal_interval(frame, 5, 0.9)
    assert upper[105] == pytest.approx(2 * 0.91)
    assert lower[105] == pytest.approx(-2 * 0.91)


@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from([0.5, 0.8, 0.9]))
def test_intervals_are_those_of_a_plain_loop_also_where_labels_are_not_yet_known(seed, horizon, nominal):
    frame, rng = errors(seed, 150)
    frame.loc[rng.random(150) < rng.choice([0.0, 0.02, 0.3]), "y"] = np.nan
    lower, upper = conformal_interval(frame, horizon, nominal, window=30, least=10)
    error = (frame["y"] - frame["forecast"]).abs().to_numpy() / frame["scale"].to_numpy()
    for i in range(150):
        known = error[max(0, i - horizon - 30) : max(0, i - horizon)]
        known = np.sort(known[np.isfinite(known)])
        width = known[metrics.conformal_rank(len(known), nominal)] if len(known) >= 10 else np.nan
        at, scale = frame["forecast"].iloc[i], frame["scale"].iloc[i]
        assert_array_equal((lower[i], upper[i]), (at - width * scale, at + width * scale))


@given(st.integers(0, 2**31), st.integers(1, 300), st.sampled_from([0.0, 0.01, 0.05, 0.25]))
def test_bounds_of_features_are_the_quantiles_of_numpy(seed, n, level):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=n), rng.integers(0, 4, n), np.zeros(n)])
    assert_array_equal(quantiles(X, level, 1 - level), np.quantile(X, [level, 1 - level], axis=0))


@pytest.mark.parametrize("name", ["RidgeRegression", "DecisionTree_depth_3", "KNeighborsRegressor_5"])
def test_intervals_of_real_forecasts_cover_about_what_they_promise(msft, name):
    # 90 % promised; the test block ends in the autumn of 2008, and overlapping labels leave some 100 free errors
    e = evaluate(catalog.spec(name), msft, Protocol())
    assert 0.80 < e.metrics["coverage"] < 0.97


# --- the walk -------------------------------------------------------------------------------------------------


def test_a_model_sees_clipped_features_and_a_standard_label_of_the_past_only(msft, recorder):
    frame, meta = out_of_sample(recorder, msft, Protocol())
    y = msft.y.dropna()
    folds = list(WalkForward().split(len(y), msft.horizon, msft.X.shape[1]))
    assert len(Recorder.seen) == len(folds) == 2
    assert len(folds[0].train) == len(y) // 2  # of a short history: 75 columns call for 750 rows
    z = (y / msft.scale.loc[y.index]).to_numpy()
    for fold, (X, label) in zip(folds, Recorder.seen, strict=True):
        raw = msft.X.loc[y.index].to_numpy()[fold.train]
        low, high = np.quantile(raw, [0.01, 0.99], axis=0)
        assert_array_equal(X, np.clip(raw, low, high))
        assert label.mean() == pytest.approx(0, abs=1e-12)
        assert label.std() == pytest.approx(1)
        assert_allclose(label, (z[fold.train] - z[fold.train].mean()) / z[fold.train].std())
    assert_array_equal(frame.index, y.index[folds[0].test[0] :])
    assert (meta["rows"], meta["features"]) == (len(y), msft.X.shape[1])


def test_a_forecast_comes_back_in_units_of_return(msft, recorder):
    frame, _ = out_of_sample(recorder, msft, Protocol())
    (X, _), fold = Recorder.seen[1], list(WalkForward().split(msft.y.count(), msft.horizon, msft.X.shape[1]))[1]
    z = (msft.y / msft.scale).to_numpy()[fold.train]
    day = frame.index[frame["fold"] == 1][7]
    x = np.clip(msft.X.loc[day].iloc[0], X[:, 0].min(), X[:, 0].max())
    assert frame.loc[day, "forecast"] == pytest.approx((x * z.std() + z.mean()) * msft.scale[day], rel=1e-12)
    assert frame.loc[day, "y"] == msft.y[day]


def test_a_model_that_bears_few_rows_gets_the_latest(msft):
    Recorder.seen = []
    out_of_sample(toy(Recorder(), max_train_rows=120), msft, Protocol())
    assert [len(y) for _, y in Recorder.seen] == [120] * 2


def test_the_mean_to_beat_is_of_labels_that_were_known():
    known = walk.known_mean(np.array([1.0, 3.0, 5.0, 7.0, 9.0, 11.0]), 2)
    assert_allclose(known, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0])  # row 3 is the exit of row 0


def test_figures_are_those_of_the_formulas_on_the_stored_forecasts(msft):
    e = evaluate(catalog.spec("LassoRegression"), msft, Protocol())
    f, m = e.forecasts, e.metrics
    assert e.ok
    assert m == judge(f, 5)
    assert m["sharpe"] == metrics.sharpe(f["net"])
    assert m["max_drawdown"] == metrics.max_drawdown(f["net"])
    assert m["r2_oos"] == metrics.r2(f["y"], f["forecast"], f["expanding_mean"])
    assert m["ic"] == metrics.information_coefficient(f["y"], f["forecast"], lags=5)[0]
    assert m["spread_ratio"] == metrics.spread_ratio(f["y"], f["forecast"])
    assert (m["mz_slope"], m["mz_slope_se"]) == metrics.calibration_slope(f["y"], f["forecast"], lags=5)
    assert m["information_ratio"] == metrics.sharpe(f["net"] - f["benchmark"])
    traded = f["position"].diff().abs().fillna(abs(f["position"].iloc[0]))
    assert m["turnover"] == pytest.approx(traded.mean() * 252)
    at_breakeven = f["gross"] - m["breakeven_bps"] / 1e4 * traded
    assert at_breakeven.sum() == pytest.approx(0, abs=1e-12)


def test_a_quantile_model_is_judged_at_its_level(msft):
    e = evaluate(catalog.spec("QuantileRegressor_q0.9"), msft, Protocol())
    assert e.meta["quantile"] == 0.9
    assert 0.55 < e.metrics["quantile_coverage"] < 1.0
    assert e.metrics["pinball"] == metrics.pinball(e.forecasts["y"], e.forecasts["quantile"], q=0.9)


def test_the_same_twice_is_the_same_to_the_last_bit(msft):
    a, b = (evaluate(catalog.spec("RandomForest_10_trees"), msft, Protocol()) for _ in range(2))
    pd.testing.assert_frame_equal(a.forecasts, b.forecasts, check_exact=True)
    assert a.metrics == b.metrics


# --- what is too good, and what is nothing --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LassoRegression", "DecisionTree_depth_3"])
def test_a_feature_that_is_tomorrows_label_is_called_leakage(msft, name):
    leaky = dataclasses.replace(msft, X=msft.X.assign(lead=msft.y.fillna(0.0)))
    e = evaluate(catalog.spec(name), leaky, Protocol())
    assert e.metrics["ic"] > 0.5
    expected = "suspected leakage: its features are not what its bars give"
    assert leaderboard.leaderboard([e]).rows["verdict"].iloc[0] == expected


def test_a_model_that_reads_its_own_block_is_called_leakage(msft):
    e = evaluate(toy(Smoothed(), follows="labels"), msft, Protocol())
    assert e.metrics["ic"] > 0.3
    verdict = leaderboard.leaderboard([e]).rows["verdict"].iloc[0]
    assert verdict.startswith("suspected leakage: its forecast of ")
    assert " moves when sessions after " in verdict


@pytest.mark.parametrize("name", ["RidgeRegression", "KNeighborsRegressor_5", "SVR_rbf"])
def test_a_shuffled_label_gets_no_evidence(msft, name):
    known = msft.y.notna()
    y = msft.y.copy()
    y[known] = np.random.default_rng(11).permutation(y[known])
    e = evaluate(catalog.spec(name), dataclasses.replace(msft, y=y), Protocol())
    assert abs(e.metrics["ic"]) < 0.15
    board = leaderboard.leaderboard([e])
    assert board.rows["verdict"].iloc[0] in (NO_EVIDENCE, NO_SIGNAL)
    assert board.sentence().startswith("No model shows evidence of skill")


def test_a_constant_forecast_is_no_signal_and_has_no_correlation(msft):
    e = evaluate(toy(DummyRegressor()), msft, Protocol())
    assert constant_forecast(e.forecasts)
    assert np.isnan(e.metrics["ic"])
    assert skill.verdict(e, Evidence(p_pays=0.001)) == NO_SIGNAL


# --- failures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "status", "reason"),
    [
        (Broken("raise"), "failed", "ValueError: the kernel is not positive"),
        (Broken("infinite"), "failed", "forecasts are not finite"),
        (Broken("memory"), "memory", "more memory than there is"),
        (Lazy("no_such_library.Model"), "unavailable", "no_such_library is not installed"),
    ],
)
def test_a_model_that_cannot_run_says_why(msft, estimator, status, reason):
    e = evaluate(toy(estimator), msft, Protocol(), "k")
    assert (e.status, e.ok, e.key) == (status, False, "k")
    assert reason in e.reason
    assert "\n" not in e.reason
    assert e.forecasts.empty
    assert status in repr(e)


def test_a_warning_is_kept_with_the_result_and_not_shown(msft):
    e = evaluate(toy(Broken("warn")), msft, Protocol())
    assert e.meta["warnings"] == ["RuntimeWarning: nearly singular"]


def test_a_model_has_one_thread_of_each_library_also_of_one_loaded_since_the_last(msft, monkeypatch):
    """With more threads a sum is divided in another way, and its last bits are others."""
    with threadpool_limits(2):
        before = threadpool_info()
        with monkeypatch.context() as earlier:  # before any library was loaded
            earlier.setattr(judging, "ThreadpoolController", lambda: ThreadpoolController().select(prefix="none"))
            judging._libraries.cache_clear()
            assert evaluate(toy(Threads()), msft, Protocol()).ok
        assert Threads.seen == {2}
        Threads.seen.clear()
        monkeypatch.setitem(sys.modules, "a library", ModuleType("a library"))
        assert evaluate(toy(Threads()), msft, Protocol()).ok
        assert Threads.seen == {1}
        assert threadpool_info() == before


# --- storage --------------------------------------------------------------------------------------------------


def same(a: Evaluation, b: Evaluation) -> None:
    pd.testing.assert_frame_equal(a.forecasts, b.forecasts, check_exact=True)
    for name in ("key", "model", "family", "task", "ticker", "horizon", "status", "reason", "meta"):
        assert getattr(a, name) == getattr(b, name)
    assert a.metrics.keys() == b.metrics.keys()
    assert_array_equal(list(a.metrics.values()), list(b.metrics.values()))


@pytest.mark.parametrize("name", ["LinearRegression", "QuantileRegressor_q0.1"])
def test_an_evaluation_survives_its_bytes_exactly(msft, name):
    e = evaluate(catalog.spec(name), msft, Protocol(), "key")
    again = Evaluation.from_bytes(e.to_bytes())
    assert again.meta.keys() == e.meta.keys() - set(MEASURED)
    same(e, dataclasses.replace(again, meta=again.meta | e.measured))
    assert again.to_bytes() == e.to_bytes()
    assert isinstance(e.measured["fit_seconds"], float)


def test_a_failed_evaluation_survives_its_bytes(msft):
    e = evaluate(toy(Broken()), msft, Protocol(), "key")
    again = Evaluation.from_bytes(e.to_bytes())
    assert (again.status, again.reason, len(again.forecasts)) == (e.status, e.reason, 0)


def test_an_undefined_figure_is_still_undefined_after_storage(msft):
    e = evaluate(toy(DummyRegressor()), msft, Protocol())
    assert np.isnan(Evaluation.from_bytes(e.to_bytes()).metrics["ic"])


def test_stored_bytes_are_no_pickle(msft):
    body = evaluate(toy(Broken()), msft, Protocol()).to_bytes()
    assert body[:2] == b"PK"
    assert b"pickle" not in body
