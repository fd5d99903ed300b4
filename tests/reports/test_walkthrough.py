"""A walk through a span as a page: what was said, what was held, how it ended; words that are hostile stay text."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltrainer.errors import BadInput
from mltrainer.reports.walkthrough import WalkPage, write


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalkPage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("walk") / "home"))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield WalkPage(["MSFT", "AAPL"], "2007-01-01", "2009-12-31")


def test_the_crisis_is_told_with_how_it_ended(walk: WalkPage):
    heads = [head for head, _ in walk.parts()]
    assert heads[1:4] == ["Quarter by quarter", "The market and its regimes", "What was held"]
    assert "What was recommended" not in heads  # nobody recommended anything
    held, sized = (walk.contest.rows.set_index("method").loc[n] for n in ("buy-and-hold", "equal-weight at 10%"))
    assert f"fell {held['max_drawdown']:.0%} from its peak" in walk.sentence()
    assert sized["max_drawdown"] < held["max_drawdown"]
    assert (walk.start, walk.end) >= ("2007-01-03", "2009-12-31")


def test_quarters_add_up_to_the_span(walk: WalkPage):
    table = walk.quarters()
    assert len(table) == 12
    whole = (1 + walk.contest.returns["buy-and-hold"]).prod()
    assert (1 + table["held"]).prod() == pytest.approx(whole)
    assert table["alerts"].sum() == len(walk.replay.alerts)
    assert table["size"].between(0, 1).all()
    assert table.loc["2008Q4", "size"] < table["size"].median()


def test_the_page_stands_alone_and_takes_in_what_was_recommended(walk: WalkPage):
    walk.recommended = lambda tickers, start, end: f"<p>{len(tickers)} tickers from {start}</p>"
    text = walk.html()
    walk.recommended = lambda tickers, start, end: ""
    assert f"<h2>What was recommended</h2><p>2 tickers from {walk.start}</p>" in text
    assert "SAMPLE" in text
    assert not re.findall(r'(?:src|href)="(?!#)', text.split('id="plotly"')[0])


def test_a_page_needs_a_folder_and_a_span(tmp_path: Path):
    with pytest.raises(BadInput, match="is no folder"):
        write(tmp_path / "nowhere" / "x.html", ["MSFT", "AAPL"], "2007-01-01", "2009-12-31")
    with pytest.raises(BadInput, match="needs a ticker, a start and an end"):
        WalkPage(["MSFT", "AAPL"], None, "2009-12-31")
