"""Every way to fail has its exit code, one line of what is wrong and one of what to do; in JSON the same."""

import json
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core import User
from fastzero_core.todo_app.todos import Todos

from .conftest import Run, with_login

BOB = ["user", "add", "bob", "-e", "bob@example.com", "--password-stdin"]

# code, words, the error's code for programs, a word of the message
SITUATIONS: dict[str, tuple[int, list[str], str, str]] = {
    "an empty title": (2, ["todo", "add", " "], "invalid_input", "title must not be empty"),
    "a title too long": (2, ["todo", "add", "t" * 201], "invalid_input", "201 characters; at most 200"),
    "an unknown option": (2, ["todo", "list", "--nope"], "invalid_input", "--nope"),
    "an unknown command": (2, ["todo", "nope"], "invalid_input", "nope"),
    "a missing argument": (2, ["todo", "add"], "invalid_input", "TITLE"),
    "an unknown state": (2, ["todo", "list", "-s", "nope"], "invalid_input", "draft, todo, doing, done, trash"),
    "a word for a number": (2, ["todo", "list", "-n", "x"], "invalid_input", "--limit"),
    "a bad address": (2, [*BOB[:3], "-e", "nope", "--password-stdin"], "invalid_input", "email"),
    "a short password": (2, BOB, "invalid_input", "8 to 128"),
    "nothing to change": (2, ["todo", "edit", "1"], "invalid_input", "nothing to change"),
    "nobody to ask": (2, ["user", "rm", "ana"], "invalid_input", "Confirmation is required"),
    "no such todo": (3, ["todo", "show", "9"], "todo_not_found", "todo 9 does not exist"),
    "no such todos": (3, ["todo", "done", "8-9"], "todo_not_found", "todos 8, 9 do not exist"),
    "no such user": (3, ["user", "show", "bob"], "user_not_found", "bob"),
    "no such owner": (3, ["todo", "list", "-u", "bob"], "user_not_found", "bob"),
    "no such revision": (3, ["migrate", "up", "9999"], "revision_not_found", "9999"),
    "no such stack": (3, ["logs", "-p", "nope"], "project_not_found", "nope"),
    "not in the trash": (4, ["todo", "purge", "1", "--yes"], "todo_not_trashed", "not in the trash: 1"),
    "a name that is taken": (
        4,
        ["user", "add", "ANA", "-e", "other@example.com", "--password-stdin"],
        "username_taken",
        "username",
    ),
    "an address that is taken": (
        4,
        ["user", "add", "bob", "-e", "ANA@example.com", "--password-stdin"],
        "email_taken",
        "e-mail",
    ),
}
situations = pytest.mark.parametrize("situation", SITUATIONS)


def _password(situation: str) -> str:
    return "short\n" if situation == "a short password" else "correct horse\n"


def _is_for_people(err: str) -> bool:
    return err.startswith("Error: ") and "Traceback" not in err


