"""What people type wrong: each mistake is answered with what was wrong and with what to type instead."""

import json
import shutil
from pathlib import Path

import pytest

from fastzero_cli.mistakes import ALIASES
from fastzero_core import FastZero, User
from fastzero_core.project import Project, ProjectRecord

from .conftest import Run
from .shell import Terminal
from .tree import COMMANDS, ROOT

# words, exit code, what the error says, what the hint says
TYPED: list[tuple[str, int, str, str]] = [
    # commands of other tools
    ("ps", 2, "unknown command 'ps'", "fastzero status"),
    ("stop", 2, "unknown command 'stop'", "fastzero down"),
    ("start", 2, "unknown command 'start'", "fastzero up"),
    ("rm", 2, "unknown command 'rm'", "fastzero down --volumes"),
    ("delete", 2, "unknown command 'delete'", "fastzero down --volumes"),
    ("shell", 2, "unknown command 'shell'", "fastzero db shell"),
    ("psql", 2, "unknown command 'psql'", "fastzero db shell"),
    ("bash", 2, "unknown command 'bash'", "fastzero exec app -- bash"),
    ("backup", 2, "unknown command 'backup'", "fastzero db backup"),
    ("upgrade", 2, "unknown command 'upgrade'", "fastzero migrate"),
    ("makemigrations", 2, "unknown command 'makemigrations'", "fastzero migrate new"),
    ("runserver", 2, "unknown command 'runserver'", "fastzero serve"),
    ("help", 2, "unknown command 'help'", "fastzero --help"),
    ("users", 2, "unknown command 'users'", "fastzero user list"),
    ("add milk", 2, "unknown command 'add'", "fastzero todo add"),
    ("todo delete 1", 2, "unknown command 'delete'", "fastzero todo trash"),
    ("todo rm 1", 2, "unknown command 'rm'", "fastzero todo trash"),
    ("todo ls", 2, "unknown command 'ls'", "fastzero todo list"),
    ("todo complete 1", 2, "unknown command 'complete'", "fastzero todo done"),
    ("todo find milk", 2, "unknown command 'find'", "fastzero todo list --text"),
    ("todo get 1", 2, "unknown command 'get'", "fastzero todo show"),
    ("user create bob", 2, "unknown command 'create'", "fastzero user add"),
    ("user delete bob", 2, "unknown command 'delete'", "fastzero user rm"),
    ("user password bob", 2, "unknown command 'password'", "fastzero user passwd"),
    ("db dump", 2, "unknown command 'dump'", "fastzero db backup"),
    ("db psql", 2, "unknown command 'psql'", "fastzero db shell"),
    ("migrate upgrade", 2, "unknown command 'upgrade'", "fastzero migrate up"),
    ("migrate downgrade base", 2, "unknown command 'downgrade'", "fastzero migrate down"),
    ("migrate current", 2, "unknown command 'current'", "fastzero migrate status"),
    # words that are misspelt
    ("statsu", 2, "Did you mean 'status'", "fastzero --help"),
    ("tood list", 2, "Did you mean 'todo'", "fastzero --help"),
    ("todo lst", 2, "Did you mean 'list'", "fastzero todo --help"),
    ("user passwrd ana", 2, "Did you mean 'passwd'", "fastzero user --help"),
    ("migrate donw -1", 2, "Did you mean 'down'", "fastzero migrate --help"),
    ("db bakcup", 2, "Did you mean 'backup'", "fastzero db --help"),
    ("db place lst", 2, "", "fastzero db place"),
    ("todo list --limt 3", 2, "--limit", "fastzero todo list --help"),
    ("up --runtme docker", 2, "--runtime", "fastzero up --help"),
    ("--projct one ls", 2, "--project", "fastzero --help"),
    # titles without quotes
    ("todo add Buy milk", 2, "unexpected argument 'milk'", "fastzero todo add 'Buy milk'"),
    (
        "todo add Buy milk and bread -s doing",
        2,
        "unexpected argument 'milk and bread'",
        "fastzero todo add 'Buy milk and bread'",
    ),
    ("todo edit 1 --title Buy milk", 2, "invalid id 'milk'", "quote text of many words"),
    ("todo list --text two words", 2, "unexpected argument 'words'", "fastzero todo list --text 'two words'"),
    ("migrate new add due dates", 2, "unexpected argument 'due dates'", "fastzero migrate new 'add due dates'"),
    # values
    ("-o yaml ls", 2, "invalid --output: 'yaml'", "Use one of: table, json, ndjson, csv, tsv, ids"),
    ("--color blue ls", 2, "invalid --color: 'blue'", "Use one of: auto, always, never"),
    ("-p Not_A_Name ls", 2, "invalid --project: 'Not_A_Name'", ""),
    ("todo list -s nope", 2, "draft, todo, doing, done, trash", ""),
    ("todo list --sort size", 2, "id, created, updated, title", ""),
    ("todo list -n many", 2, "--limit", "fastzero todo list --help"),
    ("todo list -n 0", 2, "limit", ""),
    ("todo done one", 2, "invalid id 'one'", "5-9"),
    ("todo done 9-5", 2, "invalid range '9-5'", "smaller id first"),
    ("todo done 1-99999999999", 2, "invalid range '1-99999999999'", "10,000,000"),
    ("todo done 0", 2, "0", ""),
    ("todo edit 1", 2, "nothing to change", ""),
    ("todo edit 1-2 --title x", 2, "one id", ""),
    ("todo add", 2, "TITLE", "fastzero todo add --help"),
    ("todo move 1", 2, "--to", "fastzero todo move ID --to STATE"),
    ("user add bob", 2, "--email", "fastzero user add --help"),
    ("user add bob -e nope --password-stdin", 2, "email", ""),
    ("user add 12 -e bob@example.com --password-stdin", 2, "username", ""),
    ("up --port 0", 2, "--port", "fastzero up --help"),
    ("up --port 70000", 2, "--port", "fastzero up --help"),
    ("up --runtime podman", 2, "runtime 'podman' is not one of embedded, docker", ""),
    ("logs --since yesterday", 2, "invalid time 'yesterday'", "10m"),
    ("env --format xml", 2, "xml", ""),
    ("db restore", 2, "which backup", "fastzero db backup list"),
    ("db upgrade", 2, "to which version", "--to MAJOR"),
    ("db move --to podman", 2, "", ""),
    ("--database-url mysql://me@localhost/db user list", 2, "mysql", ""),
    # what does not exist
    ("todo show 99", 3, "todo 99 does not exist", "fastzero todo list --all"),
    ("user show bob", 3, "bob", "fastzero user list"),
    ("todo list -u bob", 3, "bob", "fastzero user list"),
    ("migrate up 9999", 3, "9999", "fastzero migrate history"),
    ("migrate down 9999 --yes", 3, "9999", "fastzero migrate history"),
    ("db verify nosuch", 3, "nosuch", "fastzero db backup list"),
    ("db restore nosuch", 3, "nosuch", "fastzero db backup list"),
    ("-p onee status", 3, "project onee has no stack yet", "-p one?"),
    ("-p onee logs", 3, "project onee has no stack yet", "-p one?"),
    ("-p onee db url", 3, "project onee has no stack yet", "DATABASE_URL"),
    ("-p zzz todo list", 3, "project zzz has no stack yet", "fastzero -p zzz up"),
    # what is not possible
    ("todo purge 1 --yes", 4, "not in the trash: 1", "fastzero todo trash"),
    ("user rm ana", 2, "Confirmation is required", "--yes"),
    ("db reset", 2, "Confirmation is required", "--yes"),
    ("secret rotate --database --revoke", 2, "--revoke", ""),
]


