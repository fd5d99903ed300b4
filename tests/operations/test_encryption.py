"""Encryption at rest: nothing in clear on the disk, all as before with the key, nothing lost or overwritten without."""

import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from requests import PreparedRequest, Request
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import blobstore, vault
from mltrainer.cli import app
from mltrainer.data.providers import cache
from mltrainer.errors import BadInput, Locked, Refused, Tampered
from mltrainer.evaluation import judgments, trials
from mltrainer.features import stored
from mltrainer.operations import backup, encryption, retention, security
from mltrainer.operations.scrub import scrub
from mltrainer.server.serve import dashboard_environment
from mltrainer.trust import audit, moving

RESULT, ANSWER = b"what a model said " * 40, b'{"results": "what a provider said"}' * 20
VARIABLE = "MLTRAINER_ENCRYPTION_KEY_FILE"


@pytest.fixture(autouse=True)
def begun(home: Path) -> None:
    """A home in use: blobs without any row beside them would be those of a database that is gone."""
    audit.append("begun")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one key, in force."""
    file = tmp_path / "keys"
    vault.new_key(file)
    monkeypatch.setenv(VARIABLE, str(file))
    return file


def question() -> PreparedRequest:
    return Request("GET", "https://api.massive.com/v2/aggs/ticker/MSFT/range/1/day/2012-01-03/2012-01-31").prepare()


def kept(body: bytes = ANSWER) -> None:
    cache.keep("polygon", question(), body, sha256(body).hexdigest(), datetime.now(UTC).isoformat(), timedelta(days=1))


def files(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def in_clear(home: Path) -> Iterator[Path]:
    """Files that hold a plain piece of what was kept, also as the cache would spell it."""
    pieces = [RESULT[:30], ANSWER[:30], *(base64.b64encode(x)[:30] for x in (RESULT, ANSWER)), ANSWER[2:20]]
    yield from (path for path, body in files(home).items() if any(piece in body for piece in pieces))


def asked(*words: object, code: int = 0) -> str:
    said = CliRunner().invoke(app, [*map(str, words)], standalone_mode=False)
    assert (said.return_value or said.exit_code) == code, said.output or repr(said.exception)
    return said.output


def test_the_search_for_plain_bytes_finds_them_where_nothing_is_encrypted(home: Path):
    blobstore.put(RESULT)
    kept()
    assert {path.name for path in in_clear(home)} >= {sha256(RESULT).hexdigest(), "answers.sqlite"}


def test_no_plain_byte_of_a_blob_or_an_answer_is_on_the_disk_and_all_is_read_as_before(home: Path, keys: Path):
    sha = blobstore.put(RESULT)
    kept()
    assert list(in_clear(home)) == []
    assert sha == sha256(RESULT).hexdigest()  # an address is that of the plain bytes
    assert blobstore.addresses() == [sha]
    assert (blobstore.get(sha), blobstore.flaw(sha)) == (RESULT, "")
    assert cache.recall("polygon", question())[0] == ANSWER
    assert cache.changed() == scrub() == audit.verify() == []


def test_what_was_there_before_is_read_then_encrypted_by_a_command_and_put_back_by_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sha = blobstore.put(RESULT)
    kept()
    asked("store", "key", tmp_path / "keys")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "keys"))
    assert (blobstore.get(sha), cache.recall("polygon", question())[0]) == (RESULT, ANSWER)
    assert encryption.in_clear() == 1
    assert "1 results and 1 answers are now encrypted by key" in asked("store", "encrypt")
    assert list(in_clear(home)) == []
    assert encryption.in_clear() == 0
    assert "0 results and 0 answers" in asked("store", "encrypt")
    assert (blobstore.get(sha), cache.recall("polygon", question())[0]) == (RESULT, ANSWER)
    asked("store", "encrypt", "--off")
    monkeypatch.delenv(VARIABLE)
    assert (blobstore.get(sha), cache.recall("polygon", question())[0]) == (RESULT, ANSWER)
    blobstore.put(b"in clear again")
    assert audit.verify() == scrub() == []
    assert [entry.payload["blobs"] for entry in audit.entries(kind="encryption")] == [1, 0, 1]


@pytest.mark.parametrize("key", ["missing", "another"])
def test_without_the_key_one_line_says_so_and_nothing_is_lost_or_overwritten(
    home: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
):
    sha, name = blobstore.put(RESULT), vault.active_key()
    kept()
    blobstore._whole.clear()
    before = files(home)
    if key == "missing":
        monkeypatch.delenv(VARIABLE)
    else:
        vault.new_key(tmp_path / "another")
        monkeypatch.setenv(VARIABLE, str(tmp_path / "another"))
    for act in (
        lambda: blobstore.get(sha),
        lambda: blobstore.flaw(sha),
        lambda: blobstore.put(RESULT),
        lambda: blobstore.put(b"another"),
        lambda: cache.recall("polygon", question()),
        lambda: kept(b"{}"),
        lambda: scrub(quarantine=True),
        lambda: backup.backup(tmp_path / "b"),
        lambda: retention.of_source("sample", tmp_path / "runs"),
    ):
        with pytest.raises(Locked, match=f"key {name}, which is not here.*{VARIABLE}") as caught:
            act()
        assert "\n" not in str(caught.value)
    assert {p: b for p, b in files(home).items() if "sqlite" not in p.name} == {
        p: b for p, b in before.items() if "sqlite" not in p.name
    }
    monkeypatch.setenv(VARIABLE, str(keys))
    assert (blobstore.get(sha), cache.recall("polygon", question())[0]) == (RESULT, ANSWER)


def test_without_the_library_nothing_is_called_damaged_or_written(
    home: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
):
    sha = blobstore.put(RESULT)
    kept()
    blobstore._whole.clear()
    before = {p: b for p, b in files(home).items() if "sqlite" not in p.name}
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    for act in (
        lambda: blobstore.get(sha),
        lambda: blobstore.flaw(sha),
        lambda: blobstore.put(b"another"),
        lambda: cache.recall("polygon", question()),
        lambda: scrub(quarantine=True),
    ):
        with pytest.raises(Locked, match=r"pip install 'mltrainer\[encrypted\]'"):
            act()
    assert {p: b for p, b in files(home).items() if "sqlite" not in p.name} == before


def test_a_trial_whose_key_is_not_here_is_neither_lost_nor_fitted_again(
    home: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
):
    matrix = mt.matrix("MSFT", start="2008-01-02", end="2010-12-31")
    found = mt.evaluate("RidgeRegression", matrix)
    luck = repr(judgments.judgment().luck)
    judgments._kept.cache_clear()
    assert repr(judgments.judgment().luck) == luck
    judgments._kept.cache_clear()
    blobstore._whole.clear()
    monkeypatch.delenv(VARIABLE)
    for act in (lambda: trials.load(found.key), judgments.judgment, lambda: mt.evaluate("RidgeRegression", matrix)):
        with pytest.raises(Locked):
            act()
    assert len(trials.ledger()) == 1
    said = CliRunner().invoke(app, ["leaderboard"], standalone_mode=False)
    assert isinstance(said.exception, Locked)


def test_a_damaged_file_is_named_and_quarantined_and_none_stands_in_another_place(home: Path, keys: Path):
    torn, moved, whole = (blobstore.put(RESULT + bytes([i])) for i in range(3))
    body = bytearray(blobstore.path(torn).read_bytes())
    body[-20] ^= 1
    blobstore.path(torn).write_bytes(body)
    blobstore.path(moved).write_bytes(blobstore.path(whole).read_bytes())
    for sha in (torn, moved):
        assert blobstore.flaw(sha) == "damaged"
        with pytest.raises(Tampered, match="no longer matches"):
            blobstore.get(sha)
    assert encryption.rewrite().damaged == []  # encrypted by the key in force already: nothing to do
    assert sorted(d.path.name for d in scrub(quarantine=True)) == sorted([torn, moved])
    assert scrub() == []
    assert blobstore.get(whole) == RESULT + b"\2"
    assert blobstore.put(RESULT + b"\0") == torn
    assert blobstore.flaw(torn) == ""


def test_a_changed_answer_is_refused_as_it_was(home: Path, keys: Path):
    kept()
    responses = cache._answers("polygon").responses
    (key,) = responses
    answer = responses[key]
    answer._content = answer.content[:-1] + bytes([answer.content[-1] ^ 1])
    responses[key] = answer
    assert cache.changed() == [key]
    with pytest.raises(Refused, match="is not what the provider sent"):
        cache.recall("polygon", question())


def test_a_key_is_changed_while_what_the_old_one_wrote_is_read(home: Path, keys: Path):
    sha, old = blobstore.put(RESULT), vault.active_key()
    kept()
    new = vault.new_key(keys)
    assert (vault.active_key(), list(vault.read_keys())) == (new, [new, old])
    assert (blobstore.get(sha), blobstore.key_of(sha)) == (RESULT, old)
    assert (encryption.rewrite().blobs, blobstore.key_of(sha), vault.mark_of(home)) == (1, new, new)
    keys.write_text(keys.read_text().splitlines()[0])  # the old one is thrown away
    assert list(vault.read_keys()) == [new]
    assert (blobstore.get(sha), cache.recall("polygon", question())[0]) == (RESULT, ANSWER)


@pytest.mark.usefixtures("database")
def test_a_backup_is_restored_with_the_key_with_another_and_with_none(
    home: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sha = blobstore.put(RESULT)
    audit.append("work", blob=sha)
    assert "--passphrase seals it" in asked("backup", tmp_path / "clear")
    backup.backup(tmp_path / "b", passphrase="a long word")
    vault.new_key(tmp_path / "another")
    for name, key in {"same": keys, "new": tmp_path / "another", "none": None}.items():
        monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / name))
        monkeypatch.setenv(VARIABLE, str(key)) if key else monkeypatch.delenv(VARIABLE)
        assert backup.restore(tmp_path / "b", passphrase="a long word").findings == []
        assert blobstore.get(sha) == RESULT
        assert bool([*in_clear(tmp_path / name)]) == (key is None)
        assert vault.mark_of(blobstore.folder()) == vault.active_key()


def test_what_may_go_and_the_bytes_of_a_source_are_found_in_what_is_encrypted(home: Path, keys: Path, tmp_path: Path):
    address = stored.keep(mt.matrix("MSFT", start="2008-01-02", end="2010-12-31"))
    orphan = blobstore.put(RESULT)
    for path in home.rglob("*"):
        os.utime(path, (time.time() - 9e6,) * 2)
    assert retention.of_source("sample", tmp_path / "runs").blobs == [address]
    assert orphan in [w.name for w in retention.prune(out=tmp_path / "runs")]
    retention.purge("sample", "the agreement ended", tmp_path / "runs")
    assert not blobstore.exists(address)


@pytest.mark.usefixtures("shared")
def test_two_homes_on_one_place_work_with_one_key_and_one_without_it_spoils_nothing(
    home: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sha = blobstore.put(RESULT)
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "second"))
    assert blobstore.get(sha) == RESULT
    assert blobstore.get(blobstore.put(b"of the second")) == b"of the second"
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(Locked, match="nothing was written"):
        blobstore.put(b"in clear")
    assert sorted(blobstore.addresses()) == sorted([sha, sha256(b"of the second").hexdigest()])


def test_blobs_that_are_moved_to_a_shared_folder_are_encrypted_there_and_copied_once(
    home: Path, keys: Path, tmp_path: Path
):
    sha = blobstore.put(RESULT)
    assert [moving._copy_blobs(tmp_path / "shared") for _ in range(2)] == [1, 0]
    assert vault.decrypted((tmp_path / "shared" / sha[:2] / sha).read_bytes(), sha) == RESULT
    assert list(in_clear(tmp_path / "shared")) == []


def test_the_key_is_in_no_environment_entry_page_or_message(home: Path, keys: Path, capfd: pytest.CaptureFixture[str]):
    secret = keys.read_text().strip()
    blobstore.put(RESULT)
    kept()
    said = asked("store", "encrypt", "--json") + asked("doctor", "--security") + asked("audit", "show")
    told = dashboard_environment()
    assert told[VARIABLE] == str(keys)  # where it lies
    assert not any(secret in text for text in (said, *os.environ.values(), *told.values(), *capfd.readouterr()))
    assert not any(secret.encode() in body or bytes.fromhex(secret) in body for body in files(home).values())


@pytest.mark.parametrize("text", ["", "hunter2", "00" * 31, "zz" * 32])
def test_a_file_that_holds_no_keys_is_one_line_that_does_not_show_it(keys: Path, text: str):
    keys.write_text(text)
    with pytest.raises(BadInput, match="holds no keys") as caught:
        blobstore.put(RESULT)
    assert not text or text not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_keys_that_others_may_read_are_refused_and_made_for_the_owner_alone(home: Path, keys: Path):
    assert keys.stat().st_mode & 0o777 == 0o600
    keys.chmod(0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        blobstore.put(RESULT)
    assert "chmod 600" in asked("doctor", "--security", code=1)


def test_the_doctor_says_what_is_encrypted_and_that_rows_are_not(home: Path, keys: Path, monkeypatch):
    def found() -> tuple[str, str]:
        rows = {row.what: row for row in security.protections()}
        assert rows["rows at rest"].protected == "by you"
        row = rows["results and kept answers at rest"]
        return row.protected, row.why

    monkeypatch.delenv(VARIABLE)
    blobstore.put(RESULT)
    assert found()[0] == "by you"
    monkeypatch.setenv(VARIABLE, str(keys))
    assert found()[0] == "no"
    assert "1 results are not yet" in found()[1]
    encryption.rewrite()
    assert found()[0] == "yes"
    monkeypatch.delenv(VARIABLE)
    assert found()[0] == "no"
    assert "none can be read or written" in found()[1]


def test_encrypting_without_a_key_says_how_to_make_one(home: Path):
    with pytest.raises(BadInput, match="mltrainer store key FILE"):
        encryption.rewrite()
    assert json.loads(asked("store", "key", home / "keys", "--json"))["key"]
