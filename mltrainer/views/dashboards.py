"""Figures of dashboards: a price with its regimes, lines side by side, correlations, what a portfolio could be."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mltrainer.views.drawings import ACCENT, AMBER, NONE, VERMILION, days_of, figure, short
from mltrainer.views.regimes import regimes

COLORS = (ACCENT, NONE, AMBER, VERMILION)
DASHES = ("solid", "dash", "dot", "dashdot")  # color is never alone


def price(history: pd.DataFrame, name: str, title: str, mean: "pd.Series[float]", window: int) -> go.Figure:
    """Closes shaded by regime, as `regimes` draws them, with the mean of the last `window` sessions."""
    fig = regimes(history, name, title)
    line = {"color": ACCENT, "width": 1.5, "dash": "dash"}
    fig.add_scatter(x=days_of(mean.index), y=short(mean), name=f"{window}-day mean", mode="lines", line=line)
    return fig


def lines(table: pd.DataFrame, *, title: str, y: str, corner: str, zero: bool = False, **layout: Any) -> go.Figure:
    """One line for each of up to four columns, by session; `zero` draws the line that nothing lies on."""
    data = [
        go.Scatter(
            x=days_of(table.index), y=short(table[c]), name=str(c), mode="lines", showlegend=len(table.columns) > 1,
            line={"color": color, "dash": dash, "width": 2},
        )
        for c, color, dash in zip(table, COLORS, DASHES, strict=False)
    ]  # fmt: skip
    level = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0, "line": {"color": NONE, "width": 1}}
    return figure(data, title=title, y=y, corner=corner, height=360, shapes=[level] if zero else [], **layout)


def correlations(matrix: pd.DataFrame, *, title: str, corner: str) -> go.Figure:
    """Correlations of names with each other; a number stands in every cell, so that color is not alone."""
    names = list(map(str, matrix.columns))
    scale = [[0, VERMILION], [0.5, "#ffffff"], [1, ACCENT]]
    cells = go.Heatmap(
        z=matrix.round(2).to_numpy().tolist(), x=names, y=names, zmin=-1, zmax=1, colorscale=scale, showscale=False,
        texttemplate="%{z:.1f}", textfont={"size": 12, "color": "#1a1f24"}, xgap=1, ygap=1,
        hovertemplate="%{x} and %{y}: %{z:.2f}<extra></extra>",
    )  # fmt: skip
    axes: dict[str, Any] = {"xaxis": {"type": "category"}, "yaxis": {"type": "category", "autorange": "reversed"}}
    return figure([cells], title=title, y="", corner=corner, height=120 + 34 * len(names), **axes)
