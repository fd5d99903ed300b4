"""What the family notebook shows, one method a section; it works in a report, in Lab and by itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mltrainer import metrics, views
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput
from mltrainer.evaluation import engine, judgments, skill, study, trials
from mltrainer.evaluation.baselines import gain
from mltrainer.evaluation.costs import GRID, sensitivity
from mltrainer.evaluation.leaderboard import leaderboard, together
from mltrainer.evaluation.panels import keys
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.residuals import residual_tests
from mltrainer.features import stored
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.reports.index import asked, origins, picture
from mltrainer.settings import settings
from mltrainer.trading import regimes
from mltrainer.trust import audit


class Html:
    """A piece of a page."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text


DRAWN = 3  # tickers of a panel that have figures of their own; tables have all
LOST = "this run holds no result of it"
DOUBT = "no evidence that it is more than luck"


class FamilyPage:
    """One family on some tickers: its results from the store, computed first where they are missing.

    A page of a run opens what the run judged, data and results alike, and computes nothing: what is not there is
    shown so.

    Parameters
    ----------
    family : key of a family of the catalog.
    tickers : tickers, as a list or separated by commas.
    start, end, horizon, target : as for `mltrainer.matrix`; an empty text is no bound.
    protocol : what differs from the usual one, as `Protocol.of` takes it.
    matrices : addresses of the matrices of a run (`features.stored`), separated by commas.
    ledger : the last trial that the run was judged among; 0 is all there are.
    run_id : the run this page belongs to, if any; made : the day it was begun.
    models : only these of the family; default all.
    """

    def __init__(
        self,
        family: str,
        tickers: str | Iterable[str],
        *,
        start: Day = None,
        end: Day = None,
        horizon: int = 5,
        target: str = "return",
        protocol: Mapping[str, Any] | None = None,
        matrices: str = "",
        ledger: int = 0,
        run_id: str = "",
        made: str = "",
        models: Sequence[str] = (),
    ) -> None:
        specs = [s for s in catalog.specs(family) if not models or s.name in models]
        names = [t.strip() for t in tickers.split(",")] if isinstance(tickers, str) else list(tickers)
        if not any(names):
            raise BadInput("no ticker was given; name at least one")
        self.family, self.run_id, self.protocol = catalog.FAMILIES[family], run_id, Protocol.of(**protocol or {})
        self.made = made
        if matrices:
            self.matrices = list(map(stored.opened, matrices.split(",")))
            self.results = [e for m in self.matrices for s in specs for e in self._kept(s, m)]
        else:
            how: dict[str, Any] = {"start": start or None, "end": end or None, "horizon": horizon, "target": target}
            self.matrices = [study.matrix(t, **how) for t in names]
            self.results = engine.run(specs, self.matrices, protocol=self.protocol, jobs=1, progress=False)
        self.horizon, self.aim = self.matrices[0].horizon, self.matrices[0].aim
        self.parts = {t: m.of(t) for m in self.matrices for t in m.tickers}
        self.board = leaderboard(self.results, judgments.judgment(self.results, until=ledger or None))

    def _kept(self, spec: ModelSpec, matrix: Matrix) -> list[Evaluation]:
        """Results of a model on each ticker of a matrix, as the ledger has them, those that did not end as well."""
        base: dict[str, Any] = {
            "family": spec.family,
            "task": spec.task,
            "horizon": matrix.horizon,
            "target": matrix.target,
        }
        found = []
        for ticker, key in keys(matrix, trials.key(spec, matrix, self.protocol)).items():
            lost = Evaluation(key, spec.name, ticker=ticker, status="failed", reason=LOST, **base)
            if not spec.available:
                lost = replace(lost, status="unavailable", reason=spec.why_unavailable)
            found.append(trials.load(key) or trials.last_attempt(key) or lost)
        return found

    # -- who is shown ----------------------------------------------------------------------------------------

    def best(self, ticker: str) -> Evaluation | None:
        """The family's best model on a ticker by deflated Sharpe ratio; None when none ran."""
        rows = self.board.rows
        rows = rows[(rows["ticker"] == ticker) & (rows["status"] == "ok")]
        if rows.empty:
            return None
        return next(e for e in self.results if e.model == rows.iloc[0]["name"] and e.ticker == ticker)

    def ran(self, ticker: str) -> list[Evaluation]:
        """Every model that ran on a ticker."""
        return [e for e in self.results if e.ok and e.ticker == ticker]

    @property
    def bests(self) -> list[Evaluation]:
        """The best model of each ticker."""
        names = list(self.parts)
        if len(names) > len(self.matrices):  # of a panel those of the strongest rows
            names = list(dict.fromkeys(self.board.rows["ticker"]))[:DRAWN]
        return [e for name in names if (e := self.best(name)) is not None]

    # -- sections --------------------------------------------------------------------------------------------

    def opening(self) -> Html:
        """Title, mode, the answer in one sentence."""
        as_of = str(max(m.X.index[-1] for m in self.parts.values()).date())
        question = f"Can {self.family.title.lower()} forecast {asked(self.matrices)}?"
        return Html(
            f"{views.banner(settings().data_mode, as_of)}<h1>{escape(question)}</h1>"
            f'<p class="lede">{escape(self.answer())}</p>'
        )

    def answer(self) -> str:
        """Say the family's result in one sentence."""
        rows = self.board.rows
        ran = rows[rows["status"] == "ok"]
        if ran.empty:
            return "No model of this family ran to the end."
        skilled = ran.loc[ran["verdict"].map(skill.shows), "name"].unique()
        above = int(ran.loc[ran["timing_sharpe"] > ran["timing_luck"], "name"].nunique())
        if self.aim.proof == "loss":
            return self.board.sentence()
        best, models, several = ran.iloc[0], ran["name"].nunique(), len(self.parts) > 1
        found = f"{len(skilled)} of its {models} models" if len(skilled) else f"None of its {models} models"
        on = f" on any of {len(self.parts)} names" if several else ""
        who = f"{best['name']} on {best['ticker']}" if several else best["name"]
        luck = (
            f"{above} {'beats' if above == 1 else 'beat'} what luck alone would reach" if above else "none beats luck"
        )
        return (
            f"{found} {'show' if len(skilled) > 1 else 'shows'} evidence of skill{on} after costs; "
            f"the timing of the best, {who}, has an annual Sharpe ratio of "
            f"{views.fixed(2)(best['timing_sharpe'])}, and {luck} ({views.fixed(2)(best['timing_luck'])})."
        )

    def about(self) -> Html:
        """What the family assumes, and the questions it answers well and badly."""
        f = self.family
        return Html(
            f"<p>{escape(f.assumes)}</p><p><b>Answers well:</b> {escape(f.good)}</p>"
            f"<p><b>Answers badly:</b> {escape(f.bad)}</p>"
        )

    def ranking(self) -> Html:
        """Show the table of its models; names lead to their cards."""
        links = {e.model: f"#{e.model}" for e in self.results}
        columns = views.BOARDS[self.aim.proof]
        rows = views.board(self.board.rows, columns, links=links)
        if len(self.parts) == len(self.matrices):
            return Html(rows)
        all_names = views.board(together(self.board, self.results), columns, links=links)
        return Html(f"{all_names}<details><summary>A row for each name</summary>{rows}</details>")

    def intervals(self) -> go.Figure:
        """What every model adds, with its interval; of a panel one mark for each, of all tickers together."""
        return picture(together(self.board, self.results), self.board.luck, self.matrices)

    def trading(self) -> Html:
        """Say how a forecast is traded, and what a trade pays."""
        if not self.aim.pays:
            return Html(f"<p>Nothing is traded on a forecast of {escape(self.aim.title)}.</p>")
        cost = views.number(self.protocol.cost_bps)
        return Html(
            "<p>The family's best model by deflated Sharpe, thick; its others, thin; buy-and-hold, grey. Every trade "
            f"pays {cost} basis points per side.</p>"
        )

    def costs(self) -> Html:
        """Annual Sharpe ratio of the best models at other costs, and the cost at which nothing is left."""
        rows: list[list[object]] = []
        for e in self.bests if self.aim.pays else []:
            left = sensitivity(e.forecasts, self.aim.legs)["sharpe"].tolist()
            rows.append([f"{e.model} on {e.ticker}", *left, e.metrics["breakeven_bps"]])
        if not rows:
            return Html("")
        heads = ["Model", *(f"{bps:g} bps" for bps in GRID), "Break-even, bps"]
        said = "Annual Sharpe ratio by what a trade costs per side"
        return Html(views.table(rows, heads, caption=said, write=views.fixed(2)))

    def equity(self) -> list[go.Figure]:
        """Wealth of the best model of each ticker against holding it, the others thin; none where nothing is traded."""
        verdict = self.board.rows.set_index("key")["verdict"]
        return [
            views.equity(e, self.ran(e.ticker), doubt="" if skill.shows(verdict[e.key]) else DOUBT)
            for e in (self.bests if self.aim.pays else [])
        ]

    def forecasts(self) -> list[go.Figure]:
        """Forecast, interval and outcome of the best model of each ticker."""
        unit = f"{self.aim.name}, %" if self.aim.name in ("return", "excess") else self.aim.unit
        return [views.forecasts(e, unit=unit) for e in self.bests]

    def regimes(self) -> Html:
        """Show where it worked by regime, labelled by what was known the day before the return began.

        Annual Sharpe ratios net of costs; where a target is proved by loss, the share of the best baseline's that is
        saved.
        """
        if self.aim.proof == "loss":
            return self._saved_by_regime()
        parts = []
        for matrix in self._shown():
            labels = regimes.detect(matrix.prices).shift(1)
            states = [("volatility", s) for s in regimes.VOLATILITY] + [("trend", s) for s in regimes.TREND]
            rows: list[list[object]] = []
            order = self.board.rows[self.board.rows["ticker"] == matrix.name]["name"]
            ran = {e.model: e for e in self.ran(matrix.name)}
            series = [(n, ran[n].forecasts["net"]) for n in order if n in ran]
            if series:
                series.append(("buy-and-hold", next(iter(ran.values())).forecasts["benchmark"]))
            for name, net in series:
                inside = [net[labels.loc[net.index, kind] == state] for kind, state in states]
                rows.append([name, *(metrics.sharpe(r) if len(r) > 60 else float("nan") for r in inside)])
            days = len(series[0][1]) if series else 0
            said = f"{matrix.name}: annual Sharpe ratio net of costs in {days} sessions, by regime known the day before"
            heads = ["Model", *(f"{s} {kind}" if kind == "volatility" else s for kind, s in states)]
            parts.append(views.table(rows, heads, caption=said, write=views.fixed(2)))
        return Html("".join(parts))

    def _shown(self) -> list[Matrix]:
        """Tickers that have tables of their own: those of the figures."""
        return [self.parts[e.ticker] for e in self.bests] or list(self.parts.values())[:DRAWN]

    def _saved_by_regime(self) -> Html:
        parts = []
        for matrix in self._shown():
            labels = regimes.detect(matrix.prices)
            states = [("volatility", s) for s in regimes.VOLATILITY] + [("trend", s) for s in regimes.TREND]
            rows: list[list[object]] = []
            for e in self.ran(matrix.name):
                inside = [e.forecasts[labels.loc[e.forecasts.index, kind] == state] for kind, state in states]
                saved = [gain(f, self.horizon, self.aim)["gain"] if len(f) > 60 else float("nan") for f in inside]
                rows.append([e.model, *saved])
            said = f"{matrix.name}: share of the best baseline's loss that is saved, %, by regime known on the day"
            heads = ["Model", *(f"{s} {kind}" if kind == "volatility" else s for kind, s in states)]
            parts.append(views.table(rows, heads, caption=said, write=views.percent))
        return Html("".join(parts))

    def residuals(self) -> Html:
        """Test the best model's errors, in words."""
        parts = []
        for e in self.bests:
            rows = [[f.test, f.statistic, f.p_value, f.words] for f in residual_tests(e)]
            said = f"Errors of {e.model} on {e.ticker}, per unit of volatility"
            parts.append(views.table(rows, ["Test", "Statistic", "p value", "In words"], caption=said))
        return Html("".join(parts))

    def cards(self) -> Html:
        """Show the card of every model of the family, folded, with what its fits left out and warned of."""
        parts = []
        for spec in self.family.specs:
            warned = sorted({w for e in self.results if e.model == spec.name for w in e.meta.get("warnings", [])})
            said = f'<p class="quiet">Warned: {escape("; ".join(warned))}</p>' if warned else ""
            bore = sorted(
                {f"{p} of {e.ticker}" for e in self.results if e.model == spec.name and (p := e.meta.get("policy"))}
            )
            said += f'<p class="quiet">Learned in the last fold from {escape("; ".join(bore))}</p>' if bore else ""
            name = escape(spec.name)
            parts.append(f'<details id="{name}"><summary>{name}</summary>{views.card(spec.card)}{said}</details>')
        return Html("".join(parts))

    def provenance(self) -> Html:
        """Where every number came from, under which terms, and the end of the audit trail."""
        missing = pd.DataFrame(
            [(m.name, f, why) for m in self.matrices for f, why in m.unavailable.items()], columns=["t", "f", "w"]
        )
        absent = views.table(missing.to_numpy().tolist(), ["Ticker", "Feature", "Why it is not used"])
        run = f"Made {escape(self.made)} · run <code>{escape(self.run_id)}</code> · " if self.run_id else ""
        return Html(
            origins(self.matrices)
            + f"<details><summary>{len(missing)} features that this data cannot give</summary>{absent}</details>"
            + f'<p class="quiet">{run}Audit head <code>{escape(str(audit.head()))}</code></p>'
        )
