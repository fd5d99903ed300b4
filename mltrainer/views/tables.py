"""Tables: the leaderboard, plain rows, a row of large numbers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.views.glossary import term
from mltrainer.views.numbers import fixed, number, percent

PHONE_LETTERS = 36  # that stand side by side on the narrowest screen, as heads are written
SKILL = "evidence of skill"  # as a verdict begins that claims it


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
    "baseline": Column("Best baseline", None, "chosen with hindsight, so that who beats it beats all"),
    "gain": Column("Loss saved, %", percent, "of the best baseline's loss; below zero the model is worse"),
    "gain_t": Column("Saved, t", fixed(1), "Diebold and Mariano's statistic, HAC"),
    "pinball": Column("Pinball", number, "quantile loss, return units"),
}
BOARD = (
    "name family ticker verdict p_knows p_pays timing_sharpe deflated_sharpe sharpe interval alpha_t ic r2_oos "
    "hit_rate max_drawdown breakeven_bps information_ratio coverage spread_ratio mz_slope seconds"
).split()


MAJOR = {"name", "ticker", "verdict", "p_knows", "p_pays", "timing_sharpe", "sharpe", "baseline", "gain", "gain_t"}
BOARDS = {  # by what proves a target
    "ranks": BOARD,
    "loss": "name family ticker verdict p_knows baseline gain gain_t ic r2_oos coverage spread_ratio mz_slope "
    "mz_slope_se p_pays sharpe interval seconds".split(),
}


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


def _abreast(heads: Sequence[str]) -> int:
    """Numbers that stand side by side on a phone, below the name of their row: as many as their heads leave room."""
    longest = max((len(word) for head in heads[1:] for word in head.split()), default=1)
    lines = -(-(len(heads) - 1) // max(PHONE_LETTERS // longest, 1))
    return max(-(-(len(heads) - 1) // lines), 1) if lines else 1


def table(
    rows: Iterable[Sequence[object]],
    heads: Sequence[str],
    *,
    caption: str = "",
    write: Callable[[object], str] | Sequence[Callable[[object], str]] = number,
) -> str:
    """Show plain rows as an HTML table, all of it escaped; words stand left, numbers right.

    Numbers are written by `write`, one for all columns or one for each.
    """
    writers = [write] * len(heads) if callable(write) else write
    rows = [list(row) for row in rows]
    words = [all(isinstance(row[i], str) for row in rows) for i in range(len(heads))]
    text = [' class="text"' if w else "" for w in words]
    head = "".join(f'<th scope="col"{t}>{escape(h)}</th>' for h, t in zip(heads, text, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{t} data-label="{escape(h)}">{escape(v) if isinstance(v, str) else w(v)}</td>'
            for v, h, t, w in zip(row, heads, text, writers, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    inside = f"{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    # On a phone, rows of words read better as cards, and a name above its numbers leaves them room.
    named = sum(words) == 1 and words[0] and len(heads) <= 10
    stack = ' class="stack"' if sum(words) > 1 else f' class="named" style="--n:{_abreast(heads)}"' if named else ""
    return f'<div class="scroll" tabindex="0"><table{stack}>{inside}</table></div>'


def _name(name: str) -> str:
    return f'<span class="name">{escape(name)}</span>'


def figures(items: Iterable[tuple[str, str, str]], *, terms: bool = False) -> str:
    """A row of large numbers: (name, value, what it means); with `terms` a name opens its meaning in plain words."""
    named = term if terms else _name
    return (
        '<div class="figures">'
        + "".join(
            f'<div>{named(n)}<span class="value">{escape(v)}</span><span class="note">{escape(t)}</span></div>'
            for n, v, t in items
        )
        + "</div>"
    )
