"""Recommendations: how much of what to hold, which way only where a model is known to know, and how it ended before.

>>> import mltrainer as mt
>>> mt.recommend(["MSFT", "IBM"]).sentence()                                              # doctest: +SKIP
>>> mt.recommendations.replay("2007-01-03", "2009-12-31").sentence()                      # doctest: +SKIP
"""

from mltrainer.trading.recommendations.asking import history, recommend, replay
from mltrainer.trading.recommendations.outcomes import History
from mltrainer.trading.recommendations.records import Recommendations

__all__ = ["History", "Recommendations", "history", "recommend", "replay"]
