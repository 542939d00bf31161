"""Wait until an archive has all that was written to a database until now."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import FastZeroError, UnavailableError
from ..events import Notice
from ..polling import wait_until
from . import plan
from .archiver import archivers
from .archivist import archivist_of
from .session import Session

if TYPE_CHECKING:
    import psycopg

WAKE_EVERY = 5  # seconds; after failures the server waits for up to a minute


def finish(session: Session, *, is_last: bool) -> None:
    """Archive everything before the database stops, if it is archived and runs.

    If that fails and the data is destroyed next, raise the error. Otherwise the data has what is not archived
    yet, and the archiver is stopped: the server would wait for it when it stops.
    """
    record = session.record
    if record is None or record.archive is None:
        return
    spec = session.whole_spec(record)
    if not session.runtime_of(record).is_alive(spec.database.name):
        return
    try:
        seal(session)
    except FastZeroError as error:
        if is_last:
            error.hint = "Nothing was changed. Wait for the archive, or give it up: fastzero db archive disable"
            raise
        session.on_event(Notice(f"the archive gets the latest changes after the next `up`: {error.message}"))
        names = [each.name for each in archivers(spec)]
        session.run(plan.plan_stop(spec, session.observe_quickly(spec, record), names, "it cannot archive now"))


def seal(session: Session) -> None:
    """Archive what was written until now, with a transaction of this moment. Raises UnavailableError."""
    from ..archive import status
    from ..archive.segments import SEGMENT

    with connected(session) as connection:
        status.mark_time(session.project.superuser_url())
        row = connection.execute("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())").fetchone()
        assert row is not None, "a query of a value returns a row"
        segment = str(row[0])

        def is_archived() -> bool:
            found = connection.execute("SELECT last_archived_wal FROM pg_catalog.pg_stat_archiver").fetchone()
            last = str(found[0] or "") if found else ""
            return bool(SEGMENT.match(last)) and last[8:24] >= segment[8:24]

        archive = session.known.archive
        assert archive is not None, "it is enabled"
        archivist = archivist_of(session, archive)
        is_over = lambda: is_archived() or archivist.condition().state == "failing"  # noqa: E731
        for _ in range(math.ceil(session.timeout / WAKE_EVERY)):
            if wait_until(is_over, min(WAKE_EVERY, session.timeout)):
                break
            connection.execute("SELECT pg_catalog.pg_reload_conf()")  # which also wakes what runs the archive_command
        found = archivist.condition()
        if not is_archived() or found.state == "paused":
            hint = f"See its log: fastzero logs archiver -p {session.project.name}"
            raise UnavailableError(f"segment {segment} is not archived: {found.detail or found.state}", hint=hint)


@contextmanager
def connected(session: Session) -> "Iterator[psycopg.Connection[Any]]":
    import psycopg

    from ..postgres.driver_errors import translate

    try:
        url = session.project.superuser_url()
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            yield connection
    except psycopg.Error as error:
        raise translate(error) from error
