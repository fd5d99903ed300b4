"""A panel: one walk through the sessions of several tickers, and nothing of any ticker's future in it."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize, stats
from sklearn.base import BaseEstimator, RegressorMixin

import mltrainer as mt
from mltrainer import metrics
from mltrainer.errors import BadInput, Refused
from mltrainer.evaluation import artifacts, engine, lookahead, panels, tasks, trials
from mltrainer.evaluation.effects import name_effects
from mltrainer.evaluation.judging import evaluate, evaluate_each
from mltrainer.evaluation.leaderboard import Leaderboard
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import Fold, KFoldDiagnostic, WalkForward
from mltrainer.evaluation.walk import configured, out_of_sample
from mltrainer.features import macro
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import Method, ModelSpec
from mltrainer.trust import audit, gate

TICKERS = ["MSFT", "AAPL", "GOOG"]  # GOOG has no bars before 2004-08-19, and no rows for a year after
SPAN = {"start": "2004-01-02", "end": "2008-12-31"}


@pytest.fixture(scope="module")
def held(template, tmp_path_factory) -> Iterator[tuple[Path, Matrix]]:
    """A home in which the panel is admitted, and the panel: 2,841 rows of 1,007 sessions."""
    folder = tmp_path_factory.mktemp("panel") / "home"
    shutil.copytree(template[0], folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(folder))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield folder, mt.matrix(TICKERS, **SPAN)


@pytest.fixture
def panel(held, settle) -> Matrix:
    settle(held[0])
    return held[1]


class Recorder(RegressorMixin, BaseEstimator):
    """Keeps the rows it was shown and forecasts the first column."""

    seen: list = []  # noqa: RUF012 - a clone must write where the test reads

    def fit(self, X, y):
        Recorder.seen.append(X)
        return self

    def predict(self, X):
        return X[:, 0]


def recorder(**knobs) -> ModelSpec:
    Recorder.seen = []
    return ModelSpec("Toy", Method("toy", *"xxxxxx"), Recorder(), 0.1, "toys", **knobs)


def places(panel: Matrix) -> Matrix:
    """The panel with two features only: number of the session, and of the ticker."""
    days, tickers = (panel.X.index.get_level_values(level) for level in ("session", "ticker"))
    X = pd.DataFrame({"session": days.factorize(sort=True)[0], "ticker": tickers.factorize(sort=True)[0]}, dtype=float)
    return dataclasses.replace(panel, X=X.set_axis(panel.X.index))


FIVE = WalkForward(5, rows_per_column=0)  # GOOG has no row before the second block
UNCLIPPED = Protocol(FIVE, winsorize=0.0)


# --- the matrix -----------------------------------------------------------------------------------------------


def test_rows_are_ordered_by_session_then_ticker(panel):
    assert panel.X.index.names == ["session", "ticker"]
    assert panel.X.index.is_monotonic_increasing
    assert panel.X.index.is_unique
    assert panel.tickers == sorted(TICKERS)
    assert panel.name == "panel of 3: AAPL, GOOG, MSFT"  # in whatever order they were asked for
    assert not panel.X.isna().any(axis=None)
    assert all(part.index.equals(panel.X.index) for part in (panel.y, panel.scale, panel.prices))


def test_the_rows_of_a_ticker_are_those_of_its_own_matrix(panel, template):
    own, alone = panel.of("MSFT"), template[1]
    assert set(own.X) <= set(alone.X)
    pd.testing.assert_frame_equal(own.X, alone.X[list(own.X)], check_exact=True, check_freq=False)
    for part in ("y", "scale"):
        pd.testing.assert_series_equal(getattr(own, part), getattr(alone, part), check_exact=True, check_freq=False)
    pd.testing.assert_frame_equal(own.prices, alone.prices, check_exact=True, check_freq=False)
    assert own.provenance is None


def test_a_feature_that_one_ticker_lacks_is_left_out_and_says_whose(msft):
    other = dataclasses.replace(
        msft, name="OTHER", X=msft.X.drop(columns="rsi_14"), unavailable={"rsi_14": "no reason"}
    )
    both = features.stack(msft, other)
    assert "rsi_14" not in both.X
    assert both.unavailable["rsi_14"] == "OTHER does not have it: no reason"


def test_a_panel_is_sealed_and_an_edited_cell_is_refused(panel):
    assert len(gate.verify(panel, "evaluation").parents) == 3
    X = panel.X.copy()
    X.iloc[100, 3] += 1e-9
    with pytest.raises(Refused):
        gate.verify(dataclasses.replace(panel, X=X), "evaluation")
    swapped = panel.X.index.set_levels(["GOOG", "AAPL", "MSFT"], level="ticker")
    with pytest.raises(Refused):
        gate.verify(dataclasses.replace(panel, X=panel.X.set_axis(swapped)), "evaluation")


def test_a_panel_of_two_horizons_or_of_no_ticker_is_said_so(msft):
    other = dataclasses.replace(msft, name="OTHER", horizon=10)
    with pytest.raises(BadInput, match="one horizon"):
        features.panel(msft, other)
    with pytest.raises(BadInput, match="no ticker"):
        mt.matrix([])


def test_a_panel_of_a_panel_is_said_so(panel):
    with pytest.raises(BadInput, match="holds several tickers, and a panel takes one"):
        features.panel(panel, panel.of("MSFT"))


def test_a_panel_of_one_ticker_is_that_ticker(msft):
    assert mt.matrix(["MSFT", "MSFT"], **SPAN).provenance == msft.provenance


def test_a_part_of_a_panel_is_what_pandas_says_it_is(panel):
    for ticker in panel.tickers:
        for part in features.PARTS:
            theirs, ours = getattr(panel, part).xs(ticker, level="ticker"), getattr(panel.of(ticker), part)
            assert ours.equals(theirs)
            assert ours.index.equals(theirs.index)
            assert ours.index.name == "session"
    with pytest.raises(KeyError):
        panel.of("IBM")


def test_no_name_is_looked_for_among_all_rows_and_none_twice(panel, monkeypatch):
    """What each of n names does with all n names' rows grows with their square: one sort for all is enough."""
    looks, parts = [], []
    search, of = pd.MultiIndex.get_loc_level, Matrix.of
    monkeypatch.setattr(pd.MultiIndex, "get_loc_level", lambda self, *a, **k: looks.append(a) or search(self, *a, **k))
    monkeypatch.setattr(Matrix, "of", lambda self, ticker: parts.append(ticker) or of(self, ticker))
    results = evaluate_each(catalog.spec("RidgeRegression"), panel, Protocol(FIVE, panel="per-name"), "")
    assert all(e.ok for e in results)
    assert looks == []
    assert sorted(parts) == sorted(2 * TICKERS)  # to be learned from, and to be traded


