"""Ensembles: nothing is weighed by forecasts of rows it had seen, and every name keeps its promise."""

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models import ensembles
from mltrainer.models.base import scaled
from mltrainer.models.combiners import (
    ForwardStack,
    HorizonDirections,
    Horizons,
    MajorityVote,
    Sided,
    forward,
)

BUILD = {row.name: row.build for row in ensembles.SPECS}
OUTLIERS = ("IsolationForest", "OneClassSVM", "LocalOutlierFactor")


class Column(RegressorMixin, BaseEstimator):
    """Says one column of X, whatever it is taught."""

    def __init__(self, j=0):
        self.j = j

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return X[:, self.j]


def numbered(n, columns=2, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.normal(size=(n, columns)), np.arange(n)])


@pytest.mark.parametrize(("horizon", "gap"), [(5, 22), (63, 64)])
def test_forward_forecasts_come_from_rows_a_gap_before_the_block(horizon, gap, monkeypatch):
    X, last = numbered(600), []
    monkeypatch.setattr(Column, "fit", lambda self, X, y: last.append(X[-1, 2]) or self)
    rows, said = forward([Column(2)], X, X[:, 0], blocks=4, horizon=horizon)
    assert list(rows) == list(range(200, 600))
    assert last == [start - gap - 1 for start in (200, 300, 400, 500)]
    assert said[:, 0] == pytest.approx(rows)


def test_forward_says_when_rows_are_too_few():
    X = numbered(60)
    with pytest.raises(NotEnoughHistory, match="60 train rows"):
        forward([Column()], X, X[:, 0], blocks=4, horizon=5)


def test_a_stack_finds_the_weights_of_its_members_by_hand():
    X = numbered(600)
    model = ForwardStack([Column(0), Column(1)], LinearRegression()).fit(X, 2 * X[:, 0] - X[:, 1] + 3)
    assert [*model.final_.coef_, model.final_.intercept_] == pytest.approx([2, -1, 3])
    assert model.predict(np.array([[1.0, 1.0, 0.0]])) == pytest.approx([4.0])


def test_a_member_that_memorizes_gets_no_weight():
    # in sample the tree is right on every row and would get all the weight; y does not depend on X
    X, y = numbered(1_500), np.random.default_rng(1).normal(size=1_500)
    model = ForwardStack([DecisionTreeRegressor(random_state=0)], LinearRegression()).fit(X, y)
    assert model.estimators_[0].predict(X) == pytest.approx(y)
    assert abs(model.final_.coef_[0]) < 0.15


def test_weights_of_the_combination_are_those_of_scipy_nnls(planted):
    model = BUILD["ForecastCombination_NNLS"]().fit(planted.X, planted.y)
    rows, Z = forward(model.estimators, planted.X, planted.y, blocks=4, horizon=5)
    y = planted.y[rows]
    weights, _ = nnls(Z - Z.mean(axis=0), y - y.mean())
    assert model.final_.coef_ == pytest.approx(weights)
    assert weights.min() >= 0
    assert weights.max() > 0.5


def test_stacks_differ_by_the_final_model_in_their_names(planted):
    finals = {name: type(BUILD[f"StackingRegressor_{name}"]().final).__name__ for name in ("linear", "tree", "ridge")}
    assert finals == {"linear": "LinearRegression", "tree": "DecisionTreeRegressor", "ridge": "Ridge"}


def test_the_soft_vote_is_half_ridge_and_a_quarter_of_each_of_the_others(planted):
    model = BUILD["VotingRegressor_soft"]().fit(planted.X, planted.y)
    ridge, trees, boosting = (clone(f).fit(planted.X, planted.y).predict(planted.X_new) for _, f in model.estimators)
    assert model.predict(planted.X_new) == pytest.approx(ridge / 2 + trees / 4 + boosting / 4)


def test_the_hard_vote_goes_with_two_of_three():
    X = np.array([[1.0, 2.0, -9.0], [1.0, -2.0, -9.0], [0.0, 1.0, -1.0]])
    vote = MajorityVote([(str(j), Column(j)) for j in range(3)]).fit(X, X[:, 0])
    assert list(vote.predict(X)) == [1, -1, 0]


def test_the_size_of_a_side_is_what_following_it_earned_on_unseen_rows_by_hand():
    X = np.column_stack([np.tile([1.0, -1.0], 300), np.arange(600)])
    y = 0.4 * X[:, 0] + 0.1
    y[:150] = 50.0  # rows before the first block count for nothing
    assert Sided(Column(0)).fit(X, y).predict(np.array([[7.0, 0], [-7.0, 0], [0.0, 0]])) == pytest.approx(
        [0.4, -0.4, 0]
    )
    against = Sided(Column(0)).fit(X, -y)
    assert against.gain_ == pytest.approx(-0.4)
    assert against.predict(X[:2]) == pytest.approx([0.02, -0.02])  # the side is kept, hardly believed


