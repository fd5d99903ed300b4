"""Stops at random moments: kills in the middle of a write, full disks and power cuts, across all that writes.

    python tests/benchmarks/bench_kills.py [--stops 100] [--seed 1] [--job batch]...
    python tests/benchmarks/bench_kills.py --stops 4 --seed 7 --job restore     # some of one job, and others by seed

After each stop the trail verifies, files are sound, and what was acknowledged is there; run again to its end, each job
leaves what it leaves where nothing was stopped. Prints each stop that broke something, and how many did.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import stops
from replay.server import Replay


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--job", action="append")
    asked = parser.parse_args()
    chance, jobs = random.Random(asked.seed), asked.job or list(stops.JOBS)
    made, broke = Counter(), 0
    with tempfile.TemporaryDirectory(prefix="stops") as name, Replay() as replay:
        folder = Path(name)
        library = stops.compiled(folder)
        for i, job in enumerate(jobs):
            share = asked.stops // len(jobs) + (i < asked.stops % len(jobs))
            for what, broken in stops.stopped(job, folder, library, replay, stops=share, chance=chance):
                made[what.split(" at ")[0]] += 1
                broke += bool(broken)
                print("BROKEN" if broken else "ok", what, *broken, sep="\n    " if broken else " ", flush=True)  # noqa: T201
    print(*(f"{what}: {count}" for what, count in made.items()), sep="\n")  # noqa: T201
    print(f"{broke} of {sum(made.values())} broke something")  # noqa: T201
    return int(broke > 0)


if __name__ == "__main__":
    raise SystemExit(main())
