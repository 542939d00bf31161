"""The signing key of a stack is changed while its app runs: no token ends early, and no request is refused."""

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fastzero_core import FastZero, Stack, load_settings
from fastzero_core.errors import ProjectNotFoundError
from fastzero_core.polling import wait_until
from fastzero_core.todo_app.tokens import RELOAD_INTERVAL, parse_keys
from tests.api.client import PATIENCE, Client
from tests.ports import any_free_port

from .conftest import Contained, RunPython, Template, add_user, users_of

PASSWORD = "correct horse"
KILLED_AT = """
import os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import ActionDone, ActionStarted
moment = ActionStarted if sys.argv[1] == "before" else ActionDone
def note(event):
    if isinstance(event, moment) and str(event.action).startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
Stack(on_event=note).rotate_database_passwords()
"""
MOMENTS = [
    ("after", "create secret superuser_password.next"),
    ("before", "set role postgres"),
    ("after", "set role postgres"),
    ("after", "set secret superuser_password"),
    ("after", "set role fastzero"),
    ("after", "set secret database_password"),
    ("after", "remove secret superuser_password.next"),
]
IN_CONTAINERS = [
    ("after", "set role postgres"),
    ("after", "set role fastzero"),
    ("before", "fill secrets"),
]


@pytest.fixture
def embedded(home: Path, free_port: int, template: Template) -> Iterator[Stack]:
    template.copy_to(home, free_port)
    stack = Stack(load_settings(project="demo", app=True, app_port=any_free_port(), workers=2))
    yield stack.up()
    stack.down()


@pytest.fixture
def in_containers(served: Contained) -> Stack:
    return served.stack(app=True)


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.slow),
        pytest.param("in_containers", marks=pytest.mark.docker),
    ]
)
def stack(request: pytest.FixtureRequest) -> Stack:
    stack: Stack = request.getfixturevalue(request.param)
    return stack


def client_of(stack: Stack) -> Client:
    record = stack.project.record
    assert record is not None
    return Client(record.ports["app"])


def key_of(token: str) -> str:
    import jwt

    return str(jwt.get_unverified_header(token)["kid"])


def new_user(stack: Stack) -> str:
    name = f"user-{secrets.token_hex(6)}"
    with FastZero(stack.database_url) as fz:
        fz.users.add(name, email=f"{name}@example.com", password=PASSWORD)
    return name


def test_tokens_of_before_and_after_a_rotation_are_accepted_all_the_time(stack: Stack) -> None:
    api = client_of(stack)
    before = api.token(new_user(stack))
    statuses: list[int] = []
    end = threading.Event()

    def ask() -> None:
        token = before
        while not end.is_set():
            statuses.append(api.get("/todos/", before).status)
            answer = api.post("/auth/refresh_token", token=token)
            statuses.append(answer.status)
            token = answer.json.get("access_token", token)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert wait_until(lambda: len(statuses) > 10, PATIENCE)
        until = stack.rotate_signing_key()
        current = parse_keys(stack.project.secret("secret_key"))[0].id

        def is_new() -> bool:
            return key_of(api.post("/auth/refresh_token", token=before).json["access_token"]) == current

        assert wait_until(is_new, PATIENCE)
        seen = len(statuses)
        assert wait_until(lambda: len(statuses) > seen + 20, PATIENCE)
    finally:
        end.set()
        asking.join()
    assert until is not None
    assert set(statuses) == {200}


def test_a_rotation_that_revokes_ends_every_token(stack: Stack) -> None:
    api = client_of(stack)
    name = new_user(stack)
    before = api.token(name)
    assert stack.rotate_signing_key(revoke=True) is None
    assert wait_until(lambda: api.get("/todos/", before).status == 401, PATIENCE + RELOAD_INTERVAL)
    # Another worker may sign with the revoked key until it looks at the file again.
    assert wait_until(lambda: api.get("/todos/", api.token(name)).status == 200, RELOAD_INTERVAL + PATIENCE)


def test_a_rotated_key_stays_after_a_restart(stack: Stack) -> None:
    api = client_of(stack)
    before = api.token(new_user(stack))
    stack.rotate_signing_key()
    stack.restart("app")
    assert api.get("/todos/", before).status == 200


