"""One model by itself is tested for look-ahead from the raw bars on: what leaks moves, and is said in words."""

import dataclasses
import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge

from mltrainer.errors import BadInput
from mltrainer.evaluation import engine, lookahead, study, trials, walk
from mltrainer.evaluation.lookahead import forecast_moves, knows_sources, later, rebuilt, rewritten
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import CombinatorialPurged, Split, WalkForward
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog, sharing
from mltrainer.models.base import Method, ModelSpec

RIDGE = catalog.spec("RidgeRegression")
SHORT = Protocol(split=WalkForward(folds=3))


@pytest.fixture
def panel(msft) -> Matrix:
    return study.matrix(["SPX", "MSFT", "AAPL"], start="2004-01-02", end="2008-12-31")


def toy(estimator, **knobs) -> ModelSpec:
    return ModelSpec("Toy", Method("toy", "toy", "x", "x", "x", "x", "x"), estimator, 0.1, "toys", **knobs)


# --- what a matrix was made of --------------------------------------------------------------------------------


def test_a_matrix_knows_the_bars_and_the_context_it_was_built_of(msft):
    assert [d.name for d in msft.sources[:2]] == ["MSFT", "SPX"]
    assert rebuilt(msft).fingerprint() == msft.fingerprint()
    assert knows_sources(msft)


def test_sources_are_no_part_of_the_fingerprint_and_of_the_shown_text(msft):
    bare = dataclasses.replace(msft, sources=())
    assert bare.fingerprint() == msft.fingerprint()
    assert repr(bare) == repr(msft)
    assert not knows_sources(bare)


def test_sources_travel_to_workers(msft):
    there = pickle.loads(pickle.dumps(msft))
    assert knows_sources(there)


def test_a_panel_keeps_the_sources_of_all_its_tickers_also_where_one_is_the_context_of_others(panel):
    names = [d.name for d in panel.sources if d.kind == "bars"]
    assert names == ["AAPL", "SPX", "MSFT", "SPX", "SPX"]  # each with the index, which has none beside itself
    assert knows_sources(panel)
    assert [d.name for d in panel.of("MSFT").sources if d.kind == "bars"] == ["MSFT", "SPX"]


def test_a_panel_of_which_one_matrix_has_none_has_none(msft):
    other = dataclasses.replace(study.matrix("AAPL", start="2004-01-02", end="2008-12-31"), sources=())
    assert features.stack(msft, other).sources == ()


def test_a_matrix_whose_parts_were_replaced_is_not_taken_for_what_its_sources_give(msft):
    assert not knows_sources(dataclasses.replace(msft, X=msft.X * 2))


# --- other futures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", lookahead.FUTURES)
def test_a_source_stays_up_to_the_day_and_is_another_after_it(msft, how):
    day = msft.X.index[500]
    for source in msft.sources:
        other = later(source, day, how)
        known = source.frame["available"] if source.kind == "macro" else source.frame.index.to_series()
        past, rest = source.frame[(known <= day).to_numpy()], source.frame[(known > day).to_numpy()]
        assert past.sort_index(kind="stable").equals(other.frame.iloc[: len(past)].sort_index(kind="stable"))
        if len(rest) > 1:
            assert not source.frame.equals(other.frame)


def test_other_bars_are_bars(msft):
    other = later(msft.sources[0], msft.X.index[500], lookahead.PATH).frame
    assert (other["high"] >= other[["open", "low", "close"]].max(axis=1)).all()
    assert (other["low"] <= other[["open", "close"]].min(axis=1)).all()
    assert (other > 0).all().all()


def test_without_sources_all_that_was_not_known_is_noise_and_all_that_was_stays(msft):
    cut = 600
    other = rewritten(msft, cut, np.random.default_rng(0))
    assert other.X.iloc[: cut + 1].equals(msft.X.iloc[: cut + 1])
    assert (other.X.iloc[cut + 1 :] != msft.X.iloc[cut + 1 :]).to_numpy().mean() > 0.9
    settled = cut - msft.horizon  # the label of row cut - horizon - 1 ends at the cut
    assert other.y.iloc[:settled].equals(msft.y.iloc[:settled])
    assert (other.y.iloc[settled:-6] != msft.y.iloc[settled:-6]).all()
    assert other.sources == ()


# --- one model ------------------------------------------------------------------------------------------------


