"""Commands of the main job: reports, and whether they hold."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import (
    End,
    Horizon,
    Jobs,
    Json,
    Out,
    Project,
    Start,
    Universe,
    app,
    chosen,
    document,
    findings,
    judged,
    say,
    table,
)
from mltrainer.errors import BadInput


@app.command()
@judged
def report(
    family: Annotated[list[str] | None, typer.Option(help="family of models; may be given more than once")] = None,
    ticker: Annotated[list[str] | None, typer.Option(help="ticker; each of several is asked on its own")] = None,
    universe: Universe = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    target: Annotated[
        list[str] | None, typer.Option(help="what is forecast, default return; several make a page in front of all")
    ] = None,
    protocol: Any = None,
    jobs: Jobs = None,
    out: Out = None,
    project: Project = None,
    validate: Annotated[bool, typer.Option(help="add a page that questions the strongest model")] = True,
    json_: Json = False,
) -> int:
    """Evaluate families of models and write a report that opens offline; a universe is one question."""
    from mltrainer import reports

    asked, targets = chosen(ticker, universe), list(dict.fromkeys(target or ["return"]))
    known: dict[str, Any] = {"start": start, "end": end, "horizon": horizon, "protocol": protocol, "jobs": jobs}
    known |= {"out": out, "project": project, "validate": validate}
    if len(targets) > 1:
        return _survey(targets, asked, family, json_, known)
    run = reports.report(family, asked, target=targets[0], **known)
    from mltrainer.evaluation.leaderboard import Leaderboard

    if json_:
        told = {name: run.manifest[name] for name in "run status mode as_of luck calibration parameters".split()}
        told |= {"index": run.path / "index.html", "failed": run.failed}
        say(document(told | {"sentence": Leaderboard(run.rows, run.manifest["luck"]).sentence()}))
        return 1 if run.failed else 0
    say(Leaderboard(run.rows, run.manifest["luck"]).sentence())
    say(run.manifest["calibration"]["sentence"]) if run.manifest.get("calibration") else None
    say(str(run.path / "index.html"))
    for name, why in run.failed.items():
        print(f"mltrainer: page {name} failed: {why}", file=sys.stderr)  # noqa: T201 - the terminal
    return 1 if run.failed else 0


def _survey(targets: list[str], asked: Any, family: list[str] | None, json_: bool, known: dict[str, Any]) -> int:
    from mltrainer import reports

    if isinstance(asked, list) and len(asked) > 1:
        raise BadInput("several targets are asked of one ticker or one universe; give --ticker once, or --universe")
    found = reports.survey(targets, asked[0] if isinstance(asked, list) else asked, families=family, **known)
    failed = {t: run.failed for t, run in found.runs.items() if run.failed}
    if json_:
        pages = {t: run.path / "index.html" for t, run in found.runs.items()}
        say(document({"page": found.page, "sentence": found.map.sentence(), "reports": pages, "failed": failed}))
    else:
        say(f"{found.map.sentence()}\n{found.page}")
    return 1 if failed else 0


@app.command()
def runs(out: Out = None, json_: Json = False) -> None:
    """List the finished runs of a folder, newest first."""
    from mltrainer import reports

    found = reports.runs(out)
    if json_:
        names = "run status mode as_of created_at parameters".split()
        say(document([{"path": r.path} | {name: r.manifest[name] for name in names} for r in found]))
        return
    rows = [(r.manifest["created_at"][:16].replace("T", " "), r.title, r.manifest["status"], r.path) for r in found]
    say(table(["made (UTC)", "what", "status", "folder"], rows) if rows else "no run here; mltrainer report makes one")


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
