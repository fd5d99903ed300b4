"""What a forecast is measured against: the plain forecasts that anybody could make, fitted on the same train rows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from mltrainer import metrics
from mltrainer.evaluation.panels import by_name
from mltrainer.evaluation.splits import MINIMUM_TRAIN, Fold, Rows
from mltrainer.features.matrix import Matrix
from mltrainer.features.targets import Target
from mltrainer.trust.provenance import fingerprint

PREFIX = "baseline "


@dataclass(frozen=True)
class Baseline:
    """A forecast made of what the past says of the same quantity.

    Attributes
    ----------
    columns : of `Matrix.past`.
    fitted : whether they are weighed by ordinary least squares, with an intercept, on the train rows of each fold and
        ticker; else the one column is the forecast.
    """

    columns: tuple[str, ...]
    fitted: bool = False
    reference: str = ""


BASELINES = {
    "mean": Baseline((), reference="mean of all labels known at the row; of a direction, the base rate"),
    "zero": Baseline((), reference="0"),
    "last": Baseline(("last",), reference="the last horizon's value: a random walk"),
    "EWMA": Baseline(("ewma",), reference="exponentially weighted mean, decay 0.06: RiskMetrics (1996)"),
    "AR(1)": Baseline(("last",), True, reference="least squares on the last horizon's value"),
    "HAR": Baseline(("session", "week", "month"), True,
                    reference="least squares on the last session, week and month: Corsi (2009)"),
}  # fmt: skip


def log_loss(y: np.ndarray, forecast: np.ndarray) -> float:
    """Mean log loss of probabilities, kept a thousandth away from 0 and 1: one certain error would be infinite."""
    p = np.clip(forecast, 1e-3, 1 - 1e-3)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


ALSO = {
    "volatility": ("qlike", metrics.qlike_log),
    "direction": ("log_loss", log_loss),
}  # proper too

LOSSES: dict[str, Callable[[pd.DataFrame, str], "pd.Series[float]"]] = {
    "squared error": lambda frame, column: (frame["y"] - frame[column]) ** 2,
    "Brier score": lambda frame, column: (frame["y"] - frame[column]) ** 2,  # Brier (1950): y is 0 or 1
}


def baselines(
    matrix: Matrix, y: "pd.Series[float]", cuts: Iterable[Fold], session: Rows, ticker: Rows, late: Rows
) -> pd.DataFrame:
    """Forecasts of each baseline of the matrix's target but the mean, (n, b), columns "baseline NAME"; else NaN.

    Parameters
    ----------
    y : (n,) labels; session, ticker, late : as `panels.places` gives them for these rows.
    cuts : the folds of the walk-forward, so that a baseline learns from the rows that models learn from.
    """
    cuts, labels, out = list(cuts), y.to_numpy(float), {}
    for name in matrix.aim.baselines:
        row = BASELINES[name]
        X = matrix.past.loc[y.index, list(row.columns)].to_numpy(float)
        values = X[:, 0].copy() if row.columns else np.zeros(len(y))
        for own in by_name(ticker) if row.fitted else ():
            values[own] = fitted(X[own], labels[own], cuts, session[own], late[own])
        out[PREFIX + name] = np.clip(values, *matrix.aim.bounds)
    return pd.DataFrame(out, index=y.index).drop(columns=PREFIX + "mean", errors="ignore")


MOST_KNOWN = 256  # some 6 MB
_known: dict[str, np.ndarray] = {}


def fitted(X: np.ndarray, y: np.ndarray, cuts: list[Fold], session: Rows, late: Rows) -> np.ndarray:
    """`least_squares`, read only and kept by content, as every model of a matrix is measured against the same."""
    key = fingerprint(X, y, session, late, *((cut.train, cut.test) for cut in cuts))
    if key not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = least_squares(X, y, cuts, session, late)
        _known[key].setflags(write=False)
    return _known[key]


def least_squares(X: np.ndarray, y: np.ndarray, cuts: list[Fold], session: Rows, late: Rows) -> np.ndarray:
    """Forecasts (n,), in units of y, by least squares of y (n,) on X (n, k) in the train rows of each fold.

    NaN where no fold tests the row or too few teach it; session, late (n,) are of these rows, see `panels.places`.
    """
    forecast = np.full(len(y), np.nan)
    for cut in cuts:
        first, last = cut.test[0], cut.test[-1]
        train = np.flatnonzero(np.isin(session, cut.train) & ((late < first) | (session > last)))
        test = np.flatnonzero(np.isin(session, cut.test))
        if len(train) >= MINIMUM_TRAIN and len(test):
            forecast[test] = LinearRegression().fit(X[train], y[train]).predict(X[test])
    return forecast


def known_mean(y: np.ndarray, horizon: int) -> np.ndarray:
    """Mean of all labels known at each row: those at least horizon + 1 rows old; 0 before the first."""
    count = np.arange(1, len(y) + 1)
    mean = np.concatenate([np.zeros(horizon + 1), np.cumsum(y) / count])
    return mean[: len(y)]


def compared(frame: pd.DataFrame, aim: Target) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Keep of all baselines the best, as the column `baseline`; and its name and the mean loss of each.

    It is chosen with hindsight, so what is shown to beat it beats every one.
    """
    columns = {name: PREFIX + name if name != "mean" else "expanding_mean" for name in aim.baselines}
    losses = {name: float(LOSSES[aim.loss](frame, column).mean()) for name, column in columns.items()}
    name = min(losses, key=lambda name: losses[name])
    kept = frame.assign(baseline=frame[columns[name]]).drop(columns=[c for c in frame if str(c).startswith(PREFIX)])
    return kept, {"baseline": name, "baselines": losses}


def loss_difference(frame: pd.DataFrame, aim: Target) -> "pd.Series[float]":
    """Loss of the baseline less that of the forecast, (n,) by session; above zero where the forecast is better."""
    return LOSSES[aim.loss](frame, "baseline") - LOSSES[aim.loss](frame, "forecast")


def gain(frame: pd.DataFrame, horizon: int, aim: Target) -> dict[str, float]:
    r"""Share of the best baseline's loss that the forecast saves, 1 - L / L_baseline, its error, and what is so tested.

    `gain_t` is Diebold and Mariano's (1995) statistic with Newey and West's error over 2 horizons; positive where the
    forecast is better. NaN where no baseline stands beside the forecasts.
    """
    if "baseline" not in frame:
        return {}
    difference, loss = loss_difference(frame, aim), float(LOSSES[aim.loss](frame, "baseline").mean())
    t = metrics.newey_west_t(difference, 2 * horizon) if np.ptp(difference) > 0 else np.nan
    share = float(difference.mean()) / loss if loss else np.nan
    figures = {"loss": loss - float(difference.mean()), "baseline_loss": loss, "gain": share, "gain_t": t,
               "gain_error": abs(share / t) if t else np.nan}  # fmt: skip
    if aim.name in ALSO:
        name, also = ALSO[aim.name]
        figures[name] = also(frame["y"].to_numpy(float), frame["forecast"].to_numpy(float))
        figures[f"baseline_{name}"] = also(frame["y"].to_numpy(float), frame["baseline"].to_numpy(float))
    return figures
