"""Our own estimators made of other people's: votes, stacks, horizons, filters, clusters and centers.

Like those in `forecasters`, they are plain scikit-learn regressors or transformers, and forecast the mean of y.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone, is_classifier
from sklearn.cluster import DBSCAN, KMeans
from sklearn.decomposition import NMF, FastICA
from sklearn.ensemble import VotingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min
from sklearn.model_selection import TimeSeriesSplit
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import validate_data

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models import sharing
from mltrainer.models.base import canonical
from mltrainer.models.forecasters import Around, Array, checked, directions, labelled

HORIZONS = (1, 5, 21)  # a session, a week, a month


def forward(estimators: Sequence[Any], X: Array, y: Array, *, blocks: int, horizon: int) -> tuple[Array, Array]:
    """Forecast the last two thirds of the train rows, block by block, by clones that saw only rows before the block.

    A gap of at least 22 rows, and more than `horizon`, lies between: no label reaches across.

    Returns
    -------
    Row numbers (m,) and forecasts (m, n_estimators).
    """
    gap, size = max(*HORIZONS, horizon) + 1, 2 * len(X) // (3 * blocks)
    if len(X) - blocks * size <= gap:
        raise NotEnoughHistory(f"{len(X)} train rows leave none before a gap of {gap} rows; widen the train window")
    cuts = list(TimeSeriesSplit(blocks, gap=gap, test_size=size).split(X))
    said = [
        np.column_stack([sharing.fit(clone(f), X[past], y[past]).predict(X[new]) for f in estimators])
        for past, new in cuts
    ]
    return np.concatenate([new for _, new in cuts]), np.concatenate(said)


class Sided(Around):
    r"""A model that only takes sides, as a forecaster of the mean.

    .. math:: \hat y(x) = s(x) \max(m, \overline{s_i y_i}), \qquad s(x) \in \{-1, 0, 1\}

    The size of the forecast is what following the side earned on train rows that the model had not seen (`forward`),
    at least `floor`: on the rows it learned from, a side always looks right. Classifiers learn the sign of y.
    """

    def __init__(self, estimator: Any, floor: float = 0.02, horizon: int = 5) -> None:
        super().__init__(estimator)
        self.floor = floor
        self.horizon = horizon

    def _target(self, y: Array) -> Array:
        return directions(y) if is_classifier(self.estimator) else y

    def _learn(self, X: Array, y: Array) -> None:
        rows, said = forward([self.estimator], X, self._target(y), blocks=2, horizon=self.horizon)
        self.gain_ = float(np.mean(np.sign(said[:, 0]) * y[rows]))
        self.size_ = max(self.gain_, self.floor)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,): plus or minus `size_`, 0 where no side is taken."""
        return np.sign(self._inner(X)) * self.size_


class MajorityVote(VotingRegressor):
    """Every regressor votes up or down: `predict` gives the balance of the votes, not a return; see `Sided`."""

    def predict(self, X: ArrayLike) -> Array:
        """Votes up less votes down, (n,)."""
        return np.sign(self.transform(X)).sum(axis=1)


class ForwardStack(RegressorMixin, BaseEstimator):
    r"""Stacking in the order of time: the final model sees only forecasts of rows later than those learned from.

    .. math:: \hat y(x) = g\bigl(f_1(x), \dots, f_m(x)\bigr)

    The final model g is fitted on forecasts of the last two thirds of the train rows, in `blocks` (see `forward`); the
    f_k are then fitted once more on all rows.

    References
    ----------
    Wolpert (1992), *Stacked generalization*; shuffled folds, as in `sklearn.ensemble.StackingRegressor`, learn g from
    models that know the future of the rows they forecast.
    """

    engine = "mltrainer.models.combiners.ForwardStack"

    def __init__(self, estimators: Sequence[Any], final: Any, blocks: int = 4, horizon: int = 5) -> None:
        self.estimators = estimators
        self.final = final
        self.blocks = blocks
        self.horizon = horizon

    @property
    def shares(self) -> str:
        """Stacks of the same members share their forecasts."""
        return canonical([list(self.estimators), self.blocks])

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, p), y (n,), rows in the order of time."""
        X, y = labelled(self, X, y)
        self.rows_, Z = forward(self.estimators, X, y, blocks=self.blocks, horizon=self.horizon)
        self.final_ = clone(self.final).fit(Z, y[self.rows_])
        self.estimators_ = [sharing.fit(clone(f), X, y) for f in self.estimators]
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,)."""
        X = checked(self, X)
        return np.asarray(self.final_.predict(np.column_stack([f.predict(X) for f in self.estimators_])), dtype=float)


