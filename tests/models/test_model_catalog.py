"""The table itself: names, texts, identity, and what happens when a library is missing."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import TimeSeriesSplit

from mltrainer.errors import Unavailable, UnknownName
from mltrainer.evaluation.study import select
from mltrainer.models.base import Lazy, canonical
from mltrainer.models.catalog import FAMILIES, NAMED, every, spec, specs

LINEAR = "sklearn.linear_model."
STACK = "mltrainer.models.combiners.ForwardStack"
# name -> the library class that must do the work; also the frozen list of names
ENGINES = {
    "linear": {
        "LinearRegression": LINEAR + "LinearRegression",
        "RidgeRegression": LINEAR + "Ridge",
        "LassoRegression": LINEAR + "Lasso",
        "ElasticNet": LINEAR + "ElasticNet",
        "BayesianRidge": LINEAR + "BayesianRidge",
        "PolynomialRegression_degree_2": LINEAR + "Ridge",
        "PolynomialRegression_degree_3": LINEAR + "Ridge",
        "HuberRegressor": LINEAR + "HuberRegressor",
        "TheilSenRegressor": LINEAR + "TheilSenRegressor",
        "RANSACRegressor": LINEAR + "RANSACRegressor",
        "QuantileRegressor_q0.1": LINEAR + "QuantileRegressor",
        "QuantileRegressor_q0.5": LINEAR + "QuantileRegressor",
        "QuantileRegressor_q0.9": LINEAR + "QuantileRegressor",
        "OrthogonalMatchingPursuit": LINEAR + "OrthogonalMatchingPursuit",
        "LassoLars": LINEAR + "LassoLars",
        "ARDRegression": LINEAR + "ARDRegression",
        "Lars": LINEAR + "Lars",
        "LassoLarsIC_bic": LINEAR + "LassoLarsIC",
        "RidgeCV": LINEAR + "RidgeCV",
        "LassoCV_walkforward": LINEAR + "LassoCV",
        "ElasticNetCV_walkforward": LINEAR + "ElasticNetCV",
        "PLSRegression_3": "sklearn.cross_decomposition.PLSRegression",
        "LogisticRegression": LINEAR + "LogisticRegression",
        "GammaRegressor_volatility": LINEAR + "GammaRegressor",
        "RecursiveLS": "statsmodels.regression.recursive_ls.RecursiveLS",
    },
    "trees": {
        **{f"DecisionTree_depth_{d}": "sklearn.tree.DecisionTreeRegressor" for d in (3, 5, 7, 10, None)},
        **{f"RandomForest_{n}_trees": "sklearn.ensemble.RandomForestRegressor" for n in (10, 50, 100)},
        **{f"ExtraTrees_{n}": "sklearn.ensemble.ExtraTreesRegressor" for n in (10, 50)},
        **{f"GradientBoosting_lr_{r}": "sklearn.ensemble.GradientBoostingRegressor" for r in (0.01, 0.1, 0.3)},
        **{f"AdaBoost_{n}": "sklearn.ensemble.AdaBoostRegressor" for n in (10, 50)},
        "HistGradientBoosting": "sklearn.ensemble.HistGradientBoostingRegressor",
        "HistGradientBoosting_quantile_0.5": "sklearn.ensemble.HistGradientBoostingRegressor",
        "CatBoost_simulation": "catboost.CatBoostRegressor",
        "LightGBM_simulation": "lightgbm.LGBMRegressor",
        "XGBoost": "xgboost.XGBRegressor",
    },
    "ensembles": {
        "VotingRegressor_soft": "sklearn.ensemble.VotingRegressor",
        "VotingRegressor_hard": "sklearn.ensemble.VotingRegressor",
        **{f"BaggingRegressor_{n}": "sklearn.ensemble.BaggingRegressor" for n in (10, 25, 50)},
        # scikit-learn's own stacker cannot be held to the order of time
        **{f"StackingRegressor_{final}": STACK for final in ("linear", "tree", "ridge")},
        "ForecastCombination_NNLS": STACK,
        **{
            name: f"sklearn.multioutput.{name}"
            for name in ("MultiOutputRegressor", "RegressorChain", "ClassifierChain")
        },
        "IsolationForest": "sklearn.ensemble.IsolationForest",
        "OneClassSVM": "sklearn.svm.OneClassSVM",
        "LocalOutlierFactor": "sklearn.neighbors.LocalOutlierFactor",
    },
    "neural": {
        **{f"MLP_{units}": "sklearn.neural_network.MLPRegressor" for units in ("10", "20", "10_5", "20_10", "50")},
        **{f"RBFNetwork_{m}_centers": LINEAR + "Ridge" for m in (5, 10)},
        "Perceptron": LINEAR + "Perceptron",
        "PassiveAggressiveRegressor": LINEAR + "SGDRegressor",
        "SGDRegressor": LINEAR + "SGDRegressor",
    },
    "clusters": {
        **{f"KMeans_{k}_clusters": "sklearn.cluster.KMeans" for k in (2, 3, 5, 8)},
        **{
            f"AgglomerativeClustering_{linkage}": "sklearn.cluster.AgglomerativeClustering"
            for linkage in ("ward", "complete", "average")
        },
        "DBSCAN_clustering": "sklearn.cluster.DBSCAN",
    },
    "svm": {
        **{f"SVR_{k}": "sklearn.svm.SVR" for k in ("rbf", "linear", "poly", "sigmoid")},
        **{f"NuSVR_nu_{nu}": "sklearn.svm.NuSVR" for nu in (0.1, 0.5)},
        **{f"LinearSVR_C_{c}": "sklearn.svm.LinearSVR" for c in (0.1, 1.0)},
    },
    "series": {
        **{f"ARIMA_{order}": "statsmodels.tsa.arima.model.ARIMA" for order in ("1_0_0", "2_1_1", "3_1_2")},
        **{
            f"ExponentialSmoothing_alpha_{a}": "statsmodels.tsa.holtwinters.SimpleExpSmoothing" for a in (0.1, 0.3, 0.5)
        },
        **{
            f"HoltWinters_{s}": "statsmodels.tsa.holtwinters.ExponentialSmoothing"
            for s in ("additive", "multiplicative")
        },
        "KalmanFilter": "statsmodels.tsa.statespace.structural.UnobservedComponents",
        "ParticleFilter": "mltrainer.models.volatility.ParticleFilter",
        "UnscientedKalmanFilter": "filterpy.kalman.UnscentedKalmanFilter",
        "LSTM_simulation": "keras.layers.LSTM",
    },
    "neighbors": {
        f"KNeighborsRegressor_{k}": "sklearn.neighbors.KNeighborsRegressor" for k in (3, 5, 7, 10, "10_distance")
    },
    "gaussian": {
        f"GaussianProcess_{k}": "sklearn.gaussian_process.GaussianProcessRegressor"
        for k in ("RBF", "Matern", "RationalQuadratic", "gamma_0.1", "gamma_0.5")
    },
    "special": {
        **{f"{kind}NB": f"sklearn.naive_bayes.{kind}NB" for kind in ("Gaussian", "Multinomial", "Bernoulli")},
        **{
            f"{k}DiscriminantAnalysis": f"sklearn.discriminant_analysis.{k}DiscriminantAnalysis"
            for k in ("Linear", "Quadratic")
        },
        **{f"{parts}_Regression": LINEAR + "LinearRegression" for parts in ("PCA", "ICA", "NMF")},
        **{f"KernelRidge_{k}": "sklearn.kernel_ridge.KernelRidge" for k in ("polynomial", "sigmoid", "cosine")},
        "GARCH_1_1_t": "arch.univariate.GARCH",
        "MarkovSwitching_2": "statsmodels.tsa.regime_switching.markov_regression.MarkovRegression",
        "VAR_bic": "statsmodels.tsa.vector_ar.var_model.VAR",
        "Theta": "statsmodels.tsa.forecasting.theta.ThetaModel",
    },
}
NAMES = {name: path for table in ENGINES.values() for name, path in table.items()}
SLOW = {"arch", "catboost", "filterpy", "jax", "keras", "lightgbm", "statsmodels", "xgboost"}
CSV = Path(__file__).parents[2].parent / "shared" / "catalog.csv"


@pytest.mark.parametrize(
    ("family", "count"),
    [
        *[("linear", 25), ("trees", 20), ("ensembles", 15), ("neural", 10), ("svm", 8), ("series", 12)],
        *[("clusters", 8), ("neighbors", 5), ("gaussian", 5), ("special", 15)],
    ],
)
def test_a_family_holds_exactly_the_promised_names(family, count):
    names = [row.name for row in specs(family)]
    assert len(names) == len(set(names)) == count
    assert set(names) == set(ENGINES[family])
    assert {row.family for row in specs(family)} == {family}


@pytest.mark.skipif(not CSV.exists(), reason="the list of promised models is not beside the repository")
def test_the_names_are_those_of_the_promised_list():
    with CSV.open() as file:
        promised = [(row["name"], row["family"]) for row in csv.DictReader(file) if row["family"] in ENGINES]
    assert sorted(promised) == sorted((row.name, row.family) for row in specs() if row.family in ENGINES)


def test_deep_networks_stand_beside_the_123_and_run_only_where_they_are_asked_for():
    added = [row.name for row in specs("deep")]
    assert added == ["GRU", "TCN", "PatchTST", "TiDE"]
    assert len(specs()) == 123
    assert len(every()) == 127
    assert [family.key for family in FAMILIES.values() if family.origin == "added"] == ["deep"]
    assert not {row.name for row in specs()} & set(added)
    assert {row.name for row in select()} == {row.name for row in specs()}
    assert [row.name for row in select(["deep"])] == added
    assert [spec(name).family for name in added] == ["deep"] * 4
    assert "deep" not in NAMED


def test_every_family_and_method_says_what_it_assumes():
    for family in FAMILIES.values():
        assert family.assumes.count(". ") == 2  # three sentences
        assert family.assumes.endswith(".")
        assert family.good.endswith("?")
        assert family.bad
    for method in {row.method for row in every()}:
        texts = (method.name, method.formula, method.assumes, method.use, method.complexity, method.reference)
        assert all(texts)
        assert method.formula.count("{") == method.formula.count("}")
        assert "$" not in method.formula
    keys = [m.key for m in {row.method for row in every()}]
    assert len(keys) == len(set(keys))


def test_costs_are_positive_and_a_reading_is_a_sentence_or_two():
    for row in every():
        assert 0 < row.cost < 60
        assert row.reading == "" or (row.reading.endswith(".") and len(row.reading) < 400), row.name


@pytest.mark.parametrize("name", NAMES)
def test_the_innermost_estimator_is_the_library_class_that_the_card_names(name):
    row = spec(name)
    assert row.engine == NAMES[name]
    if not row.available:
        pytest.skip(row.why_unavailable)
    if name == "RecursiveLS":
        pytest.skip("a statsmodels model is no parameter of ours; see test_recursive_least_squares_is_statsmodels_own")
    if row.columns:
        pytest.skip("so are these; see test_the_library_on_the_card_does_the_work")
    module, _, kind = NAMES[name].rpartition(".")
    genuine = getattr(import_module(module), kind)
    if row.family == "gaussian":
        fitted = row.build().fit(np.arange(12.0).reshape(6, 2), np.arange(6.0) - 2.5)
        assert type(fitted.gp_) is genuine
    else:
        assert any(isinstance(part, genuine) for part in _parts(row.build()))


def _parts(estimator):
    yield estimator
    for value in estimator.get_params(deep=True).values():
        if isinstance(value, BaseEstimator):
            yield value


def test_inner_validation_never_looks_ahead_and_leaves_a_gap():
    inner = [part.cv for row in specs("linear") for part in _parts(row.build()) if hasattr(part, "cv")]
    assert len(inner) == 3
    assert all(isinstance(cv, TimeSeriesSplit) and cv.gap >= 6 for cv in inner)


def test_built_estimators_share_nothing_with_the_table():
    before = spec("RidgeRegression").identity()
    spec("RidgeRegression").build().set_params(ridge__alpha=99.0)
    assert spec("RidgeRegression").identity() == before


def test_identities_differ_between_models_and_carry_every_parameter():
    assert len({row.identity() for row in every()}) == len(set(every())) == len(every())
    assert "alpha=0.05" in spec("LassoRegression").identity()
    assert canonical(spec("RidgeRegression").build().set_params(ridge__alpha=2.0)) != spec("RidgeRegression").identity()


@pytest.mark.slow
def test_identities_are_the_same_in_another_process_and_slow_libraries_stay_unimported():
    code = (
        "import sys; from mltrainer.models.catalog import specs\n"
        "for row in specs(): print(row.identity())\n"
        f"print(sorted({SLOW} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "99"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    *identities, imported = run.stdout.splitlines()
    assert identities == [row.identity() for row in specs()]
    assert imported == "[]"


def test_a_missing_library_makes_the_model_unavailable_and_names_the_command():
    row = replace(spec("CatBoost_simulation"), estimator=Lazy("a_library_that_is_absent.Regressor"))
    assert not row.available
    assert "pip install 'mltrainer[boost]'" in row.why_unavailable
    assert "CatBoost_simulation" in row.why_unavailable
    with pytest.raises(Unavailable, match="a_library_that_is_absent is not installed"):
        row.build()
    assert spec("RidgeRegression").why_unavailable == ""


def test_an_unknown_name_is_met_with_the_close_ones():
    with pytest.raises(UnknownName, match="RandomForest_100_trees"):
        spec("RandomForest_100")
    with pytest.raises(UnknownName, match="close: trees"):
        specs("treees")
