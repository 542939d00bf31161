"""Backup and restore: what comes back is what was there, and the database in service is never in danger."""

import hashlib
import io
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import psycopg
import pytest

from fastzero_core import FastZero, errors
from fastzero_core.backup import dump, repository, restore
from fastzero_core.backup.manifest import Content, Manifest, manifest_path
from fastzero_core.backup.server import open_server
from fastzero_core.backup.stats import stats
from fastzero_core.backup.target import Target
from fastzero_core.events import Event, Notice, Progress
from fastzero_core.polling import wait_until
from fastzero_core.postgres.database import url_of
from fastzero_core.postgres.programs import find_programs
from fastzero_core.postgres.sql import quote
from fastzero_core.schema import migrate
from fastzero_core.schema.revisions import head_revision
from fastzero_core.todo_app.tables import metadata

from .backup import Databases, as_role, databases, execute, fingerprint, role, target

pytestmark = pytest.mark.slow

__all__ = ["databases", "role", "target"]
HEAD = head_revision()
Python = Callable[..., "subprocess.Popen[str]"]

# A character of every plane that has some, and what looks like something else in SQL, COPY or a shell.
TITLES = [
    "NULL",
    "\\N",
    "\\.",
    "''; DROP TABLE todos; --",
    '"quoted" \'and\' "again"',
    "tab\there, line\nend, return\r, vertical\v",
    "back\\slash \\t \\\\",
    " leading and trailing ",
    "\u00e9 \u0301e \u200b \ufeff \u202e",
    "".join(chr(plane << 16 | 0x42) for plane in range(17)),
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "%s %(x)s {} $1 :name",
]
ROWS = 2 * len(TITLES) + 2  # each todo, that it was added, the user, and the revision


@pytest.fixture
def archive(target: Target) -> Path:
    return target.folder / "one.dump"


