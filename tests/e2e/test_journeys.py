"""From nothing to a stack with todos in it, and back."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import FastZero, Stack
from tests.cli.conftest import Run, records
from tests.cli.shell import Result, Terminal, script
from tests.revisions import HEAD

pytestmark = pytest.mark.slow

EXAMPLE = """\
from fastzero_core import FastZero, Stack


with Stack("demo").up() as stack:                  # embedded without Docker, containers with it
    with FastZero(stack.database_url) as fz:       # one block is one transaction
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
        todo = fz.todos(ana).add("Write the report", state="doing")
        fz.todos(ana).move(todo.id, to="done")
"""


def answer(*words: str, stdin: str = "") -> Any:
    """What a command says with `-o json`, having succeeded."""
    result = script(*words, "-o", "json", stdin=stdin)
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_from_nothing_to_todos_and_back(home: Path) -> None:
    (database,) = answer("up")
    assert (database["service"], database["state"], database["revision"]) == ("database", "running", HEAD)

    (ana,) = answer("user", "add", "ana", "--email", "ana@example.com", "--password-stdin", stdin="correct horse\n")
    assert ana["username"] == "ana"
    answer("todo", "add", "-", stdin="Write the report\nSend it\n")
    answer("todo", "done", "1")
    assert [(todo["id"], todo["state"]) for todo in answer("todo", "list")] == [(1, "done"), (2, "todo")]

    schema = answer("migrate", "status")
    assert schema == {"current": HEAD, "head": HEAD, "pending": [], "drift": []}

    before = script("todo", "list")
    assert answer("down")[0]["state"] == "stopped"
    gone = script("todo", "list")
    assert gone.code == 6
    assert "fastzero up" in gone.err
    assert answer("up")[0]["address"] == database["address"]
    assert script("todo", "list") == before

    assert script("down", "--volumes").code == 2
    assert answer("down", "--volumes", "--yes") == []
    assert answer("ls") == []
    assert not (home / "projects" / "fastzero").exists()
    assert script("todo", "list").code == 3


def test_up_says_why_it_does_what_and_the_second_time_nothing(home: Path) -> None:
    planned = answer("up", "--dry-run")
    done_to_services = [action["verb"] for action in planned if action["service"]]
    assert done_to_services == ["create", "start", "wait for", "migrate"]
    assert not home.exists()

    first = script("up")
    for done in ("Database created", "Database started · PostgreSQL 18", f"Schema migrated · now at {HEAD}"):
        assert re.search(rf"^✓ {done} · .*\d s$", first.err, re.MULTILINE), first.err
    assert re.search(r"^✓ Project fastzero is running · embedded · .* s$", first.err, re.MULTILINE)

    second = script("up")
    verdict = "✓ Project fastzero is running · embedded · nothing to do\n"
    assert (second.code, second.out, second.err) == (0, first.out, verdict)
    assert answer("up", "--dry-run") == []


def test_two_projects_live_side_by_side(home: Path, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTZERO_DATABASE_PORT")
    for project in ("one", "other"):
        assert fastzero("-p", project, "up", "-q").code == 0
    one, other = records(fastzero("ls", "-o", "json"))
    assert (one["project"], other["project"]) == ("one", "other")
    assert (one["state"], other["state"]) == ("running", "running")
    assert one["address"] != other["address"]

    ana = ["user", "add", "ana", "-e", "ana@example.com", "--password-stdin"]
    assert fastzero("-p", "one", *ana, stdin="correct horse\n").code == 0
    assert records(fastzero("-p", "other", "user", "list", "-o", "json")) == []

    assert fastzero("-p", "other", "down", "--volumes", "--yes", "-q").code == 0
    assert [project["project"] for project in records(fastzero("ls", "-o", "json"))] == ["one"]
    assert len(records(fastzero("-p", "one", "user", "list", "-o", "json"))) == 1


def _answer(fastzero: Run, *words: str) -> Any:
    return records(fastzero(*words, "-o", "json"))


FIELDS = {
    "status": ["service", "state", "address", "version", "revision", "pid", "started_at", "detail", "url"],
    "ls": ["project", "runtime", "state", "address", "folder"],
    "config": ["name", "value", "source", "trusted"],
    "doctor": ["code", "result", "found", "remedy"],
    "version": ["fastzero", "python", "postgresql", "head"],
    "restart": ["service", "state", "address", "version", "revision", "pid", "started_at", "detail", "url"],
}


def test_the_stack_answers_in_every_format(running: Stack, fastzero: Run) -> None:
    for command, fields in FIELDS.items():
        found = _answer(fastzero, command)
        records = found if isinstance(found, list) else [found]
        assert all(list(record) == fields for record in records), command

    for command in ("status", "version", "ls"):
        fields = FIELDS[command]
        rows = list(csv.reader(io.StringIO(fastzero(command, "-o", "csv").out)))
        assert rows[0] == fields
        assert len(fastzero(command, "-o", "tsv").out.splitlines()[0].split("\t")) == len(fields)
        assert list(json.loads(fastzero(command, "-o", "ndjson").out.splitlines()[0])) == fields
    assert fastzero("status", "-o", "ids").out == "database\n"
    assert fastzero("ls", "-o", "ids").out == "fastzero\n"


def test_a_terminal_shows_the_stack_as_a_table(running: Stack) -> None:
    with Terminal("status", columns=120) as terminal:
        result = terminal.end()
    assert result.code == 0
    assert "running" in result.out
    assert running.status()[0].address in result.out


def test_the_environment_reaches_the_database(running: Stack, fastzero: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = fastzero("env").out
    assert f"export DATABASE_URL={running.environment()['DATABASE_URL']}\n" in exported
    assert _answer(fastzero, "env") == running.environment()
    dotenv = fastzero("env", "--format", "dotenv").out
    assert dict(line.split("=", 1) for line in dotenv.splitlines()) == running.environment()
    assert fastzero("env", "--format", "xml").code == 2

    for line in dotenv.splitlines():
        monkeypatch.setenv(*line.split("=", 1))
    monkeypatch.setenv("FASTZERO_PROJECT", "elsewhere")
    assert _answer(fastzero, "migrate", "status")["current"] == HEAD


def test_no_password_is_shown_where_none_was_asked_for(running: Stack, fastzero: Run) -> None:
    secret = running.environment()["PGPASSWORD"]
    for words in (["status"], ["ls"], ["config"], ["doctor"], ["logs"], ["up"], ["restart"]):
        result = fastzero(*words, "-o", "json")
        assert secret not in result.out + result.err, words


def test_logs_come_with_their_stream_and_their_last_lines(running: Stack, fastzero: Run) -> None:
    logs = fastzero("logs")
    assert logs.code == 0
    assert "database system is ready to accept connections" in logs.out
    assert logs.err == ""
    lines = [json.loads(line) for line in fastzero("logs", "-o", "json").out.splitlines()]
    assert {line["service"] for line in lines} == {"database"}
    assert len(fastzero("logs", "database", "--tail", "1").out.splitlines()) == 1
    assert fastzero("logs", "nothing").code == 2


def test_ctrl_c_ends_a_log_that_is_followed(running: Stack) -> None:
    with Terminal("logs", "-f") as terminal:
        terminal.wait_for("ready to accept connections")
        terminal.interrupt()
        result = terminal.end()
    assert result.code == 130
    assert "Traceback" not in result.out
    assert running.status()[0].state == "running"


def test_restart_is_another_process_with_the_same_data(running: Stack, fastzero: Run) -> None:
    with FastZero(running.database_url) as fz:
        ana = fz.users.add("ana", email="ana@example.com", password="correct horse")
    before = running.status()[0].pid
    (after,) = _answer(fastzero, "restart", "database")
    assert after["pid"] != before
    assert _answer(fastzero, "user", "show", "ana")["id"] == ana.id
    assert fastzero("restart", "nothing").code == 2


def test_an_up_with_nothing_to_do_loads_neither_sqlalchemy_nor_alembic(running: Stack) -> None:
    from tests.cli.test_laziness import loaded

    assert loaded("up") & {"sqlalchemy", "alembic", "docker", "rich"} == set()


def test_down_asks_before_it_destroys(running: Stack) -> None:
    with Terminal("down", "--volumes") as terminal:
        terminal.wait_for("Project fastzero will be permanently deleted")
        terminal.type("n\n")
        assert terminal.end().code == 1
    assert running.status()[0].state == "running"


def test_where_there_is_no_stack_every_command_says_so(home: Path, fastzero: Run) -> None:
    for words in (["logs"], ["restart"], ["env"], ["todo", "list"], ["migrate"]):
        result = fastzero(*words)
        assert result.code == 3, words
        assert "fastzero up" in result.err
    assert fastzero("status") == Result(0, "", "")
    assert fastzero("down") == Result(0, "", "Nothing to do: project fastzero is not running.\n")
    assert not (home / "projects").exists()


def test_doctor_is_content_with_a_stack_that_runs(running: Stack, fastzero: Run) -> None:
    findings = {finding["code"]: finding for finding in _answer(fastzero, "doctor")}
    assert findings["database"]["result"] == "ok"
    assert {finding["result"] for finding in findings.values()} <= {"ok", "warning"}
    assert re.search(rf"at head \({HEAD}\)", findings["schema"]["found"])


def test_the_first_up_tells_of_an_application_that_is_not_described(home: Path) -> None:
    Path("requirements.txt").write_text("fastapi\n")
    first = script("up", "--no-app")
    warning = "Warning: the built-in application runs, not the one of this folder (fastapi in requirements.txt)."
    assert first.err.splitlines()[-1] == f"{warning} Run it: fastzero init"
    assert "Warning" not in script("up").err
