"""scikit-learn's own checks over our estimators: none fails that the library's bare class passes.

Every day each class of ours is checked around something small. `MLTRAINER_ALL_CHECKS=1` checks every entry of the
catalog that wraps a library's class instead; where an entry is that class itself there is nothing of ours to check.
Series models take their own columns in the order of time and are held to the same words in `test_series`.
"""

import os
import re
import warnings
from functools import cache
from inspect import getmembers, isclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import GammaRegressor, LinearRegression, LogisticRegression, QuantileRegressor, Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.multioutput import ClassifierChain, RegressorChain
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits

import mltrainer as mt
from mltrainer.evaluation.lifecycle import Model
from mltrainer.models import combiners, forecasters
from mltrainer.models.base import canonical, scaled
from mltrainer.models.catalog import spec, specs

# each class of ours, around the least that it can bear
SMALLEST = (
    Model("LinearRegression"),
    forecasters.Around(Ridge()),
    forecasters.Bounded(Ridge()),
    forecasters.ClassMeans(LogisticRegression()),
    forecasters.Components(2),
    forecasters.Consensus(Ridge()),
    forecasters.OneThread(max_iter=5),
    forecasters.PricedVolatility(GammaRegressor(max_iter=500)),
    forecasters.QuantileForecaster(QuantileRegressor()),
    forecasters.RecentGaussianProcess(RBF() + WhiteKernel(0.1)),
    forecasters.RecursiveForecaster(forecasters.Components(10)),
    combiners.ClusterMeans(scaled(KMeans(2, n_init=1, random_state=0))),
    combiners.DensityClusters(min_samples=3, share=0.9),
    combiners.ForwardStack([Ridge(), LinearRegression()], Ridge(), blocks=2, horizon=1),
    combiners.HorizonDirections(ClassifierChain(LogisticRegression())),
    combiners.Horizons(RegressorChain(Ridge())),
    combiners.IndependentComponents(1),
    combiners.Inliers(scaled(IsolationForest(n_estimators=5, random_state=0)), Ridge()),
    combiners.MajorityVote([("one", Ridge()), ("other", LinearRegression())]),
    combiners.Parts(2, max_iter=2_000),
    combiners.RadialBasis(2),
    combiners.Sided(Ridge(), horizon=1),
)
# settings of the catalog that the few rows of a check cannot bear
SMALL = {
    "n_subsamples": None,
    "cv": 3,
    "n_components": 1,
    "max_subpopulation": 100,
    "max_iter": 200,
    "horizon": 1,
    "choose_on": 0,
    "n_estimators": 5,
    "n_init": 1,
}
# who learns directions refuses labels of one sign, in our words or, in a block of the rows, in scikit-learn's
DIRECTIONS = re.compile("all labels have one sign|number of classes has to be greater than one")
CHANCES = "a forecaster of returns that also tells its class probabilities, on purpose"
CAUTIOUS = "set for returns, of which a tenth explained is much: it does not follow a line without noise half way"
ONE = "one target decides which components are kept"
LIBRARY = "the library's own, of the step before the last"
BLOCK = "rows below zero are fine, labels of one sign in a block are not"
NAMED = "scikit-learn excuses the class by its name, which a pipeline hides"
KNOWN = {  # (part of the estimator, check) -> why it may fail
    ("ClassMeans", "check_regressors_no_decision_function"): CHANCES,
    ("HorizonDirections", "check_regressors_no_decision_function"): CHANCES,
    ("ForwardStack", "check_regressors_train"): CAUTIOUS,
    ("MajorityVote", "check_regressors_train"): "it gives the balance of votes and not a size",
    ("RadialBasis", "check_regressors_train"): CAUTIOUS,
    ("RecentGaussianProcess", "check_regressors_train"): CAUTIOUS,
    ("IndependentComponents", "check_regressor_multioutput"): ONE,
    ("Parts", "check_regressors_train"): LIBRARY,
    ("Perceptron", "check_positive_only_tag_during_fit"): BLOCK,
    ("PLSRegression", "check_transformer_general"): NAMED,
    ("PLSRegression", "check_transformer_data_not_an_array"): NAMED,
}


def ours(value: Any) -> bool:
    return (value if isclass(value) else type(value)).__module__.startswith("mltrainer.")


def made(estimator: Any) -> set[str]:
    """The classes an estimator is made of."""
    return set(re.findall(r"(\w+)\(", canonical(estimator)))


WRAPPED = [
    s.name
    for s in specs()
    if s.columns is None and (isinstance(s.estimator, Pipeline) or (ours(s.estimator) and hasattr(s.estimator, "fit")))
]


def small(estimator: Any) -> Any:
    knobs = {k: k.rpartition("__")[2] for k in estimator.get_params()}
    return clone(estimator).set_params(**{k: SMALL[last] for k, last in knobs.items() if last in SMALL})


