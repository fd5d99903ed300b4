"""Folds of one model are tasks of their own, done in any order by anybody, to the bits of one after the other."""

import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import SGDRegressor

import mltrainer as mt
from mltrainer.evaluation import engine, judging, lookahead, study, tasks, trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import CombinatorialPurged, WalkForward
from mltrainer.models import catalog, own, sharing
from mltrainer.trust import audit

FAMILIES = [
    "RidgeRegression", "LogisticRegression", "DecisionTree_depth_3", "ExtraTrees_10", "ExtraTrees_50", "SVR_rbf",
    "RecursiveLS", "ExponentialSmoothing_alpha_0.1", "KNeighborsRegressor_5",
]  # fmt: skip
SHORT = Protocol(split=WalkForward(folds=3))


@pytest.fixture(autouse=True)
def always_apart(monkeypatch):
    monkeypatch.setattr(tasks, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "WHOLE_SHARE", 0.0)


def task(spec, matrix, protocol=SHORT) -> tasks.Task:
    return tasks.Task(spec, matrix, protocol, spec.name, sharing.group(spec.estimator))


def shuffled(todo, seed: int) -> Iterator[Evaluation]:
    """Results of folds done apart in this process, in an order that chance decides."""
    agenda, chance = tasks.Agenda.of(todo, 2), random.Random(seed)
    steps = [step for bundle in agenda.waiting for step in bundle]
    agenda.waiting = []
    chance.shuffle(steps)
    while steps:
        step = steps.pop()
        yield from (result for _, result in agenda.told(step, step.done(step.task.matrix)))
        steps += agenda.take()
    sharing.share("")


def packed(results) -> dict[tuple[str, str], bytes]:
    """All of a result that is not measured, as bytes: forecasts, figures, reasons."""
    return {(e.model, e.ticker): e.to_bytes() for e in results}


@pytest.mark.parametrize("name", FAMILIES)
def test_folds_in_any_order_give_the_bytes_of_one_after_the_other(name, msft):
    spec = catalog.spec(name)
    whole = judging.evaluate_each(spec, msft, SHORT, name)
    assert whole[0].ok, whole[0].reason
    assert len(tasks.Agenda.of([task(spec, msft)], 2).waiting) == 3
    assert packed(shuffled([task(spec, msft)], 7)) == packed(whole)


@pytest.mark.parametrize("how", ["pooled", "per-name", "hierarchical"])
def test_folds_of_a_panel_do_too(how, template, home):
    panel = study.matrix(["MSFT", "AAPL", "IBM"], start="2004-01-02", end="2008-12-31")
    protocol, spec = dataclasses.replace(SHORT, panel=how), catalog.spec("RidgeRegression")
    whole = judging.evaluate_each(spec, panel, protocol, spec.name)
    assert len(whole) == 3
    assert packed(shuffled([task(spec, panel, protocol)], 1)) == packed(whole)


def test_rows_that_two_folds_forecast_are_those_of_the_later_fold_in_any_order(msft):
    protocol, spec = Protocol(split=CombinatorialPurged()), catalog.spec("RidgeRegression")
    whole = judging.evaluate_each(spec, msft, protocol, spec.name)
    assert packed(shuffled([task(spec, msft, protocol)], 2)) == packed(whole)


def test_one_process_two_and_folds_as_tasks_write_the_same_ledger(msft, template, home, monkeypatch):
    names, ledgers, results = FAMILIES[2:6], [], []
    apart = (tasks.WHOLE_SECONDS, tasks.WHOLE_SHARE)
    for number, (jobs, whole) in enumerate([(1, apart), (2, (1e9, 1.0)), (2, apart)]):
        monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name(f"home {number}")))
        matrix = study.matrix("MSFT", start="2004-01-02", end="2008-12-31")
        monkeypatch.setattr(tasks, "WHOLE_SECONDS", whole[0])
        monkeypatch.setattr(tasks, "WHOLE_SHARE", whole[1])
        specs = map(catalog.spec, names)
        results.append(engine.run(specs, [matrix], jobs=jobs, protocol=SHORT, progress=False))
        same = ["key", "blob", "model", "status", "sharpe", "n", "trial", "settings", "matrix"]
        ledgers.append(trials.ledger()[same].sort_values("key", ignore_index=True))
        assert audit.verify() == []
    for ledger, found in zip(ledgers[1:], results[1:], strict=True):
        pd.testing.assert_frame_equal(ledger, ledgers[0])
        assert packed(found) == packed(results[0])
        assert [e.key for e in found] == [e.key for e in results[0]]


class Remembers(RegressorMixin, BaseEstimator):
    """Forecasts how often its class was fitted before: no fold of it stands alone."""

    fits = 0

    def fit(self, X, y):
        type(self).fits += 1
        self.level_ = float(type(self).fits)
        return self

    def predict(self, X):
        return np.full(len(X), self.level_)


