"""Returns beside those of a market, or of several factors: alpha, beta, captures, and regressions with HAC errors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.metrics.base import SESSIONS, Array, aligned, newey_west_t
from mltrainer.metrics.returns import annual_return


def market_model(returns: ArrayLike, benchmark: ArrayLike, *, lags: int) -> tuple[float, float, float]:
    r"""Alpha per session, its HAC t, and beta, of returns (n,) on a benchmark (n,); NaN where that is constant.

    .. math:: r_t = \alpha + \beta b_t + e_t

    The t rests on the influence of each session on alpha, :math:`e_t (1 - \bar b (b_t - \bar b) / s_b^2)`, with a
    Bartlett kernel of 2 `lags`; Jensen (1968), Journal of Finance 23; Newey and West (1987).
    """
    r, b = np.asarray(returns, dtype=float), np.asarray(benchmark, dtype=float)
    d, variance = b - b.mean(), float(np.var(b))
    if not variance > 0:
        return float("nan"), float("nan"), float("nan")
    beta = float(np.mean(d * r)) / variance
    alpha = float(r.mean()) - beta * float(b.mean())
    influence = (r - alpha - beta * b) * (1 - b.mean() * d / variance)
    return alpha, newey_west_t(alpha + influence, 2 * lags), beta


def beta(returns: ArrayLike, benchmark: ArrayLike) -> float:
    r"""Slope of returns (n,) on a benchmark's (n,), :math:`\mathrm{cov}(r, b) / s_b^2`, without rows with a NaN."""
    r, b = aligned(returns, benchmark)
    return market_model(r, b, lags=0)[2] if len(r) > 1 else float("nan")


def alpha(returns: ArrayLike, benchmark: ArrayLike) -> float:
    r"""What the market did not pay, per year, as a fraction: :math:`(1 + \alpha)^{N} - 1` of alpha per session.

    Both sides in excess of the risk-free rate if there is one. NaN where the benchmark is constant. It compounds, as
    empyrical's does; others multiply by N.
    """
    r, b = aligned(returns, benchmark)
    per_session = market_model(r, b, lags=0)[0] if len(r) > 1 else float("nan")
    return float((1 + per_session) ** SESSIONS - 1)


def up_capture(returns: ArrayLike, benchmark: ArrayLike) -> float:
    """Annual return in the sessions in which the benchmark rises, over the benchmark's own there; NaN where there are
    none.

    Both compound over those sessions alone, as in empyrical, so a daily figure is far from one of monthly returns
    (those of Morningstar): `compound` the returns first to compare with them.
    """
    r, b = aligned(returns, benchmark)
    return _capture(r[b > 0], b[b > 0])


def down_capture(returns: ArrayLike, benchmark: ArrayLike) -> float:
    """Like `up_capture`, of the sessions in which the benchmark falls: below 1 where less is lost than there."""
    r, b = aligned(returns, benchmark)
    return _capture(r[b < 0], b[b < 0])


def _capture(r: Array, b: Array) -> float:
    return annual_return(r) / annual_return(b) if len(b) else float("nan")


@dataclass(frozen=True)
class FactorModel:
    """A regression of returns on factors.

    Attributes
    ----------
    coefficients : a row for alpha and one for each factor; columns estimate, error (HAC), t, p (two-sided, normal).
        Alpha is per period, a loading the return for one unit of its factor.
    r2 : share of the variance of the returns that the factors explain, in this sample.
    n : periods; left_out : returns for which a factor is missing, or that are NaN themselves.
    maxlags : autocovariances in the errors.
    """

    coefficients: pd.DataFrame
    r2: float
    n: int
    left_out: int
    maxlags: int

    def __repr__(self) -> str:
        """Say it in one line."""
        shown = [f"{name} {row.estimate:.4g} (t {row.t:.2f})" for name, row in self.coefficients.iterrows()]
        gone = f", {self.left_out} left out" if self.left_out else ""
        return f"FactorModel({'; '.join(shown)}; R² {self.r2:.3f}, {self.n} periods{gone})"

    def _repr_html_(self) -> str:
        return self.coefficients.to_html(float_format="{:.4g}".format)


def factor_model(returns: ArrayLike, factors: ArrayLike, *, maxlags: int | None = None) -> FactorModel:
    r"""Regress returns on factors: the CAPM for one, the market; a model of arbitrage pricing (APT) for several.

    .. math:: r_t = \alpha + \sum_k \beta_k f_{kt} + e_t

    Parameters
    ----------
    returns : (n,) in excess of the risk-free rate. With factors that have an index, a Series: rows meet by index, and
        returns without a factor are left out and counted, as are those that are NaN.
    factors : (n,) or (n, k); excess returns, or what changed unexpectedly in a macro series. A macro *level* drifts,
        and a regression on it finds what is not there: give changes, dated by the day they were known.
    maxlags : of the HAC errors (Bartlett, no small-sample factor); default :math:`\lfloor 4 (n/100)^{2/9} \rfloor`.

    Raises
    ------
    NotEnoughHistory
        Fewer than 10 periods for each coefficient.
    BadInput
        A factor that is constant or a combination of others, or rows that do not match.

    References
    ----------
    Ross (1976), Journal of Economic Theory 13, 341-360; Chen, Roll and Ross (1986), Journal of Business 59, 383-403;
    Newey and West (1987, 1994) for the errors.
    """
    import statsmodels.api as sm

    r, F, left_out = _matched(returns, factors)
    n, k = F.shape
    if n < 10 * (k + 1):
        raise NotEnoughHistory(f"{k} factors need {10 * (k + 1)} periods, and {n} are complete; widen the span")
    scale = F.std(axis=0).to_numpy(float)
    if (scale == 0).any() or np.linalg.matrix_rank((F - F.mean()) / scale) < k:
        raise BadInput(f"a factor is constant or follows from the others: {', '.join(map(str, F.columns))}")
    lags = int(4 * (n / 100) ** (2 / 9)) if maxlags is None else maxlags
    fit = sm.OLS(r, sm.add_constant(F)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    table = pd.DataFrame({"estimate": fit.params, "error": fit.bse, "t": fit.tvalues, "p": fit.pvalues})
    return FactorModel(table.rename(index={"const": "alpha"}), float(fit.rsquared), n, left_out, lags)


def _matched(returns: ArrayLike, factors: ArrayLike) -> "tuple[pd.Series[float], pd.DataFrame, int]":
    """Returns and factors of the same complete rows, and how many are left out."""
    r = returns if isinstance(returns, pd.Series) else pd.Series(np.asarray(returns, dtype=float))
    F = pd.DataFrame(factors if isinstance(factors, pd.Series | pd.DataFrame) else np.asarray(factors, dtype=float))
    F.columns = pd.Index([c if isinstance(c, str) else f"factor {i + 1}" for i, c in enumerate(F.columns)])
    if not (isinstance(returns, pd.Series) and isinstance(factors, pd.Series | pd.DataFrame)):
        if len(r) != len(F):
            raise BadInput(f"{len(r)} returns and {len(F)} rows of factors; give the same rows, or both with an index")
        r, F = r.reset_index(drop=True), F.reset_index(drop=True)
    if not (r.index.is_unique and F.index.is_unique):
        raise BadInput("rows meet by index, and a session is there twice")
    both = pd.concat([r.rename("returns"), F], axis=1, sort=True).astype(float)
    whole = both.dropna()
    return whole["returns"], whole.drop(columns="returns"), len(r) - len(whole)
