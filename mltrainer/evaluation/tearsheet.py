"""A factor on a universe: does it order the shares of a session, for how long, and what does trading it leave?

Whoever knows Alphalens finds its figures, with three differences: returns begin at the next entry, errors know that
labels overlap, and a coefficient counts as different from zero only if it also stands where names exchange their
histories.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mltrainer import metrics
from mltrainer.data.universes import SECTORS
from mltrainer.evaluation import crosssection as cs
from mltrainer.evaluation.crosssection import LEAST, Coefficient, Frame, Series
from mltrainer.features.matrix import Matrix

NEITHER = (float("nan"), float("nan"))
LEVEL = 0.05
UNPROVEN = "its scores are of unproven origin: whether they were known on their day cannot be shown"


@dataclass(frozen=True)
class TearSheet:
    """A factor and all that its tear sheet says; figures are computed when they are asked for.

    Attributes
    ----------
    name, of : what it is called, and of what it is: "feature", "model" (forecasts out of sample) or "own".
    matrix : the sealed panel whose prices it is judged by.
    scores : (n, k) sessions x tickers, known at the close of their session; NaN where there is none.
    horizon : sessions a position is held.
    q : quantiles a session is divided into.
    cost_bps : cost of trading one unit of weight, in basis points of its value, per side.
    share : of a session's volume that the portfolio may be, for its capacity.
    among : how many such factors could have been asked about.
    """

    name: str
    of: str
    matrix: Matrix
    scores: Frame
    horizon: int
    q: int = 5
    cost_bps: float = 5.0
    share: float = 0.01
    among: int = 1

    # -- what it is judged by --------------------------------------------------------------------------------

    @property
    def tickers(self) -> list[str]:
        """Names that are ranked."""
        return [str(ticker) for ticker in self.scores]

    @cached_property
    def prices(self) -> Frame:
        """(n, k) prices at which a session is entered, from the factor's first session on."""
        return wide(self.matrix.prices["entry"]).loc[self.scores.index[0] :, self.scores.columns]

    @cached_property
    def returns(self) -> Frame:
        """(n, k) simple returns over the horizon from the next entry on."""
        return cs.forward_returns(self.prices, self.horizon)

    @cached_property
    def sectors(self) -> dict[str, str]:
        """Sector of each name that has one."""
        return {t: SECTORS[t] for t in self.tickers if t in SECTORS}

    # -- does it order ---------------------------------------------------------------------------------------

    @cached_property
    def ic(self) -> Series:
        """Rank correlation across names of factor and return, (n,) by session."""
        return cs.information_coefficient(self.scores, self.returns)

    @cached_property
    def coefficient(self) -> Coefficient:
        """Mean IC, ICIR per session, HAC t."""
        return cs.coefficient(self.ic, horizon=self.horizon)

    @cached_property
    def neutral(self) -> Coefficient:
        """The same within sectors, of the names that have one; NaN below five, or where all are in one sector."""
        names = list(self.sectors)
        if len(names) < LEAST or len(set(self.sectors.values())) < 2:
            return Coefficient(*NEITHER, float("nan"), 0)
        ic = cs.information_coefficient(self.scores[names], self.returns[names], sectors=self.sectors)
        return cs.coefficient(ic, horizon=self.horizon)

    @cached_property
    def p_hac(self) -> float:
        """Two-sided p of a mean IC of zero, by its HAC t."""
        return float(2 * stats.norm.sf(abs(self.coefficient.t)))

    @cached_property
    def p_exchanged(self) -> float:
        """The same by names that exchange their histories (`crosssection.exchanged`)."""
        return cs.exchanged(self.scores, self.returns)

    @property
    def p(self) -> float:
        """The larger of both: a coefficient counts if it stands against time and against names."""
        return max(self.p_hac, self.p_exchanged)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean IC, by its HAC error."""
        return _interval(self.coefficient.mean, self.coefficient.t)

    @cached_property
    def decay(self) -> Frame:
        """Mean IC, ICIR and HAC t by horizon, with the 95 % interval of the mean."""
        rows = cs.decay(self.scores, self.prices)
        ends = [_interval(m, t) for m, t in zip(rows["mean"], rows["t"], strict=True)]
        return rows.assign(sessions=rows["sessions"].astype(int), low=[a for a, _ in ends], high=[b for _, b in ends])

    # -- what it pays ----------------------------------------------------------------------------------------

    @cached_property
    def by_quantile(self) -> Frame:
        """Mean return of each quantile, and over all names of its session with HAC t; the last row is the spread."""
        place, returns = cs.quantiles(self.scores, self.q), self.returns.reindex_like(self.scores)
        each = {n: returns.where(place == n).mean(axis=1) for n in range(1, self.q + 1)}
        held = returns.where(place.notna()).mean(axis=1)
        rows = {str(n): (r.mean(), *_mean(r - held, self.horizon), int(r.count())) for n, r in each.items()}
        spread = each[self.q] - each[1]
        rows["spread"] = (spread.mean(), *_mean(spread, self.horizon), int(spread.count()))
        columns = ["mean", "excess", "t", "sessions"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("quantile")

    @cached_property
    def weights(self) -> dict[str, Frame]:
        """Weights held over each session, by portfolio: long-short, long only."""
        return {
            name: cs.weights(self.scores, q=self.q, long_only=long, horizon=self.horizon).reindex_like(self.prices)
            for name, long in (("long-short", False), ("long only", True))
        }

    @cached_property
    def portfolios(self) -> dict[str, Frame]:
        """Gross and net return, turnover and cost by session, by portfolio, of the sessions in which there is one."""
        return {
            name: cs.portfolio(weight, self.prices, cost_bps=self.cost_bps)[self._invested]
            for name, weight in self.weights.items()
        }

    @cached_property
    def _invested(self) -> slice:
        """From the first to the last session in which something is held, whose return is known."""
        held = np.flatnonzero(self.weights["long only"].iloc[:-1].sum(axis=1) > 0)
        return slice(int(held[0]), int(held[-1]) + 1) if len(held) else slice(0, 0)

    @cached_property
    def held(self) -> Series:
        """Return by session of all names in equal shares, without costs, of the same sessions."""
        return cs.forward_returns(self.prices, 1, delay=0).mean(axis=1)[self._invested]

    @cached_property
    def volume(self) -> tuple[Frame | None, str]:
        """(n, k) shares traded in a session, or None and why."""
        bars = {d.name: d.frame for d in self.matrix.sources if d.kind == "bars"}
        lacking = [t for t in self.tickers if t not in bars or "volume" not in bars[t]]
        if lacking:
            return None, f"no volume of {len(lacking)} of {self.prices.shape[1]} names, {lacking[0]} among them"
        found = pd.DataFrame({t: bars[t]["volume"] for t in self.tickers})
        return found.reindex(self.prices.index), ""

    def capacity(self, portfolio: str) -> float:
        """Dollars at which the median trade is `share` of the volume of its tightest name; NaN without volume."""
        volume, _ = self.volume
        if volume is None:
            return float("nan")
        return cs.capacity(self.weights[portfolio], self.prices, volume, share=self.share)

    @cached_property
    def pays(self) -> Frame:
        """What each portfolio leaves: returns and volatility a year, Sharpe with error, drawdown, turnover a year."""
        held = pd.DataFrame({"gross": self.held, "net": self.held, "turnover": 0.0})
        rows = {name: _pays(frame) | {"capacity": self.capacity(name)} for name, frame in self.portfolios.items()}
        return pd.DataFrame(rows | {"all names": _pays(held) | {"capacity": float("nan")}}).T.rename_axis("portfolio")

    @cached_property
    def turnover(self) -> Frame:
        """Share of names new to the lowest and highest quantile, and rank autocorrelation, over 1 and h sessions."""
        rows = {
            period: {
                "lowest": cs.quantile_turnover(self.scores, 1, q=self.q, period=period).mean(),
                "highest": cs.quantile_turnover(self.scores, self.q, q=self.q, period=period).mean(),
                "autocorrelation": cs.autocorrelation(self.scores, period=period).mean(),
            }
            for period in sorted({1, self.horizon})
        }
        return pd.DataFrame(rows).T.rename_axis("sessions")

    @cached_property
    def names(self) -> Frame:
        """A row per name: its IC over time with HAC t, how often it is lowest and highest, what it adds a year.

        `adds` is the mean gross return of its weight in the long-short portfolio, times 252.
        """
        place, weight = cs.quantiles(self.scores, self.q), self.weights["long-short"]
        added = (weight * cs.forward_returns(self.prices, 1, delay=0)).mean() * metrics.SESSIONS
        rows = {}
        for ticker in self.tickers:
            known = pd.concat([self.returns[ticker], self.scores[ticker]], axis=1, keys=["y", "said"]).dropna()
            varies = len(known) > 2 * self.horizon + 2 and np.ptp(known["said"]) > 0
            ic, t = metrics.information_coefficient(known["y"], known["said"], lags=self.horizon) if varies else NEITHER
            there = place[ticker].count()
            rows[ticker] = {
                "sector": self.sectors.get(ticker, ""),
                "sessions": len(known),
                "ic": ic,
                "t": t,
                "lowest": (place[ticker] == 1).sum() / there if there else float("nan"),
                "highest": (place[ticker] == self.q).sum() / there if there else float("nan"),
                "adds": added[ticker],
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ticker")

    # -- in words --------------------------------------------------------------------------------------------

    def verdict(self) -> str:
        """Whether the mean IC differs from zero, also as one of `among`."""
        if not self.p <= LEVEL:
            return "does not differ from zero"
        alone = self.p * self.among > LEVEL
        return f"differs from zero by itself, not as the best of {self.among}" if alone else "differs from zero"

    def sentence(self) -> str:
        """Say the finding: whether the IC differs from zero, and what trading it leaves."""
        c, (low, high), pays = self.coefficient, self.interval, self.pays.loc["long-short"]
        also = f", even as the best of {self.among}" if self.verdict() == "differs from zero" and self.among > 1 else ""
        own = f"; {UNPROVEN}" if self.of == "own" else ""
        return (
            f"The mean IC of {self.name} over {self.horizon} sessions, {c.mean:.3f}, {self.verdict()}{also}: 95 % "
            f"interval {low:.3f} to {high:.3f}, HAC t {c.t:.1f} in {c.sessions:,} sessions of {self.scores.shape[1]} "
            f"names, p {self.p_exchanged:.2g} where names exchange their histories; long the highest and short the "
            f"lowest of {self.q} parts has a Sharpe ratio of {pays['sharpe']:.2f} net of {self.cost_bps:g} bps{own}."
        )

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of the first line of the tear sheet."""
        low, high = self.interval
        neutral = self.neutral
        return {
            "factor": self.name, "of": self.of, "horizon": self.horizon, "names": self.scores.shape[1],
            "sessions": self.coefficient.sessions, "ic": self.coefficient.mean, "ic_low": low, "ic_high": high,
            "icir": self.coefficient.ratio, "t": self.coefficient.t, "p_hac": self.p_hac,
            "p_exchanged": self.p_exchanged, "verdict": self.verdict(), "among": self.among,
            "ic_neutral": neutral.mean, "t_neutral": neutral.t, "names_with_sector": len(self.sectors),
            "spread": self.by_quantile.loc["spread", "mean"], "spread_t": self.by_quantile.loc["spread", "t"],
            "capacity_unknown": self.volume[1],
        }  # fmt: skip

    def __repr__(self) -> str:
        """Say the finding."""
        return f"TearSheet({self.sentence()})"


def wide(column: Series) -> Frame:
    """A panel's column as sessions x tickers."""
    return column.unstack("ticker")  # noqa: PD010 - a level becomes the columns; there is nothing to aggregate


def _interval(mean: float, t: float) -> tuple[float, float]:
    error = 1.96 * abs(mean / t) if t else float("nan")
    return mean - error, mean + error


def _mean(values: Series, horizon: int) -> tuple[float, float]:
    known = values.dropna()
    return (float(known.mean()), metrics.newey_west_t(known, 2 * horizon)) if len(known) > 1 else NEITHER


def _pays(frame: Frame) -> dict[str, float]:
    net, traded = frame["net"], float(frame["turnover"].sum())
    return {
        "gross_return": metrics.annual_return(frame["gross"]),
        "net_return": metrics.annual_return(net),
        "volatility": float(net.std() * np.sqrt(metrics.SESSIONS)),
        "sharpe": metrics.sharpe(net),
        "sharpe_error": metrics.sharpe_standard_error(net),
        "max_drawdown": metrics.max_drawdown(net),
        "turnover": float(frame["turnover"].mean() * metrics.SESSIONS),
        "breakeven_bps": float(frame["gross"].sum() / traded * 1e4) if traded > 0 else float("nan"),
    }
