"""The tear sheet of a factor across the names of a universe."""

from pathlib import Path
from typing import Annotated

import typer

from mltrainer.cli.terminal import (
    End,
    Horizon,
    Json,
    Start,
    Tickers,
    Universe,
    app,
    chosen,
    document,
    mode_line,
    say,
    table,
)  # fmt: skip


@app.command()
def factor(
    name: str,
    ticker: Tickers = None,
    universe: Universe = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    quantiles: Annotated[int, typer.Option(help="parts a session's names are divided into")] = 5,
    cost_bps: Annotated[float, typer.Option(help="cost per side of what is traded, in basis points")] = 5.0,
    share: Annotated[float, typer.Option(help="share of a session's volume, for the capacity")] = 0.01,
    panel: Annotated[str, typer.Option(help="of a model: pooled, per-name or hierarchical")] = "pooled",
    ranked: Annotated[bool, typer.Option("--ranked", help="of a model: it sees features as ranks")] = False,
    jobs: Annotated[int, typer.Option(help="worker processes")] = 1,
    page: Annotated[Path | None, typer.Option(help="also write the tear sheet to this HTML file")] = None,
    json_: Json = False,
) -> None:
    """Judge a feature, or a model's forecasts, across names: IC, decay, quantiles, portfolios, capacity."""
    from mltrainer.evaluation.factor import factor as judged
    from mltrainer.evaluation.protocol import Protocol

    names = chosen(ticker, universe or (None if ticker else "sample20"))
    sheet = judged(
        name, names, horizon=horizon, start=start, end=end, q=quantiles, cost_bps=cost_bps, share=share, jobs=jobs,
        protocol=Protocol(panel=panel, ranked=ranked),
    )  # fmt: skip
    if page is not None:
        from mltrainer.reports.factor import write

        asked = ",".join(ticker) if ticker else universe or "sample20"
        knobs = {"horizon": horizon, "quantiles": quantiles, "cost_bps": cost_bps, "share": share, "panel": panel}
        write(page, name, asked, start=start or "", end=end or "", ranked=ranked, **knobs)
    tables = {t: getattr(sheet, t) for t in ("decay", "by_quantile", "pays", "turnover", "names")}
    if json_:
        records = {title: frame.reset_index().to_dict("records") for title, frame in tables.items()}
        say(document({"sentence": sheet.sentence(), "summary": sheet.summary} | records))
        return
    from mltrainer.views import number

    say(sheet.sentence())
    for frame in tables.values():
        heads = [str(frame.index.name), *(c.replace("_", " ") for c in frame)]
        rows = [
            [str(at), *(c if isinstance(c, str) else f"{c:,}" if isinstance(c, int) else number(c) for c in row)]
            for at, row in zip(frame.index, frame.itertuples(index=False), strict=True)
        ]
        say(f"\n{table(heads, rows)}")
    why = sheet.volume[1]
    say(f"\nCapacity is not known: {why}.\n{mode_line()}" if why else f"\n{mode_line()}")
