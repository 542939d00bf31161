"""The same operations by each way: their results, their errors, and the rows that they leave are equal."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from fastzero_core.testing import Databases
from tests.api.conftest import serve_app as serve_app
from tests.cli.conftest import Run
from tests.cli.conftest import fastzero as fastzero
from tests.cli.shell import Result
from tests.cli.test_parity import rows_of
from tests.stack.conftest import Contained, new_project
from tests.stack.conftest import app_image as app_image
from tests.stack.conftest import engine as engine

from . import account_operations, operations, ways
from .operations import PASSWORD, seed
from .ways import Step, Way

Open = Callable[[str, str], Way]
CASES = operations.CASES | account_operations.CASES
TABLES = ("users", "lists", "list_members", "todos", "todo_tags", "todo_history", "calendars")
HAS: dict[str, Callable[[Step], Any]] = {
    "async library": lambda step: True,
    "shell": lambda step: step.words,
    "http": lambda step: step.request,
}


@pytest.fixture
def new_database(fastzero_databases: Databases) -> Iterator[Callable[[], str]]:
    """A database with the todos of SEED."""
    with ExitStack() as stack:

        def make() -> str:
            url = stack.enter_context(fastzero_databases.temporary())
            seed(url)
            return url

        yield make


@pytest.fixture
def open_way(fastzero: Run, serve_app: Callable[..., Any]) -> Open:
    def way_of(name: str, url: str) -> Way:
        match name:
            case "async library":
                return ways.async_library(url)
            case "shell":
                return ways.shell(url, fastzero)
        client = serve_app(url)
        return ways.http(client, {user: client.token(user, PASSWORD) for user in ("ana", "bob")})

    return way_of


def told(way: Way, steps: list[Step], name: str) -> list[str]:
    """What a way says to each step; where HTTP tells less, what is compared with it says only that, too."""
    said = [way(step).decode() for step in steps]
    if name != "http":
        return said
    return [_told_by_http(step, text) for step, text in zip(steps, said, strict=True)]


def _told_by_http(step: Step, text: str) -> str:
    said = json.loads(text)
    if step.beyond:
        return str(said["status"])
    if not step.only or (isinstance(said, dict) and "status" in said):
        return text
    each = said if isinstance(said, list) else [said]
    return str([{name: one[name] for name in step.only if name in one} for one in each])


def changed_rows(url: str) -> Any:
    """All rows that an operation may have changed, without secrets."""
    rows = rows_of(url)
    return {name: [_without_secrets(row) for row in rows[name]] for name in TABLES}


def _without_secrets(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"password_hash", "token_hash"}}


@pytest.mark.parametrize("name", ["async library", "shell", "http"])
@pytest.mark.parametrize("case", CASES)
def test_each_way_does_and_says_what_the_library_does(
    case: str, name: str, new_database: Callable[[], str], open_way: Open
) -> None:
    steps = [step for step in CASES[case] if HAS[name](step)]
    if not steps:
        pytest.skip(f"{name} has none of it")
    own, others = new_database(), new_database()
    assert told(open_way(name, own), steps, name) == told(ways.library(others), steps, name)
    assert changed_rows(own) == changed_rows(others)


@pytest.fixture(scope="module")
def containers(engine: Any, app_image: str) -> Iterator[Contained]:
    """A project whose database and app run in containers."""
    with new_project(engine) as project:
        project.stack(app=True).up()
        yield project


# Each command is a process of its own, a copy of one that has everything imported: see `tests.forked`.
EACH_STEP = """
import json, os, sys
import fastzero_cli.todo, fastzero_core.settings, fastzero_core.todo_app.fastzero, psycopg
from fastzero_cli.__main__ import run

told = []
for number in range(int(sys.argv[1])):
    words, typed = json.loads(os.environ[f"STEP_{number}"])
    stdin, stdout, stderr = streams = [os.memfd_create("stream") for _ in range(3)]
    os.write(stdin, typed.encode())
    pid = os.fork()
    if not pid:
        for descriptor, stream in enumerate(streams):
            os.lseek(stream, 0, os.SEEK_SET)
            os.dup2(stream, descriptor)
        sys.argv = ["fastzero", *words]
        sys.exit(run())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    told.append([code, *(os.pread(stream, 2**24, 0).decode() for stream in (stdout, stderr))])
json.dump(told, sys.stdout)
"""


@pytest.fixture
def in_container(containers: Contained) -> tuple[Callable[[list[Step]], list[str]], str]:
    """The shell in the container of the app, on a database with the todos of SEED, and its URL."""
    url = containers.stack(app=True).database_url
    with psycopg.connect(url) as session:
        session.execute("TRUNCATE users, todo_history RESTART IDENTITY CASCADE")
    seed(url)
    container = containers.container("app")

    def run(steps: list[Step]) -> list[str]:
        given = {
            f"STEP_{number}": json.dumps([[*(step.words or []), "-o", "json"], step.stdin])
            for number, step in enumerate(steps)
        }
        command = ["python", "-c", EACH_STEP, str(len(steps))]
        code, (out, err) = container.exec_run(command, environment=given, demux=True)
        assert code == 0, err
        return [ways.printed(Result(*each)).decode() for each in json.loads(out)]

    return run, url


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_container_s_shell_does_and_says_what_the_library_does(
    case: str, in_container: tuple[Callable[[list[Step]], list[str]], str], new_database: Callable[[], str]
) -> None:
    steps = [step for step in CASES[case] if step.words]
    run, url = in_container
    others = new_database()
    assert run(steps) == told(ways.library(others), steps, "shell")
    assert changed_rows(url) == changed_rows(others)
