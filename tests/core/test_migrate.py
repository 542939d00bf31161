"""Programmatic migrations: to head and back, one runner at a time, and what they say of a database."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_core import FastZero, FastZeroError, InvalidInputError, errors
from fastzero_core.polling import wait_until
from fastzero_core.schema import migrate, revisions
from fastzero_core.testing import START_TIMEOUT

from ..revisions import HEAD, MESSAGES, NEXT, REVISIONS

Python = Callable[..., "subprocess.Popen[str]"]
# What is in a database beyond what every database has: by kind and name, without what is named by numbers.
CATALOG = """
    SELECT 'relation', relkind::text, relnamespace::regnamespace::text, relname::text FROM pg_class
        WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
    UNION ALL SELECT 'type', typtype::text, typnamespace::regnamespace::text, typname::text FROM pg_type
        WHERE oid >= 16384 AND typnamespace <> 'pg_toast'::regnamespace
    UNION ALL SELECT 'function', prokind::text, pronamespace::regnamespace::text, oid::regprocedure::text FROM pg_proc
        WHERE oid >= 16384
    UNION ALL SELECT 'constraint', contype::text, conrelid::regclass::text, conname::text FROM pg_constraint
        WHERE oid >= 16384
    UNION ALL SELECT 'column', attnum::text, attrelid::regclass::text, attname::text FROM pg_attribute
        JOIN pg_class c ON c.oid = attrelid WHERE c.oid >= 16384 AND c.relkind IN ('r', 'v')
    UNION ALL SELECT 'extension', '', '', extname::text FROM pg_extension
    UNION ALL SELECT 'schema', '', '', nspname::text FROM pg_namespace
    UNION ALL SELECT 'operator class', '', '', opcname::text FROM pg_opclass WHERE oid >= 16384
    UNION ALL SELECT 'operator', '', '', oid::regoperator::text FROM pg_operator WHERE oid >= 16384
    UNION ALL SELECT 'trigger', '', tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal
