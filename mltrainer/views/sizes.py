"""The picture of a day's sizes: how much of each name, and the volatility it was sized by, with its interval."""

import json

import pandas as pd
import plotly.graph_objects as go

from mltrainer.views.drawings import ACCENT, figure
from mltrainer.views.numbers import fixed

PHONE = 10  # rows on a phone


def sizes(rows: pd.DataFrame, *, corner: str = "") -> go.Figure:
    """Forecast volatility a year with its interval, the calmest name on top, each with the size it gives.

    Parameters
    ----------
    rows : ticker, size, volatility, volatility_low, volatility_high (fractions), one a name.
    """
    ran = rows.sort_values("volatility", ascending=False)
    calm, wild = ran.iloc[-1], ran.iloc[0]
    title = f"The calmer a name is to be, the more of it: {calm['ticker']} {calm['size']:.1%} of the wealth"
    title += f", {wild['ticker']} {wild['size']:.1%}" if len(ran) > 1 else ""
    fig = _dots(ran, 24, title=title, corner=corner)
    small = _dots(ran.iloc[-PHONE:], 30, title=title, corner=f"the {min(PHONE, len(ran))} calmest of {len(ran)}")
    small.update_xaxes(title={"text": "volatility a year, %"})
    small.update_layout(title=None, meta=None, margin={"l": 6, "r": 12, "t": 12}, showlegend=False)
    return fig.update_layout(meta=fig.layout.meta | {"phone": json.loads(small.to_json()), "above": 0})


def _dots(ran: pd.DataFrame, lane: int, *, title: str, corner: str) -> go.Figure:
    x, low, high = (100 * ran[c] for c in ("volatility", "volatility_low", "volatility_high"))
    names = [f"{t} {fixed(1)(100 * s)} %" for t, s in zip(ran["ticker"], ran["size"], strict=True)]
    bars = {"type": "data", "symmetric": False, "array": list(high - x), "arrayminus": list(x - low), "color": ACCENT}
    dots = go.Scatter(
        x=list(x), y=list(range(len(ran))), mode="markers", marker={"color": ACCENT, "size": 8}, error_x=bars
    )
    height = 150 + lane * len(ran)
    fig = figure([dots], title=title, y="", x="volatility a year, %, 90 % interval", corner=corner, height=height)
    fig.update_xaxes(rangemode="tozero")
    return fig.update_yaxes(tickvals=list(range(len(ran))), ticktext=names, range=[-0.7, len(ran) - 0.3])
