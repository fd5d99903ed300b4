"""What one more evaluation, luck and `audit verify` cost as the ledger grows, with the exponent between two sizes.

    python tests/benchmarks/bench_ledger.py [--trials 1000 10000] [--entries 100000 1000000] [--rows 2700] [--write]

Numbers in place of results. CPU seconds and what the peak of memory grew by, each size in a process of its own; of
`append` a hundred entries. With --write what was measured of the trail goes into docs/scaling.md.
"""

import argparse
import math
import multiprocessing
import os
import resource
import tempfile
import time

import numpy as np
import pandas as pd
from marks import put

BATCH = 5_000  # entries in memory at a time, so that the peak is of what is measured


def luck(trials: int, rows: int) -> tuple[float, float]:
    from mltrainer.evaluation import skill

    index, rng = pd.bdate_range("2000-01-03", periods=rows), np.random.default_rng(0)

    def trial(i: int) -> skill.Trial:
        knows, pays = (pd.Series(x, index=index) for x in rng.normal(size=(2, rows)).astype(float))
        return skill.Trial(f"t{i}", skill.Question(("X",), 5), knows, pays)

    family = [trial(i) for i in range(trials)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    skill.judge(family)
    return time.process_time() - begin, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def trail(entries: int, _rows: int, what: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as home:
        os.environ["MLTRAINER_HOME"] = home
        from mltrainer import store
        from mltrainer.trust import audit

        with store.writing() as connection:
            head, rows = audit.Head(0, audit.GENESIS), []
            for n in range(entries):
                row = {"seq": n + 1, "at": "now", "kind": "work", "actor": "me", "payload": f'{{"n":{n}}}'}
                row["prev"] = head.hash
                head = audit.Head(n + 1, audit.digest(row))
                rows.append(row | {"hash": head.hash})
                if len(rows) == BATCH or n + 1 == entries:
                    connection.execute(store.audit.insert(), rows)
                    rows = []
        if what == "again":
            audit.verify()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.process_time()
        for _ in range(100 if what == "append" else 1):
            audit.append("work") if what == "append" else audit.verify()
        return time.process_time() - begin, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def verify(entries: int, rows: int) -> tuple[float, float]:
    return trail(entries, rows, "verify")


def append(entries: int, rows: int) -> tuple[float, float]:
    return trail(entries, rows, "append")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs=2, default=(1_000, 10_000))
    parser.add_argument("--entries", type=int, nargs=2, default=(100_000, 1_000_000))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rows", type=int, default=2_700)
    asked, lines = parser.parse_args(), []
    for what, sizes in ((luck, asked.trials), (verify, asked.entries), (append, asked.entries)):
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            (a, a_mb), (b, b_mb) = pool.starmap(what, [(n, asked.rows) for n in sizes], chunksize=1)
        exponent = math.log(b / a) / math.log(sizes[1] / sizes[0])
        line = f"{what.__name__}: {sizes[0]:,} {a:.2f} s {a_mb:.0f} MB; {sizes[1]:,} {b:.2f} s {b_mb:.0f} MB"
        lines.append(f"- {line}; exponent {exponent:.2f}")
        print(lines[-1], flush=True)  # noqa: T201
    if asked.write:
        put("scaling.md", "trail", lines[1:])


if __name__ == "__main__":
    main()
