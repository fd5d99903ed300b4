"""A backup is whole or is not there, says which of its files was changed, and comes back as it was."""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import databases
import pytest
from sqlalchemy import URL

import mltrainer as mt
from mltrainer import blobstore, store
from mltrainer.errors import BadInput, StorageError, Tampered
from mltrainer.evaluation import lifecycle, trials
from mltrainer.operations import backup as backups
from mltrainer.operations import sealed
from mltrainer.settings import settings
from mltrainer.trust import audit

WORD = "correct horse battery"


@pytest.fixture
def kept(home: Path) -> str:
    """A home with a kept model; its address."""
    return mt.model("RidgeRegression").train(mt.matrix("MSFT", start="2010-01-04")).save()


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    """A backup of a home with a few blobs and entries."""
    audit.append("first")
    for i in range(5):
        audit.append("test", blob=blobstore.put(os.urandom(50_000)), i=i)
    backups.backup(tmp_path / "b.tar")
    return tmp_path / "b.tar"


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "other"))
    return tmp_path / "other"


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("word", [None, WORD])
def test_a_home_comes_back_on_an_empty_machine_with_its_trail_and_the_same_forecasts(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str | None
):
    model = lifecycle.Model.load(kept)
    matrix = mt.matrix("MSFT", start="2009-01-02")
    mt.evaluate("KNeighborsRegressor_5", mt.matrix("MSFT", start="2004-01-02", end="2006-12-29"))
    model.state_ = model.state_ | {"trained_to": "2012-01-03"}
    said, head, ledger = model.predict(matrix).frame, audit.head(), trials.ledger()
    held = backups.backup(tmp_path / "b", passphrase=word)
    assert held.head == str(head)
    elsewhere(monkeypatch, tmp_path)
    done = backups.restore(tmp_path / "b", passphrase=word)
    assert (done.findings, done.kept) == ([], None)
    assert audit.verify(head) == []
    assert audit.entries(kind="restore")[0].payload["head"] == str(head)
    assert trials.ledger().equals(ledger)
    assert trials.lost().empty
    again = lifecycle.Model.load(kept)
    again.state_ = again.state_ | {"trained_to": "2012-01-03"}
    assert again.predict(matrix).frame.equals(said)
    assert (tmp_path / "other").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("database")
def test_a_home_that_holds_anything_is_not_overwritten_and_with_a_word_is_moved_aside(file: Path, home: Path):
    before = sorted(p.relative_to(home) for p in home.rglob("*") if p.is_file())
    with pytest.raises(BadInput, match="is not empty; restore with --replace moves it aside"):
        backups.restore(file)
    assert sorted(p.relative_to(home) for p in home.rglob("*") if p.is_file()) == before
    done = backups.restore(file, replace=True)
    assert done.findings == []
    assert sorted(p.relative_to(done.kept) for p in done.kept.rglob("*") if p.is_file()) == before
    assert list(home.parent.glob(".*")) == []


