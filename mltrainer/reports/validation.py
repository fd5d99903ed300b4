"""What the validation notebook shows, one method a section: one model, asked what a validator would ask."""

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mltrainer import views
from mltrainer.data.dates import Day
from mltrainer.errors import Unavailable
from mltrainer.evaluation import skill, validation
from mltrainer.evaluation.residuals import residual_tests
from mltrainer.models import catalog
from mltrainer.reports.family import FamilyPage, Html
from mltrainer.reports.index import asked
from mltrainer.settings import settings
from mltrainer.trading import regimes
from mltrainer.views import validation as figures

PICKED = " It was picked as the strongest of many: what looks good below is what luck's best would look like, too."
SHOWN = 12  # features whose importance is listed
PARTS = {"sessions": "Sessions", "ic": "IC", "gain": "Loss saved", "coverage": "Coverage", "hit_rate": "Hit rate",
         "timing_sharpe": "Timing Sharpe", "sharpe": "Sharpe"}  # fmt: skip


class ValidationPage:
    """One model on one ticker, its result and everything a validator asks of it.

    Parameters
    ----------
    model : a name of the catalog; in a report the one with the strongest evidence.
    ticker : whose result is looked at; of a panel the others are compared with it.
    others : as for `FamilyPage`.
    """

    def __init__(
        self,
        model: str,
        ticker: str,
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
    ) -> None:
        self.spec = catalog.spec(model)
        self.page = FamilyPage(
            self.spec.family, ticker, start=start, end=end, horizon=horizon, target=target, protocol=protocol,
            matrices=matrices, ledger=ledger, run_id=run_id, made=made, models=(model,),
        )  # fmt: skip
        own = [e for e in self.page.results if e.model == model and e.ok]
        self.peers = {e.ticker: e for e in own}
        if ticker not in self.peers:
            raise Unavailable(f"{model} has no result on {ticker} that could be validated")
        self.result = self.peers[ticker]
        self.matrix = next(m for m in self.page.matrices if ticker in m.tickers)
        self.part, self.aim = self.page.parts[ticker], self.page.aim

    # -- the answer ------------------------------------------------------------------------------------------

    def opening(self) -> Html:
        """Title, mode, the verdict and how to read the page."""
        e = self.result
        as_of = str(self.part.X.index[-1].date())
        verdict = str(self.page.board.rows.set_index("key").loc[e.key, "verdict"])
        picked = PICKED if self.page.run_id and not skill.shows(verdict) else ""
        said = f"{e.model} on {e.ticker}: {verdict}.{picked}"
        return Html(
            f"{views.banner(settings().data_mode, as_of)}<h1>Validation of {escape(e.model)} on "
            f'{escape(asked([self.part]))}</h1><p class="lede">{escape(said)}</p>'
        )

    def bars(self) -> Html:
        """How long a record would have to be."""
        rows = [[n, v, w] for n, v, w in validation.bars(self.result, self.page.board.luck["effective"])]
        return Html(views.table(rows, ["Bar", "Value", "In words"]))

    # -- stability -------------------------------------------------------------------------------------------

    def over_time(self) -> list[go.Figure | Html]:
        """Figures by test block and by year."""
        years, column = validation.years(self.result), "gain" if self.aim.proof == "loss" else "ic"
        good = int((years[column] > 0).sum())
        title = f"{PARTS[column]} above zero in {good} of {int(years[column].notna().sum())} years"
        corner = f"{self.result.model} on {self.result.ticker}"
        drawn = figures.over_time(years, column, title=title, unit=PARTS[column], corner=corner)
        return [drawn, self._parts(validation.folds(self.result), "Test block")]

    def by_state(self) -> list[Html]:
        """Figures by regime known the day before, by liquidity, and by ticker where there are several."""
        index = self.result.forecasts.index
        labels = regimes.detect(self.part.prices).shift(1).reindex(index)
        found = []
        for kind, states in (("volatility", regimes.VOLATILITY), ("trend", regimes.TREND)):
            table = validation.parts(self.result, labels[kind])
            found.append(self._parts(table.reindex([s for s in states if s in table.index]), f"Regime: {kind}"))
        if "dollar_volume_ratio_21_252" in self.part.X:
            traded = self.part.X["dollar_volume_ratio_21_252"]
            table = validation.terciles(self.result, traded, ("little traded", "as usual", "much traded"))
            found.append(self._parts(table, "Liquidity"))
        if len(self.peers) > 1:
            rows = {t: validation.parts(e, pd.Series(t, e.forecasts.index)).iloc[0] for t, e in self.peers.items()}
            found.append(self._parts(pd.DataFrame(rows).T.sort_values("ic"), "Ticker"))
        return found

    def _parts(self, table: pd.DataFrame, what: str) -> Html:
        shown = [c for c in PARTS if c in table and table[c].notna().any()]
        rows = [[str(i), *(float(v) for v in row)] for i, row in zip(table.index, table[shown].to_numpy(), strict=True)]
        write = [views.number, *(views.fixed(0) if c == "sessions" else views.fixed(3) for c in shown)]
        return Html(views.table(rows, [what, *(PARTS[c] for c in shown)], write=write))

    # -- promises --------------------------------------------------------------------------------------------

    def promises(self) -> Html:
        """Interval, tails, comparison with the baseline: what was promised and what came."""
        checks = validation.forecast_checks(self.result)
        checks += validation.coverage_checks(self.result, self.page.protocol.interval)
        if self.aim.pays:
            checks += validation.tail_checks(self.result.forecasts["net"])
        rows = [[c.test, c.statistic, c.p_value, c.words] for c in checks]
        return Html(views.table(rows, ["Test", "Statistic", "p value", "In words"]))

    def residuals(self) -> Html:
        """Tests of its errors, in words."""
        rows = [[f.test, f.statistic, f.p_value, f.words] for f in residual_tests(self.result)]
        return Html(views.table(rows, ["Test", "Statistic", "p value", "In words"]))

    # -- other cuts and the model itself ---------------------------------------------------------------------

    def cuts(self) -> Html:
        """The same model where time is cut so that it trains on the future: for comparison, never as evidence."""
        others = validation.diagnose(self.spec, self.matrix, self.page.protocol)
        if not others:
            return Html("<p>A model that lives in the order of time, or of a panel, has no such cuts.</p>")
        table = validation.gaps(self.result, others)
        r2 = table["r2_oos"]
        claimed = views.fixed(3)(r2.get("shuffled K-fold", float("nan")))
        said = f"Shuffled K-fold claims an out-of-sample R² of {claimed} (it trains on the future), the walk-forward "
        said += f"finds {views.fixed(3)(r2['walk-forward'])}."
        rows = [[str(i), *map(float, row)] for i, row in zip(table.index, table.to_numpy(), strict=True)]
        told = views.table(rows, ["Cut", "R² oos", "IC", "Sharpe"], write=views.fixed(3))
        return Html(f"<p>{escape(said)}</p>{told}")

    def inside(self) -> list[go.Figure | Html]:
        """Permutation importance in the folds, and the partial dependence of the three that matter most."""
        why = validation.inspectable(self.spec, self.result, self.matrix)
        if why:
            return [Html(f"<p>What it uses is not shown: {escape(why)}.</p>")]
        found = validation.importance(self.spec, self.matrix, self.page.protocol)
        top = found.head(SHOWN)
        rows = [[str(i), r["loss"] * 100, r["folds"] * 100] for i, r in top.iterrows()]
        heads = ["Feature", "Rise of the loss, %", "Folds in which it rose, %"]
        best = list(map(str, found.index[:3]))
        table = validation.dependence(self.spec, self.matrix, self.page.protocol, best)
        drawn = figures.dependence(
            table, title=f"What the last fold's forecast does with {', '.join(best)}", corner=self.result.ticker
        )
        try:
            shares = validation.shapley(self.spec, self.matrix, self.page.protocol).head(SHOWN)
            told = views.table([[str(i), v] for i, v in shares["size"].items()], ["Feature", "Mean Shapley value, sd"])
            exact = f"<p>Exact shares of the last fold's forecasts:</p>{told}"
        except Unavailable as error:
            exact = f'<p class="quiet">No shares by Shapley: {escape(str(error))}.</p>'
        worse = int((found["loss"] > 0).sum())
        said = f"{worse} of {len(found)} features make forecasts worse when exchanged; below zero is noise."
        return [Html(f"<p>{said}</p>{views.table(rows, heads, write=views.fixed(2))}"), drawn, Html(exact)]

    def provenance(self) -> Html:
        """Where every number came from."""
        return self.page.provenance()
