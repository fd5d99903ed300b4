"""From bars to recommendations: a view only where there is evidence, a size always.

The size comes from what is known, the forecast volatility and the correlations of the past, shrunk. A view with
evidence moves it (Black and Litterman); without one expected returns stay those that the sizes themselves imply.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.data import market, quality
from mltrainer.data.dates import Day, day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, MltrainerError, NotEnoughHistory, StorageError, Tampered
from mltrainer.settings import settings
from mltrainer.trading.alerts.watching import unfit
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

SCORE, CONFIDENCE = 80.0, 70.0  # a view is shown above the one and from the other on
LOW_SCORE = 20.0  # and one against a name up to here
DEFAULT_STOP, TOTAL_RISK, GAP = 0.05, 0.20, 0.10  # fractions; GAP is what one may hold above a size
ACTIVE = 50  # recommendations at once
BAND = 2.0  # deviations over the horizon to the stop and to the target
AIM = 0.10  # volatility a year of all together


@dataclass(frozen=True, eq=False)
class Name:
    """One ticker with what is known of it."""

    bars: Dataset
    risk: Risk
    view: Knowledge
    state: dict[str, Any]

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
    items: list[Any] = list(asked.tickers) if isinstance(asked, Universe) else _several(asked)
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
    return [asked] if isinstance(asked, str | Dataset) else list(asked)


def _bars(item: Any, start: Day, last: pd.Timestamp | None) -> Dataset:
    if isinstance(item, str):
        return market.bars(item, start=start, end=last)
    gate.verify(item, "recommendations")
    assert isinstance(item, Dataset)
    return item if last is None or item.frame.index[-1] <= last else item.window(None, last)


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
    session = max(d.frame.index[-1] for d in parts)
    names: dict[str, Name] = {}
    for bars in parts:
        try:
            fit(bars, session)
            risk = known.volatility(bars.frame, horizon)
            names[bars.name] = Name(bars, risk, evidence.known(bars, horizon), _state(bars.frame))
        except (Tampered, StorageError):
            raise
        except MltrainerError as error:
            refused[bars.name] = str(error)
    mode = gate.verify(parts[0], "recommendations").mode
    made: list[dict[str, Any]] = []
    notes: list[str] = []
    origin = gate.verify(parts[0], "recommendations")
    if names:
        weights, notes, origin = sized(names, horizon, aim)
        made = [_row(n, float(weights[n.bars.name]), horizon, held) for n in names.values()]
    if len(made) > ACTIVE:
        made.sort(key=lambda r: (r["action"] == "hold", -r["size"]))
        notes.append(f"at most {ACTIVE} are shown: {', '.join(r['ticker'] for r in made[ACTIVE:])} are not")
    lost = [{"ticker": t, "action": REFUSED, "reasoning": why, "as_of": str(session.date()), "mode": mode,
             "horizon": horizon, "regime": "", "model": ""} for t, why in refused.items()]  # fmt: skip
    return pd.DataFrame([*made[:ACTIVE], *lost], columns=COLUMNS), notes, origin


def _state(frame: pd.DataFrame) -> dict[str, Any]:
    """Labels of the last session, by the price alone, and two features in plain words."""
    close, last = frame["close"], of_bars(frame).iloc[-1]
    said = {k: None if pd.isna(last[k]) else last[k] for k in ("volatility", "trend", "regime", "score")}
    mean = float(close.iloc[-1] / close.tail(200).mean() - 1)
    return said | {"month": float(close.iloc[-1] / close.iloc[-22] - 1), "above": mean}


def sized(names: Mapping[str, Name], horizon: int, aim: float) -> tuple["pd.Series[float]", list[str], Provenance]:
    """Fractions of wealth by name: forecast volatility and shrunk correlations, moved by the views that are issued."""
    order, vol = list(names), np.array([n.risk.volatility for n in names.values()])
    notes: list[str] = []
    if len(order) == 1:
        only, sigma = names[order[0]], np.array([[vol[0] ** 2]])
        found = size({order[0]: 1}, rule="volatility-target", sigma=sigma, target=aim, position=POSITION)
        weights = found.weights * (only.issued != "sell")
        return weights, list(found.notes), gate.verify(only.bars, "recommendations")
    sealed = inputs.closes([n.bars for n in names.values()])
    given = inputs.of_data(sealed, as_of=None, sessions=SESSIONS, benchmark=None)
    assert given.returns is not None
    assert given.provenance is not None
    cov, said = beliefs.estimated(given.returns, "ledoit-wolf")
    cov = beliefs.rescaled(cov, vol)
    sigma = pd.DataFrame(cov, order, order)
    found = size(dict.fromkeys(order, 1), rule="volatility-target", sigma=sigma, target=aim, position=POSITION)
    weights, notes = found.weights, [*said, *given.notes, *found.notes]
    if stated := _views(names, horizon):
        limits = Constraints(upper=POSITION, budget=float(weights.sum()))
        moved = optimize(sealed, method="black-litterman", views=stated, constraints=limits,
                         volatility=dict(zip(order, vol, strict=True)), market_weights=weights)  # fmt: skip
        weights, notes = moved.weights.reindex(order), [*notes, *moved.notes]
    risk = float(sum(weights[n] * names[n].distance(horizon) for n in order))
    if risk > TOTAL_RISK:
        weights = weights * (TOTAL_RISK / risk)
        notes.append(f"all stops together would cost {risk:.0%}, above {TOTAL_RISK:.0%}: sizes are made smaller")
    return weights, notes, given.provenance


def _views(names: Mapping[str, Name], horizon: int) -> list[View]:
    return [
        View.of_interval(t, n.view.lower, n.view.upper, level=n.view.level, horizon=horizon)
        for t, n in names.items()
        if n.issued
    ]


def _row(n: Name, weight: float, horizon: int, held: Mapping[str, float] | None) -> dict[str, Any]:
    bars, risk, v = n.bars, n.risk, n.view
    entry, session, away = float(bars.frame["close"].iloc[-1]), bars.frame.index[-1], n.distance(horizon)
    annual, low, high = risk.annual
    now = (held or {}).get(bars.name, 0.0)
    action = {"sell": "sell" if weight < 1e-3 else "reduce"}.get(n.issued, n.issued) or "hold"
    action = "reduce" if action == "hold" and now - weight > GAP else action
    origin = bars.provenance
    return {
        "ticker": bars.name, "action": action, "size": weight, "score": v.score, "confidence": v.confidence,
        "entry": entry, "target": entry * (1 + away), "stop": entry * (1 - away),
        "timeframe": f"{horizon} sessions", "reasoning": _reasons(n, weight, now, action),
        "source": f"{origin.source}, content {origin.content_sha256[:12]}" if origin else "", "as_of": str(session.date()),
        "expiry": f"{session + pd.Timedelta(days=1):%Y-%m-%d} 16:00 New York",
        "falsifier": _falsifier(n, horizon, low, high), "mode": origin.mode if origin else settings().data_mode,
        "horizon": horizon, "volatility": annual, "volatility_low": low, "volatility_high": high,
        "regime": n.state["regime"] or "", "model": v.model,
    }  # fmt: skip


def _reasons(n: Name, weight: float, now: float, action: str) -> str:
    annual, low, high = n.risk.annual
    doubt = "" if n.view.model and n.issued else _withheld(n.view)
    kind = "explains" if n.risk.explained > 0 else "explains nothing of"
    share = f"{n.risk.explained:.0%} of what the mean of the past leaves" if n.risk.explained > 0 else "it, so far"
    shape = [f"{n.state[k]} {w}".strip() for k, w in (("regime", ""), ("volatility", "volatility"), ("trend", "trend"))
             if n.state[k]]  # fmt: skip
    said = f"Held is {now:.1%}, more than the size. " if action == "reduce" and now > weight else ""
    return (
        f"{n.view.words}{doubt} {said}Size {weight:.1%}: {n.risk.model} forecasts a volatility of {annual:.0%} a year "
        f"(90 % interval {low:.0%} to {high:.0%}) and {kind} {share}, over {n.risk.sessions} sessions it had not "
        f"learned from. Regime, of its own price: {', '.join(shape) or 'not known yet'}. The price moved "
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
    when = f"over the {horizon} sessions after {n.bars.frame.index[-1]:%Y-%m-%d}"
    size_ = f"The size is called wrong if the realized volatility {when} is not from {low:.0%} to {high:.0%} a year"
    sign = {"buy": "not above 0", "sell": "not below 0"}.get(n.issued)
    return f"{size_}; the view, if the return from the next entry on is {sign}." if sign else f"{size_}."


def annualized(variance: "Sequence[float] | pd.Series[float]") -> float:
    """Root mean variance per session as volatility a year."""
    return float(np.mean(variance)) ** 0.5 * float(metrics.SESSIONS) ** 0.5
