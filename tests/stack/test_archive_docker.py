"""The archive of a database in containers: the same promises, with an archiver that has no privilege."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from fastzero_core import Stack
from fastzero_core.archive.description import ARCHIVER, CREDENTIALS, Archive
from fastzero_core.archive.recovery import time_of
from fastzero_core.archive.segments import SIZE
from fastzero_core.errors import ArchiveIncompleteError, NotFoundError, UnavailableError
from fastzero_core.polling import wait_until
from fastzero_core.stack import doctor
from fastzero_core.stack.observed import ServiceState
from fastzero_core.testing import session_folder
from tests.ports import any_free_port

from .archived import archived, content, fill, now, run, state, switch
from .conftest import SOON, Contained, RunPython
from .s3 import BUCKET, S3, s3_server

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def s3(engine: Any) -> Iterator[S3]:
    """A server that containers reach."""
    if not all(find_spec(name) for name in ("boto3", "moto")):
        pytest.skip("the dependency group archive is not installed")
    [pool] = engine.networks.get("bridge").attrs["IPAM"]["Config"]
    gateway = pool.get("Gateway") or next(ip_network(pool["Subnet"]).hosts())
    with s3_server(session_folder(), any_free_port(), str(gateway)) as server:
        yield server


@pytest.fixture
def place(folder: Path) -> Iterator[Path]:
    """A folder of the engine's machine, which no shell would leave as it is."""
    made = folder / 'it\'s $(touch here) "x" & é'
    made.mkdir()
    yield made
    shutil.rmtree(made)


def test_a_second_in_the_past_is_reached_from_the_bucket_alone_after_all_else_is_destroyed(
    contained: Contained, s3: S3, folder: Path
) -> None:
    stack = contained.stack().up()
    url = f"s3://{BUCKET}/{contained.project}"
    stack.enable_archive(url, endpoint_url=s3.endpoint, credentials=s3.credentials, keep="1")
    fill(stack)
    before, moment = content(stack), now(stack)
    run(stack, "DELETE FROM kept WHERE id % 2 = 0")
    assert_secret_is_kept(contained, stack, s3.secret)
    stack.down(volumes=True)
    assert contained.all_containers() == []
    shutil.rmtree(contained.home)

    archive, credentials = Archive(url, contained.project, endpoint_url=s3.endpoint), folder / "credentials"
    credentials.write_text(s3.credentials)
    assert len(stack.archive_backups(archive, credentials)) == 1
    assert stack.recover(stack.plan_recovery(moment, archive, credentials)) is None
    assert content(stack) == before
    assert [each.state for each in stack.status()] == [ServiceState.RUNNING]


def assert_secret_is_kept(contained: Contained, stack: Stack, secret: str) -> None:
    """The credentials are in one file of the project and in a file of the archiver, which has no privilege."""
    archiver = contained.container(ARCHIVER)
    assert secret not in str([each.attrs for each in contained.all_containers()])
    assert secret in archiver.exec_run(["cat", f"/run/secrets/{CREDENTIALS}"]).output.decode()
    files = [path for path in stack.project.folder.rglob("*") if path.is_file() and secret in path.read_text("utf-8")]
    assert files == [stack.project.secret_file(CREDENTIALS)]
    host = archiver.attrs["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"]) == (True, ["ALL"], [])
    assert archiver.exec_run(["id", "-un"]).output == b"postgres\n"
    assert archiver.exec_run(["touch", "/var/lib/postgresql/x"]).exit_code != 0


def test_the_database_before_a_recovery_is_kept_and_disabled_the_archiver_leaves_nothing(
    contained: Contained, place: Path
) -> None:
    stack = contained.stack().up()
    archive = stack.enable_archive(place.as_uri())
    assert stack.plan() == []
    fill(stack, 10)
    before, moment = content(stack), now(stack)
    run(stack, "DELETE FROM kept")
    assert stack.verify_archive().segments >= 1
    left = stack.recover(stack.plan_recovery(moment))
    assert content(stack) == before
    assert stack.kept == (left,)
    archived(stack)  # it goes on being archived, on a timeline of its own
    first, second = stack.archive_backups()[0], stack.back_up_to_archive()
    assert [each.id for each in stack.archive_backups()] == [first.id, second.id]
    stopped = [action.name for action in stack.down() if str(action.verb) == "stop"]
    assert stopped == [contained.name("database"), contained.name(ARCHIVER)]
    assert stack.archive_status().state == "stopped"
    stack.up()

    stack.disable_archive()
    assert contained.services() == {"database"}
    assert run(stack, "SHOW archive_mode") == [("off",)]
    assert contained.engine.volumes.list(filters={"name": contained.name(ARCHIVER)}) == []
    assert len(stack.archive_backups(archive)) == 2


