"""As of a day T every answer is, bit for bit, what a run at T said: later bars, entries and checks change nothing."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from evenings import text

import mltrainer as mt
from mltrainer.data import market
from mltrainer.reports.brief import BriefPage
from mltrainer.trading.alerts import Account, acknowledge, check, history, ledger
from mltrainer.trust.provenance import Dataset

NAMES = ["MSFT", "IBM", "AAPL"]
BEFORE, DAY, LATER = "2008-09-15", "2008-10-15", "2009-06-30"
World = Callable[[str | None], None]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Let the packaged history end on a day, or with None on its own: bars by session, macro by what was published."""
    bars, macro, context = market.bars, market.macro, market.context

    def end(day: str | None) -> None:
        last = day or "2100-01-01"

        def until(ticker: str, *, end: Any = None, **how: Any) -> Dataset:
            asked = last[:10] if end is None or str(pd.Timestamp(end).date()) > last else end
            return bars(ticker, end=asked if day else end, **how)

        def known(found: Dataset) -> Dataset:
            if not day or "available" not in found.frame or (found.frame["available"] <= last).all():
                return found if found.kind != "bars" or not day else until(found.name)
            frame = found.frame[found.frame["available"] <= last]
            return found.window(None, frame.index[-1])

        def begun(found: Dataset) -> bool:
            return "available" not in found.frame or str(found.frame["available"].min().date()) <= last

        monkeypatch.setattr(market, "bars", until)
        monkeypatch.setattr(market, "macro", lambda *a, **k: known(macro(*a, **k)))
        monkeypatch.setattr(market, "context", lambda d: [known(c) for c in context(d) if begun(c)])

    return end


def said(as_of: str | None) -> dict[str, str]:
    """All that the package says as of a day, or now; hashes of what it was made from are not among it."""
    now = mt.regimes("MSFT", as_of=as_of)
    book = mt.optimize(NAMES, as_of=as_of, method="risk-parity", constraints=mt.Constraints(upper=0.6))
    found = {
        "regimes": now.history.to_csv() + now.sentence(),
        "optimize": f"{book.as_of} {list(map(repr, book.weights))}",
    }
    for target in ("return", "volatility"):
        made = mt.forecast("IBM", target=target, as_of=as_of, commit=False).to_dict()
        found[f"forecast {target}"] = json.dumps(made | {"inputs": ""}, default=str)
    recommended = mt.recommend(NAMES, as_of=as_of, commit=False).to_dict()
    found["recommend"] = json.dumps(recommended | {"provenance": ""}, default=str)
    found["past recommendations"] = text(mt.recommendations.history(as_of=as_of).rows)
    found["past forecasts"] = text(mt.forecasts.history(as_of=as_of))
    found["alerts"] = text(history(as_of=as_of)) + str([a.values for a in ledger.alerts(as_of=as_of)])  # noqa: PD011
    found["portfolio"] = text(mt.portfolio.value(as_of=as_of).positions)
    page = BriefPage(",".join(NAMES), as_of=as_of, commit=False)
    parts = "opening regime forecastable sizes recommendations past portfolio alerts quality".split()
    return found | {f"brief: {part}": text(getattr(page, part)()) for part in parts}


def watch(day: str) -> None:
    check("MSFT", accounts=[Account(worst=0.1)], as_of=day, send=False)


@pytest.mark.slow
def test_as_of_a_day_everything_is_what_a_run_on_that_day_said(world: World):
    mt.portfolio.record("deposit", "2008-08-01", cash=100_000)
    mt.portfolio.record("buy", "2008-08-01", ticker="MSFT", quantity=1_000, price=24.0)
    world(BEFORE)
    mt.recommend(NAMES)
    mt.forecast("IBM", target="volatility")
    watch(BEFORE)
    world(DAY)
    watch(DAY)
    then = said(None)
    assert history()["state"].eq("new").any()

    world(None)
    mt.portfolio.record("sell", "2008-11-03", ticker="MSFT", quantity=1_000, price=20.0)
    mt.recommend(NAMES, as_of=LATER)
    mt.forecast("IBM", target="volatility", as_of=LATER)
    watch(LATER)
    acknowledge(history("new", as_of=DAY)["id"].iloc[0])
    assert history(as_of=DAY).shape[0] < history().shape[0]
    assert history()["state"].ne(history(as_of=DAY)["state"].reindex(history().index)).any()
    now = said(DAY)
    assert {part for part in then if then[part] != now[part]} == set()
    assert history(as_of="2008-07-31").empty


def test_the_brief_of_an_old_day_shows_an_alert_that_is_over_by_now_as_it_stood():
    mt.portfolio.record("deposit", "2008-08-01", cash=100_000)
    mt.portfolio.record("buy", "2008-08-01", ticker="MSFT", quantity=1_000, price=24.0)
    mt.portfolio.record("sell", "2008-11-03", ticker="MSFT", quantity=1_000, price=20.0)
    for day in (DAY, LATER):
        check(accounts=["main"], as_of=day, send=False)
    touched = history("resolved")
    assert "stop_loss" in set(touched["kind"])
    page = BriefPage("MSFT", as_of=DAY, commit=False).alerts().text
    assert "at or below the stop" in page
    assert "resolved" not in page
    assert "at or below the stop" not in BriefPage("MSFT", as_of=LATER, commit=False).alerts().text
