"""The trail shows every change, and no acknowledged entry is ever lost."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from databases import BOTH, Tamper
from sqlalchemy import insert, text

from mltrainer import store
from mltrainer.errors import BadInput, Tampered
from mltrainer.trust import audit, gate

pytestmark = BOTH


@pytest.fixture
def trail() -> audit.Head:
    for n in range(1, 7):
        audit.append("work", n=n)
    return audit.head()


def test_an_empty_trail_holds_and_its_head_is_genesis() -> None:
    assert audit.head() == audit.Head(0, "0" * 64)
    assert audit.verify() == audit.verify(audit.head()) == []


def test_the_head_reads_back_from_its_text(trail: audit.Head) -> None:
    assert str(trail).startswith("6:")
    assert audit.Head.parse(str(trail)) == trail


@pytest.mark.parametrize("words", ["", "6", "6:", "x:" + "0" * 64, "6:" + "0" * 63, "-1:" + "0" * 64, "6:" + "G" * 64])
def test_other_text_is_no_head(words: str) -> None:
    with pytest.raises(BadInput, match="no audit head"):
        audit.verify(words)


def test_entries_are_told_oldest_first_and_the_newest_are_kept(trail: audit.Head) -> None:
    audit.append("other", of="another kind")
    assert [entry.payload["n"] for entry in audit.entries(limit=2, kind="work")] == [5, 6]
    assert [entry.seq for entry in audit.entries()] == [1, 2, 3, 4, 5, 6, 7]
    assert audit.entries(limit=1)[0].payload == {"of": "another kind"}


def test_an_honest_trail_that_grew_since_the_saved_head_holds(trail: audit.Head) -> None:
    audit.append("later")
    assert audit.verify() == audit.verify(trail) == audit.verify(str(trail)) == []


def test_a_row_hash_is_the_sha256_of_its_canonical_json() -> None:
    audit.append("work", n=1)
    entry = audit.entries()[0]
    row = (
        f'{{"actor":"{entry.actor}","at":"{entry.at}","kind":"work","payload":"{{\\"n\\":1}}",'
        f'"prev":"{"0" * 64}","seq":1}}'
    )
    done = subprocess.run(["sha256sum"], input=row.encode(), capture_output=True, check=True)  # coreutils agrees
    assert done.stdout.decode().split()[0] == entry.hash


@pytest.mark.parametrize(
    ("statements", "finding"),
    [
        (["UPDATE audit SET payload = '{\"n\":9}' WHERE seq = 3"], "entry 3 was edited"),
        (["UPDATE audit SET at = '2020-01-01' WHERE seq = 6"], "entry 6 was edited"),
        (["UPDATE audit SET actor = 'somebody' WHERE seq = 1"], "entry 1 was edited"),
        (["UPDATE audit SET payload = '{ \"n\":3}' WHERE seq = 3"], "entry 3 was edited"),
        (["UPDATE audit SET payload = x'ff00' WHERE seq = 3"], "entry 3 was edited"),
        (["UPDATE audit SET payload = 9e999 WHERE seq = 3"], "entry 3 was edited"),
        (["UPDATE audit SET kind = '', actor = '', payload = '' WHERE seq = 4"], "entry 4 was edited"),
        (["UPDATE audit SET hash = '' WHERE seq = 6"], "entry 6 was edited"),
        (["DELETE FROM audit WHERE seq = 4"], "entry 4 is missing"),
        (["DELETE FROM audit WHERE seq = 1"], "entry 1 is missing"),
        (
            ["DELETE FROM audit WHERE seq = 4", "UPDATE audit SET seq = seq - 1 WHERE seq > 4"],
            "entry 4 does not follow",
        ),
        (
            [
                "UPDATE audit SET seq = -2 WHERE seq = 2",
                "UPDATE audit SET seq = 2 WHERE seq = 5",
                "UPDATE audit SET seq = 5 WHERE seq = -2",
            ],
            "entry 2 was edited",
        ),
        (
            [
                "UPDATE audit SET payload = '{\"n\":2}' WHERE seq = 5",
                "UPDATE audit SET payload = '{\"n\":5}' WHERE seq = 2",
            ],
            "entry 2 was edited",
        ),
        (["INSERT INTO audit VALUES (7, 'now', 'work', 'me', '{}', 'p', 'h')"], "entry 7 does not follow"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_verify_names_the_changed_entry(trail: audit.Head, tamper: Tamper, statements: list[str], finding: str) -> None:
    tamper(*statements)
    assert any(finding in found for found in audit.verify())


def rehash(tamper: Tamper, payload: str = '{"n":9}', start: int = 3) -> None:
    """Edit entry `start` and write the whole rest of the chain anew, as somebody who knows the formula would."""
    with store.reading(whole=False) as connection:
        rows = [dict(row) for row in connection.execute(text("SELECT * FROM audit ORDER BY seq")).mappings()]
    rows[start - 1]["payload"] = payload
    for before, row in zip([None, *rows], rows, strict=False):
        row["prev"] = before["hash"] if before else audit.GENESIS
        row["hash"] = audit.digest({key: item for key, item in row.items() if key != "hash"})
    tamper("DELETE FROM audit")
    for row in rows:
        tamper("INSERT INTO audit VALUES (:seq, :at, :kind, :actor, :payload, :prev, :hash)", **row)


def forget() -> None:
    """Remove what the home remembers outside the database, as somebody who knows of it would."""
    for memory in Path(os.environ["MLTRAINER_HOME"]).glob("*.head"):
        memory.unlink()


@pytest.mark.parametrize(
    ("attack", "finding"),
    [
        (lambda tamper: tamper("DELETE FROM audit WHERE seq > 4"), "it was cut short"),
        (lambda tamper: tamper("DELETE FROM audit"), "it was emptied"),
        (rehash, "the trail was written anew"),
    ],
    ids=["cut short", "emptied", "written anew"],
)
def test_a_saved_head_shows_what_the_chain_alone_cannot(
    trail: audit.Head, tamper: Tamper, attack: Callable[[Tamper], None], finding: str
) -> None:
    attack(tamper)
    (found,) = audit.verify()  # the home remembers where the trail was
    assert finding in found
    assert audit.verify(trail) == [found]
    forget()
    assert audit.verify() == []
    assert audit.verify(trail) == [found]


def test_a_rewritten_trail_that_grew_past_the_saved_head_is_found(trail: audit.Head, tamper: Tamper) -> None:
    rehash(tamper)
    forget()
    audit.append("later")
    assert ["written anew" in found for found in audit.verify(trail)] == [True]


@pytest.mark.parametrize("statement", ["DELETE FROM audit WHERE seq > 4", "DELETE FROM audit"])
def test_nothing_is_read_from_or_added_to_a_database_that_lacks_what_the_home_remembers(
    trail: audit.Head, tamper: Tamper, statement: str
) -> None:
    """As after a lost write-ahead log, or where an older copy was put in its place."""
    tamper(statement)
    for act in (audit.head, audit.entries, lambda: audit.append("more")):
        with pytest.raises(Tampered, match=r"lacks entry 6 of the audit trail, which .*\.head remembers"):
            act()
    forget()  # the message says so: who restored an older copy on purpose goes on with it
    assert audit.append("more").size == (5 if "seq" in statement else 1)


def test_an_unreadable_entry_is_tampered_when_listed(trail: audit.Head, tamper: Tamper) -> None:
    tamper("UPDATE audit SET payload = 'no json' WHERE seq = 3")
    with pytest.raises(Tampered, match="entry 3 cannot be read"):
        audit.entries()


def test_what_looks_like_a_key_is_masked_in_the_payload(home: Path) -> None:
    canary = "canary-4711"
    audit.append("fetch", apiKey=canary, deep={"Authorization": canary, "list": [{"access_token": canary}]})
    audit.append("fetch", url=f"https://host/path?a=1&api_key={canary}&b=2")
    assert audit.entries()[1].payload == {"url": "https://host/path?a=1&api_key=***&b=2"}
    assert canary.encode() not in b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    with store.reading() as connection:
        assert canary not in str(connection.execute(text("SELECT * FROM audit")).all())


def test_the_actor_is_who_the_server_says() -> None:
    token = audit.ACTOR.set("alice")
    audit.append("by alice")
    audit.ACTOR.reset(token)
    audit.append("by the user of this machine")
    assert [entry.actor == "alice" for entry in audit.entries()] == [True, False]


def test_a_user_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no module pwd, which is asked where no variable names the user."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pwd", None)
    audit.append("work")
    assert audit.entries()[0].actor == "unknown"


def test_a_kept_answer_whose_hash_or_time_was_changed_is_found(tamper: Tamper) -> None:
    for hour in "09", "10":  # the same answer came twice
        gate.note_answer("question", "a" * 64, f"2026-11-24T{hour}:00:00+00:00")
    assert audit.verify() == []
    tamper("UPDATE answers SET at = '2026-11-24T23:00:00+00:00'")
    (found,) = audit.verify()
    assert "kept answer question aaaaaaaaaaaa was edited: at is '2026-11-24T23:00:00" in found
    assert "its entry says '2026-11-24T10:00:00" in found
    tamper(f"UPDATE answers SET sha256 = '{'b' * 64}'")
    gone, added = audit.verify()
    assert "question aaaaaaaaaaaa stands in the trail and is gone" in gone
    assert "question bbbbbbbbbbbb has no entry in the trail" in added


def test_a_world_that_was_changed_added_or_deleted_is_found(tamper: Tamper) -> None:
    """Size and power of the verdict's rule are measured on them; one entry tells of many."""
    rows = {"a": '{"p":0.2}', "b": '{"p":0.9}'}
    with store.writing() as connection:
        connection.execute(insert(store.worlds), [{"key": k, "payload": v, "at": "now"} for k, v in rows.items()])
        told = {k: sha256(v.encode()).hexdigest() for k, v in rows.items()}
        audit.extend(connection, "worlds", {"study": "s", "sha256": told})
    assert audit.verify() == []
    tamper("UPDATE worlds SET payload = '{\"p\":0.01}' WHERE key = 'a'", "DELETE FROM worlds WHERE key = 'b'")
    tamper("INSERT INTO worlds VALUES ('c', '{}', 'now')")
    edited, gone, added = sorted(audit.verify())
    assert edited.startswith("world a was edited")
    assert gone.startswith("world b stands in the trail and is gone")
    assert added.startswith("world c has no entry in the trail")


