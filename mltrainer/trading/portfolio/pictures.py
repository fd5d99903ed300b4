"""Portfolios side by side: figures of merit, who carries the risk, the frontier, growth against the fall."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mltrainer import views
from mltrainer.errors import BadInput
from mltrainer.metrics import SESSIONS
from mltrainer.trading.portfolio import kelly as growth
from mltrainer.trading.portfolio.optimize import efficient_frontier
from mltrainer.trading.portfolio.records import Allocation

HELD = ["equal-weight at 10%", "equal-weight", "buy-and-hold"]


def beside(books: Mapping[str, Allocation]) -> pd.DataFrame:
    """A row for each book: expected return and volatility a year, tails of a session, cash, largest weight, names held.

    Returns
    -------
    (k, 8) by name: expected_return, volatility (annual fractions), value_at_risk, expected_shortfall (5 %, a session),
    cash, largest, names, status.
    """
    rows = {
        name: {
            "expected_return": b.expected_return * SESSIONS,
            "volatility": b.volatility * SESSIONS**0.5,
            "value_at_risk": b.value_at_risk,
            "expected_shortfall": b.expected_shortfall,
            "cash": b.cash,
            "largest": float(b.weights.max()),
            "names": int((b.weights.abs() > 5e-4).sum()),
            "status": b.status,
        }
        for name, b in _some(books).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def contributions(books: Mapping[str, Allocation]) -> Any:
    """Figure of who carries the risk of each book."""
    shares = pd.DataFrame({name: b.risk_contributions for name, b in _some(books).items()})
    most = shares.max()
    title = f"One name carries {most.min():.0%} of the risk in {most.idxmin()}, {most.max():.0%} in {most.idxmax()}"
    return views.contributions(shares, title, _corner(books))


def frontier(data: Any, books: Mapping[str, Allocation], **how: Any) -> Any:
    """Figure of the efficient frontier of the same names, and where the books lie; `how` as `efficient_frontier`."""
    table = efficient_frontier(data, **how)[["volatility", "expected_return"]] * [SESSIONS**0.5, SESSIONS]
    found = beside(books)
    places = {str(n): (float(r["volatility"]), float(r["expected_return"])) for n, r in found.iterrows()}
    least = table["volatility"].iloc[0]
    title = (
        f"No book of these names should have a volatility below {least:.1%} a year; returns are a prior, not a forecast"
    )
    return views.frontier(table, places, title, _corner(books))


def kelly(book: Allocation) -> Any:
    """Figure of growth against the fall on the way, where a book is held at a fraction of Kelly."""
    return growth.picture(book.expected_return, book.volatility, name=f"{book.method}, {_corner({'': book})}")


def _some(books: Mapping[str, Allocation]) -> Mapping[str, Allocation]:
    if not books:
        raise BadInput("no book was given; make one by mt.optimize(...)")
    return books


def _corner(books: Mapping[str, Allocation]) -> str:
    first = next(iter(_some(books).values()))
    return f"{first.mode} data, as of {first.as_of}" if first.as_of else "given numbers, origin unproven"
