"""What the validation notebook shows, one method a section: one model, asked what a validator would ask."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mltrainer import views
from mltrainer.data.dates import Day
from mltrainer.errors import Unavailable
from mltrainer.evaluation import across, skill, validation
from mltrainer.evaluation.residuals import residual_tests
from mltrainer.evaluation.tearsheet import wide
from mltrainer.models import catalog
from mltrainer.reports.family import FamilyPage, Html
from mltrainer.reports.index import asked
from mltrainer.settings import settings
from mltrainer.trading import regimes
from mltrainer.views import validation as figures

PICKED = " It was picked as the strongest of many: what looks good below is what luck's best would look like, too."
SHOWN = 12  # features whose importance is listed
NO_TAIL = "Value at risk is not asked of the panel: what it earned is too short, or never moved."
VOLUME = "dollar_volume_ratio_21_252"
STATES = {
    "Regime: volatility": regimes.VOLATILITY,
    "Regime: trend": regimes.TREND,
    "Liquidity": ("little traded", "as usual", "much traded"),
}
COUNTS = ("sessions", "names")
PARTS = {"names": "Names", "sessions": "Sessions", "ic": "IC", "gain": "Loss saved", "coverage": "Coverage",
         "hit_rate": "Hit rate", "timing_sharpe": "Timing Sharpe", "sharpe": "Sharpe",
         "above": "Names above zero"}  # fmt: skip


class ValidationPage:
    """One model on one ticker, its result and everything a validator asks of it.

    Parameters
    ----------
    model : a name of the catalog; in a report the one with the strongest evidence.
    ticker : whose result is looked at in full; of a panel each part is of all names first.
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
        self.panel = len(self.peers) > 1

    # -- the answer ------------------------------------------------------------------------------------------

    def opening(self) -> Html:
        """Title, mode, the verdict and how to read the page."""
        e = self.result
        as_of = str(self.part.X.index[-1].date())
        verdict = str(self.page.board.rows.set_index("key").loc[e.key, "verdict"])
        picked = PICKED if self.page.run_id and not skill.shows(verdict) else ""
        said = f"{e.model} on {e.ticker}: {verdict}.{picked}{self._together()}"
        what = [self.matrix] if self.panel else [self.part]
        return Html(
            f"{views.banner(settings().data_mode, as_of)}<h1>Validation of {escape(e.model)} on "
            f'{escape(asked(what))}</h1><p class="lede">{escape(said)}</p>'
        )

    def _together(self) -> str:
        """What the panel says as a whole; empty of one ticker."""
        if not self.panel:
            return ""
        whole, write = self.result.meta.get("pooled", {}), views.fixed(2)
        said = f" Equal shares in all {len(self.peers)} names have a Sharpe ratio of {write(whole.get('sharpe'))}"
        ic = whole.get("ic_by_session", float("nan"))
        if ic == ic:
            said += f", and the mean rank correlation across names is {views.fixed(3)(ic)} "
            said += f"(t {views.fixed(1)(whole['ic_by_session_t'])})"
        return f"{said}. Each part below is of all names first, then of {self.result.ticker}."

    def _both(self, whole: list[Any], own: list[Any]) -> list[Any]:
        """Of a panel what is of all names, then what is of the one; of one ticker its own."""
        if not self.panel:
            return own
        heads = [Html(f"<h3>{escape(of)}</h3>") for of in (f"All {len(self.peers)} names", self.result.ticker)]
        return [heads[0], *whole, heads[1], *own]

    def bars(self) -> list[Html]:
        """How long a record would have to be."""

        def told(rows: list[tuple[str, float, str]]) -> list[Html]:
            return [Html(views.table([list(row) for row in rows], ["Bar", "Value", "In words"]))]

        luck = self.page.board.luck["effective"]
        net, timing = across.equal_shares(self.peers)
        return self._both(told(validation.lengths(timing, luck, len(net))), told(validation.bars(self.result, luck)))

    # -- stability -------------------------------------------------------------------------------------------

    @property
    def merit(self) -> str:
        """The figure that says whether something was added."""
        return "gain" if self.aim.proof == "loss" else "ic"

    def over_time(self) -> list[go.Figure | Html]:
        """Figures by test block and by year."""
        own, e = validation.years(self.result), self.result
        tables = {t: validation.years(peer) for t, peer in self.peers.items()} if self.panel else {}
        years = across.names_mean(tables, self.merit).sort_index() if self.panel else own
        good, of = int((years[self.merit] > 0).sum()), int(years[self.merit].notna().sum())
        who = f"{len(self.peers)} names, mean" if self.panel else e.ticker
        title = f"{PARTS[self.merit]} above zero in {good} of {of} years"
        drawn = figures.over_time(years, self.merit, title=title, unit=PARTS[self.merit], corner=f"{e.model} on {who}")
        blocks = self._parts(validation.folds(e), "Test block")
        if not self.panel:
            return [drawn, blocks]
        return self._both([drawn, self._parts(across.folds(self.peers, self.merit), "Test block")], [blocks])

    def by_state(self) -> list[Html]:
        """Figures by regime known the day before, by liquidity, and by ticker where there are several."""
        own = self._states(self.result.ticker)
        whole: list[Html] = []
        if self.panel:
            every = {t: self._states(t) for t in self.peers}
            for what in own:
                tables = {t: found[what] for t, found in every.items() if what in found and len(found[what])}
                whole.append(self._parts(across.names_mean(tables, self.merit).reindex(STATES[what]), what))
            rows = {t: validation.parts(e, pd.Series(t, e.forecasts.index)).iloc[0] for t, e in self.peers.items()}
            whole.append(self._parts(pd.DataFrame(rows).T.sort_values(self.merit), "Ticker"))
        lacks = [what for what in STATES if what not in own]
        why = [Html(f'<p class="quiet">Not by {w.lower()}: there is no volume of it.</p>') for w in lacks]
        return self._both(whole, [*(self._parts(table, what) for what, table in own.items()), *why])

    def _states(self, ticker: str) -> dict[str, pd.DataFrame]:
        """Of one name the figures by each kind of state it was in."""
        e, part = self.peers[ticker], self.page.parts[ticker]
        labels = regimes.detect(part.prices).shift(1).reindex(e.forecasts.index)
        found = {}
        for kind in ("volatility", "trend"):
            table = validation.parts(e, labels[kind])
            found[f"Regime: {kind}"] = table.reindex([s for s in STATES[f"Regime: {kind}"] if s in table.index])
        if VOLUME in part.X:
            found["Liquidity"] = validation.terciles(e, part.X[VOLUME], STATES["Liquidity"])
        return found

    def _parts(self, table: pd.DataFrame, what: str) -> Html:
        table = table.dropna(how="all")
        shown = [c for c in PARTS if c in table and table[c].notna().any()]
        rows = [[str(i), *(float(v) for v in row)] for i, row in zip(table.index, table[shown].to_numpy(), strict=True)]
        write = [views.number, *(views.fixed(0 if c in COUNTS else 3) for c in shown)]
        return Html(views.table(rows, [what, *(PARTS[c] for c in shown)], write=write))

    def decay(self) -> list[Html]:
        """For how many sessions the forecasts order the returns of the names."""
        why = across.no_decay(self.peers) if self.panel else "it takes names side by side, and this is one"
        if why:
            return [Html(f"<p>How long its order of names lasts is not shown: {escape(why)}.</p>")]
        table = across.decay(self.peers, wide(self.matrix.prices["entry"]))
        most = table.loc[[table["t"].abs().idxmax()]].iloc[0]
        said = f"The mean rank correlation is furthest from zero over {most.name} sessions: "
        said += f"{views.fixed(3)(most['mean'])} (HAC t {views.fixed(1)(most['t'])}); "
        said += f"it is the largest of {len(table)} horizons, and no test of its own."
        rows = [[str(h), *map(float, row)] for h, row in zip(table.index, table.to_numpy(), strict=True)]
        write = [views.number, views.fixed(4), views.fixed(3), views.fixed(1), views.fixed(0)]
        heads = ["Sessions held", "Mean IC", "ICIR", "HAC t", "Sessions"]
        return [Html(f"<p>{escape(said)}</p>{views.table(rows, heads, write=write)}")]

    # -- promises --------------------------------------------------------------------------------------------

    def promises(self) -> list[Html]:
        """Interval, tails, comparison with the baseline: what was promised and what came."""
        nominal = self.page.protocol.interval
        own = validation.forecast_checks(self.result) + validation.coverage_checks(self.result, nominal)
        if self.aim.pays:
            own += validation.tail_checks(self.result.forecasts["net"])
        return self._both(self._kept(nominal) if self.panel else [], [self._tests(own)])

    def _tests(self, found: Sequence[Any]) -> Html:
        rows = [[c.test, c.statistic, c.p_value, c.words] for c in found]
        return Html(views.table(rows, ["Test", "Statistic", "p value", "In words"]))

    def _kept(self, nominal: float) -> list[Html]:
        """Of all names: who was kept the promise of the interval, and the tail of equal shares in all of them."""
        table = across.by_name(self.peers, nominal)
        said = [self._broken(across.coverage(self.peers, nominal))]
        rows = [[str(t), *map(float, row)] for t, row in zip(table.index, table.to_numpy(), strict=True)]
        heads = ["Ticker", "Outcomes", "Outside, %", "Frequency p", "Clusters p", "Loss saved, %", "Beats p", "Sign p"]
        percent = [lambda v: views.fixed(1)(v * 100)]
        write = [views.number, views.fixed(0), *percent, *[views.fixed(2)] * 2, *percent, *[views.fixed(2)] * 2]
        said.append(Html(views.table(rows, heads, write=write)))
        if self.aim.pays:
            net, _ = across.equal_shares(self.peers)
            tails = validation.tail_checks(net)
            said.append(self._tests(tails) if tails else Html(f"<p>{NO_TAIL}</p>"))
        return said

    def _broken(self, found: Sequence[across.Broken]) -> Html:
        if not found:
            return Html("<p>No name has outcomes enough to test its interval.</p>")
        rows = [[b.test, b.sentence(), ", ".join(b.names) or "none"] for b in found]
        return Html(views.table(rows, ["Test", "In words", "Names"]))

    def residuals(self) -> list[Html]:
        """Tests of its errors, in words."""
        whole = [self._broken(across.residuals(self.peers))] if self.panel else []
        return self._both(whole, [self._tests(residual_tests(self.result))])

    # -- other cuts and the model itself ---------------------------------------------------------------------

    def cuts(self) -> Html:
        """The same model where time is cut so that it trains on the future: for comparison, never as evidence."""
        why = validation.undivided(self.spec, self.matrix, self.result.meta.get("fit_seconds", 0.0))
        if why:
            return Html(f"<p>Other cuts are not shown: {escape(why)}.</p>")
        table = across.gaps(self.peers, validation.diagnose(self.spec, self.matrix, self.page.protocol))
        r2 = table["r2_oos"]
        claimed = views.fixed(3)(r2.get("shuffled K-fold", float("nan")))
        mean = f", in the mean of {len(self.peers)} names" if self.panel else ""
        said = f"Shuffled K-fold claims an out-of-sample R² of {claimed} (it trains on the future), the walk-forward "
        said += f"finds {views.fixed(3)(r2['walk-forward'])}{mean}."
        rows = [[str(i), *map(float, row)] for i, row in zip(table.index, table.to_numpy(), strict=True)]
        told = views.table(rows, ["Cut", "R² oos", "IC", "Sharpe"], write=views.fixed(3))
        return Html(f"<p>{escape(said)}</p>{told}")

    def inside(self) -> list[go.Figure | Html]:
        """Permutation importance in the folds, and the partial dependence of the three that matter most."""
        why = validation.inspectable(self.spec, self.result, self.matrix, self.page.protocol)
        if why:
            return [Html(f"<p>What it uses is not shown: {escape(why)}.</p>")]
        found = validation.importance(self.spec, self.matrix, self.page.protocol)
        top = found.head(SHOWN)
        rows = [[str(i), r["loss"] * 100, r["folds"] * 100] for i, r in top.iterrows()]
        heads = ["Feature", "Rise of the loss, %", "Folds in which it rose, %"]
        best = list(map(str, found.index[:3]))
        table = validation.dependence(self.spec, self.matrix, self.page.protocol, best)
        who = f"{len(self.peers)} names together" if self.panel else self.result.ticker
        drawn = figures.dependence(
            table, title=f"What the last fold's forecast does with {', '.join(best)}", corner=who
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
