"""A fit that is shared is the fit that would have been made, to the last bit."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, Ridge

from mltrainer.models import catalog, sharing
from mltrainer.models.combiners import ForwardStack

PAIRS = [
    ("RandomForest_50_trees", "RandomForest_10_trees"),
    ("ExtraTrees_50", "ExtraTrees_10"),
    ("BaggingRegressor_50", "BaggingRegressor_25"),
    ("BaggingRegressor_50", "BaggingRegressor_10"),
    ("AdaBoost_50", "AdaBoost_10"),
]


@pytest.fixture(autouse=True)
def shared() -> Iterator[None]:
    sharing.share("test")
    yield
    sharing.share("")


def alone(estimator, X, y):
    return clone(estimator).fit(X, y)


@pytest.mark.parametrize(("long", "short"), PAIRS)
def test_the_beginning_of_an_ensemble_is_the_smaller_ensemble(msft, long, short):
    X, y, new = msft.X[:400], msft.y[:400], msft.X_new[:300]
    before = sharing.seconds()
    whole = sharing.fit(catalog.spec(long).build(), X, y)
    assert sharing.seconds() == before
    begun = sharing.fit(catalog.spec(short).build(), X, y)
    assert sharing.seconds() > before
    assert begun.n_estimators == len(begun.estimators_) < len(whole.estimators_)
    assert_array_equal(begun.predict(new), alone(catalog.spec(short).build(), X, y).predict(new))
    assert_array_equal(whole.predict(new), alone(catalog.spec(long).build(), X, y).predict(new))


def test_a_smaller_ensemble_that_came_first_is_not_passed_off_as_the_larger(msft):
    X, y = msft.X[:300], msft.y[:300]
    sharing.fit(catalog.spec("ExtraTrees_10").build(), X, y)
    assert len(sharing.fit(catalog.spec("ExtraTrees_50").build(), X, y).estimators_) == 50


class Counted(Ridge):
    """A ridge that counts its fits."""

    fits = 0

    def fit(self, X, y, sample_weight=None):
        Counted.fits += 1
        return super().fit(X, y)


def test_stacks_of_the_same_members_fit_them_once_and_say_the_same(msft):
    finals, members = (LinearRegression(), Ridge(100.0)), [Counted(1_000.0), Counted(10.0)]
    stacks = [ForwardStack(members, final) for final in finals]
    Counted.fits = 0
    together = [sharing.fit(clone(s), msft.X, msft.y).predict(msft.X_new) for s in stacks]
    assert Counted.fits == 2 * 5  # four blocks and the whole, once
    sharing.share("")
    for stack, said in zip(stacks, together, strict=True):
        assert_array_equal(alone(stack, msft.X, msft.y).predict(msft.X_new), said)
    assert Counted.fits == 3 * 2 * 5


def test_other_rows_other_labels_and_other_groups_share_nothing(msft):
    X, y, Counted.fits = msft.X[:100], msft.y[:100], 0
    for rows, label in ((X, y), (X[1:], y[1:]), (X, -y), (X + 0.0, y)):
        sharing.fit(Counted(), rows, label)
    assert Counted.fits == 3  # the last is the first
    sharing.share("another group")
    sharing.fit(Counted(), X, y)
    sharing.share("")
    sharing.fit(Counted(), X, y)
    sharing.fit(Counted(), X, y)
    assert Counted.fits == 6


def test_the_catalog_shares_forests_bags_boosts_and_stacks_and_nothing_else():
    groups: dict[str, list[str]] = {}
    for row in catalog.specs():
        groups.setdefault(sharing.group(row.estimator), []).append(row.name)
    del groups[""]
    assert sorted(map(len, groups.values())) == [2, 2, 3, 3, 4]
    assert np.sum([len(names) for names in groups.values()]) == 14
