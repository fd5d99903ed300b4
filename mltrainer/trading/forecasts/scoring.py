"""Forecasts beside their outcomes as these arrive; a score is computed from the data each time and never stored."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.data import market
from mltrainer.data.dates import Day, day
from mltrainer.errors import MltrainerError, StorageError, Tampered
from mltrainer.evaluation.baselines import LOSSES
from mltrainer.features import targets
from mltrainer.settings import settings
from mltrainer.trading.forecasts import ledger
from mltrainer.trading.forecasts.record import Forecast
from mltrainer.trust.provenance import Dataset

COLUMNS = (
    "id made_at as_of ticker target horizon known_on forecast low high interval center confidence models baseline "
    "baseline_forecast mode evidence project outcome error inside hit loss baseline_loss beaten falsified status"
).split()


def history(
    ticker: str | None = None, *, target: str | None = None, horizon: int | None = None, as_of: Day = None
) -> pd.DataFrame:
    """Every forecast that was committed in the mode in force, the oldest first, with its outcome where that is known.

    Parameters
    ----------
    ticker, target, horizon : only these.
    as_of : only what had been said of sessions up to that day, with the outcomes known by then.

    Returns
    -------
    DataFrame
        As of `score`.
    """
    last = day(as_of, "as_of")
    found = ledger.records(ticker, target=target, horizon=horizon)
    return score([f for f in found if last is None or f.as_of <= str(last.date())], as_of=as_of)


def score(forecasts: "Iterable[Forecast] | None" = None, *, as_of: Day = None) -> pd.DataFrame:
    """Join outcomes to forecasts, by the data there is.

    Parameters
    ----------
    forecasts : default all of the ledger in the mode in force.

    Returns
    -------
    DataFrame
        A row for each: what it said; `outcome` and `error` (outcome less forecast) in the unit of the target; `inside`
        the interval; `hit`, whether the outcome lay on the forecast's side of its center; `loss` and `baseline_loss`,
        by the target's proper loss, and whether the baseline was `beaten`; `falsified`; `status` "open", "known", or
        why there is no outcome. What is not known is missing.
    """
    found = list(ledger.records() if forecasts is None else forecasts)
    last, known = day(as_of, "as_of"), dict[Any, Any]()
    return pd.DataFrame([_scored(f, *outcome(f, last, known)) for f in found], columns=COLUMNS)


def _scored(f: Forecast, y: float, status: str) -> dict[str, Any]:
    said = {c: getattr(f, c) for c in COLUMNS if hasattr(f, c)} | {"models": ", ".join(f.models), "status": status}
    if not np.isfinite(y):
        return said
    frame = pd.DataFrame({"y": [y], "said": [f.forecast], "rival": [f.baseline_forecast]})
    loss, rival = (float(LOSSES[targets.target(f.target).loss](frame, c).iloc[0]) for c in ("said", "rival"))
    return said | {
        "outcome": y, "error": y - f.forecast, "inside": f.low <= y <= f.high if np.isfinite(f.low) else None,
        "hit": bool((y > f.center) == (f.side > 0)), "loss": loss, "baseline_loss": rival, "beaten": loss < rival,
        "falsified": f.wrong(y),
    }  # fmt: skip


def outcome(f: Forecast, last: pd.Timestamp | None, known: dict[Any, pd.DataFrame]) -> tuple[float, str]:
    """What became of a forecast by a day, NaN where it is not known or cannot be, and how it stands.

    `known` keeps bars between calls.
    """
    try:
        y = _labels(f, last, known)
    except (Tampered, StorageError):
        raise
    except MltrainerError as error:
        return float("nan"), str(error)
    session = pd.Timestamp(f.as_of)
    if session not in y.index:
        return float("nan"), f"the data has no session {f.as_of}"
    value = float(y.loc[session])
    return value, "known" if np.isfinite(value) else "open"


def _labels(f: Forecast, last: pd.Timestamp | None, known: dict[Any, Any]) -> "pd.Series[float]":
    """Labels of the question of a forecast by session, of the data up to a day."""
    bars = _bars(f.ticker, last, known)
    if pd.Timestamp(f.as_of) not in bars.index and f.mode == "sample":  # a sample has some tickers twice
        bars = market.bars(f.ticker, start=f.as_of).frame
    beside = _beside(f.ticker, last, known) if f.target == "excess" else None
    question = (f.target, f.horizon, bars.index[0], last)
    if question not in known.setdefault(("labels", f.ticker), {}):
        made = targets.target(f.target).parts(bars.loc[:last], None if beside is None else beside.loc[:last], f.horizon)
        known["labels", f.ticker][question] = made.y
    return known["labels", f.ticker][question]


def _bars(ticker: str, last: pd.Timestamp | None, known: dict[Any, Any]) -> pd.DataFrame:
    return _data(ticker, last, known).frame


def _data(ticker: str, last: pd.Timestamp | None, known: dict[Any, Any]) -> Dataset:
    """Bars as they were on a day; a sample's, which are adjusted once for all, are cut later."""
    end = None if settings().data_mode == "sample" or last is None else last.date()
    if (ticker, end) not in known:
        known[ticker, end] = market.bars(ticker, end=end)
    return known[ticker, end]


def _beside(ticker: str, last: pd.Timestamp | None, known: dict[Any, Any]) -> pd.DataFrame | None:
    """The market's bars."""
    if ("market", ticker) not in known:
        around = market.context(_data(ticker, last, known))
        known["market", ticker] = next((d.frame for d in around if d.kind == "bars"), None)
    return known["market", ticker]
