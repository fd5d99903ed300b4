"""A forecast is of its row: asked alone, or in a block with the rows after it, the answer is the same."""

import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mltrainer.models.catalog import specs

LEARNED, ASKED, LAG = 400, 30, 6


@pytest.mark.parametrize("spec", specs(), ids=lambda s: s.name)
def test_a_forecast_is_the_same_row_by_row_and_in_a_block(spec, msft):
    """Equal to 1e-9 of a forecast's own size; the last bits differ where BLAS sums a block in another order."""
    if not spec.available:
        pytest.skip(spec.why_unavailable)
    X, y, X_new, y_new = msft.X, msft.y, msft.X_new, msft.y_new
    if spec.series:
        X, X_new = (part[list(spec.columns)].to_numpy() for part in (msft.named.X, msft.named.X_new))
        y, y_new = msft.named.y, msft.named.y_new
    X_new, y_new = X_new[:ASKED], y_new[:ASKED]
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        fitted = spec.build().fit(X[-LEARNED:], y[-LEARNED:])
        if spec.follows:
            block = fitted.filter(X_new, y_new, LAG)
            alone = [fitted.filter(X_new[: i + 1], y_new[: i + 1], LAG)[-1] for i in range(ASKED)]
        else:
            block = np.ravel(fitted.predict(X_new))
            alone = [np.ravel(fitted.predict(X_new[i : i + 1]))[0] for i in range(ASKED)]
    size = np.abs(block).max()
    np.testing.assert_allclose(alone, block, rtol=1e-9, atol=1e-9 * size)
