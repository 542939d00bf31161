"""What is in the volume outlives containers, is never started under another major version, and is never wiped."""

import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fastzero_core import Stack
from fastzero_core.errors import (
    ConflictError,
    DatabaseLoginError,
    DataGoneError,
    ForeignStackError,
    InvalidInputError,
    UnhealthyError,
    VersionMismatchError,
)
from fastzero_core.files import write_atomically
from fastzero_core.polling import wait_until
from fastzero_core.stack.docker import files
from fastzero_core.stack.observed import ServiceState
from tests.ports import any_free_port

from .conftest import SOON, Contained, RunPython, add_user, in_mounted, new_project, users_of

pytestmark = pytest.mark.docker

UP = "from fastzero_core import Stack; Stack().up()"


@pytest.fixture
def lost_folder(contained: Contained) -> Contained:
    """A project with data whose folder, and with it every password, is gone."""
    add_user(contained.stack().up())
    contained.stack().down()
    for path in contained.home.iterdir():
        shutil.rmtree(path)
    return contained


@pytest.fixture(scope="module", params=["postgres:17", "postgres:18"])
def versioned(request: pytest.FixtureRequest, engine: Any, app_image: str) -> Iterator[tuple[Contained, str]]:
    """A project with a row, by PostgreSQL's image."""
    with new_project(engine) as project:
        add_user(project.stack(postgres_image=request.param).up())
        yield project, request.param


def test_rows_survive_down_and_up(versioned: tuple[Contained, str]) -> None:
    project, postgres = versioned
    stack = project.stack(postgres_image=postgres)

    stack.down()

    assert users_of(stack.up()) == ["ana"]


def test_rows_survive_another_container(versioned: tuple[Contained, str]) -> None:
    project, postgres = versioned
    before = project.stack(postgres_image=postgres).up()
    container = project.container("database").id

    changed = project.stack(postgres_image=postgres, postgres_settings={"work_mem": "8MB"}).up()

    assert project.container("database").id != container
    assert users_of(changed) == ["ana"]
    assert before.database_url == changed.database_url


def test_rows_survive_a_server_that_was_killed(versioned: tuple[Contained, str]) -> None:
    project, postgres = versioned
    stack = project.stack(postgres_image=postgres).up()
    project.container("database").kill()

    assert users_of(stack.up()) == ["ana"]


def test_data_of_another_major_version_is_refused_and_its_server_runs_on(versioned: tuple[Contained, str]) -> None:
    project, postgres = versioned
    stack = project.stack(postgres_image=postgres).up()
    started = project.container("database").attrs["State"]["StartedAt"]
    other = "postgres:18" if postgres == "postgres:17" else "postgres:17"

    with pytest.raises(VersionMismatchError, match=f"made by PostgreSQL {postgres[-2:]}; {other} is {other[-2:]}"):
        project.stack(postgres_image=other).up()

    assert project.container("database").attrs["State"]["StartedAt"] == started
    assert project.services() == {"database"}
    assert users_of(stack) == ["ana"]


def test_resting_data_of_another_major_version_is_refused_before_any_start(versioned: tuple[Contained, str]) -> None:
    project, postgres = versioned
    stack = project.stack(postgres_image=postgres).up()
    stack.down()
    other = "postgres:18" if postgres == "postgres:17" else "postgres:17"

    with pytest.raises(VersionMismatchError):
        project.stack(postgres_image=other).up()

    assert project.services() == set()
    assert users_of(stack.up()) == ["ana"]


@pytest.mark.parametrize("name", ["postgres", "postgres:latest", "postgres:alpine", "registry:5000/postgres"])
def test_an_image_without_a_major_version_is_refused(name: str, contained: Contained) -> None:
    with pytest.raises(InvalidInputError, match="no major version"):
        contained.stack(postgres_image=name).up()

    assert not contained.has_volume()


# -- an initialisation that never ended ------------------------------------------------------------------------


def in_volume(project: Contained, script: str) -> None:
    """Run a script on the resting data, as root."""
    in_mounted(project.engine, project.volume.name, script)


