"""Rows and blobs survive what happens to disks and processes, and what went wrong is said in one line."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from databases import BOTH, Tamper
from sqlalchemy import URL, func, insert, select, text

from mltrainer import blobstore, store
from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered, Unavailable
from mltrainer.evaluation import trials
from mltrainer.settings import settings
from mltrainer.trust import audit

either, both = BOTH
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def one_line(error: pytest.ExceptionInfo[MltrainerError], path: Path) -> bool:
    said = str(error.value)
    return "\n" not in said and str(path) in said and "; " in said


@either
@both
def test_writing_is_undone_as_a_whole_when_its_block_raises() -> None:
    audit.append("before")
    row = insert(store.admitted).values(content="c", provenance="p", at="now")
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert connection.execute(row).rowcount / 0
    with store.reading() as connection:
        assert connection.execute(select(store.admitted)).all() == []


@pytest.mark.usefixtures("database")
def test_sqlite_runs_with_the_pragmas_that_survive_a_power_cut() -> None:
    with store.writing() as connection:
        found = {p: connection.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "synchronous")}
        found["foreign_keys"] = connection.execute(text("PRAGMA foreign_keys")).scalar()
        found["busy_timeout"] = connection.execute(text("PRAGMA busy_timeout")).scalar()
    # sqlite.org/pragma.html: synchronous 2 is FULL
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 60_000}


FENCED = {
    "audit": ("kind = 'x'", "seq, at, kind, actor, payload, prev, hash", "1, 'now', 'k', 'me', '{}', 'p', 'h'"),
    "admitted": ("provenance = ''", "content, provenance, at", "'c', 'p', 'now'"),
    "answers": ("sha256 = ''", "key, sha256, at", "'k', 's', 'now'"),
    "alerts": (
        "severity = ''",
        "key, at, kind, condition, subject, session, severity, mode, payload",
        "'k', 'now', 'stop_loss', 'touched', 'T', '2010-01-04', 'info', 'sample', '{}'",
    ),
    "alert_events": ("event = ''", "key, at, alert, event, payload", "'k', 'now', 'a', 'sent', '{}'"),
    "positions": ("account = ''", "key, at, account, payload", "'k', 'now', 'main', '{}'"),
    "recommendations": (
        "ticker = ''",
        "key, at, ticker, session, horizon, mode, payload",
        "'k', 'now', 'T', '2010-01-04', 5, 'sample', '{}'",
    ),
    "jobs": ("event = ''", "key, at, job, event, payload", "'k', 'now', 'j', 'queued', '{}'"),
    "users": ("name = ''", "key, at, name, payload", "'k', 'now', 'ann', '{}'"),
    "worlds": ("payload = ''", "key, payload, at", "'k', '{}', 'now'"),
    "trials": (
        "sharpe = 9",
        "key, at, model, family, ticker, horizon, status, payload",
        "'k', 'now', 'm', 'f', 'T', 5, 'ok', '{}'",
    ),
}


FORGOTTEN = {"conversations"}  # what somebody asked is theirs to delete, and no number rests on it


@pytest.mark.parametrize("table", FENCED)
@either
@both
def test_rows_that_a_number_on_a_page_rests_on_are_neither_changed_nor_deleted(table: str) -> None:
    change, columns, values = FENCED[table]
    assert FENCED.keys() == store.APPEND_ONLY.keys() == store.SCHEMA.tables.keys() - FORGOTTEN
    with store.writing() as connection:
        connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"))
        before = connection.execute(text(f"SELECT * FROM {table}")).all()
    verbs = [f"UPDATE {table} SET {change}", f"DELETE FROM {table}"]
    if settings().database_url:
        verbs.append(f"TRUNCATE {table}")
    for verb in verbs:
        with pytest.raises(StorageError, match=f"{table} is append-only"), store.writing() as connection:
            connection.execute(text(verb))
    with store.reading(whole=False) as connection:
        assert connection.execute(text(f"SELECT * FROM {table}")).all() == before


@either
@both
def test_a_trigger_that_was_dropped_is_back_in_the_next_process(tamper: Tamper) -> None:
    audit.append("kept")
    tamper("SELECT 1")  # on SQLite every trigger is dropped for good
    if settings().database_url:
        tamper("DROP TRIGGER audit_append_only ON audit")
    store._made.clear()
    audit.append("another")
    with pytest.raises(StorageError, match="audit is append-only"), store.writing() as connection:
        connection.execute(text("DELETE FROM audit"))


@either
@both
def test_a_second_row_under_one_key_is_a_storage_error_and_no_sqlalchemy_error() -> None:
    row = insert(store.admitted).values(content="c", provenance="p", at="now")
    with store.writing() as connection:
        connection.execute(row)
    with pytest.raises(StorageError, match=r"(?i)unique constraint"), store.writing() as connection:
        connection.execute(row)


@either
@both
def test_a_reader_sees_one_moment_and_waits_for_no_writer() -> None:
    audit.append("first")
    with store.reading() as connection:
        count = select(func.count()).select_from(store.audit)
        assert connection.execute(count).scalar() == 1
        writer = threading.Thread(target=audit.append, args=("second",))
        writer.start()
        writer.join(30)
        assert not writer.is_alive()
        assert connection.execute(count).scalar() == 1
    assert audit.head().size == 2


@either
@both
def test_a_second_writer_waits_for_the_first() -> None:
    order: list[str] = []

    def write() -> None:
        with store.writing():
            order.append("second")

    with store.writing():
        other = threading.Thread(target=write)
        other.start()
        time.sleep(0.3)
        order.append("first")
    other.join(30)
    assert order == ["first", "second"]


@pytest.mark.usefixtures("database")
def test_a_home_removed_under_a_running_process_is_made_anew(home: Path) -> None:
    audit.append("first")
    for file in home.iterdir():
        file.unlink()
    home.rmdir()
    assert audit.append("again").size == 1


# a test before this one may have started jax in this process; the child only writes to the trail and leaves
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_writes_to_the_same_trail() -> None:
    audit.append("parent")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = audit.append("child").size
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert audit.append("parent").size == 3
    assert audit.verify() == []


# --- a database that is gone ----------------------------------------------------------------------------------


def gone(file: Path) -> None:
    for path in file.parent.glob("mltrainer.sqlite*"):
        path.unlink()


def emptied(file: Path) -> None:
    gone(file)
    file.touch()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("loss", [gone, emptied])
def test_a_database_that_is_gone_or_empty_is_no_fresh_start(home: Path, loss: Callable[[Path], None]) -> None:
    for n in range(3):
        audit.append("work", n=n)
    loss(home / "mltrainer.sqlite")
    for act in (audit.head, audit.entries, lambda: audit.append("anew")):
        with pytest.raises(Tampered, match="is missing or empty") as error:
            act()
        assert one_line(error, home / "mltrainer.sqlite")
        assert "restore it from a backup" in str(error.value)
    shutil.rmtree(home)  # moved away, as the message offers
    assert audit.append("anew").size == 1


@pytest.mark.usefixtures("database")
def test_blobs_without_a_database_are_no_fresh_start_either(home: Path) -> None:
    """A home of a version that did not remember."""
    blobstore.put(b"a result")
    with pytest.raises(Tampered, match="is missing or empty"):
        audit.head()


@pytest.mark.usefixtures("database")
def test_a_lost_write_ahead_log_is_found(home: Path) -> None:
    """What a killed process leaves: the database as it was, and a log with all that came since."""
    audit.append("first")
    before = (home / "mltrainer.sqlite").read_bytes()
    audit.append("second")
    gone(home / "mltrainer.sqlite")
    (home / "mltrainer.sqlite").write_bytes(before)
    with pytest.raises(Tampered, match="its write-ahead log was lost"):
        audit.head()
    assert ["the trail ends at entry 1, the saved head names entry 2" in found for found in audit.verify()] == [True]


def test_what_the_home_remembers_is_never_ahead_of_the_database() -> None:
    """It is written after the transaction: one that is undone leaves it as it was."""
    saved = audit.append("first")
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert audit.extend(connection, "undone", {}).size / 0
    assert store.remembered() == str(saved)
    assert audit.verify() == []


# --- blobs ----------------------------------------------------------------------------------------------------


def test_a_blob_is_found_under_the_sha256_of_its_bytes(home: Path) -> None:
    # FIPS 180-2, appendix B.1: the digest of "abc"
    address = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert not blobstore.exists(address)
    assert blobstore.put(b"abc") == blobstore.put(b"abc") == address
    assert blobstore.get(address) == b"abc"
    assert [p.name for p in (home / "blobs").rglob("*") if p.is_file()] == [address]


def test_a_damaged_blob_is_named_and_put_right_by_the_bytes_that_belong_there(home: Path) -> None:
    address = blobstore.put(b"abc")
    file = home / "blobs" / address[:2] / address
    assert blobstore.flaw(address) == ""
    file.write_bytes(b"abd")
    with pytest.raises(Tampered) as error:
        blobstore.get(address)
    assert one_line(error, file)
    assert blobstore.flaw(address) == "damaged"
    assert blobstore.put(b"abc") == address
    assert (blobstore.flaw(address), blobstore.get(address)) == ("", b"abc")
    file.unlink()
    assert blobstore.flaw(address) == "lost"


def test_a_blob_is_hashed_once_while_its_file_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    address, read = blobstore.put(b"abc"), []
    get = blobstore.get
    monkeypatch.setattr(blobstore, "get", lambda sha: read.append(sha) or get(sha))
    assert [blobstore.flaw(address) for _ in range(3)] == [""] * 3
    assert read == [address]


def test_what_a_killed_writer_left_is_swept_and_what_another_is_writing_is_not(home: Path) -> None:
    kept = blobstore.put(b"abc")
    folder = home / "blobs" / kept[:2]
    old, new = folder / ".1.tmp", folder / ".2.tmp"
    for left in old, new:
        left.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * blobstore.STALE_SECONDS,) * 2)
    blobstore._sweep.cache_clear()  # as in the next process
    blobstore.put(b"another")
    assert (old.exists(), new.exists()) == (False, True)
    assert blobstore.get(kept) == b"abc"


def test_a_missing_blob_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not hold blob"):
        blobstore.get("0" * 64)


@pytest.mark.parametrize("address", ["../../etc/passwd", "", "ABC", "0" * 63, "0" * 64 + "\n", "/" * 64])
def test_only_a_hash_is_an_address(address: str) -> None:
    with pytest.raises(BadInput, match="64 hex digits"):
        blobstore.get(address)


def test_write_atomic_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "out" / "report.html"
    store.write_atomic(target, "a long first version")
    store.write_atomic(target, b"short")
    assert target.read_bytes() == b"short"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such call")
def test_the_name_of_a_new_file_is_forced_to_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after a rename may undo it, until the folder itself was written."""
    synced: list[str] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()) if folder and sys.platform == "linux" else "")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noting)
    store.write_atomic(tmp_path / "new" / "file", b"x")
    if sys.platform == "linux":
        assert synced == [str(tmp_path), "", str(tmp_path / "new")]
    assert len(synced) == 3


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("damage", ["no database", "a page"])
def test_a_damaged_database_is_one_line_that_names_it(home: Path, damage: str) -> None:
    for n in range(40):
        audit.append("work", text="x" * 500, n=n)
    file = home / "mltrainer.sqlite"
    body = bytearray(file.read_bytes())
    if damage == "no database":
        body[:16] = b"not a database!!"
    else:
        body[4096:] = os.urandom(len(body) - 4096)
    file.write_bytes(body)
    for act in (audit.head, audit.verify, audit.entries, lambda: audit.append("more")):
        with pytest.raises(Tampered) as error:
            act()
        assert one_line(error, file)


