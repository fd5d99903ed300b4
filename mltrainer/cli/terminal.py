"""What every command shares: the application, its options, and how it speaks."""

import functools
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.errors import BadInput, Partial
from mltrainer.plain import cleaned, lines, spelled

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout")]
Start = Annotated[str | None, typer.Option(help="first session, YYYY-MM-DD")]
End = Annotated[str | None, typer.Option(help="last session, YYYY-MM-DD")]
Ticker = Annotated[str, typer.Option(help="ticker")]
Universe = Annotated[
    str | None, typer.Option(help="sample20, dow, listed@DAY (live), or a text file; see `mltrainer universes`")
]
Tickers = Annotated[list[str] | None, typer.Option("--ticker", help="ticker, default MSFT; several make a panel")]
Horizon = Annotated[int, typer.Option(help="sessions a position is held")]
Target = Annotated[str, typer.Option(help="what is forecast: return, direction, volatility, range ...")]
Jobs = Annotated[int | None, typer.Option(help="worker processes; default the number of cores")]
Feature = Annotated[
    list[str] | None,
    typer.Option(help="a feature beside ours: an expression, as 'ts_mean(volume, 5) / close', or module:name of yours"),
]
Project = Annotated[
    str | None, typer.Option(help="what this is tried for, a label in the ledger; default MLTRAINER_PROJECT")
]


def _whole(start: str) -> str:
    from mltrainer.evaluation import governance

    return governance.address(start)


Artifact = Annotated[str, typer.Argument(callback=_whole, help="address of a kept model, or how it begins")]
Out = Annotated[Path | None, typer.Option(help="folder that holds the run folders; default reports")]
PROTOCOL = {  # of `Protocol.of`, by name: type and help
    "cost_bps": (float, "cost of trading one unit of position, in basis points per side; default 5"),
    "policy": (str, "position of a signed forecast: sign (default), proportional, threshold or volatility"),
    "folds": (int, "so many test blocks of equal length; default one a year, ten where there are more"),
    "window": (int, "learn from so many of the latest sessions; default all before"),
    "interval": (float, "nominal coverage of the interval; default 0.9"),
    "panel": (str, "how a panel is fitted: pooled (default), per-name or hierarchical"),
    "ranked": (bool, "of a panel: features as ranks among the names of their session"),
}
STOPPED = 130  # 128 + SIGINT, as shells say it


def judged(command: Callable[..., Any] | None = None, *, only: Iterable[str] = tuple(PROTOCOL)) -> Callable[..., Any]:
    """Give a command the options of `PROTOCOL`, which reach it as its argument `protocol`; None if none is given."""
    if command is None:
        return functools.partial(judged, only=only)
    known = inspect.signature(command, eval_str=True)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None,
                          annotation=Annotated[PROTOCOL[name][0] | None, typer.Option(help=PROTOCOL[name][1])])
        for name in only
    ]  # fmt: skip
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in known.parameters.values() if p.name != "protocol"]

    @functools.wraps(command)
    def call(**given: Any) -> Any:
        from mltrainer.evaluation.protocol import Protocol

        asked = {name: value for name in only if (value := given.pop(name)) is not None}
        return command(**given, protocol=Protocol.of(**asked) if asked else None)

    call.__dict__.pop("__wrapped__")
    call.__signature__ = known.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in (*own, *options)} | {"return": known.return_annotation}
    return call


def flags(message: str, words: list[str]) -> str:
    """A message as the command line has it: the parameters of a Python call under the names of the command's options.

    >>> flags("jobs=0 is no number; widen start and end", ["report", "--jobs", "0"])
    '--jobs 0 is no number; widen --start and --end'
    """
    command: Any = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    names = {p.name.strip("_"): next(o for o in p.opts if o.startswith("--")) for p in command.params
             if p.name and any(o.startswith("--") for o in p.opts)}  # fmt: skip
    for name, flag in names.items():
        message = re.sub(rf"^(protocol )?{name}(?= ['\d-])|`{name}`|(?<=widen ){name}\b", flag, message)
        message = re.sub(rf"(?<![\w-])(protocol )?{name}=", f"{flag} ", message)
    message = re.sub(r"(--[\w-]+) True\b", r"\1", message)  # a switch is given without a value
    return re.sub(r"(?<=widen --start and )end\b", "--end", message)


