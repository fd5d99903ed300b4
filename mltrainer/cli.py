"""`mltrainer`: one command per question; each is a skin over a function that Python users call by the same name."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered

app = typer.Typer(
    help="Which of the catalog's models say anything true about tomorrow's price? Real data, honest comparison.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
fetch_app = typer.Typer(help="Show real market data and where it came from.", no_args_is_help=True)
audit_app = typer.Typer(help="Read and check the audit trail.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")
app.add_typer(audit_app, name="audit")
cache_app = typer.Typer(help="Answers of providers that are kept on this machine.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")

Json = Annotated[bool, typer.Option("--json", help="print one JSON document on stdout")]
Start = Annotated[str | None, typer.Option(help="first session, YYYY-MM-DD")]
End = Annotated[str | None, typer.Option(help="last session, YYYY-MM-DD")]
Ticker = Annotated[str, typer.Option(help="ticker")]
Horizon = Annotated[int, typer.Option(help="sessions a position is held")]
Jobs = Annotated[int | None, typer.Option(help="worker processes; default the number of cores")]
Out = Annotated[Path | None, typer.Option(help="folder that holds the run folders; default reports")]
STOPPED = 130  # 128 + SIGINT, as shells say it


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no minus sign is no reason to fail
    try:
        code = app(standalone_mode=False)
        if code == STOPPED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
    except typer.TyperException as error:
        _fail(error.format_message())
    except MltrainerError as error:
        _fail(str(error), 1 if isinstance(error, Tampered) else 2)
    except KeyboardInterrupt:
        _fail("stopped; finished work is kept, and the same command goes on from here", STOPPED)
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int = 2) -> None:
    _complain(message)
    sys.exit(code)


def _complain(message: str) -> None:
    line = " ".join(message.split())
    shown = line if len(line) <= 500 else f"{line[:400]} ... {line[-80:]}"
    print(f"mltrainer: {shown}", file=sys.stderr)  # noqa: T201 - this is the terminal


def _say(text: str) -> None:
    typer.echo(text)


def _document(value: Any) -> str:
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


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    cells = [[str(h) for h in heads], *([str(c) for c in row] for row in rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells)


# --- the main job ---------------------------------------------------------------------------------------------


@app.command()
def report(
    family: Annotated[list[str] | None, typer.Option(help="family of models; may be given more than once")] = None,
    ticker: Annotated[list[str] | None, typer.Option(help="ticker; may be given more than once")] = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    jobs: Jobs = None,
    out: Out = None,
) -> int:
    """Evaluate families of models and write a report that opens offline."""
    from mltrainer import reports

    run = reports.report(family, ticker, start=start, end=end, horizon=horizon, jobs=jobs, out=out)
    from mltrainer.evaluation.leaderboard import Leaderboard

    _say(Leaderboard(run.rows, run.manifest["luck"]).sentence())
    _say(run.manifest["calibration"]["sentence"]) if run.manifest.get("calibration") else None
    _say(str(run.path / "index.html"))
    for name, why in run.failed.items():
        print(f"mltrainer: the page of family {name} failed: {why}", file=sys.stderr)  # noqa: T201 - the terminal
    return 1 if run.failed else 0


@app.command()
def export(run: str, to: Path, out: Out = None) -> None:
    """Write the pages of a run to a folder, each as one file that can be sent by itself."""
    from mltrainer import reports

    _say("\n".join(map(str, reports.export(run, to, out))))


@app.command()
def verify(run: str, out: Out = None, json_: Json = False) -> int:
    """Recompute every hash of a run folder; exit 0 if all of it holds, 1 if not."""
    from mltrainer import reports

    return _findings(reports.verify(run, out), json_, "every file, source, result and trail entry holds")


def _findings(found: list[str], json_: bool, holds: str) -> int:
    _say(_document({"holds": not found, "findings": found}) if json_ else "\n".join(found) or holds)
    return 1 if found else 0


# --- models ---------------------------------------------------------------------------------------------------


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="show the whole card of this one")] = None,
    family: Annotated[str | None, typer.Option(help="one family only")] = None,
    json_: Json = False,
) -> None:
    """List the catalog, one line a model; or show the card of one."""
    from mltrainer.models import catalog

    specs = catalog.specs(family) if name is None else [catalog.spec(name)]
    if json_:
        _say(_document([s.card.to_dict() for s in specs]))
    elif name is not None:
        _say(specs[0].card.text())
    else:
        rows = [
            (s.name, s.family, s.task, c.tool, " ".join(c.gives[1:]), f"{s.cost:g}") for s in specs if (c := s.card)
        ]
        _say(_table(["model", "family", "task", "runs", "also gives", "CPU s"], rows))
        _say("\n".join(f"unavailable: {s.why_unavailable}" for s in specs if not s.available) or "all are available")
        _say("each gives a forecast with an interval; `mltrainer models NAME` shows its card")


@app.command()
def evaluate(
    models: list[str],
    ticker: Annotated[list[str] | None, typer.Option(help="ticker, default MSFT; several make a panel")] = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    jobs: Annotated[int, typer.Option(help="worker processes")] = 1,
    json_: Json = False,
) -> int:
    """Judge models out of sample, net of costs; each fit becomes a row of the trial ledger."""
    from mltrainer.evaluation import study

    results = study.evaluate(models, ticker or ["MSFT"], start=start, end=end, horizon=horizon, jobs=jobs)
    _board(study.leaderboard(results), json_)
    return 0 if any(e.ok for e in results) else 1


@app.command()
def calibrate(
    ticker: Annotated[list[str] | None, typer.Option(help="ticker, default MSFT; several make a panel")] = None,
    model: Annotated[list[str] | None, typer.Option(help="models of each world, default five fast ones")] = None,
    worlds: Annotated[int, typer.Option(help="worlds without skill")] = 100,
    planted: Annotated[int, typer.Option(help="worlds for each strength of a planted lead")] = 15,
    drift: Annotated[float | None, typer.Option(help="annual Sharpe ratio of holding; default as it was")] = None,
    seconds: Annotated[float | None, typer.Option(help="begin no world after so many; the rest another time")] = None,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    jobs: Jobs = None,
    json_: Json = False,
) -> None:
    """Measure how often the verdict says yes where there is nothing, and how much skill it would have found."""
    from mltrainer.evaluation.calibrate import calibrate

    found = calibrate(
        ticker or ["MSFT"], models=model, null=worlds, planted=planted, drift=drift, seconds=seconds,
        start=start, end=end, horizon=horizon, jobs=jobs,
    )  # fmt: skip
    if json_:
        _say(_document(found.to_dict()))
        return
    heads = ["lead", "worlds", "true Sharpe", "best learner", "found", "95 % interval", "called leakage"]
    rows = [
        (f"{r.edge:g}", r.worlds, f"{r.truth:.2f}", f"{r.best:.2f}", f"{r.found:.0%}", f"{r.low:.0%} to {r.high:.0%}",
         r.leaking)
        for r in found.power.itertuples()
    ]  # fmt: skip
    _say(_table(heads, rows)) if rows else None
    _say(found.sentence())


@app.command()
def tune(
    model: str,
    ticker: Ticker = "MSFT",
    method: Annotated[str, typer.Option(help="random, tpe, genetic, pso or de")] = "tpe",
    trials: Annotated[int, typer.Option(help="settings to try")] = 30,
    score: Annotated[str, typer.Option(help="what decides: r2_oos, ic or sharpe")] = "r2_oos",
    seed: Annotated[int, typer.Option(help="the same seed gives the same search")] = 0,
    start: Start = None,
    end: End = None,
    horizon: Horizon = 5,
    jobs: Annotated[int, typer.Option(help="worker processes")] = 1,
    json_: Json = False,
) -> int:
    """Search a model's settings in the past and judge the choice on what came after; each is a trial."""
    from mltrainer.evaluation.tune import tune as search
    from mltrainer.settings import settings

    found = search(
        model, ticker, method=method, trials=trials, score=score, random_state=seed, start=start, end=end,
        horizon=horizon, jobs=jobs,
    )  # fmt: skip
    if json_:
        said = {name: getattr(found, name) for name in ("model", "ticker", "method", "score", "parameters", "luck")}
        said |= {"mode": settings().data_mode, "sentence": found.sentence()}
        said |= {"candidates": found.candidates.to_dict("records")}
        said |= {name: getattr(found, name).metrics for name in ("evaluation", "baseline")}
        _say(_document(said))
    else:
        _say(found.candidates.drop(columns="key").to_string(float_format="{:.4g}".format, na_rep=""))
        _say(f"{found.sentence()}\n{_mode()}")
    return 0 if found.evaluation.ok else 1


