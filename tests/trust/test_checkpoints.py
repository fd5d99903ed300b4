"""A check may begin at a checkpoint; what it did not read is said, and a checkpoint that was forged is found."""

import json
import os

import pytest
from databases import BOTH, Tamper
from sqlalchemy import insert

from mltrainer import store
from mltrainer.errors import BadInput, Tampered
from mltrainer.settings import settings
from mltrainer.trust import audit, checking, checkpoints

pytestmark = BOTH
ROW = {"at": "now", "alert": "a", "event": "sent", "payload": "{}"}


def event(key: str) -> None:
    """A row that the trail tells all of."""
    with store.writing() as connection:
        (seq,) = connection.execute(insert(store.alert_events).values(key=key, **ROW)).inserted_primary_key
        audit.extend(
            connection, "alert event", {"key": key, "seq": seq} | {n: ROW[n] for n in ("at", "alert", "event")}
        )


@pytest.fixture
def checkpoint() -> audit.Head:
    for n in range(1, 7):
        audit.append("work", n=n)
    event("before")
    made = checkpoints.make()
    event("after")
    return made


def test_without_a_checkpoint_all_is_read() -> None:
    audit.append("work")
    done = checkpoints.verify()
    assert (done.findings, done.unread) == ([], 0)
    assert done.sentence() == "1 entries hold"


def test_from_a_checkpoint_on_only_what_came_since_is_read_and_it_says_so(checkpoint: audit.Head) -> None:
    done = checkpoints.verify()
    assert (done.findings, done.entries, done.unread) == ([], 9, 7)  # the checkpoint itself is read again
    assert done.sentence().startswith("2 entries since the checkpoint of ")
    assert (
        "entries 1 to 7 and the rows they tell of were counted and not read again (--full reads all)" in done.sentence()
    )


def test_a_change_before_a_checkpoint_is_found_by_a_full_check(checkpoint: audit.Head, tamper: Tamper) -> None:
    tamper("UPDATE audit SET payload = '{\"n\":9}' WHERE seq = 3")
    assert checkpoints.verify().findings == []  # as its sentence says
    assert ["entry 3 was edited" in found for found in audit.verify()] == [True]
    with pytest.raises(Tampered, match="no checkpoint was made, as this trail does not hold: entry 3"):
        checkpoints.make()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE audit SET payload = '{}' WHERE seq = 9", "entry 9 was edited"),
        ("DELETE FROM audit WHERE seq = 3", "the trail has 8 entries and ends at number 9"),
        ("DELETE FROM audit WHERE seq > 8", "the trail ends at entry 8"),
        ("DELETE FROM alert_events WHERE key = 'before'", "alert_events had 1 rows at entry 7, 1 came since"),
        ("DELETE FROM alert_events WHERE key = 'after'", "alert event after stands in the trail and is gone"),
        ("UPDATE alert_events SET event = 'failed' WHERE key = 'after'", "alert event after was edited: event"),
        (
            "INSERT INTO alert_events (seq, key, at, alert, event, payload) VALUES (9, 'k', 'now', 'a', 'sent', '{}')",
            "alert event k has no entry",
        ),
        ("INSERT INTO admitted VALUES ('c', 'p', 'now')", "admitted had 0 rows at entry 7, 0 came since"),
    ],
)
def test_a_check_from_a_checkpoint_finds_what_changed_since_and_what_is_gone(
    checkpoint: audit.Head, tamper: Tamper, statement: str, finding: str
) -> None:
    tamper(statement)
    assert any(finding in found for found in checkpoints.verify().findings)
    assert audit.verify() != []


def test_a_forged_checkpoint_is_found_and_all_before_it_is_read(checkpoint: audit.Head, tamper: Tamper) -> None:
    """Who has the database alone edits an entry and appends, with honest hashes, a checkpoint that hides it."""
    made = audit.entries(kind="checkpoint")[0].payload
    tamper("UPDATE audit SET payload = '{\"n\":9}' WHERE seq = 3")
    audit.append("checkpoint", **made | {"size": 8, "head": checkpoint.hash})
    (told,) = checkpoints.forged()
    assert told == "checkpoint 10 was not made by this home: it is forged"
    assert told in checkpoints.verify().findings
    assert checkpoints.verify().unread == 7  # it began at the honest one
    assert "entry 3 was edited" in " ".join(audit.verify())


