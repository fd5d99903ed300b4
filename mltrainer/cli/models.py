"""Commands about the catalog: what there is, training and forecasting."""

from typing import Annotated, Any

import typer

from mltrainer.cli.files import OutFile, write
from mltrainer.cli.terminal import (
    Artifact,
    End,
    Horizon,
    Json,
    Project,
    Start,
    Target,
    Tickers,
    Universe,
    app,
    chosen,
    document,
    judged,
    say,
    table,
)
from mltrainer.errors import BadInput


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="show the whole card of this one")] = None,
    family: Annotated[str | None, typer.Option(help="one family only")] = None,
    json_: Json = False,
) -> None:
    """List the catalog, one line a model; or show the card of one."""
    from mltrainer.models import catalog

    specs = catalog.specs(family) if name is None else [catalog.spec(name)]
    if json_:
        say(document([s.card.to_dict() for s in specs]))
    elif name is not None:
        say(specs[0].card.text())
    else:
        rows = [
            (s.name, s.family, s.task, c.tool, " ".join(c.gives[1:]), f"{s.cost:g}") for s in specs if (c := s.card)
        ]
        say(table(["model", "family", "task", "runs", "also gives", "CPU s"], rows))
        say("\n".join(f"unavailable: {s.why_unavailable}" for s in specs if not s.available) or "all are available")
        if family is None:
            beside = [f for f in catalog.FAMILIES.values() if f.origin == "added"]
            added = "; ".join(f"{', '.join(r.name for r in f.specs)} (--family {f.key})" for f in beside)
            say(f"added beside the {len(specs)}, run where asked for: {added}")
        say("each gives a forecast with an interval; `mltrainer models NAME` shows its card")


@app.command()
@judged(only=("panel", "ranked", "window", "interval"))
def train(
    model: str,
    ticker: Tickers = None,
    universe: Universe = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    target: Target = "return",
    protocol: Any = None,
    project: Project = None,
    json_: Json = False,
) -> None:
    """Train one model on all that is known of a ticker, or of several at once, keep it, and print its address."""
    from mltrainer.evaluation import lifecycle, study

    opened, asked = lifecycle.model(model), chosen(ticker, universe)
    result = opened.train(study.matrix(asked, start=start, end=end, horizon=horizon, target=target), protocol)
    artifact = result.save(project)
    say(document({"artifact": artifact} | result.to_dict()) if json_ else artifact)


@app.command()
def predict(
    artifact: Artifact,
    target: Annotated[str | None, typer.Option(help="refuse a model that forecasts anything else")] = None,
    project: Annotated[str | None, typer.Option(help="refuse a model that was kept for anything else")] = None,
    out: OutFile = None,
    json_: Json = False,
) -> None:
    """Forecast with a kept model: every session after the last it was trained on, of a panel for each name."""
    from mltrainer.evaluation import artifacts, lifecycle
    from mltrainer.features import targets

    trained = lifecycle.Model.load(artifact)
    known = (trained.state_ or {}).get("target", "return")
    if target is not None and known != targets.target(target).name:
        raise BadInput(f"{trained.name} {artifact[:12]} forecasts the {known}, not the {target}")
    if project is not None and project not in (made_for := artifacts.projects_of(artifact)):
        kept = ", ".join(sorted(filter(None, made_for))) or "no project"
        raise BadInput(f"{trained.name} {artifact[:12]} was kept for {kept}, not for {project[:60]}")
    said = trained.predict(trained.matrix_now())
    several = "ticker" in said.rows
    write(said.rows.assign(model=said.model, **{} if several else {"ticker": said.ticker}), out)
    if json_:
        say(said.to_json())
        return
    percent = said.target in ("return", "excess")
    what = f"{said.target} in %" if percent else f"{said.target}, {targets.target(said.target).unit},"
    say(f"{said.model} on {said.ticker} ({said.mode}): {what} over {said.horizon} sessions from the next entry,")
    panel = f", {trained.result.panel}" if trained.result.panel else ""
    say(f"lower to upper holds {said.interval:.0%} of outcomes; trained to {trained.result.end}{panel}")
    heads = ["said on", *(["ticker"] if several else [])]
    rows = [
        (str(row[0])[:10], *row[1 : len(heads)],
         *(f"{v * (100 if percent else 1):.{2 if percent else 3}f}" for v in row[len(heads) :]))
        for row in said.rows.itertuples(index=False)
    ]  # fmt: skip
    say(table([*heads, *(str(c).replace("_", " ") for c in said.frame)], rows))
