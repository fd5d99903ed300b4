"""Several questions of one ticker: a report for each target, and one page in front that says what is forecastable."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mltrainer.data.dates import Day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, Unavailable
from mltrainer.evaluation.forecastable import Map, forecastable
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.study import select
from mltrainer.features.targets import target as targets_of
from mltrainer.reports import map as front
from mltrainer.reports.folder import Run, place
from mltrainer.reports.run import report
from mltrainer.trust import audit
from mltrainer.trust.provenance import fingerprint


@dataclass(frozen=True)
class Survey:
    """Reports of several targets and the page in front of them.

    Attributes
    ----------
    page : the HTML file; its links lead to the reports.
    runs : target -> its report; a target that the data does not have is missing here, and the map says why.
    map : target by target, the best baseline, the best model, and what it adds.
    """

    page: Path
    runs: dict[str, Run]
    map: Map

    def __repr__(self) -> str:
        """Say it in one sentence."""
        return f"Survey({self.page}: {self.map.sentence()})"


def survey(
    targets: Iterable[str],
    ticker: str | Universe = "MSFT",
    *,
    families: Iterable[str] | None = None,
    horizon: int = 5,
    start: Day = None,
    end: Day = None,
    jobs: int | None = None,
    protocol: Protocol | None = None,
    project: str | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Survey:
    """Report on several targets of a ticker or a universe, and write the map of them as the page in front.

    Parameters
    ----------
    targets : names of `features.targets.TARGETS`; at least one that the data has.
    families, horizon, start, end, jobs, protocol, project, out, options : as for `report`, the same for all.
    """
    chosen, names = list(families or []), [targets_of(name).name for name in dict.fromkeys(targets)]
    given: Any = ticker if isinstance(ticker, Universe) else [ticker]
    known: dict[str, Any] = {"start": start, "end": end, "protocol": protocol, "project": project}
    runs: dict[str, Run] = {}
    lacking: list[str] = []
    for target in names:
        try:
            runs[target] = report(
                chosen or None, given, horizon=horizon, target=target, jobs=jobs, out=out, **known, **options
            )
        except (Unavailable, BadInput) as error:
            lacking.append(str(error))
    if not runs:
        raise BadInput(lacking[0] if lacking else "no target was given; name at least one")
    models = select(chosen or None)
    found = forecastable(ticker, models=models, targets=names, horizons=[horizon], jobs=jobs or 1, **known)
    links = {target: f"{run.id}/index.html" for target, run in runs.items()}
    digest = fingerprint(*(run.id for run in runs.values()))[:8]
    name = f"{ticker.name if isinstance(ticker, Universe) else ticker}"
    page = place(out) / f"{Path(name).stem}-{horizon}d-targets-{digest}.html"
    front.write(page, found, links)
    told = {target: run.id for target, run in runs.items()}
    audit.append("map", page=page.name, sha256=sha256(page.read_bytes()).hexdigest(), runs=told)
    return Survey(page, runs, found)
