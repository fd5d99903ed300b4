"""A fraud is found out: another class under the name, a constant, dice, a twin; and honest models of each make pass."""

import dataclasses
import os
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

import mltrainer as mt
from mltrainer.checks import attest as room
from mltrainer.errors import Unavailable
from mltrainer.evaluation import study
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog


@pytest.fixture
def matrix() -> Matrix:
    return mt.matrix("MSFT", start="2006-01-03", end="2009-12-31")


class Stubborn(Ridge):
    """Learns, and says the same whatever it learned."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(X)[:, 0]


class Dice(Ridge):
    """Adds unseeded noise to what it says."""

    def predict(self, X: np.ndarray) -> np.ndarray:
        return super().predict(X) + np.random.default_rng().normal(size=len(X))


class RowMean(Ridge):
    """Learns how much, and looks at nothing but the mean of the row."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> "RowMean":
        return super().fit(np.mean(X, axis=1, keepdims=True), y)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return super().predict(np.mean(X, axis=1, keepdims=True))


FRAUDS = {
    "another class under the name": (None, "its card names lightgbm"),
    "learns nothing": (Stubborn(), "another target changes nothing"),
    "not deterministic": (Dice(), "two fits under one seed"),
    "looks at a mean": (RowMean(), "it does not find a planted lead"),
}


@pytest.mark.parametrize("fraud", FRAUDS)
def test_a_fraud_is_found_out(fraud: str, matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator, said = FRAUDS[fraud]
    ridge = catalog.spec("RidgeRegression")
    spec = dataclasses.replace(ridge, estimator=Pipeline([("it", estimator)]) if estimator else ridge.estimator)
    if estimator is None:
        monkeypatch.setattr(type(spec), "engine", "lightgbm.LGBMRegressor")
    monkeypatch.setattr(room.artifacts, "reopened", lambda fitted: fitted)
    shown = room.attest_one("RidgeRegression", matrix, spec)
    assert not shown.genuine
    assert any(said in finding for finding in shown.findings), shown.findings


@pytest.mark.parametrize("columns", [12, 60, 75])
@pytest.mark.parametrize("volatile", [False, True])
def test_the_planted_lead_is_not_in_the_mean_of_a_row(columns: int, volatile: bool) -> None:
    X, y = room._lead(columns, volatile)
    learned = slice(0, room.CUT)
    for part in (learned, slice(room.CUT, None)):
        assert abs(np.corrcoef(X[part].mean(axis=1), y[part])[0, 1]) < room.LEAD
    ridge = Ridge(10.0).fit(X[learned], y[learned])
    assert np.corrcoef(ridge.predict(X[room.CUT :]), y[room.CUT :])[0, 1] > room.LEAD


KINDS = {(s.family, s.task): s.name for s in sorted(catalog.specs(), key=lambda s: -s.cost) if s.available}


@pytest.mark.parametrize("name", KINDS.values())
def test_a_model_of_each_kind_finds_the_planted_lead(name: str, matrix: Matrix) -> None:
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        assert room._planted(catalog.spec(name), matrix) > room.LEAD


def test_a_twin_is_named() -> None:
    one = room.Attestation("A", "f", True, "e", forecast="same")
    two = room._alike([one, dataclasses.replace(one, name="B"), dataclasses.replace(one, name="C", forecast="other")])
    assert [a.genuine for a in two] == [True, False, True]
    assert two[1].findings == ["it says exactly what A says"]


def test_a_model_that_is_not_installed_is_not_shown_to_be_genuine(matrix: Matrix) -> None:
    lost = catalog.spec("CatBoost_simulation")
    lost = dataclasses.replace(lost, estimator=dataclasses.replace(lost.estimator, path="no_such_library.Model"))
    shown = room.attest_one(lost.name, matrix, lost)
    assert not shown.genuine
    assert "pip install" in shown.findings[0]


@pytest.mark.parametrize("name", ["RidgeRegression", "KMeans_3_clusters", "ARIMA_1_0_0", "GammaRegressor_volatility"])
def test_an_honest_model_is_genuine(name: str, matrix: Matrix) -> None:
    shown = room.attest_one(name, matrix)
    assert shown.genuine, shown.findings


class Ends:
    """A name that ends the process which reads it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (1,)


def test_a_worker_that_is_ended_is_said_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study, "select", lambda **_: [SimpleNamespace(name=Ends())])
    with pytest.raises(Unavailable, match="a worker of the attestation was ended; run it again"):
        room.attest(jobs=1, progress=False)
