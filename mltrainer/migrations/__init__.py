"""What a database of an earlier release needs to be one of this release, as revisions of Alembic, oldest first.

`store` makes tables that are missing; a revision changes what is there already. There is no way back: rows are
append-only. A revision that was released is never edited.
"""

from functools import cache
from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from mltrainer.errors import StorageError

FOLDER = Path(__file__).parent


@cache
def scripts() -> ScriptDirectory:
    """The revisions of this release."""
    return ScriptDirectory(str(FOLDER))


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest revision, inside the transaction of `connection`: all of it or nothing."""
    context = MigrationContext.configure(
        connection, opts={"fn": lambda revision, _: scripts()._upgrade_revs("head", revision)}
    )
    try:
        with Operations.context(context):
            context.run_migrations()
    except CommandError:
        raise StorageError(
            "the database was written by a newer mltrainer than this one; upgrade mltrainer, or use another home"
        ) from None
