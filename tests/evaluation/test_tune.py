"""A search chooses in the past, is judged afterwards, costs what it costs, and is the same however it is run."""

import dataclasses
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from mltrainer.errors import BadInput, NotEnoughHistory, Refused, Unavailable, UnknownName
from mltrainer.evaluation import judging, judgments, skill, study, tasks, trials
from mltrainer.evaluation import tune as room
from mltrainer.evaluation.lifecycle import Model, model
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import KFoldDiagnostic, Part, WalkForward
from mltrainer.evaluation.tune import METHODS, SCORES, tune
from mltrainer.models import catalog, spaces
from mltrainer.models.base import Lazy

RIDGE = "RidgeRegression"
FIVE = Protocol(WalkForward(5, rows_per_column=0))


def search(matrix, name=RIDGE, trials=8, **knobs):
    return tune(name, matrix, trials=trials, progress=False, **knobs)


def counted(monkeypatch) -> list[str]:
    """Names of the models that are really fitted from here on."""
    fitted, true = [], judging.evaluate

    def evaluate(spec, *rest):
        fitted.append(spec.name)
        return true(spec, *rest)

    monkeypatch.setattr(tasks, "evaluate", evaluate)
    return fitted


# --- what it chooses, and from what ---------------------------------------------------------------------------


def test_the_choice_is_the_best_of_all_inside_and_is_judged_beside_the_catalogs_own(msft):
    found = search(msft)
    table = found.candidates
    assert len(table) == 9
    assert table["alpha"].iloc[0] == 35_000.0  # the catalog's own is a candidate like any other
    best = table.loc[table["score"].idxmax()]
    assert found.parameters == {"ridge__alpha": best["alpha"]}
    assert found.spec.build().get_params()["ridge__alpha"] == best["alpha"]
    assert found.evaluation.model == found.spec.name == f"RidgeRegression(alpha={best['alpha']})"
    assert found.baseline.model == RIDGE
    assert found.evaluation.forecasts.index.equals(found.baseline.forecasts.index)


@pytest.mark.parametrize("score", SCORES)
def test_the_score_asked_for_decides(msft, score):
    found = search(msft, score=score)
    inside = {key: trials.load(key).metrics[score] for key in found.candidates["key"]}
    assert list(found.candidates["score"]) == list(inside.values())
    assert found.spec.name == trials.load(max(inside, key=inside.get)).model


def test_what_happened_after_the_search_cannot_move_the_choice(msft):
    inside, outside = room._nested(msft, Protocol())
    n, p = int(msft.y.notna().sum()), msft.X.shape[1]
    free = inside.split.rows
    tested = np.concatenate([f.test for f in outside.split.split(n, msft.horizon, p)])
    seen = np.concatenate([np.r_[f.train, f.test] for f in inside.split.split(n, msft.horizon, p)])
    assert isinstance(inside.split, Part)
    assert inside.split.folds == room.INNER_FOLDS  # however often the outer walk is refitted
    assert seen.max() < free
    assert seen.max() + 1 + msft.horizon < tested.min()  # the last label the search sees has ended
    assert len(tested) == len(list(WalkForward().split(n, msft.horizon, p))[1].test)  # of two blocks the second
    # rewrite everything after: the inside result does not move by one bit, the outside one does
    later = msft.y.index[free:]
    X, y = msft.X.copy(), msft.y.copy()
    X.loc[later] *= -3.0
    y.loc[later] = 0.5
    rewritten = dataclasses.replace(msft, X=X, y=y)
    spec = catalog.spec(RIDGE)
    for protocol, same in ((inside, True), (outside, False)):
        one, other = (judging.evaluate(spec, m, protocol).forecasts["forecast"] for m in (msft, rewritten))
        assert one.equals(other) is same


def test_where_nothing_does_better_inside_the_catalogs_own_stays(msft, monkeypatch):
    monkeypatch.setattr(room, "_score", lambda es, score: 1.0 if es[0].model == RIDGE else 0.0)
    found = search(msft, trials=3)
    assert found.parameters == {}
    assert found.evaluation.key == found.baseline.key
    assert "none did better inside than the catalog's own" in found.sentence()
    assert np.isnan(found.luck["t"])


def test_a_setting_that_fails_is_never_chosen(msft, monkeypatch):
    true = judging.evaluate

    def evaluate(spec, matrix, protocol, key):
        if spec.name == RIDGE:
            return true(spec, matrix, protocol, key)
        return Evaluation(key, spec.name, "linear", "regressor", "MSFT", 5, "failed", "too hard")

    monkeypatch.setattr(tasks, "evaluate", evaluate)
    for method in METHODS:
        found = search(msft, trials=5, method=method)
        assert found.parameters == {}
        assert list(found.candidates["status"]) == ["ok"] + 5 * ["failed"]


