"""The calls: recommend as of a day, what became of past ones, and a walk through many days."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mltrainer.data import market, universes
from mltrainer.data.dates import Day, day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, MltrainerError, NotEnoughHistory, StorageError, Tampered
from mltrainer.evaluation import projects
from mltrainer.settings import settings
from mltrainer.trading.recommendations import deciding, ledger
from mltrainer.trading.recommendations.outcomes import History, judged
from mltrainer.trading.recommendations.records import NO_TRADING, Recommendations
from mltrainer.trust.provenance import Dataset

Asked = str | Dataset | Sequence[str | Dataset] | Universe
RECENT = pd.Timedelta(days=4)  # of the calendar: a long weekend; what is older is no recommendation of today


def recommend(
    tickers: Asked | None = None,
    *,
    as_of: Day = None,
    horizon: int = 5,
    volatility: float = deciding.AIM,
    capital: float | None = None,
    held: Mapping[str, float] | None = None,
    project: str | None = None,
    commit: bool = True,
) -> Recommendations:
    """Recommend how much of each ticker to hold over the next sessions, and which way where a model knows.

    Parameters
    ----------
    tickers : one or more, bars, or a `universe`; in mode sample default sample20.
    as_of : a day; the answer is that of its last session, bit by bit what a run on that day would have said given the
        ledger of trials that there is now. Default the last session there is.
    horizon : sessions, 1 to 63.
    volatility : a year, that all sizes together aim at; no more than 10 % is in one name and 100 % in all, so it may
        stay below.
    capital : dollars; adds a column `amount`.
    held : weights now held; more than 10 percentage points above its size is to be reduced.
    project : a label in the ledger; default MLTRAINER_PROJECT.
    commit : whether it is written into the ledger of recommendations; once for each ticker, session and horizon.

    Returns
    -------
    Recommendations
        A ticker on which nothing may be recommended (as traded, broken data, a missing session, too short a past) has
        a row that says why, and the others stand.

    Raises
    ------
    Refused
        Data whose origin cannot be shown.

    Notes
    -----
    A view needs a trial of the ledger with evidence of skill, whose last outcome was known on that day and at most a
    year before, a score above 80 (up to 20 against) and a confidence of 70. The stop is 5 % away, or two forecast
    deviations over the horizon where those are more; all stops together cost at most 20 %.
    """
    _check(horizon, volatility, capital)
    if held is not None and not isinstance(held, Mapping):
        raise BadInput("held says the weight of each ticker, as {'MSFT': 0.1}")
    parts, lacking = deciding.fetched(_asked(tickers), as_of)
    knobs: dict[str, Any] = {"horizon": horizon, "aim": volatility, "held": held, "lacking": lacking}
    rows, notes, origin = deciding.decided(parts, **knobs)
    session, label = str(rows["as_of"].iloc[0]), projects.named(project)
    if capital is not None:
        rows["amount"] = rows["size"] * capital
    new = ledger.commit(rows, content=origin.content_sha256, project=label) if commit else []
    live = origin.mode == "live" and pd.Timestamp.now().normalize() - pd.Timestamp(session) <= RECENT
    notes.append(NO_TRADING.format("live data" if live else f"data to {session}, {origin.mode}"))
    found = int((rows["action"] != "refused").sum())
    if commit and len(new) < found:
        notes.append(f"{found - len(new)} of {found} stood in the ledger before; what was said first stands there")
    return Recommendations(
        rows, session, origin.mode, horizon, volatility, live, tuple(dict.fromkeys(notes)), tuple(new), origin
    )


def _asked(tickers: Asked | None) -> Asked:
    if tickers is not None:
        return tickers
    if settings().data_mode != "sample":
        raise BadInput("a recommendation is of something: name tickers, or a universe")
    return universes.universe("sample20")


def _check(horizon: int, volatility: float, capital: float | None) -> None:
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= 63:
        raise BadInput(f"horizon={horizon!r} is no number of sessions from 1 to 63")
    if not isinstance(volatility, int | float) or not 0 < volatility < 10:
        raise BadInput(f"volatility={volatility} is not above 0; 0.10 is 10 % a year")
    if capital is not None and not 0 < capital < float("inf"):
        raise BadInput(f"capital={capital} is not above 0; give dollars")


def history(tickers: Asked | None = None, *, as_of: Day = None) -> History:
    """Past recommendations of the mode in force with what became of them, as far as it is known on a day.

    Parameters
    ----------
    tickers : only these; default all.
    as_of : recommendations and prices up to it; default all there are.
    """
    rows, last = ledger.written(), day(as_of, "as_of")
    if len(rows):
        rows = rows if last is None else rows[rows["as_of"] <= str(last.date())]
        names = None if tickers is None else {getattr(t, "name", str(t)).upper() for t in deciding._several(tickers)}
        rows = rows if names is None else rows[rows["ticker"].isin(names)]
    bars: dict[str, pd.DataFrame] = {}
    for ticker in dict.fromkeys(rows["ticker"]) if len(rows) else ():
        try:
            bars[ticker] = _held_to(ticker, str(rows.loc[rows["ticker"] == ticker, "as_of"].min()), last)
        except (Tampered, StorageError):
            raise
        except MltrainerError:
            continue  # it is no longer to be had: its rows are left out
    return judged(rows, bars, settings().data_mode)


def _held_to(ticker: str, first: str, last: pd.Timestamp | None) -> pd.DataFrame:
    """Bars by which recommendations from `first` on are judged."""
    return market.bars(ticker, start=first, end=last).frame


def replay(
    start: Day,
    end: Day,
    tickers: Asked | None = None,
    *,
    every: int = 21,
    horizon: int = 21,
    volatility: float = deciding.AIM,
) -> History:
    """Recommend on every so many sessions of the past as a run on that day would have, and say how it ended.

    Parameters
    ----------
    start, end : first and last day on which something is recommended; outcomes may be later.
    every : sessions between recommendations.
    tickers, horizon, volatility : as for `recommend`. Nothing is written.

    Returns
    -------
    History
        Prices are in the shares of the last session there is, whatever was split on the way. The names of a universe
        of today are those that survived, so what they earned flatters.
    """
    _check(horizon, volatility, None)
    first, last = day(start, "start"), day(end, "end")
    if first is None or last is None or not isinstance(every, int) or every < 1:
        raise BadInput("a replay needs start, end and every, a number of sessions from 1 on")
    parts, _ = deciding.fetched(_asked(tickers), None)
    sessions = pd.DatetimeIndex(sorted({s for d in parts for s in d.frame.loc[first:last].index}))
    if sessions.empty:
        raise NotEnoughHistory(f"no session lies from {first.date()} to {last.date()}; choose others")
    found = []
    for session in sessions[::every]:
        then = [d.window(None, session) for d in parts if d.frame.index[0] < session]
        if then:
            found.append(deciding.decided(then, horizon=horizon, aim=volatility)[0])
    bars = {d.name: d.frame for d in parts}
    return judged(pd.concat(found, ignore_index=True), bars, settings().data_mode)
