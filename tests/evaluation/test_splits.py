"""No label of a train block reaches into the test block, and the test blocks are the future in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation.splits import MAXIMUM_FOLDS, MINIMUM_TRAIN, WalkForward

lengths, folds, horizons = st.integers(1, 6_000), st.integers(2, 20), st.integers(1, 63)


def cut(n, k, horizon, **knobs):
    """The folds, or none where there are too few rows."""
    try:
        return list(WalkForward(k, **knobs).split(n, horizon))
    except NotEnoughHistory:
        return []


@given(lengths, folds, horizons)
def test_no_train_label_is_still_open_when_its_test_block_begins(n, k, horizon):
    for fold in cut(n, k, horizon):
        last_exit = fold.train + 1 + horizon  # the label of t is the return from t + 1 to t + 1 + horizon
        assert last_exit.max() < fold.test.min()


@given(lengths, folds, horizons)
def test_the_gap_is_purge_and_embargo(n, k, horizon):
    for fold in cut(n, k, horizon):
        gap = fold.test[0] - fold.train[-1] - 1
        assert gap == (horizon + 1) + max(horizon, int(np.ceil(0.01 * n)))


@given(lengths, folds, horizons)
def test_test_blocks_are_contiguous_disjoint_ordered_and_reach_the_end(n, k, horizon):
    blocks = [fold.test for fold in cut(n, k, horizon)]
    if blocks:
        assert len(blocks) == k
        tested = np.concatenate(blocks)
        assert np.array_equal(tested, np.arange(tested[0], n))
        assert len({len(b) for b in blocks}) == 1


@given(lengths, folds, horizons)
def test_train_expands_from_the_first_row_and_is_never_too_short(n, k, horizon):
    last = 0
    for fold in cut(n, k, horizon):
        assert np.array_equal(fold.train, np.arange(len(fold.train)))
        assert len(fold.train) > last
        assert len(fold.train) >= MINIMUM_TRAIN
        last = len(fold.train)


@given(lengths, folds, horizons, st.integers(MINIMUM_TRAIN, 500))
def test_a_rolling_window_keeps_only_the_latest_rows(n, k, horizon, window):
    for whole, rolled in zip(cut(n, k, horizon), cut(n, k, horizon, window=window), strict=True):
        assert np.array_equal(rolled.train, whole.train[-window:])
        assert np.array_equal(rolled.test, whole.test)


@given(st.integers(1, 300), folds, horizons)  # a block of 300 rows and more folds than one has no 100 to learn from
def test_too_few_rows_name_the_smallest_number_that_is_enough(n, k, horizon):
    saying = f"{n} labelled rows are too few for {k} folds at horizon {horizon}: "
    with pytest.raises(NotEnoughHistory, match=saying) as error:
        next(WalkForward(k).split(n, horizon))
    need = int(str(error.value).removeprefix(saying).split()[0])
    assert len(list(WalkForward(k).split(need, horizon))) == k
    with pytest.raises(NotEnoughHistory):
        next(WalkForward(k).split(need - 1, horizon))


def test_the_number_needed_by_default_by_hand():
    # 6 blocks of purge 6 + embargo 7 (1 % of 678, up) + 100 rows
    with pytest.raises(NotEnoughHistory, match=r"500 labelled rows .* 678 are needed; widen start and end"):
        next(WalkForward().split(500, 5))


@pytest.mark.parametrize(
    ("knobs", "saying"),
    [
        ({"folds": 1}, "folds=1"),
        ({"folds": 0}, "folds=0"),
        ({"folds": -3}, "folds=-3"),
        ({"folds": MAXIMUM_FOLDS + 1}, "folds=51"),
        ({"window": 0}, "window=0"),
        ({"window": -5}, "window=-5"),
    ],
)
def test_knobs_that_cannot_be_meant_are_said_so(knobs, saying):
    with pytest.raises(BadInput, match=saying):
        next(WalkForward(**knobs).split(5_000, 5))