def killed_at(project: Contained, run_python: RunPython, file: str) -> None:
    """Begin a first `up`; end it and its container the hard way once the file is in the volume."""
    began = run_python(UP, env=project.environment())
    place = Path("/data/18/docker") / file

    def is_there() -> bool:
        if "database" not in project.services():
            return False
        container = project.container("database")
        return container.status == "running" and bool(
            container.exec_run(["test", "-e", str(place).replace("/data", "/var/lib/postgresql")]).exit_code == 0
        )

    assert wait_until(is_there, SOON)
    began.kill()
    began.wait()
    project.container("database").kill()


@pytest.mark.parametrize("file", ["base", "PG_VERSION"])
def test_a_first_initialisation_that_was_killed_is_done_again(
    file: str, contained: Contained, run_python: RunPython
) -> None:
    killed_at(contained, run_python, file)

    [database] = contained.stack().up().status()

    assert database.state is ServiceState.RUNNING


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("rm -rf /data/18/docker/*; echo 18 > /data/18/docker/PG_VERSION", id="the version and no more"),
        pytest.param("rm -f /data/18/docker/PG_VERSION", id="all but the version"),
        pytest.param("rm -f /data/18/docker/global/pg_control", id="no control file"),
    ],
)
def test_whatever_a_first_initialisation_left_is_replaced(
    left: str, contained: Contained, run_python: RunPython
) -> None:
    killed_at(contained, run_python, "PG_VERSION")
    contained.container("database").remove(force=True, v=True)
    in_volume(contained, f"mkdir -p /data/18/docker; {left}")

    [database] = contained.stack().up().status()

    assert database.state is ServiceState.RUNNING


def test_data_that_was_ready_once_is_never_wiped_however_broken(contained: Contained) -> None:
    contained.stack().up().down()
    in_volume(contained, "mv /data/18/docker/global/pg_control /data/18/docker/global/kept")

    with pytest.raises(UnhealthyError, match="database ended before it answered"):
        contained.stack().up()

    in_volume(contained, "mv /data/18/docker/global/kept /data/18/docker/global/pg_control")
    contained.stack().up()


def test_data_of_a_project_whose_folder_was_lost_is_never_wiped(lost_folder: Contained) -> None:
    made = lost_folder.volume.attrs["CreatedAt"]

    with pytest.raises(ForeignStackError):
        lost_folder.stack().up()

    assert lost_folder.volume.attrs["CreatedAt"] == made


def test_data_of_a_project_whose_folder_was_lost_is_reached_again(lost_folder: Contained) -> None:
    stack = lost_folder.stack()
    with pytest.raises(ForeignStackError, match="belongs to another FASTZERO_HOME"):
        stack.up()

    stack.up(adopt=True)

    assert users_of(stack) == ["ana"]
    assert stack.plan() == []


def test_data_at_several_places_is_not_taken_over_since_nobody_knows_which_was_in_service(
    lost_folder: Contained,
) -> None:
    labels = lost_folder.volume.attrs["Labels"]
    another = lost_folder.engine.volumes.create(f"{lost_folder.name('database')}-0123abcd", labels=labels)

    with pytest.raises(ConflictError, match=f"there are volumes .*{another.name}"):
        lost_folder.stack().up(adopt=True)

    assert lost_folder.services() == set()
    another.remove()
    assert users_of(lost_folder.stack().up(adopt=True)) == ["ana"]


@pytest.fixture
def second_home(contained: Contained, tmp_path: Path) -> Contained:
    """Another home that knows nothing of a project of the same name, which runs and has a row."""
    add_user(contained.stack().up())
    ports = {"database_port": any_free_port(), "app_port": any_free_port()}
    return replace(contained, home=tmp_path / "second", ports=ports)


def test_a_second_home_with_the_same_name_touches_nothing_of_the_first(
    contained: Contained, second_home: Contained
) -> None:
    started = contained.container("database").attrs["State"]["StartedAt"]

    with pytest.raises(ForeignStackError) as refused:
        second_home.stack().up()
    assert "fastzero up --adopt" in refused.value.hint
    assert second_home.stack().down(volumes=True) == []

    assert contained.container("database").attrs["State"]["StartedAt"] == started
    assert users_of(contained.stack()) == ["ana"]
    assert contained.stack().plan() == []


