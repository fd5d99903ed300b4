"""What the factor notebook shows, one method a section: the tear sheet of a factor on a universe."""

import tempfile
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from mltrainer import store, views
from mltrainer.data.dates import Day
from mltrainer.data.universes import universe as named
from mltrainer.errors import BadInput
from mltrainer.evaluation.factor import factor
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.tearsheet import UNPROVEN
from mltrainer.paths import notebooks
from mltrainer.reports.execution import execute
from mltrainer.reports.family import Html
from mltrainer.reports.index import origins
from mltrainer.reports.pages import whole
from mltrainer.settings import settings
from mltrainer.trust import audit
from mltrainer.views import factor as figures


class FactorPage:
    """A factor, named as `mltrainer.factor` takes it, across the names of a universe.

    Parameters
    ----------
    name : a feature of a share, or a model whose forecasts out of sample are the factor.
    universe : "sample20", "dow", a text file, or tickers separated by commas.
    start, end, horizon, q, cost_bps, share : as for `mltrainer.factor`; an empty text is no bound.
    panel, ranked : of a model, as for `mltrainer.Protocol`.
    """

    def __init__(
        self,
        name: str,
        universe: str,
        *,
        start: Day = None,
        end: Day = None,
        horizon: int = 5,
        q: int = 5,
        cost_bps: float = 5.0,
        share: float = 0.01,
        panel: str = "pooled",
        ranked: bool = False,
    ) -> None:
        several = "," in universe
        self.universe = None if several else named(universe)
        self.sheet = factor(
            name,
            self.universe or [t.strip() for t in universe.split(",")],
            start=start or None, end=end or None, horizon=horizon, q=q, cost_bps=cost_bps, share=share,
            protocol=Protocol(panel=panel, ranked=ranked),
        )  # fmt: skip

    # -- the answer ------------------------------------------------------------------------------------------

    def opening(self) -> Html:
        """Title, mode, the answer in one sentence, the first figures."""
        sheet = self.sheet
        whose = f"the names of {self.universe.name}" if self.universe else f"these {len(sheet.tickers)} names"
        question = f"Does {sheet.name} order {whose} over {sheet.horizon} sessions?"
        note = f"{self.universe.name}: {self.universe.note}" if self.universe else ""
        return Html(
            f"{views.banner(settings().data_mode, self._last)}<h1>{escape(question)}</h1>"
            f'<p class="lede">{escape(sheet.sentence())}</p>{views.figures(self._headline())}'
            + views.asides(filter(None, [note, UNPROVEN if sheet.of == "own" else ""]))
        )

    def _headline(self) -> list[tuple[str, str, str]]:
        s = self.sheet.summary
        pays = self.sheet.pays.loc["long-short"]
        one, two, three = (views.fixed(digits) for digits in (1, 2, 3))
        inside = f"HAC t {one(s['t_neutral'])}, of {s['names_with_sector']} names with a known sector"
        return [
            ("Mean IC", three(s["ic"]), f"95 % interval {three(s['ic_low'])} to {three(s['ic_high'])}"),
            ("ICIR", three(s["icir"]), f"mean over deviation of a session's IC; HAC t {one(s['t'])}"),
            (
                "p, names exchanged",
                views.number(s["p_exchanged"], 2),
                "luck has it as far from zero where names swap histories",
            ),
            ("IC within sectors", three(s["ic_neutral"]), inside),
            (
                "Spread, bps",
                views.number(s["spread"] * 1e4),
                f"highest less lowest part; HAC t {one(s['spread_t'])}",
            ),
            ("Long-short Sharpe", two(pays["sharpe"]), f"annual, net; standard error {two(pays['sharpe_error'])}"),
        ]

    # -- sections --------------------------------------------------------------------------------------------

    def coefficients(self) -> go.Figure:
        """IC by month and over the last year."""
        return figures.coefficients(self.sheet, self._corner)

    def decay(self) -> list[go.Figure | Html]:
        """Mean IC over 1 to 21 sessions, drawn and in numbers."""
        rows = [[str(h), r["mean"], r["ratio"], r["t"], r["low"], r["high"]] for h, r in self.sheet.decay.iterrows()]
        heads = ["Sessions", "Mean IC", "ICIR", "HAC t", "95 % from", "to"]
        return [figures.decay(self.sheet, self._corner), Html(views.table(rows, heads, write=views.fixed(3)))]

    def quantiles(self) -> list[go.Figure | Html]:
        """Mean return of each part, drawn and in numbers."""
        rows = [
            [str(n), r["mean"] * 1e4, r["excess"] * 1e4, r["t"], r["sessions"]]
            for n, r in self.sheet.by_quantile.iterrows()
        ]
        heads = ["Part", "Mean, bps", "Excess, bps", "HAC t", "Sessions"]
        table = views.table(rows, heads, write=[views.number, *[views.fixed(1)] * 3, views.fixed(0)])
        return [figures.quantiles(self.sheet, self._corner), Html(table)]

    def wealth(self) -> go.Figure:
        """Wealth of the portfolios, net of costs."""
        return figures.wealth(self.sheet, self._corner)

    def pays(self) -> Html:
        """What each portfolio leaves, what it trades, and how much it could hold."""
        pays = self.sheet.pays
        rows = [[head, *(pays[name] * scale)] for name, (head, scale) in PAYS.items()]
        why = self.sheet.volume[1]
        said = f"Capacity at {self.sheet.share:.1%} of volume" + (f" is not known: {why}." if why else f", {CAPACITY}.")
        return Html(views.table(rows, ["Portfolio", *map(str, pays.index)]) + views.asides([said]))

    def turnover(self) -> Html:
        """How fast the parts change hands."""
        rows = [[str(n), *r.tolist()] for n, r in self.sheet.turnover.iterrows()]
        said = "Share of names that are new in the lowest and in the highest part, and autocorrelation of the ranks"
        heads = ["Sessions", "Lowest", "Highest", "Ranks"]
        return Html(views.table(rows, heads, caption=said, write=views.fixed(3)))

    def names(self) -> list[go.Figure | Html]:
        """A row per name."""
        rows = [
            [f"{ticker}, {r['sector']}".rstrip(", "), *(r[c] * scale for c, (_, scale, _) in NAMES.items())]
            for ticker, r in self.sheet.names.sort_values("adds", ascending=False).iterrows()
        ]
        heads, _, writers = zip(*NAMES.values(), strict=True)
        table = views.table(rows, ["Name", *heads], caption=ADDS, write=[views.number, *writers])
        return [figures.names(self.sheet, self._corner), Html(table)]

    def provenance(self) -> Html:
        """Where every number came from, under which terms, and the end of the audit trail."""
        head = f'<p class="quiet">Audit head <code>{escape(str(audit.head()))}</code></p>'
        series = f"{len({d.name for d in self.sheet.matrix.sources})} series, each with its origin"
        return Html(f"<details><summary>{series}</summary>{origins([self.sheet.matrix])}</details>{head}")

    @property
    def _last(self) -> str:
        return str(self.sheet.scores.index[-1].date())

    @property
    def _corner(self) -> str:
        where = self.universe.name if self.universe else ", ".join(self.sheet.tickers[:5])
        return f"{where}, {len(self.sheet.tickers)} names, to {self._last}"


