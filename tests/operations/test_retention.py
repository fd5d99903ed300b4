"""What is referred to stays, what is damaged is moved aside by name, and bytes of a source go without their hashes."""

import json
import os
import time
from pathlib import Path

import pytest

import mltrainer as mt
from mltrainer import blobstore, store
from mltrainer.data.providers import cache
from mltrainer.errors import BadInput, Tampered, Unavailable, UnknownName
from mltrainer.evaluation import lifecycle, trials
from mltrainer.features import stored
from mltrainer.features.matrix import Matrix
from mltrainer.operations import retention
from mltrainer.operations.scrub import scrub
from mltrainer.trust import audit

OLD = 100 * 86_400


@pytest.fixture
def msft(home: Path) -> Matrix:
    return mt.matrix("MSFT", start="2004-01-02", end="2006-12-29")


def aged(path: Path) -> Path:
    os.utime(path, (time.time() - OLD, time.time() - OLD))
    return path


def all_aged(home: Path) -> None:
    for path in home.rglob("*"):
        aged(path)


def test_only_what_nothing_refers_to_goes_and_only_when_it_is_old(msft: Matrix, home: Path, tmp_path: Path):
    mt.evaluate("KNeighborsRegressor_5", msft)
    artifact = mt.model("RidgeRegression").train(msft).save()
    young, orphan = blobstore.put(b"young"), blobstore.put(b"old")
    all_aged(home)
    os.utime(blobstore.path(young))
    runs = tmp_path / "runs"
    assert [(w.kind, w.name) for w in retention.waste(out=runs)] == [("blob", orphan)]
    assert blobstore.exists(orphan)  # it was only shown
    assert [w.name for w in retention.prune(out=runs)] == [orphan]
    assert not blobstore.exists(orphan)
    assert blobstore.exists(young)
    assert trials.lost().empty
    assert lifecycle.Model.load(artifact).name == "RidgeRegression"
    assert audit.verify() == []
    assert audit.entries(kind="prune")[0].payload["blobs"] == [orphan]
    assert retention.prune(out=runs) == []
    assert len(audit.entries(kind="prune")) == 1  # nothing happened, so nothing is told


def test_what_a_run_names_stays_and_so_does_all_data_while_a_run_is_elsewhere(msft: Matrix, home: Path, tmp_path: Path):
    address, runs = stored.keep(msft), tmp_path / "runs"
    all_aged(home)
    assert [w.name for w in retention.waste(out=runs)] == [address]
    (runs / "MSFT-5d-00000000").mkdir(parents=True)
    (runs / "MSFT-5d-00000000" / "linear.ipynb").write_text(json.dumps({"matrices": address}))
    assert [w.kind for w in retention.waste(out=runs) if w.kind == "blob"] == []
    audit.append("report", run="MSFT-5d-11111111", manifest="0" * 64)
    assert [w.kind for w in retention.waste(out=tmp_path / "others")] == []