def test_bagged_trees_draw_a_fifth_of_the_rows_and_the_small_bag_is_a_prefix_of_the_large(planted):
    bags = [BUILD[f"BaggingRegressor_{n}"]().fit(planted.X, planted.y) for n in (10, 25, 50)]
    assert [len(bag.estimators_) for bag in bags] == [10, 25, 50]
    assert {len(drawn) for drawn in bags[0].estimators_samples_} == {len(planted.X) // 5}
    prefix = np.mean([tree.predict(planted.X_new) for tree in bags[2].estimators_[:10]], axis=0)
    assert bags[0].predict(planted.X_new) == pytest.approx(prefix)


def test_targets_are_sums_of_later_returns_and_the_label_comes_last_by_hand():
    r = np.arange(30.0) ** 2
    X, y = np.column_stack([np.zeros(30), r]), np.arange(30.0)
    Y = Horizons(Ridge(), return_column=1).targets(X, y)
    assert Y.shape == (8, 3)  # 22 of 30 rows lack the month that ends at t + 22
    day, month = ([r[t + 2 : t + 2 + k].sum() for t in range(8)] for k in (1, 21))
    for column, by_hand in zip(Y.T, (day, month), strict=False):
        assert column == pytest.approx((by_hand - np.mean(by_hand)) / np.std(by_hand))
    assert list(Y[:, 2]) == list(range(8))


def test_a_target_of_five_sessions_is_the_label_of_a_close_only_matrix(msft):
    r = msft.X[:, 0]  # log return of the last session
    price = np.exp(np.cumsum(r))
    label = np.log(price[6:] / price[1:-5])  # from the close of t + 1 to that of t + 6
    target = Horizons(Ridge(), horizon=1).targets(msft.X, msft.y)[:, 0]
    assert np.corrcoef(target, label[: len(target)])[0, 1] == pytest.approx(1.0)


@pytest.mark.parametrize(("horizon", "order"), [(5, (1, 21, 5)), (21, (1, 5, 21)), (10, (1, 5, 21, 10))])
def test_the_chain_ends_with_the_label_which_reads_all_others(horizon, order, planted):
    model = BUILD["RegressorChain"]().set_params(horizon=horizon).fit(planted.X, planted.y)
    assert model.horizons_ == order
    assert [link.n_features_in_ for link in model.estimator_[-1].estimators_] == [6 + i for i in range(len(order))]
    assert np.array_equal(model.predict_all(planted.X_new)[:, -1], model.predict(planted.X_new))


def test_one_model_per_horizon_forecasts_the_label_as_that_model_alone_would(planted):
    model = BUILD["MultiOutputRegressor"]().fit(planted.X, planted.y)
    alone = clone(model.estimator.estimator).fit(planted.X[:-22], planted.y[:-22])
    assert np.array_equal(model.predict(planted.X_new), alone.predict(planted.X_new))


def test_directions_are_probabilities_times_class_means_by_hand(planted):
    model = BUILD["ClassifierChain"]().fit(planted.X, planted.y)
    y = planted.y[:-22]
    up = model.predict_proba(planted.X_new)[:, -1]
    assert model.predict(planted.X_new) == pytest.approx(up * y[y > 0].mean() + (1 - up) * y[y <= 0].mean())
    with pytest.raises(BadInput, match="one sign"):
        HorizonDirections(Ridge()).fit(planted.X, np.abs(planted.y) + 1)


def test_horizons_ask_for_a_month():
    with pytest.raises(NotEnoughHistory, match="no month"):
        Horizons(Ridge()).fit(np.ones((20, 2)), np.ones(20))


@pytest.mark.parametrize("name", OUTLIERS)
def test_far_days_are_not_learned_from_but_are_forecast(name, planted):
    X, y = planted.X.copy(), planted.y.copy()
    X[::25] += np.random.default_rng(5).normal(size=(24, 6)) * 40  # 24 broken days, with absurd labels
    y[::25] = 30.0
    model = BUILD[name]().fit(X, y)
    assert model.kept_.mean() == pytest.approx(0.95, abs=0.005)
    assert not model.kept_[::25].any()
    law = scaled(Ridge(35_000.0)).fit(X[model.kept_], y[model.kept_])
    assert model.predict(X) == pytest.approx(law.predict(X))
    far, near = model.anomaly_score(np.vstack([np.full(6, 90.0), planted.X_new[:1]]))
    assert far > near


def test_what_only_the_evaluation_knows_can_be_set_on_the_outside():
    for name in ("StackingRegressor_linear", "VotingRegressor_hard", "RegressorChain", "ClassifierChain"):
        assert "horizon" in BUILD[name]().get_params(deep=False), name
    for name in ("MultiOutputRegressor", "RegressorChain", "ClassifierChain"):
        assert "return_column" in BUILD[name]().get_params(deep=False), name
