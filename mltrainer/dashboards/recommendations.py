"""Recommendations: how much of what to hold, with what evidence, what would show it wrong, and how past ones ended."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from mltrainer import views
from mltrainer.dashboards.page import Basis, Page, empty, fold, foot
from mltrainer.dashboards.pictures import Picture
from mltrainer.errors import MltrainerError
from mltrainer.settings import settings
from mltrainer.trading import positions, recommendations
from mltrainer.trading.recommendations.outcomes import READERS, History, rates_table
from mltrainer.trading.recommendations.records import LEAVE
from mltrainer.trust import audit

ALL = "all"
ADVICE = "<code>mltrainer recommend</code> writes some for the last session; run it after each, then reload this page."


class RecommendationsPage(Page):
    """What should be held? Recommendations of a day, and what became of all of them."""

    NAME = "recommendations"
    CONTROLS = ("Day", "Action", "Ticker")

    def __init__(self, history: History, state: Mapping[str, str], basis: Basis = Basis()) -> None:
        self.history = history
        self.finding, self.sizes, self.cards, self.impact, self.past = (widgets.HTML() for _ in range(5))
        self.wealth = Picture("wealth")
        parts = [self.finding, self.sizes, self.cards, self.impact, self.past, self.wealth]
        super().__init__(parts, state, basis)

    @classmethod
    def read(cls, state: Mapping[str, str], out: str | Path | None, basis: Basis) -> widgets.Widget:
        """The page of the ledger of recommendations, of the mode in force."""
        history = recommendations.history()
        return empty("Nothing was recommended yet.", ADVICE) if history.rows.empty else cls(history, state, basis)

    def settle(self, state: Mapping[str, str]) -> None:
        """Days, the latest first, then what was recommended on the one that is chosen."""
        days = sorted(set(self.history.rows["as_of"]), reverse=True)
        self.offer("Day", [(d, d) for d in days], state)
        rows = self.rows
        self.offer("Action", [("all", ALL), *((a, a) for a in sorted(set(rows["action"])))], state)
        self.offer("Ticker", [("all", ALL), *((t, t) for t in sorted(set(rows["ticker"])))], state)

    @property
    def rows(self) -> pd.DataFrame:
        """Everything recommended on the day that is chosen, the largest first."""
        rows = self.history.rows
        return rows[rows["as_of"] == self.controls["Day"].value].sort_values("size", ascending=False, kind="stable")

    def fill(self) -> None:
        """Sentence, sizes, why, what it would change, and how past ones ended."""
        rows, history = self.rows, self.history
        action, ticker = (self.controls[c].value for c in ("Action", "Ticker"))
        chosen = rows if action == ALL else rows[rows["action"] == action]
        chosen = chosen if ticker == ALL else chosen[chosen["ticker"] == ticker]
        self.banner.value = views.banner(history.mode, str(self.controls["Day"].value))
        self.finding.value = _finding(rows, history)
        self.sizes.value = _sizes(chosen)
        cards = "".join(_card(row) for row in chosen.to_dict("records"))
        self.cards.value = f"<h2>Why, and what would show it wrong</h2>{cards}"
        self.impact.value = f"<h2>What it would change</h2>{_impact(rows)}"
        self.past.value = f"<h2>How past ones ended</h2><p>{escape(history.sentence())}</p>{rates_table(history.rates)}"
        if len(history.wealth) > 1:
            self.wealth.show(_readers(history))
        line = f"Audit head <code>{escape(str(audit.head()))}</code>. No advice: a computation, for research."
        rows = rows.sort_values("ticker")[["ticker", "source", "id", "at"]]
        origin = views.table(rows.astype(str).to_numpy().tolist(), ["Ticker", "From", "Entry", "Written, UTC"])
        self.foot.value = fold("Where these numbers come from", origin) + foot([], self.state, line)


def _finding(rows: pd.DataFrame, history: History) -> str:
    """The sentence that answers the page's question, and four figures."""
    largest, acting = rows.iloc[0], rows[rows["view"] != ""]  # to hold less than one has is no view
    views_held = "; ".join(f"{r['action']} {r['ticker']}" for r in acting.to_dict("records"))
    known = views_held or f"no model has shown that it knows where any of the {len(rows)} names will go"
    lede = (
        f"As of {rows['as_of'].iloc[0]}, {known}: hold {rows['size'].sum():.0%} of the wealth, at most "
        f"{largest['size']:.1%} in one name ({largest['ticker']}), and the rest in cash."
    )
    over = int((history.rows["state"] == "over").sum())
    inside = history.rates["rate"].get("inside", np.nan)
    items = [
        ("Held in all, %", views.percent(rows["size"].sum()), f"of the wealth, in {len(rows)} names"),
        ("Evidence", str(int((rows["model"] != "").sum())), f"of {len(rows)} names have a model that showed skill"),
        ("Recommendations over", str(over), f"of {len(history.rows)} that were ever written"),
        ("Volatility as said, %", views.percent(inside), "inside its 90 % interval, of those that are over"),
    ]
    pill = views.pill("no evidence of skill" if acting.empty else "evidence of skill")
    return f'<p class="lede">{escape(lede)} {pill}</p>{views.figures(items, terms=True)}'


