"""Name effects: what a pooled model leaves of the level of each name, as far as it is more than chance."""

import numpy as np
import pandas as pd
from statsmodels.stats.meta_analysis import combine_effects

from mltrainer.evaluation.panels import by_name
from mltrainer.evaluation.scaling import Array
from mltrainer.evaluation.splits import Rows
from mltrainer.metrics.base import long_run_variance

LEAST = 3  # names below which nothing can be said of how much they differ


def name_effects(residual: Array, ticker: Rows, session: Rows, horizon: int) -> Array:
    r"""Shrunken intercept of each name, from what a pooled model leaves of its train rows.

    .. math:: e_{it} = z_{it} - f(x_{it}) - \text{mean}_j (z_{jt} - f(x_{jt})), \quad
              m_i = \text{mean}_t\, e_{it}, \quad v_i = \hat\sigma_i^2 / n_i, \quad
              a_i = \frac{\tau^2}{\tau^2 + v_i} (m_i - m)

    What all names share in a session is taken out first, so that a name is not credited with the years in which it was
    there. :math:`\hat\sigma_i^2` is the long-run variance by Newey and West with 2 `horizon` lags, as labels overlap;
    :math:`\tau^2`, how much names truly differ, is Paule and Mandel's, and :math:`m` the mean weighted by
    :math:`1 / (\tau^2 + v_i)`. Where names differ no more than chance lets them, every effect is 0 and the model is the
    pooled one. A model that memorizes its train rows leaves nothing of them, and has no effects either.

    Parameters
    ----------
    residual : (n,) label less forecast of train rows, in units of the label.
    ticker : (n,) number of the name, from 0.
    session : (n,) number of the session.
    horizon : sessions a label spans.

    Returns
    -------
    (k,) effect of each name number up to the largest; 0 for a name with fewer than 2 `horizon` + 2 rows, and for all
    where fewer than three names have so many.

    References
    ----------
    Efron and Morris (1975), JASA 70, 311-319; Paule and Mandel (1982), J. Res. Natl. Bur. Stand. 87, 377-385.
    """
    shared = pd.Series(residual).groupby(session).transform("mean").to_numpy(float)
    count, own = np.bincount(ticker), residual - shared
    effect, names = np.zeros(len(count)), np.flatnonzero(count >= 2 * horizon + 2)
    rows = by_name(ticker)
    mean = np.array([own[rows[i]].mean() for i in names])
    variance = np.array([long_run_variance(own[rows[i]], 2 * horizon) / count[i] for i in names])
    if len(names) < LEAST or not (variance > 0).all():
        return effect
    found = combine_effects(mean, variance, method_re="iterated")
    effect[names] = found.tau2 / (found.tau2 + variance) * (mean - found.mean_effect_re) + 0.0  # no minus before a zero
    return effect
