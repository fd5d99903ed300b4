"""A tear sheet: Alphalens' figures where it has them, what trading leaves, and no zero that passes for a finding."""

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from rates import claimed
from scipy.signal import lfilter

import mltrainer as mt
from mltrainer import metrics
from mltrainer.data import universes
from mltrainer.errors import BadInput, Unavailable, UnknownName
from mltrainer.evaluation import crosssection as cs
from mltrainer.evaluation import trials
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.tearsheet import TearSheet
from mltrainer.features.matrix import Matrix
from mltrainer.trust.provenance import Dataset

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from alphalens import performance, utils

MOMENTUM = "momentum_252_21"
pytestmark = pytest.mark.usefixtures("database")  # the rows of this room lie in its home


@pytest.fixture(scope="module")
def held(tmp_path_factory) -> Iterator[tuple[Path, Matrix]]:
    """A home of this room, and in it the twenty packaged tickers, 2014 to 2018."""
    folder = tmp_path_factory.mktemp("factor") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(folder))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield folder, mt.matrix(mt.universe("sample20"), start="2014-01-02", end="2018-12-31")


@pytest.fixture(autouse=True)
def home(held, monkeypatch) -> Path:
    monkeypatch.setenv("MLTRAINER_HOME", str(held[0]))
    return held[0]


@pytest.fixture
def panel(held) -> Matrix:
    return held[1]


@pytest.fixture(scope="module")
def sheet(held) -> TearSheet:
    return mt.factor(MOMENTUM, held[1])


@pytest.fixture(scope="module")
def theirs(sheet) -> pd.DataFrame:
    """What Alphalens makes of the same factor and prices; it earns the price of the session it is given."""
    values = sheet.scores.stack()  # noqa: PD013 - the form that Alphalens takes
    values.index.names = ["date", "asset"]
    entered = sheet.prices.shift(-1).iloc[:-1]  # so it is given that of the next entry
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return utils.get_clean_factor_and_forward_returns(values, entered, quantiles=5, periods=(1, 5), max_loss=0.5)


def quiet(function, *given, **knobs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*given, **knobs)


# --- whether it orders ----------------------------------------------------------------------------------------


def test_the_coefficients_are_those_of_alphalens_from_the_next_entry_on(sheet, theirs):
    want = quiet(performance.factor_information_coefficient, theirs)
    assert_allclose(sheet.ic.loc[want.index], want["5D"], atol=1e-12)
    next_session = cs.information_coefficient(sheet.scores, cs.forward_returns(sheet.prices, 1))
    assert_allclose(next_session.loc[want.index], want["1D"], atol=1e-12)
    assert sheet.decay.loc[1, "mean"] == pytest.approx(next_session.mean())
    assert sheet.coefficient.ratio == pytest.approx(want["5D"].mean() / want["5D"].std(), abs=1e-9)


def test_returns_by_part_are_those_of_alphalens_averaged_over_sessions(sheet, theirs):
    mean, _ = quiet(performance.mean_return_by_quantile, theirs, by_date=True, demeaned=False)
    mean = mean["5D"].groupby(level="factor_quantile").mean()
    assert_allclose(sheet.by_quantile["mean"].iloc[:5], mean, atol=1e-12)
    less, _ = quiet(performance.mean_return_by_quantile, theirs, by_date=True, demeaned=True)
    assert_allclose(
        sheet.by_quantile["excess"].iloc[:5], less["5D"].groupby(level="factor_quantile").mean(), atol=1e-12
    )
    assert sheet.by_quantile.loc["spread", "mean"] == pytest.approx(mean[5] - mean[1])


def test_turnover_is_that_of_alphalens(sheet, theirs):
    place = theirs["factor_quantile"]
    for period in (1, 5):
        want = quiet(performance.quantile_turnover, place, 5, period).mean()
        assert sheet.turnover.loc[period, "highest"] == pytest.approx(want, abs=1e-3)


def test_the_matrix_label_is_what_the_factor_is_judged_by(sheet, panel):
    labels = panel.y.unstack("ticker")  # noqa: PD010 - a level becomes the columns
    assert_allclose(sheet.returns, labels, atol=1e-12)


def test_a_factor_that_is_the_future_differs_from_zero_and_noise_does_not(panel, sheet):
    future = mt.factor(sheet.returns.fillna(0.0), panel)
    assert future.coefficient.mean > 0.99
    assert future.verdict() == "differs from zero"
    assert future.pays.loc["long-short", "sharpe"] > 10
    noise = mt.factor(sheet.scores * 0 + np.random.default_rng(0).normal(size=sheet.scores.shape), panel)
    assert noise.verdict() == "does not differ from zero"
    assert "unproven origin" in noise.sentence()
    assert noise.of == "own"


