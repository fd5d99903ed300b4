"""Models: one model of one run on one ticker; verdict, figures, equity, forecasts and card."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd

from mltrainer import metrics, reports, views
from mltrainer.dashboards.page import Basis, Page, empty, fold, foot, hidden
from mltrainer.dashboards.pictures import Picture
from mltrainer.errors import UnknownName
from mltrainer.evaluation import skill
from mltrainer.evaluation.record import Evaluation
from mltrainer.models import catalog
from mltrainer.reports.verify import proven

ALL = "all"


class ModelsPage(Page):
    """How well does this model forecast? The four controls narrow each other from left to right."""

    NAME = "models"
    CONTROLS = ("Run", "Family", "Model", "Ticker", "Forecasts", "Compare with")

    def __init__(
        self, runs: Sequence[reports.Run], others: Mapping[str, str], state: Mapping[str, str], basis: Basis = Basis()
    ) -> None:
        self.runs, self.others = {run.id: run for run in runs}, others
        self.finding, self.rivals, self.card = (widgets.HTML() for _ in range(3))
        self.equity, self.forecasts = Picture("equity"), Picture("forecasts")
        super().__init__([self.finding, self.rivals, self.equity, self.forecasts, self.card], state, basis)

    @classmethod
    def read(cls, state: Mapping[str, str], out: str | Path | None, basis: Basis) -> widgets.Widget:
        """The page of the runs that the audit trail tells of."""
        runs, others = proven(out)
        return cls(runs, others, state, basis) if runs else empty("There is no run to show yet.", MAKE, hidden(others))

    def settle(self, state: Mapping[str, str]) -> None:
        """Runs, their families, models of these, and the tickers of a model."""
        self.offer("Run", [(run.title, run.id) for run in self.runs.values()], state)
        rows = self.run.rows
        families = [f for f in self.run.families if f in set(rows["family"])]
        family = self.offer("Family", [("All families", ALL), *((_family_title(f), f) for f in families)], state)
        rows = rows if family == ALL else rows[rows["family"] == family]
        # Rows come best first, so the model shown first is the best, while a name is found by the alphabet.
        names = rows["name"].drop_duplicates()
        best = names.iloc[0] if len(names) else ""
        options = [(name, name) for name in sorted(names, key=str.lower)]
        name = self.offer("Model", options, {"model": best} | dict(state), best)
        tickers = rows.loc[rows["name"] == name, "ticker"].drop_duplicates()
        ticker = self.offer("Ticker", [(ticker, ticker) for ticker in tickers], state)
        self.offer("Forecasts", [("last two years", LATEST), *((y, y) for y in self._years(name, ticker))], state)
        ran = self.run.rows[(self.run.rows["ticker"] == ticker) & (self.run.rows["status"] == "ok")]["name"]
        rivals = sorted((n for n in ran if n != name), key=str.lower)
        self.offer("Compare with", [("holding the share", ""), *((n, n) for n in rivals)], state)

    def _years(self, name: str, ticker: str) -> list[str]:
        """Years that the forecasts of a model on a ticker reach over, the latest first."""
        rows = self.run.rows
        row = rows[(rows["name"] == name) & (rows["ticker"] == ticker) & (rows["status"] == "ok")]
        if row.empty:
            return []
        first, last = (int(str(row[c].iloc[0])[:4]) for c in ("start", "end"))
        return [str(year) for year in range(last, first - 1, -1)]

    @property
    def run(self) -> reports.Run:
        """The run that is chosen."""
        return self.runs[self.controls["Run"].value]

    def fill(self) -> None:
        """Verdict, figures, pictures and card of what is chosen."""
        run, name, ticker = self.run, self.controls["Model"].value, self.controls["Ticker"].value
        same = run.rows[run.rows["ticker"] == ticker]
        row = same[same["name"] == name].iloc[0]
        self.banner.value = views.banner(run.mode, run.as_of)
        self.card.value = _card(name)
        self.foot.value = hidden(self.others) + foot(run.manifest["sources"], self.state, _line(run))
        if row["status"] != "ok":
            self.finding.value = _unfinished(row)
            return
        evaluation = run.evaluation(name, ticker)
        self.finding.value = _finding(row, same, metrics.sharpe(evaluation.forecasts["benchmark"]))
        rival = self.controls["Compare with"].value
        beside = [run.evaluation(rival, ticker)] if rival else []
        self.rivals.value = _compared(row, same[same["name"] == rival].iloc[0]) if rival else ""
        self.equity.show(views.equity(evaluation, beside))
        self.forecasts.show(views.forecasts(_of_year(evaluation, self.controls["Forecasts"].value)))


LATEST = "latest"


def _of_year(evaluation: Evaluation, year: str) -> Evaluation:
    """The forecasts of one year; its figure tells the coverage of all of them."""
    if year == LATEST:
        return evaluation
    return replace(evaluation, forecasts=evaluation.forecasts.loc[year:year])


def _compared(row: pd.Series, rival: pd.Series) -> str:
    """Two models, one column each, by the figures that are shown of one."""
    rows = [
        [title, *(write(r[column]) if np.isfinite(r[column]) else "undefined" for r in (row, rival))]
        for title, column, write, _ in SHOWN
        if column in row.index
    ]
    rows.append(["Verdict", str(row["verdict"]), str(rival["verdict"])])
    heads = ["Figure", str(row["name"]), str(rival["name"])]
    return f"<h2>Side by side</h2>{views.table(rows, heads)}{views.glossary(r[0] for r in rows)}"


MAKE = "Run <code>make report</code> first (or <code>mltrainer report</code>), then reload this page."


# title, column, how it is written, what it means; {names} are columns again, with two digits
SHOWN: tuple[tuple[str, str, Callable[[object], str], str], ...] = (
    (
        "Deflated Sharpe",
        "deflated_sharpe",
        views.fixed(2),
        "chance that its timing is more than the luck of the search",
    ),
    (
        "Timing Sharpe",
        "timing_sharpe",
        views.fixed(2),
        "annual, of its timing alone; luck's best would be {timing_luck}",
    ),
    ("Sharpe, net of costs", "sharpe", views.fixed(2), "annual; 95 % interval {sharpe_low} to {sharpe_high}"),
    ("Buy-and-hold Sharpe", "held", views.fixed(2), "annual, over the same days"),
    ("Rank", "rank", views.fixed(0), "by deflated Sharpe, of {ranked} models on this ticker"),
    ("Information coefficient", "ic", views.fixed(3), "HAC t {ic_t}; as good by luck in {p_knows} of such searches"),
    ("Worst drawdown, %", "max_drawdown", views.percent, "of wealth, net of costs"),
    ("Break-even cost, bps", "breakeven_bps", views.number, "of what is traded; at this cost nothing is left"),
)


def _finding(row: pd.Series, same: pd.DataFrame, held: float) -> str:
    """The sentence that answers the page's question, and the numbers behind it; `same` are all rows of the ticker."""
    others = same.loc[same["status"] == "ok", "deflated_sharpe"].dropna()
    rank = float((others > row["deflated_sharpe"]).sum() + 1) if np.isfinite(row["deflated_sharpe"]) else np.nan
    known = {str(k): v for k, v in row.items() if isinstance(v, float)} | {"held": held, "rank": rank}
    words = {k: views.fixed(2)(v) for k, v in known.items()} | {"ranked": str(len(others))}
    figures = views.figures(
        (
            (title, write(known[column]), note.format_map(words))
            if np.isfinite(known[column])
            else (title, "undefined", metrics.UNDEFINED.get(column, "there is too little to tell"))
            for title, column, write, note in SHOWN
        ),
        terms=True,
    )
    more = known["sharpe"] > held
    doubt = ", yet that is no evidence of skill" if more and not skill.shows(row["verdict"]) else ""
    sentence = (
        f"Net of costs, {escape(row['name'])} earned {'more' if more else 'less'} for its risk on "
        f"{escape(row['ticker'])} than holding it{doubt}."
    )
    return f'<p class="lede">{sentence} {views.pill(row["verdict"])}</p>{figures}'


def _unfinished(row: pd.Series) -> str:
    """Why there is nothing to see; the reason stays on the page, since that is the result."""
    sentence = f"{escape(row['name'])} has no result on {escape(row['ticker'])}."
    reason = row.get("reason")
    why = f"<p>{escape(reason)}</p>" if isinstance(reason, str) and reason else ""
    return f'<p class="lede">{sentence} {views.pill(row["status"])}</p>{why}'


def _card(name: str) -> str:
    """The model's card, folded; a model that has left the catalog since has none."""
    try:
        card = views.card(catalog.spec(name).card)
    except UnknownName:
        card = "<p>This model is no longer in the catalog.</p>"
    return fold(f"What {name} is", card)


def _line(run: reports.Run) -> str:
    """Run, audit head, and what has no result."""
    missing = int((run.rows["status"] != "ok").sum())
    lacking = f"{missing} of its {len(run.rows)} results are missing; choose one to see why." if missing else ""
    head = escape(str(run.manifest.get("audit_head", "not recorded")))
    return f"Run <code>{escape(run.id)}</code>, audit head <code>{head}</code>. {lacking}"


def _family_title(key: str) -> str:
    return catalog.FAMILIES[key].title if key in catalog.FAMILIES else key
