"""What an account holds is watched as its ledger says: each purchase, the weights, and what was lost from the peak."""

import numpy as np
import pandas as pd
import pytest
from replay.server import Replay as Server

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.trading.alerts import Account, check, holding, ledger, replay
from mltrainer.trading.alerts.kinds import KINDS
from mltrainer.trading.alerts.watching import book_frame
from mltrainer.trading.positions.accounts import Entry

DAYS = ("2007-12-03", "2008-03-03", "2008-10-10")


@pytest.fixture
def account() -> None:
    """Two names bought in December 2007, one of them sold in March 2008, at what they closed at."""
    bought("main")
    mt.portfolio.record("sell", DAYS[1], ticker="IBM", quantity=400, price=close("IBM", DAYS[1]))


def bought(account: str) -> None:
    mt.portfolio.record("deposit", DAYS[0], account=account, cash=100_000)
    for name, n in (("AAPL", 2_000), ("IBM", 400)):
        mt.portfolio.record("buy", DAYS[0], account=account, ticker=name, quantity=n, price=close(name, DAYS[0]))


def close(name: str, day: str) -> float:
    return float(mt.bars(name).frame["close"].loc[day])


def condition(name: str) -> object:
    return next(k for k in KINDS if k.name == name)


def test_purchases_are_first_in_first_out_over_a_split_and_a_part_sold_is_held():
    found = [
        Entry("buy", "2010-01-04", "A", 100, 10.0),
        Entry("buy", "2010-01-04", "A", 100, 20.0),
        Entry("buy", "2010-02-01", "A", 50, 30.0),
        Entry("split", "2010-03-01", "A", ratio=2.0),
        Entry("sell", "2010-04-01", "A", 399, 9.0),
        Entry("sell", "2010-05-03", "A", 1, 9.0),
        Entry("sell", "2010-06-01", "A", 99, 9.0),
    ]
    one, two = holding.purchases(Account("x"), found)
    assert (one.subject, one.price, one.closed) == ("x/A@2010-01-04", 15.0, "2010-05-03")
    assert (two.subject, two.price, two.closed) == ("x/A@2010-02-01", 30.0, None)
    assert [p.closed for p in holding.purchases(Account("x"), found[:5])] == [None, None]


def test_what_was_lost_from_the_peak_is_by_time_and_no_withdrawal_is_a_loss():
    """100 in, 50 of them in a share at 10; it rises to 12, 40 are taken out, it falls to 6: by hand."""
    days = pd.bdate_range("2010-01-04", periods=4, name="session")
    found = [
        Entry("deposit", "2010-01-04", cash=100.0),
        Entry("buy", "2010-01-04", "A", 5, 10.0),
        Entry("withdraw", "2010-01-06", cash=40.0),
    ]
    frame = holding.path(Account("x"), found, pd.DataFrame({"A": [10.0, 12.0, 12.0, 6.0]}, days))
    assert frame["wealth"].tolist() == pytest.approx([1.0, 1.1, 1.1, 1.1 * 40 / 70])
    assert frame["drawdown"].tolist() == pytest.approx([0, 0, 0, 30 / 70])
    assert frame["largest"].tolist() == pytest.approx([0.5, 60 / 110, 60 / 70, 30 / 40])
    assert frame["gap"].iloc[2] == pytest.approx(60 / 70 - 0.5)  # it was meant to be half, when it was bought
    meant = holding.path(Account("x", targets={"A": 0.75}), found, pd.DataFrame({"A": [10.0, 12.0, 12.0, 6.0]}, days))
    assert meant["gap"].iloc[3] == pytest.approx(0.0)
    first = book_frame(pd.DataFrame({"A": [1.0]}), pd.Series([0.9]), pd.Series({"A": 1.0}))
    assert first["drawdown"].iloc[0] == pytest.approx(0.1)  # a loss on the first session is one


def test_a_book_that_fell_by_a_fifth_says_so_once_until_half_of_it_is_back():
    from mltrainer.trading.alerts.firing import episodes

    wealth = pd.Series([1.0, 0.81, 0.80, 0.79, 0.88, 0.79, 0.95, 0.75], pd.bdate_range("2010-01-04", periods=8))
    frame = book_frame(pd.DataFrame({"A": [0.1] * 8}, wealth.index), wealth, pd.Series({"A": 0.1}))
    found = [(e.start, e.end) for e in episodes(condition("stop_loss/drawdown"), frame)]
    assert found == [(2, 6), (7, None)]
    large = frame.assign(limit=0.10, largest=[0.1, 0.11, 0.09, 0.11, 0.08, 0.09, 0.12, 0.12])
    assert [(e.start, e.end) for e in episodes(condition("portfolio_deviation/position"), large)] == [(1, 4), (6, None)]


