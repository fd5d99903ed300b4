"""Fractions of Kelly: growth and the fall on the way, by published figures and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.errors import BadInput
from mltrainer.trading.portfolio.kelly import curve, ever_below, falls_first, growth, picture


def test_thorp_2006_the_index_grows_fastest_at_11_56_percent():
    """Thorp (2006), sec. 7: m = 0.11, r = 0.06, s = 0.15 give f* = 2.22, and r + (m - r)^2 / 2 s^2 = 0.1156."""
    assert 0.06 + growth(1.0, 0.05, 0.15) == pytest.approx(0.1156, abs=5e-5)
    assert pytest.approx(2.22, abs=5e-3) == 0.05 / 0.15**2


def test_schlesinger_a_full_kelly_bettor_doubles_before_losing_half_in_67_of_100():
    """Schlesinger, Two Risk of Ruin Equations (bjmath.com): 2/3 for full Kelly, and his second equation for any f."""
    assert 1 - falls_first(0.5, 2, 1.0) == pytest.approx(2 / 3)
    for x, y, f in ((0.5, 2, 0.5), (0.7, 3, 0.25), (0.2, 1.5, 1.3)):
        k = 2 / f - 1
        assert 1 - falls_first(x, y, f) == pytest.approx((x**k - 1) / ((x / y) ** k - 1))


def test_growth_against_the_fall_by_hand():
    """Full Kelly is ever cut to x with probability x, half Kelly with x cubed at 3/4 of the growth; twice surely."""
    table = curve(0.0003, 0.01)
    assert table.loc[1.0, ["ever_80", "ever_50", "ever_20"]].tolist() == pytest.approx([0.8, 0.5, 0.2])
    assert table.loc[0.5, ["ever_80", "ever_50", "ever_20"]].tolist() == pytest.approx([0.512, 0.125, 0.008])
    assert table.loc[[0.5, 1.0, 2.0], "share"].tolist() == pytest.approx([0.75, 1, 0])
    assert table.loc[2.0, "ever_20"] == 1
    assert table.loc[1.0, "exposure"] == pytest.approx(3)
    assert table.loc[1.0, "growth"] == pytest.approx(252 * 0.0003**2 / (2 * 0.01**2))


@pytest.mark.parametrize("fraction", [0.5, 1.0, 1.5])
def test_simulated_wealth_grows_and_falls_as_the_formulas_say(fraction: float):
    """Small steps of a geometric Brownian motion, until it has doubled or halved; 4,000 paths err by 0.007."""
    rng, mu, sigma = np.random.default_rng(0), 0.05, 0.15
    f, dt, steps, paths = fraction * mu / sigma**2, 0.02, 6_000, 4_000
    logs, falls = np.zeros(paths), np.zeros(paths, dtype=bool)
    alive, total = np.ones(paths, dtype=bool), np.zeros(paths)
    for _ in range(steps):
        moves = f * mu * dt - f**2 * sigma**2 * dt / 2 + f * sigma * dt**0.5 * rng.normal(size=paths)
        total += moves
        logs[alive] += moves[alive]
        down, up = alive & (logs <= np.log(0.5)), alive & (logs >= np.log(2))
        falls |= down
        alive &= ~(down | up)
    assert total.mean() / (steps * dt) == pytest.approx(growth(fraction, mu, sigma), abs=4 * f * sigma / 1e3 / 0.69)
    assert alive.mean() < 0.02
    assert falls.mean() == pytest.approx(falls_first(0.5, 2, fraction), abs=0.03)  # steps overshoot a little


@given(st.floats(0.05, 1.95), st.floats(0.05, 0.95))
def test_who_bets_more_falls_more_often_and_never_before_a_goal_more_often_than_ever(fraction: float, level: float):
    assert ever_below(level, fraction) <= ever_below(level, fraction + 0.01) + 1e-12
    assert falls_first(level, 10, fraction) <= ever_below(level, fraction) + 1e-9


def test_the_picture_says_what_half_of_kelly_costs():
    shown = picture(0.0003, 0.01)
    assert "keeps 75 % of the growth" in shown.layout.meta["finding"]
    assert "12.5% instead of 50%" in shown.layout.meta["finding"]
    assert [t.name for t in shown.data] == ["growth, % of the fastest", "ever half of it, %"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: growth(0.0, 0.05, 0.15),
        lambda: growth(1.0, 0.05, 0.0),
        lambda: ever_below(1.0, 0.5),
        lambda: falls_first(0.5, 0.9, 1.0),
        lambda: curve(-0.1, 0.2),
    ],
)
def test_what_is_no_bet_is_one_line(call):
    with pytest.raises(BadInput) as said:
        call()
    assert "\n" not in str(said.value)
