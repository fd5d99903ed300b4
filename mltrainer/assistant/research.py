"""Tools about models and what they have shown: catalog, leaderboard, trials, comparison, what is forecastable."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import pandas as pd

from mltrainer.assistant import parameters as ask
from mltrainer.assistant.claims import Turn
from mltrainer.errors import BadInput, Unavailable
from mltrainer.evaluation import skill, study, trials
from mltrainer.evaluation.forecastable import Map, forecastable, mapped
from mltrainer.evaluation.leaderboard import leaderboard
from mltrainer.evaluation.record import Evaluation
from mltrainer.features.targets import target
from mltrainer.models import catalog
from mltrainer.settings import settings

FIGURES = (  # column of a result, its unit, what it is in words
    ("sharpe", "ratio", "Sharpe ratio, net of costs"),
    ("timing_sharpe", "ratio", "Sharpe ratio of the timing alone"),
    ("ic", "correlation", "information coefficient"),
    ("ic_t", "t", "t statistic of the information coefficient"),
    ("r2_oos", "fraction", "out-of-sample R2"),
    ("hit_rate", "fraction", "hit rate"),
    ("max_drawdown", "fraction", "largest drawdown"),
    ("breakeven_bps", "basis points", "break-even cost"),
    ("coverage", "fraction", "coverage of the interval"),
    ("gain", "fraction", "loss saved over the best baseline"),
    ("p_knows", "probability", "p value that the forecast knows nothing"),
    ("p_pays", "probability", "p value that the timing pays nothing"),
)
SHORT = ("sharpe", "timing_sharpe", "ic", "r2_oos", "hit_rate", "max_drawdown", "p_knows")
_SPAN = "end"
QUEUE: ContextVar[Callable[[dict[str, Any]], Mapping[str, Any]] | None] = ContextVar("QUEUE", default=None)
"""Takes what is to be trained, where a server has processes for it: gives the training as it is after a while."""


def models(p: ask.Catalog, turn: Turn) -> str:
    """List the catalog."""
    rows = catalog.specs(p.family)
    here = sum(s.available for s in rows)
    turn.table("Models", ["Model", "Family", "Task", "Here"],
               [[s.name, catalog.FAMILIES[s.family].title, s.task, "yes" if s.available else "not installed"]
                for s in rows[: p.many]])  # fmt: skip
    total = turn.claim(len(rows), "count", "models in the catalog" if p.family is None else f"models in {p.family}")
    able = turn.claim(here, "count", "models that can run here")
    shown = turn.claim(min(p.many, len(rows)), "count", "models shown")
    where = "" if p.family is None else f" in {catalog.FAMILIES[p.family].title}"
    return f"The catalog holds {total} models{where}, of which {able} can run here; the table shows {shown}."


def board(p: ask.Board, turn: Turn) -> str:
    """Rank what was tried."""
    found = stored(p.ticker, p.horizon, p.target)
    if not found:
        return (
            "No result is stored that fits the question, so nothing can be said of it. A researcher can evaluate a "
            "model, or run a report, and it will stand here."
        )
    ranked = leaderboard(found)
    ran = ranked.rows[ranked.rows["status"] == "ok"]
    shown = [n for n in SHORT if n in ran and ran[n].notna().any()]
    rows = [[r["name"], r["ticker"], str(r["target"]), *_figures(turn, r, shown), r["verdict"]]
            for _, r in ran.head(p.many).iterrows()]  # fmt: skip
    turn.table("Results, the strongest evidence first",
               ["Model", "Ticker", "Target", *_heads(shown), "Verdict"], rows)  # fmt: skip
    n = turn.claim(ranked.luck["trials"], "count", "trials judged together")
    good = [str(r["name"]) for _, r in ran.iterrows() if skill.shows(str(r["verdict"]))]
    shows = turn.claim(len(good), "count", "results that show evidence of skill")
    all_ = turn.claim(len(ran), "count", "results that fit")
    first = ran.iloc[0]
    if not good:
        return (
            f"Of {all_} results that fit, {shows} show evidence of skill after {n} trials. First in the list is "
            f"{first['name']} on {first['ticker']}, yet luck in so wide a search would do as well."
        )
    return f"Of {all_} results that fit, {shows} show evidence of skill after {n} trials, the first {first['name']}."


def evaluate(p: ask.Trial, turn: Turn) -> str:
    """Judge one model: a trial like any other."""
    had = len(trials.ledger())
    asked = p.model_dump(exclude={"model", "ticker"}, exclude_none=True)
    result: Evaluation = study.evaluate(p.model, p.ticker, **asked)
    fresh = len(trials.ledger()) > had
    ranked = leaderboard([result])
    return _judged(result, ranked, turn, fresh)


def _judged(e: Evaluation, ranked: Any, turn: Turn, fresh: bool) -> str:
    if not e.ok:
        return f"{e.model} has no result on {e.ticker}: {e.status}."
    row = ranked.rows.iloc[0]
    about = _about(row)
    shown = [(name, unit, words) for name, unit, words in FIGURES if name in row]
    turn.table(f"{e.model} on {e.ticker}", ["Figure", "Value"],
               [[words[:1].upper() + words[1:], turn.claim(row[name], unit, words, **about)]
                for name, unit, words in shown])  # fmt: skip
    net = turn.claim(row["sharpe"], "ratio", "Sharpe ratio, net of costs", **about)
    ic = turn.claim(row["ic"], "correlation", "information coefficient", **about)
    n = turn.claim(ranked.luck["trials"], "count", "trials judged together")
    first = turn.claim(row["start"], "date", "first session judged", **about)
    last = turn.claim(row["end"], "date", "last session judged", **about)
    how = "This was a new trial, and counts as one" if fresh else "It is the stored result"
    return (
        f"{e.model} on {e.ticker}, {target(e.target).title}: {_verdict(row)}. Its net Sharpe ratio is {net} and its "
        f"information coefficient {ic}, out of sample from {first} to {last}. {how}; it was judged among {n} trials."
    )


def compare(p: ask.Several, turn: Turn) -> str:
    """Put models side by side."""
    if turn.may_run:
        asked = p.model_dump(exclude={"models", "ticker"}, exclude_none=True)
        found: list[Evaluation] = list(study.evaluate(p.models, p.ticker, **asked))
    else:
        same = stored(p.ticker, p.horizon, p.target)
        found = [e for e in same if e.model in p.models]
    ran = [e for e in found if e.ok]
    if len({e.model for e in ran}) < 2:
        lost = sorted(set(p.models) - {e.model for e in ran})
        raise Unavailable(
            f"no stored result of {', '.join(lost)} on {p.ticker} to compare; a researcher can evaluate it"
        )
    rows = leaderboard(ran).rows
    turn.table(f"Side by side on {p.ticker}", ["Model", *_heads(SHORT), "Verdict"],
               [[r["name"], *_figures(turn, r, SHORT), r["verdict"]] for _, r in rows.iterrows()])  # fmt: skip
    best = rows.sort_values("sharpe", ascending=False).iloc[0]
    net = turn.claim(best["sharpe"], "ratio", "Sharpe ratio, net of costs", **_about(best))
    skilled = [str(r["name"]) for _, r in rows.iterrows() if skill.shows(str(r["verdict"]))]
    doubt = f"Evidence of skill is shown by {', '.join(skilled)}" if skilled else "None of them shows evidence of skill"
    return f"On {p.ticker} the highest net Sharpe ratio is that of {best['name']}, {net}. {doubt}."


def what_is_forecastable(p: ask.Cells, turn: Turn) -> str:
    """Say what can be forecast: stored results, or the whole map where that was confirmed."""
    found = forecastable(p.ticker) if turn.confirmed else _stored_map(p.ticker)
    ran = found.rows[found.rows["status"] == "ok"] if found is not None else pd.DataFrame()
    if found is None or ran.empty:
        turn.pending = {"tool": "forecastable", "parameters": p.model_dump()} if turn.may_run else None
        return (
            f"No result is stored for {p.ticker}. To judge the fast models on every target and horizon takes some "
            f"minutes, and each is a trial. {'Say yes to do it.' if turn.may_run else 'A researcher can have it done.'}"
        )
    rows = []
    for r in ran.to_dict("records"):
        about = {"ticker": str(r["ticker"]), "model": str(r["model"]), "as_of": _last(found, str(r["model"]))}
        rows.append([
            target(str(r["target"])).title, turn.claim(r["horizon"], "sessions", "horizon"), str(r["baseline"]),
            turn.claim(r["explained"], "fraction", "loss that the plain forecast explains", ticker=p.ticker),
            str(r["model"]), turn.claim(r["gain"], "fraction", "loss saved over the best baseline", **about),
            turn.claim(r["p"], "probability", "p value", **about), str(r["verdict"]),
        ])  # fmt: skip
    heads = ["Target", "Horizon", "Best baseline", "Explains", "Best model", "Saves", "p", "Verdict"]
    turn.table(f"What is forecastable of {p.ticker}", heads, rows)
    plain = sorted({target(str(r["target"])).title for r in ran.to_dict("records") if r["explained"] > 0.05})
    added = sorted({str(r["model"]) for r in ran.to_dict("records") if skill.shows(str(r["verdict"]))})
    first = f"Plain forecasts explain something of {', '.join(plain)}" if plain else "Plain forecasts explain little"
    more = f"evidence of more is shown by {', '.join(added)}" if added else "no model adds evidence of skill to that"
    return f"{p.ticker}: {first}; {more}."


def _stored_map(ticker: str) -> Map | None:
    cells: dict[tuple[str, int], Any] = {}
    for e in stored(ticker):
        cells.setdefault((e.target, e.horizon), []).append(e)
    if not cells:
        return None
    return mapped(cells, leaderboard([e for same in cells.values() for e in same]), ())


def _last(found: Map, model: str) -> str:
    rows = found.board.rows
    same = rows.loc[rows["name"] == model, "end"].dropna()
    return str(same.max()) if len(same) else ""


def train(p: ask.Trial, turn: Turn) -> str:
    """Train on every labelled row, and keep the model by its hash; where there is a queue of trainings, by that."""
    if queue := QUEUE.get():
        return _queued(p, queue(p.model_dump()), turn)
    from mltrainer.evaluation.lifecycle import model

    asked = p.model_dump(exclude={"model", "ticker"}, exclude_none=True)
    learned = model(p.model).train(study.matrix(p.ticker, **asked))
    return _trained(p, learned.save(), learned.rows, learned.end, turn)


def _trained(p: ask.Trial, artifact: str, rows: int, end: str, turn: Turn) -> str:
    about = {"ticker": p.ticker, "model": p.model, "as_of": end, "source": f"artifact {artifact[:12]}"}
    n = turn.claim(rows, "count", "rows learned from", **about)
    last = turn.claim(end, "date", "last session learned from", **about)
    turn.table("Trained", ["Model", "Ticker", "Artifact"], [[p.model, p.ticker, artifact]])
    return f"{p.model} was trained on {p.ticker} with {n} rows up to {last}; the table has its address."


def _queued(p: ask.Trial, job: Mapping[str, Any], turn: Turn) -> str:
    """What became of a training that a server does in a process of its own, or that it goes on."""
    if job["state"] == "done":
        return _trained(p, job["artifact"], job["result"]["rows"], job["result"]["end"], turn)
    if job["state"] in ("failed", "interrupted"):
        raise BadInput(job["error"] or f"training {job['id']} was interrupted; POST to it takes it up again")
    turn.table("Training", ["Model", "Ticker", "Training", "State"], [[p.model, p.ticker, job["id"], job["state"]]])
    return f"{p.model} on {p.ticker} is being trained; GET /api/models/train/ and its number say how far it is."


def stored(ticker: str | None = None, horizon: int | None = None, aim: str | None = None) -> list[Evaluation]:
    """Results of the mode in force that ran to the end and are intact, of the last fit of each model."""
    rows = trials.ledger()
    rows = rows[(rows["mode"] == settings().data_mode) & (rows["status"] == "ok") & (rows["settings"] == "")]
    for column, wanted in (("ticker", ticker), ("horizon", horizon), ("target", aim)):
        rows = rows if wanted is None else rows[rows[column] == wanted]
    last = rows.drop_duplicates(["model", "ticker", "horizon", "target"], keep="last")
    return [e for key in last["key"] if (e := trials.load(key)) is not None]


def _figures(turn: Turn, row: Any, names: Any) -> list[str]:
    units = {name: (unit, words) for name, unit, words in FIGURES}
    return [turn.claim(row[n], *units[n], **_about(row)) for n in names]


def _heads(names: Any) -> list[str]:
    words = {name: words for name, _, words in FIGURES}
    return [words[n][:1].upper() + words[n][1:] for n in names]


def _about(row: Any) -> dict[str, str]:
    source = f"trial {str(row['key'])[:12]}, mode {settings().data_mode}"
    return {"ticker": str(row["ticker"]), "model": str(row["name"]), "as_of": str(row[_SPAN]), "source": source}


def _verdict(row: Any) -> str:
    return str(row["verdict"]).partition("; ")[0]