def test_where_only_unscored_settings_ran_the_catalogs_own_stays_and_its_failure_is_said(msft, monkeypatch):
    true = judging.evaluate

    def evaluate(spec, matrix, protocol, key):
        if spec.name == RIDGE:
            return Evaluation(key, spec.name, "linear", "regressor", "MSFT", 5, "failed", "too hard")
        return dataclasses.replace(true(spec, matrix, protocol, key), metrics={})

    monkeypatch.setattr(tasks, "evaluate", evaluate)
    found = search(msft, trials=2)
    assert (found.parameters, found.evaluation.reason) == ({}, "too hard")
    assert found.candidates["score"].isna().all()


def test_a_model_that_never_runs_is_said_so(msft, monkeypatch):
    def evaluate(spec, matrix, protocol, key):
        return Evaluation(key, spec.name, "linear", "regressor", "MSFT", 5, "failed", "too hard")

    monkeypatch.setattr(tasks, "evaluate", evaluate)
    with pytest.raises(Unavailable, match="no setting of RidgeRegression ran to the end: too hard"):
        search(msft, trials=2)


# --- the same search ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("method", METHODS)
def test_a_seed_is_a_search(template, method, tmp_path, monkeypatch):
    found = []
    for home in (tmp_path / "a", tmp_path / "b"):  # neither remembers anything of the other
        shutil.copytree(template[0], home)
        monkeypatch.setenv("MLTRAINER_HOME", str(home))
        found.append(search(template[1], trials=5, method=method))
    one, again = found
    pd.testing.assert_frame_equal(one.candidates, again.candidates)
    assert one.luck == pytest.approx(again.luck, nan_ok=True)
    assert one.sentence() == again.sentence()


def test_workers_do_not_change_the_search(msft):
    alone = search(msft, trials=3, method="random")
    ledger = trials.ledger()
    together = search(msft, trials=4, method="random", jobs=2)  # the fourth is fitted by a worker
    pd.testing.assert_frame_equal(together.candidates.iloc[:4], alone.candidates)
    assert together.candidates["status"].eq("ok").all()
    assert len(trials.ledger()) > len(ledger)


def walked(method: str, seed: int) -> np.ndarray:
    """The first 60 points of a search for a summit at (0.2, 0.7)."""
    search, away = METHODS[method](2, 60, seed), []
    points = next(search)
    while sum(map(len, away)) < 60:
        away.append(points)
        points = search.send(-np.linalg.norm(points - [0.2, 0.7], axis=1))
    return np.concatenate(away)[:60]


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_learn_end_nearer_to_a_summit_and_another_seed_is_another_search(method):
    points = walked(method, 0)
    assert ((points >= 0) & (points <= 1)).all()
    distance = np.linalg.norm(points - [0.2, 0.7], axis=1)
    assert (distance[40:].mean() < 0.7 * distance[:10].mean()) == (method != "random")
    assert np.array_equal(points, walked(method, 0))
    assert not np.array_equal(points, walked(method, 1))


@pytest.mark.slow
def test_a_killed_search_goes_on_without_fitting_anything_twice(msft, monkeypatch):
    code = f"import mltrainer as mt; mt.tune({RIDGE!r}, 'MSFT', start='2004-01-02', end='2008-12-31', trials=40)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        while len(trials.ledger()) < 5 and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -9
    kept = set(trials.ledger()["key"])
    fitted = counted(monkeypatch)
    found = search(msft, trials=12)
    assert len(kept & set(found.candidates["key"])) >= 5
    assert len(trials.ledger()) == len(kept) + len(fitted)
    assert len(set(fitted)) >= len(fitted) - 2  # but for the two judged outside, each once
    fitted.clear()
    search(msft, trials=12)
    assert fitted == []


# --- what it costs --------------------------------------------------------------------------------------------


def test_every_setting_tried_is_a_row_of_the_ledger_and_raises_the_bar_of_all(msft):
    before = judgments.judgment().luck
    found = search(msft, "KNeighborsRegressor_5", 12, method="random", protocol=FIVE)
    rows = trials.ledger()
    assert set(found.candidates["key"]) | {found.evaluation.key, found.baseline.key} == set(rows["key"])
    assert found.luck["cost"] == len(rows)
    assert rows["model"].str.startswith("KNeighborsRegressor_5").all()
    luck = judgments.judgment().luck
    assert (before["effective"], luck["trials"]) == (0, len(rows))
    assert 1 < luck["effective"] <= len(rows)


def test_luck_inside_is_that_of_the_settings_tried(msft):
    found = search(msft, "KNeighborsRegressor_5", 12, method="random", protocol=FIVE)
    within = {key: trials.load(key) for key in found.candidates["key"]}
    luck = skill.judge(judgments.grouped(within.values()).values()).luck
    assert found.luck["effective"] == luck["effective"]
    assert found.luck["threshold"] == luck["threshold"]


