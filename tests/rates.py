"""Is a rate what was claimed? Two-sided: a rule that never says yes fails as one that says it too often."""

from scipy import stats

SURE = 0.99


def claimed(count: int, n: int, rate: float) -> bool:
    """Whether a rule that says yes at this rate would say it so often among n worlds, in 99 of 100 cases.

    >>> claimed(20, 400, 0.05), claimed(8, 400, 0.05), claimed(33, 400, 0.05)
    (True, False, False)
    """
    low, high = stats.binom.interval(SURE, n, rate)
    assert low > 0, f"among {n} worlds a rule that never says yes cannot be told from one that does at {rate:g}"
    return bool(low <= count <= high)
