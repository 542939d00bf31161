"""A project's folder: whole or not at all, its owner's alone, one command at a time."""

import json
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastzero_core import NotAllowedError, UnavailableError, load_settings
from fastzero_core.errors import LockedError, ProjectNotFoundError, RecordError
from fastzero_core.events import Event, Notice
from fastzero_core.files import make_folder, write_atomically
from fastzero_core.project import Place, Project, ProjectRecord, database_url, ports_of_others, projects
from fastzero_core.stack.listing import list_projects
from fastzero_core.stack.observed import ServiceState

from .conftest import SOON, RunPython

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from fastzero_core.events import Event, Notice
from fastzero_core.project import Project

with Project("demo", Path(sys.argv[1])).lock(10):
    print("held", flush=True)
    sys.stdin.read()
"""

needs_ordinary_rights = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


@pytest.fixture
def project(home: Path) -> Project:
    return Project("demo", home)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the record and the secrets --------------------------------------------------------------------------------


def test_making_a_project_touches_nothing(home: Path) -> None:
    assert Project("demo", home).record is None
    assert not home.exists()


def test_a_record_is_read_back_as_it_was_saved(project: Project) -> None:
    record = ProjectRecord("embedded", {"database": 5433}, "/somewhere/data")

    project.save(record)

    assert project.record == record


def test_only_projects_that_had_an_up_are_listed(home: Path) -> None:
    for name in ("b", "a"):
        Project(name, home).save(ProjectRecord("embedded"))
    (home / "projects" / "begun").mkdir()

    assert [project.name for project in projects(home)] == ["a", "b"]


def test_files_are_for_their_owner_alone_whatever_the_umask(umask: None, project: Project) -> None:
    project.save(ProjectRecord("embedded"))
    project.ensure_secret("database_password")

    assert mode(project.folder / "project.json") == 0o600
    assert mode(project.folder / "secrets" / "database_password") == 0o600
    assert mode(project.folder / "secrets") == 0o700


def test_folders_on_the_way_can_be_entered_but_not_listed_by_others(umask: None, project: Project) -> None:
    project.save(ProjectRecord("embedded"))

    assert {mode(folder) for folder in (project.home, project.folder.parent, project.folder)} == {0o711}


def test_a_folder_that_was_there_keeps_its_mode(folder: Path) -> None:
    folder.chmod(0o750)

    make_folder(folder / "new", 0o700)

    assert mode(folder) == 0o750


def test_a_secret_is_generated_once_and_kept(project: Project) -> None:
    project.ensure_secret("database_password")
    first = project.secret("database_password")

    project.ensure_secret("database_password")

    assert len(first) >= 32
    assert project.secret("database_password") == first


def test_two_projects_share_no_secret(home: Path) -> None:
    made = [Project(name, home) for name in ("a", "b")]
    for project in made:
        project.ensure_secret("database_password")

    assert made[0].secret("database_password") != made[1].secret("database_password")


def test_a_missing_secret_is_an_error_that_tells_where_it_should_be(project: Project) -> None:
    with pytest.raises(ProjectNotFoundError) as caught:
        project.secret("database_password")

    assert "secrets/database_password" in caught.value.hint


def test_the_url_of_a_project_without_a_stack_is_an_error(project: Project) -> None:
    with pytest.raises(ProjectNotFoundError, match="has no stack yet"):
        project.database_url()


def test_the_url_is_the_projects_unless_another_database_is_named(home: Path, project: Project) -> None:
    project.save(ProjectRecord("embedded", {"database": 5433}))
    project.ensure_secret("database_password")
    password = project.secret("database_password")

    own = load_settings(project="demo", home=home)
    other = load_settings(project="demo", home=home, database_url="postgresql://elsewhere/db")

    address = f"postgresql://fastzero:{password}@127.0.0.1:5433/fastzero"
    assert database_url(own) == f"{address}?require_auth=scram-sha-256"
    assert database_url(other) == "postgresql://elsewhere/db"


def test_removing_a_project_leaves_the_others(home: Path) -> None:
    for name in ("a", "b"):
        Project(name, home).save(ProjectRecord("embedded"))

    Project("a", home).remove()
    Project("a", home).remove()

    assert [project.name for project in projects(home)] == ["b"]


# -- writing ---------------------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_content_and_no_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "file"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left on device"):
        write_atomically(path, "new")

    assert path.read_text() == "old"
    assert list(folder.iterdir()) == [path]


@pytest.mark.slow
def test_a_reader_sees_the_old_content_or_the_new_even_if_the_writer_is_killed(
    folder: Path, run_python: RunPython
) -> None:
    path = folder / "file"
    write_atomically(path, "0" * 100_000)
    code = (
        "import sys, itertools; from pathlib import Path; from fastzero_core.files import write_atomically\n"
        "for n in itertools.cycle('123'): write_atomically(Path(sys.argv[1]), n * 100_000); print(n, flush=True)"
    )
    for _ in range(5):
        writer = run_python(code, str(path))
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
            text = path.read_text()
            assert text == text[0] * 100_000
        writer.kill()
        writer.wait()

        text = path.read_text()
        assert text == text[0] * 100_000


def test_a_home_that_is_a_file_is_an_error_of_fastzeros(folder: Path) -> None:
    (folder / "home").touch()

    with pytest.raises(UnavailableError, match=r"Not a directory|File exists") as caught:
        Project("demo", folder / "home").save(ProjectRecord("embedded"))

    assert "FASTZERO_HOME" in caught.value.hint


@needs_ordinary_rights
def test_a_home_that_is_not_ours_is_an_error_that_says_what_to_set(folder: Path) -> None:
    folder.chmod(0o555)

    with pytest.raises(NotAllowedError) as caught:
        Project("demo", folder / "home").save(ProjectRecord("embedded"))

    assert "FASTZERO_HOME" in caught.value.hint


@needs_ordinary_rights
def test_a_lock_that_is_not_ours_is_an_error_of_fastzeros(project: Project) -> None:
    with project.lock(1):
        pass
    (project.home / "locks" / "demo.lock").chmod(0o400)

    with pytest.raises(NotAllowedError), project.lock(1):
        pass


# -- the lock --------------------------------------------------------------------------------------------------


def hold(run_python: RunPython, project: Project) -> "subprocess.Popen[str]":
    holder: subprocess.Popen[str] = run_python(HOLD_THE_LOCK, str(project.home), stdin=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_no_other_user_can_take_the_lock_of_a_home_of_an_older_version_either(project: Project) -> None:
    folder = project.home / "locks"
    make_folder(folder, 0o755)
    folder.chmod(0o755)

    with project.lock(1):
        pass

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "demo.lock").stat().st_mode) == 0o600


def test_a_second_command_says_that_it_waits_and_proceeds_once_the_first_has_ended(
    project: Project, run_python: RunPython
) -> None:
    holder = hold(run_python, project)
    told: list[Event] = []
    waits = threading.Event()

    def on_event(event: Event) -> None:
        told.append(event)
        waits.set()

    def release() -> None:
        waits.wait(SOON)
        assert holder.stdin is not None
        holder.stdin.close()

    releaser = threading.Thread(target=release)
    releaser.start()
    with project.lock(10, on_event):
        releaser.join()

    assert told == [Notice("another fastzero command is running on project demo; waiting for it to end")]


def test_a_lock_that_is_free_is_not_worth_a_word(project: Project) -> None:
    told: list[Event] = []

    with project.lock(1, told.append):
        pass

    assert told == []


def test_waiting_for_the_lock_ends_with_the_timeout(project: Project, run_python: RunPython) -> None:
    hold(run_python, project)

    with pytest.raises(LockedError) as caught, project.lock(0.1):
        pass

    assert caught.value.exit_code == 6
    assert "--timeout" in caught.value.hint


def test_the_lock_dies_with_its_holder(project: Project, run_python: RunPython) -> None:
    holder = hold(run_python, project)

    holder.send_signal(signal.SIGKILL)

    with project.lock(5):
        pass


def test_projects_do_not_wait_for_each_other(home: Path, project: Project, run_python: RunPython) -> None:
    hold(run_python, project)

    with Project("other", home).lock(0.1):
        pass


def test_the_lock_is_given_back_when_its_block_fails(project: Project) -> None:
    with pytest.raises(ZeroDivisionError), project.lock(1):
        raise ZeroDivisionError

    with project.lock(0.1):
        pass


# -- records that cannot be read -------------------------------------------------------------------------------

KNOWN = ProjectRecord("docker", {"database": 5432}, initialised=True, volume="v", owner="me", processes=())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"format": 2, "runtime": "embedded", "surprise": 1}', "is damaged: .*surprise"),
        (b'{"format": 2, "runtime": "podman"}', "runtime 'podman' is not one of embedded, docker"),
        (b'{"format": 99, "written_by": "7.5.0"}', "was written by fastzero 7.5.0; this version cannot read it"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_says_why(content: bytes, message: str, project: Project) -> None:
    project.save(KNOWN)
    (project.folder / "project.json").write_bytes(content)

    with pytest.raises(RecordError, match=message) as unreadable:
        project.record  # noqa: B018

    assert unreadable.value.exit_code == 4
    assert str(project.folder) in unreadable.value.message


def test_a_record_that_cannot_be_read_keeps_no_other_project_from_working(project: Project) -> None:
    good = Project("good", project.home)
    good.save(ProjectRecord("embedded", {"database": 5555}))
    project.save(KNOWN)
    (project.folder / "project.json").write_text("{")
    (project.home / "projects" / ".DS_Store").write_bytes(b"\0")
    (project.home / "projects" / "notes").mkdir()

    states = {summary.project: summary.state for summary in list_projects(load_settings(home=project.home))}

    assert states == {"demo": ServiceState.UNKNOWN, "good": ServiceState.ABSENT}
    assert ports_of_others(Project("third", project.home)) == {5555}


def test_a_record_comes_back_as_it_was_saved(project: Project) -> None:
    place = Place("docker", image="postgres:17", volume="older", others=("mine",))
    record = replace(KNOWN, kept=(place,), filling=place, leaving=place)

    project.save(record)

    assert project.record == record


def test_a_record_of_the_first_format_is_understood(project: Project) -> None:
    project.save(KNOWN)
    (project.folder / "volume-owner").write_text("0123456789abcdef")
    old = {"runtime": "docker", "ports": {"database": 5432}, "initialised": True, "app": False, "image": "postgres:18"}
    (project.folder / "project.json").write_text(json.dumps({**old, "data": "", "volume": "", "kept": []}))

    record = project.record

    assert record is not None
    assert (record.processes, record.owner, record.image) == ((), "0123456789abcdef", "postgres:18")
