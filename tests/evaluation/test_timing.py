"""Forecast and label are of the same sessions, entered at an open or, where there is none, at a close."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.signal import lfilter
from sklearn.model_selection import TimeSeriesSplit

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.evaluation import walk
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.scaling import Scaling, arrays
from mltrainer.evaluation.splits import Fold, WalkForward
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.trust.provenance import Dataset

FOLLOWERS = [s for s in catalog.specs() if s.series and "entry_lag" in s.takes]
SOURCES = ("open", "close")


def matrix_of(close: "pd.Series[float]", source: str, horizon: int) -> Matrix:
    """A matrix, not sealed, of closes alone, or with opens at which nothing has moved since the close before."""
    frame = close.to_frame("close")
    if source == "open":
        frame.insert(0, "open", close.shift(1).fillna(close.iloc[0]))
    return features.build(Dataset(frame, "TOY", "bars"), horizon=horizon)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator["pd.Series[float]"]:
    """Closes of MSFT, 2004 to 2008."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("timing")))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield mt.bars("MSFT", start="2004-01-02", end="2008-12-31").frame["close"]


def test_the_matrix_knows_where_a_position_is_entered(real: "pd.Series[float]") -> None:
    lag = {source: matrix_of(real, source, 5).entry_lag for source in SOURCES}
    assert lag == {"open": 0, "close": 1}
    closes = matrix_of(real, "close", 5)
    ahead = closes.prices["close"].to_numpy()
    assert_allclose(closes.y.to_numpy()[:-6], ahead[6:] / ahead[1:-5] - 1)  # the sessions t + 2 to t + 6
    sealed = dataclasses.replace(closes, at_close=())
    assert sealed.fingerprint() != closes.fingerprint()  # what a model is told is part of what is hashed


def test_a_panel_knows_it_of_each_ticker(real: "pd.Series[float]") -> None:
    opens, closes = (dataclasses.replace(matrix_of(real, s, 5), name=s) for s in SOURCES)
    both = features.stack(opens, dataclasses.replace(closes, at_close=("close",)))
    assert [both.of(s).entry_lag for s in SOURCES] == [0, 1]
    with pytest.raises(BadInput, match="holds several tickers"):
        _ = both.entry_lag


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("spec", FOLLOWERS, ids=lambda s: s.name)
def test_every_series_model_forecasts_the_sessions_of_the_label(spec: ModelSpec, source: str, real: Any) -> None:
    """Step by step: what it expects of t + 1 to t + lag + h, less what it expects of the sessions before entry."""
    matrix = matrix_of(real, source, 3)
    y = matrix.y.dropna()
    X, _ = arrays(spec, matrix, y.index)
    lag = {"open": 0, "close": 1}[source]
    fitted = walk.configured(spec, matrix).fit(X[:500], y[:500])
    forecast = fitted.predict(X[500:600])
    until = [fitted.set_params(horizon=k, entry_lag=0).predict(X[500:600]) for k in (lag + 3, lag) if k]
    before = until[1] if lag else 0.0
    priced = spec.name.startswith("HoltWinters")  # it forecasts the price, and so a simple return
    expected = (1 + until[0]) / (1 + before) - 1 if priced else until[0] - before
    assert_allclose(forecast, expected, rtol=1e-9, atol=1e-12)