def test_none_is_made_on_a_trail_that_holds_with_a_forged_checkpoint_in_it(checkpoint: audit.Head) -> None:
    made = audit.entries(kind="checkpoint")[0].payload
    audit.append("checkpoint", **made | {"size": 2})
    assert audit.verify() == []  # the chain has no word of who wrote what it holds
    with pytest.raises(Tampered, match="does not hold: checkpoint 10 was not made by this home: it is forged"):
        checkpoints.make()
    assert [e.seq for e in audit.entries(kind="checkpoint")] == [8, 10]
    assert checkpoints.full().findings == ["checkpoint 10 was not made by this home: it is forged"]


def test_what_changes_between_the_reading_and_the_lock_is_found_under_it(
    checkpoint: audit.Head, tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody edits an entry after the trail was read whole, and before nobody else may write to it."""
    read = audit.verify

    def then_edited(against: audit.Head | str | None = None) -> list[str]:
        found = read(against)
        tamper("UPDATE audit SET payload = '{\"n\":9}' WHERE seq = 3")
        return found

    monkeypatch.setattr(audit, "verify", then_edited)
    with pytest.raises(Tampered, match="no checkpoint was made: entry 3 was edited"):
        checkpoints.make()
    assert [e.seq for e in audit.entries(kind="checkpoint")] == [8]


@pytest.mark.parametrize("change", ["at = '2020-01-01T00:00:00'", "actor = 'somebody'"])
def test_a_checkpoint_that_was_dated_anew_or_given_to_another_is_no_place_to_begin(
    checkpoint: audit.Head, tamper: Tamper, change: str
) -> None:
    """Its proof covers what it says of the trail, and its hash who wrote it and when."""
    tamper(f"UPDATE audit SET {change} WHERE seq = 8")
    assert checkpoints.forged() == ["checkpoint 8 was not made by this home: it is forged"]
    done = checkpoints.verify()
    assert done.unread == 0
    assert "entry 8 was edited: its contents do not match its hash" in done.findings


def test_a_checkpoint_of_another_entry_than_there_is_shows_a_rewritten_trail(
    checkpoint: audit.Head, tamper: Tamper
) -> None:
    tamper("UPDATE audit SET hash = 'x' WHERE seq = 7")
    done = checkpoints.verify()
    assert "checkpoint 8 names another entry 7 than there is: the trail was written anew" in done.findings
    assert done.unread == 0


def test_another_home_does_not_begin_at_a_checkpoint_that_it_did_not_make(checkpoint: audit.Head) -> None:
    key = settings().home / "checkpoint.key"
    assert key.stat().st_mode & 0o077 == 0
    key.unlink()
    assert checkpoints.verify().unread == 0
    assert json.loads(json.dumps(audit.entries(kind="checkpoint")[0].payload))["size"] == 7
    checkpoints.make()  # with a key of its own
    assert checkpoints.forged() == []  # the other's is not ours to judge
    assert checkpoints.verify().unread == 9


def test_a_check_that_begins_at_another_entry_than_there_is_says_so(checkpoint: audit.Head) -> None:
    """Also where it was swapped after the checkpoint was looked at: the snapshot that is read is held to it."""
    made = audit.entries(kind="checkpoint")[0].payload
    rows = {name: (count, last) for name, (count, last) in made["rows"].items()}
    assert checking.check([], checking.Since(audit.Head(7, made["head"]), rows)) == []
    found = checking.check([], checking.Since(audit.Head(7, "0" * 64), rows))
    assert "entry 7 is not the one the checkpoint names: the trail was written anew" in found


@pytest.mark.parametrize("held", ["", "00", "no key at all"])
def test_a_key_that_was_cut_is_named_and_nothing_is_proved_by_it(checkpoint: audit.Head, held: str):
    key = settings().home / "checkpoint.key"
    assert os.name == "nt" or key.stat().st_mode & 0o777 == 0o600
    key.write_text(held)
    for ask in (checkpoints.make, checkpoints.verify):
        with pytest.raises(BadInput, match="holds no key; remove it"):
            ask()


def test_a_checkpoint_of_an_empty_trail_is_no_alarm() -> None:
    checkpoints.make()
    assert checkpoints.full().findings == []
    assert checkpoints.make().size == 2
