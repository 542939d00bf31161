"""Count and hash the rows of a database, to compare it with another. The server does most of the work.

The hash of a table is the sum of the 64-bit hashes of its rows, so that one pass in any order is enough. It detects
accidents: a row that is lost, duplicated, truncated or changed. It does not detect deliberate manipulation.

This session may be a superuser's, so it must not run code that a table's owner wrote. A query cannot guarantee that: to
plan it, PostgreSQL evaluates constant expressions in the table's indexes and statistics. COPY is not planned. A table
that neither this role nor a superuser owns is therefore read by COPY and hashed here, which is several times slower.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, CursorResult, text

from ..errors import BackupMismatchError, ConnectionLostError, DatabaseBusyError, FastZeroError
from ..postgres import database
from ..postgres.driver_errors import translate
from .manifest import Content, Manifest

# For a session that stays idle while a backup runs.
IDLE_SETTINGS = {
    "TimeZone": "UTC",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "10s",
}
# The text form of values must not depend on the role or the database.
SESSION_SETTINGS = {
    **database.CATALOG_PATH,
    **IDLE_SETTINGS,
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "row_security": "off",  # raises an error instead of hiding rows
    "max_parallel_workers_per_gather": "0",  # pg_dump runs at the same time and needs the other cores
}

# How a row is hashed. A hash of its text covers everything. A hash of its values is more than twice as fast, but values
# that are equal may differ as text (1.0 and 1.00), so it is used only for types without such values.
# `t.*` is the row even if a column is named t; casts that the table's owner created do not apply to `ROW`.
_ROW_HASHES = {"text": "hashtextextended(ROW(t.*)::text, 0)", "values": "hash_record_extended(ROW(t.*), 0)"}
BY_COPY = "copy"
_EXACT_TYPES = ("bool", "int2", "int4", "int8", "text", "varchar", "uuid", "bytea", "date", "timestamp", "timestamptz")

_IS_USER_RELATION = """
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't' AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
# True if only this role or a superuser owns the table and its schema: no less privileged role can have defined the
# table's expressions, or replaced the table by another.
TRUSTED = """
    (SELECT bool_and(rolsuper OR rolname = current_user) FROM pg_roles WHERE oid IN (c.relowner, CASE
        WHEN n.nspowner <> (SELECT oid FROM pg_roles WHERE rolname = 'pg_database_owner') THEN n.nspowner
        ELSE (SELECT datdba FROM pg_database WHERE datname = current_database()) END))
"""
_TABLES = f"""
    SELECT format('%I.%I', n.nspname, c.relname), CASE WHEN NOT {TRUSTED} THEN '{BY_COPY}'
        WHEN bool_and(y.typname = ANY(:exact) AND y.typnamespace = 'pg_catalog'::regnamespace
            AND coalesce(l.collisdeterministic, true)) THEN 'values' ELSE 'text' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE c.relkind = 'r' AND {_IS_USER_RELATION} GROUP BY n.nspname, n.nspowner, c.relname, c.relowner
    ORDER BY n.nspname, c.relname
"""  # noqa: S608
_SEQUENCES = f"""
    SELECT format('%I.%I', n.nspname, c.relname), coalesce(pg_sequence_last_value(c.oid), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
    WHERE s.seqincrement > 0 AND NOT s.seqcycle AND {_IS_USER_RELATION} ORDER BY 1
"""  # noqa: S608
# pg_shdepend does not record the bootstrap superuser, so the owners are read from the catalogs of the objects.
_OWNERS = """
    SELECT DISTINCT rolname FROM (
        SELECT relowner FROM pg_class WHERE oid >= 16384
        UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
        UNION SELECT proowner FROM pg_proc p WHERE oid >= 16384 AND NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
        UNION SELECT extowner FROM pg_extension WHERE oid >= 16384
        UNION SELECT refobjid FROM pg_shdepend WHERE deptype = 'o'
            AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS owners (oid) JOIN pg_roles USING (oid) ORDER BY 1
"""
_GRANTEES = """
    SELECT DISTINCT rolname FROM pg_shdepend JOIN pg_roles r ON r.oid = refobjid
    WHERE deptype IN ('a', 'r') AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1
"""

_REFUSE_VIEWS = text(
    "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings"
    " WHERE name = 'restrict_nonsystem_relation_kind'"
)

# Conflicts with writes and with itself: two sessions with a weaker lock that both wrote later would deadlock.
WRITE_LOCK = "SHARE ROW EXCLUSIVE"
LOCK_TRY = "500ms"  # less than `deadlock_timeout`, after which PostgreSQL would end one of two sessions
LOCK_SECONDS = 5

# The sessions that this role is allowed to end.
CAN_TERMINATE = """
    pg_has_role(usesysid, 'MEMBER')
    AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = usesysid AND rolsuper AND current_setting('is_superuser') = 'off')
"""
_EVICT = f"""
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND {CAN_TERMINATE}
"""  # noqa: S608


