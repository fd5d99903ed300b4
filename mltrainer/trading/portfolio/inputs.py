"""Two doors to a portfolio problem: admitted closes through the gate, or plain numbers whose origin nobody can show."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.data import market, quality
from mltrainer.data.dates import Day, day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, NotEnoughHistory, NotEntitled, Partial, Unavailable, UnknownName
from mltrainer.settings import settings
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset, Provenance

Array = NDArray[np.float64]
LEAST = 60  # returns below which no covariance is estimated
ABSENT = (BadInput, NotEnoughHistory, NotEntitled, Unavailable)  # of one name of a universe
CLOSES = "closes"


@dataclass(frozen=True, eq=False)
class Inputs:
    """Names, returns (t, n) and benchmark returns (t,) where there are any, and where they are from."""

    names: tuple[str, ...]
    returns: Array | None = None
    benchmark: Array | None = None
    as_of: str = ""
    notes: tuple[str, ...] = ()
    provenance: Provenance | None = None


# --- data -----------------------------------------------------------------------------------------------------


def closes(data: Any, *, as_of: Day = None, benchmark: str | None = None) -> Dataset:
    """Adjusted closes of several names over the sessions that all of them have, sealed.

    Parameters
    ----------
    data : tickers, a `universe` (names that the mode in force lacks are left out and named by a warning), or bars.
    as_of : last session that may be used; default the last that all have.
    benchmark : a ticker whose closes become the last column, "benchmark".

    Returns
    -------
    Dataset
        (t, n) of kind "closes", by session, in the order asked for.
    """
    parts = _fetched(data, day(as_of, "as_of"))
    names = [p.name for p in parts]
    if len(set(names)) < len(names):
        raise BadInput(f"{next(n for n in names if names.count(n) > 1)} is named twice; name each once")
    if len(parts) < 2:
        raise BadInput("a portfolio is of two names at least; give more tickers or a universe")
    if benchmark is not None:
        parts.append(_bars(benchmark, day(as_of, "as_of")))
    for part in parts:
        quality.gatekeep(part)
    return gate.derive(joined, *parts, as_of=as_of, benchmark=benchmark is not None)


def _fetched(data: Any, last: pd.Timestamp | None) -> list[Dataset]:
    universe, start = isinstance(data, Universe), getattr(data, "start", "") or None
    items = list(data.tickers) if universe else [data] if isinstance(data, str | Dataset) else list(data)
    found: dict[int, Dataset] = {}
    lacking: dict[str, Exception] = {}
    for i, item in enumerate(items):
        try:
            found[i] = _bars(item, last, start=start)
        except ABSENT as error:
            if not universe:
                raise
            lacking[str(item)] = error
    if not found:
        raise next(iter(lacking.values()), BadInput("no ticker was given; name two at least"))
    if lacking:
        left = f"{len(lacking)} of {len(items)} names of {data.name} are left out: {', '.join(lacking)}"
        warnings.warn(f"{left} ({next(iter(lacking.values()))})", Partial, stacklevel=4)
    # A sample may hold a name twice: asked for the last session of the others, it gives the series that reaches there.
    ends = {i: p.frame.index[-1] for i, p in found.items()}
    for i, end in ends.items():
        if end < max(ends.values()) and isinstance(items[i], str):
            found[i] = _bars(items[i], last, start=start, reach=str(max(ends.values()).date()))
    parts = [market.until(p, last) for p in found.values()]
    _say_who_ends_early({p.name: p.frame.index[-1] for p in parts})
    return parts


def _say_who_ends_early(ends: dict[str, pd.Timestamp]) -> None:
    first, last = min(ends, key=lambda name: ends[name]), max(ends.values())
    if last - ends[first] > pd.Timedelta(days=7):
        early = f"the bars of {first} end on {ends[first].date()}, and those of others on {last.date()}"
        warnings.warn(f"{early}: the portfolio is as of the former; leave it out for the latter", Partial, stacklevel=5)


def _bars(item: Any, last: pd.Timestamp | None, *, start: str | None = None, reach: str | None = None) -> Dataset:
    """Bars of a ticker, or those given; a sample's are cut later, so that `as_of` does not choose their series."""
    if isinstance(item, str):
        end = reach if settings().data_mode == "sample" or last is None else str(last.date())
        item = market.bars(item, start=start, end=end)
    gate.verify(item, "optimize")
    assert isinstance(item, Dataset)
    return item


def joined(*parts: Dataset, as_of: Day = None, benchmark: bool = False) -> Dataset:
    """The transform behind `closes`: one column a name, sessions that all have."""
    names = [p.name for p in parts]
    if benchmark:
        names[-1] = "benchmark"
    frame = pd.concat([p.frame["close"] for p in parts], axis=1, join="inner", keys=names).dropna().sort_index()
    last = day(as_of, "as_of")
    frame = frame if last is None else frame.loc[:last]
    if frame.empty:
        raise NotEnoughHistory(f"{', '.join(names[:5])} share no session; choose names that traded at the same time")
    return Dataset(frame, "+".join(names), CLOSES)


