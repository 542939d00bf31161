"""PostgreSQL's programs reach a database whatever it is called."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core.errors import ConnectionLostError
from fastzero_core.postgres.database import create_engine
from fastzero_core.postgres.programs import LocalPrograms, find_programs, raise_if_failed
from fastzero_core.postgres.sql import quote
from fastzero_core.postgres.url import url_of


@pytest.fixture(params=["a b'c\"d%=é", "postgresql://h/x?y", "-c"])
def name(request: pytest.FixtureRequest, fastzero_server_url: str) -> Iterator[str]:
    """The name of an empty database."""
    name = f"{request.param} {secrets.token_hex(4)}"
    with psycopg.connect(fastzero_server_url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {quote(name)} TEMPLATE template0".encode())
        yield name
        session.execute(f"DROP DATABASE {quote(name)} WITH (FORCE)".encode())


@pytest.fixture
def programs(fastzero_server_url: str, name: str) -> LocalPrograms:
    return find_programs(url_of(fastzero_server_url, name), 18)


def titles(url: str) -> list[str]:
    with create_engine(url).connect() as session:
        return [row[0] for row in session.exec_driver_sql("SELECT title FROM todos")]


def test_it_is_dumped_and_restored(programs: LocalPrograms, name: str, folder: Path) -> None:
    with psycopg.connect(programs.url) as session:
        session.execute("CREATE TABLE todos AS SELECT 'one' AS title")
    archive = folder / "archive"
    with archive.open("wb") as file:
        programs.run("pg_dump", ["--format=custom"], name, write=file.write)
    with psycopg.connect(programs.url) as session:
        session.execute("DROP TABLE todos")

    programs.run("pg_restore", [str(archive)], name)

    assert titles(programs.url) == ["one"]


def test_psql_opens_it(programs: LocalPrograms, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert programs.interact("psql", ["-XAtc", "SELECT current_database()"], name) == 0

    assert capfd.readouterr().out == f"{name}\n"


def test_the_options_of_a_url_reach_a_program_as_they_were_meant(
    fastzero_server_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = find_programs(f"{fastzero_server_url}?options=-c%20search_path%3Da%2Cb", 18)

    assert programs.command("psql", [], "x")[1].endswith("/x?options=-c%20search_path%3Da%2Cb")
    assert programs.interact("psql", ["-XAtc", "SHOW search_path"], "postgres") == 0
    assert capfd.readouterr().out == "a,b\n"


def test_a_server_that_ends_under_a_program_has_lost_its_connection() -> None:
    said = """\
pg_restore: error: COPY failed for table "todos": server closed the connection unexpectedly
\tThis probably means the server terminated abnormally
\tbefore or while processing the request.
pg_restore: error: a worker process died unexpectedly
"""
    with pytest.raises(ConnectionLostError, match='COPY failed for table "todos"'):
        raise_if_failed("pg_restore", 1, said)
