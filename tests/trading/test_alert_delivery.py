"""No alert is lost and none is doubled: whatever step a process is killed at, and however many run at once."""

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import pytest
from evenings import Inbox, apart

import mltrainer as mt
from mltrainer import store
from mltrainer.errors import Partial, StorageError
from mltrainer.trading.alerts import Position, check, delivery, ledger
from mltrainer.trading.alerts.delivery import AGAIN, channel, deliver
from mltrainer.trading.alerts.watching import Watched, held_frame
from mltrainer.trust import audit

apprise = pytest.importorskip("apprise")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals that kill")
HELD = [Position("MSFT", "2008-09-02"), Position("IBM", "2008-09-02")]
ALERTS = {("MSFT@2008-09-02", "2008-09-05"), ("IBM@2008-09-02", "2008-09-17")}  # lows 5 % below the entry


def stop_loss(subject: str = "T@2010-01-04", low: float = 90.0) -> Watched:
    days = pd.bdate_range("2010-01-04", periods=3, name="session")
    frame = held_frame(Position("T", "2010-01-04"), pd.DataFrame({"close": [100.0, 99.0, low]}, days))
    return Watched(subject, "position", frame, "sample")


# --- killed at every step -------------------------------------------------------------------------------------


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(true: Callable[..., object]) -> Callable[..., None]:
    """Do a step, and be killed before the next."""

    def call(*given: object, **knobs: object) -> None:
        true(*given, **knobs)
        die()

    return call


def told_that_it_left(found: object, event: str, *more: str) -> None:
    TELL(found, event, *more)
    if event == "sent":
        die()


TELL = ledger.tell
STEPS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "before anything is written": (ledger, "_raise", die),
    "an alert is written, its transaction not ended": (ledger, "_raise", after(ledger._raise)),
    "the first subject is written, the second not": (ledger, "settle", after(ledger.settle)),
    "all is written and nothing sent": (delivery, "deliver", die),
    "it is written that a message will leave": (delivery, "_sent", die),
    "the message has left, which is not written": (delivery, "_sent", after(delivery._sent)),
    "it is written that it has left": (ledger, "tell", told_that_it_left),
}
IN_DOUBT = ("it is written that a message will leave", "the message has left, which is not written")


def a_check(step: str) -> None:
    """A check, perhaps with a step at which it is killed."""
    if step:
        setattr(*STEPS[step])
    check(positions=HELD, as_of="2008-10-15")


def ended(process: BaseProcess) -> int | None:
    process.join(50)
    return process.exitcode


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_a_check_that_is_killed_at_any_step_loses_no_alert_and_doubles_none(step: str, inbox: Inbox):
    assert ended(apart(a_check, step)) == -signal.SIGKILL
    check(positions=HELD, as_of="2008-10-15")
    check(positions=HELD, as_of="2008-10-15")
    assert {(a.subject, a.session) for a in ledger.alerts()} == ALERTS
    assert len(ledger.alerts()) == 2
    assert audit.verify() == []
    once = [line for line in inbox.lines if AGAIN not in line]
    repeated = [line for line in inbox.lines if AGAIN in line]
    assert len(repeated) == (2 if step in IN_DOUBT else 0)  # it cannot be known, and is said
    assert len(once) == (0 if step == "it is written that a message will leave" else 2)
    assert len({line.split("[")[1][:24] for line in inbox.lines}) == 2


@pytest.mark.slow
def test_two_checks_that_start_at_once_write_and_send_each_alert_once(inbox: Inbox):
    both = [apart(a_check, "") for _ in range(2)]
    assert [ended(number) for number in both] == [0, 0]
    assert {(a.subject, a.session) for a in ledger.alerts()} == ALERTS
    assert sorted(line.split("@")[0].split()[-1] for line in inbox.lines) == ["IBM", "MSFT"]
    assert audit.verify() == []


def test_the_alerts_above_are_the_first_lows_five_percent_below_the_entry():
    for held in HELD:
        bars = mt.bars(held.ticker, start=held.entered).frame
        low = bars["low"] <= 0.95 * bars["close"].iloc[0]
        assert (held.subject, str(low.idxmax().date())) in ALERTS


# --- what is sent, and when -----------------------------------------------------------------------------------


