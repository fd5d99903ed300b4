"""scikit-learn's own checks over our estimators: none fails that the library's bare class passes.

Every make of estimator in the catalog that is wrapped, in a pipeline or in a class of ours, is checked with settings
small enough for the checks' 10 to 100 rows. Entries that are a library's class itself have nothing of ours to check.
Series models take their own columns in the order of time and are held to the same words in `test_series`.
"""

import re
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from skfolio.model_selection import CombinatorialPurgedCV, WalkForward
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits

import mltrainer as mt
from mltrainer.models import combiners
from mltrainer.models.base import scaled
from mltrainer.models.catalog import spec, specs

# settings that the few rows of a check can bear; what they mean is not what is checked here
SMALL = {
    "n_subsamples": None,
    "cv": 3,
    "n_components": 1,
    "max_subpopulation": 100,
    "max_iter": 200,
    "horizon": 1,
    "choose_on": 0,
}
FEW = {"n_estimators": 5, "n_init": 1}
# (part of the make, check) -> why ours may fail it
DIRECTIONS = "learns directions: it asks for labels of both signs and cannot be right about sizes"
CHANCES = "a forecaster of returns that also tells its class probabilities, on purpose"
ORDER = "rows are in the order of time, so shuffled or single rows are another question"
KNOWN = {
    ("ClassMeans", "check_estimators_dtypes"): DIRECTIONS,
    ("ClassMeans", "check_fit2d_1feature"): DIRECTIONS,
    ("ClassMeans", "check_regressors_no_decision_function"): CHANCES,
    ("HorizonDirections", "check_regressors_no_decision_function"): CHANCES,
}


def made(name: str) -> str:
    """The classes an entry is made of, outermost first."""
    return " ".join(re.findall(r"(\w+)\(", spec(name).identity()))


def wrapped() -> list[str]:
    """One entry of each make that holds something of ours."""
    makes: dict[str, str] = {}
    for row in specs():
        if row.columns is None and row.available and not row.engine.startswith(("catboost", "lightgbm", "xgboost")):
            built = row.build()
            if isinstance(built, Pipeline) or type(built).__module__.startswith("mltrainer."):
                makes.setdefault(made(row.name), row.name)
    return list(makes.values())


def small(estimator: Any) -> Any:
    knobs = estimator.get_params()
    chosen = {k: v for k, v in (SMALL | FEW).items()}
    return clone(estimator).set_params(**{k: chosen[last] for k in knobs if (last := k.rpartition("__")[2]) in chosen})


def failures(estimator: Any) -> dict[str, str]:
    """Check -> what it said, of the checks that fail."""
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    return {r["check_name"]: str(r["exception"])[:200] for r in results if r["status"] == "failed"}


@cache
def of_any_pipeline() -> frozenset[str]:
    return frozenset(failures(make_pipeline(StandardScaler(), LinearRegression())))


def innermost(estimator: Any) -> Any:
    if isinstance(estimator, Pipeline):
        return innermost(estimator.steps[-1][1])
    inner = estimator.get_params(deep=False).get("estimator")
    ours = type(estimator).__module__.startswith("mltrainer.")
    return innermost(inner) if ours and isinstance(inner, BaseEstimator) else estimator


@pytest.mark.parametrize("name", wrapped())
def test_no_check_fails_that_the_bare_class_passes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combiners, "HORIZONS", (1, 2))  # a month is longer than a check
    estimator = small(spec(name).build())
    found = failures(estimator)
    known = {check for part, check in KNOWN if part in made(name).split()}
    extra = {check: said for check, said in found.items() if check not in known | of_any_pipeline()}
    if extra and (bare := innermost(estimator)) is not estimator:
        theirs = failures(bare)
        extra = {check: said for check, said in extra.items() if check not in theirs}
    assert extra == {}


def test_known_exceptions_are_of_parts_that_exist() -> None:
    parts = {part for name in wrapped() for part in made(name).split()}
    assert {part for part, _ in KNOWN} <= parts


@pytest.fixture(scope="module")
def line() -> tuple[np.ndarray, np.ndarray]:
    """A planted line plus noise: numbers for a unit test."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 5))
    return X, X @ [1.0, -2.0, 0.0, 0.5, 0.3] + 0.1 * rng.normal(size=400)


def test_a_model_by_name_passes_what_its_estimator_passes() -> None:
    assert set(failures(mt.model("RidgeRegression"))) <= of_any_pipeline()


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
    scores = cross_val_score(mt.model("RidgeRegression"), X, y, cv=cv)
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
    import pandas as pd

    X = pd.DataFrame(line[0], columns=list("abcde"))
    model = mt.model("KMeans_3_clusters").fit(X, line[1])
    assert list(model.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[list("edcba")])


def test_steps_written_by_hand_are_the_entry() -> None:
    from sklearn.linear_model import Ridge

    assert str(spec("RidgeRegression").build()) == str(scaled(Ridge(alpha=1.0)))