def test_the_sentence_says_how_many_what_since_when_and_whether_it_helped(msft):
    found = search(msft)
    said = found.sentence()
    new, old = (e.metrics["r2_oos"] for e in (found.evaluation, found.baseline))
    assert said.startswith(f"8 settings of RidgeRegression on MSFT cost {int(found.luck['cost'])} trials; alpha=")
    assert f"from {found.evaluation.forecasts.index[0].date()} on, which the search has not seen" in said
    assert f"{new:.4f} against {old:.4f} for the catalog's own setting: worse (t = {found.luck['t']:.1f})" in said
    assert said.count(". ") == 0
    assert repr(found) == f"Tuned({said})"
    assert "alpha" in found._repr_html_()
    # Diebold and Mariano (1995) by hand: no difference has no sign, and the roles turned turn it
    assert room._saved(found.baselines, found.evaluations) == -found.luck["t"]
    swapped = dataclasses.replace(found, luck=found.luck | {"t": 3.0})
    assert "better (t = 3.0)" in swapped.sentence()
    assert "no difference beyond noise" in dataclasses.replace(found, luck=found.luck | {"t": 1.0}).sentence()


# --- what is chosen can be used -------------------------------------------------------------------------------


def test_the_choice_can_be_judged_trained_kept_and_opened_again(msft, template):
    found = search(msft)
    model = found.estimator()
    (path, value), *_ = found.parameters.items()
    judged = study.evaluate([found.spec, RIDGE], msft)
    assert [e.model for e in judged] == [found.spec.name, RIDGE]
    assert model.evaluate(msft).key == judged[0].key
    model.train(msft)
    assert model.estimator_.get_params()[path] == value
    again = Model.load(model.save())
    assert (again.name, again.parameters) == (RIDGE, found.parameters)
    np.testing.assert_array_equal(again.estimator_[-1].coef_, model.estimator_[-1].coef_)


def test_a_model_with_other_settings_is_an_estimator_like_any_other():
    from sklearn.base import clone

    copy = clone(model(RIDGE, {"ridge__alpha": 9.0}))
    X, y = np.random.default_rng(0).normal(size=(60, 1)), np.arange(60.0)
    assert copy.fit(X, y).estimator_[-1].alpha == 9.0
    assert copy.get_params() == {"name": RIDGE, "parameters": {"ridge__alpha": 9.0}}
    with pytest.raises(
        UnknownName, match="no parameter of RidgeRegression is called 'ridge__alpa'; close: ridge__alpha"
    ):
        model(RIDGE, {"ridge__alpa": 9.0})


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "knobs", "kind", "saying"),
    [
        ("RidgeRegresion", {}, UnknownName, "no model is called 'RidgeRegresion'; close: RidgeRegression"),
        (RIDGE, {"method": "anneal"}, UnknownName, "no search method is called 'anneal'; known: random, tpe, genetic"),
        (RIDGE, {"score": "mse"}, UnknownName, "no score is called 'mse'"),
        ("LinearRegression", {}, BadInput, "LinearRegression has nothing to tune: least squares has no settings"),
        (RIDGE, {"trials": 0}, BadInput, "trials=0: a search tries 1 to 1,000 settings"),
        (RIDGE, {"trials": 1_001}, BadInput, "trials=1001"),
        (RIDGE, {"random_state": -1}, BadInput, "random_state=-1"),
        (RIDGE, {"protocol": Protocol(split=KFoldDiagnostic())}, BadInput, "by a walk-forward, not by KFoldDiagnostic"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(msft, monkeypatch, name, knobs, kind, saying):
    fitted = counted(monkeypatch)
    with pytest.raises(kind, match=saying) as error:
        tune(name, msft, **({"trials": 2, "progress": False} | knobs))
    assert "\n" not in str(error.value)
    assert fitted == []


def test_data_without_origin_is_refused():
    with pytest.raises(Refused):
        search(pd.DataFrame(np.zeros((500, 3))))


def test_too_short_a_past_is_said_with_the_rows_a_search_may_see(msft):
    short = study.matrix("MSFT", start="2006-12-29", end="2008-12-31")  # enough to be judged, too little to search
    with pytest.raises(NotEnoughHistory, match=r"of \d+ labelled sessions a search may see the first \d+; inside, "):
        search(short)


def test_a_model_without_its_library_names_the_command(msft, monkeypatch):
    absent = dataclasses.replace(catalog.spec("XGBoost"), estimator=Lazy("no_such.Thing", {"learning_rate": 0.1}))
    monkeypatch.setattr(catalog, "spec", lambda name: absent)
    assert list(spaces.space(absent)) == ["learning_rate"]
    with pytest.raises(Unavailable, match=r"no_such is not installed.*pip install"):
        search(msft, "XGBoost", 2)
