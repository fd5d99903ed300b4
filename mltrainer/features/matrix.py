"""Dataset -> X, y: what was known at each close, and the return that was earned from the next entry on."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput, NotEnoughHistory, Unavailable
from mltrainer.features import alternative, indicators, macro, microstructure, targets
from mltrainer.features import own as owned
from mltrainer.features.own import Own
from mltrainer.features.targets import Target
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset, Provenance, fingerprint

MINIMUM_ROWS = 250
PARTS = ("X", "y", "scale", "prices", "past")  # what has a row for each session and ticker


@dataclass(frozen=True)
class Matrix:
    """Features, labels and prices of one ticker, or of a panel of several, sealed like the data it came from.

    The rows of a panel are ordered by session, then ticker, and its index has these two levels.

    Attributes
    ----------
    X : (n, p) float features; row t uses only what was known at the close of session t; no NaN.
    y : (n,) label of `target`; of "return" the simple return of a position decided at t, entered at the open of t + 1
        and left `horizon` sessions later at the open (the close where the source has no open); NaN where the window
        passes the end.
    scale : (n,) expected standard deviation of `y` as known at t; of "return" the 21-session volatility of log returns
        (at least 1 basis point) times √horizon, and 1 where a label is in its own units.
    prices : (n, 2) `entry` (the price at which a session is entered: open, else close; of "excess" over the market's)
        and `close`.
    past : (n, k) what was known at t of what `y` will say, in its units; the baselines are made of it.
    horizon : sessions a position is held.
    unavailable : feature -> why it is not in X.
    since : first session of the bars, before the features' warm-up.
    start : first session that was asked for, YYYY-MM-DD; earlier bars only warm the features up. "" is all there is.
    at_close : the tickers that are entered at the close, as their source has no open.
    sources : the bars and what was known beside them, as `build` was given them; of a panel those of its tickers, one
        after the other in the order of their names; empty where a matrix was made in another way.
    own : column or target -> sha256 of the code of the registered function (`features.own`) that makes it.
    """

    X: pd.DataFrame
    y: pd.Series
    scale: pd.Series
    prices: pd.DataFrame
    horizon: int
    name: str
    unavailable: dict[str, str] = field(default_factory=dict)
    since: str = ""
    start: str = ""
    at_close: tuple[str, ...] = ()
    kind: str = "matrix"
    provenance: Provenance | None = None
    sources: tuple[Dataset, ...] = field(default=(), repr=False, compare=False)
    target: str = "return"
    past: pd.DataFrame = field(default_factory=pd.DataFrame)
    own: dict[str, str] = field(default_factory=dict)

    @property
    def aim(self) -> Target:
        """The row of its target."""
        return targets.target(self.target)

    @property
    def notes(self) -> list[str]:
        """What its provenance has to say of code that is not of this package, and of alternative data."""
        return [*owned.notes(self.own), *alternative.notes(self.X.columns)]

    @property
    def tickers(self) -> list[str]:
        """The tickers in it; one, unless it is a panel."""
        return list(self._rows) if isinstance(self.X.index, pd.MultiIndex) else [self.name]

    @cached_property
    def _rows(self) -> dict[str, Any]:
        """Numbers of the rows of each ticker of a panel: looked for once, as each of many names is asked for."""
        number, names = pd.factorize(self.X.index.get_level_values("ticker"), sort=True)
        ends = np.cumsum(np.bincount(number, minlength=len(names)))
        return dict(zip(names, np.split(np.argsort(number, kind="stable"), ends[:-1]), strict=True))

    @cached_property
    def histories(self) -> tuple[tuple[Dataset, ...], ...]:
        """`sources`, parted: of each ticker its bars, then what was known beside them; empty if there are none."""
        given = [(d.kind, d.name) for d in self.sources]
        if not {("bars", ticker) for ticker in self.tickers} <= set(given):
            return ()
        parts, end = [], len(given)
        for ticker in reversed(self.tickers):
            # from the end: where a ticker is the context of another, those bars stand further left
            begin = next(i for i in range(end - 1, -1, -1) if given[i] == ("bars", ticker))
            parts.append(self.sources[begin:end])
            end = begin
        return tuple(parts[::-1])

    def of(self, ticker: str) -> "Matrix":
        """The rows of one ticker of a panel, by session, with its own sources; not sealed on its own."""
        if not isinstance(self.X.index, pd.MultiIndex):
            return self
        own = {part: getattr(self, part).iloc[self._rows[ticker]].droplevel("ticker") for part in PARTS}
        sources = dict(zip(self.tickers, self.histories, strict=False)).get(ticker, ())
        return replace(self, **own, name=ticker, provenance=None, sources=sources)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """(n, p) X with each feature as its rank among the names of its session, evenly from -0.5 to 0.5.

        Equal values share their mean rank. What is the same for all names (`macro.COMMON`) is left as it is, and a name
        that is alone in its session has rank 0.
        """
        if self.tickers == [self.name]:
            raise BadInput(f"ranks are among several tickers, and {self.name} is one; give more, or leave it out")
        own = [c for c in self.X if c not in macro.COMMON and not str(c).startswith(alternative.PREFIX)]
        return self.X.assign(**targets.ranks(self.X[own]))

    @property
    def entry_lag(self) -> int:
        """Sessions between the close of a row and the close of entry: 1 where `y` begins at a close, 0 at an open."""
        return int(self.of_one("an entry").name in self.at_close)

    def of_one(self, job: str) -> "Matrix":
        """Itself, or `BadInput` if it is a panel and the job is one for a single ticker."""
        if self.tickers != [self.name]:
            raise BadInput(f"{self.name} holds several tickers, and {job} takes one; give it each on its own")
        return self

    def fingerprint(self) -> str:
        """Hash of everything a model can see or be judged by."""
        parts = (getattr(self, part) for part in PARTS)
        own = [self.own] if self.own else []
        return fingerprint(self.kind, self.name, self.horizon, self.target, self.at_close, *parts, *own)

    def __repr__(self) -> str:
        """Say what it is in one line."""
        p, sessions = self.X.shape[1], self.X.index.unique(0)
        span = f"{len(sessions)} sessions {sessions[0].date()}..{sessions[-1].date()}"
        rows = "" if len(sessions) == len(self.X) else f"{len(self.X):,} rows of "
        aim = "" if self.target == "return" else f" of {self.target}"
        return f"Matrix({self.name}, {rows}{span}, {p} features, horizon {self.horizon}{aim})"


def build(
    bars: Dataset, *context: Dataset, horizon: int, target: str = "return", own: tuple[Own, ...] = (), start: str = ""
) -> Matrix:
    """Compute the unsealed matrix; call `matrix` instead, which has the gate seal it."""
    if bars.kind != "bars":
        raise BadInput(f"{bars.name} is a {bars.kind} series; features are computed from bars")
    frame = bars.frame
    series = {d.name: d.frame for d in context if d.kind == "macro"}
    market = next((d.frame for d in context if d.kind == "bars"), None)
    ours, missing = indicators.compute(frame)
    theirs = owned.columns(own, frame)
    around, absent = macro.context(market, series, frame.index, frame["close"])
    others = alternative.columns({d.name: d.frame for d in context if d.kind.startswith("alternative")}, frame.index)
    quoted, unquoted = _quoted(bars, context)
    X, unavailable = _complete(ours.join([around, quoted, others, theirs]), {**missing, **absent, **unquoted})
    owned.gapless(theirs, _warm(len(frame)))
    try:
        label = _parts(target, own)(frame, market, horizon)
    except Unavailable as error:
        raise Unavailable(f"{bars.name}, target {target}: {error}") from None
    if label.known_to_models:
        X = X.join(label.past.add_prefix("past_"))
    keep = X.notna().all(axis=1) & label.scale.notna() & label.past.notna().all(axis=1) & label.entry.notna()
    keep &= keep.index >= pd.Timestamp(start) if start else True
    if int(keep.sum()) < MINIMUM_ROWS:
        raise NotEnoughHistory(
            f"{bars.name} has {len(frame)} sessions, of which {int(keep.sum())} remain after the features' warm-up"
            f"{f' and from {start} on' if start else ''}; at least {MINIMUM_ROWS} are needed; widen start and end"
        )
    prices = pd.DataFrame({"entry": label.entry, "close": frame["close"]})
    return Matrix(
        X[keep], label.y[keep].rename("y"), label.scale[keep].rename("scale"), prices[keep], horizon, bars.name,
        unavailable, since=str(frame.index[0].date()), start=start, at_close=(bars.name,) if label.at_close else (),
        sources=(bars, *context), target=target, past=label.past[keep],
        own=owned.codes(own),
    )  # fmt: skip


def _parts(target: str, own: tuple[Own, ...]) -> Any:
    """What makes the label: the function of the row, or of the target of one's own."""
    return next((o.parts for o in own if o.column == target), targets.target(target).parts)


def _warm(n: int) -> int:
    """Rows after which all features have something to say."""
    return min(max(i.warmup for i in indicators.INDICATORS), n)


def _quoted(bars: Dataset, context: tuple[Dataset, ...]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Features from quotes of the ticker where they are given, and why not where they are not."""
    quotes = [d.frame for d in context if d.kind == "quotes" and d.name == bars.name]
    names = [row.name for row in microstructure.QUOTES]
    if not quotes:
        why = f"needs quotes of {bars.name}; none were given"
        return pd.DataFrame(index=bars.frame.index), dict.fromkeys(names, why)
    sessions = pd.concat([microstructure.by_session(q)[names] for q in quotes])
    if not sessions.index.is_unique:
        raise BadInput(f"quotes of {bars.name} give a session twice; give each day once")
    return sessions.reindex(bars.frame.index), {}


def _complete(features: pd.DataFrame, unavailable: dict[str, str]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Keep the columns that are gapless once all are warm; say why the others are not."""
    warm = _warm(len(features))
    reasons = dict(unavailable)
    for name in features:
        gaps = int(features[name].iloc[warm:].isna().sum())
        if gaps:
            reasons[str(name)] = f"missing on {gaps} of {len(features) - warm} sessions"
    return features.drop(columns=[c for c in features if c in reasons]), reasons


def matrix(
    bars: Dataset,
    *context: Dataset,
    horizon: int = 5,
    target: str = "return",
    own: tuple[Own, ...] = (),
    start: str = "",
) -> Matrix:
    """Seal features and labels of one ticker.

    Parameters
    ----------
    bars : admitted bars of the ticker.
    context : admitted index bars and macro series known at the same time, and quotes of the ticker if there are any.
    horizon : sessions a position is held, 1 to 63.
    target : what is forecast, a name of `targets.TARGETS`.
    own : registered functions: features beside ours, and the target if it is one of them.
    start : first session of the matrix, YYYY-MM-DD; earlier bars only warm the features up. "" is all that are warm.

    Raises
    ------
    Refused
        Any input whose origin cannot be shown.
    NotEnoughHistory
        Fewer than 250 sessions remain after the warm-up.
    Unavailable
        The bars lack what the target needs, such as a range.
    """
    if isinstance(horizon, bool) or not isinstance(horizon, int) or not 1 <= horizon <= 63:
        raise BadInput(f"horizon {horizon!r} is not a whole number of sessions from 1 to 63")
    targets.target(target)
    known: dict[str, Any] = {"own": owned.chosen(own)} if own else {}  # by name and code in the provenance
    known |= {"start": start} if start else {}
    return gate.derive(build, bars, *context, horizon=horizon, target=target, **known)


def panel(*matrices: Matrix, own: tuple[Own, ...] = ()) -> Matrix:
    """Seal several tickers' matrices as one panel: the features that all have, rows by session, then ticker.

    Parameters
    ----------
    matrices : sealed matrices of different tickers and of one horizon; sessions may differ.
    own : registered features that compare the names of a session.
    """
    for part in matrices:
        part.of_one("a panel")
    if len({m.name for m in matrices}) < len(matrices) or len({(m.horizon, m.target) for m in matrices}) > 1:
        raise BadInput("a panel takes each ticker once, all with one horizon and target; build its matrices alike")
    if any(m.own != matrices[0].own for m in matrices):
        raise BadInput("a panel takes matrices with the same features and target of one's own; build them alike")
    return gate.derive(stack, *matrices, **({"own": own} if own else {}))


def stack(*matrices: Matrix, own: tuple[Own, ...] = ()) -> Matrix:
    """Compute the unsealed panel; call `panel` instead, which has the gate seal it."""
    first = matrices[0]
    common = [c for c in first.X if all(c in m.X for m in matrices)]
    lacking = {
        str(c): f"{m.name} does not have it: {m.unavailable.get(str(c), 'no such data')}"
        for m in matrices
        for c in dict.fromkeys(c for other in matrices for c in other.X)
        if c not in m.X
    }

    def together(part: str) -> Any:
        parts = {m.name: getattr(m, part) if part != "X" else m.X[common] for m in matrices}
        return pd.concat(parts, names=["ticker", "session"]).swaplevel().sort_index()

    X, y, scale, prices, past = map(together, PARTS)
    if own:
        bars = {m.name: m.sources[0].frame for m in matrices if m.sources}
        if bare := [m.name for m in matrices if not m.sources]:
            raise BadInput(f"{own[0].text} needs the bars of all names, and {bare[0]} was made without")
        theirs = owned.beside(own, bars, X.index)
        owned.gapless(theirs, 0)
        X = X.join(theirs)
    if first.aim.cross_sectional:
        y, scale = targets.rank(y), scale * 0 + 1
    name = f"panel of {len(matrices)}: {', '.join(m.name for m in matrices)}"
    since = min(m.since for m in matrices)
    at_close = tuple(sorted(ticker for m in matrices for ticker in m.at_close))
    sources: tuple[Dataset, ...] = ()
    if all(m.sources for m in matrices):
        sources = tuple(d for m in sorted(matrices, key=lambda m: m.name) for d in m.sources)
    gaps = first.unavailable | lacking
    return Matrix(
        X, y, scale, prices, first.horizon, name, gaps, since, min(m.start for m in matrices), at_close,
        sources=sources, target=first.target, past=past, own=first.own | owned.codes(own),
    )  # fmt: skip
