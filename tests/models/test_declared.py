"""What a row declares of its estimator is what the estimator has: nothing missing, nothing that is no longer so."""

from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from mltrainer.models.base import GIVES, TAKES, ModelSpec
from mltrainer.models.catalog import specs
from mltrainer.models.filters import SeriesForecaster
from mltrainer.models.networks import LstmForecaster

ROWS = [row for row in specs() if row.available]
LAG = 6


def differences(row: ModelSpec) -> list[str]:
    """Where the declarations of a row and its estimator part; the one place that looks at an estimator to find out."""
    built = row.build()
    last = built.steps[-1][1] if isinstance(built, Pipeline) else built
    predict = signature(last.predict).parameters if hasattr(last, "predict") else {}
    has = {
        "takes": TAKES.keys() & built.get_params(deep=False).keys(),
        "gives": {
            name
            for name, found in {
                "deviation": hasattr(built, "predict_deviation") or "return_std" in predict,
                "quantile": hasattr(built, "predict_quantile"),
            }.items()
            if found
        },
        "series": isinstance(built, SeriesForecaster | LstmForecaster),
        "follows": hasattr(built, "filter"),
    }
    says = {"takes": row.takes, "gives": row.gives, "series": row.series, "follows": bool(row.follows)}
    return [what for what in has if set_or_same(has[what]) != set_or_same(says[what])]


def set_or_same(value: object) -> object:
    return set(value) if isinstance(value, set | frozenset) else value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_declares_what_its_estimator_has(row: ModelSpec) -> None:
    assert differences(row) == []
    assert row.takes <= TAKES.keys()
    assert row.gives <= GIVES.keys()
    assert (row.columns is not None) == row.series
    if isinstance(built := row.build(), SeriesForecaster):
        assert row.columns == built.columns


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.follows or row.takes or row.gives], ids=lambda row: row.name
)
def test_a_declaration_that_is_left_out_or_no_longer_true_is_found(row: ModelSpec) -> None:
    if row.follows:
        assert "follows" in differences(replace(row, follows=""))
    for name in row.takes:
        assert differences(replace(row, takes=row.takes - {name})) == ["takes"]
    for name in row.gives:
        assert differences(replace(row, gives=row.gives - {name})) == ["gives"]
    for name in GIVES.keys() - row.gives:
        assert differences(replace(row, gives=row.gives | {name})) == ["gives"]
    for name in TAKES.keys() - row.takes:
        assert differences(replace(row, takes=row.takes | {name})) == ["takes"]


def test_the_online_model_follows_labels_and_no_other_does(msft) -> None:
    """`test_labels_of_new_rows_are_not_asked` says the other half: those that follow returns read none."""
    (row,) = [row for row in ROWS if row.follows == "labels"]
    assert row.name == "RecursiveLS"
    fitted, X, y = row.build().fit(msft.X[:400], msft.y[:400]), msft.X[400:430], msft.y[400:430]
    assert not np.array_equal(fitted.filter(X, y, LAG)[LAG:], fitted.filter(X, -y, LAG)[LAG:])
    unknown = np.where(np.arange(30) < 30 - LAG, y, np.nan)  # labels that have not matured are not read
    assert np.array_equal(fitted.filter(X, unknown, LAG), fitted.filter(X, y, LAG))


def test_what_lives_in_one_share_is_declared() -> None:
    chains = {"MultiOutputRegressor", "RegressorChain", "ClassifierChain"}
    assert {row.name for row in specs() if row.in_order} == chains | {row.name for row in specs() if row.follows}
    assert len([row for row in specs() if row.series]) == 16
