"""A trained model is the last fit of a walk-forward: the same rows, and of every name the same forecast to the bit."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mltrainer as mt
from mltrainer.errors import BadInput, Refused
from mltrainer.evaluation import artifacts
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import WalkForward
from mltrainer.evaluation.walk import out_of_sample
from mltrainer.features import matrix as features
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog

TICKERS = ["AAPL", "IBM", "MSFT"]
FIVE = WalkForward(5, rows_per_column=0)
pytestmark = pytest.mark.usefixtures("database")  # the rows of this room lie in its home


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Matrix, Matrix]]:
    """A home, a panel, and the same panel as it was when the last block's train rows were all that was labelled."""
    folder = tmp_path_factory.mktemp("training") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(folder))
        patch.setenv("MLTRAINER_MODE", "sample")
        whole = mt.matrix(TICKERS, start="2004-01-02", end="2008-12-31")
        days = whole.y.dropna().index.unique("session").sort_values()
        last = list(FIVE.split(len(days), whole.horizon))[-1].train[-1]
        end = days[last + whole.horizon + 1]  # the day on which the label of the last train row is known
        yield folder, mt.matrix(TICKERS, start="2004-01-02", end=str(end.date())), whole


@pytest.fixture
def early(held: tuple[Path, Matrix, Matrix], home: Path) -> Matrix:
    shutil.copytree(held[0], home)
    return held[1]


@pytest.fixture
def whole(held: tuple[Path, Matrix, Matrix], early: Matrix) -> Matrix:
    return held[2]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("RidgeRegression", {"panel": "per-name"}),
        ("RidgeRegression", {"panel": "hierarchical", "ranked": True}),
        ("RidgeRegression", {"ranked": True, "winsorize": 0.05}),
        ("QuantileRegressor_q0.1", {"panel": "hierarchical"}),
        ("DecisionTree_depth_3", {"panel": "per-name", "ranked": True}),
        ("RidgeCV", {"split": WalkForward(5, window=300, rows_per_column=0)}),
        ("VAR_bic", {}),
    ],
)
def test_a_kept_model_says_of_each_name_what_the_last_fit_of_the_walk_forward_says(early, whole, name, how):
    protocol = Protocol(**{"split": FIVE} | how)
    judged, meta = out_of_sample(catalog.spec(name), whole, protocol)
    judged = judged[judged["fold"] == judged["fold"].max()]
    result = mt.model(name).train(early, protocol)
    model = Model.load(result.save())
    said = model.predict(whole)
    assert result.panel == model.result.panel == meta["panel"]
    for ticker in TICKERS:
        own = judged.xs(ticker, level="ticker")
        assert len(own) > 200
        assert_array_equal(said.mean.xs(ticker, level="ticker").loc[own.index], own["forecast"])
        if "quantile" in own:
            assert_array_equal(said.quantile.xs(ticker, level="ticker").loc[own.index], own["quantile"])


def test_what_learns_on_is_carried_through_the_sessions_of_its_own_name(early, whole):
    """Its sums run over blocks of rows, whose lengths differ here: to rounding, not to the bit."""
    judged, _ = out_of_sample(catalog.spec("RecursiveLS"), whole, Protocol(FIVE))
    judged = judged[judged["fold"] == judged["fold"].max()]
    said = mt.model("RecursiveLS").train(early).predict(whole)
    assert_allclose(said.mean.loc[judged.index], judged["forecast"], rtol=1e-9)
    other = mt.matrix("MSFT", start="2008-06-02", end="2009-11-30")
    with pytest.raises(BadInput, match=r"this matrix lacks 2008-01-30 of MSFT, where the training ended"):
        mt.model("RecursiveLS").train(early).predict(other)


def test_effects_of_names_are_those_of_the_walk_and_the_intervals_those_of_the_protocol(early, whole):
    protocol = Protocol(FIVE, panel="hierarchical", interval=0.5)
    _, meta = out_of_sample(catalog.spec("RidgeRegression"), whole, protocol)
    result = mt.model("RidgeRegression").train(early, protocol)
    assert result.effects == meta["name_effects"]
    assert result.protocol == {"panel": "hierarchical", "interval": 0.5}
    assert {c.interval for c in result.calibrations.values()} == {0.5}
    assert result.panel == "one model of 3 tickers with name effects"
    assert json.loads(json.dumps(result.to_dict()))["effects"] == result.effects


