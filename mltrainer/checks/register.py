"""A researcher's own model, feature, target or expression: tested, named by its hash, let in beside ours."""

import inspect
from functools import partial
from types import FunctionType
from typing import Any, Literal

import numpy as np
import pandas as pd

from mltrainer.checks import columns
from mltrainer.checks.columns import Leak
from mltrainer.data import market
from mltrainer.errors import BadInput
from mltrainer.evaluation import code
from mltrainer.features import expressions, rewriting
from mltrainer.features.expressions import Expression
from mltrainer.features.own import REGISTERED, Own
from mltrainer.models import own as models
from mltrainer.models.base import ModelSpec
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset

HORIZONS = (1, 5, 21)  # at which a target is tested
MOST = 150  # cuts at which a function is tested; `mltrainer.leakcheck` has more
HOME = "a feature of session t may use rows up to t, a target rows up to t + horizon + 1"


def register(
    thing: Any, name: str = "", *, max_train_rows: int | None = None, unit: str = "", ticker: str = "MSFT"
) -> ModelSpec | Own:
    """Let in a model, feature or target of one's own, after a test for look-ahead; its trials count like all others.

    Parameters
    ----------
    thing : an unfitted scikit-learn estimator, as `mltrainer.models.own.register` has it; or a function. One of
        (bars) is a feature: it gives one number for each session, made of rows up to its own. One of (bars, horizon)
        is a target: the label of each session, of what the `horizon` sessions after it bring; it is known at the close
        of t + horizon + 1 at the latest. `bars` is a frame by session with open, high, low, close and volume as far as
        the source has them. Or text: a feature as an expression, `"ts_mean(volume, 5) / close"`, in the language of
        `mltrainer.features.expressions`; one that ranks names against each other is for panels only.
    name : shown in every table; default that of the class or the function.
    max_train_rows : how many rows a model can bear.
    unit : of a feature or target, in words.
    ticker : whose bars a function is tested on. It is tested again, quickly, on those it is used with.

    Returns
    -------
    ModelSpec or Own
        A model for `evaluate(model, ...)`; a feature for `features=[...]`, a target for `target=...` of `matrix`,
        `evaluate` and `preregister`.

    Raises
    ------
    Refused
        A function that looks ahead; the message names the session that moved first.
    BadInput
        What is neither model nor function, fails on the bars, or gives something else than numbers by session.
    """
    if isinstance(thing, str):
        thing = expressions.parse(thing)
    if not isinstance(thing, FunctionType | Expression):
        return models.register(thing, name, max_train_rows=max_train_rows)
    written = thing if isinstance(thing, Expression) else None
    kind, name = _kind(thing), name or str(getattr(thing, "name" if written else "__name__"))
    if not name.isidentifier() or len(name) > 40:
        raise BadInput(f"{name[:60]!r} is no name of a feature or target; give name='...', letters and digits")
    bars = market.bars(ticker)
    text = written.text if written else (inspect.getdoc(thing) or "").partition("\n")[0]
    own = Own(kind, name, thing, code.function(thing), unit, text, "" if written else _source(thing))
    _tried(own, bars)
    leak, cuts = (_feature if kind == "feature" else _target)(own, bars)
    if leak:
        gate.refuse(f"own {kind} {name}", f"looks ahead: {leak}", HOME, kind="mistake", code=own.code)
    rows = bars.frame
    checked = f"passed on {bars.name}, {len(rows):,} sessions to {rows.index[-1].date()}, {cuts} other futures"
    REGISTERED[own.column] = own = Own(**vars(own) | {"checked": checked})
    audit.append("register", column=own.column, code=own.code, checked=checked)
    return own


def _kind(function: FunctionType | Expression) -> Literal["feature", "target"]:
    if isinstance(function, Expression):
        return "feature"
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if len(needed) == 1:
        return "feature"
    if len(needed) == 2 and needed[1] == "horizon":
        return "target"
    said = f"{function.__name__}({', '.join(needed)})"
    raise BadInput(f"{said}: a feature is a function of (bars), a target one of (bars, horizon)")


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed into a console that keeps nothing
        return ""


def _tried(own: Own, bars: Dataset) -> None:
    """Say what is wrong with a function before it is said to look ahead."""
    for horizon in [()] if own.kind == "feature" else [(h,) for h in HORIZONS]:
        try:
            said = own.values(bars.frame, *horizon)
        except BadInput:
            raise
        except Exception as error:  # whatever it raises is an answer
            words = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise BadInput(f"{own.name} fails on the bars of {bars.name} as they are ({words})") from error
        if said.notna().sum() < 2 or said.nunique() < 2:
            raise BadInput(f"{own.name} says the same on all sessions of {bars.name}; there is nothing in it")


def _feature(own: Own, bars: Dataset) -> tuple[str, int]:
    """What is wrong with a feature, in words, and how many cuts it was tested at."""
    _, _, leaks = columns.of_function(own.values, bars, most=MOST)
    return (_words(leaks[0]) if leaks else ""), MOST


def _words(leak: Leak) -> str:
    return leak.note or f"its value of {leak.first} moves when sessions after {leak.cut} are {leak.how}"


def _target(own: Own, bars: Dataset) -> tuple[str, int]:
    """A label that was known h + 1 sessions ago is a feature of today, and must pass as one; and it must look ahead."""
    for horizon in HORIZONS:
        late = partial(_known, own, horizon)
        _, _, leaks = columns.of_columns("target", late, bars.frame, most=MOST // len(HORIZONS))
        if leaks:
            place = int(bars.frame.index.searchsorted(pd.Timestamp(leaks[0].first))) - horizon - 1
            first, after = bars.frame.index[max(place, 0)].date(), f"sessions after {leaks[0].cut} are {leaks[0].how}"
            return f"at horizon {horizon} its label of {first} moves when {after}", 0
    cut, rng = len(bars.frame) * 2 // 3, np.random.default_rng(0)
    if not rewriting.future_moves(lambda f: own.values(f, 5).to_frame(), bars.frame, cut, rng):
        raise BadInput(f"{own.name} is known at the close of its own session: there is nothing to forecast in it")
    return "", MOST


def _known(own: Own, horizon: int, frame: pd.DataFrame) -> "pd.Series[float]":
    return own.values(frame, horizon).shift(horizon + 1)