@pytest.mark.parametrize("command", ["down", "restart", "repair_password"])
def test_a_second_home_with_a_record_of_its_own_touches_nothing_either(
    command: str, contained: Contained, second_home: Contained
) -> None:
    record = contained.stack().project.record
    assert record is not None
    stack = second_home.stack()
    stack.project.save(replace(record, owner="another"))
    for name in ("database_password", "secret_key"):
        stack.project.ensure_secret(name)

    with pytest.raises(ForeignStackError):
        getattr(stack, command)()

    assert users_of(contained.stack()) == ["ana"]


def test_data_that_vanished_is_never_replaced_by_an_empty_database_unasked(contained: Contained) -> None:
    stack = contained.stack().up()
    stack.down()
    contained.volume.remove()

    with pytest.raises(DataGoneError, match="is gone") as gone:
        stack.up()
    assert "fastzero db backup list" in gone.value.hint
    assert [finding.code for finding in stack.examine() if finding.result == "failed"] == ["data"]
    assert not contained.has_volume()
    [status] = stack.status()
    assert status.detail.startswith("its data is gone")

    assert users_of(stack.up(start_over=True)) == []


def test_a_database_that_is_there_is_never_started_over(contained: Contained) -> None:
    add_user(contained.stack().up())

    with pytest.raises(ConflictError, match="exists: it is not replaced by an empty one"):
        contained.stack().up(start_over=True)

    assert users_of(contained.stack()) == ["ana"]


# -- another password ------------------------------------------------------------------------------------------


@pytest.fixture
def drifted(contained: Contained) -> Stack:
    """A running project whose database has another password than its folder says."""
    stack = contained.stack().up()
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE fastzero PASSWORD 'another'")
    return stack


def test_a_password_that_does_not_match_is_named_with_its_remedy(drifted: Stack) -> None:
    with pytest.raises(DatabaseLoginError) as refused:
        drifted.up()

    assert "doctor --fix" in refused.value.hint


def test_the_password_is_repaired_from_inside_the_container(drifted: Stack) -> None:
    drifted.repair_password()

    assert drifted.up().plan() == []


def test_a_password_of_quotes_and_backslashes_is_repaired_as_well(drifted: Stack) -> None:
    drifted.down()
    write_atomically(drifted.project.folder / "secrets" / "database_password", 'it\'s \\ "$x" `y` %s é')
    with pytest.raises(DatabaseLoginError):
        drifted.up()

    drifted.repair_password()

    assert drifted.up().plan() == []


def test_the_password_of_a_stopped_database_is_repaired_and_the_database_stays_stopped(
    drifted: Stack, contained: Contained
) -> None:
    drifted.down()

    assert drifted.repair_password()

    assert contained.services() == set()
    assert drifted.up().plan() == []


def test_a_volume_without_label_is_not_taken_for_the_projects_data(contained: Contained, engine: Any) -> None:
    contained.stack().up().down()
    contained.volume.remove()
    engine.volumes.create(contained.name("database"))

    with pytest.raises(ConflictError, match="not this project's"):
        contained.stack().up()


@pytest.mark.parametrize(
    "made",
    [
        "head -c 100000000 /dev/zero > PG_VERSION",
        "mkdir PG_VERSION",
        "ln -s /etc/passwd PG_VERSION",
        "echo x > PG_VERSION",
    ],
    ids=["large", "folder", "link", "words"],
)
def test_what_lies_in_place_of_the_version_is_neither_followed_nor_read_into_memory(made: str, engine: Any) -> None:
    container = engine.containers.create("postgres:18", ["-c", f"cd /tmp && {made}"], entrypoint="sh")
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0
        tracemalloc.start()
        assert files._cluster(engine.api, container.id, "/tmp", 17) is None
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
        container.remove(force=True, v=True)
