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

from .content import CAN_TERMINATE, Hold, execute, lock_lost_error

POLL_INTERVAL = 0.02  # seconds
RELEASE_DEADLINE = 4  # seconds until the session with the write lock must be the last; the rename gives up after 5

_HAS_LOCK = text(
    "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = objid WHERE locktype = 'object' AND granted"
    " AND classid = 'pg_database'::regclass AND mode = 'AccessExclusiveLock' AND pid = :pid AND datname = :name"
)
_EVICT = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"  # noqa: S608
    f" WHERE datname = ANY(:names) AND pid <> :excluded AND {CAN_TERMINATE}"
)
_LEFT = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND pid <> :excluded")


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
            eviction.finished.set()
        evicting.result()
        if not eviction.released:  # the rename succeeded because the session with the write lock was lost
            raise lock_lost_error()


class _Eviction:
    """End the sessions of databases while another session, of process `pid`, renames them."""

    def __init__(self, watcher: Connection, pid: int, names: Sequence[str], hold: Hold | None) -> None:
        self.finished = threading.Event()
        self.released = hold is None
        self._watcher = watcher
        self._pid = pid
        self._names = list(names)
        self._hold = hold
        self._locked_at: float | None = None

    def run(self) -> None:
        while not self.finished.is_set():
            self._detect_lock()  # before sessions are counted: once the lock is taken, no new ones appear
            left = self._end_sessions()
            if not left and self._hold and not self.released and self._in_time():
                self._hold.check()
                self._hold.release()
                self.released = True
            self.finished.wait(POLL_INTERVAL)

    def _detect_lock(self) -> None:
        parameters = {"pid": self._pid, "name": self._names[0]}
        if self._locked_at is None and self._watcher.execute(_HAS_LOCK, parameters).scalar_one():
            self._locked_at = time.monotonic()

    def _in_time(self) -> bool:
        return self._locked_at is not None and time.monotonic() - self._locked_at < RELEASE_DEADLINE

    def _end_sessions(self) -> int:
        """End the sessions. Returns how many are left, without the one that holds the write lock."""
        excluded = self._hold.pid if self._hold else 0
        self._watcher.execute(_EVICT, {"names": self._names, "excluded": excluded}).all()
        return int(self._watcher.execute(_LEFT, {"name": self._names[0], "excluded": excluded}).scalar_one())
