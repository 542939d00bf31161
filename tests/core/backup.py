"""What the tests of backups share: a target whose kept databases are gone in the end, and ways to fill and read it."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_core.backup import restore
from fastzero_core.backup.target import Target
from fastzero_core.postgres.database import url_of

Databases = Callable[[], list[str]]


@pytest.fixture
def target(database_url: str, folder: Path) -> Iterator[Target]:
    """The test's own database, with a folder for its backups."""
    target = Target.of_url(database_url, folder / "backups")
    yield target
    if target.database in list_databases(target):
        restore.drop_kept(target)


@pytest.fixture
def role(target: Target) -> Iterator[str]:
    """A role that may log in with the password `humble` and nothing else. No session of a superuser stays open."""
    name = f"role_{secrets.token_hex(8)}"
    execute(target.url, f"CREATE ROLE {name} LOGIN PASSWORD 'humble'")
    yield name
    restore.drop_kept(target)
    execute(
        target.url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}"
    )


@pytest.fixture
def databases(target: Target) -> Databases:
    """The databases of the server that have to do with the test's own, by name."""
    return lambda: list_databases(target)


def list_databases(target: Target) -> list[str]:
    with psycopg.connect(url_of(target.url, "postgres")) as session:
        rows = session.execute("SELECT datname FROM pg_database ORDER BY datname").fetchall()
    return [name for (name,) in rows if name.startswith(target.database)]


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url) as session:
        for statement in statements:
            session.execute(statement.encode())


def fingerprint(url: str) -> str:
    """All rows of users and todos, in an order of their own, as one hash of the client's."""
    digest = hashlib.sha256()
    with psycopg.connect(url) as session:
        for table in ("users", "todos"):
            with session.cursor().copy(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT".encode()) as rows:
                for block in rows:
                    digest.update(block)
    return digest.hexdigest()


def as_role(url: str, name: str) -> str:
    return make_url(url).set(username=name, password="humble").render_as_string(hide_password=False)
