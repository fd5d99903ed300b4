"""The tables of a database: what is never changed nor taken back, and the triggers that hold to it."""

from sqlalchemy import DDL, Column, Float, Index, Integer, MetaData, Table, Text, event

REVISION = "0002"  # the newest of `migrations`
SCHEMA = MetaData()


def _words(*names: str, unique: bool = False) -> list[Column[str]]:
    return [Column(name, Text, nullable=False, unique=unique) for name in names]


audit = Table(
    "audit",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *_words("at", "kind", "actor", "payload"),
    *_words("prev", "hash", unique=True),  # two entries cannot follow the same one: no forks
    Index("audit_kind", "kind", "seq"),
)
admitted = Table("admitted", SCHEMA, Column("content", Text, primary_key=True), *_words("provenance", "at"))
answers = Table(  # what providers sent and the cache holds: a kept answer whose hash is not here was changed
    "answers",
    SCHEMA,
    Column("key", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    *_words("at"),
)
trials = Table(
    "trials",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "model", "family", "ticker"),
    Column("horizon", Integer, nullable=False),
    *_words("status"),
    Column("sharpe", Float),
    Column("n", Integer),
    *_words("payload"),
    sqlite_autoincrement=True,
)

worlds = Table("worlds", SCHEMA, Column("key", Text, primary_key=True), *_words("payload", "at"))  # see calibrate
alerts = Table(  # one row for each condition and period: the key is the hash of both
    "alerts",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "kind", "condition", "subject", "session", "severity", "mode", "payload"),
    sqlite_autoincrement=True,
)
alert_events = Table(  # what happened to an alert; with no alert named, that a subject was checked
    "alert_events",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "alert", "event", "payload"),
    sqlite_autoincrement=True,
)
positions = Table(  # entries of accounts; a correction voids one
    "positions",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "account", "payload"),
    sqlite_autoincrement=True,
)
conversations = Table(  # with the chat, of a user in a role; the only rows that are forgotten
    "conversations",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("user", "role", "at", "payload"),
    sqlite_autoincrement=True,
)
recommendations = Table(  # one row for each ticker, session and horizon
    "recommendations",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "ticker", "session"),
    Column("horizon", Integer, nullable=False),
    *_words("mode", "payload"),
    sqlite_autoincrement=True,
)
users = Table(  # who was let in, given another token or removed; of a token there is only the hash
    "users",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "name", "payload"),
    sqlite_autoincrement=True,
)
jobs = Table(  # what happened to a training: asked for, begun, how far, ended
    "jobs",
    SCHEMA,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    *_words("key", unique=True),
    *_words("at", "job", "event", "payload"),
    sqlite_autoincrement=True,
)

VERSION = Table("alembic_version", MetaData(), Column("version_num", Text, primary_key=True))  # of Alembic itself

_KEPT = "audit trials admitted worlds alerts alert_events positions recommendations users jobs".split()
APPEND_ONLY = {
    **dict.fromkeys(_KEPT, ""),
    "answers": "key, sha256",
}
"""What is never changed nor taken back, table by table; an answer that came again has a later time."""

# An entry is found by the hash that its payload opens with, {"content":"...: 12 characters and 64 hex digits.
_INDEX = "CREATE INDEX IF NOT EXISTS audit_address ON audit (kind, substr(payload, 1, 76))"
_SQLITE_TRIGGER = """CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb}{of} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"""
_POSTGRES_FUNCTION = """CREATE OR REPLACE FUNCTION append_only() RETURNS trigger AS
$$ BEGIN RAISE EXCEPTION '%% is append-only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"""
_POSTGRES_TRIGGER = """CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE{of} OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION append_only()"""


def _on_create(dialect: str, statement: str) -> None:
    # Of the schema, not of a table: that also happens where the tables stand already, so a home of an older version
    # gets what it lacks, and a trigger that somebody dropped is back.
    event.listen(SCHEMA, "after_create", DDL(statement).execute_if(dialect=dialect))


_on_create("postgresql", _POSTGRES_FUNCTION)
for _table, _columns in APPEND_ONLY.items():
    _of = f" OF {_columns}" if _columns else ""
    _on_create("postgresql", _POSTGRES_TRIGGER.format(table=_table, of=_of))
    for _verb, _these in (("UPDATE", _of), ("DELETE", "")):
        _on_create("sqlite", _SQLITE_TRIGGER.format(table=_table, verb=_verb, of=_these))
for _dialect in ("sqlite", "postgresql"):
    _on_create(_dialect, _INDEX)