def test_a_check_reads_the_account_and_says_a_thing_once(account: None):
    found = check(accounts=["main"], as_of=DAYS[2], send=False)
    assert set(found.subjects) == {"main", f"main/AAPL@{DAYS[0]}", f"main/IBM@{DAYS[0]}"}
    said = {(a.subject, a.kind, a.condition) for a in found.new}
    assert (f"main/AAPL@{DAYS[0]}", "stop_loss", "touched") in said
    assert {("main", "stop_loss", "drawdown"), ("main", "portfolio_deviation", "position")} <= said
    assert not any(s == f"main/IBM@{DAYS[0]}" and k == "exit_signal" for s, k, _ in said)  # it was sold before
    fell = next(a for a in found.new if a.condition == "drawdown")
    by_hand = mt.bars("AAPL").frame["close"].loc[DAYS[0] : DAYS[2]]
    ibm = mt.bars("IBM").frame["close"].loc[DAYS[0] : DAYS[2]]
    cash = 100_000 - 2_000 * by_hand.iloc[0] - 400 * ibm.iloc[0]
    sold = np.where(ibm.index < DAYS[1], ibm, ibm.loc[DAYS[1]])
    worth = cash + 2_000 * by_hand + 400 * sold
    lost = 1 - worth / worth.cummax()
    standing = lost.loc[lost.index[lost <= 0.1][-1] :]  # what was over before anybody looked is no news
    assert fell.session == str(standing.index[standing >= 0.2][0].date())
    assert fell.values["drawdown"] == pytest.approx(lost.loc[fell.session], abs=1e-12)  # noqa: PD011
    assert check(accounts=["main"], as_of=DAYS[2], send=False).new == []


def test_limits_of_ones_own_and_an_account_without_trades(account: None):
    """Two months by hand: 2,000 of AAPL and 400 of IBM are held, and a third of the wealth is cash."""
    last = "2008-02-01"
    closes = pd.DataFrame({name: mt.bars(name).frame["close"].loc[DAYS[0] : last] for name in ("AAPL", "IBM")})
    held = closes * [2_000, 400]
    worth = held.sum(axis=1) + 100_000 - held.iloc[0].sum()
    weights = held.div(worth, axis=0)
    away = weights - weights.iloc[0]
    assert away.abs().to_numpy().max() < 0.10  # by so much a weight may leave what was bought
    assert ((away.abs().sum(axis=1) + away.sum(axis=1).abs()) / 2).max() < 0.15
    largest, lost = weights.to_numpy().max(), (1 - worth / worth.cummax()).max()
    bought("tight")
    wide = {"stop": 0.9, "target": 9.0}
    above = Account("main", limit=largest + 1e-6, worst=lost + 1e-6, **wide)
    below = Account("tight", limit=largest - 1e-6, worst=lost - 1e-6, **wide)
    for what, day in (("position", weights.max(axis=1).idxmax()), ("drawdown", (worth / worth.cummax()).idxmin())):
        (one,) = check(accounts=[above, below], as_of=str(day.date()), send=False).new
        assert (one.subject, one.condition, one.session) == ("tight", what, str(day.date()))
        figure = {"position": ("largest", largest), "drawdown": ("drawdown", lost)}[what]
        assert one.values[figure[0]] == pytest.approx(figure[1], abs=1e-12)  # noqa: PD011 - of an alert
    assert check(accounts=[above, below], as_of=last, send=False).new == []
    mt.portfolio.record("deposit", DAYS[0], account="cash", cash=5)
    found = check(accounts=["cash", "none"], send=False)
    assert found.withheld == {"cash": "account cash holds nothing; record a trade",
                              "none": "account none holds nothing; record a trade"}  # fmt: skip
    with pytest.raises(BadInput, match="limit and worst are fractions"):
        Account(limit=10)


@pytest.mark.slow
def test_replay_walks_the_account_as_checks_on_every_day_would_have(account: None):
    past = replay((), accounts=["main"], end=DAYS[2]).alerts
    for day in mt.bars("AAPL").frame.loc[DAYS[0] : DAYS[2]].index[::12]:
        check(accounts=["main"], as_of=str(day.date()), send=False)
    check(accounts=["main"], as_of=DAYS[2], send=False)
    made = {(a.subject, a.kind, a.condition, a.session) for a in ledger.alerts()}
    assert made == {tuple(r) for r in past[["subject", "kind", "condition", "session"]].to_numpy().tolist()}
    assert {"drawdown", "touched", "position"} <= set(past["condition"])


