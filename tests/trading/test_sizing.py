"""How large a position is: by hand, and never above its limits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput
from mltrainer.trading.portfolio.limits import Constraints
from mltrainer.trading.portfolio.optimize import efficient_frontier, optimize
from mltrainer.trading.portfolio.sizing import SIZES, size

SIGMA = np.diag([0.01**2, 0.02**2])  # per session


def test_equal_sizes_share_the_wealth_among_the_positions_there_are():
    assert list(size([1, -1, 0, 1], position=1).weights) == pytest.approx([1 / 3, -1 / 3, 0, 1 / 3])


def test_confidence_divides_the_wealth_by_how_sure_each_is():
    found = size({"A": 1, "B": -1}, rule="confidence", confidence={"B": 0.2, "A": 0.6}, position=1)
    assert dict(found.weights) == pytest.approx({"A": 0.75, "B": -0.25})
    assert repr(found) == "Sizes(confidence: 2 positions, 100.0% of wealth)"


def test_a_volatility_target_by_hand():
    """Two uncorrelated names of 1 % and 2 % a session: equal risk each, sqrt(2) k sqrt(252) = 10 %."""
    found = size([1, 1], rule="volatility-target", sigma=SIGMA, target=0.10, position=1)
    k = 0.10 / np.sqrt(2 * 252)
    assert list(found.weights) == pytest.approx([k / 0.01, k / 0.02])


def test_half_kelly_by_hand_and_as_the_optimizer_has_it_where_names_are_uncorrelated():
    mu = [0.00002, -0.00002]
    found = size([1, 1], rule="kelly", mu=mu, sigma=SIGMA, fraction=0.5, position=1)
    assert list(found.weights) == pytest.approx([0.1, -0.025])
    free = Constraints(lower=-1, upper=1, budget=None)
    same = optimize(mu=mu, sigma=SIGMA, method="kelly", fraction=0.5, constraints=free)
    assert list(same.weights) == pytest.approx(list(found.weights), abs=1e-5)


@given(st.integers(0, 10**6), st.sampled_from(sorted(SIZES)))
def test_no_position_and_no_sum_is_above_its_limit_and_proportions_stay(seed: int, rule: str):
    rng = np.random.default_rng(seed)
    n = 6
    how = {
        "confidence": rng.uniform(0, 1, n),
        "mu": rng.normal(0, 1e-3, n),
        "sigma": np.diag(rng.uniform(1, 9, n) * 1e-4),
    }
    signs = rng.choice([-1, 0, 1], n)
    found = size(signs, rule=rule, **how, position=0.1, gross=0.3)
    assert found.weights.abs().max() <= 0.1 + 1e-12
    assert found.weights.abs().sum() <= 0.3 + 1e-12
    loose = size(signs, rule=rule, **how, position=1e9, gross=1e9)
    top = loose.weights.abs().max()
    if top > 0:
        np.testing.assert_allclose(found.weights / found.weights.abs().max(), loose.weights / top, atol=1e-12)
        assert bool(found.notes) == bool(top > 0.1 or loose.weights.abs().sum() > 0.3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rule": "martingale"}, "no rule of position size is called 'martingale'"),
        ({"rule": "kelly", "sigma": SIGMA}, "needs mu"),
        ({"rule": "volatility-target"}, "needs sigma"),
        ({"rule": "confidence", "confidence": [-1, 1]}, "negative"),
        ({"fraction": 0}, "above 0"),
    ],
)
def test_what_a_rule_lacks_is_said(how: dict, said: str):
    with pytest.raises(BadInput, match=said):
        size([1, 1], **how)


# --- the frontier ---------------------------------------------------------------------------------------------

BONDS_AND_STOCKS = pd.DataFrame([[0.0144, 0.0072], [0.0072, 0.04]], ["bonds", "stocks"], ["bonds", "stocks"])


def test_the_frontier_of_two_names_by_hand():
    """Bodie, Kane and Marcus, ch. 7: from 82 % bonds (11.45 %) to all stocks (13 %, 20 %); between, a parabola."""
    found = efficient_frontier(sigma=BONDS_AND_STOCKS, mu={"bonds": 0.08, "stocks": 0.13}, points=7)
    assert found["volatility"].iloc[0] == pytest.approx(0.1145, abs=2e-4)
    assert found["expected_return"].iloc[-1] == pytest.approx(0.13, abs=1e-5)
    assert found["volatility"].iloc[-1] == pytest.approx(0.20, abs=1e-4)
    w = (0.13 - found["expected_return"]) / 0.05  # in bonds
    np.testing.assert_allclose(found["bonds"], w, atol=1e-5)
    by_hand = np.sqrt(w**2 * 0.0144 + (1 - w) ** 2 * 0.04 + 2 * w * (1 - w) * 0.0072)
    np.testing.assert_allclose(found["volatility"], by_hand, atol=1e-5)
    assert found["volatility"].is_monotonic_increasing


def test_a_frontier_that_cannot_be_drawn_says_why():
    with pytest.raises(BadInput, match="no frontier can be drawn: the limits contradict"):
        efficient_frontier(sigma=BONDS_AND_STOCKS, mu=[0.08, 0.13], constraints=Constraints(upper=0.3))
    with pytest.raises(BadInput, match="points 1"):
        efficient_frontier(sigma=BONDS_AND_STOCKS, mu=[0.08, 0.13], points=1)
