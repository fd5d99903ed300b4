"""From bars to recommendations: a view only where there is evidence, a size always.

The size comes from what is known, the forecast volatility and the correlations of the past, shrunk. A view with
evidence moves it (Black and Litterman); without one expected returns stay those that the sizes themselves imply.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.data import market, quality
from mltrainer.data.dates import Day, day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, MltrainerError, NotEnoughHistory, StorageError, Tampered
from mltrainer.trading.alerts.watching import unfit
from mltrainer.trading.forecasts.inference import after
from mltrainer.trading.portfolio import beliefs, inputs
from mltrainer.trading.portfolio.limits import POSITION, Constraints
from mltrainer.trading.portfolio.optimize import SESSIONS, optimize
from mltrainer.trading.portfolio.records import View
from mltrainer.trading.portfolio.sizing import size
from mltrainer.trading.recommendations import evidence, known
from mltrainer.trading.recommendations.evidence import Knowledge
from mltrainer.trading.recommendations.known import Risk
from mltrainer.trading.recommendations.records import COLUMNS, REFUSED
from mltrainer.trading.regimes import of_bars
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset, Provenance

Array = NDArray[np.float64]
SCORE, CONFIDENCE = 80.0, 70.0  # a view is shown above the one and from the other on
LOW_SCORE = 20.0  # and one against a name up to here
DEFAULT_STOP, TOTAL_RISK, GAP = 0.05, 0.20, 0.10  # fractions; GAP is what one may hold above a size
ACTIVE = 50  # recommendations at once
BAND = 2.0  # deviations over the horizon to the stop and to the target
AIM = 0.10  # volatility a year of all together


@dataclass(frozen=True, eq=False)
class Name:
    """One ticker with what is known of it at the last session of its bars."""

    ticker: str
    frame: pd.DataFrame
    risk: Risk
    view: Knowledge
    state: dict[str, Any]
    source: str = ""
    mode: str = ""

    @classmethod
    def of(cls, bars: Dataset, risk: Risk, view: Knowledge) -> "Name":
        """From bars, what is known of their risk, and what the ledger shows of their return."""
        p = bars.provenance
        source = f"{p.source}, content {p.content_sha256[:12]}" if p else ""
        return cls(bars.name, bars.frame, risk, view, _state(bars.frame), source, p.mode if p else "")

    @property
    def issued(self) -> str:
        """The view that is shown: "buy", "sell" or nothing."""
        v = self.view
        if not v.model or not v.confidence >= CONFIDENCE:
            return ""
        return "buy" if v.score > SCORE and v.mean > 0 else "sell" if v.score <= LOW_SCORE and v.mean < 0 else ""

    def distance(self, horizon: int) -> float:
        """To the stop, a fraction: 5 %, or two deviations over the horizon where 5 % lies inside the noise."""
        return min(max(DEFAULT_STOP, BAND * self.risk.volatility * horizon**0.5), 0.9)


# --- bars -----------------------------------------------------------------------------------------------------


def fetched(asked: Any, as_of: Day) -> tuple[list[Dataset], dict[str, str]]:
    """Bars of each name up to a day, all of the same last session; and why of some there are none."""
    start, last = getattr(asked, "start", "") or None, day(as_of, "as_of")
    items = _several(asked)
    names = [d.name if isinstance(d, Dataset) else str(d).upper() for d in items]
    if not names or len(set(names)) < len(names):
        raise BadInput("a recommendation is of one ticker or more, each named once")
    found: dict[str, Dataset] = {}
    lacking: dict[str, MltrainerError] = {}
    for name, item in zip(names, items, strict=True):
        try:
            found[name] = _bars(item, start, last)
        except (Tampered, StorageError):
            raise  # which concerns the others as well
        except MltrainerError as error:
            lacking[name] = error
    if not found:
        raise next(iter(lacking.values()))
    session = max(d.frame.index[-1] for d in found.values())
    for name, item in zip(names, items, strict=True):
        # a sample may hold a name twice: asked for the last session of the others, it gives the series that has it
        if isinstance(item, str) and name in found and found[name].frame.index[-1] < session:
            found[name] = _bars(item, start, last or session)
    return list(found.values()), {name: str(error) for name, error in lacking.items()}


def _several(asked: Any) -> list[Any]:
    if isinstance(asked, Universe):
        return list(asked.tickers)
    if not isinstance(asked, str | Dataset | Iterable):
        raise BadInput(f"{str(asked)[:60]!r} is neither a ticker, bars, a list of these nor a universe")
    return [asked] if isinstance(asked, str | Dataset) else list(asked)


def _bars(item: Any, start: Day, last: pd.Timestamp | None) -> Dataset:
    if isinstance(item, str):
        return market.bars(item, start=start, end=last)
    gate.verify(item, "recommendations")
    assert isinstance(item, Dataset)
    return market.until(item, last)


def fit(bars: Dataset, session: pd.Timestamp) -> None:
    """Raise where nothing may be recommended on bars: adjusted they must be, clean, whole and of the session."""
    gate.verify(bars, "recommendations")
    if why := unfit(bars):
        raise BadInput(why.replace("alerts need", "a recommendation needs"))
    quality.gatekeep(bars)
    if bars.frame.index[-1] != session:
        raise NotEnoughHistory(f"its last bar is of {bars.frame.index[-1]:%Y-%m-%d}, others have {session:%Y-%m-%d}")


# --- rows -----------------------------------------------------------------------------------------------------


def decided(
    parts: Iterable[Dataset],
    *,
    horizon: int = 5,
    aim: float = AIM,
    held: Mapping[str, float] | None = None,
    lacking: Mapping[str, str] | None = None,
) -> tuple[pd.DataFrame, list[str], Provenance]:
    """Recommendations of the last session of bars: rows, what gave way, and where it is from."""
    parts, refused = list(parts), dict(lacking or {})
    session, origin = max(d.frame.index[-1] for d in parts), gate.verify(parts[0], "recommendations")
    names: dict[str, Name] = {}
    for bars in parts:
        try:
            fit(bars, session)
            names[bars.name] = Name.of(bars, known.best(bars, horizon), evidence.known(bars, horizon))
        except (Tampered, StorageError):
            raise
        except MltrainerError as error:
            refused[bars.name] = str(error)
    returns = None
    if len(names) > 1:
        sealed = inputs.closes([d for d in parts if d.name in names])
        given = inputs.of_data(sealed, as_of=None, sessions=SESSIONS, benchmark=None)
        returns, origin = given.returns, given.provenance or origin
    elif names:
        origin = gate.verify(next(d for d in parts if d.name in names), "recommendations")
    made, notes = rows_of(names, returns, horizon, aim, held)
    lost = {"action": REFUSED, "as_of": str(session.date()), "mode": origin.mode, "horizon": horizon}
    empty = {"regime": "", "model": "", "view": ""}
    table = [*made, *(lost | empty | {"ticker": t, "reasoning": why} for t, why in refused.items())]
    return pd.DataFrame(table, columns=COLUMNS), notes, origin


def of_frames(frames: Mapping[str, pd.DataFrame], *, horizon: int = 5, aim: float = AIM) -> pd.DataFrame:
    """The rows for frames of whatever origin and without a look into the ledger: for checks, never for a reader."""
    parts = [Dataset(frame, name, "bars") for name, frame in frames.items()]
    names = {d.name: Name.of(d, known.volatility(d.frame, horizon), Knowledge("Not asked.")) for d in parts}
    closes = inputs.joined(*parts).frame.iloc[-SESSIONS - 1 :].to_numpy(float)
    made, _ = rows_of(names, closes[1:] / closes[:-1] - 1, horizon, aim, None)
    return pd.DataFrame(made, columns=COLUMNS)


def rows_of(
    names: Mapping[str, Name], returns: Array | None, horizon: int, aim: float, held: Mapping[str, float] | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each name, at most `ACTIVE`, and what gave way; returns (t, n) are those of all names together."""
    if not names:
        return [], []
    weights, notes = sized(names, returns, horizon, aim)
    made = [_row(n, float(weights[t]), horizon, held) for t, n in names.items()]
    if len(made) > ACTIVE:
        made.sort(key=lambda r: (r["action"] == "hold", -r["size"]))
        notes.append(f"at most {ACTIVE} are shown: {', '.join(r['ticker'] for r in made[ACTIVE:])} are not")
    return made[:ACTIVE], notes


