"""Prometheus metrics by route template: requests, their duration and their time in the database; and the pools.

With several workers, each writes its numbers to its own file in the folder PROMETHEUS_MULTIPROC_DIR, and the worker
that serves `/metrics` adds them up. The library reads the variable at import, so `server` sets it earlier.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

import psutil
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_LATEST
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

_REQUESTS = Counter("fastzero_http_requests", "Completed requests.", ["method", "route", "status"])
_SECONDS = Histogram(
    "fastzero_http_request_duration_seconds", "Duration of requests.", ["method", "route"], buckets=BUCKETS
)
_DATABASE = Counter(
    "fastzero_database_seconds",
    "Time spent waiting for the database, including for a connection.",
    ["method", "route"],
)
_POOL_SIZE = Gauge("fastzero_pool_connections_max", "Maximum size of the pools.", multiprocess_mode="livesum")
_POOL_IN_USE = Gauge("fastzero_pool_connections_in_use", "Connections in use.", multiprocess_mode="livesum")
_in_use: WeakSet[ConnectionPoolEntry] = WeakSet()


def observe(method: str, route: str, status: int, seconds: float, database_seconds: float) -> None:
    """Record a completed request."""
    method = method if method in METHODS else "other"
    _REQUESTS.labels(method, route, status).inc()
    _SECONDS.labels(method, route).observe(seconds)
    if database_seconds:
        _DATABASE.labels(method, route).inc(database_seconds)


def observe_pools(engines: Iterable[AsyncEngine], size: int) -> None:
    """Track how many connections of these engines' pools, `size` at most, are in use.

    They are kept in a set, not in a counter: a connection that could not be established is checked in although it was
    never checked out.
    """

    def checked_out(_connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
        _in_use.add(entry)
        _POOL_IN_USE.set(len(_in_use))

    def checked_in(_connection: object, entry: ConnectionPoolEntry) -> None:
        _in_use.discard(entry)
        _POOL_IN_USE.set(len(_in_use))

    _POOL_SIZE.set(size)
    for engine in engines:
        event.listen(engine.sync_engine, "checkout", checked_out)
        event.listen(engine.sync_engine, "checkin", checked_in)


def exposition() -> bytes:
    """Return the metrics of all workers in the Prometheus text format."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return generate_latest(REGISTRY)
    _remove_dead_workers(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _remove_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that have ended. Their counters are kept."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            with suppress(FileNotFoundError):  # another worker did the same at the same time
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