def of_data(data: Any, *, as_of: Day, sessions: int, benchmark: str | None) -> Inputs:
    """Returns of the latest `sessions` up to `as_of`, of tickers, a universe, bars, or sealed closes."""
    if isinstance(data, Dataset) and data.kind == CLOSES:
        if benchmark is not None:
            raise BadInput("closes are joined already; name the benchmark where they are made")
        sealed = data
    else:
        sealed = closes(data, as_of=as_of, benchmark=benchmark)
    origin = gate.verify(sealed, "optimize")
    last = day(as_of, "as_of")
    frame = sealed.frame if last is None else sealed.frame.loc[:last]
    prices = frame.iloc[-sessions - 1 :]
    values = prices.to_numpy(dtype=float)
    if len(values) - 1 < LEAST:
        raise NotEnoughHistory(
            f"a covariance needs {LEAST} returns, and {len(frame.columns)} names share {max(len(values) - 1, 0)} up to "
            f"{str(last.date()) if last is not None else 'the last session'}; choose a later as_of or other names"
        )
    returns = values[1:] / values[:-1] - 1
    notes = () if len(returns) == sessions else (f"{len(returns)} returns, all there are, and not {sessions}",)
    names, marked = list(frame.columns), "benchmark" in frame.columns
    return Inputs(
        tuple(n for n in names if n != "benchmark"),
        returns[:, [n != "benchmark" for n in names]],
        returns[:, names.index("benchmark")] if marked else None,
        str(prices.index[-1].date()),
        notes,
        origin,
    )


# --- numbers --------------------------------------------------------------------------------------------------


def of_numbers(mu: Any, sigma: Any, returns: Any, benchmark: Any) -> Inputs:
    """Names and returns of given numbers; what has no names is called "1", "2" ..."""
    labels = next((list(labels) for labels in (_labels(x) for x in (sigma, returns, mu)) if labels is not None), None)
    sizes = [np.shape(x)[-1] for x in (sigma, returns, mu) if x is not None and np.ndim(x) and not isinstance(x, dict)]
    if labels is None and not sizes:
        raise BadInput("nothing to optimize: give tickers or a universe, or sigma=, or returns=")
    names = tuple(str(x) for x in (labels if labels is not None else range(1, sizes[0] + 1)))
    if len(names) != len(set(names)):
        raise BadInput("two of the given columns have the same name; name each once")
    past = None if returns is None else block(returns, names, "returns")
    if past is not None and len(past) < 2:
        raise BadInput("returns of fewer than two periods say nothing; give more rows")
    other = None if benchmark is None else np.asarray(benchmark, dtype=float).ravel()
    if other is not None and (past is None or len(other) != len(past) or not np.isfinite(other).all()):
        raise BadInput("benchmark is one finite return for each row of returns; give both over the same periods")
    return Inputs(names, past, other)


def _labels(x: Any) -> Any:
    if isinstance(x, pd.DataFrame):
        return x.columns
    return list(x.index if isinstance(x, pd.Series) else x) if isinstance(x, pd.Series | Mapping) else None


def vector(value: Any, names: Sequence[str], what: str) -> Array:
    """One finite number for each name, by name where `value` has names."""
    if isinstance(value, pd.Series | Mapping):
        known = {str(k): v for k, v in value.items()}
        for name in known:
            if name not in names:
                raise UnknownName.of(f"name of the portfolio (in {what})", name, names)
        value = [known.get(name, np.nan) for name in names]
    found = np.asarray(value, dtype=float).ravel()
    if found.shape != (len(names),) or not np.isfinite(found).all():
        raise BadInput(f"{what} is no finite number for each of the {len(names)} names")
    return found


def block(value: Any, names: Sequence[str], what: str) -> Array:
    """(t, n) finite numbers."""
    try:
        found = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise BadInput(f"{what} holds what is no number; give an array or a frame of numbers") from None
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim != 2 or found.shape[1] != len(names) or not np.isfinite(found).all():
        raise BadInput(f"{what} of shape {found.shape} is no block of finite numbers of {len(names)} names")
    return found


def covariance(value: Any, names: Sequence[str]) -> Array:
    """(n, n), symmetric and positive semidefinite, or one line that says which it is not."""
    found = block(value, names, "sigma")
    if found.shape[0] != found.shape[1] or not np.allclose(found, found.T, rtol=1e-8, atol=1e-14):
        raise BadInput(f"sigma of shape {found.shape} is not symmetric; give a covariance matrix")
    found = (found + found.T) / 2
    least, largest = np.linalg.eigvalsh(found)[[0, -1]]
    if (np.diag(found) <= 0).any() or least < -1e-10 * largest:
        raise BadInput(f"sigma is no covariance: its least eigenvalue is {least:.3g}; shrink it or estimate it anew")
    return found