@pytest.fixture
def filled(target: Target) -> Target:
    """The target, with todos whose titles are no easy ones."""
    with FastZero(target.url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        for title in TITLES:
            fz.todos(ana).add(title, description=title * 3)
    return target


def _add(url: str, title: str) -> int:
    with FastZero(url) as fz:
        return fz.todos("ana").add(title).id


def _titles(url: str) -> list[str]:
    with psycopg.connect(url) as session:
        return [title for (title,) in session.execute("SELECT title FROM todos ORDER BY id")]


# -- the round trip --------------------------------------------------------------------------------------------


def test_what_was_backed_up_comes_back_to_the_byte(filled: Target, archive: Path) -> None:
    before = fingerprint(filled.url)
    dump.backup(filled, archive)
    execute(filled.url, "DELETE FROM users")
    restored = restore.restore(filled, archive)
    assert fingerprint(filled.url) == before
    assert (restored.database, restored.revision, restored.rows) == (filled.database, HEAD, ROWS)
    assert migrate.check(filled.url).up_to_date


def test_tags_are_found_and_kept_up_to_date_after_a_restore(filled: Target, archive: Path) -> None:
    with FastZero(filled.url) as fz:
        todo = fz.todos().add("Write", priority="high", due="2026-12-24", tags=["work"])
    dump.backup(filled, archive)
    restore.restore(filled, archive)
    with FastZero(filled.url) as fz:
        assert fz.todos().list(tags=["work"], priorities=["high"], due_before="2026-12-25") == [todo]
        fz.todos().edit(todo.id, tags=["home"])
        assert [len(fz.todos().list(tags=[tag])) for tag in ("work", "home")] == [0, 1]


def test_new_todos_go_on_with_fresh_ids(filled: Target, archive: Path) -> None:
    last = _add(filled.url, "the last")
    execute(filled.url, f"DELETE FROM todos WHERE id = {last}")
    dump.backup(filled, archive)
    restore.restore(filled, archive)
    assert _add(filled.url, "the next") == last + 1


def test_a_backup_is_of_one_moment_while_others_write(filled: Target, archive: Path) -> None:
    over = threading.Event()

    def write() -> None:
        with psycopg.connect(filled.url, autocommit=True) as session:
            while not over.is_set():
                session.execute("UPDATE todos SET title = md5(title)")
                session.execute("INSERT INTO todos (user_id, title) SELECT user_id, title FROM todos LIMIT 3")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        dump.backup(filled, archive)
    finally:
        over.set()
        writer.join()
    assert restore.verify(filled, archive).rows >= len(TITLES)


def test_types_whose_equal_values_differ_are_compared_by_their_text(target: Target, archive: Path) -> None:
    execute(
        target.url,
        "CREATE TABLE odd (n numeric, j json, f float8, r int4range, a text[], s interval, b bytea)",
        """INSERT INTO odd VALUES (1.00, '{"a":  1}', '-0', '[1,3)', '{NULL,"NULL"}', '1 month', '\\x00ff')""",
    )
    manifest = dump.backup(target, archive)
    assert manifest.tables["public.odd"].hash.startswith("text:")
    with FastZero(target.url):
        execute(target.url, "UPDATE odd SET n = 1.0")
    with pytest.raises(errors.BackupMismatchError, match=r"public\.odd has different content"):
        _compare(target.url, manifest)


@pytest.mark.parametrize("kind", ["timestamptz", "text", "json"])
@pytest.mark.parametrize("other", ["int", "numeric"])  # hashed by values, or by text
def test_a_column_that_is_called_as_the_row_hides_none_of_the_others(
    kind: str, other: str, target: Target, archive: Path
) -> None:
    execute(target.url, f"CREATE TABLE ev (t {kind}, v {other})", "INSERT INTO ev VALUES (NULL, 1)")
    manifest = dump.backup(target, archive)
    assert restore.verify(target, archive).rows == 2
    execute(target.url, "UPDATE ev SET v = 2")
    with pytest.raises(errors.BackupMismatchError, match=r"public\.ev has different content"):
        _compare(target.url, manifest)


def test_names_that_need_quotes_are_no_hindrance(target: Target, archive: Path) -> None:
    execute(target.url, 'CREATE SCHEMA "a ""b"', 'CREATE TABLE "a ""b"."c:d %s" ("x; y" text)')
    execute(target.url, """INSERT INTO "a ""b"."c:d %s" VALUES ('z')""")
    manifest = dump.backup(target, archive)
    assert manifest.tables['"a ""b"."c:d %s"'].rows == 1
    assert restore.verify(target, archive).rows == 2


def _compare(url: str, manifest: Manifest) -> None:
    from fastzero_core.backup import content
    from fastzero_core.postgres.database import create_engine

    with create_engine(url, settings=content.SESSION_SETTINGS).connect() as connection:
        content.compare(connection, manifest)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DELETE FROM todos WHERE id = (SELECT min(id) FROM todos)", "todos has 11 rows, not 12"),
        ("UPDATE todos SET title = title || '.' WHERE id = (SELECT min(id) FROM todos)", "todos has different content"),
        ("DROP TABLE todos CASCADE", "table public.todos is missing"),
        ("CREATE TABLE more ()", "table public.more is not in the backup"),
        ("ALTER SEQUENCE todos_id_seq RESTART", "sequence public.todos_id_seq is at 0, not at"),
    ],
)
def test_every_difference_is_told(change: str, told: str, filled: Target, archive: Path) -> None:
    manifest = dump.backup(filled, archive)
    _compare(filled.url, manifest)
    execute(filled.url, change)
    with pytest.raises(errors.BackupMismatchError) as mismatch:
        _compare(filled.url, manifest)
    assert told in mismatch.value.message


def test_a_backup_goes_into_a_stream(filled: Target, folder: Path) -> None:
    with (folder / "stream").open("wb") as file:
        manifest = dump.write_backup(filled, file)
    assert (folder / "stream").stat().st_size == manifest.size
    assert (folder / "stream").read_bytes()[:5] == b"PGDMP"


class _Slow(io.RawIOBase):
    """A stream that takes a part of what it is handed, as a full disk or a signal makes one do."""

    taken = b""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self.taken += bytes(content[:777])
        return len(content[:777])


def test_a_stream_that_takes_less_than_it_is_handed_gets_all_of_it(filled: Target) -> None:
    stream = _Slow()
    manifest = dump.write_backup(filled, cast("BinaryIO", stream))
    assert hashlib.sha256(stream.taken).hexdigest() == manifest.sha256


