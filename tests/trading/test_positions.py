"""The ledger of positions: its arithmetic against books and spreadsheets, its entries append-only."""

import csv
import io
from datetime import date
from pathlib import Path

import databases
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.errors import BadInput, UnknownName
from mltrainer.trading.positions import (
    KINDS,
    Entry,
    State,
    correct,
    entries,
    export_csv,
    import_csv,
    money_weighted,
    rebalance,
    record,
    time_weighted,
    value,
    walk,
    what_if,
)
from mltrainer.trust import audit

CASH = Entry("deposit", "2010-01-04", cash=10_000.0)


def trades(*given: tuple[str, float, float]) -> State:
    return walk([CASH, *(Entry(k, "2010-01-05", "T", quantity=q, price=p) for k, q, p in given)])


# --- arithmetic -----------------------------------------------------------------------------------------------


def test_the_oldest_shares_are_sold_first_by_hand():
    """100 at 10 and 50 at 12; 120 sold at 15: cost 100 * 10 + 20 * 12 = 1,240, gain 560, and 30 at 12 are left."""
    state = trades(("buy", 100, 10), ("buy", 50, 12), ("sell", 120, 15))
    assert state.realized == {"T": pytest.approx(560)}
    assert state.quantities == {"T": pytest.approx(30)}
    assert state.costs == {"T": pytest.approx(360)}
    assert state.cash == pytest.approx(10_000 - 1_000 - 600 + 1_800)


def test_a_fee_is_part_of_what_shares_cost_and_takes_from_what_a_sale_gains():
    state = walk(
        [CASH, Entry("buy", "2010-01-05", "T", 10, 10, fee=5), Entry("sell", "2010-01-06", "T", 10, 12, fee=5)]
    )
    assert state.realized == {"T": pytest.approx(10)}
    assert state.cash == pytest.approx(10_010)
    assert state.fees == 10


def test_a_split_changes_shares_and_unit_cost_and_neither_cost_nor_cash():
    state = walk([CASH, Entry("buy", "2010-01-05", "T", 10, 10), Entry("split", "2010-01-06", "T", ratio=2)])
    assert (state.quantities, state.costs, state.cash) == ({"T": 20}, {"T": 100}, 9_900)
    assert walk(
        [CASH, Entry("buy", "2010-01-05", "T", 10, 10), Entry("dividend", "2010-01-06", "T", cash=7)]
    ).dividends == {"T": 7}


def test_the_money_weighted_return_is_that_of_excels_documentation_of_xirr():
    """Microsoft, XIRR function: -10,000, 2,750, 4,250, 3,250 and 2,750 dollars give 0.373362535."""
    paid = [("2008-01-01", 10_000), ("2008-03-01", -2_750), ("2008-10-30", -4_250), ("2009-02-15", -3_250)]
    rate = money_weighted([(date.fromisoformat(d), f) for d, f in paid], 2_750, date(2009, 4, 1))
    assert rate == pytest.approx(0.373362535, abs=1e-8)


def test_both_returns_of_the_example_by_which_they_are_taught():
    """A share at 100, a second at 120 a year later, dividends of 2 a share, both sold at 130 after two years.

    Course notes of the CFA Program, Level I, LOS 7.d: 100 in, 118 more, 264 out: 13.86 % by money; by time, of 22 %
    and 10 % in the years, 15.84 %.
    """
    by_money = money_weighted([(date(2001, 1, 1), 100), (date(2002, 1, 1), 118)], 264, date(2003, 1, 1))
    assert by_money == pytest.approx(0.1386, abs=5e-5)
    by_time = time_weighted(pd.Series([100.0, 122.0, 264.0]), pd.Series([100.0, 0.0, 118.0]))
    assert (1 + by_time) ** 0.5 - 1 == pytest.approx(0.1584, abs=5e-5)


@given(st.lists(st.floats(-0.5, 1.0), min_size=1, max_size=20), st.lists(st.floats(0, 1e6), min_size=20, max_size=20))
def test_what_is_brought_in_does_not_move_the_time_weighted_return(returns: list[float], brought: list[float]):
    worth, values, flows = 0.0, [], [1_000.0, *brought][: len(returns)]
    for r, f in zip(returns, flows, strict=True):
        worth = (worth + f) * (1 + r)
        values.append(worth)
    assert time_weighted(pd.Series(values), pd.Series(flows)) == pytest.approx(np.prod(1 + np.array(returns)) - 1)


