"""The map of what is forecastable: targets by horizons, a cell as dark as what its best plain forecast explains."""

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.views.numbers import percent
from mltrainer.views.tables import pill

DARKEST = 20  # % of grey in a cell that explains everything: words keep their contrast on it


def heat(rows: pd.DataFrame, titles: Mapping[str, str], links: Mapping[str, str] | None = None) -> str:
    """Show the rows of a map as an HTML table, a line for each target and a column for each horizon.

    Parameters
    ----------
    rows : as `evaluation.forecastable.Map.rows`.
    titles, links : of a target, what it is called and where its own report lies.
    """
    horizons = sorted(set(rows["horizon"]))
    heads = "".join(f'<th scope="col" class="text">{_ahead(h)}</th>' for h in horizons)
    cells: dict[Any, Any] = {(r["target"], r["horizon"]): r for r in rows.to_dict("records")}
    body = "".join(
        f'<tr><td class="text" data-label="Target">{_named(t, titles, links or {})}</td>'
        + "".join(_cell(cells.get((t, h), {"status": ""}), _ahead(h)) for h in horizons)
        + "</tr>"
        for t in dict.fromkeys(rows["target"])
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Targets by horizons"><table class="stack heat">'
        f'<thead><tr><th scope="col">Target</th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _ahead(horizon: int) -> str:
    return f"{horizon} session{'' if horizon == 1 else 's'}"


def _named(target: str, titles: Mapping[str, str], links: Mapping[str, str]) -> str:
    said = f"<b>{escape(titles.get(target, target))}</b>"
    return f'<a href="{escape(links[target])}">{said}</a>' if target in links else said


def _cell(row: Mapping[str, Any], head: str) -> str:
    if row["status"] != "ok":
        return f'<td class="text quiet" data-label="{head}"><div>{escape(str(row["status"]))}</div></td>'
    explained = row["explained"] if np.isfinite(row["explained"]) else 0.0
    plain = f"<b>{escape(row['baseline'])}</b>"
    plain += f" explains {percent(explained)} %" if explained > 0 else " is the best baseline"
    low, high = percent(row["gain_low"]), percent(row["gain_high"])
    saves = f"{escape(row['model'])} saves {percent(row['gain'])} % ({low} to {high})"
    said = pill(str(row["verdict"]).partition(":")[0])
    shade = f"{DARKEST * min(max(explained, 0.0), 1.0):.0f}%"
    return (
        f'<td class="text shade" style="--heat:{shade}" data-label="{head}"><div>{plain}<br>'
        f"{saves}<br>{said}</div></td>"
    )
