"""Were the promises kept? Tests of value at risk, expected shortfall, intervals and probabilities against what came.

A failure is an outcome outside what was promised: a loss beyond the value at risk, a return outside its interval. The
tests of coverage take failures in the order of time, (n,) true or false, and `alpha`, how often one was promised.

Their p values are those of the papers, of a chi-square for large n. Few failures are not many: at 250 sessions and 1 %
the tests at a level of 5 % reject a right model in 9 % of cases (`kupiec`), 1 % (`christoffersen_independence`) and 1 %
(`christoffersen`); at 1,000 sessions and 5 %, in 5, 8 and 6 %. With `draws` the p value is instead the rank of the
statistic among so many simulated histories of a right model, which never rejects too often (Dufour 2006, Journal of
Econometrics 133).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats
from scipy.special import xlogy

from mltrainer.errors import BadInput
from mltrainer.metrics.base import UNTESTED, Array, Tested, aligned

Flags = NDArray[np.bool_]
LEAST = 8  # rows below which nothing is tested


# --- coverage ---------------------------------------------------------------------------------------------------


def failures(returns: ArrayLike, value_at_risk: ArrayLike) -> Flags:
    """Sessions that lost more than was said, (m,) true or false; those without a return or a figure are left out."""
    r, var = aligned(returns, value_at_risk)
    return np.asarray(r < -var)


def misses(y: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Flags:
    """Outcomes outside their interval, (m,) true or false; rows with a NaN are left out."""
    outcome, low, high = aligned(y, lower, upper)
    return np.asarray((outcome < low) | (outcome > high))


def kupiec(failed: ArrayLike, *, alpha: float, draws: int = 0, random_state: int = 0) -> Tested:
    r"""Test that failures are as frequent as promised (proportion of failures): (LR, p), chi-square with 1 degree.

    .. math:: \mathrm{LR} = -2 \ln \frac{(1-\alpha)^{n-x} \alpha^x}{(1-x/n)^{n-x} (x/n)^x}

    Parameters
    ----------
    failed : (n,) true or false. alpha : the promised share of failures.
    draws : see above; 0 for the p value of the paper. random_state : of the generator.

    References
    ----------
    Kupiec (1995), Journal of Derivatives 3, 73-84.
    """
    return _tested(failed, lambda F: _coverage(F, alpha), 1, _independent(alpha), draws, random_state)


def christoffersen_independence(failed: ArrayLike, *, draws: int = 0, random_state: int = 0) -> Tested:
    r"""Test that a failure does not make the next one more or less likely: (LR, p), chi-square with 1 degree.

    .. math:: \mathrm{LR} = -2 \ln \frac{(1-\pi)^{n_{00}+n_{10}} \pi^{n_{01}+n_{11}}}
              {(1-\pi_{01})^{n_{00}} \pi_{01}^{n_{01}} (1-\pi_{11})^{n_{10}} \pi_{11}^{n_{11}}}

    It sees clusters of neighbors only. Parameters as for `kupiec`; drawn histories are permutations of the failures.

    References
    ----------
    Christoffersen (1998), International Economic Review 39, 841-862.
    """
    return _tested(failed, _clusters, 1, _permuted, draws, random_state)


def christoffersen(failed: ArrayLike, *, alpha: float, draws: int = 0, random_state: int = 0) -> Tested:
    """Test that failures are as frequent as promised and do not cluster (conditional coverage), chi-square with 2.

    The statistic is the sum of those of `kupiec` (of all n) and `christoffersen_independence` (of the n - 1 pairs).
    """
    both: Callable[[Flags], Array] = lambda F: _coverage(F, alpha) + _clusters(F)  # noqa: E731
    return _tested(failed, both, 2, _independent(alpha), draws, random_state)


def _tested(
    failed: ArrayLike,
    statistic: Callable[[Flags], Array],
    degrees: int,
    draw: Callable[[Flags, np.random.Generator, int], Flags],
    draws: int,
    random_state: int,
) -> Tested:
    F = np.asarray(failed, dtype=bool)
    if F.ndim != 1:
        raise BadInput(f"failures are (n,) true or false in the order of time, and these have shape {F.shape}")
    if len(F) < LEAST:
        return UNTESTED
    found = float(statistic(F[None])[0])
    if not draws:
        return Tested(found, float(stats.chi2.sf(found, degrees)))
    drawn = statistic(draw(F, np.random.default_rng(random_state), draws))
    return Tested(found, float((1 + np.sum(drawn >= found - 1e-9)) / (draws + 1)))


def _independent(alpha: float) -> Callable[[Flags, np.random.Generator, int], Flags]:
    return lambda F, rng, k: rng.random((k, len(F)), dtype=np.float32) < alpha


def _permuted(F: Flags, rng: np.random.Generator, k: int) -> Flags:
    return rng.permuted(np.tile(F, (k, 1)), axis=1)


def _log_likelihood(no: Array, yes: Array) -> Array:
    """Largest log likelihood of independent draws with so many of each; 0 where there are none."""
    total = np.maximum(no + yes, 1)
    return np.asarray(xlogy(no, no / total) + xlogy(yes, yes / total))


def _coverage(F: Flags, alpha: float) -> Array:
    """Kupiec's statistic of each row of F (k, n)."""
    if not 0 < alpha < 1:
        raise BadInput(f"alpha={alpha}: failures are promised in a share of sessions between 0 and 1")
    yes = F.sum(axis=1).astype(float)
    no = F.shape[1] - yes
    return np.maximum(2 * (_log_likelihood(no, yes) - no * np.log1p(-alpha) - yes * np.log(alpha)), 0.0)