class Smooths(RegressorMixin, BaseEstimator):
    """Standardizes the block it forecasts by the block's own mean."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X[:, 0] - X[:, 0].mean()


class Peeks(Ridge):
    """Uses labels of the block at once."""

    def filter(self, X, y, lag):
        return y


class Breaks(Ridge):
    """Bears what it is asked first, and nothing else."""

    known = None

    def predict(self, X):
        if Breaks.known is None:
            Breaks.known = X
        if not np.array_equal(X, Breaks.known):
            raise ValueError("too wild for me")
        return super().predict(X)


@pytest.mark.parametrize("name", ["RidgeRegression", "RecursiveLS", "ARIMA_1_0_0", "RandomForest_10_trees"])
def test_an_honest_model_passes(msft, name):
    assert forecast_moves(catalog.spec(name), msft, SHORT) == ""


@pytest.mark.parametrize("estimator", [Smooths(), Peeks()])
@pytest.mark.parametrize("known", [True, False])
def test_a_model_that_looks_ahead_is_told_in_words(msft, estimator, known):
    matrix = msft if known else dataclasses.replace(msft, sources=())
    text = forecast_moves(toy(estimator, follows="labels" if isinstance(estimator, Peeks) else ""), matrix, SHORT)
    assert text.startswith("its forecast of 200")
    assert "moves when sessions after 200" in text


def test_labels_that_reach_into_the_block_are_found_at_its_first_row(msft, monkeypatch):
    monkeypatch.setattr(Split, "purge", lambda self, horizon: 0)
    monkeypatch.setattr(Split, "embargo", lambda self, n, horizon: 0)
    folds = list(SHORT.split.split(int(msft.y.notna().sum()), msft.horizon))
    first = int(folds[1].test[0])
    assert forecast_moves(RIDGE, msft, SHORT, cut=first).startswith("its forecast of")
    assert forecast_moves(RIDGE, msft, SHORT, cut=first + 50) == ""  # by then they have ended


def test_a_feature_that_leaks_in_the_matrix_is_named_before_the_forecast(msft, monkeypatch):
    true = features.build

    def build(*parts, **how):
        m = true(*parts, **how)
        return dataclasses.replace(m, X=m.X.assign(macd=m.X["macd"].shift(-1).ffill()))

    monkeypatch.setattr(features, "build", build)
    leaky = build(*msft.sources, horizon=msft.horizon)
    assert forecast_moves(RIDGE, leaky, SHORT).startswith("its macd of 200")


def test_a_model_that_cannot_be_walked_through_another_future_has_not_passed(msft):
    assert (
        forecast_moves(toy(Breaks()), msft, SHORT) == "its forecasts cannot be made again: ValueError: too wild for me"
    )


def test_a_panel_is_tested_as_one(panel):
    assert forecast_moves(RIDGE, panel, SHORT) == ""
    assert forecast_moves(toy(Smooths()), panel, SHORT).startswith("its forecast of 200")


def test_a_fold_whose_train_rows_stay_is_fitted_once(msft, monkeypatch):
    fitted = []
    true = Ridge.fit
    monkeypatch.setattr(Ridge, "fit", lambda self, X, y, *rest: fitted.append(len(X)) or true(self, X, y, *rest))
    assert forecast_moves(toy(Ridge()), msft, SHORT) == ""
    assert len(fitted) == 2  # of three that a walk would cost, in the middle and last block


def test_what_was_shared_before_is_shared_afterwards_and_nothing_is_counted(msft):
    sharing.share("a group")
    held, spent = sharing._memo.fits, sharing.seconds()
    forecast_moves(RIDGE, msft, SHORT)
    assert sharing._memo.group == "a group"
    assert sharing._memo.fits is held
    assert sharing.seconds() == spent
    sharing.share("")


def test_nothing_is_stored(msft):
    forecast_moves(RIDGE, msft, SHORT)
    assert trials.ledger().empty


@pytest.mark.parametrize("cut", [0, 100, 5000])
def test_a_cut_where_nothing_is_forecast_is_said_so(msft, cut):
    with pytest.raises(BadInput, match="lies in no test block"):
        forecast_moves(RIDGE, msft, SHORT, cut=cut)


def test_a_split_that_trains_on_the_future_moves(msft):
    assert forecast_moves(RIDGE, msft, Protocol(split=CombinatorialPurged())).startswith("its forecast of")


def test_a_probe_runs_in_the_pool_and_tells_what_moved_as_a_reason(msft, monkeypatch):
    task = engine.Task(RIDGE, msft, SHORT, "k", work=lookahead.probe)
    ((_, fine),) = engine.results([task], 2)
    assert (fine.status, fine.reason) == ("ok", "")
    true = walk.arrays
    monkeypatch.setattr(walk, "arrays", lambda *given: (lambda X, unit: (X - X.mean(axis=0), unit))(*true(*given)))
    ((_, leaky),) = engine.results([task], 1)
    assert leaky.status == "failed"
    assert "its forecast of" in leaky.reason
