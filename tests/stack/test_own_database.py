"""What an application of the user's own needs in its database: extensions, schemas, a superuser's rights."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from fastzero_core import Stack, load_settings
from fastzero_core.errors import ExtensionMissingError
from fastzero_core.events import ignore
from fastzero_core.postgres.binaries import Binaries
from fastzero_core.stack import suite
from tests.ports import any_free_port

from .own_app import add_revision, describe

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trusted_folder")]

# `dblink` is one that only a superuser may create, `citext` one that the owner of a database may create.
NEEDS = '\n[application.database]\nextensions = ["citext", "dblink"]\nschemas = ["shop"]\n'
TABLE = "CREATE TABLE shop.items (name citext)"
MADE = ["create schema shop", "create extension citext", "create extension dblink"]

Start = Callable[[], Stack]


@pytest.fixture
def needy(application: Path) -> Path:
    """An application whose migrations find two extensions and a schema in their database."""
    describe(application, NEEDS)
    add_revision(application, "0002", "0001", up=TABLE, back="DROP TABLE shop.items")
    return application


@pytest.fixture
def start(home: Path) -> Start:
    return lambda: Stack().up(runtime="embedded", port=any_free_port())


def query(stack: Stack, statement: str) -> list[str]:
    with psycopg.connect(stack.database_url) as connection:
        return [str(row[0]) for row in connection.execute(statement.encode())]


def owners(stack: Stack) -> dict[str, str]:
    """Whose each extension is."""
    found = query(stack, "SELECT extname || ' ' || extowner::regrole FROM pg_extension WHERE extname <> 'plpgsql'")
    return dict(sorted(each.split() for each in found))


def test_they_are_made_before_its_migrations(needy: Path, start: Start) -> None:
    plan = [str(action) for action in Stack().plan(runtime="embedded")]
    stack = start()

    assert plan[plan.index(MADE[0]) :][:4] == [*MADE, "migrate schema database"]
    assert owners(stack) == {"citext": "fastzero", "dblink": "postgres"}
    assert query(stack, "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'shop'") == ["fastzero"]
    assert Stack().plan() == []


def test_one_that_is_described_later_is_made_by_the_next_up(application: Path, start: Start) -> None:
    stack = start()
    describe(application, NEEDS)

    assert [str(action) for action in Stack().plan()] == MADE
    Stack().up()

    assert list(owners(stack)) == ["citext", "dblink"]
    assert Stack().plan() == []


def test_a_restart_makes_none(needy: Path, start: Start) -> None:
    stack = start().restart()
    assert Stack().plan() == []
    assert list(owners(stack)) == ["citext", "dblink"]


def test_one_that_the_embedded_postgresql_does_not_have_is_told_before_anything(
    application: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Binaries, "extensions", lambda self: frozenset({"plpgsql", "citext"}))
    describe(application, NEEDS)

    with pytest.raises(ExtensionMissingError, match="dblink") as missing:
        Stack().up(runtime="embedded")

    assert missing.value.exit_code == 6
    assert "fastzero up --runtime docker" in missing.value.hint
    assert not Stack().exists


def test_one_that_a_server_does_not_have_is_told_and_undone(
    application: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Binaries, "extensions", lambda self: None)  # as of an engine: only the server knows
    describe(application, '\n[application.database]\nextensions = ["nonsense"]\n')

    with pytest.raises(ExtensionMissingError, match="'nonsense'"):
        start()

    assert not Stack().running()


def test_a_reset_has_them_again(needy: Path, start: Start) -> None:
    stack = start()
    stack.reset()
    assert owners(stack) == {"citext": "fastzero", "dblink": "postgres"}
    assert query(stack, "SELECT count(*) FROM shop.items") == ["0"]


def test_a_rehearsal_and_a_backup_work_with_them(needy: Path, start: Start) -> None:
    stack = start()
    backup = stack.backup()
    add_revision(needy, "0003", "0002", up="INSERT INTO shop.items VALUES ('a'), ('b')")

    assert Stack().verify(backup.name).tables == 3
    Stack().rehearse()
    Stack().up()
    Stack().restore(backup.name)

    assert list(owners(stack)) == ["citext", "dblink"]
    assert query(stack, "SELECT count(*) FROM shop.items") == ["0"]


def test_the_databases_of_its_tests_have_them(needy: Path) -> None:
    (needy / "test_it.py").write_text(
        "import os, psycopg\n"
        "def test_it():\n"
        "    with psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "        connection.execute('SELECT count(*) FROM shop.items')\n"
        "        connection.execute('SELECT dblink_get_connections()')\n"
    )
    command = ["pytest", "-q", "-p", "no:fastzero", "-p", "no:randomly"]
    assert suite.run_suite(load_settings(), command, on_event=ignore) == 0


def test_a_superuser_is_made_and_unmade_as_the_description_says(application: Path, start: Start) -> None:
    rights = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
    description = (application / "fastzero.toml").read_text()
    describe(application, "\n[application.database]\nsuperuser = true\n")
    stack = start()
    assert query(stack, rights) == ["True"]
    assert Stack().plan() == []

    (application / "fastzero.toml").write_text(description)
    assert [str(action) for action in Stack().plan()] == ["remove privilege superuser"]
    Stack().up()

    assert query(stack, rights) == ["False"]