def test_progress_is_told_step_by_step(filled: Target, archive: Path) -> None:
    told: list[Event] = []
    dump.backup(filled, archive, on_event=told.append)
    restore.restore(filled, archive, on_event=told.append)
    steps = list(dict.fromkeys(event.step for event in told if isinstance(event, Progress)))
    assert steps == ["dump", "count", "check", "restore", "compare", "analyze", "swap"]
    assert not [event for event in told if isinstance(event, Notice)]


def test_rows_are_told_of_while_they_are_copied(filled: Target, archive: Path) -> None:
    # Without indexes, which take longer than all the rest.
    execute(filled.url, "CREATE TABLE many AS SELECT sha512(n::text::bytea) AS hash FROM generate_series(1, 300000) n")
    execute(filled.url, "ANALYZE")
    told: list[Event] = []
    dump.backup(filled, archive, on_event=told.append)
    on_the_way = [event for event in told if isinstance(event, Progress) and event.step == "dump" and event.done]
    assert on_the_way
    assert all(0 < progress.done <= 300_020 and progress.unit == "rows" for progress in on_the_way)
    assert on_the_way[0].total == pytest.approx(300_000, rel=0.1)


# -- verify ----------------------------------------------------------------------------------------------------


def test_verify_leaves_nothing_behind(filled: Target, archive: Path, databases: Databases) -> None:
    dump.backup(filled, archive)
    before = databases()
    verified = restore.verify(filled, archive)
    assert (verified.rows, verified.tables, verified.revision) == (ROWS, len(metadata.tables) + 1, HEAD)
    assert databases() == before


def test_a_backup_that_is_not_what_its_manifest_says_is_told(
    filled: Target, archive: Path, databases: Databases
) -> None:
    manifest = dump.backup(filled, archive)
    before, there = fingerprint(filled.url), databases()
    lying = {**manifest.tables, "public.users": Content(2, "values:7")}
    manifest_path(archive).write_text(replace(manifest, tables=lying).as_text(), encoding="utf-8")
    for operation in (restore.verify, restore.restore):
        with pytest.raises(errors.BackupMismatchError, match=r"users has 1 rows, not 2"):
            operation(filled, archive)
    assert (fingerprint(filled.url), databases()) == (before, there)


# -- the plan --------------------------------------------------------------------------------------------------


def test_a_plan_tells_all_that_is_asked_about_and_touches_nothing(
    filled: Target, archive: Path, databases: Databases
) -> None:
    manifest = dump.backup(filled, archive)
    before, there = fingerprint(filled.url), databases()
    plan = restore.plan_restore(filled, archive)
    assert (plan.archive, plan.database, plan.origin) == (archive, filled.database, filled.database)
    assert (plan.taken_at, plan.rows, plan.size) == (manifest.taken_at, ROWS, archive.stat().st_size)
    assert (plan.revision, plan.upgrade, plan.server_version) == (HEAD, False, manifest.server_version)
    assert (fingerprint(filled.url), databases()) == (before, there)


def test_a_file_is_read_once_for_its_plan_and_not_again_for_its_restore(filled: Target, archive: Path) -> None:
    dump.backup(filled, archive)
    told: list[Event] = []
    plan = restore.plan_restore(filled, archive, on_event=told.append)
    assert {event.step for event in told if isinstance(event, Progress)} == {"check"}
    told.clear()
    restore.restore(filled, plan, on_event=told.append)
    assert "check" not in {event.step for event in told if isinstance(event, Progress)}


def test_a_file_that_was_replaced_since_it_was_planned_is_refused(
    filled: Target, archive: Path, databases: Databases
) -> None:
    dump.backup(filled, archive)
    plan = restore.plan_restore(filled, archive)
    shutil.copy(archive, filled.folder / "other")
    (filled.folder / "other").replace(archive)
    before, there = fingerprint(filled.url), databases()
    with pytest.raises(errors.DamagedBackupError, match="has changed since it was checked"):
        restore.restore(filled, plan)
    assert (fingerprint(filled.url), databases()) == (before, there)


def test_a_plan_is_an_agreement_to_migrate_what_is_older(filled: Target, archive: Path) -> None:
    migrate.down(filled.url, "0001")
    dump.backup(filled, archive)
    plan = restore.plan_restore(filled, archive)
    assert plan.upgrade
    assert restore.restore(filled, plan).revision == HEAD


