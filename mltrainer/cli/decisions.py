"""Commands that decide: how much of what to hold."""

from typing import Annotated, Any

import typer

from mltrainer.cli.terminal import Json, Tickers, Universe, app, document, mode_line, say, table
from mltrainer.errors import BadInput


@app.command()
def optimize(
    method: Annotated[str, typer.Option(help="risk-parity, mean-variance, black-litterman, kelly ...")] = "risk-parity",
    ticker: Tickers = None,
    universe: Universe = None,
    as_of: Annotated[str | None, typer.Option(help="last session that is used, YYYY-MM-DD")] = None,
    sessions: Annotated[int, typer.Option(help="daily returns that the covariance is estimated on")] = 756,
    view: Annotated[list[str] | None, typer.Option(help="a belief per session: MSFT=0.0005 or MSFT/IBM=0.0002")] = None,
    budget: Annotated[list[str] | None, typer.Option(help="share of the risk, for risk-budgeting: MSFT=0.5")] = None,
    benchmark: Annotated[str | None, typer.Option(help="ticker that benchmark-tracking follows")] = None,
    position: Annotated[float | None, typer.Option(help="largest weight of a name, default 0.1")] = None,
    sector_cap: Annotated[float | None, typer.Option(help="largest weight of a sector")] = None,
    fraction: Annotated[float, typer.Option(help="of full Kelly")] = 0.5,
    walk: Annotated[bool, typer.Option("--walk", help="walk all methods forward instead, beside 1/N")] = False,
    start: Annotated[str | None, typer.Option(help="of a walk, its first session, YYYY-MM-DD")] = None,
    every: Annotated[int, typer.Option(help="of a walk, sessions between trades")] = 21,
    cost_bps: Annotated[float, typer.Option(help="of a walk, cost of what is traded, basis points a side")] = 10.0,
    target: Annotated[float | None, typer.Option(help="of a walk, annual volatility of 1/N with cash beside")] = None,
    json_: Json = False,
) -> int:
    """Weigh tickers or a universe by a method, within limits; exit code 1 where the limits contradict."""
    from mltrainer.data.universes import universe as named
    from mltrainer.trading.portfolio.limits import Constraints
    from mltrainer.trading.portfolio.optimize import optimize as weigh
    from mltrainer.views import fixed

    if ticker and universe:
        raise BadInput(f"--universe {universe} names the tickers already; give it or --ticker, not both")
    for name, limit in (("position", position), ("sector-cap", sector_cap)):
        if limit is not None and not 0 < limit <= 1:
            raise BadInput(f"--{name} {limit:g} is no fraction of the wealth above 0 and up to 1; 0.1 is a tenth")
    limits, asked = Constraints(upper=position, sector_cap=sector_cap), ticker or named(universe or "sample20")
    if walk:
        return _walked(asked, limits, sessions, every, cost_bps, target, start, as_of, json_)
    found = weigh(
        asked, method=method, as_of=as_of, sessions=sessions,
        views=[_view(text) for text in view or []], budgets=dict(_pair(b) for b in budget or []) or None,
        benchmark=benchmark, constraints=limits, fraction=fraction,
    )  # fmt: skip
    if json_:
        say(document(found.to_dict()))
    else:
        rows = [(r.Index, *(fixed(3)(100 * v) for v in r[1:])) for r in found.frame.itertuples()]
        say(table(["name", "weight, %", "of the risk, %", "expected, %", "volatility, %"], rows))
        say("\n".join([repr(found), *found.notes, mode_line()]))
    return 1 if found.status.startswith("fallback") else 0


def _walked(
    asked: Any, limits: Any, sessions: int, every: int, bps: float, target: float | None, start: str | None,
    end: str | None, json_: bool,
) -> int:  # fmt: skip
    """Walk every method forward and say which of them can be told from 1/N; exit code 1 where one fell back."""
    from mltrainer.trading.portfolio.walk import COLUMNS, walk_forward
    from mltrainer.views import number

    how: dict[str, Any] = {"sessions": sessions, "every": every, "cost_bps": bps, "volatility_target": target}
    found = walk_forward(asked, constraints=limits, start=start, end=end, **how)
    if json_:
        say(document(found.to_dict()))
    else:
        words = [[number(x) if isinstance(x, float) else x for x in r] for r in found.rows.to_numpy(object)]
        say(table([c.replace("_", " ") for c in COLUMNS], words))
        say(f"{found.sentence()}\n{mode_line()}")
    return 1 if found.rows["fallbacks"].any() else 0


def _pair(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip().upper(), float(number)
    except ValueError:
        raise BadInput(f"{text[:60]!r} is no name and number; write it as MSFT=0.0005") from None


def _view(text: str):  # type: ignore[no-untyped-def]  # View is imported where it is used, as the import is slow
    from mltrainer.trading.portfolio.records import View

    name, value = _pair(text)
    first, over, second = name.partition("/")
    return View({first: 1.0, second: -1.0} if over else first, value)