class Hold:
    """A session that locks the tables of a database against writes by all others. Created by `writes_held`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    def check(self) -> None:
        """Raise ConnectionLostError if the session no longer holds its locks."""
        if self._connection.closed:
            raise lock_lost_error()
        self._connection.execute(text("SELECT 1"))

    __call__ = check

    def evict_others(self) -> None:
        """End all other sessions of the database that this role is allowed to end. New sessions cannot write."""
        self._connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        with self._connection.begin_nested():  # an error outside of a savepoint would release the locks
            self._connection.execute(text(_EVICT)).all()

    def release(self) -> None:
        """Release the locks. Does nothing if they were lost or released before."""
        with suppress(FastZeroError):
            self._connection.close()


def lock_lost_error() -> ConnectionLostError:
    """Return the error for a lost write lock."""
    return ConnectionLostError("the write lock was lost", hint="Try again: the data may have changed since")


@contextmanager
def writes_held(url: str, patience: float = LOCK_SECONDS) -> Iterator[Hold]:
    """Lock all tables against writes by other sessions for one block. They can read; writers wait until they time out.

    Tries for `patience` seconds. Locks the tables that exist at the start: not tables created during the block, nor
    large objects or sequences. The lock ends with this process or the server. Raises DatabaseBusyError.
    """
    engine = database.create_engine(url, settings=SESSION_SETTINGS)
    connection = engine.connect()
    try:
        write_lock(connection, patience)
        yield Hold(connection)
    finally:
        with suppress(FastZeroError):  # the server may have been stopped in the block
            connection.close()


def write_lock(connection: Connection, patience: float = LOCK_SECONDS) -> None:
    """Lock all tables against writes by other sessions until this transaction ends. This transaction can write.

    A statement of another session may lock several tables too, in another order, as one with triggers does. So that the
    two never wait for each other, all locks are given up after a short wait for one of them, and then asked for again.
    Another session can back up the database at the same time. Raises DatabaseBusyError.
    """
    until = time.monotonic() + patience
    while True:
        try:
            with connection.begin_nested():
                execute(connection, f"SET LOCAL lock_timeout = '{LOCK_TRY}'")
                lock_tables(connection, WRITE_LOCK)
            break
        except DatabaseBusyError:
            if time.monotonic() > until:
                raise
    execute(connection, "SET LOCAL lock_timeout = DEFAULT")


def lock_tables(connection: Connection, mode: str = "ACCESS SHARE") -> None:
    """Lock every table until the transaction ends. The default mode allows reads and writes."""
    for name in table_names(connection):
        execute(connection, f"LOCK TABLE ONLY {name} IN {mode} MODE")


def table_contents(connection: Connection, kinds: Mapping[str, str] | None = None) -> dict[str, Content]:
    """Return the row count and the hash of every table. `kinds` sets the kind of hash by table; default: by type."""
    found = _hash_kinds(connection)
    refuse_views(connection)
    return {name: _content(connection, name, (kinds or found).get(name, kind)) for name, kind in found.items()}


def table_names(connection: Connection) -> list[str]:
    """Return the names of all tables, qualified and quoted for SQL."""
    return list(_hash_kinds(connection))


def sequence_values(connection: Connection) -> dict[str, int]:
    """Return the last value of every ascending sequence, 0 for one that was never used."""
    return {name: int(value) for name, value in connection.execute(text(_SEQUENCES))}


def owners(connection: Connection) -> list[str]:
    """Return the roles that own an object in the database."""
    return list(connection.execute(text(_OWNERS)).scalars())


def grantees(connection: Connection) -> list[str]:
    """Return the roles that have a privilege on an object in the database."""
    return list(connection.execute(text(_GRANTEES)).scalars())


def compare(connection: Connection, manifest: Manifest) -> None:
    """Compare a database with a manifest. Raises BackupMismatchError."""
    kinds = {name: content.hash.partition(":")[0] for name, content in manifest.tables.items()}
    if unknown := sorted(set(kinds.values()) - {*_ROW_HASHES, BY_COPY}):
        raise BackupMismatchError(f"the manifest has unknown kinds of hashes: {', '.join(unknown)}")
    found = table_contents(connection, kinds)
    different = [_difference(name, manifest.tables.get(name), found.get(name)) for name in {**manifest.tables, **found}]
    values = sequence_values(connection)
    different += [
        f"sequence {name} is at {values.get(name, 'nothing')}, not at {last} or higher"
        for name, last in manifest.sequences.items()
        if values.get(name, -1) < last
    ]
    if differences := [each for each in different if each]:
        raise BackupMismatchError(f"the restored data differs from the backup: {'; '.join(differences)}")


def refuse_views(connection: Connection) -> None:
    """Make the session refuse to read views and foreign tables, if the server supports it.

    A table's owner could replace the table by one of these.
    """
    connection.execute(_REFUSE_VIEWS)


def driver(connection: Connection) -> "psycopg.Connection[Any]":
    """Return the psycopg connection of a SQLAlchemy connection."""
    found: psycopg.Connection[Any] | None = connection.connection.driver_connection
    assert found is not None
    return found


def execute(connection: Connection, statement: str) -> CursorResult[*tuple[Any, ...]]:
    """Run a statement without parameters. Names in it may contain colons and percent signs."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _hash_kinds(connection: Connection) -> dict[str, str]:
    return dict(connection.execute(text(_TABLES), {"exact": list(_EXACT_TYPES)}).all())


def _content(connection: Connection, table: str, kind: str) -> Content:
    if kind == BY_COPY:
        return _copied(connection, table)
    hashed = f"SELECT count(*), coalesce(sum({_ROW_HASHES[kind]}), 0) FROM ONLY {table} AS t"  # noqa: S608
    row = execute(connection, hashed).one()
    return Content(row[0], f"{kind}:{row[1]}")


def _copied(connection: Connection, table: str) -> Content:
    rows = total = 0
    try:
        with driver(connection).cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT".encode()) as copy:
            for row in copy:
                rows += 1
                total += int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big")
    except psycopg.Error as error:
        raise translate(error) from error
    return Content(rows, f"{BY_COPY}:{total}")


def _difference(name: str, wanted: Content | None, found: Content | None) -> str:
    if wanted == found:
        return ""
    if wanted is None or found is None:
        return f"table {name} is {'missing' if found is None else 'not in the backup'}"
    if wanted.rows != found.rows:
        return f"table {name} has {found.rows} rows, not {wanted.rows}"
    return f"table {name} has different content"
