"""How time is cut into train and test so that no label reaches across the cut."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, count
from math import comb
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, TimeSeriesSplit

from mltrainer.errors import BadInput, NotEnoughHistory

Rows = NDArray[np.int_]
MINIMUM_TRAIN = 100
MAXIMUM_FOLDS = 50  # with 100 the embargo, one hundredth of all rows, would be as long as a block


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

    @property
    def folds(self) -> int:
        """Test blocks."""
        raise NotImplementedError

    def purge(self, horizon: int) -> int:
        """Rows whose label is not yet known when a test block begins: the label of t ends at t + 1 + horizon."""
        return horizon + 1

    def embargo(self, n: int, horizon: int) -> int:
        """Rows left out beyond the purge, since features are autocorrelated: 1 % of all, at least the horizon."""
        return max(horizon, int(np.ceil(0.01 * n)))

    def split(self, n: int, horizon: int) -> Iterator[Fold]:
        """Yield the folds of `n` labelled rows."""
        raise NotImplementedError


@dataclass(frozen=True)
class WalkForward(Split):
    """Expanding (or rolling) walk-forward with a gap of purge + embargo rows before each test block.

    Parameters
    ----------
    folds : number of test blocks; the first sixth (for five folds) of the rows is only ever learned from.
    window : most recent rows to learn from; None expands from the beginning.
    """

    folds: int = 5
    window: int | None = None

    def split(self, n: int, horizon: int) -> Iterator[Fold]:
        """Yield the folds of `n` labelled rows in the order of time."""
        self._checked(n, horizon)
        gap = self.purge(horizon) + self.embargo(n, horizon)
        splitter = TimeSeriesSplit(self.folds, gap=gap, max_train_size=self.window)
        for train, test in splitter.split(np.empty(n)):
            yield Fold(train, test)

    def _checked(self, n: int, horizon: int) -> None:
        if not 2 <= self.folds <= MAXIMUM_FOLDS:
            raise BadInput(f"folds={self.folds}: walk-forward takes 2 to {MAXIMUM_FOLDS}")
        if self.window is not None and self.window < MINIMUM_TRAIN:
            raise BadInput(f"window={self.window}: learn from at least {MINIMUM_TRAIN} rows")
        if not self._enough(n, horizon):
            need = next(rows for rows in count(n) if self._enough(rows, horizon))
            raise NotEnoughHistory(
                f"{n} labelled rows are too few for {self.folds} folds at horizon {horizon}: {need} are needed; "
                "widen start and end"
            )

    def _enough(self, n: int, horizon: int) -> bool:
        return n // (self.folds + 1) >= self.purge(horizon) + self.embargo(n, horizon) + MINIMUM_TRAIN


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

    def split(self, n: int, horizon: int) -> Iterator[Fold]:
        """Yield the folds of the part, in the order of time."""
        if not 0 <= self.skip < self.folds:
            raise BadInput(f"skip={self.skip}: of {self.folds} test blocks at least one must be left to judge by")
        for number, fold in enumerate(super().split(min(n, self.rows or n), horizon)):
            if number >= self.skip:
                yield fold


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
    def folds(self) -> int:
        """Test blocks of a path."""
        return self.blocks

    @property
    def paths(self) -> int:
        """How many paths there are: each block is tested so often."""
        return comb(self.blocks - 1, self.test_blocks - 1)

    def split(self, n: int, horizon: int) -> Iterator[Fold]:
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
        if not 1 <= self.test_blocks < self.blocks <= MAXIMUM_FOLDS:
            raise BadInput(f"test_blocks={self.test_blocks} of blocks={self.blocks}: test some of 2 to {MAXIMUM_FOLDS}")
        size, gap = n // self.blocks, self.purge(horizon) + self.embargo(n, horizon)
        if (self.blocks - self.test_blocks) * size - 2 * self.test_blocks * gap < MINIMUM_TRAIN:
            raise NotEnoughHistory(
                f"{n} labelled rows leave fewer than {MINIMUM_TRAIN} to learn from beside {self.test_blocks} of "
                f"{self.blocks} blocks and gaps of {gap} at horizon {horizon}; widen start and end"
            )
        return np.split(np.arange(n), size * np.arange(1, self.blocks))

    def _train(self, n: int, horizon: int, tests: "list[Rows] | tuple[Rows, ...]") -> Rows:
        gap, free = self.purge(horizon) + self.embargo(n, horizon), np.ones(n, dtype=bool)
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

    def split(self, n: int, horizon: int) -> Iterator[Fold]:
        """Yield the folds; rows are shuffled by a fixed seed."""
        WalkForward(self.folds)._checked(n, horizon)  # it must have been possible to do it right
        for train, test in KFold(self.folds, shuffle=True, random_state=0).split(np.empty(n)):
            yield Fold(train, test)