def sized(
    names: Mapping[str, Name], returns: Array | None, horizon: int, aim: float
) -> tuple["pd.Series[float]", list[str]]:
    """Fractions of wealth by name: forecast volatility and shrunk correlations, moved by the views that are issued."""
    order, vol = list(names), np.array([n.risk.volatility for n in names.values()])
    cov, said = (np.diag(vol**2), []) if returns is None else beliefs.estimated(returns, "ledoit-wolf")
    sigma = pd.DataFrame(beliefs.rescaled(cov, vol), order, order)
    found = size(dict.fromkeys(order, 1), rule="volatility-target", sigma=sigma, target=aim, position=POSITION)
    weights, notes = found.weights, [*said, *found.notes]
    stated = _views(names, horizon)
    if stated and len(order) == 1:
        weights = weights * (names[order[0]].issued != "sell")
    elif stated:
        limits = Constraints(upper=POSITION, budget=float(weights.sum()))
        moved = optimize(
            sigma=sigma, method="black-litterman", views=stated, constraints=limits, market_weights=weights
        )
        weights = moved.weights.reindex(order).clip(lower=0.0)
        notes.append(f"{len(stated)} views moved the sizes (Black and Litterman, {moved.status})")
    risk = float(sum(weights[t] * n.distance(horizon) for t, n in names.items()))
    if risk > TOTAL_RISK:
        weights = weights * (TOTAL_RISK / risk)
        notes.append(f"all stops together would cost {risk:.0%}, above {TOTAL_RISK:.0%}: sizes are made smaller")
    return weights, notes


