"""What every command shares: the application, its options, and how it speaks."""

import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mltrainer.errors import BadInput, Partial

app = typer.Typer(
    help="Which of the catalog's models say anything true about tomorrow's price? Real data, honest comparison.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout")]
Start = Annotated[str | None, typer.Option(help="first session, YYYY-MM-DD")]
End = Annotated[str | None, typer.Option(help="last session, YYYY-MM-DD")]
Ticker = Annotated[str, typer.Option(help="ticker")]
Universe = Annotated[str | None, typer.Option(help="sample20, dow, or a text file; see `mltrainer universes`")]
Tickers = Annotated[list[str] | None, typer.Option("--ticker", help="ticker, default MSFT; several make a panel")]
Horizon = Annotated[int, typer.Option(help="sessions a position is held")]
Target = Annotated[str, typer.Option(help="what is forecast: return, direction, volatility, range ...")]
Jobs = Annotated[int | None, typer.Option(help="worker processes; default the number of cores")]
Feature = Annotated[
    list[str] | None, typer.Option(help="function of bars of one's own as module:name, a feature beside ours")
]
Project = Annotated[
    str | None, typer.Option(help="what this is tried for, a label in the ledger; default MLTRAINER_PROJECT")
]
Out = Annotated[Path | None, typer.Option(help="folder that holds the run folders; default reports")]
STOPPED = 130  # 128 + SIGINT, as shells say it


def chosen(tickers: list[str] | None, universe: str | None) -> Any:
    """What a command is asked about, as Python calls take it: tickers, or a universe; MSFT where neither is given."""
    if universe is None:
        return tickers or ["MSFT"]
    if tickers:
        raise BadInput(f"--universe {universe} names the tickers already; give it or --ticker, not both")
    from mltrainer.data.universes import universe as named

    return named(universe)


def own(functions: list[str] | None) -> list[Any]:
    """Functions of one's own, named as module:name, tested for look-ahead and registered."""
    if not functions:
        return []
    from mltrainer.checks.leakcheck import imported
    from mltrainer.checks.register import register

    return [register(imported(path)) for path in functions]


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
    line = " ".join(message.split())
    shown = line if len(line) <= 500 else f"{line[:400]} ... {line[-80:]}"
    print(f"mltrainer: {shown}", file=sys.stderr)  # noqa: T201 - this is the terminal


def say(text: str) -> None:
    typer.echo(text)


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

    return json.dumps(plain(value), indent=1, ensure_ascii=False)


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    cells = [[str(h) for h in heads], *([str(c) for c in row] for row in rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells)


def findings(found: list[str], json_: bool, holds: str) -> int:
    say(document({"holds": not found, "findings": found}) if json_ else "\n".join(found) or holds)
    return 1 if found else 0


def board(ranking: Any, json_: bool) -> None:
    from mltrainer.settings import settings
    from mltrainer.views import fixed

    if json_:
        said = {"mode": settings().data_mode, "sentence": ranking.sentence(), "luck": ranking.luck}
        say(document(said | {"rows": ranking.rows.to_dict("records")}))
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
        for _, r in ranking.rows.iterrows()
    ]
    say(table(["model", "ticker", "deflated", "Sharpe", "IC", "R2 oos", "drawdown", *labels, "verdict"], rows))
    say(f"{ranking.sentence()}\n{mode_line()}")


def mode_line() -> str:
    from mltrainer.settings import settings
    from mltrainer.views import mode_words

    mode = settings().data_mode
    return f"Mode {mode}: {mode_words(mode)}."