def test_a_plan_for_an_empty_database_fills_it_and_nothing_else(filled: Target, archive: Path) -> None:
    before = fingerprint(filled.url)
    dump.backup(filled, archive)
    with pytest.raises(errors.DatabaseNotEmptyError):
        restore.plan_restore(filled, archive, into_empty=True)
    tables, functions = (
        ", ".join(metadata.tables),
        "keep_todo_tags, note_todos, exchange_todos, note_changes, exchange_changes, record_changes",
    )
    execute(filled.url, f"DROP TABLE {tables}, alembic_version", f"DROP FUNCTION {functions}", "DROP EXTENSION pg_trgm")
    plan = restore.plan_restore(filled, archive, into_empty=True)
    assert restore.restore(filled, plan).kept is None
    assert fingerprint(filled.url) == before


# -- the swap --------------------------------------------------------------------------------------------------


def test_the_database_before_is_kept_until_undo(filled: Target, archive: Path, databases: Databases) -> None:
    dump.backup(filled, archive)
    _add(filled.url, "afterwards")
    kept = restore.restore(filled, archive).kept
    assert databases() == sorted([filled.database, str(kept)])
    assert "afterwards" not in _titles(filled.url)
    undone = restore.undo(filled)
    assert "afterwards" in _titles(filled.url)
    assert databases() == sorted([filled.database, str(undone.kept)])
    restore.undo(filled)
    assert "afterwards" not in _titles(filled.url)


def test_there_is_nothing_to_undo_without_a_restore(target: Target) -> None:
    with pytest.raises(errors.BackupNotFoundError):
        restore.undo(target)


def test_kept_databases_are_dropped_on_demand(filled: Target, archive: Path, databases: Databases) -> None:
    dump.backup(filled, archive)
    for _ in range(2):
        restore.restore(filled, archive)
    assert len(restore.drop_kept(filled)) == 2
    assert databases() == [filled.database]


def test_sessions_are_ended_and_find_the_new_database_by_the_same_name(filled: Target, archive: Path) -> None:
    dump.backup(filled, archive)
    with psycopg.connect(filled.url, autocommit=True) as session:
        session.execute("BEGIN")
        restore.restore(filled, archive)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert len(_titles(filled.url)) == len(TITLES)


def test_others_meet_a_lost_connection_and_nothing_else(filled: Target, archive: Path) -> None:
    """Ten clients that write and reconnect: each acknowledged write after the swap stays."""
    dump.backup(filled, archive)
    over, refusals = threading.Event(), []
    acknowledged: list[tuple[float, str]] = []

    def write(client: int) -> None:
        number = 0
        while not over.is_set():
            number += 1
            title = f"client {client} write {number}"
            try:
                _add(filled.url, title)
                acknowledged.append((time.monotonic(), title))
            except errors.FastZeroError as error:
                refusals.append(error)

    clients = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for client in clients:
        client.start()
    assert wait_until(lambda: len(acknowledged) > 20, 10)
    restore.restore(filled, archive)
    swapped = time.monotonic()
    count = len(acknowledged)
    assert wait_until(lambda: len(acknowledged) > count + 20, 10)
    over.set()
    for client in clients:
        client.join()
    there = set(_titles(filled.url))
    assert [title for moment, title in acknowledged if moment > swapped + 0.2 and title not in there] == []
    assert {error.http_status for error in refusals} <= {503}
    assert len(refusals) <= 3 * len(clients)


@pytest.mark.parametrize("trusted", [True, False])
def test_the_new_database_is_like_the_old_one(trusted: bool, filled: Target, archive: Path, role: str) -> None:
    name = filled.database
    execute(
        filled.url,
        f"ALTER DATABASE {name} SET work_mem = '5MB'",
        f'ALTER DATABASE {name} SET search_path = public, "it\'s"',
        f"ALTER ROLE {role} IN DATABASE {name} SET application_name = 'a''b\\c'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 50",
        f"COMMENT ON DATABASE {name} IS 'it''s ours'",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {role}",
        f"GRANT SELECT ON todos TO {role}",
        f"ALTER TABLE users OWNER TO {role if trusted else 'CURRENT_USER'}",
    )
    before = _attributes(filled)
    dump.backup(filled, archive)
    restore.restore(filled, archive, trusted=trusted)
    assert _attributes(filled) == before
    with psycopg.connect(as_role(filled.url, role)) as session:
        assert session.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert session.execute("SHOW application_name").fetchone() == ("a'b\\c",)
        assert session.execute("SELECT count(*) FROM todos").fetchone() == (len(TITLES),)
    restore.undo(filled)
    assert _attributes(filled) == before


