"""Trees: what a wrapper or a name promises about them."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_info

from mltrainer.models.base import Lazy
from mltrainer.models.catalog import spec, specs
from mltrainer.models.forecasters import OneThread


def test_depths_are_the_ones_in_the_names(msft):
    for depth in (3, 5, 7, 10):
        tree = spec(f"DecisionTree_depth_{depth}").build().fit(msft.X, msft.y)
        assert tree.max_depth == depth
        assert tree.get_depth() == depth
        leaves = np.bincount(tree.apply(msft.X))
        assert leaves[leaves > 0].min() >= 20
    memory = spec("DecisionTree_depth_None").build().fit(msft.X, msft.y)
    assert memory.predict(msft.X) == pytest.approx(msft.y)


def test_forests_hold_as_many_trees_as_their_names_say_and_the_small_is_a_prefix_of_the_large(planted):
    small, large = (spec(f"RandomForest_{n}_trees").build().fit(planted.X, planted.y) for n in (10, 50))
    assert (len(small.estimators_), len(large.estimators_)) == (10, 50)
    prefix = np.mean([tree.predict(planted.X_new) for tree in large.estimators_[:10]], axis=0)
    assert small.predict(planted.X_new) == pytest.approx(prefix)


def test_learning_rates_are_the_ones_in_the_names_and_the_steps_of_every_booster_add_up_to_one():
    for rate in (0.01, 0.1, 0.3):
        assert spec(f"GradientBoosting_lr_{rate}").build().learning_rate == rate
    boosters = [
        row for row in specs("trees") if "oosting" in row.method.name or row.extra == "boost" or "GBM" in row.name
    ]
    assert len(boosters) == 8
    for row in boosters:
        params = row.estimator.params if isinstance(row.estimator, Lazy) else row.build().get_params()
        inner = {k.rpartition("__")[2]: v for k, v in params.items()}
        trees = next(inner[k] for k in ("n_estimators", "max_iter", "iterations") if k in inner)
        assert trees * inner["learning_rate"] == pytest.approx(1, abs=0.11), row.name


def test_one_thread_changes_the_threads_and_not_the_forecast(planted, monkeypatch):
    knobs = {"max_iter": 10, "early_stopping": False, "random_state": 0}
    ours, plain = OneThread(**knobs), HistGradientBoostingRegressor(**knobs)
    assert np.array_equal(
        ours.fit(planted.X, planted.y).predict(planted.X_new), plain.fit(planted.X, planted.y).predict(planted.X_new)
    )
    seen = []
    inside = HistGradientBoostingRegressor.fit

    def watched(self, *args):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        return inside(self, *args)

    monkeypatch.setattr(HistGradientBoostingRegressor, "fit", watched)
    OneThread(**knobs).fit(planted.X, planted.y)
    assert set(seen) == {1}


def test_no_booster_holds_out_random_rows_to_stop_early():
    assert spec("HistGradientBoosting").build().early_stopping is False
    assert spec("HistGradientBoosting_quantile_0.5").build().estimator.early_stopping is False


def test_half_of_the_train_rows_lie_below_the_boosted_median(msft):
    model = spec("HistGradientBoosting_quantile_0.5").build().fit(msft.X, msft.y)
    assert np.mean(msft.y < model.predict_quantile(msft.X)) == pytest.approx(0.5, abs=0.05)
    assert model.predict(msft.X).mean() == pytest.approx(msft.y.mean(), abs=1e-9)


def test_catboost_leaves_no_files_behind(planted, tmp_path, monkeypatch):
    row = spec("CatBoost_simulation")
    if not row.available:
        pytest.skip(row.why_unavailable)
    monkeypatch.chdir(tmp_path)
    row.build().fit(planted.X, planted.y)
    assert list(tmp_path.iterdir()) == []
