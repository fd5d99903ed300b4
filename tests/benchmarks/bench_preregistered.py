"""Can a search be hidden behind a declaration? Worlds without skill, in which the best of five is declared afterwards.

In each world five models are tried, and a near copy of the best is declared then, as somebody would who wants the
reading of a single test for what a search chose. Read alone it would often show evidence; read as the rule reads it,
among what had been tried before, it should in at most one world of twenty.

    python tests/benchmarks/bench_preregistered.py 200      # worlds; about six seconds each on one core
"""

import dataclasses
import sys

from scipy import stats

from mltrainer.data import market
from mltrainer.evaluation import judging, judgments, skill, study, worlds
from mltrainer.evaluation.calibrate import FAST
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.significance import SIZE

FIRST = 1000  # seeds that no calibration uses


def hidden(seed: int, history: tuple) -> tuple[bool, bool]:
    """Whether the declared copy of the best shows evidence: alone, and among what had been seen."""
    matrix = worlds.matrix(worlds.World(seed), history, horizon=5)
    specs = study.select(models=FAST)
    results = [e for s in specs for e in judging.evaluate_each(s, matrix, Protocol(), s.name) if e.ok]
    family = judgments.grouped(results)
    alone = {key: skill.judge([trial]).evidence[key].p for key, trial in family.items()}
    best = min(alone, key=lambda key: alone[key])
    copy = dataclasses.replace(family[best], key="declared")
    return alone[best] <= SIZE, skill.judge([*family.values(), copy]).evidence["declared"].p <= SIZE


def main(count: int) -> None:
    bars = market.bars("MSFT")
    history = (bars, *market.context(bars))
    found = [hidden(FIRST + n, history) for n in range(count)]
    for what, said in zip(("read alone", "among what was seen"), map(sum, zip(*found, strict=True)), strict=True):
        high = stats.binomtest(said, count).proportion_ci().high
        said_so = f"evidence in {said} of {count} worlds, {said / count:.1%}"
        sys.stdout.write(f"{what}: {said_so}, at most {high:.1%}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
