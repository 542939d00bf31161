"""A database has a superuser of the stack's own, an owner who is none, and if asked for, a role for the app."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.files import make_folder
from fastzero_core.postgres.account import service_user
from fastzero_core.postgres.binaries import find_binaries
from fastzero_core.postgres.cluster import initialise
from fastzero_core.postgres.roles import APP, OWNER, SUPERUSER
from fastzero_core.project import ROLES, ROLES_OF_BEFORE, Project, ProjectRecord
from fastzero_core.record import FORMAT_OF_BEFORE
from fastzero_core.schema import migrate
from tests.api.client import Client
from tests.ports import any_free_port

from .conftest import Contained, RunPython, Template, add_user, new_home, users_of

pytestmark = pytest.mark.slow

ATTRIBUTES = "SELECT rolname::text, rolsuper, rolcreaterole FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
LOGGED_IN = """
    SELECT DISTINCT usename::text FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
SEPARATE = [(OWNER, False, False), (SUPERUSER, True, True)]

KILLED_AT = """
import os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import ActionDone, ActionStarted
moment = ActionStarted if sys.argv[1] == "before" else ActionDone
def note(event):
    if isinstance(event, moment) and str(event.action).startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
Stack("demo", on_event=note).up(app=False)
"""


def ask(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as session:
        return session.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def folder_of_before() -> Iterator[Path]:
    """A project as older versions made it, with a user: the owner of the database is its superuser."""
    with new_home() as home:
        project = Project("demo", home)
        make_folder(project.folder.parent, 0o711)
        for name in ("database_password", "secret_key"):
            project.ensure_secret(name)
        password, data = project.secret("database_password"), project.folder / "data"
        made = ["CREATE DATABASE fastzero"]
        initialise(data, find_binaries(), service_user(), superuser=OWNER, password=password, statements=made)
        ports = {"database": any_free_port()}
        project.save(ProjectRecord("embedded", ports, str(data), True, (), roles=ROLES_OF_BEFORE))
        _fill(Stack(load_settings(project="demo", home=home, app=False)))
        yield project.folder


def _fill(stack: Stack) -> None:
    with stack.session() as session, session.database_running("it gets a user"):
        migrate.up(stack.database_url)
        add_user(stack)
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE another")


@pytest.fixture
def of_before(home: Path, free_port: int, folder_of_before: Path) -> Stack:
    Template(folder_of_before, 0).copy_to(home, free_port)
    return Stack(load_settings(project="demo", app=False))


def test_a_project_of_before_has_a_record_that_older_versions_read(of_before: Stack) -> None:
    written = json.loads((of_before.project.folder / "project.json").read_text())
    assert (written["format"], "roles" in written) == (2, False)
    assert of_before.project.record is not None
    assert of_before.project.record.roles == ROLES_OF_BEFORE


def test_the_next_up_says_what_it_does_to_the_roles_and_why(of_before: Stack) -> None:
    told = {str(action): action.cause for action in of_before.plan()}
    assert "its superuser" in told["rename role fastzero to postgres"]
    assert "must stay its own" in told["set owner fastzero"]


def test_the_next_up_makes_two_roles_of_one_and_every_row_is_there(of_before: Stack) -> None:
    of_before.up()

    assert users_of(of_before) == ["ana"]
    assert ask(of_before.database_url, ATTRIBUTES) == SEPARATE
    assert ask(of_before.superuser_url, "SELECT current_user::text") == [(SUPERUSER,)]
    assert ask(
        of_before.database_url, "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'another'"
    ) == [(OWNER,)]
    written = json.loads((of_before.project.folder / "project.json").read_text())
    assert (written["format"], written["roles"]) == (FORMAT_OF_BEFORE, list(ROLES))
    assert of_before.plan() == []


def test_commands_work_with_a_project_of_before_that_no_up_has_seen(of_before: Stack) -> None:
    of_before.backup(name="one")
    of_before.verify("one")
    assert of_before.project.record is not None
    assert of_before.project.record.roles == ROLES_OF_BEFORE


def test_the_schema_of_a_project_of_before_goes_down_and_up_again(of_before: Stack) -> None:
    of_before.up()
    assert migrate.down(of_before.database_url, "base").current is None
    assert migrate.up(of_before.database_url).pending == []


@pytest.mark.parametrize(
    ("moment", "step"),
    [
        ("before", "create secret superuser_password"),
        ("after", "create secret app_password"),
        ("after", "start process database"),
        ("before", "rename role"),
        ("after", "rename role"),
        ("before", "set owner"),
        ("after", "set owner"),
        ("before", "write record"),
        ("after", "write record"),
    ],
)
def test_what_was_killed_is_completed_by_the_next_up(
    of_before: Stack, run_python: RunPython, moment: str, step: str
) -> None:
    killed = run_python(KILLED_AT, moment, step)
    assert killed.wait() == -signal.SIGKILL, killed.stdout.read() if killed.stdout else ""

    of_before.up()

    assert users_of(of_before) == ["ana"]
    assert ask(of_before.superuser_url, ATTRIBUTES) == SEPARATE
    assert of_before.plan() == []


def test_a_project_goes_back_to_one_role_and_is_converted_again(of_before: Stack) -> None:
    of_before.up()
    add_user(of_before, "bob")
    of_before.unite_roles()

    written = json.loads((of_before.project.folder / "project.json").read_text())
    assert (written["format"], "roles" in written) == (2, False)
    assert ask(of_before.database_url, ATTRIBUTES) == [(OWNER, True, True)]
    assert users_of(of_before) == ["ana", "bob"]

    of_before.up()
    assert ask(of_before.database_url, ATTRIBUTES) == SEPARATE
    assert users_of(of_before) == ["ana", "bob"]


# -- split roles -----------------------------------------------------------------------------------------------


def split(stack: Stack, wanted: bool = True) -> Stack:
    changed = {"split_roles": wanted, "app": True, "app_port": any_free_port()}
    return Stack(stack.settings.model_copy(update=changed))


def test_with_split_roles_the_app_serves_as_a_role_that_changes_rows_alone(stack: Stack) -> None:
    stack = split(stack).up()
    record = stack.project.record
    assert record is not None
    Client(record.ports["app"]).sign_up()

    assert ask(stack.superuser_url, LOGGED_IN) == [(APP,)]
    with psycopg.connect(stack.project.app_url(), autocommit=True) as session:
        for refused in ("CREATE TABLE x ()", "ALTER TABLE users ADD x int", "DROP TABLE todos", "CREATE ROLE x"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(refused.encode())
    stack.down()


def test_a_restored_database_is_one_that_the_app_can_use(stack: Stack) -> None:
    stack.up()
    add_user(stack)
    stack.backup(name="before-the-split")
    stack = split(stack).up()
    for back in (partial(stack.restore, "before-the-split"), stack.undo, stack.reset):
        back()
        with FastZero(stack.project.app_url()) as fz:
            fz.users.list()
    stack.down()


def test_roles_that_are_split_no_more_leave_nothing(stack: Stack) -> None:
    split(stack).up()
    stack = split(stack, False).up()

    assert ask(stack.superuser_url, ATTRIBUTES) == SEPARATE
    assert ask(stack.superuser_url, "SELECT count(*) FROM pg_default_acl") == [(0,)]
    assert stack.plan() == []
    stack.down()


# -- in containers ---------------------------------------------------------------------------------------------

FOR_SUPERUSERS = ("COPY (SELECT 1) TO PROGRAM 'cat'", "SELECT pg_read_file('/etc/passwd')", "CREATE ROLE x")


@pytest.mark.docker
@pytest.mark.parametrize("statement", FOR_SUPERUSERS)
def test_in_containers_the_owner_is_no_superuser_either(served: Contained, statement: str) -> None:
    stack = served.stack()
    assert ask(stack.superuser_url, ATTRIBUTES) == SEPARATE
    with psycopg.connect(stack.database_url) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement.encode())


@pytest.mark.docker
def test_in_containers_split_roles_serve_too(contained: Contained) -> None:
    stack = contained.stack(app=True, split_roles=True).up()
    record = stack.project.record
    assert record is not None
    Client(record.ports["app"]).sign_up()
    assert ask(stack.superuser_url, LOGGED_IN) == [(APP,)]


@pytest.mark.docker
def test_a_person_gets_to_be_the_superuser_by_asking_for_it(served: Contained) -> None:
    words = [sys.executable, "-m", "fastzero_cli", "db", "shell"]
    for options, role in (([], OWNER), (["--superuser"], SUPERUSER)):
        asked = [*words, *options, "--", "-Atc", "SELECT current_user"]
        done = subprocess.run(asked, env=served.environment(), capture_output=True, text=True)
        assert done.stdout.strip() == role, done.stderr
