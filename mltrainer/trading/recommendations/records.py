"""What is recommended, as a record: one row a ticker, and all of it in one sentence."""

from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from mltrainer import views
from mltrainer.trust.provenance import Provenance

COLUMNS = (
    "ticker action size score confidence entry target stop timeframe reasoning source as_of expiry falsifier mode "
    "horizon volatility volatility_low volatility_high regime model view"
).split()
REFUSED = "refused"
LEAVE = ("sell", "reduce")
NO_TRADING = "No advice: a computation on {}, for research."


@dataclass(frozen=True, eq=False)
class Recommendations:
    """Recommendations as of the close of a session.

    Attributes
    ----------
    rows : one a ticker, columns `COLUMNS` (and amount, dollars, where capital was given): action is "buy", "sell",
        "reduce", "hold", or "refused" with why in `reasoning`; size a fraction of wealth; score and confidence 0 to
        100, NaN where no model knows the return; entry, target and stop in the prices of the data; volatility a year
        with its 90 % interval; view "buy" or "sell" where one was issued on the return, else "".
    as_of : the session; target : volatility a year that the sizes together aim at.
    live : whether it is of now; else it is historical, whatever the data.
    new : ids that this call wrote into the ledger.
    """

    rows: pd.DataFrame
    as_of: str
    mode: str
    horizon: int
    target: float
    live: bool = False
    notes: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    provenance: Provenance | None = None

    @property
    def given(self) -> pd.DataFrame:
        """Rows that recommend something; the others were refused."""
        return self.rows[self.rows["action"] != REFUSED]

    @property
    def refused(self) -> dict[str, str]:
        """Ticker -> why."""
        rows = self.rows[self.rows["action"] == REFUSED]
        return dict(zip(rows["ticker"], rows["reasoning"], strict=True))

    def sentence(self) -> str:
        """What is recommended, in one line of plain words."""
        rows, kind = self.given, "today" if self.live else "historical"
        if rows.empty:
            return f"As of {self.as_of} ({kind}) nothing is recommended: {next(iter(self.refused.values()), 'no name')}"
        said = [_named(rows, action) for action in ("buy", "sell", "reduce")]
        told = "; ".join(filter(None, said)) or f"no model knows where {_many(rows)} will go"
        largest = rows.iloc[int(rows["size"].argmax())]
        of = "" if len(rows) == 1 else f" in {len(rows)} names, at most {largest['size']:.1%} in {largest['ticker']}"
        left = f"; refused: {', '.join(self.refused)}" if self.refused else ""
        return (
            f"As of {self.as_of} ({kind}), {told}; hold {rows['size'].sum():.0%} of the wealth{of}, sized by forecast "
            f"volatility for at most {self.target:.0%} a year, and the rest in cash{left}."
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON; what is undefined is None."""
        rows = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        origin = {"content": self.provenance.content_sha256} if self.provenance else {}
        return {
            "as_of": self.as_of, "mode": self.mode, "live": self.live, "horizon": self.horizon, "target": self.target,
            "sentence": self.sentence(), "rows": rows, "notes": list(self.notes), "new": list(self.new),
            "provenance": origin,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Recommendations({self.sentence()})"

    def _repr_html_(self) -> str:
        """Banner, sentence, rows and why."""
        head = f'{views.banner(self.mode, self.as_of)}<p class="lede">{escape(self.sentence())}</p>'
        return head + table(self.rows) + views.asides(self.notes)


def table(rows: pd.DataFrame) -> str:
    """Rows as a page shows them, in percent where the head says so."""
    heads = ["Name, action, regime", "Size", "Entry", "Target", "Stop", "Vol.", "from", "to"]
    columns = ["size", "entry", "target", "stop", "volatility", "volatility_low", "volatility_high"]
    percent = {"size", "volatility", "volatility_low", "volatility_high"}
    shown = [
        [
            ", ".join(filter(None, (r["ticker"], r["action"], r["regime"]))),
            *(float(r[c]) * (100 if c in percent else 1) for c in columns),
        ]
        for r in rows.to_dict("records")
    ]
    writers = [views.number, views.fixed(1), *[views.fixed(2)] * 3, *[views.fixed(0)] * 3]
    return views.table(shown, heads, caption=UNITS, write=writers)


UNITS = "Size in % of the wealth, prices as in the data, volatility in % a year with its 90 % interval"


def _named(rows: pd.DataFrame, action: str) -> str:
    names = list(rows.loc[rows["action"] == action, "ticker"])
    return f"{action} {', '.join(names)}" if names else ""


def _many(rows: pd.DataFrame) -> str:
    return str(rows["ticker"].iloc[0]) if len(rows) == 1 else f"any of {len(rows)} names"
