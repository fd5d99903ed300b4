"""Features of alternative sources: one row each, as known at the close of a session and never before."""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from mltrainer.features import macro
from mltrainer.features.macro import MONTHLY, MacroRow

PREFIX = "alt_"  # of a column, so that it can never pass for one of market data

ALTERNATIVE: tuple[MacroRow, ...] = (
    MacroRow(
        "alt_elnino_yoy", "degrees Celsius", ("elnino",), MONTHLY, partial(macro.difference, months=12),
        "sea surface temperature of the eastern Pacific less that of a year before",
    ),
)  # fmt: skip


def columns(series: Mapping[str, pd.DataFrame], sessions: pd.Index) -> pd.DataFrame:
    """Features (n, k) of the sources given, at `sessions`; NaN before anything was known, and where it is too old."""
    rows = [(row, series[row.series[0]]) for row in ALTERNATIVE if row.series[0] in series]
    found = {row.name: macro.asof(s, sessions, max_age_days=row.max_age_days, change=row.change) for row, s in rows}
    return pd.DataFrame(found, index=sessions, dtype=float)


def notes(names: "pd.Index[str]") -> list[str]:
    """What a matrix says of the alternative sources among its columns."""
    used = [row.series[0] for row in ALTERNATIVE if row.name in names]
    return [f"ALTERNATIVE data: {name}" for name in dict.fromkeys(used)]
