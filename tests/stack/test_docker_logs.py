"""Logs come as they were written, each line on its stream; `execute` is the command itself, but for where it runs."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pytest

from fastzero_core import FastZero
from fastzero_core.errors import ConflictError, InvalidInputError, UnhealthyError
from fastzero_core.stack.docker.runtime import DockerRuntime
from fastzero_core.stack.lines import LogLine

from .conftest import Contained, add_user, new_project

pytestmark = pytest.mark.docker

WRITES = """
import sys, time
def line(stream, text):
    stream.write(text)
    stream.flush()
    time.sleep(0.02)
line(sys.stdout, "one\\n")
line(sys.stderr, "two: olá ✓\\n")
line(sys.stdout, "\\n")
line(sys.stdout, "é" * 20_000 + "\\n")
line(sys.stderr, "bro")
line(sys.stderr, "ken\\n")
line(sys.stdout, "no end")
"""
WRITTEN = [
    ("stdout", "one"),
    ("stderr", "two: olá ✓"),
    ("stdout", ""),
    ("stdout", "é" * 20_000),
    ("stderr", "broken"),
    ("stdout", "no end"),
]
EXEC = [sys.executable, "-m", "fastzero_cli", "exec"]


@pytest.fixture(scope="module")
def writer(engine: Any, app_image: str) -> Iterator[DockerRuntime]:
    """The runtime of a project whose app has written certain lines, and ended."""
    with new_project(engine) as project:
        labels = {"fastzero.project": project.project, "fastzero.service": "app"}
        container = engine.containers.create(
            app_image, entrypoint=["python", "-c", WRITES], command=[], name=project.name("app"), labels=labels
        )
        container.start()
        container.wait()
        yield DockerRuntime(project.stack().project)


def read(runtime: DockerRuntime, **options: Any) -> list[tuple[str, str]]:
    given: dict[str, Any] = {"tail": None, "follow": False, "since": None, **options}
    return [(line.stream, line.text) for line in runtime.logs(["app"], **given)]


def test_each_line_is_on_its_stream_whole_and_in_order(writer: DockerRuntime) -> None:
    assert read(writer) == WRITTEN


@pytest.mark.parametrize("tail", [0, 1, 2, 100])
def test_the_tail_is_of_both_streams_together(tail: int, writer: DockerRuntime) -> None:
    assert read(writer, tail=tail) == (WRITTEN[-tail:] if tail else [])


def test_since_a_time_after_the_last_line_there_is_nothing(writer: DockerRuntime) -> None:
    assert read(writer, since=datetime.now(UTC)) == []


def test_since_a_time_before_the_first_line_there_is_everything(writer: DockerRuntime) -> None:
    assert read(writer, since=datetime(2020, 1, 1, tzinfo=UTC)) == WRITTEN


def test_following_what_has_ended_ends(writer: DockerRuntime) -> None:
    assert read(writer, follow=True) == WRITTEN


def test_following_goes_on_with_what_comes(served: Contained) -> None:
    stack = served.stack(app=True)
    lines = stack.logs("database", follow=True)
    next(lines)
    trigger = "SELECT 1/0 AS a_line_to_follow"
    subprocess.run(
        [*EXEC, "database", "--", "psql", "-c", trigger],
        env=served.environment(),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )

    found = next(line for line in lines if "a_line_to_follow" in line.text)

    assert (found.service, found.stream) == ("database", "stderr")


def test_following_says_nothing_twice(served: Contained) -> None:
    stack = served.stack(app=True)
    so_far = list(stack.logs("database"))

    again = list(islice(stack.logs("database", follow=True), len(so_far)))

    assert again == so_far


def test_what_violates_a_constraint_is_not_in_the_databases_log(served: Contained) -> None:
    url = served.stack(app=True).database_url
    with FastZero(url) as fz:
        fz.users.add("logged", email="logged@private.example", password="correct horse")
    with pytest.raises(ConflictError), FastZero(url) as fz:
        fz.users.add("other", email="Logged@private.example", password="correct horse")

    log = "\n".join(line.text for line in served.stack(app=True).logs("database"))
    assert "uq_users_email" in log
    assert "private" not in log


def test_the_logs_of_all_services_are_told_apart(served: Contained) -> None:
    lines: list[LogLine] = list(served.stack(app=True).logs())

    assert {line.service for line in lines} == {"database", "app"}


# -- execute ---------------------------------------------------------------------------------------------------


def run(served: Contained, service: str, *command: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = served.environment(app="true")
    given = {"capture_output": True, "env": environment, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([*EXEC, service, "--", *command], **given)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_the_commands(code: int, served: Contained) -> None:
    assert run(served, "app", "python", "-c", f"raise SystemExit({code})").returncode == code


def test_stdout_and_stderr_stay_apart(served: Contained) -> None:
    done = run(served, "database", "sh", "-c", "echo out; echo err >&2")

    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_what_is_piped_in_reaches_the_command_with_its_end(served: Contained) -> None:
    content = os.urandom(300_000)

    done = run(served, "database", "cat", stdin=None, input=content)

    assert done.stdout == content


def test_a_command_that_reads_nothing_does_not_wait_for_input(served: Contained) -> None:
    done = run(served, "app", "true", stdin=None, input=b"x" * 1_000_000)

    assert done.returncode == 0


def test_todo_list_inside_equals_todo_list_outside(served: Contained) -> None:
    stack = served.stack(app=True)
    add_user(stack, "bea")
    with FastZero(stack.database_url) as fz:
        fz.todos(fz.users.get("bea")).add("Write the report — olá ✓")
    command = ["fastzero", "todo", "list", "-u", "bea"]

    inside = run(served, "app", *command)
    outside = subprocess.run(
        [sys.executable, "-m", "fastzero_cli", *command[1:]], capture_output=True, env=served.environment(app="true")
    )

    assert inside.stdout == outside.stdout
    assert "Write the report — olá ✓".encode() in inside.stdout


def test_with_a_terminal_the_command_has_one_too(served: Contained) -> None:
    master, slave = pty.openpty()
    code = "import sys; print(sys.stdin.isatty(), sys.stdout.isatty()); print('heard', input())"
    process = subprocess.Popen(
        [*EXEC, "app", "--", "python", "-c", code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=served.environment(app="true"),
    )
    os.close(slave)

    assert b"True True" in read_until(master, b"True True\r\n")
    os.write(master, b"typed\r")
    assert b"heard typed" in read_until(master, b"heard typed")
    assert process.wait() == 0
    os.close(master)


def read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows up to that text, or to its end."""
    said = b""
    with suppress(OSError):  # the last one let go of the terminal
        while text not in said and (more := os.read(terminal, 4096)):
            said += more
    return said


def test_an_unknown_command_is_said_to_be_unknown(served: Contained) -> None:
    done = run(served, "app", "no-such-program")

    assert done.returncode in (126, 127)
    assert b"no-such-program" in done.stdout + done.stderr


def test_a_service_that_does_not_run_executes_nothing(contained: Contained) -> None:
    stack = contained.stack().up()
    stack.down()

    with pytest.raises(UnhealthyError, match="database is not running"):
        stack.execute("database", ["true"])


def test_an_unknown_service_is_refused(served: Contained) -> None:
    with pytest.raises(InvalidInputError, match="'cache' is not one of database, app"):
        served.stack(app=True).execute("cache", ["true"])
