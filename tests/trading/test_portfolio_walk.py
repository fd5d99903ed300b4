"""Optimizers walked forward: what is decided knows no future, costs are paid, and 1/N is hard to beat."""

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.errors import NotEnoughHistory
from mltrainer.trading.portfolio.inputs import closes
from mltrainer.trading.portfolio.methods import method
from mltrainer.trading.portfolio.walk import Contender, Past, walk_forward, walked

SPAN = {"start": "2016-01-04", "end": "2019-12-31", "sessions": 252, "every": 63}


def test_one_over_n_by_hand_with_drift_and_costs():
    """Two names, 10 bps a side: bought at the close of session 1, one doubles, and back to half at the close of 3."""
    R = np.array([[0.01, -0.01], [0.02, 0.01], [0.5, 0.4], [1.0, 0.0], [0.0, 0.0], [0.1, -0.02]])
    found = walked(
        Contender("1/N", method("equal-weight")), Past(("A", "B"), R, None, 2, mt.Constraints(), None), 1, 2, 10
    )
    # decided at the close of 1, bought at that of 2 for 10 bps of everything; session 3: +50 %, weights 2/3 and 1/3;
    # decided at 3, traded at the close of 4, 1/6 from each side; session 5 earns half of 10 % and of -2 %
    np.testing.assert_allclose(found.net, [-0.001, 0.5, -0.001 / 3, 0.04])
    assert found.traded == pytest.approx(1 / 6)
    assert found.paid == pytest.approx(0.001 + 0.001 / 3)


def test_rewriting_the_future_moves_no_weight_of_the_past():
    frame = closes(mt.universe("sample20")).frame.loc["2005":"2009"].pct_change().iloc[1:]
    other = frame.copy()
    other.iloc[600:] = np.random.default_rng(0).permutation(frame.iloc[600:].to_numpy()) * 3
    past, rewritten = (Past.of(f, None, 252, mt.Constraints(upper=0.1)) for f in (frame, other))
    for name in ("risk-parity", "minimum-variance", "hierarchical-risk-parity", "kelly"):
        who = Contender(name, method(name), target=0.1)
        then = past.decided(who, 599, np.zeros(20))[0]
        np.testing.assert_array_equal(rewritten.decided(who, 599, np.zeros(20))[0], then)
        assert (rewritten.decided(who, 600, np.zeros(20))[0] != then).any()


def test_a_walk_on_real_history_is_net_of_costs_and_says_what_cannot_be_told_apart():
    sealed = closes(mt.universe("sample20"))
    found = walk_forward(sealed, methods=["minimum-variance", "risk-parity"], **SPAN)
    free = walk_forward(sealed, methods=["minimum-variance", "risk-parity"], cost_bps=0, **SPAN)
    assert list(found.returns.columns) == ["equal-weight", "minimum-variance", "risk-parity", "buy-and-hold"]
    assert (free.rows.set_index("method")["cost"] == 0).all()
    assert (found.returns.sum() < free.returns.sum()).all()
    rows = found.rows.set_index("method")
    assert rows["fallbacks"].sum() == 0
    assert rows.loc["minimum-variance", "volatility"] < rows.loc["equal-weight", "volatility"]
    assert "Indistinguishable from 1/N: " in found.sentence()
    assert repr(found).startswith("Contest(4 methods, 2016-01-05 to 2019-12-31, sample: ")
    assert "<table" in found._repr_html_()
    # 1/N, rebalanced daily and without costs, is the mean of the names' returns; every 63 sessions, near it
    mean = sealed.frame.pct_change().mean(axis=1).reindex(free.returns.index)
    assert np.corrcoef(mean.iloc[1:], free.returns["equal-weight"].iloc[1:])[0, 1] > 0.99


def test_what_is_not_in_shares_is_in_cash_and_earns_nothing():
    sealed = closes(["AAPL", "MSFT"])
    span = SPAN | {"start": "2005-01-03", "end": "2009-12-31"}
    found = walk_forward(sealed, methods=[], volatility_target=0.10, cost_bps=0, **span)
    held = found.exposure["equal-weight at 10%"]
    assert ((held >= 0) & (held <= 1 + 1e-9)).all()
    assert held.median() < 0.6  # two shares have a volatility of about 25 % a year
    assert found.exposure["equal-weight"].iloc[5:].to_numpy() == pytest.approx(1)
    # with equal weights within it, the book earns its exposure times what 1/N earns, up to drift between the trades
    both = held.shift(1) * found.returns["equal-weight"]
    assert np.corrcoef(both.iloc[5:], found.returns["equal-weight at 10%"].iloc[5:])[0, 1] > 0.999


def test_bought_once_and_held_is_the_mean_of_what_became_of_each_name():
    sealed = closes(["AAPL", "MSFT"])
    found = walk_forward(sealed, methods=[], sessions=60, every=21, cost_bps=0)
    bought = sealed.frame.loc[found.returns.index[0] :]
    ends = (1 + found.returns["buy-and-hold"].iloc[1:]).cumprod()
    np.testing.assert_allclose(ends, (bought / bought.iloc[0]).mean(axis=1).iloc[1:])
    assert found.rows.set_index("method").loc["buy-and-hold", "turnover"] == 0


def test_a_volatility_target_is_kept_more_or_less_and_by_cash_alone():
    """1/N of the twenty over 2006 to 2010 swings by more than 20 % a year; weekly, 10 % are held within a fifth."""
    span = {"sessions": 252, "every": 5, "start": "2006-01-03", "end": "2010-12-31"}
    found = walk_forward(closes(mt.universe("sample20")), methods=[], volatility_target=0.10, **span)
    rows = found.rows.set_index("method")
    assert rows.loc["equal-weight", "volatility"] > 0.20
    assert rows.loc["equal-weight at 10%", "volatility"] == pytest.approx(0.10, rel=0.2)
    assert rows.loc["equal-weight at 10%", "max_drawdown"] < rows.loc["equal-weight", "max_drawdown"] / 2
    assert not rows.loc["equal-weight at 10%", "calmest"]  # cash is no way to win that


def test_a_walk_that_does_not_fit_is_said():
    with pytest.raises(NotEnoughHistory, match="hold no walk of 756"):
        walk_forward(closes(["AAPL", "MSFT"], as_of="2002-01-04"))


def test_one_over_n_is_walked_even_where_nobody_asks_for_it():
    frame = closes(["AAPL", "MSFT"])
    found = walk_forward(frame, methods=[], sessions=60, every=21)
    assert found.sentence().startswith("Indistinguishable from 1/N: buy-and-hold.")
    assert isinstance(found.returns, pd.DataFrame)
