"""What the core's tests share: engines whose statements can be counted, other sessions, roles and processes."""

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url

from fastzero_core.postgres import database
from fastzero_core.todo_app.todos import Todos
from fastzero_core.todo_app.users import Users
from tests import forked


@pytest.fixture
def engine(database_url: str) -> Engine:
    return database.create_engine(database_url)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """One transaction, for tests that need more than the operations: never committed."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def todos(connection: Connection) -> Todos:
    """The todos of a user, on `connection`."""
    return Todos(connection, Users(connection).add("ana", email="ana@example.com", password="correct horse").id)


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection]:
    """Another session of the same database, which commits by itself."""
    with psycopg.connect(database_url, autocommit=True) as session:
        yield session


@pytest.fixture
def statements(engine: Engine) -> list[tuple[str, object]]:
    """Every statement that `engine` has sent, with its parameters, as it grows."""
    sent: list[tuple[str, object]] = []

    def remember(_: object, __: object, statement: str, parameters: object, *rest: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", remember)
    return sent


@pytest.fixture
def role_url(database_url: str, other: psycopg.Connection) -> Iterator[str]:
    """`database_url` for a role that may log in and nothing else; its name is in the URL."""
    name = f"role_{secrets.token_hex(8)}"
    other.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'humble'")
    yield make_url(database_url).set(username=name, password="humble").render_as_string(hide_password=False)
    other.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [name])
    other.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
    other.execute(f"DROP OWNED BY {name}")
    other.execute(f"DROP ROLE {name}")


@pytest.fixture
def python() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Run a piece of Python in a process of its own: `python(code, *arguments)`."""
    processes: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str) -> "subprocess.Popen[str]":
        process = forked.Popen(
            [sys.executable, "-c", code, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
