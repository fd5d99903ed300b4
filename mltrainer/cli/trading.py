"""Commands from forecasts to decisions: the regime, alerts, what is held."""

from pathlib import Path
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
    complain,
    document,
    mode_line,
    say,
    table,
)
from mltrainer.errors import BadInput

AsOf = Annotated[str | None, typer.Option(help="as of this day, YYYY-MM-DD; default the last session")]


@app.command()
def regime(
    ticker: Ticker = "MSFT",
    universe: Annotated[str | None, typer.Option(help="a line for each name of a universe instead")] = None,
    as_of: AsOf = None,
    start: Start = None,
    breadth: Annotated[str | None, typer.Option(help="universe whose breadth counts; sample default sample20")] = None,
    states: Annotated[int, typer.Option(help="hidden states, 2 or 3")] = 2,
    models: Annotated[
        str | None, typer.Option(help="also: models with evidence in this regime, by volatility, trend, volume ...")
    ] = None,
    json_: Json = False,
) -> None:
    """Say the regime of a ticker's market: volatility, trend, volume, economy, score and hidden states."""
    from mltrainer.trading.regimes import chosen, regimes
    from mltrainer.views import number

    if universe is not None:
        _regimes(universe, {"as_of": as_of, "start": start, "breadth": breadth, "states": states}, json_)
        return
    found = regimes(ticker, as_of=as_of, start=start, breadth=breadth, states=states)
    skilled = chosen(found, column=models) if models else None
    if json_:
        say(document(found.to_dict() | ({"models": skilled.to_dict()} if skilled else {})))
        return
    rows = [(k, number(v) if isinstance(v, float) else v) for k, v in found.now.items() if v is not None]
    say(table(["what", "now"], rows))
    for name, why in found.unavailable.items():
        say(f"{name}: {why}")
    if skilled:
        say(skilled.sentence())
    say(f"{found.sentence()}\n{mode_line()}")


def _regimes(universe: str, how: dict[str, Any], json_: bool) -> None:
    """The regime of each name of a universe; a name that has none says why."""
    from mltrainer.errors import MltrainerError
    from mltrainer.trading.regimes import regimes

    rows: dict[str, Any] = {}
    for name in chosen(None, universe).tickers:
        try:
            found = regimes(name, **how)
            rows[name] = found.to_dict() if json_ else found.sentence()
        except MltrainerError as error:
            rows[name] = {"unavailable": str(error)} if json_ else f"unavailable: {error}"
    say(document(rows) if json_ else f"{table(['ticker', 'regime'], rows.items())}\n{mode_line()}")


alerts_app = typer.Typer(help="What happened that one wanted to know of, said once.", invoke_without_command=True)
app.add_typer(alerts_app, name="alerts")
State = Annotated[str | None, typer.Option(help="only new, acknowledged or resolved ones")]


@alerts_app.callback()
def alerts(context: typer.Context, json_: Json = False) -> None:
    """What happened that one wanted to know of, said once; alone it lists what is not resolved."""
    if context.invoked_subcommand is None:
        _listed([a for a in _alerts() if a.state != "resolved"], json_)


@alerts_app.command("list")
def alerts_list(state: State = None, as_of: AsOf = None, json_: Json = False) -> None:
    """List the alerts of the mode in force, the newest first; as of a day, in the state they had then."""
    from mltrainer.trading.alerts import history

    wanted = set(history(state, as_of=as_of)["id"])
    _listed([a for a in _alerts(as_of) if a.id in wanted], json_)


def _alerts(as_of: str | None = None) -> list[Any]:
    from mltrainer.trading.alerts import ledger

    return ledger.alerts(as_of=as_of)[::-1]


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
    account: Annotated[list[str] | None, typer.Option(help="an account whose purchases and book are watched")] = None,
    as_of: AsOf = None,
    send: Annotated[bool, typer.Option("--send/--no-send", help="send what MLTRAINER_ALERT_URLS asks for")] = True,
    json_: Json = False,
) -> int:
    """Ask every condition of markets and positions, write down and send what is new; exit 1 if some was withheld."""
    from mltrainer.trading.alerts import Position, check

    held = [Position.parse(p) for p in position or ()]
    asked = chosen(ticker, universe) if ticker or universe or not (held or account) else []
    found = check(asked, positions=held, accounts=account or (), as_of=as_of, send=send)
    if send and as_of is None:
        from mltrainer.operations import health

        for part in health.told():  # whoever is told of markets is told when this installation is not well
            complain(f"{part.state}: {part.sentence()}")
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
    account: Annotated[list[str] | None, typer.Option(help="also what an account has held")] = None,
    start: Start = None,
    end: End = None,
    page: Annotated[Path | None, typer.Option(help="write the span as a page to this HTML file instead")] = None,
    json_: Json = False,
) -> None:
    """Walk every condition through the history: would it have fired then, and was it right?"""
    from mltrainer.evaluation import study
    from mltrainer.trading.alerts import replay
    from mltrainer.views import number

    names = chosen(ticker, universe)
    if page is not None:
        from mltrainer.reports.walkthrough import write

        say(f"wrote {write(page, names, start, end)}\n{mode_line()}")
        return
    made = [e for t in getattr(names, "tickers", names) for e in study.evaluate(model, t, end=end)] if model else []
    how: dict[str, Any] = {"evaluations": [e for e in made if e.ok], "evidence": bool(model), "accounts": account or ()}
    found = replay(names, kinds=kind, start=start, end=end, **how)
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