"""


@pytest.fixture
def session(empty_database_url: str) -> Iterator[psycopg.Connection]:
    """Somebody else's session of the database to migrate, which commits by itself."""
    with psycopg.connect(empty_database_url, autocommit=True) as session:
        yield session


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are given up soon and tried again at once."""
    monkeypatch.setitem(migrate._MIGRATION_SETTINGS, "lock_timeout", "50ms")
    monkeypatch.setattr(migrate, "BACK_OFF", (0.05,))


def _catalog(session: psycopg.Connection) -> set[tuple[str, ...]]:
    return set(session.execute(CATALOG).fetchall())


def _history(session: psycopg.Connection) -> list[tuple[str, ...]]:
    return session.execute("SELECT version_num FROM alembic_version").fetchall()


# -- up and down -----------------------------------------------------------------------------------------------


def test_up_brings_an_empty_database_to_head_and_tells_each_revision(empty_database_url: str) -> None:
    told: list[Any] = []
    status = migrate.up(empty_database_url, on_event=told.append)
    assert (status.current, status.head, status.pending, status.up_to_date) == (HEAD, HEAD, [], True)
    assert [(step.revision, step.message, step.direction) for step in told] == [
        (*each, "up") for each in MESSAGES.items()
    ]
    assert all(step.seconds > 0 for step in told)
    with FastZero(empty_database_url) as fz:
        assert fz.users.list() == []


def test_up_at_head_has_nothing_to_do(database_url: str) -> None:
    told: list[Any] = []
    assert migrate.up(database_url, on_event=told.append).up_to_date
    assert told == []


def test_up_goes_as_far_as_it_is_told(empty_database_url: str) -> None:
    assert migrate.up(empty_database_url, "0001").pending == REVISIONS[1:]
    assert migrate.up(empty_database_url, "+1").current == "0002"


def test_down_tells_each_revision_it_takes_back(database_url: str) -> None:
    told: list[Any] = []
    assert migrate.down(database_url, f"-{len(REVISIONS) - 1}", on_event=told.append).current == "0001"
    status = migrate.down(database_url, "base", on_event=told.append)
    assert (status.current, status.pending) == (None, REVISIONS)
    assert [(step.revision, step.direction) for step in told] == [(revision, "down") for revision in REVISIONS[::-1]]


def test_up_and_down_and_up_leaves_nothing_behind(empty_database_url: str, session: psycopg.Connection) -> None:
    before = _catalog(session)
    migrate.up(empty_database_url)
    full = _catalog(session)
    migrate.down(empty_database_url, "base")
    left = _catalog(session) - before
    assert {name.removeprefix("_") for *_, name in left} <= {
        "alembic_version",
        "alembic_version_pkc",
        "version_num",
    } | {"alembic_version_version_num_not_null"} | {name for kind, *_, name in left if kind == "column"}
    assert {relation for kind, _, relation, _ in left if kind == "column"} <= {"alembic_version"}
    migrate.up(empty_database_url)
    assert _catalog(session) == full


def test_each_revision_back_undoes_what_it_did(empty_database_url: str, session: psycopg.Connection) -> None:
    migrate.up(empty_database_url, "0001")
    for revision in migrate.history()[1:]:
        before = _catalog(session)
        migrate.up(empty_database_url, revision.revision)
        migrate.down(empty_database_url, "-1")
        left = {each for each in _catalog(session) ^ before if not _is_a_dropped_column(each)}
        assert left == set(), revision
        migrate.up(empty_database_url, "+1")


def _is_a_dropped_column(each: tuple[str, ...]) -> bool:
    return each[0] == "column" and each[3].startswith("........pg.dropped.")


def test_an_extension_that_others_use_survives_the_way_down(
    empty_database_url: str, session: psycopg.Connection
) -> None:
    session.execute("CREATE EXTENSION pg_trgm; CREATE TABLE theirs (name text)")
    session.execute("CREATE INDEX theirs_name ON theirs USING gin (name gin_trgm_ops)")
    migrate.up(empty_database_url)
    migrate.down(empty_database_url, "base")
    assert ("extension", "", "", "pg_trgm") in _catalog(session)
    assert migrate.up(empty_database_url).up_to_date


def test_the_owner_of_a_database_needs_no_more_rights(role_url: str, other: psycopg.Connection) -> None:
    url = make_url(role_url)
    migrate.down(url.set(username=other.info.user, password=other.info.password).render_as_string(False), "base")
    other.execute("DROP TABLE alembic_version")
    other.execute(f"ALTER DATABASE {url.database} OWNER TO {url.username}")
    assert migrate.up(role_url).up_to_date
    other.execute(f"ALTER DATABASE {url.database} OWNER TO CURRENT_USER")


@pytest.mark.parametrize("revision", ["", " ", "@", "0003:0001", "'; DROP TABLE users"])
@pytest.mark.parametrize("operation", [migrate.up, migrate.down, migrate.stamp])
def test_what_can_be_no_revision_is_refused_before_the_database(
    operation: Callable[[str, str], object], revision: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        operation("postgresql://nowhere.invalid/db", revision)
    assert refused.value.field == "revision"


@pytest.mark.parametrize(
    ("operation", "revision"),
    [("up", "nope"), ("up", "+5"), ("up", "-1"), ("down", "9999"), ("down", f"-{len(REVISIONS) + 1}"), ("down", "+1")],
)
def test_a_revision_must_exist(database_url: str, operation: str, revision: str) -> None:
    with pytest.raises((errors.RevisionNotFoundError, InvalidInputError)):
        getattr(migrate, operation)(database_url, revision)
    assert migrate.status(database_url, drift=False).up_to_date


def test_an_unknown_revision_says_where_to_look(database_url: str) -> None:
    with pytest.raises(errors.RevisionNotFoundError, match="nope") as missing:
        migrate.stamp(database_url, "nope")
    assert "fastzero migrate history" in missing.value.hint


# -- several at once, and others in the way --------------------------------------------------------------------

EIGHT_RUNNERS = """
import os, sys
import alembic.command  # once for all eight
from fastzero_core.schema import migrate

for _ in range(8):
    if os.fork() == 0:
        migrate.up(sys.argv[1], on_event=lambda applied: print(applied.revision, flush=True))
        os._exit(0)
