"""Macroeconomic series as rows: what each measures, how it compares over time, and when it is known."""

import re
from dataclasses import dataclass

from mltrainer.errors import BadInput


@dataclass(frozen=True)
class Series:
    """One series: what it measures, how it is compared over time, and when it is known.

    Attributes
    ----------
    frequency : d, w, m or q.
    transform : FRED's units code that makes it comparable over time, a key of `UNITS`.
    lag_days : calendar days from the first day of a period to the day its value may be used, where no vintage says it.
    revised : whether values change after they were published, so that vintages are asked for.
    delay : days from a vintage to its use; 1 where the release comes after the close of New York.
    rights : whose it is, where it is a third party's.
    """

    id: str
    text: str
    unit: str
    frequency: str
    transform: str
    lag_days: int
    revised: bool
    delay: int = 0
    rights: str = ""


MOODYS = "contains yields of Moody's, all rights reserved"
PERCENT = "percent a year"
# Longest usual wait, rounded up: GDP comes 114 to 122 days after its quarter began (129 to 150 after a shutdown of
# the government), payrolls 34 to 41 days after their month began, prices and production 41 to 50. Market rates are
# known on their evening; the effective funds rate on the next business day, which a long weekend puts four days off.
SERIES: dict[str, Series] = {
    row.id: row
    for row in (
        Series("GDP", "gross domestic product", "billions of dollars, annual rate", "q", "pca", 150, True),
        Series("GDPC1", "real GDP", "billions of chained 2017 dollars, annual rate", "q", "pca", 150, True),
        Series("UNRATE", "unemployment rate", "percent", "m", "ch1", 45, True),
        Series("PAYEMS", "nonfarm payrolls", "thousands of persons", "m", "pc1", 45, True),
        Series("ICSA", "initial claims, week to Saturday", "claims a week", "w", "log", 7, True),
        Series("CPIAUCSL", "consumer prices", "index, 1982-84 = 100", "m", "pc1", 60, True),
        Series("CPILFESL", "consumer prices without food and energy", "index, 1982-84 = 100", "m", "pc1", 60, True),
        Series("PCEPILFE", "core PCE prices", "index, 2017 = 100", "m", "pc1", 75, True),
        Series("INDPRO", "industrial production", "index, 2017 = 100", "m", "pc1", 60, True),
        Series("HOUST", "housing starts", "thousands of units, annual rate", "m", "pc1", 60, True),
        Series(
            "UMCSENT", "consumer sentiment", "index, 1966Q1 = 100", "m", "lin", 65, True, 0, "University of Michigan"
        ),
        Series("M2SL", "money stock M2", "billions of dollars", "m", "pc1", 75, True, 1),
        Series("FEDFUNDS", "federal funds rate, month's mean", PERCENT, "m", "ch1", 40, False),
        Series("TB3MS", "3-month Treasury bill, month's mean", PERCENT, "m", "ch1", 40, False),
        Series("DFF", "effective federal funds rate", PERCENT, "d", "lin", 5, False),
        Series("DGS3MO", "3-month Treasury yield", PERCENT, "d", "lin", 1, False),
        Series("DGS2", "2-year Treasury yield", PERCENT, "d", "lin", 1, False),
        Series("DGS10", "10-year Treasury yield", PERCENT, "d", "lin", 1, False),
        Series("T10Y2Y", "10-year less 2-year Treasury yield", "percentage points", "d", "lin", 1, False),
        Series("T10Y3M", "10-year less 3-month Treasury yield", "percentage points", "d", "lin", 1, False),
        Series("T10YIE", "10-year breakeven inflation", PERCENT, "d", "lin", 1, False),
        Series("BAA10Y", "Baa bonds less 10-year yield", "percentage points", "d", "lin", 1, False, 0, MOODYS),
        Series("AAA10Y", "Aaa bonds less 10-year yield", "percentage points", "d", "lin", 1, False, 0, MOODYS),
        Series("VIXCLS", "VIX close", PERCENT, "d", "lin", 1, False, 0, "Cboe, copyright"),
        Series("SP500", "S&P 500 close, ten years only", "points", "d", "log", 1, False, 0, "S&P Dow Jones, copyright"),
    )
}

# What the matrix asks for in mode live: the first choice of each row of features.macro.
CONTEXT = tuple(
    "CPILFESL CPIAUCSL UNRATE GDPC1 GDP TB3MS FEDFUNDS VIXCLS DGS10 T10Y2Y T10Y3M T10YIE BAA10Y PAYEMS INDPRO".split()
)

UNITS = {
    "lin": "as published",
    "chg": "change",
    "ch1": "change in a year",
    "pch": "percent change",
    "pc1": "percent change in a year",
    "pca": "percent change, compounded to a year",
    "cch": "log change in percent",
    "cca": "log change in percent, times the periods of a year",
    "log": "natural logarithm",
}
AGGREGATIONS = ("avg", "sum", "eop")
LENGTH = {"d": 1, "w": 7, "bw": 14, "m": 31, "q": 92, "sa": 184, "a": 366}  # days of a period, at most
LENGTH |= dict.fromkeys(("wem", "wetu", "wew", "weth", "wef", "wesa", "wesu"), 7)
OUTPUTS = {1: "every vintage", 2: "every vintage, whole", 3: "every vintage, what changed", 4: "first release only"}


def identifier(name: object) -> str:
    """A series id as FRED writes it; anything else is `BadInput` and is not sent."""
    text = str(name).upper()
    if not isinstance(name, str) or not re.fullmatch(r"[A-Z0-9][A-Z0-9_]{0,49}", text):
        raise BadInput(f"{short(name)} is no series id; FRED writes them in letters and digits, like GDPC1")
    return text


def short(value: object) -> str:
    """The value in at most 60 characters of one line, for a message."""
    text = " ".join(repr(value)[:80].split())
    return text if len(text) <= 60 else f"{text[:57]}..."