@app.command()
def train(
    model: str, ticker: Ticker = "MSFT", start: Start = None, end: End = None, horizon: Horizon = 5, json_: Json = False
) -> None:
    """Train one model on all that is known of a ticker, keep it, and print its address."""
    from mltrainer.evaluation import lifecycle, study

    result = lifecycle.model(model).train(study.matrix(ticker, start=start, end=end, horizon=horizon))
    artifact = result.save()
    _say(_document({"artifact": artifact} | result.to_dict()) if json_ else artifact)


@app.command()
def predict(artifact: str, json_: Json = False) -> None:
    """Forecast with a kept model: every session after the last it was trained on."""
    from mltrainer.evaluation import lifecycle, study

    trained = lifecycle.Model.load(artifact)
    state = trained.state_ or {}
    said = trained.predict(study.matrix(state["ticker"], start=state["from"], horizon=state["horizon"]))
    if json_:
        _say(said.to_json())
        return
    _say(f"{said.model} on {said.ticker} ({said.mode}): return in % over {said.horizon} sessions from the next entry,")
    _say(f"lower to upper holds {said.interval:.0%} of outcomes; trained to {state['trained_to']}")
    rows = [(str(t)[:10], *(f"{v * 100:.2f}" for v in row)) for t, *row in said.frame.itertuples()]
    _say(_table(["said on", *(str(c).replace("_", " ") for c in said.frame)], rows))


