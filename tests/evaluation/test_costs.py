"""Costs in parts: each is its formula, none is free by accident, and what cannot be known is not guessed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.errors import BadInput, Unavailable
from mltrainer.evaluation.costs import GRID, Costs, capacity, sensitivity
from mltrainer.evaluation.protocol import Protocol
from mltrainer.features.matrix import Matrix

SPAN = {"start": "2003-01-02", "end": "2007-12-31"}
MODEL = "KNeighborsRegressor_5"


@pytest.fixture
def matrix() -> Matrix:
    return mt.matrix("MSFT", **SPAN)  # type: ignore[arg-type]


def some(matrix: Matrix, *values: float) -> pd.Series:
    return pd.Series(values, matrix.X.index[300 : 300 + len(values)])


def test_flat_costs_are_the_usual_protocol_to_the_bit(matrix: Matrix):
    flat, parts = (mt.evaluate(MODEL, matrix, protocol=p) for p in (Protocol(), Protocol(costs=Costs(5.0))))
    pd.testing.assert_frame_equal(flat.forecasts, parts.forecasts)
    assert flat.key != parts.key


def test_each_part_is_its_formula(matrix: Matrix):
    """From flat to long 1, held, then short 0.5: by hand 1, 0 and 1.5 units are traded, half a unit is borrowed."""
    position = some(matrix, 1.0, 1.0, -0.5)
    parts = Costs(2.0, 1.0, impact=1.0, capital=1e6, borrow_bps=252.0).parts(position, matrix)
    np.testing.assert_allclose(parts["spread"], [2e-4, 0, 3e-4])
    np.testing.assert_allclose(parts["commission"], [1e-4, 0, 1.5e-4])
    np.testing.assert_allclose(parts["borrow"], [0, 0, 0.5e-4])
    bars = next(d.frame for d in matrix.sources if d.name == "MSFT")
    day = position.index[2]
    before = bars.loc[:day].iloc[-22:-1]
    volume = (before["close"] * before["volume"]).mean()
    sigma = float(matrix.scale[day]) / np.sqrt(5)
    assert parts["impact"].iloc[2] == pytest.approx(sigma * np.sqrt(1.5e6 / volume) * 1.5)


def test_a_spread_is_estimated_where_none_is_given_and_known_the_day_it_counts(matrix: Matrix):
    estimate = Costs().parts(some(matrix, 1.0), matrix)["spread"].iloc[0]
    known = matrix.X["spread_edge_21"].loc[matrix.X.index[300]]
    assert estimate == pytest.approx(known / 2)


def test_returns_in_excess_of_the_bill_are_less_by_what_cash_earns(matrix: Matrix):
    plain, excess = (
        mt.evaluate(MODEL, matrix, protocol=Protocol(costs=Costs(0.0, risk_free=cash))) for cash in (False, True)
    )
    less = (plain.forecasts["benchmark"] - excess.forecasts["benchmark"]) * 252
    np.testing.assert_allclose(less, matrix.X.loc[less.index, "bill_rate"])


def test_what_cannot_be_known_is_said_and_not_guessed():
    closes = mt.matrix("XOM", start="2015-01-02", end="2018-12-31")
    position = pd.Series(1.0, closes.X.index[:5])
    with pytest.raises(Unavailable, match="a spread of XOM cannot be estimated"):
        Costs().parts(position, closes)
    with pytest.raises(Unavailable, match="market impact on XOM cannot be known: its bars have no volume"):
        Costs(1.0, impact=1.0, capital=1e6).parts(position, closes)
    with pytest.raises(Unavailable, match="needs the bill rate of every session of XOM"):
        Costs(1.0, risk_free=True).cash(closes, position.index)


@pytest.mark.parametrize("wrong", [{"commission_bps": -1}, {"borrow_bps": float("inf")}, {"half_spread_bps": "wide"},
                                   {"impact": 1.0}])  # fmt: skip
def test_what_is_no_cost_is_refused(wrong: dict):
    with pytest.raises(BadInput, match="costs "):
        Costs(**wrong)


def test_a_panel_pays_the_spread_of_each_of_its_names():
    panel = mt.matrix(["IBM", "MSFT"], **SPAN)  # type: ignore[arg-type]
    both = {e.ticker: e for e in mt.evaluate(MODEL, panel, protocol=Protocol(costs=Costs()))}
    for ticker, e in both.items():
        paid = e.forecasts["gross"] - e.forecasts["net"]
        parts = Costs().parts(e.forecasts["position"], panel.of(ticker)).sum(axis=1)
        np.testing.assert_allclose(paid, parts, atol=1e-15)


def test_what_is_left_at_other_costs_and_where_impact_eats_it(matrix: Matrix):
    e = mt.evaluate(MODEL, matrix)
    left = sensitivity(e.forecasts)
    assert tuple(left.index) == GRID
    assert left.loc[5.0, "sharpe"] == pytest.approx(e.metrics["sharpe"])  # what it was judged at
    assert left["sharpe"].is_monotonic_decreasing
    rich = e.forecasts.assign(net=0.001)
    most = capacity(rich, matrix)
    paid = Costs(0.0, impact=1.0, capital=most).parts(rich["position"], matrix)["impact"].sum()
    assert paid == pytest.approx(rich["net"].sum())
    assert np.isnan(capacity(e.forecasts.assign(net=-0.001), matrix))


def test_a_report_takes_costs_and_says_them_back():
    protocol = Protocol(costs=Costs(1.0, commission_bps=0.5))
    assert Protocol.of(**protocol.options()) == protocol
    assert dataclasses.asdict(protocol)["costs"]["commission_bps"] == 0.5
