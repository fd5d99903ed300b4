"""Figures of portfolios: frontier, who carries the risk, growth against the fall on the way, and what books did."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from mltrainer.views.drawings import ACCENT, AMBER, NONE, VERMILION, days_of, figure, short

INK = "#1a1f24"
LINES = (ACCENT, NONE, INK, AMBER, VERMILION, "#5b6abf", "#8a5a9e", "#4d8a4d", "#b08968", "#56616c")


def frontier(table: pd.DataFrame, books: Mapping[str, tuple[float, float]], title: str, corner: str) -> go.Figure:
    """Efficient frontier, columns volatility and expected_return (annual fractions), and the books beside it."""
    x, y = (short(100 * table[c]) for c in ("volatility", "expected_return"))
    line = go.Scatter(x=x, y=y, name="frontier", mode="lines", line={"color": ACCENT, "width": 2})
    dots = [
        go.Scatter(x=[100 * risk], y=[100 * mean], name=name, mode="markers", marker={"color": color, "size": 10})
        for (name, (risk, mean)), color in zip(books.items(), LINES[1:], strict=False)
    ]
    return figure([line, *dots], title=title, y="expected return, % a year", x="volatility, % a year", corner=corner)


def contributions(shares: pd.DataFrame, title: str, corner: str) -> go.Figure:
    """Share of the risk by name (rows, fractions), a color for each method (columns)."""
    bars = [
        go.Bar(
            y=list(map(str, shares.index)), x=short(100 * shares[c]), name=str(c), orientation="h", marker={"color": k}
        )
        for c, k in zip(shares, LINES, strict=False)
    ]
    shown: dict[str, Any] = {"height": 140 + 26 * len(shares), "yaxis": {"autorange": "reversed"}, "barmode": "group"}
    return figure(bars, title=title, y="", x="share of the risk, %", corner=corner, **shown)


def kelly(table: pd.DataFrame, title: str, corner: str) -> go.Figure:
    """Growth, and the probability of ever losing half, by fraction of Kelly."""
    x = short(table.index)
    most = float(table["growth"].max())
    grows = go.Scatter(x=x, y=short(100 * table["growth"] / most), name="growth, % of the fastest", mode="lines",
                       line={"color": ACCENT, "width": 2})  # fmt: skip
    falls = go.Scatter(x=x, y=short(100 * table["ever_50"]), name="ever half of it, %", mode="lines",
                       line={"color": VERMILION, "width": 2})  # fmt: skip
    return figure([grows, falls], title=title, y="%", x="fraction of Kelly", corner=corner)


def wealth(returns: pd.DataFrame, title: str, corner: str, *, spans: Sequence[tuple[str, str]] = ()) -> go.Figure:
    """Wealth of 1 by session, a line for each book (columns of net simple returns); `spans` are shaded."""
    days, grown = days_of(returns.index), (1 + returns).cumprod()
    return _lines(grown, days, title, "wealth, 1 at the start, log scale", corner, spans, {"type": "log"})


def drawdowns(returns: pd.DataFrame, title: str, corner: str, *, spans: Sequence[tuple[str, str]] = ()) -> go.Figure:
    """Loss from the last peak by session, a line for each book, in percent."""
    grown = (1 + returns).cumprod()
    fallen = 100 * (grown / grown.cummax().clip(lower=1.0) - 1)
    return _lines(fallen, days_of(returns.index), title, "loss from the peak, %", corner, spans, {})


def _lines(
    table: pd.DataFrame, days: list[str], title: str, unit: str, corner: str, spans: Sequence[tuple[str, str]],
    axis: dict[str, str],
) -> go.Figure:  # fmt: skip
    lines = [
        go.Scatter(x=days, y=short(table[c]), name=str(c), mode="lines", line={"color": k, "width": 1.7})
        for c, k in zip(table, LINES, strict=False)
    ]
    shade = {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "fillcolor": VERMILION, "opacity": 0.14}
    shapes = [shade | {"x0": a, "x1": b, "line": {"width": 0}, "layer": "below"} for a, b in spans]
    return figure(lines, title=title, y=unit, corner=corner, yaxis=axis, shapes=shapes)
