"""The database of an application of the user's own moves with all that its schema has: to a newer PostgreSQL, to the
other runtime and back, and through a backup."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.errors import DependenciesMissingError
from tests.ports import any_free_port

from .conftest import SOON, Contained, new_project
from .own_app import DOCKERFILE, add_revision, answer, describe, make_environment, write_application

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]

# A database's owner may create all of these but dblink.
NEEDS = (
    '\n[application.database]\nextensions = ["citext", "hstore", "pg_trgm", "dblink"]\nschemas = ["shop", "audit"]\n'
)
SCHEMA = """
    CREATE TYPE shop.state AS ENUM ('open', 'paid');
    CREATE TABLE shop.orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name citext UNIQUE, state shop.state NOT NULL,
        facts hstore, file oid);
    CREATE INDEX ON shop.orders USING gin ((name::text) gin_trgm_ops);
    CREATE TABLE audit.entries (text text);
    CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO audit.entries VALUES (NEW.name); RETURN NEW; END $$;
    CREATE TRIGGER noted AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION audit.note();
    CREATE MATERIALIZED VIEW audit.names AS SELECT name FROM shop.orders
"""
ORDER = "INSERT INTO shop.orders (name, state, facts, file) VALUES (%s, 'paid', 'size=>9', lo_from_bytea(0, %s))"
SEEN = {
    "names": "SELECT array_agg(name::text ORDER BY id) FROM shop.orders WHERE state = 'paid' AND facts -> 'size' = '9'",
    "files": "SELECT array_agg(convert_from(lo_get(file), 'UTF8') ORDER BY id) FROM shop.orders",
    "without regard to case": "SELECT count(*) FROM shop.orders WHERE name = 'ANA'",
    "audit": "SELECT count(*) FROM audit.entries",
    "extensions": "SELECT array_agg(extname::text ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'",
    "owners": "SELECT array_agg(DISTINCT nspowner::regrole::text) FROM pg_namespace WHERE nspname IN ('shop', 'audit')",
    "indexes": "SELECT count(*) FROM pg_indexes WHERE schemaname = 'shop'",
}
EXTENSIONS = ["citext", "dblink", "hstore", "pg_trgm"]

Up = Callable[..., Stack]


@pytest.fixture
def project(engine: Any) -> Iterator[Contained]:
    with new_project(engine) as project:
        yield project


@pytest.fixture
def up(project: Contained, monkeypatch: pytest.MonkeyPatch) -> Iterator[Up]:
    """Start the application, with two orders."""
    folder = write_application(project.home / "application", any_free_port())
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / ".dockerignore").write_text(".venv\n")
    make_environment(folder)
    describe(folder, NEEDS)
    add_revision(folder, "0002", "0001", up=SCHEMA, back="DROP TABLE shop.orders")
    monkeypatch.chdir(folder)
    started: list[Stack] = []

    def start(**settings: Any) -> Stack:
        given = {"project": project.project, "home": project.home, "app": True, "timeout": SOON * 3, **settings}
        stack = Stack(load_settings(**given))
        started.append(stack.up(port=any_free_port()))
        order(stack, "ana")
        order(stack, "Bob")
        return stack

    yield start
    for stack in started:
        stack.down(volumes=True)


def order(stack: Stack, name: str) -> None:
    with psycopg.connect(stack.database_url) as connection:
        connection.execute(ORDER, [name, f"the file of {name}".encode()])


def seen(stack: Stack) -> dict[str, Any]:
    with psycopg.connect(stack.database_url) as connection:
        return {name: connection.execute(query.encode()).fetchone()[0] for name, query in SEEN.items()}  # type: ignore[index]


def whole(*names: str) -> dict[str, Any]:
    """What is seen of a database that has these orders."""
    return {
        "names": [*names],
        "files": [f"the file of {name}" for name in names],
        "without regard to case": 1,
        "audit": len(names),
        "extensions": EXTENSIONS,
        "owners": ["fastzero"],
        "indexes": 3,
    }


def test_it_moves_into_containers_and_back(up: Up) -> None:
    stack = up(runtime="embedded")
    assert seen(stack) == whole("ana", "Bob")

    stack.move("docker")
    order(stack, "Eva")
    assert seen(stack) == whole("ana", "Bob", "Eva")
    assert answer(stack)["prefix"].startswith("/usr")
    assert stack.plan() == []

    stack.move("embedded")
    order(stack, "Ida")
    assert seen(stack) == whole("ana", "Bob", "Eva", "Ida")
    assert answer(stack)["prefix"].endswith(".venv")
    assert stack.plan() == []


def test_it_stays_where_it_runs_if_it_cannot_run_at_the_other_place(up: Up, project: Contained) -> None:
    stack = up(runtime="docker")
    shutil.rmtree(project.home / "application" / ".venv")
    before = [(each.service, each.pid) for each in stack.status()]

    with pytest.raises(DependenciesMissingError):
        stack.move("embedded")

    assert [(each.service, each.pid) for each in stack.status()] == before
    assert (seen(stack), stack.kept) == (whole("ana", "Bob"), ())


def test_it_is_upgraded_and_its_backup_restored(up: Up) -> None:
    stack = up(runtime="docker", postgres_image="postgres:17")
    backup = stack.backup()
    order(stack, "Eva")

    stack.upgrade(18)
    assert (seen(stack), stack.status()[0].version) == (whole("ana", "Bob", "Eva"), "postgres:18")
    assert answer(stack)["notes"] == 0

    assert stack.verify(backup.name).rows == 5
    restored = stack.restore(backup.name)

    assert (seen(stack), restored.revision) == (whole("ana", "Bob"), "0002")
    assert answer(stack)["notes"] == 0
    assert Stack(stack.settings).plan() == []
