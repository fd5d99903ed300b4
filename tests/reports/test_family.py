"""The family page shows what the ledger holds, and nothing it would have to invent."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from making import SPAN

from mltrainer.errors import BadInput, UnknownName
from mltrainer.evaluation import engine, study, tasks, trials
from mltrainer.evaluation.leaderboard import together
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.features import stored
from mltrainer.models import catalog
from mltrainer.reports.family import FamilyPage
from mltrainer.trading import regimes
from mltrainer.trust import audit

WHEN = {"start": SPAN[1], "end": SPAN[3]}


@pytest.fixture
def page(copy: Path) -> FamilyPage:
    return FamilyPage("neighbors", "MSFT", **WHEN, run_id="a-run")


def test_a_page_takes_every_result_from_the_ledger(copy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "evaluate", None)  # nothing is computed
    trials_before = len(trials.ledger())
    page = FamilyPage("neighbors", ["MSFT"], **WHEN)
    assert [e.model for e in page.results] == [s.name for s in catalog.specs("neighbors")]
    assert all(e.ok for e in page.results)
    assert len(trials.ledger()) == trials_before


def test_a_page_by_itself_computes_what_is_missing(home: Path):
    page = FamilyPage("neighbors", "IBM", **WHEN)
    assert len(page.ran("IBM")) == 5
    assert len(trials.ledger()) == 5


def test_a_fit_that_its_run_ended_is_shown_so_and_not_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch):
    """No budget holds in a notebook: a model that never ends would keep the page from ending."""
    matrix = study.matrix("MSFT", **WHEN)
    for spec in catalog.specs("neighbors"):
        key = trials.key(spec, matrix, Protocol())
        lost = Evaluation(key, spec.name, spec.family, spec.task, "MSFT", 5, status="timeout", reason="over its budget")
        trials.record(lost, matrix)
    monkeypatch.setattr(tasks, "evaluate", None)
    page = FamilyPage("neighbors", "MSFT", matrices=stored.keep(matrix), run_id="a-run")
    assert {(e.status, e.reason) for e in page.results} == {("timeout", "over its budget")}
    assert page.answer() == "No model of this family ran to the end."
    assert page.bests == []
    assert page.equity() == page.forecasts() == []
    assert page.ranking().text.count("over its budget") == 5
    assert "<table" not in page.residuals().text
    assert len(trials.ledger()) == 5


def test_a_later_success_counts_more_than_an_earlier_failure(copy: Path):
    matrix = study.matrix("MSFT", **WHEN)
    spec = catalog.spec("KNeighborsRegressor_3")
    key = trials.key(spec, matrix, Protocol())
    trials.record(Evaluation(key, spec.name, spec.family, spec.task, "MSFT", 5, status="failed", reason="x"), matrix)
    page = FamilyPage("neighbors", "MSFT", matrices=stored.keep(matrix), run_id="a-run")
    assert all(e.ok for e in page.results)


def test_a_page_of_a_run_opens_what_the_run_judged_and_computes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    """The data of live mode moves on while pages are made: neither a provider nor an engine is asked again."""
    kept = stored.keep(study.matrix("MSFT", **WHEN))
    monkeypatch.setattr(study, "matrix", None)
    monkeypatch.setattr(engine, "run", None)
    page = FamilyPage("neighbors", "MSFT", matrices=kept, run_id="a-run")
    assert {(e.status, e.reason) for e in page.results} == {("failed", "this run holds no result of it")}
    assert page.ranking().text.count("this run holds no result of it") == 5


def test_a_page_of_a_panel_has_a_row_for_each_model_and_one_for_each_name_folded(home: Path):
    """Equal shares: the pooled Sharpe ratio is that of the mean of the names' net returns, by hand."""
    panel = study.matrix(["IBM", "MSFT"], **WHEN)
    results = engine.run(catalog.specs("neighbors"), [panel], jobs=1, progress=False)
    page = FamilyPage("neighbors", panel.name, matrices=stored.keep(panel), run_id="a-run")
    assert sorted(e.key for e in page.results) == sorted(e.key for e in results)
    rows = together(page.board, page.results).set_index("name")
    assert len(rows) == 5
    both = [e.forecasts["net"] for e in results if e.model == "KNeighborsRegressor_5"]
    mean = (both[0] + both[1]) / 2
    assert rows.loc["KNeighborsRegressor_5", "sharpe"] == pytest.approx(mean.mean() / mean.std() * np.sqrt(252))
    assert set(rows["ticker"]) == {"2 tickers"}
    assert page.ranking().text.count("<tr data-family") == 15
    assert {f.layout.meta["finding"][:20] for f in page.equity()}


