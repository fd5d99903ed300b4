"""One look: figures, tables and cards as reports, notebooks and dashboards show them.

Colors carry one meaning each (`look.css` holds the same ones): accent is the model in question, grey is the benchmark
or no evidence, amber a warning, vermilion a loss. A figure's title states the finding, its corner the source and date.
"""

import itertools
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from latex2mathml.converter import convert as mathml

from mltrainer import metrics

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
SKILL = "evidence of skill"  # as a verdict begins that claims it
MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


# --- numbers --------------------------------------------------------------------------------------------------


def number(value: object, digits: int = 3) -> str:
    """Write a number with three significant digits and a true minus sign; a dash where it is undefined.

    >>> number(0.012345), number(1234.5), number(-2.0), number(float("nan"))
    ('0.0123', '1,230', '−2', '–')
    """
    x = float(value)  # type: ignore[arg-type]
    if not np.isfinite(x):
        return DASH
    rounded = float(f"{x:.{digits}g}") + 0.0  # no minus before a zero
    text = f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"
    return text.replace("-", MINUS)


def percent(value: object) -> str:
    """Write a fraction as a percentage without its sign: the header says %.

    >>> percent(0.5268), percent(-2.0678)
    ('52.7', '−207')
    """
    return number(float(value) * 100)  # type: ignore[arg-type]


def fixed(digits: int) -> Callable[[object], str]:
    """Format with a fixed number of digits after the point: for columns that are compared by eye."""

    def write(value: object) -> str:
        x = round(float(value), digits) + 0.0  # type: ignore[arg-type]  # no minus before a zero
        return f"{x:.{digits}f}".replace("-", MINUS) if np.isfinite(x) else DASH

    return write


# --- tables ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """How one column of a leaderboard is shown: header with unit, and what it means on hover; a phone shows MAJOR."""

    title: str
    write: Callable[[object], str] | None = None
    hint: str = ""


COLUMNS: dict[str, Column] = {
    "name": Column("Model"),
    "family": Column("Family"),
    "ticker": Column("Ticker"),
    "verdict": Column("Verdict"),
    "deflated_sharpe": Column("Deflated Sharpe", fixed(2), "probability that the timing beats luck's best"),
    "p_knows": Column("p, knows", fixed(2), "chance that luck orders outcomes as well, among all trials"),
    "p_pays": Column("p, pays", fixed(2), "chance that luck times as well, among all trials"),
    "timing_sharpe": Column("Timing Sharpe", fixed(2), "annual, net, without the mean exposure to the share"),
    "alpha_t": Column("Alpha, t", fixed(1), "HAC t of the return beyond beta times the share's"),
    "sharpe": Column("Sharpe", fixed(2), "annual, net of costs"),
    "interval": Column("95 % interval", None, "of the annual Sharpe ratio"),
    "ic": Column("IC", fixed(3), "rank correlation of forecast and outcome"),
    "ic_t": Column("IC, t", fixed(1), "HAC t statistic of the IC"),
    "r2_oos": Column("R² oos, %", percent, "out of sample, against the expanding mean"),
    "hit_rate": Column("Hit rate, %", percent, "forecasts with the sign of the outcome"),
    "max_drawdown": Column("Drawdown, %", percent, "largest loss from a peak"),
    "breakeven_bps": Column("Break-even, bps", number, "cost per side at which nothing is left"),
    "information_ratio": Column("IR", fixed(2), "against buy-and-hold, annual"),
    "turnover": Column("Turnover, ×/year", number, "position traded a year"),
    "coverage": Column("Coverage, %", percent, "outcomes inside the 90 % interval"),
    "seconds": Column("CPU, s", number, "fit and predict, all folds"),
    "spread_ratio": Column(
        "Spread ratio", fixed(2), "deviation of the forecasts over that of the outcomes; about 0.1 can be known"
    ),
    "mz_slope": Column(
        "Slope", fixed(2), "of outcome on forecast (Mincer-Zarnowitz): 1 where forecasts have the right scale"
    ),
    "mz_slope_se": Column("Slope, SE", fixed(2), "HAC standard error of the slope"),
    "pinball": Column("Pinball", number, "quantile loss, return units"),
}
BOARD = (
    "name family ticker verdict p_knows p_pays timing_sharpe deflated_sharpe sharpe interval alpha_t ic r2_oos "
    "hit_rate max_drawdown breakeven_bps information_ratio coverage spread_ratio mz_slope seconds"
).split()