print(*[os.wait()[1] for _ in range(8)])
"""


@pytest.mark.slow
def test_eight_runners_at_once_apply_the_history_once(
    empty_database_url: str, session: psycopg.Connection, python: Python
) -> None:
    said, _ = python(EIGHT_RUNNERS, empty_database_url).communicate()
    assert said.splitlines() == [*REVISIONS, "0 0 0 0 0 0 0 0"]
    assert _history(session) == [(HEAD,)]


def test_a_runner_waits_for_another_until_the_deadline(empty_database_url: str, session: psycopg.Connection) -> None:
    session.execute("SELECT pg_advisory_lock(%s)", [migrate.LOCK_KEY])
    with pytest.raises(errors.LockedError, match="another migration"):
        migrate.up(empty_database_url, timeout=0.2)
    session.execute("SELECT pg_advisory_unlock(%s)", [migrate.LOCK_KEY])
    assert migrate.up(empty_database_url).up_to_date


@pytest.mark.usefixtures("impatient")
def test_a_table_that_others_hold_is_given_up_at_the_deadline(
    empty_database_url: str, session: psycopg.Connection
) -> None:
    migrate.up(empty_database_url, "0001")
    with session.transaction():
        session.execute("LOCK TABLE users")
        with pytest.raises(errors.DatabaseBusyError):
            migrate.up(empty_database_url, timeout=0.5)
    assert migrate.status(empty_database_url).current == "0001"


@pytest.mark.usefixtures("impatient")
def test_a_table_that_others_hold_is_tried_again(
    empty_database_url: str, session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(empty_database_url, "0001")
    session.execute("BEGIN")
    session.execute("LOCK TABLE users")

    def free_after_the_first_failure() -> Iterator[float]:
        yield 0
        session.execute("COMMIT")
        yield 0

    monkeypatch.setattr(migrate, "_pauses", free_after_the_first_failure)
    assert migrate.up(empty_database_url).up_to_date


PAUSING = """

def _paused(upgrade=upgrade):
    import os, pathlib, threading

    upgrade()
    if os.environ.get("PAUSE_IN") == revision:
        pathlib.Path(os.environ["REACHED"]).touch()
        threading.Event().wait()


upgrade = _paused
"""
RUN_COPY = """
import pathlib, sys
from fastzero_core.schema import migrate, revisions

revisions.folder = lambda: pathlib.Path(sys.argv[2])
migrate.up(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("revision", "before"), [("0001", None), ("0002", "0001")])
def test_a_runner_that_is_killed_leaves_the_revision_before(
    empty_database_url: str,
    session: psycopg.Connection,
    python: Python,
    migrations_copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    revision: str,
    before: str | None,
) -> None:
    for path in (migrations_copy / "versions").glob("*.py"):
        path.write_text(path.read_text() + PAUSING)
    reached = migrations_copy / "reached"
    monkeypatch.setenv("PAUSE_IN", revision)
    monkeypatch.setenv("REACHED", str(reached))
    runner = python(RUN_COPY, empty_database_url, str(migrations_copy))
    assert wait_until(reached.exists, START_TIMEOUT)
    runner.send_signal(signal.SIGKILL)
    runner.wait()

    monkeypatch.delenv("PAUSE_IN")
    assert migrate.status(empty_database_url).current == before
    tables = {name for kind, relkind, _, name in _catalog(session) if (kind, relkind) == ("relation", "r")}
    assert tables & {"users", "todos"} == ({"users"} if before else set())
    assert migrate.up(empty_database_url).up_to_date


CONCURRENT = f"""
revision = "next"
down_revision = "{HEAD}"

def upgrade():
    from alembic import op
    with op.get_context().autocommit_block():
        op.create_index("ix_todos_description", "todos", ["description"], postgresql_concurrently=True)

def downgrade():
    pass
"""


