"""Figures of a factor across names: does it order them, for how long, what do its parts earn, and through whom?"""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mltrainer import metrics
from mltrainer.views.drawings import ACCENT, NONE, VERMILION, days_of, figure, short
from mltrainer.views.evaluations import WEEK
from mltrainer.views.numbers import fixed, number

YEAR, BASIS = 252, 1e4
PHONE_NAMES = 12
LANE, PHONE_LANE = 18, 30  # pixels a name


def coefficients(sheet: Any, corner: str) -> go.Figure:
    """Mean IC of each month, and of the last twelve months."""
    ic = sheet.ic.dropna()
    months = ic.groupby(ic.index.to_period("M")).mean()
    year, at = ic.rolling(YEAR).mean()[::WEEK], [str(p.start_time.date()) for p in months.index]
    data = [
        go.Bar(x=at, y=short(months), name="month", marker={"color": NONE, "opacity": 0.55}),
        go.Scatter(x=days_of(year.index), y=short(year), name="last year", mode="lines", line={"color": ACCENT}),
    ]
    c = sheet.coefficient
    title = f"{sheet.name}: a mean IC of {number(c.mean)} (HAC t {fixed(1)(c.t)}), above zero in "
    title += f"{fixed(0)((months > 0).mean() * 100)} % of {len(months)} months"
    return figure(data, title=title, y="mean IC, rank correlation", corner=corner)


def decay(sheet: Any, corner: str) -> go.Figure:
    """Mean IC by horizon, with its 95 % HAC interval."""
    rows = sheet.decay
    away = rows[(rows["low"] > 0) | (rows["high"] < 0)]
    data = [
        go.Scatter(
            x=[str(h) for h in rows.index], y=short(rows["mean"]), mode="markers", showlegend=False,
            marker={"color": ACCENT, "size": 9},
            error_y={"array": short(rows["high"] - rows["mean"]), "color": ACCENT, "thickness": 1.5, "width": 4},
        )
    ]  # fmt: skip
    said = f"differs from zero over {_listed(away.index)} sessions" if len(away) else "differs from zero nowhere"
    last = f"; over {rows.index[-1]} sessions it is {number(rows['mean'].iloc[-1])}"
    title = f"The IC of {sheet.name} {said}{last}"
    x = {"type": "category"}
    return figure(
        data, title=title, y="mean IC, 95 % interval", x="sessions held", corner=corner, xaxis=x, shapes=[ZERO]
    )


ZERO = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0, "line": {"color": NONE, "width": 1.5}}


def _listed(horizons: Any) -> str:
    words = [str(h) for h in horizons]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def quantiles(sheet: Any, corner: str) -> go.Figure:
    """Mean return of each part over all names of its session, with its 95 % HAC interval, in basis points."""
    rows = sheet.by_quantile
    parts, spread = rows.drop(index="spread"), rows.loc["spread"]
    error = 1.96 * (parts["excess"] / parts["t"]).abs() * BASIS
    data = [
        go.Bar(
            x=_parts(parts.index), y=short(parts["excess"] * BASIS), showlegend=False, marker={"color": ACCENT},
            error_y={"array": short(error), "color": "#1a1f24", "thickness": 1.2, "width": 4},
        )
    ]  # fmt: skip
    title = f"The highest part earns {number(spread['mean'] * BASIS)} bps in {sheet.horizon} sessions more than the "
    title += f"lowest (HAC t {fixed(1)(spread['t'])})"
    x = {"type": "category"}
    return figure(data, title=title, y="bps over the mean of all names", x="part", corner=corner, xaxis=x)


def _parts(names: Any) -> list[str]:
    last = len(names) - 1
    return [f"{n}{' lowest' if i == 0 else ' highest' if i == last else ''}" for i, n in enumerate(names)]


def wealth(sheet: Any, corner: str) -> go.Figure:
    """Wealth from 1 of the portfolios, net of costs, against holding all names; log scale."""
    lines: Mapping[str, tuple[pd.Series, str, float]] = {
        "all names, no costs": (sheet.held, NONE, 2.0),
        "long only": (sheet.portfolios["long only"]["net"], VERMILION, 1.5),
        "long-short": (sheet.portfolios["long-short"]["net"], ACCENT, 2.5),
    }
    grown = {name: metrics.wealth(r) for name, (r, *_) in lines.items()}
    data = [
        go.Scatter(
            x=days_of(r.index[::WEEK]), y=short(grown[name])[::WEEK], name=name, mode="lines",
            line={"color": color, "width": width},
        )
        for name, (r, color, width) in lines.items()
    ]  # fmt: skip
    ends = [f"{name} {_money(values[-1])}" for name, values in list(grown.items())[:0:-1]]
    held = _money(grown["all names, no costs"][-1])
    title = f"1 became {' and '.join(ends)} net of {sheet.cost_bps:g} bps; holding all names, {held}"
    marks = [a * 10.0**b for b in range(-4, 7) for a in (1, 3)]
    ticks = {"type": "log", "tickvals": marks, "ticktext": [f"{m:g}" for m in marks]}
    return figure(data, title=title, y="wealth, log scale", corner=corner, yaxis=ticks)


def _money(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def names(sheet: Any, corner: str) -> go.Figure:
    """IC of each name over time with its 95 % HAC interval, sorted; a phone shows the ends of the list."""
    rows = sheet.names.dropna(subset=["ic"]).sort_values("ic")
    away = int((rows["t"].abs() > 1.96).sum())
    title = f"Over time {sheet.name} says something of {away or 'none'} of {len(rows)} names by itself; "
    title += f"by luck it would of {number(0.05 * len(rows), 2)}"
    known = {"title": title, "y": "", "x": "IC over time, 95 % interval", "corner": corner}
    fig = _lanes(rows, LANE, **known)
    fig.update_yaxes(tickvals=list(range(len(rows))), ticktext=[escape(str(t)) for t in rows.index])
    half = PHONE_NAMES // 2
    few = rows if len(rows) <= PHONE_NAMES else pd.concat([rows[:half], rows[-half:]])
    said = corner if len(few) == len(rows) else f"first and last {half}; {corner}"
    small = _lanes(few, PHONE_LANE, **known | {"corner": said})
    small.update_layout(title=None, meta=None, margin={"l": 6, "r": 6, "t": 12})
    small.update_yaxes(showticklabels=False, showgrid=False)
    for at, name in enumerate(few.index):
        small.add_annotation(
            x=0, xref="paper", y=at, text=escape(str(name)), showarrow=False, xanchor="left", bgcolor="white",
            font={"size": 13, "color": "#1a1f24"},
        )  # fmt: skip
    return fig.update_layout(meta=fig.layout.meta | {"phone": json.loads(small.to_json())})


def _lanes(rows: pd.DataFrame, lane: int, **known: Any) -> go.Figure:
    error = 1.96 * (rows["ic"] / rows["t"]).abs()
    data = [
        go.Scatter(
            x=short(rows["ic"]), y=np.arange(len(rows)), text=[escape(str(t)) for t in rows.index], mode="markers",
            showlegend=False, marker={"color": ACCENT, "size": 7},
            error_x={"array": short(error), "color": ACCENT, "thickness": 1.2, "width": 0},
            hovertemplate="%{text}: %{x:.3f}<extra></extra>",
        )
    ]  # fmt: skip
    fig = figure(data, height=150 + lane * len(rows), **known)
    fig.add_vline(x=0, line={"color": NONE, "width": 1.5})
    return fig.update_yaxes(range=[-0.7, len(rows) - 0.3])