def test_a_run_that_was_never_finished_goes_and_no_other_folder(home: Path, tmp_path: Path):
    audit.append("first")
    for name in ("MSFT-5d-00000000", "MSFT-5d-11111111", "my-notes", "MSFT-5d-2222222"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.html").write_text("x")
    (tmp_path / "MSFT-5d-11111111" / "manifest.json").write_text("{}")
    for path in tmp_path.rglob("*"):
        aged(path)
    assert [(w.kind, w.name) for w in retention.waste(out=tmp_path)] == [("run", "MSFT-5d-00000000")]
    retention.prune(out=tmp_path)
    kept = ["MSFT-5d-11111111", "MSFT-5d-2222222", "home", "my-notes"]
    assert sorted(p.name for p in tmp_path.iterdir()) == kept


def test_an_age_that_is_none_is_refused(home: Path):
    for days in (-1, float("nan")):
        with pytest.raises(BadInput):
            retention.waste(days)


# --- damage ---------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_named_moved_aside_with_its_reason_and_the_rest_works(msft: Matrix, home: Path):
    mt.evaluate(["KNeighborsRegressor_5", "KNeighborsRegressor_3"], msft)
    artifact = mt.model("RidgeRegression").train(msft).save()
    assert scrub() == []
    rows = trials.ledger().set_index("model")
    bad = blobstore.path(rows.loc["KNeighborsRegressor_3", "blob"])
    bad.write_bytes(b"flipped" + bad.read_bytes()[7:])
    (found,) = scrub()
    assert found.path == bad
    assert str(found).startswith(f"{bad}: its bytes no longer match its address; it held the result of KNeighbors")
    assert bad.exists()  # it was only named
    (moved,) = scrub(quarantine=True)
    assert not bad.exists()
    assert moved.moved is not None
    assert moved.moved.read_bytes()[:7] == b"flipped"
    reason = json.loads(moved.moved.with_name(f"{moved.moved.name}.json").read_text())
    assert reason["why"] == "its bytes no longer match its address"
    assert scrub() == []
    assert list(trials.lost()["why"]) == ["result lost"]
    assert trials.opened(rows.loc["KNeighborsRegressor_5", "key"]) is not None
    assert lifecycle.Model.load(artifact).name == "RidgeRegression"
    assert audit.verify() == []
    mt.evaluate("KNeighborsRegressor_3", msft)  # made again it is healed
    assert trials.lost().empty


def test_a_damaged_cache_is_moved_aside_and_made_anew(replay: object, home: Path):
    mt.bars("MSFT", start="2005-01-03", end="2005-02-28")
    (home / "answers.sqlite").write_bytes(b"no database at all")
    (found,) = scrub(quarantine=True)
    assert found.path.name == "answers.sqlite"
    assert scrub() == []
    assert len(mt.bars("MSFT", start="2005-01-03", end="2005-02-28").frame) == 39


@pytest.mark.usefixtures("database")
def test_a_damaged_database_of_rows_is_named_and_never_moved(home: Path):
    audit.append("first")
    body = b"this is no database" * 100
    (home / "mltrainer.sqlite").write_bytes(body)
    (found,) = scrub(quarantine=True)
    assert "restore a backup" in str(found)
    assert (home / "mltrainer.sqlite").read_bytes() == body
    with pytest.raises(Tampered):
        audit.head()


# --- one source -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bytes_of_a_source_go_and_every_hash_stays(replay: object, home: Path):
    data = mt.matrix("MSFT", start="2004-01-02", end="2006-12-29")
    address = stored.keep(data)
    mt.evaluate("KNeighborsRegressor_5", data)
    head = audit.head()
    assert cache.held()
    assert retention.of_source("replay").blobs == [address]
    with pytest.raises(BadInput, match="say why"):
        retention.purge("replay", " ")
    with pytest.raises(UnknownName):
        retention.of_source("bloomberg")
    assert retention.of_source("polygon").blobs == []
    gone = retention.purge("replay", "the agreement ended")
    assert gone.blobs == [address]
    assert cache.held() == []
    assert audit.verify(head) == []
    assert trials.lost().empty
    with pytest.raises(Unavailable):
        stored.opened(address)
    assert "purged" in retention.purged([address])[address]
    assert audit.entries(kind="purge")[0].payload["terms"].startswith("tests only")


# --- a folder of blobs that homes share, and what happens meanwhile ---------------------------------------------


def test_what_is_kept_again_while_pruning_stays_whenever_it_is_kept(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    audit.append("first")
    before, between = blobstore.put(b"kept before"), blobstore.put(b"kept between")
    all_aged(home)
    assert blobstore.put(b"kept before") == before  # acknowledged: a row will name it soon
    drop = store.drop

    def later(path: Path, younger: float) -> bool:
        blobstore.put(b"kept between")
        return drop(path, younger)

    monkeypatch.setattr(store, "drop", later)
    assert [w.name for w in retention.prune(out=tmp_path / "runs")] == [between]
    assert blobstore.flaw(before) == blobstore.flaw(between) == ""
    assert list(blobstore.folder().glob("*/.*")) == []


def test_nothing_goes_before_the_trail_has_it(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    audit.append("first")
    orphan = blobstore.put(b"old")
    all_aged(home)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_remember", full)  # the last step of a writer
    with pytest.raises(OSError, match="No space"):
        retention.prune(out=tmp_path / "runs")
    assert blobstore.exists(orphan)


def test_what_is_younger_than_a_day_is_never_removed(home: Path, tmp_path: Path):
    audit.append("first")
    with pytest.raises(BadInput, match="younger than a day"):
        retention.prune(0.5, tmp_path / "runs")


@pytest.mark.usefixtures("database")
def test_a_shared_folder_is_not_pruned_by_one_of_its_homes_and_torn_files_in_it_are_found(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLTRAINER_BLOBS", str(tmp_path / "shared"))
    audit.append("first")
    aged(blobstore.path(blobstore.put(b"named by a row of another home")))
    store.write_atomic(blobstore.folder() / "ab" / ".0.tmp", b"half")
    aged(blobstore.folder() / "ab" / ".0.tmp")
    assert [(w.kind, w.size) for w in retention.waste(out=tmp_path / "runs")] == [("blob", 30), ("left by a kill", 4)]
    with pytest.raises(BadInput, match="the rows of other homes are not seen from here"):
        retention.prune(out=tmp_path / "runs")
    assert len(blobstore.addresses()) == 1


def test_a_blob_that_a_row_names_and_that_is_gone_is_found(msft: Matrix, home: Path):
    mt.evaluate("KNeighborsRegressor_5", msft)
    blobstore.path(trials.ledger()["blob"][0]).unlink()
    (found,) = scrub()
    assert "it is gone; it held the result of KNeighborsRegressor_5 on MSFT" in str(found)
