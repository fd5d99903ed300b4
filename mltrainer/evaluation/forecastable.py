"""What is forecastable here? Targets by horizons: the best baseline, the best model, what it saves, and the verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.data.dates import Day
from mltrainer.errors import Unavailable
from mltrainer.evaluation import engine, skill, study
from mltrainer.evaluation.calibrate import FAST
from mltrainer.evaluation.leaderboard import Leaderboard, leaderboard
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.matrix import Matrix
from mltrainer.features.own import Own
from mltrainer.features.targets import LEAST_NAMES, TARGETS, target
from mltrainer.models.base import ModelSpec

HORIZONS = (1, 5, 21)
Cell = tuple[str, int]  # target and horizon
COLUMNS = (
    "target horizon baseline baseline_loss mean_loss explained model ticker gain gain_low gain_high p verdict status"
).split()


@dataclass(frozen=True)
class Map:
    """What can be forecast, one row for each target and horizon.

    Attributes
    ----------
    rows : columns `COLUMNS`: the best baseline and its mean loss, the loss of the mean of the past and the share of it
        that the baseline explains (NaN where the mean is no baseline or the best one), the model with the strongest
        evidence, the share it saves of the baseline's loss with a 95 % interval, its adjusted p and its verdict;
        `status` says why a cell is empty. Of a universe the ticker with the best result is named.
    board : every result, ranked.
    matrices : what was judged, one for each cell that could be.
    """

    rows: pd.DataFrame
    board: Leaderboard
    matrices: tuple[Matrix, ...] = field(default=(), repr=False)

    def __repr__(self) -> str:
        """Say it in one sentence."""
        return f"Map({len(self.rows)} cells: {self.sentence()})"

    def _repr_html_(self) -> str:
        return self.rows.to_html(index=False, float_format="{:.3g}".format)

    def sentence(self) -> str:
        """What is forecastable, and whether a model adds to the plain forecast, in words."""
        ran = self.rows[self.rows["status"] == "ok"]
        if ran.empty:
            return "Nothing could be judged here."
        plain = ran[ran["explained"] > LEAST].sort_values("explained", ascending=False).drop_duplicates("target")
        known = [
            f"{target(str(r.target)).title} ({r.baseline} explains {r.explained:.0%} at horizon {r.horizon})"
            for r in plain.itertuples()
        ]
        better = ran[ran["verdict"].map(skill.shows)]
        added = [
            f"{r.model} for {target(str(r.target)).title} at horizon {r.horizon} (p {in_words(float(str(r.p)))})"
            for r in better.itertuples()
        ]
        first = f"Forecastable by plain means: {', '.join(known)}." if known else "Nothing is forecast by plain means."
        last = f"Models that show more: {'; '.join(added)}." if added else "No model adds evidence of skill to that."
        return f"{first} {last}"


def in_words(p: float) -> str:
    """A p value with two digits; those that a fitted tail gives below one in a million have no digits to speak of."""
    return f"{p:.2g}" if p >= 1e-6 else "below 0.000001"


MANY_ROWS = 50_000  # beyond which what is quick on one ticker no longer is
LEAST = 0.05  # of the loss of the mean of the past, below which a plain forecast is not called one


def forecastable(
    data: Any = "MSFT",
    *,
    models: Sequence[str | ModelSpec] | None = None,
    targets: Iterable[str] | None = None,
    horizons: Iterable[int] = HORIZONS,
    start: Day = None,
    end: Day = None,
    jobs: int | None = 1,
    protocol: Protocol | None = None,
    project: str | None = None,
    features: Sequence[Own | str] = (),
) -> Map:
    """Judge models on every target and horizon, each cell against its best baseline; all are trials of the ledger.

    Parameters
    ----------
    data : a ticker, or a list of tickers or a universe, which is a panel.
    models : names of the catalog; default the fast ones of `calibrate.FAST`, of which the nearest neighbors are left
        out of a matrix of more than 50,000 rows: their cost grows with the square of the rows, and of twenty names
        they alone would be three quarters of it.
    targets : names of `features.targets.TARGETS`, default all that the data has; horizons : sessions, 1 to 63.
    start, end, jobs, protocol, project, features : as for `evaluate`.

    Returns
    -------
    Map
        Each cell's p is adjusted for all trials of its question and for the number of questions in the ledger.
    """
    names = [target(name).name for name in targets or TARGETS]
    specs = study.select(models=list(models or FAST))
    quick = [spec for spec in specs if models or spec.family != "neighbors"]
    cells: dict[Cell, str | list[Evaluation]] = {}
    seen: list[Matrix] = []
    for cell in ((name, horizon) for name in names for horizon in horizons):
        matrix = _matrix(data, *cell, start=start, end=end, features=features)
        if isinstance(matrix, str):
            cells[cell] = matrix
            continue
        seen.append(matrix)
        asked = specs if len(matrix.X) <= MANY_ROWS else quick
        cells[cell] = engine.run(asked, [matrix], jobs=jobs, progress=False, protocol=protocol, project=project)
    return mapped(cells, leaderboard([e for found in cells.values() for e in found if isinstance(e, Evaluation)]), seen)


def mapped(cells: Mapping[Cell, str | list[Evaluation]], board: Leaderboard, matrices: Iterable[Matrix]) -> Map:
    """The map of cells: target and horizon -> the results, or why there are none; `board` has ranked all of them."""
    rows = [_row(name, horizon, found, board) for (name, horizon), found in cells.items()]
    return Map(pd.DataFrame(rows, columns=COLUMNS), board, tuple(matrices))


def _matrix(data: Any, name: str, horizon: int, **known: Any) -> Matrix | str:
    """What is judged in one cell, or why nothing can be."""
    try:
        matrix = study.matrix(data, horizon=horizon, target=name, **known)
    except Unavailable as error:
        return str(error)
    if matrix.aim.cross_sectional and len(matrix.tickers) < LEAST_NAMES:
        return f"of names side by side: at least {LEAST_NAMES}"
    return matrix


def _row(name: str, horizon: int, found: Any, board: Leaderboard) -> dict[str, Any]:
    row: dict[str, Any] = {"target": name, "horizon": horizon}
    if isinstance(found, str):
        return row | {"status": found}
    keys = {e.key: e for e in found if e.ok}
    rows = board.rows[board.rows["key"].isin(keys)]
    if rows.empty:
        return row | {"status": next((e.reason for e in found), "no model ran")}
    best = rows.iloc[0] if target(name).proof == "ranks" else rows.iloc[int(np.nanargmax(rows["gain"].astype(float)))]
    losses = keys[best["key"]].meta["baselines"]
    mean, least = losses.get("mean", np.nan), losses[best["baseline"]]
    return row | {
        "baseline": best["baseline"], "baseline_loss": least, "mean_loss": mean,
        "explained": 1 - least / mean if mean else np.nan, "model": best["name"], "ticker": best["ticker"],
        "gain": best["gain"], "gain_low": best["gain_low"], "gain_high": best["gain_high"],
        "p": np.nanmin([best["p_knows"], best["p_pays"], 1.0]), "verdict": best["verdict"], "status": "ok",
    }  # fmt: skip
