"""No label of a train block reaches into the test block, and the test blocks are the future in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skfolio.model_selection import CombinatorialPurgedCV
from sklearn.model_selection import TimeSeriesSplit

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation.splits import (
    MAXIMUM_FOLDS,
    MINIMUM_TEST,
    MINIMUM_TRAIN,
    MONTH,
    MOST_YEARS,
    YEAR,
    CombinatorialPurged,
    KFoldDiagnostic,
    Part,
    WalkForward,
)

lengths, horizons = st.integers(1, 6_000), st.integers(1, 63)
numbers = st.integers(2, 20) | st.integers(2, 250)
folds, columns = st.none() | numbers, st.integers(0, 150)  # none: refitted yearly


def cut(n, k, horizon, columns=0, **knobs):
    """The folds, or none where there are too few rows."""
    try:
        return list(WalkForward(k, **knobs).split(n, horizon, columns))
    except NotEnoughHistory:
        return []


@given(lengths, folds, horizons, columns)
def test_no_train_label_is_still_open_when_its_test_block_begins(n, k, horizon, p):
    for fold in cut(n, k, horizon, p):
        last_exit = fold.train + 1 + horizon  # the label of t is the return from t + 1 to t + 1 + horizon
        assert last_exit.max() < fold.test.min()


@given(lengths, folds, horizons, columns)
def test_the_gap_is_purge_and_embargo_however_short_the_blocks(n, k, horizon, p):
    for fold in cut(n, k, horizon, p):
        gap = fold.test[0] - fold.train[-1] - 1
        assert gap == (horizon + 1) + max(horizon, int(np.ceil(0.01 * n)))


@given(lengths, folds, horizons, columns)
def test_test_blocks_are_contiguous_disjoint_ordered_and_reach_the_end(n, k, horizon, p):
    blocks = [fold.test for fold in cut(n, k, horizon, p)]
    if blocks:
        tested = np.concatenate(blocks)
        assert np.array_equal(tested, np.arange(tested[0], n))
        assert k is None or len(blocks) == k


@given(lengths, numbers, horizons, columns)
def test_so_many_folds_are_equally_long_and_at_least_a_month(n, k, horizon, p):
    for fold in cut(n, k, horizon, p):
        assert len(fold.test) == len(cut(n, k, horizon, p)[0].test) >= MONTH


@given(lengths, horizons, columns)
def test_by_default_a_block_is_a_year_and_the_last_takes_what_is_left(n, horizon, p):
    *blocks, last = [len(fold.test) for fold in cut(n, None, horizon, p)] or [0]
    total = sum(blocks) + last
    if total >= 2 * YEAR:
        size = max(YEAR, int(np.ceil(total / MOST_YEARS)))
        assert set(blocks) == {size}
        assert size / 2 <= last <= size * 3 / 2
        assert len(blocks) < MOST_YEARS
    elif total:
        assert blocks == [total // 2]
        assert total >= MINIMUM_TEST


@given(lengths, folds, horizons, columns)
def test_train_expands_from_the_first_row_and_is_never_too_short(n, k, horizon, p):
    last = 0
    for fold in cut(n, k, horizon, p):
        assert np.array_equal(fold.train, np.arange(len(fold.train)))
        assert len(fold.train) > last
        assert len(fold.train) >= max(MINIMUM_TRAIN, min(10 * p, n // 2))
        last = len(fold.train)


def test_five_folds_are_the_equal_blocks_of_sklearn_where_the_columns_leave_room():
    theirs = TimeSeriesSplit(5, gap=6 + 31).split(np.empty(3_012))
    for fold, (train, test) in zip(cut(3_012, 5, 5, columns=40), theirs, strict=True):
        assert np.array_equal(fold.train, train)
        assert np.array_equal(fold.test, test)


def test_the_first_forecast_waits_for_ten_rows_per_column_by_hand():
    # 690 rows for 69 columns, a gap of 6 + 31; nine blocks, the last of 3012 - 727 - 8 x 252
    years = cut(3_012, None, 5, columns=69)
    assert (years[0].train[-1], years[0].test[0], len(years), len(years[-1].test)) == (689, 727, 9, 269)
    five = cut(3_012, 5, 5, columns=69)  # five blocks of 457 from there, as three are left over
    assert (five[0].train[-1], five[0].test[0], len(five[0].test)) == (689, 727, 457)
    assert cut(3_012, None, 5, columns=69, rows_per_column=5)[0].test[0] == 345 + 37
    assert [len(f.test) for f in cut(4_773, None, 5, columns=60)] == [412] * 9 + [411]  # more than ten years
    assert [len(f.test) for f in cut(2_000, None, 5, columns=69)] == [252] * 4 + [276]  # 690, 26, and what is left
    assert cut(1_000, None, 5, columns=69)[0].train[-1] == 499  # of a short history half
    assert len(cut(3_012, 108, 5, columns=69)) == 108  # one a month
    assert not cut(3_012, 109, 5, columns=69)


@given(lengths, folds, horizons, columns, st.integers(MINIMUM_TRAIN, 500))
def test_a_rolling_window_keeps_only_the_latest_rows(n, k, horizon, p, window):
    for whole, rolled in zip(cut(n, k, horizon, p), cut(n, k, horizon, p, window=window), strict=True):
        assert np.array_equal(rolled.train, whole.train[-window:])
        assert np.array_equal(rolled.test, whole.test)


@given(st.integers(1, 130), folds, horizons, columns)  # 100 to learn from, and a gap
def test_too_few_rows_name_the_smallest_number_that_is_enough(n, k, horizon, p):
    what = f"{k} folds" if k else "a walk-forward"
    saying = f"{n} labelled rows are too few for {what} at horizon {horizon}: "
    with pytest.raises(NotEnoughHistory, match=saying) as error:
        next(WalkForward(k).split(n, horizon, p))
    need = int(str(error.value).removeprefix(saying).split()[0])
    assert len(cut(need, k, horizon, p)) == (k or 2)
    with pytest.raises(NotEnoughHistory):
        next(WalkForward(k).split(need - 1, horizon, p))


def test_the_number_needed_by_default_by_hand():
    # half to learn from (210 of 421), purge 6, embargo 5, and 200 to test
    with pytest.raises(NotEnoughHistory, match=r"420 labelled rows .* 421 are needed; widen start and end"):
        next(WalkForward().split(420, 5, 69))


@pytest.mark.parametrize(
    ("knobs", "saying"),
    [
        ({"folds": 1}, "folds=1"),
        ({"folds": 0}, "folds=0"),
        ({"folds": -3}, "folds=-3"),
        ({"folds": MAXIMUM_FOLDS + 1}, "folds=601"),
        ({"window": 0}, "window=0"),
        ({"window": -5}, "window=-5"),
        ({"rows_per_column": -1}, "rows_per_column=-1"),
    ],
)
def test_knobs_that_cannot_be_meant_are_said_so(knobs, saying):
    with pytest.raises(BadInput, match=saying):
        next(WalkForward(**knobs).split(5_000, 5))


# --- part of a walk-forward -----------------------------------------------------------------------------------


@given(lengths, folds, horizons, columns, st.data())
def test_what_chooses_and_what_judges_never_share_a_label(n, k, horizon, p, data):
    blocks = cut(n, k, horizon, p)
    skip = data.draw(st.integers(0, max(0, len(blocks) - 1)))
    try:
        outer = list(Part(k, skip=skip).split(n, horizon, p))
        free = int(outer[0].train[-1]) + 1
        inner = list(Part(3, rows=free).split(n, horizon, p))
    except NotEnoughHistory:
        return
    for one, whole in zip(outer, blocks[skip:], strict=True):
        assert np.array_equal(one.train, whole.train)
        assert np.array_equal(one.test, whole.test)
    last_exit = max(fold.test[-1] for fold in inner) + 1 + horizon
    assert last_exit < outer[0].test[0]


def test_a_part_with_nothing_left_to_judge_by_is_said_so():
    for skip in (-1, 5, 9):
        with pytest.raises(BadInput, match=f"skip={skip}: of 5 test blocks"):
            next(Part(5, skip=skip).split(5_000, 5))


# --- diagnostics ----------------------------------------------------------------------------------------------

blocks = st.tuples(st.integers(2, 12), st.integers(1, 4)).filter(lambda both: both[1] < both[0])


def combined(n, horizon, number, test, every=False):
    """The folds of a path, or of every combination; none where there are too few rows."""
    split = CombinatorialPurged(number, test)
    try:
        return list(split.combinations(n, horizon) if every else split.split(n, horizon))
    except NotEnoughHistory:
        return []


@given(lengths, horizons, blocks)
def test_no_train_label_overlaps_a_test_label_on_either_side(n, horizon, both):
    for fold in combined(n, horizon, *both, every=True) + combined(n, horizon, *both):
        tested = np.zeros(n + 2 * horizon + 2, dtype=bool)
        for ahead in range(1, horizon + 2):  # the label of t covers the closes t + 1 to t + 1 + horizon
            tested[fold.test + ahead] = True
        for ahead in (1, horizon + 1):  # either end of a train label; test blocks are longer than a label
            assert not tested[fold.train + ahead].any()
        assert len(fold.train) > 0


@given(st.integers(300, 4_000), st.integers(1, 21), blocks)
def test_combinations_are_those_of_skfolio(n, horizon, both):
    number, test = both
    ours = combined(n, horizon, number, test, every=True)
    gap = WalkForward().purge(horizon) + WalkForward().embargo(n, horizon)
    if not ours or test < 2 or gap >= n // number - 1:  # skfolio takes at least two test blocks, and longer ones
        return
    theirs = CombinatorialPurgedCV(n_folds=number, n_test_folds=test, purged_size=gap, embargo_size=0)
    expected = list(theirs.split(np.empty((n, 1))))
    assert len(ours) == len(expected)
    for fold, (train, tests) in zip(ours, expected, strict=True):
        assert np.array_equal(fold.train, train)
        assert np.array_equal(fold.test, np.sort(np.concatenate(tests)))


def test_ten_blocks_two_at_a_time_are_45_fits_and_9_paths_that_test_every_row_once():
    # López de Prado (2018), section 12.4: C(10, 2) splits, of which each block is in 9
    split = CombinatorialPurged()
    every = list(split.combinations(2_500, 5))
    assert (len(every), split.paths) == (45, 9)
    assert np.array_equal(np.bincount(np.concatenate([f.test for f in every])), np.full(2_500, 9))
    trains = []
    for path in range(split.paths):
        walked = list(CombinatorialPurged(path=path).split(2_500, 5))
        assert np.array_equal(np.concatenate([f.test for f in walked]), np.arange(2_500))
        trains += [(f.train.tobytes(), f.test[0]) for f in walked]
    assert len(set(trains)) == 90  # no two paths test a block by what the same rows teach


@pytest.mark.parametrize(
    ("split", "saying"),
    [
        (CombinatorialPurged(10, 10), "test_blocks=10 of blocks=10"),
        (CombinatorialPurged(10, 0), "test_blocks=0"),
        (CombinatorialPurged(51, 2), "blocks=51"),
        (CombinatorialPurged(path=9), "path=9: 2 of 10 blocks make 9 paths"),
        (CombinatorialPurged(path=-1), "path=-1"),
        (KFoldDiagnostic(1), "folds=1"),
    ],
)
def test_knobs_of_diagnostics_that_cannot_be_meant_are_said_so(split, saying):
    with pytest.raises(BadInput, match=saying):
        next(split.split(5_000, 5))


def test_too_few_rows_for_the_gaps_on_both_sides_are_said_so():
    # 170 rows: 8 of 10 blocks are 136, less 2 x 2 gaps of 6 + 5, leave 92; 190 leave 108
    with pytest.raises(NotEnoughHistory, match="170 labelled rows leave fewer than 100 to learn from beside 2 of 10"):
        next(CombinatorialPurged().split(170, 5))
    assert len(list(CombinatorialPurged().split(190, 5))) == 10
    with pytest.raises(NotEnoughHistory, match="421 are needed"):
        next(KFoldDiagnostic().split(200, 5, 69))


def test_k_fold_learns_labels_that_overlap_with_those_it_is_asked_and_says_so():
    for fold in KFoldDiagnostic().split(1_000, 5):
        near = np.isin(fold.test + 1, fold.train) | np.isin(fold.test - 1, fold.train)
        assert near.mean() > 0.9
    tested = np.concatenate([f.test for f in KFoldDiagnostic().split(1_000, 5)])
    assert np.array_equal(np.sort(tested), np.arange(1_000))


def test_only_what_trains_on_the_future_is_a_diagnostic():
    assert WalkForward().diagnostic == Part().diagnostic == ""
    for split in (CombinatorialPurged(), KFoldDiagnostic()):
        assert split.diagnostic.startswith("diagnostic: trains on the future")


def test_whatever_decides_the_cuts_is_part_of_the_address_of_a_result():
    assert repr(WalkForward()) == "WalkForward(folds=None, window=None, rows_per_column=10)"
