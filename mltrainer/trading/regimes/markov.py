"""Hidden states of the market: how probable is each, by the returns so far and by parameters learned before them?

The parameters are estimated on a schedule, from the returns before it only, and stand until the next; the probability
of a session is Hamilton's filter carried up to it, never the smoother, which knows what came after. The states of every
estimate are ordered by variance: the first is the calmest, whatever the optimizer called it.
"""

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.errors import BadInput

STATES = {2: ("calm", "turbulent"), 3: ("calm", "uneasy", "turbulent")}
FIRST, EVERY = 504, 252  # returns before the first estimate, and between two

Array = NDArray[np.float64]
Fit = tuple[Array, bool]  # parameters in the optimizer's order, and whether it arrived


def filtered(close: "pd.Series[float]", *, states: int = 2, every: int = EVERY) -> pd.DataFrame:
    r"""Probability of each hidden state after the close of each session, (n, states); NaN before the first estimate.

    .. math:: r_t = \mu_{s_t} + \sigma_{s_t}\varepsilon_t, \qquad P(s_t = j \mid s_{t-1} = i) = p_{ij}

    Parameters
    ----------
    close : (n,) adjusted closes by session.
    states : 2 (calm, turbulent) or 3 (calm, uneasy, turbulent).
    every : sessions between two estimates, counted from the 504th return, so that a later end moves none of them.

    Returns
    -------
    (n, states) frame, columns `p_calm` ... `p_turbulent`; each row sums to 1.

    References
    ----------
    Hamilton (1989), *A New Approach to the Economic Analysis of Nonstationary Time Series*, Econometrica 57.
    """
    names = [f"p_{name}" for name in _states(states)]
    r, out = _returns(close), np.full((len(close), states), np.nan)
    for start, params, _ in _schedule(r, states, every):
        end = min(start + every, len(r))
        model = _model(r[:end], states)
        with np.errstate(all="ignore"):  # a return that neither state believes in
            probability = np.asarray(model.filter(params).filtered_marginal_probabilities)
        out[start + 1 : end + 1] = probability[start:, _order(model, params)]  # return i is that of session i + 1
    return pd.DataFrame(out, close.index, names)


def fits(close: "pd.Series[float]", *, states: int = 2, every: int = EVERY) -> pd.DataFrame:
    """The estimates behind `filtered`: one row each, by the last session each has learned from.

    Columns: for every state its mean (% a session), volatility (% a session) and expected duration (sessions), and
    `arrived`: False where the optimizer did not, and the estimate before stands.
    """
    r, rows = _returns(close), {}
    for start in range(FIRST, len(r) + 1, every):
        params, arrived = _fitted(r[:start].tobytes(), states)
        model = _model(r[:start], states)
        stay = np.diag(np.squeeze(model.regime_transition_matrix(params)))
        row: dict[str, Any] = {}
        for name, k in zip(_states(states), _order(model, params), strict=True):
            row |= {f"{name}_mean": params[model.parameters["exog"]][k]}
            row |= {f"{name}_volatility": np.sqrt(params[model.parameters["variance"]][k])}
            row |= {f"{name}_duration": 1 / max(1 - stay[k], 1e-9)}
        rows[close.index[start]] = row | {"arrived": arrived}
    return pd.DataFrame.from_dict(rows, orient="index")


def learned(close: "pd.Series[float]", *, states: int = 2, every: int = EVERY) -> "pd.Series[Any]":
    """The last session that the parameters of each session's probability have learned from, (n,); NaT before."""
    out = pd.Series(pd.NaT, close.index, dtype="datetime64[s]")
    for start, _, last in _schedule(_returns(close), states, every):
        out.iloc[start + 1 : start + 1 + every] = close.index[last]
    return out


def _states(states: int) -> tuple[str, ...]:
    if states not in STATES:
        raise BadInput(f"states={states!r} is not 2 or 3, the numbers of hidden states that can be told apart")
    return STATES[states]


def _returns(close: "pd.Series[float]") -> Array:
    return 100 * np.diff(np.log(close.to_numpy(float)))


def _schedule(r: Array, states: int, every: int) -> list[tuple[int, Array, int]]:
    """From which return on each estimate speaks, its parameters, and how many returns it has learned from.

    One that did not arrive leaves the floor to the one before.
    """
    made: list[tuple[int, Array, int]] = []
    for start in range(FIRST, len(r), every):
        params, arrived = _fitted(r[:start].tobytes(), states)
        if arrived or made:
            made.append((start, params, start) if arrived else (start, *made[-1][1:]))
    return made


@lru_cache(maxsize=512)  # the same past is asked for by every day that follows it
def _fitted(returns: bytes, states: int) -> Fit:
    model = _model(np.frombuffer(returns), states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is that it did not arrive, which is said in the record
        try:
            found = model.fit(disp=0, cov_type="none", maxiter=200)
        except (np.linalg.LinAlgError, ValueError):  # returns that no two states describe
            return np.full(model.k_params, np.nan), False
    params = np.asarray(found.params, dtype=float)
    return params, bool(found.mle_retvals["converged"]) and bool(np.isfinite(params).all())


def _order(model: Any, params: Array) -> NDArray[np.intp]:
    """The states by their variance, the calmest first: an optimizer's numbers mean nothing."""
    return np.argsort(params[model.parameters["variance"]], kind="stable")


def _model(r: Array, states: int) -> Any:
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    return MarkovRegression(r, k_regimes=states, switching_variance=True)
