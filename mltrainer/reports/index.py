"""The first page of a run: the question, the answer in one sentence, the evidence, then the machinery."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mltrainer import metrics, views
from mltrainer.data.quality import Quality, quality
from mltrainer.evaluation import trials
from mltrainer.evaluation.calibrate import RuleCalibration
from mltrainer.evaluation.leaderboard import Leaderboard
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.significance import SIZE
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
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

    @property
    def as_of(self) -> str:
        """Last session of the data, YYYY-MM-DD."""
        return str(max(m.X.index[-1] for m in self.matrices).date())

    @property
    def failed(self) -> dict[str, str]:
        """Family -> why its page could not be made."""
        return {f: s["reason"] for f, s in self.status.items() if s["status"] != "ok"}


def csv(board: Leaderboard) -> str:
    """Write the leaderboard as CSV text; numbers in full precision, so that it can be recomputed exactly."""
    text = io.StringIO()
    board.rows.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue()


def index_html(work: Work, head: str) -> str:
    """Render the index page: the question, the answer, the evidence, then the machinery; `head` ends the trail."""
    from mltrainer.reports.pages import figure_html, page

    rows, luck, matrices, horizon = work.board.rows, work.board.luck, work.matrices, work.parameters["horizon"]
    ran = rows[rows["status"] == "ok"]
    first = {e.ticker: e for e in reversed(work.results) if e.ok}
    held = {m.name: metrics.sharpe(first[m.name].forecasts["benchmark"]) for m in matrices if m.name in first}
    names = ", ".join(m.name for m in matrices)
    links = {e.model: f"{e.family}.html#{e.model}" for e in work.results if e.family not in work.failed}
    lost = [[e.model, e.ticker, e.status, e.reason] for e in work.results if not e.ok]
    lost += [[f"{family} page", "", "failed", why] for family, why in work.failed.items()]
    lost += [[f"feature {f}", m.name, "unavailable", why] for m in matrices for f, why in m.unavailable.items()]
    checks = [quality(m.name, start=m.prices.index[0], end=m.prices.index[-1]) for m in matrices]
    split, labelled = work.protocol.split, int(matrices[0].y.notna().sum())
    return page(
        "index",
        title=f"Can any of {len(set(rows['name']))} models forecast {names} {_ahead(horizon)} ahead?",
        banner=views.banner(settings().data_mode, work.as_of),
        sentence=work.board.sentence(),
        power=work.measured.sentence() if work.measured else "",
        worlds=_worlds(work.measured),
        size=views.number(SIZE),
        failures=work.failed,
        figures=views.figures(_headline(matrices, work.board, held, checks)),
        picture=figure_html(views.sharpes(rows, luck, corner=f"{names}, sessions to {work.as_of}")),
        board=views.board(rows, links=links),
        poor=int((ran["r2_oos"] < 0).sum()),
        tests=work.board.tests(),
        families=[_family_card(f, rows, s["status"]) for f, s in work.status.items()],
        refused=views.table(lost, ["What", "Ticker", "Status", "Why"])
        if lost
        else "<p>Everything that was asked for ran.</p>",
        data=_data(matrices, checks),
        horizon=horizon,
        folds=len(list(split.split(labelled, horizon, matrices[0].X.shape[1]))),
        gap=split.gap(labelled, horizon),
        cost=views.number(work.protocol.cost_bps),
        trials=int(luck["trials"]),
        effective=int(luck["effective"]),
        run=work.run,
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


def _headline(
    matrices: Sequence[Matrix], board: Leaderboard, held: dict[str, float], checks: Sequence[Quality]
) -> list[tuple[str, str, str]]:
    rows, luck = board.rows, board.luck
    ran = rows[rows["status"] == "ok"]
    best = ran.iloc[0] if len(ran) else None
    sessions = sum(len(m.X) for m in matrices)
    span = f"{min(m.X.index[0] for m in matrices).date()} to {max(m.X.index[-1] for m in matrices).date()}"
    apart = f"as good as {luck['effective']:.0f} independent ones, by their joint bootstrap"
    complete = f"{span}, {min(c.completeness for c in checks):.1%} of the exchange calendar"
    over = "over the same sessions" + (f": {', '.join(held)}" if len(held) > 1 else "")
    timing, who = views.DASH, "nothing ran"
    if best is not None:
        timing, luck_is = (views.fixed(2)(best[k]) for k in ("timing_sharpe", "timing_luck"))
        who = f"{best['name']}; luck's best would be {luck_is}, raw Sharpe {views.fixed(2)(best['sharpe'])}"
    return [
        ("Models run / trials counted", f"{len(ran)} / {int(luck['trials'])}", apart),
        ("Timing Sharpe of the best", timing, who),
        ("Buy-and-hold Sharpe", ", ".join(views.fixed(2)(s) for s in held.values()) or views.DASH, over),
        ("Sessions", f"{sessions:,}", complete),
    ]


def _family_card(family: str, rows: pd.DataFrame, status: str) -> dict[str, str]:
    title = catalog.FAMILIES[family].title
    own = rows[(rows["family"] == family) & (rows["status"] == "ok")]
    if own.empty:
        said = "No model of this family ran to the end."
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
