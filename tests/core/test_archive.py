"""Archives: which segments a recovery needs, what is kept, and what a server that archives is told."""

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fastzero_core.archive import archiver, description, folder, recover, segments, worker
from fastzero_core.archive.archiver import Archiver
from fastzero_core.archive.description import Archive, bytes_of, checked_keep, checked_url
from fastzero_core.archive.segments import BaseBackup, ancestry, chain, is_on, name_of, number_of
from fastzero_core.errors import ConflictError, InvalidInputError, NotFoundError
from fastzero_core.record import ProjectRecord, parse_record
from fastzero_core.stack.archivist import Answer

AT = datetime(2026, 11, 24, 18, tzinfo=UTC)
ARCHIVE = Archive("s3://bucket/prefix", "demo", system="7", keep="7d")


def backup(begin_wal: str, ended: datetime = AT, id: str = "x") -> BaseBackup:
    return BaseBackup(id, ended, ended, begin_wal, "7", 18)


def names(timeline: int, *numbers: int) -> set[str]:
    return {name_of(timeline, number) for number in numbers}


@pytest.mark.parametrize("number", [0, 1, 255, 256, 2**32])
def test_a_segment_has_a_name_of_its_number(number: int) -> None:
    assert number_of(name_of(3, number)) == number
    assert segments.SEGMENT.fullmatch(name_of(3, number))


def test_a_chain_ends_where_the_archive_does() -> None:
    found = chain(names(1, 1, 2, 3, 4), backup(name_of(1, 2)), 1, {})
    assert (found.names, found.missing) == (tuple(sorted(names(1, 2, 3, 4))), "")


def test_a_chain_names_the_first_segment_that_is_missing() -> None:
    assert chain(names(1, 2, 3, 5, 6), backup(name_of(1, 2)), 1, {}).missing == name_of(1, 4)
    assert chain(names(1, 5), backup(name_of(1, 2)), 1, {}).missing == name_of(1, 2)


def test_a_chain_follows_a_timeline_from_where_it_began() -> None:
    # The second timeline began in segment 3 of the first, which went on without it.
    there = names(1, 2, 3, 4, 5) | names(2, 3, 4)
    found = chain(there, backup(name_of(1, 2)), 2, ancestry("1\t0/3000100\tbefore 2026\n"))
    assert found.names == (name_of(1, 2), name_of(2, 3), name_of(2, 4))
    assert found.missing == ""


def test_a_backup_from_after_the_fork_is_of_another_timeline() -> None:
    before = ancestry("1\t0/3000100\tbefore 2026\n")
    assert before == {1: 3}
    assert is_on(backup(name_of(1, 3)), 2, before)
    assert not is_on(backup(name_of(1, 4)), 2, before)
    assert is_on(backup(name_of(2, 4)), 2, before)


def test_what_a_time_needs_is_kept() -> None:
    days = [backup(name_of(1, number), AT - timedelta(days=number), str(number)) for number in (9, 8, 6, 1)]
    assert [each.id for each in folder._kept(days, "7d", AT)] == ["8", "6", "1"]
    assert [each.id for each in folder._kept(days, "2", AT)] == ["6", "1"]
    assert folder._kept(days, "", AT) == days
    assert [each.id for each in folder._kept(days[:1], "1d", AT)] == ["9"]


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket.example/a/b", "file:///a", "file:///a%20b/it's $(x)"], ids=str
)
def test_an_archive_is_a_bucket_or_a_folder(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    "url", ["", "bucket", "s3://", "s3:///x", "s3://B_/x", "file://host/x", "file:x", "https://x/y", "file:///a?b"]
)
def test_anything_else_is_invalid(url: str) -> None:
    with pytest.raises(InvalidInputError, match="invalid archive"):
        checked_url(url)


