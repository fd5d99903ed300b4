"""How often the verdict says yes where there is nothing, and how much skill it finds.

    python tests/benchmarks/bench_calibration.py [size] [exposure] [power] [panel] [variance] [targets] [--jobs N]
        [--write]

size      200 worlds without skill, 40 models each, MSFT: family-wise rate of "evidence of skill" (goal 5 %, upper
          limit of its 95 % interval 8 %)
exposure  200 worlds in which holding has a Sharpe ratio of 1.2: a constant long position, a constant short one, a
          random sign, and 100 noise models that are long on most days
power     worlds of MSFT with a planted lead, the same 40 models; found in 8 of 10 where the best learner alone earns a
          timing Sharpe ratio of 1.5
panel     the same lead in 20 tickers at once: the least skill found beside that of one of them, over the same sessions
variance  worlds of MSFT in which a column knows something of the next sessions' log variance that HAR does not, in four
          strengths, and 200 in which it knows nothing: how often a model is said to forecast better than HAR
targets   other targets: worlds in which HAR is the truth of volatility and volume, and those of the return for its
          direction, with and without a lead; also how often a model is said to add to all plain forecasts

Finished worlds are kept in MLTRAINER_HOME, so a study that was ended goes on where it was. `--write` puts the figures
into docs/calibration.json, from which the tables are made.
"""

import argparse
import json
import multiprocessing as mp
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mltrainer.data import market
from mltrainer.evaluation import baselines, engine, judgments, skill, trading, worlds
from mltrainer.evaluation.baselines import gain
from mltrainer.evaluation.calibrate import RuleCalibration, calibrate
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.skill import Trial
from mltrainer.evaluation.trading import trade
from mltrainer.evaluation.worlds import World
from mltrainer.features import matrix as features
from mltrainer.models import catalog

DOCS = Path(__file__).parents[2] / "docs" / "calibration.json"
FORTY = [s.name for s in sorted((s for s in catalog.specs() if s.available), key=lambda s: s.cost)[:40]]
TWENTY = "AAPL AMD BAC BBY CVX GE HD JNJ JPM KO LLY MRK MSFT PEP PFE PG RRC UNH WMT XOM".split()
SPAN = {"start": "2010-01-04", "end": "2019-12-31"}  # ten years that all twenty have, closes only
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
RIVALS = ["RidgeRegression", "LassoRegression", "PLSRegression_3", "ElasticNetCV_walkforward", "KNeighborsRegressor_10"]
LEARNERS = ["RidgeRegression", "LassoRegression", "PLSRegression_3"]


def size(jobs: int) -> dict[str, Any]:
    """Measured family-wise error."""
    found = calibrate("MSFT", models=FORTY, null=200, planted=0, jobs=jobs)
    rate, _, high = found.size
    return {"worlds": len(found.null), "models": len(FORTY), "called": found.called, "rate": rate, "high": high}


def exposure(jobs: int) -> dict[str, Any]:
    """Worlds of a rising share in which positions without skill were said to show evidence, by kind of position."""
    trading.conformal_interval = lambda frame, *_: (
        frame["y"],
        frame["y"],
    )  # slow, and not read
    bars = market.bars("MSFT").frame
    called = dict.fromkeys(("long", "short", "random", "noise", "worlds with any"), 0)
    for seed in range(200):
        frame = worlds.redrawn(bars, World(seed, drift=1.2))
        trials = _positions(frame, np.random.default_rng(seed))
        judged = skill.judge(trials)
        yes = {t.key.partition(" ")[0] for t in trials if judged.evidence[t.key].p <= 0.05}
        for kind in called:
            called[kind] += kind in yes or (kind == "worlds with any" and bool(yes))
    return {"worlds": 200, "drift": 1.2, "models": len(trials)} | called


class _Prices:
    """What trading asks of a matrix."""

    horizon = 5

    def __init__(self, frame: pd.DataFrame) -> None:
        self.prices = pd.DataFrame({"entry": frame["open"], "close": frame["close"]})


