"""Proofs that anybody can run."""

from typing import Annotated

import typer

from mltrainer.cli.terminal import Jobs, Json, Ticker, app, document, findings, say, table


@app.command()
def attest(
    model: Annotated[list[str] | None, typer.Option(help="only these; default all")] = None,
    ticker: Ticker = "MSFT",
    jobs: Jobs = None,
    json_: Json = False,
) -> int:
    """Fit every model on real data and have it prove that it is what its card says; exit 1 if one is not."""
    from mltrainer.checks.attest import attest as prove

    shown = prove(model, ticker=ticker, jobs=jobs)
    genuine = sum(a.genuine for a in shown)
    if json_:
        say(document(shown))
    else:
        said = [
            ("genuine" if a.genuine else "NOT SHOWN", a.name, a.engine, "; ".join(a.findings + a.notes)) for a in shown
        ]
        say(table(["", "model", "runs", ""], said))
        say(f"{genuine} of {len(shown)} are what their cards say")
    return 0 if genuine == len(shown) else 1


@app.command()
def leakcheck(
    function: Annotated[str | None, typer.Option(help="a feature function of yours, as module:name")] = None,
    ticker: Ticker = "MSFT",
    model: Annotated[list[str] | None, typer.Option(help="check forecasts of these only; default all")] = None,
    features_only: Annotated[bool, typer.Option("--features-only", help="check no forecasts")] = False,
    jobs: Jobs = None,
    json_: Json = False,
) -> int:
    """Rewrite the future and see whether anything said of the past moves; exit 1 if it does."""
    from mltrainer.checks.leakcheck import leakcheck as check

    chosen = () if features_only else model
    found = check(function, ticker=ticker, models=chosen, jobs=jobs)
    if json_:
        say(document({"holds": found.holds, "checked": found.checked, "findings": found.leaks}))
        return 0 if found.holds else 1
    counted = ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in found.checked.items())
    return findings([str(leak) for leak in found.leaks], False, f"the future moves none of {counted}")
