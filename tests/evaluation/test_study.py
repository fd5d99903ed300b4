"""The calls a researcher makes: by name, on real data, and on nothing else."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_score

import mltrainer as mt
from mltrainer.data import sample
from mltrainer.errors import BadInput, Refused, UnknownName
from mltrainer.evaluation import study, trials
from mltrainer.evaluation.lifecycle import Model
from mltrainer.evaluation.record import Evaluation
from mltrainer.trust import audit, gate

NOISE = np.random.default_rng(1).normal(size=(900, 5))


def handmade() -> pd.DataFrame:
    index = pd.bdate_range("2005-01-03", periods=900, name="session")
    return pd.DataFrame(100 + NOISE.cumsum(axis=0), index, ["open", "high", "low", "close", "volume"])


def copied(matrix) -> object:
    """Another label under the provenance of a true matrix."""
    return dataclasses.replace(matrix, y=matrix.y * 1.01)


# --- only real data -------------------------------------------------------------------------------------------

FORGERIES = {
    "a hand-made frame": lambda m: handmade(),
    "numpy noise": lambda m: NOISE,
    "the path of a csv": lambda m: "prices.csv",
    "a Path": lambda m: Path("prices.csv"),
    "a list": lambda m: NOISE.tolist(),
    "an edited matrix": copied,
    "a matrix without provenance": lambda m: dataclasses.replace(m, provenance=None),
    "the features of a true matrix": lambda m: m.X,
}
CALLS = {
    "evaluate": lambda x: mt.evaluate("RidgeRegression", x),
    "matrix": lambda x: mt.matrix(x),
    "train": lambda x: mt.model("RidgeRegression").train(x),
    "model.evaluate": lambda x: mt.model("RidgeRegression").evaluate(x),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_cannot_show_its_origin_is_refused_with_one_violation(msft, call, forgery):
    with pytest.raises(Refused) as error:
        CALLS[call](FORGERIES[forgery](msft))
    assert "\n" not in str(error.value)
    (violation,) = audit.entries(kind="violation")
    assert str(error.value).startswith(violation.payload["what"])
    assert trials.ledger().empty
    assert audit.verify() == []


def test_a_matrix_sealed_in_another_home_is_refused(template):
    with pytest.raises(Refused):
        mt.evaluate("RidgeRegression", template[1])


# --- matrix and evaluate --------------------------------------------------------------------------------------


DIRTY = {
    "price": lambda f: f.assign(Close=f["Close"].where(f.index != f.index[9], -1.0)),
    "ohlc": lambda f: f.assign(High=f["High"].where(f.index != f.index[9], f["Low"] * 0.9)),
    "weekend": lambda f: f.rename(index={f.index[3]: pd.Timestamp("2006-01-07")}),
    "conflict": lambda f: f.rename(index={f.index[4]: f.index[3]}),
    "split": lambda f: f.mask(np.outer(f.index >= "2006-03-01", f.columns != "Volume"), f / 7),
    "spike": lambda f: f.mul(np.where(f.index == f.index[20], 1000.0, 1.0), axis=0),
}


@pytest.mark.parametrize("rule", DIRTY)
def test_admitted_bars_that_break_a_rule_are_not_learned_from_and_the_rule_is_named(monkeypatch, rule):
    """A provider's bytes, let in by the gate as they came: real days of an index, one thing wrong with them."""
    monkeypatch.setenv("MLTRAINER_MODE", "replay")
    raw = sample._table(sample.packaged_bytes("arch", "data/sp500/sp500.csv.gz")).set_index("Date").astype(float)
    raw.index = pd.to_datetime(raw.index, format="%m/%d/%Y")
    body = DIRTY[rule](raw.loc["2006-01-03":"2008-12-31"]).to_csv(index_label="Date").encode()
    asked = {"name": "SPX", "kind": "bars", "endpoint": "test", "parameters": {}}
    bars = gate.admit("replay", body=body, parse=sample.parse_index, **asked)
    with pytest.raises(BadInput, match=f"SPX breaks rule {rule}: ") as error:
        mt.evaluate("RidgeRegression", bars)
    assert "\n" not in str(error.value)
    assert trials.ledger().empty
    assert not mt.quality(bars).ok


