"""Stops at random moments: kills in the middle of a write, full disks and power cuts, across all that writes.

    python tests/benchmarks/bench_kills.py [--stops 100] [--seed 1] [--job batch]... [--write]
    python tests/benchmarks/bench_kills.py --stops 4 --seed 7 --job restore     # some of one job, and others by seed

After each stop the trail verifies, files are sound, and what was acknowledged is there; run again to its end, each job
leaves what it leaves where nothing was stopped. Prints each stop that broke something, and how many did; `--write` puts
the counts into docs/running.md, between their marks.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import stops
from marks import put
from replay.server import Replay

WAYS = {"kill": "kill -9", "full": "Disk full", "power": "Power cut", "run again to its end": "Run again to its end"}


def table(made: Mapping[str, int]) -> list[str]:
    """Stops of each job by their way, as `made` counts them ("batch: kill")."""
    jobs = dict.fromkeys(what.partition(": ")[0] for what in made)
    rows = [[job, *(str(made.get(f"{job}: {way}", 0)) for way in WAYS)] for job in jobs]
    return [f"| {' | '.join(row)} |" for row in [["Job", *WAYS.values()], ["---"] * 5, *rows]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--job", action="append")
    parser.add_argument("--write", action="store_true")
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
    lines = table(made)
    print(*lines, f"{broke} of {sum(made.values())} broke something", sep="\n")  # noqa: T201
    if asked.write:
        put("running.md", "stops", [*lines, "", f"{broke} of them broke something."])
    return int(broke > 0)


if __name__ == "__main__":
    raise SystemExit(main())
