"""What a validator asks of one result: is it stable, are its intervals and tails what they promise, what does it use?

Everything here is computed from stored forecasts, except what looks into the model (`importance`, `dependence`), which
fits the same model on the same folds again.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import BaseDecisionTree
from threadpoolctl import threadpool_limits

from mltrainer import metrics
from mltrainer.errors import Unavailable
from mltrainer.evaluation import engine
from mltrainer.evaluation.baselines import gain
from mltrainer.evaluation.panels import alone, bounded, places
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.scaling import arrays
from mltrainer.evaluation.skill import timing_return
from mltrainer.evaluation.splits import MINIMUM_TRAIN, CombinatorialPurged, KFoldDiagnostic, Split
from mltrainer.evaluation.walk import fit
from mltrainer.features import targets
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec

LEAST = 60  # sessions below which a part is not judged
BLOCKS = 6  # of the combinatorial paths: 15 combinations of two, 5 paths
TAIL = 0.05
DRAWS = 1_000
TREES = (BaseDecisionTree, RandomForestRegressor, ExtraTreesRegressor, GradientBoostingRegressor,
         HistGradientBoostingRegressor)  # fmt: skip
SECONDS = 60.0  # CPU that may be spent on looking into a model
PANEL_SECONDS = 300.0  # and on other cuts of a panel


@dataclass(frozen=True)
class Check:
    """One test of a promise: its statistic, its p value (NaN where it cannot be had) and what that means."""

    test: str
    statistic: float
    p_value: float
    words: str


def parts(e: Evaluation, labels: "pd.Series[Any]") -> pd.DataFrame:
    """Figures of a result in each part of its sessions, by label: sessions, IC, gain, coverage, hit rate, Sharpes.

    Parameters
    ----------
    labels : (n,) of the sessions of `e.forecasts`; NaN belongs to none. A part of fewer than 60 sessions has NaN.
    """
    aim, rows = targets.target(e.target), {}
    timing = timing_return(e.forecasts, e.horizon)
    for label, own in e.forecasts.groupby(labels.reindex(e.forecasts.index), sort=True):
        y, said = own["y"].to_numpy(float), own["forecast"].to_numpy(float)
        enough = len(own) >= LEAST
        ic = metrics.information_coefficient(y, said, lags=e.horizon)[0] if enough else np.nan
        rows[label] = {
            "sessions": len(own),
            "ic": ic,
            "gain": gain(own, e.horizon, aim).get("gain", np.nan) if enough else np.nan,
            "coverage": metrics.coverage(y, own["lower"], own["upper"]) if enough else np.nan,
            "hit_rate": metrics.hit_rate(y - aim.center, said - aim.center)
            if enough and aim.pays == "sign"
            else np.nan,
            "sharpe": metrics.sharpe(own["net"].to_numpy()) if enough else np.nan,
            "timing_sharpe": metrics.sharpe(timing.reindex(own.index).dropna().to_numpy()) if enough else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def folds(e: Evaluation) -> pd.DataFrame:
    """Figures by test block, its first and last session as label; see `parts`."""
    days = e.forecasts.groupby("fold").apply(lambda f: f"{f.index[0].date()} to {f.index[-1].date()}")
    return parts(e, e.forecasts["fold"].map(days))


def years(e: Evaluation) -> pd.DataFrame:
    """Figures by calendar year; see `parts`."""
    return parts(e, pd.Series(pd.DatetimeIndex(e.forecasts.index).year, e.forecasts.index))


def terciles(e: Evaluation, values: "pd.Series[float]", names: tuple[str, str, str]) -> pd.DataFrame:
    """Figures by terciles, so far, of something known at each row: at least a year of it; see `parts`."""
    past = values.expanding(metrics.SESSIONS)
    low, high = past.quantile(1 / 3), past.quantile(2 / 3)
    labels = pd.Series(np.select([values <= low, values <= high], names[:2], names[2]), values.index)
    found = parts(e, labels.where(high.notna()))
    return found.reindex([name for name in names if name in found.index])


def coverage_checks(e: Evaluation, nominal: float) -> list[Check]:
    """Are outcomes outside the interval as rare as promised, and do they come alone? On rows one horizon apart."""
    frame = e.forecasts.iloc[:: e.horizon].dropna(subset=["lower", "upper"])
    missed = metrics.misses(frame["y"], frame["lower"], frame["upper"])
    if len(missed) < LEAST:
        return []
    said = f"{missed.mean():.1%} of {len(missed)} outcomes lie outside, {1 - nominal:.1%} were promised"
    alpha = round(1 - nominal, 10)
    found = {
        "Kupiec (frequency)": (metrics.kupiec(missed, alpha=alpha, draws=DRAWS), said),
        "Christoffersen (clusters)": (
            metrics.christoffersen_independence(missed, draws=DRAWS), "whether misses follow one another",
        ),
        "Christoffersen (both)": (metrics.christoffersen(missed, alpha=alpha, draws=DRAWS), "both at once"),
    }  # fmt: skip
    return [Check(name, t.statistic, t.p, f"{words}: {_holds(t.p)}") for name, (t, words) in found.items()]


def tail_checks(net: "pd.Series[float]") -> list[Check]:
    """Would the value at risk and shortfall of what it earned, said a day ahead by each method, have been kept?"""
    r = net.to_numpy(float)
    rows = []
    for method in ("historical", "gaussian", "filtered"):
        if len(r) < 500 + LEAST or np.ptp(r) == 0:
            return []
        var, es = metrics.tail_forecasts(r, alpha=TAIL, method=method)
        known = np.isfinite(var) & np.isfinite(es)
        failed = metrics.failures(r[known], var[known])
        said = f"{failed.mean():.1%} of {len(failed)} sessions lost more than the 5 % value at risk"
        t = metrics.christoffersen(failed, alpha=TAIL, draws=DRAWS)
        rows.append(Check(f"{method}: coverage", t.statistic, t.p, f"{said}: {_holds(t.p)}"))
        z = metrics.acerbi_szekely(r[known], var[known], es[known], alpha=TAIL)
        rows.append(Check(f"{method}: shortfall (Z2)", z.statistic, z.p, f"losses beyond it are {_tail(z)}"))
    return rows


def _tail(z: Any) -> str:
    return "larger than was said" if z.p < TAIL else "as large as was said, or the test cannot tell"


def forecast_checks(e: Evaluation) -> list[Check]:
    """Is the forecast better than the best baseline (Diebold-Mariano), and does its sign know the outcome's?"""
    aim, rows = targets.target(e.target), []
    if "baseline" in e.forecasts:
        t = e.metrics["gain_t"]
        p = float(2 * stats.norm.sf(abs(t))) if np.isfinite(t) else np.nan
        side = "smaller" if t > 0 else "larger"
        rows.append(
            Check("Diebold-Mariano", t, p, f"its loss is {side} than that of {e.meta['baseline']}: {_differs(p)}")
        )
    if aim.pays == "sign":
        apart = e.forecasts.iloc[:: e.horizon]
        found = metrics.pesaran_timmermann(apart["y"] - aim.center, apart["forecast"] - aim.center)
        rows.append(
            Check("Pesaran-Timmermann", found.statistic, found.p, f"its sign and the outcome's: {_differs(found.p)}")
        )
    return rows


