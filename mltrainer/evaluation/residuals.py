"""What a model left unexplained: tests of its out-of-sample errors, answered in words."""

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
    return [
        Finding("Bias (HAC t)", bias, pb, _words(pb, f"forecasts are {side} on average", "no bias shows")),
        Finding(f"Ljung-Box, {lags} lags", q, p, _words(p, "errors repeat: something is left", "no memory left")),
        Finding(f"McLeod-Li, {lags} lags", q2, p2, _words(p2, clusters, "no clusters left")),
        Finding("Jarque-Bera", float(jb), float(pj), _words(pj, "tails or skew beyond normal", "looks normal")),
    ]


def _words(p: float, rejected: str, kept: str) -> str:
    if np.isnan(p):
        return "too few or too equal to tell"
    return rejected if p < 0.05 else kept
