"""As of a day before a split, live answers are those of a run on that day, bit for bit, in the shares of that day.

Two real splits of the packaged history: Microsoft 2 for 1 on 2003-02-18, Apple 2 for 1 on 2005-02-28. The provider is
on this machine and its world has a day: on an earlier one it knows no later bar, split or dividend.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from evenings import text
from replay import polygon
from replay.server import Replay

import mltrainer as mt
from mltrainer.data import market
from mltrainer.data.providers import cache
from mltrainer.reports.brief import BriefPage
from mltrainer.trading.alerts import Account, acknowledge, check, history, ledger

NAMES = ["MSFT", "AAPL", "IBM"]
BEFORE, DAY, LATER = "2002-12-02", "2003-01-31", "2005-03-31"
World = Callable[[str], None]
Said = dict[str, str]


@pytest.fixture
def world(day: Callable[[str], None], replay: Replay) -> World:
    """Move to the evening of a day that is long after the last one: what the provider said then is no longer kept."""

    def go(to: str) -> None:
        day(to)
        replay.today = to
        cache.remove([key for key, _, _ in cache.held()])

    return go


def said(as_of: str | None) -> Said:
    """All that the package says as of a day, or now; hashes of what it was made from are not among it."""
    how: dict[str, Any] = {"as_of": as_of, "commit": False}
    now = mt.regimes("MSFT", as_of=as_of, breadth=None)
    book = mt.optimize(NAMES, as_of=as_of, method="risk-parity", constraints=mt.Constraints(upper=0.6))
    made = [mt.forecast("MSFT", target=target, **how).to_dict() | {"inputs": ""} for target in ("return", "volatility")]
    found = {
        "bars": "".join(mt.bars(name, end=as_of).frame.to_csv() for name in NAMES),
        "regimes": now.history.to_csv() + now.sentence(),
        "optimize": f"{book.as_of} {list(map(repr, book.weights))}",
        "forecasts": json.dumps(made, default=str),
        "recommend": json.dumps(mt.recommend(NAMES, **how).to_dict() | {"provenance": ""}, default=str),
        "past recommendations": text(mt.recommendations.history(as_of=as_of).rows),
        "past forecasts": text(mt.forecasts.history(as_of=as_of)),
        "alerts": text(history(as_of=as_of)) + str([a.values for a in ledger.alerts(as_of=as_of)]),
        "portfolio": text(mt.portfolio.value(as_of=as_of, benchmark="MSFT").positions),
    }
    page = BriefPage(",".join(NAMES), **how)
    parts = "opening regime forecastable sizes recommendations past portfolio alerts quality".split()
    return found | {f"brief: {part}": text(getattr(page, part)()) for part in parts}


def watch(as_of: str | None = None) -> None:
    check("MSFT", accounts=[Account(stop=0.01, worst=0.01)], as_of=as_of, send=False)


def traded(ticker: str, session: str) -> float:
    """The close of a session as it was printed on that day."""
    return float(polygon.history(ticker).loc[session, "c"])


@pytest.mark.slow
def test_before_a_split_everything_is_what_a_run_on_that_day_said_in_the_shares_of_that_day(world: World):
    world(BEFORE)
    mt.portfolio.record("deposit", BEFORE, cash=100_000)
    mt.portfolio.record("buy", BEFORE, ticker="MSFT", quantity=1_000, price=traded("MSFT", BEFORE))
    mt.recommend(NAMES)
    mt.forecast("MSFT", target="volatility")
    watch()
    world(DAY)
    watch()
    then = said(None)
    assert history()["kind"].eq("stop_loss").any()

    world(LATER)
    mt.portfolio.record("split", "2003-02-18", ticker="MSFT", ratio=2)
    mt.recommend(NAMES)
    mt.forecast("MSFT", target="volatility")
    watch()
    acknowledge(history("new", as_of=DAY)["id"].iloc[0])
    now = said(DAY)
    assert {part for part in then if then[part] != now[part]} == set()
    assert mt.recommendations.history().rows["state"].tolist()[:3] == ["over"] * 3

    rows = mt.recommend(NAMES, as_of=DAY, commit=False).rows.set_index("ticker")
    for name, price in {"MSFT": 47.46, "AAPL": 14.36}.items():  # as printed, by hand from the packaged file
        assert traded(name, DAY) == rows.loc[name, "entry"] == price
        assert rows.loc[name, "stop"] < price < rows.loc[name, "target"]
        assert mt.bars(name).frame.loc[DAY, "close"] < price / 2 + 1e-9  # what it is of the shares of now
    # bars that know what came later are asked for again and not cut
    whole = mt.bars("MSFT")
    assert market.until(whole, DAY).frame.equals(mt.bars("MSFT", end=DAY).frame)
    given = mt.recommend([mt.bars(n) for n in NAMES], as_of=DAY, commit=False)
    assert json.loads(json.dumps(given.to_dict()["rows"])) == json.loads(then["recommend"])["rows"]
    assert mt.regimes(whole, as_of=DAY).history.to_csv() + mt.regimes(whole, as_of=DAY).sentence() == then["regimes"]