def test_the_app_goes_on_serving_while_the_database_s_passwords_are_rotated(stack: Stack) -> None:
    api = client_of(stack)
    token = api.token(new_user(stack))
    before = stack.project.passwords()
    statuses: list[int] = []
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            statuses.append(api.get("/todos/", token).status)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert wait_until(lambda: len(statuses) > 10, PATIENCE)
        for _ in range(2):
            stack.rotate_database_passwords()
        seen = len(statuses)
        assert wait_until(lambda: len(statuses) > seen + 20, PATIENCE)
    finally:
        end.set()
        asking.join()
    assert set(statuses) == {200}
    after = stack.project.passwords()
    assert {role for role in after if after[role] != before[role]} == {"postgres", "fastzero"}


def test_a_new_login_of_the_app_is_with_the_rotated_password(stack: Stack) -> None:
    api = client_of(stack)
    token = api.token(new_user(stack))
    stack.rotate_database_passwords()
    with psycopg.connect(stack.superuser_url) as session:
        session.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'fastzero'")

    assert wait_until(lambda: api.get("/todos/", token).status == 200, PATIENCE)  # until its pool has new connections
    assert [api.get("/todos/", token).status for _ in range(5)] == [200] * 5


def test_the_passwords_of_before_a_rotation_are_refused(stack: Stack) -> None:
    before = (stack.database_url, stack.superuser_url)
    stack.rotate_database_passwords()

    for url in before:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url)


# -- killed ----------------------------------------------------------------------------------------------------


def kill(run_python: RunPython, *moment: str, **options: Any) -> None:
    killed = run_python(KILLED_AT, *moment, **options)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said


def rotations_left(stack: Stack) -> list[str]:
    return [path.name for path in stack.project.secret_file("").iterdir() if path.suffix == ".next"]


def is_refused(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        return "password authentication failed" in str(error)
    return False


def all_have_access(stack: Stack) -> None:
    """Assert that the passwords of the project are those of the server."""
    for url in (stack.database_url, stack.superuser_url):
        psycopg.connect(url).close()
    assert rotations_left(stack) == []
    assert stack.plan() == []


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "step"), MOMENTS)
def test_a_rotation_that_was_killed_is_completed_by_the_next_up(
    home: Path, free_port: int, template: Template, run_python: RunPython, moment: str, step: str
) -> None:
    template.copy_to(home, free_port)
    stack = Stack("demo").up()
    add_user(stack)
    before, pid = stack.project.passwords(), stack.status()[0].pid
    kill(run_python, moment, step, env={**os.environ, "FASTZERO_PROJECT": "demo"})
    planned = [str(action) for action in stack.plan()]

    stack.up()

    all_have_access(stack)
    assert [text for text in planned if text.startswith("remove secret")]
    assert users_of(stack) == ["ana"]
    assert stack.status()[0].pid == pid
    assert stack.project.passwords()["postgres"] != before["postgres"]


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "step"), MOMENTS)
def test_a_rotation_that_was_killed_is_completed_by_the_next_one(
    home: Path, free_port: int, template: Template, run_python: RunPython, moment: str, step: str
) -> None:
    template.copy_to(home, free_port)
    stack = Stack("demo").up()
    kill(run_python, moment, step, env={**os.environ, "FASTZERO_PROJECT": "demo"})
    left = (stack.database_url, stack.superuser_url)
    stack.down()

    stack.rotate_database_passwords()

    stack.up()
    all_have_access(stack)
    assert [is_refused(url) for url in left] == [True, True]


@pytest.mark.docker
@pytest.mark.parametrize(("moment", "step"), IN_CONTAINERS)
def test_in_containers_a_rotation_that_was_killed_is_completed_by_the_next_up(
    served: Contained, run_python: RunPython, moment: str, step: str
) -> None:
    stack = served.stack(app=True)
    api = client_of(stack)
    token = api.token(new_user(stack))
    kill(run_python, moment, step, env=served.environment(app="true"))

    stack.up()

    all_have_access(stack)
    with psycopg.connect(stack.superuser_url) as session:
        session.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'fastzero'")
    assert wait_until(lambda: api.get("/todos/", token).status == 200, PATIENCE)  # until its pool has new connections
    assert [api.get("/todos/", token).status for _ in range(5)] == [200] * 5


def test_without_a_stack_there_is_no_key_to_rotate(home: Path) -> None:
    with pytest.raises(ProjectNotFoundError):
        Stack("demo").rotate_signing_key()
