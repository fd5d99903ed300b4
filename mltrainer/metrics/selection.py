"""Many trials: what luck alone would show, and which model is the best of many."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mltrainer.metrics.base import Array

EULER_GAMMA = 0.5772156649015329


def luck_threshold(spread: float, n_trials: float) -> float:
    r"""Best annual Sharpe ratio to expect from luck alone among `n_trials` skill-less trials.

    .. math:: \mathrm{SR}_0 = s\left[(1-\gamma) z(1 - 1/N) + \gamma z(1 - 1/(N e))\right]

    with γ the Euler-Mascheroni constant. Between one trial, of which zero is to be expected, and two it is a line; NaN
    for one or fewer.

    Parameters
    ----------
    spread : s, the standard deviation of the annual Sharpe ratios of skill-less trials.
    n_trials : N, how many independent trials there were.

    References
    ----------
    Bailey and López de Prado (2014), Journal of Portfolio Management 40(5), 94-107, eq. 1.

    >>> round(luck_threshold(1.0, 105), 2)  # of 105 models without skill, over one year
    2.55
    """
    if n_trials <= 1:
        return float("nan")
    if n_trials < 2:
        return (n_trials - 1) * luck_threshold(spread, 2)
    z, n = stats.norm.ppf, n_trials
    return float(spread * ((1 - EULER_GAMMA) * z(1 - 1 / n) + EULER_GAMMA * z(1 - 1 / (n * np.e))))


def minimum_backtest(n_trials: float, sharpe: float = 1.0) -> float:
    r"""Years of history below which the best of `n_trials` without skill shows an annual Sharpe ratio of `sharpe`.

    .. math:: \mathrm{MinBTL} = \left(\frac{(1-\gamma) z(1 - 1/N) + \gamma z(1 - 1/(N e))}{\mathrm{SR}}\right)^2

    NaN for fewer than two trials and for a Sharpe ratio that is not above 0.

    References
    ----------
    Bailey, Borwein, López de Prado and Zhu (2014), Notices of the AMS 61(5), 458-471, theorem 1: after 5 years, no more
    than 45 configurations should be tried.

    >>> round(minimum_backtest(45), 2)
    5.0
    """
    return (luck_threshold(1.0, n_trials) / sharpe) ** 2 if sharpe > 0 else float("nan")


def backtest_overfitting(trial_returns: ArrayLike, *, blocks: int = 10) -> float:
    """Probability that the best trial in one half of the time is no better than the median in the other half (PBO).

    Combinatorially symmetric cross-validation: the sessions are cut into `blocks`, every half of the blocks
    chooses the trial with the best Sharpe ratio, and the other half ranks it: r of k, the best being k. PBO is the
    share of splits with logit(r / (k + 1)) <= 0; so the median itself, where k is odd, is no better than the median.

    Parameters
    ----------
    trial_returns : (n_sessions, k >= 2) net returns over the same sessions.
    blocks : even number; 10 gives 252 splits.

    References
    ----------
    Bailey, Borwein, López de Prado and Zhu (2017), Journal of Computational Finance 20(4), 39-69.
    """
    R = np.asarray(trial_returns, dtype=float)
    return BlockSums.overfitting([BlockSums.of(R[:, i], blocks) for i in range(R.shape[1])])


class BlockSums(NamedTuple):
    """What the probability of backtest overfitting needs of one trial: sums and squares of its returns by block."""

    total: Array
    square: Array
    n: Array

    @classmethod
    def of(cls, returns: Array, blocks: int = 10) -> "BlockSums":
        """Of the returns of one trial, (n_sessions,); no blocks of one that never moves, or is too short."""
        if len(returns) < 4 * blocks or not returns.std() > 0:
            return cls(np.empty(0), np.empty(0), np.empty(0))
        parts = np.array_split(returns, blocks)
        sums = np.array([[p.sum(), (p**2).sum(), len(p)] for p in parts])
        return cls(*sums.T)

    @staticmethod
    def overfitting(trials: "Sequence[BlockSums]") -> float:
        """The probability among trials over the same sessions; NaN for fewer than two that move."""
        moving = [t for t in trials if len(t.n)]
        if len(moving) < 2:
            return float("nan")
        n, blocks = moving[0].n, len(moving[0].n)
        total, square = (np.column_stack([getattr(t, name) for t in moving]) for name in ("total", "square"))

        def ratio(chosen: Sequence[int]) -> Array:
            c = list(chosen)
            mean = total[c].sum(axis=0) / n[c].sum()
            return np.asarray(mean / np.sqrt(np.maximum(square[c].sum(axis=0) / n[c].sum() - mean**2, 1e-300)))

        below = 0
        halves = list(combinations(range(blocks), blocks // 2))
        for half in halves:
            best = int(np.argmax(ratio(half)))
            rest = ratio([b for b in range(blocks) if b not in half])
            below += bool(np.sum(rest <= rest[best]) / (len(rest) + 1) <= 0.5)
        return below / len(halves)


CHUNK = 512  # models whose samples are held at once
DRAWS = 300  # bootstrap samples: a p value near 0.05 errs by about 0.01


def superior_ability(losses: ArrayLike, benchmark: ArrayLike, *, overlap: int, seed: int = 0) -> float:
    """P value of the hypothesis that no model has a smaller expected loss than the benchmark (SPA).

    Parameters
    ----------
    losses : (n, k) losses of k models, in the order of time, no NaN.
    benchmark : (n,) losses of the forecast to beat.
    overlap : rows over which an outcome overlaps with the next ones (horizon); losses are averaged over as many, at
        least 5, and resampled in blocks (see `periods`). NaN for fewer than 20 such periods.

    References
    ----------
    Hansen (2005), Journal of Business & Economic Statistics 23, 365-380; the consistent p value.
    """
    return superior_of_periods(periods(losses, overlap), periods(benchmark, overlap), seed=seed)


def superior_of_periods(losses: Array, benchmark: Array, *, seed: int = 0) -> float:
    """`superior_ability` from mean losses by period (`periods`), (n, k) and (n,); so many models at a time."""
    from arch.bootstrap import SPA

    L, b = losses, benchmark[:, None]
    L = L[:, np.std(L - b, axis=0) > 1e-12 * np.std(b)]  # one that forecasts what the benchmark does is no rival
    if len(L) < 20 or not L.shape[1]:
        return float("nan")
    if L.mean(axis=0).min() >= b.mean():
        return 1.0  # Hansen's statistic is then 0, the least it can be; arch goes below
    if L.shape[1] <= CHUNK:
        test = SPA(b[:, 0], L, block_size=_block(len(L)), reps=DRAWS, seed=seed)
        test.compute()
        return float(test.pvalues["consistent"])
    some = np.array_split(np.arange(L.shape[1]), -(-L.shape[1] // CHUNK))
    found = [_bootstrap_maxima(b - L[:, which], _block(len(L)), seed) for which in some]
    best = max(best for best, _ in found)
    return float(np.mean(np.max([drawn for _, drawn in found], axis=0) > best))


def _bootstrap_maxima(D: Array, block: int, seed: int) -> tuple[float, Array]:
    """The largest mean gain of models over a benchmark, (n, k) by period, and the largest in each bootstrap sample.

    As arch's `SPA` has it with its consistent recentering, which holds all samples of all models at once.
    """
    from arch.bootstrap import StationaryBootstrap

    n, mean, around = len(D), D.mean(axis=0), D - D.mean(axis=0)
    variance, stay = (around**2).sum(axis=0) / n, 1 - 1 / block
    for i in range(1, n):
        kappa = (1 - i / n) * stay**i + i / n * stay ** (n - i)
        variance += 2 * kappa * (around[: n - i] * around[i:]).sum(axis=0) / n
    center = np.where(mean >= -np.sqrt(variance / n * 2 * np.log(np.log(n))), mean, 0.0)
    samples = StationaryBootstrap(block, D, seed=seed).bootstrap(DRAWS)
    return float(mean.max()), np.array([(data[0].mean(axis=0) - center).max() for data, _ in samples])


def confidence_set(losses: ArrayLike, *, overlap: int, size: float = 0.10, seed: int = 0) -> NDArray[np.bool_]:
    """Which models may be the best: (k,), True for those in the model confidence set of level 1 - `size`.

    Models are left out one by one, the worst first, until the rest cannot be told apart. All are in it where there
    is too little to tell.

    Parameters
    ----------
    losses, overlap : as for `superior_ability`; models with the same losses share their fate.

    References
    ----------
    Hansen, Lunde and Nason (2011), Econometrica 79, 453-497; the statistic T_max.
    """
    return set_of_periods(periods(losses, overlap), size=size, seed=seed)


def set_of_periods(losses: Array, *, size: float = 0.10, seed: int = 0) -> NDArray[np.bool_]:
    """`confidence_set` from mean losses by period (`periods`), (n, k)."""
    from arch.bootstrap import MCS

    L = losses
    different, which = np.unique(L, axis=1, return_inverse=True)
    k = different.shape[1]
    if len(L) < 20 or k < 2:
        return np.ones(L.shape[1], dtype=bool)
    test = MCS(different, size=size, block_size=_block(len(L)), reps=DRAWS, method="max", seed=seed)
    test.compute()
    return np.array([model in test.included for model in range(k)])[which.ravel()]


def periods(losses: ArrayLike, overlap: int) -> Array:
    """Mean losses of periods of `overlap` rows, at least a week: fewer rows, and less overlap for the bootstrap.

    Of (n, k) losses it is (n / overlap, k), of (n,) losses (n / overlap,).
    """
    L, step = np.asarray(losses, dtype=float), max(overlap, 5)
    if L.ndim == 1:  # one of several has the sum that it has among them, to the last bit
        return periods(np.column_stack([L, L]), overlap)[:, 0]
    n = len(L) // step
    return np.asarray(L[: n * step].reshape(n, step, -1).mean(axis=1))


def _block(n: int) -> int:
    return max(2, round(n ** (1 / 3)))  # neighbors still overlap by a row; the rate is that of Künsch (1989)
