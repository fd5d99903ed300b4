"""Universes: named lists of tickers, each with the day it is true of and who is missing from it."""

import re
from dataclasses import dataclass
from pathlib import Path

from mltrainer.data import market, sample
from mltrainer.data.dates import Day, day
from mltrainer.errors import BadInput, Unavailable, UnknownName
from mltrainer.settings import settings

TICKER = re.compile(r"(?:[A-Z]:)?[A-Z][A-Z0-9.\-]{0,14}")  # an index or a pair of the provider has a letter before it
MOST_BYTES = 1_000_000
MOST_TICKERS = 5_000


@dataclass(frozen=True)
class Universe:
    """A list of tickers that is asked about as one, and what has to be known of how it was chosen.

    Attributes
    ----------
    name : as `universe` takes it.
    tickers : in the order of the list, each once.
    as_of : the day whose members these are, YYYY-MM-DD; "" where the list does not say.
    note : where the list is from, and what its choice knows of the future.
    start : first session that is used where none is asked for, YYYY-MM-DD; "" is all there is.
    """

    name: str
    tickers: tuple[str, ...]
    as_of: str
    note: str
    start: str = ""

    def __len__(self) -> int:
        return len(self.tickers)

    def __repr__(self) -> str:
        """Say what it is in one line."""
        on = f" as of {self.as_of}" if self.as_of else ""
        return f"Universe({self.name}: {len(self)} tickers{on}; {self.note})"


SURVIVED = "a choice made that day knows who survived until then, so results of earlier years flatter"
DOW = (
    "AAPL AMGN AMZN AXP BA CAT CRM CSCO CVX DIS GS HD HON IBM JNJ JPM KO MCD MMM MRK MSFT NKE NVDA PG SHW TRV UNH V VZ "
    "WMT"
).split()

UNIVERSES = {
    u.name: u
    for u in (
        Universe(
            "sample20",
            sample.STOCKS,
            "2022-12-28",
            f"the twenty members of the S&P 500 whose closes skfolio packages, whole from 1990 to 2022; {SURVIVED}",
            start="1990-01-02",
        ),
        Universe(
            "dow",
            tuple(DOW),
            "2024-11-08",
            f"the Dow Jones Industrial Average since Nvidia and Sherwin-Williams came in; {SURVIVED}",
        ),
    )
}

# GICS sectors (MSCI and S&P) of the packaged shares: the same over all their sessions since the standard of 1999.
SECTORS = {
    ticker: sector
    for sector, tickers in {
        "Consumer Discretionary": "BBY HD",
        "Consumer Staples": "KO PEP PG WMT",
        "Energy": "CVX RRC XOM",
        "Financials": "BAC JPM",
        "Health Care": "JNJ LLY MRK PFE UNH",
        "Industrials": "GE",
        "Information Technology": "AAPL AMD IBM MSFT",
    }.items()
    for ticker in tickers.split()
}


def universe(name: str, *, day: Day = None) -> Universe:
    """One universe: a row of `UNIVERSES`, a text file, or what was listed on a day.

    Parameters
    ----------
    name : "sample20", "dow"; "listed" (live only: every share listed on `day`, or as "listed@2020-01-02"); or the path
        of a text file (it ends in .txt or holds a slash) with one ticker a line, where # begins a comment.
    day : for "listed" only.

    Raises
    ------
    UnknownName
        No such universe.
    BadInput
        A file that cannot be read, or a line of it that is no ticker.
    """
    text = str(name)
    if text.partition("@")[0] == "listed":
        return _listed(day or text.partition("@")[2] or None)
    if day is not None:
        raise BadInput(f"day chooses a listing, and {text[:60]!r} has its own day; leave it out, or name 'listed'")
    if text in UNIVERSES:
        return UNIVERSES[text]
    if text.endswith(".txt") or "/" in text or "\\" in text:
        return _of_file(Path(text))
    raise UnknownName.of("universe", text, [*UNIVERSES, "listed"])


def universes() -> list[Universe]:
    """Every universe that has a name of its own."""
    return list(UNIVERSES.values())


def _listed(on: Day) -> Universe:
    found = day(on, "day")
    if found is None:
        raise BadInput("a listing is of a day, or it knows who survived until now; give day, or listed@2020-01-02")
    if settings().data_mode == "sample":
        raise Unavailable("mode sample holds no listings; set POLYGON_API_KEY for live data, or take sample20")
    note = "every share listed on that day, those that failed later among them; what came to market later is not there"
    return Universe(f"listed@{found.date()}", tuple(market.tickers(day=found)), str(found.date()), note)


def _of_file(path: Path) -> Universe:
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        lines = body.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise BadInput(f"universe {str(path)[:80]!r} cannot be read: {error.strerror or 'no such file'}") from None
    except ValueError:
        raise BadInput(f"universe {str(path)[:80]!r} is no UTF-8 text; write one ticker a line") from None
    if len(body) > MOST_BYTES:
        raise BadInput(f"universe {str(path)[:80]!r} is longer than {MOST_BYTES:,} bytes; write one ticker a line")
    tickers = _tickers(lines, path)
    note = "a list of your own; whether its names were known to survive when it was chosen, you have to say"
    return Universe(path.name, tickers, "", note)


def _tickers(lines: list[str], path: Path) -> tuple[str, ...]:
    words = {number: line.partition("#")[0].strip().upper() for number, line in enumerate(lines, 1)}
    for number, word in words.items():
        if word and not TICKER.fullmatch(word):
            raise BadInput(f"line {number} of universe {str(path)[:80]!r} is no ticker: {word[:40]!a}; one a line")
    tickers = tuple(dict.fromkeys(word for word in words.values() if word))
    if not 0 < len(tickers) <= MOST_TICKERS:
        raise BadInput(f"universe {str(path)[:80]!r} names {len(tickers):,} tickers; give 1 to {MOST_TICKERS:,}")
    return tickers