def test_what_is_of_one_ticker_refuses_a_panel(panel):
    with pytest.raises(BadInput, match="several tickers"):
        mt.leakage_gap("Lars", panel)


def test_a_setting_of_a_panel_is_scored_by_its_mean_over_the_tickers_and_is_one_trial(panel):
    found = mt.tune("RidgeRegression", panel, trials=3, protocol=Protocol(FIVE), progress=False)
    assert found.candidates["key"].nunique() == len(found.candidates) == 4
    assert found.luck["cost"] == len(trials.ledger()["trial"].unique()) == 6 - (not found.parameters)
    first, best = found.candidates["key"].iloc[0], found.candidates["score"].idxmax()
    of_first = [e for e in map(trials.load, trials.ledger()["key"]) if e.trial == first]
    assert len(of_first) == 3
    assert found.candidates["score"].iloc[0] == pytest.approx(np.mean([e.metrics["r2_oos"] for e in of_first]))
    assert sorted(e.ticker for e in found.evaluations) == sorted(TICKERS)
    assert found.evaluations[0].trial != found.candidates["key"].iloc[best]  # judged on later sessions
    assert "in the mean of 3 tickers" in found.sentence() or not found.parameters
    with pytest.raises(BadInput, match="3 tickers; ask for evaluations"):
        _ = found.evaluation


# --- the walk -------------------------------------------------------------------------------------------------


def folds(panel: Matrix) -> list:
    return list(FIVE.split(panel.y.dropna().index.unique(0).size, panel.horizon))


