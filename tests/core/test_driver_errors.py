"""What goes wrong with a database, by class of the driver's errors and by making it happen. Nothing else leaves."""

# ruff: noqa: PT012 - what is raised is raised by a whole block, from any of its statements or from its end

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL, make_url

from fastzero_core import FastZero, FastZeroError, InvalidInputError, Stack, errors
from fastzero_core.polling import wait_until
from fastzero_core.postgres import database, driver_errors
from fastzero_core.schema import migrate
from fastzero_core.stack import probe
from fastzero_core.todo_app.todos import Todos
from tests.ports import any_free_port

SECRET = "s3kr1t-never-shown"
SQLSTATES = {
    error.sqlstate: error
    for error in vars(psycopg.errors).values()
    if isinstance(error, type) and issubclass(error, psycopg.Error) and error.sqlstate
}
WITHOUT_SQLSTATE = [
    psycopg.Error,
    psycopg.InterfaceError,
    psycopg.DatabaseError,
    psycopg.DataError,
    psycopg.OperationalError,
    psycopg.IntegrityError,
    psycopg.InternalError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
]
MEANINGS = {
    "08006": errors.ConnectionLostError,
    "22001": errors.InvalidInputError,
    "22021": errors.InvalidInputError,
    "23502": errors.ConflictError,
    "23503": errors.ConflictError,
    "23505": errors.ConflictError,
    "23514": errors.InvalidInputError,
    "25006": errors.ReadOnlyDatabaseError,
    "25P02": errors.ConflictError,
    "25P03": errors.ConnectionLostError,
    "25P04": errors.ConnectionLostError,
    "28000": errors.DatabaseLoginError,
    "28P01": errors.DatabaseLoginError,
    "3D000": errors.DatabaseUnreachableError,
    "3F000": errors.SchemaOutdatedError,
    "40001": errors.DatabaseBusyError,
    "40P01": errors.DatabaseBusyError,
    "42501": errors.DatabasePrivilegeError,
    "42601": errors.DatabaseError,
    "42703": errors.SchemaOutdatedError,
    "42P01": errors.SchemaOutdatedError,
    "53100": errors.DatabaseFullError,
    "53200": errors.DatabaseBusyError,
    "53300": errors.PoolExhaustedError,
    "55P03": errors.DatabaseBusyError,
    "57014": errors.StatementTimeoutError,
    "57P01": errors.ConnectionLostError,
    "57P02": errors.ConnectionLostError,
    "57P03": errors.DatabaseUnreachableError,
    "57P05": errors.ConnectionLostError,
    "XX000": errors.DatabaseError,
}


# -- by class --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sqlstate", sorted(SQLSTATES))
def test_every_error_of_postgresql_has_a_meaning(sqlstate: str) -> None:
    original = SQLSTATES[sqlstate]("something")
    wrapped = sqlalchemy.exc.DBAPIError.instance("SELECT 1", None, original, psycopg.Error)
    for error in (original, wrapped):
        translated = driver_errors.translate(error)
        assert isinstance(translated, FastZeroError)
        assert translated.__cause__ is original
        if sqlstate in MEANINGS:
            assert type(translated) is MEANINGS[sqlstate]


@pytest.mark.parametrize("error_class", WITHOUT_SQLSTATE)
@pytest.mark.parametrize("words", ["", "something", "two\nlines"])
def test_an_error_of_the_driver_itself_has_a_meaning(error_class: type[psycopg.Error], words: str) -> None:
    translated = driver_errors.translate(error_class(words))
    assert isinstance(translated, FastZeroError)
    assert translated.message
    assert "\n" not in translated.message


@pytest.mark.parametrize(
    "error",
    [
        sqlalchemy.exc.InvalidRequestError("x"),
        sqlalchemy.exc.NoResultFound("x"),
        sqlalchemy.exc.ArgumentError("x"),
        sqlalchemy.exc.StatementError("x", "SELECT 1", None, ValueError("y")),
        sqlalchemy.exc.PendingRollbackError("x"),
    ],
)
def test_an_error_of_sqlalchemys_has_a_meaning(error: sqlalchemy.exc.SQLAlchemyError) -> None:
    assert isinstance(driver_errors.translate(error), FastZeroError)


# -- by making it happen ---------------------------------------------------------------------------------------