portfolio_app = typer.Typer(help="What is held, what it cost and what it earned.", invoke_without_command=True)
app.add_typer(portfolio_app, name="portfolio")
Account = Annotated[str, typer.Option(help="which account")]


@portfolio_app.callback()
def portfolio(context: typer.Context, account: Account = "main", as_of: AsOf = None, json_: Json = False) -> None:
    """What is held, what it cost and what it earned; alone it values the account."""
    if context.invoked_subcommand is None:
        _valued(account, as_of, None, json_)


@portfolio_app.command("show")
def portfolio_show(
    account: Account = "main",
    as_of: AsOf = None,
    benchmark: Annotated[str | None, typer.Option(help="a ticker whose return stands beside")] = None,
    json_: Json = False,
) -> None:
    """Value an account: positions, gains, and returns by time and by money."""
    _valued(account, as_of, benchmark, json_)


def _valued(account: str, as_of: str | None, benchmark: str | None, json_: bool) -> None:
    from mltrainer.trading.positions import value
    from mltrainer.views import number, percent

    found = value(account, as_of=as_of, benchmark=benchmark)
    if json_:
        say(document(found.to_dict()))
        return
    rows = [
        (t, *(number(x, 6) for x in row))
        for t, row in zip(found.positions.index, found.positions.to_numpy(), strict=True)
    ]
    say(table(["ticker", *found.positions.columns], rows))
    said = f"{found.session}: {found.value:,.2f} dollars, {found.cash:,.2f} of them cash, gain {found.gain:,.2f}"
    returns = f"{percent(found.time_weighted)} % by time, {percent(found.money_weighted)} % a year by money"
    say(f"{said}; {returns}, benchmark {percent(found.benchmark)} %\n{mode_line()}")


@portfolio_app.command("add")
def portfolio_add(
    kind: Annotated[str, typer.Argument(help="deposit, withdraw, buy, sell, dividend, split or fee")],
    day: Annotated[str, typer.Argument(help="YYYY-MM-DD")],
    ticker: Annotated[str, typer.Option(help="ticker")] = "",
    quantity: Annotated[float, typer.Option(help="shares")] = 0.0,
    price: Annotated[float, typer.Option(help="dollars a share")] = 0.0,
    fee: Annotated[float, typer.Option(help="dollars")] = 0.0,
    cash: Annotated[float, typer.Option(help="dollars")] = 0.0,
    ratio: Annotated[float, typer.Option(help="new shares for one old")] = 0.0,
    note: Annotated[str, typer.Option(help="what there is to say of it")] = "",
    account: Account = "main",
) -> None:
    """Write one entry of an account; nothing is written if the account could not have done it."""
    from mltrainer.trading.positions import record

    values = {"ticker": ticker, "quantity": quantity, "price": price, "fee": fee, "cash": cash, "ratio": ratio}
    state = record(kind, day, account=account, note=note, **values)
    say(f"{account}: {state.cash:,.2f} dollars in cash, {len(state.quantities)} positions")


@portfolio_app.command("correct")
def portfolio_correct(
    entry: Annotated[int, typer.Argument(help="its number")],
    reason: Annotated[str, typer.Option(help="why")],
    account: Account = "main",
) -> None:
    """Void an entry by another that says why; both stay in the ledger."""
    from mltrainer.trading.positions import correct

    state = correct(entry, reason, account=account)
    say(f"{account}: {state.cash:,.2f} dollars in cash, {len(state.quantities)} positions")


@portfolio_app.command("entries")
def portfolio_entries(account: Account = "main", json_: Json = False) -> None:
    """List every entry and correction of an account."""
    from mltrainer.trading.positions import entries

    found = entries(account)
    if json_:
        say(document(found))
        return
    shown = [{k: v for k, v in e.items() if v not in ("", 0.0, False)} for e in found]
    say("\n".join(", ".join(f"{k} {v}" for k, v in e.items()) for e in shown) or "no entry")


@portfolio_app.command("import")
def portfolio_import(file: Annotated[str, typer.Argument(help="a CSV")], account: Account = "main") -> None:
    """Write the entries of a CSV, all or none; a file read twice adds nothing the second time."""
    from mltrainer.trading.positions import import_csv

    state, n = import_csv(file, account=account)
    say(f"{n} new entries; {account}: {state.cash:,.2f} dollars in cash, {len(state.quantities)} positions")


@portfolio_app.command("export")
def portfolio_export(account: Account = "main") -> None:
    """Print the entries that count as CSV, with nothing in it that a spreadsheet would run."""
    from mltrainer.trading.positions import export_csv

    typer.echo(export_csv(account), nl=False)


@portfolio_app.command("what-if")
def portfolio_what_if(
    target: Annotated[list[str], typer.Argument(help="weights, as MSFT=0.5")],
    account: Account = "main",
    as_of: AsOf = None,
    json_: Json = False,
) -> None:
    """Show the trades that would bring an account to target weights; nothing is written."""
    from mltrainer.trading.positions import what_if

    pairs = [t.partition("=") for t in target]
    try:
        weights = {ticker.upper(): float(weight) for ticker, _, weight in pairs}
    except ValueError:
        raise BadInput("a target is TICKER=WEIGHT, as MSFT=0.5") from None
    found = what_if(weights, account, as_of=as_of)
    say(
        document(found.reset_index(names="ticker").to_dict("records"))
        if json_
        else found.to_string(float_format="{:,.4g}".format)
    )