@pytest.mark.usefixtures("impatient")
def test_what_an_interrupted_concurrent_index_left_is_dropped_before_the_retry(
    empty_database_url: str, session: psycopg.Connection, migrations_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.up(empty_database_url)
    (migrations_copy / "versions" / "next_index.py").write_text(CONCURRENT)
    revisions.head_revision.cache_clear()
    with psycopg.connect(empty_database_url) as writing:
        # A writer that was there before is what building an index concurrently waits for, and gives up upon.
        writing.execute("INSERT INTO users (username, email, password_hash) VALUES ('ana', 'a@b.c', '')")
        writing.execute("INSERT INTO todos (user_id, title) SELECT id, 'x' FROM users")
        invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
        left: list[tuple[str, ...]] = []

        def end_the_writer_after_the_first_failure() -> Iterator[float]:
            yield 0
            left.extend(session.execute(invalid).fetchall())
            writing.rollback()
            yield 0

        monkeypatch.setattr(migrate, "_pauses", end_the_writer_after_the_first_failure)
        assert migrate.up(empty_database_url).up_to_date
    assert left == [("ix_todos_description",)]
    assert session.execute(invalid).fetchall() == []


def test_an_invalid_index_of_others_is_left_alone(empty_database_url: str, session: psycopg.Connection) -> None:
    migrate.up(empty_database_url, "0001")
    for table in ("users", "theirs"):
        session.execute(f"CREATE TABLE IF NOT EXISTS {table} (username text, email text, password_hash text)")
        session.execute(
            f"INSERT INTO {table} (username, email, password_hash) VALUES ('a', 'a@b', ''), ('b', 'b@b', '')"
        )
        with pytest.raises(psycopg.errors.UniqueViolation):
            session.execute(f"CREATE UNIQUE INDEX CONCURRENTLY broken_{table} ON {table} (password_hash)")
    migrate.up(empty_database_url)
    invalid = session.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid").fetchall()
    assert invalid == [("broken_theirs",)]


# -- a database that is not as it should be --------------------------------------------------------------------


def test_a_database_newer_than_the_code_is_refused_and_left_alone(database_url: str, other: psycopg.Connection) -> None:
    other.execute("UPDATE alembic_version SET version_num = 'ffff'")
    before = _catalog(other)
    for operation in (
        lambda: migrate.up(database_url),
        lambda: migrate.down(database_url, "base"),
        lambda: migrate.stamp(database_url, "head"),
        lambda: migrate.status(database_url),
        lambda: migrate.check(database_url),
        lambda: migrate.history(database_url),
    ):
        with pytest.raises(errors.SchemaNewerError, match="ffff") as refused:
            operation()
        assert refused.value.exit_code == 7
        assert "Upgrade fastzero" in refused.value.hint
    assert _history(other) == [("ffff",)]
    assert _catalog(other) == before


def test_a_database_at_two_revisions_at_once_is_refused(database_url: str, other: psycopg.Connection) -> None:
    other.execute("INSERT INTO alembic_version VALUES ('0001')")
    for operation in (migrate.status, migrate.up):
        with pytest.raises(FastZeroError):
            operation(database_url)


def test_a_hand_made_column_is_drift(database_url: str, other: psycopg.Connection) -> None:
    assert migrate.check(database_url).drift == []
    other.execute("ALTER TABLE todos ADD COLUMN colour text")
    assert migrate.status(database_url).drift == ["remove column todos.colour"]
    assert migrate.status(database_url, drift=False).drift == []
    with pytest.raises(errors.SchemaDriftError, match=r"todos\.colour") as drifted:
        migrate.check(database_url)
    assert drifted.value.exit_code == 7
    assert "--autogenerate" in drifted.value.hint


def test_drift_of_a_column_tells_what_it_is_and_what_it_should_be(database_url: str, other: psycopg.Connection) -> None:
    other.execute("ALTER TABLE users ALTER COLUMN email DROP NOT NULL")
    assert migrate.status(database_url).drift == ["modify nullable users.email: True → False"]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users ALTER COLUMN token_version TYPE integer",
        "ALTER TABLE todos ALTER COLUMN state SET DEFAULT 'draft'",
        "ALTER TABLE todos ALTER COLUMN title DROP NOT NULL",
        "DROP INDEX ix_todos_state_title",
        "CREATE INDEX extra ON todos (title)",
        "CREATE TABLE extra (id int)",
        "DROP TABLE todo_tags",
    ],
)
def test_whatever_was_changed_by_hand_is_drift(database_url: str, other: psycopg.Connection, change: str) -> None:
    other.execute(change)
    with pytest.raises(errors.SchemaDriftError):
        migrate.check(database_url)


