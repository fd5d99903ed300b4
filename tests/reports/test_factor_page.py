"""The page of a factor shows its tear sheet, asks its question first, and fits a phone."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from making import Said

from mltrainer import views
from mltrainer.errors import BadInput
from mltrainer.reports import factor as room
from mltrainer.reports.factor import FactorPage
from mltrainer.views import factor as figures

MOMENTUM, SPAN = "momentum_252_21", {"start": "2014-01-02", "end": "2018-12-31"}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Iterator[FactorPage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("page") / "home"))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield FactorPage(MOMENTUM, "sample20", **SPAN)


def test_the_opening_asks_and_answers(page: FactorPage):
    text = page.opening().text
    assert f"<h1>Does {MOMENTUM} order the names of sample20 over 5 sessions?</h1>" in text
    assert "SAMPLE" in text
    assert "does not differ from zero" in text
    assert "knows who survived" in text  # the universe's own note


def test_every_figure_says_its_finding_its_unit_and_its_source(page: FactorPage):
    shown = [page.coefficients(), page.decay()[0], page.quantiles()[0], page.wealth(), page.names()[0]]
    for figure in shown:
        finding, drawing = views.drawing(figure)
        assert MOMENTUM in finding or "part" in finding or "became" in finding
        said = " ".join(a["text"] for a in drawing["layout"]["annotations"])
        assert "sample20, 20 names, to 2018-12-31" in said


def test_the_longest_figure_has_a_form_for_a_phone(page: FactorPage):
    sheet = page.sheet
    _, drawing = views.drawing(figures.names(sheet, "T"))
    assert len(drawing["data"][0]["text"]) == 20
    phone = drawing["phone"]
    assert len(phone["data"][0]["text"]) == figures.PHONE_NAMES
    assert phone["layout"]["height"] < 844
    said = [a["text"] for a in phone["layout"]["annotations"]]
    assert "first and last 6; T" in said
    order = sheet.names.sort_values("ic").index
    assert phone["data"][0]["text"] == [*order[:6], *order[-6:]]


def test_tables_hold_what_the_sheet_says(page: FactorPage):
    sheet = page.sheet
    assert views.fixed(3)(sheet.decay.loc[21, "mean"]) in page.decay()[1].text
    assert views.fixed(1)(sheet.by_quantile.loc["spread", "mean"] * 1e4) in page.quantiles()[1].text
    assert views.number(sheet.pays.loc["long only", "sharpe"]) in page.pays().text
    assert "Capacity at 1.0% of volume is not known: no volume of 20 of 20 names" in page.pays().text
    assert page.names()[1].text.count("<tr>") == 21
    assert "AAPL, Information Technology" in page.names()[1].text
    for part in (page.decay()[1], page.quantiles()[1], page.pays(), page.turnover(), page.names()[1]):
        assert 'class="named"' in part.text  # a phone sets the name above its numbers


def test_hostile_names_are_text_in_the_figure_of_names(page: FactorPage):
    odd = "<b onclick=x>AAPL</b>"
    sheet = page.sheet
    rows = sheet.names.rename(index={"AAPL": odd})
    fake = type("Sheet", (), {"names": rows, "name": odd})()
    finding, drawing = views.drawing(figures.names(fake, odd))
    assert odd in finding  # a page escapes it
    assert "<b onclick" not in str(drawing["layout"]) + str(drawing["phone"]) + str(drawing["data"])


@pytest.mark.slow
def test_the_command_prints_the_finding_first_and_writes_the_page(command: Callable[..., Said], tmp_path: Path):
    names = [x for t in ("AAPL", "AMD", "BAC", "BBY", "CVX", "GE") for x in ("--ticker", t)]
    span = ["--start", "2016-01-04", "--end", "2018-12-31"]
    to = tmp_path / "sheet.html"
    done = command("factor", "return_5", *names, *span, "--quantiles", 3, "--page", to)
    assert done.code == 0, done.err
    assert done.out.startswith("The mean IC of return_5 over 5 sessions, ")
    for head in ("horizon", "quantile", "portfolio", "sessions", "ticker"):
        assert f"\n\n{head} " in done.out
    html = to.read_text()
    assert "Does return_5 order these 6 names over 5 sessions?" in html
    assert "All families of this run" not in html
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_page_for_no_folder_is_said_so(tmp_path: Path):
    with pytest.raises(BadInput, match="is no folder"):
        room.write(tmp_path / "nowhere" / "x.html", MOMENTUM, "sample20")
