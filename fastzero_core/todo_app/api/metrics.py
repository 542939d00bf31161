"""Prometheus metrics: requests and their time, the time of that in the database, and the pool; by route template.

With several workers, each writes its numbers into a file of its own in the folder that PROMETHEUS_MULTIPROC_DIR names,
and whichever is asked adds them up. The library reads that name when it is imported: `server` sets it before.
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

_REQUESTS = Counter("fastzero_http_requests", "Requests that were answered.", ["method", "route", "status"])
_SECONDS = Histogram(
    "fastzero_http_request_duration_seconds", "Time until the answer.", ["method", "route"], buckets=BUCKETS
)
_DATABASE = Counter(
    "fastzero_database_seconds", "Time spent waiting for the database, for a connection too.", ["method", "route"]
)
_POOL_SIZE = Gauge("fastzero_pool_connections_max", "Connections that the pools may have.", multiprocess_mode="livesum")
_POOL_IN_USE = Gauge("fastzero_pool_connections_in_use", "Connections in use now.", multiprocess_mode="livesum")
_in_use: WeakSet[ConnectionPoolEntry] = WeakSet()


def observe(method: str, route: str, status: int, seconds: float, database_seconds: float) -> None:
    """One request that was answered."""
    method = method if method in METHODS else "other"
    _REQUESTS.labels(method, route, status).inc()
    _SECONDS.labels(method, route).observe(seconds)
    if database_seconds:
        _DATABASE.labels(method, route).inc(database_seconds)


def observe_pools(engines: Iterable[AsyncEngine], size: int) -> None:
    """Count the connections of these engines' pools, `size` at most, as they go out and come back.

    They are kept by identity, not counted up and down: a connection that could not be made is checked in although it
    was never checked out.
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
    """Everything in Prometheus's text format, of all workers."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return generate_latest(REGISTRY)
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """A worker that is gone has no connections any more; what it counted stays counted."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not psutil.pid_exists(pid):
            with suppress(FileNotFoundError):  # another worker was asked at the same time
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
