"""Dashboards: the pages stakeholders open. Each notebook in notebooks/dashboards calls one function here.

They only read what runs have stored. Whatever comes from a name, an address or an error is escaped before it is shown,
and a callback that breaks shows an incident number, never a traceback: the rest is in `logs/incidents.log`.
"""

import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from html import escape
from pathlib import Path
from typing import Any, ParamSpec
from urllib.parse import parse_qsl, urlencode

import ipywidgets as widgets
import numpy as np
import pandas as pd
from websockets.sync.client import connect

from mltrainer import metrics, reports, views
from mltrainer.errors import UnknownName
from mltrainer.evaluation import skill
from mltrainer.models import catalog
from mltrainer.settings import settings
from mltrainer.trust.provenance import notices

P = ParamSpec("P")
ALL = "all"


def models_page(out: str | Path | None = None) -> widgets.Widget:
    """Show one model of one run on one ticker: verdict, figures, equity, forecasts and card.

    Parameters
    ----------
    out : the folder of runs; default as for `report`, or the one `mltrainer serve` or `mltrainer lab` was started for.
    """
    return _models_page(out)


def guarded(action: Callable[P, widgets.Widget | None]) -> Callable[P, widgets.Widget | None]:
    """Let nothing but an incident number reach the page when `action` breaks.

    The number is shown by the `fail` method of the page that `action` belongs to; a function returns it as its widget.
    """

    @wraps(action)
    def safe(*args: P.args, **kwargs: P.kwargs) -> widgets.Widget | None:
        try:
            return action(*args, **kwargs)
        except Exception:
            incident = secrets.token_hex(4)
            _incidents().exception("incident %s in %s", incident, action.__qualname__)
            said = f'<p class="card refused" role="alert">Something went wrong ({incident}).</p>'
            if args and isinstance(args[0], ModelsPage):
                args[0].fail(said)
            return widgets.HTML(said)

    return safe


@cache
def _incidents() -> logging.Logger:
    """A log that ends in a file of the state folder: what a kernel writes to stderr is sent to the browser."""
    folder = settings().home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "incidents.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("mltrainer.incidents")
    log.addHandler(handler)
    log.propagate = False
    return log


@guarded
def _models_page(out: str | Path | None) -> widgets.Widget:
    asked = _asked()
    runs = reports.runs(out)
    if not runs:
        return widgets.HTML(
            '<p class="lede">There is no run to show yet.</p><p>Run <code>make report</code> first (or '
            "<code>mltrainer report</code>), then reload this page.</p>"
        )
    return ModelsPage(runs, asked)


def _asked() -> dict[str, str]:
    """The visitor's query; untrusted: it is only ever compared with what is on offer.

    A preheated kernel is started before its visitor comes. It waits here for the server to tell it who came, so that
    the slow imports are done by then, and the runs are read fresh.
    """
    query = os.environ.get("QUERY_STRING", "")
    if os.environ.get("VOILA_PREHEAT") == "True":
        port, kernel = os.environ["VOILA_APP_PORT"], os.environ["VOILA_KERNEL_ID"]
        # This machine is no matter for a proxy.
        with connect(f"ws://127.0.0.1:{port}/voila/query/{kernel}", proxy=None) as server:
            query = json.loads(server.recv())["QUERY_STRING"]
    return dict(parse_qsl(query, max_num_fields=20))


class Picture(widgets.VBox):
    """A figure under its finding.

    A page of `mltrainer serve` draws it with the plotly it has loaded, in place, in a third of the time of JupyterLab's
    extension, which draws each figure three times. In Lab it is an output like any other.
    """

    def __init__(self, name: str) -> None:
        self.name, self.text, self.plain = name, widgets.HTML(), widgets.Output()
        super().__init__([self.text, self.plain])
        self.add_class("picture")

    def show(self, figure: Any) -> None:
        """Put `figure` in the place of the one before."""
        finding, drawing = views.drawing(figure)
        caption = f'<p class="finding">{escape(finding)}</p>'
        if "MLTRAINER_SERVE" in os.environ:
            caption += f'<div data-chart="{escape(self.name)}" data-figure="{escape(json.dumps(drawing))}"></div>'
        else:
            bundle = {"application/vnd.plotly.v1+json": drawing, "text/plain": finding}
            self.plain.outputs = ({"output_type": "display_data", "data": bundle, "metadata": {}},)
        self.text.value = caption

    def clear(self) -> None:
        """Show nothing."""
        self.text.value, self.plain.outputs = "", ()


