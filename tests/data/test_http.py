"""Whatever a provider or the line does: a whole and valid answer, or one clear line in bounded time."""

from replay.server import Replay

from mltrainer.data import http

BARS = "/v2/aggs/ticker/AAPL/range/1/day/2005-01-03/2006-01-03"


def test_an_answer_is_the_bytes_the_provider_sent_and_is_kept(replay: Replay):
    first = http.get("polygon", BARS)
    again = http.get("polygon", BARS)
    assert (first.cached, again.cached) == (False, True)
    assert again.body == first.body
    assert again.retrieved_at == first.retrieved_at
    assert len(replay.log) == 1