def test_the_sentence_says_the_verdict_and_its_evidence(sheet):
    said, c = sheet.sentence(), sheet.coefficient
    assert f"The mean IC of {MOMENTUM} over 5 sessions, {c.mean:.3f}, {sheet.verdict()}" in said
    assert f"HAC t {c.t:.1f} in {c.sessions:,} sessions of 20 names" in said
    assert "names exchange their histories" in said
    assert sheet.p == max(sheet.p_hac, sheet.p_exchanged)
    low, high = sheet.interval
    assert high - c.mean == pytest.approx(1.96 * c.mean / c.t)
    assert low < c.mean < high
    weak = dataclasses.replace(sheet, among=1)
    weak.__dict__.update(p_hac=0.01, p_exchanged=0.02)
    assert weak.verdict() == "differs from zero"
    weak.__dict__.update(p_hac=0.01, p_exchanged=0.2)
    assert weak.verdict() == "does not differ from zero"
    many = dataclasses.replace(sheet, among=33)
    many.__dict__.update(p_hac=0.01, p_exchanged=0.02)
    assert many.verdict() == "differs from zero by itself, not as the best of 33"


def test_names_that_exchange_histories_catch_a_factor_that_hardly_changes(panel, sheet):
    """40 placebos that keep their values for years: HAC alone calls one in six a finding, both together one in twenty.

    Bounds: HAC more than 4, both at most 4; by exchange 2 to 15 have p of 0.2 or less, as a fifth of 40 would.
    """
    returns, found = sheet.returns, []
    for seed in range(40):
        shocks = np.random.default_rng(seed).normal(size=returns.shape)
        slow = pd.DataFrame(lfilter([1], [1, -0.999], shocks, axis=0), returns.index, returns.columns)
        ic = cs.coefficient(cs.information_coefficient(slow, returns), horizon=5)
        p = cs.exchanged(slow, returns, draws=399)
        found.append((abs(ic.t) > 1.96, p <= 0.05, p <= 0.2))
    found = np.array(found)
    hac, both = found[:, 0].mean(), found[:, :2].all(axis=1).mean()
    assert claimed(found[:, 2].sum(), 40, 0.2)
    assert hac > 0.1
    assert both <= 0.1


def test_exchanging_names_is_the_mean_coefficient_of_every_assignment(sheet):
    """Of four draws by hand: the same rank correlations with the columns of the factor in another order."""
    factor, returns = sheet.scores[300:400], sheet.returns[300:400]
    rng = np.random.default_rng(0)
    own = cs.information_coefficient(factor, returns).mean()
    drawn = []
    for _ in range(4):
        order = rng.permutation(20)
        swapped = factor.iloc[:, order].set_axis(factor.columns, axis=1)
        drawn.append(cs.information_coefficient(swapped, returns).mean())
    want = (1 + (np.abs(drawn) >= abs(own)).sum()) / 5
    assert cs.exchanged(factor, returns, draws=4) == pytest.approx(want)


@given(st.lists(st.lists(st.integers(0, 9) | st.just(None), min_size=12, max_size=12), min_size=1, max_size=6))
def test_quantiles_of_all_sessions_at_once_are_those_of_numpy_session_by_session(rows):
    frame = pd.DataFrame(rows, dtype=float)
    got = cs.quantiles(frame, 4)
    for at, row in enumerate(frame.to_numpy()):
        known = np.isfinite(row)
        edges = np.unique(np.quantile(row[known], np.linspace(0, 1, 5))) if known.sum() >= 4 else ()
        want = np.full(12, np.nan)
        if len(edges) == 5:
            want[known] = np.searchsorted(edges[1:-1], row[known]) + 1
        assert_allclose(got.iloc[at], want)


def test_within_sectors_only_names_with_one_are_judged(sheet):
    assert len(sheet.sectors) == 20
    ic = cs.information_coefficient(sheet.scores, sheet.returns, sectors=universes.SECTORS)
    assert sheet.neutral == cs.coefficient(ic, horizon=5)
    few = dataclasses.replace(sheet, scores=sheet.scores[["AAPL", "AMD", "MSFT", "GE"]])
    assert np.isnan(few.neutral.mean)


# --- what it pays ---------------------------------------------------------------------------------------------


