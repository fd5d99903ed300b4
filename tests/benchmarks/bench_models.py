"""The catalog beside its alternatives, as ratios measured in one run; each pair is checked to say the same first.

    python tests/benchmarks/bench_models.py [peer] [filters] [catalog] [--ticker MSFT] [--quick]

peer      lazypredict on the regressors both have, with its own default settings, on the folds of our protocol:
          wall time of its loop over that of our two workers, start of the processes included (goal 2). Its CatBoost
          takes all cores by default, so the loop is on one core; with --all-cores it has what it takes.
          lazypredict is no dependency: pip install --no-deps lazypredict.
filters   ARIMA and the Kalman filter: one fit and one pass through the test block, per step, beside a new fit of the
          same estimator for every step (goal 100).
catalog   all models on one ticker: wall time (goal 200 s) and memory (goal 3 GB) of two workers; CPU seconds without
          sharing over those with it (goal 1.15); and the forecasts of one worker, to the bit.

One thread or core everywhere else. A busy machine spoils wall times, so the load is printed beside them. With --quick
five years are used instead of all: enough to see that forecasts are the same, too little for the ratios of wall times.
"""

import argparse
import os
import tempfile
import time
import warnings
from functools import partial

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
os.environ |= {"MLTRAINER_TASK_SECONDS": "3600"}

import numpy as np
import psutil
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mltrainer as mt
from mltrainer.evaluation import engine
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.scaling import Scaling
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec

say = partial(print, flush=True)
SPAN: dict[str, str] = {}


def home() -> None:
    """Begin with an empty ledger."""
    os.environ["MLTRAINER_HOME"] = tempfile.mkdtemp(prefix="bench-")


def run(specs: list[ModelSpec], ticker: str, jobs: int) -> tuple[float, list[Evaluation]]:
    """Wall seconds and results of a batch nobody has run before; the matrix is not counted."""
    home()
    matrix = mt.matrix(ticker, **SPAN)
    begin = time.perf_counter()
    results = engine.run(specs, [matrix], jobs=jobs)
    return time.perf_counter() - begin, results


def same(a: list[Evaluation], b: list[Evaluation]) -> str:
    """Say how many of the forecasts are the same to the bit."""
    equal = [
        x.ok and y.ok and np.array_equal(x.forecasts["forecast"], y.forecasts["forecast"])
        for x, y in zip(a, b, strict=True)
    ]
    different = [e.model for e, ok in zip(a, equal, strict=True) if not ok]
    return f"{sum(equal)} of {len(equal)} forecasts identical {different or ''}"


# --- the peer -------------------------------------------------------------------------------------------------

PEER = "peer_"  # before its names: those of the catalog are for what the catalog has


def folds(matrix: Matrix, protocol: Protocol) -> list[tuple[np.ndarray, ...]]:
    """What the walk-forward shows a model, fold by fold: X and z of the train rows, X of the test rows; then y."""
    y = matrix.y.dropna()
    X, scale = matrix.X.loc[y.index].to_numpy(float), matrix.scale.loc[y.index].to_numpy(float)
    z = y.to_numpy(float) / scale
    shown = []
    for cut in protocol.split.split(len(y), matrix.horizon, X.shape[1]):
        scaling = Scaling.fit(catalog.spec("RidgeRegression"), X[cut.train], z[cut.train], protocol.winsorize)
        train, test = scaling.features(X[cut.train]), scaling.features(X[cut.test])
        shown.append((train, scaling.label(z[cut.train]), test, z[cut.test]))
    return shown


