"""What is said of a model before anybody runs it fits a terminal, is complete, and is the estimator's own."""

import json

import pytest
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer.cli import app
from mltrainer.models.catalog import spec, specs

SAID = {"Method", "Formula", "Assumes", "Use", "Runs", "Settings", "Gives", "Learns from", "Cost", "Reference"}


def said(*words: str) -> str:
    result = CliRunner().invoke(app, ["models", *words], standalone_mode=False)
    assert result.exception is None
    return result.stdout


def test_the_table_has_a_line_a_model_within_120_columns():
    lines = said().splitlines()
    assert [line.split()[0] for line in lines[1:]][: len(specs())] == [s.name for s in specs()]
    assert max(map(len, lines)) <= 120
    assert all(line == line.rstrip() for line in lines)


def test_every_card_says_all_of_it_and_fits_a_terminal():
    for row in specs():
        assert {what for what, _ in row.card.rows()} >= SAID, row.name
        assert max(map(len, row.card.text().splitlines())) <= 120, row.name


def test_settings_are_those_of_the_estimator_that_is_fitted():
    part, fitted = spec("SVR_rbf").card.parts[-1], spec("SVR_rbf").build()[-1].get_params()
    assert (part.chosen | part.default).keys() == fitted.keys()
    assert (part.chosen | part.default)["C"] == f"{fitted['C']:g}"


@pytest.mark.parametrize(
    ("name", "gives"),
    [
        ("RidgeRegression", ["interval"]),
        ("GaussianNB", ["interval", "probability"]),
        ("BayesianRidge", ["interval", "deviation"]),
        ("QuantileRegressor_q0.9", ["interval", "quantile 0.9"]),
    ],
)
def test_one_model_is_told_whole_in_words_and_as_json(name: str, gives: list[str]):
    text = said(name)
    assert text.startswith(f"{name}\nMethod ")
    assert all(g in text for g in gives)
    (row,) = json.loads(said(name, "--json"))
    assert (row["name"], row["gives"], row["parameters"]) == (name, gives, spec(name).identity())
    assert row["method"]["formula"] == spec(name).method.formula


def test_a_row_of_the_catalog_shows_itself_in_a_notebook():
    assert "<dt>Formula</dt>" in mt.catalog()[0]._repr_html_()