def _holds(p: float) -> str:
    return "too few to tell" if not np.isfinite(p) else "the promise is broken" if p < 0.05 else "nothing against it"


def _differs(p: float) -> str:
    return "too few to tell" if not np.isfinite(p) else "shown on its own" if p < 0.05 else "not shown"


def bars(e: Evaluation, trials: float) -> list[tuple[str, float, str]]:
    """`lengths` of what its timing earned."""
    return lengths(timing_return(e.forecasts, e.horizon), trials, len(e.forecasts))


def lengths(net: "pd.Series[float]", trials: float, sessions: int) -> list[tuple[str, float, str]]:
    """The lengths a record of so many sessions must have: (name, sessions or years, words)."""
    need, years_ = metrics.minimum_track_record(net), sessions / metrics.SESSIONS
    sharpe = metrics.sharpe(net.to_numpy())
    backtest = metrics.minimum_backtest(trials, sharpe)
    enough = "which it has" if need <= len(net) else f"and it has {len(net):,}"
    if not np.isfinite(need):
        enough = "no length would do: the timing earned nothing"
    long = "which it has" if backtest <= years_ else f"and it has {years_:.1f}"
    if not np.isfinite(backtest):
        long = "no length would do" if sharpe <= 0 else "of a single trial there is none"
    return [
        (
            "Minimum track record, sessions",
            need,
            f"until a Sharpe ratio like its timing's is above 0 by 95 %: {enough}",
        ),
        ("Minimum backtest, years", backtest, f"below which luck among {trials:.0f} trials reaches as much: {long}"),
    ]


# --- other cuts of time -----------------------------------------------------------------------------------------


def cuts() -> dict[str, Split]:
    """Ways to cut time that train on the future, for comparison only."""
    paths = {f"purged path {i + 1}": CombinatorialPurged(BLOCKS, 2, i) for i in range(BLOCKS - 1)}
    return {"shuffled K-fold": KFoldDiagnostic(), **paths}