def test_what_may_know_of_its_other_folds_is_walked_in_order(msft):
    remembers = own.register(Remembers())
    assert task(remembers, msft).folds == []
    Remembers.fits = 0
    (apart,) = shuffled([task(remembers, msft)], 3)
    Remembers.fits = 0
    (whole,) = judging.evaluate_each(remembers, msft, SHORT, remembers.name)
    assert apart.to_bytes() == whole.to_bytes()
    levels = (whole.forecasts["forecast"] / whole.forecasts["scale"]).groupby(whole.forecasts["fold"]).mean()
    assert levels.is_monotonic_increasing  # 1, 2, 3: it does remember
    warm = own.register(SGDRegressor(warm_start=True, random_state=0), "warm")
    assert task(warm, msft).folds == []
    assert len(task(own.register(SGDRegressor(random_state=0), "cold"), msft).folds) == 3


def test_what_is_not_an_evaluation_is_not_taken_apart(msft):
    spec = catalog.spec("RidgeRegression")
    assert tasks.Task(spec, msft, SHORT, "k", work=lookahead.probe).folds == []


class FailsFrom(RegressorMixin, BaseEstimator):
    """Fails on train blocks longer than so many rows, and says how long each was."""

    def __init__(self, rows: int = 0):
        self.rows = rows

    def fit(self, X, y):
        if len(X) > self.rows:
            raise ValueError(f"{len(X)} rows")
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_the_reason_is_that_of_the_first_fold_that_failed(msft, monkeypatch):
    monkeypatch.setattr(tasks, "independent", lambda estimator: True)
    cuts = list(SHORT.split.split(msft.y.count(), msft.horizon, msft.X.shape[1]))
    spec = own.register(FailsFrom(len(cuts[0].train)))
    for seed in range(3):
        (result,) = shuffled([task(spec, msft)], seed)
        assert (result.status, result.reason) == ("failed", f"ValueError: {len(cuts[1].train)} rows")


def test_a_task_that_was_ended_is_not_begun_again_and_has_one_result(msft):
    todo = task(catalog.spec("RidgeRegression"), msft)
    agenda = tasks.Agenda.of([todo], 2)
    (step,) = agenda.take()
    assert [e.status for _, e in agenda.end(todo, "timeout", "too long")] == ["timeout"]
    assert agenda.take() == []
    assert agenda.told(step, step.done(msft)) == []
    whole = tasks.Agenda.of([todo], 1)
    (step,) = whole.take()
    whole.end(todo, "timeout", "too long")
    assert whole.told(step, step.done(msft)) == []  # what it said all the same would be a second result


def test_the_largest_fold_of_a_long_model_is_the_first_to_be_begun(msft):
    agenda = tasks.Agenda.of([task(catalog.spec("RidgeRegression"), msft)], 2)
    assert [agenda.take()[0].fold for _ in range(3)] == [2, 1, 0]
    assert sum(task(catalog.spec("RidgeRegression"), msft).folds) == pytest.approx(1.0)


def test_eight_matrices_are_under_way_at_a_time(msft):
    many = [dataclasses.replace(msft) for _ in range(9)]
    agenda = tasks.Agenda.of([task(catalog.spec("RidgeRegression"), m) for m in many], 2)
    order = [agenda.take()[0].task.matrix for _ in range(27)]
    assert {id(m) for m in order[:24]} == {id(m) for m in many[:8]}
    assert all(m is many[8] for m in order[24:])


def test_short_models_and_a_single_worker_take_nothing_apart(msft, monkeypatch):
    todo = [task(catalog.spec("RidgeRegression"), msft)]
    assert [s.fold for s in tasks.Agenda.of(todo, 1).take()] == [None]
    monkeypatch.setattr(tasks, "WHOLE_SECONDS", 1.0)
    assert [s.fold for s in tasks.Agenda.of(todo, 2).take()] == [None]


class NotesItsProcess(RegressorMixin, BaseEstimator):
    """Writes down how many rows it was fitted on and in which process."""

    def __init__(self, folder: str = ""):
        self.folder = folder

    def fit(self, X, y):
        Path(self.folder, f"{len(X)} {os.getpid()}").touch()
        return self

    def predict(self, X):
        return np.zeros(len(X))


def test_evaluate_spreads_the_folds_of_a_single_model_over_worker_processes(msft, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "independent", lambda estimator: True)  # of code of one's own it is not known
    (notes := tmp_path / "notes").mkdir()
    found = mt.evaluate(own.register(NotesItsProcess(str(notes))), msft, jobs=2, protocol=SHORT)
    assert found.ok, found.reason
    rows, processes = zip(*(map(int, note.name.split()) for note in notes.iterdir()), strict=True)
    cuts = SHORT.split.split(msft.y.count(), msft.horizon, msft.X.shape[1])
    assert sorted(rows) == [len(cut.train) for cut in cuts]  # each fold once
    assert len(set(processes)) == 2
    assert os.getpid() not in processes
