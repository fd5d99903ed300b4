"""What is held, what it cost and what it earned: an append-only ledger, in which corrections are entries.

>>> import mltrainer as mt
>>> mt.portfolio.record("deposit", "2010-01-04", cash=10_000)                           # doctest: +SKIP
>>> mt.portfolio.record("buy", "2010-01-05", ticker="MSFT", quantity=100, price=25.1)   # doctest: +SKIP
>>> mt.portfolio.value()                                                                # doctest: +SKIP
"""

from mltrainer.trading.positions.accounts import KINDS, Entry, State, money_weighted, rebalance, time_weighted, walk
from mltrainer.trading.positions.ledger import correct, entries, record
from mltrainer.trading.positions.sheet import export_csv, import_csv
from mltrainer.trading.positions.value import Valuation, value, what_if

__all__ = [
    "KINDS",
    "Entry",
    "State",
    "Valuation",
    "correct",
    "entries",
    "export_csv",
    "import_csv",
    "money_weighted",
    "rebalance",
    "record",
    "time_weighted",
    "value",
    "walk",
    "what_if",
]