def test_each_member_that_was_changed_is_named_and_nothing_is_restored(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with tarfile.open(file) as tar:
        blob = next(m for m in tar.getmembers() if m.name.startswith("blobs/"))
    body = bytearray(file.read_bytes())
    body[blob.offset_data + 10] ^= 1
    file.write_bytes(body)
    assert backups.check(file)[1] == [f"{blob.name} was changed"]
    other = elsewhere(monkeypatch, tmp_path)
    with pytest.raises(Tampered, match=f"{blob.name} was changed; nothing was restored"):
        backups.restore(file)
    assert not other.exists()
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_every_byte_that_matters_is_guarded(file: Path):
    """One flipped bit anywhere in a member, its name or the manifest is found; padding holds nothing."""
    whole = file.read_bytes()
    with tarfile.open(file) as tar:
        members = tar.getmembers()
    places = [m.offset + 5 for m in members] + [m.offset_data + m.size // 2 for m in members]
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = backups.check(file)[1]
        except Tampered:
            continue
        assert found, place


def test_a_torn_backup_names_what_is_missing(file: Path):
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1]
    os.truncate(file, last.offset_data + 100)
    found = backups.check(file)[1]
    assert found[0].startswith("the file is torn or changed")
    assert found[-1] == f"{last.name} is missing"


def test_a_sealed_backup_shows_nothing_and_refuses_another_word_and_any_change(home: Path, tmp_path: Path):
    audit.append("test", note="canary-77")
    backups.backup(tmp_path / "b", passphrase=WORD)
    body = (tmp_path / "b").read_bytes()
    assert b"canary" not in body
    assert b"manifest" not in body
    with pytest.raises(Tampered, match="the passphrase is another one"):
        backups.check(tmp_path / "b", passphrase="another one")
    with pytest.raises(BadInput, match="is sealed"):
        backups.check(tmp_path / "b")
    (tmp_path / "b").write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    with pytest.raises(Tampered):
        backups.check(tmp_path / "b", passphrase=WORD)
    with pytest.raises(BadInput, match="fewer than 8 characters"):
        backups.backup(tmp_path / "c", passphrase="short")
    assert not (tmp_path / "c").exists()


def test_chunks_of_a_sealed_stream_are_neither_swapped_nor_left_out(tmp_path: Path):
    path, data = tmp_path / "s", os.urandom(3 * sealed.CHUNK + 7)
    with path.open("wb") as raw:
        out = sealed.Sealing(raw, WORD)
        out.write(data)
        out.finish()
    start, size = len(sealed.MAGIC) + 16, sealed.CHUNK + sealed.TAG
    whole = path.read_bytes()
    head, chunks = whole[:start], [whole[start + i * size : start + (i + 1) * size] for i in range(4)]

    def opened(*order: int) -> bytes:
        path.write_bytes(head + b"".join(chunks[i] for i in order))
        with path.open("rb") as raw:
            return sealed.Opening(raw, WORD).read()

    assert opened(0, 1, 2, 3) == data
    for order in ((0, 2, 1, 3), (0, 1, 3), (0, 1, 2), (1, 2, 3)):
        with pytest.raises(Tampered):
            opened(*order)


def test_a_damaged_blob_is_named_and_the_rest_is_kept(home: Path, tmp_path: Path):
    audit.append("first")
    bad, good = blobstore.put(b"x" * 100), blobstore.put(b"y" * 100)
    blobstore.path(bad).write_bytes(b"z")
    held = backups.backup(tmp_path / "b")
    assert held.damaged == [bad]
    assert f"blobs/{good}" in held.members
    assert f"blobs/{bad}" not in held.members


def test_what_a_killed_backup_left_goes_with_the_next_and_nothing_else_does(home: Path, tmp_path: Path):
    audit.append("first")
    ours, young, theirs = (tmp_path / f".{c * 32}.tmp" for c in "abz")
    for path in (ours, young, theirs):
        path.write_text("x")
    for path in (ours, theirs):
        os.utime(path, (time.time() - 7_200, time.time() - 7_200))
    backups.backup(tmp_path / "b")
    assert [p.exists() for p in (ours, young, theirs)] == [False, True, True]


def test_a_backup_never_replaces_a_file(home: Path, tmp_path: Path):
    (tmp_path / "b").write_text("mine")
    with pytest.raises(BadInput, match="is there already"):
        backups.backup(tmp_path / "b")
    assert (tmp_path / "b").read_text() == "mine"


@pytest.mark.usefixtures("database")
def test_a_backup_is_consistent_while_others_write(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every entry of the snapshot names a blob that is in the file, whoever writes meanwhile."""
    audit.append("first")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            audit.append("test", blob=blobstore.put(os.urandom(2_000)))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.3)
        held = [backups.backup(tmp_path / f"b{i}") for i in range(3)]
    finally:
        stop.set()
        writer.join()
    for i, one in enumerate(held):
        monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / f"home{i}"))
        assert backups.restore(tmp_path / f"b{i}").findings == []
        entries = audit.entries(kind="test")
        assert all(blobstore.flaw(e.payload["blob"]) == "" for e in entries)
        assert len(entries) >= i
        assert one.head.partition(":")[0] == str(one.tables["audit"])


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_backup_of_postgresql_is_restored_into_sqlite_and_back(
    database: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mt.evaluate("KNeighborsRegressor_5", mt.matrix("MSFT", start="2004-01-02", end="2006-12-29"))
    head, ledger = audit.head(), trials.ledger()
    backups.backup(tmp_path / "b")
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "other"))
    with pytest.raises(BadInput, match="has rows already"):
        backups.restore(tmp_path / "b")
    server = os.environ["MLTRAINER_DATABASE_URL"]
    monkeypatch.delenv("MLTRAINER_DATABASE_URL")
    assert backups.restore(tmp_path / "b").findings == []
    assert audit.verify(head) == []
    assert trials.ledger().equals(ledger)
    backups.backup(tmp_path / "c")
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "third"))
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", server)
    databases.tampered(database, tuple(f"DELETE FROM {name}" for name in store.SCHEMA.tables), {})
    assert backups.restore(tmp_path / "c").findings == []
    assert trials.ledger().equals(ledger)
    mt.evaluate("KNeighborsRegressor_3", mt.matrix("MSFT", start="2004-01-02", end="2006-12-29"))
    assert trials.position() > ledger["seq"].max()  # its sequence goes on where the rows end
    assert audit.verify(head) == []


KILLED = """
import os, sys
from mltrainer.operations import backup
print("ready", flush=True)
sys.stdin.readline()
backup.backup(sys.argv[1])
print("whole", flush=True)
"""


def killed(file: Path, seconds: float, script: str = KILLED) -> bool:
    """Kill a backup, or another script, after so many seconds; whether it had said that it was whole."""
    call = [sys.executable, "-c", script, str(file)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as made:
        assert made.stdout is not None
        assert made.stdin is not None
        made.stdout.readline()
        made.stdin.write(b"\n")
        time.sleep(seconds)
        made.send_signal(signal.SIGKILL)
        return b"whole" in made.stdout.read()


@pytest.mark.slow
def test_a_kill_leaves_nothing_or_a_whole_file(home: Path, tmp_path: Path):
    audit.append("first")
    for _ in range(40):
        audit.append("test", blob=blobstore.put(os.urandom(300_000)))
    for i, seconds in enumerate((0.01, 0.05, 0.15)):
        file = tmp_path / f"b{i}"
        said = killed(file, seconds)
        assert file.exists() or not said
        if file.exists():
            assert backups.check(file)[1] == []
    assert audit.verify() == []
    backups.backup(tmp_path / "last")
    assert backups.check(tmp_path / "last")[1] == []


BATCH = """
import sys
import mltrainer as mt
from mltrainer.evaluation import engine
matrix = mt.matrix("MSFT", start="2004-01-02", end="2006-12-29")
print("ready", flush=True)
sys.stdin.readline()
mt.evaluate(["KNeighborsRegressor_5", "KNeighborsRegressor_3", "RidgeRegression"], matrix, jobs=1)
print("whole", flush=True)
"""


@pytest.mark.slow
def test_twenty_random_kills_of_backups_and_batches_lose_nothing(home: Path, tmp_path: Path):
    audit.append("first")
    for _ in range(20):
        audit.append("test", blob=blobstore.put(os.urandom(300_000)))
    chance = random.Random(5)
    held: set[str] = set()
    for i in range(20):
        file = tmp_path / f"b{i}"
        script, longest = (BATCH, 0.6) if i % 5 == 4 else (KILLED, 0.25)
        said = killed(file, chance.uniform(0, longest), script)
        if script == KILLED:
            assert file.exists() or not said
            assert not file.exists() or backups.check(file)[1] == []
        assert audit.verify() == []
        assert trials.lost().empty
        keys = list(trials.ledger()["key"])
        assert held <= set(keys)  # what was there stays
        assert len(keys) == len(set(keys))
        held = set(keys)
    mt.evaluate(["KNeighborsRegressor_5", "KNeighborsRegressor_3", "RidgeRegression"],
                mt.matrix("MSFT", start="2004-01-02", end="2006-12-29"))  # fmt: skip
    assert sorted(trials.ledger()["model"]) == ["KNeighborsRegressor_3", "KNeighborsRegressor_5", "RidgeRegression"]


def test_the_manifest_says_what_is_in_the_file(file: Path):
    held = backups.check(file)[0]
    with tarfile.open(file) as tar:
        said = json.loads(tar.extractfile("manifest.json").read().partition(b"\n")[2])
    assert said["head"] == held.head
    assert held.tables["audit"] == 6
    assert set(held.tables) == set(store.SCHEMA.tables)
    assert sum(name.startswith("blobs/") for name in held.members) == 5
    assert settings().home.name == "home"


# --- blobs and rows that lie outside the home -------------------------------------------------------------------


@pytest.mark.usefixtures("database")
def test_blobs_come_back_to_the_folder_that_the_settings_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLTRAINER_BLOBS", str(tmp_path / "shared"))
    mt.evaluate(
        ["KNeighborsRegressor_5", "KNeighborsRegressor_3"], mt.matrix("MSFT", start="2004-01-02", end="2006-12-29")
    )
    backups.backup(tmp_path / "b")
    torn, whole = map(blobstore.path, trials.ledger()["blob"])
    torn.write_bytes(b"torn")
    stood = whole.stat().st_ino
    elsewhere(monkeypatch, tmp_path)
    assert backups.restore(tmp_path / "b").findings == []  # beside a damaged one and a whole one
    assert (trials.lost().empty, whole.stat().st_ino) == (True, stood)
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "third"))
    monkeypatch.setenv("MLTRAINER_BLOBS", str(tmp_path / "new"))
    assert backups.restore(tmp_path / "b").findings == []
    assert trials.lost().empty
    assert trials.opened(trials.ledger()["key"][0]) is not None
    assert not (tmp_path / "third" / "blobs").exists()


@pytest.mark.usefixtures("database")
def test_a_blob_that_is_gone_is_named_by_the_backup_and_by_what_is_restored_of_it(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    blobstore.path(kept).unlink()
    held = backups.backup(tmp_path / "b")
    assert held.damaged == [kept]
    elsewhere(monkeypatch, tmp_path)
    assert backups.restore(tmp_path / "b").findings == [f"blob {kept} is not there; it held a kept RidgeRegression"]


@pytest.mark.parametrize("where", ["home/rows.sqlite", "rows/rows.sqlite"])
def test_a_file_of_rows_that_the_settings_name_and_that_was_lost_comes_back(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", f"sqlite:///{tmp_path / where}")
    audit.append("first")
    head = audit.append("second", blob=blobstore.put(b"kept"))
    backups.backup(tmp_path / "b")
    for left in (tmp_path / where).parent.glob("rows.sqlite*"):
        left.unlink()
    assert backups.restore(tmp_path / "b", replace=True).findings == []
    assert audit.verify(head) == []
    assert (tmp_path / where).is_file()


def test_a_blob_that_is_pruned_while_it_is_packed_is_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    audit.append("first")
    sha = blobstore.put(b"soon gone")
    packed = backups._packed

    def later(*given: object) -> None:
        blobstore.path(sha).unlink()
        packed(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(backups, "_packed", later)
    with pytest.raises(StorageError, match=f"blobs/{sha} was removed while it was packed"):
        backups.backup(tmp_path / "b")
    assert not (tmp_path / "b").exists()
