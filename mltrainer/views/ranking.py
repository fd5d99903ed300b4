"""The picture of all models: what each adds, with its interval, and what luck or the best baseline would give."""

import itertools
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mltrainer.views.drawings import ACCENT, NONE, VERMILION, figure
from mltrainer.views.numbers import number
from mltrainer.views.tables import SKILL


def sharpes(rows: pd.DataFrame, luck: Mapping[str, float], *, corner: str = "") -> go.Figure:
    """Every model's annual timing Sharpe ratio with its 95 % interval, sorted, and the best that luck would give.

    Holding the share has none: it is the line at zero. The phone form shows the best `PHONE_ROWS`, each name above its
    bar. `luck` has the threshold of the usual span, and best, the same in standard errors.
    """
    ran = rows[(rows["status"] == "ok") & rows["timing_sharpe"].notna()].sort_values("timing_sharpe")
    own = (ran["sharpe_high"] - ran["sharpe_low"]).astype(float) / 2
    error = (1.96 * ran["timing_luck"].astype(float) / luck["best"]).fillna(own)  # of one trial there is no luck
    ran = ran.assign(at=ran["timing_sharpe"], error=error)
    threshold = luck["threshold"]
    above = int((ran["at"] > ran["timing_luck"]).sum())
    one = above == 1
    count = f"The timing of {above or 'none'} of {len(ran)} models {'is' if one or not above else 'are'}"
    passed = f"{count} better than the best that luck alone would give ({threshold:.2f})"
    lines = [(0.0, "holding", NONE, "dot"), (threshold, f"luck {threshold:.2f}", VERMILION, "dash")]
    lines = [line for line in lines if np.isfinite(line[0])]
    return _picture(ran, lines, title=passed, x="annual Sharpe ratio of the timing, net", corner=corner)


def gains(rows: pd.DataFrame, *, rival: str = "the best baseline", corner: str = "") -> go.Figure:
    """The share of the best baseline's loss that every model saves, in %, with its 95 % interval; sorted.

    The baseline is the line at zero. A model worse than `WORST` stands on the edge; a phone shows the best.
    """
    ran = rows[(rows["status"] == "ok") & rows["gain"].notna()].sort_values("gain")
    error = (ran["gain_high"].astype(float) - ran["gain"].astype(float)).fillna(0.0) * 100
    ran = ran.assign(at=np.maximum(ran["gain"].astype(float) * 100, WORST), error=np.minimum(error, -WORST / 2))
    shown = int(ran["verdict"].str.startswith(SKILL).sum())
    one = shown == 1
    title = f"{shown or 'None'} of {len(ran)} models {'is' if one or not shown else 'are'} shown to beat {rival}"
    x = "loss saved, % of the baseline's"
    return _picture(ran, [(0.0, rival, NONE, "dot")], title=title, x=x, corner=corner)


def _picture(
    ran: pd.DataFrame, lines: Sequence[tuple[float, str, str, str]], *, title: str, x: str, corner: str
) -> go.Figure:
    """Marks at `at` with whiskers of `error`, one lane a row; and the form for a phone."""
    known = {"title": title, "y": "", "x": x, "corner": corner}
    fig = _lanes(ran, lines, 17, **known)
    fig.update_yaxes(tickvals=list(range(len(ran))), ticktext=_names(ran), tickfont={"size": 11})
    few = ran[-PHONE_ROWS:]
    small = _lanes(few, lines, 38, **known | {"corner": _best(few, ran, corner)})
    small.update_layout(title=None, meta=None, margin={"l": 6, "r": 6, "t": 12 + LINES}, showlegend=False)
    small.update_yaxes(showticklabels=False, showgrid=False, range=[-0.6, len(few) - 0.1])
    for at, name in enumerate(_names(few)):
        small.add_annotation(
            x=0, xref="paper", y=at, text=name, showarrow=False, xanchor="left", yanchor="bottom", yshift=4,
            font={"size": 13, "color": "#1a1f24"}, bgcolor="white",
        )  # fmt: skip
    return fig.update_layout(meta=fig.layout.meta | {"phone": json.loads(small.to_json()), "above": LINES})