def write(to: Path, name: str, universe: str, **knobs: Any) -> Path:
    """Execute the notebook of a factor and write its page, as one file that opens offline.

    Parameters
    ----------
    to : file to write.
    name, universe, knobs : as for `FactorPage`; the notebook calls `q` quantiles.
    """
    if not to.parent.is_dir():
        raise BadInput(f"{str(to.parent)[:80]!r} is no folder; name a file in one that is there")
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".") as work:
        given = {"factor": name, "universe": universe} | knobs
        if why := execute(notebooks() / "reports" / "factor.ipynb", given, Path(work), "factor"):
            raise BadInput(f"the page of {name} failed: {why}")
        store.write_atomic(to, whole((Path(work) / "factor.html").read_text(encoding="utf-8")))
    return to


CAPACITY = "in dollars of adjusted prices: at so much the median trade meets that share in its tightest name"
ADDS = "Sessions in the lowest and highest part, %, and what a name adds to long-short before costs, % a year"
PAYS = {  # head, and what turns a figure into its unit
    "gross_return": ("Before costs, % a year", 100),
    "net_return": ("Return, % a year", 100),
    "volatility": ("Volatility, % a year", 100),
    "sharpe": ("Sharpe ratio", 1),
    "sharpe_error": ("its standard error", 1),
    "max_drawdown": ("Drawdown, %", 100),
    "turnover": ("Turnover, × a year", 1),
    "breakeven_bps": ("Break-even cost, bps", 1),
    "capacity": ("Capacity, $", 1),
}
NAMES = {  # head, scale, how it is written
    "ic": ("IC", 1, views.fixed(3)),
    "t": ("HAC t", 1, views.fixed(1)),
    "lowest": ("Lowest", 100, views.fixed(0)),
    "highest": ("Highest", 100, views.fixed(0)),
    "adds": ("Adds", 100, views.fixed(1)),
}
