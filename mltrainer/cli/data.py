"""Commands about data: fetch, quality, and what is kept of providers' answers."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mltrainer.cli.files import OutFile, together, write
from mltrainer.cli.terminal import End, Horizon, Json, Start, Universe, app, chosen, complain, document, say, table
from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered

fetch_app = typer.Typer(help="Show real market data and where it came from.", no_args_is_help=True)
cache_app = typer.Typer(help="Answers of providers that are kept on this machine.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")
app.add_typer(cache_app, name="cache")


@fetch_app.command("bars")
def fetch_bars(
    tickers: Annotated[list[str] | None, typer.Argument(help="one or more")] = None,
    universe: Universe = None,
    start: Start = None,
    end: End = None,
    timespan: Annotated[str, typer.Option(help="day, minute, '15 minute', hour, week ...; a sample is daily")] = "day",
    adjusted: Annotated[
        bool, typer.Option("--adjusted/--raw", help="days for splits and dividends, others for splits; or as traded")
    ] = True,
    out: OutFile = None,
    json_: Json = False,
) -> int:
    """Show bars with their provenance and what quality finds; a download that was stopped goes on where it was."""
    from mltrainer.data import market

    if not tickers and universe is None:
        raise BadInput("no ticker was given; name one or more, or a universe with --universe")
    names = chosen(tickers, universe)
    names, first = (names, None) if isinstance(names, list) else (list(names.tickers), names.start or None)
    asked: dict[str, Any] = {"start": start or first, "end": end, "timespan": timespan, "adjusted": adjusted}
    return _fetched(names, lambda t: [market.bars(t, **asked)], json_, out)


@fetch_app.command("actions")
def fetch_actions(tickers: list[str], out: OutFile = None, json_: Json = False) -> int:
    """Show splits and dividends with their provenance."""
    from mltrainer.data import market

    return _fetched(tickers, market.actions, json_, out)


@fetch_app.command("macro")
def fetch_macro(
    series: list[str],
    start: Annotated[str | None, typer.Option(help="first period, YYYY-MM-DD")] = None,
    end: Annotated[str | None, typer.Option(help="last period, YYYY-MM-DD")] = None,
    units: Annotated[str, typer.Option(help="FRED's code: lin, chg, ch1, pch, pc1, pca, cch, cca or log")] = "lin",
    frequency: Annotated[str | None, typer.Option(help="a lower one: d, w, bw, m, q, sa or a")] = None,
    aggregation: Annotated[str | None, typer.Option(help="how it is made: avg, sum or eop")] = None,
    today: Annotated[bool, typer.Option("--today", help="the values of today, not every vintage")] = False,
    provider: Annotated[Literal["fred", "polygon"], typer.Option(help="whom to ask")] = "fred",
    out: OutFile = None,
    json_: Json = False,
) -> int:
    """Show macroeconomic observations with the day each may be used."""
    from mltrainer.data.market import macro

    made: dict[str, Any] = {"units": units, "frequency": frequency, "aggregation": aggregation, "provider": provider}
    return _fetched(series, lambda s: [macro(s, start=start, end=end, vintages=not today, **made)], json_, out)


def _fetched(names: list[str], fetch: Callable[[str], Iterable[Any]], json_: bool, out: Path | None) -> int:
    """Show what there is and name what there is not; exit 1 if something is missing, 2 if all of it is."""
    datasets: list[Any] = []
    failed: dict[str, str] = {}
    for name in names:
        try:
            datasets += fetch(name)
        except (Tampered, StorageError):
            raise  # which concerns the others as well
        except MltrainerError as error:
            failed[name] = str(error)
    shown = [(d, _findings_of(d)) for d in datasets]
    if json_ and shown:
        say(document([_dataset(*each) for each in shown] + [{"name": n, "error": why} for n, why in failed.items()]))
    for d, found in () if json_ else shown:
        about = f"{d.provenance.endpoint}: {d.provenance.note}; {d.provenance.terms}"
        look = "".join(f"\n{f.severity} of quality, rule {f.rule}: {f.message}; {f.remedy}" for f in found)
        say(f"{d}\n{d.frame.tail(5).to_string()}\n{about}{look}\n")
    for why in failed.values():
        complain(why)
    if datasets:
        parts = (({"name": d.name, "kind": d.kind}, d.frame) for d in datasets)
        write(together(parts), out, [json.loads(d.provenance.to_json()) for d in datasets])
    return 0 if not failed else 1 if datasets else 2


def _findings_of(dataset: Any) -> list[Any]:
    """What quality finds that is more than worth knowing; of bars only, as they are what is learned from."""
    if not dataset.kind.endswith("bars"):
        return []
    from mltrainer.data.quality import quality as check

    return [f for f in check(dataset).findings if f.severity != "info"]


def _dataset(dataset: Any, findings: list[Any]) -> dict[str, Any]:
    rows = json.loads(dataset.frame.reset_index().to_json(orient="records", date_format="iso"))
    provenance = json.loads(dataset.provenance.to_json())
    return {"name": dataset.name, "provenance": provenance, "findings": findings, "rows": rows}


@app.command()
def tickers(
    day: Annotated[str | None, typer.Option(help="live only: as listed on that day, YYYY-MM-DD")] = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="live only: add those delisted before")] = False,
    json_: Json = False,
) -> None:
    """List every ticker that the mode in force holds."""
    from mltrainer.data import market

    found = market.tickers(day=day, inactive=inactive)
    say(document(found) if json_ else "\n".join(found))


@app.command()
def universes(json_: Json = False) -> None:
    """List the universes that have a name, with the day each is true of and what its choice knows."""
    from mltrainer.data.universes import universes as named

    if json_:
        say(document(named()))
        return
    say(table(["universe", "tickers", "as of", "note"], [(u.name, len(u), u.as_of, u.note) for u in named()]))
    say("or a text file with one ticker a line; `--universe NAME` stands where `--ticker` does")


@app.command()
def quality(
    name: Annotated[str | None, typer.Argument(help="ticker, or a macro series with --macro")] = None,
    universe: Universe = None,
    macro: Annotated[bool, typer.Option("--macro", help="the name is a macro series, not a ticker")] = False,
    against: Annotated[str | None, typer.Option(help="a ticker that should say the same")] = None,
    against_macro: Annotated[str | None, typer.Option(help="a macro series that should say the same")] = None,
    target: Annotated[str | None, typer.Option(help="ask the label of this target instead, as models learn it")] = None,
    horizon: Horizon = 5,
    asof: Annotated[str | None, typer.Option(help="judge age and future on this day, YYYY-MM-DD")] = None,
    start: Start = None,
    end: End = None,
    json_: Json = False,
) -> int:
    """Ask every rule of a ticker's bars, of a macro series or of a label; exit 1 if one finds an error.

    Of a universe each name is asked on its own.
    """
    from mltrainer.data import market
    from mltrainer.data.quality import quality as check
    from mltrainer.trust.provenance import notices

    if against is not None and against_macro is not None:
        raise BadInput("there is one other source to compare with; give --against or --against-macro, not both")
    if (name is None) == (universe is None):
        raise BadInput("quality is of one series or of a universe; give a name or --universe")
    if universe is not None:
        if macro or against is not None or against_macro is not None:
            raise BadInput("a universe is of tickers, each asked on its own; leave --macro and --against out")
        return _universe(universe, target, horizon, asof, start, end, json_)
    assert name is not None
    if target is not None:
        return _label(name, target, horizon, start, end, json_)
    data = (market.macro if macro else market.bars)(name, start=start, end=end)
    other = None if against is None else market.bars(against)
    other = other if against_macro is None else market.macro(against_macro)
    found = check(data, against=other, asof=asof)
    told = notices(d.provenance.note for d in (data, other) if d is not None and d.provenance is not None)
    if json_:
        say(document(asdict(found) | {"ok": found.ok, "notices": told}))
        return 0 if found.ok else 1
    what = "rows, {:.2%} of its periods" if macro else "sessions, {:.2%} of the exchange calendar"
    _found(found, what)
    for said in told:
        say(said)
    return 0 if found.ok else 1


def _label(name: str, target: str, horizon: int, start: str | None, end: str | None, json_: bool) -> int:
    from mltrainer.data.quality import quality as check
    from mltrainer.evaluation import study

    found = check(study.matrix(name, target=target, horizon=horizon, start=start, end=end))
    if json_:
        say(document(asdict(found) | {"ok": found.ok}))
    else:
        _found(found, "rows, {:.2%} of those up to the last label have one")
    return 0 if found.ok else 1


def _universe(universe: str, target: str | None, horizon: int, asof: str | None, start: str | None, end: str | None,
              json_: bool) -> int:  # fmt: skip
    """A line for each name: how much of it there is, how many findings of each severity, and the gravest."""
    from mltrainer.data.quality import SEVERITIES
    from mltrainer.data.quality import quality as check
    from mltrainer.evaluation import study
    from mltrainer.features.targets import target as named

    if target is not None and named(target).cross_sectional:
        raise BadInput(f"the labels of {target} are the same ranks in every session; there is nothing to find in them")
    rows, documents, holds = [], [], True
    for ticker in chosen(None, universe).tickers:
        try:
            if target is None:
                found = check(ticker, asof=asof, start=start, end=end)
            else:
                found = check(study.matrix(ticker, target=target, horizon=horizon, start=start, end=end))
        except MltrainerError as error:
            rows.append((ticker, "", "", *[""] * len(SEVERITIES), f"not there: {error}"))
            documents.append({"name": ticker, "ok": False, "reason": str(error)})
            holds = False
            continue
        holds = holds and found.ok
        count = found.table["severity"].value_counts()
        gravest = "; ".join(str(part) for part in found.table.iloc[0].tolist()[1:4:2]) if len(found.table) else ""
        counts = [str(count.get(s, 0)) for s in SEVERITIES]
        rows.append((ticker, f"{found.sessions:,}", f"{found.completeness:.2%}", *counts, gravest))
        documents.append(asdict(found) | {"ok": found.ok})
    heads = ["ticker", "sessions" if target is None else "rows", "complete", *SEVERITIES, "the gravest"]
    say(document(documents) if json_ else table(heads, rows))
    return 0 if holds else 1


def _found(found: Any, what: str) -> None:
    say(f"{found.name}: {found.sessions:,} {what.format(found.completeness)}")
    rows = [[*row[:3], f"{row[3]}; {row[4]}"] for row in found.table.itertuples(index=False, name=None)]
    say(table(["severity", "rule", "rows", "what was found, and what to do"], rows) if rows else "no finding")


@cache_app.command("show")
def cache_show(json_: Json = False) -> None:
    """Show what is kept, the oldest first: when it came, how large it is, and what was asked."""
    from mltrainer.data.providers import cache

    held = cache.held()
    if json_:
        say(document([{"at": at, "bytes": size, "address": address} for address, size, at in held]))
        return
    say(table(["when (UTC)", "kB", "what"], [(at[:19], f"{size / 1e3:,.0f}", what) for what, size, at in held]))
    say(f"{len(held)} answers, {sum(size for _, size, _ in held) / 1e6:.1f} MB")


@cache_app.command("prune")
def cache_prune(
    days: Annotated[
        int | None, typer.Option(min=0, help="remove what came more than so many days ago; default what is stale")
    ] = None,
    json_: Json = False,
) -> None:
    """Remove answers that are no longer fresh, which only MLTRAINER_OFFLINE would still use."""
    from mltrainer.data.providers import cache

    removed = cache.prune(days)
    say(document({"removed": removed}) if json_ else f"{removed} answers removed")
