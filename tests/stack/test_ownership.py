"""What a project has on an engine is one home's: of two that think it theirs, the one that took it over has it."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import Stack
from fastzero_core.errors import (
    ConflictError,
    FastZeroError,
    ForeignStackError,
    InvalidInputError,
    UnhealthyError,
    VersionMismatchError,
)
from fastzero_core.events import Event
from fastzero_core.stack.actions import Action
from tests.ports import any_free_port

from .conftest import Contained, RunPython, add_user, done, in_mounted, new_project, texts, users_of

pytestmark = pytest.mark.docker

OLD, NEW = "postgres:17", "postgres:18"

KILLED_AT = """
import os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import ActionStarted
def note(event):
    if isinstance(event, ActionStarted) and str(event.action).startswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
Stack(on_event=note).up(adopt=True)
"""


def second_home(project: Contained, home: Path) -> Contained:
    """Another home that wants a project of the same name."""
    return replace(project, home=home, ports={"database_port": any_free_port(), "app_port": any_free_port()})


def lose_home(project: Contained) -> None:
    for path in project.home.iterdir():
        shutil.rmtree(path)


def volumes_of(project: Contained) -> set[str]:
    filters = {"label": f"fastzero.project={project.project}"}
    return {volume.name for volume in project.engine.volumes.list(filters=filters)}


def started_at(project: Contained, service: str = "database") -> str:
    return str(project.container(service).attrs["State"]["StartedAt"])


def fastzero(project: Contained, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastzero_cli", *words]
    return subprocess.run(
        command, env=project.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )


# -- the home before -------------------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[Stack], Any]] = {
    "up": Stack.up,
    "up --port": lambda stack: stack.up(port=any_free_port()),
    "up --start-over": lambda stack: stack.up(start_over=True),
    "down": Stack.down,
    "down --volumes": Stack.destroy,
    "down --volumes --no-backup": lambda stack: stack.destroy(no_backup=True),
    "restart": Stack.restart,
    "doctor --fix": Stack.repair_password,
    "db backup": Stack.backup,
    "db restore": lambda stack: stack.restore("any.dump"),
    "db reset": Stack.reset,
    "db backup prune": lambda stack: stack.prune(0),
    "db upgrade": lambda stack: stack.upgrade(18),
    "db move": lambda stack: stack.move("embedded"),
    "migrate down": lambda stack: stack.migrate_down("base"),
}


@pytest.fixture(scope="module", params=["running", "stopped", "removed by hand"])
def taken_over(request: pytest.FixtureRequest, engine: Any, app_image: str) -> Iterator[tuple[Contained, Contained]]:
    """A home that is still there, and the one that took its project over; and what became of it then."""
    with new_project(engine) as before, new_project(engine) as aside:
        add_user(before.stack().up())
        after = second_home(before, aside.home)
        stack = after.stack().up(adopt=True)
        if request.param == "stopped":
            stack.down()
        if request.param == "removed by hand":
            for container in before.all_containers():
                container.remove(force=True, v=True)
            engine.networks.get(f"fastzero-{before.project}").remove()
        yield before, after


@pytest.mark.parametrize("change", CHANGES)
def test_the_home_before_can_change_nothing_any_more(taken_over: tuple[Contained, Contained], change: str) -> None:
    before, after = taken_over
    there = {each.id: each.attrs["State"]["StartedAt"] for each in after.all_containers()}, volumes_of(after)

    with pytest.raises(ForeignStackError, match="belongs to another FASTZERO_HOME") as refused:
        CHANGES[change](before.stack())

    assert "-p NAME" in refused.value.hint
    assert "fastzero up --adopt" in refused.value.hint
    assert there == (
        {each.id: each.attrs["State"]["StartedAt"] for each in after.all_containers()},
        volumes_of(after),
    )


def test_the_new_home_has_its_rows_and_nothing_more_to_do(taken_over: tuple[Contained, Contained]) -> None:
    _, after = taken_over

    stack = after.stack().up()

    assert users_of(stack) == ["ana"]
    assert stack.plan() == []


def test_from_the_shell_the_home_before_is_told_of_a_conflict_and_of_the_way_out(
    taken_over: tuple[Contained, Contained],
) -> None:
    before, _ = taken_over

    refused = fastzero(before, "down", "--volumes", "--yes", "--no-backup")

    assert refused.returncode == 4
    assert "belongs to another FASTZERO_HOME" in refused.stderr
    assert "fastzero up --adopt" in refused.stderr


# -- taking over -----------------------------------------------------------------------------------------------


@pytest.fixture
def other(contained: Contained, engine: Any) -> Iterator[Contained]:
    """Another home with no record of its own."""
    with new_project(engine) as aside:
        yield second_home(contained, aside.home)


def test_what_was_taken_over_can_be_taken_back(contained: Contained, other: Contained) -> None:
    add_user(contained.stack().up())
    other.stack().up(adopt=True)

    back = contained.stack().up(adopt=True)

    assert users_of(back) == ["ana"]
    assert back.plan() == []
    with pytest.raises(ForeignStackError):
        other.stack().up()


def test_the_app_is_taken_over_with_its_database(contained: Contained, other: Contained) -> None:
    add_user(contained.stack(app=True).up())

    stack = other.stack(app=True).up(adopt=True)

    assert {(each.service, str(each.state)) for each in stack.status()} == {("database", "running"), ("app", "running")}
    assert stack.plan() == []
    with pytest.raises(ForeignStackError):
        contained.stack(app=True).execute("app", ["true"])


def test_destroying_what_was_taken_over_leaves_nothing(contained: Contained, other: Contained) -> None:
    contained.stack().up()
    stack = other.stack().up(adopt=True)

    stack.down(volumes=True)

    assert (other.services(), volumes_of(other), other.has_network()) == (set(), set(), False)


def test_a_claim_to_a_project_of_which_nothing_is_left_keeps_nobody_out(contained: Contained, other: Contained) -> None:
    contained.stack().up()
    other.stack().up(adopt=True).down()
    other.volume.remove()
    shutil.rmtree(contained.stack().project.folder)

    stack = contained.stack().up()

    assert users_of(stack) == []
    assert volumes_of(contained) == {contained.name("database")}


def test_the_image_that_serves_the_data_serves_it_on(contained: Contained, other: Contained) -> None:
    add_user(contained.stack(postgres_image=OLD).up())

    stack = other.stack().up(adopt=True)

    record = stack.project.record
    assert record is not None
    assert (record.image, users_of(stack)) == (OLD, ["ana"])


def test_data_of_another_major_version_is_not_taken_over_and_its_server_runs_on(
    contained: Contained, other: Contained
) -> None:
    contained.stack(postgres_image=OLD).up()
    before = started_at(contained)

    with pytest.raises(VersionMismatchError):
        other.stack(postgres_image=NEW).up(adopt=True)

    assert (started_at(contained), contained.services()) == (before, {"database"})
    assert contained.stack().plan() == []
    assert other.stack().project.record is None


def test_resting_data_of_another_major_version_is_not_taken_over(contained: Contained, other: Contained) -> None:
    contained.stack(postgres_image=OLD).up().down()

    with pytest.raises(VersionMismatchError, match="made by PostgreSQL 17") as refused:
        other.stack().up(adopt=True)

    assert "FASTZERO_POSTGRES_IMAGE=postgres:17" in refused.value.hint
    assert (other.services(), volumes_of(other)) == (set(), {other.name("database")})
    assert other.stack().project.record is None
    assert contained.stack().up().plan() == []


def test_a_database_that_is_not_whole_is_not_taken_over_and_its_container_stays(
    contained: Contained, other: Contained
) -> None:
    contained.stack().up()
    container = contained.container("database")
    container.stop()
    in_mounted(contained.engine, contained.volume.name, "rm /data/18/docker/global/pg_control")

    with pytest.raises(ConflictError, match="no database that was initialised to its end"):
        other.stack().up(adopt=True)

    assert [each.id for each in contained.all_containers()] == [container.id]
    assert volumes_of(contained) == {contained.name("database")}


def test_a_takeover_that_fails_brings_the_old_container_back(contained: Contained, other: Contained) -> None:
    contained.stack().up()
    container = contained.container("database")

    with pytest.raises(UnhealthyError):
        other.stack(postgres_settings={"work_mem": "plenty"}).up(adopt=True)

    assert [(each.id, each.status) for each in contained.all_containers()] == [(container.id, "running")]
    assert contained.stack().up().plan() == []
    assert other.stack().project.record is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["check database", "stop", "start", "set", "create claim", "wait for", "remove container"]
)
def test_a_takeover_that_was_killed_can_be_run_again(
    step: str, contained: Contained, other: Contained, run_python: RunPython
) -> None:
    add_user(contained.stack().up())
    killed = run_python(KILLED_AT, step, env=other.environment())
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL

    stack = other.stack().up(adopt=True)

    assert users_of(stack) == ["ana"]
    assert stack.plan() == []
    assert other.services() == {"database"}
    with pytest.raises(ForeignStackError):
        contained.stack().up()


def test_of_several_volumes_the_one_in_service_is_taken_over_and_the_others_are_kept(
    contained: Contained, other: Contained
) -> None:
    stack = contained.stack(postgres_image=OLD).up()
    add_user(stack)
    left = stack.upgrade(18)
    assert left is not None
    add_user(stack, "bob")
    lose_home(contained)

    stack = other.stack().up(adopt=True)

    assert users_of(stack) == ["ana", "bob"]
    assert [(place.name, place.image) for place in stack.kept] == [(left.volume, OLD)]
    stack.use_place(left.volume)
    assert users_of(stack) == ["ana"]


def test_what_was_kept_on_an_engine_and_taken_over_there_is_no_longer_the_first_homes(
    contained: Contained, other: Contained
) -> None:
    stack = contained.stack().up()
    add_user(stack)
    left = stack.move("embedded")
    assert left is not None
    other.stack().up(adopt=True)

    for change in (stack.use_place, stack.discard_place):
        with pytest.raises(ForeignStackError):
            change(left.name)
    with pytest.raises(ForeignStackError):
        stack.move("docker")
    assert users_of(stack.up()) == ["ana"]
    stack.down(volumes=True)

    assert users_of(other.stack()) == ["ana"]


def test_what_is_taken_over_is_not_begun_anew(other: Contained) -> None:
    with pytest.raises(InvalidInputError):
        other.stack().up(adopt=True, start_over=True)


# -- said beforehand -------------------------------------------------------------------------------------------


def said_and_done(project: Contained, **flags: Any) -> tuple[list[Action], list[Action]]:
    events: list[Event] = []
    stack = project.stack(on_event=events.append)
    said = stack.plan(**flags)
    stack.up(**flags)
    return said, done(events)


def without_names(actions: list[Action]) -> list[str]:
    """The new owner and a new place have names of their own each time."""
    return [str(action).partition("-owner-")[0].partition("-database-")[0] for action in actions]


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_dry_run_says_exactly_what_a_takeover_does(state: str, contained: Contained, other: Contained) -> None:
    stack = contained.stack().up()
    if state == "stopped":
        stack.down()

    said, did = said_and_done(other, adopt=True)

    assert without_names(said) == without_names(did)
    assert len(said) > 5


def test_a_dry_run_says_exactly_what_starting_over_does(contained: Contained) -> None:
    contained.stack().up().down()
    contained.volume.remove()

    said, did = said_and_done(contained, start_over=True)

    assert without_names(said) == without_names(did)


def refusal(command: Callable[[], object]) -> tuple[type[FastZeroError], str, str]:
    with pytest.raises(FastZeroError) as refused:
        command()
    return type(refused.value), refused.value.message, refused.value.hint


@pytest.mark.parametrize("flags", [{"adopt": True}, {"start_over": True}, {"adopt": True, "start_over": True}], ids=str)
def test_a_dry_run_refuses_exactly_as_the_command_would(flags: dict[str, Any], contained: Contained) -> None:
    stack = contained.stack()
    if "adopt" not in flags:
        stack.up()

    assert refusal(lambda: stack.plan(**flags)) == refusal(lambda: stack.up(**flags))


def test_from_the_shell_a_takeover_is_asked_for_but_not_its_dry_run(contained: Contained, other: Contained) -> None:
    contained.stack().up()

    asked = fastzero(other, "up", "--adopt")
    assert (asked.returncode, "can neither use nor change it any more" in asked.stderr) == (2, True)
    said = fastzero(other, "up", "--adopt", "--dry-run")
    assert (said.returncode, "claim" in said.stdout) == (0, True)
    assert contained.stack().plan() == []


# -- names that something else has -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["app", "database-new"])
def test_a_name_that_something_else_has_is_refused_before_anything_is_started(
    name: str, contained: Contained, engine: Any
) -> None:
    stack = contained.stack().up()
    engine.containers.create(NEW, name=contained.name(name))
    before = started_at(contained)
    said: list[Event] = []
    changed = contained.stack(app=True, postgres_settings={"work_mem": "8MB"}, on_event=said.append)

    with pytest.raises(ConflictError, match=f"there is a container {contained.name(name)} already") as refused:
        changed.up()

    assert "Nothing was changed" in refused.value.hint
    assert (started_at(contained), done(said), texts(said)) == (before, [], [])
    assert stack.plan() == []
