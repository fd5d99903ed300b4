"""The page of a walk through a span: which regimes held, which alerts fired, how much was held, and how it ended."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from mltrainer import store, views
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput
from mltrainer.reports.family import Html
from mltrainer.reports.pages import figure_html, page, whole
from mltrainer.reports.recommended import section
from mltrainer.settings import settings
from mltrainer.trading.alerts import replay
from mltrainer.trading.alerts.checking import named
from mltrainer.trading.portfolio.inputs import closes
from mltrainer.trading.portfolio.walk import HELD_BACK, HOLD, NAIVE, walk_forward
from mltrainer.trading.regimes import regimes
from mltrainer.trust import audit

WEEK, YEAR = 5, 252
KINDS = ("regime_change", "stop_loss", "target_reached", "exit_signal", "portfolio_deviation")
Section = Callable[[Sequence[str], str, str], str]  # of tickers, first and last session: HTML, "" where there is none


class WalkPage:
    """What would have been said and held in a span, session by session, by what was known on the day.

    Parameters
    ----------
    tickers : what is held in equal weights; the regimes are those of the first.
    start, end : first and last day.
    target : annual volatility to which the sized book is held by cash.
    recommended : makes the section of what was recommended in the span, "" where there was nothing.
    """

    def __init__(
        self, tickers: Any, start: Day, end: Day, *, target: float = 0.10, recommended: Section = section
    ) -> None:
        self.tickers, self.target, self.recommended = named(tickers), target, recommended
        if not self.tickers or start is None or end is None:
            raise BadInput("a walk needs a ticker, a start and an end")
        how: dict[str, Any] = {"sessions": YEAR, "every": WEEK, "start": start, "volatility_target": target}
        self.contest = walk_forward(closes(self.tickers, as_of=end), methods=[], **how)
        self.replay = replay(self.tickers, kinds=KINDS, start=start, end=end)
        known = regimes(self.tickers[0], as_of=end)
        self.history = known.history.loc[self.start :]

    @property
    def start(self) -> str:
        """First session of the book."""
        return str(self.contest.returns.index[0].date())

    @property
    def end(self) -> str:
        """Last session."""
        return str(self.contest.returns.index[-1].date())

    @property
    def title(self) -> str:
        """The question."""
        n = len(self.tickers) - 1
        names = f"{self.tickers[0]} and {n} other{'s' * (n > 1)}" if n else self.tickers[0]
        return f"{names}, {self.start[:4]} to {self.end[:4]}: what would have been said, and what came of it?"

    def _row(self, name: str) -> Any:
        return self.contest.rows.set_index("method").loc[name]

    @property
    def _cash(self) -> str:
        return f"{NAIVE}{HELD_BACK}{self.target:.0%}"

    def sentence(self) -> str:
        """How it ended, in one sentence."""
        held, sized = self._row(HOLD), self._row(self._cash)
        ends = ((1 + self.contest.returns[[HOLD, self._cash]]).prod() - 1).tolist()
        better = "less" if sized["max_drawdown"] < held["max_drawdown"] else "no less"
        return (
            f"Bought and held it ended {ends[0]:+.1%} and fell {held['max_drawdown']:.0%} from its peak on the way; "
            f"sized to a volatility of {self.target:.0%} a year it ended {ends[1]:+.1%} and fell "
            f"{sized['max_drawdown']:.0%}, {better} than without sizing. {self.replay.sentence()}."
        )

    def opening(self) -> Html:
        """Mode, question, how it ended, the first figures."""
        judged = self.replay.alerts["right"].dropna()
        realized = f"at {self._row(self._cash)['volatility']:.1%} of volatility a year; aim {self.target:.0%}"
        items = [
            ("Alerts", str(len(self.replay.alerts)), f"{len(judged)} of them can be judged by what came next"),
            ("False alarms, %", views.percent(float((judged == 0).mean())), "of the judged; any day's stands below"),
            ("Largest loss held, %", views.percent(self._row(HOLD)["max_drawdown"]), "from a peak, bought once"),
            (
                "Largest loss sized, %",
                views.percent(self._row(self._cash)["max_drawdown"]),
                f"net of costs, {realized}",
            ),
        ]
        return Html(
            f"{views.banner(settings().data_mode, self.end)}<h1>{escape(self.title)}</h1>"
            f'<p class="lede"><b>How it ended.</b> {escape(self.sentence())}</p>{views.figures(items)}'
        )

    def market(self) -> Any:
        """Figure: the price of the first ticker, shaded by regime."""
        share = self.history["regime"].value_counts(normalize=True)
        said = ", ".join(f"{name} on {part:.0%}" for name, part in share.items())
        return views.regimes(self.history, self.tickers[0], f"{self.tickers[0]}: {said} of the sessions")

    def books(self) -> tuple[Any, Any]:
        """Figures: wealth and losses of the books."""
        shown = [HOLD, NAIVE, self._cash]
        return self.contest.figure(*shown), self.contest.fallen(*shown)

    def quarters(self) -> pd.DataFrame:
        """A row a quarter: the regime most sessions had, mean size, returns of the held and the sized book, alerts."""
        by = self.contest.returns.groupby(pd.DatetimeIndex(self.contest.returns.index).to_period("Q"))
        earned = by[[HOLD, self._cash]].apply(lambda r: (1 + r).prod() - 1)
        labels = self.history["regime"].groupby(pd.DatetimeIndex(self.history.index).to_period("Q"))
        said = labels.agg(lambda x: str(x.mode().iloc[0]) if x.notna().any() else "")
        held = self.contest.exposure[self._cash]
        size = held.groupby(pd.DatetimeIndex(held.index).to_period("Q")).mean()
        fired = pd.DatetimeIndex(self.replay.alerts["session"]).to_period("Q").value_counts()
        rows = {"regime": said, "size": size, "held": earned[HOLD], "sized": earned[self._cash]}
        return pd.DataFrame(rows).join(fired.rename("alerts")).fillna({"alerts": 0}).loc[earned.index]

    def parts(self) -> list[tuple[str, str]]:
        """Head and HTML of each part, those without content left out."""
        table = self.quarters()
        quarters = [
            (str(q), said, 100 * size, 100 * held, 100 * sized, str(int(n)))
            for q, (said, size, held, sized, n) in zip(table.index, table.to_numpy(object).tolist(), strict=True)
        ]
        heads = ("Quarter", "Regime", "Size, %", "Held, %", "Sized, %", "Alerts")
        rates = [
            (f"{kind} {what}".replace("_", " "), n, judged, 100 * wrong, 100 * base, p)
            for kind, what, n, judged, wrong, base, p in self.replay.rates[RATES].to_numpy(object).tolist()
        ]
        rate_heads = ("Alert", "Fired", "Judged", "False, %", "Any day, %", "p")
        columns = self.replay.alerts[["session", "subject", "severity", "message", "right"]]
        fired = [(*row[:4], RIGHT.get(row[4], "")) for row in columns.to_numpy(object).tolist()]
        listed = views.table(fired, ("Session", "Of", "Severity", "What was said", "Right?"))
        alerts = f"<details><summary>All {len(fired)} alerts</summary>{listed}</details>" if fired else ""
        found = [
            ("", self.opening().text),
            ("Quarter by quarter", views.table(quarters, heads, write=views.fixed(1)) + views.asides([READING])),
            ("The market and its regimes", figure_html(self.market())),
            ("What was held", "".join(map(figure_html, self.books()))),
            ("Which alerts fired, and were they right?", views.table(rates, rate_heads) + alerts),
            ("What was recommended", self.recommended(self.tickers, self.start, self.end)),
            ("Where every number comes from", self.provenance().text),
        ]
        return [(head, text) for head, text in found if text]

    def provenance(self) -> Html:
        """Source of the closes, and the end of the audit trail."""
        p = self.contest.provenance
        said = [f"Closes of {', '.join(self.tickers)}; {p.note}; content {p.content_sha256[:16]}, mode {p.mode}"]
        return Html(f'{views.asides(said)}<p class="quiet">Audit head <code>{escape(str(audit.head()))}</code></p>')

    def html(self) -> str:
        """All of it as one page that opens by itself."""
        body = "".join(f"{f'<h2>{escape(head)}</h2>' if head else ''}{text}" for head, text in self.parts())
        return whole(page("family", title=self.title, body=body, of_run=False))


RATES = ["kind", "condition", "alerts", "judged", "false_alarms", "base", "p"]
RIGHT = {1.0: "yes", 0.0: "no"}
READING = (
    "Size is the share of the wealth that the sized book held, to keep its forecast volatility at the target; the rest "
    "was cash. Held was bought once at the start; both are net of costs of 10 basis points a side. The regime is that "
    "of most of its sessions."
)


def write(to: Path, tickers: Any, start: Day, end: Day, **how: Any) -> Path:
    """Write the page of a walk to one file."""
    if not to.parent.is_dir():
        raise BadInput(f"{str(to.parent)[:80]!r} is no folder; name a file in one that is there")
    store.write_atomic(to, WalkPage(tickers, start, end, **how).html())
    return to