def test_the_network_learns_the_sessions_from_the_label_itself() -> None:
    assert [s.name for s in catalog.specs() if s.series and s not in FOLLOWERS] == ["LSTM_simulation"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", ["ARIMA_1_0_0", "GARCH_1_1_t", "VAR_bic"])
def test_a_reversal_is_forecast_and_not_its_mirror_image(name: str, source: str) -> None:
    """r_t = -0.35 r_t-1 + e_t: entered at the next open the correlation is 0.35, at its close 0.35² = 0.12."""
    r = lfilter([1.0], [1.0, 0.35], 0.01 * np.random.default_rng(3).normal(size=4_000))
    close = pd.Series(100 * np.exp(np.cumsum(r)), pd.bdate_range("1990-01-01", periods=len(r), name="session"))
    frame, _ = walk.out_of_sample(catalog.spec(name), matrix_of(close, source, 1), Protocol(split=WalkForward(2)))
    found = np.corrcoef(frame["forecast"], frame["y"])[0, 1]
    assert found == pytest.approx({"open": 0.35, "close": 0.1225}[source], abs=0.06)
    slope = np.polyfit(frame["forecast"], frame["y"], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.4)


def test_a_variance_is_of_the_sessions_of_the_label_too(real: "pd.Series[float]") -> None:
    """GARCH's deviation of an AR(1) sum by hand: shocks of sessions before entry count by what of them is left."""
    garch = catalog.spec("GARCH_1_1_t")
    matrix = matrix_of(real, "close", 2)
    X, _ = arrays(garch, matrix, matrix.X.index)
    fitted = walk.configured(garch, matrix).fit(X[:500])
    _, phi, omega, alpha, beta, _ = fitted.params_
    first = fitted._next_variance(100 * X[:, 0])[500:]
    second = omega + (alpha + beta) * first
    third = omega + (alpha + beta) * second
    by_hand = (phi + phi**2) ** 2 * first + (1 + phi) ** 2 * second + third
    assert_allclose(fitted.predict_deviation(X[500:]), np.sqrt(by_hand) / 100)


# --- gaps inside a model --------------------------------------------------------------------------------------

CHOOSERS = ["RidgeCV", "LassoCV_walkforward", "ElasticNetCV_walkforward"]


def inner(matrix: Matrix, name: str, n: int) -> TimeSeriesSplit:
    estimator = walk.configured(catalog.spec(name), matrix, np.arange(n))
    return next(v for v in estimator.get_params().values() if isinstance(v, TimeSeriesSplit))


@pytest.mark.parametrize("name", CHOOSERS)
@pytest.mark.parametrize(("horizon", "gap"), [(5, 22), (21, 22), (22, 23), (63, 64)])
def test_no_label_reaches_across_an_inner_split(name: str, horizon: int, gap: int, msft: Matrix) -> None:
    split = inner(dataclasses.replace(msft, horizon=horizon), name, 600)
    assert (split.n_splits, split.gap) == (5, gap)
    assert all(past[-1] + horizon + 1 < new[0] + 1 for past, new in split.split(np.empty(600)))


@pytest.mark.parametrize("n", [100, 120, 200, 400])
def test_a_wide_gap_leaves_inner_splits_in_the_shortest_train_block(n: int, msft: Matrix) -> None:
    cuts = list(inner(dataclasses.replace(msft, horizon=63), "RidgeCV", n).split(np.empty(n)))
    assert len(cuts) >= 2
    assert all(len(past) >= 1 and past[-1] + 64 < new[0] for past, new in cuts)


def test_the_gap_reaches_the_walk(msft: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps: list[int] = []
    real_fit = walk.sharing.fit

    def watched(estimator: Any, X: Any, y: Any) -> Any:
        gaps.extend(v.gap for v in estimator.get_params().values() if isinstance(v, TimeSeriesSplit))
        return real_fit(estimator, X, y)

    monkeypatch.setattr(walk.sharing, "fit", watched)
    long = mt.matrix("MSFT", start="2001-01-02", end="2008-12-31", horizon=63)
    walk.out_of_sample(catalog.spec("RidgeCV"), long, Protocol(split=WalkForward(2)))
    assert gaps == [64, 64]


# --- served as judged -----------------------------------------------------------------------------------------


@pytest.fixture
def whole(home: Any) -> Matrix:
    return mt.matrix("MSFT", start="2004-01-02", end="2008-12-31")


@pytest.mark.parametrize("name", ["RecursiveLS", "ARIMA_1_0_0", "KalmanFilter", "RidgeRegression"])
def test_a_model_is_served_as_it_was_judged(name: str, whole: Matrix, home: Any) -> None:
    """Trained on the train rows of a walk-forward's block and asked about the block: the walk's own forecasts."""
    spec = catalog.spec(name)
    early = mt.matrix("MSFT", start="2004-01-02", end="2007-06-29")
    result = mt.model(name).train(early)
    served = result.predict(whole).mean
    y = whole.y.dropna()
    known = int((y.index <= pd.Timestamp(result.end)).sum())

    class Once(WalkForward):
        def split(self, n: int, horizon: int, *_: int) -> Iterator[Fold]:
            yield Fold(np.arange(known), np.arange(known, n))

    judged, _ = walk.out_of_sample(spec, whole, Protocol(split=Once()))
    same = served.loc[judged.index]
    assert len(judged) > 300
    assert_allclose(same, judged["forecast"], rtol=1e-7, atol=1e-10)


def test_recursive_least_squares_learns_on_as_labels_mature(whole: Matrix) -> None:
    early = mt.matrix("MSFT", start="2004-01-02", end="2007-06-29")
    trained = mt.model("RecursiveLS").train(early)
    served = trained.predict(whole).mean
    frozen = trained.model.estimator_
    frozen.filter = None  # what is left is the model of the last train row
    stale = dataclasses.replace(catalog.spec("RecursiveLS"), follows="")
    X, unit = arrays(stale, whole, served.index)
    scaling = Scaling(**trained.model.state_["scaling"])
    old = scaling.forecast(frozen.predict(scaling.features(X))) * unit
    first = served.index.get_indexer([pd.Timestamp(trained.end)], method="bfill")[0] + early.horizon + 1
    assert_allclose(served.iloc[:first], old[:first])
    assert np.abs(served.iloc[-50:] - old[-50:]).max() > 1e-4


def test_the_last_labels_of_a_matrix_are_missing_and_are_not_asked(whole: Matrix) -> None:
    said = mt.model("RecursiveLS").train(whole).predict(whole)
    assert len(said) == whole.horizon + 1
    assert said.mean.notna().all()


@pytest.mark.parametrize("name", ["ARIMA_1_0_0", "RecursiveLS"])
def test_a_model_that_follows_refuses_to_jump_over_sessions_it_has_not_seen(name: str, home: Any) -> None:
    trained = mt.model(name).train(mt.matrix("MSFT", start="2004-01-02", end="2007-06-29"))
    with pytest.raises(
        BadInput, match=r"lacks 2007-06-2\d of MSFT, where the training ended; build it from an earlier start"
    ):
        trained.predict(mt.matrix("MSFT", start="2007-07-02", end="2009-12-31"))
    at_once = mt.matrix("MSFT", start="2005-06-01", end="2008-12-31")  # begins inside the train rows, and ends after
    assert trained.predict(at_once).mean.notna().all()


def test_a_model_of_rows_alone_may_be_asked_after_a_gap(home: Any) -> None:
    trained = mt.model("RidgeRegression").train(mt.matrix("MSFT", start="2004-01-02", end="2007-06-29"))
    assert trained.predict(mt.matrix("MSFT", start="2007-07-02", end="2009-12-31")).mean.notna().all()


def test_a_series_model_asks_for_its_own_columns_only(home: Any) -> None:
    trained = mt.model("ARIMA_1_0_0").train(mt.matrix("MSFT", start="2004-01-02", end="2008-12-31"))
    longer = mt.matrix("MSFT", start="2004-01-02")
    assert "cpi_yoy" not in longer.X  # the packaged series of prices ends in 2009
    assert trained.predict(longer).mean.notna().all()


def test_a_model_is_not_asked_about_positions_entered_elsewhere(msft: Matrix) -> None:
    trained = mt.model("ARIMA_1_0_0").train(msft).model
    assert trained.state_ is not None
    trained.state_["at_close"] = ["MSFT"]
    with pytest.raises(BadInput, match="entered at the open; train it on one that is built alike"):
        trained.predict(msft)
