"""A walk through a span as a page: what was said, what was held, how it ended; words that are hostile stay text."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.reports.recommended import by_quarter, section
from mltrainer.reports.walkthrough import WalkPage, write


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalkPage]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("walk") / "home"))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield WalkPage(["MSFT", "AAPL"], "2007-01-01", "2009-12-31")


@pytest.mark.slow
def test_the_crisis_is_told_with_how_it_ended(walk: WalkPage):
    heads = [head for head, _ in walk.parts()]
    assert heads[1:4] == ["Quarter by quarter", "The market and its regimes", "What was held"]
    assert "What was recommended" in heads
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
    true, walk.recommended = walk.recommended, lambda tickers, start, end: f"<p>{len(tickers)} tickers from {start}</p>"
    text = walk.html()
    walk.recommended = true
    assert f"<h2>What was recommended</h2><p>2 tickers from {walk.start}</p>" in text
    assert "SAMPLE" in text
    assert not re.findall(r'(?:src|href)="(?!#)', text.split('id="plotly"')[0])


def test_what_was_recommended_is_told_with_how_it_ended_and_is_what_a_replay_says():
    found = mt.recommendations.replay("2008-08-01", "2008-12-31", ["MSFT", "AAPL"], every=21, horizon=21)
    text = section(["MSFT", "AAPL"], "2008-08-01", "2008-12-31")
    held = found.rows.groupby("as_of")["size"].sum()
    assert f"On {len(held)} days it said how much to hold, and no model was shown to know which way" in text
    assert f"the least, {held.min():.0%}, on {held.idxmin()}" in text
    wealth = found.wealth["sized"].loc[:"2008-12-31"]  # and not of January, in which the last claims are judged
    assert wealth.index[-1] < found.wealth.index[-1]
    lost = (1 - wealth / wealth.cummax()).max()
    assert f"to 2008-12-31 ended {wealth.iloc[-1] - 1:+.0%} and fell {lost:.0%}" in text
    assert f"All that was said on {held.idxmin()}" in text
    inside = found.rates.loc["inside"]
    assert f"{100 * inside['rate']:.0f}" in text
    table = by_quarter(found)
    assert table.count("2008Q3") == table.count("2008Q4") == 1


def test_a_page_needs_a_folder_and_a_span(tmp_path: Path):
    with pytest.raises(BadInput, match="is no folder"):
        write(tmp_path / "nowhere" / "x.html", ["MSFT", "AAPL"], "2007-01-01", "2009-12-31")
    with pytest.raises(BadInput, match="needs a ticker, a start and an end"):
        WalkPage(["MSFT", "AAPL"], None, "2009-12-31")
