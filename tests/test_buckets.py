"""Results in a bucket: a real S3 interface on this machine, looked into by the vendor's own client."""

import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer import blobstore, cli, store, vault
from mltrainer.errors import BadInput, MltrainerError, StorageError, Tampered, Unavailable
from mltrainer.evaluation import trials
from mltrainer.features import stored
from mltrainer.operations import backup as backups
from mltrainer.operations import health, retention
from mltrainer.operations import scrub as scrubbing
from mltrainer.operations.scrub import Damage, scrub
from mltrainer.settings import settings
from mltrainer.trust import audit, moving

DATA = b"a result"
SHA = sha256(DATA).hexdigest()
MODELS = ["KNeighborsRegressor_5", "KNeighborsRegressor_3"]


@pytest.fixture
def objects(bucket: str) -> Any:
    """The bucket of MLTRAINER_BLOBS, as its vendor's client has it."""
    return boto3.resource("s3").Bucket(bucket.split("/")[2])


def names(objects: Any) -> list[str]:
    return [found.key for found in objects.objects.all()]


def worked() -> None:
    mt.evaluate(MODELS, mt.matrix("MSFT", start="2004-01-02", end="2006-12-29"))


def test_a_result_is_an_object_under_its_hash(objects: Any) -> None:
    assert blobstore.put(DATA) == SHA
    assert names(objects) == [f"results/{SHA[:2]}/{SHA}"]
    assert objects.Object(f"results/{SHA[:2]}/{SHA}").get()["Body"].read() == DATA == blobstore.get(SHA)
    assert (blobstore.addresses(), blobstore.exists(SHA), blobstore.flaw(SHA)) == ([SHA], True, "")


def test_what_another_home_puts_there_is_known_at_once_and_what_it_changes_is_found(objects: Any) -> None:
    with pytest.raises(Unavailable, match=f"does not hold blob {SHA[:12]}"):
        blobstore.get(SHA)
    assert (blobstore.exists(SHA), blobstore.flaw(SHA), blobstore.addresses()) == (False, "lost", [])
    objects.put_object(Key=f"results/{SHA[:2]}/{SHA}", Body=DATA)
    assert (blobstore.get(SHA), blobstore.flaw(SHA), blobstore.addresses()) == (DATA, "", [SHA])
    objects.put_object(Key=f"results/{SHA[:2]}/{SHA}", Body=b"another result")
    with pytest.raises(Tampered, match="no longer matches its hash"):
        blobstore.get(SHA)
    assert blobstore.flaw(SHA) == "damaged"
    blobstore.put(DATA)  # as in a folder, a damaged one is written again
    assert blobstore.get(SHA) == DATA