def _sizes(rows: pd.DataFrame) -> str:
    """Size, prices and volatility, a row each, which stay a table on a phone."""
    shown = [
        [f"{r['ticker']}, {r['action']}", 100 * r["size"], r["entry"], r["stop"], r["target"], 100 * r["volatility"]]
        for r in rows.to_dict("records")
    ]
    heads = ["Name", "Size, %", "Entry", "Stop", "Target", "Volatility, %"]
    write = [views.number, views.fixed(1), *[views.fixed(2)] * 3, views.fixed(0)]
    return views.table(shown, heads, write=write) + views.glossary(heads)


def _card(row: Mapping[Any, Any]) -> str:
    """Why one name, in the words of the ledger, and what became of it."""
    words = [
        ("Why", str(row["reasoning"])),
        ("Evidence", str(row["model"]) or "no model has shown any"),
        ("What would show it wrong", str(row["falsifier"])),
        ("Holds until", str(row["expiry"])),
        ("What became of it", _outcome(row)),
    ]
    body = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in words)
    prices = f"entry {views.number(row['entry'])}, stop {views.number(row['stop'])}"
    return fold(f"{row['ticker']}: {row['action']} {row['size']:.1%}, {prices}", f"<dl>{body}</dl>")


def _outcome(row: Mapping[Any, Any]) -> str:
    if row["state"] != "over":
        return str(row["state"])
    touched = f"; its {row['touched']} was touched" if row["touched"] else ""
    return f"{row['outcome']:+.1%} over the horizon, volatility {row['realized']:.0%} a year{touched}"


KEEP = "Keep an account with <code>mltrainer portfolio add</code>, and its weights stand here beside these sizes."


def _impact(rows: pd.DataFrame) -> str:
    """Held and recommended weights side by side, where an account is kept."""
    try:
        account = positions.value(as_of=str(rows["as_of"].iloc[0]))
    except MltrainerError as error:
        return f"<p>{KEEP}</p>{views.asides([str(error)])}"
    held = {str(t): float(w) for t, w in account.positions["weight"].items()}
    sizes = {r["ticker"]: 0.0 if r["action"] in LEAVE else float(r["size"]) for r in rows.to_dict("records")}
    shown = [
        [t, 100 * held.get(t, 0.0), 100 * sizes.get(t, 0.0), 100 * (sizes.get(t, 0.0) - held.get(t, 0.0))]
        for t in sorted({*held, *sizes})
    ]
    return views.table(shown, ["Ticker", "Held, %", "Size, %", "Change, points"], write=views.fixed(1))


def _readers(history: History) -> Any:
    wealth = history.wealth
    end = wealth.iloc[-1]
    told = ", ".join(f"{end[name]:.2f} by {words}" for name, words in READERS.items() if name != "equal-weight reader")
    shown = wealth[["sized", "1/N"]].iloc[:: max(len(wealth) // 600, 1)]
    title = f"One unit became {told}"
    corner = f"{settings().data_mode}, sessions to {wealth.index[-1].date()}, net of costs"
    return views.lines(shown, title=title, y="wealth", corner=corner)
