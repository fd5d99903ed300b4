"""What the family notebook shows, one method a section; it works in a report, in Lab and by itself."""

from collections.abc import Iterable
from html import escape

import pandas as pd
import plotly.graph_objects as go

from mltrainer import metrics, views
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput
from mltrainer.evaluation import engine, skill, study, trials
from mltrainer.evaluation.leaderboard import leaderboard
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.residuals import residual_tests
from mltrainer.models import catalog
from mltrainer.reports.index import origins
from mltrainer.settings import settings
from mltrainer.trading import regimes
from mltrainer.trust import audit


class Html:
    """A piece of a page."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text


class FamilyPage:
    """One family on some tickers: its results from the store, computed first where they are missing.

    Parameters
    ----------
    family : key of a family of the catalog.
    tickers : tickers, as a list or separated by commas.
    start, end, horizon : as for `mltrainer.matrix`; an empty text is no bound.
    run_id : the run this page belongs to, if any.
    """

    def __init__(
        self,
        family: str,
        tickers: str | Iterable[str],
        *,
        start: Day = None,
        end: Day = None,
        horizon: int = 5,
        run_id: str = "",
    ) -> None:
        specs = catalog.specs(family)
        names = [t.strip() for t in tickers.split(",")] if isinstance(tickers, str) else list(tickers)
        if not any(names):
            raise BadInput("no ticker was given; name at least one")
        self.family, self.run_id, self.horizon = catalog.FAMILIES[family], run_id, horizon
        self.matrices = [study.matrix(t, start=start or None, end=end or None, horizon=horizon) for t in names]
        # What a run could not finish is shown so and not tried again here, where no budget would end it.
        ended = _ended() if run_id else {}
        self.results = [
            ended.get(trials.key(s, m, Protocol())) or engine.run([s], [m], jobs=1, progress=False)[0]
            for m in self.matrices
            for s in specs
        ]
        self.board = leaderboard(self.results)

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
        return [e for m in self.matrices if (e := self.best(m.name)) is not None]

    # -- sections --------------------------------------------------------------------------------------------

    def opening(self) -> Html:
        """Title, mode, the answer in one sentence."""
        names = " and ".join(m.name for m in self.matrices)
        as_of = str(max(m.X.index[-1] for m in self.matrices).date())
        question = f"Can {self.family.title.lower()} forecast {names} {self.horizon} sessions ahead?"
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
        skilled = ran[ran["verdict"].map(skill.shows)]
        above = int((ran["timing_sharpe"] > ran["timing_luck"]).sum())
        best = ran.iloc[0]
        found = f"{len(skilled)} of its {len(ran)} models" if len(skilled) else f"None of its {len(ran)} models"
        luck = (
            f"{above} {'beats' if above == 1 else 'beat'} what luck alone would reach" if above else "none beats luck"
        )
        return (
            f"{found} {'show' if len(skilled) > 1 else 'shows'} evidence of skill after costs; "
            f"the timing of the best, {best['name']}, has an annual Sharpe ratio of "
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
        return Html(views.board(self.board.rows, links=links))

    def intervals(self) -> go.Figure:
        """Every model's Sharpe ratio with its interval."""
        return views.sharpes(self.board.rows, self.board.luck, corner=self._corner())

    def equity(self) -> list[go.Figure]:
        """Wealth of the best model of each ticker against holding it, the others thin."""
        return [views.equity(e, self.ran(e.ticker)) for e in self.bests]

    def forecasts(self) -> list[go.Figure]:
        """Forecast, interval and outcome of the best model of each ticker."""
        return [views.forecasts(e) for e in self.bests]

    def regimes(self) -> Html:
        """Show annual Sharpe ratios by regime, labelled by what was known the day before the return began."""
        parts = []
        for matrix in self.matrices:
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
        run = f"Run <code>{escape(self.run_id)}</code> · " if self.run_id else ""
        return Html(
            origins(self.matrices)
            + f"<details><summary>{len(missing)} features that this data cannot give</summary>{absent}</details>"
            + f'<p class="quiet">{run}Audit head <code>{escape(str(audit.head()))}</code></p>'
        )

    def _corner(self) -> str:
        m = self.matrices[0]
        return f"{', '.join(x.name for x in self.matrices)}, sessions to {m.X.index[-1].date()}"


def _ended() -> dict[str, Evaluation]:
    """Last attempt at every result that the ledger has no finished fit of."""
    rows = trials.ledger()
    finished = set(rows.loc[rows["status"] == "ok", "key"])
    lost = rows.loc[rows["status"] != "ok", "key"]
    last = {key.partition("#")[0]: key for key in lost}
    return {key: e for key, row in last.items() if key not in finished and (e := trials.load(row)) is not None}
