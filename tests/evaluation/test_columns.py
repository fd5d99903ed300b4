"""Every column of a table that leaves the product is documented with its unit, and there is no other."""

import pytest

import mltrainer as mt
from mltrainer.evaluation import columns
from mltrainer.models import catalog


@pytest.mark.parametrize("name", ["RidgeRegression", next(s.name for s in catalog.specs() if "quantile" in s.gives)])
def test_every_column_of_the_forecasts_is_documented(msft, name):
    e = mt.evaluate(name, msft)
    assert e.ok
    optional = set() if "quantile" in e.forecasts else {"quantile"}
    assert set(e.forecasts) == columns.FORECASTS.keys() - optional
    assert [*mt.leaderboard(e).rows] == [*columns.LEADERBOARD]


def test_every_column_of_a_trained_models_forecast_is_documented(msft):
    given = set()
    for spec in (catalog.spec("LogisticRegression"), *(s for s in catalog.specs() if s.gives)):
        if spec.available and spec.cost < 2 and not given >= columns.FORECAST.keys():
            given |= set(mt.model(spec.name).train(msft).predict(msft).frame)
    assert given == columns.FORECAST.keys()


@pytest.mark.parametrize("table", [columns.FORECASTS, columns.LEADERBOARD, columns.FORECAST], ids=len)
def test_a_column_has_a_unit_and_says_something(table):
    for name, column in table.items():
        assert column.unit, name
        assert len(column.text.split()) >= 2, name