@app.command()
def leaderboard(json_: Json = False) -> None:
    """Rank every trial of the mode in force that ran, tested together with all of them."""
    from mltrainer.evaluation import study, trials
    from mltrainer.settings import settings

    rows = trials.ledger()
    rows = rows[rows["mode"] == settings().data_mode]
    found = [e for key in rows[rows["status"] == "ok"]["key"] if (e := trials.load(key)) is not None]
    _board(study.leaderboard(found), json_)


def _board(board: Any, json_: bool) -> None:
    from mltrainer.settings import settings
    from mltrainer.views import fixed

    if json_:
        said = {"mode": settings().data_mode, "sentence": board.sentence(), "luck": board.luck}
        _say(_document(said | {"rows": board.rows.to_dict("records")}))
        return
    columns = ["deflated_sharpe", "sharpe", "ic", "r2_oos", "max_drawdown"]
    rows = [
        (
            r["name"],
            f"{r['ticker']} ({r['panel']})" if r["panel"] else r["ticker"],
            *(fixed(3)(r[c]) for c in columns),
            r["verdict"] if r["status"] == "ok" else r["reason"],
        )
        for _, r in board.rows.iterrows()
    ]
    _say(_table(["model", "ticker", "deflated", "Sharpe", "IC", "R2 oos", "drawdown", "verdict"], rows))
    _say(f"{board.sentence()}\n{_mode()}")


def _mode() -> str:
    from mltrainer.settings import settings
    from mltrainer.views import mode_words

    mode = settings().data_mode
    return f"Mode {mode}: {mode_words(mode)}."


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
        _say(_document(shown))
    else:
        said = [
            ("genuine" if a.genuine else "NOT SHOWN", a.name, a.engine, "; ".join(a.findings + a.notes)) for a in shown
        ]
        _say(_table(["", "model", "runs", ""], said))
        _say(f"{genuine} of {len(shown)} are what their cards say")
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
        _say(_document({"holds": found.holds, "checked": found.checked, "findings": found.leaks}))
        return 0 if found.holds else 1
    counted = ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in found.checked.items())
    return _findings([str(leak) for leak in found.leaks], False, f"the future moves none of {counted}")


# --- data -----------------------------------------------------------------------------------------------------


