"""The live path, day by day, against the replayed provider: fetch, forecast, recommend, watch; the outcome, the score.

The history is the packaged one in the provider's envelopes, and ends on the day the clock shows.
"""

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from evenings import Clock, Inbox, apart
from replay import faults
from replay.server import Replay

import mltrainer as mt
from mltrainer.errors import Refused
from mltrainer.trading.alerts import Account, Checked, Position, check, history
from mltrainer.trading.alerts.delivery import AGAIN
from mltrainer.trading.forecasts import ledger as forecasts
from mltrainer.trading.recommendations import ledger as recommendations
from mltrainer.trust import audit

NAMES = ["MSFT", "IBM"]
SESSIONS = ("2010-03-01", "2010-03-02", "2010-03-03", "2010-03-04", "2010-03-05", "2010-03-08", "2010-03-09",
            "2010-03-10", "2010-03-11")  # fmt: skip
AGGS = "/v2/aggs"


def run() -> None:
    """What cron does in the evening."""
    mt.forecast(NAMES, target="volatility")
    mt.recommend(NAMES)
    check("MSFT", accounts=[Account(limit=0.5)], send=False)


def killed(work: Callable[[], object], kinds: Sequence[str], number: int = 1) -> None:
    """Some work, killed right after its n-th entry of some kinds was written, before the transaction of it ended."""
    true, count = audit.extend, itertools.count(1)

    def extend(connection: object, what: str, payload: object) -> str:
        head = true(connection, what, payload)  # type: ignore[arg-type]
        if what in kinds and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return head

    audit.extend = extend  # type: ignore[assignment]
    work()


def written() -> tuple[int, int, int]:
    return len(forecasts.records()), len(recommendations.written()), len(history())


def once(session: str) -> bool:
    """Whether a session has each forecast and each recommendation once."""
    said = [f.ticker for f in forecasts.records() if f.as_of == session]
    rows = recommendations.written()
    return sorted(said) == sorted(NAMES) == sorted(rows.loc[rows["as_of"] == session, "ticker"])


def unadjusted(sent: faults.Sent) -> faults.Sent:
    """Ten for one from four bars before the last, and nobody says so."""

    def change(found: faults.Rows, _: int) -> faults.Rows:
        names = dict.fromkeys("ohlc", 0.1) | {"v": 10.0}
        return found[:-4] + [row | {n: round(row[n] * by, 4) for n, by in names.items()} for row in found[-4:]]

    return faults.rows(change)(sent)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes")
def test_evenings_started_twice_killed_or_run_by_a_clock_put_back_lose_nothing_and_double_nothing(
    day: Callable[[str], None],
):
    mt.portfolio.record("deposit", SESSIONS[0], cash=10_000)
    mt.portfolio.record("buy", SESSIONS[0], ticker="MSFT", quantity=300, price=29.0)
    # the first evening: forward evidence, committed before its outcome
    day(SESSIONS[0])
    run()
    assert once(SESSIONS[0])
    assert {(f.evidence, f.mode) for f in forecasts.records()} == {("forward", "replay")}
    assert set(mt.forecasts.history()["status"]) == {"open"}
    assert set(history()["condition"]) >= {"position"}
    standing = len(history())
    # the second: started twice at once
    day(SESSIONS[1])
    both = [apart(run), apart(run)]
    for process in both:
        process.join(240)
    assert [p.exitcode for p in both] == [0, 0]
    assert once(SESSIONS[1])
    assert len(history()) == len(set(history()["id"])) == standing
    # the third: killed in the middle of each thing it commits, then run once more
    day(SESSIONS[2])
    before = written()
    for kind in ("forecast", "recommendation"):
        process = apart(killed, run, [kind])
        process.join(240)
        assert process.exitcode == -signal.SIGKILL
        assert written()[1:] == before[1:]
    assert len(forecasts.records()) == before[0] + 2  # those of the second attempt were whole before it was killed
    run()
    assert once(SESSIONS[2])
    # the fourth: the clock is put back by a day
    day(SESSIONS[3])
    before = written()
    Clock.put(datetime.fromisoformat(f"{SESSIONS[2]}T20:00:00+00:00"))
    with pytest.raises(Refused, match="set the clock right"):
        mt.forecast("MSFT", target="volatility")
    assert written() == before
    day(SESSIONS[3])
    run()
    assert once(SESSIONS[3])
    rows = recommendations.written()
    assert not rows.duplicated(["ticker", "as_of", "horizon"]).any()
    assert len(history()) == len(set(history()["id"]))
    assert audit.verify() == []