def version_shown(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"mltrainer {version('mltrainer')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=version_shown, is_eager=True, help="print the version and end")
    ] = False,
) -> None:
    """Which of the catalog's models say anything true about tomorrow's price? Real data, honest comparison."""


def chosen(tickers: list[str] | None, universe: str | None) -> Any:
    """What a command is asked about, as Python calls take it: tickers, or a universe; MSFT where neither is given."""
    if universe is None:
        return tickers or ["MSFT"]
    if tickers:
        raise BadInput(f"--universe {universe} names the tickers already; give it or --ticker, not both")
    from mltrainer.data.universes import universe as named

    return named(universe)


def own(functions: list[str] | None) -> list[Any]:
    """Functions of one's own, named as module:name, and expressions, tested for look-ahead and registered."""
    if not functions:
        return []
    from mltrainer.checks.columns import imported
    from mltrainer.checks.register import register

    return [register(imported(f) if re.fullmatch(r"[\w.]+:\w*", f) else f) for f in functions]


def partly(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Show a warning: what is not there in our own words, any other as Python does."""
    if issubclass(category, Partial):
        complain(str(message))
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def fail(message: str, code: int = 2) -> None:
    complain(message)
    sys.exit(code)


def complain(message: str) -> None:
    line = " ".join(cleaned(message).split())
    shown = line if len(line) <= 500 else f"{line[:400]} ... {line[-80:]}"
    print(f"mltrainer: {shown}", file=sys.stderr)  # noqa: T201 - this is the terminal


def say(text: str) -> None:
    """Print what may hold a stranger's words: a terminal obeys none of them."""
    typer.echo(lines(text))


def document(value: Any) -> str:
    """One JSON document: records become objects, NaN becomes null."""

    def plain(x: Any) -> Any:
        if is_dataclass(x) and not isinstance(x, type):
            return plain(asdict(x))
        if isinstance(x, dict):
            return {str(k): plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(v) for v in x]
        if isinstance(x, float):
            return x if x == x and abs(x) != float("inf") else None
        if isinstance(x, str | int | bool | None):
            return x
        return plain(x.item()) if hasattr(x, "item") else str(x)

    return spelled(plain(value))


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    cells = [[str(h) for h in heads], *([str(c) for c in row] for row in rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells)


def findings(found: list[str], json_: bool, holds: str) -> int:
    say(document({"holds": not found, "findings": found}) if json_ else "\n".join(found) or holds)
    return 1 if found else 0


def board(ranking: Any, json_: bool, **beside: Any) -> None:
    from mltrainer.settings import settings
    from mltrainer.views import fixed

    if json_:
        said = {"mode": settings().data_mode, "sentence": ranking.sentence(), "luck": ranking.luck}
        say(document(said | beside | {"rows": ranking.rows.to_dict("records")}))
        return
    columns = ["deflated_sharpe", "sharpe", "ic", "r2_oos", "max_drawdown"]
    labels = [c for c in ("settings", "project") if ranking.rows[c].fillna("").ne("").any()]
    rows = [
        (
            r["name"],
            f"{r['ticker']} ({r['panel']})" if r["panel"] else r["ticker"],
            *(fixed(3)(r[c]) for c in columns),
            *(r[c] or "" for c in labels),
            r["verdict"] if r["status"] == "ok" else r["reason"],
        )
        for r in ranking.rows.to_dict("records")
    ]
    say(table(["model", "ticker", "deflated", "Sharpe", "IC", "R2 oos", "drawdown", *labels, "verdict"], rows))
    say(f"{ranking.sentence()}\n{mode_line()}")


def mode_line() -> str:
    from mltrainer.settings import settings
    from mltrainer.views import mode_words

    mode = settings().data_mode
    return f"Mode {mode}: {mode_words(mode)}."
