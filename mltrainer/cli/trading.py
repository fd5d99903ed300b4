"""Commands from forecasts to decisions: the regime."""

from typing import Annotated

import typer

from mltrainer.cli.terminal import Json, Start, Ticker, app, document, mode_line, say, table

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