def test_a_database_behind_the_code_names_what_is_pending(empty_database_url: str) -> None:
    pending = f"base; pending: {', '.join(REVISIONS)}"
    with pytest.raises(errors.SchemaOutdatedError, match=pending) as outdated:
        migrate.check(empty_database_url)
    assert outdated.value.exit_code == 7
    assert migrate.status(empty_database_url).drift == []


def test_history_is_oldest_first_with_the_state_of_each(empty_database_url: str) -> None:
    assert [(step.revision, step.down_revision, step.message, step.state) for step in migrate.history()] == [
        (revision, before, MESSAGES[revision], "")
        for revision, before in zip(REVISIONS, [None, *REVISIONS], strict=False)
    ]
    rest = len(REVISIONS) - 1
    states = {
        "base": ["pending"] * len(REVISIONS),
        "0001": ["current"] + ["pending"] * rest,
        "head": ["applied"] * rest + ["current"],
    }
    for revision, expected in states.items():
        if revision != "base":
            migrate.up(empty_database_url, revision)
        assert [step.state for step in migrate.history(empty_database_url)] == expected


def test_stamp_writes_down_a_revision_and_runs_nothing(empty_database_url: str, session: psycopg.Connection) -> None:
    assert migrate.stamp(empty_database_url, "head").up_to_date
    assert session.execute("SELECT to_regclass('users')").fetchone() == (None,)
    assert migrate.stamp(empty_database_url, "base").current is None


# -- scripts and new revisions ---------------------------------------------------------------------------------


def _run_as_psql_does(session: psycopg.Connection, script: str) -> None:
    """Run the statements one by one: several at once would be one transaction."""
    for statement in script.split(";\n\n"):
        session.execute(statement.encode())


def test_the_script_does_what_up_does(empty_database_url: str, session: psycopg.Connection) -> None:
    _run_as_psql_does(session, migrate.sql())
    assert migrate.check(empty_database_url).up_to_date


def test_a_script_may_be_of_a_range(empty_database_url: str, session: psycopg.Connection) -> None:
    migrate.up(empty_database_url, "0001")
    script = migrate.sql(f"0001:{HEAD}")
    assert "CREATE TABLE users" not in script
    _run_as_psql_does(session, script)
    assert migrate.check(empty_database_url).up_to_date


@pytest.mark.parametrize("revision", ["nope", "0001:nope", "", ":"])
def test_a_script_to_nowhere_is_refused(revision: str) -> None:
    with pytest.raises((errors.RevisionNotFoundError, InvalidInputError)):
        migrate.sql(revision)


def test_a_new_revision_is_numbered_and_named_on_top_of_the_head(
    migrations_copy: Path, empty_database_url: str
) -> None:
    path = migrate.new("Add colours, & more")
    assert path == migrations_copy / "versions" / f"{NEXT}_add_colours_more.py"
    assert revisions.head_revision() == NEXT
    assert migrate.history()[-1].message == "Add colours, & more"
    assert migrate.up(empty_database_url).current == NEXT
    assert migrate.down(empty_database_url, HEAD).current == HEAD


def test_a_new_revision_may_bring_models_and_database_together(
    migrations_copy: Path, database_url: str, other: psycopg.Connection
) -> None:
    other.execute("ALTER TABLE todos ADD COLUMN colour text")
    path = migrate.new("drop colour", url=database_url)
    assert 'op.drop_column("todos", "colour")' in path.read_text().replace("'", '"')
    assert migrate.up(database_url).current == NEXT
    assert migrate.check(database_url).drift == []


def test_only_a_database_at_head_can_tell_what_is_new(migrations_copy: Path, empty_database_url: str) -> None:
    with pytest.raises(errors.SchemaOutdatedError):
        migrate.new("too early", url=empty_database_url)
    assert len(list((migrations_copy / "versions").glob("*.py"))) == len(REVISIONS)


def test_an_installed_package_gets_no_new_revision(migrations_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "INSTALLED", migrations_copy)
    before = sorted(migrations_copy.rglob("*"))
    with pytest.raises(InvalidInputError, match="own migrations, part of the installed package") as refused:
        migrate.new("Add colours")
    assert "checkout" in refused.value.hint
    assert sorted(migrations_copy.rglob("*")) == before


