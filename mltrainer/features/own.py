"""Features and targets of a researcher's own: functions of bars, each with its name, the hash of its code and a card.

They come in by `mltrainer.register`, which tests them for look-ahead first. What is made with them says so: the note of
the matrix, its fingerprint and the settings of every trial name the function by the hash of its code.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput, Unavailable
from mltrainer.features import targets
from mltrainer.features.expressions import Expression
from mltrainer.features.targets import Parts

PREFIX = "own_"  # of a column of X, so that it can never pass for one of ours


@dataclass(frozen=True)
class Own:
    """A registered function of bars.

    Attributes
    ----------
    function : of a frame of bars by session; a target takes the horizon as well.
    code : sha256 of what it runs, with the functions, classes and constants of one's own that it names; of an
        expression its canonical text after it.
    text : its docstring's first line; source : its source, where Python still has it.
    checked : what the leak test looked at.
    """

    kind: Literal["feature", "target"]
    name: str
    function: Callable[..., Any] = field(repr=False, compare=False)
    code: str
    unit: str = ""
    text: str = ""
    source: str = field(default="", repr=False)
    checked: str = ""

    @property
    def column(self) -> str:
        """What it is called in a matrix: the column of X, or the target."""
        return f"{PREFIX if self.kind == 'feature' else targets.OWN}{self.name}"

    @property
    def across(self) -> bool:
        """Whether it compares the names of a session: an expression with a rank in it, which needs a panel."""
        return isinstance(self.function, Expression) and self.function.across

    def __str__(self) -> str:
        """Name it as notes do."""
        return f"own {self.kind} {self.name}, {_coded(self.code)}"

    def values(self, frame: pd.DataFrame, *horizon: int) -> "pd.Series[float]":
        """What it gives of bars, (n,) by session; NaN where it says nothing."""
        return aligned(self.function(frame.copy(), *horizon), frame, self.name)

    def parts(self, frame: pd.DataFrame, market: pd.DataFrame | None, horizon: int) -> Parts:
        """The label of a target; its last ones are not known yet, whatever the function says of them."""
        base, y = targets.returns(frame, market, horizon), self.values(frame, horizon)
        y.iloc[-(horizon + 1) :] = np.nan
        past = pd.DataFrame({"last": y.shift(horizon + 1).ffill()})
        return Parts(y, pd.Series(1.0, y.index), past, base.entry, base.at_close, True)

    def rows(self) -> list[tuple[str, str]]:
        """Its card, as (what, words)."""
        said = [("Kind", f"own {self.kind}"), ("Column", self.column), ("Says", self.text), ("Unit", self.unit)]
        said += [("Code", self.code), ("Leak test", self.checked), ("Source", self.source)]
        return [(what, words) for what, words in said if words]

    def _repr_html_(self) -> str:
        from mltrainer import views  # plotly comes with it: on use only

        return views.table(self.rows(), ["", self.name])


REGISTERED: dict[str, Own] = {}
"""By column: what this process registered."""


def aligned(values: Any, frame: pd.DataFrame, name: str) -> "pd.Series[float]":
    """A function's answer as one float for each session of the bars; `BadInput` says what it is instead."""
    if not isinstance(values, pd.Series | np.ndarray) or values.ndim != 1:
        raise BadInput(f"{name} gave a {type(values).__name__}; it must give a Series with one number for each session")
    if len(values) != len(frame):
        raise BadInput(f"{name} gave {len(values)} rows for {len(frame)} sessions; it must give one for each")
    if isinstance(values, pd.Series) and not values.index.equals(frame.index):
        raise BadInput(f"{name} gave other sessions than it was given; keep the index of the bars")
    try:
        out = pd.Series(np.asarray(values, dtype=float), index=frame.index, name=name)
    except (TypeError, ValueError):
        raise BadInput(f"{name} gave {getattr(values, 'dtype', 'objects')}; it must give numbers") from None
    if np.isinf(out).any():
        raise BadInput(f"{name} is infinite on {out.index[int(np.argmax(np.isinf(out)))].date()}; give NaN instead")
    return out


def chosen(names: "Iterable[Own | str]") -> tuple[Own, ...]:
    """Registered functions, given as such or by the name of their column or their own, each once, by column."""
    found = {o.column: o for o in map(_registered, names)}
    return tuple(found[column] for column in sorted(found))


def _registered(given: "Own | str") -> Own:
    column = given.column if isinstance(given, Own) else str(given)
    for held in (REGISTERED.get(column), REGISTERED.get(f"{PREFIX}{column}")):
        if held is not None and (held == given or not isinstance(given, Own)):
            return held
    raise BadInput(f"{column[:60]} is not registered here; mt.register(function) tests it and lets it in")


def codes(own: Iterable[Own]) -> dict[str, str]:
    """Hash of the code of each, by column."""
    return {o.column: o.code for o in own}


def notes(codes: Mapping[str, str]) -> list[str]:
    """What a matrix made with such functions says of itself."""
    kinds = {True: ("feature", PREFIX), False: ("target", targets.OWN)}
    said = [(*kinds[column.startswith(PREFIX)], column, code) for column, code in codes.items()]
    return [f"own {kind} {column.removeprefix(prefix)}, {_coded(code)}" for kind, prefix, column, code in said]


def _coded(code: str) -> str:
    digest, _, text = code.partition(": ")
    return f"code {digest[:12]}{f' = {text}' if text else ''}"


def known(codes: Mapping[str, str]) -> bool:
    """Whether this process can compute them again: it registered the same code."""
    return all(column in REGISTERED and REGISTERED[column].code == code for column, code in codes.items())


def recalled(codes: Mapping[str, str]) -> tuple[Own, ...]:
    """The registered functions that a matrix was made with; `Unavailable` in a process that does not know them."""
    if not known(codes):
        raise Unavailable(f"{', '.join(codes)}: made by functions that this process does not know")
    return tuple(REGISTERED[column] for column in codes)


def columns(own: tuple[Own, ...], frame: pd.DataFrame) -> pd.DataFrame:
    """(n, k) of the features among them."""
    if lonely := next((o for o in own if o.across), None):
        raise BadInput(f"{lonely.text} compares the names of a session, and this is one; give several tickers")
    return pd.DataFrame({o.column: o.values(frame) for o in own if o.kind == "feature"}, index=frame.index)


def beside(own: Iterable[Own], bars: Mapping[str, pd.DataFrame], rows: pd.MultiIndex) -> pd.DataFrame:
    """(n, k) of the features that compare names, at rows by session and ticker; `bars` of every ticker by name."""
    found = {}
    for o in own:
        assert isinstance(o.function, Expression)
        wide = o.function.panel(bars)
        session, ticker = (rows.get_level_values(level) for level in ("session", "ticker"))
        found[o.column] = wide.to_numpy()[wide.index.get_indexer(session), wide.columns.get_indexer(ticker)]
    return pd.DataFrame(found, index=rows)


def gapless(features: pd.DataFrame, warm: int) -> None:
    """`BadInput` if one is missing after the warm-up, where ours would be left out: its author should know."""
    for name in features:
        gaps = features[name].iloc[warm:].isna()
        if gaps.any():
            raise BadInput(
                f"{name} is missing on {int(gaps.sum())} sessions after the first {warm}, first on "
                f"{_day(gaps.index[int(np.argmax(gaps))])}; a feature needs a value on each of them"
            )


def _day(row: Any) -> str:
    """The session of a row, of a panel with its ticker."""
    return f"{row[0].date()} of {row[1]}" if isinstance(row, tuple) else str(row.date())