def _refused(url: str | URL, expected: type[FastZeroError]) -> FastZeroError:
    """What each door to the database says; they agree, and tell no secret."""
    given = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    doors: list[Callable[[], Any]] = [
        lambda: FastZero(given).__enter__(),
        lambda: migrate.status(given),
        lambda: migrate.up(given, timeout=1),
        lambda: probe.revision_of(given),
    ]
    for door in doors:
        with pytest.raises(FastZeroError) as raised:
            door()
        assert type(raised.value) is expected
        _tells_no_secret(raised.value)
        assert raised.value.hint
    return raised.value


def _tells_no_secret(error: FastZeroError) -> None:
    told = "".join(traceback.format_exception(error)) + error.message + error.hint
    assert SECRET not in told


def test_a_wrong_password_is_a_refused_login(database_url: str) -> None:
    error = _refused(make_url(database_url).set(password=SECRET), errors.DatabaseLoginError)
    assert error.exit_code == 5
    assert "DATABASE_URL" in error.hint


def test_an_unknown_role_is_a_refused_login(database_url: str) -> None:
    _refused(make_url(database_url).set(username="nobody", password=SECRET), errors.DatabaseLoginError)


def test_an_unknown_host_is_unreachable() -> None:
    error = _refused(f"postgresql://ana:{SECRET}@nowhere.invalid/db", errors.DatabaseUnreachableError)
    assert error.exit_code == 6
    assert "nowhere.invalid" in error.message


def test_a_refused_port_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        _refused(f"postgresql://ana:{SECRET}@127.0.0.1:{port}/db", errors.DatabaseUnreachableError)


def test_a_database_that_does_not_exist_is_named(database_url: str) -> None:
    error = _refused(make_url(database_url).set(database="no_such_database"), errors.DatabaseUnreachableError)
    assert "no_such_database" in error.message


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.slow
def test_a_host_that_never_answers_is_given_up_in_time(black_hole: int) -> None:
    engine = database.create_engine(f"postgresql://ana:{SECRET}@127.0.0.1:{black_hole}/db", connect_timeout=2)
    began = time.monotonic()
    with pytest.raises(errors.DatabaseUnreachableError) as raised:
        FastZero(engine).__enter__()
    assert time.monotonic() - began < 4
    _tells_no_secret(raised.value)


def test_a_server_that_closes_every_new_connection_is_unreachable() -> None:
    def close_all() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.recv(1024)  # without this, the connection is reset
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=close_all, daemon=True).start()
        port = listening.getsockname()[1]
        error = _refused(f"postgresql://ana:{SECRET}@127.0.0.1:{port}/db", errors.DatabaseUnreachableError)
        assert "server closed the connection" in error.message
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        f"postgresql://ana:{SECRET}@host:port/db",
        f"postgresql://ana:{SECRET}@127.0.0.1/db?no_such_option=1",
        f"postgresql://ana:{SECRET}@127.0.0.1/db?connect_timeout=soon",
        f"mysql://ana:{SECRET}@127.0.0.1/db",
        f"sqlite:///{SECRET}",
        f"postgresql://ana:{SECRET}@127.0.0.1/a\0b",
        f"postgresql://ana:{SECRET}\0@127.0.0.1/a",
    ],
)
def test_a_url_that_can_never_work_is_invalid_input(url: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        FastZero(url).__enter__()
    assert refused.value.field == "database_url"
    assert "postgresql://" in refused.value.hint
    _tells_no_secret(refused.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+asyncpg"])
def test_a_url_of_any_spelling_works(database_url: str, scheme: str) -> None:
    with FastZero(scheme + database_url.removeprefix("postgresql")) as fz:
        assert fz.users.list() == []


def test_what_the_url_says_of_the_session_counts(database_url: str) -> None:
    engine = database.create_engine(database_url + "?application_name=mine&options=-c%20work_mem%3D5MB")
    with engine.connect() as connection:
        query = "SELECT current_setting('application_name'), current_setting('work_mem'), current_setting('timezone')"
        assert connection.execute(text(query)).one() == ("mine", "5MB", "UTC")


def test_every_session_has_its_time_limits(connection: Connection) -> None:
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert connection.execute(text(f"SHOW {name}")).scalar_one() != "0"


def test_a_missing_table_means_an_outdated_schema(empty_database_url: str) -> None:
    with pytest.raises(errors.SchemaOutdatedError) as raised, FastZero(empty_database_url) as fz:
        fz.users.list()
    assert raised.value.exit_code == 7
    assert "fastzero migrate" in raised.value.hint


def test_a_statement_that_takes_too_long_says_so(database_url: str) -> None:
    engine = database.create_engine(database_url, settings={"statement_timeout": "50ms"})
    with pytest.raises(errors.StatementTimeoutError), engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))