PHONE_ROWS = 12
WORST = -100.0  # % of a gain: twice the baseline's loss
STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
SCREEN = 30  # rows after which the scale is said again
LINES = 56  # pixels above the marks for the scale and the names of the lines


def _names(rows: pd.DataFrame) -> list[str]:
    """Names as figures show them: with the ticker where there are several; plotly reads tags in its texts."""
    several = len(set(rows["ticker"])) > 1
    return [escape(f"{n} · {t}" if several else str(n)) for n, t in zip(rows["name"], rows["ticker"], strict=True)]


def _best(few: pd.DataFrame, ran: pd.DataFrame, corner: str) -> str:
    return f"the best {len(few)} of {len(ran)}; {corner}" if len(few) < len(ran) else corner


def _lanes(ran: pd.DataFrame, lines: Sequence[tuple[float, str, str, str]], lane: int, **known: Any) -> go.Figure:
    """One lane of `lane` pixels a row, the first at the bottom, with the scale below and above; `lines` cross all."""
    skilled, place, names = ran["verdict"].str.startswith(SKILL).to_numpy(), np.arange(len(ran)), np.array(_names(ran))
    data = [
        go.Scatter(
            x=ran[chosen]["at"].round(3),
            y=place[chosen],
            text=names[chosen],
            mode="markers",
            name=name,
            marker={"color": color, "size": 7, "symbol": symbol},
            error_x={"array": ran[chosen]["error"].round(3), "color": color, "thickness": 1.2, "width": 0},
            hovertemplate="%{text}: %{x:.2f}<extra></extra>",
        )
        for chosen, name, color, symbol in (
            (~skilled, "no evidence", NONE, "circle"),
            (skilled, "evidence", ACCENT, "diamond"),
        )
        if chosen.any()
    ]
    data.append(go.Scatter(x=[None], y=[None], xaxis="x2", showlegend=False, hoverinfo="skip"))
    fig = figure(data, height=180 + LINES + lane * len(ran), **known)
    fig.update_layout(margin_t=fig.layout.margin.t + LINES, legend={"yref": "container", "y": 0})
    shown = [*(ran["at"] - ran["error"]), *(ran["at"] + ran["error"]), *(at for at, *_ in lines)]
    width = max(shown) - min(shown) if len(ran) else 2.0
    low, high = (min(shown) - 0.02 * width, max(shown) + 0.06 * width) if len(ran) else (-1.0, 1.0)
    fig.update_layout(xaxis2={"overlaying": "x", "matches": "x", "side": "top", "showgrid": False, "title": None})
    step = next((s for s in STEPS if (high - low) / s <= 9), STEPS[-1])
    fig.update_xaxes(range=[low, high], dtick=step, tick0=0)
    fig.update_yaxes(range=[-0.8, len(ran) - 0.2], zeroline=False)
    _scale_again(fig, len(ran), np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step)
    _cross(fig, lines, (low + high) / 2)
    return fig


def _scale_again(fig: go.Figure, rows: int, ticks: np.ndarray) -> None:
    """The numbers of the scale among the lanes, once a screen."""
    for row, tick in itertools.product(range(rows - SCREEN, SCREEN // 2, -SCREEN), ticks):
        fig.add_annotation(
            x=tick, y=row - 0.5, text=number(round(tick, 6)), showarrow=False, bgcolor="white", borderpad=0,
            font={"size": 11, "color": "#56616c"},
        )  # fmt: skip


def _cross(fig: go.Figure, lines: Sequence[tuple[float, str, str, str]], middle: float) -> None:
    """Lines through all lanes, each with its name above, on the side where there is room."""
    for at, name, color, dash in lines:
        fig.add_vline(x=at, line={"color": color, "dash": dash, "width": 1.5})
        left, luck = at > middle, color == VERMILION
        fig.add_annotation(
            x=at, y=1, yref="paper", text=name, showarrow=False, font={"size": 12, "color": color},
            xanchor="right" if left else "left", xshift=-4 if left else 4, yanchor="bottom", yshift=20 if luck else 36,
        )  # fmt: skip