@pytest.mark.slow
def test_no_recommendation_rests_on_unadjusted_or_missing_bars_and_outcomes_are_scored_as_they_arrive(
    day: Callable[[str], None], replay: Replay, monkeypatch: pytest.MonkeyPatch
):
    day(SESSIONS[0])
    mt.forecast("MSFT", target="volatility")
    mt.recommend("MSFT")
    assert mt.forecasts.history()["status"].tolist() == ["open"]
    # a split that is not in the prices of one name
    day(SESSIONS[4])
    monkeypatch.setitem(faults.FAULTS, "unadjusted", unadjusted)
    replay.fault("unadjusted", path=f"{AGGS}/ticker/IBM", times=None)
    found = mt.recommend(NAMES)
    assert set(found.refused) == {"IBM"}
    assert "split" in found.refused["IBM"]
    replay.heal()
    # one name has no bar of the session yet
    day(SESSIONS[5])
    replay.until["IBM"] = SESSIONS[4]
    assert "last bar is of 2010-03-05" in mt.recommend(NAMES).refused["IBM"]
    # outcomes arrived
    day(SESSIONS[8])
    first = mt.forecasts.history().iloc[0]
    assert first["status"] == "known"
    y = mt.matrix("MSFT", target="volatility").y
    assert first["outcome"] == pytest.approx(float(y[SESSIONS[0]]), abs=1e-12)
    over = mt.recommendations.history().rows
    assert over.loc[over["as_of"] == SESSIONS[0], "state"].tolist() == ["over"]
    assert "IBM" not in set(recommendations.written()["ticker"])
    assert audit.verify() == []


# --- alerts ---------------------------------------------------------------------------------------------------

HELD = [Position(ticker, "2010-02-08", stop=0.005, target=0.02) for ticker in NAMES]
DELIVERIES = ("alert", "alert event")


def watch(**how: Any) -> Checked:
    return check(positions=HELD, **how)


def fired() -> list[tuple[str, str, str]]:
    rows = history()
    return sorted(zip(rows["subject"], rows["condition"], rows["session"], strict=True))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes")
def test_a_check_of_live_bars_killed_at_each_entry_writes_every_alert_once_and_sends_it_once(
    day: Callable[[str], None], inbox: Inbox
):
    day(SESSIONS[3])
    for number in itertools.count(1):
        process = apart(killed, watch, DELIVERIES, number)
        process.join(240)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert audit.verify() == []
    assert number > 6  # two subjects: what fired, that it was checked, that it is sent, that it was
    watch()
    found = history()
    assert {subject.partition("@")[0] for subject in found["subject"]} == set(NAMES)
    assert not found.duplicated(["subject", "condition", "session"]).any()
    told = [line for line in inbox.lines if AGAIN not in line]
    assert sorted(line.rpartition(", ")[2][:12] for line in told) == sorted(found["id"])
    again = Counter(line.rpartition(", ")[2][:12] for line in inbox.lines if AGAIN in line)
    assert len(set(again.values())) == 1  # of the one message that had left, and was killed before that was written


@pytest.mark.usefixtures("database")  # two homes, each with rows of its own
def test_bars_sent_twice_late_or_unadjusted_and_a_clock_put_back_lose_no_alert_and_double_none(
    day: Callable[[str], None], replay: Replay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLTRAINER_HOME", str(tmp_path / "reference"))
        for session in SESSIONS[:5]:
            day(session)
            watch(send=False)
        reference = fired()
    assert {subject.partition("@")[0] for subject, _, _ in reference} == set(NAMES)

    day(SESSIONS[0])
    assert [len(watch(send=False).new) > 0 for _ in range(2)] == [True, False]
    # one name has no bar of the session yet, and one bar of the other is sent twice
    day(SESSIONS[1])
    replay.until["IBM"] = SESSIONS[0]
    replay.fault("duplicate", path=f"{AGGS}/ticker/MSFT", times=None)
    assert watch(send=False).subjects == {HELD[0].subject: SESSIONS[1], HELD[1].subject: SESSIONS[0]}
    replay.heal()
    # a split that nobody adjusted for, and two bars of one session that differ
    day(SESSIONS[2])
    monkeypatch.setitem(faults.FAULTS, "unadjusted", unadjusted)
    replay.fault("unadjusted", path=f"{AGGS}/ticker/IBM", times=None)
    replay.fault("conflict", path=f"{AGGS}/ticker/MSFT", times=None)
    doubted = watch(send=False)
    assert doubted.new == []
    assert "split" in doubted.withheld[HELD[1].subject]
    assert "two different bars of MSFT" in doubted.withheld[HELD[0].subject]
    replay.heal()
    for session in (SESSIONS[3], SESSIONS[2], SESSIONS[4], SESSIONS[4]):  # the clock is put back in between
        day(session)
        watch(send=False)
    assert fired() == reference
    assert audit.verify() == []