def test_a_ticker_bars_and_their_matrix_are_the_same(msft):
    bars = mt.bars("MSFT", start=msft.since, end="2008-12-31")  # those of the warm-up too
    own = mt.matrix(bars)
    assert own.X.loc["2004-01-02":].equals(msft.X)
    assert own.y.loc["2004-01-02":].equals(msft.y)
    assert mt.matrix(msft) is msft
    again = mt.matrix("msft", start="2004-01-02", end="2008-12-31", horizon=5)
    assert again.provenance == msft.provenance


def test_one_name_gives_an_evaluation_and_several_a_list(msft):
    one = mt.evaluate("RidgeRegression", msft)
    assert isinstance(one, Evaluation)
    several = mt.evaluate(["LassoRegression", "RidgeRegression"], msft)
    assert [e.model for e in several] == ["LassoRegression", "RidgeRegression"]
    assert several[1].metrics == one.metrics
    assert len(trials.ledger()) == 2


def test_leaderboard_takes_one_or_many(msft):
    one = mt.evaluate("RidgeRegression", msft)
    assert len(mt.leaderboard(one).rows) == len(mt.leaderboard([one]).rows) == 1


@pytest.mark.parametrize("knobs", [{"start": "2006-01-02"}, {"end": "2007-01-02"}])
def test_what_is_already_cut_is_not_cut_again(msft, knobs):
    with pytest.raises(BadInput, match="already cut"):
        mt.matrix(msft, **knobs)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"horizon": 10}, "this matrix has horizon 5, not 10"),
        ({"target": "volatility"}, "this matrix is of target return, not volatility"),
        ({"features": ["rsi_14"]}, "already built; give features together with its bars"),
    ],
)
def test_a_matrix_stays_what_it_was_built_as(msft, knobs: dict[str, object], message: str):
    assert mt.matrix(msft, horizon=5, target="return") is msft
    with pytest.raises(BadInput, match=message):
        mt.matrix(msft, **knobs)


def test_an_unknown_model_offers_close_names_before_any_data_is_touched():
    with pytest.raises(UnknownName, match=r"no model is called 'RidgeRegresion'; close: RidgeRegression"):
        mt.evaluate("RidgeRegresion", "MSFT")
    with pytest.raises(UnknownName):
        mt.model("Ridge")


def test_select_takes_names_or_families_each_once():
    assert [s.name for s in study.select(models=["SVR_rbf", "SVR_rbf"])] == ["SVR_rbf"]
    assert {s.family for s in study.select(families=["neighbors"])} == {"neighbors"}
    assert len(study.select()) == len(mt.catalog())


# --- Model: scikit-learn --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arrays():
    """A planted line plus noise: numbers for a unit test, refused everywhere else."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(300, 4))
    return X, X @ [1.0, -2.0, 0.0, 0.5] + 0.1 * rng.normal(size=300)


def test_model_is_an_estimator_that_clones_and_tells_its_parameters(arrays):
    model = mt.model("RidgeRegression").fit(*arrays)
    twin = clone(model)
    assert model.get_params() == twin.get_params() == {"name": "RidgeRegression", "parameters": None}
    assert not hasattr(twin, "estimator_")
    assert Model("x").set_params(name="SVR_rbf").spec.name == "SVR_rbf"


def test_model_is_scored_by_scikit_learn(arrays):
    scores = cross_val_score(mt.model("LinearRegression"), *arrays, cv=KFold(3))
    assert (scores > 0.99).all()
    model = mt.model("LinearRegression").fit(*arrays)
    assert model.score(*arrays) == pytest.approx(r2_score(arrays[1], model.predict(arrays[0])))


def test_model_fits_what_the_catalog_configures(arrays):
    direct = mt.model("RidgeRegression").spec.build().fit(*arrays).predict(arrays[0])
    assert np.array_equal(mt.model("RidgeRegression").fit(*arrays).predict(arrays[0]), direct)


def test_an_unfitted_model_says_so(msft, arrays):
    for X in (arrays[0], msft):
        with pytest.raises(NotFittedError):
            mt.model("RidgeRegression").predict(X)
