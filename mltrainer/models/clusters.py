"""Clusters: days are grouped by their features alone, then each group's average return is the forecast."""

from functools import partial
from typing import Any

from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.preprocessing import Normalizer

from mltrainer.models.base import Family, Method, ModelSpec, scaled
from mltrainer.models.combiners import ClusterMeans, DensityClusters
from mltrainer.models.forecasters import Components

KMEANS = Method(
    "k-means",
    "k-means clustering",
    r"\min_{c} \sum_i \min_k \lVert x_i - c_k \rVert^2,\quad"
    r" \hat y(x) = \bar y + \tfrac{n_k}{n_k + m} (\bar y_k - \bar y)",
    "regimes are round clouds of similar size in the standardized features",
    "a handful of market states with a mean each",
    "O(n p k) per iteration",
    "Lloyd (1957, 1982), IEEE Transactions on Information Theory 28; Arthur and Vassilvitskii (2007)",
)
AGGLOMERATIVE = Method(
    "agglomerative",
    "Agglomerative clustering",
    r"\text{merge the two clusters with the least } d(A, B) \text{ until } k \text{ are left},\quad"
    r" \hat y(x) = \bar y + \tfrac{n_k}{n_k + m} (\bar y_k - \bar y)",
    "regimes nest: groups of groups; the linkage says what close means",
    "states of any number from one tree of merges",
    "O(n^2 p) time and O(n^2) memory",
    "Ward (1963), JASA 58; Lance and Williams (1967), Computer Journal 9",
)
DENSITY = Method(
    "dbscan",
    "DBSCAN",
    r"\text{clusters are chains of rows with } |\{j : \lVert x_i - x_j \rVert \le \epsilon\}| \ge k;"
    r"\quad \hat y = \bar y \text{ outside}",
    "regimes are dense islands of any shape in a thin sea of noise",
    "recurring states, and an honest no answer on days that are like no others",
    "O(n^2) distances in five dimensions",
    "Ester, Kriegel, Sander and Xu (1996), KDD",
)

SHRUNK = "The forecast is the cluster's train mean, shrunk to that of all days as by m = 250 days of contrary evidence."
NEAREST = f"{SHRUNK} It cannot place new days: they join the nearest train centroid. Five clusters."
BY_DIRECTION = (
    f"{NEAREST} On the direction of five principal components, as on raw distances one giant cluster swallows all but a"
    " few outlying days."
)
RADIUS = (
    f"{SHRUNK} On five principal components; eps is the distance within which a fifth of the train days have ten"
    " neighbors, themselves counted. New days join the nearest core day within eps; the rest are noise."
)

spec = partial(ModelSpec, family="clusters", task="clusterer")


def _kmeans(k: int) -> ClusterMeans:
    return ClusterMeans(scaled(KMeans(k, n_init=10, random_state=0)))


def _merged(linkage: str, *before: Any) -> ClusterMeans:
    return ClusterMeans(scaled(AgglomerativeClustering(5, linkage=linkage), *before))


DBSCAN = ClusterMeans(scaled(DensityClusters(min_samples=10, share=0.2), Components(5)))
ANGLES = (Components(5), Normalizer())
merged = partial(spec, method=AGGLOMERATIVE, max_train_rows=5_000)

SPECS = (
    spec("KMeans_2_clusters", KMEANS, _kmeans(2), 0.25, reading=SHRUNK),
    spec("KMeans_3_clusters", KMEANS, _kmeans(3), 0.3, reading=SHRUNK),
    spec("KMeans_5_clusters", KMEANS, _kmeans(5), 0.4, reading=SHRUNK),
    spec("KMeans_8_clusters", KMEANS, _kmeans(8), 0.6, reading=SHRUNK),
    merged("AgglomerativeClustering_ward", estimator=_merged("ward"), cost=0.6, reading=NEAREST),
    merged("AgglomerativeClustering_complete", estimator=_merged("complete", *ANGLES), cost=0.3, reading=BY_DIRECTION),
    merged("AgglomerativeClustering_average", estimator=_merged("average", *ANGLES), cost=0.5, reading=BY_DIRECTION),
    spec("DBSCAN_clustering", DENSITY, DBSCAN, 0.25, reading=RADIUS, max_train_rows=20_000),
)

FAMILY = Family(
    "clusters",
    "Clusters of days",
    "Markets have a few recurring states that show in the features. "
    "Within a state returns have one mean, and the states of the train years come back in the test years. "
    "The groups are found without looking at returns, so nothing says that they differ in them.",
    "Which states did the market visit, and did any of them pay differently?",
    "Anything gradual; forecasts take a few values close to the mean, and two clusters say almost nothing.",
    SPECS,
)