def _clusters(F: Flags) -> Array:
    """Christoffersen's statistic of independence of each row of F (k, n)."""
    before, after = F[:, :-1], F[:, 1:]
    n01, n11 = (~before & after).sum(axis=1).astype(float), (before & after).sum(axis=1).astype(float)
    n00, n10 = (~before & ~after).sum(axis=1).astype(float), (before & ~after).sum(axis=1).astype(float)
    free = _log_likelihood(n00, n01) + _log_likelihood(n10, n11)
    return np.maximum(2 * (free - _log_likelihood(n00 + n10, n01 + n11)), 0.0)


# --- expected shortfall -----------------------------------------------------------------------------------------


def acerbi_szekely(
    returns: ArrayLike,
    value_at_risk: ArrayLike,
    expected_shortfall: ArrayLike,
    *,
    alpha: float,
    given_failures: bool = False,
    degrees: float | None = None,
    draws: int = 10_000,
    random_state: int = 0,
) -> Tested:
    r"""Test that shortfalls are as small as was said: (Z, p); Z is **0 where they are right, negative where worse**.

    .. math:: Z_2 = \sum_t \frac{r_t I_t}{n \alpha\, \mathrm{ES}_t} + 1, \qquad
              Z_1 = \frac{1}{\sum_t I_t} \sum_t \frac{r_t I_t}{\mathrm{ES}_t} + 1

    with I the failures of the value at risk. Z₂ sees both how often and how much is lost beyond it; Z₁
    (`given_failures`) how much only, so it belongs beside `kupiec`. The p value is one-sided, from `draws` histories in
    which each return has mean 0 and a Student distribution of the same shape.

    Parameters
    ----------
    returns, value_at_risk, expected_shortfall : (n,) returns, and what was said before, positive fractions; rows with a
        NaN are left out.
    alpha : of both figures; 0.025 is the regulator's.
    degrees : of freedom of that distribution, infinite for a normal one; default the one whose shortfall is as many
        times its value at risk as the median row says. With fewer, the p value is larger.

    Returns
    -------
    Tested
        NaN below 8 rows; Z₁ also without a failure.

    References
    ----------
    Acerbi and Székely (2014), *Backtesting expected shortfall*, Risk 27(11), eq. 5 and 6.
    """
    if not 0 < alpha < 0.5:
        raise BadInput(f"alpha={alpha}: the tail of losses has a probability between 0 and 0.5, usually 0.025")
    r, var, es = aligned(returns, value_at_risk, expected_shortfall)
    if not ((var > 0) & (es >= var)).all():
        raise BadInput(
            "a value at risk is positive, and its shortfall at least as large; give both as positive fractions"
        )
    failed = r < -var
    if len(r) < LEAST or (given_failures and not failed.any()):
        return UNTESTED
    expected = float(failed.sum()) if given_failures else len(r) * alpha
    found = float(np.sum(r[failed] / es[failed]) / expected + 1)
    nu = _shape(float(np.median(es / var)), alpha) if degrees is None else degrees
    drawn = _drawn_z(len(r), alpha, nu, given_failures, draws, np.random.default_rng(random_state))
    return Tested(found, float((1 + np.sum(drawn <= found + 1e-12)) / (draws + 1)))


def _drawn_z(n: int, alpha: float, nu: float, given: bool, draws: int, rng: np.random.Generator) -> Array:
    """Z of right forecasts: a binomial number of failures, each drawn from the tail beyond the value at risk."""
    _, es = _student_tail(nu, alpha)
    count = rng.binomial(n, alpha, draws)
    if given:
        count = count[count > 0]
    tail = _distribution(nu).ppf(alpha * rng.random(int(count.sum()))) / es
    total = np.add.reduceat(np.append(tail, 0.0), np.append(0, np.cumsum(count)[:-1])) * (count > 0)
    return np.asarray(total / (count if given else n * alpha) + 1)


def _distribution(nu: float) -> stats.rv_continuous:
    return stats.norm() if np.isinf(nu) else stats.t(nu)