def peer(ticker: str, *, all_cores: bool = False) -> None:
    """Time lazypredict's loop and our pool over the same regressors, settings and rows."""
    from lazypredict.Supervised import REGRESSORS, LazyRegressor

    ours = {spec.engine.rpartition(".")[2] for spec in catalog.specs()}
    ours_alone = {  # a worker has one core, and who takes more threads waits for the other worker
        "CatBoostRegressor": {"verbose": 0, "allow_writing_files": False, "thread_count": 1},
        "LGBMRegressor": {"verbose": -1, "n_jobs": 1},
    }
    kinds = [k for name, k in REGRESSORS if name in ours and name != "GammaRegressor"]  # it refuses negative y
    home()
    matrix = mt.matrix(ticker, **SPAN)
    rows, estimators = folds(matrix, Protocol()), {}
    # like lazypredict's frames its rows lie column by column: a sum over another layout rounds otherwise
    scaler = make_column_transformer((StandardScaler(), list(range(matrix.X.shape[1]))))
    for regressor in kinds:
        seed = {"random_state": 42} if "random_state" in regressor().get_params() else {}
        knobs = seed | ours_alone.get(regressor.__name__, {})
        estimators[regressor.__name__] = make_pipeline(scaler, regressor(**knobs))
    say(f"peer: {len(kinds)} regressors, {len(rows)} folds of {matrix}; load {os.getloadavg()[0]:.1f}")

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores if all_cores else {min(cores)})
    begin, said, taken = time.perf_counter(), [], []
    for X, z, X_new, z_new in rows:
        lazy = LazyRegressor(verbose=0, ignore_warnings=True, predictions=True, regressors=kinds)
        scores, forecasts = lazy.fit(X, X_new, z, z_new)
        said.append(forecasts)
        taken.append(scores["Time Taken"])
    theirs = time.perf_counter() - begin
    os.sched_setaffinity(0, cores)
    # as in the catalog, what each costs was measured before, so that the longest are begun first
    cost, method = sum(taken).to_dict(), catalog.specs()[0].method
    specs = [ModelSpec(f"{PEER}{n}", method, e, float(cost.get(n, 0)), "linear") for n, e in estimators.items()]
    wall, results = run(specs, ticker, 2)
    equal, lost, different = 0, [], []
    for result in results:
        name, fold = result.model.removeprefix(PEER), result.forecasts["fold"].to_numpy() if result.ok else np.empty(0)
        if not result.ok or any(name not in s for s in said):
            lost.append(name)
            continue
        unit = result.forecasts["scale"].to_numpy()
        z = matrix.y.dropna() / matrix.scale.loc[matrix.y.dropna().index]
        cuts = list(Protocol().split.split(len(z), matrix.horizon, matrix.X.shape[1]))
        back = [
            (s[name].to_numpy() * z.iloc[c.train].to_numpy().std() + z.iloc[c.train].to_numpy().mean())
            * unit[fold == i]
            for i, (s, c) in enumerate(zip(said, cuts, strict=True))
        ]
        alike = np.array_equal(np.concatenate(back), result.forecasts["forecast"].to_numpy())
        equal, different = equal + alike, different + [name] * (not alike)
    say(
        f"  {equal} of {len(results) - len(lost)} forecasts identical {different or ''}; not run by both: {lost or '-'}"
    )
    longest = max(results, key=lambda e: e.meta.get("fit_seconds", 0))
    name, seconds = longest.model.removeprefix(PEER), longest.meta["fit_seconds"]
    say(f"  longest: {name}, {seconds:.1f} s beside {cost[name]:.1f} there")
    on = "all cores" if all_cores else "one core"
    say(f"  lazypredict on {on} {theirs:.1f} s over two workers {wall:.1f} s = {theirs / wall:.2f}   (goal 2)")


# --- filters --------------------------------------------------------------------------------------------------


def filters(ticker: str, steps: int = 20) -> None:
    """Time a fit and a pass through the last fifth of the history, per step, and a new fit per step."""
    home()
    matrix = mt.matrix(ticker, **SPAN)
    for name in ("ARIMA_1_0_0", "ARIMA_3_1_2", "KalmanFilter"):
        spec = catalog.spec(name)
        X = matrix.X[list(spec.columns or ())].to_numpy(float)
        y = np.zeros(len(X))
        first = len(X) * 4 // 5
        clone(spec.build()).fit(X[:300], y[:300])  # imports are not counted
        begin = time.process_time()
        model = spec.build().fit(X[:first], y[:first])
        model.filter(X[first:], y[first:], lag=6)
        ours = (time.process_time() - begin) / (len(X) - first)
        begin = time.process_time()
        for t in np.linspace(first, len(X) - 1, steps).astype(int):
            spec.build().fit(X[:t], y[:t]).filter(X[t : t + 1], y[t : t + 1], lag=6)
        refit = (time.process_time() - begin) / steps
        times = f"{1e3 * refit:.1f} ms over {1e3 * ours:.3f} ms a step"
        say(f"filters: {name:14} refit {times} = {refit / ours:.0f}   (goal 100)")


# --- the catalog ----------------------------------------------------------------------------------------------


def whole(ticker: str) -> None:
    """Run the catalog with and without sharing, and with one worker; compare times, memory and forecasts."""
    specs = [s for s in catalog.specs() if s.available]
    say(f"catalog: {len(specs)} models on {ticker}; load {os.getloadavg()[0]:.1f}")
    wall, results = run(specs, ticker, 2)
    peaks = sorted(e.meta["peak_mb"] for e in results if e.ok)
    parent = psutil.Process().memory_info().rss / 2**20
    say(f"  {sum(e.ok for e in results)} ran; wall of two workers {wall:.0f} s   (goal 200)")
    say(f"  peak: workers {peaks[-1]:.0f} and {peaks[-2]:.0f} MB, parent {parent:.0f} MB   (goal 3,000 in all)")
    shared = sum(e.meta["shared_seconds"] for e in results)
    os.environ["MLTRAINER_SHARE"] = "0"
    _, apart = run(specs, ticker, 2)
    del os.environ["MLTRAINER_SHARE"]
    without = sum(e.meta["fit_seconds"] + e.meta["predict_seconds"] for e in apart)
    spent = sum(e.meta["fit_seconds"] + e.meta["predict_seconds"] for e in results) - shared
    say(f"  sharing: {same(results, apart)}")
    say(f"  CPU without sharing {without:.0f} s over {spent:.0f} s with it = {without / spent:.3f}   (goal 1.15)")
    say(f"  one worker: {same(results, run(specs, ticker, 1)[1])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"peer": peer, "filters": filters, "catalog": whole}
    parser.add_argument("parts", nargs="*", default=[], help=", ".join(parts))
    parser.add_argument("--ticker", default="MSFT")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--all-cores", action="store_true")
    asked = parser.parse_args()
    SPAN.update({"start": "2004-01-02", "end": "2008-12-31"} if asked.quick else {})
    warnings.simplefilter("ignore")
    parts["peer"] = partial(peer, all_cores=asked.all_cores)
    for name in asked.parts or parts:
        parts[name](asked.ticker)


if __name__ == "__main__":
    main()
