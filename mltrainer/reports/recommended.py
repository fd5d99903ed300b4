"""What was recommended in a span, as a section of a page: how much to hold, whether it was right, how it ended."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

import pandas as pd

from mltrainer import metrics, views
from mltrainer.reports.pages import figure_html
from mltrainer.trading import recommendations
from mltrainer.trading.recommendations import History, records
from mltrainer.trading.recommendations.outcomes import rates_table

MONTH = 21  # sessions between recommendations, and over which each is held to account
WORDS = {"1/N": "equal shares", "sized": "as recommended"}
NOTE = (
    "Once a month every name gets a size, from its forecast volatility and the correlations of the past, by what was "
    "known that day; at most 10 % in one name. It is traded at the next close, costs 10 basis points a side, and what "
    "it leaves is cash that earns nothing. The names are those of today: the ones that failed are not among them."
)


def section(tickers: Sequence[str], start: str, end: str) -> str:
    """The section; "" where no session of the span is among the data of the tickers."""
    found = recommendations.replay(start, end, list(tickers), every=MONTH, horizon=MONTH)
    if found.rows.empty:
        return ""
    found = replace(found, wealth=found.wealth.loc[:end])  # the last claims are judged later; the page ends here
    lede = f'<p class="lede"><b>In one sentence.</b> {escape(sentence(found))}</p>'
    return lede + figure_html(figure(found)) + by_quarter(found) + views.asides([NOTE]) + claims(found)


def sizes(found: History) -> "pd.Series[float]":
    """All that was to be held, as a fraction of the wealth, by the day it was said."""
    return found.rows.groupby("as_of")["size"].sum()


def sentence(found: History) -> str:
    """How much, when the least, and how it ended beside equal shares; whichever was better."""
    held, grown = sizes(found), found.wealth[list(WORDS)]
    until = grown.index[-1].date()
    end = grown.iloc[-1]
    lost = {name: metrics.max_drawdown(grown[name].pct_change().iloc[1:].to_numpy()) for name in WORDS}
    least = str(held.idxmin())
    views_ = int(found.rows["view"].ne("").sum())
    which = f"{views_} views on a return were among them" if views_ else "no model was shown to know which way"
    return (
        f"On {len(held)} days it said how much to hold, and {which}: {held.iloc[0]:.0%} of the wealth at first, the "
        f"least, {held.min():.0%}, on {least}, {held.iloc[-1]:.0%} at last. Whoever followed it to {until} "
        f"ended {end['sized'] - 1:+.0%} and fell {lost['sized']:.0%} from the peak on the way; equal shares of the "
        f"same names ended {end['1/N'] - 1:+.0%} and fell {lost['1/N']:.0%}."
    )


def figure(found: History) -> Any:
    """Wealth of who followed it, and of equal shares."""
    r = found.wealth[list(WORDS)].rename(columns=WORDS).pct_change().iloc[1:]
    each = [f"{name} {metrics.max_drawdown(r[name].to_numpy()):.0%}" for name in WORDS.values()]
    corner = f"{found.mode} data, net of costs, sessions to {r.index[-1].date()}"
    return views.wealth(r, f"The most that was lost from a peak: {', '.join(each)}", corner)


def by_quarter(found: History) -> str:
    """A row a quarter: mean size, forecast and realized volatility (medians), and how often the claims held."""
    rows = found.rows.assign(quarter=pd.PeriodIndex(found.rows["as_of"], freq="Q"))
    held = sizes(found)
    size = held.groupby(pd.PeriodIndex(held.index, freq="Q")).mean()
    shown = [
        (
            str(q), said["regime"].replace("", "unknown").mode().iloc[0], 100 * float(size[q]),
            *(100 * float(said[c].median()) for c in ("volatility", "realized")),
            *(100 * float(said[c].mean()) for c in ("inside", "kept")),
        )
        for q, said in rows.groupby("quarter")
    ]  # fmt: skip
    heads = ("Quarter", "Regime", "To hold, %", "Said, %", "Came, %", "Inside, %", "Not stopped, %")
    caption = (
        "Regime: of most names, each by its own price. Said and came: the volatility a year that was forecast and that "
        "followed, of the middle name. Inside: how often it lay in the interval that was named."
    )
    return views.table(shown, heads, caption=caption, write=views.fixed(0))


def claims(found: History) -> str:
    """How often each claim was true, and all that was said on the day of the least size."""
    least = sizes(found).idxmin()
    said = found.rows[found.rows["as_of"] == least]
    first = said.sort_values("size").iloc[-1]
    why = f"<p><b>Why, for {escape(first['ticker'])}.</b> {escape(first['reasoning'])} {escape(first['falsifier'])}</p>"
    day = f"<details><summary>All that was said on {escape(str(least))}</summary>{records.table(said)}{why}</details>"
    return rates_table(found.rates) + day