def bare(estimator: Any) -> Any:
    """The library's class that ours is or holds, with the same settings; a line where it holds none."""
    if isinstance(estimator, Pipeline):
        return bare(estimator.steps[-1][1])
    if not ours(estimator):
        return estimator
    library = next(c for c in type(estimator).__mro__ if not ours(c))
    if hasattr(library, "fit"):
        return library(**estimator.get_params(deep=False))
    inner = estimator.get_params(deep=False).get("estimator")
    return bare(inner) if isinstance(inner, BaseEstimator) else LinearRegression()


def failures(estimator: Any) -> dict[str, str]:
    """Check -> what it said, of the checks that fail without a reason in KNOWN."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    known = {check for part, check in KNOWN if part in made(estimator)}
    failed = {r["check_name"]: str(r["exception"])[:300] for r in results if r["status"] == "failed"}
    return {check: said for check, said in failed.items() if check not in known and not DIRECTIONS.search(said)}


@cache
def of_any_pipeline() -> frozenset[str]:
    return frozenset(failures(make_pipeline(StandardScaler(), LinearRegression())))


def excess(estimator: Any) -> dict[str, str]:
    """Failures that the bare class does not have."""
    found = {k: v for k, v in failures(estimator).items() if k not in of_any_pipeline()}
    theirs = failures(bare(estimator)) if found else {}
    return {k: v for k, v in found.items() if k not in theirs}


@pytest.fixture
def short_months(monkeypatch: pytest.MonkeyPatch) -> None:
    """A month is longer than a check."""
    monkeypatch.setattr(combiners, "HORIZONS", (1, 2))


@pytest.mark.usefixtures("short_months")
@pytest.mark.parametrize("estimator", SMALLEST, ids=lambda e: type(e).__name__)
def test_a_class_of_ours_passes_every_check_of_scikit_learn(estimator: Any) -> None:
    assert excess(estimator) == {}


def test_every_class_of_ours_is_checked() -> None:
    there = {c for room in (forecasters, combiners) for _, c in getmembers(room, isclass) if ours(c)}
    assert {c for c in there if issubclass(c, BaseEstimator)} | {Model} == {type(e) for e in SMALLEST}


@pytest.mark.usefixtures("short_months")
@pytest.mark.parametrize("name", WRAPPED if "MLTRAINER_ALL_CHECKS" in os.environ else [])
def test_no_check_fails_that_the_bare_class_passes(name: str) -> None:
    assert excess(small(spec(name).build())) == {}


@pytest.fixture(scope="module")
def line() -> tuple[np.ndarray, np.ndarray]:
    """A planted line plus noise: numbers for a unit test."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 5))
    return X, X @ [1.0, -2.0, 0.0, 0.5, 0.3] + 0.1 * rng.normal(size=400)


SPLITTERS = {
    "time series split": TimeSeriesSplit(4, gap=6),
    "skfolio walk-forward": WalkForward(train_size=150, test_size=50, purged_size=6),
    "skfolio combinatorial purged": CombinatorialPurgedCV(n_folds=6, n_test_folds=2, purged_size=6, embargo_size=6),
}


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_a_model_by_name_is_scored_by_any_splitter(splitter: str, line: tuple[np.ndarray, np.ndarray]) -> None:
    X, y = line
    cv = SPLITTERS[splitter]
    if splitter == "skfolio combinatorial purged":  # it gives several test blocks at a time
        cv = [(train, np.concatenate(test)) for train, test in cv.split(X)]
    scores = cross_val_score(mt.model("LinearRegression"), X, y, cv=cv)
    assert len(scores) >= 4
    assert (scores > 0.9).all()


def test_a_model_by_name_is_a_step_of_a_pipeline_and_a_parameter_of_a_search(line: tuple) -> None:
    X, y = line
    pipeline = Pipeline([("scale", StandardScaler()), ("model", mt.model("RidgeRegression"))])
    names = ["LassoRegression", "KNeighborsRegressor_5", "LinearRegression"]
    search = GridSearchCV(pipeline, {"model__name": names}, cv=TimeSeriesSplit(3, gap=6)).fit(X, y)
    assert search.best_params_ == {"model__name": "LinearRegression"}
    assert clone(search.best_estimator_).get_params()["model__name"] == "LinearRegression"


@pytest.mark.parametrize("name", ["RidgeRegression", "GaussianNB", "KMeans_3_clusters", "StackingRegressor_ridge"])
def test_an_estimator_of_the_catalog_sets_its_inner_parameters(name: str) -> None:
    estimator = spec(name).build()
    deep = estimator.get_params()
    assert set(clone(estimator).get_params()) == set(deep)
    key = next(k for k in deep if k.endswith("with_mean")) if name != "StackingRegressor_ridge" else "blocks"
    changed = clone(estimator).set_params(**{key: 3 if key == "blocks" else False})
    assert changed.get_params()[key] != deep[key]


def test_frames_teach_names_and_another_order_is_refused(line: tuple) -> None:
    X = pd.DataFrame(line[0], columns=list("abcde"))
    model = mt.model("RidgeRegression").fit(X, line[1])
    assert list(model.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[list("edcba")])