def test_evaluations_lie_there_and_come_back_from_a_backup(
    objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", f"sqlite:///{tmp_path / 'rows.sqlite'}")
    worked()
    made = names(objects)
    assert {name.rpartition("/")[2] for name in made} >= set(trials.ledger()["blob"])
    assert not (settings().home / "blobs").exists()
    held = backups.backup(tmp_path / "b")
    assert (sum(n.startswith("blobs/") for n in held.members), held.damaged) == (len(made), [])
    lost, torn, *_ = (f"results/{sha[:2]}/{sha}" for sha in trials.ledger()["blob"])
    objects.Object(lost).delete()
    objects.put_object(Key=torn, Body=b"torn")
    assert sorted(backups.backup(tmp_path / "c").damaged) == sorted(n.rpartition("/")[2] for n in (lost, torn))
    monkeypatch.setenv("MLTRAINER_HOME", str(tmp_path / "second"))
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", f"sqlite:///{tmp_path / 'second.sqlite'}")
    assert backups.restore(tmp_path / "b").findings == []
    assert (names(objects), scrub()) == (made, [])
    assert all(trials.opened(key) is not None for key in trials.ledger()["key"])


def test_a_damaged_object_is_moved_into_the_home_with_its_reason(objects: Any, home: Path) -> None:
    audit.append("first")
    blobstore.put(DATA)
    objects.put_object(Key=f"results/{SHA[:2]}/{SHA}", Body=b"torn")
    (found,) = scrub(quarantine=True)
    assert str(found).startswith(f"s3://{objects.name}/results/{SHA[:2]}/{SHA}: its bytes no longer match")
    assert (found.moved.read_bytes(), found.moved.parent, names(objects)) == (b"torn", home / "quarantine", [])
    assert audit.entries(kind="quarantine")[-1].payload["file"] == SHA


def test_what_nothing_refers_to_goes_once_it_is_old(
    objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", f"sqlite:///{tmp_path / 'rows.sqlite'}")
    worked()
    kept = sorted(names(objects))
    blobstore.put(DATA)
    assert retention.waste(out=tmp_path / "runs") == []
    now = time.time()
    monkeypatch.setattr(retention.time, "time", lambda: now + 40 * 86_400)
    (gone,) = (w for w in retention.prune(out=tmp_path / "runs") if w.kind == "blob")
    assert (gone.name, gone.size, round(gone.days)) == (SHA, len(DATA), 40)
    assert sorted(names(objects)) == kept


def test_an_object_that_was_written_again_since_is_not_dropped(objects: Any) -> None:
    blobstore.put(DATA)
    assert not store.drop(blobstore.path(SHA), time.time() - 60)
    assert names(objects)
    assert store.drop(blobstore.path(SHA), time.time() + 60)
    assert not names(objects)


def test_a_home_moves_its_results_there_once(
    home: Path, bucket: str, objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLTRAINER_BLOBS")
    audit.append("first")
    blobstore.put(DATA)
    target = f"sqlite:///{tmp_path / 'other' / 'rows.sqlite'}"
    assert [moving.move(target, blobs=bucket).blobs for _ in range(2)] == [1, 0]
    objects.put_object(Key=f"results/{SHA[:2]}/{SHA}", Body=b"torn")
    assert moving.move(target, blobs=bucket).blobs == 1
    assert objects.Object(f"results/{SHA[:2]}/{SHA}").get()["Body"].read() == DATA


@pytest.mark.parametrize("blobs", ["s3://name:word@bucket/results", "gs://bucket"])
def test_a_place_that_is_none_is_refused_before_anything_is_copied_and_not_shown(blobs: str, tmp_path: Path) -> None:
    audit.append("first")
    target = tmp_path / "other.sqlite"
    said = CliRunner().invoke(cli.app, ["store", "move", f"sqlite:///{target}", "--blobs", blobs])
    assert isinstance(said.exception, BadInput)
    assert "the place for results is none: write a folder" in str(said.exception)
    assert "word" not in str(said.exception)
    assert not target.exists()


def test_with_a_key_nothing_lies_there_in_clear_and_who_has_no_key_writes_nothing(
    objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = vault.new_key(tmp_path / "keys")
    monkeypatch.setenv("MLTRAINER_ENCRYPTION_KEY_FILE", str(tmp_path / "keys"))
    blobstore.put(DATA)
    bodies = {found.key: found.get()["Body"].read() for found in objects.objects.all()}
    assert bodies.pop(f"results/{vault.MARK}").decode().strip() == key
    assert [DATA in body for body in bodies.values()] == [False]
    assert (blobstore.get(SHA), blobstore.key_of(SHA)) == (DATA, key)
    monkeypatch.delenv("MLTRAINER_ENCRYPTION_KEY_FILE")
    with pytest.raises(MltrainerError, match="nothing was written"):
        blobstore.put(b"in clear")


def test_what_lies_there_in_clear_is_encrypted_by_a_command_and_put_back(
    objects: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobstore.put(DATA)
    vault.new_key(tmp_path / "keys")
    monkeypatch.setenv("MLTRAINER_ENCRYPTION_KEY_FILE", str(tmp_path / "keys"))
    for arguments, in_clear in ((["store", "encrypt"], False), (["store", "encrypt", "--off"], True)):
        assert CliRunner().invoke(cli.app, arguments).exit_code == 0
        body = objects.Object(f"results/{SHA[:2]}/{SHA}").get()["Body"].read()
        assert (body == DATA, blobstore.get(SHA)) == (in_clear, DATA)


def test_the_bytes_of_a_source_are_found_there_and_go_with_its_purge(objects: Any, tmp_path: Path) -> None:
    address = stored.keep(mt.matrix("MSFT", start="2008-01-02", end="2010-12-31"))
    blobstore.put(DATA)
    assert retention.of_source("sample", tmp_path / "runs").blobs == [address]
    retention.purge("sample", "the agreement ended", tmp_path / "runs")
    assert names(objects) == [f"results/{SHA[:2]}/{SHA}"]
    assert audit.verify() == []


def test_health_says_how_soon_it_answers_and_nothing_of_a_disk(objects: Any) -> None:
    parts = {part.name: part for part in health.health()}
    assert parts["place of results answers"].state == "ok"
    assert 0 < parts["place of results answers"].figure < 500
    assert "free disk, results" not in parts


def test_a_bucket_that_is_not_there_is_said_in_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLTRAINER_BLOBS", "s3://nobodys/results")
    with pytest.raises(StorageError, match=r"^s3://nobodys/results/\S+: The specified bucket does not exist; see that"):
        blobstore.put(DATA)
    failed = {part.name: part.state for part in health.health()}
    assert failed["store answers"] == "ok"


@pytest.mark.slow
def test_a_bucket_that_does_not_answer_is_said_in_one_line_without_a_key(
    bucket: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    s3fs.S3FileSystem.clear_instance_cache()  # which was made for the address of before
    request.addfinalizer(s3fs.S3FileSystem.clear_instance_cache)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-nobody-else")
    with pytest.raises(StorageError, match="Could not connect") as told:
        blobstore.put(DATA)
    assert "of-nobody-else" not in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(StorageError, match="Could not connect"):
        blobstore.exists("0" * 64)  # not that there is none: nothing must be called lost
    torn = Damage(blobstore.path("0" * 64), "torn", "a result", "run again")
    monkeypatch.setattr(scrubbing, "_blobs", lambda: [torn])  # it was found before the bucket fell silent
    with pytest.raises(StorageError, match="Could not connect"):
        scrub(quarantine=True)
    failed = next(part for part in health.health() if part.name == "place of results answers")
    assert "Could not connect" in failed.said
    assert (failed.state, "of-nobody-else" in str(failed), "\n" in str(failed)) == ("failed", False, False)


def test_without_its_library_the_remedy_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(Unavailable, match=r"needs s3fs; pip install 'mltrainer\[s3\]'"):
        blobstore.put(DATA)


@pytest.mark.parametrize(
    "where", ["s3://", "s3://name:word@bucket/results", "s3://bucket/results?key=word", "gs://bucket", "file://host/x"]
)
def test_an_address_that_is_none_of_a_bucket_is_refused_and_not_shown(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTRAINER_BLOBS", where)
    with pytest.raises(BadInput, match=r"MLTRAINER_BLOBS: .*write a folder, file:///folder or s3://") as told:
        blobstore.put(DATA)
    assert "word" not in str(told.value)
