"""Many trials at once: which means are above zero, judged by the joint distribution of all of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
DRAWS = 1_000  # a p value near 0.05 then errs by 0.007
SIZE = 0.05
CHUNK = 512  # series at a time: what is held at once does not grow with their number
LEAST_VARIANCE = 0.25  # of a draw, in units of the whole series' own


@dataclass(frozen=True)
class StepDown:
    """Tests of k means against zero from above, adjusted for one another.

    Attributes
    ----------
    t : (k,) means in units of their standard error; NaN where a series never varies or is empty.
    p : (k,) p values adjusted for all k series, at least 1 / (draws + 1); NaN like t.
    largest : (draws,) the largest t in each draw, where no series has a mean above zero.
    leading : (draws,) the same among the first series alone, as many as were asked for.
    degrees : of freedom of each t: independent blocks less one.
    first : how many series are the leading ones.
    """

    t: Array
    p: Array
    largest: NDArray[np.float32]
    leading: NDArray[np.float32]
    degrees: int
    first: int

    def critical(self, size: float = SIZE) -> float:
        """The t that the best series exceeds with probability `size` where none has a mean above zero; NaN for none.

        Beyond what the draws can tell it is Bonferroni's.
        """
        k = int(np.isfinite(self.t).sum())
        if not k:
            return float("nan")
        bound = float(stats.t.isf(size / k, self.degrees))
        told = size >= 1 / (len(self.largest) + 1)
        return min(bound, float(np.quantile(self.largest, 1 - size))) if told else bound

    def effective(self, *, leading: bool = False) -> float:
        r"""Effective number of trials: so many independent ones have the same 95 % quantile of their largest t.

        .. math:: N = \ln 0.95 / \ln F_{m-1}(c_{0.95})

        Another trial can only raise the largest t of a draw, so neither decoys nor near copies lower it. 0 for none.
        """
        k = int(np.isfinite(self.t[: self.first if leading else None]).sum())
        if not k:
            return 0.0
        c = float(np.quantile(self.leading if leading else self.largest, 1 - SIZE))
        return float(np.clip(np.log1p(-SIZE) / np.log1p(-stats.t.sf(c, self.degrees)), 1.0, k))


def stepdown(
    X: "ArrayLike | Columns", *, block: int, overlap: int = 1, draws: int = DRAWS, random_state: int = 0, first: int = 0
) -> StepDown:
    r"""Adjusted p values of "the mean is not above zero" for k series, from a joint circular block bootstrap.

    .. math:: \tilde p_{(j)} = \max_{i \le j} P^*\Big(\max_{l \ge i}\, t^*_{(l)} + g_{(l)} \ge t_{(i)}\Big)

    Blocks of sessions are drawn for all series together, so near copies cost nothing and a decoy only what its
    independence is worth. Each t, the observed and the drawn, is in units of its own standard error (block sums, in a
    draw those of the draw), so spans of different length stand side by side. A series far below zero keeps its mean
    in the draws (g), as it is no rival.

    Parameters
    ----------
    X : (n, k) one series per column, by session; NaN where a trial has no session. Or `Columns`.
    block : sessions in a block; several times the overlap.
    overlap : sessions that an outcome shares with the next ones; what blocks then miss of the variance of its mean, the
        share overlap / (3 block), is added to the observed standard errors.
    draws : bootstrap samples; random_state : of the generator.
    first : how many leading series `StepDown.leading` looks at.

    References
    ----------
    Romano and Wolf (2005), Econometrica 73, 1237-1282; Hansen (2005), JBES 23, 365-380 for g; Götze and Künsch (1996),
    Annals of Statistics 24, 1914-1933 for the block standard error.
    """
    X = X if isinstance(X, Columns) else Columns.of(X)
    n, k = X.shape
    blocks = max(-(-n // block), 2)
    t, p, error = (np.full(k, np.nan) for _ in range(3))
    largest, leading, least = (np.full(draws, -np.inf, np.float32) for _ in range(3))
    if not n or not k:
        return StepDown(t, p, largest, leading, blocks - 1, first)
    caught = 1 - (overlap - 1 / overlap) / (3 * block)  # of the variance of a sum of `overlap` rows
    for some in _chunks(np.arange(k)):
        t[some], error[some] = _observed(X.take(some), block, caught)
    order = np.flatnonzero(np.isfinite(t))
    order = order[np.argsort(-t[order], kind="stable")]
    center = np.where(_rivals(t[order], n), 0.0, t[order]).astype(np.float32)
    count, chosen = np.zeros(len(order)), _chosen(n, blocks, draws, random_state)
    for some in _chunks(np.arange(len(order))[::-1]):  # from the smallest t on, as each is tested among those below it
        which = order[some]
        drawn = _drawn(
            chosen, (_block_sums(_centered(X.take(which))[0], block) / error[which]).astype(np.float32), blocks
        )
        largest, inside = np.maximum(largest, drawn.max(axis=1)), drawn[:, which < first]
        leading = np.maximum(leading, inside.max(axis=1, initial=-np.inf))
        run = np.maximum(np.maximum.accumulate(drawn + center[some], axis=1), least[:, None])
        count[some], least = np.sum(run >= t[which], axis=0), run[:, -1]
    p[order] = np.maximum.accumulate((1 + count) / (draws + 1))
    return StepDown(t, p, largest, leading, blocks - 1, first)


@dataclass(frozen=True)
class Columns:
    """Series by session, (n, k) in `shape`, of which `take` gives some, (n, len(some)): never all at once."""

    shape: tuple[int, int]
    take: Callable[[NDArray[np.intp]], Array]

    @classmethod
    def of(cls, X: ArrayLike) -> "Columns":
        """Those of an array."""
        whole = np.asarray(X, dtype=float)
        return cls((whole.shape[0], whole.shape[1]), lambda some: np.take(whole, some, axis=1))


def _chunks(columns: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [columns[i : i + CHUNK] for i in range(0, len(columns), CHUNK)]


def _observed(X: Array, block: int, caught: float) -> tuple[Array, Array]:
    """The t of each series and its standard error, both NaN where it never moves."""
    D, total = _centered(X)
    error = np.sqrt(np.sum(_block_sums(D, block) ** 2, axis=0) / block)
    moves = error > 1e-9 * np.sqrt(len(X)) * np.nan_to_num(np.abs(X)).max(axis=0, initial=1e-12)
    error = np.where(moves, error, np.nan)
    return total / error * np.sqrt(caught), error


def _rivals(t: Array, n: int) -> NDArray[np.bool_]:
    return np.asarray((t >= -np.sqrt(2 * np.log(np.log(max(n, 3))))) | (len(t) == 1))


def _centered(X: Array) -> tuple[Array, Array]:
    """Deviations from each column's mean, 0 where it has no session, and each column's sum."""
    there = np.isfinite(X)
    total = np.where(there, X, 0.0).sum(axis=0)
    mean = total / np.maximum(there.sum(axis=0), 1)
    return np.where(there, X - mean, 0.0), total


def _block_sums(D: Array, block: int) -> Array:
    """Sums of `block` sessions from each session on, around the end, (n, k)."""
    around = np.concatenate([D, D[np.arange(block) % len(D)]])
    run = np.concatenate([np.zeros((1, D.shape[1])), np.cumsum(around, axis=0)])
    return np.asarray(run[block : block + len(D)] - run[: len(D)])


def _chosen(n: int, blocks: int, draws: int, random_state: int) -> NDArray[np.float32]:
    """How often each draw has the block that begins at each session, (draws, n)."""
    rng = np.random.default_rng(random_state)
    chosen = np.zeros((draws, n), np.float32)
    np.add.at(chosen, (np.repeat(np.arange(draws), blocks), rng.integers(0, n, draws * blocks)), 1)
    return chosen


def _drawn(chosen: NDArray[np.float32], S: NDArray[np.float32], blocks: int) -> NDArray[np.float32]:
    """The t of each column in each draw of `blocks` blocks, (draws, k); S in units of its standard error."""
    total = chosen @ S
    variance = chosen @ (S * S) - total**2 / blocks
    # a draw that misses the few sessions in which a series moves has no error of its own: never below half the usual
    return np.asarray(total / np.sqrt(np.maximum(variance, LEAST_VARIANCE)), dtype=np.float32)
