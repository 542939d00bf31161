"""The stack's commands, as a shell runs them, on both runtimes."""

import json
import os
import pty
import re
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from fastzero_core.polling import wait_until
from tests import forked
from tests.ports import any_free_port
from tests.stack.conftest import new_home

pytestmark = pytest.mark.slow

FASTZERO = [sys.executable, "-m", "fastzero_cli"]
PATIENCE = 120


@dataclass(frozen=True)
class Shell:
    """One project, and a shell in its environment."""

    home: Path
    project: str
    runtime: str
    ports: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        named = {"home": str(self.home), "project": self.project, "runtime": self.runtime, "app": "true", **self.ports}
        return {**os.environ, **{f"FASTZERO_{name.upper()}": value for name, value in named.items()}}

    def run(self, *words: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = forked.run(
            [*FASTZERO, *words],
            input=text,
            capture_output=True,
            text=True,
            env={**self.environment, **environment},
            timeout=PATIENCE,
        )
        return done

    def out(self, *words: str, text: str = "") -> str:
        done = self.run(*words, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *words: str) -> subprocess.Popen[str]:
        return forked.Popen(
            [*FASTZERO, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def services(self) -> dict[str, Any]:
        return {service["service"]: service for service in json.loads(self.out("status", "-o", "json"))}


@pytest.fixture(scope="module", params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """A project that is up, with a user and a todo."""
    with new_home() as home:
        ports = {"database_port": str(any_free_port()), "app_port": str(any_free_port())}
        shell = Shell(home, f"cli-{secrets.token_hex(5)}", request.param, ports)
        try:
            shell.out("up")
            shell.out("user", "add", "ana", "-e", "ana@example.com", "--password-stdin", text="correct horse\n")
            shell.out("todo", "add", "Olá — café ✓", "-u", "ana")
            yield shell
        finally:
            shell.run("down", "--volumes", "--yes")


# -- exec ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["tsv", "json", "csv"])
def test_the_same_command_prints_the_same_inside_and_outside(shell: Shell, output: str) -> None:
    command = ["todo", "list", "-u", "ana", "-o", output]
    outside = shell.out(*command)
    assert "café ✓" in outside
    assert shell.out("exec", "app", "--", "fastzero", *command) == outside


@pytest.mark.parametrize("code", [0, 1, 7, 130, 255])
def test_the_exit_code_is_passed_on(shell: Shell, code: int) -> None:
    assert shell.run("exec", "app", "--", "sh", "-c", f"exit {code}").returncode == code


def test_a_command_ended_by_a_signal_has_the_exit_code_that_a_shell_gives_it(shell: Shell) -> None:
    assert shell.run("exec", "app", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_standard_input_is_handed_on_to_its_end(shell: Shell) -> None:
    text = "é\n" * 50_000
    assert shell.out("exec", "app", "--", "cat", text=text) == text


def test_the_two_streams_stay_apart(shell: Shell) -> None:
    done = shell.run("exec", "app", "--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_options_behind_the_dashes_are_the_command_s(shell: Shell) -> None:
    assert shell.out("exec", "app", "--", "echo", "-p", "--help", "-o") == "-p --help -o\n"


def test_psql_reaches_the_database(shell: Shell) -> None:
    assert (
        shell.out("exec", "database", "--", "psql", "-U", "fastzero", "-Atc", "SELECT username FROM users") == "ana\n"
    )


def test_the_app_is_the_stack_s_whatever_the_environment_names(shell: Shell) -> None:
    command = ["exec", "app", "--", "fastzero", "user", "list", "-o", "ids"]
    done = shell.run(*command, DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_a_command_that_there_is_not_is_an_error(shell: Shell) -> None:
    done = shell.run("exec", "app", "--", "nonsense")
    hint = "Hint: Check its name, and that it is installed where the service runs\n"
    more = "More: fastzero docs command_not_found\n"
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"Error: command 'nonsense' not found\n{hint}{more}"


@pytest.mark.parametrize(("file", "code"), [("/etc/passwd", 126), ("/nowhere/program", 127), ("/etc/passwd/x", 127)])
def test_a_file_that_is_no_program_has_the_exit_code_that_a_shell_gives_it(shell: Shell, file: str, code: int) -> None:
    done = shell.run("exec", "app", "--", file)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"Error: command '{file}' ")


def test_what_a_command_says_is_its_own_even_if_an_engine_would_say_so(shell: Shell) -> None:
    script = "echo OCI runtime exec failed: no such file or directory; exit 127"
    done = shell.run("exec", "app", "--", "sh", "-c", script)
    assert (done.returncode, done.stderr) == (127, "")
    assert done.stdout == "OCI runtime exec failed: no such file or directory\n"


def test_a_service_that_there_is_not_is_invalid_input(shell: Shell) -> None:
    done = shell.run("exec", "nothing", "--", "true")
    assert done.returncode == 2
    assert "database, app" in done.stderr


def test_at_a_terminal_the_command_has_one_too(shell: Shell) -> None:
    code, said = at_a_terminal(
        shell, "exec", "app", "--", "sh", "-c", "test -t 0 && test -t 1 && echo a terminal; exit 3"
    )
    assert "a terminal" in said
    assert code == 3


def at_a_terminal(shell: Shell, *words: str) -> tuple[int, str]:
    screen, keyboard = pty.openpty()
    process = subprocess.Popen(
        [*FASTZERO, *words], stdin=keyboard, stdout=keyboard, stderr=keyboard, env=shell.environment
    )
    os.close(keyboard)
    said = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and select.select([screen], [], [], PATIENCE)[0]:
        try:
            data = os.read(screen, 4096)
        except OSError:  # how a pseudo terminal says that its other end is closed
            break
        said += data
    os.close(screen)
    return process.wait(), said.decode()


# -- logs ------------------------------------------------------------------------------------------------------


def test_the_logs_of_a_service_are_its_own(shell: Shell) -> None:
    done = shell.run("logs", "app")
    assert "Application startup complete." in done.stdout
    assert "PostgreSQL" not in done.stdout + done.stderr


def test_tail_gives_the_last_lines(shell: Shell) -> None:
    done = shell.run("logs", "app", "--tail", "2", "-o", "json")
    assert len(done.stdout.splitlines()) in (2, 4)  # of each stream, where they are files of their own


@pytest.mark.parametrize(
    ("since", "some"), [("1h", True), ("2000-01-01T00:00:00Z", True), ("2999-01-01T00:00:00Z", False)]
)
def test_since_leaves_out_what_was_before(shell: Shell, since: str, some: bool) -> None:
    assert bool(shell.run("logs", "app", "--since", since).stdout) is some


def test_a_time_that_is_none_is_invalid_input(shell: Shell) -> None:
    done = shell.run("logs", "--since", "yesterday")
    assert done.returncode == 2
    assert "invalid time 'yesterday'" in done.stderr


@pytest.mark.parametrize("command", [["logs", "-f"], ["status", "--watch"]])
def test_ctrl_c_ends_what_goes_on_for_ever(shell: Shell, command: list[str]) -> None:
    process = shell.start(*command)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said


def test_follow_goes_on_with_what_comes(shell: Shell, folder: Path) -> None:
    followed = folder / "followed"
    with followed.open("w") as file:
        process = subprocess.Popen(
            [*FASTZERO, "logs", "app", "-f", "--all"], stdout=file, stderr=file, env=shell.environment
        )
    # Once it has said what there was, it follows.
    assert wait_until(lambda: "startup complete" in followed.read_text(), 30)
    before = followed.read_text().count("GET /healthz")

    def hears() -> bool:
        shell_request(shell)
        return followed.read_text().count("GET /healthz") > before

    assert wait_until(hears, 30, every=0.2)
    process.send_signal(signal.SIGINT)
    process.wait(30)


def shell_request(shell: Shell) -> None:
    import urllib.request

    urllib.request.urlopen(f"http://127.0.0.1:{shell.ports['app_port']}/healthz", timeout=10).close()


# -- status, ls, env, restart, doctor, export ------------------------------------------------------------------


def test_status_has_a_line_for_each_service(shell: Shell) -> None:
    services = shell.services()
    assert {name: service["state"] for name, service in services.items()} == {"database": "running", "app": "running"}
    assert services["database"]["revision"]
    assert services["app"]["address"] == f"127.0.0.1:{shell.ports['app_port']}"
    assert all(service["started_at"] for service in services.values())


def test_watch_shows_it_again_and_again(shell: Shell) -> None:
    process = shell.start("status", "--watch")
    assert process.stdout is not None
    lines = [process.stdout.readline().split("\t")[0] for _ in range(4)]
    assert lines == ["database", "app", "database", "app"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_ls_shows_what_runs_and_all_shows_the_rest(shell: Shell) -> None:
    resting = {"FASTZERO_PROJECT": f"{shell.project}-2", "FASTZERO_DATABASE_PORT": str(any_free_port())}
    assert shell.run("up", "--no-app", **resting).returncode == 0
    assert shell.run("down", **resting).returncode == 0
    try:
        names = [line.split("\t")[0] for line in shell.out("ls").splitlines()]
        assert names == [shell.project]
        names = [line.split("\t")[0] for line in shell.out("ls", "--all").splitlines()]
        assert names == [shell.project, f"{shell.project}-2"]
    finally:
        shell.run("down", "--volumes", "--yes", **resting)


def test_env_is_what_a_shell_can_evaluate(shell: Shell) -> None:
    exported = subprocess.run(
        ["sh", "-c", f'{shell.out("env", "--format", "shell")}\nprintf %s "$DATABASE_URL"'],
        capture_output=True,
        text=True,
    )
    with psycopg.connect(exported.stdout) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_env_is_the_same_in_every_format(shell: Shell) -> None:
    variables = json.loads(shell.out("env", "--format", "json"))
    assert dict(line.split("=", 1) for line in shell.out("env", "--format", "dotenv").splitlines()) == variables
    libpq = {"PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGREQUIREAUTH"}
    assert {"DATABASE_URL", *libpq} == variables.keys()


def test_a_format_that_is_none_is_invalid_input(shell: Shell) -> None:
    assert shell.run("env", "--format", "xml").returncode == 2


def test_a_restart_of_one_service_leaves_the_other(shell: Shell) -> None:
    before = shell.services()
    shell.out("restart", "app")
    after = shell.services()
    assert after["app"]["pid"] != before["app"]["pid"]
    assert after["database"]["pid"] == before["database"]["pid"]


def test_doctor_finds_nothing_wrong(shell: Shell) -> None:
    done = shell.run("doctor", "-o", "json")
    assert done.returncode == 0, done.stdout
    assert {finding["result"] for finding in json.loads(done.stdout)} == {"ok"}


def test_doctor_fails_with_8_and_repairs_with_fix(shell: Shell) -> None:
    url = json.loads(shell.out("env", "--format", "json"))["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE fastzero PASSWORD 'another'")
    found = shell.run("doctor")
    repaired = shell.run("doctor", "--fix")
    assert (found.returncode, repaired.returncode) == (8, 0)
    assert re.search(r"^password\tfailed\t.*doctor --fix", found.stdout, re.MULTILINE)
    assert re.search(r"^password\tfixed\t", repaired.stdout, re.MULTILINE)
    assert shell.out("up", "--dry-run") == ""


def test_export_compose_is_for_what_runs_in_containers(shell: Shell) -> None:
    done = shell.run("export", "compose")
    if shell.runtime == "docker":
        assert yaml.safe_load(done.stdout)["services"].keys() == {"database", "app"}
    else:
        assert (done.returncode, done.stdout) == (2, "")
        assert "--runtime docker" in done.stderr


def test_down_all_stops_every_project(shell: Shell) -> None:
    other = {"FASTZERO_PROJECT": f"{shell.project}-3", "FASTZERO_DATABASE_PORT": str(any_free_port())}
    try:
        assert shell.run("up", "--no-app", **other).returncode == 0
        shell.out("down", "--all")
        assert shell.out("ls") == ""
    finally:
        shell.run("down", "--volumes", "--yes", **other)
        shell.out("up")