def test_a_pooled_model_learns_from_all_tickers_up_to_the_same_session(panel):
    frame, meta = out_of_sample(recorder(), places(panel), UNCLIPPED)
    late = panel.X.index.unique("session").get_loc(panel.of("GOOG").X.index[0])
    for fold, X in zip(folds(panel), Recorder.seen, strict=True):
        assert X[:, 0].max() == fold.train[-1]
        assert fold.train[-1] + panel.horizon + 1 < fold.test[0]
        assert set(X[:, 1]) == ({0.0, 2.0} if fold.train[-1] < late else {0.0, 1.0, 2.0})  # GOOG comes later
    assert meta["panel"] == "one model of 3 tickers"
    tested = panel.y.dropna().index.get_level_values("session") >= frame.index[0][0]
    assert frame.index.equals(panel.y.dropna().index[tested])


def test_no_label_of_a_ticker_that_paused_reaches_the_test_block(panel):
    """MSFT is not traded for the 40 sessions before the third test block: its labels end inside it."""
    marked = places(panel)
    first = folds(panel)[2].test[0]
    paused = marked.X["session"].between(first - 40, first - 1) & (marked.X["ticker"] == 2)
    kept = {part: getattr(marked, part)[~paused] for part in ("X", "y", "scale", "prices")}
    out_of_sample(recorder(), dataclasses.replace(marked, **kept), UNCLIPPED)
    learned = Recorder.seen[2]
    own = kept["X"].loc[kept["X"]["ticker"] == 2, "session"].to_numpy()
    ends = dict(zip(own, own[panel.horizon + 1 :], strict=False))
    assert max(ends[s] for s in learned[learned[:, 1] == 2, 0]) < first
    assert learned[learned[:, 1] == 2, 0].max() == own[own < first][-7]  # six labels were not known yet
    assert learned[learned[:, 1] == 0, 0].max() == folds(panel)[2].train[-1]


def test_a_model_that_bears_few_rows_gets_whole_sessions_evenly_spread_to_the_last(panel):
    _, meta = out_of_sample(recorder(max_train_rows=300), places(panel), UNCLIPPED)
    last = Recorder.seen[-1]
    sessions = np.unique(last[:, 0])
    assert meta["policy"] == f"one session in 9: {len(last)} of 2,668 rows"
    assert 250 < len(last) <= 300
    assert set(np.diff(sessions)) == {9.0}
    assert sessions[-1] == folds(panel)[-1].train[-1]
    assert (last[:, 0] == sessions[-1]).sum() == 3


def test_of_one_ticker_a_model_that_bears_few_rows_says_it_got_the_latest(msft):
    _, meta = out_of_sample(recorder(max_train_rows=120), msft, UNCLIPPED)
    assert meta["policy"] == f"the latest 120 of {folds(msft)[-1].train.size:,} rows"
    assert meta["panel"] == ""


@pytest.mark.parametrize("name", ["ExponentialSmoothing_alpha_0.1", "VAR_bic", "RegressorChain"])
def test_what_lives_in_one_share_is_fitted_to_each_and_says_what_it_says_there_alone(panel, name):
    spec = catalog.spec(name)
    frame, meta = out_of_sample(spec, panel, Protocol())
    alone = evaluate(spec, panel.of("MSFT"), Protocol())
    said = frame[frame.index.get_level_values("ticker") == "MSFT"].droplevel("ticker")
    assert_array_equal(said["forecast"], alone.forecasts["forecast"])
    assert meta["panel"] == "one model for each of 3 tickers"


def test_gaps_inside_a_model_count_sessions_and_not_rows(panel):
    def told(name: str, rows_a_session: int, sessions: int = 500) -> dict:
        return configured(catalog.spec(name), panel, np.repeat(np.arange(sessions), rows_a_session)).get_params()

    assert [told("StackingRegressor_ridge", k)["horizon"] for k in (1, 2, 3)] == [5, 11, 17]  # 6 sessions are 18 rows
    splits = [told("LassoCV_walkforward", k, n)["lassocv__cv"] for k, n in ((1, 500), (3, 500), (3, 110))]
    assert [(split.n_splits, split.gap) for split in splits] == [(5, 22), (5, 66), (3, 66)]
    assert len(list(splits[-1].split(np.empty(330)))) == 3  # 330 rows in 4 blocks of 82 leave 84 before the first


