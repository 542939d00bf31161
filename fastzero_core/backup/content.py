"""What is in a database, in numbers that two databases can be compared by. The server does the counting.

A table's hash is the sum of its rows' 64-bit hashes, so that it needs no order and one pass. It guards against
accidents: a row that is lost, doubled, cut off or changed. It is no proof against somebody who wants to deceive.

Nothing of a table's owner runs with this session's rights, who may be a superuser. A query cannot promise that: to plan
it, PostgreSQL computes constant expressions in the table's indexes and statistics. COPY is not planned. So a table
whose owner is neither this role nor a superuser is read by COPY, and hashed here, which is several times slower.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, CursorResult, text

from ..errors import BackupMismatchError, ConnectionLostError, FastZeroError
from ..postgres import database
from ..postgres.driver_errors import translate
from .manifest import Content, Manifest

# For a session that is idle for as long as a backup takes.
WAITING = {
    "TimeZone": "UTC",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "10s",
}
# How values become text must not depend on the role or the database.
SESSION = {
    **database.CATALOG_PATH,
    **WAITING,
    "client_encoding": "UTF8",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "row_security": "off",  # an error is better than rows that are not seen
    "max_parallel_workers_per_gather": "0",  # it works beside a dump, which needs the other cores
}

# By what a row is hashed. Over its text everything counts; over its values it is more than twice as fast, but equal
# values need not be the same ones: 1.0 and 1.00. So only types in which they are go by their values.
# `t.*` is the row, also where a column is called t; `ROW` has no casts that the table's owner has made.
_ROW_HASHES = {"text": "hashtextextended(ROW(t.*)::text, 0)", "values": "hash_record_extended(ROW(t.*), 0)"}
BY_COPY = "copy"
_EXACT_TYPES = ("bool", "int2", "int4", "int8", "text", "varchar", "uuid", "bytea", "date", "timestamp", "timestamptz")

_OURS = """
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't' AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
"""
# Whether nobody with fewer rights than this session can have made what a table has, or put another in its place.
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
    WHERE c.relkind = 'r' AND {_OURS} GROUP BY n.nspname, n.nspowner, c.relname, c.relowner
    ORDER BY n.nspname, c.relname
"""  # noqa: S608
_SEQUENCES = f"""
    SELECT format('%I.%I', n.nspname, c.relname), coalesce(pg_sequence_last_value(c.oid), 0)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
    WHERE s.seqincrement > 0 AND NOT s.seqcycle AND {_OURS} ORDER BY 1
"""  # noqa: S608
# The bootstrap superuser is in no pg_shdepend, so that owners are looked up where they are written.
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

# Keeps out whoever writes, and its own kind: two that held less and then wrote would wait for each other.
WRITE_LOCK = "SHARE ROW EXCLUSIVE"

# The sessions of a database that this role may end.
ENDABLE = """
    pg_has_role(usesysid, 'MEMBER')
    AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = usesysid AND rolsuper AND current_setting('is_superuser') = 'off')
"""
_EVICT = f"""
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND {ENDABLE}
"""  # noqa: S608


class Hold:
    """A session that keeps all others from writing to the tables of a database. Made by `writes_held`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    def check(self) -> None:
        """Raise ConnectionLostError if writes are not held any more."""
        if self._connection.closed:
            raise lost_hold()
        self._connection.execute(text("SELECT 1"))

    __call__ = check

    def evict_others(self) -> None:
        """End all other sessions of the database that this role may end. Those that begin afterwards cannot write."""
        self._connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        with self._connection.begin_nested():  # an error in the transaction itself would end the hold
            self._connection.execute(text(_EVICT)).all()

    def release(self) -> None:
        """Let the others write. A hold that was lost or released already is not an error."""
        with suppress(FastZeroError):
            self._connection.close()


def lost_hold() -> ConnectionLostError:
    """The error of whoever relied on a hold that has ended."""
    return ConnectionLostError("the hold on writes has ended", hint="Try again: what was to be kept may have changed")


@contextmanager
def writes_held(url: str) -> Iterator[Hold]:
    """Keep all other sessions from writing to the tables for one block: they wait, as long as their limits let them.

    Reading goes on. Held are the tables that exist when it begins: not those made in the block, and neither large
    objects nor sequences. It ends with this process and with the server. Raises DatabaseBusyError.
    """
    engine = database.create_engine(url, settings=SESSION)
    connection = engine.connect()
    try:
        write_lock(connection)
        yield Hold(connection)
    finally:
        with suppress(FastZeroError):  # the server may have been stopped in the block
            connection.close()


def write_lock(connection: Connection) -> None:
    """Keep all other sessions from writing to the tables until this transaction ends, which may write itself.

    Another session can back up the database meanwhile. Raises DatabaseBusyError.
    """
    lock_tables(connection, WRITE_LOCK)


def lock_tables(connection: Connection, mode: str = "ACCESS SHARE") -> None:
    """Lock every table until the transaction ends, by default so that reading and writing go on."""
    for name in table_names(connection):
        execute(connection, f"LOCK TABLE ONLY {name} IN {mode} MODE")


def table_contents(connection: Connection, kinds: Mapping[str, str] | None = None) -> dict[str, Content]:
    """Every table's rows, counted and hashed. `kinds` tells by what a table is hashed; else its types decide."""
    found = _hash_kinds(connection)
    refuse_views(connection)
    return {name: _content(connection, name, (kinds or found).get(name, kind)) for name, kind in found.items()}


def table_names(connection: Connection) -> list[str]:
    """The names of all tables, as SQL writes them."""
    return list(_hash_kinds(connection))


def sequence_values(connection: Connection) -> dict[str, int]:
    """The last number that every rising sequence has handed out, 0 for one that has not yet."""
    return {name: int(value) for name, value in connection.execute(text(_SEQUENCES))}


def owners(connection: Connection) -> list[str]:
    """The roles that own something in the database."""
    return list(connection.execute(text(_OWNERS)).scalars())


def grantees(connection: Connection) -> list[str]:
    """The roles that were granted something in the database."""
    return list(connection.execute(text(_GRANTEES)).scalars())


def compare(connection: Connection, manifest: Manifest) -> None:
    """Hold a database against what a manifest says of it. Raises BackupMismatchError."""
    kinds = {name: content.hash.partition(":")[0] for name, content in manifest.tables.items()}
    if unknown := sorted(set(kinds.values()) - {*_ROW_HASHES, BY_COPY}):
        raise BackupMismatchError(f"the manifest's hashes are of a kind unknown here: {', '.join(unknown)}")
    found = table_contents(connection, kinds)
    different = [_difference(name, manifest.tables.get(name), found.get(name)) for name in {**manifest.tables, **found}]
    values = sequence_values(connection)
    different += [
        f"sequence {name} is at {values.get(name, 'nothing')}, behind {last}"
        for name, last in manifest.sequences.items()
        if values.get(name, -1) < last
    ]
    if told := [each for each in different if each]:
        raise BackupMismatchError(f"what was restored is not what was backed up: {'; '.join(told)}")


def refuse_views(connection: Connection) -> None:
    """Have the session refuse to read views and foreign tables, in a table's place too, where the server can."""
    connection.execute(_REFUSE_VIEWS)


def driver(connection: Connection) -> "psycopg.Connection[Any]":
    """The driver's own connection under one of SQLAlchemy's."""
    found: psycopg.Connection[Any] | None = connection.connection.driver_connection
    assert found is not None
    return found


def execute(connection: Connection, statement: str) -> CursorResult[*tuple[Any, ...]]:
    """Run a statement that is written out: a name in it may have colons and per cent signs."""
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
    return f"table {name} has other content"