class Horizons(Around):
    r"""A model of several targets at once: the label, and returns over the other horizons of a session, week, month.

    .. math:: y^{(k)}_t = \sum_{i=t+2}^{t+1+k} r_i, \qquad k \in \{1, 5, 21\} \setminus \{h\}

    The other targets are sums of the one-session log return in column `return_column` of X over the window that the
    label has too, from the close of t + 1 on, z-scored; the label itself comes last. The last 22 train rows, whose
    month is not over, are left out.

    Parameters
    ----------
    estimator : fits X (n, p), Y (n, k) and predicts (n, k).
    horizon, return_column : sessions of the label and column of the return; the evaluation sets both.
    """

    def __init__(self, estimator: Any, horizon: int = 5, return_column: int = 0) -> None:
        super().__init__(estimator)
        self.horizon = horizon
        self.return_column = return_column

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, p), y (n,), rows in the order of time and one session apart."""
        X, y = labelled(self, X, y)
        self.horizons_ = (*(k for k in HORIZONS if k != self.horizon), self.horizon)
        Y = self.targets(X, y)
        self.estimator_ = clone(self.estimator).fit(X[: len(Y)], self._labels(Y))
        return self

    def targets(self, X: Array, y: Array) -> Array:
        """Targets of the rows that have all of them, (n - 22, k): the other horizons ascending, then the label."""
        known = len(X) - max(HORIZONS) - 1
        if known < 2:
            raise NotEnoughHistory(f"{len(X)} train rows hold no month to look ahead; widen the train window")
        level = np.concatenate([[0.0], np.cumsum(X[:, self.return_column])])  # level[i] sums the rows before i
        start = np.arange(known) + 2
        others = np.column_stack([level[start + k] - level[start] for k in HORIZONS if k != self.horizon])
        spread = np.maximum(others.std(axis=0), 1e-12)
        return np.column_stack([(others - others.mean(axis=0)) / spread, y[:known]])

    def _labels(self, Y: Array) -> Array:
        return Y

    def predict_all(self, X: ArrayLike) -> Array:
        """Forecasts for each of `horizons_`, (n, k)."""
        return self._inner(X)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of the label, (n,)."""
        return self.predict_all(X)[:, -1]


