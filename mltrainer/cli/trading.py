"""Commands from forecasts to decisions: the regime, alerts."""

from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import (
    End,
    Json,
    Start,
    Ticker,
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
def regime(
    ticker: Ticker = "MSFT",
    as_of: AsOf = None,
    start: Start = None,
    breadth: Annotated[str | None, typer.Option(help="universe whose breadth counts; sample default sample20")] = None,
    states: Annotated[int, typer.Option(help="hidden states, 2 or 3")] = 2,
    json_: Json = False,
) -> None:
    """Say the regime of a ticker's market: volatility, trend, volume, economy, score and hidden states."""
    from mltrainer.trading.regimes import regimes
    from mltrainer.views import number

    found = regimes(ticker, as_of=as_of, start=start, breadth=breadth, states=states)
    if json_:
        say(document(found.to_dict()))
        return
    rows = [(k, number(v) if isinstance(v, float) else v) for k, v in found.now.items() if v is not None]
    say(table(["what", "now"], rows))
    for name, why in found.unavailable.items():
        say(f"{name}: {why}")
    say(f"{found.sentence()}\n{mode_line()}")


alerts_app = typer.Typer(help="What happened that one wanted to know of, said once.", invoke_without_command=True)
app.add_typer(alerts_app, name="alerts")
State = Annotated[str | None, typer.Option(help="only new, acknowledged or resolved ones")]


@alerts_app.callback()
def alerts(context: typer.Context, json_: Json = False) -> None:
    """What happened that one wanted to know of, said once; alone it lists what is not resolved."""
    if context.invoked_subcommand is None:
        _listed([a for a in _alerts() if a.state != "resolved"], json_)


@alerts_app.command("list")
def alerts_list(state: State = None, json_: Json = False) -> None:
    """List the alerts of the mode in force, the newest first."""
    from mltrainer.trading.alerts import history

    wanted = set(history(state)["id"])
    _listed([a for a in _alerts() if a.id in wanted], json_)


def _alerts() -> list[Any]:
    from mltrainer.trading.alerts import ledger

    return ledger.alerts()[::-1]


def _listed(found: list[Any], json_: bool) -> None:
    if json_:
        say(document([a.to_dict() for a in found]))
        return
    rows = [(a.id, a.session, a.severity, a.kind, a.state, a.message) for a in found]
    say(table(["alert", "session", "severity", "kind", "state", "what"], rows) if rows else "no alert")
    say(mode_line())


@alerts_app.command("check")
def alerts_check(
    ticker: Tickers = None,
    universe: Universe = None,
    position: Annotated[list[str] | None, typer.Option(help="what is held, as TICKER@YYYY-MM-DD of its entry")] = None,
    as_of: AsOf = None,
    send: Annotated[bool, typer.Option("--send/--no-send", help="send what MLTRAINER_ALERT_URLS asks for")] = True,
    json_: Json = False,
) -> int:
    """Ask every condition of markets and positions, write down and send what is new; exit 1 if some was withheld."""
    from mltrainer.trading.alerts import Position, check

    held = [Position.parse(p) for p in position or ()]
    asked = chosen(ticker, universe) if ticker or universe or not held else []
    found = check(asked, positions=held, as_of=as_of, send=send)
    if json_:
        new = {"new": [a.to_dict() for a in found.new], "subjects": found.subjects, "withheld": found.withheld}
        say(document(new | {"deliveries": found.deliveries, "sentence": found.sentence()}))
    else:
        _listed(found.new, False)
        for subject, why in found.withheld.items():
            say(f"withheld {subject}: {why}")
        say(found.sentence())
    return 1 if found.withheld else 0


@alerts_app.command("ack")
def alerts_ack(
    ids: Annotated[list[str], typer.Argument(help="one or more, or their first digits")],
    note: Annotated[str, typer.Option(help="what there is to say of it, kept in the audit trail")] = "",
    json_: Json = False,
) -> None:
    """Write down that somebody has seen alerts."""
    from mltrainer.trading.alerts import acknowledge

    _listed(acknowledge(*ids, note=note), json_)


@alerts_app.command("replay")
def alerts_replay(
    ticker: Tickers = None,
    universe: Universe = None,
    kind: Annotated[list[str] | None, typer.Option(help="only these of the seven kinds")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="replay signals of these models, as if they had skill")
    ] = None,
    start: Start = None,
    end: End = None,
    json_: Json = False,
) -> None:
    """Walk every condition through the history: would it have fired then, and was it right?"""
    from mltrainer.evaluation import study
    from mltrainer.trading.alerts import replay
    from mltrainer.views import number

    names = chosen(ticker, universe)
    made = [e for t in getattr(names, "tickers", names) for e in study.evaluate(model, t, end=end)] if model else []
    found = replay(names, kinds=kind, start=start, end=end, evaluations=[e for e in made if e.ok], evidence=bool(model))
    if json_:
        rows = {"alerts": found.alerts.to_dict("records"), "rates": found.rates.to_dict("records")}
        say(document({"mode": found.mode, "sentence": found.sentence(), **rows}))
        return
    shown = [
        (
            f"{r.kind} {r.condition}",
            r.alerts,
            *(number(x) for x in (r.a_year, r.false_alarms, r.low, r.high, r.base, r.p)),
        )
        for r in found.rates.itertuples()
    ]
    say(table(["condition", "alerts", "a year", "false alarms", "from", "to", "of any day", "p"], shown))
    say(f"{found.sentence()}\n{mode_line()}")
