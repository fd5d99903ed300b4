"""The leakage gap: by how much would ordinary cross-validation have flattered a model?"""

from dataclasses import dataclass, replace

import pandas as pd

from mltrainer.data.dates import Day
from mltrainer.errors import Unavailable
from mltrainer.evaluation import engine, study
from mltrainer.evaluation.judging import judge
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import CombinatorialPurged, KFoldDiagnostic, Split
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.trust.provenance import Dataset

FIGURES = ("r2_oos", "ic", "sharpe")
DIAGNOSTICS: dict[str, Split] = {"k_fold": KFoldDiagnostic(), "combinatorial_purged": CombinatorialPurged()}


@dataclass(frozen=True)
class LeakageGap:
    """The same model on the same sessions under several ways to cut time; only the walk-forward is evidence.

    Attributes
    ----------
    scores : a row per figure (r2_oos, ic, sharpe); columns walk_forward, k_fold, combinatorial_purged, and gap, which
        is k_fold less walk_forward.
    label : what to write beside every number that is not the walk-forward's.
    """

    model: str
    ticker: str
    scores: pd.DataFrame
    label: str = "diagnostic: trains on the future"

    def sentence(self) -> str:
        """Say what ordinary cross-validation would have claimed."""
        s = self.scores.loc["r2_oos"]
        return (
            f"{self.model} on {self.ticker}: shuffled K-fold claims an out-of-sample R² of {s['k_fold']:.3f} "
            f"({self.label}), the walk-forward finds {s['walk_forward']:.3f}."
        )

    def __repr__(self) -> str:
        """Say it in one line."""
        return f"LeakageGap({self.sentence()})"


def leakage_gap(
    name: str,
    data: "str | Dataset | Matrix",
    *,
    horizon: int | None = None,
    start: Day = None,
    end: Day = None,
    protocol: Protocol | None = None,
    project: str | None = None,
) -> LeakageGap:
    """Judge a model by the walk-forward and by ways to cut time that train on the future, on the same sessions.

    Parameters
    ----------
    name : a name of the catalog that does not follow one session after the other (no series, filter or chain).
    data : a ticker, bars or a matrix of one; horizon, start and end as for `matrix`, project as for `evaluate`.

    Returns
    -------
    LeakageGap
        What trains on the future is kept in the ledger as a diagnostic, neither ranked nor counted as a trial.
    """
    spec = catalog.spec(name)
    matrix = study.matrix(data, horizon=horizon, start=start, end=end).of_one("a leakage gap")
    protocol = protocol or Protocol()
    cuts = {"walk_forward": protocol.split, **DIAGNOSTICS}
    found: dict[str, Evaluation] = {}
    for way, split in cuts.items():
        cut = replace(protocol, split=split)
        (found[way],) = engine.run([spec], [matrix], protocol=cut, jobs=1, progress=False, project=project)
        if found[way].forecasts.empty:
            raise Unavailable(f"{name} has no leakage gap to show: {found[way].reason}")
    rows = found["walk_forward"].forecasts.index
    figures = {way: judge(e.forecasts.loc[rows], matrix.horizon) for way, e in found.items()}
    scores = pd.DataFrame({way: [f[figure] for figure in FIGURES] for way, f in figures.items()}, index=list(FIGURES))
    return LeakageGap(name, matrix.name, scores.assign(gap=scores["k_fold"] - scores["walk_forward"]))
