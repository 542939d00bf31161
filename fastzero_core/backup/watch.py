"""Report how many rows pg_dump or pg_restore has copied. The server counts them; the programs do not report it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sqlalchemy import text

from ..events import Listener, Progress, ignore
from ..postgres import database

POLL_INTERVAL = 0.1  # seconds
_COPIED = text("SELECT relid, tuples_processed FROM pg_stat_progress_copy WHERE datname = current_database()")
_ESTIMATED = text("SELECT sum(reltuples) FROM pg_class WHERE relkind = 'r' AND oid >= 16384 AND reltuples > 0")


@contextmanager
def copied_rows(url: str, step: str, total: int | None, on_event: Listener) -> Iterator[None]:
    """Report the rows copied from or to a database during the block. Without `total`, use the server's estimate."""
    on_event(Progress(step, 0, total, "rows"))
    if on_event is ignore:
        yield
        return
    over = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="fastzero-watching") as pool:
        pool.submit(_report, url, step, total, on_event, over)  # an error while reporting must not fail the block
        try:
            yield
        finally:
            over.set()


def _report(url: str, step: str, total: int | None, on_event: Listener, over: threading.Event) -> None:
    copied: dict[int, int] = {}
    engine = database.create_engine(url, settings=database.CATALOG_SETTINGS)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        expected = total or int(connection.execute(_ESTIMATED).scalar_one() or 0)
        while not over.wait(POLL_INTERVAL):
            progress = connection.execute(_COPIED).all()
            for table, rows in progress:
                copied[table] = rows
            # PostgreSQL reports no progress between tables and while it builds indexes.
            on_event(Progress(step, sum(copied.values()), expected or None, "rows") if progress else Progress(step))
