"""What a validation says of a panel is what its names say, and a promise is broken where it was broken on purpose."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_validation import drawn

import mltrainer as mt
from mltrainer import metrics
from mltrainer.evaluation import across, validation
from mltrainer.evaluation.panels import pooled_figures
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import WalkForward
from mltrainer.models import catalog


def names(count: int, **how: Any) -> dict[str, Evaluation]:
    """Results of so many names on the same sessions, each of another luck."""
    return {f"N{i}": replace(drawn(i, **how), ticker=f"N{i}") for i in range(count)}


def test_a_part_of_a_panel_is_the_mean_of_its_names_and_says_in_how_many_something_was_added():
    peers = names(4)
    table = across.names_mean({t: validation.years(e) for t, e in peers.items()}, "ic")
    own = [validation.years(e).loc[2003, "ic"] for e in peers.values()]
    assert table.loc[2003, "ic"] == pytest.approx(np.mean(own))
    assert table.loc[2003, "above"] == pytest.approx(np.mean(np.array(own) > 0))
    assert (table.loc[2003, "names"], table.loc[2003, "sessions"]) == (4, 261)


def test_a_name_that_says_nothing_of_a_part_is_not_counted_in_it():
    tables = {"A": pd.DataFrame({"ic": [0.1, np.nan]}, ["x", "y"]), "B": pd.DataFrame({"ic": [-0.1, 0.3]}, ["x", "y"])}
    table = across.names_mean(tables, "ic")
    assert table["names"].to_dict() == {"x": 2, "y": 1}
    assert table["above"].to_dict() == {"x": 0.5, "y": 1.0}


def test_a_broken_promise_names_who_was_broken_it_and_what_chance_makes():
    """Of twelve names three have an interval of 80 % where 90 % are promised: Kupiec's test finds these."""
    peers = names(12)
    narrow = {t: replace(drawn(100 + i, width=1.2816), ticker=t) for i, t in enumerate(("N1", "N5", "N7"))}
    found = across.coverage(peers | narrow, 0.9)[0]
    assert set(narrow) <= set(found.names)
    assert len(found.names) <= 5  # of nine right ones 95 % of binomial(9, 0.05) have at most two
    assert found.sentence() == f"the promise is broken: in {len(found.names)} of 12 names, where chance alone makes 0.6"
    table = across.by_name(peers | narrow, 0.9)
    assert table.loc["N5", "outside"] == pytest.approx(0.2, abs=0.03)
    assert table.loc["N5", "frequency"] < 0.05


def test_errors_of_every_name_are_tested_and_the_words_are_of_those_that_reject():
    peers = names(6)
    late = peers["N2"].forecasts.copy()
    late["y"] += np.where(np.arange(len(late)) > len(late) / 2, 0.5, -0.5)
    found = {b.test: b for b in across.residuals(peers | {"N2": replace(peers["N2"], forecasts=late)})}
    assert "N2" in found["CUSUM"].names
    assert "something broke on the way: in" in found["CUSUM"].sentence()
    assert across.Broken("t", [], 6, "").sentence() == "nothing against it in any of 6 names"
    assert across.Broken("t", [], 0, "").sentence() == "too few outcomes of any name to tell"


def test_equal_shares_are_those_of_the_panel_as_a_whole():
    peers = names(5)
    net, _ = across.equal_shares(peers)
    assert metrics.sharpe(net) == pooled_figures([e.forecasts for e in peers.values()], 1)["sharpe"]


def test_the_decay_is_the_rank_correlation_across_names_with_the_return_to_come():
    """Prices that do next session what was forecast: correlation 1 over one session, by scipy on one of them."""
    peers = names(6)
    said = pd.DataFrame({t: e.forecasts["forecast"] for t, e in peers.items()})
    # what is said of a session is what it earns from its entry, a session later, to the next
    prices = (1 + 0.01 * said.shift(2).fillna(0.0)).cumprod()
    table = across.decay(peers, prices)
    assert table.loc[1, "mean"] == pytest.approx(1.0)
    returns = prices.shift(-6) / prices.shift(-1) - 1
    one = stats.spearmanr(said.iloc[40], returns.iloc[40]).statistic
    five = [stats.spearmanr(said.iloc[i], returns.iloc[i]).statistic for i in range(len(said) - 6)]
    assert one == pytest.approx(five[40])
    assert table.loc[5, "mean"] == pytest.approx(np.mean(five))
    assert across.no_decay(peers) == ""
    assert "takes 5 names to rank, and these are 3" in across.no_decay(names(3))
    assert "the volatility" in across.no_decay({t: replace(e, target="volatility") for t, e in peers.items()})


def test_other_cuts_of_a_panel_are_of_every_name_and_flatter_in_the_mean(home):
    panel = mt.matrix(["MSFT", "AAPL", "IBM"], start="2004-01-02", end="2007-12-31")
    protocol, spec = Protocol(WalkForward(folds=3, rows_per_column=0)), catalog.spec("KNeighborsRegressor_5")
    peers = {e.ticker: e for e in mt.evaluate([spec], panel, protocol=protocol)}
    others = validation.diagnose(spec, panel, protocol)
    assert sorted(others) == panel.tickers
    table = across.gaps(peers, others)
    assert list(table.index) == ["walk-forward", "shuffled K-fold", *(f"purged path {i}" for i in range(1, 6))]
    assert table.loc["walk-forward", "ic"] == pytest.approx(np.mean([e.metrics["ic"] for e in peers.values()]))
    assert table.loc["shuffled K-fold", "ic"] > table.loc["walk-forward", "ic"] + 0.1
    assert validation.undivided(spec, panel, 1.0) == ""
    assert "6 more walks through 3 names would take 600 CPU seconds" in validation.undivided(spec, panel, 100.0)
    folds = across.folds(peers, "ic")
    assert len(folds) == 3
    assert folds["sessions"].sum() == len(peers["MSFT"].forecasts)


def test_a_pooled_model_is_looked_into_and_one_of_each_name_says_why_not(home):
    """The label of every name is made of one feature: exchanged among the rows of all it ruins the forecast."""
    panel = mt.matrix(["MSFT", "AAPL", "IBM"], start="2004-01-02", end="2007-12-31")
    spec, protocol = catalog.spec("RidgeRegression"), Protocol(WalkForward(folds=3, rows_per_column=0))
    x = panel.X["rsi_14"]
    planted = replace(panel, y=(x - x.mean()) / x.std() * panel.scale, provenance=None, sources=())
    found = validation.importance(spec, planted, protocol)
    assert found.index[0] == "rsi_14"
    e = drawn(0)
    assert validation.inspectable(spec, e, panel, protocol) == ""
    each = replace(protocol, panel="per-name")
    assert "each of 3 names has a model of its own" in validation.inspectable(spec, e, panel, each)
