"""What became of recommendations: was the volatility as said, the view right, and what did a reader earn?"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from mltrainer import metrics, views
from mltrainer.features.targets import forward_return, realized_variance
from mltrainer.trading.recommendations.records import LEAVE, REFUSED

COST_BPS = 10.0  # a side
READERS = {"1/N": "equal shares of all names", "equal-weight reader": "equal shares of all but what is sold or reduced",
           "sized": "the sizes as recommended, the rest in cash"}  # fmt: skip
CLAIMS = {"inside": "volatility inside its 90 % interval", "right": "view with the right sign",
          "kept": "stop not touched"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class History:
    """Recommendations with what became of them.

    Attributes
    ----------
    rows : as recommended, with state ("open" until the horizon is over), outcome (return over the horizon from the
        next entry on), realized (volatility a year), touched ("stop", "target" or ""), and inside, right, kept (1 or 0,
        NaN where open or where no view was issued).
    rates : by claim: n, dates, rate and its 95 % interval (Wilson, 1927) with the dates as the number of trials, as
        the names of one day move together.
    wealth : by session, of one unit held by each of `READERS`, net of `COST_BPS` a side.
    mode : of the data.
    """

    rows: pd.DataFrame
    rates: pd.DataFrame
    wealth: pd.DataFrame
    mode: str

    @property
    def figures(self) -> pd.DataFrame:
        """By reader: return and volatility a year, Sharpe ratio, largest loss from a peak."""
        r = self.wealth.pct_change().iloc[1:]
        made = {
            name: (
                metrics.annual_return(r[name].to_numpy()), float(r[name].std()) * metrics.SESSIONS**0.5,
                metrics.sharpe(r[name]), metrics.max_drawdown(r[name].to_numpy()),
            )
            for name in r
        }  # fmt: skip
        return pd.DataFrame(made, ["annual_return", "volatility", "sharpe", "max_drawdown"]).T

    def sentence(self) -> str:
        """How it ended, in words."""
        if self.rows.empty:
            return "Nothing was recommended yet."
        over = int((self.rows["state"] == "over").sum())
        days = self.rows["as_of"].nunique()
        said = [f"{len(self.rows)} recommendations on {days} day{'s' * (days != 1)}, {over} of them over"]
        for claim, r in self.rates.iterrows():
            said.append(f"{CLAIMS[str(claim)]} in {r['rate']:.0%} ({r['low']:.0%} to {r['high']:.0%})")
        if self.rows["view"].eq("").all():
            said.append("no view on a return was issued, as none had evidence")
        if len(self.wealth) > 1:
            end, lost = self.wealth.iloc[-1], self.figures["max_drawdown"]
            each = [f"{end[n]:.2f} {w} (largest loss {lost[n]:.0%})" for n, w in SHORT.items()]
            said.append(f"one unit became {', '.join(each)}")
        return "; ".join(said) + "."

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        records = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        readers = {} if len(self.wealth) < 2 else {str(k): dict(v) for k, v in self.figures.iterrows()}
        rates = self.rates.reset_index(names="claim").to_dict("records")
        return {"mode": self.mode, "sentence": self.sentence(), "rates": rates, "readers": readers, "rows": records}

    def __repr__(self) -> str:
        return f"History({self.sentence()})"

    def _repr_html_(self) -> str:
        return f'<p class="lede">{escape(self.sentence())}</p>{rates_table(self.rates)}'


SHORT = {"1/N": "in equal shares", "equal-weight reader": "for an equal-weight reader", "sized": "as sized"}


def rates_table(rates: pd.DataFrame) -> str:
    """Rates as a page shows them."""
    rows = [[CLAIMS[str(c)], 100 * r["rate"], 100 * r["low"], 100 * r["high"], r["n"], r["dates"]]
            for c, r in rates.iterrows()]  # fmt: skip
    heads = ["Claim", "True, %", "95 % from", "to", "Said", "Days"]
    return views.table(rows, heads, write=views.fixed(0)) if rows else ""


def judged(rows: pd.DataFrame, bars: Mapping[str, pd.DataFrame], mode: str) -> History:
    """Hold recommendations to the bars there are by now, of each ticker."""
    given = rows[rows["action"] != REFUSED] if len(rows) else rows
    given = given[given["ticker"].isin(bars)] if len(given) else given
    # a row that was written before views had a column has none
    given = given.assign(view=given["view"].fillna("") if "view" in given else "")
    found = [outcome(row, bars[str(row["ticker"])]) for row in given.to_dict("records")]
    table = given.reset_index(drop=True).join(pd.DataFrame(found)) if found else given
    return History(table, _rates(table), _wealth(table, bars), mode)


def outcome(row: Mapping[Any, Any], bars: pd.DataFrame) -> dict[str, Any]:
    """What became of one recommendation, by bars in whatever prices they are adjusted to by now."""
    nothing = {"state": "open", "outcome": np.nan, "realized": np.nan, "touched": "", "inside": np.nan}
    nothing |= {"right": np.nan, "kept": np.nan}
    at, h = int(bars.index.searchsorted(pd.Timestamp(row["as_of"]))), int(row["horizon"])
    if at >= len(bars) or bars.index[at] != pd.Timestamp(row["as_of"]):
        return nothing | {"state": "its session is no longer in the data"}
    near = bars.iloc[at : at + h + 2]
    touched = _touched(row, near.iloc[: h + 1])
    if len(near) < h + 2:
        return nothing | {"touched": touched}
    entry = near["open"] if "open" in near else near["close"]
    y = float(forward_return(entry, h).iloc[0])
    variance = float(realized_variance(near.iloc[: h + 1]).iloc[1:].mean())
    realized = (variance * metrics.SESSIONS) ** 0.5
    right = {"buy": float(y > 0), "sell": float(y < 0)}.get(str(row.get("view", "")), np.nan)
    inside = float(row["volatility_low"] <= realized <= row["volatility_high"])
    return {"state": "over", "outcome": y, "realized": realized, "touched": touched, "inside": inside,
            "right": right, "kept": float(touched != "stop")}  # fmt: skip


def _touched(row: Mapping[Any, Any], near: pd.DataFrame) -> str:
    """Which of stop and target the sessions after the first row met first; of both in one session, the stop."""
    scale = float(near["close"].iloc[0]) / row["entry"]  # a later dividend moves all adjusted prices before it
    low, high = near.get("low", near["close"]).iloc[1:], near.get("high", near["close"]).iloc[1:]
    stop, target = (low <= row["stop"] * scale).to_numpy(), (high >= row["target"] * scale).to_numpy()
    first = [int(np.argmax(x)) if x.any() else len(x) for x in (stop, target)]
    return "stop" if first[0] < len(stop) and first[0] <= first[1] else "target" if first[1] < len(stop) else ""


def _rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Rate of each claim that can be judged."""
    found = {}
    for claim in CLAIMS if "state" in rows else ():
        known = rows[rows[claim].notna()]
        if len(known):
            n, dates, rate = len(known), known["as_of"].nunique(), float(known[claim].mean())
            low, high = metrics.wilson(rate, dates)
            found[claim] = {"n": n, "dates": dates, "rate": rate, "low": low, "high": high}
    return pd.DataFrame(found, ["n", "dates", "rate", "low", "high"]).T