def test_a_lock_that_is_not_to_be_had_says_so(database_url: str, other: psycopg.Connection) -> None:
    engine = database.create_engine(database_url, settings={"lock_timeout": "50ms"})
    with other.transaction():
        other.execute("LOCK TABLE todos")
        with pytest.raises(errors.DatabaseBusyError), FastZero(engine) as fz:
            fz.todos(1).list()


def test_a_deadlock_ends_one_of_the_two(database_url: str, other: psycopg.Connection) -> None:
    engine = database.create_engine(database_url, settings={"deadlock_timeout": "10ms"})
    other.execute("CREATE TABLE a (); CREATE TABLE b ()")

    def lock_the_other_way() -> None:
        with psycopg.connect(database_url, options="-c deadlock_timeout=60s") as second:
            second.execute("LOCK TABLE b")
            locked.set_result(None)
            second.execute("LOCK TABLE a")

    with ThreadPoolExecutor(1) as pool, engine.connect() as connection:
        connection.execute(text("LOCK TABLE a"))
        from concurrent.futures import Future

        locked: Future[None] = Future()
        second = pool.submit(lock_the_other_way)
        locked.result(10)
        with pytest.raises(errors.DatabaseBusyError):
            connection.execute(text("LOCK TABLE b"))
        connection.rollback()
        second.result()


def _end_other_sessions(session: psycopg.Connection) -> None:
    session.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_backend_that_was_ended_is_a_lost_connection(database_url: str, other: psycopg.Connection) -> None:
    with pytest.raises(errors.ConnectionLostError) as raised, FastZero(database_url) as fz:
        fz.users.list()
        _end_other_sessions(other)
        fz.users.list()
    assert "Check whether it took effect" in raised.value.hint


def test_a_connection_lost_at_the_end_of_the_block_does_not_seem_to_be_a_success(
    database_url: str, other: psycopg.Connection
) -> None:
    with pytest.raises(errors.ConnectionLostError), FastZero(database_url) as fz:
        fz.users.add("ana", email="ana@example.com", password="correct horse")
        _end_other_sessions(other)


def test_a_lost_connection_that_was_passed_over_is_lost_for_the_rest_of_the_block(
    database_url: str, other: psycopg.Connection
) -> None:
    with pytest.raises(errors.ConnectionLostError), FastZero(database_url) as fz:
        users = fz.users
        users.list()
        _end_other_sessions(other)
        for _ in range(2):
            with pytest.raises(errors.ConnectionLostError):
                users.list()


def test_a_lost_connection_does_not_hide_the_error_of_the_block(database_url: str, other: psycopg.Connection) -> None:
    with pytest.raises(ValueError, match="mine"), FastZero(database_url) as fz:
        fz.users.list()
        _end_other_sessions(other)
        raise ValueError("mine")


