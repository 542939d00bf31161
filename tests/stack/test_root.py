"""What a stack does as root where others can change its folders, and what its server's account can do to root."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from fastzero_core import NotAllowedError, Stack, UnhealthyError, load_settings
from fastzero_core.errors import FastZeroError, ForeignStackError
from fastzero_core.events import Event, Notice
from fastzero_core.folders import MARK, mark_of
from fastzero_core.polling import wait_until
from fastzero_core.postgres.account import service_user
from fastzero_core.project import Place, Project, projects
from fastzero_core.stack.doctor import examine
from fastzero_core.stack.observed import ServiceState
from tests.swapping import swapping

from .conftest import SOON, steps

pytestmark = pytest.mark.slow

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")
NOBODY = 65534


@pytest.fixture
def outside(folder: Path) -> Iterator[Path]:
    """A folder that only root may enter, which stays as it is."""
    outside = folder / "outside"
    (outside / "demo" / "secrets").mkdir(parents=True)
    outside.chmod(0o700)
    for name in ("demo/project.json", "demo/secrets/database_password", "file"):
        (outside / name).write_text(f"root's secret in {name}")
    before = _state(outside)
    yield outside
    assert _state(outside) == before


def _state(folder: Path) -> dict[str, str]:
    """Every file below a folder by its content, owner and mode, and every folder."""
    return {str(path): _described(path) for path in sorted(folder.rglob("*"))}


def _described(path: Path) -> str:
    found = path.lstat()
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return f"{content} {found.st_uid} {found.st_mode} {found.st_size}"


def _data_of(stack: Stack) -> Path:
    record = stack.project.record
    assert record is not None
    return Path(record.data)


# -- a home below a folder of somebody else --------------------------------------------------------------------

COMMANDS: dict[str, Callable[[Stack], object]] = {
    "up": lambda stack: stack.up(),
    "up --dry-run": lambda stack: stack.plan(),
    "status": lambda stack: stack.status(),
    "restart": lambda stack: stack.restart(),
    "down": lambda stack: stack.down(),
    "down --volumes": lambda stack: stack.down(volumes=True),
    "env": lambda stack: stack.database_url,
    "ls": lambda stack: projects(stack.project.home),
    "user use": lambda stack: setattr(stack.project, "current_user", "ana"),
}


@pytest.fixture
def theirs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FASTZERO_HOME below a folder of the user nobody, with what looks like a project in it."""
    home = folder / "theirs" / "home"
    (home / "projects" / "demo").mkdir(parents=True)
    (home / "projects" / "demo" / "project.json").write_text("{}")
    for path in (folder / "theirs", home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    monkeypatch.setenv("FASTZERO_HOME", str(home))
    return home


@as_root
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_home_below_a_folder_of_somebody_else_is_refused(theirs: Path, command: Callable[[Stack], object]) -> None:
    before = _state(theirs)

    with pytest.raises(NotAllowedError, match="can be changed by user nobody") as refused:
        command(Stack("demo"))

    assert refused.value.exit_code == 5
    assert "FASTZERO_HOME" in refused.value.hint
    assert _state(theirs) == before


@as_root
@pytest.mark.parametrize("swapped", ["projects", "projects/demo", ""])
def test_nothing_outside_is_touched_while_somebody_swaps_links_in_it(theirs: Path, outside: Path, swapped: str) -> None:
    with swapping(theirs / swapped, outside, NOBODY):
        for _ in range(5):
            for command in COMMANDS.values():
                with pytest.raises(FastZeroError) as refused:
                    command(Stack("demo"))
                assert "root's secret" not in f"{refused.value.message} {refused.value.hint}"


@as_root
def test_doctor_tells_who_can_change_the_home(theirs: Path) -> None:
    [finding] = [each for each in examine(Stack("demo").settings) if each.code == "home"]

    assert finding.result == "failed"
    assert "can be changed by user nobody" in finding.found
    assert "FASTZERO_HOME" in finding.remedy


@as_root
def test_a_home_that_others_can_reach_but_not_change_is_used(stack: Stack, folder: Path) -> None:
    folder.chmod(0o1777)

    assert stack.up().status()[0].state is ServiceState.RUNNING


@as_root
def test_data_below_a_folder_of_somebody_else_is_refused(stack: Stack, folder: Path) -> None:
    record = stack.project.record
    assert record is not None
    (folder / "theirs").mkdir()
    shutil.move(record.data, folder / "theirs" / "data")
    os.chown(folder / "theirs", NOBODY, NOBODY)
    stack.project.save(replace(record, data=str(folder / "theirs" / "data")))

    with pytest.raises(NotAllowedError, match="can be changed by user nobody"):
        stack.up()


# -- what the account that PostgreSQL runs as leaves in its data -----------------------------------------------


def _plant(link: Path, target: Path) -> None:
    """Make a link as the owner of the data could."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    owner = link.parent.stat()
    os.chown(link, owner.st_uid, owner.st_gid, follow_symlinks=False)


@pytest.mark.parametrize("name", [".s.PGSQL.1.lock", ".s.PGSQL.5432.lock"])
def test_a_lock_file_that_is_a_link_is_not_followed(stack: Stack, outside: Path, name: str) -> None:
    _plant(_data_of(stack) / name, outside / "file")

    assert stack.up().status()[0].state is ServiceState.RUNNING


@as_root
def test_a_pid_file_that_is_a_link_is_not_followed(stack: Stack, outside: Path) -> None:
    pid_file = _data_of(stack) / "postmaster.pid"
    _plant(pid_file, outside / "file")

    with pytest.raises(UnhealthyError) as failed:
        stack.up()

    assert "root's secret" not in failed.value.evidence
    pid_file.unlink()
    assert stack.up().status()[0].state is ServiceState.RUNNING


def test_a_version_that_is_a_link_is_not_read(stack: Stack, outside: Path) -> None:
    _plant(_data_of(stack) / "PG_VERSION", outside / "file")

    with pytest.raises(NotAllowedError, match="PG_VERSION") as refused:
        stack.up()

    assert "root's secret" not in str(refused.value.as_dict())


def test_a_version_that_is_a_fifo_is_not_waited_for(stack: Stack) -> None:
    version = _data_of(stack) / "PG_VERSION"
    version.unlink()
    os.mkfifo(version)

    with pytest.raises(NotAllowedError, match="PG_VERSION"):
        stack.up()


def test_a_log_that_is_a_link_is_not_appended_to(stack: Stack, outside: Path) -> None:
    log = stack.project.folder / "logs" / "database.stderr.log"
    log.unlink(missing_ok=True)
    log.symlink_to(outside / "file")

    with pytest.raises(FastZeroError, match=r"database\.stderr\.log"):
        stack.up()


@pytest.mark.parametrize("name", ["base/link", "pg_tblspc/1", ".fastzero-link", "postmaster.pid"])
def test_what_links_in_the_data_lead_to_stays_when_it_is_destroyed(stack: Stack, outside: Path, name: str) -> None:
    data = _data_of(stack)
    _plant(data / name, outside)

    stack.down(volumes=True)

    assert not data.exists()


@as_root
def test_what_the_account_swaps_in_the_data_leads_nowhere_when_it_is_destroyed(stack: Stack, outside: Path) -> None:
    account, data = service_user(), _data_of(stack)
    assert account is not None
    with swapping(data / "base", outside / "demo", account.uid):
        while data.exists():
            with contextlib.suppress(FastZeroError):
                stack.down(volumes=True)
    (outside / "swaps").unlink()


# -- the server's environment ----------------------------------------------------------------------------------


def test_a_program_that_the_server_runs_finds_nothing_of_its_starters_environment(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("SECRET_KEY", "a secret" * 8)
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1MB")
    monkeypatch.setenv("TZ", "UTC")
    stack.up()
    superuser_url = getattr(stack, "superuser_url", None) or stack.database_url

    with psycopg.connect(superuser_url) as connection:
        connection.execute("CREATE TEMP TABLE shown (line text)")
        connection.execute("COPY shown FROM PROGRAM 'env' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')")
        lines = [line for (line,) in connection.execute("SELECT line FROM shown")]

    names = {line.partition("=")[0] for line in lines}
    assert "a secret" not in "\n".join(lines)
    assert names <= {
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "LD_LIBRARY_PATH",
        "FASTZERO_PROCESS",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    } | {name for name in names if name.startswith(("LC_", "PG"))}
    assert "PGOPTIONS" not in names
    assert "TZ=UTC" in lines


def test_the_programs_that_make_a_cluster_have_no_more_of_it(
    home: Path, default_port: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    seen: dict[str, bool] = {}

    def look(event: Event) -> None:
        for process in psutil.process_iter(["name"]):
            if process.info["name"] in ("initdb", "postgres"):
                with contextlib.suppress(psutil.Error):
                    if str(home) in " ".join(process.cmdline()):
                        seen[process.info["name"]] = "AWS_SECRET_ACCESS_KEY" in process.environ()

    stack = Stack("demo", on_event=look).up()
    look(Notice(""))

    assert seen.get("postgres") is False
    assert "initdb" not in seen or not seen["initdb"]
    stack.down()


# -- marks: what is not marked is not deleted ------------------------------------------------------------------


@pytest.fixture
def unrelated(folder: Path) -> Path:
    """A folder of the user's own that looks like a data directory."""
    unrelated = folder / "documents"
    unrelated.mkdir()
    (unrelated / "PG_VERSION").write_text("18\n")
    (unrelated / "thesis").write_text("years of work")
    (folder / ".documents.init-12345678").mkdir()
    (folder / ".documents.init-12345678" / "notes").write_text("more of it")
    return unrelated


def test_what_fastzero_makes_bears_the_projects_mark(stack: Stack) -> None:
    mark = mark_of(stack.project.folder)

    assert mark is not None
    assert "project demo" in mark
    assert mark_of(_data_of(stack)) == mark


@pytest.mark.parametrize("where", ["data", "kept", "filling"])
def test_an_unrelated_folder_that_a_record_names_is_not_deleted_and_is_named(
    stack: Stack, unrelated: Path, where: str
) -> None:
    record, place = stack.project.record, Place("embedded", data=str(unrelated))
    assert record is not None
    changes: dict[str, dict[str, Any]] = {
        "data": {"data": str(unrelated)},
        "kept": {"kept": (place,)},
        "filling": {"filling": place},
    }
    stack.project.save(replace(record, **changes[where]))
    told: list[Event] = []

    Stack("demo", on_event=told.append).down(volumes=True)

    assert (unrelated / "thesis").read_text() == "years of work"
    assert (unrelated.parent / ".documents.init-12345678" / "notes").exists()
    assert any(isinstance(event, Notice) and f"{unrelated} is not marked" in event.text for event in told)
    assert not stack.project.folder.exists()


def test_the_data_of_another_project_is_not_deleted(stack: Stack, home: Path) -> None:
    record = stack.project.record
    assert record is not None
    other = Project("other", home)
    other.save(replace(record, kept=()))

    Stack(load_settings(project="other", home=home)).down(volumes=True)

    assert stack.up().status()[0].state is ServiceState.RUNNING


def test_a_kept_place_that_is_not_marked_is_not_discarded(stack: Stack, unrelated: Path) -> None:
    from fastzero_core.stack.places import MovableStack

    record = stack.project.record
    assert record is not None
    stack.project.save(replace(record, kept=(Place("embedded", data=str(unrelated)),)))

    with pytest.raises(ForeignStackError, match="is not marked"):
        MovableStack("demo").discard_kept()

    assert (unrelated / "thesis").exists()


@pytest.fixture
def from_before(stack: Stack) -> Stack:
    """A project as a version made it that did not mark what it made."""
    for folder in (stack.project.folder, _data_of(stack)):
        (folder / MARK).unlink()
    return stack


def test_folders_from_before_are_marked_by_the_next_up_once(from_before: Stack) -> None:
    planned = steps(from_before.plan())
    assert planned[:2] == ["create mark", "create mark"]

    from_before.up()

    assert mark_of(from_before.project.folder) == mark_of(_data_of(from_before)) is not None
    assert steps(from_before.plan()) == []


def test_folders_from_before_are_deleted_with_their_project(from_before: Stack) -> None:
    data = _data_of(from_before)

    from_before.down(volumes=True)

    assert not data.exists()
    assert not from_before.project.folder.exists()


def test_a_folder_from_before_with_something_else_in_it_is_not_deleted(from_before: Stack) -> None:
    (from_before.project.folder / "notes.txt").write_text("mine")
    told: list[Event] = []

    Stack("demo", on_event=told.append).down(volumes=True)

    assert (from_before.project.folder / "notes.txt").read_text() == "mine"
    assert from_before.project.record is None
    assert any(isinstance(event, Notice) and "Delete it yourself" in event.text for event in told)


def test_data_from_before_that_lies_elsewhere_is_not_marked(from_before: Stack, folder: Path) -> None:
    record = from_before.project.record
    assert record is not None
    shutil.move(record.data, folder / "moved")
    from_before.project.save(replace(record, data=str(folder / "moved")))

    from_before.up()

    assert mark_of(folder / "moved") is None
    from_before.down(volumes=True)
    assert (folder / "moved" / "PG_VERSION").exists()


def test_a_folder_of_the_users_own_becomes_no_project(home: Path, default_port: int) -> None:
    own = home / "projects" / "demo"
    own.mkdir(parents=True)
    (own / "main.py").write_text("print()")

    with pytest.raises(FastZeroError, match=r"main\.py"):
        Stack("demo").up()

    assert [path.name for path in own.iterdir()] == ["main.py"]


def test_a_mark_of_a_half_made_folder_comes_with_the_next_write(home: Path) -> None:
    project = Project("demo", home)
    project.folder.mkdir(parents=True)

    project.ensure_secret("secret_key")

    assert json.dumps(mark_of(project.folder)) != "null"
    assert wait_until(lambda: project.has_secret("secret_key"), SOON)
