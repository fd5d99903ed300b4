"""A home's rows move to another database whole or not at all, and homes that share both know the same."""

import json
from pathlib import Path

import pytest
from databases import Tamper
from sqlalchemy import URL, text
from typer.testing import CliRunner

from mltrainer import blobstore, cli, store
from mltrainer.errors import BadInput, Tampered
from mltrainer.trust import audit, moving


@pytest.fixture
def server(database: URL, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty PostgreSQL, while the home's own SQLite is in force."""
    monkeypatch.delenv("MLTRAINER_DATABASE_URL")
    return database.render_as_string(hide_password=False)


on_server = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
TRIAL = (
    "INSERT INTO trials (key, at, model, family, ticker, horizon, status, payload) "
    "VALUES (:key, 'now', 'm', 'f', 'T', 5, 'ok', '{}')"
)


def worked(n: int = 3) -> None:
    for i in range(n):
        audit.append("work", n=i, text="naïve\u2028")
        blobstore.put(f"result {i}".encode())


def trial(key: str) -> None:
    row = {"key": key, "at": "now", "model": "m", "family": "f", "ticker": "T", "horizon": 5, "status": "ok"}
    with store.writing() as connection:
        made = connection.execute(store.trials.insert().values(**row, payload="{}"))
        audit.extend(connection, "trial", row | {"seq": made.inserted_primary_key[0]})


@on_server
def test_a_moved_history_has_the_same_counts_and_head_and_goes_on(
    server: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked()
    trial("a")
    head, shared = audit.head(), tmp_path / "shared"
    moved = moving.move(server, blobs=shared)
    assert (moved.head, moved.rows["audit"], moved.rows["trials"], moved.blobs, moved.fresh) == (head, 4, 1, 3, True)
    assert audit.head() == head  # the source is as it was
    again = moving.move(server, blobs=shared)
    assert (again.rows, again.head, again.blobs, again.fresh) == (moved.rows, head, 0, False)
    monkeypatch.setenv("MLTRAINER_DATABASE_URL", server)
    monkeypatch.setenv("MLTRAINER_BLOBS", shared.as_uri())
    monkeypatch.setenv("MLTRAINER_HOME", str(home.with_name("another")))
    assert (audit.head(), audit.verify(str(head))) == (head, [])
    assert blobstore.get(blobstore.put(b"result 1")) == b"result 1"
    trial("b")  # its number is the next one, and not one that was moved
    with store.reading() as connection:
        assert connection.execute(text("SELECT seq FROM trials ORDER BY seq")).scalars().all() == [1, 2]
    assert audit.verify() == []


@on_server
def test_an_interrupted_move_leaves_both_as_they_were_and_can_be_made_again(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked()
    head, copy, seen = audit.head(), moving._copy, []

    def dies(table: object, *connections: object) -> None:
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(table)
        copy(table, *connections)

    monkeypatch.setattr(moving, "_copy", dies)
    with pytest.raises(KeyboardInterrupt):
        moving.move(server)
    assert (audit.head(), audit.verify()) == (head, [])
    monkeypatch.setattr(moving, "_copy", copy)
    moved = moving.move(server)
    assert (moved.head, moved.fresh) == (head, True)


@on_server
def test_a_database_with_another_history_is_not_moved_into(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setenv("MLTRAINER_DATABASE_URL", server)
        audit.append("theirs")
    worked()
    with pytest.raises(BadInput, match="holds another history"):
        moving.move(server)


def test_a_trail_that_does_not_hold_is_not_moved(tmp_path: Path, tamper: Tamper) -> None:
    worked()
    tamper("UPDATE audit SET actor = 'somebody' WHERE seq = 2")
    with pytest.raises(Tampered, match="entry 2 was edited"):
        moving.move(f"sqlite:///{tmp_path / 'other.sqlite'}")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///{home}/mltrainer.sqlite"])
def test_a_target_that_cannot_be_meant_is_bad_input(url: str, home: Path) -> None:
    worked()
    with pytest.raises(BadInput):
        moving.move(url.format(home=home))


def test_the_command_says_what_was_copied_and_the_head(tmp_path: Path) -> None:
    worked()
    target = tmp_path / "other" / "state.sqlite"
    said = CliRunner().invoke(cli.app, ["store", "move", f"sqlite:///{target}", "--blobs", str(tmp_path / "b")])
    assert f"audit head {audit.head()}, the same in both; 3 results copied" in said.output
    again = CliRunner().invoke(cli.app, ["store", "move", f"sqlite:///{target}", "--json"])
    assert json.loads(again.output)["fresh"] is False


def test_a_new_home_beside_a_shared_folder_that_is_full_is_a_fresh_start(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTRAINER_BLOBS", str(tmp_path / "shared"))
    blobstore.put(b"of another home")
    assert audit.head().size == 0
    assert not (home / "blobs").exists()


def test_a_torn_copy_of_a_result_is_no_copy(tmp_path: Path) -> None:
    worked()
    target, shared = f"sqlite:///{tmp_path / 'other' / 'state.sqlite'}", tmp_path / "shared"
    moving.move(target, blobs=shared)
    torn = next(p for p in shared.glob("??/*"))
    torn.write_bytes(torn.read_bytes()[:3])
    assert moving.move(target, blobs=shared).blobs == 1
    assert torn.read_bytes() == blobstore.get(torn.name)


def test_no_folder_is_the_home_and_a_relative_one_is_the_same_wherever_one_stands(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLTRAINER_BLOBS", "")
    assert blobstore.folder() == home / "blobs"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLTRAINER_BLOBS", "shared")
    assert blobstore.folder() == tmp_path / "shared"
