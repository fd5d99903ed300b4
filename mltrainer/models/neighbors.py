"""Nearest neighbors: what followed on the days that looked most like today?"""

from functools import partial

from sklearn.neighbors import KNeighborsRegressor

from mltrainer.models.base import Family, Method, ModelSpec, scaled

KNN = Method(
    "knn",
    "Nearest neighbors",
    r"\hat y(x) = \sum_{i \in N_k(x)} w_i y_i \Big/ \sum_{i \in N_k(x)} w_i,"
    r"\quad w_i = 1 \text{ or } 1 / \lVert x - x_i \rVert",
    "days close in all features are followed alike; each feature matters equally",
    "analogs: the past days behind a forecast can be listed",
    "O(n p) per forecast, nothing to fit",
    "Fix and Hodges (1951); Cover and Hart (1967); Shepard (1968) for the weights",
)

FEW = (
    "Taken literally: the mean of so few labels, which overlap where days adjoin, is mostly noise, so that its"
    " out-of-sample R² is far below zero."
)
spec = partial(ModelSpec, family="neighbors", reading=FEW)

SPECS = (
    spec("KNeighborsRegressor_3", KNN, scaled(KNeighborsRegressor(n_neighbors=3, n_jobs=1)), 0.07),
    spec("KNeighborsRegressor_5", KNN, scaled(KNeighborsRegressor(n_neighbors=5, n_jobs=1)), 0.07),
    spec("KNeighborsRegressor_7", KNN, scaled(KNeighborsRegressor(n_neighbors=7, n_jobs=1)), 0.06),
    spec("KNeighborsRegressor_10", KNN, scaled(KNeighborsRegressor(n_neighbors=10, n_jobs=1)), 0.07),
    spec("KNeighborsRegressor_10_distance", KNN, scaled(KNeighborsRegressor(10, weights="distance", n_jobs=1)), 0.08),
)

FAMILY = Family(
    "neighbors",
    "Nearest neighbors",
    "Days that look alike are followed by like returns. "
    "Alike means close in every standardized feature at once, which in 60 dimensions few days are. "
    "The nearest days are often adjacent ones, so a handful of neighbors may be a single episode.",
    "Which episodes of the past resemble today, and what came next?",
    "Weak signals: an average of three noisy returns is a noisy return.",
    SPECS,
)