def _attributes(target: Target) -> list[tuple[object, ...]]:
    """All that a database has besides its content."""
    with psycopg.connect(target.url) as session:
        return session.execute(
            "SELECT to_jsonb(d) - '{oid,datfrozenxid,datminmxid,datacl}'::text[],"
            " array(SELECT unnest(datacl)::text ORDER BY 1), shobj_description(d.oid, 'pg_database'),"
            " array(SELECT setrole::regrole::text || setconfig::text FROM pg_db_role_setting WHERE setdatabase = d.oid"
            " ORDER BY 1), (SELECT relowner::regrole FROM pg_class WHERE oid = 'users'::regclass)::text"
            " FROM pg_database d WHERE datname = current_database()"
        ).fetchall()


# -- who else is there -----------------------------------------------------------------------------------------


@pytest.fixture
def humble(filled: Target, role: str) -> Target:
    """The target for a role that owns the database and all in it, and may not create others."""
    execute(filled.url, f"ALTER DATABASE {filled.database} OWNER TO {role}")
    for relation in (*metadata.tables, "alembic_version"):
        execute(filled.url, f"ALTER TABLE {relation} OWNER TO {role}")
    return Target.of_url(as_role(filled.url, role), filled.folder)


def test_a_role_that_may_not_create_databases_is_told_what_to_do(humble: Target, archive: Path) -> None:
    before = fingerprint(humble.url)
    dump.backup(humble, archive)
    for operation in (restore.verify, restore.restore):
        with pytest.raises(errors.DatabasePrivilegeError, match="not allowed to create databases") as refused:
            operation(humble, archive)
        assert "CREATEDB" in refused.value.hint
        assert ("--into-empty" in refused.value.hint) is (operation is restore.restore)
    with pytest.raises(errors.DatabasePrivilegeError):
        restore.reset(humble)
    assert fingerprint(humble.url) == before


def test_such_a_role_restores_into_an_empty_database(humble: Target, filled: Target, archive: Path) -> None:
    before = fingerprint(humble.url)
    dump.backup(humble, archive)
    with pytest.raises(errors.DatabaseNotEmptyError):
        restore.restore_into_empty(humble, archive)
    tables, functions = (
        ", ".join(metadata.tables),
        "keep_todo_tags, note_todos, exchange_todos, note_changes, exchange_changes, record_changes",
    )
    execute(filled.url, f"DROP TABLE {tables}, alembic_version", f"DROP FUNCTION {functions}", "DROP EXTENSION pg_trgm")
    restore.restore_into_empty(humble, archive)
    assert fingerprint(humble.url) == before


def test_an_ordinary_role_that_may_create_databases_needs_no_more(
    humble: Target, filled: Target, archive: Path, role: str
) -> None:
    execute(filled.url, f"ALTER ROLE {role} CREATEDB")
    before = fingerprint(humble.url)
    dump.backup(humble, archive)
    restore.restore(humble, archive)
    assert fingerprint(humble.url) == before
    restore.undo(humble)


def test_a_session_that_cannot_be_ended_stays_and_so_does_the_database(
    humble: Target, filled: Target, archive: Path, databases: Databases, role: str
) -> None:
    execute(filled.url, f"ALTER ROLE {role} CREATEDB")
    dump.backup(humble, archive)
    before, there = fingerprint(humble.url), databases()
    with psycopg.connect(filled.url, autocommit=True) as superuser:
        with pytest.raises(errors.DatabaseBusyError, match="being accessed by other users"):
            restore.restore(humble, archive)
        assert superuser.execute("SELECT 1").fetchone() == (1,)
    assert (fingerprint(humble.url), databases()) == (before, there)


def test_a_role_that_may_not_read_a_table_is_told(filled: Target, archive: Path, role: str) -> None:
    with pytest.raises(errors.DatabasePrivilegeError):
        dump.backup(Target.of_url(as_role(filled.url, role), filled.folder), archive)
    assert not archive.exists()


