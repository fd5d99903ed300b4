"""A database of an earlier release is brought to this one without loss, and a new one is there at once."""

from pathlib import Path

import pytest
from databases import BOTH, Tamper
from sqlalchemy import URL, create_engine, text

from mltrainer import migrations, store
from mltrainer.errors import StorageError
from mltrainer.settings import settings
from mltrainer.trust import audit

pytestmark = BOTH


def indexes(database: URL) -> set[str]:
    of = "sqlite_master WHERE type = 'index'" if database.get_backend_name() == "sqlite" else "pg_indexes"
    engine = create_engine(database)
    with engine.connect() as connection:
        column = "name" if "sqlite" in of else "indexname"
        found = set(connection.execute(text(f"SELECT {column} FROM {of}")).scalars())
    engine.dispose()
    return found


def revision() -> str | None:
    with store.reading() as connection:
        return store._revision(connection)


def test_the_store_knows_the_newest_revision() -> None:
    assert migrations.scripts().get_current_head() == store.REVISION


def test_a_fresh_database_is_at_the_newest_revision(database: URL) -> None:
    audit.append("first")
    assert revision() == store.REVISION
    assert "audit_kind" in indexes(database)


def test_a_database_of_the_first_release_is_migrated_without_loss(database: URL, tamper: Tamper) -> None:
    for n in range(5):
        audit.append("work", n=n)
    before = audit.entries()
    # the first release had neither revisions nor this index, and fewer tables
    tamper("DROP TABLE alembic_version", "DROP INDEX audit_kind", "DROP TABLE alerts", "DROP TABLE worlds")
    store._made.clear()  # as in the next process
    assert audit.entries() == before  # reading is enough
    assert (revision(), "audit_kind" in indexes(database)) == (store.REVISION, True)
    assert audit.append("goes on").size == 6
    assert audit.verify() == []


def test_a_migration_that_is_interrupted_is_as_if_it_had_not_begun(
    database: URL, tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit.append("work")
    tamper("DROP TABLE alembic_version", "DROP INDEX audit_kind")
    store._made.clear()
    upgrade = migrations.upgrade

    def dies(connection: object) -> None:
        upgrade(connection)
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "upgrade", dies)
    with pytest.raises(KeyboardInterrupt):
        audit.head()
    assert "audit_kind" not in indexes(database)
    monkeypatch.setattr(migrations, "upgrade", upgrade)
    assert audit.head().size == 1
    assert "audit_kind" in indexes(database)


def test_a_database_of_a_newer_release_is_left_alone(tamper: Tamper) -> None:
    audit.append("work")
    tamper("UPDATE alembic_version SET version_num = '9999'")
    store._made.clear()
    with pytest.raises(StorageError, match="newer mltrainer"):
        audit.append("more")


def test_an_entry_is_found_by_its_kind_without_a_look_at_the_rest(home: Path) -> None:
    audit.append("work")
    if settings().database_url is None:
        plan = "EXPLAIN QUERY PLAN SELECT * FROM audit WHERE kind = 'work' ORDER BY seq DESC LIMIT 20"
        with store.reading() as connection:
            (row,) = connection.execute(text(plan)).all()
        assert "audit_kind" in row[3]  # and nothing is sorted: there is one step


def test_a_fresh_database_needs_no_migration(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: object) -> None:
        raise AssertionError("a database that this release made was migrated")

    monkeypatch.setattr(migrations, "upgrade", never)
    audit.append("first")
    assert revision() == store.REVISION