def test_a_missing_segment_is_refused_with_the_time_that_can_be_reached(contained: Contained, place: Path) -> None:
    stack = contained.stack().up()
    archive = stack.enable_archive(place.as_uri())
    fill(stack, 10)
    last = now(stack)
    archived(stack)
    run(stack, "INSERT INTO kept VALUES (11, '')")
    missing = archived(stack)
    run(stack, "DELETE FROM kept")
    archived(stack)
    (archive.folder / "wal" / f"{missing}.gz").unlink()

    with pytest.raises(ArchiveIncompleteError, match=missing) as caught:
        stack.plan_recovery(None)
    assert content(stack)[0] == 0
    reachable = time_of(caught.value.hint.partition("--to-time ")[2].split(". ")[0].rstrip("."), datetime.now(UTC))
    assert reachable is not None
    assert reachable >= last
    stack.recover(stack.plan_recovery(reachable))
    assert content(stack)[0] == 10


def test_an_archive_that_is_away_fails_loudly_stops_nothing_and_pauses_before_the_disk_fills(
    contained: Contained, place: Path
) -> None:
    stack = contained.stack().up()
    with pytest.raises(NotFoundError, match="does not exist") as caught:
        stack.enable_archive((place / "absent").as_uri())
    assert "mkdir" in caught.value.hint
    archive = stack.enable_archive(place.as_uri(), max_kept=4 * SIZE)
    fill(stack, 10)
    away = archive.folder.rename(archive.folder.with_name("away"))
    archive.folder.touch()  # in its place something that no folder can be made of
    switch(stack)
    assert wait_until(lambda: state(stack) is ServiceState.UNHEALTHY, SOON)
    assert {each.code: each.result for each in doctor.examine(stack.settings)}["archive"] == "failed"
    with pytest.raises(UnavailableError, match="is not archived"):
        stack.down(volumes=True)
    for _ in range(7):
        run(stack, "INSERT INTO kept VALUES (11, '')")
        switch(stack)
    assert wait_until(lambda: stack.archive_status().state == "paused", SOON)
    switch(stack)
    assert wait_until(lambda: stack.archive_status().waiting == 0, SOON * 2)  # the server may reuse them

    archive.folder.unlink()
    away.rename(archive.folder)
    stack.back_up_to_archive()
    assert stack.archive_status().state == "archiving"
    killed = str(contained.container(ARCHIVER).attrs["State"]["Pid"])
    given = {"entrypoint": ["kill", "-9"], "pid_mode": "host", "user": "root", "remove": True}
    contained.engine.containers.run("postgres:18", [killed], **given)
    archived(stack)  # the engine has started it again


KILLED = """
import os, signal, sys
from fastzero_core import Stack
from fastzero_core.events import Progress
def die(event):
    if isinstance(event, Progress) and event.step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
stack = Stack(on_event=die)
stack.recover(stack.plan_recovery(None))
"""


def test_a_recovery_that_is_killed_leaves_what_was_there_and_nothing_else(
    contained: Contained, place: Path, run_python: RunPython
) -> None:
    stack = contained.stack().up()
    stack.enable_archive(place.as_uri())
    fill(stack, 10)
    for step in ("fetch", "replay"):
        assert run_python(KILLED, step, env=contained.environment()).wait(SOON) == -signal.SIGKILL
        stack.up()
        assert content(stack)[0] == 10
        assert stack.kept == ()
        assert contained.services() == {"database", ARCHIVER}
        volumes = contained.engine.volumes.list(filters={"name": contained.name("")})
        assert {each.name for each in volumes} == {contained.name("database"), contained.name(ARCHIVER)}


def test_an_upgrade_and_a_move_go_on_in_folders_of_their_own_and_the_time_before_them_can_be_reached(
    contained: Contained, place: Path
) -> None:
    stack = contained.stack(postgres_image="postgres:17").up()
    stack.enable_archive(place.as_uri())
    fill(stack, 10)
    moment = now(stack)
    stack = contained.stack().up(port=any_free_port())
    stack.upgrade(18)
    assert sorted(each.name for each in place.iterdir()) == [contained.project, f"{contained.project}.2"]
    assert [each.major for each in stack.archive_backups()] == [18]
    upgraded = now(stack)
    run(stack, "DELETE FROM kept")
    stack.move("embedded")
    assert [each.major for each in stack.archive_backups()] == [18]
    assert contained.all_containers() == []
    stack.recover(stack.plan_recovery(upgraded))  # what containers archived, without them
    assert content(stack)[0] == 10
    run(stack, "INSERT INTO kept VALUES (11, '')")
    moved = now(stack)
    stack.move("docker")
    local = place / f"{contained.project}.4"
    subprocess.run(["chown", "-R", "999:999", str(local)], check=True)
    stack.recover(stack.plan_recovery(moved))  # and the other way
    assert content(stack)[0] == 11
    stack.recover(stack.plan_recovery(moment))
    assert run(stack, "SHOW server_version_num")[0][0].startswith("17")  # type: ignore[attr-defined]
    assert content(stack)[0] == 10
    archived(stack)