class ModelsPage(widgets.VBox):
    """The models page; the four controls narrow each other from left to right."""

    def __init__(self, runs: Sequence[reports.Run], asked: Mapping[str, str]) -> None:
        self.runs = {run.id: run for run in runs}
        self.controls = {name: widgets.Dropdown(description=name) for name in ("Run", "Family", "Model", "Ticker")}
        self.banner, self.finding, self.card, self.foot = (widgets.HTML() for _ in range(4))
        self.equity, self.forecasts = Picture("equity"), Picture("forecasts")
        bar = widgets.Box(list(self.controls.values()))
        bar.add_class("controls")
        super().__init__([self.banner, bar, self.finding, self.equity, self.forecasts, self.card, self.foot])
        self.settling = False
        for control in self.controls.values():
            control.observe(self.choose, "value")
        self.choose(asked=asked)

    @guarded
    def choose(self, change: object = None, *, asked: Mapping[str, str] | None = None) -> None:
        """Settle the controls after one of them moved, then show what they point at."""
        if self.settling:
            return
        self.settling = True
        try:
            self._settle(asked or {name.lower(): control.value for name, control in self.controls.items()})
        finally:
            self.settling = False
        self._show()

    def fail(self, said: str) -> None:
        """Show the incident and nothing else, so that no old result is taken for the one asked for."""
        self.finding.value, self.card.value, self.foot.value = said, "", ""
        self._clear()

    def _clear(self) -> None:
        self.equity.clear()
        self.forecasts.clear()

    def _settle(self, wanted: Mapping[str, str]) -> None:
        """Offer in each control what the ones before it leave, and keep what was wanted where it is on offer."""
        self._offer("Run", [(run.title, run.id) for run in self.runs.values()], wanted)
        rows = self.run.rows
        families = [f for f in self.run.families if f in set(rows["family"])]
        self._offer("Family", [("All families", ALL), *((_family_title(f), f) for f in families)], wanted)
        family = self.controls["Family"].value
        rows = rows if family == ALL else rows[rows["family"] == family]
        # Rows come best first, so the model shown first is the best, while a name is found by the alphabet.
        names = rows["name"].drop_duplicates()
        best = names.iloc[0] if len(names) else ""
        self._offer(
            "Model", [(name, name) for name in sorted(names, key=str.lower)], {"model": best} | dict(wanted), best
        )
        tickers = rows.loc[rows["name"] == self.controls["Model"].value, "ticker"].drop_duplicates()
        self._offer("Ticker", [(ticker, ticker) for ticker in tickers], wanted)

    def _offer(self, name: str, options: list[tuple[str, str]], wanted: Mapping[str, str], first: str = "") -> None:
        control, values = self.controls[name], [value for _, value in options]
        if list(control.options) != options:
            control.options = options
        choice = wanted.get(name.lower())
        control.value = choice if choice in values else first or values[0]

    @property
    def run(self) -> reports.Run:
        """The run that is chosen."""
        return self.runs[self.controls["Run"].value]

    def _show(self) -> None:
        run, name, ticker = self.run, self.controls["Model"].value, self.controls["Ticker"].value
        same = run.rows[run.rows["ticker"] == ticker]
        row = same[same["name"] == name].iloc[0]
        self.banner.value = views.banner(run.mode, run.as_of)
        self.card.value = _card(name)
        self.foot.value = _foot(run, {n.lower(): c.value for n, c in self.controls.items()})
        if row["status"] != "ok":
            self.finding.value = _unfinished(row)
            self._clear()
            return
        evaluation = run.evaluation(name, ticker)
        self.finding.value = _finding(row, same, metrics.sharpe(evaluation.forecasts["benchmark"]))
        self.equity.show(views.equity(evaluation))
        self.forecasts.show(views.forecasts(evaluation))


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
        (title, write(known[column]), note.format_map(words))
        if np.isfinite(known[column])
        else (title, "undefined", metrics.UNDEFINED.get(column, "there is too little to tell"))
        for title, column, write, note in SHOWN
    )
    more = known["sharpe"] > held
    doubt = ", yet that is no evidence of skill" if more and not skill.shows(row["verdict"]) else ""
    said = (
        f"Net of costs, {escape(row['name'])} earned {'more' if more else 'less'} for its risk on "
        f"{escape(row['ticker'])} than holding it{doubt}."
    )
    return f'<p class="lede">{said} {views.pill(row["verdict"])}</p>{figures}'


def _unfinished(row: pd.Series) -> str:
    """Why there is nothing to see; the reason stays on the page, since that is the result."""
    said = f"{escape(row['name'])} has no result on {escape(row['ticker'])}."
    reason = row.get("reason")
    why = f"<p>{escape(reason)}</p>" if isinstance(reason, str) and reason else ""
    return f'<p class="lede">{said} {views.pill(row["status"])}</p>{why}'


def _card(name: str) -> str:
    """The model's card, folded; a model that has left the catalog since has none."""
    try:
        card = views.card(catalog.spec(name).card)
    except UnknownName:
        card = "<p>This model is no longer in the catalog.</p>"
    return f"<details><summary>What {escape(name)} is</summary>{card}</details>"


def _foot(run: reports.Run, state: Mapping[str, str]) -> str:
    """Run, sources with their terms, audit head, and what has no result; and where the page stands, for its address."""
    sources = [[s["name"], s["endpoint"], f"{s['note']}; {s['terms']}"] for s in run.manifest["sources"]]
    told = views.table(sources, ["Series", "From", "Notes and terms"])
    wanted = notices(s["note"] for s in run.manifest["sources"])
    missing = int((run.rows["status"] != "ok").sum())
    lacking = f"{missing} of its {len(run.rows)} results are missing; choose one to see why." if missing else ""
    head = escape(str(run.manifest.get("audit_head", "not recorded")))
    return (
        f"<details><summary>Where these numbers come from</summary>{told}</details>{views.asides(wanted)}"
        f'<p class="quiet">Run <code>{escape(run.id)}</code>, audit head <code>{head}</code>. {lacking}</p>'
        f'<span hidden data-address="{escape(urlencode(state))}"></span>'
    )


def _family_title(key: str) -> str:
    return catalog.FAMILIES[key].title if key in catalog.FAMILIES else key