@pytest.mark.slow
def test_a_name_that_left_before_the_window_has_no_effect_and_the_others_keep_theirs(early):
    """MSFT, the last of the names, ends four years before the others, whose last 300 sessions are learned from."""
    short = mt.matrix("MSFT", start="2003-01-02", end="2004-06-30")
    others = [mt.matrix(t, start="2004-01-02", end="2008-06-30") for t in ("AAPL", "GE", "IBM")]
    how = Protocol(WalkForward(window=300), panel="hierarchical")
    uneven, without = features.panel(short, *others), features.panel(*others)
    result = mt.model("RidgeRegression").train(uneven, how)
    assert result.effects == mt.model("RidgeRegression").train(without, how).effects | {"MSFT": 0.0}
    said = Model.load(result.save()).predict(mt.matrix([*TICKERS, "GE"], start="2004-01-02", end="2008-12-31"))
    assert sorted(said.mean.index.unique("ticker")) == sorted([*TICKERS, "GE"])


def test_by_name_a_model_is_the_one_that_is_trained_on_that_name_alone(early):
    """Same rows, same features; the artifact of the panel is a model for each."""
    result = mt.model("RidgeRegression").train(early, Protocol(panel="per-name"))
    alone = mt.model("RidgeRegression").fit(*_rows(early, "IBM"))
    own = result.model.estimator_["IBM"]
    assert_allclose(own[-1].coef_, alone.estimator_[-1].coef_, rtol=1e-9)
    with pytest.raises(BadInput, match="ask about a matrix"):
        result.model.predict(np.zeros((1, 3)))


def _rows(panel: Matrix, ticker: str) -> tuple[np.ndarray, np.ndarray]:
    """Features clipped to their outer percents and labels per unit of volatility, standardized: by hand."""
    own = panel.of(ticker)
    known = own.y.notna()
    X, z = own.X[known].to_numpy(), (own.y / own.scale)[known].to_numpy()
    return np.clip(X, *np.quantile(X, [0.01, 0.99], axis=0)), (z - z.mean()) / z.std()


def test_a_training_is_of_so_many_of_the_latest_sessions(early):
    result = mt.model("RidgeRegression").train(early, Protocol(WalkForward(window=200)))
    days = early.y.dropna().index.unique("session")
    assert (result.rows, result.start) == (600, str(days[-200].date()))
    assert result.protocol == {"window": 200}


def test_a_trained_model_is_judged_as_it_was_trained_unless_asked_otherwise(early):
    result = mt.model("RidgeRegression").train(early, Protocol(panel="per-name"))
    assert {e.meta["panel"] for e in result.evaluate(early)} == {"one model for each of 3 tickers"}
    assert {e.meta["panel"] for e in result.evaluate(early, protocol=Protocol())} == {"one model of 3 tickers"}


def test_models_of_a_panel_whose_inner_splits_it_widens_can_be_opened_again(early):
    """Six sessions are eighteen rows: the gap of the cross-validation inside is the panel's, and not another model."""
    for how in ({}, {"panel": "per-name"}):
        result = mt.model("LassoCV_walkforward").train(early, Protocol(**how))
        assert Model.load(result.save()).result.matrix == result.matrix


@pytest.mark.parametrize(
    ("name", "how", "why"),
    [
        ("Theta", {"panel": "hierarchical"}, "no fit is pooled which name effects could be added to; leave panel out"),
        ("Theta", {"ranked": True}, "reads past returns as they are and can do nothing with ranks; leave ranked out"),
        ("RidgeRegression", {"split": WalkForward(window=50)}, "window=50: learn from at least 100 rows"),
    ],
)
def test_what_cannot_be_is_one_line(early, name, how, why):
    with pytest.raises(BadInput, match=why) as error:
        mt.model(name).train(early, Protocol(**how))
    assert "\n" not in str(error.value)


def test_one_ticker_has_no_ranks_and_ranks_need_all_names(early, whole):
    one = mt.matrix("MSFT", start="2004-01-02", end="2008-12-31")
    with pytest.raises(BadInput, match=r"protocol ranked=True is of several tickers, and MSFT is one; leave it out"):
        mt.model("RidgeRegression").train(one, Protocol(ranked=True))
    ranked = mt.model("RidgeRegression").train(early, Protocol(ranked=True))
    with pytest.raises(BadInput, match=r"ranks among 3 names, and this matrix lacks AAPL, IBM; ask about all of them"):
        ranked.predict(one)
    assert len(mt.model("RidgeRegression").train(early, Protocol(panel="per-name")).predict(one)) > 200


def test_a_record_that_holds_other_models_than_its_names_is_refused(early):
    model = mt.model("RidgeRegression").train(early, Protocol(panel="per-name")).model
    fewer = {t: e for t, e in model.estimator_.items() if t != "IBM"}
    with pytest.raises(Refused, match="other models than one for each of its names"):
        Model.load(artifacts.save(model.name, fewer, model.state_))
    with pytest.raises(Refused, match="other models than one for each of its names"):
        Model.load(artifacts.save(model.name, fewer["AAPL"], model.state_))
    with pytest.raises(Refused, match="the protocol of a model"):
        Model.load(artifacts.save(model.name, model.estimator_, model.state_ | {"protocol": {"cost_bps": 1}}))
