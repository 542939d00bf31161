"""Rename databases in one transaction, and end the sessions that block it.

A rename first locks the database, which makes new sessions wait, and then waits up to 5 seconds until the database has
no other sessions. They are ended during that wait. The session with the write lock is closed last, when it is the only
one left: after that no session can write to the database under its old name.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, text

from .content import ENDABLE, Hold, execute, lost_hold

EVERY = 0.02  # seconds
ALONE_WITHIN = 4  # seconds until the session with the write lock must be the last; the rename gives up after 5

_HAS_LOCK = text(
    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = objid WHERE locktype = 'object' AND granted"
    " AND classid = 'pg_database'::regclass AND mode = 'AccessExclusiveLock' AND pid = :pid AND datname = :name"
)
_EVICT = text(
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(:names) AND pid <> :but AND {ENDABLE}"  # noqa: S608
)
_LEFT = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND pid <> :but")


def rename(
    engine: Engine, watcher: Connection, statements: Iterable[str], names: Sequence[str], hold: Hold | None
) -> None:
    """Run `statements` in one transaction; the first renames the first of the databases `names`.

    `watcher` is another session, in autocommit mode. Raises DatabaseBusyError if a session cannot be ended: the write
    lock `hold` is then still held; ConnectionLostError if that lock was lost. Both leave everything unchanged.
    """
    with engine.begin() as transaction, ThreadPoolExecutor(1, thread_name_prefix="fastzero-evicting") as pool:
        pid = transaction.execute(text("SELECT pg_backend_pid()")).scalar_one()
        eviction = _Eviction(watcher, pid, names, hold)
        evicting = pool.submit(eviction.run)
        try:
            for statement in statements:
                execute(transaction, statement)
        finally:
            eviction.over.set()
        evicting.result()
        if not eviction.released:  # the rename succeeded because the session with the write lock was lost
            raise lost_hold()


class _Eviction:
    """Ends the sessions of databases while another session, of process `pid`, renames them."""

    def __init__(self, watcher: Connection, pid: int, names: Sequence[str], hold: Hold | None) -> None:
        self.over = threading.Event()
        self.released = hold is None
        self._watcher = watcher
        self._pid = pid
        self._names = list(names)
        self._hold = hold
        self._locked_at: float | None = None

    def run(self) -> None:
        while not self.over.is_set():
            self._look_for_lock()  # before sessions are counted: once the lock is taken, no new ones appear
            left = self._end_sessions()
            if not left and self._hold and not self.released and self._in_time():
                self._hold.check()
                self._hold.release()
                self.released = True
            self.over.wait(EVERY)

    def _look_for_lock(self) -> None:
        sought = {"pid": self._pid, "name": self._names[0]}
        if self._locked_at is None and self._watcher.execute(_HAS_LOCK, sought).scalar_one():
            self._locked_at = time.monotonic()

    def _in_time(self) -> bool:
        return self._locked_at is not None and time.monotonic() - self._locked_at < ALONE_WITHIN

    def _end_sessions(self) -> int:
        """End the sessions. Returns how many are left, without the one that holds the write lock."""
        but = self._hold.pid if self._hold else 0
        self._watcher.execute(_EVICT, {"names": self._names, "but": but}).all()
        return int(self._watcher.execute(_LEFT, {"name": self._names[0], "but": but}).scalar_one())
