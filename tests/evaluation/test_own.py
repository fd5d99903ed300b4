"""A stranger's estimator: evaluated, ranked and counted like the catalog's, and refused where it is none."""

import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.evaluation import lookahead, study, trials
from mltrainer.evaluation.protocol import Protocol

SPAN = {"start": "2000-03-01", "end": "2005-12-30"}


class Signed(RegressorMixin, BaseEstimator):
    """The last column, turned around by its author at will."""

    side = 1.0

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return self.side * X[:, -1]


class Looks(Signed):
    """Standardizes with the rows that it forecasts, which it must not know together."""

    def predict(self, X):
        return (X[:, 0] - X[:, 0].mean()) / X[:, 0].std()


def test_an_estimator_of_ones_own_equals_the_catalogs_entry_of_the_same_settings():
    alpha = mt.catalog("linear")[[s.name for s in mt.catalog("linear")].index("RidgeRegression")].estimator[-1].alpha
    own = mt.evaluate(make_pipeline(StandardScaler(), Ridge(alpha=alpha)), "MSFT", **SPAN)
    named = mt.evaluate("RidgeRegression", "MSFT", **SPAN)
    assert own.model == "Pipeline (own)"
    assert own.metrics["ic"] == pytest.approx(named.metrics["ic"], abs=1e-12)
    assert mt.leaderboard([own, named]).luck["trials"] == 2


def test_a_classifier_and_a_regressor_go_side_by_side():
    mine = [mt.register(make_pipeline(StandardScaler(), LogisticRegression()), "logit"), Ridge()]
    results = mt.evaluate(mine, "MSFT", **SPAN)
    assert [e.model for e in results] == ["logit", "Ridge (own)"]
    assert all(e.ok for e in results)


def test_another_body_is_another_result(monkeypatch):
    matrix = study.matrix("MSFT", **SPAN)
    before = trials.key(mt.register(Signed()), matrix, Protocol())
    monkeypatch.setattr(Signed, "predict", lambda self, X: -X[:, -1])
    assert trials.key(mt.register(Signed()), matrix, Protocol()) != before


def test_one_that_looks_at_the_rows_after_is_found():
    matrix = study.matrix("MSFT", **SPAN)
    assert lookahead.forecast_moves(mt.register(Signed()), matrix, Protocol()) == ""
    assert lookahead.forecast_moves(mt.register(Looks()), matrix, Protocol()).startswith("its forecast of")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Ridge, "the class Ridge is no model"),
        (3, "'3' is no model"),
        (object(), "is no model: give a name of the catalog"),
        (LinearSVC(), "without predict_proba"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(given, words):
    with pytest.raises(BadInput, match=words):
        mt.evaluate(given, "MSFT")


def test_a_name_of_the_catalog_stays_the_catalogs():
    with pytest.raises(BadInput, match="RidgeRegression is a model of the catalog"):
        mt.register(Ridge(), "RidgeRegression")