@pytest.mark.parametrize("name", ["RidgeRegression", "LassoCV_walkforward", "ExponentialSmoothing_alpha_0.1"])
def test_a_rewritten_future_of_all_tickers_moves_no_forecast_before_it(panel, name):
    days = panel.X.index.get_level_values("session")
    cut = days.unique()[800]
    rng = np.random.default_rng(3)
    known = panel.y.groupby(level="ticker").cumcount(ascending=True)
    parts = {}
    for part in ("X", "scale", "prices"):
        values = getattr(panel, part).copy()
        values[days > cut] *= rng.lognormal(0, 1, values[days > cut].shape)
        parts[part] = values
    place = known[days <= cut].groupby(level="ticker").max()  # of each ticker's rows, the last that is known
    matured = known <= place.reindex(known.index, level="ticker") - panel.horizon - 1
    parts["y"] = panel.y.where(matured, panel.y * rng.lognormal(0, 1, len(known)))
    before, after = (
        out_of_sample(catalog.spec(name), m, UNCLIPPED)[0]["forecast"]
        for m in (panel, dataclasses.replace(panel, **parts))
    )
    past = before.index.get_level_values("session") <= cut
    assert past.sum() > 1_000
    assert_array_equal(before[past], after[past])
    assert not np.array_equal(before[~past], after[~past])


# --- results --------------------------------------------------------------------------------------------------

KINDS = [
    "RidgeRegression", "DecisionTree_depth_3", "LogisticRegression", "GaussianProcess_gamma_0.1",
    "KMeans_2_clusters", "LocalOutlierFactor", "KNeighborsRegressor_5", "Perceptron", "VAR_bic", "RegressorChain",
]  # fmt: skip


def test_every_kind_of_model_gives_a_result_per_ticker_and_the_second_call_opens_them(panel, monkeypatch):
    results = mt.evaluate(KINDS, panel)
    assert [(e.model, e.ticker) for e in results] == [(name, t) for name in KINDS for t in panel.tickers]
    for e in results:
        assert e.ok, e
        assert np.isfinite(e.forecasts["forecast"]).all()
        assert np.isfinite(e.metrics["sharpe"])
        assert e.meta["panel"].startswith("one model ")
        assert e.meta["warnings"] == []
    rows = mt.leaderboard([*results, mt.evaluate(KINDS[0], "MSFT", **SPAN)]).rows
    assert (rows["status"] == "ok").all()
    assert rows["panel"].value_counts().to_dict() == {
        "one model of 3 tickers": 24, "one model for each of 3 tickers": 6, "": 1,
    }  # fmt: skip
    assert "one model of 3 tickers: IC" in repr(results[0])
    assert len(trials.ledger()) == len(results) + 1 == trials.ledger()["key"].nunique()
    assert audit.verify() == []
    monkeypatch.setattr(tasks, "evaluate_each", None)
    again = mt.evaluate(KINDS[0], panel)
    assert [e.key for e in again] == [e.key for e in results[:3]]
    pd.testing.assert_frame_equal(again[1].forecasts, results[1].forecasts, check_freq=False)


def test_two_workers_give_the_bits_of_one_and_a_lost_panel_task_has_a_row_per_ticker(panel, held, home, monkeypatch):
    names = ["RidgeRegression", "ExponentialSmoothing_alpha_0.1"]
    one = mt.evaluate(names, panel)
    elsewhere = home.with_name("elsewhere")
    shutil.copytree(held[0], elsewhere)
    monkeypatch.setenv("MLTRAINER_HOME", str(elsewhere))
    two = mt.evaluate(names, panel, jobs=2)
    for a, b in zip(one, two, strict=True):
        assert a.key == b.key
        pd.testing.assert_frame_equal(a.forecasts, b.forecasts, check_exact=True)
    task = engine.Task(catalog.spec(names[0]), panel, Protocol(), "k")
    lost = task.each("timeout", "over its time budget")
    assert [e.ticker for e in lost] == panel.tickers
    assert len({e.key for e in lost}) == 3
    assert lost[0].key != one[0].key