def test_a_network_that_goes_away_is_a_lost_connection(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    with socket.socket(fileno=os.dup(driver.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)
    with pytest.raises(errors.ConnectionLostError):
        connection.execute(text("SELECT 1"))


def test_a_transaction_that_idles_too_long_is_a_lost_connection(database_url: str, other: psycopg.Connection) -> None:
    engine = database.create_engine(database_url, settings={"idle_in_transaction_session_timeout": "20ms"})
    sessions = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with pytest.raises(errors.ConnectionLostError), FastZero(engine) as fz:
        fz.users.list()
        assert wait_until(lambda: not other.execute(sessions).fetchall(), 10)
        fz.users.list()


def test_a_pooled_connection_that_was_ended_is_replaced(database_url: str, other: psycopg.Connection) -> None:
    engine = database.create_engine(database_url, pooled=True)
    for _ in range(2):
        with FastZero(engine) as fz:
            assert fz.users.list() == []
        _end_other_sessions(other)
    engine.dispose()


def test_connections_that_are_lost_do_not_use_up_the_pool(database_url: str, other: psycopg.Connection) -> None:
    engine = database.create_engine(database_url, pooled=True)
    for error in (ValueError, errors.ConnectionLostError) * 4:
        with pytest.raises(error), FastZero(engine) as fz:
            fz.users.list()
            _end_other_sessions(other)
            if error is ValueError:
                raise ValueError
            fz.users.list()
    with FastZero(engine) as fz:
        assert fz.users.list() == []
    engine.dispose()


@pytest.mark.slow
def test_a_pool_without_a_free_connection_says_so(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CONNECT_TIMEOUT", 0.05)
    engine = database.create_engine(database_url, pooled=True)
    held = [engine.connect() for _ in range(5)]
    with pytest.raises(errors.PoolExhaustedError, match="pool"):
        FastZero(engine).__enter__()
    for connection in held:
        connection.close()
    engine.dispose()


@pytest.mark.parametrize("limited", ["ROLE", "DATABASE"])
def test_a_database_with_too_many_connections_says_so(role_url: str, other: psycopg.Connection, limited: str) -> None:
    url = make_url(role_url)
    other.execute(f"ALTER {limited} {url.username if limited == 'ROLE' else url.database} CONNECTION LIMIT 0")
    _refused(url, errors.PoolExhaustedError)


def test_a_read_only_database_says_so(database_url: str) -> None:
    engine = database.create_engine(database_url, settings={"default_transaction_read_only": "on"})
    with pytest.raises(errors.ReadOnlyDatabaseError), FastZero(engine) as fz:
        fz.users.add("ana", email="ana@example.com", password="correct horse")


def test_a_nul_that_reaches_the_driver_is_invalid_input(connection: Connection) -> None:
    with pytest.raises(InvalidInputError):
        connection.execute(text("SELECT CAST(:value AS text)"), {"value": "a\0b"})


def test_a_surrogate_that_reaches_the_driver_is_invalid_input(connection: Connection) -> None:
    with pytest.raises(InvalidInputError):
        connection.execute(text("SELECT CAST(:value AS text)"), {"value": "\ud800"})


def test_a_missing_privilege_says_so(role_url: str) -> None:
    with pytest.raises(errors.DatabasePrivilegeError, match="users") as raised, FastZero(role_url) as fz:
        fz.users.list()
    assert raised.value.exit_code == 5


def test_a_role_that_may_not_connect_says_so(role_url: str, other: psycopg.Connection) -> None:
    other.execute(f"REVOKE CONNECT ON DATABASE {make_url(role_url).database} FROM PUBLIC")
    _refused(role_url, errors.DatabasePrivilegeError)


def test_a_bug_in_a_statement_keeps_its_cause(connection: Connection) -> None:
    with pytest.raises(errors.DatabaseError, match="42601") as raised:
        connection.execute(text("SELEC 1"))
    assert isinstance(raised.value.__cause__, psycopg.errors.SyntaxError)


def test_an_interrupt_stays_an_interrupt(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt), engine.connect() as connection:
        patched.setattr(psycopg.Cursor, "execute", interrupted)
        connection.execute(text("SELECT 1"))


def test_an_error_shows_neither_the_statement_nor_its_values(todos: Todos, connection: Connection) -> None:
    connection.execute(text("ALTER TABLE users DROP COLUMN token_version"))
    with pytest.raises(errors.SchemaOutdatedError) as raised:
        connection.execute(text("UPDATE users SET token_version = 1, password_hash = :hash"), {"hash": SECRET})
    assert SECRET not in raised.value.message
    assert "UPDATE" not in raised.value.message


@pytest.mark.slow
def test_a_server_that_shuts_down_is_lost_at_first_and_then_unreachable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_HOME", str(folder))
    monkeypatch.setenv("DATABASE_PORT", str(any_free_port()))  # no other test's server takes it afterwards
    with Stack("ending").up(runtime="embedded") as stack:
        url = stack.database_url
        with pytest.raises(errors.ConnectionLostError), FastZero(url) as fz:
            fz.users.list()
            stack.down()
            fz.users.list()
        _refused(url, errors.DatabaseUnreachableError)
        stack.down(volumes=True)