@pytest.mark.parametrize("text", ["0", "7x", "d", "-1", "1.5d"])
def test_what_is_no_retention_is_invalid(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--keep"):
        checked_keep(text)


def test_sizes_are_read_and_the_least_is_four_segments() -> None:
    assert (bytes_of("10GiB"), bytes_of("64 MiB")) == (10 * 2**30, 64 * 2**20)
    for text in ("63MiB", "10", "GiB", "10GB"):
        with pytest.raises(InvalidInputError, match="invalid size"):
            bytes_of(text)


def test_no_setting_of_the_server_has_a_path_in_it() -> None:
    command = description.server_settings()["archive_command"]
    assert "/%f" in command
    assert "%p" not in command
    assert command.count("/") == command.count(f'"${description.STATE}/')


def test_a_record_keeps_its_archive_and_one_without_is_as_older_versions_know_it() -> None:
    record = ProjectRecord("embedded", {"database": 1}, data="/d", archive=ARCHIVE)
    assert parse_record(record.as_text(), Path("r")) == record
    without = replace(record, archive=None).as_text()
    assert '"archive"' not in without
    assert '"format": 3' in without
    assert parse_record(without, Path("r")).archive is None


def test_a_segment_is_stored_once_and_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    store = folder.FolderStore(Archive((tmp_path / "archive").as_uri(), "demo"))
    segment = tmp_path / name_of(1, 1)
    segment.write_bytes(b"content" * 1000)
    store.push(segment)
    store.push(segment)
    assert store.names() == {segment.name}
    segment.write_bytes(b"other")
    with pytest.raises(ConflictError, match="other content"):
        store.push(segment)
    store.pull([segment.name], tmp_path)
    assert segment.read_bytes() == b"content" * 1000


def test_an_archive_whose_folder_is_not_mounted_is_not_made_anew(tmp_path: Path) -> None:
    store = folder.FolderStore(Archive((tmp_path / "absent").as_uri(), "demo"))
    segment = tmp_path / name_of(1, 1)
    segment.write_bytes(b"content")
    with pytest.raises(NotFoundError, match="does not exist"):
        store.push(segment)
    assert not (tmp_path / "absent").exists()


class Standby:
    """The data directory of a standby, with an archive in a folder and an archiver for both."""

    def __init__(self, place: Path, max_kept: int = 2**30) -> None:
        self.data, self.state = place / "data", place / "state"
        for path in (self.data / "pg_wal" / "archive_status", self.data / "global", place / "archive", self.state):
            path.mkdir(parents=True)
        (self.data / "global" / "pg_control").write_bytes(struct.pack("=Q", 7))
        (self.data / archiver.STANDBY).touch()
        archive = Archive((place / "archive").as_uri(), "demo", system="7", max_kept=max_kept)
        self.store = folder.FolderStore(archive)
        self.archiver = Archiver(archive, self.store, self.data, self.state)

    def receive(self, name: str) -> Path:
        segment = self.data / "pg_wal" / name
        segment.write_bytes(b"content")
        (self.data / "pg_wal" / "archive_status" / f"{name}.ready").touch()
        return segment

    @property
    def given_up(self) -> set[str]:
        """The segments that the server may delete."""
        return {path.name for path in self.state.iterdir() if segments.SEGMENT.fullmatch(path.name)}


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_standby_keeps_a_segment_until_its_primary_has_archived_it(at_home: Path) -> None:
    standby = Standby(at_home)
    first, second = (standby.receive(name_of(1, number)) for number in (1, 2))
    standby.store.push(first)
    standby.archiver.step()
    assert standby.given_up == {first.name}
    assert standby.store.names() == {first.name}

    (standby.data / archiver.STANDBY).unlink()  # it has become the primary
    standby.archiver.step()
    assert standby.given_up == {first.name, second.name}
    assert standby.store.names() == {first.name, second.name}


def test_a_standby_does_not_wait_for_the_unfinished_end_of_a_timeline_that_its_primary_has_left(at_home: Path) -> None:
    standby = Standby(at_home)
    last, next = (standby.receive(name_of(1, number)) for number in (4, 5))
    (standby.data / "pg_wal" / "00000002.history").touch()
    new = standby.data / name_of(2, 4)
    new.write_bytes(b"all that it was, and more")
    standby.store.push(new)
    standby.archiver.step()
    assert standby.given_up == {last.name}
    assert next.name not in standby.given_up


def test_a_standby_does_not_wait_for_what_was_written_before_the_archive_began(
    at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standby = Standby(at_home)
    first, second = (standby.receive(name_of(1, number)) for number in (1, 2))
    monkeypatch.setattr(standby.store, "backups", lambda: [backup(name_of(2, 2)), backup(name_of(2, 7))])
    standby.archiver.step()
    assert standby.given_up == {first.name}
    assert second.name not in standby.given_up


def test_a_standby_whose_primary_cannot_archive_keeps_no_more_than_it_may(at_home: Path) -> None:
    standby = Standby(at_home, max_kept=2 * segments.SIZE)
    names = [standby.receive(name_of(1, number)).name for number in (1, 2, 3)]
    standby.archiver.step()
    assert standby.given_up == set(names)
    assert (standby.state / description.PAUSED).exists()  # should it take over, the archive has a gap


def test_a_long_answer_of_the_worker_is_whole_again(capsys: pytest.CaptureFixture[str]) -> None:
    value = [{"id": "é" * 100}] * 200
    worker._print(description.RESULT, value)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) < 2**14
    answer = Answer(lambda event: None)
    answer.write(said.encode())
    assert answer.result("") == value
    worker._print(description.STEP, "fetch")
    assert json.loads(capsys.readouterr().out) == {"step": "fetch"}


def test_one_of_several_servers_gets_the_configuration_of_a_single_one(tmp_path: Path) -> None:
    (tmp_path / recover.OF_PATRONI).write_text("{}")
    (tmp_path / recover.FIRST_CONFIGURATION).write_text("port = 5432\n")
    (tmp_path / "postgresql.conf").write_text("synchronous_standby_names = 'ANY 1 (a, b)'\n")
    (tmp_path / "pg_hba.conf").write_text("local all all peer map=container\n")
    (tmp_path / "pg_ident.conf").write_text("container postgres fastzero\n")
    (tmp_path / "pg_hba.conf.backup").write_text("x")
    recover._leave_patroni(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.name != "pg_hba.conf"} == {
        "postgresql.conf": "port = 5432\n",
        "pg_ident.conf": "",
    }
    assert "map=container" not in (tmp_path / "pg_hba.conf").read_text()
