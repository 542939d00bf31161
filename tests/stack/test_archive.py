"""An archive is what is left when all else is lost: each second can be reached, or the refusal says which can."""

import gzip
import io
import os
import shutil
import signal
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest

from fastzero_core import FastZeroError, Stack, load_settings
from fastzero_core.archive.description import ARCHIVER, CREDENTIALS, PAUSED, Archive, state_folder
from fastzero_core.archive.folder import MANIFEST
from fastzero_core.archive.recovery import time_of
from fastzero_core.archive.segments import SIZE
from fastzero_core.errors import (
    ArchiveIncompleteError,
    BackupMismatchError,
    BackupNotFoundError,
    ConflictError,
    DamagedBackupError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from fastzero_core.events import Event
from fastzero_core.polling import wait_until
from fastzero_core.stack import doctor
from fastzero_core.stack.embedded.process import Processes
from fastzero_core.stack.observed import ServiceState
from fastzero_core.testing import session_folder
from tests.cli.shell import script
from tests.ports import any_free_port

from .archived import archived, content, fill, now, run, state, switch
from .conftest import SOON, RunPython, texts
from .s3 import BUCKET, S3, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("default_port")]  # a recovery may choose the port anew


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    if not all(find_spec(name) for name in ("barman", "boto3", "moto")):
        pytest.skip("the dependency group archive is not installed")
    with s3_server(session_folder(), any_free_port()) as server:
        yield server


@dataclass(frozen=True)
class Place:
    """Somewhere to archive to, and how a test damages it."""

    url: str
    endpoint: str
    credentials: str | None
    remove_segment: Callable[[str], None]

    def enable(self, stack: Stack, *, keep: str = "", max_kept: int | None = None) -> Archive:
        given = {"endpoint_url": self.endpoint, "credentials": self.credentials, "keep": keep, "max_kept": max_kept}
        return stack.enable_archive(self.url, **given)  # type: ignore[arg-type]

    def archive(self, project: str = "demo") -> Archive:
        return Archive(self.url, project, endpoint_url=self.endpoint)


@pytest.fixture
def in_folder(folder: Path) -> Place:
    """An archive in a folder whose name no shell would leave as it is."""
    made = folder / 'it\'s $(touch here) "x" & é'
    made.mkdir()
    wal = made / "demo" / "wal"
    return Place(made.as_uri(), "", None, lambda name: (wal / f"{name}.gz").unlink())


@pytest.fixture
def in_bucket(folder: Path, s3: S3) -> Place:
    prefix = folder.name

    def remove(name: str) -> None:
        s3.remove(f"{prefix}/demo/wals/{name[:16]}/{name}.gz")

    return Place(f"s3://{BUCKET}/{prefix}", s3.endpoint, s3.credentials, remove)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"in_{request.param}")
    return found


@pytest.fixture
def credentials(folder: Path, place: Place) -> Path | None:
    """The file with which a user comes who has nothing else left."""
    if place.credentials is None:
        return None
    file = folder / "credentials"
    file.write_text(place.credentials)
    return file


# -- recovery ----------------------------------------------------------------------------------------------------


def test_a_second_in_the_past_is_reached_from_the_archive_alone_after_all_else_is_destroyed(
    running: Stack, place: Place, credentials: Path | None
) -> None:
    leave_manifest(running)
    place.enable(running)
    fill(running)
    before, moment = content(running), now(running)
    run(running, "UPDATE kept SET content = 'changed'")
    run(running, "DELETE FROM kept WHERE id % 2 = 0")
    running.down(volumes=True)
    assert not running.exists

    archive = place.archive()
    left = running.recover(running.plan_recovery(moment, archive, credentials))

    assert left is None
    assert content(running) == before
    assert [each.state for each in running.status()] == [ServiceState.RUNNING]
    assert running.project.record is not None
    assert running.project.record.archive is None


def leave_manifest(stack: Stack) -> None:
    """Let the data directory have the manifest of another backup, as that of a server that was cloned has."""
    assert stack.project.record is not None
    data = Path(stack.project.record.data)
    manifest, owner = data / MANIFEST, data.stat()
    manifest.write_text("{}")
    os.chown(manifest, owner.st_uid, owner.st_gid)


