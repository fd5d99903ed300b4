"""How the cost of a universe grows with its sessions and its names, and whether thirty models bear all of it.

    python tests/benchmarks/bench_universe.py [--models 30] [--jobs 2]

The twenty packaged tickers, 1990 to 2022: 161,220 rows. Prints, for each step, the seconds at a quarter, a half and all
of the sessions, and of 5, 10 and 20 names, with the exponent by which they grow (goal: at most 1.1). Then so many of
the cheapest models of the catalog are evaluated on all of it, pooled (goal: 15 minutes, 4 GB). Five minutes in all.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
os.environ["MLTRAINER_HOME"] = tempfile.mkdtemp(prefix="bench-")
os.environ["MLTRAINER_MODE"] = "sample"

import numpy as np

import mltrainer as mt
from mltrainer.evaluation.judging import evaluate_each
from mltrainer.evaluation.protocol import PANELS, Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog

GOAL = 1.1
NAMES = mt.universe("sample20").tickers
SPANS = ("2014-12-31", "2006-12-29", "1990-01-02")  # a quarter of the sessions, a half, all
FIVE = WalkForward(5)  # as many test blocks at every size; by default a shorter history has fewer
MODELS = ("RidgeRegression", "DecisionTree_depth_3")

say = partial(print, flush=True)


def evaluated(model: str, protocol: Protocol, matrix: Matrix) -> None:
    results = evaluate_each(catalog.spec(model), matrix, protocol, "bench")
    assert all(e.ok for e in results), results[0].reason


def ranked(matrix: Matrix) -> None:
    matrix.__dict__.pop("ranked", None)  # it is kept
    _ = matrix.ranked


def sheet(matrix: Matrix) -> None:
    found = mt.factor("momentum_63", matrix)
    _ = found.summary, found.decay, found.pays, found.turnover, found.names


STEPS: dict[str, Callable[[Matrix], Any]] = {
    "ranks by session": ranked,
    "tear sheet": sheet,
    **{f"{m}, {how}": partial(evaluated, m, Protocol(FIVE, panel=how)) for m in MODELS for how in PANELS},
    "RidgeRegression, ranked": partial(evaluated, "RidgeRegression", Protocol(FIVE, ranked=True)),
}


def seconds(step: Callable[[], Any]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


def exponent(sizes: list[int], spent: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(spent), 1)[0])


def grown(what: str, panels: list[Matrix], built: list[float]) -> list[str]:
    """Print a row per step; return those that grow faster than the goal."""
    sizes = [len(m.X) for m in panels]
    say(f"\nby {what}: {', '.join(f'{n:,}' for n in sizes)} rows")
    table = {"bars and matrix": built} | {
        name: [min(seconds(partial(step, m)) for _ in range(2)) for m in panels] for name, step in STEPS.items()
    }
    for name, spent in table.items():
        say(f"{name:36} {'  '.join(f'{s:6.2f}' for s in spent)} s  exponent {exponent(sizes, spent):.2f}")
    return [f"{name} by {what}" for name, spent in table.items() if exponent(sizes, spent) > GOAL]


def panels_of(given: list[tuple[Any, str]]) -> tuple[list[Matrix], list[float]]:
    """Panels by names and first session, and the seconds that each took."""
    made: list[Matrix] = []
    spent = [seconds(lambda n=n, s=s: made.append(mt.matrix(list(n), start=s))) for n, s in given]
    return made, spent


def megabytes(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    mt.matrix(list(NAMES[:2]), start="2015-01-02")  # imports, and the files of the sample
    broken = grown("sessions", *panels_of([(NAMES, start) for start in SPANS]))
    by_names, spent = panels_of([(NAMES[:k], SPANS[-1]) for k in (5, 10, 20)])
    broken += grown("names", by_names, spent)
    say(f"\npeak of this process {megabytes(resource.RUSAGE_SELF):,.0f} MB", *(f"over the goal: {b}" for b in broken))
    cheapest = sorted((s for s in mt.catalog() if s.available and not s.in_order), key=lambda s: s.cost)
    begin = time.perf_counter()
    results = mt.evaluate([s.name for s in cheapest[: asked.models]], by_names[-1], jobs=asked.jobs)
    lost = sorted({f"{e.model}: {e.status}" for e in results if not e.ok})
    spent_all, peak = time.perf_counter() - begin, max(e.meta.get("peak_mb", 0.0) for e in results)
    say(
        f"{asked.models} models on {by_names[-1]}: {spent_all:.0f} s with {asked.jobs} workers, {peak:,.0f} MB at most",
        *lost,
    )


if __name__ == "__main__":
    main()
