"""What the engine adds to fitting and predicting, as ratios measured in one run.

    python tests/benchmarks/bench_engine.py [--quick]

Four figures: CPU of the engine in this process over the bare fit and predict of the same folds; wall time of two
workers over the least two cores could need, max(sum of CPU / 2, longest step), where a step of a long model is a fold;
the CPU of the busier worker over the same least, which is what the wall would be on two free cores; and a second run
over the first. A busy machine spoils the second figure, so the load is printed beside it.
"""

import argparse
import os
import tempfile
import time

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import psutil
from threadpoolctl import threadpool_limits

import mltrainer as mt
from mltrainer.evaluation import engine
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.models import catalog

MODELS = [
    "RandomForest_50_trees", "RandomForest_100_trees", "GradientBoosting_lr_0.1", "AdaBoost_50", "SVR_rbf",
    "SVR_linear", "HuberRegressor", "HistGradientBoosting", "RandomForest_10_trees", "ExtraTrees_50",
]  # fmt: skip


def bare(specs, matrix) -> float:
    """CPU seconds of the folds alone: fit and predict, in this process."""
    with threadpool_limits(1):
        return sum(
            meta["fit_seconds"] + meta["predict_seconds"]
            for _, meta in (out_of_sample(s, matrix, Protocol()) for s in specs)
        )


def home() -> None:
    os.environ["MLTRAINER_HOME"] = tempfile.mkdtemp(prefix="bench-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="five years instead of thirteen, and half the models")
    quick = parser.parse_args().quick
    span = {"start": "2004-01-02", "end": "2008-12-31"} if quick else {}
    specs = [catalog.spec(name) for name in (MODELS[1::2] if quick else MODELS)]

    home()
    matrix = mt.matrix("MSFT", **span)
    print(f"{len(specs)} models on {matrix}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")  # noqa: T201
    engine.run(specs[-1:], [matrix], jobs=1, progress=False)  # imports are not the engine's
    pure = bare(specs, matrix)
    home()
    matrix = mt.matrix("MSFT", **span)
    begin = time.process_time()
    engine.run(specs, [matrix], jobs=1, progress=False)
    spent = time.process_time() - begin
    print(f"engine CPU over fit + predict CPU   {spent:6.2f} / {pure:6.2f} s = {spent / pure:.3f}   (goal 1.05)")  # noqa: T201

    home()
    matrix = mt.matrix("MSFT", **span)
    own, before = time.process_time(), psutil.Process().cpu_times()
    busy, leave = [], engine._end

    def counted(worker) -> None:
        spent = psutil.Process(worker.process.pid).cpu_times()
        busy.append(spent.user + spent.system)
        leave(worker)

    engine._end = counted
    begin = time.perf_counter()
    results = engine.run(specs, [matrix], jobs=2, progress=False)
    wall = time.perf_counter() - begin
    after = psutil.Process().cpu_times()
    children = after.children_user + after.children_system - before.children_user - before.children_system
    assert all(e.ok for e in results)
    tasks = [e.meta["fit_seconds"] + e.meta["predict_seconds"] for e in results]
    least = max(sum(tasks) / 2, max(e.meta["slowest_fold"] for e in results))
    print(f"wall of 2 workers over the least    {wall:6.2f} / {least:6.2f} s = {wall / least:.3f}   (goal 1.05)")  # noqa: T201
    dealt = max(sum(busy) / 2, max(e.meta["slowest_fold"] for e in results))
    ratio = f"{max(busy):6.2f} / {dealt:6.2f} s = {max(busy) / dealt:.3f}"
    print(f"busier worker over the least        {ratio}   (goal 1.05)")  # noqa: T201
    parent = time.process_time() - own
    print(f"  workers' CPU {children:.2f} s, of which fit + predict {sum(tasks):.2f}; parent {parent:.2f} s")  # noqa: T201

    begin = time.perf_counter()
    engine.run(specs, [matrix], jobs=2, progress=False)
    warm = time.perf_counter() - begin
    print(f"second run over the first           {warm:6.2f} / {wall:6.2f} s = {warm / wall:.3f}")  # noqa: T201


if __name__ == "__main__":
    main()