def test_a_table_that_others_hold_ends_the_backup_at_a_deadline(
    filled: Target, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastzero_core.backup import content

    monkeypatch.setitem(content.SESSION_SETTINGS, "lock_timeout", "100ms")
    with psycopg.connect(filled.url) as session:
        session.execute("LOCK TABLE todos")
        with pytest.raises(errors.DatabaseBusyError):
            dump.backup(filled, archive)
    assert not archive.exists()


def test_owners_that_are_not_here_are_left_out_with_a_word(filled: Target, archive: Path) -> None:
    manifest = dump.backup(filled, archive)
    execute(filled.url, "CREATE ROLE passing", "ALTER TABLE todos OWNER TO passing", "GRANT SELECT ON users TO passing")
    archive.unlink()
    assert set(dump.backup(filled, archive).owners) == {*manifest.owners, "passing"}
    execute(filled.url, "REASSIGN OWNED BY passing TO CURRENT_USER", "DROP OWNED BY passing", "DROP ROLE passing")
    told: list[Event] = []
    restore.restore(filled, archive, on_event=told.append)
    assert "passing" in "".join(event.text for event in told if isinstance(event, Notice))


def test_two_restores_of_a_database_do_not_meet(filled: Target, archive: Path) -> None:
    dump.backup(filled, archive)
    with open_server(filled.url), pytest.raises(errors.LockedError):
        restore.restore(filled, archive)


def test_a_restore_waits_for_a_command_that_is_just_ending(filled: Target, archive: Path) -> None:
    dump.backup(filled, archive)
    with ExitStack() as ending:
        ending.enter_context(open_server(filled.url))
        soon = threading.Timer(0.5, ending.close)
        soon.start()
        restore.restore(filled, archive)
        soon.join()


# -- revisions and versions ------------------------------------------------------------------------------------


def test_a_backup_of_an_older_revision_is_migrated_if_so_agreed(filled: Target, archive: Path) -> None:
    migrate.down(filled.url, "0001")
    dump.backup(filled, archive)
    migrate.up(filled.url)
    with pytest.raises(errors.SchemaOutdatedError):
        restore.restore(filled, archive)
    assert restore.plan_restore(filled, archive).upgrade
    assert restore.restore(filled, archive, upgrade=True).revision == HEAD
    assert migrate.check(filled.url).up_to_date


def test_a_backup_of_a_newer_revision_is_refused(filled: Target, archive: Path) -> None:
    execute(filled.url, "UPDATE alembic_version SET version_num = '9999'")
    dump.backup(filled, archive)
    for operation in (restore.restore, restore.restore_into_empty):
        with pytest.raises(errors.SchemaNewerError) as refused:
            operation(filled, archive)
        assert refused.value.exit_code == 7


def test_a_backup_of_a_newer_server_is_refused(filled: Target, archive: Path) -> None:
    manifest = dump.backup(filled, archive)
    newer = replace(manifest, server_version="99.1")
    manifest_path(archive).write_text(newer.as_text(), encoding="utf-8")
    with pytest.raises(errors.VersionMismatchError, match="from PostgreSQL 99, newer than"):
        restore.verify(filled, archive)


def test_programs_older_than_the_server_are_refused_by_name() -> None:
    with pytest.raises(errors.VersionMismatchError, match="too old for a PostgreSQL 99 server") as refused:
        find_programs("postgresql://localhost/x", 99)
    assert "postgresql-client-99" in refused.value.hint


@pytest.mark.skipif(not shutil.which("/usr/lib/postgresql/15/bin/pg_dump"), reason="no PostgreSQL 15 is installed")
def test_a_too_old_pg_dump_is_told_apart_from_other_failures(filled: Target, archive: Path) -> None:
    old = replace(find_programs(filled.url, 18), folder=Path("/usr/lib/postgresql/15/bin"), major=15)
    with pytest.raises(errors.VersionMismatchError):
        dump.backup(replace(filled, programs=lambda major: old), archive)
    assert not archive.exists()


def test_a_database_without_our_schema_is_backed_up_and_restored_as_well(
    empty_database_url: str, folder: Path, archive: Path
) -> None:
    theirs = Target.of_url(empty_database_url, folder)
    execute(theirs.url, "CREATE TABLE theirs (x int)", "INSERT INTO theirs SELECT generate_series(1, 1000)")
    assert dump.backup(theirs, folder / "theirs.dump").revision is None
    restore.restore(theirs, folder / "theirs.dump")
    with psycopg.connect(theirs.url) as session:
        assert session.execute("SELECT sum(x) FROM theirs").fetchone() == (500_500,)
    restore.drop_kept(theirs)


def test_a_database_that_is_gone_is_made_anew(filled: Target, archive: Path) -> None:
    before = fingerprint(filled.url)
    dump.backup(filled, archive)
    execute_in_maintenance(filled, f"DROP DATABASE {filled.database}")
    assert restore.restore(filled, archive).kept is None
    assert fingerprint(filled.url) == before


def execute_in_maintenance(target: Target, statement: str) -> None:
    with psycopg.connect(url_of(target.url, "postgres"), autocommit=True) as session:
        session.execute(statement.encode())


@pytest.mark.parametrize("name", ["a b", 'it\'s "odd"', "back\\slash", "100%20 x=1&y", "é/ü?#", "a:b@c"])
def test_a_database_of_any_name_is_backed_up_verified_restored_and_emptied(
    name: str, fastzero_server_url: str, folder: Path
) -> None:
    theirs = Target.of_url(url_of(fastzero_server_url, name), folder)
    execute_in_maintenance(theirs, f"CREATE DATABASE {quote(name)}")
    try:
        execute(theirs.url, "CREATE TABLE theirs (x int)", "INSERT INTO theirs VALUES (7)")
        taken = dump.take(theirs)
        assert (taken.database, restore.verify(theirs, Path(taken.file)).rows) == (name, 1)
        assert repository.surplus(folder, 0, theirs.database) == [taken]
        restore.restore(theirs, Path(taken.file))
        restore.undo(theirs)
        assert stats(theirs.url).database == name
        assert restore.reset(theirs).database == name
        restore.drop_kept(theirs)
    finally:
        execute_in_maintenance(theirs, f"DROP DATABASE {quote(name)} WITH (FORCE)")


# -- crashes ---------------------------------------------------------------------------------------------------

RESTORE = """
import sys
from pathlib import Path
from fastzero_core.backup import restore
from fastzero_core.backup.target import Target
print("begun", flush=True)
restore.restore(Target.of_url(sys.argv[1], Path(sys.argv[2]).parent), Path(sys.argv[2]))
print("done", flush=True)
"""


def test_kill_9_at_any_moment_leaves_one_of_the_two_in_service(
    filled: Target, archive: Path, databases: Databases, python: Python
) -> None:
    dump.backup(filled, archive)
    restored = fingerprint(filled.url)
    _add(filled.url, "afterwards")
    allowed = {restored, fingerprint(filled.url)}
    began = time.monotonic()
    assert python(RESTORE, filled.url, str(archive)).wait() == 0
    lasting = time.monotonic() - began
    for moment in range(10):
        process = python(RESTORE, filled.url, str(archive))
        time.sleep(lasting * (0.35 + 0.065 * moment))  # the moment is what is tried, not a condition
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert fingerprint(filled.url) in allowed
    restore.restore(filled, archive)
    assert fingerprint(filled.url) == restored
    assert [name for name in databases() if "_restoring_" in name] == []


def test_ctrl_c_drops_what_was_being_restored(
    filled: Target, archive: Path, databases: Databases, python: Python
) -> None:
    execute(filled.url, "INSERT INTO todos (user_id, title) SELECT 1, md5(n::text) FROM generate_series(1, 30000) n")
    dump.backup(filled, archive)
    before, there = fingerprint(filled.url), databases()
    process = python(RESTORE, filled.url, str(archive))
    assert wait_until(lambda: len(databases()) > len(there), 20)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert "KeyboardInterrupt" in (process.stdout.read() if process.stdout else "")
    assert (fingerprint(filled.url), databases()) == (before, there)


def test_reset_leaves_an_empty_database_at_head(filled: Target, databases: Databases) -> None:
    assert restore.reset(filled).rows == 0
    assert _titles(filled.url) == []
    assert migrate.check(filled.url).up_to_date
    assert databases() == [filled.database]


def test_a_password_is_in_no_argument(filled: Target) -> None:
    programs = find_programs(as_role(filled.url, "ana"), 18)
    command = programs.command("pg_dump", ["--format=custom"], "fastzero")
    assert "humble" not in " ".join(command)
