"""Commands of the main job: reports, and whether they hold."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mltrainer.cli.terminal import End, Horizon, Jobs, Json, Out, Project, Start, app, findings, say


@app.command()
def report(
    family: Annotated[list[str] | None, typer.Option(help="family of models; may be given more than once")] = None,
    ticker: Annotated[list[str] | None, typer.Option(help="ticker; may be given more than once")] = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    jobs: Jobs = None,
    out: Out = None,
    project: Project = None,
) -> int:
    """Evaluate families of models and write a report that opens offline."""
    from mltrainer import reports

    run = reports.report(family, ticker, start=start, end=end, horizon=horizon, jobs=jobs, out=out, project=project)
    from mltrainer.evaluation.leaderboard import Leaderboard

    say(Leaderboard(run.rows, run.manifest["luck"]).sentence())
    say(run.manifest["calibration"]["sentence"]) if run.manifest.get("calibration") else None
    say(str(run.path / "index.html"))
    for name, why in run.failed.items():
        print(f"mltrainer: the page of family {name} failed: {why}", file=sys.stderr)  # noqa: T201 - the terminal
    return 1 if run.failed else 0


@app.command()
def export(run: str, to: Path, out: Out = None) -> None:
    """Write the pages of a run to a folder, each as one file that can be sent by itself."""
    from mltrainer import reports

    say("\n".join(map(str, reports.export(run, to, out))))


@app.command()
def verify(run: str, out: Out = None, json_: Json = False) -> int:
    """Recompute every hash of a run folder; exit 0 if all of it holds, 1 if not."""
    from mltrainer import reports

    return findings(reports.verify(run, out), json_, "every file, source, result and trail entry holds")
