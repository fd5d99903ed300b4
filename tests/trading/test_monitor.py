"""What did not change raises few alarms, what broke is found, and the retirement alarm may be looked at every day."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rates import claimed
from scipy import stats

import mltrainer as mt
from mltrainer.errors import BadInput, NotEnoughHistory, Partial
from mltrainer.evaluation import drift, trials
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.trading.forecasts import commit, speakers
from mltrainer.trading.forecasts.inference import after
from mltrainer.trading.forecasts.monitor import COLUMNS, HEALTH, STATES, watched

RIDGE = "RidgeRegression"


WORLDS = 60  # of the slow measures of power


@pytest.fixture(scope="module")
def made() -> tuple[Matrix, pd.DataFrame]:
    """Log variance of MSFT, and what HAR and the mean said of it out of sample."""
    m = mt.matrix("MSFT", target="volatility")
    plain = speakers.plain_past(m, Protocol())
    return m, plain.assign(forecast=plain["HAR"], rival=plain["mean"])


def permuted(n: int, block: int, rng: np.random.Generator) -> np.ndarray:
    """Rows in another order of blocks, begun anywhere: nothing of one time is left but what blocks hold."""
    rows = (np.arange(n) + rng.integers(block)) % n
    parts = [rows[i : i + block] for i in range(0, n, block)]
    return np.concatenate([parts[i] for i in rng.permutation(len(parts))])


# --- inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 9, 13, 22, 24])
def test_a_window_is_compared_with_whole_windows_before_it_by_students_t(seed: int):
    """Independent rows, where Student's t holds and level and spread are independent: p by hand, from 0.03 to 0.98.

    Windows that are drawn of eleven are not all there could be: over 25 seeds p is off by 0.02 (standard deviation),
    by 0.05 at most, and by nothing in the mean.
    """
    x = pd.Series(np.random.default_rng(seed).normal(size=1_200))
    (row,) = drift.inputs(pd.DataFrame({"x": x}), window=100).to_dict("records")
    scores = stats.norm.ppf((stats.rankdata(x) - 0.5) / 1_200).reshape(12, 100)
    means = {"level": scores.mean(axis=1), "spread": np.abs(scores).mean(axis=1)}
    tests = {name: stats.ttest_ind(m[-1:], m[:-1]) for name, m in means.items()}  # of one value against eleven
    assert {name: row[name] for name in tests} == pytest.approx({name: t for name, (t, _) in tests.items()})
    smaller = min(p for _, p in tests.values())
    assert row["p"] == pytest.approx(1 - (1 - smaller) ** 2, abs=0.06)


def test_p_of_an_input_counts_how_much_inputs_are_alike():
    """Westfall and Young (1993): copies of one column cost nothing, which Bonferroni would charge for."""
    x = np.random.default_rng(3).normal(size=1_200)
    alone = drift.inputs(pd.DataFrame({"x": x}), window=100)["p"].iloc[0]
    copies = drift.inputs(pd.DataFrame({f"x{i}": x for i in range(50)}), window=100)["p"]
    assert copies.to_numpy() == pytest.approx(alone, abs=0.01)


def test_inputs_that_did_not_change_are_seldom_called_drifted_and_a_planted_shift_is(made: tuple[Matrix, pd.DataFrame]):
    """40 worlds: the least p of all features is 0.2 or less in a fifth of them (2 to 15); a shift is found in 9 of 10.

    At 0.05 so few worlds could not tell a test that never alarms; the slow test has more.
    """
    X, rng = made[0].X, np.random.default_rng(0)
    alarms, found = 0, []
    for world in range(40):
        Z = X.iloc[permuted(len(X), 252, rng)].reset_index(drop=True)
        alarms += drift.inputs(Z)["p"].min() <= 0.2
        if world < 10:
            Z.loc[len(Z) - drift.WINDOW :, "return_1"] += 1.0 * Z["return_1"].std()
            found.append(drift.inputs(Z)["p"]["return_1"] < 0.05)
    assert claimed(alarms, 40, 0.2)
    assert np.mean(found) >= 0.9


def test_a_feature_that_remembers_amounts_to_few_sessions(made: tuple[Matrix, pd.DataFrame]):
    effective = drift.inputs(made[0].X)["effective"]
    assert effective["return_1"] > 60
    assert effective["momentum_252_21"] < 5
    assert (effective <= drift.WINDOW).all()


def test_drift_needs_windows_to_compare_with():
    with pytest.raises(NotEnoughHistory, match="are 5 windows of 100; drift needs 9"):
        drift.inputs(pd.DataFrame({"x": np.arange(500.0)}), window=100)


# --- errors ---------------------------------------------------------------------------------------------------


def test_a_mean_that_fell_by_hand():
    before, since = np.tile([1.0, 3.0], 50), np.tile([0.0, 2.0], 50)
    t, p = drift.shift(before, since, 1)
    assert t < -2
    assert p < 0.01
    assert drift.shift(since, before, 1)[1] > 0.99
    assert np.isnan(drift.shift(before[:5], since, 1)[0])


def test_pages_cusum_by_hand():
    # Page (1954): S = max(0, S + z - 1/2) of z = 1, 1, -2, 1
    assert drift._page(np.array([[1.0, 1.0, -2.0, 1.0]])).tolist() == [[0.5, 1.0, 0.0, 0.5]]


def test_a_cusum_alarms_in_about_one_year_of_twenty_without_a_change():
    """300 worlds of four usual years and one more, independent rows: 6 to 25 of them ring, as 5 % would."""
    rng, rung = np.random.default_rng(5), 0
    for world in range(300):
        x = rng.normal(size=250)
        rung += drift.cusum(x[:200], x[200:], a_year=50.4, random_state=world).first >= 0
    assert claimed(rung, 300, 0.05)


def test_a_cusum_of_real_blocks_alarms_soon_where_all_is_lost(made: tuple[Matrix, pd.DataFrame]):
    """Of 60 years in another order of blocks none rings: two months at a time, the order is all that a year has."""
    frame, rng = made[1], np.random.default_rng(0)
    better = drift.relative(*(drift.blocks((frame["y"] - frame[c]) ** 2, 5) for c in ("forecast", "rival")))
    years = [better[permuted(len(better), 8, rng)][:50] for _ in range(60)]
    found = [drift.cusum(better, y, a_year=50.4).first for y in years]
    assert sum(first >= 0 for first in found) <= 1
    broken = [drift.cusum(better, y - 2 * better.std(), a_year=50.4).first for y in years]
    assert min(broken) >= 0
    assert np.median(broken) < 10
    assert drift.cusum(better[:10], better, a_year=50.4).first == -1  # too little is known of what is usual


@pytest.mark.slow
def test_inputs_that_did_not_change_are_called_drifted_in_one_history_of_twenty(made: tuple[Matrix, pd.DataFrame]):
    """60 worlds. Size: 12 at 20 % (5 to 20) and at most 8 at 5 %; power: measured 27 % and 49 % of 200.

    Of 60 worlds 5 % are 3, and none at all is no surprise; so it is at 20 % that it must not be too seldom either.
    """
    X, rng = made[0].X, np.random.default_rng(11)
    alarms, found = {0.05: 0, 0.2: 0}, {1: 0, 2: 0}
    for _ in range(WORLDS):
        Z = X.iloc[permuted(len(X), 252, rng)].reset_index(drop=True)
        least = drift.inputs(Z)["p"].min()
        alarms = {level: count + (least <= level) for level, count in alarms.items()}
        name = X.columns[rng.integers(X.shape[1])]
        for size in found:
            moved = Z.copy()
            moved.loc[len(Z) - drift.WINDOW :, name] += size * moved[name].std()
            found[size] += drift.inputs(moved)["p"][name] <= 0.05
    assert claimed(alarms[0.2], WORLDS, 0.2)
    assert alarms[0.05] <= stats.binom.ppf(0.995, WORLDS, 0.05)
    assert found[1] >= 0.15 * WORLDS
    assert found[2] >= 0.35 * WORLDS


@pytest.mark.slow
def test_the_cusum_rings_in_one_first_year_of_twenty_and_soon_where_a_forecaster_broke(
    made: tuple[Matrix, pd.DataFrame],
):
    """Size of 300 worlds: 6 to 25 ring in the first year, 17 to 43 in two; power of 60: 99 %, after 20 weeks."""
    frame, rng = made[1], np.random.default_rng(12)
    losses = [(frame["y"] - frame[c]) ** 2 for c in ("forecast", "rival")]
    better = drift.relative(*(drift.blocks(x, 5) for x in losses))
    years = {1: 0, 2: 0}
    for i in range(300):
        z = better[permuted(len(better), (13, 25)[i % 2], rng)]
        first = drift.cusum(z[:-100], z[-100:], a_year=50.4, random_state=i).first
        years = {n: count + (0 <= first < 50 * n) for n, count in years.items()}
    broke = []
    for _ in range(WORLDS):
        f = frame.iloc[permuted(len(frame), 63, rng)]
        said = f["forecast"].to_numpy().copy()
        said[-504:] = rng.permutation(said)[:504]
        x = drift.relative(*(drift.blocks((f["y"] - c) ** 2, 5) for c in (said, f["rival"])))
        broke.append(drift.cusum(x[: len(x) - 100], x[len(x) - 100 :], a_year=50.4).first)
    weeks = np.array(broke) + 1
    assert claimed(years[1], 300, 0.05)
    assert claimed(years[2], 300, 0.0975)
    assert np.mean(weeks > 0) >= 0.95
    assert np.median(weeks[weeks > 0]) <= 26


# --- the retirement alarm -------------------------------------------------------------------------------------


def test_the_e_process_by_hand():
    # s = -1/3 each; the bets: 0, then -mean / (square + mean^2) with one row of 0 and a square of 1/4 as if seen before
    path = drift.wealth([2.0, 2.0, 2.0], [1.0, 1.0, 1.0])
    mean, square = -(1 / 3) / 2, (0.25 + 1 / 9) / 2
    bet = min(-mean / (square + mean**2), 0.5)
    assert path[:2] == pytest.approx([1.0, 1 + bet / 3])
    assert path[2] > path[1]


def test_of_forecasters_that_are_no_worse_at_most_one_in_twenty_is_ever_retired():
    """400 worlds of heavy-tailed losses, looked at after each of 500 blocks. Ville: P(sup E >= c) <= 1 / c.

    The bound is no rate, as time ends and steps are of a size: 2.8 % were retired where 5 % may be, and 15 % had wealth
    of 4 where 25 % may. An alarm that never rings would have none of either.
    """
    rng = np.random.default_rng(0)
    highest = np.array([drift.wealth(*rng.standard_cauchy((2, 500)) ** 2).max() for _ in range(400)])
    assert 0.01 <= np.mean(highest >= 20) <= 0.05
    assert 0.10 <= np.mean(highest >= 4) <= 0.25


def test_one_that_is_worse_is_retired_and_a_better_one_never():
    rng = np.random.default_rng(0)
    loss = rng.chisquare(5, (2, 300))
    assert drift.wealth(2 * loss[0], loss[1]).max() > 20
    assert drift.wealth(0.5 * loss[0], loss[1]).max() < 4
    assert (drift.wealth([0.0, 0.0], [0.0, 0.0]) == 1).all()  # nothing lost on either side says nothing


# --- through the whole path -----------------------------------------------------------------------------------


def planted(break_at: str | None) -> None:
    """A row of the ledger in which a model halved what HAR leaves, until a day from which it is of another time."""
    spec, protocol, matrix = catalog.spec(RIDGE), Protocol(), mt.matrix("MSFT", target="volatility")
    e = evaluate(spec, matrix, protocol, trials.key(spec, matrix, protocol))
    har, y = e.forecasts["baseline"], e.forecasts["y"]
    said = har + 0.5 * (y - har)
    if break_at is not None:
        late = said.index >= break_at
        said = said.where(~late, har.shift(252).bfill())
    trials.record(replace(e, forecasts=e.forecasts.assign(forecast=said)), matrix)


def test_a_model_that_broke_is_retired_within_months_and_one_that_did_not_is_healthy():
    planted("2011-02-22")
    found = mt.monitor("MSFT", target="volatility", since="2011-02-22")
    row = found.rows.set_index("model").loc[RIDGE]
    assert row["state"] == "retire"
    assert "2011-02-22" < row["cusum_on"] < "2011-06-01"
    assert "2011-02-22" < row["retired_on"] < "2012-02-22"
    assert row["saved_before"] > 0.5 > 0 > row["saved"]
    assert "it does worse than HAR" in row["says"]
    assert f"to retire: {RIDGE} on MSFT since {row['retired_on']}" in found.sentence()
    path = found.paths["MSFT", RIDGE]
    assert str(path.index[path["e_value"] >= 20][0].date()) == row["retired_on"]
    har = found.rows.set_index("model").loc["HAR"]
    assert (har["state"], har["rival"]) == ("healthy", "mean")


def test_a_model_that_goes_on_as_before_is_healthy():
    planted(None)
    row = mt.monitor("MSFT", target="volatility").rows.set_index("model").loc[RIDGE]
    assert row["state"] == "healthy"
    assert row["says"] == "it does what it did"
    assert row["e_value"] < 4


def test_what_is_said_as_of_a_day_does_not_know_the_days_after_it(made: tuple[Matrix, pd.DataFrame]):
    m, frame = made
    row, path = watched(frame, m, "HAR", "mean", since="2007-01-03")
    cut = frame[frame.index < "2009-01-02"]
    then, before = watched(cut, m, "HAR", "mean", since="2007-01-03")
    pd.testing.assert_frame_equal(before, path.iloc[: len(before)], check_exact=True)
    assert row["saved_before"] == then["saved_before"]


def test_health_is_the_worst_of_its_thresholds_and_each_row_says_what_it_is():
    assert len(HEALTH) == len({t.figure for t in HEALTH})
    assert {t.figure for t in HEALTH} <= set(COLUMNS)
    e = HEALTH[0]
    assert [STATES[e.state(v)] for v in (1.0, 4.0, 20.0, float("nan"))] == ["healthy", "watch", "retire", "healthy"]


MISTAKES = {
    "rank": ({"target": "rank"}, BadInput, "rank is of names side by side"),
    "too early": ({"since": "2004-06-01"}, NotEnoughHistory, "choose another `since`"),
    "too late": ({"since": "2013-02-01"}, NotEnoughHistory, "252 and 40 are needed"),
    "a day": ({"since": "soon"}, BadInput, "since 'soon' is not a day"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line(what: str):
    asked, error, said = MISTAKES[what]
    with pytest.raises(error, match=said):
        mt.monitor("MSFT", **asked)


def test_a_universe_is_watched_without_the_names_that_are_not_there(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("MSFT\nNOPE\n")
    with pytest.warns(Partial, match="1 of 2 names of mine.txt are left out: NOPE"):
        found = mt.monitor(mt.universe(str(tmp_path / "mine.txt")), target="volatility")
    assert set(found.rows["ticker"]) == {"MSFT"}
    with pytest.raises(BadInput, match="no ticker in mode sample is called 'NOPE'"):
        mt.monitor(["MSFT", "NOPE"], target="volatility")


# --- what was committed ---------------------------------------------------------------------------------------


def committing(made: tuple[Matrix, pd.DataFrame], days: int, shift: float = 0.0) -> pd.DatetimeIndex:
    """Commit what HAR said on each of so many sessions of 2012, plus a shift, in the ledger of forecasts."""
    one = mt.forecast("MSFT", target="volatility", as_of="2012-01-03", commit=False)
    said = made[1].loc["2012-01-03":].iloc[:days]
    for session, row in said.iterrows():
        at, value = str(session.date()), float(row["forecast"]) + shift
        bounds = {"low": value - 1.5, "high": value + 1.5, "baseline_forecast": float(row["rival"])}
        commit(replace(one, as_of=at, known_on=after(session, 5), forecast=value, **bounds), latest=at)
    return pd.DatetimeIndex(said.index)


def test_what_was_committed_is_watched_beside_the_walk_forward_and_each_is_labelled(made: tuple[Matrix, pd.DataFrame]):
    days = committing(made, 80)
    found = mt.monitor("MSFT", target="volatility")
    assert list(found.rows["source"]) == ["walk-forward", "committed, historical"]
    row = found.rows.iloc[1]
    assert (row["model"], row["rival"], row["since"], row["forecasts"]) == ("HAR", "mean", "2012-01-03", 80)
    y, said = made[1]["y"].loc[days], made[1]["forecast"].loc[days]
    assert row["coverage"] == pytest.approx(((y - said).abs() <= 1.5).mean())  # by the bounds as they were stated
    saved = 1 - ((y - said) ** 2).mean() / ((y - made[1]["rival"].loc[days]) ** 2).mean()
    assert row["saved"] == pytest.approx(saved)
    assert row["state"] != "retire"
    assert found.sentence().startswith("2 forecasters watched, 1 of them by what was committed: ")
    assert ("MSFT", "committed, historical") in found.paths
    then = mt.monitor("MSFT", target="volatility", as_of=str(days[60].date()))
    assert then.rows["forecasts"].iloc[1] < 61  # outcomes that were not known then do not count


def test_committed_forecasts_that_went_wrong_ring_the_alarm_of_their_own_row(made: tuple[Matrix, pd.DataFrame]):
    committing(made, 120, shift=2.0)
    found = mt.monitor("MSFT", target="volatility")
    assert list(found.rows["state"])[1] == "retire"
    assert found.rows["state"].iloc[0] != "retire"  # the walk-forward said nothing of the kind


def test_too_few_committed_forecasts_are_named_and_not_judged(made: tuple[Matrix, pd.DataFrame]):
    committing(made, 39)
    found = mt.monitor("MSFT", target="volatility")
    assert found.rows["source"].tolist() == ["walk-forward"]
    assert "39 since; 252 and 40 are needed" in found.dropped["MSFT", "committed, historical"]
    assert "all of them as a walk-forward has it, none committed" in found.sentence()
    assert found.to_dict()["dropped"][0]["model"] == "committed, historical"
