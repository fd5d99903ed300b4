"""Many trials at once: which means are above zero, judged by the joint distribution of all of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]
DRAWS = 1_000  # a p value near 0.05 then errs by 0.007
SIZE = 0.05
LEAST_VARIANCE = 0.25  # of a draw, in units of the whole series' own


@dataclass(frozen=True)
class StepDown:
    """Tests of k means against zero from above, adjusted for one another.

    Attributes
    ----------
    t : (k,) means in units of their standard error; NaN where a series never varies or is empty.
    p : (k,) p values adjusted for all k series, at least 1 / (draws + 1); NaN like t.
    drawn : (draws, k) each t in each draw, where no series has a mean above zero.
    degrees : of freedom of each t: independent blocks less one.
    """

    t: Array
    p: Array
    drawn: NDArray[np.float32]
    degrees: int

    def critical(self, size: float = SIZE) -> float:
        """The t that the best series exceeds with probability `size` where none has a mean above zero; NaN for none.

        Beyond what the draws can tell it is Bonferroni's.
        """
        k = int(np.isfinite(self.t).sum())
        if not k:
            return float("nan")
        bound = float(stats.t.isf(size / k, self.degrees))
        told = size >= 1 / (len(self.drawn) + 1)
        return min(bound, float(np.quantile(self.drawn.max(axis=1), 1 - size))) if told else bound

    def effective(self, columns: slice = slice(None)) -> float:
        r"""Effective number of trials: so many independent ones have the same 95 % quantile of their largest t.

        .. math:: N = \ln 0.95 / \ln F_{m-1}(c_{0.95})

        Another trial can only raise the largest t of a draw, so neither decoys nor near copies lower it. 0 for none.
        """
        k = int(np.isfinite(self.t[columns]).sum())
        if not k:
            return 0.0
        c = float(np.quantile(self.drawn[:, columns].max(axis=1), 1 - SIZE))
        return float(np.clip(np.log1p(-SIZE) / np.log1p(-stats.t.sf(c, self.degrees)), 1.0, k))


def stepdown(X: ArrayLike, *, block: int, overlap: int = 1, draws: int = DRAWS, random_state: int = 0) -> StepDown:
    r"""Adjusted p values of "the mean is not above zero" for k series, from a joint circular block bootstrap.

    .. math:: \tilde p_{(j)} = \max_{i \le j} P^*\Big(\max_{l \ge i}\, t^*_{(l)} + g_{(l)} \ge t_{(i)}\Big)

    Blocks of sessions are drawn for all series together, so near copies cost nothing and a decoy only what its
    independence is worth. Each t, the observed and the drawn, is in units of its own standard error (block sums, in a
    draw those of the draw), so spans of different length stand side by side. A series far below zero keeps its mean
    in the draws (g), as it is no rival.

    Parameters
    ----------
    X : (n, k) one series per column, by session; NaN where a trial has no session.
    block : sessions in a block; several times the overlap.
    overlap : sessions that an outcome shares with the next ones; what blocks then miss of the variance of its mean, the
        share overlap / (3 block), is added to the observed standard errors.
    draws : bootstrap samples; random_state : of the generator.

    References
    ----------
    Romano and Wolf (2005), Econometrica 73, 1237-1282; Hansen (2005), JBES 23, 365-380 for g; Götze and Künsch (1996),
    Annals of Statistics 24, 1914-1933 for the block standard error.
    """
    X = np.asarray(X, dtype=float)
    n, k = X.shape
    blocks = max(-(-n // block), 2)
    t, p, drawn = np.full(k, np.nan), np.full(k, np.nan), np.full((draws, k), -np.inf, np.float32)
    if n:
        D, total = _centered(X)
        S = _block_sums(D, block)
        error = np.sqrt(np.sum(S**2, axis=0) / block)
        caught = 1 - (overlap - 1 / overlap) / (3 * block)  # of the variance of a sum of `overlap` rows
        moves = error > 1e-9 * np.sqrt(n) * np.nan_to_num(np.abs(X)).max(axis=0, initial=1e-12)
        t[moves] = total[moves] / error[moves] * np.sqrt(caught)
        drawn[:, moves] = _drawn((S[:, moves] / error[moves]).astype(np.float32), blocks, draws, random_state)
        p[moves] = _adjusted(t[moves], drawn[:, moves], n)
    return StepDown(t, p, drawn, blocks - 1)


def _adjusted(t: Array, drawn: NDArray[np.float32], n: int) -> Array:
    rival = (t >= -np.sqrt(2 * np.log(np.log(max(n, 3))))) | (len(t) == 1)
    center = np.where(rival, 0.0, t).astype(np.float32)
    order = np.argsort(-t, kind="stable")
    largest = np.maximum.accumulate((drawn + center)[:, order[::-1]], axis=1)[:, ::-1]
    p = np.empty(len(t))
    p[order] = np.maximum.accumulate((1 + np.sum(largest >= t[order], axis=0)) / (len(drawn) + 1))
    return p


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


def _drawn(S: NDArray[np.float32], blocks: int, draws: int, random_state: int) -> NDArray[np.float32]:
    """The t of each column in each draw of `blocks` blocks, (draws, k); S in units of its standard error."""
    rng = np.random.default_rng(random_state)
    chosen = np.zeros((draws, len(S)), np.float32)
    np.add.at(chosen, (np.repeat(np.arange(draws), blocks), rng.integers(0, len(S), draws * blocks)), 1)
    total = chosen @ S
    variance = chosen @ (S * S) - total**2 / blocks
    # a draw that misses the few sessions in which a series moves has no error of its own: never below half the usual
    return np.asarray(total / np.sqrt(np.maximum(variance, LEAST_VARIANCE)), dtype=np.float32)
