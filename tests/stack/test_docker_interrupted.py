"""`up` that is killed, interrupted or run twice, and `up` that fails: nothing is lost, and the next one is well."""

import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastzero_core.errors import UnhealthyError
from fastzero_core.events import ActionStarted, Event
from fastzero_core.schema.revisions import head_revision
from fastzero_core.stack.docker import image
from fastzero_core.stack.observed import ServiceState

from .conftest import Contained, RunPython, add_user, new_project, steps, users_of

pytestmark = pytest.mark.docker

KILLED_BEFORE_CHANGE = """
import os, signal, sys
from docker.api.client import APIClient
left = int(sys.argv[1])
def counted(call):
    def count(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return count
APIClient._post, APIClient._delete = counted(APIClient._post), counted(APIClient._delete)
from fastzero_core import Stack
from fastzero_core.schema import migrate
migrate.up = counted(migrate.up)
Stack().up()
"""

TELLING = """
import sys
from fastzero_core import Stack
def tell(event):
    action = getattr(event, "action", None)
    print(action or "notice", getattr(event, "text", ""), flush=True)
Stack(on_event=tell).up(timeout=30)
"""


INTERRUPTED = TELLING.replace(
    "flush=True)", "flush=True)\n    if str(action).startswith(sys.argv[1]): os.kill(os.getpid(), signal.SIGINT)"
).replace("import sys", "import os, signal, sys")

TELLING_SLOWLY = TELLING.replace("import sys", "import sys; go_on = iter([sys.stdin.readline])").replace(
    "flush=True)", "flush=True)\n    next(go_on, str)()"
)


@pytest.fixture(scope="module")
def lasting(engine: Any, app_image: str) -> Iterator[Contained]:
    """A project with a row, to be recreated over and over."""
    with new_project(engine) as project:
        add_user(project.stack().up())
        yield project


# -- killed ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("change", range(1, 6), ids=["network", "volume", "create", "start", "migrate"])
def test_a_first_up_that_was_killed_is_finished_by_the_next(
    change: int, contained: Contained, run_python: RunPython
) -> None:
    killed = run_python(KILLED_BEFORE_CHANGE, str(change), env=contained.environment())
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said

    [database] = contained.stack().up().status()

    assert (database.state, database.revision) == (ServiceState.RUNNING, head_revision())
    assert contained.services() == {"database"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", range(1, 7), ids=["create", "stop", "rename the old", "rename the new", "start", "remove"]
)
def test_a_recreation_that_was_killed_is_finished_by_the_next_up_and_loses_no_row(
    change: int, lasting: Contained, run_python: RunPython
) -> None:
    lasting.stack().up()
    changed = {"work_mem": f"{change}MB"}
    killed = run_python(
        KILLED_BEFORE_CHANGE,
        str(change),
        env=lasting.environment(postgres_settings=f'{{"work_mem": "{change}MB"}}'),
    )
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said

    stack = lasting.stack(postgres_settings=changed).up()

    assert users_of(stack) == ["ana"]
    assert lasting.services() == {"database"}
    assert stack.plan() == []


def test_two_networks_that_an_engine_made_of_one_name_become_one(contained: Contained) -> None:
    stack = contained.stack().up()
    add_user(stack)
    name = contained.name("")[:-1]
    [network] = contained.engine.networks.list(names=[name])
    more = contained.engine.networks.create(name, labels=network.attrs["Labels"])

    assert steps(stack.plan()) == ["remove network"]
    stack.up()

    assert [each.id for each in contained.engine.networks.list(names=[name])] == [network.id] != [more.id]
    assert users_of(stack) == ["ana"]


def test_a_container_that_an_engine_was_still_making_is_made_again(contained: Contained) -> None:
    stack = contained.stack().up()
    record = stack.project.record
    assert record is not None
    stack.down()
    labels = {"fastzero.project": contained.project, "fastzero.owner": record.owner, "fastzero.service": "database"}

    def make_it_late(event: Event) -> None:
        if isinstance(event, ActionStarted) and str(event.action).startswith("create container"):
            contained.engine.containers.create("postgres:18", name=contained.name("database"), labels=labels)

    contained.stack(on_event=make_it_late).up()

    assert contained.services() == {"database"}
    assert stack.plan() == []


# -- interrupted -----------------------------------------------------------------------------------------------


def test_an_interrupted_first_up_removes_what_it_made_and_says_so(contained: Contained, run_python: RunPython) -> None:
    up = run_python(TELLING, env=contained.environment())
    assert up.stdout is not None
    said = iter(up.stdout.readline, "")
    assert next(line for line in said if line.startswith("migrate"))

    up.send_signal(signal.SIGINT)
    rest = "".join(said)
    up.wait()

    assert "undone: " in rest
    assert (contained.services(), contained.has_volume(), contained.has_network()) == (set(), False, False)


def interrupted(project: Contained, run_python: RunPython, step: str) -> None:
    """Recreate the database, and interrupt that at the beginning of a step."""
    work_mem = f"{secrets.randbelow(900) + 64}MB"
    up = run_python(INTERRUPTED, step, env=project.environment(postgres_settings=f'{{"work_mem": "{work_mem}"}}'))
    said, _ = up.communicate()
    assert up.returncode == -signal.SIGINT, said


def test_an_interrupted_recreation_brings_the_old_container_back(lasting: Contained, run_python: RunPython) -> None:
    before = lasting.stack().up()
    container = lasting.container("database").id

    interrupted(lasting, run_python, "migrate")

    assert lasting.container("database").id == container
    assert users_of(before.up()) == ["ana"]


