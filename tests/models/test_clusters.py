"""Clusters: who belongs where, what a cluster's mean is worth, and what the distance does to linkages."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA

from mltrainer.models import clusters
from mltrainer.models.base import scaled
from mltrainer.models.combiners import ClusterMeans, DensityClusters

BUILD = {row.name: row.build for row in clusters.SPECS}


@pytest.fixture(scope="module")
def states():
    """A numeric fixture, no market data: two states in eight columns, in the second of which y is higher by 2."""
    rng = np.random.default_rng(11)
    state = np.repeat([0, 1], [600, 300])
    X = rng.normal(size=(900, 8)) + 6.0 * state[:, None]
    y = 2.0 * state + rng.normal(size=900) * 0.5
    return X, (y - y.mean()) / y.std(), state


@pytest.mark.parametrize("name", BUILD)
def test_a_planted_state_is_found_and_its_days_are_forecast_apart(name, states):
    X, y, state = states
    forecast = BUILD[name]().fit(X, y).predict(X)
    apart = y[state == 1].mean() - y[state == 0].mean()
    # DBSCAN calls most days of the thinner state noise
    share = 0.1 if name == "DBSCAN_clustering" else 0.25
    assert forecast[state == 1].mean() - forecast[state == 0].mean() > share * apart


def test_a_mean_is_shrunk_by_a_year_of_days_by_hand(states):
    X, y, state = states
    model = BUILD["KMeans_2_clusters"]().fit(X, y)
    assert sorted(model.sizes_.values()) == [300, 600]
    # 300 days against 250: 300 / 550 of the way from 0, the mean of all days
    assert model.predict(X[state == 1]) == pytest.approx(300 / 550 * y[state == 1].mean())
    assert model.predict(X[state == 0]) == pytest.approx(600 / 850 * y[state == 0].mean())


@pytest.mark.parametrize("k", [2, 3, 5, 8])
def test_new_days_join_the_cluster_that_scikit_learn_gives_them(k, msft):
    model = BUILD[f"KMeans_{k}_clusters"]().fit(msft.X, msft.y)
    theirs = scaled(KMeans(k, n_init=10, random_state=0)).fit(msft.X)
    assert len(model.sizes_) == k
    assert np.mean(model.assign(msft.X_new) == theirs.predict(msft.X_new)) > 0.99  # theirs stop a step early


@pytest.mark.parametrize("linkage", ["ward", "complete", "average"])
def test_no_linkage_gathers_almost_all_days_in_one_cluster(linkage, msft):
    model = BUILD[f"AgglomerativeClustering_{linkage}"]().fit(msft.X, msft.y)
    assert model.estimator.steps[-1][1].linkage == linkage
    assert len(model.sizes_) == 5
    assert max(model.sizes_.values()) < 0.6 * len(msft.X)


def test_average_linkage_on_raw_distances_would(msft):
    raw = ClusterMeans(scaled(AgglomerativeClustering(5, linkage="average"))).fit(msft.X, msft.y)
    assert max(raw.sizes_.values()) > 0.8 * len(msft.X)


def test_the_radius_leaves_the_share_of_core_days_that_was_asked_for(msft):
    Z = PCA(5, whiten=True).fit_transform(msft.X)
    for share in (0.2, 0.7):
        ours = DensityClusters(10, share).fit(Z)
        assert len(ours.core_sample_indices_) / len(Z) == pytest.approx(share, abs=0.01)
        assert np.array_equal(ours.labels_, DBSCAN(eps=ours.eps, min_samples=10).fit(Z).labels_)


def test_a_day_like_no_other_is_noise_and_forecast_as_the_mean_of_all_days():
    rng = np.random.default_rng(4)
    X = np.vstack([rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 30.0])
    y = np.repeat([-1.0, 3.0], 200)
    model = ClusterMeans(scaled(DensityClusters(10, 0.9)), prior=0.0).fit(X, y)
    new = np.array([[0.0, 0.0], [30.0, 30.0], [15.0, 15.0]])
    assert list(model.assign(new)) == [0, 1, -1]
    assert model.predict(new) == pytest.approx([-1.0, 3.0, 1.0])
    core = model.estimator_.core_sample_indices_
    assert np.array_equal(model.assign(X)[core], model.estimator_.labels_[core])
