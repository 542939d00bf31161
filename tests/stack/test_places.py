"""A database that moves, to a newer PostgreSQL or to the other runtime, loses nothing that was acknowledged."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from fastzero_core import FastZero, FastZeroError, Stack
from fastzero_core.errors import (
    ConflictError,
    DataGoneError,
    ImageError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    VersionMismatchError,
)
from fastzero_core.events import Event, Progress
from fastzero_core.project import Place
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.observed import ServiceState

from .conftest import Contained, RunPython, add_user, steps, texts, users_of

pytestmark = pytest.mark.docker

OLD, NEW = "postgres:17", "postgres:18"

KILLED_AT = """
import os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import ActionStarted, Progress
at = sys.argv[3]
def die_at(step):
    global at
    if step == at:
        at = None
        os.kill(os.getpid(), signal.SIGKILL)
def note(event):
    if isinstance(event, Progress):
        die_at(event.step)
    elif isinstance(event, ActionStarted):
        die_at(str(event.action.verb) if event.action.service != "database-moving" else "")
getattr(Stack(on_event=note), sys.argv[1])({"18": 18}.get(sys.argv[2], sys.argv[2]))
"""


@pytest.fixture
def old(contained: Contained) -> Stack:
    """A project of PostgreSQL 17 with a row."""
    stack = contained.stack(postgres_image=OLD).up()
    add_user(stack)
    return stack


@pytest.fixture
def local(contained: Contained) -> Iterator[Stack]:
    """A project of local processes with a row, which may become one of containers."""
    stack = contained.stack(runtime="embedded").up()
    add_user(stack)
    yield stack
    stack.down(volumes=True)


def major_of(stack: Stack) -> int:
    with FastZero(stack.database_url) as fz:
        return int(fz.users._connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000


def volumes_of(contained: Contained) -> set[str]:
    filters = {"label": f"fastzero.project={contained.project}"}
    return {volume.name for volume in contained.engine.volumes.list(filters=filters)}


# -- to a newer PostgreSQL -------------------------------------------------------------------------------------


def test_an_upgraded_database_has_its_rows_and_new_ones_get_fresh_ids(old: Stack) -> None:
    left = old.upgrade(18)

    assert (major_of(old), users_of(old)) == (18, ["ana"])
    with FastZero(old.database_url) as fz:
        assert fz.users.add("bob", email="bob@example.com", password="correct horse").id == 2
    assert left is not None
    assert old.kept == (left,)
    assert (left.image, left.volume) == (OLD, f"fastzero-{old.project.name}-database")


@pytest.mark.parametrize("image", [OLD, NEW])
def test_after_an_upgrade_up_has_nothing_to_do_whichever_image_is_set(
    contained: Contained, old: Stack, image: str
) -> None:
    old.upgrade(18)

    assert contained.stack(postgres_image=image).plan() == []


def test_a_rollback_brings_the_old_volume_back_and_the_upgrade_can_be_made_again(old: Stack) -> None:
    old.upgrade(18)
    add_user(old, "bob")

    old.roll_back_upgrade()
    assert (major_of(old), users_of(old)) == (17, ["ana"])

    add_user(old, "eva")
    old.upgrade(18)
    assert (major_of(old), users_of(old)) == (18, ["ana", "eva"])


def test_a_stack_without_an_app_moves_without_one(contained: Contained) -> None:
    stack = contained.stack(postgres_image=OLD, app=True).up(app=False)
    for move in (partial(stack.upgrade, 18), stack.roll_back_upgrade, partial(stack.move, "embedded")):
        move()
        assert [(status.service, status.state) for status in stack.status()] == [("database", ServiceState.RUNNING)]
    stack.down(volumes=True)


def test_what_was_kept_goes_with_the_project_or_when_it_is_told_to(contained: Contained, old: Stack) -> None:
    old.upgrade(18)
    old.roll_back_upgrade()
    assert len(volumes_of(contained)) == 2

    assert [place.image for place in old.discard_kept()] == [NEW]
    assert len(volumes_of(contained)) == 1

    old.upgrade(18)
    old.down(volumes=True)
    assert volumes_of(contained) == set()


@pytest.mark.parametrize("is_up", [True, False])
def test_a_default_that_has_become_newer_than_the_data_keeps_nobody_from_upgrading(
    contained: Contained, old: Stack, is_up: bool
) -> None:
    newer = contained.stack(postgres_image=NEW)
    if not is_up:
        newer.down()
    for refused in (newer.up, newer.plan):
        with pytest.raises(VersionMismatchError, match="made by PostgreSQL 17") as caught:
            refused()
        assert "fastzero db upgrade --to 18" in caught.value.hint

    newer.upgrade(18)

    assert (major_of(newer), users_of(newer), newer.plan()) == (18, ["ana"], [])


def test_roles_settings_and_grants_come_along(old: Stack) -> None:
    given = (
        "CREATE ROLE reader LOGIN PASSWORD 'correct-horse' CONNECTION LIMIT 3",
        "CREATE ROLE readers",
        "GRANT readers TO reader",
        "GRANT SELECT ON users TO readers",
        "REVOKE CONNECT ON DATABASE fastzero FROM PUBLIC",
        "GRANT CONNECT ON DATABASE fastzero TO reader",
        "ALTER ROLE fastzero SET work_mem TO '7MB'",
        "ALTER DATABASE fastzero SET timezone TO 'Asia/Tokyo'",
        "ALTER DATABASE fastzero CONNECTION LIMIT 33",
        "COMMENT ON DATABASE fastzero IS 'of ours'",
    )
    with psycopg.connect(old.superuser_url) as session:
        for statement in given:
            session.execute(statement.encode())

    old.upgrade(18)

    with psycopg.connect(old.database_url) as session:
        found = session.execute(
            "SELECT current_setting('work_mem'), current_setting('timezone'), datconnlimit,"
            " shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'fastzero'"
        ).fetchone()
        assert found == ("7MB", "Asia/Tokyo", 33, "of ours")
    with psycopg.connect(old.superuser_url) as session:
        session.execute("CREATE ROLE nobody LOGIN PASSWORD 'correct-horse'")
    url = make_url(old.database_url).set(drivername="postgresql", password="correct-horse")
    with psycopg.connect(url.set(username="reader").render_as_string(hide_password=False)) as session:
        assert session.execute("SELECT username FROM users").fetchall() == [("ana",)]
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url.set(username="nobody").render_as_string(hide_password=False))


def test_databases_that_stay_behind_are_named_before_they_are_destroyed(contained: Contained, old: Stack) -> None:
    with psycopg.connect(old.database_url, autocommit=True) as session:
        session.execute("CREATE DATABASE other")

    left = old.upgrade(18)
    assert left is not None

    pruned = fastzero(contained, "db", "backup", "prune", "--keep", "5", postgres_image=OLD)
    assert (pruned.returncode, left.volume in volumes_of(contained)) == (0, True)
    asked = fastzero(contained, "db", "place", "rm", left.name, postgres_image=OLD)
    assert (asked.returncode, OLD in asked.stderr, "with database other" in asked.stderr) == (2, True, True)
    assert left.volume in volumes_of(contained)


def test_what_is_written_while_it_moves_is_there_afterwards_or_was_refused(old: Stack) -> None:
    acknowledged: list[str] = []
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            name = f"u{len(acknowledged)}"
            with suppress(FastZeroError):
                with FastZero(old.database_url) as fz:
                    fz.users.add(name, email=f"{name}@example.com", password="correct horse")
                acknowledged.append(name)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        old.upgrade(18)
    finally:
        over.set()
        writer.join()

    assert len(acknowledged) > 1
    assert set(acknowledged) <= set(users_of(old))


def test_an_image_that_cannot_be_had_changes_nothing(old: Stack) -> None:
    with pytest.raises(ImageError):
        old.upgrade(29)

    assert (major_of(old), users_of(old), old.kept) == (17, ["ana"], ())


def test_a_moved_volume_that_is_gone_is_never_replaced_by_an_empty_one(contained: Contained, old: Stack) -> None:
    old.upgrade(18)
    old.down()
    record = old.project.record
    assert record is not None
    contained.engine.volumes.get(record.volume).remove()

    with pytest.raises(ConflictError, match="is gone"):
        old.up()

    old.roll_back_upgrade()
    assert users_of(old) == ["ana"]


def test_a_rollback_to_a_volume_that_is_gone_changes_nothing(contained: Contained, old: Stack) -> None:
    left = old.upgrade(18)
    assert left is not None
    before = old.project.record
    contained.engine.volumes.get(left.volume).remove()

    with pytest.raises(DataGoneError, match=f"volume {left.volume} of postgres:17 is gone"):
        old.roll_back_upgrade()

    assert old.project.record == before
    assert [service.state for service in old.status()] == [ServiceState.RUNNING]
    assert users_of(old) == ["ana"]


def test_what_was_written_before_a_rollback_can_be_returned_to(old: Stack) -> None:
    old.upgrade(18)
    add_user(old, "bob")
    newer = next(place.name for place in old.places() if place.current)

    old.roll_back_upgrade()
    assert [(place.image, place.current) for place in old.places()] == [(OLD, True), (NEW, False)]

    old.use_place(newer)
    assert (major_of(old), users_of(old)) == (18, ["ana", "bob"])


def test_a_place_is_destroyed_by_its_name_alone(contained: Contained, old: Stack) -> None:
    left = old.upgrade(18)
    assert left is not None

    with pytest.raises(NotFoundError, match="no place nowhere is kept"):
        old.discard_place("nowhere")
    assert len(volumes_of(contained)) == 2

    old.discard_place(left.name)
    assert (len(volumes_of(contained)), old.kept) == (1, ())
    assert users_of(old) == ["ana"]


def test_nothing_is_destroyed_unless_everything_can_be(
    contained: Contained, local: Stack, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.move("docker")
    local.move("embedded")

    with monkeypatch.context() as away:
        away.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
        with pytest.raises(UnavailableError):
            local.down(volumes=True)

    assert local.up().plan() == []
    assert users_of(local) == ["ana"]
    local.down(volumes=True)
    assert volumes_of(contained) == set()


def test_settings_of_the_server_come_along(old: Stack) -> None:
    with psycopg.connect(old.superuser_url, autocommit=True) as session:
        session.execute("ALTER SYSTEM SET work_mem TO '9MB'")

    old.upgrade(18)

    with psycopg.connect(old.database_url) as session:
        assert session.execute("SHOW work_mem").fetchone() == ("9MB",)


def test_an_upgrade_goes_forward_only(old: Stack) -> None:
    with pytest.raises(InvalidInputError, match="is of PostgreSQL 17 already"):
        old.upgrade(16)


def test_without_an_upgrade_there_is_nothing_to_go_back_to(old: Stack) -> None:
    with pytest.raises(InvalidInputError, match="no upgrade to roll back"):
        old.roll_back_upgrade()

    old.upgrade(18)
    old.roll_back_upgrade()
    with pytest.raises(InvalidInputError, match="no upgrade to roll back"):
        old.roll_back_upgrade()
    assert major_of(old) == 17


def test_where_the_database_is_already_it_only_has_to_run(contained: Contained, old: Stack) -> None:
    old.down()
    again = fastzero(contained, "db", "upgrade", "--to", "17", postgres_image=OLD)
    assert (again.returncode, users_of(old)) == (0, ["ana"])
    assert "Nothing to do: the database is of PostgreSQL 17." in again.stderr

    old.down()
    again = fastzero(contained, "db", "move", "--to", "docker", postgres_image=OLD)
    assert (again.returncode, users_of(old)) == (0, ["ana"])
    assert f"Nothing to do: project {contained.project} runs docker." in again.stderr
    assert len(volumes_of(contained)) == 1


# -- to the other runtime --------------------------------------------------------------------------------------


def test_into_containers_of_an_older_version_nothing_moves(contained: Contained, local: Stack) -> None:
    before = local.project.record
    with pytest.raises(VersionMismatchError, match="PostgreSQL 18, too new for image postgres:17") as caught:
        contained.stack(runtime="embedded", postgres_image=OLD).move("docker")
    assert "FASTZERO_POSTGRES_IMAGE=postgres:18" in caught.value.hint
    assert (local.project.record, users_of(local)) == (before, ["ana"])


def test_a_project_moves_into_containers_and_back_with_everything(contained: Contained, local: Stack) -> None:
    record = local.project.record
    assert record is not None

    local.move("docker")
    add_user(local, "bob")
    assert (local.status()[0].version, users_of(local)) == (NEW, ["ana", "bob"])
    assert contained.stack().plan() == []

    local.move("embedded")
    add_user(local, "eva")
    assert (local.status()[0].version, users_of(local)) == ("PostgreSQL 18", ["ana", "bob", "eva"])
    assert contained.services() == set()
    assert [place.runtime for place in local.kept] == ["embedded", "docker"]
    assert local.project.record is not None
    assert local.project.record.ports == record.ports


def test_a_move_whose_hold_on_writes_was_lost_moves_nothing(contained: Contained, local: Stack) -> None:
    def end_every_session(event: Event) -> None:
        if isinstance(event, Progress) and event.step == "compare":
            with psycopg.connect(local.superuser_url, autocommit=True) as session:
                session.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    with pytest.raises(UnavailableError):
        contained.stack(runtime="embedded", on_event=end_every_session).move("docker")

    assert local.project.record is not None
    assert (local.project.record.runtime, users_of(local)) == ("embedded", ["ana"])
    assert (contained.services(), volumes_of(contained)) == (set(), set())


def test_a_move_takes_the_app_along(contained: Contained) -> None:
    stack = contained.stack(runtime="embedded", app=True).up()
    try:
        stack.move("docker")
        assert {service.state for service in stack.status()} == {ServiceState.RUNNING}
        assert contained.services() == {"database", "app"}
    finally:
        stack.down(volumes=True)


def test_local_processes_have_no_other_postgres_to_upgrade_to(local: Stack) -> None:
    with pytest.raises(InvalidInputError, match="runs embedded") as refused:
        local.upgrade(18)

    assert "db move --to docker" in refused.value.hint


# -- kept, and started over -----------------------------------------------------------------------------------------


def test_what_begins_anew_leaves_the_kept_place_alone(contained: Contained, old: Stack) -> None:
    left = old.upgrade(18)
    assert left is not None
    old.down()
    record = old.project.record
    assert record is not None
    contained.engine.volumes.get(record.volume).remove()

    old.up(start_over=True)

    assert users_of(old) == []
    assert old.kept == (left,)
    old.use_place(left.name)
    assert users_of(old) == ["ana"]


def test_the_place_in_service_is_never_destroyed_though_a_record_keeps_it(contained: Contained, old: Stack) -> None:
    record = old.project.record
    assert record is not None
    old.project.save(replace(record, kept=(record.place,)))

    with pytest.raises(ConflictError, match="is in service"):
        old.discard_place(record.volume)
    with pytest.raises(ConflictError, match="is in service"):
        old.discard_kept()

    assert volumes_of(contained) == {record.volume}
    assert users_of(old) == ["ana"]


# -- the image in the record -----------------------------------------------------------------------------------


def test_the_image_that_was_chosen_first_serves_on_without_its_setting(contained: Contained, old: Stack) -> None:
    later = contained.stack()

    assert later.plan() == []
    later.down()
    assert (major_of(later.up()), users_of(later)) == (17, ["ana"])
    record = later.project.record
    assert record is not None
    assert record.image == OLD


# -- from the shell --------------------------------------------------------------------------------------------


def fastzero(contained: Contained, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastzero_cli", *words]
    return subprocess.run(
        command, env=contained.environment(**environment), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_the_commands_say_what_is_kept_and_how_to_get_back(contained: Contained, old: Stack) -> None:
    upgraded = fastzero(contained, "db", "upgrade", "--to", "18", postgres_image=OLD)
    assert upgraded.returncode == 0, upgraded.stderr
    assert upgraded.stdout.split("\t")[:4:3] == ["database", NEW]
    way_back = f"fastzero db upgrade --rollback -p {contained.project}"
    assert f"Kept: volume {contained.name('database')} of {OLD}. To undo: {way_back}" in upgraded.stderr

    unasked = fastzero(contained, "db", "upgrade", "--rollback", postgres_image=OLD)
    assert (unasked.returncode, major_of(old)) == (2, 18)
    back = fastzero(contained, "db", "upgrade", "--rollback", "--yes", postgres_image=OLD)
    assert (back.returncode, major_of(old)) == (0, 17)
    left = volumes_of(contained) - {contained.name("database")}
    way_back = f"fastzero db place use {left.pop()} -p {contained.project}"
    assert f"To undo: {way_back}" in back.stderr


def test_a_project_that_was_upgraded_and_destroyed_comes_back_by_the_printed_line(
    contained: Contained, old: Stack
) -> None:
    old.upgrade(18)
    gone = fastzero(contained, "down", "--volumes", "--yes", postgres_image=OLD)
    assert (gone.returncode, volumes_of(contained)) == (0, set()), gone.stderr

    way_back = gone.stderr.partition("To undo: ")[2].partition("\n")[0]
    assert " --no-app " in way_back
    program = f'fastzero() {{ {sys.executable} -m fastzero_cli "$@"; }}; {way_back}'
    back = subprocess.run(["bash", "-c", program], env=contained.environment(postgres_image=OLD), capture_output=True)

    assert back.returncode == 0, back.stderr
    assert (major_of(old), users_of(old)) == (18, ["ana"])
    assert contained.services() == {"database"}


@pytest.mark.parametrize("words", [("upgrade",), ("upgrade", "--to", "18", "--rollback"), ("move", "--to", "nowhere")])
def test_a_command_that_cannot_be_meant_is_refused(contained: Contained, old: Stack, words: tuple[str, ...]) -> None:
    assert fastzero(contained, "db", *words).returncode == 2


def test_another_database_than_the_stack_s_is_not_moved(
    contained: Contained, old: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = make_url(old.database_url).set(database="another")
    monkeypatch.setenv("DATABASE_URL", another.render_as_string(hide_password=False))

    refused = fastzero(contained, "db", "upgrade", "--to", "18", postgres_image=OLD)

    assert (refused.returncode, major_of(old)) == (2, 17)


def test_standbys_that_were_left_in_a_swarm_are_not_made_again_elsewhere(contained: Contained) -> None:
    stack = contained.stack().up()
    record = stack.project.record
    assert record is not None
    with_standbys = Place("swarm", image=OLD, volume="left", members=("one", "two", "three"))
    stack.project.save(replace(record, kept=(with_standbys,)))

    assert stack.upgrade(18) is None

    stack.project.save(record)


# -- killed ----------------------------------------------------------------------------------------------------

STEPS = ["dump", "restore", "compare", "stop", "start"]
# What the plan of each of the other moments is, `test_relocate` says.
KILLED = [("dump", True), ("restore", False), ("compare", True), ("stop", False), ("start", True), ("stop", True)]


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_an_upgrade_that_was_interrupted_leaves_the_database_in_service(
    step: str, contained: Contained, old: Stack, run_python: RunPython
) -> None:
    interrupted = run_python(
        KILLED_AT.replace("SIGKILL", "SIGINT"), "upgrade", "18", step, env=contained.environment(postgres_image=OLD)
    )
    interrupted.communicate()

    assert [service.state for service in old.status()] == [ServiceState.RUNNING]
    assert users_of(old) == ["ana"]
    assert major_of(old) == (18 if interrupted.returncode == 0 else 17)
    assert len(volumes_of(contained)) == (2 if interrupted.returncode == 0 else 1)


@pytest.mark.slow
@pytest.mark.parametrize(("step", "starts_first"), KILLED)
def test_an_upgrade_that_was_killed_leaves_all_rows_in_service_and_can_be_run_again(
    step: str, starts_first: bool, contained: Contained, old: Stack, run_python: RunPython
) -> None:
    kill(run_python, contained.environment(postgres_image=OLD), "upgrade", "18", step)

    if starts_first:
        old.up()
        assert users_of(old) == ["ana"]

    old.upgrade(18)
    assert (major_of(old), users_of(old)) == (18, ["ana"])
    assert contained.services() == {"database"}
    assert len(volumes_of(contained)) == 2


def test_the_use_of_another_place_removes_what_a_killed_move_has_begun_to_fill(
    contained: Contained, old: Stack, run_python: RunPython
) -> None:
    left = old.upgrade(18)
    assert left is not None
    kill(run_python, contained.environment(postgres_image=OLD), "move", "embedded", "restore")
    assert list(contained.home.glob("projects/*/data*"))

    old.use_place(left.name)

    assert not list(contained.home.glob("projects/*/data*"))
    assert (major_of(old), users_of(old)) == (17, ["ana"])
    assert old.plan() == []


def test_after_a_killed_upgrade_up_needs_no_setting_and_leaves_nothing_of_it(
    contained: Contained, old: Stack, run_python: RunPython
) -> None:
    kill(run_python, contained.environment(), "upgrade", "18", "restore")

    stack = contained.stack().up()

    assert (major_of(stack), users_of(stack)) == (17, ["ana"])
    assert contained.services() == {"database"}
    assert volumes_of(contained) == {contained.name("database")}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "starts_first"), KILLED)
def test_a_move_that_was_killed_leaves_all_rows_in_service_and_can_be_run_again(
    step: str, starts_first: bool, contained: Contained, local: Stack, run_python: RunPython
) -> None:
    for runtime in ("docker", "embedded"):
        kill(run_python, contained.environment(), "move", runtime, step)

        if starts_first:
            local.up()
            assert users_of(local) == ["ana"]

        local.move(runtime)
        record = local.project.record
        assert record is not None
        assert (record.runtime, users_of(local)) == (runtime, ["ana"])


@pytest.mark.slow
@pytest.mark.parametrize("afterwards", ["up", "down"])
def test_of_a_move_into_containers_that_was_killed_the_next_command_leaves_none(
    afterwards: str, contained: Contained, local: Stack, run_python: RunPython
) -> None:
    kill(run_python, contained.environment(), "move", "docker", "compare")
    assert len(volumes_of(contained)) == 1
    assert steps(local.plan()) == ["remove archive", "remove container", "remove network", "remove volume"]

    getattr(local, afterwards)()

    assert (contained.services(), volumes_of(contained), contained.has_network()) == (set(), set(), False)
    assert users_of(local.up()) == ["ana"]


@pytest.mark.slow
@pytest.mark.parametrize("afterwards", ["up", "down"])
def test_of_a_move_out_of_containers_that_was_killed_the_next_command_leaves_no_process_and_no_data(
    afterwards: str, contained: Contained, old: Stack, run_python: RunPython
) -> None:
    kill(run_python, contained.environment(postgres_image=OLD), "move", "embedded", "compare")
    processes = Processes(old.project.folder)
    assert processes.find("database-moving") is not None
    assert (filling := old.project.record and old.project.record.filling)

    getattr(old, afterwards)()

    assert processes.recorded("database-moving") is None
    assert not Path(filling.data).exists()
    assert users_of(old.up()) == ["ana"]


@pytest.mark.slow
def test_an_engine_that_is_away_keeps_nobody_from_going_on_behind_a_killed_move(
    contained: Contained, local: Stack, run_python: RunPython, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(run_python, contained.environment(), "move", "docker", "compare")
    told: list[Event] = []

    with monkeypatch.context() as away:
        away.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port}")
        contained.stack(runtime="embedded", on_event=told.append).up()

    assert any("what a move left stays for now" in text for text in texts(told))
    local.up()
    assert volumes_of(contained) == set()


def kill(run_python: RunPython, environment: dict[str, Any], *arguments: str) -> None:
    killed = run_python(KILLED_AT, *arguments, env=environment)
    said, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, said


# -- care, from Python -----------------------------------------------------------------------------------------


def test_a_stack_is_backed_up_verified_and_restored(contained: Contained, old: Stack) -> None:
    told: list[Event] = []
    backup = contained.stack(postgres_image=OLD, on_event=told.append).backup(name="early")
    add_user(old, "bob")

    assert old.verify(backup.file).rows == old.verify("early").rows == backup.rows
    restored = old.restore("early")

    assert users_of(old) == ["ana"]
    assert restored.kept is not None
    assert Progress("dump", 0, None, "rows") in told
