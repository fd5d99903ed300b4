"""A kept matrix is the one that was judged, bit by bit, and nothing else is opened in its place."""

from pathlib import Path

import pytest

import mltrainer as mt
from mltrainer import blobstore
from mltrainer.errors import Refused, Tampered, Unavailable
from mltrainer.features import stored

SPAN = {"start": "2005-01-03", "end": "2007-12-31"}


@pytest.mark.parametrize("data", ["MSFT", ["IBM", "MSFT"]], ids=["a ticker", "a panel"])
@pytest.mark.parametrize("target", ["return", "volatility"])
def test_a_matrix_comes_back_as_it_was_without_its_sources(data: object, target: str):
    matrix = mt.matrix(data, target=target, **SPAN)  # type: ignore[arg-type]
    again = stored.opened(stored.keep(matrix))
    assert again.fingerprint() == matrix.fingerprint()
    assert again.provenance == matrix.provenance
    assert (again.unavailable, again.since, again.start) == (matrix.unavailable, matrix.since, "2005-01-03")
    assert again.sources == ()
    assert stored.keep(matrix) == stored.keep(again)  # the same bytes


def test_what_was_never_let_in_is_neither_kept_nor_opened(home: Path):
    matrix = mt.matrix("MSFT", **SPAN)  # type: ignore[arg-type]
    matrix.X.iloc[5, 0] += 1e-9
    with pytest.raises(Refused, match="is not what its provenance was given to"):
        stored.keep(matrix)
    forged = blobstore.put(stored.to_bytes(matrix))
    with pytest.raises(Refused, match="is not what its provenance was given to"):
        stored.opened(forged)


def test_bytes_that_are_no_matrix_are_one_line():
    with pytest.raises(Tampered, match="a kept matrix cannot be read"):
        stored.opened(blobstore.put(b"no matrix"))
    with pytest.raises(Unavailable):
        stored.opened("0" * 64)


def test_the_first_session_is_the_one_asked_for_and_earlier_bars_warm_the_features_up():
    """The sample's OHLCV of MSFT begins on 2000-03-01: there is something before 2005, and nothing before that day."""
    late, whole = mt.matrix("MSFT", **SPAN), mt.matrix("MSFT", start="2000-03-01", end="2007-12-31")
    assert str(late.X.index[0].date()) == "2005-01-03"
    assert late.since < "2004-01-31"
    assert str(whole.X.index[0].date()) > "2001-01-01"
    assert "volume_ratio_63" in late.X  # of OHLCV, though closes reach further back
    early = mt.matrix("MSFT", start="2000-09-01", end="2007-12-31")
    assert early.since == "2000-03-01"
    assert str(early.X.index[0].date()) > "2001-01-01"
