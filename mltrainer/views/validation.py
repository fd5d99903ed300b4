"""Figures of a validation: a figure of merit over parts of time, and how the forecast depends on a feature."""

import pandas as pd
import plotly.graph_objects as go

from mltrainer.views.drawings import ACCENT, NONE, figure, short

SHADES = (ACCENT, "#56616c", "#b07a1a")


def over_time(table: pd.DataFrame, column: str, *, title: str, unit: str, corner: str) -> go.Figure:
    """One bar for each part of time; zero is the line that says nothing was added."""
    colors = [ACCENT if value > 0 else NONE for value in table[column]]
    bar = go.Bar(x=[str(i) for i in table.index], y=short(table[column]), marker={"color": colors}, showlegend=False)
    return figure([bar], title=title, y=unit, corner=corner, height=320)


def dependence(table: pd.DataFrame, *, title: str, corner: str) -> go.Figure:
    """Mean forecast against the quantile of each feature, a line each."""
    lines = [
        go.Scatter(x=short(own["quantile"] * 100), y=short(own["forecast"]), name=str(name), mode="lines",
                   line={"color": color, "width": 2})
        for (name, own), color in zip(table.groupby("feature", sort=False), SHADES, strict=False)
    ]  # fmt: skip
    return figure(lines, title=title, y="forecast per unit of volatility", x="quantile of the feature, %",
                  corner=corner, height=360)  # fmt: skip
