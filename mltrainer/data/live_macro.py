"""Live macro series as researchers get them: of the provider named, and all that the matrix asks for."""

import time
from contextlib import suppress
from functools import lru_cache
from typing import Any

import pandas as pd

from mltrainer.data.providers import fred, polygon_macro
from mltrainer.data.providers.macro_series import CONTEXT, SERIES
from mltrainer.errors import NotEnoughHistory, NotEntitled, Unavailable, UnknownName
from mltrainer.settings import Settings, settings
from mltrainer.trust.provenance import Dataset

FRESH = 3600  # seconds for which macro series that were read stand for those of the provider


def macro(series: str, first: pd.Timestamp | None, last: pd.Timestamp | None, *, provider: str, **how: Any) -> Dataset:
    """Observations of one series from `first` to `last`; see `market.macro`."""
    if provider == "fred":
        return fred.observations(series, start=first, end=last, **how)
    if how["units"] != "lin" or how["frequency"]:
        raise Unavailable("the economy tables of Massive are as published; take units or frequency from provider fred")
    return polygon_macro.observations(series, start=first, end=last)


def context() -> list[Dataset]:
    """Every macro series the matrix asks for, as it was known."""
    return list(_read(settings(), time.time() // FRESH))


@lru_cache(maxsize=1)  # every ticker of a run asks for the same
def _read(now: Settings, _hour: float) -> tuple[Dataset, ...]:
    """What FRED has of them; without its key those that are never revised, from Massive, which has no vintages.

    What a provider does not hold, the plan does not include or nobody fetched before MLTRAINER_OFFLINE is left out,
    and the features that need it say so; any other failure is one.
    """
    own = now.fred_api_key is not None
    absent = (UnknownName, NotEnoughHistory, Unavailable, *(() if own else (NotEntitled,)))
    found = []
    for name in CONTEXT:
        with suppress(*absent):
            if own or not SERIES[name].revised:
                found.append((fred if own else polygon_macro).observations(name))
    return tuple(found)
