"""As-of joins and the market's context: nothing is known before it was published, nothing stale is passed on."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from mltrainer.errors import BadInput
from mltrainer.features import indicators
from mltrainer.features.macro import MACRO, MARKET, asof, context, growth
from mltrainer.features.rewriting import differing, future_moves, rewrites

SEEDS = st.integers(0, 2**32 - 1)


def observations(*rows: tuple[str, str, float]) -> pd.DataFrame:
    period, available, value = zip(*rows, strict=True)
    index = pd.DatetimeIndex(period, name="period")
    return pd.DataFrame({"value": value, "available": pd.DatetimeIndex(available)}, index=index)


def joined(frame: pd.DataFrame, *days: str, age: int = 400, **options) -> list[float]:
    return asof(frame, pd.DatetimeIndex(days), max_age_days=age, **options).tolist()


# --- asof -----------------------------------------------------------------------------------------------------


def test_a_value_speaks_from_the_day_it_is_available_and_not_from_its_period():
    gdp = observations(("2008-01-01", "2008-04-30", 1.0), ("2008-04-01", "2008-07-31", 2.0))
    days = ("2008-04-01", "2008-04-29", "2008-04-30", "2008-07-30", "2008-07-31")
    assert joined(gdp, *days) == pytest.approx([np.nan, np.nan, 1.0, 1.0, 2.0], nan_ok=True)


def test_a_value_lasts_its_maximum_age_to_the_day():
    gdp = observations(("2008-01-01", "2008-04-30", 1.0))
    assert joined(gdp, "2008-05-10", "2008-05-11", age=10) == pytest.approx([1.0, np.nan], nan_ok=True)


def test_a_revision_replaces_its_own_period_from_its_own_day_and_does_not_make_it_young():
    gdp = observations(("2008-01-01", "2008-04-30", 1.0), ("2008-01-01", "2008-05-29", 1.5))
    assert joined(gdp, "2008-05-28", "2008-05-29") == [1.0, 1.5]
    assert joined(gdp, "2008-05-29", "2008-05-30", "2008-05-31", age=30) == pytest.approx(
        [1.5, 1.5, np.nan], nan_ok=True
    )


def test_a_revision_of_an_older_period_does_not_hide_the_newest():
    gdp = observations(
        ("2008-04-01", "2008-07-31", 2.0), ("2008-01-01", "2008-09-01", 9.0), ("2008-01-01", "2008-04-30", 1.0)
    )
    assert joined(gdp, "2008-08-01", "2008-09-02") == [2.0, 2.0]


def test_growth_uses_the_base_as_it_was_known_on_the_day():
    # 110/100 - 1 when first published; the base year is revised to 88 a month later: 110/88 - 1 = 0.25.
    index = observations(
        ("2007-01-01", "2007-02-15", 100.0), ("2008-01-01", "2008-02-15", 110.0), ("2007-01-01", "2008-03-15", 88.0)
    )
    days = ("2007-03-01", "2008-02-15", "2008-03-14", "2008-03-15")
    got = asof(index, pd.DatetimeIndex(days), max_age_days=400, change=lambda k, n: growth(k, n, months=12))
    assert got.tolist() == pytest.approx([np.nan, 0.1, 0.1, 0.25], nan_ok=True)


def test_a_month_that_was_never_published_leaves_the_value_before_it_to_age():
    # October 2025 was not published, so October 2026 has no base; September's change stands until it is too old.
    rows = [
        ("2025-09-01", "2025-10-15", 100.0),
        ("2026-09-01", "2026-10-15", 103.0),
        ("2026-10-01", "2026-11-15", 104.0),
    ]
    days = pd.DatetimeIndex(["2026-11-16", "2026-12-16", "2026-12-17"])
    got = asof(observations(*rows), days, max_age_days=62, change=lambda k, n: growth(k, n, months=12))
    assert got.tolist() == pytest.approx([0.03, 0.03, np.nan], nan_ok=True)


def test_a_series_that_was_changed_since_is_read_anew():
    """What was joined is kept by content; the same frame may hold another value or be known on another day."""
    frame = observations(("2009-01-01", "2009-02-10", 1.0))
    assert joined(frame, "2009-02-10", "2009-02-20") == [1.0, 1.0]
    frame.loc[:, "value"] = 2.0
    assert joined(frame, "2009-02-10", "2009-02-20") == [2.0, 2.0]
    frame.loc[:, "available"] = pd.Timestamp("2009-02-15")
    np.testing.assert_array_equal(joined(frame, "2009-02-10", "2009-02-20"), [np.nan, 2.0])


def test_missing_values_are_left_out_and_an_empty_series_says_nothing():
    gdp = observations(("2008-01-01", "2008-04-30", 1.0), ("2008-04-01", "2008-07-31", np.nan))
    assert joined(gdp, "2008-08-01") == [1.0]
    assert np.isnan(joined(gdp.iloc[1:], "2008-08-01")).all()


def test_observations_that_cannot_be_meant_are_refused():
    good = observations(("2008-01-01", "2008-04-30", 1.0))
    for bad, why in (
        (observations(("2008-01-01", "2007-12-31", 1.0)), "before its period began"),
        (good.assign(available=pd.NaT), "available on NaT"),
        (pd.concat([good, good]), "two values available on the same day"),
        (good[["value"]], "columns value and available"),
        (good.reset_index(drop=True), "index of period dates"),
    ):
        with pytest.raises(BadInput, match=why):
            joined(bad, "2008-08-01")


# --- context --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def until_2009(msft: pd.DataFrame) -> pd.DataFrame:
    """Sessions that every series of the sample covers."""
    return msft.loc[:"2009-12-15"]


def test_context_holds_every_row_whose_source_covers_the_sessions(until_2009, spx, macro_series):
    table, missing = context(spx, macro_series, until_2009.index, until_2009["close"])
    assert set(table) | set(missing) == {r.name for r in (*MARKET, *MACRO)}
    assert {"beta_63", "core_cpi_yoy", "unemployment", "unemployment_change", "gdp_growth", "bill_rate"} <= set(table)
    assert table.index.equals(until_2009.index)
    assert not table.iloc[63:].isna().any(axis=None)
    assert missing["vix"] == "needs the series VIXCLS, which was not given"


def test_a_source_that_does_not_cover_the_sessions_is_named_with_its_end(msft, spx, macro_series):
    table, missing = context(spx.loc["2005":], macro_series, msft.index, msft["close"])
    assert missing["gdp_growth"] == "realgdp ends 2009-12-31, the sessions run to 2013-03-01"
    assert missing["beta_63"] == "the index starts 2005-01-03, the sessions start 2000-03-01"
    assert "core_cpi_yoy" in table
    _, missing = context(None, {}, msft.index, msft["close"])
    assert missing["beta_63"] == "needs bars of a market index; none were given"
    assert len(missing) == len(MARKET) + len(MACRO)


def test_own_close_must_lie_on_the_sessions(msft, spx):
    with pytest.raises(BadInput, match="one close per session"):
        context(spx, {}, msft.index, msft["close"].iloc[1:])


def test_market_rows_start_at_their_declared_warmup_when_the_index_starts_with_the_sessions(until_2009, spx):
    table, _ = context(spx.loc[until_2009.index[0] :], {}, until_2009.index, until_2009["close"])
    finite = np.isfinite(table.to_numpy())
    assert dict(zip(table, finite.argmax(axis=0).tolist(), strict=True)) == {r.name: r.warmup for r in MARKET}
    assert all(finite[r.warmup :, k].all() for k, r in enumerate(MARKET))


def test_beta_and_correlation_agree_with_scipy_on_the_last_quarter(until_2009, spx):
    table, _ = context(spx, {}, until_2009.index, until_2009["close"])
    own = np.log(until_2009["close"]).diff().iloc[-63:]
    market = np.log(spx["close"]).diff()[own.index]
    line = scipy.stats.linregress(market, own)
    assert table["beta_63"].iloc[-1] == pytest.approx(line.slope)
    assert table["correlation_63"].iloc[-1] == pytest.approx(line.rvalue)
    month = np.log(until_2009["close"]).diff(21).iloc[-1] - line.slope * np.log(spx["close"]).diff(21)[own.index[-1]]
    assert table["relative_strength_21"].iloc[-1] == pytest.approx(month)


def test_the_index_has_a_beta_of_one_to_itself_and_no_strength_relative_to_itself(spx):
    table, _ = context(spx, {}, spx.index, spx["close"])
    assert table["beta_63"].iloc[63:].to_numpy() == pytest.approx(1.0)
    assert table["relative_strength_21"].iloc[63:].to_numpy() == pytest.approx(0.0)


def test_a_session_the_index_does_not_have_is_missing_and_never_filled(until_2009, spx):
    gone = until_2009.index[1000]
    table, _ = context(spx.drop(gone), {}, until_2009.index, until_2009["close"])
    assert table.loc[gone, "market_return_5"] != table.loc[gone, "market_return_5"]
    assert table["market_return_5"].isna().sum() == 1
    assert table["beta_63"].iloc[1000:1064].isna().all()
    assert table["beta_63"].iloc[1064:].notna().all()


def test_core_inflation_is_the_ratio_of_the_months_known_on_the_day(until_2009, macro_series):
    # On 2005-06-15 the newest usable month is April (usable from May 31): CPILFESL April 2005 over April 2004.
    table, _ = context(None, macro_series, until_2009.index, until_2009["close"])
    level = macro_series["CPILFESL"]["value"]
    assert table.loc["2005-06-15", "core_cpi_yoy"] == pytest.approx(level["2005-04-01"] / level["2004-04-01"] - 1)
    assert table.loc["2005-06-15", "core_cpi_yoy"] == pytest.approx(0.022, abs=0.001)  # BLS reported 2.2 % for April


def test_vix_and_its_change_are_fractions_known_the_day_after():
    days = pd.bdate_range("2014-01-06", periods=8)
    vix = pd.DataFrame({"value": np.arange(10.0, 18.0), "available": days + pd.Timedelta(days=1)}, index=days)
    table, _ = context(None, {"VIXCLS": vix}, days, pd.Series(1.0, days))
    assert table.loc["2014-01-14", "vix"] == pytest.approx(0.15)  # that of Monday the 13th
    assert table.loc["2014-01-14", "vix_change_5"] == pytest.approx(0.05)


LIVE_ONLY = {
    "FEDFUNDS": "policy_rate policy_rate_change",
    "PAYEMS": "payroll_growth",
    "INDPRO": "production_growth",
    "DGS10": "bond_yield bond_yield_change_21",
    "T10Y2Y": "term_spread",
    "T10Y3M": "bill_spread",
    "T10YIE": "breakeven_inflation",
    "BAA10Y": "credit_spread credit_spread_change_21",
}


@pytest.mark.parametrize("series", LIVE_ONLY)
def test_what_only_live_data_can_give_says_so_in_the_sample(until_2009, macro_series, series):
    table, missing = context(None, macro_series, until_2009.index, until_2009["close"])
    for name in LIVE_ONLY[series].split():
        assert name not in table
        assert missing[name] == f"needs the series {series}, which was not given"


def test_daily_rates_are_fractions_known_the_day_after():
    # each rate rises by a basis point a day; on the last day, a Thursday, that of Wednesday is the newest
    days = pd.bdate_range("1999-12-01", "2000-03-02")
    series = {
        name: pd.DataFrame({"value": at + 0.01 * np.arange(len(days)), "available": days + pd.Timedelta(days=1)}, days)
        for name, at in (("DGS10", 6.0), ("T10Y2Y", 0.5), ("T10Y3M", 1.0), ("T10YIE", 2.0), ("BAA10Y", 1.5))
    }
    table, _ = context(None, series, days, pd.Series(1.0, days))
    last, n = table.iloc[-1], len(days) - 2
    assert last["bond_yield"] == pytest.approx((6.0 + 0.01 * n) / 100)
    assert last["bond_yield_change_21"] == pytest.approx(0.01 * 21 / 100)
    assert last["term_spread"] == pytest.approx((0.5 + 0.01 * n) / 100)
    assert last["bill_spread"] == pytest.approx((1.0 + 0.01 * n) / 100)
    assert last["breakeven_inflation"] == pytest.approx((2.0 + 0.01 * n) / 100)
    assert last["credit_spread"] == pytest.approx((1.5 + 0.01 * n) / 100)
    assert last["credit_spread_change_21"] == pytest.approx(0.01 * 21 / 100)


def test_monthly_growth_is_over_a_year_as_it_was_known():
    # by hand: 135,000 over 138,000 when December 2008 was first published, 134,900 over 138,100 since the benchmark
    rows = [
        ("2007-12-01", "2008-01-04", 138_000.0),
        ("2008-12-01", "2009-01-09", 135_000.0),
        ("2007-12-01", "2009-02-06", 138_100.0),
        ("2008-12-01", "2009-02-06", 134_900.0),
    ]
    rates = [("2007-12-01", "2008-01-10", 4.24), ("2008-12-01", "2009-01-10", 0.16)]  # percent, Federal Reserve H.15
    days = pd.bdate_range("2009-01-12", "2009-02-10")
    series = {name: observations(*rows) for name in ("PAYEMS", "INDPRO")} | {"FEDFUNDS": observations(*rates)}
    table, _ = context(None, series, days, pd.Series(1.0, days))
    for name in ("payroll_growth", "production_growth"):
        assert table.loc["2009-02-05", name] == pytest.approx(135_000 / 138_000 - 1)
        assert table.loc["2009-02-06", name] == pytest.approx(134_900 / 138_100 - 1)
    assert table.loc["2009-02-05", "policy_rate_change"] == pytest.approx((0.16 - 4.24) / 100)


# --- no look-ahead --------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, cut=st.integers(600, 2400))
def test_no_context_row_moves_when_future_bars_of_ticker_or_index_are_rewritten(
    until_2009, spx, macro_series, seed, cut
):
    both = spx.reindex(until_2009.index).assign(own=until_2009["close"])

    def around(frame: pd.DataFrame) -> pd.DataFrame:
        return context(frame, {}, frame.index, frame["own"])[0]

    assert set(around(both)) == {row.name for row in MARKET}
    assert future_moves(around, both, cut, np.random.default_rng(seed)) == []


def moved_by_publications(table, macro_series, cut: pd.Timestamp, rng) -> set[str]:
    """Features that move up to the session `cut` when what is published after it is rewritten."""
    moved: set[str] = set()
    for name, frame in macro_series.items():
        frame = frame.sort_values("available")
        before = table({name: frame}).loc[:cut]
        for rewrite, other in rewrites(frame, int((frame["available"] <= cut).sum()), rng):
            if rewrite != "postponed":  # a period cannot begin after its own publication
                after = table({name: other}).loc[:cut]
                moved.update(c for c in differing(before, after) if c in after)
    return moved


@settings(max_examples=6, deadline=None)
@given(seed=SEEDS, day=st.integers(600, 2400))
def test_no_context_row_moves_when_future_publications_are_rewritten(until_2009, macro_series, seed, day):
    def around(series) -> pd.DataFrame:
        return context(None, series, until_2009.index, until_2009["close"])[0]

    rng = np.random.default_rng(seed)
    assert moved_by_publications(around, macro_series, until_2009.index[day], rng) == set()


def test_a_join_on_the_period_instead_of_the_publication_is_caught(until_2009, macro_series, rng):
    def leaking(series) -> pd.DataFrame:
        early = {name: f.assign(available=f.index) for name, f in series.items()}
        return context(None, early, until_2009.index, until_2009["close"])[0]

    assert "unemployment" in moved_by_publications(leaking, macro_series, until_2009.index[1500], rng)


def test_context_is_the_same_function_of_the_index_as_the_table(until_2009, spx):
    table, _ = context(spx, {}, until_2009.index, until_2009["close"])
    own, _ = indicators.compute(spx[["close"]])
    assert np.array_equal(table["market_volatility_21"], own["volatility_21"][until_2009.index])