@pytest.mark.parametrize("message", ["", "  \n"])
def test_a_new_revision_needs_a_message(migrations_copy: Path, message: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        migrate.new(message)
    assert refused.value.field == "message"


@pytest.mark.parametrize("message", ["日本語", "!!!", "a/b\\..", 'say """hi"""', "100%s", "x" * 300])
def test_any_message_makes_a_revision_that_loads(migrations_copy: Path, message: str) -> None:
    assert migrate.new(message).parent == migrations_copy / "versions"
    assert migrate.history()[-1].message == message


def test_a_message_that_no_file_can_hold_is_refused(migrations_copy: Path) -> None:
    for message in ("a\0b", "\ud800"):
        with pytest.raises(InvalidInputError) as refused:
            migrate.new(message)
        assert refused.value.field == "message"


# -- under load ------------------------------------------------------------------------------------------------

BLOCKED_MAX = 1.0  # seconds that a writer may wait for a revision


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["up", "down"])
def test_no_writer_waits_a_second_for_a_revision_that_waits_for_a_reader(
    direction: str, empty_database_url: str, session: psycopg.Connection
) -> None:
    migrate.up(empty_database_url, "0004" if direction == "up" else "0005")
    session.execute("INSERT INTO users (username, email, password_hash) VALUES ('ana', 'a@b.c', '')")
    session.execute("INSERT INTO todos (user_id, title) SELECT id, 'x' FROM users, generate_series(1, 1000)")
    session.execute("CREATE TABLE apart AS SELECT 1 AS id, now() AS updated_at")
    waits: list[float] = []
    stalls: list[float] = []  # of a busy machine: no revision touches this table
    reads, ended = threading.Event(), threading.Event()

    def write(table: str, waits: list[float]) -> None:
        with psycopg.connect(empty_database_url, autocommit=True) as writing:
            while not ended.is_set():
                began = time.monotonic()
                writing.execute(f"UPDATE {table} SET updated_at = now() WHERE id % 100 = 1".encode())
                waits.append(time.monotonic() - began)
                time.sleep(0.001)

    def read() -> None:
        with psycopg.connect(empty_database_url) as reading:
            reading.execute("SELECT count(*) FROM todos")
            reads.set()
            ended.wait(3)

    writers = [threading.Thread(target=write, args=each) for each in (("todos", waits), ("apart", stalls))]
    threads = [*writers, threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: reads.is_set() and len(waits) > 3, START_TIMEOUT)
    try:
        if direction == "up":
            assert migrate.up(empty_database_url).up_to_date
        else:
            assert migrate.down(empty_database_url, "0004").current == "0004"
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert max(waits) < BLOCKED_MAX + max(stalls)
    assert max(waits) > 0.5, "the revision waited for the reader"


def test_rows_of_the_version_before_survive_the_way_up_down_and_up(
    empty_database_url: str, session: psycopg.Connection
) -> None:
    migrate.up(empty_database_url, "0004")
    session.execute("INSERT INTO users (username, email, password_hash) VALUES ('ana', 'a@b.c', '')")
    session.execute(
        "INSERT INTO todos (user_id, title, state) SELECT u.id, 'todo ' || n, (ARRAY['todo','done','trash'])[1 + n % 3]"
        " FROM users u, generate_series(1, 300) n"
    )
    query = "SELECT id, title, description, state, created_at, updated_at FROM todos ORDER BY id"
    before = session.execute(query).fetchall()
    file = "SELECT pg_relation_filenode('todos')"
    filenode = session.execute(file).fetchone()
    for _ in range(2):
        migrate.up(empty_database_url)
        with FastZero(empty_database_url) as fz:
            todos = fz.todos()
            assert todos.count() == 300
            assert {(todo.priority, todo.due, todo.tags) for todo in todos.list(limit=300)} == {("none", None, ())}
            todos.edit_matching({"add_tags": ["x"], "priority": "high", "due": "2026-12-24"}, text="todo 1")
            assert todos.count(tags=["x"], priorities=["high"]) == 111
        migrate.down(empty_database_url, "0004")
        session.execute("UPDATE todos SET updated_at = created_at")
        assert session.execute(query).fetchall() == before
    assert session.execute(file).fetchone() == filenode  # the table was not rewritten
