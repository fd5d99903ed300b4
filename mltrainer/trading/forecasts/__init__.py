"""Forecasts that stand before their outcome: what is said, by whom, how sure, and when it is called wrong.

>>> import mltrainer as mt
>>> mt.forecast("MSFT", target="volatility")               # doctest: +SKIP
>>> mt.forecasts.history()                                 # doctest: +SKIP
>>> mt.forecasts.track()                                   # doctest: +SKIP
"""

from mltrainer.trading.forecasts.inference import forecast
from mltrainer.trading.forecasts.ledger import commit, records
from mltrainer.trading.forecasts.record import Forecast
from mltrainer.trading.forecasts.scoring import history, score
from mltrainer.trading.forecasts.track import track

__all__ = ["Forecast", "commit", "forecast", "history", "records", "score", "track"]