def test_the_trades_of_a_rebalance_reach_the_weights_by_hand():
    state = trades(("buy", 500, 10))  # 5,000 in shares, 5,000 in cash
    made = rebalance(state, {"T": 10.0, "U": 20.0}, {"T": 0.25, "U": 0.5})
    assert made["shares"].to_dict() == {"T": -250.0, "U": 250.0}
    assert made["weight"].to_dict() == {"T": 0.5, "U": 0.0}
    with pytest.raises(BadInput, match="U has no price"):
        rebalance(state, {"T": 10.0}, {"U": 0.5})
    with pytest.raises(BadInput, match="together at most 1"):
        rebalance(state, {"T": 10.0}, {"T": 1.5})


# --- entries --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_entries_are_kept_in_the_trail_and_what_an_account_cannot_do_is_not_written(database: object):
    record("deposit", "2010-01-04", cash=1_000)
    record("buy", "2010-01-05", ticker="msft", quantity=10, price=25)
    for mistake, said in (
        (
            {"kind": "sell", "on": "2010-01-06", "ticker": "MSFT", "quantity": 11, "price": 30},
            "needs 11 shares, and 10 are held",
        ),
        ({"kind": "sell", "on": "2010-01-04", "ticker": "MSFT", "quantity": 5, "price": 30}, "and 0 are held"),
        (
            {"kind": "buy", "on": "2010-01-06", "ticker": "IBM", "quantity": 100, "price": 30},
            "750.00 are there; deposit",
        ),
        ({"kind": "dividend", "on": "2010-01-06", "ticker": "IBM", "cash": 3}, "needs some shares"),
    ):
        with pytest.raises(BadInput, match=said):
            record(**mistake)
    assert [(e["kind"], e["ticker"]) for e in entries()] == [("deposit", ""), ("buy", "MSFT")]
    assert len(audit.entries(kind="position")) == 2
    assert audit.verify() == []


def test_a_correction_is_an_entry_that_voids_one_and_says_why():
    record("deposit", "2010-01-04", cash=1_000)
    record("buy", "2010-01-05", ticker="MSFT", quantity=10, price=52)
    assert correct(2, "25, not 52").cash == 1_000
    state = record("buy", "2010-01-05", ticker="MSFT", quantity=10, price=25)
    assert state.costs == {"MSFT": 250}
    assert [e["void"] for e in entries()] == [False, True, False, False]
    assert correct(2, "again").cash == 750  # once
    assert len(entries()) == 4
    with pytest.raises(BadInput, match=r"takes 250\.00 dollars, and 0\.00 are there"):
        correct(1, "there was none")  # then the purchase could not have been paid
    with pytest.raises(BadInput, match="has no entry 9"):
        correct(9, "x")
    with pytest.raises(BadInput, match="give a reason"):
        correct(1, " ")


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (
            {"kind": "buy", "on": "2010-01-05", "ticker": "MSFT", "quantity": 1},
            "buy on 2010-01-05 needs ticker and quantity and price",
        ),
        ({"kind": "deposit", "on": "2010-01-05", "cash": -5}, "cash '-5' must be a positive number"),
        ({"kind": "deposit", "on": "2010-01-05", "cash": "nan"}, "must be a positive number"),
        ({"kind": "deposit", "on": "2010-01-05", "cash": "much"}, "'much' is no number"),
        ({"kind": "deposit", "on": "soon", "cash": 5}, "'soon' is not a day"),
        ({"kind": "deposit", "on": "2010-01-05", "cash": 5, "ticker": "MSFT"}, "needs cash, not ticker"),
        ({"kind": "buy", "on": "2010-01-05", "ticker": "=1+1", "quantity": 1, "price": 1}, "is no ticker"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(given_: dict, said: str):
    with pytest.raises(BadInput, match=said):
        record(**given_)
    with pytest.raises(UnknownName, match="no kind of entry is called 'bye'; close: buy"):
        record("bye", "2010-01-05")


def test_an_entry_that_was_changed_is_found(tamper: databases.Tamper):
    record("deposit", "2010-01-04", cash=1_000)
    tamper("UPDATE positions SET payload = replace(payload, '1000.0', '9000.0')")
    assert "position" in audit.verify()[0]
    assert "cash is '9000.0', its entry says '1000.0'" in audit.verify()[0]


# --- sheets ---------------------------------------------------------------------------------------------------


def test_a_sheet_goes_out_and_in_and_a_second_time_adds_nothing(tmp_path: Path):
    record("deposit", "2010-01-04", cash=1_000, note="from home")
    for _ in range(2):  # two trades that are alike are two
        record("buy", "2010-01-05", ticker="MSFT", quantity=0.1, price=25.3)
    (tmp_path / "all.csv").write_text(export_csv())
    assert import_csv(tmp_path / "all.csv")[1] == 0
    state, n = import_csv(tmp_path / "all.csv", account="other")
    assert n == 3
    assert state.quantities == {"MSFT": pytest.approx(0.2)}
    assert import_csv(tmp_path / "all.csv", account="other")[1] == 0
    assert export_csv("other") == export_csv()
    correct(2, "was none", account="main")
    assert import_csv(tmp_path / "all.csv")[1] == 0  # what was voided does not come back with an old file


@pytest.mark.parametrize("note", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "'=1", "plain", '=cmd|"/c calc"!A1'])
def test_text_that_a_spreadsheet_would_run_goes_out_with_an_apostrophe_and_comes_back_as_it_was(
    tmp_path: Path, note: str
):
    record("deposit", "2010-01-04", cash=1_000, note=note)
    (row,) = csv.DictReader(io.StringIO(export_csv()))
    assert not row["note"].startswith(("=", "+", "-", "@", "\t", "\r"))
    (tmp_path / "all.csv").write_text(export_csv())
    import_csv(tmp_path / "all.csv", account="other")
    assert entries("other")[0]["note"] == note.replace("\t", " ")  # a control is kept as a space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind,day,cash\ndeposit,2010-01-04,100\nbuy,2010-01-05,\n", "line 3: buy on 2010-01-05 needs"),
        ("what,when\n1,2\n", "first line must name kind and day"),
        ("kind,day,cash,formula\ndeposit,2010-01-04,1,2\n", "no more than"),
        ("kind,day,cash\ndeposit,2010-01-04,100\nwithdraw,2010-01-05,500\n", "takes 500.00 dollars"),
    ],
)
def test_a_sheet_with_a_mistake_writes_nothing(tmp_path: Path, text: str, said: str):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(BadInput, match=said):
        import_csv(tmp_path / "bad.csv")
    assert entries() == []


