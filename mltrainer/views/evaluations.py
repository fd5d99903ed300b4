"""Figures of one evaluation: what its trades made of 1, and what it said against what came."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mltrainer import metrics
from mltrainer.errors import BadInput
from mltrainer.views.drawings import ACCENT, NONE, SOFT, days_of, figure, short
from mltrainer.views.numbers import number


def _corner(evaluation: Any) -> str:
    return f"{evaluation.ticker}, sessions to {evaluation.forecasts.index[-1].date()}, net of costs"


def _forecasts(evaluation: Any) -> pd.DataFrame:
    frame = getattr(evaluation, "forecasts", None)
    if not isinstance(frame, pd.DataFrame) or frame.empty:
        what = f"{evaluation.model}, which did not run," if frame is not None else f"a {type(evaluation).__name__}"
        raise BadInput(f"{what} has no forecasts to draw; give one evaluation that ran, as mt.evaluate returns it")
    return frame


WEEK = 5  # sessions between two points of a thin line: nobody reads a day off it, and a page of 25 holds a fifth


def equity(evaluation: Any, others: Sequence[Any] = (), *, doubt: str = "") -> go.Figure:
    """Wealth from 1, net of costs, of a model (and of `others`, thin) against buy-and-hold; log scale.

    `doubt` ends the title: what the verdict says of it, as a curve by itself looks like a promise.
    """
    frame = _forecasts(evaluation)
    held = metrics.wealth(frame["benchmark"])
    own, days = metrics.wealth(frame["net"]), days_of(frame.index)
    rivals = [
        go.Scatter(
            x=days_of(o.forecasts.index[::WEEK]),
            y=short(metrics.wealth(o.forecasts["net"]))[::WEEK],
            name=o.model,
            mode="lines",
            showlegend=False,
            line={"width": 1, "color": "rgba(15,134,148,0.35)"},
        )
        for o in others
        if o.model != evaluation.model
    ]
    lines = [
        *rivals,
        go.Scatter(x=days, y=short(held), name="buy-and-hold", mode="lines", line={"color": NONE, "width": 2}),
        go.Scatter(x=days, y=short(own), name=evaluation.model, mode="lines", line={"color": ACCENT, "width": 2.5}),
    ]
    more = "more" if own[-1] > held[-1] else "less"
    title = f"{evaluation.model} turned 1 into {own[-1]:.2f}, {more} than holding {evaluation.ticker} ({held[-1]:.2f})"
    title += f"; {doubt}" if doubt else ""
    spread = max(held.max(), own.max()) / max(min(held.min(), own.min()), 1e-4)
    few, some, many = (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 3, 5, 7, 8, 9)
    steps = few if spread > 6 else some if spread > 2 else many
    marks = [a * 10.0**b for b in range(-4, 5) for a in steps]
    ticks = {"type": "log", "tickvals": marks, "ticktext": [f"{m:g}" for m in marks]}
    return figure(lines, title=title, y="wealth, log scale", corner=_corner(evaluation), yaxis=ticks)


def forecasts(evaluation: Any, sessions: int = 500, *, unit: str = "return, %") -> go.Figure:
    """Forecast, its interval and the outcome, for the last `sessions` of the test; `unit` may ask for percent."""
    frame = _forecasts(evaluation).iloc[-sessions:]
    x, held = days_of(frame.index), evaluation.metrics["coverage"]
    frame = frame[["forecast", "lower", "upper", "y"]] * (100 if unit.endswith("%") else 1)
    data = [
        go.Scatter(x=x, y=short(frame["upper"]), mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip"),
        go.Scatter(
            x=x,
            y=short(frame["lower"]),
            mode="lines",
            line={"width": 0},
            fill="tonexty",
            fillcolor=SOFT,
            name="90 % interval",
            hoverinfo="skip",
        ),
        go.Scatter(
            x=x,
            y=short(frame["y"]),
            mode="markers",
            marker={"size": 3, "color": NONE},
            name="outcome",
        ),
        go.Scatter(x=x, y=short(frame["forecast"]), mode="lines", line={"color": ACCENT, "width": 2}, name="forecast"),
    ]
    said = f"held {held:.1%} of outcomes" if np.isfinite(held) else "could not be calibrated"
    title = (
        f"{evaluation.model}: the 90 % interval {said}; correlation with the outcome {number(evaluation.metrics['ic'])}"
    )
    return figure(data, title=title, y=f"{evaluation.horizon}-session {unit}", corner=_corner(evaluation))
