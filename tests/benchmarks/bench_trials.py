"""What the commands cost in a home of 1,000, 10,000 and 100,000 trials: CPU, peak memory, and the exponent.

    python tests/benchmarks/bench_trials.py [--trials 1000 10000 100000] [--start 2007-01-03] [--keep FOLDER] [--write]

A few models are evaluated on packaged history, and their forecasts are changed by noise, so that every trial is of
real outcomes and has its own result, row and entry of the trail, written by the store's own functions. What is timed
is each command in a process of its own, which is what somebody at a terminal waits for; figures of 1,000 trials are
mostly imports. `--keep` fills a folder that stays, a home of each size in it; `--write` puts the table into
docs/scaling.md, between its marks.
"""

import argparse
import dataclasses
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from marks import put

MODELS = ["RidgeRegression", "KNeighborsRegressor_5", "DecisionTree_depth_5", "BayesianRidge"]
ANOTHER = "KNeighborsRegressor_10"
COMMANDS = {
    "one more evaluation, with luck": ["evaluate", ANOTHER, "--ticker", "MSFT", "--json"],
    "leaderboard": ["leaderboard", "--json"],
    "audit verify": ["audit", "verify"],
    "audit verify --since-checkpoint": ["audit", "verify", "--since-checkpoint"],
    "runs": ["runs"],
}
AT_ONCE = 500  # trials to a transaction
COST = 5e-4


def changed(evaluation, i: int):
    """The same model with other forecasts: its own and as much noise again, traded by their sign."""
    frame, rng = evaluation.forecasts.copy(), np.random.default_rng(i)
    noise = rng.normal(0.0, float(frame["forecast"].std()), len(frame))
    for column in ("forecast", "lower", "upper"):
        frame[column] += noise
    h = evaluation.horizon
    known = np.concatenate([np.zeros(h), np.sign(frame["forecast"])])
    frame["position"] = np.lib.stride_tricks.sliding_window_view(known, h)[: len(frame)].mean(axis=1)
    frame["gross"] = frame["position"] * frame["benchmark"]
    frame["net"] = frame["gross"] - COST * frame["position"].diff().fillna(frame["position"]).abs()
    return dataclasses.replace(evaluation, key=f"{i:064x}", forecasts=frame)


def fill(trials: int, start: str) -> None:
    """Fill the home in force with so many trials."""
    import mltrainer as mt
    from mltrainer import blobstore, store
    from mltrainer.evaluation import trials as ledger
    from mltrainer.trust import audit, checkpoints

    os.fsync = lambda _: None  # nothing here has to outlive a power cut
    matrix = mt.matrix("MSFT", start=start)
    real = [e for name in MODELS for e in [mt.evaluate(name, matrix)]]
    todo = range(len(real), trials)
    for begin in range(0, len(todo), AT_ONCE):
        rows = []
        for i in todo[begin : begin + AT_ONCE]:
            e = changed(real[i % len(real)], i)
            rows.append(ledger._row(e, matrix, blobstore.put(e.to_bytes())) | {"key": e.key})
        with store.writing() as connection:
            last = connection.execute(store.select(store.func.max(store.trials.c.seq))).scalar() or 0
            for seq, row in enumerate(rows, last + 1):
                named = {name: row[name] for name in row.keys() & store.trials.c.keys()}
                payload = json.dumps({k: v for k, v in row.items() if k not in named}, sort_keys=True)
                connection.execute(store.trials.insert().values(**named, payload=payload))
                audit.extend(connection, "trial", row | {"seq": seq})
    checkpoints.make()


def timed(arguments: list[str], home: Path) -> tuple[float, float, float]:
    """CPU seconds, peak megabytes and wall seconds of a command in that home."""
    environment = os.environ | {
        "MLTRAINER_HOME": str(home),
        "MLTRAINER_MODE": "sample",
        "MLTRAINER_OUT": str(home / "r"),
    }
    begin = time.perf_counter()
    process = subprocess.Popen([Path(sys.executable).with_name("mltrainer"), *arguments], env=environment, cwd=home,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{arguments} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, time.perf_counter() - begin


def homes(sizes: list[int], start: str, folder: Path) -> Iterator[Path]:
    """A home of each size, filled in a process of its own where it is not there."""
    for size in sizes:
        home = folder / f"{size}"
        if not (home / "filled").exists():
            code = f"import bench_trials; bench_trials.fill({size}, {start!r})"
            environment = os.environ | {"MLTRAINER_HOME": str(home), "MLTRAINER_MODE": "sample"}
            environment["PYTHONPATH"] = str(Path(__file__).parent)
            subprocess.run([sys.executable, "-c", code], env=environment, check=True)
            (home / "filled").touch()
        yield home


def table(sizes: list[int], found: dict[str, list[tuple[float, float, float]]]) -> list[str]:
    heads = " | ".join(f"{n:,} trials" for n in sizes)
    lines = [f"| Command | {heads} | Exponent |", "|---" * (len(sizes) + 2) + "|"]
    for name, costs in found.items():
        cells = " | ".join(f"{cpu:,.1f} s, {peak:,.0f} MB" for cpu, peak, _ in costs)
        a, b, times = costs[0][0], costs[-1][0], sizes[-1] / sizes[0]
        exponent = math.log(b / a) / math.log(times) if times > 1 else math.nan
        lines.append(f"| {name} | {cells} | {exponent:.2f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--start", default="2007-01-03")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in asked.only}
        for home in homes(asked.trials, asked.start, (asked.keep or Path(temporary)).absolute()):
            for name in found:
                extra = ["--start", asked.start] if COMMANDS[name][0] == "evaluate" else []
                found[name].append(timed([*COMMANDS[name], *extra], home))
                print(home.name, name, *(f"{x:.1f}" for x in found[name][-1]), flush=True)  # noqa: T201
    lines = table(asked.trials, found)
    print("\n".join(lines))  # noqa: T201
    if asked.write:
        put("scaling.md", "ledger", lines)


if __name__ == "__main__":
    main()
