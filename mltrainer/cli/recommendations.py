"""Recommendations from the command line: what to hold, how much of it, and how past ones ended; and the daily brief."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import Json, Universe, app, document, mode_line, say, table
from mltrainer.errors import BadInput

AsOf = Annotated[str | None, typer.Option(help="as of this day, YYYY-MM-DD; default the last session")]


@app.command()
def recommend(
    tickers: Annotated[list[str] | None, typer.Argument(help="tickers; in mode sample default sample20")] = None,
    universe: Universe = None,
    as_of: AsOf = None,
    horizon: Annotated[int, typer.Option(help="sessions ahead")] = 5,
    volatility: Annotated[float, typer.Option(help="volatility a year that all sizes together aim at")] = 0.10,
    capital: Annotated[float | None, typer.Option(help="dollars, to say each size in them too")] = None,
    project: Annotated[str | None, typer.Option(help="a label; default MLTRAINER_PROJECT")] = None,
    history: Annotated[bool, typer.Option("--history", help="past recommendations and how they ended")] = False,
    every: Annotated[int, typer.Option(help="sessions between recommendations of a walk from --since")] = 21,
    since: Annotated[str | None, typer.Option(help="walk from this day to --as-of and say how it ended")] = None,
    commit: Annotated[bool, typer.Option("--commit/--no-commit", help="write into the ledger")] = True,
    json_: Json = False,
) -> int:
    """Say how much of what to hold, and which way where a model knows; exit code 1 where a ticker was refused."""
    from mltrainer.data.universes import universe as named
    from mltrainer.trading import recommendations

    if tickers and universe:
        raise BadInput(f"--universe {universe} names the tickers already; give it or tickers, not both")
    knobs: dict[str, Any]
    asked: Any = named(universe) if universe else tickers or None
    if capital is not None and (since is not None or history):
        raise BadInput("--capital says sizes in dollars; leave it out where past recommendations are looked at")
    if since is not None:
        knobs = {"every": every, "horizon": horizon, "volatility": volatility}
        _told(recommendations.replay(since, as_of or "2100-01-01", asked, **knobs), json_)
        return 0
    if history:
        _told(recommendations.history(asked, as_of=as_of), json_)
        return 0
    knobs = {"volatility": volatility, "capital": capital, "project": project, "commit": commit}
    found = recommendations.recommend(asked, as_of=as_of, horizon=horizon, **knobs)
    if json_:
        say(document(found.to_dict()))
    else:
        _shown(found)
    return 1 if found.refused else 0


def _shown(found: Any) -> None:
    from mltrainer.views import fixed, number

    rows = [
        (
            *(r["ticker"], r["action"], fixed(1)(100 * r["size"])),
            *(fixed(2)(r[c]) for c in ("entry", "target", "stop")),
            *(fixed(0)(100 * r["volatility"]), number(r["score"]), number(r["confidence"]), r["regime"]),
        )
        for r in found.given.to_dict("records")
    ]
    heads = ["ticker", "action", "size, %", "entry", "target", "stop", "volatility, %", "score", "confidence", "regime"]
    say(table(heads, rows))
    for ticker, why in found.refused.items():
        say(f"refused {ticker}: {why}")
    if len(found.given):
        first = found.given.iloc[0]
        say(f"\n{first['ticker']}: {first['reasoning']}\n{first['falsifier']} It expires on {first['expiry']}.")
    say("\n".join(["", *found.notes, found.sentence(), mode_line()]))


def _told(found: Any, json_: bool) -> None:
    from mltrainer.views import percent

    if json_:
        say(document(found.to_dict()))
        return
    rates = [(c, *(percent(r[x]) for x in ("rate", "low", "high")), int(r["n"]), int(r["dates"]))
             for c, r in found.rates.iterrows()]  # fmt: skip
    if rates:
        say(table(["claim", "true, %", "from", "to", "recommendations", "days"], rates))
    if len(found.wealth) > 1:
        made = [(name, *(percent(r[x]) for x in found.figures)) for name, r in found.figures.iterrows()]
        say(table(["reader", "% a year", "volatility, %", "Sharpe x 100", "largest loss, %"], made))
    say(f"{found.sentence()}\n{mode_line()}")


@app.command()
def brief(
    universe: Universe = None,
    ticker: Annotated[list[str] | None, typer.Option(help="ticker; may be given more than once")] = None,
    as_of: AsOf = None,
    horizon: Annotated[int, typer.Option(help="sessions ahead")] = 5,
    volatility: Annotated[float, typer.Option(help="volatility a year that all sizes together aim at")] = 0.10,
    account: Annotated[str, typer.Option(help="account of the portfolio")] = "main",
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path(),
    commit: Annotated[bool, typer.Option("--commit/--no-commit", help="write into the ledger")] = True,
    json_: Json = False,
) -> None:
    """Write the page of a day: regime, what is forecastable, sizes, recommendations, what is held, alerts, quality."""
    from mltrainer.reports.brief import write

    if ticker and universe:
        raise BadInput(f"--universe {universe} names the tickers already; give it or --ticker, not both")
    knobs: dict[str, Any] = {"horizon": horizon, "volatility": volatility, "account": account, "commit": commit}
    page = write(out, ",".join(ticker) if ticker else universe or "sample20", as_of=as_of or "", **knobs)
    say(document({"page": str(page)}) if json_ else f"{page}\n{mode_line()}")