class HorizonDirections(Horizons):
    """A classifier of several directions at once: each target above or below its usual, P(class) times class mean."""

    def _labels(self, Y: Array) -> Array:
        up = Y > 0
        if (up.all(axis=0) | ~up.any(axis=0)).any():
            raise BadInput("all labels have one sign, so there is no direction to learn; widen the train window")
        self.means_ = np.array([(Y[~u, j].mean(), Y[u, j].mean()) for j, u in enumerate(up.T)])
        return up.astype(float)

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probability of a return above the usual for each of `horizons_`, (n, k)."""
        X = checked(self, X)
        return np.asarray(self.estimator_.predict_proba(X), dtype=float)

    def predict_all(self, X: ArrayLike) -> Array:
        """Forecasts for each of `horizons_`, (n, k)."""
        up, (low, high) = self.predict_proba(X), self.means_.T
        return (1 - up) * low + up * high


class Inliers(Around):
    """Outlier detection as a model: leave the strangest `share` of the train rows out, then regress on the rest.

    Rows to forecast are never left out; `anomaly_score` says how strange they are.

    Parameters
    ----------
    estimator : a pipeline that ends in a detector with `score_samples`.
    regressor : fitted on the rows that are kept.
    share : share of the train rows left out, in [0, 1).
    """

    def __init__(self, estimator: Pipeline, regressor: Any, share: float = 0.05) -> None:
        super().__init__(estimator)
        self.regressor = regressor
        self.share = share

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit detector and regressor on X (n, p), y (n,)."""
        X, y = labelled(self, X, y)
        self.estimator_ = clone(self.estimator).fit(X)
        # a row that is its own nearest neighbor looks usual: the local factor keeps scores without itself
        factor = getattr(self.estimator_[-1], "negative_outlier_factor_", None)
        strange = self.anomaly_score(X) if factor is None else -factor
        self.kept_ = strange <= np.quantile(strange, 1 - self.share)
        self.regressor_ = clone(self.regressor).fit(X[self.kept_], y[self.kept_])
        return self

    def anomaly_score(self, X: ArrayLike) -> Array:
        """Strangeness on the detector's own scale, (n,); higher is stranger."""
        X = checked(self, X)
        return -np.asarray(self.estimator_.score_samples(X), dtype=float)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,)."""
        X = checked(self, X)
        return np.asarray(self.regressor_.predict(X), dtype=float)


class ClusterMeans(Around):
    r"""A clustering as a forecaster: what the train days of the same cluster earned, shrunk to the mean of all days.

    .. math:: \hat y(x) = \bar y + \frac{n_c}{n_c + m}\,(\bar y_c - \bar y), \qquad c = c(x)

    A new row belongs to the cluster with the nearest train centroid; where the clustering has core rows (DBSCAN), to
    that of the nearest core row within eps, else to none (-1), for which the mean of all days is forecast.

    Parameters
    ----------
    estimator : a pipeline that ends in a clusterer with `labels_`.
    prior : m, the rows of evidence against a cluster's being different; a year by default.
    """

    def __init__(self, estimator: Pipeline, prior: float = 250.0) -> None:
        super().__init__(estimator)
        self.prior = prior

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Cluster X (n, p), then average y (n,) by cluster."""
        X, y = labelled(self, X, y)
        self.space_ = clone(self.estimator[:-1]).fit(X)
        Z = self.space_.transform(X)
        self.estimator_ = clone(self.estimator[-1]).fit(Z)
        labels = self.estimator_.labels_
        core = getattr(self.estimator_, "core_sample_indices_", None)
        found = np.unique(labels[labels >= 0])
        if core is None:
            self.points_, self.owners_, self.reach_ = (
                np.array([Z[labels == c].mean(axis=0) for c in found]),
                found,
                np.inf,
            )
        else:
            self.points_, self.owners_, self.reach_ = Z[core], labels[core], self.estimator_.eps
        self.sizes_ = {int(c): int((labels == c).sum()) for c in found}
        self.means_ = {-1: float(y.mean())}
        for c, n in self.sizes_.items():
            self.means_[c] = float(y.mean() + n / (n + self.prior) * (y[labels == c].mean() - y.mean()))
        return self

    def assign(self, X: ArrayLike) -> Array:
        """Cluster of each row, (n,) of int; -1 for none."""
        X = checked(self, X)
        Z = self.space_.transform(X)
        nearest, away = pairwise_distances_argmin_min(Z, self.points_)
        return np.where(away <= self.reach_, self.owners_[nearest], -1)

    def predict(self, X: ArrayLike) -> Array:
        """Forecast the mean of y, (n,)."""
        return np.array([self.means_[int(c)] for c in self.assign(X)])