@pytest.fixture
def project(database: str, ana: User) -> None:
    """A project named `one`, and a todo in the database that DATABASE_URL names."""
    import os

    Project("one", Path(os.environ["FASTZERO_HOME"])).save(ProjectRecord("embedded"))
    with FastZero(database) as fz:
        fz.todos(ana).add("one")


@pytest.mark.parametrize(("line", "code", "error", "hint"), TYPED, ids=[line for line, *_ in TYPED])
def test_a_mistake_is_answered_with_what_to_type(
    line: str, code: int, error: str, hint: str, project: None, fastzero: Run
) -> None:
    result = fastzero(*line.split(), stdin="correct horse\n")
    assert (result.code, result.out) == (code, ""), result.err
    assert result.err.startswith("Error: ")
    assert "Traceback" not in result.err
    first, _, rest = result.err.partition("\nHint: ")
    assert error in first
    assert hint in rest


def test_there_are_sixty_of_them() -> None:
    assert len(TYPED) >= 75


@pytest.mark.parametrize("group", ALIASES)
def test_an_alias_is_no_command_and_means_one(group: str) -> None:
    for word, ours in ALIASES[group].items():
        assert f"{group} {word}".strip() not in COMMANDS, word
        command = ROOT
        for part in ours.split():
            if part.startswith("-") or not hasattr(command, "commands"):
                break
            command = command.commands[part]


# -- where a value comes from ----------------------------------------------------------------------------------


