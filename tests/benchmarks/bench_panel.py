"""Does every model of the catalog bear a panel of 20 tickers x 2,500 sessions, under its declared policy?

    [MLTRAINER_HOME=folder] python tests/benchmarks/bench_panel.py [--family F]... [--ticker T --start D --end D]

The 20 adjusted closes that skfolio packages, ten years to the end of 2018, pooled: 50,000 rows. Prints for each model,
the cheapest first, the policy it ran under, the CPU seconds of its slowest fold (goal: at most 120) and the peak memory
of its process (goal: under 4 GB), and at the end what broke a goal, failed or warned of something its card does not
name. Takes about two hours of one core; with a folder of your own, a run that was ended goes on where it stopped. With
`--ticker` the same for one ticker instead, as `--ticker AAPL --start 1990-01-02` for the closes that skfolio packages.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from functools import partial

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import mltrainer as mt
from mltrainer.data import sample
from mltrainer.evaluation import engine, study
from mltrainer.evaluation.record import Evaluation
from mltrainer.models import sharing
from mltrainer.models.base import ModelSpec

SECONDS, MEGABYTES = 120.0, 4_000.0
SPAN = {"start": "2008-01-02", "end": "2018-12-12"}  # 2,500 labelled sessions after the features' warm-up

say = partial(print, flush=True)


def tickers() -> list[str]:
    """Tickers whose closes skfolio packages."""
    return [entry.name for entry in sample.BARS if entry.package == "skfolio" and entry.name != "SPX"]


def bundles(specs: list[ModelSpec]) -> list[list[ModelSpec]]:
    """Models that share fits, together; the cheapest first."""
    by_group = defaultdict(list)
    for spec in specs:
        by_group[sharing.group(spec.estimator) or spec.name].append(spec)
    return sorted(by_group.values(), key=lambda bundle: sum(s.cost for s in bundle))


def row(spec: ModelSpec, own: list[Evaluation]) -> tuple[str, str]:
    """What is said of a model, and what is wrong with it."""
    said, ran, meta = f"{spec.name:36} {sum(e.ok for e in own):2} of {len(own)}", [e for e in own if e.ok], own[0].meta
    if len(ran) < len(own):
        return said, next(e.reason for e in own if not e.ok)
    slow, peak = meta["slowest_fold"], meta["peak_mb"]
    total = meta["fit_seconds"] + meta["predict_seconds"]
    said += f"  {total:7.1f} s  fold {slow:6.1f} s  {peak:5.0f} MB  {meta['policy'] or 'all rows'}"
    over = slow > SECONDS or peak > MEGABYTES
    return said, "over the goal" if over else "" if spec.warns else "; ".join(meta["warnings"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", action="append")
    parser.add_argument("--ticker", action="append")
    parser.add_argument("--start", default=SPAN["start"])
    parser.add_argument("--end", default=SPAN["end"])
    asked = parser.parse_args()
    os.environ.setdefault("MLTRAINER_HOME", tempfile.mkdtemp(prefix="bench-"))

    panel = mt.matrix(asked.ticker or tickers(), start=asked.start, end=asked.end)
    specs = study.select(asked.family)
    say(f"{len(specs)} models on {panel} in {os.environ['MLTRAINER_HOME']}")
    begin, broken = time.perf_counter(), []
    for bundle in bundles(specs):
        results = engine.run(bundle, [panel], jobs=1, progress=False)
        for spec in bundle:
            said, wrong = row(spec, [e for e in results if e.model == spec.name])
            say(f"{time.perf_counter() - begin:6.0f}  {said}  {wrong}")
            broken += [f"{said}: {wrong}"] if wrong else []
    say(f"{len(specs)} models; {len(broken)} broke a goal", *broken, sep="\n")


if __name__ == "__main__":
    main()