@pytest.mark.usefixtures("database")
def test_a_home_below_a_regular_file_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "file" / "home"))
    for act in (lambda: audit.append("x"), audit.head, lambda: blobstore.put(b"x")):
        with pytest.raises(StorageError) as error:
            act()
        assert one_line(error, tmp_path / "file" / "home")


AS_NOBODY = """
import os, sys
from mltrainer import blobstore, store
from mltrainer.errors import StorageError
from mltrainer.evaluation import judgments, trials
from mltrainer.trust import audit
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
ran = judgments.judgment().luck["trials"]
print(audit.head(), audit.verify(sys.argv[1]), len(trials.ledger()), ran, trials.lost().empty)
for act in (lambda: audit.append("x"), lambda: blobstore.put(b"new")):
    try:
        act()
    except StorageError as error:
        print(error)
"""


@pytest.mark.usefixtures("database")
@pytest.mark.skipif(os.name == "nt", reason="folders have no read-only mode on Windows")
def test_a_home_that_may_only_be_read_is_read_and_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        home = Path(folder, "home")
        monkeypatch.setenv("MLTRAINER_HOME", str(home))
        saved = audit.append("kept")
        blobstore.put(b"kept")
        with closing(sqlite3.connect(home / "mltrainer.sqlite")) as older:  # whose triggers an older version made
            older.execute("DROP TRIGGER admitted_no_DELETE")
        for path in (home, *home.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        call = [sys.executable, "-c", AS_NOBODY, str(saved)]
        done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
        for path in (home, *home.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        assert done.stderr == ""
        found, *said = done.stdout.splitlines()
        assert found == f"{saved} [] 0 0.0 True"
        assert len(said) == 2
        assert all(str(home) in line and "permission" in line for line in said)
        assert audit.verify(saved) == []
        assert audit.head() == saved


@pytest.mark.usefixtures("database")
def test_a_file_that_its_owner_writes_while_it_is_read_without_a_lock_gives_no_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.append("first")
    closed = pytest.MonkeyPatch()
    closed.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StorageError, match="was written while it was read; run again"), store.reading():  # noqa: PT012
        closed.undo()
        subprocess.run([sys.executable, "-c", "from mltrainer.trust import audit; audit.append('second')"], check=True)
    assert audit.head().size == 2


@either
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_that_lets_this_user_only_read_is_read(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = audit.append("kept")
    with store.writing() as connection:
        connection.execute(text("DROP ROLE IF EXISTS reader"))
        connection.execute(text("CREATE ROLE reader LOGIN"))
        connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"))
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", str(database.set(username="reader")))
    assert (audit.head(), audit.verify(saved)) == (saved, [])
    assert trials.ledger().empty
    with pytest.raises(StorageError, match="permission denied"):
        audit.append("more")
    store._engine(database.set(username="reader")).dispose()
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", str(database))
    with store.writing() as connection:
        connection.execute(text("DROP OWNED BY reader"))
        connection.execute(text("DROP ROLE reader"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if not ROOT or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a disk of 1 MB")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.usefixtures("database")
def test_a_full_disk_is_a_storage_error_and_loses_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = small_disk / "home"
    monkeypatch.setenv("MLTRAINER_HOME", str(home))
    heads = [audit.append("first")]
    blob = blobstore.put(b"kept")
    with pytest.raises(StorageError) as error:
        heads.extend(audit.append("fill", text="x" * 20_000) for _ in range(1000))
    assert one_line(error, home / "mltrainer.sqlite")
    assert "full" in str(error.value)
    with pytest.raises(StorageError) as error:
        blobstore.put(os.urandom(2_000_000))
    assert one_line(error, home / "blobs")
    assert [p.name for p in (home / "blobs").rglob("*") if p.is_file()] == [blob]
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    assert audit.head() == heads[-1]
    assert audit.verify(heads[-1]) == []
    assert audit.append("after").size == len(heads) + 1
    assert blobstore.get(blob) == b"kept"
    assert blobstore.put(b"room again") == sha256(b"room again").hexdigest()


@pytest.mark.parametrize("url", ["no url", "sqlite://", "sqlite:///:memory:"])
def test_a_database_url_that_cannot_be_meant_is_bad_input(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", url)
    with pytest.raises(BadInput, match="MLTRAINER_DATABASE_URL"):
        audit.head()


def test_a_database_of_an_unknown_kind_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", "nosuch://host/db")
    with pytest.raises(Unavailable, match="MLTRAINER_DATABASE_URL"):
        audit.head()


OPENER = """
import sys, time
from mltrainer.trust import audit
while time.time() < float(sys.argv[1]):
    pass
audit.append("opened")
"""


def test_processes_that_open_a_new_home_at_once_all_write() -> None:
    """SQLite tells all but one of them that the file is locked, without waiting, when they turn its log on."""
    start = str(time.time() + 3)
    running = [
        subprocess.Popen([sys.executable, "-c", OPENER, start], stderr=subprocess.PIPE, text=True) for _ in "abcd"
    ]
    assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 4
    assert len(list(audit.entries(kind="opened"))) == 4
    audit.verify()


@pytest.mark.usefixtures("database")
def test_who_only_reads_asks_once_whether_all_is_there_and_again_of_another_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.append("first")
    asked, complete = [], store._complete
    monkeypatch.setattr(store, "_complete", lambda engine: asked.append(engine) or complete(engine))
    store._made.clear()  # as in the next process
    for _ in range(3):
        assert len(list(audit.entries(kind="first"))) == 1
    assert len(asked) == 1
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "another"))
    assert audit.entries(kind="first") == []
    assert len(asked) == 2


def test_a_log_that_another_turns_on_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Turning:
        busy = 3

        def execute(self, statement: str) -> None:
            if statement.endswith("WAL") and self.busy:
                self.busy -= 1
                raise sqlite3.OperationalError("database is locked")

    connection = Turning()
    store._log_ahead(connection)  # type: ignore[arg-type]
    assert connection.busy == 0
    monkeypatch.setattr(store, "BUSY_SECONDS", 0.0)
    connection.busy = 3
    with pytest.raises(sqlite3.OperationalError):
        store._log_ahead(connection)  # type: ignore[arg-type]