MAJOR = {"name", "ticker", "verdict", "p_knows", "p_pays", "timing_sharpe", "sharpe"}


def pill(verdict: str) -> str:
    """Show a verdict or status as a pill; the word says what the color says."""
    kind = "none"
    if verdict.startswith(SKILL):
        kind = "evidence"
    elif verdict.startswith(("suspected", "timeout", "memory", "unavailable")):
        kind = "warning"
    elif verdict in ("failed", "refused"):
        kind = "refused"
    return f'<span class="pill {kind}">{escape(verdict)}</span>'


def board(rows: pd.DataFrame, columns: Sequence[str] = BOARD, *, links: Mapping[str, str] | None = None) -> str:
    """Show leaderboard rows as an HTML table; a row that did not run shows its reason instead of numbers.

    `links` maps a model's name to the address of its card.
    """
    rows = rows.assign(
        seconds=rows["fit_seconds"] + rows["predict_seconds"],
        interval=[
            f"{fixed(2)(a)} to {fixed(2)(b)}" for a, b in zip(rows["sharpe_low"], rows["sharpe_high"], strict=True)
        ],
    )
    shown = [c for c in columns if c not in ("family", "ticker") or len(set(rows[c])) > 1]
    heads = "".join(_head(COLUMNS[c], text=c in ("name", "family", "ticker", "verdict")) for c in shown)
    body = "".join(_board_row(row, shown, links or {}) for _, row in rows.iterrows())
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Leaderboard"><table class="board stack">'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _head(column: Column, *, text: bool) -> str:
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    return f'<th scope="col"{hint}{" class=text" if text else ""}>{escape(column.title)}</th>'


def _board_row(row: pd.Series, columns: Sequence[str], links: Mapping[str, str]) -> str:
    cells = []
    for c in columns:
        title = escape(COLUMNS[c].title)
        if c == "name":
            said, link = escape(str(row["name"])), links.get(str(row["name"]))
            said = f'<a href="{escape(link)}">{said}</a>' if link else said
            cells.append(f'<td data-label="{title}">{said}</td>')
        elif c in ("family", "ticker"):
            cells.append(f'<td class="text" data-label="{title}">{escape(str(row[c]))}</td>')
        elif c == "verdict":
            cells.append(f'<td class="text" data-label="{title}">{pill(str(row[c]))}</td>')
        elif row["status"] != "ok":
            rest = len(columns) - columns.index(c)
            cells.append(f'<td class="text quiet" colspan="{rest}" data-label="Why">{escape(str(row["reason"]))}</td>')
            break
        else:
            write, value = COLUMNS[c].write, row[c]
            why = metrics.UNDEFINED.get(c, "undefined")
            blank = write is not None and not np.isfinite(value)
            hover = f' title="{escape(why)}"' if blank else ""
            key = f' data-value="{value}"' if write is not None and not blank else ""
            minor = "" if c in MAJOR else ' class="minor"'
            said = write(value) if write else escape(str(value))
            cells.append(f'<td{minor} data-label="{title}"{hover}{key}>{said}</td>')
    return f'<tr data-family="{escape(str(row["family"]))}">{"".join(cells)}</tr>'


