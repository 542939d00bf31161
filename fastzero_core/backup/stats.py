"""Read the statistics that PostgreSQL keeps of a database. Does not scan tables, except in `count_rows`."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from ..errors import FastZeroError
from ..postgres import database
from ..schema import revisions
from .content import TRUSTED
from .server import KeptDatabase, kept_databases

PAGE_HEAD, ROW_HEAD = 24, 28  # bytes: the headers of each page and of each row

_OVERVIEW = """
    SELECT current_database() AS database, split_part(current_setting('server_version'), ' ', 1) AS server_version,
        pg_database_size(current_database()) AS size,
        round(blks_hit::numeric / nullif(blks_hit + blks_read, 0), 4)::float AS cache_hits,
        (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
        current_setting('max_connections')::int AS max_connections,
        (SELECT round(extract(epoch FROM max(clock_timestamp() - xact_start)), 1)::float FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest_transaction
    FROM pg_stat_database WHERE datname = current_database()
"""
# Bloat: the size of the pages minus the size that rows of the average width would need.
_TABLES = f"""
    SELECT s.relname AS table, greatest(c.reltuples, s.n_live_tup)::bigint AS rows,
        pg_total_relation_size(c.oid) AS size, pg_indexes_size(c.oid) AS index_size, s.n_dead_tup AS dead_rows,
        greatest(0, pg_relation_size(c.oid) - ceil(greatest(c.reltuples, s.n_live_tup) * ({ROW_HEAD} + coalesce((
            SELECT sum((1 - null_frac) * avg_width) FROM pg_stats p
            WHERE p.schemaname = s.schemaname AND p.tablename = s.relname), 0)) / (b.page - {PAGE_HEAD})) * b.page
        )::bigint AS bloat,
        round(s.idx_scan::numeric / nullif(s.idx_scan + s.seq_scan, 0), 4)::float AS index_use
    FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid,
        (SELECT current_setting('block_size')::int AS page) AS b
    ORDER BY 3 DESC, 1
"""  # noqa: S608
_INDEXES = """
    SELECT indexrelname AS index, relname AS table, pg_relation_size(indexrelid) AS size, idx_scan AS scans
    FROM pg_stat_user_indexes ORDER BY 3 DESC, 1
"""
_COUNTED = f"""
    SELECT format('SELECT count(*) FROM ONLY %I.%I', n.nspname, c.relname), {TRUSTED}
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
        AND c.relname <> 'alembic_version' AND n.nspname <> 'information_schema'
"""  # noqa: S608
# The exact number is only informative: do not wait longer for it.
COUNTING = {**database.CATALOG_PATH, "statement_timeout": "3s", "lock_timeout": "1s"}


@dataclass(frozen=True)
class TableStats:
    """The statistics of a table. Sizes are in bytes, `size` includes indexes; `rows` and `bloat` are estimates.

    `index_use` is the share of scans that used an index, 0 to 1, None without scans.
    """

    table: str
    rows: int
    size: int
    index_size: int
    dead_rows: int
    bloat: int
    index_use: float | None


@dataclass(frozen=True)
class IndexStats:
    """The statistics of an index: its size in bytes, and its scans since the last reset of the statistics."""

    index: str
    table: str
    size: int
    scans: int


@dataclass(frozen=True)
class DatabaseStats:
    """The statistics of a database. `size` and `bloat` are in bytes, `oldest_transaction` is in seconds.

    `cache_hits` is the share of pages found in memory, 0 to 1, None if none was read.
    """

    database: str
    server_version: str
    revision: str | None
    size: int
    rows: int
    cache_hits: float | None
    connections: int
    max_connections: int
    oldest_transaction: float | None
    bloat: int
    tables: list[TableStats] = field(default_factory=list)
    indexes: list[IndexStats] = field(default_factory=list)
    kept: list[KeptDatabase] = field(default_factory=list)

    def overview(self) -> dict[str, Any]:
        """Return all values that are not lists."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, list)}


def stats(url: str) -> DatabaseStats:
    """Return the statistics of a database."""
    engine = database.create_engine(url, settings=database.CATALOG_SETTINGS)
    with engine.connect() as connection:
        tables = [TableStats(**row) for row in _rows(connection, _TABLES)]
        indexes = [IndexStats(**row) for row in _rows(connection, _INDEXES)]
        overview = _rows(connection, _OVERVIEW)[0]
        kept = kept_databases(connection, overview["database"])
    return DatabaseStats(
        **overview,
        revision=revisions.revision_of(url),
        rows=sum(table.rows for table in tables),
        bloat=sum(table.bloat for table in tables),
        tables=tables,
        indexes=indexes,
        kept=kept,
    )


def count_rows(url: str) -> int | None:
    """Return the number of rows in all tables except Alembic's.

    None if the database does not answer within 3 seconds, or has tables of a role that this role does not trust.
    """
    engine = database.create_engine(url, settings=COUNTING, connect_timeout=2)
    with suppress(FastZeroError), engine.connect() as connection:
        counts: dict[str, bool] = dict(connection.execute(text(_COUNTED)).all())
        if not all(counts.values()):
            return None
        whole = f"SELECT coalesce(sum(count), 0) FROM ({' UNION ALL '.join([*counts, 'SELECT 0'])}) AS counts (count)"  # noqa: S608
        found = connection.exec_driver_sql(whole, execution_options={"no_parameters": True})
        return int(found.scalar_one())
    return None


def _rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(statement)).mappings()]
