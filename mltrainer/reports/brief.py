"""What the daily brief shows, one method a section: what to hold of it, why, and what is not known."""

import re
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mltrainer import store, views
from mltrainer.data import quality, universes
from mltrainer.data.dates import Day
from mltrainer.errors import BadInput, MltrainerError
from mltrainer.evaluation import judgments, trials
from mltrainer.evaluation.significance import SIZE
from mltrainer.features.targets import target
from mltrainer.paths import notebooks
from mltrainer.reports.execution import execute
from mltrainer.reports.family import Html
from mltrainer.reports.index import origins
from mltrainer.reports.pages import whole
from mltrainer.settings import settings
from mltrainer.trading import alerts, positions, recommendations, regimes
from mltrainer.trading.recommendations import deciding, known, records
from mltrainer.trading.recommendations.outcomes import rates_table
from mltrainer.trust import audit
from mltrainer.views.sizes import sizes

MARKETS = {"sample": "SPX"}  # whose regime is shown; live SPY
DRAWN = 504  # sessions of the figure of the regime
LATE = pd.Timedelta(days=7)  # of the calendar, beyond which another day is said


class BriefPage:
    """One day: the sentence, the regime, what is forecastable, sizes, recommendations, what is held, alerts, quality.

    Parameters
    ----------
    universe : a name or a text file, as for `mltrainer.universe`; or tickers separated by commas.
    as_of : a day; empty is the last session.
    horizon, volatility : as for `mltrainer.recommend`.
    account : of the portfolio; commit : whether what is recommended is written into its ledger.
    """

    def __init__(
        self,
        universe: str = "sample20",
        *,
        as_of: Day = None,
        horizon: int = 5,
        volatility: float = deciding.AIM,
        account: str = "main",
        commit: bool = True,
    ) -> None:
        named = universe in universes.UNIVERSES or universe.endswith(".txt") or "/" in universe
        asked: Any = universes.universe(universe) if named else [t.strip() for t in universe.split(",") if t.strip()]
        self.universe, self.account, self.day = universe, account, as_of or None
        knobs: dict[str, Any] = {"as_of": self.day, "horizon": horizon, "volatility": volatility, "commit": commit}
        self.found = recommendations.recommend(asked, **knobs)
        parts, _ = deciding.fetched(asked, self.day)
        self.bars = {d.name: d for d in parts}

    # -- the answer ------------------------------------------------------------------------------------------

    def opening(self) -> Html:
        """Mode, question, today's sentence, the first figures."""
        f = self.found
        kind = "" if f.live else " This page is historical: nothing on it is of today."
        question = f"How much of what is to be held after {f.as_of}?"
        return Html(
            f"{views.banner(f.mode, f.as_of)}<h1>{escape(question)}</h1>"
            f'<p class="lede"><b>In one sentence.</b> {escape(f.sentence())}{kind}</p>{views.figures(self._headline())}'
        )

    def _headline(self) -> list[tuple[str, str, str]]:
        rows, lost = self.found.given, self.found.refused
        views_ = int(rows["view"].ne("").sum())
        states = ", ".join(f"{n} {state}" for state, n in rows["regime"].replace("", "unknown").value_counts().items())
        held = f"of the wealth in {len(rows)} names; the rest is cash"
        return [
            ("Held, %", views.percent(rows["size"].sum()), held),
            ("Views on a return", str(views_), "issued only where the ledger of trials has evidence"),
            ("Volatility aimed at, %", views.percent(self.found.target), "a year, of all sizes together, at most"),
            ("Regimes, by price", states or views.DASH, "of the names, each against its own past"),
            *([("Refused", str(len(lost)), "names on whose data nothing may be recommended")] if lost else []),
        ]

    # -- sections --------------------------------------------------------------------------------------------

    def regime(self) -> list[go.Figure | Html]:
        """The state of the market, in a sentence and over two years."""
        name = MARKETS.get(settings().data_mode, "SPY")
        try:
            now = regimes.regimes(name if len(self.bars) > 1 else next(iter(self.bars)), as_of=self.found.as_of)
        except MltrainerError as error:
            return [Html(views.asides([f"The regime of {name} is not known: {error}."]))]
        words = [f"{what}: {why}." for what, why in now.unavailable.items()]
        if pd.Timestamp(self.found.as_of) - now.session > LATE:
            ends = f"The source of {name} ends on {now.session:%Y-%m-%d}"
            words.append(f"{ends}: this is not the state of the page's day.")
        shown = views.regimes(now.history.tail(DRAWN), now.data.name, now.sentence())
        return [shown, Html(views.asides(words))]

    def forecastable(self) -> Html:
        """What anybody knows, target by target: volatility always measured here, the rest from the ledger."""
        names = list(self.found.given["ticker"])
        risks = {t: known.volatility(self.bars[t].frame, self.found.horizon) for t in names}
        shares = [r.explained for r in risks.values()]
        said = f"in {sum(s > 0 for s in shares)} of {len(shares)} names more than the mean of the past"
        first: list[list[object]] = [
            ["the volatility", "HAR, plain", "measured here", f"{np.median(shares):.0%} explained (median); {said}"]
        ] if shares else []  # fmt: skip
        rows = [*first, *self._of_ledger(names)]
        note = (
            "A model counts where it is shown to add to the best plain forecast, among every trial there was, by what "
            "was known on this day."
        )
        heads = ["What is forecast", "Who", "Tried", "Finding"]
        empty = [] if len(rows) > len(first) else [
            "No model was tried on these names over this horizon; mltrainer map and mltrainer evaluate try some."
        ]  # fmt: skip
        return Html(views.table(rows, heads) + views.asides([*empty, note]))

    def _of_ledger(self, names: list[str]) -> list[list[object]]:
        rows = trials.ledger()
        rows = rows[rows["status"].eq("ok") & rows["mode"].eq(self.found.mode) & rows["ticker"].isin(names)]
        rows = rows[rows["horizon"].eq(self.found.horizon)]
        if rows.empty:
            return []
        judged = judgments.judgment(known=pd.DatetimeIndex(self.bars[names[0]].frame.index)).evidence
        return [_finding(str(what), same, judged) for what, same in rows.groupby("target", sort=True)]

    def sizes(self) -> list[go.Figure | Html]:
        """How much of each, drawn, and what gave way."""
        rows = self.found.given
        if rows.empty:
            return [Html(views.asides(["Nothing is sized, as nothing is recommended."]))]
        corner = f"{len(rows)} names, {rows['view'].eq('').sum()} without a view, to {self.found.as_of}"
        return [sizes(rows, corner=corner), Html(views.asides(self.found.notes))]

    def recommendations(self) -> Html:
        """One row a name, then why and what would change it, then how past ones ended."""
        rows, f = self.found.given, self.found
        lost = [f"{t} is refused: {why}" for t, why in f.refused.items()]
        table = records.table(rows) if len(rows) else ""
        until = f"Each expires on {rows['expiry'].iloc[0]}." if len(rows) else ""
        cards = "".join(_card(r) for r in rows.to_dict("records"))
        why = f"<details><summary>Why, and what would show it wrong, name by name</summary>{cards}</details>"
        return Html(table + views.asides([*lost, until]) + (why if cards else ""))

    def past(self) -> Html:
        """What became of earlier recommendations, as far as it was known on this day."""
        found = recommendations.history(as_of=self.found.as_of)
        before = found.rows["as_of"].lt(self.found.as_of).sum() if len(found.rows) else 0
        if not before:
            how = "mltrainer recommend --since 2007-01-03 --as-of 2009-12-31"
            return Html(
                views.asides([f"None was made before this day. {how} walks through the past, and how it ended."])
            )
        return Html(f"<p>{escape(found.sentence())}</p>{rates_table(found.rates)}")

    def portfolio(self) -> Html:
        """What is held and what it is worth; where nothing is, how that would be written."""
        try:
            held = positions.value(self.account, as_of=self.found.as_of)
        except MltrainerError as error:
            how = "mltrainer portfolio add deposit 2010-01-04 --cash 10000, then add buy, with --ticker and the rest"
            return Html(views.asides([f"No portfolio to show: {error}.", f"To keep one: {how}."]))
        sized = self.found.given.set_index("ticker")["size"]
        rows = [
            [t, 100 * r["weight"], 100 * float(sized.get(str(t), np.nan)), r["value"], r["unrealized"]]
            for t, r in held.positions.iterrows()
        ]
        heads = ["Name", "Held, %", "Size, %", "Value, $", "Unrealized, $"]
        said = f"Worth ${held.value:,.2f} at the close of {held.session}, of it ${held.cash:,.2f} in cash; "
        said += f"gain ${held.gain:,.2f}, {views.percent(held.time_weighted)} % by time."
        return Html(f"<p>{escape(said)}</p>" + (views.table(rows, heads) if rows else ""))

    def alerts(self) -> Html:
        """Alerts that stood on this day."""
        rows = alerts.history(as_of=self.found.as_of)
        rows = rows[rows["state"].ne("resolved")]
        if rows.empty:
            how = f"mltrainer alerts check --universe {self.universe}" if "," not in self.universe else "alerts check"
            return Html(views.asides([f"No alert stands. {how} asks every condition, and writes what is new."]))
        columns = ["session", "severity", "kind", "subject", "message", "state"]
        return Html(views.table(rows[columns].to_numpy().tolist(), [c.capitalize() for c in columns]))

    def quality(self) -> Html:
        """What the rules say of each series, worst first."""
        found = [quality.quality(d) for d in self.bars.values()]
        count = {s: {q.name: sum(f.severity == s for f in q.findings) for q in found} for s in ("error", "warning")}
        found.sort(key=lambda q: (-count["error"][q.name], -count["warning"][q.name]))
        rows = [
            [q.name, q.sessions, 100 * q.completeness, count["error"][q.name], count["warning"][q.name],
             next((f"{f.rule}: {f.message}" for f in q.findings if f.severity in count), "")]
            for q in found
        ]  # fmt: skip
        bad = sum(n > 0 for n in count["error"].values())
        ok = f"{bad} of {len(found)} series hold an error" if bad else f"None of {len(found)} series holds an error"
        heads = ["Series", "Sessions", "Complete, %", "Errors", "Warnings", "First"]
        return Html(f"<p>{ok}; the recommendations read the latest 300 sessions again, rule by rule.</p>" + _folded(
            views.table(rows, heads, write=views.fixed(0)), "Series by series"))  # fmt: skip

    def provenance(self) -> Html:
        """Where every number came from, under which terms, and the end of the audit trail."""
        head = f'<p class="quiet">Audit head <code>{escape(str(audit.head()))}</code></p>'
        return Html(_folded(origins(list(self.bars.values())), f"{len(self.bars)} series, each with its origin") + head)