def _student_tail(nu: float, alpha: float) -> tuple[float, float]:
    """Value at risk and shortfall of a Student distribution with unit scale."""
    z = float(_distribution(nu).ppf(alpha))
    heavy = 1.0 if np.isinf(nu) else (nu + z**2) / (nu - 1)
    return -z, float(_distribution(nu).pdf(z) / alpha * heavy)


def _shape(times: float, alpha: float) -> float:
    """Degrees of freedom of the Student distribution whose shortfall is so many times its value at risk, from 2.1."""

    def excess(nu: float) -> float:
        var, es = _student_tail(nu, alpha)
        return es / var - times

    if excess(np.inf) >= 0 or excess(200.0) >= 0:
        return float("inf")
    return 2.1 if excess(2.1) <= 0 else float(optimize.brentq(excess, 2.1, 200.0))


# --- probabilities ----------------------------------------------------------------------------------------------


def kuiper_uniform(pit: ArrayLike) -> Tested:
    r"""Test that probability integral transforms are uniform, as those of calibrated distributions are: (V*, p).

    .. math:: V = D^+ + D^-,\quad V^* = V (\sqrt n + 0.155 + 0.24/\sqrt n),\quad
              p = 2 \sum_j (4 j^2 V^{*2} - 1) e^{-2 j^2 V^{*2}}

    As sensitive in the tails as in the middle, unlike Kolmogorov and Smirnov's.

    Parameters
    ----------
    pit : (n,) the forecast distribution's probability of an outcome up to the one that came, in [0, 1]; NaN are
        dropped. Of independent outcomes: take every horizon-th row.

    References
    ----------
    Kuiper (1960), Proc. KNAW A 63, 38-47; Stephens (1970), JRSS B 32, 115-122; Diebold, Gunther and Tay (1998),
    International Economic Review 39, 863-883, for the use.
    """
    u = np.sort(aligned(pit)[0])
    n = len(u)
    if n < LEAST:
        return UNTESTED
    if u[0] < 0 or u[-1] > 1:
        raise BadInput(f"probabilities lie in [0, 1], and these reach from {u[0]:g} to {u[-1]:g}")
    steps = np.arange(n + 1) / n
    v = float(np.max(steps[1:] - u) + np.max(u - steps[:-1])) * (np.sqrt(n) + 0.155 + 0.24 / np.sqrt(n))
    return Tested(v, kuiper_p(v))


def kuiper_p(v: float) -> float:
    """Probability of a Kuiper statistic V* of at least v, for large n."""
    if v < 0.4:
        return 1.0  # to 1e-10, where the series needs many terms
    j = np.arange(1, 101)
    return float(np.clip(2 * np.sum((4 * (j * v) ** 2 - 1) * np.exp(-2 * (j * v) ** 2)), 0.0, 1.0))


def kuiper_calibration(outcome: ArrayLike, probability: ArrayLike) -> Tested:
    r"""Test that events happen as often as their probabilities say, whatever these are: (R, p).

    .. math:: C_k = \sum_{i \le k} (y_{(i)} - p_{(i)}), \quad
              R = (\max_k C_k - \min_k C_k) / \sqrt{\textstyle\sum_i p_i (1 - p_i)}

    in the order of the probabilities, with 0 as the first value. No bins are chosen. Where the probabilities are right
    C is a random walk, and R the range of a Brownian motion (mean 1.60, 95 % below 2.50).

    Parameters
    ----------
    outcome : (n,) 1 where it happened, 0 where not; probability : (n,) in [0, 1]; rows with a NaN are left out. Of
        independent outcomes: take every horizon-th row.

    References
    ----------
    Arrieta-Ibarra, Gujral, Tannen, Tygert and Xu (2022), Journal of Machine Learning Research 23(351), the metric of
    Kuiper (ECCE-R); Feller (1951), Annals of Mathematical Statistics 22, 427-432, for the range.
    """
    y, p = aligned(outcome, probability)
    if len(y) and not (np.isin(y, (0, 1)).all() and (p >= 0).all() and (p <= 1).all()):
        raise BadInput("an outcome is 0 or 1, and its probability lies in [0, 1]")
    spread = float(np.sqrt(np.sum(p * (1 - p))))
    if len(y) < LEAST or not spread > 0:
        return UNTESTED
    walk = np.append(0.0, np.cumsum((y - p)[np.argsort(p, kind="stable")]))
    found = float(np.ptp(walk)) / spread
    return Tested(found, range_p(found))


def range_p(r: float) -> float:
    """Probability that a Brownian motion over unit time has a range of at least r; Feller (1951)."""
    if r < 0.5:
        return 1.0  # to 1e-7, where the alternating series needs many terms
    k = np.arange(1, 101)
    return float(np.clip(8 * np.sum((-1.0) ** (k - 1) * k * stats.norm.sf(k * r)), 0.0, 1.0))