@situations
def test_a_failure_says_what_is_wrong_to_people_and_programs(situation: str, ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    code, words, name, message = SITUATIONS[situation]

    told = fastzero(*words, stdin=_password(situation))
    assert (told.code, told.out) == (code, "")
    assert _is_for_people(told.err)
    assert message in told.err.splitlines()[0]

    answered = fastzero(*words, "-o", "json", stdin=_password(situation))
    assert (answered.code, answered.out) == (code, "")
    error = json.loads(answered.err)["error"]
    assert list(error) == ["code", "message", "hint", "more"]
    assert error["code"] == name
    assert message in error["message"]


@pytest.mark.parametrize("words", [["-o", "json"], ["--output=json"], ["-ojson"], ["--output", "ndjson"]])
def test_json_is_honoured_also_where_the_command_line_is_wrong(words: list[str], fastzero: Run) -> None:
    assert json.loads(fastzero("todo", "list", "--nope", *words).err)["error"]["code"] == "invalid_input"


@pytest.mark.parametrize(
    "words", [["todo", "list"], ["todo", "start"], ["user", "list"], ["migrate", "status"], ["migrate", "history"]]
)
def test_success_is_zero(words: list[str], ana: User, fastzero: Run) -> None:
    fastzero("todo", "add", "one")
    assert fastzero(*words, *(["1"] if words[-1] == "start" else [])).code == 0


# -- 1: a bug --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["tsv", "json"])
def test_a_bug_keeps_its_traceback(output: str, ana: User, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("this is broken")

    monkeypatch.setattr(Todos, "add", broken)
    result = fastzero("todo", "add", "one", "-o", output)
    *traceback, last = result.err.strip().split("\n" if output == "json" else "Error: RuntimeError")
    assert (result.code, result.out) == (1, "")
    assert "Traceback (most recent call last)" in "".join(traceback)
    assert "in broken" in "".join(traceback)
    assert "this is broken" in last
    assert "report" in last
    if output == "json":
        assert json.loads(last)["error"]["message"] == "RuntimeError: this is broken"


# -- 5, 6 and 7: the database ----------------------------------------------------------------------------------


@pytest.fixture
def wrong_password(database_url: str) -> str:
    return with_login(database_url, password="wr0ng-word")


@pytest.fixture
def humble_role(database_url: str, ana: User) -> Iterator[str]:
    name = f"role_{secrets.token_hex(8)}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'humble'".encode())
        yield with_login(database_url, username=name, password="humble")
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def nobody_listens() -> Iterator[str]:
    with socket.socket() as bound:  # taken by us, so that nobody else listens there meanwhile
        bound.bind(("127.0.0.1", 0))
        yield f"postgresql://me:s3cret-word@127.0.0.1:{bound.getsockname()[1]}/db"


@pytest.fixture
def newer_database(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00d'")
    return database_url


@pytest.fixture
def lost_database(database_url: str) -> str:
    return database_url.rpartition("/")[0] + "/nowhere"


DATABASES = [
    ("wrong_password", ["todo", "list"], 5, "database_login_refused"),
    ("wrong_password", ["migrate"], 5, "database_login_refused"),
    ("humble_role", ["user", "list"], 5, "database_privilege_missing"),
    ("nobody_listens", ["todo", "list"], 6, "database_unreachable"),
    ("nobody_listens", ["migrate", "status"], 6, "database_unreachable"),
    ("lost_database", ["user", "list"], 6, "database_unreachable"),
    ("empty_database_url", ["todo", "list"], 7, "schema_outdated"),
    ("empty_database_url", ["migrate", "check"], 7, "schema_outdated"),
    ("newer_database", ["migrate"], 7, "schema_newer"),
    ("newer_database", ["migrate", "status"], 7, "schema_newer"),
    ("newer_database", ["migrate", "down", "-1", "--yes"], 7, "schema_newer"),
]


@pytest.mark.parametrize(("place", "words", "code", "name"), DATABASES)
def test_a_database_that_fails_us_says_how(
    place: str, words: list[str], code: int, name: str, fastzero: Run, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(place)

    told = fastzero("--database-url", url, *words)
    assert (told.code, told.out) == (code, "")
    assert _is_for_people(told.err)
    assert "\nHint: " in told.err

    answered = fastzero("--database-url", url, *words, "-o", "json")
    assert (answered.code, answered.out) == (code, "")
    error = json.loads(answered.err)["error"]
    assert error["code"] == name
    assert error["hint"]

    assert "wr0ng-word" not in told.err + answered.err
    assert "s3cret-word" not in told.err + answered.err


def test_a_newer_database_is_left_alone(newer_database: str, fastzero: Run) -> None:
    fastzero("--database-url", newer_database, "migrate")
    with psycopg.connect(newer_database) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("f00d",)


def test_without_a_stack_the_hint_is_to_make_one(fastzero: Run) -> None:
    result = fastzero("todo", "list")
    assert result.code == 3
    assert "fastzero up" in result.err


@pytest.mark.parametrize("written", ["mysql://me@localhost/db", "nonsense", "postgresql://me@localhost:port/db"])
def test_a_url_of_something_else_is_invalid_input(written: str, fastzero: Run) -> None:
    result = fastzero("--database-url", written, "user", "list")
    assert result.code == 2
    assert _is_for_people(result.err)


def test_a_file_that_may_not_be_read_is_no_bug(fastzero: Run, database: str) -> None:
    result = fastzero("user", "add", "bob", "-e", "bob@example.com", "--password-file", "/nowhere/at/all")
    assert result.code == 2
    assert "/nowhere/at/all" in result.err


def test_settings_that_cannot_be_read_are_invalid_input(fastzero: Run) -> None:
    Path("fastzero.toml").write_text("project = [")
    result = fastzero("config")
    assert result.code == 2
    assert _is_for_people(result.err)


def test_a_title_of_bytes_that_are_no_text_is_invalid_input(ana: User, fastzero: Run) -> None:
    assert fastzero("todo", "add", "\udcff").code == 2


def test_lines_of_bytes_that_are_no_text_are_invalid_input(
    ana: User, fastzero: Run, titles: Callable[[], list[str]]
) -> None:
    result = fastzero("todo", "add", "-", stdin="good\nbad \udcff\n")
    assert result.code == 2
    assert "line 2" in result.err
    assert titles() == []


def test_a_password_that_may_be_sent_in_clear_is_told_once_on_stderr(fastzero: Run) -> None:
    remote = "postgresql://ana:secret@db.example.com/x"
    told = fastzero("db", "url", "--database-url", remote)
    assert (told.out, told.err.count("Warning: the password for db.example.com")) == (
        "postgresql://ana@db.example.com/x\n",
        1,
    )
    assert "secret" not in told.err
    assert fastzero("db", "url", "--database-url", f"{remote}?sslmode=verify-full").err == ""