def test_a_bad_value_of_the_environment_names_the_variable(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTZERO_OUTPUT", "yaml")
    assert fastzero("ls").err.startswith("Error: invalid FASTZERO_OUTPUT: 'yaml'\nHint: Use one of: table")


def test_a_bad_value_of_a_file_names_the_line(fastzero: Run) -> None:
    Path("fastzero.toml").write_text('project = "one"\n\ncolor = "blue"\n')
    assert fastzero("ls").err.startswith("Error: invalid fastzero.toml:3: color: 'blue'\n")
    Path("fastzero.toml").unlink()
    Path(".env").write_text("# a comment\nFASTZERO_COLOR=blue\n")
    assert fastzero("ls").err.startswith("Error: invalid .env:2: FASTZERO_COLOR: 'blue'\n")


def test_an_unknown_key_names_the_nearest_and_its_line(fastzero: Run) -> None:
    Path("fastzero.toml").write_text('project = "one"\ndatabse_port = 5433\n')
    result = fastzero("ls")
    assert result.code == 2
    assert result.err.startswith("Error: fastzero.toml:2: unknown key 'databse_port'\n")
    assert "\nHint: Did you mean database_port?\n" in result.err


def test_a_broken_file_names_its_line(fastzero: Run) -> None:
    Path("fastzero.toml").write_text("project = [\n")
    result = fastzero("ls")
    assert result.code == 2
    assert "fastzero.toml is not valid TOML" in result.err
    assert "line 2" in result.err or "line 1" in result.err or "end of document" in result.err


# -- hints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["-p", "zzz", "todo", "list"], ["todo", "list", "--project=zzz"]])
def test_a_hint_carries_the_project_that_was_given(words: list[str], fastzero: Run) -> None:
    assert "fastzero -p zzz up" in fastzero(*words).err


def test_a_hint_carries_it_for_programs_too(fastzero: Run) -> None:
    hint = json.loads(fastzero("-p", "zzz", "todo", "list", "-o", "json").err)["error"]["hint"]
    assert "fastzero -p zzz up" in hint


def test_a_database_that_is_away_is_named(fastzero: Run) -> None:
    result = fastzero("todo", "list", "--database-url", "postgresql://me:s3cret@127.0.0.1:1/db")
    assert result.code == 6
    assert "Hint: Check that PostgreSQL runs at 127.0.0.1:1, or correct --database-url\n" in result.err
    assert "s3cret" not in result.err


def test_one_of_the_environment_is_named_too(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/db")
    assert "or correct DATABASE_URL\n" in fastzero("todo", "list").err


# -- standard input --------------------------------------------------------------------------------------------


def test_a_line_that_is_not_utf_8_is_named(ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "add", "-", stdin="good\nbad \udcff\n")
    assert result.code == 2
    assert result.err.startswith("Error: line 2 is not UTF-8\n")


def test_empty_standard_input_is_told(ana: User, fastzero: Run) -> None:
    result = fastzero("todo", "add", "-", terminal=80)
    assert (result.code, result.err) == (0, "Nothing to do: standard input was empty.\n")


# -- at a terminal ---------------------------------------------------------------------------------------------


def test_a_no_is_exit_1(database: str, ana: User) -> None:
    with Terminal("user", "rm", "ana") as terminal:
        terminal.wait_for("[y/N]: ")
        terminal.type("n\n")
        assert terminal.end().code == 1


def test_a_short_password_is_asked_for_again_with_its_rule(database: str) -> None:
    with Terminal("user", "add", "bob", "-e", "bob@example.com") as terminal:
        terminal.wait_for("Use 8 to 128 characters")
        terminal.wait_for("Password: ")
        terminal.type("short\n")
        terminal.wait_for("password has 5 characters")
        terminal.wait_for("Password: ")
        terminal.type("correct horse\n")
        terminal.wait_for("Repeat for confirmation: ")
        terminal.type("correct horse\n")
        assert terminal.end().code == 0


def test_after_three_bad_passwords_it_gives_up(database: str) -> None:
    with Terminal("user", "add", "bob", "-e", "bob@example.com") as terminal:
        for _ in range(3):
            terminal.wait_for("Password: ")
            terminal.type("short\n")
        assert terminal.end().code == 2


def test_projects_that_do_not_run_are_counted(project: None, fastzero: Run) -> None:
    result = fastzero("ls", terminal=80)
    assert (result.code, result.out) == (0, "")
    assert "1 project not running: fastzero ls -a" in result.err


@pytest.mark.skipif(not shutil.which("sh"), reason="there is no shell")
def test_ctrl_c_during_completion_is_silent(fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("_FASTZERO_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "fastzero -p ")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setattr("fastzero_core.project.projects", interrupted)
    result = fastzero()
    assert (result.code, result.out, result.err) == (130, "", "")
