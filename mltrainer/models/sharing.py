"""What several entries of the catalog have in common is fitted once: the same forecasts, bit for bit, for less.

A forest of 10 trees is the beginning of one of 100 that was seeded alike, and four stacks ask the same members for
the same forecasts. Fits are shared only inside one process and between models that run one after another under the
same group; everything is seeded, so that whoever fits first changes nothing.
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, ExtraTreesRegressor, RandomForestRegressor

from mltrainer.models.base import canonical

PREFIXES = (RandomForestRegressor, ExtraTreesRegressor, BaggingRegressor, AdaBoostRegressor)
GROWN = ("estimators_", "estimators_features_", "estimator_weights_", "estimator_errors_", "_seeds")


@dataclass
class _Memo:
    group: str = ""
    fits: dict[bytes, tuple[Any, float]] = field(default_factory=dict)
    seconds: float = 0.0


_memo = _Memo()


def group(estimator: Any) -> str:
    """What an estimator could share, as text: equal for those that can share with each other, "" for nothing."""
    if isinstance(estimator, PREFIXES):
        return _longest(estimator)
    return str(getattr(estimator, "shares", ""))


def share(name: str) -> None:
    """Let the fits that follow be shared under a name; another name forgets them, "" shares nothing."""
    if name != _memo.group:
        _memo.group, _memo.fits = name, {}


@contextmanager
def shared(name: str) -> Iterator[None]:
    """Share fits inside under a name, unless they are shared already; afterwards all is as it was."""
    before = _memo.group, _memo.fits, _memo.seconds
    if not _memo.group:
        share(name)
    try:
        yield
    finally:
        _memo.group, _memo.fits, _memo.seconds = before


def seconds() -> float:
    """CPU seconds of fits that were taken over instead of made, since this process began."""
    return _memo.seconds


def fit(estimator: Any, X: np.ndarray, y: np.ndarray) -> Any:
    """Fit X (n, p), y (n,), or take over what was fitted on the same numbers; the result is not to be changed."""
    if not _memo.group:
        return estimator.fit(X, y)
    grows = isinstance(estimator, PREFIXES)
    key = sha256((_longest(estimator) if grows else canonical(estimator)).encode())
    for part in (X, y):
        key.update(f"{part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    held, spent = _memo.fits.get(key.digest(), (None, 0.0))
    if held is None or (grows and held.n_estimators < estimator.n_estimators):
        begin = time.process_time()
        held = estimator.fit(X, y)
        _memo.fits[key.digest()] = held, time.process_time() - begin
        return held
    _memo.seconds += spent * (estimator.n_estimators / held.n_estimators if grows else 1.0)
    return _beginning(held, estimator.n_estimators) if grows else held


def _longest(estimator: Any) -> str:
    return canonical(clone(estimator).set_params(n_estimators=1))


def _beginning(fitted: Any, n: int) -> Any:
    """The first n members of an ensemble that adds members one after another, as an ensemble."""
    short = copy.copy(fitted)
    short.n_estimators = n
    for name in GROWN:
        if hasattr(fitted, name):
            setattr(short, name, getattr(fitted, name)[:n])
    return short
