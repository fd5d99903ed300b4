"""The packaged history is what it says it is: columns, spans, splits, publication lags, and other people's numbers."""

import json
from collections.abc import Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mltrainer.data import market, sample
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import Dataset

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures"
OHLCV = ["open", "high", "low", "close", "volume"]
SPANS = {
    "MSFT": ("2000-03-01", "2013-03-01", 3270),
    "AAPL": ("2000-03-01", "2013-03-01", 3270),
    "IBM": ("2000-03-01", "2013-03-01", 3270),
    "GOOG": ("2004-08-19", "2013-03-01", 2148),  # the day it was first sold
    "FB": ("2012-05-18", "2013-03-01", 196),
    "SPX": ("1999-01-04", "2018-12-31", 5031),
    "COMP": ("1999-01-04", "2018-12-31", 5031),
}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Dataset]]:
    """Every packaged series by name (OHLCV before close-only), admitted once in a home of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("sample")))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield {entry.name: entry.load() for entry in reversed((*sample.BARS, *sample.MACRO))}


def other(*parts: str) -> Path:
    """A fixture that lies beside the project; the check is skipped where it does not."""
    path = FIXTURES.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not on this machine")
    return path


def returns(close: "pd.Series[float]") -> "pd.Series[float]":
    return close.pct_change().dropna()


@pytest.mark.parametrize("ticker", SPANS)
def test_bars_have_the_stated_columns_and_span(held, ticker):
    frame = held[ticker].frame
    first, last, rows = SPANS[ticker]
    assert list(frame.columns) == OHLCV
    assert (str(frame.index[0].date()), str(frame.index[-1].date()), len(frame)) == (first, last, rows)
    assert frame.index.name == "session"
    assert frame.index.tz is None
    assert frame.index.is_monotonic_increasing
    assert frame.index.is_unique
    assert frame.dtypes.eq(float).all()
    assert not frame.isna().any().any()


@pytest.mark.parametrize("ticker", SPANS)
def test_a_days_range_holds_its_open_and_its_close(held, ticker):
    frame = held[ticker].frame
    slack = 1e-9 * frame["close"]
    assert (frame["low"] - slack <= frame[["open", "close"]].min(axis=1)).all()
    assert (frame["high"] + slack >= frame[["open", "close"]].max(axis=1)).all()
    assert (frame[["open", "high", "low", "close"]] > 0).all().all()
    assert (frame["volume"] >= 0).all()


@pytest.mark.parametrize("ticker", SPANS)
def test_no_session_lies_on_a_weekend(held, ticker):
    assert held[ticker].frame.index.dayofweek.max() <= 4


@pytest.mark.parametrize(
    ("ticker", "day", "change"),
    [
        # raw closes of the file: 101.25 -> 55.63, 88.99 -> 44.86, 48.30 -> 24.96; doubled they rose
        ("AAPL", "2000-06-21", 2 * 55.63 / 101.25 - 1),
        ("AAPL", "2005-02-28", 2 * 44.86 / 88.99 - 1),
        ("MSFT", "2003-02-18", 2 * 24.96 / 48.30 - 1),
    ],
)
def test_a_split_two_for_one_is_no_crash(held, ticker, day, change):
    frame = held[ticker].frame
    assert frame["close"].pct_change()[day] == pytest.approx(change, abs=1e-12)
    gap = frame["open"] / frame["close"].shift(1) - 1
    assert abs(gap[day]) < 0.03


@pytest.mark.parametrize(
    ("ticker", "day", "volume"),
    [
        ("AAPL", "2000-06-20", 4 * 4_476_700),  # two splits follow
        ("AAPL", "2000-06-21", 2 * 4_375_000),
        ("AAPL", "2005-02-25", 2 * 16_348_400),
        ("AAPL", "2005-02-28", 11_635_900),
        ("MSFT", "2003-02-14", 2 * 45_223_200),
        ("MSFT", "2003-02-18", 28_707_750),
        ("MSFT", "2004-11-12", None),  # the special dividend of 3 dollars went ex on the 15th: no split
    ],
)
def test_volume_is_adjusted_for_splits_and_for_no_dividend(held, ticker, day, volume):
    if volume is None:
        raw = sample._table(files("bokeh_sampledata").joinpath("_data/stocks.csv.gz").read_bytes())
        volume = raw[(raw["Ticker"] == ticker) & (raw["Date"] == day)]["Volume"].iloc[0]
    assert held[ticker].frame["volume"][day] == volume


@pytest.mark.parametrize("name", sample.STOCKS)
def test_close_only_series_have_exactly_one_column_over_three_decades(name):
    entry = next(e for e in sample.BARS if e.name == name and e.path == sample.CLOSE_FILE)
    frame = entry.parse(files(entry.package).joinpath(entry.path).read_bytes())
    assert list(frame.columns) == ["close"]
    assert (str(frame.index[0].date()), str(frame.index[-1].date())) == ("1990-01-02", "2022-12-28")
    assert (frame["close"] > 0).all()


# --- macro: when a number was known ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("series", "period", "value", "available"),
    [
        ("CPILFESL", "2018-11-01", 259.481, "2018-12-31"),  # 60 days after the month began
        ("VIXCLS", "2014-01-03", 13.76, "2014-01-04"),  # the next day
        ("realgdp", "2009-07-01", 12990.341, "2009-12-31"),  # a quarter after the third quarter ended
        ("unemp", "2009-07-01", 9.6, "2009-12-31"),
        ("tbilrate", "1959-01-01", 2.82, "1959-06-30"),
        ("infl", "1959-04-01", 2.34, "1959-09-30"),
        ("cpi", "1959-01-01", 28.98, "1959-06-30"),
    ],
)
def test_an_observation_is_usable_on_the_documented_day(held, series, period, value, available):
    row = held[series].frame.loc[period]
    assert row["value"] == value
    assert row["available"] == pd.Timestamp(available)


@pytest.mark.parametrize(("series", "least", "most"), [("CPILFESL", 60, 60), ("VIXCLS", 1, 1), ("realgdp", 180, 184)])
def test_the_lag_holds_for_every_observation(held, series, least, most):
    frame = held[series].frame
    days = (frame["available"] - frame.index).dt.days
    assert (days.min(), days.max()) >= (least, least)
    assert days.max() <= most


@pytest.mark.parametrize(
    ("series", "period", "published"),
    [
        ("CPILFESL", "2018-11-01", "2018-12-12"),  # BLS release day
        ("realgdp", "2009-07-01", "2009-12-22"),  # BEA, third estimate
    ],
)
def test_no_observation_is_usable_before_it_was_published(held, series, period, published):
    assert held[series].frame["available"][period] >= pd.Timestamp(published)


# --- provenance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [*sample.BARS[::5], *sample.MACRO], ids=lambda e: f"{e.name}-{e.package}")
def test_provenance_is_registered_and_names_the_packaged_file(entry):
    dataset = entry.load()
    body = files(entry.package).joinpath(entry.path).read_bytes()
    provenance = gate.verify(dataset, "test")
    assert provenance == dataset.provenance
    assert provenance.body_sha256 == sha256(body).hexdigest()
    assert provenance.body_sha256 in gate.PINS
    assert gate.PINS[provenance.body_sha256].endswith(entry.path)
    assert provenance.content_sha256 == dataset.fingerprint()
    assert (provenance.source, provenance.mode, provenance.kind) == ("sample", "sample", entry.kind)
    assert provenance.endpoint == f"package:{entry.package}/{entry.path}"
    admits = [e.payload["content"] for e in audit.entries(kind="admit")]
    assert admits == [provenance.content_sha256]


def test_loading_twice_gives_the_same_content_and_one_entry():
    entry = sample.MACRO[0]
    assert entry.load().fingerprint() == entry.load().fingerprint()
    assert len(audit.entries(kind="admit")) == 1


def test_a_name_appears_once_per_kind_of_history():
    rows = [(e.name, e.path) for e in (*sample.BARS, *sample.MACRO)]
    assert len(set(rows)) == len(rows)


# --- other people's numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("ticker", "later_splits"), [("AAPL", 7), ("MSFT", 1)])
def test_bars_agree_with_the_adjusted_columns_of_the_wiki_export(held, ticker, later_splits):
    wiki = pd.read_csv(other("ohlcv", "wiki_public_domain", f"WIKI-{ticker}.csv"), index_col=0, parse_dates=True)
    frame = held[ticker].frame
    wiki = wiki.reindex(frame.index)
    np.testing.assert_allclose(returns(frame["close"]), returns(wiki["Adj. Close"]), atol=1e-9)
    for column in ("open", "high", "low"):
        theirs = wiki[f"Adj. {column.title()}"] / wiki["Adj. Close"]
        np.testing.assert_allclose(frame[column] / frame["close"], theirs, rtol=1e-9)
    # AAPL was split 7:1 in 2014, after our last row: a constant factor
    np.testing.assert_allclose(wiki["Adj. Volume"] / frame["volume"], later_splits, rtol=1e-9)


@pytest.mark.parametrize("ticker", ["AAPL", "JPM", "KO", "XOM"])
def test_closes_agree_with_another_vendors(ticker):
    entry = next(e for e in sample.BARS if e.name == ticker and e.path == sample.CLOSE_FILE)
    ours = entry.load().frame["close"]
    google = pd.read_csv(other("ohlcv", "djia30_google_2006_2017", f"{ticker}.csv"), index_col=0, parse_dates=True)
    both = pd.concat([returns(ours), returns(google["Close"])], axis=1, join="inner")
    assert len(both) > 2900
    # theirs are split-adjusted only: four dividend days a year differ
    assert both.corr().iloc[0, 1] > 0.995
    assert (both.iloc[:, 0] - both.iloc[:, 1]).abs().median() < 1e-3


def test_core_cpi_agrees_with_a_recorded_answer_of_fred(held):
    recorded = other("fred_api", "series_observations--series_id-CPILFESL--pyfredapi-d9b482.json")
    rows = json.loads(recorded.read_text())["observations"]
    fred = pd.Series({pd.Timestamp(r["date"]): float(r["value"]) for r in rows if r["value"] != "."})
    ours = held["CPILFESL"].frame["value"]
    gap = (fred.reindex(ours.index) / ours - 1).abs()
    assert gap.max() < 0.002  # five years of seasonal factors are revised
    assert (gap == 0).mean() > 0.75


def test_quarterly_unemployment_is_the_mean_of_freds_months(held):
    months = pd.read_csv(other("fred_csv", "UNRATE.csv"), index_col=0, parse_dates=True)["value"]
    ours = held["unemp"].frame["value"]
    assert (months.resample("QS").mean().reindex(ours.index) - ours).abs().max() < 0.2


def test_context_is_the_market_and_every_macro_series(held):
    names = [d.name for d in market.context(held["MSFT"])]
    assert names == ["SPX", *(entry.name for entry in sample.MACRO)]
    assert [d.name for d in market.context(held["SPX"])] == names[1:]