def table(
    rows: Iterable[Sequence[object]],
    heads: Sequence[str],
    *,
    caption: str = "",
    write: Callable[[object], str] = number,
) -> str:
    """Show plain rows as an HTML table, all of it escaped; words stand left, numbers (written by `write`) right."""
    rows = [list(row) for row in rows]
    words = [all(isinstance(row[i], str) for row in rows) for i in range(len(heads))]
    text = [' class="text"' if w else "" for w in words]
    head = "".join(f'<th scope="col"{t}>{escape(h)}</th>' for h, t in zip(heads, text, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{t} data-label="{escape(h)}">{escape(v) if isinstance(v, str) else write(v)}</td>'
            for v, h, t in zip(row, heads, text, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    inside = f"{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    # On a phone, rows of words read better as cards, and a name above its numbers leaves them room.
    named = sum(words) == 1 and words[0] and len(heads) <= 8
    stack = ' class="stack"' if sum(words) > 1 else f' class="named" style="--n:{len(heads) - 1}"' if named else ""
    return f'<div class="scroll" tabindex="0"><table{stack}>{inside}</table></div>'


def figures(items: Iterable[tuple[str, str, str]]) -> str:
    """A row of large numbers: (name, value, what it means)."""
    return (
        '<div class="figures">'
        + "".join(
            f'<div><span class="name">{escape(n)}</span><span class="value">{escape(v)}</span>'
            f'<span class="note">{escape(t)}</span></div>'
            for n, v, t in items
        )
        + "</div>"
    )


# --- cards and banners ----------------------------------------------------------------------------------------


def asides(lines: Iterable[str]) -> str:
    """Quiet lines below what they belong to."""
    return "".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)


def mode_words(mode: str, as_of: str = "") -> str:
    """What kind of data a mode shows, "as_of" its last session where that is known."""
    return {
        "sample": f"real historical data{as_of and f' to {as_of}'}, not Polygon/FRED, not for trading",
        "live": f"provider data{as_of and f' as of {as_of}'}",
        "replay": f"TEST: replayed answers{as_of and f' as of {as_of}'}, worth nothing",
    }.get(mode, f"unknown mode{as_of and f', as of {as_of}'}")


def banner(mode: str, as_of: str) -> str:
    """Say on every page what kind of data it shows."""
    said = escape(mode_words(mode, as_of))
    return f'<div class="banner {escape(mode)}"><b>{escape(mode.upper())}</b><span>{said}</span></div>'


def card(card: Any) -> str:
    """The card of one model: what it is, our reading of its name, its settings, what it gives, its reference, cost."""
    body = "".join(f"<dt>{what}</dt><dd>{_words(card, what, words)}</dd>" for what, words in card.rows())
    return f'<article class="card"><h3>{escape(card.name)}</h3><dl>{body}</dl></article>'


def _words(card: Any, what: str, words: str) -> str:
    if what == "Formula":
        return str(mathml(words, display="block"))
    if what == "Runs":
        return f"<code>{escape(words)}</code>"
    if what != "Settings":
        return escape(words)
    return "<br>".join(_settings(part) for part in card.parts)


def _settings(part: Any) -> str:
    said = [", ".join(f"{escape(k)} = {escape(v)}" for k, v in s.items()) for s in (part.chosen, part.default)]
    chosen, default = said[0], said[1] and f'<span class="quiet">by default {said[1]}</span>'
    return f"<b>{escape(part.name)}</b> {'; '.join(filter(None, (chosen, default)))}"


# --- figures --------------------------------------------------------------------------------------------------


def _figure(
    data: list[Any], *, title: str, y: str, x: str = "", corner: str = "", height: int = 400, **layout: Any
) -> go.Figure:
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
    small.update_xaxes(nticks=6, tickangle=0)
    small.update_yaxes(title=None, nticks=6)
    return small.add_annotation(
        text=escape(unit), xref="paper", yref="paper", x=0, y=1, xanchor="left", yanchor="top", xshift=4,
        showarrow=False, font={"size": 12, "color": "#56616c"},
    )  # fmt: skip


def _wrap(text: str, width: int = 70) -> list[str]:
    return [escape(line) for line in textwrap.wrap(text, width)]


def _corner(evaluation: Any) -> str:
    return f"{evaluation.ticker}, sessions to {evaluation.forecasts.index[-1].date()}, net of costs"


WEEK = 5  # sessions between two points of a thin line: nobody reads a day off it, and a page of 25 holds a fifth


def _days(index: pd.Index) -> list[str]:
    return [str(day)[:10] for day in index]


def _short(values: Any) -> Any:
    """Values as a screen needs them, at half the bytes."""
    return np.asarray(values, dtype="f4")


def equity(evaluation: Any, others: Sequence[Any] = ()) -> go.Figure:
    """Wealth from 1, net of costs, of a model (and of `others`, thin) against buy-and-hold; log scale."""
    frame = evaluation.forecasts
    held = metrics.wealth(frame["benchmark"])
    own, days = metrics.wealth(frame["net"]), _days(frame.index)
    rivals = [
        go.Scatter(
            x=_days(o.forecasts.index[::WEEK]),
            y=_short(metrics.wealth(o.forecasts["net"]))[::WEEK],
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
        go.Scatter(x=days, y=_short(held), name="buy-and-hold", mode="lines", line={"color": NONE, "width": 2}),
        go.Scatter(x=days, y=_short(own), name=evaluation.model, mode="lines", line={"color": ACCENT, "width": 2.5}),
    ]
    more = "more" if own[-1] > held[-1] else "less"
    title = f"{evaluation.model} turned 1 into {own[-1]:.2f}, {more} than holding {evaluation.ticker} ({held[-1]:.2f})"
    spread = max(held.max(), own.max()) / max(min(held.min(), own.min()), 1e-4)
    few, some, many = (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 3, 5, 7, 8, 9)
    steps = few if spread > 6 else some if spread > 2 else many
    marks = [a * 10.0**b for b in range(-4, 5) for a in steps]
    ticks = {"type": "log", "tickvals": marks, "ticktext": [f"{m:g}" for m in marks]}
    return _figure(lines, title=title, y="wealth, log scale", corner=_corner(evaluation), yaxis=ticks)


def forecasts(evaluation: Any, sessions: int = 500) -> go.Figure:
    """Forecast, its interval and the outcome, for the last `sessions` of the test."""
    frame = evaluation.forecasts.iloc[-sessions:]
    x, held = _days(frame.index), evaluation.metrics["coverage"]
    data = [
        go.Scatter(
            x=x, y=_short(frame["upper"] * 100), mode="lines", line={"width": 0}, showlegend=False, hoverinfo="skip"
        ),
        go.Scatter(
            x=x,
            y=_short(frame["lower"] * 100),
            mode="lines",
            line={"width": 0},
            fill="tonexty",
            fillcolor=SOFT,
            name="90 % interval",
            hoverinfo="skip",
        ),
        go.Scatter(
            x=x,
            y=_short(frame["y"] * 100),
            mode="markers",
            marker={"size": 3, "color": NONE},
            name="outcome",
        ),
        go.Scatter(
            x=x, y=_short(frame["forecast"] * 100), mode="lines", line={"color": ACCENT, "width": 2}, name="forecast"
        ),
    ]
    said = f"held {held:.1%} of outcomes" if np.isfinite(held) else "could not be calibrated"
    title = (
        f"{evaluation.model}: the 90 % interval {said}; correlation with the outcome {number(evaluation.metrics['ic'])}"
    )
    return _figure(data, title=title, y=f"{evaluation.horizon}-session return, %", corner=_corner(evaluation))


SHADES = {"crisis": VERMILION, "volatile": AMBER, "trending": ACCENT, "stable": NONE}


def regimes(history: pd.DataFrame, name: str, title: str) -> go.Figure:
    """Closes of a history of regimes, the background shaded by the label of the score; log scale."""
    days, log = _days(history.index), {"type": "log"}
    line = go.Scatter(x=days, y=_short(history["close"]), name="close", mode="lines", line={"color": "#1a1f24"})
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
    return _figure([line, *keys], title=title, y="close, log scale", corner=corner, yaxis=log, shapes=shapes)


def sharpes(rows: pd.DataFrame, luck: Mapping[str, float], *, corner: str = "") -> go.Figure:
    """Every model's annual timing Sharpe ratio with its 95 % interval, sorted, and the best that luck would give.

    Holding the share has none: it is the line at zero. The phone form shows the best `PHONE_ROWS`, each name above its
    bar. `luck` has the threshold of the usual span, and best, the same in standard errors.
    """
    ran = rows[(rows["status"] == "ok") & rows["timing_sharpe"].notna()].sort_values("timing_sharpe")
    error = 1.96 * ran["timing_luck"].astype(float) / luck["best"]
    ran = ran.assign(sharpe=ran["timing_sharpe"])
    ran = ran.assign(sharpe_low=ran["sharpe"] - error, sharpe_high=ran["sharpe"] + error)
    threshold = luck["threshold"]
    above = int((ran["sharpe"] > ran["timing_luck"]).sum())
    one = above == 1
    count = f"The timing of {above or 'none'} of {len(ran)} models {'is' if one or not above else 'are'}"
    passed = f"{count} better than the best that luck alone would give ({threshold:.2f})"
    lines = [(0.0, "holding", NONE, "dot"), (threshold, f"luck {threshold:.2f}", VERMILION, "dash")]
    lines = [line for line in lines if np.isfinite(line[0])]
    known = {"title": passed, "y": "", "x": "annual Sharpe ratio of the timing, net", "corner": corner}
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
            x=ran[chosen]["sharpe"].round(3),
            y=place[chosen],
            text=names[chosen],
            mode="markers",
            name=name,
            marker={"color": color, "size": 7, "symbol": symbol},
            error_x={"array": (1.96 * _deviation(ran[chosen])).round(3), "color": color, "thickness": 1.2, "width": 0},
            hovertemplate="%{text}: %{x:.2f}<extra></extra>",
        )
        for chosen, name, color, symbol in (
            (~skilled, "no evidence", NONE, "circle"),
            (skilled, "evidence", ACCENT, "diamond"),
        )
        if chosen.any()
    ]
    data.append(go.Scatter(x=[None], y=[None], xaxis="x2", showlegend=False, hoverinfo="skip"))
    fig = _figure(data, height=150 + LINES + lane * len(ran), **known)
    fig.update_layout(margin_t=fig.layout.margin.t + LINES, legend={"yref": "container", "y": 0})
    shown = [*ran["sharpe_low"], *ran["sharpe_high"], *(at for at, *_ in lines)]
    low, high = (min(shown) - 0.05, max(shown) + 0.15) if len(ran) else (-1.0, 1.0)
    fig.update_layout(xaxis2={"overlaying": "x", "matches": "x", "side": "top", "showgrid": False, "title": None})
    step = 0.5 if high - low < 4 else 1.0
    fig.update_xaxes(range=[low, high], dtick=step, tick0=0)
    ticks = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    for row, tick in itertools.product(range(len(ran) - SCREEN, SCREEN // 2, -SCREEN), ticks):
        fig.add_annotation(
            x=tick, y=row - 0.5, text=number(tick), showarrow=False, bgcolor="white", borderpad=0,
            font={"size": 11, "color": "#56616c"},
        )  # fmt: skip
    fig.update_yaxes(range=[-0.8, len(ran) - 0.2], zeroline=False)
    for at, name, color, dash in lines:
        fig.add_vline(x=at, line={"color": color, "dash": dash, "width": 1.5})
        left, luck = at > (low + high) / 2, color == VERMILION
        fig.add_annotation(
            x=at, y=1, yref="paper", text=name, showarrow=False, font={"size": 12, "color": color},
            xanchor="right" if left else "left", xshift=-4 if left else 4, yanchor="bottom", yshift=20 if luck else 36,
        )  # fmt: skip
    return fig


def _deviation(rows: pd.DataFrame) -> pd.Series:
    return (rows["sharpe_high"] - rows["sharpe_low"]) / (2 * 1.96)