def test_a_message_names_the_worst_first_and_an_address_with_its_secret_is_written_nowhere(inbox: Inbox, home: Path):
    days = pd.bdate_range("2010-01-04", periods=3, name="session")
    ledger.settle(Watched("b", "book", pd.DataFrame({"gap": [0.0, 0.0, 0.2]}, days), "sample"))
    ledger.settle(stop_loss())
    (done,) = deliver()
    assert (done.alerts, done.sent) == (2, True)
    assert deliver() == []
    (message,) = inbox.messages
    assert message["title"] == "mlTrainer, mode sample: 2 alerts, critical stop_loss of T@2010-01-04"
    assert message["type"] == "failure"
    assert [line.split()[0] for line in inbox.lines] == ["critical", "warning"]
    held = b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())
    assert b"hunter2" not in held
    assert done.channel.startswith("json:")
    assert "hunter2" not in done.channel


def test_what_could_not_be_sent_is_said_and_sent_by_the_next_check_without_a_doubt(inbox: Inbox):
    inbox.status = 500
    ledger.settle(stop_loss())
    with pytest.warns(Partial, match=r"1 alerts could not be sent to json:\w+; the next check tries again"):
        check(positions=[])
    inbox.status = 200
    check(positions=[])
    assert len(inbox.lines) == 1
    assert AGAIN not in inbox.lines[0]


def test_an_alert_that_was_over_before_anybody_sent_it_is_sent_and_says_so(inbox: Inbox):
    delivery.begin()
    days = pd.bdate_range("2010-01-04", periods=9, name="session")
    frame = pd.DataFrame({"gap": [0.0] * 3 + [0.2] * 3 + [0.0] * 3}, days)
    ledger.settle(Watched("b", "book", frame.iloc[:2], "sample"))
    ledger.settle(Watched("b", "book", frame, "sample"))
    deliver()
    assert "(over by now)" in inbox.lines[0]


def test_an_address_that_is_new_is_told_what_stands_and_not_all_that_ever_was(inbox: Inbox):
    days = pd.bdate_range("2010-01-04", periods=9, name="session")
    frame = pd.DataFrame({"gap": [0.0] * 3 + [0.2] * 3 + [0.0] * 3}, days)
    ledger.settle(Watched("b", "book", frame.iloc[:2], "sample"))
    ledger.settle(Watched("b", "book", frame, "sample"))
    ledger.settle(stop_loss())
    delivery.begin()
    deliver()
    assert [line.split()[1] for line in inbox.lines] == ["stop_loss:"]


def test_without_the_library_alerts_are_written_and_the_command_that_installs_it_is_said(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "apprise", None)  # as Python has it where an import failed
    with pytest.warns(Partial, match=r"alerts are written, and not sent: .* pip install 'mltrainer\[alerts\]'"):
        found = check(positions=HELD[:1], as_of="2008-10-15")
    assert len(found.new) == len(ledger.alerts()) == 1
    monkeypatch.undo()


def test_without_an_address_nothing_is_sent_and_nothing_is_missed():
    assert check(positions=HELD[:1], as_of="2008-10-15").deliveries == []


def test_another_process_that_sends_is_waited_for_and_then_named(inbox: Inbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery, "PATIENCE", 0.1)
    ledger.settle(stop_loss())
    with delivery.FileLock(store.settings().home / "alerts.lock"), pytest.raises(StorageError, match="another process"):
        deliver()


def test_a_channel_is_named_by_its_scheme_and_a_hash():
    assert channel("slack://token/a") == channel("slack://token/a")
    assert channel("slack://token/a") != channel("slack://token/b")
    assert channel("slack://token/a").startswith("slack:")


def test_an_address_that_nothing_can_be_sent_to_is_said_before_there_is_an_alert(monkeypatch: pytest.MonkeyPatch):
    """By its number: what is written in its place may be a secret."""
    monkeypatch.setenv("MLTRAINER_ALERT_URLS", "json://127.0.0.1:9/x hunter2 smack://hunter2@a")
    with pytest.warns(Partial) as said:
        check(positions=[])
    words = [str(w.message) for w in said]
    assert [w[:36] for w in words] == [f"address {n} of MLTRAINER_ALERT_URLS is" for n in (2, 3)]
    assert "hunter2" not in "".join(words)