@fetch_app.command("bars")
def fetch_bars(
    tickers: list[str],
    start: Start = None,
    end: End = None,
    timespan: Annotated[str, typer.Option(help="day, minute, '15 minute', hour, week ...; a sample is daily")] = "day",
    adjusted: Annotated[
        bool, typer.Option("--adjusted/--raw", help="days for splits and dividends, others for splits; or as traded")
    ] = True,
    json_: Json = False,
) -> int:
    """Show bars with their provenance and what quality finds; a download that was stopped goes on where it was."""
    from mltrainer.data import market

    asked: dict[str, Any] = {"start": start, "end": end, "timespan": timespan, "adjusted": adjusted}
    return _fetched(tickers, lambda t: [market.bars(t, **asked)], json_)


@fetch_app.command("actions")
def fetch_actions(tickers: list[str], json_: Json = False) -> int:
    """Show splits and dividends with their provenance."""
    from mltrainer.data import market

    return _fetched(tickers, market.actions, json_)


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
    json_: Json = False,
) -> int:
    """Show macroeconomic observations with the day each may be used."""
    from mltrainer.data.market import macro

    made: dict[str, Any] = {"units": units, "frequency": frequency, "aggregation": aggregation, "provider": provider}
    return _fetched(series, lambda s: [macro(s, start=start, end=end, vintages=not today, **made)], json_)


def _fetched(names: list[str], fetch: Callable[[str], Iterable[Any]], json_: bool) -> int:
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
        _say(_document([_dataset(*each) for each in shown] + [{"name": n, "error": why} for n, why in failed.items()]))
    for d, found in () if json_ else shown:
        about = f"{d.provenance.endpoint}: {d.provenance.note}; {d.provenance.terms}"
        look = "".join(f"\n{f.severity} of quality, rule {f.rule}: {f.message}; {f.remedy}" for f in found)
        _say(f"{d}\n{d.frame.tail(5).to_string()}\n{about}{look}\n")
    for why in failed.values():
        _complain(why)
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
def quality(
    name: str,
    macro: Annotated[bool, typer.Option("--macro", help="the name is a macro series, not a ticker")] = False,
    against: Annotated[str | None, typer.Option(help="a ticker that should say the same")] = None,
    against_macro: Annotated[str | None, typer.Option(help="a macro series that should say the same")] = None,
    asof: Annotated[str | None, typer.Option(help="judge age and future on this day, YYYY-MM-DD")] = None,
    start: Start = None,
    end: End = None,
    json_: Json = False,
) -> int:
    """Ask every rule of a ticker's bars or of a macro series; exit 1 if one finds an error."""
    from mltrainer.data import market
    from mltrainer.data.quality import quality as check
    from mltrainer.trust.provenance import notices

    if against is not None and against_macro is not None:
        raise BadInput("there is one other source to compare with; give --against or --against-macro, not both")
    data = (market.macro if macro else market.bars)(name, start=start, end=end)
    other = None if against is None else market.bars(against)
    other = other if against_macro is None else market.macro(against_macro)
    found = check(data, against=other, asof=asof)
    told = notices(d.provenance.note for d in (data, other) if d is not None and d.provenance is not None)
    if json_:
        _say(_document(asdict(found) | {"ok": found.ok, "notices": told}))
        return 0 if found.ok else 1
    what = "rows, {:.2%} of its periods" if macro else "sessions, {:.2%} of the exchange calendar"
    _say(f"{found.name}: {found.sessions:,} {what.format(found.completeness)}")
    rows = [[*row[:3], f"{row[3]}; {row[4]}"] for row in found.table.itertuples(index=False, name=None)]
    _say(_table(["severity", "rule", "rows", "what was found, and what to do"], rows) if rows else "no finding")
    for said in told:
        _say(said)
    return 0 if found.ok else 1


@cache_app.command("show")
def cache_show(json_: Json = False) -> None:
    """Show what is kept, the oldest first: when it came, how large it is, and what was asked."""
    from mltrainer.data.providers import cache

    held = cache.held()
    if json_:
        _say(_document([{"at": at, "bytes": size, "address": address} for address, size, at in held]))
        return
    _say(_table(["when (UTC)", "kB", "what"], [(at[:19], f"{size / 1e3:,.0f}", what) for what, size, at in held]))
    _say(f"{len(held)} answers, {sum(size for _, size, _ in held) / 1e6:.1f} MB")


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
    _say(_document({"removed": removed}) if json_ else f"{removed} answers removed")


# --- trust ----------------------------------------------------------------------------------------------------


