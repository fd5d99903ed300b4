"""Does a forecast know something that no plain forecast does? That is less than to forecast better, and shows sooner.

A model may know something of tomorrow and still lose to HAR, by what it gets wrong besides. The verdict asks whether
it forecasts better. Here the question is whether anybody who has all plain forecasts, and weighs them with hindsight,
could still learn from it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mltrainer.errors import BadInput
from mltrainer.evaluation.baselines import baselines
from mltrainer.evaluation.panels import of_name
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.significance import StepDown, stepdown
from mltrainer.features.matrix import Matrix

BLOCK, SHORTEST = 5, 21  # horizons in a block of the bootstrap, and sessions at least, as in the verdict


def products(e: Evaluation, matrix: Matrix, protocol: Protocol) -> "pd.Series[float]":
    r"""What is left of forecast and outcome by the plain forecasts, multiplied, (n,) by session.

    .. math:: x_t = u_t w_t, \qquad u = M y, \; w = M \hat y, \qquad M = I - Z (Z'Z)^{-1} Z'

    with Z an intercept, the forecast of every baseline and what they are made of (`Matrix.past`), over the sessions of
    the test on which all of them are there (one that is fitted needs 100 rows of the name; a pooled model does not):
    the plain forecasts have their best weights, known with hindsight. The mean of x is above zero where the
    forecast helps beside all of them; where it is noise beside them, its loss is the larger and the mean of x zero.

    Parameters
    ----------
    e : a result on the matrix; of a panel on one of its tickers.

    References
    ----------
    Harvey and Newbold (2000), Journal of Applied Econometrics 15, 471-482 (multiple encompassing); Clark and West
    (2007), Journal of Econometrics 138, 291-311 (nested models: a loss alone counts the noise of what was estimated).
    """
    own, y, cuts, session, late = of_name(matrix, protocol, e.ticker)
    plain = baselines(own, y, cuts, session, np.zeros_like(session), late).join(own.past)
    plain = plain.loc[e.forecasts.index].dropna()
    said = e.forecasts.loc[plain.index]
    Z = np.column_stack([np.ones(len(plain)), said["expanding_mean"], plain.to_numpy(float)])
    both = said[["y", "forecast"]].to_numpy(float)
    left = both - Z @ np.linalg.lstsq(Z, both, rcond=None)[0]
    return pd.Series(left.prod(axis=1), plain.index, name="products")


def adds(results: Sequence[Evaluation], matrix: Matrix, protocol: Protocol | None = None) -> StepDown:
    """Test of each result, adjusted for all of them: does it know something that no plain forecast does?

    Parameters
    ----------
    results : of models that ran, all of one ticker and question.
    protocol : under which they were made, default the usual one.

    Returns
    -------
    StepDown
        `t` and `p` in the order of the results.
    """
    if not results or len({(e.ticker, e.target, e.horizon) for e in results}) > 1 or not all(e.ok for e in results):
        raise BadInput("adds takes results of one ticker, target and horizon that ran to the end")
    X = pd.concat([products(e, matrix, protocol or Protocol()) for e in results], axis=1)
    return stepdown(X, block=max(BLOCK * matrix.horizon, SHORTEST), overlap=matrix.horizon)
