"""How time is cut into train and test so that no label reaches across the cut."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, count
from math import comb
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from mltrainer.errors import BadInput, NotEnoughHistory

Rows = NDArray[np.int_]
MINIMUM_TRAIN, MINIMUM_TEST = 100, 200
YEAR, MONTH = 252, 21  # sessions of a test block by default, and of the shortest there may be
MOST_YEARS = 10  # blocks by default, where a longer history has longer ones: each refit costs a fit of every model
MAXIMUM_FOLDS = 600  # a month each for fifty years
MAXIMUM_BLOCKS = 50  # of a diagnostic: with 100 the embargo, one hundredth of all rows, would be as long as a block


@dataclass(frozen=True)
class Fold:
    """Row numbers of one split: learn from `train`, forecast `test`."""

    train: Rows
    test: Rows


@dataclass(frozen=True)
class Split:
    """What every way to cut time has: folds in order, and the rows around a test block that nothing may learn from.

    Attributes
    ----------
    diagnostic : why what is forecast under this split is no evidence; empty where it is. A result that says so is
        kept in the ledger and shown, but neither ranked nor counted.
    """

    diagnostic: ClassVar[str] = ""

    def purge(self, horizon: int) -> int:
        """Rows whose label is not yet known when a test block begins: the label of t ends at t + 1 + horizon."""
        return horizon + 1

    def embargo(self, n: int, horizon: int) -> int:
        """Rows left out beyond the purge, since features are autocorrelated: 1 % of all, at least the horizon."""
        return max(horizon, int(np.ceil(0.01 * n)))

    def gap(self, n: int, horizon: int) -> int:
        """Rows between what is learned from and a test block: purge and embargo."""
        return self.purge(horizon) + self.embargo(n, horizon)

    def split(self, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        """Yield the folds of `n` labelled rows (sessions, of a panel) with so many feature columns."""
        raise NotImplementedError


@dataclass(frozen=True)
class WalkForward(Split):
    """Expanding (or rolling) walk-forward with a gap of purge + embargo rows before each test block.

    The model is refitted every 252 sessions, or ten times where there are more than ten years to test. The first
    block begins as soon as there is enough to learn from; the last takes what is left, at least half as many sessions
    as the others and at most one and a half times as many. Less than two years to test make two blocks.

    Parameters
    ----------
    folds : so many test blocks of equal length instead, up to one a month (21 sessions). What does not divide is only
        ever learned from, and so is the first sixth of the rows (for five folds), or more where the columns need more.
    window : most recent rows to learn from; None expands from the beginning.
    rows_per_column : rows to learn from before the first forecast, for each feature column; of a short history no more
        than half of it, and never fewer than 100. Rows of a panel are sessions, as those of one day share its news.
        There must be 200 rows left to forecast.

    Notes
    -----
    The gap does not depend on how often the model is refitted, so that cadences can be compared. Where it is longer
    than a block the model is a few weeks old when it is asked: that costs freshness, never honesty.

    Labels of h sessions overlap, so that n rows teach about as much as n / h. Least squares on p columns then forecasts
    noise with a variance of p / (n / h - p) of the outcome's: at h = 5 and 69 columns 220 % from 500 rows, 100 % from
    ten rows per column, 50 % from fifteen. Ten is where a penalty can do the rest; more would cost years of forecasts.
    """

    folds: int | None = None
    window: int | None = None
    rows_per_column: int = 10

    def split(self, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        """Yield the folds of `n` labelled rows in the order of time."""
        self._checked(n, horizon, columns)
        gap, start = self.gap(n, horizon), self._start(n, horizon, columns)
        if self.folds is None:
            size = min(max(YEAR, -(-(n - start) // MOST_YEARS)), (n - start) // 2)
            edges = start + size * np.arange(round((n - start) / size))
        else:
            size = min(n // (self.folds + 1), (n - start) // self.folds)
            edges = n - size * np.arange(self.folds, 0, -1)
        for test in np.split(np.arange(n), edges)[1:]:
            end = test[0] - gap
            yield Fold(np.arange(max(0, end - (self.window or end)), end), test)

    def _start(self, n: int, horizon: int, columns: int) -> int:
        """First row that may be forecast."""
        return max(MINIMUM_TRAIN, min(self.rows_per_column * columns, n // 2)) + self.gap(n, horizon)

    def _checked(self, n: int, horizon: int, columns: int = 0) -> None:
        if self.folds is not None and not 2 <= self.folds <= MAXIMUM_FOLDS:
            raise BadInput(f"folds={self.folds}: walk-forward takes 2 to {MAXIMUM_FOLDS}")
        if self.window is not None and self.window < MINIMUM_TRAIN:
            raise BadInput(f"window={self.window}: learn from at least {MINIMUM_TRAIN} rows")
        if self.rows_per_column < 0:
            raise BadInput(f"rows_per_column={self.rows_per_column}: give 0 or more")
        if not self._enough(n, horizon, columns):
            need = next(rows for rows in count(n) if self._enough(rows, horizon, columns))
            what = f"{self.folds} folds" if self.folds else "a walk-forward"
            raise NotEnoughHistory(
                f"{n} labelled rows are too few for {what} at horizon {horizon}: {need} are needed; widen start and end"
            )

    def _enough(self, n: int, horizon: int, columns: int) -> bool:
        return n - self._start(n, horizon, columns) >= max(MINIMUM_TEST, MONTH * (self.folds or 0))


@dataclass(frozen=True)
class Part(WalkForward):
    """Part of a walk-forward: what a search may see to choose, or what is left to judge the choice.

    Parameters
    ----------
    skip : leading test blocks that are not tested, since a choice was made on them.
    rows : only the first so many rows, as if the others had not happened yet; None for all.
    """

    skip: int = 0
    rows: int | None = None

    def split(self, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        """Yield the folds of the part, in the order of time."""
        whole = list(super().split(min(n, self.rows or n), horizon, columns))
        if not 0 <= self.skip < len(whole):
            raise BadInput(f"skip={self.skip}: of {len(whole)} test blocks at least one must be left to judge by")
        yield from whole[self.skip :]


@dataclass(frozen=True)
class CombinatorialPurged(Split):
    """Combinatorial purged cross-validation: any `test_blocks` of `blocks` are tested by what the rest teaches.

    Each block is tested several times, so that there are several paths through all of time, and a spread of results
    instead of one. Purge and embargo are left out on both sides of every test block, as train rows lie on both.

    Parameters
    ----------
    blocks, test_blocks : 10 and 2 give 45 fits and 9 paths.
    path : which of the paths `split` walks, from 0.

    References
    ----------
    López de Prado (2018), *Advances in Financial Machine Learning*, ch. 12.
    """

    diagnostic: ClassVar[str] = "diagnostic: trains on the future of what it forecasts, though never on its labels"
    blocks: int = 10
    test_blocks: int = 2
    path: int = 0

    @property
    def paths(self) -> int:
        """How many paths there are: each block is tested so often."""
        return comb(self.blocks - 1, self.test_blocks - 1)

    def split(self, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        """Yield the folds of one path, which tests every row once."""
        parts, chosen = self._parts(n, horizon), list(combinations(range(self.blocks), self.test_blocks))
        if not 0 <= self.path < self.paths:
            raise BadInput(
                f"path={self.path}: {self.test_blocks} of {self.blocks} blocks make {self.paths} paths, from 0"
            )
        for block, test in enumerate(parts):
            yield Fold(self._train(n, horizon, [parts[b] for b in [c for c in chosen if block in c][self.path]]), test)

    def combinations(self, n: int, horizon: int) -> Iterator[Fold]:
        """Yield every combination once; `test` holds the rows of all its blocks."""
        parts = self._parts(n, horizon)
        for chosen in combinations(parts, self.test_blocks):
            yield Fold(self._train(n, horizon, chosen), np.concatenate(chosen))

    def _parts(self, n: int, horizon: int) -> list[Rows]:
        if not 1 <= self.test_blocks < self.blocks <= MAXIMUM_BLOCKS:
            some = f"test_blocks={self.test_blocks} of blocks={self.blocks}"
            raise BadInput(f"{some}: test some of 2 to {MAXIMUM_BLOCKS}")
        size, gap = n // self.blocks, self.gap(n, horizon)
        if (self.blocks - self.test_blocks) * size - 2 * self.test_blocks * gap < MINIMUM_TRAIN:
            raise NotEnoughHistory(
                f"{n} labelled rows leave fewer than {MINIMUM_TRAIN} to learn from beside {self.test_blocks} of "
                f"{self.blocks} blocks and gaps of {gap} at horizon {horizon}; widen start and end"
            )
        return np.split(np.arange(n), size * np.arange(1, self.blocks))

    def _train(self, n: int, horizon: int, tests: "list[Rows] | tuple[Rows, ...]") -> Rows:
        gap, free = self.gap(n, horizon), np.ones(n, dtype=bool)
        for test in tests:
            free[max(0, test[0] - gap) : test[-1] + 1 + gap] = False
        return np.flatnonzero(free)


@dataclass(frozen=True)
class KFoldDiagnostic(Split):
    """Shuffled K-fold, as it is often done: it learns the neighbors of a test row, whose labels overlap with its own.

    It is here to show by how much that flatters a model (`mltrainer.leakage_gap`), and for nothing else.
    """

    diagnostic: ClassVar[str] = "diagnostic: trains on the future, and on labels that overlap with those it is asked"
    folds: int = 5

    def purge(self, horizon: int) -> int:
        """Nothing is left out; that is the point."""
        return 0

    def embargo(self, n: int, horizon: int) -> int:
        """Nothing is left out; that is the point."""
        return 0

    def split(self, n: int, horizon: int, columns: int = 0) -> Iterator[Fold]:
        """Yield the folds; rows are shuffled by a fixed seed."""
        WalkForward(self.folds)._checked(n, horizon, columns)  # it must have been possible to do it right
        for train, test in KFold(self.folds, shuffle=True, random_state=0).split(np.empty(n)):
            yield Fold(train, test)
