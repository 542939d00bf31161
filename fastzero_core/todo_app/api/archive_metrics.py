"""Prometheus metrics of the archive of the database's server, as its statistics tell; none if it does not archive."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from ...archive.description import BACKED_UP_AT
from ...errors import FastZeroError
from ...postgres import database

LIMIT = 1  # seconds; the other metrics must not wait for the database

# Every role may read this. The time of the base backup is a setting of the database: see `archiving.take`.
_STATEMENT = text(f"""
SELECT archived_count, failed_count, extract(epoch FROM last_archived_time),
  (SELECT max(substring(setting FROM '=(.*)')::double precision)
   FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS setting
   WHERE setrole = 0 AND setting LIKE '{BACKED_UP_AT}=%'
     AND setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
FROM pg_catalog.pg_stat_archiver WHERE current_setting('archive_mode') <> 'off'
""")  # noqa: S608 - a constant


async def exposition(engine: AsyncEngine) -> bytes:
    """Return the metrics in the Prometheus text format; none if the database does not answer in time."""
    query = asyncio.create_task(_read(engine))
    await asyncio.wait({query}, timeout=LIMIT)
    if not query.done():
        query.cancel()
        return b""
    try:
        row = query.result()
    except FastZeroError:
        return b""  # /readyz and the metrics of requests tell
    if row is None:
        return b""
    registry = CollectorRegistry()
    archived, failed, last, base = row
    registry.register(_Archive(archived, failed, last, base))
    return generate_latest(registry)


async def _read(engine: AsyncEngine) -> Sequence[Any] | None:
    async with database.connect_async(engine) as connection:
        return (await connection.execute(_STATEMENT)).one_or_none()


class _Archive(Collector):
    def __init__(self, archived: int, failed: int, last: float | None, base: float | None) -> None:
        self._archived, self._failed, self._last, self._base = archived, failed, last, base

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("fastzero_archive_segments", "Archived segments.", value=self._archived)
        yield CounterMetricFamily("fastzero_archive_failures", "Attempts that failed.", value=self._failed)
        times = {
            "fastzero_archive_last_segment_timestamp_seconds": ("When the last segment was archived.", self._last),
            "fastzero_archive_base_backup_timestamp_seconds": ("When the last base backup was taken.", self._base),
        }
        for name, (meaning, time) in times.items():
            if time is not None:
                yield GaugeMetricFamily(name, meaning, value=float(time))
