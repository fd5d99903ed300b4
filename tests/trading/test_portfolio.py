"""Portfolios: published examples through the public call, limits on real windows, and nothing unsaid."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.errors import BadInput, NotEnoughHistory, Refused, UnknownName
from mltrainer.trading.portfolio.inputs import closes
from mltrainer.trading.portfolio.methods import METHODS
from mltrainer.trading.portfolio.optimize import optimize
from mltrainer.trust.provenance import Dataset

FREE = mt.Constraints(lower=-np.inf, upper=np.inf, budget=None)


def percents(weights: pd.Series, digits: int = 1) -> list[float]:
    return [round(100 * w, digits) + 0.0 for w in weights]


def covariance(volatility: list[float], below: list[list[float]], names: list[str]) -> pd.DataFrame:
    """Of volatilities and the correlations below the diagonal, a row each."""
    C = np.eye(len(names))
    for i, row in enumerate(below):
        C[i, : len(row)] = C[: len(row), i] = row
    return pd.DataFrame(C * np.outer(volatility, volatility), names, names)


# --- published examples ---------------------------------------------------------------------------------------

COUNTRIES = covariance(
    [0.160, 0.203, 0.248, 0.271, 0.210, 0.200, 0.187],
    [
        [],
        [0.488],
        [0.478, 0.664],
        [0.515, 0.655, 0.861],
        [0.439, 0.310, 0.355, 0.354],
        [0.512, 0.608, 0.783, 0.777, 0.405],
        [0.491, 0.779, 0.668, 0.653, 0.306, 0.652],
    ],
    "Australia Canada France Germany Japan UK USA".split(),
)
CAPITAL = [0.016, 0.022, 0.052, 0.055, 0.116, 0.124, 0.615]
GERMANY = mt.View({"Germany": 1, "France": -0.295, "UK": -0.705}, 0.05)
CANADA = mt.View({"Canada": 1, "USA": -1}, 0.03)


@pytest.mark.parametrize(
    ("views", "mu", "weights"),
    [
        ([], [3.9, 6.9, 8.4, 9.0, 4.3, 6.8, 7.6], [1.6, 2.2, 5.2, 5.5, 11.6, 12.4, 61.5]),
        ([GERMANY], [4.3, 7.6, 9.3, 11.0, 4.5, 7.0, 8.1], [1.5, 2.1, -4.0, 35.4, 11.0, -9.5, 58.6]),
        ([GERMANY, CANADA], [4.4, 8.7, 9.5, 11.2, 4.6, 7.0, 7.5], [1.5, 41.9, -3.4, 33.6, 11.0, -8.2, 18.8]),
    ],
    ids=["table 2", "table 4", "table 5"],
)
def test_he_and_litterman_1999(views: list[mt.View], mu: list[float], weights: list[float]):
    """He and Litterman (1999), tables 1, 2, 4 and 5; delta 2.5, tau 0.05. Inputs are rounded, so 0.1 of a percent."""
    found = mt.optimize(
        sigma=COUNTRIES, market_weights=CAPITAL, views=views, tau=0.05, risk_aversion=2.5, method="black-litterman",
        constraints=FREE,
    )  # fmt: skip
    assert percents(found.mu) == mu
    assert percents(found.weights) == pytest.approx(weights, abs=0.11)


IDZOREK = pd.DataFrame(
    np.array(
        [
            [1005, 1328, -579, -675, 121, 128, -445, -437],
            [1328, 7277, -1307, -610, -2237, -989, 1442, -1535],
            [-579, -1307, 59852, 27588, 63497, 23036, 32967, 48039],
            [-675, -610, 27588, 29609, 26572, 21465, 20697, 29854],
            [121, -2237, 63497, 26572, 102488, 42744, 39943, 65994],
            [128, -989, 23036, 21465, 42744, 32056, 19881, 32235],
            [-445, 1442, 32967, 20697, 39943, 19881, 28355, 35064],
            [-437, -1535, 48039, 29854, 65994, 32235, 35064, 79958],
        ]
    )
    / 1e6,
    *[["US bonds", "bonds", "large growth", "large value", "small growth", "small value", "developed", "emerging"]] * 2,
)
MARKET = [0.1934, 0.2613, 0.1209, 0.1209, 0.0134, 0.0134, 0.2418, 0.0349]
STYLES = {"large growth": 0.9, "large value": -0.9, "small growth": 0.1, "small value": -0.1}
BELIEFS = (("developed", 0.0525), ({"bonds": 1, "US bonds": -1}, 0.0025), (STYLES, 0.02))
IDZOREK_DOOR = {"sigma": IDZOREK, "market_weights": MARKET, "tau": 0.025, "risk_aversion": 3.07, "constraints": FREE}


def test_idzorek_2005():
    """Idzorek (2005), tables 1 to 6: implied returns, combined returns, and weights by the covariance of returns."""
    prior = mt.optimize(method="black-litterman", **IDZOREK_DOOR)
    assert percents(prior.mu, 2) == pytest.approx([0.08, 0.67, 6.41, 4.08, 7.43, 3.70, 4.80, 6.60], abs=0.011)
    views = [mt.View(assets, value) for assets, value in BELIEFS]
    found = mt.optimize(method="black-litterman", views=views, **IDZOREK_DOOR)
    assert percents(found.mu, 2) == pytest.approx([0.07, 0.50, 6.50, 4.32, 7.59, 3.94, 4.93, 6.84], abs=0.011)
    held = mt.optimize(method="mean-variance", mu=found.mu, sigma=IDZOREK, risk_aversion=3.07, constraints=FREE)
    assert percents(held.weights, 2) == pytest.approx([29.88, 15.59, 9.35, 14.82, 1.04, 1.65, 27.81, 3.49], abs=0.05)


@pytest.mark.parametrize(("belief", "confidence"), zip(BELIEFS, (0.25, 0.5, 0.65), strict=True))
def test_a_confidence_is_the_share_of_the_way_to_certainty(belief: tuple, confidence: float):
    """Idzorek (2005), step 3 of the new method: the tilt of one view is its confidence times the tilt at 100 %."""

    def tilt(c: float) -> np.ndarray:
        mu = mt.optimize(method="black-litterman", views=[mt.View(*belief, confidence=c)], **IDZOREK_DOOR).mu
        held = mt.optimize(method="mean-variance", mu=mu, sigma=IDZOREK, risk_aversion=3.07, constraints=FREE)
        return held.weights.to_numpy() - MARKET

    np.testing.assert_allclose(tilt(confidence), confidence * tilt(1.0), atol=2e-5)


def test_a_view_of_an_interval_by_hand():
    """5 % to 95 % is 3.29 deviations: [-0.0329, 0.0329] over 4 sessions has one of 0.02, so 0.005 a session."""
    view = mt.View.of_interval("AAPL", -0.02 * 1.6448536, 0.02 * 1.6448536, level=0.9, horizon=4)
    assert view.value == 0
    assert view.variance == pytest.approx(0.005**2)


def test_a_variance_moves_the_mean_as_bayes_does():
    """One asset: posterior = (pi / tau s2 + q / omega) / (1 / tau s2 + 1 / omega), by hand."""
    s2, pi, q, omega, tau = 0.04, 0.03, 0.10, 0.001, 0.05
    found = mt.optimize(
        sigma=[[s2]], mu=[pi], views=[mt.View("1", q, variance=omega)], method="mean-variance", tau=tau,
        constraints=FREE,
    )  # fmt: skip
    assert found.mu.iloc[0] == pytest.approx((pi / (tau * s2) + q / omega) / (1 / (tau * s2) + 1 / omega))


ERC = covariance([0.1, 0.2, 0.3, 0.4], [[], [0.8], [0, 0], [0, 0, -0.5]], list("1234"))


@pytest.mark.parametrize(
    ("method", "weights", "volatility"),
    [
        ("equal-weight", [25, 25, 25, 25], 11.5),
        ("minimum-variance", [74.5, 0, 15.2, 10.3], 8.6),
        ("risk-parity", [38.4, 19.2, 24.3, 18.2], 10.3),
    ],
)
def test_maillard_roncalli_and_teiletche_2010(method: str, weights: list[float], volatility: float):
    """Maillard, Roncalli and Teïletche (2010), the numerical example with four assets."""
    found = mt.optimize(sigma=ERC, method=method)
    assert percents(found.weights) == weights
    assert percents(pd.Series(found.volatility)) == [volatility]


def test_markowitz_by_bodie_kane_and_marcus():
    """Bodie, Kane and Marcus, Investments, ch. 7: bonds (8 %, 12 %), stocks (13 %, 20 %), correlation 0.3, bills 5 %.

    Minimum variance 82 % in bonds with 11.45 %; the tangency portfolio 40 %, 11 %, 14.2 %; with A = 4 a complete
    portfolio puts 74.39 % of wealth into it, 29.76 % in bonds and 44.63 % in stocks.
    """
    sigma = covariance([0.12, 0.20], [[], [0.3]], ["bonds", "stocks"])
    least = mt.optimize(sigma=sigma, method="minimum-variance")
    assert percents(least.weights, 0) == [82, 18]
    assert percents(pd.Series(least.volatility), 2) == [11.45]
    excess = {"bonds": 0.03, "stocks": 0.08}
    best = mt.optimize(sigma=sigma, mu=excess, method="maximum-sharpe")
    assert percents(best.weights, 0) == [40, 60]
    assert percents(pd.Series([best.expected_return + 0.05, best.volatility])) == [11.0, 14.2]
    whole = mt.optimize(sigma=sigma, mu=excess, method="mean-variance", risk_aversion=4, constraints=FREE)
    assert percents(whole.weights, 2) == pytest.approx([29.76, 44.63], abs=0.02)
    assert whole.cash == pytest.approx(1 - 0.7439, abs=2e-4)


def test_kelly_1956_bets_the_edge_and_half_of_it_where_asked():
    """Kelly (1956): even money with probability p asks for 2p - 1 of the wealth; 6 of 10 for 0.2."""
    coin = [[1.0]] * 6 + [[-1.0]] * 4
    assert mt.optimize(returns=coin, method="kelly", fraction=1).weights.iloc[0] == pytest.approx(0.2, abs=1e-4)
    assert mt.optimize(returns=coin, method="kelly", fraction=0.5).weights.iloc[0] == pytest.approx(0.1, abs=1e-4)


def test_kelly_bets_on_what_is_expected_and_not_on_what_the_past_happened_to_pay():
    """The coin of 6 in 10 with an expected gain of 0: its outcomes are moved to 0.8 and -1.2, and nothing is bet."""
    coin = [[1.0]] * 6 + [[-1.0]] * 4
    assert mt.optimize(returns=coin, mu=[0.0], method="kelly").weights.iloc[0] == pytest.approx(0, abs=1e-3)


def test_thorp_2006_borrows_where_nothing_forbids_it():
    """Thorp (2006), the S&P 500 with m = 0.11, r = 0.06, s = 0.15: f = (m - r) / s^2 = 2.22."""
    found = mt.optimize(mu=[0.05], sigma=[[0.15**2]], method="kelly", fraction=1, constraints=FREE)
    assert found.weights.iloc[0] == pytest.approx(2.2222, abs=1e-3)


def test_choueifaty_maximum_diversification_is_inverse_volatility_where_correlations_are_equal():
    """Choueifaty, Froidure and Reynier (2013): with one common correlation the weights are proportional to 1 / s."""
    sigma = covariance([0.1, 0.2, 0.4], [[], [0.5], [0.5, 0.5]], list("abc"))
    found = mt.optimize(sigma=sigma, method="maximum-diversification")
    np.testing.assert_allclose(found.weights, np.array([4, 2, 1]) / 7, atol=1e-4)
    np.testing.assert_allclose(found.weights, mt.optimize(sigma=sigma, method="inverse-volatility").weights, atol=1e-4)


def test_hierarchical_risk_parity_by_hand():
    """Two pairs that do not know each other: half by variance between them, then inverse variance in each."""
    sigma = covariance([0.1, 0.1, 0.2, 0.2], [[], [0.5], [0, 0], [0, 0, 0.5]], list("abcd"))
    found = mt.optimize(sigma=sigma, method="hierarchical-risk-parity")
    np.testing.assert_allclose(found.weights, [0.4, 0.4, 0.1, 0.1], atol=1e-12)  # the sides' variances are as 1 to 4


def test_a_tracker_finds_what_the_benchmark_is_made_of():
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 0.01, (400, 3))
    made = returns @ [0.5, 0.3, 0.2]
    found = mt.optimize(returns=returns, benchmark=made, method="benchmark-tracking", covariance="sample")
    np.testing.assert_allclose(found.weights, [0.5, 0.3, 0.2], atol=0.03)
    with pytest.raises(BadInput, match="needs a benchmark"):
        mt.optimize(returns=returns, method="benchmark-tracking")


# --- invariants -----------------------------------------------------------------------------------------------


def random_covariance(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, 2 * n))
    return A @ A.T / n * np.outer(s := rng.uniform(0.5, 2, n), s) * 1e-4


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_risk_contributions_are_the_budgets(seed: int, n: int):
    b = np.random.default_rng(seed).dirichlet(np.full(n, 2.0)) + 1e-3
    names = [f"n{i}" for i in range(n)]
    sigma = pd.DataFrame(random_covariance(seed, n), names, names)
    found = mt.optimize(sigma=sigma, method="risk-budgeting", budgets=dict(zip(names, b, strict=True)))
    np.testing.assert_allclose(found.risk_contributions, b / b.sum(), atol=1e-6)
    assert found.weights.sum() == pytest.approx(1)


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_move_the_weights(seed: int, scale: float):
    """Returns and covariances of a session or of a year: mu and Sigma scale alike, the weights stay."""
    sigma = random_covariance(seed, 5)
    for method in ("minimum-variance", "mean-variance", "risk-parity", "hierarchical-risk-parity"):
        one, other = (mt.optimize(sigma=sigma * k, method=method) for k in (1, scale))
        np.testing.assert_allclose(one.weights, other.weights, atol=2e-4)


SPECIAL = ("benchmark-tracking", "risk-budgeting")  # they need more than a covariance


@pytest.mark.parametrize("method", [m for m in METHODS if m not in SPECIAL])
def test_every_method_keeps_the_names_and_their_order(method: str):
    order = [3, 0, 2, 1]
    one, other = (mt.optimize(sigma=s, method=method) for s in (ERC, ERC.iloc[order, order]))
    assert list(other.weights.index) == [list("1234")[i] for i in order]
    np.testing.assert_allclose(other.weights[list("1234")], one.weights, atol=2e-4)


# --- limits ---------------------------------------------------------------------------------------------------

LIMITS = mt.Constraints(
    upper=0.15, sector_cap=0.3, previous={"AAPL": 0.5, "XOM": 0.5}, turnover=0.9, cost_bps=10, holding=21
)


def assert_within(found: object, limits: mt.Constraints) -> None:
    w = found.weights
    from mltrainer.data.universes import SECTORS

    assert w.sum() == pytest.approx(1, abs=1e-6) or (found.method == "kelly" and w.sum() < 1 + 1e-6)
    assert w.min() > -1e-6
    assert w.max() < limits.upper + 1e-6
    assert w.groupby([SECTORS[n] for n in w.index]).sum().max() < limits.sector_cap + 1e-6
    held = pd.Series(limits.previous).reindex(w.index).fillna(0)
    assert (w - held).abs().sum() / 2 < limits.turnover + 1e-6
    assert found.turnover == pytest.approx((w - held).abs().sum() / 2)
    assert found.cost == pytest.approx(2 * found.turnover * 0.001)


def on_random_windows(count: int) -> None:
    sealed = closes(mt.universe("sample20"), benchmark="SPX")
    rng = np.random.default_rng(20)
    budgets = dict(zip(sealed.frame.columns[:20], rng.dirichlet(np.full(20, 3.0)), strict=True))
    methods = [*METHODS] if count > 20 else [*METHODS][:: max(1, len(METHODS) // 12)]
    for i in range(count):
        day = sealed.frame.index[rng.integers(100, len(sealed.frame))].date()
        method = methods[i % len(methods)]
        more = {"budgets": budgets} if method == "risk-budgeting" else {}
        found = mt.optimize(
            sealed, method=method, as_of=day, sessions=int(rng.integers(60, 757)), constraints=LIMITS, **more
        )
        assert not found.status.startswith("fallback"), (method, day, found.notes)
        assert_within(found, LIMITS)
        if method in ("risk-parity", "risk-budgeting"):
            plain = mt.optimize(sealed, method=method, as_of=day, constraints=mt.Constraints(upper=1.0), **more)
            assert plain.status == "optimal", plain.notes
            wanted = list(budgets.values()) if "budgets" in more else 1 / 20
            np.testing.assert_allclose(plain.risk_contributions, wanted, atol=1e-6)


@pytest.mark.slow
def test_weights_satisfy_every_limit_on_random_real_windows():
    on_random_windows(15)


@pytest.mark.slow
def test_weights_satisfy_every_limit_on_two_hundred_random_real_windows():
    on_random_windows(200)


def test_limits_that_contradict_are_named_and_something_stated_stands_in():
    """Two sectors capped at 30 % cannot hold all of the wealth."""
    limits = mt.Constraints(sectors={"1": "a", "2": "a", "3": "b", "4": "b"}, sector_cap=0.3)
    found = mt.optimize(sigma=ERC, method="risk-parity", constraints=limits)
    assert found.status == "fallback: minimum-variance by position and budget alone"
    assert any("no portfolio meets all limits" in n and "budget, or sector caps" in n for n in found.notes)
    assert percents(found.weights) == [74.5, 0, 15.2, 10.3]
    nothing = mt.optimize(sigma=ERC, constraints=mt.Constraints(upper=0.2))
    assert nothing.status == "fallback: equal-weight, outside the limits"
    assert "position limits, or budget" in " ".join(nothing.notes)


def test_risk_parity_says_where_limits_keep_it_from_its_budgets():
    found = mt.optimize(sigma=ERC, method="risk-parity", constraints=mt.Constraints(upper=0.3))
    assert found.weights.max() == pytest.approx(0.3, abs=1e-6)
    assert any("limits bind: a risk contribution misses its budget by 0.0" in n for n in found.notes)
    assert not any("limits bind" in n for n in mt.optimize(sigma=ERC, method="risk-parity").notes)


def test_a_method_that_fails_within_limits_that_can_be_met_gives_way_to_minimum_variance():
    """No portfolio of names that all lose has a positive ratio."""
    found = mt.optimize(sigma=ERC, mu=[-0.1] * 4, method="maximum-sharpe")
    assert found.status == "fallback: minimum-variance"
    assert "maximum-sharpe failed" in " ".join(found.notes)
    assert percents(found.weights) == [74.5, 0, 15.2, 10.3]


def test_what_a_solver_warns_of_is_said(monkeypatch: pytest.MonkeyPatch):
    """A solver that is stopped early says that its solution may be inaccurate."""
    from mltrainer.trading.portfolio import methods

    made = methods.mean_risk
    row = METHODS["minimum-variance"]
    stopped = lambda p: made(p, solver_params={"max_iter": 5})  # noqa: E731
    monkeypatch.setitem(METHODS, row.name, type(row)(**{**vars(row), "build": stopped}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = mt.optimize(sigma=random_covariance(1, 12), method="minimum-variance")
    assert found.status == "inaccurate"
    assert "the solver warns: Solution may be inaccurate" in found.notes


def test_a_covariance_that_had_to_be_repaired_is_said():
    """Three returns of four names have rank two."""
    returns = np.random.default_rng(0).normal(0, 0.01, (3, 4))
    found = mt.optimize(returns=returns, covariance="sample", method="minimum-variance")
    assert "the covariance was repaired: The covariance matrix is not positive definite" in found.notes


def test_a_method_without_limits_of_its_own_is_followed_as_closely_as_they_allow():
    limits = mt.Constraints(sectors={"1": "a", "2": "a", "3": "b", "4": "b"}, sector_cap={"a": 0.3})
    found = mt.optimize(sigma=ERC, method="equal-weight", constraints=limits)
    assert found.status == "projected"
    assert found.weights[["1", "2"]].sum() == pytest.approx(0.3, abs=1e-6)
    assert any("sector caps by 20.00%" in note for note in found.notes)


@pytest.mark.parametrize("method", [m for m, row in METHODS.items() if row.whole and m not in SPECIAL])
def test_a_method_that_invests_everything_invests_the_budget(method: str):
    """Half the budget is half of each weight, where no limit binds; short positions are not taken where it has none."""
    half = mt.optimize(sigma=ERC, method=method, constraints=mt.Constraints(budget=0.5, lower=-0.2))
    whole = mt.optimize(sigma=ERC, method=method)
    assert (half.status, whole.status) == ("optimal", "optimal")
    np.testing.assert_allclose(2 * half.weights, whole.weights, atol=1e-4)
    assert half.cash == pytest.approx(0.5)


def test_turnover_and_costs_hold_a_portfolio_where_it_is():
    """By hand: at most 5 % moves, out of the riskiest into the safest; a cost above any gain moves nothing."""
    held = dict.fromkeys("1234", 0.25)
    sigma = pd.DataFrame(np.diag([0.01, 0.02, 0.03, 0.04]), list("1234"), list("1234"))
    near = mt.optimize(sigma=sigma, method="minimum-variance", constraints=mt.Constraints(previous=held, turnover=0.05))
    np.testing.assert_allclose(near.weights, [0.3, 0.25, 0.25, 0.2], atol=1e-5)
    assert near.turnover == pytest.approx(0.05, abs=1e-6)
    dear = mt.Constraints(previous=held, cost_bps=5_000, holding=1)
    still = mt.optimize(sigma=sigma, mu=[0.1, 0.1, 0.1, 0.12], method="mean-variance", constraints=dear)
    np.testing.assert_allclose(still.weights, 0.25, atol=1e-5)
    assert still.cost == pytest.approx(0, abs=1e-4)


def test_ten_percent_a_position_gives_way_where_names_are_few_and_says_so():
    few = mt.optimize(["AAPL", "MSFT", "IBM"], as_of="2010-01-04", method="minimum-variance")
    assert "a limit of 10% a position cannot hold 100% in 3 names: relaxed to 67%" in few.notes
    assert few.weights.max() <= 2 / 3 + 1e-6


# --- the doors ------------------------------------------------------------------------------------------------


def test_the_data_door_carries_its_origin_and_the_numeric_one_says_it_has_none():
    data = mt.optimize(["AAPL", "MSFT", "IBM"], as_of="2010-01-04")
    assert (data.mode, data.as_of, data.sessions) == ("sample", "2010-01-04", 756)
    assert data.provenance.kind == "closes"
    assert re.fullmatch(
        r"Allocation\(risk-parity as of 2010-01-04, sample: 3 of 3 names, largest IBM 4\d\.\d%, .*, optimal\)",
        repr(data),
    )
    numbers = mt.optimize(sigma=ERC)
    assert numbers.provenance is None
    assert numbers.mode == "unproven"
    assert "origin unproven" in repr(numbers)
    assert any("whose origin nobody has shown" in n for n in numbers.notes)
    assert "\n" not in repr(data) + repr(numbers)


@pytest.mark.parametrize("edited", ["frame", "name"])
def test_closes_that_were_touched_are_refused(edited: str):
    sealed = closes(["AAPL", "MSFT"])
    frame = sealed.frame * (1.0001 if edited == "frame" else 1)
    other = Dataset(frame, sealed.name + ("x" if edited == "name" else ""), sealed.kind, sealed.provenance)
    with pytest.raises(Refused):
        mt.optimize(other)
    with pytest.raises(Refused):
        mt.optimize([mt.bars("AAPL"), sealed.frame])


def test_as_of_is_what_a_run_on_that_day_would_have_said():
    """To the last bit, from tickers and from closes that know what came later."""
    later, day = closes(["AAPL", "MSFT", "PG", "JNJ"]), "2008-09-15"
    assert str(later.frame.index[-1].date()) == "2022-12-28"  # the series of closes, as JNJ has no other
    then, now = mt.optimize(["AAPL", "MSFT", "PG", "JNJ"], as_of=day), mt.optimize(later, as_of=day)
    assert (then.as_of, now.as_of) == (day, day)
    np.testing.assert_array_equal(then.weights, now.weights)
    moved = mt.optimize(later, as_of="2008-09-16")
    assert (moved.weights != now.weights).any()


def test_a_name_whose_history_ends_holds_the_others_back_and_that_is_said():
    with pytest.warns(mt.errors.Partial, match="the bars of IBM end on 2013-03-01, and those of others on 2022-12-28"):
        found = mt.optimize(["IBM", "JNJ", "PG"])
    assert found.as_of == "2013-03-01"


def test_a_universe_leaves_out_what_is_not_there_and_names_it():
    with pytest.warns(mt.errors.Partial) as said:
        sealed = closes(mt.universe("dow"))
    assert next(str(w.message).partition(": AMGN, ")[0] for w in said) == "18 of 30 names of dow are left out"
    assert {"AAPL", "MSFT", "UNH"} <= set(sealed.frame.columns)


def test_forecast_volatilities_replace_those_of_the_past_and_correlations_stay():
    sealed = closes(["AAPL", "MSFT", "IBM"])
    forecast = {"AAPL": 0.03, "MSFT": 0.01, "IBM": 0.02}
    plain, other = mt.optimize(sealed), mt.optimize(sealed, volatility=forecast)
    np.testing.assert_allclose(np.sqrt(np.diag(other.sigma)), list(forecast.values()))
    scale = [np.sqrt(np.diag(s)) for s in (plain.sigma, other.sigma)]
    np.testing.assert_allclose(*(s / np.outer(d, d) for s, d in zip((plain.sigma, other.sigma), scale, strict=True)))
    assert any("volatilities are forecasts" in n for n in other.notes)
    squares = sealed.frame.pct_change().dropna().iloc[-756:] ** 2
    weights = 0.94 ** np.arange(756)[::-1]
    by_hand = np.sqrt((squares.to_numpy() * weights[:, None]).sum(axis=0) / weights.sum())
    np.testing.assert_allclose(np.sqrt(np.diag(mt.optimize(sealed, volatility="ewma").sigma)), by_hand)


def test_without_a_view_the_reference_portfolio_is_what_is_held():
    """Reverse optimization: what makes equal weights optimal gives equal weights back."""
    found = mt.optimize(closes(["AAPL", "MSFT", "IBM"]), method="mean-variance")
    np.testing.assert_allclose(found.weights, 1 / 3, atol=1e-4)
    assert any("a prior, no forecast" in n and "equal weights" in n for n in found.notes)


def test_value_at_risk_and_shortfall_are_those_of_the_book():
    from mltrainer import metrics

    sealed = closes(["AAPL", "MSFT", "IBM"])
    found = mt.optimize(sealed, sessions=500)
    book = (sealed.frame.pct_change().iloc[-500:] @ found.weights).to_numpy()
    assert found.value_at_risk == pytest.approx(metrics.value_at_risk(book))
    assert found.expected_shortfall == pytest.approx(metrics.expected_shortfall(book))
    assert found.expected_shortfall > found.value_at_risk
    normal = mt.optimize(sigma=[[0.0004]], mu=[0.0], method="minimum-variance")
    assert normal.value_at_risk == pytest.approx(0.02 * 1.6448536)
    assert normal.expected_shortfall == pytest.approx(0.02 * 2.0627128)  # phi(z) / 0.05


def test_the_page_escapes_what_it_shows_and_names_the_mode():
    bad = "<script>x</script>"
    page = mt.optimize(sigma=pd.DataFrame(np.eye(2) * 0.01, [bad, "b"], [bad, "b"]))._repr_html_()
    assert bad not in page
    assert "&lt;script&gt;" in page
    assert "SAMPLE" in mt.optimize(["AAPL", "MSFT"])._repr_html_()


BAD = {
    "a method": ({"sigma": ERC, "method": "markovitz"}, "no portfolio method is called 'markovitz'"),
    "nothing": ({}, "nothing to optimize"),
    "asymmetric": ({"sigma": [[1.0, 0.5], [0.2, 1.0]]}, "not symmetric"),
    "no covariance": ({"sigma": [[1.0, 2.0], [2.0, 1.0]]}, "least eigenvalue is -1"),
    "NaN": ({"sigma": [[1.0, np.nan], [np.nan, 1.0]]}, "no block of finite numbers"),
    "text": ({"returns": [["a", "b"]]}, "holds what is no number"),
    "a view on none": ({"sigma": ERC, "method": "black-litterman", "views": [mt.View("9", 0.1)]}, "in views"),
    "views that move nothing": ({"sigma": ERC, "views": [mt.View("1", 0.1)]}, "views do not move risk-parity"),
    "no views": ({"sigma": ERC, "method": "black-litterman", "views": ["1=0.1"]}, "views are mt.View"),
    "a budget of 0": ({"sigma": ERC, "method": "risk-budgeting", "budgets": [1, 1, 1, 0]}, "not above 0"),
    "no budgets": ({"sigma": ERC, "method": "risk-budgeting"}, "it needs them"),
    "budgets for none": ({"sigma": ERC, "budgets": [1, 1, 1, 1]}, "go with risk-budgeting"),
    "Kelly above 1": ({"sigma": ERC, "method": "kelly", "fraction": 1.5}, "fraction 1.5"),
    "aversion": ({"sigma": ERC, "risk_aversion": 0}, "risk_aversion 0"),
    "tau": ({"sigma": ERC, "method": "mean-variance", "views": [mt.View("1", 0.1)], "tau": 0}, "tau 0"),
    "a prior": ({"sigma": ERC, "expected": "hope"}, "no prior of expected returns is called 'hope'"),
    "an estimator": ({"returns": np.eye(3), "covariance": "lw"}, "no covariance is called 'lw'"),
    "no past": ({"sigma": ERC, "expected": "historical"}, "none were given"),
    "both doors": ({"data": ["AAPL", "MSFT"], "sigma": ERC}, "two doors"),
    "one name": ({"data": ["AAPL"]}, "two names at least"),
    "twice": ({"data": ["AAPL", "AAPL"]}, "AAPL is named twice"),
    "few sessions": ({"data": ["AAPL", "MSFT"], "sessions": 20}, "sessions 20"),
    "a ticker": ({"data": ["AAPL", "XYZZY"]}, "no ticker in mode sample is called 'XYZZY'"),
    "limits of none": ({"sigma": ERC, "constraints": mt.Constraints(upper={"9": 1})}, "in upper"),
    "crossed": ({"sigma": ERC, "constraints": mt.Constraints(lower=0.5, upper=0.2)}, "lower lies above upper"),
    "no sector": ({"sigma": ERC, "constraints": mt.Constraints(sector_cap=0.3)}, "no sector is known of 1"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_meant_is_one_line(what: str):
    arguments, said = BAD[what]
    with pytest.raises(BadInput, match=re.escape(said)) as caught:
        optimize(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mt.Constraints(turnover=0.1), "needs the weights now held"),
        (lambda: mt.Constraints(upper="ten"), "no number"),
        (lambda: mt.Constraints(cost_bps=-1), "negative"),
        (lambda: mt.View("A", np.nan), "no finite number"),
        (lambda: mt.View("A", 0.1, variance=0.1, confidence=0.5), "give one of them"),
        (lambda: mt.View("A", 0.1, confidence=1.5), "not from 0 to 1"),
        (lambda: mt.View.of_interval("A", 0.1, 0.0), "no interval"),
    ],
)
def test_a_record_that_cannot_be_meant_is_refused_when_it_is_made(call: object, said: str):
    with pytest.raises(BadInput, match=said):
        call()


def test_too_short_a_past_is_said():
    with pytest.raises(NotEnoughHistory, match="a covariance needs 60 returns"):
        mt.optimize(["AAPL", "MSFT"], as_of="2000-04-03")


def test_names_in_previous_must_be_of_the_portfolio():
    with pytest.raises(UnknownName, match="in previous"):
        mt.optimize(sigma=ERC, constraints=mt.Constraints(previous={"9": 1.0}, turnover=1))
