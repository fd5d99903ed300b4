# ruff: noqa: E501, RET504 - what it writes is prose in long lines
"""What more workers gain, and what handing a task to one costs: on this machine's pool, and on a Dask cluster.

    python tests/benchmarks/bench_cluster.py [--write] [--models 12]

A dozen models of the catalog on ten years of MSFT by 1, 2 and 4 worker processes. Wall times are spoiled by whatever
else runs, so the load stands beside them, and two figures that it does not spoil: CPU seconds of all workers over the
CPU seconds of one (what being many costs), and the least wall that the way the work was dealt out allows on as many
free cores, which is the CPU of the busiest worker. What handing over costs is the median of a step that does nothing,
one after another, and the CPU seconds of the process that asks and of the scheduler for each.

`--write` puts the table and the plan into docs/scaling.md, between its marks.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
os.environ |= {"MLTRAINER_TASK_SECONDS": "3600", "MLTRAINER_MODE": "sample"}

import pickle

import psutil
from marks import put

import mltrainer as mt
from mltrainer.evaluation import cluster, engine
from mltrainer.evaluation.record import Evaluation
from mltrainer.models import catalog

MODELS = (
    "RandomForest_10_trees SVR_rbf ExtraTrees_50 AdaBoost_50 HuberRegressor RidgeRegression LogisticRegression "
    "KNeighborsRegressor_10 LassoRegression GradientBoosting_lr_0.1 HistGradientBoosting RandomForest_50_trees"
).split()
SPAN = {"start": "2002-01-02", "end": "2012-12-31"}
TICKERS, CATALOG, CORE_HOUR = 1000, 123, 0.04  # dollars: what clouds ask for a core of a shared machine in an hour
EMPTY = 200


def nothing(common: object, given: object) -> object:
    return given


def cpu(processes: list[psutil.Process]) -> list[float]:
    return [sum(p.cpu_times()[:2]) for p in processes]


@contextmanager
def dask(workers: int):
    """A scheduler and so many workers as processes; yields them, the scheduler first."""
    folder = Path(tempfile.mkdtemp(prefix="bench-dask-"))
    started = []

    def start(*words: str) -> str:
        log = folder / f"{len(started)}.log"
        with log.open("w") as out:
            started.append(subprocess.Popen([sys.executable, "-m", "dask", *words], stdout=out, stderr=out, cwd=folder))
        while not (found := re.search(r"(?:Scheduler at|Registered to):\s+(tcp://\S+)", log.read_text())):
            time.sleep(0.05)
        return found[1]

    try:
        here = ("--host", "127.0.0.1", "--no-dashboard")
        address = start("scheduler", "--port", "0", "--no-show", *here)
        for _ in range(workers):
            start("worker", address, "--nthreads", "1", "--no-nanny", *here)
        os.environ["MLTRAINER_DASK"] = address
        yield [psutil.Process(p.pid) for p in started]
    finally:
        os.environ.pop("MLTRAINER_DASK", None)
        for process in started:
            process.kill()
            process.wait()


def batch(jobs: int, processes: list[psutil.Process] | None = None) -> dict:
    """One batch that nobody has run before."""
    os.environ["MLTRAINER_HOME"] = tempfile.mkdtemp(prefix="bench-")
    matrix, specs = mt.matrix("MSFT", **SPAN), [catalog.spec(name) for name in MODELS]
    busy: dict[int, float] = {}
    leave = engine._end

    def counted(worker) -> None:
        busy[worker.process.pid] = sum(psutil.Process(worker.process.pid).cpu_times()[:2])
        leave(worker)

    engine._end = counted
    own, before, load = time.process_time(), cpu(processes or []), os.getloadavg()[0]
    begin = time.perf_counter()
    results = engine.run(specs, [matrix], jobs=jobs, progress=False)
    wall, own = time.perf_counter() - begin, time.process_time() - own
    engine._end = leave
    spent = [b - a for a, b in zip(before, cpu(processes or []), strict=True)]
    workers = spent[1:] if processes else [*busy.values()] or [own]
    return {"results": results, "wall": wall, "own": own, "workers": workers, "load": load, "matrix": matrix}


def handing(processes: list[psutil.Process]) -> tuple[float, float, float]:
    """Milliseconds of a step that does nothing: its median wall, CPU of the asking process, CPU of the scheduler."""
    with cluster.connected([]) as there:
        matrix, walls, own = mt.matrix("MSFT", **SPAN), [], time.process_time()
        before = cpu(processes)[0]
        for number in range(EMPTY):
            begin = time.perf_counter()
            future = there.begin(nothing, matrix, number)
            while not there.ended([future]):
                pass
            assert future.result() == number
            walls.append(time.perf_counter() - begin)
        ours, theirs = time.process_time() - own, cpu(processes)[0] - before
    return 1e3 * statistics.median(walls), 1e3 * ours / EMPTY, 1e3 * theirs / EMPTY


def same(a: list[Evaluation], b: list[Evaluation]) -> bool:
    return [e.to_bytes() for e in a] == [e.to_bytes() for e in b]


def row(name: str, workers: int, found: dict, one: dict) -> str:
    total, busiest = sum(found["workers"]), max(found["workers"])
    speed, least = one["wall"] / found["wall"], total / busiest
    kept = "yes" if same(found["results"], one["results"]) else "NO"
    print(name, workers, f"{found['wall']:.1f}", [round(w, 1) for w in found["workers"]], kept, flush=True)  # noqa: T201
    return (
        f"| {name} | {workers} | {found['wall']:.1f} | {speed:.2f} | {least:.2f} | "
        f"{total / sum(one['workers']):.2f} | {found['load']:.0f} | {kept} |"
    )


def table() -> tuple[list[str], dict]:
    one = batch(1)
    rows = [row("this process", 1, one, one)]
    rows += [row("pool", jobs, batch(jobs), one) for jobs in (2, 4)]
    costs = []
    for workers in (1, 2, 4):
        with dask(workers) as processes:
            costs.append((workers, *handing(processes)))
            rows.append(row("Dask", workers, batch(1, processes), one))
    head = [
        "| Run by | Workers | Wall s | Speed-up | Free cores would give | CPU of all workers over one | Load | Same bytes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    steps = [
        "| Dask workers | Empty step, median ms | CPU ms of the asking process | CPU ms of the scheduler |",
        "|---|---|---|---|",
    ]
    steps += [f"| {w} | {wall:.1f} | {own:.1f} | {theirs:.1f} |" for w, wall, own, theirs in costs]
    return [*head, *rows, "", *steps], one | {"costs": costs}


def plan(one: dict) -> list[str]:
    """Hours, memory and money of a large batch, from seconds per fit that were measured in this run."""
    specs = {s.name: s for s in catalog.specs()}
    measured = {e.model: e.meta["fit_seconds"] + e.meta["predict_seconds"] for e in one["results"]}
    ratio = sum(measured.values()) / sum(specs[name].cost for name in measured)
    ticker = ratio * sum(s.cost for s in specs.values())
    slow = sorted(specs.values(), key=lambda s: -s.cost)[:10]
    hours, size = TICKERS * ticker / 3600, len(pickle.dumps(one["matrix"])) / 2**20
    share = sum(s.cost for s in slow) / sum(s.cost for s in specs.values())
    blob = statistics.mean(len(e.to_bytes()) for e in one["results"]) / 2**10
    client = max(c[2] + c[3] for c in one["costs"]) / 1e3
    steps = TICKERS * CATALOG * 2
    peak = max(e.meta["peak_mb"] for e in one["results"])
    said = [
        f"- One fit of one ticker over ten years takes {ticker / CATALOG:.2f} CPU seconds in the mean of {len(specs)} "
        f"models: {len(measured)} were measured here at {ratio:.2f} of what the catalog expects of them, and the rest is "
        f"taken in the same ratio. The ten slowest ({', '.join(s.name for s in slow[:4])} ...) are {share:.0%} of it.",
        f"- {TICKERS:,} tickers x {CATALOG} models: **{hours:,.0f} core hours**. On 2 cores {hours / 2:,.0f} hours, on 64 "
        f"{hours / 64:,.1f} hours, on 256 {hours / 256:,.1f} hours; at {CORE_HOUR:.2f} $ a core hour about {hours * CORE_HOUR:,.0f} $.",
        f"- Data: a matrix with its sources is {size:.1f} MB; {TICKERS:,} are {TICKERS * size / 1024:.1f} GB in the process that "
        f"asks, and pass once over the wire to each worker that works on them. A worker needs {peak:,.0f} MB at its peak.",
        f"- The process that asks and the scheduler spend {1e3 * client:.0f} ms of CPU a step; at {steps:,} steps "
        f"{steps * client / 3600:.1f} hours, so the scheduler keeps about {ticker / CATALOG / 2 / client:,.0f} workers busy.",
        f"- Results are {blob:.0f} KB each: {TICKERS * CATALOG * blob / 2**20:.1f} GB of blobs, {TICKERS * CATALOG:,} rows of the ledger.",
    ]
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--models", type=int, default=len(MODELS))
    asked = parser.parse_args()
    del MODELS[asked.models :]
    lines, one = table()
    parts = {"table": lines, "plan": plan(one)}
    print("\n".join(line for part in parts.values() for line in part))  # noqa: T201
    for name, part in parts.items() if asked.write else ():
        put("scaling.md", name, part)


if __name__ == "__main__":
    main()
