"""Tables leave as files that hold every digit and no formula."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import SPAN, Run, assert_one_line, run  # noqa: F401 - a fixture

import mltrainer as mt
from mltrainer import plain
from mltrainer.evaluation import columns


def test_bars_come_out_with_every_digit(run: Run):  # noqa: F811
    said = run("fetch", "bars", "MSFT", "IBM", *SPAN, "--out", "deep/bars.csv")
    assert said.code == 0
    assert said.err == "mltrainer: 2,518 rows written to deep/bars.csv\n"
    rows = pd.read_csv("deep/bars.csv", parse_dates=["session"], float_precision="round_trip")
    assert list(rows) == ["name", "kind", "session", "open", "high", "low", "close", "volume"]
    for name in ("MSFT", "IBM"):
        frame = rows[rows["name"] == name].set_index("session").drop(columns=["name", "kind"])
        bars = mt.bars(name, start=SPAN[1], end=SPAN[3]).frame
        np.testing.assert_array_equal(frame.to_numpy(float), bars.to_numpy(float))
        assert (frame.index == bars.index).all()


def test_what_one_asked_for_and_did_not_get_does_not_hinder_the_rest(run: Run):  # noqa: F811
    assert run("fetch", "macro", "nope", "unemp", "--out", "macro.csv").code == 1
    assert set(pd.read_csv("macro.csv")["name"]) == {"unemp"}


def test_evaluate_gives_forecasts_and_leaderboard_gives_rows(run: Run):  # noqa: F811
    call = ["evaluate", "RidgeRegression", "KNeighborsRegressor_5", *SPAN]
    assert run(*call, "--out", "f.csv", "--json").code == 0
    rows = pd.read_csv("f.csv")
    assert list(rows)[:5] == ["model", "ticker", "target", "key", "session"]
    assert set(list(rows)[5:]) == columns.FORECASTS.keys() - {"quantile"}
    assert len(set(rows["model"].value_counts())) == 1
    assert run("leaderboard", "--out", "board.csv").code == 0
    assert [*pd.read_csv("board.csv")] == [*columns.LEADERBOARD]


def test_predict_gives_the_forecasts_of_a_kept_model(run: Run):  # noqa: F811
    artifact = run("train", "RidgeRegression", "--start", "2009-01-02").out.strip()
    said = json.loads(run("predict", artifact, "--out", "next.csv", "--json").out)
    rows = pd.read_csv("next.csv", float_precision="round_trip")
    assert list(rows) == ["session", "mean", "lower", "upper", "model", "ticker"]
    assert [r["session"] for r in said["rows"]] == [*rows["session"]]
    np.testing.assert_allclose([r["mean"] for r in said["rows"]], rows["mean"], rtol=1e-12)


@pytest.mark.parametrize(
    ("out", "words"),
    [("rows.xlsx", "ends in neither .csv nor .parquet"), ("rows", "ends in neither"), ("file/rows.csv", "is no place")],
)
def test_a_file_that_cannot_be_is_said_before_any_work(run: Run, out: str, words: str):  # noqa: F811
    Path("file").write_text("kept")
    answer = run("evaluate", "RidgeRegression", *SPAN, "--out", out)
    assert_one_line(answer)
    assert words in answer.err
    assert [p.name for p in Path.cwd().iterdir()] == ["file"]
    assert mt.audit.entries() == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", '=HYPERLINK("x")'])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str):
    """OWASP, CSV injection: cells that begin with = + - @, tab or carriage return."""
    safe = plain.harmless(pd.DataFrame({"name": [text, "MSFT"], "-1": [-1.5, 2.0]}))
    assert list(safe["name"]) == ["'" + text.replace("\r", " "), "MSFT"]  # a return alone begins a row in some
    assert list(safe) == ["name", "'-1"]
    assert list(safe["'-1"]) == [-1.5, 2.0]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_no_text_cell_begins_like_a_formula_and_none_loses_a_character(texts: list[str]):
    safe = plain.harmless(pd.DataFrame({"text": pd.Series(texts, dtype=object)}))["text"]
    assert not any(cell.lstrip()[:1] in plain.FORMULA for cell in safe if cell.strip())
    kept = [text if plain.formula(text) else text.replace("\r", " ") for text in texts]  # a return begins a row
    assert [cell.removeprefix("'") if cell != text else cell for cell, text in zip(safe, kept, strict=True)] == kept


def test_parquet_keeps_types_and_says_where_it_came_from(run: Run):  # noqa: F811
    pytest.importorskip("pyarrow")
    assert run("fetch", "bars", "MSFT", *SPAN, "--out", "bars.parquet").code == 0
    rows = pd.read_parquet("bars.parquet")
    bars = mt.bars("MSFT", start=SPAN[1], end=SPAN[3])
    np.testing.assert_array_equal(rows["close"], bars.frame["close"])
    (origin,) = json.loads(rows.attrs["mltrainer"])
    assert origin["content_sha256"] == bars.provenance.content_sha256


def test_parquet_without_its_library_is_one_line():
    blocked = """import importlib.util as u, sys
find = u.find_spec
u.find_spec = lambda name, *rest: None if name == "pyarrow" else find(name, *rest)
import mltrainer.cli
sys.argv[0] = "mltrainer"
mltrainer.cli.main()"""
    call = [sys.executable, "-c", blocked, "leaderboard", "--out", "rows.parquet"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pyarrow is not installed: pip install 'mltrainer[parquet]'" in done.stderr