def _wealth(rows: pd.DataFrame, bars: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Wealth of each reader, by session from the first recommendation on."""
    if rows.empty:
        return pd.DataFrame(columns=list(READERS))
    last = rows.groupby(["as_of", "ticker"]).last().reset_index()
    sizes = last.pivot_table(index="as_of", columns="ticker", values="size")
    stays = last.assign(stays=(~last["action"].isin(LEAVE)).astype(float))
    stays = stays.pivot_table(index="as_of", columns="ticker", values="stays")
    closes = pd.DataFrame({t: bars[str(t)]["close"] for t in sizes.columns}).sort_index().ffill()
    closes = closes.loc[pd.Timestamp(str(sizes.index[0])) :]
    ends = _over(last.groupby("as_of")["horizon"].max(), closes.index)
    chosen = {"1/N": _shares(sizes.notna().astype(float)), "equal-weight reader": _shares(stays), "sized": sizes}
    closes = closes.loc[: ends[-1]]
    return pd.DataFrame({name: walked(_sold(w.fillna(0.0), ends), closes) for name, w in chosen.items()})


def _over(horizons: "pd.Series[int]", sessions: pd.Index) -> list[pd.Timestamp]:
    """When all is sold: the horizon of a recommendation is over, and no later one has come by then."""
    at = [int(sessions.searchsorted(pd.Timestamp(str(day)))) for day in horizons.index]
    ends = [n + int(h) for n, h in zip(at, horizons, strict=True)]
    last = [e for e, later in zip(ends, [*at[1:], np.inf], strict=True) if later > e]
    return [sessions[min(e + (e == ends[-1]), len(sessions) - 1)] for e in last]


def _sold(weights: pd.DataFrame, ends: list[pd.Timestamp]) -> pd.DataFrame:
    cash = pd.DataFrame(0.0, [str(e.date()) for e in ends[:-1]], weights.columns)
    return pd.concat([weights, cash]).sort_index()


def _shares(held: pd.DataFrame) -> pd.DataFrame:
    return held.div(held.sum(axis=1).replace(0.0, np.nan), axis=0)


def walked(weights: pd.DataFrame, closes: pd.DataFrame, bps: float = COST_BPS) -> "pd.Series[float]":
    """Wealth of one unit: weights decided at the close of a row's session, traded at the next, drifting until then.

    Parameters
    ----------
    weights : (k, n) by session as text, fractions of wealth; what they leave is cash that earns nothing.
    closes : (t, n) by session.
    """
    orders = {pd.Timestamp(str(at)): w for at, w in zip(weights.index, weights.to_numpy(float), strict=True)}
    R = closes[list(weights.columns)].pct_change(fill_method=None).fillna(0.0).to_numpy()
    held, wanted, wealth, path = np.zeros(R.shape[1]), None, 1.0, []
    for session, r in zip(closes.index, R, strict=True):
        gain = float(held @ r)
        held, wealth = held * (1 + r) / (1 + gain), wealth * (1 + gain)
        if wanted is not None:
            wealth, held, wanted = wealth * (1 - float(np.abs(wanted - held).sum()) * bps / 1e4), wanted, None
        wanted = orders.get(session)
        path.append(wealth)
    return pd.Series(path, closes.index)