def test_figures_of_a_panel_as_a_whole_by_hand():
    """Two sessions, five tickers: ranks agree in one (correlation 1) and are reversed in the other (-1): mean 0."""
    index = pd.bdate_range("2010-01-04", periods=2, name="session")
    forecasts = [
        pd.DataFrame({"forecast": [i, i], "y": [i, -i], "scale": [1.0, 1.0], "net": [0.01 * i, 0.0]}, index=index)
        for i in range(1, 6)
    ]
    together = panels.pooled_figures(forecasts, 1)
    assert together["ic_by_session"] == pytest.approx(0.0)
    assert together["sharpe"] == metrics.sharpe([0.03, 0.0])
    assert np.isnan(panels.pooled_figures(forecasts[:4], 1)["ic_by_session"])


def test_a_panel_is_walked_by_a_diagnostic_split_as_well(panel):
    results = evaluate_each(catalog.spec("RidgeRegression"), panel, Protocol(split=KFoldDiagnostic()), "k")
    assert [e.status for e in results] == ["diagnostic"] * 3
    assert np.isfinite(results[0].meta["pooled"]["sharpe"])


# --- whose rows, and ranks ------------------------------------------------------------------------------------


def test_a_result_without_the_options_of_a_panel_keeps_its_key():
    """As version 3 of the protocol wrote it before there were any."""
    assert repr(Protocol()) == (
        "Protocol(split=WalkForward(folds=None, window=None, rows_per_column=10), cost_bps=5.0, interval=0.9, "
        "winsorize=0.01, policy='')"
    )
    assert repr(Protocol(panel="per-name", ranked=True)).endswith("policy='', panel='per-name', ranked=True)")
    for wrong in ({"panel": "each"}, {"ranked": 1}):
        with pytest.raises(BadInput, match="give "):
            Protocol(**wrong)


def test_what_only_a_panel_can_have_is_refused_for_one_ticker(msft):
    with pytest.raises(BadInput, match=r"panel='per-name', ranked=True is of several tickers, and MSFT is one"):
        mt.evaluate("RidgeRegression", msft, protocol=Protocol(panel="per-name", ranked=True))
    with pytest.raises(BadInput, match="ranks are among several tickers"):
        _ = msft.ranked


def test_per_name_a_model_says_of_each_ticker_what_it_says_there_alone(panel):
    spec, each = catalog.spec("RidgeRegression"), Protocol(FIVE, panel="per-name")
    frame, meta = out_of_sample(spec, panel, each)
    alone = evaluate(spec, panel.of("MSFT"), Protocol(FIVE))
    said = frame[frame.index.get_level_values("ticker") == "MSFT"].droplevel("ticker")
    assert_array_equal(said["forecast"], alone.forecasts["forecast"])
    assert meta["panel"] == "one model for each of 3 tickers"


def test_a_feature_is_ranked_among_the_names_of_its_session_and_what_is_common_is_left(panel):
    """By scipy, session by session."""
    ranked = panel.ranked
    sessions = panel.X.groupby(level="session")
    common = set(panel.X.columns[(sessions.max() == sessions.min()).all()])
    assert common == set(panel.X) & macro.COMMON
    assert {"weekday_sin", "market_return_1", "cpi_yoy"} <= common
    for day in panel.X.index.unique("session")[[0, 400, 900]]:
        x, r = panel.X.loc[day], ranked.loc[day]
        for name in ("return_1", "rsi_14", "volatility_63"):
            assert_allclose(r[name], (stats.rankdata(x[name]) - 0.5) / len(x) - 0.5)
        assert r[sorted(common)].equals(x[sorted(common)])
    assert ranked[["return_1"]].abs().max().item() == pytest.approx(1 / 3)
    assert list(ranked) == list(panel.X)


def test_a_model_sees_ranks_where_they_are_asked_for_unless_it_reads_returns(panel):
    marked = places(panel)
    _, meta = out_of_sample(recorder(), marked, dataclasses.replace(UNCLIPPED, ranked=True))
    assert set(np.round(Recorder.seen[-1][-30:, 1], 6)) == {-0.333333, 0.0, 0.333333}
    assert set(Recorder.seen[0][:30, 1]) == {-0.25, 0.25}  # GOOG comes later
    assert meta["panel"] == "one model of 3 tickers, features ranked"
    spec = catalog.spec("VAR_bic")
    plain, ranked = (out_of_sample(spec, panel, p) for p in (Protocol(FIVE), Protocol(FIVE, ranked=True)))
    assert_array_equal(plain[0]["forecast"], ranked[0]["forecast"])
    assert "ranked" not in ranked[1]["panel"]