def undivided(spec: ModelSpec, matrix: Matrix, fit_seconds: float) -> str:
    """Why a model that took so many CPU seconds to walk forward is not asked under `cuts`; empty where it is."""
    if spec.in_order:
        return f"{spec.name} follows one session after the other, and such cuts take sessions apart"
    seconds = len(cuts()) * fit_seconds
    if len(matrix.tickers) > 1 and not seconds <= PANEL_SECONDS:
        return f"{len(cuts())} more walks through {len(matrix.tickers)} names would take {seconds:,.0f} CPU seconds"
    return ""


def diagnose(
    spec: ModelSpec, matrix: Matrix, protocol: Protocol, jobs: int | None = 1
) -> dict[str, dict[str, Evaluation]]:
    """Results of the model on each ticker under `cuts`, kept as diagnostics."""
    found: dict[str, dict[str, Evaluation]] = {ticker: {} for ticker in matrix.tickers}
    protocols = [replace(protocol, split=split) for split in cuts().values()]
    results = engine.run([spec], [matrix], protocol=protocols, jobs=jobs, progress=False)
    names = (name for name in cuts() for _ in matrix.tickers)
    for e, name in zip(results, names, strict=True):
        found[e.ticker][name] = e
    return found


def gaps(e: Evaluation, others: dict[str, Evaluation]) -> pd.DataFrame:
    """R², IC and Sharpe ratio under each cut, on the sessions that the walk-forward forecasts."""
    rows = {"walk-forward": e} | {name: o for name, o in others.items() if len(o.forecasts)}
    names = ["r2_oos", "ic", "sharpe"]
    found = {}
    for name, result in rows.items():
        frame = result.forecasts.reindex(e.forecasts.index).dropna(subset=["y", "forecast"])
        y, said = frame["y"].to_numpy(float), frame["forecast"].to_numpy(float)
        figures = (
            metrics.r2(y, said, frame["expanding_mean"].to_numpy(float)),
            metrics.information_coefficient(y, said, lags=e.horizon)[0],
            metrics.sharpe(frame["net"].to_numpy(float)),
        )
        found[name] = dict(zip(names, figures, strict=True))
    return pd.DataFrame.from_dict(found, orient="index", columns=names)


# --- into the model ---------------------------------------------------------------------------------------------


def _fitted(spec: ModelSpec, matrix: Matrix, protocol: Protocol, *, last: bool = False) -> Any:
    """Fits as in the walk-forward, of each fold or the last: (scaling, estimator, X of its test, z of its test)."""
    y = matrix.y.dropna()
    X, unit = arrays(spec, matrix, y.index, protocol.ranked)
    z, (session, ticker, late) = y.to_numpy(float) / unit, places(matrix, y.index)
    folds = []
    for cut in protocol.split.split(session[-1] + 1, matrix.horizon, matrix.X.shape[1]):
        known = (late < cut.test[0]) | (session > cut.test[-1])
        train, _ = bounded(np.flatnonzero(np.isin(session, cut.train) & known), session, spec.max_train_rows)
        test = np.isin(session, cut.test)
        if len(train) >= MINIMUM_TRAIN and test.any():
            folds.append((train, test))
    for train, test in folds[-1:] if last else folds:
        fitted = fit(spec, matrix, X[train], z[train], session[train], ticker[train], protocol)
        yield fitted.scaling, fitted.estimator, X[test], z[test]


def inspectable(spec: ModelSpec, e: Evaluation, matrix: Matrix, protocol: Protocol) -> str:
    """Why a model cannot be looked into here; empty where it can."""
    if spec.in_order:
        return "it carries its state from session to session, so that a feature cannot be exchanged"
    if len(matrix.tickers) > 1 and alone(spec, protocol):
        return f"each of {len(matrix.tickers)} names has a model of its own; a report of one name looks into its"
    if spec.lags > 1:
        return f"it reads {spec.lags} sessions at once, so that a feature cannot be exchanged in one of them"
    seconds = e.meta.get("fit_seconds", 0.0) + (matrix.X.shape[1] + 1) * e.meta.get("predict_seconds", 0.0)
    return f"it would take {seconds:,.0f} CPU seconds" if seconds > SECONDS else ""