def test_the_moment_of_down_can_be_reached_where_nothing_was_written_after_it(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    fill(running, 10)
    moment = now(running)
    running.down(volumes=True)
    archive = in_folder.archive()
    running.recover(running.plan_recovery(moment, archive))
    assert content(running)[0] == 10


def test_the_database_before_a_recovery_is_kept_and_can_be_used_again(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    fill(running)
    before, moment = content(running), now(running)
    run(running, "DELETE FROM kept")
    left = running.recover(running.plan_recovery(moment))
    assert content(running) == before
    assert left is not None
    assert running.kept == (left,)
    archived(running)  # it goes on being archived, on a timeline of its own
    running.use_place(left.name)
    assert content(running)[0] == 0


def test_a_recovery_can_follow_a_recovery(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    fill(running, 10)
    first = now(running)
    run(running, "DELETE FROM kept")
    running.recover(running.plan_recovery(first))
    run(running, "INSERT INTO kept VALUES (11, '')")
    second = now(running)
    run(running, "DELETE FROM kept")
    running.recover(running.plan_recovery(second))
    assert content(running)[0] == 11
    running.back_up_to_archive()
    run(running, "INSERT INTO kept VALUES (12, '')")
    running.recover(running.plan_recovery(None))
    assert content(running)[0] == 12
    running.recover(running.plan_recovery(first))
    assert content(running)[0] == 10


def test_the_passwords_of_the_project_are_those_of_now(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    fill(running, 10)
    moment = now(running)
    running.rotate_database_passwords()
    running.recover(running.plan_recovery(moment))
    assert content(running)[0] == 10
    with psycopg.connect(running.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


KILLED = """
import os, signal, sys
from datetime import datetime
from fastzero_core import Stack
from fastzero_core.events import Progress
def die(event):
    if isinstance(event, Progress) and event.step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
stack = Stack("demo", on_event=die)
stack.recover(stack.plan_recovery(None))
"""


@pytest.mark.parametrize("step", ["fetch", "wal", "replay", "pages"])
def test_a_recovery_that_is_killed_leaves_what_was_there_and_nothing_else(
    step: str, running: Stack, in_folder: Place, run_python: RunPython
) -> None:
    in_folder.enable(running)
    fill(running, 10)
    assert run_python(KILLED, step).wait(SOON) == -signal.SIGKILL
    running.up()
    assert content(running)[0] == 10
    assert running.kept == ()
    names = {path.name for path in running.project.folder.iterdir() if path.name.startswith((".data", "data"))}
    assert names == {"data", ".data.archive"}


# -- what cannot be reached ---------------------------------------------------------------------------------------


def test_a_missing_segment_is_refused_with_the_time_that_can_be_reached(running: Stack, place: Place) -> None:
    place.enable(running)
    fill(running, 10)
    last = now(running)
    archived(running)
    run(running, "INSERT INTO kept VALUES (11, '')")
    missing = archived(running)
    run(running, "INSERT INTO kept VALUES (12, '')")
    moment = now(running)
    run(running, "DELETE FROM kept")
    archived(running)
    place.remove_segment(missing)

    with pytest.raises(ArchiveIncompleteError, match=missing) as caught:
        running.plan_recovery(moment)
    with pytest.raises(ArchiveIncompleteError, match=missing):
        running.plan_recovery(None)
    with pytest.raises(ArchiveIncompleteError, match=missing):
        running.verify_archive()

    assert content(running)[0] == 0
    named = caught.value.hint.partition("--to-time ")[2].split(". ")[0].rstrip(".")
    reachable = time_of(named, datetime.now(UTC))
    assert reachable is not None
    assert reachable >= last
    running.recover(running.plan_recovery(reachable))
    assert content(running)[0] == 10


def test_a_time_before_the_first_base_backup_names_the_first_time(running: Stack, in_folder: Place) -> None:
    moment = now(running)
    in_folder.enable(running)
    with pytest.raises(BackupNotFoundError, match="before the first base backup") as caught:
        running.plan_recovery(moment)
    assert running.archive_backups()[0].ended.isoformat().replace("+00:00", "Z") in caught.value.hint


def test_a_time_after_the_last_transaction_of_a_lost_database_names_the_last_time(
    running: Stack, in_folder: Place
) -> None:
    in_folder.enable(running)
    fill(running, 10)
    archived(running)
    moment = now(running)
    shutil.copytree(in_folder.archive().folder, saved := in_folder.archive().folder.with_name("lost"))
    lost = Archive(in_folder.url, "lost")
    assert saved.is_dir()
    with pytest.raises(ArchiveIncompleteError, match="no later transaction") as caught:
        running.plan_recovery(moment, lost)
    assert "--to-time latest" in caught.value.hint
    running.recover(running.plan_recovery(None, lost))
    assert content(running)[0] == 10


def test_a_damaged_base_backup_is_refused(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    [backup] = running.archive_backups()
    manifest = in_folder.archive().folder / "base" / backup.id / "backup_manifest"
    manifest.write_text(manifest.read_text().replace('"Size": 8192', '"Size": 8193', 1))
    with pytest.raises(BackupMismatchError, match="differs from its manifest"):
        running.verify_archive()


def test_a_base_backup_writes_nothing_outside_of_its_place(running: Stack, in_folder: Place, folder: Path) -> None:
    in_folder.enable(running)
    [backup] = running.archive_backups()
    whole = in_folder.archive().folder / "base" / backup.id / "base.tar.gz"
    with tarfile.open(whole, "w:gz") as forged:
        for name in ("../../../outside", "/outside"):
            entry = tarfile.TarInfo(name)
            entry.size = 1
            forged.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(DamagedBackupError, match="outside"):
        running.verify_archive()
    assert [path for path in folder.rglob("outside") if path.is_file()] == []


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "18:00"])
def test_what_is_no_time_is_invalid(text: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid time"):
        time_of(text, datetime.now(UTC))


def test_a_time_in_the_future_is_invalid_and_one_without_a_zone_is_utc() -> None:
    at = datetime(2026, 11, 24, 18, tzinfo=UTC)
    assert time_of("2026-11-24T15:00-03:00", at) == time_of("2026-11-24 18:00", at) == at
    with pytest.raises(InvalidInputError, match="in the future"):
        time_of("2026-11-24T18:00:01Z", at)


def enable(*words: object) -> tuple[int, str]:
    done = script("db", "archive", "enable", "-p", "demo", "--to", *words)
    return done.code, done.err


def test_each_mistake_has_its_exit_code_and_says_what_to_do(
    running: Stack, folder: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert enable("ftp://x")[0] == 2
    assert enable((folder / "absent").as_uri())[0] == 3
    code, said = enable(f"s3://{BUCKET}/x", "--endpoint-url", s3.endpoint)
    assert (code, "AWS_ACCESS_KEY_ID" in said) == (5, True), said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "wrong")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, said = enable(f"s3://{BUCKET}/x", "--endpoint-url", f"http://127.0.0.1:{any_free_port()}")
    assert (code, "--endpoint-url" in said) == (6, True), said
    code, said = enable(f"s3://{BUCKET}/x", "--endpoint-url", s3.endpoint)
    assert (code, "are refused" in said) == (5, True), said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
    code, said = enable("s3://nothing/x", "--endpoint-url", s3.endpoint)
    assert (code, "does not exist" in said) == (3, True), said
    assert script("db", "archive", "status", "-p", "demo").code == 3
    assert script("db", "restore", "--to-time", "yesterday", "-p", "demo").code == 2
    assert [each.service for each in running.status()] == ["database"]
    assert not running.project.has_secret(CREDENTIALS)


def test_the_archive_of_another_system_is_refused_before_anything_changes(
    running: Stack, in_folder: Place, home: Path
) -> None:
    in_folder.enable(running)
    running.down(volumes=True)
    settings = load_settings(project="demo", home=home, runtime="embedded", app=False)
    other = Stack(settings).up(port=any_free_port())
    with pytest.raises(ConflictError, match="archive of another server"):
        in_folder.enable(other)
    assert [each.service for each in other.status()] == ["database"]


# -- another server ----------------------------------------------------------------------------------------------


def server(stack: Stack) -> str:
    """The folder of the archive that the project's record names, whose server is known."""
    assert stack.project.record is not None
    assert stack.project.record.archive is not None
    assert stack.project.record.archive.system
    return stack.project.record.archive.server


def test_a_kept_place_that_is_used_again_is_archived_to_a_folder_of_its_own(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    fill(running, 10)
    moment = now(running)
    run(running, "INSERT INTO kept VALUES (11, '')")
    left = running.recover(running.plan_recovery(moment))
    assert left is not None
    assert server(running) == "demo"
    running.use_place(left.name)
    assert server(running) == "demo.2"
    assert content(running)[0] == 11
    assert running.verify_archive().segments >= 1

    run(running, "INSERT INTO kept VALUES (12, '')")
    assert running.plan_recovery(None).archive.server == "demo.2"
    running.recover(running.plan_recovery(moment))
    assert content(running)[0] == 10
    assert server(running) == "demo.3"
    assert len(running.archive_backups()) == 1


@pytest.mark.usefixtures("default_port")
def test_an_empty_database_in_place_of_one_that_is_gone_is_archived_too_and_the_one_before_can_be_recovered(
    running: Stack, in_folder: Place
) -> None:
    in_folder.enable(running)
    fill(running, 10)
    archived(running)
    moment = now(running)
    running.down()
    assert running.project.record is not None
    shutil.rmtree(running.project.record.data)
    running.up(start_over=True)
    assert server(running) == "demo.2"
    assert len(running.archive_backups()) == 1
    running.recover(running.plan_recovery(moment))
    assert content(running)[0] == 10
    running.down(volumes=True)
    found = running.plan_recovery(None, in_folder.archive())  # with nothing left, the newest server is found
    assert found.archive.server == "demo.3"
    running.recover(found)
    assert content(running)[0] == 10
    in_folder.enable(running)
    assert server(running) == "demo.3"


def test_a_server_whose_archive_cannot_begin_says_so_and_the_next_up_begins_it(
    running: Stack, in_folder: Place
) -> None:
    archive = in_folder.enable(running)
    fill(running, 10)
    left = running.recover(running.plan_recovery(None))
    assert left is not None
    archived(running)  # nothing is being archived while the folder is taken away
    away = archive.folder.parent.rename(archive.folder.parent.with_name("away"))
    events: list[Event] = []
    Stack("demo", on_event=events.append).use_place(left.name)
    assert any("is not archived to" in text for text in texts(events))
    assert content(running)[0] == 10
    assert wait_until(lambda: state(running) is ServiceState.UNHEALTHY, SOON)
    away.rename(archive.folder.parent)
    running.up()
    assert server(running) == "demo.2"
    archived(running)


# -- archiving ----------------------------------------------------------------------------------------------------


def test_credentials_are_in_one_file_of_the_project_and_nowhere_else(running: Stack, in_bucket: Place, s3: S3) -> None:
    in_bucket.enable(running)
    archived(running)
    file = running.project.secret_file(CREDENTIALS)
    assert file.stat().st_mode & 0o777 == 0o600
    processes = [each for each in psutil.process_iter(["cmdline", "environ"]) if each.info["cmdline"]]
    told = [" ".join(each.info["cmdline"]) for each in processes]
    environments = [str(each.info["environ"]) for each in processes if "archiver" in " ".join(each.info["cmdline"])]
    assert environments
    assert not [each for each in (*told, *environments) if s3.secret in each]
    names = [path for path in running.project.folder.rglob("*") if path.is_file() and path != file]
    assert [path for path in names if s3.secret.encode() in path.read_bytes()] == []


def test_an_archive_that_is_away_fails_loudly_and_stops_nothing(running: Stack, in_folder: Place) -> None:
    archive = in_folder.enable(running)
    fill(running, 10)
    away = archive.folder.parent.rename(archive.folder.parent.with_name("away"))
    switch(running)
    assert wait_until(lambda: state(running) is ServiceState.UNHEALTHY, SOON)
    run(running, "INSERT INTO kept VALUES (11, '')")
    found = running.archive_status()
    assert (found.state, found.waiting >= 1) == ("failing", True)
    assert "does not exist" in found.detail
    assert wait_until(lambda: running.archive_status().failed_count > 0, SOON)
    assert {each.code: each.result for each in doctor.examine(running.settings)}["archive"] == "failed"
    with pytest.raises(UnavailableError, match="is not archived"):
        running.back_up_to_archive()

    away.rename(archive.folder.parent)
    switch(running)  # which wakes the server's archiver: else it sleeps for up to a minute
    assert wait_until(lambda: running.archive_status().state == "archiving", SOON * 2)
    archived(running)
    assert {each.code: each.result for each in doctor.examine(running.settings)}["archive"] == "ok"
    assert running.verify_archive().segments >= 2


def test_archiving_pauses_before_the_disk_fills_and_a_base_backup_resumes_it(running: Stack, in_folder: Place) -> None:
    archive = in_folder.enable(running, max_kept=4 * SIZE)
    fill(running, 10)
    reached = now(running)
    archived(running)
    away = archive.folder.parent.rename(archive.folder.parent.with_name("away"))
    for _ in range(7):
        run(running, "INSERT INTO kept VALUES (11, '')")
        switch(running)
    assert wait_until(lambda: running.archive_status().state == "paused", SOON)
    switch(running)
    assert wait_until(lambda: running.archive_status().waiting == 0, SOON * 2)  # the server may reuse them
    assert state(running) is ServiceState.UNHEALTHY
    assert {each.code: each.result for each in doctor.examine(running.settings)}["archive"] == "failed"
    lost = now(running)

    away.rename(archive.folder.parent)
    running.back_up_to_archive()
    assert running.archive_status().state == "archiving"
    assert not (state_folder(Path(running.project.record.data)) / PAUSED).exists()  # type: ignore[union-attr]
    with pytest.raises(ArchiveIncompleteError):
        running.plan_recovery(lost)
    running.recover(running.plan_recovery(reached))
    assert content(running)[0] == 10


def test_data_is_destroyed_only_once_the_archive_has_all_of_it(running: Stack, in_folder: Place) -> None:
    archive = in_folder.enable(running)
    fill(running, 10)
    away = archive.folder.parent.rename(archive.folder.parent.with_name("away"))
    with pytest.raises(UnavailableError, match="is not archived") as caught:
        running.down(volumes=True)
    assert "fastzero db archive disable" in caught.value.hint
    with pytest.raises(UnavailableError, match="is not archived"):
        running.destroy()
    assert content(running)[0] == 10

    running.down()
    away.rename(archive.folder.parent)
    running.up()
    running.down(volumes=True)
    archive = in_folder.archive()
    running.recover(running.plan_recovery(None, archive))
    assert content(running)[0] == 10


def test_an_archiver_that_is_killed_is_started_again(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    found = next(each.pid for each in running.status() if each.service == ARCHIVER)
    assert found is not None
    os.kill(found, signal.SIGKILL)
    archived(running)
    assert next(each.pid for each in running.status() if each.service == ARCHIVER) != found


def test_nothing_to_do_is_nothing_to_do_and_down_stops_the_archiver_last(running: Stack, in_folder: Place) -> None:
    in_folder.enable(running)
    assert running.plan() == []
    stopped = [action.name for action in running.down() if str(action.verb) == "stop"]
    assert stopped == ["database", ARCHIVER]
    running.up()
    assert wait_until(lambda: {each.state for each in running.status()} == {ServiceState.RUNNING}, SOON)
    running.down()
    assert running.back_up_to_archive().id  # it is started for this, with its archiver, and stopped again
    assert running.running() == set()


def test_disabled_it_archives_no_more_and_keeps_what_is_archived(running: Stack, in_folder: Place) -> None:
    archive = in_folder.enable(running)
    running.disable_archive()
    assert [each.service for each in running.status()] == ["database"]
    assert run(running, "SHOW archive_mode") == [("off",)]
    assert len(running.archive_backups(archive)) == 1
    with pytest.raises(NotFoundError, match="is not archived"):
        running.archive_status()
    in_folder.enable(running)
    assert len(running.archive_backups()) == 2


def test_only_what_is_to_be_kept_is_kept(running: Stack, place: Place) -> None:
    place.enable(running, keep="1")
    first = running.archive_backups()[0]
    archived(running)
    second = running.back_up_to_archive()
    assert [each.id for each in running.archive_backups()] == [second.id] != [first.id]
    assert running.verify_archive().backup == second.id
    with pytest.raises(BackupNotFoundError, match="before the first base backup"):
        running.plan_recovery(first.ended + timedelta(microseconds=1))


def test_a_segment_of_other_content_is_never_replaced(running: Stack, in_folder: Place) -> None:
    archive = in_folder.enable(running)
    name = archived(running)
    following = f"{name[:16]}{int(name[16:], 16) + 1:08X}"
    other = archive.folder / "wal" / f"{following}.gz"
    other.write_bytes(gzip.compress(b"other"))
    switch(running)
    assert wait_until(lambda: "other content" in running.archive_status().detail, SOON)
    assert gzip.decompress(other.read_bytes()) == b"other"


def test_what_enabling_has_changed_is_undone_where_it_fails(
    running: Stack, in_folder: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise UnavailableError("the archive went away")

    monkeypatch.setattr("fastzero_core.archive.folder.FolderStore.take", fails)
    with pytest.raises(FastZeroError, match="went away"):
        in_folder.enable(running)
    assert [each.service for each in running.status()] == ["database"]
    assert Processes(running.project.folder).recorded(ARCHIVER) is None
