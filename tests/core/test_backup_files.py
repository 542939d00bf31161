"""A backup's file and its manifest: whole or not there, and every bit of them counts."""

import hashlib
import json
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fastzero_core import errors
from fastzero_core.backup import dump, repository, restore
from fastzero_core.backup.manifest import check_archive, manifest_path, read_manifest
from fastzero_core.backup.target import Target
from fastzero_core.files import new_file
from fastzero_core.postgres.programs import LocalPrograms, Write
from fastzero_core.schema.revisions import head_revision
from fastzero_core.todo_app.tables import metadata

from .backup import Databases, databases, execute, fingerprint, target

__all__ = ["databases", "target"]
TIMES = 100


@pytest.fixture
def archive(target: Target) -> Path:
    """A backup of a database with a user."""
    execute(target.url, "INSERT INTO users (username, email, password_hash) VALUES ('ana', 'ana@example.com', 'x')")
    path = target.folder / "one.dump"
    dump.backup(target, path)
    return path


def _flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["archive", "manifest"])
def test_a_flipped_bit_is_refused_and_nothing_changed(
    part: str, target: Target, archive: Path, databases: Databases
) -> None:
    before, there = fingerprint(target.url), databases()
    path = archive if part == "archive" else manifest_path(archive)
    bits = random.Random().sample(range(path.stat().st_size * 8), TIMES)
    for bit in bits:
        _flip(path, bit)
        with pytest.raises(errors.DamagedBackupError) as refused:
            restore.restore(target, archive)
        assert refused.value.exit_code == 2
        _flip(path, bit)
    assert check_archive(archive) == read_manifest(archive)
    assert (fingerprint(target.url), databases()) == (before, there)


@pytest.mark.parametrize("part", ["archive", "manifest"])
def test_a_truncated_file_is_refused(part: str, target: Target, archive: Path) -> None:
    path = archive if part == "archive" else manifest_path(archive)
    whole = path.read_bytes()
    for size in random.Random().sample(range(len(whole)), TIMES):
        path.write_bytes(whole[:size])
        with pytest.raises(errors.DamagedBackupError):
            restore.verify(target, archive)


@pytest.mark.parametrize("content", [b"", b"PGDMP", b"\0" * 1000, b"{}", b"SELECT 1;"])
def test_a_foreign_file_is_refused(content: bytes, target: Target, folder: Path) -> None:
    (folder / "foreign").write_bytes(content)
    with pytest.raises(errors.DamagedBackupError, match="no manifest"):
        restore.restore(target, folder / "foreign")


@pytest.mark.parametrize("text", ["", "[]", "null", "7", "{}", '{"checksum": 1}', '{"format": 1}', "[" * 10_000, "ü"])
def test_a_foreign_manifest_is_refused(text: str, target: Target, archive: Path) -> None:
    manifest_path(archive).write_text(text, encoding="utf-8")
    with pytest.raises(errors.DamagedBackupError):
        restore.verify(target, archive)


def test_the_manifest_of_another_backup_is_refused(target: Target, archive: Path) -> None:
    other = target.folder / "two.dump"
    execute(target.url, "DELETE FROM users")
    dump.backup(target, other)
    manifest_path(archive).write_bytes(manifest_path(other).read_bytes())
    with pytest.raises(errors.DamagedBackupError):
        restore.verify(target, archive)


def test_a_manifest_of_a_later_format_says_so(target: Target, archive: Path) -> None:
    later = replace(read_manifest(archive), format=2)
    manifest_path(archive).write_text(later.as_text(), encoding="utf-8")
    with pytest.raises(errors.DamagedBackupError, match="format 2"):
        restore.verify(target, archive)


def test_a_manifest_tells_what_the_backup_holds(archive: Path) -> None:
    manifest = json.loads(manifest_path(archive).read_text(encoding="utf-8"))
    assert manifest["revision"] == head_revision()
    rows = {name: table["rows"] for name, table in manifest["tables"].items()}
    assert rows == {**{f"public.{name}": 0 for name in metadata.tables}, "public.alembic_version": 1, "public.users": 1}
    assert manifest["size"] == archive.stat().st_size
    assert manifest["server_version"].startswith("18")


@pytest.mark.parametrize(("version", "major"), [("18.6", 18), ("15.18", 15), ("19beta1", 19), ("18", 18)])
def test_every_version_has_its_major(version: str, major: int, archive: Path) -> None:
    assert replace(read_manifest(archive), server_version=version).server_major == major


def test_only_the_owner_may_read_a_backup(archive: Path) -> None:
    assert [path.stat().st_mode & 0o777 for path in (archive, manifest_path(archive))] == [0o600, 0o600]
    assert archive.parent.stat().st_mode & 0o777 == 0o700


