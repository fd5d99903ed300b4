"""Commands of forecasts: what comes next and who may say so, and what became of it."""

from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import (
    Horizon,
    Json,
    Project,
    Target,
    Tickers,
    Universe,
    app,
    chosen,
    document,
    mode_line,
    say,
    table,
)

AsOf = Annotated[str | None, typer.Option(help="as of this day, YYYY-MM-DD; default the last session")]


@app.command()
def forecast(
    tickers: Annotated[list[str] | None, typer.Argument(help="one or more; default MSFT")] = None,
    universe: Universe = None,
    target: Target = "return",
    horizon: Horizon = 5,
    as_of: AsOf = None,
    model: Annotated[list[str] | None, typer.Option(help="only these models may speak, if they may")] = None,
    interval: Annotated[float, typer.Option(help="nominal coverage of the interval")] = 0.9,
    commit: Annotated[bool, typer.Option("--commit/--no-commit", help="write it to the forward ledger")] = True,
    project: Project = None,
    json_: Json = False,
) -> None:
    """Say what comes next by who is shown to know, and commit it before its outcome."""
    from mltrainer.evaluation.protocol import Protocol
    from mltrainer.trading.forecasts import forecast as say_of

    asked: dict[str, Any] = {"target": target, "horizon": horizon, "as_of": as_of, "models": model, "commit": commit}
    names = chosen(tickers, universe)
    made = say_of(names, protocol=Protocol(interval=interval), project=project, **asked)
    if json_:
        say(document([f.to_dict() for f in made]))
        return
    for f in made:
        say(f"{f.id}  {f!r}\n  confidence {f.confidence:.0%} of that side; {f.falsifier['says']}")
        say(f"  {f.evidence or 'not committed'}{f', {f.made_at[:16]} UTC' if f.made_at else ''}")
    say(mode_line())


@app.command()
def forecasts(
    ticker: Annotated[str | None, typer.Option(help="only of this ticker")] = None,
    target: Annotated[str | None, typer.Option(help="only of this target")] = None,
    horizon: Annotated[int | None, typer.Option(help="only over so many sessions")] = None,
    as_of: AsOf = None,
    json_: Json = False,
) -> None:
    """List the forecasts that were committed, their outcomes, and the track record."""
    from mltrainer.trading.forecasts import history, track
    from mltrainer.trading.forecasts.track import sentence
    from mltrainer.views import number

    found = history(ticker, target=target, horizon=horizon, as_of=as_of)
    record = track(found)
    if json_:
        rows = {"forecasts": found.to_dict("records"), "record": record.to_dict("records")}
        say(document({"sentence": sentence(record), **rows}))
        return
    shown = [
        (r.id, r.ticker, r.target, r.as_of, r.known_on, number(r.forecast), number(r.low), number(r.high), r.models,
         number(r.outcome) if r.status == "known" else r.status, r.evidence)
        for r in found.itertuples()
    ]  # fmt: skip
    heads = ["forecast", "ticker", "target", "as of", "known on", "said", "low", "high", "by", "outcome", "evidence"]
    say(table(heads, shown) if shown else "no forecast")
    say(f"{sentence(record)}\n{mode_line()}")


@app.command()
def monitor(
    ticker: Tickers = None,
    universe: Universe = None,
    target: Target = "volatility",
    horizon: Horizon = 5,
    model: Annotated[list[str] | None, typer.Option(help="these models; default all that the ledger knows")] = None,
    since: Annotated[str | None, typer.Option(help="first session watched; default two years before the end")] = None,
    as_of: AsOf = None,
    json_: Json = False,
) -> int:
    """Watch forecasts against outcomes as they arrived: drift, health, and what to retire; exit 1 where one should."""
    from mltrainer.trading.forecasts.monitor import monitor as watch
    from mltrainer.views import number, percent

    found = watch(chosen(ticker, universe), target=target, horizon=horizon, models=model, since=since, as_of=as_of)
    if json_:
        say(document(found.to_dict()))
    else:
        shown = [
            (r.ticker, r.model, r.source, r.state, number(r.e_value), number(r.cusum_ratio), percent(r.saved_before),
             percent(r.saved), percent(r.coverage), r.says)
            for r in found.rows.itertuples()
        ]  # fmt: skip
        heads = [
            "ticker",
            "model",
            "source",
            "state",
            "e value",
            "CUSUM",
            "saved before, %",
            "since, %",
            "held, %",
            "why",
        ]
        say(table(heads, shown))
        for (name, who), why in found.dropped.items():
            say(f"not watched, {name}, {who}: {why}") if who.startswith("committed") else None
        say(f"{found.sentence()}\n{mode_line()}")
    return int((found.rows["state"] == "retire").any())
