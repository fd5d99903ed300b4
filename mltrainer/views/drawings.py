"""How every figure is laid out, on a desk and on a phone, and how it is handed to a page."""

import json
import textwrap
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

ACCENT, NONE, AMBER, VERMILION = "#0f8694", "#7d8893", "#b07a1a", "#d1561f"
SOFT = "rgba(15,134,148,0.16)"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif'
# plotly 7 offers to upload every chart to a public cloud; not this data.
CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "responsive": True,
    "displayModeBar": False,
}


def figure(
    data: list[Any], *, title: str, y: str, x: str = "", corner: str = "", height: int = 400, **layout: Any
) -> go.Figure:
    """A figure whose title states the finding, with units on its axes and source and date in its corner."""
    lines = _wrap(title)
    fig = go.Figure(data)
    fig.update_layout(
        title={
            "text": "<br>".join(lines),
            "x": 0,
            "xref": "container",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 8, "t": 10},
            "font": {"size": 16},
        },
        font={"family": FONT, "size": 14, "color": "#1a1f24"},
        height=height,
        margin={"l": 58, "r": 16, "t": 46 + 22 * len(lines), "b": 72},
        paper_bgcolor="white",
        plot_bgcolor="white",
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}},
        meta={"finding": title, "unit": y},
    )
    fig.update_xaxes(title={"text": x, "font": {"size": 13}}, gridcolor="#e6eaee", zeroline=False, automargin=True)
    fig.update_yaxes(title={"text": y, "font": {"size": 13}}, gridcolor="#e6eaee", zeroline=False, automargin=True)
    if corner:
        fig.add_annotation(
            text=escape(corner),
            xref="paper",
            yref="paper",
            x=1,
            y=0,
            yshift=-64,
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12, "color": "#56616c"},
        )
    fig.update_layout(**layout)
    fig._config = CONFIG  # what `show` and a notebook use
    return fig


def drawing(figure: go.Figure) -> tuple[str, dict[str, Any]]:
    """Split a figure into its finding, which a page sets as text that wraps, and what is drawn, as JSON.

    The second is {data, layout, config, phone}; `phone` holds the layout of a screen of 390 pixels, and its own data
    where a figure shows less there.
    """
    bare, known = go.Figure(figure), figure.layout.meta
    top = 34 if any(t.showlegend is not False and t.name for t in bare.data) else 12
    top += known.get("above", 0)
    bare.update_layout(title=None, margin_t=top, height=(figure.layout.height or 400) - figure.layout.margin.t + top)
    bare.update_layout(meta=None)
    phone = known.get("phone") or {"layout": json.loads(_small(bare, known["unit"]).to_json())["layout"]}
    return str(known["finding"]), json.loads(bare.to_json()) | {"config": CONFIG, "phone": phone}


def _small(bare: go.Figure, unit: str) -> go.Figure:
    """The same on a phone: the unit stands inside, ticks are few, and nothing is turned."""
    small = go.Figure(layout=bare.layout)
    small.update_layout(height=min(bare.layout.height, 340), margin={"l": 4, "r": 6}, font_size=13)
    small.update_xaxes(nticks=4, tickangle=0)  # of dates a fifth would touch its neighbors
    small.update_yaxes(title=None, nticks=6)
    return small.add_annotation(
        text=escape(unit), xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="top", xshift=4,
        showarrow=False, font={"size": 12, "color": "#56616c"},
    )  # fmt: skip


def _wrap(text: str, width: int = 70) -> list[str]:
    return [escape(line) for line in textwrap.wrap(text, width)]


def days_of(index: pd.Index) -> list[str]:
    """Sessions as an axis takes them."""
    return [str(day)[:10] for day in index]


def short(values: Any) -> Any:
    """Values as a screen needs them, at half the bytes."""
    return np.asarray(values, dtype="f4")
