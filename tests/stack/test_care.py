"""Backups of a stack, whichever runtime it is in: its own programs, and a server that need not run."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from fastzero_core import Stack
from fastzero_core.errors import (
    BackupNotFoundError,
    DatabaseFullError,
    LockedError,
    ProgramFailedError,
    ProjectNotFoundError,
    UnavailableError,
)
from fastzero_core.stack.docker.runtime import DockerRuntime

from .conftest import Contained, Template, add_user, end_all, users_of

pytestmark = pytest.mark.slow


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def either(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack that runs, in one runtime and in the other."""
    if request.param == "embedded":
        yield request.getfixturevalue("running")
    else:
        yield request.getfixturevalue("contained").stack().up()


def test_a_backup_comes_back(either: Stack) -> None:
    add_user(either)
    backup = either.backup(name="one")
    add_user(either, "bob")
    assert either.verify("one").rows == backup.rows == 2
    assert either.restore("one").rows == 2
    assert users_of(either) == ["ana"]
    assert Path(backup.file).parent == either.project.home / "backups" / either.project.name


def test_a_stopped_database_is_started_for_it_and_stopped_again(either: Stack) -> None:
    add_user(either)
    either.down()
    backup = either.backup()
    assert either.running() == set()
    assert either.verify(backup.name).rows == 2
    assert either.running() == set()


def test_backups_outlive_the_stack(either: Stack, tmp_path: Path) -> None:
    add_user(either)
    backup = either.backup(tmp_path / "kept" / "one.dump")
    either.down(volumes=True)
    with pytest.raises(ProjectNotFoundError):
        either.backup()
    assert Path(backup.file).exists()


def test_a_backup_that_is_not_there_is_named(either: Stack) -> None:
    with pytest.raises(BackupNotFoundError, match="backup 'nothing' does not exist"):
        either.restore("nothing")


# -- in a container --------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(served: Contained) -> Callable[..., tuple[int, str]]:
    return DockerRuntime(served.stack().project).pipe


@pytest.mark.docker
def test_a_command_reads_what_it_is_handed_and_its_words_are_kept_apart(pipe: Callable[..., tuple[int, str]]) -> None:
    chunks, got = [bytes([number]) * 100_000 for number in range(50)], bytearray()
    script = "cat; echo aside >&2; exit 3"
    assert pipe("database", ["sh", "-c", script], read=iter(chunks), write=got.extend) == (3, "aside\n")
    assert bytes(got) == b"".join(chunks)


@pytest.mark.docker
def test_a_command_that_does_not_read_to_the_end_is_no_error(pipe: Callable[..., tuple[int, str]]) -> None:
    endless = (b"x" * 100_000 for _ in range(1000))
    assert pipe("database", ["true"], read=endless, write=print) == (0, "")


@pytest.mark.docker
def test_nothing_of_a_restore_stays_in_the_container(contained: Contained) -> None:
    stack = contained.stack().up()
    stack.backup(name="one")
    stack.verify("one")
    found = bytearray()
    DockerRuntime(stack.project).pipe("database", ["ls", "/tmp"], write=found.extend)
    assert b"fastzero" not in found


@pytest.mark.docker
def test_a_program_that_fails_in_the_container_says_why(served: Contained) -> None:
    from fastzero_core.stack.docker.programs import container_programs

    programs = container_programs(served.stack().project, "docker", "database", "fastzero", 18)
    with pytest.raises(ProgramFailedError, match="unrecognized option") as failed:
        programs.run("pg_dump", ["--nonsense"], "fastzero")
    assert "--nonsense" in failed.value.evidence


def test_a_backup_waits_its_turn_so_that_nobody_stops_the_database_under_it(running: Stack) -> None:
    impatient = Stack(running.settings.model_copy(update={"timeout": 0.2}))

    with running.project.lock(1), pytest.raises(LockedError):
        impatient.backup()


# -- a full disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """The home on a disk that has little room."""
    home.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=200m,mode=755", "fastzero-test", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield home
    end_all(home)
    subprocess.run(["umount", "--lazy", str(home)], check=True)


@pytest.fixture
def cramped(small_disk: Path, free_port: int, template: Template) -> Stack:
    """A stack with many todos on that disk."""
    template.copy_to(small_disk, free_port)
    stack = Stack("demo").up()
    add_user(stack)
    with psycopg.connect(stack.database_url) as session:
        session.execute(
            "INSERT INTO todos (user_id, title) SELECT id, md5(n::text) FROM users, generate_series(1, 20000) n"
        )
    return stack


def _leave_room(disk: Path, megabytes: float) -> None:
    """Fill a disk but for so much."""
    with (disk / "ballast").open("wb") as file, contextlib.suppress(OSError):
        while shutil.disk_usage(disk).free > megabytes * 2**20:
            file.write(bytes(2**16))
            file.flush()


# Room for the database's own files, its content, its log. Without room for its log the server ends: pg_restore may have
# been told of the full disk, or have lost its connection.
@pytest.mark.parametrize(
    ("megabytes", "error"), [(1, DatabaseFullError), (4, DatabaseFullError), (9, UnavailableError)]
)
def test_a_full_disk_under_a_restore_loses_nothing(
    megabytes: float, error: type[UnavailableError], cramped: Stack, small_disk: Path, folder: Path
) -> None:
    cramped.backup(folder / "one.dump")
    _leave_room(small_disk, megabytes)
    with pytest.raises(error):
        cramped.restore(folder / "one.dump")
    (small_disk / "ballast").unlink()
    cramped.up()
    assert _count(cramped) == 20_000
    assert cramped.restore(folder / "one.dump").rows == 40_002
    assert _count(cramped) == 20_000


def test_a_full_disk_under_a_backup_leaves_no_half_of_one(cramped: Stack, small_disk: Path) -> None:
    backups = small_disk / "backups" / "demo"
    _leave_room(small_disk, 0.5)
    with pytest.raises(UnavailableError) as full:
        cramped.backup(name="one")
    assert "room" in full.value.hint or "space" in full.value.hint
    assert list(backups.iterdir()) == []
    (small_disk / "ballast").unlink()
    assert cramped.backup(name="one").rows == 40_002


def _count(stack: Stack) -> int:
    with psycopg.connect(stack.database_url) as session:
        row = session.execute("SELECT count(*) FROM todos").fetchone()
        return int(row[0]) if row else 0
