"""Which database a command works on, where a flag, the environment and the project name different ones."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_core import ConflictError, FastZero, Stack
from tests.cli.conftest import Run, records

from ..revisions import HEAD

pytestmark = pytest.mark.slow

DESTROYING = [
    ["db", "reset"],
    ["db", "restore", "nothing"],
    ["db", "restore", "--undo"],
    ["db", "backup", "prune", "--keep", "0"],
    ["migrate", "down", "base"],
    ["user", "rm", "ana"],
    ["todo", "purge"],
    ["down", "--volumes"],
]
Users = Callable[[str], list[str]]


@pytest.fixture
def other(database_url: str) -> str:
    """A database that is not the project's own, with ana in it."""
    add_user(database_url)
    return database_url


@pytest.fixture
def own(running: Stack, fastzero: Run) -> str:
    """The project's own database, with ana alone in it."""
    assert fastzero("db", "reset", "--yes", "--no-backup").code == 0
    add_user(running.database_url)
    return running.database_url


@pytest.fixture
def in_environment(own: str, other: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The other database, as DATABASE_URL of the environment."""
    monkeypatch.setenv("DATABASE_URL", other)
    return other


def add_user(url: str) -> None:
    with FastZero(url) as fz:
        fz.users.add("ana", email="ana@example.com", password="correct horse")


def users_of(url: str) -> list[str]:
    with FastZero(url) as fz:
        return [user.username for user in fz.users.list()]


@pytest.mark.parametrize("words", DESTROYING, ids=" ".join)
def test_what_destroys_refuses_where_the_environment_names_another_database_than_the_project_s(
    words: list[str], own: str, in_environment: str, fastzero: Run
) -> None:
    refused = fastzero(*words, "--yes")
    assert refused.code == 2
    named, mine = make_url(in_environment), make_url(own)
    assert f"database {named.database} at {named.host}:{named.port}" in refused.err
    assert f"project fastzero has its own database at {mine.host}:{mine.port}" in refused.err
    assert "Unset DATABASE_URL" in refused.err
    assert "--database-url" in refused.err
    assert (users_of(own), users_of(in_environment)) == (["ana"], ["ana"])


@pytest.mark.usefixtures("trusted_folder")
def test_a_file_that_names_another_database_is_refused_as_well(own: str, other: str, fastzero: Run) -> None:
    Path("fastzero.toml").write_text(f'database_url = "{other}"\n')
    assert fastzero("db", "reset", "--yes").code == 2
    assert (users_of(own), users_of(other)) == (["ana"], ["ana"])


def test_the_dotenv_of_an_application_redirects_nothing(own: str, other: str, fastzero: Run) -> None:
    Path(".env").write_text(f"DATABASE_URL={other}\n")
    assert fastzero("db", "reset", "--yes", "--no-backup").code == 0
    assert (users_of(own), users_of(other)) == ([], ["ana"])


@pytest.mark.parametrize("words", [["db", "reset", "--no-backup"], ["user", "rm", "ana", "--no-backup"]], ids=" ".join)
def test_a_project_that_is_named_by_a_flag_is_meant_and_the_environment_must_agree(
    words: list[str], own: str, in_environment: str, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = fastzero("-p", "fastzero", *words, "--yes")
    assert (refused.code, "Unset DATABASE_URL" in refused.err) == (2, True)
    assert (users_of(own), users_of(in_environment)) == (["ana"], ["ana"])

    monkeypatch.delenv("DATABASE_URL")
    assert fastzero("-p", "fastzero", *words, "--yes").code == 0
    assert (users_of(own), users_of(in_environment)) == ([], ["ana"])


def test_a_database_that_is_named_by_a_flag_is_meant(own: str, other: str, fastzero: Run) -> None:
    assert fastzero("db", "reset", "--no-backup", "--yes", "--database-url", other).code == 0
    assert (users_of(own), users_of(other)) == (["ana"], [])


def test_every_command_reads_the_project_that_is_named_by_a_flag(own: str, in_environment: str, fastzero: Run) -> None:
    with FastZero(own) as fz:
        fz.users.add("mine", email="mine@example.com", password="correct horse")
    named = ["-p", "fastzero"]
    assert fastzero(*named, "user", "list", "-o", "ids").out == "1\n2\n"
    assert fastzero("user", "list", "-o", "ids").out == "1\n"
    assert records(fastzero(*named, "db", "stats", "-o", "json"))["database"] == "fastzero"
    assert records(fastzero(*named, "migrate", "status", "-o", "json"))["current"] == HEAD
    assert fastzero(*named, "todo", "list", "-u", "mine").code == 0
    assert fastzero(*named, "db", "url", "--password").out == f"{own.partition('?')[0]}\n"


@pytest.mark.parametrize("words", [["user", "list"], ["db", "url"], ["db", "reset", "--yes"], ["status"]])
def test_two_flags_that_name_different_databases_are_one_too_many(
    words: list[str], own: str, other: str, fastzero: Run
) -> None:
    refused = fastzero("-p", "fastzero", *words, "--database-url", other)
    assert refused.code == 2
    assert "--database-url names database" in refused.err
    assert (users_of(own), users_of(other)) == (["ana"], ["ana"])


def test_two_flags_that_name_the_same_database_agree(own: str, fastzero: Run) -> None:
    assert fastzero("-p", "fastzero", "user", "show", "ana", "--database-url", own).code == 0


def test_down_destroys_no_project_for_a_flag_that_names_a_database(own: str, other: str, fastzero: Run) -> None:
    assert fastzero("down", "--volumes", "--yes", "--database-url", other).code == 2
    assert users_of(own) == ["ana"]


# -- a URL that is the stack's own ----------------------------------------------------------------------------


@pytest.fixture
def evaluated(own: str, running: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `eval "$(fastzero env)"` leaves in the environment."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)


def test_a_move_goes_on_where_the_url_is_the_stack_s_own(evaluated: None, fastzero: Run) -> None:
    done = fastzero("db", "move", "--to", "embedded")
    assert done.code == 0
    assert "Nothing to do" in done.err


def test_an_upgrade_is_not_refused_for_the_stack_s_own_url(evaluated: None, fastzero: Run) -> None:
    assert "runs embedded" in fastzero("db", "upgrade", "--to", "18").err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_the_stack_s_own_url_is_known_by_host_port_database_and_role(host: str, own: str, running: Stack) -> None:
    url = make_url(own).set(drivername="postgresql+psycopg", host=host, password="another")
    assert running.serves(url.render_as_string(hide_password=False))
    for changed in ({"port": 1}, {"database": "other"}, {"username": "other"}, {"host": "db.example.com"}):
        assert not running.serves(url.set(**changed).render_as_string(hide_password=False))


def test_the_stack_s_own_url_has_the_stack_s_backups(evaluated: None, running: Stack, fastzero: Run) -> None:
    (taken,) = records(fastzero("db", "backup", "-o", "json"))
    assert Path(taken["file"]).parent == running.folder


def test_a_move_is_refused_where_the_url_is_another_database_s(in_environment: str, fastzero: Run) -> None:
    refused = fastzero("db", "move", "--to", "embedded")
    assert refused.code == 2
    assert "DATABASE_URL names database" in refused.err


# -- folders --------------------------------------------------------------------------------------------------


def test_every_database_has_backups_of_its_own(
    own: str, other: str, empty_database_url: str, running: Stack, fastzero: Run
) -> None:
    for url in (other, empty_database_url):
        assert fastzero("db", "backup", "--name", "one", "--database-url", url).code == 0
    assert fastzero("db", "backup", "--name", "one").code == 0
    assert fastzero("db", "backup", "prune", "--keep", "0", "--yes", "--database-url", other).code == 0
    assert records(fastzero("db", "backup", "list", "-o", "json", "--database-url", other)) == []
    (left,) = records(fastzero("db", "backup", "list", "-o", "json", "--database-url", empty_database_url))
    assert left["name"] == "one"
    assert "one" in [backup["name"] for backup in records(fastzero("db", "backup", "list", "-o", "json"))]
    assert fastzero("db", "backup", "prune", "--keep", "0", "--yes").code == 0


def test_a_name_is_looked_up_among_the_backups_of_the_database(own: str, other: str, fastzero: Run) -> None:
    assert fastzero("db", "backup", "--name", "of-mine").code == 0
    assert fastzero("db", "verify", "of-mine", "--database-url", other).code == 3
    assert fastzero("db", "verify", "of-mine").code == 0


# -- questions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["db", "reset"],
        ["db", "restore", "asked"],
        ["db", "restore", "--undo"],
        ["db", "backup", "prune", "--keep", "0"],
        ["migrate", "down", "base"],
        ["user", "rm", "ana"],
        ["todo", "purge"],
        ["down", "--volumes"],
    ],
    ids=" ".join,
)
def test_a_question_names_project_host_port_database_and_rows(
    words: list[str], own: str, running: Stack, fastzero: Run
) -> None:
    fastzero("db", "backup", "--name", "asked")
    if "--undo" in words:
        assert fastzero("db", "restore", "asked", "--yes", "--no-backup").code == 0
    fastzero("todo", "add", "one")
    fastzero("todo", "trash", "1")
    asked = fastzero(*words)
    assert asked.code == 2
    address = f"127.0.0.1:{make_url(own).port}"
    assert f"database fastzero of project fastzero at {address} (4 rows)" in asked.err.replace("Database", "database")


def test_a_question_about_a_url_names_host_port_database_and_rows(other: str, fastzero: Run) -> None:
    url = make_url(other)
    asked = fastzero("db", "reset", "--database-url", other)
    assert f"database {url.database} at {url.host}:{url.port} (1 row)" in asked.err


# -- the project's lock ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["db", "backup"],
        ["db", "restore", "asked"],
        ["db", "restore", "--undo"],
        ["db", "reset"],
        ["db", "backup", "prune", "--keep", "0"],
        ["migrate", "down", "base"],
        ["user", "rm", "ana"],
    ],
    ids=" ".join,
)
def test_what_changes_a_stack_s_database_waits_for_the_project_s_lock(
    words: list[str], own: str, running: Stack, fastzero: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTZERO_TIMEOUT", "0.2")
    fastzero("db", "backup", "--name", "asked")
    yes = [] if words == ["db", "backup"] else ["--yes"]
    with running.project.lock(1):
        locked = fastzero(*words, *yes)
    assert locked.code == 6
    assert "another fastzero command is running on project fastzero" in locked.err
    assert users_of(own) == ["ana"]


def test_a_stopped_database_is_started_for_it_and_stopped_again(own: str, running: Stack, fastzero: Run) -> None:
    running.down()
    try:
        assert fastzero("db", "reset", "--yes").code == 0
        assert running.running() == set()
    finally:
        running.up()
    assert users_of(own) == []


# -- looking, asking, acting ----------------------------------------------------------------------------------


def test_a_user_who_got_more_todos_since_the_question_stays(own: str, running: Stack) -> None:
    with FastZero(own) as fz:
        fz.todos("ana").add("one")
    with pytest.raises(ConflictError, match="the number of todos of user ana changed from 0 to 1"):
        running.remove_user("ana", todos=0, no_backup=True)
    assert users_of(own) == ["ana"]


def test_a_database_with_a_space_in_its_name_is_backed_up_and_has_a_shell(own: str, fastzero: Run) -> None:
    with psycopg.connect(own, autocommit=True) as session:
        session.execute('DROP DATABASE IF EXISTS "my db"')
        session.execute('CREATE DATABASE "my db"')
    url = make_url(own).set(database="my db").render_as_string(hide_password=False)
    try:
        assert fastzero("migrate", "--database-url", url).code == 0
        assert fastzero("db", "backup", "--name", "spaced", "--database-url", url).code == 0
        assert fastzero("db", "shell", "--database-url", url, "--", "-Atc", "SELECT 1").code == 0
    finally:
        with psycopg.connect(own, autocommit=True) as session:
            session.execute('DROP DATABASE "my db" WITH (FORCE)')
