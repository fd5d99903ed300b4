"""Alerts: what happened that somebody wanted to know of, said once, with what it rests on; and was it right before?

>>> import mltrainer as mt
>>> mt.alerts.check("MSFT")                                # doctest: +SKIP
>>> mt.alerts.replay(["MSFT", "IBM"]).rates                # doctest: +SKIP
"""

from mltrainer.trading.alerts.checking import Checked, check
from mltrainer.trading.alerts.holding import Account
from mltrainer.trading.alerts.kinds import KINDS, AlertKind
from mltrainer.trading.alerts.ledger import Alert, acknowledge, history
from mltrainer.trading.alerts.replay import Replay, replay
from mltrainer.trading.alerts.watching import Book, Position, signals

__all__ = [
    "KINDS",
    "Account",
    "Alert",
    "AlertKind",
    "Book",
    "Checked",
    "Position",
    "Replay",
    "acknowledge",
    "check",
    "history",
    "replay",
    "signals",
]
