"""Optimizers walked forward: what is decided knows no future, costs are paid, and 1/N is hard to beat."""

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.errors import NotEnoughHistory
from mltrainer.trading.portfolio.inputs import closes
from mltrainer.trading.portfolio.methods import method
from mltrainer.trading.portfolio.walk import Past, walk_forward, walked

SPAN = {"start": "2016-01-04", "end": "2019-12-31", "sessions": 252, "every": 63}


def test_one_over_n_by_hand_with_drift_and_costs():
    """Two names, 10 bps a side: bought at the close of session 1, one doubles, and back to half at the close of 3."""
    R = np.array([[0.01, -0.01], [0.02, 0.01], [0.5, 0.4], [1.0, 0.0], [0.0, 0.0], [0.1, -0.02]])
    found = walked(method("equal-weight"), Past(("A", "B"), R, None, 2, mt.Constraints(), None), 1, 2, 10)
    # decided at the close of 1, bought at that of 2 for 10 bps of everything; session 3: +50 %, weights 2/3 and 1/3;
    # decided at 3, traded at the close of 4, 1/6 from each side; session 5 earns half of 10 % and of -2 %
    np.testing.assert_allclose(found.net, [-0.001, 0.5, -0.001 / 3, 0.04])
    assert found.traded == pytest.approx(1 / 6)
    assert found.paid == pytest.approx(0.001 + 0.001 / 3)


def test_rewriting_the_future_moves_no_weight_of_the_past():
    frame = closes(mt.universe("sample20")).frame.loc["2005":"2009"].pct_change().iloc[1:]
    rng = np.random.default_rng(0)
    other = frame.copy()
    other.iloc[600:] = rng.permutation(frame.iloc[600:].to_numpy()) * 3
    for name in ("risk-parity", "minimum-variance", "hierarchical-risk-parity", "kelly"):
        one, two = (
            Past.of(f, None, 252, mt.Constraints(upper=0.1)).decided(method(name), 599, np.zeros(20))
            for f in (frame, other)
        )
        np.testing.assert_array_equal(one[0], two[0])
        later = Past.of(other, None, 252, mt.Constraints(upper=0.1)).decided(method(name), 600, np.zeros(20))
        assert (later[0] != one[0]).any()


def test_a_walk_on_real_history_is_net_of_costs_and_says_what_cannot_be_told_apart():
    sealed = closes(mt.universe("sample20"))
    found = walk_forward(sealed, methods=["minimum-variance", "risk-parity"], **SPAN)
    free = walk_forward(sealed, methods=["minimum-variance", "risk-parity"], cost_bps=0, **SPAN)
    assert list(found.returns.columns) == ["equal-weight", "minimum-variance", "risk-parity"]
    assert (free.rows.set_index("method")["cost"] == 0).all()
    assert (found.returns.sum() < free.returns.sum()).all()
    rows = found.rows.set_index("method")
    assert rows["fallbacks"].sum() == 0
    assert rows.loc["minimum-variance", "volatility"] < rows.loc["equal-weight", "volatility"]
    assert "Indistinguishable from 1/N: " in found.sentence()
    assert repr(found).startswith("Contest(3 methods, 2016-01-05 to 2019-12-31, sample: ")
    assert "<table" in found._repr_html_()
    # 1/N, rebalanced daily and without costs, is the mean of the names' returns; every 63 sessions, near it
    mean = sealed.frame.pct_change().mean(axis=1).reindex(free.returns.index)
    assert np.corrcoef(mean.iloc[1:], free.returns["equal-weight"].iloc[1:])[0, 1] > 0.99


def test_a_walk_that_does_not_fit_is_said():
    with pytest.raises(NotEnoughHistory, match="hold no walk of 756"):
        walk_forward(closes(["AAPL", "MSFT"], as_of="2002-01-04"))


def test_a_tie_is_no_difference():
    """The same method twice under two names would be in the set together; 1/N alone is always in it."""
    frame = closes(["AAPL", "MSFT"])
    found = walk_forward(frame, methods=["equal-weight"], sessions=60, every=21)
    assert found.sentence().startswith("Indistinguishable from 1/N: none.")
    assert isinstance(found.returns, pd.DataFrame)