class DensityClusters(DBSCAN):
    """DBSCAN whose radius comes from the data: the `share`-quantile of the distance to the k-th nearest row.

    So `share` of the train rows are core rows, in any number of dimensions. k is `min_samples`, the row itself counted.
    """

    def __init__(self, min_samples: int = 20, share: float = 0.5) -> None:
        super().__init__(min_samples=min_samples)
        self.share = share

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Choose `eps`, then cluster X (n, p)."""
        away, _ = NearestNeighbors(n_neighbors=self.min_samples, n_jobs=1).fit(X).kneighbors(X)
        self.eps = float(np.quantile(away[:, -1], self.share))
        return super().fit(X, sample_weight=sample_weight)


class RadialBasis(TransformerMixin, BaseEstimator):
    r"""Closeness to each of a few centers: the hidden layer of a radial basis function network.

    .. math:: \phi_j(x) = \exp\left(-\frac{\lVert x - c_j \rVert^2}{2 w^2}\right)

    Centers are those of k-means, the width w is the median distance of a train row to a center. Input (n_rows, p),
    output (n_rows, centers).

    References
    ----------
    Broomhead and Lowe (1988); Moody and Darken (1989), *Fast learning in networks of locally-tuned processing units*.
    """

    def __init__(self, centers: int = 5, random_state: int | None = 0) -> None:
        self.centers = centers
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Place the centers on the train rows."""
        X = validate_data(self, X, dtype=float, ensure_min_samples=2)
        self.centers_ = KMeans(self.centers, n_init=10, random_state=self.random_state).fit(X).cluster_centers_
        self.width_ = float(np.median(pairwise_distances(X, self.centers_)))
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Closeness to each center, in (0, 1]."""
        X = checked(self, X)
        away = pairwise_distances(X, self.centers_)
        return np.exp(-((away / self.width_) ** 2) / 2)


class Parts(NMF):
    r"""Non-negative matrix factorization in which the parts of a row depend on that row alone.

    .. math:: w(x) = \arg\min_{w \ge 0} \lVert x - w H \rVert_2

    H is that of scikit-learn. Its own `transform` stops on the error of all rows it is given together, so that a row's
    parts move with the rows beside it; here each row is solved to the end, by non-negative least squares.

    References
    ----------
    Lawson and Hanson (1974), *Solving Least Squares Problems*, ch. 23.
    """

    def fit_transform(self, X: ArrayLike, y: ArrayLike | None = None, **start: Any) -> Array:
        """Learn H from X (n, p), non-negative; parts of its rows, (n, n_components)."""
        super().fit_transform(X, y, **start)
        return self.transform(X)

    def transform(self, X: ArrayLike) -> Array:
        """Parts of each row, (n, n_components), non-negative."""
        X = checked(self, X)
        return np.array([nnls(self.components_.T, x)[0] for x in X])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags


class IndependentComponents(TransformerMixin, BaseEstimator):
    """The `keep` independent components (FastICA) that are most correlated with y on the train rows.

    All components of a subspace span it, and a regression on all of them is one on its principal components; the
    choice is what makes independent components different. Input (n_rows, p), output (n_rows, keep).

    References
    ----------
    Hyvärinen and Oja (2000), *Independent component analysis: algorithms and applications*.
    """

    def __init__(self, keep: int = 5, random_state: int | None = 0) -> None:
        self.keep = keep
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Unmix X (n, p), then choose by the absolute correlation with y (n,)."""
        X, y = labelled(self, X, y)
        self.ica_ = FastICA(whiten="unit-variance", max_iter=1_000, tol=0.01, random_state=self.random_state)
        with warnings.catch_warnings():
            # where sources are normal no rotation is better than another, and the search ends on any
            warnings.filterwarnings("ignore", "FastICA did not converge", ConvergenceWarning)
            S = self.ica_.fit_transform(X)
        self.converged_ = self.ica_.n_iter_ < self.ica_.max_iter
        self.correlation_ = S.T @ (y - y.mean()) / (len(y) * max(y.std(), 1e-12))
        self.chosen_ = np.sort(np.argsort(-np.abs(self.correlation_))[: self.keep])
        return self

    def transform(self, X: ArrayLike) -> Array:
        """Unmix and choose."""
        X = checked(self, X)
        return np.asarray(self.ica_.transform(X), dtype=float)[:, self.chosen_]