def _folded(inside: str, summary: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def _finding(what: str, same: pd.DataFrame, judged: Any) -> list[object]:
    """A row of what the ledger shows of a target."""
    p = {key: judged[key].p for key in same["trial"] if key in judged}
    best = min(p, key=lambda key: p[key], default=None)
    if best is None:
        return [target(what).title, "", f"{same['trial'].nunique()} trials", "none had an outcome by this day"]
    first = same[same["trial"] == best].iloc[0]
    said = "evidence of skill" if p[best] <= SIZE else "no evidence of skill"
    return [
        target(what).title, f"{first['model']} on {first['ticker']}", f"{same['trial'].nunique()} trials",
        f"{said} (p {p[best]:.2g} among all)",
    ]  # fmt: skip


def _card(row: dict[Any, Any]) -> str:
    """One recommendation with its reasons."""
    pairs = {
        "Why": row["reasoning"], "Wrong if": row["falsifier"], "Stop": f"{row['stop']:.2f}",
        "Target": f"{row['target']:.2f}", "For": row["timeframe"], "Expires": row["expiry"], "Source": row["source"],
    }  # fmt: skip
    body = "".join(f"<dt>{k}</dt><dd>{escape(str(v))}</dd>" for k, v in pairs.items())
    head = f"{row['ticker']}: {row['action']}, {row['size']:.1%} of the wealth"
    return f'<article class="card"><h3>{escape(head)}</h3><dl>{body}</dl></article>'


def write(folder: Path, universe: str, **knobs: Any) -> Path:
    """Execute the notebook of the brief and write its page, as one file that opens offline, named by its day.

    Parameters
    ----------
    folder : where to; universe, knobs : as for `BriefPage`, as plain values.
    """
    if not folder.is_dir():
        raise BadInput(f"{str(folder)[:80]!r} is no folder; name one that is there")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as work:
        given = {"universe": universe} | knobs
        if why := execute(notebooks() / "reports" / "daily-brief.ipynb", given, Path(work), "brief"):
            raise BadInput(f"the brief failed: {why}")
        text = (Path(work) / "brief.html").read_text(encoding="utf-8")
    found = re.search(r"held after (\d{4}-\d\d-\d\d)", text)
    to = folder / f"brief-{found[1] if found else 'latest'}.html"
    store.write_atomic(to, whole(text))
    return to