def test_once_the_old_container_is_removed_the_new_one_stays(lasting: Contained, run_python: RunPython) -> None:
    before = lasting.stack().up()
    container = lasting.container("database").id

    interrupted(lasting, run_python, "remove container")

    new = lasting.container("database")
    assert (new.status, new.id != container) == ("running", True)
    assert users_of(before.up()) == ["ana"]
    assert lasting.services() == {"database"}


# -- twice -----------------------------------------------------------------------------------------------------


def test_of_two_ups_at_once_the_second_waits_and_finds_nothing_to_do(
    contained: Contained, run_python: RunPython
) -> None:
    first = run_python(TELLING_SLOWLY, env=contained.environment(), stdin=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline()
    second = run_python(TELLING, env=contained.environment())
    assert second.stdout is not None
    said = second.stdout.readline()

    first.communicate("go on\n")
    said += second.communicate()[0]

    assert (first.returncode, second.returncode) == (0, 0)
    assert [line.split()[0] for line in said.splitlines()] == ["notice"]
    assert "another fastzero command is running" in said


# -- failed ----------------------------------------------------------------------------------------------------

BAD = {"shared_buffers": "nonsense"}


@pytest.fixture
def broken_app(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes the app one that ends at once."""
    original = image.context_files
    script = b"#!/venv/bin/python\nraise SystemExit('the app is broken')\n"

    def break_it() -> None:
        monkeypatch.setattr(image, "context_files", lambda: {**original(), "app/bin/fastzero": script})
        monkeypatch.setattr(image, "remembered_name", image.image_name)

    yield break_it
    made = image.image_name("python:3.13-slim")
    monkeypatch.undo()
    if image.image_name("python:3.13-slim") != made and engine.images.list(name=made):
        engine.images.remove(made, force=True)


def test_a_database_that_does_not_start_shows_state_exit_code_and_last_lines(contained: Contained) -> None:
    with pytest.raises(UnhealthyError, match="database ended before it answered") as failed:
        contained.stack(postgres_settings=BAD).up()

    assert failed.value.exit_code == 8
    assert "it is exited with exit code 1" in failed.value.evidence
    assert 'invalid value for parameter "shared_buffers": "nonsense"' in failed.value.evidence
    assert "fastzero logs database" in failed.value.hint


def test_a_first_up_that_fails_leaves_nothing(contained: Contained) -> None:
    with pytest.raises(UnhealthyError):
        contained.stack(postgres_settings=BAD).up()

    assert (contained.services(), contained.has_volume(), contained.has_network()) == (set(), False, False)
    assert contained.stack().project.record is None, "the next one may choose another runtime"


def test_a_first_up_that_fails_leaves_all_with_keep(contained: Contained) -> None:
    with pytest.raises(UnhealthyError):
        contained.stack(postgres_settings=BAD).up(keep=True)

    assert contained.container("database").status == "exited"
    assert contained.has_volume()


def test_what_was_kept_of_a_failure_is_repaired_once_its_cause_is_gone(contained: Contained) -> None:
    with pytest.raises(UnhealthyError):
        contained.stack(postgres_settings=BAD).up(keep=True)

    [database] = contained.stack().up().status()

    assert database.state is ServiceState.RUNNING


def test_a_bad_setting_brings_the_old_database_back_with_its_rows(lasting: Contained) -> None:
    before = lasting.stack().up()
    container = lasting.container("database").id

    with pytest.raises(UnhealthyError, match="database ended before it answered") as failed:
        lasting.stack(postgres_settings=BAD).up()

    assert "nonsense" in failed.value.evidence
    assert lasting.container("database").id == container
    assert users_of(before.up()) == ["ana"]
    assert lasting.services() == {"database"}


def test_an_app_that_crashes_brings_the_old_one_back_and_touches_no_database(
    contained: Contained, broken_app: Callable[[], None]
) -> None:
    add_user(contained.stack(app=True).up())
    app, database = contained.container("app").id, contained.container("database").id
    broken_app()

    with pytest.raises(UnhealthyError, match="app ended before it was ready") as failed:
        contained.stack(app=True).up()

    assert "exit code 1" in failed.value.evidence
    assert "the app is broken" in failed.value.evidence
    assert (contained.container("app").id, contained.container("app").status) == (app, "running")
    assert contained.container("database").id == database
    assert users_of(contained.stack()) == ["ana"]


def test_a_first_app_that_crashes_takes_no_finished_data_with_it(
    contained: Contained, broken_app: Callable[[], None]
) -> None:
    add_user(contained.stack().up())
    contained.stack().down()
    broken_app()

    with pytest.raises(UnhealthyError):
        contained.stack(app=True).up()

    assert users_of(contained.stack().up()) == ["ana"]


def test_what_cannot_even_be_created_leaves_the_old_container_as_it_was(lasting: Contained, engine: Any) -> None:
    stack = lasting.stack().up()
    before = lasting.container("database").attrs["State"]["StartedAt"]
    in_the_way = engine.containers.create("postgres:18", name=lasting.name("database-new"))
    did: list[Event] = []

    with pytest.raises(Exception, match="not this project's"):
        lasting.stack(postgres_settings={"work_mem": "77MB"}, on_event=did.append).up()

    in_the_way.remove(v=True)
    assert lasting.container("database").attrs["State"]["StartedAt"] == before
    assert users_of(stack) == ["ana"]