def _state(frame: pd.DataFrame) -> dict[str, Any]:
    """Labels of the last session, by the price alone, and two features in plain words."""
    close, last = frame["close"], of_bars(frame).iloc[-1]
    said = {k: None if pd.isna(last[k]) else last[k] for k in ("volatility", "trend", "regime", "score")}
    mean = float(close.iloc[-1] / close.tail(200).mean() - 1)
    return said | {"month": float(close.iloc[-1] / close.iloc[-22] - 1), "above": mean}


def _views(names: Mapping[str, Name], horizon: int) -> list[View]:
    return [
        View.of_interval(t, n.view.lower, n.view.upper, level=n.view.level, horizon=horizon)
        for t, n in names.items()
        if n.issued
    ]


def _row(n: Name, weight: float, horizon: int, held: Mapping[str, float] | None) -> dict[str, Any]:
    v, entry, session, away = n.view, float(n.frame["close"].iloc[-1]), n.frame.index[-1], n.distance(horizon)
    annual, low, high = n.risk.annual
    now = (held or {}).get(n.ticker, 0.0)
    action = {"sell": "sell" if weight < 1e-3 else "reduce"}.get(n.issued, n.issued) or "hold"
    action = "reduce" if action == "hold" and now - weight > GAP else action
    return {
        "ticker": n.ticker, "action": action, "size": weight, "score": v.score, "confidence": v.confidence,
        "entry": entry, "target": entry * (1 + away), "stop": entry * (1 - away),
        "timeframe": f"{horizon} sessions", "reasoning": _reasons(n, weight, now, action),
        "source": n.source, "as_of": str(session.date()),
        "expiry": f"{after(session, 1)} 16:00 New York",
        "falsifier": _falsifier(n, horizon, low, high), "mode": n.mode,
        "horizon": horizon, "volatility": annual, "volatility_low": low, "volatility_high": high,
        "regime": n.state["regime"] or "", "model": v.model, "view": n.issued,
    }  # fmt: skip


def _reasons(n: Name, weight: float, now: float, action: str) -> str:
    annual, low, high = n.risk.annual
    doubt = "" if n.view.model and n.issued else _withheld(n.view)
    share = f"{n.risk.explained:.0%}" if n.risk.explained > 0 else "nothing"
    shape = [f"{n.state[k]} {w}".strip() for k, w in (("regime", ""), ("volatility", "volatility"), ("trend", "trend"))
             if n.state[k]]  # fmt: skip
    said = f"Held is {now:.1%}, more than the size. " if action == "reduce" and now > weight else ""
    sessions = f"{n.risk.sessions} sessions it had not learned from"
    return (
        f"{n.view.words}{doubt} {said}Size {weight:.1%}: {n.risk.model} forecasts a volatility of {annual:.0%} a year "
        f"(90 % interval {low:.0%} to {high:.0%}; HAR explains {share} of what the mean of the past leaves, over "
        f"{sessions}). Regime, of its own price: {', '.join(shape) or 'not known yet'}. The price moved "
        f"{n.state['month']:+.1%} in 21 sessions and stands {n.state['above']:+.1%} from its 200-session mean."
    )


def _withheld(v: Knowledge) -> str:
    if not v.model:
        return " Direction is left open: expected returns are those that the sizes imply, a prior and no forecast."
    return (
        f" No view is issued: score {v.score:.0f} and confidence {v.confidence:.0f}, where one needs above {SCORE:.0f} "
        f"(or up to {LOW_SCORE:.0f} against) and {CONFIDENCE:.0f}."
    )


def _falsifier(n: Name, horizon: int, low: float, high: float) -> str:
    when = f"over the {horizon} sessions after {n.frame.index[-1]:%Y-%m-%d}"
    size_ = f"The size is called wrong if the realized volatility {when} is not from {low:.0%} to {high:.0%} a year"
    sign = {"buy": "not above 0", "sell": "not below 0"}.get(n.issued)
    return f"{size_}; the view, if the return from the next entry on is {sign}." if sign else f"{size_}."
