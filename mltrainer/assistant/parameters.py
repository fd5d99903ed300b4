"""What each tool may be asked: typed parameters, of which the text forms are bounded before anything else sees them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Ticker = Annotated[str, Field(pattern=r"^(?:[A-Z]:)?[A-Z][A-Z0-9.\-]{0,14}$", description="a ticker, as MSFT")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,60}$", description="a model of the catalog, by name")]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="a day, YYYY-MM-DD")]
Horizon = Annotated[int, Field(ge=1, le=63, description="sessions ahead")]
Word = Annotated[str, Field(pattern=r"^[a-z:_\-]{1,40}$")]
Many = Annotated[int, Field(ge=1, le=50, description="rows to show")]


class Nothing(BaseModel):
    """No parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Catalog(Nothing):
    """Which models."""

    family: Word | None = None
    many: Many = 15


class Board(Nothing):
    """Which results."""

    ticker: Ticker | None = None
    horizon: Horizon | None = None
    target: Word | None = None
    many: Many = 10


class Trial(Nothing):
    """One model on one ticker."""

    model: Name
    ticker: Ticker = "MSFT"
    horizon: Horizon = 5
    target: Word = "return"
    start: Day | None = None
    end: Day | None = None


class Several(Nothing):
    """Models side by side on one ticker."""

    models: Annotated[list[Name], Field(min_length=2, max_length=6)]
    ticker: Ticker = "MSFT"
    horizon: Horizon = 5
    target: Word = "return"
    start: Day | None = None
    end: Day | None = None


class Cells(Nothing):
    """A ticker whose targets and horizons are asked about."""

    ticker: Ticker = "MSFT"


class Market(Nothing):
    """A ticker as of a day."""

    ticker: Ticker = "MSFT"
    as_of: Day | None = None


class Prices(Nothing):
    """A ticker over a span."""

    ticker: Ticker = "MSFT"
    start: Day | None = None
    end: Day | None = None


class Figure(Prices):
    """A ticker over a span, and which of its figures is asked for."""

    figure: Literal["close", "highest", "lowest", "volatility", "drawdown"] = "close"


class Ahead(Nothing):
    """A forecast: of what, by which model."""

    ticker: Ticker = "MSFT"
    model: Name | None = None
    horizon: Horizon = 5
    target: Word = "return"


class Advice(Nothing):
    """Tickers to be advised on; none means the default universe."""

    tickers: Annotated[list[Ticker], Field(max_length=30)] = []


class Account(Nothing):
    """An account."""

    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,40}$")] = "main"


class Weights(Nothing):
    """How to weigh which tickers."""

    tickers: Annotated[list[Ticker], Field(max_length=30)] = []
    method: Word = "risk-parity"


class Trail(Nothing):
    """What of the audit trail."""

    what: Literal["verify", "recent"] = "verify"
    many: Many = 10


class Term(Nothing):
    """A term, a model or a metric to be explained."""

    term: Annotated[str, Field(min_length=1, max_length=60)]