def importance(spec: ModelSpec, matrix: Matrix, protocol: Protocol, *, random_state: int = 0) -> pd.DataFrame:
    """How much worse forecasts get where a feature is exchanged among the test rows of each fold.

    Returns
    -------
    DataFrame
        By feature, the most important first: `loss`, the rise of the mean squared error over that of the forecasts as
        they are, and `folds`, the share of folds in which it rose. What is below zero is noise.

    References
    ----------
    Breiman (2001), Machine Learning 45; on test rows, as López de Prado (2018), ch. 8, asks.
    """
    rng, rises = np.random.default_rng(random_state), []
    names = list(map(str, spec.columns or matrix.X.columns))
    with threadpool_limits(1):
        for scaling, estimator, X, z in _fitted(spec, matrix, protocol):
            seen, label = scaling.features(X), scaling.label(z)
            plain = float(np.mean((label - np.reshape(estimator.predict(seen), len(seen))) ** 2))
            row = []
            for column in range(seen.shape[1]):
                other = seen.copy()
                other[:, column] = rng.permutation(other[:, column])
                worse = float(np.mean((label - np.reshape(estimator.predict(other), len(seen))) ** 2))
                row.append(worse / plain - 1)
            rises.append(row)
    table = np.array(rises)
    if not table.size or table.shape[1] != len(names):
        raise Unavailable(f"{spec.name} sees other columns than the matrix has; its importances have no names")
    found = pd.DataFrame({"loss": table.mean(axis=0), "folds": (table > 0).mean(axis=0)}, index=names)
    return found.sort_values("loss", ascending=False)


def dependence(
    spec: ModelSpec, matrix: Matrix, protocol: Protocol, features: list[str], points: int = 9
) -> pd.DataFrame:
    """Mean forecast of the last fold's model where one feature takes each value of a grid: the partial dependence.

    Returns
    -------
    DataFrame
        Columns feature, quantile (of the feature among the test rows), value and forecast (per unit of volatility).

    References
    ----------
    Friedman (2001), Annals of Statistics 29(5).
    """
    names = list(map(str, spec.columns or matrix.X.columns))
    with threadpool_limits(1):
        ((scaling, estimator, X, _z),) = _fitted(spec, matrix, protocol, last=True)
        rows = []
        for feature in features:
            column = names.index(feature)
            for q in np.linspace(0.05, 0.95, points):
                at = X.copy()
                at[:, column] = np.quantile(X[:, column], q)
                said = scaling.forecast(np.reshape(estimator.predict(scaling.features(at)), len(at)))
                rows.append((feature, q, at[0, column], float(said.mean())))
    return pd.DataFrame(rows, columns=["feature", "quantile", "value", "forecast"])


def shapley(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> pd.DataFrame:
    r"""What each feature adds to the last fold's forecasts, exactly: mean size of its Shapley values, features by size.

    Of a linear model :math:`\phi_j = \beta_j (x_j - \bar x_j)`; of trees by TreeSHAP, where `shap` is installed.

    Returns
    -------
    DataFrame
        By feature, the largest first: `size`, the mean absolute value, in standard deviations of the label.

    Raises
    ------
    Unavailable
        There is no exact way for this model, or the extra is not installed; nothing is approximated in its place.

    References
    ----------
    Lundberg and Lee (2017), NeurIPS 30 (linear models); Lundberg et al. (2020), Nature Machine Intelligence 2 (trees).
    """
    with threadpool_limits(1):
        ((scaling, estimator, X, _z),) = _fitted(spec, matrix, protocol, last=True)
        seen = scaling.features(X)
        said = np.reshape(estimator.predict(seen), len(seen))
        steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
        if not all(isinstance(step, StandardScaler) for step in steps[:-1]):
            raise Unavailable(
                f"{spec.name} mixes its features before it uses them, so that none has a share of its own"
            )
        for step in steps[:-1]:
            seen = step.transform(seen)
        values = _shapley(spec, steps[-1], seen)
    if not np.allclose(values.sum(axis=1) - values.sum(axis=1).mean(), said - said.mean(), atol=1e-5):
        raise Unavailable(f"the shares of {spec.name} do not add up to its forecasts, so they are not shown")
    names = list(map(str, spec.columns or matrix.X.columns))
    return pd.DataFrame({"size": np.abs(values).mean(axis=0)}, index=names).sort_values("size", ascending=False)


def _shapley(spec: ModelSpec, model: Any, X: np.ndarray) -> np.ndarray:
    """(n, p) values of the last step of a model."""
    if np.ndim(weights := getattr(model, "coef_", 0.0)) == 1:  # whether it is all of the model, the sum will show
        return np.asarray(weights * (X - X.mean(axis=0)))
    if not isinstance(model, TREES):
        raise Unavailable(f"there is no exact way to share the forecasts of {spec.name} among its features")
    try:
        import shap
    except ImportError:
        raise Unavailable("exact shares of trees need the extra: pip install 'mltrainer[explain]'") from None
    return np.asarray(shap.TreeExplainer(model).shap_values(X), dtype=float)
