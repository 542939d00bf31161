"""Databases renamed with nobody in them, in one transaction.

A rename locks the database first, which keeps new sessions waiting, and then waits up to 5 s until nobody is in it.
So sessions are ended while it waits. A hold on writes is released last, when its session alone is left: from then on
nobody can write to the database under its old name.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, text

from .content import ENDABLE, Hold, execute, lost_hold

EVERY = 0.02  # seconds
ALONE_WITHIN = 4  # seconds in which the hold must be the last session, since the rename gives up after 5

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

    `watcher` is another session, which commits by itself. Raises DatabaseBusyError if a session cannot be ended: then
    nothing is changed, and the hold still holds; ConnectionLostError if the hold was lost, with nothing changed.
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
        if not eviction.released:  # the rename went on because the hold was lost
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
            self._look_for_lock()  # before the sessions are counted: with the lock, their number only falls
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
        """Returns how many are left besides that of the hold."""
        but = self._hold.pid if self._hold else 0
        self._watcher.execute(_EVICT, {"names": self._names, "but": but}).all()
        return int(self._watcher.execute(_LEFT, {"name": self._names[0], "but": but}).scalar_one())
