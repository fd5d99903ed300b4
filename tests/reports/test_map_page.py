"""The page of a map asks, answers in one sentence, and shows each cell; it stands alone in one file."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import mltrainer as mt
from mltrainer import views
from mltrainer.errors import BadInput
from mltrainer.evaluation.forecastable import Map
from mltrainer.reports.map import MapPage, write

SPAN = {"start": "2004-01-02", "end": "2008-12-31"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Map]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("map") / "home"))
        patch.setenv("MLTRAINER_MODE", "sample")
        asked = {"targets": ["return", "volatility", "rank"], "horizons": [1, 5], "models": ["RidgeRegression"]}
        yield mt.map("MSFT", **asked, **SPAN)


def test_the_page_asks_answers_and_says_of_each_cell_what_the_map_says(found: Map, tmp_path: Path):
    text = write(tmp_path / "map.html", found).read_text(encoding="utf-8")
    assert "<h1>What is forecastable of MSFT?</h1>" in text
    assert found.sentence() in text
    assert "SAMPLE" in text
    row = found.rows.set_index(["target", "horizon"]).loc[("volatility", 5)]
    assert f"<b>{row['baseline']}</b> explains {views.percent(row['explained'])} %" in text
    gain = f"{views.percent(row['gain'])} % ({views.percent(row['gain_low'])} to {views.percent(row['gain_high'])})"
    assert f"RidgeRegression saves {gain}" in text
    assert "of names side by side: at least 5" in text
    assert "sha256 of its bytes" in text
    assert not re.findall(r'(?:src|href)="(?!#)', text)  # it asks nobody for anything


def test_a_cell_is_as_dark_as_what_is_explained_and_a_link_leads_to_its_report(found: Map):
    rows = found.rows.query("target == 'volatility' and horizon == 5")
    assert "--heat:10%" in views.heat(rows.assign(explained=0.5), {})
    assert "--heat:0%" in views.heat(rows.assign(explained=-0.5), {})
    assert "--heat:20%" in views.heat(rows.assign(explained=1.0), {})
    linked = MapPage(found, {"volatility": "../run/index.html"}).cells().text
    assert '<a href="../run/index.html"><b>the volatility</b></a>' in linked


def test_hostile_words_are_text_in_a_cell(found: Map):
    rows = found.rows.assign(model="<b onclick=x>", status=[*found.rows["status"][:-1], "<i>"])
    shown = views.heat(rows, {"return": "<u>"})
    assert not any(odd in shown for odd in ("<b onclick", "<i>", "<u>"))


def test_a_map_without_a_cell_has_no_page_and_says_why(found: Map, tmp_path: Path):
    nothing = replace(found, rows=pd.DataFrame({"status": ["no volume"]}), matrices=())
    with pytest.raises(BadInput, match="this map is empty, so it has no page: no volume"):
        MapPage(nothing)
    with pytest.raises(BadInput, match="is no folder"):
        write(tmp_path / "nowhere" / "map.html", found)