def test_portfolios_earn_what_their_weights_earned_the_session_after(sheet):
    """Twenty sessions by hand: the mean of five sessions' books, each known the session before it is entered."""
    place = cs.quantiles(sheet.scores, 5)
    for day in range(700, 720):
        books = [place.iloc[day - lag - 1] for lag in range(5)]
        weight = sum((b == 5) / (b == 5).sum() - (b == 1) / (b == 1).sum() for b in books) / 5
        earned = (weight * (sheet.prices.iloc[day + 1] / sheet.prices.iloc[day] - 1)).sum()
        assert sheet.portfolios["long-short"]["gross"].loc[sheet.prices.index[day]] == pytest.approx(earned)
    pays = sheet.pays.loc["long-short"]
    net = sheet.portfolios["long-short"]["net"]
    assert pays["sharpe"] == metrics.sharpe(net)
    assert pays["net_return"] < pays["gross_return"]
    free = dataclasses.replace(sheet, cost_bps=float(pays["breakeven_bps"])) if pays["breakeven_bps"] > 0 else None
    if free:
        assert free.portfolios["long-short"]["net"].sum() == pytest.approx(0.0, abs=1e-9)


def test_names_add_up_to_the_portfolio(sheet):
    total = sheet.portfolios["long-short"]["gross"]
    assert sheet.names["adds"].sum() == pytest.approx(total.sum() / (len(sheet.prices) - 1) * 252, rel=1e-9)
    assert sheet.names.loc["AAPL", "sector"] == "Information Technology"
    known = pd.concat([sheet.scores["AAPL"], sheet.returns["AAPL"]], axis=1).dropna()
    assert sheet.names.loc["AAPL", "ic"] == pytest.approx(known.corr("spearman").iloc[0, 1])
    assert_allclose(sheet.names["highest"].mean(), 0.2, atol=0.01)


def test_a_portfolio_begins_when_there_is_something_to_hold(panel, sheet):
    late = sheet.scores.copy()
    late.iloc[:500] = np.nan
    begun = dataclasses.replace(sheet, scores=late)
    assert begun.portfolios["long-short"].index[0] == sheet.scores.index[501]
    assert begun.held.index.equals(begun.portfolios["long only"].index)


def test_capacity_is_known_where_there_is_volume_and_says_why_not(sheet):
    assert np.isnan(sheet.pays.loc["long-short", "capacity"])
    assert sheet.volume[1] == "no volume of 20 of 20 names, AAPL among them"
    sources = tuple(
        Dataset(d.frame.assign(volume=1e6), d.name, d.kind) if d.name in sheet.tickers else d
        for d in sheet.matrix.sources
    )
    known = dataclasses.replace(sheet, matrix=dataclasses.replace(sheet.matrix, sources=sources))
    traded = known.weights["long only"].diff().abs()
    want = (0.01 * known.prices * 1e6 / traded.where(traded > 1e-12)).min(axis=1).median()
    assert known.pays.loc["long only", "capacity"] == pytest.approx(want, rel=1e-3)
    more = dataclasses.replace(known, share=0.1)
    assert more.capacity("long only") == pytest.approx(10 * known.capacity("long only"))


# --- what can be asked ----------------------------------------------------------------------------------------


def test_forecasts_out_of_sample_are_a_factor_and_a_trial_like_any_other(panel):
    before = len(trials.ledger())
    protocol = Protocol(panel="hierarchical", ranked=True)
    sheet = mt.factor("RidgeRegression", panel, protocol=protocol)
    results = mt.evaluate(["RidgeRegression"], panel, protocol=protocol)
    assert len(trials.ledger()) == before + 20
    assert (sheet.name, sheet.of, sheet.among) == ("RidgeRegression", "model", 123)
    assert_allclose(sheet.scores["AAPL"], results[0].forecasts["forecast"])
    again = mt.factor(results, panel)
    assert again.coefficient == sheet.coefficient
    with pytest.raises(BadInput, match="results of one"):
        mt.factor([], panel)
    with pytest.raises(BadInput, match="not of this panel"):
        mt.factor([dataclasses.replace(e, horizon=21) for e in results], panel)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (
            "momentum_25",
            UnknownName,
            "close: momentum_126, momentum_252_21, momentum_63",
        ),
        ("month_turn", BadInput, "the same for all names"),
        ("cci_20", Unavailable, "has no feature cci_20: needs high, low"),
        (pd.DataFrame({"A": [1.0]}), BadInput, "0 of its columns are names"),
    ],
)
def test_what_is_no_factor_is_said_so(panel, asked, error, said):
    with pytest.raises(error, match=said):
        mt.factor(asked, panel)


def test_few_names_or_impossible_costs_are_said_so(panel):
    with pytest.raises(BadInput, match="at least 5 names, and this is 1"):
        mt.factor(MOMENTUM, "MSFT")
    for wrong in ({"share": 0.0}, {"cost_bps": -1.0}, {"q": 1}, {"q": 21}):
        with pytest.raises(BadInput, match="cannot be"):
            mt.factor(MOMENTUM, panel, **wrong)
