"""The first page of a run: the question, the answer in one sentence, the evidence, then the machinery."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mltrainer import metrics, views
from mltrainer.data.quality import Quality, quality
from mltrainer.evaluation import skill, trials
from mltrainer.evaluation.calibrate import RuleCalibration
from mltrainer.evaluation.leaderboard import RIVALS, Leaderboard, together
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.significance import SIZE
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.plain import harmless
from mltrainer.reports.pages import figure_html, page
from mltrainer.settings import settings
from mltrainer.trust import gate
from mltrainer.trust.provenance import Sealed, notices

LIBRARIES = (
    "mltrainer numpy pandas scipy scikit-learn statsmodels lightgbm catboost xgboost-cpu TA-Lib plotly papermill "
    "bokeh-sampledata skfolio arch"
).split()


@dataclass(frozen=True)
class Work:
    """What a run asked and found.

    `ledger` is the last trial it was judged among; `status` says, per family, how its page ended and why; `earlier` is
    a line for each past revision.
    """

    run: str
    parameters: dict[str, Any]
    matrices: Sequence[Matrix]
    results: Sequence[Evaluation]
    board: Leaderboard
    status: dict[str, dict[str, str]]
    protocol: Protocol
    ledger: int
    revision: str = ""
    earlier: Sequence[dict[str, Any]] = ()
    measured: RuleCalibration | None = None
    made: str = ""

    @property
    def as_of(self) -> str:
        """Last session of the data, YYYY-MM-DD."""
        return str(max(m.X.index.unique(0)[-1] for m in self.matrices).date())

    @property
    def failed(self) -> dict[str, str]:
        """Family -> why its page could not be made."""
        return {f: s["reason"] for f, s in self.status.items() if s["status"] != "ok"}


def csv(board: Leaderboard) -> str:
    """Write the leaderboard as CSV text; numbers in full precision, so that it can be recomputed exactly.

    Names and reasons may be a stranger's: none of them is a formula to a spreadsheet.
    """
    text = io.StringIO()
    harmless(board.rows).to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def index_html(work: Work, head: str) -> str:
    """Render the index page: the question, the answer, the evidence, then the machinery; `head` ends the trail."""
    luck, matrices, horizon = work.board.luck, work.matrices, work.parameters["horizon"]
    rows = together(work.board, work.results)
    ran = rows[rows["status"] == "ok"]
    lead = matrices[0]
    links = {e.model: f"{e.family}.html#{e.model}" for e in work.results if e.family not in work.failed}
    lacking = [[f, called(m), why] for m in matrices for f, why in m.unavailable.items()]
    lost = [[e.model, e.ticker, e.status, e.reason] for e in work.results if not e.ok]
    lost += [[f"{family} page", "", "failed", why] for family, why in work.failed.items()]
    asof = work.parameters["end"] or None
    checks = [quality(own[0], asof=asof) for m in matrices for own in m.histories]  # of the bars that were judged
    split, labelled = work.protocol.split, len(lead.y.dropna().index.unique(0))
    return page(
        "index",
        title=f"Can any of {len(set(rows['name']))} models forecast {asked(matrices)}?",
        banner=views.banner(settings().data_mode, work.as_of),
        sentence=work.board.sentence(),
        power=work.measured.sentence() if work.measured else "",
        proof=lead.aim.proof,
        panel=len(lead.tickers) > 1,
        far=_far(ran, luck),
        worlds=_worlds(work.measured),
        size=views.number(SIZE),
        failures=work.failed,
        figures=views.figures(_headline(work, rows, checks)),
        picture=figure_html(picture(rows, luck, matrices)),
        board=views.board(rows, views.BOARDS[lead.aim.proof], links=links),
        poor=int((ran["r2_oos"] < 0).sum()),
        tests=work.board.tests(),
        families=[
            _family_card(f, rows, s["status"], lead.aim.proof) for f, s in work.status.items() if f in catalog.FAMILIES
        ],
        validation=work.status.get("validation", {}).get("status") == "ok",
        refused=views.table(lost, ["What", "Ticker", "Status", "Why"])
        if lost
        else "<p>Everything that was asked for ran.</p>",
        lacking=views.table(lacking, ["Feature", "Ticker", "Why it is not used"]) if lacking else "",
        lacks=len(lacking),
        data=_data(matrices, checks),
        horizon=horizon,
        folds=len(list(split.split(labelled, horizon, lead.X.shape[1]))),
        gap=split.gap(labelled, horizon),
        cost=views.number(work.protocol.cost_bps),
        trials=int(luck["trials"]),
        effective=int(luck["effective"]),
        run=work.run,
        made=work.made,
        head=head,
        revision=work.revision,
        earlier=_earlier(work.earlier),
        versions=views.table(sorted([k, v] for k, v in trials.versions(LIBRARIES).items()), ["Library", "Version"]),
    )


def _worlds(measured: RuleCalibration | None) -> str:
    """How the sentence under the verdict was measured; empty where it was not."""
    if measured is None:
        return ""
    rows = [[r.truth, r.best, r.found, r.worlds] for r in measured.power.itertuples()]
    heads = ["True Sharpe planted", "Best learner's timing Sharpe", "Found, share", "Worlds"]
    said = (
        f"{len(measured.null)} worlds without skill and {len(measured.planted)} with a planted lead, made of the real "
        f"sessions of {measured.question}, went through the same features, walk-forward and tests with "
        f"{len(measured.models)} fast models ({', '.join(measured.models)}). Found means a t of at least "
        f"{views.fixed(2)(measured.critical)}, which all trials of this question ask for."
    )
    return f"<p>{said}</p>{views.table(rows, heads)}"


def _ahead(horizon: int) -> str:
    words = "one two three four five six seven eight nine ten".split()
    return f"{words[horizon - 1] if horizon <= 10 else horizon} session{'' if horizon == 1 else 's'}"


def called(matrix: Matrix) -> str:
    """A ticker, or how many a panel has."""
    return matrix.name if len(matrix.tickers) == 1 else f"{len(matrix.tickers)} names"


def asked(matrices: Sequence[Matrix]) -> str:
    """What a page asks, to follow the word forecast: "MSFT five sessions ahead"."""
    lead, names = matrices[0], " and ".join(map(called, matrices))
    what = "" if lead.target == "return" else f"{lead.aim.title} of "
    return f"{what}{names} {_ahead(lead.horizon)} ahead"


def picture(rows: pd.DataFrame, luck: Mapping[str, float], matrices: Sequence[Matrix]) -> go.Figure:
    """What every model adds: its timing, or the loss it saves where that is what proves the target."""
    aim, last = matrices[0].aim, max(m.X.index.unique(0)[-1] for m in matrices).date()
    corner = f"{', '.join(map(called, matrices))}, sessions to {last}"
    if aim.proof == "ranks":
        return views.sharpes(rows, luck, corner=corner)
    rivals = sorted(set(rows["baseline"].dropna()) - {""})
    rival = RIVALS.get(rivals[0], rivals[0]) if len(rivals) == 1 else "the best baseline"
    return views.gains(rows, rival=rival, corner=corner)


def _far(ran: pd.DataFrame, luck: Mapping[str, float]) -> str:
    """How far the strongest model is from evidence; empty where one shows it, or nothing can be said."""
    t = ran[["timing_t", "gain_t"]].astype(float).max(axis=1).max() if len(ran) else np.nan
    need = luck.get("critical", np.nan)
    if ran["verdict"].map(skill.shows).any() or not np.isfinite(t) or not np.isfinite(need) or t >= need:
        return ""
    said = f"The strongest t is {views.fixed(1)(t)}, where evidence among all these trials asks for {need:.1f}"
    if t <= 0.2 * need:
        return f"{said}: that is far from it."
    years = ran["end"].map(lambda d: int(str(d)[:4])).max() - ran["start"].map(lambda d: int(str(d)[:4])).min()
    more = years * ((need / t) ** 2 - 1)
    return f"{said}: were it real and as strong in future, about {max(1, round(more)):,} more years would show it."


def _headline(work: Work, rows: pd.DataFrame, checks: Sequence[Quality]) -> list[tuple[str, str, str]]:
    matrices, luck, aim = work.matrices, work.board.luck, work.matrices[0].aim
    ran = rows[rows["status"] == "ok"]
    best = ran.iloc[0] if len(ran) else None
    days = [m.X.index.unique(0) for m in matrices]
    sessions = sum(map(len, days))
    span = f"{min(d[0] for d in days).date()} to {max(d[-1] for d in days).date()}"
    apart = f"as good as {luck['effective']:.0f} independent ones, by their joint bootstrap"
    complete = f"{span}, {min(c.completeness for c in checks):.1%} of the exchange calendar"
    held, earned = _held(work)
    tiles = [("Models run / trials counted", f"{len(ran)} / {int(luck['trials'])}", apart)]
    if best is not None and aim.proof == "loss":
        best = ran.sort_values("gain").iloc[-1]
        who = f"{best['name']}, against {best['baseline']}; t {views.fixed(1)(best['gain_t'])}"
        tiles.append(("Loss saved by the best, %", views.percent(best["gain"]), who))
        tiles.append(("Explained by it, %", views.percent(best["r2_oos"]), "of what the mean of the past leaves"))
        return [*tiles, ("Sessions", f"{sessions:,}", complete)]
    timing, who = views.DASH, "nothing ran"
    if best is not None:
        timing, luck_is = (views.fixed(2)(best[k]) for k in ("timing_sharpe", "timing_luck"))
        who = f"{best['name']}; luck's best would be {luck_is}, raw Sharpe {views.fixed(2)(best['sharpe'])}"
    tiles += [("Timing Sharpe of the best", timing, who), ("Buy-and-hold Sharpe", held, earned)]
    return [*tiles, ("Sessions", f"{sessions:,}", complete)]


def _held(work: Work) -> tuple[str, str]:
    """Sharpe ratio of holding, of each matrix, and what it made of 1; of a panel equal shares of all tickers."""
    sharpes, earned = [], []
    first = {e.ticker: e.forecasts["benchmark"] for e in reversed(work.results) if e.ok}
    for m in work.matrices:
        parts = [first[t] for t in m.tickers if t in first]
        if not parts:
            continue
        held = pd.concat(parts, axis=1).mean(axis=1).to_numpy()
        sharpes.append(views.fixed(2)(metrics.sharpe(held)))
        wealth, year = metrics.wealth(held)[-1], metrics.annual_return(held)
        earned.append(f"{called(m)}: 1 became {wealth:.2f}, {views.percent(year)} % a year")
    return ", ".join(sharpes) or views.DASH, "; ".join(earned) or "nothing ran"


def _family_card(family: str, rows: pd.DataFrame, status: str, proof: str) -> dict[str, str]:
    title = catalog.FAMILIES[family].title
    own = rows[(rows["family"] == family) & (rows["status"] == "ok")]
    if own.empty:
        said = "No model of this family ran to the end."
    elif proof == "loss":
        best = own.sort_values("gain").iloc[-1]
        said = (
            f"{len(own)} models; the best, {best['name']}, saves {views.percent(best['gain'])} % of the loss of "
            f"{best['baseline']}, the median {views.percent(own['gain'].astype(float).median())} %."
        )
    else:
        best, median = own.iloc[0], own["sharpe"].median()
        said = (
            f"{len(own)} models; the best is {best['name']} with a Sharpe ratio of {views.fixed(2)(best['sharpe'])} "
            f"(deflated {views.fixed(2)(best['deflated_sharpe'])}), the median has {views.fixed(2)(median)}."
        )
    return {"key": family, "title": title, "said": said, "link": f"{family}.html" if status == "ok" else ""}


def _earlier(lines: Sequence[dict[str, Any]]) -> str:
    """What the same question was answered before, with fewer trials or other versions; nothing when it was not."""
    rows = [[e["at"][:16].replace("T", " "), str(e["trials"]), e["finding"], e["manifest"][:16]] for e in lines]
    return views.table(rows, ["When, UTC", "Trials", "What was found", "sha256 of its manifest"]) if rows else ""


def _data(matrices: Sequence[Matrix], checks: Sequence[Quality]) -> str:
    found = [[c.name, f.rule, f.severity, f.message] for c in checks for f in c.findings]
    said = (
        views.table(found, ["Ticker", "Rule", "Severity", "Finding"]) if found else "<p>The bars raise no finding.</p>"
    )
    return said + origins(matrices)


def origins(matrices: Sequence[Sealed]) -> str:
    """What providers sent that these were made of, and the notices that their terms ask for."""
    sent = gate.roots(*matrices)
    rows = [[p.name, p.endpoint, (p.body_sha256 or "")[:16], f"{p.note}; {p.terms}"] for p in sent]
    table = views.table(rows, ["Series", "From", "sha256 of its bytes", "Terms and notes"])
    return table + views.asides(notices(p.note for p in sent))
