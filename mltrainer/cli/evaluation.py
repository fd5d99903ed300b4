"""Commands that judge: evaluate, search, calibrate, rank."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.cli.files import OutFile, together, write
from mltrainer.cli.terminal import (
    End,
    Feature,
    Horizon,
    Jobs,
    Json,
    Project,
    Start,
    Target,
    Tickers,
    Universe,
    app,
    board,
    chosen,
    complain,
    document,
    judged,
    mode_line,
    own,
    say,
    table,
)


@app.command()
@judged
def evaluate(
    models: list[str],
    ticker: Tickers = None,
    universe: Universe = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    target: Target = "return",
    feature: Feature = None,
    protocol: Any = None,
    jobs: Annotated[int, typer.Option(help="worker processes")] = 1,
    project: Project = None,
    out: OutFile = None,
    json_: Json = False,
) -> int:
    """Judge models out of sample, net of costs; each fit becomes a row of the trial ledger."""
    from mltrainer.evaluation import study

    results = study.evaluate(
        models, chosen(ticker, universe), start=start, end=end, horizon=horizon, jobs=jobs, target=target,
        protocol=protocol, features=own(feature), project=project,
    )  # fmt: skip
    board(study.leaderboard(results), json_)
    said = ({"model": e.model, "ticker": e.ticker, "target": e.target, "key": e.key} for e in results)
    write(together((label, e.forecasts) for label, e in zip(said, results, strict=True) if len(e.forecasts)), out)
    return 0 if any(e.ok for e in results) else 1


@app.command()
@judged
def preregister(
    model: str,
    ticker: Tickers = None,
    universe: Universe = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    target: Target = "return",
    feature: Feature = None,
    protocol: Any = None,
    project: Project = None,
    json_: Json = False,
) -> None:
    """Declare a single test before it is run: `evaluate` with the same options then has a verdict of its own."""
    from mltrainer.evaluation import study

    asked = chosen(ticker, universe)
    said = study.preregister(
        model, asked, start=start, end=end, horizon=horizon, target=target, protocol=protocol, features=own(feature),
        project=project,
    )  # fmt: skip
    say(document(said) if json_ else repr(said))


@app.command()
@judged
def calibrate(
    ticker: Tickers = None,
    universe: Universe = None,
    model: Annotated[list[str] | None, typer.Option(help="models of each world, default five fast ones")] = None,
    worlds: Annotated[int, typer.Option(help="worlds without skill")] = 100,
    planted: Annotated[int, typer.Option(help="worlds for each strength of a planted lead")] = 15,
    drift: Annotated[float | None, typer.Option(help="annual Sharpe ratio of holding; default as it was")] = None,
    seconds: Annotated[float | None, typer.Option(help="begin no world after so many; the rest another time")] = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    target: Target = "return",
    protocol: Any = None,
    jobs: Jobs = None,
    json_: Json = False,
) -> None:
    """Measure how often the verdict says yes where there is nothing, and how much skill it would have found."""
    from mltrainer.evaluation.calibrate import calibrate

    found = calibrate(
        chosen(ticker, universe), models=model, null=worlds, planted=planted, drift=drift, seconds=seconds,
        start=start, end=end, horizon=horizon, target=target, jobs=jobs, protocol=protocol,
    )  # fmt: skip
    if json_:
        say(document(found.to_dict()))
        return
    say(table(*found.table()))
    say(found.sentence())


@app.command()
@judged
def tune(
    model: str,
    ticker: Tickers = None,
    universe: Universe = None,
    method: Annotated[str, typer.Option(help="random, tpe, genetic, pso or de")] = "tpe",
    trials: Annotated[int, typer.Option(help="settings to try")] = 30,
    score: Annotated[str, typer.Option(help="what decides: r2_oos, ic or sharpe")] = "r2_oos",
    seed: Annotated[int, typer.Option(help="the same seed gives the same search")] = 0,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    target: Target = "return",
    feature: Feature = None,
    protocol: Any = None,
    jobs: Annotated[int, typer.Option(help="worker processes")] = 1,
    project: Project = None,
    json_: Json = False,
) -> int:
    """Search a model's settings in the past and judge the choice on what came after; each is a trial."""
    from mltrainer.evaluation.tune import tune as search
    from mltrainer.settings import settings

    found = search(
        model, chosen(ticker, universe), method=method, trials=trials, score=score, random_state=seed, start=start,
        end=end, horizon=horizon, jobs=jobs, target=target, protocol=protocol, project=project, features=own(feature),
    )  # fmt: skip
    if json_:
        said = {name: getattr(found, name) for name in ("model", "ticker", "method", "score", "parameters", "luck")}
        said |= {"mode": settings().data_mode, "sentence": found.sentence()}
        said |= {"candidates": found.candidates.to_dict("records")}
        judged = {"evaluation": found.evaluations, "baseline": found.baselines}
        one = len(found.evaluations) == 1
        said |= {n: es[0].metrics if one else {e.ticker: e.metrics for e in es} for n, es in judged.items()}
        say(document(said))
    else:
        say(found.candidates.drop(columns="key").to_string(float_format="{:.4g}".format, na_rep=""))
        say(f"{found.sentence()}\n{mode_line()}")
    return 0 if all(e.ok for e in found.evaluations) else 1


@app.command()
def leaderboard(
    project: Annotated[str | None, typer.Option(help="show only what was tried for this; luck counts all")] = None,
    out: OutFile = None,
    json_: Json = False,
) -> None:
    """Rank every trial of the mode in force that ran, tested together with all of them."""
    from mltrainer.evaluation.ranking import ranked

    ranking, left = ranked(project)
    if said := left.sentence():
        complain(said)
    board(ranking, json_, revoked=left)
    write(ranking.rows, out, {"sentence": ranking.sentence(), "luck": ranking.luck})


@app.command("map")
@judged
def map_(
    ticker: Tickers = None,
    universe: Universe = None,
    model: Annotated[list[str] | None, typer.Option(help="models of each cell, default five fast ones")] = None,
    target: Annotated[list[str] | None, typer.Option(help="only these targets; default all")] = None,
    horizon: Annotated[list[int] | None, typer.Option(help="only these horizons; default 1, 5 and 21")] = None,
    start: Start = None,
    end: End = None,
    feature: Feature = None,
    protocol: Any = None,
    jobs: Jobs = None,
    project: Project = None,
    page: Annotated[Path | None, typer.Option(help="also write it as a page to this HTML file")] = None,
    json_: Json = False,
) -> None:
    """What is forecastable here: targets by horizons, the best baseline, the best model, and what it adds."""
    from mltrainer.evaluation.forecastable import HORIZONS, forecastable
    from mltrainer.views import fixed

    found = forecastable(
        chosen(ticker, universe), models=model, targets=target, horizons=horizon or HORIZONS, start=start, end=end,
        protocol=protocol, jobs=jobs, project=project, features=own(feature),
    )  # fmt: skip
    if page is not None:
        from mltrainer.reports.map import write as written

        written(page, found)
    if json_:
        say(document({"sentence": found.sentence(), "rows": found.rows.to_dict("records")}))
        return
    heads = ["target", "horizon", "best baseline", "explains", "best model", "saves", "p", "verdict"]
    rows = [
        (r.target, r.horizon, r.baseline, fixed(3)(r.explained), r.model, fixed(3)(r.gain), fixed(3)(r.p), r.verdict)
        if r.status == "ok"
        else (r.target, r.horizon, "", "", "", "", "", r.status)
        for r in found.rows.itertuples()
    ]
    say(table(heads, rows))
    say(f"{found.sentence()}\n{mode_line()}")
