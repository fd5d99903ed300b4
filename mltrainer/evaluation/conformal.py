"""How far off, how likely up: a model's own out-of-sample errors turn its forecast into an interval and a probability.

Nothing here is learned from rows that the model was fitted on. The model is walked forward over the train rows in two
purged, embargoed blocks, and what it said of them, after the fact, calibrates what it will say of the next sessions.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from mltrainer import metrics
from mltrainer.errors import NotEnoughHistory
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.evaluation.trading import conformal_interval
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec

Array = NDArray[np.float64]
NAN = float("nan")
BLOCKS = 2  # of at most two thirds of the rows: models of a third, or ten rows per column, forecast what follows
LATEST = 500  # errors that decide the width; older ones are of another market


@dataclass(frozen=True)
class Calibration:
    """What out-of-sample errors on the train rows say of the next forecasts; NaN where there were too few rows.

    Attributes
    ----------
    interval : nominal coverage.
    radius : half the width of the interval, in expected standard deviations of the return (`Matrix.scale`).
    rows : out-of-sample forecasts that all of this rests on.
    coverage : share of later outcomes that intervals made the same way, at each row from errors known by then, held.
    slope, intercept : of the log-odds of a return above zero on the forecast per standard deviation; classifiers.
    brier : mean squared error of that probability on the second block, learned on the first; `brier_base` that of
        the first block's share of rising rows, which a model without skill does not beat.
    pinball : pinball loss of the quantile forecasts, in units of return; quantile models.
    warned : what the fits on some of the rows warned of; the fit on all of them warns aloud.
    """

    interval: float
    radius: float = NAN
    rows: int = 0
    coverage: float = NAN
    slope: float = NAN
    intercept: float = NAN
    brier: float = NAN
    brier_base: float = NAN
    pinball: float = NAN
    warned: tuple[str, ...] = ()

    def bounds(self, mean: "pd.Series[float]", scale: "pd.Series[float]") -> "tuple[pd.Series[float], ...]":
        """Lower and upper bound of the return, (k,) each."""
        return mean - self.radius * scale, mean + self.radius * scale

    def probability(self, mean: "pd.Series[float]", scale: "pd.Series[float]") -> "pd.Series[float]":
        """Probability of a return above zero, (k,)."""
        return pd.Series(expit(self.intercept + self.slope * mean / scale), index=mean.index)


def conformalize(spec: ModelSpec, matrix: Matrix, protocol: Protocol | None = None) -> Calibration:
    """Walk a model forward over its own train rows and measure how wrong it was; costs about one more fit."""
    return overall(conformalize_each(spec, matrix, protocol))


def conformalize_each(spec: ModelSpec, matrix: Matrix, protocol: Protocol | None = None) -> dict[str, Calibration]:
    """`conformalize` for each ticker, by its own errors: of a panel one walk gives those of all."""
    protocol = protocol or Protocol()
    nothing = Calibration(protocol.interval)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            split = WalkForward(BLOCKS, protocol.learning.get("window"))
            said, meta = out_of_sample(spec, matrix, replace(protocol, split=split))
        except NotEnoughHistory:
            return dict.fromkeys(matrix.tickers, nothing)
    nothing = replace(nothing, warned=tuple(sorted({str(w.message).splitlines()[0][:200] for w in caught})))
    one = matrix.tickers == [matrix.name]
    own = {matrix.name: said} if one else {str(t): rows for t, rows in said.groupby(level="ticker")}
    return {
        ticker: _of_errors(spec, own[ticker], matrix.horizon, meta["quantile"], nothing) if ticker in own else nothing
        for ticker in matrix.tickers
    }


def _of_errors(
    spec: ModelSpec, said: pd.DataFrame, horizon: int, level: float | None, nothing: Calibration
) -> Calibration:
    """From what a model said of rows of one ticker, and what became of them."""
    y, score = said["y"].to_numpy(), (said["forecast"] / said["scale"]).to_numpy()
    errors = np.abs(y / said["scale"].to_numpy() - score)[-LATEST:]
    lower, upper = conformal_interval(said, horizon, nothing.interval)
    found: dict[str, Any] = {
        "radius": metrics.conformal_radius(errors, nothing.interval),
        "rows": len(said),
        "coverage": metrics.coverage(y, lower, upper),
    }
    if spec.task == "classifier":
        found |= _directions(score, y > 0, said["fold"].to_numpy() == 0)
    if "quantile" in said and level is not None:
        found["pinball"] = metrics.pinball(y, said["quantile"].to_numpy(), q=level)
    return replace(nothing, **found)


def overall(calibrations: dict[str, Calibration]) -> Calibration:
    """Of several names the mean of each figure weighted by rows, and the sum of these; of one name its own."""
    each = list(calibrations.values())
    if len(each) == 1:
        return each[0]
    table = pd.DataFrame([vars(c) for c in each]).drop(columns=["interval", "warned", "rows"])
    rows = pd.Series([float(c.rows) for c in each])
    means: dict[str, Any] = {str(k): float((v * rows).sum() / rows[v.notna()].sum()) if v.notna().any() else NAN
                             for k, v in table.items()}  # fmt: skip
    return replace(each[0], rows=int(rows.sum()), **means)


def platt(score: Array, up: NDArray[np.bool_]) -> tuple[float, float]:
    r"""Slope and intercept of the log-odds of `up` on a score, by maximum likelihood.

    .. math:: P(\mathrm{up} \mid s) = (1 + e^{-(a s + b)})^{-1}, \qquad a \ge 0

    A score that pointed the wrong way is not turned around, as next year it may point the right way: its slope is 0,
    and the probability is the share of rising rows.

    Parameters
    ----------
    score : (n,) out-of-sample scores; up : (n,) whether the return was above zero.

    References
    ----------
    Platt (1999), *Probabilistic outputs for support vector machines*.
    """
    spread, share = float(score.std()), float(np.mean(up))
    if spread > 0 and 0 < share < 1:
        fitted = LogisticRegression(C=np.inf).fit(score[:, None] / spread, up)
        slope = float(fitted.coef_[0, 0]) / spread
        if slope > 0:
            return slope, float(fitted.intercept_[0])
    bounded = np.clip(share, 1 / (2 * len(up)), 1 - 1 / (2 * len(up)))
    return 0.0, float(logit(bounded))


def _directions(score: Array, up: NDArray[np.bool_], first: NDArray[np.bool_]) -> dict[str, float]:
    slope, intercept = platt(score[first], up[first])
    later = up[~first].astype(float)
    brier = np.mean((expit(intercept + slope * score[~first]) - later) ** 2)
    base = np.mean((up[first].mean() - later) ** 2)
    slope, intercept = platt(score, up)
    return {"slope": slope, "intercept": intercept, "brier": float(brier), "brier_base": float(base)}