@audit_app.command("show")
def audit_show(
    limit: Annotated[int, typer.Option(min=1, help="newest entries")] = 20,
    kind: Annotated[str | None, typer.Option(help="of one kind only, such as violation or trial")] = None,
    json_: Json = False,
) -> None:
    """Show the newest entries, oldest first."""
    from mltrainer.trust import audit

    entries = audit.entries(limit, kind)
    if json_:
        _say(_document(entries))
        return
    rows = [(e.seq, e.at[:19], e.kind, e.actor, _shortened(e.payload)) for e in entries]
    _say(_table(["entry", "when (UTC)", "what", "who", ""], rows) if rows else "the trail is empty")


def _shortened(payload: dict[str, Any]) -> str:
    text = json.dumps(payload, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


@audit_app.command("head")
def audit_head(json_: Json = False) -> None:
    """Print the end of the trail; kept elsewhere, it shows later whether the trail was cut or rewritten."""
    from mltrainer.trust import audit

    head = audit.head()
    _say(_document(head) if json_ else str(head))


@audit_app.command("verify")
def audit_verify(
    against: Annotated[str | None, typer.Option(help="a head printed earlier, size:hash")] = None, json_: Json = False
) -> int:
    """Recompute the whole trail, and all that it tells of; exit 0 if it holds, 1 if not."""
    from mltrainer.evaluation import trials
    from mltrainer.trust import audit

    found = audit.verify(against)
    if not found:  # else the trail does not say what there should be
        lost = trials.lost().fillna("?").to_dict("records")
        found = [f"trial {t['key'][:12]} ({t['model']} on {t['ticker']}): {t['why']}; evaluate it again" for t in lost]
    return _findings(found, json_, "" if found else f"{audit.head().size} entries hold")


@app.command()
def doctor(json_: Json = False) -> int:
    """Say what this installation has: mode, keys, providers, what is kept, state, extras."""
    import shutil
    from importlib.metadata import version

    from mltrainer import store
    from mltrainer.data.providers import cache, client
    from mltrainer.models import catalog
    from mltrainer.settings import settings
    from mltrainer.trust import audit

    here = settings()
    folder = next(path for path in (here.home, *here.home.absolute().parents) if path.exists())
    checks: dict[str, Callable[[], object]] = {
        "mltrainer": lambda: version("mltrainer"),
        "mode": lambda: here.data_mode,
        "Polygon key": lambda: "present" if here.polygon_api_key else "absent",
        "FRED key": lambda: "present" if here.fred_api_key else "absent",
        "Polygon": lambda: client.standing("polygon"),
        "FRED": lambda: client.standing("fred"),
        "kept answers": lambda: cache.summary()["kept answers"],
        "newest data": lambda: cache.summary()["newest data"],
        "free disk": lambda: f"{shutil.disk_usage(folder).free / 2**30:.1f} GB",
        "state folder": lambda: here.home,
        "audit trail": lambda: f"{audit.head().size} entries, {len(audit.verify())} findings",
        "state": lambda: "can be written" if store.put_blob(b"doctor") else "",  # once there is a database beside it
        "models": lambda: f"{sum(s.available for s in catalog.specs())} of {len(catalog.specs())} available",
        "missing": lambda: ", ".join(s.name for s in catalog.specs() if not s.available) or "nothing",
    }
    rows, broken = {}, False
    for name, check in checks.items():
        try:
            rows[name] = str(check())
        except MltrainerError as error:
            rows[name], broken = f"PROBLEM: {error}", True
    _say(_document(rows) if json_ else _table(["what", "found"], rows.items()))
    return 1 if broken else 0


# --- doors ----------------------------------------------------------------------------------------------------


@app.command()
def lab(port: Annotated[int | None, typer.Option(help="port; default Jupyter's own choice")] = None) -> None:
    """Open JupyterLab on the notebooks, for researchers."""
    from mltrainer.server.lab import lab as start_lab

    start_lab(port)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="port; 0 takes any free one")] = 8866,
    out: Out = None,
    open_: Annotated[bool, typer.Option("--open", help="open a browser")] = False,
) -> None:
    """Serve the dashboards to people who may look and choose, and nothing else."""
    from mltrainer.server.serve import serve as start_serve

    start_serve(port, out=out, open_browser=open_)


if __name__ == "__main__":
    main()