def test_a_backup_never_replaces_a_file(target: Target, archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(errors.ConflictError):
        dump.backup(target, archive)
    assert archive.read_bytes() == before


def test_a_backup_that_fails_leaves_nothing_behind(target: Target, folder: Path) -> None:
    broken = replace(target, programs=lambda major: _Failing(folder, major, target.url))
    with pytest.raises(errors.ProgramFailedError):
        dump.backup(broken, folder / "b" / "one.dump")
    assert list((folder / "b").iterdir()) == []


class _Failing(LocalPrograms):
    """Programs that print a little and fail."""

    def run(self, *_: object, write: Write | None = None) -> None:
        assert write is not None
        write(b"PGDMP")
        raise errors.ProgramFailedError("it failed")


def test_what_a_killed_command_left_is_removed_by_the_next(folder: Path) -> None:
    abandoned = folder / ".one.dump.partial-0123abcd"
    abandoned.write_bytes(b"half")
    with new_file(folder / "two.dump") as file:
        file.write(b"whole")
        (writing,) = folder.glob(".two.dump.partial-*")
        with new_file(folder / "three.dump"):
            assert writing.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["three.dump", "two.dump"]


# -- the folder of backups ----------------------------------------------------------------------------------------


def test_backups_are_listed_oldest_first_and_found_by_name(target: Target, archive: Path) -> None:
    second = repository.new_path(target.folder, target.database)
    dump.backup(target, second)
    assert [each.rows for each in repository.backups(target.folder)] == [2, 2]
    assert repository.find(target.folder, "one") == repository.find(target.folder, "one.dump") == archive
    assert repository.find(target.folder, str(second)) == second


def test_a_damaged_backup_is_listed_with_its_problem(target: Target, archive: Path) -> None:
    manifest_path(archive).unlink()
    (listed,) = repository.backups(target.folder)
    assert (listed.name, "manifest" in listed.problem) == ("one", True)


def test_prune_keeps_the_newest(target: Target) -> None:
    paths = [repository.new_path(target.folder, target.database) for _ in range(1)]
    dump.backup(target, paths[0])
    for _ in range(2):
        paths.append(repository.new_path(target.folder, target.database))
        dump.backup(target, paths[-1])
    gone = repository.prune(target.folder, 2)
    assert [Path(each.file) for each in gone] == paths[:1]
    assert sorted(path.name for path in target.folder.iterdir()) == sorted(
        name for path in paths[1:] for name in (path.name, manifest_path(path).name)
    )


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "é", "x" * 101])
def test_a_name_that_is_none_is_refused(name: str, folder: Path) -> None:
    with pytest.raises(errors.InvalidInputError):
        repository.new_path(folder, "fastzero", name)


def test_a_backup_that_is_not_there_is_not_found(folder: Path) -> None:
    with pytest.raises(errors.BackupNotFoundError):
        repository.find(folder, "nothing")


def test_a_bare_name_never_means_a_file_of_the_current_folder(
    target: Target, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("one").write_text("of a stranger")
    Path("other.dump").write_text("of a stranger")
    assert repository.find(target.folder, "one") == archive
    assert repository.find(target.folder, "./other.dump") == Path("other.dump").absolute()
    assert repository.find(target.folder, Path("other.dump")) == Path("other.dump").absolute()
    with pytest.raises(errors.BackupNotFoundError) as missing:
        repository.find(target.folder, "other.dump")
    assert missing.value.hint == "To use the file in the current folder: ./other.dump"


# -- a manifest of anybody -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"database": 7},
        {"database": "x" * 201},
        {"revision": ["0001"]},
        {"taken_at": "yesterday"},
        {"server_version": "new"},
        {"sha256": "0"},
        {"size": -1},
        {"size": True},
        {"size": 2**63},
        {"tables": {"t": {"rows": "many", "hash": "values:1"}}},
        {"tables": {"t": {"rows": 1, "hash": 7}}},
        {"tables": []},
        {"sequences": {"s": None}},
        {"owners": "ana"},
        {"owners": [None]},
        {"grantees": [["ana"]]},
    ],
)
def test_a_manifest_of_other_types_is_damaged(changed: dict[str, object], archive: Path) -> None:
    body = {**asdict(read_manifest(archive)), **changed}
    text = json.dumps(body, ensure_ascii=False, indent=2) + "\n"
    checksum = hashlib.sha256(text.encode()).hexdigest()
    whole = json.dumps({**body, "checksum": checksum}, ensure_ascii=False, indent=2) + "\n"
    manifest_path(archive).write_text(whole, encoding="utf-8")
    with pytest.raises(errors.DamagedBackupError):
        read_manifest(archive)


@pytest.mark.parametrize("text", ["[" * 1_000_000, '{"a":' * 1_000_000, "1" * 100_000, " " * (16 * 2**20 + 1)])
def test_a_manifest_that_goes_beyond_all_bounds_is_damaged(text: str, archive: Path) -> None:
    manifest_path(archive).write_text(text, encoding="utf-8")
    with pytest.raises(errors.DamagedBackupError):
        read_manifest(archive)
