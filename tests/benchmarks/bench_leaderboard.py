"""What ranking costs: the whole catalog on one ticker, and the luck of a ledger with a search in it.

    python tests/benchmarks/bench_leaderboard.py [--models 123] [--rows 2700] [--trials 600]

Numbers in place of results, each model noisier than the one before: the confidence set then leaves out nearly all of
them one by one, which is its worst case. CPU seconds. Budgets: 3 s to rank, 1 s for luck the first time; the last line
is what luck would cost if it read every result whole.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from types import SimpleNamespace

os.environ["MLTRAINER_HOME"] = tempfile.mkdtemp(prefix="bench-")

import numpy as np
import pandas as pd

from mltrainer.evaluation import judgments, trials
from mltrainer.evaluation.judging import judge
from mltrainer.evaluation.leaderboard import leaderboard
from mltrainer.evaluation.record import Evaluation


def result(i: int, rows: int, y: np.ndarray) -> Evaluation:
    rng = np.random.default_rng(i)
    net, name = 0.01 * rng.normal(size=rows), f"model-{i}"
    columns = {"y": y, "forecast": 0.003 * i * rng.normal(size=rows), "lower": -0.05, "upper": 0.05, "net": net}
    columns |= {"position": 1.0, "gross": net, "benchmark": 0.01 * rng.normal(size=rows)}
    columns |= {"fold": np.arange(rows) // 540, "close": 50.0, "scale": 1.0, "expanding_mean": 0.0}
    frame = pd.DataFrame(columns, index=pd.bdate_range("2000-01-03", periods=rows, name="session"))
    meta = {"fit_seconds": 1.0, "predict_seconds": 0.1, "peak_mb": 99.0}
    return Evaluation(name, name, "toys", "regressor", "X", 5, forecasts=frame, metrics=judge(frame, 5), meta=meta)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("--models", 123), ("--rows", 2_700), ("--trials", 600)):
        parser.add_argument(option, type=int, default=default)
    asked = parser.parse_args()
    y = 0.03 * np.random.default_rng(0).normal(size=asked.rows)
    results = [result(i, asked.rows, y) for i in range(asked.models)]
    import arch.bootstrap  # noqa: F401 - its import is not the ranking's

    begin = time.process_time()
    board = leaderboard(results)
    print(f"ranking {asked.models} models x {asked.rows} sessions: {time.process_time() - begin:.2f} s")  # noqa: T201
    print(*board.tests(), sep="\n")  # noqa: T201

    matrix = SimpleNamespace(provenance=SimpleNamespace(content_sha256="0" * 64))
    for i in range(asked.trials):
        again = dataclasses.replace(results[i % len(results)], key=f"t{i}", model=f"t{i}")
        trials.record(again, matrix)
    for when in ("first", "again"):
        begin = time.process_time()
        found = judgments.judgment().luck
        print(f"luck of {found['trials']:.0f} trials, {when}: {time.process_time() - begin:.2f} s")  # noqa: T201
    begin = time.process_time()
    for key in trials.ledger()["key"]:
        trials.load(key)
    print(f"reading {asked.trials} results whole: {time.process_time() - begin:.2f} s")  # noqa: T201


if __name__ == "__main__":
    main()