# --- value ----------------------------------------------------------------------------------------------------


def test_an_account_is_worth_its_shares_at_the_close_and_its_cash_by_hand():
    bars = mt.bars("MSFT", start="2010-01-04", end="2010-06-30").frame["close"]
    record("deposit", "2010-01-04", cash=10_000)
    record("buy", "2010-01-05", ticker="MSFT", quantity=100, price=float(bars.loc["2010-01-05"]))
    record("deposit", "2010-03-01", cash=5_000)
    found = value(as_of="2010-06-30", benchmark="IBM")
    gain = 100 * (bars.iloc[-1] - bars.loc["2010-01-05"])
    assert found.value == pytest.approx(15_000 + gain)
    assert found.gain == pytest.approx(gain)
    assert found.positions.loc["MSFT", "unrealized"] == pytest.approx(gain)
    before, after = (10_000 + 100 * (bars.loc[d] - bars.loc["2010-01-05"]) for d in ("2010-02-26", "2010-06-30"))
    assert found.time_weighted == pytest.approx(before / 10_000 * (after + 5_000) / (before + 5_000) - 1)
    assert -0.9 < found.money_weighted < 0
    ibm = mt.bars("IBM", start="2010-01-04", end="2010-06-30").frame["close"]
    assert found.benchmark == pytest.approx(ibm.iloc[-1] / ibm.iloc[0] - 1)
    assert value(as_of="2010-02-26").value == pytest.approx(before)
    assert set(what_if({"MSFT": 1.0}, as_of="2010-06-30").index) == {"MSFT"}


def test_the_sample_refuses_to_count_dividends_twice_and_an_empty_account_says_so():
    with pytest.raises(BadInput, match="account main has no entry"):
        value()
    record("deposit", "2010-01-04", cash=10_000)
    assert value(as_of="2010-01-08").value == 10_000
    record("buy", "2010-01-05", ticker="MSFT", quantity=1, price=25)
    record("dividend", "2010-02-16", ticker="MSFT", cash=0.13)
    with pytest.raises(BadInput, match="hold dividends and splits already"):
        value()


def test_every_kind_says_what_it_needs():
    assert all(k.needs and k.text for k in KINDS.values())


def test_an_entry_of_a_day_that_has_not_come_and_a_weight_that_is_no_number_are_one_line():
    with pytest.raises(BadInput, match="deposit on 2999-01-04 has not happened yet"):
        mt.portfolio.record("deposit", "2999-01-04", cash=100)
    mt.portfolio.record("deposit", "2008-01-02", cash=100)
    with pytest.raises(BadInput, match="target weights must be from 0 to 1"):
        mt.portfolio.what_if({"MSFT": float("nan")})