# --- many writers, and killed ones ----------------------------------------------------------------------------

APPEND = """
import sys
from mltrainer.trust import audit
for n in range(int(sys.argv[1])):
    print(audit.append("work", writer=sys.argv[2], n=n), flush=True)
"""


def writer(count: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPEND, str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_four_processes_at_once_write_one_chain() -> None:
    writers = [writer(150, name) for name in "abcd"]
    outcomes = [process.communicate(timeout=120) for process in writers]
    assert [process.returncode for process in writers] == [0, 0, 0, 0]
    assert all(err == "" for _, err in outcomes)
    acknowledged = {line for out, _ in outcomes for line in out.split()}
    written = audit.entries()
    assert {f"{entry.seq}:{entry.hash}" for entry in written} == acknowledged
    assert len(written) == len({entry.prev for entry in written}) == 600
    assert audit.verify() == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_no_acknowledged_entry_is_lost_when_the_writer_is_killed() -> None:
    moments = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(5):
        with writer(100_000, "killed") as process:
            assert process.stdout is not None
            first = [process.stdout.readline().strip() for _ in range(3)]
            assert all(len(line.split(":")[-1]) == 64 for line in first)
            acknowledged += first
            time.sleep(moments.uniform(0.0, 0.25))
            process.send_signal(signal.SIGKILL)
            acknowledged += [line for line in process.stdout.read().split() if len(line.split(":")[-1]) == 64]
    assert len(acknowledged) > 10
    assert audit.verify(acknowledged[-1]) == []
    assert {f"{entry.seq}:{entry.hash}" for entry in audit.entries()} >= set(acknowledged)
