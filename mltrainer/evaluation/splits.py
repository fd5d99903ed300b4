"""How time is cut into train and test so that no label reaches across the cut."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import TimeSeriesSplit

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
class WalkForward:
    """Expanding (or rolling) walk-forward with a gap of purge + embargo rows before each test block.

    Parameters
    ----------
    folds : number of test blocks; the first sixth (for five folds) of the rows is only ever learned from.
    window : most recent rows to learn from; None expands from the beginning.
    """

    folds: int = 5
    window: int | None = None

    def purge(self, horizon: int) -> int:
        """Rows whose label is not yet known when a test block begins: the label of t ends at t + 1 + horizon."""
        return horizon + 1

    def embargo(self, n: int, horizon: int) -> int:
        """Rows left out beyond the purge, since features are autocorrelated: 1 % of all, at least the horizon."""
        return max(horizon, int(np.ceil(0.01 * n)))

    def split(self, n: int, horizon: int) -> Iterator[Fold]:
        """Yield the folds of `n` labelled rows in the order of time."""
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
        gap = self.purge(horizon) + self.embargo(n, horizon)
        splitter = TimeSeriesSplit(self.folds, gap=gap, max_train_size=self.window)
        for train, test in splitter.split(np.empty(n)):
            yield Fold(train, test)

    def _enough(self, n: int, horizon: int) -> bool:
        return n // (self.folds + 1) >= self.purge(horizon) + self.embargo(n, horizon) + MINIMUM_TRAIN
