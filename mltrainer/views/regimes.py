"""The history of regimes: closes, the background shaded by the label of the score."""

import itertools

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mltrainer.views.drawings import ACCENT, AMBER, NONE, VERMILION, days_of, figure, short

SHADES = {"crisis": VERMILION, "volatile": AMBER, "trending": ACCENT, "stable": NONE}


def states(p: pd.DataFrame, name: str, title: str) -> go.Figure:
    """Probabilities of hidden states by session (n, k), stacked, from the calmest up."""
    days, colors = days_of(p.index), (NONE, AMBER, VERMILION)[-p.shape[1] :]
    areas = [
        go.Scatter(
            x=days, y=short(100 * p[c]), name=str(c), mode="lines", stackgroup="p", line={"width": 0, "color": k}
        )
        for c, k in zip(p, colors, strict=True)
    ]
    return figure(areas, title=title, y="probability, %", corner=f"{name}, sessions to {days[-1]}")


def regimes(history: pd.DataFrame, name: str, title: str) -> go.Figure:
    """Closes of a history of regimes, the background shaded by the label of the score; log scale."""
    days, log = days_of(history.index), {"type": "log"}
    line = go.Scatter(x=days, y=short(history["close"]), name="close", mode="lines", line={"color": "#1a1f24"})
    labels = history["regime"].reset_index(drop=True)
    edges = np.flatnonzero((labels != labels.shift()).to_numpy() & labels.notna().to_numpy())
    spans = [(i, int(j), labels[i]) for i, j in itertools.pairwise([*edges, len(labels) - 1])]
    keys = [
        go.Scatter(x=[None], y=[None], name=label, mode="markers", marker={"color": color, "symbol": "square"})
        for label, color in SHADES.items()
    ]
    shapes = [
        {"type": "rect", "xref": "x", "yref": "paper", "x0": days[i], "x1": days[j], "y0": 0, "y1": 1}
        | {"fillcolor": SHADES[label], "opacity": 0.22, "line": {"width": 0}, "layer": "below"}
        for i, j, label in spans
    ]
    corner = f"{name}, sessions to {days[-1]}"
    return figure([line, *keys], title=title, y="close, log scale", corner=corner, yaxis=log, shapes=shapes)
