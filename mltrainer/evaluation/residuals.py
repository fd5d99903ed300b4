"""What a model left unexplained: tests of its out-of-sample errors, answered in words."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mltrainer import metrics
from mltrainer.evaluation.record import Evaluation


@dataclass(frozen=True)
class Finding:
    """One test of the errors: its statistic, its p value (NaN where it cannot be had) and what that means."""

    test: str
    statistic: float
    p_value: float
    words: str


def ljung_box(x: np.ndarray, lags: int) -> tuple[float, float]:
    r"""Test that `x` has no autocorrelation up to `lags`: (Q, p value); NaN for x that is constant or shorter than 2 L.

    .. math:: Q = n(n+2) \sum_{k=1}^{L} \hat\rho_k^2 / (n-k) \sim \chi^2_L

    References
    ----------
    Ljung and Box (1978), Biometrika 65, 297-303.
    """
    if len(x) < 2 * lags or np.ptp(x) == 0:
        return float("nan"), float("nan")
    from statsmodels.stats.diagnostic import acorr_ljungbox  # 1 s to import: on use only

    found = acorr_ljungbox(x, lags=[lags]).iloc[0]
    return float(found["lb_stat"]), float(found["lb_pvalue"])


def residual_tests(evaluation: Evaluation, *, lags: int = 10) -> list[Finding]:
    """Test errors per unit of volatility, one row in `horizon` so that labels do not overlap."""
    frame = evaluation.forecasts.iloc[:: evaluation.horizon]
    error = ((frame["y"] - frame["forecast"]) / frame["scale"]).to_numpy()
    bias = metrics.newey_west_t(error, 4)
    q, p = ljung_box(error, lags)
    q2, p2 = ljung_box(error**2, lags)
    jb, pj = stats.jarque_bera(error) if np.ptp(error) > 0 else (np.nan, np.nan)
    pb = float(2 * stats.norm.sf(abs(bias)))
    side = "too low" if bias > 0 else "too high"
    clusters = "large errors come in clusters: volatility is only partly removed"
    size = (frame["forecast"] / frame["scale"]).to_numpy()
    return [
        Finding("Bias (HAC t)", bias, pb, _words(pb, f"forecasts are {side} on average", "no bias shows")),
        Finding(f"Ljung-Box, {lags} lags", q, p, _words(p, "errors repeat: something is left", "no memory left")),
        Finding(f"McLeod-Li, {lags} lags", q2, p2, _words(p2, clusters, "no clusters left")),
        Finding("Jarque-Bera", float(jb), float(pj), _words(pj, "tails or skew beyond normal", "looks normal")),
        *(_finding(name, row, error, size, lags) for name, row in FURTHER.items()),
    ]


def _finding(name: str, row: "Further", error: np.ndarray, size: np.ndarray, lags: int) -> Finding:
    enough = len(error) > 2 * lags and np.ptp(error) > 0 and (np.ptp(size) > 0 or not row.of_size)
    statistic, p = row.test(error, size, lags) if enough else (np.nan, np.nan)
    return Finding(name, float(statistic), float(p), _words(p, row.rejected, row.kept))


@dataclass(frozen=True)
class Further:
    """A test of statsmodels: of errors (n,), forecasts (n,) per unit of volatility, and lags; and its words."""

    test: Callable[[np.ndarray, np.ndarray, int], tuple[float, float]]
    rejected: str
    kept: str
    of_size: bool = False  # whether it asks how errors go with the forecast


def _arch(error: np.ndarray, size: np.ndarray, lags: int) -> tuple[float, float]:
    from statsmodels.stats.diagnostic import het_arch  # 1 s to import: on use only

    return het_arch(error, nlags=lags, result_object=False)[:2]


def _breusch_pagan(error: np.ndarray, size: np.ndarray, lags: int) -> tuple[float, float]:
    from statsmodels.stats.diagnostic import het_breuschpagan

    return het_breuschpagan(error, np.column_stack([np.ones(len(size)), size]))[:2]


def _white(error: np.ndarray, size: np.ndarray, lags: int) -> tuple[float, float]:
    from statsmodels.stats.diagnostic import het_white

    return het_white(error, np.column_stack([np.ones(len(size)), size]))[:2]


def _cusum(error: np.ndarray, size: np.ndarray, lags: int) -> tuple[float, float]:
    from statsmodels.stats.diagnostic import breaks_cusumolsresid

    return breaks_cusumolsresid(error, ddof=0)[:2]


FURTHER = {
    "ARCH-LM": Further(_arch, "large errors follow large ones", "no clusters left"),
    "Breusch-Pagan": Further(
        _breusch_pagan, "errors are larger where forecasts are larger", "no link to the forecast", True
    ),
    "White": Further(_white, "errors change with the size of the forecast", "no link to the forecast's size", True),
    "CUSUM": Further(_cusum, "the mean error drifts: something broke on the way", "no break shows"),
}


def _words(p: float, rejected: str, kept: str) -> str:
    if np.isnan(p):
        return "too few or too equal to tell"
    return rejected if p < 0.05 else kept
