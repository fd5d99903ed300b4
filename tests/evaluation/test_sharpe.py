"""A stranger's returns get a deflated verdict of unproven origin: the papers' numbers, its size, and plain words."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.signal import lfilter
from skfolio import measures

import mltrainer as mt
from mltrainer import metrics
from mltrainer.data import sample
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation import judgments, trials
from mltrainer.evaluation.sharpe import sharpe_test


@pytest.fixture
def rng():
    return np.random.default_rng(2014)


def strategy(rng, ratio, n=1_260):
    """Daily returns whose annual Sharpe ratio is so much in truth."""
    return 0.01 * (rng.standard_normal(n) + ratio / np.sqrt(252))


def paper():
    """1,250 returns of 250 a year with an annual Sharpe ratio of 2.5, skewness -3 and kurtosis 10, losses far apart.

    A skewness of -3 with a kurtosis of 10 is that of two values alone, the smaller one in 8.4 % of sessions.
    """
    x = np.ones(1_250)
    x[np.linspace(5, 1_244, 105).round().astype(int)] = 0
    return (x - x.mean()) / x.std(ddof=1) + 2.5 / np.sqrt(250)


def test_the_deflated_ratio_is_that_of_the_papers_example():
    """Bailey and López de Prado (2014): 100 trials with variance 1/2, the threshold is 0.1132 a day, and 0.9004."""
    r = paper()
    assert (stats.skew(r), stats.kurtosis(r, fisher=False)) == pytest.approx((-3, 10), abs=0.01)
    found = mt.sharpe_test(r, trials=100, spread=np.sqrt(0.5), periods=250)
    assert found.sharpe == pytest.approx(2.5)
    assert found.dependence == 1
    assert found.threshold / np.sqrt(250) == pytest.approx(0.1132, abs=5e-5)
    assert found.deflated == pytest.approx(0.9004, abs=1e-3)
    assert found.verdict == "no evidence of skill, of unproven origin"


def test_of_46_trials_the_same_returns_pass():
    """The paper: with at most 46 independent trials the confidence would have been 95 %."""
    assert sharpe_test(paper(), trials=46, spread=np.sqrt(0.5), periods=250).deflated == pytest.approx(0.95, abs=2e-3)


def test_the_probability_and_the_interval_are_those_of_the_metrics_and_of_skfolio(rng):
    r = np.sort(strategy(rng, 1.0))
    r = np.r_[r[::2], r[1::2][::-1]][np.tile([0, 630], 630) + np.repeat(np.arange(630), 2)]  # small beside large
    found = sharpe_test(r, above=0.3)
    wider = found.dependence
    assert found.error == pytest.approx(metrics.sharpe_standard_error(r) * wider)
    assert found.high - found.sharpe == pytest.approx(1.959964 * found.error)
    independent = stats.norm.cdf((found.sharpe - 0.3) / (found.error / wider))
    assert independent == pytest.approx(measures.probabilistic_sharpe_ratio(r, 0.3 / np.sqrt(252)), rel=1e-9)
    assert found.probabilistic == pytest.approx(stats.norm.cdf((found.sharpe - 0.3) / found.error))
    assert found.probabilistic == found.deflated  # a single trial


def test_the_lengths_are_those_of_the_papers(rng):
    r = strategy(rng, 1.5)
    found = sharpe_test(r, trials=45, ledger=False)
    alone = metrics.minimum_track_record(r)
    assert found.track_record == pytest.approx(1 + (alone - 1) * found.dependence**2)
    assert found.backtest == pytest.approx(metrics.minimum_backtest(45, found.sharpe / found.dependence))


@pytest.mark.parametrize("kind", ["independent", "fat tails", "overlapping"])
def test_the_best_of_many_without_skill_is_hardly_ever_called_more_than_luck(rng, kind):
    """Measured with 400: a single one in 4 to 7 %, the best of 20 in 0 to 2 %.

    200 single ones: 2 to 12 % are called. Of 100 best ones at most 6 %, which is a bound and no rate: the number of
    trials that is counted is more than they amount to; what is large enough is seen by the next test.
    """
    make = {
        "independent": lambda k: rng.standard_normal((k, 750)),
        "fat tails": lambda k: rng.standard_t(4, (k, 750)),
        "overlapping": lambda k: lfilter(np.ones(5), 1, rng.standard_normal((k, 760)), axis=1)[:, 10:],
    }[kind]
    single = [sharpe_test(r, ledger=False).deflated >= 0.95 for r in make(200)]
    best = [max(make(20), key=metrics.sharpe) for _ in range(100)]
    assert 0.02 < np.mean(single) < 0.12
    assert np.mean([sharpe_test(r, trials=20, ledger=False).deflated >= 0.95 for r in best]) < 0.06
    assert np.mean([sharpe_test(r, ledger=False).deflated >= 0.95 for r in best]) > 0.5  # who does not count is fooled


def test_a_ratio_that_is_large_enough_is_seen(rng):
    """Five years: measured .96 for 1.5 alone, .43 of 20 trials; .99 for 3 of 100."""
    seen = lambda ratio, n: np.mean([sharpe_test(strategy(rng, ratio), trials=n).deflated >= 0.95 for _ in range(60)])  # noqa: E731
    assert seen(1.5, 1) > 0.85
    assert 0.2 < seen(1.5, 20) < 0.7
    assert seen(3.0, 100) > 0.9


def test_overlapping_returns_know_less_than_they_seem_to(rng):
    r = lfilter(np.ones(5), 1, strategy(rng, 1.0))[10:]
    found = sharpe_test(r)
    assert 1.7 < found.dependence < 2.3  # the root of 5, less what the kernel misses
    assert (
        found.high - found.low
        > 1.7 * (sharpe_test(rng.permutation(r)).high - sharpe_test(rng.permutation(r)).low) / 1.2
    )


def test_being_in_the_market_is_no_skill():
    """The S&P 500 of 2009 to 2018 is more than luck until the market is taken out; what is left of it is nothing."""
    spx = sample.bars("SPX", None, None).frame["close"].pct_change().dropna()["2009":"2018"]
    held, hedged = mt.sharpe_test(spx), mt.sharpe_test(0.5 * spx, benchmark=spx)
    assert held.verdict == "evidence of more than luck (skill or exposure), of unproven origin"
    assert "give `benchmark` to take that out" in held.sentence()
    assert "2009-01-02 to 2018-12-31" in held.sentence()
    assert hedged.beta == pytest.approx(0.5)
    assert not hedged.deflated >= 0.95


def test_what_the_benchmark_did_not_pay_is_told_from_it(rng):
    days = pd.bdate_range("2015-01-01", periods=1_260)
    market = pd.Series(strategy(rng, 0.5), index=days)
    own = pd.Series(strategy(rng, 2.5) / 2, index=days)
    found = mt.sharpe_test(market + own, benchmark=market.iloc[::-1])
    assert found.beta == pytest.approx(1.0, abs=0.1)
    assert found.sharpe == pytest.approx(metrics.sharpe(own), abs=0.2)
    assert found.verdict == "evidence of more than luck (after its benchmark), of unproven origin"


# --- how many were tried ----------------------------------------------------------------------------------------


def test_the_number_of_trials_is_never_less_than_what_is_said(msft, rng):
    r = strategy(rng, 1.0)
    assert (sharpe_test(r).ledger, sharpe_test(r).trials) == (0, 1)
    for name in ("RidgeRegression", "KNeighborsRegressor_5", "DecisionTree_depth_5"):
        mt.evaluate(name, msft)
    counted = int(np.ceil(judgments.judgment().luck["effective"]))
    assert counted > 1
    said_less, said_more = sharpe_test(r, trials=1), sharpe_test(r, trials=50)
    assert (said_less.trials, said_less.said, said_less.ledger) == (counted, 1, counted)
    assert (said_more.trials, said_more.said, said_more.ledger) == (50, 50, counted)
    assert sharpe_test(r, ledger=False).trials == 1
    assert f"best of {counted} trials without skill (1 said, {counted} of the ledger)" in said_less.sentence()
    assert len(trials.ledger()) == 3  # nothing is written


def test_more_trials_never_raise_the_verdict(rng):
    r = strategy(rng, 2.0)
    found = [sharpe_test(r, trials=n).deflated for n in (1, 2, 5, 20, 100, 1_000)]
    assert found == sorted(found, reverse=True)
    assert sharpe_test(r, trials=20, spread=3.0).deflated < sharpe_test(r, trials=20).deflated
    assert sharpe_test(r, trials=20, spread=1e-9).deflated == found[3]  # never less than luck gives


# --- the words --------------------------------------------------------------------------------------------------


def test_the_sentence_says_all_of_it_and_the_page_shows_it():
    found = sharpe_test(paper(), trials=100, spread=np.sqrt(0.5), periods=250)
    assert found.sentence() == (
        f"Sharpe ratio 2.50 a year, 95% between {found.low:.2f} and {found.high:.2f}, over 1,250 returns. "
        "The true one is above 0 with probability 1.000, and above 1.79, the best of 100 trials without skill "
        "(100 said, 0 of the ledger), with probability 0.900. Verdict: no evidence of skill, of unproven origin. "
        "To tell it from 0 takes 167 returns; luck alone shows as much in 1.0 years, and there are 5.0. "
        "What was earned by being in the market is in it; give `benchmark` to take that out."
    )
    assert repr(found) == "SharpeTest(2.50 a year, deflated 0.900: no evidence of skill, of unproven origin)"
    page = found._repr_html_()
    assert "Minimum track record" in page
    assert "nan" not in page + sharpe_test(-paper())._repr_html_() + sharpe_test(np.zeros(30))._repr_html_()


def test_a_single_trial_is_taken_on_trust_and_a_loss_has_no_length(rng):
    lost = sharpe_test(-abs(strategy(rng, 1.0)) + 0.001)
    assert "that nothing else was tried is taken on trust" in lost.sentence()
    assert "No track record of such returns is long enough to tell it from 0." in lost.sentence()


def test_what_is_too_good_is_looked_at_first(rng):
    found = sharpe_test(strategy(rng, 8.0))
    assert found.verdict.endswith("of unproven origin, unusually strong")
    assert "Look for look-ahead first" in found.sentence()
    assert not sharpe_test(strategy(rng, 1.0)).strong


def test_returns_that_do_not_vary_get_no_verdict():
    found = sharpe_test(np.zeros(30))
    assert found.verdict == "no verdict: the returns do not vary"
    assert found.sentence() == "No verdict: the returns do not vary."


# --- what comes in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("freq", "periods"), [("B", 252), ("D", 365), ("W-FRI", 52), ("ME", 12), ("QE", 4), ("YE", 1)])
def test_a_year_has_the_returns_that_the_dates_say(rng, freq, periods):
    r = pd.Series(strategy(rng, 1.0, 60), index=pd.date_range("1950-01-01", periods=60, freq=freq))
    found = sharpe_test(r)
    assert found.periods == periods
    assert found.sharpe == pytest.approx(metrics.sharpe(r, periods=periods))
    assert sharpe_test(r, periods=365).periods == 365


def test_dates_are_read_in_whatever_form_they_come(rng):
    days = pd.date_range("2000-01-31", periods=60, freq="ME")
    r, market = (pd.Series(strategy(rng, 1.0, 60), index=days) for _ in range(2))
    for index in (days.to_period("M"), days.date, days.strftime("%Y-%m-%d")):
        other = r.set_axis(index)
        assert repr(sharpe_test(other, benchmark=market)) == repr(sharpe_test(r, benchmark=market))
        assert sharpe_test(other).periods == 12
        assert other.index.equals(pd.Index(index))  # what came in is as it was
    with pytest.raises(BadInput, match="'a', which is no date"):
        sharpe_test(pd.Series(np.zeros(30), index=list("abcdefghij") * 3))


def test_a_list_an_array_and_a_series_without_dates_are_the_same(rng):
    r = strategy(rng, 1.0, 100)
    assert repr(sharpe_test(list(r))) == repr(sharpe_test(r)) == repr(sharpe_test(pd.Series(r)))


@pytest.mark.parametrize("dated", [True, False])
def test_a_missing_session_is_refused_counted_or_dropped(rng, dated):
    r = pd.Series(strategy(rng, 1.0, 100), index=pd.bdate_range("2020-01-01", periods=100) if dated else None)
    r.iloc[7] = np.nan
    with pytest.raises(BadInput, match=r"1 of 100 .* missing"):
        sharpe_test(r)
    counted, dropped = sharpe_test(r, missing="count"), sharpe_test(r, missing="drop")
    assert (counted.n, counted.counted, dropped.n, dropped.counted) == (100, 1, 99, 0)
    assert "(1 missing ones counted as 0)" in counted.sentence()


@pytest.mark.parametrize(
    ("returns", "knobs", "error", "words"),
    [
        (np.full(19, 0.01), {}, NotEnoughHistory, "needs 20 returns, and there are 19"),
        (100 + np.arange(50.0), {}, BadInput, "prices or wealth"),
        (np.r_[np.inf, np.zeros(30)], {}, BadInput, "infinite"),
        (["a"] * 30, {}, BadInput, "numbers"),
        (np.zeros((30, 2)), {}, BadInput, "numbers"),
        (np.zeros(30), {"trials": 0}, BadInput, "at least this one was tried"),
        (np.zeros(30), {"trials": 1.5}, BadInput, "at least this one was tried"),
        (np.zeros(30), {"confidence": 95}, BadInput, "usually 0.95"),
        (np.zeros(30), {"periods": 0}, BadInput, "at least some returns"),
        (np.zeros(30), {"missing": "guess"}, BadInput, "refuse, count or drop"),
        (np.zeros(30), {"benchmark": np.zeros(29)}, BadInput, "lacks 30 of 30"),
        (np.zeros(30), {"benchmark": np.zeros(30)}, BadInput, "does not vary"),
    ],
)
def test_what_cannot_be_judged_is_refused(returns, knobs, error, words):
    with pytest.raises(error, match=words):
        mt.sharpe_test(returns, **knobs)


def test_a_benchmark_that_lacks_sessions_is_refused(rng):
    days = pd.bdate_range("2020-01-01", periods=100)
    r = pd.Series(strategy(rng, 1.0, 100), index=days)
    with pytest.raises(BadInput, match="lacks 3 of 100 sessions"):
        mt.sharpe_test(r, benchmark=r.iloc[3:])
