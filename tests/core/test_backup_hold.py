"""Writes held: what anybody was told is written is in the backup that was taken meanwhile."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import LockNotAvailable, UndefinedTable

from fastzero_core import errors
from fastzero_core.backup import content, dump, restore
from fastzero_core.backup.fill import fill
from fastzero_core.backup.manifest import Manifest
from fastzero_core.backup.scratch import scratch
from fastzero_core.backup.server import open_server
from fastzero_core.backup.target import Target
from fastzero_core.polling import wait_until
from fastzero_core.postgres import database
from fastzero_core.postgres.database import url_of

from .backup import as_role, databases, execute, role, target

pytestmark = pytest.mark.slow

__all__ = ["databases", "role", "target"]
ROUNDS = 3
INSERT = "INSERT INTO written VALUES (%s)"


@pytest.fixture
def written(target: Target) -> Target:
    """The target with a table to write to."""
    execute(target.url, "CREATE TABLE written (id int PRIMARY KEY)")
    return target


class Writers:
    """Three clients that write numbers, reconnect whenever they must, and note what was acknowledged."""

    def __init__(self, url: str) -> None:
        self.acknowledged: set[int] = set()
        self._url = url
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(3)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self) -> None:
        before = len(self.acknowledged)
        assert wait_until(lambda: len(self.acknowledged) > before + 20, 20)

    def _write(self) -> None:
        while not self._over.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as session:
                    self._write_in(session)
            except (psycopg.OperationalError, UndefinedTable):
                continue

    def _write_in(self, session: psycopg.Connection) -> None:
        while not self._over.is_set():
            number = next(self._numbers)
            session.execute(INSERT, [number])
            self.acknowledged.add(number)


def _ids(url: str) -> set[int]:
    with psycopg.connect(url) as session:
        return {number for (number,) in session.execute("SELECT id FROM written")}


def _ids_in_backup(target: Target, archive: Path, manifest: Manifest) -> set[int]:
    with open_server(target.url) as server, scratch(server, target) as new:
        fill(target, server, new, archive, manifest)
        return _ids(new.url)


# -- nothing that was acknowledged is lost ---------------------------------------------------------------------


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_all_that_was_acknowledged_before_a_reset_is_in_the_backup(attempt: int, written: Target) -> None:
    archive = written.folder / "one.dump"
    with Writers(written.url) as writers:
        writers.wait_for_more()
        with content.writes_held(written.url) as hold:
            manifest = dump.backup(written, archive)
            restore.reset(written, hold=hold)
    assert writers.acknowledged - _ids_in_backup(written, archive, manifest) == set()


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_all_that_was_acknowledged_is_in_the_database_that_is_kept_or_in_the_one_that_serves(
    attempt: int, written: Target
) -> None:
    archive = written.folder / "one.dump"
    with Writers(written.url) as writers:
        writers.wait_for_more()
        dump.backup(written, archive)
        writers.wait_for_more()
        with content.writes_held(written.url) as hold:
            kept = restore.restore(written, archive, hold=hold).kept
        writers.wait_for_more()
    assert kept
    assert writers.acknowledged - _ids(url_of(written.url, kept)) - _ids(written.url) == set()


def test_all_that_was_acknowledged_before_an_undo_is_kept(written: Target) -> None:
    archive = written.folder / "one.dump"
    dump.backup(written, archive)
    before = restore.restore(written, archive).kept
    with Writers(written.url) as writers:
        writers.wait_for_more()
        kept = restore.undo(written).kept
        writers.wait_for_more()
    assert before
    assert kept
    assert writers.acknowledged - _ids(url_of(written.url, kept)) - _ids(written.url) == set()


# -- the hold --------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(written: Target) -> Iterator[psycopg.Connection]:
    """A session that does not wait for locks."""
    with psycopg.connect(written.url, autocommit=True, options="-c lock_timeout=100ms") as session:
        yield session


def test_while_writes_are_held_others_read_and_wait_to_write(written: Target, impatient: psycopg.Connection) -> None:
    with content.writes_held(written.url):
        assert impatient.execute("SELECT count(*) FROM written").fetchone() == (0,)
        with pytest.raises(LockNotAvailable):
            impatient.execute(INSERT, [1])
    impatient.execute(INSERT, [1])


def test_a_hold_that_is_released_holds_nothing_and_says_so(written: Target, impatient: psycopg.Connection) -> None:
    with content.writes_held(written.url) as hold:
        hold.check()
        hold.release()
        impatient.execute(INSERT, [1])
        with pytest.raises(errors.ConnectionLostError, match="write lock was lost"):
            hold.check()
        hold.release()


def test_a_hold_whose_session_was_ended_says_so(written: Target, impatient: psycopg.Connection) -> None:
    with content.writes_held(written.url) as hold:
        impatient.execute("SELECT pg_terminate_backend(%s, 5000)", [hold.pid])
        for _ in range(2):
            with pytest.raises(errors.ConnectionLostError):
                hold.check()


def test_a_hold_ends_all_other_sessions_and_stays(written: Target, impatient: psycopg.Connection) -> None:
    with content.writes_held(written.url) as hold:
        hold.evict_others()
        with pytest.raises(psycopg.OperationalError):
            impatient.execute("SELECT 1")
        hold.check()
        with psycopg.connect(written.url, options="-c lock_timeout=100ms") as later, pytest.raises(LockNotAvailable):
            later.execute(INSERT, [1])
        hold.evict_others()


def test_a_hold_leaves_a_superusers_session_to_a_role_that_may_not_end_it(
    written: Target, impatient: psycopg.Connection, role: str
) -> None:
    execute(written.url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    impatient.execute(f"GRANT {impatient.info.user} TO {role}".encode())
    with content.writes_held(as_role(written.url, role)) as hold:
        hold.evict_others()
        hold.check()
        assert impatient.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(LockNotAvailable):
            impatient.execute(INSERT, [1])


# -- the swap --------------------------------------------------------------------------------------------------


def test_a_hold_is_released_when_nobody_else_is_in_the_database_and_nobody_can_come_in(
    written: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, seen = content.Hold.release, []

    def look_and_release(hold: content.Hold) -> None:
        with psycopg.connect(url_of(written.url, "postgres")) as session:
            seen.append((session.execute(INSIDE, [written.database]).fetchone(), _locked(session, written.database)))
        release(hold)

    monkeypatch.setattr(content.Hold, "release", look_and_release)
    with Writers(written.url), content.writes_held(written.url) as hold:
        restore.reset(written, hold=hold)
    assert seen == [((1,), True)]


INSIDE = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"


def _locked(session: psycopg.Connection, name: str) -> bool:
    """Whether the database is locked, so that new sessions wait."""
    locks = session.execute(
        "SELECT granted FROM pg_locks JOIN pg_database d ON d.oid = objid"
        " WHERE classid = 'pg_database'::regclass AND mode = 'AccessExclusiveLock' AND datname = %s",
        [name],
    )
    return locks.fetchall() == [(True,)]


def test_a_swap_without_the_hold_that_it_was_given_changes_nothing(written: Target) -> None:
    execute(written.url, "INSERT INTO written VALUES (7)")
    with content.writes_held(written.url) as hold:
        execute(written.url, f"SELECT pg_terminate_backend({hold.pid}, 5000)")
        with pytest.raises(errors.ConnectionLostError):
            restore.reset(written, hold=hold)
    assert _ids(written.url) == {7}
    assert restore.kept_databases(written) == []


def test_a_hold_outlives_a_swap_that_a_session_is_in_the_way_of(
    written: Target, impatient: psycopg.Connection, role: str
) -> None:
    execute(written.url, f"ALTER ROLE {role} CREATEDB", f"ALTER DATABASE {written.database} OWNER TO {role}")
    execute(written.url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    humble = Target.of_url(as_role(written.url, role), written.folder)
    with content.writes_held(humble.url) as hold:
        with open_server(humble.url) as server, scratch(server, humble) as new, pytest.raises(errors.DatabaseBusyError):
            server.swap(new.name, hold)
        hold.check()
        with pytest.raises(LockNotAvailable):
            impatient.execute(INSERT, [1])
    impatient.execute(INSERT, [1])
    assert _ids(written.url) == {1}


# -- inside a transaction --------------------------------------------------------------------------------------


def test_a_transaction_that_holds_writes_is_backed_up_by_another_session_and_writes_then(
    written: Target, impatient: psycopg.Connection
) -> None:
    impatient.execute(INSERT, [1])
    with database.create_engine(written.url).begin() as connection:
        content.write_lock(connection)
        manifest = dump.backup(written, written.folder / "one.dump")
        with pytest.raises(LockNotAvailable):
            impatient.execute(INSERT, [2])
        connection.exec_driver_sql("DELETE FROM written")
    assert manifest.tables["public.written"].rows == 1
    assert _ids(written.url) == set()


def test_of_two_transactions_that_hold_writes_one_waits_for_the_other(written: Target) -> None:
    impatient = database.create_engine(written.url, settings={"lock_timeout": "100ms"})
    with database.create_engine(written.url).begin() as first:
        content.write_lock(first)
        with impatient.begin() as second, pytest.raises(errors.DatabaseBusyError):
            content.write_lock(second)
        first.exec_driver_sql("INSERT INTO written VALUES (1)")
    assert _ids(written.url) == {1}