def test_equal_weights_are_replayed_with_their_losses():
    """By hand: half in each on 2007-06-01, down by a fifth or more until half of that is back, twice."""
    span = {"start": "2007-06-01", "end": "2009-12-31"}
    found = replay(["MSFT", "AAPL"], kinds=["stop_loss"], **span)
    row = found.rates.set_index(["kind", "condition"]).loc[("stop_loss", "drawdown")]
    closes = pd.DataFrame({name: mt.bars(name, **span).frame["close"] for name in ("MSFT", "AAPL")})
    worth = (closes / closes.iloc[0]).mean(axis=1)
    lost, late = 1 - worth / worth.cummax(), worth.shift(-21)  # a month later it is worth less: the alert was right
    first = lost.index[lost >= 0.2][0]
    back = lost.index[(lost <= 0.1) & (lost.index > first)][0]
    second = lost.index[(lost >= 0.2) & (lost.index > back)][0]
    over = lost.index[(lost <= 0.1) & (lost.index > second)][0]
    assert not (lost[over:] >= 0.2).any()
    alerts = found.alerts[found.alerts["condition"] == "drawdown"]
    assert alerts["session"].tolist() == [str(d.date()) for d in (first, second)]
    assert alerts["over"].tolist() == [str(d.date()) for d in (back, over)]
    right = (late < worth)[late.notna()]
    assert alerts["right"].tolist() == [float(right[d]) for d in (first, second)] == [1.0, 1.0]
    base = 1 - right.mean()
    assert row.drop(["high", "low"]).to_dict() == pytest.approx({
        "alerts": 2, "a_year": 252 * 2 / len(worth), "judged": 2, "false_alarms": 0.0,
        "base": base, "better": base, "p": (1 - base) ** 2,
    })  # fmt: skip
    # Clopper and Pearson (1934), none wrong of two: from 0 to 1 - 0.025^(1/2)
    assert (row["low"], row["high"]) == pytest.approx((0.0, 1 - 0.025**0.5))


def test_a_split_that_the_account_has_no_entry_of_makes_no_loss(replay: Server):
    """MSFT was split 2:1 on 2003-02-18; as traded it halved, and an account without the entry would seem to."""
    mt.portfolio.record("deposit", "2003-01-06", cash=10_000)
    traded = mt.bars("MSFT", start="2003-01-06", end="2003-04-30", adjusted=False).frame["close"]
    mt.portfolio.record("buy", "2003-01-06", ticker="MSFT", quantity=100, price=float(traded.iloc[0]))
    found = check(accounts=["main"], as_of="2003-04-30", send=False)
    assert found.withheld == {"main": "MSFT was split on 2003-02-18, and account main has no entry of it; add it"}
    (lot,) = (s for s in found.subjects if s.startswith("main/"))
    assert lot == "main/MSFT@2003-01-06"
    mt.portfolio.record("split", "2003-02-18", ticker="MSFT", ratio=2)
    again = check(accounts=["main"], as_of="2003-04-30", send=False)
    assert again.withheld == {}
    assert "drawdown" not in {a.condition for a in again.new}
    adjusted = mt.bars("MSFT", end="2003-04-30")
    held = holding.priced(holding.purchases(Account(), holding.entries(Account(), None))[0], adjusted)
    assert held.price == pytest.approx(adjusted.frame["close"].loc["2003-01-06"])


def test_a_split_of_what_was_sold_before_it_needs_no_entry(replay: Server):
    mt.portfolio.record("deposit", "2003-01-06", cash=10_000)
    traded = mt.bars("MSFT", start="2003-01-06", end="2003-04-30", adjusted=False).frame["close"]
    for kind, day in (("buy", "2003-01-06"), ("sell", "2003-02-10")):
        mt.portfolio.record(kind, day, ticker="MSFT", quantity=100, price=float(traded.loc[day]))
    assert check(accounts=["main"], as_of="2003-04-30", send=False).withheld == {}


def test_what_is_meant_and_not_held_yet_is_far_from_its_target():
    """Half of the wealth was to be in B, of which nothing is held: by hand."""
    days = pd.bdate_range("2010-01-04", periods=2, name="session")
    found = [Entry("deposit", "2010-01-04", cash=100.0), Entry("buy", "2010-01-04", "A", 5, 10.0)]
    frame = holding.path(Account("x", targets={"A": 0.5, "B": 0.5}), found, pd.DataFrame({"A": [10.0, 10.0]}, days))
    assert frame["gap"].tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("wrong", [
    {"targets": {"MSFT": "x"}}, {"targets": {"IBM": 5.0}}, {"targets": {"IBM": -0.1}}, {"targets": {}}, {"stop": "a"},
])  # fmt: skip
def test_limits_that_are_none_are_one_line(wrong: dict[str, object]):
    with pytest.raises(BadInput, match=r"account|weights"):
        Account("MSFT", **wrong)


def test_two_subjects_of_one_name_are_refused_before_either_is_lost(account: None):
    with pytest.raises(BadInput, match="would be two subjects of one history"):
        check(accounts=["main", "main"], as_of=DAYS[2], send=False)


@pytest.mark.slow
def test_a_purchase_on_a_day_without_a_session_takes_nothing_else_with_it(replay: Server):
    """Bought on a Saturday, asked as of the Sunday: there is no session yet, and the others are looked at."""
    mt.portfolio.record("deposit", "2009-01-05", cash=10_000)
    mt.portfolio.record("buy", "2009-01-10", ticker="MSFT", quantity=10, price=19.0)
    found = check(["IBM"], accounts=["main"], as_of="2009-01-11", send=False)
    assert "IBM" in found.subjects
    assert "has no session from 2009-01-10" in found.withheld["main/MSFT@2009-01-10"]