def test_a_page_of_a_target_that_is_proved_by_loss_shows_what_is_saved(home: Path):
    matrix = study.matrix("MSFT", target="volatility", **WHEN)
    engine.run(catalog.specs("neighbors"), [matrix], jobs=1, progress=False)
    page = FamilyPage("neighbors", "MSFT", matrices=stored.keep(matrix), run_id="a-run")
    assert "forecast the volatility of MSFT five sessions ahead?" in page.opening().text
    assert page.answer().startswith("No model beats ")
    assert "Loss saved, %" in page.ranking().text
    assert "None of 5 models is shown to beat" in page.intervals().layout.meta["finding"]
    assert "share of the best baseline" in page.regimes().text


def test_the_best_is_the_first_of_the_leaderboard(page: FamilyPage):
    best = page.best("MSFT")
    assert best is not None
    assert best.model == page.board.rows.iloc[0]["name"]
    assert page.best("IBM") is None


def test_the_opening_asks_and_answers(page: FamilyPage):
    text = page.opening().text
    assert "<h1>Can nearest neighbors forecast MSFT five sessions ahead?</h1>" in text
    assert "SAMPLE" in text
    assert "None of its 5 models shows evidence of skill after costs" in text


def test_a_card_says_which_rows_a_model_learned_from(page: FamilyPage, monkeypatch: pytest.MonkeyPatch):
    first = page.results[0]
    monkeypatch.setattr(page, "results", [replace(first, meta=first.meta | {"policy": "the latest 120 of 835 rows"})])
    assert "Learned in the last fold from the latest 120 of 835 rows of MSFT" in page.cards()._repr_html_()


def test_names_of_the_ranking_lead_to_cards_that_are_there(page: FamilyPage):
    links = set(re.findall(r'href="#([^"]+)"', page.ranking().text))
    assert links == set(re.findall(r'<details id="([^"]+)">', page.cards().text))
    assert len(links) == 5


def test_the_regime_table_adds_up_by_hand(page: FamilyPage):
    """Annual Sharpe ratio of the sessions that followed a day of high volatility, from the forecasts by numpy."""
    best = page.best("MSFT")
    assert best is not None
    net = best.forecasts["net"]
    known = regimes.detect(page.matrices[0].prices).shift(1).loc[net.index, "volatility"]
    high = net[known == "high"]
    expected = high.mean() / high.std(ddof=1) * np.sqrt(252)
    row = page.regimes().text.split(f">{best.model}</td>")[1]
    shown = re.search(r'data-label="high volatility">([^<]+)<', row)
    assert shown is not None
    assert float(shown[1].replace("\N{MINUS SIGN}", "-")) == pytest.approx(expected, abs=0.0051)
    assert f"{len(net)} sessions, by regime known the day before" in page.regimes().text


def test_provenance_names_sources_terms_run_and_head(page: FamilyPage):
    text = page.provenance().text
    assert "package:bokeh_sampledata/_data/stocks.csv.gz" in text
    assert "<code>a-run</code>" in text
    assert str(audit.head()) in text
    assert f"{len(page.matrices[0].unavailable)} features that this data cannot give" in text


def test_figures_have_a_finding_units_and_a_source(page: FamilyPage):
    for figure in (page.intervals(), *page.equity(), *page.forecasts()):
        assert figure.layout.meta["finding"]
        assert figure.layout.xaxis.title.text or figure.layout.yaxis.title.text
        assert any("MSFT, sessions to 2009-12" in a.text for a in figure.layout.annotations)


def test_wealth_is_drawn_on_a_log_scale_beside_holding_the_share(page: FamilyPage):
    (figure,) = page.equity()
    assert figure.layout.yaxis.type == "log"
    assert "buy-and-hold" in [t.name for t in figure.data]


@pytest.mark.parametrize("tickers", ["", " , ", []])
def test_a_page_without_a_ticker_is_refused(tickers: object):
    with pytest.raises(BadInput, match="no ticker was given"):
        FamilyPage("neighbors", tickers)  # type: ignore[arg-type]


def test_an_unknown_family_offers_a_close_one():
    with pytest.raises(UnknownName, match="close: neighbors"):
        FamilyPage("neighbours", "MSFT")


def test_warnings_of_a_fit_are_shown_as_text_on_the_card(page: FamilyPage):
    page.results[0].meta["warnings"] = ["<b>ill-conditioned</b>"]
    assert "Warned: &lt;b&gt;ill-conditioned&lt;/b&gt;" in page.cards().text
