"""Does every model of the catalog bear a panel of 20 tickers x 2,500 sessions, under its declared policy?

    python tests/benchmarks/bench_panel.py [--jobs 2] [--family F]...

The 20 adjusted closes that skfolio packages, ten years to the end of 2018, pooled: 50,000 rows. Prints for each model
the policy it ran under, the CPU seconds of its slowest fold (goal: at most 120) and the peak memory of its worker
(goal: under 4 GB), and says at the end what broke a goal. Takes about an hour of one core.
"""

import argparse
import os
import tempfile
import time

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import mltrainer as mt
from mltrainer.data import sample
from mltrainer.evaluation import engine, study

SECONDS, MEGABYTES = 120.0, 4_000.0
SPAN = {"start": "2008-01-02", "end": "2018-12-12"}  # 2,500 labelled sessions after the features' warm-up


def tickers() -> list[str]:
    """Tickers whose closes skfolio packages."""
    return [entry.name for entry in sample.BARS if entry.package == "skfolio" and entry.name != "SPX"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--family", action="append")
    asked = parser.parse_args()
    os.environ.setdefault("MLTRAINER_HOME", tempfile.mkdtemp(prefix="bench-"))
    os.environ |= {"MLTRAINER_TASK_MEGABYTES": str(MEGABYTES)}

    panel = mt.matrix(tickers(), **SPAN)
    specs = study.select(asked.family)
    print(f"{len(specs)} models on {panel}", flush=True)  # noqa: T201
    begin = time.perf_counter()
    results = engine.run(specs, [panel], jobs=asked.jobs)
    broken = []
    for spec in specs:
        own = [e for e in results if e.model == spec.name]
        meta = own[0].meta
        row = f"{spec.name:36} {sum(e.ok for e in own):2} of {len(own)} tickers"
        if not all(e.ok for e in own):
            broken.append(f"{row}: {own[0].reason}")
            continue
        slow, peak = meta["slowest_fold"], meta["peak_mb"]
        total = meta["fit_seconds"] + meta["predict_seconds"]
        rows = f"{meta['policy'] or 'all rows'}; {meta['panel']}"
        print(f"{row}  {total:7.1f} s  fold {slow:6.1f} s  {peak:5.0f} MB  {rows}")  # noqa: T201
        if slow > SECONDS or peak > MEGABYTES or meta["warnings"]:
            broken.append(f"{row}: {slow:.0f} s, {peak:.0f} MB, {meta['warnings']}")
    print(f"wall {time.perf_counter() - begin:.0f} s; {len(broken)} models broke a goal", *broken, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
