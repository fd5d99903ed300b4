"""The regimes of a ticker, session by session, sealed like the data they were made of."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mltrainer import views
from mltrainer.data import market, universes
from mltrainer.data.dates import Day, day
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.settings import settings
from mltrainer.trading.regimes import economy, markov, score
from mltrainer.trading.regimes.labels import YEAR
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset

NOTHING = "needs {}, which this source does not have or which is too old on that day"
NEEDS = {"macro": "unemployment, yields or consumer prices", "breadth": "a universe", "economy": "unemployment"}


@dataclass(frozen=True)
class Regimes:
    """What could be said of a ticker's market at the close of every session up to a day.

    Attributes
    ----------
    data : the sealed history, kind "regimes": one row a session, see `measure`.
    unavailable : column -> why nothing is known of it on the last session.
    """

    data: Dataset
    unavailable: dict[str, str]

    @property
    def history(self) -> pd.DataFrame:
        """The columns of `measure`, by session."""
        return self.data.frame

    @property
    def session(self) -> pd.Timestamp:
        """The last session, whose close all is said of."""
        return pd.Timestamp(self.history.index[-1])

    @property
    def now(self) -> dict[str, Any]:
        """The last row; None where nothing is known."""
        row = self.history.iloc[-1]
        return {str(k): None if pd.isna(v) else v for k, v in row.items()}

    def sentence(self) -> str:
        """Say the state of the last session in one line."""
        now, p = self.now, self.history.filter(like="p_").iloc[-1]
        if now["score"] is None:
            return f"{self.data.name}, {self.session:%Y-%m-%d}: {len(self.history)} sessions are too few to say"
        words = [f"{now[k]} {k}" for k in ("volatility", "volume") if now.get(k)]
        said = ", ".join(filter(None, (now["trend"], *words, now["economy"])))
        hidden = "" if p.isna().any() else f"; {str(p.idxmax())[2:]} with probability {p.max():.2f}"
        share = "" if now["weight"] > 0.999 else f" of {now['weight']:.0%} of its parts"
        head = f"{self.data.name}, {self.session:%Y-%m-%d}: {now['regime']}, score {now['score']:.0f}{share}"
        return f"{head}; {said}{hidden}"

    def figure(self) -> Any:
        """The price, shaded by regime."""
        return views.regimes(self.history, self.data.name, self.sentence())

    def states(self) -> Any:
        """The probabilities of the hidden states, by session."""
        p = self.history.filter(like="p_").rename(columns=lambda c: c.removeprefix("p_"))
        last = p.iloc[-1]
        said = "too few sessions to say" if last.isna().any() else f"{last.idxmax()} with probability {last.max():.2f}"
        title = f"{self.data.name}, {self.session:%Y-%m-%d}: {said}; filtered by what was known on the day"
        return views.states(p, self.data.name, title)

    def to_dict(self) -> dict[str, Any]:
        """The last session, for JSON."""
        p = self.data.provenance
        made = {"mode": p and p.mode, "content": p and p.content_sha256, "sentence": self.sentence()}
        head = {"ticker": self.data.name, "session": str(self.session.date())}
        return head | self.now | made | {"unavailable": self.unavailable}

    def __repr__(self) -> str:
        return f"Regimes({self.sentence()})"


def regimes(
    ticker: "str | Dataset",
    *,
    as_of: Day = None,
    start: Day = None,
    breadth: str | None = None,
    states: int = 2,
) -> Regimes:
    """Say the regimes of a ticker's market: volatility, trend, volume, economy, score, and hidden states.

    Parameters
    ----------
    ticker : a ticker, or admitted daily bars.
    as_of : a day; the answer is that of its last session, bit by bit what a run on that day would have said.
        Default the last session there is.
    start : first session of the history; what is said of a day hangs on how much past it has.
    breadth : the universe whose breadth counts; in mode sample default sample20, else none.
    states : hidden states, 2 or 3.

    Returns
    -------
    Regimes
        `.history` by session, `.now`, `.sentence()`.

    Notes
    -----
    Filtered, never smoothed: a later day moves nothing that was said. Macro series count from the day they were
    published. Companies in a universe of today are those that survived, so its breadth flatters the past.

    Raises
    ------
    NotEnoughHistory
        Fewer than 273 sessions: realized volatility has no past to be compared with.
    """
    as_of = day(as_of, "as_of")
    if isinstance(ticker, Dataset):
        if start is not None:
            raise BadInput("start chooses the sessions of a ticker; these bars are already cut")
        gate.verify(ticker, "regimes")
        bars = market.until(ticker, as_of)
    else:
        bars = market.bars(ticker, start=start, end=as_of)
    least = YEAR + 21
    if len(bars.frame) < least:
        raise NotEnoughHistory(f"regimes need {least} sessions, {bars.name} has {len(bars.frame)}; widen start")
    found = [d for d in market.context(bars) if d.kind == "macro" and d.name in economy.SERIES]
    data = gate.derive(measure, bars, *found, *_members(breadth, bars), states=states)
    last = data.frame.iloc[-1]
    missing = {c: NOTHING.format(what) for c, what in NEEDS.items() if pd.isna(last[c])}
    if "volume" not in data.frame:
        missing["volume"] = NOTHING.format("volume")
    return Regimes(data, missing)


def measure(bars: Dataset, *others: Dataset, states: int = 2) -> Dataset:
    """Make the history of regimes of bars; call it through `gate.derive`.

    Parameters
    ----------
    bars : daily bars of the ticker.
    others : macro observations, and daily bars of the universe whose breadth counts.
    states : hidden states.

    Returns
    -------
    Dataset
        (n, k) by session: close, volatility, trend, volume (labels), calm, macro, momentum, breadth (0 to 100),
        score, weight, regime, sahm, curve, inflation, economy, p_calm ... p_turbulent (probabilities) and `learned`
        (the last session that the parameters of the hidden states have learned from, as text).
    """
    frame = bars.frame
    sessions = pd.DatetimeIndex(frame.index)
    series = {d.name: d.frame for d in others if d.kind == "macro"}
    members = {d.name: d.frame["close"] for d in others if d.kind == "bars"}
    state = economy.read(series, sessions)
    said = score.of_bars(frame, state.pop("macro"), members).join(state)
    out = frame[["close"]].join(said)
    learned = markov.learned(frame["close"], states=states).dt.strftime("%Y-%m-%d")
    hidden = markov.filtered(frame["close"], states=states).assign(learned=learned)
    return Dataset(out.join(hidden), bars.name, "regimes")


def _members(universe: str | None, bars: Dataset) -> list[Dataset]:
    packaged = settings().data_mode == "sample"
    name = "sample20" if universe is None and packaged else universe
    if name is None:
        return []
    chosen = universes.universe(name)
    # live ones in the shares of the last session; an end would choose another series of a packaged name
    last = None if packaged else bars.frame.index[-1].date()
    return [market.bars(t, start=chosen.start or None, end=last) for t in chosen.tickers]
