"""Report each applied revision, with its duration and the tables that it locked."""

import time
from typing import TYPE_CHECKING, Any

from ..events import Listener, RevisionApplied, ignore

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class RevisionWatch:
    """Measure the revisions that an engine runs. Alembic calls `applied` after each one, in its transaction."""

    def __init__(self, engine: "Engine", on_event: Listener) -> None:
        self._on_event = on_event
        self._started_at = time.monotonic()
        self._locked_tables: set[str] = set()
        self._is_applied = False
        if on_event is not ignore:
            from sqlalchemy import event

            event.listen(engine, "commit", self._committing)

    def applied(self, *, ctx: Any, step: Any, **_: Any) -> None:
        seconds = time.monotonic() - self._started_at
        if not step.is_stamp:
            script = step.up_revision
            direction = "up" if step.is_upgrade else "down"
            locked = sorted({*self._locked_tables, *_locked(ctx.connection)})
            self._on_event(RevisionApplied(script.revision, script.doc, direction, seconds, locked))
        self._locked_tables.clear()
        self._is_applied = True
        self._started_at = time.monotonic()

    def _committing(self, connection: "Connection") -> None:
        # An autocommit block in a revision commits the statements before it, which releases their locks.
        if not self._is_applied:
            self._locked_tables.update(_locked(connection))
        self._is_applied = False


def _locked(connection: "Connection") -> list[str]:
    """Return the tables that this transaction locks but did not create, as `todos: writing`."""
    from sqlalchemy import text

    rows = connection.execute(
        text(
            "SELECT c.relname, bool_or(l.mode = 'AccessExclusiveLock') FROM pg_locks l"
            " JOIN pg_class c ON c.oid = l.relation AND c.relkind = 'r'"
            # The row of a system column never changes, so its xmin is the transaction that created the table.
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tableoid'"
            " WHERE l.pid = pg_backend_pid() AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
            " 'AccessExclusiveLock') AND c.relnamespace <> 'pg_catalog'::regnamespace"
            " AND c.relname <> 'alembic_version' AND a.xmin <> pg_current_xact_id()::xid"
            " GROUP BY 1 ORDER BY 1"
        )
    )
    return [f"{name}: {'reading and writing' if exclusive else 'writing'}" for name, exclusive in rows]
