"""A universe: a list with its day, its caveat and its gaps; what is no ticker never gets further than the list."""

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.data import sample, universes
from mltrainer.errors import BadInput, Partial, Unavailable, UnknownName


def file(folder: Path, text: str | bytes) -> str:
    path = folder / "mine.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_the_sample_has_the_twenty_tickers_of_skfolio_whole():
    found = mt.universe("sample20")
    assert found.tickers == sample.STOCKS
    assert len(found) == 20
    assert set(found.tickers) <= set(universes.SECTORS)


def test_the_dow_has_thirty_members_and_says_that_it_knows_who_survived():
    found = mt.universe("dow")
    assert len(set(found.tickers)) == 30
    # S&P Dow Jones Indices, effective 2024-11-08: NVDA for INTC, SHW for DOW
    assert {"NVDA", "SHW"} <= set(found.tickers)
    assert not {"INTC", "DOW"} & set(found.tickers)
    assert found.as_of == "2024-11-08"
    assert "survived" in found.note


def test_a_file_is_read_with_comments_once_each_in_its_order(tmp_path: Path):
    found = mt.universe(file(tmp_path, "\ufeff# mine\nMSFT\r\nibm  # big blue\n\nBRK.B\nMSFT\n"))
    assert found.tickers == ("MSFT", "IBM", "BRK.B")
    assert found.as_of == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names 0 tickers"),
        ("# only\n", "names 0 tickers"),
        ("MSFT\n../../etc/passwd\n", "line 2"),
        ("MSFT; DROP TABLE x", "line 1"),
        ("MSFT,IBM", "line 1"),
        ("\x1b[2Jboo", "line 1"),
        ("<script>", "line 1"),
        (b"\xff\xfe\x00", "no UTF-8"),
        ("A\n" * 600_000, "longer than"),
        ("\n".join(f"A{n}" for n in range(5001)), "5,001"),
    ],
)
def test_what_is_no_list_of_tickers_is_refused_in_one_line(tmp_path: Path, text: str | bytes, why: str):
    with pytest.raises(BadInput, match=why) as refused:
        mt.universe(file(tmp_path, text))
    assert str(refused.value).isprintable()


@given(st.text(max_size=30))
def test_a_line_is_a_ticker_or_refused(line: str):
    try:
        found = universes._tickers([line], Path("x"))
    except BadInput:
        return
    assert all(universes.TICKER.fullmatch(t) for t in found)


def test_other_names_are_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match="close: sample20"):
        mt.universe("sample2")
    with pytest.raises(BadInput, match="cannot be read"):
        mt.universe(str(tmp_path / "none.txt"))
    with pytest.raises(BadInput, match="cannot be read"):
        mt.universe(f"{tmp_path}/")
    with pytest.raises(BadInput, match="of a day"):
        mt.universe("listed")
    with pytest.raises(BadInput, match="own day"):
        mt.universe("dow", day="2020-01-02")
    with pytest.raises(Unavailable):
        mt.universe("listed", day="2020-01-02")  # the sample has no listings
    with pytest.raises(Unavailable):
        mt.universe("listed@2020-01-02")
    with pytest.raises(BadInput, match="2020-13-02"):
        mt.universe("listed@2020-13-02")


def test_who_is_missing_is_named_and_the_rest_goes_on(tmp_path: Path):
    mine = mt.universe(file(tmp_path, "MSFT\nNOPE\nIBM\n"))
    with pytest.warns(Partial, match="1 of 3 names of mine.txt are left out: NOPE"):
        found = mt.matrix(mine, start="2008-01-02", end="2010-12-31")
    assert found.tickers == ["IBM", "MSFT"]
    assert "NOPE" in found.unavailable["every one of NOPE"]
    none = mt.universe(file(tmp_path, "NOPE\nNADA\n"))
    with pytest.raises(UnknownName, match=r"none of the 2 names of mine.txt can be had: no ticker .* 'NOPE'"):
        mt.matrix(none)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Partial)
        assert mt.matrix(["IBM", "MSFT"], start="2008-01-02", end="2010-12-31").fingerprint() == found.fingerprint()


def test_a_universe_of_which_nothing_is_there_is_an_error(tmp_path: Path):
    with pytest.raises(UnknownName, match="NOPE"):
        mt.matrix(mt.universe(file(tmp_path, "NOPE\nNEVER\n")))


@pytest.mark.slow
def test_a_listing_of_a_day_is_judged_like_any_universe_and_knows_nobody_who_came_later(replay):
    listed = mt.universe("listed@2003-01-02")
    assert "GOOG" not in listed.tickers  # first sold on 2004-08-19
    assert (listed.name, listed.as_of) == ("listed@2003-01-02", "2003-01-02")
    results = mt.evaluate("RidgeRegression", listed, start="2003-01-02", end="2007-12-31")
    assert {e.ticker for e in results if e.ok} <= set(listed.tickers)
    assert sum(e.ok for e in results) >= 2