def _positions(frame: pd.DataFrame, rng: np.random.Generator) -> list[Trial]:
    matrix: Any = _Prices(frame)
    rows = frame.index[:-6]
    y = (frame["open"].shift(-6) / frame["open"].shift(-1) - 1).loc[rows]
    base = pd.DataFrame({"y": y, "expanding_mean": 0.0, "fold": np.arange(len(rows)) // 252, "scale": 1.0}, index=rows)
    n = len(rows)
    forecasts = {"long": np.ones(n), "short": -np.ones(n), "random": rng.choice([-1.0, 1.0], n)}
    forecasts |= {f"noise {i}": 1.3 + rng.normal(size=n) for i in range(100)}  # long on nine days of ten
    return [Trial.of(k, 5, {"MSFT": trade(base.assign(forecast=f), matrix, Protocol())}) for k, f in forecasts.items()]


def power(jobs: int) -> dict[str, Any]:
    """Share of worlds in which a planted lead is found among forty models."""
    found = calibrate("MSFT", models=FORTY, null=0, planted=10, edges=(0.08, 0.16, 0.24), jobs=jobs)
    return {"models": len(FORTY), "least": found.least, "levels": found.power.to_dict("records")}


def panel(jobs: int) -> dict[str, Any]:
    """Least skill found in a panel of twenty, and in one of its tickers over the same sessions."""

    def least(names: list[str] | str, edges: tuple[float, ...], planted: int) -> RuleCalibration:
        return calibrate(names, models=LEARNERS, null=0, planted=planted, edges=edges, jobs=jobs, **SPAN)

    one = least("MSFT", (0.08, 0.14, 0.20, 0.26), 10)
    many = least(TWENTY, (0.02, 0.04, 0.06), 6)
    return {
        "one": one.least, "many": many.least, "learners": len(LEARNERS),
        "levels": {"one": one.power.to_dict("records"), "many": many.power.to_dict("records")},
    }  # fmt: skip


def variance(jobs: int) -> dict[str, Any]:
    """Share of worlds of which the verdict said that a model beats the best baseline of volatility."""
    bars = market.bars("MSFT")
    context = market.context(bars)
    wanted = [(s, 0.0) for s in range(200)] + [(200 + s, b) for s in range(40) for b in STRENGTHS]
    with ProcessPoolExecutor(jobs, mp.get_context(engine.START)) as pool:
        found = pd.DataFrame(pool.map(partial(swollen_world, bars, context), wanted, chunksize=4))
    return {"models": len(RIVALS), "levels": [_level(b, same) for b, same in found.groupby("strength")]}


def _level(strength: float, same: pd.DataFrame) -> dict[str, Any]:
    said: dict[str, Any] = {"strength": float(strength), "worlds": len(same)}
    for name in ("alone", "catalog"):
        count = int(same[name].sum())
        interval = stats.binomtest(count, len(same)).proportion_ci()
        said[name] = {"called": count, "rate": count / len(same), "low": interval.low, "high": interval.high}
    gains = {"gain": same["gain"].mean(), "best": same["best"].mean(), "explained": same["explained"].mean()}
    return said | {k: round(float(v), 4) for k, v in gains.items()} | {"leaking": int(same["leaking"].sum())}


def swollen_world(bars: Any, context: Any, asked: tuple[int, float]) -> dict[str, Any]:
    """One world: what was said of HAR with the lead beside it, alone, and of models of the catalog, together."""
    seed, strength = asked
    frame, lead = worlds.swollen(worlds.redrawn(bars.frame, World(seed)), strength, seed)
    world = features.build(replace(bars, frame=frame, provenance=None), *context, horizon=5, target="volatility")
    world = replace(world, X=world.X.join(lead), sources=())
    others = [evaluate(catalog.spec(name), world, Protocol(), name) for name in RIVALS]
    known = _har_and_lead(world, others[0])
    losses, gained = known.meta["baselines"], gain(known.forecasts, 5, world.aim)["gain"]
    return {"strength": strength, "alone": _beats([known]), "catalog": _beats(others), "gain": gained,
            "best": max(e.metrics["gain"] for e in others), "leaking": any(e.meta.get("lookahead") for e in others),
            "explained": 1 - losses["HAR"] / losses["mean"], "baseline": known.meta["baseline"]}  # fmt: skip


def _har_and_lead(world: Any, like: Evaluation) -> Evaluation:
    """The result of least squares on HAR's three columns and the lead, fitted like HAR on the same folds."""
    y = world.y.dropna()
    X = world.X.loc[y.index, ["past_session", "past_week", "past_month", "lead"]].to_numpy(float)
    cuts = list(Protocol().split.split(len(y), 5, world.X.shape[1]))
    rows = np.arange(len(y))
    said = pd.Series(baselines.fitted(X, y.to_numpy(float), cuts, rows, np.full(len(y), -1), rows), y.index)
    frame = like.forecasts
    return replace(like, model="HAR and the lead", forecasts=frame.assign(forecast=said.loc[frame.index]))


def _beats(results: list[Evaluation]) -> bool:
    judged = skill.judge(judgments.grouped(results).values())
    return any("forecasts better than" in skill.verdict(e, judged.evidence[e.trial]) for e in results)


def targets(jobs: int) -> dict[str, Any]:
    """Size and power where something else than the return is forecast, with Wilson's intervals."""
    edges = {"direction": (0.1, 0.2), "volume": (0.2, 0.4), "volatility": (0.1, 0.2)}
    return {
        t: calibrate("MSFT", target=t, null=100, planted=20, edges=e, jobs=jobs).to_dict() for t, e in edges.items()
    }


STUDIES: dict[str, Callable[[int], dict[str, Any]]] = {
    "size": size, "exposure": exposure, "power": power, "panel": panel, "variance": variance,
    "targets": targets,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", choices=[*STUDIES, []], default=list(STUDIES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    figures = json.loads(DOCS.read_text()) if DOCS.exists() else {}
    for name in asked.studies:
        figures[name] = STUDIES[name](asked.jobs)
        print(name, json.dumps(figures[name], indent=1))  # noqa: T201
        if asked.write:
            DOCS.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
