"""The map of what is forecastable: a cell for each target and horizon, and one sentence above."""

import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.errors import UnknownName
from mltrainer.evaluation import forecastable
from mltrainer.evaluation.calibrate import FAST
from mltrainer.evaluation.forecastable import COLUMNS

SPAN = {"start": "2000-03-01", "end": "2009-12-31"}


def test_variance_is_forecastable_by_har_and_no_linear_model_adds_to_it():
    found = mt.map("MSFT", models=["RidgeRegression"], targets=["volatility", "return", "rank"], horizons=[5], **SPAN)
    assert list(found.rows) == COLUMNS
    cells = found.rows.set_index("target")
    assert cells.loc["volatility", "baseline"] == "HAR"
    assert cells.loc["volatility", "explained"] > 0.3
    assert cells.loc["volatility", "gain"] < 0
    assert cells.loc["rank", "status"] == "of names side by side: at least 5"
    assert "Forecastable by plain means: the volatility (HAR explains" in found.sentence()
    assert found.sentence().endswith("No model adds evidence of skill to that.")
    again = mt.map("MSFT", models=["RidgeRegression"], targets=["volatility"], horizons=[5], **SPAN)
    assert again.rows["gain"].iloc[0] == cells.loc["volatility", "gain"]


def test_a_cell_that_a_source_cannot_answer_says_why_and_the_others_stand():
    closes = mt.map("MSFT", models=["RidgeRegression"], targets=["range", "return"], horizons=[5],
                    start="1992-01-02", end="1999-12-31")  # fmt: skip
    status = closes.rows.set_index("target")["status"]
    assert "needs highs and lows" in status["range"]
    assert status["return"] == "ok"
    assert pd.isna(closes.rows.set_index("target").loc["range", "gain"])
    with pytest.raises(UnknownName, match="no target is called 'vol'"):
        mt.map("MSFT", targets=["vol"])


def test_by_default_nearest_neighbors_are_left_out_of_a_large_matrix(monkeypatch):
    asked = []
    monkeypatch.setattr(forecastable.engine, "run", lambda specs, *_, **__: asked.append([s.name for s in specs]) or [])
    for rows in (10, 10_000):
        monkeypatch.setattr(forecastable, "MANY_ROWS", rows)
        mt.map("MSFT", targets=["return"], horizons=[5], **SPAN)
    assert asked == [[name for name in FAST if not name.startswith("KNeighbors")], FAST]
    monkeypatch.setattr(forecastable, "MANY_ROWS", 10)
    mt.map("MSFT", models=["KNeighborsRegressor_3"], targets=["return"], horizons=[5], **SPAN)
    assert asked[-1] == ["KNeighborsRegressor_3"]  # what is named is done