def shrunk(true: np.ndarray, sessions: int, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """Effects found in residuals with these true levels, a shock that all names share, and own noise."""
    rng = np.random.default_rng(seed)
    z = true + rng.normal(0, 2, (sessions, 1)) + rng.normal(0, noise, (sessions, len(true)))
    session, ticker = (a.ravel() for a in np.indices(z.shape))
    return name_effects(z.ravel(), ticker, session, 1)


def test_name_effects_are_the_shrunken_means_of_a_meta_analysis():
    """Three names, thirty sessions, by hand and by Paule and Mandel's equation: sum of squares weighted = k - 1."""
    rng = np.random.default_rng(1)
    z = np.array([0.5, 0.0, -0.8]) + rng.normal(0, 0.4, (30, 3))
    session, ticker = (a.ravel() for a in np.indices(z.shape))
    own = z - z.mean(axis=1, keepdims=True)
    m, v = own.mean(axis=0), np.array([metrics.base.long_run_variance(c, 2) for c in own.T]) / 30
    tau2 = optimize.brentq(lambda t: ((m - np.average(m, weights=1 / (t + v))) ** 2 / (t + v)).sum() - 2, 0, 10)
    want = tau2 / (tau2 + v) * (m - np.average(m, weights=1 / (tau2 + v)))
    assert_allclose(name_effects(z.ravel(), ticker, session, 1), want, rtol=1e-5)


def test_name_effects_vanish_where_names_do_not_differ_and_find_them_where_they_do():
    true = np.linspace(-0.5, 0.5, 20)
    nothing = np.array([np.abs(shrunk(true * 0, 500, seed=s)).max() for s in range(40)])
    assert np.median(nothing) < 0.02  # a plain mean would be off by 0.1
    found = shrunk(true, 500)
    assert np.corrcoef(found, true)[0, 1] > 0.99
    assert 0.9 < np.polyfit(true, found, 1)[0] <= 1.02


def test_effects_move_by_the_same_what_all_names_share_is_not_one_and_few_names_have_none():
    true = np.linspace(-0.5, 0.5, 6)
    assert_allclose(shrunk(true, 200), shrunk(true + 3, 200), atol=1e-12)
    assert_array_equal(shrunk(true[:2], 200), 0.0)
    assert_array_equal(shrunk(true, 3), 0.0)  # too few rows of each


def test_hierarchical_is_pooled_plus_the_effect_of_each_name(panel):
    """Forecasts per unit of volatility differ by one number in each fold and name; the last fold's is in the meta."""
    spec = catalog.spec("RidgeRegression")
    far = panel.y + panel.scale * (panel.y.index.get_level_values("ticker") == "MSFT") * 2.0
    apart = dataclasses.replace(panel, y=far)
    (pooled, _), (raised, meta) = (
        out_of_sample(spec, apart, Protocol(FIVE, panel=how)) for how in ("pooled", "hierarchical")
    )
    more = ((raised["forecast"] - pooled["forecast"]) / pooled["scale"]).groupby([pooled["fold"], "ticker"])
    assert_allclose(more.std(), 0.0, atol=1e-9)
    last = more.mean().loc[pooled["fold"].max()]
    assert_allclose(last, [meta["name_effects"][t] for t in last.index], atol=1e-9)
    assert last["MSFT"] > 0.5 > 0 > last["AAPL"]
    assert meta["panel"] == "one model of 3 tickers with name effects"


def test_effects_are_of_the_names_that_have_labels(panel):
    """AAPL, the first by name, has none: the effects are not moved on to it."""
    gone = panel.y.where(panel.y.index.get_level_values("ticker") != "AAPL")
    spec, protocol = catalog.spec("RidgeRegression"), Protocol(FIVE, panel="hierarchical")
    _, meta = out_of_sample(spec, dataclasses.replace(panel, y=gone), protocol)
    assert sorted(meta["name_effects"]) == ["GOOG", "MSFT"]


HOW = [Protocol(FIVE, panel="per-name"), Protocol(FIVE, panel="hierarchical"), Protocol(FIVE, ranked=True)]


@pytest.mark.parametrize("protocol", HOW, ids=["per-name", "hierarchical", "ranked"])
def test_whoever_learns_from_whom_no_forecast_moves_when_the_future_is_rewritten(panel, protocol):
    spec = catalog.spec("RidgeRegression")
    assert lookahead.forecast_moves(spec, panel, protocol) == ""


def test_a_rank_is_among_all_names_of_a_session_also_those_whose_label_is_not_known(panel):
    """Which rows are labelled is known later: a name that stops trading has none, and still has its place."""
    gone = panel.y.where(panel.y.index.get_level_values("ticker") != "AAPL")
    spec, protocol = recorder(), dataclasses.replace(UNCLIPPED, ranked=True)
    out_of_sample(spec, dataclasses.replace(places(panel), y=gone), protocol)
    assert set(np.round(Recorder.seen[-1][-30:, 1], 6)) == {0.0, 0.333333}


def test_the_ways_to_fit_a_panel_are_results_of_their_own_beside_each_other(panel):
    name, how = "RidgeRegression", [Protocol(), *(Protocol(panel=p) for p in ("per-name", "hierarchical"))]
    results = [e for p in how for e in mt.evaluate(name, panel, protocol=p)]
    assert len({e.key for e in results}) == len(trials.ledger()) == 9
    assert mt.leaderboard(results).rows["panel"].nunique() == 3


# --- kept -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["RidgeRegression", "LogisticRegression", "QuantileRegressor_q0.1"])
def test_a_kept_model_of_a_panel_is_served_as_it_was_judged(home, name):
    """Trained on the train rows of a walk-forward's block and asked about the block: the walk's own forecasts."""
    tickers = ["MSFT", "AAPL", "IBM"]
    early, whole = (mt.matrix(tickers, start="2004-01-02", end=end) for end in ("2007-06-29", "2008-12-31"))
    result = mt.model(name).train(early)
    said = Model.load(result.save()).predict(whole)
    days = whole.y.dropna().index.unique("session").sort_values()
    known = int((days <= pd.Timestamp(result.end)).sum())

    class Once(WalkForward):
        def split(self, n, horizon, *_):
            yield Fold(np.arange(known), np.arange(known, n))

    judged, _ = out_of_sample(catalog.spec(name), whole, Protocol(split=Once()))
    assert len(judged) > 1000
    assert_allclose(said.mean.loc[judged.index], judged["forecast"], rtol=1e-7, atol=1e-10)
    assert said.frame.index.names == ["session", "ticker"]
    for ticker in whole.tickers:  # each name's interval is as wide as its own errors were
        half = (said.upper - said.mean).xs(ticker, level="ticker")
        scale = whole.of(ticker).scale.loc[half.index]
        assert_allclose(half, result.calibrations[ticker].radius * scale)
    assert len({c.radius for c in result.calibrations.values()}) == 3
    assert said.covered(whole.y) == pytest.approx(0.9, abs=0.05)


def test_what_a_panel_cannot_keep_says_why(panel):
    result = mt.model("RidgeRegression").train(panel)
    with pytest.raises(BadInput, match=r"not trained on a matrix of return, horizon 5, on IBM"):
        result.predict(mt.matrix("IBM", **SPAN))
    state = result.model.state_ | {"calibrations": {"AAPL": {}}}
    with pytest.raises(Refused, match="calibrations of a model"):
        Model.load(artifacts.save("RidgeRegression", result.model.estimator_, state))


def test_a_panel_is_one_model_in_the_sentence_and_several_tickers_are_as_many(home):
    same = {"target": "return", "status": "ok", "settings": "", "p_knows": 0.01, "p_pays": 1.0, "name": "Ridge"}
    verdict = "evidence of skill: the forecast knows something"
    rows = [same | {"ticker": t, "panel": how, "verdict": verdict} for how in ("pooled", "") for t in ("A", "B")]
    board = Leaderboard(pd.DataFrame(rows), {"trials": 3})
    assert board.sentence().startswith("3 of 3 models show evidence of skill after costs and 3 trials: Ridge")
